/* SPDX-License-Identifier: Apache-2.0
 *
 * Unit tests over cmocka. A file of tests is: #include "tests/test.h", then TEST(name) { … } as many
 * as wanted; the program registers and runs them all (argument: a substring of names to run).
 */
#ifndef MILLRACE_TEST_H
#define MILLRACE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

void test_register(const char *name, void (*run)(void **state));

/* Fails the n-th allocation from now (1 = the next) of the code under test; 0 = none. Returns how
 * many allocations were seen since the last call. Works in every test program (ld --wrap). */
size_t test_fail_allocation(size_t n);

/* How many times a random test goes round: `usual` times MILLRACE_TEST_ROUNDS (1 to 1000, default 1;
 * ./dev soak sets it). */
int test_rounds(int usual);

/* fork(), but the child does not outlive the test program, however that ends. */
int test_fork(void);

/* Where tests/ of the source tree is, for rows kept in files. */
const char *test_dir(void);

#define TEST(name)                                                     \
	static void name(void **state);                                \
	__attribute__((constructor)) static void name##_register(void) \
	{                                                              \
		test_register(#name, name);                            \
	}                                                              \
	static void name(__attribute__((unused)) void **state)

#define CHECK(condition) assert_true(condition)
#define CHECK_EQ(a, b) \
	_assert_int_equal((unsigned long long)(a), (unsigned long long)(b), __FILE__, __LINE__)
#define CHECK_LE(a, b)	      CHECK((a) <= (b))
#define CHECK_GE(a, b)	      CHECK((a) >= (b))
#define CHECK_OK(err)	      CHECK_EQ((err), 0)
#define CHECK_STR(a, b)	      assert_string_equal((a), (b))
#define CHECK_MEM(a, b, size) assert_memory_equal((a), (b), (size))

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * main() of every unit test program: runs the registered tests, counts and fails allocations.
 */
#include "tests/test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { TESTS_MAX = 512, ROUNDS_MAX = 1000 };

static struct CMUnitTest tests[TESTS_MAX];
static size_t test_count;
static size_t allocations_seen;
static size_t allocation_to_fail;

void test_register(const char *name, void (*run)(void **state))
{
	if (test_count == TESTS_MAX)
		abort();
	tests[test_count++] = (struct CMUnitTest){.name = name, .test_func = run};
}

size_t test_fail_allocation(size_t n)
{
	size_t seen = allocations_seen;

	allocations_seen = 0;
	allocation_to_fail = n;
	return seen;
}

int test_rounds(int usual)
{
	const char *asked = getenv("MILLRACE_TEST_ROUNDS");
	long factor = asked ? strtol(asked, NULL, 10) : 1;

	return usual * (int)(factor < 1 ? 1 : factor > ROUNDS_MAX ? ROUNDS_MAX : factor);
}

int test_fork(void)
{
	pid_t parent = getpid(), child = fork();

	/* the parent may be gone already: then there is nobody to be killed with */
	if (!child && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		_exit(127);
	return child;
}

const char *test_dir(void)
{
	return MILLRACE_TEST_DIR;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);

static int fails(void)
{
	return ++allocations_seen == allocation_to_fail;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

int main(int argc, char **argv)
{
	static char filter[128];

	if (argc > 1) {
		snprintf(filter, sizeof(filter), "*%s*", argv[1]);
		cmocka_set_test_filter(filter);
	}
	return _cmocka_run_group_tests(argv[0], tests, test_count, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/precondition.h"
#include "actors/http/problem.h"
#include "schemas/err.h"
#include "tests/test.h"

#include <jansson.h>
#include <stdlib.h>

static struct http_text text_of(const char *text)
{
	return (struct http_text){text, text ? strlen(text) : 0};
}

TEST(entity_tags_are_compared)
{
	static const struct {
		const char *list;
		bool if_match, if_none_match;
	} rows[] = {
	// clang-format off
		{"\"a\"", true, true},
		{"*", true, true},
		{"W/\"a\"", false, true},
		{"\"b\", \"a\"", true, true},
		{"\"b\",W/\"a\"", false, true},
		{"\"b\"", false, false},
		{"\"A\"", false, false},
		{"\"x,\"a\"", false, false},
		{"a", false, false},
		{"\"a", false, false},
		{"W/", false, false},
		{"", false, false},
		{", ,", false, false},
		{NULL, false, false},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		CHECK_EQ(etag_if_match(text_of(rows[i].list), "\"a\""), rows[i].if_match);
		CHECK_EQ(etag_if_none_match(text_of(rows[i].list), "\"a\""), rows[i].if_none_match);
	}
	char etag[ETAG_SIZE];
	etag_format(UINT64_MAX, UINT32_MAX, etag);
	CHECK_STR(etag, "\"ffffffffffffffff-4294967295\"");
}

TEST(a_session_is_patched_under_its_precondition)
{
	static const struct {
		enum patch_kind kind;
		const char *if_match;
		int status;
	} rows[] = {
	// clang-format off
		{PATCH_TRICKLE, "\"now\"", 200},
		{PATCH_TRICKLE, "\"old\", \"now\"", 200},
		{PATCH_TRICKLE, "*", 200},
		{PATCH_TRICKLE, "\"old\"", 412},
		{PATCH_TRICKLE, "W/\"now\"", 412},
		{PATCH_TRICKLE, "now", 412},
		{PATCH_TRICKLE, NULL, 428},
		{PATCH_TRICKLE, "", 428},
		{PATCH_ICE_RESTART, "*", 200},
		{PATCH_ICE_RESTART, "\"now\"", 428},
		{PATCH_ICE_RESTART, "\"old\"", 412},
		{PATCH_ICE_RESTART, NULL, 428},
		{PATCH_ICE_RESTART, "", 428},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *why;

		CHECK_EQ(patch_precondition(
				 rows[i].kind, text_of(rows[i].if_match), "\"now\"", &why),
			rows[i].status);
		CHECK_EQ(*why == '\0', rows[i].status == 200);
	}
}

TEST(the_refused_are_asked_to_wait_and_not_to_return_together)
{
	static const struct {
		int64_t wait_us;
		uint32_t random, seconds;
	} rows[] = {
	// clang-format off
		{0, 0, 1},
		{-1, 7, 1},
		{1, 7, 1},
		{1000000, 7, 1},
		{1000001, 0, 2},
		{1000001, 1, 3},
		{10000000, 5, 15},
		{10000000, 6, 10},
		{INT64_MAX, 0, 3600},
		{INT64_MAX, UINT32_MAX, 3600},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		CHECK_EQ(retry_after_s(rows[i].wait_us, rows[i].random), rows[i].seconds);
}

TEST(problems_are_told_in_one_form)
{
	static char long_text[3 * PROBLEM_SIZE_MAX];
	char out[PROBLEM_SIZE_MAX];

	problem_write(409, err_name(ERR_BUSY), "live/demo has a publisher", out);
	CHECK_STR(out, "{\"type\":\"about:blank\",\"title\":\"Conflict\",\"status\":409,"
		       "\"detail\":\"live/demo has a publisher\",\"error\":{\"code\":\"busy\","
		       "\"message\":\"live/demo has a publisher\"}}");
	/* text from outside: bytes that are not UTF-8, control characters, quotes, too long */
	static const char *const details[] = {// clang-format off
		"\xff\xfe", "a\nb\x01", "\"\\", "\xe2\x82\xac", long_text};
	memset(long_text, '"', sizeof(long_text) - 1);
	for (size_t i = 0; i < sizeof(details) / sizeof(*details); i++) {
		size_t size = problem_write(400, "format", details[i], out);
		json_t *json = json_loads(out, 0, NULL);

		CHECK_EQ(size, strlen(out));
		CHECK(json != NULL);
		CHECK_EQ(json_integer_value(json_object_get(json, "status")), 400);
		json_decref(json);
					      // clang-format on
	}
	CHECK_STR(problem_code(409), "busy");
	CHECK_STR(problem_code(799), "internal");
}

TEST(a_problem_survives_a_lack_of_memory)
{
	char out[PROBLEM_SIZE_MAX];

	json_set_alloc_funcs(malloc, free);
	problem_write(404, "not_found", "x", out);
	test_fail_allocation(0);
	problem_write(404, "not_found", "x", out);
	size_t count = test_fail_allocation(0);
	CHECK_GE(count, 5);
	for (size_t i = 1; i <= count; i++) {
		test_fail_allocation(i);
		size_t size = problem_write(404, "not_found", "x", out);
		test_fail_allocation(0);
		CHECK_EQ(size, strlen(out));
		CHECK_EQ(out[0], '{');
	}
}

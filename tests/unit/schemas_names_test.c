/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of apps and streams, "app/stream", and the query of a stream key.
 */
#include "tests/test.h"

#include "schemas/names.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *text;
	bool stream, app;
} name_rows[] = {
	/* clang-format off */
	{"live", true, true},        {"Cam-1_b.x", true, true},   {"0", true, true},
	{A63, true, true},           {A63 "a", false, false},     {"", false, false},
	{".hidden", false, false},   {"..", false, false},        {"a.b.", true, true},
	{"-", true, true},           {"a/b", false, false},       {"a b", false, false},
	{"a%20", false, false},      {"caf\xc3\xa9", false, false}, {"a\n", false, false},
	{"a?b", false, false},       {"api", true, false},        {"whip", true, false},
	{"whep", true, false},       {"rtc", true, false},        {"ws", true, false},
	{"metrics", true, false},    {"healthz", true, false},    {"readyz", true, false},
	{"API", true, true},         {"apis", true, true},        {"ap", true, true},
	/* clang-format on */
};

TEST(a_name_is_what_the_rule_says)
{
	for (size_t i = 0; i < sizeof(name_rows) / sizeof(name_rows[0]); i++) {
		const char *text = name_rows[i].text;

		CHECK_EQ(name_is_valid(text, strlen(text)), name_rows[i].stream);
		CHECK_EQ(name_app_is_valid(text, strlen(text)), name_rows[i].app);
	}
	CHECK(!name_is_valid("a\0b", 3));
}

static const struct {
	const char *text, *app, *stream; /* NULL: refused */
} path_rows[] = {
	/* clang-format off */
	{"live/demo", "live", "demo"}, {"a/b", "a", "b"},        {A63 "/" A63, A63, A63},
	{"live", NULL, NULL},          {"live/", NULL, NULL},    {"/demo", NULL, NULL},
	{"live/a/b", NULL, NULL},      {"api/x", NULL, NULL},    {"live/.x", NULL, NULL},
	{"live/api", "live", "api"},   {"", NULL, NULL},         {"/", NULL, NULL},
	/* clang-format on */
};

TEST(a_path_is_two_names)
{
	for (size_t i = 0; i < sizeof(path_rows) / sizeof(path_rows[0]); i++) {
		struct name_path path;
		const char *text = path_rows[i].text;
		enum err err = name_path_parse(text, strlen(text), &path);

		CHECK_EQ(err, path_rows[i].app ? ERR_OK : ERR_FORMAT);
		if (!err) {
			CHECK_STR(path.app, path_rows[i].app);
			CHECK_STR(path.stream, path_rows[i].stream);
		}
	}
}

TEST(the_query_begins_after_the_first_mark)
{
	CHECK_EQ(name_query_offset("key?a=1", 7), 4);
	CHECK_EQ(name_query_offset("key", 3), 3);
	CHECK_EQ(name_query_offset("?a", 2), 1);
	CHECK_EQ(name_query_offset("k?", 2), 2);
	CHECK_EQ(name_query_offset("k?a?b", 5), 2);
	CHECK_EQ(name_query_offset("", 0), 0);
}

static const struct {
	const char *query, *value;
	enum err err;
} query_rows[] = {
	/* clang-format off */
	{"token=abc", "abc", ERR_OK},
	{"a=1&token=abc&b=2", "abc", ERR_OK},
	{"token=", "", ERR_OK},
	{"token=a%2Bb%2fc", "a+b/c", ERR_OK},
	{"token=a=b", "a=b", ERR_OK},
	{"", "", ERR_NOT_FOUND},
	{"token", "", ERR_NOT_FOUND},
	{"xtoken=1", "", ERR_NOT_FOUND},
	{"tokenx=1", "", ERR_NOT_FOUND},
	{"&&=&token=z&", "z", ERR_OK},
	{"token=1&token=2", "", ERR_FORMAT},
	{"token=%", "", ERR_FORMAT},
	{"token=%4", "", ERR_FORMAT},
	{"token=%4x", "", ERR_FORMAT},
	{"token=a%00b", "", ERR_FORMAT},
	{"token=1234567", "1234567", ERR_OK},
	{"token=12345678", "", ERR_TOO_LARGE},
	/* clang-format on */
};

TEST(a_field_of_the_query_is_found_and_decoded)
{
	for (size_t i = 0; i < sizeof(query_rows) / sizeof(query_rows[0]); i++) {
		char value[8] = "junk";
		const char *query = query_rows[i].query;

		CHECK_EQ(name_query_get(query, strlen(query), "token", value, sizeof(value)),
			query_rows[i].err);
		CHECK_STR(value, query_rows[i].value);
	}
	CHECK_EQ(name_query_get("token=1", 7, "token", NULL, 0), ERR_TOO_LARGE);
}

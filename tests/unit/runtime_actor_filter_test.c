/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/actor_filter.h"
#include "tests/test.h"

TEST(which_actors_are_meant)
{
	static const struct {
		const char *text;
		enum err err;
		bool matches;
	} rows[] = {
		{"",									ERR_OK,     true },
		{"stream",								  ERR_OK,	   true },
		{"session",								 ERR_OK,	    false},
		{"where mailbox = 3",						       ERR_OK,     true },
		{"where mailbox = 3.0",						     ERR_OK,	true },
		{"where mailbox < 10",						      ERR_OK,     true }, /* as numbers, not as text */
		{"where mailbox >= 4",						      ERR_OK,     false},
		{"where mailbox != 3",						      ERR_OK,     false},
		{"where name = stream/live/demo",						  ERR_OK,	  true },
		{"where name ~ demo",						       ERR_OK,     true },
		{"where name ~ Demo",						       ERR_OK,     false},
		{"stream where viewers > 99",					       ERR_OK,     true }, /* of its state */
		{"stream where replica = true",						ERR_OK,	true },
		{"stream where replica = 1",						ERR_OK,     false},
		{"stream where source = 7/1f",					       ERR_OK,     true },
		{"stream where transcoded_codec = OPUS",					 ERR_OK,	 true },
		{"stream where resume ~ s",						 ERR_OK,	    false}, /* a secret is never compared */
		{"stream where resume != x",						ERR_OK,     false},
		{"stream where tracks = 1",						 ERR_OK,	    false},
		{"stream where nothing = 1",						ERR_OK,     false},
		{"where mailbox = 3 after 7/10000000010",					  ERR_OK,	  true },
		{"a b",								     ERR_FORMAT, false},
		{"where",								   ERR_FORMAT, false},
		{"where mailbox",							   ERR_FORMAT, false},
		{"where mailbox =",							 ERR_FORMAT, false},
		{"where mailbox =! 3",						      ERR_FORMAT, false},
		{"where mailbox <=> 3",						     ERR_FORMAT, false},
		{"where a = 1 where b = 2",						 ERR_FORMAT, false},
		{"where mailbox = 3 and name ~ demo",					      ERR_OK,     true },
		{"where mailbox = 3 and name ~ nothing",					 ERR_OK,	 false},
		{"stream where viewers > 9 and viewers < 200 and mailbox < 4 limit 2",      ERR_OK,
			true											},
		{"stream where last_packet_ms = 1500.5",					 ERR_OK,	 true }, /* kept in microseconds */
		{"stream where last_packet_ms < 1500",				       ERR_OK,     false},
		{"where mailbox = 3 and",						   ERR_FORMAT, false},
		{"and mailbox = 3",							 ERR_FORMAT, false},
		{"where a = 1 and b = 1 and c = 1 and d = 1 and e = 1 and f = 1 and g = 1",
			ERR_FORMAT,									    false},
		{"limit 0",								 ERR_FORMAT, false},
		{"limit -1",								ERR_FORMAT, false},
		{"limit x",								 ERR_FORMAT, false},
		{"limit",								   ERR_FORMAT, false},
		{"after",								   ERR_FORMAT, false},
		{"after x/y",							       ERR_FORMAT, false},
		{"a_name_that_is_longer_than_any_type_of_actor_may_be",			ERR_FORMAT, false},
	};
	static struct stream_state stream = {
		.viewers = 100,
		.last_packet_us = 1500500,
		.replica = true,
		.source = {7, 0x1f},
		.transcoded_codec = MEDIA_OPUS,
		.resume = "secret"
	  };
	struct actor_row row = {.type = "stream", .name = "stream/live/demo", .mailbox = 3};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct actor_filter filter;
		const char *problem = NULL;
		enum err err = actor_filter_parse(rows[i].text, &filter, &problem);

		if (err != rows[i].err ||
			(!err && actor_filter_match(&filter, &row, &schema_stream_state, &stream) !=
					 rows[i].matches))
			fail_msg("%s", rows[i].text);
		CHECK(problem && (!err || problem[0]));
	}
}

TEST(texts_of_a_state_by_name)
{
	static struct stream_state stream = {.name = "live/demo", .resume = "secret"};

	CHECK_STR(actor_filter_text(&schema_stream_state, &stream, "nothing,name"), "live/demo");
	CHECK_STR(actor_filter_text(&schema_stream_state, &stream, "resume"), "");
	CHECK_STR(actor_filter_text(&schema_stream_state, &stream, "viewers,"), "");
	CHECK_STR(actor_filter_text(&schema_stream_state, &stream, ""), "");
}

TEST(fields_that_no_such_actor_has)
{
	static const struct {
		const char *text;
		enum err err;
		const char *problem; /* a part of it */
	} rows[] = {
	// clang-format off
		{"where mailbox = 1", ERR_OK, ""},
		{"session where rtt_ms > 100", ERR_OK, ""},
		{"where rtt_us > 1", ERR_OK, ""}, /* of some type */
		{"session where viewers > 1", ERR_FORMAT, "viewers\" in actors of type session"},
		{"where nothing = 1", ERR_FORMAT, "no field \"nothing\""},
		{"stream where mailbox = 1 and nothing = 1", ERR_FORMAT, "nothing"},
		{"stream where resume = x", ERR_FORMAT, "secrets"},
		{"puppet where nothing = 1", ERR_OK, ""}, /* a type that has no schema here */
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct actor_filter filter;
		char problem[SCHEMA_PROBLEM_SIZE] = "";
		const char *expected;

		CHECK_OK(actor_filter_parse(rows[i].text, &filter, &expected));
		if (actor_filter_check(&filter, problem) != rows[i].err ||
			!strstr(problem, rows[i].problem))
			fail_msg("%s: %s", rows[i].text, problem);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Relaying: the table and its decisions, in rows.
 */
#include "cluster/relay_internal.h"
#include "tests/test.h"

enum { OWN = 1, ORIGIN = 9 };

static const struct addr its_owner = {.node = ORIGIN, .id = 5};

TEST(the_table_is_full_and_empties)
{
	struct relay_table *table = relay_create(OWN);
	struct relay_stream *stream;
	char name[128];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < RELAY_STREAMS_MAX; i++) {
			snprintf(name, sizeof(name), "live/%d", i);
			stream = relay_add(table, name, its_owner, 1);
			CHECK(stream != NULL);
			CHECK(relay_downstream_put(table, stream, 100 + i % 7) != NULL);
		}
		CHECK(relay_add(table, "live/x", its_owner, 1) == NULL);
		CHECK_EQ(relay_count(table), RELAY_STREAMS_MAX);
		CHECK(relay_find(table, "live/77") != NULL);
		CHECK(relay_find(table, "live/x") == NULL);
		unsigned behind = 0;
		for (stream = relay_behind(table, ""); stream;
			stream = relay_behind(table, stream->row.name))
			behind++;
		CHECK_EQ(behind, RELAY_STREAMS_MAX);
		for (int i = 0; i < RELAY_STREAMS_MAX; i++) {
			snprintf(name, sizeof(name), "live/%d", i);
			relay_drop(table, relay_find(table, name));
		}
		CHECK_EQ(relay_count(table), 0);
	}
	relay_destroy(&table);
	relay_destroy(&table);
}

TEST(the_downstream_is_bounded_and_comes_back)
{
	struct relay_table *table = relay_create(OWN);
	struct relay_stream *one = relay_add(table, "live/a", its_owner, 1);
	struct relay_stream *other = relay_add(table, "live/b", its_owner, 1);
	struct relay_downstream *first = NULL;

	for (uint64_t node = 1; node <= 1000; node++)
		CHECK(relay_downstream_put(table, one, node) != NULL);
	CHECK_EQ(one->row.downstream, 1000);
	CHECK(relay_downstream_put(table, one, 500) != NULL); /* no second one */
	CHECK_EQ(one->row.downstream, 1000);
	table->downstream_used = RELAY_DOWNSTREAM_MAX;
	CHECK(relay_downstream_put(table, other, 1) == NULL);
	relay_downstream_remove(table, one, 500);
	relay_downstream_remove(table, one, 500);
	CHECK_EQ(one->row.downstream, 999);
	CHECK(relay_downstream_put(table, other, 1) != NULL);
	CHECK(relay_downstream_put(table, other, 2) == NULL);
	while ((first = relay_downstream_next(table, one, first)))
		CHECK(first->node != 500);
	relay_drop(table, one);
	CHECK(relay_downstream_put(table, other, 2) != NULL);
	relay_destroy(&table);
}

TEST(a_node_is_avoided_for_a_time)
{
	struct relay_stream stream = {0};

	relay_avoid(&stream, 2, 1000000);
	CHECK(relay_avoids(&stream, 2, 1000000));
	CHECK(!relay_avoids(&stream, 3, 1000000));
	CHECK_EQ(relay_avoids_for_ms(&stream, 2, 2000000), RELAY_AVOID_MS - 1000);
	CHECK(!relay_avoids(&stream, 2, 1000000 + RELAY_AVOID_MS * 1000));
	for (uint64_t node = 3; node <= 3 + RELAY_AVOIDED_MAX; node++)
		relay_avoid(&stream, node, 1000000 + (int64_t)node);
	CHECK(!relay_avoids(&stream, 2, 1000010)); /* the oldest made room */
	CHECK(relay_avoids(&stream, 3 + RELAY_AVOIDED_MAX, 1000010));
}

TEST(paths_that_are_taken)
{
	static const struct {
		uint64_t source;
		unsigned count;
		uint64_t nodes[RELAY_PATH_MAX];
		enum err err;
	} rows[] = {
		{9, 1, {9},	    ERR_OK	  },
		{2, 2, {2, 9},       ERR_OK    },
		{2, 4, {2, 3, 4, 9}, ERR_OK	   },
		{2, 3, {2, OWN, 9},  ERR_EXISTS},
		{2, 2, {3, 9},       ERR_FORMAT},
		{2, 0, {0},	    ERR_FORMAT},
		{0, 1, {0},	    ERR_FORMAT},
	};
	struct relay_table table = {.own = OWN};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct relay_hop hops[RELAY_PATH_MAX] = {0};

		for (unsigned k = 0; k < rows[i].count; k++)
			hops[k].node = rows[i].nodes[k];
		CHECK_EQ(
			relay_check_path(&table,
				(struct addr){.node = rows[i].source, .id = rows[i].source ? 1 : 0},
				hops, (uint16_t)rows[i].count),
			rows[i].err);
	}
}

TEST(what_is_tried_in_which_order)
{
	/* ways by near node (far 0); what comes of them: nodes to pull from, then the end */
	static const struct {
		const char *what;
		enum relay_want want;
		uint64_t first, source, ways[ROUTE_WAYS_MAX];
		unsigned count;
		uint64_t avoided, pulls[4];
		enum relay_try end;
	} rows[] = {
		{"no route",	     RELAY_WANT_SOURCE, 0, 0, {0},	   0, 0,	 {0},    RELAY_TRY_ORIGIN},
		{"straight",	     RELAY_WANT_SOURCE, 0, 0, {0, 2},    2, 0,	    {0},	 RELAY_TRY_ORIGIN},
		{"by name of node",   RELAY_WANT_SOURCE, 0, 0, {ORIGIN},  1, 0,	     {0},	  RELAY_TRY_ORIGIN},
		{"relays first",	 RELAY_WANT_SOURCE, 0, 0, {2, 3, 0}, 3, 0,	   {2, 3},
			RELAY_TRY_ORIGIN									    },
		{"not all of them",   RELAY_WANT_SOURCE, 0, 0, {2, 3, 4}, 3, 0,      {2, 3},
			RELAY_TRY_ORIGIN									    },
		{"a hint before",	  RELAY_WANT_SOURCE, 7, 0, {2, 3},	   2, 0,	 {7, 2}, RELAY_TRY_ORIGIN},
		{"avoided",	    RELAY_WANT_SOURCE, 0, 0, {2, 3},    2, 2,	   {3},	RELAY_TRY_ORIGIN},
		{"origin avoided",	   RELAY_WANT_SOURCE, 0, 0, {0, 2},    2, ORIGIN, {2},    RELAY_TRY_NONE  },
		{"never over itself", RELAY_WANT_SOURCE, 0, 0, {OWN, 3},	 2, 0,      {3},
			RELAY_TRY_ORIGIN									    },
		{"better ones alone", RELAY_WANT_BETTER, 0, 3, {2, 3, 0}, 3, 0,	{2},
			RELAY_TRY_NONE									      },
		{"better: straight",  RELAY_WANT_BETTER, 0, 3, {0, 3},    2, 0,	    {0},	 RELAY_TRY_ORIGIN},
		{"none is better",	   RELAY_WANT_BETTER, 0, 3, {2},	 1, 2,      {0},    RELAY_TRY_NONE  },
	};
	struct relay_table table = {.own = OWN};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct relay_stream stream = {
			.row = {.owner = its_owner, .source = {.node = rows[i].source, .id = 1}}
		};
		struct route_way ways[ROUTE_WAYS_MAX] = {0}, way;
		enum relay_try now;
		unsigned pulls = 0;

		for (unsigned k = 0; k < rows[i].count; k++)
			ways[k].near = rows[i].ways[k];
		if (rows[i].avoided)
			relay_avoid(&stream, rows[i].avoided, 1);
		relay_search_begin(&stream, rows[i].want, rows[i].first, ways, rows[i].count);
		while ((now = relay_search_next(&table, &stream, 2, &way)) == RELAY_TRY_PULL) {
			CHECK(pulls < 4);
			CHECK_EQ(way.near, rows[i].pulls[pulls++]);
		}
		if (now != rows[i].end || (pulls < 4 && rows[i].pulls[pulls]))
			fail_msg("%s: %u pulls, then %d", rows[i].what, pulls, now);
	}
}

TEST(what_a_route_says_of_the_source)
{
	static const struct {
		uint64_t source, ways[2];
		enum link_state states[2];
		bool planned, detour;
		enum relay_verdict verdict;
	} rows[] = {
		{2,	    {2, 0}, {LINK_UP, LINK_UP},		true,  false, RELAY_STAYS },
		{ORIGIN, {0, 2}, {LINK_UP, LINK_UP},	     true,  false, RELAY_STAYS },
		{2,	    {0, 2}, {LINK_UP, LINK_UP},		true,  false, RELAY_BETTER},
		{2,	    {0, 3}, {LINK_UP, LINK_UP},		true,  false, RELAY_BETTER},
		{2,	    {0, 2}, {LINK_UP, LINK_UP},		false, false, RELAY_STAYS },
		{2,	    {0, 2}, {LINK_UP, LINK_DOWN},		  true,	false, RELAY_LOST	 },
		{2,	    {2, 0}, {LINK_DOWN, LINK_UP},		  true,	false, RELAY_LOST	 },
		{2,	    {0, 2}, {LINK_UP, LINK_DOUBTFUL},	      true,  true,  RELAY_LOST  },
		{2,	    {0, 2}, {LINK_UP, LINK_DOUBTFUL},	      true,  false, RELAY_LOST  },
		{2,	    {0, 2}, {LINK_DOUBTFUL, LINK_DOUBTFUL}, true,  true,	RELAY_LOST  },
		{2,	    {0, 2}, {LINK_DOUBTFUL, LINK_DOUBTFUL}, true,  false, RELAY_BETTER},
		{2,	    {0, 2}, {LINK_UP, LINK_UP},		true,  true,  RELAY_BETTER},
		{2,	    {0, 3}, {LINK_UP, LINK_UP},		true,  true,  RELAY_LOST  },
		{2,	    {2, 0}, {LINK_DOWN, LINK_DOWN},	    true,  false, RELAY_STAYS },
	};
	struct relay_table table = {.own = OWN};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct relay_stream stream = {
			.row = {.owner = its_owner, .source = {.node = rows[i].source, .id = 1}}
		};
		struct msg_route route = {
			.ways_count = 2, .planned = rows[i].planned, .detour = rows[i].detour};

		for (int k = 0; k < 2; k++)
			route.ways[k] = (struct route_way){
				.near = rows[i].ways[k], .state = rows[i].states[k]};
		if (relay_judge(&table, &stream, &route, 1) != rows[i].verdict)
			fail_msg("row %zu", i);
	}
}

TEST(a_source_that_no_way_leads_over_is_left_when_it_is_in_trouble)
{
	static const struct {
		uint8_t first_state, source_state; /* LINK_UP: it is not named */
		enum relay_verdict verdict;
	} rows[] = {
		{LINK_UP,	  LINK_UP,	   RELAY_BETTER},
		{LINK_UP,	  LINK_DOUBTFUL, RELAY_LOST  },
		{LINK_UP,	  LINK_DOWN,     RELAY_LOST  },
		{LINK_DOUBTFUL, LINK_DOUBTFUL, RELAY_BETTER},
	};
	struct relay_table table = {.own = OWN};
	struct relay_stream stream = {
		.row = {.owner = its_owner, .source = {.node = 5, .id = 1}}
	   };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct msg_route route = {
			.ways_count = 1,
			.ways = {{.near = 2, .state = rows[i].first_state}},
			.planned = true,
			.troubled_count = rows[i].source_state ? 2 : 1,
			.troubled = { {9, LINK_DOWN},		     {5, rows[i].source_state}}
		       };

		if (relay_judge(&table, &stream, &route, 1) != rows[i].verdict)
			fail_msg("row %zu", i);
	}
}

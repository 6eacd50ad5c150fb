/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/standing.h"
#include "tests/test.h"

enum { NOW = 100000000, OLD = NOW - STANDING_OLD_MS * 1000 };

#define AT(n, where, busy, has, ...)                                                         \
	{                                                                                    \
		.node = (n), .region = where, .url = "http://n" #n, .busy_permille = (busy), \
		.sessions = (has), .heard_us = NOW, ##__VA_ARGS__                            \
	}

TEST(who_takes_a_session)
{
	static const struct {
		const char *what;
		struct standing nodes[3];
		uint16_t count;
		uint64_t with_stream;
		uint64_t chosen;
	} rows[] = {
	// clang-format off
		{"nobody is there", {{0}}, 0, 0, 0},
		{"one", {AT(1, "eu", 100, 1)}, 1, 0, 1},
		{"the less busy", {AT(1, "eu", 500, 1), AT(2, "eu", 300, 9)}, 2, 0, 2},
		{"noise: fewer sessions", {AT(1, "eu", 100, 9), AT(2, "eu", 110, 3)}, 2, 0, 2},
		{"noise does not add up", {AT(1, "eu", 0, 5), AT(2, "eu", 15, 4), AT(3, "eu", 30, 3)}, 3, 0, 2},
		{"all equal: the first", {AT(1, "eu", 0, 0), AT(2, "eu", 0, 0)}, 2, 0, 1},
		{"the own region first", {AT(1, "us", 0, 0), AT(2, "eu", 800, 90)}, 2, 0, 2},
		{"else another one", {AT(1, "us", 10, 0), AT(2, "eu", 0, 0, .full = true)}, 2, 0, 1},
		{"who has the stream", {AT(1, "eu", 10, 0), AT(2, "eu", 600, 90)}, 2, 2, 2},
		{"… in the own region", {AT(1, "eu", 10, 0), AT(2, "us", 0, 0)}, 2, 2, 1},
		{"… where there is none", {AT(1, "us", 10, 0), AT(2, "asia", 300, 9)}, 2, 2, 2},
		{"… but not when full", {AT(1, "eu", 10, 0), AT(2, "eu", 0, 0, .full = true)}, 2, 2, 1},
		{"sent there since", {AT(1, "eu", 100, 10, .sent = 30), AT(2, "eu", 300, 30)}, 2, 0, 2},
		{"drains", {AT(1, "eu", 0, 0, .draining = true)}, 1, 0, 0},
		{"silent", {{.node = 1, .region = "eu", .url = "http://a", .heard_us = OLD}}, 1, 0, 0},
		{"without an address", {{.node = 1, .region = "eu", .heard_us = NOW}}, 1, 0, 0},
		{"all full", {AT(1, "eu", 0, 0, .full = true), AT(2, "us", 0, 0, .full = true)}, 2, 0, 0},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct standing nodes[3];

		memcpy(nodes, rows[i].nodes, sizeof(nodes));
		const struct standing *chosen =
			standing_choose(nodes, rows[i].count, "eu", rows[i].with_stream, NOW);

		if ((chosen ? chosen->node : 0) != rows[i].chosen)
			fail_msg("%s: %d", rows[i].what, chosen ? (int)chosen->node : 0);
	}
}

TEST(a_burst_is_spread)
{
	struct standing nodes[3] = {AT(1, "eu", 0, 0), AT(2, "eu", 0, 0), AT(3, "eu", 300, 60)};

	for (int i = 0; i < 300; i++)
		standing_choose(nodes, 3, "eu", 0, NOW)->sent++;
	CHECK_GE(nodes[0].sent, 100);
	CHECK_GE(nodes[1].sent, 100);
	CHECK_GE(nodes[2].sent, 20);
}

TEST(what_nodes_say_is_kept_and_forgotten)
{
	static struct standing nodes[STANDINGS_MAX];
	struct msg_node_standing said = {.name = "a", .url = "https://a.example.org/x"};
	uint16_t count = 0;

	CHECK_OK(standing_take(nodes, &count, 7, &said, NOW));
	CHECK_OK(standing_take(nodes, &count, 3, &said, NOW));
	standing_find(nodes, count, 3)->sent = 5;
	said.busy_permille = 400;
	CHECK_OK(standing_take(nodes, &count, 3, &said, NOW + 1));
	CHECK_EQ(count, 2);
	CHECK_EQ(nodes[0].node, 3);
	CHECK_EQ(nodes[0].busy_permille, 400);
	CHECK_EQ(nodes[0].sent, 0);
	CHECK(!standing_find(nodes, count, 5));
	standing_forget(nodes, &count, 5);
	standing_forget(nodes, &count, 3);
	CHECK_EQ(count, 1);
	CHECK_EQ(nodes[0].node, 7);
	for (uint64_t node = 100; count < STANDINGS_MAX; node++)
		CHECK_OK(standing_take(nodes, &count, node, &said, NOW));
	CHECK_EQ(standing_take(nodes, &count, 1, &said, NOW), ERR_LIMIT);
	CHECK_OK(standing_take(nodes, &count, 7, &said, NOW));
}

TEST(addresses_that_would_break_a_header_are_refused)
{
	static const struct {
		const char *url;
		enum err err;
	} rows[] = {
		{"http://10.0.0.1:8080",	 ERR_OK    },
		{"https://a.example.org/base", ERR_OK    },
		{"http://[2001:db8::1]:8080",  ERR_OK    },
		{"",			   ERR_OK	   },
		{"ftp://a",		    ERR_FORMAT},
		{"javascript:alert(1)",	ERR_FORMAT},
		{"http://a b",		       ERR_FORMAT},
		{"http://a\r\nX: y",	     ERR_FORMAT},
		{"http://a>; rel=x",	     ERR_FORMAT},
		{"http://a?b",		       ERR_FORMAT},
		{"http://a,b",		       ERR_FORMAT},
		{"http://\xc3\xa4",	    ERR_FORMAT},
	};
	struct standing nodes[2];
	uint16_t count = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct msg_node_standing said = {0};

		strcpy(said.url, rows[i].url);
		if (standing_take(nodes, &count, 1, &said, NOW) != rows[i].err)
			fail_msg("%s", rows[i].url);
	}
}

TEST(alternatives_are_the_best_first)
{
	static struct standing nodes[] = {AT(1, "us", 0, 0), AT(2, "eu", 500, 9),
		AT(3, "eu", 100, 9), AT(4, "eu", 0, 0, .draining = true), AT(5, "us", 300, 0)};
	char urls[ALTERNATIVES_SIZE + 1];

	standing_alternatives(nodes, 5, "eu", NOW, urls);
	CHECK_STR(urls, "http://n3 http://n2 http://n1");
	standing_alternatives(nodes, 1, "eu", NOW, urls);
	CHECK_STR(urls, "http://n1");
	standing_alternatives(nodes, 0, "eu", NOW, urls);
	CHECK_STR(urls, "");
}

TEST(a_full_node_must_come_well_below_its_limit)
{
	static const struct {
		bool was;
		uint32_t busy, sessions, sessions_max;
		bool full;
	} rows[] = {
		{false, 899, 5, 0, false},
		{false, 900, 5, 0, true },
		{true,  860, 5, 0, true },
		{true,  849, 5, 0, false},
		{false, 0,   5, 5, true },
		{true,  0,	  4, 5, false},
		{false, 0,   6, 5, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(standing_is_full(rows[i].was, rows[i].busy, rows[i].sessions, 900,
				 rows[i].sessions_max),
			rows[i].full);
}

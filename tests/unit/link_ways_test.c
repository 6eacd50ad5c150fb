/* SPDX-License-Identifier: Apache-2.0
 *
 * Which paths lie between the addresses of two nodes: both ends must number them alike.
 */
#include "actors/link/link_internal.h"
#include "tests/test.h"

#include <stdio.h>

enum { PORT = 7500 };

static void say_addresses(char *list, size_t size, unsigned node, unsigned count)
{
	size_t used = 0;

	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(
			list + used, size - used, "%s10.0.%u.%u", i ? "," : "", node, i + 1);
}

static void know_own(struct link_facts *facts, unsigned node, unsigned count)
{
	char text[32];

	facts->address_count = count;
	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "10.0.%u.%u", node, i + 1);
		CHECK_OK(net_addr_parse(text, &facts->locals[i]));
	}
}

TEST(both_ends_number_their_paths_alike)
{
	static const struct {
		unsigned opener, other, paths;
	} rows[] = {
		{1, 1, 1},
		{2, 1, 2},
		{1, 3, 3},
		{2, 2, 4},
		{2, 3, 4},
		{3, 2, 4},
		{4, 4, 4},
		{4, 1, 4},
	};

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		static struct media_link ends[2];
		struct link_facts facts[2] = {0};
		char lists[2][LINK_ADDRESSES_SIZE];
		const unsigned counts[2] = {rows[row].opener, rows[row].other};

		for (unsigned i = 0; i < 2; i++) {
			ends[i] = (struct media_link){.facts = &facts[i], .st.opener = !i};
			know_own(&facts[i], i, counts[i]);
			say_addresses(lists[i], sizeof(lists[i]), i, counts[i]);
		}
		for (unsigned i = 0; i < 2; i++) {
			CHECK(link_ways_take(&ends[i], lists[!i], PORT));
			CHECK_EQ(ends[i].path_count, rows[row].paths);
		}
		for (unsigned path = 0; path < rows[row].paths; path++) {
			CHECK(net_addr_same_ip(&ends[0].locals[path], &ends[1].remotes[path]));
			CHECK(net_addr_same_ip(&ends[1].locals[path], &ends[0].remotes[path]));
			for (unsigned other = 0; other < path; other++)
				CHECK(!net_addr_same_ip(
					      &ends[0].locals[path], &ends[0].locals[other]) ||
					!net_addr_same_ip(
						&ends[0].remotes[path], &ends[0].remotes[other]));
		}
		/* the first two share no address, where that can be */
		if (counts[0] > 1 && counts[1] > 1) {
			CHECK(!net_addr_same_ip(&ends[0].locals[0], &ends[0].locals[1]));
			CHECK(!net_addr_same_ip(&ends[0].remotes[0], &ends[0].remotes[1]));
		}
		/* a successor reads the same out of the state */
		static struct media_link again;

		again = (struct media_link){.facts = &facts[0], .st = ends[0].st};
		CHECK(link_ways_restore(&again));
		CHECK_EQ(again.path_count, ends[0].path_count);
		for (unsigned path = 0; path < again.path_count; path++)
			CHECK(net_addr_same_ip(&again.locals[path], &ends[0].locals[path]) &&
				net_addr_equal(&again.remotes[path], &ends[0].remotes[path]));
	}
}

TEST(addresses_that_make_no_sense_are_refused)
{
	static const struct {
		const char *addresses;
		uint16_t port;
	} rows[] = {
		{"",		     PORT},
		{"10.0.0.1",	     0   },
		{"10.0.0.1,nowhere", PORT},
	};
	static struct media_link s;
	struct link_facts facts = {.address_count = 1};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s = (struct media_link){.facts = &facts};
		CHECK(!link_ways_take(&s, rows[i].addresses, rows[i].port));
	}
}

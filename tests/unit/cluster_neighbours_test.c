/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/neighbours.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static struct neighbours n;

static struct link_row row_of(uint64_t node, uint64_t rate_bps)
{
	return (struct link_row){.node = node,
		.rtt_us = (uint32_t)(1000 * node),
		.loss_ppm = (uint32_t)(10 * node),
		.state = node % 2 ? LINK_UP : LINK_DOUBTFUL,
		.rate_bps = rate_bps,
		.repaired = 2,
		.given_up = 1};
}

/* Nodes 1 to `count`, each busier than the one before, but for `node`, which sends `rate_bps`. */
static const struct process_neighbours *round_of(unsigned count, uint64_t node, uint64_t rate_bps)
{
	neighbours_begin(&n);
	for (uint64_t i = 1; i <= count; i++) {
		struct link_row row = row_of(i, i == node ? rate_bps : 8000 * i);

		neighbours_offer(&n, &row);
	}
	return neighbours_end(&n);
}

static bool is_named(uint64_t node)
{
	for (unsigned i = 0; i < n.count; i++)
		if (n.named[i].id == node)
			return true;
	return false;
}

TEST(few_are_all_named)
{
	n = (struct neighbours){0};
	const struct process_neighbours *page = round_of(3, 0, 0);

	CHECK_EQ(page->total, 3);
	CHECK_EQ(page->count, 3);
	CHECK_STR(page->named[0].name, "3");
	CHECK_EQ(page->named[0].bytes_per_s, 3000);
	CHECK_EQ(page->named[0].round_trip_us, 3000);
	CHECK_EQ(page->named[0].lost_ppm, 30);
	CHECK_EQ(page->named[0].up, 1);
	CHECK_EQ(page->named[1].up, 0);
	CHECK_EQ(page->named[0].repaired_per_s, 2);
	CHECK_EQ(page->named[0].given_up_per_s, 1);
	CHECK_EQ(page->named[0].modes[LINK_SMART], 1);
	CHECK_STR(page->other.name, "other");
	CHECK_EQ(page->other.bytes_per_s, 0);
}

TEST(of_many_the_busiest_are_named_and_the_rest_is_added_up)
{
	n = (struct neighbours){0};
	const struct process_neighbours *page = round_of(20, 0, 0);

	CHECK_EQ(page->total, 20);
	CHECK_EQ(page->count, PROCESS_NEIGHBOURS_MAX);
	CHECK(is_named(20) && is_named(5) && !is_named(4));
	/* 1 to 4 */
	CHECK_EQ(page->other.bytes_per_s, 10000);
	CHECK_EQ(page->other.round_trip_us, 4000);
	CHECK_EQ(page->other.lost_ppm, 40);
	CHECK_EQ(page->other.up, 2);
	CHECK_EQ(page->other.repaired_per_s, 8);
	CHECK_EQ(page->other.modes[LINK_SMART], 4);
}

TEST(who_is_named_stays_until_another_is_busier_by_a_quarter)
{
	n = (struct neighbours){0};
	round_of(20, 0, 0);
	round_of(20, 4, 8000 * 6);
	CHECK(is_named(5) && !is_named(4));
	round_of(20, 4, 8000 * 7);
	CHECK(!is_named(5) && is_named(4));
	round_of(20, 0, 0);
	CHECK(is_named(4) && !is_named(5));
}

TEST(names_are_asked_for_kept_and_made_fit_for_a_label)
{
	n = (struct neighbours){0};
	round_of(2, 0, 0);
	CHECK_EQ(neighbours_unnamed(&n), 2);
	neighbours_name(&n, 2, "fra \"1\"\\");
	CHECK_EQ(neighbours_unnamed(&n), 1);
	neighbours_name(&n, 1, "par1");
	neighbours_name(&n, 99, "nobody");
	const struct process_neighbours *page = round_of(2, 0, 0);

	CHECK_STR(page->named[0].name, "fra__1__");
	CHECK_STR(page->named[1].name, "par1");
	/* one after the other, since names change */
	uint64_t first = neighbours_unnamed(&n), second = neighbours_unnamed(&n);

	CHECK(first + second == 3 && first != second);
}

TEST(two_of_one_name_and_one_that_is_named_other_are_told_apart)
{
	n = (struct neighbours){0};
	round_of(3, 0, 0);
	neighbours_name(&n, 3, "twin");
	neighbours_name(&n, 2, "twin");
	neighbours_name(&n, 1, "other");
	const struct process_neighbours *page = round_of(3, 0, 0);

	CHECK_STR(page->named[0].name, "twin-3");
	CHECK_STR(page->named[1].name, "twin-2");
	CHECK_STR(page->named[2].name, "other-1");
}

TEST(nobody)
{
	n = (struct neighbours){0};
	const struct process_neighbours *page = round_of(0, 0, 0);

	CHECK_EQ(page->count, 0);
	CHECK_STR(page->other.name, "other");
	CHECK_EQ(neighbours_unnamed(&n), 0);
}

static void offer_paths(uint64_t node, unsigned count)
{
	struct link_row rows[PROCESS_NEIGHBOUR_PATHS] = {0};

	for (unsigned i = 0; i < count; i++) {
		rows[i] = row_of(node, 8000000);
		rows[i].path = (uint8_t)i;
		rows[i].jitter_us = 160;
		rows[i].relay = i == 1 ? 99 : 0;
	}
	neighbours_paths(&n, node, rows, count);
}

/* As many as there is room for, a neighbour's all or none; the others are added up. */
TEST(paths_of_the_busiest_are_named)
{
	n = (struct neighbours){0};
	round_of(8, 0, 0);
	for (uint64_t node = 8; node > 0; node--)
		offer_paths(node, 4);
	CHECK_EQ(n.paths.count, 20);
	CHECK_EQ(n.paths.named[5].neighbour, 1);
	CHECK_EQ(n.paths.named[5].path, 1);
	CHECK_EQ(n.paths.named[5].relayed, 1);
	CHECK_EQ(n.paths.named[4].relayed, 0);
	CHECK_EQ(n.paths.named[5].round_trip_us, 7000);
	CHECK_EQ(n.paths.named[5].jitter_16us, 10);
	CHECK_EQ(n.paths.named[5].sent_kbps, 8000);
	CHECK_EQ(n.paths.named[5].state, LINK_UP);
	CHECK_EQ(n.paths.other.round_trip_us, 3000);
	CHECK_EQ(n.paths.other.sent_kbps, 12 * 8000);
	CHECK_EQ(n.paths.other.state, 8); /* of nodes 1 and 3 */
	round_of(1, 0, 0);
	CHECK_EQ(n.paths.count, 0);
	offer_paths(2, 5); /* who is not named */
	CHECK_EQ(n.paths.count, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/placement.h"
#include "tests/test.h"

enum { NOW = 100000000, OLD = NOW - PLACEMENT_REPORT_OLD_MS * 1000 };

#define AT(i, cpu, pps, sess, put)                                                               \
	{                                                                                        \
		.process = (i) + 2, .index = (i), .cpu_permille = (cpu), .packets_per_s = (pps), \
		.sessions = (sess), .placed = (put), .reported_us = NOW                          \
	}

TEST(the_least_loaded_worker_is_taken)
{
	static const struct {
		const char *what;
		struct worker_load workers[3];
		int count;
		int chosen;
	} rows[] = {
	// clang-format off
		{"nobody is there", {{0}}, 0, -1},
		{"one", {AT(0, 100, 0, 1, 0)}, 1, 0},
		{"the lower processor", {AT(0, 500, 0, 9, 0), AT(1, 200, 0, 9, 0)}, 2, 1},
		{"packets weigh too", {AT(0, 50, 200000, 9, 0), AT(1, 200, 0, 9, 0)}, 2, 1},
		{"noise: fewer sessions", {AT(0, 100, 0, 5, 0), AT(1, 115, 0, 3, 0)}, 2, 1},
		{"beyond noise: the load", {AT(0, 100, 0, 5, 0), AT(1, 130, 0, 3, 0)}, 2, 0},
		{"just placed", {AT(0, 100, 0, 5, 4), AT(1, 100, 0, 8, 0)}, 2, 1},
		{"heavy sessions", {AT(0, 300, 0, 3, 1), AT(1, 350, 0, 9, 0)}, 2, 1},
		{"all equal: the first", {AT(0, 0, 0, 0, 0), AT(1, 0, 0, 0, 0)}, 2, 0},
		{"all full", {AT(0, 900, 0, 9, 0), AT(1, 950, 0, 9, 0)}, 2, -1},
		{"full by what was placed", {AT(0, 800, 0, 8, 1), AT(1, 950, 0, 9, 0)}, 2, -1},
		{"absurd", {AT(0, UINT32_MAX, 1, 1, UINT32_MAX), AT(1, 899, 0, 0, 0)}, 2, 1},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (placement_choose(rows[i].workers, rows[i].count, NOW) != rows[i].chosen)
			fail_msg("%s: %d", rows[i].what,
				placement_choose(rows[i].workers, rows[i].count, NOW));
}

TEST(those_who_leave_or_are_silent_get_nothing)
{
	struct worker_load workers[2] = {AT(0, 10, 0, 0, 0), AT(1, 700, 0, 0, 0)};

	CHECK_EQ(placement_choose(workers, 2, NOW), 0);
	workers[0].draining = true;
	CHECK_EQ(placement_choose(workers, 2, NOW), 1);
	workers[0].draining = false;
	workers[0].reported_us = OLD;
	CHECK_EQ(placement_choose(workers, 2, NOW), 1);
	workers[1].full = true;
	CHECK_EQ(placement_choose(workers, 2, NOW), -1);
}

TEST(a_full_worker_must_come_well_below_the_limit)
{
	static const struct {
		uint32_t cpu_permille;
		bool full;
	} rows[] = {
		{899,  false},
		      {900,  true },
		   {860,	 true },
		{849,  false},
		      {860,  false},
		    {2000, true }
	};
	struct worker_load worker = AT(0, 0, 0, 0, 7);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct msg_load_report report = {.cpu_permille = rows[i].cpu_permille};

		placement_report(&worker, &report, NOW);
		CHECK_EQ(worker.full, rows[i].full);
		CHECK_EQ(worker.placed, 0);
	}
}

/* 300 sessions between two reports: no worker gets them all, and the busier gets fewer. */
TEST(a_burst_is_spread)
{
	struct worker_load workers[3] = {
		AT(0, 0, 0, 0, 0), AT(1, 0, 0, 0, 0), AT(2, 300, 0, 60, 0)};

	for (int i = 0; i < 300; i++) {
		int chosen = placement_choose(workers, 3, NOW);

		CHECK_GE(chosen, 0);
		workers[chosen].placed++;
	}
	CHECK_GE(workers[0].placed, 110);
	CHECK_GE(workers[1].placed, 110);
	CHECK_GE(workers[2].placed, 30);
	CHECK_LE(workers[2].placed, 80);
}

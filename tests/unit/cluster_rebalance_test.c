/* SPDX-License-Identifier: Apache-2.0
 *
 * Who gives how many viewers to whom: rows of what workers have reported.
 */
#include "cluster/rebalance.h"
#include "tests/test.h"

enum { NOW_US = 60000000, WORKERS = 3 };

struct row {
	const char *what;
	struct {
		uint32_t load, sessions;
		uint32_t stay;	     /* of the sessions, those that cannot move … */
		uint32_t publishers; /* … and those that publish by WebRTC */
		bool draining, full, silent;
	} workers[WORKERS];
	int from, to; /* where count is not 0 */
	uint32_t count;
};

static void fill(const struct row *row, struct worker_load *workers)
{
	for (int i = 0; i < WORKERS; i++)
		workers[i] = (struct worker_load){.process = (uint32_t)i + 1,
			.index = (uint32_t)i,
			.cpu_permille = row->workers[i].load,
			.sessions = row->workers[i].sessions,
			.viewers = row->workers[i].sessions - row->workers[i].stay -
				   row->workers[i].publishers,
			.publishers = row->workers[i].publishers,
			.draining = row->workers[i].draining,
			.full = row->workers[i].full,
			.reported_us = row->workers[i].silent ? 0 : NOW_US};
}

/* As placement does it each second: what those that drain give, else what the busiest does. */
static struct rebalance look(const struct worker_load *workers, uint32_t *ticks)
{
	struct rebalance choice = rebalance_choose(workers, WORKERS, NOW_US, ticks);

	for (int i = 0; i < WORKERS; i++) {
		struct rebalance drain = rebalance_drain(workers, WORKERS, NOW_US, i);

		if (drain.count)
			return drain;
	}
	return choice;
}

TEST(as_few_as_mend_it_go_from_the_busiest_to_the_least_busy)
{
	// clang-format off
	static const struct row rows[] = {
		{"even",                   {{300, 100}, {310, 100}, {290, 100}}, 0, 0, 0},
		{"a little apart",         {{300, 100}, {200, 70}, {160, 60}}, 0, 0, 0},
		{"a new one",              {{600, 200}, {600, 200}, {0, 0}}, 0, 2, 10},
		{"one more busy",          {{500, 200}, {600, 200}, {300, 100}}, 1, 2, 10},
		{"half of the difference", {{400, 4}, {0, 0}, {390, 4}}, 0, 1, 1},
		{"one large session",      {{600, 1}, {0, 0}, {0, 0}}, 0, 0, 0},
		{"the taker drains",       {{600, 200}, {600, 200}, {0, 0, .draining = true}}, 0, 0, 0},
		{"the taker is silent",    {{600, 200}, {600, 200}, {0, 0, .silent = true}}, 0, 0, 0},
		{"the giver is silent",    {{600, 200, .silent = true}, {90, 30}, {0, 0}}, 0, 0, 0},
		{"all are busy",           {{950, 300, .full = true}, {700, 250}, {780, 250}}, 0, 0, 0},
		{"near the limit",         {{900, 300}, {690, 230}, {690, 230}}, 0, 1, 3},
		{"one drains",             {{100, 40, .draining = true}, {300, 90}, {200, 80}}, 0, 2, 10},
		{"one drains, the last",   {{10, 1, .draining = true}, {300, 90}, {200, 80}}, 0, 2, 1},
		{"all drain",              {{10, 9, .draining = true}, {9, 9, .draining = true},
		                            {9, 9, .draining = true}}, 0, 0, 0},
		{"one drains, what stays", {{100, 1, .stay = 1, .draining = true}, {100, 20, .draining = true},
		                            {200, 80}}, 1, 2, 5},
		{"what stays, and load",   {{100, 1, .stay = 1, .draining = true}, {600, 200}, {0, 0}}, 1, 2, 10},
		{"one drains, publishers", {{100, 2, .publishers = 2, .draining = true}, {300, 90}, {200, 80}},
		                            0, 2, 1},
		{"the busiest all stay",   {{800, 90, .stay = 90}, {600, 200}, {0, 0}}, 1, 2, 10},
		{"the busiest publish",    {{800, 90, .publishers = 90}, {600, 200}, {0, 0}}, 1, 2, 10},
		{"half of them stay",      {{600, 200, .stay = 100}, {600, 200, .stay = 100}, {0, 0}}, 0, 2, 5},
		{"idle sessions",          {{20, 900}, {0, 0}, {0, 0}}, 0, 0, 0},
	};
	// clang-format on

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct worker_load workers[WORKERS];
		struct rebalance choice = {0};
		uint32_t ticks = 0;

		fill(&rows[i], workers);
		for (int tick = 0; tick < REBALANCE_TICKS; tick++)
			choice = look(workers, &ticks);
		if (choice.count != rows[i].count)
			fail_msg("%s: %u", rows[i].what, choice.count);
		if (choice.count && (choice.from != rows[i].from || choice.to != rows[i].to))
			fail_msg("%s: %d to %d", rows[i].what, choice.from, choice.to);
	}
}

TEST(what_does_not_last_moves_nobody)
{
	static const struct row apart = {
		"", {{600, 200}, {600, 200}, {0, 0}},
		      0, 0, 0
	     };
	static const struct row even = {
		"", {{300, 100}, {310, 100}, {290, 100}},
		  0, 0, 0
	 };
	struct worker_load a[WORKERS], e[WORKERS];
	uint32_t ticks = 0;

	fill(&apart, a);
	fill(&even, e);
	for (int i = 0; i < 4; i++) {
		for (int tick = 1; tick < REBALANCE_TICKS; tick++)
			CHECK_EQ(rebalance_choose(a, WORKERS, NOW_US, &ticks).count, 0);
		CHECK_EQ(rebalance_choose(e, WORKERS, NOW_US, &ticks).count, 0);
	}
}

/* Each step is taken as said: in the end nobody moves any more, and nobody moves back. */
TEST(it_comes_to_rest)
{
	struct worker_load workers[WORKERS] = {
		{.sessions = 200,	  .viewers = 200, .cpu_permille = 600, .reported_us = NOW_US},
		{.sessions = 200, .viewers = 200, .cpu_permille = 600, .reported_us = NOW_US},
		{.reported_us = NOW_US		      },
	};
	uint32_t ticks = 0, still = 0, moved = 0;

	for (int second = 0; second < 300 && still < 10; second++) {
		struct rebalance choice = rebalance_choose(workers, WORKERS, NOW_US, &ticks);

		still = choice.count ? 0 : still + 1;
		if (!choice.count)
			continue;
		CHECK_EQ(choice.to, 2);
		moved += choice.count;
		workers[choice.from].sessions -= choice.count;
		workers[choice.from].viewers -= choice.count;
		workers[choice.from].cpu_permille -= 3 * choice.count;
		workers[choice.to].sessions += choice.count;
		workers[choice.to].viewers += choice.count;
		workers[choice.to].cpu_permille += 3 * choice.count;
	}
	CHECK_EQ(still, 10);
	CHECK_GE(moved, 80);
	CHECK_LE(moved, 134);
}

/* Row: two drain at once, each beside what cannot leave it; both give what can, and in the same second. */
TEST(several_drain_beside_what_stays)
{
	static const struct row row = {
		"",
		{{100, 30, .stay = 1, .draining = true}, {90, 20, .stay = 3, .draining = true},
			{0, 0}},
		0, 0, 0
	       };
	struct worker_load workers[WORKERS];
	uint32_t seconds = 0, moved;

	fill(&row, workers);
	do {
		moved = 0;
		for (int from = 0; from < 2; from++) {
			struct rebalance choice = rebalance_drain(workers, WORKERS, NOW_US, from);

			CHECK_LE(choice.count, workers[from].viewers);
			if (!choice.count)
				continue;
			CHECK_EQ(choice.to, 2);
			workers[from].sessions -= choice.count;
			workers[from].viewers -= choice.count;
			workers[2].sessions += choice.count;
			moved += choice.count;
		}
		CHECK(seconds++ < 60);
	} while (moved);
	CHECK_EQ(workers[0].sessions, 1);
	CHECK_EQ(workers[1].sessions, 3);
	CHECK_EQ(workers[2].sessions, 46);
	CHECK_EQ(rebalance_drain(workers, WORKERS, NOW_US, 2).count, 0); /* it does not drain */
}

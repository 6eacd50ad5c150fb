/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/balance.h"
#include "tests/test.h"

enum { WORKERS_MAX = 4 };

/* clang-format off */
static const struct {
	const char *what;
	struct balance_load workers[WORKERS_MAX];
	size_t count, own;
	bool accepting, expected;
} rows[] = {
	{"alone",                    {{990, 90000, true}}, 1, 0, true, true},
	{"least loaded",             {{900, 0, true}, {950, 0, true}}, 2, 0, true, true},
	{"a little more",            {{100, 0, true}, {190, 0, true}}, 2, 1, true, true},
	{"clearly more",             {{100, 0, true}, {300, 0, true}}, 2, 1, true, false},
	{"as much as all",           {{800, 50000, true}, {800, 50000, true}}, 2, 1, true, true},
	{"margin grows with load",   {{800, 0, true}, {1000, 0, true}}, 2, 1, true, true},
	{"rests on, half-way back",  {{100, 0, true}, {180, 0, true}}, 2, 1, false, false},
	{"comes back",               {{100, 0, true}, {150, 0, true}}, 2, 1, false, true},
	{"packets count",            {{100, 0, true}, {100, 80000, true}}, 2, 1, true, false},
	{"a dead one is no measure", {{0, 0, false}, {500, 0, true}}, 2, 1, true, true},
	{"draining",                 {{0, 0, false}, {500, 0, true}}, 2, 0, true, false},
	{"full leaves it to others", {{0, 0, true, true}, {900, 0, true}}, 2, 0, true, false},
	{"full is no measure",       {{0, 0, true, true}, {900, 0, true}}, 2, 1, true, true},
	{"all full: least loaded",   {{0, 0, true, true}, {900, 0, true, true}}, 2, 0, true, true},
	{"all full: the other",      {{0, 0, true, true}, {900, 0, true, true}}, 2, 1, true, false},
	{"nobody is ready",          {{0, 0, false}, {0, 0, false}}, 2, 0, true, true},
	{"out of range",             {{0, 0, true}}, 1, 7, true, true},
	{"no sum overflows",         {{0, 0, true}, {UINT32_MAX, UINT32_MAX, true}}, 2, 1, true, false},
};
/* clang-format on */

TEST(a_worker_rests_when_it_has_clearly_more_load)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool accepts = balance_accepts(
			rows[i].workers, rows[i].count, rows[i].own, rows[i].accepting);

		if (accepts != rows[i].expected)
			fail_msg("%s: %d", rows[i].what, accepts);
	}
}

TEST(somebody_always_accepts)
{
	struct balance_load workers[WORKERS_MAX];

	for (uint32_t round = 0; round < 1000; round++) {
		bool any = false;

		for (uint32_t i = 0; i < WORKERS_MAX; i++)
			workers[i] = (struct balance_load){.cpu_permille = round * (i + 7) % 1000,
				.packets_per_s = round * (i + 3) * 97 % 100000,
				.ready = (round + i) % 3 != 0,
				.full = (round * 5 + i * 11) % 4 == 0};
		for (size_t i = 0; i < WORKERS_MAX; i++)
			any |= balance_accepts(workers, WORKERS_MAX, i, round & 1);
		CHECK(any);
	}
}

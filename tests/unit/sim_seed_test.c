/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator itself: it repeats, it passes a few seeds of every scenario, and it finds bugs that
 * are put in on purpose.
 */
#include "tests/sim/sim.h"
#include "tests/test.h"

enum { FIND_WITHIN = 12 };

TEST(the_same_seed_gives_the_same_run)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct sim_options options = {.seed = seed};
		struct sim_result first = sim_run_seed(&options);
		struct sim_result second = sim_run_seed(&options);

		CHECK(first.ok);
		CHECK_EQ(first.trace, second.trace);
		CHECK_EQ(first.events, second.events);
	}
}

TEST(every_scenario_passes)
{
	for (size_t i = 0; sim_scenario_at(i); i++) {
		struct sim_options options = {.seed = 77 + i, .scenario = sim_scenario_at(i)->name};

		struct sim_result result = sim_run_seed(&options);

		if (!result.ok)
			printf("%s: %s\n", result.scenario, result.failure);
		CHECK(result.ok);
		CHECK(result.packets_read > 100 || sim_scenario_at(i)->nodes);
	}
}

/* Row: what was found by it. */
TEST(seeds_that_once_failed_pass)
{
	static const struct {
		const char *scenario;
		uint64_t seed;
	} rows[] = {
		{"moves",	  516  }, /* who began to watch when nobody published was said to be lost */
		{"moves",	  761  }, /* a stream that left and came back was taken for its former self */
		{"operator",
			3265		    }, /* a connection stayed open whose owner ended before it came back */
		{"all",	4439 }, /* a viewer that joined a copy without a source was told that its codec is missing */
		{"cluster",  20046}, /* a name was taken for a publisher that had gone meanwhile */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim_options options = {.seed = rows[i].seed, .scenario = rows[i].scenario};
		struct sim_result result = sim_run_seed(&options);

		if (!result.ok)
			fail_msg("%s %llu: %s", rows[i].scenario, (unsigned long long)rows[i].seed,
				result.failure);
	}
}

/* (Otherwise its checks say nothing.) */
TEST(publishers_that_stand_by_are_needed)
{
	uint64_t switches = 0;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct sim_options options = {.seed = seed, .scenario = "standby"};
		struct sim_result result = sim_run_seed(&options);

		CHECK(result.ok);
		switches += result.switches;
	}
	CHECK_GE(switches, 10);
}

/* As it was, empty, and as an older backup. */
TEST(etcd_comes_back_with_any_disk)
{
	unsigned had = 0;

	for (uint64_t seed = 1; seed <= 24 && had != 7u << 1; seed++) {
		struct sim_options options = {
			.seed = seed, .scenario = "cluster", .etcd_away_s = 5};
		struct sim_result result = sim_run_seed(&options);

		if (!result.ok)
			fail_msg("%llu: %s", (unsigned long long)seed, result.failure);
		had |= 1u << result.disk;
	}
	CHECK_EQ(had, 7u << 1);
}

/* Nodes that have followed all that somebody said of how media travels, and agree in the end (which the run
 * checks). */
TEST(settings_change_while_a_cluster_runs)
{
	uint64_t taken = 0;

	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct sim_options options = {
			.seed = seed, .scenario = "cluster", .settings = true};
		struct sim_result result = sim_run_seed(&options);

		if (!result.ok)
			fail_msg("%llu: %s", (unsigned long long)seed, result.failure);
		taken += result.settings_taken;
	}
	CHECK_GE(taken, 20);
}

/* Row: the bug, and a scenario in which it must show. */
TEST(planted_bugs_are_found)
{
	static const struct {
		enum sim_plant plant;
		const char *scenario;
	} rows[] = {
		{SIM_PLANT_HOLD,	 "calm"   },
		{SIM_PLANT_DEATH,	  "workers"},
		{SIM_PLANT_RESEND,  "broken" },
		{SIM_PLANT_PACKET,  "calm"	 },
		{SIM_PLANT_RESTORE, "workers"},
		{SIM_PLANT_INDEX,	  "webrtc" },
		{SIM_PLANT_ESCROW,  "webrtc" },
		{SIM_PLANT_FORGET,  "workers"},
		{SIM_PLANT_DEATH,	  "nodes"	 },
		{SIM_PLANT_PARCEL,  "nodes"  },
		{SIM_PLANT_NONCE,	  "cluster"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t found = 0;

		for (uint64_t seed = 1; seed <= FIND_WITHIN && !found; seed++) {
			struct sim_options options = {
				.seed = seed, .scenario = rows[i].scenario, .plant = rows[i].plant};
			struct sim_result result = sim_run_seed(&options);

			if (!result.ok) {
				found = seed;
				printf("planted bug \"%s\": seed %llu (%s): %s\n",
					sim_plant_names[rows[i].plant], (unsigned long long)seed,
					result.scenario, result.failure);
			}
		}
		CHECK(found != 0);
	}
}

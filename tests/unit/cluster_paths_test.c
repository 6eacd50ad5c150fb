/* SPDX-License-Identifier: Apache-2.0
 *
 * Ways planned against all ways there are, looked at one by one on small random graphs; and a plan
 * kept up to date through changes against one made from nothing.
 */
#include "cluster/paths.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum { NODES_MAX = 14, WAYS_MAX = 1 + NODES_MAX + NODES_MAX * NODES_MAX };

struct world {
	uint32_t weight[NODES_MAX][NODES_MAX]; /* 0 = no edge */
	bool relays[NODES_MAX];
	unsigned nodes;
	struct paths *paths;
};

struct all_ways {
	struct way way[WAYS_MAX];
	uint32_t weight[WAYS_MAX];
	unsigned count;
};

static void set(struct world *world, unsigned from, unsigned to, uint32_t weight)
{
	world->weight[from][to] = weight;
	CHECK_OK(paths_set_edge(
		world->paths, (uint16_t)from, (uint16_t)to, weight ? weight : GRAPH_NO_EDGE));
}

static void set_relay(struct world *world, unsigned node, bool relays)
{
	world->relays[node] = relays;
	paths_set_relay(world->paths, (uint16_t)node, relays);
}

/* Few weights, so that many ways weigh the same. */
static uint32_t some_weight(struct rng *rng)
{
	return rng_chance_ppm(rng, 500000) ? (uint32_t)rng_between(rng, 1, 6) * 10
					   : (uint32_t)rng_between(rng, 1, 200);
}

static struct world world_of(struct rng *rng, struct paths_options options)
{
	struct world world = {.nodes = (unsigned)rng_between(rng, 2, NODES_MAX)};
	uint32_t edges_ppm = (uint32_t)rng_between(rng, 100000, 900000);
	uint32_t relays_ppm = (uint32_t)rng_between(rng, 0, 1000000);

	CHECK_OK(paths_create(&options, &world.paths));
	for (unsigned i = 0; i < world.nodes; i++)
		set_relay(&world, i, rng_chance_ppm(rng, relays_ppm));
	for (unsigned i = 0; i < world.nodes; i++)
		for (unsigned j = 0; j < world.nodes; j++)
			if (i != j && rng_chance_ppm(rng, edges_ppm))
				set(&world, i, j, some_weight(rng));
	return world;
}

static void add_way(
	const struct world *world, struct all_ways *all, unsigned from, unsigned to, struct way way)
{
	unsigned at = from;
	uint32_t weight = 0;

	for (unsigned i = 0; i < way_relays(way); at = way.relay[i++]) {
		if (!world->relays[way.relay[i]] || !world->weight[at][way.relay[i]])
			return;
		weight += world->weight[at][way.relay[i]];
	}
	if (!world->weight[at][to])
		return;
	all->way[all->count] = way;
	all->weight[all->count++] = weight + world->weight[at][to];
}

static void find_all(const struct world *world, unsigned from, unsigned to, struct all_ways *all)
{
	all->count = 0;
	add_way(world, all, from, to,
		(struct way){
			{WAY_NOBODY, WAY_NOBODY}
	});
	for (uint16_t i = 0; i < world->nodes; i++) {
		if (i == from || i == to)
			continue;
		add_way(world, all, from, to,
			(struct way){
				{i, WAY_NOBODY}
		       });
		for (uint16_t j = 0; j < world->nodes; j++)
			if (j != i && j != from && j != to)
				add_way(world, all, from, to,
					(struct way){
						{i, j}
				      });
	}
}

static unsigned find_way(const struct all_ways *all, struct way way)
{
	for (unsigned i = 0; i < all->count; i++)
		if (way_is(all->way[i], way))
			return i;
	fail_msg("a way that is none: over %u and %u", way.relay[0], way.relay[1]);
	return 0;
}

static unsigned shares(struct way way, const struct way *with, unsigned count)
{
	unsigned shared = 0;

	for (unsigned i = 0; i < way_relays(way); i++) {
		bool found = false;

		for (unsigned j = 0; j < count; j++)
			for (unsigned k = 0; k < way_relays(with[j]); k++)
				found |= with[j].relay[k] == way.relay[i];
		shared += found;
	}
	return shared;
}

/* Beyond the limit, shared relays, weight: what the rule compares, in that order. */
static uint64_t rank(const struct all_ways *all, unsigned i, uint32_t limit, const struct way *with,
	unsigned with_count)
{
	return (uint64_t)(all->weight[i] > limit) << 50 |
	       (uint64_t)shares(all->way[i], with, with_count) << 40 | all->weight[i];
}

static uint64_t best_rank(const struct all_ways *all, uint32_t limit, const struct way *with,
	unsigned with_count, const struct way *but, unsigned but_count)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < all->count; i++) {
		uint64_t now = rank(all, i, limit, with, with_count);
		bool taken = false;

		for (unsigned j = 0; j < but_count; j++)
			taken |= way_is(all->way[i], but[j]);
		if (!taken && now < best)
			best = now;
	}
	return best;
}

static void check_pair(const struct world *world, unsigned from, unsigned to)
{
	const struct ways *ways = paths_get(world->paths, (uint16_t)from, (uint16_t)to);
	struct all_ways all;
	const struct way *way;
	uint32_t limit;
	unsigned at;

	find_all(world, from, to, &all);
	if (!ways) { /* never had an edge */
		CHECK_EQ(all.count, 0);
		return;
	}
	way = ways->way;
	for (unsigned i = 0; i < PATHS_WAYS; i++)
		CHECK_EQ(way[i].relay[0] != WAY_NONE, i < all.count);
	if (!all.count)
		return;
	at = find_way(&all, way[0]);
	CHECK_EQ(all.weight[at], best_rank(&all, UINT32_MAX, NULL, 0, NULL, 0));
	CHECK_EQ(way_weight(paths_graph(world->paths), (uint16_t)from, (uint16_t)to, way[0]),
		all.weight[at]);
	limit = (uint32_t)(all.weight[at] * 3ull / 2);
	if (all.count < 2)
		return;
	at = find_way(&all, way[1]);
	CHECK_EQ(rank(&all, at, limit, way, 1), best_rank(&all, limit, way, 1, way, 1));
	if (all.count < 3)
		return;
	at = find_way(&all, way[2]);
	if (shares(way[1], way, 1))
		CHECK_EQ(rank(&all, at, UINT32_MAX, way, 1),
			best_rank(&all, UINT32_MAX, way, 1, way, 2));
	else
		CHECK_EQ(rank(&all, at, limit, way, 2), best_rank(&all, limit, way, 2, way, 2));
}

static void check_all(const struct world *world)
{
	for (unsigned from = 0; from < world->nodes; from++)
		for (unsigned to = 0; to < world->nodes; to++)
			if (from != to)
				check_pair(world, from, to);
}

static void plan(struct world *world, struct rng *rng)
{
	while (paths_step(world->paths, (uint32_t)rng_between(rng, 0, 200)))
		;
	CHECK_EQ(paths_waiting(world->paths), 0);
}

TEST(the_ways_planned_are_the_best_there_are)
{
	for (int round = 0; round < test_rounds(1500); round++) {
		struct rng rng = rng_of((uint64_t)round);
		struct world world = world_of(&rng, (struct paths_options){0});

		plan(&world, &rng);
		check_all(&world);
		paths_destroy(&world.paths);
	}
}

/* One change of any kind. */
static void change(struct world *world, struct rng *rng)
{
	unsigned from = (unsigned)rng_below(rng, world->nodes);
	unsigned to = (unsigned)rng_below(rng, world->nodes);

	switch (rng_below(rng, 8)) {
	case 0: set_relay(world, from, !world->relays[from]); break;
	case 1: /* dead: no edge is left */
		for (unsigned i = 0; i < world->nodes; i++) {
			if (i == from)
				continue;
			set(world, i, from, 0);
			set(world, from, i, 0);
		}
		break;
	case 2:
		if (world->nodes < NODES_MAX)
			world->relays[world->nodes++] = false;
		break;
	case 3:
	case 4:
		if (from != to)
			set(world, from, to, 0);
		break;
	default:
		if (from != to)
			set(world, from, to, some_weight(rng));
	}
}

/* What a change does not mark it does not touch. And who takes the changed rows has the whole plan. */
TEST(a_plan_kept_up_to_date_is_the_plan)
{
	static struct ways taken[NODES_MAX][NODES_MAX];

	for (int round = 0; round < test_rounds(200); round++) {
		struct rng rng = rng_of(7000 + (uint64_t)round);
		struct world world = world_of(&rng, (struct paths_options){0});

		for (unsigned i = 0; i < NODES_MAX * NODES_MAX; i++)
			for (unsigned k = 0; k < PATHS_WAYS; k++)
				taken[i / NODES_MAX][i % NODES_MAX].way[k] = (struct way){
					{WAY_NONE, WAY_NOBODY}
				      };
		for (int step = 0; step < 20; step++) {
			for (uint64_t i = rng_below(&rng, 4); i; i--)
				change(&world, &rng);
			if (rng_chance_ppm(&rng, 300000)) /* a change while it is at it */
				paths_step(world.paths, 1), change(&world, &rng);
			plan(&world, &rng);
			check_all(&world);
			for (uint16_t to = 0; to < world.nodes; to++) {
				uint32_t at = 0;
				uint16_t from;

				while (paths_next_changed(world.paths, to, &at, &from)) {
					taken[to][from] = *paths_get(world.paths, from, to);
					paths_clear_changed(world.paths, to, from);
				}
				for (from = 0; from < world.nodes; from++) {
					const struct ways *ways = paths_get(world.paths, from, to);

					if (ways)
						CHECK_MEM(ways, &taken[to][from], sizeof(*ways));
				}
			}
		}
		paths_destroy(&world.paths);
	}
}

/* Weights that come and go by less than the tolerance change nothing; a way that is taken is never
 * heavier than the best by more. */
TEST(hardly_better_is_no_reason_to_change)
{
	enum { PERMILLE = 150, LEAST = 5 };
	const struct paths_options options = {.stay_permille = PERMILLE, .stay_us = LEAST};

	for (int round = 0; round < test_rounds(300); round++) {
		struct rng rng = rng_of(90000 + (uint64_t)round);
		struct world world = world_of(&rng, options);
		struct all_ways all;

		plan(&world, &rng);
		for (int step = 0; step < 10; step++) {
			change(&world, &rng);
			plan(&world, &rng);
			for (unsigned from = 0; from < world.nodes; from++) {
				for (unsigned to = 0; to < world.nodes; to++) {
					const struct ways *ways = paths_get(
						world.paths, (uint16_t)from, (uint16_t)to);
					uint64_t best;

					if (!ways)
						continue;
					find_all(&world, from, to, &all);
					CHECK_EQ(ways->way[0].relay[0] != WAY_NONE, all.count > 0);
					if (!all.count)
						continue;
					best = best_rank(&all, UINT32_MAX, NULL, 0, NULL, 0);
					CHECK_LE(all.weight[find_way(&all, ways->way[0])],
						best + (best * PERMILLE / 1000 > LEAST
								       ? best * PERMILLE / 1000
								       : LEAST));
				}
			}
		}
		paths_destroy(&world.paths);
	}
}

TEST(two_ways_that_take_turns_do_not_flap)
{
	const struct paths_options options = {.stay_permille = 150, .stay_us = 5000};
	struct world world = {.nodes = 4};
	struct rng rng = rng_of(1);
	const struct ways *ways;

	CHECK_OK(paths_create(&options, &world.paths));
	set_relay(&world, 1, true);
	set_relay(&world, 2, true);
	set(&world, 0, 1, 20000);
	set(&world, 0, 2, 20000);
	set(&world, 1, 3, 20000);
	set(&world, 2, 3, 21000);
	plan(&world, &rng);
	ways = paths_get(world.paths, 0, 3);
	CHECK_EQ(ways->way[0].relay[0], 1);
	CHECK_EQ(ways->way[1].relay[0], 2);
	for (int i = 0; i < 20; i++) {
		set(&world, 1, 3, i % 2 ? 20000 : 24000);
		plan(&world, &rng);
		CHECK_EQ(ways->way[0].relay[0], 1);
	}
	set(&world, 1, 3, 30000); /* better by 9 ms and 22 % */
	plan(&world, &rng);
	CHECK_EQ(ways->way[0].relay[0], 2);
	set(&world, 2, 3, 0); /* gone: at once */
	plan(&world, &rng);
	CHECK_EQ(ways->way[0].relay[0], 1);
	CHECK_EQ(ways->way[1].relay[0], WAY_NONE);
	paths_destroy(&world.paths);
}

TEST(the_third_survives_what_the_second_shares)
{
	struct world world = {.nodes = 6};
	struct rng rng = rng_of(1);
	const struct ways *ways;

	CHECK_OK(paths_create(&(struct paths_options){0}, &world.paths));
	for (unsigned i = 1; i <= 4; i++)
		set_relay(&world, i, true);
	/* 0 > 1 > 2 > 5 (30), 0 > 1 > 3 > 5 (31), and 0 > 4 > 5 (500) */
	set(&world, 0, 1, 10);
	set(&world, 1, 2, 10);
	set(&world, 2, 5, 10);
	set(&world, 1, 3, 11);
	set(&world, 3, 5, 10);
	set(&world, 0, 4, 250);
	set(&world, 4, 5, 250);
	plan(&world, &rng);
	ways = paths_get(world.paths, 0, 5);
	CHECK(way_is(ways->way[0], (struct way){
					   {1, 2}
	 }));
	CHECK(way_is(ways->way[1], (struct way){
					   {1, 3}
	 }));
	CHECK(way_is(ways->way[2], (struct way){
					   {4, WAY_NOBODY}
	  }));
	CHECK_EQ(way_shares(ways->way[0], ways->way[1]), 1);
	paths_destroy(&world.paths);
}

TEST(candidates_are_all_ways_in_order)
{
	enum { MAX = 8 };

	for (int round = 0; round < 200; round++) {
		struct rng rng = rng_of(400 + (uint64_t)round);
		struct world world = world_of(&rng, (struct paths_options){0});
		struct all_ways all;
		struct way ways[MAX];
		uint32_t weights[MAX];
		unsigned count;

		find_all(&world, 0, 1, &all);
		count = ways_candidates(paths_graph(world.paths), 0, 1, ways, weights, MAX);
		CHECK_EQ(count, all.count < MAX ? all.count : MAX);
		for (unsigned i = 0; i < count; i++) {
			unsigned lighter = 0;

			CHECK_EQ(all.weight[find_way(&all, ways[i])], weights[i]);
			for (unsigned j = 0; j < all.count; j++)
				lighter += all.weight[j] < weights[i];
			CHECK_LE(lighter, i);
			CHECK(!i || weights[i - 1] <= weights[i]);
		}
		paths_destroy(&world.paths);
	}
}

/* No memory at any place: the call says so, and what was there is there. */
TEST(nothing_is_lost_without_memory)
{
	struct rng rng = rng_of(5);
	struct world world = {.nodes = NODES_MAX};
	enum err err = ERR_NO_MEMORY;

	for (size_t n = 1; err; n++) {
		test_fail_allocation(n);
		err = paths_create(&(struct paths_options){0}, &world.paths);
		CHECK(err == ERR_OK || (err == ERR_NO_MEMORY && !world.paths));
	}
	test_fail_allocation(0);
	for (uint16_t i = 0; i < NODES_MAX; i++)
		set_relay(&world, i, true);
	for (uint16_t i = 0; i < NODES_MAX * 20; i++) {
		uint16_t from = i % NODES_MAX;
		/* far away: rooms grow */
		uint16_t to = (uint16_t)(i % 7 ? (i + 1) % NODES_MAX : 60 * (i / 7) + NODES_MAX);

		for (size_t n = 1; from != to; n++) {
			uint32_t before = graph_weight(paths_graph(world.paths), from, to);

			test_fail_allocation(n);
			err = paths_set_edge(world.paths, from, to, 10u + i);
			test_fail_allocation(0);
			if (!err)
				break;
			CHECK_EQ(err, ERR_NO_MEMORY);
			CHECK_EQ(graph_weight(paths_graph(world.paths), from, to), before);
		}
		CHECK_EQ(graph_weight(paths_graph(world.paths), from, to), 10u + i);
		if (to < NODES_MAX)
			world.weight[from][to] = 10u + i;
	}
	plan(&world, &rng);
	check_all(&world);
	paths_destroy(&world.paths);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/topology_chance.h"
#include "schemas/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	REGION_NODES = 60, /* in a region, on average */
	REGIONS_MAX = 24,
	MAP_X_KM = 18000,
	MAP_Y_KM = 7000,
	REGION_KM = 600,
	NEIGHBOURS = 2, /* of an edge: other nodes near it */
	KM_A_MS = 100,	/* there and back */
};

struct place {
	double x, y;
	uint32_t region;
	bool is_core;
	struct topology_node *node;
};

struct near {
	double km;
	uint32_t place;
};

static int by_distance(const void *a_, const void *b_)
{
	const struct near *a = a_, *b = b_;

	return a->km != b->km ? (a->km > b->km) - (a->km < b->km)
			      : (a->place > b->place) - (a->place < b->place);
}

static double kilometres(const struct place *a, const struct place *b)
{
	return hypot(a->x - b->x, a->y - b->y);
}

static enum err add_link(struct topology *topology, struct rng *rng, const struct place *from,
	const struct place *to)
{
	double km = kilometres(from, to);
	struct link_row row = {
		.node = to->node->id,
		.rtt_us =
			(uint32_t)(km * 1000 / KM_A_MS * (1.1 + (double)rng_below(rng, 60) / 100)) +
			(uint32_t)rng_between(rng, 200, 2000),
		.jitter_us = (uint32_t)rng_between(rng, 50, 3000),
		.loss_ppm = (uint32_t)(rng_chance_ppm(rng, 30000) ? rng_between(rng, 1000, 30000)
								  : rng_between(rng, 0, 100)),
		.capacity_bps = UINT64_C(1000000) * (uint64_t)rng_between(rng, 500, 10000),
	};

	row.rate_bps = row.capacity_bps / 100 *
		       (uint64_t)(rng_chance_ppm(rng, 20000) ? rng_between(rng, 80, 100)
							     : rng_between(rng, 0, 60));
	return topology_measured(topology, from->node, &row, 0);
}

/* The two measure each other. */
static enum err join(
	struct topology *topology, struct rng *rng, const struct place *a, const struct place *b)
{
	enum err err;

	if (a == b || topology_link_to(topology, a->node, b->node))
		return ERR_OK;
	err = add_link(topology, rng, a, b);
	return err ? err : add_link(topology, rng, b, a);
}

static enum err settle(struct topology *topology, const struct topology_chance *chance,
	struct rng *rng, struct place *places, uint32_t regions)
{
	double centre[REGIONS_MAX][2];
	enum err err = ERR_OK;

	for (uint32_t i = 0; i < regions; i++) {
		centre[i][0] = (double)rng_below(rng, MAP_X_KM);
		centre[i][1] = (double)rng_below(rng, MAP_Y_KM);
	}
	for (uint32_t i = 0; !err && i < chance->nodes; i++) {
		struct place *place = &places[i];
		struct topology_about about = {.capacity_bps = UINT64_C(10000000000)};

		place->region = i % regions;
		place->is_core =
			i / regions < 2 || rng_chance_ppm(rng, chance->cores_permille * 1000);
		place->x =
			centre[place->region][0] + (double)rng_between(rng, -REGION_KM, REGION_KM);
		place->y =
			centre[place->region][1] + (double)rng_between(rng, -REGION_KM, REGION_KM);
		about.tier = place->is_core ? NODE_CORE : NODE_EDGE;
		about.cost = (uint32_t)rng_between(rng, 5, 80);
		about.busy_permille =
			(uint16_t)(rng_chance_ppm(rng, 20000) ? rng_between(rng, 800, 1000)
							      : rng_between(rng, 50, 700));
		snprintf(about.name, sizeof(about.name), "%s%u-%u",
			place->is_core ? "core" : "edge", place->region, i / regions);
		snprintf(about.region, sizeof(about.region), "region%u", place->region);
		err = topology_hear(topology, i + 1, &about, 0, &place->node);
	}
	return err;
}

/* Links of one place; `near` has room for all. */
static enum err link_place(struct topology *topology, const struct topology_chance *chance,
	struct rng *rng, const struct place *places, uint32_t at, struct near *near)
{
	const struct place *place = &places[at];
	uint32_t most = place->is_core ? chance->core_links : chance->edge_links;
	uint32_t count = 0, cores = 0, others = 0;
	enum err err = ERR_OK;

	for (uint32_t i = 0; i < chance->nodes; i++)
		if (i != at)
			near[count++] = (struct near){kilometres(place, &places[i]), i};
	if (count)
		qsort(near, count, sizeof(*near), by_distance);
	for (uint32_t i = 0; !err && i < count; i++) {
		const struct place *other = &places[near[i].place];

		if (other->is_core && cores++ < most)
			err = join(topology, rng, place, other);
		else if (!place->is_core && !other->is_core && others++ < NEIGHBOURS)
			err = join(topology, rng, place, other);
	}
	/* and one far away */
	for (uint32_t i = count; !err && !place->is_core && i > 0; i--) {
		if (!places[near[i - 1].place].is_core || rng_chance_ppm(rng, 500000))
			continue;
		err = join(topology, rng, place, &places[near[i - 1].place]);
		break;
	}
	return err;
}

enum err topology_by_chance(struct topology *topology, const struct topology_chance *chance)
{
	uint32_t regions = chance->regions ? chance->regions : chance->nodes / REGION_NODES + 1;
	struct place *places = calloc(chance->nodes + 1, sizeof(*places));
	struct near *near = calloc(chance->nodes + 1, sizeof(*near));
	struct rng rng = rng_of(chance->seed);
	enum err err = places && near ? ERR_OK : ERR_NO_MEMORY;

	if (!err)
		err = settle(topology, chance, &rng, places,
			regions < REGIONS_MAX ? regions : REGIONS_MAX);
	for (uint32_t i = 0; !err && i < chance->nodes; i++)
		err = link_place(topology, chance, &rng, places, i, near);
	free(places);
	free(near);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What planning costs: topologies by chance (cluster/topology_chance.h) of 100 to 3,000 nodes, 4 % and two
 * a region of them cores; an edge has links to its 6 nearest cores, one far away and two neighbours, a
 * core to up to 255 cores. `flat`: every node is a core with links to its 32 nearest.
 *
 * Rows: processor time of a whole plan; of planning again after one link has changed (median and
 * worst of 200: half of them between cores); memory. With an argument: that many nodes only.
 */
#include "cluster/topology_chance.h"
#include "schemas/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CHANGES = 200, STEP_PAIRS = 4000 };

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void row(const char *name, unsigned n, double value, const char *unit)
{
	printf("{\"row\":\"%s\",\"n\":%u,\"value\":%.4g,\"unit\":\"%s\"}\n", name, n, value, unit);
	fflush(stdout);
}

/* Returns the longest step, ms. */
static double plan(struct topology *topology)
{
	double longest = 0;
	bool more = true;

	while (more) {
		double began = cpu_ms();

		more = paths_step(topology->paths, STEP_PAIRS);
		if (cpu_ms() - began > longest)
			longest = cpu_ms() - began;
	}
	return longest;
}

/* One link much slower, then as before: planned again each time. */
static void change_links(struct topology *topology, struct rng *rng, double *took)
{
	for (int i = 0; i < CHANGES; i++) {
		struct topology_node *from;
		const struct topology_link *link;
		struct link_row changed;
		double began;

		do
			from = &topology->nodes[rng_below(rng, topology->places)];
		while (!from->link_count || (i % 2 && from->about.tier != NODE_CORE));
		link = &from->links[rng_below(rng, from->link_count)];
		changed = (struct link_row){.node = topology->nodes[link->to].id,
			.rtt_us = link->rtt_us * 5 + 50000,
			.capacity_bps = link->capacity_bps};
		began = cpu_ms();
		MUST(topology_measured(topology, from, &changed, 0) == ERR_OK);
		plan(topology);
		took[i] = cpu_ms() - began;
	}
	qsort(took, CHANGES, sizeof(*took), by_value);
}

static void measure(const char *kind, const struct topology_chance *chance)
{
	const struct topology_options options = {
		.paths = {.stay_permille = 150, .stay_us = 5000}
	};
	struct topology *topology = NULL;
	struct rng rng = rng_of(9);
	double took[CHANGES], began, longest;
	char name[64];

	MUST(topology_create(&options, &topology) == ERR_OK);
	MUST(topology_by_chance(topology, chance) == ERR_OK);
	fprintf(stderr, "%s, %u nodes, %u links\n", kind, topology->node_count,
		topology->link_count);
	paths_mark_all(topology->paths);
	began = cpu_ms();
	longest = plan(topology);
	snprintf(name, sizeof(name), "plan_%s", kind);
	row(name, chance->nodes, cpu_ms() - began, "ms");
	snprintf(name, sizeof(name), "plan_%s_step", kind);
	row(name, chance->nodes, longest, "ms");
	snprintf(name, sizeof(name), "plan_%s_memory", kind);
	row(name, chance->nodes, (double)topology_bytes(topology) / (1 << 20), "MB");
	change_links(topology, &rng, took);
	snprintf(name, sizeof(name), "replan_%s", kind);
	row(name, chance->nodes, took[CHANGES / 2], "ms");
	snprintf(name, sizeof(name), "replan_%s_worst", kind);
	row(name, chance->nodes, took[CHANGES - 1], "ms");
	topology_destroy(&topology);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {100, 500, 1000, 3000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct topology_chance tiers = {.seed = 1,
			.nodes = sizes[i],
			.cores_permille = 40,
			.edge_links = 6,
			.core_links = 255};
		struct topology_chance flat = {
			.seed = 1, .nodes = sizes[i], .cores_permille = 1000, .core_links = 32};

		if (argc > 1 && sizes[i] != (uint32_t)atoi(argv[1]))
			continue;
		measure("tiers", &tiers);
		measure("flat", &flat);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What links weigh, what of a change the planner hears, and what is forgotten.
 */
#include "cluster/topology.h"
#include "cluster/topology_chance.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum { S = 1000000 };

static struct topology *create(uint32_t cost_weight)
{
	struct topology *topology = NULL;

	CHECK_OK(
		topology_create(&(struct topology_options){.cost_weight = cost_weight}, &topology));
	return topology;
}

static struct topology_node *hear(struct topology *topology, uint64_t id, enum node_tier tier,
	uint16_t busy_permille, int64_t now_us)
{
	struct topology_about about = {
		.tier = (uint8_t)tier, .busy_permille = busy_permille, .cost = 20};
	struct topology_node *node;

	snprintf(about.name, sizeof(about.name), "node%llu", (unsigned long long)id);
	CHECK_OK(topology_hear(topology, id, &about, now_us, &node));
	return node;
}

static void measure(struct topology *topology, struct topology_node *from, uint64_t to,
	uint32_t rtt_us, enum link_state state, int64_t now_us)
{
	CHECK_OK(topology_measured(topology, from,
		&(struct link_row){.node = to, .rtt_us = rtt_us, .state = (uint8_t)state}, now_us));
}

static uint32_t edge(const struct topology *topology, unsigned from, unsigned to)
{
	return graph_weight(paths_graph(topology->paths), (uint16_t)from, (uint16_t)to);
}

TEST(a_link_weighs_what_the_formula_says)
{
	static const struct {
		struct link_row row;
		uint16_t busy_permille; /* of the node that it leads to */
		uint32_t cost_weight;
		uint32_t weight;
	} rows[] = {
		{{.rtt_us = 20000},				       0,    0,	  10000	       },
		{{.rtt_us = 0},					   0,	   0,     1	       },
		{{.rtt_us = 20000, .loss_ppm = 1000},		      0,	 0,	    10000 + 30000	 }, /* 0.1 % */
		{{.rtt_us = 20000, .loss_ppm = 20000},		       0,	  0,     10000 + 600000  },
		{{.rtt_us = 20000, .rate_bps = 80, .capacity_bps = 100},	 0,    0,     10000	    },
		{{.rtt_us = 20000, .rate_bps = 90, .capacity_bps = 100},	 0,    0,     10000 + 20000   },
		{{.rtt_us = 20000, .rate_bps = 95, .capacity_bps = 100},	 0,    0,     10000 + 60000   },
		{{.rtt_us = 20000, .rate_bps = 200, .capacity_bps = 100}, 0,    0,	10000 + 1000000 },
		{{.rtt_us = 20000, .rate_bps = 200},			     0,	0,	   10000		}, /* of what is not known */
		{{.rtt_us = 20000},				       900,	 0,	    10000 + 20000	 },
		{{.rtt_us = 20000, .rate_bps = 95, .capacity_bps = 100},	 900,  0,	 10000 + 60000   },
		{{.rtt_us = 20000, .state = LINK_DOUBTFUL},		    0,    0,	  10000 + 1000000 },
		{{.rtt_us = 20000},				       0,    3,	  10000 + 60	    },
		{{.rtt_us = UINT32_MAX, .loss_ppm = UINT32_MAX},		 1000, 10000, GRAPH_WEIGHT_MAX},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct topology *topology = create(rows[i].cost_weight);
		struct topology_node *from = hear(topology, 1, NODE_CORE, 0, 0);
		struct link_row row = rows[i].row;

		hear(topology, 2, NODE_CORE, rows[i].busy_permille, 0);
		row.node = 2;
		CHECK_OK(topology_measured(topology, from, &row, 0));
		if (edge(topology, 0, 1) != rows[i].weight)
			fail_msg("row %zu: %u, not %u", i, edge(topology, 0, 1), rows[i].weight);
		topology_destroy(&topology);
	}
}

TEST(the_planner_hears_of_what_matters)
{
	struct topology *topology = create(0);
	struct topology_node *a = hear(topology, 1, NODE_CORE, 0, 0);

	measure(topology, a, 2, 20000, LINK_UP, 0); /* whom nobody knows */
	measure(topology, a, 1, 20000, LINK_UP, 0); /* itself */
	CHECK_EQ(topology->link_count, 0);
	hear(topology, 2, NODE_EDGE, 0, 0);
	measure(topology, a, 2, 20000, LINK_UP, 0);
	CHECK_EQ(edge(topology, 0, 1), 10000);
	measure(topology, a, 2, 24000, LINK_UP, S); /* a quarter of it counts: 5 %, 0.5 ms */
	CHECK_EQ(edge(topology, 0, 1), 10000);
	measure(topology, a, 2, 40000, LINK_UP, S);
	CHECK_EQ(edge(topology, 0, 1), 12875);
	for (int i = 0; i < 40; i++)
		measure(topology, a, 2, 40000, LINK_UP, 2 * S);
	CHECK(edge(topology, 0, 1) >= 19000 && edge(topology, 0, 1) <= 20000);
	measure(topology, a, 2, 40000, LINK_DOWN, 2 * S);
	CHECK_EQ(edge(topology, 0, 1), GRAPH_NO_EDGE);
	measure(topology, a, 2, 4000, LINK_UP, 3 * S); /* another link: nothing is smoothed */
	CHECK_EQ(edge(topology, 0, 1), 2000);
	measure(topology, a, 2, 4000, LINK_CLOSED, 3 * S);
	CHECK_EQ(edge(topology, 0, 1), GRAPH_NO_EDGE);
	CHECK_EQ(topology->link_count, 0);
	topology_destroy(&topology);
}

TEST(who_is_silent_or_lost_is_led_around_and_forgotten)
{
	struct topology *topology = create(0);
	struct topology_node *a = hear(topology, 1, NODE_CORE, 0, 0);
	struct topology_node *b = hear(topology, 2, NODE_CORE, 0, 0);
	const bool *relays = paths_graph(topology->paths)->relays;

	measure(topology, a, 2, 20000, LINK_UP, 0);
	measure(topology, b, 1, 20000, LINK_UP, 0);
	CHECK(relays[0] && relays[1]);
	topology_lost(topology, b);
	CHECK(!relays[1]);
	CHECK_EQ(edge(topology, 0, 1), GRAPH_NO_EDGE);
	CHECK_EQ(edge(topology, 1, 0), GRAPH_NO_EDGE);
	measure(topology, a, 2, 20000, LINK_UP, S); /* what others say brings it not back */
	CHECK_EQ(edge(topology, 0, 1), GRAPH_NO_EDGE);
	hear(topology, 2, NODE_CORE, 0, S); /* its own word does */
	measure(topology, b, 1, 20000, LINK_UP, S);
	CHECK(relays[1]);
	CHECK_EQ(edge(topology, 0, 1), 10000);
	CHECK_EQ(edge(topology, 1, 0), 10000);
	topology_expire(topology, 6 * S);
	CHECK_EQ(topology->link_count, 2);
	topology_expire(topology, 6 * S + 1);
	CHECK_EQ(topology->link_count, 0);
	CHECK_EQ(topology->node_count, 2);
	topology_expire(topology, 61 * S);
	CHECK_EQ(topology->node_count, 1);
	CHECK(!topology_find(topology, 1) && topology_find(topology, 2) == b);
	CHECK(topology_named(topology, "node2") == b && topology_named(topology, "2") == b);
	CHECK(!topology_named(topology, "") && !topology_named(topology, "node1"));
	/* its place is another's */
	CHECK(hear(topology, 3, NODE_EDGE, 0, 61 * S) == a);
	CHECK(!relays[0]);
	topology_destroy(&topology);
}

TEST(whom_to_measure)
{
	struct topology *topology = create(0);
	struct topology_about about = {0};
	struct topology_node *node;
	uint64_t ids[8];

	for (uint64_t id = 1; id <= 40; id++) {
		about.tier = id % 4 ? NODE_EDGE : NODE_CORE;
		text_copy(about.region, sizeof(about.region), id % 2 || id > 20 ? "far" : "here");
		CHECK_OK(topology_hear(topology, id, &about, 0, &node));
	}
	node = topology_find(topology, 2);
	CHECK_EQ(topology_neighbours(topology, node, ids, 8), 8);
	for (int i = 0; i < 8; i++) {
		CHECK_EQ(ids[i] % 4, 0);
		CHECK_EQ(ids[i] <= 20, i < 5); /* its own region's five first */
	}
	measure(topology, node, 12, 7000, LINK_UP, 0);
	measure(topology, node, 16, 5000, LINK_UP, 0);
	CHECK_EQ(topology_neighbours(topology, node, ids, 3), 3);
	CHECK_EQ(ids[0], 16);
	CHECK_EQ(ids[1], 12);
	CHECK_EQ(topology_neighbours(topology, node, ids, 0), 0);
	topology_destroy(&topology);
}

TEST(the_same_seed_makes_the_same_topology)
{
	const struct topology_chance chance = {
		.seed = 4, .nodes = 200, .cores_permille = 40, .edge_links = 6, .core_links = 255};
	struct topology *a = create(0), *b = create(0);

	CHECK_OK(topology_by_chance(a, &chance));
	CHECK_OK(topology_by_chance(b, &chance));
	CHECK_EQ(a->node_count, 200);
	CHECK_EQ(a->link_count, b->link_count);
	for (uint32_t i = 0; i < a->places; i++) {
		CHECK_STR(a->nodes[i].about.name, b->nodes[i].about.name);
		CHECK_EQ(a->nodes[i].link_count, b->nodes[i].link_count);
		CHECK_MEM(a->nodes[i].links, b->nodes[i].links,
			a->nodes[i].link_count * sizeof(a->nodes[i].links[0]));
	}
	/* every node is reached by every other over two cores */
	while (paths_step(a->paths, 100000))
		;
	for (uint16_t i = 0; i < 200; i++)
		for (uint16_t j = 0; j < 200; j++)
			CHECK(i == j || paths_get(a->paths, i, j)->way[0].relay[0] != WAY_NONE);
	topology_destroy(&a);
	topology_destroy(&b);
}

/* Until it works, what could not be taken is as it was. */
TEST(without_memory_a_topology_says_so)
{
	struct topology *topology = NULL;
	struct topology_node *nodes[30];
	enum err err = ERR_NO_MEMORY;

	for (size_t n = 1; err; n++) {
		test_fail_allocation(n);
		err = topology_create(&(struct topology_options){0}, &topology);
		test_fail_allocation(0);
	}
	for (uint64_t i = 0; i < 30; i++) {
		struct topology_about about = {.tier = NODE_CORE};

		err = ERR_NO_MEMORY;
		for (size_t n = 1; err; n++) {
			test_fail_allocation(n);
			err = topology_hear(topology, i + 1, &about, 0, &nodes[i]);
			test_fail_allocation(0);
		}
		for (uint64_t j = 0; j < i; j++) {
			struct link_row row = {.node = j + 1, .rtt_us = 9000};

			err = ERR_NO_MEMORY;
			for (size_t n = 1; err; n++) {
				test_fail_allocation(n);
				err = topology_measured(topology, nodes[i], &row, 0);
				test_fail_allocation(0);
			}
			CHECK_EQ(edge(topology, (unsigned)i, (unsigned)j), 4500);
		}
	}
	CHECK_EQ(topology->link_count, 30 * 29 / 2);
	topology_destroy(&topology);
}

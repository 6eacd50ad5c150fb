/* SPDX-License-Identifier: Apache-2.0
 *
 * Topologies as files: what is written is read, and what is wrong is named with its line.
 */
#include "cluster/topology_chance.h"
#include "cluster/topology_file.h"
#include "tests/test.h"

#include <stdlib.h>

enum { FILE_MAX = 4 << 20 };

static struct topology *create(void)
{
	struct topology *topology = NULL;

	CHECK_OK(topology_create(&(struct topology_options){0}, &topology));
	return topology;
}

TEST(a_file_says_what_is_there)
{
	static const char file[] =
		"nodes:\n"
		"  - {name: fra1, region: eu, tier: core, capacity: 10G, busy: 30%, "
		"cost: 20}\n"
		"  - name: par1\n"
		"    tier: edge\n"
		"  - {name: lon1}\n"
		"links:\n"
		"  - {between: [fra1, par1], delay: 4.5ms, jitter: 1ms, loss: 0.01%, "
		"rate: 1G, used: 40%}\n"
		"  - {from: fra1, to: lon1, rtt: 11ms}\n";
	struct topology *topology = create();
	struct topology_problem problem;
	const struct topology_node *fra, *par, *lon;
	const struct topology_link *link;

	CHECK_OK(topology_read(topology, file, sizeof(file) - 1, &problem));
	CHECK_EQ(topology->node_count, 3);
	CHECK_EQ(topology->link_count, 3);
	fra = topology_named(topology, "fra1");
	par = topology_named(topology, "par1");
	lon = topology_named(topology, "lon1");
	CHECK(fra->about.tier == NODE_CORE && par->about.tier == NODE_EDGE);
	CHECK_STR(fra->about.region, "eu");
	CHECK_EQ(fra->about.capacity_bps, 10000000000);
	CHECK_EQ(fra->about.busy_permille, 300);
	CHECK_EQ(fra->about.cost, 20);
	link = topology_link_to(topology, par, fra);
	CHECK_EQ(link->rtt_us, 9000);
	CHECK_EQ(link->jitter_us, 1000);
	CHECK_EQ(link->loss_ppm, 100);
	CHECK_EQ(link->capacity_bps, 1000000000);
	CHECK_EQ(link->rate_bps, 400000000);
	CHECK_EQ(topology_link_to(topology, fra, lon)->rtt_us, 11000);
	CHECK(!topology_link_to(topology, lon, fra));
	topology_destroy(&topology);
}

TEST(what_is_wrong_is_named_with_its_line)
{
#define TWO "nodes: [{name: a}, {name: b}]\n"
	static const struct {
		const char *file;
		uint32_t line; /* 0: nothing is wrong */
		const char *says;
	} rows[] = {
		{"",							  0, ""				   },
		{"# nothing\n",					       0, ""				     },
		{TWO "links: []\n",					   0, ""					 },
		{TWO "links:\n  - {between: [a, b]}\n",			0, ""				     },
		{"nodes",						     1, "expected { }"			   },
		{"[a]",						       1, "expected no list"		     },
		{"hosts: []",						 1, "expected nodes: or links:"	    },
		{"nodes: {name: a}",					  1, "expected no keys"			  },
		{"nodes: [a]",						1, "expected { }"			},
		{"nodes:\n  - {region: eu}\n",				       2, "with a name"			       },
		{"nodes:\n  - {name: }\n",					   2, "name: expected a name"		     },
		{"nodes:\n  - {name: a, tier: middle}\n",			  2, "core or edge"			   },
		{"nodes:\n  - {name: a, size: 3}\n",			     2, "unknown key \"size\" of a node"	},
		{"nodes:\n  - {name: a, name: b}\n",			     2, "name: expected once"		     },
		{"nodes:\n  - {name: a, busy: 110%}\n",			2, "busy: expected a share"		   },
		{"nodes:\n  - {name: a, busy: -1%}\n",			       2, "busy: expected a share"		  },
		{"nodes:\n  - {name: a, cost: nan}\n",			       2, "cost: expected a number"		   },
		{"nodes:\n  - {name: a, cost: 0x10}\n",			2, "cost: expected a number"	    },
		{"nodes:\n  - {name: a, cost: 1e9}\n",			       2, "cost: expected a number"		   },
		{"nodes:\n  - {name: a, cost: 1.2.3}\n",			 2, "cost: expected a number"	     },
		{"nodes:\n  - {name: a, capacity: 10T}\n",			   2, "capacity: expected a rate"		 },
		{"nodes:\n  - {name: [a]}\n",				      2, "expected no list"		   },
		{"nodes: [{name: &x a}, {name: *x}]",			      1, "no aliases"			     },
		{"nodes: [{name: a}",					 2, "not YAML"			   },
		{TWO "links:\n  - {between: [a]}\n",			     3, "two names"			   },
		{TWO "links:\n  - {between: [a, b, a]}\n",			   3, "two names"				 },
		{TWO "links:\n  - {between: a}\n",				   3, "two names"				 },
		{TWO "links:\n  - {from: a}\n",				3, "between: [a, b], or from"	     },
		{TWO "links:\n  - {between: [a, b], to: a}\n",		       3, "between: [a, b], or from"	    },
		{TWO "links:\n  - {from: a, to: c}\n",			       3, "a node of the list above, got \"c\""},
		{TWO "links:\n  - {from: a, to: a}\n",			       3, "\"a\" twice"			       },
		{TWO "links:\n  - {from: a, to: b}\n  - {between: [b, a]}\n", 4, "there already"			},
		{TWO "links:\n  - {from: a, to: b, delay: 4}\n",		 3, "delay: expected a time"		    },
		{TWO "links:\n  - {from: a, to: b, delay: 4ms, rtt: 8ms}\n",  3, "not both"				  },
		{TWO "links:\n  - {from: a, to: b, tier: core}\n",		   3,
			"unknown key \"tier\" of a link"								     },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct topology *topology = create();
		struct topology_problem problem;
		enum err err =
			topology_read(topology, rows[i].file, strlen(rows[i].file), &problem);

		if ((err != ERR_OK) != (rows[i].line != 0) || problem.line != rows[i].line ||
			!strstr(problem.text, rows[i].says))
			fail_msg("row %zu: line %u: %s", i, problem.line, problem.text);
		topology_destroy(&topology);
	}
}

TEST(what_is_written_is_read)
{
	const struct topology_chance chance = {
		.seed = 2, .nodes = 150, .cores_permille = 40, .edge_links = 6, .core_links = 255};
	struct topology *made = create(), *read = create();
	char *file = malloc(FILE_MAX);
	struct writer out = writer_of(file, FILE_MAX), small = writer_of(file, 100);
	struct topology_problem problem;

	CHECK_OK(topology_by_chance(made, &chance));
	CHECK_EQ(topology_write(made, &small), ERR_NO_SPACE);
	CHECK_OK(topology_write(made, &out));
	CHECK_OK(topology_read(read, file, writer_used(&out), &problem));
	CHECK_EQ(read->node_count, made->node_count);
	CHECK_EQ(read->link_count, made->link_count);
	for (uint32_t i = 0; i < made->places; i++) {
		CHECK_MEM(
			&read->nodes[i].about, &made->nodes[i].about, sizeof(made->nodes[i].about));
		for (uint16_t j = 0; j < made->nodes[i].link_count; j++) {
			const struct topology_link *a = &made->nodes[i].links[j];
			const struct topology_link *b = &read->nodes[i].links[j];

			CHECK(a->to == b->to && a->rtt_us == b->rtt_us &&
				a->loss_ppm == b->loss_ppm && a->jitter_us == b->jitter_us &&
				a->capacity_bps == b->capacity_bps);
			CHECK_LE(a->rate_bps > b->rate_bps ? a->rate_bps - b->rate_bps
							   : b->rate_bps - a->rate_bps,
				a->capacity_bps / 100000 + 1);
		}
	}
	free(file);
	topology_destroy(&made);
	topology_destroy(&read);
}

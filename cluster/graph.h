/* SPDX-License-Identifier: Apache-2.0
 *
 * A directed graph with weights: nodes are numbers from 0, an edge is a link that media may take, its
 * weight what that costs in microseconds (cluster/topology.h says how it is reckoned). Each node has
 * its edges out and its edges in as arrays in order of the other end, so that whoever walks them
 * touches little memory and always in the same order.
 *
 * Thread: any one. Allocates when a node gets more edges than ever before; nothing shrinks.
 */
#ifndef MILLRACE_GRAPH_H
#define MILLRACE_GRAPH_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GRAPH_NODES_MAX = 4096,
	GRAPH_WEIGHT_MAX = 1 << 28, /* microseconds, 4.5 minutes: three of them fit 32 bits */
	GRAPH_NO_EDGE =
		UINT32_MAX >> 2, /* what graph_weight says when there is none; so do three */
};

struct graph_edge {
	uint16_t node; /* the other end */
	uint32_t weight;
};

struct graph_edges {
	struct graph_edge *edge; /* in order of node */
	uint16_t count, room;
};

struct graph_node {
	struct graph_edges out, in;
};

struct graph {
	struct graph_node *nodes;
	uint32_t count;		      /* highest number that ever had an edge + 1 */
	bool relays[GRAPH_NODES_MAX]; /* takes what is not for itself; the owner's to write */
};

/* ERR_NO_MEMORY. Nodes are there at once, without edges, and relay nothing. */
enum err graph_init(struct graph *graph);
void graph_fini(struct graph *graph);

/* Both MUST be below GRAPH_NODES_MAX and different. A weight is cut to GRAPH_WEIGHT_MAX;
 * GRAPH_NO_EDGE takes the edge away. ERR_NO_MEMORY: nothing has changed. */
enum err graph_set(struct graph *graph, uint16_t from, uint16_t to, uint32_t weight);

/* GRAPH_NO_EDGE when there is none. */
uint32_t graph_weight(const struct graph *graph, uint16_t from, uint16_t to);

size_t graph_bytes(const struct graph *graph);

#endif

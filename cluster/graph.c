/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/graph.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 8 };

enum err graph_init(struct graph *graph)
{
	memset(graph, 0, sizeof(*graph));
	graph->nodes = calloc(GRAPH_NODES_MAX, sizeof(*graph->nodes));
	return graph->nodes ? ERR_OK : ERR_NO_MEMORY;
}

void graph_fini(struct graph *graph)
{
	for (uint32_t i = 0; graph->nodes && i < GRAPH_NODES_MAX; i++) {
		free(graph->nodes[i].out.edge);
		free(graph->nodes[i].in.edge);
	}
	free(graph->nodes);
	memset(graph, 0, sizeof(*graph));
}

/* Where the edge to `node` is, or would be. */
static uint16_t seek(const struct graph_edges *edges, uint16_t node)
{
	uint16_t low = 0, high = edges->count;

	while (low < high) {
		uint16_t middle = (uint16_t)((low + high) / 2);

		if (edges->edge[middle].node < node)
			low = (uint16_t)(middle + 1);
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct graph_edges *edges, uint16_t place, uint16_t node)
{
	return place < edges->count && edges->edge[place].node == node;
}

static enum err make_room(struct graph_edges *edges)
{
	uint16_t room = edges->room ? (uint16_t)(edges->room * 2) : ROOM_FIRST;
	struct graph_edge *more;

	if (edges->count < edges->room)
		return ERR_OK;
	more = realloc(edges->edge, room * sizeof(*more));
	if (!more)
		return ERR_NO_MEMORY;
	edges->edge = more;
	edges->room = room;
	return ERR_OK;
}

static void put(struct graph_edges *edges, uint16_t node, uint32_t weight)
{
	uint16_t place = seek(edges, node);
	struct graph_edge *edge = edges->edge + place;

	if (!is_at(edges, place, node)) {
		memmove(edge + 1, edge, (size_t)(edges->count - place) * sizeof(*edge));
		edges->count++;
	}
	*edge = (struct graph_edge){.node = node, .weight = weight};
}

static void take_away(struct graph_edges *edges, uint16_t node)
{
	uint16_t place = seek(edges, node);
	struct graph_edge *edge = edges->edge + place;

	if (!is_at(edges, place, node))
		return;
	edges->count--;
	memmove(edge, edge + 1, (size_t)(edges->count - place) * sizeof(*edge));
}

enum err graph_set(struct graph *graph, uint16_t from, uint16_t to, uint32_t weight)
{
	struct graph_edges *out, *in;

	MUST(from < GRAPH_NODES_MAX && to < GRAPH_NODES_MAX && from != to);
	out = &graph->nodes[from].out;
	in = &graph->nodes[to].in;
	if (weight == GRAPH_NO_EDGE) {
		take_away(out, to);
		take_away(in, from);
		return ERR_OK;
	}
	if (make_room(out) || make_room(in))
		return ERR_NO_MEMORY;
	if (weight > GRAPH_WEIGHT_MAX)
		weight = GRAPH_WEIGHT_MAX;
	put(out, to, weight);
	put(in, from, weight);
	if (from >= graph->count)
		graph->count = from + 1u;
	if (to >= graph->count)
		graph->count = to + 1u;
	return ERR_OK;
}

uint32_t graph_weight(const struct graph *graph, uint16_t from, uint16_t to)
{
	const struct graph_edges *out = &graph->nodes[from].out;
	uint16_t place = seek(out, to);

	return is_at(out, place, to) ? out->edge[place].weight : GRAPH_NO_EDGE;
}

size_t graph_bytes(const struct graph *graph)
{
	size_t bytes = GRAPH_NODES_MAX * sizeof(*graph->nodes);

	for (uint32_t i = 0; i < graph->count; i++)
		bytes += (size_t)(graph->nodes[i].out.room + graph->nodes[i].in.room) *
			 sizeof(struct graph_edge);
	return bytes;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/ways.h"

unsigned way_relays(struct way way)
{
	return way.relay[0] >= WAY_NONE ? 0 : way.relay[1] == WAY_NOBODY ? 1 : 2;
}

bool way_is(struct way a, struct way b)
{
	return a.relay[0] == b.relay[0] && a.relay[1] == b.relay[1];
}

unsigned way_shares(struct way a, struct way b)
{
	unsigned shared = 0;

	for (unsigned i = 0; i < way_relays(a); i++)
		for (unsigned j = 0; j < way_relays(b); j++)
			shared += a.relay[i] == b.relay[j];
	return shared;
}

bool way_uses(struct way way, uint16_t from, uint16_t to, uint16_t link_from, uint16_t link_to)
{
	unsigned relays = way_relays(way);
	uint16_t at = from;

	if (way.relay[0] == WAY_NONE)
		return false;
	for (unsigned i = 0; i < relays; at = way.relay[i++])
		if (at == link_from && way.relay[i] == link_to)
			return true;
	return at == link_from && to == link_to;
}

uint32_t way_weight(const struct graph *graph, uint16_t from, uint16_t to, struct way way)
{
	unsigned relays = way_relays(way);
	uint16_t at = from;
	uint32_t weight = 0;

	if (way.relay[0] == WAY_NONE)
		return GRAPH_NO_EDGE;
	for (unsigned i = 0; i < relays; at = way.relay[i++]) {
		if (!graph->relays[way.relay[i]])
			return GRAPH_NO_EDGE;
		weight += graph_weight(graph, at, way.relay[i]);
	}
	weight += graph_weight(graph, at, to);
	return weight < GRAPH_NO_EDGE ? weight : GRAPH_NO_EDGE;
}

static void keep_light(struct way way, uint32_t weight, struct way *ways, uint32_t *weights,
	unsigned max, unsigned *count)
{
	unsigned place = *count;

	if (weight >= GRAPH_NO_EDGE || (place == max && weight >= weights[max - 1]))
		return;
	if (place == max)
		place--;
	else
		++*count;
	for (; place && weights[place - 1] > weight; place--) {
		weights[place] = weights[place - 1];
		ways[place] = ways[place - 1];
	}
	weights[place] = weight;
	ways[place] = way;
}

unsigned ways_candidates(const struct graph *graph, uint16_t from, uint16_t to, struct way *ways,
	uint32_t *weights, unsigned max)
{
	const struct graph_edges *out = &graph->nodes[from].out, *in = &graph->nodes[to].in;
	unsigned count = 0;

	keep_light(way_direct, graph_weight(graph, from, to), ways, weights, max, &count);
	for (uint16_t i = 0; i < out->count; i++) {
		uint16_t first = out->edge[i].node;

		if (first == to || !graph->relays[first])
			continue;
		keep_light(
			(struct way){
				{first, WAY_NOBODY}
		   },
			out->edge[i].weight + graph_weight(graph, first, to), ways, weights, max,
			&count);
		for (uint16_t j = 0; j < in->count; j++) {
			uint16_t second = in->edge[j].node;

			if (second == from || second == first || !graph->relays[second])
				continue;
			keep_light(
				(struct way){
					{first, second}
			       },
				out->edge[i].weight + graph_weight(graph, first, second) +
					in->edge[j].weight,
				ways, weights, max, &count);
		}
	}
	return count;
}

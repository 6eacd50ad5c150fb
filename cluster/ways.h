/* SPDX-License-Identifier: Apache-2.0
 *
 * A way from one node of a graph to another: straight, or over one or two relays.
 *
 * Pure. Thread: any. No allocation.
 */
#ifndef MILLRACE_WAYS_H
#define MILLRACE_WAYS_H

#include "cluster/graph.h"

enum {
	WAY_NOBODY = 0xffff, /* in the place of a relay: there is none */
	WAY_NONE = 0xfffe,   /* in the place of the first: there is no such way */
};

/* Relays in the order of media, from the origin on. */
struct way {
	uint16_t relay[2];
};

static const struct way way_none = {
	{WAY_NONE, WAY_NOBODY}
};
static const struct way way_direct = {
	{WAY_NOBODY, WAY_NOBODY}
};

/* What it weighs now; GRAPH_NO_EDGE when it is none (any more). */
uint32_t way_weight(const struct graph *graph, uint16_t from, uint16_t to, struct way way);

/* 0 to 2; of no way 0. */
unsigned way_relays(struct way way);

bool way_is(struct way a, struct way b);

/* Relays that both lead over. */
unsigned way_shares(struct way a, struct way b);

/* It leads over this link. */
bool way_uses(struct way way, uint16_t from, uint16_t to, uint16_t link_from, uint16_t link_to);

/* The lightest ways of a pair, lightest first, for people: looks at every one. Returns how many. */
unsigned ways_candidates(const struct graph *graph, uint16_t from, uint16_t to, struct way *ways,
	uint32_t *weights, unsigned max);

#endif

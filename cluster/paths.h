/* SPDX-License-Identifier: Apache-2.0
 *
 * The three best ways from each node of a graph to each other one, over at most two relays
 * (decision 22).
 *
 *   first    the lightest
 *   second   of those within 1.5 times the first: shares the fewest relays with it, then the lightest
 *   third    likewise with both; but while the second shares a relay with the first, the lightest
 *            that shares none, whatever it weighs: what takes one of them away leaves another
 *
 * A way that is in the plan stays while another is not better by more than a tolerance (no flapping).
 * Where nothing is within 1.5 times, what is beyond is taken by the same order.
 *
 * How: destination by destination. For a destination, each relay's lightest ways on to it (its
 * *tails*, over at most one more relay) are few and are found once; six of them are enough to choose
 * from exactly, since at most five can be barred (the relays of two ways, and the source). A source then
 * has to look at its own links only. The cost of a destination is what leads to it over two links,
 * and for each source its links; no list of ways is ever made.
 *
 * A change marks the pairs that it can touch, paths_step plans marked pairs, a few at a time: the owner goes
 * about other things meanwhile, and a change in between marks again.
 *
 * Thread: any one. Allocates when the graph has grown. 12 bytes a pair, one of 64 allowed to grow ahead.
 */
#ifndef MILLRACE_PATHS_H
#define MILLRACE_PATHS_H

#include "cluster/ways.h"

enum { PATHS_WAYS = 3 };

struct ways {
	struct way way[PATHS_WAYS];
};

struct paths_options {
	uint32_t stay_permille; /* a way stays while no other is lighter by more than this … */
	uint32_t stay_us;	/* … and by more than this; 0, 0 = the plan is always the best */
};

struct paths;

enum err paths_create(const struct paths_options *options, struct paths **paths);
void paths_destroy(struct paths **paths);

/* To look at: it changes by the two calls below, which mark what the change can touch. */
const struct graph *paths_graph(const struct paths *paths);

/* As graph_set. ERR_NO_MEMORY: nothing has changed. */
enum err paths_set_edge(struct paths *paths, uint16_t from, uint16_t to, uint32_t weight);

/* Whether the node takes what is not for itself. */
void paths_set_relay(struct paths *paths, uint16_t node, bool relays);

/* All pairs, as if everything had changed. */
void paths_mark_all(struct paths *paths);

/* Plans about so many marked pairs, at least one destination's. True while some are left (without memory
 * for a changed graph: all of them). */
bool paths_step(struct paths *paths, uint32_t pairs);

/* Destinations with something to plan. */
uint32_t paths_waiting(const struct paths *paths);

/* The ways planned; NULL when the two are one, or the graph never had them. */
const struct ways *paths_get(const struct paths *paths, uint16_t from, uint16_t to);

/* Origins (`from`) whose ways to this destination have changed and were not cleared since: the next one
 * from `*at` on, which moves behind it (0 at first). False: no more. */
bool paths_next_changed(const struct paths *paths, uint16_t to, uint32_t *at, uint16_t *from);
void paths_clear_changed(struct paths *paths, uint16_t to, uint16_t from);

uint64_t paths_planned(const struct paths *paths); /* pairs, since it was created */
size_t paths_bytes(const struct paths *paths);

#endif

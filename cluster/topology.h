/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known of the nodes of a cluster and of the links between them, and what a link weighs
 * (decision 22). Fed by reports, or by chance (cluster/topology_chance.h); feeds the planner, whose node
 * numbers are places in `nodes`.
 *
 * Weight of a link, in microseconds:
 *
 *   rtt / 2 + 1000 * loss * (rtt + 10 ms) + crowding(x) * 20 ms + cost_weight * cost of who sends
 *   crowding(x) = 0 up to x = 80 %, then (x - 0.8) / (1 - x), at most 50
 *
 * x being what is used of the link, or of the node that it leads to, whichever is more. A doubtful link
 * counts as full. The planner hears of a weight that has changed by more than 5 % and 1 ms, and at once
 * of a link that comes or goes. What is reported is smoothed: a quarter of each new value.
 *
 * Pure: time comes in. Thread: any one. Allocates for nodes and links that are new.
 */
#ifndef MILLRACE_TOPOLOGY_H
#define MILLRACE_TOPOLOGY_H

#include "cluster/paths.h"
#include "runtime/idmap.h"
#include "schemas/schema.h"

enum {
	TOPOLOGY_NODES_MAX = GRAPH_NODES_MAX,
	TOPOLOGY_LINKS_MAX = 2048,    /* of a node; a relay has one to each node that is near it */
	TOPOLOGY_LINK_OLD_MS = 5000,  /* a link not reported for so long is taken for gone */
	TOPOLOGY_NODE_OLD_MS = 60000, /* a node likewise: forgotten */
	TOPOLOGY_CROWDED_PERMILLE = 800,
	TOPOLOGY_CROWDING_MAX = 50,
	TOPOLOGY_CROWDING_US = 20000,
	TOPOLOGY_RECOVERY_US = 10000, /* a loss is mended in a round trip and this */
	TOPOLOGY_NAME_SIZE = 64,
	TOPOLOGY_REGION_SIZE = 32,
};

struct topology_link {
	uint16_t to;   /* place */
	uint8_t state; /* enum link_state */
	uint32_t rtt_us, loss_ppm, jitter_us;
	uint64_t rate_bps, capacity_bps;
	int64_t seen_us;
	uint32_t planned; /* weight that the planner has; GRAPH_NO_EDGE = it has none */
};

/* What a node says of itself. */
struct topology_about {
	char name[TOPOLOGY_NAME_SIZE];
	char region[TOPOLOGY_REGION_SIZE];
	uint8_t tier; /* enum node_tier */
	uint32_t cost;
	uint64_t capacity_bps;
	uint16_t busy_permille;
	bool draining; /* relays nothing new */
};

struct topology_node {
	uint64_t id; /* 0 = the place is free */
	struct topology_about about;
	bool lost; /* the mesh has lost it: nothing leads there until it reports again */
	int64_t seen_us;
	struct topology_link *links; /* in order of `to` */
	uint16_t link_count, link_room;
};

struct topology_options {
	uint32_t cost_weight; /* microseconds for a thousandth of cost */
	struct paths_options paths;
};

struct topology {
	struct topology_options options;
	struct topology_node *nodes; /* TOPOLOGY_NODES_MAX places */
	uint32_t places;	     /* highest that was ever used + 1 */
	uint32_t node_count, link_count;
	struct idmap by_id;
	struct paths *paths;
};

enum err topology_create(const struct topology_options *options, struct topology **topology);
void topology_destroy(struct topology **topology);

/* NULL when it is not known. */
struct topology_node *topology_find(const struct topology *topology, uint64_t id);
/* By name, or by id in hex; of two of one name the one with the lower id. */
struct topology_node *topology_named(const struct topology *topology, const char *text);

uint16_t topology_place(const struct topology *topology, const struct topology_node *node);

/* A node speaks: it is made if need be, and is what it says. ERR_LIMIT, ERR_NO_MEMORY; ERR_FORMAT: id 0. */
enum err topology_hear(struct topology *topology, uint64_t id, const struct topology_about *about,
	int64_t now_us, struct topology_node **node);

/* It measures a link to another. To a node that is not known, or to itself: nothing happens. What it
 * reports as closed is forgotten. ERR_LIMIT, ERR_NO_MEMORY. */
enum err topology_measured(struct topology *topology, struct topology_node *from,
	const struct link_row *row, int64_t now_us);

struct topology_link *topology_link_to(const struct topology *topology,
	const struct topology_node *from, const struct topology_node *to);

/* The mesh has lost it. */
void topology_lost(struct topology *topology, struct topology_node *node);

void topology_forget(struct topology *topology, struct topology_node *node);

/* Lets go of what has not been heard of for too long. */
void topology_expire(struct topology *topology, int64_t now_us);

/* What the link would weigh, whatever its state; how much is used of it or of where it leads. */
uint32_t topology_weigh(const struct topology *topology, const struct topology_node *from,
	const struct topology_link *link);
uint32_t topology_busy_permille(const struct topology *topology, const struct topology_link *link);

/* The neighbours whose links `node` should keep measured, at most `max`: relays before others, then its
 * own region, then the nearest. Returns how many. */
unsigned topology_neighbours(const struct topology *topology, const struct topology_node *node,
	uint64_t *ids, unsigned max);

size_t topology_bytes(const struct topology *topology);

#endif

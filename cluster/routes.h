/* SPDX-License-Identifier: Apache-2.0
 *
 * How a node reaches the others: its table from the brain, and what it sees by itself (decision 22).
 *
 *   way of the table --link or node in trouble--> the next one that is not --well again, 5 s on--> back
 *   nothing planned --> straight to the origin
 *   all ways in trouble --> also over the nearest relay that is well (the last resort)
 *
 * A link is in trouble while the best of its paths is doubtful or down, and ROUTES_HOLD_MS longer. A node
 * is while the mesh has lost it, until the mesh finds it, a link to it is up, or the brain leads over it
 * ROUTES_HOLD_MS later. What has been lost for ROUTES_LOST_OLD_MS leaves the table. Without a brain the
 * table stays as it is.
 *
 * Pure: time comes in. Thread: any one. Allocates for nodes that are new.
 */
#ifndef MILLRACE_ROUTES_H
#define MILLRACE_ROUTES_H

#include "cluster/path_table.h"

enum {
	ROUTES_HOLD_MS = 5000,
	ROUTES_LOST_OLD_MS = 60000,
	ROUTES_HEARD_OLD_MS = 3000, /* a link not reported for so long says nothing */
	ROUTES_NODES_MAX = PATH_ROWS_MAX,
	ROUTES_HEARD_MAX = 256, /* paths of links to one neighbour: of all workers */
};

/* What a link of one worker said of one of its paths. */
struct routes_heard {
	uint64_t by; /* actor id */
	int64_t at_us;
	struct link_row row;
};

struct routes_node {
	uint64_t id;
	bool is_lost; /* says the mesh */
	int64_t lost_us;
	bool relays;	       /* the table leads over it */
	uint8_t held;	       /* enum link_state: the worst of the trouble that it was in … */
	int64_t held_until_us; /* … counts until then */
	struct routes_heard *heard;
	uint16_t heard_count, heard_room;
};

struct routes {
	struct path_table table;
	uint64_t term, version;	   /* of the brain that the table is from */
	struct routes_node *nodes; /* ROUTES_NODES_MAX, the first `count` used */
	uint32_t count;
	struct idmap by_id; /* place + 1 */
	uint64_t alarms;    /* links and nodes that got into trouble */
};

enum err routes_init(struct routes *routes);
void routes_fini(struct routes *routes);

/* A table, or more of it. ERR_VERSION: its brain is none any more; ERR_FORMAT, ERR_LIMIT,
 * ERR_NO_MEMORY: some rows may have been taken (the digest tells the brain). */
enum err routes_take(struct routes *routes, const struct msg_path_table *message, int64_t now_us);

/* A link says how a path of it stands. True: somebody got into trouble by it, or into worse. ERR_OK or
 * ERR_LIMIT, ERR_NO_MEMORY in *err. */
bool routes_heard(struct routes *routes, uint64_t by, const struct link_row *row, int64_t now_us,
	enum err *err);

/* The mesh has found or lost a node. */
enum err routes_seen(struct routes *routes, uint64_t node, bool up, int64_t now_us);

/* What is old goes. True when routes may have changed. */
bool routes_expire(struct routes *routes, int64_t now_us);

/* The way that is to be taken, and those that stand by. */
void routes_choose(
	const struct routes *routes, uint64_t origin, int64_t now_us, struct msg_route *route);

/* Neighbours whose links are in trouble now, the worst if they are more than fit. How many. */
uint16_t routes_troubled(const struct routes *routes, int64_t now_us,
	struct route_trouble troubled[ROUTE_TROUBLED_MAX]);

/* One row a neighbour for the brain: the next from *at on (0 at first), which moves behind it. False: no
 * more. */
bool routes_next_link(
	const struct routes *routes, uint32_t *at, int64_t now_us, struct link_row *row);

/* One row a path to that neighbour, the links of all workers together: as the best of them is, with the sum of
 * what they send; `rows` has room for LINK_WAYS_MAX. How many there are. */
unsigned routes_paths(
	const struct routes *routes, uint64_t node, int64_t now_us, struct link_row *rows);

/* A node that datagrams to `peer` can go through, beside the direct way: of one that a planned way leads
 * over, or the nearest relay; 0 = none is known that is well. */
uint64_t routes_relay_to(const struct routes *routes, uint64_t peer, int64_t now_us);

/* Origins that are not reached as planned. */
uint32_t routes_detours(const struct routes *routes, int64_t now_us);

#endif

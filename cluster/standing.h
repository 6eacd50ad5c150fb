/* SPDX-License-Identifier: Apache-2.0
 *
 * How the other nodes of a cluster stand, and which of them takes a session that this one does not: a pure
 * table over what they have said of themselves (docs/decisions/025).
 *
 * Who is full or drains, has no address for clients, or has not been heard for STANDING_OLD_MS gets
 * nothing. Nodes of the own region go before all others; among them one that has the stream already, then
 * the least busy; differences below PLACEMENT_NOISE are noise, and fewer sessions decide. What was sent to
 * a node since it last spoke counts as if it were there, at what one of its sessions costs.
 */
#ifndef MILLRACE_STANDING_H
#define MILLRACE_STANDING_H

#include "cluster/placement.h"

enum {
	STANDING_SAY_MS = 5000, /* at least so often; when it has changed, within a second */
	STANDING_OLD_MS = 12000,
	STANDING_ALTERNATIVES = 3,   /* that a client is told of */
	STANDING_FREE_PERMILLE = 50, /* a full node has room again so far below its limit */
};

/* NULL: it is not known. `nodes` are in order of their ids. */
struct standing *standing_find(struct standing *nodes, uint16_t count, uint64_t node);

/* Takes what a node says of itself. ERR_LIMIT: there are STANDINGS_MAX others; ERR_FORMAT: its address is
 * none that a client could be sent to. */
enum err standing_take(struct standing *nodes, uint16_t *count, uint64_t node,
	const struct msg_node_standing *said, int64_t now_us);

/* It is lost. */
void standing_forget(struct standing *nodes, uint16_t *count, uint64_t node);

/* Who takes a session; `with_stream`: a node that has it, 0 = not known. NULL: nobody has room. */
struct standing *standing_choose(struct standing *nodes, uint16_t count, const char *region,
	uint64_t with_stream, int64_t now_us);

/* The addresses of the best, as clients hear of them: separated by spaces. */
void standing_alternatives(const struct standing *nodes, uint16_t count, const char *region,
	int64_t now_us, char urls[ALTERNATIVES_SIZE + 1]);

/* Is a node full that is that busy, has so many sessions, and was full or not? Limits of 0 do not
 * count. */
bool standing_is_full(bool was_full, uint32_t busy_permille, uint32_t sessions,
	uint32_t full_permille, uint32_t sessions_max);

#endif

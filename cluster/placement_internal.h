/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of placement: placement_actor.c (the workers of this node, life), placement_nodes.c (the other
 * nodes of the cluster: what they say, who is sent there, permits, draining).
 */
#ifndef MILLRACE_PLACEMENT_INTERNAL_H
#define MILLRACE_PLACEMENT_INTERNAL_H

#include "cluster/permits_used.h"
#include "cluster/placement.h"
#include "cluster/standing.h"
#include "runtime/actor.h"
#include "runtime/permit.h"

enum { PLACEMENT_LOOKUPS_MAX = 64 }; /* viewers at once for whom it is asked who has their stream */

/* A viewer that goes to another node: the one that has its stream, if it can. */
struct placement_lookup {
	uint64_t request; /* to the directory; 0 = free */
	struct asker asker;
	struct msg_placed answer;
};

struct placement {
	struct placement_state st;

	uint64_t up[STANDINGS_MAX]; /* nodes that the mesh has up */
	uint32_t up_count;
	struct placement_lookup lookups[PLACEMENT_LOOKUPS_MAX];
	uint8_t key[PERMIT_KEY_SIZE]; /* of our permits */
	bool has_key;
	struct permits_used *used;     /* NULL: none was shown yet */
	struct msg_node_standing said; /* to the others, the last time; without a name: never */
	uint32_t empty_ticks; /* looks in a row that found no session; counts towards st.stop */
	int64_t said_us;
};

/* placement_actor.c */
/* Of all workers that take sessions; 1000 when none does. */
uint32_t placement_node_load(const struct placement *s);
uint32_t placement_sessions(const struct placement *s);
bool placement_is_draining(const struct placement *s);

/* placement_nodes.c */
void placement_nodes_begin(struct actor *self, struct placement *s);
/* Each second. */
void placement_nodes_look(struct actor *self, struct placement *s);
/* Is it rather another node's session? Looks at what this one has now. */
bool placement_is_full(struct actor *self, struct placement *s);
/* ERR_AUTH, or what the permit says into *answer. */
enum err placement_permit(struct actor *self, struct placement *s, const struct msg_place *place,
	struct msg_placed *answer);
/* A session was made by a permit: of a worker here, or as another node says. */
void placement_permit_used(
	struct actor *self, struct placement *s, const struct msg_permit_used *m);
void placement_permit_spent(
	struct actor *self, struct placement *s, const struct msg_permit_spent *m);
/* Answers who asks for a place: another node, or OVERLOAD. */
enum err placement_send_away(struct actor *self, struct placement *s, const struct msg_place *place,
	const struct msg_placed *answer);
/* A worker's HTTP office begins: what clients are to be told. */
void placement_tell_alternatives(struct actor *self, struct placement *s, uint32_t process);

enum err placement_node_seen(
	struct actor *self, struct placement *s, const struct msg_node_seen *m);
enum err placement_node_standing(
	struct actor *self, struct placement *s, uint64_t node, const struct msg_node_standing *m);
enum err placement_node_drain(
	struct actor *self, struct placement *s, const struct msg_node_drain *m);
enum err placement_standings(struct actor *self, struct placement *s);
/* The directory has answered; owner 0: nobody has the stream. */
void placement_looked_up(struct actor *self, struct placement *s, uint64_t request, uint64_t owner);

#endif

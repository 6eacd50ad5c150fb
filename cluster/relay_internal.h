/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the relay office: relay_actor.c (who asks, who pulls, what becomes of them),
 * relay_search.c (finding a source for an entry), relay_changes.c (what it did, for those who look).
 */
#ifndef MILLRACE_RELAY_INTERNAL_H
#define MILLRACE_RELAY_INTERNAL_H

#include "cluster/relay.h"

enum {
	RELAY_ORIGINS_MAX = MESH_NODES_MAX,
	RELAY_WATCH_AGAIN_MS = 10000, /* routes is asked again, should it be a new one */
};

/* A node that owns streams that we have, and how it is reached. */
struct relay_origin {
	uint64_t node;
	uint64_t request; /* of the route; 0 = none is open */
	int64_t asked_us;
	bool is_known; /* routes has answered once, and says what changes */
	struct msg_route route;
};

/* The last ones of each kind, so that a link with many streams does not hide what became of it. */
enum { RELAY_STREAM_CHANGES = 48, RELAY_ROUTE_CHANGES = RELAY_CHANGES_MAX - RELAY_STREAM_CHANGES };

struct relay_changes {
	struct relay_change of_streams[RELAY_STREAM_CHANGES];
	struct relay_change of_routes[RELAY_ROUTE_CHANGES];
	uint64_t streams, routes; /* that there were */
};

struct relay {
	struct relay_state st;

	struct relay_table *table;
	struct relay_origin *origins; /* RELAY_ORIGINS_MAX */
	uint32_t origin_count;
	struct relay_changes *changes;
};

/* ---- what it did ------------------------------------------------------------------------------- */

/* The stream comes by this path now; one that is the same, or the first of an entry, is no change. */
void relay_note_path(struct actor *self, struct relay *s, struct relay_stream *stream,
	const struct relay_path *path);
/* Routes has another first way to this origin now. Before the origin takes it. */
void relay_note_route(struct actor *self, struct relay *s, const struct relay_origin *origin,
	const struct msg_route *route);
/* The newest of both kinds together, `max` of each (0 = all), newest first. */
void relay_newest_changes(
	const struct relay_changes *changes, uint32_t max, struct msg_relay_changes_told *told);

/* ---- requests of a stream: `request` is one of its two ----------------------------------------- */

/* False: no memory to know it by; it is as if it had failed. */
bool relay_note_request(struct actor *self, struct relay *s, struct relay_stream *stream,
	uint64_t *request, uint64_t id);
/* So long ago the stream's publisher was lost; 0 = it is there. */
uint32_t relay_lost_ms(struct actor *self, const struct relay_stream *stream);
void relay_note_lost(struct actor *self, struct relay_stream *stream, uint32_t lost_ms);
void relay_forget_request(struct actor *self, struct relay *s, uint64_t *request);

/* ---- the source of an entry ---------------------------------------------------------------------- */

struct msg_relay_found relay_found_at(
	const struct relay_stream *stream, struct addr source, const struct relay_path *path);
void relay_send_leave(struct actor *self, const char name[128], uint64_t node);
void relay_leave_source(struct actor *self, struct relay_stream *stream);
/* The entry has this source, or is told to have it by what is answered now. */
void relay_take_source(struct actor *self, struct relay *s, struct relay_stream *stream,
	struct addr source, const struct relay_path *path);
/* It waits for its source, which is known. */
void relay_answer_entry(struct actor *self, struct relay *s, struct relay_stream *stream);

/* ---- a search ------------------------------------------------------------------------------------ */

/* Begins one, in the place of one under way; `first` (0 = none) is asked before what routes knows. `why` is told
 * with what becomes of it. */
void relay_search(struct actor *self, struct relay *s, struct relay_stream *stream,
	enum relay_want want, enum relay_why why, uint64_t first);
void relay_try_next(struct actor *self, struct relay *s, struct relay_stream *stream);
/* What has been found: the entry waits for it, or has to change over. */
void relay_settle(struct actor *self, struct relay *s, struct relay_stream *stream,
	struct addr source, const struct relay_path *path);
void relay_end_search(struct actor *self, struct relay *s, struct relay_stream *stream);
/* Nothing was found. An entry that is in a circle has no source from now on. */
void relay_stay(struct actor *self, struct relay *s, struct relay_stream *stream);
/* Another way may be better, or the present one lost. */
void relay_consider(struct actor *self, struct relay *s, struct relay_stream *stream,
	const struct relay_origin *origin);

/* ---- origins --------------------------------------------------------------------------------------- */

/* Routes is asked for a new one. NULL: there are too many; then it is reached straight. */
struct relay_origin *relay_origin_of(struct actor *self, struct relay *s, uint64_t node);
struct relay_origin *relay_find_origin(struct relay *s, uint64_t node);
struct relay_origin *relay_origin_of_request(struct relay *s, uint64_t request);
/* Its route is known, or will not be: streams that waited for it go on, others look whether they are
 * better off. */
void relay_route_settled(struct actor *self, struct relay *s, const struct relay_origin *origin);
/* The watch is renewed while a stream comes from there; else the origin is forgotten. */
void relay_renew_origin(struct actor *self, struct relay *s, struct relay_origin *origin);

#endif

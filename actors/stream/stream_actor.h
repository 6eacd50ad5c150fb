/* SPDX-License-Identifier: Apache-2.0
 *
 * stream: one published stream on one worker; either the origin, which owns the name, or a replica:
 * of another worker's stream, or (relayed) of another node's, from whomever the relay office says.
 *
 *   origin    (spawned) claiming --name granted--> live <--publish-- orphaned --grace over--> (ends)
 *                                                  live --source lost--> orphaned
 *   replica   (spawned) joining --subscribed--> live --source lost--> orphaned --new owner--> joining
 *
 * Owns the track table, the timeline and the log. Never opens a socket. Local readers are kicked
 * when the log has grown and read it themselves; readers in other processes are fed, and so is a copy that
 * the stream has come to, by moving, in its own process.
 */
#ifndef MILLRACE_STREAM_ACTOR_H
#define MILLRACE_STREAM_ACTOR_H

#include "runtime/actor.h"

enum stream_phase {
	STREAM_CLAIMING = 1 << 0,
	STREAM_JOINING = 1 << 1,
	STREAM_LIVE = 1 << 2,
	STREAM_ORPHANED = 1 << 3,
};

struct stream_args {
	const char *name;   /* "app/stream" */
	struct addr source; /* replica: the stream to copy; origin: nobody */
	uint64_t epoch;	    /* replica: of that stream */
	bool replica;
	uint32_t lost_ms;   /* replica: so long ago its publisher was lost; 0 = it is there */
	uint64_t over;	    /* origin: the name is claimed over this epoch, … */
	struct addr former; /* … which this one has yielded */
};

extern const struct actor_type stream_actor;

/* media office: finds or makes the streams of its worker, by name. Publishers and subscribers ask
 * it; the stream they are led to answers. */
extern const struct actor_type media_office_actor;
/* A stream of it goes to another process. Calls the office. */
void media_office_forget(struct actor *stream);
/* It has become an origin, or a replica. Calls the office. */
void media_office_note(struct actor *stream, bool replica);

#endif

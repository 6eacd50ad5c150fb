/* SPDX-License-Identifier: Apache-2.0
 *
 * The board as documents: pure functions from what was gathered to JSON.
 *
 *   state    {"node":{…},"workers":{"media.0":{…}},"streams":{"live/demo":{…}},"sessions":{ID:{…}},
 *            "left_out":N,"streams_left_out":N}   sessions, and streams of workers (copies count),
 *            that are not listed; rows are whole, and no value is null
 *   patch    what turns one state into the next, as a JSON merge patch (RFC 7386)
 *   events   what people would say has happened between two states
 *
 * Every function that returns a document returns a new reference, NULL when out of memory; NULL as
 * an argument is an empty state.
 */
#ifndef MILLRACE_BOARD_H
#define MILLRACE_BOARD_H

#include "runtime/runtime.h"

#include <jansson.h>

enum {
	BOARD_EVENTS_MAX = 100,	   /* kept; older ones are forgotten */
	BOARD_NEW_EVENTS_MAX = 40, /* of one step; the rest is counted in one more */
	BOARD_STATE_MAX = 340000,  /* bytes of a state as text: rows beyond are left out */
	BOARD_BEGUN_MS = 8000,	   /* what is older has not begun since the state before */
	BOARD_JSON = JSON_COMPACT | JSON_REAL_PRECISION(6), /* how it becomes text */
};

/* Into what a process office said just now: when its rows began, from how old they are. */
void board_stamp(json_t *answer, int64_t wall_ms);

/* `streams`, `sessions`: what the process offices said, each {"rows":[…],"next":…}, stamped. `before` is
 * the state that this one follows: times of start do not wander. */
json_t *board_state(
	struct runtime *rt, const json_t *streams, const json_t *sessions, const json_t *before);

/* NULL also when nothing differs. */
json_t *board_patch(const json_t *from, const json_t *to);

/* [{"at":MS,"level":"info"|"good"|"warn"|"bad","text":"…","stream":"…"}, …]; without a state before
 * nothing has happened. */
json_t *board_events(const json_t *from, const json_t *to, int64_t wall_ms);

#endif

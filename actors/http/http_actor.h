/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP as actors: an office a worker that accepts, one actor a connection. The office also keeps the
 * FLV muxers of its worker (actors/rtmp/flv_mux.h), one a stream.
 *
 *   listener --> http office --spawns--> http_connection ---- WHIP/WHEP: placement, RTC office, session
 *                     |                       |      '------- API, console: console office
 *                     '--spawns--> flv_mux <--'flv_open
 *                                     '--- subscribes at the media office, like any other viewer
 */
#ifndef MILLRACE_HTTP_ACTOR_H
#define MILLRACE_HTTP_ACTOR_H

#include "runtime/actor.h"

extern const struct actor_type http_office_actor; /* OFFICE_HTTP; no arguments */
extern const struct actor_type http_connection_actor;
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The actor that makes one stream FLV for all who watch it that way in this worker, by HTTP,
 * WebSocket or RTMP. The HTTP office keeps the muxers of its worker by name: flv_open goes there.
 *
 *   http_connection, rtmp_session --flv_open--> http office --spawns, forwards--> flv_mux
 *                                 <--flv_opened (where the tags lie)--------------'  '--> stream
 */
#ifndef MILLRACE_FLV_MUX_H
#define MILLRACE_FLV_MUX_H

#include "runtime/actor.h"

extern const struct actor_type flv_mux_actor;

struct flv_mux_args {
	const char *name; /* "app/stream" */
};

#endif

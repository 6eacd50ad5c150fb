/* SPDX-License-Identifier: Apache-2.0
 *
 * signal_channel: the signalling of one client over WebSocket (/ws), apart from the connections that
 * carry it: http_signal.c is those, docs/decisions/016 says why.
 *
 *   http_connection --signal_attach, signal_frame--> signal_channel --> placement, RTC office, sessions
 *                   <--signal_attached, signal_frame--
 */
#ifndef MILLRACE_SIGNAL_H
#define MILLRACE_SIGNAL_H

#include "runtime/actor.h"
#include "schemas/net_addr.h"

enum {
	SIGNAL_LINGER_MS =
		30000, /* a channel is kept without a connection, as long as consent lasts */
	SIGNAL_SECRET_SIZE = 32, /* characters: 128 bits in hexadecimal */
};

struct signal_channel_args {
	const char *secret;
	const struct net_addr *peer;
};

extern const struct actor_type signal_channel_actor;
#endif

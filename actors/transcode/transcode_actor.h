/* SPDX-License-Identifier: Apache-2.0
 *
 * transcoder: one audio track of one stream, made in another codec, in a helper process.
 *
 *   (spawned) subscribing --subscribed--> running --stop, stream down, source changed--> (ends)
 *
 * It is fed the source track by the stream and sends the made track back to it as packets; the
 * stream starts another when this one, or its process, dies.
 *
 * transcode office: starts the transcoders of its helper process and knows them.
 */
#ifndef MILLRACE_TRANSCODE_ACTOR_H
#define MILLRACE_TRANSCODE_ACTOR_H

#include "runtime/actor.h"

enum transcoder_phase {
	TRANSCODER_SUBSCRIBING = 1 << 0,
	TRANSCODER_RUNNING = 1 << 1,
};

enum {
	/* What is made counts 48 kHz from the source's times, later by this: the codec's delay is
	 * taken off, so the first time may lie before the source's, and that may be 0. */
	TRANSCODER_TIME_BASE = 48000,
};

struct transcoder_args {
	const struct msg_transcode_start *start; /* borrowed during init */
	struct media_track *made;		 /* filled by init: what will come out */
};

extern const struct actor_type transcoder_actor;
extern const struct actor_type transcode_office_actor;

#endif

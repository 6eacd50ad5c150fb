/* SPDX-License-Identifier: Apache-2.0
 *
 * Pacer of one viewer: how much may leave in one send call, and when the next one may.
 *
 * Video leaves in bursts, each worth at most PACER_SPAN_US of the viewer's pacing rate; one packet
 * may always leave. The rate is a multiple of what the stream itself has, so that a usual frame is
 * one burst and a keyframe is spread over its frame interval, and no receiver or queue on the way
 * sees a wall of packets. Sound and retransmissions do not wait, but what they take is charged:
 * the picture waits for it.
 *
 * Plain data; a successor reads it as untrusted, a time that cannot be counts as now.
 */
#ifndef MILLRACE_WEBRTC_PACER_H
#define MILLRACE_WEBRTC_PACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PACER_SPAN_US = 5000, /* of the rate, in one send call (DESIGN 4) */
	PACER_MULTIPLE = 12,  /* times the stream's rate: a frame 1.5 times the usual, at 25 a
				 second, is one burst */
	PACER_START_MULTIPLE =
		40,		/* while the cached frames go out: a keyframe worth 0.2 s in 5 ms */
	PACER_DRAIN_US = 30000, /* what waits is to leave within this: a frame interval at 30 Hz */
	PACER_RATE_MIN_BPS = 4000000,
	PACER_RATE_MAX_BPS = 100000000, /* or twice the stream's rate, if that is more */
	PACER_LATE_US = 1000, /* a timer that comes late by no more than this costs no rate … */
	PACER_OVERDUE_US = 30000, /* … and this, while something was waiting: a busy worker catches
				     up in several sends instead of falling behind */
	PACER_WAIT_MAX_US = 100000,
};

struct pacer {
	int64_t free_us; /* what has left has passed, at the rate it was sent with */
	uint8_t waiting; /* something had to wait, and is not sent yet: its owner's to say */
};

/* Bits a second for a stream of `measured_bps` (0 = not known) of which `waiting` bytes are due. */
uint64_t pacer_rate(uint64_t measured_bps, size_t waiting, bool starting);
/* Bytes of one send call at a rate. */
size_t pacer_span_bytes(uint64_t rate_bps);
/* When the next burst may leave; at or before now_us: at once. */
int64_t pacer_next_us(const struct pacer *pacer, int64_t now_us);
/* Charges what leaves now. */
void pacer_take(struct pacer *pacer, size_t bytes, uint64_t rate_bps, int64_t now_us);

#endif

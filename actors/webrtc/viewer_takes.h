/* SPDX-License-Identifier: Apache-2.0
 *
 * How much a viewer takes, as its feedback says of each second: by transport-wide feedback what its way
 * carries (narrow.h), without that by its REMB.
 *
 * Plain, pointer-free. Thread: one at a time. No allocation. now_us is monotonic.
 */
#ifndef MILLRACE_VIEWER_TAKES_H
#define MILLRACE_VIEWER_TAKES_H

#include "actors/webrtc/twcc.h"
#include "runtime/narrow.h"

enum {
	VIEWER_TAKES_LOOK_MIN_US = 500000,  /* between two looks; sooner, nothing changes */
	VIEWER_TAKES_LOOK_MAX_US = 5000000, /* longer ago: the next one is the first again */
	VIEWER_TAKES_PACKETS_MIN = 20,	    /* told of since the last look; fewer say nothing */
	VIEWER_TAKES_REMB_FRESH_US = 5000000,
};

struct viewer_takes {
	struct narrow narrow;
	int64_t looked_us; /* 0 = never */
	/* of the ledger, when it was looked at */
	uint64_t sent_bytes, acked_bytes, acked_packets, lost_packets;
};

/* Looks at what became of what was sent since the last call; returns the most it takes in bits a second,
 * 0 = all. Call it once a second. */
uint32_t viewer_takes_look(
	struct viewer_takes *v, const struct twcc_ledger *ledger, int64_t now_us);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * link_pace: how much of what need not leave now (what is cached of a stream, for a reader that begins)
 * a path may take beside what flows.
 *
 *   (asked) doubling --the delay or the loss grows--> steering --not asked for LINK_PACE_FORGET_US--> (asked)
 *
 * A window, in datagrams: so many may be under way, of all kinds, before more of it leaves. What has come
 * is what reports say, so the window's pace is the one that the path carries, and what flows comes first:
 * it does not ask. The window is steered by the queueing delay (RFC 6817 has the idea), so that little
 * queues before what flows.
 *
 * Plain; a successor begins it anew. Thread: one at a time. No allocation.
 */
#ifndef MILLRACE_LINK_PACE_H
#define MILLRACE_LINK_PACE_H

#include "actors/link/link_path.h"

enum {
	LINK_PACE_FIRST = 48, /* datagrams: what 10 Mbit/s carries in 46 ms */
	LINK_PACE_LEAST = 8,
	LINK_PACE_MOST = 8192,
	LINK_PACE_BURST_MAX = 256,     /* at once: what a socket takes */
	LINK_PACE_FORGET_US = 1000000, /* not asked for so long: what was learnt is old */
	LINK_PACE_QUEUE_US = 20000,    /* of queueing delay, steered for … */
	LINK_PACE_SIGN_US = 10000,     /* … and at which doubling ends */
	LINK_PACE_LOSS_PACKETS = 32,   /* among which loss is looked for */
};

struct link_pace {
	bool doubling;
	bool used;	  /* the window was asked for more than it had since the last report */
	int64_t asked_us; /* 0 = never */
	int64_t window_m; /* thousandths of a datagram */
	uint64_t acked;	  /* as the report before said */
	uint32_t received, expected; /* when loss was looked for last */
};

/* How many datagrams may leave now. */
uint32_t link_pace_room(struct link_pace *pace, const struct link_path *path, int64_t now_us);
/* The path has taken a report. */
void link_pace_take_report(struct link_pace *pace, const struct link_path *path, int64_t now_us);

#endif

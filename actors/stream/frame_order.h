/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts the packets of one track back into track_seq order: a window of references to packets (a log
 * position, a slot index: whatever number the caller knows a packet by). A missing packet is waited
 * for, since a retransmission may bring it; when the time is over the gap is reported, and the
 * caller goes on at the next keyframe.
 *
 * Thread: any, one at a time an object. No allocation. Plain and pointer-free. References are not
 * owned: what the window still held when it is thrown away is the caller's business.
 */
#ifndef MILLRACE_STREAM_FRAME_ORDER_H
#define MILLRACE_STREAM_FRAME_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/err.h"

enum {
	/* Packets in the window: 200 ms of 25 Mbit/s in packets of 1,200 bytes. A power of two. */
	FRAME_ORDER_WINDOW = 512,
	FRAME_ORDER_WAIT_US_MAX = 10 * 1000 * 1000,
};

struct frame_order_slot {
	uint64_t track_seq; /* 0 = empty */
	uint64_t ref;
	int64_t arrived_us;
};

struct frame_order {
	uint64_t next_seq;   /* to come out next; 0 = nothing came in yet */
	uint64_t pressed_by; /* a packet that found no room; 0 = none. See frame_order_push() */
	int64_t wait_us;
	uint32_t count; /* packets in the window */
	uint32_t reserved;
	uint64_t packets_lost;	/* given up */
	uint64_t packets_stale; /* refused: duplicate, or given up before it came */
	uint64_t gaps;
	struct frame_order_slot slots[FRAME_ORDER_WINDOW];
};

enum frame_order_event {
	FRAME_ORDER_NONE,   /* nothing to do before `deadline_us` */
	FRAME_ORDER_PACKET, /* `ref` is next */
	FRAME_ORDER_GAP,    /* `lost` packets before the next one are given up */
};

struct frame_order_out {
	uint64_t ref;
	uint64_t track_seq; /* of the packet, or the first that is not lost */
	uint64_t lost;
	int64_t deadline_us; /* NONE: when to ask again even if nothing comes in; INT64_MAX = never */
};

/* `wait_us`: how long a packet may wait for one before it, 0 .. FRAME_ORDER_WAIT_US_MAX. */
void frame_order_init(struct frame_order *o, int64_t wait_us);
bool frame_order_is_valid(const struct frame_order *o);

/* Takes a packet. `track_seq` is 1 .. INT64_MAX. ERR_REPLAY: it is there, or its turn is over; drop
 * it. ERR_AGAIN: it is too far ahead for the window; call frame_order_pop() until FRAME_ORDER_NONE
 * (which now gives up what is in the way without waiting), then push it again: that succeeds. */
enum err frame_order_push(struct frame_order *o, uint64_t track_seq, uint64_t ref, int64_t now_us);

/* Takes out what is due; call until FRAME_ORDER_NONE. */
enum frame_order_event frame_order_pop(
	struct frame_order *o, int64_t now_us, struct frame_order_out *out);

#endif

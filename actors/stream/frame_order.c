/* SPDX-License-Identifier: Apache-2.0
 *
 * Reorder window: see frame_order.h. A packet lies in slot track_seq % window, and all packets of
 * the window are within [next_seq, next_seq + window), so no two ever want the same slot.
 */
#include "actors/stream/frame_order.h"

#include <stddef.h>

_Static_assert((FRAME_ORDER_WINDOW & (FRAME_ORDER_WINDOW - 1)) == 0, "slots are found by masking");

void frame_order_init(struct frame_order *o, int64_t wait_us)
{
	MUST(wait_us >= 0 && wait_us <= FRAME_ORDER_WAIT_US_MAX);
	*o = (struct frame_order){.wait_us = wait_us};
}

static struct frame_order_slot *slot_of(struct frame_order *o, uint64_t track_seq)
{
	return &o->slots[track_seq & (FRAME_ORDER_WINDOW - 1)];
}

bool frame_order_is_valid(const struct frame_order *o)
{
	uint32_t count = 0;

	if (o->wait_us < 0 || o->wait_us > FRAME_ORDER_WAIT_US_MAX || o->next_seq > INT64_MAX ||
		o->pressed_by > INT64_MAX)
		return false;
	for (uint64_t i = 0; i < FRAME_ORDER_WINDOW; i++) {
		uint64_t seq = o->slots[i].track_seq;
		if (!seq)
			continue;
		if (o->slots[i].arrived_us < 0 || o->slots[i].arrived_us > INT64_MAX / 2 ||
			seq < o->next_seq || seq - o->next_seq >= FRAME_ORDER_WINDOW ||
			!o->next_seq || (seq & (FRAME_ORDER_WINDOW - 1)) != i)
			return false;
		count++;
	}
	return count == o->count;
}

enum err frame_order_push(struct frame_order *o, uint64_t track_seq, uint64_t ref, int64_t now_us)
{
	MUST(track_seq > 0 && track_seq <= INT64_MAX && now_us >= 0);
	if (!o->next_seq)
		o->next_seq = track_seq;
	if (track_seq < o->next_seq || slot_of(o, track_seq)->track_seq == track_seq) {
		o->packets_stale++;
		return ERR_REPLAY;
	}
	if (track_seq - o->next_seq >= FRAME_ORDER_WINDOW) {
		o->pressed_by = track_seq;
		return ERR_AGAIN;
	}
	*slot_of(o, track_seq) =
		(struct frame_order_slot){.track_seq = track_seq, .ref = ref, .arrived_us = now_us};
	o->count++;
	return ERR_OK;
}

/* First packet in the window; NULL when it is empty. */
static const struct frame_order_slot *first_slot(struct frame_order *o)
{
	for (uint64_t i = 0; o->count && i < FRAME_ORDER_WINDOW; i++) {
		const struct frame_order_slot *slot = slot_of(o, o->next_seq + i);
		if (slot->track_seq)
			return slot;
	}
	return NULL;
}

static enum frame_order_event give_up(
	struct frame_order *o, uint64_t next_seq, struct frame_order_out *out)
{
	out->lost = next_seq - o->next_seq;
	out->track_seq = next_seq;
	o->packets_lost += out->lost;
	o->gaps++;
	o->next_seq = next_seq;
	return FRAME_ORDER_GAP;
}

enum frame_order_event frame_order_pop(
	struct frame_order *o, int64_t now_us, struct frame_order_out *out)
{
	struct frame_order_slot *slot = slot_of(o, o->next_seq);

	*out = (struct frame_order_out){.deadline_us = INT64_MAX};
	if (o->next_seq && slot->track_seq == o->next_seq) {
		out->ref = slot->ref;
		out->track_seq = slot->track_seq;
		*slot = (struct frame_order_slot){0};
		MUST(o->count > 0);
		o->count--;
		o->next_seq++;
		return FRAME_ORDER_PACKET;
	}
	const struct frame_order_slot *first = first_slot(o);
	if (o->pressed_by) {
		if (o->pressed_by - o->next_seq >= FRAME_ORDER_WINDOW) {
			/* no more than makes room; what is before `first` is missing anyway */
			uint64_t floor = o->pressed_by - FRAME_ORDER_WINDOW + 1;
			if (first && first->track_seq < floor)
				floor = first->track_seq;
			return give_up(o, floor, out);
		}
		o->pressed_by = 0;
	}
	if (!first)
		return FRAME_ORDER_NONE;
	if (now_us - first->arrived_us >= o->wait_us)
		return give_up(o, first->track_seq, out);
	out->deadline_us = first->arrived_us + o->wait_us;
	return FRAME_ORDER_NONE;
}

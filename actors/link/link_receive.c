/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_receive.h"

#include "schemas/replay.h"

#include <string.h>

enum { RANGE_MAX = UINT16_MAX };

void link_receive_init(struct link_receive *r, int64_t age_max_us)
{
	*r = (struct link_receive){.age_max_us = age_max_us};
}

static void start(struct link_receive *r, uint32_t seq)
{
	memset(r->seen, 0, sizeof(r->seen));
	r->started = true;
	r->missing_count = 0;
	r->highest = (UINT64_C(1) << 32) + seq - 1;
}

/* Those from r->highest + 1 to `last` have not come. */
static void miss(struct link_receive *r, uint64_t last, int64_t now_us)
{
	uint64_t count = last - r->highest;

	if (count > LINK_MISSING_MAX) {
		/* nobody waits for so many: a sender that was away, or began anew */
		r->given_up += r->missing_count + count;
		r->jumps++;
		r->missing_count = 0;
		return;
	}
	if (r->missing_count + count > LINK_MISSING_MAX) {
		uint32_t gone = (uint32_t)(r->missing_count + count - LINK_MISSING_MAX);

		memmove(r->missing, r->missing + gone,
			(r->missing_count - gone) * sizeof(r->missing[0]));
		r->missing_count -= gone;
		r->given_up += gone;
	}
	for (uint64_t seq = r->highest + 1; seq <= last; seq++)
		r->missing[r->missing_count++] =
			(struct link_missing){.seq = seq, .since_us = now_us};
}

static void raise_to(struct link_receive *r, uint64_t highest)
{
	replay_clear(r->seen, LINK_RECEIVE_WINDOW, r->highest, highest);
	r->highest = highest;
}

static void found(struct link_receive *r, uint64_t seq)
{
	uint32_t low = 0, high = r->missing_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (r->missing[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == r->missing_count || r->missing[low].seq != seq)
		return;
	r->recovered += r->missing[low].asked_us != 0;
	r->missing_count--;
	memmove(r->missing + low, r->missing + low + 1,
		(r->missing_count - low) * sizeof(r->missing[0]));
}

enum err link_receive_take(struct link_receive *r, uint32_t seq, int64_t now_us)
{
	if (!r->started)
		start(r, seq);
	uint64_t here = link_unwrap32(r->highest, seq);

	if (here > r->highest) {
		if (here > r->highest + 1)
			miss(r, here - 1, now_us);
		raise_to(r, here);
	} else if (r->highest - here >= LINK_RECEIVE_WINDOW) {
		r->too_old++;
		return ERR_REPLAY;
	} else if (replay_seen(r->seen, LINK_RECEIVE_WINDOW, here)) {
		r->duplicates++;
		return ERR_REPLAY;
	} else {
		found(r, here);
	}
	replay_mark(r->seen, LINK_RECEIVE_WINDOW, here);
	r->packets++;
	return ERR_OK;
}

void link_receive_take_next(struct link_receive *r, uint32_t next_seq, int64_t now_us)
{
	if (!r->started) {
		start(r, next_seq);
		return;
	}
	uint64_t last = link_unwrap32(r->highest, next_seq) - 1;

	if (last <= r->highest)
		return;
	miss(r, last, now_us);
	raise_to(r, last);
}

bool link_receive_has(const struct link_receive *r, uint32_t seq)
{
	uint64_t here = link_unwrap32(r->highest, seq);

	return r->started && here <= r->highest && r->highest - here < LINK_RECEIVE_WINDOW &&
	       replay_seen(r->seen, LINK_RECEIVE_WINDOW, here);
}

/* ---- asking ---- */

static int64_t due_us(const struct link_missing *m, int64_t rtt_us)
{
	int64_t reorder_us = rtt_us / 8 > LINK_REORDER_MIN_US ? rtt_us / 8 : LINK_REORDER_MIN_US;

	if (!m->asked_us)
		return m->since_us + reorder_us;
	int64_t again_us = rtt_us + reorder_us;

	return m->asked_us + (again_us > LINK_ASK_MIN_US ? again_us : LINK_ASK_MIN_US);
}

static void give_up_old(struct link_receive *r, int64_t now_us)
{
	uint32_t old = 0;

	while (old < r->missing_count && now_us - r->missing[old].since_us > r->age_max_us)
		old++;
	if (!old)
		return;
	r->given_up += old;
	r->missing_count -= old;
	memmove(r->missing, r->missing + old, r->missing_count * sizeof(r->missing[0]));
}

size_t link_receive_ask(struct link_receive *r, int64_t rtt_us, int64_t now_us,
	struct link_nack_range *ranges, size_t max)
{
	size_t count = 0;
	uint64_t end = 0; /* of the last range */

	give_up_old(r, now_us);
	for (uint32_t i = 0; i < r->missing_count; i++) {
		struct link_missing *m = &r->missing[i];

		if (now_us < due_us(m, rtt_us))
			continue;
		bool continues = count && m->seq == end && ranges[count - 1].count < RANGE_MAX;
		if (!continues) {
			if (count == max)
				break;
			ranges[count++] = (struct link_nack_range){.first = (uint32_t)m->seq};
		}
		ranges[count - 1].count++;
		end = m->seq + 1;
		m->asked_us = now_us ? now_us : 1;
		r->asked++;
	}
	return count;
}

int64_t link_receive_deadline_us(const struct link_receive *r, int64_t rtt_us)
{
	int64_t at_us = INT64_MAX;

	for (uint32_t i = 0; i < r->missing_count; i++) {
		int64_t due = due_us(&r->missing[i], rtt_us);

		at_us = due < at_us ? due : at_us;
	}
	return at_us;
}

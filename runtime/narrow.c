/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/narrow.h"

static void lower(struct narrow *n, uint64_t came_bps, int64_t now_us)
{
	uint64_t bps = came_bps * NARROW_KEEP_PERMILLE / 1000;

	if (n->lowered_us && now_us - n->lowered_us < NARROW_HOLD_US)
		return;
	n->takes_bps = bps < NARROW_LEAST_BPS ? NARROW_LEAST_BPS
		       : bps > UINT32_MAX     ? UINT32_MAX
					      : (uint32_t)bps;
	n->lowered_us = now_us;
}

/* Who is sent less than he takes, since an encoder makes no more of it, is not to get all at once for that. */
static void raise(struct narrow *n, const struct narrow_look *look, int64_t now_us)
{
	uint64_t most = NARROW_FREE_TIMES * look->sent_bps;
	uint64_t bps = n->takes_bps + (uint64_t)n->takes_bps * NARROW_GROW_PERMILLE *
					      (uint64_t)look->span_us / 1000 / 1000000;

	if (bps <= most && bps <= UINT32_MAX)
		n->takes_bps = (uint32_t)bps;
	else if (now_us - n->lowered_us >= NARROW_FREE_US)
		n->takes_bps = 0;
}

uint32_t narrow_judge(struct narrow *n, const struct narrow_look *look, int64_t now_us)
{
	if (look->loss_ppm > NARROW_LOSS_BAD_PPM || look->queue_us > NARROW_QUEUE_BAD_US) {
		if (++n->bad >= NARROW_LOOKS)
			lower(n, look->came_bps, now_us);
		return n->takes_bps;
	}
	n->bad = 0;
	if (n->takes_bps && look->loss_ppm <= NARROW_LOSS_CLEAR_PPM &&
		look->queue_us <= NARROW_QUEUE_CLEAR_US)
		raise(n, look, now_us);
	return n->takes_bps;
}

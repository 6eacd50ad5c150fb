/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/viewer_takes.h"

static uint64_t rate_bps(uint64_t bytes, int64_t span_us)
{
	return bytes * 8 * 1000000 / (uint64_t)span_us;
}

/* (A ledger of another session, or of one that was mended, may count less.) */
static bool goes_on(const struct viewer_takes *v, const struct twcc_ledger *l, int64_t now_us)
{
	return v->looked_us && now_us - v->looked_us <= VIEWER_TAKES_LOOK_MAX_US &&
	       l->sent_bytes >= v->sent_bytes && l->acked_bytes >= v->acked_bytes &&
	       l->acked_packets >= v->acked_packets;
}

static void judge(struct viewer_takes *v, const struct twcc_ledger *l, int64_t now_us)
{
	int64_t span_us = now_us - v->looked_us;
	uint64_t came = l->acked_packets - v->acked_packets;
	/* what was called lost and came all the same is taken back */
	uint64_t lost = l->lost_packets > v->lost_packets ? l->lost_packets - v->lost_packets : 0;

	if (came + lost < VIEWER_TAKES_PACKETS_MIN)
		return;
	narrow_judge(&v->narrow,
		&(struct narrow_look){
			.span_us = span_us,
			.sent_bps = rate_bps(l->sent_bytes - v->sent_bytes, span_us),
			.came_bps = rate_bps(l->acked_bytes - v->acked_bytes, span_us),
			.loss_ppm = (uint32_t)(lost * 1000000 / (came + lost)),
			.queue_us = l->queue_us,
		},
		now_us);
}

/* The viewer estimates by itself; it says at most half as much again as comes when all is well. */
static uint32_t by_remb(const struct viewer_takes *v, const struct twcc_ledger *l, int64_t now_us)
{
	uint64_t sent_bps = rate_bps(l->sent_bytes - v->sent_bytes, now_us - v->looked_us);

	if (!l->remb_bps || now_us - l->remb_us > VIEWER_TAKES_REMB_FRESH_US ||
		l->remb_bps >= sent_bps || l->remb_bps > UINT32_MAX)
		return 0;
	return l->remb_bps < NARROW_LEAST_BPS ? NARROW_LEAST_BPS : (uint32_t)l->remb_bps;
}

uint32_t viewer_takes_look(struct viewer_takes *v, const struct twcc_ledger *ledger, int64_t now_us)
{
	if (v->looked_us && now_us - v->looked_us < VIEWER_TAKES_LOOK_MIN_US)
		return v->narrow.takes_bps;
	if (goes_on(v, ledger, now_us) && ledger->has_feedback)
		judge(v, ledger, now_us);
	else if (goes_on(v, ledger, now_us))
		v->narrow.takes_bps = by_remb(v, ledger, now_us);
	v->looked_us = now_us;
	v->sent_bytes = ledger->sent_bytes;
	v->acked_bytes = ledger->acked_bytes;
	v->acked_packets = ledger->acked_packets;
	v->lost_packets = ledger->lost_packets;
	return v->narrow.takes_bps;
}

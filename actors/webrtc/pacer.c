/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/pacer.h"

enum { BITS_US = 8 * 1000000 }; /* bytes a microsecond to bits a second */

uint64_t pacer_rate(uint64_t measured_bps, size_t waiting, bool starting)
{
	uint64_t rate = measured_bps * (starting ? PACER_START_MULTIPLE : PACER_MULTIPLE);
	uint64_t drain = (uint64_t)waiting * BITS_US / PACER_DRAIN_US;
	uint64_t most = measured_bps * 2;

	if (rate < drain)
		rate = drain;
	if (most < PACER_RATE_MAX_BPS)
		most = PACER_RATE_MAX_BPS;
	if (rate > most)
		rate = most;
	return rate < PACER_RATE_MIN_BPS ? PACER_RATE_MIN_BPS : rate;
}

size_t pacer_span_bytes(uint64_t rate_bps)
{
	return (size_t)(rate_bps * PACER_SPAN_US / BITS_US);
}

int64_t pacer_next_us(const struct pacer *pacer, int64_t now_us)
{
	return pacer->free_us > now_us + PACER_WAIT_MAX_US ? now_us : pacer->free_us;
}

void pacer_take(struct pacer *pacer, size_t bytes, uint64_t rate_bps, int64_t now_us)
{
	int64_t from_us = pacer_next_us(pacer, now_us);

	/* what was not used in time is gone: bursts do not pile up */
	int64_t least_us = now_us - (pacer->waiting ? PACER_OVERDUE_US : PACER_LATE_US);

	if (from_us < least_us)
		from_us = least_us;
	pacer->free_us = from_us + (int64_t)((uint64_t)bytes * BITS_US / rate_bps);
}

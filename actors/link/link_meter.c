/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_meter.h"

#include "schemas/replay.h"

static void end_slot(struct link_meter *m, int64_t now_us)
{
	int64_t took_us = now_us - m->slot_us;
	uint64_t rate_bps = m->slot_bytes * 8 * 1000000 / (uint64_t)took_us;

	/* after a silence the old rate means nothing */
	m->rate_bps = m->rate_bps && took_us < 4 * LINK_METER_SLOT_US
			      ? (3 * m->rate_bps + rate_bps) / 4
			      : rate_bps;
	if (m->slot_delays) {
		int64_t mean_us = m->slot_delay_us / m->slot_delays;

		if (m->has_mean && took_us < 4 * LINK_METER_SLOT_US)
			m->gradient_us += ((mean_us - m->mean_delay_us) * 1000000 / took_us -
						  m->gradient_us) /
					  4;
		m->mean_delay_us = mean_us;
		m->has_mean = true;
	}
	m->slot_us = now_us;
	m->slot_bytes = 0;
	m->slot_delay_us = 0;
	m->slot_delays = 0;
}

void link_meter_take(struct link_meter *m, uint16_t path_seq, size_t size, int64_t now_us)
{
	if (!m->started) {
		m->started = true;
		m->first = m->highest = (UINT64_C(1) << 32) + path_seq;
		m->slot_us = now_us;
	}
	uint64_t here = link_unwrap16(m->highest, path_seq);

	if (replay_admits(m->seen, LINK_METER_RECENT, m->highest, here))
		replay_accept(m->seen, LINK_METER_RECENT, &m->highest, here);
	if (here >= m->first)
		m->received++;
	if (now_us - m->slot_us >= LINK_METER_SLOT_US)
		end_slot(m, now_us);
	m->slot_bytes += size;
	m->last_us = now_us;
}

static void take_base(struct link_meter *m, int64_t now_us)
{
	if (now_us - m->base_since_us >= LINK_METER_BASE_US) {
		m->base_us[1] = m->base_us[0];
		m->base_us[0] = m->delay_us;
		m->base_since_us = now_us;
	}
	if (m->delay_us < m->base_us[0])
		m->base_us[0] = m->delay_us;
}

void link_meter_take_time(struct link_meter *m, uint32_t sent_us, int64_t now_us)
{
	if (!m->has_delay) {
		m->has_delay = true;
		m->sent_us = (UINT64_C(1) << 32) + sent_us;
		m->delay_us = m->base_us[0] = m->base_us[1] = now_us - (int64_t)m->sent_us;
		m->base_since_us = now_us;
	}
	uint64_t sent = link_unwrap32(m->sent_us, sent_us);
	int64_t before_us = m->delay_us;

	m->delay_us = now_us - (int64_t)sent;
	m->sent_us = sent > m->sent_us ? sent : m->sent_us;
	int64_t change_us = m->delay_us - before_us;

	m->jitter_us += ((change_us < 0 ? -change_us : change_us) - m->jitter_us) / 16;
	take_base(m, now_us);
	int64_t base_us = m->base_us[0] < m->base_us[1] ? m->base_us[0] : m->base_us[1];

	m->queue_us += (m->delay_us - base_us - m->queue_us) / 8;
	m->slot_delay_us += m->delay_us - base_us;
	m->slot_delays++;
}

/* Longest run of those that have not come, among the recent ones; the newest has come. */
static uint16_t longest_gap(const struct link_meter *m)
{
	uint64_t from = m->highest + 1 > LINK_METER_RECENT ? m->highest + 1 - LINK_METER_RECENT : 0;
	uint16_t run = 0, longest = 0;

	for (uint64_t i = from < m->first ? m->first : from; i <= m->highest; i++) {
		run = replay_seen(m->seen, LINK_METER_RECENT, i) ? 0 : (uint16_t)(run + 1);
		longest = run > longest ? run : longest;
	}
	return longest;
}

static uint32_t clamp(int64_t value)
{
	return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

bool link_meter_fill(const struct link_meter *m, int64_t now_us, struct link_path_report *report)
{
	int64_t age_us = now_us - m->last_us;

	if (!m->started)
		return false;
	*report = (struct link_path_report){
		.highest = (uint16_t)m->highest,
		.received = (uint32_t)m->received,
		.expected = (uint32_t)(m->highest - m->first + 1),
		.burst = longest_gap(m),
		.jitter_us = clamp(m->jitter_us),
		.queue_us = clamp(m->queue_us),
		.gradient_us = m->gradient_us < INT32_MIN   ? INT32_MIN
			       : m->gradient_us > INT32_MAX ? INT32_MAX
							    : (int32_t)m->gradient_us,
		.rate_bps = age_us < 4 * LINK_METER_SLOT_US ? clamp((int64_t)m->rate_bps) : 0,
		.age_us = clamp(age_us),
	};
	return true;
}

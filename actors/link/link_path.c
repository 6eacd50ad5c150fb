/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_path.h"

#include <string.h>

enum {
	RATE_HOLD_US = 200000,	   /* after it was lowered */
	RATE_GROWTH_PERMILLE = 80, /* a second */
	WEIGHT_DOUBTFUL_US = 1000000,
	WEIGHT_RELAYED_US = 10000, /* it takes of what a third node can send */
	RECOVERY_EXTRA_US = 10000, /* of a retransmission, beyond the round trip (decision 22) */
};

void link_path_init(struct link_path *p, uint8_t route, int64_t now_us)
{
	*p = (struct link_path){
		.used = true,
		.route = route,
		.state = LINK_PATH_DOUBTFUL, /* there is nothing better to begin with */
		.next_seq = UINT64_C(1) << 32,
		.probe_at_us = now_us,
		.rtt_us = -1,
		.rtt_min_us = -1,
		.heard_us = now_us,
		.state_since_us = now_us,
		.sign_us = now_us - LINK_GOOD_US,
		.rate_bps = LINK_RATE_FIRST_BPS,
	};
	p->acked = p->next_seq - 1;
}

const char *link_path_state_name(enum link_path_state state)
{
	static const char *const names[] = {"dead", "doubtful", "good"};

	return (unsigned)state <= LINK_PATH_GOOD ? names[state] : "dead";
}

static void become(struct link_path *p, enum link_path_state state, int64_t now_us)
{
	if (p->state == state)
		return;
	p->doubts += state == LINK_PATH_DOUBTFUL;
	p->state = state;
	p->state_since_us = now_us;
	if (state == LINK_PATH_DOUBTFUL)
		p->probe_at_us = now_us;
}

static void note_sign(struct link_path *p, int64_t now_us)
{
	p->sign_us = now_us;
	p->echoes = 0;
	if (p->state == LINK_PATH_GOOD)
		become(p, LINK_PATH_DOUBTFUL, now_us);
}

static void mark(struct link_path *p, uint64_t seq, int64_t now_us)
{
	if (p->mark_count &&
		now_us - p->marks[(p->mark_count - 1) % LINK_MARKS].at_us < LINK_MARK_US)
		return;
	p->marks[p->mark_count++ % LINK_MARKS] = (struct link_mark){seq, now_us};
}

uint16_t link_path_send(struct link_path *p, size_t size, int64_t now_us)
{
	uint64_t seq = p->next_seq++;

	mark(p, seq, now_us);
	p->last_sent_us = now_us;
	p->bytes += size;
	p->datagrams++;
	if (p->busy_until_us < now_us)
		p->busy_until_us = now_us;
	/* half as fast again as it seems to carry: an estimate from below must not hold it back */
	p->busy_until_us += (int64_t)(size * 8 * 1000000 * 2 / (p->rate_bps * 3));
	if (p->busy_until_us > now_us + 10 * LINK_PACED_US)
		p->busy_until_us = now_us + 10 * LINK_PACED_US;
	return (uint16_t)seq;
}

bool link_path_has_room(const struct link_path *p, int64_t now_us)
{
	return p->busy_until_us <= now_us + LINK_PACED_US;
}

bool link_path_has_spare(const struct link_path *p, int64_t now_us)
{
	return link_path_has_room(p, now_us) &&
	       p->queue_us <= LINK_QUEUE_HIGH_US + 2 * p->jitter_us;
}

int64_t link_path_spare_at_us(const struct link_path *p, int64_t now_us)
{
	int64_t at_us = p->busy_until_us - LINK_PACED_US, next_us = now_us + LINK_SPARE_AGAIN_US;

	return at_us > next_us ? at_us : next_us;
}

int64_t link_path_rtt_us(const struct link_path *p)
{
	return p->rtt_us < 0 ? LINK_RTT_FIRST_US : p->rtt_us;
}

bool link_path_is_in_trouble(const struct link_path *p)
{
	return p->state == LINK_PATH_DEAD ||
	       (p->state == LINK_PATH_DOUBTFUL && p->echoes < LINK_GOOD_ECHOES);
}

/* ---- probes ---- */

bool link_path_probe_is_due(const struct link_path *p, int64_t now_us)
{
	return p->used && now_us >= p->probe_at_us;
}

void link_path_probe(
	struct link_path *p, int64_t now_us, int64_t rest_at_us, struct link_probe *probe)
{
	if (!p->probe_waits) {
		p->probe_waits = true;
		p->probe_sent_us = now_us;
	}
	probe->number = ++p->probe_number;
	probe->sent_us = (uint64_t)now_us;
	p->rests = rest_at_us && p->state == LINK_PATH_GOOD;
	p->probe_at_us = p->rests ? rest_at_us
				  : now_us + (p->state == LINK_PATH_DOUBTFUL ? LINK_PROBE_FAST_US
									     : LINK_PROBE_US);
}

void link_path_wake(struct link_path *p, int64_t now_us)
{
	if (p->rests && p->probe_at_us > now_us)
		p->probe_at_us = now_us;
}

/* What a cut has swallowed says nothing of what the path loses when it carries something. */
static void forget_loss(struct link_path *p)
{
	p->has_report = false; /* the next one is counted from */
	p->loss_ppm = p->recent_loss_ppm = 0;
	p->recent_received = p->recent_expected = 0;
}

void link_path_take_echo(struct link_path *p, const struct link_probe *echo, int64_t now_us)
{
	int64_t held_us = echo->next_seq;
	int64_t rtt_us = now_us - (int64_t)echo->sent_us - held_us;

	/* the peer can say what it likes: a time that cannot be is none */
	if (rtt_us < 0 || rtt_us > 10 * LINK_DEAD_US)
		return;
	if (p->rtt_us < 0) {
		p->rtt_us = rtt_us;
		p->rtt_var_us = rtt_us / 2;
	} else {
		int64_t off_us = rtt_us - p->rtt_us;

		p->rtt_var_us += ((off_us < 0 ? -off_us : off_us) - p->rtt_var_us) / 4;
		/* what is told seldom is not to become known ten times as slowly */
		p->rtt_us += off_us / (p->rests ? 2 : 8);
	}
	if (p->rtt_min_us < 0 || rtt_us < p->rtt_min_us)
		p->rtt_min_us = rtt_us;
	p->heard_us = now_us;
	p->probe_waits = false;
	p->probe_missing = 0;
	p->echoes++;
	if (p->state == LINK_PATH_DEAD && p->echoes >= LINK_GOOD_ECHOES) {
		become(p, LINK_PATH_GOOD, now_us);
		forget_loss(p);
	}
}

/* ---- reports ---- */

static void take_loss(struct link_path *p, const struct link_path_report *r, int64_t now_us)
{
	uint32_t received = r->received - p->received, expected = r->expected - p->expected;

	p->received = r->received;
	p->expected = r->expected;
	/* what came out of order was counted lost before */
	if (expected > INT32_MAX || received > INT32_MAX)
		return;
	p->recent_received += received;
	p->recent_expected += expected;
	if (p->recent_expected < LINK_LOSS_PACKETS_FEW)
		return;
	uint32_t lost = p->recent_received < p->recent_expected
				? p->recent_expected - p->recent_received
				: 0;
	uint32_t loss_ppm = (uint32_t)((uint64_t)lost * 1000000 / p->recent_expected);

	if (p->recent_expected < LINK_LOSS_PACKETS && loss_ppm <= LINK_LOSS_AWFUL_PPM)
		return;
	p->recent_loss_ppm = loss_ppm;
	p->loss_ppm = (uint32_t)((15 * (uint64_t)p->loss_ppm + loss_ppm) / 16);
	p->recent_received = p->recent_expected = 0;
	if (loss_ppm > LINK_LOSS_BAD_PPM)
		note_sign(p, now_us);
}

/* It had left when the next one that is marked did. */
static bool is_overdue(
	const struct link_path *p, uint64_t seq, int64_t travel_us, int64_t late_us, int64_t now_us)
{
	uint32_t kept = p->mark_count < LINK_MARKS ? p->mark_count : LINK_MARKS;

	for (uint32_t i = p->mark_count - kept; i < p->mark_count; i++) {
		const struct link_mark *marked = &p->marks[i % LINK_MARKS];

		if (marked->seq >= seq)
			return now_us - marked->at_us >= travel_us + late_us;
	}
	return false;
}

/* Two datagrams beyond the highest that the peer knows of, that it should have known of for a while. */
static void look_for_overdue(struct link_path *p, uint64_t acked, const struct link_path *via,
	bool hurry, int64_t now_us)
{
	int64_t travel_us = (link_path_rtt_us(p) + link_path_rtt_us(via)) / 2 + 2 * p->jitter_us;

	if (!is_overdue(p, acked + 1, travel_us, LINK_OVERDUE_US, now_us) ||
		!is_overdue(p, acked + 2, travel_us, LINK_OVERDUE_NEXT_US, now_us)) {
		p->overdue = 0;
		return;
	}
	if (p->overdue < UINT8_MAX)
		p->overdue++;
	if (hurry || p->overdue > 1)
		note_sign(p, now_us);
}

/* Additive-multiplicative, as senders with transport-wide feedback do it: down to less than what came
 * when the delay grows or much is lost, up slowly while what is sent comes. */
static void take_rate(struct link_path *p, const struct link_path_report *r, int64_t now_us)
{
	int64_t took_us = now_us - p->rate_us;

	p->delivered_bps = r->rate_bps;
	p->full =
		r->queue_us > LINK_QUEUE_HIGH_US &&
		(r->gradient_us > LINK_GRADIENT_HIGH_US || p->recent_loss_ppm > LINK_LOSS_BAD_PPM);
	if (p->full) {
		/* what a path is hardly used for does not tell what it carries */
		if (took_us < RATE_HOLD_US || p->delivered_bps * 2 < p->rate_bps)
			return;
		p->rate_bps = p->delivered_bps * 85 / 100;
		p->met_limit = true;
		p->limit_us = now_us;
	} else {
		/* what is not asked of a path says nothing of what it can do */
		if (took_us > 1000000)
			took_us = 1000000;
		if (p->delivered_bps * 2 > p->rate_bps)
			p->rate_bps += p->rate_bps * RATE_GROWTH_PERMILLE / 1000 *
				       (uint64_t)took_us / 1000000;
		if (p->rate_bps < p->delivered_bps)
			p->rate_bps = p->delivered_bps;
	}
	p->rate_us = now_us;
	if (p->rate_bps < LINK_RATE_MIN_BPS)
		p->rate_bps = LINK_RATE_MIN_BPS;
	if (p->rate_bps > LINK_RATE_MAX_BPS)
		p->rate_bps = LINK_RATE_MAX_BPS;
}

uint64_t link_path_capacity_bps(const struct link_path *p, int64_t now_us)
{
	return p->met_limit && now_us - p->limit_us < LINK_LIMIT_KNOWN_US ? p->rate_bps : 0;
}

void link_path_take_report(struct link_path *p, const struct link_path_report *r,
	const struct link_path *via, bool hurry, int64_t now_us)
{
	uint64_t highest = link_unwrap16(p->next_seq, r->highest);

	if (highest >= p->next_seq || highest + UINT16_MAX / 2 < p->next_seq)
		return; /* of none that was sent */
	if (highest > p->acked || !p->has_report) {
		p->acked = highest;
		p->heard_us = now_us;
	}
	if (!p->has_report) {
		p->has_report = true;
		p->received = r->received;
		p->expected = r->expected;
	}
	p->jitter_us = r->jitter_us;
	p->queue_us = r->queue_us;
	p->gradient_us = r->gradient_us;
	p->burst = r->burst;
	take_loss(p, r, now_us);
	take_rate(p, r, now_us);
	look_for_overdue(p, p->acked, via, hurry, now_us);
}

/* ---- time ---- */

static int64_t echo_late_us(const struct link_path *p)
{
	return link_path_rtt_us(p) + 4 * p->rtt_var_us + LINK_ECHO_LATE_US;
}

/* On a link that rests a second goes by between two probes: that nothing was heard since says little. It is
 * dead when a few that were sent in doubt have had their time, too. */
static int64_t second_look_us(const struct link_path *p)
{
	return echo_late_us(p) + LINK_LOOK_PROBES * LINK_PROBE_FAST_US;
}

void link_path_look(struct link_path *p, int64_t now_us)
{
	if (!p->used)
		return;
	if (p->probe_waits && now_us - p->probe_sent_us > echo_late_us(p)) {
		p->probe_missing++;
		p->echoes = 0;
		p->probe_waits = false; /* the next one is waited for */
		if (p->probe_missing == 1 && p->state == LINK_PATH_GOOD)
			p->probe_at_us = now_us; /* ask again at once */
		if (p->probe_missing >= 2 && now_us - p->heard_us > LINK_HEARD_US)
			note_sign(p, now_us);
	}
	if (p->state == LINK_PATH_DOUBTFUL && now_us - p->heard_us > LINK_DEAD_US &&
		now_us - p->state_since_us > second_look_us(p))
		become(p, LINK_PATH_DEAD, now_us);
	if (p->state == LINK_PATH_DOUBTFUL && now_us - p->sign_us >= LINK_GOOD_US &&
		p->echoes >= LINK_GOOD_ECHOES)
		become(p, LINK_PATH_GOOD, now_us);
}

int64_t link_path_deadline_us(const struct link_path *p)
{
	int64_t at_us = p->probe_at_us;

	if (!p->used)
		return INT64_MAX;
	if (p->probe_waits && p->probe_sent_us + echo_late_us(p) + 1 < at_us)
		at_us = p->probe_sent_us + echo_late_us(p) + 1;
	return at_us;
}

int64_t link_path_weight_us(const struct link_path *p)
{
	int64_t rtt_us = link_path_rtt_us(p);

	if (!p->used || p->state == LINK_PATH_DEAD)
		return INT64_MAX;
	/* decision 22: half the round trip, and a thousand times the mean time that recovery takes */
	int64_t weight_us = rtt_us / 2 +
			    (int64_t)p->loss_ppm * (rtt_us + RECOVERY_EXTRA_US) / 1000 +
			    (int64_t)p->queue_us;

	return weight_us + (p->state == LINK_PATH_DOUBTFUL ? WEIGHT_DOUBTFUL_US : 0) +
	       (p->route == LINK_ROUTE_RELAYED ? WEIGHT_RELAYED_US : 0);
}

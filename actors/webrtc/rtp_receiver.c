/* SPDX-License-Identifier: Apache-2.0
 *
 * A publisher's track as we receive it. See the header for the parts and how they are called.
 */
#include "actors/webrtc/rtp_receiver.h"

enum { RTX_OSN_SIZE = 2 };

/* ---- statistics ---- */

static void stats_start(struct rtp_stats *s, uint16_t sequence)
{
	*s = (struct rtp_stats){
		.started = true,
		.base = RTP_EXTEND_SEQUENCE_START + sequence,
		.newest = RTP_EXTEND_SEQUENCE_START + sequence,
	};
}

/* RFC 3550 A.8, with the arrival in ticks of the stream's clock. */
static void stats_take_jitter(
	struct rtp_stats *s, uint32_t timestamp, uint32_t clock_rate, int64_t now_us)
{
	uint32_t transit = (uint32_t)rtp_ticks_from_us(now_us, clock_rate) - timestamp;
	int32_t change = (int32_t)(transit - s->transit);
	uint32_t size = change < 0 ? 0u - (uint32_t)change : (uint32_t)change;

	/* a jump of the sender's timeline is no jitter */
	if (s->has_transit && size < clock_rate * 10u)
		s->jitter_q4 += size - ((s->jitter_q4 + 8) >> 4);
	s->transit = transit;
	s->has_transit = true;
}

static void stats_take_report(struct rtp_stats *s, uint64_t ntp, int64_t now_us)
{
	s->lsr = rtcp_ntp_middle(ntp);
	s->lsr_us = now_us;
}

/* RFC 3550 A.3. Duplicates are not counted here, so loss is never negative by them. */
static void stats_fill(
	struct rtp_stats *s, uint32_t ssrc, int64_t now_us, struct rtcp_report_block *block)
{
	uint64_t expected = s->newest - s->base + 1;
	int64_t lost = (int64_t)(expected - s->received);
	int64_t expected_now = (int64_t)(expected - s->expected_prior);
	int64_t lost_now = expected_now - (int64_t)(s->received - s->received_prior);
	int64_t delay_us = now_us - s->lsr_us;

	if (lost > RTCP_LOST_MAX)
		lost = RTCP_LOST_MAX;
	if (lost < RTCP_LOST_MIN)
		lost = RTCP_LOST_MIN;
	*block = (struct rtcp_report_block){
		.ssrc = ssrc,
		.lost = (int32_t)lost,
		.newest = (uint32_t)(s->newest - RTP_EXTEND_SEQUENCE_START),
		.jitter = s->jitter_q4 >> 4,
	};
	if (expected_now > 0 && lost_now > 0)
		block->fraction_lost =
			(uint8_t)(lost_now >= expected_now
					  ? 255
					  : (uint64_t)lost_now * 256 / (uint64_t)expected_now);
	if (s->lsr && delay_us >= 0) {
		block->lsr = s->lsr;
		block->dlsr = (uint32_t)rtp_ticks_from_us(delay_us, 65536);
	}
	s->expected_prior = expected;
	s->received_prior = s->received;
}

/* ---- what was seen ---- */

static bool seen_get(const struct rtp_receiver *r, uint64_t sequence)
{
	return r->seen[sequence % RTP_RECEIVER_WINDOW / 64] >> (sequence % 64) & 1;
}

static void seen_put(struct rtp_receiver *r, uint64_t sequence, bool value)
{
	uint64_t bit = UINT64_C(1) << (sequence % 64);
	uint64_t *word = &r->seen[sequence % RTP_RECEIVER_WINDOW / 64];

	*word = value ? *word | bit : *word & ~bit;
}

/* ---- NACK ---- */

static int64_t nack_interval_us(const struct rtp_receiver *r)
{
	/* an eighth of air for jitter, so that an answer under way is not asked for again */
	int64_t interval = r->rtt_us + r->rtt_us / 8;

	if (interval < NACK_INTERVAL_MIN_US)
		return NACK_INTERVAL_MIN_US;
	return interval > NACK_INTERVAL_MAX_US ? NACK_INTERVAL_MAX_US : interval;
}

static void nack_clear(struct rtp_receiver *r)
{
	r->nack_count = 0;
	r->nack_deadline_us = RTP_NO_DEADLINE;
}

static void nack_give_up(struct rtp_receiver *r, uint64_t count)
{
	r->nacks_given_up += count;
	if (r->wants_keyframes)
		r->keyframe_wanted = true;
}

/* A gap [from, to) was seen. */
static void nack_add(struct rtp_receiver *r, uint64_t from, uint64_t to, int64_t now_us)
{
	if (!r->wants_nack || from == to)
		return;
	if (to - from > NACK_PENDING_MAX - r->nack_count) {
		/* beyond repair: ask for a picture that needs none of it */
		r->nack_overflows++;
		nack_give_up(r, r->nack_count + (to - from));
		nack_clear(r);
		return;
	}
	for (uint64_t sequence = from; sequence < to; sequence++)
		r->nacks[r->nack_count++] = (struct nack_entry){
			.sequence = sequence,
			.lost_us = now_us,
			.due_after_us = NACK_TOLERANCE_US,
		};
	if (now_us + NACK_TOLERANCE_US < r->nack_deadline_us)
		r->nack_deadline_us = now_us + NACK_TOLERANCE_US;
}

/* What is overtaken by enough packets is lost, not reordered: ask at once. */
static void nack_hasten(struct rtp_receiver *r, int64_t now_us)
{
	for (uint32_t i = r->nack_count; i-- > 0 && !r->nacks[i].tries;) {
		if (r->stats.newest - r->nacks[i].sequence < NACK_TOLERANCE_PACKETS)
			continue;
		if (!r->nacks[i].due_after_us)
			break;
		r->nacks[i].due_after_us = 0;
		r->nack_deadline_us = now_us;
	}
}

static void nack_remove(
	struct rtp_receiver *r, uint64_t sequence, bool retransmitted, int64_t now_us)
{
	uint32_t low = 0, high = r->nack_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (r->nacks[middle].sequence < sequence)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == r->nack_count || r->nacks[low].sequence != sequence)
		return;
	/* one request, one answer: a measured round trip (Karn: not when it was repeated) */
	if (retransmitted && r->nacks[low].tries == 1)
		rtp_receiver_take_rtt(
			r, now_us - r->nacks[low].lost_us - (int64_t)r->nacks[low].asked_after_us);
	r->nack_count--;
	memmove(&r->nacks[low], &r->nacks[low + 1], (r->nack_count - low) * sizeof(r->nacks[0]));
	if (!r->nack_count)
		r->nack_deadline_us = RTP_NO_DEADLINE;
}

size_t rtp_receiver_poll_nacks(
	struct rtp_receiver *r, int64_t now_us, uint16_t *sequences, size_t max)
{
	int64_t interval = nack_interval_us(r), deadline = RTP_NO_DEADLINE;
	uint32_t kept = 0;
	size_t count = 0;

	if (now_us < r->nack_deadline_us)
		return 0;
	for (uint32_t i = 0; i < r->nack_count; i++) {
		struct nack_entry *entry = &r->nacks[i];
		int64_t age = now_us - entry->lost_us;
		bool due = age >= (int64_t)entry->due_after_us;

		if (age < 0 || age > NACK_AGE_MAX_US || (due && entry->tries >= NACK_TRIES_MAX)) {
			nack_give_up(r, 1);
			continue;
		}
		if (due && count < max) {
			sequences[count++] = (uint16_t)entry->sequence;
			entry->tries++;
			entry->asked_after_us = (uint32_t)age & 0xFFFFFF;
			entry->due_after_us = (uint32_t)(age + interval);
		}
		if (entry->lost_us + (int64_t)entry->due_after_us < deadline)
			deadline = entry->lost_us + (int64_t)entry->due_after_us;
		r->nacks[kept++] = *entry;
	}
	r->nack_count = kept;
	r->nack_deadline_us = deadline;
	r->nacks_sent += count;
	return count;
}

int64_t rtp_receiver_deadline_us(const struct rtp_receiver *r)
{
	return r->nack_deadline_us;
}

bool rtp_receiver_take_keyframe_wish(struct rtp_receiver *r)
{
	bool wanted = r->keyframe_wanted;

	r->keyframe_wanted = false;
	return wanted;
}

void rtp_receiver_take_rtt(struct rtp_receiver *r, int64_t rtt_us)
{
	if (rtt_us < 0 || rtt_us > RTCP_RTT_MAX_US)
		return;
	r->rtt_us = r->rtt_known ? r->rtt_us + (rtt_us - r->rtt_us) / 8 : rtt_us;
	r->rtt_known = true;
}

/* ---- life ---- */

void rtp_receiver_init(struct rtp_receiver *r, const struct rtp_receiver_options *options)
{
	memset(r, 0, sizeof(*r));
	r->ssrc = options->ssrc;
	r->rtx_ssrc = options->rtx_ssrc;
	r->payload_type = options->payload_type;
	r->rtx_payload_type = options->rtx_payload_type;
	r->wants_nack = options->nack;
	r->wants_keyframes = options->video;
	r->rtt_us = NACK_RTT_DEFAULT_US;
	r->nack_deadline_us = RTP_NO_DEADLINE;
	rtp_track_clock_init(&r->clock, options->clock_rate);
}

/* Far from where sums of times would overflow. */
static bool time_is_sane(int64_t us)
{
	return us > -(INT64_C(1) << 60) && us < INT64_C(1) << 60;
}

bool rtp_receiver_is_valid(const struct rtp_receiver *r)
{
	if (!rtp_track_clock_is_valid(&r->clock) || r->nack_count > NACK_PENDING_MAX ||
		r->payload_type > 127 || r->rtx_payload_type > 127 || r->rtt_us < 0 ||
		r->rtt_us > RTCP_RTT_MAX_US || !time_is_sane(r->stats.lsr_us) ||
		!time_is_sane(r->rtx_stats.lsr_us) || r->stats.newest >> 62 ||
		r->rtx_stats.newest >> 62)
		return false;
	for (uint32_t i = 0; i < r->nack_count; i++)
		if (!time_is_sane(r->nacks[i].lost_us))
			return false;
	return true;
}

/* ---- packets ---- */

/* Moves the newest sequence forwards to `sequence`. Without `repair` the numbers between are gone
 * for good and show as a single missing one. */
static void advance(struct rtp_receiver *r, uint64_t sequence, bool repair, int64_t now_us)
{
	uint64_t newest = r->stats.newest;
	uint64_t clear_from =
		sequence - newest > RTP_RECEIVER_WINDOW ? sequence - RTP_RECEIVER_WINDOW : newest;

	for (uint64_t s = clear_from + 1; s <= sequence; s++)
		seen_put(r, s, false);
	if (repair) {
		nack_add(r, newest + 1, sequence, now_us);
	} else {
		r->track_base += sequence - newest - 2;
		nack_give_up(r, r->nack_count);
		nack_clear(r);
		if (r->wants_keyframes)
			r->keyframe_wanted = true;
	}
	r->stats.newest = sequence;
}

/* The sender numbers anew under the same SSRC: go on behind the newest, whatever it said. */
static uint64_t restart(struct rtp_receiver *r, uint16_t sequence)
{
	uint64_t newest = r->stats.newest;
	uint64_t unwrapped = newest + (uint16_t)(sequence - (uint16_t)newest);

	r->restarts++;
	r->old_seen = false;
	memset(r->seen, 0, sizeof(r->seen));
	nack_clear(r);
	/* the numbers that were skipped are not lost */
	r->stats.base += unwrapped - newest - 1;
	r->track_base += unwrapped - newest - 1;
	r->stats.newest = unwrapped;
	r->stats.has_transit = false;
	r->track_base += r->pads_seen;
	r->pads_seen = 0;
	return unwrapped;
}

/* Unwraps and files one sequence number. */
static enum err place(struct rtp_receiver *r, uint16_t sequence, bool retransmitted, int64_t now_us,
	uint64_t *unwrapped, struct rtp_receipt *receipt)
{
	uint64_t newest = r->stats.newest;
	uint64_t here = rtp_extend_sequence(newest, sequence);
	int64_t ahead = (int64_t)(here - newest);

	if (ahead <= -RTP_RECEIVER_WINDOW) {
		/* RFC 3550 A.1: two in sequence prove that it is no straggler */
		bool proven = !retransmitted && r->old_seen && sequence == r->old_next;
		r->old_seen = !retransmitted;
		r->old_next = (uint16_t)(sequence + 1);
		if (!proven) {
			r->too_old++;
			return ERR_REPLAY;
		}
		here = restart(r, sequence);
		receipt->discontinuity = true;
	} else if (ahead > 0) {
		bool repair = ahead <= RTP_RECEIVER_DROPOUT;
		r->jumps += !repair;
		advance(r, here, repair, now_us);
	} else if (seen_get(r, here)) {
		r->duplicates++;
		return ERR_REPLAY;
	} else {
		receipt->late = true;
	}
	seen_put(r, here, true);
	*unwrapped = here;
	return ERR_OK;
}

/* Number in the track: padding before it does not count. 0 = can no longer be told. */
static uint64_t track_seq_of(const struct rtp_receiver *r, uint64_t sequence)
{
	uint64_t known = r->pads_seen < RTP_RECEIVER_PADS ? r->pads_seen : RTP_RECEIVER_PADS;
	uint64_t before = r->pads_seen;

	for (uint64_t i = 1; i <= known; i++) {
		if (r->pads[(r->pads_seen - i) % RTP_RECEIVER_PADS] < sequence)
			break;
		before--;
	}
	if (r->pads_seen > known && before == r->pads_seen - known)
		return 0;
	uint64_t number = sequence - r->track_base;
	return (int64_t)(number - before) > 0 ? number - before : 0;
}

static void start(struct rtp_receiver *r, const struct rtp_packet *packet)
{
	stats_start(&r->stats, packet->sequence);
	r->track_base = r->stats.newest - RTP_RECEIVER_TRACK_SEQ_FIRST;
	r->newest_rtp_time = RTP_EXTEND_TIMESTAMP_START + packet->timestamp;
	/* the first one is "late" for its own start otherwise */
	r->stats.newest--;
}

enum err rtp_receiver_take(struct rtp_receiver *r, struct rtp_timeline *timeline,
	const struct rtp_packet *packet, bool retransmitted, int64_t now_us,
	struct rtp_receipt *receipt)
{
	uint64_t sequence;

	*receipt = (struct rtp_receipt){0};
	if (!r->stats.started)
		start(r, packet);
	enum err err = place(r, packet->sequence, retransmitted, now_us, &sequence, receipt);
	if (err)
		return err;
	if (receipt->late)
		nack_remove(r, sequence, retransmitted, now_us);
	else
		nack_hasten(r, now_us);
	if (sequence < r->stats.base)
		r->stats.base = sequence;
	if (retransmitted) {
		r->recovered++;
	} else {
		/* the report tells how the path does, so what RTX repaired stays lost */
		r->stats.received++;
		r->stats.octets += packet->payload_size;
		stats_take_jitter(&r->stats, packet->timestamp, r->clock.clock_rate, now_us);
		r->late += receipt->late;
	}
	receipt->track_seq = track_seq_of(r, sequence);
	if (!receipt->track_seq) {
		r->too_old++;
		return ERR_REPLAY;
	}
	receipt->padding = !packet->payload_size;
	if (receipt->padding) {
		r->padding++;
		if (!receipt->late)
			r->pads[r->pads_seen++ % RTP_RECEIVER_PADS] = sequence;
		return ERR_OK;
	}
	bool jumped;
	receipt->rtp_time = rtp_extend_timestamp(r->newest_rtp_time, packet->timestamp);
	receipt->capture_us =
		rtp_timeline_capture_us(timeline, &r->clock, receipt->rtp_time, now_us, &jumped);
	receipt->discontinuity |= jumped;
	if (jumped || receipt->rtp_time > r->newest_rtp_time)
		r->newest_rtp_time = receipt->rtp_time;
	return ERR_OK;
}

enum err rtp_receiver_unwrap_rtx(struct rtp_receiver *r, struct rtp_packet *packet, int64_t now_us)
{
	struct rtp_stats *s = &r->rtx_stats;

	if (!s->started)
		stats_start(s, packet->sequence);
	uint64_t sequence = rtp_extend_sequence(s->newest, packet->sequence);
	if (sequence > s->newest)
		s->newest = sequence;
	s->received++;
	s->octets += packet->payload_size;
	stats_take_jitter(s, packet->timestamp, r->clock.clock_rate, now_us);
	if (!packet->payload_size)
		return ERR_AGAIN;
	if (packet->payload_size < RTX_OSN_SIZE) {
		r->rtx_bad++;
		return ERR_FORMAT;
	}
	r->rtx_packets++;
	packet->sequence = (uint16_t)(packet->payload[0] << 8 | packet->payload[1]);
	packet->payload += RTX_OSN_SIZE;
	packet->payload_size -= RTX_OSN_SIZE;
	packet->ssrc = r->ssrc;
	packet->payload_type = r->payload_type;
	return ERR_OK;
}

void rtp_receiver_take_sender_report(struct rtp_receiver *r, struct rtp_timeline *timeline,
	const struct rtcp_sender_info *info, int64_t now_us)
{
	if (info->ssrc == r->ssrc) {
		stats_take_report(&r->stats, info->ntp, now_us);
		rtp_timeline_take_report(timeline, &r->clock, info->ntp, info->rtp_timestamp);
	} else if (r->rtx_ssrc && info->ssrc == r->rtx_ssrc) {
		stats_take_report(&r->rtx_stats, info->ntp, now_us);
	}
}

bool rtp_receiver_fill_report(
	struct rtp_receiver *r, bool rtx, int64_t now_us, struct rtcp_report_block *block)
{
	struct rtp_stats *s = rtx ? &r->rtx_stats : &r->stats;

	if (!s->started)
		return false;
	stats_fill(s, rtx ? r->rtx_ssrc : r->ssrc, now_us, block);
	return true;
}

/* ---- keyframe requests ---- */

void rtp_keyframe_init(struct rtp_keyframe *k, int64_t interval_us)
{
	*k = (struct rtp_keyframe){.interval_us = interval_us, .asked_us = INT64_MIN / 2};
}

void rtp_keyframe_want(struct rtp_keyframe *k)
{
	if (k->wanted)
		return;
	k->wanted = true;
	k->fir_sequence++;
}

void rtp_keyframe_arrived(struct rtp_keyframe *k)
{
	k->wanted = false;
}

bool rtp_keyframe_poll(struct rtp_keyframe *k, int64_t now_us)
{
	if (now_us < rtp_keyframe_deadline_us(k))
		return false;
	k->asked_us = now_us;
	k->requests++;
	return true;
}

int64_t rtp_keyframe_deadline_us(const struct rtp_keyframe *k)
{
	return k->wanted ? k->asked_us + k->interval_us : RTP_NO_DEADLINE;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A track as we send it to one viewer. See the header for the rules of numbers and heads.
 *
 * The history is a ring addressed by index. One packet may write up to a quarter of the ring (holes
 * of a gap, then itself) before its head becomes current, so only the newest three quarters count:
 * what the old head still vouches for is never overwritten by an unfinished step.
 */
#include "actors/webrtc/rtp_sender.h"

enum {
	RESENT_UNIT_US = 4000,
	RESENT_MASK = 0xFFF,
	RTX_OSN_SIZE = 2,
	CREDITS_A_RESEND = 2,
	/* a new source begins at least this much later, so that no timestamp is used for two pictures */
	SOURCE_STEP_PER_S = 100,
};

#define TIME_SANE    (INT64_C(1) << 60)
#define POSITION_MAX ((UINT64_C(1) << 48) - 1) /* what the history can keep */

/* ---- heads and history ---- */

/* The head that is not current, as a copy of the one that is: to be changed, and committed or not. */
static struct rtp_sender_head *draft(struct rtp_sender *s)
{
	struct rtp_sender_head *head = &s->heads[!(s->current & 1)];

	*head = *rtp_sender_head(s);
	return head;
}

static void commit(struct rtp_sender *s)
{
	/* a successor that sees the new `current` sees all of the head and of the history */
	__atomic_store_n(&s->current, !(s->current & 1), __ATOMIC_RELEASE);
}

static struct rtp_sent *sent_at(struct rtp_sender *s, uint64_t index)
{
	return &s->history[index & (s->history_count - 1)];
}

static uint32_t gap_max(const struct rtp_sender *s)
{
	return s->history_count / 4 - 1;
}

/* First index, not before `from`, that the history vouches for. */
static uint64_t oldest(const struct rtp_sender *s, uint64_t committed, uint64_t from)
{
	uint64_t reach = s->history_count - s->history_count / 4;

	return committed - from > reach ? committed - reach : from;
}

void rtp_sender_init(struct rtp_sender *s, const struct rtp_sender_options *options)
{
	uint32_t count = options->history_count;

	MUST(options->clock_rate && options->clock_rate <= RTP_CLOCK_RATE_MAX);
	MUST(count >= RTP_SENDER_HISTORY_MIN && count <= RTP_SENDER_HISTORY_MAX &&
		!(count & (count - 1)));
	memset(s, 0, offsetof(struct rtp_sender, history));
	s->ssrc = options->ssrc;
	s->rtx_ssrc = options->rtx_ssrc;
	s->payload_type = options->payload_type;
	s->rtx_payload_type = options->rtx_payload_type;
	s->kind = (uint8_t)options->kind;
	s->clock_rate = options->clock_rate;
	s->history_count = count;
	s->credits = RTP_SENDER_CREDITS_START;
	s->rtt_us = -1;
	/* RFC 3711 3.3.1: a receiver guesses the ROC from the first sequence; the lower half of the
	 * range leaves no doubt. One at least, so that the newest number before it exists. */
	s->heads[0].committed = s->first_at = (options->random & 0x7FFF) + 1;
	s->rtx_committed = (options->random >> 15 & 0x7FFF) + 1;
	s->heads[0].timestamp_offset = options->random >> 32;
}

static bool head_is_valid(const struct rtp_sender_head *head)
{
	return head->committed >= 1 && head->committed <= RTP_INDEX_MAX + 1 &&
	       head->source_at <= head->committed && head->capture_us > -TIME_SANE &&
	       head->capture_us < TIME_SANE && head->squeeze_from <= head->squeeze_to &&
	       head->squeeze_ticks <= head->squeeze_to - head->squeeze_from;
}

bool rtp_sender_is_valid(const struct rtp_sender *s)
{
	uint32_t count = s->history_count;

	return s->current <= 1 && head_is_valid(rtp_sender_head(s)) &&
	       s->first_at <= rtp_sender_head(s)->committed && count >= RTP_SENDER_HISTORY_MIN &&
	       count <= RTP_SENDER_HISTORY_MAX && !(count & (count - 1)) && s->clock_rate &&
	       s->clock_rate <= RTP_CLOCK_RATE_MAX && s->payload_type <= 127 &&
	       s->rtx_payload_type <= 127 && s->rtx_committed >= 1 &&
	       s->rtx_committed <= RTP_INDEX_MAX + 1 && s->credits <= RTP_SENDER_CREDITS_MAX &&
	       s->rtt_us >= -1 && s->rtt_us <= RTCP_RTT_MAX_US;
}

/* ---- timestamps ---- */

/* RTP time with the squeezed start applied; 64 bits wide, low 32 go out with the offset added. */
static uint64_t squeezed(const struct rtp_sender_head *head, uint64_t rtp_time)
{
	uint64_t width = head->squeeze_to - head->squeeze_from;

	if (!width || (int64_t)(head->squeeze_to - rtp_time) <= 0)
		return rtp_time;
	uint64_t before = head->squeeze_to - rtp_time;
	/* 128 bits: both factors may be of any size in a damaged state */
	return head->squeeze_to -
	       (uint64_t)((unsigned __int128)before * head->squeeze_ticks / width);
}

static uint32_t timestamp_of(const struct rtp_sender_head *head, uint64_t rtp_time)
{
	return (uint32_t)(squeezed(head, rtp_time) + head->timestamp_offset);
}

enum err rtp_sender_squeeze(struct rtp_sender *s, uint64_t from, uint64_t to, int64_t span_us)
{
	struct rtp_sender_head *head = draft(s);

	if (head->started && !head->rebase)
		return ERR_PHASE;
	int64_t ticks = rtp_ticks_from_us(span_us, s->clock_rate);
	if (from > to || ticks < 0 || (uint64_t)ticks > to - from)
		return ERR_FORMAT;
	head->squeeze_from = from;
	head->squeeze_to = to;
	head->squeeze_ticks = (uint64_t)ticks;
	commit(s);
	return ERR_OK;
}

/* Puts a new source behind the old one, or the first one at its random start. */
static void begin_source(
	const struct rtp_sender *s, struct rtp_sender_head *head, const struct media_header *header)
{
	uint64_t start = head->timestamp_offset;

	if (head->started) {
		int64_t least = s->clock_rate / SOURCE_STEP_PER_S + 1;
		int64_t passed_us =
			(int64_t)((uint64_t)header->capture_us - (uint64_t)head->capture_us);
		int64_t most_us = (int64_t)RTP_SENDER_PAUSE_MAX_S * 1000000;
		int64_t passed =
			passed_us < most_us ? rtp_ticks_from_us(passed_us, s->clock_rate) : least;
		/* with `rebase` the old source's squeeze is in the offset already, and a squeeze that
		 * is set is the new source's */
		uint64_t last = head->rebase ? head->rtp_time : squeezed(head, head->rtp_time);
		start = last + head->timestamp_offset + (uint64_t)(passed > least ? passed : least);
		if (!head->rebase)
			head->squeeze_from = head->squeeze_to = head->squeeze_ticks = 0;
	}
	head->timestamp_offset = start - squeezed(head, header->rtp_time);
	head->source_at = head->committed;
	head->track_seq = header->track_seq - 1;
	head->rtp_time = header->rtp_time;
	head->capture_us = header->capture_us;
	head->started = true;
	head->rebase = false;
	head->last_dropped = false;
	head->last_ended = true;
	head->frame = header->frame - 1;
}

/* ---- numbers ---- */

/* Do the packets missing before this one belong to a frame that we drop? Then they leave no gap. */
static bool gap_is_dropped(
	const struct rtp_sender_head *head, const struct media_header *header, bool dropping)
{
	bool same = header->frame == head->frame;
	bool next = header->frame == head->frame + 1;
	bool begins = header->flags & MEDIA_FRAME_START;

	if (head->last_dropped && !head->last_ended && (same || (next && begins)))
		return true;
	return dropping && !begins && next && head->last_ended;
}

/* Reserves numbers for the `gap` packets that are missing before track_seq. */
static void leave_holes(
	struct rtp_sender *s, struct rtp_sender_head *head, uint64_t track_seq, uint64_t gap)
{
	if (gap > gap_max(s)) {
		gap = gap_max(s);
		head->gaps_cut++;
	}
	for (; gap; gap--)
		*sent_at(s, head->committed++) =
			(struct rtp_sent){.track_seq = (uint32_t)(track_seq - gap)};
}

/* Goes on to the header's place in the track; what is missing before it is left as holes or not. */
static void step_to(struct rtp_sender *s, struct rtp_sender_head *head,
	const struct media_header *header, bool dropping)
{
	uint64_t gap = header->track_seq - head->track_seq - 1;

	if (gap && !gap_is_dropped(head, header, dropping))
		leave_holes(s, head, header->track_seq, gap);
	head->track_seq = header->track_seq;
	head->frame = header->frame;
	head->last_dropped = dropping;
	head->last_ended = header->flags & MEDIA_FRAME_END;
}

/* Number of a packet behind the newest one: the entry of the history that has its place. */
static bool find_late(struct rtp_sender *s, const struct rtp_sender_head *head, uint64_t track_seq,
	uint64_t *index)
{
	uint64_t low = oldest(s, head->committed, head->source_at), high = head->committed;

	if (head->track_seq - track_seq > INT32_MAX)
		return false;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if ((int32_t)(sent_at(s, middle)->track_seq - (uint32_t)track_seq) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*index = low;
	return low < head->committed && sent_at(s, low)->track_seq == (uint32_t)track_seq;
}

static void fill_slot(const struct rtp_sender *s, const struct media_header *header, uint64_t index,
	uint32_t timestamp, struct rtp_slot *slot)
{
	bool video = s->kind == MEDIA_VIDEO;

	*slot = (struct rtp_slot){
		.index = index,
		.ssrc = s->ssrc,
		.timestamp = timestamp,
		.payload_type = s->payload_type,
		.marker = header->flags & (video ? MEDIA_FRAME_END : MEDIA_TALKSPURT),
	};
}

/* A late packet fills its hole. The hole is closed by one store before anything else counts it. */
static enum err map_late(struct rtp_sender *s, struct rtp_sender_head *head,
	const struct media_header *header, struct rtp_slot *slot)
{
	uint64_t index;
	enum err err = ERR_OK;

	if (!find_late(s, head, header->track_seq, &index))
		err = ERR_NOT_FOUND;
	else if (sent_at(s, index)->position)
		err = ERR_REPLAY;
	if (err) {
		head->late_dropped++;
		commit(s);
		return err;
	}
	struct rtp_sent *sent = sent_at(s, index);
	sent->timestamp = timestamp_of(head, header->rtp_time);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	sent->position = header->position;
	fill_slot(s, header, index, sent->timestamp, slot);
	head->late++;
	head->packets++;
	head->octets += header->size;
	commit(s);
	return ERR_OK;
}

enum err rtp_sender_map(
	struct rtp_sender *s, const struct media_header *header, struct rtp_slot *slot)
{
	struct rtp_sender_head *head = draft(s);

	/* position 0 would make the entry a hole, and its index free for a late packet */
	if (!header->position || header->position > POSITION_MAX)
		return ERR_FORMAT;
	if (head->committed + s->history_count > RTP_INDEX_MAX)
		return ERR_LIMIT;
	bool late = header->flags & MEDIA_LATE;
	if (!head->started || head->rebase || (header->flags & MEDIA_DISCONTINUITY && !late)) {
		/* a straggler is no beginning: what it belongs to is not here */
		if (late)
			return ERR_NOT_FOUND;
		begin_source(s, head, header);
	} else if (header->track_seq <= head->track_seq) {
		return map_late(s, head, header, slot);
	}
	step_to(s, head, header, false);

	uint64_t index = head->committed++;
	uint32_t timestamp = timestamp_of(head, header->rtp_time);
	*sent_at(s, index) = (struct rtp_sent){
		.position = header->position,
		.timestamp = timestamp,
		.track_seq = (uint32_t)header->track_seq,
	};
	if ((int64_t)(header->rtp_time - head->rtp_time) > 0) {
		head->rtp_time = header->rtp_time;
		head->capture_us = header->capture_us;
	}
	head->packets++;
	head->octets += header->size;
	commit(s);
	s->credits += s->credits < RTP_SENDER_CREDITS_MAX;
	fill_slot(s, header, index, timestamp, slot);
	return ERR_OK;
}

void rtp_sender_drop(struct rtp_sender *s, const struct media_header *header)
{
	struct rtp_sender_head *head = draft(s);

	head->dropped++;
	if (head->started && !head->rebase) {
		if (header->flags & MEDIA_DISCONTINUITY) {
			/* the old source's squeeze ends here, so that the new one may have its own */
			head->timestamp_offset += squeezed(head, head->rtp_time) - head->rtp_time;
			head->squeeze_from = head->squeeze_to = head->squeeze_ticks = 0;
			head->rebase = true;
		} else if (header->track_seq > head->track_seq) {
			step_to(s, head, header, true);
		}
	}
	commit(s);
}

size_t rtp_slot_write(const struct rtp_slot *slot, const struct rtp_ext_layout *layout, uint8_t *at,
	uint32_t abs_send_time, uint16_t transport_seq, uint32_t audio_level)
{
	struct rtp_packet packet = {
		.ssrc = slot->ssrc,
		.timestamp = slot->timestamp,
		.sequence = (uint16_t)slot->index,
		.payload_type = slot->payload_type,
		.marker = slot->marker,
		.has_ext = layout->size > 0,
	};
	size_t size = RTP_HEADER_SIZE;

	rtp_write_fixed(at, &packet);
	if (layout->size) {
		rtp_ext_layout_write(layout, at + size, abs_send_time, transport_seq, audio_level);
		size += layout->size;
	}
	if (slot->rtx) {
		at[size++] = (uint8_t)(slot->osn >> 8);
		at[size++] = (uint8_t)slot->osn;
	}
	return size;
}

/* ---- what the viewer asks and tells ---- */

static bool is_too_soon(const struct rtp_sender *s, const struct rtp_sent *sent, int64_t now_us)
{
	int64_t least = s->rtt_us;
	uint64_t passed = ((uint64_t)now_us / RESENT_UNIT_US - sent->resent_at) & RESENT_MASK;

	if (!sent->resends)
		return false;
	if (least < RTP_SENDER_RESEND_GAP_MIN_US)
		least = RTP_SENDER_RESEND_GAP_MIN_US;
	if (least > RTP_SENDER_RESEND_GAP_MAX_US)
		least = RTP_SENDER_RESEND_GAP_MAX_US;
	return passed * RESENT_UNIT_US < (uint64_t)least;
}

enum err rtp_sender_take_nack(
	struct rtp_sender *s, uint16_t sequence, int64_t now_us, struct rtp_resend *resend)
{
	const struct rtp_sender_head *head = rtp_sender_head(s);
	uint64_t index = rtp_extend_sequence(head->committed - 1, sequence);
	struct rtp_sent *sent = sent_at(s, index);

	s->nacks++;
	if (index >= head->committed || index < oldest(s, head->committed, s->first_at) ||
		!sent->position) {
		s->nacks_unknown++;
		return ERR_NOT_FOUND;
	}
	if (sent->resends >= RTP_SENDER_RESENDS_MAX) {
		s->nacks_limited++;
		return ERR_LIMIT;
	}
	if (is_too_soon(s, sent, now_us)) {
		s->nacks_soon++;
		return ERR_AGAIN;
	}
	if (s->credits < CREDITS_A_RESEND) {
		s->nacks_over_budget++;
		return ERR_OVERLOAD;
	}
	s->credits -= CREDITS_A_RESEND;
	sent->resends++;
	sent->resent_at = (uint64_t)now_us / RESENT_UNIT_US & RESENT_MASK;
	*resend = (struct rtp_resend){sent->position, index, sent->timestamp, sent->track_seq};
	return ERR_OK;
}

/* ---- another copy of the stream ---------------------------------------------------------------- */

bool rtp_sender_has_sent(const struct rtp_sender *s)
{
	return rtp_sender_head(s)->committed > s->first_at;
}

static const struct rtp_sent *newest(const struct rtp_sender *s)
{
	uint64_t index = rtp_sender_head(s)->committed - 1;

	return rtp_sender_has_sent(s) ? &s->history[index & (s->history_count - 1)] : NULL;
}

bool rtp_sender_is_newest(const struct rtp_sender *s, const struct media_header *header)
{
	const struct rtp_sent *sent = newest(s);

	return sent && sent->position && sent->track_seq == (uint32_t)header->track_seq &&
	       sent->timestamp == timestamp_of(rtp_sender_head(s), header->rtp_time);
}

/* What lay before the first of that log is nowhere; no entry becomes a hole, which may be filled. */
void rtp_sender_renumber(struct rtp_sender *s, uint64_t newest_position)
{
	const struct rtp_sender_head *head = rtp_sender_head(s);
	const struct rtp_sent *last = newest(s);
	int64_t shift = last ? (int64_t)(newest_position - last->position) : 0;
	uint64_t from = oldest(s, head->committed, s->first_at);

	for (uint64_t index = from; shift && index < head->committed; index++) {
		struct rtp_sent *sent = sent_at(s, index);
		int64_t position = (int64_t)sent->position + shift;

		if (sent->position)
			sent->position = position > 0 ? (uint64_t)position : POSITION_MAX;
	}
}

enum err rtp_sender_map_rtx(struct rtp_sender *s, const struct rtp_resend *resend,
	const struct media_header *header, struct rtp_slot *slot)
{
	if (!s->rtx_ssrc)
		return ERR_PHASE;
	if (s->rtx_committed > RTP_INDEX_MAX)
		return ERR_LIMIT;
	/* stored before it is used */
	uint64_t index = s->rtx_committed;
	__atomic_store_n(&s->rtx_committed, index + 1, __ATOMIC_RELEASE);
	fill_slot(s, header, index, resend->timestamp, slot);
	slot->ssrc = s->rtx_ssrc;
	slot->payload_type = s->rtx_payload_type;
	slot->rtx = true;
	slot->osn = (uint16_t)resend->index;
	s->rtx_packets++;
	s->rtx_octets += header->size + RTX_OSN_SIZE;
	return ERR_OK;
}

enum err rtp_sender_take_report(
	struct rtp_sender *s, const struct rtcp_report_block *block, int64_t unix_us)
{
	if (block->ssrc != s->ssrc)
		return ERR_NOT_FOUND;
	uint32_t now = rtcp_ntp_middle(rtp_ntp_from_unix_us(unix_us));
	int64_t rtt_us = rtcp_round_trip_us(now, block->lsr, block->dlsr);

	s->reports++;
	s->fraction_lost = block->fraction_lost;
	s->lost = block->lost;
	s->jitter = block->jitter;
	if (rtt_us >= 0)
		s->rtt_us = s->rtt_us < 0 ? rtt_us : s->rtt_us + (rtt_us - s->rtt_us) / 8;
	return ERR_OK;
}

void rtp_sender_take_pli(struct rtp_sender *s)
{
	s->plis++;
}

bool rtp_sender_take_fir(struct rtp_sender *s, uint8_t sequence)
{
	bool fresh = !s->has_fir || s->fir_sequence != sequence;

	s->has_fir = true;
	s->fir_sequence = sequence;
	s->firs += fresh;
	return fresh;
}

bool rtp_sender_fill_report(
	const struct rtp_sender *s, bool rtx, int64_t unix_us, struct rtcp_sender_info *info)
{
	const struct rtp_sender_head *head = rtp_sender_head(s);

	if (!head->packets || (rtx && !s->rtx_packets))
		return false;
	/* the unscaled line: in a squeezed start the report tells of the live edge */
	int64_t since_us = (int64_t)((uint64_t)unix_us - (uint64_t)head->capture_us);
	uint64_t now = head->rtp_time + head->timestamp_offset +
		       (uint64_t)rtp_ticks_from_us(since_us, s->clock_rate);
	*info = (struct rtcp_sender_info){
		.ssrc = rtx ? s->rtx_ssrc : s->ssrc,
		.ntp = rtp_ntp_from_unix_us(unix_us),
		.rtp_timestamp = (uint32_t)now,
		.packets = (uint32_t)(rtx ? s->rtx_packets : head->packets),
		.octets = (uint32_t)(rtx ? s->rtx_octets : head->octets),
	};
	return true;
}

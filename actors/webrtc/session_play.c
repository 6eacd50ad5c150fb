/* SPDX-License-Identifier: Apache-2.0
 *
 * A viewer's media: the stream's log out as SRTP.
 *
 *   log -> which track of ours? -> left out (B-frames, waiting for a keyframe, slow path)
 *                               -> numbered (stored), header written, sealed, 16 in one send
 *
 * The start. The log keeps the packets since the last keyframe. They are sent at a bounded multiple
 * of the stream's rate, in T = an eighth of their length, with RTP timestamps squeezed so that what
 * is captured up to the end of the burst takes T as well: each frame arrives when its timestamp
 * says, and at the end the viewer is at the live edge with no delay left in its jitter buffer.
 * Sound cannot be squeezed: it begins where the burst ends.
 *
 *   captured   K-------------------- now ---- now+T          K: the cached keyframe
 *   viewer     K--- T ---(live)
 */
#include "actors/webrtc/session.h"

enum {
	BURST_SPEED = 8,		/* times the stream's own speed, while T allows it */
	BURST_SPAN_MAX_US = 850000,	/* the live edge is reached within 1 s */
	BURST_LENGTH_MAX_US = 10500000, /* longer would be faster than a decoder can follow */
	BURST_RATE_MAX_BPS = 80000000,	/* above it the viewer waits for a keyframe instead */
	BURST_LENGTH_MIN_US = 20000,	/* shorter is sent as it is */
	FILLING_MAX_US = 60000,		/* waited for a replica to be filled … */
	FILLING_BEHIND_US = 200000,	/* … to less than this behind the clock */
	FILLING_LOOK_US = 3000,
	SENDS_A_PUMP = 4, /* calls of 16 packets; then others have their turn */
	NEXT_PUMP_US = 1000,
	SLOW_US = 500000,
	SLOW_STRIKES_MAX = 4, /* full sends in a row: nothing more before a keyframe */
	TCP_FULL_PERMILLE = 500,
	KEYFRAME_ASK_US = 200000,
	AUDIO_HISTORY = 128,
	NACKS_A_PACKET = 256,
};

/* Packets on their way into one send call. */
struct batch {
	size_t count;
	struct seal_packet packets[ARENA_SEND_PACKETS];
};

_Static_assert((int)ARENA_SEND_PACKETS == (int)NET_SEND_PACKETS_MAX, "one send call");

/* ---- life ---------------------------------------------------------------------------------- */

enum err play_init(
	struct actor *self, struct session *s, struct session_slot *slot, uint64_t position)
{
	struct session_sending *p = &slot->play;

	(void)s;
	if (slot->plan.media_count > SESSION_TRACKS_MAX)
		return ERR_UNPROCESSABLE;
	p->position = position;
	p->pump_us = INT64_MAX;
	twcc_ledger_init(&p->ledger);
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct sdp_plan_media *media = &slot->plan.media[i];
		bool video = media->kind == MEDIA_VIDEO;

		p->tracks[i].track = media->track;
		p->tracks[i].wants_keyframe = video;
		rtp_sender_init(&p->tracks[i].sender,
			&(struct rtp_sender_options){
				.ssrc = media->local_ssrc,
				.rtx_ssrc = media->rtx_payload_type ? media->local_rtx_ssrc : 0,
				.payload_type = media->payload_type,
				.rtx_payload_type = media->rtx_payload_type,
				.kind = (enum media_kind)media->kind,
				.clock_rate = media->clock_rate,
				.history_count = video ? RTP_SENDER_HISTORY_MAX : AUDIO_HISTORY,
				.random = actor_random_u64(self),
			});
	}
	return ERR_OK;
}

bool play_is_valid(const struct session_slot *slot)
{
	for (int i = 0; i < slot->plan.media_count; i++)
		if (!rtp_sender_is_valid(&slot->play.tracks[i].sender) ||
			slot->play.tracks[i].track >= MEDIA_TRACKS_MAX)
			return false;
	return twcc_ledger_is_valid(&slot->play.ledger);
}

/* Without RTX a lost packet is sealed again under its own index: its header must come out the same
 * to the bit, so it has nothing in it that depends on when it is sent. */
static bool resends_in_place(const struct sdp_plan_media *media)
{
	return !media->rtx_payload_type && media->feedback & SDP_NACK;
}

void play_make_layouts(struct session *s, const struct session_slot *slot)
{
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct sdp_plan_media *media = &slot->plan.media[i];
		struct rtp_ext_layout_options options = {
			.chosen = RTP_EXT_BIT(MID) | RTP_EXT_BIT(AUDIO_LEVEL), .mid = media->mid};

		if (!resends_in_place(media))
			options.chosen |= RTP_EXT_BIT(ABS_SEND_TIME);
		if (!resends_in_place(media) && media->feedback & SDP_TRANSPORT_CC)
			options.chosen |= RTP_EXT_BIT(TRANSPORT_CC);
		rtp_ext_layout_init(&s->layouts[i], &s->ext_maps[i], &options);
	}
}

static struct media_log *log_of(struct actor *self, const struct session *s)
{
	return media_log_get(
		actor_arena(self), (struct slot_ref){s->st.log_index, s->st.log_generation});
}

static void ask_keyframe(struct actor *self, struct session *s, const struct session_out *out)
{
	int64_t now_us = actor_now_us(self);

	if (s->keyframe_asked_us && now_us - s->keyframe_asked_us < KEYFRAME_ASK_US)
		return;
	s->keyframe_asked_us = now_us;
	s->st.keyframe_requests++;
	actor_send(self, s->st.stream, keyframe_request, {.track = out->track});
}

/* ---- sending ------------------------------------------------------------------------------- */

/* A send that did not take everything: what is left is lost, and asked for again by the viewer.
 * Until the path recovers what nobody refers to is left out; if it does not, all up to the next
 * keyframe. */
static void slow_down(struct actor *self, struct session *s, struct session_slot *slot)
{
	struct session_sending *p = &slot->play;

	p->slow_until_us = actor_now_us(self) + SLOW_US;
	if (++p->slow_strikes < SLOW_STRIKES_MAX)
		return;
	p->slow_strikes = 0;
	for (int i = 0; i < slot->plan.media_count; i++) {
		if (slot->plan.media[i].kind == MEDIA_VIDEO && !p->tracks[i].wants_keyframe) {
			p->tracks[i].wants_keyframe = true;
			ask_keyframe(self, s, &p->tracks[i]);
		}
	}
}

static void flush(
	struct actor *self, struct session *s, struct session_slot *slot, struct batch *batch)
{
	struct arena_send *area = arena_send_area(actor_arena(self));
	const struct net_addr *to = session_path(slot);
	struct iovec parts[ARENA_SEND_PACKETS];
	uint32_t fill_permille;
	size_t count = 0, sent;

	if (!batch->count)
		return;
	seal_rtp_batch(&s->seal, batch->packets, batch->count);
	for (size_t i = 0; i < batch->count; i++) {
		area->size[i] = batch->packets[i].size;
		if (area->size[i])
			parts[count++] = (struct iovec){area->bytes[i], area->size[i]};
	}
	area->count = (uint32_t)batch->count;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	area->owner = actor_addr(self).id;
	sent = to ? rtc_port_send(self, s->port, to, parts, count, &fill_permille) : count;
	area->owner = 0;
	if (sent < count) {
		s->st.dropped_socket_full += count - sent;
		slow_down(self, s, slot);
	} else if (to && fill_permille > TCP_FULL_PERMILLE) {
		slow_down(self, s, slot);
	} else {
		slot->play.slow_strikes = 0;
	}
	if (!s->st.started_us)
		s->st.started_us = (uint64_t)(actor_now_us(self) - s->answered_us);
	batch->count = 0;
}

static void add(struct actor *self, struct session *s, struct session_slot *slot,
	struct batch *batch, int i, const struct rtp_slot *rtp, const struct packet *packet)
{
	struct arena_send *area = arena_send_area(actor_arena(self));
	const struct rtp_ext_layout *layout = &s->layouts[i];
	uint8_t *out = area->bytes[batch->count];
	int64_t now_us = actor_now_us(self);
	size_t size = RTP_HEADER_SIZE + layout->size + packet->header.size + SEAL_RTP_OVERHEAD_MAX;
	uint16_t number = 0;

	if (layout->transport_seq_at)
		number = twcc_ledger_commit(&slot->play.ledger, size, now_us);
	size = rtp_slot_write(rtp, layout, out, rtp_ext_abs_send_time(now_us), number,
		packet->header.audio_level);
	batch->packets[batch->count++] = (struct seal_packet){
		.out = out,
		.payload = packet->payload,
		.index = rtp->index,
		.out_capacity = ARENA_SEND_PACKET_SIZE,
		.header_size = (uint16_t)(size - (rtp->rtx ? 2 : 0)),
		.prefix_size = rtp->rtx ? 2 : 0,
		.payload_size = packet->header.size,
	};
	if (batch->count == ARENA_SEND_PACKETS)
		flush(self, s, slot, batch);
}

void play_send_again(struct actor *self, struct session *s, struct session_slot *slot)
{
	struct arena_send *area = arena_send_area(actor_arena(self));
	const struct net_addr *to = session_path(slot);
	struct iovec parts[ARENA_SEND_PACKETS];
	size_t count = 0;

	if (!to || to->transport != NET_UDP || area->count > ARENA_SEND_PACKETS)
		return;
	for (uint32_t i = 0; i < area->count; i++)
		if (area->size[i] && area->size[i] <= ARENA_SEND_PACKET_SIZE)
			parts[count++] = (struct iovec){area->bytes[i], area->size[i]};
	rtc_port_send(self, s->port, to, parts, count, NULL);
}

/* ---- the start ----------------------------------------------------------------------------- */

static int track_index(const struct session_slot *slot, uint8_t track)
{
	for (int i = 0; i < slot->plan.media_count; i++)
		if (slot->play.tracks[i].track == track && !slot->play.tracks[i].stopped)
			return i;
	return -1;
}

static const struct packet *newest_of(
	struct arena *arena, const struct media_log *log, uint64_t from, uint8_t track)
{
	for (uint64_t position = log->ready; position-- > from;) {
		const struct packet *packet = media_log_packet(arena, log, position);

		if (packet && packet->header.track == track)
			return packet;
	}
	return NULL;
}

static uint64_t bytes_of(struct arena *arena, const struct media_log *log, uint64_t from)
{
	uint64_t bytes = 0;

	for (uint64_t position = from; position < log->ready; position++) {
		const struct packet *packet = media_log_packet(arena, log, position);

		bytes += packet ? packet->header.size : 0;
	}
	return bytes;
}

/* Squeezes the cached frames from `first` on; false when that would be too fast. */
static bool plan_burst(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log, int video, uint64_t start)
{
	struct session_sending *p = &slot->play;
	struct arena *arena = actor_arena(self);
	const struct packet *first = media_log_packet(arena, log, start);
	const struct packet *newest = newest_of(arena, log, start, p->tracks[video].track);
	uint32_t rate = slot->plan.media[video].clock_rate;
	int64_t length_us, span_us;

	(void)s;
	if (!first || !newest || newest->header.rtp_time < first->header.rtp_time)
		return false;
	length_us = rtp_us_from_ticks(
		(int64_t)(newest->header.rtp_time - first->header.rtp_time), rate);
	if (length_us < BURST_LENGTH_MIN_US)
		return true;
	span_us = length_us / BURST_SPEED;
	if (span_us > BURST_SPAN_MAX_US)
		span_us = BURST_SPAN_MAX_US;
	if (length_us > BURST_LENGTH_MAX_US ||
		bytes_of(arena, log, start) * 8 * 1000000 / (uint64_t)span_us > BURST_RATE_MAX_BPS)
		return false;
	p->burst_from = first->header.rtp_time;
	p->burst_to = newest->header.rtp_time + (uint64_t)rtp_ticks_from_us(span_us, rate);
	p->burst_begin_us = actor_now_us(self);
	p->burst_span_us = span_us;
	rtp_sender_squeeze(&p->tracks[video].sender, p->burst_from, p->burst_to, span_us);
	for (int i = 0; i < slot->plan.media_count; i++)
		p->tracks[i].audio_from_us = newest->header.capture_us + span_us;
	return true;
}

static int first_video(const struct session_slot *slot)
{
	for (int i = 0; i < slot->plan.media_count; i++)
		if (slot->plan.media[i].kind == MEDIA_VIDEO && !slot->play.tracks[i].stopped)
			return i;
	return -1;
}

/* A replica that was made for this viewer is still being filled with the cached frames. */
static bool is_filling(struct actor *self, const struct session_sending *p,
	const struct media_log *log, bool cached)
{
	int64_t now_us = actor_now_us(self);

	if (now_us - p->asked_us > FILLING_MAX_US)
		return false;
	return !cached || actor_wall_us(self) - log->newest_us > FILLING_BEHIND_US;
}

/* Chooses where to begin; true when that is done. */
static bool begin(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log)
{
	struct session_sending *p = &slot->play;
	int video = first_video(slot);
	bool cached;
	uint64_t start = media_log_start(log, &cached);

	if (!p->asked_us)
		p->asked_us = actor_now_us(self);
	if (video >= 0 && is_filling(self, p, log, cached)) {
		p->pump_us = actor_now_us(self) + FILLING_LOOK_US;
		return false;
	}
	p->begun = true;
	p->position = log->ready;
	if (video < 0)
		return true;
	if (cached && log->keyframe_track == p->tracks[video].track &&
		plan_burst(self, s, slot, log, video, start))
		p->position = start;
	else
		ask_keyframe(self, s, &p->tracks[video]);
	return true;
}

/* When a packet of the burst is to leave; 0 = at once. */
static int64_t due_us(const struct session_slot *slot, int i, const struct media_header *header)
{
	const struct session_sending *p = &slot->play;
	uint64_t width = p->burst_to - p->burst_from;

	if (!width || slot->plan.media[i].kind != MEDIA_VIDEO ||
		(int64_t)(header->rtp_time - p->burst_from) < 0 ||
		(int64_t)(p->burst_to - header->rtp_time) <= 0)
		return 0;
	return p->burst_begin_us +
	       (int64_t)((header->rtp_time - p->burst_from) * (uint64_t)p->burst_span_us / width);
}

/* ---- what is sent and what is not ---------------------------------------------------------- */

/* A jump in the log, or another track in its place: the next packet begins a source anew, so that
 * nothing looks lost to the viewer. */
static void start_anew(struct session_out *out)
{
	rtp_sender_drop(&out->sender, &(struct media_header){.flags = MEDIA_DISCONTINUITY});
	out->skipping = false;
}

/* The reader was slower than the log is long. */
static void catch_up(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log)
{
	struct session_sending *p = &slot->play;
	bool cached;
	uint64_t start = media_log_start(log, &cached);

	s->st.dropped_behind += start - p->position;
	p->position = start;
	p->burst_from = p->burst_to = 0;
	for (int i = 0; i < slot->plan.media_count; i++) {
		start_anew(&p->tracks[i]);
		p->tracks[i].wants_keyframe = slot->plan.media[i].kind == MEDIA_VIDEO;
		if (p->tracks[i].wants_keyframe && !cached)
			ask_keyframe(self, s, &p->tracks[i]);
	}
}

static void warn_of_b_frames(struct actor *self, struct session *s)
{
	if (s->st.b_frames)
		return;
	s->st.b_frames = true;
	log_warn(actor_log(self), "b_frames_referenced", "stream", s->st.stream_name, "advice",
		"browsers show such a stream unevenly: encode without B-frames, or with "
		"b-pyramid=none");
}

static bool leaves_out_video(struct actor *self, struct session *s, struct session_slot *slot,
	struct session_out *out, const struct media_header *header)
{
	bool starts = header->flags & MEDIA_FRAME_START;
	bool discardable = header->flags & MEDIA_DISCARDABLE;

	if (out->wants_keyframe) {
		if (!(header->flags & MEDIA_KEYFRAME) || header->flags & MEDIA_LATE) {
			s->st.dropped_before_keyframe++;
			return true;
		}
		out->wants_keyframe = false;
		out->skipping = false;
	}
	if (header->flags & MEDIA_B_FRAME) {
		if (discardable) {
			s->st.dropped_b_frames++;
			return true;
		}
		warn_of_b_frames(self, s);
	}
	/* whole frames only: what was begun is completed */
	if (out->skipping && header->frame == out->frame) {
		s->st.dropped_slow++;
		return true;
	}
	out->skipping = starts && discardable && actor_now_us(self) < slot->play.slow_until_us;
	out->frame = header->frame;
	s->st.dropped_slow += out->skipping;
	return out->skipping;
}

static bool leaves_out(struct actor *self, struct session *s, struct session_slot *slot, int i,
	const struct media_header *header)
{
	struct session_out *out = &slot->play.tracks[i];

	if (slot->plan.media[i].kind == MEDIA_VIDEO)
		return leaves_out_video(self, s, slot, out, header);
	return header->capture_us < out->audio_from_us;
}

/* True when the log can be read on. */
static bool pump_one(struct actor *self, struct session *s, struct session_slot *slot,
	struct batch *batch, const struct packet *packet)
{
	struct session_sending *p = &slot->play;
	const struct media_header *header = &packet->header;
	int i = track_index(slot, header->track);
	struct rtp_slot rtp;

	if (i < 0)
		return true;
	int64_t at_us = due_us(slot, i, header);

	if (at_us > actor_now_us(self)) {
		p->pump_us = at_us;
		return false;
	}
	if (leaves_out(self, s, slot, i, header))
		rtp_sender_drop(&p->tracks[i].sender, header);
	else if (rtp_sender_map(&p->tracks[i].sender, header, &rtp) == ERR_OK)
		add(self, s, slot, batch, i, &rtp, packet);
	return true;
}

void play_pump(struct actor *self, struct session *s, struct session_slot *slot)
{
	struct session_sending *p = &slot->play;
	const struct media_log *log = log_of(self, s);
	struct batch batch = {0};
	int left = SENDS_A_PUMP * ARENA_SEND_PACKETS;

	p->pump_us = INT64_MAX;
	if (!log || !session_path(slot))
		return;
	if (!p->begun && !begin(self, s, slot, log))
		return;
	if (p->position < log->first)
		catch_up(self, s, slot, log);
	for (; p->position < log->ready; p->position++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, p->position);
		size_t before = batch.count;

		if (packet && !pump_one(self, s, slot, &batch, packet))
			break;
		left -= batch.count != before;
		if (left <= 0) {
			p->position++;
			p->pump_us = actor_now_us(self) + NEXT_PUMP_US;
			break;
		}
	}
	flush(self, s, slot, &batch);
}

/* ---- from the viewer ----------------------------------------------------------------------- */

static void resend(struct actor *self, struct session *s, struct session_slot *slot,
	struct batch *batch, int i, uint16_t sequence)
{
	struct rtp_sender *sender = &slot->play.tracks[i].sender;
	const struct media_log *log = log_of(self, s);
	const struct packet *packet;
	struct rtp_resend resend;
	struct rtp_slot rtp;

	if (!log || rtp_sender_take_nack(sender, sequence, actor_now_us(self), &resend))
		return;
	packet = media_log_packet(actor_arena(self), log, resend.position);
	if (!packet)
		return;
	if (!sender->rtx_ssrc && resends_in_place(&slot->plan.media[i])) {
		bool video = sender->kind == MEDIA_VIDEO;

		rtp = (struct rtp_slot){
			.index = resend.index,
			.ssrc = sender->ssrc,
			.timestamp = resend.timestamp,
			.payload_type = sender->payload_type,
			.marker =
				packet->header.flags & (video ? MEDIA_FRAME_END : MEDIA_TALKSPURT),
		};
	} else if (rtp_sender_map_rtx(sender, &resend, &packet->header, &rtp)) {
		return;
	}
	add(self, s, slot, batch, i, &rtp, packet);
}

static void take_nack(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet)
{
	struct rtcp_feedback feedback;
	uint16_t sequences[NACKS_A_PACKET];
	struct batch batch = {0};
	size_t count;

	if (rtcp_parse_feedback(packet, &feedback) ||
		rtcp_parse_nack(packet, sequences, NACKS_A_PACKET, &count))
		return;
	for (int i = 0; i < slot->plan.media_count; i++)
		for (size_t j = 0; slot->play.tracks[i].sender.ssrc == feedback.media && j < count;
			j++)
			resend(self, s, slot, &batch, i, sequences[j]);
	flush(self, s, slot, &batch);
}

static void take_reports(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet)
{
	struct rtcp_report_block block;

	for (unsigned j = 0; rtcp_parse_report_block(packet, j, &block) == ERR_OK; j++) {
		for (int i = 0; i < slot->plan.media_count; i++) {
			struct rtp_sender *sender = &slot->play.tracks[i].sender;

			if (rtp_sender_take_report(sender, &block, actor_wall_us(self)) == ERR_OK &&
				sender->rtt_us >= 0)
				s->st.rtt_us = sender->rtt_us;
		}
	}
}

static void take_picture_feedback(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet)
{
	struct rtcp_feedback feedback;
	struct rtcp_fir_entry fir;
	bool asked = false;

	if (rtcp_parse_feedback(packet, &feedback))
		return;
	for (int i = 0; i < slot->plan.media_count; i++) {
		struct rtp_sender *sender = &slot->play.tracks[i].sender;

		if (packet->count == RTCP_PSFB_PLI && feedback.media == sender->ssrc) {
			rtp_sender_take_pli(sender);
			asked = true;
		}
		for (unsigned j = 0;
			packet->count == RTCP_PSFB_FIR && rtcp_parse_fir(packet, j, &fir) == ERR_OK;
			j++)
			asked |= fir.ssrc == sender->ssrc &&
				 rtp_sender_take_fir(sender, fir.sequence);
		if (asked)
			ask_keyframe(self, s, &slot->play.tracks[i]);
		asked = false;
	}
}

void play_take_rtcp(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet, int64_t now_us)
{
	struct rtcp_remb remb;

	switch (packet->type) {
	case RTCP_SR:
	case RTCP_RR: take_reports(self, s, slot, packet); break;
	case RTCP_RTPFB:
		if (packet->count == RTCP_RTPFB_NACK)
			take_nack(self, s, slot, packet);
		else if (packet->count == RTCP_RTPFB_TWCC)
			twcc_ledger_take_feedback(&slot->play.ledger, packet, now_us);
		break;
	case RTCP_PSFB:
		if (packet->count != RTCP_PSFB_AFB)
			take_picture_feedback(self, s, slot, packet);
		else if (!rtcp_parse_remb(packet, &remb))
			twcc_ledger_take_remb(&slot->play.ledger, &remb, now_us);
		break;
	default: break;
	}
}

/* ---- reports ------------------------------------------------------------------------------- */

void play_feedback(struct actor *self, struct session *s, struct session_slot *slot)
{
	uint8_t bytes[SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, SESSION_RTCP_SIZE);
	struct rtcp_sender_info info;
	int64_t now_us = actor_now_us(self);
	bool any = false;

	if (now_us < slot->report_us)
		return;
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct session_out *out = &slot->play.tracks[i];

		if (out->wants_keyframe && !out->stopped)
			ask_keyframe(self, s, out);
		if (!rtp_sender_fill_report(&out->sender, false, actor_wall_us(self), &info))
			continue;
		rtcp_write_sr(&w, &info, NULL, 0);
		rtcp_write_cname(&w, info.ssrc, slot->cname);
		any = true;
	}
	/* until everything is under way the reports come quickly: lip sync waits for them */
	slot->report_us = now_us + (any ? SESSION_REPORT_US : SESSION_FIRST_REPORT_US);
	if (any)
		session_send_rtcp(self, s, slot, &w);
	session_report(self, s, slot);
}

int64_t play_deadline_us(const struct session_slot *slot)
{
	return slot->report_us < slot->play.pump_us ? slot->report_us : slot->play.pump_us;
}

/* The source has changed. A track goes on if the stream has one of the codec that was agreed on. */
void play_tracks_changed(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_track *tracks, size_t count)
{
	for (int i = 0; i < slot->plan.media_count; i++) {
		struct session_out *out = &slot->play.tracks[i];
		const struct media_track *found = NULL;

		for (size_t j = 0; j < count; j++)
			if (tracks[j].codec == slot->plan.media[i].codec &&
				(!found || tracks[j].id == out->track))
				found = &tracks[j];
		if (count && !found && !out->stopped)
			log_warn(actor_log(self), "track_stopped", "stream", s->st.stream_name,
				"kind", slot->plan.media[i].kind == MEDIA_VIDEO ? "video" : "audio",
				"agreed",
				media_codec_name((enum media_codec)slot->plan.media[i].codec));
		if (found && (found->id != out->track || out->stopped)) {
			out->track = found->id;
			out->wants_keyframe = slot->plan.media[i].kind == MEDIA_VIDEO;
			start_anew(out);
			s->st.tracks[i].track = out->track;
		}
		out->stopped = count && !found;
		s->st.tracks[i].stopped = out->stopped;
	}
}

void play_report(struct session *s, const struct session_slot *slot)
{
	const struct twcc_ledger *ledger = &slot->play.ledger;
	uint32_t fraction = 0;

	for (int i = 0; i < s->st.tracks_count && i < SESSION_TRACKS_MAX; i++) {
		const struct rtp_sender *sender = &slot->play.tracks[i].sender;
		const struct rtp_sender_head *head = rtp_sender_head(sender);
		struct session_track *track = &s->st.tracks[i];

		track->packets = head->packets;
		track->bytes = head->octets + sender->rtx_octets;
		track->lost = sender->lost;
		track->jitter_us = (uint32_t)rtp_us_from_ticks(sender->jitter, sender->clock_rate);
		track->nacks = sender->nacks;
		track->resent = sender->rtx_packets;
		track->given_up =
			sender->nacks_unknown + sender->nacks_limited + sender->nacks_over_budget;
		track->late = head->late;
		track->dropped = head->dropped;
		if (sender->fraction_lost > fraction)
			fraction = sender->fraction_lost;
	}
	s->st.loss_ppm = ledger->has_feedback ? ledger->loss_ppm
					      : (uint32_t)((uint64_t)fraction * 1000000 / 256);
	s->st.remb_bps = ledger->remb_bps;
	s->st.acked_bps = ledger->acked_bps;
}

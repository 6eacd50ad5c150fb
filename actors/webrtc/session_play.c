/* SPDX-License-Identifier: Apache-2.0
 *
 * A viewer's media: the stream's log out as SRTP, at the viewer's pace.
 *
 *   log -> which track of ours? -> not yet (picture: paced)
 *                               -> left out (B-frames, waiting for a keyframe, slow path)
 *                               -> numbered (stored) -> session_send.c
 *
 * Sound is sent ahead of a picture that is being paced: two places in the log, `position` for the
 * picture and `ahead` for the rest.
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
#include "runtime/near.h"

enum {
	BURST_SPEED = 8,		/* times the stream's own speed, while T allows it */
	BURST_SPAN_MAX_US = 850000,	/* the live edge is reached within 1 s */
	BURST_LENGTH_MAX_US = 10500000, /* longer would be faster than a decoder can follow */
	BURST_RATE_MAX_BPS = 80000000,	/* above it the viewer waits for a keyframe instead */
	BURST_LENGTH_MIN_US = 20000,	/* shorter is sent as it is */
	FILLING_MAX_US = 60000,		/* waited for a replica to be filled … */
	FILLING_BEHIND_US = 200000,	/* … to less than this behind the clock */
	FILLING_LOOK_US = 3000,
	KEYFRAME_ASK_US = 200000,
	AUDIO_HISTORY = 128,
};

/* ---- life ---------------------------------------------------------------------------------- */

enum err play_init(
	struct actor *self, struct session *s, struct session_slot *slot, uint64_t position)
{
	struct session_sending *p = &slot->play;

	(void)s;
	if (slot->plan.media_count > SESSION_TRACKS_MAX)
		return ERR_UNPROCESSABLE;
	p->position = position;
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

struct media_log *play_log(struct actor *self, const struct session *s)
{
	return media_log_get(
		actor_arena(self), (struct slot_ref){s->st.log_index, s->st.log_generation});
}

void play_ask_keyframe(struct actor *self, struct session *s, const struct session_out *out)
{
	int64_t now_us = actor_now_us(self);

	if (s->keyframe_asked_us && now_us - s->keyframe_asked_us < KEYFRAME_ASK_US)
		return;
	s->keyframe_asked_us = now_us;
	s->st.keyframe_requests++;
	actor_send(self, s->st.stream, keyframe_request, {.track = out->track});
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
		if (slot->plan.media[i].kind != MEDIA_VIDEO)
			p->tracks[i].from_us = newest->header.capture_us + span_us;
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
		actor_pump_at(self, actor_now_us(self) + FILLING_LOOK_US);
		return false;
	}
	p->begun = true;
	p->position = log->ready;
	if (video < 0)
		return true;
	if (cached && log->keyframe_track == p->tracks[video].track &&
		plan_burst(self, s, slot, log, video, start)) {
		p->position = start;
		p->start_until_us = actor_now_us(self) + p->burst_span_us + PACER_DRAIN_US;
	} else {
		play_ask_keyframe(self, s, &p->tracks[video]);
	}
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

void play_go_on_later(struct actor *self, struct session *s, struct session_slot *slot, int i)
{
	struct session_out *out = &slot->play.tracks[i];

	start_anew(out);
	out->from_us = rtp_sender_head(&out->sender)->capture_us + 1;
	out->wants_keyframe = slot->plan.media[i].kind == MEDIA_VIDEO;
	if (out->wants_keyframe)
		play_ask_keyframe(self, s, out);
}

/* The reader was slower than the log is long: goes on at the last keyframe of it, or the next one. */
static void catch_up(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log)
{
	struct session_sending *p = &slot->play;
	bool cached;
	uint64_t start = media_log_start(log, &cached);

	if (start > p->position)
		s->st.dropped_behind += start - p->position;
	p->position = start;
	p->burst_from = p->burst_to = 0;
	for (int i = 0; i < slot->plan.media_count; i++) {
		start_anew(&p->tracks[i]);
		p->tracks[i].wants_keyframe = slot->plan.media[i].kind == MEDIA_VIDEO;
		if (p->tracks[i].wants_keyframe && !cached)
			play_ask_keyframe(self, s, &p->tracks[i]);
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
		/* from its first packet on: what a decoder is given of the rest is no picture */
		if (!starts || !(header->flags & MEDIA_KEYFRAME) || header->flags & MEDIA_LATE ||
			header->capture_us < out->from_us) {
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
	return header->capture_us < out->from_us;
}

/* ---- the pump ------------------------------------------------------------------------------ */

static void pass_on(struct actor *self, struct session *s, struct session_slot *slot,
	struct play_burst *burst, int i, const struct packet *packet)
{
	struct rtp_sender *sender = &slot->play.tracks[i].sender;
	struct rtp_slot rtp;

	if (leaves_out(self, s, slot, i, &packet->header))
		rtp_sender_drop(sender, &packet->header);
	else if (rtp_sender_map(sender, &packet->header, &rtp) == ERR_OK)
		play_add(self, s, slot, burst, i, &rtp, packet);
}

/* False when the picture has to wait; the pump comes back. */
static bool pump_one(struct actor *self, struct session *s, struct session_slot *slot,
	struct play_burst *burst, const struct packet *packet)
{
	struct session_sending *p = &slot->play;
	int i = track_index(slot, packet->header.track);

	if (i < 0)
		return true;
	if (slot->plan.media[i].kind == MEDIA_VIDEO) {
		play_make_room(self, s, slot, burst, packet->header.size);
		int64_t at_us = due_us(slot, i, &packet->header);
		int64_t free_us = pacer_next_us(&p->pacer, actor_now_us(self));

		if (at_us < free_us)
			at_us = free_us;
		if (at_us > actor_now_us(self)) {
			p->pacer.waiting = at_us == free_us;
			actor_pump_at(self, at_us);
			return false;
		}
	} else if (p->position < p->ahead) {
		return true;
	}
	pass_on(self, s, slot, burst, i, packet);
	return true;
}

static void pump_ahead(struct actor *self, struct session *s, struct session_slot *slot,
	struct play_burst *burst, const struct media_log *log)
{
	struct session_sending *p = &slot->play;

	if (p->ahead < p->position)
		p->ahead = p->position;
	for (; p->ahead < log->ready; p->ahead++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, p->ahead);
		int i = packet ? track_index(slot, packet->header.track) : -1;

		if (i >= 0 && slot->plan.media[i].kind != MEDIA_VIDEO)
			pass_on(self, s, slot, burst, i, packet);
	}
}

/* The rate of what leaves now. What it was raised to for a large frame it keeps until that frame
 * has left. */
static uint64_t pace_bps(struct actor *self, struct session_sending *p, const struct media_log *log)
{
	uint64_t stream_bps = media_log_rate_bps(log);
	bool starting = actor_now_us(self) < p->start_until_us;
	uint64_t rate_bps = pacer_rate(stream_bps, 0, starting);

	if (starting ||
		(log->ready - p->position) * MEDIA_PAYLOAD_MAX <= pacer_span_bytes(rate_bps)) {
		p->drain_bps = 0;
		return rate_bps;
	}
	rate_bps = pacer_rate(stream_bps, bytes_of(actor_arena(self), log, p->position), false);
	if (p->drain_bps < rate_bps)
		p->drain_bps = rate_bps;
	return p->drain_bps;
}

void play_pump(struct actor *self, struct session *s, struct session_slot *slot)
{
	struct session_sending *p = &slot->play;
	const struct media_log *log = play_log(self, s);
	struct play_burst burst;

	actor_pump_at(self, INT64_MAX);
	if (!log || !session_path(slot))
		return;
	if (s->st.lost_place && !play_find_place(self, s, slot, log))
		return;
	if (!p->begun && !begin(self, s, slot, log))
		return;
	if (p->position < log->first)
		catch_up(self, s, slot, log);
	play_begin_burst(&burst, pace_bps(self, p, log));
	for (; p->position < log->ready; p->position++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, p->position);

		if (packet && !pump_one(self, s, slot, &burst, packet)) {
			pump_ahead(self, s, slot, &burst, log);
			break;
		}
	}
	if (p->position == log->ready)
		p->pacer.waiting = false;
	play_send_burst(self, s, slot, &burst);
}

/* From one field of a struct to the beginning of another one, or to its end. */
static void span_near(const void *from, const void *to)
{
	bring_near(from, (size_t)((const uint8_t *)to - (const uint8_t *)from));
}

/* Not the history nor the ledger's ring: those are only written to. */
void play_ahead(const struct session *s, const struct session_slot *slot)
{
	const struct session_sending *p = &slot->play;

	span_near(&s->st.keyframe_requests, &s->seal + 1);
	bring_near(&slot->plan, 1);
	bring_near(&slot->ice.pairs[0], sizeof(slot->ice.pairs[0]));
	span_near(&slot->ice.created_us, &p->ledger.sent);
	span_near(&p->position, &p->tracks);
	for (int i = 0; i < s->st.tracks_count && i < SESSION_TRACKS_MAX; i++) {
		bring_near(&slot->plan.media[i].kind, 1);
		span_near(&p->tracks[i], &p->tracks[i].sender.history);
		bring_near(&s->layouts[i], sizeof(s->layouts[i]));
	}
	seal_ahead(&s->seal);
}

/* ---- from the viewer ----------------------------------------------------------------------- */

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
			play_ask_keyframe(self, s, &slot->play.tracks[i]);
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
			play_take_nack(self, s, slot, packet);
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

/* Not while it gets the cached frames: those leave faster than the stream flows. */
static void say_bitrate(struct actor *self, struct session *s, const struct session_slot *slot)
{
	int64_t now_us = actor_now_us(self);
	uint32_t before = s->st.takes_bps;

	if (!s->takes.looked_us) /* as it was in another process */
		s->takes.narrow.takes_bps = before;
	if (!slot->play.begun || now_us < slot->play.start_until_us + SESSION_REPORT_US)
		return;
	s->st.takes_bps = viewer_takes_look(&s->takes, &slot->play.ledger, now_us);
	if (s->st.takes_bps || before)
		actor_send(self, s->st.stream, bitrate, {.bps = s->st.takes_bps});
}

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
			play_ask_keyframe(self, s, out);
		if (!rtp_sender_fill_report(&out->sender, false, actor_wall_us(self), &info))
			continue;
		rtcp_write_sr(&w, &info, NULL, 0);
		rtcp_write_cname(&w, info.ssrc, slot->cname);
		any = true;
	}
	/* until everything is under way the reports come quickly: lip sync waits for them */
	slot->report_us =
		session_report_at_us(now_us + (any ? SESSION_REPORT_US - SESSION_REPORT_GRID_US
						   : SESSION_FIRST_REPORT_US));
	if (any)
		session_send_rtcp(self, s, slot, &w);
	say_bitrate(self, s, slot);
	session_report(self, s, slot);
}

int64_t play_deadline_us(const struct session_slot *slot)
{
	return slot->report_us;
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * A publisher's media: SRTP in, packets of the inner form to the stream.
 *
 *   decrypted RTP -> extensions, transport-wide number -> whose SSRC? -> RTX unwrapped -> numbered,
 *   duplicates out -> payload read -> slot of the packet pool -> stream
 *
 * and back to the sender: NACK, PLI, transport-wide feedback or REMB, receiver reports.
 */
#include "actors/webrtc/session.h"

enum {
	NACKS_A_POLL = 256,
	REMB_MIN_BPS = 300000,
	REMB_MAX_BPS = 20000000,
	REMB_HEADROOM_BPS = 500000,
	REMB_FREE_BPS = 1000000000, /* no bound */
	TAKES_FRESH_US = 5000000,   /* what the stream said counts for so long */
};

/* Track ids of the stream: videos 0, 2; audios 1, 3. */
static void number_tracks(struct sdp_plan *plan)
{
	uint8_t next[3] = {[MEDIA_VIDEO] = 0, [MEDIA_AUDIO] = 1};

	for (int i = 0; i < plan->media_count; i++) {
		plan->media[i].track = next[plan->media[i].kind];
		next[plan->media[i].kind] += 2;
	}
}

static void start_track(struct session_slot *slot, int i, uint32_t ssrc, uint32_t rtx_ssrc)
{
	const struct sdp_plan_media *media = &slot->plan.media[i];
	struct session_in *in = &slot->publish.tracks[i];

	rtp_receiver_init(&in->receiver, &(struct rtp_receiver_options){
						 .ssrc = ssrc,
						 .rtx_ssrc = rtx_ssrc,
						 .payload_type = media->payload_type,
						 .rtx_payload_type = media->rtx_payload_type,
						 .clock_rate = media->clock_rate,
						 .nack = media->feedback & SDP_NACK,
						 .video = media->kind == MEDIA_VIDEO,
					 });
	in->known = true;
}

void publish_init(struct actor *self, struct session *s, struct session_slot *slot)
{
	struct session_receiving *p = &slot->publish;
	int64_t now_us = actor_now_us(self);

	(void)s;
	number_tracks(&slot->plan);
	rtp_timeline_init(&p->timeline, actor_wall_us(self) - now_us);
	rtp_keyframe_init(&p->keyframe, RTP_KEYFRAME_INTERVAL_US);
	remb_meter_init(&p->remb, REMB_MIN_BPS, REMB_MAX_BPS, REMB_HEADROOM_BPS, now_us);
	twcc_recorder_init(&p->recorder);
	for (int i = 0; i < slot->plan.media_count && i < SESSION_TRACKS_MAX; i++) {
		const struct sdp_plan_media *media = &slot->plan.media[i];

		payload_inspector_init(&p->tracks[i].inspector, (enum media_codec)media->codec);
		/* without a signalled SSRC (simulcast) the receiver waits for the first packet */
		start_track(slot, i, media->remote_ssrc, media->remote_rtx_ssrc);
		p->tracks[i].known = media->remote_ssrc != 0;
		if (media->remote_ssrc)
			rtc_port_know_ssrc(self, media->remote_ssrc);
	}
}

bool publish_is_valid(const struct session_slot *slot)
{
	const struct session_receiving *p = &slot->publish;

	for (int i = 0; i < slot->plan.media_count; i++)
		if (!rtp_receiver_is_valid(&p->tracks[i].receiver) ||
			!payload_inspector_is_valid(&p->tracks[i].inspector))
			return false;
	return twcc_recorder_is_valid(&p->recorder);
}

size_t publish_tracks(const struct session_slot *slot, struct media_track *tracks)
{
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct sdp_plan_media *media = &slot->plan.media[i];

		tracks[i] = (struct media_track){
			.id = media->track,
			.kind = media->kind,
			.codec = media->codec,
			.channels = media->channels,
			.clock_rate = media->clock_rate,
		};
		text_copy(tracks[i].fmtp, sizeof(tracks[i].fmtp), media->fmtp);
	}
	return slot->plan.media_count;
}

/* ---- packets in ---------------------------------------------------------------------------- */

/* The m-line a packet of an SSRC not known yet belongs to, by mid, rid and payload type. */
static int learn_track(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtp_packet *packet)
{
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct sdp_plan_media *media = &slot->plan.media[i];
		struct session_in *in = &slot->publish.tracks[i];
		bool rtx =
			media->rtx_payload_type && packet->payload_type == media->rtx_payload_type;
		struct rtp_ext_values values;
		const char *rid;

		if (packet->payload_type != media->payload_type && !rtx)
			continue;
		rtp_ext_parse(&values, &s->ext_maps[i], packet);
		if (values.present & RTP_EXT_BIT(MID) && strcmp(values.mid, media->mid))
			continue;
		rid = !rtx && values.present & RTP_EXT_BIT(RID)		  ? values.rid
		      : rtx && values.present & RTP_EXT_BIT(REPAIRED_RID) ? values.repaired_rid
									  : "";
		/* of a simulcast offer only the stream that was accepted is taken */
		if (strcmp(rid, media->rid))
			continue;
		if (rtx && in->known && !in->receiver.rtx_ssrc)
			in->receiver.rtx_ssrc = packet->ssrc;
		else if (!rtx && !in->known)
			start_track(slot, i, packet->ssrc, media->remote_rtx_ssrc);
		else
			continue;
		s->st.tracks[i].ssrc = in->receiver.ssrc;
		s->st.tracks[i].rtx_ssrc = in->receiver.rtx_ssrc;
		rtc_port_know_ssrc(self, packet->ssrc);
		if (session_is_away(self, s))
			session_tell_home(self, s, slot);
		return i;
	}
	return -1;
}

static int find_track(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtp_packet *packet)
{
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct rtp_receiver *receiver = &slot->publish.tracks[i].receiver;

		if (slot->publish.tracks[i].known &&
			(receiver->ssrc == packet->ssrc ||
				(receiver->rtx_ssrc && receiver->rtx_ssrc == packet->ssrc)))
			return i;
	}
	return learn_track(self, s, slot, packet);
}

static void fill_header(struct media_header *header, const struct sdp_plan_media *media,
	const struct rtp_receipt *receipt, const struct payload_info *info,
	const struct rtp_packet *packet, uint32_t audio_level)
{
	*header = (struct media_header){
		.capture_us = receipt->capture_us,
		.track_seq = receipt->track_seq,
		.rtp_time = receipt->rtp_time,
		.decode_time = receipt->rtp_time,
		.frame = info->frame,
		.audio_level = audio_level,
		.size = packet->payload_size,
		.track = media->track,
		.flags = info->flags,
		.priority = info->priority,
		.layer = info->layer,
	};
	if (receipt->late)
		header->flags |= MEDIA_LATE;
	if (receipt->discontinuity)
		header->flags |= MEDIA_DISCONTINUITY;
}

static void forward(struct actor *self, struct session *s, struct session_slot *slot, int i,
	const struct rtp_packet *packet, const struct rtp_receipt *receipt, uint32_t audio_level)
{
	struct session_in *in = &slot->publish.tracks[i];
	struct arena *arena = actor_arena(self);
	struct payload_info info;
	struct slot_ref ref;

	if (payload_inspect(&in->inspector,
		    &(struct payload_arrival){.payload = packet->payload,
			    .size = packet->payload_size,
			    .track_seq = receipt->track_seq,
			    .rtp_time = receipt->rtp_time,
			    .marker = packet->marker},
		    &info)) {
		in->malformed++;
		return;
	}
	ref = arena_alloc(arena, ARENA_PACKET, actor_addr(self).id);
	struct packet *out = arena_packet(arena, ref);

	if (!out) {
		s->st.dropped_no_slot++;
		return;
	}
	fill_header(&out->header, &slot->plan.media[i], receipt, &info, packet, audio_level);
	memcpy(out->payload, packet->payload, packet->payload_size);
	if (info.flags & MEDIA_KEYFRAME && info.flags & MEDIA_FRAME_START)
		rtp_keyframe_arrived(&slot->publish.keyframe);
	in->forwarded++;
	in->forwarded_bytes += packet->payload_size;
	actor_media(self, s->st.stream, ref);
	arena_release(arena, ARENA_PACKET, ref);
}

void publish_take_rtp(struct actor *self, struct session *s, struct session_slot *slot,
	uint8_t *bytes, size_t size, int64_t now_us)
{
	struct rtp_packet packet;
	struct rtp_ext_values values;
	struct rtp_receipt receipt;
	uint32_t level = 0;
	int i;

	if (rtp_parse(&packet, bytes, size))
		return;
	i = find_track(self, s, slot, &packet);
	/* the numbers count the whole transport, streams that are not taken included */
	rtp_ext_parse(&values, &s->ext_maps[i < 0 ? 0 : i], &packet);
	if (values.present & RTP_EXT_BIT(TRANSPORT_CC))
		twcc_recorder_take(
			&slot->publish.recorder, values.transport_seq, packet.ssrc, now_us);
	remb_meter_take(&slot->publish.remb, size, now_us);
	if (i < 0) {
		s->st.dropped_unknown++;
		return;
	}
	struct rtp_receiver *receiver = &slot->publish.tracks[i].receiver;
	bool rtx = receiver->rtx_ssrc && packet.ssrc == receiver->rtx_ssrc;

	if (rtx && rtp_receiver_unwrap_rtx(receiver, &packet, now_us))
		return;
	if (rtp_receiver_take(receiver, &slot->publish.timeline, &packet, rtx, now_us, &receipt) ||
		receipt.padding || packet.payload_size > MEDIA_PAYLOAD_MAX)
		return;
	if (values.present & RTP_EXT_BIT(AUDIO_LEVEL))
		level = values.audio_level | RTP_EXT_AUDIO_LEVEL_KNOWN;
	forward(self, s, slot, i, &packet, &receipt, level);
}

void publish_take_rtcp(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet, int64_t now_us)
{
	struct rtcp_sender_info info;
	struct rtcp_dlrr dlrr;

	(void)self;
	(void)s;
	if (packet->type == RTCP_SR && !rtcp_parse_sender_info(packet, &info)) {
		for (int i = 0; i < slot->plan.media_count; i++)
			if (slot->publish.tracks[i].known)
				rtp_receiver_take_sender_report(&slot->publish.tracks[i].receiver,
					&slot->publish.timeline, &info, now_us);
	} else if (packet->type == RTCP_XR && !rtcp_parse_dlrr(packet, 0, &dlrr)) {
		int64_t unix_us = now_us + slot->publish.timeline.unix_offset_us;
		int64_t rtt_us = rtcp_round_trip_us(
			rtcp_ntp_middle(rtp_ntp_from_unix_us(unix_us)), dlrr.lrr, dlrr.dlrr);

		for (int i = 0; i < slot->plan.media_count; i++)
			rtp_receiver_take_rtt(&slot->publish.tracks[i].receiver, rtt_us);
		if (rtt_us >= 0)
			s->st.rtt_us = rtt_us;
	}
}

/* ---- feedback out -------------------------------------------------------------------------- */

/* A compound begun: a full one opens with a report (RFC 3550 6.1) unless reduced size was agreed on
 * (RFC 5506). */
static void begin(struct session_slot *slot, struct writer *w, uint8_t *bytes)
{
	*w = writer_of(bytes, SESSION_RTCP_SIZE);
	if (!slot->plan.media[0].rtcp_rsize)
		rtcp_write_rr(w, slot->plan.media[0].local_ssrc, NULL, 0);
}

static void send_nacks(
	struct actor *self, struct session *s, struct session_slot *slot, int i, int64_t now_us)
{
	uint8_t bytes[SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct rtp_receiver *receiver = &slot->publish.tracks[i].receiver;
	uint16_t sequences[NACKS_A_POLL];
	size_t count = rtp_receiver_poll_nacks(receiver, now_us, sequences, NACKS_A_POLL);
	struct writer w;

	for (size_t done = 0, packed; done < count; done += packed) {
		begin(slot, &w, bytes);
		packed = rtcp_write_nack(&w, slot->plan.media[i].local_ssrc, receiver->ssrc,
			sequences + done, count - done);
		if (!packed)
			break;
		session_send_rtcp(self, s, slot, &w);
	}
}

static void send_keyframe_request(struct actor *self, struct session *s, struct session_slot *slot)
{
	uint8_t bytes[SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct rtp_keyframe *keyframe = &slot->publish.keyframe;
	struct writer w;

	begin(slot, &w, bytes);
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct sdp_plan_media *media = &slot->plan.media[i];
		uint32_t ssrc = slot->publish.tracks[i].receiver.ssrc;
		struct rtcp_fir_entry fir = {.ssrc = ssrc, .sequence = keyframe->fir_sequence};

		if (media->kind != MEDIA_VIDEO || !slot->publish.tracks[i].known)
			continue;
		if (media->feedback & SDP_PLI)
			rtcp_write_pli(&w, media->local_ssrc, ssrc);
		else if (media->feedback & SDP_FIR)
			rtcp_write_fir(&w, media->local_ssrc, &fir, 1);
	}
	session_send_rtcp(self, s, slot, &w);
}

static bool has_twcc(const struct session_slot *slot)
{
	for (int i = 0; i < slot->plan.media_count; i++)
		if (slot->plan.media[i].feedback & SDP_TRANSPORT_CC)
			return true;
	return false;
}

static void send_bound(
	struct actor *self, struct session *s, struct session_slot *slot, uint64_t bitrate_bps)
{
	uint8_t bytes[SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct rtcp_remb remb = {.bitrate_bps = bitrate_bps};
	struct writer w;

	for (int i = 0; i < slot->plan.media_count; i++)
		if (slot->plan.media[i].kind == MEDIA_VIDEO && slot->publish.tracks[i].known)
			remb.ssrc[remb.ssrc_count++] = slot->publish.tracks[i].receiver.ssrc;
	begin(slot, &w, bytes);
	rtcp_write_remb(&w, slot->plan.media[0].local_ssrc, &remb);
	session_send_rtcp(self, s, slot, &w);
}

/* 0 = none. */
static uint32_t bound_bps(struct session *s, int64_t now_us)
{
	if (s->st.takes_bps && now_us - s->st.takes_us > TAKES_FRESH_US)
		s->st.takes_bps = 0;
	return s->st.takes_bps;
}

static void send_remb(
	struct actor *self, struct session *s, struct session_slot *slot, int64_t now_us)
{
	uint64_t bitrate_bps;
	uint32_t bound = bound_bps(s, now_us);

	if (remb_meter_poll(&slot->publish.remb, now_us, &bitrate_bps))
		send_bound(self, s, slot, bound && bound < bitrate_bps ? bound : bitrate_bps);
}

static bool has_remb(const struct session_slot *slot)
{
	for (int i = 0; i < slot->plan.media_count; i++)
		if (slot->plan.media[i].feedback & SDP_REMB)
			return true;
	return false;
}

/* With transport-wide feedback a sender estimates by itself, and stays below what a REMB says. One that was
 * held back once is told each second: whether it knows of the last one is not known. */
static void send_own_bound(
	struct actor *self, struct session *s, struct session_slot *slot, int64_t now_us)
{
	uint32_t bound = bound_bps(s, now_us);

	if (s->st.held_back && has_twcc(slot) && has_remb(slot))
		send_bound(self, s, slot, bound ? bound : REMB_FREE_BPS);
}

void publish_take_bitrate(
	struct actor *self, struct session *s, struct session_slot *slot, uint32_t bps)
{
	int64_t now_us = actor_now_us(self);
	uint32_t before = bound_bps(s, now_us);

	if (bps && bps < REMB_MIN_BPS)
		bps = REMB_MIN_BPS;
	s->st.held_back += bps && !before;
	s->st.takes_bps = bps;
	s->st.takes_us = now_us;
	if (actor_phase(self) == SESSION_UP && bps && (!before || bps < before))
		send_own_bound(self, s, slot, now_us);
}

static void send_reports(
	struct actor *self, struct session *s, struct session_slot *slot, int64_t now_us)
{
	uint8_t bytes[SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, SESSION_RTCP_SIZE);
	struct rtcp_report_block blocks[2 * SESSION_TRACKS_MAX];
	uint32_t ssrc = slot->plan.media[0].local_ssrc;
	size_t count = 0;

	for (int i = 0; i < slot->plan.media_count; i++) {
		struct rtp_receiver *receiver = &slot->publish.tracks[i].receiver;

		if (!slot->publish.tracks[i].known)
			continue;
		count += rtp_receiver_fill_report(receiver, false, now_us, &blocks[count]);
		if (receiver->rtx_ssrc)
			count += rtp_receiver_fill_report(receiver, true, now_us, &blocks[count]);
	}
	rtcp_write_rr(&w, ssrc, blocks, count);
	rtcp_write_cname(&w, ssrc, slot->cname);
	/* senders that know RFC 3611 answer with what gives the round trip */
	rtcp_write_rrtr(
		&w, ssrc, rtp_ntp_from_unix_us(now_us + slot->publish.timeline.unix_offset_us));
	session_send_rtcp(self, s, slot, &w);
}

void publish_feedback(struct actor *self, struct session *s, struct session_slot *slot)
{
	uint8_t bytes[SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct session_receiving *p = &slot->publish;
	int64_t now_us = actor_now_us(self);
	struct writer w;

	for (int i = 0; i < slot->plan.media_count; i++) {
		if (!p->tracks[i].known)
			continue;
		send_nacks(self, s, slot, i, now_us);
		if (rtp_receiver_take_keyframe_wish(&p->tracks[i].receiver))
			rtp_keyframe_want(&p->keyframe);
	}
	if (rtp_keyframe_poll(&p->keyframe, now_us))
		send_keyframe_request(self, s, slot);
	if (has_twcc(slot)) {
		while (now_us >= twcc_recorder_deadline_us(&p->recorder)) {
			begin(slot, &w, bytes);
			/* the feedback wants the whole room: it goes alone */
			w.at = w.begin;
			if (twcc_recorder_build(
				    &p->recorder, &w, slot->plan.media[0].local_ssrc, now_us))
				break;
			session_send_rtcp(self, s, slot, &w);
		}
	} else {
		send_remb(self, s, slot, now_us);
	}
	if (now_us >= slot->report_us) {
		slot->report_us = now_us + SESSION_REPORT_US;
		send_own_bound(self, s, slot, now_us);
		send_reports(self, s, slot, now_us);
		session_report(self, s, slot);
	}
}

int64_t publish_deadline_us(const struct session_slot *slot)
{
	const struct session_receiving *p = &slot->publish;
	int64_t due_us = slot->report_us;
	int64_t other_us = rtp_keyframe_deadline_us(&p->keyframe);

	if (other_us < due_us)
		due_us = other_us;
	other_us = has_twcc(slot) ? twcc_recorder_deadline_us(&p->recorder)
				  : remb_meter_deadline_us(&p->remb);
	if (other_us < due_us)
		due_us = other_us;
	for (int i = 0; i < slot->plan.media_count; i++) {
		other_us = rtp_receiver_deadline_us(&p->tracks[i].receiver);
		if (p->tracks[i].known && other_us < due_us)
			due_us = other_us;
	}
	return due_us;
}

void publish_report(struct session *s, const struct session_slot *slot)
{
	uint64_t lost = 0, expected = 0;

	for (int i = 0; i < s->st.tracks_count && i < SESSION_TRACKS_MAX; i++) {
		const struct session_in *in = &slot->publish.tracks[i];
		const struct rtp_receiver *r = &in->receiver;
		struct session_track *track = &s->st.tracks[i];
		uint64_t due = r->stats.started ? r->stats.newest - r->stats.base + 1 : 0;

		track->packets = in->forwarded;
		track->bytes = in->forwarded_bytes;
		track->lost = (int64_t)(due - r->stats.received);
		track->jitter_us =
			(uint32_t)rtp_us_from_ticks(r->stats.jitter_q4 / 16, r->clock.clock_rate);
		track->nacks = r->nacks_sent;
		track->resent = r->recovered;
		track->given_up = r->nacks_given_up;
		track->late = r->late;
		track->malformed = in->malformed;
		track->duplicates = r->duplicates;
		expected += due;
		lost += track->lost > 0 ? (uint64_t)track->lost : 0;
	}
	s->st.loss_ppm = expected ? (uint32_t)(lost * 1000000 / expected) : 0;
	s->st.keyframe_requests = slot->publish.keyframe.requests;
}

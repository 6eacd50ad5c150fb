/* SPDX-License-Identifier: Apache-2.0
 *
 * A viewer's packets on their last steps: header written, sealed, a burst in one send call, charged
 * to the pacer; and those that the viewer asks for again.
 *
 * The bytes of a burst lie in the worker's send area until the call has returned: a successor sends
 * exactly them.
 */
#include "actors/webrtc/session.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum {
	SLOW_US = 500000,
	SLOW_STRIKES_MAX = 4, /* full sends in a row: nothing more before a keyframe */
	TCP_FULL_PERMILLE = 500,
	NACKS_A_PACKET = 256,
};

_Static_assert((int)ARENA_SEND_PACKETS == (int)NET_SEND_PACKETS_MAX, "one send call");

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

/* ---- a burst ------------------------------------------------------------------------------- */

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
			play_ask_keyframe(self, s, &p->tracks[i]);
		}
	}
}

void play_begin_burst(struct play_burst *burst, uint64_t rate_bps)
{
	burst->rate_bps = rate_bps;
	burst->bytes_max = pacer_span_bytes(rate_bps);
	burst->bytes = 0;
	burst->count = 0;
}

void play_send_burst(
	struct actor *self, struct session *s, struct session_slot *slot, struct play_burst *burst)
{
	struct arena_send *area = arena_send_area(actor_arena(self));
	const struct net_addr *to = session_path(slot);
	struct iovec parts[ARENA_SEND_PACKETS];
	uint32_t fill_permille;
	size_t count = 0, sent;

	if (!burst->count)
		return;
	seal_rtp_batch(&s->seal, burst->packets, burst->count);
	for (size_t i = 0; i < burst->count; i++) {
		area->size[i] = burst->packets[i].size;
		if (area->size[i])
			parts[count++] = (struct iovec){area->bytes[i], area->size[i]};
	}
	area->count = (uint32_t)burst->count;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	area->owner = actor_addr(self).id;
	sent = to ? session_send(self, s, to, parts, count, &fill_permille) : count;
	area->owner = 0;
	if (to)
		s->sent_us = actor_now_us(self);
	if (sent < count) {
		s->st.dropped_socket_full += count - sent;
		slow_down(self, s, slot);
	} else if (to && fill_permille > TCP_FULL_PERMILLE) {
		slow_down(self, s, slot);
	} else {
		slot->play.slow_strikes = 0;
	}
	if (!s->st.started_us) {
		s->st.started_us = (uint64_t)(actor_now_us(self) - s->answered_us);
		process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_FIRST_WEBRTC,
			(int64_t)s->st.started_us);
	}
	pacer_take(&slot->play.pacer, burst->bytes, burst->rate_bps, actor_now_us(self));
	burst->bytes = 0;
	burst->count = 0;
}

void play_make_room(struct actor *self, struct session *s, struct session_slot *slot,
	struct play_burst *burst, size_t size)
{
	if (burst->count == ARENA_SEND_PACKETS ||
		(burst->count && burst->bytes + size > burst->bytes_max))
		play_send_burst(self, s, slot, burst);
}

void play_add(struct actor *self, struct session *s, struct session_slot *slot,
	struct play_burst *burst, int i, const struct rtp_slot *rtp, const struct packet *packet)
{
	struct arena_send *area = arena_send_area(actor_arena(self));
	const struct rtp_ext_layout *layout = &s->layouts[i];
	int64_t now_us = actor_now_us(self);
	size_t size = RTP_HEADER_SIZE + layout->size + packet->header.size + SEAL_RTP_OVERHEAD_MAX;
	uint16_t number = 0;
	uint8_t *out;

	play_make_room(self, s, slot, burst, packet->header.size);
	out = area->bytes[burst->count];
	if (layout->transport_seq_at)
		number = twcc_ledger_commit(&slot->play.ledger, size, now_us);
	size = rtp_slot_write(rtp, layout, out, rtp_ext_abs_send_time(now_us), number,
		packet->header.audio_level);
	burst->packets[burst->count++] = (struct seal_packet){
		.out = out,
		.payload = packet->payload,
		.index = rtp->index,
		.out_capacity = ARENA_SEND_PACKET_SIZE,
		.header_size = (uint16_t)(size - (rtp->rtx ? 2 : 0)),
		.prefix_size = rtp->rtx ? 2 : 0,
		.payload_size = packet->header.size,
	};
	burst->bytes += packet->header.size;
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
	session_send(self, s, to, parts, count, NULL);
}

/* ---- asked for again ----------------------------------------------------------------------- */

static void resend(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log, struct play_burst *burst, int i, uint16_t sequence)
{
	struct rtp_sender *sender = &slot->play.tracks[i].sender;
	const struct packet *packet;
	struct rtp_resend again;
	struct rtp_slot rtp;

	if (rtp_sender_take_nack(sender, sequence, actor_now_us(self), &again))
		return;
	packet = media_log_packet(actor_arena(self), log, again.position);
	if (!packet || (uint32_t)packet->header.track_seq != again.track_seq)
		return;
	if (!sender->rtx_ssrc && resends_in_place(&slot->plan.media[i])) {
		bool video = sender->kind == MEDIA_VIDEO;

		rtp = (struct rtp_slot){
			.index = again.index,
			.ssrc = sender->ssrc,
			.timestamp = again.timestamp,
			.payload_type = sender->payload_type,
			.marker =
				packet->header.flags & (video ? MEDIA_FRAME_END : MEDIA_TALKSPURT),
		};
	} else if (rtp_sender_map_rtx(sender, &again, &packet->header, &rtp)) {
		return;
	}
	play_add(self, s, slot, burst, i, &rtp, packet);
}

void play_take_nack(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet)
{
	const struct media_log *log = play_log(self, s);
	struct rtcp_feedback feedback;
	uint16_t sequences[NACKS_A_PACKET];
	struct play_burst burst;
	size_t count;

	if (!log || rtcp_parse_feedback(packet, &feedback) ||
		rtcp_parse_nack(packet, sequences, NACKS_A_PACKET, &count))
		return;
	play_begin_burst(&burst, pacer_rate(media_log_rate_bps(log), 0, false));
	for (int i = 0; i < slot->plan.media_count; i++)
		for (size_t j = 0; slot->play.tracks[i].sender.ssrc == feedback.media && j < count;
			j++)
			resend(self, s, slot, log, &burst, i, sequences[j]);
	play_send_burst(self, s, slot, &burst);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A client that publishes: frames cut, numbered, sealed and sent in batches; what the peer asks for
 * again comes from a short memory of payloads.
 */
#include "actors/webrtc/rtc_client.h"

enum {
	RTCP_SIZE = 1200,
	PACKET_SIZE = RTP_SLOT_SIZE_MAX + MEDIA_PAYLOAD_MAX + SEAL_RTP_OVERHEAD_MAX,
	NACKS_MAX = 128,
};

/* Packets sealed and not sent yet. */
struct batch {
	struct rtc_client *client;
	size_t count;
	struct iovec parts[RTC_CLIENT_BATCH];
	uint8_t bytes[RTC_CLIENT_BATCH][PACKET_SIZE];
};

enum err rtc_client_begin_sending(struct rtc_client *c)
{
	enum err err = ERR_OK;

	twcc_ledger_init(&c->ledger);
	for (int i = 0; i < c->answer.plan.media_count && !err; i++) {
		const struct sdp_plan_media *media = &c->answer.plan.media[i];
		struct rtp_sender_options options = {
			.ssrc = media->local_ssrc,
			.rtx_ssrc = media->local_rtx_ssrc,
			.payload_type = media->payload_type,
			.rtx_payload_type = media->rtx_payload_type,
			.kind = media->kind,
			.clock_rate = media->clock_rate,
			.history_count = RTC_CLIENT_HISTORY,
		};

		c->ops->random(c->context, &options.random, sizeof(options.random));
		rtp_sender_init(&c->out[i].sender, &options);
		err = rtp_ext_layout_init(&c->out[i].layout, &c->ext_maps[i],
			&(struct rtp_ext_layout_options){.chosen = RTP_EXT_BIT(MID) |
								   RTP_EXT_BIT(ABS_SEND_TIME) |
								   RTP_EXT_BIT(TRANSPORT_CC),
				.mid = media->mid});
	}
	return err;
}

static void flush(struct batch *b)
{
	const struct net_addr *to = ice_client_selected(&b->client->ice);

	if (b->count && to)
		b->client->ops->send(b->client->context, to, b->parts, b->count);
	b->count = 0;
}

static void add(struct batch *b, int i, const struct rtp_slot *slot, const uint8_t *payload,
	uint16_t size, int64_t now_us)
{
	struct rtc_client *c = b->client;
	const struct rtp_ext_layout *layout = &c->out[i].layout;
	uint8_t *at = b->bytes[b->count];
	uint16_t number = 0;
	size_t head;

	if (layout->transport_seq_at)
		number = twcc_ledger_commit(&c->ledger, size + 64u, now_us);
	head = rtp_slot_write(slot, layout, at, rtp_ext_abs_send_time(now_us), number, 0);
	struct seal_packet packet = {
		.out = at,
		.payload = payload,
		.index = slot->index,
		.out_capacity = PACKET_SIZE,
		.header_size = (uint16_t)(head - (slot->rtx ? 2 : 0)),
		.prefix_size = slot->rtx ? 2 : 0,
		.payload_size = size,
	};

	if (seal_rtp_batch(&c->seal, &packet, 1))
		return;
	b->parts[b->count++] = (struct iovec){at, packet.size};
	if (b->count == RTC_CLIENT_BATCH)
		flush(b);
}

void rtc_client_send(struct rtc_client *c, enum media_kind kind, const uint8_t *frame, size_t size,
	uint64_t rtp_time, int64_t now_us)
{
	int i = rtc_client_media_index(c, kind);
	struct rtc_client_out *out = i < 0 ? NULL : &c->out[i];
	struct payload_packet piece;
	struct payload_cut cut;
	struct batch batch = {.client = c};

	if (!out || c->phase != RTC_CLIENT_UP ||
		payload_cut_begin(
			&cut, &out->packetiser, frame, size, rtp_time, MEDIA_PAYLOAD_GOAL))
		return;
	out->frame++;
	for (;;) {
		struct rtc_client_kept *kept = &c->kept[(c->position + 1) % RTC_CLIENT_HISTORY];
		struct rtp_slot slot;

		if (!payload_cut_next(&cut, kept->payload, sizeof(kept->payload), &piece))
			break;
		kept->header = (struct media_header){
			.position = ++c->position,
			.capture_us = now_us + c->unix_offset_us,
			.track_seq = ++out->track_seq,
			.rtp_time = rtp_time,
			.decode_time = rtp_time,
			.frame = out->frame,
			.size = piece.size,
			.track = (uint8_t)i,
			.flags = piece.flags,
			.priority = piece.priority,
		};
		if (!rtp_sender_map(&out->sender, &kept->header, &slot))
			add(&batch, i, &slot, kept->payload, piece.size, now_us);
	}
	flush(&batch);
}

bool rtc_client_take_keyframe_wish(struct rtc_client *c)
{
	bool asked = c->keyframe_asked;

	c->keyframe_asked = false;
	return asked;
}

/* ---- what the peer says -------------------------------------------------------------------- */

static void send_again(
	struct rtc_client *c, int i, const struct rtcp_packet *packet, int64_t now_us)
{
	struct rtc_client_out *out = &c->out[i];
	uint16_t sequences[NACKS_MAX];
	struct batch batch = {.client = c};
	size_t count;

	if (rtcp_parse_nack(packet, sequences, NACKS_MAX, &count))
		return;
	for (size_t n = 0; n < count; n++) {
		const struct rtc_client_kept *kept;
		struct rtp_resend resend;
		struct rtp_slot slot;

		if (rtp_sender_take_nack(&out->sender, sequences[n], now_us, &resend))
			continue;
		kept = &c->kept[resend.position % RTC_CLIENT_HISTORY];
		if (kept->header.position != resend.position ||
			rtp_sender_map_rtx(&out->sender, &resend, &kept->header, &slot))
			continue;
		add(&batch, i, &slot, kept->payload, kept->header.size, now_us);
	}
	flush(&batch);
}

static void take_reports(struct rtc_client *c, const struct rtcp_packet *packet, int64_t now_us)
{
	struct rtcp_report_block block;

	for (unsigned n = 0; !rtcp_parse_report_block(packet, n, &block); n++)
		for (int i = 0; i < c->answer.plan.media_count; i++)
			rtp_sender_take_report(
				&c->out[i].sender, &block, now_us + c->unix_offset_us);
}

void rtc_client_take_feedback(
	struct rtc_client *c, const struct rtcp_packet *packet, int64_t now_us)
{
	struct rtcp_feedback feedback;

	if (packet->type == RTCP_RR || packet->type == RTCP_SR) {
		take_reports(c, packet, now_us);
	} else if (packet->type == RTCP_PSFB &&
		   (packet->count == RTCP_PSFB_PLI || packet->count == RTCP_PSFB_FIR)) {
		c->keyframe_asked = true;
	} else if (packet->type == RTCP_RTPFB && packet->count == RTCP_RTPFB_TWCC) {
		twcc_ledger_take_feedback(&c->ledger, packet, now_us);
	} else if (packet->type == RTCP_RTPFB && packet->count == RTCP_RTPFB_NACK &&
		   !rtcp_parse_feedback(packet, &feedback)) {
		for (int i = 0; i < c->answer.plan.media_count; i++)
			if (c->out[i].sender.ssrc == feedback.media)
				send_again(c, i, packet, now_us);
	}
}

void rtc_client_sender_report(struct rtc_client *c, int64_t now_us)
{
	uint8_t bytes[RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];

	for (int i = 0; i < c->answer.plan.media_count; i++) {
		struct writer w = writer_of(bytes, RTCP_SIZE);
		struct rtcp_sender_info info;

		if (!rtp_sender_fill_report(
			    &c->out[i].sender, false, now_us + c->unix_offset_us, &info))
			continue;
		rtcp_write_sr(&w, &info, NULL, 0);
		rtcp_write_cname(&w, info.ssrc, c->cname);
		rtc_client_send_rtcp(c, &w);
	}
}

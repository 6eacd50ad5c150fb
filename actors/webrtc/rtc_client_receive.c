/* SPDX-License-Identifier: Apache-2.0
 *
 * A client that watches: packets in, feedback out.
 */
#include "actors/webrtc/rtc_client.h"

enum { RTCP_SIZE = 1200, NACKS_A_POLL = 128 };

static void start_track(struct rtc_client *c, int i, uint8_t codec, uint8_t payload_type,
	uint8_t rtx_payload_type, uint32_t ssrc, uint32_t rtx_ssrc)
{
	const struct sdp_plan_media *media = &c->answer.plan.media[i];
	struct rtc_client_in *in = &c->in[i];

	rtp_receiver_init(&in->receiver, &(struct rtp_receiver_options){
						 .ssrc = ssrc,
						 .rtx_ssrc = rtx_ssrc,
						 .payload_type = payload_type,
						 .rtx_payload_type = rtx_payload_type,
						 .clock_rate = media->clock_rate,
						 .nack = media->feedback & SDP_NACK,
						 .video = media->kind == MEDIA_VIDEO,
					 });
	payload_inspector_init(&in->inspector, (enum media_codec)codec);
	in->codec = codec;
	in->key = (struct rtc_client_key){0};
	in->known = true;
}

void rtc_client_begin_receiving(struct rtc_client *c, int64_t now_us)
{
	rtp_timeline_init(&c->timeline, c->unix_offset_us);
	rtp_keyframe_init(&c->keyframe, RTP_KEYFRAME_INTERVAL_US);
	twcc_recorder_init(&c->recorder);
	(void)now_us;
}

static const struct sdp_client_format *find_format(const struct rtc_client *c, uint8_t payload_type)
{
	for (int i = 0; i < c->answer.format_count; i++)
		if (c->answer.formats[i].payload_type == payload_type)
			return &c->answer.formats[i];
	return NULL;
}

static uint8_t rtx_of(const struct rtc_client *c, uint8_t payload_type)
{
	for (int i = 0; i < c->answer.format_count; i++)
		if (c->answer.formats[i].repairs == payload_type)
			return c->answer.formats[i].payload_type;
	return 0;
}

/* The track of a packet, which its payload type names; an SSRC or codec that is new begins anew. */
static int find_track(struct rtc_client *c, const struct rtp_packet *packet, bool *rtx)
{
	const struct sdp_client_format *format = find_format(c, packet->payload_type);
	struct rtc_client_in *in;

	if (!format || format->media >= RTC_CLIENT_TRACKS)
		return -1;
	in = &c->in[format->media];
	*rtx = format->repairs != 0;
	if (*rtx) {
		if (!in->known || in->receiver.payload_type != format->repairs)
			return -1;
		in->receiver.rtx_ssrc = packet->ssrc;
	} else if (!in->known || in->receiver.ssrc != packet->ssrc ||
		   in->receiver.payload_type != packet->payload_type) {
		start_track(c, format->media, format->codec, packet->payload_type,
			rtx_of(c, packet->payload_type), packet->ssrc, 0);
	}
	return format->media;
}

/* True when this packet makes a keyframe whole. */
static bool count_keyframe(
	struct rtc_client_key *key, const struct payload_info *info, uint64_t seq)
{
	if (!(info->flags & MEDIA_KEYFRAME))
		return false;
	if (key->frame != info->frame)
		*key = (struct rtc_client_key){.frame = info->frame, .first = seq};
	if (seq < key->first)
		key->first = seq;
	if (info->flags & MEDIA_FRAME_END)
		key->last = seq;
	key->count++;
	return key->last && key->count == key->last - key->first + 1;
}

static void give(struct rtc_client *c, int i, const struct rtp_packet *packet,
	const struct rtp_receipt *receipt, bool rtx, int64_t now_us)
{
	struct rtc_client_in *in = &c->in[i];
	struct rtc_client_media media = {
		.kind = c->answer.plan.media[i].kind,
		.codec = in->codec,
		.recovered = rtx,
		.timestamp = packet->timestamp,
		.packet = packet,
	};
	struct payload_info info;

	if (!payload_inspect(&in->inspector,
		    &(struct payload_arrival){.payload = packet->payload,
			    .size = packet->payload_size,
			    .track_seq = receipt->track_seq,
			    .rtp_time = receipt->rtp_time,
			    .marker = packet->marker},
		    &info) &&
		media.kind == MEDIA_VIDEO) {
		if (info.flags & MEDIA_KEYFRAME && info.flags & MEDIA_FRAME_START) {
			rtp_keyframe_arrived(&c->keyframe);
			c->keyframe_seen = true;
		}
		media.keyframe = count_keyframe(&in->key, &info, receipt->track_seq);
	}
	c->ops->media(c->context, &media, now_us);
}

void rtc_client_take_rtp(struct rtc_client *c, uint8_t *bytes, size_t size, int64_t now_us)
{
	struct rtp_packet packet;
	struct rtp_ext_values values;
	struct rtp_receipt receipt;
	bool rtx = false;
	int i;

	if (rtp_parse(&packet, bytes, size))
		return;
	i = find_track(c, &packet, &rtx);
	rtp_ext_parse(&values, &c->ext_maps[i < 0 ? 0 : i], &packet);
	if (values.present & RTP_EXT_BIT(TRANSPORT_CC))
		twcc_recorder_take(&c->recorder, values.transport_seq, packet.ssrc, now_us);
	if (i < 0) {
		c->unknown++;
		return;
	}
	struct rtp_receiver *receiver = &c->in[i].receiver;

	if (rtx && rtp_receiver_unwrap_rtx(receiver, &packet, now_us))
		return;
	if (rtp_receiver_take(receiver, &c->timeline, &packet, rtx, now_us, &receipt) ||
		receipt.padding)
		return;
	give(c, i, &packet, &receipt, rtx, now_us);
}

void rtc_client_take_sender_report(
	struct rtc_client *c, const struct rtcp_packet *packet, int64_t now_us)
{
	struct rtcp_sender_info info;

	if (rtcp_parse_sender_info(packet, &info))
		return;
	for (int i = 0; i < RTC_CLIENT_TRACKS; i++)
		if (c->in[i].known)
			rtp_receiver_take_sender_report(
				&c->in[i].receiver, &c->timeline, &info, now_us);
}

/* ---- feedback ------------------------------------------------------------------------------ */

static void begin(const struct rtc_client *c, struct writer *w, uint8_t *bytes)
{
	*w = writer_of(bytes, RTCP_SIZE);
	if (!c->answer.plan.media[0].rtcp_rsize)
		rtcp_write_rr(w, c->offered.ssrc[0], NULL, 0);
}

static void send_nacks(struct rtc_client *c, int i, int64_t now_us)
{
	uint8_t bytes[RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct rtp_receiver *receiver = &c->in[i].receiver;
	uint16_t sequences[NACKS_A_POLL];
	size_t count = rtp_receiver_poll_nacks(receiver, now_us, sequences, NACKS_A_POLL);
	struct writer w;

	for (size_t done = 0, packed; done < count; done += packed) {
		begin(c, &w, bytes);
		packed = rtcp_write_nack(
			&w, c->offered.ssrc[0], receiver->ssrc, sequences + done, count - done);
		if (!packed)
			break;
		rtc_client_send_rtcp(c, &w);
	}
}

static void send_keyframe_request(struct rtc_client *c)
{
	uint8_t bytes[RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	int i = rtc_client_media_index(c, MEDIA_VIDEO);
	uint32_t ssrc = i < 0		 ? 0
			: c->in[i].known ? c->in[i].receiver.ssrc
					 : c->answer.plan.media[i].remote_ssrc;
	struct writer w;

	if (!ssrc)
		return;
	begin(c, &w, bytes);
	if (c->answer.plan.media[i].feedback & SDP_PLI)
		rtcp_write_pli(&w, c->offered.ssrc[0], ssrc);
	else
		rtcp_write_fir(&w, c->offered.ssrc[0],
			&(struct rtcp_fir_entry){ssrc, c->keyframe.fir_sequence}, 1);
	rtc_client_send_rtcp(c, &w);
}

static void send_reports(struct rtc_client *c, int64_t now_us)
{
	uint8_t bytes[RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, RTCP_SIZE);
	struct rtcp_report_block blocks[2 * RTC_CLIENT_TRACKS];
	size_t count = 0;

	for (int i = 0; i < RTC_CLIENT_TRACKS; i++) {
		if (!c->in[i].known)
			continue;
		count +=
			rtp_receiver_fill_report(&c->in[i].receiver, false, now_us, &blocks[count]);
		if (c->in[i].receiver.rtx_ssrc)
			count += rtp_receiver_fill_report(
				&c->in[i].receiver, true, now_us, &blocks[count]);
	}
	rtcp_write_rr(&w, c->offered.ssrc[0], blocks, count);
	rtcp_write_cname(&w, c->offered.ssrc[0], c->cname);
	rtc_client_send_rtcp(c, &w);
}

static bool has_twcc(const struct rtc_client *c)
{
	for (int i = 0; i < c->answer.plan.media_count; i++)
		if (c->answer.plan.media[i].feedback & SDP_TRANSPORT_CC)
			return true;
	return false;
}

static void send_arrivals(struct rtc_client *c, int64_t now_us)
{
	uint8_t bytes[RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w;

	while (now_us >= twcc_recorder_deadline_us(&c->recorder)) {
		w = writer_of(bytes, RTCP_SIZE);
		if (twcc_recorder_build(&c->recorder, &w, c->offered.ssrc[0], now_us))
			break;
		rtc_client_send_rtcp(c, &w);
	}
}

void rtc_client_receiver_feedback(struct rtc_client *c, bool report, int64_t now_us)
{
	for (int i = 0; i < RTC_CLIENT_TRACKS; i++) {
		if (!c->in[i].known)
			continue;
		send_nacks(c, i, now_us);
		if (rtp_receiver_take_keyframe_wish(&c->in[i].receiver))
			rtp_keyframe_want(&c->keyframe);
	}
	if (!c->keyframe_seen && now_us >= c->up_us + RTC_CLIENT_PATIENCE_US)
		rtp_keyframe_want(&c->keyframe);
	if (rtp_keyframe_poll(&c->keyframe, now_us))
		send_keyframe_request(c);
	if (has_twcc(c))
		send_arrivals(c, now_us);
	if (report)
		send_reports(c, now_us);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t rtc_client_receiver_deadline_us(const struct rtc_client *c)
{
	int64_t due_us = rtp_keyframe_deadline_us(&c->keyframe);

	if (!c->keyframe_seen && !c->keyframe.wanted)
		due_us = earlier(due_us, c->up_us + RTC_CLIENT_PATIENCE_US);
	if (has_twcc(c))
		due_us = earlier(due_us, twcc_recorder_deadline_us(&c->recorder));
	for (int i = 0; i < RTC_CLIENT_TRACKS; i++)
		if (c->in[i].known)
			due_us = earlier(due_us, rtp_receiver_deadline_us(&c->in[i].receiver));
	return due_us;
}

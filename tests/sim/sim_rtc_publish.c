/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: a WebRTC publisher. VP8 or H.264, and Opus, of made-up frames, every packet marked; answers NACKs by
 * RTX or, without it, with the same packet again; a keyframe when it is asked for one.
 */
#include "tests/sim/sim_rtc.h"

#include "tests/sim/sim_h264.h"
#include "tests/webrtc_client.h"

enum {
	VIDEO_MS = SIM_RTC_FRAME_MS,
	AUDIO_MS = SIM_RTC_FRAME_MS,
	VIDEO_TICKS = VIDEO_MS * 90,
	AUDIO_TICKS = AUDIO_MS * 48,
	GOP_FRAMES = 75, /* longest without being asked */
	KEY_PARTS_MAX = 4,
	DELTA_PARTS_MAX = 2,
	PART_MAX = 400, /* bytes */
	HEAD_MAX = SIM_H264_HEAD_MAX,
	PACKET_MAX = 1200,
	INDEX_MAX = 30000, /* the first one: below 2^15, so that a lost beginning does no harm … */
	/* … or numbers soon begin again (RFC 3711 3.3.1), but not while the first may be lost */
	WRAPS_MIN = 150,
	WRAPS_MAX = 300,
	NACKS_MAX = 64,
	CATCH_UP_MS = 400, /* after a silence the frames of before are not made */
};

static const char cname[] = "c";

/* ---- one packet ---------------------------------------------------------------------------------- */

/* How a packet of VP8 begins, its descriptor included. */
static size_t begin_vp8(uint8_t *out, const struct sim_rtc_sent *sent)
{
	static const uint8_t key[] = {0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 176, 0, 144, 0};
	static const uint8_t delta[] = {0x10, 0x11};
	size_t size = sent->part ? 1 : sent->key ? sizeof(key) : sizeof(delta);

	out[0] = 0;
	if (!sent->part)
		memcpy(out, sent->key ? key : delta, size);
	return size;
}

static size_t write_payload(const struct sim_rtc *s, int track, const struct sim_rtc_sent *sent,
	uint8_t payload[PACKET_MAX])
{
	struct sim_mark mark = {s->publish.number, sent->frame,
		(uint32_t)sent->key << 16 | (uint32_t)sent->part << 8 | sent->parts};
	size_t head = 1;

	memset(payload, 0x55, sent->size);
	if (track == SIM_RTC_AUDIO)
		payload[0] = 0xfd; /* two frames of 20 ms, stereo */
	else if (s->h264)
		head = sim_h264_begin_payload(payload, sent->size, sent->key, sent->part);
	else
		head = begin_vp8(payload, sent);
	sim_mark_write(&mark, payload + head);
	return sent->size;
}

/* `rtx_index` not 0: wrapped into a retransmission of that index. */
static void send_packet(struct sim *sim, struct sim_edge *edge, int track,
	const struct sim_rtc_sent *sent, uint64_t rtx_index)
{
	struct sim_rtc *s = edge->rtc;
	struct sim_rtc_publishing *p = &s->publish;
	bool video = track == SIM_RTC_VIDEO;
	uint8_t out[PACKET_MAX + 200], payload[PACKET_MAX];
	struct rtp_slot slot = {
		.index = rtx_index ? rtx_index : sent->index,
		.ssrc = rtx_index ? p->rtx_ssrc : p->tracks[track].ssrc,
		.timestamp = sent->timestamp,
		.payload_type = rtx_index ? WEBRTC_CLIENT_VIDEO_RTX
				: video	  ? WEBRTC_CLIENT_VIDEO
					  : WEBRTC_CLIENT_AUDIO,
		.marker = video && sent->part + 1 == sent->parts,
		.rtx = rtx_index != 0,
		.osn = (uint16_t)sent->index,
	};
	size_t head =
		rtp_slot_write(&slot, &p->layout, out, sent->send_time, sent->transport_seq, 0);
	struct seal_packet packet = {
		.out = out,
		.payload = payload,
		.index = slot.index,
		.out_capacity = sizeof(out),
		.header_size = (uint16_t)(head - (slot.rtx ? 2 : 0)),
		.prefix_size = slot.rtx ? 2 : 0,
		.payload_size = (uint16_t)write_payload(s, track, sent, payload),
	};

	MUST(seal_rtp_batch(&s->seal, &packet, 1) == ERR_OK);
	sim_rtc_send(sim, edge, out, packet.size);
}

static void send_new(struct sim *sim, struct sim_edge *edge, int track, struct sim_rtc_sent *sent)
{
	struct sim_rtc_publishing *p = &edge->rtc->publish;
	struct sim_rtc_out *out = &p->tracks[track];

	sent->index = out->next_index++;
	sent->send_time = rtp_ext_abs_send_time(sim->now_us);
	sent->transport_seq = p->transport_seq++;
	out->sent[sent->index % SIM_RTC_HISTORY] = *sent;
	out->packets++;
	sim->edges->rtp_sent++;
	send_packet(sim, edge, track, sent, 0);
}

/* ---- frames -------------------------------------------------------------------------------------- */

static void send_video(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc_publishing *p = &edge->rtc->publish;
	struct sim_rtc_out *out = &p->tracks[SIM_RTC_VIDEO];
	bool key = p->wants_key || out->frames % GOP_FRAMES == 0;
	uint8_t parts = (uint8_t)rng_between(&sim->rng, 1, key ? KEY_PARTS_MAX : DELTA_PARTS_MAX);

	p->wants_key = false;
	for (uint8_t part = 0; part < parts; part++)
		send_new(sim, edge, SIM_RTC_VIDEO,
			&(struct sim_rtc_sent){
				.timestamp = out->first_timestamp + out->frames * VIDEO_TICKS,
				.frame = out->frames,
				.size = (uint16_t)rng_between(
					&sim->rng, HEAD_MAX + SIM_STAMP_SIZE, PART_MAX),
				.part = part,
				.parts = parts,
				.key = key,
			});
}

static void send_audio(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc_out *out = &edge->rtc->publish.tracks[SIM_RTC_AUDIO];

	send_new(sim, edge, SIM_RTC_AUDIO,
		&(struct sim_rtc_sent){
			.timestamp = out->first_timestamp + out->frames * AUDIO_TICKS,
			.frame = out->frames,
			.size = 1 + SIM_STAMP_SIZE + 2 * (uint16_t)rng_below(&sim->rng, 40),
			.parts = 1,
		});
}

static void send_report(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;
	uint8_t bytes[SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, SIM_RTC_RTCP_SIZE);
	int64_t since_us = sim->now_us - s->publish.began_us;

	s->report_us = sim->now_us + SIM_RTC_REPORT_MS * SIM_MS;
	for (int i = 0; i < SIM_RTC_TRACKS; i++) {
		const struct sim_rtc_out *out = &s->publish.tracks[i];
		struct rtcp_sender_info info = {
			.ssrc = out->ssrc,
			.ntp = rtp_ntp_from_unix_us(1700000000000000 + sim->now_us),
			.rtp_timestamp =
				out->first_timestamp + (uint32_t)rtp_ticks_from_us(since_us,
							       i == SIM_RTC_VIDEO ? 90000 : 48000),
			.packets = out->packets,
		};

		MUST(!rtcp_write_sr(&w, &info, NULL, 0) && !rtcp_write_cname(&w, info.ssrc, cname));
	}
	sim_rtc_send_rtcp(sim, edge, &w);
}

static uint64_t first_index(struct sim *sim)
{
	if (rng_below(&sim->rng, 2))
		return (uint64_t)rng_between(&sim->rng, 1, INDEX_MAX);
	return (uint64_t)(UINT16_MAX - rng_between(&sim->rng, WRAPS_MIN, WRAPS_MAX));
}

void sim_rtc_publish_begin(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;
	struct sim_rtc_publishing *p = &s->publish;
	struct rtp_ext_map map = {0};
	struct rtp_ext_layout_options options = {
		.chosen = RTP_EXT_BIT(ABS_SEND_TIME) | RTP_EXT_BIT(TRANSPORT_CC), .mid = ""};

	if (s->extensions) {
		rtp_ext_map_set(&map, RTP_EXT_ABS_SEND_TIME, WEBRTC_CLIENT_EXT_SEND_TIME);
		rtp_ext_map_set(&map, RTP_EXT_TRANSPORT_CC, WEBRTC_CLIENT_EXT_TRANSPORT);
	}
	MUST(rtp_ext_layout_init(&p->layout, &map, &options) == ERR_OK);
	p->number = (uint32_t)++sim->publishers;
	p->began_us = sim->now_us;
	p->transport_seq = (uint16_t)rng_u64(&sim->rng);
	p->rtx_index = (uint64_t)rng_between(&sim->rng, 1, INDEX_MAX); /* (may be heard of late) */
	for (int i = 0; i < SIM_RTC_TRACKS; i++) {
		p->tracks[i].next_index = first_index(sim);
		p->tracks[i].first_timestamp = (uint32_t)rng_u64(&sim->rng);
	}
	sim_edge_number(sim, edge, p->number);
}

/* A frame counts although it is not sent: timestamps go by frames. */
static bool is_due(struct sim *sim, struct sim_rtc_publishing *p, int track, uint32_t every_ms)
{
	int64_t due_us = p->began_us + (int64_t)p->tracks[track].frames * every_ms * SIM_MS;

	if (due_us > sim->now_us)
		return false;
	if (sim->now_us - due_us > CATCH_UP_MS * SIM_MS) {
		uint32_t frames = (uint32_t)((sim->now_us - p->began_us) / (every_ms * SIM_MS));

		p->wants_key = p->wants_key || track == SIM_RTC_VIDEO;
		p->tracks[track].frames = frames;
	}
	return true;
}

void sim_rtc_publish_tick(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;

	for (; is_due(sim, &s->publish, SIM_RTC_VIDEO, VIDEO_MS);
		s->publish.tracks[SIM_RTC_VIDEO].frames++)
		send_video(sim, edge);
	for (; is_due(sim, &s->publish, SIM_RTC_AUDIO, AUDIO_MS);
		s->publish.tracks[SIM_RTC_AUDIO].frames++)
		send_audio(sim, edge);
	if (sim->now_us >= s->report_us)
		send_report(sim, edge);
}

/* ---- feedback ------------------------------------------------------------------------------------ */

static void send_again(struct sim *sim, struct sim_edge *edge, int track, uint16_t sequence)
{
	struct sim_rtc_publishing *p = &edge->rtc->publish;
	const struct sim_rtc_out *out = &p->tracks[track];
	uint64_t newest = out->next_index - 1;
	uint64_t index = newest - (uint16_t)((uint16_t)newest - sequence);
	const struct sim_rtc_sent *sent = &out->sent[index % SIM_RTC_HISTORY];
	bool rtx = edge->rtc->rtx && track == SIM_RTC_VIDEO;

	if (sent->index != index)
		return;
	sim->edges->rtp_again++;
	send_packet(sim, edge, track, sent, rtx ? p->rtx_index++ : 0);
}

static void take_nack(struct sim *sim, struct sim_edge *edge, const struct rtcp_packet *packet)
{
	struct rtcp_feedback feedback;
	uint16_t sequences[NACKS_MAX];
	size_t count;
	int track = SIM_RTC_TRACKS;

	SIM_CHECK(sim,
		!rtcp_parse_feedback(packet, &feedback) &&
			!rtcp_parse_nack(packet, sequences, NACKS_MAX, &count),
		"a NACK that cannot be read");
	if (sim->failed)
		return;
	for (int i = 0; i < SIM_RTC_TRACKS; i++)
		if (edge->rtc->publish.tracks[i].ssrc == feedback.media)
			track = i;
	SIM_CHECK(sim, track < SIM_RTC_TRACKS, "a NACK of nobody's packets");
	for (size_t i = 0; track < SIM_RTC_TRACKS && i < count; i++)
		send_again(sim, edge, track, sequences[i]);
}

void sim_rtc_publish_take_rtcp(
	struct sim *sim, struct sim_edge *edge, const struct rtcp_packet *packet)
{
	struct twcc_feedback feedback;

	if (packet->type == RTCP_PSFB && packet->count == RTCP_PSFB_PLI)
		edge->rtc->publish.wants_key = true;
	else if (packet->type == RTCP_RTPFB && packet->count == RTCP_RTPFB_NACK)
		take_nack(sim, edge, packet);
	else if (packet->type == RTCP_RTPFB && packet->count == RTCP_RTPFB_TWCC)
		SIM_CHECK(sim, !twcc_feedback_parse(&feedback, packet),
			"transport-wide feedback that cannot be read");
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: a WebRTC viewer. It asks again for what is missing, reports, wishes for keyframes, and
 * checks in the order of the packets' numbers, however they came:
 *
 *   - the first packet ever sent begins a keyframe
 *   - next to each other are the next part of a frame or the beginning of a later one; where the node
 *     cut the frames (RTMP), the next piece of a NAL unit or the beginning of another
 *   - a publisher's frames only grow, and timestamps with them; a later publisher never gives way
 *     to an earlier one; every payload is of the stream that was asked for
 *   - when all is quiet nothing is lost for good
 */
#include "tests/sim/sim_rtc.h"

#include "tests/sim/sim_h264.h"
#include "tests/webrtc_client.h"

enum {
	NACKS_MAX = 64,
	REMB_BPS = 2500000,
	PLI_ONE_IN = 400, /* ticks */
	CLIENT_SSRC = 1,
	AGAIN = 4,	    /* packets that a successor is asked for */
	FORGOTTEN_MS = 300, /* a NACK's last interval */
	QUIET_MS = 2500,    /* after the last misfortune … */
	SETTLED_MS = 3500,  /* … and after the beginning, which is as old as the last keyframe */
};

void sim_rtc_play_begin(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc_playing *p = &edge->rtc->play;

	p->began_us = sim->now_us;
	rtp_timeline_init(&p->timeline, 0);
	twcc_recorder_init(&p->recorder);
	if (edge->rtc->extensions)
		rtp_ext_map_set(&p->extensions, RTP_EXT_TRANSPORT_CC, WEBRTC_CLIENT_EXT_TRANSPORT);
	for (int i = 0; i < SIM_RTC_TRACKS; i++)
		p->tracks[i].last_us = sim->now_us;
}

/* ---- checks -------------------------------------------------------------------------------------- */

/* `a` came before `b` in the stream; next to each other or not. */
static void check_order(struct sim *sim, const struct sim_edge *edge, int track,
	const struct sim_rtc_heard *a, const struct sim_rtc_heard *b)
{
	bool next = a->track_seq + 1 == b->track_seq;
	int32_t ticks = (int32_t)(b->timestamp - a->timestamp);
	bool marked = a->mark.publisher && b->mark.publisher;
	bool same = a->mark.publisher == b->mark.publisher;
	bool made = track == SIM_RTC_AUDIO && sim_edge_by_rtmp(sim, edge->stream);

	if (!a->track_seq || !b->track_seq)
		return;
	SIM_CHECK(sim, !marked || b->mark.publisher >= a->mark.publisher,
		"live/e%u: track %d goes back from publisher %u to %u", edge->stream, track,
		a->mark.publisher, b->mark.publisher);
	/* (sound that was made of a frame may be several packets) */
	SIM_CHECK(sim,
		!marked || !same || b->mark.number > a->mark.number ||
			(b->mark.number == a->mark.number && (!ticks || made)),
		"live/e%u: track %d has frame %u behind frame %u", edge->stream, track,
		b->mark.number, a->mark.number);
	SIM_CHECK(sim, !marked || !next || same || track != SIM_RTC_VIDEO || b->key,
		"live/e%u: publisher %u begins without a keyframe", edge->stream,
		b->mark.publisher);
	SIM_CHECK(sim, ticks > 0 || (!ticks && track == SIM_RTC_VIDEO && !a->last),
		"live/e%u: track %d: frame %u is %d ticks behind frame %u", edge->stream, track,
		b->mark.number, ticks, a->mark.number);
	if (ticks)
		SIM_CHECK(sim, !next || b->begins,
			"live/e%u: track %d, frame %u begins with part %u", edge->stream, track,
			b->mark.number, b->part);
	else if (sim_edge_by_rtmp(sim, edge->stream))
		SIM_CHECK(sim,
			(!marked || (same && a->mark.number == b->mark.number)) &&
				(!next || a->ends == b->begins),
			"live/e%u: frame %u: pieces of NAL units in disorder", edge->stream,
			b->mark.number);
	else
		SIM_CHECK(sim,
			same && a->mark.number == b->mark.number &&
				(next ? b->part == a->part + 1 : b->part > a->part),
			"live/e%u: track %d, frame %u: part %u behind part %u", edge->stream, track,
			a->mark.number, b->part, a->part);
}

static void check_first(struct sim *sim, const struct sim_edge *edge, uint16_t sequence,
	const struct sim_rtc_in *in, const struct sim_rtc_heard *heard)
{
	uint16_t first;

	SIM_CHECK(sim, sim_seals_first(sim, &edge->rtc->address, in->receiver.ssrc, &first),
		"a packet that was never sent");
	SIM_CHECK(sim, sequence != first || (heard->key && heard->begins && !heard->part),
		"live/e%u begins with part %u of frame %u, which is no keyframe", edge->stream,
		heard->part, heard->mark.number);
}

/* A packet that the node cut of RTMP's; false: it lacks its mark. */
static bool read_cut(const struct rtp_packet *packet, int track, struct sim_rtc_heard *heard)
{
	struct sim_h264_view view;
	bool marked = sim_mark_find(packet->payload, packet->payload_size, &heard->mark);

	heard->begins = heard->ends = true;
	if (track == SIM_RTC_AUDIO)
		return marked;
	sim_h264_look(&view, packet->payload, packet->payload_size);
	heard->begins = view.begins;
	heard->ends = view.ends;
	heard->key = view.key;
	return marked || view.sets;
}

/* A packet as a publisher by WebRTC made it. */
static bool read_whole(struct sim *sim, const struct sim_edge *edge,
	const struct rtp_packet *packet, int track, struct sim_rtc_heard *heard)
{
	struct sim_h264_view view = {.sets = true};
	uint8_t parts;

	if (!sim_mark_find(packet->payload, packet->payload_size, &heard->mark))
		return false;
	parts = (uint8_t)heard->mark.ms;
	heard->key = heard->mark.ms >> 16;
	heard->part = (uint8_t)(heard->mark.ms >> 8);
	heard->begins = !heard->part;
	heard->ends = heard->part + 1 == parts;
	SIM_CHECK(sim, packet->marker == (track == SIM_RTC_VIDEO && heard->ends),
		"live/e%u: part %u of %u has marker %d", edge->stream, heard->part, parts,
		packet->marker);
	if (edge->rtc->h264 && track == SIM_RTC_VIDEO && heard->key && heard->begins)
		sim_h264_look(&view, packet->payload, packet->payload_size);
	SIM_CHECK(sim, view.sets, "live/e%u: a keyframe lost its parameter sets", edge->stream);
	return true;
}

/* Parameter sets may be a packet by themselves: the one behind them is their keyframe. */
static void check_behind_sets(struct sim *sim, const struct sim_edge *edge,
	const struct sim_rtc_in *in, const struct sim_rtc_heard *heard)
{
	const struct sim_rtc_heard *sets = &in->heard[(heard->track_seq - 1) % SIM_RTC_HISTORY];

	if (sets->track_seq && sets->track_seq + 1 == heard->track_seq && !sets->mark.publisher)
		SIM_CHECK(sim, heard->key && heard->begins && sets->timestamp == heard->timestamp,
			"live/e%u: parameter sets without a keyframe", edge->stream);
}

static void check_packet(struct sim *sim, struct sim_edge *edge, int track,
	const struct rtp_packet *packet, const struct rtp_receipt *receipt)
{
	struct sim_rtc_in *in = &edge->rtc->play.tracks[track];
	struct sim_rtc_heard heard = {.track_seq = receipt->track_seq,
		.timestamp = packet->timestamp,
		.last = packet->marker};
	struct sim_rtc_heard *place = &in->heard[heard.track_seq % SIM_RTC_HISTORY];
	const struct sim_rtc_heard *before = &in->heard[(heard.track_seq - 1) % SIM_RTC_HISTORY];
	const struct sim_rtc_heard *after = &in->heard[(heard.track_seq + 1) % SIM_RTC_HISTORY];

	bool readable = sim_edge_by_rtmp(sim, edge->stream)
				? read_cut(packet, track, &heard)
				: read_whole(sim, edge, packet, track, &heard);

	SIM_CHECK(sim, readable, "live/e%u: a packet of track %d without its mark", edge->stream,
		track);
	SIM_CHECK(sim,
		!heard.mark.publisher ||
			sim_edge_publishes(sim, edge->stream, heard.mark.publisher),
		"live/e%u shows publisher %u of another stream", edge->stream,
		heard.mark.publisher);
	if (track == SIM_RTC_VIDEO) {
		check_first(sim, edge, packet->sequence, in, &heard);
		check_behind_sets(sim, edge, in, &heard);
	}
	if (before->track_seq && before->track_seq + 1 == heard.track_seq)
		check_order(sim, edge, track, before, &heard);
	if (after->track_seq == heard.track_seq + 1)
		check_order(sim, edge, track, &heard, after);
	if (heard.track_seq > in->newest.track_seq) {
		check_order(sim, edge, track, &in->newest, &heard);
		if (heard.mark.publisher)
			in->newest = heard;
		in->last_us = sim->now_us;
	}
	*place = heard;
}

/* ---- packets ------------------------------------------------------------------------------------- */

static int track_of(struct sim_rtc *s, const struct rtp_packet *packet)
{
	bool rtx = packet->payload_type == WEBRTC_CLIENT_VIDEO_RTX;
	int track = packet->payload_type == WEBRTC_CLIENT_AUDIO ? SIM_RTC_AUDIO : SIM_RTC_VIDEO;
	struct sim_rtc_in *in = &s->play.tracks[track];

	if (rtx) {
		in->receiver.rtx_ssrc = packet->ssrc;
	} else if (!in->known) {
		rtp_receiver_init(&in->receiver,
			&(struct rtp_receiver_options){
				.ssrc = packet->ssrc,
				.payload_type = packet->payload_type,
				.rtx_payload_type = s->rtx ? WEBRTC_CLIENT_VIDEO_RTX : 0,
				.clock_rate = track == SIM_RTC_VIDEO ? 90000 : 48000,
				.nack = track == SIM_RTC_VIDEO,
				.video = track == SIM_RTC_VIDEO,
			});
		in->known = true;
	}
	return in->known ? track : -1;
}

void sim_rtc_play_take_rtp(
	struct sim *sim, struct sim_edge *edge, const uint8_t *bytes, size_t size)
{
	struct sim_rtc *s = edge->rtc;
	struct sim_rtc_playing *p = &s->play;
	struct rtp_ext_values values;
	struct rtp_packet packet;
	struct rtp_receipt receipt;
	bool rtx;
	int track;

	SIM_CHECK(sim, rtp_parse(&packet, bytes, size) == ERR_OK, "no RTP packet");
	if (sim->failed)
		return;
	rtp_ext_parse(&values, &p->extensions, &packet);
	if (values.present & RTP_EXT_BIT(TRANSPORT_CC))
		twcc_recorder_take(&p->recorder, values.transport_seq, packet.ssrc, sim->now_us);
	track = track_of(s, &packet);
	if (track < 0)
		return; /* a retransmission of what nothing is known of */
	rtx = packet.payload_type == WEBRTC_CLIENT_VIDEO_RTX;
	SIM_CHECK(sim, !rtx || s->rtx, "RTX that was not agreed on");
	if (rtx && rtp_receiver_unwrap_rtx(&p->tracks[track].receiver, &packet, sim->now_us))
		return;
	sim->edges->rtp_read++;
	if (rtp_receiver_take(&p->tracks[track].receiver, &p->timeline, &packet, rtx, sim->now_us,
		    &receipt) == ERR_OK &&
		!receipt.padding)
		check_packet(sim, edge, track, &packet, &receipt);
}

/* ---- feedback ------------------------------------------------------------------------------------ */

static void begin_compound(struct writer *w, uint8_t *bytes)
{
	*w = writer_of(bytes, SIM_RTC_RTCP_SIZE);
	rtcp_write_rr(w, CLIENT_SSRC, NULL, 0);
}

static void ask_again(struct sim *sim, struct sim_edge *edge)
{
	uint8_t bytes[SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct rtp_receiver *receiver = &edge->rtc->play.tracks[SIM_RTC_VIDEO].receiver;
	uint16_t sequences[NACKS_MAX];
	size_t count = rtp_receiver_poll_nacks(receiver, sim->now_us, sequences, NACKS_MAX);
	struct writer w;

	if (!count)
		return;
	begin_compound(&w, bytes);
	rtcp_write_nack(&w, CLIENT_SSRC, receiver->ssrc, sequences, count);
	sim_rtc_send_rtcp(sim, edge, &w);
	sim->edges->rtp_asked += count;
}

size_t sim_rtc_play_nack(struct sim_edge *edge, uint8_t bytes[SIM_RTC_SEALED_MAX])
{
	struct sim_rtc *s = edge->rtc;
	const struct rtp_receiver *receiver = &s->play.tracks[SIM_RTC_VIDEO].receiver;
	uint16_t sequences[AGAIN];
	struct writer w;
	size_t size;

	if (s->phase != SIM_RTC_UP || !receiver->stats.started)
		return 0;
	for (uint16_t i = 0; i < AGAIN; i++)
		sequences[i] = (uint16_t)(receiver->stats.newest + 1 + i - AGAIN);
	begin_compound(&w, bytes);
	rtcp_write_nack(&w, CLIENT_SSRC, receiver->ssrc, sequences, AGAIN);
	size = writer_used(&w);
	MUST(seal_rtcp(&s->seal, s->rtcp_index, bytes, &size, SIM_RTC_SEALED_MAX) == ERR_OK);
	return size;
}

static void ask_keyframe(struct sim *sim, struct sim_edge *edge)
{
	uint8_t bytes[SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct rtp_receiver *receiver = &edge->rtc->play.tracks[SIM_RTC_VIDEO].receiver;
	struct writer w;

	if (!rtp_receiver_take_keyframe_wish(receiver) && rng_below(&sim->rng, PLI_ONE_IN))
		return;
	begin_compound(&w, bytes);
	rtcp_write_pli(&w, CLIENT_SSRC, receiver->ssrc);
	sim_rtc_send_rtcp(sim, edge, &w);
}

static void report(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;
	uint8_t bytes[SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, SIM_RTC_RTCP_SIZE);
	struct rtcp_report_block blocks[SIM_RTC_TRACKS];
	struct rtcp_remb remb = {.bitrate_bps = REMB_BPS, .ssrc_count = 1};
	size_t count = 0;

	if (sim->now_us < s->report_us)
		return;
	s->report_us = sim->now_us + SIM_RTC_REPORT_MS * SIM_MS;
	for (int i = 0; i < SIM_RTC_TRACKS; i++)
		if (s->play.tracks[i].known)
			count += rtp_receiver_fill_report(
				&s->play.tracks[i].receiver, false, sim->now_us, &blocks[count]);
	rtcp_write_rr(&w, CLIENT_SSRC, blocks, count);
	remb.ssrc[0] = s->play.tracks[SIM_RTC_VIDEO].receiver.ssrc;
	if (!s->extensions)
		rtcp_write_remb(&w, CLIENT_SSRC, &remb);
	sim_rtc_send_rtcp(sim, edge, &w);
}

static void tell_arrivals(struct sim *sim, struct sim_edge *edge)
{
	uint8_t bytes[SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct twcc_recorder *recorder = &edge->rtc->play.recorder;

	while (sim->now_us >= twcc_recorder_deadline_us(recorder)) {
		struct writer w = writer_of(bytes, SIM_RTC_RTCP_SIZE);

		if (twcc_recorder_build(recorder, &w, CLIENT_SSRC, sim->now_us))
			break;
		sim_rtc_send_rtcp(sim, edge, &w);
	}
}

/* From some time after the last misfortune on nothing is lost for good. What was lost before that
 * shows with the first packet that comes then, and is given up soon after. */
static void check_losses(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc_playing *p = &edge->rtc->play;
	struct sim_rtc_in *in = &p->tracks[SIM_RTC_VIDEO];

	if (in->last_us < sim->chaos_until_us + QUIET_MS * SIM_MS ||
		in->last_us < p->began_us + SETTLED_MS * SIM_MS)
		return;
	if (!p->quiet_us)
		p->quiet_us = sim->now_us + NACK_AGE_MAX_US + FORGOTTEN_MS * SIM_MS;
	if (sim->now_us < p->quiet_us)
		in->lost = in->receiver.nacks_given_up;
	SIM_CHECK(sim, in->lost == in->receiver.nacks_given_up,
		"live/e%u: %llu packets never came although all is quiet", edge->stream,
		(unsigned long long)(in->receiver.nacks_given_up - in->lost));
}

void sim_rtc_play_tick(struct sim *sim, struct sim_edge *edge)
{
	report(sim, edge);
	tell_arrivals(sim, edge);
	if (!edge->rtc->play.tracks[SIM_RTC_VIDEO].known)
		return;
	ask_again(sim, edge);
	ask_keyframe(sim, edge);
	check_losses(sim, edge);
}

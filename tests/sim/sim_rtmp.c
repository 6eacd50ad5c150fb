/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: an encoder that publishes by RTMP, made of the engines' own chunks, AMF and FLV. H.264
 * with real parameter sets and slice headers around made-up slices, AAC of made-up frames; every
 * frame is marked.
 *
 *   shaking --S2--> asking --Publish.Start--> publishing      asking --BadName--> refused (closes)
 */
#include "actors/rtmp/flv.h"
#include "tests/rtmp_talk.h"
#include "tests/sim/sim_edges.h"
#include "tests/sim/sim_h264.h"

enum {
	MESSAGE_MAX = 65536,
	ARENA_BYTES = MESSAGE_MAX + MESSAGE_MAX / 4,
	FRAME_MAX = 4000,
	VIDEO_MS = 40,
	GOP_FRAMES = 50,
	AAC_SAMPLES = 1024,
	AAC_PER_MS = 48,
	CLOCK_WRAPS_SOON = 0xfffff800u, /* ms: about two seconds before 2^32 */
};

static const uint8_t aac_config[] = {0x11, 0x90}; /* AAC-LC, 48 kHz, stereo */

static void put_message(struct sim *sim, struct sim_edge *edge, uint8_t type, uint32_t time_ms,
	const struct iovec *pieces, size_t count)
{
	uint8_t bytes[FRAME_MAX + 64];
	struct writer w = writer_of(bytes, sizeof(bytes));

	rtmp_talk_message(&w, type, time_ms, pieces, count);
	sim_edge_write(sim, edge, bytes, writer_used(&w));
}

/* Says everything up to `publish` without waiting for answers. */
static void rtmp_begin(struct sim *sim, struct sim_edge *edge)
{
	uint8_t bytes[RTMP_TALK_ASK_MAX];
	struct writer w = writer_of(bytes, sizeof(bytes));
	char name[32];

	edge->rtmp = (struct sim_rtmp){
		.number = (uint32_t)++sim->publishers,
		.base_ms = rng_below(&sim->rng, 2) ? CLOCK_WRAPS_SOON : 0,
	};
	sim_edge_number(sim, edge, edge->rtmp.number);
	chunk_reader_init(&edge->rtmp.chunks, MESSAGE_MAX);
	sim_edge_name(edge, name, sizeof(name));
	rtmp_talk_ask(&w, "publish", strchr(name, '/') + 1);
	sim_edge_write(sim, edge, bytes, writer_used(&w));
}

/* ---- media ------------------------------------------------------------------------------------- */

static void put_video(struct sim *sim, struct sim_edge *edge, uint32_t ms, bool key)
{
	uint8_t header[FLV_BODY_HEADER_MAX], nal[FRAME_MAX], length[4];
	struct flv_video video = {.codec = MEDIA_H264, .packet = FLV_FRAMES, .keyframe = key};
	size_t size = (size_t)rng_between(
		&sim->rng, SIM_H264_SLICE + SIM_STAMP_SIZE, key ? FRAME_MAX : FRAME_MAX / 4);

	memset(nal, 0x55, sizeof(nal));
	memcpy(nal, sim_h264_slice(key, 0), SIM_H264_SLICE);
	/* again and again: however it is cut, every piece has one */
	for (size_t at = SIM_H264_SLICE; at + SIM_STAMP_SIZE <= size; at += SIM_STAMP_SIZE)
		sim_mark_write(
			&(struct sim_mark){edge->rtmp.number, edge->rtmp.videos, ms}, nal + at);
	length[0] = length[1] = 0;
	length[2] = (uint8_t)(size >> 8);
	length[3] = (uint8_t)size;
	struct iovec pieces[] = {
		{header, flv_video_header(&video, header)},
		    {length,	     sizeof(length)			   },
		      {nal,	    size	}
	 };

	put_message(sim, edge, CHUNK_VIDEO, edge->rtmp.base_ms + ms, pieces, 3);
	sim->edges->frames_sent++;
}

static void put_audio(struct sim *sim, struct sim_edge *edge, uint32_t ms)
{
	uint8_t header[FLV_BODY_HEADER_MAX], frame[8 + SIM_STAMP_SIZE + 200];
	struct flv_audio audio = {.codec = MEDIA_AAC, .packet = FLV_FRAMES};
	size_t size = (size_t)rng_between(&sim->rng, 8 + SIM_STAMP_SIZE, sizeof(frame));

	memset(frame, 0x33, sizeof(frame));
	sim_mark_write(&(struct sim_mark){edge->rtmp.number, edge->rtmp.audios, ms}, frame + 8);
	struct iovec pieces[] = {
		{header, flv_audio_header(&audio, header)},
		    {frame,	    size			}
	 };

	put_message(sim, edge, CHUNK_AUDIO, edge->rtmp.base_ms + ms, pieces, 2);
	sim->edges->frames_sent++;
}

static void put_configurations(struct sim *sim, struct sim_edge *edge)
{
	uint8_t header[FLV_BODY_HEADER_MAX];
	struct flv_video video = {
		.codec = MEDIA_H264, .packet = FLV_SEQUENCE_START, .keyframe = true};
	struct flv_audio audio = {.codec = MEDIA_AAC, .packet = FLV_SEQUENCE_START};
	struct iovec pieces[] = {
		{header, flv_video_header(&video,	  header)},
		{(void *)(uintptr_t)sim_h264_record,	     SIM_H264_RECORD}
	     };

	put_message(sim, edge, CHUNK_VIDEO, edge->rtmp.base_ms, pieces, 2);
	pieces[0].iov_len = flv_audio_header(&audio, header);
	pieces[1] = (struct iovec){(void *)(uintptr_t)aac_config, sizeof(aac_config)};
	put_message(sim, edge, CHUNK_AUDIO, edge->rtmp.base_ms, pieces, 2);
}

static void rtmp_tick(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtmp *s = &edge->rtmp;
	uint32_t now_ms = (uint32_t)((sim->now_us - s->began_us) / SIM_MS);

	if (s->phase != SIM_RTMP_PUBLISHING)
		return;
	for (; s->videos * VIDEO_MS <= now_ms; s->videos++)
		put_video(sim, edge, s->videos * VIDEO_MS, s->videos % GOP_FRAMES == 0);
	for (; s->audios * AAC_SAMPLES / AAC_PER_MS <= now_ms; s->audios++)
		put_audio(sim, edge, s->audios * AAC_SAMPLES / AAC_PER_MS);
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void take_answer(struct sim *sim, struct sim_edge *edge, const struct chunk_message *message)
{
	struct sim_rtmp *s = &edge->rtmp;

	if (message->type != CHUNK_COMMAND_AMF0 || s->phase != SIM_RTMP_ASKING)
		return;
	if (memmem(message->payload, message->size, "NetStream.Publish.Start", 23)) {
		s->phase = SIM_RTMP_PUBLISHING;
		s->began_us = sim->now_us;
		put_configurations(sim, edge);
	} else if (memmem(message->payload, message->size, "NetStream.Publish.", 18)) {
		const char *died = err_text(ERR_DEAD);

		SIM_CHECK(sim, !memmem(message->payload, message->size, died, strlen(died)),
			"encoder %u was refused: %s", s->number, died);
		s->phase = SIM_RTMP_REFUSED;
		sim->edges->refused++;
	}
}

static size_t rtmp_input(struct sim *sim, struct sim_edge *edge)
{
	static uint8_t arena[ARENA_BYTES]; /* whole answers come and are used within a call … */
	struct sim_rtmp *s = &edge->rtmp;
	struct reader in = reader_of(edge->in, edge->in_size);
	struct chunk_message message;
	struct chunk_reader before;
	size_t used = 0;
	enum err err = ERR_OK;

	if (s->phase == SIM_RTMP_SHAKING) {
		if (edge->in_size < HANDSHAKE_ANSWER_SIZE)
			return 0;
		SIM_CHECK(sim, edge->in[0] == 3, "RTMP answer of version %u", edge->in[0]);
		s->phase = SIM_RTMP_ASKING;
		return HANDSHAKE_ANSWER_SIZE;
	}
	while (!err) {
		before = s->chunks;
		err = chunk_read(&s->chunks, arena, sizeof(arena), &in, &message);
		if (err)
			break;
		used = edge->in_size - reader_left(&in);
		take_answer(sim, edge, &message);
	}
	SIM_CHECK(sim, err == ERR_AGAIN, "RTMP answer cannot be read: %s", err_name(err));
	s->chunks = before; /* … a part of one is read again when there is more */
	return used;
}

const struct sim_edge_kind sim_rtmp_kind = {
	.name = "rtmp",
	.listener = NET_RTMP,
	.publishes = true,
	.begin = rtmp_begin,
	.input = rtmp_input,
	.tick = rtmp_tick,
};

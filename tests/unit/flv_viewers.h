/* SPDX-License-Identifier: Apache-2.0
 *
 * FLV without sockets, for rows: a stream's log of real pictures, the muxer's tags, and viewers of
 * every speed by HTTP, WebSocket and RTMP, whose bytes must be a good FLV file whatever they missed.
 */
#ifndef MILLRACE_FLV_VIEWERS_H
#define MILLRACE_FLV_VIEWERS_H

#include "actors/http/http_internal.h"
#include "actors/rtmp/rtmp_internal.h"
#include "actors/rtmp/rtmp_reply.h"
#include "actors/stream/payload.h"
#include "tests/unit/stream_samples.h"

#include "schemas/random.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { OWNER = 77, FRAME_US = 40000, OUT_MAX = 4 << 20, GOP = 6 };

static struct arena *arena;
static void *memory;
static size_t memory_size;
static struct slot_ref source_ref, tags_ref;
static struct media_log *source, *tags;
static struct flv_desk *desk;
static struct flv_work *work; /* on it */
static uint8_t *frame_room;
static struct sample sample;
static struct payload_packetiser packetiser;
static int64_t now_us;
static uint64_t video_seq, audio_seq;
static uint32_t frames;
static size_t extra; /* bytes that a keyframe is larger than the sample's */

static struct media_track video_track = {
	.id = 0, .kind = MEDIA_VIDEO, .codec = MEDIA_H264, .clock_rate = 90000};
static struct media_track audio_track = {
	.id = 1,
	.kind = MEDIA_AUDIO,
	.codec = MEDIA_AAC,
	.channels = 2,
	.clock_rate = 48000,
	.config_size = 2,
	.config = {0x11, 0x90}
};

static int sharing = MAP_PRIVATE; /* MAP_SHARED: with children, too */

static void *share(size_t size)
{
	void *room = mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);

	CHECK(room != MAP_FAILED);
	return room;
}

static void begin_with(uint32_t packets)
{
	struct arena_layout layout = {
		.count = {packets, 2, 4, 1}
	   };
	struct media_log_limits limits = {.age_us = 10000000, .bytes = 16 << 20};

	memory_size = arena_size(&layout);
	memory = share(memory_size);
	arena_format(memory, &layout);
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	source_ref = media_log_create(arena, OWNER, &limits, 1);
	tags_ref = media_log_create(arena, OWNER, &limits, 1);
	source = media_log_get(arena, source_ref);
	tags = media_log_get(arena, tags_ref);
	desk = share(sizeof(*desk));
	work = &desk->work;
	frame_room = share(FLV_VIDEO_FRAME_MAX);
	now_us = 5000000;
	video_seq = audio_seq = frames = 0;
	sample_load(&sample, "h264_plain");
	payload_packetiser_init(&packetiser, MEDIA_H264);
	CHECK_OK(payload_packetiser_configure(&packetiser, sample.record, sample.record_size));
	flv_work_init(work, 1, now_us);
}

static void begin(void)
{
	begin_with(4096);
}

static void end(void)
{
	struct arena_usage usage;

	media_log_destroy(arena, source_ref);
	media_log_destroy(arena, tags_ref);
	arena_usage(arena, &usage);
	CHECK_EQ(usage.used[ARENA_PACKET], 0);
	arena_detach(&arena);
	munmap(memory, memory_size);
	munmap(desk, sizeof(*desk));
	munmap(frame_room, FLV_VIDEO_FRAME_MAX);
}

static void put(const struct media_header *header, const void *payload)
{
	struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, OWNER);
	struct packet *packet = arena_packet(arena, ref);

	CHECK(packet != NULL);
	packet->header = *header;
	memcpy(packet->payload, payload, header->size);
	CHECK_OK(media_log_put(arena, source, source->next, ref));
	arena_release(arena, ARENA_PACKET, ref);
}

static void put_audio(uint8_t flags)
{
	static const uint8_t payload[] = {0, 16, 0, 4 << 3, 0x21, 0x10, 0x04, 0x60};
	struct media_header header = {.track = 1,
		.track_seq = ++audio_seq,
		.size = sizeof(payload),
		.rtp_time = (uint64_t)frames * 1920,
		.decode_time = (uint64_t)frames * 1920,
		.capture_us = 1000000000 + (int64_t)frames * FRAME_US,
		.frame = (uint32_t)audio_seq,
		.flags = (uint8_t)(MEDIA_FRAME_START | MEDIA_FRAME_END | flags),
		.priority = MEDIA_PRIORITY_AUDIO};

	put(&header, payload);
}

/* One picture and one piece of audio, 40 ms after the last. `flags` on top of the picture's own. */
static void put_frame(uint8_t flags, bool with_audio)
{
	const int i = (int)(frames % (uint32_t)sample.count);
	struct payload_cut cut;
	struct payload_packet out;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
	uint64_t time = 900000 + (uint64_t)frames * 3600;
	static uint8_t large[1 << 20];
	const uint8_t *data = sample.frames[i].data;
	size_t size = sample.frames[i].size;

	if (extra && frames % GOP == 0) {
		size = sample_enlarge(data, size, extra, large);
		data = large;
	}
	CHECK_OK(payload_cut_begin(&cut, &packetiser, data, size, time, extra ? 1200 : 300));
	while (payload_cut_next(&cut, payload, sizeof(payload), &out))
		put(&(struct media_header){.track = 0,
			    .track_seq = ++video_seq,
			    .size = out.size,
			    .rtp_time = time,
			    .decode_time = time,
			    .frame = frames + 1,
			    .capture_us = 1000000000 + (int64_t)frames * FRAME_US,
			    .flags = out.flags | flags,
			    .priority = out.priority},
			payload);
	if (with_audio)
		put_audio(0);
	frames++;
	now_us += FRAME_US;
}

static struct flv_progress run(void)
{
	struct flv_progress progress;

	flv_work_turn(desk, frame_room, arena, source, tags, OWNER, now_us, &progress);
	return progress;
}

static void set_tracks(bool with_audio)
{
	const struct media_track both[] = {video_track, audio_track};
	const char *codec;

	CHECK_OK(flv_work_tracks(work, both, with_audio ? 2 : 1, &codec));
}

/* ---- viewers --------------------------------------------------------------------------------- */

static bool writers_die;       /* every other one between write and count */
static unsigned shared_writes; /* by runs */
static bool alone;	       /* nobody shares a run */

struct viewer {
	struct flv_view view;
	uint8_t *out;
	size_t size;
};

static const struct flv_framing *framing = &flv_as_file; /* how the viewers of this row come */

static void viewer_begin(struct viewer *v)
{
	memset(v, 0, sizeof(*v));
	v->view.channel = 1;
	v->out = malloc(OUT_MAX);
}

static void viewer_end(struct viewer *v)
{
	flv_view_release(&v->view, arena);
	free(v->out);
}

/* Writes at most `room` bytes; returns what is left of it. */
__attribute__((unused)) static size_t viewer_take(struct viewer *v, size_t room)
{
	struct flv_batch batch;

	while (room) {
		if (alone)
			flv_runs_forget(desk->runs);
		flv_view_fill(&v->view, framing, arena, tags, desk, &batch);
		if (!batch.count)
			return room;
		shared_writes += batch.shared_last != 0;
		size_t sent = 0;

		for (size_t i = 0; i < batch.count && sent < room; i++) {
			size_t part = batch.iov[i].iov_len;

			part = part < room - sent ? part : room - sent;
			CHECK(v->size + part <= OUT_MAX);
			memcpy(v->out + v->size, batch.iov[i].iov_base, part);
			v->size += part;
			sent += part;
		}
		if (!writers_die || v->size % 2)
			flv_view_sent(&v->view, framing, arena, tags, &batch, sent);
		else
			CHECK_OK(flv_view_resolve(
				&v->view, framing, arena, tags, v->size - v->view.at.out));
		CHECK_EQ(v->view.at.out, v->size);
		room -= sent;
	}
	return 0;
}

/* Puts together the FLV that is in a player's RTMP messages; the last one may be half there. */
static void viewer_unchunk(struct viewer *v)
{
	enum { ROOM = 1 << 20 };
	static struct chunk_reader chunks;
	uint8_t *partial = malloc(ROOM), *file = malloc(OUT_MAX);
	struct reader in = reader_of(v->out, v->size);
	struct writer out = writer_of(file, OUT_MAX);
	struct chunk_message message;
	enum err err;

	chunk_reader_init(&chunks, ROOM / 2);
	chunks.chunk_size = RTMP_REPLY_CHUNK_SIZE;
	flv_file_header(write_reserve(&out, FLV_FILE_HEADER_SIZE), true, true);
	while ((err = chunk_read(&chunks, partial, ROOM, &in, &message)) == ERR_OK) {
		struct flv_tag tag;

		CHECK_EQ(message.stream, 1);
		flv_tag_make(&tag, message.type, message.time_ms, NULL, 0, message.size);
		write_bytes(&out, tag.head, tag.head_size);
		write_bytes(&out, message.payload, message.size);
		write_bytes(&out, tag.tail, sizeof(tag.tail));
	}
	CHECK_EQ(err, ERR_AGAIN);
	CHECK(!out.bad);
	v->size = writer_used(&out);
	memcpy(v->out, file, v->size);
	free(partial);
	free(file);
}

/* Takes the frames off: what is left is what a viewer by HTTP gets. Every message is the headers or
 * one whole tag; the last one may be half there. */
static void viewer_unframe(struct viewer *v)
{
	size_t from = 0, to = 0;

	while (v->size - from >= WS_HEAD_MAX) {
		const uint8_t *head = v->out + from;
		unsigned size = head[1];
		size_t head_size = size == 127 ? 10 : size == 126 ? 4 : 2, payload = size;

		CHECK_EQ(head[0], 0x80 | WS_BINARY);
		if (size > 125)
			for (size_t i = payload = 0; i < head_size - 2; i++)
				payload = payload << 8 | head[2 + i];
		from += head_size;
		if (payload > v->size - from) {
			payload = v->size - from;
		} else if (memcmp(v->out + from, "FLV", 3) != 0) {
			struct reader in = reader_of(v->out + from, payload);
			struct flv_tag_view tag;

			while (reader_left(&in))
				CHECK_OK(flv_read_tag(&in, &tag));
		}
		memmove(v->out + to, v->out + from, payload);
		from += payload;
		to += payload;
	}
	v->size = to;
}

struct seen {
	unsigned video, keyframes, audio, headers, holes;
	uint32_t first_ms, last_ms;
};

/* Reads what the viewer got: whole tags in order, no picture and no sound before its configuration,
 * after every hole in the pictures a keyframe. */
static void viewer_read(struct viewer *v, struct seen *seen)
{
	if (framing == &flv_as_messages)
		viewer_unframe(v);
	else if (framing == &flv_as_chunks)
		viewer_unchunk(v);
	struct reader in = reader_of(v->out, v->size);
	struct flv_tag_view tag;
	uint32_t last_video_ms = 0;
	bool configured = false, sound_configured = false;
	enum err err;

	*seen = (struct seen){.first_ms = UINT32_MAX};
	CHECK_OK(flv_read_file_header(&in));
	while ((err = flv_read_tag(&in, &tag)) == ERR_OK) {
		struct flv_video video;
		struct flv_audio audio;

		if (tag.type == FLV_VIDEO) {
			CHECK_OK(flv_video_parse(tag.body, tag.size, &video));
			CHECK_EQ(video.codec, MEDIA_H264);
			if (video.packet == FLV_SEQUENCE_START) {
				configured = true;
				seen->headers++;
				continue;
			}
			CHECK(configured);
			if (!seen->video)
				CHECK(video.keyframe);
			else if (tag.time_ms > last_video_ms + 60) {
				seen->holes++;
				CHECK(video.keyframe);
			}
			CHECK(!seen->video || tag.time_ms > last_video_ms);
			last_video_ms = tag.time_ms;
			seen->video++;
			seen->keyframes += video.keyframe;
		} else if (tag.type == FLV_AUDIO) {
			CHECK_OK(flv_audio_parse(tag.body, tag.size, &audio));
			if (audio.packet == FLV_SEQUENCE_START) {
				sound_configured = true;
				continue;
			}
			CHECK(sound_configured);
			seen->audio++;
		} else {
			continue;
		}
		if (seen->first_ms == UINT32_MAX)
			seen->first_ms = tag.time_ms;
		seen->last_ms = tag.time_ms;
	}
	CHECK_EQ(err, ERR_AGAIN); /* at most the last tag is half there */
}

#endif

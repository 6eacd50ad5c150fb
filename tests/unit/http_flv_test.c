/* SPDX-License-Identifier: Apache-2.0
 *
 * FLV without sockets: a stream's log of real pictures, the muxer's tags, and viewers of every speed
 * by HTTP, WebSocket and RTMP, whose bytes must be a good FLV file whatever they missed.
 */
#include "actors/http/http_internal.h"
#include "actors/rtmp/rtmp_internal.h"
#include "actors/rtmp/rtmp_reply.h"
#include "actors/stream/payload.h"
#include "tests/unit/stream_samples.h"

#include "schemas/random.h"

#include <stdlib.h>

enum { OWNER = 77, FRAME_US = 40000, OUT_MAX = 4 << 20, GOP = 6 };

static struct arena *arena;
static void *memory;
static struct slot_ref source_ref, tags_ref;
static struct media_log *source, *tags;
static struct flv_work *work;
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

static void begin_with(uint32_t packets)
{
	struct arena_layout layout = {
		.count = {packets, 2, 4, 1}
	   };
	struct media_log_limits limits = {.age_us = 10000000, .bytes = 16 << 20};
	size_t size = arena_size(&layout);

	memory = aligned_alloc(4096, size);
	memset(memory, 0, size);
	arena_format(memory, &layout);
	CHECK_OK(arena_attach(memory, size, &arena));
	source_ref = media_log_create(arena, OWNER, &limits, 1);
	tags_ref = media_log_create(arena, OWNER, &limits, 1);
	source = media_log_get(arena, source_ref);
	tags = media_log_get(arena, tags_ref);
	work = calloc(1, sizeof(*work));
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
	free(memory);
	free(work);
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

/* A picture whose last NAL unit is longer than it was. */
static size_t enlarge(const uint8_t *data, size_t size, uint8_t *out)
{
	size_t last = 0, at = 0;

	memcpy(out, data, size);
	while (at < size) {
		struct reader r = reader_of(out + at, 4);

		last = at;
		at += 4 + read_u32(&r);
	}
	memset(out + size, 0x55, extra);
	struct writer w = writer_of(out + last, 4);

	write_u32(&w, (uint32_t)(size + extra - last - 4));
	return size + extra;
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
		size = enlarge(data, size, large);
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

	flv_work_turn(work, arena, source, tags, OWNER, now_us, &progress);
	return progress;
}

static void set_tracks(bool with_audio)
{
	const struct media_track both[] = {video_track, audio_track};
	const char *codec;

	CHECK_OK(flv_work_tracks(work, both, with_audio ? 2 : 1, &codec));
}

/* ---- viewers --------------------------------------------------------------------------------- */

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
static size_t viewer_take(struct viewer *v, size_t room)
{
	struct flv_batch batch;

	while (room) {
		flv_view_fill(&v->view, framing, arena, tags, &work->headers, &batch);
		if (!batch.count)
			return room;
		size_t sent = 0;

		for (size_t i = 0; i < batch.count && sent < room; i++) {
			size_t part = batch.iov[i].iov_len;

			part = part < room - sent ? part : room - sent;
			CHECK(v->size + part <= OUT_MAX);
			memcpy(v->out + v->size, batch.iov[i].iov_base, part);
			v->size += part;
			sent += part;
		}
		flv_view_sent(&v->view, arena, tags, &batch, sent);
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

/* Reads what the viewer got: whole tags in order, nothing before its configuration, after every
 * hole in the pictures a keyframe. */
static void viewer_read(struct viewer *v, struct seen *seen)
{
	if (framing == &flv_as_messages)
		viewer_unframe(v);
	else if (framing == &flv_as_chunks)
		viewer_unchunk(v);
	struct reader in = reader_of(v->out, v->size);
	struct flv_tag_view tag;
	uint32_t last_video_ms = 0;
	bool configured = false;
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
			if (audio.packet == FLV_SEQUENCE_START)
				continue;
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

/* ---- rows ------------------------------------------------------------------------------------ */

TEST(a_viewer_that_keeps_up_gets_everything_from_the_last_keyframe)
{
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	for (int i = 0; i < 20; i++) { /* pictures 12 to 17 begin the last GOP but one */
		put_frame(0, true);
		run();
	}
	viewer_begin(&v);
	for (int i = 0; i < 30; i++) {
		viewer_take(&v, SIZE_MAX);
		put_frame(0, true);
		run();
	}
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.video, 32); /* from picture 18 on */
	CHECK_EQ(seen.keyframes, 6);
	CHECK_EQ(seen.audio, 32);
	CHECK_EQ(seen.headers, 1);
	CHECK_EQ(seen.holes, 0);
	CHECK_EQ(seen.first_ms, 0);
	CHECK_EQ(seen.last_ms, 31 * 40);
	CHECK_EQ(v.view.tags_dropped, 0);
	viewer_end(&v);
	end();
}

TEST(slow_viewers_of_every_speed_get_whole_tags_and_keyframes_after_holes)
{
	static const size_t rates[] = {1, 7, 100, 300, 700, 1500, 4000};
	struct rng rng = rng_of(11);
	unsigned dropped = 0;

	for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
		struct viewer v;
		struct seen seen;

		begin();
		set_tracks(true);
		viewer_begin(&v);
		for (int i = 0; i < 500; i++) {
			put_frame(0, true);
			run();
			viewer_take(&v, rng_below(&rng, 2 * rates[r]) + 1);
		}
		CHECK_LE(v.view.pinned_count, FLV_TAG_PACKETS_MAX);
		if (v.size > 1000)
			viewer_read(&v, &seen);
		dropped += v.view.tags_dropped > 0;
		viewer_end(&v);
		end();
	}
	CHECK_GE(dropped, 3);
}

TEST(a_viewer_that_stops_in_a_tag_can_finish_it_however_late)
{
	struct viewer v;
	struct seen seen;
	struct arena_usage before, after;

	begin();
	set_tracks(true);
	put_frame(0, true);
	run();
	viewer_begin(&v);
	viewer_take(&v, work->headers.size + 400); /* in the keyframe */
	CHECK(v.view.pinned_count > v.view.pinned_at);
	for (int i = 0; i < 300; i++) {
		put_frame(0, true);
		run();
	}
	arena_usage(arena, &before);
	for (int i = 0; i < 600; i++) {
		put_frame(0, true);
		run();
		viewer_take(&v, 0);
	}
	arena_usage(arena, &after);
	CHECK_LE(after.used[ARENA_PACKET], before.used[ARENA_PACKET] + 100);
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.holes, 1);
	CHECK_GE(seen.video, 2);
	viewer_end(&v);
	end();
}

TEST(one_stopped_viewer_harms_no_other)
{
	struct viewer stopped, fine;
	struct seen seen;

	begin();
	set_tracks(true);
	viewer_begin(&stopped);
	viewer_begin(&fine);
	for (int i = 0; i < 200; i++) {
		put_frame(0, true);
		run();
		viewer_take(&fine, SIZE_MAX);
		viewer_take(&stopped, i < 5 ? 600 : 0);
	}
	viewer_read(&fine, &seen);
	CHECK_EQ(seen.video, 200);
	CHECK_EQ(fine.view.tags_dropped, 0);
	viewer_end(&stopped);
	viewer_end(&fine);
	end();
}

TEST(a_lost_packet_costs_pictures_up_to_the_next_keyframe)
{
	struct viewer v;
	struct seen seen;
	struct flv_progress progress;

	begin();
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < 18; i++) {
		if (i == 8)
			video_seq++; /* a packet that never came */
		put_frame(0, true);
		progress = run();
		CHECK(i < 13 || !progress.wants_keyframe);
		viewer_take(&v, SIZE_MAX);
	}
	now_us += FLV_ORDER_WAIT_US;
	run();
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.holes, 1);
	CHECK_GE(seen.video, 14);
	CHECK_EQ(seen.audio, 18);
	viewer_end(&v);
	end();
}

TEST(headers_wait_a_moment_for_the_audio_and_come_again_in_band)
{
	const struct media_track late[] = {
		video_track,
		{.id = 1, .kind = MEDIA_AUDIO, .codec = MEDIA_AAC, .clock_rate = 48000}
	       };
	struct viewer v;
	struct seen seen;
	const char *codec;

	begin();
	CHECK_OK(flv_work_tracks(work, late, 2, &codec));
	viewer_begin(&v);
	for (int i = 0; i < 30; i++) {
		put_frame(0, false);
		run();
		viewer_take(&v, SIZE_MAX);
	}
	CHECK_EQ(v.size, 0);
	for (int i = 0; i < 12; i++) { /* 1.5 s are over */
		put_frame(0, false);
		run();
		viewer_take(&v, SIZE_MAX);
	}
	CHECK(v.size > 0);
	set_tracks(true);
	put_frame(0, true);
	run();
	CHECK_EQ(work->headers.version, 2);
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.audio, 1);
	viewer_end(&v);
	end();
}

/* As a transcoder makes it that looks a frame ahead, or of what came before the first picture. */
TEST(sound_of_before_the_first_picture_is_left_out)
{
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	put_frame(0, false);
	frames = 0;
	for (int early = 8; early >= 0;
		early--) { /* 20 ms apart; the last is of the picture's time */
		int64_t us = 1000000000 - early * 20000;
		struct media_header header = {.track = 1,
			.track_seq = ++audio_seq,
			.size = 8,
			.rtp_time = 96000 - (uint64_t)early * 960,
			.decode_time = 96000 - (uint64_t)early * 960,
			.capture_us = us,
			.frame = (uint32_t)audio_seq,
			.flags = MEDIA_FRAME_START | MEDIA_FRAME_END,
			.priority = MEDIA_PRIORITY_AUDIO};

		put(&header, (uint8_t[]){0, 16, 0, 4 << 3, 0x21, 0x10, 0x04, 0x60});
	}
	run();
	viewer_begin(&v);
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.video, 1);
	CHECK_EQ(seen.audio, 1);
	CHECK_EQ(seen.first_ms, 0);
	CHECK_EQ(seen.last_ms, 0);
	viewer_end(&v);
	end();
}

TEST(silence_between_two_sources_is_left_out)
{
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < 12; i++)
		put_frame(0, true);
	run();
	viewer_take(&v, SIZE_MAX);
	frames += 12 * 20; /* 9.6 s later, a keyframe of another source */
	put_frame(MEDIA_DISCONTINUITY, true);
	run();
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.holes, 0);
	CHECK_EQ(seen.last_ms, 6 * 40); /* it began at picture 6 */
	viewer_end(&v);
	end();
}

/* Only its transcoder was lost; the pictures of that time come a little later. */
TEST(sound_that_begins_anew_squeezes_no_picture)
{
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < 12; i++)
		put_frame(0, true);
	run();
	viewer_take(&v, SIZE_MAX);
	frames += 10;
	put_audio(MEDIA_DISCONTINUITY);
	run();
	frames -= 10;
	for (int i = 0; i < 10; i++)
		put_frame(0, false);
	put_frame(0, true);
	run();
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.holes, 0);
	CHECK_EQ(seen.video, 6 + 11);
	CHECK_EQ(seen.audio, 6 + 1);
	CHECK_EQ(seen.last_ms, 16 * 40); /* it began at picture 6 */
	viewer_end(&v);
	end();
}

TEST(writes_to_many_viewers_are_gathered)
{
	struct viewer v;
	const int64_t at_us = 5000000;
	struct flv_view *view = &v.view;
	struct media_log *log;

	begin();
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < 12; i++)
		put_frame(0, true);
	run();
	log = media_log_get(arena, tags_ref);
	CHECK_EQ(flv_view_due_us(view, log, 1000, at_us), at_us); /* its first bytes */
	viewer_take(&v, SIZE_MAX);
	put_frame(0, true);
	run();
	const struct {
		int64_t wrote_us;
		uint32_t viewers;
		int64_t due_us;
	} rows[] = {
		{at_us,			FLV_GATHER_VIEWERS,	    at_us + FLV_GATHER_US	 },
		{at_us - 20000,		FLV_GATHER_VIEWERS,	    at_us + FLV_GATHER_US - 20000},
		{at_us - FLV_GATHER_US - 1, FLV_GATHER_VIEWERS,	at_us			     },
		{at_us + 1,		    FLV_GATHER_VIEWERS,	at_us			     },
		{at_us,			FLV_GATHER_VIEWERS - 1, at_us			     },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		view->wrote_us = rows[i].wrote_us;
		CHECK_EQ(flv_view_due_us(view, log, rows[i].viewers, at_us), rows[i].due_us);
	}
	view->wrote_us = at_us;
	viewer_take(&v, 5); /* in the middle of a tag */
	CHECK_EQ(flv_view_due_us(view, log, 1000, at_us), at_us);
	viewer_take(&v, SIZE_MAX);
	for (int i = 0; i < FLV_VIEW_IOV / 2; i++)
		put_frame(0, true);
	run();
	CHECK_EQ(flv_view_due_us(view, log, 1000, at_us), at_us); /* enough for a write */
	viewer_end(&v);
	end();
}

TEST(a_full_pool_loses_whole_tags_only)
{
	struct viewer v;
	struct seen seen;
	uint32_t refused = 0;

	begin_with(60);
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < 12; i++) {
		struct arena_usage usage;

		arena_usage(arena, &usage);
		if (usage.count[ARENA_PACKET] - usage.used[ARENA_PACKET] < 16)
			break;
		put_frame(0, true);
		refused += run().no_slot;
	}
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_GE(seen.video, 1);
	viewer_end(&v);
	end();
}

TEST(codecs_that_flv_cannot_carry_are_named)
{
	struct media_track track = {.kind = MEDIA_VIDEO, .codec = MEDIA_VP8, .clock_rate = 90000};
	const char *codec;

	begin();
	CHECK_EQ(flv_work_tracks(work, &track, 1, &codec), ERR_CODEC);
	CHECK_STR(codec, "VP8");
	CHECK_EQ(flv_work_tracks(work, &track, 0, &codec), ERR_AGAIN);
	track = (struct media_track){.kind = MEDIA_AUDIO, .codec = MEDIA_OPUS, .clock_rate = 48000};
	CHECK_EQ(flv_work_tracks(work, &track, 1, &codec), ERR_AGAIN);
	end();
}

static void come_all(const struct flv_framing *by)
{
	framing = by;
	a_viewer_that_keeps_up_gets_everything_from_the_last_keyframe(NULL);
	slow_viewers_of_every_speed_get_whole_tags_and_keyframes_after_holes(NULL);
	a_viewer_that_stops_in_a_tag_can_finish_it_however_late(NULL);
	headers_wait_a_moment_for_the_audio_and_come_again_in_band(NULL);
	silence_between_two_sources_is_left_out(NULL);
	framing = &flv_as_file;
}

TEST(a_viewer_by_websocket_gets_the_same_in_messages)
{
	come_all(&flv_as_messages);
}

TEST(a_player_by_rtmp_gets_the_same_in_chunks)
{
	come_all(&flv_as_chunks);
}

static void compare_large_picture(size_t body_size, struct rng *rng)
{
	struct viewer file, chunked;

	begin();
	extra = body_size - sample.frames[0].size - 5;
	set_tracks(true);
	viewer_begin(&file);
	viewer_begin(&chunked);
	for (int i = 0; i < 2; i++) {
		put_frame(0, true);
		run();
	}
	framing = &flv_as_chunks;
	while (viewer_take(&chunked, rng_below(rng, 40000) + 1) == 0)
		continue;
	viewer_unchunk(&chunked);
	framing = &flv_as_file;
	viewer_take(&file, SIZE_MAX);
	CHECK_GE(file.size, body_size);
	CHECK_EQ(chunked.size, file.size);
	CHECK_MEM(chunked.out, file.out, file.size);
	viewer_end(&file);
	viewer_end(&chunked);
	extra = 0;
	end();
}

/* Around one and two chunks, and around every place of a tag's end in its last packet. */
TEST(large_pictures_by_rtmp_are_byte_for_byte_those_of_a_file)
{
	static const size_t around[] = {RTMP_REPLY_CHUNK_SIZE, 2 * RTMP_REPLY_CHUNK_SIZE,
		50 * MEDIA_PAYLOAD_MAX - FLV_TAG_HEADER_SIZE - FLV_TAG_TRAILER_SIZE};
	struct rng rng = rng_of(5);

	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++)
		for (size_t size = around[i] - 7; size < around[i] + 7; size++)
			compare_large_picture(size, &rng);
}

/* A transcoder's audio comes after the pictures it belongs to. */
TEST(sound_from_before_the_first_picture_is_left_out)
{
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	for (int i = 0; i < GOP; i++)
		put_frame(0, false);
	put_frame(0, false); /* the keyframe that the viewer begins at */
	for (uint32_t late = 3, now = frames; late; late--) {
		frames = now - 1 - late;
		put_audio(0);
		frames = now;
	}
	run();
	viewer_begin(&v);
	viewer_take(&v, SIZE_MAX);
	put_frame(0, true);
	put_frame(0, true);
	run();
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.video, 3);
	CHECK_EQ(seen.audio, 2);
	CHECK_EQ(seen.first_ms, 0);
	CHECK_EQ(seen.last_ms, 80);
	viewer_end(&v);
	end();
}

/* Nothing in the middle of a tag, nothing while it lasts, a keyframe when it was long. */
TEST(a_viewer_may_pause)
{
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	viewer_begin(&v);
	put_frame(0, true);
	run();
	viewer_take(&v, work->headers.size + 400); /* in the keyframe */
	flv_view_finish(&v.view);
	for (int i = 0; i < 200; i++) {
		put_frame(0, true);
		run();
		viewer_take(&v, SIZE_MAX);
		CHECK(!flv_view_is_inside(&v.view));
	}
	viewer_read(&v, &seen);
	CHECK_EQ(seen.video, 1);
	flv_view_resume(&v.view);
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.holes, 1);
	CHECK_EQ(seen.headers, 2);
	CHECK_LE(seen.video, 2 + FLV_LAG_US / FRAME_US + GOP);
	CHECK_EQ(seen.last_ms, 200 * 40);
	viewer_end(&v);
	end();
}

TEST(a_damaged_work_or_view_is_refused)
{
	struct flv_view view = {.prefix_size = 1, .prefix_sent = 2};

	begin();
	set_tracks(true);
	put_frame(0, true);
	run();
	CHECK(flv_work_is_valid(work));
	work->headers.size = FLV_HEADERS_MAX + 1;
	CHECK(!flv_work_is_valid(work));
	CHECK_EQ(flv_view_restore(&view, arena), ERR_FORMAT);
	view = (struct flv_view){.pinned_count = 3};
	CHECK_EQ(flv_view_restore(&view, arena), ERR_FORMAT);
	end();
}

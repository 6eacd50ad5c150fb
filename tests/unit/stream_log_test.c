/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/stream/media_log.h"
#include "actors/stream/source_map.h"
#include "tests/test.h"

#include <stdlib.h>

static const struct arena_layout layout = {
	.count = {17000,		 2,		    1, 1},
	.size = {sizeof(struct packet),		ARENA_LOG_SIZE,				4096, 4096},
	.escrow = {1,1}
};
static const struct media_log_limits limits = {.age_us = 10000000, .bytes = 1 << 24};

struct fixture {
	void *memory;
	struct arena *arena;
	struct slot_ref ref;
	struct media_log *log;
};

static struct fixture setup(const struct media_log_limits *with)
{
	struct fixture f = {.memory = aligned_alloc(4096, arena_size(&layout))};

	memset(f.memory, 0, arena_size(&layout));
	arena_format(f.memory, &layout);
	CHECK_OK(arena_attach(f.memory, arena_size(&layout), &f.arena));
	f.ref = media_log_create(f.arena, 1, with, 1);
	f.log = media_log_get(f.arena, f.ref);
	return f;
}

static void teardown(struct fixture *f)
{
	struct arena_usage usage;

	media_log_destroy(f->arena, f->ref);
	arena_usage(f->arena, &usage);
	CHECK_EQ(usage.used[ARENA_PACKET], 0); /* nothing is held for ever */
	CHECK_EQ(usage.used[ARENA_LOG], 0);
	arena_detach(&f->arena);
	free(f->memory);
}

static enum err put(struct fixture *f, uint64_t position, int64_t ms, uint8_t flags, uint16_t size)
{
	struct slot_ref ref = arena_alloc(f->arena, ARENA_PACKET, 1);
	struct packet *packet = arena_packet(f->arena, ref);

	packet->header = (struct media_header){
		.capture_us = ms * 1000, .flags = flags, .size = size, .frame = (uint32_t)position};
	enum err err = media_log_put(f->arena, f->log, position, ref);

	arena_release(f->arena, ARENA_PACKET, ref);
	return err;
}

enum { KEY = MEDIA_KEYFRAME | MEDIA_FRAME_START };

TEST(readers_stop_before_an_awaited_hole)
{
	struct fixture f = setup(&limits);

	CHECK_OK(put(&f, 1, 0, KEY, 10));
	CHECK_OK(put(&f, 3, 0, 0, 10));
	CHECK_EQ(f.log->ready, 2);
	CHECK_EQ(put(&f, 3, 0, 0, 10), ERR_EXISTS);
	CHECK_OK(put(&f, 2, 0, 0, 10));
	CHECK_EQ(f.log->ready, 4);
	CHECK_OK(put(&f, 6, 0, 0, 10));
	media_log_advance(f.log, 6);
	CHECK_EQ(f.log->ready, 7);
	CHECK(media_log_packet(f.arena, f.log, 5) == NULL);
	teardown(&f);
}

TEST(what_is_skipped_is_not_awaited)
{
	struct fixture f = setup(&limits);

	for (uint64_t position = 1; position < 5; position++)
		media_log_skip(f.arena, f.log, position);
	CHECK_EQ(f.log->ready, 5);
	CHECK_EQ(f.log->next, 5);
	CHECK_OK(put(&f, 5, 0, KEY, 10));
	CHECK_EQ(f.log->ready, 6);
	CHECK_OK(put(&f, 7, 0, 0, 10));
	media_log_skip(f.arena, f.log, 6);
	CHECK_EQ(f.log->ready, 8);
	media_log_skip(f.arena, f.log, 100); /* neither next nor awaited */
	CHECK_EQ(f.log->next, 8);
	teardown(&f);
}

TEST(what_came_too_early_is_a_hole_that_is_waited_for)
{
	struct fixture f = setup(&limits);

	media_log_await(f.arena, f.log, 3);
	CHECK_EQ(f.log->ready, 1);
	CHECK_EQ(f.log->next, 4);
	CHECK_OK(put(&f, 3, 0, 0, 10));
	media_log_await(f.arena, f.log, 2); /* is one already */
	media_log_await(f.arena, f.log, 3); /* is there */
	media_log_await(f.arena, f.log, UINT64_MAX);
	CHECK_EQ(f.log->next, 4);
	CHECK_OK(put(&f, 1, 0, KEY, 10));
	CHECK_OK(put(&f, 2, 0, 0, 10));
	CHECK_EQ(f.log->ready, 4);
	teardown(&f);
}

TEST(absurd_positions_are_refused_and_far_ones_forget_the_rest)
{
	struct fixture f = setup(&limits);

	CHECK_EQ(put(&f, UINT64_MAX, 0, 0, 10), ERR_FORMAT);
	CHECK_EQ(put(&f, 0, 0, 0, 10), ERR_EXISTS);
	for (uint64_t position = 1; position <= 100; position++)
		CHECK_OK(put(&f, position, 0, 0, 10));
	CHECK_OK(put(&f, 10000000, 0, 0, 10));
	CHECK_EQ(f.log->first, 10000000);
	CHECK_EQ(f.log->bytes, 10);
	teardown(&f);
}

TEST(a_reader_begins_at_the_newest_keyframe)
{
	struct fixture f = setup(&limits);
	bool cached;

	CHECK_EQ(media_log_start(f.log, &cached), 1);
	CHECK(!cached);
	CHECK_OK(put(&f, 1, 0, KEY, 10));
	CHECK_OK(put(&f, 2, 40, 0, 10));
	CHECK_OK(put(&f, 4, 80, KEY, 10));
	CHECK_EQ(media_log_start(f.log, &cached), 3); /* not readable yet: at the live edge */
	CHECK(!cached);
	CHECK_OK(put(&f, 3, 60, KEY, 10)); /* an older one that comes late changes nothing */
	CHECK_EQ(media_log_start(f.log, &cached), 4);
	CHECK(cached);
	CHECK_OK(
		put(&f, 5, 120, KEY | MEDIA_LATE, 10)); /* nor does one whose rest lies before it */
	CHECK_EQ(media_log_start(f.log, &cached), 4);
	teardown(&f);
}

TEST(the_log_is_bounded_in_time_bytes_and_packets)
{
	static const struct {
		struct media_log_limits limits;
		uint16_t size;
		int step_ms;
		int packets;
		uint64_t held_min, held_max;
	} rows[] = {
		{{10000000, 1 << 24}, 100,  20, 2000,  499,	  502  }, /* a long GOP: 10 s of it */
		{{10000000, 50000},   1000, 20, 2000,  49,	51	  }, /* bytes */
		{{60000000, 1 << 24}, 10,	  1,  20000, 16383, 16384}, /* entries */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f = setup(&rows[i].limits);

		for (int n = 0; n < rows[i].packets; n++)
			CHECK_OK(put(&f, (uint64_t)n + 1, (int64_t)n * rows[i].step_ms, n ? 0 : KEY,
				rows[i].size));
		uint64_t held = f.log->next - f.log->first;

		/* once its keyframe has gone the tail of two seconds remains */
		CHECK_LE(held, rows[i].held_max);
		CHECK(held >= rows[i].held_min || f.log->keyframe == 0);
		CHECK_EQ(f.log->bytes, held * rows[i].size);
		teardown(&f);
	}
}

TEST(a_damaged_log_becomes_holes)
{
	struct fixture f = setup(&limits);

	for (uint64_t position = 1; position <= 10; position++)
		CHECK_OK(put(&f, position, 0, 0, 10));
	struct slot_ref saved[2] = {f.log->entries[3], f.log->entries[5]};

	f.log->entries[3] = (struct slot_ref){99999, 1};
	media_log_packet(f.arena, f.log, 5)->header.size = 60000;
	f.log->bytes = 1ull << 60;
	arena_recount_begin(f.arena);
	CHECK(arena_hold_again(f.arena, ARENA_LOG, f.ref));
	media_log_recount(f.arena, f.log);
	CHECK_EQ(arena_recount_end(f.arena), 2);
	CHECK(arena_packet(f.arena, saved[0]) == NULL);
	CHECK(arena_packet(f.arena, saved[1]) == NULL);
	CHECK_EQ(f.log->bytes, 80);
	f.log->ready = f.log->next + 1;
	CHECK(media_log_get(f.arena, f.ref) == NULL);
	f.log->ready = f.log->next;
	teardown(&f);
}

static const struct media_track picture = {.kind = MEDIA_VIDEO, .clock_rate = 90000};
static const struct media_track sound = {.kind = MEDIA_AUDIO, .clock_rate = 48000};

TEST(a_change_of_source_is_one_timeline)
{
	struct track_map map = {0};
	struct media_header a = {.track_seq = 900,
		.rtp_time = 5000,
		.frame = 70,
		.capture_us = 1000000,
		.flags = KEY};
	struct media_header b = {.track_seq = 3, .rtp_time = 77, .frame = 1, .capture_us = 1500000};

	source_map_restart(&map);
	CHECK_EQ(source_map_packet(&map, 1, &picture, &a), SOURCE_MAP_FORWARD);
	CHECK_EQ(a.track_seq, 900);
	source_map_restart(&map);
	CHECK_EQ(source_map_packet(&map, 1, &picture, &b), SOURCE_MAP_NOT_YET);
	b.flags = KEY | MEDIA_LATE; /* its second packet came before it, and was dropped */
	CHECK_EQ(source_map_packet(&map, 1, &picture, &b), SOURCE_MAP_NOT_YET);
	b.flags = KEY;
	CHECK_EQ(source_map_packet(&map, 1, &picture, &b), SOURCE_MAP_FORWARD);
	CHECK_EQ(b.track_seq, 901);
	CHECK_EQ(b.frame, 71);
	CHECK_EQ(b.rtp_time, 5000 + 45000);
	CHECK(b.flags & MEDIA_DISCONTINUITY);
	struct media_header early = {.track_seq = 2, .flags = 0};

	CHECK_EQ(source_map_packet(&map, 1, &picture, &early), SOURCE_MAP_TOO_LATE);
}

/* The first source had sent three packets when the second came; what it sent long before that would
 * get a number below zero. */
TEST(a_late_packet_of_a_new_source_gets_no_number_below_zero)
{
	struct track_map map = {0};
	struct media_header a = {.track_seq = 3}, b = {.track_seq = 12}, late = {.track_seq = 7},
			    next = {.track_seq = 13};

	source_map_restart(&map);
	CHECK_EQ(source_map_packet(&map, 1, &sound, &a), SOURCE_MAP_FORWARD);
	source_map_restart(&map);
	CHECK_EQ(source_map_packet(&map, 1, &sound, &b), SOURCE_MAP_FORWARD);
	CHECK_EQ(b.track_seq, 4);
	CHECK_EQ(source_map_packet(&map, 1, &sound, &late), SOURCE_MAP_TOO_LATE);
	CHECK_EQ(source_map_packet(&map, 1, &sound, &next), SOURCE_MAP_FORWARD);
	CHECK_EQ(next.track_seq, 5);
	CHECK_EQ(map.last_seq, 5);
}

/* The first source's captures lay in the future (its first tags had waited): what follows it is put
 * behind it, sound and picture by the same amount. */
TEST(a_change_of_source_keeps_sound_and_picture_together)
{
	enum { AUDIO, VIDEO, TRACKS };
	struct track_map maps[TRACKS] = {0};
	struct media_header first[] = {
		{.track = AUDIO, .track_seq = 1, .rtp_time = 48000, .capture_us = 2000000		 },
		{.track = VIDEO,
			.track_seq = 1,
			.rtp_time = 90000,
			.capture_us = 2000000,
			.flags = KEY},
		{.track = VIDEO,		 .track_seq = 2,		 .rtp_time = 90000 + 27000,	    .capture_us = 2300000},
	};
	struct media_header second[] = {
		{.track = AUDIO, .track_seq = 1, .rtp_time = 0, .capture_us = 1900000},
		{ .track = VIDEO,
			.track_seq = 1,
			.rtp_time = 0,
			.capture_us = 1900000,
			.flags = KEY},
	};

	for (size_t i = 0; i < 3; i++)
		CHECK_EQ(source_map_packet(maps, TRACKS, i ? &picture : &sound, &first[i]),
			SOURCE_MAP_FORWARD);
	source_map_restart(&maps[AUDIO]);
	source_map_restart(&maps[VIDEO]);
	for (size_t i = 0; i < 2; i++)
		CHECK_EQ(source_map_packet(maps, TRACKS, i ? &picture : &sound, &second[i]),
			SOURCE_MAP_FORWARD);
	CHECK_EQ(second[AUDIO].rtp_time, 48000 + 48 * 320);
	CHECK_EQ(second[VIDEO].rtp_time, 90000 + 90 * 320);
	CHECK_EQ(maps[AUDIO].capture_shift_us, 420000);
	CHECK_EQ(maps[VIDEO].capture_shift_us, 420000);
}

/* The pool has 17,000 packets: two logs that would hold 20,000 share it, and go on. */
TEST(logs_share_a_short_pool)
{
	struct fixture f = setup(&limits);
	struct slot_ref other_ref = media_log_create(f.arena, 2, &limits, 1);
	struct fixture other = f;

	other.ref = other_ref;
	other.log = media_log_get(f.arena, other_ref);
	for (uint64_t position = 1; position <= 10000; position++) {
		CHECK_OK(put(&f, position, 0, position == 1 ? KEY : 0, 10));
		CHECK_OK(put(&other, position, 0, position == 1 ? KEY : 0, 10));
	}
	CHECK_EQ(f.log->next, 10001);
	CHECK(f.log->first > 1 && f.log->keyframe == 0);
	CHECK(f.log->next - f.log->first > 7000);
	while (arena_alloc(f.arena, ARENA_PACKET, 3).generation)
		;
	uint64_t first = f.log->first;

	media_log_relieve(f.arena, f.log);
	CHECK(f.log->first > first);
	struct slot_ref ref = arena_alloc(f.arena, ARENA_PACKET, 3);

	CHECK(ref.generation != 0);
	media_log_destroy(f.arena, other_ref);
	media_log_destroy(f.arena, f.ref);
	arena_detach(&f.arena);
	free(f.memory);
}

TEST(the_rate_is_what_came_in_the_last_seconds)
{
	struct fixture f = setup(&limits);
	uint64_t position = 1;
	int64_t ms = 1700000000000;

	CHECK_EQ(media_log_rate_bps(f.log), 0);
	CHECK_OK(put(&f, position++, ms, KEY, 1250));
	/* less than a quarter of a second counts as that */
	CHECK_EQ(media_log_rate_bps(f.log), 40000);
	/* 1,250 bytes each 10 ms: 1 Mbit/s */
	for (int i = 0; i < 250; i++)
		CHECK_OK(put(&f, position++, ms += 10, 0, 1250));
	CHECK_EQ(media_log_rate_bps(f.log), 1000000);
	/* it follows up at once, and down by an eighth a second */
	for (int i = 0; i < 200; i++)
		CHECK_OK(put(&f, position++, ms += 10, 0, 1875));
	CHECK_GE(media_log_rate_bps(f.log), 1480000);
	for (int i = 0; i < 200; i++)
		CHECK_OK(put(&f, position++, ms += 10, 0, 125));
	CHECK_LE(media_log_rate_bps(f.log), 1500000 * 49 / 64 + 1000);
	CHECK_GE(media_log_rate_bps(f.log), 100000);
	/* a pause is no measurement */
	CHECK_OK(put(&f, position++, ms += 60000, 0, 125));
	CHECK_GE(media_log_rate_bps(f.log), 100000);
	teardown(&f);
}

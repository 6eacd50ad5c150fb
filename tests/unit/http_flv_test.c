/* SPDX-License-Identifier: Apache-2.0
 *
 * What viewers get: whatever their speed, and by all three ways. (What is made for them:
 * http_flv_work_test.c.)
 */
#include "tests/unit/flv_viewers.h"

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
	CHECK_EQ(v.view.at.tags_dropped, 0);
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
		dropped += v.view.at.tags_dropped > 0;
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
	CHECK(v.view.pinned_count);
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

TEST(what_the_log_has_forgotten_is_counted_too)
{
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < 500; i++) { /* twice as long as the log remembers */
		put_frame(0, true);
		run();
		viewer_take(&v, i < 3 ? SIZE_MAX : i < 6 ? 100 : 0);
	}
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_GE(v.view.at.tags_dropped, 2 * 400);
	CHECK_EQ(seen.video + seen.audio + v.view.at.tags_dropped, 2 * 500);
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
	CHECK_EQ(fine.view.at.tags_dropped, 0);
	viewer_end(&stopped);
	viewer_end(&fine);
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

TEST(a_viewer_whose_writers_die_before_they_count_gets_the_same)
{
	writers_die = true;
	come_all(&flv_as_file);
	come_all(&flv_as_messages);
	come_all(&flv_as_chunks);
	writers_die = false;
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

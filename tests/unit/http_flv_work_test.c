/* SPDX-License-Identifier: Apache-2.0
 *
 * What the muxer makes of packets: tags in order, sound where it belongs, whole tags or none. (How
 * viewers of every speed take them: http_flv_test.c.)
 */
#include "tests/unit/flv_viewers.h"

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

/* A publisher with VP8 takes over and gives way again: who watches has the sound, then the picture
 * from a keyframe on. */
TEST(a_picture_that_flv_cannot_carry_leaves_the_sound)
{
	struct media_track tracks[] = {video_track, audio_track};
	const char *codec;
	struct viewer v;
	struct seen seen;

	begin();
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < GOP; i++)
		put_frame(0, true);
	run();
	viewer_take(&v, SIZE_MAX);
	tracks[0].codec = MEDIA_VP8;
	CHECK_EQ(flv_work_tracks(work, tracks, 2, &codec), ERR_CODEC);
	CHECK(flv_desk_recover(desk, tags));
	for (int i = 0; i < 10; i++) {
		put_frame(0, true); /* not VP8, but not looked at either */
		run();
	}
	set_tracks(true);
	while (frames % GOP > 0)
		put_frame(0, true);
	for (int i = 0; i < 5; i++)
		put_frame(0, true);
	run();
	viewer_take(&v, SIZE_MAX);
	viewer_read(&v, &seen);
	CHECK_EQ(seen.video, GOP + 5);
	CHECK_GE(seen.audio, GOP + 10);
	viewer_end(&v);
	end();
}

/* A browser takes over from an encoder: its pictures are of another size, its sound comes later, from
 * another transcoder. Who comes in between hears of it. */
TEST(headers_name_the_tracks_that_there_are)
{
	struct viewer early, between;
	struct seen seen;

	begin();
	set_tracks(true);
	viewer_begin(&early);
	for (int i = 0; i < GOP; i++)
		put_frame(0, true);
	run();
	viewer_take(&early, SIZE_MAX);
	set_tracks(false);
	sample_load(&sample, "h264_crop");
	CHECK_OK(payload_packetiser_configure(&packetiser, sample.record, sample.record_size));
	while (frames % (uint32_t)sample.count)
		frames++;
	for (int i = 0; i < 5; i++)
		put_frame(0, false);
	run();
	viewer_begin(&between);
	viewer_take(&between, SIZE_MAX);
	set_tracks(true);
	for (int i = 0; i < 5; i++)
		put_frame(0, true);
	run();
	viewer_take(&early, SIZE_MAX);
	viewer_take(&between, SIZE_MAX);
	viewer_read(&early, &seen);
	CHECK_EQ(seen.video, GOP + 10);
	CHECK_EQ(seen.audio, GOP + 5);
	CHECK_GE(seen.headers, 2);
	viewer_read(&between, &seen);
	CHECK_GE(seen.video, 6); /* from the last keyframe before it came */
	CHECK_EQ(seen.audio, 5);
	viewer_end(&early);
	viewer_end(&between);
	end();
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

TEST(a_damaged_work_or_view_is_refused)
{
	struct flv_view view = {
		.at = {.prefix_size = 1, .prefix_sent = 2}
	  };

	begin();
	set_tracks(true);
	put_frame(0, true);
	run();
	CHECK(flv_desk_recover(desk, tags));
	work->headers.size = FLV_HEADERS_MAX + 1;
	CHECK(!flv_desk_recover(desk, tags));
	CHECK_EQ(flv_view_restore(&view, arena), ERR_FORMAT);
	view = (struct flv_view){.pinned_count = 3};
	CHECK_EQ(flv_view_restore(&view, arena), ERR_FORMAT);
	view = (struct flv_view){.at = {.prefix_in = 2}};
	CHECK_EQ(flv_view_restore(&view, arena), ERR_FORMAT);
	view = (struct flv_view){.step = FLV_STEPS};
	CHECK_EQ(flv_view_restore(&view, arena), ERR_FORMAT);
	end();
}

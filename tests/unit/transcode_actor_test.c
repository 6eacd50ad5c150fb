/* SPDX-License-Identifier: Apache-2.0
 *
 * Transcoding in a node: sound in time, deaths, losses and garbage, what is refused, successors.
 */
#include "tests/unit/transcode_node.h"

static const struct {
	enum media_codec from, to;
	int samples;  /* of what comes out */
	int added_ms; /* most that may be added */
} directions[] = {
	{MEDIA_AAC,  MEDIA_OPUS, 960,  35},
	{MEDIA_OPUS, MEDIA_AAC,	1024, 75},
};

TEST(viewers_hear_the_other_codec_in_time)
{
	for (size_t i = 0; i < 2; i++) {
		int64_t added_us = 0;

		begin(directions[i].from);
		watch(directions[i].to);
		publish_ms(3000);
		CHECK_GE((int)heard_count, 3000 * 48 / directions[i].samples - 8);
		CHECK_EQ(heard_track.codec, directions[i].to);
		CHECK_EQ(heard_track.clock_rate, 48000);
		CHECK_EQ(heard_track.config_size > 0, directions[i].to == MEDIA_AAC);
		for (size_t k = 0; k < heard_count; k++) {
			const struct media_header *h = &heard[k].header;
			int64_t pts = (int64_t)h->rtp_time - TRANSCODER_TIME_BASE;
			int64_t capture_us = WALL_BASE + pts * 1000000 / 48000;

			CHECK_EQ(h->track_seq, heard[0].header.track_seq + k);
			CHECK_EQ(h->frame, heard[0].header.frame + k);
			CHECK_EQ(h->rtp_time,
				heard[0].header.rtp_time + k * (uint64_t)directions[i].samples);
			CHECK_LE(llabs(h->capture_us - capture_us), 2000);
			CHECK_EQ(h->flags & (MEDIA_FRAME_START | MEDIA_FRAME_END),
				MEDIA_FRAME_START | MEDIA_FRAME_END);
			CHECK_EQ(h->priority, MEDIA_PRIORITY_AUDIO);
			/* what a player must wait more than one that plays the source */
			int64_t age_us = WALL_BASE + heard[k].at_us - h->capture_us;

			if (age_us - source_age_us > added_us)
				added_us = age_us - source_age_us;
		}
		printf("%s: at most %lld us added, %lld us behind\n",
			media_codec_name(directions[i].to), (long long)added_us,
			(long long)transcoder()->behind_us);
		CHECK_LE(added_us, directions[i].added_ms * 1000);
		CHECK_EQ(transcoder()->lost + transcoder()->late + transcoder()->bridged, 0);
		CHECK_EQ(transcoder()->resets, 1);
		end();
	}
}

TEST(the_last_viewer_stops_it_and_nothing_is_held)
{
	struct arena_usage usage;
	struct msg_unsubscribe unsubscribe = {};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(500);
	CHECK_EQ(office()->rows_count, 1);
	tell(viewer, stream, MSG_unsubscribe, &unsubscribe);
	publish_ms(500);
	CHECK_EQ(office()->rows_count, 0);
	CHECK_EQ(office()->ended, 1);
	arena_usage(hosts[HELPER].arena, &usage);
	CHECK_EQ(usage.used[ARENA_PACKET], 0);
	CHECK_EQ(((const struct stream_state *)state_of(WORKER, stream))->subscribers_count, 0);
	watch(MEDIA_OPUS); /* and it comes again */
	publish_ms(500);
	CHECK_EQ(office()->rows_count, 1);
	end();
}

/* The helper dies: a gap, and sound goes on in its place on the same timeline. */
TEST(death_of_the_helper_costs_a_gap)
{
	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(1000);
	size_t before = heard_count;

	kill_process(HELPER);
	publish_ms(100);
	start_helper();
	publish_ms(2000);
	CHECK_GE(heard_count, before + 60);
	const struct heard *last = &heard[before - 1], *next = &heard[before];
	int64_t gap_us = next->header.capture_us - last->header.capture_us;
	int64_t gap = (int64_t)(next->header.rtp_time - last->header.rtp_time);

	printf("gap of %lld us\n", (long long)gap_us);
	CHECK(gap_us > 0 && gap_us < 200000); /* 100 ms of it: the process */
	CHECK_LE(llabs(gap * 1000000 / 48000 - gap_us), 1000);
	CHECK(next->header.flags & MEDIA_DISCONTINUITY);
	CHECK_EQ(next->header.track_seq, last->header.track_seq + 1);
	/* the dead one is no reader any more */
	CHECK_EQ(((const struct stream_state *)state_of(WORKER, stream))->subscribers_count, 2);
	end();
}

TEST(lost_packets_are_bridged)
{
	begin(MEDIA_OPUS);
	watch(MEDIA_AAC);
	publish_ms(500);
	for (int i = 0; i < 50; i++)
		publish_frame(i % 10 == 0);
	publish_ms(200);
	const struct transcoder_state *st = transcoder();

	CHECK_EQ(st->lost, 5);
	CHECK_EQ(st->bridged, 5);
	CHECK_EQ(st->resets, 1);
	for (size_t k = 1; k < heard_count; k++)
		CHECK_EQ(heard[k].header.rtp_time, heard[k - 1].header.rtp_time + 1024);
	end();
}

/* The other owner of the name transcodes for its copies. */
TEST(a_stream_that_lost_its_name_needs_none)
{
	struct msg_name_lost lost = {.name = "stream/live/demo", .epoch = 99};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(300);
	CHECK_EQ(office()->rows_count, 1);
	lost.owner = viewer;
	tell(publisher, stream, MSG_name_lost, &lost);
	run_ms(100);
	CHECK_EQ(office()->rows_count, 0);
	end();
}

TEST(another_source_codec_ends_it)
{
	struct msg_tracks_changed changed = {.tracks_count = 1};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(300);
	changed.tracks[0] = source;
	changed.tracks[0].codec = MEDIA_OPUS;
	changed.tracks[0].config_size = 0;
	tell(publisher, stream, MSG_tracks_changed, &changed);
	run_ms(100);
	CHECK_EQ(office()->rows_count, 0);
	end();
}

/* Sound that kills decoders must not take the node with it: its helper is asked less and less. */
TEST(a_stream_whose_helpers_die_waits_longer_each_time)
{
	int64_t waited_us = 0;

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(200);
	for (int i = 0; i < 5; i++) {
		int64_t since_us = now_us;

		kill_process(HELPER);
		start_helper();
		while (office()->rows_count == 0)
			step();
		int64_t took_us = now_us - since_us;

		run_ms(50);
		CHECK(i == 0 ? took_us < 10000 : took_us > 400000 && took_us > waited_us);
		waited_us = took_us;
	}
	source_began_us = now_us - source_position * 1000000 / 48000;
	publish_ms(11000); /* steady again */
	kill_process(HELPER);
	start_helper();
	run_ms(10);
	CHECK_EQ(office()->rows_count, 1);
	end();
}

TEST(garbage_is_counted_and_sound_goes_on)
{
	uint8_t bytes[64];
	struct arena_usage usage;
	struct sound out = {.bytes = bytes};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(300);
	for (unsigned i = 0; i < 400; i++) {
		for (unsigned k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)(i * 131 + k * k * 7 + (i * k >> 3));
		if (i % 3) { /* a whole access unit of them */
			bytes[0] = 0;
			bytes[1] = 16;
			bytes[2] = (sizeof(bytes) - 4) >> 5;
			bytes[3] = (uint8_t)((sizeof(bytes) - 4) << 3);
		}
		out.header = (struct media_header){.track = SOURCE_TRACK,
			.track_seq = ++source_seq,
			.rtp_time = (uint64_t)source_position + i * (i % 7 ? 1 : UINT64_MAX / 3),
			.capture_us = i % 11 ? WALL_BASE + now_us : INT64_MIN,
			.frame = (uint32_t)source_seq - i % 2,
			.size = (uint16_t)(i % sizeof(bytes) + 1),
			.flags = (uint8_t)i};
		CHECK(actor_call(hosts[WORKER].rt, publisher, &person_type, publish_packet, &out));
		step();
	}
	CHECK(transcoder()->damaged > 0 && transcoder()->corrupt > 0);
	size_t before = heard_count;

	source_began_us = now_us - source_position * 1000000 / 48000;
	publish_ms(1000);
	CHECK_GE(heard_count, before + 20);
	arena_usage(hosts[HELPER].arena, &usage);
	CHECK_EQ(usage.used[ARENA_PACKET], 0);
	end();
}

/* clang-format off */
static const struct {
	const char *what;
	uint8_t from, to, source_track, track;
	uint32_t clock_rate;
	bool has_stream, has_config;
	enum err err;
} requests[] = {
	{"good",            MEDIA_AAC,  MEDIA_OPUS, 1, 4, 48000, true,  true,  ERR_OK},
	{"no stream",       MEDIA_AAC,  MEDIA_OPUS, 1, 4, 48000, false, true,  ERR_FORMAT},
	{"track too high",  MEDIA_AAC,  MEDIA_OPUS, 1, 8, 48000, true,  true,  ERR_FORMAT},
	{"source too high", MEDIA_AAC,  MEDIA_OPUS, 9, 4, 48000, true,  true,  ERR_FORMAT},
	{"onto itself",     MEDIA_AAC,  MEDIA_OPUS, 4, 4, 48000, true,  true,  ERR_FORMAT},
	{"same codec",      MEDIA_OPUS, MEDIA_OPUS, 1, 4, 48000, true,  false, ERR_UNSUPPORTED},
	{"video",           MEDIA_H264, MEDIA_OPUS, 1, 4, 90000, true,  false, ERR_UNSUPPORTED},
	{"not a codec",     200,        201,        1, 4, 48000, true,  false, ERR_UNSUPPORTED},
	{"no clock",        MEDIA_OPUS, MEDIA_AAC,  1, 4, 0,     true,  false, ERR_UNSUPPORTED},
	{"no config",       MEDIA_AAC,  MEDIA_OPUS, 1, 4, 48000, true,  false, ERR_FORMAT},
};
/* clang-format on */

TEST(requests_that_cannot_be_done_are_refused)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		begin(MEDIA_AAC);
		struct addr asker = spawn_person();
		struct msg_transcode_start start = {
			.stream = requests[i].has_stream ? stream : (struct addr){0},
			.source = source,
			.codec = requests[i].to,
			.track = requests[i].track};
		struct addr to = {.node = 1,
			.id = hosts[HELPER].info.block << RUNTIME_BLOCK_SHIFT | OFFICE_TRANSCODE};

		start.source.codec = requests[i].from;
		start.source.id = requests[i].source_track;
		start.source.clock_rate = requests[i].clock_rate;
		if (!requests[i].has_config)
			start.source.config_size = 0;
		tell(asker, to, MSG_transcode_start, &start);
		run_ms(20);
		const struct person *person = state_of(WORKER, asker);

		if (person->failed != requests[i].err)
			fail_msg("%s: %s", requests[i].what, err_name(person->failed));
		CHECK_EQ(person->started, requests[i].err == ERR_OK);
		end();
	}
}

TEST(without_memory_a_request_is_refused)
{
	struct media_track made;
	struct addr who;
	enum err err = ERR_NO_MEMORY;
	size_t n = 0;

	begin(MEDIA_AAC);
	struct msg_transcode_start start = {
		.stream = stream, .source = source, .codec = MEDIA_OPUS, .track = 4};
	struct transcoder_args args = {.start = &start, .made = &made};

	/* the actor, the engine, its decoder and its encoder */
	while (n < 4 && err) {
		test_fail_allocation(++n);
		err = actor_spawn(hosts[HELPER].rt, NULL, &transcoder_actor, &args, &who);
		test_fail_allocation(0);
		if (err)
			CHECK_EQ(err, ERR_NO_MEMORY);
		run_ms(5);
	}
	CHECK_GE(n, 4);
	end();
}

/* A second request for a stream replaces the first: its answer must have been lost. */
TEST(one_transcoder_a_stream)
{
	begin(MEDIA_AAC);
	struct addr asker = spawn_person();
	struct addr to = {.node = 1,
		.id = hosts[HELPER].info.block << RUNTIME_BLOCK_SHIFT | OFFICE_TRANSCODE};
	struct msg_transcode_start start = {
		.stream = stream, .source = source, .codec = MEDIA_OPUS, .track = 4};

	for (int i = 0; i < 3; i++) {
		tell(asker, to, MSG_transcode_start, &start);
		run_ms(50);
	}
	CHECK_EQ(office()->started, 3);
	CHECK_EQ(office()->rows_count, 1);
	CHECK_EQ(((const struct stream_state *)state_of(WORKER, stream))->subscribers_count, 1);
	end();
}

/* A successor goes on where the state says: same numbers, codecs opened anew. */
TEST(a_successor_goes_on)
{
	static uint8_t encoded[64 * 1024], again[64 * 1024];
	struct writer w = writer_of(encoded, sizeof(encoded));
	struct writer v = writer_of(again, sizeof(again));

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(1000);
	struct addr who = office()->rows[0].transcoder;
	struct host old = hosts[HELPER];
	uint64_t ids[] = {old.info.block << RUNTIME_BLOCK_SHIFT | OFFICE_TRANSCODE, who.id};

	for (int i = 0; i < 2; i++)
		CHECK_OK(runtime_encode_actor(runtime_find(old.rt, ids[i]), &w));
	size_t size = writer_used(&w), before = heard_count;

	hosts[HELPER] = (struct host){0}; /* silent from here on */
	start_process(HELPER, PROCESS_HELPER);
	struct reader in = reader_of(encoded, size);

	arena_recount_begin(hosts[HELPER].arena);
	for (int i = 0; i < 2; i++)
		CHECK_OK(runtime_restore_actor(hosts[HELPER].rt, &in));
	for (int i = 0; i < 2; i++)
		CHECK_OK(runtime_encode_actor(runtime_find(hosts[HELPER].rt, ids[i]), &v));
	arena_recount_end(hosts[HELPER].arena);
	runtime_block_moved(hosts[CONTROL].rt, old.info.block, hosts[HELPER].info.process);
	runtime_block_moved(hosts[WORKER].rt, old.info.block, hosts[HELPER].info.process);
	runtime_restore_end(hosts[HELPER].rt);
	publish_ms(1000);
	CHECK_GE(heard_count, before + 45);
	for (size_t k = 1; k < heard_count; k++) {
		const struct media_header *a = &heard[k - 1].header, *b = &heard[k].header;

		CHECK_EQ(b->track_seq, a->track_seq + 1);
		CHECK_EQ(b->frame, a->frame + 1);
		CHECK_LE(b->rtp_time - a->rtp_time, 4 * 960);
	}
	const struct transcoder_state *st = state_of(HELPER, who);

	CHECK_EQ(st->resets, 2);
	CHECK_EQ(st->last_seq, heard_count);
	free_process(&old);
	end();
}

/* It asks the stream anew; its codecs begin anew, on the timeline it had. */
static void same_transcoder(const void *before, const void *now)
{
	CHECK_MEM(now, before, sizeof(struct transcoder_state));
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_TRANSCODE(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

TEST(office_and_transcoder_come_back_in_another_process)
{
	struct arena_layout layout = {
		.count = {PACKETS, 2, 1, 1},
		.escrow = {1,      1      },
	};
	struct arena_usage usage;

	for (size_t i = 0; i < 2; i++) {
		begin(directions[i].from);
		watch(directions[i].to);
		publish_ms(500);
		CHECK_GE(transcoder()->frames_out, 10);
		arena_usage(hosts[HELPER].arena, &usage); /* packets on their way: dropped */
		CHECK_EQ(successor_run(&kit, hosts[HELPER].rt, hosts[HELPER].memory,
				 arena_size(&layout), usage.used[ARENA_PACKET]),
			2);
		end();
	}
	successor_check_rows(&kit);
}

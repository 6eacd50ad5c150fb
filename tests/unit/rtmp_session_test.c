/* SPDX-License-Identifier: Apache-2.0
 *
 * RTMP sessions: who publishes, who is refused, and how a session ends.
 */
#include "tests/unit/rtmp_session_rig.h"

static void begin(void)
{
	begin_with(SLOTS);
}

static void put_video(enum flv_packet packet, const uint8_t *data, size_t size, uint32_t time_ms)
{
	uint8_t header[FLV_BODY_HEADER_MAX];
	struct flv_video video = {.codec = MEDIA_H264,
		.packet = packet,
		.keyframe = packet == FLV_SEQUENCE_START || time_ms == 0};
	size_t header_size = flv_video_header(&video, header);
	struct iovec pieces[] = {
		{header,			 header_size},
		       {(void *)(uintptr_t)data, size	     }
	      };

	put_message(CHUNK_VIDEO, time_ms, pieces, 2);
}

static void put_pictures(int from, int to)
{
	for (int i = from; i < to; i++)
		put_video(
			FLV_FRAMES, sample.frames[i].data, sample.frames[i].size, (uint32_t)i * 40);
}

static unsigned frames_heard(void)
{
	unsigned frames = 0;

	for (size_t i = 0; i < stream.heard_count; i++)
		frames += !!(stream.heard[i].flags & MEDIA_FRAME_END);
	return frames;
}

TEST(published_pictures_reach_the_stream)
{
	static const size_t pieces[] = {SIZE_MAX, 1, 7, 1000}; /* a read gives at most */

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		begin();
		read_most = pieces[i];
		ask("publish", "demo");
		put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
		put_pictures(0, 6);
		deliver();
		CHECK(was_told("NetStream.Publish.Start"));
		CHECK(was_told("come-back-with-this"));
		CHECK_EQ(stream.tracks_told, 1);
		CHECK_EQ(stream.packets_before_tracks, 0);
		CHECK_EQ(frames_heard(), 6);
		CHECK_EQ(stream.heard[0].track_seq, 1);
		CHECK(stream.heard[0].flags & MEDIA_KEYFRAME);
		run_ms(1000);
		CHECK_STR(session_state()->stream_name, "live/demo");
		CHECK_EQ(session_state()->video_frames, 6);
		CHECK_EQ(session_state()->tracks[0].codec, MEDIA_H264);
		put_command("deleteStream", NULL);
		hung_up = true;
		deliver();
		turn(NET_READABLE | NET_CLOSED);
		CHECK(!session_lives() && closed);
		CHECK_EQ(stream.unpublishes, 1);
		end();
	}
}

TEST(media_waits_until_the_stream_knows_its_tracks)
{
	begin();
	stream.hold_done = true;
	ask("publish", "demo");
	put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	put_pictures(0, 3);
	deliver();
	CHECK_EQ(stream.tracks_told, 1);
	CHECK_EQ(stream.heard_count, 0);
	CHECK_EQ(wanted & NET_READABLE, 0); /* the client waits too */
	run_ms(4000);			    /* no answer: it cannot go on */
	CHECK(!session_lives() && closed);
	CHECK(was_told("NetStream.Publish.Denied"));
	end();
}

TEST(refusals_say_why_and_close)
{
	static const struct {
		const char *command, *key, *told;
		bool busy;
		enum err subscribe;
	} rows[] = {
		{"publish", "demo", "NetStream.Publish.BadName",	 true,  ERR_OK	     },
		{"play",	 "demo", "NetStream.Play.StreamNotFound", false, ERR_NOT_FOUND},
		{"play",	 "demo", "NetStream.Play.Failed",	  false, ERR_OVERLOAD },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		stream.busy = rows[i].busy;
		stream.subscribe = rows[i].subscribe;
		ask(rows[i].command, rows[i].key);
		deliver();
		CHECK(was_told(rows[i].told));
		CHECK(!session_lives() && closed);
		CHECK_EQ(stream.heard_count, 0);
		end();
	}
}

/* Who was asked dies with the question: a client that is refused does not come back by itself. */
TEST(a_publisher_is_asked_for_until_somebody_answers)
{
	static const struct {
		unsigned deaths, publishes;
		bool busy, leaves;
		const char *told; /* NULL: nothing */
	} rows[] = {
		{0,	    1,  false, false, "NetStream.Publish.Start"  },
		{3,	    4,  false, false, "NetStream.Publish.Start"  },
		{2,	    3,  true,  false, "NetStream.Publish.BadName"},
		{10000, 80, false, false, "NetStream.Publish.Failed" }, /* each 100 ms for 8 s */
		{10000, 1,  false, true,	NULL			    },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		stream.deaths = rows[i].deaths;
		stream.busy = rows[i].busy;
		ask("publish", "demo");
		put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
		put_pictures(0, 2);
		deliver();
		if (rows[i].deaths) { /* what follows rests until it is answered */
			CHECK(!was_told("NetStream.Publish"));
			CHECK_EQ(stream.tracks_told, 0);
			CHECK(!(wanted & NET_READABLE));
		}
		if (rows[i].leaves)
			turn(NET_CLOSED);
		for (int ms = 0; ms < 9000; ms += 20)
			run_ms(20);
		deliver();
		CHECK_EQ(stream.publishes, rows[i].publishes);
		if (rows[i].told)
			CHECK(was_told(rows[i].told));
		bool publishes = rows[i].told && strstr(rows[i].told, "Start");

		CHECK_EQ(session_lives(), publishes);
		CHECK_EQ(frames_heard(), publishes ? 2 : 0);
		end();
	}
}

TEST(a_worker_that_drains_tells_its_publishers)
{
	begin();
	ask("publish", "demo");
	deliver();
	CHECK(session_lives());
	runtime_drain(rt, 1000);
	turn(0);
	CHECK(was_told("The server is about to stop."));
	CHECK(!session_lives() && closed);
	CHECK_EQ(stream.unpublishes, 1);
	CHECK(runtime_is_drained(rt));
	end();
}

TEST(a_client_that_stops_talking_is_closed)
{
	begin();
	ask("publish", "demo");
	wire_end = 100; /* of the handshake */
	deliver();
	run_ms(RTMP_HANDSHAKE_MS - 1);
	CHECK(session_lives());
	run_ms(2);
	CHECK(!session_lives() && closed);
	end();
	begin();
	ask("publish", "demo");
	deliver();
	run_ms(RTMP_SILENCE_MS - 1);
	CHECK(session_lives());
	run_ms(2);
	CHECK(!session_lives() && closed);
	CHECK_EQ(stream.unpublishes, 1);
	end();
}

TEST(a_client_that_does_not_listen_stops_itself)
{
	static const uint8_t ping[] = {0, 6, 0, 0, 0, 1};

	begin();
	ask("publish", "demo");
	deliver();
	write_room = 0;
	for (int i = 0; i < 20000; i++)
		put_message(CHUNK_USER_CONTROL, 0,
			&(struct iovec){(void *)(uintptr_t)ping, sizeof(ping)}, 1);
	deliver();
	CHECK(wire_at < wire_end);
	CHECK_EQ(wanted, NET_WRITABLE);
	write_room = SIZE_MAX;
	turn(NET_WRITABLE);
	deliver();
	CHECK_EQ(wire_at, wire_end);
	CHECK(session_lives());
	end();
}

TEST(an_empty_pool_leaves_a_gap_in_the_numbers)
{
	begin();
	stream.keep = true;
	ask("publish", "demo");
	put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	put_pictures(0, 1);
	for (int i = 0; i < 2 * SLOTS; i++)
		put_video(FLV_FRAMES, sample.frames[1].data, sample.frames[1].size,
			(uint32_t)(i + 1) * 40);
	deliver();
	run_ms(1000);
	CHECK_EQ(stream.heard_count, SLOTS);
	CHECK(session_state()->dropped_no_slot > 0);
	CHECK_EQ(session_state()->video_packets, SLOTS + session_state()->dropped_no_slot);
	end();
}

static size_t encode(uint64_t id, uint8_t *bytes, size_t size)
{
	struct writer w = writer_of(bytes, size);

	CHECK_OK(runtime_encode_actor(runtime_find(rt, id), &w));
	return writer_used(&w);
}

/* The slot outlives its process; the socket does not yet. */
TEST(a_successor_ends_the_session_in_order)
{
	static uint8_t before[8192], after[8192];

	begin();
	ask("publish", "demo");
	put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	put_pictures(0, 2);
	deliver();
	run_ms(1000);
	uint64_t session = socket_owner;
	size_t size = encode(session, before, sizeof(before));
	/* the process is gone without a word: its memory is all that is left */
	void *copy = aligned_alloc(4096, memory_size);
	struct arena *old_arena = arena;

	memcpy(copy, memory, memory_size);
	runtime_destroy(&rt);
	arena_detach(&old_arena);
	free(memory);
	memory = copy;
	closed = false;
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	start_runtime(2, types);
	arena_recount_begin(arena);
	CHECK_OK(runtime_restore_actor(rt, &(struct reader){before, before + size, false}));
	CHECK_EQ(encode(session, after, sizeof(after)), size);
	CHECK_MEM(before, after, size);
	arena_recount_end(arena);
	runtime_restore_end(rt);
	CHECK(session_lives());
	CHECK_EQ(session_state()->video_frames, 2);
	run_ms(1);
	CHECK(!session_lives());
	CHECK(!closed); /* nothing that has the old number is touched */
	end();
}

TEST(a_slot_written_by_somebody_else_is_refused)
{
	static uint8_t bytes[8192];

	begin();
	ask("publish", "demo");
	deliver();
	size_t size = encode(socket_owner, bytes, sizeof(bytes));
	const struct rtmp_session_state *st = session_state();
	struct slot_ref ref = {st->slot_index, st->slot_generation};
	uint8_t *slot = arena_get(arena, ARENA_BUFFER, ref);
	void *copy = aligned_alloc(4096, memory_size);

	memset(slot, 0xff, 4096);
	memcpy(copy, memory, memory_size);
	memset(slot, 0, 4096); /* so that the old one can end */
	runtime_destroy(&rt);
	arena_detach(&arena);
	free(memory);
	memory = copy;
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	start_runtime(2, types);
	arena_recount_begin(arena);
	CHECK(runtime_restore_actor(rt, &(struct reader){bytes, bytes + size, false}) != ERR_OK);
	arena_recount_end(arena);
	runtime_restore_end(rt);
	turn(0);
	CHECK(!session_lives());
	end();
}

TEST(connections_beyond_the_slots_are_closed_at_once)
{
	begin();
	ask("publish", "one");
	ask("publish", "two");
	ask("publish", "three");
	CHECK(!closed);
	ask("publish", "four");
	CHECK(closed);
	end();
}

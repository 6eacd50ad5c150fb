/* SPDX-License-Identifier: Apache-2.0
 *
 * RTMP sessions that play.
 */
#include "tests/unit/rtmp_session_rig.h"

static void begin_playing(void)
{
	begin_with(PLAYED);
	stream.log = sample_log_create(arena);
	stream.track = SAMPLE_LOG_TRACK;
	sample_log_grow(arena, stream.log, 0, 12, 0);
}

static void grow(int from, int to)
{
	sample_log_grow(arena, stream.log, from, to, 0);
	actor_kick(rt, stream.muxer);
	run_ms(100);
}

struct played {
	unsigned configurations, pictures, keyframes, scripts, pongs;
	uint32_t first_ms, last_ms;
};

/* Every message that the player was sent must be whole and readable, whatever came between. */
static struct played read_answers(void)
{
	static struct chunk_reader chunks;
	static uint8_t partial[1 << 20];
	struct reader in = reader_of(answers, answer_size);
	struct chunk_message message;
	struct played played = {.first_ms = UINT32_MAX};
	enum err err;

	read_bytes(&in, HANDSHAKE_ANSWER_SIZE);
	chunk_reader_init(&chunks, sizeof(partial) / 2);
	while ((err = chunk_read(&chunks, partial, sizeof(partial), &in, &message)) == ERR_OK) {
		struct flv_video video;

		played.scripts += message.type == CHUNK_DATA_AMF0 &&
				  memmem(message.payload, message.size, "onMetaData", 10);
		played.pongs += message.type == CHUNK_USER_CONTROL && message.payload[1] == 7;
		if (message.type != CHUNK_VIDEO)
			continue;
		CHECK_EQ(message.stream, 1);
		CHECK_OK(flv_video_parse(message.payload, message.size, &video));
		played.configurations += video.packet == FLV_SEQUENCE_START;
		if (video.packet != FLV_FRAMES)
			continue;
		CHECK(played.configurations && (played.pictures || video.keyframe));
		if (!played.pictures)
			played.first_ms = message.time_ms;
		played.last_ms = message.time_ms;
		played.pictures++;
		played.keyframes += video.keyframe;
	}
	CHECK_EQ(err, ERR_AGAIN);
	return played;
}

TEST(a_player_gets_the_last_pictures_and_ends_with_the_stream)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	CHECK(was_told("NetStream.Play.Reset") && was_told("NetStream.Play.Start"));
	struct played played = read_answers();

	CHECK_EQ(played.scripts, 1);
	CHECK_EQ(played.configurations, 1);
	CHECK_EQ(played.pictures, 6); /* the last GOP */
	CHECK_EQ(played.first_ms, 0);
	grow(12, 20);
	CHECK_EQ(read_answers().pictures, 14);
	run_ms(1000);
	CHECK(session_state()->log_generation && session_state()->bytes_out > 1000);
	CHECK_STR(session_state()->stream_name, "live/demo");
	actor_stop(runtime_find(rt, stream.muxer.id), ERR_OK);
	turn(0);
	CHECK(was_told("NetStream.Play.UnpublishNotify") && was_told("The stream has ended."));
	CHECK(!session_lives() && closed);
	end();
}

/* Not all that is known of it is written into the escrow with each picture. */
TEST(pictures_change_the_numbers_of_a_player_and_nothing_else)
{
	enum { PICTURES = 20, NUMBERS_MAX = 80 }; /* bytes */

	keeps = true;
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	uint64_t kept = runtime_counters(rt)->kept_bytes, sent = session_state()->bytes_out;

	for (int i = 12; i < 12 + PICTURES; i++)
		grow(i, i + 1);
	CHECK_GE(session_state()->bytes_out - sent, 1000);
	CHECK(runtime_counters(rt)->kept_bytes > kept);
	CHECK_LE(runtime_counters(rt)->kept_bytes - kept, PICTURES * NUMBERS_MAX);
	end();
}

TEST(a_player_that_stops_may_play_again)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	put_command("deleteStream", NULL);
	deliver();
	CHECK(was_told("NetStream.Play.Stop"));
	CHECK_EQ(session_state()->log_generation, 0);
	unsigned before = read_answers().pictures;

	grow(12, 14);
	CHECK_EQ(read_answers().pictures, before);
	put_command("play", "demo");
	deliver();
	run_ms(100);
	CHECK_EQ(read_answers().pictures, before + 2);
	hung_up = true;
	turn(NET_READABLE | NET_CLOSED);
	CHECK(!session_lives() && closed);
	run_ms(6000); /* nobody watches: the muxer ends */
	CHECK_EQ(stream.unsubscribes, 1);
	end();
}

/* Answers wait for the end of a message, however small the pieces that the player takes. */
TEST(answers_and_tags_do_not_mix)
{
	static const uint8_t ping[] = {0, 6, 0, 0, 0, 1};

	for (size_t room = 50; room < 1500; room += 150) {
		begin_playing();
		ask("play", "demo");
		deliver();
		unsigned pings = 0;

		for (int i = 12; i < 120; i++) {
			write_room = room;
			put_message(CHUNK_USER_CONTROL, 0,
				&(struct iovec){(void *)(uintptr_t)ping, sizeof(ping)}, 1);
			pings++;
			turn(NET_READABLE | NET_WRITABLE);
			grow(i, i + 1);
		}
		write_room = SIZE_MAX;
		for (int i = 0; i < 4; i++)
			turn(NET_READABLE | NET_WRITABLE);
		struct played played = read_answers();

		CHECK_EQ(played.pongs, pings);
		CHECK_GE(played.pictures, 2);
		end();
	}
}

TEST(a_player_that_takes_nothing_is_let_go)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	write_room = 10;
	grow(12, 14);
	CHECK_EQ(wanted & NET_WRITABLE, NET_WRITABLE);
	run_ms(29000);
	CHECK(session_lives());
	run_ms(1500);
	CHECK(!session_lives() && closed);
	end();
}

TEST(a_pause_ends_at_a_keyframe_not_too_far_back)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	unsigned before = read_answers().pictures;

	put_command("pause", NULL);
	deliver();
	CHECK(was_told("NetStream.Pause.Notify"));
	for (int i = 12; i < 112; i++)
		grow(i, i + 1);
	CHECK_EQ(read_answers().pictures, before);
	put_command("pause", NULL);
	deliver();
	run_ms(100);
	CHECK(was_told("NetStream.Unpause.Notify"));
	struct played played = read_answers();

	CHECK_EQ(played.configurations, 2);
	CHECK_GE(played.pictures, before + 1);
	CHECK_LE(played.pictures, before + 50);
	CHECK_EQ(played.last_ms, (111 - 6) * 40);
	end();
}

TEST(video_that_a_player_has_not_announced_is_named)
{
	static const struct {
		enum media_codec codec;
		const char *told;
	} rows[] = {
		{MEDIA_VP8,  "FLV cannot carry VP8"},
		{MEDIA_H265, "The video is H265"	},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_playing();
		stream.track.codec = rows[i].codec;
		ask("play", "demo");
		deliver();
		run_ms(100);
		CHECK(was_told("NetStream.Play.Failed"));
		CHECK(was_told(rows[i].told));
		CHECK(!session_lives() && closed);
		end();
	}
}

TEST(a_player_of_a_worker_that_drains_gets_whole_messages)
{
	for (size_t room = 3500; room < 9000; room += 250) {
		begin_playing();
		write_room = room;
		ask("play", "demo");
		deliver();
		run_ms(100);
		runtime_drain(rt, 1000);
		run_ms(1);
		write_room = SIZE_MAX;
		turn(NET_WRITABLE);
		CHECK(!session_lives() && closed);
		read_answers();
		CHECK(was_told("The server is about to stop."));
		CHECK(runtime_is_drained(rt));
		end();
	}
}

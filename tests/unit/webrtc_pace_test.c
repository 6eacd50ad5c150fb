/* SPDX-License-Identifier: Apache-2.0
 *
 * How a viewer's packets are spread in time (tests/unit/webrtc_worker.h).
 */
#include "tests/unit/webrtc_peer.h"

enum { FRAME_MS = 40, PACKET = 1200 };

static struct {
	uint64_t video, audio;
	uint32_t frame;
} numbers;

static void add_frame(unsigned packets, uint8_t flags)
{
	numbers.frame++;
	for (unsigned i = 0; i < packets; i++) {
		uint8_t edge = (uint8_t)((i == 0 ? MEDIA_FRAME_START : 0) |
					 (i + 1 == packets ? MEDIA_FRAME_END : 0));

		stream_put(
			&(struct media_header){
				.track_seq = ++numbers.video,
				.rtp_time = 1000000 + numbers.frame * UINT64_C(3600),
				.frame = numbers.frame,
				.size = PACKET,
				.flags = (uint8_t)(edge | flags),
				.priority = MEDIA_PRIORITY_DELTA,
			},
			(uint8_t)numbers.frame);
	}
}

static void add_sound(void)
{
	numbers.audio++;
	stream_put(
		&(struct media_header){
			.track = 1,
			.track_seq = numbers.audio,
			.rtp_time = numbers.audio * 960,
			.frame = (uint32_t)numbers.audio,
			.size = 100,
			.flags = MEDIA_FRAME_START | MEDIA_FRAME_END,
		},
		1);
}

/* One millisecond of the worker; the stream's log knows of a packet when it was added. */
static void one_ms(void)
{
	now_us += 1000;
	runtime_tick(rt);
	runtime_turn(rt);
}

static size_t read_packets(void)
{
	client.packet_count = 0;
	client_read();
	return client.packet_count;
}

static void begin_at_2_mbit(void)
{
	memset(&numbers, 0, sizeof(numbers));
	begin();
	client_begin(true);
	client_connect();
	add_frame(1, MEDIA_KEYFRAME);
	for (int frame = 0; frame < 75; frame++) {
		for (int ms = 0; ms < FRAME_MS; ms++)
			one_ms();
		add_frame(9, 0);
		one_ms();
		/* a usual frame leaves at once and as one */
		if (frame > 25)
			CHECK_EQ(read_packets(), 9);
		else
			read_packets();
	}
	for (int ms = 0; ms < FRAME_MS; ms++)
		one_ms();
	read_packets();
	send_calls = send_packets_max = send_bytes_max = 0;
}

TEST(a_usual_frame_is_one_send)
{
	begin_at_2_mbit();
	add_frame(9, 0);
	one_ms();
	CHECK_EQ(read_packets(), 9);
	CHECK_EQ(send_calls, 1);
	client_end();
	end();
}

TEST(a_keyframe_is_spread_over_its_frame_interval_and_sound_overtakes_it)
{
	size_t video = 0, audio = 0, span_bytes;

	begin_at_2_mbit();
	span_bytes = pacer_span_bytes(pacer_rate(
		media_log_rate_bps(media_log_get(arena, stream.log)), 60 * PACKET, false));
	CHECK_LE(span_bytes, 18000);
	add_frame(60, MEDIA_KEYFRAME);
	for (int ms = 1; ms <= 36; ms++) {
		if (ms % 10 == 5)
			add_sound();
		one_ms();
		size_t count = read_packets();

		for (size_t i = 0; i < count; i++)
			*(client.packets[i].payload_type == 111 ? &audio : &video) += 1;
		CHECK_LE(count, 17);
		if (ms == 5) {
			CHECK_GE(audio, 1); /* not behind what is left of the picture */
			CHECK_LE(video, 30);
		}
		if (ms == 15)
			CHECK_LE(video, 55);
	}
	CHECK_EQ(video, 60);
	CHECK_EQ(audio, 4);
	CHECK_EQ(client.bad, 0);
	CHECK_GE(send_calls, 4);
	CHECK_LE(send_packets_max, 16);
	/* 5 ms of the rate, and headers and tags */
	CHECK_LE(send_bytes_max, span_bytes + 16 * 64);
	/* the next frame is on time again */
	for (int ms = 36; ms < FRAME_MS; ms++)
		one_ms();
	read_packets();
	add_frame(9, 0);
	one_ms();
	CHECK_EQ(read_packets(), 9);
	client_end();
	end();
}

TEST(what_is_asked_for_again_does_not_wait_for_a_keyframe)
{
	uint8_t bytes[512];
	uint16_t lost;
	struct writer w = writer_of(bytes, sizeof(bytes));
	size_t size;

	begin_at_2_mbit();
	add_frame(9, 0);
	one_ms();
	CHECK_EQ(read_packets(), 9);
	lost = client.packets[3].sequence;
	rtcp_write_rr(&w, 1, NULL, 0);
	CHECK_EQ(rtcp_write_nack(&w, 1, client.packets[3].ssrc, &lost, 1), 1);
	size = writer_used(&w);
	CHECK_OK(seal_rtcp(&client.seal, client.rtcp_index++, bytes, &size, sizeof(bytes)));
	add_frame(60, MEDIA_KEYFRAME);
	one_ms();
	read_packets();
	deliver(bytes, size);
	CHECK_EQ(read_packets(), 1);
	CHECK_EQ(client.packets[0].payload_type, 97);
	client_end();
	end();
}

TEST(a_worker_that_comes_round_rarely_does_not_fall_behind)
{
	size_t count = 0;

	begin_at_2_mbit();
	/* a turn takes as long as three frames */
	for (int turn = 0; turn < 20; turn++) {
		now_us += 3 * FRAME_MS * 1000;
		for (int frame = 0; frame < 3; frame++)
			add_frame(9, 0);
		runtime_tick(rt);
		runtime_turn(rt);
		count += read_packets();
	}
	CHECK_GE(count, 19 * 27);
	CHECK_LE(send_packets_max, 16);
	client_end();
	end();
}

TEST(a_new_viewer_has_the_keyframe_within_milliseconds)
{
	size_t count = 0;
	int ms = 0;

	memset(&numbers, 0, sizeof(numbers));
	begin();
	/* 2 Mbit/s, the keyframe worth 0.2 s of it */
	add_frame(42, MEDIA_KEYFRAME);
	for (int frame = 0; frame < 15; frame++) {
		now_us += FRAME_MS * 1000;
		add_frame(9, 0);
	}
	client_begin(true);
	client_connect();
	send_calls = send_packets_max = send_bytes_max = 0;
	for (; ms < 50 && count < 42; ms++) {
		one_ms();
		count += read_packets();
	}
	CHECK_LE(ms, 8);
	CHECK_GE(send_calls, 3);
	CHECK_LE(send_packets_max, 16);
	client_end();
	end();
}

/* A report a second, each at a time at which those of other viewers leave, too; never later than that. */
TEST(reports_are_due_on_a_grid)
{
	enum { SECONDS = 6 };
	const struct session_slot *slot;
	int64_t due_us;

	begin();
	stream_add(1, MEDIA_KEYFRAME);
	client_begin(true);
	now_us += 7; /* off it by this, and by what a handshake takes */
	client_connect();
	run_ms(500);
	slot = session_slot(runtime_find(rt, stream.session.id), session_now());
	client_read();
	client.rtcp = 0;
	for (int i = 0; i < SECONDS * 200; i++) {
		due_us = slot->report_us;
		run_ms(5);
		CHECK_EQ(slot->report_us % SESSION_REPORT_GRID_US, 0);
		CHECK_LE(slot->report_us - now_us, SESSION_REPORT_US);
		CHECK(slot->report_us == due_us || now_us >= due_us);
		client_read();
	}
	CHECK_GE(client.rtcp, SECONDS - 1);
	CHECK_LE(client.rtcp, SECONDS + 1);
	client_end();
	end();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of viewers and publishers, from offer to departure (tests/unit/webrtc_worker.h).
 */
#include "tests/unit/webrtc_peer.h"

static void client_send_rtcp(struct writer *w)
{
	size_t size = writer_used(w);

	CHECK_OK(seal_rtcp(&client.seal, client.rtcp_index++, w->begin, &size, 512));
	deliver(w->begin, size);
}

TEST(a_viewer_gets_the_cached_frames_then_the_live_ones)
{
	begin();
	for (uint64_t n = 1; n <= 30; n++)
		stream_add(n, n == 1 ? MEDIA_KEYFRAME : 0);
	client_begin(true);
	client_connect();
	run_ms(300);
	client_read();
	CHECK_EQ(client.packet_count, 30);
	CHECK_EQ(client.bad, 0);
	CHECK_GE(client.rtcp, 1);
	/* 29 frames of 3000 ticks are squeezed into a ninth of it: the end is where the live edge is */
	CHECK_LE(client.packets[29].timestamp - client.packets[0].timestamp, 29 * 3000 / 8);
	for (size_t i = 1; i < 30; i++)
		CHECK_EQ(
			(uint16_t)(client.packets[i].sequence - client.packets[i - 1].sequence), 1);
	for (uint64_t n = 31; n <= 40; n++) {
		stream_add(n, 0);
		run_ms(35);
	}
	client_read();
	CHECK_EQ(client.packet_count, 40);
	CHECK_EQ(client.packets[39].timestamp - client.packets[38].timestamp, 3000);
	client_end();
	end();
}

TEST(without_a_cached_keyframe_a_viewer_asks_and_waits)
{
	begin();
	client_begin(true);
	client_connect();
	for (uint64_t n = 1; n <= 5; n++)
		stream_add(n, 0);
	run_ms(200);
	client_read();
	CHECK_EQ(client.packet_count, 0);
	CHECK_GE(stream.keyframe_requests, 1);
	stream_add(6, MEDIA_KEYFRAME);
	stream_add(7, 0);
	run_ms(20);
	client_read();
	CHECK_EQ(client.packet_count, 2);
	client_end();
	end();
}

TEST(lost_packets_come_again_by_rtx)
{
	uint8_t bytes[512];
	uint16_t lost[2];
	struct writer w = writer_of(bytes, sizeof(bytes));

	begin();
	stream_add(1, MEDIA_KEYFRAME);
	client_begin(true);
	client_connect();
	run_ms(100);
	for (uint64_t n = 2; n <= 9; n++)
		stream_add(n, 0);
	run_ms(20);
	client_read();
	CHECK_EQ(client.packet_count, 9);
	lost[0] = client.packets[3].sequence;
	lost[1] = client.packets[5].sequence;
	rtcp_write_rr(&w, 1, NULL, 0);
	CHECK_EQ(rtcp_write_nack(&w, 1, client.packets[3].ssrc, lost, 2), 2);
	client_send_rtcp(&w);
	client_read();
	CHECK_EQ(client.packet_count, 11);
	CHECK_EQ(client.packets[9].payload_type, 97);
	CHECK_EQ(client.packets[9].payload[0] << 8 | client.packets[9].payload[1], lost[0]);
	client_end();
	end();
}

TEST(b_frames_nobody_refers_to_are_left_out_and_leave_no_gap)
{
	begin();
	stream_add(1, MEDIA_KEYFRAME);
	client_begin(true);
	client_connect();
	run_ms(100);
	stream_add(2, MEDIA_B_FRAME | MEDIA_DISCARDABLE);
	stream_add(3, 0);
	run_ms(20);
	client_read();
	CHECK_EQ(client.packet_count, 2);
	CHECK_EQ((uint16_t)(client.packets[1].sequence - client.packets[0].sequence), 1);
	client_end();
	end();
}

TEST(a_publisher_is_heard_by_the_stream_and_found_when_it_moves)
{
	static const struct net_addr moved = {
		.family = 4, .port = 4999, .ip = {192, 0, 2, 10}
	};

	begin();
	client_begin(false);
	CHECK_EQ(stream.publish.tracks_count, 2);
	CHECK_EQ(stream.publish.tracks[0].id, 0);
	CHECK_EQ(stream.publish.tracks[1].id, 1);
	CHECK_STR(heard.created.resume, "again");
	client_connect();
	for (uint16_t n = 100; n < 110; n++)
		client_send_rtp(111, 7777, n, &client_addr);
	CHECK_EQ(stream.heard_count, 10);
	CHECK_EQ(stream.heard[0].track, 1);
	CHECK_EQ(stream.heard[9].track_seq - stream.heard[0].track_seq, 9);
	CHECK_EQ(stream.heard[9].rtp_time - stream.heard[0].rtp_time, 9 * 960);
	client_send_rtp(111, 7777, 109, &client_addr); /* a replay */
	CHECK_EQ(stream.heard_count, 10);
	client_send_rtp(111, 7777, 110, &moved);
	CHECK_EQ(stream.heard_count, 11);
	run_ms(1100);
	client_read();
	CHECK_GE(client.rtcp, 1);
	CHECK_EQ(client.bad, 0);
	client_end();
	end();
}

/* The stream, as it is to a session, says how much is taken. */
static void say_taken(uint32_t bps)
{
	actor_send(edge(), stream.session, bitrate, {.bps = bps});
	run_ms(10);
	client_read();
}

/* Row: does it speak transport-wide feedback; is REMB agreed on; is it told. */
TEST(a_publisher_hears_how_much_is_taken)
{
	static const struct {
		uint16_t feedback;
		bool told;
	} rows[] = {
		{SDP_TRANSPORT_CC | SDP_REMB, true },
		{SDP_TRANSPORT_CC,		   false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		client_begin(false);
		client_connect();
		struct session_slot *slot =
			session_slot(runtime_find(rt, stream.session.id), session_now());

		for (int j = 0; j < slot->plan.media_count; j++)
			slot->plan.media[j].feedback = rows[i].feedback;
		run_ms(3000);
		client_read();
		CHECK_EQ(client.rembs, 0); /* nobody has said anything */
		say_taken(800000);
		CHECK_EQ(client.rembs, rows[i].told); /* at once */
		CHECK_EQ(session_now()->st.takes_bps, 800000);
		if (rows[i].told) {
			CHECK_LE(client.remb_bps, 800000);
			CHECK_GE(client.remb_bps, 799000);
			say_taken(900000); /* more: with the next report */
			CHECK_LE(client.remb_bps, 800000);
			run_ms(1100);
			client_read();
			CHECK_GE(client.remb_bps, 899000);
			say_taken(1); /* never so little that no picture is left */
			CHECK_GE(client.remb_bps, 299000);
			say_taken(0);
			run_ms(1100);
			client_read();
			CHECK_GE(client.remb_bps, 500000000);
			/* what is not said again does not hold */
			say_taken(700000);
			CHECK_LE(client.remb_bps, 700000);
			run_ms(7000);
			client_read();
			CHECK_GE(client.remb_bps, 500000000);
			CHECK_EQ(session_now()->st.held_back, 2);
		}
		client_end();
		end();
	}
}

/* It estimates nothing by itself: what it is told is the less of what comes and what is taken. */
TEST(a_publisher_without_feedback_of_its_own_is_told_the_less_of_both)
{
	begin();
	client_begin(false);
	client_connect();
	struct session_slot *slot =
		session_slot(runtime_find(rt, stream.session.id), session_now());

	for (int j = 0; j < slot->plan.media_count; j++)
		slot->plan.media[j].feedback = SDP_REMB;
	run_ms(1100);
	client_read();
	CHECK_GE(client.remb_bps, 490000); /* its headroom */
	say_taken(400000);
	run_ms(1100);
	client_read();
	CHECK_LE(client.remb_bps, 400000);
	CHECK_GE(client.remb_bps, 399000);
	say_taken(5000000);
	run_ms(1100);
	client_read();
	CHECK_GE(client.remb_bps, 490000);
	CHECK_LE(client.remb_bps, 600000);
	client_end();
	end();
}

TEST(refusals_say_what_is_wrong)
{
	static char offer[4096];
	static const struct {
		bool play;
		const char *offer; /* NULL: a good one of this codec */
		const char *codec;
		uint8_t stream_fails, err;
	} rows[] = {
		{true,  "hello",	NULL,   ERR_OK,	      ERR_FORMAT},
		{false, "v=0\r\n", NULL,	 ERR_OK,	 ERR_FORMAT},
		{false, NULL,      "NOPE", ERR_OK,	      ERR_CODEC },
		{true,  NULL,	     "H264", ERR_OK,	     ERR_CODEC },
		{true,  NULL,	     "VP8",  ERR_NOT_FOUND, ERR_PHASE },
		{false, NULL,      "VP8",  ERR_BUSY,      ERR_BUSY  },
	};

	begin();
	memset(&client, 0, sizeof(client));
	CHECK_OK(certificate_create(&client.certificate, 1700000000));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!rows[i].offer)
			make_offer(offer, sizeof(offer), rows[i].play, rows[i].codec);
		stream.fails = rows[i].stream_fails;
		create(rows[i].play, rows[i].offer ? rows[i].offer : offer);
		CHECK_EQ(heard.failed_count, i + 1);
		CHECK_EQ(heard.failed.err, rows[i].err);
		CHECK(heard.failed.text[0]);
		CHECK_EQ(runtime_actor_count(rt), 2);
	}
	CHECK_EQ(heard.created_count, 0);
	client_end();
	end();
}

static void ask_delete(const char *secret, bool by_operator)
{
	struct msg_session_delete message = {.by_operator = by_operator};

	snprintf(message.secret, sizeof(message.secret), "%s", secret);
	actor_request_mail(edge(), heard.created.session, 5000, MSG_session_delete,
		&schema_session_delete, &message);
	run_ms(10);
}

TEST(delete_needs_the_secret)
{
	begin();
	client_begin(true);
	client_connect();
	ask_delete("", false);
	ask_delete("00000000000000000000000000000000", false);
	CHECK_EQ(heard.failed_count, 2);
	CHECK_EQ(heard.failed.err, ERR_NOT_FOUND);
	CHECK(session_now());
	ask_delete(heard.created.secret, false);
	CHECK_EQ(heard.done_count, 1);
	CHECK(!session_now());
	CHECK_EQ(stream.gone, 1);
	client_end();
	end();
}

TEST(patch_trickles_and_restarts)
{
	static const char same[] = "a=ice-ufrag:clnt\r\na=ice-pwd:clientclientclientclient\r\n"
				   "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n";
	static const char other[] = "a=ice-ufrag:newu\r\na=ice-pwd:newnewnewnewnewnewnewnew\r\n";
	static const struct {
		const char *if_match, *fragment;
		uint16_t status;
	} rows[] = {
		{"",	     same,  428},
		{"\"stale\"", same,  412},
		{"",	     other, 428},
		{"*",	      other, 200},
	};

	begin();
	client_begin(true);
	ask_patch(heard.created.etag, same);
	CHECK_EQ(heard.patched.status, 204);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask_patch(rows[i].if_match, rows[i].fragment);
		CHECK_EQ(heard.patched.status, rows[i].status);
	}
	CHECK(strcmp(heard.patched.etag, heard.created.etag));
	char etag[sizeof(heard.patched.etag)];

	memcpy(etag, heard.patched.etag, sizeof(etag));
	ask_patch("*", other); /* the answer was lost with a worker */
	CHECK_EQ(heard.patched.status, 200);
	CHECK_STR(heard.patched.etag, etag);
	client_end();
	end();
}

TEST(a_viewer_that_asks_hears_when_it_was_sent_media)
{
	static const char same[] = "a=ice-ufrag:clnt\r\na=ice-pwd:clientclientclientclient\r\n"
				   "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n";

	begin();
	client_begin(true);
	client_connect();
	run_ms(100);
	ask_patch(heard.created.etag, same);
	CHECK_EQ(heard.patched.sent_ms, 0); /* nobody publishes */
	stream_add(1, MEDIA_KEYFRAME);
	run_ms(50);
	ask_patch(heard.created.etag, same);
	CHECK_GE(heard.patched.sent_ms, 40);
	CHECK_LE(heard.patched.sent_ms, 60);
	run_ms(2000); /* reports are sent meanwhile */
	ask_patch(heard.created.etag, same);
	CHECK_GE(heard.patched.sent_ms, 2000);
	stream_add(2, 0);
	run_ms(20);
	ask_patch(heard.created.etag, same);
	CHECK_LE(heard.patched.sent_ms, 35);
	ask_patch("\"stale\"", same);
	CHECK_EQ(heard.patched.sent_ms, 0);
	client_end();
	end();
}

TEST(who_does_not_check_any_more_has_left)
{
	begin();
	client_begin(true);
	client_connect();
	run_ms(29000);
	CHECK(session_now());
	run_ms(2000);
	CHECK(!session_now());
	client_end();
	end();
}

TEST(a_full_socket_drops_and_recovers)
{
	begin();
	stream_add(1, MEDIA_KEYFRAME);
	client_begin(true);
	client_connect();
	run_ms(100);
	socket_full = true;
	for (uint64_t n = 2; n <= 10; n++) {
		stream_add(n, 0);
		run_ms(5);
	}
	CHECK_GE(stream.keyframe_requests, 1);
	socket_full = false;
	stream_add(11, 0);
	stream_add(12, MEDIA_KEYFRAME);
	run_ms(20);
	client_read();
	CHECK_EQ(client.packet_count, 2);
	client_end();
	end();
}

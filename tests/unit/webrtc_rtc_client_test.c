/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole client against the shipped port and sessions (tests/unit/webrtc_worker.h), over a path of
 * the test that loses what it is told to.
 */
#include "actors/webrtc/rtc_client.h"
#include "tests/unit/webrtc_worker.h"

static struct rtc_client viewer;
static struct certificate certificate;
static struct dtls_context context;
static struct {
	unsigned packets, recovered, keyframes;
	uint32_t last_timestamp;
} seen;
static unsigned lose;	/* RTP packets of the server that go astray */
static unsigned losing; /* RTP packets of the client */

static void viewer_send(
	void *unused, const struct net_addr *to, const struct iovec *packets, size_t count)
{
	(void)unused;
	CHECK_EQ(to->port, 8000);
	for (size_t i = 0; i < count; i++) {
		if (losing && rtp_classify_packet(packets[i].iov_base, packets[i].iov_len) ==
				      RTP_CLASS_RTP) {
			losing--;
			continue;
		}
		deliver(packets[i].iov_base, packets[i].iov_len);
	}
}

static void viewer_media(void *unused, const struct rtc_client_media *media, int64_t at_us)
{
	(void)unused, (void)at_us;
	seen.packets++;
	seen.recovered += media->recovered;
	seen.keyframes += media->keyframe;
	seen.last_timestamp = media->timestamp;
}

static void viewer_random(void *unused, void *bytes, size_t size)
{
	op_random(unused, bytes, size);
}

static const struct rtc_client_ops viewer_ops = {
	.send = viewer_send, .media = viewer_media, .random = viewer_random};

/* What the server has sent reaches the client; both run on. */
static void run_both_ms(int64_t ms)
{
	static const struct net_addr server = {
		.family = 4, .port = 8000, .ip = {127, 0, 0, 1}
	       };

	for (; ms > 0; ms -= 5) {
		run_ms(5);
		for (size_t i = 0; i < sent_count; i++) {
			if (lose &&
				rtp_classify_packet(sent[i].bytes, sent[i].size) == RTP_CLASS_RTP) {
				lose--;
				continue;
			}
			rtc_client_input(&viewer, &server, sent[i].bytes, sent[i].size, now_us);
		}
		sent_count = 0;
		rtc_client_run(&viewer, now_us);
	}
}

static void begin_client(bool publish)
{
	static const uint8_t record[] = {0x01, 0x42, 0xe0, 0x1f, 0xff, 0xe1, 0x00, 0x09, 0x67, 0x42,
		0xe0, 0x1f, 0x95, 0xa0, 0x28, 0x0c, 0x64, 0x01, 0x00, 0x04, 0x68, 0xce, 0x3c, 0x80};
	static char offer[SDP_CLIENT_OFFER_MAX + 1];
	struct writer w = writer_of(offer, sizeof(offer) - 1);
	char why[SDP_WHY_MAX];

	memset(&seen, 0, sizeof(seen));
	lose = losing = 0;
	CHECK_OK(certificate_create(&certificate, 1700000000));
	CHECK_OK(dtls_context_init(&context, &certificate));
	struct rtc_client_options options = {.ops = &viewer_ops,
		.dtls = &context,
		.fingerprint = &certificate.fingerprint,
		.candidate = client_addr,
		.publish = publish,
		.now_us = now_us,
		.unix_us = op_wall_us(NULL),
		.video_config = record,
		.video_config_size = sizeof(record)};

	CHECK_OK(rtc_client_init(&viewer, &options));
	CHECK_OK(rtc_client_offer(&viewer, &w));
	*w.at = 0;
	create(!publish, offer);
	CHECK_EQ(heard.created_count, 1);
	CHECK_OK(rtc_client_answer(&viewer, heard.answer, strlen(heard.answer), now_us, why));
	run_both_ms(200);
	CHECK_EQ(viewer.phase, RTC_CLIENT_UP);
	CHECK_EQ(actor_phase(runtime_find(rt, stream.session.id)), SESSION_UP);
}

static void end_client(void)
{
	rtc_client_fini(&viewer);
	dtls_context_fini(&context);
	certificate_fini(&certificate);
	end();
}

TEST(a_viewer_gets_every_packet_the_lost_ones_again)
{
	begin();
	stream_add(1, MEDIA_KEYFRAME);
	begin_client(false);
	CHECK_EQ(seen.packets, 1);
	for (uint64_t n = 2; n <= 40; n++) {
		lose += n == 10 || n == 20;
		stream_add(n, 0);
		run_both_ms(35);
	}
	run_both_ms(500);
	CHECK_EQ(seen.packets, 40);
	CHECK_EQ(seen.recovered, 2);
	CHECK_EQ(viewer.in[0].receiver.nacks_given_up, 0);
	end_client();
}

TEST(a_late_keyframe_is_asked_for)
{
	begin();
	begin_client(false);
	unsigned before = stream.keyframe_requests;

	for (uint64_t n = 1; n <= 30; n++) {
		stream_add(n, 0);
		run_both_ms(35);
	}
	CHECK(stream.keyframe_requests > before);
	CHECK_EQ(seen.packets, 0);
	end_client();
}

static const uint8_t slice[3000] = {0, 0, 0x0b, 0xb4, 0x65, 0x88, 0x84};
static const uint8_t sound[] = {0xf8, 0xff, 0xfe};

TEST(a_publisher_is_heard_and_sends_again_what_was_lost)
{
	begin();
	begin_client(true);
	CHECK_EQ(stream.publish.tracks_count, 2);
	for (uint64_t n = 0; n < 20; n++) {
		losing += n == 5;
		rtc_client_send(&viewer, MEDIA_VIDEO, slice, sizeof(slice), n * 3000, now_us);
		rtc_client_send(&viewer, MEDIA_AUDIO, sound, sizeof(sound), n * 960, now_us);
		run_both_ms(30);
	}
	run_both_ms(500);
	/* three packets a picture (and one of parameter sets in the first two), one a sound */
	size_t pictures = 0, sounds = 0, late = 0;

	for (size_t i = 0; i < stream.heard_count; i++) {
		pictures += stream.heard[i].track == 0;
		sounds += stream.heard[i].track == 1;
		late += (stream.heard[i].flags & MEDIA_LATE) != 0;
	}
	CHECK_EQ(sounds, 20);
	CHECK_GE(pictures, 60);
	CHECK_EQ(late, 1);
	CHECK_EQ(viewer.out[0].sender.rtx_packets, 1);
	CHECK_EQ(viewer.out[0].sender.lost, 1); /* the server counts what did not come at first */
	end_client();
}

TEST(goodbyes_are_said_and_heard)
{
	struct msg_session_delete message = {0};

	begin();
	stream_add(1, MEDIA_KEYFRAME);
	begin_client(false);
	snprintf(message.secret, sizeof(message.secret), "%s", heard.created.secret);
	actor_request_mail(edge(), heard.created.session, 5000, MSG_session_delete,
		&schema_session_delete, &message);
	run_both_ms(50);
	CHECK_EQ(viewer.phase, RTC_CLIENT_CLOSED);
	CHECK_EQ(rtc_client_deadline_us(&viewer), INT64_MAX);
	end_client();

	begin(); /* a publisher's, of whom both tracks were heard */
	begin_client(true);
	rtc_client_send(&viewer, MEDIA_VIDEO, slice, sizeof(slice), 0, now_us);
	rtc_client_send(&viewer, MEDIA_AUDIO, sound, sizeof(sound), 0, now_us);
	run_both_ms(10);
	CHECK(session_now());
	rtc_client_close(&viewer, now_us);
	run_both_ms(50);
	CHECK(!session_now());
	end_client();
}

TEST(wrong_answers_are_refused_and_rubbish_is_dropped)
{
	static const struct net_addr somebody = {
		.family = 4, .port = 9, .ip = {1, 2, 3, 4}
	  };
	char why[SDP_WHY_MAX];

	begin();
	stream_add(1, MEDIA_KEYFRAME);
	begin_client(false);
	for (unsigned first = 0; first < 256; first++) {
		uint8_t bytes[64];

		memset(bytes, (int)first, sizeof(bytes));
		rtc_client_input(&viewer, &somebody, bytes, sizeof(bytes), now_us);
		rtc_client_input(&viewer, &somebody, bytes, first % 8, now_us);
	}
	CHECK_EQ(viewer.phase, RTC_CLIENT_UP);
	stream_add(2, 0);
	run_both_ms(50);
	CHECK_EQ(seen.packets, 2);
	CHECK_EQ(rtc_client_answer(&viewer, "hello", 5, now_us, why), ERR_FORMAT);
	end_client();
}

TEST(another_certificate_is_not_accepted)
{
	begin();
	static char offer[SDP_CLIENT_OFFER_MAX + 1];
	struct writer w = writer_of(offer, sizeof(offer) - 1);
	char why[SDP_WHY_MAX];

	CHECK_OK(certificate_create(&certificate, 1700000000));
	CHECK_OK(dtls_context_init(&context, &certificate));
	struct rtc_client_options options = {.ops = &viewer_ops,
		.dtls = &context,
		.fingerprint = &certificate.fingerprint,
		.now_us = now_us,
		.unix_us = op_wall_us(NULL)};

	CHECK_OK(rtc_client_init(&viewer, &options));
	CHECK_OK(rtc_client_offer(&viewer, &w));
	*w.at = 0;
	create(true, offer);
	CHECK_OK(rtc_client_answer(&viewer, heard.answer, strlen(heard.answer), now_us, why));
	viewer.answer.plan.fingerprint[3] ^= 1;
	run_both_ms(300);
	CHECK_EQ(viewer.phase, RTC_CLIENT_FAILED);
	CHECK_EQ(viewer.why, ERR_AUTH);
	end_client();
}

TEST(without_memory_a_client_says_so_and_leaks_nothing)
{
	struct rtc_client_options options = {.ops = &viewer_ops,
		.dtls = &context,
		.fingerprint = &certificate.fingerprint,
		.publish = true};
	char why[SDP_WHY_MAX];

	CHECK_OK(certificate_create(&certificate, 1700000000));
	CHECK_OK(dtls_context_init(&context, &certificate));
	test_fail_allocation(1);
	CHECK_EQ(rtc_client_init(&viewer, &options), ERR_NO_MEMORY);
	test_fail_allocation(0);
	CHECK(!viewer.kept);
	options.publish = false;
	CHECK_OK(rtc_client_init(&viewer, &options));
	test_fail_allocation(1);
	CHECK_EQ(rtc_client_answer(&viewer, "v=0\r\n", 5, 0, why), ERR_NO_MEMORY);
	test_fail_allocation(0);
	rtc_client_run(&viewer, 1000);
	CHECK_EQ(viewer.phase, RTC_CLIENT_OFFERED);
	rtc_client_fini(&viewer);
	rtc_client_fini(&viewer);
	dtls_context_fini(&context);
	certificate_fini(&certificate);
}

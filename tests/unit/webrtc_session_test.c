/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole worker's WebRTC: the port and its sessions under a clock and a network of the test, with
 * a client made of the same engines; the stream is a fake. Also successors: the sessions come back
 * from their encoded state and a copy of the arena, and the client notices nothing; and they come
 * back in another process (tests/unit/successor.h).
 */
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/session.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/unit/successor.h"

#include <stdlib.h>

enum { SOCKET = 1, SENT_MAX = 512, HEARD_MAX = 256, BLOCK = 5, STATE_MAX = 1 << 16, WIRE_FD = 202 };

/* ---- clock and network --------------------------------------------------------------------- */

static int64_t now_us;
static uint64_t dice = 88172645463325252u;
static struct {
	uint16_t size;
	uint8_t bytes[NET_DATAGRAM_MAX];
} sent[SENT_MAX];
static size_t sent_count;
static bool socket_full;

static int64_t op_now_us(void *context)
{
	(void)context;
	return now_us;
}

static int64_t op_wall_us(void *context)
{
	(void)context;
	return 1700000000000000 + now_us;
}

static void op_random(void *context, void *bytes, size_t size)
{
	uint8_t *p = bytes;

	(void)context;
	while (size--) {
		dice ^= dice << 13;
		dice ^= dice >> 7;
		dice ^= dice << 17;
		*p++ = (uint8_t)(dice >> 24);
	}
}

static uint32_t op_take(void *context, uint64_t owner, enum net_given what)
{
	(void)context;
	(void)owner;
	return what == NET_RTC_UDP ? SOCKET : 0;
}

static size_t op_send(void *context, uint32_t number, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	(void)context;
	CHECK_EQ(number, SOCKET);
	CHECK(to->family);
	for (size_t i = 0; i < count; i++) {
		if (socket_full || sent_count == SENT_MAX)
			return i;
		CHECK_LE(packets[i].iov_len, NET_DATAGRAM_MAX);
		memcpy(sent[sent_count].bytes, packets[i].iov_base, packets[i].iov_len);
		sent[sent_count++].size = (uint16_t)packets[i].iov_len;
	}
	return count;
}

static void op_local_addr(void *context, uint32_t number, struct net_addr *addr)
{
	(void)context;
	(void)number;
	*addr = (struct net_addr){
		.family = 4, .port = 8000, .ip = {127, 0, 0, 1}
	       };
}

static const struct runtime_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.net_take = op_take,
	.net_send = op_send,
	.net_local_addr = op_local_addr,
};

/* ---- the stream and the asker -------------------------------------------------------------- */

static struct arena *arena;

static struct {
	uint8_t fails; /* enum err that publish and subscribe are answered with */
	struct slot_ref log;
	struct addr session;
	unsigned keyframe_requests, gone;
	struct msg_publish publish;
	struct media_header heard[HEARD_MAX];
	size_t heard_count;
} stream;

static struct {
	struct msg_session_created created;
	char answer[SDP_ANSWER_MAX];
	struct msg_failed failed;
	struct msg_session_patched patched;
	unsigned created_count, failed_count, done_count, patched_count;
} heard;

/* Stream and HTTP edge in one; its state is of no interest: any schema does. */
struct fake {
	struct rtc_port_state st;
};

ON(fake, publish)
{
	if (stream.fails)
		return (enum err)stream.fails;
	stream.session = mail->from;
	stream.publish = *m;
	return actor_reply(self, published, {.stream = actor_addr(self), .resume = "again"});
}

ON(fake, subscribe)
{
	struct msg_subscribed answer = {.stream = actor_addr(self),
		.log_index = stream.log.index,
		.log_generation = stream.log.generation,
		.start = 1,
		.tracks_count = 2,
		.live = true};

	if (stream.fails)
		return (enum err)stream.fails;
	stream.session = mail->from;
	answer.tracks[0] = (struct media_track){
		.id = 0, .kind = MEDIA_VIDEO, .codec = MEDIA_VP8, .clock_rate = 90000};
	answer.tracks[1] = (struct media_track){.id = 1,
		.kind = MEDIA_AUDIO,
		.codec = MEDIA_OPUS,
		.channels = 2,
		.clock_rate = 48000};
	return actor_answer_mail(
		self, actor_asker(self), MSG_subscribed, &schema_subscribed, &answer);
}

ON(fake, keyframe_request)
{
	stream.keyframe_requests++;
	return ERR_OK;
}

ON(fake, unsubscribe)
{
	stream.gone++;
	return ERR_OK;
}

ON(fake, unpublish)
{
	stream.gone++;
	return ERR_OK;
}

ON(fake, session_created)
{
	heard.created = *m;
	CHECK(m->answer.size < sizeof(heard.answer));
	memcpy(heard.answer, m->answer.data, m->answer.size);
	heard.answer[m->answer.size] = 0;
	heard.created_count++;
	return ERR_OK;
}

ON(fake, session_patched)
{
	heard.patched = *m;
	heard.patched_count++;
	return ERR_OK;
}

ON(fake, failed)
{
	heard.failed = *m;
	heard.failed_count++;
	return ERR_OK;
}

ON(fake, done)
{
	heard.done_count++;
	return ERR_OK;
}

static enum err fake_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static void fake_media(struct actor *self, void *data, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	(void)data;
	(void)from;
	for (size_t i = 0; i < count && stream.heard_count < HEARD_MAX; i++)
		stream.heard[stream.heard_count++] =
			arena_packet(actor_arena(self), packets[i])->header;
}

static const struct handler fake_handlers[] = {
	HANDLER(fake, publish, 0),
	HANDLER(fake, subscribe, 0),
	HANDLER(fake, keyframe_request, 0),
	HANDLER(fake, unsubscribe, 0),
	HANDLER(fake, unpublish, 0),
	HANDLER(fake, session_created, 0),
	HANDLER(fake, session_patched, 0),
	HANDLER(fake, failed, 0),
	HANDLER(fake, done, 0),
};

static const struct actor_type fake_actor = {
	.name = "fake",
	.size = sizeof(struct fake),
	.state = &schema_rtc_port_state,
	HANDLER_TABLE(fake_handlers),
	.init = fake_init,
	.media = fake_media,
};

/* ---- one worker ---------------------------------------------------------------------------- */

static struct runtime *rt;
static void *memory;
static size_t memory_size;
static struct log quiet;

static const struct actor_type *const types[] = {&rtc_port_actor, &session_actor, NULL};

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static void start_runtime(void)
{
	struct log_sink sink = {.now_us = op_wall_us, .write = log_nothing};
	struct runtime_options options = {.ops = &ops,
		.log = &quiet,
		.arena = arena,
		.node = 1,
		.block = BLOCK,
		.process = 1,
		.role = PROCESS_MEDIA,
		.types = types};

	log_init(&quiet, "test", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, &sink);
	CHECK_OK(runtime_create(&options, &rt));
	CHECK_OK(actor_spawn_office(rt, OFFICE_MEDIA, &fake_actor, NULL));
}

static void begin(void)
{
	struct arena_layout layout = {
		.count = {256, 2, 4, 1}
	       };
	struct media_log_limits limits = {.age_us = 10000000, .bytes = 1 << 20};

	CHECK_OK(openssl_ciphers_install());
	now_us = 1000000;
	sent_count = 0;
	socket_full = false;
	memset(&stream, 0, sizeof(stream));
	memset(&heard, 0, sizeof(heard));
	memory_size = arena_size(&layout);
	memory = aligned_alloc(4096, memory_size);
	memset(memory, 0, memory_size);
	arena_format(memory, &layout);
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	stream.log = media_log_create(arena, 1, &limits, 1);
	start_runtime();
	CHECK_OK(actor_spawn_office(rt, OFFICE_RTC, &rtc_port_actor, NULL));
}

static void end(void)
{
	struct arena_usage usage;

	runtime_destroy(&rt);
	media_log_destroy(arena, stream.log);
	arena_usage(arena, &usage);
	CHECK_EQ(usage.used[ARENA_SESSION], 0);
	CHECK_EQ(usage.used[ARENA_PACKET], 0);
	arena_detach(&arena);
	free(memory);
}

static void run_ms(int64_t ms)
{
	for (; ms > 0; ms -= 5) {
		now_us += 5000;
		runtime_tick(rt);
		for (int i = 0; i < 4; i++)
			runtime_turn(rt);
	}
}

static uint64_t office(enum office which)
{
	return (uint64_t)BLOCK << RUNTIME_BLOCK_SHIFT | which;
}

static struct actor *edge(void)
{
	return runtime_find(rt, office(OFFICE_MEDIA));
}

static struct session *session_now(void)
{
	struct actor *actor = runtime_find(rt, stream.session.id);

	return actor ? actor_data(actor) : NULL;
}

/* ---- the client ---------------------------------------------------------------------------- */

static const struct net_addr client_addr = {
	.family = 4, .port = 4000, .ip = {192, 0, 2, 9}
};

static struct {
	struct certificate certificate;
	struct dtls_context context;
	struct dtls dtls;
	struct seal seal;
	struct unseal unseal;
	struct unseal_window window;
	struct rtp_packet packets[SENT_MAX];
	size_t packet_count;
	unsigned stun, rtcp, bad;
	uint32_t rtcp_index;
} client;

static void deliver_from(const struct net_addr *from, const void *bytes, size_t size)
{
	struct datagram datagram = {
		.from = *from, .bytes = bytes, .size = (uint16_t)size, .arrival_us = now_us};

	runtime_net_datagrams(rt, office(OFFICE_RTC), &datagram, 1);
}

static void deliver(const void *bytes, size_t size)
{
	deliver_from(&client_addr, bytes, size);
}

static void client_take(uint8_t *bytes, size_t size)
{
	uint8_t out[DTLS_DATAGRAM_MAX];
	size_t out_size;

	switch (rtp_classify_packet(bytes, size)) {
	case RTP_CLASS_STUN: client.stun++; break;
	case RTP_CLASS_DTLS:
		dtls_input(&client.dtls, bytes, size, now_us);
		while ((out_size = dtls_output(&client.dtls, out, sizeof(out))))
			deliver(out, out_size);
		if (client.dtls.phase == DTLS_ESTABLISHED && !client.unseal.session) {
			CHECK_OK(seal_init(&client.seal, &client.dtls.send));
			CHECK_OK(unseal_init(&client.unseal, &client.dtls.receive, &client.window));
		}
		break;
	case RTP_CLASS_RTP:
		if (unseal_rtp(&client.unseal, &client.window, bytes, &size) ||
			rtp_parse(&client.packets[client.packet_count], bytes, size))
			client.bad++;
		else
			client.packet_count++;
		break;
	case RTP_CLASS_RTCP:
		if (unseal_rtcp(&client.unseal, &client.window, bytes, &size))
			client.bad++;
		else
			client.rtcp++;
		break;
	case RTP_CLASS_UNKNOWN: client.bad++; break;
	}
}

static void client_read(void)
{
	for (size_t i = 0; i < sent_count; i++)
		client_take(sent[i].bytes, sent[i].size);
	sent_count = 0;
}

static void make_offer(char *offer, size_t size, bool play, const char *codec)
{
	char text[FINGERPRINT_TEXT_MAX];
	const char *direction = play ? "recvonly" : "sendonly";

	fingerprint_print(&client.certificate.fingerprint, text);
	snprintf(offer, size,
		"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
		"a=ice-ufrag:clnt\r\na=ice-pwd:clientclientclientclient\r\na=fingerprint:%s\r\n"
		"a=setup:actpass\r\n"
		"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
		"a=rtcp-mux\r\na=%s\r\na=rtpmap:96 %s/90000\r\na=rtcp-fb:96 nack\r\n"
		"a=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtcp-mux\r\n"
		"a=%s\r\na=rtpmap:111 opus/48000/2\r\n%s",
		text, direction, codec, direction, play ? "" : "a=ssrc:7777 cname:c\r\n");
}

static void create(bool play, const char *offer)
{
	struct msg_session_create create = {
		.play = play,
		.stream_name = "live/demo",
		.offer = {offer, (uint32_t)strlen(offer)},
		.client = "192.0.2.9:5555"
	  };

	actor_request_mail(edge(), actor_office(edge(), OFFICE_RTC), 5000, MSG_session_create,
		&schema_session_create, &create);
	run_ms(20);
}

static void value_of(const char *name, char *value, size_t size)
{
	const char *at = strstr(heard.answer, name);

	CHECK(at);
	at += strlen(name);
	snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static void check_path(const struct net_addr *from)
{
	char ufrag[64], pwd[64], user[160];
	uint8_t bytes[256];
	static const uint8_t transaction[STUN_TRANSACTION_SIZE] = {1, 2, 3};
	struct writer w = writer_of(bytes, sizeof(bytes));

	value_of("a=ice-ufrag:", ufrag, sizeof(ufrag));
	value_of("a=ice-pwd:", pwd, sizeof(pwd));
	snprintf(user, sizeof(user), "%s:clnt", ufrag);
	stun_begin(&w, STUN_REQUEST, transaction);
	stun_add_username(&w, user, strlen(user));
	stun_add_priority(&w, 1);
	stun_add_use_candidate(&w);
	stun_add_role(&w, true, 99);
	CHECK_OK(stun_finish(&w, pwd));
	deliver_from(from, bytes, writer_used(&w));
}

static void client_begin(bool play)
{
	static char offer[4096];

	memset(&client, 0, sizeof(client));
	CHECK_OK(certificate_create(&client.certificate, 1700000000));
	CHECK_OK(dtls_context_init(&client.context, &client.certificate));
	make_offer(offer, sizeof(offer), play, "VP8");
	create(play, offer);
	CHECK_EQ(heard.created_count, 1);
}

static void client_connect(void)
{
	struct fingerprint fingerprint;
	char text[256];
	uint8_t out[DTLS_DATAGRAM_MAX];
	size_t size;

	check_path(&client_addr);
	client_read();
	CHECK_EQ(client.stun, 1);
	value_of("a=fingerprint:", text, sizeof(text));
	CHECK_OK(fingerprint_parse(&fingerprint, text, strlen(text)));
	CHECK_OK(dtls_init(&client.dtls, &client.context, DTLS_CLIENT, &fingerprint, now_us));
	while ((size = dtls_output(&client.dtls, out, sizeof(out))))
		deliver(out, size);
	for (int i = 0; i < 20 && client.dtls.phase == DTLS_HANDSHAKING; i++)
		client_read();
	CHECK_EQ(client.dtls.phase, DTLS_ESTABLISHED);
	CHECK_EQ(actor_phase(runtime_find(rt, stream.session.id)), SESSION_UP);
}

static void client_end(void)
{
	seal_fini(&client.seal);
	unseal_fini(&client.unseal);
	dtls_fini(&client.dtls);
	dtls_context_fini(&client.context);
	certificate_fini(&client.certificate);
}

static void client_send_rtp(
	uint8_t payload_type, uint32_t ssrc, uint16_t sequence, const struct net_addr *from)
{
	uint8_t out[256], payload[64] = {0xfc, 1, 2, 3};
	struct rtp_packet header = {.ssrc = ssrc,
		.timestamp = sequence * 960u,
		.sequence = sequence,
		.payload_type = payload_type};
	struct seal_packet packet = {.out = out,
		.payload = payload,
		.index = sequence,
		.out_capacity = sizeof(out),
		.header_size = RTP_HEADER_SIZE,
		.payload_size = sizeof(payload)};

	rtp_write_fixed(out, &header);
	CHECK_OK(seal_rtp_batch(&client.seal, &packet, 1));
	deliver_from(from, out, packet.size);
}

static void client_send_rtcp(struct writer *w)
{
	size_t size = writer_used(w);

	CHECK_OK(seal_rtcp(&client.seal, client.rtcp_index++, w->begin, &size, 512));
	deliver(w->begin, size);
}

/* ---- media --------------------------------------------------------------------------------- */

/* One packet of a frame of its own, 33 ms after the last one. */
static void stream_add(uint64_t n, uint8_t flags)
{
	struct media_log *log = media_log_get(arena, stream.log);
	struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, 1);
	struct packet *packet = arena_packet(arena, ref);

	packet->header = (struct media_header){
		.capture_us = op_wall_us(NULL),
		.track_seq = n,
		.rtp_time = 1000000 + n * 3000,
		.frame = (uint32_t)n,
		.size = 500,
		.flags = (uint8_t)(MEDIA_FRAME_START | MEDIA_FRAME_END | flags),
		.priority = MEDIA_PRIORITY_DELTA,
	};
	memset(packet->payload, (int)n, 500);
	CHECK_OK(media_log_put(arena, log, log->next, ref));
	arena_release(arena, ARENA_PACKET, ref);
	actor_kick(rt, stream.session);
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

static void ask_patch(const char *if_match, const char *fragment)
{
	struct msg_session_patch message = {
		.fragment = {fragment, (uint32_t)strlen(fragment)}
	  };

	snprintf(message.secret, sizeof(message.secret), "%s", heard.created.secret);
	snprintf(message.if_match, sizeof(message.if_match), "%s", if_match);
	actor_request_mail(edge(), heard.created.session, 5000, MSG_session_patch,
		&schema_session_patch, &message);
	run_ms(10);
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

/* Encodes everything, moves the arena to another address and goes on there. */
static void take_over(void)
{
	static uint8_t state[STATE_MAX];
	struct writer w = writer_of(state, sizeof(state));
	void *copy = aligned_alloc(4096, memory_size);
	unsigned actors = 0;

	for (struct actor *a = runtime_next_actor(rt, NULL); a; a = runtime_next_actor(rt, a)) {
		struct actor_facts facts;

		runtime_facts(a, &facts);
		if (!strcmp(facts.type, "fake"))
			continue;
		CHECK_OK(runtime_encode_actor(a, &w));
		actors++;
	}
	memcpy(copy, memory, memory_size);
	runtime_destroy(&rt); /* what it says to its clients on the way is not heard */
	sent_count = 0;
	arena_detach(&arena);
	free(memory);
	memory = copy;
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	start_runtime();
	arena_recount_begin(arena);
	arena_hold_again(arena, ARENA_LOG, stream.log);
	media_log_recount(arena, media_log_get(arena, stream.log));
	struct reader in = reader_of(state, writer_used(&w));

	for (unsigned i = 0; i < actors; i++)
		CHECK_OK(runtime_restore_actor(rt, &in));
	runtime_restore_end(rt);
	arena_recount_end(arena);
	run_ms(20);
}

TEST(a_successor_goes_on_and_the_viewer_notices_nothing)
{
	begin();
	for (uint64_t n = 1; n <= 3; n++)
		stream_add(n, n == 1 ? MEDIA_KEYFRAME : 0);
	client_begin(true);
	client_connect();
	run_ms(300);
	for (int round = 0; round < 3; round++) {
		uint64_t n = 4 + 5 * (uint64_t)round;

		for (uint64_t end_n = n + 5; n < end_n; n++)
			stream_add(n, 0);
		run_ms(20);
		client_read();
		take_over();
		CHECK(session_now());
	}
	stream_add(19, 0);
	run_ms(1200);
	client_read();
	CHECK_EQ(client.packet_count, 19);
	CHECK_EQ(client.bad, 0);
	for (size_t i = 1; i < client.packet_count; i++)
		CHECK_EQ(
			(uint16_t)(client.packets[i].sequence - client.packets[i - 1].sequence), 1);
	check_path(&client_addr); /* found by the ufrag of before */
	client_read();
	CHECK_EQ(client.stun, 2);
	client_end();
	end();
}

TEST(a_successor_hears_the_publisher)
{
	begin();
	client_begin(false);
	client_connect();
	for (uint16_t n = 1; n <= 5; n++)
		client_send_rtp(111, 7777, n, &client_addr);
	take_over();
	CHECK(session_now());
	client_send_rtp(111, 7777, 5, &client_addr); /* a replay, to the successor too */
	for (uint16_t n = 6; n <= 10; n++)
		client_send_rtp(111, 7777, n, &client_addr);
	CHECK_EQ(stream.heard_count, 10);
	CHECK_EQ(stream.heard[9].track_seq - stream.heard[0].track_seq, 9);
	client_end();
	end();
}

/* ---- another process ----------------------------------------------------------------------- */

/* The certificate comes from the data directory (none here: a new one); sessions are counted when
 * they join. */
static void same_port(const void *before_, const void *now_)
{
	struct rtc_port_state before = *(const struct rtc_port_state *)before_;
	struct rtc_port_state now = *(const struct rtc_port_state *)now_;

	CHECK_EQ(before.sessions, 1);
	CHECK_EQ(now.sessions, 0);
	CHECK_EQ(strlen(now.fingerprint), strlen(before.fingerprint));
	memcpy(now.fingerprint, before.fingerprint, sizeof(now.fingerprint));
	now.sessions = before.sessions;
	CHECK_MEM(&now, &before, sizeof(now));
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_WEBRTC(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static void stream_lives(struct runtime *successor)
{
	CHECK_OK(actor_spawn_office(successor, OFFICE_MEDIA, &fake_actor, NULL));
}

/* The session joins the port of its new process and speaks to the client it had. */
static void session_goes_on(struct runtime *successor)
{
	const struct rtc_port_state *port;
	unsigned sessions = 0;

	rt = successor;
	run_ms(1200);
	port = actor_data(runtime_find(rt, office(OFFICE_RTC)));
	CHECK_EQ(port->sessions, 1);
	for (struct actor *a = runtime_next_actor(rt, NULL); a; a = runtime_next_actor(rt, a))
		sessions += a->type == &session_actor && actor_phase(a) == SESSION_UP;
	CHECK_EQ(sessions, 1);
	CHECK_EQ(write(WIRE_FD, sent, sent_count * sizeof(sent[0])),
		(ssize_t)(sent_count * sizeof(sent[0])));
}

static const struct successor_kit kit = {
	.rows = successor_rows, .ops = &ops, .around = stream_lives, .going_on = session_goes_on};

TEST(the_successor)
{
	now_us = 5000000; /* the machine's clock: later than all that was written down */
	sent_count = 0;
	successor_main(&kit);
}

/* The stream stays behind with its log and what is in it. The client, with the keys and the replay
 * window it has, understands what the other process sends it. */
static void leave_to_another_process(void)
{
	int wire = successor_memfd("", 0);
	struct arena_usage usage;
	unsigned rtcp;

	client_read();
	rtcp = client.rtcp;
	CHECK_EQ(dup2(wire, WIRE_FD), WIRE_FD);
	close(wire);
	arena_usage(arena, &usage);
	CHECK_EQ(successor_run(&kit, rt, memory, memory_size,
			 usage.used[ARENA_LOG] + usage.used[ARENA_PACKET]),
		2);
	sent_count = (size_t)pread(WIRE_FD, sent, sizeof(sent), 0) / sizeof(sent[0]);
	CHECK_GE(sent_count, 1);
	client_read();
	CHECK_EQ(client.bad, 0);
	CHECK_GE(client.rtcp, rtcp + 1);
	close(WIRE_FD);
}

TEST(port_and_sessions_come_back_in_another_process)
{
	begin();
	for (uint64_t n = 1; n <= 3; n++)
		stream_add(n, n == 1 ? MEDIA_KEYFRAME : 0);
	client_begin(true);
	client_connect();
	run_ms(300);
	leave_to_another_process();
	client_end();
	end();

	begin();
	client_begin(false);
	client_connect();
	for (uint16_t n = 1; n <= 5; n++)
		client_send_rtp(111, 7777, n, &client_addr);
	leave_to_another_process();
	client_end();
	end();
	successor_check_rows(&kit);
}

TEST(a_damaged_slot_is_left_out)
{
	begin();
	client_begin(true);
	client_connect();
	struct slot_ref ref = {session_now()->st.slot_index, session_now()->st.slot_generation};
	struct session_slot *slot = arena_get(arena, ARENA_SESSION, ref);

	slot->ice.pair_count = 200;
	CHECK_EQ(session_actor.restore(runtime_find(rt, stream.session.id), session_now()),
		ERR_FORMAT);
	slot->ice.pair_count = 1;
	/* restore counted its slot once more */
	client_end();
	runtime_destroy(&rt);
	arena_detach(&arena);
	free(memory);
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

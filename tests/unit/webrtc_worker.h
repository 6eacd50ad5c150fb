/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole worker's WebRTC for tests: the port and its sessions under a clock and a network of the
 * test; the stream is a fake. The other end is tests/unit/webrtc_peer.h, which sees every packet as
 * it is, or the client engine (actors/webrtc/rtc_client.h).
 */
#ifndef MILLRACE_WEBRTC_WORKER_H
#define MILLRACE_WEBRTC_WORKER_H

#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/session.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/test.h"
#include "tests/webrtc_client.h"

#include <stdlib.h>

enum { SOCKET = 1, SENT_MAX = 512, HEARD_MAX = 256, BLOCK = 5 };

/* ---- clock and network --------------------------------------------------------------------- */

static int64_t now_us;
static uint64_t dice = 88172645463325252u;
static struct {
	struct net_addr to;
	uint16_t size;
	uint8_t bytes[NET_DATAGRAM_MAX];
} sent[SENT_MAX];
static size_t sent_count;
static bool socket_full;
static size_t send_calls, send_packets_max, send_bytes_max; /* of one call, RTP only */

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
	size_t bytes = 0;

	(void)context;
	CHECK_EQ(number, SOCKET);
	CHECK(to->family);
	for (size_t i = 0; i < count; i++)
		bytes += packets[i].iov_len;
	if (rtp_classify_packet(packets[0].iov_base, packets[0].iov_len) == RTP_CLASS_RTP) {
		send_calls++;
		send_packets_max = count > send_packets_max ? count : send_packets_max;
		send_bytes_max = bytes > send_bytes_max ? bytes : send_bytes_max;
	}
	for (size_t i = 0; i < count; i++) {
		if (socket_full || sent_count == SENT_MAX)
			return i;
		CHECK_LE(packets[i].iov_len, NET_DATAGRAM_MAX);
		memcpy(sent[sent_count].bytes, packets[i].iov_base, packets[i].iov_len);
		sent[sent_count].to = *to;
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

/* What is said to other processes, all in a row. */
static struct {
	size_t frames, size;
	uint8_t bytes[1 << 16];
} bus;

static enum err op_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	bus.frames++;
	for (size_t i = 0; i < count && bus.size + parts[i].iov_len <= sizeof(bus.bytes); i++) {
		memcpy(bus.bytes + bus.size, parts[i].iov_base, parts[i].iov_len);
		bus.size += parts[i].iov_len;
	}
	return ERR_OK;
}

static const struct runtime_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.bus_send = op_bus_send,
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
static const struct config *settings; /* NULL: defaults */

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
		.config = settings,
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
		.count = {256, 2, 4, 1},
		.escrow = {1,  1  },
	};
	struct media_log_limits limits = {.age_us = 10000000, .bytes = 1 << 20};

	CHECK_OK(openssl_ciphers_install());
	now_us = 1000000;
	sent_count = 0;
	socket_full = false;
	send_calls = send_packets_max = send_bytes_max = 0;
	memset(&stream, 0, sizeof(stream));
	memset(&heard, 0, sizeof(heard));
	memset(&bus, 0, sizeof(bus));
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

static inline struct session *session_now(void)
{
	struct actor *actor = runtime_find(rt, stream.session.id);

	return actor ? actor_data(actor) : NULL;
}

/* ---- from outside -------------------------------------------------------------------------- */

static struct net_addr client_addr = {
	.family = 4, .port = 4000, .ip = {192, 0, 2, 9}
};

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

/* ---- media --------------------------------------------------------------------------------- */

static void stream_put(const struct media_header *header, uint8_t filler)
{
	struct media_log *log = media_log_get(arena, stream.log);
	struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, 1);
	struct packet *packet = arena_packet(arena, ref);

	packet->header = *header;
	packet->header.capture_us = op_wall_us(NULL);
	memset(packet->payload, filler, header->size);
	CHECK_OK(media_log_put(arena, log, log->next, ref));
	arena_release(arena, ARENA_PACKET, ref);
	actor_kick(rt, stream.session);
}

/* One packet of a frame of its own, 33 ms after the last one. */
static inline void stream_add(uint64_t n, uint8_t flags)
{
	stream_put(
		&(struct media_header){
			.track_seq = n,
			.rtp_time = 1000000 + n * 3000,
			.frame = (uint32_t)n,
			.size = 500,
			.flags = (uint8_t)(MEDIA_FRAME_START | MEDIA_FRAME_END | flags),
			.priority = MEDIA_PRIORITY_DELTA,
		},
		(uint8_t)n);
}

#endif

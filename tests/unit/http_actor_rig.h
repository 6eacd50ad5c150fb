/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of HTTP actors: the office, its connections and muxers in the real kernel; one worker under
 * virtual time, a client made of bytes; in place of the WebRTC port and the media office, actors that
 * answer what a row says. There is no control process: what can be done without it must work.
 */
#ifndef MILLRACE_TESTS_HTTP_ACTOR_RIG_H
#define MILLRACE_TESTS_HTTP_ACTOR_RIG_H

#include "actors/http/http_actor.h"
#include "actors/http/http_conn.h"
#include "actors/http/ws.h"
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/flv_view.h"
#include "tests/unit/sample_log.h"
#include "tests/unit/tcp_worker.h"

enum { SLOTS = 512 };

/* ---- those it asks --------------------------------------------------------------------------- */

static struct {
	enum err create; /* refused with this */
	bool hold;	 /* no answer until told */
	struct asker asker;
	char stream[128], client[64];
	size_t offer_size;
	unsigned creates, patches, deletes, subscribes, unsubscribes;
	char if_match[64], secret[64];
	enum err subscribe;
	struct slot_ref log;
	struct media_track track;
	enum err stopped; /* a session that waited */
} asked;

/* Its state is of no interest: any schema does. */
struct fake {
	struct http_office_state st;
};

static enum err answer_create(struct actor *self, struct asker asker)
{
	return actor_answer(self, asker, session_created,
		{
			.session = actor_addr(self),
			.secret = "0123456789abcdef0123456789abcdef",
			.answer = {"v=0\r\n", 5},
			.etag = "tag-0",
			.resume = "again"
	 });
}

ON(fake, session_create)
{
	asked.creates++;
	asked.offer_size = m->offer.size;
	text_copy(asked.stream, sizeof(asked.stream), m->stream_name);
	text_copy(asked.client, sizeof(asked.client), m->client);
	asked.asker = actor_asker(self);
	if (asked.create)
		return asked.create;
	return asked.hold ? ERR_OK : answer_create(self, asked.asker);
}

ON(fake, session_patch)
{
	asked.patches++;
	text_copy(asked.if_match, sizeof(asked.if_match), m->if_match);
	return actor_reply(self, session_patched, {.status = 204, .sent_ms = 8});
}

ON(fake, session_delete)
{
	asked.deletes++;
	text_copy(asked.secret, sizeof(asked.secret), m->secret);
	if (strcmp(m->secret, "0123456789abcdef0123456789abcdef") != 0)
		return ERR_FORBIDDEN;
	return actor_reply(self, done, {});
}

ON(fake, subscribe)
{
	asked.subscribes++;
	CHECK_EQ(m->audio, MEDIA_AAC);
	if (asked.subscribe)
		return asked.subscribe;
	struct msg_subscribed answer = {.stream = actor_addr(self),
		.live = true,
		.start = 1,
		.log_index = asked.log.index,
		.log_generation = asked.log.generation,
		.tracks_count = 1,
		.tracks = {asked.track}};

	return actor_answer_mail(
		self, actor_asker(self), MSG_subscribed, &schema_subscribed, &answer);
}

ON(fake, unsubscribe)
{
	asked.unsubscribes++;
	return ERR_OK;
}

ON(fake, keyframe_request)
{
	return ERR_OK;
}

static enum err fake_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler fake_handlers[] = {
	HANDLER(fake, session_create, 0),
	HANDLER(fake, session_patch, 0),
	HANDLER(fake, session_delete, 0),
	HANDLER(fake, subscribe, 0),
	HANDLER(fake, unsubscribe, 0),
	HANDLER(fake, keyframe_request, 0),
};

static const struct actor_type fake_actor = {
	.name = "fake",
	.size = sizeof(struct fake),
	.state = &schema_http_office_state,
	HANDLER_TABLE(fake_handlers),
	.init = fake_init,
};

/* ---- one worker ------------------------------------------------------------------------------ */

static const struct actor_type *const types[] = {
	&http_office_actor, &http_connection_actor, &flv_mux_actor, NULL};

static void begin(void)
{
	struct arena_layout layout = {
		.count = {SLOTS, 2, 4, 4}
	 };

	memset(&asked, 0, sizeof(asked));
	worker_begin(&layout, NET_HTTP, types);
	CHECK_OK(actor_spawn_office(rt, OFFICE_MEDIA, &fake_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_RTC, &fake_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_HTTP, &http_office_actor, NULL));
}

static void end(void)
{
	struct arena_usage usage;

	runtime_destroy(&rt);
	media_log_destroy(arena, asked.log);
	arena_usage(arena, &usage);
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		CHECK_EQ(usage.used[i], 0);
	worker_end();
}

static void connect_client(void)
{
	const struct net_addr peer = {
		.family = 4, .transport = NET_TCP, .port = 5, .ip = {127, 0, 0, 1}
	  };

	wire_at = wire_end = answer_size = 0;
	hung_up = closed = false;
	runtime_net_accepted(
		rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_HTTP, LISTENER, SOCKET, &peer);
	turn(0);
}

static void say(const char *text)
{
	size_t size = strlen(text);

	CHECK(wire_end + size < sizeof(wire));
	memcpy(wire + wire_end, text, size);
	wire_end += size;
	turn(NET_READABLE);
}

static void ask(const char *method, const char *path, const char *headers, const char *body)
{
	static char text[WIRE_SIZE];

	snprintf(text, sizeof(text),
		"%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n%s", method,
		path, headers, strlen(body), body);
	say(text);
}

static int status(void)
{
	int value = 0;

	sscanf(answers, "HTTP/1.1 %d", &value);
	return value;
}

static bool lives(void)
{
	return runtime_find(rt, socket_owner) != NULL;
}

#define HANDSHAKE                                         \
	"Connection: Upgrade\r\nUpgrade: websocket\r\n"   \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
	"Sec-WebSocket-Version: 13\r\n"
#define AS_SDP	"Content-Type: application/sdp\r\n"
#define AS_JSON "Content-Type: application/json\r\n"
#define AS_FRAG "Content-Type: application/trickle-ice-sdpfrag\r\n"
#define SESSION "10000000007-0123456789abcdef0123456789abcdef" /* OFFICE_RTC of block 1 */

static void fill_stream(void)
{
	asked.log = sample_log_create(arena);
	asked.track = SAMPLE_LOG_TRACK;
	sample_log_grow(arena, asked.log, 0, 12, 0);
}

#endif

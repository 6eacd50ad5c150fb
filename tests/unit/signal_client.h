/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of signalling over /ws in the real kernel: one worker under virtual time, a client made of
 * bytes whose connections break, and in place of the WebRTC port and its sessions an actor that answers
 * what a row says.
 */
#ifndef MILLRACE_TESTS_SIGNAL_CLIENT_H
#define MILLRACE_TESTS_SIGNAL_CLIENT_H

#include "actors/http/http_internal.h"
#include "actors/http/signal.h"
#include "actors/http/signal_line.h"
#include "actors/http/ws.h"
#include "runtime/kernel.h"
#include "schemas/names.h"
#include "tests/unit/tcp_worker.h"

#define SECRET "0123456789abcdef0123456789abcdef"

/* ---- those it asks --------------------------------------------------------------------------- */

static struct {
	enum err create;
	bool hold; /* no answer until told */
	struct asker asker;
	unsigned creates, patches, deletes;
	uint32_t wait_ms;
	uint8_t standby;
	struct addr watcher;
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
			.secret = SECRET,
			.answer = {"v=0\r\n", 5},
			.etag = "tag"
	     });
}

ON(fake, session_create)
{
	asked.creates++;
	asked.asker = actor_asker(self);
	asked.wait_ms = m->wait_ms;
	asked.standby = m->standby;
	asked.watcher = m->watcher;
	if (asked.create)
		return asked.create;
	if (!asked.hold)
		return answer_create(self, asked.asker);
	if (m->wait_ms)
		actor_send(self, mail->from, session_waits, {.request = asked.asker.request});
	return ERR_OK;
}

ON(fake, session_patch)
{
	asked.patches++;
	if (strcmp(m->secret, SECRET) != 0)
		return ERR_NOT_FOUND;
	CHECK(!addr_is_nobody(m->watcher));
	return actor_reply(self, session_patched,
		{
			.status = 200, .fragment = {"a=x", 3},
			       .sent_ms = 8
	   });
}

ON(fake, session_delete)
{
	asked.deletes++;
	return actor_reply(self, done, {});
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
};

static const struct actor_type fake_actor = {
	.name = "fake",
	.size = sizeof(struct fake),
	.state = &schema_http_office_state,
	HANDLER_TABLE(fake_handlers),
	.init = fake_init,
};

/* ---- one worker, one client ------------------------------------------------------------------ */

static const struct actor_type *const types[] = {
	&http_office_actor, &http_connection_actor, &signal_channel_actor, NULL};

static struct {
	char channel[96];
	uint64_t sent, seen;
	bool resumed;
	unsigned taken; /* numbered messages, each once */
	/* the last one */
	uint16_t type;
	uint64_t answers;
	union {
		struct msg_signal_welcome welcome;
		struct msg_signal_opened opened;
		struct msg_signal_patched patched;
		struct msg_signal_refused refused;
		struct msg_signal_ended ended;
		struct msg_signal_switched switched;
		struct msg_signal_reconnect reconnect;
		struct msg_signal_alternatives alternatives;
	};
	size_t read; /* of the answers */
	bool said_close;
	unsigned welcomes;
} client;

static struct actor *fake(void)
{
	return runtime_find(rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_RTC);
}

static uint32_t channels(void)
{
	uint32_t count = 0;

	for (const struct actor *actor = rt->oldest; actor; actor = actor->next)
		count += actor->type == &signal_channel_actor;
	return count;
}

static void begin(void)
{
	struct arena_layout layout = {
		.count = {4, 2, 4, 4}
	     };

	memset(&asked, 0, sizeof(asked));
	memset(&client, 0, sizeof(client));
	worker_begin(&layout, NET_HTTP, types);
	CHECK_OK(actor_spawn_office(rt, OFFICE_RTC, &fake_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_HTTP, &http_office_actor, NULL));
}

static void end(void)
{
	struct arena_usage usage;

	runtime_destroy(&rt);
	arena_usage(arena, &usage);
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		CHECK_EQ(usage.used[i], 0);
	worker_end();
}

static void say_frame(uint8_t opcode, const void *bytes, size_t size)
{
	uint8_t *at = wire + wire_end;

	*at++ = 0x80 | opcode;
	*at++ = 0x80 | 127;
	for (int shift = 56; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(size >> shift);
	if (size <= 0xffff) { /* the shortest form (RFC 6455 5.2) */
		at -= 8;
		if (size > 125) {
			at[-1] = 0x80 | 126;
			*at++ = (uint8_t)(size >> 8);
			*at++ = (uint8_t)size;
		} else {
			at[-1] = (uint8_t)(0x80 | size);
		}
	}
	memset(at, 0, 4); /* a mask that changes nothing */
	at += 4;
	memcpy(at, bytes, size);
	wire_end = (size_t)(at - wire) + size;
	turn(NET_READABLE);
}

static void say_numbered(uint64_t seq, const struct schema *schema, const void *body)
{
	static uint8_t bytes[SIGNAL_FRAME_MAX];
	struct writer out = writer_of(bytes, sizeof(bytes));
	struct signal_envelope envelope = {.seq = seq, .ack = client.seen, .type = schema->id};

	CHECK_OK(signal_message_write(&out, &envelope, schema, body));
	say_frame(WS_BINARY, bytes, writer_used(&out));
}

#define SAY(message, ...) \
	say_numbered(++client.sent, &schema_##message, &(const struct msg_##message)__VA_ARGS__)

static void take_message(const uint8_t *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	struct signal_envelope envelope;
	const struct schema *schema;

	CHECK_OK(schema_decode(&schema_signal_envelope, &in, &envelope));
	schema = schema_by_id(envelope.type);
	CHECK(schema && schema->size <= sizeof(client) - offsetof(typeof(client), welcome));
	if (envelope.seq && envelope.seq <= client.seen)
		return;
	if (envelope.type == MSG_signal_alive)
		return;
	CHECK_OK(schema_decode(schema, &in, &client.welcome));
	CHECK_EQ(reader_left(&in), 0);
	client.type = envelope.type;
	client.answers = envelope.answers;
	if (envelope.type == MSG_signal_welcome) {
		memcpy(client.channel, client.welcome.channel, sizeof(client.channel));
		client.resumed = client.welcome.resumed;
		client.welcomes++;
		return;
	}
	CHECK_EQ(envelope.seq, client.seen + 1);
	client.seen++;
	client.taken++;
}

/* What came by the WebSocket since the last time. */
static void listen(void)
{
	run_ms(2); /* what is said leaves a millisecond later */
	while (client.read < answer_size) {
		const uint8_t *at = (const uint8_t *)answers + client.read;
		uint8_t opcode = at[0] & 0xf;
		size_t size = at[1], head = 2;

		if (size == 126) {
			size = (size_t)at[2] << 8 | at[3];
			head = 4;
		}
		CHECK(size < 126 || head == 4);
		if (opcode == WS_CLOSE)
			client.said_close = true;
		else if (opcode == WS_BINARY)
			take_message(at + head, size);
		client.read += head + size;
	}
}

static void connect_client(void)
{
	static const char handshake[] =
		"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	const struct net_addr peer = {
		.family = 4, .transport = NET_TCP, .port = 5, .ip = {127, 0, 0, 1}
	  };

	wire_at = wire_end = answer_size = 0;
	hung_up = closed = client.said_close = false;
	runtime_net_accepted(
		rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_HTTP, LISTENER, SOCKET, &peer);
	turn(0);
	memcpy(wire, handshake, sizeof(handshake) - 1);
	wire_end = sizeof(handshake) - 1;
	turn(NET_READABLE);
	CHECK(strstr(answers, "HTTP/1.1 101"));
	client.read = answer_size;
}

static void say_hello(void)
{
	struct msg_signal_hello m = {{0}};

	memcpy(m.channel, client.channel, sizeof(m.channel));
	connect_client();
	say_numbered(0, &schema_signal_hello, &m);
}

static void hello(void)
{
	unsigned welcomes = client.welcomes;

	say_hello();
	listen();
	CHECK_EQ(client.welcomes, welcomes + 1);
}

static const char *session_name(void)
{
	return "10000000007-" SECRET; /* OFFICE_RTC of block 1 */
}

#define PUBLISH                                           \
	{                                                 \
		.stream = "live/a", .offer = { "v=0", 3 } \
	}
#define PLAY                                                                        \
	{                                                                           \
		.play = true, .stream = "live/a", .offer = {"v=0", 3}, .wait = true \
	}

#endif

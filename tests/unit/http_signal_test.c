/* SPDX-License-Identifier: Apache-2.0
 *
 * Signalling over /ws in the real kernel: one worker under virtual time, a client made of bytes whose
 * connections break, and in place of the WebRTC port and its sessions an actor that answers what a row
 * says.
 */
#include "actors/http/http_internal.h"
#include "actors/http/signal.h"
#include "actors/http/signal_line.h"
#include "actors/http/ws.h"
#include "schemas/names.h"
#include "tests/unit/successor.h"
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
			.status = 200, .fragment = {"a=x", 3}
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

static void hang_up(void)
{
	hung_up = true;
	turn(NET_READABLE | NET_CLOSED);
	CHECK(closed);
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

/* ---- rows ------------------------------------------------------------------------------------ */

TEST(a_session_is_opened_patched_and_stopped)
{
	struct msg_signal_patch patch = {
		.if_match = "*", .fragment = {"a=y", 3}
	       };
	struct msg_signal_stop stop = {{0}};

	begin();
	hello();
	CHECK(!client.resumed && client.channel[0]);
	SAY(signal_open, PUBLISH);
	listen();
	CHECK_EQ(client.type, MSG_signal_opened);
	CHECK_EQ(client.answers, 1);
	CHECK_STR(client.opened.session, session_name());
	CHECK_EQ(client.opened.answer.size, 5);
	text_copy(patch.session, sizeof(patch.session), session_name());
	say_numbered(++client.sent, &schema_signal_patch, &patch);
	listen();
	CHECK_EQ(client.type, MSG_signal_patched);
	CHECK_EQ(client.patched.status, 200);
	text_copy(stop.session, sizeof(stop.session), session_name());
	say_numbered(++client.sent, &schema_signal_stop, &stop);
	listen();
	CHECK_EQ(client.type, MSG_signal_done);
	CHECK_EQ(client.answers, 3);
	CHECK_EQ(asked.creates + asked.patches + asked.deletes, 3);
	end();
}

TEST(what_is_wrong_is_refused_with_its_status)
{
	static const struct {
		struct msg_signal_open open;
		enum err create;
		int status;
		const char *code;
	} rows[] = {
		{{.stream = "live", .offer = {"v=0", 3}},  0,		     400, "format"	  },
		{{.stream = "api/a", .offer = {"v=0", 3}}, 0,		      400, "format"	   },
		{{.stream = "live/a"},		       0,		  400, "format"       },
		{PUBLISH,				  ERR_BUSY,	    409, "busy"	       },
		{PLAY,				     ERR_NOT_FOUND,     409, "not_found"    },
		{PUBLISH,				  ERR_UNPROCESSABLE, 422, "unprocessable"},
		{PUBLISH,				  ERR_OVERLOAD,	503, "overload"     },
	};

	begin();
	hello();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		asked.create = rows[i].create;
		say_numbered(++client.sent, &schema_signal_open, &rows[i].open);
		listen();
		CHECK_EQ(client.type, MSG_signal_refused);
		CHECK_EQ(client.answers, i + 1);
		CHECK_EQ(client.refused.status, rows[i].status);
		if (rows[i].create)
			CHECK_STR(client.refused.code, rows[i].code);
		CHECK(client.refused.text[0]);
		CHECK(rows[i].status != 503 || client.refused.retry_after_ms);
	}
	SAY(signal_patch, {
				  .session = "nonsense", .fragment = {"a=y", 3}
	       });
	listen();
	CHECK_EQ(client.refused.status, 404);
	SAY(signal_stop, {.session = "1000000ffff-0123456789abcdef"});
	listen();
	CHECK_EQ(client.refused.status, 404);
	SAY(signal_done, {}); /* not a client's */
	listen();
	CHECK_EQ(client.refused.status, 400);
	end();
}

TEST(too_many_at_once_are_refused)
{
	begin();
	asked.hold = true;
	hello();
	for (int i = 0; i < SIGNAL_TASKS_MAX; i++)
		SAY(signal_open, PUBLISH);
	listen();
	CHECK_EQ(client.taken, 0);
	SAY(signal_open, PUBLISH);
	listen();
	CHECK_EQ(client.refused.status, 429);
	CHECK_EQ(asked.creates, SIGNAL_TASKS_MAX);
	end();
}

TEST(an_answer_waits_for_the_next_connection)
{
	begin();
	asked.hold = true;
	hello();
	SAY(signal_open, PUBLISH);
	CHECK_EQ(asked.creates, 1);
	hang_up();
	answer_create(fake(), asked.asker);
	run_ms(20);
	CHECK_EQ(channels(), 1);
	hello();
	CHECK(client.resumed);
	listen();
	CHECK_EQ(client.type, MSG_signal_opened);
	CHECK_EQ(client.taken, 1);
	end();
}

/* The client has not heard that its message has come, and sends it again. */
TEST(what_comes_twice_is_done_once)
{
	struct msg_signal_open open = PUBLISH;

	begin();
	hello();
	say_numbered(++client.sent, &schema_signal_open, &open);
	answer_size = client.read; /* the answer is lost with the connection */
	hang_up();
	hello();
	say_numbered(client.sent, &schema_signal_open, &open);
	listen();
	CHECK_EQ(asked.creates, 1);
	CHECK_EQ(client.type, MSG_signal_opened);
	CHECK_EQ(client.taken, 1);
	end();
}

/* A client may be quicker than the death of its connection. */
TEST(a_new_connection_takes_the_channel_from_the_old_one)
{
	uint64_t old;

	begin();
	hello();
	old = socket_owner;
	say_hello(); /* both have one number here, so the new one ends with the old one */
	CHECK(!runtime_find(rt, old));
	hello();
	CHECK(client.resumed);
	CHECK_EQ(channels(), 1);
	end();
}

TEST(a_channel_that_is_gone_is_followed_by_a_new_one)
{
	static const char *const names[] = {"1-2", "zz", "10000000007-" SECRET};
	char before[96];

	begin();
	hello();
	memcpy(before, client.channel, sizeof(before));
	client.channel[strlen(client.channel) - 1] ^= 1; /* not the secret */
	hang_up();
	hello();
	CHECK(!client.resumed && strcmp(client.channel, before) != 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		hang_up();
		text_copy(client.channel, sizeof(client.channel), names[i]);
		hello();
		CHECK(!client.resumed);
	}
	hang_up();
	run_ms(SIGNAL_LINGER_MS + 10);
	CHECK_EQ(channels(), 0);
	hello();
	CHECK(!client.resumed);
	end();
}

TEST(a_client_that_breaks_the_rules_is_cut_off)
{
	static const struct {
		uint8_t opcode;
		const char *bytes;
		size_t size;
	} rows[] = {
		{WS_TEXT,	  "hello",					    5 },
		{WS_BINARY, "",						 0 },
		{WS_BINARY, "\xc1",					     1 },
		{WS_BINARY, "\x82\x01\x05\x04\xcd\x23\x03\x80",			8 }, /* number 5 before 1 */
		{WS_BINARY, "\x82\x02\x05\x04\xcd\x23\x03\x80",			8 }, /* never sent, acknowledged */
		{WS_BINARY, "\x81\x04\xcd\x23\x03\x80\x80",			    7 }, /* more behind it */
		{WS_BINARY, "\x81\x04\xcd\x23\x04\x81\x02\xdb\xff\xff\xff\xff", 12},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int greeted = 0; greeted < 2; greeted++) {
			begin();
			if (greeted)
				hello();
			else
				connect_client();
			say_frame(rows[i].opcode, rows[i].bytes, rows[i].size);
			run_ms(5);
			if (!closed)
				fail_msg("row %zu is taken", i);
			end();
		}
	}
	begin();
	connect_client();
	run_ms(20001); /* says nothing */
	CHECK(closed);
	end();
}

TEST(a_session_that_ends_is_told_of)
{
	begin();
	hello();
	SAY(signal_open, PUBLISH);
	listen();
	actor_stop(fake(), ERR_OK);
	turn(0);
	listen();
	CHECK_EQ(client.type, MSG_signal_ended);
	CHECK_STR(client.ended.session, session_name());
	CHECK(client.ended.reason[0]);
	end();
}

/* One of another channel, perhaps of one that is gone. */
TEST(a_session_that_was_patched_is_watched)
{
	struct msg_signal_patch patch = {
		.if_match = "*", .fragment = {"a=y", 3}
	       };

	text_copy(patch.session, sizeof(patch.session), session_name());
	begin();
	hello();
	for (int i = 0; i < 2; i++)
		say_numbered(++client.sent, &schema_signal_patch, &patch);
	listen();
	CHECK_EQ(client.type, MSG_signal_patched);
	CHECK_EQ(client.taken, 2);
	actor_stop(fake(), ERR_OK);
	turn(0);
	listen();
	CHECK_EQ(client.type, MSG_signal_ended);
	CHECK_STR(client.ended.session, session_name());
	CHECK_EQ(client.taken, 3);
	end();
}

TEST(another_publisher_is_told_of)
{
	begin();
	hello();
	SAY(signal_open, PLAY);
	listen();
	actor_send(fake(), asked.watcher, session_switched, {});
	turn(0);
	listen();
	CHECK_EQ(client.type, MSG_signal_switched);
	CHECK_STR(client.switched.session, session_name());
	CHECK_EQ(client.taken, 2);

	SAY(signal_stop, {.session = "10000000007-" SECRET});
	listen();
	actor_send(fake(), asked.watcher, session_switched,
		{}); /* no session of this client any more */
	turn(0);
	listen();
	CHECK_EQ(client.type, MSG_signal_done);
	CHECK_EQ(client.taken, 3);
	end();
}

TEST(a_session_is_to_go_on_at_another_node)
{
	begin();
	hello();
	SAY(signal_open, PLAY);
	listen();
	actor_send(fake(), asked.watcher, session_reconnect, {.url = "https://b.example.org"});
	turn(0);
	listen();
	CHECK_EQ(client.type, MSG_signal_reconnect);
	CHECK_STR(client.reconnect.session, session_name());
	CHECK_STR(client.reconnect.addresses, "https://b.example.org");
	CHECK_EQ(client.reconnect.within_ms, 0);
	end();
}

static void set_alternatives(const char *urls)
{
	struct msg_alternatives m = {{0}};

	text_copy(m.urls, sizeof(m.urls), urls);
	actor_send_mail(fake(), actor_office(fake(), OFFICE_HTTP), MSG_alternatives,
		&schema_alternatives, &m);
	turn(0);
}

/* The node looks once a second. */
static void live_on(int seconds)
{
	for (int i = 0; i < seconds; i++) {
		run_ms(1000);
		say_numbered(0, &schema_signal_alive, &(const struct msg_signal_alive){});
		listen();
	}
}

TEST(nodes_that_come_later_are_told_of)
{
	begin();
	hello();
	set_alternatives("http://a");
	live_on(2);
	CHECK_EQ(client.taken, 0); /* it has no session that could go there */
	set_alternatives("");
	SAY(signal_open, PLAY);
	listen();
	CHECK_EQ(client.type, MSG_signal_opened);
	CHECK_STR(client.opened.alternatives, "");
	live_on(2);
	CHECK_EQ(client.taken, 1);
	set_alternatives("http://b http://c");
	live_on(2);
	CHECK_EQ(client.type, MSG_signal_alternatives);
	CHECK_STR(client.alternatives.addresses, "http://b http://c");
	/* no news: another order, a while without any */
	set_alternatives("http://c http://b");
	live_on(70);
	set_alternatives("");
	live_on(2);
	set_alternatives("http://b http://c");
	live_on(2);
	CHECK_EQ(client.taken, 2);
	set_alternatives("http://d http://c");
	live_on(2);
	CHECK_EQ(client.taken, 3);
	CHECK_STR(client.alternatives.addresses, "http://d http://c");
	/* who knows of some hears once a minute at most */
	set_alternatives("http://e");
	live_on(50);
	CHECK_EQ(client.taken, 3);
	live_on(15);
	CHECK_EQ(client.taken, 4);
	CHECK_STR(client.alternatives.addresses, "http://e");
	SAY(signal_stop, {.session = "10000000007-" SECRET});
	end();
}

TEST(marks_of_lists)
{
	CHECK_EQ(http_alternatives_mark(""), 0);
	CHECK_EQ(http_alternatives_mark("  "), 0);
	CHECK(http_alternatives_mark("http://a"));
	CHECK(http_alternatives_mark("http://a") != http_alternatives_mark("http://b"));
	CHECK(http_alternatives_mark("http://a") != http_alternatives_mark("http://a http://b"));
	CHECK_EQ(http_alternatives_mark("http://a http://b"),
		http_alternatives_mark("http://b  http://a"));
}

TEST(a_list_begins_with_another_one)
{
	static const struct {
		const char *urls;
		uint32_t by;
		const char *turned;
	} rows[] = {
		{"",		     5, ""		  },
		{"http://a",	     5, "http://a"	  },
		{"http://a http://b", 0, "http://a http://b"},
		{"http://a http://b", 1, "http://b http://a"},
		{"http://a http://b", 7, "http://b http://a"},
		{"a b c",		  2, "c a b"	    },
	};
	char turned[ALTERNATIVES_SIZE + 1];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		http_alternatives_turned(rows[i].urls, rows[i].by, turned);
		CHECK_STR(turned, rows[i].turned);
	}
}

TEST(a_publisher_may_stand_by)
{
	begin();
	hello();
	SAY(signal_open, PUBLISH);
	listen();
	CHECK_EQ(asked.standby, NAME_STANDBY_UNSAID);
	SAY(signal_open, {
				 .stream = "live/a", .offer = {"v=0", 3},
					  .standby = true
	 });
	listen();
	CHECK_EQ(asked.standby, NAME_STANDBY_YES);
	end();
}

/* What ends here is the RTC office: it is the session, too. */
TEST(a_request_is_taken_back)
{
	begin();
	asked.hold = true;
	hello();
	SAY(signal_open, PLAY);
	CHECK(asked.wait_ms);
	SAY(signal_stop, {.open = 1});
	listen();
	CHECK(!fake()); /* it waits for no publisher any more */
	CHECK_EQ(client.type, MSG_signal_done);
	CHECK_EQ(client.taken, 2); /* and the refusal of what was taken back */
	end();

	begin();
	asked.hold = true;
	hello();
	SAY(signal_open, PUBLISH);
	SAY(signal_stop, {.open = 1});
	answer_create(fake(), asked.asker); /* too late */
	turn(0);
	CHECK_EQ(asked.deletes, 1);
	end();

	begin();
	hello();
	SAY(signal_open, PUBLISH);
	SAY(signal_stop, {.open = 1}); /* the answer is under way */
	listen();
	CHECK(!fake());
	end();
}

TEST(a_process_that_ends_says_where_to_go)
{
	begin();
	hello();
	runtime_drain(rt, 1000);
	turn(0);
	listen();
	CHECK_EQ(client.type, MSG_signal_reconnect);
	turn(0);
	CHECK(closed && client.said_close);
	CHECK_EQ(channels(), 0);
	end();
}

/* A worker that drains alone takes requests for the others, and says nothing of it. */
TEST(a_process_that_drains_takes_no_sessions)
{
	static const struct row {
		bool alone;
		uint16_t answer;
	} rows[] = {
		{false, MSG_signal_refused},
		{true,  MSG_signal_opened },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		begin();
		hello();
		actor_send(fake(), actor_office(fake(), OFFICE_HTTP), intake,
			{.closed = true, .alone = rows[i].alone});
		turn(0);
		SAY(signal_open, PUBLISH);
		listen();
		CHECK_EQ(client.type, rows[i].answer);
		CHECK_EQ(client.taken, 1);
		run_ms(1500); /* it looks once a second */
		listen();
		CHECK_EQ(client.taken, rows[i].alone ? 1 : 2);
		CHECK_EQ(client.type, rows[i].alone ? MSG_signal_opened : MSG_signal_reconnect);
		end();
	}
}

/* ---- another process ------------------------------------------------------------------------- */

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_HTTP(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

/* With an answer that nobody has acknowledged, a session watched and a request under way. */
TEST(a_channel_comes_back_in_another_process)
{
	struct arena_usage usage;

	begin();
	hello();
	SAY(signal_open, PUBLISH);
	asked.hold = true;
	SAY(signal_open, PUBLISH);
	arena_usage(arena, &usage);
	CHECK_EQ(usage.used[ARENA_BUFFER], 1);
	CHECK_EQ(successor_run(&kit, rt, memory, memory_size, usage.used[ARENA_SESSION]), 1);
	successor_check_rows(&kit);
	end();
}

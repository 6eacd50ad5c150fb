/* SPDX-License-Identifier: Apache-2.0
 *
 * Signalling over /ws: what a client asks for, over connections that break, and the rules it keeps to.
 * What it is told without asking: http_signal_events_test.c.
 */
#include "tests/unit/successor.h"

#include "tests/unit/signal_client.h"

static void hang_up(void)
{
	hung_up = true;
	turn(NET_READABLE | NET_CLOSED);
	CHECK(closed);
}

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
	CHECK_EQ(client.patched.sent_ms, 8);
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

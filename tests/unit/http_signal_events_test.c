/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client that signals over /ws is told without asking: its session has ended, another publisher is
 * behind it, it is to go on elsewhere, there are other nodes, the process ends.
 */
#include "tests/unit/signal_client.h"

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

/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP office, its connections and muxers: requests, HTTP-FLV, the end of the worker, takeover.
 */
#include "tests/unit/http_actor_rig.h"

/* ---- rows ------------------------------------------------------------------------------------ */

TEST(every_path_answers_what_it_should)
{
	static const struct {
		const char *method, *path, *headers, *body;
		enum err create;
		int status;
		const char *holds;
	} rows[] = {
	// clang-format off
		{"GET", "/", "", "", 0, 200, "Content-Security-Policy: default-src 'none'"},
		{"GET", "/nothing", "", "", 0, 404, "application/problem+json"},
		{"GET", "/healthz", "", "", 0, 503, "Retry-After: "},
		{"GET", "/readyz", "", "", 0, 200, "\"ready\":true"},
		{"GET", "/metrics", "", "", 0, 200, "millrace_http_requests_total"},
		{"GET", "/metrics", "X-Forwarded-For: 127.0.0.1\r\n", "", 0, 403, "forbidden"},
		{"GET", "/api/v1/streams", "", "", 0, 503, "Retry-After: "},
		{"POST", "/readyz", "", "", 0, 405, "Allow: GET, HEAD"},
		{"POST", "/whip/live/a", AS_SDP, "v=0", 0, 201, "Location: /whip/live/a/" SESSION "\r\n"},
		{"POST", "/whip/live/a", AS_SDP, "v=0", 0, 201, "ETag: \"tag-0\"\r\n"},
		{"POST", "/whip/live/a", AS_SDP, "v=0", 0, 201, "Millrace-Resume: again\r\n"},
		{"POST", "/whep/live/a", AS_SDP, "v=0", 0, 201, "Access-Control-Expose-Headers: Location"},
		{"POST", "/whip/live/a", AS_SDP, "", 0, 400, "SDP"},
		{"POST", "/rtc/v1/publish/", "", "{\"api\":\"x\",\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h/live/a\"}", 0, 200, "{\"code\":0,"},
		{"POST", "/rtc/v1/play", AS_JSON, "{\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h:1/live/a?wait=1\"}", 0, 200, "\"sdp\":\"v=0\\r\\n\",\"sessionid\":\"" SESSION "\""},
		{"POST", "/rtc/v1/play/", AS_JSON, "{\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h/live/a\"}", ERR_NOT_FOUND, 200, "{\"code\":409,"},
		{"POST", "/rtc/v1/publish/", AS_JSON, "{\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h/live/a\"}", ERR_BUSY, 200, "\"error\":{\"code\":\"busy\""},
		{"POST", "/rtc/v1/publish/", AS_JSON, "{\"sdp\":\"\",\"streamurl\":\"webrtc://h/live/a\"}", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/publish/", AS_JSON, "{\"streamurl\":\"webrtc://h/live/a\"}", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/publish/", AS_JSON, "{\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h/api/a\"}", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/publish/", AS_JSON, "{\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h\"}", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/publish/", AS_JSON, "{\"sdp\":\"v=0\",\"streamurl\":7}", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/publish/", AS_JSON, "[1]", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/publish/", AS_JSON, "{\"sdp\"", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/publish/", "", "", 0, 200, "{\"code\":400,"},
		{"POST", "/rtc/v1/play/", AS_JSON, "{\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h/live/a\"}", 0, 200, "Access-Control-Allow-Origin: *"},
		{"OPTIONS", "/rtc/v1/play/", "", "", 0, 204, "Access-Control-Allow-Methods: "},
		{"GET", "/rtc/v1/play/", "", "", 0, 405, "Allow: POST"},
		{"POST", "/rtc/v1/whip/?app=live&stream=a", AS_SDP, "v=0", 0, 201, "Location: /whip/live/a/" SESSION "\r\n"},
		{"POST", "/rtc/v1/whep?app=live&stream=a&x=1", AS_SDP, "v=0", 0, 201, "Location: /whep/live/a/" SESSION "\r\n"},
		{"POST", "/rtc/v1/whip/", AS_SDP, "v=0", 0, 400, "name the stream"},
		{"POST", "/rtc/v1/whip/?app=live", AS_SDP, "v=0", 0, 400, "name the stream"},
		{"POST", "/rtc/v1/whip/?app=whip&stream=a", AS_SDP, "v=0", 0, 400, "name the stream"},
		{"POST", "/rtc/v1/whip/?app=live&stream=.a", AS_SDP, "v=0", 0, 400, "name the stream"},
		{"POST", "/rtc/v1/whep/?app=live&stream=a", AS_JSON, "v=0", 0, 415, "Accept-Post: application/sdp"},
		{"POST", "/whip/live/a", "", "v=0", 0, 415, "Accept-Post: application/sdp"},
		{"POST", "/whip/live/a", AS_SDP, "v=0", ERR_BUSY, 409, "Retry-After: "},
		{"POST", "/whip/live/a", AS_SDP, "v=0", ERR_OVERLOAD, 503, "Retry-After: "},
		{"POST", "/whip/live/a", AS_SDP, "v=0", ERR_UNPROCESSABLE, 422, "unprocessable"},
		{"POST", "/whep/live/a", AS_SDP, "v=0", ERR_NOT_FOUND, 409, "Retry-After: "},
		{"POST", "/whep/live/a", AS_SDP, "v=0", ERR_CODEC, 406, "codec"},
		{"PATCH", "/whip/live/a/" SESSION, AS_FRAG "If-Match: \"tag-0\"\r\n", "a=x", 0, 204, ""},
		{"PATCH", "/whip/live/a/" SESSION, "", "a=x", 0, 415, "Accept-Patch: "},
		{"PATCH", "/whip/live/a/1000000ffff-0123456789abcdef", AS_FRAG, "a=x", 0, 404, ""},
		{"DELETE", "/whip/live/a/" SESSION, "", "", 0, 200, "Content-Length: 0"},
		{"DELETE", "/whip/live/a/" SESSION "x", "", "", 0, 404, "no such session"},
		{"DELETE", "/whip/live/a/AAAAAAAAAAAAAAAAAAAA", "", "", 0, 404, "no such session"},
		{"OPTIONS", "/whep/live/a", "", "", 0, 204, "Accept-Post: application/sdp"},
		{"GET", "/live/a.m3u8", "", "", 0, 404, ""},
		{"GET", "/api/v1/live", "", "", 0, 426, "Sec-WebSocket-Version: 13\r\n"},
		{"GET", "/api/v1/repl", "", "", 0, 426, "Upgrade: websocket\r\n"},
		{"GET", "/api/v1/live", HANDSHAKE "Origin: http://evil\r\n", "", 0, 403, "another origin"},
		{"GET", "/api/v1/live", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", "", 0, 400, "Sec-WebSocket-Key"},
		{"GET", "/live/a.flv", "Connection: upgrade\r\nUpgrade: websocket\r\n", "", 0, 426, "Sec-WebSocket-Version: 13\r\n"},
		{"GET", "/live/a.flv", HANDSHAKE, "", 0, 404, "nobody publishes"},
		{"GET", "/", HANDSHAKE, "", 0, 200, "Content-Security-Policy"},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		asked.create = rows[i].create;
		asked.subscribe = ERR_NOT_FOUND;
		connect_client();
		ask(rows[i].method, rows[i].path, rows[i].headers, rows[i].body);
		if (status() != rows[i].status)
			fail_msg("%s %s: %s", rows[i].method, rows[i].path, answers);
		if (!strstr(answers, rows[i].holds))
			fail_msg("%s %s: no %s in %s", rows[i].method, rows[i].path, rows[i].holds,
				answers);
		CHECK(lives() && !closed); /* the connection is kept for the next request */
		end();
	}
}

/* Over HTTP nothing is told: a client that asks whether its session is there hears where else it could be. */
TEST(who_asks_for_his_session_hears_where_it_could_go)
{
	static const struct {
		const char *urls;
		bool closed, alone;
		const char *link;
		bool reconnect;
	} rows[] = {
		{"",	     true,  false, NULL,						  false},
		{"http://b", false, false, "Link: <http://b/whep/live/a>; rel=\"alternate\"\r\n",
			false										 },
		{"http://b", true,  false, "Link: <http://b/whep/live/a>; rel=\"alternate\"\r\n",
			true										  },
		{"http://b", true,  true,	 "Link: <http://b/whep/live/a>; rel=\"alternate\"\r\n",
			false										 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct msg_alternatives alternatives = {{0}};

		begin();
		struct actor *fake =
			runtime_find(rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_RTC);
		struct addr office = actor_office(fake, OFFICE_HTTP);

		text_copy(alternatives.urls, sizeof(alternatives.urls), rows[i].urls);
		actor_send_mail(
			fake, office, MSG_alternatives, &schema_alternatives, &alternatives);
		actor_send(
			fake, office, intake, {.closed = rows[i].closed, .alone = rows[i].alone});
		turn(0);
		connect_client();
		ask("PATCH", "/whep/live/a/" SESSION, AS_FRAG "If-Match: \"tag-0\"\r\n", "a=x");
		CHECK_EQ(status(), 204);
		CHECK(strstr(answers, "Millrace-Sent: 7\r\n"));
		CHECK_EQ(!!strstr(answers, "Link: "), !!rows[i].link);
		CHECK(!rows[i].link || strstr(answers, rows[i].link));
		CHECK_EQ(!!strstr(answers, "Millrace-Reconnect: 1\r\n"), rows[i].reconnect);
		end();
	}
}

TEST(requests_in_a_row_are_answered_in_order)
{
	begin();
	connect_client();
	say("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n"
	    "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	const char *first = strstr(answers, "HTTP/1.1 200");
	const char *second = strstr(answers, "HTTP/1.1 404");

	CHECK(first && second && first < second && strstr(second, "HTTP/1.1 200"));
	CHECK(!lives() && closed);
	end();
}

TEST(a_client_that_leaves_while_its_session_is_made_leaves_no_session)
{
	begin();
	asked.hold = true;
	connect_client();
	ask("POST", "/whep/live/a?wait=1", AS_SDP, "v=0");
	CHECK_EQ(asked.creates, 1);
	CHECK_STR(asked.stream, "live/a");
	hung_up = true;
	turn(NET_READABLE | NET_CLOSED);
	CHECK(closed && lives());
	struct actor *fake = runtime_find(rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_RTC);

	answer_create(fake, asked.asker);
	turn(0);
	CHECK_EQ(asked.deletes, 1);
	CHECK(!lives());
	end();
}

/* A session that waits for a publisher. */
static enum err waiter_init(struct actor *self, void *data, const void *args)
{
	(void)data, (void)args;
	return actor_send(self, asked.asker.from, session_waits, {});
}

static void waiter_stop(struct actor *self, void *data, enum err reason)
{
	(void)data;
	asked.stopped = reason;
	actor_refuse(self, asked.asker, reason, "");
}

static const struct actor_type waiter_actor = {
	.name = "waiter",
	.size = sizeof(struct fake),
	.state = &schema_http_office_state,
	.init = waiter_init,
	.stop = waiter_stop,
};

TEST(a_client_that_leaves_while_its_session_waits_ends_it_at_once)
{
	for (int told_late = 0; told_late < 2; told_late++) {
		begin();
		asked.hold = true;
		connect_client();
		ask("POST", "/whep/live/a?wait=1", AS_SDP, "v=0");
		CHECK_EQ(asked.creates, 1);
		for (int step = 0; step < 2; step++) {
			if (step == told_late) {
				CHECK_OK(actor_spawn(rt, NULL, &waiter_actor, NULL, NULL));
				turn(0);
				/* or a client that only ends its side would not be noticed */
				CHECK(told_late || wanted == NET_CLOSED);
				continue;
			}
			CHECK(lives());
			hung_up = true;
			turn(NET_READABLE | NET_CLOSED);
			CHECK(closed);
		}
		CHECK_EQ(asked.stopped, ERR_CLOSED);
		CHECK_EQ(asked.deletes, 0);
		CHECK(!lives());
		end();
	}
}

TEST(a_peer_that_takes_nothing_is_let_go)
{
	begin();
	connect_client();
	write_room = 100;
	ask("GET", "/", "", "");
	CHECK_EQ(wanted, NET_WRITABLE);
	run_ms(29000);
	CHECK(lives());
	run_ms(2000);
	CHECK(!lives() && closed);
	end();
	begin();
	connect_client();
	say("GET / HT");
	run_ms(9000);
	CHECK(lives());
	run_ms(2000);
	CHECK_EQ(status(), 408);
	CHECK(!lives() && closed);
	end();
}

/* ---- HTTP-FLV -------------------------------------------------------------------------------- */

static unsigned pictures(void)
{
	const char *body = strstr(answers, "\r\n\r\n");
	struct reader in = reader_of(body + 4, answer_size - (size_t)(body + 4 - answers));
	struct flv_tag_view tag;
	unsigned count = 0;

	CHECK_OK(flv_read_file_header(&in));
	while (flv_read_tag(&in, &tag) == ERR_OK)
		count += tag.type == FLV_VIDEO;
	return count;
}

TEST(a_viewer_gets_the_last_pictures_and_ends_with_the_stream)
{
	begin();
	fill_stream();
	connect_client();
	ask("GET", "/live/a.flv", "", "");
	CHECK_EQ(status(), 200);
	CHECK(strstr(answers, "Content-Type: video/x-flv"));
	run_ms(100);
	CHECK_EQ(pictures(), 1 + 6); /* the configuration, and the last GOP */
	CHECK_EQ(asked.subscribes, 1);
	hung_up = true;
	turn(NET_READABLE | NET_CLOSED);
	CHECK(!lives() && closed);
	run_ms(6000); /* nobody watches: the muxer ends */
	CHECK_EQ(asked.unsubscribes, 1);
	end();
}

TEST(what_cannot_be_watched_says_why)
{
	begin();
	asked.subscribe = ERR_NOT_FOUND;
	connect_client();
	ask("GET", "/live/a.flv", "", "");
	CHECK_EQ(status(), 404);
	CHECK(lives());
	end();
	begin();
	fill_stream();
	asked.track.codec = MEDIA_VP8;
	connect_client();
	ask("GET", "/live/a.flv", "", "");
	CHECK_EQ(status(), 406);
	CHECK(strstr(answers, "cannot carry VP8"));
	end();
}

/* ---- the end of the worker ------------------------------------------------------------------- */

TEST(a_worker_that_drains_finishes_what_was_begun_and_begins_nothing)
{
	begin();
	connect_client();
	ask("GET", "/readyz", "", "");
	CHECK(lives());
	runtime_drain(rt, 1000);
	turn(0);
	CHECK(!lives() && closed);
	CHECK(runtime_is_drained(rt));
	end();
	begin();
	connect_client();
	say("POST /whep/live/a HT");
	runtime_drain(rt, 1000);
	turn(0);
	CHECK(lives());
	say("TP/1.1\r\nHost: a\r\n" AS_SDP "Content-Length: 3\r\n\r\nv=0");
	CHECK_EQ(status(), 503);
	CHECK(strstr(answers, "Retry-After: ") && strstr(answers, "Connection: close"));
	CHECK(!lives() && closed);
	CHECK_EQ(asked.creates, 0);
	end();
}

TEST(a_viewer_of_a_worker_that_drains_gets_whole_tags)
{
	for (size_t room = 500; room < 6000; room += 250) {
		begin();
		fill_stream();
		connect_client();
		write_room = room;
		ask("GET", "/live/a.flv", "", "");
		run_ms(100);
		runtime_drain(rt, 1000);
		run_ms(1);
		write_room = SIZE_MAX;
		turn(NET_WRITABLE);
		CHECK(!lives() && closed);
		const char *body = strstr(answers, "\r\n\r\n");
		struct reader in = reader_of(body + 4, answer_size - (size_t)(body + 4 - answers));
		struct flv_tag_view tag;

		CHECK_OK(flv_read_file_header(&in));
		while (flv_read_tag(&in, &tag) == ERR_OK)
			continue;
		CHECK_EQ(in.end - in.at, 0);
		end();
	}
}

/* ---- takeover -------------------------------------------------------------------------------- */

static size_t encode(uint64_t id, uint8_t *bytes, size_t size)
{
	struct writer w = writer_of(bytes, size);

	CHECK_OK(runtime_encode_actor(runtime_find(rt, id), &w));
	return writer_used(&w);
}

static uint64_t muxer_id(void)
{
	struct actor_facts facts;

	for (struct actor *actor = runtime_next_actor(rt, NULL); actor;
		actor = runtime_next_actor(rt, actor)) {
		runtime_facts(actor, &facts);
		if (!strcmp(facts.type, "flv_mux"))
			return facts.addr.id;
	}
	return 0;
}

/* The slots outlive their process; the socket does not yet. */
TEST(a_successor_finds_muxer_and_viewer_and_ends_the_connection_in_order)
{
	static uint8_t viewer[16384], muxer[16384], again[16384];

	begin();
	fill_stream();
	connect_client();
	write_room = 1500; /* in the middle of a tag */
	ask("GET", "/live/a.flv", "", "");
	run_ms(100);
	uint64_t viewer_id = socket_owner, mux_id = muxer_id();
	size_t viewer_size = encode(viewer_id, viewer, sizeof(viewer));
	size_t muxer_size = encode(mux_id, muxer, sizeof(muxer));
	void *copy = aligned_alloc(4096, memory_size);

	memcpy(copy, memory, memory_size);
	runtime_destroy(&rt);
	arena_detach(&arena);
	free(memory);
	memory = copy;
	closed = false;
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	start_runtime(2, types);
	arena_recount_begin(arena);
	CHECK_OK(runtime_restore_actor(rt, &(struct reader){muxer, muxer + muxer_size, false}));
	CHECK_OK(runtime_restore_actor(rt, &(struct reader){viewer, viewer + viewer_size, false}));
	CHECK_EQ(encode(mux_id, again, sizeof(again)), muxer_size);
	CHECK_MEM(muxer, again, muxer_size);
	CHECK_EQ(encode(viewer_id, again, sizeof(again)), viewer_size);
	CHECK_MEM(viewer, again, viewer_size);
	CHECK(arena_hold_again(arena, ARENA_LOG, asked.log));
	media_log_recount(arena, media_log_get(arena, asked.log));
	arena_recount_end(arena);
	runtime_restore_end(rt);
	run_ms(1);
	CHECK(!runtime_find(rt, viewer_id));
	CHECK(!closed); /* nothing that has the old number is touched */
	run_ms(6000);
	CHECK(!runtime_find(rt, mux_id));
	end();
}

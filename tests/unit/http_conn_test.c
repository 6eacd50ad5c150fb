/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/http_conn.h"
#include "tests/test.h"

#include <stdlib.h>

static uint8_t buffer[HTTP_BUFFER_SIZE];
static struct http_conn conn;
static char answer[2048];

static void start(void)
{
	http_conn_init(&conn, NULL, 0);
	memset(buffer, 0xee, sizeof(buffer));
}

static void feed(const char *bytes, size_t size, int64_t now_us)
{
	while (size) {
		size_t room;
		uint8_t *at = http_conn_space(&conn, buffer, &room);

		CHECK(room > 0);
		if (room > size)
			room = size;
		memcpy(at, bytes, room);
		http_conn_received(&conn, room, now_us);
		bytes += room;
		size -= room;
	}
}

/* Serves until nothing more is to do, every route with the same body limit, and writes down what
 * happened: "POST /a [body]; 413; close". */
static const char *serve(size_t limit, bool refuse, int64_t now_us)
{
	static char log[1024];
	struct http_request request;
	size_t used = strlen(log);

	for (;;) {
		uint8_t out_bytes[512];
		struct writer out = writer_of(out_bytes, sizeof(out_bytes));
		struct http_response ok = {.status = 200, .body = "ok", .body_size = 2};
		struct http_response fault = {.status = 400};

		CHECK(http_conn_is_valid(&conn));
		switch (http_conn_next(&conn, buffer, &request, now_us)) {
		case HTTP_EVENT_MORE: return log;
		case HTTP_EVENT_HEAD:
			if (refuse)
				http_conn_discard_body(&conn, now_us);
			else
				http_conn_allow_body(&conn, limit, now_us);
			http_conn_write_continue(&conn, &out);
			if (writer_used(&out))
				used += (size_t)sprintf(log + used, "100; ");
			break;
		case HTTP_EVENT_REQUEST:
			used += (size_t)sprintf(log + used, "%s %s [%.*s]; ",
				http_verb_name(request.verb), request.path, (int)request.body.size,
				request.body.at ? request.body.at : "");
			CHECK_OK(http_conn_respond(&conn, buffer, &ok, &out, now_us));
			break;
		case HTTP_EVENT_FAULT:
			used += (size_t)sprintf(
				log + used, "%d; ", http_fault_status((enum http_fault)conn.fault));
			CHECK_OK(http_conn_respond(&conn, buffer, &fault, &out, now_us));
			break;
		case HTTP_EVENT_CLOSE: sprintf(log + used, "close"); return log;
		}
	}
}

static char *serve_log(void)
{
	/* the log is static in serve(); an empty call on an idle connection returns it */
	return (char *)(uintptr_t)serve(0, false, 0);
}

static const struct {
	const char *in;
	const char *log;
} stream_rows[] = {
	// clang-format off
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / []; "},
	{"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / []; "},
	{"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400; close"},
	{"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a []; GET /b []; "},
	{"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
		"GET /a []; close"},
	{"GET / HTTP/1.0\r\n\r\n", "GET / []; close"},
	{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / []; "},
	{"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: "
	 "a\r\n\r\n",
		"POST /a [abc]; GET /b []; "},
	{"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "413; close"},
	{"POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
		"100; POST /a [abc]; "},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "3\r\nabc\r\n0002;x=\"y\"\r\nde\r\n0\r\nTrailer: x\r\n\r\nGET /b HTTP/1.1\r\nHost: "
	 "a\r\n\r\n",
		"POST / [abcde]; GET /b []; "},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / []; "},
#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	{CHUNKED "3\r\nabc\r\n6\r\n", "413; close"},
	{CHUNKED "ffffffff\r\n", "413; close"},
	{CHUNKED "000000001\r\n", "400; close"},
	{CHUNKED "\r\n", "400; close"},
	{CHUNKED "g\r\n", "400; close"},
	{CHUNKED "-1\r\n", "400; close"},
	{CHUNKED "0x3\r\n", "400; close"},
	{CHUNKED "3\nabc\r\n", "400; close"},
	{CHUNKED "3\rabc\r\n", "400; close"},
	{CHUNKED "3;a\nb\r\n", "400; close"},
	{CHUNKED "3\r\nabcd\r\n", "400; close"},
	{CHUNKED "3\r\nabc\n0\r\n\r\n", "400; close"},
	{CHUNKED "0\r\n\n", "400; close"},
	{CHUNKED "0\r\nA: b\n\r\n", "400; close"},
	{"GET / HTTP/1.1\nHost: a\n\n", "400; close"},
	{"GET / HTTP/3.0\r\n\r\n", "505; close"},
	{"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "501; close"},
	{"\x16\x03\x01\x02\n", "400; close"},
	// clang-format on
};

/* Every row in one piece, then byte by byte, then cut in two at every place. */
TEST(a_configured_head_size_is_the_limit)
{
	const struct http_bounds bounds = {1000000, 1000000, 1000000, .head_max = 64};
	static const char fits[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	static const char whole[] = "GET / HTTP/1.1\r\nHost: a\r\nCookie: 0123456789012345678901"
				    "23456789\r\n\r\n";
	static const char partial[] = "GET / HTTP/1.1\r\nHost: a\r\nCookie: 01234567890123456789"
				      "01234567890123";
	const char *const rows[] = {whole, partial};

	for (size_t i = 0; i < 2; i++) {
		http_conn_init(&conn, &bounds, 0);
		serve_log()[0] = 0;
		feed(fits, strlen(fits), 0);
		CHECK_STR(serve(0, false, 0), "GET / []; ");
		feed(rows[i], strlen(rows[i]), 0);
		CHECK_STR(serve(0, false, 0), "GET / []; 431; close");
	}
}

TEST(a_stream_of_bytes_means_the_same_however_it_is_cut)
{
	for (size_t i = 0; i < sizeof(stream_rows) / sizeof(*stream_rows); i++) {
		const char *in = stream_rows[i].in;
		size_t size = strlen(in);

		for (size_t cut = 0; cut <= size + 1; cut++) {
			size_t step = cut <= size ? size : 1;
			const char *log = "";

			start();
			serve_log()[0] = '\0';
			if (cut <= size) {
				feed(in, cut, 0);
				log = serve(8, false, 0);
			}
			for (size_t at = cut <= size ? cut : 0; at < size; at += step) {
				if (conn.phase == HTTP_PHASE_CLOSED)
					break;
				feed(in + at, at + step > size ? size - at : step, 0);
				log = serve(8, false, 0);
			}
			if (strcmp(log, stream_rows[i].log))
				print_error("row %zu cut %zu: %s\n", i, cut, log);
			CHECK_STR(log, stream_rows[i].log);
		}
	}
}

TEST(a_refused_body_is_read_and_dropped)
{
	static const struct {
		const char *in, *log;
	} rows[] = {
	// clang-format off
		{"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b "
		 "HTTP/1.1\r\nHost: a\r\n\r\n",
			"POST /a []; GET /b []; "},
		{CHUNKED "3\r\nabc\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
			"POST / []; GET /b []; "},
		/* too much to drop, or not sent yet: answer at once and close */
		{"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\nabc",
			"POST /a []; close"},
		{CHUNKED "3\r\nabc\r\nfffff\r\nx", "POST / []; close"},
		{"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: "
		 "100-continue\r\n\r\n",
			"POST /a []; close"},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		start();
		serve_log()[0] = '\0';
		feed(rows[i].in, strlen(rows[i].in), 0);
		CHECK_STR(serve(8, true, 0), rows[i].log);
	}
}

TEST(patience_ends)
{
	struct http_request request;
	const char *head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";

	/* idle: closed without a word */
	start();
	CHECK_EQ(http_conn_deadline(&conn), HTTP_IDLE_TIME_US);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, HTTP_IDLE_TIME_US - 1), HTTP_EVENT_MORE);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, HTTP_IDLE_TIME_US), HTTP_EVENT_CLOSE);

	/* a head that trickles: the time runs from its first byte */
	start();
	feed("GE", 2, 1000);
	feed("T ", 2, 5000000);
	CHECK_EQ(http_conn_deadline(&conn), 1000 + HTTP_HEAD_TIME_US);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 5000000), HTTP_EVENT_MORE);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 1000 + HTTP_HEAD_TIME_US),
		HTTP_EVENT_FAULT);
	CHECK_EQ(http_fault_status((enum http_fault)conn.fault), 408);
	CHECK_EQ(conn.timeouts, 1);

	/* a body that trickles */
	start();
	feed(head, strlen(head), 0);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_HEAD);
	http_conn_allow_body(&conn, 3, 7);
	CHECK_EQ(http_conn_deadline(&conn), 7 + HTTP_BODY_TIME_US);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 8), HTTP_EVENT_MORE);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 7 + HTTP_BODY_TIME_US), HTTP_EVENT_FAULT);

	/* what has come in time is served even when it is looked at late; then no deadline runs */
	start();
	feed(head, strlen(head), 0);
	feed("abc", 3, 0);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, INT64_C(1) << 40), HTTP_EVENT_HEAD);
	http_conn_allow_body(&conn, 3, 0);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, INT64_C(1) << 40), HTTP_EVENT_REQUEST);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, INT64_C(1) << 41), HTTP_EVENT_MORE);
	CHECK_EQ(http_conn_deadline(&conn), INT64_MAX);
}

TEST(a_peer_that_stops_sending)
{
	struct http_request request;

	start();
	http_conn_peer_closed(&conn);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_CLOSE);

	start();
	feed("GET /", 5, 0);
	http_conn_peer_closed(&conn);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_FAULT);
	CHECK_EQ(conn.fault, HTTP_FAULT_TRUNCATED);

	/* half-closed behind a complete request: answered, then closed */
	start();
	serve_log()[0] = '\0';
	feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, 0);
	http_conn_peer_closed(&conn);
	CHECK_STR(serve(0, false, 0), "GET / []; close");
}

static const char *respond(const char *request_text, const struct http_response *response)
{
	struct http_request request;
	struct writer out = writer_of(answer, sizeof(answer) - 1);

	start();
	feed(request_text, strlen(request_text), 0);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_HEAD);
	http_conn_allow_body(&conn, 100, 0);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_REQUEST);
	CHECK_OK(http_conn_respond(&conn, buffer, response, &out, 0));
	answer[writer_used(&out)] = '\0';
	return answer;
}

#define GET11 "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET10 "GET / HTTP/1.0\r\n\r\n"

TEST(responses_are_written_as_the_request_allows)
{
	static const struct http_field fields[] = {
		{"Location", "/whip/a/b/c"},
		     {"ETag",     "\"1\""	     }
	      };
	static const struct {
		const char *request;
		struct http_response response;
		const char *bytes;
		enum http_phase phase;
	} rows[] = {
	// clang-format off
		{GET11, {.status = 200, .body = "hi", .body_size = 2, .content_type = "text/plain"},
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
			"2\r\n\r\nhi",
			HTTP_PHASE_HEAD},
		{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
			{.status = 200, .body = "hi", .body_size = 2},
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", HTTP_PHASE_HEAD},
		{GET11, {.status = 201, .fields = fields, .field_count = 2},
			"HTTP/1.1 201 Created\r\nLocation: /whip/a/b/c\r\nETag: "
			"\"1\"\r\nContent-Length: 0\r\n\r\n",
			HTTP_PHASE_HEAD},
		{GET11, {.status = 204}, "HTTP/1.1 204 No Content\r\n\r\n", HTTP_PHASE_HEAD},
		{GET11, {.status = 304}, "HTTP/1.1 304 Not Modified\r\n\r\n", HTTP_PHASE_HEAD},
		{GET11, {.status = 503, .close = true, .date_s = 784111777},
			"HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 "
			"GMT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			HTTP_PHASE_CLOSED},
		{GET10, {.status = 200},
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			HTTP_PHASE_CLOSED},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", {.status = 200},
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
			HTTP_PHASE_HEAD},
		{GET11,
			{.status = 200,
				.kind = HTTP_RESPONSE_STREAM,
				.content_type = "video/x-flv"},
			"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nTransfer-Encoding: "
			"chunked\r\n\r\n",
			HTTP_PHASE_STREAM},
		{GET11, {.status = 200, .kind = HTTP_RESPONSE_SIZED, .body_size = 300000},
			"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", HTTP_PHASE_STREAM},
		{GET11, {.status = 304, .kind = HTTP_RESPONSE_SIZED},
			"HTTP/1.1 304 Not Modified\r\n\r\n", HTTP_PHASE_HEAD},
		{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
			{.status = 200, .kind = HTTP_RESPONSE_SIZED, .body_size = 300000},
			"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", HTTP_PHASE_HEAD},
		{GET10, {.status = 200, .kind = HTTP_RESPONSE_STREAM},
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", HTTP_PHASE_STREAM},
		{GET11, {.status = 200, .kind = HTTP_RESPONSE_RAW},
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", HTTP_PHASE_STREAM},
		{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
			{.status = 200, .kind = HTTP_RESPONSE_STREAM},
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_PHASE_HEAD},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		CHECK_STR(respond(rows[i].request, &rows[i].response), rows[i].bytes);
		CHECK_EQ(conn.phase, rows[i].phase);
		CHECK(!http_conn_needs_buffer(&conn));
	}
}

TEST(a_response_cannot_be_split)
{
	static const struct http_field bad_fields[] = {
		// clang-format off
		{"Location", "/a\r\nSet-Cookie: x"}, {"A: b", "c"}, {"", "c"}, {"A", "\n"}};
	struct http_request request;
	struct writer out = writer_of(answer, sizeof(answer));

	start();
	feed(GET11, strlen(GET11), 0);
	http_conn_next(&conn, buffer, &request, 0);
	for (size_t i = 0; i < sizeof(bad_fields) / sizeof(*bad_fields); i++) {
		struct http_response response = {
			.status = 200, .fields = &bad_fields[i], .field_count = 1};

		CHECK_EQ(http_conn_respond(&conn, buffer, &response, &out, 0), ERR_FORMAT);
		// clang-format on
	}
	struct http_response type = {.status = 200, .content_type = "a\r\nb"};
	CHECK_EQ(http_conn_respond(&conn, buffer, &type, &out, 0), ERR_FORMAT);
	CHECK_EQ(writer_used(&out), 0);
}

TEST(a_response_that_does_not_fit_changes_nothing)
{
	struct http_response response = {.status = 200, .body = "hello", .body_size = 5};
	struct http_request request;
	const size_t size = strlen("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");

	start();
	feed(GET11, strlen(GET11), 0);
	http_conn_next(&conn, buffer, &request, 0);
	for (size_t room = 0; room < size; room++) {
		struct writer out = writer_of(answer, room);

		CHECK_EQ(http_conn_respond(&conn, buffer, &response, &out, 0), ERR_NO_SPACE);
		CHECK_EQ(writer_used(&out), 0);
		CHECK_EQ(conn.phase, HTTP_PHASE_ROUTE);
	}
	struct writer out = writer_of(answer, size);
	CHECK_OK(http_conn_respond(&conn, buffer, &response, &out, 0));
	CHECK_EQ(http_conn_respond(&conn, buffer, &response, &out, 0), ERR_PHASE);
}

TEST(a_stream_ends_and_the_next_request_is_served)
{
	char chunk[HTTP_CHUNK_HEAD_MAX + 1];
	struct writer out = writer_of(answer, sizeof(answer));
	struct http_response stream = {.status = 200, .kind = HTTP_RESPONSE_STREAM};
	struct http_request request;
	size_t room;

	start();
	feed(GET11 GET11, 2 * strlen(GET11), 0);
	http_conn_next(&conn, buffer, &request, 0);
	CHECK_OK(http_conn_respond(&conn, buffer, &stream, &out, 0));
	CHECK(!http_conn_space(&conn, buffer, &room) && !room);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_MORE);
	out = writer_of(answer, sizeof(answer));
	CHECK_OK(http_conn_finish(&conn, &out, 0));
	CHECK_MEM(answer, "0\r\n\r\n", 5);
	CHECK_EQ(http_conn_finish(&conn, &out, 0), ERR_PHASE);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_HEAD);

	chunk[http_chunk_head(1, chunk)] = '\0';
	CHECK_STR(chunk, "1\r\n");
	chunk[http_chunk_head(UINT32_MAX, chunk)] = '\0';
	CHECK_STR(chunk, "ffffffff\r\n");
}

TEST(an_upgrade_hands_over_the_rest)
{
	static const struct http_field fields[] = {
		{"Upgrade", "websocket"}};
	struct http_response response = {
		.status = 101, .kind = HTTP_RESPONSE_UPGRADE, .fields = fields, .field_count = 1};
	const char *in = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "
			 "websocket\r\n\r\n\x81\x05";
	struct writer out = writer_of(answer, sizeof(answer) - 1);
	struct http_request request;

	start();
	feed(in, strlen(in), 0);
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_HEAD);
	CHECK(request.upgrade);
	CHECK_OK(http_conn_respond(&conn, buffer, &response, &out, 0));
	answer[writer_used(&out)] = '\0';
	CHECK_STR(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			  "Connection: Upgrade\r\n\r\n");
	CHECK(http_text_is(http_conn_rest(&conn, buffer), "\x81\x05"));
	CHECK_EQ(http_conn_next(&conn, buffer, &request, 0), HTTP_EVENT_MORE);
}

/* A successor has the two blocks of memory, at another address, and nothing else. */
TEST(a_connection_is_taken_over_at_every_byte)
{
	const char *in =
		CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
	size_t size = strlen(in);

	for (size_t cut = 0; cut <= size; cut++) {
		static uint8_t kept[HTTP_BUFFER_SIZE];
		struct http_conn plain;

		start();
		serve_log()[0] = '\0';
		feed(in, cut, 0);
		serve(8, false, 0);
		plain = conn;
		memcpy(kept, buffer, sizeof(kept));
		start();
		conn = plain;
		memcpy(buffer, kept, sizeof(kept));
		CHECK(http_conn_is_valid(&conn));
		feed(in + cut, size - cut, 0);
		CHECK_STR(serve(8, false, 0), "POST / [abcde]; GET /b []; ");
	}
}

/* Whatever lies in a state that says it is valid, serving it stays inside the buffer. */
TEST(a_hostile_state_is_refused_or_harmless)
{
	unsigned seed = 1;
	size_t valid = 0;

	for (int round = 0; round < 20000; round++) {
		struct http_conn base;
		uint8_t *bytes = (uint8_t *)&conn;

		start();
		serve_log()[0] = '\0';
		feed(CHUNKED "3\r\nabc\r\n2\r\nde", strlen(CHUNKED) + 13, 0);
		serve(8, false, 0);
		base = conn;
		for (int i = 0; i < 3; i++)
			bytes[(unsigned)rand_r(&seed) % sizeof(conn)] = (uint8_t)rand_r(&seed);
		if (!http_conn_is_valid(&conn)) {
			conn = base;
			continue;
		}
		valid++;
		serve(8, false, 0);
		size_t room;
		if (http_conn_space(&conn, buffer, &room) && room > 16)
			feed("\r\n0\r\n\r\nGET / HT", 15, 0);
		serve(8, false, 0);
	}
	CHECK_GE(valid, 1000);
}

TEST(dates_are_written_in_the_one_form)
{
	static const struct {
		int64_t at;
		const char *text;
	} rows[] = {
		// clang-format off
		{784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 5.6.7 */
		{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
		{951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
		{1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
		{1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
		{4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
		{INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
		{-5, "Thu, 01 Jan 1970 00:00:00 GMT"},
		// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[30];

		http_date_format(rows[i].at, text);
		CHECK_STR(text, rows[i].text);
	}
}

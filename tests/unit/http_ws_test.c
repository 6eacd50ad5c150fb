/* SPDX-License-Identifier: Apache-2.0
 *
 * The WebSocket engine by rows of bytes, and against wslay, which plays the browser.
 */
#include "actors/http/ws.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <wslay/wslay.h>

enum { MESSAGE_MAX = 4096 };

static struct ws ws;
static uint8_t gathered[MESSAGE_MAX];
static const struct ws_room room = {gathered, sizeof(gathered)};

/* Feeds bytes in pieces of `step`; the last event that was not MORE. */
static enum ws_event feed(const void *bytes, size_t size, size_t step)
{
	enum ws_event event = WS_EVENT_MORE, last = WS_EVENT_MORE;
	const uint8_t *at = bytes;

	while (size) {
		size_t part = step < size ? step : size;
		size_t used = ws_take(&ws, &room, at, part, &event);

		CHECK(used > 0 && used <= part);
		CHECK(ws_is_valid(&ws, room.max));
		at += used;
		size -= used;
		if (event != WS_EVENT_MORE)
			last = event;
	}
	return last;
}

#define M "\x01\x02\x03\x04" /* a mask */

TEST(frames_are_what_they_should_be)
{
	static const struct {
		const char *what;
		const char *bytes;
		size_t size;
		enum ws_event event;
		unsigned status;
		const char *message;
	} rows[] = {
	// clang-format off
#define ROW(bytes_) (bytes_), sizeof(bytes_) - 1
		{"text", ROW("\x81\x82" M "ik"), WS_EVENT_MESSAGE, 0, "hi"},
		{"empty text", ROW("\x81\x80" M), WS_EVENT_MESSAGE, 0, ""},
		{"binary", ROW("\x82\x81" M "\x01"), WS_EVENT_MESSAGE, 0, ""},
		{"two fragments", ROW("\x01\x81" M "i" "\x80\x81" M "h"), WS_EVENT_MESSAGE, 0, "hi"},
		{"a ping between fragments", ROW("\x01\x81" M "i" "\x89\x80" M "\x80\x81" M "h"), WS_EVENT_MESSAGE, 0, "hi"},
		{"UTF-8 cut in two", ROW("\x01\x81" M "\xc2" "\x80\x81" M "\xa8"), WS_EVENT_MESSAGE, 0, "\xc3\xa9"},
		{"ping", ROW("\x89\x81" M "q"), WS_EVENT_PING, 0, NULL},
		{"pong", ROW("\x8a\x80" M), WS_EVENT_PONG, 0, NULL},
		{"close without a code", ROW("\x88\x80" M), WS_EVENT_CLOSE, 1005, NULL},
		{"close 1000", ROW("\x88\x82" M "\x02\xea"), WS_EVENT_CLOSE, 1000, NULL},
		{"close 1001 and a reason", ROW("\x88\x84" M "\x02\xeb" "aa"), WS_EVENT_CLOSE, 1001, NULL},
		{"what follows a close is dropped", ROW("\x88\x80" M "\xff\xff\xff"), WS_EVENT_CLOSE, 1005, NULL},
		{"close with half a code", ROW("\x88\x81" M "\x02"), WS_EVENT_FAULT, 1002, NULL},
		{"close 1005", ROW("\x88\x82" M "\x02\xef"), WS_EVENT_FAULT, 1002, NULL},
		{"close 999", ROW("\x88\x82" M "\x02\xe5"), WS_EVENT_FAULT, 1002, NULL},
		{"close with a reason that is no UTF-8", ROW("\x88\x83" M "\x02\xea\xfc"), WS_EVENT_FAULT, 1007, NULL},
		{"not masked", ROW("\x81\x02hi"), WS_EVENT_FAULT, 1002, NULL},
		{"RSV1", ROW("\xc1\x80" M), WS_EVENT_FAULT, 1002, NULL},
		{"opcode 3", ROW("\x83\x80" M), WS_EVENT_FAULT, 1002, NULL},
		{"opcode 11", ROW("\x8b\x80" M), WS_EVENT_FAULT, 1002, NULL},
		{"ping in fragments", ROW("\x09\x80" M), WS_EVENT_FAULT, 1002, NULL},
		{"ping of 126 bytes", ROW("\x89\xfe"), WS_EVENT_FAULT, 1002, NULL},
		{"continuation of nothing", ROW("\x80\x80" M), WS_EVENT_FAULT, 1002, NULL},
		{"continuation after the end", ROW("\x81\x80" M "\x80\x80" M), WS_EVENT_FAULT, 1002, NULL},
		{"text inside of text", ROW("\x01\x80" M "\x81\x80" M), WS_EVENT_FAULT, 1002, NULL},
		{"a long form of a short length", ROW("\x81\xfe\x00\x7d" M), WS_EVENT_FAULT, 1002, NULL},
		{"eight bytes for a short length", ROW("\x81\xff\0\0\0\0\0\0\x10\x00" M), WS_EVENT_FAULT, 1002, NULL},
		{"a negative length", ROW("\x81\xff\x80\0\0\0\0\x01\x00\x00" M), WS_EVENT_FAULT, 1002, NULL},
		{"4097 bytes", ROW("\x82\xfe\x10\x01" M), WS_EVENT_FAULT, 1009, NULL},
		{"a length beyond memory", ROW("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M), WS_EVENT_FAULT, 1009, NULL},
		{"text that is no UTF-8", ROW("\x81\x81" M "\xfe"), WS_EVENT_FAULT, 1007, NULL},
		{"text that is half a character", ROW("\x81\x81" M "\xc2"), WS_EVENT_FAULT, 1007, NULL},
		{"half a head", ROW("\x81"), WS_EVENT_MORE, 0, NULL},
		{"half a payload", ROW("\x81\x83" M "i"), WS_EVENT_MORE, 0, NULL},
#undef ROW
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (size_t step = 1; step <= 32; step += 31) {
			ws = (struct ws){0};
			enum ws_event event = feed(rows[i].bytes, rows[i].size, step);

			if (event != rows[i].event)
				print_error("%s: %d\n", rows[i].what, event);
			CHECK_EQ(event, rows[i].event);
			CHECK_EQ(ws.status, rows[i].status);
			if (rows[i].message) {
				CHECK_EQ(ws.message_size, ws.text ? strlen(rows[i].message) : 1);
				if (ws.text)
					CHECK(!memcmp(gathered, rows[i].message, ws.message_size));
			}
		}
	}
}

TEST(utf8_is_judged_by_the_table)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{"",		     true },
		{"plain",		  true },
		{"\xc2\x80",	     true },
		{"\xdf\xbf",	     true },
		{"\xe0\xa0\x80",	 true },
		{"\xed\x9f\xbf",	 true },
		{"\xee\x80\x80",	 true },
		{"\xf0\x90\x80\x80", true },
		{"\xf4\x8f\xbf\xbf", true },
		{"\x80",		 false},
		{"\xc0\x80",	     false},
		{"\xc1\xbf",	     false},
		{"\xe0\x9f\xbf",	 false},
		{"\xed\xa0\x80",	 false},
		{"\xf0\x8f\xbf\xbf", false},
		{"\xf4\x90\x80\x80", false},
		{"\xf5\x80\x80\x80", false},
		{"\xff",		 false},
		{"\xc2",		 false},
		{"\xe1\x80",	     false},
		{"\xe1\x80\x41",	 false},
		{"\xf1\x80\x80",	 false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		CHECK_EQ(ws_is_utf8((const uint8_t *)rows[i].text, strlen(rows[i].text)),
			rows[i].valid);
}

static enum http_fault parse(const char *headers, struct http_request *request)
{
	static char text[2048];
	int size = snprintf(text, sizeof(text), "%s\r\n", headers);

	return http_head_parse(text, (size_t)size, request);
}

TEST(handshakes_are_checked)
{
	static const struct {
		const char *head;
		int status;
	} rows[] = {
	// clang-format off
#define GET	"GET /x HTTP/1.1\r\nHost: h\r\n"
#define KEY	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13	"Sec-WebSocket-Version: 13\r\n"
#define UP	"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
		{GET UP KEY V13, 101},
		{GET "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n" KEY V13, 101},
		{GET KEY V13, 426},
		{GET "Upgrade: websocket\r\n" KEY V13, 426},
		{GET "Connection: Upgrade\r\nUpgrade: h2c\r\n" KEY V13, 426},
		{"GET /x HTTP/1.0\r\nHost: h\r\n" UP KEY V13, 426},
		{"POST /x HTTP/1.1\r\nHost: h\r\n" UP KEY V13, 400},
		{GET UP KEY, 426},
		{GET UP KEY "Sec-WebSocket-Version: 8\r\n", 426},
		{GET UP KEY "Sec-WebSocket-Version: 13, 8\r\n", 426},
		{GET UP V13, 400},
		{GET UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", 400},
		{GET UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n", 400},
		{GET UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==\r\n", 400},
		{GET UP V13 "Sec-WebSocket-Key: \r\n", 400},
		{GET UP KEY V13 "Content-Length: 1\r\n", 400},
		{GET UP KEY V13 "Transfer-Encoding: chunked\r\n", 400},
	// clang-format on
	};
	struct http_request request;
	char accept[WS_ACCEPT_SIZE];
	const char *why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		CHECK_EQ(parse(rows[i].head, &request), HTTP_FAULT_NONE);
		if (ws_check_handshake(&request, &why) != rows[i].status)
			print_error("row %zu\n", i);
		CHECK_EQ(ws_check_handshake(&request, &why), rows[i].status);
		CHECK_EQ(why[0] == '\0', rows[i].status == 101);
	}
	CHECK_EQ(parse(GET UP KEY V13 KEY, &request), HTTP_FAULT_REPEATED);
	CHECK_EQ(parse(GET UP KEY V13, &request), HTTP_FAULT_NONE);
	ws_accept(&request, accept);
	CHECK_STR(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); /* RFC 6455 1.3 */
}

/* ---- wslay as the other end ------------------------------------------------------------------ */

enum { PIPE_MAX = 1 << 20, MESSAGES = 400 };

static uint8_t pipe_bytes[PIPE_MAX];
static size_t pipe_size, pipe_at;
static struct rng rng;
static size_t got_size;
static uint8_t got_opcode;
static uint8_t got[1 << 17];

static ssize_t peer_send(
	wslay_event_context_ptr peer, const uint8_t *bytes, size_t size, int flags, void *context)
{
	(void)peer, (void)flags, (void)context;
	CHECK(size <= PIPE_MAX - pipe_size);
	memcpy(pipe_bytes + pipe_size, bytes, size);
	pipe_size += size;
	return (ssize_t)size;
}

static ssize_t peer_recv(
	wslay_event_context_ptr peer, uint8_t *bytes, size_t size, int flags, void *context)
{
	size_t part = pipe_size - pipe_at < size ? pipe_size - pipe_at : size;

	(void)flags, (void)context;
	if (part > 1)
		part = rng_below(&rng, part) + 1;
	if (!part) {
		wslay_event_set_error(peer, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(bytes, pipe_bytes + pipe_at, part);
	pipe_at += part;
	return (ssize_t)part;
}

static int peer_mask(wslay_event_context_ptr peer, uint8_t *bytes, size_t size, void *context)
{
	(void)peer, (void)context;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)rng_below(&rng, 256);
	return 0;
}

static void peer_got(wslay_event_context_ptr peer,
	const struct wslay_event_on_msg_recv_arg *message, void *context)
{
	(void)peer, (void)context;
	CHECK(message->msg_length <= sizeof(got));
	got_opcode = message->opcode;
	got_size = message->msg_length;
	if (message->msg_length)
		memcpy(got, message->msg, message->msg_length);
}

static wslay_event_context_ptr peer_begin(void)
{
	static const struct wslay_event_callbacks callbacks = {.recv_callback = peer_recv,
		.send_callback = peer_send,
		.genmask_callback = peer_mask,
		.on_msg_recv_callback = peer_got};
	wslay_event_context_ptr peer;

	rng = rng_of(5);
	pipe_size = pipe_at = 0;
	CHECK(!wslay_event_context_client_init(&peer, &callbacks, NULL));
	return peer;
}

/* It comes back whenever a read gave less than it wanted. */
static void peer_read(wslay_event_context_ptr peer)
{
	while (pipe_at < pipe_size)
		CHECK(!wslay_event_recv(peer));
}

TEST(what_wslay_sends_is_understood)
{
	static uint8_t bytes[MESSAGE_MAX];
	wslay_event_context_ptr peer = peer_begin();

	ws = (struct ws){0};
	for (int i = 0; i < MESSAGES; i++) {
		static const uint8_t opcodes[] = {WSLAY_TEXT_FRAME, WSLAY_BINARY_FRAME, WSLAY_PING};
		uint8_t opcode = opcodes[rng_below(&rng, 3)];
		size_t size = rng_below(
			&rng, opcode == WSLAY_PING ? WS_CONTROL_MAX + 1 : MESSAGE_MAX + 1);
		struct wslay_event_msg message = {opcode, bytes, size};
		enum ws_event event = WS_EVENT_MORE;

		for (size_t k = 0; k < size; k++)
			bytes[k] = (uint8_t)rng_below(&rng, opcode == WSLAY_TEXT_FRAME ? 128 : 256);
		pipe_size = pipe_at = 0;
		CHECK(!wslay_event_queue_msg(peer, &message));
		CHECK(!wslay_event_send(peer));
		event = feed(pipe_bytes, pipe_size, rng_below(&rng, 700) + 1);
		if (opcode == WSLAY_PING) {
			CHECK_EQ(event, WS_EVENT_PING);
			CHECK_EQ(ws.control_size, size);
			CHECK(!memcmp(ws.control, bytes, size));
		} else {
			CHECK_EQ(event, WS_EVENT_MESSAGE);
			CHECK_EQ(ws.text, opcode == WSLAY_TEXT_FRAME);
			CHECK_EQ(ws.message_size, size);
			CHECK(!memcmp(gathered, bytes, size));
		}
	}
	pipe_size = 0;
	CHECK(!wslay_event_queue_close(peer, 1000, NULL, 0));
	CHECK(!wslay_event_send(peer));
	CHECK_EQ(feed(pipe_bytes, pipe_size, 3), WS_EVENT_CLOSE);
	CHECK_EQ(ws.status, 1000);
	wslay_event_context_free(peer);
}

TEST(wslay_understands_what_is_sent)
{
	static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 100000};
	static uint8_t bytes[100000];
	wslay_event_context_ptr peer = peer_begin();
	uint8_t frame[4];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (size_t k = 0; k < sizes[i]; k++)
			bytes[k] = (uint8_t)(k * 7);
		pipe_size = ws_head(WS_BINARY, sizes[i], pipe_bytes);
		memcpy(pipe_bytes + pipe_size, bytes, sizes[i]);
		pipe_size += sizes[i];
		pipe_at = 0;
		got_size = SIZE_MAX;
		peer_read(peer);
		CHECK_EQ(got_opcode, WSLAY_BINARY_FRAME);
		CHECK_EQ(got_size, sizes[i]);
		CHECK(!memcmp(got, bytes, sizes[i]));
	}
	pipe_at = 0;
	pipe_size = ws_close_frame(1001, frame);
	memcpy(pipe_bytes, frame, pipe_size);
	peer_read(peer);
	CHECK_EQ(wslay_event_get_status_code_received(peer), 1001);
	CHECK_EQ(ws_close_frame(WS_STATUS_NONE, frame), 2);
	wslay_event_context_free(peer);
}

TEST(a_damaged_state_is_refused)
{
	ws = (struct ws){0};
	CHECK(ws_is_valid(&ws, room.max));
	ws.message_size = MESSAGE_MAX + 1;
	CHECK(!ws_is_valid(&ws, room.max));
	ws = (struct ws){.control_size = WS_CONTROL_MAX + 1};
	CHECK(!ws_is_valid(&ws, room.max));
	ws = (struct ws){.head_size = WS_CLIENT_HEAD_MAX};
	CHECK(!ws_is_valid(&ws, room.max));
	ws = (struct ws){.in_payload = true, .opcode = WS_PING, .control_size = 100, .left = 26};
	CHECK(!ws_is_valid(&ws, room.max));
	ws = (struct ws){.in_payload = true, .opcode = WS_TEXT, .message_size = 4000, .left = 97};
	CHECK(!ws_is_valid(&ws, room.max));
}

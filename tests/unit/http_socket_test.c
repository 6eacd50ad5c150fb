/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP connections that become WebSockets: viewers and pages.
 */
#include "tests/unit/http_actor_rig.h"

/* What was answered behind the response's head, as frames: the next one's opcode and payload. */
static const uint8_t *next_frame(size_t *at, uint8_t *opcode, size_t *size)
{
	const uint8_t *bytes = (const uint8_t *)answers;

	if (!*at)
		*at = (size_t)(strstr(answers, "\r\n\r\n") + 4 - answers);
	if (answer_size - *at < 2)
		return NULL;
	size_t lengths = bytes[*at + 1] == 127 ? 8 : bytes[*at + 1] == 126 ? 2 : 0;
	const uint8_t *payload = bytes + *at + 2 + lengths;

	*opcode = bytes[*at] & 0xf;
	*size = lengths ? 0 : bytes[*at + 1];
	for (size_t i = 0; i < lengths; i++)
		*size = *size << 8 | bytes[*at + 2 + i];
	CHECK(bytes[*at] & 0x80);
	CHECK(*at + 2 + lengths + *size <= answer_size);
	*at += 2 + lengths + *size;
	return payload;
}

static void say_bytes(const void *bytes, size_t size)
{
	memcpy(wire + wire_end, bytes, size);
	wire_end += size;
	turn(NET_READABLE);
}

#define SAY(bytes) say_bytes(bytes, sizeof(bytes) - 1)
#define MASK	   "\1\2\3\4"

/* The frames in order, as letters: t(ext) b(inary) c(lose) p(ing) q (pong); *status of the close. */
static const char *frames(unsigned *status)
{
	static const char letters[] = "?tb?????cpq";
	static char seen[128];
	size_t at = 0, size, count = 0;
	const uint8_t *payload;
	uint8_t opcode;

	*status = 0;
	while ((payload = next_frame(&at, &opcode, &size)) && count + 1 < sizeof(seen)) {
		seen[count++] = opcode < sizeof(letters) - 1 ? letters[opcode] : '?';
		if (opcode == WS_CLOSE && size >= 2)
			*status = (unsigned)payload[0] << 8 | payload[1];
	}
	seen[count] = 0;
	return seen;
}

static void open_socket(const char *path)
{
	connect_client();
	ask("GET", path, HANDSHAKE "Sec-WebSocket-Protocol: millrace\r\n", "");
	CHECK_EQ(status(), 101);
	CHECK(strstr(answers, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	CHECK(strstr(answers, "Sec-WebSocket-Protocol: millrace\r\n"));
}

TEST(a_viewer_by_websocket_gets_a_message_a_tag)
{
	unsigned closing, pictures_seen = 0;
	size_t at = 0, size;
	const uint8_t *payload;
	uint8_t opcode;

	begin();
	fill_stream();
	open_socket("/live/a.flv");
	run_ms(100);
	payload = next_frame(&at, &opcode, &size);
	CHECK(payload && !memcmp(payload, "FLV", 3));
	while ((payload = next_frame(&at, &opcode, &size)) != NULL) {
		struct reader in = reader_of(payload, size);
		struct flv_tag_view tag;

		CHECK_EQ(opcode, WS_BINARY);
		CHECK_OK(flv_read_tag(&in, &tag));
		CHECK_EQ(reader_left(&in), 0);
		pictures_seen += tag.type == FLV_VIDEO;
	}
	CHECK_EQ(pictures_seen, 6);
	SAY("\x89\x82" MASK "ik"); /* a ping is answered between two tags */
	CHECK(strchr(frames(&closing), 'q'));
	CHECK(lives());
	SAY("\x88\x82" MASK "\x02\xea");
	CHECK(!lives() && closed);
	CHECK(strchr(frames(&closing), 'c'));
	CHECK_EQ(closing, 1000);
	run_ms(6000);
	CHECK_EQ(asked.unsubscribes, 1);
	end();
}

TEST(a_viewer_by_websocket_of_a_worker_that_drains_gets_whole_messages)
{
	for (size_t room = 500; room < 6000; room += 250) {
		unsigned closing;

		begin();
		fill_stream();
		connect_client();
		write_room = room;
		ask("GET", "/live/a.flv", HANDSHAKE, "");
		run_ms(100);
		SAY("\x89\x80" MASK); /* and no pong inside of a message */
		runtime_drain(rt, 1000);
		run_ms(1);
		write_room = SIZE_MAX;
		turn(NET_WRITABLE);
		CHECK(!lives() && closed);
		const char *seen = frames(&closing);

		CHECK(strlen(seen) > 0 && seen[strlen(seen) - 1] == 'c');
		CHECK_EQ(closing, 1001);
		end();
	}
}

TEST(what_a_page_says_is_judged_and_answered)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *frames; /* that come back */
		unsigned status;
	} rows[] = {
	// clang-format off
#define ROW(bytes_) (bytes_), sizeof(bytes_) - 1
		{ROW("\x89\x80" MASK), "q", 0},
		{ROW("\x89\x80" MASK "\x89\x80" MASK), "q", 0}, /* the last one is enough */
		{ROW("\x8a\x80" MASK), "", 0},
		{ROW("\x81\x80" MASK), "", 0}, /* of no interest to live */
		{ROW("\x88\x80" MASK), "c", 0},
		{ROW("\x88\x82" MASK "\x02\xeb"), "c", 1001},
		{ROW("\x81\x02hi"), "c", 1002},
		{ROW("\xff\xff"), "c", 1002},
		{ROW("\x81\x81" MASK "\xfe"), "c", 1007},
		{ROW("\x82\xfe\xff\xff" MASK), "c", 1009},
#undef ROW
	// clang-format on
	};
	unsigned closing;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		open_socket("/api/v1/live");
		say_bytes(rows[i].bytes, rows[i].size);
		CHECK_STR(frames(&closing), rows[i].frames);
		CHECK_EQ(closing, rows[i].status);
		CHECK_EQ(lives(), rows[i].frames[0] != 'c');
		end();
	}
}

/* There is no control process here: a page waits for one, a command hears so. */
TEST(a_page_without_a_control_process_waits_and_is_let_go_when_it_is_silent)
{
	unsigned closing;

	begin();
	open_socket("/api/v1/live");
	run_ms(21000);
	CHECK(lives());
	CHECK_STR(frames(&closing), "p");
	SAY("\x8a\x80" MASK);
	run_ms(20000);
	CHECK(lives());
	run_ms(20000); /* a ping without an answer */
	CHECK(!lives() && closed);
	end();
	begin();
	open_socket("/api/v1/repl");
	SAY("\x81\x84" MASK "omfc"
	    "\x81\x84" MASK "omfc");
	run_ms(100);
	CHECK_STR(frames(&closing), "tt");
	CHECK(strstr(answers + answer_size - 100, "the control process does not answer"));
	CHECK(lives());
	end();
}

TEST(a_client_that_does_not_wait_for_the_handshake_is_refused)
{
	begin();
	connect_client();
	say("GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n" HANDSHAKE "\r\n\x89\x80" MASK);
	CHECK_EQ(status(), 400);
	end();
}

TEST(a_page_that_leaves_is_forgotten)
{
	begin();
	open_socket("/api/v1/live");
	hung_up = true;
	turn(NET_READABLE | NET_CLOSED);
	CHECK(!lives() && closed);
	end();
	begin();
	open_socket("/api/v1/repl");
	runtime_drain(rt, 1000);
	run_ms(1);
	CHECK(!lives() && closed);
	CHECK_EQ((uint8_t)answers[answer_size - 1], 1001 & 0xff);
	end();
}

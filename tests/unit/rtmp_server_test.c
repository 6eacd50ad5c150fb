/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole RTMP connection: sessions that ffmpeg and librtmp recorded, in every fragmentation; what
 * clients ask and what they are answered; deadlines; wrong input. The client's bytes are built with
 * the engine's own writers, the answers are read with its own reader and AMF cursor.
 */
#include "tests/test.h"

#include "actors/rtmp/amf.h"
#include "actors/rtmp/rtmp_reply.h"
#include "actors/rtmp/rtmp_server.h"

#include <stdio.h>
#include <stdlib.h>

enum { ARENA_SIZE = 1 << 20, OUT_SIZE = 65536, TEXT_SIZE = 8192 };

struct peer {
	struct rtmp_server s;
	uint8_t arena[ARENA_SIZE];
	uint8_t out[OUT_SIZE]; /* what the engine has written */
	size_t out_used;
	char events[TEXT_SIZE];
	bool reject;
	int64_t now_us;
	uint8_t wire[OUT_SIZE]; /* the client's bytes being built */
	struct writer w;
};

static struct peer *peer_create(void)
{
	struct peer *p = calloc(1, sizeof(*p));
	static const struct rtmp_config config = {.message_max = ARENA_SIZE / 2};

	p->now_us = 1000000;
	p->w = writer_of(p->wire, sizeof(p->wire));
	rtmp_server_init(&p->s, &config, 42, p->now_us);
	return p;
}

static void note(struct peer *p, const struct rtmp_event *e)
{
	size_t used = strlen(p->events);
	char *to = p->events + used;
	size_t room = sizeof(p->events) - used;
	const char *codec =
		media_codec_name(e->type == RTMP_EVENT_VIDEO ? e->video.codec : e->audio.codec);
	int packet = e->type == RTMP_EVENT_VIDEO ? (int)e->video.packet : (int)e->audio.packet;
	size_t size = e->type == RTMP_EVENT_VIDEO ? e->video.size : e->audio.size;

	switch (e->type) {
	case RTMP_EVENT_CONNECT: snprintf(to, room, "connect(%s,%s) ", e->app, e->query); break;
	case RTMP_EVENT_PUBLISH: snprintf(to, room, "publish(%s,%s) ", e->name, e->query); break;
	case RTMP_EVENT_PLAY: snprintf(to, room, "play(%s,%s) ", e->name, e->query); break;
	case RTMP_EVENT_METADATA:
		snprintf(to, room, "meta(%ux%u) ", e->metadata.width, e->metadata.height);
		break;
	case RTMP_EVENT_VIDEO:
	case RTMP_EVENT_AUDIO:
		snprintf(to, room, "%s%d%s@%d+%zu ", codec, packet,
			e->type == RTMP_EVENT_VIDEO && e->video.keyframe ? "k" : "",
			(int)e->time_ms, size);
		break;
	case RTMP_EVENT_UNSUPPORTED: snprintf(to, room, "%s ", err_name(e->err)); break;
	case RTMP_EVENT_PAUSE: snprintf(to, room, "pause(%d) ", p->s.paused); break;
	case RTMP_EVENT_STOP: snprintf(to, room, "stop "); break;
	}
}

/* Feeds bytes `step` at a time, answers requests at once; returns the engine's last word. */
static enum err feed(struct peer *p, const void *bytes, size_t size, size_t step)
{
	enum err err = ERR_AGAIN;

	for (size_t at = 0; at < size && err == ERR_AGAIN; at += step) {
		struct reader in =
			reader_of((const uint8_t *)bytes + at, size - at < step ? size - at : step);

		for (;;) {
			struct writer out =
				writer_of(p->out + p->out_used, sizeof(p->out) - p->out_used);
			struct rtmp_event event;

			err = rtmp_server_input(
				&p->s, p->arena, sizeof(p->arena), &in, &out, p->now_us, &event);
			CHECK(rtmp_server_is_valid(&p->s, sizeof(p->arena)));
			if (err == ERR_OK)
				note(p, &event);
			if (err == ERR_BUSY && p->reject)
				CHECK_OK(rtmp_server_reject(
					&p->s, &out, p->now_us, "Refused", "no \"thanks\""));
			else if (err == ERR_BUSY)
				CHECK_OK(rtmp_server_accept(&p->s, &out, ""));
			p->out_used += writer_used(&out);
			if (err != ERR_OK && err != ERR_BUSY)
				break;
		}
	}
	return err;
}

/* Sends what was built in p->w, in pieces of `step`. */
static enum err flush(struct peer *p, size_t step)
{
	CHECK(!p->w.bad);
	enum err err = feed(p, p->wire, writer_used(&p->w), step);
	p->w = writer_of(p->wire, sizeof(p->wire));
	return err;
}

/* Reads the engine's answers (after S0 S1 S2): types, commands, codes. */
static void describe_answers(struct peer *p, char *text, size_t room)
{
	static uint8_t arena[OUT_SIZE];
	struct chunk_reader c;
	struct chunk_message m;
	struct reader in =
		reader_of(p->out + HANDSHAKE_ANSWER_SIZE, p->out_used - HANDSHAKE_ANSWER_SIZE);
	size_t used = 0;

	CHECK(p->out_used >= HANDSHAKE_ANSWER_SIZE);
	chunk_reader_init(&c, OUT_SIZE / 2);
	text[0] = 0;
	while (chunk_read(&c, arena, sizeof(arena), &in, &m) == ERR_OK) {
		struct amf_cursor args = amf_cursor_of(m.payload, m.size);
		struct amf_item item;

		if (m.type != CHUNK_COMMAND_AMF0 && m.type != CHUNK_DATA_AMF0) {
			used += (size_t)snprintf(text + used, room - used, "#%u ", m.type);
			continue;
		}
		while (amf_next(&args, &item)) {
			if (item.argument == 0 || amf_name_is(&item, "code"))
				used += (size_t)snprintf(text + used, room - used, "%.*s ",
					(int)item.text_size, item.text);
			else if (item.argument == 1 && item.kind == AMF_NUMBER && item.number)
				used += (size_t)snprintf(
					text + used, room - used, "%g ", item.number);
		}
		CHECK_OK(args.err);
	}
	CHECK_EQ(reader_left(&in), 0);
	if (used)
		text[used - 1] = 0;
}

static void add_message(
	struct peer *p, unsigned type, uint32_t time_ms, const void *body, size_t size)
{
	struct chunk_headers h;
	struct iovec piece = {(void *)body, size}, pieces[600];

	chunk_headers_make(&h,
		type >= CHUNK_DATA_AMF3 ? 3
		: type == CHUNK_VIDEO	? 6
					: 4,
		(uint8_t)type, 1, time_ms, (uint32_t)size);
	size_t count = chunk_frame(&h, CHUNK_SIZE_INITIAL, &piece, 1, pieces, 600);
	CHECK(count > 0);
	for (size_t i = 0; i < count; i++)
		write_bytes(&p->w, pieces[i].iov_base, pieces[i].iov_len);
}

/* A command: name, transaction, null or an object with `app`, then a string if given. */
static void add_command(struct peer *p, const char *name, double transaction, const char *text)
{
	uint8_t body[4096];
	struct writer w = writer_of(body, sizeof(body));

	amf_write_string(&w, name);
	amf_write_number(&w, transaction);
	if (strcmp(name, "connect") == 0) {
		amf_write_object(&w);
		amf_write_string_member(&w, "app", text);
		amf_write_end(&w);
	} else {
		amf_write_null(&w);
		if (text)
			amf_write_string(&w, text);
	}
	CHECK(!w.bad);
	add_message(p, CHUNK_COMMAND_AMF0, 0, body, writer_used(&w));
}

static void add_handshake(struct peer *p)
{
	memset(write_reserve(&p->w, HANDSHAKE_ASK_SIZE + HANDSHAKE_PART_SIZE), 0,
		HANDSHAKE_ASK_SIZE + HANDSHAKE_PART_SIZE);
	p->wire[0] = 3;
}

static struct peer *peer_connected(const char *request, const char *name)
{
	struct peer *p = peer_create();

	add_handshake(p);
	add_command(p, "connect", 1, "live");
	add_command(p, "createStream", 2, NULL);
	if (request)
		add_command(p, request, 0, name);
	CHECK_EQ(flush(p, SIZE_MAX / 2), ERR_AGAIN);
	p->events[0] = 0;
	p->out_used = HANDSHAKE_ANSWER_SIZE;
	return p;
}

static size_t read_corpus(const char *name, uint8_t *bytes, size_t room)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/fuzz/corpus/rtmp_server/%s", test_dir(), name);
	FILE *file = fopen(path, "rb");
	CHECK(file != NULL);
	size_t size = fread(bytes, 1, room, file);
	fclose(file);
	CHECK(size > 2 && size < room);
	return size;
}

/* ffmpeg 5.1, 0.8 s of H.264 with B-frames and AAC, recorded from C0 to the end (the two bytes
 * before it are for the fuzz target). */
TEST(a_recorded_session_of_ffmpeg_gives_the_same_in_every_fragmentation)
{
	static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 3, 17, 128, 1460, 4096};
	static uint8_t bytes[16384];
	size_t size = read_corpus("ffmpeg_publish", bytes, sizeof(bytes));
	char whole[TEXT_SIZE], answers[TEXT_SIZE], other[TEXT_SIZE];

	for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
		struct peer *p = peer_create();

		CHECK_EQ(feed(p, bytes + 2, size - 2, steps[k]), ERR_AGAIN);
		if (k == 0) {
			memcpy(whole, p->events, sizeof(whole));
			describe_answers(p, answers, sizeof(answers));
		}
		CHECK_STR(p->events, whole);
		describe_answers(p, other, sizeof(other));
		CHECK_STR(other, answers);
		CHECK_EQ(p->s.phase, RTMP_IDLE);
		CHECK_EQ(p->s.unsupported + p->s.malformed + p->s.dropped, 0);
		free(p);
	}
	CHECK(strstr(whole, "connect(live,) publish(x,token=abc) meta(48x32) H2640k@0+") == whole);
	CHECK(strstr(whole, "H2641k@") && strstr(whole, "AAC0@0+") && strstr(whole, "AAC1@"));
	CHECK(strstr(whole, "stop ") != NULL);
	CHECK_STR(answers, "#5 #6 _result 1 NetConnection.Connect.Success _result 2 _result 3 "
			   "onFCPublish NetStream.Publish.Start _result 4 #4 onStatus "
			   "NetStream.Publish.Start onStatus NetStream.Unpublish.Success");
}

TEST(every_truncation_of_a_session_waits_for_more)
{
	static uint8_t bytes[16384];
	size_t size = read_corpus("ffmpeg_publish", bytes, sizeof(bytes));

	for (size_t cut = 0; cut < size - 2; cut += cut < 3000 ? 97 : 1) {
		struct peer *p = peer_create();
		CHECK_EQ(feed(p, bytes + 2, cut, SIZE_MAX / 2), ERR_AGAIN);
		free(p);
	}
}

static const struct {
	const char *app;
	const char *request;
	const char *name;
	bool reject;
	const char *events;
	const char *last_answer; /* what the answers end with */
} request_rows[] = {
	/* clang-format off */
	{"live", "publish", "x", false, "connect(live,) publish(x,) ",
	 "#4 onStatus NetStream.Publish.Start"},
	{"live/", "publish", "x?", false, "connect(live,) publish(x,) ", "NetStream.Publish.Start"},
	{"live?token=q", "publish", "x", false, "connect(live,token=q) publish(x,token=q) ",
	 "NetStream.Publish.Start"},
	{"live?token=q", "publish", "x?token=r&a=b", false,
	 "connect(live,token=q) publish(x,token=r&a=b) ", "NetStream.Publish.Start"},
	{"live", "publish", "mp4:cam.mp4", false, "connect(live,) publish(cam.mp4,) ",
	 "NetStream.Publish.Start"},
	{"live", "publish", "x", true, "connect(live,) publish(x,) ", "NetStream.Publish.Refused"},
	{"live", "publish", ".x", false, "connect(live,) ", "NetStream.Publish.BadName"},
	{"live", "publish", "a/b", false, "connect(live,) ", "NetStream.Publish.BadName"},
	{"live", "publish", "", false, "connect(live,) ", "NetStream.Publish.BadName"},
	{"live", "publish", "?token=a", false, "connect(live,) ", "NetStream.Publish.BadName"},
	{"live", "publish", NULL, false, "connect(live,) ", "NetStream.Publish.BadName"},
	{"live", "play", "x?token=t", false, "connect(live,) play(x,token=t) ",
	 "#4 onStatus NetStream.Play.Reset onStatus NetStream.Play.Start |RtmpSampleAccess"},
	{"live", "play", "x", true, "connect(live,) play(x,) ", "NetStream.Play.Refused"},
	{"live", "play", "a b", false, "connect(live,) ", "NetStream.Play.Failed"},
	{"live", "play2", "x", false, "connect(live,) ", "onStatus NetStream.Play.Failed"},
	{"live", "noSuch", "x", false, "connect(live,) ", "_error 9 NetConnection.Call.Failed"},
	{"live", "_checkbw", "x", false, "connect(live,) ", "_result 9"},
	{"live", "getStreamLength", "x", false, "connect(live,) ", "_result 9"},
	{"live", "FCUnpublish", "x", false, "connect(live,) ", "_result 2"},
	{"live", "deleteStream", "x", false, "connect(live,) ", "_result 2"},
	/* clang-format on */
};

TEST(requests_are_answered)
{
	for (size_t i = 0; i < sizeof(request_rows) / sizeof(request_rows[0]); i++) {
		struct peer *p = peer_create();
		char answers[TEXT_SIZE];

		p->reject = request_rows[i].reject;
		add_handshake(p);
		add_command(p, "connect", 1, request_rows[i].app);
		add_command(p, "createStream", 2, NULL);
		add_command(p, request_rows[i].request, 9, request_rows[i].name);
		CHECK_EQ(flush(p, 1 + i * 50), ERR_AGAIN);
		CHECK_STR(p->events, request_rows[i].events);
		describe_answers(p, answers, sizeof(answers));
		const char *last = request_rows[i].last_answer;
		CHECK(strlen(answers) >= strlen(last));
		CHECK_STR(answers + strlen(answers) - strlen(last), last);
		free(p);
	}
}

/* A connect with the FourCCs of a list, or as members of a map. */
static void add_enhanced_connect(struct peer *p, const char *list, const char *map, double mask)
{
	uint8_t body[256];
	struct writer w = writer_of(body, sizeof(body));

	amf_write_string(&w, "connect");
	amf_write_number(&w, 1);
	amf_write_object(&w);
	if (list) {
		amf_write_key(&w, "fourCcList");
		amf_write_array(&w, 2);
		amf_write_string(&w, list);
		amf_write_number(&w, 7);
	}
	if (map) {
		amf_write_key(&w, "videoFourCcInfoMap");
		amf_write_object(&w);
		amf_write_number_member(&w, map, mask);
		amf_write_end(&w);
	}
	amf_write_string_member(&w, "app", "live");
	amf_write_end(&w);
	add_handshake(p);
	add_message(p, CHUNK_COMMAND_AMF0, 0, body, writer_used(&w));
	CHECK_EQ(flush(p, 50), ERR_AGAIN);
	CHECK_STR(p->events, "connect(live,) ");
}

TEST(an_enhanced_client_says_what_it_decodes_and_is_told_our_codecs)
{
	static const struct {
		const char *list, *map;
		double mask;
		bool told, h265, av1;
	} rows[] = {
		{NULL,   NULL,   0, false, false, false},
		{"hvc1", NULL,   0, true,	true,  false},
		{"*",    NULL,   0, true,  true,  true },
		{"hvc",	NULL,   0, true,  false, false},
		{"mp4a", NULL,   0, true,	false, false},
		{NULL,   "av01", 1, true,	false, true },
		{NULL,   "av01", 4, true,	false, false}, /* forwards it only */
		{NULL,   "*",    3, true,  true,  true },
		{"av01", "hvc1", 7, true,  true,	true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct peer *p = peer_create();

		add_enhanced_connect(p, rows[i].list, rows[i].map, rows[i].mask);
		CHECK_EQ(memmem(p->out, p->out_used, "\x02\0\x04hvc1", 7) != NULL, rows[i].told);
		CHECK_EQ(memmem(p->out, p->out_used, "videoFourCcInfoMap\x03", 19) != NULL,
			rows[i].told);
		CHECK(rtmp_server_takes_video(&p->s, MEDIA_H264));
		CHECK(rtmp_server_takes_video(&p->s, MEDIA_CODEC_NONE));
		CHECK_EQ(rtmp_server_takes_video(&p->s, MEDIA_H265), rows[i].h265);
		CHECK_EQ(rtmp_server_takes_video(&p->s, MEDIA_AV1), rows[i].av1);
		free(p);
	}
}

TEST(an_answer_may_come_later)
{
	struct peer *p = peer_connected(NULL, NULL);
	struct rtmp_event event;
	uint8_t small[RTMP_OUT_MIN - 1];

	add_command(p, "publish", 0, "x");
	add_message(p, CHUNK_AUDIO, 20, "\xaf\x01.", 3);
	struct reader in = reader_of(p->wire, writer_used(&p->w));
	struct writer out = writer_of(p->out, sizeof(p->out));
	CHECK_OK(rtmp_server_input(&p->s, p->arena, ARENA_SIZE, &in, &out, p->now_us, &event));
	CHECK_EQ(event.type, RTMP_EVENT_PUBLISH);
	size_t left = reader_left(&in);
	CHECK(left > 0);
	CHECK_EQ(rtmp_server_deadline(&p->s), RTMP_NO_DEADLINE);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(rtmp_server_input(
				 &p->s, p->arena, ARENA_SIZE, &in, &out, p->now_us, &event),
			ERR_BUSY);
	CHECK_EQ(reader_left(&in), left);
	struct writer full = writer_of(small, sizeof(small));
	CHECK_EQ(rtmp_server_accept(&p->s, &full, ""), ERR_NO_SPACE);
	CHECK_OK(rtmp_server_accept(&p->s, &out, ""));
	CHECK_EQ(rtmp_server_accept(&p->s, &out, ""), ERR_PHASE);
	CHECK_EQ(rtmp_server_reject(&p->s, &out, 0, "BadName", ""), ERR_PHASE);
	CHECK_EQ(rtmp_server_input(&p->s, p->arena, ARENA_SIZE, &in, &full, p->now_us, &event),
		ERR_NO_SPACE);
	CHECK_EQ(reader_left(&in), left);
	CHECK_OK(rtmp_server_input(&p->s, p->arena, ARENA_SIZE, &in, &out, p->now_us, &event));
	CHECK_EQ(event.type, RTMP_EVENT_AUDIO);
	CHECK_EQ(event.time_ms, 20);
	free(p);
}

TEST(media_of_every_kind_is_told_or_refused)
{
	static const struct {
		unsigned type;
		uint32_t time_ms;
		const char *body;
		size_t size;
	} rows[] = {
	/* clang-format off */
		{CHUNK_VIDEO, 0xffffffe0, "\x90hvc1\x01\x02", 7},
		{CHUNK_VIDEO, 0xfffffff0, "\xa1hvc1\xff\xff\xf0...", 11},
		{CHUNK_AUDIO, 0x10, "\x91Opus\xfc", 6},
		{CHUNK_VIDEO, 0x20, "\x96\x01hvc1", 6},
		{CHUNK_VIDEO, 0x30, "\x12.", 2},
		{CHUNK_VIDEO, 0x30, "\x17", 1},
		{CHUNK_AUDIO, 0x30, "", 0},
		{CHUNK_AGGREGATE, 0x30, "..", 2},
		{CHUNK_DATA_AMF0, 0, "\x02\0\x0aonMetaData\x11", 14},
		{CHUNK_DATA_AMF3, 0, "\0\x02\0\x0aonMetaData", 14},
	/* clang-format on */
	};
	struct peer *p = peer_connected("publish", "x");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		add_message(p, rows[i].type, rows[i].time_ms, rows[i].body, rows[i].size);
	CHECK_EQ(flush(p, 5), ERR_AGAIN);
	CHECK_STR(p->events, "H2650k@-32+2 H2651@-16+3 OPUS1@16+1 unsupported codec meta(0x0) ");
	CHECK_EQ(p->s.unsupported, 3);
	CHECK_EQ(p->s.malformed, 2);
	free(p);
}

static const struct {
	const char *what;
	unsigned type;
	const char *name;
	const char *text;
	enum err err;
	const char *error;
} wrong_rows[] = {
	/* clang-format off */
	{"publish before connect", 0, "publish", "x", ERR_PHASE, "publish: before connect"},
	{"createStream before connect", 0, "createStream", NULL, ERR_PHASE,
	 "createStream: before connect"},
	{"anything before connect", 0, "a\nb", NULL, ERR_PHASE, "command: before connect"},
	{"reserved app", 0, "connect", "api", ERR_FORMAT, "connect: application name not valid"},
	{"no app", 0, "connect", "", ERR_FORMAT, "connect: application name not valid"},
	{"two segments", 0, "connect", "live/sub", ERR_FORMAT,
	 "connect: application name not valid"},
	{"no command name", CHUNK_COMMAND_AMF0, "\x05", NULL, ERR_FORMAT, "command without a name"},
	{"no chunk size", CHUNK_SET_CHUNK_SIZE, "12", NULL, ERR_FORMAT, "malformed chunk"},
	/* clang-format on */
};

TEST(wrong_input_ends_the_connection_with_a_reason)
{
	for (size_t i = 0; i < sizeof(wrong_rows) / sizeof(wrong_rows[0]); i++) {
		struct peer *p = peer_create();

		add_handshake(p);
		if (wrong_rows[i].type)
			add_message(p, wrong_rows[i].type, 0, wrong_rows[i].name,
				strlen(wrong_rows[i].name));
		else
			add_command(p, wrong_rows[i].name, 1, wrong_rows[i].text);
		CHECK_EQ(flush(p, 100), wrong_rows[i].err);
		CHECK_STR(p->s.error, wrong_rows[i].error);
		CHECK_EQ(feed(p, "x", 1, 1), wrong_rows[i].err);
		CHECK_EQ(rtmp_server_deadline(&p->s), RTMP_NO_DEADLINE);
		free(p);
	}
	struct peer *p = peer_create();
	CHECK_EQ(feed(p, "GET / HTTP/1.1\r\n", 16, 3), ERR_UNSUPPORTED);
	CHECK_STR(p->s.error, "handshake: not RTMP");
	free(p);
	p = peer_connected("publish", "x");
	add_command(p, "publish", 0, "y");
	CHECK_EQ(flush(p, 9), ERR_PHASE);
	CHECK_STR(p->s.error, "publish: not legal now");
	free(p);
	p = peer_connected(NULL, NULL);
	add_command(p, "connect", 1, "live");
	CHECK_EQ(flush(p, 9), ERR_PHASE);
	free(p);
	p = peer_connected(NULL, NULL);
	CHECK_EQ(feed(p, "\x04\0\0\0\xff\xff\xff\x09\1\0\0\0", 12, 1), ERR_TOO_LARGE);
	CHECK_STR(p->s.error, "message larger than its bound");
	free(p);
}

TEST(what_is_not_for_now_is_dropped_and_streams_are_limited)
{
	struct peer *p = peer_connected(NULL, NULL);

	add_message(p, CHUNK_VIDEO, 0, "\x17\x01\0\0\0.", 6);
	add_command(p, "pause", 0, NULL);
	for (int i = 0; i < RTMP_STREAMS_MAX + 2; i++)
		add_command(p, "createStream", 5, NULL);
	CHECK_EQ(flush(p, 77), ERR_AGAIN);
	CHECK_STR(p->events, "");
	CHECK_EQ(p->s.dropped, 2);
	CHECK_EQ(p->s.streams_created, RTMP_STREAMS_MAX);
	free(p);
}

TEST(pings_and_acknowledgements)
{
	struct peer *p = peer_connected("publish", "x");
	static uint8_t picture[3000] = {0x27, 1};
	char answers[TEXT_SIZE];

	add_message(p, CHUNK_USER_CONTROL, 0, "\0\x06\0\0\x12\x34", 6);
	add_message(p, CHUNK_WINDOW_ACK_SIZE, 0, "\0\0\0\1", 4);
	CHECK_EQ(flush(p, 3), ERR_AGAIN);
	size_t ping = p->out_used - HANDSHAKE_ANSWER_SIZE;
	CHECK_EQ(ping, 18);
	CHECK_MEM(p->out + HANDSHAKE_ANSWER_SIZE + 12, "\0\x07\0\0\x12\x34", 6);
	for (int i = 0; i < 3; i++)
		add_message(p, CHUNK_VIDEO, 0, picture, sizeof(picture));
	CHECK_EQ(flush(p, 1000), ERR_AGAIN);
	describe_answers(p, answers, sizeof(answers));
	CHECK_STR(answers, "#4 #3 #3");
	free(p);
}

TEST(deadlines)
{
	static const struct {
		const char *request; /* "" none, NULL not even connected */
		int64_t after_ms;
		const char *error;
	} rows[] = {
		{NULL,      RTMP_HANDSHAKE_MS, "handshake took too long"	   },
		{"",	     RTMP_REQUEST_MS,   "neither publish nor play in time"},
		{"publish", RTMP_SILENCE_MS,   "publisher is silent"		  },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *request = rows[i].request;
		struct peer *p =
			request ? peer_connected(*request ? request : NULL, "x") : peer_create();
		int64_t deadline_us = p->now_us + rows[i].after_ms * 1000;

		CHECK_EQ(rtmp_server_deadline(&p->s), deadline_us);
		CHECK_OK(rtmp_server_tick(&p->s, deadline_us - 1));
		CHECK_EQ(rtmp_server_tick(&p->s, deadline_us), ERR_TIMEOUT);
		CHECK_STR(p->s.error, rows[i].error);
		CHECK_EQ(rtmp_server_deadline(&p->s), RTMP_NO_DEADLINE);
		CHECK_OK(rtmp_server_tick(&p->s, INT64_MAX - 1));
		free(p);
	}
	struct peer *p = peer_connected("play", "x");
	CHECK_EQ(rtmp_server_deadline(&p->s), RTMP_NO_DEADLINE);
	free(p);
}

TEST(a_player_pauses_seeks_and_hears_the_end)
{
	struct peer *p = peer_connected("play", "x");
	char answers[TEXT_SIZE];

	add_command(p, "pause", 0, NULL);
	CHECK_EQ(flush(p, 8), ERR_AGAIN);
	CHECK_STR(p->events, "pause(1) ");
	add_command(p, "pause", 0, NULL);
	add_command(p, "seek", 0, NULL);
	CHECK_EQ(flush(p, 8), ERR_AGAIN);

	struct writer out = writer_of(p->out + p->out_used, sizeof(p->out) - p->out_used);
	CHECK_OK(rtmp_server_ping(&p->s, &out, 5000));
	CHECK_OK(rtmp_server_stop(&p->s, &out, p->now_us, "publisher left"));
	CHECK_EQ(rtmp_server_stop(&p->s, &out, p->now_us, ""), ERR_PHASE);
	p->out_used += writer_used(&out);
	describe_answers(p, answers, sizeof(answers));
	CHECK_STR(answers, "onStatus NetStream.Pause.Notify onStatus NetStream.Unpause.Notify "
			   "onStatus NetStream.Seek.Notify #4 #4 "
			   "onStatus NetStream.Play.UnpublishNotify onStatus NetStream.Play.Stop");
	free(p);
}

TEST(the_engine_allocates_nothing)
{
	struct peer *p = peer_connected("publish", "x");

	add_message(p, CHUNK_VIDEO, 0, "\x17\x01\0\0\0.", 6);
	add_command(p, "FCUnpublish", 0, "x");
	test_fail_allocation(0);
	CHECK_EQ(flush(p, 7), ERR_AGAIN);
	CHECK_EQ(test_fail_allocation(0), 0);
	free(p);
}

TEST(state_that_is_out_of_range_is_refused)
{
	struct peer *p = peer_connected("publish", "x");
	struct rtmp_server bad;

	CHECK(rtmp_server_is_valid(&p->s, ARENA_SIZE));
	CHECK(!rtmp_server_is_valid(&p->s, RTMP_ARENA_MIN - 1));
#define BROKEN(change)                                          \
	do {                                                    \
		bad = p->s;                                     \
		change;                                         \
		CHECK(!rtmp_server_is_valid(&bad, ARENA_SIZE)); \
	} while (0)
	BROKEN(bad.phase = RTMP_PHASE_COUNT);
	BROKEN(bad.failure = ERR_COUNT);
	BROKEN(bad.streams_created = RTMP_STREAMS_MAX + 1);
	BROKEN(bad.paused = 2);
	BROKEN(bad.time_known = 2);
	BROKEN(bad.ack_window = 0);
	BROKEN(bad.bytes_acknowledged = bad.bytes_in + 1);
	BROKEN(bad.media_ms = INT64_MAX);
	BROKEN(bad.deadline_us = INT64_MIN);
	BROKEN(bad.last_input_us = INT64_MAX);
	BROKEN(bad.handshake.taken = 4000);
	BROKEN(bad.chunks.current = 99);
	BROKEN(memset(bad.app, 'a', sizeof(bad.app)));
	BROKEN(memset(bad.name, 'a', sizeof(bad.name)));
	BROKEN(memset(bad.query, 'a', sizeof(bad.query)));
	BROKEN(memset(bad.app_query, 'a', sizeof(bad.app_query)));
	BROKEN(memset(bad.error, 'a', sizeof(bad.error)));
#undef BROKEN
	free(p);
}

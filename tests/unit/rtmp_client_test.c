/* SPDX-License-Identifier: Apache-2.0
 *
 * The RTMP client against our server engine, in any fragmentation; refusals; wrong answers.
 */
#include "actors/rtmp/amf.h"
#include "actors/rtmp/rtmp_client.h"
#include "actors/rtmp/rtmp_reply.h"
#include "actors/rtmp/rtmp_server.h"
#include "tests/test.h"

#include <stdlib.h>

enum { ARENA_SIZE = 1 << 20, OUT_SIZE = 1 << 18 };

struct pair {
	struct rtmp_client client;
	struct rtmp_server server;
	uint8_t client_arena[RTMP_CLIENT_ARENA_SIZE], server_arena[ARENA_SIZE];
	uint8_t to_server[OUT_SIZE], to_client[OUT_SIZE];
	size_t to_server_size, to_client_size;
	const char *refuse; /* code, or NULL */
	char app[64], name[64], query[128];
	unsigned pictures, sounds, received;
	size_t received_bytes;
	uint32_t received_ms;
	bool stopped;
};

static void serve(struct pair *p, const struct rtmp_event *e)
{
	if (e->type == RTMP_EVENT_PUBLISH || e->type == RTMP_EVENT_PLAY) {
		snprintf(p->app, sizeof(p->app), "%s", e->app);
		snprintf(p->name, sizeof(p->name), "%s", e->name);
		snprintf(p->query, sizeof(p->query), "%s", e->query);
	}
	p->pictures += e->type == RTMP_EVENT_VIDEO && e->video.packet == FLV_FRAMES;
	p->sounds += e->type == RTMP_EVENT_AUDIO && e->audio.packet == FLV_FRAMES;
	p->stopped |= e->type == RTMP_EVENT_STOP;
}

static void server_take(struct pair *p, size_t step)
{
	for (size_t at = 0; at < p->to_server_size; at += step) {
		size_t size = p->to_server_size - at < step ? p->to_server_size - at : step;
		struct reader in = reader_of(p->to_server + at, size);
		enum err err;

		do {
			struct writer out = writer_of(
				p->to_client + p->to_client_size, OUT_SIZE - p->to_client_size);
			struct rtmp_event event;

			err = rtmp_server_input(&p->server, p->server_arena, ARENA_SIZE, &in, &out,
				1000000, &event);
			if (!err)
				serve(p, &event);
			if (err == ERR_BUSY && p->refuse)
				CHECK_OK(rtmp_server_reject(
					&p->server, &out, 1000000, p->refuse, "not\nyou"));
			else if (err == ERR_BUSY)
				CHECK_OK(rtmp_server_accept(&p->server, &out, ""));
			p->to_client_size += writer_used(&out);
		} while (!err || err == ERR_BUSY);
		CHECK_EQ(err, ERR_AGAIN);
	}
	p->to_server_size = 0;
}

static enum err client_take(struct pair *p, size_t step)
{
	enum err err = ERR_AGAIN;

	for (size_t at = 0; at < p->to_client_size && err == ERR_AGAIN; at += step) {
		size_t size = p->to_client_size - at < step ? p->to_client_size - at : step;
		struct reader in = reader_of(p->to_client + at, size);
		struct chunk_message message;

		do {
			struct writer out = writer_of(
				p->to_server + p->to_server_size, OUT_SIZE - p->to_server_size);

			err = rtmp_client_input(&p->client, p->client_arena, &in, &out, &message);
			CHECK(!out.bad);
			p->to_server_size += writer_used(&out);
			if (!err) {
				p->received++;
				p->received_bytes += message.size;
				p->received_ms = message.time_ms;
			}
		} while (!err);
	}
	p->to_client_size = 0;
	return err;
}

static enum err talk(struct pair *p, size_t step)
{
	enum err err = ERR_AGAIN;

	while (err == ERR_AGAIN && p->to_server_size + p->to_client_size) {
		server_take(p, step);
		err = client_take(p, step);
	}
	return err;
}

static struct pair *begin(const char *url, const char *token, bool publish)
{
	static const struct rtmp_config config = {.message_max = ARENA_SIZE / 2};
	struct pair *p = calloc(1, sizeof(*p));
	struct writer out = writer_of(p->to_server, OUT_SIZE);

	rtmp_server_init(&p->server, &config, 7, 1000000);
	CHECK_OK(rtmp_client_begin(&p->client, url, token, publish, &out));
	p->to_server_size = writer_used(&out);
	return p;
}

static void put(struct pair *p, uint8_t type, uint32_t ms, const uint8_t *head, size_t head_size,
	size_t size)
{
	static const uint8_t data[100000];
	struct writer out =
		writer_of(p->to_server + p->to_server_size, OUT_SIZE - p->to_server_size);

	CHECK_OK(rtmp_client_put(&p->client, &out, type, ms, head, head_size, data, size));
	p->to_server_size += writer_used(&out);
}

TEST(a_publisher_is_heard)
{
	static const size_t steps[] = {1, 3, 128, 1537, OUT_SIZE};
	static const uint8_t key[] = {0x17, 1, 0, 0, 0}, sound[] = {0xaf, 1};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct pair *p = begin("rtmp://host:1935/live/cam?a=b", "secret", true);
		struct writer out;

		CHECK_EQ(talk(p, steps[i]), ERR_AGAIN);
		CHECK_EQ(p->client.phase, RTMP_CLIENT_RUNNING);
		CHECK_STR(p->app, "live");
		CHECK_STR(p->name, "cam");
		CHECK_STR(p->query, "a=b&token=secret");
		put(p, CHUNK_VIDEO, 0, key, sizeof(key), 90000); /* more than one chunk */
		put(p, CHUNK_AUDIO, 20, sound, sizeof(sound), 7);
		put(p, CHUNK_VIDEO, 0x1000000, key, sizeof(key), 10);
		CHECK_EQ(talk(p, steps[i]), ERR_AGAIN);
		CHECK_EQ(p->pictures, 2);
		CHECK_EQ(p->sounds, 1);
		out = writer_of(p->to_server, OUT_SIZE);
		rtmp_client_end(&p->client, &out);
		p->to_server_size = writer_used(&out);
		server_take(p, steps[i]);
		CHECK(p->stopped);
		free(p);
	}
}

TEST(a_player_is_given_what_the_server_sends)
{
	struct pair *p = begin("rtmp://host/live/cam", NULL, false);
	static const uint8_t body[200] = {0x17, 1};
	struct chunk_headers headers;
	struct iovec part = {(void *)(uintptr_t)body, sizeof(body)}, parts[8];
	struct writer out;
	size_t count;

	CHECK_EQ(talk(p, OUT_SIZE), ERR_AGAIN);
	CHECK_EQ(p->client.phase, RTMP_CLIENT_RUNNING);
	CHECK_STR(p->query, "");
	chunk_headers_make(&headers, 6, CHUNK_VIDEO, p->server.stream, 1234, sizeof(body));
	count = chunk_frame(&headers, RTMP_REPLY_CHUNK_SIZE, &part, 1, parts, 8);
	out = writer_of(p->to_client, OUT_SIZE);
	for (size_t i = 0; i < count; i++)
		write_bytes(&out, parts[i].iov_base, parts[i].iov_len);
	p->to_client_size = writer_used(&out);
	unsigned before = p->received;

	CHECK_EQ(client_take(p, 1), ERR_AGAIN);
	CHECK_EQ(p->received, before + 1);
	CHECK_EQ(p->received_ms, 1234);
	out = writer_of(p->to_client, OUT_SIZE);
	CHECK_OK(rtmp_server_stop(&p->server, &out, 1000000, "over"));
	p->to_client_size = writer_used(&out);
	CHECK_EQ(client_take(p, OUT_SIZE), ERR_CLOSED);
	free(p);
}

TEST(a_refusal_is_told)
{
	for (int publish = 0; publish < 2; publish++) {
		struct pair *p = begin("rtmp://host/live/cam", NULL, publish);

		p->refuse = publish ? "BadName" : "StreamNotFound";
		CHECK_EQ(talk(p, OUT_SIZE), ERR_FORBIDDEN);
		CHECK_EQ(p->client.phase, RTMP_CLIENT_REFUSED);
		CHECK_STR(p->client.code,
			publish ? "NetStream.Publish.BadName" : "NetStream.Play.StreamNotFound");
		CHECK_STR(p->client.text, "not you"); /* one line */
		free(p);
	}
}

TEST(pings_are_answered)
{
	struct pair *p = begin("rtmp://host/live/cam", NULL, true);
	struct writer out = writer_of(p->to_client, OUT_SIZE);

	CHECK_EQ(talk(p, OUT_SIZE), ERR_AGAIN);
	CHECK_OK(rtmp_server_ping(&p->server, &out, 1000000));
	p->to_client_size = writer_used(&out);
	CHECK_EQ(client_take(p, OUT_SIZE), ERR_AGAIN);
	CHECK_GE(p->to_server_size, 10);
	free(p);
}

TEST(urls_that_are_none)
{
	static const char *const urls[] = {
		"", "http://h/a/b", "rtmp://h", "rtmp://h/a", "rtmp://h/a/", "rtmp://h//b"};
	static struct rtmp_client client;
	static char long_url[2000] = "rtmp://h/a/";
	uint8_t bytes[2000];

	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct writer out = writer_of(bytes, sizeof(bytes));

		CHECK_EQ(rtmp_client_begin(&client, urls[i], NULL, true, &out), ERR_FORMAT);
	}
	struct writer out = writer_of(bytes, sizeof(bytes));

	memset(long_url + 11, 'x', sizeof(long_url) - 12);
	CHECK_EQ(rtmp_client_begin(&client, long_url, NULL, true, &out), ERR_TOO_LARGE);
	out = writer_of(bytes, sizeof(bytes));
	memset(long_url + 600, 0, sizeof(long_url) - 600);
	CHECK_EQ(rtmp_client_begin(&client, long_url, long_url, true, &out), ERR_TOO_LARGE);
	out = writer_of(bytes, 100);
	CHECK_EQ(rtmp_client_begin(&client, "rtmp://h/a/b", NULL, true, &out), ERR_NO_SPACE);
}

TEST(a_server_that_speaks_something_else)
{
	static struct rtmp_client client;
	static uint8_t arena[RTMP_CLIENT_ARENA_SIZE], bytes[8192];
	struct chunk_message message;
	struct writer out = writer_of(bytes, sizeof(bytes));
	struct reader in = reader_of("HTTP/1.1 400 Bad Request\r\n", 26);

	CHECK_OK(rtmp_client_begin(&client, "rtmp://h/a/b", NULL, true, &out));
	out = writer_of(bytes, sizeof(bytes));
	CHECK_EQ(rtmp_client_input(&client, arena, &in, &out, &message), ERR_FORMAT);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The office and the sessions of the load generator under a clock of the test; the web server is the
 * test itself: what is asked lies in `asked`, answers are given by hand.
 */
#include "actors/client/client.h"
#include "actors/webrtc/dtls.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/test.h"

#include <stdlib.h>

enum { ASKED_MAX = 64, SESSIONS = 10, BLOCK = 1 };

struct question {
	uint64_t id, owner;
	char method[8], url[256], authorization[64];
	bool stream, cancelled;
};

static int64_t now_us;
static struct question asked[ASKED_MAX];
static size_t asked_count, reads;
static uint64_t read_id;
static unsigned sockets_open, finishes;
static struct runtime *rt;
static struct log quiet;
static struct client_figures figures[SESSIONS];
static struct load_options options;
static struct load_result result;
static struct certificate certificate;
static struct dtls_context dtls;
static struct client_shared shared;

/* ---- below the runtime ----------------------------------------------------------------------- */

static int64_t op_now_us(void *context)
{
	(void)context;
	return now_us;
}

static void op_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 0x5a, size);
}

static enum err op_http_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what)
{
	struct question *a = &asked[asked_count++];

	(void)context;
	CHECK(asked_count < ASKED_MAX);
	*a = (struct question){.id = request, .owner = owner, .stream = what->stream};
	snprintf(a->method, sizeof(a->method), "%s", what->method ? what->method : "GET");
	snprintf(a->url, sizeof(a->url), "%s", what->url);
	for (int i = 0; i < NET_HTTP_HEADERS_MAX && what->headers[i]; i++)
		if (!strncmp(what->headers[i], "Authorization", 13))
			snprintf(
				a->authorization, sizeof(a->authorization), "%s", what->headers[i]);
	return ERR_OK;
}

static enum err op_http_read(void *context, uint64_t stream, uint64_t owner, uint64_t request)
{
	(void)context, (void)stream, (void)owner;
	read_id = request;
	reads++;
	return ERR_OK;
}

static void op_http_cancel(void *context, uint64_t owner, uint64_t id)
{
	(void)context;
	for (size_t i = 0; i < asked_count; i++)
		if (asked[i].owner == owner && (!id || asked[i].id == id))
			asked[i].cancelled = true;
}

static uint32_t op_open_udp(void *context, uint64_t owner, uint8_t family)
{
	(void)context, (void)owner;
	CHECK_EQ(family, 4);
	return ++sockets_open;
}

static void op_close(void *context, uint32_t socket)
{
	(void)context, (void)socket;
	sockets_open--;
}

static void op_local_addr(void *context, uint32_t socket, struct net_addr *addr)
{
	(void)context, (void)socket;
	*addr = (struct net_addr){.family = 4, .port = 4000};
}

static size_t op_send(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	(void)context, (void)socket, (void)to, (void)packets;
	return count;
}

static const struct runtime_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_now_us,
	.random = op_random,
	.http_start = op_http_start,
	.http_read = op_http_read,
	.http_cancel = op_http_cancel,
	.net_open_udp = op_open_udp,
	.net_close = op_close,
	.net_local_addr = op_local_addr,
	.net_send = op_send,
};

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context, (void)line, (void)size;
	return true;
}

static int64_t no_cpu(void)
{
	return 0;
}

static void on_progress(const struct load_summary *summary)
{
	CHECK_LE(summary->begun, options.count);
}

static void on_finish(void)
{
	finishes++;
}

static void run_ms(int64_t ms)
{
	for (; ms > 0; ms -= 5) {
		now_us += 5000;
		runtime_tick(rt);
		for (int i = 0; i < 4; i++)
			runtime_turn(rt);
	}
}

static void begin(enum load_kind kind, uint32_t count)
{
	struct log_sink sink = {.now_us = op_now_us, .write = log_nothing};
	static const struct actor_type *const types[] = {NULL};
	struct runtime_options runtime = {.ops = &ops,
		.log = &quiet,
		.node = 1,
		.block = BLOCK,
		.process = 1,
		.role = PROCESS_CONTROL,
		.types = types};

	now_us = 1000000;
	asked_count = reads = 0;
	sockets_open = finishes = 0;
	memset(figures, 0, sizeof(figures));
	options = (struct load_options){.kind = kind,
		.count = count,
		.ramp = 10,
		.url = "http://host/dir/a?b=c",
		.token = "secret"};
	result = (struct load_result){.options = &options, .figures = figures};
	shared = (struct client_shared){
		.options = &options,
		.result = &result,
		.local = {.family = 4, .ip = {127, 0, 0, 1}},
		.certificate = &certificate,
		.dtls = &dtls,
		.cpu_us = no_cpu,
		.progress = on_progress,
		.progress_ms = 100,
		.finish = on_finish
	   };
	if (!dtls.ssl) {
		CHECK_OK(openssl_ciphers_install());
		CHECK_OK(certificate_create(&certificate, 1700000000));
		CHECK_OK(dtls_context_init(&dtls, &certificate));
	}
	log_init(&quiet, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	CHECK_OK(runtime_create(&runtime, &rt));
	CHECK_OK(actor_spawn_office(rt, OFFICE_CLIENTS, &client_office_actor, &shared));
}

static void end(void)
{
	runtime_destroy(&rt);
	CHECK_EQ(sockets_open, 0);
	for (size_t i = 0; i < asked_count; i++) /* nothing is left open at the server */
		CHECK(asked[i].cancelled || !asked[i].stream);
}

static int status(void)
{
	struct load_summary summary;

	CHECK_OK(load_summarise(&result, &summary));
	return load_status(&summary);
}

static void answer(size_t i, uint16_t code, const char *headers, const char *body)
{
	runtime_http_response(rt, asked[i].id,
		&(struct msg_http_response){
			.status = code,
			.headers = {headers,	     (uint32_t)strlen(headers)     },
			.body = {body,	       (uint32_t)strlen(body)	     },
			.url = {asked[i].url, (uint32_t)strlen(asked[i].url)},
			.stream = asked[i].stream ? asked[i].id : 0
	   });
	run_ms(5);
}

static void drain(void)
{
	runtime_drain(rt, 1000);
	run_ms(20);
}

/* ---- rows ------------------------------------------------------------------------------------ */

TEST(sessions_begin_one_after_the_other)
{
	begin(LOAD_FLV, 10);
	run_ms(20);
	CHECK_EQ(asked_count, 1);
	CHECK_STR(asked[0].url, "http://host/dir/a?b=c");
	CHECK_STR(asked[0].authorization, "Authorization: Bearer secret");
	run_ms(500);
	CHECK_EQ(asked_count, 6);
	run_ms(2000);
	CHECK_EQ(asked_count, 10);
	drain();
	CHECK(runtime_is_drained(rt));
	CHECK_EQ(status(), 3); /* nobody was ever answered */
	end();
}

TEST(a_refused_session_has_failed_and_with_the_last_one_all_ends)
{
	begin(LOAD_FLV, 2);
	run_ms(200);
	answer(0, 404, "", "");
	CHECK_EQ(figures[0].phase, CLIENT_FAILED);
	CHECK_EQ(figures[0].status, 404);
	CHECK_EQ(finishes, 0);
	runtime_http_failed(rt, asked[1].id, ERR_DEAD, "nobody there");
	run_ms(20);
	CHECK_EQ(figures[1].phase, CLIENT_FAILED);
	CHECK_STR(figures[1].text, "nobody there");
	CHECK_EQ(finishes, 1);
	run_ms(20000);
	CHECK_EQ(asked_count, 2); /* no second attempt */
	CHECK_EQ(status(), 1);
	end();
}

TEST(one_that_breaks_comes_back_later_and_later)
{
	int64_t wait_us, before_us = 0;

	begin(LOAD_FLV, 1);
	run_ms(20);
	answer(0, 200, "", "");
	CHECK_EQ(figures[0].phase, CLIENT_UP);
	CHECK_EQ(reads, 1);
	runtime_http_piece(rt, read_id, &(struct msg_http_piece){.end = true});
	run_ms(5);
	CHECK_EQ(figures[0].phase, CLIENT_WAITING);
	CHECK_EQ(figures[0].reconnects, 1);
	for (size_t attempt = 2; attempt < 9; attempt++) {
		int64_t broke_us = now_us;

		while (asked_count < attempt)
			run_ms(5);
		wait_us = now_us - broke_us;
		CHECK_GE(wait_us, CLIENT_BACKOFF_MIN_MS * 1000 / 2);
		CHECK_LE(wait_us, CLIENT_BACKOFF_MAX_MS * 1000 + 10000);
		CHECK(attempt > 6 || wait_us > before_us);
		before_us = wait_us;
		runtime_http_failed(rt, asked[attempt - 1].id, ERR_DEAD, "");
		run_ms(5);
		CHECK_EQ(figures[0].phase, CLIENT_WAITING);
		CHECK_EQ(figures[0].reconnects, 1);
	}
	drain();
	CHECK_EQ(figures[0].phase, CLIENT_WAITING); /* it was not there at the end */
	CHECK_EQ(status(), 1);
	end();
}

TEST(sessions_that_stand_end_in_order)
{
	begin(LOAD_FLV, 2);
	run_ms(150);
	answer(0, 200, "", "");
	answer(1, 200, "", "");
	drain();
	CHECK_EQ(figures[0].phase, CLIENT_ENDED);
	CHECK_EQ(status(), 0);
	CHECK(runtime_is_drained(rt));
	end();
}

#define SDP                                                                                    \
	"v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n"      \
	"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 "     \
	"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:00:01:02:03:04:05:06:07:08:09:0A:0B:" \
	"0C:0D:0E:0F\r\na=setup:passive\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"      \
	"a=rtcp-mux\r\na=rtpmap:96 H264/90000\r\na=sendonly\r\n"                               \
	"a=candidate:1 1 udp 1 127.0.0.1 8000 typ host\r\n"

TEST(a_webrtc_session_is_deleted_where_the_server_says)
{
	static const struct {
		const char *headers, *expected; /* NULL: nothing to delete */
	} rows[] = {
		{"Location: /whep/1\r\n",	  "http://host/whep/1" },
		{"location:http://other/x?y\r\n", "http://other/x?y"   },
		{"Location: one\r\n",	      "http://host/dir/one"},
		{"",			      NULL		 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(LOAD_WHEP, 1);
		run_ms(20);
		CHECK_EQ(asked_count, 1);
		CHECK_STR(asked[0].method, "POST");
		CHECK_EQ(sockets_open, 1);
		answer(0, 201, rows[i].headers, SDP);
		CHECK_EQ(figures[0].phase, CLIENT_IDLE); /* (not reported yet) */
		drain();
		CHECK_EQ(asked_count, rows[i].expected ? 2 : 1);
		if (rows[i].expected) {
			CHECK_STR(asked[1].method, "DELETE");
			CHECK_STR(asked[1].url, rows[i].expected);
			CHECK_STR(asked[1].authorization, "Authorization: Bearer secret");
			CHECK(!runtime_is_drained(rt));
			answer(1, 200, "", "");
		}
		CHECK(runtime_is_drained(rt));
		end();
	}
}

TEST(a_webrtc_session_without_a_path_fails)
{
	static const struct {
		uint16_t code;
		const char *body, *text;
	} rows[] = {
		{422, "{\"detail\":\"no such codec\"}", "no such codec"	       },
		{500, "some\ntext",			    "some text"		       },
		{201, "hello",			       "not an SDP"		   },
		{201, SDP,			      "no ICE check was answered"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(LOAD_WHEP, 1);
		run_ms(20);
		answer(0, rows[i].code, "Location: /1\r\n", rows[i].body);
		run_ms(16000);
		CHECK_EQ(figures[0].phase, CLIENT_FAILED);
		CHECK(strstr(figures[0].text, rows[i].text));
		CHECK_EQ(figures[0].status, rows[i].code == 201 ? 0 : rows[i].code);
		CHECK_EQ(finishes, 1);
		CHECK_EQ(status(), 1);
		end();
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP as a client through real sockets of the loopback: the far end is a server of this program
 * that says what a row wants, in the same thread.
 */
#include "runtime/live_internal.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_US = 30000000, CONNECTIONS = 16, HEARD_MAX = 65536 };

/* ---- the server -------------------------------------------------------------------------------- */

static struct {
	int listener;
	uint16_t port;
	int connection[CONNECTIONS];
	SSL_CTX *tls; /* NULL: in the clear */
	SSL *ssl[CONNECTIONS];
	char request[CONNECTIONS][8192];
	size_t size[CONNECTIONS];
	char last[8192]; /* the last whole request */
	unsigned requests, closed;
	const char *answer; /* sent to every whole request; NULL: nothing yet */
	const char *then;   /* sent to the second and later ones instead */
} server;

static void server_begin(void)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(name);

	memset(&server, 0, sizeof(server));
	memset(server.connection, -1, sizeof(server.connection));
	server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(server.listener, (struct sockaddr *)&name, sizeof(name)), 0);
	CHECK_EQ(listen(server.listener, CONNECTIONS), 0);
	CHECK_EQ(getsockname(server.listener, (struct sockaddr *)&name, &size), 0);
	server.port = ntohs(name.sin_port);
}

static void server_hang_up(int i)
{
	SSL_free(server.ssl[i]);
	server.ssl[i] = NULL;
	close(server.connection[i]);
	server.connection[i] = -1;
	server.size[i] = 0;
}

static void server_end(void)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (server.connection[i] >= 0)
			server_hang_up(i);
	SSL_CTX_free(server.tls);
	close(server.listener);
}

static void server_say(int i, const char *text)
{
	size_t size = strlen(text);

	if (server.ssl[i])
		CHECK_EQ(SSL_write(server.ssl[i], text, (int)size), size);
	else
		CHECK_EQ(send(server.connection[i], text, size, MSG_NOSIGNAL), size);
}

/* As recv; the handshake is part of it. */
static ssize_t server_hear(int i, char *at, size_t size)
{
	int got;

	if (!server.tls)
		return recv(server.connection[i], at, size, 0);
	if (!server.ssl[i]) {
		server.ssl[i] = SSL_new(server.tls);
		SSL_set_fd(server.ssl[i], server.connection[i]);
		SSL_set_accept_state(server.ssl[i]);
	}
	ERR_clear_error();
	got = SSL_read(server.ssl[i], at, (int)size);
	if (got > 0)
		return got;
	return SSL_get_error(server.ssl[i], got) == SSL_ERROR_WANT_READ ? -1 : 0;
}

static bool is_whole(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n"),
		   *length = strstr(request, "Content-Length: ");

	return end && (!length || strlen(end + 4) >= strtoul(length + 16, NULL, 10));
}

static void server_run(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		if (server.connection[i] < 0) {
			server.connection[i] =
				accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			continue;
		}
		char *at = server.request[i] + server.size[i];
		ssize_t got = server_hear(i, at, sizeof(server.request[i]) - server.size[i] - 1);

		if (got == 0) {
			server.closed++;
			server_hang_up(i);
		}
		if (got <= 0)
			continue;
		server.size[i] += (size_t)got;
		server.request[i][server.size[i]] = 0;
		if (!is_whole(server.request[i]))
			continue;
		memcpy(server.last, server.request[i], server.size[i] + 1);
		server.size[i] = 0;
		server.requests++;
		if (server.requests > 1 && server.then)
			server_say(i, server.then);
		else if (server.answer)
			server_say(i, server.answer);
	}
}

/* ---- the actor that asks ------------------------------------------------------------------------- */

static struct {
	unsigned responses, pieces, failures;
	uint64_t request; /* answered last */
	uint16_t status;
	uint64_t stream;
	uint8_t err;
	bool end;
	char text[128], location[128], url[128], bytes[HEARD_MAX];
	size_t size;
} heard;

struct asker_actor {
	struct placement_state st;
};

static void hear(struct slice bytes)
{
	CHECK_LE(heard.size + bytes.size, sizeof(heard.bytes) - 1);
	if (bytes.size)
		memcpy(heard.bytes + heard.size, bytes.data, bytes.size);
	heard.size += bytes.size;
	heard.bytes[heard.size] = 0;
}

ON(asker_actor, http_response)
{
	struct slice location = net_http_header(m, "LOCATION");

	heard.responses++;
	heard.request = mail->request;
	heard.status = m->status;
	heard.stream = m->stream;
	snprintf(heard.location, sizeof(heard.location), "%.*s", (int)location.size,
		location.size ? location.data : "");
	snprintf(heard.url, sizeof(heard.url), "%.*s", (int)m->url.size, m->url.data);
	hear(m->body);
	return ERR_OK;
}

ON(asker_actor, http_piece)
{
	heard.pieces++;
	heard.end = m->end;
	hear(m->bytes);
	return ERR_OK;
}

ON(asker_actor, failed)
{
	heard.failures++;
	heard.request = mail->request;
	heard.err = m->err;
	snprintf(heard.text, sizeof(heard.text), "%s", m->text);
	return ERR_OK;
}

static enum err asker_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler asker_handlers[] = {
	HANDLER(asker_actor, http_response, 0),
	HANDLER(asker_actor, http_piece, 0),
	HANDLER(asker_actor, failed, 0),
};

static const struct actor_type asker_type = {
	.name = "asker",
	.size = sizeof(struct asker_actor),
	.state = &schema_placement_state,
	.mailbox_max = 1, /* answers come all the same */
	HANDLER_TABLE(asker_handlers),
	.init = asker_init,
};

/* ---- one process --------------------------------------------------------------------------------- */

static struct live *live;
static struct log quiet;
static struct addr asker;

static int64_t op_now_us(void *context)
{
	(void)context;
	return live_now_us();
}

static void op_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 7, size);
}

static const struct runtime_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_now_us,
	.random = op_random,
	.http_start = live_http_start,
	.http_read = live_http_read,
	.http_cancel = live_http_cancel,
};

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context, (void)line, (void)size;
	return true;
}

static void begin(void)
{
	struct log_sink sink = {.now_us = op_now_us, .write = log_nothing};
	static const struct actor_type *const types[] = {NULL};

	memset(&heard, 0, sizeof(heard));
	server_begin();
	live = calloc(1, sizeof(*live));
	live->epoll = epoll_create1(EPOLL_CLOEXEC);
	log_init(&quiet, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	struct runtime_options options = {.ops = &ops,
		.context = live,
		.log = &quiet,
		.node = 1,
		.block = 1,
		.process = 1,
		.types = types};

	CHECK_OK(runtime_create(&options, &live->rt));
	CHECK_OK(actor_spawn(live->rt, NULL, &asker_type, NULL, &asker));
}

static void end(void)
{
	runtime_destroy(&live->rt);
	live_http_close(live);
	close(live->epoll);
	free(live);
	server_end();
}

static struct actor *self_now(void)
{
	return runtime_find(live->rt, asker.id);
}

static void run_once(void)
{
	struct epoll_event events[16];
	int count;

	runtime_tick(live->rt);
	runtime_turn(live->rt);
	server_run();
	count = epoll_wait(live->epoll, events, 16, 1);
	for (int i = 0; i < count; i++)
		live_http_event(live, (int)(events[i].data.u64 >> 32), events[i].events);
	live_http_run(live);
}

#define RUN_UNTIL(condition)                                    \
	do {                                                    \
		int64_t until_us = live_now_us() + PATIENCE_US; \
		while (!(condition)) {                          \
			CHECK(live_now_us() < until_us);        \
			run_once();                             \
		}                                               \
	} while (0)

static uint64_t ask(struct net_http_request request, const char *path)
{
	static char url[4096];

	snprintf(url, sizeof(url), "http%s://127.0.0.1:%u%s", server.tls ? "s" : "", server.port,
		path);
	if (!request.url)
		request.url = url;
	if (!request.timeout_ms)
		request.timeout_ms = 4000;
	return net_http(self_now(), &request);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

TEST(a_request_and_its_answer)
{
	static const char offer[] = "v=0\r\n";

	begin();
	server.answer =
		"HTTP/1.1 201 Created\r\nlocation:  /whep/1 \r\nContent-Length: 6\r\n\r\nanswer";
	uint64_t id = ask(
		(struct net_http_request){
			.method = "POST",
			.headers = {"Content-Type: application/sdp", "Authorization: Bearer x"},
			.body = offer,
			.body_size = strlen(offer)
	  },
		"/whep/live/a");

	RUN_UNTIL(heard.responses + heard.failures);
	CHECK_EQ(heard.responses, 1);
	CHECK_EQ(heard.request, id);
	CHECK_EQ(heard.status, 201);
	CHECK_EQ(heard.stream, 0);
	CHECK_STR(heard.location, "/whep/1");
	CHECK_STR(heard.bytes, "answer");
	CHECK(strstr(heard.url, "/whep/live/a"));
	CHECK(!strncmp(server.last, "POST /whep/live/a HTTP/1.1\r\n", 28));
	CHECK(strstr(server.last, "Content-Type: application/sdp\r\n"));
	CHECK(strstr(server.last, "Authorization: Bearer x\r\n"));
	CHECK(strstr(server.last, "\r\n\r\nv=0\r\n"));
	CHECK(!strstr(server.last, "Expect"));
	end();
}

TEST(methods_and_bodies)
{
	static const struct {
		const char *method, *body, *starts, *has;
	} rows[] = {
		{NULL,     "",   "GET /x ",    "\r\n\r\n"		},
		{"DELETE", "",   "DELETE /x ", "\r\n\r\n"	       },
		{"POST",	 "",   "POST /x ",	 "Content-Length: 0\r\n"},
		{"PATCH",  "ab", "PATCH /x ",  "\r\n\r\nab"		 },
		{"PUT",	"c",  "PUT /x ",	"\r\n\r\nc"		   },
	};

	begin();
	server.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask((struct net_http_request){.method = rows[i].method,
			    .body = rows[i].body,
			    .body_size = strlen(rows[i].body)},
			"/x");
		RUN_UNTIL(heard.responses == i + 1);
		CHECK_EQ(heard.status, 204);
		CHECK(!strncmp(server.last, rows[i].starts, strlen(rows[i].starts)));
		CHECK(strstr(server.last, rows[i].has));
		CHECK(i > 1 || !strstr(server.last, "Content-Length"));
	}
	end();
}

TEST(a_redirect_is_followed_when_wanted)
{
	static const char there[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere";

	begin();
	server.answer = "HTTP/1.1 307 Away\r\nLocation: /other\r\nContent-Length: 3\r\n\r\nnot";
	ask((struct net_http_request){.method = "POST", .body = "b", .body_size = 1}, "/a");
	RUN_UNTIL(heard.responses);
	CHECK_EQ(heard.status, 307);
	CHECK_STR(heard.location, "/other");
	CHECK_STR(heard.bytes, "not");
	server.requests = 0;
	server.then = there;
	heard.size = 0;
	ask(
		(struct net_http_request){
			.method = "POST", .body = "b", .body_size = 1, .redirects = true},
		"/a");
	RUN_UNTIL(heard.responses == 2);
	CHECK_EQ(heard.status, 200);
	CHECK_STR(heard.bytes, "there");
	CHECK_STR(heard.location, "");
	CHECK(strstr(heard.url, "/other"));
	CHECK(!strncmp(server.last, "POST /other ", 12));
	CHECK(strstr(server.last, "\r\n\r\nb"));
	end();
}

TEST(what_fails_says_how)
{
	static char long_header[NET_HTTP_HEAD_MAX + 200];
	static const struct {
		const char *url, *answer;
		uint32_t timeout_ms, body_max;
		const char *header;
		uint8_t err;
	} rows[] = {
		{"http://127.0.0.1:1/",	NULL,						0,	 0,			    NULL,		  ERR_DEAD	  },
		{"nonsense://x",	 NULL,						0,  0,		     NULL,	   ERR_FORMAT   },
		{"http://",		    NULL,						0,  0,			NULL,	      ERR_FORMAT	},
		{"http://name.invalid/", NULL,						0,  0,		     NULL,	   ERR_NOT_FOUND},
		{NULL,		       NULL,						50, 0,			    NULL,		  ERR_TIMEOUT  },
		{NULL,		       "hello\r\n\r\n",					0,  0,		      NULL,	    ERR_FORMAT   },
		{NULL,		       "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0,  4,			  NULL,
			ERR_TOO_LARGE															},
		{NULL,		       long_header,					 0,  0,			  NULL,		ERR_TOO_LARGE},
		{NULL,		       NULL,						0,	0,			   "X: a\r\nY: b", ERR_FORMAT   },
		{NULL,		       NULL,						0,	NET_HTTP_BODY_MAX + 1, NULL,	     ERR_TOO_LARGE},
	};

	begin();
	snprintf(long_header, sizeof(long_header), "HTTP/1.1 200 OK\r\nX: %0*d\r\n\r\n",
		NET_HTTP_HEAD_MAX + 100, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		server.answer = rows[i].answer;
		ask((struct net_http_request){.url = rows[i].url,
			    .timeout_ms = rows[i].timeout_ms,
			    .body_max = rows[i].body_max,
			    .headers = {rows[i].header}},
			"/x");
		RUN_UNTIL(heard.failures == i + 1);
		CHECK_EQ(heard.err, rows[i].err);
	}
	CHECK_EQ(heard.responses, 0);
	RUN_UNTIL(live->http == NULL || live_http_due_us(live) > 0);
	end();
}

TEST(a_stream_comes_in_pieces_at_the_readers_pace)
{
	begin();
	server.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	uint64_t id = ask((struct net_http_request){.stream = true}, "/watch");

	RUN_UNTIL(heard.responses); /* before there is any body */
	CHECK_EQ(heard.stream, id);
	net_http_read(self_now(), id, 1000);
	net_http_read(self_now(), id, 1000); /* one at a time */
	RUN_UNTIL(heard.failures);
	CHECK_EQ(heard.err, ERR_PHASE);
	server_say(0, "3\r\none\r\n");
	RUN_UNTIL(heard.pieces);
	CHECK_STR(heard.bytes, "one");
	server_say(0, "3\r\ntwo\r\n0\r\n\r\n"); /* before anybody wants it */
	for (int i = 0; i < 20; i++)
		run_once();
	CHECK_EQ(heard.pieces, 1);
	net_http_read(self_now(), id, 1000);
	RUN_UNTIL(heard.pieces == 2);
	CHECK_STR(heard.bytes, "onetwo");
	CHECK(!heard.end);
	net_http_read(self_now(), id, 1000);
	RUN_UNTIL(heard.pieces == 3);
	CHECK(heard.end);
	net_http_read(self_now(), id, 1000);
	RUN_UNTIL(heard.failures == 2);
	CHECK_EQ(heard.err, ERR_NOT_FOUND);
	end();
}

TEST(a_stream_that_breaks_or_is_left_closes)
{
	begin();
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome";
	uint64_t id = ask((struct net_http_request){.stream = true}, "/watch");

	RUN_UNTIL(heard.responses);
	net_http_read(self_now(), id, 1000);
	RUN_UNTIL(heard.pieces);
	server_hang_up(0);
	net_http_read(self_now(), id, 1000);
	RUN_UNTIL(heard.failures);
	CHECK_EQ(heard.err, ERR_IO);

	id = ask((struct net_http_request){.stream = true}, "/watch"); /* a read in vain */
	RUN_UNTIL(heard.responses == 2);
	net_http_read(self_now(), id, 1000);
	RUN_UNTIL(heard.pieces == 2);
	net_http_read(self_now(), id, 30);
	RUN_UNTIL(heard.failures == 2);
	CHECK_EQ(heard.err, ERR_TIMEOUT);
	RUN_UNTIL(server.closed == 1);

	id = ask((struct net_http_request){.stream = true}, "/watch"); /* cancelled */
	RUN_UNTIL(heard.responses == 3);
	net_http_cancel(self_now(), id);
	RUN_UNTIL(server.closed == 2);

	ask((struct net_http_request){.stream = true}, "/watch"); /* its actor ends */
	RUN_UNTIL(heard.responses == 4);
	actor_stop(self_now(), ERR_OK);
	RUN_UNTIL(server.closed == 3);
	CHECK_EQ(heard.failures, 2);
	end();
}

/* A certificate for 127.0.0.1, signed by itself; its PEM is written to `path` (a template). */
static void use_tls(char *path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	X509V3_CTX context;
	FILE *file = fdopen(mkstemp(path), "w");

	CHECK(key && x509 && file);
	X509_set_version(x509, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
		(const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(x509, X509_get_subject_name(x509));
	X509_set_pubkey(x509, key);
	X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
	X509_EXTENSION *name =
		X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, "IP:127.0.0.1");

	X509_add_ext(x509, name, -1);
	X509_EXTENSION_free(name);
	CHECK(X509_sign(x509, key, EVP_sha256()) > 0);
	PEM_write_X509(file, x509);
	fclose(file);
	server.tls = SSL_CTX_new(TLS_server_method());
	CHECK_EQ(SSL_CTX_use_certificate(server.tls, x509), 1);
	CHECK_EQ(SSL_CTX_use_PrivateKey(server.tls, key), 1);
	X509_free(x509);
	EVP_PKEY_free(key);
}

TEST(certificates_are_checked_unless_told_otherwise)
{
	char path[] = "/tmp/millrace-http-XXXXXX";

	begin();
	signal(SIGPIPE, SIG_IGN); /* as every process of a node does */
	use_tls(path);
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
	ask((struct net_http_request){0}, "/"); /* nobody has signed it */
	RUN_UNTIL(heard.failures);
	CHECK_EQ(heard.err, ERR_CRYPTO);
	CHECK(strstr(heard.text, "certificate"));
	CHECK_EQ(server.requests, 0);
	ask((struct net_http_request){.ca_file = "/nonexistent"}, "/");
	RUN_UNTIL(heard.failures == 2);
	CHECK_EQ(heard.err, ERR_CRYPTO);
	ask((struct net_http_request){.ca_file = path}, "/");
	RUN_UNTIL(heard.responses == 1);
	CHECK_STR(heard.bytes, "secret");
	ask((struct net_http_request){.insecure = true}, "/");
	RUN_UNTIL(heard.responses == 2);
	CHECK_EQ(heard.failures, 2);
	unlink(path);
	end();
}

TEST(no_more_than_the_limit_are_in_flight)
{
	begin();
	for (int i = 0; i < NET_HTTP_FLIGHT_MAX; i++)
		ask((struct net_http_request){.url = "http://127.0.0.1:1/"}, "");
	ask((struct net_http_request){0}, "/one-too-many");
	RUN_UNTIL(heard.failures == 1);
	CHECK_EQ(heard.err, ERR_OVERLOAD);
	RUN_UNTIL(heard.failures == NET_HTTP_FLIGHT_MAX + 1);
	server.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	ask((struct net_http_request){0}, "/again");
	RUN_UNTIL(heard.responses);
	end();
}

TEST(without_memory_a_request_fails_and_nothing_leaks)
{
	begin();
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	for (size_t n = 1; n < 12 && self_now(); n++) {
		unsigned before = heard.responses + heard.failures;

		test_fail_allocation(n);
		ask((struct net_http_request){.headers = {"A: b"}}, "/x");
		/* an actor that cannot be answered ends: then nobody waits */
		RUN_UNTIL(!self_now() || heard.responses + heard.failures > before);
		test_fail_allocation(0);
	}
	end();
}

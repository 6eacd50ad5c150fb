/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS in the loop: real sockets, OpenSSL's client, an actor that knows nothing of it. What epoll
 * says is passed on as wait_and_dispatch does; time is an argument where it matters.
 */
#include "runtime/live_internal.h"
#include "tests/test.h"
#include "tests/unit/tls_rig.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { ASKED_MAX = 4096 };

/* ---- the actor ------------------------------------------------------------------------------- */

struct ear_state {
	uint64_t told;
};

struct ear {
	struct ear_state st; /* first */
};

static const struct field ear_fields[] = {
	{.name = "told", .tag = 1, .kind = FIELD_U64, .offset = 0},
};
static const struct schema ear_schema = {.name = "ear_state",
	.id = 0xf921,
	.size = sizeof(struct ear_state),
	.fields = ear_fields,
	.field_count = 1,
	.use = SCHEMA_STATE};

static struct {
	unsigned told;	 /* times */
	unsigned events; /* enum net_event, all that came */
	size_t at_once;	 /* bytes it reads when told; 0 = none */
	size_t size;
	char bytes[ASKED_MAX];
	long last; /* what the last read gave */
} heard;

static enum err ear_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static void ear_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	(void)data;
	heard.told++;
	heard.events |= events;
	if (heard.at_once && (events & NET_READABLE)) {
		heard.last = net_read(self, socket, heard.bytes + heard.size, heard.at_once);
		heard.size += heard.last > 0 ? (size_t)heard.last : 0;
	}
}

static const struct actor_type ear_actor = {
	.name = "ear",
	.size = sizeof(struct ear),
	.state = &ear_schema,
	.init = ear_init,
	.tcp = ear_tcp,
};

/* ---- a process without a loop ---------------------------------------------------------------- */

struct node {
	struct live live;
	struct process_env env;
	struct process_page page;
	struct config config;
	struct log log;
	struct addr ear;
	uint32_t number; /* of the connection */
	int peer;
	SSL_CTX *client_context;
	SSL *client;
};

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
	.net_read = live_tcp_read,
	.net_write = live_tcp_write,
	.net_want = live_tcp_want,
	.net_close = live_tcp_close,
	.net_broken_reason = live_tls_reason,
};

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context, (void)line, (void)size;
	return true;
}

/* A listener of the loopback, as if the supervisor had given it. */
static int listening_socket(void)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&name, sizeof(name)) && !listen(fd, 8));
	return fd;
}

static void node_begin(struct node **made)
{
	struct node *n = *made = calloc(1, sizeof(*n));
	struct log_sink sink = {.now_us = op_now_us, .write = log_nothing};
	static const struct actor_type *const types[] = {NULL};
	struct config_report report;

	CHECK(n);
	memset(&heard, 0, sizeof(heard));
	config_init(&n->config, &report);
	rig_path("pair.pem", n->config.tls_cert);
	rig_path("pair.key", n->config.tls_key);
	log_init(&n->log, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	memset(&n->env.fd, -1, sizeof(n->env.fd));
	n->env.config = &n->config;
	n->env.page = &n->page;
	n->live.env = &n->env;
	n->live.log = n->log;
	n->live.epoll = epoll_create1(EPOLL_CLOEXEC);
	n->live.listeners = epoll_create1(EPOLL_CLOEXEC);
	n->live.sockets = calloc(LIVE_SOCKETS_MAX, sizeof(*n->live.sockets));
	n->live.socket_fresh = 1 + NET_GIVEN_COUNT;
	live_tls_init(&n->live);
	struct runtime_options options = {.ops = &ops,
		.context = &n->live,
		.log = &n->log,
		.node = 1,
		.block = 1,
		.process = 1,
		.types = types};

	CHECK_OK(runtime_create(&options, &n->live.rt));
	CHECK_OK(actor_spawn(n->live.rt, NULL, &ear_actor, NULL, &n->ear));
	n->peer = -1;
}

/* As live.c takes a given socket. */
static void node_listen(struct node *n, enum net_given what)
{
	CHECK(live_add_socket_at(&n->live, 1 + what, listening_socket(), LIVE_LISTENER, n->ear.id));
	n->live.given[what] = 1 + what;
	live_tls_open(&n->live);
}

/* A pair that is valid today. */
static void make_pair_now(const char *name)
{
	rig_make(name, (struct rig_pair){.now_s = live_real_us() / 1000000});
}

static void node_end(struct node *n)
{
	SSL_free(n->client);
	SSL_CTX_free(n->client_context);
	if (n->peer >= 0)
		close(n->peer);
	runtime_destroy(&n->live.rt);
	live_tls_close(&n->live);
	for (uint32_t i = 1; i < n->live.socket_fresh; i++)
		if (live_socket(&n->live, i))
			close(live_socket(&n->live, i)->fd);
	close(n->live.epoll);
	close(n->live.listeners);
	free(n->live.sockets);
	free(n);
	rig_remove_pair("pair");
	ERR_clear_error();
}

/* One turn of the loop, without waiting. */
static void turn(struct node *n)
{
	struct epoll_event events[8];
	int count = epoll_wait(n->live.epoll, events, 8, 0);

	for (int i = 0; i < count; i++) {
		uint32_t number = (uint32_t)events[i].data.u64 - LIVE_TAG_SOCKETS;

		if (live_socket(&n->live, number) &&
			live_tag(&n->live, number) == events[i].data.u64)
			live_tcp_event(&n->live, number, events[i].events);
	}
	live_tls_run(&n->live, live_now_us());
}

static void connect_client(struct node *n)
{
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	n->peer = pair[1];
	n->number = live_add_socket(&n->live, pair[0], LIVE_CONNECTION, n->ear.id);
	CHECK(n->number);
	CHECK_OK(live_tls_accept(&n->live, n->number, TLS_HTTP));
	n->client_context = SSL_CTX_new(TLS_client_method());
	n->client = SSL_new(n->client_context);
	SSL_set_fd(n->client, n->peer);
	SSL_set_connect_state(n->client);
}

/* A node with a connection whose handshake is complete. */
static void node_connect(struct node **made)
{
	make_pair_now("pair");
	node_begin(made);
	struct node *n = *made;

	node_listen(n, NET_HTTPS);
	CHECK(n->live.tls.context != NULL);
	connect_client(n);
	for (int i = 0; i < 10 && n->live.tls.handshakes == 0; i++) {
		CHECK_EQ(heard.told, 0); /* nothing before that */
		SSL_do_handshake(n->client);
		turn(n);
	}
	CHECK_EQ(n->live.tls.handshakes, 1);
	CHECK(TAILQ_EMPTY(&n->live.tls.hurried));
	while (SSL_do_handshake(n->client) != 1)
		;
}

TEST(an_actor_is_told_when_there_is_something_plain)
{
	struct node *n;

	node_connect(&n);
	heard.at_once = ASKED_MAX;
	turn(n);
	unsigned before = heard.told;
	turn(n);
	CHECK_EQ(heard.told, before);
	CHECK_EQ(SSL_write(n->client, "question", 8), 8);
	turn(n);
	CHECK_EQ(heard.size, 8);
	CHECK_MEM(heard.bytes, "question", 8);
	CHECK(!live_tls_is_ready(&n->live));

	/* a plain write, of which the loop needs to know nothing */
	struct iovec part = {"answer", 6};
	char text[16];
	CHECK_EQ(live_tcp_write(&n->live, n->number, &part, 1), 6);
	CHECK_EQ(SSL_read(n->client, text, sizeof(text)), 6);
	node_end(n);
}

/* No descriptor tells of what lies in a record that was read in part. */
TEST(the_rest_of_a_record_is_told_of)
{
	char long_question[1000];
	struct node *n;

	memset(long_question, 'q', sizeof(long_question));
	node_connect(&n);
	heard.at_once = 300;
	CHECK_EQ(SSL_write(n->client, long_question, sizeof(long_question)), sizeof(long_question));
	for (int i = 0; i < 3; i++) {
		turn(n);
		CHECK(live_tls_is_ready(&n->live) == (heard.size < sizeof(long_question)));
	}
	CHECK_EQ(heard.size, sizeof(long_question));

	/* who wants nothing is left alone, and told when that changes */
	CHECK_EQ(SSL_write(n->client, long_question, sizeof(long_question)), sizeof(long_question));
	turn(n);
	live_tcp_want(&n->live, n->number, 0);
	unsigned before = heard.told;
	turn(n);
	turn(n);
	CHECK_EQ(heard.told, before);
	CHECK(!live_tls_is_ready(&n->live));
	live_tcp_want(&n->live, n->number, NET_READABLE);
	CHECK(live_tls_is_ready(&n->live));
	turn(n);
	CHECK(heard.told > before);
	node_end(n);
}

TEST(what_was_written_arrives_after_a_close)
{
	static uint8_t sent[65536], seen[65536];
	struct iovec part = {sent, sizeof(sent)};
	size_t taken = 0, got = 0;
	struct node *n;
	long size;
	int more;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i % 251);
	node_connect(&n);
	int small = 4096;
	setsockopt(
		live_socket(&n->live, n->number)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	while ((size = live_tcp_write(&n->live, n->number, &part, 1)) > 0) {
		taken += (size_t)size;
		part = (struct iovec){sent + taken, sizeof(sent) - taken};
		CHECK(taken < sizeof(sent));
	}
	CHECK_EQ(size, -1);
	live_tcp_close(&n->live, n->number);
	CHECK_EQ(n->live.tls.lingering, 1);
	for (int i = 0; i < 1000 && n->live.tls.lingering; i++) {
		while ((more = SSL_read(n->client, seen + got, (int)(sizeof(seen) - got))) > 0)
			got += (size_t)more;
		turn(n);
	}
	while ((more = SSL_read(n->client, seen + got, (int)(sizeof(seen) - got))) > 0)
		got += (size_t)more;
	CHECK_EQ(SSL_get_error(n->client, more), SSL_ERROR_ZERO_RETURN); /* and a goodbye */
	CHECK_EQ(got, taken);
	CHECK_MEM(sent, seen, taken);
	CHECK_EQ(heard.told, 1); /* of the handshake's end alone */
	CHECK(live_socket(&n->live, n->number) == NULL);
	node_end(n);
}

TEST(nobody_lingers_for_ever)
{
	static uint8_t sent[1 << 20];
	struct iovec part = {sent, sizeof(sent)};
	struct node *n;

	node_connect(&n);
	while (live_tcp_write(&n->live, n->number, &part, 1) > 0)
		;
	live_tcp_close(&n->live, n->number);
	CHECK_EQ(n->live.tls.lingering, 1);
	live_tls_run(&n->live, live_now_us() + TLS_HANDSHAKE_US / 2);
	CHECK_EQ(n->live.tls.lingering, 1);
	live_tls_run(&n->live, live_now_us() + TLS_HANDSHAKE_US + 1);
	CHECK_EQ(n->live.tls.lingering, 0);
	CHECK(live_socket(&n->live, n->number) == NULL);
	CHECK(TAILQ_EMPTY(&n->live.tls.hurried));
	node_end(n);
}

TEST(a_client_that_never_comes_to_the_point)
{
	struct node *n;

	make_pair_now("pair");
	node_begin(&n);
	node_listen(n, NET_HTTPS);
	connect_client(n);
	heard.at_once = 16;
	turn(n);
	live_tls_run(&n->live, live_now_us() + TLS_HANDSHAKE_US / 2);
	CHECK_EQ(heard.told, 0);
	live_tls_run(&n->live, live_now_us() + TLS_HANDSHAKE_US + 1);
	CHECK_EQ(heard.told, 1);
	CHECK(heard.events & NET_CLOSED);
	CHECK_EQ(heard.last, -2);
	CHECK_EQ(n->live.tls.failed, 1);
	live_tcp_close(&n->live, n->number);
	node_end(n);
}

TEST(garbage_ends_in_a_broken_connection)
{
	struct node *n;

	make_pair_now("pair");
	node_begin(&n);
	node_listen(n, NET_HTTPS);
	connect_client(n);
	heard.at_once = 16;
	CHECK_EQ(send(n->peer, "garbage, garbage, garbage", 25, 0), 25);
	turn(n);
	CHECK_EQ(heard.told, 1);
	CHECK_EQ(heard.last, -2);
	CHECK_EQ(n->live.tls.failed, 1);
	live_tcp_close(&n->live, n->number);
	CHECK_EQ(n->live.tls.lingering, 0);
	node_end(n);
}

TEST(no_memory_for_a_connection)
{
	struct node *n;
	int pair[2];

	make_pair_now("pair");
	node_begin(&n);
	node_listen(n, NET_RTMPS);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	uint32_t number = live_add_socket(&n->live, pair[0], LIVE_CONNECTION, n->ear.id);
	test_fail_allocation(1);
	CHECK_EQ(live_tls_accept(&n->live, number, TLS_RTMP), ERR_NO_MEMORY);
	test_fail_allocation(0);
	CHECK(live_socket(&n->live, number)->tls == NULL);
	live_tcp_close(&n->live, number);
	close(pair[1]);
	node_end(n);
}

/* Without a pair nothing is accepted; one that appears is found, and one that is broken not taken. */
TEST(a_pair_that_comes_and_changes)
{
	struct node *n;
	int64_t now_us = 0;

	node_begin(&n);
	node_listen(n, NET_HTTPS);
	struct live_socket *listener = live_socket(&n->live, 1 + NET_HTTPS);

	CHECK(n->live.tls.context == NULL);
	CHECK(listener->resting);
	live_tcp_wake_listeners(&n->live, INT64_MAX);
	n->live.listeners_rest_until_us = 1; /* as after a lack of descriptors */
	live_tcp_wake_listeners(&n->live, INT64_MAX);
	CHECK(listener->resting);

	make_pair_now("pair");
	live_tls_look(&n->live, now_us += 1000000); /* seen, and … */
	CHECK(n->live.tls.context == NULL);
	live_tls_look(&n->live, now_us += 1000); /* … too soon */
	CHECK(n->live.tls.context == NULL);
	live_tls_look(&n->live, now_us += 1000000); /* … as it was */
	CHECK(n->live.tls.context != NULL);
	CHECK(!listener->resting);

	struct tls_context *first = n->live.tls.context;
	make_pair_now("other");
	char from[PATH_SIZE], to[PATH_SIZE];
	CHECK_EQ(rename(rig_path("other.key", from), rig_path("pair.key", to)), 0);
	for (int i = 0; i < 3; i++)
		live_tls_look(&n->live, now_us += 1000000);
	CHECK(n->live.tls.context == first); /* not its key */
	CHECK_EQ(rename(rig_path("other.pem", from), rig_path("pair.pem", to)), 0);
	atomic_fetch_add(&n->page.reloads, 1);
	live_tls_reload(&n->live); /* SIGHUP: at once */
	CHECK(n->live.tls.context != NULL && n->live.tls.context != first);
	first = n->live.tls.context;
	live_tls_reload(&n->live);
	CHECK(n->live.tls.context == first);
	node_end(n);
}

/* ---- the client's end ------------------------------------------------------------------------ */

/* A server of OpenSSL's, to which a connection of ours has been begun. */
static void node_reach_out(struct node **made, const struct net_tls *how)
{
	struct sockaddr_in name;
	socklen_t size = sizeof(name);
	struct net_addr to = {
		.family = 4, .transport = NET_TCP, .ip = {127, 0, 0, 1}
	       };
	int listener = listening_socket(), one = 1;
	char path[PATH_SIZE];

	make_pair_now("pair");
	node_begin(made);
	struct node *n = *made;

	CHECK(!getsockname(listener, (struct sockaddr *)&name, &size));
	to.port = ntohs(name.sin_port);
	n->number = live_tcp_connect(&n->live, n->ear.id, &to, how);
	CHECK(n->number);
	n->peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(n->peer >= 0 && !setsockopt(n->peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	close(listener);
	n->client_context = SSL_CTX_new(TLS_server_method());
	CHECK(SSL_CTX_use_certificate_file(
		n->client_context, rig_path("pair.pem", path), SSL_FILETYPE_PEM));
	CHECK(SSL_CTX_use_PrivateKey_file(
		n->client_context, rig_path("pair.key", path), SSL_FILETYPE_PEM));
	n->client = SSL_new(n->client_context);
	SSL_set_fd(n->client, n->peer);
	SSL_set_accept_state(n->client);
}

TEST(a_server_must_prove_who_it_is)
{
	char own[PATH_SIZE];
	const struct {
		struct net_tls how;
		const char *asked;  /* the name that the server hears, NULL = none */
		const char *reason; /* NULL = the connection stands */
	} rows[] = {
		{{"pair", own, false},      "pair",  NULL			   },
		{{"other", own, false},	"other", "hostname mismatch"	    },
		{{"127.0.0.1", own, false}, NULL,	  "IP address mismatch"    },
		{{"::1", own, false},	      NULL,    "IP address mismatch"	 },
		{{"pair", NULL, false},	"pair",	"self-signed certificate"},
		{{"other", NULL, true},	"other", NULL		     },
		{{"127.0.0.1", NULL, true}, NULL,	  NULL		      },
	};

	rig_path("pair.pem", own);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct iovec part = {"question", 8};
		char text[16];
		struct node *n;

		node_reach_out(&n, &rows[i].how);
		heard.at_once = ASKED_MAX;
		for (int k = 0; k < 20; k++) {
			turn(n);
			SSL_do_handshake(n->client);
			CHECK(!heard.told || n->live.tls.handshakes || n->live.tls.failed);
		}
		const char *asked = SSL_get_servername(n->client, TLSEXT_NAMETYPE_host_name);

		CHECK_STR(asked ? asked : "", rows[i].asked ? rows[i].asked : "");
		CHECK_STR(
			live_tls_reason(&n->live, n->number), rows[i].reason ? rows[i].reason : "");
		if (rows[i].reason) {
			CHECK(heard.events & NET_CLOSED);
			CHECK_EQ(heard.last, -2);
		} else {
			CHECK(heard.events & NET_WRITABLE);
			CHECK_EQ(live_tcp_write(&n->live, n->number, &part, 1), 8);
			CHECK_EQ(SSL_read(n->client, text, sizeof(text)), 8);
			CHECK_EQ(SSL_write(n->client, "answer", 6), 6);
			turn(n);
			CHECK_EQ(heard.size, 6);
		}
		node_end(n);
	}
}

TEST(a_server_that_says_nothing_is_given_up)
{
	static const struct net_tls any = {"pair", NULL, true};
	struct node *n;

	node_reach_out(&n, &any);
	for (int i = 0; i < 5; i++)
		turn(n);
	CHECK_EQ(heard.told, 0);
	live_tls_run(&n->live, live_now_us() + TLS_HANDSHAKE_US);
	CHECK(heard.events & NET_CLOSED);
	CHECK_STR(live_tls_reason(&n->live, n->number), "the handshake took too long");
	node_end(n);
}

TEST(a_file_of_nobody_to_trust)
{
	struct net_addr to = {
		.family = 4, .transport = NET_TCP, .port = 9, .ip = {127, 0, 0, 1}
	  };
	const struct net_tls how = {"pair", "/nonexistent.pem", false};
	struct node *n;

	make_pair_now("pair");
	node_begin(&n);
	CHECK_EQ(live_tcp_connect(&n->live, n->ear.id, &to, &how), 0);
	node_end(n);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Callbacks in the real kernel, where memory is short: whichever allocation fails, who asked hears
 * something, the server never gets half a document, and nothing stays behind.
 */
#include "actors/callback/callback.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/test.h"

#include <jansson.h>
#include <stdlib.h>

enum { TURNS = 8, TIMEOUT_MS = 3000, UNDER_WAY_MAX = 4 };

static int64_t now_us;
static struct runtime *rt;
static struct log quiet;
static struct config config;
static struct {
	uint64_t request[UNDER_WAY_MAX];
	unsigned under_way, asked, told, half;
} server;

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

static enum err op_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context, (void)process, (void)parts, (void)count;
	return ERR_OK;
}

static enum err op_http_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what)
{
	const char *body = what->body;

	(void)context, (void)owner;
	CHECK(server.under_way < UNDER_WAY_MAX);
	server.request[server.under_way++] = request;
	server.half += what->body_size < 2 || body[0] != '{' || body[what->body_size - 1] != '}';
	*(strstr(what->url, "told") ? &server.told : &server.asked) += 1;
	return ERR_OK;
}

static const struct runtime_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_now_us,
	.random = op_random,
	.bus_send = op_bus_send,
	.http_start = op_http_start,
};

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context, (void)line, (void)size;
	return true;
}

/* ---- a session ------------------------------------------------------------------------------- */

struct session {
	struct placement_state st; /* of no interest */

	struct addr callback;
	unsigned allowed, failed;
	enum err err;
	char why[128];
};

ON(session, callback_allowed)
{
	s->allowed++;
	s->callback = m->callback;
	return ERR_OK;
}

ON(session, failed)
{
	const char *why;

	s->failed++;
	s->err = callback_failed(self, m, &why);
	snprintf(s->why, sizeof s->why, "%s", why);
	return ERR_OK;
}

static enum err session_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler session_handlers[] = {
	HANDLER(session, callback_allowed, 0),
	HANDLER(session, failed, 0),
};

static const struct actor_type session_actor = {
	.name = "session",
	.size = sizeof(struct session),
	.state = &schema_placement_state,
	HANDLER_TABLE(session_handlers),
	.init = session_init,
};

/* ---- one process ----------------------------------------------------------------------------- */

static void take_data(struct actor *self, void *data, void *context)
{
	(void)self;
	*(void **)context = data;
}

static void set(const char *key, const char *value)
{
	struct config_report report;

	CHECK_OK(config_set(&config, key, value, CONFIG_FROM_FLAG, "test", &report));
}

static void begin(void)
{
	static const struct actor_type *const types[] = {
		&callback_office_actor, &callback_actor, &callback_ticket_actor, NULL};
	struct log_sink sink = {.now_us = op_now_us, .write = log_nothing};
	struct config_report report;
	struct runtime_options options = {.ops = &ops,
		.config = &config,
		.log = &quiet,
		.node = 1,
		.block = 1,
		.process = 1,
		.role = PROCESS_CONTROL,
		.types = types};

	now_us = 1000000;
	memset(&server, 0, sizeof(server));
	config_init(&config, &report);
	set("callback.on_publish", "http://127.0.0.1/asked");
	set("callback.on_unpublish", "http://127.0.0.1/told");
	set("callback.token", "a secret of tests");
	log_init(&quiet, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	CHECK_OK(runtime_create(&options, &rt));
	CHECK_OK(actor_spawn_office(rt, OFFICE_CALLBACK, &callback_office_actor, NULL));
}

static void run_ms(int64_t ms)
{
	now_us += ms * 1000;
	runtime_tick(rt);
	for (int i = 0; i < TURNS; i++)
		runtime_turn(rt);
}

static void server_answers(uint16_t status)
{
	struct msg_http_response response = {.status = status};

	while (server.under_way)
		runtime_http_response(rt, server.request[--server.under_way], &response);
	run_ms(0);
}

static const struct callback_office_state *office(void)
{
	struct actor_facts facts;

	runtime_facts(
		runtime_find(rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_CALLBACK), &facts);
	return facts.state;
}

/* NULL: it has ended, as the kernel has it for who cannot be told of an answer. */
static const struct session *mind(struct addr who)
{
	void *data = NULL;

	return actor_call(rt, who, &session_actor, take_data, &data) ? data : NULL;
}

static struct addr session(void)
{
	struct addr who;

	CHECK_OK(actor_spawn(rt, NULL, &session_actor, NULL, &who));
	return who;
}

/* It asks and is answered. */
static void come(struct addr who)
{
	struct msg_callback_ask ask = {
		.stream_name = "live/a", .client = "192.0.2.7:5", .protocol = "rtmp"};
	struct addr ticket;

	callback_ask(runtime_find(rt, who.id), &ask, &ticket);
	run_ms(0);
	server_answers(200);
	run_ms(4 * TIMEOUT_MS); /* what went astray is given up */
	server_answers(200);
}

static void go(struct addr who)
{
	if (mind(who))
		actor_stop(runtime_find(rt, who.id), ERR_OK);
	for (int i = 0; i < 8; i++) {
		run_ms(i * 1000);
		server_answers(200);
	}
}

static void end(void)
{
	CHECK_EQ(server.half, 0);
	CHECK_EQ(office()->open, 0);
	CHECK_EQ(office()->asking, 0);
	CHECK_EQ(office()->line_count, 0);
	CHECK_EQ(office()->asked, office()->allowed + office()->unanswered);
	runtime_destroy(&rt);
}

TEST(without_memory_who_asks_hears_so)
{
	unsigned refused = 0;
	bool any = true;

	json_set_alloc_funcs(malloc, free); /* the library's calls count, too */
	for (size_t n = 1; any; n++) {
		begin();
		struct addr who = session();

		test_fail_allocation(n);
		come(who);
		any = test_fail_allocation(0) >= n;
		const struct session *s = mind(who);

		CHECK(!s || s->allowed + s->failed == 1);
		CHECK(!s || s->allowed || (s->err == ERR_OVERLOAD && s->why[0]));
		refused += s ? s->failed : 0;
		go(who);
		who = session();
		come(who);
		CHECK_EQ(mind(who)->allowed, 1);
		go(who);
		CHECK_GE(server.told, 1);
		end();
	}
	CHECK_GE(refused, 10);
}

TEST(without_memory_who_has_gone_is_told_of)
{
	bool any = true;

	json_set_alloc_funcs(malloc, free);
	for (size_t n = 1; any; n++) {
		begin();
		struct addr who = session();

		come(who);
		CHECK_EQ(mind(who)->allowed, 1);
		test_fail_allocation(n);
		go(who);
		any = test_fail_allocation(0) >= n;
		CHECK_EQ(server.told, 1);
		end();
	}
}

TEST(silence_is_told_the_same_whoever_notices_it)
{
	static const struct msg_failed noticed[] = {
		{.err = ERR_OVERLOAD, .text = "the callback server does not answer"},
		{.err = ERR_TIMEOUT		   }, /* the session's own deadline was first */
		{.err = ERR_CLOSED}, /* the control process died */
	};
	const char *why;

	begin();
	struct addr who = session();

	for (size_t i = 0; i < sizeof noticed / sizeof *noticed; i++) {
		CHECK_EQ(
			callback_failed(runtime_find(rt, who.id), &noticed[i], &why), ERR_OVERLOAD);
		CHECK_STR(why, "the callback server does not answer");
	}
	end();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * api.port, from the request to SRS' document, and where memory is short: whichever allocation
 * fails, a tool gets the whole answer, an error, or nothing, never a list with rows left out.
 */
#include "actors/http/http_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "tests/unit/tcp_worker.h"

#include <jansson.h>

enum { PATIENCE_MS = 40000 };

/* ---- the console ----------------------------------------------------------------------------- */

static const char streams_json[] =
	"{\"streams\":[{\"name\":\"live/a\",\"publisher\":\"1/1\",\"age_ms\":7000,\"viewers\":2,"
	"\"bitrate_bps\":2000000,\"frames\":210,\"bytes_in\":1750000,\"bytes_out\":5000000000,"
	"\"tracks\":[{\"kind\":\"video\",\"codec\":\"H265\",\"width\":640,"
	"\"height\":360},{\"kind\":\"audio\",\"codec\":\"OPUS\",\"clock_rate\":48000,\"channels\":"
	"2}]},"
	"{\"name\":\"live/b\",\"publisher\":\"\",\"age_ms\":1,\"viewers\":0,\"bitrate_bps\":0,"
	"\"tracks\":[]}],\"truncated\":true}";
static const char sessions_json[] =
	"{\"sessions\":[{\"id\":\"1/1\",\"stream\":\"live/a\",\"protocol\":\"rtmp\",\"play\":false,"
	"\"client\":\"192.0.2.7:5\",\"age_ms\":7000,\"bitrate_bps\":2000000,\"bytes\":1750000},"
	"{\"id\":\"1/2\",\"stream\":\"live/a\",\"protocol\":\"whep\",\"play\":true,"
	"\"client\":\"[2001:db8::1]:5\",\"age_ms\":10,\"bitrate_bps\":1000000,\"bytes\":6000000000}"
	"]}";

struct console {
	struct placement_state st; /* of no interest */
};

ON(console, console_query)
{
	bool streams = memmem(m->command.data, m->command.size, "streams", 7) != NULL;
	const char *json = streams ? streams_json : sessions_json;

	return actor_reply(self, console_answer,
		{
			.json = {json, (uint32_t)strlen(json)}
	      });
}

static enum err console_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler console_handlers[] = {HANDLER(console, console_query, 0)};

static const struct actor_type console_stand_in = {
	.name = "console",
	.size = sizeof(struct console),
	.state = &schema_placement_state,
	HANDLER_TABLE(console_handlers),
	.init = console_init,
};

/* ---- one process ----------------------------------------------------------------------------- */

static const struct actor_type *const types[] = {
	&http_office_actor, &http_connection_actor, &flv_mux_actor, NULL};

static void begin(void)
{
	struct arena_layout layout = {
		.count = {4, 1, 2, 1}
	     };
	const struct net_addr peer = {
		.family = 4, .transport = NET_TCP, .port = 5, .ip = {127, 0, 0, 1}
	  };

	role = PROCESS_CONTROL;
	worker_begin(&layout, NET_API, types);
	CHECK_OK(actor_spawn_office(rt, OFFICE_CONSOLE, &console_stand_in, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_HTTP, &http_office_actor, NULL));
	runtime_net_accepted(
		rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_HTTP, LISTENER, SOCKET, &peer);
	turn(0);
}

static void end(void)
{
	struct arena_usage usage;

	runtime_destroy(&rt);
	arena_usage(arena, &usage);
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		CHECK_EQ(usage.used[i], 0);
	worker_end();
}

static void ask(const char *path)
{
	wire_end = (size_t)snprintf(
		(char *)wire, sizeof(wire), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	turn(NET_READABLE);
}

static bool answered(const char *text)
{
	return strstr(answers, text) != NULL;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static const char *const paths[] = {"/api/v1/versions", "/api/v1/summaries", "/api/v1/streams/",
	"/api/v1/streams?start=1&count=1", "/api/v1/clients/"};

TEST(the_lists_of_the_console_in_other_words)
{
	begin();
	ask("/api/v1/streams");
	CHECK(answered("HTTP/1.1 200 ") && answered("\"code\":0,"));
	CHECK(answered("\"id\":\"live/a\",\"name\":\"a\",\"app\":\"live\",\"live_ms\":7000,"
		       "\"clients\":3,"));
	CHECK(answered("\"frames\":210,\"send_bytes\":5000000000,\"recv_bytes\":1750000,\"kbps\""));
	CHECK(answered("\"recv_30s\":2000,") && answered("\"active\":true,\"cid\":\"1/1\""));
	CHECK(answered("\"codec\":\"HEVC\"") && answered("\"codec\":\"Opus\""));
	CHECK(answered("\"id\":\"live/b\"") && answered("\"video\":null,\"audio\":null"));
	CHECK(answered("\"truncated\":true"));
	end();
	begin();
	ask("/api/v1/clients/");
	CHECK(answered("\"ip\":\"192.0.2.7\"") && answered("\"type\":\"fmle-publish\""));
	CHECK(answered("\"ip\":\"2001:db8::1\"") && answered("\"type\":\"rtc-play\""));
	CHECK(answered("\"send_bytes\":0,\"recv_bytes\":1750000,"));
	CHECK(answered("\"send_bytes\":6000000000,\"recv_bytes\":0,"));
	CHECK(!answered("truncated"));
	end();
}

TEST(without_memory_the_answer_is_whole_or_none)
{
	static char whole[ANSWER_SIZE];

	json_set_alloc_funcs(malloc, free); /* the library's calls count, too */
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		size_t failed = 0;
		bool any =
			true; /* fewer allocations than n: none of them failed, that is the end */

		begin();
		ask(paths[i]);
		CHECK(answered("HTTP/1.1 200 "));
		memcpy(whole, answers, answer_size + 1);
		end();
		for (size_t n = 1; any; n++) {
			begin();
			test_fail_allocation(n);
			ask(paths[i]);
			run_ms(PATIENCE_MS);
			any = test_fail_allocation(0) >= n;
			if (strcmp(answers, whole) != 0) {
				CHECK(answered("HTTP/1.1 50") || (closed && !answer_size));
				failed++;
			}
			end();
		}
		CHECK_GE(failed, 30);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Simulated web servers: an actor that asks one, whole answers and a stream.
 */
#include "tests/sim/sim.h"
#include "tests/test.h"

struct reader_actor {
	struct placement_state st;

	unsigned responses, failures, pieces;
	uint16_t status;
	uint64_t stream;
	uint8_t err;
	bool end;
	char bytes[64];
	size_t size;
};

ON(reader_actor, http_response)
{
	s->responses++;
	s->status = m->status;
	s->stream = m->stream;
	CHECK(m->stream || m->body.size == 2);
	CHECK_EQ(net_http_header(m, "etag").size, 3);
	if (m->stream)
		net_http_read(self, m->stream, 60000);
	return ERR_OK;
}

ON(reader_actor, http_piece)
{
	s->pieces++;
	memcpy(s->bytes + s->size, m->bytes.data, m->bytes.size);
	s->size += m->bytes.size;
	s->end = m->end;
	if (!m->end)
		net_http_read(self, s->stream, 60000);
	return ERR_OK;
}

ON(reader_actor, failed)
{
	s->failures++;
	s->err = m->err;
	return ERR_OK;
}

static enum err reader_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler reader_handlers[] = {
	HANDLER(reader_actor, http_response, 0),
	HANDLER(reader_actor, http_piece, 0),
	HANDLER(reader_actor, failed, 0),
};

static const struct actor_type reader_type = {
	.name = "reader",
	.size = sizeof(struct reader_actor),
	.state = &schema_placement_state,
	HANDLER_TABLE(reader_handlers),
	.init = reader_init,
};

static struct sim_web_request asked; /* the last one */

static void serve(
	struct sim *sim, const struct sim_web_request *request, struct sim_web_answer *answer)
{
	(void)sim;
	asked = *request;
	CHECK_STR(request->method, "GET");
	if (strstr(request->url, "/dead"))
		return;
	*answer =
		(struct sim_web_answer){.status = 200, .headers = "ETag: \"1\"\r\n", .body = "ok"};
}

static struct sim *sim;
static struct addr addr;

static void begin(bool faults)
{
	struct sim_options options = {.seed = 4, .scenario = "calm"};

	sim = sim_create(&options);
	sim->faults_on = faults;
	sim_web_serve(sim, serve);
	CHECK_OK(actor_spawn(sim->processes[1].rt, NULL, &reader_type, NULL, &addr));
}

static struct actor *self_now(void)
{
	return runtime_find(sim->processes[1].rt, addr.id);
}

static struct reader_actor *reader_now(void)
{
	return actor_data(self_now());
}

static void ask(const char *url, bool stream)
{
	struct net_http_request request = {.url = url, .timeout_ms = 1000, .stream = stream};

	net_http(self_now(), &request);
	sim_run_until(sim, sim->now_us + 20 * SIM_MS);
}

TEST(an_answer_or_a_failure_comes)
{
	begin(false);
	ask("http://a/", false);
	CHECK_EQ(reader_now()->responses, 1);
	CHECK_EQ(reader_now()->status, 200);
	ask("http://a/dead", false);
	CHECK_EQ(reader_now()->failures, 1);
	CHECK_EQ(reader_now()->err, ERR_DEAD);
	sim_destroy(&sim);
}

TEST(a_stream_is_pushed_and_ends)
{
	begin(false);
	ask("http://a/watch", true);
	struct sim_web_request watch = asked;

	CHECK_EQ(reader_now()->responses, 1);
	CHECK(sim_web_push(sim, &watch, "one", false));
	sim_run_until(sim, sim->now_us + 20 * SIM_MS);
	CHECK(sim_web_push(sim, &watch, "two", true));
	sim_run_until(sim, sim->now_us + 20 * SIM_MS);
	CHECK(reader_now()->end);
	CHECK_EQ(reader_now()->size, 6);
	CHECK_MEM(reader_now()->bytes, "onetwo", 6);
	CHECK(!sim_web_push(sim, &watch, "late", false));

	ask("http://a/watch", true);
	watch = asked;
	sim_kill_process(sim, 1, false);
	CHECK(!sim_web_push(sim, &watch, "to nobody", false));
	sim_destroy(&sim);
}

TEST(lost_requests_meet_their_deadline)
{
	begin(true);
	sim->chaos_until_us = sim->now_us + 100000 * SIM_MS;
	for (int i = 0; i < 100; i++)
		ask("http://a/", false);
	sim_run_until(sim, sim->now_us + 2000 * SIM_MS);
	CHECK_GE(reader_now()->failures, 1);
	CHECK_EQ(reader_now()->err, ERR_TIMEOUT);
	CHECK_EQ(reader_now()->failures + reader_now()->responses, 100);
	sim_destroy(&sim);
}

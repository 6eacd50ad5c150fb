/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: life of the clients outside of the node. What they say is in sim_rtmp.c and sim_http.c.
 */
#include "tests/sim/sim_edges.h"

#include "actors/http/http_actor.h"
#include "actors/rtmp/rtmp_actor.h"
#include "cluster/cluster.h"
#include "runtime/kernel.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	READ_SIZE = 16384, /* a client takes so much a tick */
	RETRY_MIN_MS = 20,
	RETRY_MAX_MS = 300,
	DEAF_MAX_MS = 3000,
	RECENT_US = 1500 * SIM_MS, /* a picture in a live stream's reader */
};

void sim_edge_name(const struct sim_edge *edge, char *name, size_t size)
{
	snprintf(name, size, "live/e%u", edge->stream);
}

void sim_edge_write(struct sim *sim, struct sim_edge *edge, const void *bytes, size_t size)
{
	sim_client_write(sim, edge->client, bytes, size);
}

/* ---- marks in payloads ------------------------------------------------------------------------- */

static void write_hex(uint8_t out[8], uint32_t value)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t) "0123456789abcdef"[value >> (28 - 4 * i) & 15];
}

static uint32_t read_hex(const uint8_t *in)
{
	uint32_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 4 | (uint32_t)(in[i] <= '9' ? in[i] - '0' : in[i] - 'a' + 10);
	return value;
}

void sim_mark_write(const struct sim_mark *mark, uint8_t out[SIM_STAMP_SIZE])
{
	memcpy(out, "STMP", 4);
	write_hex(out + 4, mark->publisher);
	write_hex(out + 12, mark->number);
	write_hex(out + 20, mark->ms);
}

bool sim_mark_find(const uint8_t *bytes, size_t size, struct sim_mark *mark)
{
	const uint8_t *at = memmem(bytes, size, "STMP", 4);

	if (!at || (size_t)(bytes + size - at) < SIM_STAMP_SIZE)
		return false;
	*mark = (struct sim_mark){read_hex(at + 4), read_hex(at + 12), read_hex(at + 20)};
	return true;
}

/* ---- connections ------------------------------------------------------------------------------- */

static void connect_edge(struct sim *sim, struct sim_edge *edge)
{
	uint32_t slot = edge->kind->listener == NET_REPL ? 0 : 1 + edge->worker % sim->workers;

	edge->retry_us = sim->now_us + rng_between(&sim->rng, RETRY_MIN_MS, RETRY_MAX_MS) * SIM_MS;
	if (!sim->processes[slot].alive || sim->processes[slot].paused_until_us > sim->now_us)
		return;
	edge->client = sim_client_connect(sim, slot, edge->kind->listener);
	if (!edge->client) { /* the listener is shared: whoever does not rest takes it */
		edge->worker++;
		return;
	}
	sim_note(sim, edge->kind->name, edge->stream, edge->client);
	edge->connected_us = sim->now_us;
	edge->in_size = 0;
	edge->kind->begin(sim, edge);
}

static void disconnect(struct sim *sim, struct sim_edge *edge)
{
	sim_note(sim, "gone", edge->stream, edge->client);
	sim_client_close(sim, edge->client);
	edge->client = 0;
	edge->retry_us = sim->now_us + rng_between(&sim->rng, RETRY_MIN_MS, RETRY_MAX_MS) * SIM_MS;
}

static void read_edge(struct sim *sim, struct sim_edge *edge)
{
	if (edge->in_size + READ_SIZE > edge->in_capacity) {
		edge->in_capacity = edge->in_size + 2 * READ_SIZE;
		edge->in = realloc(edge->in, edge->in_capacity);
		MUST(edge->in);
	}
	edge->in_size += sim_client_read(sim, edge->client, edge->in + edge->in_size, READ_SIZE);
	size_t used = edge->kind->input(sim, edge);

	MUST(used <= edge->in_size);
	memmove(edge->in, edge->in + used, edge->in_size - used);
	edge->in_size -= used;
}

static void run_edge(struct sim *sim, struct sim_edge *edge)
{
	if (!edge->client) {
		if (edge->wanted && sim->now_us >= edge->retry_us)
			connect_edge(sim, edge);
		return;
	}
	if (sim->now_us >= edge->deaf_until_us)
		read_edge(sim, edge);
	if (!sim_client_is_open(sim, edge->client) || !edge->wanted)
		disconnect(sim, edge);
	else
		edge->kind->tick(sim, edge);
}

static void tick(struct sim *sim, uint64_t argument)
{
	bool any = false;

	(void)argument;
	for (int i = 0; i < SIM_EDGES_MAX && !sim->failed; i++) {
		struct sim_edge *edge = &sim->edges->edge[i];

		if (edge->kind)
			run_edge(sim, edge);
		any = any || edge->client || edge->wanted;
	}
	if (any)
		sim_at(sim, sim->now_us + SIM_EDGE_TICK_MS * SIM_MS, tick, 0);
}

/* ---- who there is ------------------------------------------------------------------------------ */

static void add_edge(struct sim *sim, const struct sim_edge_kind *kind, uint32_t stream)
{
	for (int i = 0; i < SIM_EDGES_MAX; i++) {
		struct sim_edge *edge = &sim->edges->edge[i];

		if (edge->kind)
			continue;
		*edge = (struct sim_edge){
			.kind = kind,
			.wanted = true,
			.stream = (uint8_t)stream,
			.worker = (uint32_t)rng_below(&sim->rng, sim->workers),
			.retry_us = sim->now_us + rng_between(&sim->rng, 0, 500 * SIM_MS),
		};
		return;
	}
}

void sim_edges_begin(struct sim *sim)
{
	const struct sim_scenario *scenario = sim->scenario;

	if (!sim->edges)
		return;
	for (uint32_t stream = 0; stream < scenario->edge_streams; stream++)
		add_edge(sim, &sim_rtmp_kind, stream);
	for (uint32_t i = 0; i < scenario->edge_readers; i++)
		add_edge(sim, &sim_flv_kind, i % scenario->edge_streams);
	for (uint32_t i = 0; i < scenario->edge_askers; i++)
		add_edge(sim, &sim_asker_kind, i % scenario->edge_streams);
	for (uint32_t i = 0; i < scenario->consoles; i++)
		add_edge(sim, &sim_console_kind, 0);
	tick(sim, 0);
}

static struct sim_edge *pick(struct sim *sim)
{
	size_t from = rng_below(&sim->rng, SIM_EDGES_MAX);

	for (size_t i = 0; i < SIM_EDGES_MAX; i++) {
		struct sim_edge *edge = &sim->edges->edge[(from + i) % SIM_EDGES_MAX];

		if (edge->kind && edge->client)
			return edge;
	}
	return NULL;
}

static void say_rubbish(struct sim *sim, struct sim_edge *edge)
{
	uint8_t bytes[512];

	if (edge->kind->rubbish) {
		edge->kind->rubbish(sim, edge);
		return;
	}
	rng_fill(&sim->rng, bytes, sizeof(bytes));
	sim_edge_write(sim, edge, bytes, (size_t)rng_between(&sim->rng, 1, sizeof(bytes)));
}

void sim_edges_act(struct sim *sim)
{
	struct sim_edge *edge = pick(sim);

	if (!edge)
		return;
	switch (rng_below(&sim->rng, 4)) {
	case 0: disconnect(sim, edge); break; /* in the middle of whatever it was saying */
	case 1:				      /* and comes back elsewhere */
		disconnect(sim, edge);
		edge->worker++;
		break;
	case 2:
		edge->deaf_until_us = sim->now_us + rng_between(&sim->rng, 1, DEAF_MAX_MS) * SIM_MS;
		break;
	default: say_rubbish(sim, edge);
	}
}

void sim_edges_calm(struct sim *sim)
{
	for (int i = 0; sim->edges && i < SIM_EDGES_MAX; i++)
		sim->edges->edge[i].deaf_until_us = 0;
}

void sim_edges_leave(struct sim *sim)
{
	for (int i = 0; sim->edges && i < SIM_EDGES_MAX; i++)
		sim->edges->edge[i].wanted = false;
}

void sim_edges_destroy(struct sim_edges **edges)
{
	for (int i = 0; *edges && i < SIM_EDGES_MAX; i++)
		free((*edges)->edge[i].in);
	free(*edges);
	*edges = NULL;
}

/* ---- checks ------------------------------------------------------------------------------------ */

static const struct sim_edge *publisher_of(struct sim *sim, uint8_t stream)
{
	for (int i = 0; i < SIM_EDGES_MAX; i++) {
		const struct sim_edge *edge = &sim->edges->edge[i];

		if (edge->kind == &sim_rtmp_kind && edge->stream == stream && edge->client &&
			edge->rtmp.phase == SIM_RTMP_PUBLISHING)
			return edge;
	}
	return NULL;
}

void sim_edges_check_converged(struct sim *sim)
{
	for (int i = 0; sim->edges && i < SIM_EDGES_MAX; i++) {
		const struct sim_edge *edge = &sim->edges->edge[i];
		const struct sim_edge *publisher =
			edge->kind ? publisher_of(sim, edge->stream) : NULL;

		if (!edge->kind || !(edge->kind->publishes || edge->kind->watches))
			continue;
		SIM_CHECK(sim, publisher, "nobody publishes live/e%u by RTMP", edge->stream);
		if (!publisher || !edge->kind->watches)
			continue;
		SIM_CHECK(sim,
			edge->client && edge->flv.begun &&
				sim->now_us - edge->flv.last_us < RECENT_US,
			"an FLV reader of live/e%u had no picture for %lld ms", edge->stream,
			(long long)((sim->now_us - edge->flv.last_us) / SIM_MS));
		SIM_CHECK(sim, edge->flv.video.publisher == publisher->rtmp.number,
			"an FLV reader of live/e%u sees publisher %u, live is %u", edge->stream,
			edge->flv.video.publisher, publisher->rtmp.number);
	}
}

bool sim_edges_is_unborn(const struct actor *actor)
{
	struct actor_facts facts;

	if (actor->type != &flv_mux_actor)
		return false;
	runtime_facts(actor, &facts);
	return !strcmp(facts.phase, "joining") || !strcmp(facts.phase, "waiting");
}

void sim_edges_check_empty(struct sim *sim, const struct sim_process *process)
{
	const struct repl_state *repl;

	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next)
		SIM_CHECK(sim,
			actor->type != &rtmp_session_actor &&
				actor->type != &http_connection_actor &&
				actor->type != &flv_mux_actor,
			"%s outlives its client", actor->name[0] ? actor->name : actor->type->name);
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		repl = (const void *)actor->data;
		SIM_CHECK(sim, actor->type != &repl_actor || !repl->connections,
			"the console has %u connections left", repl->connections);
	}
}

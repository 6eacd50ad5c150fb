/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: life of the clients outside of the node. What they say is in sim_rtmp.c and sim_http.c.
 */
#include "tests/sim/sim_rtc.h"

#include "actors/http/http_actor.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/webrtc/rtc_port.h"
#include "cluster/cluster.h"
#include "runtime/kernel.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	READ_SIZE = 16384, /* a client takes so much a tick */
	RETRY_MIN_MS = 20,
	RETRY_MAX_MS = 300,
	DEAF_MAX_MS = 3000,
};

bool sim_edge_by_rtmp(const struct sim *sim, uint8_t stream)
{
	return stream < sim->scenario->edge_streams;
}

bool sim_edge_is_h264(const struct sim *sim, uint8_t stream)
{
	return sim_edge_by_rtmp(sim, stream) || (stream + sim->options.seed) % 2;
}

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

void sim_edge_number(struct sim *sim, const struct sim_edge *edge, uint32_t number)
{
	MUST(number < SIM_PUBLISHERS_MAX);
	sim->edges->stream_of[number] = edge->stream + 1;
}

bool sim_edge_publishes(const struct sim *sim, uint8_t stream, uint32_t number)
{
	return number < SIM_PUBLISHERS_MAX && sim->edges->stream_of[number] == stream + 1;
}

/* ---- connections ------------------------------------------------------------------------------- */

bool sim_edge_connect(struct sim *sim, struct sim_edge *edge, uint32_t worker)
{
	uint32_t slot =
		edge->kind->listener == NET_REPL ? 0 : sim->media[worker % sim->media_count];

	if (!sim->processes[slot].alive || sim->processes[slot].paused_until_us > sim->now_us)
		return false;
	edge->client = sim_client_connect(sim, slot, edge->kind->listener);
	if (!edge->client) { /* the listener is shared: whoever does not rest takes it */
		edge->worker++;
		return false;
	}
	sim_note(sim, edge->kind->name, edge->stream, edge->client);
	edge->connected_us = sim->now_us;
	edge->in_size = 0;
	return true;
}

static void connect_edge(struct sim *sim, struct sim_edge *edge)
{
	edge->retry_us = sim->now_us + rng_between(&sim->rng, RETRY_MIN_MS, RETRY_MAX_MS) * SIM_MS;
	if (sim_edge_connect(sim, edge, edge->worker))
		edge->kind->begin(sim, edge);
}

static void disconnect(struct sim *sim, struct sim_edge *edge)
{
	sim_note(sim, "gone", edge->stream, edge->client);
	sim_client_close(sim, edge->client);
	edge->client = 0;
	edge->spoke_rubbish = false;
	edge->retry_us = sim->now_us + rng_between(&sim->rng, RETRY_MIN_MS, RETRY_MAX_MS) * SIM_MS;
}

void sim_edge_read(struct sim *sim, struct sim_edge *edge)
{
	if (edge->in_size + READ_SIZE > edge->in_capacity) {
		edge->in_capacity = edge->in_size + 2 * READ_SIZE;
		edge->in = realloc(edge->in, edge->in_capacity);
		MUST(edge->in);
	}
	edge->in_size += sim_client_read(sim, edge->client, edge->in + edge->in_size, READ_SIZE);
}

static void read_edge(struct sim *sim, struct sim_edge *edge)
{
	sim_edge_read(sim, edge);
	size_t used = edge->kind->input(sim, edge);

	MUST(used <= edge->in_size);
	memmove(edge->in, edge->in + used, edge->in_size - used);
	edge->in_size -= used;
}

static void run_edge(struct sim *sim, struct sim_edge *edge)
{
	if (edge->kind->run) {
		edge->kind->run(sim, edge);
		return;
	}
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

		if (edge->kind) {
			run_edge(sim, edge);
			sim_edge_note_published(sim, edge);
		}
		any = any || edge->client || edge->rtc || edge->wanted;
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
			.worker = (uint32_t)rng_below(&sim->rng, sim->media_count),
			.retry_us = sim->now_us + rng_between(&sim->rng, 0, 500 * SIM_MS),
		};
		return;
	}
}

static void look_at(struct sim *sim, const struct net_addr *to, const void *bytes, size_t size)
{
	sim_seals_look(sim, to, bytes, size, false);
}

struct sim_edges *sim_edges_create(struct sim *sim)
{
	struct sim_edges *edges = calloc(1, sizeof(*edges));

	MUST(edges);
	edges->seals = sim_seals_create();
	sim_net_on_datagram(sim, sim_rtc_take, look_at);
	return edges;
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
	for (uint32_t i = 0; i < scenario->edge_players; i++) {
		uint32_t stream = i % (scenario->edge_streams + scenario->rtc_streams);

		if (sim_edge_is_h264(sim, (uint8_t)stream))
			add_edge(sim, &sim_player_kind, stream);
	}
	for (uint32_t i = 0; i < scenario->edge_askers; i++)
		add_edge(sim, &sim_asker_kind, i % scenario->edge_streams);
	for (uint32_t i = 0; i < scenario->consoles; i++)
		add_edge(sim, &sim_console_kind, 0);
	for (uint32_t i = 0; i < scenario->rtc_streams; i++)
		add_edge(sim, &sim_whip_kind, scenario->edge_streams + i);
	for (uint32_t i = 0; i < scenario->rtc_viewers; i++)
		add_edge(sim, &sim_whep_kind, scenario->edge_streams + i % scenario->rtc_streams);
	for (uint32_t i = 0; i < scenario->rtmp_viewers; i++)
		add_edge(sim, &sim_whep_kind, i % scenario->edge_streams);
	for (uint32_t i = 0; i < scenario->rtc_readers * scenario->rtc_streams; i++) {
		uint32_t stream = scenario->edge_streams + i % scenario->rtc_streams;

		if (sim_edge_is_h264(sim, (uint8_t)stream))
			add_edge(sim, &sim_flv_kind, stream);
	}
	tick(sim, 0);
}

static struct sim_edge *pick(struct sim *sim)
{
	size_t from = rng_below(&sim->rng, SIM_EDGES_MAX);

	for (size_t i = 0; i < SIM_EDGES_MAX; i++) {
		struct sim_edge *edge = &sim->edges->edge[(from + i) % SIM_EDGES_MAX];

		if (edge->kind && (edge->client || edge->rtc) &&
			!(edge->kind->publishes && sim->scenario->keeps))
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
	edge->spoke_rubbish = true;
	rng_fill(&sim->rng, bytes, sizeof(bytes));
	sim_edge_write(sim, edge, bytes, (size_t)rng_between(&sim->rng, 1, sizeof(bytes)));
}

void sim_edges_act(struct sim *sim)
{
	struct sim_edge *edge = pick(sim);

	if (edge && edge->kind->act) {
		edge->kind->act(sim, edge);
		return;
	}
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
	for (int i = 0; sim->edges && i < SIM_EDGES_MAX; i++) {
		struct sim_edge *edge = &sim->edges->edge[i];

		edge->deaf_until_us = 0;
		/* The head of a long message of no known type swallows an encoder's headers, and no
		 * server can know: sound is missed until the encoder comes anew (callbacks, 20072). */
		if (edge->kind && edge->client && edge->spoke_rubbish)
			disconnect(sim, edge);
		if (edge->rtc)
			edge->rtc->silent_until_us = 0;
	}
}

void sim_edges_leave(struct sim *sim)
{
	for (int i = 0; sim->edges && i < SIM_EDGES_MAX; i++)
		sim->edges->edge[i].wanted = false;
}

void sim_edges_destroy(struct sim *sim)
{
	for (int i = 0; sim->edges && i < SIM_EDGES_MAX; i++) {
		sim_rtc_end(sim, &sim->edges->edge[i]);
		free(sim->edges->edge[i].in);
	}
	if (sim->edges)
		sim_seals_destroy(&sim->edges->seals);
	free(sim->edges);
	sim->edges = NULL;
}

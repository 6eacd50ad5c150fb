/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what happens to the node. A scenario is a row: how many workers, streams and viewers,
 * what the bus does wrong, and how likely which misfortune is.
 *
 *   chaos (misfortunes, faults) --> quiet: all must come together --> everybody leaves --> nothing left
 */
#include "tests/sim/sim_clients.h"
#include "tests/sim/sim_edges.h"

#include <stdio.h>

enum {
	KEEP_MS = 60,	      /* how often clients that died are started anew */
	LEAVE_MS = 12000,     /* grace of streams, idle replicas, and some */
	UNCHECKED_MS = 31000, /* a WebRTC session that its client never checked lives so long */
	PAUSE_MAX_MS = 900,
	BUSY_MAX_MS = 3000,
	PART_MAX_MS = 5000,
	FLOOD = 600, /* requests at once */
	NODE_AWAY_MAX_MS = 6000,
	DRAIN_MAX_MS = 3000,
	ETCD_LEAVES_ONE_IN = 3,
	CLUSTER_LEAVE_MS = 60000, /* copies of copies end one after the other */
};

// clang-format off
#define CLEAN  {.delay_us = 200}
#define BUMPY  {.mail_loss_ppm = 3000, .duplicate_ppm = 3000, .media_loss_ppm = 3000,               \
	.media_reorder_ppm = 10000, .media_double_ppm = 3000, .full_ppm = 1000, .cut_ppm = 100,     \
	.delay_us = 2000}
#define BROKEN {.mail_loss_ppm = 50000, .duplicate_ppm = 20000, .media_loss_ppm = 30000,            \
	.media_reorder_ppm = 50000, .media_double_ppm = 20000, .full_ppm = 20000, .cut_ppm = 2000,  \
	.delay_us = 8000}

static const struct sim_scenario scenarios[] = {
	/* name, workers, streams, viewers, faults, chaos and quiet in ms, an action every … ms,
	 * weights: leaves moves rival viewer worker control helper pause edge busy move cut part
	 * node path split store drain */
	{"calm",      3, 2, 6, CLEAN,  2000, 2500, 0,   {0}},
	{"returns",   3, 2, 6, BUMPY,  4000, 6000, 500, {4, 4, 0, 2, 0, 0, 0, 0}},
	{"race",      3, 1, 4, BUMPY,  4000, 6000, 350, {2, 2, 6, 1, 0, 0, 0, 0}},
	{"workers",   3, 2, 6, BUMPY,  5000, 7000, 900, {1, 1, 0, 1, 4, 0, 0, 0}},
	{"control",   3, 2, 5, BUMPY,  5000, 7000, 900, {2, 2, 1, 1, 0, 4, 0, 0}},
	{"helper",    2, 1, 4, BUMPY,  4000, 6000, 700, {1, 1, 0, 3, 0, 0, 4, 0}},
	{"slow",      3, 2, 5, BUMPY,  5000, 7000, 600, {1, 2, 1, 1, 0, 0, 0, 5}},
	{"broken",    3, 1, 4, BROKEN, 4000, 7000, 800, {2, 2, 1, 2, 1, 0, 0, 1}},
	{"all",       4, 3, 8, BUMPY,  6000, 8000, 500, {2, 3, 2, 3, 2, 1, 1, 1, 2, 1},
		.edge_streams = 1, .edge_readers = 2, .edge_players = 1, .edge_askers = 1, .consoles = 1,
		.rtc_streams = 1, .rtc_viewers = 2, .rtmp_viewers = 1, .rtc_readers = 1},
	{"edges",     3, 1, 2, BUMPY,  5000, 8000, 300, {1, 1, 0, 1, 1, 1, 1, 1, 8, 1},
		.edge_streams = 2, .edge_readers = 5, .edge_players = 3, .edge_askers = 2},
	{"operator",  3, 2, 4, BUMPY,  5000, 8000, 400, {1, 1, 0, 1, 1, 1, 0, 1, 5, 1},
		.edge_streams = 1, .edge_readers = 2, .edge_askers = 1, .consoles = 4},
	{"webrtc",    3, 1, 2, BUMPY,  5000, 9000, 250, {1, 1, 0, 1, 1, 1, 1, 1, 12, 1},
		.edge_streams = 1, .rtc_streams = 2, .rtc_viewers = 4, .rtmp_viewers = 2,
		.rtc_readers = 2},
	{"moves",     3, 1, 1, BUMPY,  6000, 9000, 120, {0, 0, 0, 0, 3, 1, 0, 1, 4, 1, 12},
		.edge_streams = 1, .rtc_streams = 2, .rtc_viewers = 3, .rtmp_viewers = 2,
		.keeps = true},
	{"callbacks", 3, 1, 1, BUMPY,  5000, 9000, 300, {1, 1, 0, 1, 1, 1, 0, 1, 10, 1},
		.edge_streams = 2, .edge_readers = 4, .edge_players = 3, .rtc_streams = 1, .rtc_viewers = 2,
		.callbacks = true},
	{"overload",  2, 1, 3, BUMPY,  3000, 7000, 700, {1, 1, 1, 1, 0, 0, 0, 2}, .flood = true},
	{"mailbox",   3, 2, 6, BUMPY,  4000, 7000, 500, {2, 2, 2, 2, 1, 1, 1, 1}, .flood = true,
		.mailbox_max = 8},
	{"tight",     3, 2, 5, BUMPY,  5000, 7000, 700, {2, 2, 1, 3, 1, 0, 0, 1}, .packets = 320},
	{"arena",     2, 3, 8, BUMPY,  5000, 7000, 600, {3, 2, 1, 3, 1, 0, 0, 1}, .packets = 160,
		.logs = 2, .scarce = true},
	{"nodes",     2, 0, 0, BUMPY,  9000, 9000, 220, {0, 0, 0, 0, 4, 2, 0, 2, 0, 0, 0, 5, 3}, .nodes = 3},
	{"cluster",   2, 2, 6, BUMPY,  7000, 25000, 400,
		{3, 4, 1, 3, 3, 1, 0, 2, 0, 1, 0, 2, 1, 2, 6, 1, 1}, .nodes = SIM_NODES_MAX,
		.cluster = true},
	{"standby",   3, 2, 6, BUMPY,  6000, 7000, 500, {2, 1, 2, 1, 0, 0, 0, 1}, .standby = "live/*"},
	{"guests",    2, 1, 2, BUMPY,  7000, 25000, 300,
		{1, 1, 0, 1, 3, 1, 0, 2, 9, 1, 0, 2, 1, 1, 4, 0, 1, 3}, .nodes = 4, .cluster = true,
		.rtc_streams = 2, .rtc_viewers = 6, .by_name = true},
};
// clang-format on

const struct sim_scenario *sim_scenario_at(size_t index)
{
	return index < sizeof(scenarios) / sizeof(scenarios[0]) ? &scenarios[index] : NULL;
}

const struct sim_scenario *sim_scenario_of(uint64_t seed)
{
	size_t count = sizeof(scenarios) / sizeof(scenarios[0]);

	while (scenarios[count - 1].by_name) /* those come last */
		count--;
	return &scenarios[seed % count];
}

const struct sim_scenario *sim_scenario_find(const char *name)
{
	for (size_t i = 0; sim_scenario_at(i); i++)
		if (!strcmp(scenarios[i].name, name))
			return &scenarios[i];
	return NULL;
}

bool sim_scenario_has_edges(const struct sim_scenario *scenario)
{
	return scenario->edge_streams || scenario->rtc_streams || scenario->consoles;
}

void sim_stream_name(uint32_t stream, char *name, size_t size)
{
	snprintf(name, size, "live/s%u", stream);
}

/* ---- clients ----------------------------------------------------------------------------------- */

struct sim_process *sim_worker(struct sim *sim, uint32_t number)
{
	return &sim->processes[sim->media[number % sim->media_count]];
}

/* As by RTMP and as by WebRTC. */
static uint8_t audio_of(uint32_t stream)
{
	return stream % 2 ? MEDIA_OPUS : MEDIA_AAC;
}

static void start_client(struct sim *sim, struct sim_client *client)
{
	struct sim_process *process = sim_worker(sim, client->worker);
	uint8_t other_audio = audio_of(client->stream) == MEDIA_AAC ? MEDIA_OPUS : MEDIA_AAC;
	char name[32];
	enum err err;

	if (!process->alive || process->paused_until_us > sim->now_us)
		return;
	sim_stream_name(client->stream, name, sizeof(name));
	runtime_tick(process->rt);
	if (client->publishes) {
		struct sim_publisher_args args = {.stream_name = name,
			.number = ++sim->publishers,
			.audio = audio_of(client->stream)};

		err = actor_spawn(process->rt, NULL, &sim_publisher, &args, &client->addr);
	} else {
		struct sim_viewer_args args = {.stream_name = name,
			.audio = client->other_audio ? other_audio : 0,
			.published = audio_of(client->stream)};

		err = actor_spawn(process->rt, NULL, &sim_viewer, &args, &client->addr);
	}
	client->incarnation = err ? 0 : process->incarnation;
	if (client->publishes)
		sim->stream_of[sim->publishers % SIM_NUMBERS_MAX] = client->stream;
	sim_note(sim, client->publishes ? "publisher" : "viewer", client->stream, client->addr.id);
	sim_wake(sim, process);
}

static struct actor *actor_of(struct sim *sim, const struct sim_client *client)
{
	struct sim_process *process = sim_process_of(sim, client->incarnation);

	return process ? runtime_find(process->rt, client->addr.id) : NULL;
}

/* `politely`: it says goodbye; else its connection is just gone. False: it cannot leave now, for its
 * worker has fallen and may be gone on with, the client too. */
static bool stop_client(struct sim *sim, struct sim_client *client, bool politely)
{
	struct actor *actor = actor_of(sim, client);

	if (!actor && !sim->leaving)
		return false;
	client->wanted = false;
	if (!actor)
		return true;
	sim_note(sim, "leaves", client->stream, client->addr.id);
	actor_stop(actor, politely ? ERR_CLOSED : ERR_TIMEOUT);
	sim_wake(sim, sim_process_of(sim, client->incarnation));
	return true;
}

static void keep_clients(struct sim *sim, uint64_t argument)
{
	(void)argument;
	for (size_t i = 0; i < sim->client_count; i++) {
		struct sim_client *client = &sim->clients[i];

		if (!client->wanted || actor_of(sim, client))
			continue;
		if (client->publishes && sim_process_of(sim, client->incarnation))
			client->wanted = false; /* it was replaced */
		else
			start_client(sim, client);
	}
	if (!sim->leaving)
		sim_at(sim, sim->now_us + KEEP_MS * SIM_MS, keep_clients, 0);
}

static struct sim_client *add_client(struct sim *sim, const struct sim_client *made)
{
	struct sim_client *client = NULL;

	for (size_t i = 0; i < sim->client_count && !client; i++)
		if (!sim->clients[i].wanted && !actor_of(sim, &sim->clients[i]))
			client = &sim->clients[i];
	if (!client) {
		if (sim->client_count == SIM_CLIENTS_MAX)
			return NULL;
		client = &sim->clients[sim->client_count++];
	}
	*client = *made;
	client->wanted = true;
	start_client(sim, client);
	return client;
}

/* A wanted publisher of that stream, or any wanted viewer. */
static struct sim_client *pick(struct sim *sim, bool publishes)
{
	size_t from = rng_below(&sim->rng, sim->client_count ? sim->client_count : 1);

	for (size_t i = 0; i < sim->client_count; i++) {
		struct sim_client *client = &sim->clients[(from + i) % sim->client_count];

		if (client->wanted && client->publishes == publishes)
			return client;
	}
	return NULL;
}

static bool is_published(const struct sim *sim, uint32_t stream)
{
	for (size_t i = 0; i < sim->client_count; i++)
		if (sim->clients[i].wanted && sim->clients[i].publishes &&
			sim->clients[i].stream == stream)
			return true;
	return false;
}

static void add_publisher(struct sim *sim, uint32_t stream, uint32_t on)
{
	add_client(sim,
		&(struct sim_client){.publishes = true, .stream = (uint8_t)stream, .worker = on});
}

static void add_viewer(struct sim *sim)
{
	add_client(sim, &(struct sim_client){
				.stream = (uint8_t)rng_below(&sim->rng, sim->streams),
				.worker = (uint32_t)rng_below(&sim->rng, sim->media_count),
				.other_audio = sim->helpers && rng_below(&sim->rng, 3) == 0,
			});
}

static void publish_all(struct sim *sim, uint64_t argument)
{
	(void)argument;
	for (uint32_t stream = 0; stream < sim->streams; stream++)
		if (!is_published(sim, stream))
			add_publisher(
				sim, stream, (uint32_t)rng_below(&sim->rng, sim->media_count));
}

/* ---- misfortunes -------------------------------------------------------------------------------- */

static void publisher_leaves(struct sim *sim, bool moves)
{
	struct sim_client *client = pick(sim, true);

	if (!client)
		return;
	uint32_t stream = client->stream;
	uint32_t on = moves ? client->worker + 1 : client->worker;

	if (!stop_client(sim, client, rng_below(&sim->rng, 2)))
		return;
	if (moves)
		add_publisher(sim, stream, on);
	else
		sim_at(sim, sim->now_us + rng_between(&sim->rng, 1, 1500 * SIM_MS), publish_all, 0);
}

/* The first slot of any node. */
static uint32_t any_node(struct sim *sim)
{
	return sim->nodes > 1 ? (uint32_t)rng_below(&sim->rng, sim->nodes) * sim->node_slots : 0;
}

static uint32_t any_worker(struct sim *sim)
{
	return sim->media[rng_below(&sim->rng, sim->media_count)];
}

static void viewer_leaves(struct sim *sim)
{
	struct sim_client *client = pick(sim, false);

	if (client)
		stop_client(sim, client, rng_below(&sim->rng, 2));
	add_viewer(sim);
}

static void rival_comes(struct sim *sim)
{
	add_publisher(sim, (uint32_t)rng_below(&sim->rng, sim->streams),
		(uint32_t)rng_below(&sim->rng, sim->media_count));
}

static void pause(struct sim *sim)
{
	uint32_t slot = any_node(sim);

	slot += (uint32_t)rng_below(&sim->rng, 1 + sim->workers + sim->helpers);
	sim_pause_process(sim, slot, rng_between(&sim->rng, 1, PAUSE_MAX_MS) * SIM_MS);
}

static void act(struct sim *sim, enum sim_action action)
{
	sim_note(sim, "act", action, 0);
	switch (action) {
	case SIM_ACT_PUBLISHER_LEAVES: publisher_leaves(sim, false); break;
	case SIM_ACT_PUBLISHER_MOVES: publisher_leaves(sim, true); break;
	case SIM_ACT_RIVAL: rival_comes(sim); break;
	case SIM_ACT_VIEWER_LEAVES: viewer_leaves(sim); break;
	case SIM_ACT_WORKER_DIES:
		sim_fall(sim, any_worker(sim), rng_below(&sim->rng, 4) == 0);
		break;
	case SIM_ACT_CONTROL_DIES: sim_kill_process(sim, any_node(sim), true); break;
	case SIM_ACT_HELPER_DIES: sim_kill_process(sim, 1 + sim->workers, true); break;
	case SIM_ACT_PAUSE: pause(sim); break;
	case SIM_ACT_EDGE: sim_edges_act(sim); break;
	case SIM_ACT_BUSY:
		sim->processes[any_worker(sim)].busy_until_us =
			sim->now_us + rng_between(&sim->rng, 1, BUSY_MAX_MS) * SIM_MS;
		break;
	case SIM_ACT_MOVE: sim_move_somebody(sim); break;
	case SIM_ACT_CUT: sim_mesh_cut(sim); break;
	case SIM_ACT_PART:
		(sim->wide ? sim_wide_part : sim_ways_part)(
			sim, rng_between(&sim->rng, 1, PART_MAX_MS) * SIM_MS);
		break;
	case SIM_ACT_NODE:
		sim_kill_node(sim, (uint32_t)rng_below(&sim->rng, sim->nodes),
			rng_between(&sim->rng, 50, NODE_AWAY_MAX_MS) * SIM_MS);
		break;
	case SIM_ACT_PATH: sim_wide_trouble(sim); break;
	case SIM_ACT_SPLIT: sim_wide_split(sim); break;
	case SIM_ACT_STORE: sim_etcd_outage(sim); break;
	case SIM_ACT_DRAIN:
		sim_supervisor_drain(sim, (uint32_t)rng_below(&sim->rng, sim->nodes),
			rng_between(&sim->rng, 1, DRAIN_MAX_MS) * SIM_MS);
		break;
	case SIM_ACTIONS: break;
	}
}

void sim_change_clients(struct sim *sim)
{
	struct sim_client *client = pick(sim, true);

	viewer_leaves(sim);
	if (!client)
		return;
	uint32_t stream = client->stream, on = client->worker;

	if (stop_client(sim, client, rng_below(&sim->rng, 2)))
		add_publisher(sim, stream, on);
}

/* Requests at once from one viewer-like actor each: every one of them must end. */
static void flood(struct sim *sim)
{
	struct sim_process *process =
		sim_worker(sim, (uint32_t)rng_below(&sim->rng, sim->media_count));
	struct sim_flood_args args = {.requests = FLOOD};

	if (process->alive && process->paused_until_us <= sim->now_us) {
		runtime_tick(process->rt);
		actor_spawn(process->rt, NULL, &sim_flood, &args, NULL);
		sim_wake(sim, process);
	}
}

static void misfortune(struct sim *sim, uint64_t argument)
{
	uint64_t total = 0;

	(void)argument;
	if (sim->now_us >= sim->chaos_until_us)
		return;
	for (int i = 0; i < SIM_ACTIONS; i++)
		total += sim->scenario->weight[i];
	uint64_t drawn = rng_below(&sim->rng, total);

	for (int i = 0; i < SIM_ACTIONS; i++) {
		if (drawn < sim->scenario->weight[i]) {
			act(sim, (enum sim_action)i);
			break;
		}
		drawn -= sim->scenario->weight[i];
	}
	if (sim->scenario->flood)
		flood(sim);
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 1, 2 * sim->scenario->action_ms * SIM_MS),
		misfortune, 0);
}

/* ---- a run --------------------------------------------------------------------------------------- */

void sim_begin(struct sim *sim)
{
	uint32_t viewers = sim->scenario->viewers + (sim->wide ? sim->nodes / 3 : 0);

	for (uint32_t i = 0; i < viewers; i++)
		add_viewer(sim);
	publish_all(sim, 0);
	keep_clients(sim, 0);
	for (uint32_t stream = 0; sim->scenario->standby && stream < sim->streams; stream++)
		add_publisher(sim, stream, (uint32_t)rng_below(&sim->rng, sim->media_count));
	sim_edges_begin(sim);
	if (sim->options.settings)
		sim_settings_begin(sim);
	if (sim->nodes > 1 && !sim->wide)
		sim_far_begin(sim);
	if (sim->scenario->action_ms)
		sim_at(sim, sim->now_us + sim->scenario->action_ms * SIM_MS, misfortune, 0);
}

bool sim_run(struct sim *sim)
{
	sim_begin(sim);
	sim_run_until(sim, sim->chaos_until_us);
	sim->faults_on = false;
	for (uint32_t i = 0; i < sim->slots; i++)
		sim->processes[i].busy_until_us = 0;
	sim_edges_calm(sim);
	sim_ways_heal(sim);
	sim_wide_heal(sim);
	sim_etcd_heal(sim);
	sim_supervisor_heal(sim);
	if (sim->etcd)
		sim_etcd_save(sim);
	sim_far_calm(sim);
	publish_all(sim, 0);
	/* once in the middle: what a replaced or late publisher left open */
	sim_run_until(sim, sim->now_us + 2000 * SIM_MS);
	publish_all(sim, 0);
	if (sim->wide)
		sim_cluster_settle(sim, sim->scenario->quiet_ms - 2000);
	else
		sim_run_until(sim, sim->now_us + (sim->scenario->quiet_ms - 2000) * SIM_MS);
	if (!sim->failed)
		sim_check_converged(sim);
	if (sim->wide && !sim->failed &&
		(rng_below(&sim->rng, ETCD_LEAVES_ONE_IN) == 0 || sim->options.etcd_away_s))
		sim_cluster_without_etcd(sim);
	sim->leaving = true;
	sim_edges_leave(sim);
	for (size_t i = 0; i < sim->client_count; i++)
		stop_client(sim, &sim->clients[i], rng_below(&sim->rng, 2));
	if (sim->wide)
		sim_cluster_empty(
			sim, CLUSTER_LEAVE_MS, sim->scenario->rtc_streams ? UNCHECKED_MS : 0);
	else
		sim_run_until(sim,
			sim->now_us + (LEAVE_MS + (sim->scenario->rtc_streams ? UNCHECKED_MS : 0)) *
					      SIM_MS);
	if (!sim->failed)
		sim_check_mail(sim);
	if (!sim->failed)
		sim_check_empty(sim);
	if (sim->failed && sim->wide && sim->options.trace)
		sim_cluster_show(sim);
	return !sim->failed;
}

struct sim_result sim_run_seed(const struct sim_options *options)
{
	struct sim *sim = sim_create(options);
	struct sim_result result = {.ok = sim_run(sim)};

	result.trace = sim->trace;
	result.events = sim->events_run;
	result.settings_taken = sim->settings_taken;
	result.packets_sent = sim->packets_sent;
	result.packets_read = sim->packets_read;
	result.restores = sim->restores;
	result.deaths = sim->deaths;
	result.switches = sim->switches;
	result.takeovers = sim->takeovers;
	result.moves = sim->moves;
	result.nodes = sim->nodes;
	result.datagrams = sim->datagrams;
	result.converged_ms = sim->converged_ms;
	result.disk = sim->disk;
	result.moved = sim_count_moved(sim);
	if (sim->edges) {
		result.frames_sent = sim->edges->frames_sent;
		result.tags_read = sim->edges->tags_read;
		result.answers = sim->edges->answers;
		result.console_answers = sim->edges->console_answers;
		result.rtc_sessions = sim->edges->sessions;
		result.rtp_sent = sim->edges->rtp_sent;
		result.rtp_read = sim->edges->rtp_read;
		result.rtp_asked = sim->edges->rtp_asked;
		result.sent_on = sim->edges->sent_on;
	}
	result.scenario = sim->scenario->name;
	memcpy(result.failure, sim->failure, sizeof(result.failure));
	sim_destroy(&sim);
	return result;
}

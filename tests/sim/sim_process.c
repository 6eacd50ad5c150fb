/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the processes of all nodes: what each is given, who knows whom, how they begin and end.
 */
#include "tests/sim/sim_edges.h"

#include "actors/callback/callback.h"
#include "actors/http/http_actor.h"
#include "actors/link/link_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/stream/stream_actor.h"
#include "actors/transcode/transcode_actor.h"
#include "actors/webrtc/session.h"
#include "cluster/cluster.h"
#include "runtime/kernel.h"
#include "runtime/live.h"
#include "runtime/process_office.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	CONTROL_SLOT = 0,
	SEE_UP_US = 3000,    /* at most until a new process is known to another */
	SEE_DOWN_US = 20000, /* at most until a death is */
	RESTART_US = 60000,
	EDGE_SESSIONS = 32,
	EDGE_BUFFERS = 12,
	CLUSTER_LINKS = 96,
};

/* ---- what a process is given ------------------------------------------------------------------- */

/* (The kernel reads the clock whenever it lets somebody run.) */
static int64_t op_now_us(void *context)
{
	const struct sim_process *process = context;
	struct sim *sim = process->sim;

	sim->stirred[(process - sim->processes) / 64] |= UINT64_C(1)
							 << (process - sim->processes) % 64;
	if (process->alive)
		sim_takeover_step((struct sim_process *)context);
	return sim->now_us;
}

static int64_t op_wall_us(void *context)
{
	return op_now_us(context) + SIM_WALL_SHIFT_US;
}

/* (A line may be written or not: a process does not fall at it, nor has it run for that.) */
static int64_t log_now_us(void *context)
{
	return ((const struct sim_process *)context)->sim->now_us + SIM_WALL_SHIFT_US;
}

static void op_random(void *context, void *bytes, size_t size)
{
	rng_fill(&((struct sim_process *)context)->sim->rng, bytes, size);
}

static const struct runtime_ops sim_ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.bus_send = sim_bus_send,
	.node_send = sim_mesh_send,
	.node_wanted = sim_mesh_wanted,
	.mesh_open = sim_mesh_open,
	.mesh_learn = sim_mesh_learn,
	.mesh_forget = sim_mesh_forget,
	.net_take = sim_net_take,
	.net_open_beside = sim_net_open_beside,
	.net_listen_pause = sim_net_listen_pause,
	.net_send = sim_net_send,
	.net_send_from = sim_wide_send_from,
	.net_is_local = sim_wide_is_local,
	.net_give = sim_net_give,
	.net_read = sim_net_read,
	.net_write = sim_net_write,
	.net_want = sim_net_want,
	.net_close = sim_net_close,
	.net_claim = sim_net_claim,
	.net_progress = sim_net_progress,
	.net_local_addr = sim_net_local_addr,
	.supervisor_tell = sim_supervisor_tell,
	.supervisor_hear = sim_supervisor_hear,
	.http_start = sim_http_start,
	.http_read = sim_http_read,
	.http_cancel = sim_http_cancel,
};

struct sim *sim_of(const struct runtime *rt)
{
	const struct runtime_options *options = runtime_options(rt);

	return options->ops == &sim_ops ? ((struct sim_process *)options->context)->sim : NULL;
}

const struct actor_type *const sim_types[] = {&stream_actor, &media_office_actor, &directory_actor,
	&placement_actor, &store_local_actor, &sim_publisher, &sim_viewer, &transcode_office_actor,
	&transcoder_actor, &sim_flood, &rtmp_office_actor, &rtmp_session_actor, &http_office_actor,
	&http_connection_actor, &flv_mux_actor, &rtc_port_actor, &session_actor, &link_office_actor,
	&media_link_actor, &process_office_actor, &console_actor, &repl_actor, &board_actor,
	&callback_office_actor, &callback_actor, &callback_ticket_actor, &sim_far_actor,
	&store_etcd_actor, &mesh_actor, &routes_actor, &brain_actor, &settings_actor, &relay_actor,
	NULL};

static const struct arena_layout plenty = {
	.count = {6144,		16,		    16, 4},
	.size = {sizeof(struct packet),		ARENA_LOG_SIZE,				4096, 16384},
	.escrow = {.actors = 4096,.blocks = 16384},
};

struct arena_layout sim_layout_of(const struct sim_scenario *scenario)
{
	struct arena_layout layout = plenty;

	if (scenario->cluster) {
		layout.count[ARENA_SESSION] = CLUSTER_LINKS;
		layout.size[ARENA_SESSION] = ARENA_SESSION_SIZE;
	}

	if (scenario->packets)
		layout.count[ARENA_PACKET] = scenario->packets;
	if (sim_scenario_has_edges(scenario)) {
		layout.count[ARENA_SESSION] =
			EDGE_SESSIONS + (scenario->cluster ? CLUSTER_LINKS : 0);
		layout.size[ARENA_SESSION] = ARENA_SESSION_SIZE;
		layout.count[ARENA_BUFFER] = EDGE_BUFFERS;
		layout.size[ARENA_BUFFER] = ARENA_BUFFER_SIZE;
	}
	if (scenario->logs)
		layout.count[ARENA_LOG] = scenario->logs;
	return layout;
}

/* ---- processes --------------------------------------------------------------------------------- */

bool sim_line_exists(const struct sim *sim, uint32_t incarnation)
{
	const struct sim_process *process = &sim->processes[sim->slot_of[incarnation]];

	return process->incarnation == incarnation &&
	       (process->alive || process->falling || process->line_goes_on);
}

struct sim_process *sim_process_of(struct sim *sim, uint32_t incarnation)
{
	struct sim_process *process = incarnation < SIM_INCARNATIONS_MAX
					      ? &sim->processes[sim->slot_of[incarnation]]
					      : NULL;

	return process && process->alive && process->incarnation == incarnation ? process : NULL;
}

uint16_t sim_rtc_port(const struct sim_process *process)
{
	return (uint16_t)(SIM_RTC_PORT + (process - process->sim->processes) - 1);
}

void sim_wake(struct sim *sim, struct sim_process *process)
{
	if (process->wake_us > sim->now_us)
		process->wake_us = sim->now_us;
}

static bool log_line(void *context, const char *line, size_t size)
{
	const struct sim_process *process = context;

	if (process->sim->options.trace)
		fprintf(stderr, "            %.*s", (int)size, line);
	return true;
}

/* Offices that this run does without: those of clients outside, which need larger arenas. */
static bool is_left_out(const struct sim *sim, enum office office)
{
	return !sim_scenario_has_edges(sim->scenario) &&
	       (office == OFFICE_RTC || office == OFFICE_RTMP || office == OFFICE_HTTP);
}

void sim_start_offices(struct sim_process *process)
{
	static const struct live_program *const programs[] = {
		[PROCESS_CONTROL] = &control_program,
		[PROCESS_MEDIA] = &worker_program,
		[PROCESS_HELPER] = &helper_program,
	};

	const struct live_program *program = programs[process->role];

	if (process->role == PROCESS_CONTROL && process->sim->wide)
		program = &control_cluster_program;
	for (const struct live_office *at = program->offices; at->type; at++) {
		enum err err =
			is_left_out(process->sim, at->office)
				? ERR_OK
				: actor_spawn_office(process->rt, at->office, at->type, at->args);

		MUST(err == ERR_OK || err == ERR_EXISTS);
		const struct actor *actor = runtime_find(
			process->rt, process->block << RUNTIME_BLOCK_SHIFT | at->office);

		SIM_CHECK(process->sim,
			is_left_out(process->sim, at->office) || (actor && !actor->stopping),
			"process %u is without its %s", process->incarnation, at->type->name);
	}
}

/* Both see each other, not at the same moment. */
static void introduce(struct sim *sim, const struct sim_process *a, const struct sim_process *b)
{
	sim_push_peer(sim, sim->now_us + rng_between(&sim->rng, 0, SEE_UP_US), SIM_PEER_UP, a, b);
}

void sim_meet_again(struct sim *sim, const struct sim_process *who, const struct sim_process *about,
	int64_t within_us)
{
	sim_push_peer(sim, sim->now_us + rng_between(&sim->rng, 0, within_us), SIM_PEER_AGAIN, who,
		about);
}

void sim_stand_up(struct sim_process *process)
{
	struct sim *sim = process->sim;

	if (process->memory) {
		MUST(arena_attach(process->memory, process->memory_size, &process->arena) ==
			ERR_OK);
		if (process->role == PROCESS_MEDIA)
			MUST(arena_escrow(process->arena, &process->escrow) == ERR_OK);
	}
	sim_supervisor_started(sim, process);
	struct runtime_options options = {
		.ops = &sim_ops,
		.context = process,
		.config = sim_config_of(sim, process->node),
		.env = &process->env,
		.log = &process->log,
		.arena = process->arena,
		.escrow = process->escrow,
		.node = SIM_NODE + process->node,
		.block = process->block,
		.process = process->incarnation,
		.role = process->role,
		.index = process->index,
		.mailbox_max = sim->scenario->mailbox_max,
		.types = sim_types,
	};
	struct rng secret = rng_fork(&sim->rng);

	rng_fill(&secret, options.secret, sizeof(options.secret));
	MUST(runtime_create(&options, &process->rt) == ERR_OK);
}

void sim_start_process(struct sim *sim, uint32_t slot)
{
	struct sim_process *process = &sim->processes[slot];
	struct log_sink sink = {.now_us = log_now_us, .write = log_line, .context = process};
	size_t size = arena_size(&sim->layout);

	process->sim = sim;
	process->used = process->alive = true;
	process->incarnation = ++sim->next_incarnation;
	MUST(process->incarnation < SIM_INCARNATIONS_MAX);
	sim->slot_of[process->incarnation] = (uint8_t)slot;
	process->block = process->incarnation + SIM_BLOCK_FIRST;
	process->wake_us = sim->now_us;
	process->paused_until_us = 0;
	log_init(&process->log, process_role_name(process->role),
		sim->options.trace ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	if (process->role != PROCESS_CONTROL) {
		process->memory_size = size;
		process->memory = sim_map(size);
		arena_format(process->memory, &sim->layout);
		if (!process->truth)
			process->truth = calloc(SIM_CLIENTS_MAX, sizeof(*process->truth));
		if (!process->lived)
			process->lived = calloc(SIM_LIVED_MAX, sizeof(*process->lived));
		MUST(process->truth && process->lived);
	}
	sim_stand_up(process);
	sim_start_offices(process);
	sim_note(sim, "start", slot, process->incarnation);
	for (uint32_t i = 0; i < sim->slots; i++) {
		sim->mails[slot][i] = sim->mails[i][slot] = 0;
		const struct sim_process *other = &sim->processes[i];

		if (other->alive && other != process && other->node == process->node) {
			introduce(sim, process, other);
			introduce(sim, other, process);
		}
	}
}

static void free_process(struct sim *sim, struct sim_process *process)
{
	process->alive = false;
	sim_supervisor_gone(sim, process);
	sim_mirror_destroy(&process->mirror);
	sim_net_process_gone(sim->net, process->incarnation);
	sim_web_process_gone(sim->web, process->incarnation);
	escrow_detach(&process->escrow);
	arena_detach(&process->arena);
	sim_unmap(&process->memory, process->memory_size);
	process->rt = NULL;
}

static void restart(struct sim *sim, uint64_t slot)
{
	const struct sim_process *process = &sim->processes[slot];

	if (!process->alive && !process->line_goes_on && !sim->node_is_down[process->node])
		sim_start_process(sim, (uint32_t)slot);
}

/* The others hear of it, one after the other. */
static void announce_death(struct sim *sim, const struct sim_process *process)
{
	for (uint32_t i = 0; i < sim->slots; i++)
		if (sim->processes[i].alive && sim->processes[i].node == process->node &&
			sim->options.plant != SIM_PLANT_DEATH)
			sim_push_peer(sim, sim->now_us + rng_between(&sim->rng, 100, SEE_DOWN_US),
				SIM_PEER_DOWN, &sim->processes[i], process);
}

/* The dead cannot say anything: the runtime's memory is freed with every send refused. */
void sim_kill_process(struct sim *sim, uint32_t slot, bool again)
{
	struct sim_process *process = &sim->processes[slot];

	if (!process->alive)
		return;
	sim_note(sim, "kill", slot, process->incarnation);
	sim->deaths++;
	process->alive = false;
	process->doom_steps = 0;
	if (process->role == PROCESS_CONTROL)
		sim_mesh_gateway_gone(sim, process->node);
	sim_etcd_process_gone(sim, process->rt);
	runtime_destroy(&process->rt);
	free_process(sim, process);
	announce_death(sim, process);
	if (again)
		sim_at(sim, sim->now_us + rng_between(&sim->rng, 1000, RESTART_US), restart, slot);
}

static void start_node(struct sim *sim, uint64_t node)
{
	sim->node_is_down[node] = false;
	config_copy_reloadable(
		sim_config_of(sim, (uint32_t)node), sim_config_at_first(sim, (uint32_t)node));
	for (uint32_t i = 0; i < sim->node_slots; i++)
		if (sim->processes[node * sim->node_slots + i].used)
			restart(sim, node * sim->node_slots + i);
}

void sim_kill_node(struct sim *sim, uint32_t node, int64_t for_us)
{
	if (sim->node_is_down[node])
		return;
	sim_note(sim, "node dies", node, (uint64_t)for_us);
	sim->node_is_down[node] = true;
	for (uint32_t i = 0; i < sim->node_slots; i++) {
		struct sim_process *process = &sim->processes[node * sim->node_slots + i];

		if (process->line_goes_on) { /* its successor dies with it */
			process->line_goes_on = false;
			free_process(sim, process);
		}
		sim_kill_process(sim, node * sim->node_slots + i, false);
	}
	sim_at(sim, sim->now_us + for_us, start_node, node);
}

void sim_pause_process(struct sim *sim, uint32_t slot, int64_t for_us)
{
	struct sim_process *process = &sim->processes[slot];

	/* (a pause is not made longer: frames that wait for its end would change their order) */
	if (!process->alive || process->paused_until_us > sim->now_us)
		return;
	sim_note(sim, "pause", slot, (uint64_t)for_us);
	process->paused_until_us = sim->now_us + for_us;
}

void sim_stop_process(struct sim *sim, uint32_t slot)
{
	struct sim_process *process = &sim->processes[slot];

	process->doom_steps = 0;
	if (process->line_goes_on) { /* its successor is not to come any more */
		process->line_goes_on = false;
		free_process(sim, process);
	}
	if (!process->alive)
		return;
	sim_etcd_process_gone(sim, process->rt);
	runtime_destroy(&process->rt);
	free_process(sim, process);
}

void sim_drain_process(struct sim *sim, uint32_t slot)
{
	struct sim_process *process = &sim->processes[slot];
	int64_t drain_ms = sim->config.drain_ms;

	if (!process->alive || process->drain_until_us)
		return;
	sim_note(sim, "drain", slot, process->incarnation);
	process->drain_until_us = sim->now_us + drain_ms * SIM_MS;
	process_own_status(&process->env)->state = PROCESS_DRAINING;
	runtime_tick(process->rt);
	runtime_drain(process->rt, (uint32_t)drain_ms);
	sim_wake(sim, process);
}

void sim_end_if_drained(struct sim *sim, struct sim_process *process)
{
	uint32_t slot = (uint32_t)(process - sim->processes);

	if (!process->drain_until_us ||
		(!runtime_is_drained(process->rt) && sim->now_us < process->drain_until_us))
		return;
	sim_note(sim, "drained", slot, process->incarnation);
	runtime_turn(process->rt);
	sim_stop_process(sim, slot);
	announce_death(sim, process);
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 1000, RESTART_US), restart, slot);
}

void sim_start_all(struct sim *sim)
{
	uint32_t workers = sim->workers;

	for (uint32_t i = 0; i < sim->slots; i++) {
		struct sim_process *process = &sim->processes[i];
		uint32_t slot = i % sim->node_slots;

		if (slot == CONTROL_SLOT && sim->scenario->cluster)
			workers = (uint32_t)rng_between(&sim->rng, 1, sim->workers);
		if (slot > workers + sim->helpers)
			continue;
		process->node = i / sim->node_slots;
		process->role = slot == CONTROL_SLOT ? PROCESS_CONTROL
				: slot <= workers    ? PROCESS_MEDIA
						     : PROCESS_HELPER;
		process->index = process->role == PROCESS_MEDIA ? slot - 1 : 0;
		if (process->role == PROCESS_MEDIA)
			sim->media[sim->media_count++] = i;
		process->used = true;
	}
	for (uint32_t i = 0; i < sim->slots; i++)
		if (sim->processes[i].used)
			sim_start_process(sim, i);
}

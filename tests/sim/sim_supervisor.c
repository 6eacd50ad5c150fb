/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what the supervisor is to its processes. It keeps the status page, tells each process
 * what node it belongs to, and obeys the console's commands; the processor is a model (a turn and a
 * packet cost so much), unless a process has been made busy.
 *
 *   console --tell--> (a while) obeyed, replied --hear--> console
 *   settings --PROCESS_SET--> (a while) configuration of the node, its processes told of it
 *
 * Owns the page and the replies that wait. Files and ports of the host are never touched.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum {
	REPLIES_MAX = 64,      /* of commands, under way; more are refused, as a full socket does */
	REPLY_US = 3 * SIM_MS, /* at most until a command is obeyed */
	REPORT_US = 500 * SIM_MS, /* how often a process measures itself (runtime/live.c) */
	TURN_COST_US = 20,
	PACKET_COST_US = 4,
	FULL_PERMILLE = 950,
	PID_BASE = 1000,
	HTTP_PORT = 8080,
	RTMP_PORT = 1935,
	MESH_PORT = 7400,
};

struct order {
	struct process_command command;
	uint32_t node;
	uint32_t control; /* incarnation that gave it: nobody else hears the reply */
	bool done;
	struct process_reply reply;
};

struct sim_supervisor {
	struct process_page page[SIM_NODES_MAX];
	struct order orders[REPLIES_MAX];
	uint32_t order_count;
};

struct sim_supervisor *sim_supervisor_create(void)
{
	struct sim_supervisor *s = calloc(1, sizeof(*s));

	MUST(s);
	for (int node = 0; node < SIM_NODES_MAX; node++) {
		s->page[node].magic = PROCESS_PAGE_MAGIC;
		s->page[node].slots = PROCESS_SLOTS_MAX;
		s->page[node].node_state = PROCESS_NODE_READY;
	}
	return s;
}

void sim_supervisor_destroy(struct sim_supervisor **s)
{
	free(*s);
	*s = NULL;
}

/* ---- processes --------------------------------------------------------------------------------- */

static uint32_t workers_of(const struct sim *sim, uint32_t node)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < sim->media_count; i++)
		count += sim->processes[sim->media[i]].node == node;
	return count;
}

void sim_supervisor_started(struct sim *sim, struct sim_process *process)
{
	struct process_env *env = &process->env;

	*env = (struct process_env){
		.role = (enum process_role)process->role,
		.index = process->index,
		.incarnation = process->incarnation,
		.block = process->block,
		.node_id = SIM_NODE + process->node,
		.supervisor_pid = PID_BASE,
		.worker_count = workers_of(sim, process->node),
		.helper_count = 1,
		.http_port = HTTP_PORT,
		.rtmp_port = RTMP_PORT,
		.rtc_port = sim_rtc_port(process),
		.mesh_port = sim->wide ? MESH_PORT : 0,
		.advertise_count = 1,
		.advertise = {"127.0.0.1"},
		.fd = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
		.page = &sim->supervisor->page[process->node],
		.config = sim_config_of(sim, process->node),
	};
	text_copy(env->node_name, sizeof(env->node_name), env->config->node_name);
	for (uint32_t i = 0; sim->wide && i < env->worker_count; i++)
		env->link_ports[i] = (uint16_t)(SIM_LINK_PORT + i);
	memset(&env->fd, 0xff, sizeof(env->fd)); /* -1, all of them: nothing of the host */
	struct process_status *status = process_own_status(env);

	status->restarts += status->state != PROCESS_EMPTY;
	status->state = PROCESS_READY;
	status->order = PROCESS_RUN;
	status->pid = PID_BASE + process->incarnation;
	status->incarnation = process->incarnation;
	status->cpu_permille = status->packets_per_s = 0;
	status->sessions = status->streams = 0;
	status->role = process->role;
	status->index = process->index;
	status->block = (uint32_t)process->block;
	process->reported_us = sim->now_us;
	process->busy_until_us = 0;
	process->drain_until_us = 0;
	process->turns = process->packets = 0;
}

/* The others stay in their order. */
static void forget_order(struct sim_supervisor *s, uint32_t i)
{
	memmove(&s->orders[i], &s->orders[i + 1], (--s->order_count - i) * sizeof(s->orders[0]));
}

void sim_supervisor_gone(struct sim *sim, const struct sim_process *process)
{
	struct sim_supervisor *s = sim->supervisor;

	process_own_status(&process->env)->state = PROCESS_DEAD;
	for (uint32_t i = 0; i < s->order_count;)
		if (s->orders[i].control == process->incarnation)
			forget_order(s, i);
		else
			i++;
}

void sim_supervisor_measure(struct sim *sim, struct sim_process *process)
{
	struct process_status *status = process_own_status(&process->env);
	int64_t span_us = sim->now_us - process->reported_us;
	uint64_t cost_us;

	process->turns++;
	if (span_us < REPORT_US)
		return;
	cost_us = process->turns * TURN_COST_US + process->packets * PACKET_COST_US;
	status->cpu_permille = process->busy_until_us > sim->now_us
				       ? FULL_PERMILLE
				       : (uint32_t)(cost_us * 1000 / (uint64_t)span_us);
	status->packets_per_s = (uint32_t)(process->packets * 1000000 / (uint64_t)span_us);
	process->turns = process->packets = 0;
	process->reported_us = sim->now_us;
}

/* ---- drains ------------------------------------------------------------------------------------ */

static void open_node(struct sim *sim, uint64_t node)
{
	atomic_store(&sim->supervisor->page[node].closed, 0);
}

void sim_supervisor_drain(struct sim *sim, uint32_t node, int64_t for_us)
{
	sim_note(sim, "drain", node, (uint64_t)for_us);
	atomic_store(&sim->supervisor->page[node].closed, 1);
	sim_at(sim, sim->now_us + for_us, open_node, node);
}

void sim_supervisor_heal(struct sim *sim)
{
	for (uint32_t node = 0; node < sim->nodes; node++)
		open_node(sim, node);
}

/* ---- commands ---------------------------------------------------------------------------------- */

static enum err obey(struct sim *sim, uint32_t node, const struct process_command *command)
{
	uint32_t slot = 1 + command->index;

	if (command->op == PROCESS_SET)
		return sim_settings_obey(sim, node, command->text);
	if (command->op != PROCESS_KILL && command->op != PROCESS_DRAIN_WORKER)
		return ERR_UNSUPPORTED; /* a run ends by itself */
	if (command->role != PROCESS_MEDIA || command->index >= sim->workers)
		return ERR_NOT_FOUND;
	if (!sim->processes[slot].alive)
		return ERR_AGAIN; /* it is being started */
	if (command->op == PROCESS_KILL)
		sim_fall(sim, slot, true);
	else
		sim_drain_process(sim, slot);
	return ERR_OK;
}

static void obey_orders(struct sim *sim, uint64_t argument)
{
	struct sim_supervisor *s = sim->supervisor;

	(void)argument;
	for (uint32_t i = 0; i < s->order_count;) {
		struct order *order = &s->orders[i];

		if (!order->done && !order->command.id) { /* nobody waits for an answer */
			struct order quiet = *order;

			forget_order(s, i);
			obey(sim, quiet.node, &quiet.command);
			continue;
		}
		i++;
		if (order->done)
			continue;
		order->done = true;
		order->reply = (struct process_reply){
			.id = order->command.id,
			.index = order->command.index,
			.pid = PID_BASE + order->command.index,
			.err = obey(sim, order->node, &order->command),
		};
	}
}

static bool is_quiet_one_under_way(
	const struct sim_supervisor *s, const struct sim_process *process)
{
	for (uint32_t i = 0; i < s->order_count; i++)
		if (!s->orders[i].command.id && s->orders[i].control == process->incarnation)
			return true;
	return false;
}

enum err sim_supervisor_tell(void *context, const struct process_command *command)
{
	struct sim_process *process = context;
	struct sim *sim = process->sim;
	struct sim_supervisor *s = sim->supervisor;

	if (process->role != PROCESS_CONTROL)
		return ERR_UNSUPPORTED;
	if (s->order_count == REPLIES_MAX)
		return ERR_AGAIN;
	sim_note(sim, "command", command->op, command->index);
	/* (of several that nobody waits for, said together, the first is the one that is waited for) */
	if (command->id || !is_quiet_one_under_way(s, process))
		sim_at(sim, sim->now_us + rng_between(&sim->rng, 1, REPLY_US), obey_orders, 0);
	s->orders[s->order_count++] = (struct order){
		.command = *command, .node = process->node, .control = process->incarnation};
	return ERR_OK;
}

enum err sim_supervisor_hear(void *context, struct process_reply *reply)
{
	struct sim_process *process = context;
	struct sim_supervisor *s = process->sim->supervisor;

	for (uint32_t i = 0; i < s->order_count; i++) {
		if (!s->orders[i].done || s->orders[i].control != process->incarnation)
			continue;
		*reply = s->orders[i].reply;
		forget_order(s, i);
		return ERR_OK;
	}
	return ERR_AGAIN;
}

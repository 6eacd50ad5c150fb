/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: clock, events, processes. See sim.h for the picture.
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
#include "runtime/live.h"
#include "runtime/process_office.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	CONTROL_SLOT = 0,
	SEE_UP_US = 3000,    /* at most until a new process is known to another */
	SEE_DOWN_US = 20000, /* at most until a death is */
	RESTART_US = 60000,
	EDGE_SESSIONS = 32,
	EDGE_BUFFERS = 12,
};

/* a time in the middle of nowhere, so that nothing relies on small numbers */
#define SIM_START_US (3600ll * 1000000)

const char *const sim_plant_names[SIM_PLANTS] = {"none", "hold", "death", "resend", "packet",
	"restore", "index", "escrow", "forget", "parcel"};

enum event_kind {
	EVENT_CALL,
	EVENT_FRAME,
	EVENT_PARCEL,
	EVENT_PEER_UP,
	EVENT_PEER_DOWN,
	EVENT_PEER_AGAIN
};

struct sim_event {
	int64_t at_us;
	uint64_t order;
	enum event_kind kind;
	void (*fn)(struct sim *sim, uint64_t argument);
	uint64_t argument;
	struct sim_frame *frame;
	struct sim_parcel *parcel;
	uint32_t who, about; /* peer events: incarnations */
	struct runtime_peer_info info;
};

/* ---- failures and trace ------------------------------------------------------------------------ */

void sim_fail(struct sim *sim, const char *format, ...)
{
	va_list arguments;

	if (sim->failed)
		return;
	sim->failed = true;
	int at = snprintf(sim->failure, sizeof(sim->failure),
		"at %.3f s: ", (double)(sim->now_us - SIM_START_US) / 1e6);

	va_start(arguments, format);
	vsnprintf(sim->failure + at, sizeof(sim->failure) - (size_t)at, format, arguments);
	va_end(arguments);
}

static void fold(struct sim *sim, uint64_t value)
{
	sim->trace = (sim->trace ^ value) * 0x9e3779b97f4a7c15ull;
	sim->trace ^= sim->trace >> 29;
}

void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b)
{
	fold(sim, (uint64_t)sim->now_us);
	fold(sim, (uint64_t)what[0] << 8 | (uint8_t)what[1]);
	fold(sim, a);
	fold(sim, b);
	if (sim->options.trace)
		fprintf(stderr, "%10.6f  %-14s %llx %llx\n",
			(double)(sim->now_us - SIM_START_US) / 1e6, what, (unsigned long long)a,
			(unsigned long long)b);
}

/* ---- the heap of events ------------------------------------------------------------------------ */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct sim *sim, const struct sim_event *made)
{
	struct sim_event *event = malloc(sizeof(*event));

	MUST(event);
	*event = *made;
	event->order = sim->next_order++;
	if (sim->heap_count == sim->heap_capacity) {
		sim->heap_capacity = sim->heap_capacity ? sim->heap_capacity * 2 : 256;
		sim->heap = realloc(sim->heap, sim->heap_capacity * sizeof(struct sim_event *));
		MUST(sim->heap);
	}
	size_t at = sim->heap_count++;

	for (; at && before(event, sim->heap[(at - 1) / 2]); at = (at - 1) / 2)
		sim->heap[at] = sim->heap[(at - 1) / 2];
	sim->heap[at] = event;
}

static struct sim_event *pop(struct sim *sim)
{
	struct sim_event *first = sim->heap[0];
	struct sim_event *last = sim->heap[--sim->heap_count];
	size_t at = 0;

	for (size_t child = 1; child < sim->heap_count; child = at * 2 + 1) {
		if (child + 1 < sim->heap_count && before(sim->heap[child + 1], sim->heap[child]))
			child++;
		if (!before(sim->heap[child], last))
			break;
		sim->heap[at] = sim->heap[child];
		at = child;
	}
	sim->heap[at] = last;
	return first;
}

void sim_at(struct sim *sim, int64_t at_us, void (*fn)(struct sim *sim, uint64_t argument),
	uint64_t argument)
{
	push(sim, &(struct sim_event){
			  .at_us = at_us, .kind = EVENT_CALL, .fn = fn, .argument = argument});
}

void sim_push_frame(struct sim *sim, int64_t at_us, struct sim_frame *frame)
{
	push(sim, &(struct sim_event){.at_us = at_us, .kind = EVENT_FRAME, .frame = frame});
}

void sim_push_parcel(struct sim *sim, int64_t at_us, struct sim_parcel *parcel)
{
	push(sim, &(struct sim_event){.at_us = at_us, .kind = EVENT_PARCEL, .parcel = parcel});
}

/* ---- what a process is given ------------------------------------------------------------------- */

/* (The kernel reads the clock whenever it lets somebody run.) */
static int64_t op_now_us(void *context)
{
	const struct sim_process *process = context;
	struct sim *sim = process->sim;

	sim->stirred |= 1u << (process - sim->processes);
	if (process->alive)
		sim_takeover_step((struct sim_process *)context);
	return sim->now_us;
}

static int64_t op_wall_us(void *context)
{
	return op_now_us(context) + SIM_WALL_SHIFT_US;
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
	.node_send = sim_ways_send,
	.node_wanted = sim_ways_wanted,
	.net_take = sim_net_take,
	.net_open_beside = sim_net_open_beside,
	.net_listen_pause = sim_net_listen_pause,
	.net_send = sim_net_send,
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
	.http_start = sim_web_start,
	.http_read = sim_web_read,
	.http_cancel = sim_web_cancel,
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
	&callback_office_actor, &callback_actor, &sim_far_actor, NULL};

static const struct arena_layout plenty = {
	.count = {6144,		16,		    16, 4},
	.size = {sizeof(struct packet),		ARENA_LOG_SIZE,				4096, 16384},
	.escrow = {.actors = 4096,.blocks = 16384},
};

static struct arena_layout layout_of(const struct sim_scenario *scenario)
{
	struct arena_layout layout = plenty;

	if (scenario->packets)
		layout.count[ARENA_PACKET] = scenario->packets;
	if (sim_scenario_has_edges(scenario)) {
		layout.count[ARENA_SESSION] = EDGE_SESSIONS;
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
	for (uint32_t i = 0; i < sim->slots; i++) {
		const struct sim_process *process = &sim->processes[i];

		if (process->incarnation == incarnation &&
			(process->alive || process->falling || process->line_goes_on))
			return true;
	}
	return false;
}

struct sim_process *sim_process_of(struct sim *sim, uint32_t incarnation)
{
	for (uint32_t i = 0; i < sim->slots; i++)
		if (sim->processes[i].alive && sim->processes[i].incarnation == incarnation)
			return &sim->processes[i];
	return NULL;
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

	for (const struct live_office *at = programs[process->role]->offices; at->type; at++) {
		uint64_t id = process->block << RUNTIME_BLOCK_SHIFT | at->office;

		if (!is_left_out(process->sim, at->office) && !runtime_find(process->rt, id))
			MUST(actor_spawn_office(process->rt, at->office, at->type, at->args) ==
				ERR_OK);
	}
}

/* Both see each other, not at the same moment. */
static void introduce(struct sim *sim, const struct sim_process *a, const struct sim_process *b)
{
	push(sim, &(struct sim_event){
			  .at_us = sim->now_us + rng_between(&sim->rng, 0, SEE_UP_US),
			  .kind = EVENT_PEER_UP,
			  .who = a->incarnation,
			  .about = b->incarnation,
			  .info = {.process = b->incarnation,
				   .block = b->block,
				   .role = b->role,
				   .index = b->index},
	  });
}

void sim_meet_again(struct sim *sim, const struct sim_process *who, const struct sim_process *about,
	int64_t within_us)
{
	push(sim, &(struct sim_event){
			  .at_us = sim->now_us + rng_between(&sim->rng, 0, within_us),
			  .kind = EVENT_PEER_AGAIN,
			  .who = who->incarnation,
			  .about = about->incarnation,
			  .info = {.process = about->incarnation,
				   .block = about->block,
				   .role = about->role,
				   .index = about->index},
	  });
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
		.config = &sim->config,
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
	MUST(runtime_create(&options, &process->rt) == ERR_OK);
}

void sim_start_process(struct sim *sim, uint32_t slot)
{
	struct sim_process *process = &sim->processes[slot];
	struct log_sink sink = {.now_us = op_wall_us, .write = log_line, .context = process};
	size_t size = arena_size(&sim->layout);

	process->sim = sim;
	process->used = process->alive = true;
	process->incarnation = ++sim->next_incarnation;
	process->block = process->incarnation + 100;
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
	if (!sim->processes[slot].alive && !sim->processes[slot].line_goes_on)
		sim_start_process(sim, (uint32_t)slot);
}

/* The others hear of it, one after the other. */
static void announce_death(struct sim *sim, const struct sim_process *process)
{
	for (uint32_t i = 0; i < sim->slots; i++)
		if (sim->processes[i].alive && sim->processes[i].node == process->node &&
			sim->options.plant != SIM_PLANT_DEATH)
			push(sim, &(struct sim_event){
					  .at_us = sim->now_us +
						   rng_between(&sim->rng, 100, SEE_DOWN_US),
					  .kind = EVENT_PEER_DOWN,
					  .who = sim->processes[i].incarnation,
					  .about = process->incarnation,
				  });
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
		sim_ways_gateway_gone(sim, process->node);
	runtime_destroy(&process->rt);
	free_process(sim, process);
	announce_death(sim, process);
	if (again)
		sim_at(sim, sim->now_us + rng_between(&sim->rng, 1000, RESTART_US), restart, slot);
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

static void end_if_drained(struct sim *sim, struct sim_process *process)
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

struct sim_account *sim_account(struct sim *sim, uint64_t stream)
{
	struct sim_account *account = idmap_get(&sim->accounts, stream);

	if (account)
		return account;
	account = calloc(1, sizeof(*account));
	MUST(account);
	account->stream = stream;
	MUST(idmap_put(&sim->accounts, stream, account) == ERR_OK);
	return account;
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static void run_peer_event(struct sim *sim, const struct sim_event *event)
{
	struct sim_process *process = sim_process_of(sim, event->who);

	if (!process)
		return;
	/* one that died before it was seen is never seen */
	if (event->kind == EVENT_PEER_UP && sim_process_of(sim, event->about)) {
		sim_note(sim, "up", event->who, event->about);
		if (!runtime_peer_known(process->rt, event->about))
			MUST(runtime_peer_up(process->rt, &event->info) == ERR_OK);
	} else if (event->kind == EVENT_PEER_AGAIN && sim_process_of(sim, event->about)) {
		sim_note(sim, "again", event->who, event->about);
		if (runtime_peer_known(process->rt, event->about))
			runtime_peer_again(process->rt, event->about);
		else
			MUST(runtime_peer_up(process->rt, &event->info) == ERR_OK);
	} else if (event->kind == EVENT_PEER_DOWN) {
		sim_note(sim, "down", event->who, event->about);
		runtime_peer_down(process->rt, event->about);
	}
	sim_wake(sim, process);
}

static void run_event(struct sim *sim, struct sim_event *event)
{
	sim->events_run++;
	switch (event->kind) {
	case EVENT_CALL: event->fn(sim, event->argument); break;
	case EVENT_FRAME: sim_bus_deliver(sim, event->frame); break;
	case EVENT_PARCEL: sim_ways_deliver(sim, event->parcel); break;
	case EVENT_PEER_UP:
	case EVENT_PEER_AGAIN:
	case EVENT_PEER_DOWN: run_peer_event(sim, event); break;
	}
	free(event);
}

/* When a process wants its next turn. */
static int64_t due_us(const struct sim_process *process)
{
	if (!process->alive)
		return INT64_MAX;
	return process->wake_us > process->paused_until_us ? process->wake_us
							   : process->paused_until_us;
}

static struct sim_process *next_process(struct sim *sim)
{
	struct sim_process *next = &sim->processes[0];

	for (uint32_t i = 1; i < sim->slots; i++)
		if (due_us(&sim->processes[i]) < due_us(next))
			next = &sim->processes[i];
	return next;
}

void sim_run_until(struct sim *sim, int64_t until_us)
{
	while (!sim->failed) {
		struct sim_process *process = next_process(sim);
		int64_t turn_us = due_us(process);
		int64_t event_us = sim->heap_count ? sim->heap[0]->at_us : INT64_MAX;
		int64_t at_us = turn_us < event_us ? turn_us : event_us;

		if (at_us > until_us)
			break;
		if (at_us > sim->now_us)
			sim->now_us = at_us;
		if (event_us <= turn_us) {
			run_event(sim, pop(sim));
		} else {
			sim_restore_plant(sim, process);
			runtime_tick(process->rt);
			process->wake_us = runtime_turn(process->rt);
			/* a turn takes some time: nobody runs twice at one moment */
			if (process->wake_us <= sim->now_us)
				process->wake_us = sim->now_us + 5;
			if (!process->falling) {
				sim_supervisor_measure(sim, process);
				sim_check_owners(sim, process);
				sim_check_moved(sim, process);
				end_if_drained(sim, process);
			}
		}
		sim_bury_fallen(sim);
		sim_check_step(sim);
	}
	if (until_us > sim->now_us && !sim->failed)
		sim->now_us = until_us;
}

/* ---- life -------------------------------------------------------------------------------------- */

static void start_all(struct sim *sim)
{
	uint32_t used = 1 + sim->workers + 1;

	for (uint32_t i = 0; i < sim->slots; i++) {
		struct sim_process *process = &sim->processes[i];
		uint32_t slot = i % SIM_SLOTS;

		if (slot >= used)
			continue;
		process->node = i / SIM_SLOTS;
		process->role = slot == CONTROL_SLOT   ? PROCESS_CONTROL
				: slot <= sim->workers ? PROCESS_MEDIA
						       : PROCESS_HELPER;
		process->index = slot && slot <= sim->workers ? slot - 1 : 0;
		sim_start_process(sim, i);
	}
}

struct sim *sim_create(const struct sim_options *options)
{
	static struct config_report report; /* written, never read */
	struct sim *sim = calloc(1, sizeof(*sim));

	MUST(sim);
	sim->options = *options;
	sim->rng = rng_of(options->seed);
	sim->check_rng = rng_of(options->seed ^ 0x636865636bull);
	sim->now_us = SIM_START_US;
	config_init(&sim->config, &report);
	sim->config.stream_publisher_grace_ms = 3000;
	sim->config.stream_publisher_silent_ms = 500;
	sim->config.drain_ms = 2000;
	sim->config.webrtc_consent_ms = 5000;
	sim->scenario = options->scenario ? sim_scenario_find(options->scenario) : NULL;
	if (!sim->scenario) {
		size_t count = 0;

		while (sim_scenario_at(count))
			count++;
		sim->scenario = sim_scenario_at(options->seed % count);
	}
	if (sim->scenario->standby)
		text_copy(sim->config.stream_standby, sizeof(sim->config.stream_standby),
			sim->scenario->standby);
	sim->layout = layout_of(sim->scenario);
	sim->nodes = sim->scenario->nodes ? sim->scenario->nodes : 1;
	sim->slots = sim->nodes * SIM_SLOTS;
	sim->workers = sim->scenario->workers;
	sim->streams = sim->scenario->streams;
	sim->faults = sim->scenario->faults;
	sim->faults_on = true;
	sim->chaos_until_us = sim->now_us + sim->scenario->chaos_ms * SIM_MS;
	sim->supervisor = sim_supervisor_create();
	sim->net = sim_net_create(sim);
	sim->web = sim_web_create();
	sim->ways = sim_ways_create(sim);
	if (sim->scenario->callbacks)
		sim_callbacks_begin(sim);
	if (sim_scenario_has_edges(sim->scenario))
		sim->edges = sim_edges_create(sim);
	start_all(sim);
	return sim;
}

void sim_destroy(struct sim **sim_)
{
	struct sim *sim = *sim_;

	if (!sim)
		return;
	for (uint32_t slot = 0; slot < sim->slots; slot++)
		sim_stop_process(sim, slot);
	sim_bury_fallen(sim);
	for (uint32_t slot = 0; slot < sim->slots; slot++) {
		free(sim->processes[slot].truth);
		free(sim->processes[slot].lived);
	}
	for (size_t i = 0; i < sim->heap_count; i++) {
		if (sim->heap[i]->kind == EVENT_FRAME)
			sim_bus_drop(sim, sim->heap[i]->frame);
		else if (sim->heap[i]->kind == EVENT_PARCEL)
			sim_ways_drop(sim, sim->heap[i]->parcel);
		free(sim->heap[i]);
	}
	for (size_t i = 0; i < sim->accounts.capacity; i++)
		free(sim->accounts.entries[i].value);
	idmap_fini(&sim->accounts);
	sim_edges_destroy(sim);
	sim_net_destroy(&sim->net);
	sim_supervisor_destroy(&sim->supervisor);
	sim_web_destroy(&sim->web);
	sim_callbacks_end(sim);
	sim_far_end(sim);
	sim_ways_destroy(&sim->ways);
	free(sim->heap);
	free(sim);
	*sim_ = NULL;
}

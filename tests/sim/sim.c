/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: clock, events, life of a run. See sim.h for the picture; sim_process.c has the processes.
 */
#include "tests/sim/sim_edges.h"

#include "runtime/kernel.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	CLUSTER_SMALL = 6,	   /* nodes: what goes wrong mostly does so among few, … */
	CLUSTER_LARGE_ONE_IN = 24, /* … and they cost less than one of the largest */
};

/* a time in the middle of nowhere, so that nothing relies on small numbers */
#define SIM_START_US (3600ll * 1000000)

const char *const sim_plant_names[SIM_PLANTS] = {"none", "hold", "death", "resend", "packet",
	"restore", "index", "escrow", "forget", "parcel", "nonce"};

enum event_kind { EVENT_CALL, EVENT_CARRIED, EVENT_PEER };

struct sim_event {
	int64_t at_us;
	uint64_t order;
	enum event_kind kind;
	void (*fn)(struct sim *sim, uint64_t argument);
	uint64_t argument;
	const struct sim_carrier *carrier;
	void *carried;
	enum sim_peer_event peer;
	uint32_t who, about; /* incarnations */
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

void sim_carry(struct sim *sim, int64_t at_us, const struct sim_carrier *carrier, void *carried)
{
	push(sim, &(struct sim_event){.at_us = at_us,
			  .kind = EVENT_CARRIED,
			  .carrier = carrier,
			  .carried = carried});
}

void sim_push_peer(struct sim *sim, int64_t at_us, enum sim_peer_event what,
	const struct sim_process *who, const struct sim_process *about)
{
	push(sim, &(struct sim_event){
			  .at_us = at_us,
			  .kind = EVENT_PEER,
			  .peer = what,
			  .who = who->incarnation,
			  .about = about->incarnation,
			  .info = {.process = about->incarnation,
				   .block = about->block,
				   .role = about->role,
				   .index = about->index},
	  });
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
	if (event->peer == SIM_PEER_UP && sim_process_of(sim, event->about)) {
		sim_note(sim, "up", event->who, event->about);
		if (!runtime_peer_known(process->rt, event->about))
			MUST(runtime_peer_up(process->rt, &event->info) == ERR_OK);
	} else if (event->peer == SIM_PEER_AGAIN && sim_process_of(sim, event->about)) {
		sim_note(sim, "again", event->who, event->about);
		if (runtime_peer_known(process->rt, event->about))
			runtime_peer_again(process->rt, event->about);
		else
			MUST(runtime_peer_up(process->rt, &event->info) == ERR_OK);
	} else if (event->peer == SIM_PEER_DOWN) {
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
	case EVENT_CARRIED: event->carrier->deliver(sim, event->carried); break;
	case EVENT_PEER: run_peer_event(sim, event); break;
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
				sim_end_if_drained(sim, process);
			}
		}
		sim_bury_fallen(sim);
		sim_check_step(sim);
	}
	if (until_us > sim->now_us && !sim->failed)
		sim->now_us = until_us;
}

/* ---- life -------------------------------------------------------------------------------------- */

static uint32_t draw_nodes(struct sim *sim)
{
	uint32_t most = sim->scenario->nodes;

	if (!sim->scenario->cluster)
		return most ? most : 1;
	if (most > CLUSTER_SMALL && rng_below(&sim->rng, CLUSTER_LARGE_ONE_IN))
		most = CLUSTER_SMALL;
	return (uint32_t)rng_between(&sim->rng, 2, most);
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
	text_copy(sim->config.node_name, sizeof(sim->config.node_name), "sim");
	sim->config.stream_publisher_grace_ms = 3000;
	sim->config.stream_publisher_silent_ms = 500;
	sim->config.drain_ms = 2000;
	sim->config.webrtc_consent_ms = 5000;
	sim->scenario = options->scenario ? sim_scenario_find(options->scenario) : NULL;
	if (!sim->scenario)
		sim->scenario = sim_scenario_of(options->seed);
	if (sim->scenario->standby)
		text_copy(sim->config.stream_standby, sizeof(sim->config.stream_standby),
			sim->scenario->standby);
	sim->layout = sim_layout_of(sim->scenario);
	sim->nodes = draw_nodes(sim);
	sim->node_slots = sim->scenario->cluster ? SIM_CLUSTER_SLOTS : SIM_SLOTS;
	sim->slots = sim->nodes * sim->node_slots;
	sim->workers = sim->scenario->workers;
	sim->helpers = !sim->scenario->cluster;
	sim->streams = sim->scenario->streams;
	sim->faults = sim->scenario->faults;
	sim->faults_on = true;
	sim->chaos_until_us = sim->now_us + sim->scenario->chaos_ms * SIM_MS;
	sim->supervisor = sim_supervisor_create();
	sim->net = sim_net_create(sim);
	sim->web = sim_web_create();
	if (sim->scenario->cluster) {
		sim->wide = sim_wide_create(sim);
		sim->mesh = sim_mesh_create(sim);
		sim->etcd = sim_etcd_create(sim);
	}
	sim->ways = sim_ways_create(sim);
	if (sim->scenario->callbacks)
		sim_callbacks_begin(sim);
	if (sim_scenario_has_edges(sim->scenario))
		sim->edges = sim_edges_create(sim);
	sim_start_all(sim);
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
		if (sim->heap[i]->kind == EVENT_CARRIED)
			sim->heap[i]->carrier->drop(sim, sim->heap[i]->carried);
		free(sim->heap[i]);
	}
	for (size_t i = 0; i < sim->accounts.capacity; i++)
		free(sim->accounts.entries[i].value);
	idmap_fini(&sim->accounts);
	sim_edges_destroy(sim);
	sim_net_destroy(&sim->net);
	sim_supervisor_destroy(&sim->supervisor);
	sim_web_destroy(&sim->web);
	sim_etcd_destroy(&sim->etcd);
	sim_mesh_destroy(&sim->mesh);
	sim_wide_destroy(&sim->wide);
	sim_callbacks_end(sim);
	sim_far_end(sim);
	sim_ways_destroy(&sim->ways);
	free(sim->heap);
	free(sim);
	*sim_ = NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: a worker dies and its line goes on (decision 14).
 *
 *   sim_fall ──> doomed ──some steps of the kernel and stores of the escrow──> frozen: the memory is as
 *                                  it is now; what runs on runs on a copy and is heard by nobody
 *        ──event over──> buried ──a while──> the successor: same number, block, sockets, memory
 *                          └── the successor may fall while it takes over
 *
 * A step may lie anywhere: before and after a mail leaves, in the middle of keeping a turn, in a
 * handler, in a restore function.
 *
 * Publishers of the simulator stand for somebody outside, who does not begin to count anew: what they
 * had numbered when their worker fell is theirs again (struct sim_truth).
 */
#include "runtime/kernel.h"
#include "tests/sim/sim_clients.h"
#include "tests/sim/sim_edges.h"

#include <stdlib.h>

enum {
	STEPS_MAX = 400,       /* until a doomed process falls */
	SPARE_US = 3 * SIM_MS, /* most that a spare takes to go on */
	NO_SPARE_US = 120 * SIM_MS,
	MEET_US = 3 * SIM_MS, /* most until a peer sees the successor */
	/* packets between a publisher and its stream's count of them: one turn's, which after a pause is
	 * all that has come meanwhile */
	UNCOUNTED_MAX = 512,
};

/* Whose kernel or escrow is at work; of the program, as one process runs at a time. */
static struct sim_process *at_work;

/* ---- falling ----------------------------------------------------------------------------------- */

static void remember_publishers(struct sim_process *process)
{
	process->truths = 0;
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		const struct sim_publisher_actor *publisher = (const void *)actor->data;

		if (actor->type != &sim_publisher || process->truths == SIM_CLIENTS_MAX)
			continue;
		process->truth[process->truths++] =
			(struct sim_truth){.id = actor->id, .st = publisher->st};
	}
}

/* Who must be there again: those who live, as far as a turn was kept since they were born. */
static void remember_living(struct sim_process *process)
{
	static uint8_t bytes[RUNTIME_FRAME_MAX];

	process->lived_count = 0;
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		uint64_t owner;
		size_t size;

		if (!actor->escrow_entry || process->lived_count == SIM_LIVED_MAX)
			continue;
		if (!escrow_read(process->escrow, actor->escrow_entry, &owner, bytes, sizeof(bytes),
			    &size) &&
			owner == actor->id)
			process->lived[process->lived_count++] = actor->id;
	}
}

static void freeze(struct sim_process *process)
{
	struct sim *sim = process->sim;

	sim_note(sim, "falls", process->incarnation, sim->events_run);
	process->alive = false;
	process->falling = true;
	process->doom_steps = 0;
	if (!process->taking_over) {
		remember_publishers(process);
		remember_living(process);
	}
	sim_memory_freeze(process->memory);
}

static void step(struct sim_process *process)
{
	if (process->doom_steps && --process->doom_steps == 0)
		freeze(process);
}

void sim_takeover_step(struct sim_process *process)
{
	at_work = process;
	step(process);
}

void *sim_escrow_store(void *to, const void *from, size_t size)
{
	struct sim_process *process = at_work;
	const uint8_t *memory = process ? process->memory : NULL;

	/* (another escrow: of a check, or of a process that begins) */
	if (memory && (uint8_t *)to >= memory && (uint8_t *)to < memory + process->memory_size)
		step(process);
	return memcpy(to, from, size);
}

void sim_fall(struct sim *sim, uint32_t slot, bool at_once)
{
	struct sim_process *process = &sim->processes[slot];

	if (!process->alive || process->doom_steps)
		return;
	/* one that is being drained is not gone on with, and some successors do not come up */
	if (process->role != PROCESS_MEDIA || process->drain_until_us ||
		(!sim->scenario->keeps && rng_below(&sim->rng, 4) == 0)) {
		sim_kill_process(sim, slot, true);
		return;
	}
	process->doom_steps = at_once ? 1 : 1 + (uint32_t)rng_below(&sim->rng, STEPS_MAX);
	if (at_once)
		sim_takeover_step(process);
}

/* ---- burial ------------------------------------------------------------------------------------ */

static void take_over(struct sim *sim, uint64_t slot);

/* What was under way to it is lost, and what it had said may be. */
static void cut_ways(struct sim *sim, uint32_t slot)
{
	uint32_t first = slot - slot % sim->node_slots; /* of its node */

	for (uint32_t i = first; i < first + sim->node_slots; i++) {
		sim->line[i][slot]++;
		sim->line[slot][i] += rng_below(&sim->rng, 2);
	}
}

static void bury(struct sim *sim, struct sim_process *process)
{
	uint32_t slot = (uint32_t)(process - sim->processes);

	at_work = NULL;
	process->falling = false;
	process->line_goes_on = true;
	sim->deaths++;
	process->rt->options.escrow = NULL;
	process->rt->options.arena = sim_empty_arena();
	runtime_destroy(&process->rt);
	sim_mirror_destroy(&process->mirror);
	sim_supervisor_gone(sim, process);
	sim_web_process_gone(sim->web, process->incarnation);
	sim_net_fallen(sim->net, process->incarnation);
	escrow_detach(&process->escrow);
	arena_detach(&process->arena);
	sim_memory_thaw(process->memory);
	cut_ways(sim, slot);
	sim_at(sim,
		sim->now_us + rng_between(&sim->rng, 200,
				      rng_below(&sim->rng, 4) ? SPARE_US : NO_SPARE_US),
		take_over, slot);
}

void sim_bury_fallen(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->slots; i++)
		if (sim->processes[i].falling)
			bury(sim, &sim->processes[i]);
	at_work = NULL;
}

/* ---- taking over ------------------------------------------------------------------------------- */

static void check_restored(
	struct sim *sim, struct sim_process *process, const struct runtime_takeover_report *report)
{
	SIM_CHECK(sim, report->left_out == 0, "%u actors of process %u were not to be read",
		report->left_out, process->incarnation);
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next)
		SIM_CHECK(sim,
			!actor->unfinished || report->poisoned || sim_restore_leaves_out(actor),
			"%s is lost with its worker",
			actor->name[0] ? actor->name : actor->type->name);
	for (uint32_t i = 0; i < process->lived_count; i++)
		SIM_CHECK(sim, runtime_find(process->rt, process->lived[i]),
			"%llx of process %u is forgotten", (unsigned long long)process->lived[i],
			process->incarnation);
}

/* The planted bug. */
static void overlook_somebody(struct sim_process *process)
{
	uint32_t entries = escrow_entries(process->escrow);
	uint32_t from = (uint32_t)rng_below(&process->sim->check_rng, 64);

	for (uint32_t entry = 1 + from; entry <= entries; entry++) {
		uint64_t owner = escrow_owner(process->escrow, entry);

		if (!owner || kernel_kept_class(owner) != KEPT_ACTOR)
			continue;
		escrow_remove(process->escrow, entry);
		escrow_commit(process->escrow);
		return;
	}
}

/* Packets given to a stream in the turn that was not kept: the dead one's count may lack a batch. */
static void balance_accounts(struct sim *sim, struct sim_process *process)
{
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		int64_t missing;

		if (!sim_account_missing(sim, actor, &missing))
			continue;
		SIM_CHECK(sim, missing >= 0 && missing <= UNCOUNTED_MAX,
			"%s has lost count of %lld packets with its worker", actor->name,
			(long long)missing);
		sim_account(sim, actor->id)->lost += (uint64_t)missing;
	}
}

static void meet(struct sim *sim, struct sim_process *process)
{
	uint32_t slot = (uint32_t)(process - sim->processes);
	uint32_t first = slot - slot % sim->node_slots; /* of its node */

	for (uint32_t i = first; i < first + sim->node_slots; i++) {
		struct sim_process *other = &sim->processes[i];
		const struct peer *peer = kernel_peer(process->rt, other->incarnation);

		if (i == slot || !other->used)
			continue;
		sim->mails[i][slot] = peer ? peer->mail.in_seq : 0;
		if (other->alive && !other->falling) {
			sim_meet_again(sim, process, other, MEET_US);
			sim_meet_again(sim, other, process, MEET_US);
		}
	}
}

/* Lines that ended while there was nobody to be told. */
static void forget_gone(struct sim *sim, struct sim_process *process)
{
	uint32_t gone[RUNTIME_PEERS_MAX], count = 0;

	for (int i = 0; i < process->rt->peers_end; i++) {
		const struct peer *peer = &process->rt->peers[i];

		if (peer->used && !sim_line_exists(sim, peer->info.process))
			gone[count++] = peer->info.process;
	}
	for (uint32_t i = 0; i < count; i++)
		runtime_peer_down(process->rt, gone[i]);
}

static void take_over(struct sim *sim, uint64_t slot)
{
	struct sim_process *process = &sim->processes[slot];
	struct runtime_takeover_report report;
	enum err err;

	if (!process->line_goes_on) /* the node was stopped meanwhile */
		return;
	process->line_goes_on = false;
	sim_note(sim, "takes over", slot, process->incarnation);
	process->alive = process->taking_over = true;
	at_work = process;
	if (rng_below(&sim->rng, 4) == 0)
		process->doom_steps = 1 + (uint32_t)rng_below(&sim->rng, STEPS_MAX);
	sim_stand_up(process);
	runtime_tick(process->rt);
	if (sim->options.plant == SIM_PLANT_FORGET)
		overlook_somebody(process);
	err = runtime_takeover(process->rt, &report);
	at_work = NULL;
	if (process->falling)
		return;
	process->taking_over = false;
	SIM_CHECK(sim, !err, "process %u cannot go on: %s", process->incarnation, err_name(err));
	if (sim->failed)
		return;
	check_restored(sim, process, &report);
	if (report.poisoned)
		sim->poisoned_us = sim->now_us;
	balance_accounts(sim, process);
	sim_net_taken_over(sim, process);
	sim_start_offices(process);
	forget_gone(sim, process);
	meet(sim, process);
	process->truths = 0;
	sim->takeovers++;
	sim_wake(sim, process);
}

const struct sim_truth *sim_truth_of(const struct runtime *rt, uint64_t id)
{
	const struct sim_process *process = runtime_options(rt)->context;

	for (uint32_t i = 0; sim_of(rt) && i < process->truths; i++)
		if (process->truth[i].id == id)
			return &process->truth[i];
	return NULL;
}

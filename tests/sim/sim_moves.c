/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: sessions go on at other workers (decision 18). Somebody is told to now and then, as an operator
 * or the port of a busy worker does; whoever has moved is looked for in all processes.
 */
#include "actors/webrtc/session.h"
#include "runtime/kernel.h"
#include "tests/sim/sim.h"

static struct actor *pick_session(const struct sim_process *process, uint64_t *left)
{
	struct actor *actor = process->alive ? process->rt->oldest : NULL;

	for (; actor; actor = actor->next)
		if (actor->type == &session_actor && actor->phase == SESSION_UP && !(*left)--)
			return actor;
	return NULL;
}

static uint64_t count_sessions(const struct sim *sim)
{
	uint64_t count = 0;

	for (uint32_t slot = 1; slot <= sim->workers; slot++) {
		uint64_t left = UINT64_MAX;

		pick_session(&sim->processes[slot], &left);
		count += UINT64_MAX - left;
	}
	return count;
}

void sim_move_somebody(struct sim *sim)
{
	uint64_t count = count_sessions(sim);
	uint64_t left = count ? rng_below(&sim->rng, count) : 0;
	uint32_t worker = (uint32_t)rng_below(&sim->rng, sim->workers);
	struct actor *actor = NULL;

	for (uint32_t slot = 1; count && slot <= sim->workers; slot++) {
		struct sim_process *process = &sim->processes[slot];

		actor = pick_session(process, &left);
		if (!actor)
			continue;
		if (process->paused_until_us > sim->now_us)
			return;
		sim_note(sim, "move", actor->id, worker);
		sim->moves++;
		runtime_tick(process->rt);
		actor_send(actor, actor_addr(actor), session_move, {.worker = worker});
		sim_wake(sim, process);
		return;
	}
}

uint64_t sim_count_moved(const struct sim *sim)
{
	uint64_t count = 0;

	for (uint32_t slot = 1; slot <= sim->workers; slot++)
		if (sim->processes[slot].alive)
			count += sim->processes[slot].rt->counters.moves_in;
	return count;
}

void sim_check_moved(struct sim *sim, const struct sim_process *process)
{
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next)
		for (uint32_t slot = 1; actor->moves && slot <= sim->workers; slot++) {
			const struct sim_process *other = &sim->processes[slot];

			SIM_CHECK(sim,
				other == process || !other->alive || other->falling ||
					!runtime_find(other->rt, actor->id),
				"%s lives in two processes", actor->name);
		}
}

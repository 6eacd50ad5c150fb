/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what must hold in a cluster whose faults are over, and how long it takes until it does.
 *
 * Every name has one owner, who is live; every viewer sees what its publisher sends; from every copy
 * one comes to the owner, by at most so many copies, and never round in a circle.
 */
#include "actors/link/link_internal.h"
#include "actors/stream/stream_actor.h"
#include "runtime/kernel.h"
#include "tests/sim/sim_edges.h"

#include <stdio.h>

enum {
	LOOK_MS = 250,
	STEADY_LOOKS = 4, /* in a row without any trouble */
	/* the entries of four nodes (RELAY_PATH_MAX), and at the end a copy at another worker */
	COPIES_MAX = 6,
	LOOK_AHEAD_US = 300 * SIM_MS, /* a link has to say something by then */
	AWAY_MIN_MS = 1000,	      /* etcd */
	AWAY_MAX_MS = 25000,	      /* longer than its leases */
	AWAY_SETTLE_MS = 10000,
	BACK_SETTLE_MS = 25000,
};

/* ---- copies ------------------------------------------------------------------------------------------ */

static const struct stream_state *stream_of(const struct actor *actor)
{
	return (const void *)actor->data;
}

static const struct actor *find_stream(const struct sim *sim, struct addr addr)
{
	for (uint32_t i = 0; i < sim->media_count; i++) {
		const struct sim_process *process = &sim->processes[sim->media[i]];
		const struct actor *actor = process->alive && SIM_NODE + process->node == addr.node
						    ? runtime_find(process->rt, addr.id)
						    : NULL;

		if (actor && actor->type == &stream_actor)
			return actor;
	}
	return NULL;
}

static void check_way(struct sim *sim, const struct actor *copy)
{
	const struct actor *at = copy;
	int copies = 0;

	for (; at && stream_of(at)->replica && copies <= COPIES_MAX; copies++)
		at = find_stream(sim, stream_of(at)->source);
	SIM_CHECK(sim, at, "the way of %s (%llx) leads to nobody", stream_of(copy)->name,
		(unsigned long long)copy->id);
	SIM_CHECK(sim, copies <= COPIES_MAX, "the way of %s (%llx) leads over %d copies",
		stream_of(copy)->name, (unsigned long long)copy->id, copies);
	SIM_CHECK(sim, !at || !strcmp(stream_of(at)->name, stream_of(copy)->name),
		"the way of %s leads to %s", stream_of(copy)->name, at ? stream_of(at)->name : "");
}

void sim_cluster_check_ways(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->media_count && !sim->failed; i++) {
		const struct sim_process *process = &sim->processes[sim->media[i]];
		const struct actor *actor = process->alive ? process->rt->oldest : NULL;

		for (; actor && !sim->failed; actor = actor->next)
			if (actor->type == &stream_actor && actor->phase == STREAM_LIVE)
				check_way(sim, actor);
	}
}

void sim_cluster_show(const struct sim *sim)
{
	for (uint32_t i = 0; i < sim->media_count; i++) {
		const struct sim_process *process = &sim->processes[sim->media[i]];
		const struct actor *actor = process->alive ? process->rt->oldest : NULL;

		for (; actor; actor = actor->next) {
			const struct stream_state *st = stream_of(actor);

			if (actor->type != &stream_actor)
				continue;
			fprintf(stderr,
				"  node %u process %u: %s %llx %s, phase %u, epoch %llu, source "
				"%llu/%llx, owner %llx, %d readers:",
				process->node + SIM_NODE, process->incarnation, st->name,
				(unsigned long long)actor->id, st->replica ? "copy" : "origin",
				actor->phase, (unsigned long long)st->epoch,
				(unsigned long long)st->source.node,
				(unsigned long long)st->source.id, (unsigned long long)st->owner.id,
				st->subscribers_count);
			for (int j = 0; j < st->subscribers_count; j++)
				fprintf(stderr, " %llu/%llx",
					(unsigned long long)st->subscribers[j].who.node,
					(unsigned long long)st->subscribers[j].who.id);
			fputc('\n', stderr);
		}
	}
}

/* ---- time ------------------------------------------------------------------------------------------- */

/* Is there trouble now? The run goes on either way. */
static bool is_settled(struct sim *sim)
{
	bool settled;

	sim_check_clients(sim);
	sim_cluster_check_ways(sim);
	sim_edges_check_converged(sim);
	sim_settings_check(sim);
	settled = !sim->failed;
	if (!settled && sim->options.trace) {
		sim_note(sim, sim->failure, 0, 0);
		sim_cluster_show(sim);
	}
	sim->failed = false;
	return settled;
}

void sim_cluster_settle(struct sim *sim, int64_t within_ms)
{
	int64_t began_us = sim->now_us, last_us = began_us;
	int looks = 0;

	while (looks < STEADY_LOOKS && sim->now_us < began_us + within_ms * SIM_MS) {
		sim_run_until(sim, sim->now_us + LOOK_MS * SIM_MS);
		if (sim->failed)
			return;
		if (is_settled(sim)) {
			looks++;
			continue;
		}
		looks = 0;
		last_us = sim->now_us;
	}
	sim->converged_ms = (last_us - began_us) / SIM_MS;
}

/* Until then, all that was well is. */
static void stay_settled(struct sim *sim, int64_t until_us)
{
	while (!sim->failed && sim->now_us < until_us) {
		sim_run_until(sim, sim->now_us + LOOK_MS * SIM_MS);
		if (!sim->failed)
			sim_check_clients(sim);
		if (!sim->failed)
			sim_cluster_check_ways(sim);
		if (!sim->failed) /* what they knew */
			sim_settings_check(sim);
	}
}

static void settle_again(struct sim *sim, int64_t within_ms)
{
	int64_t converged_ms = sim->converged_ms;

	sim_cluster_settle(sim, within_ms);
	if (!sim->failed)
		sim_check_clients(sim);
	if (!sim->failed)
		sim_cluster_check_ways(sim);
	if (!sim->failed)
		sim_settings_check(sim);
	sim->converged_ms = converged_ms; /* after the last fault but this */
}

static bool knows_all(const struct sim *sim)
{
	char name[32];

	for (uint32_t stream = 0; stream < sim->streams; stream++) {
		sim_stream_name(stream, name, sizeof(name));
		if (!sim_etcd_knows(sim, name))
			return false;
	}
	return true;
}

void sim_cluster_without_etcd(struct sim *sim)
{
	int64_t away_us = rng_between(&sim->rng, AWAY_MIN_MS, AWAY_MAX_MS) * SIM_MS;
	char name[32];

	if (sim->options.etcd_away_s)
		away_us = sim->options.etcd_away_s * INT64_C(1000000);
	sim_etcd_leave(sim);
	stay_settled(sim, sim->now_us + away_us);
	sim_change_clients(sim);
	settle_again(sim, AWAY_SETTLE_MS);
	if (sim->options.settings) /* etcd as it returns has another value */
		sim_settings_change(sim);
	sim_etcd_return(sim, (enum sim_etcd_disk)rng_below(&sim->rng, SIM_ETCD_DISKS));
	for (int64_t until_us = sim->now_us + BACK_SETTLE_MS * SIM_MS;
		!sim->failed && !knows_all(sim) && sim->now_us < until_us;)
		sim_run_until(sim, sim->now_us + LOOK_MS * SIM_MS);
	settle_again(sim, BACK_SETTLE_MS);
	for (uint32_t stream = 0; stream < sim->streams; stream++) {
		sim_stream_name(stream, name, sizeof(name));
		SIM_CHECK(
			sim, sim_etcd_knows(sim, name), "etcd is back and does not know %s", name);
	}
}

static bool has_streams(const struct sim *sim)
{
	for (uint32_t i = 0; i < sim->media_count; i++) {
		const struct sim_process *process = &sim->processes[sim->media[i]];
		const struct actor *actor = process->alive ? process->rt->oldest : NULL;

		for (; actor; actor = actor->next)
			if (actor->type == &stream_actor)
				return true;
	}
	return false;
}

static void say_what_is_due(struct actor *self, void *data, void *context)
{
	(void)context;
	media_link_actor.pump(self, data);
}

void sim_cluster_try(struct sim_process *elsewhere)
{
	elsewhere->ahead_us = LOOK_AHEAD_US;
	runtime_tick(elsewhere->rt);
	for (struct actor *actor = elsewhere->rt->oldest, *next; actor; actor = next) {
		next = actor->next;
		if (actor->type == &media_link_actor)
			actor_call(elsewhere->rt, actor_addr(actor), &media_link_actor,
				say_what_is_due, NULL);
	}
}

uint64_t sim_cluster_kept(const struct actor *actor)
{
	const struct media_link *s = (const void *)actor->data;
	const struct link_send *send =
		actor->type == &media_link_actor && s->engine ? &s->engine->send : NULL;
	uint64_t count = actor->type == &media_link_actor ? s->held.count : 0;

	for (uint64_t seq = send ? send->oldest : 0; send && seq < send->next; seq++)
		count += send->history[seq % send->history_size].packet.generation != 0;
	return count;
}

void sim_cluster_plant_nonce(const struct sim_process *process, struct arena *copy)
{
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		const struct media_link_state *st = (const void *)actor->data;
		struct link_hot *hot =
			actor->type == &media_link_actor
				? arena_get(copy, ARENA_SESSION,
					  (struct slot_ref){st->slot_index, st->slot_generation})
				: NULL;

		if (hot && hot->counter)
			hot->counter--;
	}
}

void sim_cluster_empty(struct sim *sim, int64_t within_ms, int64_t least_ms)
{
	int64_t until_us = sim->now_us + within_ms * SIM_MS;

	sim_run_until(sim, sim->now_us + least_ms * SIM_MS);

	while (!sim->failed && sim->now_us < until_us && has_streams(sim))
		sim_run_until(sim, sim->now_us + LOOK_MS * SIM_MS);
	/* (links keep packets for as long as somebody may miss them) */
	sim_run_until(sim, sim->now_us + 4 * LOOK_MS * SIM_MS);
}

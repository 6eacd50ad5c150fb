/* SPDX-License-Identifier: Apache-2.0
 *
 * Takeover in small: every actor of every process of a simulated node comes back in another process,
 * mapped at another address (tests/unit/successor.h).
 */
#include "actors/callback/callback.h"
#include "actors/http/http_actor.h"
#include "actors/link/link_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/stream/stream_actor.h"
#include "actors/transcode/transcode_actor.h"
#include "actors/webrtc/rtc_port.h"
#include "cluster/cluster.h"
#include "runtime/process_office.h"
#include "tests/sim/sim.h"
#include "tests/unit/successor.h"

enum { SLOT_MAX = 5, STEADY_MS_MAX = 10000 };

/* Directory and placement ask the store and the workers anew: who they are is all that stays. */
static void same_to_people(const void *before, const void *now)
{
	(void)before;
	(void)now;
}

/* It has asked its stream what there is to hear now. */
static void same_transcoder(const void *before, const void *now)
{
	CHECK_MEM(now, before, sizeof(struct transcoder_state));
}

/* Connections end with their process. */
static void same_repl(const void *before_, const void *now_)
{
	struct repl_state before = *(const struct repl_state *)before_;

	before.connections = 0;
	CHECK_MEM(now_, &before, sizeof(before));
}

/* What a page knows is of the process before. */
static void same_board(const void *before_, const void *now_)
{
	const struct board_state *before = before_, *now = now_;

	CHECK(now->epoch && now->epoch != before->epoch);
	CHECK_EQ(now->seq, 0);
	CHECK_EQ(now->events, before->events);
}

/* The simulator's own actors stand where clients are. */
static const struct successor_row rows[] = {
	// clang-format off
	RESTORED_BY_SIM(SUCCESSOR_ROW)
	RESTORED_BY_CLUSTER(SUCCESSOR_ROW)
	RESTORED_BY_TRANSCODE(SUCCESSOR_ROW)
	{&rtc_port_actor, same_to_people}, /* webrtc_restore_test.c looks closer */
	{&link_office_actor, NULL},
	{&sim_publisher, NULL},
	{&sim_viewer, NULL},
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {
	.rows = rows, .ops = &successor_ops, .going_on = sim_silence_clients};

TEST(the_successor)
{
	successor_main(&kit);
}

/* Everybody has somebody to serve. */
static bool is_steady(const struct sim *sim)
{
	for (uint32_t slot = 0; slot < SLOT_MAX; slot++) {
		const struct runtime *rt = sim->processes[slot].rt;

		for (const struct actor *actor = rt ? rt->oldest : NULL; actor; actor = actor->next)
			if (sim_restore_leaves_out(actor))
				return false;
	}
	return true;
}

static void restore_all_of(const char *scenario, bool callbacks)
{
	struct sim_options options = {.seed = 4, .scenario = scenario};
	struct sim *sim = sim_create(&options);
	size_t actors = 0, written = 0;

	if (callbacks)
		sim_callbacks_begin(sim);
	sim_begin(sim);
	sim_run_until(sim, sim->now_us + 1800 * SIM_MS);
	for (int ms = 0; ms < STEADY_MS_MAX && !is_steady(sim); ms++)
		sim_run_until(sim, sim->now_us + SIM_MS);
	if (sim->failed)
		print_error("%s\n", sim->failure);
	CHECK(!sim->failed && is_steady(sim));
	for (uint32_t slot = 0; slot < SLOT_MAX; slot++) {
		struct sim_process *process = &sim->processes[slot];

		if (!process->rt) /* dead just now */
			continue;
		actors += runtime_actor_count(process->rt);
		written += successor_run(&kit, process->rt, process->arena ? process->memory : NULL,
			process->memory_size, 0);
	}
	CHECK_EQ(written, actors);
	CHECK(actors > 15);
	sim_destroy(&sim);
}

TEST(every_actor_is_restored_in_another_process)
{
	restore_all_of("calm", false);
	restore_all_of("edges", true); /* RTMP and HTTP-FLV clients too */
	successor_check_rows(&kit);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's spare: exec'ed and open beforehand, with the worker's descriptors, it waits in the fence
 * of the arena. The kernel gives it that when the worker is killed, before it has torn down its
 * memory. Until then it reads from no socket and writes to no memory that is the worker's; the kernel maps
 * that memory for it as the worker comes to use it.
 *
 *   starting --open, warm--> ready --fence--> restoring (in its worker's place) --> ready
 *          |                       \--told to stop, worker left in order--> (ended)
 *          '--self-test fails--> (ended with a reason: there is none to take over but a new process)
 *
 * And what a successor does, spare or not: it goes on, and counts what it found.
 */
#include "runtime/live_internal.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of heap that a spare has the kernel give it beforehand: what some hundred sessions allocate
 * when they are restored. A page fault for each 4 kB of it was a quarter of the time that took. */
enum { WARM_HEAP = 8 * 1024 * 1024 };

/* malloc has it in one piece from the end of the heap, and keeps it there when it is freed. */
static void warm_heap(void)
{
	void *heap;

	mallopt(M_MMAP_THRESHOLD, 2 * WARM_HEAP);
	mallopt(M_TRIM_THRESHOLD, 2 * WARM_HEAP);
	heap = malloc(WARM_HEAP);
	if (heap)
		explicit_bzero(heap, WARM_HEAP);
	free(heap);
}

static bool warm(struct live *live)
{
	const char *problem = live->program->warm ? live->program->warm(live->env) : NULL;

	warm_heap();
	if (problem)
		log_error(&live->log, "spare_unfit", "reason", problem);
	return !problem;
}

static void settle_in(struct live *live)
{
	process_take_place(&live->own_env);
	live->own = process_own_status(live->env);
	process_log_init(live->env, &live->log);
}

enum err live_spare_wait(struct live *live)
{
	bool inherited = false;
	enum err err;

	if (!warm(live))
		return ERR_INTERNAL;
	atomic_store(&live->own->state, PROCESS_READY);
	do {
		process_beat(live->own, live_now_us());
		if (!process_supervisor_is_alive(live->env) ||
			atomic_load(&live->own->order) != PROCESS_RUN)
			return ERR_CLOSED;
		process_settings_follow(live->env, &live->settings_seen, &live->log);
		arena_map_ahead(live->arena, live->env->fd.arena);
		err = arena_take_fence(live->arena, PROCESS_BEAT_MS, &inherited);
	} while (err == ERR_TIMEOUT);
	if (err)
		return err;
	if (!inherited)
		return ERR_CLOSED;
	process_settings_follow(live->env, &live->settings_seen, &live->log);
	live->fenced_us = live_now_us();
	settle_in(live);
	return ERR_OK;
}

enum err live_take_over(struct live *live)
{
	const struct process_env *env = live->env;
	struct runtime_takeover_report report;
	enum err err = runtime_takeover(live->rt, &report);

	if (err || env->incarnation == env->line)
		return err;
	process_metric_add(env, PROCESS_METRIC_TAKEOVER_RESTORED, report.restored);
	process_metric_add(env, PROCESS_METRIC_TAKEOVER_ENDED, report.ended_by_restore);
	process_metric_add(env, PROCESS_METRIC_TAKEOVER_DAMAGED, report.left_out);
	process_metric_add(env, PROCESS_METRIC_TAKEOVER_POISONED, report.poisoned);
	if (report.poisoned)
		process_note_poisoned(env, report.poisoned_name);
	return ERR_OK;
}

void live_is_ready(struct live *live)
{
	const struct process_env *env = live->env;

	if (env->role == PROCESS_MEDIA && env->incarnation != env->line) {
		process_metric_add(env, PROCESS_METRIC_TAKEOVER_TIME,
			(uint64_t)(live_now_us() - live->fenced_us));
		process_metric_add(env, PROCESS_METRIC_TAKEOVERS, 1);
	}
	atomic_store(&live->own->state, PROCESS_READY);
}

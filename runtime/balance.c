/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/balance.h"

#include "runtime/process.h"
#include "runtime/runtime.h"

static uint64_t load_of(const struct balance_load *worker)
{
	return (uint64_t)worker->cpu_permille +
	       worker->packets_per_s / PROCESS_PACKETS_PER_PERMILLE;
}

static bool has_room(const struct balance_load *worker, bool all_full)
{
	return worker->ready && (all_full || !worker->full);
}

bool balance_accepts(const struct balance_load *workers, size_t count, size_t own, bool accepting)
{
	uint64_t least = UINT64_MAX;
	bool all_full = true;

	if (own >= count)
		return true;
	for (size_t i = 0; i < count; i++)
		all_full &= !workers[i].ready || workers[i].full;
	for (size_t i = 0; i < count; i++)
		if (has_room(&workers[i], all_full) && load_of(&workers[i]) < least)
			least = load_of(&workers[i]);
	if (least == UINT64_MAX)
		return true; /* the node is starting: nobody else would */
	if (!has_room(&workers[own], all_full))
		return false;
	uint64_t margin = BALANCE_REST_PERMILLE + least / 4;

	return load_of(&workers[own]) <= least + (accepting ? margin : margin / 2);
}

bool balance_should_accept(
	const struct runtime *rt, bool accepting, enum process_metric metric, uint32_t max)
{
	const struct process_env *env = runtime_env(rt);
	struct balance_load workers[PROCESS_WORKERS_MAX];

	if (!env || env->role != PROCESS_MEDIA)
		return true;
	uint64_t closed = atomic_load_explicit(&env->page->closed_workers, memory_order_relaxed);
	for (uint32_t i = 0; i < PROCESS_WORKERS_MAX; i++) {
		uint32_t slot = process_slot(PROCESS_MEDIA, i);
		struct process_status *status = &env->page->slot[slot];
		const struct process_metrics *metrics = process_metrics_of(env->page, slot);

		workers[i] = (struct balance_load){
			.cpu_permille =
				atomic_load_explicit(&status->cpu_permille, memory_order_relaxed),
			.packets_per_s =
				atomic_load_explicit(&status->packets_per_s, memory_order_relaxed),
			.ready = atomic_load_explicit(&status->state, memory_order_relaxed) ==
					 PROCESS_READY &&
				 !(closed >> i & 1),
			.full = atomic_load_explicit(
					&metrics->value[metric], memory_order_relaxed) >= max,
		};
	}
	return balance_accepts(workers, PROCESS_WORKERS_MAX, env->index, accepting);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/process.h"

const struct process_metric_info process_metric_infos[PROCESS_METRIC_COUNT] = {
#define PROCESS_METRIC_INFO(id, name, label, type, help) {name, label, type, help},
	PROCESS_METRICS(PROCESS_METRIC_INFO)
#undef PROCESS_METRIC_INFO
};

const struct process_metric_info process_histogram_infos[PROCESS_HISTOGRAM_COUNT] = {
#define PROCESS_HISTOGRAM_INFO(id, name, label, help) {name, label, "histogram", help},
	PROCESS_HISTOGRAMS(PROCESS_HISTOGRAM_INFO)
#undef PROCESS_HISTOGRAM_INFO
};

const struct process_bucket_info process_bucket_infos[PROCESS_BUCKET_BEYOND] = {
#define PROCESS_BUCKET_INFO(text, us) {text, us},
	PROCESS_BUCKETS(PROCESS_BUCKET_INFO)
#undef PROCESS_BUCKET_INFO
};

void process_metric_set(const struct process_env *env, enum process_metric metric, uint64_t value)
{
	if (env && env->page)
		atomic_store_explicit(
			&env->page->metrics[process_slot(env->role, env->index)].value[metric],
			value, memory_order_relaxed);
}

void process_metric_add(const struct process_env *env, enum process_metric metric, uint64_t more)
{
	if (env && env->page)
		atomic_fetch_add_explicit(
			&env->page->metrics[process_slot(env->role, env->index)].value[metric],
			more, memory_order_relaxed);
}

void process_observe(const struct process_env *env, enum process_histogram histogram, int64_t us)
{
	struct process_times *times;
	int bucket = 0;

	if (!env || !env->page)
		return;
	us = us > 0 ? us : 0;
	while (bucket < PROCESS_BUCKET_BEYOND && us > process_bucket_infos[bucket].below_us)
		bucket++;
	times = &env->page->metrics[process_slot(env->role, env->index)].times[histogram];
	atomic_fetch_add_explicit(&times->bucket[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&times->sum_us, (uint64_t)us, memory_order_relaxed);
}

/* ---- neighbours ------------------------------------------------------------------------------ */

void process_neighbours_set(const struct process_env *env, const struct process_neighbours *rows)
{
	struct process_neighbours_page *page = env && env->page ? &env->page->neighbours : NULL;
	uint32_t version;

	if (!page)
		return;
	version = atomic_load_explicit(&page->version, memory_order_relaxed) | 1;
	atomic_store_explicit(&page->version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	page->rows = *rows;
	atomic_store_explicit(&page->version, version + 1, memory_order_release);
}

bool process_neighbours_get(const struct process_page *page, struct process_neighbours *rows)
{
	enum { TRIES = 100 };

	for (int i = 0; page && i < TRIES; i++) {
		uint32_t version =
			atomic_load_explicit(&page->neighbours.version, memory_order_acquire);

		*rows = page->neighbours.rows;
		atomic_thread_fence(memory_order_acquire);
		if (version % 2 || version != atomic_load_explicit(&page->neighbours.version,
						      memory_order_relaxed))
			continue;
		for (unsigned j = 0; j < PROCESS_NEIGHBOURS_MAX; j++)
			rows->named[j].name[PROCESS_NEIGHBOUR_NAME - 1] = 0;
		rows->other.name[PROCESS_NEIGHBOUR_NAME - 1] = 0;
		return rows->count <= PROCESS_NEIGHBOURS_MAX;
	}
	return false;
}

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

/* FNV-1a over all that says what a place in the arrays means. */
static uint64_t sum_text(uint64_t sum, const char *text)
{
	do {
		sum = (sum ^ (uint8_t)*text) * 0x100000001b3;
	} while (*text++);
	return sum;
}

static uint64_t own_rows(void)
{
	static uint64_t rows; /* never 0 once it is known */

	if (rows)
		return rows;
	rows = 0xcbf29ce484222325;
	for (int i = 0; i < PROCESS_METRIC_COUNT; i++)
		rows = sum_text(sum_text(rows, process_metric_infos[i].name),
			process_metric_infos[i].label);
	for (int i = 0; i < PROCESS_HISTOGRAM_COUNT; i++)
		rows = sum_text(sum_text(rows, process_histogram_infos[i].name),
			process_histogram_infos[i].label);
	for (int i = 0; i < PROCESS_BUCKET_BEYOND; i++)
		rows = sum_text(rows, process_bucket_infos[i].text);
	rows |= 1;
	return rows;
}

const struct process_metrics *process_metrics_of(const struct process_page *page, uint32_t slot)
{
	static const struct process_metrics nothing;
	const struct process_metrics *metrics = &page->metrics[slot];

	uint64_t rows = atomic_load_explicit(&metrics->rows, memory_order_relaxed);

	return !rows || rows == own_rows() ? metrics : &nothing;
}

void process_metrics_begin(struct process_metrics *metrics)
{
	uint64_t rows = atomic_load(&metrics->rows);

	if (rows == own_rows())
		return;
	for (int i = 0; rows && i < PROCESS_METRICS_ROOM; i++)
		atomic_store_explicit(&metrics->value[i], 0, memory_order_relaxed);
	for (int i = 0; rows && i < PROCESS_HISTOGRAMS_ROOM; i++) {
		for (int bucket = 0; bucket < PROCESS_BUCKET_COUNT; bucket++)
			atomic_store_explicit(
				&metrics->times[i].bucket[bucket], 0, memory_order_relaxed);
		atomic_store_explicit(&metrics->times[i].sum_us, 0, memory_order_relaxed);
	}
	atomic_store(&metrics->rows, own_rows());
}

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

void process_neighbours_set(const struct process_env *env, const struct process_neighbours *rows,
	const struct process_paths *paths)
{
	struct process_neighbours_page *page = env && env->page ? &env->page->neighbours : NULL;
	uint32_t version;

	if (!page)
		return;
	version = atomic_load_explicit(&page->version, memory_order_relaxed) | 1;
	atomic_store_explicit(&page->version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	page->rows = *rows;
	env->page->paths = *paths;
	atomic_store_explicit(&page->version, version + 1, memory_order_release);
}

static bool make_sense(const struct process_paths *paths, uint32_t neighbours)
{
	for (uint32_t i = 0; i < paths->count && i < PROCESS_PATHS_MAX; i++)
		if (paths->named[i].neighbour >= neighbours ||
			paths->named[i].path >= PROCESS_NEIGHBOUR_PATHS)
			return false;
	return paths->count <= PROCESS_PATHS_MAX;
}

bool process_neighbours_get(const struct process_page *page, struct process_neighbours *rows,
	struct process_paths *paths)
{
	enum { TRIES = 100 };

	for (int i = 0; page && i < TRIES; i++) {
		uint32_t version =
			atomic_load_explicit(&page->neighbours.version, memory_order_acquire);

		*rows = page->neighbours.rows;
		*paths = page->paths;
		atomic_thread_fence(memory_order_acquire);
		if (version % 2 || version != atomic_load_explicit(&page->neighbours.version,
						      memory_order_relaxed))
			continue;
		for (unsigned j = 0; j < PROCESS_NEIGHBOURS_MAX; j++)
			rows->named[j].name[PROCESS_NEIGHBOUR_NAME - 1] = 0;
		rows->other.name[PROCESS_NEIGHBOUR_NAME - 1] = 0;
		return rows->count <= PROCESS_NEIGHBOURS_MAX && make_sense(paths, rows->count);
	}
	return false;
}

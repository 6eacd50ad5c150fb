/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/process.h"

const struct process_metric_info process_metric_infos[PROCESS_METRIC_COUNT] = {
#define PROCESS_METRIC_INFO(id, name, label, type, help) {name, label, type, help},
	PROCESS_METRICS(PROCESS_METRIC_INFO)
#undef PROCESS_METRIC_INFO
};

void process_metric_set(const struct process_env *env, enum process_metric metric, uint64_t value)
{
	if (env && env->page)
		atomic_store_explicit(
			&env->page->metrics[process_slot(env->role, env->index)].value[metric],
			value, memory_order_relaxed);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/process_operation.h"

#include <stdio.h>
#include <string.h>

const char *process_operation_name(uint32_t kind)
{
	static const char *const names[] = {"none", "workers", "upgrade"};

	return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}

const char *process_operation_state_name(uint32_t state)
{
	static const char *const names[] = {"running", "done", "failed"};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

void process_operation_begin(struct process_operation *operation, enum process_operation_kind kind)
{
	atomic_store(&operation->steps, 0);
	atomic_store(&operation->kind, kind);
	atomic_store(&operation->state, PROCESS_OPERATION_RUNS);
	atomic_fetch_add(&operation->number, 1);
}

void process_operation_step(struct process_operation *operation, const char *text)
{
	uint32_t steps = atomic_load(&operation->steps);

	snprintf(operation->text[steps % PROCESS_STEPS_MAX], PROCESS_STEP_TEXT_SIZE, "%s", text);
	/* whoever sees the number sees the text */
	atomic_store_explicit(&operation->steps, steps + 1, memory_order_release);
}

void process_operation_end(struct process_operation *operation, bool done)
{
	atomic_store(&operation->state, done ? PROCESS_OPERATION_DONE : PROCESS_OPERATION_FAILED);
}

bool process_operation_runs(const struct process_operation *operation)
{
	return atomic_load(&operation->number) &&
	       atomic_load(&operation->state) == PROCESS_OPERATION_RUNS;
}

bool process_operation_read(const struct process_operation *operation, uint32_t index, char *text)
{
	uint32_t steps = atomic_load_explicit(&operation->steps, memory_order_acquire);

	if (index >= steps || steps - index > PROCESS_STEPS_MAX)
		return false;
	memcpy(text, operation->text[index % PROCESS_STEPS_MAX], PROCESS_STEP_TEXT_SIZE);
	text[PROCESS_STEP_TEXT_SIZE - 1] = '\0';
	steps = atomic_load_explicit(&operation->steps, memory_order_acquire);
	return index < steps && steps - index <= PROCESS_STEPS_MAX;
}

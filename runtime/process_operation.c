/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/process_operation.h"

#include <stdio.h>
#include <string.h>

enum {
	STATE_SHIFT = 30,
	STEPS_MASK = (1 << STATE_SHIFT) - 1,
};

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

struct process_progress process_operation_progress(const struct process_operation *operation)
{
	uint32_t word = atomic_load_explicit(&operation->progress, memory_order_acquire);

	return (struct process_progress){.state = word >> STATE_SHIFT, .steps = word & STEPS_MASK};
}

void process_operation_begin(struct process_operation *operation, enum process_operation_kind kind)
{
	atomic_store(&operation->progress, PROCESS_OPERATION_RUNS);
	atomic_store(&operation->kind, kind);
	atomic_fetch_add(&operation->number, 1);
}

static void tell(
	struct process_operation *operation, enum process_operation_state state, const char *text)
{
	uint32_t steps = process_operation_progress(operation).steps;

	snprintf(operation->text[steps % PROCESS_STEPS_MAX], PROCESS_STEP_TEXT_SIZE, "%s", text);
	/* whoever sees the number sees the text */
	atomic_store_explicit(&operation->progress,
		(uint32_t)state << STATE_SHIFT | ((steps + 1) & STEPS_MASK), memory_order_release);
}

void process_operation_step(struct process_operation *operation, const char *text)
{
	tell(operation, PROCESS_OPERATION_RUNS, text);
}

void process_operation_end(struct process_operation *operation, bool done, const char *text)
{
	tell(operation, done ? PROCESS_OPERATION_DONE : PROCESS_OPERATION_FAILED, text);
}

bool process_operation_runs(const struct process_operation *operation)
{
	return atomic_load(&operation->number) &&
	       process_operation_progress(operation).state == PROCESS_OPERATION_RUNS;
}

bool process_operation_read(const struct process_operation *operation, uint32_t index, char *text)
{
	uint32_t steps = process_operation_progress(operation).steps;

	if (index >= steps || steps - index > PROCESS_STEPS_MAX)
		return false;
	memcpy(text, operation->text[index % PROCESS_STEPS_MAX], PROCESS_STEP_TEXT_SIZE);
	text[PROCESS_STEP_TEXT_SIZE - 1] = '\0';
	steps = process_operation_progress(operation).steps;
	return index < steps && steps - index <= PROCESS_STEPS_MAX;
}

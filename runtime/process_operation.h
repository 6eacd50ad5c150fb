/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operator has asked the supervisor for and takes a while (another number of workers, an
 * upgrade), as it lies in the status page: which, and the steps so far, a line of text each. The
 * supervisor writes; everybody may read, also after the process that was asked has been replaced.
 *
 *   (none) --begin--> running --end--> done, failed --begin--> running …
 *
 * Thread: one writer; readers any.
 */
#ifndef MILLRACE_PROCESS_OPERATION_H
#define MILLRACE_PROCESS_OPERATION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PROCESS_STEPS_MAX = 512,      /* the last ones that are kept; 64 workers take 4 each */
	PROCESS_STEP_TEXT_SIZE = 200, /* bytes with the NUL */
};

enum process_operation_kind {
	PROCESS_OPERATION_NONE,
	PROCESS_OPERATION_WORKERS,
	PROCESS_OPERATION_UPGRADE
};

enum process_operation_state {
	PROCESS_OPERATION_RUNS,
	PROCESS_OPERATION_DONE,
	PROCESS_OPERATION_FAILED
};

struct process_operation {
	_Atomic uint32_t number; /* counts them, 0 = there was none yet */
	_Atomic uint32_t kind;
	uint32_t reserved;
	/* steps of this one, the newest at (steps - 1) % PROCESS_STEPS_MAX; the state in the top two bits:
	 * one word, for the last step and the end are seen together */
	_Atomic uint32_t progress;
	char text[PROCESS_STEPS_MAX][PROCESS_STEP_TEXT_SIZE];
};

/* What `progress` says. */
struct process_progress {
	uint32_t state; /* enum process_operation_state, or out of range */
	uint32_t steps;
};

/* "workers", "upgrade"; "running", "done", "failed"; "unknown" for a value out of range. */
const char *process_operation_name(uint32_t kind);
const char *process_operation_state_name(uint32_t state);

void process_operation_begin(struct process_operation *operation, enum process_operation_kind kind);
/* One line, without its end; what is too long is cut. */
void process_operation_step(struct process_operation *operation, const char *text);
/* The last step, and that it is over. */
void process_operation_end(struct process_operation *operation, bool done, const char *text);
bool process_operation_runs(const struct process_operation *operation);
struct process_progress process_operation_progress(const struct process_operation *operation);

/* Copies step `index` (from 0) into `text` of PROCESS_STEP_TEXT_SIZE bytes; false: it is not there, or
 * has been written over. What is read may come from a process gone wild: it is text, but of any kind. */
bool process_operation_read(const struct process_operation *operation, uint32_t index, char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/process_operation.h"
#include "tests/test.h"

#include <stdio.h>

static struct process_operation operation;

static void begin(enum process_operation_kind kind)
{
	process_operation_begin(&operation, kind);
}

static void check_progress(enum process_operation_state state, uint32_t steps)
{
	struct process_progress progress = process_operation_progress(&operation);

	CHECK_EQ(progress.state, state);
	CHECK_EQ(progress.steps, steps);
	CHECK_EQ(process_operation_runs(&operation), state == PROCESS_OPERATION_RUNS);
}

TEST(the_last_step_and_the_end_are_one_word)
{
	char text[PROCESS_STEP_TEXT_SIZE];

	operation = (struct process_operation){0};
	CHECK(!process_operation_runs(&operation)); /* there was none yet */
	begin(PROCESS_OPERATION_UPGRADE);
	check_progress(PROCESS_OPERATION_RUNS, 0);
	process_operation_step(&operation, "looking");
	check_progress(PROCESS_OPERATION_RUNS, 1);
	process_operation_end(&operation, false, "refused");
	check_progress(PROCESS_OPERATION_FAILED, 2);
	CHECK(process_operation_read(&operation, 1, text));
	CHECK_STR(text, "refused");

	begin(PROCESS_OPERATION_WORKERS);
	check_progress(PROCESS_OPERATION_RUNS, 0);
	CHECK(!process_operation_read(&operation, 0, text)); /* the other's */
	process_operation_end(&operation, true, "2 workers");
	check_progress(PROCESS_OPERATION_DONE, 1);
	CHECK_EQ(atomic_load(&operation.number), 2);
}

TEST(the_newest_steps_are_kept_and_long_ones_cut)
{
	char text[PROCESS_STEP_TEXT_SIZE], wide[2 * PROCESS_STEP_TEXT_SIZE];

	operation = (struct process_operation){0};
	begin(PROCESS_OPERATION_WORKERS);
	for (int i = 0; i < PROCESS_STEPS_MAX + 2; i++) {
		snprintf(wide, sizeof(wide), "%d %0*d", i, PROCESS_STEP_TEXT_SIZE + 50, 0);
		process_operation_step(&operation, wide);
	}
	CHECK(!process_operation_read(&operation, 1, text));
	CHECK(process_operation_read(&operation, 2, text));
	CHECK(!strncmp(text, "2 000", 5));
	CHECK_EQ(strlen(text), PROCESS_STEP_TEXT_SIZE - 1);
	CHECK(process_operation_read(&operation, PROCESS_STEPS_MAX + 1, text));
	CHECK(!process_operation_read(&operation, PROCESS_STEPS_MAX + 2, text));
}

TEST(what_a_process_gone_wild_wrote_is_text_still)
{
	char text[PROCESS_STEP_TEXT_SIZE];

	operation = (struct process_operation){0};
	memset(operation.text, 'x', sizeof(operation.text));
	atomic_store(&operation.progress, UINT32_MAX);
	CHECK_STR(process_operation_state_name(process_operation_progress(&operation).state),
		"unknown");
	CHECK(!process_operation_read(&operation, 0, text));
	CHECK(process_operation_read(
		&operation, process_operation_progress(&operation).steps - 1, text));
	CHECK_EQ(strlen(text), PROCESS_STEP_TEXT_SIZE - 1);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * console: commands about the node and its processes. Those that the supervisor carries out are sent
 * to it and answered when it has replied; one that takes a while goes on after that, and `operation`
 * says how far it has come.
 */
#include "cluster/console_internal.h"
#include "runtime/process.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	SCALE_WAIT_S = 60, /* by default: sessions of a worker that is to go */
	SCALE_WAIT_S_MAX = 86400,
};

/* A whole number from 0 to `max`, or -1. */
static long number_of(const char *word, long max)
{
	char *end;
	long number = strtol(word, &end, 10);

	return *word >= '0' && *word <= '9' && !*end && number <= max ? number : -1;
}

/* The word `name` and a number behind it, both taken off *at; false: *at begins with something else. */
bool console_take_number(const char **at, const char *name, long max, long *number)
{
	const char *rest = *at;
	char word[16];

	if (!console_next_word(&rest, word, sizeof(word)) || strcmp(word, name))
		return false;
	*number = console_next_word(&rest, word, sizeof(word)) ? number_of(word, max) : -1;
	*at = rest;
	return true;
}

/* ---- the supervisor -------------------------------------------------------------------------- */

static void tell_supervisor(
	struct actor *self, struct question *q, const struct process_command *wanted)
{
	struct console *s = actor_data(self);
	struct process_command command = *wanted;
	enum err err;

	command.id = ++s->last_command ? s->last_command : ++s->last_command;
	s->st.commands++;
	err = runtime_supervisor_tell(actor_runtime(self), &command);
	if (err) {
		console_fail(self, q, err, "the supervisor does not answer");
		return;
	}
	q->command_id = command.id;
	q->command_op = (uint8_t)command.op;
	q->until_us = actor_now_us(self) + CONSOLE_ASK_MS * CONSOLE_MS;
	actor_timer_in_ms(self, CONSOLE_TIMER_COMMANDS, CONSOLE_COMMAND_POLL_MS);
}

static json_t *reply_document(
	struct actor *self, enum process_command_op op, const struct process_reply *reply)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	switch (op) {
	case PROCESS_STOP_NODE: return json_pack("{s:b}", "stopping", 1);
	case PROCESS_SCALE:
	case PROCESS_UPGRADE:
		return json_pack("{s:s, s:i}", "operation",
			op == PROCESS_SCALE ? "workers" : "upgrade", "number",
			env ? (int)atomic_load(&env->page->operation.number) : 0);
	default:
		return json_pack("{s:i, s:i}", "worker", (int)reply->index, "pid", (int)reply->pid);
	}
}

static const char *reply_problem(enum err err)
{
	if (err == ERR_NOT_FOUND)
		return "no such worker";
	if (err == ERR_BUSY)
		return "another operation is under way, see operation";
	return "";
}

void console_supervisor_replied(
	struct actor *self, struct question *q, const struct process_reply *reply)
{
	enum err err = reply->err < ERR_COUNT ? (enum err)reply->err : ERR_INTERNAL;

	if (err) {
		console_fail(self, q, err, reply_problem(err));
		return;
	}
	q->reply.document = reply_document(self, q->command_op, reply);
	console_finish(self, q);
}

static void tell_of_worker(
	struct actor *self, struct question *q, const char *arguments, enum process_command_op op)
{
	long index = number_of(console_skip_blanks(arguments), PROCESS_WORKERS_MAX - 1);

	if (index < 0)
		console_fail(self, q, ERR_FORMAT, "expected the number of a worker");
	else
		tell_supervisor(self, q,
			&(struct process_command){
				.op = op, .role = PROCESS_MEDIA, .index = (uint32_t)index});
}

void console_begin_kill_worker(struct actor *self, struct question *q, const char *arguments)
{
	tell_of_worker(self, q, arguments, PROCESS_KILL);
}

void console_begin_drain_worker(struct actor *self, struct question *q, const char *arguments)
{
	tell_of_worker(self, q, arguments, PROCESS_DRAIN_WORKER);
}

void console_begin_shutdown(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
	else
		tell_supervisor(self, q, &(struct process_command){.op = PROCESS_STOP_NODE});
}

/* ---- operations ------------------------------------------------------------------------------ */

void console_begin_scale(struct actor *self, struct question *q, const char *arguments)
{
	long count = -1, wait_s = SCALE_WAIT_S;
	char word[16];

	if (console_next_word(&arguments, word, sizeof(word)))
		count = number_of(word, PROCESS_WORKERS_MAX);
	if (count >= 1)
		console_take_number(&arguments, "wait", SCALE_WAIT_S_MAX, &wait_s);
	if (count < 1 || wait_s < 0 || console_has_words(arguments))
		console_fail(
			self, q, ERR_FORMAT, "expected: scale N [wait SECONDS], N from 1 to 64");
	else
		tell_supervisor(self, q,
			&(struct process_command){.op = PROCESS_SCALE,
				.role = PROCESS_MEDIA,
				.index = (uint32_t)count,
				.wait_s = (uint32_t)wait_s});
}

void console_begin_upgrade(struct actor *self, struct question *q, const char *arguments)
{
	struct process_command command = {.op = PROCESS_UPGRADE};
	const char *path = console_skip_blanks(arguments);

	if ((*path && *path != '/') || strlen(path) >= PROCESS_PATH_SIZE) {
		console_fail(self, q, ERR_FORMAT, "expected: upgrade [PATH], an absolute one");
		return;
	}
	text_copy(command.text, sizeof(command.text), path);
	tell_supervisor(self, q, &command);
}

static json_t *step_row(const struct process_operation *operation, uint32_t index)
{
	char text[PROCESS_STEP_TEXT_SIZE];

	return process_operation_read(operation, index, text)
		       ? json_pack("{s:i, s:s}", "step", (int)index + 1, "text", text)
		       : NULL;
}

static json_t *operation_document(const struct process_operation *operation, uint32_t after)
{
	/* state and steps of one moment: a client that sees the end has seen the last step */
	struct process_progress progress = process_operation_progress(operation);
	uint32_t kept = progress.steps, begin;
	json_t *steps = json_array();

	begin = kept > PROCESS_STEPS_MAX ? kept - PROCESS_STEPS_MAX : 0;
	for (uint32_t i = after > begin ? after : begin; i < kept; i++) {
		json_t *row = step_row(operation, i);

		if (row)
			json_array_append_new(steps, row);
	}
	return json_pack("{s:i, s:s, s:s, s:o}", "number", (int)atomic_load(&operation->number),
		"operation", process_operation_name(atomic_load(&operation->kind)), "state",
		process_operation_state_name(progress.state), "steps", steps);
}

void console_begin_operation(struct actor *self, struct question *q, const char *arguments)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	long after = 0;

	console_take_number(&arguments, "after", INT32_MAX, &after);
	if (after < 0 || console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "expected: operation [after STEP]");
		return;
	}
	if (!env || !atomic_load(&env->page->operation.number))
		q->reply.document = json_null();
	else
		q->reply.document = operation_document(&env->page->operation, (uint32_t)after);
	console_finish(self, q);
}

/* ---- draining -------------------------------------------------------------------------------- */

/* Somebody else must be there who takes new sessions. */
static bool is_last_open(const struct process_page *page, uint32_t worker)
{
	uint32_t count = atomic_load(&page->worker_count);

	for (uint32_t i = 0; i < count && i < PROCESS_WORKERS_MAX; i++)
		if (i != worker && !(atomic_load(&page->closed_workers) >> i & 1))
			return false;
	return true;
}

static void drain_worker(struct actor *self, struct question *q, uint32_t worker, bool on)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	if (on && env && is_last_open(env->page, worker)) {
		console_fail(self, q, ERR_PHASE,
			"no other worker takes new sessions; for the whole node: drain");
		return;
	}
	q->reply.of_worker = true;
	q->reply.worker = worker;
	console_ask_worker(self, q, worker, on ? "drain worker on" : "drain worker off");
}

void console_begin_drain(struct actor *self, struct question *q, const char *arguments)
{
	const char *rest = arguments;
	bool on = true, given;
	long worker = -1;
	char word[8];

	given = console_next_word(&rest, word, sizeof(word)) &&
		(!strcmp(word, "on") || !strcmp(word, "off"));
	if (given) {
		on = !strcmp(word, "on");
		arguments = rest;
	}
	bool one = console_take_number(&arguments, "worker", PROCESS_WORKERS_MAX - 1, &worker);
	if (console_has_words(arguments) || (one && worker < 0)) {
		console_fail(self, q, ERR_FORMAT, "expected: drain [on|off] [worker N]");
		return;
	}
	text_copy(q->reply.words, sizeof(q->reply.words), on ? "on" : "off");
	if (one)
		drain_worker(self, q, (uint32_t)worker, on);
	else
		console_ask_everybody(self, q, on ? "drain on" : "drain off");
}

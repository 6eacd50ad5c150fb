/* SPDX-License-Identifier: Apache-2.0
 *
 * On to another program while people watch (docs/decisions/017-upgrade-and-scaling.md).
 *
 *   in the old program:  preflight --says yes--> all steady --> exec
 *                                  \--says no, late--> (failed, nothing has changed)
 *   in the new program:  a worker: new spare --waits--> order to hand over --next process ready-->
 *                        served for a while --> the next worker …
 *                                  \--does not come--> (failed, the others stay as they are)
 *                        helpers --> holders --> control --> (done)
 *
 * Each process is started from /proc/self/exe, so after the exec all new ones are of the new program;
 * before it, and if that file has been replaced on disk, all are still of the old one.
 */
#include "runtime/supervisor_internal.h"
#include "runtime/supervisor_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	PREFLIGHT_MS = 15000,
	STEADY_LATE_MS = 30000, /* until nobody is being started or replaced */
	SERVE_MS = 1000,	/* a worker, before the next one is replaced */
	SPARE_FAILURES_MAX = 2, /* of the new program, in a row */
	FLAG_SIZE = 48,
	ANSWER_SIZE = 1024, /* of what the new program says */
	ARGUMENTS_MAX = 512,
};

enum upgrade_phase {
	UPGRADE_PREFLIGHT,
	UPGRADE_STEADY,
	UPGRADE_SPARE,
	UPGRADE_HAND_OVER,
	UPGRADE_SERVE,
	UPGRADE_HELPERS,
	UPGRADE_HOLDERS,
	UPGRADE_CONTROL,
};

static void enter(struct operation *operation, enum upgrade_phase phase, int64_t now)
{
	operation->phase = phase;
	operation->since_us = now;
	operation->ordered = false;
}

static bool is_late(const struct operation *operation, int64_t now, int64_t limit_ms)
{
	return now - operation->since_us > limit_ms * 1000;
}

/* ---- the old program: is the new one fit? ---------------------------------------------------- */

/* The program's arguments as they are, and one more; in `to` of ARGUMENTS_MAX. */
static bool copy_arguments(const struct supervisor *s, char **to, char *more)
{
	size_t count = 0;

	for (char *const *at = s->options->arguments; *at; at++) {
		if (count == ARGUMENTS_MAX - 2)
			return false;
		to[count++] = *at;
	}
	if (more)
		to[count++] = more;
	to[count] = NULL;
	return true;
}

static bool copy_environment(const struct supervisor *s, char **to, char *more)
{
	size_t count = 0;

	for (char *const *at = s->options->environment; *at; at++) {
		if (count == ENVIRONMENT_MAX - 1)
			return false;
		if (strncmp(*at, SUPERVISOR_STATE_VARIABLE "=", sizeof(SUPERVISOR_STATE_VARIABLE)))
			to[count++] = *at;
	}
	to[count++] = more;
	to[count] = NULL;
	return true;
}

/* What this program becomes, and with which words. */
struct start {
	char *arguments[ARGUMENTS_MAX];
	char *environment[ENVIRONMENT_MAX + 1];
	char variable[FLAG_SIZE];
};

static bool prepare(const struct supervisor *s, struct start *start, int state, char *more)
{
	snprintf(start->variable, sizeof(start->variable), "%s=%d", SUPERVISOR_STATE_VARIABLE,
		state);
	return s->options->arguments && copy_arguments(s, start->arguments, more) &&
	       copy_environment(s, start->environment, start->variable);
}

/* In the child: only calls that are safe between fork and exec. */
static _Noreturn void run_preflight(const char *path, const struct start *start, int answer)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
		dup2(answer, STDOUT_FILENO) < 0 || dup2(answer, STDERR_FILENO) < 0)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	execve(path, start->arguments, start->environment);
	static const char failed[] = "it cannot be started";
	(void)!write(STDERR_FILENO, failed, sizeof(failed) - 1);
	_exit(127);
}

/* The new program looks at its configuration and at what it would be handed, and says yes or no. */
static bool start_preflight(struct supervisor *s, struct operation *operation)
{
	struct start *start = malloc(sizeof(*start));
	int state = state_save(s), pipe_ends[2] = {-1, -1};
	char check[] = "--check";

	operation->pid = 0;
	if (start && state >= 0 && prepare(s, start, state, check) &&
		!pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) && !state_keep_open(state, true)) {
		operation->pid = fork();
		if (operation->pid == 0)
			run_preflight(s->program_to, start, pipe_ends[1]);
	}
	if (state >= 0) {
		(void)state_keep_open(state, false);
		close(state);
	}
	if (pipe_ends[1] >= 0)
		close(pipe_ends[1]);
	free(start);
	operation->answer = pipe_ends[0];
	return operation->pid > 0;
}

/* As one line of text. */
static void read_answer(struct operation *operation, char *text, size_t size)
{
	ssize_t got = read(operation->answer, text, size - 1);

	close(operation->answer);
	operation->answer = -1;
	text[got > 0 ? got : 0] = '\0';
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
	for (size_t length = strlen(text); length && text[length - 1] == ' ';)
		text[--length] = '\0';
}

static void wait_preflight(struct supervisor *s, struct operation *operation, int64_t now)
{
	char text[ANSWER_SIZE];
	const char *fits;
	int status = 0;
	pid_t pid = waitpid(operation->pid, &status, WNOHANG);

	if (!pid) {
		if (is_late(operation, now, PREFLIGHT_MS))
			kill(operation->pid, SIGKILL);
		return;
	}
	operation->pid = 0;
	read_answer(operation, text, sizeof(text));
	fits = strstr(text, SUPERVISOR_STATE_FITS);
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 && fits) {
		operation_step(s, "%.100s", fits);
		enter(operation, UPGRADE_STEADY, now);
	} else {
		operation_failed(s, "refused, nothing has changed: %.100s",
			text[0]				 ? text
			: pid > 0 && WIFSIGNALED(status) ? "its check did not end"
							 : "its check failed");
	}
}

/* ---- the old program: over ------------------------------------------------------------------- */

/* Nobody is being started, replaced or taken over. */
static bool is_steady(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->child_count; i++) {
		struct child *child = &s->children[i];

		if (line_was_taken_by(s, child))
			return false;
		if (child->role == PROCESS_SPARE
				? child->pid && !child->told_ready
				: child->wanted && (!child->pid || !child->told_ready))
			return false;
	}
	return true;
}

static void exec_program(struct supervisor *s)
{
	struct start *start = malloc(sizeof(*start));
	int state = state_save(s);

	if (start && state >= 0 && prepare(s, start, state, NULL) &&
		!state_keep_open(state, true)) {
		operation_step(s, "the supervisor becomes %.100s", s->program_to);
		log_flush(s->log);
		execve(s->program_to, start->arguments, start->environment);
	}
	int error = errno;
	if (state >= 0) {
		(void)state_keep_open(state, false);
		close(state);
	}
	free(start);
	operation_failed(s, "cannot become %.100s: %s", s->program_to, strerror(error));
}

/* ---- the new program: worker by worker ------------------------------------------------------- */

static bool is_new(const struct operation *operation, const struct child *child)
{
	return child->pid && child->incarnation > operation->first;
}

static bool serves(const struct operation *operation, const struct child *child)
{
	return is_new(operation, child) && child->told_ready;
}

static void give_up(struct supervisor *s, const struct operation *operation, const char *why)
{
	operation_failed(s, "worker %u: %s; workers from it on are as before, see the log",
		operation->place, why);
}

/* What failed before does not count against the new program. */
static void enter_worker(struct supervisor *s, struct operation *operation, int64_t now)
{
	struct child *spare = supervisor_find(s, PROCESS_SPARE, operation->place);

	spare->failures = 0;
	spare->restart_us = 0;
	supervisor_find(s, PROCESS_MEDIA, operation->place)->failures = 0;
	enter(operation, UPGRADE_SPARE, now);
}

static void wait_spare(struct supervisor *s, struct operation *operation, int64_t now)
{
	struct child *worker = supervisor_find(s, PROCESS_MEDIA, operation->place);
	struct child *spare = supervisor_find(s, PROCESS_SPARE, operation->place);

	if (!s->config.worker_spare || serves(operation, worker) || serves(operation, spare)) {
		enter(operation, UPGRADE_HAND_OVER, now);
		return;
	}
	if (spare->pid && !is_new(operation, spare) && !operation->ordered) {
		spare->asked = operation->ordered = true;
		child_kill(spare);
	}
	if (spare->failures >= SPARE_FAILURES_MAX)
		give_up(s, operation, "the new program does not start");
	else if (is_late(operation, now, s->config.worker_start_ms))
		give_up(s, operation, "the new program is not ready in time");
}

static void hand_over(struct supervisor *s, struct operation *operation, int64_t now)
{
	struct child *worker = supervisor_find(s, PROCESS_MEDIA, operation->place);

	if (serves(operation, worker)) {
		operation_step(s, "worker %u: process %d goes on after %" PRIi64 " ms",
			operation->place, (int)worker->pid, (now - operation->since_us) / 1000);
		enter(operation, UPGRADE_SERVE, now);
	} else if (worker->pid && !is_new(operation, worker) && !operation->ordered) {
		worker->asked = operation->ordered = true;
		child_order(worker, s->page, PROCESS_HAND_OVER);
	} else if (worker->failures >= SPARE_FAILURES_MAX) {
		give_up(s, operation, "the next process dies");
	} else if (is_late(operation, now, s->config.worker_start_ms)) {
		give_up(s, operation, "the next process is not ready in time");
	}
}

static void wait_served(struct supervisor *s, struct operation *operation, int64_t now)
{
	struct child *worker = supervisor_find(s, PROCESS_MEDIA, operation->place);

	if (!serves(operation, worker)) {
		give_up(s, operation, "its new process has died");
	} else if (is_late(operation, now, SERVE_MS)) {
		if (++operation->place == s->listeners.worker_count)
			enter(operation, UPGRADE_HELPERS, now);
		else
			enter_worker(s, operation, now);
	}
}

/* ---- the new program: those that are just started anew --------------------------------------- */

/* One after the other; true when all of this role are new. */
static bool replace_all(struct supervisor *s, struct operation *operation, enum process_role role,
	enum process_order order, int64_t now)
{
	for (uint32_t i = 0; i < s->child_count; i++) {
		struct child *child = &s->children[i];

		if (child->role != role || !child->wanted || serves(operation, child))
			continue;
		if (child->pid && !is_new(operation, child) && !child->asked) {
			child->asked = true;
			child_order(child, s->page, order);
			operation->since_us = now;
		}
		if (is_late(operation, now, s->config.worker_start_ms + s->config.drain_ms))
			operation_failed(s, "%s %u: the new process is not ready in time",
				process_role_name(role), child->index);
		return false;
	}
	return true;
}

static void replace_role(struct supervisor *s, struct operation *operation, enum process_role role,
	enum process_order order, enum upgrade_phase next, int64_t now)
{
	if (!replace_all(s, operation, role, order, now))
		return;
	operation_step(s, "%s: new", process_role_name(role));
	enter(operation, next, now);
}

static void finish(struct supervisor *s, struct operation *operation, int64_t now)
{
	if (replace_all(s, operation, PROCESS_CONTROL, PROCESS_DRAIN, now))
		operation_done(s, "all processes are of %.100s, after %" PRIi64 " ms", s->program,
			(now - operation->began_us) / 1000);
}

/* ---- both ------------------------------------------------------------------------------------ */

static void go_on(struct supervisor *s, struct operation *operation, int64_t now)
{
	switch ((enum upgrade_phase)operation->phase) {
	case UPGRADE_PREFLIGHT: wait_preflight(s, operation, now); return;
	case UPGRADE_STEADY:
		if (is_steady(s))
			exec_program(s);
		else if (is_late(operation, now, STEADY_LATE_MS))
			operation_failed(s, "processes keep being replaced; nothing has changed");
		return;
	case UPGRADE_SPARE: wait_spare(s, operation, now); return;
	case UPGRADE_HAND_OVER: hand_over(s, operation, now); return;
	case UPGRADE_SERVE: wait_served(s, operation, now); return;
	case UPGRADE_HELPERS:
		replace_role(s, operation, PROCESS_HELPER, PROCESS_STOP, UPGRADE_HOLDERS, now);
		return;
	case UPGRADE_HOLDERS:
		replace_role(s, operation, PROCESS_HOLDER, PROCESS_STOP, UPGRADE_CONTROL, now);
		return;
	case UPGRADE_CONTROL: finish(s, operation, now); return;
	}
}

enum err upgrade_begin(struct supervisor *s, const char *path)
{
	struct operation *operation = &s->operation;
	enum err err;

	if (*path && *path != '/')
		return ERR_FORMAT;
	err = operation_begin(s, PROCESS_OPERATION_UPGRADE);
	if (err)
		return err;
	snprintf(s->program_to, sizeof(s->program_to), "%s", *path ? path : s->program);
	operation_step(s, "looking at %.100s", s->program_to);
	enter(operation, UPGRADE_PREFLIGHT, operation->began_us);
	if (start_preflight(s, operation))
		operation->go_on = go_on;
	else
		operation_failed(s, "cannot look at it: %s", strerror(errno));
	return ERR_OK;
}

void upgrade_resume(struct supervisor *s, int64_t began_us, const char *from)
{
	s->operation = (struct operation){
		.go_on = go_on, .began_us = began_us, .first = s->incarnation, .answer = -1};
	enter_worker(s, &s->operation, supervisor_now_us());
	log_info(s->log, "supervisor_upgraded", "program", s->program, "from", from);
}

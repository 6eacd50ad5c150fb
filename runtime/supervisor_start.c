/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is started, with what, and again: restarts within their intensity, each in a row later than
 * the one before.
 */
#include "runtime/supervisor_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

enum {
	BACKOFF_FIRST_MS = 50, /* before the second restart in a row; doubles */
	BACKOFF_LAST_MS = 500,
	STEADY_MS = 10000, /* a child that served this long begins without a back-off again */
};

static void fill_env(struct supervisor *s, const struct child *child)
{
	struct process_env *env = &s->env;
	bool media = child->role == PROCESS_MEDIA || child->role == PROCESS_SPARE;
	bool serves = media || child->role == PROCESS_CONTROL;

	env->role = child->role;
	env->index = child->index;
	env->incarnation = ++s->incarnation;
	env->rtc_port = media ? s->listeners.rtc_ports[child->index] : 0;
	env->fd.rtc_udp = media ? s->listeners.rtc_udp[child->index] : -1;
	env->fd.rtc_tcp = media ? s->listeners.rtc_tcp[child->index] : -1;
	env->fd.link_udp = media ? s->listeners.link_udp[child->index] : -1;
	env->fd.http = serves ? s->listeners.http : -1;
	env->fd.rtmp = media ? s->listeners.rtmp : -1;
	env->fd.https = media ? s->listeners.https : -1;
	env->fd.rtmps = media ? s->listeners.rtmps : -1;
	env->fd.api = media ? s->listeners.api : -1;
	env->fd.mesh = child->role == PROCESS_CONTROL ? s->listeners.mesh : -1;
	memset(env->secret, 0, sizeof(env->secret));
	if (media || child->role == PROCESS_CONTROL)
		memcpy(env->secret, s->secret, sizeof(env->secret));
	env->fd.repl = child->role == PROCESS_CONTROL ? s->places.repl : -1;
	env->fd.holder = media				 ? s->holders[child->index][0]
			 : child->role == PROCESS_HOLDER ? s->holders[child->index][1]
							 : -1;
	env->fd.command = env->fd.wake = -1;
}

void supervisor_start(struct supervisor *s, struct child *child)
{
	enum err err;

	fill_env(s, child);
	err = line_join(s, child);
	if (!err)
		err = child_start(child, &s->env, s->environment);
	child->started_us = supervisor_now_us();
	if (err) {
		log_error(s->log, "process_start_failed", "role", process_role_name(child->role),
			"index", child->index, "error", err_name(err), "reason", strerror(errno));
		/* out of memory or descriptors: once more, later, as a restart */
		child->failures++;
		child->restart_us = child->started_us + BACKOFF_LAST_MS * 1000;
		return;
	}
	supervisor_watch(s, child->pidfd, (uint64_t)(child - s->children));
	if (child->command >= 0)
		supervisor_watch(s, child->command, EVENT_COMMAND);
	log_info(s->log, "process_started", "role", process_role_name(child->role), "index",
		child->index, "pid", child->pid, "incarnation", child->incarnation);
}

/* Counts one failure; false when there were more than the configuration allows. */
static bool within_intensity(struct supervisor *s, int64_t now)
{
	int64_t since = now - s->config.worker_restart_period_ms * 1000;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->restart_count; i++)
		if (s->restarts_us[i] > since)
			s->restarts_us[kept++] = s->restarts_us[i];
	MUST(kept < RESTARTS_REMEMBERED);
	s->restarts_us[kept++] = now;
	s->restart_count = kept;
	return kept <= s->config.worker_restart_intensity;
}

static int64_t backoff_us(const struct child *child)
{
	int64_t wait_ms = child->failures <= 1 ? 0 : BACKOFF_FIRST_MS;

	for (uint32_t i = 2; i < child->failures && wait_ms < BACKOFF_LAST_MS; i++)
		wait_ms *= 2;
	return (wait_ms < BACKOFF_LAST_MS ? wait_ms : BACKOFF_LAST_MS) * 1000;
}

static void log_exit(struct supervisor *s, const struct child *child, int status, bool expected)
{
	int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (expected)
		log_info(s->log, "process_ended", "role", process_role_name(child->role), "index",
			child->index, "incarnation", child->incarnation, "exit_status", exit_status,
			"signal", signal_number);
	else
		log_warn(s->log, "process_died", "role", process_role_name(child->role), "index",
			child->index, "incarnation", child->incarnation, "exit_status", exit_status,
			"signal", signal_number, "failures_in_a_row", child->failures, "kills",
			child->kills);
}

/* The row of one that has ended, as the others see it. A worker's stays as it is while a spare is about
 * to write itself there. */
static void clear_row(struct supervisor *s, const struct child *child, bool goes_on)
{
	struct process_status *row = supervisor_row(s, child);

	if (goes_on && line_has_spare(s, child))
		return;
	atomic_store(&row->state, PROCESS_DEAD);
	atomic_store(&row->pid, 0);
	if (!goes_on)
		atomic_store(&row->line, 0);
}

/* A spare dies unnoticed. If its worker has died before it, a new one is started the usual way. */
static void spare_ended(struct supervisor *s, struct child *spare)
{
	struct child *worker = supervisor_find(s, PROCESS_MEDIA, spare->index);

	clear_row(s, spare, false);
	spare->restart_us = supervisor_now_us() + backoff_us(spare);
	if (worker->pid || !s->lines[worker->index].number)
		return;
	clear_row(s, worker, true);
	supervisor_wake_all(s);
}

static void child_ended(struct supervisor *s, struct child *child, int status)
{
	int64_t now = supervisor_now_us();
	bool expected = child->asked || s->phase != PHASE_RUN;
	bool goes_on;

	if (child->told_ready && now - child->started_us > STEADY_MS * 1000ll)
		child->failures = 0;
	child->failures = child->asked ? 0 : child->failures + 1;
	child->ended_us = now;
	log_exit(s, child, status, expected);
	if (child->role == PROCESS_SPARE) {
		spare_ended(s, child);
		return;
	}
	goes_on = line_goes_on(s, child, status);
	clear_row(s, child, goes_on);
	if (!goes_on)
		line_end(s, child);
	supervisor_wake_all(s);
	if (s->phase != PHASE_RUN || !child->wanted)
		return;
	child->restart_us = now + backoff_us(child);
	line_adopt(s, child);
	if (expected || within_intensity(s, now))
		return;
	log_error(s->log, "too_many_restarts", "limit", s->config.worker_restart_intensity,
		"period_ms", s->config.worker_restart_period_ms, "last_role",
		process_role_name(child->role), "last_index", child->index);
	supervisor_kill_all(s, STATUS_FAILED);
}

void supervisor_reap(struct supervisor *s, struct child *child)
{
	int status = 0;

	if (line_was_taken_by(s, child))
		return; /* it is collected as the worker that it is, when the old one was */
	if (child_reap(child, &status))
		child_ended(s, child, status);
	else
		line_adopt(s, child);
}

void supervisor_start_if_due(struct supervisor *s, struct child *child, int64_t now)
{
	if (!child->pid && child->wanted && s->phase == PHASE_RUN && now >= child->restart_us &&
		!line_has_spare(s, child))
		supervisor_start(s, child);
}

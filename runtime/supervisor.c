/* SPDX-License-Identifier: Apache-2.0
 *
 * When children are started, judged, started again and stopped. One thread, one epoll: signals by
 * signalfd, deaths by pidfd, commands of the control process; everything timed is looked at once a
 * tick. Numbers read from the status page are hints of a child and never used as an index.
 */
#include "runtime/supervisor_internal.h"

#include "runtime/supervisor_report.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS_MAX = 32,
	STOP_LATE_MS = 1000, /* after drain_ms: what media workers get to stop at once */
	STOP_LAST_MS = 2000, /* what helpers and control get */
	FLUSH_MS = 1000,
};

int64_t supervisor_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct process_status *supervisor_row(struct supervisor *s, const struct child *child)
{
	return &s->page->slot[process_slot(child->role, child->index)];
}

struct child *supervisor_find(struct supervisor *s, uint32_t role, uint32_t index)
{
	for (uint32_t i = 0; i < s->child_count; i++)
		if ((uint32_t)s->children[i].role == role && s->children[i].index == index)
			return &s->children[i];
	return NULL;
}

void supervisor_watch(struct supervisor *s, int fd, uint64_t what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = what};

	MUST(!epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event));
}

/* --- ready, stuck ---------------------------------------------------------------------------- */

static void node_ready(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->child_count; i++)
		if (s->children[i].wanted && !s->children[i].told_ready)
			return;
	s->told_ready = true;
	atomic_store(&s->page->node_state, PROCESS_NODE_READY);
	supervisor_print_ready(&s->config, &s->listeners);
	service_tell("READY=1\nSTATUS=serving");
	log_info(s->log, "node_ready", "node", s->config.node_name, "workers",
		s->listeners.worker_count, "http_port", s->listeners.http_port, "rtmp_port",
		s->listeners.rtmp_port);
}

void supervisor_wake_all(struct supervisor *s)
{
	for (uint32_t i = 0; i < PROCESS_SLOTS_MAX; i++)
		if (s->children[i].pid)
			child_wake(&s->children[i]);
}

void supervisor_kill_all(struct supervisor *s, enum status status)
{
	for (uint32_t i = 0; i < s->child_count; i++)
		child_kill(&s->children[i]);
	if (status > s->status)
		s->status = status;
	s->phase = PHASE_KILL;
}

static void log_kill(
	struct supervisor *s, const struct child *child, const char *reason, int64_t after_ms)
{
	log_error(s->log, "process_killed", "role", process_role_name(child->role), "index",
		child->index, "pid", child->pid, "reason", reason, "after_ms", after_ms);
}

void supervisor_kill_for(
	struct supervisor *s, struct child *child, const char *reason, int64_t after_ms)
{
	if (!child->kills)
		log_kill(s, child, reason, after_ms);
	child_kill(child);
}

/* How long it was silent by its own fault. A busy machine is not a stuck process: what it waited
 * for a processor since it was first suspected does not count, nor does the wait it is still in. */
static int64_t own_silence_us(struct child *child, int64_t silent_us, int64_t suspected_us)
{
	struct child_turns turns = child_turns(child);
	int64_t own_us = silent_us - (turns.waited_us - child->turns.waited_us);
	int64_t busy_us = suspected_us + turns.ran_us - child->turns.ran_us;

	return turns.runnable && busy_us < own_us ? busy_us : own_us;
}

static void judge_silent(struct supervisor *s, struct child *child, int64_t now)
{
	int64_t limit_us = s->config.worker_stuck_ms * 1000;
	int64_t silent_us = now - child->beat_at_us;

	if (silent_us > limit_us / 4 && !child->suspected) {
		child->suspected = true;
		child->turns = child_turns(child);
	}
	if (silent_us > limit_us)
		silent_us = own_silence_us(child, silent_us, limit_us / 4);
	if (silent_us <= limit_us)
		return;
	if (child->role == PROCESS_MEDIA && !child->aborted) {
		log_kill(s, child, "stuck", silent_us / 1000);
		child_abort(child);
		return; /* the next tick kills it if it does not hear */
	}
	if (child->aborted)
		child_kill(child);
	else
		supervisor_kill_for(s, child, "stuck", silent_us / 1000);
	child->beat_at_us = now;
}

/* Judges by when a new beat was seen here, not by the child's clock: a wild value cannot help it. */
static void judge(struct supervisor *s, struct child *child, int64_t now)
{
	struct process_status *status = supervisor_row(s, child);
	uint32_t state = atomic_load(&status->state);
	int64_t beat = atomic_load_explicit(&status->beat_us, memory_order_relaxed);

	if (!child->told_ready) {
		if (state == PROCESS_STARTING || state == PROCESS_RESTORING) {
			int64_t age_us = now - child->started_us;

			if (age_us > s->config.worker_start_ms * 1000)
				supervisor_kill_for(s, child, "not_ready", age_us / 1000);
			return;
		}
		child->told_ready = true;
		line_is_ready(s, child);
		supervisor_wake_all(s);
		child->beat_at_us = now;
		log_debug(s->log, "process_ready", "role", process_role_name(child->role), "index",
			child->index, "after_ms", (now - child->started_us) / 1000);
	}
	if (beat != child->beat_us) {
		child->beat_us = beat;
		child->beat_at_us = now;
		child->suspected = false;
	} else {
		judge_silent(s, child, now);
	}
}

/* --- stopping -------------------------------------------------------------------------------- */

static uint32_t alive(const struct supervisor *s, bool media_only)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->child_count; i++)
		count +=
			s->children[i].pid && (!media_only || s->children[i].role == PROCESS_MEDIA);
	return count;
}

static void order_all(struct supervisor *s, bool media, enum process_order order)
{
	for (uint32_t i = 0; i < s->child_count; i++)
		if ((s->children[i].role == PROCESS_MEDIA) == media)
			child_order(&s->children[i], s->page, order);
}

static void begin_stop(struct supervisor *s, const char *reason)
{
	if (s->phase != PHASE_RUN) {
		uint32_t left = alive(s, false);

		log_warn(s->log, "stopping_at_once", "reason", reason, "processes", left);
		supervisor_kill_all(s, left ? STATUS_FAILED : STATUS_CLEAN);
		return;
	}
	log_info(s->log, "stopping", "reason", reason, "drain_ms", s->config.drain_ms);
	/* systemd's own patience may be shorter than what the configuration allows */
	service_tell("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%" PRIi64,
		(2 * s->config.drain_ms + 2 * STOP_LATE_MS + 2 * STOP_LAST_MS) * 1000);
	atomic_store(&s->page->node_state, PROCESS_NODE_STOPPING);
	s->phase = PHASE_DRAIN;
	s->deadline_us = supervisor_now_us() + s->config.drain_ms * 1000;
	line_kill_spares(s);
	order_all(s, true, PROCESS_DRAIN);
	for (uint32_t i = 0; i < s->child_count; i++)
		child_wake(&s->children[i]);
}

static void go_on_stopping(struct supervisor *s, int64_t now)
{
	bool late = now >= s->deadline_us;

	if ((s->phase == PHASE_DRAIN || s->phase == PHASE_LATE) && !alive(s, true)) {
		s->phase = PHASE_LAST;
		/* control may have something to tell yet of sessions that ended last */
		s->deadline_us = now + (s->config.drain_ms + STOP_LAST_MS) * 1000;
		child_order(&s->children[0], s->page, PROCESS_DRAIN);
		for (uint32_t i = 1; i < s->child_count; i++)
			if (s->children[i].role != PROCESS_MEDIA)
				child_order(&s->children[i], s->page, PROCESS_STOP);
	} else if (s->phase == PHASE_DRAIN && late) {
		s->phase = PHASE_LATE;
		s->deadline_us = now + STOP_LATE_MS * 1000;
		order_all(s, true, PROCESS_STOP);
	} else if (s->phase == PHASE_LATE && late) {
		log_warn(s->log, "killing_late_workers", "count", alive(s, true));
		s->status = STATUS_FAILED;
		for (uint32_t i = 0; i < s->child_count; i++)
			if (s->children[i].role == PROCESS_MEDIA)
				child_kill(&s->children[i]);
		s->deadline_us = now + STOP_LATE_MS * 1000;
	} else if (s->phase == PHASE_LAST && late && alive(s, false)) {
		log_warn(s->log, "killing_late_processes", "count", alive(s, false));
		supervisor_kill_all(s, STATUS_FAILED);
	}
}

static bool has_ended(const struct supervisor *s)
{
	return (s->phase == PHASE_LAST || s->phase == PHASE_KILL) && !alive(s, false);
}

/* --- commands and signals -------------------------------------------------------------------- */

static enum err start_helper(struct supervisor *s, uint32_t *index)
{
	for (*index = 0; *index < PROCESS_HELPERS_MAX; ++*index) {
		struct child *child = supervisor_find(s, PROCESS_HELPER, *index);

		if (child && (child->pid || child->wanted))
			continue;
		if (!child)
			child = &s->children[s->child_count++];
		child_init(child, PROCESS_HELPER, *index);
		supervisor_start(s, child);
		return ERR_OK;
	}
	return ERR_LIMIT;
}

static enum err obey(struct supervisor *s, const struct process_command *command, uint32_t *index)
{
	struct child *child = supervisor_find(s, command->role, command->index);

	if (command->op == PROCESS_SET)
		return memchr(command->text, '\0', sizeof(command->text))
			       ? supervisor_set(s, command->text)
			       : ERR_FORMAT;
	if (s->phase != PHASE_RUN)
		return ERR_PHASE;
	switch (command->op) {
	case PROCESS_STOP_NODE: begin_stop(s, "command"); return ERR_OK;
	case PROCESS_START_HELPER: return start_helper(s, index);
	case PROCESS_UPGRADE:
		return memchr(command->text, '\0', PROCESS_PATH_SIZE)
			       ? upgrade_begin(s, command->text)
			       : ERR_FORMAT;
	case PROCESS_SCALE: return scale_begin(s, command->index, command->wait_s);
	case PROCESS_KILL: break;
	case PROCESS_DRAIN_WORKER: child = supervisor_find(s, PROCESS_MEDIA, command->index); break;
	case PROCESS_STOP_HELPER: child = supervisor_find(s, PROCESS_HELPER, command->index); break;
	default: return ERR_UNSUPPORTED;
	}
	if (child)
		supervisor_reap(s, child); /* a spare may have its place already */
	if (!child || !child->pid)
		return ERR_NOT_FOUND;
	child->asked = true;
	if (command->op == PROCESS_KILL)
		child_kill(child);
	else if (command->op == PROCESS_DRAIN_WORKER)
		child_order(child, s->page, PROCESS_DRAIN);
	else
		child_order(child, s->page, PROCESS_STOP);
	child->wanted = command->op != PROCESS_STOP_HELPER;
	return ERR_OK;
}

static void read_commands(struct supervisor *s)
{
	struct process_command command;
	ssize_t size;

	/* obeying may end the control process, and with it this socket */
	for (;;) {
		int fd = s->children[0].command;

		size = fd < 0 ? -1 : recv(fd, &command, sizeof(command), MSG_TRUNC);
		if (size <= 0)
			break;
		if (size != sizeof(command)) {
			log_warn(s->log, "command_malformed", "bytes", size);
			continue;
		}
		uint32_t index = command.index;
		enum err err = obey(s, &command, &index);
		struct child *child = supervisor_find(s,
			command.op == PROCESS_START_HELPER ? PROCESS_HELPER : command.role, index);
		struct process_reply reply = {
			command.id, err, index, child ? (uint32_t)child->pid : 0};
		if (err || command.op != PROCESS_SET)
			log_info(s->log, "command", "op", command.op, "role",
				process_role_name((enum process_role)command.role), "index", index,
				"result", err_name(err));
		if (command.id && send(fd, &reply, sizeof(reply), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			log_warn(s->log, "reply_lost", "reason", strerror(errno));
	}
	/* end of file: control is dying, its pidfd will say so */
	if (size == 0 && s->children[0].command >= 0)
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->children[0].command, NULL);
}

static bool take_configuration(struct supervisor *s)
{
	struct config fresh;

	if (!s->options->reload || !s->options->reload(s->options->context, &fresh)) {
		log_error(s->log, "reload_refused");
		return false;
	}
	supervisor_take(s, &fresh);
	log_info(s->log, "reloaded");
	return true;
}

static void reload(struct supervisor *s)
{
	bool serves = s->told_ready && s->phase == PHASE_RUN;

	if (serves)
		service_tell("RELOADING=1\nMONOTONIC_USEC=%" PRIi64, supervisor_now_us());
	bool taken = take_configuration(s);
	if (serves)
		service_tell("READY=1\nSTATUS=%s",
			taken ? "serving, reloaded"
			      : "serving as before: the new configuration has errors, see the log");
}

static void upgrade_by_signal(struct supervisor *s)
{
	enum err err = upgrade_begin(s, "");

	if (err)
		log_error(s->log, "upgrade_refused", "error", err_name(err));
}

static void read_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(s);
		else if (info.ssi_signo == SIGUSR2)
			upgrade_by_signal(s);
		else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			begin_stop(s, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
	}
}

/* --- the loop -------------------------------------------------------------------------------- */

static void tick(struct supervisor *s)
{
	int64_t now = supervisor_now_us();
	/* if we did not run, the children may not have either: nobody is late by our lateness */
	int64_t lost_us = now - s->tick_us - TICK_MS * 1000;

	for (uint32_t i = 0; i < s->child_count; i++) {
		struct child *child = &s->children[i];

		if (lost_us > TICK_MS * 1000)
			child->beat_at_us += lost_us;
		/* also without its pidfd's event: a death is never missed */
		supervisor_reap(s, child);
		if (child->pid && s->phase != PHASE_KILL)
			judge(s, child, now);
		else
			supervisor_start_if_due(s, child, now);
		if (child->role == PROCESS_SPARE)
			line_keep_spare(s, child, now);
	}
	s->tick_us = now;
	operation_look(s, now);
	if (s->phase == PHASE_RUN && !s->told_ready)
		node_ready(s);
	if (s->phase != PHASE_RUN)
		go_on_stopping(s, now);
	service_tick(&s->service, now, s->page);
	if (now >= s->flush_us) {
		s->flush_us = now + FLUSH_MS * 1000;
		log_flush(s->log);
	}
}

/* At once, not at the next tick: this is the gap that viewers see. */
static void replace(struct supervisor *s, struct child *child)
{
	supervisor_reap(s, child);
	supervisor_start_if_due(s, child, supervisor_now_us());
}

static void run(struct supervisor *s)
{
	struct epoll_event events[EVENTS_MAX];

	while (!has_ended(s)) {
		int64_t wait_us = s->tick_us + TICK_MS * 1000 - supervisor_now_us();
		int count = epoll_wait(s->epoll, events, EVENTS_MAX,
			wait_us > 0 ? (int)((wait_us + 999) / 1000) : 0);

		for (int i = 0; i < count; i++) {
			uint64_t what = events[i].data.u64;

			if (what == EVENT_SIGNALS)
				read_signals(s);
			else if (what == EVENT_COMMAND)
				read_commands(s);
			else if (what < s->child_count)
				replace(s, &s->children[what]);
		}
		if (supervisor_now_us() - s->tick_us >= TICK_MS * 1000)
			tick(s);
	}
}

int supervisor_main(const struct supervisor_options *options)
{
	struct supervisor *s = calloc(1, sizeof(*s));

	if (!s)
		return STATUS_FAILED;
	s->options = options;
	s->log = options->log;
	s->tick_us = supervisor_now_us();
	if (options->config)
		s->config = s->own = *options->config;

	enum status status =
		options->state ? supervisor_resume(s, options->state) : supervisor_set_up(s);
	if (status == STATUS_CLEAN) {
		s->tick_us = supervisor_now_us();
		service_init(&s->service, s->tick_us);
		for (uint32_t i = 0; i < s->child_count; i++)
			supervisor_start_if_due(s, &s->children[i], s->tick_us);
		run(s);
		status = s->status;
		log_info(s->log, "stopped", "exit_status", status);
	}
	log_flush(s->log);
	supervisor_tear_down(s);
	explicit_bzero(s->secret, sizeof(s->secret));
	free(s);
	return (int)status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * When children are started, judged, started again and stopped. One thread, one epoll: signals by
 * signalfd, deaths by pidfd, commands of the control process; everything timed is looked at once a
 * tick. Numbers read from the status page are hints of a child and never used as an index.
 */
#include "runtime/supervisor.h"

#include "runtime/listeners.h"
#include "runtime/places.h"
#include "runtime/process.h"
#include "runtime/supervisor_child.h"
#include "runtime/supervisor_report.h"
#include "runtime/supervisor_service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	TICK_MS = 20,
	EVENTS_MAX = 32,
	ENVIRONMENT_MAX = 256,
	RESTARTS_REMEMBERED = 1024, /* worker.restart_intensity is at most 1000 */
	BACKOFF_FIRST_MS = 50,	    /* before the second restart in a row; doubles */
	BACKOFF_LAST_MS = 500,
	STEADY_MS = 10000,   /* a child that served this long begins without a back-off again */
	STOP_LATE_MS = 1000, /* after drain_ms: what media workers get to stop at once */
	STOP_LAST_MS = 2000, /* what helpers and control get */
	FLUSH_MS = 1000,
};

enum status { STATUS_CLEAN = 0, STATUS_FAILED = 1, STATUS_CANNOT_BIND = 3 };

enum phase {
	PHASE_RUN,
	PHASE_DRAIN, /* media workers end their sessions */
	PHASE_LATE,  /* media workers are told to leave what they have */
	PHASE_LAST,  /* helpers and control stop */
	PHASE_KILL,  /* everything was killed, the kernel is clearing up */
};

struct supervisor {
	const struct supervisor_options *options;
	struct log *log;
	struct config config; /* as it runs: reloads change some of it */
	struct places places;
	struct listeners listeners;
	struct process_env env; /* what all children have in common */
	struct process_page *page;
	struct service service;
	int lifeline; /* the end that nobody but us holds */
	int epoll;
	int signals;
	enum phase phase;
	bool told_ready;
	enum status status;
	int64_t deadline_us; /* of the phase */
	int64_t tick_us;     /* of the last tick */
	int64_t flush_us;
	uint8_t secret[PROCESS_SECRET_SIZE];
	uint32_t incarnation;
	uint32_t restart_count; /* in the ring below, at most RESTARTS_REMEMBERED */
	int64_t restarts_us[RESTARTS_REMEMBERED];
	int holders[PROCESS_WORKERS_MAX][2]; /* pairs of worker and holder: either may die */
	uint32_t child_count;
	struct child children[PROCESS_SLOTS_MAX];
	char *environment[ENVIRONMENT_MAX + 1];
};

/* epoll data of what is not a child; children have their place in `children` */
enum { EVENT_SIGNALS = 1000, EVENT_COMMAND };

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct process_status *status_of(struct supervisor *s, const struct child *child)
{
	return &s->page->slot[process_slot(child->role, child->index)];
}

static struct child *find_child(struct supervisor *s, uint32_t role, uint32_t index)
{
	for (uint32_t i = 0; i < s->child_count; i++)
		if ((uint32_t)s->children[i].role == role && s->children[i].index == index)
			return &s->children[i];
	return NULL;
}

static void watch(struct supervisor *s, int fd, uint64_t what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = what};

	MUST(!epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event));
}

/* --- starting -------------------------------------------------------------------------------- */

static void begin_kill(struct supervisor *s, enum status status)
{
	for (uint32_t i = 0; i < s->child_count; i++)
		child_kill(&s->children[i]);
	if (status > s->status)
		s->status = status;
	s->phase = PHASE_KILL;
}

static int arena_for(struct supervisor *s, const struct child *child)
{
	char name[PROCESS_NAME_SIZE];
	int fd = -1;

	s->env.arena_size = 0;
	if (child->role == PROCESS_MEDIA && s->options->arena_create) {
		snprintf(name, sizeof(name), "millrace-arena-%u", child->index);
		fd = s->options->arena_create(&s->config, name, &s->env.arena_size);
	}
	return fd;
}

static void fill_env(struct supervisor *s, const struct child *child)
{
	struct process_env *env = &s->env;
	bool media = child->role == PROCESS_MEDIA;
	bool serves = media || child->role == PROCESS_CONTROL;

	env->role = child->role;
	env->index = child->index;
	env->incarnation = ++s->incarnation;
	env->rtc_port = media ? s->listeners.rtc_ports[child->index] : 0;
	env->fd.rtc_udp = media ? s->listeners.rtc_udp[child->index] : -1;
	env->fd.rtc_tcp = media ? s->listeners.rtc_tcp[child->index] : -1;
	env->fd.http = serves ? s->listeners.http : -1;
	env->fd.rtmp = media ? s->listeners.rtmp : -1;
	env->fd.https = media ? s->listeners.https : -1;
	env->fd.rtmps = media ? s->listeners.rtmps : -1;
	env->fd.api = media ? s->listeners.api : -1;
	memset(env->secret, 0, sizeof(env->secret));
	if (media)
		memcpy(env->secret, s->secret, sizeof(env->secret));
	env->fd.repl = child->role == PROCESS_CONTROL ? s->places.repl : -1;
	env->fd.holder = media				 ? s->holders[child->index][0]
			 : child->role == PROCESS_HOLDER ? s->holders[child->index][1]
							 : -1;
	env->fd.command = env->fd.wake = env->fd.arena = -1;
}

static void start_child(struct supervisor *s, struct child *child)
{
	enum err err = places_next_block(&s->places, &s->env.block);
	int arena = -1;

	if (!err) {
		arena = arena_for(s, child);
		if (child->role == PROCESS_MEDIA && s->options->arena_create && arena < 0)
			err = ERR_IO;
	}
	if (!err) {
		fill_env(s, child);
		err = child_start(child, &s->env, arena, s->environment);
	}
	child->started_us = now_us();
	if (err) {
		log_error(s->log, "process_start_failed", "role", process_role_name(child->role),
			"index", child->index, "error", err_name(err), "reason", strerror(errno));
		/* out of memory or descriptors: once more, later, as a restart */
		child->failures++;
		child->restart_us = child->started_us + BACKOFF_LAST_MS * 1000;
		return;
	}
	uint64_t place = (uint64_t)(child - s->children);
	watch(s, child->pidfd, place);
	if (child->command >= 0)
		watch(s, child->command, EVENT_COMMAND);
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
			"signal", signal_number, "failures_in_a_row", child->failures);
}

/* The others look at the status page when they are woken. */
static void wake_all(struct supervisor *s)
{
	for (uint32_t i = 0; i < PROCESS_SLOTS_MAX; i++)
		if (s->children[i].pid)
			child_wake(&s->children[i]);
}

static void child_ended(struct supervisor *s, struct child *child, int status)
{
	int64_t now = now_us();
	bool expected = child->asked || s->phase != PHASE_RUN;

	if (child->told_ready && now - child->started_us > STEADY_MS * 1000ll)
		child->failures = 0;
	child->failures = child->asked ? 0 : child->failures + 1;
	log_exit(s, child, status, expected);
	wake_all(s);
	if (s->phase != PHASE_RUN || !child->wanted)
		return;
	child->restart_us = now + backoff_us(child);
	if (expected || within_intensity(s, now))
		return;
	log_error(s->log, "too_many_restarts", "limit", s->config.worker_restart_intensity,
		"period_ms", s->config.worker_restart_period_ms, "last_role",
		process_role_name(child->role), "last_index", child->index);
	begin_kill(s, STATUS_FAILED);
}

static void reap(struct supervisor *s, struct child *child)
{
	int status = 0;

	if (child_reap(child, s->page, &status))
		child_ended(s, child, status);
}

static void start_if_due(struct supervisor *s, struct child *child, int64_t now)
{
	if (!child->pid && child->wanted && s->phase == PHASE_RUN && now >= child->restart_us)
		start_child(s, child);
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

static void kill_for(struct supervisor *s, struct child *child, const char *reason, int64_t ms)
{
	log_error(s->log, "process_killed", "role", process_role_name(child->role), "index",
		child->index, "pid", child->pid, "reason", reason, "after_ms", ms);
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
	if (silent_us > limit_us) {
		kill_for(s, child, "stuck", silent_us / 1000);
		child->beat_at_us = now;
	}
}

/* Judges by when a new beat was seen here, not by the child's clock: a wild value cannot help it. */
static void judge(struct supervisor *s, struct child *child, int64_t now)
{
	struct process_status *status = status_of(s, child);
	uint32_t state = atomic_load(&status->state);
	int64_t beat = atomic_load_explicit(&status->beat_us, memory_order_relaxed);

	if (!child->told_ready) {
		if (state == PROCESS_STARTING) {
			int64_t age_us = now - child->started_us;

			if (age_us > s->config.worker_start_ms * 1000)
				kill_for(s, child, "not_ready", age_us / 1000);
			return;
		}
		child->told_ready = true;
		wake_all(s);
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
		begin_kill(s, left ? STATUS_FAILED : STATUS_CLEAN);
		return;
	}
	log_info(s->log, "stopping", "reason", reason, "drain_ms", s->config.drain_ms);
	/* systemd's own patience may be shorter than what the configuration allows */
	service_tell("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%" PRIi64,
		(2 * s->config.drain_ms + 2 * STOP_LATE_MS + 2 * STOP_LAST_MS) * 1000);
	atomic_store(&s->page->node_state, PROCESS_NODE_STOPPING);
	s->phase = PHASE_DRAIN;
	s->deadline_us = now_us() + s->config.drain_ms * 1000;
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
		begin_kill(s, STATUS_FAILED);
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
		struct child *child = find_child(s, PROCESS_HELPER, *index);

		if (child && (child->pid || child->wanted))
			continue;
		if (!child)
			child = &s->children[s->child_count++];
		child_init(child, PROCESS_HELPER, *index);
		start_child(s, child);
		return ERR_OK;
	}
	return ERR_LIMIT;
}

static enum err obey(struct supervisor *s, const struct process_command *command, uint32_t *index)
{
	struct child *child = find_child(s, command->role, command->index);

	if (s->phase != PHASE_RUN)
		return ERR_PHASE;
	switch (command->op) {
	case PROCESS_STOP_NODE: begin_stop(s, "command"); return ERR_OK;
	case PROCESS_START_HELPER: return start_helper(s, index);
	case PROCESS_KILL: break;
	case PROCESS_DRAIN_WORKER: child = find_child(s, PROCESS_MEDIA, command->index); break;
	case PROCESS_STOP_HELPER: child = find_child(s, PROCESS_HELPER, command->index); break;
	default: return ERR_UNSUPPORTED;
	}
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
		struct child *child = find_child(s,
			command.op == PROCESS_START_HELPER ? PROCESS_HELPER : command.role, index);
		struct process_reply reply = {
			command.id, err, index, child ? (uint32_t)child->pid : 0};
		log_info(s->log, "command", "op", command.op, "role",
			process_role_name((enum process_role)command.role), "index", index,
			"result", err_name(err));
		if (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
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
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		if (!config_same(&fresh, &s->config, (enum config_key)key) &&
			!(config_row(key)->flags & CONFIG_RELOAD))
			log_warn(s->log, "reload_needs_restart", "key", config_row(key)->key);
	config_copy_reloadable(&s->config, &fresh);
	s->log->level = (enum log_level)s->config.log_level;
	s->log->format = (enum log_format)s->config.log_format;
	atomic_store(&s->page->log_level, (uint32_t)s->config.log_level);
	atomic_store(&s->page->log_format, (uint32_t)s->config.log_format);
	atomic_fetch_add(&s->page->reloads, 1);
	for (uint32_t i = 0; i < s->child_count; i++)
		child_wake(&s->children[i]);
	log_info(s->log, "reloaded");
	return true;
}

static void reload(struct supervisor *s)
{
	bool serves = s->told_ready && s->phase == PHASE_RUN;

	if (serves)
		service_tell("RELOADING=1\nMONOTONIC_USEC=%" PRIi64, now_us());
	bool taken = take_configuration(s);
	if (serves)
		service_tell("READY=1\nSTATUS=%s",
			taken ? "serving, reloaded"
			      : "serving as before: the new configuration has errors, see the log");
}

static void read_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(s);
		else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			begin_stop(s, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
	}
}

/* --- the loop -------------------------------------------------------------------------------- */

static void tick(struct supervisor *s)
{
	int64_t now = now_us();
	/* if we did not run, the children may not have either: nobody is late by our lateness */
	int64_t lost_us = now - s->tick_us - TICK_MS * 1000;

	for (uint32_t i = 0; i < s->child_count; i++) {
		struct child *child = &s->children[i];

		if (lost_us > TICK_MS * 1000)
			child->beat_at_us += lost_us;
		/* also without its pidfd's event: a death is never missed */
		reap(s, child);
		if (child->pid && s->phase != PHASE_KILL)
			judge(s, child, now);
		else
			start_if_due(s, child, now);
	}
	s->tick_us = now;
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
	reap(s, child);
	start_if_due(s, child, now_us());
}

static void run(struct supervisor *s)
{
	struct epoll_event events[EVENTS_MAX];

	while (!has_ended(s)) {
		int64_t wait_us = s->tick_us + TICK_MS * 1000 - now_us();
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
		if (now_us() - s->tick_us >= TICK_MS * 1000)
			tick(s);
	}
}

/* --- setting up ------------------------------------------------------------------------------ */

static bool create_page(struct supervisor *s)
{
	s->page = process_page_create(s->listeners.worker_count, &s->env.fd.status);
	if (!s->page)
		return false;
	atomic_store(&s->page->log_level, (uint32_t)s->config.log_level);
	atomic_store(&s->page->log_format, (uint32_t)s->config.log_format);
	s->env.page = s->page;
	return true;
}

static bool create_events(struct supervisor *s)
{
	sigset_t set;
	int pipe_ends[2];

	/* only what is handled: the rest keeps its meaning */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return false;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->epoll < 0 || s->signals < 0 || pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK))
		return false;
	s->env.fd.lifeline = pipe_ends[0];
	s->lifeline = pipe_ends[1];
	watch(s, s->signals, EVENT_SIGNALS);
	return true;
}

static bool create_holders(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->listeners.worker_count; i++)
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			    s->holders[i]))
			return false;
	return true;
}

static void fill_common(struct supervisor *s)
{
	struct process_env *env = &s->env;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	env->started_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	env->supervisor_pid = getpid();
	env->node_id = s->places.node_id;
	env->worker_count = s->listeners.worker_count;
	env->helper_count = (uint32_t)s->config.helper_count;
	env->http_port = s->listeners.http_port;
	env->rtmp_port = s->listeners.rtmp_port;
	env->https_port = s->listeners.https_port;
	env->rtmps_port = s->listeners.rtmps_port;
	env->api_port = s->listeners.api_port;
	memcpy(env->rtc_ports, s->listeners.rtc_ports, sizeof(env->rtc_ports));
	env->advertise_count =
		listeners_advertise(&s->config, s->listeners.has_ipv6, env->advertise);
	snprintf(env->node_name, sizeof(env->node_name), "%s", s->config.node_name);
	snprintf(env->run_dir, sizeof(env->run_dir), "%s", s->config.run_dir);
	snprintf(env->data_dir, sizeof(env->data_dir), "%s", s->config.data_dir);
	env->config = &s->config;
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static enum status set_up(struct supervisor *s)
{
	if (places_open(&s->places, &s->config)) {
		log_error(s->log, "cannot_start", "reason", s->places.problem);
		return STATUS_CANNOT_BIND;
	}
	if (listeners_open(&s->listeners, &s->config)) {
		log_error(s->log, "cannot_start", "reason", s->listeners.problem);
		return STATUS_CANNOT_BIND;
	}
	if (s->listeners.buffer_granted < s->listeners.buffer_wanted)
		log_warn(s->log, "receive_buffer_small", "granted_bytes",
			s->listeners.buffer_granted, "wanted_bytes", s->listeners.buffer_wanted,
			"remedy", "sysctl net.core.rmem_max, or CAP_NET_ADMIN");
	raise_descriptor_limit();
	/* what the service gave us to open sockets with is not for those who read from the network */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (!create_page(s) || !create_events(s) || !create_holders(s) ||
		getrandom(&s->env.limits_seed, sizeof(s->env.limits_seed), 0) < 0 ||
		getrandom(s->secret, sizeof(s->secret), 0) < 0) {
		log_error(s->log, "cannot_start", "reason", strerror(errno));
		return STATUS_FAILED;
	}
	fill_common(s);
	child_environment(s->options->environment, s->environment, ENVIRONMENT_MAX);
	child_init(&s->children[s->child_count++], PROCESS_CONTROL, 0);
	for (uint32_t i = 0; i < s->listeners.worker_count; i++)
		child_init(&s->children[s->child_count++], PROCESS_HOLDER, i);
	for (uint32_t i = 0; i < s->listeners.worker_count; i++)
		child_init(&s->children[s->child_count++], PROCESS_MEDIA, i);
	for (uint32_t i = 0; i < (uint32_t)s->config.helper_count; i++)
		child_init(&s->children[s->child_count++], PROCESS_HELPER, i);
	return STATUS_CLEAN;
}

static void tear_down(struct supervisor *s)
{
	const int fds[] = {s->epoll, s->signals, s->lifeline, s->env.fd.lifeline, s->env.fd.status};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (uint32_t i = 0; i < PROCESS_WORKERS_MAX; i++)
		for (int end = 0; end < 2; end++)
			if (s->holders[i][end] >= 0)
				close(s->holders[i][end]);
	if (s->page)
		munmap(s->page, process_page_size(s->listeners.worker_count));
	listeners_close(&s->listeners);
	places_close(&s->places);
}

int supervisor_main(const struct supervisor_options *options)
{
	struct supervisor *s = calloc(1, sizeof(*s));

	if (!s)
		return STATUS_FAILED;
	s->options = options;
	s->log = options->log;
	s->config = *options->config;
	s->epoll = s->signals = s->lifeline = s->env.fd.lifeline = s->env.fd.status = -1;
	s->places =
		(struct places){.run = -1, .data = -1, .run_lock = -1, .data_lock = -1, .repl = -1};
	s->listeners.http = s->listeners.rtmp = s->listeners.https = s->listeners.rtmps =
		s->listeners.api = -1;
	for (int i = 0; i < PROCESS_WORKERS_MAX; i++)
		s->listeners.rtc_udp[i] = s->listeners.rtc_tcp[i] = s->holders[i][0] =
			s->holders[i][1] = -1;

	enum status status = set_up(s);
	if (status == STATUS_CLEAN) {
		s->tick_us = now_us();
		service_init(&s->service, s->tick_us);
		for (uint32_t i = 0; i < s->child_count; i++)
			start_child(s, &s->children[i]);
		run(s);
		status = s->status;
		log_info(s->log, "stopped", "exit_status", status);
	}
	log_flush(s->log);
	tear_down(s);
	explicit_bzero(s->secret, sizeof(s->secret));
	free(s);
	return (int)status;
}

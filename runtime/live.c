/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/live_internal.h"
#include "runtime/process_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
	MS = 1000,
	REPORT_US = 500000,
	PAUSE_MAX_US =
		(PROCESS_BEAT_MS - 5) * MS, /* each turn costs a process that has nothing to do */
	FENCE_MS = 1000,
};

static int64_t clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t live_now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

int64_t live_real_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

/* ---- sockets by number ------------------------------------------------------------------------- */

struct live_socket *live_socket(struct live *live, uint32_t number)
{
	return number && number < live->socket_fresh && live->sockets[number].kind != LIVE_FREE
		       ? &live->sockets[number]
		       : NULL;
}

uint64_t live_tag(const struct live *live, uint32_t number)
{
	return (uint64_t)live->sockets[number].generation << 32 | (LIVE_TAG_SOCKETS + number);
}

/* 0 = all are taken. One that was adopted by its number may still stand in the list. */
static uint32_t free_number(struct live *live)
{
	while (live->socket_free) {
		uint32_t number = live->socket_free;

		live->socket_free = live->sockets[number].next_free;
		live->sockets[number].is_listed = false;
		if (live->sockets[number].kind == LIVE_FREE)
			return number;
	}
	return live->socket_fresh < LIVE_SOCKETS_MAX ? live->socket_fresh++ : 0;
}

static bool set_socket(
	struct live *live, uint32_t number, int fd, enum live_socket_kind kind, uint64_t owner)
{
	struct live_socket *socket = &live->sockets[number];
	struct epoll_event event = {.events = EPOLLIN};

	*socket = (struct live_socket){
		.fd = fd,
		.kind = (uint8_t)kind,
		.wanted = NET_READABLE,
		.is_listed = socket->is_listed,
		.generation = (socket->generation + 1) & 0x7fffffff,
		.next_free = socket->next_free,
		.owner = owner,
	};
	event.data.u64 = live_tag(live, number);
	if (kind == LIVE_CONNECTION)
		event.events |= EPOLLRDHUP;
	if (kind == LIVE_LISTENER)
		event.events |= EPOLLEXCLUSIVE;
	if (epoll_ctl(kind == LIVE_LISTENER ? live->listeners : live->epoll, EPOLL_CTL_ADD, fd,
		    &event)) {
		log_warn(&live->log, "socket_not_watched", "error", strerror(errno));
		live_free_socket(live, number);
		return false;
	}
	return true;
}

uint32_t live_add_socket(struct live *live, int fd, enum live_socket_kind kind, uint64_t owner)
{
	uint32_t number = free_number(live);

	return number && set_socket(live, number, fd, kind, owner) ? number : 0;
}

bool live_add_socket_at(
	struct live *live, uint32_t number, int fd, enum live_socket_kind kind, uint64_t owner)
{
	if (!number || number >= LIVE_SOCKETS_MAX || live_socket(live, number))
		return false;
	while (live->socket_fresh <= number)
		live_free_socket(live, live->socket_fresh++);
	return set_socket(live, number, fd, kind, owner);
}

void live_free_socket(struct live *live, uint32_t number)
{
	struct live_socket *socket = &live->sockets[number];

	socket->kind = LIVE_FREE;
	if (socket->is_listed)
		return;
	socket->is_listed = true;
	socket->next_free = live->socket_free;
	live->socket_free = number;
}

enum err live_watch(struct live *live, int fd, uint64_t tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};

	return epoll_ctl(live->epoll, EPOLL_CTL_ADD, fd, &event) ? ERR_IO : ERR_OK;
}

static int given_fd(const struct process_env *env, enum net_given what)
{
	switch (what) {
	case NET_RTC_UDP: return env->fd.rtc_udp;
	case NET_RTC_TCP: return env->fd.rtc_tcp;
	case NET_HTTP: return env->fd.http;
	case NET_RTMP: return env->fd.rtmp;
	case NET_REPL: return env->fd.repl;
	case NET_HTTPS: return env->fd.https;
	case NET_RTMPS: return env->fd.rtmps;
	case NET_API: return env->fd.api;
	case NET_LINK_UDP: return env->fd.link_udp;
	case NET_GIVEN_COUNT: break;
	}
	return -1;
}

static uint32_t net_take_given(void *context, uint64_t owner, enum net_given what)
{
	struct live *live = context;
	int fd = given_fd(live->env, what);
	bool udp = what == NET_RTC_UDP || what == NET_LINK_UDP;
	struct sockaddr_in6 name = {0};
	socklen_t size = sizeof(name);
	const int one = 1;

	if (fd < 0)
		return 0;
	if (!live->given[what]) {
		/* always the same number: connections keep theirs in a successor */
		if (live_add_socket_at(live, 1 + what, fd, udp ? LIVE_UDP : LIVE_LISTENER, owner))
			live->given[what] = 1 + what;
		if (udp)
			setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
		if (getsockname(fd, (struct sockaddr *)&name, &size) == 0 && live->given[what])
			live->sockets[live->given[what]].v6 = name.sin6_family == AF_INET6;
	}
	if (live->given[what])
		live->sockets[live->given[what]].owner = owner;
	if (live->given[what] && live_tls_use(what) >= 0)
		live_tls_open(live);
	return live->given[what];
}

/* ---- what actors reach through the runtime ----------------------------------------------------- */

static int64_t op_now_us(void *context)
{
	(void)context;
	return live_now_us();
}

static int64_t op_wall_us(void *context)
{
	(void)context;
	return live_real_us();
}

static void op_random(void *context, void *bytes, size_t size)
{
	(void)context;
	while (size) {
		ssize_t got = getrandom(bytes, size, 0);

		MUST(got > 0 || errno == EINTR);
		if (got > 0) {
			bytes = (uint8_t *)bytes + got;
			size -= (size_t)got;
		}
	}
}

static enum err op_supervisor_tell(void *context, const struct process_command *command)
{
	return process_command_send(((struct live *)context)->env, command);
}

static enum err op_supervisor_hear(void *context, struct process_reply *reply)
{
	return process_command_take(((struct live *)context)->env, reply);
}

static const struct runtime_ops live_ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.bus_send = live_bus_send,
	.node_send = live_mesh_send,
	.node_wanted = live_mesh_wanted,
	.mesh_open = live_mesh_take,
	.mesh_learn = live_mesh_learn,
	.mesh_forget = live_mesh_forget,
	.mesh_revoke = live_mesh_revoke,
	.net_take = net_take_given,
	.net_open_udp = live_udp_open_socket,
	.net_open_beside = live_udp_open_beside,
	.net_connect = live_tcp_connect,
	.net_broken_reason = live_tls_reason,
	.net_listen_pause = live_listen_pause,
	.net_send = live_udp_send,
	.net_send_from = live_udp_send_from,
	.net_is_local = live_udp_is_local,
	.net_give = live_tcp_give,
	.net_read = live_tcp_read,
	.net_write = live_tcp_write,
	.net_want = live_tcp_want,
	.net_close = live_tcp_close,
	.net_claim = live_holder_claim,
	.net_progress = live_tcp_progress,
	.net_local_addr = live_local_addr,
	.supervisor_tell = op_supervisor_tell,
	.supervisor_hear = op_supervisor_hear,
	.http_start = live_http_start,
	.http_read = live_http_read,
	.http_cancel = live_http_cancel,
};

/* ---- the supervisor ---------------------------------------------------------------------------- */

/* Newcomers wait in the listeners for the next process; those that have come meanwhile are with the
 * holder before this one ends. */
static void begin_to_hand_over(struct live *live)
{
	uint32_t order = PROCESS_HAND_OVER;

	/* whoever comes next is not meant */
	atomic_compare_exchange_strong(&live->own->order, &order, PROCESS_RUN);
	if (live->env->role != PROCESS_MEDIA || live->hand_over_at_us)
		return;
	live->hand_over_at_us = live_now_us() + 2 * LIVE_YOUNG_US;
	epoll_ctl(live->epoll, EPOLL_CTL_DEL, live->listeners, NULL);
}

/* At the end of a turn: all is kept, nothing has been stopped. Dying by a signal is what lets a line go
 * on. */
static void hand_over(struct live *live)
{
	log_info(&live->log, "hands_over", "actors", runtime_actor_count(live->rt));
	log_flush(&live->log);
	raise(SIGKILL);
}

static void follow_order(struct live *live)
{
	uint32_t order = atomic_load_explicit(&live->own->order, memory_order_acquire);

	if (order >= PROCESS_STOP) {
		live->quit = true;
	} else if (order == PROCESS_HAND_OVER) {
		begin_to_hand_over(live);
	} else if (order == PROCESS_DRAIN && !live->drain_until_us) {
		int64_t drain_ms = live->env->config->drain_ms;

		live->drain_until_us = live_now_us() + drain_ms * MS + 1;
		atomic_store(&live->own->state, PROCESS_DRAINING);
		runtime_drain(live->rt, (uint32_t)drain_ms);
	}
}

static void obey(struct live *live)
{
	uint64_t count;

	while (read(live->env->fd.wake, &count, sizeof(count)) > 0)
		;
	live_look_at_peers(live, 0); /* somebody may have come or gone */
	if (process_settings_follow(live->env, &live->settings_seen, &live->log))
		runtime_configured(live->rt);
	live_tls_reload(live);
	follow_order(live);
}

static void check_drained(struct live *live, int64_t now_us)
{
	bool drained;

	if (!live->drain_until_us || live->quit)
		return;
	drained = runtime_is_drained(live->rt) && !live->tls.lingering;
	if (!drained && now_us < live->drain_until_us)
		return;
	if (!drained)
		log_warn(&live->log, "drain_cut_short", "actors", runtime_actor_count(live->rt));
	atomic_store(&live->own->state, PROCESS_DRAINED);
	live->quit = true;
}

/* 0 = unknown. */
static uint64_t memory_bytes(void)
{
	char text[64] = "";
	unsigned long long pages = 0;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (size <= 0 || sscanf(text, "%*u %llu", &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void report(struct live *live, int64_t now_us)
{
	int64_t span_us = now_us - live->reported_us;

	if (span_us < REPORT_US)
		return;
	int64_t cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID);

	atomic_store_explicit(&live->own->cpu_permille,
		(uint32_t)((cpu_us - live->reported_cpu_us) * 1000 / span_us),
		memory_order_relaxed);
	atomic_store_explicit(&live->own->packets_per_s,
		(uint32_t)(live->packets * 1000000 / (uint64_t)span_us), memory_order_relaxed);
	atomic_store_explicit(&live->own->egress_kbps,
		(uint32_t)(live->bytes_out * 8000 / (uint64_t)span_us), memory_order_relaxed);
	process_metric_set(live->env, PROCESS_METRIC_CPU, (uint64_t)cpu_us);
	process_metric_set(live->env, PROCESS_METRIC_MEMORY, memory_bytes());
	process_metric_set(live->env, PROCESS_METRIC_ACCEPTS_FAILED, live->accepts_failed);
	process_metric_set(live->env, PROCESS_METRIC_HOLDER_WAITS, live->holder.waits);
	process_metric_set(live->env, PROCESS_METRIC_UNCLAIMED, live->holder.unclaimed);
	live_tls_report(live);
	live_mesh_report(live);
	live->packets = live->bytes_out = 0;
	live->reported_us = now_us;
	live->reported_cpu_us = cpu_us;
	log_flush(&live->log);
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static void dispatch_listeners(struct live *live)
{
	struct epoll_event events[16];
	int count = epoll_wait(live->listeners, events, 16, 0);

	for (int i = 0; i < count; i++)
		live_tcp_accept(live, (uint32_t)events[i].data.u64 - LIVE_TAG_SOCKETS);
}

static void dispatch(struct live *live, const struct epoll_event *event)
{
	uint32_t low = (uint32_t)event->data.u64;

	if (low == LIVE_TAG_LIFELINE) {
		live->quit = true; /* the supervisor is gone */
		live->status = 1;
	} else if (low == LIVE_TAG_WAKE) {
		obey(live);
	} else if (low == LIVE_TAG_LISTENERS) {
		dispatch_listeners(live);
	} else if (low == LIVE_TAG_BUS) {
		live->bus_waits = true;
	} else if (low == LIVE_TAG_HTTP) {
		live_http_event(live, (int)(event->data.u64 >> 32), event->events);
	} else if (low == LIVE_TAG_HOLDER) {
		live_holder_receive(live);
	} else if (low == LIVE_TAG_MESH) {
		live_mesh_event(live);
	} else if (low > LIVE_TAG_SOCKETS) {
		uint32_t number = low - LIVE_TAG_SOCKETS;
		struct live_socket *socket = live_socket(live, number);

		/* closed, and perhaps taken anew, by an earlier event of this round? */
		if (!socket || live_tag(live, number) != event->data.u64)
			return;
		if (socket->kind == LIVE_UDP)
			live_udp_receive(live, number);
		else
			live_tcp_event(live, number, event->events);
	}
}

static void wait_and_dispatch(struct live *live, int64_t until_us)
{
	struct epoll_event events[LIVE_EVENTS];
	int64_t pause_us = until_us - live_now_us();
	struct timespec timeout;
	int count;

	if (pause_us > PAUSE_MAX_US)
		pause_us = PAUSE_MAX_US;
	if (pause_us < 0)
		pause_us = 0;
	timeout = (struct timespec){.tv_nsec = pause_us * 1000};
	count = epoll_pwait2(live->epoll, events, LIVE_EVENTS, &timeout, NULL);
	runtime_tick(live->rt);
	for (int i = 0; i < count; i++)
		dispatch(live, &events[i]);
	live_tls_run(live, live_now_us());
	live_http_run(live);
	live_mesh_run(live);
}

static void loop(struct live *live)
{
	while (!live->quit) {
		int64_t next_us = runtime_turn(live->rt);
		int64_t now_us = live_now_us();
		int64_t http_us = live_http_due_us(live);
		int64_t mesh_us = live_mesh_due_us(live);

		next_us = http_us < next_us ? http_us : next_us;
		next_us = mesh_us < next_us ? mesh_us : next_us;

		process_beat(live->own, now_us);
		live_look_at_peers(live, now_us);
		report(live, now_us);
		check_drained(live, now_us);
		live_tcp_wake_listeners(live, now_us);
		live_tls_look(live, now_us);
		live_holder_flush(live, now_us);
		if (live->hand_over_at_us && now_us >= live->hand_over_at_us)
			hand_over(live);
		wait_and_dispatch(live, live->bus_waits || live_tls_is_ready(live) ? 0 : next_us);
		live_bus_receive(live);
	}
	runtime_turn(live->rt);
}

/* Workers were given theirs; a helper needs a small one for the media that passes through it. */
static enum err open_arena(struct live *live)
{
	static const struct arena_layout helper_layout = {
		.count = {8192, 1, 1, 1}
	};
	int fd = live->env->fd.arena;
	enum err err;

	if (live->env->role == PROCESS_CONTROL)
		return ERR_OK;
	if (live->env->role == PROCESS_HELPER)
		fd = arena_create_memfd("millrace-helper", &helper_layout);
	err = fd < 0 ? ERR_IO : arena_map(fd, &live->arena);
	if (live->env->role == PROCESS_HELPER && fd >= 0)
		close(fd);
	return err;
}

/* From here on what is in the arena, and what the sockets say, is ours. */
static enum err claim(struct live *live)
{
	enum err err = ERR_OK;

	if (live->env->role == PROCESS_SPARE)
		err = live_spare_wait(live);
	else if (live->arena)
		err = arena_take_fence(live->arena, FENCE_MS, NULL);
	if (!live->fenced_us)
		live->fenced_us = live_now_us();
	if (!err && live->env->role == PROCESS_MEDIA)
		err = arena_escrow(live->arena, &live->escrow);
	return err ? err : live_holder_open(live);
}

/* What may lie beside a process that runs: a spare has it, too. */
static enum err open_all(struct live *live)
{
	const struct process_env *env = live->env;
	enum err err;

	live->epoll = epoll_create1(EPOLL_CLOEXEC);
	live->listeners = epoll_create1(EPOLL_CLOEXEC);
	live->socket_fresh = 1 + NET_GIVEN_COUNT;
	live->sockets = calloc(LIVE_SOCKETS_MAX, sizeof(*live->sockets));
	if (live->epoll < 0 || live->listeners < 0 || !live->sockets)
		return ERR_NO_MEMORY;
	if (live_watch(live, env->fd.wake, LIVE_TAG_WAKE) ||
		live_watch(live, env->fd.lifeline, LIVE_TAG_LIFELINE))
		return ERR_IO;
	live_tls_init(live);
	err = open_arena(live);
	if (!err)
		err = live_udp_open(live);
	if (!err)
		err = live_bus_open(live);
	if (!err)
		err = live_mesh_open(live);
	return err;
}

static enum err start(struct live *live)
{
	const struct process_env *env = live->env;
	struct runtime_options options = {
		.ops = &live_ops,
		.context = live,
		.config = env->config,
		.env = env,
		.log = &live->log,
		.arena = live->arena,
		.escrow = live->escrow,
		.node = env->node_id,
		.boot = live->boot,
		.block = env->block,
		.process = env->line,
		.role = (uint8_t)env->role,
		.index = env->index,
		.types = live->program->types,
	};
	op_random(live, options.secret, sizeof(options.secret));
	enum err err = runtime_create(&options, &live->rt);

	explicit_bzero(options.secret, sizeof(options.secret));
	if (err)
		return err;
	if (live->escrow) {
		live_watch_fatal(live->rt);
		err = live_take_over(live);
	}
	live_meet_peers_again(live);
	for (const struct live_office *at = live->program->offices; at->type && !err; at++) {
		err = actor_spawn_office(live->rt, at->office, at->type, at->args);
		if (err == ERR_EXISTS) /* it goes on */
			err = ERR_OK;
	}
	return err;
}

int live_run(const struct process_env *env, const struct live_program *program)
{
	struct live *live = calloc(1, sizeof(*live));
	enum err err;

	if (!live)
		return 1;
	live->own_env = *env;
	live->env = env = &live->own_env;
	live->program = program;
	live->own = process_own_status(env);
	process_log_init(env, &live->log);
	process_settings_follow(env, &live->settings_seen, &live->log);
	err = open_all(live);
	if (!err)
		err = claim(live);
	if (!err)
		err = start(live);
	if (err == ERR_CLOSED && env->role == PROCESS_SPARE) {
		log_flush(&live->log);
	} else if (err) {
		log_error(&live->log, "process_cannot_start", "error", err_name(err));
		live->status = 1;
	} else {
		live->reported_us = live_now_us();
		process_beat(live->own, live->reported_us);
		live_is_ready(live);
		follow_order(live); /* its predecessor may have been draining */
		loop(live);
	}
	if (live->escrow)
		live_watch_fatal(NULL);
	live_mesh_close(live);
	runtime_destroy(&live->rt);
	live_http_close(live);
	live_tls_close(live);
	live_holder_close(live);
	live_bus_close(live);
	live_udp_close(live);
	escrow_detach(&live->escrow);
	arena_detach(&live->arena);
	free(live->sockets);
	int status = live->status;

	free(live);
	return status;
}

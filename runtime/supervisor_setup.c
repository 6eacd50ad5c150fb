/* SPDX-License-Identifier: Apache-2.0
 *
 * What a node consists of: its directories, listening sockets, status page, descriptors that its
 * processes share, and which processes there are.
 */
#include "runtime/supervisor_internal.h"
#include "runtime/supervisor_report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static bool create_page(struct supervisor *s)
{
	s->page = process_page_create(s->listeners.worker_count, &s->env.fd.status);
	if (!s->page)
		return false;
	s->env.page = s->page;
	return true;
}

static bool create_lifeline(struct supervisor *s)
{
	int pipe_ends[2];

	if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK))
		return false;
	s->env.fd.lifeline = pipe_ends[0];
	s->lifeline = pipe_ends[1];
	return true;
}

static bool create_events(struct supervisor *s)
{
	sigset_t set;

	/* only what is handled: the rest keeps its meaning */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return false;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->epoll < 0 || s->signals < 0)
		return false;
	supervisor_watch(s, s->signals, EVENT_SIGNALS);
	return true;
}

bool supervisor_open_holder(struct supervisor *s, uint32_t worker)
{
	return !socketpair(
		AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s->holders[worker]);
}

static bool create_holders(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->listeners.worker_count; i++)
		if (!supervisor_open_holder(s, i))
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
	env->mesh_port = s->listeners.mesh_port;
	memcpy(env->rtc_ports, s->listeners.rtc_ports, sizeof(env->rtc_ports));
	memcpy(env->link_ports, s->listeners.link_ports, sizeof(env->link_ports));
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

static void list_children(struct supervisor *s)
{
	child_init(&s->children[s->child_count++], PROCESS_CONTROL, 0);
	for (uint32_t i = 0; i < s->listeners.worker_count; i++)
		child_init(&s->children[s->child_count++], PROCESS_HOLDER, i);
	for (uint32_t i = 0; i < s->listeners.worker_count; i++)
		child_init(&s->children[s->child_count++], PROCESS_MEDIA, i);
	for (uint32_t i = 0; i < (uint32_t)s->config.helper_count; i++)
		child_init(&s->children[s->child_count++], PROCESS_HELPER, i);
	for (uint32_t i = 0; i < s->listeners.worker_count; i++) {
		struct child *spare = &s->children[s->child_count++];

		child_init(spare, PROCESS_SPARE, i);
		spare->wanted = false; /* by its worker, when that is ready */
	}
}

static void set_nothing_open(struct supervisor *s)
{
	s->epoll = s->signals = s->lifeline = s->env.fd.lifeline = s->env.fd.status = -1;
	s->places =
		(struct places){.run = -1, .data = -1, .run_lock = -1, .data_lock = -1, .repl = -1};
	s->listeners.http = s->listeners.rtmp = s->listeners.https = s->listeners.rtmps =
		s->listeners.api = s->listeners.mesh = -1;
	for (int i = 0; i < PROCESS_WORKERS_MAX; i++)
		s->listeners.rtc_udp[i] = s->listeners.rtc_tcp[i] = s->listeners.link_udp[i] =
			s->holders[i][0] = s->holders[i][1] = s->lines[i].arena = -1;
}

/* Where this program lies, as an upgrade without a path means it: before its file is replaced. */
static void find_program(struct supervisor *s)
{
	ssize_t size = readlink("/proc/self/exe", s->program, sizeof(s->program) - 1);

	s->program[size > 0 ? size : 0] = '\0';
}

static void watch_again(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->child_count; i++) {
		if (s->children[i].pidfd >= 0)
			supervisor_watch(s, s->children[i].pidfd, i);
		if (s->children[i].command >= 0)
			supervisor_watch(s, s->children[i].command, EVENT_COMMAND);
	}
}

enum status supervisor_resume(struct supervisor *s, int state)
{
	enum err err;

	set_nothing_open(s);
	find_program(s);
	err = state_load(s, state);
	close(state);
	if (err || !create_events(s)) {
		log_error(
			s->log, "cannot_go_on", "error", err_name(err), "reason", strerror(errno));
		return STATUS_FAILED;
	}
	s->own = s->config;
	supervisor_find_settings(s);
	uint64_t started_us = s->env.started_us;
	fill_common(s);
	s->env.started_us = started_us;
	s->env.page = s->page;
	s->told_ready = true;
	child_environment(s->options->environment, s->environment, ENVIRONMENT_MAX);
	watch_again(s);
	if (s->options->config)
		supervisor_take(s, s->options->config);
	return STATUS_CLEAN;
}

enum status supervisor_set_up(struct supervisor *s)
{
	set_nothing_open(s);
	find_program(s);
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
	supervisor_warn_open(s->log, &s->config);
	raise_descriptor_limit();
	if (!create_page(s) || !create_lifeline(s) || !create_events(s) || !create_holders(s) ||
		getrandom(&s->env.limits_seed, sizeof(s->env.limits_seed), 0) < 0 ||
		getrandom(s->secret, sizeof(s->secret), 0) < 0) {
		log_error(s->log, "cannot_start", "reason", strerror(errno));
		return STATUS_FAILED;
	}
	fill_common(s);
	child_environment(s->options->environment, s->environment, ENVIRONMENT_MAX);
	list_children(s);
	return STATUS_CLEAN;
}

void supervisor_tear_down(struct supervisor *s)
{
	const int fds[] = {s->epoll, s->signals, s->lifeline, s->env.fd.lifeline, s->env.fd.status};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (uint32_t i = 0; i < PROCESS_WORKERS_MAX; i++)
		for (int end = 0; end < 2; end++)
			if (s->holders[i][end] >= 0)
				close(s->holders[i][end]);
	for (uint32_t i = 0; i < PROCESS_WORKERS_MAX; i++)
		if (s->lines[i].arena >= 0)
			close(s->lines[i].arena);
	if (s->page)
		munmap(s->page, process_page_size());
	listeners_close(&s->listeners);
	places_close(&s->places);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests and measurements of the holder: a worker and its holder as real processes, forks of
 * this program that run the shipped loop and the shipped holder, without a supervisor, so that the
 * caller decides who dies when and who comes back. The worker's actors keep what they accept at
 * NET_RTMP unread, and close what they accept at NET_HTTP when they are told anything.
 */
#ifndef MILLRACE_HOLDER_RIG_H
#define MILLRACE_HOLDER_RIG_H

#include "runtime/arena.h"
#include "runtime/live.h"
#include "runtime/net.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CLIENTS = 70, /* more than two messages to a holder carry */
	FIRST_WORKER = 1,
	NUMBERS_MAX = 1024, /* of connections, more than any row makes */
};

/* ---- the actors of the worker ---------------------------------------------------------------- */

struct keeper_state {
	uint64_t accepted;
};

struct keeper {
	struct keeper_state st;
	uint32_t kept, told; /* listeners */
};

static const struct field keeper_fields[] = {
	{.name = "accepted", .tag = 1, .kind = FIELD_U64, .offset = 0},
};
static const struct schema keeper_schema = {.name = "keeper_state",
	.id = 0xf911,
	.size = sizeof(struct keeper_state),
	.fields = keeper_fields,
	.field_count = 1,
	.use = SCHEMA_STATE};

/* A successor gives back what the first worker had left unread. */
static void echo(struct actor *self, uint32_t socket)
{
	char bytes[64];
	long size = net_read(self, socket, bytes, sizeof(bytes));

	if (size > 0)
		net_write(self, socket, &(struct iovec){bytes, (size_t)size}, 1);
	else if (size != -1)
		net_close(self, socket);
}

static void guest_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	(void)data, (void)events;
	echo(self, socket);
}

static enum err guest_init(struct actor *self, void *data, const void *args)
{
	const uint32_t *socket = args;

	(void)data;
	net_want(self, *socket, 0);
	return ERR_OK;
}

static const struct actor_type guest_actor = {
	.name = "guest",
	.size = sizeof(struct keeper),
	.state = &keeper_schema,
	.init = guest_init,
	.tcp = guest_tcp,
};

/* Every second one stays with the office: the only actor that a successor has, too. */
static void keeper_accepted(struct actor *self, void *data, uint32_t listener, uint32_t socket,
	const struct net_addr *peer)
{
	struct keeper *s = data;
	struct addr guest;

	(void)peer;
	if (listener == s->told)
		return;
	net_want(self, socket, 0);
	if (s->st.accepted++ % 2 == 0)
		return;
	MUST(!actor_spawn(actor_runtime(self), self, &guest_actor, &socket, &guest));
	net_give(self, socket, guest);
}

static void keeper_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	(void)data, (void)events;
	if (actor_own_process(self) == FIRST_WORKER)
		net_close(self, socket);
	else
		echo(self, socket);
}

static int start_takes_ms; /* of workers from now on, when they have asked the holder */

static enum err keeper_init(struct actor *self, void *data, const void *args)
{
	struct keeper *s = data;

	(void)args;
	poll(NULL, 0, start_takes_ms);
	s->kept = net_take(self, NET_RTMP);
	s->told = net_take(self, NET_HTTP);
	/* whatever it had: an actor that is restored knows the numbers from its state */
	for (uint32_t number = 1; number < NUMBERS_MAX; number++)
		net_claim(self, number);
	return s->kept && s->told ? ERR_OK : ERR_IO;
}

static const struct actor_type keeper_actor = {
	.name = "keeper",
	.size = sizeof(struct keeper),
	.state = &keeper_schema,
	.init = keeper_init,
	.tcp = keeper_tcp,
	.accepted = keeper_accepted,
};

static const struct actor_type *const types[] = {&keeper_actor, &guest_actor, NULL};
static const struct live_office offices[] = {
	{OFFICE_RTMP, &keeper_actor, NULL},
	{0	  },
};
static const struct live_program program = {.types = types, .offices = offices};

/* ---- processes ------------------------------------------------------------------------------- */

struct rig {
	struct process_env env;
	int pair[2];
	int lifeline;
	char dir[64];
	pid_t worker, holder;
	int clients[CLIENTS];
};

static struct config config;

static int listening_socket(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	MUST(fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 1000));
	return fd;
}

static void rig_open(struct rig *rig)
{
	static struct config_report report;
	int pipe_ends[2];

	memset(rig, 0, sizeof(*rig));
	memset(&rig->env.fd, 0xff, sizeof(rig->env.fd));
	memset(rig->clients, 0xff, sizeof(rig->clients));
	start_takes_ms = 0;
	config_init(&config, &report);
	snprintf(rig->dir, sizeof(rig->dir), "/tmp/millrace-test-XXXXXX");
	MUST(mkdtemp(rig->dir) && !pipe(pipe_ends));
	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, rig->pair));
	rig->lifeline = pipe_ends[1];
	rig->env.fd.lifeline = pipe_ends[0];
	rig->env.fd.rtmp = listening_socket();
	rig->env.fd.http = listening_socket();
	rig->env.page = mmap(NULL, sizeof(struct process_page), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(rig->env.page != MAP_FAILED);
	rig->env.config = &config;
	rig->env.node_id = 1;
	rig->env.worker_count = 1;
	rig->env.block = 5; /* of every worker here: a successor's office has the same id */
	snprintf(rig->env.run_dir, sizeof(rig->env.run_dir), "%s", rig->dir);
}

static void close_clients(struct rig *rig)
{
	for (int i = 0; i < CLIENTS; i++) {
		if (rig->clients[i] >= 0)
			close(rig->clients[i]);
		rig->clients[i] = -1;
	}
}

static pid_t start(struct rig *rig, enum process_role role, uint32_t incarnation, rlim_t nofile)
{
	static const struct arena_layout layout = {
		.count = {16, 1, 1, 1}
	      };
	struct process_env env = rig->env;
	struct process_status *status = &env.page->slot[process_slot(role, 0)];
	struct rlimit limit = {nofile, nofile};

	env.role = role;
	env.incarnation = env.line = incarnation;
	env.fd.holder = rig->pair[role == PROCESS_HOLDER];
	atomic_store(&status->state, PROCESS_STARTING);
	fflush(NULL);
	pid_t pid = fork();
	MUST(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_clients(rig); /* they are the parent's alone */
	if (nofile)
		setrlimit(RLIMIT_NOFILE, &limit);
	env.fd.wake = eventfd(0, EFD_NONBLOCK);
	env.fd.arena = role == PROCESS_MEDIA ? arena_create_memfd("test", &layout) : -1;
	_exit(role == PROCESS_HOLDER ? holder_main(&env) : live_run(&env, &program));
}

static void kill_and_wait(pid_t *pid)
{
	kill(*pid, SIGKILL);
	MUST(waitpid(*pid, NULL, 0) == *pid);
	*pid = 0;
}

static void rig_close(struct rig *rig)
{
	const int fds[] = {rig->pair[0], rig->pair[1], rig->lifeline, rig->env.fd.lifeline,
		rig->env.fd.rtmp, rig->env.fd.http};
	char command[96];

	if (rig->worker)
		kill_and_wait(&rig->worker);
	if (rig->holder)
		kill_and_wait(&rig->holder);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	munmap(rig->env.page, sizeof(struct process_page));
	for (uint32_t process = 0; process < 8; process++) {
		snprintf(command, sizeof(command), "%s/bus-%u", rig->dir, process);
		unlink(command);
	}
	rmdir(rig->dir);
}

static uint64_t metric(const struct rig *rig, enum process_role role, enum process_metric which)
{
	return atomic_load(&rig->env.page->metrics[process_slot(role, 0)].value[which]);
}

static uint64_t held(const struct rig *rig)
{
	return metric(rig, PROCESS_HOLDER, PROCESS_METRIC_SOCKETS_HELD);
}

static int connect_to(int listener)
{
	struct sockaddr_in at;
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(!getsockname(listener, (struct sockaddr *)&at, &size));
	MUST(!connect(fd, (struct sockaddr *)&at, sizeof(at)));
	return fd;
}

#endif

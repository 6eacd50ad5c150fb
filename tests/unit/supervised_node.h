/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the supervisor with real processes: each node is a fork of the test program that runs
 * supervisor_main; its children are that program again, which then plays the part that the variable
 * FAKE names. Waiting is for conditions, with a deadline.
 */
#ifndef MILLRACE_TESTS_SUPERVISED_NODE_H
#define MILLRACE_TESTS_SUPERVISED_NODE_H

#include "runtime/arena.h"
#include "runtime/places.h"
#include "runtime/process.h"
#include "runtime/supervisor.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	DEADLINE_MS = 60000,
	PIDS_MAX = 32,
	SPINNER = 5, /* incarnation of media.1: after control, two holders and media.0 */
};

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- the fake child -------------------------------------------------------------------------- */

static const struct arena_layout small_arena = {
	.count = {1,   1,	1, 1},
	       .size = {64,  64,	64, 64},
		 .escrow = {1,1}
};

static bool plays(const char *part)
{
	const char *fake = getenv("FAKE");

	return fake && strstr(fake, part);
}

/* What a correct child was given; anything missing shows as a node that never gets ready. */
static bool given_everything(const struct process_env *env)
{
	struct stat status;
	int reuse = 0, listening = 0;
	socklen_t size = sizeof(int);

	if (env->block == 0 || strcmp(env->config->admin_token, "s3cret") ||
		env->worker_count != 2 || env->advertise_count < 1 || !env->http_port ||
		getenv("MILLRACE_ADMIN_TOKEN") || getenv("NOTIFY_SOCKET") ||
		getenv("WATCHDOG_USEC"))
		return false;
	if ((env->role == PROCESS_CONTROL) != (env->fd.command >= 0) ||
		(env->role == PROCESS_CONTROL) != (env->fd.repl >= 0))
		return false;
	if ((env->role == PROCESS_MEDIA || env->role == PROCESS_SPARE ||
		    env->role == PROCESS_HOLDER) != (env->fd.holder >= 0))
		return false;
	if (env->role == PROCESS_HELPER || env->role == PROCESS_HOLDER)
		return env->fd.http < 0 && env->fd.rtc_udp < 0 && env->fd.arena < 0;
	if (getsockopt(env->fd.http, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) || !listening)
		return false;
	if (env->role == PROCESS_CONTROL)
		return env->fd.rtc_udp < 0 && env->fd.arena < 0;
	return !getsockopt(env->fd.rtc_udp, SOL_SOCKET, SO_REUSEPORT, &reuse, &size) && reuse &&
	       !getsockopt(env->fd.rtc_tcp, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) &&
	       listening && env->rtc_ports[env->index] == env->rtc_port &&
	       env->arena_size == arena_size(&small_arena) && !fstat(env->fd.arena, &status) &&
	       (size_t)status.st_size == env->arena_size &&
	       fcntl(env->fd.arena, F_GETFD) == FD_CLOEXEC;
}

static void ask(const struct process_env *env, const struct process_command *command,
	struct process_reply *reply)
{
	struct pollfd readable = {.fd = env->fd.command, .events = POLLIN};

	MUST(send(env->fd.command, command, sizeof(*command), 0) == sizeof(*command));
	do {
		process_beat(process_own_status(env), now_us());
	} while (poll(&readable, 1, 20) == 0);
	MUST(recv(env->fd.command, reply, sizeof(*reply), 0) == sizeof(*reply));
}

/* The control process' questions, in order; a surprise ends it, and the test sees the restart. */
static void converse(const struct process_env *env)
{
	static const struct {
		struct process_command command;
		uint32_t err;
		uint32_t index;
	} rows[] = {
		{{1, 99, 0, 0},				ERR_UNSUPPORTED, 0},
		{{2, PROCESS_KILL, PROCESS_MEDIA, 7},	      ERR_NOT_FOUND,   7},
		{{3, PROCESS_KILL, 12345, 0},		      ERR_NOT_FOUND,   0},
		{{4, PROCESS_STOP_HELPER, PROCESS_HELPER, 5}, ERR_NOT_FOUND,   5},
		{{5, PROCESS_START_HELPER, 0, 0},		  ERR_OK,	  1},
		{{6, PROCESS_STOP_HELPER, PROCESS_HELPER, 1}, ERR_OK,	      1},
		{{7, PROCESS_DRAIN_WORKER, PROCESS_MEDIA, 1}, ERR_OK,	      1},
		{{8, PROCESS_KILL, PROCESS_MEDIA, 0},	      ERR_OK,	      0},
	};
	struct process_reply reply;

	MUST(send(env->fd.command, "short", 5, 0) == 5);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask(env, &rows[i].command, &reply);
		MUST(reply.id == rows[i].command.id && reply.err == rows[i].err &&
			reply.index == rows[i].index);
	}
}

/* Control again: each row, and as what it is known to all then. */
static void set(const struct process_env *env)
{
	static const struct {
		const char *setting;
		enum err err;
		enum log_level level; /* the node's own is info */
		const char *modes;
	} rows[] = {
		{"link.modes=a/*=race", ERR_OK,	LOG_LEVEL_INFO,	"a/*=race"},
		{"log.level=error",	    ERR_OK,	    LOG_LEVEL_ERROR, "a/*=race"},
		{"log.level=loud",	   ERR_CONFIG,    LOG_LEVEL_ERROR, "a/*=race"},
		{"link.modes=both",	    ERR_CONFIG,	LOG_LEVEL_ERROR, "a/*=race"},
		{"nothing.such=1",	   ERR_NOT_FOUND, LOG_LEVEL_ERROR, "a/*=race"},
		{"",		     ERR_NOT_FOUND, LOG_LEVEL_ERROR, "a/*=race"},
		{"http.port=80",	 ERR_CONFIG,    LOG_LEVEL_ERROR, "a/*=race"},
		{"log.level",	      ERR_OK,	      LOG_LEVEL_INFO,  "a/*=race"},
		{"link.modes",	       ERR_OK,	       LOG_LEVEL_INFO,  ""	 },
		{"link.modes=b=backup", ERR_OK,	LOG_LEVEL_INFO,	"b=backup"},
	};
	struct process_command command = {.op = PROCESS_SET};
	struct process_reply reply;
	struct log log = {0};
	uint32_t seen = 0, before;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		command.id = (uint32_t)i + 1;
		text_copy(command.text, sizeof(command.text), rows[i].setting);
		ask(env, &command, &reply);
		process_settings_follow(env, &seen, &log);
		MUST(reply.err == (uint32_t)rows[i].err);
		MUST(env->config->log_level == (int32_t)rows[i].level);
		MUST(!strcmp(env->config->link_modes, rows[i].modes));
	}
	/* said again: nobody is woken for it, and (number 0) no answer is in the way of the next */
	before = seen;
	command.id = 0;
	MUST(send(env->fd.command, &command, sizeof(command), 0) == sizeof(command));
	command.id = 99;
	ask(env, &command, &reply);
	MUST(reply.id == 99 && reply.err == ERR_OK);
	MUST(atomic_load(&env->page->settings.version) == before);
}

/* What the log of a node has of a fake that serves. */
static void tell(const struct process_env *env)
{
	fprintf(stderr, "fake %s.%u line=%u incarnation=%u block=%u\n",
		process_role_name(env->role), env->index, env->line, env->incarnation,
		(unsigned)env->block);
}

/* A worker holds the fence, its spare waits in it: as real ones do, and nothing else. */
static bool wait_for_fence(struct process_env *env)
{
	struct arena *arena;
	bool inherited = false;

	MUST(!arena_map(env->fd.arena, &arena));
	if (env->role == PROCESS_MEDIA)
		return !arena_take_fence(arena, DEADLINE_MS, NULL);
	atomic_store(&process_own_status(env)->state, PROCESS_READY);
	tell(env);
	do {
		process_beat(process_own_status(env), now_us());
	} while (plays("sleepy") || arena_take_fence(arena, 20, &inherited) == ERR_TIMEOUT);
	if (plays("slip"))
		_exit(1);
	process_take_place(env);
	return inherited;
}

static int fake_serve(const struct process_env *env)
{
	struct process_status *own = process_own_status(env);
	struct pollfd fds[] = {
		{.fd = env->fd.wake,     .events = POLLIN},
		{.fd = env->fd.lifeline, .events = POLLIN}
	  };
	bool media = env->role == PROCESS_MEDIA, talked = false;
	struct log log = {0};
	uint32_t seen = 0;

	tell(env);
	if (media && plays("crash"))
		return 1;
	while (process_supervisor_is_alive(env)) {
		uint64_t count;
		uint32_t order = atomic_load(&own->order);

		process_beat(own, now_us());
		if (!(media && plays("never_ready")))
			atomic_store(&own->state, PROCESS_READY);
		while (env->incarnation == SPINNER && plays("spin") &&
			atomic_load(&env->page->node_state) == PROCESS_NODE_READY)
			;
		if (env->role == PROCESS_CONTROL && plays("talk") && !talked &&
			atomic_load(&env->page->node_state) == PROCESS_NODE_READY) {
			converse(env);
			talked = true;
		}
		if (env->role == PROCESS_CONTROL && plays("settings") && !talked &&
			atomic_load(&env->page->node_state) == PROCESS_NODE_READY) {
			set(env);
			talked = true;
		}
		if (env->fd.arena >= 0 && plays("settings") && !talked &&
			process_settings_follow(env, &seen, &log) &&
			!strcmp(env->config->link_modes, "b=backup")) {
			fprintf(stderr, "fake %d has settings\n", getpid());
			talked = true;
		}
		if (order >= (env->role == PROCESS_HELPER ? PROCESS_STOP : PROCESS_DRAIN) &&
			!(media && plays("deaf")) &&
			!(media && order == PROCESS_DRAIN && plays("slow")))
			return 0;
		(void)!read(env->fd.wake, &count, sizeof(count));
		poll(fds, 2, 20);
	}
	return 1;
}

static int fake_main(const struct process_env *given)
{
	static struct process_env own;
	const struct process_env *env = &own;

	own = *given;
	if (!given_everything(env))
		return 1;
	if (env->fd.arena >= 0 && !wait_for_fence(&own))
		return 1;
	return fake_serve(env);
}

__attribute__((constructor)) static void become_child(int argc, char **argv)
{
	static const struct process_programs programs = {
		.run = {[PROCESS_CONTROL] = fake_main,
			[PROCESS_MEDIA] = fake_main,
			[PROCESS_HELPER] = fake_main,
			[PROCESS_SPARE] = fake_main,
			[PROCESS_HOLDER] = fake_main}
	     };

	if (process_is_child(argc, argv))
		_exit(process_child_main(argc, argv, &programs));
}

/* --- a node ---------------------------------------------------------------------------------- */

struct node {
	pid_t pid;
	int out;
	char dir[64];
	char line[2048]; /* what it printed on standard output */
	size_t line_size;
};

static int fake_arena(const struct config *config, const char *name, size_t *size)
{
	(void)config;
	*size = arena_size(&small_arena);
	return arena_create_memfd(name, &small_arena);
}

static bool fake_reload(void *context, struct config *fresh)
{
	*fresh = *(struct config *)context;
	fresh->log_level = LOG_LEVEL_DEBUG;
	fresh->http_port = 4242;
	return true;
}

static _Noreturn void run_node(const char *dir, const char *fake, const char *settings)
{
	static struct config config;
	static struct config_report report;
	static struct log log;
	static const char common[] = "workers=2,http.port=0,rtmp.port=0,rtc.port=0,bind=127.0.0.1,"
				     "admin_token=s3cret,worker.stuck_ms=300ms";
	const struct config_host host = {.name = "t", .cwd = "/", .processors = 2};
	const struct log_sink sink = log_sink_stderr();
	char item[256], place[80];

	config_init(&config, &report);
	for (int pass = 0; pass < 2; pass++) {
		size_t at = 0;

		while (config_list_next(pass ? settings : common, &at, item, sizeof(item))) {
			char *equals = strchr(item, '=');

			*equals = '\0';
			MUST(!config_set(
				&config, item, equals + 1, CONFIG_FROM_FLAG, "t", &report));
		}
	}
	snprintf(config.run_dir, sizeof(config.run_dir), "%s/run", dir);
	snprintf(config.data_dir, sizeof(config.data_dir), "%s/data", dir);
	if (config_finish(&config, &host, &report)) {
		fprintf(stderr, "%s\n", report.errors[0].text);
		_exit(2);
	}
	snprintf(place, sizeof(place), "%s/log", dir);
	int fd = open(place, O_CREAT | O_WRONLY | O_APPEND, 0600);
	MUST(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	setenv("FAKE", fake, 1);
	setenv("MILLRACE_ADMIN_TOKEN", "s3cret", 1);
	log_init(&log, "supervisor", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, &sink);
	_exit(supervisor_main(&(struct supervisor_options){.config = &config,
		.log = &log,
		.arena_create = fake_arena,
		.reload = fake_reload,
		.context = &config,
		.environment = environ}));
}

static void fork_node(struct node *node, const char *fake, const char *settings)
{
	int pipe_ends[2];

	MUST(!pipe(pipe_ends));
	fflush(NULL);
	node->line_size = 0;
	node->pid = test_fork();
	MUST(node->pid >= 0);
	if (node->pid == 0) {
		dup2(pipe_ends[1], STDOUT_FILENO);
		close(pipe_ends[0]);
		close(pipe_ends[1]);
		run_node(node->dir, fake, settings);
	}
	close(pipe_ends[1]);
	fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
	node->out = pipe_ends[0];
}

static void node_start(struct node *node, const char *fake, const char *settings)
{
	snprintf(node->dir, sizeof(node->dir), "/tmp/millrace-test-XXXXXX");
	MUST(mkdtemp(node->dir));
	/* what a killed supervisor leaves must come to us, to be seen as gone */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fork_node(node, fake, settings);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status, (void)type, (void)ftw;
	return remove(path);
}

static void node_clean(struct node *node)
{
	close(node->out);
	nftw(node->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#define WAIT_UNTIL(condition)                                        \
	do {                                                         \
		int64_t deadline_ = now_us() + DEADLINE_MS * 1000ll; \
		while (!(condition)) {                               \
			CHECK_LE(now_us(), deadline_);               \
			poll(NULL, 0, 2);                            \
		}                                                    \
	} while (0)

static bool has_line(struct node *node)
{
	ssize_t size = read(
		node->out, node->line + node->line_size, sizeof(node->line) - 1 - node->line_size);

	node->line_size += size > 0 ? (size_t)size : 0;
	node->line[node->line_size] = '\0';
	return strchr(node->line, '\n') != NULL;
}

static bool has_ended(pid_t pid, int *status)
{
	return waitpid(pid, status, WNOHANG) == pid;
}

static int exit_status(struct node *node)
{
	int status = 0;

	WAIT_UNTIL(has_ended(node->pid, &status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Process id of the child with that name, 0 when there is none. */
static pid_t child_of(pid_t supervisor, const char *name)
{
	char path[64], list[512] = "", command[256], *at = list;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", supervisor, supervisor);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	(void)!read(fd, list, sizeof(list) - 1);
	close(fd);
	while ((pid = (pid_t)strtol(at, &at, 10)) > 0) {
		snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
		fd = open(path, O_RDONLY);
		ssize_t size = fd < 0 ? 0 : read(fd, command, sizeof(command));
		if (fd >= 0)
			close(fd);
		size_t length = strlen(name) + 1;
		if (size > (ssize_t)length && !memcmp(command + size - length, name, length))
			return pid;
	}
	return 0;
}

static bool log_says(const struct node *node, const char *text)
{
	static char content[1 << 16];
	char path[80];

	snprintf(path, sizeof(path), "%s/log", node->dir);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	ssize_t size = read(fd, content, sizeof(content) - 1);
	close(fd);
	content[size > 0 ? size : 0] = '\0';
	return strstr(content, text) != NULL;
}

static const char *const names[] = {"control.0", "media.0", "media.1", "helper.0"};

static void wait_ready(struct node *node, pid_t pids[4])
{
	WAIT_UNTIL(has_line(node));
	for (int i = 0; i < 4; i++)
		WAIT_UNTIL((pids[i] = child_of(node->pid, names[i])) > 0);
}

static bool is_gone(pid_t pid)
{
	waitpid(pid, NULL, WNOHANG);
	return kill(pid, 0) < 0 && errno == ESRCH;
}

#endif

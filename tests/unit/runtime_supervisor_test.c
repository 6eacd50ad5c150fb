/* SPDX-License-Identifier: Apache-2.0
 *
 * The supervisor with real processes: each node here is a fork of this program that runs
 * supervisor_main; its children are this program again, which then plays the part that the
 * variable FAKE names. Waiting is for conditions, with a deadline.
 */
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
	DEADLINE_MS = 15000,
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
	node->pid = fork();
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

static void check_all_gone(const pid_t pids[4])
{
	for (int i = 0; i < 4; i++)
		WAIT_UNTIL(is_gone(pids[i]));
}

/* --- tests ----------------------------------------------------------------------------------- */

TEST(a_node_says_ready_once_and_stops_in_order)
{
	struct node node;
	pid_t pids[4];
	char path[96];
	struct stat status;

	node_start(&node, "", "node.name=one");
	wait_ready(&node, pids);
	json_t *line = json_loads(node.line, 0, NULL);
	CHECK(line != NULL);
	CHECK(json_is_true(json_object_get(line, "ready")));
	CHECK_STR(json_string_value(json_object_get(line, "node")), "one");
	CHECK_EQ(json_integer_value(json_object_get(line, "pid")), node.pid);
	CHECK_EQ(json_array_size(json_object_get(line, "rtc")), 2);
	CHECK(!strncmp(json_string_value(json_object_get(line, "http")), "127.0.0.1:", 10));
	CHECK(!strncmp(json_string_value(json_object_get(line, "rtmp")), "127.0.0.1:", 10));
	CHECK(!strncmp(
		json_string_value(json_object_get(line, "repl")), "/tmp/millrace-test-", 19));
	json_decref(line);
	snprintf(path, sizeof(path), "%s/run", node.dir);
	CHECK(!stat(path, &status) && (status.st_mode & 0777) == 0700);
	CHECK_EQ(places_holder(path), node.pid);
	snprintf(path, sizeof(path), "%s/run/repl.sock", node.dir);
	CHECK(!stat(path, &status) && S_ISSOCK(status.st_mode) && (status.st_mode & 0777) == 0600);

	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	check_all_gone(pids);
	CHECK(stat(path, &status) < 0);
	snprintf(path, sizeof(path), "%s/run", node.dir);
	CHECK_EQ(places_holder(path), 0);
	has_line(&node);
	CHECK_EQ(strchr(node.line, '\n') - node.line, node.line_size - 1);
	node_clean(&node);
}

TEST(a_killed_worker_is_replaced_and_the_others_are_untouched)
{
	struct node node;
	pid_t pids[4], fresh = 0;

	node_start(&node, "", "");
	wait_ready(&node, pids);
	int64_t killed_us = now_us();
	kill(pids[1], SIGKILL);
	WAIT_UNTIL((fresh = child_of(node.pid, "media.0")) && fresh != pids[1]);
	CHECK_LE(now_us() - killed_us, 1000000);
	CHECK(log_says(&node, "process_died role=media index=0"));
	CHECK_EQ(child_of(node.pid, "control.0"), pids[0]);
	CHECK_EQ(child_of(node.pid, "media.1"), pids[2]);
	kill(node.pid, SIGINT);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

/* What one of that name said of itself when it began to serve, or to wait. */
struct said {
	unsigned line, incarnation, block;
	int count; /* which one it is, from 1 */
};

/* The one of that number, or the last one before it. */
static struct said nth_of(const struct node *node, const char *name, int number)
{
	char path[80], text[256];
	struct said said = {0};

	snprintf(path, sizeof(path), "%s/log", node->dir);
	FILE *file = fopen(path, "r");
	while (file && said.count < number && fgets(text, sizeof(text), file)) {
		char who[16];
		struct said now;

		if (sscanf(text, "fake %15s line=%u incarnation=%u block=%u", who, &now.line,
			    &now.incarnation, &now.block) != 4 ||
			strcmp(who, name))
			continue;
		now.count = said.count + 1;
		said = now;
	}
	if (file)
		fclose(file);
	return said;
}

static struct said last_of(const struct node *node, const char *name)
{
	return nth_of(node, name, INT32_MAX);
}

/* How many processes have served as this worker before this many do. */
#define WAIT_SERVED(node, times) WAIT_UNTIL(last_of(node, "media.0").count >= (times))

TEST(a_spare_takes_the_place_of_its_worker)
{
	struct node node;
	pid_t pids[4], spare = 0;
	struct said first, next;

	node_start(&node, "", "");
	wait_ready(&node, pids);
	first = last_of(&node, "media.0");
	CHECK_EQ(first.line, first.incarnation);
	for (int i = 1; i <= 3; i++) {
		pid_t worker = child_of(node.pid, "media.0");

		WAIT_UNTIL((spare = child_of(node.pid, "spare.0")) > 0);
		WAIT_UNTIL(log_says(&node, "node_ready"));
		kill(worker, SIGKILL);
		WAIT_SERVED(&node, i + 1);
		CHECK_EQ(child_of(node.pid, "media.0"), spare);
		next = last_of(&node, "media.0");
		CHECK_EQ(next.line, first.line);
		CHECK_EQ(next.block, first.block);
		CHECK(next.incarnation != first.incarnation);
		WAIT_UNTIL(child_of(node.pid, "spare.0") > 0);
		CHECK(child_of(node.pid, "spare.0") != spare);
	}
	WAIT_UNTIL(log_says(&node, "worker_taken_over"));
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	CHECK(is_gone(spare) && !child_of(node.pid, "spare.0"));
	node_clean(&node);
}

/* Where there is no spare, or it does not do its work, a new process goes on with the line. */
TEST(a_line_goes_on_without_a_spare)
{
	static const struct {
		const char *fake, *settings, *log;
		bool has_spare;
	} rows[] = {
		{"",	     "worker.spare=false", "process_started role=media index=0", false},
		{"slip",	 "",		     "process_died role=spare index=0",	true },
		{"sleepy", "",		       "reason=did_not_take_over",	   true },
	};
	struct node node;
	pid_t pids[4];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct said first, next;

		node_start(&node, rows[i].fake, rows[i].settings);
		wait_ready(&node, pids);
		if (rows[i].has_spare)
			WAIT_UNTIL(log_says(&node, "process_started role=spare index=0"));
		first = last_of(&node, "media.0");
		kill(pids[1], SIGKILL);
		WAIT_SERVED(&node, 2);
		next = last_of(&node, "media.0");
		CHECK_EQ(next.line, first.line);
		CHECK(next.incarnation != first.incarnation);
		CHECK(log_says(&node, rows[i].log));
		CHECK_EQ(rows[i].has_spare, log_says(&node, "role=spare"));
		kill(node.pid, SIGTERM);
		CHECK_EQ(exit_status(&node), 0);
		node_clean(&node);
	}
}

TEST(a_killed_spare_is_replaced_and_counts_for_nothing)
{
	struct node node;
	pid_t pids[4], spare, next = 0;

	node_start(&node, "", "worker.restart_intensity=0");
	wait_ready(&node, pids);
	WAIT_UNTIL((spare = child_of(node.pid, "spare.1")) > 0);
	kill(spare, SIGKILL);
	WAIT_UNTIL((next = child_of(node.pid, "spare.1")) && next != spare);
	CHECK_EQ(child_of(node.pid, "media.1"), pids[2]);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

/* Whoever serves is killed at once, spares among them, whatever they are doing. */
TEST(kills_in_quick_succession_leave_one_worker)
{
	enum { KILLS = 30 };
	struct node node;
	pid_t pids[4], last = 0;

	node_start(&node, "", "worker.restart_intensity=1000");
	wait_ready(&node, pids);
	for (int i = 0; i < KILLS; i++) {
		pid_t worker = 0, spare = i % 3 ? 0 : child_of(node.pid, "spare.0");

		WAIT_UNTIL((worker = child_of(node.pid, "media.0")) && worker != last);
		kill(worker, SIGKILL);
		if (spare > 0)
			kill(spare, SIGKILL);
		last = worker;
	}
	WAIT_UNTIL(child_of(node.pid, "media.0") > 0 && child_of(node.pid, "spare.0") > 0);
	CHECK_EQ(child_of(node.pid, "media.1"), pids[2]);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

/* A worker that leaves by itself cannot go on: the next one begins anew, with a spare of its own. */
TEST(a_worker_that_exits_ends_its_line)
{
	struct node node;
	struct said first, next;

	node_start(&node, "talk", "");
	WAIT_UNTIL(log_says(&node, "process_ended role=media index=1"));
	WAIT_UNTIL(last_of(&node, "media.1").count == 2);
	first = nth_of(&node, "media.1", 1);
	next = nth_of(&node, "media.1", 2);
	CHECK(next.line != first.line);
	CHECK(next.block != first.block);
	WAIT_UNTIL(last_of(&node, "spare.1").line == next.line);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

TEST(a_stopped_worker_counts_as_stuck)
{
	struct node node;
	pid_t pids[4], fresh = 0;

	node_start(&node, "", "");
	wait_ready(&node, pids);
	kill(pids[2], SIGSTOP);
	WAIT_UNTIL((fresh = child_of(node.pid, "media.1")) && fresh != pids[2]);
	CHECK(log_says(&node, "reason=stuck"));
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

TEST(a_spinning_worker_counts_as_stuck)
{
	struct node node;

	node_start(&node, "spin", "");
	WAIT_UNTIL(log_says(&node, "reason=stuck"));
	WAIT_UNTIL(child_of(node.pid, "media.1") > 0);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

TEST(a_worker_that_never_gets_ready_is_killed)
{
	struct node node;

	node_start(&node, "never_ready", "worker.start_ms=200ms,worker.restart_intensity=3");
	CHECK_EQ(exit_status(&node), 1);
	CHECK(log_says(&node, "reason=not_ready"));
	CHECK(log_says(&node, "too_many_restarts"));
	CHECK(!has_line(&node));
	node_clean(&node);
}

TEST(too_many_restarts_end_the_node)
{
	struct node node;

	node_start(&node, "crash", "");
	int64_t begin_us = now_us();
	CHECK_EQ(exit_status(&node), 1);
	CHECK_LE(now_us() - begin_us, 10000000);
	CHECK(log_says(&node, "too_many_restarts limit=10 period_ms=10000 last_role=media"));
	CHECK(!has_line(&node));
	node_clean(&node);
}

TEST(no_orphan_outlives_a_killed_supervisor)
{
	struct node node;
	pid_t pids[4];

	node_start(&node, "", "");
	wait_ready(&node, pids);
	/* one that cannot look at anything has to go as well */
	kill(pids[1], SIGSTOP);
	kill(node.pid, SIGKILL);
	CHECK_EQ(exit_status(&node), -SIGKILL);
	check_all_gone(pids);

	/* and the node starts again in its place */
	fork_node(&node, "", "");
	wait_ready(&node, pids);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

TEST(a_deaf_worker_is_killed_at_the_deadline)
{
	struct node node;
	pid_t pids[4];

	node_start(&node, "deaf", "drain_ms=100ms");
	wait_ready(&node, pids);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 1);
	CHECK(log_says(&node, "killing_late_workers count=2"));
	check_all_gone(pids);
	node_clean(&node);
}

TEST(a_worker_that_drains_too_long_is_told_to_stop)
{
	struct node node;
	pid_t pids[4];

	node_start(&node, "slow", "drain_ms=100ms");
	wait_ready(&node, pids);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	CHECK(!log_says(&node, "killing_late"));
	node_clean(&node);
}

TEST(a_second_signal_ends_it_at_once)
{
	struct node node;
	pid_t pids[4];

	node_start(&node, "deaf", "drain_ms=1h");
	wait_ready(&node, pids);
	kill(node.pid, SIGTERM);
	WAIT_UNTIL(log_says(&node, "stopping reason=SIGTERM"));
	int64_t begin_us = now_us();
	kill(node.pid, SIGINT);
	CHECK_EQ(exit_status(&node), 1);
	CHECK_LE(now_us() - begin_us, 1000000);
	check_all_gone(pids);
	node_clean(&node);
}

TEST(control_talks_to_the_supervisor)
{
	struct node node;

	/* no failure is allowed: what was asked for is none */
	node_start(&node, "talk", "worker.restart_intensity=0");
	WAIT_UNTIL(has_line(&node));
	WAIT_UNTIL(log_says(&node, "process_ended role=media index=0"));
	WAIT_UNTIL(log_says(&node, "process_ended role=media index=1"));
	WAIT_UNTIL(log_says(&node, "process_ended role=helper index=1"));
	WAIT_UNTIL(child_of(node.pid, "media.0") && child_of(node.pid, "media.1"));
	CHECK(!child_of(node.pid, "helper.1"));
	CHECK(log_says(&node, "command_malformed bytes=5"));
	CHECK(!log_says(&node, "process_died"));
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

TEST(a_reload_takes_what_it_can_and_says_the_rest)
{
	struct node node;
	pid_t pids[4];

	node_start(&node, "", "");
	wait_ready(&node, pids);
	kill(node.pid, SIGHUP);
	WAIT_UNTIL(log_says(&node, " reloaded"));
	CHECK(log_says(&node, "reload_needs_restart key=http.port"));
	CHECK(!log_says(&node, "key=log.level"));
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

static bool was_told(int fd, const char *begin)
{
	char text[256] = "";

	return recv(fd, text, sizeof(text) - 1, 0) > 0 && !strncmp(text, begin, strlen(begin));
}

TEST(a_service_manager_is_told_what_goes_on)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char name[64];
	struct node node;
	pid_t pids[4];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	snprintf(name, sizeof(name), "@millrace-test-%d", (int)getpid());
	memcpy(at.sun_path + 1, name + 1, strlen(name) - 1);
	CHECK(!bind(fd, (struct sockaddr *)&at,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))));
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "200000", 1);
	node_start(&node, "", "drain_ms=100ms");
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	wait_ready(&node, pids);
	WAIT_UNTIL(was_told(fd, "READY=1\n"));
	WAIT_UNTIL(was_told(fd, "WATCHDOG=1"));
	kill(node.pid, SIGHUP);
	WAIT_UNTIL(was_told(fd, "RELOADING=1\nMONOTONIC_USEC="));
	WAIT_UNTIL(was_told(fd, "READY=1\nSTATUS=serving, reloaded"));
	kill(node.pid, SIGTERM);
	WAIT_UNTIL(was_told(fd, "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=6200000"));
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
	close(fd);
}

TEST(a_second_node_is_refused)
{
	struct node node, second;
	pid_t pids[4];

	node_start(&node, "", "");
	wait_ready(&node, pids);
	second = node;
	fork_node(&second, "", "");
	CHECK_EQ(exit_status(&second), 3);
	CHECK(log_says(&node, "another node (pid"));
	CHECK_EQ(child_of(node.pid, "media.0"), pids[1]);
	close(second.out);
	kill(node.pid, SIGTERM);
	CHECK_EQ(exit_status(&node), 0);
	node_clean(&node);
}

/* --- places alone ----------------------------------------------------------------------------- */

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/data/%s", dir, name);
	FILE *file = fopen(path, "w");
	MUST(file && fputs(text, file) >= 0);
	fclose(file);
}

TEST(identity_stays_and_blocks_are_never_used_twice)
{
	static struct config config;
	char dir[] = "/tmp/millrace-test-XXXXXX";
	struct places places;
	uint64_t id = 0, last = 0, block;

	MUST(mkdtemp(dir));
	snprintf(config.run_dir, sizeof(config.run_dir), "%s/deep/run", dir);
	snprintf(config.data_dir, sizeof(config.data_dir), "%s/data", dir);
	for (int run = 0; run < 3; run++) {
		CHECK_OK(places_open(&places, &config));
		CHECK(places.node_id != 0 && (id == 0 || id == places.node_id));
		id = places.node_id;
		for (int i = 0; i < PLACES_CHUNK + 10; i++) {
			CHECK_OK(places_next_block(&places, &block));
			CHECK(block > last);
			last = block;
		}
		places_close(&places);
	}
	static const struct {
		const char *name;
		const char *text;
		enum err err;
	} rows[] = {
		{"actor-blocks", "",			     ERR_FORMAT},
		{"actor-blocks", "12x\n",		  ERR_FORMAT},
		{"actor-blocks", "-5\n",			 ERR_FORMAT},
		{"actor-blocks", "99999999999999999999\n", ERR_FORMAT},
		{"actor-blocks", "18446744073709551615\n", ERR_FORMAT},
		{"actor-blocks", "7\n",			ERR_OK    },
		{"node-id",	    "0\n",			   ERR_FORMAT},
		{"node-id",	    "xyz\n",		     ERR_FORMAT},
		{"node-id",	    "00ff\n",		      ERR_OK    },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_text(dir, rows[i].name, rows[i].text);
		CHECK_EQ(places_open(&places, &config), rows[i].err);
		if (rows[i].err)
			assert_non_null(strstr(places.problem, rows[i].name));
		else
			places_close(&places);
	}
	nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* A boot memfd cut at every length, and with every byte of its first part wrong. */
TEST(a_damaged_boot_is_refused)
{
	static struct process_env env, loaded;
	static struct config config, copy;
	static struct config_report report;
	static uint8_t bytes[1 << 17];
	int fds[3];

	config_init(&config, &report);
	for (int i = 0; i < 3; i++)
		fds[i] = memfd_create("x", MFD_CLOEXEC);
	memset(&env.fd, 0xff, sizeof(env.fd));
	env.fd.lifeline = fds[0];
	env.fd.wake = fds[1];
	env.fd.status = fds[2];
	env.config = &config;
	env.worker_count = env.incarnation = env.line = 1;
	env.node_id = 1;
	int boot = process_env_save(&env);
	CHECK(boot >= 0);
	ssize_t size = pread(boot, bytes, sizeof(bytes), 0);
	/* whole, but the status page has another size, then no content */
	CHECK_EQ(process_env_load(boot, &loaded, &copy), ERR_VERSION);
	CHECK(!ftruncate(fds[2], (off_t)process_page_size()));
	CHECK_EQ(process_env_load(boot, &loaded, &copy), ERR_VERSION);
	CHECK_MEM(&copy, &config, sizeof(config));
	close(boot);
	for (ssize_t cut = 0; cut < size; cut += cut < 64 ? 1 : 61) {
		boot = memfd_create("cut", MFD_CLOEXEC);
		CHECK_EQ(write(boot, bytes, (size_t)cut), cut);
		CHECK(process_env_load(boot, &loaded, &copy) != ERR_OK);
		close(boot);
	}
	for (ssize_t at = 0; at < size; at++) {
		boot = memfd_create("bent", MFD_CLOEXEC);
		bytes[at] ^= 0xff;
		CHECK_EQ(write(boot, bytes, (size_t)size), size);
		CHECK(process_env_load(boot, &loaded, &copy) != ERR_OK);
		bytes[at] ^= 0xff;
		close(boot);
	}
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

TEST(without_memory_there_is_no_node)
{
	static struct config config;

	test_fail_allocation(1);
	CHECK_EQ(supervisor_main(&(struct supervisor_options){.config = &config}), 1);
	test_fail_allocation(0);
}

/* What a reload writes is taken by the children, and nonsense in the page is not. */
TEST(a_child_follows_the_log_level)
{
	static const struct {
		uint32_t level;
		uint32_t format;
		enum log_level level_taken;
		enum log_format format_taken;
	} rows[] = {
		{LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, LOG_LEVEL_DEBUG, LOG_FORMAT_JSON},
		{99,		     LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT},
		{LOG_LEVEL_ERROR, 77,	      LOG_LEVEL_ERROR, LOG_FORMAT_TEXT},
	};
	static struct process_page page;
	static struct process_env env = {.role = PROCESS_MEDIA, .index = 3, .page = &page};
	static struct log log;

	process_log_init(&env, &log);
	CHECK_STR(log.name, "media.3");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		atomic_store(&page.log_level, rows[i].level);
		atomic_store(&page.log_format, rows[i].format);
		process_log_follow(&env, &log);
		CHECK_EQ(log.level, rows[i].level_taken);
		CHECK_EQ(log.format, rows[i].format_taken);
	}
}

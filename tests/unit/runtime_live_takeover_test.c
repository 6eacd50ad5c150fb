/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker and its spare as real processes, forks of this program that run the shipped loop over the
 * same arena, without a supervisor: the test decides who dies of what. Their actors count, in their
 * states and where the test sees it.
 */
#include "runtime/arena.h"
#include "runtime/live.h"
#include "tests/test.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	CELLS = 8,
	BOMB = 3,	 /* the cell that kills its process when it is told to */
	BOMB_TICKS = 10, /* and is as old as this */
	TICK_MS = 2,
	DEADLINE_MS = 60000,
	LINE = 1,
};

enum crash { CRASH_NOT, CRASH_RUNNING, CRASH_RESTORING };

/* What the test and the processes share. */
struct shared {
	_Atomic int crash; /* enum crash */
	_Atomic int signal;
	_Atomic uint64_t ticks[CELLS];
	_Atomic int restored[CELLS];
};

static struct shared *shared;

/* ---- actors ------------------------------------------------------------------------------------- */

struct cell_state {
	uint64_t number, ticks;
};

static const struct field cell_fields[] = {
	{.name = "number", .tag = 1, .kind = FIELD_U64, .offset = 0},
	{.name = "ticks",  .tag = 2, .kind = FIELD_U64, .offset = 8},
};
static const struct schema cell_schema = {.name = "cell_state",
	.id = 0xf921,
	.size = sizeof(struct cell_state),
	.fields = cell_fields,
	.field_count = 2,
	.use = SCHEMA_STATE};

static void cell_timer(struct actor *self, void *data, unsigned timer)
{
	struct cell_state *s = data;

	(void)timer;
	if (s->number == BOMB && s->ticks >= BOMB_TICKS &&
		atomic_load(&shared->crash) == CRASH_RUNNING)
		raise(atomic_load(&shared->signal));
	atomic_store(&shared->ticks[s->number], ++s->ticks);
	actor_timer_in_ms(self, 0, TICK_MS);
}

static enum err cell_init(struct actor *self, void *data, const void *args)
{
	struct cell_state *s = data;

	s->number = *(const uint64_t *)args;
	actor_timer_in_ms(self, 0, TICK_MS);
	return ERR_OK;
}

static enum err cell_restore(struct actor *self, void *data)
{
	const struct cell_state *s = data;

	if (s->number == BOMB && atomic_load(&shared->crash) == CRASH_RESTORING)
		raise(atomic_load(&shared->signal));
	atomic_fetch_add(&shared->restored[s->number], 1);
	actor_timer_in_ms(self, 0, TICK_MS);
	return ERR_OK;
}

static const struct actor_type cell_actor = {
	.name = "cell",
	.size = sizeof(struct cell_state),
	.state = &cell_schema,
	.init = cell_init,
	.restore = cell_restore,
	.timer = cell_timer,
};

static enum err nest_init(struct actor *self, void *data, const void *args)
{
	enum err err = ERR_OK;

	(void)data, (void)args;
	for (uint64_t i = 0; i < CELLS && !err; i++)
		err = actor_spawn(actor_runtime(self), NULL, &cell_actor, &i, NULL);
	return err;
}

static enum err nest_restore(struct actor *self, void *data)
{
	(void)self, (void)data;
	return ERR_OK;
}

static const struct actor_type nest_actor = {
	.name = "nest",
	.size = sizeof(struct cell_state),
	.state = &cell_schema,
	.init = nest_init,
	.restore = nest_restore,
};

static const struct actor_type *const types[] = {&nest_actor, &cell_actor, NULL};
static const struct live_office offices[] = {
	{OFFICE_MEDIA, &nest_actor, NULL},
	{0	  },
};
static const char *spare_problem; /* of those that start from now on; NULL = they are fit */

static const char *warm(const struct process_env *env)
{
	(void)env;
	return spare_problem;
}

static const struct live_program program = {.types = types, .offices = offices, .warm = warm};

/* ---- processes ---------------------------------------------------------------------------------- */

struct rig {
	struct process_env env;
	int lifeline; /* (env.fd.wake is that of the process started last) */
	uint32_t incarnation;
};

static struct process_status *row_of(const struct rig *rig, enum process_role role)
{
	return &rig->env.page->slot[process_slot(role, 0)];
}

static uint64_t metric(const struct rig *rig, enum process_metric which)
{
	return atomic_load(&rig->env.page->metrics[process_slot(PROCESS_MEDIA, 0)].value[which]);
}

static void rig_open(struct rig *rig)
{
	static const struct arena_layout layout = {
		.count = {16, 1, 1, 1},
			.escrow = {64, 256 }
	   };
	static struct config config;
	static struct config_report report;
	int pipe_ends[2];

	memset(rig, 0, sizeof(*rig));
	memset(&rig->env.fd, 0xff, sizeof(rig->env.fd));
	config_init(&config, &report);
	MUST(!pipe(pipe_ends));
	rig->lifeline = pipe_ends[1];
	rig->env.fd.lifeline = pipe_ends[0];
	rig->env.page = process_page_create(1, &rig->env.fd.status);
	rig->env.fd.arena = arena_create_memfd("test", &layout);
	MUST(rig->env.page && rig->env.fd.arena >= 0);
	rig->env.config = &config;
	rig->env.node_id = 1;
	rig->env.worker_count = 1;
	rig->env.block = 5;
	rig->env.line = LINE;
	rig->env.supervisor_pid = getpid();
	atomic_store(&row_of(rig, PROCESS_MEDIA)->line, LINE);
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(shared != MAP_FAILED);
}

static void rig_close(struct rig *rig)
{
	close(rig->lifeline);
	close(rig->env.fd.lifeline);
	close(rig->env.fd.status);
	close(rig->env.fd.wake);
	close(rig->env.fd.arena);
	munmap(rig->env.page, process_page_size());
	munmap(shared, sizeof(*shared));
}

static pid_t start(struct rig *rig, enum process_role role)
{
	struct process_env env = rig->env;
	pid_t pid;

	env.role = role;
	env.incarnation = ++rig->incarnation;
	atomic_store(&row_of(rig, role)->state, PROCESS_STARTING);
	atomic_store(&row_of(rig, role)->order, PROCESS_RUN);
	if (role == PROCESS_MEDIA)
		atomic_store(&row_of(rig, role)->incarnation, env.incarnation);
	if (rig->env.fd.wake >= 0)
		close(rig->env.fd.wake);
	env.fd.wake = rig->env.fd.wake = eventfd(0, EFD_NONBLOCK);
	fflush(NULL);
	pid = fork();
	MUST(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(live_run(&env, &program));
}

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#define WAIT_UNTIL(condition)                                        \
	do {                                                         \
		int64_t deadline_ = now_us() + DEADLINE_MS * 1000ll; \
		while (!(condition)) {                               \
			CHECK_LE(now_us(), deadline_);               \
			poll(NULL, 0, 1);                            \
		}                                                    \
	} while (0)

static bool is_ready(const struct rig *rig, enum process_role role)
{
	return atomic_load(&row_of(rig, role)->state) == PROCESS_READY;
}

static bool serves(const struct rig *rig, uint32_t incarnation)
{
	return is_ready(rig, PROCESS_MEDIA) &&
	       atomic_load(&row_of(rig, PROCESS_MEDIA)->incarnation) == incarnation;
}

static int end_of(pid_t pid)
{
	int status;

	WAIT_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static bool all_tick_on(const uint64_t *since, int but)
{
	for (int i = 0; i < CELLS; i++)
		if (i != but && atomic_load(&shared->ticks[i]) < since[i] + 3)
			return false;
	return true;
}

/* All cells but one go on counting from where they are. */
static void check_all_tick_on(int but)
{
	uint64_t since[CELLS];

	for (int i = 0; i < CELLS; i++)
		since[i] = atomic_load(&shared->ticks[i]);
	WAIT_UNTIL(all_tick_on(since, but));
}

/* ---- tests -------------------------------------------------------------------------------------- */

TEST(a_spare_goes_on_with_every_actor)
{
	enum { KILLS = 20 };
	struct rig rig;
	pid_t worker, spare;

	rig_open(&rig);
	worker = start(&rig, PROCESS_MEDIA);
	WAIT_UNTIL(serves(&rig, rig.incarnation));
	for (int i = 1; i <= KILLS; i++) {
		uint64_t ticks;

		spare = start(&rig, PROCESS_SPARE);
		WAIT_UNTIL(is_ready(&rig, PROCESS_SPARE));
		CHECK(!serves(&rig, rig.incarnation));
		check_all_tick_on(-1);
		ticks = atomic_load(&shared->ticks[0]);
		kill(worker, SIGKILL);
		CHECK_EQ(end_of(worker), SIGKILL);
		WAIT_UNTIL(serves(&rig, rig.incarnation));
		CHECK_EQ(atomic_load(&row_of(&rig, PROCESS_MEDIA)->pid), (uint32_t)spare);
		check_all_tick_on(-1);
		CHECK_GE(atomic_load(&shared->ticks[0]), ticks);
		for (int k = 0; k < CELLS; k++)
			CHECK_EQ(atomic_load(&shared->restored[k]), i);
		worker = spare;
	}
	CHECK_EQ(metric(&rig, PROCESS_METRIC_TAKEOVERS), KILLS);
	CHECK_EQ(metric(&rig, PROCESS_METRIC_TAKEOVER_RESTORED), KILLS * (CELLS + 1));
	CHECK_EQ(metric(&rig, PROCESS_METRIC_TAKEOVER_DAMAGED), 0);
	kill(worker, SIGKILL);
	CHECK_EQ(end_of(worker), SIGKILL);
	rig_close(&rig);
}

TEST(a_spare_is_not_needed_when_its_worker_leaves_in_order)
{
	struct rig rig;
	pid_t worker, spare;
	uint64_t one = 1;

	rig_open(&rig);
	worker = start(&rig, PROCESS_MEDIA);
	int wake = dup(rig.env.fd.wake);
	WAIT_UNTIL(serves(&rig, 1));
	spare = start(&rig, PROCESS_SPARE);
	WAIT_UNTIL(is_ready(&rig, PROCESS_SPARE));
	atomic_store(&row_of(&rig, PROCESS_MEDIA)->order, PROCESS_STOP);
	CHECK_EQ(write(wake, &one, sizeof(one)), sizeof(one));
	CHECK_EQ(end_of(worker), 0);
	CHECK_EQ(end_of(spare), 0);
	CHECK_EQ(atomic_load(&row_of(&rig, PROCESS_MEDIA)->incarnation), 1);
	close(wake);
	rig_close(&rig);
}

/* It never says that it is ready, and leaves the worker's memory to one that can go on with it. */
TEST(a_spare_that_fails_its_self_test_is_none)
{
	struct rig rig;
	pid_t worker, spare;

	rig_open(&rig);
	worker = start(&rig, PROCESS_MEDIA);
	WAIT_UNTIL(serves(&rig, 1));
	spare_problem = "nothing works";
	spare = start(&rig, PROCESS_SPARE);
	spare_problem = NULL;
	CHECK_EQ(end_of(spare), -1);
	CHECK(!is_ready(&rig, PROCESS_SPARE));
	spare = start(&rig, PROCESS_SPARE);
	WAIT_UNTIL(is_ready(&rig, PROCESS_SPARE));
	kill(worker, SIGKILL);
	CHECK_EQ(end_of(worker), SIGKILL);
	WAIT_UNTIL(atomic_load(&row_of(&rig, PROCESS_MEDIA)->pid) == (uint32_t)spare);
	kill(spare, SIGKILL);
	CHECK_EQ(end_of(spare), SIGKILL);
	rig_close(&rig);
}

TEST(what_a_worker_was_told_holds_for_its_successor)
{
	struct rig rig;
	pid_t worker, spare;

	rig_open(&rig);
	worker = start(&rig, PROCESS_MEDIA);
	WAIT_UNTIL(serves(&rig, 1));
	spare = start(&rig, PROCESS_SPARE);
	WAIT_UNTIL(is_ready(&rig, PROCESS_SPARE));
	/* (nobody wakes it: it has not seen that yet when it dies) */
	atomic_store(&row_of(&rig, PROCESS_MEDIA)->order, PROCESS_DRAIN);
	kill(worker, SIGKILL);
	CHECK_EQ(end_of(worker), SIGKILL);
	CHECK_EQ(end_of(spare), 0);
	CHECK_EQ(atomic_load(&row_of(&rig, PROCESS_MEDIA)->incarnation), 2);
	CHECK_EQ(atomic_load(&row_of(&rig, PROCESS_MEDIA)->state), PROCESS_DRAINED);
	rig_close(&rig);
}

/* An actor that kills every process that goes on with it is left out the third time. */
TEST(who_kills_its_worker_twice_is_left_out)
{
	static const struct {
		enum crash crash;
		int signal;
	} rows[] = {
		{CRASH_RUNNING,	SIGSEGV},
		  {CRASH_RUNNING,	  SIGABRT},
		    {CRASH_RUNNING,   SIGBUS },
		{CRASH_RUNNING,	SIGFPE },
		 {CRASH_RUNNING,	 SIGILL },
		  {CRASH_RESTORING, SIGSEGV},
		{CRASH_RESTORING, SIGKILL}, /* what a hung one dies of */
	};
	struct rig rig;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool running = rows[i].crash == CRASH_RUNNING;
		pid_t worker;

		rig_open(&rig);
		worker = start(&rig, PROCESS_MEDIA);
		WAIT_UNTIL(serves(&rig, 1));
		check_all_tick_on(-1);
		atomic_store(&shared->signal, rows[i].signal);
		atomic_store(&shared->crash, rows[i].crash);
		if (!running)
			kill(worker, SIGKILL);
		CHECK_EQ(end_of(worker), running ? rows[i].signal : SIGKILL);
		for (int k = running ? 1 : 0; k < 2; k++)
			CHECK_EQ(end_of(start(&rig, PROCESS_MEDIA)), rows[i].signal);
		worker = start(&rig, PROCESS_MEDIA);
		WAIT_UNTIL(serves(&rig, rig.incarnation));
		check_all_tick_on(BOMB);
		CHECK_EQ(metric(&rig, PROCESS_METRIC_TAKEOVER_POISONED), 1);
		kill(worker, SIGKILL);
		CHECK_EQ(end_of(worker), SIGKILL);
		rig_close(&rig);
	}
}

/* What cannot be attached is not gone on with: the process exits, and its line with it. */
TEST(a_damaged_arena_ends_the_line)
{
	struct rig rig;
	uint8_t bad = 0xff;

	rig_open(&rig);
	CHECK_EQ(pwrite(rig.env.fd.arena, &bad, 1, 0), 1);
	CHECK_EQ(end_of(start(&rig, PROCESS_MEDIA)), -1);
	CHECK_EQ(end_of(start(&rig, PROCESS_SPARE)), -1);
	rig_close(&rig);
}

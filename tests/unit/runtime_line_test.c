/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers under the supervisor that die, hang or never come: who goes on in their place.
 */
#include "runtime/supervisor_internal.h"
#include "tests/unit/supervised_node.h"

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
	first = nth_of(&node, "media.1", 1);
	/* (its spare may have begun before the supervisor saw the exit, and ends with the line) */
	WAIT_UNTIL((next = last_of(&node, "media.1")).line != first.line);
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

static bool remember_line(void *context, const char *line, size_t size)
{
	(void)line, (void)size;
	++*(unsigned *)context;
	return true;
}

/* The memory of a process may take a while to go: it is told of once, and killed until it has gone. */
TEST(one_that_is_slow_to_die_is_told_of_once)
{
	static struct supervisor supervisor;
	static struct log log;
	unsigned lines = 0;
	const struct log_sink sink = {
		.now_us = log_sink_stderr().now_us, .write = remember_line, .context = &lines};
	struct child *child = &supervisor.children[0];
	int status;

	log_init(&log, "supervisor", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, &sink);
	supervisor.log = &log;
	child_init(child, PROCESS_MEDIA, 0);
	child->pid = test_fork();
	MUST(child->pid >= 0);
	while (child->pid == 0)
		pause();
	for (uint32_t i = 1; i <= 5; i++) {
		supervisor_kill_for(&supervisor, child, "not_ready", 20);
		CHECK_EQ(lines, 1);
		CHECK_EQ(child->kills, i);
	}
	CHECK_EQ(waitpid(child->pid, &status, 0), child->pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

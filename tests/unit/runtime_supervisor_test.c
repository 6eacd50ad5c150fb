/* SPDX-License-Identifier: Apache-2.0
 *
 * The supervisor with real processes: a node's life from `ready` to its end, what it is told and asked
 * meanwhile. Workers that die: runtime_line_test.c.
 */
#include "tests/unit/supervised_node.h"

enum { AT_ONCE_US = 10000000 }; /* instead of an hour */

static void check_all_gone(const pid_t pids[4])
{
	for (int i = 0; i < 4; i++)
		WAIT_UNTIL(is_gone(pids[i]));
}

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

/* A test that fails leaves no node behind. */
TEST(a_node_ends_with_the_test_that_started_it)
{
	struct node node;
	pid_t pids[4], told[5];
	int pipe_ends[2], status;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	CHECK(!pipe(pipe_ends));
	fflush(NULL);
	pid_t test = fork();
	CHECK_GE(test, 0);
	if (!test) {
		alarm(DEADLINE_MS / 1000);
		node_start(&node, "", "");
		wait_ready(&node, pids);
		memcpy(told, pids, sizeof(pids));
		told[4] = node.pid;
		if (write(pipe_ends[1], told, sizeof(told)) != sizeof(told) ||
			write(pipe_ends[1], &node, sizeof(node)) != sizeof(node))
			_exit(2);
		_exit(1);
	}
	close(pipe_ends[1]);
	CHECK_EQ(read(pipe_ends[0], told, sizeof(told)), sizeof(told));
	CHECK_EQ(read(pipe_ends[0], &node, sizeof(node)), sizeof(node));
	CHECK_EQ(waitpid(test, &status, 0), test);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	for (int i = 0; i < 5; i++)
		WAIT_UNTIL(is_gone(told[i]));
	close(pipe_ends[0]);
	node.out = -1;
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
	CHECK_LE(now_us() - begin_us, AT_ONCE_US);
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

static bool has_settings(const struct node *node, pid_t pid)
{
	char text[64];

	snprintf(text, sizeof(text), "fake %d has settings", pid);
	return log_says(node, text);
}

TEST(what_the_cluster_sets_reaches_all_processes)
{
	struct node node;
	pid_t pids[4], later;

	node_start(&node, "settings", "");
	wait_ready(&node, pids);
	WAIT_UNTIL(has_settings(&node, pids[1]) && has_settings(&node, pids[2]));
	/* and who comes later */
	kill(pids[1], SIGKILL);
	WAIT_UNTIL((later = child_of(node.pid, "media.0")) > 0 && later != pids[1]);
	WAIT_UNTIL(has_settings(&node, later));
	CHECK(!log_says(&node, "process_died role=control"));
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

TEST(without_memory_there_is_no_node)
{
	static struct config config;

	test_fail_allocation(1);
	CHECK_EQ(supervisor_main(&(struct supervisor_options){.config = &config}), 1);
	test_fail_allocation(0);
}

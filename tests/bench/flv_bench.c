/* SPDX-License-Identifier: Apache-2.0
 *
 * What HTTP-FLV costs a megabit, beside the limit of the same run: a process that writes the same
 * bytes to as many connections, a frame at a time. And the longest silence that a viewer hears.
 *
 * usage: flv_bench [rounds [viewers]]
 */
#include "tests/bench/bench_source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	VIEWERS = 500,
	VIEWERS_MAX = 1000,
	ROUNDS = 5,
	FRAMES = 50,
	CHUNK_MAX = 1 << 20,
	JOIN_MS = 10000
};

struct reader_connection {
	int fd;
	int64_t heard_ns;
	int64_t gap_ns; /* longest since it was set to 0 */
};

struct readers {
	int epoll;
	size_t count;
	uint64_t bytes;
	struct reader_connection of[VIEWERS_MAX];
};

static void add_reader(struct readers *readers, int fd)
{
	struct reader_connection *c = &readers->of[readers->count++];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

	*c = (struct reader_connection){.fd = fd};
	fcntl(fd, F_SETFL, O_NONBLOCK);
	epoll_ctl(readers->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* What has come is thrown away in the kernel. */
static void drain_for_ms(struct readers *readers, int64_t ms)
{
	static char nothing[CHUNK_MAX];
	struct epoll_event events[VIEWERS_MAX];

	for (int64_t end_ns = bench_now_ns() + ms * 1000000; bench_now_ns() < end_ns;) {
		int count = epoll_wait(readers->epoll, events, VIEWERS_MAX, 4);
		int64_t now_ns = bench_now_ns();

		for (int i = 0; i < count; i++) {
			struct reader_connection *c = events[i].data.ptr;
			ssize_t got = recv(c->fd, nothing, sizeof(nothing), MSG_TRUNC);

			if (got <= 0)
				bench_die("a viewer was cut off");
			readers->bytes += (uint64_t)got;
			if (c->heard_ns && now_ns - c->heard_ns > c->gap_ns)
				c->gap_ns = now_ns - c->heard_ns;
			c->heard_ns = now_ns;
		}
		bench_sleep_until_ns(bench_now_ns() + 3000000);
	}
}

static void open_readers(struct readers *readers)
{
	memset(readers, 0, sizeof(*readers));
	readers->epoll = epoll_create1(EPOLL_CLOEXEC);
}

static void begin_round(struct readers *readers)
{
	readers->bytes = 0;
	for (size_t i = 0; i < readers->count; i++)
		readers->of[i].gap_ns = readers->of[i].heard_ns = 0;
}

/* ---- the node ------------------------------------------------------------------------------ */

static void join(struct readers *readers, const struct bench_node *node)
{
	static const char request[] = "GET /live/bench.flv HTTP/1.1\r\nHost: localhost\r\n\r\n";
	int fd = bench_connect(&node->http);

	if (write(fd, request, sizeof(request) - 1) != sizeof(request) - 1)
		bench_die("cannot ask: %s", strerror(errno));
	add_reader(readers, fd);
}

/* Until all have been answered. */
static void await_viewers(struct readers *readers)
{
	int64_t end_ns = bench_now_ns() + JOIN_MS * INT64_C(1000000);
	size_t there = 0;

	while (there < readers->count) {
		drain_for_ms(readers, 8);
		there = 0;
		for (size_t i = 0; i < readers->count; i++)
			there += readers->of[i].heard_ns != 0;
		if (bench_now_ns() > end_ns)
			bench_die("%zu of %zu viewers are there", there, readers->count);
	}
}

static double node_round(struct readers *readers, struct bench_source *source,
	const struct bench_node *node, double *gap_ms)
{
	struct bench_samples gaps = {0};
	int64_t cpu_ns;

	begin_round(readers);
	cpu_ns = bench_node_cpu_ns(node);
	bench_source_want(source, FRAMES);
	while (!bench_source_is_done(source))
		drain_for_ms(readers, 8);
	drain_for_ms(readers, SOURCE_FRAME_MS);
	cpu_ns = bench_node_cpu_ns(node) - cpu_ns;
	if (readers->bytes < readers->count * SOURCE_FRAME_SIZE * (FRAMES - 1))
		bench_die(
			"%lu bytes for %zu viewers", (unsigned long)readers->bytes, readers->count);
	for (size_t i = 0; i < readers->count; i++)
		bench_add(&gaps, (double)readers->of[i].gap_ns / 1e6);
	*gap_ms = bench_percentile(&gaps, 0.95);
	bench_samples_fini(&gaps);
	return (double)cpu_ns / 1e3 / ((double)readers->bytes * 8 / 1e6);
}

/* ---- the limit ----------------------------------------------------------------------------- */

struct limit {
	pid_t pid;
	int orders, results; /* frames to write; processor time they took */
};

static void write_frames(const struct sockaddr_in *to, size_t count, int orders, int results)
{
	static char frame[SOURCE_FRAME_SIZE];
	int fds[VIEWERS_MAX];
	uint32_t frames;

	for (size_t i = 0; i < count; i++)
		fds[i] = bench_connect(to);
	while (read(orders, &frames, sizeof(frames)) == sizeof(frames)) {
		int64_t cpu_ns = bench_own_cpu_ns(), next_ns = bench_now_ns();

		for (; frames; frames--) {
			for (size_t i = 0; i < count; i++)
				if (write(fds[i], frame, sizeof(frame)) != sizeof(frame))
					bench_die("the limit cannot write");
			bench_sleep_until_ns(next_ns += SOURCE_FRAME_MS * INT64_C(1000000));
		}
		cpu_ns = bench_own_cpu_ns() - cpu_ns;
		if (write(results, &cpu_ns, sizeof(cpu_ns)) != sizeof(cpu_ns))
			break;
	}
	_exit(0);
}

static void open_limit(struct limit *limit, struct readers *readers, size_t count)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t size = sizeof(at);
	int orders[2], results[2], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, VIEWERS_MAX) ||
		getsockname(listener, (struct sockaddr *)&at, &size) || pipe2(orders, O_CLOEXEC) ||
		pipe2(results, O_CLOEXEC))
		bench_die("%s", strerror(errno));
	limit->pid = fork();
	if (limit->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(orders[1]);
		write_frames(&at, count, orders[0], results[1]);
	}
	close(orders[0]);
	close(results[1]);
	limit->orders = orders[1];
	limit->results = results[0];
	fcntl(limit->results, F_SETFL, O_NONBLOCK);
	while (readers->count < count)
		add_reader(readers, accept(listener, NULL, NULL));
	close(listener);
}

static double limit_round(struct limit *limit, struct readers *readers)
{
	uint32_t frames = FRAMES;
	int64_t cpu_ns;

	begin_round(readers);
	if (write(limit->orders, &frames, sizeof(frames)) != sizeof(frames))
		bench_die("the limit has ended");
	while (read(limit->results, &cpu_ns, sizeof(cpu_ns)) != sizeof(cpu_ns))
		drain_for_ms(readers, 8);
	drain_for_ms(readers, 8);
	return (double)cpu_ns / 1e3 /
	       ((double)readers->count * FRAMES * SOURCE_FRAME_SIZE * 8 / 1e6);
}

int main(int argc, char **argv)
{
	static struct readers viewers, bare;
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
	long count = argc > 2 ? atol(argv[2]) : VIEWERS;
	struct bench_samples gaps = {0};
	struct bench_pair pairs[BENCH_ROUNDS_MAX], chosen;
	struct bench_node node;
	struct bench_source source;
	struct limit limit;
	double gap_ms;

	if (rounds < 1 || rounds > BENCH_ROUNDS_MAX || count < 1 || count > VIEWERS_MAX) {
		fprintf(stderr, "usage: flv_bench [rounds [viewers, at most %d]]\n", VIEWERS_MAX);
		return 2;
	}
	open_readers(&viewers);
	open_readers(&bare);
	open_limit(&limit, &bare, (size_t)count);
	bench_node_start(&node, 1);
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	for (long i = 0; i < count; i++)
		join(&viewers, &node);
	await_viewers(&viewers);
	node_round(&viewers, &source, &node, &gap_ms);
	for (int i = 0; i < rounds; i++) {
		pairs[i].value = node_round(&viewers, &source, &node, &gap_ms);
		pairs[i].limit = limit_round(&limit, &bare);
		bench_add(&gaps, gap_ms);
		fprintf(stderr,
			"  %ld viewers: %.1f us a Mbit, limit %.1f (%.2f), gaps to %.0f ms\n",
			count, pairs[i].value, pairs[i].limit, pairs[i].value / pairs[i].limit,
			gap_ms);
	}
	chosen = bench_median(pairs, (size_t)rounds);
	bench_report("flv_mbit", count, "us", chosen.value, chosen.limit);
	bench_report("flv_gap", count, "ms", bench_percentile(&gaps, 0.5), 0);
	bench_source_close(&source);
	bench_node_stop(&node);
	close(limit.orders);
	waitpid(limit.pid, NULL, 0);
	return 0;
}

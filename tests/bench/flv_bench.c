/* SPDX-License-Identifier: Apache-2.0
 *
 * What HTTP-FLV costs a megabit, and the longest silence that a viewer hears, beside the limit of the
 * same run: a process that writes the same bytes to as many connections, as many frames in a write as
 * the node gathers.
 *
 * usage: flv_bench [rounds [viewers]…]
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
	VIEWERS_MAX = 1000,
	ROUNDS = 5,
	FEW_ROUNDS = 3, /* of all but the last row */
	MANY = 50,	/* viewers of a worker: from here on the node gathers for 74 ms … */
	GATHERED = 2,	/* … which are so many frames */
	FRAMES = 50,
	LAST_MS = 200, /* after the last frame: what is gathered has come, too */
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
	if (!readers->epoll)
		readers->epoll = epoll_create1(EPOLL_CLOEXEC);
}

static void begin_round(struct readers *readers)
{
	readers->bytes = 0;
	for (size_t i = 0; i < readers->count; i++)
		readers->of[i].gap_ns = readers->of[i].heard_ns = 0;
}

/* 95th percentile over the readers. */
static double longest_gap_ms(const struct readers *readers)
{
	struct bench_samples gaps = {0};
	double gap_ms;

	for (size_t i = 0; i < readers->count; i++)
		bench_add(&gaps, (double)readers->of[i].gap_ns / 1e6);
	gap_ms = bench_percentile(&gaps, 0.95);
	bench_samples_fini(&gaps);
	return gap_ms;
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

/* Until all have been answered, and heard the keyframe that everybody begins with. */
static void await_viewers(struct readers *readers, struct bench_source *source)
{
	int64_t end_ns = bench_now_ns() + JOIN_MS * INT64_C(1000000);
	size_t there = 0;

	source->page->keyframe_next = true;
	bench_source_want(source, 1);
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
	int64_t cpu_ns;

	begin_round(readers);
	cpu_ns = bench_node_cpu_ns(node);
	bench_source_want(source, FRAMES);
	while (!bench_source_is_done(source))
		drain_for_ms(readers, 8);
	drain_for_ms(readers, LAST_MS);
	cpu_ns = bench_node_cpu_ns(node) - cpu_ns;
	if (readers->bytes < readers->count * SOURCE_FRAME_SIZE * (FRAMES - 1))
		bench_die(
			"%lu bytes for %zu viewers", (unsigned long)readers->bytes, readers->count);
	*gap_ms = longest_gap_ms(readers);
	return (double)cpu_ns / 1e3 / ((double)readers->bytes * 8 / 1e6);
}

/* ---- the limit ----------------------------------------------------------------------------- */

/* What the process of the limit is to do: as many connections as that, then these frames. */
struct order {
	uint32_t connections, frames, in_a_write;
};

struct limit {
	pid_t pid;
	int listener;
	int orders, results; /* processor time that the frames took */
};

static int64_t write_frames(const int *fds, const struct order *order)
{
	static char frames[GATHERED * SOURCE_FRAME_SIZE];
	ssize_t size = (ssize_t)order->in_a_write * SOURCE_FRAME_SIZE;
	int64_t cpu_ns = bench_own_cpu_ns(), next_ns = bench_now_ns();

	for (uint32_t done = 0; done < order->frames; done += order->in_a_write) {
		for (uint32_t i = 0; i < order->connections; i++)
			if (write(fds[i], frames, (size_t)size) != size)
				bench_die("the limit cannot write");
		next_ns += (int64_t)order->in_a_write * SOURCE_FRAME_MS * 1000000;
		bench_sleep_until_ns(next_ns);
	}
	return bench_own_cpu_ns() - cpu_ns;
}

static void run_limit(const struct sockaddr_in *to, int orders, int results)
{
	int fds[VIEWERS_MAX];
	uint32_t count = 0;
	struct order order;

	while (read(orders, &order, sizeof(order)) == sizeof(order)) {
		while (count < order.connections)
			fds[count++] = bench_connect(to);

		int64_t cpu_ns = write_frames(fds, &order);

		if (write(results, &cpu_ns, sizeof(cpu_ns)) != sizeof(cpu_ns))
			break;
	}
	_exit(0);
}

static void open_limit(struct limit *limit)
{
	struct sockaddr_in at;
	int orders[2], results[2];

	limit->listener = bench_listen(&at);
	if (pipe2(orders, O_CLOEXEC) || pipe2(results, O_CLOEXEC))
		bench_die("%s", strerror(errno));
	limit->pid = fork();
	if (limit->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(orders[1]);
		run_limit(&at, orders[0], results[1]);
	}
	close(orders[0]);
	close(results[1]);
	limit->orders = orders[1];
	limit->results = results[0];
	fcntl(limit->results, F_SETFL, O_NONBLOCK);
}

/* Processor time, nanoseconds. */
static int64_t obey(struct limit *limit, struct readers *readers, const struct order *order)
{
	int64_t cpu_ns;

	if (write(limit->orders, order, sizeof(*order)) != sizeof(*order))
		bench_die("the limit has ended");
	while (readers->count < order->connections)
		add_reader(readers, accept(limit->listener, NULL, NULL));
	while (read(limit->results, &cpu_ns, sizeof(cpu_ns)) != sizeof(cpu_ns))
		drain_for_ms(readers, 8);
	drain_for_ms(readers, 8);
	return cpu_ns;
}

static double limit_round(struct limit *limit, struct readers *readers, double *gap_ms)
{
	const struct order order = {
		(uint32_t)readers->count, FRAMES, readers->count >= MANY ? GATHERED : 1};
	int64_t cpu_ns;

	begin_round(readers);
	cpu_ns = obey(limit, readers, &order);
	*gap_ms = longest_gap_ms(readers);
	return (double)cpu_ns / 1e3 /
	       ((double)readers->count * FRAMES * SOURCE_FRAME_SIZE * 8 / 1e6);
}

static void close_limit(struct limit *limit)
{
	close(limit->orders);
	close(limit->listener);
	waitpid(limit->pid, NULL, 0);
}

/* ---- both ---------------------------------------------------------------------------------- */

static void rows_of(const struct bench_node *node, struct bench_source *source, struct limit *limit,
	long count, int rounds)
{
	static struct readers viewers, bare; /* stay from one call to the next */
	const struct order connect_only = {(uint32_t)count, 0, 1};
	struct bench_pair costs[BENCH_ROUNDS_MAX], gaps[BENCH_ROUNDS_MAX], cost, gap;

	open_readers(&viewers);
	open_readers(&bare);
	obey(limit, &bare, &connect_only);
	while (viewers.count < (size_t)count)
		join(&viewers, node);
	begin_round(&viewers);
	await_viewers(&viewers, source);
	node_round(&viewers, source, node, &gaps[0].value);
	for (int i = 0; i < rounds; i++) {
		costs[i].value = node_round(&viewers, source, node, &gaps[i].value);
		costs[i].limit = limit_round(limit, &bare, &gaps[i].limit);
		fprintf(stderr,
			"  %ld viewers: %.1f us a Mbit, limit %.1f (%.2f), gaps to %.0f ms, limit "
			"%.0f\n",
			count, costs[i].value, costs[i].limit, costs[i].value / costs[i].limit,
			gaps[i].value, gaps[i].limit);
	}
	cost = bench_median(costs, (size_t)rounds);
	gap = bench_median(gaps, (size_t)rounds);
	bench_report("flv_mbit", count, "us", cost.value, cost.limit);
	bench_report("flv_gap", count, "ms", gap.value, gap.limit);
}

int main(int argc, char **argv)
{
	long viewers[8] = {20, 100, 300, 500};
	int rounds = argc > 1 ? atoi(argv[1]) : 0, count = argc > 2 ? 0 : 4;
	struct bench_node node;
	struct bench_source source;
	struct limit limit;

	for (int i = 2; i < argc && count < 8; i++)
		viewers[count++] = atol(argv[i]);
	for (int i = 0; i < count; i++)
		if (rounds < (argc > 1) || rounds > BENCH_ROUNDS_MAX || viewers[i] > VIEWERS_MAX ||
			viewers[i] <= (i ? viewers[i - 1] : 0)) {
			fprintf(stderr, "usage: flv_bench [rounds [viewers, rising, 1 .. %d]...]\n",
				VIEWERS_MAX);
			return 2;
		}
	open_limit(&limit);
	bench_node_start(&node, 1);
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	for (int i = 0; i < count; i++)
		rows_of(&node, &source, &limit, viewers[i],
			rounds		? rounds
			: i < count - 1 ? FEW_ROUNDS
					: ROUNDS);
	bench_source_close(&source);
	bench_node_stop(&node);
	close_limit(&limit);
	return 0;
}

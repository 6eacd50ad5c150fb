/* SPDX-License-Identifier: Apache-2.0
 *
 * A real node under measurement, and what the benchmark programs share: clocks, HTTP, what a
 * process has cost, figures as lines of JSON.
 *
 * Failures end the program: a figure that was measured of half a system is worse than none.
 */
#ifndef MILLRACE_BENCH_NODE_H
#define MILLRACE_BENCH_NODE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { BENCH_WORKERS_MAX = 2, BENCH_SAMPLES_MAX = 1 << 20, BENCH_ROUNDS_MAX = 50 };

struct bench_node {
	pid_t supervisor;
	int out; /* its standard output */
	char directory[64];
	struct sockaddr_in http, rtmp;
	pid_t workers[BENCH_WORKERS_MAX];
	double takeover_us[BENCH_WORKERS_MAX]; /* of all until the last kill */
	int worker_count;
};

/* Starts `build/millrace` (or $MILLRACE_BIN) on free ports of the loopback. */
void bench_node_start(struct bench_node *node, int workers);
void bench_node_stop(struct bench_node *node);
/* kill -9 of a worker. Its spare goes on; bench_node_is_whole says when that is ready, with a spare of its own,
 * and how long it took from the fence on, microseconds. */
void bench_node_kill(struct bench_node *node, int worker);
bool bench_node_is_whole(struct bench_node *node, int worker, double *took_us);
/* Processor time of its workers together, nanoseconds. */
int64_t bench_node_cpu_ns(const struct bench_node *node);
/* Resident memory of its workers together, kilobytes; and of any process. */
long bench_node_rss_kb(const struct bench_node *node);
long bench_rss_kb(pid_t pid);

int64_t bench_now_ns(void);  /* monotonic */
int64_t bench_real_ns(void); /* as the kernel stamps packets */
int64_t bench_own_cpu_ns(void);
int64_t bench_process_cpu_ns(pid_t pid);
void bench_sleep_until_ns(int64_t at_ns);
/* Ends the program with a message. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

int bench_connect(const struct sockaddr_in *to);
/* A TCP listener on the loopback, and where. */
int bench_listen(struct sockaddr_in *at);
/* Zeroed memory that processes forked later share with this one. */
void *bench_shared(size_t size);
/* Sends a request that asks for the connection to be closed; the connection. */
int bench_http_ask(const struct sockaddr_in *to, const char *method, const char *path,
	const char *type, const char *body);
/* Of an answer with a NUL at its end. */
int bench_http_status(const char *answer);
/* One request on a connection of its own; as much of the answer, head and body, as has room, with a
 * NUL. Returns the status. */
int bench_http(const struct sockaddr_in *to, const char *method, const char *path, const char *type,
	const char *body, char *answer, size_t answer_size);

/* Samples, for percentiles. */
struct bench_samples {
	double *values;
	size_t count;
};
void bench_add(struct bench_samples *samples, double value);
/* 0 <= share <= 1; sorts. */
double bench_percentile(struct bench_samples *samples, double share);
void bench_samples_fini(struct bench_samples *samples);

/* What a round cost, and the limit beside it. The round with the median ratio speaks for all. */
struct bench_pair {
	double value, limit;
};
struct bench_pair bench_median(struct bench_pair *pairs, size_t count);

/* One figure: a line of JSON on standard output. `limit` 0 = there is none in this run; `n`: what it
 * grows with (viewers, workers), 0 = nothing. */
void bench_report(const char *row, long n, const char *unit, double value, double limit);

#endif

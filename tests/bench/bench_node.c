/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_node.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_NS INT64_C(5000000000)

_Noreturn void bench_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* ---- clocks -------------------------------------------------------------------------------- */

static int64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bench_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t bench_real_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t bench_own_cpu_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t bench_process_cpu_ns(pid_t pid)
{
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock))
		bench_die("process %d is gone", (int)pid);
	return read_clock(clock);
}

void bench_sleep_until_ns(int64_t at_ns)
{
	struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

int bench_connect(const struct sockaddr_in *to)
{
	const int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		bench_die("cannot connect: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int bench_listen(struct sockaddr_in *at)
{
	socklen_t size = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET};
	at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)at, size) || listen(fd, SOMAXCONN) ||
		getsockname(fd, (struct sockaddr *)at, &size))
		bench_die("cannot listen: %s", strerror(errno));
	return fd;
}

int bench_http_ask(const struct sockaddr_in *to, const char *method, const char *path,
	const char *type, const char *body)
{
	char bytes[8192];
	int fd = bench_connect(to);
	int size = snprintf(bytes, sizeof(bytes),
		"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: %s\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		method, path, type, strlen(body), body);

	if (size >= (int)sizeof(bytes) || write(fd, bytes, (size_t)size) != size)
		bench_die("cannot ask: %s", strerror(errno));
	return fd;
}

int bench_http_status(const char *answer)
{
	int status;

	if (sscanf(answer, "HTTP/1.1 %d", &status) != 1 || !strstr(answer, "\r\n\r\n"))
		bench_die("this is no answer: %s", answer);
	return status;
}

int bench_http(const struct sockaddr_in *to, const char *method, const char *path, const char *type,
	const char *body, char *answer, size_t answer_size)
{
	int fd = bench_http_ask(to, method, path, type, body);
	size_t size = 0;
	ssize_t got;
	char rest[4096];

	while ((got = read(fd, answer + size, answer_size - 1 - size)) > 0)
		size += (size_t)got;
	while (read(fd, rest, sizeof(rest)) > 0)
		;
	close(fd);
	answer[size] = 0;
	return bench_http_status(answer);
}

/* ---- the node ------------------------------------------------------------------------------ */

static void run_node(const struct bench_node *node, int workers, int out)
{
	const char *program = getenv("MILLRACE_BIN");
	char run[80], data[80], count[16];

	snprintf(run, sizeof(run), "%s/run", node->directory);
	snprintf(data, sizeof(data), "%s/data", node->directory);
	snprintf(count, sizeof(count), "%d", workers);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	mkdir(run, 0700);
	dup2(out, STDOUT_FILENO);
	char log[80];

	snprintf(log, sizeof(log), "%s/log", node->directory);
	dup2(open(log, O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
	execl(program ? program : "build/millrace", "millrace", "node", "--name", "bench",
		"--workers", count, "--bind", "127.0.0.1", "--advertise", "127.0.0.1",
		"--http-port", "0", "--rtmp-port", "0", "--rtc-port", "0", "--mesh-port", "0",
		"--link-port", "0", "--run-dir", run, "--data-dir", data,
		"--worker-restart-intensity", "1000", "--webrtc-sessions-per-address-max", "5000",
		"--http-requests-per-s-max", "100000", (char *)NULL);
	_exit(127);
}

static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	const char *colon = strrchr(text, ':');

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(colon ? colon + 1 : "0"));
	return address;
}

/* The rows of all processes, the caller's to free; NULL: the node does not tell now. */
static json_t *ask_processes(const struct bench_node *node)
{
	static char answer[16384];
	int status = bench_http(
		&node->http, "GET", "/api/v1/workers", "text/plain", "", answer, sizeof(answer));

	return status == 200 ? json_loads(strstr(answer, "\r\n\r\n") + 4, 0, NULL) : NULL;
}

/* False while they are not all known. */
static bool find_workers(struct bench_node *node, int workers)
{
	size_t i;
	json_t *row, *root = ask_processes(node);

	node->worker_count = 0;
	json_array_foreach(json_object_get(root, "workers"), i, row)
	{
		const char *role = json_string_value(json_object_get(row, "role"));

		if (role && !strcmp(role, "media") && node->worker_count < BENCH_WORKERS_MAX)
			node->workers[node->worker_count++] =
				(pid_t)json_integer_value(json_object_get(row, "pid"));
	}
	json_decref(root);
	return node->worker_count == workers;
}

void bench_node_start(struct bench_node *node, int workers)
{
	char line[1024];
	int pipes[2];
	json_t *ready;
	FILE *out;

	*node = (struct bench_node){.out = -1};
	snprintf(node->directory, sizeof(node->directory), "/tmp/millrace-bench-XXXXXX");
	if (!mkdtemp(node->directory) || pipe2(pipes, O_CLOEXEC))
		bench_die("%s", strerror(errno));
	node->supervisor = fork();
	if (node->supervisor == 0)
		run_node(node, workers, pipes[1]);
	close(pipes[1]);
	node->out = pipes[0];
	out = fdopen(dup(pipes[0]), "r");
	if (!out || !fgets(line, sizeof(line), out))
		bench_die("the node does not start (build/millrace; MILLRACE_BIN)");
	fclose(out);
	ready = json_loads(line, 0, NULL);
	const char *http = json_string_value(json_object_get(ready, "http"));
	const char *rtmp = json_string_value(json_object_get(ready, "rtmp"));

	if (!http || !rtmp)
		bench_die("not a ready line: %s", line);
	node->http = address_of(http);
	node->rtmp = address_of(rtmp);
	json_decref(ready);
	for (int64_t end_ns = bench_now_ns() + READY_NS; !find_workers(node, workers);) {
		if (bench_now_ns() > end_ns)
			bench_die("the node does not tell its workers");
		bench_sleep_until_ns(bench_now_ns() + 10000000);
	}
}

static json_t *find_row(json_t *root, const char *wanted, int index)
{
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(root, "workers"), i, row)
	{
		const char *role = json_string_value(json_object_get(row, "role"));
		const char *state = json_string_value(json_object_get(row, "state"));

		if (role && state && !strcmp(role, wanted) && !strcmp(state, "ready") &&
			json_integer_value(json_object_get(row, "worker")) == index)
			return row;
	}
	return NULL;
}

void bench_node_kill(struct bench_node *node, int worker)
{
	if (kill(node->workers[worker], SIGKILL))
		bench_die("worker %d cannot be killed: %s", worker, strerror(errno));
}

bool bench_node_is_whole(struct bench_node *node, int worker, double *took_us)
{
	json_t *root = ask_processes(node), *row = find_row(root, "media", worker);
	pid_t pid = row ? (pid_t)json_integer_value(json_object_get(row, "pid")) : 0;
	bool whole = pid && pid != node->workers[worker] && find_row(root, "spare", worker);

	if (whole) {
		double all_us = (double)json_integer_value(json_object_get(row, "takeover_us"));

		*took_us = all_us - node->takeover_us[worker];
		node->takeover_us[worker] = all_us;
		node->workers[worker] = pid;
	}
	json_decref(root);
	return whole;
}

void bench_node_stop(struct bench_node *node)
{
	char command[128];

	kill(node->supervisor, SIGTERM);
	kill(node->supervisor, SIGTERM); /* nothing to drain for */
	waitpid(node->supervisor, NULL, 0);
	close(node->out);
	snprintf(command, sizeof(command), "rm -rf '%s'", node->directory);
	if (system(command))
		fprintf(stderr, "bench: %s is left\n", node->directory);
}

int64_t bench_node_cpu_ns(const struct bench_node *node)
{
	int64_t sum = 0;

	for (int i = 0; i < node->worker_count; i++)
		sum += bench_process_cpu_ns(node->workers[i]);
	return sum;
}

long bench_node_rss_kb(const struct bench_node *node)
{
	long sum = 0;

	for (int i = 0; i < node->worker_count; i++)
		sum += bench_rss_kb(node->workers[i]);
	return sum;
}

long bench_rss_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "r");

	if (!file)
		bench_die("process %d is gone", (int)pid);
	while (fgets(line, sizeof(line), file) && sscanf(line, "VmRSS: %ld", &kb) != 1)
		;
	fclose(file);
	return kb;
}

void *bench_shared(size_t size)
{
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		bench_die("no memory");
	return bytes;
}

/* ---- figures ------------------------------------------------------------------------------- */

void bench_add(struct bench_samples *samples, double value)
{
	if (!samples->values)
		samples->values = malloc(BENCH_SAMPLES_MAX * sizeof(double));
	if (!samples->values)
		bench_die("no memory");
	if (samples->count < BENCH_SAMPLES_MAX)
		samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_percentile(struct bench_samples *samples, double share)
{
	if (!samples->count)
		bench_die("nothing was measured");
	qsort(samples->values, samples->count, sizeof(double), compare);
	return samples->values[(size_t)(share * (double)(samples->count - 1) + 0.5)];
}

void bench_samples_fini(struct bench_samples *samples)
{
	free(samples->values);
	*samples = (struct bench_samples){0};
}

static int by_ratio(const void *a, const void *b)
{
	const struct bench_pair *x = a, *y = b;
	double left = x->value * y->limit, right = y->value * x->limit;

	return (left > right) - (left < right);
}

struct bench_pair bench_median(struct bench_pair *pairs, size_t count)
{
	qsort(pairs, count, sizeof(pairs[0]), by_ratio);
	return pairs[count / 2];
}

void bench_report(const char *row, long n, const char *unit, double value, double limit)
{
	printf("{\"row\":\"%s\",\"n\":%ld,\"unit\":\"%s\",\"value\":%.6g", row, n, unit, value);
	if (limit > 0)
		printf(",\"limit\":%.6g,\"ratio\":%.3f", limit, value / limit);
	printf("}\n");
	fflush(stdout);
}

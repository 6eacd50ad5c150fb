/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_limit.h"

#include "tests/bench/bench_bare.h"
#include "tests/bench/bench_source.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME_NS (SOURCE_FRAME_MS * INT64_C(1000000))

/* ---- the publisher ------------------------------------------------------------------------- */

static void publish(const struct sockaddr_in *to, const struct bench_limit_options *options)
{
	static const char frame[SOURCE_FRAME_SIZE];
	int fd = bench_connect(to);
	int64_t next_ns = bench_now_ns() + FRAME_NS;

	for (unsigned i = 0; i < options->frames; i++, next_ns += FRAME_NS) {
		bench_sleep_until_ns(next_ns);
		options->sent_ns[i] = bench_real_ns();
		if (write(fd, frame, sizeof(frame)) != sizeof(frame))
			bench_die("the limit cannot publish");
	}
	_exit(0);
}

/* The connection from it. */
static int open_publisher(const struct bench_limit_options *options)
{
	struct sockaddr_in at;
	int fd, listener = bench_listen(&at);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		publish(&at, options);
	}
	fd = accept(listener, NULL, NULL);
	if (pid < 0 || fd < 0)
		bench_die("%s", strerror(errno));
	close(listener);
	return fd;
}

static void await_frame(int fd)
{
	static char frame[SOURCE_FRAME_SIZE];

	if (recv(fd, frame, sizeof(frame), MSG_WAITALL) != sizeof(frame))
		bench_die("the publisher of the limit has ended");
}

/* ---- who sends ----------------------------------------------------------------------------- */

static void run(const struct bench_limit_options *options, size_t count, int result)
{
	struct bare_sender *s = calloc(1, sizeof(*s));
	struct bare_key *keys = calloc(count, sizeof(*keys));
	struct sockaddr_in *to = calloc(count, sizeof(*to));
	int64_t cpu_ns, next_ns = options->start_ns;
	int from = -1;

	if (!s || !keys || !to)
		bench_die("no memory");
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	s->packets = options->packets;
	s->size = options->size;
	for (size_t i = 0; i < count; i++) {
		const uint8_t key[16] = {(uint8_t)i, (uint8_t)(i >> 8)};
		socklen_t length = sizeof(to[i]);

		getsockname(options->audience->viewers[options->first + i].fd,
			(struct sockaddr *)&to[i], &length);
		to[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		bare_key_init(&keys[i], key, options->by_ipsec_mb);
	}
	if (options->sent_ns)
		from = open_publisher(options);
	else if (next_ns)
		bench_sleep_until_ns(next_ns);
	else
		next_ns = bench_now_ns();
	cpu_ns = bench_own_cpu_ns();
	for (unsigned frame = 0; frame < options->frames; frame++) {
		if (from >= 0)
			await_frame(from);
		for (size_t i = 0; i < count; i++)
			bare_send(s, &keys[i], &to[i], true);
		if (from < 0)
			bench_sleep_until_ns(next_ns += FRAME_NS);
	}
	cpu_ns = bench_own_cpu_ns() - cpu_ns;
	if (write(result, &cpu_ns, sizeof(cpu_ns)) != sizeof(cpu_ns))
		bench_die("nobody listens");
	_exit(0);
}

void bench_limit_start(struct bench_limit *limit, const struct bench_limit_options *options)
{
	size_t all = options->audience->count;
	size_t count = options->count ? options->count : all;
	int pipes[2];

	if (options->packets > BARE_PACKETS_MAX || options->size > BARE_PACKET_MAX ||
		options->size < BARE_PACKET_MIN || options->first + count > all)
		bench_die("a limit of %u packets of %zu bytes", options->packets, options->size);
	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK))
		bench_die("%s", strerror(errno));
	limit->pid = fork();
	if (limit->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(options, count, pipes[1]);
	}
	close(pipes[1]);
	limit->result = pipes[0];
}

bool bench_limit_is_done(struct bench_limit *limit, int64_t *cpu_ns)
{
	ssize_t got = read(limit->result, cpu_ns, sizeof(*cpu_ns));

	if (got < 0 && errno == EAGAIN)
		return false;
	if (got != sizeof(*cpu_ns))
		bench_die("the limit has ended");
	close(limit->result);
	waitpid(limit->pid, NULL, 0);
	return true;
}

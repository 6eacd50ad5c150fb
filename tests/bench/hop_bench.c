/* SPDX-License-Identifier: Apache-2.0
 *
 * The limit of a hop between nodes that run (tests/e2e/hops.mjs): frames as datagrams of the same size over the
 * loopback, from a process that sleeps until the next one is due to one that sleeps until something comes.
 * From before the first send of a frame until its first datagram has been read.
 */
#include "tests/bench/bench_node.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	DATAGRAM = 1200,
	BURST = 8,	     /* a frame of 2 Mbit/s … */
	FRAME_NS = 33333333, /* … at 30 a second */
	FRAMES = 150,
	RECEIVE_BUFFER = 1 << 20,
};

static void send_frames(int fd)
{
	uint8_t datagram[DATAGRAM] = {0};
	int64_t at_ns = bench_now_ns();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int frame = 0; frame < FRAMES; frame++) {
		bench_sleep_until_ns(at_ns += FRAME_NS);
		int64_t sent_ns = bench_now_ns();

		for (int i = 0; i < BURST; i++) {
			memcpy(datagram, &sent_ns, sizeof(sent_ns));
			datagram[sizeof(sent_ns)] = i == 0;
			if (send(fd, datagram, sizeof(datagram), 0) != sizeof(datagram))
				bench_die("cannot send");
		}
	}
	_exit(0);
}

static void take(int fd, struct bench_samples *us)
{
	uint8_t datagram[DATAGRAM];
	int64_t sent_ns;

	while (recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT) == sizeof(datagram)) {
		memcpy(&sent_ns, datagram, sizeof(sent_ns));
		if (datagram[sizeof(sent_ns)])
			bench_add(us, (double)(bench_now_ns() - sent_ns) / 1000);
	}
}

int main(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	int epoll = epoll_create1(EPOLL_CLOEXEC), buffer = RECEIVE_BUFFER;
	struct epoll_event event = {.events = EPOLLIN};
	struct bench_samples us = {0};
	socklen_t size = sizeof(at);
	pid_t child;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(in, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	if (bind(in, (struct sockaddr *)&at, size) ||
		getsockname(in, (struct sockaddr *)&at, &size) ||
		connect(out, (struct sockaddr *)&at, size) ||
		epoll_ctl(epoll, EPOLL_CTL_ADD, in, &event))
		bench_die("no sockets");
	child = fork();
	if (!child)
		send_frames(out);
	while (us.count < FRAMES && epoll_wait(epoll, &event, 1, 1000) == 1)
		take(in, &us);
	if (us.count < FRAMES / 2)
		bench_die("only %zu frames have come", us.count);
	bench_report("bare_hop_p50", 0, "us", bench_percentile(&us, 0.5), 0);
	bench_report("bare_hop_p99", 0, "us", bench_percentile(&us, 0.99), 0);
	bench_samples_fini(&us);
	waitpid(child, NULL, 0);
	return 0;
}

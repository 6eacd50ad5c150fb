/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel tells of a connection is what was read and written, whoever did it and whenever
 * he died: processes that only read and write are killed at any moment, and the next one goes on at
 * the byte.
 */
#include "runtime/live_internal.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS = 300, LIFE_US_MAX = 2000, RING = 1 << 20, PART_MAX = 9000, DEADLINE_MS = 60000 };

/* ---- two ends -------------------------------------------------------------------------------- */

struct ends {
	struct live live;
	uint32_t number; /* of ours */
	int fd, peer;
};

static void ends_open(struct ends *e)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	memset(e, 0, sizeof(*e));
	CHECK(!bind(listener, (struct sockaddr *)&at, size) && !listen(listener, 1) &&
		!getsockname(listener, (struct sockaddr *)&at, &size));
	e->peer = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(e->peer, (struct sockaddr *)&at, size));
	e->fd = accept(listener, NULL, NULL);
	CHECK(e->fd >= 0);
	close(listener);
	e->live.epoll = epoll_create1(0);
	e->live.socket_fresh = 1;
	e->live.sockets = calloc(LIVE_SOCKETS_MAX, sizeof(*e->live.sockets));
	CHECK(e->live.sockets);
	e->number = live_add_socket(&e->live, e->fd, LIVE_CONNECTION, 1);
	CHECK(e->number);
}

static void ends_close(struct ends *e)
{
	close(e->fd);
	close(e->peer);
	close(e->live.epoll);
	free(e->live.sockets);
}

static struct net_progress progress_of(struct ends *e)
{
	struct net_progress progress;

	CHECK(live_tcp_progress(&e->live, e->number, &progress));
	return progress;
}

/* Byte `at` of the stream that either side sends. */
static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at ^ at >> 8 ^ at >> 16);
}

static void fill(uint8_t *bytes, uint64_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = byte_at(at + i);
}

static void check_bytes(const uint8_t *bytes, uint64_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != byte_at(at + i))
			fail_msg("byte %llu is another", (unsigned long long)(at + i));
}

static size_t random_part(void)
{
	return 1 + (size_t)rand() % PART_MAX;
}

/* ---- rows ------------------------------------------------------------------------------------ */

TEST(what_was_read_and_written_is_told)
{
	static uint8_t bytes[PART_MAX];
	uint64_t in = 0, out = 0;
	struct ends e;

	ends_open(&e);
	for (int i = test_rounds(3000); i; i--) {
		ssize_t read_now = 0, written = 0;

		switch (rand() % 4) {
		case 0: written = send(e.fd, bytes, random_part(), MSG_DONTWAIT); break;
		case 1: send(e.peer, bytes, random_part(), MSG_DONTWAIT); break;
		case 2: recv(e.peer, bytes, random_part(), MSG_DONTWAIT); break;
		case 3: read_now = recv(e.fd, bytes, random_part(), MSG_DONTWAIT); break;
		}
		out += written > 0 ? (uint64_t)written : 0;
		in += read_now > 0 ? (uint64_t)read_now : 0;
		CHECK_EQ(progress_of(&e).in, in);
		CHECK_EQ(progress_of(&e).out, out);
	}
	CHECK(in && out);
	ends_close(&e);
}

/* The peer's end counts as a byte in the kernel, before and after it is reached. */
TEST(the_end_of_the_peers_side_is_no_byte)
{
	char bytes[8];
	struct ends e;

	ends_open(&e);
	CHECK_EQ(send(e.peer, "12345", 5, 0), 5);
	CHECK(!shutdown(e.peer, SHUT_WR));
	CHECK_EQ(recv(e.fd, bytes, 2, 0), 2);
	CHECK_EQ(progress_of(&e).in, 2);
	CHECK_EQ(recv(e.fd, bytes, sizeof(bytes), 0), 3);
	CHECK_EQ(progress_of(&e).in, 5);
	CHECK_EQ(recv(e.fd, bytes, sizeof(bytes), 0), 0);
	CHECK_EQ(progress_of(&e).in, 5);
	CHECK_EQ(send(e.fd, "123", 3, 0), 3);
	CHECK_EQ(progress_of(&e).out, 3);
	ends_close(&e);
}

TEST(of_a_broken_connection_nothing_is_told)
{
	struct linger now = {.l_onoff = 1};
	struct pollfd gone = {0};
	struct net_progress progress;
	struct ends e;

	ends_open(&e);
	CHECK(!setsockopt(e.peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	close(e.peer);
	e.peer = -1;
	gone.fd = e.fd;
	CHECK_EQ(poll(&gone, 1, DEADLINE_MS), 1);
	CHECK(!live_tcp_progress(&e.live, e.number, &progress));
	CHECK(!live_tcp_progress(&e.live, e.number + 1, &progress));
	ends_close(&e);
}

/* ---- killed at any moment -------------------------------------------------------------------- */

/* Reads into the ring and writes what comes next, and notes nothing. */
static void live_on(const struct ends *e, uint8_t *ring, struct net_progress at)
{
	uint8_t bytes[PART_MAX];
	uint64_t until = at.in + RING;

	for (;;) {
		size_t room = RING - at.in % RING, size = random_part();
		ssize_t done;

		room = room < until - at.in ? room : until - at.in;
		done = recv(e->fd, ring + at.in % RING, size < room ? size : room, MSG_DONTWAIT);
		at.in += done > 0 ? (uint64_t)done : 0;
		fill(bytes, at.out, size);
		done = send(e->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		at.out += done > 0 ? (uint64_t)done : 0;
	}
}

struct client {
	uint64_t sent, received;
};

/* What the peer does, for a while. */
static void talk(int peer, struct client *client, int64_t until_us)
{
	static uint8_t bytes[PART_MAX];

	do {
		size_t size = random_part();

		fill(bytes, client->sent, size);
		ssize_t done = send(peer, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		client->sent += done > 0 ? (uint64_t)done : 0;
		done = recv(peer, bytes, random_part(), MSG_DONTWAIT);
		if (done > 0)
			check_bytes(bytes, client->received, (size_t)done);
		client->received += done > 0 ? (uint64_t)done : 0;
	} while (live_now_us() < until_us);
}

static void live_and_die(
	struct ends *e, uint8_t *ring, struct net_progress *at, struct client *client)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		live_on(e, ring, *at);
	}
	talk(e->peer, client, live_now_us() + rand() % LIFE_US_MAX);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
	struct net_progress now = progress_of(e);

	CHECK_LE(now.in - at->in, RING);
	for (; at->in < now.in; at->in++)
		check_bytes(ring + at->in % RING, at->in, 1);
	*at = now;
}

TEST(a_successor_goes_on_at_the_byte)
{
	uint8_t *ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct net_progress at = {0};
	struct client client = {0};
	struct ends e;

	CHECK(ring != MAP_FAILED);
	ends_open(&e);
	for (int i = test_rounds(KILLS); i; i--)
		live_and_die(&e, ring, &at, &client);
	CHECK(at.in > PART_MAX && at.out > PART_MAX);
	int64_t deadline_us = live_now_us() + DEADLINE_MS * INT64_C(1000);

	while (client.received < at.out && live_now_us() < deadline_us)
		talk(e.peer, &client, 0);
	CHECK_EQ(client.received, at.out);
	munmap(ring, RING);
	ends_close(&e);
}

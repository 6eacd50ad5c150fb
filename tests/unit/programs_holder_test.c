/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker's death leaves, what a holder's death costs, and what happens without descriptors:
 * with real processes (tests/unit/holder_rig.h).
 */
#include "tests/test.h"
#include "tests/unit/holder_rig.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

enum { DEADLINE_MS = 60000 };

/* ---- what a test looks at -------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#define WAIT_UNTIL(condition)                               \
	do {                                                \
		int64_t deadline_ = now_ms() + DEADLINE_MS; \
		while (!(condition)) {                      \
			CHECK_LE(now_ms(), deadline_);      \
			poll(NULL, 0, 2);                   \
		}                                           \
	} while (0)

static void connect_all(struct rig *rig, int listener)
{
	char text[32];

	for (int i = 0; i < CLIENTS; i++) {
		rig->clients[i] = connect_to(listener);
		snprintf(text, sizeof(text), "%02d early ", i);
		if (listener == rig->env.fd.rtmp)
			CHECK_EQ(send(rig->clients[i], text, strlen(text), 0), strlen(text));
	}
}

/* What a client reads up to `size`, or until its connection ends. */
static size_t read_some(int fd, char *text, size_t size)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	size_t at = 0;

	while (at < size) {
		CHECK_EQ(poll(&readable, 1, DEADLINE_MS), 1);
		ssize_t got = recv(fd, text + at, size - at, 0);
		if (got <= 0)
			break;
		at += (size_t)got;
	}
	return at;
}

static bool is_open(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void check_successor(struct rig *rig)
{
	char text[32], wanted[32];
	int adopted = 0;

	for (int i = 0; i < CLIENTS; i++) {
		size_t size = read_some(rig->clients[i], text, strlen("00 early late"));

		if (!size)
			continue;
		snprintf(wanted, sizeof(wanted), "%02d early late", i);
		CHECK_EQ(size, strlen(wanted));
		CHECK_MEM(text, wanted, size);
		adopted++;
	}
	CHECK_EQ(adopted, CLIENTS / 2);
	WAIT_UNTIL(held(rig) == CLIENTS / 2);
	WAIT_UNTIL(metric(rig, PROCESS_MEDIA, PROCESS_METRIC_UNCLAIMED) == CLIENTS / 2);
	close_clients(rig);
	WAIT_UNTIL(held(rig) == 0);
}

/* kill -9 of the worker: nothing is closed, nothing that was not read is lost, and a successor
 * finds each connection under the id of its owner; those that have none are closed. */
static void worker_dies(bool holder_dies_first, int successor_takes_ms)
{
	struct rig rig;

	rig_open(&rig);
	rig.holder = start(&rig, PROCESS_HOLDER, 2, 0);
	rig.worker = start(&rig, PROCESS_MEDIA, FIRST_WORKER, 0);
	connect_all(&rig, rig.env.fd.rtmp);
	WAIT_UNTIL(held(&rig) == CLIENTS);
	if (holder_dies_first) {
		kill_and_wait(&rig.holder);
		atomic_store(&rig.env.page->metrics[process_slot(PROCESS_HOLDER, 0)]
				      .value[PROCESS_METRIC_SOCKETS_HELD],
			0);
		rig.holder = start(&rig, PROCESS_HOLDER, 3, 0);
		WAIT_UNTIL(held(&rig) == CLIENTS);
	}
	kill_and_wait(&rig.worker);
	for (int i = 0; i < CLIENTS; i++) {
		CHECK(is_open(rig.clients[i]));
		CHECK_EQ(send(rig.clients[i], "late", 4, MSG_NOSIGNAL), 4);
	}
	CHECK_EQ(held(&rig), CLIENTS);
	start_takes_ms = successor_takes_ms;
	rig.worker = start(&rig, PROCESS_MEDIA, 4, 0);
	check_successor(&rig);
	rig_close(&rig);
}

TEST(connections_outlive_their_worker)
{
	worker_dies(false, 0);
}

TEST(a_new_holder_is_given_every_connection_again)
{
	worker_dies(true, 0);
}

/* Restoring may take longer than a holder is waited for: its answer lies there unread all that time,
 * and is no less an answer. */
TEST(a_successor_that_starts_slowly_still_has_its_connections)
{
	worker_dies(false, 400);
}

/* Both at once: nobody has the connections any more, and the node goes on. */
TEST(worker_and_holder_die_together)
{
	struct rig rig;
	char byte;

	rig_open(&rig);
	rig.holder = start(&rig, PROCESS_HOLDER, 2, 0);
	rig.worker = start(&rig, PROCESS_MEDIA, FIRST_WORKER, 0);
	connect_all(&rig, rig.env.fd.rtmp);
	WAIT_UNTIL(held(&rig) == CLIENTS);
	kill_and_wait(&rig.holder);
	kill_and_wait(&rig.worker);
	for (int i = 0; i < CLIENTS; i++)
		CHECK_EQ(read_some(rig.clients[i], &byte, 1), 0);
	close_clients(&rig);
	rig.holder = start(&rig, PROCESS_HOLDER, 5, 0);
	rig.worker = start(&rig, PROCESS_MEDIA, 6, 0);
	connect_all(&rig, rig.env.fd.rtmp);
	WAIT_UNTIL(held(&rig) == CLIENTS);
	close_clients(&rig);
	rig_close(&rig);
}

/* A holder that does not run keeps nobody from accepting, serving and closing. */
TEST(a_stopped_holder_holds_nobody_up)
{
	struct rig rig;
	char byte;

	rig_open(&rig);
	rig.holder = start(&rig, PROCESS_HOLDER, 2, 0);
	rig.worker = start(&rig, PROCESS_MEDIA, FIRST_WORKER, 0);
	connect_all(&rig, rig.env.fd.http);
	WAIT_UNTIL(held(&rig) == CLIENTS);
	kill(rig.holder, SIGSTOP);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < CLIENTS; i++) {
			CHECK_EQ(send(rig.clients[i], "q", 1, 0), 1);
			CHECK_EQ(read_some(rig.clients[i], &byte, 1), 0);
		}
		close_clients(&rig);
		connect_all(&rig, rig.env.fd.http);
	}
	CHECK_EQ(held(&rig), CLIENTS);
	kill(rig.holder, SIGCONT);
	WAIT_UNTIL(held(&rig) == CLIENTS);
	for (int i = 0; i < CLIENTS; i++)
		CHECK(is_open(rig.clients[i]));
	close_clients(&rig);
	WAIT_UNTIL(held(&rig) == 0);
	rig_close(&rig);
}

/* A holder without descriptors counts what it could not keep; those die with their worker, and
 * their clients were served before. */
TEST(a_holder_without_descriptors_says_so)
{
	enum { DESCRIPTORS = 40 };
	struct rig rig;
	char byte;
	int open_count = 0;

	rig_open(&rig);
	rig.holder = start(&rig, PROCESS_HOLDER, 2, DESCRIPTORS);
	rig.worker = start(&rig, PROCESS_MEDIA, FIRST_WORKER, 0);
	connect_all(&rig, rig.env.fd.rtmp);
	WAIT_UNTIL(held(&rig) + metric(&rig, PROCESS_HOLDER, PROCESS_METRIC_SOCKETS_NOT_HELD) ==
		   CLIENTS);
	CHECK(held(&rig) > 0 && held(&rig) < DESCRIPTORS);
	kill_and_wait(&rig.worker);
	for (int i = 0; i < CLIENTS; i++)
		open_count += is_open(rig.clients[i]);
	CHECK_EQ(open_count, held(&rig));
	/* those that it has are still handed on */
	rig.worker = start(&rig, PROCESS_MEDIA, 3, 0);
	for (int i = 0; i < CLIENTS; i += 2)
		if (read_some(rig.clients[i], &byte, 1) == 1)
			open_count--;
	CHECK(open_count >= 0);
	close_clients(&rig);
	WAIT_UNTIL(held(&rig) == 0);
	rig_close(&rig);
}

/* A worker without descriptors leaves newcomers in the backlog and counts; it serves them when
 * there is room. */
TEST(a_worker_without_descriptors_says_so)
{
	enum { DESCRIPTORS = 60 };
	struct rig rig;

	rig_open(&rig);
	rig.holder = start(&rig, PROCESS_HOLDER, 2, 0);
	rig.worker = start(&rig, PROCESS_MEDIA, FIRST_WORKER, DESCRIPTORS);
	connect_all(&rig, rig.env.fd.rtmp);
	WAIT_UNTIL(metric(&rig, PROCESS_MEDIA, PROCESS_METRIC_ACCEPTS_FAILED) > 0);
	CHECK(held(&rig) < DESCRIPTORS);
	kill_and_wait(&rig.worker);
	rig.worker = start(&rig, PROCESS_MEDIA, 3, 0);
	WAIT_UNTIL(metric(&rig, PROCESS_MEDIA, PROCESS_METRIC_UNCLAIMED) > 0);
	close_clients(&rig);
	rig_close(&rig);
}

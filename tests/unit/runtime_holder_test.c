/* SPDX-License-Identifier: Apache-2.0
 *
 * The holder and the worker's side of it without processes: messages that are malformed, a pair
 * that takes nothing for a while, allocations that fail. Nothing here may lose a descriptor.
 */
#include "runtime/holder.h"
#include "runtime/live_internal.h"
#include "tests/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INCARNATION = 7, ROUNDS_MAX = 10000 };

static struct log quiet;

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context, (void)line, (void)size;
	return true;
}

static int64_t no_time(void *context)
{
	(void)context;
	return 0;
}

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	MUST(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A holder at pair[1]; what a worker sends goes into pair[0]. */
static void begin(struct holder *holder, int pair[2])
{
	const struct log_sink sink = {.now_us = no_time, .write = log_nothing};

	log_init(&quiet, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	CHECK_OK(holder_init(holder, pair[1], &quiet));
}

static void end(struct holder *holder, int pair[2])
{
	holder_fini(holder);
	close(pair[0]);
	close(pair[1]);
}

static enum err tell(int fd, enum holder_op op, uint32_t session, uint64_t id, uint64_t owner)
{
	struct holder_message message = {.op = op, .session = session, .count = id != 0};
	int kept = -1;

	message.entries[0] = (struct holder_entry){.id = id, .owner = owner, .number = 9};
	if (op == HOLDER_HOLD)
		kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
	enum err err = holder_send(fd, &message, op == HOLDER_HOLD ? &kept : NULL);
	if (kept >= 0)
		close(kept);
	return err;
}

/* The next message must be this one; its descriptors are closed. */
static void expect(int fd, enum holder_op op, uint32_t session, struct holder_message *message)
{
	int fds[HOLDER_BATCH];
	uint32_t lost;

	CHECK_OK(holder_receive(fd, message, fds, &lost));
	CHECK_EQ(message->op, op);
	CHECK_EQ(message->session, session);
	CHECK_EQ(lost, 0);
	for (uint32_t i = 0; i < HOLDER_BATCH; i++)
		CHECK_EQ(fds[i] >= 0, op == HOLDER_HELD && i < message->count);
	holder_drop(fds);
}

/* ---- the holder ------------------------------------------------------------------------------ */

TEST(what_is_held_is_listed_for_the_next_worker)
{
	struct holder_message message;
	struct holder holder;
	int before = open_descriptors(), pair[2];

	begin(&holder, pair);
	tell(pair[0], HOLDER_HOLD, 1, 1ull << 32 | 1, 100);
	tell(pair[0], HOLDER_HOLD, 1, 1ull << 32 | 2, 100);
	tell(pair[0], HOLDER_HOLD, 1, 1ull << 32 | 3, 100);
	tell(pair[0], HOLDER_RELEASE, 1, 1ull << 32 | 2, 0);
	tell(pair[0], HOLDER_RELEASE, 1, 1ull << 32 | 2, 0); /* twice: no matter */
	tell(pair[0], HOLDER_HOLD, 1, 1ull << 32 | 3, 101);  /* has another owner now */
	tell(pair[0], HOLDER_HOLD, 2, 2ull << 32 | 1, 200);  /* the asker's own is not listed */
	tell(pair[0], HOLDER_LIST, 2, 0, 0);
	CHECK(!holder_run(&holder));
	CHECK_EQ(holder_held(&holder), 3);
	expect(pair[0], HOLDER_HERE, 0, &message);
	expect(pair[0], HOLDER_HELD, 2, &message);
	CHECK_EQ(message.count, 2);
	CHECK_EQ(message.entries[0].id, 1ull << 32 | 1);
	CHECK_EQ(message.entries[0].owner, 100);
	CHECK_EQ(message.entries[0].number, 9);
	CHECK_EQ(message.entries[1].owner, 101);
	expect(pair[0], HOLDER_END, 2, &message);
	end(&holder, pair);
	CHECK_EQ(open_descriptors(), before);
}

TEST(malformed_messages_are_refused_and_leave_nothing)
{
	static const struct {
		const char *what;
		uint32_t op, count;
		size_t entries; /* in the packet */
		int descriptors;
		uint64_t id;
	} rows[] = {
		{"no operation",			 0,		    1,   1,  1, 5},
		{"one that is not known",	  99,	      1,	 1,  1, 5},
		{"one of a holder",		    HOLDER_HELD,	 1,   1,  1, 5},
		{"one of a holder, empty",	   HOLDER_END,     0,	  0,  0, 0},
		{"nothing to hold",		    HOLDER_HOLD,	 0,   0,  0, 0},
		{"descriptors, but no connection", HOLDER_HOLD,	0,   0,  2, 0},
		{"more descriptors than entries",  HOLDER_HOLD,    1,	  1,  2, 5},
		{"no descriptor",		  HOLDER_HOLD,    1,	  1,  0, 5},
		{"no id",			  HOLDER_HOLD,    1,	  1,  1, 0},
		{"fewer entries than it says",     HOLDER_HOLD,    2,   1,  1, 5},
		{"more entries than it says",      HOLDER_HOLD,	   1,   2,	 1, 5},
		{"more than a batch",	      HOLDER_HOLD,	   33,  32, 1, 5},
		{"a count beyond all memory",      HOLDER_RELEASE, ~0u, 1,  0, 5},
		{"a release with a descriptor",	HOLDER_RELEASE, 1,   1,  1, 5},
		{"a list with entries",		HOLDER_LIST,    1,	1,  0, 5},
	};
	struct holder holder;
	int before = open_descriptors(), pair[2];

	begin(&holder, pair);
	CHECK(!holder_run(&holder));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct holder_message message = {.op = rows[i].op, .count = rows[i].count};
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {0};
		struct iovec part = {
			&message, offsetof(struct holder_message, entries) +
					  rows[i].entries * sizeof(struct holder_entry)};
		struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
		const int fds[2] = {pair[0], pair[1]};

		for (uint32_t k = 0; k < HOLDER_BATCH; k++)
			message.entries[k].id = rows[i].id;
		if (rows[i].descriptors) {
			size_t size = (size_t)rows[i].descriptors * sizeof(int);

			header.msg_control = control;
			header.msg_controllen = CMSG_SPACE(size);
			*CMSG_FIRSTHDR(&header) =
				(struct cmsghdr){CMSG_LEN(size), SOL_SOCKET, SCM_RIGHTS};
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&header)), fds, size);
		}
		CHECK_EQ(sendmsg(pair[0], &header, 0), part.iov_len);
		CHECK(!holder_run(&holder));
		if (holder_held(&holder))
			fail_msg("%s: something is held", rows[i].what);
	}
	CHECK_EQ(send(pair[0], "short", 5, 0), 5);
	CHECK_EQ(send(pair[0], "", 0, 0), 0);
	CHECK(!holder_run(&holder));
	CHECK_EQ(holder.refused, 1); /* "no descriptor" is what a full process looks like */
	/* and it still works */
	tell(pair[0], HOLDER_HOLD, 1, 5, 1);
	CHECK(!holder_run(&holder));
	CHECK_EQ(holder_held(&holder), 1);
	end(&holder, pair);
	CHECK_EQ(open_descriptors(), before);
}

TEST(a_list_waits_until_the_worker_takes_it)
{
	enum { MANY = 4000 };
	struct holder_message message;
	struct holder holder;
	int pair[2], fds[HOLDER_BATCH];
	uint32_t lost, listed = 0, rounds = 0;
	bool waited = false;

	begin(&holder, pair);
	for (uint64_t i = 1; i <= MANY; i++) {
		while (tell(pair[0], HOLDER_HOLD, 1, i, 1))
			holder_run(&holder);
	}
	while (tell(pair[0], HOLDER_LIST, 2, 0, 0))
		holder_run(&holder);
	do {
		waited = holder_run(&holder) || waited;
		message.op = 0;
		if (holder_receive(pair[0], &message, fds, &lost))
			continue;
		listed += message.op == HOLDER_HELD ? message.count : 0;
		holder_drop(fds);
	} while (message.op != HOLDER_END && rounds++ < ROUNDS_MAX);
	CHECK(waited);
	CHECK_EQ(listed, MANY);
	end(&holder, pair);
}

TEST(without_memory_a_connection_is_not_held_and_not_leaked)
{
	struct holder holder;
	int before = open_descriptors(), pair[2];

	test_fail_allocation(1);
	CHECK_EQ(holder_init(&holder, -1, &quiet), ERR_NO_MEMORY);
	begin(&holder, pair);
	tell(pair[0], HOLDER_HOLD, 1, 5, 1);
	test_fail_allocation(1);
	holder_run(&holder);
	test_fail_allocation(0);
	CHECK_EQ(holder_held(&holder), 0);
	CHECK_EQ(holder.refused, 1);
	tell(pair[0], HOLDER_HOLD, 1, 5, 1);
	holder_run(&holder);
	CHECK_EQ(holder_held(&holder), 1);
	end(&holder, pair);
	CHECK_EQ(open_descriptors(), before);
}

/* ---- the worker's side ----------------------------------------------------------------------- */

struct worker {
	struct live live;
	struct process_env env;
	struct holder holder;
	int pair[2];
	int64_t now_us;
};

static void worker_begin(struct worker *w)
{
	memset(w, 0, sizeof(*w));
	begin(&w->holder, w->pair);
	w->env.incarnation = INCARNATION;
	w->env.fd.holder = w->pair[0];
	w->live.env = &w->env;
	w->live.log = quiet;
	w->live.epoll = epoll_create1(EPOLL_CLOEXEC);
	w->live.listeners = epoll_create1(EPOLL_CLOEXEC);
	w->live.sockets = calloc(LIVE_SOCKETS_MAX, sizeof(*w->live.sockets));
	w->live.socket_fresh = 1;
	CHECK_OK(live_holder_open(&w->live));
}

static void worker_end(struct worker *w)
{
	live_holder_close(&w->live);
	close(w->live.epoll);
	close(w->live.listeners);
	free(w->live.sockets);
	end(&w->holder, w->pair);
}

/* A connection as if it had been accepted; the peer's end in *peer. */
static uint32_t accept_one(struct worker *w, int *peer)
{
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	*peer = pair[1];
	uint32_t number = live_add_socket(&w->live, pair[0], LIVE_CONNECTION, 42);
	CHECK(number);
	live_holder_keep(&w->live, number, NET_RTMP);
	return number;
}

static void grow_up(struct worker *w)
{
	w->now_us = live_now_us() + LIVE_YOUNG_US + w->now_us;
	live_holder_flush(&w->live, w->now_us);
}

TEST(a_young_connection_is_never_sent)
{
	struct worker w;
	int peer;

	worker_begin(&w);
	uint32_t number = accept_one(&w, &peer);
	live_holder_flush(&w.live, live_now_us());
	live_tcp_close(&w.live, number);
	grow_up(&w);
	holder_run(&w.holder);
	CHECK_EQ(holder_held(&w.holder), 0);
	CHECK_EQ(w.live.holder.released_count, 0);
	close(peer);
	worker_end(&w);
}

/* A close is shutdown and release: the peer sees the end, and the loop hears no more of it, while
 * the duplicate is still there. */
TEST(a_closed_connection_is_over_before_the_holder_knows)
{
	struct epoll_event events[4];
	struct worker w;
	int peer;
	char byte;

	worker_begin(&w);
	uint32_t number = accept_one(&w, &peer);
	grow_up(&w);
	holder_run(&w.holder);
	live_holder_receive(&w.live);
	CHECK_EQ(holder_held(&w.holder), 1);
	live_tcp_close(&w.live, number);
	CHECK_EQ(recv(peer, &byte, 1, 0), 0);
	CHECK_EQ(send(peer, "x", 1, MSG_NOSIGNAL), 1);
	CHECK_EQ(epoll_wait(w.live.epoll, events, 4, 0), 0);
	live_holder_flush(&w.live, w.now_us);
	holder_run(&w.holder);
	CHECK_EQ(holder_held(&w.holder), 0);
	close(peer);
	worker_end(&w);
}

/* A new holder may have read what was sent to the one before it: it is told of every end. */
TEST(a_connection_that_waits_to_be_sent_again_is_released_all_the_same)
{
	struct worker w;
	int peer;

	worker_begin(&w);
	uint32_t number = accept_one(&w, &peer);
	grow_up(&w);
	holder_run(&w.holder); /* takes it, says that it is here */
	live_holder_receive(&w.live);
	CHECK(live_socket(&w.live, number)->waits);
	live_tcp_close(&w.live, number);
	grow_up(&w);
	holder_run(&w.holder);
	CHECK_EQ(holder_held(&w.holder), 0);
	close(peer);
	worker_end(&w);
}

/* What a full pair does not take waits, in order and without loss, and is counted. */
TEST(a_holder_that_takes_nothing_for_a_while_misses_nothing)
{
	enum { MANY = 1000 };
	static int peers[MANY];
	static uint32_t numbers[MANY];
	struct worker w;
	int before = open_descriptors(), least = 1, rounds = 0;

	worker_begin(&w);
	CHECK(!setsockopt(w.pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)));
	for (int i = 0; i < MANY; i++)
		numbers[i] = accept_one(&w, &peers[i]);
	grow_up(&w);
	live_holder_flush(&w.live, w.now_us + 10000);
	CHECK(w.live.holder.waits > 0);
	/* half of them end meanwhile, some of them sent, most of them not */
	for (int i = 0; i < MANY; i += 2)
		live_tcp_close(&w.live, numbers[i]);
	while (holder_held(&w.holder) != MANY / 2 || w.live.holder.released_count) {
		CHECK(rounds++ < ROUNDS_MAX);
		holder_run(&w.holder);
		grow_up(&w);
	}
	CHECK_EQ(w.live.holder.held, MANY / 2);
	for (int i = 1; i < MANY; i += 2)
		live_tcp_close(&w.live, numbers[i]);
	while (holder_held(&w.holder)) {
		CHECK(rounds++ < ROUNDS_MAX);
		grow_up(&w);
		holder_run(&w.holder);
	}
	CHECK_EQ(w.holder.refused, 0);
	for (int i = 0; i < MANY; i++)
		close(peers[i]);
	worker_end(&w);
	CHECK_EQ(open_descriptors(), before);
}

/* Numbers of adopted connections and of new ones never meet. */
TEST(a_socket_gets_the_number_it_had)
{
	struct worker w;
	uint32_t seen[64] = {0};
	int peer[64], fd[2];

	worker_begin(&w);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	CHECK(live_add_socket_at(&w.live, 20, fd[0], LIVE_CONNECTION, 1));
	CHECK(!live_add_socket_at(&w.live, 20, fd[1], LIVE_CONNECTION, 1));
	CHECK(!live_add_socket_at(&w.live, 0, fd[1], LIVE_CONNECTION, 1));
	CHECK(!live_add_socket_at(&w.live, LIVE_SOCKETS_MAX, fd[1], LIVE_CONNECTION, 1));
	CHECK(live_add_socket_at(&w.live, 7, fd[1], LIVE_CONNECTION, 1)); /* from the free ones */
	for (int i = 0; i < 64; i++) {
		uint32_t number = accept_one(&w, &peer[i]);

		CHECK(number != 20 && number != 7);
		for (int k = 0; k < i; k++)
			CHECK(seen[k] != number);
		seen[i] = number;
		if (i == 30) { /* and one that is free again is given once */
			live_tcp_close(&w.live, 7);
			uint32_t again = accept_one(&w, &fd[0]);
			CHECK_EQ(again, 7);
			close(fd[0]);
		}
	}
	live_tcp_close(&w.live, 7);
	live_tcp_close(&w.live, 20);
	for (int i = 0; i < 64; i++) {
		live_tcp_close(&w.live, seen[i]);
		close(peer[i]);
	}
	worker_end(&w);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that makes tags and writes them to viewers is killed, hundreds of times, wherever it
 * happens to be. Its successors find log, desk and views in shared memory and hear from the sockets
 * how much has gone out: what viewers get is one unbroken file.
 *
 *   test: puts pictures ──> forks ──> (SIGKILL some µs later) ──> reads the sockets ──> recovers ──┐
 *              └──────────────────────────────────────────────────────────────────────────────────┘
 */
#include "tests/unit/flv_viewers.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	KILLS = 300,
	FRAMES = 3,	 /* at a time */
	WRITE_MAX = 600, /* bytes a write takes at most, but every other one: most end in a tag */
	LIFE_US = 200,	 /* of the first one; then as long as some are too long and some not */
};

/* Two of each: they share runs. */
static const struct flv_framing *const ways[] = {&flv_as_file, &flv_as_file, &flv_as_messages,
	&flv_as_messages, &flv_as_chunks, &flv_as_chunks};

enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

/* Seen by all processes. */
struct stage {
	atomic_bool done;
	atomic_uint shared; /* writes by runs */
	struct flv_view view[WAYS];
};

static struct stage *stage;
static struct viewer viewers[WAYS]; /* their bytes, as they arrived */
static int ends[WAYS][2];	    /* sockets: the writer's, the viewer's */

/* ---- the process that dies --------------------------------------------------------------------- */

static void write_all(int way, struct rng *rng)
{
	struct flv_view *view = &stage->view[way];
	struct flv_batch batch;

	for (;;) {
		flv_view_fill(view, ways[way], arena, tags, desk, &batch);
		if (!batch.count)
			return;
		struct msghdr message = {.msg_iov = batch.iov};
		size_t room = rng_below(rng, 2) ? 1 + rng_below(rng, WRITE_MAX) : SIZE_MAX;

		stage->shared += batch.shared_last != 0;

		for (; message.msg_iovlen < batch.count && room; message.msg_iovlen++) {
			struct iovec *piece = &batch.iov[message.msg_iovlen];

			piece->iov_len = piece->iov_len < room ? piece->iov_len : room;
			room -= piece->iov_len;
		}
		ssize_t sent = sendmsg(ends[way][0], &message, MSG_DONTWAIT | MSG_NOSIGNAL);

		flv_view_sent(view, ways[way], arena, tags, &batch, sent > 0 ? (size_t)sent : 0);
		if (sent <= 0)
			return;
	}
}

_Noreturn static void live(uint64_t seed, int64_t life_us)
{
	struct sigevent killed = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
	struct itimerspec then = {
		.it_value = {.tv_sec = life_us / 1000000, .tv_nsec = life_us % 1000000 * 1000 + 1}
	  };
	struct rng rng = rng_of(seed);
	timer_t timer;

	MUST(!timer_create(CLOCK_MONOTONIC, &killed, &timer));
	MUST(!timer_settime(timer, 0, &then, NULL));
	run();
	for (int way = 0; way < WAYS; way++)
		write_all(way, &rng);
	stage->done = true;
	for (;;)
		pause();
}

/* ---- the one that stays ------------------------------------------------------------------------ */

/* True when it was still at work. */
static bool live_and_die(uint64_t seed, int64_t life_us)
{
	int status;
	pid_t child;

	stage->done = false;
	child = test_fork();
	CHECK(child >= 0);
	if (!child)
		live(seed, life_us);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return !stage->done;
}

static void read_all(void)
{
	for (int way = 0; way < WAYS; way++) {
		struct viewer *v = &viewers[way];
		ssize_t size;

		while ((size = recv(ends[way][1], v->out + v->size, OUT_MAX - v->size,
				MSG_DONTWAIT)) > 0)
			v->size += (size_t)size;
	}
}

static void recover(void)
{
	arena_detach(&arena);
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	arena_recount_begin(arena);
	source = arena_get(arena, ARENA_LOG, source_ref);
	tags = arena_get(arena, ARENA_LOG, tags_ref);
	CHECK(flv_desk_recover(desk, tags));
	CHECK(media_log_get(arena, tags_ref) == tags);
	CHECK(arena_hold_again(arena, ARENA_LOG, source_ref));
	CHECK(arena_hold_again(arena, ARENA_LOG, tags_ref));
	media_log_recount(arena, source);
	media_log_recount(arena, tags);
	for (int way = 0; way < WAYS; way++)
		CHECK_OK(flv_view_restore(&stage->view[way], arena));
	arena_recount_end(arena);
	for (int way = 0; way < WAYS; way++)
		CHECK_OK(flv_view_resolve(&stage->view[way], ways[way], arena, tags,
			viewers[way].size - stage->view[way].at.out));
}

static void open_ways(void)
{
	stage = share(sizeof(*stage));
	for (int way = 0; way < WAYS; way++) {
		viewer_begin(&viewers[way]);
		stage->view[way].channel = 1;
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[way]), 0);
	}
}

static void close_ways(void)
{
	for (int way = 0; way < WAYS; way++) {
		flv_view_release(&stage->view[way], arena);
		viewer_end(&viewers[way]);
		close(ends[way][0]);
		close(ends[way][1]);
	}
	munmap(stage, sizeof(*stage));
}

TEST(a_process_killed_anywhere_leaves_viewers_an_unbroken_file)
{
	struct rng rng = rng_of(5);
	int64_t life_us = LIFE_US;
	unsigned at_work = 0;
	bool hit = false;

	sharing = MAP_SHARED;
	begin();
	set_tracks(true);
	open_ways();
	for (int i = 0; i < KILLS; i++) {
		/* when all is out: who lags is sent less */
		for (int j = 0; j < FRAMES && !hit; j++)
			put_frame(0, true);
		hit = live_and_die(rng_u64(&rng), (int64_t)rng_below(&rng, (uint64_t)life_us + 1));
		at_work += hit;
		life_us += hit ? life_us / 16 + 1 : -(life_us / 8);
		read_all();
		recover();
	}
	CHECK_GE(at_work, KILLS / 4);
	CHECK_GE(stage->shared, KILLS / 10);
	while (live_and_die(rng_u64(&rng), LIFE_US * 1000))
		;
	read_all();
	recover();
	for (int way = 0; way < WAYS; way++) {
		struct seen seen;

		framing = ways[way];
		CHECK_EQ(viewers[way].size, stage->view[way].at.out);
		viewer_read(&viewers[way], &seen);
		CHECK_EQ(seen.holes, 0);
		/* whichever keyframe a viewer's first life began at */
		CHECK_GE(seen.video, frames - 4 * GOP);
		CHECK_EQ(seen.audio, seen.video);
		CHECK_EQ(seen.last_ms, (seen.video - 1) * FRAME_US / 1000);
	}
	close_ways();
	end();
}

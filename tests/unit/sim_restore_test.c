/* SPDX-License-Identifier: Apache-2.0
 *
 * Takeover in small: every actor of every process of a simulated node is written down, and another
 * process (this program, exec'ed again) brings it back from those bytes and the arena's memfd,
 * mapped at another address. What it writes down again must be the same.
 */
#include "cluster/cluster.h"
#include "runtime/kernel.h"
#include "tests/sim/sim.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ESCROW_SIZE = 1 << 20, ESCROW_FD = 200, ARENA_FD = 201, SLOT_MAX = 5 };

/* What the dead process leaves behind, in front of the encoded actors. */
struct escrow {
	uint64_t block;
	uint32_t process;
	uint8_t role;
	bool has_arena;
	uint32_t actors;
	uint32_t sizes[64];
	uintptr_t arena_was_at;
};

static int64_t any_now_us(void *context)
{
	(void)context;
	return 5000000000;
}

static void any_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 7, size);
}

static enum err no_bus(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	(void)parts;
	(void)count;
	return ERR_AGAIN;
}

static const struct runtime_ops successor_ops = {
	.now_us = any_now_us, .wall_us = any_now_us, .random = any_random, .bus_send = no_bus};

static bool any_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static void restore_all(struct runtime *rt, struct arena *arena, const struct escrow *escrow)
{
	const uint8_t *at = (const uint8_t *)(escrow + 1);

	if (arena)
		arena_recount_begin(arena);
	for (uint32_t i = 0; i < escrow->actors; at += escrow->sizes[i++]) {
		struct reader in = reader_of(at, escrow->sizes[i]);

		CHECK_OK(runtime_restore_actor(rt, &in));
		CHECK_EQ(reader_left(&in), 0);
	}
	if (arena)
		CHECK_EQ(arena_recount_end(arena), 0);
}

static void compare_all(struct runtime *rt, const struct escrow *escrow)
{
	static uint8_t again[ESCROW_SIZE];
	const uint8_t *at = (const uint8_t *)(escrow + 1);
	struct actor *actor = NULL;

	for (uint32_t i = 0; i < escrow->actors; at += escrow->sizes[i++]) {
		struct writer out = writer_of(again, sizeof(again));

		actor = runtime_next_actor(rt, actor);
		CHECK(actor != NULL);
		/* these two ask the store and the workers anew */
		if (actor->type == &directory_actor || actor->type == &placement_actor)
			continue;
		CHECK_OK(runtime_encode_actor(actor, &out));
		CHECK_EQ(writer_used(&out), escrow->sizes[i]);
		CHECK_MEM(again, at, escrow->sizes[i]);
	}
}

/* Runs in the exec'ed process; in the first one there is nothing to do. */
TEST(the_successor)
{
	struct log_sink sink = {.now_us = any_now_us, .write = any_log};
	struct arena *arena = NULL;
	struct runtime *rt = NULL;
	struct log log;

	if (!getenv("MILLRACE_TEST_SUCCESSOR"))
		return;
	const struct escrow *escrow = mmap(NULL, ESCROW_SIZE, PROT_READ, MAP_SHARED, ESCROW_FD, 0);

	CHECK(escrow != MAP_FAILED);
	if (escrow->has_arena) {
		/* the old place is taken, so that it must be another one */
		mmap((void *)escrow->arena_was_at, 4096, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		CHECK_OK(arena_map(ARENA_FD, &arena));
		CHECK_OK(arena_take_fence(arena));
		CHECK((uintptr_t)arena_send_area(arena) != escrow->arena_was_at);
	}
	log_init(&log, "successor", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	CHECK_OK(runtime_create(&(struct runtime_options){.ops = &successor_ops,
					.log = &log,
					.arena = arena,
					.node = SIM_NODE,
					.block = escrow->block,
					.process = escrow->process + 1000,
					.role = escrow->role,
					.types = sim_types},
		&rt));
	restore_all(rt, arena, escrow);
	compare_all(rt, escrow);
	runtime_restore_end(rt);
	sim_silence_clients(rt);
	runtime_destroy(&rt);
	arena_detach(&arena);
}

static void write_escrow(struct sim_process *process, uint8_t *bytes)
{
	struct escrow *escrow = (void *)bytes;
	struct writer out = writer_of(bytes + sizeof(*escrow), ESCROW_SIZE - sizeof(*escrow));

	*escrow = (struct escrow){.block = process->block,
		.process = process->incarnation,
		.role = process->role,
		.has_arena = process->arena != NULL};
	if (process->arena)
		escrow->arena_was_at = (uintptr_t)arena_send_area(process->arena);
	for (struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		size_t before = writer_used(&out);

		CHECK(escrow->actors < 64);
		CHECK_OK(runtime_encode_actor(actor, &out));
		escrow->sizes[escrow->actors++] = (uint32_t)(writer_used(&out) - before);
	}
}

static int run_successor(int escrow_fd, int arena_fd)
{
	int status = -1;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		char *const argv[] = {"successor", "the_successor", NULL};

		dup2(escrow_fd, ESCROW_FD);
		if (arena_fd >= 0)
			dup2(arena_fd, ARENA_FD);
		setenv("MILLRACE_TEST_SUCCESSOR", "1", 1);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

static int memfd_of(const void *bytes, size_t size)
{
	int fd = memfd_create("escrow", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(write(fd, bytes, size) == (ssize_t)size);
	return fd;
}

TEST(every_actor_is_restored_in_another_process)
{
	struct sim_options options = {.seed = 4, .scenario = "calm"};
	struct sim *sim = sim_create(&options);
	static uint8_t bytes[ESCROW_SIZE];
	uint32_t actors = 0;

	sim_begin(sim);
	sim_run_until(sim, sim->now_us + 1800 * SIM_MS);
	for (uint32_t slot = 0; slot < SLOT_MAX; slot++) {
		struct sim_process *process = &sim->processes[slot];
		int arena_fd = -1;

		write_escrow(process, bytes);
		if (process->arena)
			arena_fd = memfd_of(process->memory, process->memory_size);
		int escrow_fd = memfd_of(bytes, sizeof(bytes));

		CHECK_EQ(run_successor(escrow_fd, arena_fd), 0);
		actors += ((struct escrow *)(void *)bytes)->actors;
		close(escrow_fd);
		if (arena_fd >= 0)
			close(arena_fd);
	}
	CHECK(actors > 15);
	sim_destroy(&sim);
}

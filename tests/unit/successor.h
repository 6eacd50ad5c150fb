/* SPDX-License-Identifier: Apache-2.0
 *
 * Takeover in small: the actors of a runtime are written down, and another process (this program,
 * exec'ed again) brings them back from those bytes and the arena's memfd, mapped at another address.
 * What they write down again must be the same.
 *
 *   test:  successor_run(kit, rt, memory, size) --memfds, exec--> TEST(the_successor)
 *          … successor_check_rows(kit)                            { successor_main(&kit); }
 */
#ifndef MILLRACE_SUCCESSOR_H
#define MILLRACE_SUCCESSOR_H

#include "runtime/kernel.h"
#include "tests/test.h"
#include "tests/unit/restore_rows.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SUCCESSOR_ESCROW_SIZE = 1 << 20,
	SUCCESSOR_ESCROW_FD = 200,
	SUCCESSOR_ARENA_FD = 201,
	SUCCESSOR_ACTORS_MAX = 64,
	SUCCESSOR_ROWS_MAX = 32,
	SUCCESSOR_STATE_MAX = 1 << 20,
};

struct successor_row {
	const struct actor_type *type;
	/* NULL: the same bytes. Else it begins something anew: what must be equal of its struct. */
	void (*same)(const void *before, const void *now);
};

#define SUCCESSOR_ROW(type, same) {&(type), same},

/* How the other process stands up; a constant of the test program. */
struct successor_kit {
	const struct successor_row *rows; /* types written down; the last has none */
	const struct runtime_ops *ops;
	const struct config *config;	      /* NULL = none */
	void (*around)(struct runtime *rt);   /* spawns who they knew and is not written down */
	void (*going_on)(struct runtime *rt); /* all are back; NULL = nothing to look at */
};

/* What the dead process leaves behind, in front of the encoded actors. */
struct successor_escrow {
	uint64_t node, block;
	uint32_t process;
	uint8_t role;
	bool has_arena;
	uint32_t orphans; /* slots in use whose owners are none of the actors written down */
	uint32_t actors;
	uint32_t sizes[SUCCESSOR_ACTORS_MAX];
	uintptr_t arena_was_at;
};

/* ---- the other process ----------------------------------------------------------------------- */

static int64_t successor_now_us(void *context)
{
	(void)context;
	return 5000000000;
}

static void successor_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 7, size);
}

static enum err successor_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	(void)parts;
	(void)count;
	return ERR_AGAIN;
}

static void successor_local_addr(void *context, uint32_t socket, struct net_addr *addr)
{
	(void)context;
	(void)socket;
	*addr = (struct net_addr){
		.family = 4, .port = 8000, .ip = {127, 0, 0, 1}
	       };
}

/* For actors without sockets, or that do without for a moment. */
__attribute__((unused)) static const struct runtime_ops successor_ops = {
	.now_us = successor_now_us,
	.wall_us = successor_now_us,
	.random = successor_random,
	.bus_send = successor_bus_send,
	.net_local_addr = successor_local_addr,
};

static bool successor_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static const struct successor_row *successor_row_of(
	const struct successor_kit *kit, const char *type)
{
	for (const struct successor_row *row = kit->rows; row->type; row++)
		if (!strcmp(row->type->name, type))
			return row;
	return NULL;
}

static void successor_restore_all(
	struct runtime *rt, struct arena *arena, const struct successor_escrow *escrow)
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
		CHECK_EQ(arena_recount_end(arena), escrow->orphans);
}

static void successor_compare(
	struct runtime *rt, const struct successor_kit *kit, const uint8_t *bytes, uint32_t size)
{
	static uint8_t again[SUCCESSOR_ESCROW_SIZE];
	static _Alignas(64) uint8_t before[SUCCESSOR_STATE_MAX];
	struct writer out = writer_of(again, sizeof(again));
	struct reader in = reader_of(bytes, size), hot = kernel_hot_of(&in);
	struct actor_record record;
	const struct successor_row *row;
	struct actor *actor;

	CHECK_OK(schema_decode(&schema_actor_record, &in, &record));
	row = successor_row_of(kit, record.type);
	actor = runtime_find(rt, record.id);
	CHECK(actor && row && actor->type == row->type);
	CHECK_STR(actor_name(actor), record.name);
	CHECK_EQ(actor->parent, record.parent);
	if (row->same) {
		CHECK_LE(row->type->size, sizeof(before));
		memset(before, 0, row->type->size);
		CHECK_OK(schema_decode(row->type->state, &in, before));
		CHECK_OK(schema_decode_more(row->type->state, &hot, before));
		row->same(before, actor_data(actor));
		return;
	}
	CHECK_OK(runtime_encode_actor(actor, &out));
	CHECK_EQ(writer_used(&out), size);
	CHECK_MEM(again, bytes, size);
}

static struct arena *successor_map_arena(const struct successor_escrow *escrow)
{
	struct arena *arena = NULL;

	if (!escrow->has_arena)
		return NULL;
	/* the old place is taken, so that it must be another one */
	mmap((void *)escrow->arena_was_at, 4096, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK_OK(arena_map(SUCCESSOR_ARENA_FD, &arena));
	CHECK_OK(arena_take_fence(arena, 1000, NULL));
	CHECK((uintptr_t)arena_send_area(arena) != escrow->arena_was_at);
	return arena;
}

/* The whole of TEST(the_successor): in the first process there is nothing to do. */
static void successor_main(const struct successor_kit *kit)
{
	const struct actor_type *types[SUCCESSOR_ROWS_MAX + 1] = {NULL};
	struct log_sink sink = {.now_us = successor_now_us, .write = successor_log};
	struct runtime *rt = NULL;
	struct arena *arena;
	struct log log;

	if (!getenv("MILLRACE_TEST_SUCCESSOR"))
		return;
	const struct successor_escrow *escrow =
		mmap(NULL, SUCCESSOR_ESCROW_SIZE, PROT_READ, MAP_SHARED, SUCCESSOR_ESCROW_FD, 0);
	const uint8_t *at = (const uint8_t *)(escrow + 1);

	CHECK(escrow != MAP_FAILED);
	arena = successor_map_arena(escrow);
	for (size_t i = 0; kit->rows[i].type; i++) {
		CHECK(i < SUCCESSOR_ROWS_MAX);
		types[i] = kit->rows[i].type;
	}
	log_init(&log, "successor", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	CHECK_OK(runtime_create(&(struct runtime_options){.ops = kit->ops,
					.config = kit->config,
					.log = &log,
					.arena = arena,
					.node = escrow->node,
					.block = escrow->block,
					.process = escrow->process + 1000,
					.role = escrow->role,
					.types = types},
		&rt));
	successor_restore_all(rt, arena, escrow);
	CHECK_EQ(runtime_actor_count(rt), escrow->actors);
	for (uint32_t i = 0; i < escrow->actors; at += escrow->sizes[i++])
		successor_compare(rt, kit, at, escrow->sizes[i]);
	if (kit->around)
		kit->around(rt);
	runtime_restore_end(rt);
	if (kit->going_on)
		kit->going_on(rt);
	runtime_destroy(&rt);
	arena_detach(&arena);
}

/* ---- the process that is left ---------------------------------------------------------------- */

static unsigned successor_written[SUCCESSOR_ROWS_MAX]; /* actors, by row */

static void successor_write(
	const struct successor_kit *kit, struct runtime *rt, uint32_t orphans, uint8_t *bytes)
{
	const struct runtime_options *options = runtime_options(rt);
	struct successor_escrow *escrow = (void *)bytes;
	struct writer out =
		writer_of(bytes + sizeof(*escrow), SUCCESSOR_ESCROW_SIZE - sizeof(*escrow));

	*escrow = (struct successor_escrow){.node = options->node,
		.block = options->block,
		.process = options->process,
		.role = options->role,
		.has_arena = options->arena != NULL,
		.orphans = orphans};
	if (options->arena)
		escrow->arena_was_at = (uintptr_t)arena_send_area(options->arena);
	for (struct actor *actor = rt->oldest; actor; actor = actor->next) {
		const struct successor_row *row = successor_row_of(kit, actor->type->name);
		size_t before = writer_used(&out);

		if (!row || row->type != actor->type)
			continue;
		CHECK(escrow->actors < SUCCESSOR_ACTORS_MAX);
		CHECK_OK(runtime_encode_actor(actor, &out));
		escrow->sizes[escrow->actors++] = (uint32_t)(writer_used(&out) - before);
		successor_written[row - kit->rows]++;
	}
}

static int successor_memfd(const void *bytes, size_t size)
{
	int fd = memfd_create("escrow", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(write(fd, bytes, size) == (ssize_t)size);
	return fd;
}

static int successor_exec(int escrow_fd, int arena_fd)
{
	int status = -1;
	pid_t child;

	fflush(NULL);
	child = test_fork();
	if (child == 0) {
		char *const argv[] = {"successor", "the_successor", NULL};

		dup2(escrow_fd, SUCCESSOR_ESCROW_FD);
		if (arena_fd >= 0)
			dup2(arena_fd, SUCCESSOR_ARENA_FD);
		setenv("MILLRACE_TEST_SUCCESSOR", "1", 1);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

/* Brings the actors of `rt` whose types have a row back elsewhere; `memory` is its arena's (NULL
 * without one). The runtime itself is not touched. Returns how many they were. */
static uint32_t successor_run(const struct successor_kit *kit, struct runtime *rt,
	const void *memory, size_t memory_size, uint32_t orphans)
{
	static _Alignas(64) uint8_t bytes[SUCCESSOR_ESCROW_SIZE];
	int arena_fd = memory ? successor_memfd(memory, memory_size) : -1;
	int escrow_fd;

	successor_write(kit, rt, orphans, bytes);
	escrow_fd = successor_memfd(bytes, sizeof(bytes));
	CHECK_EQ(successor_exec(escrow_fd, arena_fd), 0);
	close(escrow_fd);
	if (arena_fd >= 0)
		close(arena_fd);
	return ((struct successor_escrow *)(void *)bytes)->actors;
}

/* Each type that has a row was there at least once. */
static void successor_check_rows(const struct successor_kit *kit)
{
	for (size_t i = 0; kit->rows[i].type; i++)
		if (!successor_written[i])
			fail_msg("no %s was written down", kit->rows[i].type->name);
}

#endif

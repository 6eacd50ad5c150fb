/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of actors that serve TCP: one worker in the real kernel under virtual time, and one
 * client that is made of bytes. What the client sends lies in `wire`, what it got in `answers`.
 */
#ifndef MILLRACE_TESTS_TCP_WORKER_H
#define MILLRACE_TESTS_TCP_WORKER_H

#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/test.h"

#include <stdlib.h>

enum {
	LISTENER = 1,
	SOCKET = 2,
	WIRE_SIZE = 512 * 1024,
	ANSWER_SIZE = 1 << 20,
	TURNS = 12, /* enough for a question and its answer through three actors */
};

static int64_t now_us;
static uint8_t wire[WIRE_SIZE];
static size_t wire_at, wire_end;
static size_t read_most;	  /* bytes that a read gives at most */
static char answers[ANSWER_SIZE]; /* with a NUL behind it */
static size_t answer_size;
static size_t write_room; /* bytes that the socket still takes */
static bool hung_up;	  /* the client has closed */
static bool closed;	  /* the worker has */
static uint64_t socket_owner;
static unsigned wanted; /* enum net_event */

static struct runtime *rt;
static struct arena *arena;
static struct escrow *escrow; /* of the arena, when `keeps` was set before worker_begin */
static bool keeps;
static void *memory;
static size_t memory_size;
static struct log quiet;
static enum net_given listens;	     /* the only listener that the worker was given */
static uint8_t role = PROCESS_MEDIA; /* CONTROL: with the offices of the control process in it */

/* ---- below the runtime ----------------------------------------------------------------------- */

static int64_t op_now_us(void *context)
{
	(void)context;
	return now_us;
}

static int64_t op_wall_us(void *context)
{
	(void)context;
	return INT64_C(1790000000000000) + now_us;
}

static void op_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 0x5a, size);
}

static enum err op_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context, (void)process, (void)parts, (void)count;
	return ERR_OK;
}

static uint32_t op_net_take(void *context, uint64_t owner, enum net_given what)
{
	(void)context, (void)owner;
	return what == listens ? LISTENER : 0;
}

static void op_net_give(void *context, uint32_t socket, uint64_t owner)
{
	(void)context, (void)socket;
	socket_owner = owner;
}

static long op_net_read(void *context, uint32_t socket, void *buffer, size_t size)
{
	size_t left = wire_end - wire_at;

	(void)context;
	if (socket != SOCKET || closed)
		return -2;
	if (!left)
		return hung_up ? 0 : -1;
	size = size < left ? size : left;
	size = size < read_most ? size : read_most;
	memcpy(buffer, wire + wire_at, size);
	wire_at += size;
	return (long)size;
}

static long op_net_write(void *context, uint32_t socket, const struct iovec *parts, size_t count)
{
	long taken = 0;

	(void)context;
	if (socket != SOCKET || closed)
		return -2;
	for (size_t i = 0; i < count; i++) {
		size_t size = parts[i].iov_len < write_room ? parts[i].iov_len : write_room;

		CHECK(answer_size + size < sizeof(answers));
		memcpy(answers + answer_size, parts[i].iov_base, size);
		answer_size += size;
		write_room -= size;
		taken += (long)size;
	}
	answers[answer_size] = 0;
	return taken ? taken : -1;
}

static void op_net_want(void *context, uint32_t socket, unsigned events)
{
	(void)context, (void)socket;
	wanted = events;
}

static void op_net_close(void *context, uint32_t socket)
{
	(void)context;
	if (socket == SOCKET)
		closed = true;
}

static void op_net_listen_pause(void *context, uint32_t listener, bool paused)
{
	(void)context, (void)listener, (void)paused;
}

static const struct runtime_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.bus_send = op_bus_send,
	.net_take = op_net_take,
	.net_give = op_net_give,
	.net_read = op_net_read,
	.net_write = op_net_write,
	.net_want = op_net_want,
	.net_close = op_net_close,
	.net_listen_pause = op_net_listen_pause,
};

/* ---- the worker ------------------------------------------------------------------------------ */

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context, (void)line, (void)size;
	return true;
}

/* A process on the arena that is there: the first, or a successor. */
static void start_runtime(uint32_t process, const struct actor_type *const *types)
{
	struct log_sink sink = {.now_us = op_wall_us, .write = log_nothing};
	struct runtime_options options = {.ops = &ops,
		.log = &quiet,
		.arena = arena,
		.escrow = escrow,
		.node = 1,
		.block = process,
		.process = process,
		.role = role,
		.types = types};

	log_init(&quiet, "test", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, &sink);
	CHECK_OK(runtime_create(&options, &rt));
}

static void worker_begin(const struct arena_layout *layout, enum net_given what,
	const struct actor_type *const *types)
{
	struct arena_layout small = *layout;

	small.escrow = (struct escrow_layout){.actors = 256, .blocks = 1024};
	now_us = 1000000;
	wire_at = wire_end = answer_size = 0;
	answers[0] = 0;
	read_most = write_room = SIZE_MAX;
	hung_up = closed = false;
	wanted = 0;
	listens = what;
	memory_size = arena_size(&small);
	memory = aligned_alloc(4096, memory_size);
	memset(memory, 0, memory_size);
	arena_format(memory, &small);
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	if (keeps)
		CHECK_OK(arena_escrow(arena, &escrow));
	start_runtime(1, types);
}

/* After runtime_destroy. */
static void worker_end(void)
{
	escrow_detach(&escrow);
	keeps = false;
	arena_detach(&arena);
	free(memory);
}

static void turn(unsigned events)
{
	if (events && runtime_find(rt, socket_owner))
		runtime_net_tcp(rt, socket_owner, SOCKET, events);
	for (int i = 0; i < TURNS; i++)
		runtime_turn(rt);
}

static void run_ms(int64_t ms)
{
	now_us += ms * 1000;
	runtime_tick(rt);
	turn(0);
}

#endif

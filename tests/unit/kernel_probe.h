/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the actor kernel: a little world of runtimes of one node whose bus is a queue in this
 * program, and probes in it.
 */
#ifndef MILLRACE_KERNEL_PROBE_H
#define MILLRACE_KERNEL_PROBE_H

#include "tests/unit/probe_actor.h"

#include <stdlib.h>

enum { WORLD_PROCESSES = 3, WORLD_FRAMES = 4096, NODE = 7 };

struct world_frame {
	uint32_t from, to;
	size_t size;
	uint8_t *bytes;
};

struct world {
	int64_t now_us;
	uint64_t random;
	struct runtime *rt[WORLD_PROCESSES];
	struct log log[WORLD_PROCESSES];
	struct world_frame frames[WORLD_FRAMES];
	size_t frame_count;
	bool full; /* the bus takes nothing */
};

static struct world *the_world; /* tests run one after the other */

/* ---- world ------------------------------------------------------------------------------------- */

static int64_t world_now_us(void *context)
{
	(void)context;
	return the_world->now_us;
}

static void world_random(void *context, void *bytes, size_t size)
{
	(void)context;
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)(++the_world->random * 37);
}

static enum err world_send(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	uint32_t from = (uint32_t)(uintptr_t)context;
	struct world_frame *frame = &the_world->frames[the_world->frame_count];

	if (the_world->full || the_world->frame_count == WORLD_FRAMES)
		return ERR_AGAIN;
	*frame = (struct world_frame){
		.from = from, .to = process, .bytes = malloc(RUNTIME_FRAME_MAX)};
	if (!frame->bytes)
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++) {
		memcpy(frame->bytes + frame->size, parts[i].iov_base, parts[i].iov_len);
		frame->size += parts[i].iov_len;
	}
	the_world->frame_count++;
	return ERR_OK;
}

static const struct runtime_ops world_ops = {
	.now_us = world_now_us,
	.wall_us = world_now_us,
	.random = world_random,
	.bus_send = world_send,
};

static bool world_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static struct runtime_options world_options(struct world *world, uint32_t process)
{
	struct log_sink sink = {.now_us = world_now_us, .write = world_log};

	log_init(&world->log[process - 1], "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	return (struct runtime_options){
		.ops = &world_ops,
		.context = (void *)(uintptr_t)process,
		.log = &world->log[process - 1],
		.node = NODE,
		.block = 100 + process,
		.process = process,
		.role = process == 1 ? PROCESS_CONTROL : PROCESS_MEDIA,
		.types = probe_types,
	};
}

static struct runtime_peer_info world_info(uint32_t process)
{
	return (struct runtime_peer_info){.process = process,
		.block = 100 + process,
		.role = process == 1 ? PROCESS_CONTROL : PROCESS_MEDIA};
}

/* Processes 1 .. count, which know each other. */
static struct world *world_create(uint32_t count)
{
	struct world *world = calloc(1, sizeof(*world));

	the_world = world;
	world->now_us = 1000000;
	for (uint32_t process = 1; process <= count; process++) {
		struct runtime_options options = world_options(world, process);

		CHECK_OK(runtime_create(&options, &world->rt[process - 1]));
	}
	for (uint32_t a = 1; a <= count; a++) {
		for (uint32_t b = 1; b <= count; b++) {
			struct runtime_peer_info info = world_info(b);

			if (a != b)
				CHECK_OK(runtime_peer_up(world->rt[a - 1], &info));
		}
	}
	return world;
}

static void world_drop_frames(struct world *world)
{
	while (world->frame_count)
		free(world->frames[--world->frame_count].bytes);
}

/* Hands over what is on the bus, once. */
static void world_deliver(struct world *world)
{
	size_t count = world->frame_count;
	struct world_frame frames[64];

	while (count) {
		size_t now = count < 64 ? count : 64;

		memcpy(frames, world->frames, now * sizeof(frames[0]));
		memmove(world->frames, world->frames + now,
			(world->frame_count - now) * sizeof(frames[0]));
		world->frame_count -= now;
		count -= now;
		for (size_t i = 0; i < now; i++) {
			if (frames[i].to <= WORLD_PROCESSES && world->rt[frames[i].to - 1])
				runtime_bus_frame(world->rt[frames[i].to - 1], frames[i].bytes,
					frames[i].size);
			free(frames[i].bytes);
		}
	}
}

static void world_run_ms(struct world *world, int ms)
{
	for (int i = 0; i < ms * 2; i++) {
		world->now_us += 500;
		for (int p = 0; p < WORLD_PROCESSES; p++)
			if (world->rt[p])
				runtime_turn(world->rt[p]);
		world_deliver(world);
	}
}

static void world_destroy(struct world *world)
{
	for (int p = 0; p < WORLD_PROCESSES; p++)
		runtime_destroy(&world->rt[p]);
	world_drop_frames(world);
	free(world);
	the_world = NULL;
}

static struct addr world_spawn(
	struct world *world, uint32_t process, struct actor *parent, const struct probe_args *args)
{
	struct addr addr = {0};

	CHECK_OK(actor_spawn(world->rt[process - 1], parent, &probe_actor, args, &addr));
	return addr;
}

static struct actor *world_actor(struct world *world, struct addr addr)
{
	for (int p = 0; p < WORLD_PROCESSES; p++) {
		struct actor *actor = world->rt[p] ? runtime_find(world->rt[p], addr.id) : NULL;

		if (actor)
			return actor;
	}
	return NULL;
}

static struct probe *world_probe(struct world *world, struct addr addr)
{
	struct actor *actor = world_actor(world, addr);

	assert_non_null(actor);
	return actor_data(actor);
}

#endif

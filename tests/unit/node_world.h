/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of mail between nodes: a few nodes, each a control process and two workers, whose bus and
 * whose ways from gateway to gateway are one queue in this program, and probes in them.
 */
#ifndef MILLRACE_NODE_WORLD_H
#define MILLRACE_NODE_WORLD_H

#include "tests/unit/probe_actor.h"

#include <stdlib.h>

#ifndef LAND_NODES
#define LAND_NODES 3
#endif
enum { LAND_PROCESSES = 3, LAND_FRAMES = 4096, CONTROL = 0 };
enum { LAND_NODE_ID = 70 }; /* of node 0 */

/* What a test of actors changes before land_create: they need more than probes do. */
static struct arena_layout land_layout = {
	.count = {16,  1,	 1, 1},
	.size = {sizeof(struct packet),	64,	    64, 64},
	.escrow = {.actors = 1024,.blocks = 4096},
};

/* The same; NULL: none. Nodes may differ. */
static const struct config *land_config[LAND_NODES];
static const struct process_env *land_env[LAND_NODES];
static bool land_keeps_memory = true; /* of a worker that dies, for its successor */

struct place {
	unsigned node, slot;
	uint32_t process; /* of its line; 0 = there is none */
	struct runtime *rt;
	struct log log;
	void *memory; /* of a worker */
	struct arena *arena;
	struct escrow *escrow;
};

struct land_frame {
	struct place *from, *to;
	uint32_t process; /* that it is for */
	bool between_nodes;
	int64_t sent_us;
	size_t size;
	uint8_t *bytes;
};

struct land {
	int64_t now_us;
	uint64_t random;
	uint32_t processes;
	struct place place[LAND_NODES][LAND_PROCESSES];
	struct land_frame frames[LAND_FRAMES];
	size_t frame_count;
	bool cut[LAND_NODES][LAND_NODES]; /* one way; nothing gets through, nobody is told */
	int mail_ms;			  /* so much longer between nodes */
	bool wanted[LAND_NODES][LAND_NODES];
	bool nobody_answers; /* who is wanted is not connected */
	unsigned asked_for_strangers;
};

static struct land *the_land; /* tests run one after the other */

static int64_t land_now_us(void *context)
{
	(void)context;
	return the_land->now_us;
}

static void land_random(void *context, void *bytes, size_t size)
{
	(void)context;
	for (size_t i = 0; i < size; i++) {
		uint64_t x = ++the_land->random * UINT64_C(0x9e3779b97f4a7c15);

		x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		((uint8_t *)bytes)[i] = (uint8_t)(x >> 56);
	}
}

static enum err land_put(const struct land_frame *made, const struct iovec *parts, size_t count)
{
	struct land_frame *frame = &the_land->frames[the_land->frame_count];
	size_t size = 0;

	if (the_land->frame_count == LAND_FRAMES)
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	*frame = *made;
	frame->bytes = malloc(size);
	if (!frame->bytes)
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++) {
		memcpy(frame->bytes + frame->size, parts[i].iov_base, parts[i].iov_len);
		frame->size += parts[i].iov_len;
	}
	the_land->frame_count++;
	return ERR_OK;
}

static enum err land_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	struct place *from = context;

	for (unsigned slot = 0; slot < LAND_PROCESSES; slot++)
		if (the_land->place[from->node][slot].process == process)
			return land_put(&(struct land_frame){.from = from,
						.to = &the_land->place[from->node][slot],
						.process = process},
				parts, count);
	return ERR_OK; /* dead, and nobody has said so */
}

static enum err land_node_send(
	void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct place *from = context;
	struct place *to = &the_land->place[node - LAND_NODE_ID][CONTROL];

	return land_put(&(struct land_frame){.from = from,
				.to = to,
				.process = to->process,
				.between_nodes = true,
				.sent_us = the_land->now_us},
		parts, count);
}

static void land_node_wanted(void *context, uint64_t node)
{
	const struct place *from = context;

	if (node >= LAND_NODE_ID && node < LAND_NODE_ID + LAND_NODES)
		the_land->wanted[from->node][node - LAND_NODE_ID] = true;
	else
		the_land->asked_for_strangers++;
}

static struct runtime_ops land_ops = {
	.now_us = land_now_us,
	.wall_us = land_now_us,
	.random = land_random,
	.bus_send = land_bus_send,
	.node_send = land_node_send,
	.node_wanted = land_node_wanted,
};
static const struct actor_type *const *land_types = probe_types;

static bool land_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

/* ---- processes --------------------------------------------------------------------------------- */

static void land_attach(struct place *place)
{
	struct log_sink sink = {.now_us = land_now_us, .write = land_log};
	struct runtime_options options = {
		.ops = &land_ops,
		.context = place,
		.log = &place->log,
		.config = land_config[place->node],
		.env = land_env[place->node],
		.node = LAND_NODE_ID + place->node,
		.block = 100 + place->process,
		.process = place->process,
		.role = place->slot == CONTROL ? PROCESS_CONTROL : PROCESS_MEDIA,
		.index = place->slot - 1,
		.types = land_types,
	};

	log_init(&place->log, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	if (place->slot != CONTROL) {
		CHECK_OK(arena_attach(place->memory, arena_size(&land_layout), &place->arena));
		CHECK_OK(arena_escrow(place->arena, &place->escrow));
		options.arena = place->arena;
		options.escrow = place->escrow;
	}
	CHECK_OK(runtime_create(&options, &place->rt));
}

static struct runtime_peer_info land_info(const struct place *place)
{
	const struct runtime_options *options = runtime_options(place->rt);

	return (struct runtime_peer_info){.process = options->process,
		.block = options->block,
		.role = options->role,
		.index = options->index};
}

static void land_meet(struct place *a, struct place *b)
{
	struct runtime_peer_info one = land_info(a), other = land_info(b);

	CHECK_OK(runtime_peer_up(a->rt, &other));
	CHECK_OK(runtime_peer_up(b->rt, &one));
}

/* A process of a new line, which the others of its node meet. */
static void land_start(struct land *land, unsigned node, unsigned slot)
{
	struct place *place = &land->place[node][slot];

	*place = (struct place){.node = node, .slot = slot, .process = ++land->processes};
	if (slot != CONTROL) {
		place->memory = aligned_alloc(4096, arena_size(&land_layout));
		CHECK(place->memory != NULL);
		memset(place->memory, 0, arena_size(&land_layout));
		arena_format(place->memory, &land_layout);
	}
	land_attach(place);
	for (unsigned i = 0; i < LAND_PROCESSES; i++)
		if (i != slot && land->place[node][i].rt)
			land_meet(place, &land->place[node][i]);
}

/* kill -9: what it would still say is heard by nobody; the memory of a worker stays as it is. */
static void land_silence(struct land *land, struct place *place)
{
	size_t before = land->frame_count;

	place->rt->options.escrow = NULL;
	if (land_keeps_memory)
		place->rt->options.arena = NULL;
	runtime_destroy(&place->rt);
	while (land->frame_count > before)
		free(land->frames[--land->frame_count].bytes);
	escrow_detach(&place->escrow);
	arena_detach(&place->arena);
}

/* Its line ends, and the others of its node notice. */
__attribute__((unused)) static void land_kill(struct land *land, unsigned node, unsigned slot)
{
	struct place *place = &land->place[node][slot];
	uint32_t process = place->process;

	if (place->rt)
		land_silence(land, place);
	free(place->memory);
	*place = (struct place){0};
	for (unsigned i = 0; i < LAND_PROCESSES; i++)
		if (land->place[node][i].rt)
			runtime_peer_down(land->place[node][i].rt, process);
}

static struct land *land_create(void)
{
	struct land *land = calloc(1, sizeof(*land));

	the_land = land;
	land->now_us = 1000000;
	for (unsigned node = 0; node < LAND_NODES; node++)
		for (unsigned slot = 0; slot < LAND_PROCESSES; slot++)
			land_start(land, node, slot);
	return land;
}

static void land_destroy(struct land *land)
{
	for (unsigned node = 0; node < LAND_NODES; node++) {
		for (unsigned slot = 0; slot < LAND_PROCESSES; slot++) {
			struct place *place = &land->place[node][slot];

			if (place->rt)
				land_silence(land, place);
			free(place->memory);
		}
	}
	while (land->frame_count)
		free(land->frames[--land->frame_count].bytes);
	free(land);
	the_land = NULL;
}

/* ---- ways -------------------------------------------------------------------------------------- */

static uint64_t land_id(unsigned node)
{
	return LAND_NODE_ID + node;
}

static uint64_t land_boot(struct land *land, unsigned node)
{
	return runtime_options(land->place[node][CONTROL].rt)->boot;
}

/* One gateway has found, or lost, another. */
static enum err land_find(struct land *land, unsigned at, unsigned node)
{
	return runtime_node_up(land->place[at][CONTROL].rt, land_id(node), land_boot(land, node));
}

__attribute__((unused)) static void land_up(struct land *land, unsigned at, unsigned node)
{
	CHECK_OK(land_find(land, at, node));
}

__attribute__((unused)) static void land_down(struct land *land, unsigned at, unsigned node)
{
	runtime_node_down(land->place[at][CONTROL].rt, land_id(node));
}

static void land_connect_wanted(struct land *land)
{
	for (unsigned a = 0; a < LAND_NODES; a++) {
		for (unsigned b = 0; b < LAND_NODES; b++) {
			if (!land->wanted[a][b] || land->nobody_answers ||
				!land->place[b][CONTROL].rt)
				continue;
			/* (without memory for it: the next time) */
			land->wanted[a][b] = land_find(land, a, b) || land_find(land, b, a);
		}
	}
}

static void land_deliver(struct land *land)
{
	size_t count = land->frame_count, kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct land_frame frame = land->frames[kept];

		if (frame.between_nodes && land->now_us < frame.sent_us + land->mail_ms * 1000) {
			kept++;
			continue;
		}
		memmove(land->frames + kept, land->frames + kept + 1,
			(--land->frame_count - kept) * sizeof(land->frames[0]));
		if (frame.to->rt && frame.to->process == frame.process) {
			if (!frame.between_nodes)
				runtime_bus_frame(frame.to->rt, frame.bytes, frame.size);
			else if (!land->cut[frame.from->node][frame.to->node])
				runtime_node_frame(frame.to->rt, land_id(frame.from->node),
					frame.bytes, frame.size);
		}
		free(frame.bytes);
	}
}

static void land_turn(struct land *land)
{
	land->now_us += 500;
	for (unsigned node = 0; node < LAND_NODES; node++)
		for (unsigned slot = 0; slot < LAND_PROCESSES; slot++)
			if (land->place[node][slot].rt)
				runtime_turn(land->place[node][slot].rt);
	land_connect_wanted(land);
}

static void land_run_ms(struct land *land, int ms)
{
	for (int i = 0; i < ms * 2; i++) {
		land_turn(land);
		land_deliver(land);
	}
}

/* ---- probes ------------------------------------------------------------------------------------ */

__attribute__((unused)) static struct addr land_spawn(
	struct land *land, unsigned node, unsigned slot, bool silent)
{
	struct addr addr = {0};

	CHECK_OK(actor_spawn(land->place[node][slot].rt, NULL, &probe_actor,
		&(struct probe_args){.silent = silent}, &addr));
	return addr;
}

/* NULL when it is nowhere. */
static struct actor *land_actor(struct land *land, struct addr addr)
{
	for (unsigned slot = 0; slot < LAND_PROCESSES; slot++) {
		struct runtime *rt = land->place[addr.node - LAND_NODE_ID][slot].rt;
		struct actor *actor = rt ? runtime_find(rt, addr.id) : NULL;

		if (actor)
			return actor;
	}
	return NULL;
}

__attribute__((unused)) static struct probe *land_probe(struct land *land, struct addr addr)
{
	struct actor *actor = land_actor(land, addr);

	assert_non_null(actor);
	return actor_data(actor);
}

#endif

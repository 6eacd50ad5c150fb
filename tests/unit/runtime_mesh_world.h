/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the mesh: gateways of a few nodes and what lies between them: ways that may be cut, a
 * clock that is an argument. Each has the kernel's part played by a record of what it was told.
 */
#ifndef MILLRACE_TESTS_RUNTIME_MESH_WORLD_H
#define MILLRACE_TESTS_RUNTIME_MESH_WORLD_H

#include "runtime/mesh.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum { NODES = 3, FRAMES = 512, MS = 1000, LOST_MS = 3000, DELAY_US = 4000 };

struct gateway {
	struct mesh *mesh;
	struct world *world;
	int index;
	uint64_t id, boot;
	uint8_t key[MESH_KEY_SIZE];
	uint8_t certificate[MESH_CERTIFICATE_SIZE];
	size_t certificate_size;
	char endpoint[32];
	int64_t clock_us; /* its wall clock is ahead by that */
	bool open[NODES];
	uint8_t expected_key[NODES][MESH_KEY_SIZE];
	/* the kernel */
	uint64_t up[NODES]; /* boot, 0 = down */
	int ups, agains, downs, frames, opens, barred;
	uint8_t last[64];
	size_t last_size;
	struct mesh_view seen[NODES];
	enum err refused; /* what its last frame was answered by whoever got it */
};

struct frame {
	int from, to;
	int64_t at_us;
	uint8_t key[MESH_KEY_SIZE];
	size_t size;
	uint8_t bytes[700];
};

struct world {
	int64_t now_us;
	struct gateway gateway[NODES];
	bool cut[NODES][NODES]; /* one way */
	bool asleep[NODES];
	struct frame frames[FRAMES];
	int count;
	uint8_t cluster_secret[MESH_KEY_SIZE], cluster_key[MESH_KEY_SIZE];
};

static int index_of(const struct world *world, uint64_t id)
{
	for (int i = 0; i < NODES; i++)
		if (world->gateway[i].id == id)
			return i;
	return -1;
}

static struct mesh_time time_of(const struct gateway *g)
{
	return (struct mesh_time){g->world->now_us + g->index * 77777777,
		1700000000000000 + g->world->now_us + g->clock_us};
}

/* ---- what a mesh stands on ------------------------------------------------------------------- */

static enum err way_open(
	void *context, uint64_t node, const char *endpoint, const uint8_t key[MESH_KEY_SIZE])
{
	struct gateway *g = context;
	int to = index_of(g->world, node);

	CHECK(to >= 0 && to != g->index && !g->open[to]);
	CHECK_STR(endpoint, g->world->gateway[to].endpoint);
	g->open[to] = true;
	memcpy(g->expected_key[to], key, MESH_KEY_SIZE);
	g->opens++;
	return ERR_OK;
}

static void way_close(void *context, uint64_t node)
{
	struct gateway *g = context;
	int to = index_of(g->world, node);

	CHECK(to >= 0 && g->open[to]);
	g->open[to] = false;
}

static enum err way_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct gateway *g = context;
	struct world *world = g->world;
	int to = index_of(world, node);
	struct frame *frame = &world->frames[world->count];

	CHECK(to >= 0 && g->open[to]);
	if (world->cut[g->index][to] || !world->gateway[to].mesh || world->count == FRAMES ||
		memcmp(g->expected_key[to], world->gateway[to].key, MESH_KEY_SIZE))
		return ERR_AGAIN;
	*frame = (struct frame){.from = g->index, .to = to, .at_us = world->now_us + DELAY_US};
	memcpy(frame->key, g->key, MESH_KEY_SIZE);
	for (size_t i = 0; i < count; i++) {
		CHECK(frame->size + parts[i].iov_len <= sizeof(frame->bytes));
		memcpy(frame->bytes + frame->size, parts[i].iov_base, parts[i].iov_len);
		frame->size += parts[i].iov_len;
	}
	world->count++;
	return ERR_OK;
}

static void kernel_up(void *context, uint64_t node, uint64_t boot)
{
	struct gateway *g = context;

	CHECK(boot && g->up[index_of(g->world, node)] != boot);
	g->up[index_of(g->world, node)] = boot;
	g->ups++;
}

static void kernel_again(void *context, uint64_t node)
{
	struct gateway *g = context;

	CHECK(g->up[index_of(g->world, node)]);
	g->agains++;
}

static void kernel_down(void *context, uint64_t node)
{
	struct gateway *g = context;

	CHECK(g->up[index_of(g->world, node)]);
	g->up[index_of(g->world, node)] = 0;
	g->downs++;
}

static void kernel_barred(void *context, uint64_t node)
{
	struct gateway *g = context;

	g->up[index_of(g->world, node)] = 0;
	g->barred++;
}

static void kernel_frame(void *context, uint64_t node, const uint8_t *bytes, size_t size)
{
	struct gateway *g = context;

	CHECK(g->up[index_of(g->world, node)]);
	CHECK(size <= sizeof(g->last));
	memcpy(g->last, bytes, size);
	g->last_size = size;
	g->frames++;
}

static void office_told(void *context, const struct mesh_view *view)
{
	struct gateway *g = context;

	g->seen[index_of(g->world, view->node)] = *view;
}

static const struct mesh_ops ops = {
	.open = way_open,
	.close = way_close,
	.send = way_send,
	.up = kernel_up,
	.again = kernel_again,
	.down = kernel_down,
	.barred = kernel_barred,
	.frame = kernel_frame,
	.told = office_told,
};

/* ---- the world ------------------------------------------------------------------------------- */

static void sign(struct world *world, struct gateway *g, const uint8_t *secret, int64_t not_after_s)
{
	struct mesh_certificate says = {
		.node = g->id, .not_after_s = not_after_s, .serial = (uint64_t)world->now_us};

	memcpy(says.key, g->key, MESH_KEY_SIZE);
	CHECK_OK(mesh_certificate_sign(&says, secret, g->certificate));
	g->certificate_size = MESH_CERTIFICATE_SIZE;
}

static void start_with(
	struct world *world, int i, const uint8_t (*listed)[MESH_KEY_SIZE], size_t count)
{
	struct gateway *g = &world->gateway[i];

	memset(g->open, 0, sizeof(g->open));
	memset(g->up, 0, sizeof(g->up));
	memset(g->seen, 0, sizeof(g->seen));
	g->boot = (uint64_t)time_of(g).wall_us;
	g->mesh = mesh_create(&(struct mesh_options){
		.node = g->id,
		.boot = g->boot,
		.name = "a node",
		.version = "1",
		.endpoint = g->endpoint,
		.cluster_key = world->cluster_key,
		.listed = listed,
		.listed_count = count,
		.lost_us = LOST_MS * MS,
		.began_us = time_of(g).now_us,
		.ops = &ops,
		.context = g,
	});
	CHECK(g->mesh);
	mesh_set_certificate(g->mesh, g->certificate, g->certificate_size);
}

static void start(struct world *world, int i)
{
	start_with(world, i, NULL, 0);
}

static struct world *create(void)
{
	struct world *world = calloc(1, sizeof(*world));

	world->now_us = 10000000;
	CHECK_OK(mesh_cluster_key_new(world->cluster_secret));
	CHECK_OK(mesh_cluster_key_public(world->cluster_secret, world->cluster_key));
	for (int i = 0; i < NODES; i++) {
		struct gateway *g = &world->gateway[i];

		g->world = world;
		g->index = i;
		g->id = (uint64_t)i + 1;
		memset(g->key, 0x11 * (i + 1), MESH_KEY_SIZE);
		snprintf(g->endpoint, sizeof(g->endpoint), "tcp://192.0.2.%d:7400", i + 1);
		sign(world, g, world->cluster_secret, INT32_MAX);
		start(world, i);
	}
	return world;
}

static void destroy(struct world **world)
{
	for (int i = 0; i < NODES; i++)
		mesh_destroy(&(*world)->gateway[i].mesh, false);
	free(*world);
	*world = NULL;
}

/* What the store would say of `of` to `to`. */
static enum err tell_of(struct world *world, int to, int of)
{
	const struct gateway *g = &world->gateway[of];

	return mesh_learn(world->gateway[to].mesh,
		&(struct mesh_hint){.node = g->id,
			.name = "from the store",
			.endpoint = g->endpoint,
			.key = g->key,
			.certificate = g->certificate,
			.certificate_size = g->certificate_size},
		time_of(&world->gateway[to]));
}

static void deliver(struct world *world)
{
	int left = 0;

	for (int i = 0; i < world->count; i++) {
		struct frame frame = world->frames[i];
		struct gateway *to = &world->gateway[frame.to];

		if (frame.at_us > world->now_us || world->asleep[frame.to]) {
			world->frames[left++] = frame;
		} else if (to->mesh) {
			world->gateway[frame.from].refused = mesh_frame(
				to->mesh, frame.key, frame.bytes, frame.size, time_of(to));
		}
	}
	world->count = left;
}

static void run_ms(struct world *world, int ms)
{
	for (int64_t end_us = world->now_us + (int64_t)ms * MS; world->now_us < end_us;
		world->now_us += 1 * MS) {
		deliver(world);
		for (int i = 0; i < NODES; i++)
			if (world->gateway[i].mesh && !world->asleep[i])
				mesh_turn(world->gateway[i].mesh, time_of(&world->gateway[i]));
	}
}

static enum err say(struct world *world, int from, int to, const char *text)
{
	struct gateway *g = &world->gateway[from];
	struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};

	return mesh_send(g->mesh, world->gateway[to].id, &part, 1, time_of(g));
}

static enum mesh_state state_of(const struct world *world, int at, int of)
{
	return world->gateway[at].seen[of].state;
}

static struct world *create_met(void)
{
	struct world *world = create();

	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 100);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(state_of(world, 1, 0), MESH_UP);
	return world;
}

#endif

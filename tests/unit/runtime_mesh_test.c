/* SPDX-License-Identifier: Apache-2.0
 *
 * Gateways of a few nodes and what lies between them: ways that may be cut, a clock that is an
 * argument. Each has the kernel's part played by a record of what it was told.
 */
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

/* ---- rows ------------------------------------------------------------------------------------ */

TEST(one_side_knows_the_other_and_both_can_speak)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];

	CHECK_OK(say(world, 0, 1, "hello"));
	CHECK_OK(say(world, 1, 0, "good day"));
	run_ms(world, 10);
	CHECK_EQ(b->last_size, 5);
	CHECK_MEM(b->last, "hello", 5);
	CHECK_MEM(a->last, "good day", 8);
	CHECK_EQ(a->ups + b->ups, 2);
	CHECK_EQ(a->up[1], b->boot);
	CHECK_STR(a->seen[1].name, "a node");
	CHECK_EQ(say(world, 0, 2, "who is that"), ERR_DEAD);
	run_ms(world, MESH_LEARN_MS);
	CHECK_EQ(mesh_want(a->mesh, 77, time_of(a)), ERR_NOT_FOUND);
	destroy(&world);
}

TEST(one_that_has_just_begun_does_not_take_those_for_lost_whom_it_does_not_know_yet)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0];

	CHECK_OK(mesh_want(a->mesh, world->gateway[1].id, time_of(a)));
	CHECK_OK(mesh_want(a->mesh, world->gateway[1].id, time_of(a)));
	for (uint64_t id = 100; id < 100 + 2 * MESH_AWAITED_MAX; id++)
		CHECK_OK(mesh_want(a->mesh, id, time_of(a)));
	run_ms(world, 1000);
	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 100);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(a->downs, 0);
	destroy(&world);
}

TEST(how_far_and_how_late_their_clock_is)
{
	struct world *world = create();

	world->gateway[1].clock_us = -250000;
	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 3000);
	const struct mesh_view *seen = &world->gateway[0].seen[1];
	CHECK(seen->rtt_us >= 2 * DELAY_US && seen->rtt_us <= 2 * DELAY_US + 3 * MS);
	CHECK(llabs(seen->offset_us + 250000) <= 2 * MS);
	destroy(&world);
}

TEST(silence_is_doubtful_then_down_and_then_forgiven)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0];

	world->asleep[1] = true;
	run_ms(world, MESH_DOUBTFUL_MS + 50);
	CHECK_EQ(state_of(world, 0, 1), MESH_DOUBTFUL);
	CHECK_EQ(a->downs, 0);
	run_ms(world, LOST_MS - MESH_DOUBTFUL_MS + 50);
	CHECK_EQ(state_of(world, 0, 1), MESH_DOWN);
	CHECK_EQ(a->downs, 1);
	world->asleep[1] = false;
	run_ms(world, 300);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(a->ups, 2);
	CHECK_OK(say(world, 1, 0, "I was away"));
	run_ms(world, 10);
	CHECK_MEM(a->last, "I was away", 10);
	destroy(&world);
}

static enum err say_hello(struct mesh *mesh, const struct gateway *from, uint64_t your_boot,
	struct mesh_time at, uint32_t beat_ms)
{
	struct mesh_hello hello = {.protocol = MESH_PROTOCOL,
		.node = from->id,
		.boot = from->boot,
		.your_boot = your_boot,
		.sent_us = 1,
		.beat_ms = beat_ms};
	uint8_t bytes[MESH_HELLO_MAX] = {1};
	struct writer out = writer_of(bytes + 1, sizeof(bytes) - 1);

	hello.certificate.size = (uint16_t)from->certificate_size;
	memcpy(hello.certificate.data, from->certificate, from->certificate_size);
	text_copy(hello.endpoint, sizeof(hello.endpoint), from->endpoint);
	CHECK_OK(schema_encode(&schema_mesh_hello, &hello, &out));
	return mesh_frame(mesh, from->key, bytes, 1 + writer_used(&out), at);
}

TEST(whose_beats_are_rare_is_doubted_later)
{
	static const struct {
		uint32_t beat_ms;
		int doubtful_ms;
	} rows[] = {
	// clang-format off
		{0, MESH_DOUBTFUL_MS},
		{MESH_BEAT_MS, MESH_DOUBTFUL_MS},
		{600, 1500},
		{UINT32_MAX, MESH_FAR_MS + MESH_DOUBTFUL_MS},
	// clang-format on
	};

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		struct world *world = create_met();
		struct gateway *a = &world->gateway[0], *b = &world->gateway[1];

		mesh_destroy(&b->mesh, false);
		run_ms(world, 50);
		CHECK_OK(say_hello(a->mesh, b, a->boot, time_of(a), rows[row].beat_ms));
		run_ms(world, rows[row].doubtful_ms - 50);
		CHECK_EQ(state_of(world, 0, 1), MESH_UP);
		run_ms(world, 100);
		CHECK_EQ(state_of(world, 0, 1), MESH_DOUBTFUL);
		destroy(&world);
	}
}

/* ---- many others ---- */

enum { CROWD_MAX = 60, CROWD_BEAT_MS = 500 };

struct crowd {
	struct gateway others[CROWD_MAX];
	int64_t now_us, sent_us;
	unsigned learned, hellos, wakes;
};

static enum err crowd_open(
	void *context, uint64_t node, const char *endpoint, const uint8_t key[MESH_KEY_SIZE])
{
	(void)context;
	(void)node;
	(void)endpoint;
	(void)key;
	return ERR_OK;
}

static void crowd_way(void *context, uint64_t node)
{
	(void)context;
	(void)node;
}

static void crowd_up(void *context, uint64_t node, uint64_t boot)
{
	(void)context;
	(void)node;
	(void)boot;
}

static enum err crowd_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct crowd *crowd = context;

	(void)node;
	(void)parts;
	CHECK_EQ(count, 1);
	crowd->hellos++;
	crowd->wakes += crowd->sent_us != crowd->now_us;
	crowd->sent_us = crowd->now_us;
	return ERR_OK;
}

static void crowd_told(void *context, const struct mesh_view *view)
{
	(void)context;
	(void)view;
}

static const struct mesh_ops crowd_ops = {
	.open = crowd_open,
	.close = crowd_way,
	.send = crowd_send,
	.up = crowd_up,
	.again = crowd_way,
	.down = crowd_way,
	.told = crowd_told,
};

static struct mesh_time crowd_time(const struct crowd *crowd)
{
	return (struct mesh_time){crowd->now_us, 1700000000000000 + crowd->now_us};
}

static void crowd_learn(struct crowd *crowd, struct world *world, struct mesh *mesh)
{
	struct gateway *g = &crowd->others[crowd->learned++];

	*g = (struct gateway){.id = crowd->learned, .boot = 1, .endpoint = "tcp://192.0.2.1:7400"};
	g->key[0] = (uint8_t)g->id;
	sign(world, g, world->cluster_secret, INT32_MAX);
	CHECK_OK(mesh_learn(mesh,
		&(struct mesh_hint){.node = g->id,
			.name = "other",
			.endpoint = g->endpoint,
			.key = g->key,
			.certificate = g->certificate,
			.certificate_size = g->certificate_size},
		crowd_time(crowd)));
}

/* Others come one after the other, and say hello each in its own time; ten seconds of it are counted. */
static void run_crowd(struct crowd *crowd, struct world *world, struct mesh *mesh, unsigned others)
{
	for (int ms = 0; ms < 15000; ms++, crowd->now_us += MS) {
		if (ms % 7 == 0 && crowd->learned < others)
			crowd_learn(crowd, world, mesh);
		for (unsigned i = 0; i < crowd->learned; i++)
			if ((ms + 13 * (int)i) % CROWD_BEAT_MS == 0)
				CHECK_OK(say_hello(mesh, &crowd->others[i], 1, crowd_time(crowd),
					CROWD_BEAT_MS));
		if (ms == 5000)
			crowd->hellos = crowd->wakes = 0;
		mesh_turn(mesh, crowd_time(crowd));
	}
}

TEST(to_many_others_beats_are_rarer_but_for_the_near_ones_and_leave_together)
{
	static const struct {
		unsigned others, least, most; /* hellos in ten seconds */
	} rows[] = {
	// clang-format off
		{8, 380, 560},
		{32, 300, 450},
		{60, 360, 520},
	// clang-format on
	};

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		struct world *world = create();
		struct crowd *crowd = calloc(1, sizeof(*crowd));
		struct mesh *mesh = mesh_create(&(struct mesh_options){.node = 1000,
			.boot = 1,
			.name = "one",
			.version = "1",
			.endpoint = "tcp://192.0.2.99:7400",
			.cluster_key = world->cluster_key,
			.lost_us = LOST_MS * MS,
			.ops = &crowd_ops,
			.context = crowd});

		CHECK(mesh);
		crowd->now_us = 10000 * MS;
		run_crowd(crowd, world, mesh, rows[row].others);
		CHECK_GE(crowd->hellos, rows[row].least);
		CHECK_LE(crowd->hellos, rows[row].most);
		CHECK_LE(crowd->wakes, 10 * 1000 / MESH_BEAT_MS * 3 / 2);
		mesh_destroy(&mesh, false);
		free(crowd);
		destroy(&world);
	}
}

TEST(a_short_silence_costs_nothing)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0];

	world->cut[1][0] = true;
	run_ms(world, 2000);
	CHECK_EQ(state_of(world, 0, 1), MESH_DOUBTFUL);
	world->cut[1][0] = false;
	run_ms(world, 300);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(a->downs, 0);
	CHECK_EQ(a->ups, 1);
	CHECK_EQ(a->agains, 1);
	destroy(&world);
}

TEST(a_gateway_that_began_anew_is_told_of_and_old_mail_dropped)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	uint64_t was = a->up[1];

	CHECK_OK(say(world, 0, 1, "for the old one")); /* on its way when it dies */
	mesh_destroy(&b->mesh, false);
	start(world, 1);
	int frames = b->frames;
	run_ms(world, 10);
	CHECK_EQ(b->frames, frames);
	CHECK_EQ(mesh_counters(b->mesh)->stale, 1);
	CHECK_EQ(a->downs, 0);
	run_ms(world, 1000);
	CHECK(a->up[1] && a->up[1] != was);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_OK(say(world, 0, 1, "hello anew"));
	run_ms(world, 10);
	CHECK_MEM(b->last, "hello anew", 10);
	destroy(&world);
}

TEST(a_bye_is_believed_at_once)
{
	struct world *world = create_met();

	mesh_destroy(&world->gateway[1].mesh, true);
	run_ms(world, 10);
	CHECK_EQ(state_of(world, 0, 1), MESH_DOWN);
	CHECK_EQ(world->gateway[0].downs, 1);
	destroy(&world);
}

/* At node 0; node 2 has not heard of it. */
TEST(a_key_that_was_revoked_is_let_in_no_more)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	uint64_t refused;

	CHECK(mesh_admits(a->mesh, b->key));
	CHECK_OK(mesh_revoke(a->mesh, b->key, time_of(a)));
	CHECK_EQ(mesh_revoke(a->mesh, b->key, time_of(a)), ERR_EXISTS);
	CHECK(mesh_is_revoked(a->mesh, b->key) && !mesh_admits(a->mesh, b->key));
	CHECK_EQ(state_of(world, 0, 1), MESH_REVOKED);
	CHECK_EQ(a->barred, 1);
	CHECK(!a->open[1]);
	refused = mesh_counters(a->mesh)->refused_key;
	run_ms(world, 2 * LOST_MS);
	CHECK_EQ(state_of(world, 0, 1), MESH_REVOKED);
	CHECK(mesh_counters(a->mesh)->refused_key > refused); /* it goes on greeting */
	CHECK_EQ(b->refused, ERR_FORBIDDEN);
	CHECK_EQ(state_of(world, 1, 0), MESH_DOWN);
	CHECK_EQ(say(world, 0, 1, "anybody?"), ERR_AGAIN);
	CHECK_EQ(mesh_want(a->mesh, b->id, time_of(a)), ERR_NOT_FOUND);
	CHECK_EQ(tell_of(world, 0, 1), ERR_FORBIDDEN);
	CHECK_EQ(a->barred, 1);
	CHECK_EQ(a->ups, 1);
	/* with another key it may come */
	memset(b->key, 0x77, MESH_KEY_SIZE);
	sign(world, b, world->cluster_secret, INT32_MAX);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	mesh_close_all(b->mesh);
	CHECK_OK(tell_of(world, 0, 1));
	CHECK_EQ(state_of(world, 0, 1), MESH_KNOWN);
	CHECK_OK(tell_of(world, 1, 0));
	run_ms(world, 3000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	destroy(&world);
}

/* What was there of it before this gateway began may live in the workers. */
TEST(a_record_with_a_key_that_was_revoked_bars_its_node_once)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1], *c = &world->gateway[2];

	CHECK_OK(mesh_revoke(a->mesh, b->key, time_of(a)));
	CHECK_EQ(a->barred, 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tell_of(world, 0, 1), ERR_FORBIDDEN);
	CHECK_EQ(a->barred, 1);
	CHECK_EQ(state_of(world, 0, 1), MESH_REVOKED);
	/* a record can take away that key, not the one that a node has */
	CHECK_OK(tell_of(world, 0, 2));
	memcpy(c->key, b->key, MESH_KEY_SIZE);
	CHECK_EQ(tell_of(world, 0, 2), ERR_FORBIDDEN);
	CHECK_EQ(a->barred, 1);
	CHECK(state_of(world, 0, 2) != MESH_REVOKED);
	destroy(&world);
}

TEST(keys_that_are_revoked_have_a_bound)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0];
	uint8_t key[MESH_KEY_SIZE] = {0xee};

	for (unsigned i = 0; i < MESH_REVOKED_MAX; i++) {
		memcpy(key + 1, &i, sizeof(i));
		CHECK_OK(mesh_revoke(a->mesh, key, time_of(a)));
	}
	key[0]++;
	CHECK_EQ(mesh_revoke(a->mesh, key, time_of(a)), ERR_LIMIT);
	CHECK(!mesh_is_revoked(a->mesh, key));
	destroy(&world);
}

TEST(who_is_not_of_the_cluster_stays_outside)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	uint8_t other[MESH_KEY_SIZE];

	/* its record is in the store, with a certificate of somebody else's cluster, or none */
	CHECK_OK(mesh_cluster_key_new(other));
	sign(world, b, other, INT32_MAX);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	CHECK_EQ(tell_of(world, 0, 1), ERR_AUTH);
	CHECK_OK(tell_of(world, 1, 0));
	run_ms(world, 500);
	CHECK_EQ(b->refused, ERR_AUTH);
	b->certificate_size = 0;
	mesh_set_certificate(b->mesh, NULL, 0);
	CHECK_EQ(tell_of(world, 0, 1), ERR_AUTH);
	run_ms(world, 500);
	CHECK_EQ(b->refused, ERR_AUTH);
	/* one that is good, but of another node or key, or past */
	sign(world, b, world->cluster_secret, 1000);
	CHECK_EQ(tell_of(world, 0, 1), ERR_TIMEOUT);
	sign(world, &world->gateway[2], world->cluster_secret, INT32_MAX);
	mesh_set_certificate(b->mesh, world->gateway[2].certificate, MESH_CERTIFICATE_SIZE);
	run_ms(world, 500);
	CHECK_EQ(b->refused, ERR_FORBIDDEN);
	CHECK(mesh_counters(a->mesh)->refused_key >= 3);
	CHECK_EQ(mesh_counters(a->mesh)->nodes, 0);
	CHECK_EQ(a->ups + a->frames, 0);
	/* and what it says without a hello is dropped */
	CHECK_OK(mesh_frame(
		a->mesh, b->key, (const uint8_t *)"\2abcdefghabcdefghmail", 21, time_of(a)));
	CHECK_EQ(mesh_counters(a->mesh)->stale, 1);
	destroy(&world);
}

TEST(a_certificate_that_passes_its_time_is_noticed)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];

	sign(world, b, world->cluster_secret, time_of(a).wall_us / 1000000 + 2);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 1000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	run_ms(world, 6000);
	CHECK_EQ(b->refused, ERR_TIMEOUT);
	CHECK_EQ(state_of(world, 0, 1), MESH_DOWN);
	destroy(&world);
}

TEST(listed_keys_need_no_certificate)
{
	struct world *world = create();
	uint8_t listed[2][MESH_KEY_SIZE];

	for (int i = 0; i < 2; i++) {
		memcpy(listed[i], world->gateway[i].key, MESH_KEY_SIZE);
		world->gateway[i].certificate_size = 0;
	}
	for (int i = 0; i < 2; i++) {
		mesh_destroy(&world->gateway[i].mesh, false);
		start_with(world, i, (const uint8_t(*)[MESH_KEY_SIZE])listed, 2);
	}
	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 200);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(state_of(world, 1, 0), MESH_UP);
	destroy(&world);
}

TEST(of_two_with_one_id_the_later_is_taken)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	struct mesh_hello hello = {.protocol = MESH_PROTOCOL, .node = b->id};
	uint8_t bytes[700] = {1};
	struct writer out;

	hello.certificate.size = MESH_CERTIFICATE_SIZE;
	memcpy(hello.certificate.data, b->certificate, MESH_CERTIFICATE_SIZE);
	text_copy(hello.endpoint, sizeof(hello.endpoint), b->endpoint);
	for (int later = 0; later < 2; later++) {
		hello.boot = later ? b->boot + 1 : b->boot - 1;
		out = writer_of(bytes + 1, sizeof(bytes) - 1);
		CHECK_OK(schema_encode(&schema_mesh_hello, &hello, &out));
		CHECK_EQ(mesh_frame(a->mesh, b->key, bytes, writer_used(&out) + 1, time_of(a)),
			later ? ERR_OK : ERR_EXISTS);
		CHECK_EQ(mesh_counters(a->mesh)->refused_twice, 1);
	}
	/* our own id from somebody else */
	hello.node = a->id;
	out = writer_of(bytes + 1, sizeof(bytes) - 1);
	CHECK_OK(schema_encode(&schema_mesh_hello, &hello, &out));
	CHECK_EQ(mesh_frame(a->mesh, b->key, bytes, writer_used(&out) + 1, time_of(a)),
		ERR_FORBIDDEN);
	destroy(&world);
}

TEST(a_node_changes_its_key_while_others_speak_with_it)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	uint8_t old[MESH_CERTIFICATE_SIZE];

	memcpy(old, b->certificate, sizeof(old));
	b->key[0] ^= 0xff;
	sign(world, b, world->cluster_secret, INT32_MAX);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	mesh_close_all(b->mesh);
	run_ms(world, 1000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(state_of(world, 1, 0), MESH_UP);
	CHECK_EQ(a->downs + b->downs, 0);
	CHECK_OK(say(world, 0, 1, "the same"));
	run_ms(world, 10);
	CHECK_MEM(b->last, "the same", 8);
	/* the one before is not taken any more while the new one lives */
	b->key[0] ^= 0xff;
	mesh_set_certificate(b->mesh, old, sizeof(old));
	mesh_close_all(b->mesh);
	run_ms(world, 100);
	CHECK_EQ(b->refused, ERR_EXISTS);
	destroy(&world);
}

TEST(a_node_without_record_is_forgotten_when_it_is_gone)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0];

	mesh_forget(a->mesh, world->gateway[1].id);
	run_ms(world, 1000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP); /* the store is a hint */
	mesh_destroy(&world->gateway[1].mesh, false);
	run_ms(world, 5000);
	CHECK_EQ(a->downs, 1);
	CHECK_EQ(mesh_counters(a->mesh)->nodes, 0);
	CHECK_EQ(mesh_counters(a->mesh)->open, 0);
	destroy(&world);
}

TEST(garbage_is_counted)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	struct rng rng = rng_of(5);
	uint8_t bytes[256];

	for (int round = 0; round < test_rounds(20000); round++) {
		size_t size = rng_below(&rng, sizeof(bytes));

		rng_fill(&rng, bytes, sizeof(bytes));
		bytes[0] = "\0\1\3\4"[rng_below(&rng, 4)]; /* mail is the kernel's to judge */
		(void)mesh_frame(a->mesh, b->key, bytes, size, time_of(a));
	}
	CHECK(mesh_counters(a->mesh)->bad_frames > 1000);
	run_ms(world, 300);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(a->frames, 0);
	destroy(&world);
}

/* Ways are cut and healed, gateways sleep and begin anew; then nothing happens any more, and all are up
 * at each other's. */
TEST(whatever_happened_they_find_each_other_again)
{
	for (int seed = 1; seed <= test_rounds(30); seed++) {
		struct rng rng = rng_of((uint64_t)seed);
		struct world *world = create();

		for (int i = 0; i < NODES; i++)
			for (int j = 0; j < NODES; j++)
				if (i != j)
					CHECK_OK(tell_of(world, i, j));
		for (int step = 0; step < 40; step++) {
			int i = (int)rng_below(&rng, NODES), j = (int)rng_below(&rng, NODES);

			if (rng_below(&rng, 5) == 0) {
				mesh_destroy(&world->gateway[i].mesh, rng_below(&rng, 2));
				start(world, i);
				for (int other = 0; other < NODES; other++)
					if (other != i)
						CHECK_OK(tell_of(world, i, other));
			}
			world->asleep[i] = rng_below(&rng, 4) == 0;
			world->cut[i][j] = rng_below(&rng, 2);
			if (i != j)
				(void)say(world, i, j, "mail");
			run_ms(world, 50 + (int)rng_below(&rng, 1500));
		}
		memset(world->cut, 0, sizeof(world->cut));
		memset(world->asleep, 0, sizeof(world->asleep));
		run_ms(world, 6000);
		for (int i = 0; i < NODES; i++) {
			for (int j = 0; j < NODES; j++) {
				if (i == j)
					continue;
				CHECK_EQ(state_of(world, i, j), MESH_UP);
				int frames = world->gateway[j].frames;
				CHECK_OK(say(world, i, j, "still there"));
				run_ms(world, 10);
				CHECK_EQ(world->gateway[j].frames, frames + 1);
			}
		}
		destroy(&world);
	}
}

TEST(allocations_that_fail_leave_all_as_it_was)
{
	struct world *world = create();

	for (size_t n = 1; n < 6; n++) {
		test_fail_allocation(n);
		enum err err = tell_of(world, 0, 1);
		test_fail_allocation(0);
		CHECK(err == ERR_OK || err == ERR_NO_MEMORY || err == ERR_AUTH ||
			err == ERR_CRYPTO);
		run_ms(world, 20);
	}
	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 100);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	destroy(&world);
}

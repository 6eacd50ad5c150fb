/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh: who is there, who is silent, who began anew.
 */
#include "tests/unit/runtime_mesh_world.h"

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
	CHECK_EQ(mesh_counters(a->mesh)->doubts, 1);
	CHECK_EQ(mesh_counters(a->mesh)->warnings, 0); /* all who are there hear it themselves */
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

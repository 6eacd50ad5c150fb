/* SPDX-License-Identifier: Apache-2.0
 *
 * Gateways of a large cluster: who beats for whom, and what is made of silence, over ways that may be cut.
 */
#include "runtime/mesh.h"
#include "tests/test.h"

#include <stdlib.h>

enum {
	NODES = 40,
	FRAMES = 1 << 14,
	MS = 1000,
	LOST_MS = 3000,
	DELAY_US = 15000, /* one way */
	SETTLE_MS = 12000,
	FAR_APART = 5, /* beats that leave in ten seconds to a far one, at most */
};

struct gateway {
	struct mesh *mesh;
	int index;
	uint64_t id;
	uint8_t key[MESH_KEY_SIZE];
	uint8_t certificate[MESH_CERTIFICATE_SIZE];
	char endpoint[32];
	bool asleep;
	enum mesh_state state[NODES]; /* of the others, as told … */
	int64_t since_us[NODES];      /* … the last time that it changed */
	unsigned sent[NODES];
	bool open[NODES];
};

struct frame {
	int from, to;
	int64_t at_us;
	size_t size;
	uint8_t bytes[MESH_HELLO_MAX];
};

static struct world {
	int64_t now_us;
	struct gateway gateway[NODES];
	bool cut[NODES][NODES]; /* one way */
	struct frame frames[FRAMES];
	unsigned first, end; /* of frames, in their order */
} * world;

static int index_of(uint64_t id)
{
	return (int)id - 1;
}

static struct mesh_time now(void)
{
	return (struct mesh_time){world->now_us, 1700000000000000 + world->now_us};
}

static enum err way_open(
	void *context, uint64_t node, const char *endpoint, const uint8_t key[MESH_KEY_SIZE])
{
	struct gateway *g = context;

	(void)endpoint;
	(void)key;
	CHECK(!g->open[index_of(node)]);
	g->open[index_of(node)] = true;
	return ERR_OK;
}

static void way_close(void *context, uint64_t node)
{
	struct gateway *g = context;

	g->open[index_of(node)] = false;
}

/* A way that is cut takes frames, which never come. */
static enum err way_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct gateway *g = context;
	int to = index_of(node);
	struct frame *frame = &world->frames[world->end % FRAMES];

	g->sent[to]++;
	if (!world->gateway[to].mesh)
		return ERR_AGAIN;
	if (world->cut[g->index][to])
		return ERR_OK;
	CHECK(world->end - world->first < FRAMES);
	world->end++;
	*frame = (struct frame){.from = g->index, .to = to, .at_us = world->now_us + DELAY_US};
	for (size_t i = 0; i < count; i++) {
		CHECK(frame->size + parts[i].iov_len <= sizeof(frame->bytes));
		memcpy(frame->bytes + frame->size, parts[i].iov_base, parts[i].iov_len);
		frame->size += parts[i].iov_len;
	}
	return ERR_OK;
}

static void up(void *context, uint64_t node, uint64_t boot)
{
	(void)context, (void)node, (void)boot;
}

static void of_node(void *context, uint64_t node)
{
	(void)context, (void)node;
}

/* The kernel answers mail with mail, once. */
static void mail(void *context, uint64_t node, const uint8_t *bytes, size_t size)
{
	struct gateway *g = context;
	struct iovec part = {.iov_base = "answer", .iov_len = 6};

	if (size == 4 && !memcmp(bytes, "mail", 4))
		CHECK_OK(mesh_send(g->mesh, node, &part, 1, now()));
}

static void told(void *context, const struct mesh_view *view)
{
	struct gateway *g = context;
	int of = index_of(view->node);

	if (g->state[of] != view->state)
		g->since_us[of] = world->now_us;
	g->state[of] = view->state;
}

static const struct mesh_ops ops = {
	.open = way_open,
	.close = way_close,
	.send = way_send,
	.up = up,
	.again = of_node,
	.down = of_node,
	.barred = of_node,
	.frame = mail,
	.told = told,
};

static void run_ms(int ms)
{
	for (int64_t end_us = world->now_us + (int64_t)ms * MS; world->now_us < end_us;
		world->now_us += MS) {
		for (; world->first != world->end; world->first++) {
			struct frame *frame = &world->frames[world->first % FRAMES];
			struct gateway *to = &world->gateway[frame->to];

			if (frame->at_us > world->now_us)
				break;
			/* (what comes to one that is asleep waits for it; here it is late) */
			if (to->asleep)
				frame->at_us = world->now_us;
			else if (to->mesh)
				CHECK_OK(mesh_frame(to->mesh, world->gateway[frame->from].key,
					frame->bytes, frame->size, now()));
		}
		for (int i = 0; i < NODES; i++)
			if (world->gateway[i].mesh && !world->gateway[i].asleep)
				mesh_turn(world->gateway[i].mesh, now());
	}
}

static void begin_node(int i, const uint8_t *secret, const uint8_t *cluster_key)
{
	struct gateway *g = &world->gateway[i];
	struct mesh_certificate says = {
		.node = (uint64_t)i + 1, .not_after_s = INT32_MAX, .serial = 1};

	g->index = i;
	g->id = says.node;
	memset(g->key, i + 1, MESH_KEY_SIZE);
	memcpy(says.key, g->key, MESH_KEY_SIZE);
	CHECK_OK(mesh_certificate_sign(&says, secret, g->certificate));
	snprintf(g->endpoint, sizeof(g->endpoint), "tcp://192.0.2.%d:7400", i + 1);
	g->mesh = mesh_create(&(struct mesh_options){
		.node = g->id,
		.boot = 1000 + g->id,
		.name = "a node",
		.version = "1",
		.endpoint = g->endpoint,
		.cluster_key = cluster_key,
		.lost_us = LOST_MS * MS,
		.began_us = world->now_us,
		.ops = &ops,
		.context = g,
	});
	CHECK(g->mesh);
	mesh_set_certificate(g->mesh, g->certificate, MESH_CERTIFICATE_SIZE);
}

static void check_all_up(void)
{
	for (int at = 0; at < NODES; at++)
		for (int of = 0; of < NODES; of++)
			CHECK(at == of || world->gateway[at].state[of] == MESH_UP);
}

static void begin(void)
{
	uint8_t secret[MESH_KEY_SIZE], cluster_key[MESH_KEY_SIZE];

	world = calloc(1, sizeof(*world));
	CHECK(world != NULL);
	world->now_us = 10000000;
	CHECK_OK(mesh_cluster_key_new(secret));
	CHECK_OK(mesh_cluster_key_public(secret, cluster_key));
	for (int i = 0; i < NODES; i++)
		begin_node(i, secret, cluster_key);
	for (int at = 0; at < NODES; at++)
		for (int of = 0; of < NODES; of++) {
			const struct gateway *g = &world->gateway[of];

			if (at == of)
				continue;
			CHECK_OK(mesh_learn(world->gateway[at].mesh,
				&(struct mesh_hint){.node = g->id,
					.name = "of the store",
					.endpoint = g->endpoint,
					.key = g->key,
					.certificate = g->certificate,
					.certificate_size = MESH_CERTIFICATE_SIZE},
				now()));
		}
	run_ms(SETTLE_MS);
	check_all_up();
}

static void end(void)
{
	for (int i = 0; i < NODES; i++)
		mesh_destroy(&world->gateway[i].mesh, false);
	free(world);
}

static void forget_sent(void)
{
	for (int i = 0; i < NODES; i++)
		memset(world->gateway[i].sent, 0, sizeof(world->gateway[i].sent));
}

/* The first other that is near node 0, or the first that is far from it. */
static int find(bool near)
{
	forget_sent();
	run_ms(10000);
	for (int i = 1; i < NODES; i++)
		if ((world->gateway[0].sent[i] > FAR_APART) == near)
			return i;
	fail_msg("there is none");
	return 0;
}

static uint64_t sum(bool warnings)
{
	uint64_t count = 0;

	for (int i = 0; i < NODES; i++)
		if (world->gateway[i].mesh)
			count += warnings ? mesh_counters(world->gateway[i].mesh)->warnings
					  : mesh_counters(world->gateway[i].mesh)->doubts;
	return count;
}

/* When the last of all others that live has come to that state, and the first; ms after `from_us`. */
static void look_at(int of, enum mesh_state state, int64_t from_us, int *first_ms, int *last_ms)
{
	*first_ms = INT32_MAX;
	*last_ms = 0;
	for (int at = 0; at < NODES; at++) {
		const struct gateway *g = &world->gateway[at];
		int ms = (int)((g->since_us[of] - from_us) / MS);

		if (!g->mesh || at == of)
			continue;
		CHECK_EQ(g->state[of], state);
		*first_ms = ms < *first_ms ? ms : *first_ms;
		*last_ms = ms > *last_ms ? ms : *last_ms;
	}
}

TEST(at_rest_each_beats_often_for_its_neighbours_and_seldom_for_all_others)
{
	begin();
	uint64_t doubts = sum(false);

	forget_sent();
	run_ms(39000);
	for (int at = 0; at < NODES; at++) {
		const struct gateway *g = &world->gateway[at];
		unsigned near = 0, far = 0;

		for (int of = 0; of < NODES; of++) {
			if (of == at)
				continue;
			near += g->sent[of] > 39000 / MESH_FAR_MS + 1;
			far += g->sent[of] <= 39000 / MESH_FAR_MS + 1 &&
			       g->sent[of] >= 39000 / MESH_FAR_MS - 1;
			/* whom it watches watches it */
			CHECK_EQ(g->sent[of] > 20, world->gateway[of].sent[at] > 20);
		}
		CHECK_EQ(near, MESH_NEAR);
		CHECK_EQ(far, NODES - 1 - MESH_NEAR);
	}
	CHECK_EQ(sum(false), doubts); /* nobody has asked anybody */
	end();
}

TEST(a_death_is_known_to_all_within_the_time_that_was_promised)
{
	int first_ms, last_ms;

	begin();
	for (int dead = 3; dead < 33; dead += 10) {
		int64_t died_us = world->now_us;

		mesh_destroy(&world->gateway[dead].mesh, false);
		run_ms(1500);
		look_at(dead, MESH_DOUBTFUL, died_us, &first_ms, &last_ms);
		printf("doubtful after %d to %d ms", first_ms, last_ms);
		CHECK_GE(first_ms, MESH_DOUBTFUL_MS - MESH_NEAR_MS);
		CHECK_LE(last_ms, MESH_DOUBTFUL_MS + MESH_ANSWER_MS);
		run_ms(LOST_MS - 1200);
		look_at(dead, MESH_DOWN, died_us, &first_ms, &last_ms);
		printf(", down after %d to %d ms\n", first_ms, last_ms);
		CHECK_GE(first_ms, LOST_MS - MESH_NEAR_MS);
		CHECK_LE(last_ms, LOST_MS + 300);
		CHECK_LE(sum(true), 2 * (uint64_t)(1 + dead / 10)); /* one tells, not all eight */
		run_ms(5000);
	}
	end();
}

TEST(two_who_cannot_reach_each_other_are_lost_for_each_other_only)
{
	for (int near = 0; near < 2; near++) {
		int other;

		begin();
		other = find(near);
		world->cut[0][other] = world->cut[other][0] = true;
		run_ms(near ? LOST_MS + 300 : MESH_FAR_MS + MESH_UNHEARD_MS + LOST_MS + 300);
		CHECK_EQ(world->gateway[0].state[other], MESH_DOWN);
		CHECK_EQ(world->gateway[other].state[0], MESH_DOWN);
		for (int at = 1; at < NODES; at++)
			for (int of = 0; of < NODES; of++)
				CHECK(at == of || (at == other && of == 0) ||
					world->gateway[at].state[of] == MESH_UP);
		world->cut[0][other] = world->cut[other][0] = false;
		run_ms(3000);
		check_all_up();
		end();
	}
}

TEST(whoever_does_not_answer_mail_is_asked_at_once)
{
	struct iovec part = {.iov_base = "mail", .iov_len = 4};
	int far;

	begin();
	far = find(false);
	run_ms(1000);
	uint64_t doubts = sum(false);
	/* one that answers is not */
	CHECK_OK(mesh_send(world->gateway[0].mesh, world->gateway[far].id, &part, 1, now()));
	run_ms(1000);
	CHECK_EQ(sum(false), doubts);
	world->cut[far][0] = true;
	int64_t cut_us = world->now_us;

	CHECK_OK(mesh_send(world->gateway[0].mesh, world->gateway[far].id, &part, 1, now()));
	run_ms(MESH_DOUBTFUL_MS + 100);
	CHECK_EQ(world->gateway[0].state[far], MESH_DOUBTFUL);
	run_ms(LOST_MS - MESH_DOUBTFUL_MS);
	CHECK_EQ(world->gateway[0].state[far], MESH_DOWN);
	CHECK_LE(world->gateway[0].since_us[far] - cut_us, (LOST_MS + 100) * MS);
	end();
}

TEST(one_that_is_late_is_asked_and_nobody_else_hears_of_it)
{
	begin();
	world->gateway[5].asleep = true;
	run_ms(750);
	world->gateway[5].asleep = false;
	run_ms(3000);
	check_all_up();
	CHECK(sum(false) > 0);
	CHECK_EQ(sum(true), 0);
	for (int at = 0; at < NODES; at++)
		CHECK(at == 5 || world->now_us - world->gateway[at].since_us[5] > 10 * MS * MS);
	end();
}

/* Nobody who watched it is left to tell of it. */
TEST(a_death_with_all_who_would_have_told_is_noticed_all_the_same)
{
	int first_ms, last_ms;

	begin();
	forget_sent();
	run_ms(10000);
	for (int i = 1; i < NODES; i++)
		if (world->gateway[0].sent[i] > FAR_APART)
			mesh_destroy(&world->gateway[i].mesh, false);
	mesh_destroy(&world->gateway[0].mesh, false);
	int64_t died_us = world->now_us;

	run_ms(MESH_FAR_MS + MESH_UNHEARD_MS + LOST_MS + 300);
	look_at(0, MESH_DOWN, died_us, &first_ms, &last_ms);
	end();
}

TEST(lies_about_others_end_nobody)
{
	struct gateway *liar, *g;

	begin();
	liar = &world->gateway[7];
	for (int round = 0; round < 100; round++) {
		struct mesh_hello hello = {.protocol = MESH_PROTOCOL,
			.node = liar->id,
			.boot = 1000 + liar->id,
			.your_boot = 1000 + 9,
			.sent_us = world->now_us,
			.beat_ms = round % 3 ? MESH_FAR_MS : UINT32_MAX,
			.ask = round % 2,
			.suspect = round % 5 ? (uint64_t)(round % NODES) : UINT64_MAX - 1,
			.silent_ms = round % 4 ? UINT32_MAX : 0};
		uint8_t bytes[MESH_HELLO_MAX] = {1};
		struct writer out = writer_of(bytes + 1, sizeof(bytes) - 1);

		g = &world->gateway[8];
		hello.certificate.size = MESH_CERTIFICATE_SIZE;
		memcpy(hello.certificate.data, liar->certificate, MESH_CERTIFICATE_SIZE);
		text_copy(hello.endpoint, sizeof(hello.endpoint), liar->endpoint);
		CHECK_OK(schema_encode(&schema_mesh_hello, &hello, &out));
		CHECK_OK(mesh_frame(g->mesh, liar->key, bytes, 1 + writer_used(&out), now()));
		run_ms(20);
		check_all_up();
	}
	end();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "schemas/random.h"
#include "tests/unit/kernel_probe.h"

enum { QUESTIONS = 300 };

/* Loses, doubles and swaps what is under way. */
static void spoil(struct world *world, struct rng *rng)
{
	for (size_t i = 0; i < world->frame_count; i++) {
		struct world_frame *frame = &world->frames[i];

		if (rng_below(rng, 4) == 0) {
			free(frame->bytes);
			memmove(frame, frame + 1, (world->frame_count - i - 1) * sizeof(*frame));
			world->frame_count--;
			i--;
		} else if (rng_below(rng, 4) == 0 && world->frame_count < WORLD_FRAMES) {
			struct world_frame *again = &world->frames[world->frame_count++];

			*again = *frame;
			again->bytes = malloc(RUNTIME_FRAME_MAX);
			memcpy(again->bytes, frame->bytes, frame->size);
		}
	}
}

TEST(mail_comes_once_and_in_order_over_a_bad_bus)
{
	struct world *world = world_create(2);
	struct rng rng = rng_of(5);
	struct actor_type roomy = probe_actor;
	struct addr asker = {0}, other = {0};

	roomy.mailbox_max = QUESTIONS + 1;
	CHECK_OK(actor_spawn(world->rt[0], NULL, &roomy, NULL, &asker));
	CHECK_OK(actor_spawn(world->rt[1], NULL, &roomy, NULL, &other));
	for (int i = 0; i < QUESTIONS; i++)
		actor_request(
			world_actor(world, asker), other, 600000, name_lookup, {.wait_ms = 1});
	for (int i = 0; i < 60000 && world_probe(world, asker)->st.answers < QUESTIONS; i++) {
		world->now_us += 1000;
		for (int p = 0; p < 2; p++)
			runtime_turn(world->rt[p]);
		spoil(world, &rng);
		world_deliver(world);
	}
	CHECK_EQ(world_probe(world, asker)->st.answers, QUESTIONS);
	CHECK_EQ(world_probe(world, asker)->st.failures, 0);
	CHECK_EQ(world_probe(world, other)->st.questions, QUESTIONS);
	CHECK(runtime_counters(world->rt[1])->duplicate_frames > 0);
	world_run_ms(world, 500);
	CHECK_EQ(kernel_peer(world->rt[0], 2)->mail.out_count, 0);
	CHECK_EQ(kernel_peer(world->rt[0], 2)->mail.out_bytes, 0);
	world_destroy(world);
}

TEST(a_full_bus_is_tried_again_and_a_full_outbox_refuses)
{
	struct world *world = world_create(2);
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr other = world_spawn(world, 2, NULL, NULL);
	struct probe *s = world_probe(world, asker);

	world->full = true;
	for (int i = 0; i < RUNTIME_OUTBOX_MAX; i++)
		CHECK_OK(actor_send(
			world_actor(world, asker), other, load_report, {.cpu_permille = 1}));
	CHECK_EQ(actor_send(world_actor(world, asker), other, load_report, {.cpu_permille = 1}),
		ERR_OVERLOAD);
	world_run_ms(world, 1);
	CHECK_EQ(s->st.last_err, ERR_OVERLOAD);
	CHECK_EQ(kernel_peer(world->rt[0], 2)->mail.out_count, RUNTIME_OUTBOX_MAX);
	world->full = false;
	world_run_ms(world, 600);
	CHECK_EQ(kernel_peer(world->rt[0], 2)->mail.out_count, 0);
	world_destroy(world);
}

TEST(at_a_death_the_unacknowledged_comes_back)
{
	struct world *world = world_create(2);
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr other = world_spawn(world, 2, NULL, NULL);

	for (int i = 0; i < 5; i++)
		actor_request(world_actor(world, asker), other, 60000, name_lookup, {.wait_ms = 1});
	actor_send(world_actor(world, asker), other, done, {});
	world_drop_frames(world);
	runtime_peer_down(world->rt[0], 2);
	world_run_ms(world, 5);
	CHECK_EQ(world_probe(world, asker)->st.failures, 6);
	CHECK_EQ(world_probe(world, asker)->st.last_err, ERR_DEAD);
	CHECK_EQ(world->rt[0]->pending.count, 0);
	CHECK(!runtime_peer_known(world->rt[0], 2));
	world_destroy(world);
}

/* Frames of every kind, right and wrong, into a runtime that goes on as if nothing had been. */
TEST(garbage_frames_are_counted_and_forgotten)
{
	struct world *world = world_create(2);
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr other = world_spawn(world, 2, NULL, NULL);
	struct rng rng = rng_of(11);
	uint8_t frame[512];

	for (int i = 0; i < 20000; i++) {
		struct bus_header header = {.magic = BUS_MAGIC,
			.version = BUS_VERSION,
			.kind = (uint8_t)rng_below(&rng, 5),
			.from = 1,
			.seq = kernel_peer(world->rt[1], 1)->mail.in_seq + 1,
			.ack = rng_below(&rng, 9)};
		size_t size = rng_below(&rng, sizeof(frame));

		rng_fill(&rng, frame, size);
		if (size >= sizeof(header) && i % 3)
			memcpy(frame, &header, sizeof(header));
		runtime_bus_frame(world->rt[1], frame, size);
	}
	CHECK(runtime_counters(world->rt[1])->bad_frames > 1000);
	CHECK_EQ(world_probe(world, other)->st.questions, 0);
	/* (its numbering of process 1 is spoilt by now; a new peer is served as ever) */
	runtime_peer_down(world->rt[1], 1);
	runtime_peer_down(world->rt[0], 2);
	struct runtime_peer_info one = world_info(1), two = world_info(2);

	CHECK_OK(runtime_peer_up(world->rt[1], &one));
	CHECK_OK(runtime_peer_up(world->rt[0], &two));
	actor_request(world_actor(world, asker), other, 1000, name_lookup, {.wait_ms = 1});
	world_run_ms(world, 30);
	CHECK_EQ(world_probe(world, asker)->st.answers, 1);
	world_destroy(world);
}

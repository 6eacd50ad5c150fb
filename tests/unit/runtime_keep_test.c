/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel keeps of a turn, and when: process 2 of a little world has an escrow.
 */
#include "tests/unit/kernel_probe.h"

enum { KEPT_MEMORY = 64 * 1024, QUESTION = 5 };

static _Alignas(64) uint8_t memory[KEPT_MEMORY], left[KEPT_MEMORY];
static struct escrow *escrow;
static uint64_t looked_at; /* an actor; 0 = nobody looks */
static unsigned mails_seen;

/* The state that a successor would find now. */
static bool find_left(uint64_t id, struct probe_state *state)
{
	struct escrow *e;
	uint8_t bytes[4096];
	uint64_t actor;
	size_t size;
	bool found = false;

	memcpy(left, memory, sizeof(left));
	CHECK_OK(escrow_attach(left, sizeof(left), &e));
	for (uint32_t n = 1; n <= escrow_entries(e) && !found; n++) {
		struct actor_record record;

		if (escrow_read(e, n, &actor, bytes, sizeof(bytes), &size) || actor != id)
			continue;
		struct reader in = reader_of(bytes, size);

		CHECK_OK(schema_decode(&schema_actor_record, &in, &record));
		CHECK_OK(schema_decode(&probe_schema, &in, state));
		found = true;
	}
	escrow_detach(&e);
	return found;
}

/* Whatever leaves says nothing that is not kept. */
static enum err look_and_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	const struct bus_header *header = parts[0].iov_base;
	struct probe_state state = {0};

	if (looked_at && (header->kind == BUS_MAIL || header->ack)) {
		CHECK(find_left(looked_at, &state));
		CHECK_EQ(state.questions, 1);
		CHECK_EQ(header->ack, 1);
		mails_seen += header->kind == BUS_MAIL;
	}
	return world_send(context, process, parts, count);
}

static struct world *start(uint32_t actors)
{
	static struct runtime_ops ops;
	struct escrow_layout layout = {
		.actors = 2 * actors, .blocks = 64}; /* (what is hot apart) */
	struct world *world = world_create(1);
	struct runtime_options options = world_options(world, 2);
	struct runtime_peer_info one = world_info(1), two = world_info(2);

	memset(memory, 0, sizeof(memory));
	CHECK_LE(escrow_size(&layout), sizeof(memory));
	escrow_format(memory, &layout);
	CHECK_OK(escrow_attach(memory, sizeof(memory), &escrow));
	ops = world_ops;
	ops.bus_send = look_and_send;
	options.ops = &ops;
	options.escrow = escrow;
	CHECK_OK(runtime_create(&options, &world->rt[1]));
	CHECK_OK(runtime_peer_up(world->rt[0], &two));
	CHECK_OK(runtime_peer_up(world->rt[1], &one));
	looked_at = mails_seen = 0;
	return world;
}

static void end(struct world *world)
{
	looked_at = 0;
	world_destroy(world);
	escrow_detach(&escrow);
}

static struct actor *spawn_in(struct world *world, uint32_t process)
{
	return world_actor(world, world_spawn(world, process, NULL, NULL));
}

TEST(what_was_said_leaves_when_the_turn_is_kept)
{
	struct world *world = start(8);
	struct actor *asker = spawn_in(world, 1);
	struct actor *probe = spawn_in(world, 2);

	runtime_turn(world->rt[1]);
	actor_request(asker, actor_addr(probe), 1000, name_lookup, {.wait_ms = QUESTION});
	runtime_turn(world->rt[0]);
	looked_at = probe->id;
	world_deliver(world);
	CHECK_EQ(mails_seen, 0);
	runtime_turn(world->rt[1]);
	CHECK_EQ(mails_seen, 1);
	world_deliver(world);
	runtime_turn(world->rt[0]);
	CHECK_EQ(world_probe(world, actor_addr(asker))->st.answers, 1);
	world_run_ms(world, 10); /* acknowledgements */
	end(world);
}

TEST(a_successor_finds_all_who_lived_and_nobody_else)
{
	struct world *world = start(8);
	struct actor *first = spawn_in(world, 2);
	struct actor *second = spawn_in(world, 2);
	struct actor *third = spawn_in(world, 2);
	struct probe_state kept_state;
	uint64_t second_id = second->id;

	CHECK(!find_left(first->id, &kept_state)); /* no turn has ended */
	runtime_turn(world->rt[1]);
	actor_send(first, actor_addr(third), name_lookup, {.wait_ms = QUESTION});
	actor_monitor(first, actor_addr(third));
	actor_stop(second, ERR_OK);
	CHECK(find_left(second_id, &kept_state));
	runtime_turn(world->rt[1]);
	CHECK(find_left(first->id, &kept_state));
	CHECK(!find_left(second_id, &kept_state));
	CHECK(find_left(third->id, &kept_state));
	CHECK_EQ(kept_state.questions, 1);
	for (struct actor *actor = runtime_next_actor(world->rt[1], NULL); actor;
		actor = runtime_next_actor(world->rt[1], actor)) {
		uint8_t kept[1024], now[1024];
		struct writer out = writer_of(now, sizeof(now));
		size_t size;

		CHECK_OK(runtime_encode_actor(actor, &out));
		CHECK(runtime_kept_actor(actor, kept, sizeof(kept), &size));
		CHECK_EQ(size, writer_used(&out));
		CHECK_MEM(kept, now, size);
	}
	end(world);
}

TEST(what_changes_with_each_packet_is_written_down_alone)
{
	enum { HOT_BYTES = 24 }; /* whose, and one number */
	struct world *world = start(8);
	const struct runtime_counters *counters = runtime_counters(world->rt[1]);
	struct actor *actor = spawn_in(world, 2);
	uint8_t kept[1024], now[1024];
	size_t size;

	runtime_turn(world->rt[1]);
	for (unsigned i = 1; i <= 3; i++) {
		uint64_t bytes = counters->kept_bytes, times = counters->kept;
		struct writer out = writer_of(now, sizeof(now));

		actor_send(actor, actor_addr(actor), load_report, {.cpu_permille = 1});
		runtime_turn(world->rt[1]);
		CHECK_EQ(world_probe(world, actor_addr(actor))->st.notes, i);
		CHECK_EQ(counters->kept, times + 1);
		CHECK(counters->kept_bytes > bytes && counters->kept_bytes - bytes < HOT_BYTES);
		CHECK_OK(runtime_encode_actor(actor, &out));
		CHECK(runtime_kept_actor(actor, kept, sizeof(kept), &size));
		CHECK_EQ(size, writer_used(&out));
		CHECK_MEM(kept, now, size);
	}
	end(world);
}

TEST(who_finds_no_room_is_not_kept_until_there_is_some)
{
	struct world *world = start(2);
	const struct runtime_counters *counters = runtime_counters(world->rt[1]);
	struct actor *actors[3];
	struct probe_state kept_state;
	unsigned kept = 0;

	for (int i = 0; i < 3; i++)
		actors[i] = spawn_in(world, 2);
	runtime_turn(world->rt[1]);
	CHECK_EQ(counters->not_kept, 1);
	for (int i = 0; i < 3; i++)
		kept += find_left(actors[i]->id, &kept_state);
	CHECK_EQ(kept, 2);
	actor_stop(actors[2], ERR_OK);
	runtime_turn(world->rt[1]);
	for (int i = 0; i < 2; i++)
		actor_kick(world->rt[1], actor_addr(actors[i]));
	runtime_turn(world->rt[1]);
	CHECK(find_left(actors[0]->id, &kept_state) && find_left(actors[1]->id, &kept_state));
	end(world);
}

TEST(who_cannot_be_written_down_is_not_there_as_it_was_before)
{
	struct world *world = start(8);
	struct actor *probe = spawn_in(world, 2);
	struct addr away = world_spawn(world, 1, NULL, NULL);
	struct probe_state kept_state;

	runtime_turn(world->rt[1]);
	actor_request(probe, away, 1000, name_lookup, {.wait_ms = QUESTION});
	test_fail_allocation(1); /* what it waits for is collected */
	runtime_turn(world->rt[1]);
	test_fail_allocation(0);
	CHECK_EQ(runtime_counters(world->rt[1])->not_kept, 1);
	CHECK(!find_left(probe->id, &kept_state));
	actor_kick(world->rt[1], actor_addr(probe));
	runtime_turn(world->rt[1]);
	CHECK(find_left(probe->id, &kept_state));
	end(world);
}

static void quiet_pump(struct actor *self, void *data)
{
	((struct probe *)data)->pumps++;
	actor_unchanged(self);
}

TEST(who_says_that_nothing_changed_is_not_looked_at_unless_it_got_mail)
{
	struct actor_type quiet_actor = probe_actor;
	struct world *world = start(8);
	const struct runtime_counters *counters = runtime_counters(world->rt[1]);
	struct actor *quiet, *probe;
	struct addr addr;
	struct probe_state kept_state;

	quiet_actor.pump = quiet_pump;
	CHECK_OK(actor_spawn(world->rt[1], NULL, &quiet_actor, NULL, &addr));
	quiet = runtime_find(world->rt[1], addr.id);
	probe = spawn_in(world, 2);
	runtime_turn(world->rt[1]);
	uint64_t looks = counters->kept + counters->kept_same;

	actor_kick(world->rt[1], actor_addr(quiet));
	runtime_turn(world->rt[1]);
	CHECK_EQ(((struct probe *)actor_data(quiet))->pumps, 1);
	CHECK_EQ(counters->kept + counters->kept_same, looks);
	actor_kick(world->rt[1], actor_addr(probe));
	runtime_turn(world->rt[1]);
	CHECK_EQ(counters->kept + counters->kept_same, looks + 1);
	actor_send(probe, actor_addr(quiet), name_lookup, {.wait_ms = QUESTION});
	actor_kick(world->rt[1], actor_addr(quiet));
	runtime_turn(world->rt[1]);
	CHECK(find_left(quiet->id, &kept_state));
	CHECK_EQ(kept_state.questions, 1);
	end(world);
}

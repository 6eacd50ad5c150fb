/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor moves between processes 2 and 3 of a little world, both with escrow and arena, while process
 * 1 talks to it and watches it. Either of the two dies at any step and its line goes on.
 */
#include "tests/unit/kernel_probe.h"

enum { KEPT_ACTORS = 128, SLOT_BYTES = 4096, MARK_AT = 2000, QUESTION = 5 };

static const struct arena_layout layout = {
	.count = {16,  1,		 4, 1},
	.size = {sizeof(struct packet),	64,		    SLOT_BYTES, 64},
	.escrow = {.actors = KEPT_ACTORS,.blocks = 1024},
};

/* ---- who moves --------------------------------------------------------------------------------- */

struct mover_state {
	uint64_t questions, answers, failures, arrivals;
	uint32_t slot_index, slot_generation;
	uint64_t last_err;
};

struct mover {
	struct mover_state st; /* first */
};

// clang-format off
static const struct field mover_fields[] = {
	{.name = "questions",  .tag = 1, .kind = FIELD_U64, .offset = 0 },
	{.name = "answers",    .tag = 2, .kind = FIELD_U64, .offset = 8 },
	{.name = "failures",   .tag = 3, .kind = FIELD_U64, .offset = 16},
	{.name = "arrivals",   .tag = 4, .kind = FIELD_U64, .offset = 24},
	{.name = "index",      .tag = 5, .kind = FIELD_U32, .offset = 32},
	{.name = "generation", .tag = 6, .kind = FIELD_U32, .offset = 36},
	{.name = "last_err",   .tag = 7, .kind = FIELD_U64, .offset = 40},
};
// clang-format on
static const struct schema mover_schema = {.name = "mover_state",
	.id = 0xf902,
	.size = sizeof(struct mover_state),
	.fields = mover_fields,
	.field_count = sizeof(mover_fields) / sizeof(mover_fields[0]),
	.use = SCHEMA_STATE};

static struct slot_ref slot_of(const struct mover *s)
{
	return (struct slot_ref){s->st.slot_index, s->st.slot_generation};
}

static uint64_t *mark_of(struct actor *self, const struct mover *s)
{
	uint8_t *slot = arena_get(actor_arena(self), ARENA_SESSION, slot_of(s));

	return slot ? (uint64_t *)(slot + MARK_AT) : NULL;
}

/* Each question counts in the slot, too. */
ON(mover, name_lookup)
{
	++*mark_of(self, s);
	return actor_reply(self, name_found, {.epoch = ++s->st.questions + 0 * m->wait_ms});
}

ON(mover, name_found)
{
	s->st.answers++;
	return ERR_OK;
}

ON(mover, failed)
{
	s->st.failures++;
	s->st.last_err = m->err;
	return ERR_OK;
}

static enum err mover_init(struct actor *self, void *data, const void *args)
{
	struct mover *s = data;
	struct slot_ref ref = arena_alloc(actor_arena(self), ARENA_SESSION, actor_addr(self).id);

	(void)args;
	s->st.slot_index = ref.index;
	s->st.slot_generation = ref.generation;
	return ref.generation ? ERR_OK : ERR_OVERLOAD;
}

static enum err mover_restore(struct actor *self, void *data)
{
	struct mover *s = data;

	if (s->st.questions == PROBE_BROKEN)
		return ERR_FORMAT;
	return arena_hold_again(actor_arena(self), ARENA_SESSION, slot_of(s)) ? ERR_OK : ERR_FORMAT;
}

static void mover_left(struct actor *self, void *data)
{
	arena_release(actor_arena(self), ARENA_SESSION, slot_of(data));
}

static void mover_stop(struct actor *self, void *data, enum err reason)
{
	(void)reason;
	mover_left(self, data);
}

static size_t mover_slots(void *data, struct actor_slot *slots)
{
	struct mover *s = data;

	slots[0] = (struct actor_slot){ARENA_SESSION, &s->st.slot_index, &s->st.slot_generation};
	return 1;
}

static void mover_arrived(struct actor *self, void *data)
{
	struct mover *s = data;

	(void)self;
	s->st.arrivals++;
}

static const struct handler mover_handlers[] = {
	HANDLER(mover, name_lookup, 0),
	HANDLER(mover, name_found, 0),
	HANDLER(mover, failed, 0),
};

static const struct actor_type mover_actor = {
	.name = "mover",
	.size = sizeof(struct mover),
	.state = &mover_schema,
	HANDLER_TABLE(mover_handlers),
	.init = mover_init,
	.restore = mover_restore,
	.slots = mover_slots,
	.left = mover_left,
	.arrived = mover_arrived,
	.stop = mover_stop,
};

static const struct actor_type *const types[] = {&probe_actor, &mover_actor, NULL};

/* ---- lines ------------------------------------------------------------------------------------- */

struct line {
	void *memory;
	struct arena *arena;
	struct escrow *escrow;
};

static struct world *world;
static struct line lines[WORLD_PROCESSES];

static void attach(uint32_t process)
{
	struct line *line = &lines[process - 1];
	struct runtime_options options = world_options(world, process);

	CHECK_OK(arena_attach(line->memory, arena_size(&layout), &line->arena));
	CHECK_OK(arena_escrow(line->arena, &line->escrow));
	options.arena = line->arena;
	options.escrow = line->escrow;
	options.types = types;
	CHECK_OK(runtime_create(&options, &world->rt[process - 1]));
}

static void meet(uint32_t process)
{
	for (uint32_t other = 1; other <= WORLD_PROCESSES; other++) {
		struct runtime_peer_info mine = world_info(process), its = world_info(other);

		if (other == process || !world->rt[other - 1])
			continue;
		(void)runtime_peer_up(world->rt[process - 1], &its);
		(void)runtime_peer_up(world->rt[other - 1], &mine);
	}
}

static void begin(void)
{
	struct runtime_takeover_report report;

	world = world_create(1);
	for (uint32_t process = 2; process <= 3; process++) {
		struct line *line = &lines[process - 1];

		line->memory = aligned_alloc(4096, arena_size(&layout));
		CHECK(line->memory != NULL);
		memset(line->memory, 0, arena_size(&layout));
		arena_format(line->memory, &layout);
		attach(process);
		CHECK_OK(runtime_takeover(world->rt[process - 1], &report));
		meet(process);
	}
}

static void kill(uint32_t process)
{
	struct line *line = &lines[process - 1];
	struct runtime *rt = world->rt[process - 1];
	bool full = world->full;

	world->full = true;
	rt->options.escrow = NULL;
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		actor->unfinished = true; /* nobody says goodbye */
	runtime_destroy(&world->rt[process - 1]);
	world->full = full;
	escrow_detach(&line->escrow);
	arena_detach(&line->arena);
}

/* What was under way to and from it is lost with it. */
static void kill_and_go_on(uint32_t process)
{
	struct runtime_takeover_report report;
	size_t kept = 0;

	kill(process);
	for (size_t i = 0; i < world->frame_count; i++) {
		struct world_frame *frame = &world->frames[i];

		if (frame->from == process || frame->to == process)
			free(frame->bytes);
		else
			world->frames[kept++] = *frame;
	}
	world->frame_count = kept;
	attach(process);
	CHECK_OK(runtime_takeover(world->rt[process - 1], &report));
	CHECK_EQ(report.left_out + report.ended_by_restore, 0);
	meet(process);
	for (int p = 0; p < WORLD_PROCESSES; p++)
		runtime_peer_again(world->rt[p], process);
}

static void end(void)
{
	for (uint32_t process = 2; process <= 3; process++)
		if (world->rt[process - 1])
			kill(process);
	world_destroy(world);
	for (uint32_t process = 2; process <= 3; process++)
		free(lines[process - 1].memory);
}

static struct addr spawn_mover(uint32_t process)
{
	struct addr addr = {0};

	CHECK_OK(actor_spawn(world->rt[process - 1], NULL, &mover_actor, NULL, &addr));
	runtime_turn(world->rt[process - 1]);
	return addr;
}

/* How many of it there are, and where (the last one found). */
static int copies(struct addr who, uint32_t *where)
{
	int count = 0;

	for (uint32_t p = 1; p <= WORLD_PROCESSES; p++) {
		if (!world->rt[p - 1] || !runtime_find(world->rt[p - 1], who.id))
			continue;
		count++;
		*where = p;
	}
	return count;
}

static const struct mover_state *mover_at(struct addr who)
{
	struct actor *actor = world_actor(world, who);

	assert_non_null(actor);
	return actor_data(actor);
}

static void ask(struct addr asker, struct addr whom)
{
	actor_request(world_actor(world, asker), whom, 60000, name_lookup, {.wait_ms = QUESTION});
}

static uint32_t slots_used(uint32_t process)
{
	struct arena_usage usage;

	arena_usage(lines[process - 1].arena, &usage);
	return usage.used[ARENA_SESSION] - usage.freed[ARENA_SESSION];
}

/* ---- rows -------------------------------------------------------------------------------------- */

TEST(an_actor_goes_on_elsewhere_with_its_slot_its_mail_its_watch_and_its_requests)
{
	begin();
	struct addr silent = world_spawn(world, 1, NULL, &(struct probe_args){.silent = true});
	struct addr mover = spawn_mover(2);
	struct addr asker = world_spawn(world, 1, NULL, &(struct probe_args){.watch = mover});
	uint32_t where = 0;

	ask(asker, mover);
	world_run_ms(world, 5);
	ask(mover, silent); /* answered when it is elsewhere */
	world_run_ms(world, 5);
	CHECK_OK(actor_move(world_actor(world, mover), 3));
	CHECK_EQ(actor_move(world_actor(world, mover), 3), ERR_BUSY);
	world_run_ms(world, 5);
	CHECK_EQ(copies(mover, &where), 1);
	CHECK_EQ(where, 3);
	CHECK_EQ(mover_at(mover)->arrivals, 1);
	CHECK_EQ(*mark_of(world_actor(world, mover), (const void *)mover_at(mover)), 1);
	CHECK_EQ(slots_used(2), 0);
	CHECK_EQ(slots_used(3), 1);
	actor_answer(world_actor(world, silent), world_probe(world, silent)->asker, name_found,
		{.epoch = 1});
	ask(asker, mover);
	world_run_ms(world, 5);
	CHECK_EQ(mover_at(mover)->answers, 1);
	CHECK_EQ(mover_at(mover)->questions, 2);
	CHECK_EQ(world_probe(world, asker)->st.answers, 2);
	CHECK_EQ(kernel_process_of(world->rt[0], mover), 3);
	actor_stop(world_actor(world, mover), ERR_OK);
	world_run_ms(world, 5);
	CHECK_EQ(world_probe(world, asker)->st.downs, 1);
	for (int p = 0; p < WORLD_PROCESSES; p++)
		CHECK_EQ(world->rt[p]->moved.count, 0);
	CHECK_EQ(slots_used(3), 0);
	end();
}

TEST(a_death_at_any_step_of_a_move_leaves_exactly_one_and_no_mail_is_lost)
{
	enum { QUESTIONS = 4, STEPS = 48 };

	for (uint32_t victim = 2; victim <= 3; victim++) {
		for (int step = 0; step < STEPS; step++) {
			begin();
			struct addr mover = spawn_mover(2);
			struct addr asker =
				world_spawn(world, 1, NULL, &(struct probe_args){.watch = mover});
			uint32_t where = 0;
			int done = 0;

			world_run_ms(world, 5);
			for (int i = 0; i < QUESTIONS; i++) {
				struct actor *actor = world_actor(world, mover);

				ask(asker, mover);
				if (actor)
					(void)actor_move(actor,
						copies(mover, &where) == 1 && where == 2 ? 3 : 2);
				for (int half = 0; half < 12; half++, done++) {
					world->now_us += 300;
					if (done == step)
						kill_and_go_on(victim);
					if (half % 4 == 3)
						world_deliver(world);
					else
						runtime_turn(world->rt[half % 4]);
				}
			}
			world_run_ms(world, 500);
			if (copies(mover, &where) != 1)
				fail_msg("victim %u, step %d: %d copies", victim, step,
					copies(mover, &where));
			if (world_probe(world, asker)->st.answers != QUESTIONS ||
				mover_at(mover)->questions != QUESTIONS)
				fail_msg("victim %u, step %d: %llu answers", victim, step,
					(unsigned long long)world_probe(world, asker)->st.answers);
			CHECK_EQ(*mark_of(world_actor(world, mover), (const void *)mover_at(mover)),
				QUESTIONS);
			CHECK_EQ(world_probe(world, asker)->st.failures, 0);
			CHECK_EQ(world_probe(world, asker)->st.downs, 0);
			CHECK_EQ(slots_used(2) + slots_used(3), 1);
			actor_stop(world_actor(world, mover), ERR_OK);
			world_run_ms(world, 20);
			CHECK_EQ(world_probe(world, asker)->st.downs, 1);
			end();
		}
	}
}

TEST(the_process_it_was_born_in_may_end_and_newcomers_find_it)
{
	begin();
	struct addr mover = spawn_mover(2), asker;
	struct runtime_options options = world_options(world, 1);
	uint32_t where = 0;

	CHECK_OK(actor_move(world_actor(world, mover), 3));
	world_run_ms(world, 5);
	kill(2);
	runtime_peer_down(world->rt[0], 2);
	runtime_peer_down(world->rt[2], 2);
	runtime_peer_down(world->rt[2], 1);
	runtime_destroy(&world->rt[0]); /* and another control process comes */
	CHECK_OK(runtime_create(&options, &world->rt[0]));
	meet(1);
	world_run_ms(world, 5);
	asker = world_spawn(world, 1, NULL, &(struct probe_args){.watch = mover});
	ask(asker, mover);
	world_run_ms(world, 5);
	CHECK_EQ(copies(mover, &where), 1);
	CHECK_EQ(world_probe(world, asker)->st.answers, 1);
	CHECK_EQ(world_probe(world, asker)->st.downs, 0);
	kill(3);
	runtime_peer_down(world->rt[0], 3);
	world_run_ms(world, 5);
	CHECK_EQ(world_probe(world, asker)->st.downs, 1);
	end();
}

TEST(who_cannot_move_stays_and_who_cannot_go_on_is_reported)
{
	begin();
	struct addr probe = world_spawn(world, 2, NULL, NULL), mover = spawn_mover(2);
	struct addr asker = world_spawn(world, 1, NULL, &(struct probe_args){.watch = mover});
	struct addr others[4];
	uint32_t where = 0;

	CHECK_EQ(actor_move(world_actor(world, probe), 3), ERR_UNSUPPORTED);
	CHECK_EQ(actor_move(world_actor(world, mover), 2), ERR_EXISTS);
	CHECK_EQ(actor_move(world_actor(world, mover), 9), ERR_NOT_FOUND);
	/* its process goes in the same turn */
	CHECK_OK(actor_move(world_actor(world, mover), 3));
	runtime_peer_down(world->rt[1], 3);
	runtime_turn(world->rt[1]);
	runtime_turn(world->rt[1]);
	CHECK_EQ(mover_at(mover)->failures, 1);
	CHECK_EQ(mover_at(mover)->last_err, ERR_DEAD);
	CHECK_EQ(world->rt[1]->moved.count, 0);
	runtime_peer_down(world->rt[2], 2);
	meet(2);
	/* no slot is free there */
	for (int i = 0; i < 4; i++)
		others[i] = spawn_mover(3);
	CHECK_OK(actor_move(world_actor(world, mover), 3));
	world_run_ms(world, 20);
	CHECK_EQ(copies(mover, &where), 0);
	CHECK_EQ(copies(others[0], &where), 1);
	CHECK_EQ(world->rt[2]->counters.moves_failed, 1);
	CHECK_EQ(world_probe(world, asker)->st.downs, 1);
	CHECK_EQ(slots_used(2), 0);
	end();
}

/* One allocation fails, of those that leaving takes (process 2) or arriving (3). */
static size_t move_without(uint32_t process, size_t n)
{
	struct addr mover = spawn_mover(2);
	struct addr asker = world_spawn(world, 1, NULL, &(struct probe_args){.watch = mover});
	uint32_t where = 0;
	size_t seen;

	world_run_ms(world, 5);
	CHECK_OK(actor_move(world_actor(world, mover), 3));
	if (process == 3)
		runtime_turn(world->rt[1]);
	test_fail_allocation(n);
	if (process == 3)
		world_deliver(world);
	runtime_turn(world->rt[process - 1]);
	seen = test_fail_allocation(0);
	world_run_ms(world, 500);
	/* it is there once, and answers; or it could not be restored, and that is told */
	int count = copies(mover, &where);

	CHECK_LE(count, 1);
	CHECK_EQ(slots_used(2) + slots_used(3), (uint32_t)count);
	if (world_probe(world, asker)->st.downs != (uint64_t)!count)
		fail_msg("process %u, allocation %zu: nobody is told of the end", process, n);
	if (process == 2)
		CHECK_EQ(count, 1);
	if (count) {
		ask(asker, mover);
		world_run_ms(world, 5);
		CHECK_EQ(world_probe(world, asker)->st.answers, 1);
	}
	return seen;
}

TEST(a_move_without_memory_leaves_it_where_it_was_or_tells_of_its_end)
{
	enum { ALLOCATIONS_MAX = 200 };

	for (uint32_t process = 2; process <= 3; process++) {
		size_t n = 1, seen;

		do {
			begin();
			seen = move_without(process, n);
			end();
		} while (seen >= n++ && n < ALLOCATIONS_MAX);
		CHECK_GE(n, 3);
		CHECK_LE(n, ALLOCATIONS_MAX - 1);
	}
}

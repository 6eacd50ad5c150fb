/* SPDX-License-Identifier: Apache-2.0
 *
 * Process 2 of a little world dies and its line goes on: from arena and escrow as they are at that
 * moment, under the same number. The others are told nothing.
 */
#include "tests/unit/kernel_probe.h"

enum { KEPT_ACTORS = 64, QUESTION = 5, POISONED_TURNS = 2 };

static const struct arena_layout layout = {
	.count = {16,  1,	 1, 1},
	.size = {sizeof(struct packet),	64,	    64, 64},
	.escrow = {.actors = KEPT_ACTORS,.blocks = 512},
};

struct line {
	struct world *world;
	void *memory;
	struct arena *arena;
	struct escrow *escrow;
	struct runtime_takeover_report report;
};

static void attach(struct line *line)
{
	struct runtime_options options = world_options(line->world, 2);

	CHECK_OK(arena_attach(line->memory, arena_size(&layout), &line->arena));
	CHECK_OK(arena_escrow(line->arena, &line->escrow));
	options.arena = line->arena;
	options.escrow = line->escrow;
	CHECK_OK(runtime_create(&options, &line->world->rt[1]));
}

static struct line begin(void)
{
	struct line line = {.world = world_create(1)};
	struct runtime_peer_info one = world_info(1), two = world_info(2);

	line.memory = aligned_alloc(4096, arena_size(&layout));
	CHECK(line.memory != NULL);
	memset(line.memory, 0, arena_size(&layout));
	arena_format(line.memory, &layout);
	attach(&line);
	CHECK_OK(runtime_takeover(line.world->rt[1], &line.report));
	CHECK_EQ(line.report.restored, 0);
	CHECK_OK(runtime_peer_up(line.world->rt[0], &two));
	CHECK_OK(runtime_peer_up(line.world->rt[1], &one));
	return line;
}

/* Nothing that the dead one's memory does from here on is seen. */
static void kill(struct line *line)
{
	struct world *world = line->world;
	bool full = world->full;

	world->full = true;
	world->rt[1]->options.escrow = NULL;
	world->rt[1]->options.arena = NULL;
	runtime_destroy(&world->rt[1]);
	world->full = full;
	escrow_detach(&line->escrow);
	arena_detach(&line->arena);
}

/* What was under way to and from the dead is lost with it. */
static void go_on(struct line *line)
{
	struct runtime_peer_info one = world_info(1);

	world_drop_frames(line->world);
	attach(line);
	CHECK_OK(runtime_takeover(line->world->rt[1], &line->report));
	CHECK_OK(runtime_peer_up(line->world->rt[1], &one));
	runtime_peer_again(line->world->rt[0], 2);
}

static void end(struct line *line)
{
	kill(line);
	world_destroy(line->world);
	free(line->memory);
}

static struct actor *spawn_in(struct line *line, uint32_t process, bool silent)
{
	return world_actor(line->world,
		world_spawn(line->world, process, NULL, &(struct probe_args){.silent = silent}));
}

static void ask(struct actor *asker, struct addr whom)
{
	actor_request(asker, whom, 60000, name_lookup, {.wait_ms = QUESTION});
}

static const struct probe_state *state_of(struct line *line, struct addr addr)
{
	return &world_probe(line->world, addr)->st;
}

TEST(a_death_at_any_step_loses_no_mail_and_doubles_none)
{
	enum { QUESTIONS = 6, STEPS = 40 };

	for (int step = 0; step < STEPS; step++) {
		struct line line = begin();
		struct addr here = world_spawn(line.world, 1, NULL, NULL);
		struct addr there = world_spawn(line.world, 2, NULL, NULL);
		int done = 0;

		runtime_turn(line.world->rt[1]);
		for (int i = 0; i < QUESTIONS; i++) {
			ask(world_actor(line.world, i % 2 ? here : there), i % 2 ? there : here);
			for (int half = 0; half < 4; half++, done++) {
				if (done == step) {
					kill(&line);
					go_on(&line);
				}
				if (half == 1 || half == 3)
					world_deliver(line.world);
				else
					runtime_turn(line.world->rt[half / 2]);
			}
		}
		world_run_ms(line.world, 500);
		/* (what was asked in a turn that was not kept was never asked) */
		uint64_t asked = state_of(&line, there)->answers;

		CHECK_EQ(state_of(&line, here)->answers, QUESTIONS / 2);
		CHECK_EQ(state_of(&line, there)->questions, QUESTIONS / 2);
		CHECK_EQ(state_of(&line, here)->questions, asked);
		CHECK_GE(asked, QUESTIONS / 2 - 1);
		CHECK_EQ(state_of(&line, here)->failures + state_of(&line, there)->failures, 0);
		CHECK_EQ(state_of(&line, here)->downs, 0);
		for (int p = 0; p < 2; p++) {
			CHECK_EQ(line.world->rt[p]->pending.count, 0);
			CHECK_EQ(line.world->rt[p]->peers[0].mail.out_count, 0);
		}
		end(&line);
	}
}

TEST(what_changes_with_each_packet_comes_back_and_without_it_nobody_does)
{
	struct line line = begin();
	struct actor *actors[] = {spawn_in(&line, 2, false), spawn_in(&line, 2, false)};
	struct addr who[] = {actor_addr(actors[0]), actor_addr(actors[1])};

	runtime_turn(line.world->rt[1]);
	for (int i = 0; i < 3; i++) {
		actor_send(actors[0], who[0], load_report, {.cpu_permille = 1});
		runtime_turn(line.world->rt[1]);
	}
	escrow_remove(line.escrow, actors[1]->hot_entry);
	escrow_commit(line.escrow);
	kill(&line);
	go_on(&line);
	CHECK_EQ(state_of(&line, who[0])->notes, 3);
	CHECK_EQ(line.report.restored, 1);
	CHECK_EQ(line.report.ended_by_restore, 1);
	end(&line);
}

/* What the escrow has of somebody need not be written again: with hundreds of sessions that would hold up
 * their first packets. Who watches, asks or is watched is in it, too. */
TEST(who_comes_back_as_he_was_is_not_written_down_again_before_he_changes)
{
	struct line line = begin();
	struct addr away = actor_addr(spawn_in(&line, 1, true));
	struct actor *watched = spawn_in(&line, 2, false), *watching = spawn_in(&line, 2, false);
	struct addr who[] = {actor_addr(watched), actor_addr(watching)};
	const struct runtime_counters *counters;

	actor_monitor(watching, who[0]);
	ask(watching, away);
	world_run_ms(line.world, 20);
	kill(&line);
	go_on(&line);
	CHECK_EQ(line.report.restored, 2);
	counters = runtime_counters(line.world->rt[1]);
	runtime_turn(line.world->rt[1]);
	CHECK_EQ(counters->kept, 0);
	CHECK_GE(counters->kept_same, 2);
	actor_send(world_actor(line.world, who[1]), who[0], load_report, {.cpu_permille = 1});
	world_run_ms(line.world, 20);
	CHECK_EQ(counters->kept, 1);
	kill(&line);
	go_on(&line);
	CHECK_EQ(state_of(&line, who[0])->notes, 1);
	actor_stop(world_actor(line.world, who[0]), ERR_OK);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, who[1])->downs, 1);
	end(&line);
}

TEST(what_waited_in_a_mailbox_waits_in_the_successor)
{
	struct line line = begin();
	struct addr asker = world_spawn(line.world, 1, NULL, NULL);
	struct actor *busy = spawn_in(&line, 2, false);
	struct addr there = actor_addr(busy);

	runtime_turn(line.world->rt[1]);
	for (int i = 0; i < 3; i++)
		ask(world_actor(line.world, asker), there);
	world_deliver(line.world);
	CHECK_EQ(busy->mail_count, 3);
	kernel_keep_turn(line.world->rt[1]); /* it had no time for them */
	kill(&line);
	go_on(&line);
	CHECK_EQ(line.report.restored, 1);
	CHECK_EQ(world_actor(line.world, there)->mail_count, 3);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, there)->questions, 3);
	CHECK_EQ(state_of(&line, asker)->answers, 3);
	kill(&line);
	go_on(&line);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, there)->questions, 3);
	end(&line);
}

TEST(a_request_goes_on_and_those_nobody_can_answer_fail)
{
	struct line line = begin();
	struct actor *silent = spawn_in(&line, 1, true);
	struct addr whom = actor_addr(silent);
	struct addr asker = world_spawn(line.world, 2, NULL, NULL);
	struct addr other = world_spawn(line.world, 2, NULL, NULL);
	uint64_t before;

	ask(world_actor(line.world, asker), whom);
	before = kernel_open_request(world_actor(line.world, other), MSG_http_response, 60000);
	CHECK(before != 0);
	world_run_ms(line.world, 20);
	kill(&line);
	go_on(&line);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, other)->failures, 1);
	CHECK_EQ(state_of(&line, other)->last_err, ERR_DEAD);
	CHECK_EQ(world_probe(line.world, other)->request, before);
	actor_answer(silent, world_probe(line.world, whom)->asker, name_found, {.epoch = 1});
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, asker)->answers, 1);
	/* the deadline goes on, too */
	ask(world_actor(line.world, asker), whom);
	world_run_ms(line.world, 20);
	kill(&line);
	line.world->now_us += 60 * 1000000;
	go_on(&line);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, asker)->failures, 1);
	CHECK_EQ(state_of(&line, asker)->last_err, ERR_TIMEOUT);
	end(&line);
}

TEST(watches_hold_and_an_end_that_was_not_told_is)
{
	struct line line = begin();
	struct addr watched = world_spawn(line.world, 2, NULL, NULL);
	struct addr watcher =
		world_spawn(line.world, 1, NULL, &(struct probe_args){.watch = watched});
	struct addr back = world_spawn(line.world, 2, NULL, &(struct probe_args){.watch = watcher});

	world_run_ms(line.world, 20);
	uint64_t sent = line.world->rt[1]->counters.mails_out;

	kill(&line);
	go_on(&line);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, watcher)->downs, 0);
	CHECK_EQ(line.world->rt[1]->counters.mails_out, 0);
	CHECK(sent > 0);
	actor_stop(world_actor(line.world, watched), ERR_OK);
	kernel_keep_turn(line.world->rt[1]); /* it is to end, and dies before it runs */
	kill(&line);
	go_on(&line);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, watcher)->downs, 1);
	CHECK(!world_actor(line.world, watched));
	actor_stop(world_actor(line.world, watcher), ERR_OK);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, back)->downs, 1);
	end(&line);
}

TEST(no_number_is_used_twice_even_when_its_turn_was_never_kept)
{
	struct line line = begin();
	struct addr first = world_spawn(line.world, 2, NULL, NULL);
	uint64_t highest = 0;

	world_run_ms(line.world, 5);
	for (int life = 0; life < 5; life++) {
		for (int i = 0; i < 100; i++) {
			struct addr spawned = world_spawn(line.world, 2, NULL, NULL);

			CHECK(spawned.id > highest);
			highest = spawned.id;
		}
		kill(&line);
		go_on(&line);
		CHECK_EQ(runtime_actor_count(line.world->rt[1]), 1);
		CHECK(world_actor(line.world, first) != NULL);
	}
	end(&line);
}

TEST(a_peer_whose_line_ended_meanwhile_bounces_as_ever)
{
	struct line line = begin();
	struct addr there = world_spawn(line.world, 1, NULL, &(struct probe_args){.silent = true});
	struct addr asker = world_spawn(line.world, 2, NULL, &(struct probe_args){.watch = there});

	world_run_ms(line.world, 20);
	ask(world_actor(line.world, asker), there);
	runtime_turn(line.world->rt[1]);
	kill(&line);
	world_drop_frames(line.world);
	attach(&line);
	CHECK_OK(runtime_takeover(line.world->rt[1], &line.report));
	CHECK_EQ(line.report.mails, 1);
	runtime_peer_down(line.world->rt[1], 1);
	runtime_destroy(&line.world->rt[0]);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, asker)->failures, 1);
	CHECK_EQ(state_of(&line, asker)->downs, 1);
	kill(&line); /* and all of that was kept */
	attach(&line);
	CHECK_OK(runtime_takeover(line.world->rt[1], &line.report));
	CHECK_EQ(line.report.mails, 0);
	CHECK(!runtime_peer_known(line.world->rt[1], 1));
	CHECK_EQ(state_of(&line, asker)->failures, 1);
	end(&line);
}

TEST(who_cannot_come_back_ends_as_any_other)
{
	struct line line = begin();
	struct addr parent = world_spawn(line.world, 2, NULL, NULL);
	struct addr watcher =
		world_spawn(line.world, 1, NULL, &(struct probe_args){.watch = parent});
	struct addr asker = world_spawn(line.world, 1, NULL, NULL);
	struct addr child = world_spawn(line.world, 2, world_actor(line.world, parent), NULL);

	world_run_ms(line.world, 5);
	ask(world_actor(line.world, asker), parent);
	runtime_turn(line.world->rt[0]);
	world_deliver(line.world);
	world_probe(line.world, parent)->st.questions = PROBE_BROKEN;
	kernel_changed(world_actor(line.world, parent));
	kernel_keep_turn(line.world->rt[1]);
	world_probe(line.world, parent)->st.questions =
		0; /* the dead one's stop is not to be run */
	kill(&line);
	go_on(&line);
	CHECK_EQ(line.report.ended_by_restore, 1);
	CHECK_EQ(line.report.restored, 1);
	world_run_ms(line.world, 20);
	CHECK(!world_actor(line.world, parent) && !world_actor(line.world, child));
	CHECK_EQ(state_of(&line, watcher)->downs, 1);
	CHECK_EQ(state_of(&line, asker)->failures, 1);
	end(&line);
}

TEST(who_was_asked_and_did_not_answer_yet_is_not_waited_for)
{
	struct line line = begin();
	struct addr asker = world_spawn(line.world, 1, NULL, NULL);
	struct addr local = world_spawn(line.world, 2, NULL, NULL);
	struct actor *silent = spawn_in(&line, 2, true);
	struct addr there = actor_addr(silent);

	ask(world_actor(line.world, asker), there);
	world_run_ms(line.world, 20);
	actor_answer(silent, world_probe(line.world, there)->asker, name_found, {.epoch = 1});
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, asker)->answers, 1);
	ask(world_actor(line.world, asker), there);
	ask(world_actor(line.world, local), there);
	world_run_ms(line.world, 20);
	kill(&line);
	go_on(&line);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, asker)->failures, 1);
	CHECK_EQ(state_of(&line, asker)->last_err, ERR_DEAD);
	CHECK_EQ(state_of(&line, local)->failures, 1);
	kill(&line); /* once */
	go_on(&line);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, asker)->failures, 1);
	CHECK_EQ(line.world->rt[0]->pending.count + line.world->rt[1]->pending.count, 0);
	end(&line);
}

/* ---- poison ------------------------------------------------------------------------------------ */

static void fatal_while(struct line *line, struct addr who)
{
	struct actor *actor = world_actor(line->world, who);
	struct actor *outer;
	int64_t since_us = kernel_enter(actor, &outer);

	runtime_note_fatal(line->world->rt[1]);
	kernel_leave(actor, outer, since_us);
	kill(line);
	go_on(line);
}

TEST(who_ran_when_its_process_died_twice_is_ended)
{
	struct line line = begin();
	struct addr poison = world_spawn(line.world, 2, NULL, NULL);
	struct addr innocent = world_spawn(line.world, 2, NULL, NULL);
	struct addr watcher =
		world_spawn(line.world, 1, NULL, &(struct probe_args){.watch = poison});

	actor_set_name(world_actor(line.world, poison), "poison");
	world_run_ms(line.world, 5);
	fatal_while(&line, innocent);
	fatal_while(&line, poison);
	CHECK_EQ(line.report.restored, 2);
	world_run_ms(line.world, 20);
	fatal_while(&line, poison);
	CHECK_EQ(line.report.poisoned, 1);
	CHECK_STR(line.report.poisoned_name, "poison");
	CHECK_EQ(line.report.restored, 1);
	world_run_ms(line.world, 20);
	CHECK_EQ(state_of(&line, watcher)->downs, 1);
	CHECK(!world_actor(line.world, poison) && world_actor(line.world, innocent));
	end(&line);
}

/* Its process begins it anew, at once: else whoever asks it would be refused for ever. */
TEST(an_office_that_is_poison_ends_with_its_children_and_is_begun_anew)
{
	struct line line = begin();

	CHECK_OK(actor_spawn_office(line.world->rt[1], OFFICE_RTC, &probe_actor, NULL));
	struct actor *office = line.world->rt[1]->newest;
	struct addr where = actor_addr(office), child;

	CHECK_OK(actor_spawn(line.world->rt[1], office, &probe_actor, NULL, &child));
	world_run_ms(line.world, 5);
	for (int i = 0; i < 2; i++) {
		fatal_while(&line, where);
		CHECK_EQ(line.report.poisoned, i);
		CHECK_EQ(actor_spawn_office(line.world->rt[1], OFFICE_RTC, &probe_actor, NULL),
			i ? ERR_OK : ERR_EXISTS);
		world_run_ms(line.world, 5);
	}
	CHECK(world_actor(line.world, where) && !world_actor(line.world, child));
	kill(&line);
	go_on(&line); /* nor is the new one taken for the last */
	CHECK_EQ(line.report.poisoned, 0);
	CHECK_EQ(line.report.restored, 1);
	CHECK(world_actor(line.world, where) && !world_actor(line.world, where)->stopping);
	end(&line);
}

TEST(what_counted_against_somebody_who_lives_on_is_forgotten)
{
	struct line line = begin();
	struct addr suspect = world_spawn(line.world, 2, NULL, NULL);

	world_run_ms(line.world, 5);
	for (int i = 0; i < 3; i++) {
		fatal_while(&line, suspect);
		CHECK_EQ(line.report.restored, 1);
		line.world->now_us += 11 * 1000000;
		world_run_ms(line.world, 5);
	}
	end(&line);
}

TEST(who_dies_in_its_restore_is_tried_twice)
{
	struct line line = begin();
	struct addr poison = world_spawn(line.world, 2, NULL, NULL);

	world_run_ms(line.world, 5);
	for (int i = 0; i < POISONED_TURNS; i++) {
		escrow_note_tried(line.escrow, world_actor(line.world, poison)->escrow_entry);
		kill(&line);
		go_on(&line);
		CHECK_EQ(line.report.poisoned, i + 1 == POISONED_TURNS);
	}
	world_run_ms(line.world, 5);
	CHECK(!world_actor(line.world, poison));
	end(&line);
}

/* ---- what is damaged, and memory that runs out ------------------------------------------------------ */

TEST(a_line_whose_channel_is_damaged_does_not_go_on)
{
	struct line line = begin();
	struct addr asker = world_spawn(line.world, 2, NULL, NULL);
	struct addr whom = world_spawn(line.world, 1, NULL, NULL);
	struct channel_mail head = {.process = 1, .seq = 7};
	uint8_t bytes[64];
	struct writer out = writer_of(bytes, sizeof(bytes));

	ask(world_actor(line.world, asker), whom);
	runtime_turn(line.world->rt[1]);
	CHECK_OK(schema_encode(&schema_channel_mail, &head, &out));
	CHECK(kernel_keep_bytes(line.world->rt[1], KEPT_MAIL, 1, bytes, writer_used(&out)));
	kernel_keep_turn(line.world->rt[1]);
	kill(&line);
	attach(&line);
	CHECK_EQ(runtime_takeover(line.world->rt[1], &line.report), ERR_FORMAT);
	CHECK_EQ(runtime_actor_count(line.world->rt[1]), 0);
	end(&line);
}

TEST(without_memory_a_takeover_fails_or_loses_somebody_and_says_so)
{
	struct line line = begin();
	struct addr there = world_spawn(line.world, 1, NULL, &(struct probe_args){.silent = true});

	for (int i = 0; i < 3; i++)
		ask(spawn_in(&line, 2, false), there);
	runtime_turn(line.world->rt[1]);
	kill(&line);
	void *left = aligned_alloc(4096, arena_size(&layout));

	memcpy(left, line.memory, arena_size(&layout));
	for (size_t n = 1;; n++) {
		memcpy(line.memory, left, arena_size(&layout));
		attach(&line);
		test_fail_allocation(n);
		enum err err = runtime_takeover(line.world->rt[1], &line.report);
		bool failed = test_fail_allocation(0) >= n;

		CHECK(!err || err == ERR_NO_MEMORY);
		if (!err && failed)
			CHECK_EQ(line.report.restored + line.report.ended_by_restore +
					 line.report.left_out,
				3);
		if (!failed) {
			CHECK_OK(err);
			CHECK_EQ(line.report.restored, 3);
			CHECK_EQ(line.report.mails, 3);
			break;
		}
		kill(&line);
	}
	free(left);
	end(&line);
}

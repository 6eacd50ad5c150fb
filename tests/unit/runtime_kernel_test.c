/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kernel_probe.h"

static uint64_t ask(struct world *world, struct addr from, struct addr to, uint32_t timeout_ms)
{
	return actor_request(world_actor(world, from), to, timeout_ms, name_lookup, {.wait_ms = 1});
}

static void stop(struct world *world, struct addr who, enum err reason)
{
	actor_stop(world_actor(world, who), reason);
}

/* ---- life -------------------------------------------------------------------------------------- */

TEST(a_parent_takes_its_children_along_and_hears_of_their_death)
{
	struct world *world = world_create(1);
	unsigned stops = 0;
	struct probe_args args = {.stops = &stops};
	struct addr parent = world_spawn(world, 1, NULL, &args);
	struct addr child = world_spawn(world, 1, world_actor(world, parent), &args);
	struct addr grandchild = world_spawn(world, 1, world_actor(world, child), &args);

	world_spawn(world, 1, world_actor(world, parent), &args);
	stop(world, child, ERR_IO);
	world_run_ms(world, 1);
	CHECK_EQ(stops, 2);
	CHECK(!world_actor(world, grandchild));
	CHECK_EQ(world_probe(world, parent)->st.downs, 1);
	CHECK(addr_equal(world_probe(world, parent)->st.last_down, child));
	stop(world, parent, ERR_OK);
	world_run_ms(world, 1);
	CHECK_EQ(stops, 4);
	CHECK_EQ(runtime_actor_count(world->rt[0]), 0);
	world_destroy(world);
}

TEST(a_failed_init_leaves_nothing)
{
	struct world *world = world_create(1);
	struct addr other = world_spawn(world, 1, NULL, NULL);
	struct probe_args args = {.init_error = ERR_LIMIT, .watch = other};
	struct addr addr = {0};

	CHECK_EQ(actor_spawn(world->rt[0], NULL, &probe_actor, &args, &addr), ERR_LIMIT);
	CHECK(addr_is_nobody(addr));
	CHECK_EQ(runtime_actor_count(world->rt[0]), 1);
	CHECK_EQ(world_actor(world, other)->watchers.count, 0);
	world_destroy(world);
}

static void monitor_rows(uint32_t own, uint32_t theirs)
{
	struct world *world = world_create(2);
	struct addr watched = world_spawn(world, theirs, NULL, NULL);
	struct addr watcher = world_spawn(world, own, NULL, &(struct probe_args){.watch = watched});
	struct addr brief = world_spawn(world, own, NULL, &(struct probe_args){.watch = watched});

	world_run_ms(world, 20);
	CHECK_EQ(world_actor(world, watched)->watchers.count, 2);
	/* whoever goes is no longer on the list */
	stop(world, brief, ERR_OK);
	world_run_ms(world, 20);
	CHECK_EQ(world_actor(world, watched)->watchers.count, 1);
	stop(world, watched, ERR_OK);
	world_run_ms(world, 20);
	CHECK_EQ(world_probe(world, watcher)->st.downs, 1);
	CHECK_EQ(world_actor(world, watcher)->watching.count, 0);
	/* the dead are told of at once; the death of the process is no second one */
	actor_monitor(world_actor(world, watcher), watched);
	runtime_peer_down(world->rt[own - 1], theirs);
	world_run_ms(world, 20);
	CHECK_EQ(world_probe(world, watcher)->st.downs, 2);
	world_destroy(world);
}

TEST(monitors_here)
{
	monitor_rows(1, 1);
}

TEST(monitors_across_processes)
{
	monitor_rows(1, 2);
}

TEST(unmonitor_takes_both_ends_back)
{
	struct world *world = world_create(2);
	struct addr watched = world_spawn(world, 2, NULL, NULL);
	struct addr watcher = world_spawn(world, 1, NULL, &(struct probe_args){.watch = watched});

	world_run_ms(world, 20);
	actor_unmonitor(world_actor(world, watcher), watched);
	world_run_ms(world, 20);
	CHECK_EQ(world_actor(world, watched)->watchers.count, 0);
	stop(world, watched, ERR_IO);
	world_run_ms(world, 20);
	CHECK_EQ(world_probe(world, watcher)->st.downs, 0);
	world_destroy(world);
}

TEST(a_link_is_followed_for_an_error_only)
{
	static const struct {
		uint32_t process;
		enum err reason;
		bool follows;
	} rows[] = {
		{1, ERR_IO, true },
		   {1, ERR_OK, false},
		       {2, ERR_IO, true },
		  {2, ERR_OK, false}
	    };

	for (size_t i = 0; i < 4; i++) {
		struct world *world = world_create(2);
		struct addr linked = world_spawn(world, rows[i].process, NULL, NULL);
		struct addr follower = {0};

		CHECK_OK(actor_spawn(world->rt[0], NULL, &follower_actor,
			&(struct probe_args){.link = linked}, &follower));
		world_run_ms(world, 20);
		stop(world, linked, rows[i].reason);
		world_run_ms(world, 20);
		CHECK_EQ(world_actor(world, follower) == NULL, rows[i].follows);
		world_destroy(world);
	}
}

/* ---- mail -------------------------------------------------------------------------------------- */

TEST(requests_are_answered_refused_or_time_out)
{
	struct world *world = world_create(2);

	for (uint32_t process = 1; process <= 2; process++) {
		struct addr asker = world_spawn(world, 1, NULL, NULL);
		struct addr other = world_spawn(world, process, NULL, NULL);
		struct probe *s = world_probe(world, asker);
		uint64_t request = ask(world, asker, other, 100);

		world_run_ms(world, 20);
		CHECK_EQ(s->st.answers, 1);
		CHECK_EQ(s->request, request);
		actor_request(world_actor(world, asker), other, 100, name_lookup, {.wait_ms = 13});
		world_run_ms(world, 20);
		CHECK_EQ(s->st.last_err, ERR_FORBIDDEN);
		actor_request(world_actor(world, asker), other, 100, place, {.purpose = "play"});
		world_run_ms(world, 20);
		CHECK_EQ(s->st.last_err, ERR_UNSUPPORTED);

		/* late: the failure has come, the answer does not */
		world_probe(world, other)->keep_silent = true;
		request = ask(world, asker, other, 50);
		world_run_ms(world, 100);
		CHECK_EQ(s->st.last_err, ERR_TIMEOUT);
		CHECK_EQ(s->request, request);
		CHECK_EQ(s->st.failures, 3);
		struct asker late = world_probe(world, other)->asker;

		actor_answer(world_actor(world, other), late, name_found, {.epoch = 1});
		actor_refuse(world_actor(world, other), late, ERR_BUSY, "");
		world_run_ms(world, 20);
		CHECK_EQ(s->st.answers, 1);
		CHECK_EQ(s->st.failures, 3);

		/* forgotten: neither */
		request = ask(world, asker, other, 50);
		world_run_ms(world, 20);
		actor_forget_request(world_actor(world, asker), request);
		actor_refuse(
			world_actor(world, other), world_probe(world, other)->asker, ERR_BUSY, "");
		world_run_ms(world, 100);
		CHECK_EQ(s->st.failures, 3);
	}
	world_destroy(world);
}

TEST(mail_to_the_dead_bounces)
{
	struct world *world = world_create(2);
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr dead_here = world_spawn(world, 1, NULL, NULL);
	struct addr dead_there = world_spawn(world, 2, NULL, NULL);
	struct probe *s = world_probe(world, asker);
	const struct addr rows[] = {
		dead_here, dead_there, {NODE,     5ull << 50},
		   {NODE + 1, 5	       }
	};

	stop(world, dead_here, ERR_OK);
	stop(world, dead_there, ERR_OK);
	world_run_ms(world, 5);
	for (size_t i = 0; i < 4; i++) {
		uint64_t request = ask(world, asker, rows[i], 1000);

		world_run_ms(world, 20);
		CHECK_EQ(s->st.failures, 2 * i + 1);
		CHECK_EQ(s->request, request);
		actor_send(world_actor(world, asker), rows[i], name_lookup, {.wait_ms = 1});
		world_run_ms(world, 20);
		CHECK_EQ(s->st.failures, 2 * i + 2);
		CHECK_EQ(s->request, 0);
	}
	CHECK_EQ(ask(world, asker, (struct addr){0}, 1000) != 0, true);
	world_run_ms(world, 1);
	CHECK_EQ(s->st.last_err, ERR_NOT_FOUND);
	world_destroy(world);
}

TEST(a_full_mailbox_refuses_requests_and_drops_notes)
{
	struct world *world = world_create(1);
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr full = world_spawn(world, 1, NULL, NULL);

	for (int i = 0; i < 8; i++)
		actor_send(world_actor(world, asker), full, load_report, {.cpu_permille = 1});
	actor_send(world_actor(world, asker), full, load_report, {.cpu_permille = 1});
	CHECK_EQ(runtime_counters(world->rt[0])->dropped, 1);
	ask(world, asker, full, 1000);
	CHECK_EQ(runtime_counters(world->rt[0])->refused, 1);
	world_run_ms(world, 2);
	CHECK_EQ(world_probe(world, full)->st.notes, 8);
	CHECK_EQ(world_probe(world, full)->st.questions, 0);
	CHECK_EQ(world_probe(world, asker)->st.last_err, ERR_OVERLOAD);
	CHECK_EQ(world->rt[0]->pending.count, 0);
	world_destroy(world);
}

TEST(forwarded_questions_are_answered_to_who_asked)
{
	struct world *world = world_create(3);
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr middle = world_spawn(world, 2, NULL, NULL);
	struct addr last = world_spawn(world, 3, NULL, NULL);

	world_probe(world, middle)->forward_to = last;
	ask(world, asker, middle, 1000);
	world_run_ms(world, 30);
	CHECK_EQ(world_probe(world, last)->st.questions, 1);
	CHECK_EQ(world_probe(world, asker)->st.answers, 1);
	world_destroy(world);
}

/* ---- timers and turns -------------------------------------------------------------------------- */

TEST(a_pump_comes_back_when_it_said)
{
	struct world *world = world_create(1);
	struct addr who = world_spawn(world, 1, NULL, NULL);
	struct actor *actor = world_actor(world, who);
	struct probe *s = world_probe(world, who);
	int64_t start_us;

	world_run_ms(world, 5);
	start_us = actor_now_us(actor);
	actor_pump_at(actor, start_us + 7500);
	world_run_ms(world, 6);
	CHECK_EQ(s->pumps, 0);
	world_run_ms(world, 3);
	CHECK_EQ(s->pumps, 1);
	CHECK_GE(s->pump_at_us, start_us + 7500);
	CHECK_LE(s->pump_at_us, start_us + 9000);
	actor_pump_at(actor, s->pump_at_us + 5000);
	actor_pump_at(actor, INT64_MAX);
	world_run_ms(world, 80);
	CHECK_EQ(s->pumps, 1);
	/* whoever ends is not looked for */
	actor_pump_at(actor, actor_now_us(actor) + 5000);
	stop(world, who, ERR_OK);
	world_run_ms(world, 10);
	CHECK_EQ(runtime_actor_count(world->rt[0]), 0);
	world_destroy(world);
}

TEST(who_is_kicked_in_a_turn_runs_in_it_and_no_more_than_once)
{
	struct world *world = world_create(1);
	struct runtime *rt = world->rt[0];
	struct addr first = world_spawn(world, 1, NULL, NULL);
	struct addr second = world_spawn(world, 1, NULL, NULL);
	struct probe *a = world_probe(world, first), *b = world_probe(world, second);

	a->kicks = second;
	b->kicks = first;
	actor_kick(rt, first);
	for (unsigned turn = 1; turn < 10; turn++) {
		runtime_turn(rt);
		CHECK_EQ(a->pumps, turn);
		CHECK_EQ(b->pumps, turn);
	}
	/* mail is for the next one */
	a->kicks = b->kicks = (struct addr){0};
	ask(world, first, second, 100);
	runtime_turn(rt);
	CHECK_EQ(b->st.questions, 1);
	CHECK_EQ(a->st.answers, 0);
	runtime_turn(rt);
	CHECK_EQ(a->st.answers, 1);
	world_destroy(world);
}

TEST(timers_move_both_ways_and_stop)
{
	struct world *world = world_create(1);
	struct addr addr = world_spawn(world, 1, NULL, NULL);
	struct actor *actor = world_actor(world, addr);
	struct probe *s = actor_data(actor);
	int64_t start_us = world->now_us;

	actor_timer_at(actor, 0, start_us + 10000);
	actor_timer_at(actor, 0, start_us + 30000); /* later: lazily */
	world_run_ms(world, 20);
	CHECK_EQ(s->st.timers, 0);
	actor_timer_at(actor, 0, start_us + 25000); /* sooner */
	world_run_ms(world, 20);
	CHECK_EQ(s->st.timers, 1);
	CHECK_EQ(s->timer_at_us, start_us + 25000);
	actor_timer_in_ms(actor, 1, 5);
	actor_timer_off(actor, 1);
	world_run_ms(world, 20);
	CHECK_EQ(s->st.timers, 1);
	actor_timer_at(actor, 7, 0); /* sets itself to the past for ever: once a turn, no more */
	world_run_ms(world, 5);
	CHECK_LE(s->st.timers, 12);
	world_destroy(world);
}

TEST(one_busy_actor_leaves_the_turn_to_others)
{
	struct world *world = world_create(1);
	struct actor_type roomy = probe_actor;
	struct addr busy = {0};
	struct addr other = world_spawn(world, 1, NULL, NULL);

	roomy.mailbox_max = 1000;
	CHECK_OK(actor_spawn(world->rt[0], NULL, &roomy, NULL, &busy));
	for (int i = 0; i < 500; i++)
		actor_send(world_actor(world, other), busy, load_report, {.cpu_permille = 1});
	actor_send(world_actor(world, busy), other, load_report, {.cpu_permille = 1});
	runtime_turn(world->rt[0]);
	CHECK_EQ(world_probe(world, busy)->st.notes, ACTOR_BUDGET);
	CHECK_EQ(world_probe(world, other)->st.notes, 1);
	world_run_ms(world, 10);
	CHECK_EQ(world_probe(world, busy)->st.notes, 500);
	world_destroy(world);
}

/* ---- moved actors ------------------------------------------------------------------------------ */

TEST(an_actor_restored_elsewhere_is_found)
{
	struct world *world = world_create(3);
	uint8_t bytes[4096];
	struct writer out = writer_of(bytes, sizeof(bytes));
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr moved = world_spawn(world, 2, NULL, NULL);

	ask(world, asker, moved, 1000);
	world_run_ms(world, 20);
	CHECK_OK(runtime_encode_actor(world_actor(world, moved), &out));
	stop(world, moved, ERR_OK);
	runtime_turn(world->rt[1]);
	struct reader in = reader_of(bytes, writer_used(&out));

	CHECK_OK(runtime_restore_actor(world->rt[2], &in));
	runtime_restore_end(world->rt[2]);
	kernel_note_move(world->rt[1], moved.id, 3, 1);
	CHECK_EQ(world_probe(world, moved)->st.questions, 1);
	/* the first goes the long way, and the sender's process learns the short one */
	ask(world, asker, moved, 1000);
	world_run_ms(world, 30);
	CHECK_EQ(world_probe(world, asker)->st.answers, 2);
	CHECK_EQ(kernel_process_of(world->rt[0], moved), 3);
	uint64_t out_2 = world->rt[1]->counters.mails_out;

	ask(world, asker, moved, 1000);
	world_run_ms(world, 30);
	CHECK_EQ(world_probe(world, asker)->st.answers, 3);
	CHECK_EQ(world->rt[1]->counters.mails_out, out_2);
	/* a way to a dead process is forgotten */
	runtime_peer_down(world->rt[0], 3);
	CHECK_EQ(kernel_process_of(world->rt[0], moved), 2);
	world_destroy(world);
}

TEST(a_restored_actor_keeps_its_watches_and_its_requests_go_on)
{
	struct world *world = world_create(3);
	uint8_t bytes[4096];
	struct writer out = writer_of(bytes, sizeof(bytes));
	struct addr watched = world_spawn(world, 1, NULL, &(struct probe_args){.silent = true});
	struct addr mover = world_spawn(world, 2, NULL, &(struct probe_args){.watch = watched});

	ask(world, mover, watched, 60000);
	world_run_ms(world, 20);
	CHECK_OK(runtime_encode_actor(world_actor(world, mover), &out));
	runtime_destroy(&world->rt[1]);
	runtime_peer_down(world->rt[0], 2);
	runtime_peer_down(world->rt[2], 2);
	runtime_block_moved(world->rt[0], 102, 3);
	runtime_block_moved(world->rt[2], 102, 3);
	struct reader in = reader_of(bytes, writer_used(&out));

	CHECK_OK(runtime_restore_actor(world->rt[2], &in));
	runtime_restore_end(world->rt[2]);
	world_run_ms(world, 30);
	CHECK_EQ(world_actor(world, watched)->watchers.count, 1);
	actor_answer(world_actor(world, watched), world_probe(world, watched)->asker, name_found,
		{.epoch = 1});
	world_run_ms(world, 30);
	CHECK_EQ(world_probe(world, mover)->st.answers, 1);
	CHECK_EQ(world_probe(world, mover)->st.failures, 0);
	stop(world, watched, ERR_OK);
	world_run_ms(world, 30);
	CHECK_EQ(world_probe(world, mover)->st.downs, 1);
	world_destroy(world);
}

TEST(what_cannot_be_restored_is_left_out_and_its_stop_does_not_run)
{
	struct world *world = world_create(2);
	uint8_t bytes[4096];
	struct writer out = writer_of(bytes, sizeof(bytes));
	struct addr broken = world_spawn(world, 2, NULL, NULL);
	struct addr watcher = world_spawn(world, 1, NULL, &(struct probe_args){.watch = broken});

	world_run_ms(world, 5);
	world_probe(world, broken)->st.questions = PROBE_BROKEN;
	CHECK_OK(runtime_encode_actor(world_actor(world, broken), &out));
	world_probe(world, broken)->st.questions = 0;
	runtime_destroy(&world->rt[1]);
	runtime_peer_down(world->rt[0], 2);
	CHECK_EQ(world_probe(world, watcher)->st.downs, 0);
	struct runtime_options options = world_options(world, 2);
	struct reader in = reader_of(bytes, writer_used(&out));

	CHECK_OK(runtime_create(&options, &world->rt[1]));
	CHECK_EQ(runtime_restore_actor(world->rt[1], &in), ERR_FORMAT);
	runtime_restore_end(world->rt[1]);
	world_run_ms(world, 5); /* stop would abort */
	CHECK_EQ(runtime_actor_count(world->rt[1]), 0);
	CHECK_EQ(world_probe(world, watcher)->st.downs, 1);
	world_destroy(world);
}

/* ---- the end of a process ---------------------------------------------------------------------- */

TEST(a_process_is_drained_when_all_but_its_offices_have_ended)
{
	struct world *world = world_create(1);
	struct runtime *rt = world->rt[0];
	struct addr office = {.node = NODE, .id = 101ull << RUNTIME_BLOCK_SHIFT | OFFICE_MEDIA};
	struct addr busy = world_spawn(world, 1, NULL, &(struct probe_args){.silent = true});
	unsigned stops = 0;

	CHECK_OK(actor_spawn_office(
		rt, OFFICE_MEDIA, &probe_actor, &(struct probe_args){.silent = true}));
	for (int i = 0; i < 5; i++)
		world_spawn(world, 1, NULL, &(struct probe_args){.stops = &stops});
	CHECK_OK(actor_spawn(rt, NULL, &follower_actor, NULL, NULL)); /* does not know the word */
	CHECK(!runtime_is_drained(rt));
	runtime_drain(rt, 700);
	world_run_ms(world, 2);
	CHECK_EQ(stops, 5);
	CHECK_EQ(world_probe(world, office)->drain_ms, 700);
	CHECK(!runtime_is_drained(rt));
	stop(world, busy, ERR_OK);
	world_run_ms(world, 2);
	CHECK(runtime_is_drained(rt));
	CHECK_EQ(runtime_actor_count(rt), 2);
	world_destroy(world);
}

/* ---- memory ------------------------------------------------------------------------------------ */

TEST(a_request_that_cannot_be_made_fails_like_any_other)
{
	struct world *world = world_create(1);
	struct addr asker = world_spawn(world, 1, NULL, NULL);
	struct addr asked = world_spawn(world, 1, NULL, NULL);
	int failed = 0;

	for (size_t n = 1; n <= 4; n++) {
		uint64_t before = world_probe(world, asker)->st.failures;

		/* (the first mail fills the pool that the failure is written into) */
		ask(world, asker, asked, 1000);
		world_run_ms(world, 1);
		test_fail_allocation(n);
		ask(world, asker, asked, 1000);
		test_fail_allocation(0);
		world_run_ms(world, 1);
		failed += world_probe(world, asker)->st.failures > before;
		CHECK_EQ(world_probe(world, asker)->st.answers +
				 world_probe(world, asker)->st.failures,
			2 * n);
	}
	CHECK_GE(failed, 1);
	CHECK_EQ(world_probe(world, asker)->st.last_err, ERR_NO_MEMORY);
	world_destroy(world);
}

TEST(mail_of_a_warm_process_allocates_nothing)
{
	struct world *world = world_create(1);
	struct addr from = world_spawn(world, 1, NULL, NULL);
	struct addr to = world_spawn(world, 1, NULL, NULL);

	for (int round = 0; round < 100; round++) {
		if (round == 1)
			test_fail_allocation(0);
		for (int i = 0; i < 8; i++)
			actor_send(world_actor(world, from), to, load_report, {.sessions = 1});
		world_actor(world, from)->timers[0].at_us = 0;
		actor_timer_in_ms(world_actor(world, from), 0, 1);
		world_run_ms(world, 2);
	}
	CHECK_EQ(test_fail_allocation(0), 0);
	CHECK_EQ(world_probe(world, to)->st.notes, 800);
	world_destroy(world);
}

TEST(creation_survives_every_failed_allocation)
{
	struct world *world = world_create(1);
	struct runtime_options options = world_options(world, 2);
	struct probe_args args = {.watch = world_spawn(world, 1, NULL, NULL)};
	enum err err = ERR_NO_MEMORY;
	struct addr addr;

	for (size_t n = 1; err; n++) {
		struct runtime *rt = NULL;

		test_fail_allocation(n);
		err = runtime_create(&options, &rt);
		test_fail_allocation(0);
		CHECK(!err == (rt != NULL));
		runtime_destroy(&rt);
	}
	err = ERR_NO_MEMORY;
	for (size_t n = 1; err; n++) {
		test_fail_allocation(n);
		err = actor_spawn(world->rt[0], NULL, &probe_actor, &args, &addr);
		test_fail_allocation(0);
	}
	CHECK(world_actor(world, addr) != NULL);
	world_destroy(world);
}

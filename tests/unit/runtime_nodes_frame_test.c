/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes from another node is a stranger's; and what else a process has to do with other nodes:
 * offices, who is up, media, a takeover.
 */
#include "schemas/random.h"
#include "tests/unit/node_world.h"

enum { LONG_MS = 600000 };

static const struct runtime_counters *counters(struct land *land)
{
	return runtime_counters(land->place[0][CONTROL].rt);
}

/* ---- frames ------------------------------------------------------------------------------------ */

/* Gateways 0 and 1 know each other. */
static struct land *acquainted(void)
{
	struct land *land = land_create();

	land_up(land, 0, 1);
	land_up(land, 1, 0);
	land_run_ms(land, 5);
	return land;
}

/* The header of node 1's next frame to node 0. */
static struct node_header next_header(struct land *land, enum bus_kind kind)
{
	struct runtime *rt = land->place[0][CONTROL].rt;
	const struct far_node *far = kernel_node(rt, land_id(1));

	return (struct node_header){.magic = BUS_MAGIC,
		.version = BUS_VERSION,
		.kind = (uint8_t)kind,
		.number = far->theirs,
		.boot = far->boot,
		.to_boot = rt->options.boot,
		.to_number = far->number,
		.seq = far->mail.in_seq + 1};
}

static void say(
	struct land *land, const struct node_header *header, const struct kernel_letter *letter)
{
	uint8_t frame[2048];
	struct writer out = writer_of(frame, sizeof(frame));

	write_bytes(&out, header, sizeof(*header));
	CHECK_OK(kernel_write_letter(land->place[2][CONTROL].rt, letter, &out));
	runtime_node_frame(land->place[0][CONTROL].rt, land_id(1), frame, writer_used(&out));
}

TEST(a_node_speaks_for_itself_to_us_and_says_what_it_may)
{
	struct land *land = acquainted();
	struct addr here = land_spawn(land, 0, CONTROL, false);
	struct addr there = {land_id(1), 7ull << RUNTIME_BLOCK_SHIFT | 77};
	struct msg_down down = {.who = there};
	struct msg_down of_another = {
		.who = {land_id(2), there.id}
	     };
	struct msg_failed bounced_by_another = {
		.err = ERR_DEAD, .type = MSG_monitor, .to = of_another.who};
	struct msg_done done = {};
	struct msg_stop stop = {0};
	struct msg_moved moved = {.who = here, .process = 5, .moves = 9};
	struct msg_node_gone gone = {.node = land_id(2), .lost = true};
	struct msg_load_report note = {0};
	const struct {
		struct kernel_letter letter;
		bool taken;
	} rows[] = {
		{{.to = here,
			 .from = there,
			 .type = MSG_done,
			 .schema = &schema_done,
			 .body = &done},
			true },
		{{.to = here,
			 .from = {land_id(2), there.id},
			 .type = MSG_done,
			 .schema = &schema_done,
			 .body = &done},
			false},
		{{.to = here,
			 .from = {0, there.id},
			 .type = MSG_done,
			 .schema = &schema_done,
			 .body = &done},
			false},
		{{.to = here,
			 .from = here,
			 .type = MSG_done,
			 .schema = &schema_done,
			 .body = &done},
			false},
		{{.to = {land_id(2), here.id},
			 .from = there,
			 .type = MSG_done,
			 .schema = &schema_done,
			 .body = &done},
			false},
		{{.to = {0, here.id},
			 .from = there,
			 .type = MSG_done,
			 .schema = &schema_done,
			 .body = &done},
			false},
		{{.to = {land_id(0), 0},
			 .from = there,
			 .type = MSG_done,
			 .schema = &schema_done,
			 .body = &done},
			false},
		{{.to = here,
			 .from = there,
			 .type = MSG_down,
			 .schema = &schema_down,
			 .body = &down},
			true },
		{{.to = here,
			 .from = there,
			 .type = MSG_down,
			 .schema = &schema_down,
			 .body = &of_another},
			false},
		{{.to = here,
			 .from = there,
			 .type = MSG_failed,
			 .schema = &schema_failed,
			 .body = &bounced_by_another},
			false},
		{{.to = here,
			 .from = there,
			 .type = MSG_stop,
			 .schema = &schema_stop,
			 .body = &stop},
			false},
		{{.to = here,
			 .from = there,
			 .type = MSG_moved,
			 .schema = &schema_moved,
			 .body = &moved},
			false},
		{{.to = here,
			 .from = there,
			 .type = MSG_node_gone,
			 .schema = &schema_node_gone,
			 .body = &gone},
			false},
		{{.to = here,
			 .from = there,
			 .type = MSG_load_report,
			 .schema = &schema_load_report,
			 .body = &note},
			false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct node_header header = next_header(land, BUS_MAIL);
		uint64_t taken = counters(land)->node_mails_in;
		uint64_t refused = counters(land)->node_refused;

		say(land, &header, &rows[i].letter);
		land_run_ms(land, 2);
		if (counters(land)->node_mails_in - taken != rows[i].taken ||
			counters(land)->node_refused - refused != !rows[i].taken)
			fail_msg("row %zu", i);
	}
	assert_non_null(land_actor(land, here));
	CHECK_EQ(land_probe(land, here)->st.downs, 1);
	CHECK_EQ(land_probe(land, here)->st.notes, 0);
	land_destroy(land);
}

/* Node 1 answers in the place of others. What it is asked itself it may answer, as whom it likes. */
TEST(an_answer_counts_from_the_node_that_was_asked)
{
	struct land *land = acquainted();
	struct addr here = land_spawn(land, 0, CONTROL, false);
	struct addr beside = land_spawn(land, 0, CONTROL, true);
	struct addr there = {land_id(1), 7ull << RUNTIME_BLOCK_SHIFT | 77};
	const struct {
		struct addr whom;
		uint64_t off; /* from the number of the request */
		bool taken;
		uint64_t refused, unawaited;
	} rows[] = {
		{there,			0, true,	 0, 0},
		{there,			1, false, 0, 1}, /* a guess */
		{{land_id(2), there.id}, 0, false, 1, 0}, /* that another was asked */
		{{land_id(2), there.id}, 1, false, 0, 1},
		{beside,		 1, false, 0, 1}, /* an actor here was asked: not known there */
		{beside,		 0, true,  0, 0}, /* … unless it passed the question on */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct node_header header = next_header(land, BUS_MAIL);
		struct runtime_counters before = *counters(land);
		uint64_t answers = land_probe(land, here)->st.answers;
		uint64_t request = actor_request(
			land_actor(land, here), rows[i].whom, LONG_MS, name_lookup, {.wait_ms = 1});
		struct msg_name_found found = {.epoch = 1};

		say(land, &header,
			&(struct kernel_letter){.to = here,
				.from = there,
				.type = MSG_name_found,
				.is_reply = true,
				.request = request + rows[i].off,
				.schema = &schema_name_found,
				.body = &found});
		if (counters(land)->node_refused - before.node_refused != rows[i].refused ||
			counters(land)->answers_unawaited - before.answers_unawaited !=
				rows[i].unawaited ||
			!idmap_get(&land_actor(land, here)->rt->pending, request) != rows[i].taken)
			fail_msg("row %zu", i);
		land_run_ms(land, 2);
		CHECK_EQ(land_probe(land, here)->st.answers - answers, rows[i].taken);
	}
	land_destroy(land);
}

/* Who has seen some of them knows nothing of the next, and no two processes have the same. */
TEST(numbers_of_requests_tell_nothing_of_each_other)
{
	enum { COUNT = 1000 };
	const uint8_t key[SECRET_NUMBERS_KEY_SIZE] = {1}, other_key[SECRET_NUMBERS_KEY_SIZE] = {2};
	struct secret_numbers *numbers[] = {secret_numbers_create(key, 1),
		secret_numbers_create(key, 2), secret_numbers_create(other_key, 1),
		secret_numbers_create(key, 1)};
	struct idmap seen = {0};
	uint64_t all = 0, always = UINT64_MAX;

	for (int i = 0; i < COUNT; i++) {
		for (int n = 0; n < 3; n++) {
			uint64_t number = secret_numbers_next(numbers[n]);

			CHECK(number > 0 && number <= INT64_MAX);
			CHECK(!idmap_get(&seen, number));
			CHECK_OK(idmap_put(&seen, number, &seen));
			all |= number;
			always &= number;
			if (n == 0)
				CHECK_EQ(secret_numbers_next(numbers[3]), number);
		}
	}
	CHECK_EQ(all, INT64_MAX);
	CHECK_EQ(always, 0);
	for (int n = 0; n < 4; n++)
		secret_numbers_destroy(&numbers[n]);
	idmap_fini(&seen);
}

TEST(frames_of_other_channels_are_not_taken)
{
	struct land *land = acquainted();
	struct addr here = land_spawn(land, 0, CONTROL, false);
	struct msg_done done = {};
	const struct kernel_letter letter = {
		.to = here,
		.from = {land_id(1), 77},
		.type = MSG_done,
		.schema = &schema_done,
		.body = &done
	     };
	struct node_header rows[7];
	struct far_node *far = kernel_node(land->place[0][CONTROL].rt, land_id(1));

	far->theirs = 5;
	for (size_t i = 0; i < 7; i++)
		rows[i] = next_header(land, BUS_MAIL);
	rows[0].magic++;
	rows[1].version++;
	rows[2].boot++;
	rows[3].number--;
	rows[4].number = 0;
	rows[5].to_boot = 0;
	rows[6].to_number++;
	for (size_t i = 0; i < 7; i++)
		say(land, &rows[i], &letter);
	CHECK_EQ(counters(land)->node_mails_in, 0);
	CHECK_EQ(counters(land)->bad_frames, 5);
	CHECK(far->mail.ack_due); /* the last two took us for somebody else */
	/* one of a node that is not up, or to a process that is no gateway */
	runtime_node_frame(
		land->place[0][CONTROL].rt, land_id(2), (uint8_t *)&rows[0], sizeof(rows[0]));
	CHECK_EQ(counters(land)->bad_frames, 6);
	runtime_node_frame(land->place[0][1].rt, land_id(1), (uint8_t *)&rows[0], sizeof(rows[0]));
	CHECK_EQ(runtime_counters(land->place[0][1].rt)->bad_frames, 1);
	CHECK_EQ(runtime_node_up(land->place[0][1].rt, land_id(1), 1), ERR_FORMAT);
	/* twice is once */
	far->theirs = 5;
	rows[0] = next_header(land, BUS_MAIL);
	say(land, &rows[0], &letter);
	say(land, &rows[0], &letter);
	CHECK_EQ(counters(land)->node_mails_in, 1);
	CHECK_EQ(counters(land)->duplicate_frames, 1);
	land_destroy(land);
}

TEST(garbage_from_a_node_is_counted_and_forgotten)
{
	struct land *land = acquainted();
	struct addr here = land_spawn(land, 0, CONTROL, false);
	struct addr there = land_spawn(land, 1, 1, false);
	struct rng rng = rng_of(7);
	uint8_t frame[512];

	for (int i = 0; i < 20000; i++) {
		struct node_header header = next_header(land, (enum bus_kind)rng_below(&rng, 5));
		size_t size = rng_below(&rng, sizeof(frame));

		header.ack = rng_below(&rng, 9);
		rng_fill(&rng, frame, size);
		if (size >= sizeof(header) && i % 3)
			memcpy(frame, &header, sizeof(header));
		runtime_node_frame(land->place[0][CONTROL].rt, land_id(1), frame, size);
	}
	CHECK(counters(land)->bad_frames > 1000);
	CHECK_EQ(land_probe(land, here)->st.questions, 0);
	/* (the numbering of node 1 is spoilt by now: it is given up and found again) */
	land_down(land, 0, 1);
	land_up(land, 0, 1);
	land_run_ms(land, 20);
	actor_request(land_actor(land, here), there, 1000, name_lookup, {.wait_ms = 1});
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, here)->st.answers, 1);
	land_destroy(land);
}

/* ---- offices, who is up ------------------------------------------------------------------------ */

TEST(offices_of_other_nodes_are_found_without_knowing_their_processes)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, false);
	struct actor *asker = land_actor(land, here);
	const struct {
		struct addr office;
		unsigned slot;
		bool there;
	} rows[] = {
		{actor_office_at(asker,	OFFICE_DIRECTORY, land_id(1)),	       CONTROL,			true				    },
		{actor_office_at_worker(asker, OFFICE_MEDIA,     land_id(1),		 0),			     1,					true},
		{actor_office_at_worker(asker,			       OFFICE_MEDIA,		     land_id(1), 1), 2,					true},
		{actor_office_at_worker(asker,			       OFFICE_MEDIA,					     land_id(1),					 2),			     0,false},
		{actor_office_at_worker(asker,			       OFFICE_MEDIA,					     land_id(1),								 UINT32_MAX),				      0,							 false},
		{actor_office_at(asker,			OFFICE_STORE,				      land_id(1)),0,false},
		{actor_office_at(asker,			OFFICE_DIRECTORY, land_id(0)),			       0,									  false																		 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct probe *s = land_probe(land, here);
		uint64_t answers = s->st.answers, failures = s->st.failures;

		if (rows[i].there)
			CHECK_OK(actor_spawn_office(land->place[1][rows[i].slot].rt,
				(enum office)(rows[i].office.id % OFFICE_SERIALS), &probe_actor,
				NULL));
		actor_request(asker, rows[i].office, LONG_MS, name_lookup, {.wait_ms = 1});
		land_run_ms(land, 20);
		CHECK_EQ(s->st.answers - answers, rows[i].there);
		CHECK_EQ(s->st.failures - failures, !rows[i].there);
	}
	CHECK_EQ(actor_monitor(asker, rows[0].office), ERR_UNSUPPORTED);
	CHECK(addr_is_nobody(actor_office_at_worker(asker, OFFICE_MEDIA, land_id(0), 9)));
	CHECK(addr_equal(actor_office_at_worker(asker, OFFICE_MEDIA, land_id(0), 0),
		actor_office(asker, OFFICE_MEDIA)));
	land_destroy(land);
}

TEST(who_watches_nodes_hears_of_all_in_every_process)
{
	struct land *land = land_create();
	struct addr at[2] = {land_spawn(land, 0, CONTROL, false), land_spawn(land, 0, 1, false)};
	uint64_t boot = land_boot(land, 1);

	for (int i = 0; i < 2; i++)
		actor_watch_nodes(land_actor(land, at[i]));
	land_up(land, 0, 1);
	land_up(land, 0, 1);
	land_run_ms(land, 5);
	for (int i = 0; i < 2; i++) {
		const struct probe *s = land_probe(land, at[i]);

		CHECK_EQ(s->seen_count, 1);
		CHECK(s->seen.up && s->seen.node == land_id(1) && s->seen.boot == boot);
	}
	/* a process that comes later is told */
	land_kill(land, 0, 2);
	land_start(land, 0, 2);
	land_run_ms(land, 5);
	struct addr late = land_spawn(land, 0, 2, false);

	actor_watch_nodes(land_actor(land, late));
	land_run_ms(land, 1);
	CHECK_EQ(land_probe(land, late)->seen_count, 1);
	CHECK_OK(runtime_node_up(land->place[0][CONTROL].rt, land_id(1), boot + 1));
	land_run_ms(land, 5);
	CHECK_EQ(land_probe(land, at[1])->seen_count, 2);
	CHECK_EQ(land_probe(land, at[1])->seen.boot, boot + 1);
	/* a gateway that begins anew is asked to look for it, and says so when it is not there */
	land->nobody_answers = true;
	land_kill(land, 0, CONTROL);
	land_start(land, 0, CONTROL);
	land_run_ms(land, RUNTIME_NODE_AGAIN_MS - 100);
	CHECK_EQ(land_probe(land, at[1])->seen_count, 2);
	land_run_ms(land, 200);
	CHECK_EQ(land_probe(land, at[1])->seen_count, 3);
	CHECK(!land_probe(land, at[1])->seen.up);
	CHECK_EQ(land->place[0][1].rt->nodes.count, 0);
	land_destroy(land);
}

/* ---- media ------------------------------------------------------------------------------------- */

TEST(packets_for_another_node_go_to_its_link)
{
	struct land *land = land_create();
	struct place *place = &land->place[0][1];
	struct addr source = land_spawn(land, 0, 1, false), link = land_spawn(land, 0, 1, false);
	struct addr near = land_spawn(land, 0, 1, false), beside = land_spawn(land, 0, 2, false);
	struct addr far = {land_id(1), source.id};
	struct slot_ref ref = arena_alloc(place->arena, ARENA_PACKET, 0);
	struct actor *actor = land_actor(land, source);

	actor_media(actor, far, ref);
	CHECK_EQ(runtime_counters(place->rt)->media_dropped_out, 1);
	CHECK_OK(runtime_media_route(place->rt, land_id(1), link));
	actor_media(actor, far, ref);
	CHECK_EQ(land_probe(land, link)->outbound, 1);
	CHECK(addr_equal(land_probe(land, link)->outbound_to, far));
	CHECK(addr_equal(land_probe(land, link)->media_from, source));
	CHECK_EQ(land_probe(land, source)->packets, 0); /* its id is the same, its node is not */
	/* the other way: on behalf of the sender, here and in the next process */
	actor_media_from(land_actor(land, link), far, near, ref);
	actor_media_from(land_actor(land, link), far, beside, ref);
	actor_media_from(land_actor(land, link), far, far, ref);
	land_run_ms(land, 2);
	CHECK_EQ(land_probe(land, near)->packets, 1);
	CHECK_EQ(land_probe(land, beside)->packets, 1);
	CHECK(addr_equal(land_probe(land, beside)->media_from, far));
	CHECK_EQ(runtime_counters(place->rt)->media_dropped_in, 1);
	/* the link ends, or gives it up */
	actor_stop(land_actor(land, link), ERR_OK);
	land_run_ms(land, 2);
	actor_media(actor, far, ref);
	CHECK_OK(runtime_media_route(place->rt, land_id(1), (struct addr){0}));
	CHECK_OK(runtime_media_route(place->rt, land_id(1), (struct addr){0}));
	actor_media(actor, far, ref);
	CHECK_EQ(runtime_counters(place->rt)->media_dropped_out, 3);
	CHECK_EQ(place->rt->nodes.count, 0);
	land_destroy(land);
}

/* ---- a worker falls ---------------------------------------------------------------------------- */

static void fall_and_go_on(struct land *land, struct place *place)
{
	struct runtime_takeover_report report;

	land_silence(land, place);
	for (size_t i = 0; i < land->frame_count; i++)
		if (land->frames[i].from == place || land->frames[i].to == place)
			land->frames[i].process = 0; /* lost with it */
	land_attach(place);
	CHECK_OK(runtime_takeover(place->rt, &report));
	for (unsigned slot = 0; slot < LAND_PROCESSES; slot++) {
		struct place *other = &land->place[place->node][slot];
		struct runtime_peer_info info = land_info(other);

		if (other == place)
			continue;
		CHECK_OK(runtime_peer_up(place->rt, &info));
		runtime_peer_again(other->rt, place->process);
	}
}

TEST(a_successor_goes_on_with_what_it_has_to_do_with_other_nodes)
{
	for (int at = 0; at < 24; at++) {
		struct land *land = land_create();
		struct addr here = land_spawn(land, 0, 1, false);
		struct addr there = land_spawn(land, 1, 1, false);
		struct addr silent = land_spawn(land, 1, 2, true);
		struct place *place = &land->place[0][1];

		actor_watch_nodes(land_actor(land, here));
		CHECK_OK(actor_monitor(land_actor(land, here), silent));
		actor_request(land_actor(land, here), there, LONG_MS, name_lookup, {.wait_ms = 1});
		actor_request(land_actor(land, here), silent, LONG_MS, name_lookup, {.wait_ms = 1});
		runtime_turn(place->rt); /* it counts */
		for (int i = 0; i < 24; i++) {
			if (i == at)
				fall_and_go_on(land, place);
			land_turn(land);
			land_deliver(land);
		}
		land_run_ms(land, 450);
		CHECK_EQ(land_probe(land, here)->st.answers, 1);
		CHECK_EQ(land_probe(land, here)->st.failures, 0);
		CHECK_EQ(land_probe(land, there)->st.questions, 1);
		CHECK_EQ(place->rt->pending.count, 1);
		land_down(land, 0, 1);
		land_run_ms(land, 10);
		CHECK_EQ(land_probe(land, here)->st.failures, 1);
		CHECK_EQ(land_probe(land, here)->st.downs, 1);
		CHECK(!land_probe(land, here)->seen.up);
		land_destroy(land);
	}
}

/* ---- no memory --------------------------------------------------------------------------------- */

TEST(without_memory_everybody_still_hears)
{
	for (size_t n = 1; n < 60; n++) {
		struct land *land = land_create();
		struct addr here = land_spawn(land, 0, CONTROL, false);
		struct addr there = land_spawn(land, 1, CONTROL, true);

		land_run_ms(land, 2);
		test_fail_allocation(n);
		actor_monitor(land_actor(land, here), there);
		actor_request(land_actor(land, here), there, 2000, name_lookup, {.wait_ms = 1});
		land_run_ms(land, 20);
		test_fail_allocation(0);
		if (land_actor(land, there))
			actor_stop(land_actor(land, there), ERR_OK);
		land_run_ms(land, 2500);
		struct actor *actor = land_actor(land, here);

		/* (one that could not be told has ended) */
		if (actor) {
			CHECK_EQ(actor->watching.count, 0);
			CHECK_GE(land_probe(land, here)->st.failures, 1);
		}
		CHECK_EQ(land->place[0][CONTROL].rt->pending.count, 0);
		land_destroy(land);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors of different nodes: what holds between processes holds between them.
 */
#include "schemas/random.h"
#include "tests/unit/node_world.h"

enum { LONG_MS = 600000 };

static uint64_t ask(struct land *land, struct addr asker, struct addr whom)
{
	return actor_request(land_actor(land, asker), whom, LONG_MS, name_lookup, {.wait_ms = 1});
}

static const struct runtime_counters *counters(struct land *land, unsigned node)
{
	return runtime_counters(land->place[node][CONTROL].rt);
}

static size_t pending(struct land *land, struct addr who)
{
	return land_actor(land, who)->rt->pending.count;
}

/* Of the gateways of all nodes: nothing is under way. */
static void check_quiet(struct land *land)
{
	for (unsigned node = 0; node < LAND_NODES; node++)
		for (unsigned other = 0; other < LAND_NODES; other++) {
			const struct far_node *far =
				kernel_node(land->place[node][CONTROL].rt, land_id(other));

			CHECK(!far || (!far->mail.first && !far->mail.out_bytes));
		}
}

TEST(a_question_and_its_answer_cross_nodes)
{
	static const unsigned rows[][4] = {
	/* node, process of who asks; of who answers */
		{0, 1,       1, 2	   },
		{0, CONTROL, 1, 1	 },
		{2, 2,       1, CONTROL},
		{0, CONTROL, 1, CONTROL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct land *land = land_create();
		struct addr asker = land_spawn(land, rows[i][0], rows[i][1], false);
		struct addr other = land_spawn(land, rows[i][2], rows[i][3], false);

		ask(land, asker, other);
		ask(land, asker, other);
		land_run_ms(land, 20);
		CHECK_EQ(land_probe(land, asker)->st.answers, 2);
		CHECK_EQ(land_probe(land, other)->st.questions, 2);
		struct addr nobody = {.node = other.node, .id = other.id + 1};

		actor_send(land_actor(land, asker), nobody, done, {});
		land_run_ms(land, 20);
		CHECK_EQ(land_probe(land, asker)->st.failures, 1);
		CHECK_EQ(land_probe(land, asker)->st.last_err, ERR_DEAD);
		CHECK_EQ(pending(land, asker), 0);
		land_run_ms(land, 300);
		check_quiet(land);
		land_destroy(land);
	}
}

/* Ids are a node's own: the same one in another node is somebody else. */
TEST(an_address_is_of_its_node)
{
	struct land *land = land_create();
	struct addr asker = land_spawn(land, 0, 1, false);
	struct addr twin = {.node = land_id(1), .id = asker.id};

	land_up(land, 0, 1);
	land_up(land, 1, 0);
	CHECK(!actor_kick(land_actor(land, asker)->rt, twin));
	CHECK_OK(actor_monitor(land_actor(land, asker), twin));
	ask(land, asker, twin);
	land_run_ms(land, 20);
	CHECK_EQ(land_probe(land, asker)->st.questions, 0);
	CHECK_EQ(land_probe(land, asker)->st.failures, 1);
	CHECK_EQ(land_probe(land, asker)->st.downs, 1);
	land_destroy(land);
}

/* Loses what is between nodes now and then, as a connection that breaks does: from there on all. */
static void break_ways(struct land *land, struct rng *rng)
{
	bool broken = rng_below(rng, 8) == 0;

	for (size_t i = 0; broken && i < land->frame_count; i++) {
		struct land_frame *frame = &land->frames[i];

		if (!frame->between_nodes || rng_below(rng, 2))
			continue;
		free(frame->bytes);
		memmove(frame, frame + 1, (land->frame_count - i - 1) * sizeof(*frame));
		land->frame_count--;
		i--;
	}
	if (!broken)
		return;
	runtime_node_again(land->place[0][CONTROL].rt, land_id(1));
	runtime_node_again(land->place[1][CONTROL].rt, land_id(0));
}

TEST(connections_that_break_lose_and_double_nothing)
{
	enum { QUESTIONS = 200 };
	struct land *land = land_create();
	struct rng rng = rng_of(3);
	struct actor_type roomy = probe_actor;
	struct addr asker, other;

	roomy.mailbox_max = QUESTIONS + 1;
	CHECK_OK(actor_spawn(land->place[0][1].rt, NULL, &roomy, NULL, &asker));
	CHECK_OK(actor_spawn(land->place[1][2].rt, NULL, &roomy, NULL, &other));
	for (int i = 0; i < 20000 && land_probe(land, asker)->st.answers < QUESTIONS; i++) {
		if (i < QUESTIONS)
			ask(land, asker, other);
		land_turn(land);
		break_ways(land, &rng);
		land_deliver(land);
	}
	CHECK_EQ(land_probe(land, asker)->st.answers, QUESTIONS);
	CHECK_EQ(land_probe(land, asker)->st.failures, 0);
	CHECK_EQ(land_probe(land, other)->st.questions, QUESTIONS);
	CHECK(counters(land, 0)->resent_frames + counters(land, 1)->resent_frames > 0);
	land_run_ms(land, 500);
	check_quiet(land);
	land_destroy(land);
}

/* ---- ends -------------------------------------------------------------------------------------- */

TEST(a_lost_node_fails_what_waits_for_it_and_fires_watches)
{
	struct land *land = land_create();
	struct addr asker = land_spawn(land, 0, 1, false);
	struct addr at_gateway = land_spawn(land, 0, CONTROL, false);
	struct addr silent = land_spawn(land, 1, 1, true);
	struct addr elsewhere = land_spawn(land, 2, 1, true);

	ask(land, asker, silent);
	ask(land, asker, elsewhere);
	CHECK_OK(actor_monitor(land_actor(land, asker), silent));
	CHECK_OK(actor_monitor(land_actor(land, at_gateway), silent));
	CHECK_OK(actor_monitor(land_actor(land, asker), elsewhere));
	CHECK_OK(actor_monitor(land_actor(land, silent), asker));
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, silent)->st.questions, 1);
	land->cut[0][1] = land->cut[1][0] = true;
	ask(land, asker, silent);
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, asker)->st.failures, 0);
	land_down(land, 0, 1);
	land_run_ms(land, 10);
	/* what it had taken, and what it had not */
	CHECK_EQ(land_probe(land, asker)->st.failures, 2);
	CHECK_EQ(land_probe(land, asker)->st.downs, 1);
	CHECK(addr_equal(land_probe(land, asker)->st.last_down, silent));
	CHECK_EQ(land_probe(land, at_gateway)->st.downs, 1);
	CHECK_EQ(pending(land, asker), 1);
	CHECK_EQ(land_actor(land, asker)->watchers.count, 0);
	CHECK_EQ(land_actor(land, asker)->watching.count, 1);
	land_destroy(land);
}

/* The other side has noticed nothing: it learns so from the first frame. */
TEST(who_was_given_up_unnoticed_begins_anew)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, true);
	struct addr there = land_spawn(land, 1, 1, true);
	struct addr there_too = land_spawn(land, 1, 2, false);

	ask(land, there, here);
	CHECK_OK(actor_monitor(land_actor(land, there), here));
	CHECK_OK(actor_monitor(land_actor(land, there_too), here));
	land_run_ms(land, 30);
	CHECK_EQ(land_actor(land, here)->watchers.count, 2);
	land_down(land, 0, 1);
	land_run_ms(land, 5);
	CHECK_EQ(land_actor(land, here)->watchers.count, 0);
	ask(land, there_too, here); /* to one that does not know us any more */
	land_run_ms(land, 5);
	land_up(land, 0, 1);
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, there)->st.failures, 1);
	CHECK_EQ(land_probe(land, there_too)->st.failures, 1);
	CHECK_EQ(land_probe(land, there)->st.downs, 0);
	CHECK_EQ(land_actor(land, here)->watchers.count, 2);
	ask(land, here, there_too);
	land_run_ms(land, 20);
	CHECK_EQ(land_probe(land, here)->st.answers, 1);
	actor_stop(land_actor(land, here), ERR_OK);
	land_run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->st.downs, 1);
	CHECK_EQ(land_probe(land, there_too)->st.downs, 1);
	land_destroy(land);
}

/* Both ways at once, again and again: it always comes to rest. */
TEST(ends_that_cross_come_to_rest)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct land *land = land_create();
		struct rng rng = rng_of(seed);
		struct addr here = land_spawn(land, 0, 1, false);
		struct addr there = land_spawn(land, 1, 1, false);

		for (int i = 0; i < 60; i++) {
			unsigned at = rng_below(&rng, 2);

			switch (rng_below(&rng, 6)) {
			case 0: land_down(land, at, 1 - at); break;
			case 1: land_up(land, at, 1 - at); break;
			case 2: ask(land, here, there); break;
			case 3: ask(land, there, here); break;
			case 4: land->cut[at][1 - at] = !land->cut[at][1 - at]; break;
			default: land_run_ms(land, (int)rng_below(&rng, 5)); break;
			}
		}
		land->cut[0][1] = land->cut[1][0] = false;
		land_up(land, 0, 1);
		land_up(land, 1, 0);
		land_run_ms(land, 450);
		CHECK_EQ(pending(land, here), 0);
		CHECK_EQ(pending(land, there), 0);
		check_quiet(land);
		const struct far_node *far = kernel_node(land->place[0][CONTROL].rt, land_id(1));
		const struct far_node *back = kernel_node(land->place[1][CONTROL].rt, land_id(0));

		CHECK_EQ(far->theirs, back->number);
		CHECK_EQ(back->theirs, far->number);
		CHECK(!far->active && !back->active);
		uint64_t answers = land_probe(land, here)->st.answers;

		ask(land, here, there);
		land_run_ms(land, 20);
		CHECK_EQ(land_probe(land, here)->st.answers, answers + 1);
		land_destroy(land);
	}
}

TEST(a_new_boot_of_the_gateway_leaves_watches_and_fails_requests)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, false);
	struct addr lives = land_spawn(land, 1, 1, true);
	struct addr ends = land_spawn(land, 1, 2, true);

	ask(land, here, lives);
	CHECK_OK(actor_monitor(land_actor(land, here), lives));
	CHECK_OK(actor_monitor(land_actor(land, here), ends));
	CHECK_OK(actor_monitor(land_actor(land, lives), here));
	land_run_ms(land, 30);
	CHECK_EQ(land_actor(land, lives)->watchers.count, 1);
	land_kill(land, 1, CONTROL);
	ask(land, here, lives);
	actor_stop(land_actor(land, ends), ERR_OK); /* its last word goes nowhere */
	land_run_ms(land, 10);
	CHECK_EQ(land_probe(land, here)->st.downs, 0);
	CHECK_EQ(land_probe(land, here)->st.failures, 0);
	land_start(land, 1, CONTROL);
	land_up(land, 0, 1);
	land_up(land, 1, 0);
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, here)->st.failures, 2);
	CHECK_EQ(land_probe(land, here)->st.downs, 1);
	CHECK(addr_equal(land_probe(land, here)->st.last_down, ends));
	CHECK_EQ(land_actor(land, lives)->watchers.count, 1);
	actor_stop(land_actor(land, lives), ERR_OK);
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, here)->st.downs, 2);
	land_destroy(land);
}

/* The actors whose own gateway was replaced ask anew, too, and what they waited for has failed. */
TEST(a_gateway_of_ones_own_is_replaced)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, false);
	struct addr there = land_spawn(land, 1, 1, true);

	ask(land, here, there);
	CHECK_OK(actor_monitor(land_actor(land, here), there));
	land_run_ms(land, 30);
	land_kill(land, 0, CONTROL);
	land_run_ms(land, 5);
	CHECK_EQ(land_probe(land, here)->st.failures, 1);
	ask(land, here, there);
	land_run_ms(land, 5);
	CHECK_EQ(land_probe(land, here)->st.failures, 2);
	actor_stop(land_actor(land, there), ERR_OK);
	land_run_ms(land, 5);
	CHECK_EQ(land_probe(land, here)->st.downs, 0);
	land_start(land, 0, CONTROL);
	land_run_ms(land, 30); /* (they find each other because somebody is asked after) */
	CHECK_EQ(land_probe(land, here)->st.downs, 1);
	CHECK_EQ(land_probe(land, here)->st.failures, 2);
	land_destroy(land);
}

/* Far away, over ways that lose, they find each other late; what flows between them does not wait. */
TEST(who_was_up_is_not_lost_while_a_gateway_of_ones_own_begins_anew)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, false);
	struct addr there = land_spawn(land, 1, 1, true);

	ask(land, here, there);
	CHECK_OK(actor_monitor(land_actor(land, here), there));
	land_run_ms(land, 30);
	land->nobody_answers = true;
	land_kill(land, 0, CONTROL);
	land_run_ms(land, 5);
	land_start(land, 0, CONTROL);
	land_run_ms(land, RUNTIME_NODE_WAIT_MS + 1000);
	CHECK_EQ(land_probe(land, here)->st.downs, 0);
	land_up(land, 0, 1);
	land_up(land, 1, 0);
	land_run_ms(land, 30);
	actor_stop(land_actor(land, there), ERR_OK);
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, here)->st.downs, 1);

	/* who does not come back is gone all the same */
	there = land_spawn(land, 1, 2, true);
	CHECK_OK(actor_monitor(land_actor(land, here), there));
	land_run_ms(land, 30);
	land_kill(land, 0, CONTROL);
	land_run_ms(land, 5);
	land_start(land, 0, CONTROL);
	land_run_ms(land, RUNTIME_NODE_AGAIN_MS + 100);
	CHECK_EQ(land_probe(land, here)->st.downs, 2);
	land_destroy(land);
}

TEST(a_watch_that_was_lost_with_the_gateway_is_begun_by_the_next)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, false);
	struct addr first = land_spawn(land, 1, 1, true);
	struct addr second = land_spawn(land, 1, 1, true);

	ask(land, here, first);
	land_run_ms(land, 30);
	CHECK_OK(actor_monitor(land_actor(land, here), first)); /* on its way */
	land_kill(land, 0, CONTROL);
	CHECK_OK(actor_monitor(land_actor(land, here), second)); /* nobody to take it */
	land_run_ms(land, 5);
	CHECK_EQ(land_probe(land, here)->st.downs, 0);
	land_start(land, 0, CONTROL);
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, here)->st.downs, 0);
	CHECK_EQ(land_actor(land, first)->watchers.count, 1);
	CHECK_EQ(land_actor(land, second)->watchers.count, 1);
	land_destroy(land);
}

TEST(a_process_that_ends_takes_its_own_with_it)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, false);
	struct addr dies = land_spawn(land, 1, 1, true);
	struct addr lives = land_spawn(land, 1, 2, true);
	struct actor *asker = land_actor(land, here);

	CHECK_OK(actor_spawn_office(land->place[1][1].rt, OFFICE_MEDIA, &probe_actor,
		&(struct probe_args){.silent = true}));
	CHECK_OK(actor_spawn_office(land->place[1][2].rt, OFFICE_MEDIA, &probe_actor,
		&(struct probe_args){.silent = true}));
	ask(land, here, dies);
	ask(land, here, lives);
	ask(land, here, actor_office_at_worker(asker, OFFICE_MEDIA, land_id(1), 0));
	ask(land, here, actor_office_at_worker(asker, OFFICE_MEDIA, land_id(1), 1));
	CHECK_OK(actor_monitor(asker, dies));
	CHECK_OK(actor_monitor(asker, lives));
	land_run_ms(land, 30);
	CHECK_EQ(pending(land, here), 4);
	land_kill(land, 1, 1);
	land_run_ms(land, 30);
	CHECK_EQ(land_probe(land, here)->st.failures, 2);
	CHECK_EQ(land_probe(land, here)->st.downs, 1);
	CHECK(addr_equal(land_probe(land, here)->st.last_down, dies));
	CHECK_EQ(pending(land, here), 2);
	land_destroy(land);
}

/* Who never comes up: it was asked for once, and all that waited comes back together. */
TEST(mail_waits_for_a_node_and_not_for_ever)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, 1, false);
	struct addr stranger = {.node = 12345, .id = 1ull << RUNTIME_BLOCK_SHIFT | 99};

	ask(land, here, stranger);
	ask(land, here, stranger);
	CHECK_OK(actor_monitor(land_actor(land, here), stranger));
	land_run_ms(land, RUNTIME_NODE_WAIT_MS - 100);
	CHECK_EQ(land_probe(land, here)->st.failures, 0);
	CHECK_EQ(land->asked_for_strangers, 1);
	land_run_ms(land, 200);
	CHECK_EQ(land_probe(land, here)->st.failures, 2);
	CHECK_EQ(land_probe(land, here)->st.downs, 1);
	CHECK(!kernel_node(land->place[0][CONTROL].rt, stranger.node));
	/* where nobody knows it, that is said at once */
	ask(land, here, stranger);
	land_run_ms(land, 5);
	runtime_node_down(land->place[0][CONTROL].rt, stranger.node);
	land_run_ms(land, 5);
	CHECK_EQ(land_probe(land, here)->st.failures, 3);
	land_destroy(land);
}

/* ---- bounds ------------------------------------------------------------------------------------ */

TEST(a_channel_that_is_full_refuses_and_what_is_awaited_has_room)
{
	struct land *land = land_create();
	struct addr here = land_spawn(land, 0, CONTROL, false);
	struct addr there = land_spawn(land, 1, CONTROL, true);
	struct actor *actor = land_actor(land, here);

	land->nobody_answers = true;
	for (int i = 0; i < RUNTIME_OUTBOX_MAX; i++)
		CHECK_OK(actor_send(actor, there, keyframe_request, {.track = 1}));
	CHECK_EQ(actor_send(actor, there, keyframe_request, {.track = 1}), ERR_OVERLOAD);
	CHECK_EQ(actor_monitor(actor, there), ERR_OVERLOAD);
	land_run_ms(land, 1);
	CHECK_EQ(land_probe(land, here)->st.downs, 1); /* nobody waits for one that cannot come */
	CHECK_EQ(actor->watching.count, 0);
	const struct far_node *far = kernel_node(land->place[0][CONTROL].rt, land_id(1));

	for (int i = 0; i < RUNTIME_OUTBOX_MAX; i++)
		kernel_tell_down(land->place[0][CONTROL].rt, here, "probe", ERR_OK, there);
	CHECK_EQ(far->mail.out_count, 2 * RUNTIME_OUTBOX_MAX);
	CHECK(!far->broken);
	/* what has no room even so is not lost unnoticed: both begin anew */
	kernel_tell_down(land->place[0][CONTROL].rt, here, "probe", ERR_OK, there);
	CHECK(far->broken);
	uint32_t number = far->number;

	land_run_ms(land, 1);
	CHECK(!far->broken && far->number != number && far->mail.out_count == 0);
	land_destroy(land);
}

TEST(more_nodes_than_there_is_room_for_are_refused)
{
	struct land *land = land_create();
	struct runtime *rt = land->place[0][CONTROL].rt;
	struct addr here = land_spawn(land, 0, CONTROL, false);

	for (uint64_t i = 0; i < RUNTIME_NODES_MAX; i++)
		CHECK_OK(runtime_node_up(rt, 1000 + i, 1));
	CHECK_EQ(runtime_node_up(rt, 999, 1), ERR_LIMIT);
	struct addr stranger = {.node = 999, .id = 1};

	CHECK_EQ(actor_send(land_actor(land, here), stranger, done, {}), ERR_OVERLOAD);
	CHECK_EQ(runtime_node_up(rt, land_id(0), 1), ERR_FORMAT);
	CHECK_EQ(runtime_node_up(rt, 0, 1), ERR_FORMAT);
	CHECK_EQ(runtime_node_up(rt, 1000, 0), ERR_FORMAT);
	for (uint64_t i = 0; i < RUNTIME_NODES_MAX; i++)
		runtime_node_down(rt, 1000 + i);
	land_run_ms(land, 1);
	CHECK_EQ(rt->nodes.count, 0);
	land_destroy(land);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Relaying: the offices of four nodes. The table by itself: cluster_relay_table_test.c.
 */
#include "tests/unit/relay_land.h"
#include "tests/unit/successor.h"

enum { ANSWER_MS = 3000 };

/* ---- offices: finding a source ------------------------------------------------------------------- */

TEST(the_first_who_asks_copies_from_afar_the_others_copy_it)
{
	struct land *land = relay_land();
	struct addr first = copy_in(land, A, FIRST_WORKER, 1);
	struct addr second;

	land_run_ms(land, 50);
	second = copy_in(land, A, SECOND_WORKER, 1);
	land_run_ms(land, 50);
	CHECK(addr_equal(copy_of(land, first)->is.source, origin));
	CHECK(copy_of(land, first)->found.entry);
	CHECK_EQ(copy_of(land, first)->found.path_count, 1);
	CHECK(addr_equal(copy_of(land, second)->is.source, first));
	CHECK(!copy_of(land, second)->found.entry);
	CHECK_EQ(copy_of(land, second)->found.path[0].node, land_id(A));
	CHECK_PATH(land, A, O);
	CHECK_EQ(office_of(land, A)->st.direct, 1);
	land_destroy(land);
}

TEST(without_an_answer_of_routes_it_is_straight)
{
	struct land *land = relay_land();

	plans[A].is_silent = true;
	struct addr copy = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 150);
	CHECK_EQ(copy_of(land, copy)->answers, 0);
	land_run_ms(land, 100);
	CHECK(addr_equal(copy_of(land, copy)->is.source, origin));
	CHECK_EQ(office_of(land, A)->st.unplanned, 1);
	land_destroy(land);
}

TEST(a_relay_makes_a_copy_and_the_next_one_joins_it)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	plan_way(C, 0, B, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	CHECK_EQ(copy_of(land, a)->is.source.node, land_id(B));
	CHECK_PATH(land, A, B, O);
	CHECK_PATH(land, B, O);
	struct addr b = copy_of(land, a)->is.source;

	CHECK(addr_equal(copy_of(land, b)->is.source, origin));
	struct addr c = copy_in(land, C, SECOND_WORKER, 1);

	land_run_ms(land, 100);
	CHECK(addr_equal(copy_of(land, c)->is.source, b));
	CHECK_EQ(office_of(land, B)->st.hosted, 1);
	CHECK_EQ(row_at(land, B)->row.downstream, 2);
	copy_ends(land, c);
	land_run_ms(land, 50);
	CHECK(row_at(land, C) == NULL);
	CHECK_EQ(row_at(land, B)->row.downstream, 1);
	land_destroy(land);
}

TEST(over_two_relays_as_who_asks_has_planned)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, C);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	CHECK_EQ(copy_of(land, a)->is.source.node, land_id(B));
	CHECK_PATH(land, A, B, C, O);
	CHECK_PATH(land, B, C, O);
	CHECK_PATH(land, C, O);
	land_destroy(land);
}

TEST(many_pulls_at_once_make_one_copy)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	plan_way(C, 0, B, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);
	struct addr c = copy_in(land, C, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	CHECK(addr_equal(copy_of(land, a)->is.source, copy_of(land, c)->is.source));
	CHECK_EQ(office_of(land, B)->st.hosted, 1);
	land_destroy(land);
}

TEST(a_relay_that_cannot_is_passed_over)
{
	enum { NO_ROOM, NO_WORKER, CUT, NO_OFFICE, WAYS };

	for (int how = 0; how < WAYS; how++) {
		struct land *land = relay_land();

		plan_way(A, 0, B, O);
		hosting_fails = how == NO_ROOM;
		if (how == NO_WORKER)
			land_kill(land, B, FIRST_WORKER);
		if (how == CUT)
			land->cut[A][B] = land->cut[B][A] = true;
		if (how == NO_OFFICE)
			land_kill(land, B, CONTROL);
		struct addr a = copy_in(land, A, FIRST_WORKER, 1);

		land_run_ms(land, ANSWER_MS);
		CHECK_EQ(copy_of(land, a)->answers, 1);
		CHECK(addr_equal(copy_of(land, a)->is.source, origin));
		CHECK_LE(copy_of(land, a)->longest_us, ANSWER_MS * 1000);
		if (how == NO_ROOM || how == NO_WORKER)
			CHECK(row_at(land, B) == NULL);
		land_destroy(land);
	}
}

TEST(the_stream_itself_is_at_the_relay)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	hosts_origins = true; /* it has moved there */
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	CHECK_EQ(copy_of(land, a)->is.source.node, land_id(B));
	CHECK_PATH(land, A, B);
	CHECK(row_at(land, B) == NULL);
	land_destroy(land);
}

TEST(who_has_failed_is_not_asked_again_and_no_way_is_said)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	struct copy *copy = copy_of(land, a);
	struct addr b = copy->is.source;

	copy->is.source = (struct addr){0};
	copy_ask(land_actor(land, a), copy, b);
	land_run_ms(land, 50);
	CHECK(addr_equal(copy->is.source, origin));
	CHECK_EQ(row_at(land, B)->row.downstream, 0);
	copy->is.source = (struct addr){0};
	copy_ask(land_actor(land, a), copy, origin);
	land_run_ms(land, 50);
	CHECK_EQ(copy->refusals, 1);
	CHECK_EQ(copy->err, ERR_NOT_FOUND);
	CHECK(copy->retry_after_ms > 4000 && copy->retry_after_ms <= RELAY_AVOID_MS);
	land_run_ms(land, (int)copy->retry_after_ms + 50);
	CHECK_EQ(copy->is.source.node, land_id(B)); /* it is the plan again */
	land_destroy(land);
}

/* ---- circles --------------------------------------------------------------------------------------- */

TEST(two_that_would_copy_each_other_both_go_straight)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	plan_way(B, 0, A, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);
	struct addr b = copy_in(land, B, FIRST_WORKER, 1);

	land_run_ms(land, 200);
	CHECK(copy_of(land, a)->is.source.node == land_id(O) ||
		copy_of(land, b)->is.source.node == land_id(O));
	CHECK(copy_of(land, a)->is.source.node != land_id(B) ||
		copy_of(land, b)->is.source.node != land_id(A));
	CHECK(office_of(land, A)->st.loops + office_of(land, B)->st.loops > 0);
	land_destroy(land);
}

/* From every node the sources lead to the origin. */
static void check_tree(struct land *land)
{
	for (unsigned node = 0; node < O; node++) {
		const struct relay_stream *stream = row_at(land, node);
		unsigned hops = 0;

		if (!stream)
			continue;
		struct addr at = stream->row.source;

		while (at.node != land_id(O)) {
			if (addr_is_nobody(at) || ++hops > LAND_NODES)
				fail_msg("node %u: no way to the origin", node);
			at = row_at(land, (unsigned)(at.node - LAND_NODE_ID))->row.source;
		}
	}
}

TEST(three_in_a_circle_find_out)
{
	struct land *land = relay_land();
	struct addr copies[3];

	for (unsigned node = A; node <= C; node++)
		plan_way(node, 0, (node + 1) % 3, O);
	for (unsigned node = A; node <= C; node++)
		copies[node] = copy_in(land, node, FIRST_WORKER, 1);
	land_run_ms(land, 1000);
	for (unsigned node = A; node <= C; node++)
		CHECK(!addr_is_nobody(copy_of(land, copies[node])->is.source));
	check_tree(land);
	land_destroy(land);
}

/* ---- changes ------------------------------------------------------------------------------------------ */

TEST(a_better_way_is_taken_when_it_stays_better)
{
	struct land *land = relay_land();

	plan_way(A, 0, C, O); /* C is to exist as a relay */
	plan_way(A, 0, O, O);
	plan_way(A, 1, B, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	CHECK(addr_equal(copy_of(land, a)->is.source, origin));
	for (int flaps = 0; flaps < 4; flaps++) {
		plan_way(A, 0, B, O);
		plan_way(A, 1, O, O);
		tell_route(land, A);
		land_run_ms(land, 3000);
		plan_way(A, 0, O, O);
		plan_way(A, 1, B, O);
		tell_route(land, A);
		land_run_ms(land, 3000);
	}
	CHECK_EQ(copy_of(land, a)->reparents, 0);
	plan_way(A, 0, B, O);
	plan_way(A, 1, O, O);
	tell_route(land, A);
	land_run_ms(land, 4500);
	CHECK_EQ(copy_of(land, a)->reparents, 0);
	land_run_ms(land, 1500);
	CHECK_EQ(copy_of(land, a)->reparents, 1);
	CHECK_EQ(copy_of(land, a)->is.source.node, land_id(B));
	CHECK_PATH(land, A, B, O);
	CHECK_EQ(office_of(land, A)->st.switched, 1);
	land_destroy(land);
}

TEST(an_entry_that_stays_where_it_is)
{
	struct land *land = relay_land();

	plan_way(A, 0, O, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	copy_of(land, a)->answer_reparent = ERR_TIMEOUT;
	plan_way(A, 0, B, O);
	plan_way(A, 1, O, O);
	tell_route(land, A);
	land_run_ms(land, 6000);
	CHECK_EQ(copy_of(land, a)->reparents, 1);
	CHECK_PATH(land, A, O);
	CHECK_EQ(office_of(land, A)->st.switch_failed, 1);
	CHECK(!row_at(land, B) || row_at(land, B)->row.downstream == 0);
	land_run_ms(land, 11500); /* avoided, then better for long enough: once more */
	CHECK_EQ(copy_of(land, a)->reparents, 2);
	land_destroy(land);
}

TEST(a_way_that_is_down_is_left_at_once)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	plan_way(A, 1, C, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	CHECK_EQ(copy_of(land, a)->is.source.node, land_id(B));
	plan_way(A, 0, C, O);
	plan_way(A, 1, B, O);
	plans[A].route.detour = true;
	plans[A].route.ways[1].state = LINK_DOWN;
	tell_route(land, A);
	land_run_ms(land, 50);
	CHECK_EQ(copy_of(land, a)->reparents, 1);
	CHECK_PATH(land, A, C, O);
	CHECK_EQ(row_at(land, B)->row.downstream, 0);
	land_destroy(land);
}

TEST(a_relay_that_is_lost_is_left_at_once)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	plan_way(A, 1, C, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	land_down(land, A, B);
	land_run_ms(land, 100);
	CHECK_PATH(land, A, C, O);
	CHECK_EQ(copy_of(land, a)->is.source.node, land_id(C));
	land_destroy(land);
}

TEST(further_down_they_learn_the_way)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	plan_way(B, 0, O, O);
	copy_in(land, A, FIRST_WORKER, 1);
	land_run_ms(land, 100);
	CHECK_PATH(land, A, B, O);
	plan_way(B, 0, C, O);
	plan_way(B, 1, O, O);
	tell_route(land, B);
	land_run_ms(land, 6000);
	CHECK_PATH(land, B, C, O);
	CHECK_PATH(land, A, B, C, O);
	land_destroy(land);
}

/* ---- what is told of it -------------------------------------------------------------------------- */

static bool leads(const struct relay_hop *hops, uint16_t count, unsigned first, unsigned second)
{
	return count == (first == O ? 1 : 2) && hops[0].node == land_id(first) &&
	       hops[count - 1].node == land_id(first == O ? O : second);
}

/* The newest change at A; O: straight. */
static void check_newest(
	struct land *land, const char *name, unsigned before, unsigned after, enum relay_why why)
{
	struct msg_relay_changes_told told;

	relay_newest_changes(office_of(land, A)->changes, 0, &told);
	for (int i = 0; i < told.changes_count; i++) {
		const struct relay_change *change = &told.changes[i];

		if (strcmp(change->stream_name, name) != 0)
			continue;
		CHECK(leads(change->before, change->before_count, before, O));
		CHECK(leads(change->after, change->after_count, after, O));
		CHECK_EQ(change->why, why);
		CHECK_EQ(change->origin, land_id(O));
		CHECK(change->at_us > 0);
		return;
	}
	fail_msg("nothing is told of \"%s\"", name);
}

TEST(what_it_did_and_why_is_told)
{
	struct land *land = relay_land();
	struct msg_relay_changes_told told;

	plan_way(A, 0, B, O);
	plan_way(A, 1, C, O);
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 100);
	relay_newest_changes(office_of(land, A)->changes, 0, &told);
	CHECK_EQ(told.changes_count, 0); /* the first way is no change */
	for (int trouble = LINK_DOUBTFUL; trouble <= LINK_DOWN; trouble++) {
		plan_way(A, 0, C, O);
		plan_way(A, 1, B, O);
		plans[A].route.detour = true;
		plans[A].route.ways[1].state = (uint8_t)trouble;
		tell_route(land, A);
		land_run_ms(land, 50);
		CHECK_PATH(land, A, C, O);
		check_newest(
			land, "", B, C, trouble == LINK_DOWN ? RELAY_WHY_DOWN : RELAY_WHY_DOUBTFUL);
		check_newest(land, the_name, B, C,
			trouble == LINK_DOWN ? RELAY_WHY_DOWN : RELAY_WHY_DOUBTFUL);
		plan_way(A, 0, B, O);
		plan_way(A, 1, C, O);
		plans[A].route.detour = false;
		tell_route(land, A);
		land_run_ms(land, 50);
		check_newest(land, "", C, B, RELAY_WHY_OVER);
		land_run_ms(land, RELAY_BETTER_MS + RELAY_AVOID_MS + 500);
		CHECK_PATH(land, A, B, O);
		check_newest(land, the_name, C, B, RELAY_WHY_BETTER);
	}
	land_down(land, A, B);
	land_run_ms(land, 100);
	check_newest(land, the_name, B, C, RELAY_WHY_LOST);
	copy_of(land, a)->is.source = (struct addr){0};
	copy_ask(land_actor(land, a), copy_of(land, a), row_at(land, A)->row.source);
	land_run_ms(land, 100);
	check_newest(land, the_name, C, O, RELAY_WHY_FAILED);
	relay_newest_changes(office_of(land, A)->changes, 2, &told);
	CHECK_EQ(told.changes_count, 4); /* two of each kind, the newest first */
	for (int i = 1; i < told.changes_count; i++)
		CHECK(told.changes[i].number < told.changes[i - 1].number);
	land_destroy(land);
}

TEST(many_streams_that_change_do_not_hide_why)
{
	enum { CHANGES = 500 };
	struct land *land = relay_land();
	struct relay_path ways[] = {
		{1, {{land_id(B)}}},
		{1, {{land_id(C)}}},
	};
	struct msg_relay_changes_told told;

	plan_way(A, 0, B, O);
	copy_in(land, A, FIRST_WORKER, 1);
	land_run_ms(land, 100);
	plan_way(A, 0, C, O);
	tell_route(land, A);
	land_run_ms(land, 50);
	struct relay *office = office_of(land, A);

	for (int i = 0; i < CHANGES; i++)
		relay_note_path(land_actor(land, row_at(land, A)->row.entry), office,
			row_at(land, A), &ways[i % 2]);
	relay_newest_changes(office->changes, 0, &told);
	CHECK_EQ(told.changes_count, RELAY_STREAM_CHANGES + 1);
	CHECK_EQ(told.changes[0].number, 1 + CHANGES);
	CHECK_STR(told.changes[RELAY_STREAM_CHANGES].stream_name, "");
	land_destroy(land);
}

TEST(that_a_stream_is_published_here_or_changes_further_up_is_told)
{
	struct land *land = relay_land();
	struct msg_relay_changes_told told;

	plan_way(A, 0, B, O);
	plan_way(B, 0, O, O);
	copy_in(land, A, FIRST_WORKER, 1);
	land_run_ms(land, 100);
	plan_way(B, 0, C, O);
	plan_way(B, 1, O, O);
	tell_route(land, B);
	land_run_ms(land, 6000);
	CHECK_PATH(land, A, B, C, O);
	relay_newest_changes(office_of(land, A)->changes, 0, &told);
	CHECK_EQ(told.changes_count, 1);
	CHECK_EQ(told.changes[0].why, RELAY_WHY_UPSTREAM);
	CHECK_EQ(told.changes[0].after_count, 3);
	struct msg_relay_own own = {0};

	text_copy(own.stream_name, sizeof(own.stream_name), the_name);
	struct actor *copy = land_actor(land, row_at(land, A)->row.entry);

	actor_send_mail(
		copy, actor_office(copy, OFFICE_RELAY), MSG_relay_own, &schema_relay_own, &own);
	land_run_ms(land, 20);
	relay_newest_changes(office_of(land, A)->changes, 0, &told);
	CHECK_EQ(told.changes[0].why, RELAY_WHY_OWNER);
	CHECK_EQ(told.changes[0].after_count, 1);
	CHECK_EQ(told.changes[0].after[0].node, land_id(A));
	land_destroy(land);
}

TEST(an_entry_ends_and_another_follows)
{
	struct land *land = relay_land();
	struct addr first = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 50);
	struct addr second = copy_in(land, A, SECOND_WORKER, 1);

	land_run_ms(land, 50);
	land_kill(land, A, FIRST_WORKER);
	land_run_ms(land, 50);
	CHECK(addr_equal(copy_of(land, second)->is.source, origin));
	CHECK(copy_of(land, second)->found.entry);
	CHECK(addr_equal(row_at(land, A)->row.entry, second));
	CHECK(!addr_equal(first, second));
	copy_ends(land, second);
	land_run_ms(land, 50);
	CHECK_EQ(office_of(land, A)->st.streams, 0);
	land_destroy(land);
}

TEST(another_owner_is_another_source)
{
	struct land *land = relay_land();
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 50);
	struct addr moved = land_spawn(land, C, FIRST_WORKER, false);
	struct copy *copy = copy_of(land, a);

	copy->is.owner = moved;
	copy->is.epoch = 2;
	copy->is.source = (struct addr){0};
	copy_ask(land_actor(land, a), copy, (struct addr){0});
	land_run_ms(land, 50);
	CHECK(addr_equal(copy->is.source, moved));
	CHECK_PATH(land, A, C);
	copy->is.owner = origin; /* news of before */
	copy->is.epoch = 1;
	copy_ask(land_actor(land, a), copy, (struct addr){0});
	land_run_ms(land, 50);
	CHECK(addr_equal(copy->is.owner, moved));
	CHECK_EQ(copy->is.epoch, 2);
	land_destroy(land);
}

TEST(a_new_control_process_hears_what_there_is)
{
	struct land *land = relay_land();

	plan_way(A, 0, B, O);
	struct addr entry = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 50);
	struct addr follower = copy_in(land, A, SECOND_WORKER, 1);

	land_run_ms(land, 50);
	struct addr source = copy_of(land, entry)->is.source;

	for (int order = 0; order < 2; order++) {
		struct addr asks[2] = {order ? follower : entry, order ? entry : follower};

		control_again(land, A);
		for (int i = 0; i < 2; i++) {
			copy_ask(land_actor(land, asks[i]), copy_of(land, asks[i]),
				(struct addr){0});
			land_run_ms(land, 100);
		}
		CHECK(addr_equal(copy_of(land, entry)->is.source, source));
		CHECK(addr_equal(copy_of(land, follower)->is.source, entry));
		CHECK_PATH(land, A, B, O);
		CHECK_EQ(row_at(land, B)->row.downstream, 1);
	}
	control_again(land, B); /* the relay's: who pulls there says so again */
	struct copy *relay = copy_of(land, source);

	copy_ask(land_actor(land, source), relay, (struct addr){0});
	land_run_ms(land, 200);
	CHECK(addr_equal(relay->is.source, origin));
	CHECK_EQ(copy_of(land, entry)->reparents, 0);
	CHECK_EQ(row_at(land, B)->row.downstream, 1);
	land_destroy(land);
}

/* ---- another process ------------------------------------------------------------------------------------- */

/* Rows come again from those who ask; what was counted stays. */
static void same_relay(const void *before_, const void *now_)
{
	const struct relay_state *before = before_, *now = now_;

	CHECK_EQ(before->streams, 1);
	CHECK_EQ(now->streams, 0);
	CHECK_EQ(now->asked, before->asked);
	CHECK_EQ(now->direct, before->direct);
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_RELAY(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

TEST(it_comes_back_in_another_process)
{
	struct land *land = relay_land();

	copy_in(land, A, FIRST_WORKER, 1);
	land_run_ms(land, 50);
	CHECK_EQ(successor_run(&kit, land->place[A][CONTROL].rt, NULL, 0, 0), 1);
	successor_check_rows(&kit);
	land_destroy(land);
}

/* ---- wrong input, no memory, chance --------------------------------------------------------------------- */

static enum err asked(struct land *land, struct addr probe, enum office office, unsigned node,
	uint16_t type, const struct schema *schema, const void *message)
{
	struct actor *self = land_actor(land, probe);
	uint64_t failures = land_probe(land, probe)->st.failures;

	actor_request_mail(
		self, actor_office_at(self, office, land_id(node)), 1000, type, schema, message);
	land_run_ms(land, 50);
	if (land_probe(land, probe)->st.failures == failures)
		return ERR_OK;
	return (enum err)land_probe(land, probe)->st.last_err;
}

TEST(nonsense_is_refused)
{
	struct land *land = relay_land();
	struct addr near = land_spawn(land, A, FIRST_WORKER, false);
	struct addr afar = land_spawn(land, B, FIRST_WORKER, false);
	struct msg_relay_ask ask = {.owner = origin};
	struct msg_relay_pull pull = {.owner = origin};
	struct msg_relay_path path = {.stream_name = "live/nothing", .path_count = 4};

#define ASK(who, message) \
	asked(land, who, OFFICE_RELAY, A, MSG_relay_##message, &schema_relay_##message, &message)
	CHECK_EQ(ASK(near, ask), ERR_FORMAT);
	CHECK_EQ(ASK(afar, pull), ERR_FORMAT);
	text_copy(ask.stream_name, sizeof(ask.stream_name), the_name);
	text_copy(pull.stream_name, sizeof(pull.stream_name), the_name);
	CHECK_EQ(ASK(afar, ask), ERR_UNSUPPORTED); /* not another node's to say */
	ask.owner = pull.owner = (struct addr){0};
	CHECK_EQ(ASK(near, ask), ERR_FORMAT);
	CHECK_EQ(ASK(afar, pull), ERR_FORMAT);
	pull.owner = origin;
	CHECK_EQ(ASK(near, pull), ERR_FORMAT); /* nor one's own */
	pull.owner.node = land_id(B);
	CHECK_EQ(ASK(afar, pull), ERR_EXISTS); /* it would be the origin */
	ASK(afar, path);
#undef ASK
	CHECK_EQ(relay_count(office_of(land, A)->table), 0);
	land_destroy(land);
}

TEST(beyond_the_table_all_go_straight)
{
	struct land *land = relay_land();
	struct relay_table *table = office_of(land, A)->table;
	char name[32];

	plan_way(A, 0, B, O);
	for (int i = 0; i < RELAY_STREAMS_MAX; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		CHECK(relay_add(table, name, origin, 1) != NULL);
	}
	struct addr a = copy_in(land, A, FIRST_WORKER, 1);

	land_run_ms(land, 50);
	CHECK(addr_equal(copy_of(land, a)->is.source, origin));
	CHECK_EQ(office_of(land, A)->st.overflow, 1);
	land_destroy(land);
}

TEST(rows_are_told_in_pages)
{
	struct land *land = relay_land();
	struct msg_relay_list list = {0};
	struct addr probe = land_spawn(land, B, FIRST_WORKER, false);

	copy_in(land, A, FIRST_WORKER, 1);
	land_run_ms(land, 50);
	CHECK_OK(asked(land, probe, OFFICE_RELAY, A, MSG_relay_list, &schema_relay_list, &list));
	text_copy(list.stream_name, sizeof(list.stream_name), "live/none");
	CHECK_OK(asked(land, probe, OFFICE_RELAY, A, MSG_relay_list, &schema_relay_list, &list));
	land_destroy(land);
}

/* An actor that cannot be told of a death is ended by the kernel; of an office the process makes another. */
static void revive_offices(struct land *land)
{
	for (unsigned node = 0; node < LAND_NODES; node++)
		(void)actor_spawn_office(
			land->place[node][CONTROL].rt, OFFICE_RELAY, &relay_actor, NULL);
}

TEST(without_memory_an_asker_is_answered_all_the_same)
{
	for (size_t n = 1; n < 60; n++) {
		struct land *land = relay_land();

		plan_way(A, 0, B, O);
		struct addr a = copy_in(land, A, FIRST_WORKER, 1);

		test_fail_allocation(n);
		land_run_ms(land, 300);
		test_fail_allocation(0);
		revive_offices(land);
		land_run_ms(land, 20000);
		struct copy *copy = copy_of(land, a);

		CHECK(copy->answers + copy->refusals > 0);
		CHECK(!addr_is_nobody(copy->is.source));
		check_tree(land);
		land_destroy(land);
	}
}

static void something_happens(struct land *land, struct rng *rng, struct addr copies[3][2])
{
	unsigned node = rng_below(rng, 3), other = rng_below(rng, LAND_NODES),
		 slot = rng_below(rng, 2);
	struct addr *copy = &copies[node][slot];

	switch (rng_below(rng, 6)) {
	case 0: land->cut[node][other] = !land->cut[node][other]; break;
	case 1:
		if (node != other)
			land_down(land, node, other);
		break;
	case 2:
	case 3:
		plan_way(node, 0, rng_below(rng, LAND_NODES), O);
		plan_way(node, 1, rng_below(rng, LAND_NODES), rng_below(rng, LAND_NODES));
		plans[node].route.detour = rng_below(rng, 2);
		plans[node].route.ways[rng_below(rng, 2)].state = rng_below(rng, 3);
		if (!addr_is_nobody(plans[node].watcher))
			tell_route(land, node);
		break;
	case 4:
		if (land_actor(land, *copy))
			copy_ends(land, *copy);
		break;
	case 5:
		if (!land_actor(land, *copy))
			*copy = copy_in(land, node, FIRST_WORKER + slot, 1);
		break;
	}
}

static void calm_down(struct land *land)
{
	memset(land->cut, 0, sizeof(land->cut));
	for (unsigned node = 0; node < LAND_NODES; node++)
		for (unsigned other = 0; other < LAND_NODES; other++)
			if (node != other)
				(void)land_find(land, node, other);
	land_run_ms(land, 20000);
}

TEST(whatever_happens_all_are_answered_and_in_the_end_fed)
{
	for (int seed = 1; seed <= test_rounds(12); seed++) {
		struct land *land = relay_land();
		struct rng rng = rng_of((uint64_t)seed);
		struct addr copies[3][2] = {0};

		for (int i = 0; i < 6; i++)
			copies[i / 2][i % 2] =
				copy_in(land, (unsigned)i / 2, FIRST_WORKER + (unsigned)i % 2, 1);
		for (int i = 0; i < 60; i++) {
			something_happens(land, &rng, copies);
			land_run_ms(land, (int)rng_below(&rng, 300));
		}
		calm_down(land);
		for (int i = 0; i < 6; i++) {
			struct actor *actor = land_actor(land, copies[i / 2][i % 2]);
			const struct copy *copy = actor ? actor_data(actor) : NULL;

			if (copy && (addr_is_nobody(copy->is.source) ||
					    copy->longest_us > ANSWER_MS * 1000))
				fail_msg("seed %d: copy %d waited %lld us", seed, i,
					(long long)copy->longest_us);
		}
		check_tree(land);
		land_destroy(land);
	}
}

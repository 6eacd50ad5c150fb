/* SPDX-License-Identifier: Apache-2.0
 *
 * A publisher that comes back at another node has its stream there, under the readers of all nodes; and what
 * becomes of a stream when its node is lost, or when two own its name.
 */
#include "tests/unit/stream_land.h"

static const char *const NAME = "live/a";

/* A publisher at A, and a viewer at each node. */
static struct person first, viewers[LAND_NODES];

static struct land *begin(void)
{
	struct land *land = begin_land();

	first = person_at(land, A, FIRST);
	publish(land, &first, NAME, "");
	CHECK_EQ(first.mind->published, 1);
	send_pictures(land, &first, 0, 5, 50);
	for (unsigned node = 0; node < LAND_NODES; node++) {
		viewers[node] = person_at(land, node, FIRST);
		subscribe(land, &viewers[node], NAME);
		CHECK_EQ(viewers[node].mind->subscribed, 1);
	}
	send_pictures(land, &first, 5, 20, 50);
	return land;
}

static const struct stream_state *read_at(struct land *land, unsigned node)
{
	return state_of(land, viewers[node].mind->joined.stream);
}

/* Its log is one line: nothing missing, nothing twice, time and numbers never go back; and it plays on. */
static void check_plays(struct land *land, unsigned node)
{
	const struct media_log *log = log_read_by(land, &viewers[node]);
	const struct packet *last = NULL;

	CHECK(log != NULL);
	CHECK_EQ(log->ready, log->next);
	for (uint64_t position = log->first; position < log->next; position++) {
		const struct packet *packet = media_log_packet(
			land->place[node][viewers[node].slot].arena, log, position);

		CHECK(packet != NULL);
		if (last) {
			CHECK_EQ(packet->header.track_seq, last->header.track_seq + 1);
			CHECK_GE(packet->header.rtp_time, last->header.rtp_time + 1);
		}
		last = packet;
	}
	CHECK_EQ(viewers[node].mind->downs, 0);
	CHECK_EQ(viewers[node].mind->subscribed, 1);
}

static uint64_t seen_at(struct land *land, unsigned node)
{
	return log_read_by(land, &viewers[node])->next;
}

/* What one publishes comes to all nodes, whole. */
static void check_all_play(struct land *land, const struct person *publisher, int from)
{
	uint64_t before[LAND_NODES];

	for (unsigned node = 0; node < LAND_NODES; node++)
		before[node] = seen_at(land, node);
	send_pictures(land, publisher, from, 20, 50);
	for (unsigned node = 0; node < LAND_NODES; node++) {
		CHECK_EQ(seen_at(land, node), before[node] + 20);
		check_plays(land, node);
	}
}

/* Rows: where it comes back (the worker that has a copy, and the one that has none), and whether the
 * directories tell the one who was the owner (etcd may be away). */
TEST(a_publisher_comes_back_at_another_node)
{
	static const struct {
		unsigned node, slot;
		bool told;
	} rows[] = {
		{B, FIRST,  true },
		{B, FIRST,  false},
		{B, SECOND, true },
		{B, SECOND, false},
		{C, FIRST,  true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct land *land = begin();
		struct person next = person_at(land, rows[i].node, rows[i].slot);

		directories_tell = rows[i].told;
		publish(land, &next, NAME, first.mind->answer.resume);
		CHECK_EQ(next.mind->published, 1);
		CHECK_EQ(next.mind->answer.stream.node, land_id(rows[i].node));
		CHECK_GE(next.mind->answer.epoch, first.mind->answer.epoch + 1);
		CHECK_EQ(claims_over, 1);
		run_ms(land, 100);
		CHECK_EQ(first.mind->replaced, 1);
		check_all_play(land, &next, 0);
		check_all_play(land, &next, 20);
		const struct stream_state *former = state_of(land, first.mind->answer.stream);

		CHECK(former && former->replica);
		CHECK(addr_equal(former->owner, next.mind->answer.stream));
		CHECK_EQ(former->yielded, 1);
		for (unsigned node = 0; node < LAND_NODES; node++) {
			const struct stream_state *copy = read_at(land, node);

			CHECK_EQ(copy->epoch, next.mind->answer.epoch);
			CHECK(!copy->replica || addr_equal(copy->owner, next.mind->answer.stream));
			CHECK(!copy->replica || copy->source.node == land_id(rows[i].node));
		}
		land_destroy(land);
	}
}

/* Where the new owner's numbers begin anew the others have packets of the last publisher that it never
 * got. Row: so many, and whether its media comes before its answers. */
TEST(who_had_more_of_the_last_publisher_misses_nothing_of_the_next)
{
	static const struct {
		int lost, mail_ms;
	} rows[] = {
		{1,  0 },
		{12, 0 },
		{1,  15},
		{12, 15},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct land *land = begin();
		struct person next = person_at(land, B, FIRST);

		deaf[B] = true;
		send_pictures(land, &first, 25, rows[i].lost, 50);
		deaf[B] = false;
		CHECK_EQ(seen_at(land, C), seen_at(land, B) + (uint64_t)rows[i].lost);
		land->mail_ms = rows[i].mail_ms;
		publish(land, &next, NAME, first.mind->answer.resume);
		CHECK_EQ(next.mind->published, 1);
		run_ms(land, rows[i].mail_ms ? 0 : 100);
		check_all_play(land, &next, 0);
		check_all_play(land, &next, 20);
		land_destroy(land);
	}
}

/* To B, to C, back to A, each time with the token that it was given last. */
TEST(a_publisher_wanders_and_every_reader_stays)
{
	static const unsigned way[] = {B, C, A, C, B, A};
	struct land *land = begin();
	struct person last = first;

	for (size_t i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
		struct person next = person_at(land, way[i], FIRST);

		next.mind->clock_us = i % 2 ? -3000000 : 5000000; /* clocks of hosts differ */
		publish(land, &next, NAME, last.mind->answer.resume);
		CHECK_EQ(next.mind->published, 1);
		run_ms(land, 50);
		check_all_play(land, &next, 0);
		CHECK_EQ(last.mind->replaced, 1);
		last = next;
	}
	land_destroy(land);
}

/* Without the token, with a wrong one, with a used one: as within a node. */
TEST(who_may_not_is_refused_at_another_node_too)
{
	struct land *land = begin();
	struct person stranger = person_at(land, B, FIRST), thief = person_at(land, C, SECOND);
	struct person owner = person_at(land, B, FIRST), late = person_at(land, C, FIRST);
	char token[64], wrong[64];

	text_copy(token, sizeof(token), first.mind->answer.resume);
	text_copy(wrong, sizeof(wrong), token);
	wrong[10] ^= 1;
	publish(land, &stranger, NAME, "");
	publish(land, &thief, NAME, wrong);
	CHECK_EQ(stranger.mind->failed, 1);
	CHECK_EQ(stranger.mind->err, ERR_BUSY);
	CHECK_EQ(thief.mind->err, ERR_BUSY);
	check_all_play(land, &first, 25);
	publish(land, &owner, NAME, token);
	CHECK_EQ(owner.mind->published, 1);
	check_all_play(land, &owner, 0);
	publish(land, &late, NAME, token);
	CHECK_EQ(late.mind->published, 0);
	CHECK_EQ(late.mind->err, ERR_BUSY);
	check_all_play(land, &owner, 20);
	land_destroy(land);
}

/* Two with the same token at the same moment: one has it. */
TEST(a_token_is_good_for_one)
{
	struct land *land = begin();
	struct person one = person_at(land, B, FIRST), other = person_at(land, C, FIRST);

	ask_to_publish(land, &one, NAME, first.mind->answer.resume);
	ask_to_publish(land, &other, NAME, first.mind->answer.resume);
	run_ms(land, 200);
	CHECK_EQ(one.mind->published + other.mind->published, 1);
	CHECK_EQ(one.mind->failed + other.mind->failed, 1);
	check_all_play(land, one.mind->published ? &one : &other, 0);
	land_destroy(land);
}

/* It was silent for two seconds, or has left: whoever comes may have it, at any node. */
TEST(a_stream_whose_publisher_is_silent_or_gone_is_for_whoever_comes)
{
	for (int leaves = 0; leaves < 2; leaves++) {
		struct land *land = begin();
		struct person next = person_at(land, C, SECOND);

		if (leaves)
			actor_send(
				actor_of(land, &first), first.mind->answer.stream, unpublish, {});
		run_ms(land, leaves ? 50 : 2100);
		publish(land, &next, NAME, "");
		CHECK_EQ(next.mind->published, 1);
		run_ms(land, 100);
		check_all_play(land, &next, 0);
		land_destroy(land);
	}
}

/* kill -9 of the owner's node. Rows: when its publisher comes to another, before the mesh has noticed or
 * after; at a worker with a copy or at one without. */
TEST(the_node_of_the_owner_dies_and_the_publisher_comes_to_another)
{
	static const struct {
		int noticed_ms, comes_ms;
		unsigned slot;
	} rows[] = {
		{1000, 0,	  FIRST },
		{1000, 500,  FIRST },
		{1000, 500,  SECOND},
		{1000, 5000, FIRST },
		{1000, 5000, SECOND},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct land *land = begin();
		struct person next = person_at(land, B, rows[i].slot);
		const char *token = first.mind->answer.resume;
		char kept[64];

		text_copy(kept, sizeof(kept), token);
		if (rows[i].comes_ms < rows[i].noticed_ms)
			ask_to_publish(land, &next, NAME, kept);
		kill_node(land, A, rows[i].noticed_ms);
		if (rows[i].comes_ms > rows[i].noticed_ms) {
			run_ms(land, rows[i].comes_ms - rows[i].noticed_ms);
			ask_to_publish(land, &next, NAME, kept);
		}
		run_ms(land, 4000);
		CHECK_EQ(next.mind->published, 1);
		for (unsigned node = B; node <= C; node++) {
			uint64_t before = seen_at(land, node);

			send_pictures(land, &next, 0, 20, 50);
			CHECK_EQ(seen_at(land, node), before + 20);
			check_plays(land, node);
		}
		land_destroy(land);
	}
}

/* Nobody comes: readers are held for the grace time, and then hear of the end. */
TEST(the_node_of_the_owner_dies_and_nobody_comes)
{
	struct land *land = begin();
	struct addr copy = viewers[B].mind->joined.stream;

	actor_monitor(actor_of(land, &viewers[B]), copy);
	kill_node(land, A, 1000);
	run_ms(land, 8000);
	CHECK_EQ(viewers[B].mind->downs, 0);
	CHECK(!viewers[B].mind->last_tracks.live);
	run_ms(land, 8000);
	CHECK_EQ(viewers[B].mind->downs, 1);
	CHECK(!state_of(land, copy));
	land_destroy(land);
}

/* Two owners, as after a cut: the directories say who stays, and all follow. */
TEST(of_two_owners_one_stays_and_the_readers_of_the_other_follow)
{
	struct land *land = begin();
	struct person second = person_at(land, C, SECOND);
	struct person loser_viewer = person_at(land, B, SECOND);

	memset(names, 0, sizeof(names)); /* the other half knows nothing of A */
	publish(land, &second, NAME, "");
	CHECK_EQ(second.mind->published, 1);
	CHECK(!addr_equal(second.mind->answer.stream, first.mind->answer.stream));
	send_pictures(land, &second, 0, 10, 50);
	struct actor *winner = land_actor(land, second.mind->answer.stream);

	tell_loser(winner, 0, first.mind->answer.stream);
	run_ms(land, 100);
	CHECK_EQ(first.mind->replaced, 1);
	subscribe(land, &loser_viewer, NAME);
	check_all_play(land, &second, 50); /* a keyframe: what each began with */
	check_all_play(land, &second, 70);
	CHECK_EQ(read_at(land, A)->epoch, second.mind->answer.epoch);
	CHECK_EQ(
		state_of(land, loser_viewer.mind->joined.stream)->epoch, second.mind->answer.epoch);
	land_destroy(land);
}

/* Its client hangs up while the name is claimed: who has it keeps it. Row: is there a copy at its worker? */
TEST(a_publisher_that_has_gone_takes_no_name)
{
	for (unsigned slot = FIRST; slot <= SECOND; slot++) {
		struct land *land = begin();
		struct person next = person_at(land, B, slot);

		claims_wait = true;
		ask_to_publish(land, &next, NAME, first.mind->answer.resume);
		run_ms(land, 50);
		CHECK_EQ(next.mind->published, 0);
		actor_stop(actor_of(land, &next), ERR_OK);
		run_ms(land, 1000);
		CHECK_EQ(first.mind->replaced, 0);
		CHECK(read_at(land, B)->replica);
		check_all_play(land, &first, 50);
		check_all_play(land, &first, 70);
		land_destroy(land);
	}
}

/* A copy that was the owner once hears of it from one that has not heard that it is none any more. */
TEST(a_copy_that_hears_it_were_the_owner_does_not_copy_itself)
{
	struct land *land = begin();
	struct addr copy = viewers[B].mind->joined.stream;
	struct msg_tracks told = {.tracks_count = 1,
		.live = true,
		.epoch = first.mind->answer.epoch,
		.source_since_us = read_at(land, A)->source_since_us,
		.owner = copy,
		.owner_epoch = first.mind->answer.epoch + 1};
	struct msg_reparent itself = {.source = copy};

	told.tracks[0] = read_at(land, A)->tracks[0];
	actor_send_mail(land_actor(land, first.mind->answer.stream), copy, MSG_tracks,
		&schema_tracks, &told);
	run_ms(land, 50);
	check_all_play(land, &first, 25);
	actor_send_mail(actor_of(land, &viewers[B]), copy, MSG_reparent, &schema_reparent, &itself);
	run_ms(land, 50);
	check_all_play(land, &first, 45);
	CHECK(addr_equal(read_at(land, B)->source, first.mind->answer.stream));
	land_destroy(land);
}

/* An owner without a publisher hears of another one, to whom there is no way. */
TEST(who_loses_a_name_to_nobody_that_can_be_reached_ends_in_time)
{
	struct land *land = begin();
	struct addr ours = first.mind->answer.stream;
	struct msg_name_lost lost = {
		.name = "stream/live/a", .epoch = 90, .owner = {land_id(C), 12345}
	  };

	actor_monitor(actor_of(land, &viewers[A]), ours);
	actor_stop(actor_of(land, &first), ERR_OK);
	run_ms(land, 1000);
	memset(names, 0, sizeof(names));
	kill_node(land, C, 100);
	actor_send_mail(
		land_actor(land, viewers[B].addr), ours, MSG_name_lost, &schema_name_lost, &lost);
	run_ms(land, 6000);
	CHECK(state_of(land, ours) && state_of(land, ours)->replica);
	CHECK_EQ(viewers[A].mind->downs, 0);
	run_ms(land, 9000);
	CHECK(!state_of(land, ours));
	CHECK_EQ(viewers[A].mind->downs, 1);
	land_destroy(land);
}

/* Somebody was led to it who had not heard yet that it has lost its name. */
TEST(who_was_the_owner_leads_no_publisher_to_another_node)
{
	struct land *land = begin();
	struct person next = person_at(land, B, FIRST), late = person_at(land, A, FIRST);
	struct msg_publish publish_late = {.protocol = "test", .tracks_count = 0};

	publish(land, &next, NAME, first.mind->answer.resume);
	run_ms(land, 100);
	CHECK_EQ(first.mind->replaced, 1);
	text_copy(publish_late.stream_name, sizeof(publish_late.stream_name), NAME);
	actor_request_mail(actor_of(land, &late), first.mind->answer.stream, 5000, MSG_publish,
		&schema_publish, &publish_late);
	run_ms(land, 100);
	CHECK_EQ(late.mind->published, 0);
	CHECK_EQ(late.mind->failed, 1);
	CHECK_EQ(late.mind->err, ERR_DEAD);
	check_all_play(land, &next, 0);
	land_destroy(land);
}

/* Without memory the publisher is refused or gets it; readers stay either way. */
TEST(without_memory_nothing_is_left_half_done)
{
	bool any = true;

	for (size_t n = 1; any; n++) {
		struct land *land = begin();
		struct person next = person_at(land, B, SECOND);

		test_fail_allocation(n);
		ask_to_publish(land, &next, NAME, first.mind->answer.resume);
		run_ms(land, 20);
		any = test_fail_allocation(0) >= n;
		run_ms(land, 9000);
		/* (its own office may be gone for lack of memory) */
		struct person again = person_at(land, B, FIRST);

		if (!next.mind->published)
			publish(land, &again, NAME, "");
		const struct person *source = next.mind->published ? &next : &again;

		CHECK_EQ(source->mind->published, 1);
		run_ms(land, 200);
		send_pictures(land, source, 0, 60, 50);
		for (unsigned node = 0; node < LAND_NODES; node++)
			check_plays(land, node);
		land_destroy(land);
	}
}

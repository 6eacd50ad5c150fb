/* SPDX-License-Identifier: Apache-2.0
 *
 * A copy that hears nothing asks its source, and leaves it when nobody has heard of the owner.
 */
#include "tests/unit/stream_node.h"

enum { FRAME_MS = 10, SOON_MS = 3000 };

static const struct addr foreign = {.node = NODE + 1, .id = 77};

/* live/f belongs to another node. What stands for it here is read by one copy, at the third worker, and by
 * ours, which is of another node's stream and asks the relay office. */
static struct person publisher, near, viewer;
static struct addr origin, copy, ours;

static void begin_hearing(void)
{
	begin(4000, 4);
	text_copy(names[3].name, sizeof(names[3].name), "stream/live/f");
	names[3].owner = foreign;
	names[3].epoch = 40;
	publisher = person_in(WORKER);
	near = person_in(THIRD);
	viewer = person_in(OTHER);
	last_epoch = 39; /* the stand-in's is that of live/f */
	publish(&publisher);
	send_packets_from(&publisher, 0, 20, 1000);
	origin = relay.source = publisher.mind->answer.stream;
	subscribe(&near, "live/f", 0);
	subscribe(&viewer, "live/f", 0);
	copy = near.mind->joined.stream;
	ours = viewer.mind->joined.stream;
	send_packets_from(&publisher, 20, 30, 1000);
	run_ms(600); /* keyframes that were wished for */
}

static const struct stream_state *our_state(void)
{
	return state_of(OTHER, ours);
}

static uint64_t seen(const struct person *person)
{
	return log_read_by(person)->next;
}

static void follow(const struct person *person, struct addr reader, struct addr source)
{
	actor_request(actor_of(person), reader, 5000, reparent, {.source = source});
	send_packets_from(&publisher, 50, 20, 1000);
}

static void forget_readers(struct actor *self, void *data, void *context)
{
	(void)self;
	(void)context;
	((struct stream *)data)->st.subscribers_count = 0;
}

TEST(a_source_that_has_forgotten_its_readers_is_subscribed_to_again)
{
	begin_hearing();
	unsigned asked = relay.asked;

	CHECK(actor_call(rt[WORKER], origin, &stream_actor, forget_readers, NULL));
	send_packets_from(&publisher, 50, 200, 1000);
	CHECK_EQ(state_of(WORKER, origin)->subscribers_count, 2);
	CHECK_EQ(our_state()->silences, 1);
	CHECK_EQ(our_state()->deserted, 0);
	CHECK_EQ(our_state()->holes, 0);
	CHECK_EQ(relay.asked, asked);
	CHECK_EQ(seen(&viewer), seen(&near));
	CHECK_EQ(seen(&viewer) - log_read_by(&viewer)->first, 250); /* all of it */
	CHECK_EQ(log_read_by(&viewer)->ready, seen(&viewer));
	end();
}

/* Row: how long nobody publishes, and how often a copy may ask at most. */
TEST(a_publisher_who_is_silent_is_waited_for)
{
	static const int rows[] = {1500, 9000, 60000};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_hearing();
		follow(&viewer, ours, copy); /* which has to ask before it knows */
		CHECK(addr_equal(our_state()->source, copy));
		unsigned asked = relay.asked, tracks = viewer.mind->tracks;
		uint64_t before = seen(&viewer);

		run_ms(rows[i]);
		CHECK_EQ(our_state()->silences, 1);
		CHECK_EQ(our_state()->deserted, 0);
		CHECK_EQ(state_of(THIRD, copy)->deserted, 0);
		CHECK_EQ(relay.asked, asked);
		CHECK_EQ(viewer.mind->tracks, tracks);
		send_packets_from(&publisher, 70, 20, 1000);
		CHECK_EQ(seen(&viewer), before + 20);
		end();
	}
}

/* Row: what comes from the source, and how soon it is left. */
TEST(a_source_of_which_nothing_comes_is_left)
{
	static const struct {
		bool answers;
		int ms;
	} rows[] = {
		{true,  3300}, /* two answers: what was sent between them has not come */
		{false, 2300},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_hearing();
		unsigned asked = relay.asked;

		lose_frames = 1000000;
		if (!rows[i].answers)
			hold_mail_until_us = now_us + INT64_C(1000) * SOON_MS;
		for (int ms = 0; ms < rows[i].ms && !our_state()->deserted; ms += FRAME_MS)
			send_packets_from(&publisher, 50, 1, 1000);
		CHECK_GE(relay.asked, asked + 1); /* (the other copy has nothing either) */
		CHECK(addr_equal(relay.last.failed, origin));
		CHECK_EQ(our_state()->deserted, 1);
		lose_frames = 0;
		send_packets_from(&publisher, 60, SOON_MS / FRAME_MS, 1000);
		uint64_t before = seen(&viewer);

		send_packets_from(&publisher, 60, 20, 1000);
		CHECK_EQ(seen(&viewer), before + 20);
		CHECK_EQ(viewer.mind->downs, 0);
		end();
	}
}

/* Both copy the other; the owner is there, or has gone for good. */
TEST(a_circle_ends)
{
	for (int gone = 0; gone < 2; gone++) {
		begin_hearing();
		follow(&viewer, ours, copy);
		follow(&near, copy, ours);
		CHECK(addr_equal(our_state()->source, copy));
		CHECK(addr_equal(state_of(THIRD, copy)->source, ours));
		if (gone) {
			memset(&names[3], 0, sizeof(names[3]));
			relay.source = (struct addr){0};
			actor_stop(runtime_find(rt[WORKER], origin.id), ERR_OK);
			actor_monitor(actor_of(&viewer), ours);
			actor_monitor(actor_of(&near), copy);
			run_ms(GRACE_MS + 3 * SOON_MS);
			CHECK(!our_state() && !state_of(THIRD, copy));
			CHECK_EQ(viewer.mind->downs + near.mind->downs, 2);
		} else {
			send_packets_from(&publisher, 90, SOON_MS / FRAME_MS, 1000);
			uint64_t before = seen(&viewer);

			send_packets_from(&publisher, 90, 20, 1000);
			CHECK_EQ(seen(&viewer), before + 20);
			CHECK_EQ(seen(&near) - log_read_by(&near)->first,
				seen(&viewer) - log_read_by(&viewer)->first);
			CHECK_EQ(viewer.mind->downs + near.mind->downs, 0);
		}
		end();
	}
}

/* It may not answer for a source of its own that it has lost. */
TEST(who_asks_hears_how_long_the_owner_is_silent)
{
	struct msg_subscribe question = {.stream_name = "live/f", .feed = true, .alive = true};

	begin_hearing();
	struct person reader = person_in(THIRD);

	actor_request_mail(
		actor_of(&reader), ours, 1000, MSG_subscribe, &schema_subscribe, &question);
	run_ms(20);
	CHECK_EQ(reader.mind->subscribed, 1);
	CHECK_LE(reader.mind->joined.silent_ms, 650);
	relay.source = (struct addr){0};
	actor_stop(runtime_find(rt[WORKER], origin.id), ERR_OK);
	run_ms(2000);
	actor_request_mail(
		actor_of(&reader), ours, 1000, MSG_subscribe, &schema_subscribe, &question);
	run_ms(20);
	CHECK_EQ(reader.mind->subscribed, 2);
	CHECK_GE(reader.mind->joined.silent_ms, 2000);
	end();
}

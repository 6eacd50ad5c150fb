/* SPDX-License-Identifier: Apache-2.0
 *
 * What is cached of a stream goes to its first reader at another node as the link has room.
 */
#include "tests/unit/stream_land.h"

/* A group of 3 s, of which 2.5 s are there: more than the log keeps of a group that is over. */
enum { GOP = 300, CACHED = 250, MORE = 120 };

struct far {
	struct land *land;
	struct person publisher, viewer;
	struct addr origin, copy;
};

static struct far begin_far(uint32_t room)
{
	struct far f = {.land = begin_land()};

	f.publisher = person_at(f.land, A, FIRST);
	f.viewer = person_at(f.land, B, FIRST);
	publish(f.land, &f.publisher, "live/a", "");
	f.origin = f.publisher.mind->answer.stream;
	send_pictures(f.land, &f.publisher, 0, CACHED, GOP);
	wires_have_room = room;
	subscribe(f.land, &f.viewer, "live/a");
	CHECK_EQ(f.viewer.mind->subscribed, 1);
	f.copy = f.viewer.mind->joined.stream;
	return f;
}

static struct media_log *log_of_origin(const struct far *f)
{
	const struct stream_state *origin = state_of(f->land, f->origin);

	return media_log_get(f->land->place[A][FIRST].arena,
		(struct slot_ref){origin->log_index, origin->log_generation});
}

static void check_all_came(const struct far *f, uint64_t packets)
{
	const struct stream_state *copy = state_of(f->land, f->copy);
	const struct media_log *log = log_read_by(f->land, &f->viewer);

	CHECK_EQ(copy->packets, packets);
	CHECK_EQ(copy->holes, 0);
	CHECK_EQ(copy->dropped_duplicate, 0); /* nothing was asked for again */
	CHECK_EQ(log->ready, log->next);
	CHECK(!log_of_origin(f)->is_wanted);
}

TEST(what_is_cached_waits_for_room_and_comes_whole)
{
	struct far f = begin_far(0);

	CHECK_EQ(state_of(f.land, f.copy)->packets, 0);
	/* without room it gets no further behind, and the group that it is in stays when the next begins */
	send_pictures(f.land, &f.publisher, CACHED, MORE, GOP);
	CHECK_LE(state_of(f.land, f.copy)->packets, MORE);
	CHECK_GE(state_of(f.land, f.copy)->packets, MORE - 2);
	CHECK(log_of_origin(&f)->is_wanted);
	wires_have_room = 4;
	run_ms(f.land, 500);
	check_all_came(&f, CACHED + MORE);
	/* what flows does not ask */
	wires_have_room = 0;
	send_pictures(f.land, &f.publisher, CACHED + MORE, 20, GOP);
	check_all_came(&f, CACHED + MORE + 20);
	land_destroy(f.land);
}

TEST(who_leaves_is_waited_for_no_longer)
{
	struct far f = begin_far(0);

	send_pictures(f.land, &f.publisher, CACHED, MORE, GOP);
	uint64_t first = log_of_origin(&f)->first;

	kill_node(f.land, B, 0);
	send_pictures(f.land, &f.publisher, CACHED + MORE, 2, GOP);
	CHECK(!log_of_origin(&f)->is_wanted);
	CHECK(log_of_origin(&f)->first > first);
	land_destroy(f.land);
}

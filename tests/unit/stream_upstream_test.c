/* SPDX-License-Identifier: Apache-2.0
 *
 * A copy of a stream changes the one that it is copied from, while it plays: make before break, and
 * after a break.
 */
#include "tests/unit/stream_node.h"

enum { SETTLES_MS = 700 };

static void follow(const struct person *person, struct addr replica, struct addr source)
{
	actor_request(actor_of(person), replica, 5000, reparent, {.source = source});
	run_ms(1);
}

/* Everything that was published is there once, in order, as one line. */
static void check_line(const struct person *viewer, uint64_t packets)
{
	const struct media_log *log = log_read_by(viewer);
	const struct packet *last = NULL;

	CHECK_EQ(log->ready, log->next);
	CHECK_EQ(log->next - log->first, packets);
	for (uint64_t position = log->first; position < log->next; position++) {
		const struct packet *packet = media_log_packet(arena[viewer->slot], log, position);

		CHECK(packet != NULL);
		CHECK_EQ(packet->header.position, position);
		CHECK(!(packet->header.flags & MEDIA_DISCONTINUITY));
		if (last) {
			CHECK_EQ(packet->header.track_seq, last->header.track_seq + 1);
			CHECK_EQ(packet->header.frame, last->header.frame + 1);
			CHECK_EQ(packet->header.rtp_time, last->header.rtp_time + 900);
		}
		last = packet;
	}
}

/* An origin, a copy, and a second copy: of whom, is what rows are about. */
static struct person publisher, near, viewer;
static struct addr origin, copy, ours;

static void begin_chain(void)
{
	begin(4000, 4);
	publisher = person_in(WORKER);
	near = person_in(OTHER);
	viewer = person_in(THIRD);
	publish(&publisher);
	subscribe(&near, "live/a", 0);
	send_packets_from(&publisher, 0, 30, 1000);
	subscribe(&viewer, "live/a", 0);
	send_packets_from(&publisher, 30, 20, 1000);
	origin = publisher.mind->answer.stream;
	copy = near.mind->joined.stream;
	ours = viewer.mind->joined.stream;
	run_ms(600); /* keyframes that were wished for */
}

static const struct stream_state *our_state(void)
{
	return state_of(THIRD, ours);
}

TEST(a_copy_follows_another_copy_and_nothing_shows)
{
	begin_chain();
	unsigned keyframes = publisher.mind->keyframes; /* for the first copy */

	for (int i = 0; i < 6; i++) {
		struct addr next = i % 2 ? origin : copy;

		follow(&near, ours, next);
		send_packets_from(&publisher, 50 + i * 20, 20, 1000);
		CHECK(addr_equal(our_state()->source, next));
		CHECK_EQ(our_state()->reparented, (uint64_t)i + 1);
	}
	check_line(&viewer, 170);
	CHECK_EQ(our_state()->holes, 0);
	CHECK_EQ(publisher.mind->keyframes, keyframes);
	CHECK_EQ(viewer.mind->downs, 0);
	CHECK_EQ(state_of(WORKER, origin)->subscribers_count, 2); /* the copies: one each */
	end();
}

/* Its numbers are other ones: it had another publisher's packets before. */
TEST(numbers_of_another_copy_may_be_any)
{
	begin(4000, 4);
	struct person first = person_in(WORKER), second = person_in(WORKER);

	near = person_in(OTHER);
	viewer = person_in(THIRD);
	publish(&first);
	subscribe(&near, "live/a", 0);
	send_packets_from(&first, 0, 30, 1000);
	publish_as(&second, "live/a", first.mind->answer.resume, "");
	second.mind->seq = 7000;
	send_packets_from(&second, 0, 30, 1000);
	subscribe(&viewer, "live/a", 0); /* begins with the second's keyframe */
	send_packets_from(&second, 30, 10, 1000);
	copy = near.mind->joined.stream;
	ours = viewer.mind->joined.stream;
	follow(&near, ours, copy);
	send_packets_from(&second, 40, 20, 1000);
	CHECK(addr_equal(our_state()->source, copy));
	follow(&near, ours, second.mind->answer.stream);
	send_packets_from(&second, 60, 20, 1000);
	CHECK_EQ(our_state()->reparented, 2);
	const struct media_log *log = log_read_by(&viewer);

	CHECK_EQ(log->ready, log->next);
	for (uint64_t position = log->first + 1; position < log->next; position++) {
		const struct packet *one = media_log_packet(arena[THIRD], log, position - 1);
		const struct packet *next = media_log_packet(arena[THIRD], log, position);

		CHECK_EQ(next->header.track_seq, one->header.track_seq + 1);
		CHECK_EQ(next->header.rtp_time, one->header.rtp_time + 900);
	}
	end();
}

TEST(a_source_that_dies_while_the_next_is_asked_is_no_gap)
{
	begin_chain();
	follow(&viewer, ours, copy);
	send_packets_from(&publisher, 50, 20, 1000);
	CHECK(addr_equal(our_state()->source, copy));
	actor_request(actor_of(&viewer), ours, 5000, reparent, {.source = origin});
	actor_stop(runtime_find(rt[OTHER], copy.id), ERR_OK); /* before it has answered */
	send_packets_from(&publisher, 70, 100, 1000);
	CHECK(addr_equal(our_state()->source, origin));
	check_line(&viewer, 170);
	CHECK(viewer.mind->last_tracks.live || !viewer.mind->tracks);
	end();
}

/* Row: what becomes of the next source. It stays where it is, and says so. */
TEST(a_next_source_that_comes_to_nothing)
{
	enum { NOBODY, SILENT, DIES, LATER_ONE };

	for (int what = NOBODY; what <= LATER_ONE; what++) {
		begin_chain();
		struct person stranger = person_in(OTHER);
		struct addr next = what == NOBODY   ? (struct addr){NODE, 12345}
				   : what == SILENT ? stranger.addr
						    : copy;

		follow(&viewer, ours, next);
		if (what == DIES)
			actor_stop(runtime_find(rt[OTHER], copy.id), ERR_INTERNAL);
		if (what == LATER_ONE)
			follow(&viewer, ours, origin);
		send_packets_from(&publisher, 50, 350, 1000);
		CHECK(addr_equal(our_state()->source, origin));
		CHECK_EQ(viewer.mind->failed, what != LATER_ONE || our_state()->reparented == 0);
		check_line(&viewer, 400);
		end();
	}
}

/* One with nothing that we have: it is taken when there is no other, and begins with a keyframe. */
TEST(without_overlap_it_begins_anew_after_a_break)
{
	begin_chain();
	struct person other = person_in(OTHER);

	/* the copy loses its log: it is made anew, later */
	actor_stop(runtime_find(rt[OTHER], copy.id), ERR_OK);
	lose_frames = 1000;
	run_ms(50);
	subscribe(&other, "live/a", 0);
	lose_frames = 0;
	copy = other.mind->joined.stream;
	CHECK(!addr_is_nobody(copy) || other.mind->failed);
	follow(&viewer, ours, copy);
	send_packets_from(&publisher, 50, SETTLES_MS / 10, 1000);
	CHECK_EQ(our_state()->holes, 0);
	check_line(&viewer, 50 + SETTLES_MS / 10);
	end();
}

TEST(who_has_no_source_to_leave_refuses)
{
	begin_chain();
	follow(&publisher, origin, copy); /* an origin */
	CHECK_EQ(publisher.mind->failed, 1);
	CHECK_EQ(publisher.mind->err, ERR_PHASE);
	follow(&viewer, ours, origin); /* it is there already */
	CHECK_EQ(viewer.mind->failed, 0);
	CHECK_EQ(our_state()->reparented, 0);
	end();
}

TEST(without_memory_it_stays_or_changes)
{
	bool any = true;

	for (size_t n = 1; any; n++) {
		begin_chain();
		actor_request(actor_of(&viewer), ours, 5000, reparent, {.source = copy});
		test_fail_allocation(n);
		send_packets_from(&publisher, 50, 2, 1000);
		any = test_fail_allocation(0) >= n;
		send_packets_from(&publisher, 52, 100, 1000);
		run_ms(3200);
		send_packets_from(&publisher, 152, 10, 1000);
		CHECK(addr_equal(our_state()->source, copy) ||
			addr_equal(our_state()->source, origin));
		CHECK_EQ(log_read_by(&viewer)->ready, log_read_by(&viewer)->next);
		end();
	}
}

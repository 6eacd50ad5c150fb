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

/* The way from it is not open yet when it begins, and the last source has fallen silent. */
TEST(what_the_next_source_sent_first_is_lost_and_asked_for_again)
{
	begin_chain();
	lose_frames = 1000;
	follow(&near, ours, copy);
	run_ms(200);
	lose_frames = 0;
	CHECK(addr_equal(our_state()->source, origin));
	run_ms(100);
	CHECK(addr_equal(our_state()->source, copy));
	CHECK_EQ(our_state()->reparented, 1);
	send_packets_from(&publisher, 50, 20, 1000);
	check_line(&viewer, 70);
	CHECK_EQ(our_state()->holes, 0);
	end();
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

/* A relay that dies just before a keyframe, while the next one begins with that. Row: the last source is
 * silent, or gone. */
TEST(one_that_begins_behind_all_we_have_is_taken_when_the_last_is_silent)
{
	enum { IS_SILENT, ENDS };

	for (int what = IS_SILENT; what <= ENDS; what++) {
		begin(4000, 4);
		publisher = person_in(WORKER);
		near = person_in(OTHER);
		viewer = person_in(THIRD);
		publish(&publisher);
		subscribe(&viewer, "live/a", 0);
		send_packets_from(&publisher, 0, 50, 25);
		ours = viewer.mind->joined.stream;
		origin = publisher.mind->answer.stream;
		deaf = info_of(THIRD).process;
		send_packets_from(&publisher, 50, 10, 25);
		subscribe(&near, "live/a", 0);
		run_ms(10);
		unsigned keyframes = publisher.mind->keyframes;
		copy = near.mind->joined.stream;
		send_packets_from(&publisher, 60, 5, 25);
		deaf = 0;
		follow(&viewer, ours, copy);
		if (what == ENDS)
			stream_lose_source(runtime_find(rt[THIRD], ours.id),
				actor_data(runtime_find(rt[THIRD], ours.id)));
		deaf = info_of(OTHER).process; /* the next one has nothing more */
		CHECK(addr_is_nobody(our_state()->source) == (what == ENDS));
		run_ms(what == ENDS ? 20 : 260);
		CHECK(addr_equal(our_state()->source, copy));
		CHECK_EQ(our_state()->reparented, 1);
		CHECK_EQ(publisher.mind->keyframes, keyframes);
		deaf = 0;
		send_packets_from(&publisher, 65, 10, 25);
		const struct media_log *log = log_read_by(&viewer);

		CHECK_EQ(log->ready, log->next);
		CHECK_EQ(log->next - log->first, 75);
		for (uint64_t i = 0; i < 75; i++) {
			const struct packet *packet =
				media_log_packet(arena[THIRD], log, log->first + i);

			CHECK(packet != NULL);
			CHECK_EQ(packet->header.flags & MEDIA_DISCONTINUITY,
				i == 50 ? MEDIA_DISCONTINUITY : 0);
		}
		end();
	}
}

/* What comes first from it is lost: that it begins behind cannot be known before it has been asked again. */
TEST(one_that_only_seems_to_begin_behind_is_asked_again)
{
	begin_chain();
	deaf = info_of(THIRD).process;
	follow(&near, ours, copy);
	send_packets_from(&publisher, 50, 5, 50);
	deaf = 0;
	run_ms(170);
	CHECK(addr_equal(our_state()->source, origin));
	run_ms(100);
	CHECK(addr_equal(our_state()->source, copy));
	check_line(&viewer, 55);
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

/* ---- the stream of another node ---------------------------------------------------------------- */

static const struct addr foreign = {.node = NODE + 1, .id = 77};

/* live/f belongs to another node; the relay office leads to the copy here that stands for it. */
static void begin_foreign(void)
{
	begin(4000, 4);
	text_copy(names[3].name, sizeof(names[3].name), "stream/live/f");
	names[3].owner = foreign;
	names[3].epoch = 40;
	publisher = person_in(WORKER);
	near = person_in(OTHER);
	viewer = person_in(THIRD);
	last_epoch = 39; /* the stand-in's is that of live/f */
	publish(&publisher);
	subscribe(&near, "live/a", 0);
	send_packets_from(&publisher, 0, 30, 1000);
	origin = relay.source = publisher.mind->answer.stream;
	copy = near.mind->joined.stream;
	subscribe(&viewer, "live/f", 0);
	ours = viewer.mind->joined.stream;
	run_ms(600);
}

TEST(the_relay_office_says_from_whom)
{
	begin_foreign();
	CHECK_EQ(relay.asked, 1);
	CHECK_STR(relay.last.stream_name, "live/f");
	CHECK(addr_equal(relay.last.owner, foreign));
	CHECK_EQ(relay.last.epoch, 40);
	CHECK_EQ(viewer.mind->subscribed, 1);
	CHECK(our_state()->relayed && addr_equal(our_state()->source, origin));
	send_packets_from(&publisher, 30, 20, 1000);
	check_line(&viewer, 50);
	end();
}

TEST(when_its_source_ends_another_is_asked_for_and_nothing_shows)
{
	begin_foreign();
	send_packets_from(&publisher, 30, 20, 1000);
	follow(&near, ours, copy);
	send_packets_from(&publisher, 50, 20, 1000);
	CHECK(addr_equal(our_state()->source, copy));
	actor_stop(runtime_find(rt[OTHER], copy.id), ERR_OK);
	unsigned tracks = viewer.mind->tracks;

	send_packets_from(&publisher, 70, 20, 1000);
	CHECK_EQ(relay.asked, 2);
	CHECK(addr_equal(relay.last.failed, copy));
	CHECK(addr_equal(our_state()->source, origin));
	check_line(&viewer, 90);
	CHECK(viewer.mind->last_tracks.live || viewer.mind->tracks == tracks);
	CHECK_EQ(viewer.mind->downs, 0);
	end();
}

/* Row: how long there is no way, and whether the stream lives through it. */
TEST(without_a_way_it_asks_again_for_as_long_as_a_publisher_has)
{
	static const struct {
		int ms;
		bool lives;
	} rows[] = {
		{300,	      true },
		{4000,	       true },
		{GRACE_MS + 2000, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_foreign();
		send_packets_from(&publisher, 30, 20, 1000);
		follow(&near, ours, copy);
		send_packets_from(&publisher, 50, 20, 1000);
		relay.source = (struct addr){0};
		actor_monitor(actor_of(&viewer), ours);
		actor_stop(runtime_find(rt[OTHER], copy.id), ERR_OK);
		run_ms(rows[i].ms);
		relay.source = origin;
		run_ms(700);
		CHECK_EQ(viewer.mind->downs, !rows[i].lives);
		CHECK_EQ(our_state() != NULL, rows[i].lives);
		if (rows[i].lives) {
			send_packets_from(&publisher, 70, 20, 1000);
			CHECK(addr_equal(our_state()->source, origin));
			check_line(&viewer, 90); /* the picture it begins with was shown before */
		}
		end();
	}
}

/* It joins again, and the source begins with a keyframe that never came: it is too late for that. */
TEST(what_was_missed_is_not_put_behind_what_came_after_it)
{
	begin_foreign();
	send_packets_from(&publisher, 30, 20, 50);
	lose_frames = 1000;
	send_packets_from(&publisher, 50, 1, 50);
	lose_frames = 0;
	send_packets_from(&publisher, 51, 1, 50);
	follow(&near, ours, (struct addr){0});
	CHECK(addr_is_nobody(our_state()->source));
	run_ms(700);
	CHECK(addr_equal(our_state()->source, origin));
	send_packets_from(&publisher, 52, 20, 50);
	const struct media_log *log = log_read_by(&viewer);
	int64_t last_us = 0;
	int holes = 0;

	CHECK_EQ(log->ready, log->next);
	for (uint64_t position = log->first; position < log->next; position++) {
		const struct packet *packet = media_log_packet(arena[THIRD], log, position);

		holes += !packet;
		CHECK(!packet || packet->header.capture_us > last_us);
		last_us = packet ? packet->header.capture_us : last_us;
	}
	CHECK_EQ(holes, 1);
	CHECK_EQ(log->next - log->first, 72);
	end();
}

/* A packet of another process' log, as it comes to the third. */
static struct slot_ref bring(
	int slot, const struct media_log *log, uint64_t position, uint8_t flags)
{
	const struct packet *theirs = media_log_packet(arena[slot], log, position);
	struct slot_ref ref = arena_alloc(arena[THIRD], ARENA_PACKET, 1);
	struct packet *packet = arena_packet(arena[THIRD], ref);

	CHECK(theirs && packet);
	memcpy(packet, theirs, sizeof(theirs->header) + theirs->header.size);
	packet->header.flags |= flags;
	return ref;
}

static uint64_t accounted_for(const struct stream_state *st)
{
	return st->packets + st->dropped_no_slot + st->dropped_waiting_keyframe +
	       st->dropped_duplicate + st->dropped_too_late + st->dropped_not_source +
	       st->dropped_standby;
}

/* While it looks at the next source, a packet is lost on the way from the last one, just before its track
 * begins anew; the next one brings it: too late. */
TEST(each_packet_of_a_next_source_is_counted_once)
{
	begin_chain();
	struct actor *actor = runtime_find(rt[THIRD], ours.id);

	deaf = info_of(THIRD).process;
	follow(&near, ours, copy);
	send_packets_from(&publisher, 50, 2, 1000);
	CHECK(addr_equal(our_state()->source, origin));

	const struct stream_state *from = state_of(WORKER, origin);
	const struct media_log *log = log_read_by(&near);
	const struct media_log *first = media_log_get(
		arena[WORKER], (struct slot_ref){from->log_index, from->log_generation});
	uint64_t lost = log->next - 2, before = accounted_for(our_state());
	struct slot_ref known = bring(OTHER, log, lost - 2, 0), late = bring(OTHER, log, lost, 0),
			beginning = bring(WORKER, first, first->next - 1, MEDIA_DISCONTINUITY);

	stream_media(actor, actor_data(actor), copy, &known, 1);
	stream_media(actor, actor_data(actor), origin, &beginning, 1);
	CHECK_EQ(accounted_for(our_state()) - before, 2);
	stream_media(actor, actor_data(actor), copy, &late, 1);
	CHECK_EQ(our_state()->dropped_too_late, 1);
	CHECK_EQ(accounted_for(our_state()) - before, 3);
	arena_release(arena[THIRD], ARENA_PACKET, known);
	arena_release(arena[THIRD], ARENA_PACKET, late);
	arena_release(arena[THIRD], ARENA_PACKET, beginning);
	end();
}

static void tell_of_another_publisher(uint64_t begins)
{
	struct msg_tracks told = {.tracks_count = 1,
		.tracks = {our_state()->tracks[0]},
		.live = true,
		.epoch = our_state()->epoch + 1,
		.source_first = begins};

	actor_send_mail(
		runtime_find(rt[WORKER], origin.id), ours, MSG_tracks, &schema_tracks, &told);
	run_ms(1);
	CHECK_EQ(our_state()->epoch, told.epoch);
}

/* What was lost of the one before comes after the news: it is not the new one's. */
TEST(news_of_another_publisher_say_where_he_begins)
{
	static const struct {
		uint64_t missing, begins_behind;
	} rows[] = {
		{0, 0},
		{7, 7},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_chain();
		tell_of_another_publisher(our_state()->source_next + rows[i].missing);
		CHECK_EQ(our_state()->source_first,
			log_read_by(&viewer)->next + rows[i].begins_behind);
		end();
	}
}

/* What it was aligned by is of the one before. */
TEST(a_next_source_is_left_when_another_publisher_comes)
{
	begin_chain();
	deaf = info_of(THIRD).process;
	follow(&viewer, ours, copy);
	send_packets_from(&publisher, 50, 2, 1000);
	deaf = 0;
	CHECK(addr_equal(our_state()->source, origin));
	tell_of_another_publisher(our_state()->source_next);
	CHECK_EQ(viewer.mind->failed, 1);
	send_packets_from(&publisher, 52, 20, 1000);
	CHECK(addr_equal(our_state()->source, origin));
	CHECK_EQ(state_of(OTHER, copy)->subscribers_count, 1);
	end();
}

TEST(a_new_control_process_is_told)
{
	begin_foreign();
	struct runtime_peer_info control = info_of(CONTROL);

	runtime_peer_down(rt[THIRD], control.process);
	runtime_peer_down(rt[CONTROL], info_of(THIRD).process);
	struct runtime_peer_info own = info_of(THIRD);

	CHECK_OK(runtime_peer_up(rt[CONTROL], &own));
	CHECK_OK(runtime_peer_up(rt[THIRD], &control));
	run_ms(300);
	CHECK_EQ(relay.asked, 2);
	CHECK(addr_equal(relay.last.source, origin));
	CHECK_EQ(our_state()->reparented, 0);
	end();
}

/* Who owns the name now is in this node: it is copied straight. */
TEST(a_new_owner_in_this_node_needs_no_relay)
{
	begin_foreign();
	relay.source = (struct addr){0};
	actor_stop(runtime_find(rt[WORKER], origin.id), ERR_OK);
	run_ms(50);
	struct person next = person_in(WORKER);

	names[3].owner = foreign;
	memset(&names[3], 0, sizeof(names[3])); /* the other node is no more */
	last_epoch = 50;
	publish_as(&next, "live/f", "", "");
	send_packets(&next, 5);
	run_ms(1500);
	send_packets_from(&next, 5, 10, 1000);
	CHECK(our_state() && !our_state()->relayed);
	CHECK(addr_equal(our_state()->source, next.mind->answer.stream));
	CHECK_EQ(viewer.mind->downs, 0);
	end();
}

/* Asks as the relay office does; what it was told is in the mind of the person. */
static void host(const struct person *person, const char *name, struct addr owner)
{
	struct msg_relay_host wanted = {.owner = owner, .epoch = 40};
	struct actor *self = actor_of(person);

	text_copy(wanted.stream_name, sizeof(wanted.stream_name), name);
	actor_request_mail(self, actor_office(self, OFFICE_MEDIA), 1000, MSG_relay_host,
		&schema_relay_host, &wanted);
	run_ms(50);
}

TEST(a_copy_is_made_for_other_nodes_and_ends_when_none_reads_it)
{
	begin_foreign();
	struct person office = person_in(WORKER);

	host(&office, "live/f", foreign);
	struct addr made = office.mind->hosted.stream;

	CHECK_EQ(office.mind->hosts, 1);
	CHECK(!office.mind->hosted.origin);
	CHECK(state_of(WORKER, made) && state_of(WORKER, made)->relayed);
	CHECK_EQ(relay.asked, 2);
	host(&office, "live/f", foreign); /* there is one */
	CHECK_EQ(office.mind->hosts, 2);
	CHECK(addr_equal(office.mind->hosted.stream, made));
	host(&office, "live/a", foreign); /* and that is the stream itself */
	CHECK(office.mind->hosted.origin);
	CHECK(addr_equal(office.mind->hosted.stream, origin));
	run_ms(STREAM_IDLE_MS + 100);
	CHECK(!state_of(WORKER, made));
	end();
}

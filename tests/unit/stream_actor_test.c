/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams in the real kernel: publishing and its rivals, copies on another worker, keyframes,
 * transcoding, limits.
 */
#include "tests/unit/stream_node.h"

/* ---- publishing ------------------------------------------------------------------------------ */

TEST(one_publishes_and_another_reads)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(WORKER);

	publish(&publisher);
	CHECK_EQ(publisher.mind->published, 1);
	CHECK(publisher.mind->answer.wants_keyframe && publisher.mind->answer.resume[0]);
	CHECK_EQ(publisher.mind->answer.epoch, 1);
	send_packets(&publisher, 20);
	subscribe(&viewer, "live/a", 0);
	CHECK_EQ(viewer.mind->subscribed, 1);
	CHECK(viewer.mind->joined.live);
	CHECK_EQ(viewer.mind->joined.start, 1); /* the keyframe */
	CHECK_EQ(viewer.mind->joined.tracks_count, 2);
	CHECK_EQ(log_read_by(&viewer)->ready, 21);
	CHECK_EQ(state_of(WORKER, viewer.mind->joined.stream)->viewers, 1);
	end();
}

TEST(a_name_without_publisher_is_refused)
{
	begin(100, 4);
	struct person viewer = person_in(WORKER);

	subscribe(&viewer, "live/a", 0);
	CHECK_EQ(viewer.mind->failed, 1);
	CHECK_EQ(viewer.mind->err, ERR_NOT_FOUND);
	end();
}

/* The worker runs for so long, and nothing comes. */
static void run_seconds(int ms)
{
	for (; ms > 0; ms -= 100)
		run_ms(ms < 100 ? ms : 100);
}

/* It stands still, as when it was stopped: nothing is read, no timer runs. */
static void stand_still(int ms)
{
	now_us += ms * INT64_C(1000);
}

/* Time in which nobody listened is no silence; the publisher may have sent all the while. */
TEST(a_publisher_is_not_replaced_since_the_worker_stood_still)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), early = person_in(WORKER),
		      late = person_in(WORKER);

	publish(&first);
	send_packets(&first, 2);
	stand_still(SILENT_MS + 500);
	publish(&early);
	CHECK_EQ(early.mind->err, ERR_BUSY);
	send_packets(&first, 2);
	stand_still(SILENT_MS + 500);
	run_seconds(SILENT_MS - 500);
	publish(&early);
	CHECK_EQ(early.mind->failed, 2);
	run_seconds(600); /* it has been listened to long enough, in vain */
	publish(&late);
	CHECK_EQ(late.mind->published, 1);
	CHECK_EQ(first.mind->replaced, 1);
	end();
}

/* Row: how long the first was silent, what the second shows, whether it gets the name. */
TEST(who_may_replace_a_publisher)
{
	static const struct {
		int silent_ms;
		bool has_resume;
		const char *first_subject, *subject;
		bool gets_it;
		int from;
	} rows[] = {
		{0,		    false, "",    "",	   false, WORKER},
		{SILENT_MS - 100, false, "",    "",	 false, WORKER},
		{SILENT_MS,	    false, "",    "",	   true,	 WORKER},
		{SILENT_MS,	    false, "",    "",	   true,	 OTHER },
		{0,		    true,  "",    "",	  true,	WORKER},
		{0,		    true,  "",    "",	  true,	OTHER },
		{0,		    false, "ann", "ann", true,  WORKER},
		{0,		    false, "ann", "bob", false, OTHER },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(2000, 4);
		struct person first = person_in(WORKER), second = person_in(rows[i].from);

		publish_as(&first, "live/a", "", rows[i].first_subject);
		send_packets(&first, 2);
		run_ms(rows[i].silent_ms);
		publish_as(&second, "live/a", rows[i].has_resume ? first.mind->answer.resume : "",
			rows[i].subject);
		CHECK_EQ(second.mind->published, rows[i].gets_it);
		CHECK_EQ(second.mind->failed, !rows[i].gets_it);
		CHECK_EQ(first.mind->replaced, rows[i].gets_it);
		if (!rows[i].gets_it)
			CHECK_EQ(second.mind->err, ERR_BUSY);
		else
			CHECK(strcmp(second.mind->answer.resume, first.mind->answer.resume) != 0);
		end();
	}
}

TEST(a_publisher_goes_and_comes_back)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(WORKER),
		      next = person_in(WORKER);

	publish(&publisher);
	subscribe(&viewer, "live/a", 0);
	send_packets(&publisher, 10);
	actor_stop(actor_of(&publisher), ERR_CLOSED);
	run_ms(20);
	CHECK(!viewer.mind->last_tracks.live);
	CHECK_EQ(viewer.mind->downs, 0);
	run_ms(GRACE_MS - 1000);
	publish(&next);
	CHECK_EQ(next.mind->published, 1);
	CHECK(viewer.mind->last_tracks.live);
	send_packets(&next, 10);
	const struct media_log *log = log_read_by(&viewer);

	CHECK_EQ(log->ready, 21); /* one line of positions, sequences and frames */
	const struct packet *first = media_log_packet(arena[WORKER], log, 11);

	CHECK(first && first->header.flags & MEDIA_DISCONTINUITY);
	CHECK_EQ(first->header.track_seq, 11);
	CHECK_EQ(first->header.frame, 11);
	end();
}

TEST(an_orphan_ends_after_its_grace)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(WORKER);

	publish(&publisher);
	subscribe(&viewer, "live/a", 0);
	actor_monitor(actor_of(&viewer), viewer.mind->joined.stream);
	actor_send(actor_of(&publisher), publisher.mind->answer.stream, unpublish, {});
	run_ms(GRACE_MS - 100);
	CHECK_EQ(viewer.mind->downs, 0);
	run_ms(200);
	CHECK_EQ(viewer.mind->downs, 1);
	CHECK_EQ(row_of("stream/live/a"), -1);
	end();
}

/* Who still waits for the tracks is told to ask again, not that there is a session no more (webrtc,
 * seed 21414). */
TEST(an_orphan_that_ends_sends_away_who_waits)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(WORKER);

	publish_untold(&publisher);
	actor_send(actor_of(&publisher), publisher.mind->answer.stream, unpublish, {});
	run_ms(GRACE_MS - 1000);
	subscribe(&viewer, "live/a", 0);
	CHECK_EQ(viewer.mind->subscribed + viewer.mind->failed, 0);
	run_ms(1100);
	CHECK_EQ(viewer.mind->failed, 1);
	CHECK_EQ(viewer.mind->err, ERR_DEAD);
	end();
}

TEST(a_claim_that_fails_refuses_the_publisher)
{
	begin(100, 4);
	struct person publisher = person_in(WORKER);

	claims_fail = ERR_OVERLOAD;
	publish(&publisher);
	CHECK_EQ(publisher.mind->failed, 1);
	CHECK_EQ(publisher.mind->err, ERR_OVERLOAD);
	end();
}

static const struct media_track vp8 = {
	.id = 0, .kind = MEDIA_VIDEO, .codec = MEDIA_VP8, .clock_rate = 90000};

/* (An RTMP publisher has the name before it says what it sends; to a copy its tracks come by mail
 * and its packets by another way. webrtc, seed 20598) */
TEST(pictures_of_tracks_told_later_begin_with_a_keyframe)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), next = person_in(WORKER),
		      viewer = person_in(OTHER);

	publish(&publisher);
	subscribe(&viewer, "live/a", 0);
	send_packets(&publisher, 10);
	actor_stop(actor_of(&publisher), ERR_CLOSED);
	run_ms(20);
	publish_untold(&next);
	send_packets(&next, 2); /* of tracks that nobody knows */
	change_tracks(&next, &vp8);
	CHECK_EQ(log_read_by(&viewer)->ready, 11);
	send_packets_from(&next, 2, 3, 5);
	CHECK_EQ(log_read_by(&viewer)->ready, 11);
	run_ms(KEYFRAME_REQUEST_MS);
	CHECK_GE(next.mind->keyframes, 1);
	send_packets_from(&next, 5, 5, 5);
	const struct media_log *log = log_read_by(&viewer);
	const struct packet *first = media_log_packet(arena[OTHER], log, 11);

	CHECK_EQ(log->ready, 16);
	CHECK(first && first->header.flags & MEDIA_KEYFRAME);
	CHECK(first && first->header.flags & MEDIA_DISCONTINUITY);
	end();
}

TEST(tracks_travel_to_readers_near_and_far)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), near = person_in(WORKER),
		      far = person_in(OTHER);

	publish(&publisher);
	subscribe(&near, "live/a", 0);
	subscribe(&far, "live/a", 0);
	change_tracks(&publisher, &vp8);
	CHECK_EQ(near.mind->last_tracks.tracks_count, 1);
	CHECK_EQ(far.mind->last_tracks.tracks_count, 1);
	CHECK_EQ(far.mind->last_tracks.tracks[0].codec, MEDIA_VP8);
	actor_stop(actor_of(&publisher), ERR_CLOSED);
	run_ms(20);
	CHECK(!near.mind->last_tracks.live);
	CHECK(!far.mind->last_tracks.live);
	end();
}

/* ---- replicas -------------------------------------------------------------------------------- */

TEST(a_copy_follows_and_fills_its_holes)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(OTHER);

	publish(&publisher);
	subscribe(&viewer, "live/a", 0);
	const struct stream_state *copy = state_of(OTHER, viewer.mind->joined.stream);

	CHECK(copy && copy->replica);
	send_packets(&publisher, 5);
	lose_frames = 3;
	send_packets(&publisher, 10);
	run_ms(100);
	CHECK_EQ(log_read_by(&viewer)->ready, 16);
	CHECK_EQ(copy->packets, 15);
	CHECK_EQ(copy->holes, 0);
	end();
}

/* The cached pictures follow the answer to a copy's subscription in the same moment. */
TEST(a_copy_begins_with_the_cached_pictures)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(OTHER);

	publish(&publisher);
	send_packets(&publisher, 200);
	subscribe(&viewer, "live/a", 0);
	const struct stream_state *copy = state_of(OTHER, viewer.mind->joined.stream);

	CHECK_EQ(log_read_by(&viewer)->ready, 201);
	CHECK_EQ(log_read_by(&viewer)->keyframe, 1);
	CHECK_EQ(copy->dropped_not_source, 0);
	CHECK_EQ(publisher.mind->keyframes, 0); /* no other keyframe is needed */
	end();
}

/* Row: how long the mail that names the tracks is on its way while pictures pass it. */
TEST(a_copy_keeps_what_overtook_its_tracks)
{
	static const int rows[] = {5, 15, 60, 250, 900};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(2000, 4);
		struct person publisher = person_in(WORKER), viewer = person_in(OTHER);

		publish(&publisher);
		send_packets(&publisher, 10);
		hold_mail_until_us = now_us + rows[i] * 1000;
		subscribe(&viewer, "live/a", 0);
		send_packets_from(&publisher, 10, rows[i] / 10 + 10, 1000);
		CHECK_EQ(viewer.mind->subscribed, 1);
		CHECK_EQ(log_read_by(&viewer)->keyframe, 1);
		CHECK_EQ(log_read_by(&viewer)->ready, 1 + 10 + rows[i] / 10 + 10);
		CHECK_EQ(publisher.mind->keyframes, 0);
		CHECK_EQ(state_of(OTHER, viewer.mind->joined.stream)->holes, 0);
		CHECK_EQ(state_of(OTHER, viewer.mind->joined.stream)->dropped_not_source, 0);
		end();
	}
}

TEST(what_overtook_the_tracks_and_found_no_room_is_asked_for_again)
{
	begin(12000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(OTHER);

	publish(&publisher);
	send_packets(&publisher, 10);
	hold_mail_until_us = now_us + 1500 * 1000;
	subscribe(&viewer, "live/a", 0);
	for (int i = 0; i < 50; i++)
		send_burst(&publisher, 100);
	run_ms(2000);
	CHECK(state_of(OTHER, viewer.mind->joined.stream)->dropped_not_source > 0);
	send_burst(&publisher, 100); /* what comes next shows that some is missing */
	run_ms(3000);
	CHECK_EQ(state_of(OTHER, viewer.mind->joined.stream)->holes, 0);
	CHECK_EQ(log_read_by(&viewer)->ready, 1 + 5110);
	end();
}

TEST(a_copy_without_readers_ends)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(OTHER);

	publish(&publisher);
	subscribe(&viewer, "live/a", 0);
	struct addr copy = viewer.mind->joined.stream;

	actor_stop(actor_of(&viewer), ERR_CLOSED);
	run_ms(STREAM_IDLE_MS - 100);
	CHECK(state_of(OTHER, copy) != NULL);
	run_ms(300);
	CHECK(state_of(OTHER, copy) == NULL);
	CHECK_EQ(state_of(WORKER, publisher.mind->answer.stream)->subscribers_count, 0);
	end();
}

/* What a reader has sent on counts each second as the stream's; what a copy has, as its source's when it
 * ends. */
TEST(what_viewers_were_sent_is_counted_once)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), near = person_in(WORKER),
		      far = person_in(OTHER);

	publish(&publisher);
	send_packets(&publisher, 20);
	subscribe(&near, "live/a", 0);
	subscribe(&far, "live/a", 0);
	struct addr origin = publisher.mind->answer.stream, copy = far.mind->joined.stream;

	media_log_count_sent((struct media_log *)(uintptr_t)log_read_by(&near), 1000);
	media_log_count_sent((struct media_log *)(uintptr_t)log_read_by(&far), 30000);
	run_ms(1100);
	CHECK_EQ(state_of(WORKER, origin)->bytes_out, 1000);
	CHECK_EQ(state_of(OTHER, copy)->bytes_out, 30000);
	media_log_count_sent((struct media_log *)(uintptr_t)log_read_by(&far), 400);
	actor_stop(actor_of(&far), ERR_CLOSED);
	run_ms(STREAM_IDLE_MS + 200);
	CHECK(state_of(OTHER, copy) == NULL);
	CHECK_EQ(state_of(WORKER, origin)->bytes_out, 31400);
	end();
}

TEST(a_copy_becomes_the_origin_under_its_readers)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(OTHER),
		      next = person_in(OTHER);

	publish(&publisher);
	subscribe(&viewer, "live/a", 0);
	send_packets(&publisher, 5);
	struct addr stream = viewer.mind->joined.stream;

	actor_monitor(actor_of(&viewer), stream);
	kill_process(WORKER);
	run_ms(20);
	publish(&next);
	CHECK_EQ(next.mind->published, 1);
	CHECK(addr_equal(next.mind->answer.stream, stream));
	CHECK(!state_of(OTHER, stream)->replica);
	CHECK_EQ(state_of(OTHER, stream)->epoch, 2);
	send_packets(&next, 5);
	CHECK_EQ(viewer.mind->downs, 0);
	CHECK_EQ(log_read_by(&viewer)->ready, 11);
	end();
}

TEST(a_name_lost_to_another_is_followed)
{
	begin(2000, 4);
	struct person one = person_in(WORKER), two = person_in(OTHER), viewer = person_in(WORKER);

	publish(&one);
	send_packets(&one, 5);
	subscribe(&viewer, "live/a", 0);
	int row = row_of("stream/live/a");

	CHECK(row >= 0);
	memset(&names[row], 0, sizeof(names[row])); /* as a directory that was restarted */
	publish(&two);
	CHECK_EQ(two.mind->published, 1);
	struct actor *office =
		runtime_find(rt[CONTROL], (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_DIRECTORY);

	actor_send(office, one.mind->answer.stream, name_lost,
		{.epoch = two.mind->answer.epoch, .owner = two.mind->answer.stream});
	run_ms(20);
	CHECK_EQ(one.mind->replaced, 1);
	CHECK(state_of(WORKER, one.mind->answer.stream)->replica);
	send_packets(&two, 5);
	CHECK_EQ(log_read_by(&viewer)->ready, 11);
	end();
}

/* The copy that has seen a GOP is not fed it again by the one that became the origin with it. */
TEST(a_new_origin_shows_nothing_twice)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(OTHER),
		      near = person_in(WORKER);

	publish(&publisher);
	subscribe(&viewer, "live/a", 0);
	subscribe(&near, "live/a", 0);
	send_packets(&publisher, 5);
	struct msg_subscribe again = {.feed = true, .rejoins = true};
	struct person reader = person_in(HELPER);

	actor_stop(actor_of(&publisher), ERR_CLOSED);
	run_ms(20);
	struct person next = person_in(WORKER);

	publish(&next);
	actor_request_mail(actor_of(&reader), next.mind->answer.stream, 1000, MSG_subscribe,
		&schema_subscribe, &again);
	run_ms(10);
	CHECK_EQ(reader.mind->subscribed, 1);
	CHECK_EQ(reader.mind->joined.start, 6);
	end();
}

/* ---- keyframes, transcoding, limits ---------------------------------------------------------- */

TEST(keyframe_requests_are_merged)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), near = person_in(WORKER),
		      far = person_in(OTHER);

	publish(&publisher);
	send_packets(&publisher, 1);
	subscribe(&near, "live/a", 0);
	subscribe(&far, "live/a", 0);
	run_ms(2 * KEYFRAME_REQUEST_MS);
	unsigned before = publisher.mind->keyframes;

	for (int i = 0; i < 100; i++) {
		actor_send(actor_of(&near), near.mind->joined.stream, keyframe_request, {0});
		actor_send(actor_of(&far), far.mind->joined.stream, keyframe_request, {0});
		run_ms(10);
	}
	run_ms(2 * KEYFRAME_REQUEST_MS);
	CHECK_GE(publisher.mind->keyframes - before, 2);
	CHECK_LE(publisher.mind->keyframes - before, 4); /* in 1 s, at most every 500 ms */
	end();
}

static void take(const struct person *reader, uint32_t bps)
{
	actor_send(actor_of(reader), reader->mind->joined.stream, bitrate, {.bps = bps});
	run_ms(20);
}

TEST(a_publisher_hears_what_he_who_takes_most_can_take)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), near = person_in(WORKER),
		      far = person_in(OTHER), other = person_in(OTHER);

	publish_this(&publisher, (struct msg_publish){.protocol = "whip", .stream_name = "live/a"});
	send_packets(&publisher, 1);
	subscribe(&near, "live/a", 0);
	subscribe(&far, "live/a", 0);
	run_ms(2000);
	take(&near, 500000);
	CHECK_EQ(publisher.mind->bitrates, 0); /* the other one takes all */
	take(&far, 800000);
	CHECK_EQ(publisher.mind->takes_bps, 800000);
	take(&far, 700000);
	CHECK_EQ(publisher.mind->takes_bps, 700000);
	take(&far, 400000);
	CHECK_EQ(publisher.mind->takes_bps, 500000);
	/* they say it again, more when more gets through: that has a second's time */
	take(&near, 510000);
	CHECK_EQ(publisher.mind->takes_bps, 500000);
	run_ms(1000);
	CHECK_EQ(publisher.mind->takes_bps, 510000);
	/* one that takes all comes */
	subscribe(&other, "live/a", 0);
	take(&far, 400000);
	CHECK_EQ(publisher.mind->takes_bps, 0);
	take(&near, 510000);
	CHECK_EQ(publisher.mind->takes_bps, 0);
	/* … and goes */
	actor_stop(actor_of(&other), ERR_CLOSED);
	run_ms(1100);
	CHECK_EQ(publisher.mind->takes_bps, 510000);
	/* who says nothing any more takes all */
	run_ms(5000);
	CHECK_EQ(publisher.mind->takes_bps, 0);
	unsigned said = publisher.mind->bitrates;

	run_ms(3000);
	CHECK_EQ(publisher.mind->bitrates, said);
	end();
}

TEST(who_has_sound_alone_does_not_count_and_no_reader_holds_nobody_back)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), near = person_in(WORKER),
		      sound = person_in(HELPER);
	struct msg_subscribe audio_only = {.feed = true, .tracks = 1 << 1};

	publish_this(&publisher, (struct msg_publish){.protocol = "whip", .stream_name = "live/a"});
	subscribe(&near, "live/a", 0);
	actor_request_mail(actor_of(&sound), publisher.mind->answer.stream, 1000, MSG_subscribe,
		&schema_subscribe, &audio_only);
	run_ms(20);
	CHECK_EQ(sound.mind->subscribed, 1);
	take(&near, 500000);
	CHECK_EQ(publisher.mind->takes_bps, 500000);
	actor_stop(actor_of(&near), ERR_CLOSED);
	run_ms(1100);
	CHECK_EQ(publisher.mind->takes_bps, 0);
	end();
}

TEST(the_next_publisher_hears_it_too_and_one_by_rtmp_never)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), next = person_in(WORKER),
		      encoder = person_in(WORKER), far = person_in(OTHER);

	publish_this(&first, (struct msg_publish){.protocol = "whip", .stream_name = "live/a"});
	send_packets(&first, 1);
	subscribe(&far, "live/a", 0);
	take(&far, 600000);
	CHECK_EQ(first.mind->takes_bps, 600000);
	actor_stop(actor_of(&first), ERR_CLOSED);
	run_ms(20);
	publish_this(&next, (struct msg_publish){.protocol = "whip", .stream_name = "live/a"});
	take(&far, 600000);
	run_ms(1000);
	CHECK_EQ(next.mind->takes_bps, 600000);
	actor_stop(actor_of(&next), ERR_CLOSED);
	run_ms(20);
	publish_this(&encoder, (struct msg_publish){.protocol = "rtmp", .stream_name = "live/a"});
	take(&far, 600000);
	run_ms(1000);
	CHECK_EQ(encoder.mind->bitrates, 0);
	end();
}

TEST(sound_is_made_once_for_all_who_need_it)
{
	begin(2000, 4);
	struct person publisher = person_in(WORKER), plain = person_in(WORKER),
		      near = person_in(WORKER), far = person_in(OTHER);

	publish(&publisher);
	subscribe(&plain, "live/a", MEDIA_AAC);
	run_ms(50);
	CHECK_EQ(transcode.starts, 0);
	subscribe(&near, "live/a", MEDIA_OPUS);
	subscribe(&far, "live/a", MEDIA_OPUS);
	run_ms(50);
	CHECK_EQ(transcode.starts, 1);
	CHECK_EQ(transcode.last.codec, MEDIA_OPUS);
	CHECK_EQ(transcode.last.source.codec, MEDIA_AAC);
	CHECK_EQ(near.mind->last_tracks.tracks_count, 3);
	CHECK_EQ(far.mind->last_tracks.tracks_count, 3);
	actor_stop(actor_of(&near), ERR_CLOSED);
	run_ms(50);
	CHECK_EQ(transcode.stops, 0); /* the other worker still needs it */
	actor_stop(actor_of(&far), ERR_CLOSED);
	run_ms(STREAM_IDLE_MS + 100);
	CHECK_EQ(transcode.stops, 1);
	CHECK_EQ(state_of(WORKER, publisher.mind->answer.stream)->tracks_count, 2);
	end();
}

TEST(the_reader_too_many_is_refused)
{
	begin(100, 4);
	struct person publisher = person_in(WORKER), last = person_in(WORKER);

	publish(&publisher);
	struct actor *stream = runtime_find(rt[WORKER], publisher.mind->answer.stream.id);
	struct stream *s = actor_data(stream);

	s->st.subscribers_count = STREAM_SUBSCRIBERS_MAX;
	subscribe(&last, "live/a", 0);
	s->st.subscribers_count = 0;
	CHECK_EQ(last.mind->failed, 1);
	CHECK_EQ(last.mind->err, ERR_LIMIT);
	end();
}

TEST(without_a_slot_for_its_log_no_stream_begins)
{
	begin(100, 1);
	struct person one = person_in(WORKER), two = person_in(WORKER), far = person_in(OTHER);

	publish_as(&one, "live/a", "", "");
	publish_as(&two, "live/b", "", "");
	CHECK_EQ(one.mind->published, 1);
	CHECK_EQ(two.mind->failed, 1);
	CHECK_EQ(two.mind->err, ERR_LIMIT);
	publish_as(&far, "live/b", "", ""); /* the name was not taken */
	CHECK_EQ(far.mind->published, 1);
	end();
}

TEST(media_of_strangers_is_counted_and_dropped)
{
	begin(100, 1);
	struct person publisher = person_in(WORKER), stranger = person_in(WORKER);

	publish(&publisher);
	stranger.mind->answer.stream = publisher.mind->answer.stream;
	send_packets(&stranger, 3);
	const struct stream_state *st = state_of(WORKER, publisher.mind->answer.stream);

	CHECK_EQ(st->packets, 0);
	CHECK_EQ(st->dropped_not_source, 3);
	end();
}

TEST(a_short_pool_keeps_the_stream_going)
{
	begin(64, 1);
	struct person publisher = person_in(WORKER);

	publish(&publisher);
	send_packets(&publisher, 1000); /* each finds a slot */
	const struct stream_state *st = state_of(WORKER, publisher.mind->answer.stream);

	CHECK_EQ(st->packets, 1000);
	end();
}

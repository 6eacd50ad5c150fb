/* SPDX-License-Identifier: Apache-2.0
 *
 * Publishers that change under their readers: one who comes back, and those that stand by
 * (decision 15), on one worker and across two.
 */
#include "runtime/config.h"
#include "schemas/names.h"
#include "tests/unit/stream_node.h"

enum { STANDBY_SILENT_MS = 500, FRAME_MS = 10 };

/* `standby`: enum name_standby. */
static void publish_beside(const struct person *person, uint8_t standby, const char *resume)
{
	struct msg_publish publish = {
		.stream_name = "live/a", .protocol = "test", .standby = standby};

	text_copy(publish.resume, sizeof(publish.resume), resume);
	publish_this(person, publish);
}

static void stand_by(const struct person *person)
{
	publish_beside(person, NAME_STANDBY_YES, "");
	CHECK_EQ(person->mind->published, 1);
	CHECK(person->mind->stands_by);
}

static const struct stream_state *stream_of(const struct person *publisher)
{
	return state_of(WORKER, publisher->mind->answer.stream);
}

/* Both send so many frames, those of the other one keyframes or not. */
static void send_both(const struct person *one, const struct person *other, int count, bool keys)
{
	for (int i = 0; i < count; i++) {
		send_packets_from(one, 1, 1, 2);
		send_packets_from(other, keys ? 0 : 1, 1, 2);
	}
}

static const struct packet *packet_at(const struct person *reader, uint64_t position)
{
	return media_log_packet(arena[reader->slot], log_read_by(reader), position);
}

/* What a reader has got is one line: numbers and times only grow, and a new source begins at a
 * keyframe. */
static void check_one_line(const struct person *reader)
{
	const struct media_log *log = log_read_by(reader);
	const struct media_header *before = NULL;

	for (uint64_t position = log->first; position < log->ready; position++) {
		const struct packet *packet = packet_at(reader, position);

		CHECK(packet != NULL);
		const struct media_header *header = &packet->header;

		if (header->flags & MEDIA_DISCONTINUITY)
			CHECK(header->flags & MEDIA_KEYFRAME);
		if (before) {
			CHECK_EQ(header->track_seq, before->track_seq + 1);
			CHECK_EQ(header->frame, before->frame + 1);
			CHECK_GE(header->rtp_time, before->rtp_time + 1);
		}
		before = header;
	}
}

/* ---- one who comes back ------------------------------------------------------------------------ */

/* Row: where the newcomer is, and how its packets come; how long after its keyframe readers near and
 * far have it. */
TEST(a_newcomer_is_read_from_its_first_keyframe_at_once)
{
	static const struct {
		int from;
		int before_key; /* packets before the keyframe */
	} rows[] = {
		{WORKER, 0},
		{WORKER, 5},
		{OTHER,	0},
		{OTHER,	5},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(2000, 4);
		struct person first = person_in(WORKER), next = person_in(rows[i].from);
		struct person near = person_in(WORKER), far = person_in(OTHER);

		publish(&first);
		subscribe(&near, "live/a", 0);
		subscribe(&far, "live/a", 0);
		send_packets(&first, 10);
		/* a reader asks, so that asking again would have to wait */
		actor_send(actor_of(&near), near.mind->joined.stream, keyframe_request, {0});
		run_ms(10);
		publish_as(&next, "live/a", first.mind->answer.resume, "");
		next.mind->seq = 40000; /* numbers and times of its own */
		send_packets_from(&next, 1, rows[i].before_key, 100);
		CHECK_EQ(next.mind->keyframes, rows[i].before_key > 0);
		CHECK_EQ(log_read_by(&near)->ready, 11);

		int64_t begun_us = now_us;
		struct slot_ref ref = arena_alloc(arena[next.slot], ARENA_PACKET, 1);

		arena_packet(arena[next.slot], ref)->header =
			(struct media_header){.track_seq = ++next.mind->seq,
				.frame = 77,
				.rtp_time = 123456,
				.capture_us = op_wall_us(NULL),
				.flags = MEDIA_FRAME_START | MEDIA_FRAME_END | MEDIA_KEYFRAME,
				.size = 100};
		actor_media(actor_of(&next), next.mind->answer.stream, ref);
		arena_release(arena[next.slot], ARENA_PACKET, ref);
		while (log_read_by(&far)->ready < 12 || log_read_by(&near)->ready < 12) {
			run_ms(1);
			CHECK_LE(now_us - begun_us, 20 * STEP_US);
		}
		check_one_line(&near);
		check_one_line(&far);
		CHECK_EQ(near.mind->downs + far.mind->downs, 0);
		end();
	}
}

/* Row: what the readers need that must be made; a switch is one message all the same. */
TEST(a_switch_is_told_to_each_reader_once)
{
	static const uint8_t audio[] = {0, MEDIA_OPUS};

	for (size_t i = 0; i < sizeof(audio) / sizeof(audio[0]); i++) {
		begin(2000, 4);
		struct person first = person_in(WORKER), next = person_in(OTHER);
		struct person near = person_in(WORKER), far = person_in(OTHER);

		publish(&first);
		subscribe(&near, "live/a", audio[i]);
		subscribe(&far, "live/a", audio[i]);
		run_ms(100);
		near.mind->tracks = far.mind->tracks = 0;
		transcode.starts = 0;
		publish_as(&next, "live/a", first.mind->answer.resume, "");
		run_ms(100);
		/* the transcoder tells of what it makes when it has begun anew */
		CHECK_EQ(near.mind->tracks, 1 + transcode.starts);
		CHECK_EQ(far.mind->tracks, 1 + transcode.starts);
		CHECK_EQ(transcode.starts, audio[i] != 0);
		end();
	}
}

/* What was made of the last publisher's sound is not made any more when the next one sends it. */
TEST(a_transcoder_ends_with_the_sound_it_was_made_for)
{
	static const struct media_track opus = {.id = 1,
		.kind = MEDIA_AUDIO,
		.codec = MEDIA_OPUS,
		.channels = 2,
		.clock_rate = 48000};

	begin(2000, 4);
	struct person publisher = person_in(WORKER), viewer = person_in(WORKER);

	publish(&publisher);
	subscribe(&viewer, "live/a", MEDIA_OPUS);
	run_ms(50);
	CHECK_EQ(transcode.starts, 1);
	change_tracks(&publisher, &opus);
	run_ms(50);
	CHECK_EQ(transcode.stops, 1);
	CHECK(addr_is_nobody(stream_of(&publisher)->transcoder));
	CHECK_EQ(viewer.mind->last_tracks.tracks_count, 1);
	end();
}

/* ---- who may stand by -------------------------------------------------------------------------- */

/* Row: what the configuration, the first and the second say; what becomes of the second. */
TEST(who_may_stand_by)
{
	static const struct {
		const char *patterns;
		uint8_t first, second;
		bool stands_by;
	} rows[] = {
	// clang-format off
		{"",                   NAME_STANDBY_UNSAID, NAME_STANDBY_UNSAID, false},
		{"",                   NAME_STANDBY_UNSAID, NAME_STANDBY_YES,    true},
		{"",                   NAME_STANDBY_YES,    NAME_STANDBY_UNSAID, true},
		{"",                   NAME_STANDBY_YES,    NAME_STANDBY_NO,     false},
		{"live/a",             NAME_STANDBY_UNSAID, NAME_STANDBY_UNSAID, true},
		{"live/b, live/?",     NAME_STANDBY_UNSAID, NAME_STANDBY_UNSAID, true},
		{"event/*,live/*",     NAME_STANDBY_UNSAID, NAME_STANDBY_UNSAID, true},
		{"live/*",             NAME_STANDBY_UNSAID, NAME_STANDBY_NO,     false},
		{"*",                  NAME_STANDBY_UNSAID, NAME_STANDBY_UNSAID, false},
		{"live/aa,live/b,[,live/[b-z]", NAME_STANDBY_UNSAID, NAME_STANDBY_UNSAID, false},
	// clang-format on
	};
	static struct config config;
	struct config_report report;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		config_init(&config, &report);
		text_copy(config.stream_standby, sizeof(config.stream_standby), rows[i].patterns);
		settings = &config;
		begin(2000, 4);
		struct person first = person_in(WORKER), second = person_in(OTHER);

		publish_beside(&first, rows[i].first, "");
		CHECK(!first.mind->stands_by);
		send_packets(&first, 2);
		publish_beside(&second, rows[i].second, "");
		CHECK_EQ(second.mind->published, rows[i].stands_by);
		CHECK_EQ(second.mind->stands_by, rows[i].stands_by);
		CHECK_EQ(second.mind->err, rows[i].stands_by ? ERR_OK : ERR_BUSY);
		CHECK_EQ(stream_of(&first)->standbys_count, rows[i].stands_by);
		CHECK_EQ(first.mind->replaced, 0);
		end();
		settings = NULL;
	}
}

TEST(so_many_stand_by_and_the_silent_make_room)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), others[STREAM_STANDBYS_MAX], last, patient;

	publish(&first);
	send_packets(&first, 1);
	for (int i = 0; i < STREAM_STANDBYS_MAX; i++) {
		others[i] = person_in(i % 2 ? WORKER : OTHER);
		stand_by(&others[i]);
		send_packets(&others[i], 1);
	}
	last = person_in(WORKER);
	publish_beside(&last, NAME_STANDBY_YES, "");
	CHECK_EQ(last.mind->err, ERR_BUSY);
	for (int ms = 0; ms < SILENT_MS; ms += 20) {
		send_packets_from(&first, 1, 1, 2);
		send_packets_from(&others[1], 1, 1, 2);
	}
	patient = person_in(WORKER);
	stand_by(&patient);
	CHECK_EQ(others[0].mind->replaced, 1);
	CHECK_EQ(others[1].mind->replaced + others[2].mind->replaced, 0);
	CHECK_EQ(stream_of(&first)->standbys_count, STREAM_STANDBYS_MAX);
	CHECK_EQ(stream_of(&first)->switches, 0);
	end();
}

TEST(one_that_stands_by_may_leave_or_come_back)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), one = person_in(OTHER), again = person_in(WORKER),
		      dies = person_in(OTHER);

	publish(&first);
	send_packets(&first, 1);
	stand_by(&one);
	publish_beside(&again, NAME_STANDBY_UNSAID, one.mind->answer.resume);
	CHECK(again.mind->stands_by);
	CHECK_EQ(one.mind->replaced, 1);
	CHECK_EQ(stream_of(&first)->standbys_count, 1);
	stand_by(&dies);
	CHECK_EQ(stream_of(&first)->standbys_count, 2);
	actor_stop(actor_of(&dies), ERR_CLOSED);
	actor_send(actor_of(&again), again.mind->answer.stream, unpublish, {});
	run_ms(20);
	CHECK_EQ(stream_of(&first)->standbys_count, 0);
	CHECK(!addr_is_nobody(stream_of(&first)->source));
	end();
}

/* ---- switching --------------------------------------------------------------------------------- */

TEST(what_stands_by_is_not_read)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), second = person_in(OTHER),
		      viewer = person_in(WORKER);

	publish(&first);
	send_packets(&first, 1);
	subscribe(&viewer, "live/a", 0);
	stand_by(&second);
	send_both(&first, &second, 100, true);
	CHECK_EQ(log_read_by(&viewer)->ready, 102);
	CHECK_EQ(stream_of(&first)->dropped_standby, 100);
	CHECK_EQ(stream_of(&first)->switches, 0);
	CHECK_EQ(second.mind->keyframes, 0);
	check_one_line(&viewer);
	end();
}

/* Row: where both are; the one that stands by is asked for a keyframe when it is needed, and read
 * from it on. */
TEST(a_silent_source_gives_way_at_a_keyframe)
{
	static const int places[][2] = {
		{WORKER, WORKER},
		  {WORKER, OTHER },
		   {OTHER,  WORKER},
		    {OTHER,  OTHER }
	  };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		begin(2000, 4);
		struct person first = person_in(places[i][0]), second = person_in(places[i][1]);
		struct person near = person_in(WORKER), far = person_in(OTHER);

		publish(&first);
		send_packets(&first, 1);
		subscribe(&near, "live/a", 0);
		subscribe(&far, "live/a", 0);
		stand_by(&second);
		send_both(&first, &second, 10, false);
		uint64_t read = log_read_by(&near)->ready;
		const struct stream_state *st = state_of(places[i][0], first.mind->answer.stream);

		near.mind->tracks = far.mind->tracks = 0;
		/* (the last packet of the first was 10 ms before that of the second) */
		send_packets_from(&second, 1, STANDBY_SILENT_MS / FRAME_MS - 3, 1000);
		CHECK_EQ(second.mind->keyframes, 0);
		send_packets_from(&second, 1, 5, 1000);
		CHECK_EQ(second.mind->keyframes, 1);
		CHECK_EQ(st->switches, 0); /* the last picture stands until there is another */
		send_packets_from(&second, 0, 5, 1000);
		CHECK_EQ(st->switches, 1);
		CHECK_GE(st->switched_after_ms, STANDBY_SILENT_MS);
		CHECK_LE(st->switched_after_ms, STANDBY_SILENT_MS + 6 * FRAME_MS);
		CHECK_EQ(log_read_by(&near)->ready, read + 5);
		CHECK_EQ(log_read_by(&far)->ready, log_read_by(&far)->next);
		CHECK(!second.mind->stands_by && first.mind->stands_by);
		CHECK_EQ(second.mind->roles + first.mind->roles, 2);
		CHECK_EQ(near.mind->tracks + far.mind->tracks, 2); /* one each */
		CHECK_EQ(near.mind->downs + far.mind->downs + first.mind->replaced, 0);
		check_one_line(&near);
		check_one_line(&far);
		end();
	}
}

TEST(a_source_that_goes_on_in_time_stays)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), second = person_in(WORKER);

	publish(&first);
	stand_by(&second);
	for (int i = 0; i < 5; i++) {
		send_packets_from(&first, i, 1, 5);
		send_packets_from(&second, 0, STANDBY_SILENT_MS / FRAME_MS - 2, 1);
	}
	CHECK_EQ(stream_of(&first)->switches, 0);
	/* too late, but before a keyframe of the other one */
	send_packets_from(&second, 1, 20, 100);
	send_packets_from(&first, 1, 1, 100);
	send_packets_from(&second, 0, 1, 100);
	CHECK_EQ(stream_of(&first)->switches, 0);
	end();
}

/* The worker stands still for longer than a source may be silent: what both have sent meanwhile is read
 * now, that of the one that stands by first. Then the source ends in truth. */
TEST(time_in_which_nobody_listened_is_no_silence)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), second = person_in(WORKER);

	publish(&first);
	stand_by(&second);
	send_both(&first, &second, 20, true);
	now_us += (STANDBY_SILENT_MS + 100) * STEP_US;
	runtime_tick(rt[WORKER]);
	send_packets_from(&second, 0, 10, 1);
	CHECK_EQ(stream_of(&first)->switches, 0);
	send_both(&first, &second, 20, true);
	CHECK_EQ(stream_of(&first)->switches, 0);
	send_packets_from(&second, 0, STANDBY_SILENT_MS / FRAME_MS + 5, 1);
	CHECK_EQ(stream_of(&first)->switches, 1);
	end();
}

/* The first comes back as it went, or as a new session: it stands by, and takes over only when it is
 * needed. */
TEST(who_was_relieved_stands_by_and_nothing_flaps)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), second = person_in(OTHER),
		      again = person_in(OTHER);

	publish(&first);
	send_packets(&first, 1);
	stand_by(&second);
	send_packets_from(&second, 1, STANDBY_SILENT_MS / FRAME_MS + 2, 1000);
	send_packets_from(&second, 0, 1, 1);
	CHECK(first.mind->stands_by);
	const struct stream_state *st = stream_of(&first);

	send_both(&second, &first, 200, true);
	CHECK_EQ(st->switches, 1);
	publish_beside(&again, NAME_STANDBY_UNSAID, first.mind->answer.resume);
	CHECK(again.mind->stands_by);
	CHECK_EQ(first.mind->replaced, 1);
	CHECK_EQ(st->standbys_count, 1);
	send_both(&second, &again, 100, true);
	CHECK_EQ(st->switches, 1);
	actor_stop(actor_of(&second), ERR_CLOSED);
	run_ms(20);
	CHECK_EQ(st->switches, 2);
	CHECK(!again.mind->stands_by);
	CHECK_EQ(st->standbys_count, 0);
	end();
}

/* Row: how the source ends. */
TEST(the_end_of_a_source_is_not_waited_for)
{
	for (int politely = 0; politely < 2; politely++) {
		begin(2000, 4);
		struct person first = person_in(WORKER), second = person_in(OTHER),
			      viewer = person_in(WORKER);

		publish(&first);
		send_packets(&first, 5);
		subscribe(&viewer, "live/a", 0);
		stand_by(&second);
		if (politely)
			actor_send(actor_of(&first), first.mind->answer.stream, unpublish, {});
		else
			actor_stop(actor_of(&first), ERR_CLOSED);
		run_ms(20);
		CHECK(!second.mind->stands_by);
		CHECK_EQ(second.mind->keyframes, 1); /* asked for at once */
		CHECK(viewer.mind->last_tracks.live);
		send_packets(&second, 5);
		CHECK_EQ(log_read_by(&viewer)->ready, 11);
		CHECK_EQ(stream_of(&second)->switches, 1);
		check_one_line(&viewer);
		end();
	}
}

/* One with another codec, told of later as by RTMP. */
TEST(one_that_stands_by_brings_tracks_of_its_own)
{
	static const struct media_track vp8 = {
		.id = 2, .kind = MEDIA_VIDEO, .codec = MEDIA_VP8, .clock_rate = 90000};

	begin(2000, 4);
	struct person first = person_in(WORKER), second = person_in(WORKER),
		      viewer = person_in(OTHER);

	publish(&first);
	send_packets(&first, 1);
	subscribe(&viewer, "live/a", 0);
	stand_by(&second);
	change_tracks(&second, &vp8);
	CHECK_EQ(viewer.mind->last_tracks.tracks_count, 2);
	actor_stop(actor_of(&first), ERR_CLOSED);
	run_ms(20);
	CHECK_EQ(viewer.mind->last_tracks.tracks_count, 1);
	CHECK_EQ(viewer.mind->last_tracks.tracks[0].codec, MEDIA_VP8);
	CHECK_EQ(viewer.mind->downs, 0);
	end();
}

/* Sound alone has no keyframe to wait for. */
TEST(sound_that_stands_by_takes_over_with_any_packet)
{
	static const struct media_track opus = {.id = 0,
		.kind = MEDIA_AUDIO,
		.codec = MEDIA_OPUS,
		.channels = 2,
		.clock_rate = 48000};

	begin(2000, 4);
	struct person first = person_in(WORKER), second = person_in(WORKER);

	publish(&first);
	send_packets(&first, 1);
	stand_by(&second);
	change_tracks(&second, &opus);
	send_packets_from(&second, 1, STANDBY_SILENT_MS / FRAME_MS + 1, 1000);
	CHECK_EQ(stream_of(&first)->switches, 1);
	end();
}

/* Another owner has the name: whoever stood by is sent away, and finds it by asking anew. */
TEST(who_stands_by_is_sent_away_with_the_source)
{
	begin(2000, 4);
	struct person first = person_in(WORKER), second = person_in(WORKER),
		      other = person_in(OTHER);

	publish(&first);
	stand_by(&second);
	memset(&names[row_of("stream/live/a")], 0, sizeof(names[0]));
	publish(&other);
	CHECK_EQ(other.mind->published, 1);
	struct actor *office =
		runtime_find(rt[CONTROL], (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_DIRECTORY);

	actor_send(office, first.mind->answer.stream, name_lost,
		{.epoch = other.mind->answer.epoch, .owner = other.mind->answer.stream});
	run_ms(20);
	CHECK_EQ(first.mind->replaced, 1);
	CHECK_EQ(second.mind->replaced, 1);
	CHECK_EQ(stream_of(&first)->standbys_count, 0);
	end();
}

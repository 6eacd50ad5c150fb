/* SPDX-License-Identifier: Apache-2.0
 *
 * The RTMP office and its sessions in the real kernel: one worker under virtual time, a client made
 * of bytes, and in place of the media office an actor that grants every name, keeps what it gets
 * and has a log to play. The muxer is the real one.
 */
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/rtmp/rtmp_reply.h"
#include "actors/rtmp/rtmp_server.h"
#include "tests/rtmp_talk.h"
#include "tests/unit/sample_log.h"
#include "tests/unit/tcp_worker.h"

enum {
	HEARD_MAX = 512,
	SLOTS = 64,   /* packets of the arena; publisher … */
	PLAYED = 600, /* … and player */
};

/* ---- the stream ------------------------------------------------------------------------------ */

static struct {
	bool busy;	 /* answers BUSY */
	unsigned deaths; /* so many times it dies with the question */
	bool hold_done;	 /* does not answer tracks_changed until told */
	bool keep;	 /* holds every packet */
	struct asker held;
	struct addr publisher;
	unsigned publishes, unpublishes, tracks_told, packets_before_tracks;
	struct msg_tracks_changed tracks;
	struct media_header heard[HEARD_MAX];
	size_t heard_count;
	/* to be played */
	enum err subscribe; /* refused with this */
	struct slot_ref log;
	struct media_track track;
	struct addr muxer;
	unsigned unsubscribes;
} stream;

/* Its state is of no interest: any schema does. */
struct fake {
	struct rtmp_office_state st;
};

ON(fake, publish)
{
	stream.publishes++;
	if (stream.deaths && stream.deaths--)
		return ERR_DEAD;
	if (stream.busy)
		return ERR_BUSY;
	stream.publisher = mail->from;
	return actor_reply(self, published,
		{.stream = actor_addr(self), .epoch = 7, .resume = "come-back-with-this"});
}

ON(fake, tracks_changed)
{
	stream.tracks_told++;
	stream.tracks = *m;
	stream.held = actor_asker(self);
	return stream.hold_done ? ERR_OK : actor_reply(self, done, {});
}

ON(fake, unpublish)
{
	stream.unpublishes++;
	return ERR_OK;
}

ON(fake, subscribe)
{
	struct msg_subscribed answer = {.stream = actor_addr(self),
		.live = true,
		.start = 1,
		.log_index = stream.log.index,
		.log_generation = stream.log.generation,
		.tracks_count = 1,
		.tracks = {stream.track}};

	if (stream.subscribe)
		return stream.subscribe;
	return actor_answer_mail(
		self, actor_asker(self), MSG_subscribed, &schema_subscribed, &answer);
}

ON(fake, unsubscribe)
{
	stream.unsubscribes++;
	return ERR_OK;
}

ON(fake, keyframe_request)
{
	return ERR_OK;
}

/* In the HTTP office's place. */
ON(fake, flv_open)
{
	struct flv_mux_args args = {.name = m->stream_name};

	if (!runtime_find(rt, stream.muxer.id))
		CHECK_OK(actor_spawn(rt, self, &flv_mux_actor, &args, &stream.muxer));
	return actor_forward(self, stream.muxer);
}

static enum err fake_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static void fake_media(struct actor *self, void *data, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	(void)data;
	CHECK(addr_equal(from, stream.publisher));
	for (size_t i = 0; i < count && stream.heard_count < HEARD_MAX; i++) {
		const struct packet *packet = arena_packet(actor_arena(self), packets[i]);
		bool known = false;

		for (int t = 0; t < stream.tracks.tracks_count; t++)
			known |= stream.tracks.tracks[t].id == packet->header.track;
		stream.packets_before_tracks += !known;
		stream.heard[stream.heard_count++] = packet->header;
		if (stream.keep)
			arena_hold(actor_arena(self), ARENA_PACKET, packets[i]);
	}
}

static const struct handler fake_handlers[] = {
	HANDLER(fake, publish, 0),
	HANDLER(fake, tracks_changed, 0),
	HANDLER(fake, unpublish, 0),
	HANDLER(fake, subscribe, 0),
	HANDLER(fake, unsubscribe, 0),
	HANDLER(fake, keyframe_request, 0),
	HANDLER(fake, flv_open, 0),
};

static const struct actor_type fake_actor = {
	.name = "fake",
	.size = sizeof(struct fake),
	.state = &schema_rtmp_office_state,
	HANDLER_TABLE(fake_handlers),
	.init = fake_init,
	.media = fake_media,
};

/* ---- one worker ------------------------------------------------------------------------------ */

static struct sample sample;

static const struct actor_type *const types[] = {
	&rtmp_office_actor, &rtmp_session_actor, &flv_mux_actor, NULL};

static void begin_with(uint32_t packets)
{
	struct arena_layout layout = {
		.count = {packets, 2, 1, 3}
	   };

	memset(&stream, 0, sizeof(stream));
	worker_begin(&layout, NET_RTMP, types);
	CHECK_OK(actor_spawn_office(rt, OFFICE_MEDIA, &fake_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_RTMP, &rtmp_office_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_HTTP, &fake_actor, NULL));
	sample_load(&sample, "h264_plain");
}

static void begin(void)
{
	begin_with(SLOTS);
}

static void end(void)
{
	struct arena_usage usage;

	runtime_destroy(&rt);
	media_log_destroy(arena, stream.log);
	arena_usage(arena, &usage);
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		CHECK(i == ARENA_PACKET ? stream.keep || !usage.used[i] : !usage.used[i]);
	worker_end();
}

/* Until the client's bytes are used up or nobody wants them. */
static void deliver(void)
{
	for (int i = 0; i < WIRE_SIZE && wire_at < wire_end && !closed; i++) {
		size_t before = wire_at;

		turn(wanted & NET_READABLE ? NET_READABLE : 0);
		if (wire_at == before && !(wanted & NET_READABLE))
			break;
	}
	turn(0);
}

static const struct rtmp_session_state *session_state(void)
{
	struct actor *actor = runtime_find(rt, socket_owner);
	struct actor_facts facts;

	CHECK(actor != NULL);
	runtime_facts(actor, &facts);
	return facts.state;
}

static bool session_lives(void)
{
	return runtime_find(rt, socket_owner) != NULL;
}

static bool was_told(const char *text)
{
	return memmem(answers, answer_size, text, strlen(text)) != NULL;
}

/* ---- the client ------------------------------------------------------------------------------ */

static struct writer wire_writer(void)
{
	return writer_of(wire + wire_end, sizeof(wire) - wire_end);
}

static void put_message(uint8_t type, uint32_t time_ms, const struct iovec *pieces, size_t count)
{
	struct writer w = wire_writer();

	rtmp_talk_message(&w, type, time_ms, pieces, count);
	wire_end += writer_used(&w);
}

static void put_command(const char *name, const char *argument)
{
	struct writer w = wire_writer();

	rtmp_talk_command(&w, name, NULL, argument);
	wire_end += writer_used(&w);
}

/* Connects, and sends everything up to a publish or play. */
static void ask(const char *command, const char *key)
{
	struct writer w = wire_writer();
	const struct net_addr peer = {
		.family = 4, .transport = NET_TCP, .port = 5, .ip = {127, 0, 0, 1}
	  };

	runtime_net_accepted(
		rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_RTMP, LISTENER, SOCKET, &peer);
	wanted = NET_READABLE;
	rtmp_talk_ask(&w, command, key);
	wire_end += writer_used(&w);
}

static void put_video(enum flv_packet packet, const uint8_t *data, size_t size, uint32_t time_ms)
{
	uint8_t header[FLV_BODY_HEADER_MAX];
	struct flv_video video = {.codec = MEDIA_H264,
		.packet = packet,
		.keyframe = packet == FLV_SEQUENCE_START || time_ms == 0};
	size_t header_size = flv_video_header(&video, header);
	struct iovec pieces[] = {
		{header,			 header_size},
		       {(void *)(uintptr_t)data, size	     }
	      };

	put_message(CHUNK_VIDEO, time_ms, pieces, 2);
}

static void put_pictures(int from, int to)
{
	for (int i = from; i < to; i++)
		put_video(
			FLV_FRAMES, sample.frames[i].data, sample.frames[i].size, (uint32_t)i * 40);
}

static unsigned frames_heard(void)
{
	unsigned frames = 0;

	for (size_t i = 0; i < stream.heard_count; i++)
		frames += !!(stream.heard[i].flags & MEDIA_FRAME_END);
	return frames;
}

/* ---- tests ----------------------------------------------------------------------------------- */

TEST(published_pictures_reach_the_stream)
{
	static const size_t pieces[] = {SIZE_MAX, 1, 7, 1000}; /* a read gives at most */

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		begin();
		read_most = pieces[i];
		ask("publish", "demo");
		put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
		put_pictures(0, 6);
		deliver();
		CHECK(was_told("NetStream.Publish.Start"));
		CHECK(was_told("come-back-with-this"));
		CHECK_EQ(stream.tracks_told, 1);
		CHECK_EQ(stream.packets_before_tracks, 0);
		CHECK_EQ(frames_heard(), 6);
		CHECK_EQ(stream.heard[0].track_seq, 1);
		CHECK(stream.heard[0].flags & MEDIA_KEYFRAME);
		run_ms(1000);
		CHECK_STR(session_state()->stream_name, "live/demo");
		CHECK_EQ(session_state()->video_frames, 6);
		CHECK_EQ(session_state()->tracks[0].codec, MEDIA_H264);
		put_command("deleteStream", NULL);
		hung_up = true;
		deliver();
		turn(NET_READABLE | NET_CLOSED);
		CHECK(!session_lives() && closed);
		CHECK_EQ(stream.unpublishes, 1);
		end();
	}
}

TEST(media_waits_until_the_stream_knows_its_tracks)
{
	begin();
	stream.hold_done = true;
	ask("publish", "demo");
	put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	put_pictures(0, 3);
	deliver();
	CHECK_EQ(stream.tracks_told, 1);
	CHECK_EQ(stream.heard_count, 0);
	CHECK_EQ(wanted & NET_READABLE, 0); /* the client waits too */
	run_ms(4000);			    /* no answer: it cannot go on */
	CHECK(!session_lives() && closed);
	CHECK(was_told("NetStream.Publish.Denied"));
	end();
}

TEST(refusals_say_why_and_close)
{
	static const struct {
		const char *command, *key, *told;
		bool busy;
		enum err subscribe;
	} rows[] = {
		{"publish", "demo", "NetStream.Publish.BadName",	 true,  ERR_OK	     },
		{"play",	 "demo", "NetStream.Play.StreamNotFound", false, ERR_NOT_FOUND},
		{"play",	 "demo", "NetStream.Play.Failed",	  false, ERR_OVERLOAD },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		stream.busy = rows[i].busy;
		stream.subscribe = rows[i].subscribe;
		ask(rows[i].command, rows[i].key);
		deliver();
		CHECK(was_told(rows[i].told));
		CHECK(!session_lives() && closed);
		CHECK_EQ(stream.heard_count, 0);
		end();
	}
}

/* Who was asked dies with the question: a client that is refused does not come back by itself. */
TEST(a_publisher_is_asked_for_until_somebody_answers)
{
	static const struct {
		unsigned deaths, publishes;
		bool busy, leaves;
		const char *told; /* NULL: nothing */
	} rows[] = {
		{0,	    1,  false, false, "NetStream.Publish.Start"  },
		{3,	    4,  false, false, "NetStream.Publish.Start"  },
		{2,	    3,  true,  false, "NetStream.Publish.BadName"},
		{10000, 80, false, false, "NetStream.Publish.Failed" }, /* each 100 ms for 8 s */
		{10000, 1,  false, true,	NULL			    },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		stream.deaths = rows[i].deaths;
		stream.busy = rows[i].busy;
		ask("publish", "demo");
		put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
		put_pictures(0, 2);
		deliver();
		if (rows[i].deaths) { /* what follows rests until it is answered */
			CHECK(!was_told("NetStream.Publish"));
			CHECK_EQ(stream.tracks_told, 0);
			CHECK(!(wanted & NET_READABLE));
		}
		if (rows[i].leaves)
			turn(NET_CLOSED);
		for (int ms = 0; ms < 9000; ms += 20)
			run_ms(20);
		deliver();
		CHECK_EQ(stream.publishes, rows[i].publishes);
		if (rows[i].told)
			CHECK(was_told(rows[i].told));
		bool publishes = rows[i].told && strstr(rows[i].told, "Start");

		CHECK_EQ(session_lives(), publishes);
		CHECK_EQ(frames_heard(), publishes ? 2 : 0);
		end();
	}
}

TEST(a_worker_that_drains_tells_its_publishers)
{
	begin();
	ask("publish", "demo");
	deliver();
	CHECK(session_lives());
	runtime_drain(rt, 1000);
	turn(0);
	CHECK(was_told("The server is about to stop."));
	CHECK(!session_lives() && closed);
	CHECK_EQ(stream.unpublishes, 1);
	CHECK(runtime_is_drained(rt));
	end();
}

TEST(a_client_that_stops_talking_is_closed)
{
	begin();
	ask("publish", "demo");
	wire_end = 100; /* of the handshake */
	deliver();
	run_ms(RTMP_HANDSHAKE_MS - 1);
	CHECK(session_lives());
	run_ms(2);
	CHECK(!session_lives() && closed);
	end();
	begin();
	ask("publish", "demo");
	deliver();
	run_ms(RTMP_SILENCE_MS - 1);
	CHECK(session_lives());
	run_ms(2);
	CHECK(!session_lives() && closed);
	CHECK_EQ(stream.unpublishes, 1);
	end();
}

TEST(a_client_that_does_not_listen_stops_itself)
{
	static const uint8_t ping[] = {0, 6, 0, 0, 0, 1};

	begin();
	ask("publish", "demo");
	deliver();
	write_room = 0;
	for (int i = 0; i < 20000; i++)
		put_message(CHUNK_USER_CONTROL, 0,
			&(struct iovec){(void *)(uintptr_t)ping, sizeof(ping)}, 1);
	deliver();
	CHECK(wire_at < wire_end);
	CHECK_EQ(wanted, NET_WRITABLE);
	write_room = SIZE_MAX;
	turn(NET_WRITABLE);
	deliver();
	CHECK_EQ(wire_at, wire_end);
	CHECK(session_lives());
	end();
}

TEST(an_empty_pool_leaves_a_gap_in_the_numbers)
{
	begin();
	stream.keep = true;
	ask("publish", "demo");
	put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	put_pictures(0, 1);
	for (int i = 0; i < 2 * SLOTS; i++)
		put_video(FLV_FRAMES, sample.frames[1].data, sample.frames[1].size,
			(uint32_t)(i + 1) * 40);
	deliver();
	run_ms(1000);
	CHECK_EQ(stream.heard_count, SLOTS);
	CHECK(session_state()->dropped_no_slot > 0);
	CHECK_EQ(session_state()->video_packets, SLOTS + session_state()->dropped_no_slot);
	end();
}

static size_t encode(uint64_t id, uint8_t *bytes, size_t size)
{
	struct writer w = writer_of(bytes, size);

	CHECK_OK(runtime_encode_actor(runtime_find(rt, id), &w));
	return writer_used(&w);
}

/* The slot outlives its process; the socket does not yet. */
TEST(a_successor_ends_the_session_in_order)
{
	static uint8_t before[8192], after[8192];

	begin();
	ask("publish", "demo");
	put_video(FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	put_pictures(0, 2);
	deliver();
	run_ms(1000);
	uint64_t session = socket_owner;
	size_t size = encode(session, before, sizeof(before));
	/* the process is gone without a word: its memory is all that is left */
	void *copy = aligned_alloc(4096, memory_size);
	struct arena *old_arena = arena;

	memcpy(copy, memory, memory_size);
	runtime_destroy(&rt);
	arena_detach(&old_arena);
	free(memory);
	memory = copy;
	closed = false;
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	start_runtime(2, types);
	arena_recount_begin(arena);
	CHECK_OK(runtime_restore_actor(rt, &(struct reader){before, before + size, false}));
	CHECK_EQ(encode(session, after, sizeof(after)), size);
	CHECK_MEM(before, after, size);
	arena_recount_end(arena);
	runtime_restore_end(rt);
	CHECK(session_lives());
	CHECK_EQ(session_state()->video_frames, 2);
	run_ms(1);
	CHECK(!session_lives());
	CHECK(!closed); /* nothing that has the old number is touched */
	end();
}

TEST(a_slot_written_by_somebody_else_is_refused)
{
	static uint8_t bytes[8192];

	begin();
	ask("publish", "demo");
	deliver();
	size_t size = encode(socket_owner, bytes, sizeof(bytes));
	const struct rtmp_session_state *st = session_state();
	struct slot_ref ref = {st->slot_index, st->slot_generation};
	uint8_t *slot = arena_get(arena, ARENA_BUFFER, ref);
	void *copy = aligned_alloc(4096, memory_size);

	memset(slot, 0xff, 4096);
	memcpy(copy, memory, memory_size);
	memset(slot, 0, 4096); /* so that the old one can end */
	runtime_destroy(&rt);
	arena_detach(&arena);
	free(memory);
	memory = copy;
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	start_runtime(2, types);
	arena_recount_begin(arena);
	CHECK(runtime_restore_actor(rt, &(struct reader){bytes, bytes + size, false}) != ERR_OK);
	arena_recount_end(arena);
	runtime_restore_end(rt);
	turn(0);
	CHECK(!session_lives());
	end();
}

TEST(connections_beyond_the_slots_are_closed_at_once)
{
	begin();
	ask("publish", "one");
	ask("publish", "two");
	ask("publish", "three");
	CHECK(!closed);
	ask("publish", "four");
	CHECK(closed);
	end();
}

/* ---- playing --------------------------------------------------------------------------------- */

static void begin_playing(void)
{
	begin_with(PLAYED);
	stream.log = sample_log_create(arena);
	stream.track = SAMPLE_LOG_TRACK;
	sample_log_grow(arena, stream.log, 0, 12, 0);
}

static void grow(int from, int to)
{
	sample_log_grow(arena, stream.log, from, to, 0);
	actor_kick(rt, stream.muxer);
	run_ms(100);
}

struct played {
	unsigned configurations, pictures, keyframes, scripts, pongs;
	uint32_t first_ms, last_ms;
};

/* Every message that the player was sent must be whole and readable, whatever came between. */
static struct played read_answers(void)
{
	static struct chunk_reader chunks;
	static uint8_t partial[1 << 20];
	struct reader in = reader_of(answers, answer_size);
	struct chunk_message message;
	struct played played = {.first_ms = UINT32_MAX};
	enum err err;

	read_bytes(&in, HANDSHAKE_ANSWER_SIZE);
	chunk_reader_init(&chunks, sizeof(partial) / 2);
	while ((err = chunk_read(&chunks, partial, sizeof(partial), &in, &message)) == ERR_OK) {
		struct flv_video video;

		played.scripts += message.type == CHUNK_DATA_AMF0 &&
				  memmem(message.payload, message.size, "onMetaData", 10);
		played.pongs += message.type == CHUNK_USER_CONTROL && message.payload[1] == 7;
		if (message.type != CHUNK_VIDEO)
			continue;
		CHECK_EQ(message.stream, 1);
		CHECK_OK(flv_video_parse(message.payload, message.size, &video));
		played.configurations += video.packet == FLV_SEQUENCE_START;
		if (video.packet != FLV_FRAMES)
			continue;
		CHECK(played.configurations && (played.pictures || video.keyframe));
		if (!played.pictures)
			played.first_ms = message.time_ms;
		played.last_ms = message.time_ms;
		played.pictures++;
		played.keyframes += video.keyframe;
	}
	CHECK_EQ(err, ERR_AGAIN);
	return played;
}

TEST(a_player_gets_the_last_pictures_and_ends_with_the_stream)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	CHECK(was_told("NetStream.Play.Reset") && was_told("NetStream.Play.Start"));
	struct played played = read_answers();

	CHECK_EQ(played.scripts, 1);
	CHECK_EQ(played.configurations, 1);
	CHECK_EQ(played.pictures, 6); /* the last GOP */
	CHECK_EQ(played.first_ms, 0);
	grow(12, 20);
	CHECK_EQ(read_answers().pictures, 14);
	run_ms(1000);
	CHECK(session_state()->log_generation && session_state()->bytes_out > 1000);
	CHECK_STR(session_state()->stream_name, "live/demo");
	actor_stop(runtime_find(rt, stream.muxer.id), ERR_OK);
	turn(0);
	CHECK(was_told("NetStream.Play.UnpublishNotify") && was_told("The stream has ended."));
	CHECK(!session_lives() && closed);
	end();
}

TEST(a_player_that_stops_may_play_again)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	put_command("deleteStream", NULL);
	deliver();
	CHECK(was_told("NetStream.Play.Stop"));
	CHECK_EQ(session_state()->log_generation, 0);
	unsigned before = read_answers().pictures;

	grow(12, 14);
	CHECK_EQ(read_answers().pictures, before);
	put_command("play", "demo");
	deliver();
	run_ms(100);
	CHECK_EQ(read_answers().pictures, before + 2);
	hung_up = true;
	turn(NET_READABLE | NET_CLOSED);
	CHECK(!session_lives() && closed);
	run_ms(6000); /* nobody watches: the muxer ends */
	CHECK_EQ(stream.unsubscribes, 1);
	end();
}

/* Answers wait for the end of a message, however small the pieces that the player takes. */
TEST(answers_and_tags_do_not_mix)
{
	static const uint8_t ping[] = {0, 6, 0, 0, 0, 1};

	for (size_t room = 50; room < 1500; room += 150) {
		begin_playing();
		ask("play", "demo");
		deliver();
		unsigned pings = 0;

		for (int i = 12; i < 120; i++) {
			write_room = room;
			put_message(CHUNK_USER_CONTROL, 0,
				&(struct iovec){(void *)(uintptr_t)ping, sizeof(ping)}, 1);
			pings++;
			turn(NET_READABLE | NET_WRITABLE);
			grow(i, i + 1);
		}
		write_room = SIZE_MAX;
		for (int i = 0; i < 4; i++)
			turn(NET_READABLE | NET_WRITABLE);
		struct played played = read_answers();

		CHECK_EQ(played.pongs, pings);
		CHECK_GE(played.pictures, 2);
		end();
	}
}

TEST(a_player_that_takes_nothing_is_let_go)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	write_room = 10;
	grow(12, 14);
	CHECK_EQ(wanted & NET_WRITABLE, NET_WRITABLE);
	run_ms(29000);
	CHECK(session_lives());
	run_ms(1500);
	CHECK(!session_lives() && closed);
	end();
}

TEST(a_pause_ends_at_a_keyframe_not_too_far_back)
{
	begin_playing();
	ask("play", "demo");
	deliver();
	run_ms(100);
	unsigned before = read_answers().pictures;

	put_command("pause", NULL);
	deliver();
	CHECK(was_told("NetStream.Pause.Notify"));
	for (int i = 12; i < 112; i++)
		grow(i, i + 1);
	CHECK_EQ(read_answers().pictures, before);
	put_command("pause", NULL);
	deliver();
	run_ms(100);
	CHECK(was_told("NetStream.Unpause.Notify"));
	struct played played = read_answers();

	CHECK_EQ(played.configurations, 2);
	CHECK_GE(played.pictures, before + 1);
	CHECK_LE(played.pictures, before + 50);
	CHECK_EQ(played.last_ms, (111 - 6) * 40);
	end();
}

TEST(video_that_a_player_has_not_announced_is_named)
{
	static const struct {
		enum media_codec codec;
		const char *told;
	} rows[] = {
		{MEDIA_VP8,  "FLV cannot carry VP8"},
		{MEDIA_H265, "The video is H265"	},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_playing();
		stream.track.codec = rows[i].codec;
		ask("play", "demo");
		deliver();
		run_ms(100);
		CHECK(was_told("NetStream.Play.Failed"));
		CHECK(was_told(rows[i].told));
		CHECK(!session_lives() && closed);
		end();
	}
}

TEST(a_player_of_a_worker_that_drains_gets_whole_messages)
{
	for (size_t room = 3500; room < 9000; room += 250) {
		begin_playing();
		write_room = room;
		ask("play", "demo");
		deliver();
		run_ms(100);
		runtime_drain(rt, 1000);
		run_ms(1);
		write_room = SIZE_MAX;
		turn(NET_WRITABLE);
		CHECK(!session_lives() && closed);
		read_answers();
		CHECK(was_told("The server is about to stop."));
		CHECK(runtime_is_drained(rt));
		end();
	}
}

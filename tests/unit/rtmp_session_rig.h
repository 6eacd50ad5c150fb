/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of RTMP sessions: the office and its sessions in the real kernel, one worker under virtual
 * time, a client made of bytes, and in place of the media office an actor that grants every name, keeps
 * what it gets and has a log to play. The muxer is the real one.
 */
#ifndef MILLRACE_TESTS_RTMP_SESSION_RIG_H
#define MILLRACE_TESTS_RTMP_SESSION_RIG_H

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

static void end(void)
{
	struct arena_usage usage;

	runtime_destroy(&rt);
	media_log_destroy(arena, stream.log);
	arena_commit(arena); /* what was freed in the last turn */
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

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The transcoder and its office with the real stream and the real kernel, for rows: a control process
 * (a directory that grants everything), a worker and a helper as three runtimes of this program under
 * virtual time, joined by a bus that loses nothing. A person is a viewer, or a publisher of sound.
 */
#ifndef MILLRACE_TRANSCODE_NODE_H
#define MILLRACE_TRANSCODE_NODE_H

#include "actors/stream/stream_actor.h"
#include "actors/transcode/transcode_actor.h"
#include "actors/transcode/transcode_engine.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/unit/successor.h"

#include <math.h>
#include <stdlib.h>

enum {
	CONTROL,
	WORKER,
	HELPER,
	HOSTS,
	STEP_US = 1000,
	FRAMES_MAX = 4096,
	HEARD_MAX = 4096,
	SOURCE_TRACK = 1,
	PACKETS = 2048, /* of an arena */
};

#define WALL_BASE INT64_C(1700000000000000)

/* ---- three processes ------------------------------------------------------------------------- */

struct frame {
	uint32_t to;
	size_t size;
	uint8_t *bytes;
};

struct host {
	struct runtime *rt;
	struct arena *arena;
	void *memory;
	struct runtime_peer_info info;
};

static int64_t now_us;
static struct host hosts[HOSTS];
static struct frame frames[FRAMES_MAX];
static size_t frame_count;
static struct log quiet;
static uint32_t incarnations;

static int64_t op_now_us(void *context)
{
	(void)context;
	return now_us;
}

static int64_t op_wall_us(void *context)
{
	(void)context;
	return WALL_BASE + now_us;
}

static void op_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 0x5a, size);
}

static enum err op_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	struct frame *frame = &frames[frame_count];
	size_t at = 0;

	(void)context;
	if (frame_count == FRAMES_MAX)
		return ERR_AGAIN;
	*frame = (struct frame){.to = process, .bytes = malloc(RUNTIME_FRAME_MAX)};
	for (size_t i = 0; i < count; i++) {
		memcpy(frame->bytes + at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	frame->size = at;
	frame_count++;
	return ERR_OK;
}

static const struct runtime_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.bus_send = op_bus_send,
};

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static const struct actor_type *const helper_types[] = {
	&transcode_office_actor, &transcoder_actor, NULL};

static void start_process(int which, uint8_t role)
{
	struct arena_layout layout = {
		.count = {PACKETS, 2, 1, 1},
		.escrow = {1,      1      },
	};
	struct host *host = &hosts[which];
	size_t size = arena_size(&layout);

	incarnations++;
	host->info = (struct runtime_peer_info){
		.process = incarnations, .block = incarnations, .role = role};
	host->memory = aligned_alloc(4096, size);
	memset(host->memory, 0, size);
	arena_format(host->memory, &layout);
	CHECK_OK(arena_attach(host->memory, size, &host->arena));
	struct runtime_options options = {.ops = &ops,
		.log = &quiet,
		.arena = host->arena,
		.node = 1,
		.block = host->info.block,
		.process = host->info.process,
		.role = role,
		.types = helper_types};

	CHECK_OK(runtime_create(&options, &host->rt));
	for (int i = 0; i < HOSTS; i++) {
		if (i == which || !hosts[i].rt)
			continue;
		CHECK_OK(runtime_peer_up(hosts[i].rt, &host->info));
		CHECK_OK(runtime_peer_up(host->rt, &hosts[i].info));
	}
}

static void free_process(struct host *host)
{
	runtime_destroy(&host->rt);
	arena_detach(&host->arena);
	free(host->memory);
	*host = (struct host){0};
}

/* As kill -9 looks to the others: nothing is said, then the process is gone. */
static void kill_process(int which)
{
	uint32_t process = hosts[which].info.process;

	free_process(&hosts[which]);
	for (size_t i = 0; i < frame_count; i++)
		free(frames[i].bytes);
	frame_count = 0;
	for (int i = 0; i < HOSTS; i++)
		if (hosts[i].rt)
			runtime_peer_down(hosts[i].rt, process);
}

static void start_helper(void)
{
	start_process(HELPER, PROCESS_HELPER);
	CHECK_OK(actor_spawn_office(
		hosts[HELPER].rt, OFFICE_TRANSCODE, &transcode_office_actor, NULL));
}

/* One turn of all, then what they sent each other. */
static void step(void)
{
	struct frame *sent;
	size_t count;

	for (int i = 0; i < HOSTS; i++)
		if (hosts[i].rt)
			runtime_turn(hosts[i].rt);
	count = frame_count;
	sent = malloc((count + 1) * sizeof(*sent));
	memcpy(sent, frames, count * sizeof(*sent));
	frame_count = 0;
	for (size_t i = 0; i < count; i++) {
		for (int h = 0; h < HOSTS; h++)
			if (hosts[h].rt && hosts[h].info.process == sent[i].to)
				runtime_bus_frame(hosts[h].rt, sent[i].bytes, sent[i].size);
		free(sent[i].bytes);
	}
	free(sent);
	now_us += STEP_US;
}

static void run_ms(int ms)
{
	for (int i = 0; i < ms; i++)
		step();
}

/* ---- the actors around ----------------------------------------------------------------------- */

struct directory {
	struct directory_state st;
};

ON(directory, name_claim)
{
	struct msg_name_granted granted = {.epoch = ++s->st.last_epoch};

	memcpy(granted.name, m->name, sizeof(granted.name));
	return actor_answer_mail(
		self, actor_asker(self), MSG_name_granted, &schema_name_granted, &granted);
}

static enum err plain_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static const struct handler directory_handlers[] = {HANDLER(directory, name_claim, 0)};
static const struct actor_type directory_type = {
	.name = "directory",
	.size = sizeof(struct directory),
	.state = &schema_directory_state,
	HANDLER_TABLE(directory_handlers),
	.init = plain_init,
};

/* Publisher, viewer, and whoever asks the office directly: notes what comes back. */
struct person {
	struct media_office_state st;
	unsigned published, subscribed, started;
	uint8_t failed;
	struct msg_transcode_started answer;
};

static struct heard {
	struct media_header header;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
	int64_t at_us;
} heard[HEARD_MAX];
static size_t heard_count;
static struct media_track heard_track; /* as the stream announced it */

static void note_tracks(const struct media_track *tracks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (tracks[i].id >= 4)
			heard_track = tracks[i];
}

ON(person, published)
{
	s->published++;
	return ERR_OK;
}

ON(person, subscribed)
{
	s->subscribed++;
	note_tracks(m->tracks, m->tracks_count);
	return ERR_OK;
}

ON(person, tracks)
{
	note_tracks(m->tracks, m->tracks_count);
	return ERR_OK;
}

ON(person, transcode_started)
{
	s->started++;
	s->answer = *m;
	return ERR_OK;
}

ON(person, failed)
{
	s->failed = m->err;
	return ERR_OK;
}

static void person_media(struct actor *self, void *data, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	(void)data;
	(void)from;
	for (size_t i = 0; i < count; i++) {
		const struct packet *packet = arena_packet(actor_arena(self), packets[i]);

		CHECK(packet && heard_count < HEARD_MAX);
		if (packet->header.track < 4)
			continue;
		heard[heard_count].header = packet->header;
		heard[heard_count].at_us = now_us;
		memcpy(heard[heard_count++].payload, packet->payload, packet->header.size);
	}
}

static const struct handler person_handlers[] = {
	HANDLER(person, published, 0),
	HANDLER(person, subscribed, 0),
	HANDLER(person, tracks, 0),
	HANDLER(person, transcode_started, 0),
	HANDLER(person, failed, 0),
};
static const struct actor_type person_type = {
	.name = "person",
	.size = sizeof(struct person),
	.state = &schema_media_office_state,
	HANDLER_TABLE(person_handlers),
	.init = plain_init,
	.media = person_media,
};

struct letter {
	struct addr to;
	uint16_t type;
	const struct schema *schema;
	const void *body;
};

static void ask(struct actor *self, void *data, void *context)
{
	const struct letter *l = context;

	((struct person *)data)->failed = 0;
	actor_request_mail(self, l->to, 3000, l->type, l->schema, l->body);
}

static void tell(struct addr who, struct addr to, uint16_t type, const void *body)
{
	struct letter letter = {to, type, schema_by_id(type), body};

	CHECK(actor_call(hosts[WORKER].rt, who, &person_type, ask, &letter));
}

static const void *state_of(int host, struct addr who)
{
	struct actor *actor = runtime_find(hosts[host].rt, who.id);
	struct actor_facts facts;

	CHECK(actor);
	runtime_facts(actor, &facts);
	return facts.state;
}

/* ---- a stream with sound --------------------------------------------------------------------- */

static struct addr stream, publisher, viewer;
static struct audio_encoder *encoder;
static struct media_track source;
static uint64_t source_seq;
static int64_t source_position; /* samples */
static int64_t source_began_us;
static int64_t source_age_us; /* of a frame when it is published, at most, by its capture time */

static struct addr spawn_person(void)
{
	struct addr addr;

	CHECK_OK(actor_spawn(hosts[WORKER].rt, NULL, &person_type, NULL, &addr));
	return addr;
}

static void begin(enum media_codec codec)
{
	struct msg_publish publish = {.stream_name = "live/demo", .tracks_count = 1};
	struct stream_args args = {.name = "live/demo"};
	struct log_sink sink = {.now_us = op_wall_us, .write = log_nothing};
	size_t size;

	now_us = 1000000;
	heard_count = 0;
	heard_track = (struct media_track){0};
	source_seq = 0;
	source_position = 0;
	source_age_us = 0;
	log_init(&quiet, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	start_process(CONTROL, PROCESS_CONTROL);
	start_process(WORKER, PROCESS_MEDIA);
	start_helper();
	CHECK_OK(actor_spawn_office(hosts[CONTROL].rt, OFFICE_DIRECTORY, &directory_type, NULL));
	CHECK_OK(actor_spawn(hosts[WORKER].rt, NULL, &stream_actor, &args, &stream));
	publisher = spawn_person();
	viewer = spawn_person();
	CHECK_OK(audio_encoder_create(&encoder, codec, 2, 96000));
	source = (struct media_track){.id = SOURCE_TRACK,
		.kind = MEDIA_AUDIO,
		.codec = (uint8_t)codec,
		.channels = 2,
		.clock_rate = 48000};
	const uint8_t *config = audio_encoder_config(encoder, &size);

	memcpy(source.config, config, size);
	source.config_size = (uint16_t)size;
	publish.tracks[0] = source;
	tell(publisher, stream, MSG_publish, &publish);
	run_ms(10);
	source_began_us = now_us;
}

static void end(void)
{
	for (int i = HOSTS - 1; i >= 0; i--)
		if (hosts[i].rt)
			free_process(&hosts[i]);
	for (size_t i = 0; i < frame_count; i++)
		free(frames[i].bytes);
	frame_count = 0;
	audio_encoder_destroy(&encoder);
}

static void watch(enum media_codec codec)
{
	struct msg_subscribe subscribe = {
		.stream_name = "live/demo", .feed = true, .viewer = true, .audio = (uint8_t)codec};

	tell(viewer, stream, MSG_subscribe, &subscribe);
}

struct sound {
	struct media_header header;
	const uint8_t *bytes;
};

static void publish_packet(struct actor *self, void *data, void *context)
{
	const struct sound *out = context;
	struct slot_ref ref = arena_alloc(actor_arena(self), ARENA_PACKET, 1);
	struct packet *packet = arena_packet(actor_arena(self), ref);

	(void)data;
	CHECK(packet);
	packet->header = out->header;
	memcpy(packet->payload, out->bytes, out->header.size);
	actor_media(self, stream, ref);
	arena_release(actor_arena(self), ARENA_PACKET, ref);
}

/* The next frame of a tone; a frame takes its time to come to pass. */
static void publish_frame(bool is_lost)
{
	float pcm[1024 * 2];
	uint8_t payload[AUDIO_ENCODED_MAX + 4];
	size_t frame = audio_encoder_frame_size(encoder), size, prefix = 0;
	int64_t start;

	for (size_t i = 0; i < frame * 2; i++)
		pcm[i] = (float)(0.2 * sin((double)(source_position + (int64_t)i / 2) * 0.0576));
	enum err err =
		audio_encoder_encode(encoder, pcm, source_position, payload + 4, &size, &start);

	source_position += (int64_t)frame;
	while (now_us < source_began_us + source_position * 1000000 / 48000)
		step();
	if (err)
		return;
	if (source.codec == MEDIA_AAC) { /* RFC 3640 */
		payload[0] = 0;
		payload[1] = 16;
		payload[2] = (uint8_t)(size >> 5);
		payload[3] = (uint8_t)(size << 3);
		prefix = 4;
	}
	struct sound out = {
		.header = {.track = SOURCE_TRACK,
			   .track_seq = ++source_seq,
			   .rtp_time = (uint64_t)start,
			   .decode_time = (uint64_t)start,
			   .capture_us = WALL_BASE + start * 1000000 / 48000,
			   .frame = (uint32_t)source_seq,
			   .size = (uint16_t)(size + prefix),
			   .priority = MEDIA_PRIORITY_AUDIO,
			   .flags = MEDIA_FRAME_START | MEDIA_FRAME_END},
		.bytes = payload + 4 - prefix
	     };

	if (WALL_BASE + now_us - out.header.capture_us > source_age_us)
		source_age_us = WALL_BASE + now_us - out.header.capture_us;
	if (!is_lost)
		CHECK(actor_call(hosts[WORKER].rt, publisher, &person_type, publish_packet, &out));
}

static void publish_ms(int ms)
{
	int64_t until_us = now_us + ms * INT64_C(1000);

	while (now_us < until_us)
		publish_frame(false);
}

static const struct transcode_office_state *office(void)
{
	struct addr addr = {.node = 1,
		.id = hosts[HELPER].info.block << RUNTIME_BLOCK_SHIFT | OFFICE_TRANSCODE};

	return state_of(HELPER, addr);
}

static const struct transcoder_state *transcoder(void)
{
	CHECK_EQ(office()->rows_count, 1);
	return state_of(HELPER, office()->rows[0].transcoder);
}

#endif

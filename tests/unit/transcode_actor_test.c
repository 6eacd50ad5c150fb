/* SPDX-License-Identifier: Apache-2.0
 *
 * The transcoder and its office with the real stream and the real kernel: a control process (a
 * directory that grants everything), a worker and a helper as three runtimes of this program under
 * virtual time, joined by a bus that loses nothing.
 */
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
		.count = {PACKETS, 2, 1, 1}
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

/* ---- tests ----------------------------------------------------------------------------------- */

static const struct {
	enum media_codec from, to;
	int samples;  /* of what comes out */
	int added_ms; /* most that may be added */
} directions[] = {
	{MEDIA_AAC,  MEDIA_OPUS, 960,  35},
	{MEDIA_OPUS, MEDIA_AAC,	1024, 75},
};

TEST(viewers_hear_the_other_codec_in_time)
{
	for (size_t i = 0; i < 2; i++) {
		int64_t added_us = 0;

		begin(directions[i].from);
		watch(directions[i].to);
		publish_ms(3000);
		CHECK_GE((int)heard_count, 3000 * 48 / directions[i].samples - 8);
		CHECK_EQ(heard_track.codec, directions[i].to);
		CHECK_EQ(heard_track.clock_rate, 48000);
		CHECK_EQ(heard_track.config_size > 0, directions[i].to == MEDIA_AAC);
		for (size_t k = 0; k < heard_count; k++) {
			const struct media_header *h = &heard[k].header;
			int64_t pts = (int64_t)h->rtp_time - TRANSCODER_TIME_BASE;
			int64_t capture_us = WALL_BASE + pts * 1000000 / 48000;

			CHECK_EQ(h->track_seq, heard[0].header.track_seq + k);
			CHECK_EQ(h->frame, heard[0].header.frame + k);
			CHECK_EQ(h->rtp_time,
				heard[0].header.rtp_time + k * (uint64_t)directions[i].samples);
			CHECK_LE(llabs(h->capture_us - capture_us), 2000);
			CHECK_EQ(h->flags & (MEDIA_FRAME_START | MEDIA_FRAME_END),
				MEDIA_FRAME_START | MEDIA_FRAME_END);
			CHECK_EQ(h->priority, MEDIA_PRIORITY_AUDIO);
			/* what a player must wait more than one that plays the source */
			int64_t age_us = WALL_BASE + heard[k].at_us - h->capture_us;

			if (age_us - source_age_us > added_us)
				added_us = age_us - source_age_us;
		}
		printf("%s: at most %lld us added, %lld us behind\n",
			media_codec_name(directions[i].to), (long long)added_us,
			(long long)transcoder()->behind_us);
		CHECK_LE(added_us, directions[i].added_ms * 1000);
		CHECK_EQ(transcoder()->lost + transcoder()->late + transcoder()->bridged, 0);
		CHECK_EQ(transcoder()->resets, 1);
		end();
	}
}

TEST(the_last_viewer_stops_it_and_nothing_is_held)
{
	struct arena_usage usage;
	struct msg_unsubscribe unsubscribe = {};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(500);
	CHECK_EQ(office()->rows_count, 1);
	tell(viewer, stream, MSG_unsubscribe, &unsubscribe);
	publish_ms(500);
	CHECK_EQ(office()->rows_count, 0);
	CHECK_EQ(office()->ended, 1);
	arena_usage(hosts[HELPER].arena, &usage);
	CHECK_EQ(usage.used[ARENA_PACKET], 0);
	CHECK_EQ(((const struct stream_state *)state_of(WORKER, stream))->subscribers_count, 0);
	watch(MEDIA_OPUS); /* and it comes again */
	publish_ms(500);
	CHECK_EQ(office()->rows_count, 1);
	end();
}

/* The helper dies: a gap, and sound goes on in its place on the same timeline. */
TEST(death_of_the_helper_costs_a_gap)
{
	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(1000);
	size_t before = heard_count;

	kill_process(HELPER);
	publish_ms(100);
	start_helper();
	publish_ms(2000);
	CHECK_GE(heard_count, before + 60);
	const struct heard *last = &heard[before - 1], *next = &heard[before];
	int64_t gap_us = next->header.capture_us - last->header.capture_us;
	int64_t gap = (int64_t)(next->header.rtp_time - last->header.rtp_time);

	printf("gap of %lld us\n", (long long)gap_us);
	CHECK(gap_us > 0 && gap_us < 200000); /* 100 ms of it: the process */
	CHECK_LE(llabs(gap * 1000000 / 48000 - gap_us), 1000);
	CHECK(next->header.flags & MEDIA_DISCONTINUITY);
	CHECK_EQ(next->header.track_seq, last->header.track_seq + 1);
	/* the dead one is no reader any more */
	CHECK_EQ(((const struct stream_state *)state_of(WORKER, stream))->subscribers_count, 2);
	end();
}

TEST(lost_packets_are_bridged)
{
	begin(MEDIA_OPUS);
	watch(MEDIA_AAC);
	publish_ms(500);
	for (int i = 0; i < 50; i++)
		publish_frame(i % 10 == 0);
	publish_ms(200);
	const struct transcoder_state *st = transcoder();

	CHECK_EQ(st->lost, 5);
	CHECK_EQ(st->bridged, 5);
	CHECK_EQ(st->resets, 1);
	for (size_t k = 1; k < heard_count; k++)
		CHECK_EQ(heard[k].header.rtp_time, heard[k - 1].header.rtp_time + 1024);
	end();
}

/* The other owner of the name transcodes for its copies. */
TEST(a_stream_that_lost_its_name_needs_none)
{
	struct msg_name_lost lost = {.name = "stream/live/demo", .epoch = 99};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(300);
	CHECK_EQ(office()->rows_count, 1);
	lost.owner = viewer;
	tell(publisher, stream, MSG_name_lost, &lost);
	run_ms(100);
	CHECK_EQ(office()->rows_count, 0);
	end();
}

TEST(another_source_codec_ends_it)
{
	struct msg_tracks_changed changed = {.tracks_count = 1};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(300);
	changed.tracks[0] = source;
	changed.tracks[0].codec = MEDIA_OPUS;
	changed.tracks[0].config_size = 0;
	tell(publisher, stream, MSG_tracks_changed, &changed);
	run_ms(100);
	CHECK_EQ(office()->rows_count, 0);
	end();
}

/* Sound that kills decoders must not take the node with it: its helper is asked less and less. */
TEST(a_stream_whose_helpers_die_waits_longer_each_time)
{
	int64_t waited_us = 0;

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(200);
	for (int i = 0; i < 5; i++) {
		int64_t since_us = now_us;

		kill_process(HELPER);
		start_helper();
		while (office()->rows_count == 0)
			step();
		int64_t took_us = now_us - since_us;

		run_ms(50);
		CHECK(i == 0 ? took_us < 10000 : took_us > 400000 && took_us > waited_us);
		waited_us = took_us;
	}
	source_began_us = now_us - source_position * 1000000 / 48000;
	publish_ms(11000); /* steady again */
	kill_process(HELPER);
	start_helper();
	run_ms(10);
	CHECK_EQ(office()->rows_count, 1);
	end();
}

TEST(garbage_is_counted_and_sound_goes_on)
{
	uint8_t bytes[64];
	struct arena_usage usage;
	struct sound out = {.bytes = bytes};

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(300);
	for (unsigned i = 0; i < 400; i++) {
		for (unsigned k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)(i * 131 + k * k * 7 + (i * k >> 3));
		if (i % 3) { /* a whole access unit of them */
			bytes[0] = 0;
			bytes[1] = 16;
			bytes[2] = (sizeof(bytes) - 4) >> 5;
			bytes[3] = (uint8_t)((sizeof(bytes) - 4) << 3);
		}
		out.header = (struct media_header){.track = SOURCE_TRACK,
			.track_seq = ++source_seq,
			.rtp_time = (uint64_t)source_position + i * (i % 7 ? 1 : UINT64_MAX / 3),
			.capture_us = i % 11 ? WALL_BASE + now_us : INT64_MIN,
			.frame = (uint32_t)source_seq - i % 2,
			.size = (uint16_t)(i % sizeof(bytes) + 1),
			.flags = (uint8_t)i};
		CHECK(actor_call(hosts[WORKER].rt, publisher, &person_type, publish_packet, &out));
		step();
	}
	CHECK(transcoder()->damaged > 0 && transcoder()->corrupt > 0);
	size_t before = heard_count;

	source_began_us = now_us - source_position * 1000000 / 48000;
	publish_ms(1000);
	CHECK_GE(heard_count, before + 20);
	arena_usage(hosts[HELPER].arena, &usage);
	CHECK_EQ(usage.used[ARENA_PACKET], 0);
	end();
}

/* clang-format off */
static const struct {
	const char *what;
	uint8_t from, to, source_track, track;
	uint32_t clock_rate;
	bool has_stream, has_config;
	enum err err;
} requests[] = {
	{"good",            MEDIA_AAC,  MEDIA_OPUS, 1, 4, 48000, true,  true,  ERR_OK},
	{"no stream",       MEDIA_AAC,  MEDIA_OPUS, 1, 4, 48000, false, true,  ERR_FORMAT},
	{"track too high",  MEDIA_AAC,  MEDIA_OPUS, 1, 8, 48000, true,  true,  ERR_FORMAT},
	{"source too high", MEDIA_AAC,  MEDIA_OPUS, 9, 4, 48000, true,  true,  ERR_FORMAT},
	{"onto itself",     MEDIA_AAC,  MEDIA_OPUS, 4, 4, 48000, true,  true,  ERR_FORMAT},
	{"same codec",      MEDIA_OPUS, MEDIA_OPUS, 1, 4, 48000, true,  false, ERR_UNSUPPORTED},
	{"video",           MEDIA_H264, MEDIA_OPUS, 1, 4, 90000, true,  false, ERR_UNSUPPORTED},
	{"not a codec",     200,        201,        1, 4, 48000, true,  false, ERR_UNSUPPORTED},
	{"no clock",        MEDIA_OPUS, MEDIA_AAC,  1, 4, 0,     true,  false, ERR_UNSUPPORTED},
	{"no config",       MEDIA_AAC,  MEDIA_OPUS, 1, 4, 48000, true,  false, ERR_FORMAT},
};
/* clang-format on */

TEST(requests_that_cannot_be_done_are_refused)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		begin(MEDIA_AAC);
		struct addr asker = spawn_person();
		struct msg_transcode_start start = {
			.stream = requests[i].has_stream ? stream : (struct addr){0},
			.source = source,
			.codec = requests[i].to,
			.track = requests[i].track};
		struct addr to = {.node = 1,
			.id = hosts[HELPER].info.block << RUNTIME_BLOCK_SHIFT | OFFICE_TRANSCODE};

		start.source.codec = requests[i].from;
		start.source.id = requests[i].source_track;
		start.source.clock_rate = requests[i].clock_rate;
		if (!requests[i].has_config)
			start.source.config_size = 0;
		tell(asker, to, MSG_transcode_start, &start);
		run_ms(20);
		const struct person *person = state_of(WORKER, asker);

		if (person->failed != requests[i].err)
			fail_msg("%s: %s", requests[i].what, err_name(person->failed));
		CHECK_EQ(person->started, requests[i].err == ERR_OK);
		end();
	}
}

TEST(without_memory_a_request_is_refused)
{
	struct media_track made;
	struct addr who;
	enum err err = ERR_NO_MEMORY;
	size_t n = 0;

	begin(MEDIA_AAC);
	struct msg_transcode_start start = {
		.stream = stream, .source = source, .codec = MEDIA_OPUS, .track = 4};
	struct transcoder_args args = {.start = &start, .made = &made};

	/* the actor, the engine, its decoder and its encoder */
	while (n < 4 && err) {
		test_fail_allocation(++n);
		err = actor_spawn(hosts[HELPER].rt, NULL, &transcoder_actor, &args, &who);
		test_fail_allocation(0);
		if (err)
			CHECK_EQ(err, ERR_NO_MEMORY);
		run_ms(5);
	}
	CHECK_GE(n, 4);
	end();
}

/* A second request for a stream replaces the first: its answer must have been lost. */
TEST(one_transcoder_a_stream)
{
	begin(MEDIA_AAC);
	struct addr asker = spawn_person();
	struct addr to = {.node = 1,
		.id = hosts[HELPER].info.block << RUNTIME_BLOCK_SHIFT | OFFICE_TRANSCODE};
	struct msg_transcode_start start = {
		.stream = stream, .source = source, .codec = MEDIA_OPUS, .track = 4};

	for (int i = 0; i < 3; i++) {
		tell(asker, to, MSG_transcode_start, &start);
		run_ms(50);
	}
	CHECK_EQ(office()->started, 3);
	CHECK_EQ(office()->rows_count, 1);
	CHECK_EQ(((const struct stream_state *)state_of(WORKER, stream))->subscribers_count, 1);
	end();
}

/* A successor goes on where the state says: same numbers, codecs opened anew. */
TEST(a_successor_goes_on)
{
	static uint8_t encoded[64 * 1024], again[64 * 1024];
	struct writer w = writer_of(encoded, sizeof(encoded));
	struct writer v = writer_of(again, sizeof(again));

	begin(MEDIA_AAC);
	watch(MEDIA_OPUS);
	publish_ms(1000);
	struct addr who = office()->rows[0].transcoder;
	struct host old = hosts[HELPER];
	uint64_t ids[] = {old.info.block << RUNTIME_BLOCK_SHIFT | OFFICE_TRANSCODE, who.id};

	for (int i = 0; i < 2; i++)
		CHECK_OK(runtime_encode_actor(runtime_find(old.rt, ids[i]), &w));
	size_t size = writer_used(&w), before = heard_count;

	hosts[HELPER] = (struct host){0}; /* silent from here on */
	start_process(HELPER, PROCESS_HELPER);
	struct reader in = reader_of(encoded, size);

	arena_recount_begin(hosts[HELPER].arena);
	for (int i = 0; i < 2; i++)
		CHECK_OK(runtime_restore_actor(hosts[HELPER].rt, &in));
	for (int i = 0; i < 2; i++)
		CHECK_OK(runtime_encode_actor(runtime_find(hosts[HELPER].rt, ids[i]), &v));
	arena_recount_end(hosts[HELPER].arena);
	runtime_block_moved(hosts[CONTROL].rt, old.info.block, hosts[HELPER].info.process);
	runtime_block_moved(hosts[WORKER].rt, old.info.block, hosts[HELPER].info.process);
	runtime_restore_end(hosts[HELPER].rt);
	publish_ms(1000);
	CHECK_GE(heard_count, before + 45);
	for (size_t k = 1; k < heard_count; k++) {
		const struct media_header *a = &heard[k - 1].header, *b = &heard[k].header;

		CHECK_EQ(b->track_seq, a->track_seq + 1);
		CHECK_EQ(b->frame, a->frame + 1);
		CHECK_LE(b->rtp_time - a->rtp_time, 4 * 960);
	}
	const struct transcoder_state *st = state_of(HELPER, who);

	CHECK_EQ(st->resets, 2);
	CHECK_EQ(st->last_seq, heard_count);
	free_process(&old);
	end();
}

/* It asks the stream anew; its codecs begin anew, on the timeline it had. */
static void same_transcoder(const void *before, const void *now)
{
	CHECK_MEM(now, before, sizeof(struct transcoder_state));
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_TRANSCODE(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

TEST(office_and_transcoder_come_back_in_another_process)
{
	struct arena_layout layout = {
		.count = {PACKETS, 2, 1, 1}
	   };
	struct arena_usage usage;

	for (size_t i = 0; i < 2; i++) {
		begin(directions[i].from);
		watch(directions[i].to);
		publish_ms(500);
		CHECK_GE(transcoder()->frames_out, 10);
		arena_usage(hosts[HELPER].arena, &usage); /* packets on their way: dropped */
		CHECK_EQ(successor_run(&kit, hosts[HELPER].rt, hosts[HELPER].memory,
				 arena_size(&layout), usage.used[ARENA_PACKET]),
			2);
		end();
	}
	successor_check_rows(&kit);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A node for the rows of the stream actor: three workers, a control process whose directory is a
 * table, a helper whose transcode office counts; the bus is a queue, the clock an argument. A puppet
 * is a session: it publishes, subscribes and remembers what it was told.
 */
#ifndef MILLRACE_STREAM_NODE_H
#define MILLRACE_STREAM_NODE_H

#include "actors/stream/stream_internal.h"
#include "runtime/kernel.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/test.h"

#include <stdlib.h>

enum { CONTROL, WORKER, OTHER, HELPER, THIRD, PROCESSES };
enum {
	FRAMES_MAX = 8192,
	NAMES_MAX = 4,
	NODE = 7,
	STEP_US = 1000,
	SILENT_MS = 2000,
	GRACE_MS = 10000
};

struct bus_frame {
	uint32_t to; /* incarnation */
	size_t size;
	uint8_t *bytes;
};

static int64_t now_us;
static uint8_t dice;
static struct log quiet;
static struct runtime *rt[PROCESSES];
static struct arena *arena[PROCESSES];
static void *memory[PROCESSES];
static struct bus_frame frames[FRAMES_MAX];
static size_t frame_count;
static unsigned lose_frames;	      /* of media: so many of the next */
static uint32_t deaf;		      /* no media comes to this process; 0 = none */
static int64_t hold_mail_until_us;    /* from the worker to the other: media overtakes it */
static const struct config *settings; /* NULL: defaults */

/* ---- below the runtimes ---------------------------------------------------------------------- */

static int64_t op_now_us(void *context)
{
	(void)context;
	return now_us;
}

static int64_t op_wall_us(void *context)
{
	(void)context;
	return INT64_C(1790000000000000) + now_us;
}

static void op_random(void *context, void *bytes, size_t size)
{
	(void)context;
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)(++dice * 37);
}

static enum err op_send(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	struct bus_frame *frame = &frames[frame_count];
	const uint8_t *head = parts[0].iov_base;
	size_t at = 0;

	(void)context;
	CHECK(frame_count < FRAMES_MAX);
	if ((lose_frames || deaf == process) && parts[0].iov_len > 3 && head[3] == BUS_MEDIA) {
		lose_frames -= lose_frames != 0;
		return ERR_OK;
	}
	*frame = (struct bus_frame){.to = process};
	for (size_t i = 0; i < count; i++)
		frame->size += parts[i].iov_len;
	frame->bytes = malloc(frame->size);
	if (!frame->bytes)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < count; at += parts[i++].iov_len)
		memcpy(frame->bytes + at, parts[i].iov_base, parts[i].iov_len);
	frame_count++;
	return ERR_OK;
}

static const struct runtime_ops ops = {
	.now_us = op_now_us, .wall_us = op_wall_us, .random = op_random, .bus_send = op_send};

static bool log_nothing(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

/* ---- directory and transcode office ---------------------------------------------------------- */

static struct {
	char name[128];
	struct addr owner;
	uint64_t epoch;
} names[NAMES_MAX];
static uint64_t last_epoch;
static enum err claims_fail;

/* Any schema does for their states. */
struct clerk {
	struct name_row st;
};

static int row_of(const char *name)
{
	for (int i = 0; i < NAMES_MAX; i++)
		if (!strcmp(names[i].name, name))
			return i;
	return -1;
}

ON(clerk, name_claim)
{
	int row = row_of(m->name);

	if (claims_fail)
		return claims_fail;
	if (row >= 0 && !addr_equal(names[row].owner, mail->from))
		return ERR_BUSY;
	for (row = 0; row < NAMES_MAX && names[row].epoch && strcmp(names[row].name, m->name);
		row++)
		;
	memcpy(names[row].name, m->name, sizeof(names[row].name));
	names[row].owner = mail->from;
	names[row].epoch = m->epoch ? m->epoch : ++last_epoch;
	return actor_reply(self, name_granted, {.epoch = names[row].epoch});
}

ON(clerk, name_lookup)
{
	int row = row_of(m->name);

	if (row < 0 || names[row].epoch <= m->newer_than)
		return m->wait_ms ? ERR_OK : ERR_NOT_FOUND; /* who waits is not answered here */
	return actor_reply(
		self, name_found, {.owner = names[row].owner, .epoch = names[row].epoch});
}

/* The relay office: answers with what a row has put here; nobody = refused. */
static struct {
	unsigned asked;
	struct msg_relay_ask last;
	struct addr source;
	uint64_t epoch;
} relay;

ON(clerk, relay_ask)
{
	relay.asked++;
	relay.last = *m;
	if (addr_is_nobody(relay.source))
		return ERR_NOT_FOUND;
	return actor_reply(self, relay_found,
		{.source = relay.source, .entry = true, .owner = m->owner, .epoch = m->epoch});
}

ON(clerk, name_release)
{
	int row = row_of(m->name);

	if (row >= 0)
		memset(&names[row], 0, sizeof(names[row]));
	return ERR_OK;
}

static struct {
	unsigned starts, stops;
	struct msg_transcode_start last;
	struct addr made;
} transcode;

ON(clerk, transcode_start)
{
	transcode.starts++;
	transcode.last = *m;
	return actor_reply(self, transcode_started,
		{
			.transcoder = transcode.made,
			.track = {.id = m->track,
				  .kind = MEDIA_AUDIO,
				  .codec = m->codec,
				  .channels = 2,
				  .clock_rate = 48000}
	    });
}

static enum err clerk_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static const struct handler clerk_handlers[] = {
	HANDLER(clerk, name_claim, 0),
	HANDLER(clerk, name_lookup, 0),
	HANDLER(clerk, name_release, 0),
	HANDLER(clerk, transcode_start, 0),
	HANDLER(clerk, relay_ask, 0),
};

static const struct actor_type clerk_actor = {
	.name = "clerk",
	.size = sizeof(struct clerk),
	.state = &schema_name_row,
	HANDLER_TABLE(clerk_handlers),
	.init = clerk_init,
};

/* ---- puppets --------------------------------------------------------------------------------- */

struct puppet {
	struct name_row st; /* of no interest */

	unsigned published, subscribed, failed, replaced, downs, tracks, keyframes, roles, hosts;
	bool stands_by;
	unsigned bitrates; /* times it was said how much is taken */
	uint32_t takes_bps;
	struct msg_published answer;
	struct msg_subscribed joined;
	struct msg_tracks last_tracks;
	struct msg_relay_hosted hosted;
	uint8_t err;
	uint64_t seq; /* of the packets it sends */
};

#define PUPPET_HEARS(message, count, keep) \
	ON(puppet, message)                \
	{                                  \
		s->count++;                \
		keep;                      \
		return ERR_OK;             \
	}
PUPPET_HEARS(published, published, (s->answer = *m, s->stands_by = m->standby))
PUPPET_HEARS(subscribed, subscribed, s->joined = *m)
PUPPET_HEARS(failed, failed, s->err = m->err)
PUPPET_HEARS(replaced, replaced, )
PUPPET_HEARS(down, downs, )
PUPPET_HEARS(source_role, roles, s->stands_by = m->standby)
PUPPET_HEARS(tracks, tracks, s->last_tracks = *m)
PUPPET_HEARS(keyframe_request, keyframes, )
PUPPET_HEARS(bitrate, bitrates, s->takes_bps = m->bps)
PUPPET_HEARS(relay_hosted, hosts, s->hosted = *m)

static void puppet_stop(struct actor *self, void *data, enum err reason)
{
	(void)data;
	(void)reason;
	if (addr_equal(transcode.made, actor_addr(self)))
		transcode.stops++;
}

static const struct handler puppet_handlers[] = {
	HANDLER(puppet, published, 0),
	HANDLER(puppet, subscribed, 0),
	HANDLER(puppet, failed, 0),
	HANDLER(puppet, replaced, 0),
	HANDLER(puppet, source_role, 0),
	HANDLER(puppet, down, 0),
	HANDLER(puppet, tracks, 0),
	HANDLER(puppet, keyframe_request, 0),
	HANDLER(puppet, bitrate, 0),
	HANDLER(puppet, relay_hosted, 0),
};

static const struct actor_type puppet_actor = {
	.name = "puppet",
	.size = sizeof(struct puppet),
	.state = &schema_name_row,
	HANDLER_TABLE(puppet_handlers),
	.init = clerk_init,
	.stop = puppet_stop,
};

static const struct actor_type *const types[] = {&stream_actor, &media_office_actor, NULL};

/* ---- the node -------------------------------------------------------------------------------- */

static const uint8_t roles[] = {
	PROCESS_CONTROL, PROCESS_MEDIA, PROCESS_MEDIA, PROCESS_HELPER, PROCESS_MEDIA};

static struct runtime_peer_info info_of(int slot)
{
	return (struct runtime_peer_info){.process = (uint32_t)slot + 1,
		.block = (uint64_t)slot + 1,
		.role = roles[slot],
		.index = slot == OTHER	 ? 1
			 : slot == THIRD ? 2
					 : 0};
}

static void start_process(int slot, uint32_t packets, uint32_t logs)
{
	struct arena_layout layout = {
		.count = {packets,	   logs,		 1, 1},
		.size = {sizeof(struct packet),		ARENA_LOG_SIZE,				4096, 4096},
		.escrow = {1,1},
	};
	struct log_sink sink = {.now_us = op_wall_us, .write = log_nothing};

	log_init(&quiet, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	if (roles[slot] == PROCESS_MEDIA) {
		memory[slot] = aligned_alloc(4096, arena_size(&layout));
		memset(memory[slot], 0, arena_size(&layout));
		arena_format(memory[slot], &layout);
		CHECK_OK(arena_attach(memory[slot], arena_size(&layout), &arena[slot]));
	}
	struct runtime_peer_info own = info_of(slot);
	struct runtime_options options = {.ops = &ops,
		.log = &quiet,
		.arena = arena[slot],
		.config = settings,
		.node = NODE,
		.block = own.block,
		.process = own.process,
		.role = own.role,
		.index = own.index,
		.types = types};

	CHECK_OK(runtime_create(&options, &rt[slot]));
	for (int i = 0; i < slot; i++) {
		struct runtime_peer_info other = info_of(i);

		CHECK_OK(runtime_peer_up(rt[slot], &other));
		CHECK_OK(runtime_peer_up(rt[i], &own));
	}
}

static void begin(uint32_t packets, uint32_t logs)
{
	now_us = 1000000;
	dice = 0;
	last_epoch = lose_frames = deaf = 0;
	hold_mail_until_us = 0;
	claims_fail = ERR_OK;
	memset(names, 0, sizeof(names));
	memset(&transcode, 0, sizeof(transcode));
	memset(&relay, 0, sizeof(relay));
	for (int slot = 0; slot < PROCESSES; slot++)
		start_process(slot, packets, logs);
	CHECK_OK(actor_spawn_office(rt[CONTROL], OFFICE_DIRECTORY, &clerk_actor, NULL));
	CHECK_OK(actor_spawn_office(rt[CONTROL], OFFICE_RELAY, &clerk_actor, NULL));
	CHECK_OK(actor_spawn_office(rt[WORKER], OFFICE_MEDIA, &media_office_actor, NULL));
	CHECK_OK(actor_spawn_office(rt[OTHER], OFFICE_MEDIA, &media_office_actor, NULL));
	CHECK_OK(actor_spawn_office(rt[THIRD], OFFICE_MEDIA, &media_office_actor, NULL));
	CHECK_OK(actor_spawn_office(rt[HELPER], OFFICE_TRANSCODE, &clerk_actor, NULL));
	CHECK_OK(actor_spawn(rt[HELPER], NULL, &puppet_actor, NULL, &transcode.made));
}

__attribute__((unused)) static void kill_process(int slot)
{
	struct runtime_peer_info gone = info_of(slot);

	runtime_destroy(&rt[slot]);
	for (int i = 0; i < PROCESSES; i++)
		if (rt[i])
			runtime_peer_down(rt[i], gone.process);
	for (int i = 0; i < NAMES_MAX; i++) /* its lease ends */
		if (names[i].owner.id >> RUNTIME_BLOCK_SHIFT == gone.block)
			memset(&names[i], 0, sizeof(names[i]));
}

static void end(void)
{
	struct arena_usage usage;

	for (int slot = PROCESSES - 1; slot >= 0; slot--)
		runtime_destroy(&rt[slot]);
	while (frame_count)
		free(frames[--frame_count].bytes);
	for (int slot = 0; slot < PROCESSES; slot++) {
		if (!arena[slot])
			continue;
		arena_usage(arena[slot], &usage);
		CHECK_EQ(usage.used[ARENA_PACKET], 0);
		CHECK_EQ(usage.used[ARENA_LOG], 0);
		arena_detach(&arena[slot]);
		free(memory[slot]);
	}
}

static bool must_wait(const struct bus_frame *frame)
{
	struct bus_header header;

	memcpy(&header, frame->bytes, sizeof(header));
	return now_us < hold_mail_until_us && header.kind != BUS_MEDIA &&
	       header.from == WORKER + 1 && frame->to == OTHER + 1;
}

static void deliver(void)
{
	size_t count = frame_count;
	static struct bus_frame going[FRAMES_MAX];

	memcpy(going, frames, count * sizeof(going[0]));
	frame_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (must_wait(&going[i])) {
			frames[frame_count++] = going[i];
			continue;
		}
		if (rt[going[i].to - 1])
			runtime_bus_frame(rt[going[i].to - 1], going[i].bytes, going[i].size);
		free(going[i].bytes);
	}
}

static void run_ms(int ms)
{
	for (; ms > 0; ms--) {
		now_us += STEP_US;
		for (int round = 0; round < 6; round++) {
			for (int slot = 0; slot < PROCESSES; slot++)
				if (rt[slot])
					runtime_turn(rt[slot]);
			deliver();
		}
	}
}

/* ---- what puppets do ------------------------------------------------------------------------- */

struct person {
	int slot;
	struct addr addr;
	struct puppet *mind;
};

static void take_mind(struct actor *self, void *data, void *context)
{
	(void)self;
	*(void **)context = data;
}

static struct person person_in(int slot)
{
	struct person person = {.slot = slot};
	void *mind = NULL;

	CHECK_OK(actor_spawn(rt[slot], NULL, &puppet_actor, NULL, &person.addr));
	CHECK(actor_call(rt[slot], person.addr, &puppet_actor, take_mind, &mind));
	person.mind = mind;
	return person;
}

static struct actor *actor_of(const struct person *person)
{
	return runtime_find(rt[person->slot], person->addr.id);
}

__attribute__((unused)) static void publish_untold(const struct person *person)
{
	struct msg_publish publish = {.protocol = "test", .stream_name = "live/a"};

	actor_request_mail(actor_of(person), actor_office(actor_of(person), OFFICE_MEDIA), 5000,
		MSG_publish, &schema_publish, &publish);
	run_ms(10);
}

/* With a picture and sound; `publish` says the rest. */
static void publish_this(const struct person *person, struct msg_publish publish)
{
	struct actor *self = actor_of(person);

	publish.tracks_count = 2;
	publish.tracks[0] = (struct media_track){
		.id = 0, .kind = MEDIA_VIDEO, .codec = MEDIA_H264, .clock_rate = 90000};
	publish.tracks[1] = (struct media_track){.id = 1,
		.kind = MEDIA_AUDIO,
		.codec = MEDIA_AAC,
		.channels = 2,
		.clock_rate = 48000};
	actor_request_mail(self, actor_office(self, OFFICE_MEDIA), 5000, MSG_publish,
		&schema_publish, &publish);
	run_ms(10);
}

static void publish_as(
	const struct person *person, const char *name, const char *resume, const char *subject)
{
	struct msg_publish publish = {.protocol = "test"};

	text_copy(publish.stream_name, sizeof(publish.stream_name), name);
	text_copy(publish.resume, sizeof(publish.resume), resume);
	text_copy(publish.subject, sizeof(publish.subject), subject);
	publish_this(person, publish);
}

static void publish(const struct person *person)
{
	publish_as(person, "live/a", "", "");
}

static void subscribe(const struct person *person, const char *name, uint8_t audio)
{
	struct msg_subscribe subscribe = {.viewer = true, .audio = audio};
	struct actor *self = actor_of(person);

	text_copy(subscribe.stream_name, sizeof(subscribe.stream_name), name);
	actor_request_mail(self, actor_office(self, OFFICE_MEDIA), 5000, MSG_subscribe,
		&schema_subscribe, &subscribe);
	run_ms(10);
}

__attribute__((unused)) static void change_tracks(
	const struct person *person, const struct media_track *track)
{
	struct msg_tracks_changed changed = {.tracks_count = 1, .tracks = {*track}};

	actor_send_mail(actor_of(person), person->mind->answer.stream, MSG_tracks_changed,
		&schema_tracks_changed, &changed);
	run_ms(20);
}

/* `count` video packets, a keyframe every `gop`, 10 ms apart, beginning `at` in a group. */
static void send_packet(const struct person *person, bool keyframe)
{
	struct slot_ref ref = arena_alloc(arena[person->slot], ARENA_PACKET, 1);
	struct packet *packet = arena_packet(arena[person->slot], ref);
	uint64_t seq = ++person->mind->seq;

	CHECK(packet != NULL);
	packet->header = (struct media_header){.track_seq = seq,
		.frame = (uint32_t)seq,
		.rtp_time = seq * 900,
		.capture_us = op_wall_us(NULL),
		.flags = (uint8_t)(MEDIA_FRAME_START | MEDIA_FRAME_END |
				   (keyframe ? MEDIA_KEYFRAME : 0)),
		.size = 100};
	actor_media(actor_of(person), person->mind->answer.stream, ref);
	arena_release(arena[person->slot], ARENA_PACKET, ref);
}

static void send_packets_from(const struct person *person, int at, int count, int gop)
{
	for (int i = at; i < at + count; i++) {
		send_packet(person, i % gop == 0);
		run_ms(10);
	}
}

/* Without a keyframe, at once. */
__attribute__((unused)) static void send_burst(const struct person *person, int count)
{
	for (int i = 0; i < count; i++)
		send_packet(person, false);
	run_ms(10);
}

/* `count` video packets, the first a keyframe. */
__attribute__((unused)) static void send_packets(const struct person *person, int count)
{
	send_packets_from(person, 0, count, count);
}

/* The stream that a person reads or publishes to, NULL when it has ended. */
static const struct stream_state *state_of(int slot, struct addr addr)
{
	struct actor *actor = runtime_find(rt[slot], addr.id);
	struct actor_facts facts;

	if (!actor)
		return NULL;
	runtime_facts(actor, &facts);
	return facts.state;
}

static const struct media_log *log_read_by(const struct person *person)
{
	return media_log_get(arena[person->slot], (struct slot_ref){person->mind->joined.log_index,
							  person->mind->joined.log_generation});
}

#endif

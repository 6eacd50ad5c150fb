/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the edge. A publisher and a viewer that speak to streams exactly as sessions do, with
 * synthetic media instead of a protocol.
 *
 *   publisher  asking --published--> live --stream died--> asking      live --replaced--> (ends)
 *   viewer     asking --subscribed--> watching --stream died--> asking
 *
 * Every packet carries a stamp of who made it. A viewer reads the log of its worker as a session
 * does and checks what it reads: positions in order and all there, sequences that only grow (packets
 * marked late apart), nothing twice, a beginning at a keyframe.
 */
#include "actors/stream/media_log.h"
#include "actors/stream/stream_actor.h"
#include "tests/sim/sim_clients.h"

#include <stddef.h>
#include <string.h>

enum {
	REQUEST_MS = 3000,
	WAIT_MS = 1500,
	VIDEO_MS = 40,
	AAC_SAMPLES = 1024,
	OPUS_SAMPLES = 960,
	AUDIO_RATE_HZ = 48000,
	GOP_FRAMES = 50,
	KEY_PACKETS_MAX = 8,
	DELTA_PACKETS_MAX = 3,
	PAYLOAD_MAX = 96,
	GAP_ONE_IN = 200, /* packets lost before they came to us */
	PLANT_ONE_IN = 300,
	KEYFRAME_WISH_MS = 500,
	LATE_ONE_IN = 100, /* packets that come after the next one */
};

enum publisher_timer { PUBLISHER_VIDEO, PUBLISHER_AUDIO, PUBLISHER_RETRY };
enum viewer_timer { VIEWER_RETRY, VIEWER_READ };

/* ---- schemas of the two ------------------------------------------------------------------------ */

// clang-format off
#define U64(owner, tag_, member)                                                                   \
	{.name = #member, .tag = tag_, .kind = FIELD_U64, .offset = offsetof(struct owner, member)}
#define I64(owner, tag_, member)                                                                   \
	{.name = #member, .tag = tag_, .kind = FIELD_I64, .offset = offsetof(struct owner, member)}
#define U32(owner, tag_, member)                                                                   \
	{.name = #member, .tag = tag_, .kind = FIELD_U32, .offset = offsetof(struct owner, member)}
#define BOOL(owner, tag_, member)                                                                  \
	{.name = #member, .tag = tag_, .kind = FIELD_BOOL, .offset = offsetof(struct owner, member)}
#define ADDR(owner, tag_, member)                                                                  \
	{.name = #member, .tag = tag_, .kind = FIELD_ADDR, .offset = offsetof(struct owner, member)}
#define STR(owner, tag_, member, max_)                                                             \
	{.name = #member, .tag = tag_, .kind = FIELD_STR, .offset = offsetof(struct owner, member),\
		.max = max_}

static const struct field publisher_fields[] = {
	STR(sim_publisher_state, 1, name, 127),
	ADDR(sim_publisher_state, 2, stream),
	U64(sim_publisher_state, 3, epoch),
	U64(sim_publisher_state, 4, number),
	U64(sim_publisher_state, 5, video_seq),
	U64(sim_publisher_state, 6, audio_seq),
	U32(sim_publisher_state, 7, video_frame),
	U32(sim_publisher_state, 8, audio_frame),
	U32(sim_publisher_state, 9, since_key),
	U64(sim_publisher_state, 10, sent),
	U64(sim_publisher_state, 11, audio_codec),
	STR(sim_publisher_state, 12, resume, 63),
	U32(sim_publisher_state, 13, held_index),
	U32(sim_publisher_state, 14, held_generation),
	U64(sim_publisher_state, 15, request),
	I64(sim_publisher_state, 16, asked_us),
};

static const struct field viewer_fields[] = {
	STR(sim_viewer_state, 1, name, 127),
	ADDR(sim_viewer_state, 2, stream),
	U64(sim_viewer_state, 3, epoch),
	U32(sim_viewer_state, 4, log_index),
	U32(sim_viewer_state, 5, log_generation),
	U64(sim_viewer_state, 6, position),
	U64(sim_viewer_state, 7, started_at),
	U64(sim_viewer_state, 8, read),
	U64(sim_viewer_state, 9, forgotten),
	U64(sim_viewer_state, 10, holes),
	U64(sim_viewer_state, 11, waited_key),
	I64(sim_viewer_state, 12, last_packet_us),
	U64(sim_viewer_state, 13, last_publisher),
	U64(sim_viewer_state, 14, audio_codec),
	I64(sim_viewer_state, 15, last_audio_us),
	BOOL(sim_viewer_state, 16, started),
	U64(sim_viewer_state, 17, published_codec),
	U64(sim_viewer_state, 18, request),
	I64(sim_viewer_state, 19, asked_us),
	U64(sim_viewer_state, 25, slow_ms),
	U64(sim_viewer_state, 20, seq_high[0]), U64(sim_viewer_state, 30, seq_window[0]),
	U64(sim_viewer_state, 21, seq_high[1]), U64(sim_viewer_state, 31, seq_window[1]),
	U64(sim_viewer_state, 24, seq_high[4]), U64(sim_viewer_state, 34, seq_window[4]),
};

static const struct schema schema_sim_publisher = {
	.name = "sim_publisher_state", .id = 0xf801, .size = sizeof(struct sim_publisher_state),
	.fields = publisher_fields,
	.field_count = sizeof(publisher_fields) / sizeof(publisher_fields[0]), .use = SCHEMA_STATE,
};
static const struct schema schema_viewer = {
	.name = "sim_viewer_state", .id = 0xf802, .size = sizeof(struct sim_viewer_state),
	.fields = viewer_fields,
	.field_count = sizeof(viewer_fields) / sizeof(viewer_fields[0]), .use = SCHEMA_STATE,
};
// clang-format on

static uint64_t below(struct actor *self, uint64_t n)
{
	return rng_below(&sim_of(actor_runtime(self))->rng, n);
}

/* ---- publisher: media -------------------------------------------------------------------------- */

/* Does the planted bug show now? */
static bool planted(const struct sim *sim, enum sim_plant plant)
{
	return sim->options.plant == plant && sim->packets_sent % PLANT_ONE_IN == 0;
}

/* What one says that has fallen is heard by nobody. */
static bool has_fallen(struct actor *self)
{
	const struct sim_process *process = runtime_options(actor_runtime(self))->context;

	return process->falling;
}

/* The stream counts what it is given; so does the simulator, to compare. */
static void give(struct actor *self, struct addr stream, struct slot_ref ref)
{
	struct sim *sim = sim_of(actor_runtime(self));

	if (runtime_find(actor_runtime(self), stream.id) && !has_fallen(self))
		sim_account(sim, stream.id)->given++;
	sim->packets_sent++;
	if (!planted(sim, SIM_PLANT_PACKET))
		actor_media(self, stream, ref);
	if (planted(sim, SIM_PLANT_HOLD))
		arena_release(actor_arena(self), ARENA_PACKET, ref);
	arena_release(actor_arena(self), ARENA_PACKET, ref);
}

static void keep_back(struct actor *self, struct sim_publisher_actor *s, struct slot_ref ref)
{
	s->held = ref;
	if (sim_of(actor_runtime(self))->options.plant == SIM_PLANT_RESTORE)
		return;
	s->st.held_index = ref.index;
	s->st.held_generation = ref.generation;
}

/* RFC 3640: one access unit, whole. */
static void write_aac_prefix(struct writer *out, size_t size)
{
	write_u16(out, 16);
	write_u16(out, (uint16_t)(size << 3));
}

static void send_packet(
	struct actor *self, struct sim_publisher_actor *s, const struct media_header *header)
{
	struct slot_ref ref = arena_alloc(actor_arena(self), ARENA_PACKET, actor_addr(self).id);
	struct packet *packet = arena_packet(actor_arena(self), ref);
	struct sim_stamp stamp = {
		.publisher = s->st.number, .seq = header->track_seq, .track = header->track};

	if (!packet || below(self, GAP_ONE_IN) == 0) {
		arena_release(actor_arena(self), ARENA_PACKET, ref);
		return;
	}
	size_t size = sizeof(stamp) + below(self, PAYLOAD_MAX);
	struct writer out = writer_of(packet->payload, sizeof(packet->payload));

	packet->header = *header;
	if (header->track == SIM_TRACK_AUDIO && s->st.audio_codec == MEDIA_AAC)
		write_aac_prefix(&out, size);
	packet->header.size = (uint16_t)(writer_used(&out) + size);
	memset(out.at, 0, size);
	memcpy(out.at, &stamp, sizeof(stamp));
	s->st.sent++;
	/* one packet changes places with the next */
	if (s->held.generation) {
		struct slot_ref held = s->held;

		keep_back(self, s, (struct slot_ref){0});
		give(self, s->st.stream, ref);
		give(self, s->st.stream, held);
	} else if (!(header->flags & MEDIA_KEYFRAME) && below(self, LATE_ONE_IN) == 0) {
		packet->header.flags |= MEDIA_LATE;
		keep_back(self, s, ref);
	} else {
		give(self, s->st.stream, ref);
	}
}

static void send_video(struct actor *self, struct sim_publisher_actor *s)
{
	bool key = s->st.since_key == 0 || s->st.since_key >= GOP_FRAMES;
	uint64_t packets = 1 + below(self, key ? KEY_PACKETS_MAX : DELTA_PACKETS_MAX);

	s->st.since_key = key ? 1 : s->st.since_key + 1;
	s->st.video_frame++;
	for (uint64_t i = 0; i < packets; i++) {
		struct media_header header = {
			.capture_us = actor_wall_us(self),
			.track_seq = ++s->st.video_seq,
			.rtp_time = s->st.video_frame * 3600ull,
			.decode_time = s->st.video_frame * 3600ull,
			.frame = s->st.video_frame,
			.track = SIM_TRACK_VIDEO,
			.priority = key ? MEDIA_PRIORITY_KEY : MEDIA_PRIORITY_DELTA,
		};

		header.flags = (uint8_t)((i == 0 ? MEDIA_FRAME_START : 0) |
					 (i + 1 == packets ? MEDIA_FRAME_END : 0) |
					 (key ? MEDIA_KEYFRAME : 0));
		send_packet(self, s, &header);
	}
}

static uint32_t samples_of(const struct sim_publisher_actor *s)
{
	return s->st.audio_codec == MEDIA_AAC ? AAC_SAMPLES : OPUS_SAMPLES;
}

static void send_audio(struct actor *self, struct sim_publisher_actor *s)
{
	uint64_t time = (uint64_t)s->st.audio_frame * samples_of(s);

	s->st.audio_frame++;
	send_packet(self, s,
		&(struct media_header){
			.capture_us = actor_wall_us(self),
			.track_seq = ++s->st.audio_seq,
			.rtp_time = time,
			.decode_time = time,
			.frame = s->st.audio_frame,
			.track = SIM_TRACK_AUDIO,
			.flags = MEDIA_FRAME_START | MEDIA_FRAME_END,
			.priority = MEDIA_PRIORITY_AUDIO,
		});
}

/* ---- publisher: life --------------------------------------------------------------------------- */

static const uint8_t aac_config[] = {0x11, 0x88}; /* AAC-LC, 48 kHz, mono */

static void ask_publish(struct actor *self, struct sim_publisher_actor *s)
{
	struct msg_publish publish = {.protocol = "sim", .tracks_count = 2};

	memcpy(publish.stream_name, s->st.name, sizeof(publish.stream_name));
	memcpy(publish.resume, s->st.resume, sizeof(publish.resume));
	publish.tracks[0] = (struct media_track){.id = SIM_TRACK_VIDEO,
		.kind = MEDIA_VIDEO,
		.codec = MEDIA_H264,
		.clock_rate = 90000};
	publish.tracks[1] = (struct media_track){.id = SIM_TRACK_AUDIO,
		.kind = MEDIA_AUDIO,
		.codec = (uint8_t)s->st.audio_codec,
		.channels = 1,
		.clock_rate = AUDIO_RATE_HZ};
	if (s->st.audio_codec == MEDIA_AAC) {
		publish.tracks[1].config_size = sizeof(aac_config);
		memcpy(publish.tracks[1].config, aac_config, sizeof(aac_config));
	}
	actor_become(self, SIM_PUB_ASKING);
	s->st.asked_us = actor_now_us(self);
	s->st.request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA), REQUEST_MS,
		MSG_publish, &schema_publish, &publish);
	sim_of(actor_runtime(self))->requests_sent++;
}

static void retry_publish(struct actor *self, struct sim_publisher_actor *s)
{
	s->st.request = 0;
	s->st.stream = (struct addr){0};
	actor_become(self, SIM_PUB_ASKING);
	actor_timer_off(self, PUBLISHER_VIDEO);
	actor_timer_off(self, PUBLISHER_AUDIO);
	actor_timer_in_ms(self, PUBLISHER_RETRY, 50 + (int64_t)below(self, 250));
}

ON(sim_publisher_actor, published)
{
	if (mail->request != s->st.request)
		return ERR_OK;
	s->st.request = 0;
	sim_of(actor_runtime(self))->requests_ended++;
	s->st.stream = m->stream;
	s->st.epoch = m->epoch;
	s->st.since_key = 0;
	/* the name goes with its publisher (decision 24); only who stands by may be led elsewhere */
	SIM_CHECK(sim_of(actor_runtime(self)),
		m->stream.node == actor_addr(self).node || m->standby,
		"a publisher of %s is led to another node", s->st.name);
	memcpy(s->st.resume, m->resume, sizeof(s->st.resume));
	actor_become(self, SIM_PUB_LIVE);
	actor_monitor(self, m->stream);
	actor_timer_in_ms(self, PUBLISHER_VIDEO, 1);
	actor_timer_in_ms(self, PUBLISHER_AUDIO, 1);
	return ERR_OK;
}

ON(sim_publisher_actor, failed)
{
	if (!mail->request || mail->request != s->st.request)
		return ERR_OK;
	sim_of(actor_runtime(self))->requests_ended++;
	retry_publish(self, s);
	return ERR_OK;
}

ON(sim_publisher_actor, down)
{
	if (addr_equal(m->who, s->st.stream))
		retry_publish(self, s);
	return ERR_OK;
}

ON(sim_publisher_actor, replaced)
{
	if (addr_equal(mail->from, s->st.stream) || actor_phase(self) == SIM_PUB_ASKING) {
		actor_become(self, SIM_PUB_REPLACED);
		actor_stop(self, ERR_OK);
	}
	return ERR_OK;
}

ON(sim_publisher_actor, keyframe_request)
{
	s->st.since_key = 0;
	return ERR_OK;
}

static void publisher_timer(struct actor *self, void *data, unsigned timer)
{
	struct sim_publisher_actor *s = data;

	if (timer == PUBLISHER_RETRY) {
		if (!s->st.request && actor_phase(self) == SIM_PUB_ASKING)
			ask_publish(self, s);
	} else if (sim_publisher_stalls(sim_of(actor_runtime(self)), s)) {
		actor_timer_in_ms(self, timer, VIDEO_MS);
	} else if (timer == PUBLISHER_VIDEO) {
		send_video(self, s);
		actor_timer_in_ms(self, timer, VIDEO_MS);
	} else {
		send_audio(self, s);
		actor_timer_at(self, timer,
			actor_now_us(self) + samples_of(s) * 1000000ll / AUDIO_RATE_HZ);
	}
}

static enum err publisher_init(struct actor *self, void *data, const void *args_)
{
	const struct sim_publisher_args *args = args_;
	struct sim_publisher_actor *s = data;

	text_copy(s->st.name, sizeof(s->st.name), args->stream_name);
	s->st.number = args->number;
	s->st.audio_codec = args->audio;
	ask_publish(self, s);
	return ERR_OK;
}

/* Its request is under way again. */
static void ask_on(struct actor *self, uint64_t request)
{
	struct sim *sim = sim_of(actor_runtime(self));

	if (sim)
		sim->requests_sent += request != 0;
}

/* What was said outside was said, whether the turn was kept or not. */
static void take_truth(struct actor *self, struct sim_publisher_actor *s)
{
	const struct sim_truth *truth = sim_truth_of(actor_runtime(self), actor_addr(self).id);

	if (!truth)
		return;
	s->st.video_seq = truth->st.video_seq;
	s->st.audio_seq = truth->st.audio_seq;
	s->st.video_frame = truth->st.video_frame;
	s->st.audio_frame = truth->st.audio_frame;
	s->st.since_key = truth->st.since_key;
	s->st.sent = truth->st.sent;
	s->st.held_index = truth->st.held_index;
	s->st.held_generation = truth->st.held_generation;
}

static enum err publisher_restore(struct actor *self, void *data)
{
	struct sim_publisher_actor *s = data;

	take_truth(self, s);
	s->held = (struct slot_ref){s->st.held_index, s->st.held_generation};
	if (s->held.generation && !arena_hold_again(actor_arena(self), ARENA_PACKET, s->held))
		return ERR_FORMAT;
	ask_on(self, s->st.request);
	if (addr_is_nobody(s->st.stream)) {
		actor_timer_in_ms(self, PUBLISHER_RETRY, 1);
	} else {
		actor_timer_in_ms(self, PUBLISHER_VIDEO, 1);
		actor_timer_in_ms(self, PUBLISHER_AUDIO, 1);
	}
	return ERR_OK;
}

static void publisher_stop(struct actor *self, void *data, enum err reason)
{
	struct sim_publisher_actor *s = data;

	sim_of(actor_runtime(self))->requests_ended += s->st.request != 0;
	arena_release(actor_arena(self), ARENA_PACKET, s->held);
	if (reason == ERR_CLOSED && !addr_is_nobody(s->st.stream))
		actor_send(self, s->st.stream, unpublish, {});
}

/* ---- viewer: reading --------------------------------------------------------------------------- */

/* Sequences only grow; a late packet comes once, and not much later. */
static void check_sequence(
	struct sim *sim, struct sim_viewer_actor *s, const struct media_header *header)
{
	uint64_t *high = &s->st.seq_high[header->track];
	uint64_t *window = &s->st.seq_window[header->track];
	uint64_t seq = header->track_seq;

	if (seq > *high) {
		*window = seq - *high < 64 ? *window << (seq - *high) : 0;
		*window |= 1;
		*high = seq;
		return;
	}
	uint64_t back = *high - seq;

	SIM_CHECK(sim, header->flags & MEDIA_LATE, "track %u goes back from %llu to %llu (%s)",
		header->track, (unsigned long long)*high, (unsigned long long)seq, s->st.name);
	SIM_CHECK(sim, back >= 64 || !(*window >> back & 1), "track %u: %llu read twice (%s)",
		header->track, (unsigned long long)seq, s->st.name);
	if (back < 64)
		*window |= 1ull << back;
}

/* What its publisher has numbered comes once, too, whatever copies have made of the numbers. */
static void check_stamp(struct sim *sim, struct sim_viewer_actor *s,
	const struct media_header *header, const struct sim_stamp *stamp)
{
	struct sim_stamps *seen = &s->stamps;
	uint64_t *high = &seen->high[header->track], *window = &seen->window[header->track];

	if (header->track >= SIM_TRACK_MADE)
		return;
	if (seen->publisher != stamp->publisher)
		*seen = (struct sim_stamps){.publisher = stamp->publisher};
	if (stamp->seq > *high) {
		*window = stamp->seq - *high < 64 ? *window << (stamp->seq - *high) | 1 : 1;
		*high = stamp->seq;
		return;
	}
	uint64_t back = *high - stamp->seq;

	SIM_CHECK(sim, header->flags & MEDIA_LATE && back < 64 && !(*window >> back & 1),
		"packet %llu of publisher %llu's track %u is read after %llu%s (%s)",
		(unsigned long long)stamp->seq, (unsigned long long)stamp->publisher, header->track,
		(unsigned long long)*high, back < 64 && *window >> back & 1 ? ", again" : "",
		s->st.name);
	if (back < 64)
		*window |= UINT64_C(1) << back;
}

/* As sessions do: again and again while pictures cannot be decoded. */
static void wish_keyframe(struct actor *self, struct sim_viewer_actor *s)
{
	if (s->st.started || actor_now_us(self) - s->wished_us < KEYFRAME_WISH_MS * SIM_MS)
		return;
	s->wished_us = actor_now_us(self);
	actor_send(self, s->st.stream, keyframe_request, {.track = SIM_TRACK_VIDEO});
}

/* What is made is the other one. */
static bool is_aac(const struct sim_viewer_actor *s, uint8_t track)
{
	return track == (s->st.published_codec == MEDIA_AAC ? SIM_TRACK_AUDIO : SIM_TRACK_MADE);
}

static void check_packet(
	struct actor *self, struct sim_viewer_actor *s, const struct packet *packet)
{
	struct sim *sim = sim_of(actor_runtime(self));
	const struct media_header *header = &packet->header;
	uint8_t first = MEDIA_KEYFRAME | MEDIA_FRAME_START;
	size_t at = is_aac(s, header->track) ? SIM_AAC_PREFIX : 0;
	struct sim_stamp stamp;
	char name[32];

	memcpy(&stamp, packet->payload + at, sizeof(stamp));
	SIM_CHECK(sim, header->position == s->st.position, "position %llu reads as %llu (%s)",
		(unsigned long long)s->st.position, (unsigned long long)header->position,
		s->st.name);
	SIM_CHECK(sim,
		header->size >= at + sizeof(stamp) &&
			(stamp.track == header->track || (header->track >= SIM_TRACK_MADE &&
								 stamp.track == SIM_TRACK_AUDIO)),
		"payload of position %llu is not its own (%s)", (unsigned long long)s->st.position,
		s->st.name);
	sim_stream_name(sim->stream_of[stamp.publisher % SIM_NUMBERS_MAX], name, sizeof(name));
	SIM_CHECK(sim, !strcmp(name, s->st.name), "a viewer of %s reads what is of %s", s->st.name,
		name);
	if (header->track >= MEDIA_TRACKS_MAX)
		return;
	check_sequence(sim, s, header);
	check_stamp(sim, s, header, &stamp);
	sim_check_source(sim, s, header, stamp.publisher);
	s->st.last_packet_us = actor_now_us(self);
	s->st.last_publisher = stamp.publisher;
	if (header->track == SIM_TRACK_MADE)
		s->st.last_audio_us = actor_now_us(self);
	if (header->track == SIM_TRACK_VIDEO && !s->st.started) {
		s->st.started = (header->flags & first) == first;
		s->st.waited_key += !s->st.started;
		wish_keyframe(self, s);
	}
	sim->packets_read++;
	s->st.read++;
}

static bool is_replica(struct actor *self, struct addr stream)
{
	struct actor *actor = runtime_find(actor_runtime(self), stream.id);
	struct actor_facts facts;

	if (!actor)
		return true;
	runtime_facts(actor, &facts);
	return ((const struct stream_state *)facts.state)->replica;
}

/* What lies before may be of a time when this origin was a copy. */
static uint64_t source_first(struct actor *self, struct addr stream)
{
	const struct actor *actor = runtime_find(actor_runtime(self), stream.id);
	struct actor_facts facts;

	if (!actor)
		return 0;
	if (actor_phase(actor) == STREAM_CLAIMING)
		return UINT64_MAX; /* nothing in it is its own yet */
	runtime_facts(actor, &facts);
	return ((const struct stream_state *)facts.state)->source_first;
}

static void read_log(struct actor *self, struct sim_viewer_actor *s)
{
	struct sim *sim = sim_of(actor_runtime(self));
	const struct media_log *log = media_log_get(
		actor_arena(self), (struct slot_ref){s->st.log_index, s->st.log_generation});

	if (!log || addr_is_nobody(s->st.stream))
		return; /* the stream has ended; `down` is on its way */
	if (s->st.position < log->first) {
		s->st.forgotten += log->first - s->st.position;
		s->shown.hole = true;
		s->st.position = log->first;
	}
	for (; s->st.position < log->ready; s->st.position++) {
		const struct packet *packet =
			media_log_packet(actor_arena(self), log, s->st.position);

		if (packet) {
			check_packet(self, s, packet);
			continue;
		}
		s->st.holes++;
		s->shown.hole = true;
		SIM_CHECK(sim,
			is_replica(self, s->st.stream) || s->was_replica ||
				s->st.position < source_first(self, s->st.stream),
			"hole at %llu in an origin's log (%s)", (unsigned long long)s->st.position,
			s->st.name);
	}
}

static void viewer_pump(struct actor *self, void *data)
{
	struct sim_viewer_actor *s = data;

	if (!s->st.slow_ms)
		read_log(self, s);
	else if (!s->will_read)
		actor_timer_in_ms(self, VIEWER_READ, (int64_t)s->st.slow_ms);
	s->will_read = true;
}

/* ---- viewer: life ------------------------------------------------------------------------------ */

static void ask_subscribe(struct actor *self, struct sim_viewer_actor *s)
{
	struct msg_subscribe subscribe = {.wait_ms = WAIT_MS,
		.viewer = true,
		.audio = (uint8_t)s->st.audio_codec,
		.protocol = "sim"};

	memcpy(subscribe.stream_name, s->st.name, sizeof(subscribe.stream_name));
	s->st.asked_us = actor_now_us(self);
	s->st.request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA),
		WAIT_MS + REQUEST_MS, MSG_subscribe, &schema_subscribe, &subscribe);
	sim_of(actor_runtime(self))->requests_sent++;
}

static void retry_subscribe(struct actor *self, struct sim_viewer_actor *s)
{
	s->st.request = 0;
	s->st.stream = (struct addr){0};
	actor_become(self, SIM_VIEW_ASKING);
	actor_timer_in_ms(self, VIEWER_RETRY, 30 + (int64_t)below(self, 200));
}

ON(sim_viewer_actor, subscribed)
{
	struct sim *sim = sim_of(actor_runtime(self));
	const struct media_log *log = media_log_get(
		actor_arena(self), (struct slot_ref){m->log_index, m->log_generation});

	if (mail->request != s->st.request)
		return ERR_OK;
	s->st.request = 0;
	sim->requests_ended++;
	if (!log || !runtime_find(actor_runtime(self), m->stream.id)) {
		retry_subscribe(self, s); /* it has ended meanwhile */
		return ERR_OK;
	}
	SIM_CHECK(sim, m->start >= log->first || log->keyframe != m->start,
		"start %llu is forgotten", (unsigned long long)m->start);
	SIM_CHECK(sim, !log->keyframe || log->keyframe >= m->start || log->keyframe >= log->ready,
		"starts at %llu behind the keyframe at %llu (%s)", (unsigned long long)m->start,
		(unsigned long long)log->keyframe, s->st.name);
	s->st.stream = m->stream;
	s->st.epoch = m->epoch;
	s->st.log_index = m->log_index;
	s->st.log_generation = m->log_generation;
	s->st.position = s->st.started_at = m->start;
	s->st.started = false;
	s->was_replica = is_replica(self, m->stream);
	memset(s->st.seq_high, 0, sizeof(s->st.seq_high));
	memset(s->st.seq_window, 0, sizeof(s->st.seq_window));
	s->shown = (struct sim_shown){0};
	s->stamps = (struct sim_stamps){0};
	actor_become(self, SIM_VIEW_WATCHING);
	actor_monitor(self, m->stream);
	read_log(self, s);
	return ERR_OK;
}

ON(sim_viewer_actor, failed)
{
	if (!mail->request || mail->request != s->st.request)
		return ERR_OK;
	sim_of(actor_runtime(self))->requests_ended++;
	retry_subscribe(self, s);
	return ERR_OK;
}

ON(sim_viewer_actor, down)
{
	struct sim *sim = sim_of(actor_runtime(self));

	if (!addr_equal(m->who, s->st.stream))
		return ERR_OK;
	/* whatever its publishers do (while they come back in time) */
	SIM_CHECK(sim, !sim->scenario->standby || sim->leaving || sim->deaths,
		"a viewer of %s lost its stream", s->st.name);
	retry_subscribe(self, s);
	return ERR_OK;
}

ON(sim_viewer_actor, tracks)
{
	s->was_replica = s->was_replica || is_replica(self, s->st.stream);
	return ERR_OK;
}

static void viewer_timer(struct actor *self, void *data, unsigned timer)
{
	struct sim_viewer_actor *s = data;

	if (timer == VIEWER_READ) {
		s->will_read = false;
		read_log(self, s);
		return;
	}
	if (!s->st.request && actor_phase(self) == SIM_VIEW_ASKING)
		ask_subscribe(self, s);
}

static enum err viewer_init(struct actor *self, void *data, const void *args_)
{
	const struct sim_viewer_args *args = args_;
	struct sim_viewer_actor *s = data;

	text_copy(s->st.name, sizeof(s->st.name), args->stream_name);
	s->st.audio_codec = args->audio;
	s->st.published_codec = args->published;
	s->st.slow_ms = below(self, 8) ? 0 : 100 + below(self, 2500);
	actor_become(self, SIM_VIEW_ASKING);
	ask_subscribe(self, s);
	return ERR_OK;
}

static enum err viewer_restore(struct actor *self, void *data)
{
	struct sim_viewer_actor *s = data;

	ask_on(self, s->st.request);
	if (addr_is_nobody(s->st.stream))
		actor_timer_in_ms(self, VIEWER_RETRY, 1);
	return ERR_OK;
}

static void viewer_stop(struct actor *self, void *data, enum err reason)
{
	struct sim_viewer_actor *s = data;

	sim_of(actor_runtime(self))->requests_ended += s->st.request != 0;
	if (reason == ERR_CLOSED && !addr_is_nobody(s->st.stream))
		actor_send(self, s->st.stream, unsubscribe, {});
}

static const char *const publisher_phases[] = {"asking", "live", "replaced", NULL};
static const char *const viewer_phases[] = {"asking", "watching", NULL};

static const struct handler publisher_handlers[] = {
	HANDLER(sim_publisher_actor, published, 0),
	HANDLER(sim_publisher_actor, failed, 0),
	HANDLER(sim_publisher_actor, down, 0),
	HANDLER(sim_publisher_actor, replaced, 0),
	HANDLER(sim_publisher_actor, keyframe_request, 0),
};

static const struct handler viewer_handlers[] = {
	HANDLER(sim_viewer_actor, subscribed, 0),
	HANDLER(sim_viewer_actor, failed, 0),
	HANDLER(sim_viewer_actor, down, 0),
	HANDLER(sim_viewer_actor, tracks, 0),
};

const struct actor_type sim_publisher = {
	.name = "sim_publisher",
	.size = sizeof(struct sim_publisher_actor),
	.state = &schema_sim_publisher,
	.phases = publisher_phases,
	HANDLER_TABLE(publisher_handlers),
	.init = publisher_init,
	.restore = publisher_restore,
	.stop = publisher_stop,
	.timer = publisher_timer,
};

const struct actor_type sim_viewer = {
	.name = "sim_viewer",
	.size = sizeof(struct sim_viewer_actor),
	.state = &schema_viewer,
	.phases = viewer_phases,
	HANDLER_TABLE(viewer_handlers),
	.init = viewer_init,
	.restore = viewer_restore,
	.stop = viewer_stop,
	.timer = viewer_timer,
	.pump = viewer_pump,
};

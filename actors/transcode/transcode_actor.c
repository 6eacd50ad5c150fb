/* SPDX-License-Identifier: Apache-2.0
 *
 * transcoder: see transcode_actor.h.
 *
 *   media() -> frame_order (waits for what is late) -> assembler -> transcode_engine -> packets
 *
 * Owns the packets that wait in the window, and the codecs. A codec's memory cannot be carried
 * over: a successor opens new ones and goes on with the next packet, numbers unbroken.
 */
#include "actors/transcode/transcode_actor.h"

#include "actors/stream/assembler.h"
#include "actors/stream/frame_order.h"
#include "actors/stream/payload.h"
#include "actors/transcode/transcode_engine.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum {
	REQUEST_MS = 3000,
	/* A publisher's lost packet comes again within a round trip, or it may as well be concealed:
	 * everything behind it waits. */
	ORDER_WAIT_US = 60 * 1000,
	STATISTICS_MS = 1000,
	BEHIND_SMOOTHING = 16, /* frames */
	TRANSCODER_ANY = TRANSCODER_SUBSCRIBING | TRANSCODER_RUNNING,
};

enum transcoder_timer { TRANSCODER_TIMER_ORDER, TRANSCODER_TIMER_STATISTICS };

struct transcoder {
	struct transcoder_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	struct transcode_state engine_state;
	struct transcode *engine;
	struct frame_order order; /* each packet in it is held */
	struct assembler assembler;
	struct payload_packetiser packetiser;
	uint64_t subscribe_request;
	bool stream_is_gone;
	int64_t newest_us; /* capture time of the frame that came last */
	int64_t busy_us;   /* as of the last statistics */
	uint64_t frames;
	uint8_t frame[TRANSCODE_INPUT_MAX]; /* of the assembler */
};

/* ---- statistics ------------------------------------------------------------------------------ */

/* The engine counts on from what its predecessor had counted. */
static void give_counters(struct transcoder *s)
{
	s->engine_state.packets_in = s->st.frames_in;
	s->engine_state.packets_out = s->st.frames_out;
	s->engine_state.corrupt = s->st.corrupt;
	s->engine_state.bridged = s->st.bridged;
	s->engine_state.bridged_us = s->st.bridged_us;
	s->engine_state.segments = s->st.resets;
	s->engine_state.lost = s->st.encoder_lost;
}

static void take_counters(struct transcoder *s)
{
	s->st.frames_in = s->engine_state.packets_in;
	s->st.frames_out = s->engine_state.packets_out;
	s->st.corrupt = s->engine_state.corrupt;
	s->st.bridged = s->engine_state.bridged;
	s->st.bridged_us = s->engine_state.bridged_us;
	s->st.resets = s->engine_state.segments;
	s->st.encoder_lost = s->engine_state.lost;
}

static void take_statistics(struct actor *self, struct transcoder *s)
{
	struct actor_facts facts;

	runtime_facts(self, &facts);
	if (s->st.frames_out > s->frames)
		s->st.us_per_frame = (uint32_t)((uint64_t)(facts.busy_us - s->busy_us) /
						(s->st.frames_out - s->frames));
	s->busy_us = facts.busy_us;
	s->frames = s->st.frames_out;
	actor_timer_in_ms(self, TRANSCODER_TIMER_STATISTICS, STATISTICS_MS);
}

static void note_behind(struct transcoder *s, int64_t capture_us)
{
	int64_t behind_us = s->newest_us - capture_us;

	s->st.behind_us +=
		s->st.behind_max_us ? (behind_us - s->st.behind_us) / BEHIND_SMOOTHING : behind_us;
	if (behind_us > s->st.behind_max_us)
		s->st.behind_max_us = behind_us;
}

/* ---- out: frames to packets ------------------------------------------------------------------ */

/* One payload of a frame; false when it was the last, or when there is no slot for it. */
static bool send_payload(struct actor *self, struct transcoder *s, struct payload_cut *cut,
	const struct media_header *header)
{
	struct arena *arena = actor_arena(self);
	struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, actor_addr(self).id);
	struct packet *packet = arena_packet(arena, ref);
	struct payload_packet payload;

	s->st.last_seq++; /* what is dropped leaves a gap that can be seen */
	if (!packet) {
		s->st.dropped_no_slot++;
		return false;
	}
	if (payload_cut_next(cut, packet->payload, sizeof(packet->payload), &payload)) {
		packet->header = *header;
		packet->header.track_seq = s->st.last_seq;
		packet->header.size = payload.size;
		packet->header.flags |= payload.flags;
		packet->header.priority = payload.priority;
		s->st.bytes_out += payload.size;
		actor_media(self, s->st.stream, ref);
	}
	arena_release(arena, ARENA_PACKET, ref);
	return payload.size && !(payload.flags & MEDIA_FRAME_END);
}

static void send_frame(struct actor *self, struct transcoder *s, const struct transcode_packet *p)
{
	size_t goal = s->st.codec == MEDIA_OPUS ? MEDIA_PAYLOAD_MAX : MEDIA_PAYLOAD_GOAL;
	struct media_header header = {
		.capture_us = p->capture_us,
		.rtp_time = (uint64_t)(p->pts + TRANSCODER_TIME_BASE),
		.decode_time = (uint64_t)(p->pts + TRANSCODER_TIME_BASE),
		.frame = ++s->st.last_frame,
		.track = s->st.track,
		.flags = p->discontinuity ? MEDIA_DISCONTINUITY : 0,
	};
	struct payload_cut cut;

	note_behind(s, p->capture_us);
	if (payload_cut_begin(&cut, &s->packetiser, p->bytes, p->size, header.rtp_time, goal)) {
		s->st.encoder_lost++;
		return;
	}
	while (send_payload(self, s, &cut, &header))
		header.flags = 0;
}

/* ---- in: packets to frames ------------------------------------------------------------------- */

static uint64_t pack_ref(struct slot_ref ref)
{
	return (uint64_t)ref.generation << 32 | ref.index;
}

static struct slot_ref unpack_ref(uint64_t packed)
{
	return (struct slot_ref){.index = (uint32_t)packed, .generation = (uint32_t)(packed >> 32)};
}

static void transcode_frame(
	struct actor *self, struct transcoder *s, const struct assembler_frame *frame)
{
	struct transcode_packet made;
	enum err err;

	s->newest_us = frame->capture_us;
	err = transcode_put(
		s->engine, s->frame, frame->size, (int64_t)frame->rtp_time, frame->capture_us);
	if (err == ERR_REPLAY)
		s->st.late++;
	while (transcode_take(s->engine, &made))
		send_frame(self, s, &made);
}

static void assemble(struct actor *self, struct transcoder *s, struct slot_ref ref)
{
	struct arena *arena = actor_arena(self);
	const struct packet *packet = arena_packet(arena, ref);
	struct assembler_frame frame;
	enum err err = ERR_AGAIN;

	if (packet)
		err = assembler_push(&s->assembler, &packet->header, packet->payload, s->frame,
			sizeof(s->frame), &frame);
	arena_release(arena, ARENA_PACKET, ref);
	if (!err)
		transcode_frame(self, s, &frame);
	else if (err != ERR_AGAIN && err != ERR_REPLAY)
		s->st.damaged++;
}

/* Everything that is due, in order. */
static void drain(struct actor *self, struct transcoder *s)
{
	enum frame_order_event event;
	struct frame_order_out out;

	while ((event = frame_order_pop(&s->order, actor_now_us(self), &out))) {
		if (event == FRAME_ORDER_PACKET)
			assemble(self, s, unpack_ref(out.ref));
		else
			s->st.lost += out.lost;
	}
	if (out.deadline_us == INT64_MAX)
		actor_timer_off(self, TRANSCODER_TIMER_ORDER);
	else
		actor_timer_at(self, TRANSCODER_TIMER_ORDER, out.deadline_us);
	take_counters(s);
}

static void take_packet(struct actor *self, struct transcoder *s, struct slot_ref ref)
{
	struct arena *arena = actor_arena(self);
	const struct packet *packet = arena_packet(arena, ref);
	int64_t now_us = actor_now_us(self);
	uint64_t seq = packet ? packet->header.track_seq : 0;
	enum err err;

	if (seq == 0 || seq > INT64_MAX || packet->header.track != s->st.source.id) {
		s->st.dropped_stray++;
		return;
	}
	if (!arena_hold(arena, ARENA_PACKET, ref))
		return;
	err = frame_order_push(&s->order, seq, pack_ref(ref), now_us);
	if (err == ERR_AGAIN) { /* far ahead: the window gives up what is in the way */
		drain(self, s);
		err = frame_order_push(&s->order, seq, pack_ref(ref), now_us);
	}
	if (err) {
		s->st.late++;
		arena_release(arena, ARENA_PACKET, ref);
	}
}

static void transcoder_media(struct actor *self, void *data, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct transcoder *s = data;

	if (!addr_equal(from, s->st.stream)) {
		s->st.dropped_stray += count;
		return;
	}
	for (size_t i = 0; i < count; i++)
		take_packet(self, s, packets[i]);
	drain(self, s);
}

/* ---- mail ------------------------------------------------------------------------------------ */

/* Goes on with the source track as it is now, or ends. */
static void follow_source(
	struct actor *self, struct transcoder *s, const struct media_track *tracks, size_t count)
{
	const struct media_track *track = NULL;
	enum err err = ERR_OK;

	if (!count)
		return; /* a new publisher has not said yet what it sends */
	for (size_t i = 0; i < count && !track; i++)
		if (tracks[i].id == s->st.source.id)
			track = &tracks[i];
	if (!track || track->codec != s->st.source.codec ||
		track->clock_rate != s->st.source.clock_rate) {
		actor_stop(self, ERR_CODEC);
		return;
	}
	if (track->codec == MEDIA_AAC)
		err = transcode_configure(s->engine, track->config, track->config_size);
	if (err)
		actor_stop(self, err);
	else
		s->st.source = *track;
}

ON(transcoder, subscribed)
{
	if (mail->request != s->subscribe_request)
		return ERR_OK;
	s->subscribe_request = 0;
	actor_become(self, TRANSCODER_RUNNING);
	follow_source(self, s, m->tracks, m->tracks_count);
	return ERR_OK;
}

ON(transcoder, tracks)
{
	if (addr_equal(mail->from, s->st.stream))
		follow_source(self, s, m->tracks, m->tracks_count);
	return ERR_OK;
}

ON(transcoder, down)
{
	if (addr_equal(m->who, s->st.stream)) {
		s->stream_is_gone = true;
		actor_stop(self, ERR_DEAD);
	}
	return ERR_OK;
}

ON(transcoder, failed)
{
	if (mail->request && mail->request == s->subscribe_request)
		actor_stop(self, m->err);
	return ERR_OK;
}

static void transcoder_timer(struct actor *self, void *data, unsigned timer)
{
	struct transcoder *s = data;

	switch ((enum transcoder_timer)timer) {
	case TRANSCODER_TIMER_ORDER: drain(self, s); break;
	case TRANSCODER_TIMER_STATISTICS: take_statistics(self, s); break;
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

/* All that is not in the state; from what is. */
static enum err build(struct actor *self, struct transcoder *s)
{
	const struct media_track *source = &s->st.source;
	enum err err;

	if (addr_is_nobody(s->st.stream) || source->id >= MEDIA_TRACKS_MAX ||
		s->st.track >= MEDIA_TRACKS_MAX || s->st.track == source->id ||
		s->st.last_seq > INT64_MAX)
		return ERR_FORMAT;
	s->engine_state = (struct transcode_state){
		.from = source->codec,
		.to = s->st.codec,
		.channels = source->channels == 1 ? 1 : 2,
		.clock_rate = source->clock_rate,
		.config_size = source->config_size,
	};
	memcpy(s->engine_state.config, source->config, sizeof(s->engine_state.config));
	give_counters(s);
	err = transcode_create(&s->engine, &s->engine_state);
	if (err)
		return err;
	frame_order_init(&s->order, ORDER_WAIT_US);
	assembler_init(&s->assembler, source->codec);
	payload_packetiser_init(&s->packetiser, s->st.codec);
	s->frames = s->st.frames_out;
	actor_timer_in_ms(self, TRANSCODER_TIMER_STATISTICS, STATISTICS_MS);
	return ERR_OK;
}

/* From the live edge: what viewers have seen already is not made again. */
static void subscribe(struct actor *self, struct transcoder *s)
{
	struct msg_subscribe subscribe = {
		.feed = true,
		.tracks = (uint8_t)(1u << s->st.source.id),
		.protocol = "transcode",
		.from_position = UINT64_MAX,
	};

	memcpy(subscribe.stream_name, s->st.stream_name, sizeof(subscribe.stream_name));
	s->subscribe_request = actor_request_mail(
		self, s->st.stream, REQUEST_MS, MSG_subscribe, &schema_subscribe, &subscribe);
}

static void describe_made(const struct transcoder *s, struct media_track *made)
{
	*made = (struct media_track){
		.id = s->st.track,
		.kind = MEDIA_AUDIO,
		.codec = s->st.codec,
		.channels = s->engine_state.channels,
		.clock_rate = TRANSCODE_OUTPUT_CLOCK,
		.config_size = s->engine_state.output_config_size,
	};
	memcpy(made->config, s->engine_state.output_config, sizeof(made->config));
}

static enum err transcoder_init(struct actor *self, void *data, const void *args_)
{
	struct transcoder *s = data;
	const struct transcoder_args *args = args_;
	char name[ACTOR_NAME_MAX + 1];
	enum err err;

	s->st.stream = args->start->stream;
	s->st.source = args->start->source;
	s->st.codec = args->start->codec;
	s->st.track = args->start->track;
	memcpy(s->st.stream_name, args->start->stream_name, sizeof(s->st.stream_name));
	err = build(self, s);
	if (err)
		return err;
	snprintf(name, sizeof(name), "transcode/%.100s/%s", s->st.stream_name,
		media_codec_name(s->st.codec));
	actor_set_name(self, name);
	describe_made(s, args->made);
	actor_become(self, TRANSCODER_SUBSCRIBING);
	actor_monitor(self, s->st.stream);
	subscribe(self, s);
	log_info(actor_log(self), "transcode_started", "stream", s->st.stream_name, "from",
		media_codec_name(s->st.source.codec), "to", media_codec_name(s->st.codec));
	return ERR_OK;
}

/* The stream knows us already; it is asked again because the tracks may have changed meanwhile. */
static enum err transcoder_restore(struct actor *self, void *data)
{
	struct transcoder *s = data;
	enum err err = build(self, s);

	if (!err)
		subscribe(self, s);
	return err;
}

static void transcoder_stop(struct actor *self, void *data, enum err reason)
{
	struct transcoder *s = data;

	for (int i = 0; i < FRAME_ORDER_WINDOW; i++)
		if (s->order.slots[i].track_seq)
			arena_release(
				actor_arena(self), ARENA_PACKET, unpack_ref(s->order.slots[i].ref));
	if (!s->stream_is_gone)
		actor_send(self, s->st.stream, unsubscribe, {});
	transcode_destroy(&s->engine);
	log_info(actor_log(self), "transcode_ended", "stream", s->st.stream_name, "reason",
		err_name(reason), "frames_in", s->st.frames_in, "frames_out", s->st.frames_out);
}

static const char *const transcoder_phases[] = {"subscribing", "running", NULL};

static const struct handler transcoder_handlers[] = {
	/*                  message     legal in */
	HANDLER(transcoder, subscribed, TRANSCODER_ANY),
	HANDLER(transcoder, tracks, TRANSCODER_ANY),
	HANDLER(transcoder, down, TRANSCODER_ANY),
	HANDLER(transcoder, failed, TRANSCODER_ANY),
};

const struct actor_type transcoder_actor = {
	.name = "transcoder",
	.size = sizeof(struct transcoder),
	.state = &schema_transcoder_state,
	.phases = transcoder_phases,
	HANDLER_TABLE(transcoder_handlers),
	.init = transcoder_init,
	.restore = transcoder_restore,
	.stop = transcoder_stop,
	.timer = transcoder_timer,
	.media = transcoder_media,
};

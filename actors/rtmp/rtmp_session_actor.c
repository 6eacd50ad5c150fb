/* SPDX-License-Identifier: Apache-2.0
 *
 * rtmp session: one connection that publishes by RTMP.
 *
 *   connected --publish--> asking --published--> publishing --deleteStream--> connected
 *   (any) --peer gone, deadline, bad input, refused, replaced, stream down--> (ends)
 *
 * Bytes are read into the session's slot, the engine (rtmp_server.h) makes events of them, those
 * become packets (rtmp_media.h) and leave for the stream in the same turn. Input rests in the slot
 * while an answer is awaited: to `callback_ask`, to `publish`, and to `tracks_changed`, because media must not
 * overtake the tracks it belongs to.
 *
 * Owns its socket and one ARENA_BUFFER slot, in which lies all that changes with a packet: engine
 * state, packetisers, clock, unread input, unsent output. Playing by RTMP is refused here.
 *
 * Takeover: the slot and the schema'd state are all that is needed to go on, byte for byte. What a
 * successor lacks today is the socket: it will come from the holder process that keeps a duplicate
 * of every accepted socket, under the number in `socket`. Until then a restored session tells its
 * stream goodbye and ends with ERR_CLOSED; the publisher connects anew.
 */
#include "actors/callback/callback.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/rtmp/rtmp_media.h"
#include "runtime/config.h"
#include "runtime/net.h"

#include <stdio.h>

enum rtmp_session_phase {
	CONNECTED = 1 << 0,
	ASKING = 1 << 1,
	PUBLISHING = 1 << 2,
	ANY = CONNECTED | ASKING | PUBLISHING,
};

enum rtmp_session_timer { TIMER_DEADLINE, TIMER_STATISTICS, TIMER_SOCKET_GONE };

enum {
	IN_SIZE = 64 * 1024,	/* bytes a read asks for: half a large keyframe */
	TURN_MAX = 512 * 1024,	/* bytes read before others have their turn */
	OUT_SIZE = 16 * 1024,	/* answers not sent yet; a peer that does not read gets no more */
	AUDIO_ROOM = 32 * 1024, /* of the arena, beside the largest message */
	PUBLISH_MS = 10000,
	TRACKS_MS = 3000,
	STATISTICS_MS = 1000,
};

/* In the arena of the worker. Plain: valid in another process at another address. */
struct rtmp_slot {
	struct rtmp_server server;
	struct rtmp_media media;
	uint64_t dropped_no_slot;
	uint64_t dropped_codec;
	uint8_t tracks_untold;	  /* the stream does not know the tracks as they are now */
	uint32_t in_at, in_end;	  /* input read but not used yet */
	uint32_t out_at, out_end; /* output not sent yet */
	uint8_t in[IN_SIZE];
	uint8_t out[OUT_SIZE];
	uint8_t arena[]; /* partial messages, to the end of the slot */
};

_Static_assert(
	(size_t)ARENA_BUFFER_SIZE >= sizeof(struct rtmp_slot) + RTMP_MESSAGE_MAX + AUDIO_ROOM,
	"the largest message of the default configuration fits, and audio beside it");

struct rtmp_session {
	struct rtmp_session_state st;

	/* rebuilt by a successor */
	struct rtmp_slot *slot;
	size_t arena_size;
	uint32_t socket;	   /* 0 = there is none */
	uint64_t callback_request; /* under way, or 0 */
	uint64_t publish_request;
	uint64_t tracks_request;
	bool has_event; /* `event` waits for tracks_request; it borrows from the slot */
	struct rtmp_event event;
	bool ending;
	bool deaf;	    /* the peer takes nothing any more */
	bool told_b_frames; /* logged once */
	bool told_codec;
	int64_t counted_us; /* baseline of the rates */
	struct rtmp_media_counters counted;
};

/* ---- output, and the end --------------------------------------------------------------------- */

static struct writer output(struct rtmp_slot *slot)
{
	if (slot->out_at > 0) {
		memmove(slot->out, slot->out + slot->out_at, slot->out_end - slot->out_at);
		slot->out_end -= slot->out_at;
		slot->out_at = 0;
	}
	return writer_of(slot->out + slot->out_end, OUT_SIZE - slot->out_end);
}

static void output_done(struct rtmp_slot *slot, const struct writer *out)
{
	slot->out_end += (uint32_t)writer_used(out);
}

/* A peer that closes without listening breaks the socket for writing, while what it sent last is
 * still to be read: answers are thrown away then, and the reading side finds the end. */
static void flush(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;

	while (slot->out_at < slot->out_end && !s->deaf) {
		struct iovec rest = {slot->out + slot->out_at, slot->out_end - slot->out_at};
		long written = net_write(self, s->socket, &rest, 1);

		if (written == -2)
			s->deaf = true;
		if (written <= 0)
			break;
		slot->out_at += (uint32_t)written;
	}
	if (s->deaf || slot->out_at == slot->out_end)
		slot->out_at = slot->out_end = 0;
}

static bool is_blocked(const struct rtmp_slot *slot)
{
	return OUT_SIZE - (slot->out_end - slot->out_at) < RTMP_OUT_MIN;
}

/* An answer is awaited: the input rests. */
static bool is_waiting(const struct rtmp_session *s)
{
	return s->callback_request || s->publish_request || s->tracks_request;
}

/* Connections that never said what they want are none of the operator's business. */
static void log_end(
	struct actor *self, const struct rtmp_session *s, enum err reason, const char *text)
{
	const struct rtmp_media_counters *count = &s->slot->media.count;

	if (!s->st.stream_name[0])
		log_debug(actor_log(self), "rtmp_session_ended", "client", s->st.client, "reason",
			err_name(reason), "text", text);
	else
		log_info(actor_log(self), "rtmp_session_ended", "client", s->st.client, "stream",
			s->st.stream_name, "reason", err_name(reason), "text", text, "bytes_in",
			s->slot->server.bytes_in, "video_frames", count->frames[RTMP_MEDIA_VIDEO],
			"audio_frames", count->frames[RTMP_MEDIA_AUDIO], "keyframes",
			count->keyframes, "jitter_us", s->slot->media.clock.jitter_us);
}

static void finish(struct actor *self, struct rtmp_session *s, enum err reason, const char *text)
{
	if (s->ending)
		return;
	s->ending = true;
	text_copy(s->st.error, sizeof(s->st.error), text);
	log_end(self, s, reason, text);
	actor_stop(self, reason);
}

static void refuse(struct actor *self, struct rtmp_session *s, enum err reason, const char *code,
	const char *text)
{
	struct writer out = output(s->slot);

	rtmp_server_reject(&s->slot->server, &out, actor_now_us(self), code, text);
	output_done(s->slot, &out);
	finish(self, s, reason, text);
}

/* Tells the publisher that it is over. */
static void say_goodbye(struct actor *self, struct rtmp_session *s, const char *text)
{
	struct writer out = output(s->slot);

	rtmp_server_stop(&s->slot->server, &out, actor_now_us(self), text);
	output_done(s->slot, &out);
}

/* What is shown of the slot. */
static void copy_counters(struct rtmp_session *s)
{
	const struct rtmp_slot *slot = s->slot;
	const struct rtmp_media_counters *count = &slot->media.count;
	struct rtmp_session_state *st = &s->st;

	st->bytes_in = slot->server.bytes_in;
	st->jitter_us = (uint32_t)slot->media.clock.jitter_us;
	st->time_error_us = slot->media.clock.error_us;
	st->time_jumps = slot->media.clock.jumps;
	st->time_steps = slot->media.clock.steps;
	st->times_backward = count->times_backward;
	st->times_far = count->times_far;
	st->video_frames = count->frames[RTMP_MEDIA_VIDEO];
	st->video_packets = count->packets[RTMP_MEDIA_VIDEO];
	st->audio_frames = count->frames[RTMP_MEDIA_AUDIO];
	st->audio_packets = count->packets[RTMP_MEDIA_AUDIO];
	st->keyframes = count->keyframes;
	st->b_frames = count->b_frames;
	st->b_frames_referenced = count->b_frames_referenced;
	st->dropped_waiting_keyframe = count->dropped_waiting_keyframe;
	st->dropped_no_config = count->dropped_no_config;
	st->dropped_bad_config = count->dropped_bad_config;
	st->dropped_bad_frame = count->dropped_bad_frame;
	st->dropped_no_slot = slot->dropped_no_slot;
	st->dropped_codec = slot->dropped_codec;
	st->dropped_malformed = slot->server.malformed;
	st->dropped_not_legal = slot->server.dropped;
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void ask_stream(struct actor *self, struct rtmp_session *s)
{
	struct msg_publish publish = {.protocol = "rtmp"};

	text_copy(publish.stream_name, sizeof(publish.stream_name), s->st.stream_name);
	text_copy(publish.subject, sizeof(publish.subject), s->st.subject);
	text_copy(publish.resume, sizeof(publish.resume), s->st.resume);
	s->publish_request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA), PUBLISH_MS,
		MSG_publish, &schema_publish, &publish);
}

/* May it begin? Without callbacks it does at once. */
static void ask_callback(struct actor *self, struct rtmp_session *s, const char *query)
{
	struct msg_callback_ask ask = {.protocol = "rtmp"};

	if (!callback_wait_ms(actor_config(self), false)) {
		ask_stream(self, s);
	} else if (callback_param(query, strlen(query), ask.param)) {
		refuse(self, s, ERR_TOO_LARGE, "Denied",
			"The parameters are longer than a callback can carry.");
	} else {
		text_copy(ask.stream_name, sizeof(ask.stream_name), s->st.stream_name);
		text_copy(ask.client, sizeof(ask.client), s->st.client);
		s->callback_request = callback_ask(self, &ask);
	}
}

static void ask_to_publish(
	struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	struct rtmp_token_question question = {
		.app = event->app, .stream = event->name, .query = event->query};
	char name[ACTOR_NAME_MAX + 1];

	snprintf(s->st.stream_name, sizeof(s->st.stream_name), "%s/%s", event->app, event->name);
	snprintf(name, sizeof(name), "rtmp/%.120s", s->st.stream_name);
	actor_set_name(self, name);
	rtmp_office_check_token(self, &question);
	if (question.err) {
		refuse(self, s, question.err, "Denied", question.why);
		return;
	}
	/* a subject that does not fit is none: cut ones could be taken for each other */
	s->st.subject[0] = 0;
	if (strlen(question.claims.sub) < sizeof(s->st.subject))
		text_copy(s->st.subject, sizeof(s->st.subject), question.claims.sub);
	/* that of an earlier session, until this one has its own */
	name_query_get(
		event->query, strlen(event->query), "resume", s->st.resume, sizeof(s->st.resume));
	actor_become(self, ASKING);
	ask_callback(self, s, event->query);
}

static void stop_publishing(struct actor *self, struct rtmp_session *s)
{
	if (!addr_is_nobody(s->st.stream)) {
		actor_unmonitor(self, s->st.stream);
		actor_send(self, s->st.stream, unpublish, {});
	}
	s->st.stream = (struct addr){0};
	s->st.published_us = 0;
	s->st.tracks_count = 0;
	callback_end(self, &s->st.callback);
	actor_become(self, CONNECTED);
}

/* ---- media ----------------------------------------------------------------------------------- */

static void log_tracks(struct actor *self, const struct rtmp_session *s)
{
	const struct media_track none = {0};
	const struct rtmp_media *m = &s->slot->media;
	const struct media_track *video =
		m->has[RTMP_MEDIA_VIDEO] ? &m->tracks[RTMP_MEDIA_VIDEO] : &none;
	const struct media_track *audio =
		m->has[RTMP_MEDIA_AUDIO] ? &m->tracks[RTMP_MEDIA_AUDIO] : &none;

	log_info(actor_log(self), "rtmp_tracks", "stream", s->st.stream_name, "video",
		media_codec_name(video->codec), "width", video->width, "height", video->height,
		"audio", media_codec_name(audio->codec), "sample_rate", audio->clock_rate,
		"channels", audio->channels);
}

static void announce_tracks(
	struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	struct msg_tracks_changed changed;

	memset(&changed, 0, sizeof(changed));
	changed.tracks_count = rtmp_media_tracks(&s->slot->media, changed.tracks);
	s->st.tracks_count = changed.tracks_count;
	memcpy(s->st.tracks, changed.tracks, sizeof(s->st.tracks));
	s->slot->tracks_untold = false;
	s->event = *event;
	s->has_event = true;
	s->tracks_request = actor_request_mail(self, s->st.stream, TRACKS_MS, MSG_tracks_changed,
		&schema_tracks_changed, &changed);
	log_tracks(self, s);
}

/* The rest of a frame for which no slot is free: its numbers are used up, so that the gap shows. */
static void drop_rest(struct rtmp_session *s, struct rtmp_media_cut *cut)
{
	struct packet packet;

	while (rtmp_media_next(cut, &packet.header, packet.payload))
		s->slot->dropped_no_slot++;
}

static void send_frame(struct actor *self, struct rtmp_session *s, struct rtmp_media_cut *cut)
{
	struct arena *arena = actor_arena(self);
	uint8_t flags = 0;

	while (!(flags & MEDIA_FRAME_END)) {
		struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, actor_addr(self).id);
		struct packet *packet = arena_packet(arena, ref);

		if (!packet) {
			drop_rest(s, cut);
			return;
		}
		if (rtmp_media_next(cut, &packet->header, packet->payload)) {
			flags = packet->header.flags;
			actor_media(self, s->st.stream, ref);
		} else {
			flags = MEDIA_FRAME_END;
		}
		arena_release(arena, ARENA_PACKET, ref);
	}
	if (s->slot->media.count.b_frames_referenced && !s->told_b_frames) {
		s->told_b_frames = true;
		log_warn(actor_log(self), "bframes_referenced", "stream", s->st.stream_name, "text",
			"B-frames that others refer to cannot be left out for WebRTC viewers; "
			"encode without B-frames, or with b-pyramid=none");
	}
}

static bool is_frame(const struct rtmp_event *event)
{
	return (event->type == RTMP_EVENT_VIDEO && event->video.packet == FLV_FRAMES) ||
	       (event->type == RTMP_EVENT_AUDIO && event->audio.packet == FLV_FRAMES);
}

/* The headers of picture and sound come one after the other, before the first frame of either: they
 * are told together, so that no viewer finds a stream that has only half of its tracks. */
static void take_media(struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	struct rtmp_media_cut cut;

	if (s->slot->tracks_untold && is_frame(event)) {
		announce_tracks(self, s, event);
		return;
	}
	switch (rtmp_media_take(&s->slot->media, event, actor_wall_us(self), &cut)) {
	case RTMP_MEDIA_TRACKS:
		if (is_frame(event))
			announce_tracks(self, s, event);
		else
			s->slot->tracks_untold = true;
		break;
	case RTMP_MEDIA_FRAME: send_frame(self, s, &cut); break;
	case RTMP_MEDIA_NOTHING: break;
	}
}

static void take_unsupported(
	struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	s->slot->dropped_codec++;
	if (s->told_codec)
		return;
	s->told_codec = true;
	log_warn(actor_log(self), "codec_not_carried", "stream", s->st.stream_name, "kind",
		event->is_video ? "video" : "audio", "error", err_name(event->err));
}

/* ---- input ----------------------------------------------------------------------------------- */

static void handle(struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	switch (event->type) {
	case RTMP_EVENT_CONNECT: text_copy(s->st.app, sizeof(s->st.app), event->app); break;
	case RTMP_EVENT_PUBLISH: ask_to_publish(self, s, event); break;
	case RTMP_EVENT_PLAY:
		refuse(self, s, ERR_UNSUPPORTED, "Failed",
			"Playing by RTMP is not supported; play by HTTP-FLV or WHEP.");
		break;
	case RTMP_EVENT_METADATA:
		text_copy(s->st.encoder, sizeof(s->st.encoder), event->metadata.encoder);
		take_media(self, s, event);
		break;
	case RTMP_EVENT_VIDEO:
	case RTMP_EVENT_AUDIO: take_media(self, s, event); break;
	case RTMP_EVENT_UNSUPPORTED: take_unsupported(self, s, event); break;
	case RTMP_EVENT_STOP: stop_publishing(self, s); break;
	case RTMP_EVENT_PAUSE: break;
	}
}

/* Uses up the input that is there, as far as nothing is waited for. */
static void use_input(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;

	while (!s->ending && !is_waiting(s)) {
		struct reader in = reader_of(slot->in + slot->in_at, slot->in_end - slot->in_at);
		struct writer out = output(slot);
		struct rtmp_event event;
		enum err err = rtmp_server_input(&slot->server, slot->arena, s->arena_size, &in,
			&out, actor_now_us(self), &event);

		slot->in_at = (uint32_t)(in.at - slot->in);
		output_done(slot, &out);
		if (err == ERR_OK) {
			handle(self, s, &event);
			continue;
		}
		flush(self, s);
		if (err == ERR_NO_SPACE && !is_blocked(slot))
			continue;
		if (err != ERR_NO_SPACE && err != ERR_AGAIN && err != ERR_BUSY)
			finish(self, s, err, slot->server.error);
		return;
	}
}

/* What the socket is watched for, and until when. */
static void settle(struct actor *self, struct rtmp_session *s)
{
	int64_t deadline_us = rtmp_server_deadline(&s->slot->server);
	unsigned events = 0;

	if (s->ending)
		return;
	flush(self, s);
	if (!is_waiting(s) && !is_blocked(s->slot))
		events |= NET_READABLE;
	if (s->slot->out_at < s->slot->out_end)
		events |= NET_WRITABLE;
	net_want(self, s->socket, events);
	if (deadline_us == RTMP_NO_DEADLINE)
		actor_timer_off(self, TIMER_DEADLINE);
	else
		actor_timer_at(self, TIMER_DEADLINE, deadline_us);
}

static void read_input(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;
	size_t turn = 0;

	use_input(self, s); /* what rested for want of room in the output */
	while (!s->ending && !is_waiting(s) && !is_blocked(slot) && turn < TURN_MAX) {
		long size = net_read(self, s->socket, slot->in, IN_SIZE);

		if (size == -1)
			return;
		if (size <= 0) {
			finish(self, s, ERR_CLOSED,
				size ? "the connection broke" : "closed by the client");
			return;
		}
		slot->in_at = 0;
		slot->in_end = (uint32_t)size;
		turn += (size_t)size;
		use_input(self, s);
	}
}

static void rtmp_session_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	struct rtmp_session *s = data;

	if (s->ending || socket != s->socket)
		return;
	if ((events & NET_CLOSED) &&
		(s->callback_request || s->publish_request || is_blocked(s->slot))) {
		finish(self, s, ERR_CLOSED, "closed by the client");
		return;
	}
	if (events & NET_WRITABLE)
		flush(self, s);
	read_input(self, s);
	settle(self, s);
}

/* ---- mail ------------------------------------------------------------------------------------ */

ON(rtmp_session, callback_allowed)
{
	if (s->ending || mail->request != s->callback_request)
		return ERR_OK; /* its callback notices that we end */
	s->callback_request = 0;
	s->st.callback = m->callback;
	ask_stream(self, s);
	return ERR_OK;
}

static void callback_refused(struct actor *self, struct rtmp_session *s, const struct msg_failed *m)
{
	enum err err = callback_failed(self, m);

	s->callback_request = 0;
	if (err)
		refuse(self, s, err, "Denied", m->text[0] ? m->text : err_text(err));
	else
		ask_stream(self, s);
}

ON(rtmp_session, published)
{
	struct writer out = output(s->slot);

	if (s->ending || mail->request != s->publish_request) {
		actor_send(self, m->stream, unpublish, {});
		return ERR_OK;
	}
	s->publish_request = 0;
	s->st.stream = m->stream;
	s->st.epoch = m->epoch;
	text_copy(s->st.resume, sizeof(s->st.resume), m->resume);
	s->st.published_us = actor_wall_us(self);
	rtmp_media_init(&s->slot->media); /* a connection may publish several times */
	s->counted = (struct rtmp_media_counters){0};
	actor_monitor(self, m->stream);
	rtmp_server_accept(&s->slot->server, &out, s->st.resume);
	output_done(s->slot, &out);
	actor_become(self, PUBLISHING);
	log_info(actor_log(self), "rtmp_publishing", "client", s->st.client, "stream",
		s->st.stream_name, "epoch", s->st.epoch);
	use_input(self, s);
	settle(self, s);
	return ERR_OK;
}

/* The stream knows the tracks now: what had to wait for that goes on. */
ON(rtmp_session, done)
{
	if (s->ending || mail->request != s->tracks_request)
		return ERR_OK;
	s->tracks_request = 0;
	if (s->has_event) {
		s->has_event = false;
		take_media(self, s, &s->event);
	}
	use_input(self, s);
	settle(self, s);
	return ERR_OK;
}

ON(rtmp_session, failed)
{
	const char *text = m->text[0] ? m->text : err_text(m->err);

	if (!mail->request || s->ending)
		return ERR_OK;
	if (mail->request == s->callback_request) {
		callback_refused(self, s, m);
	} else if (mail->request == s->publish_request) {
		s->publish_request = 0;
		refuse(self, s, m->err,
			m->err == ERR_BUSY || m->err == ERR_EXISTS ? "BadName" : "Failed", text);
	} else if (mail->request == s->tracks_request) {
		s->tracks_request = 0;
		say_goodbye(self, s, text);
		finish(self, s, m->err, text);
	}
	return ERR_OK;
}

ON(rtmp_session, replaced)
{
	static const char text[] = "Another publisher has taken the stream over.";

	if (s->ending)
		return ERR_OK;
	actor_unmonitor(self, s->st.stream);
	s->st.stream = (struct addr){0};
	say_goodbye(self, s, text);
	finish(self, s, ERR_BUSY, text);
	return ERR_OK;
}

/* RTMP has no word for it: the encoder sends keyframes when it likes. */
ON(rtmp_session, keyframe_request)
{
	s->st.keyframe_requests++;
	return ERR_OK;
}

ON(rtmp_session, down)
{
	static const char text[] = "The stream has ended.";

	if (s->ending || !addr_equal(m->who, s->st.stream))
		return ERR_OK;
	s->st.stream = (struct addr){0};
	say_goodbye(self, s, text);
	finish(self, s, ERR_DEAD, text);
	return ERR_OK;
}

/* The process is about to end: the publisher hears so and comes back to another. */
ON(rtmp_session, drain)
{
	static const char text[] = "The server is about to stop.";

	if (s->ending)
		return ERR_OK;
	say_goodbye(self, s, text);
	finish(self, s, ERR_CLOSED, text);
	return ERR_OK;
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint32_t rate_of(uint64_t now, uint64_t before, uint64_t unit, int64_t span_us)
{
	return (uint32_t)((now - before) * unit * 1000000 / (uint64_t)span_us);
}

static void take_statistics(struct actor *self, struct rtmp_session *s)
{
	const struct rtmp_media_counters *now = &s->slot->media.count;
	int64_t span_us = actor_now_us(self) - s->counted_us;

	copy_counters(s);
	if (span_us > 0) {
		s->st.frame_rate_milli = rate_of(now->frames[RTMP_MEDIA_VIDEO],
			s->counted.frames[RTMP_MEDIA_VIDEO], 1000, span_us);
		s->st.video_bps = rate_of(now->bytes[RTMP_MEDIA_VIDEO],
			s->counted.bytes[RTMP_MEDIA_VIDEO], 8, span_us);
		s->st.audio_bps = rate_of(now->bytes[RTMP_MEDIA_AUDIO],
			s->counted.bytes[RTMP_MEDIA_AUDIO], 8, span_us);
	}
	s->counted = *now;
	s->counted_us = actor_now_us(self);
	actor_timer_in_ms(self, TIMER_STATISTICS, STATISTICS_MS);
}

static void rtmp_session_timer(struct actor *self, void *data, unsigned timer)
{
	struct rtmp_session *s = data;
	enum err err;

	switch ((enum rtmp_session_timer)timer) {
	case TIMER_DEADLINE:
		err = rtmp_server_tick(&s->slot->server, actor_now_us(self));
		if (err)
			finish(self, s, err, s->slot->server.error);
		else
			settle(self, s);
		break;
	case TIMER_STATISTICS: take_statistics(self, s); break;
	case TIMER_SOCKET_GONE:
		finish(self, s, ERR_CLOSED, "the socket did not survive its process");
		break;
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct slot_ref slot_ref_of(const struct rtmp_session *s)
{
	return (struct slot_ref){s->st.slot_index, s->st.slot_generation};
}

/* Finds the slot in this process' memory. */
static enum err attach_slot(struct actor *self, struct rtmp_session *s)
{
	struct arena *arena = actor_arena(self);
	size_t size = arena ? arena_slot_size(arena, ARENA_BUFFER) : 0;

	s->slot = arena ? arena_get(arena, ARENA_BUFFER, slot_ref_of(s)) : NULL;
	if (!s->slot || size < sizeof(*s->slot) + RTMP_ARENA_MIN)
		return ERR_LIMIT;
	s->arena_size = size - sizeof(*s->slot);
	return ERR_OK;
}

static void start_server(struct actor *self, struct rtmp_session *s)
{
	const struct config *config = actor_config(self);
	uint64_t wanted = config ? (uint64_t)config->rtmp_message_bytes_max : RTMP_MESSAGE_MAX;
	uint64_t room = s->arena_size > 2 * AUDIO_ROOM ? s->arena_size - AUDIO_ROOM : s->arena_size;
	struct rtmp_config rtmp = {.message_max = (uint32_t)(wanted < room ? wanted : room)};

	rtmp_server_init(&s->slot->server, &rtmp, actor_random_u64(self), actor_now_us(self));
	rtmp_media_init(&s->slot->media);
}

static enum err rtmp_session_init(struct actor *self, void *data, const void *args_)
{
	struct rtmp_session *s = data;
	const struct rtmp_session_args *args = args_;
	struct slot_ref slot = {0};
	char name[ACTOR_NAME_MAX + 1];
	enum err err;

	if (actor_arena(self))
		slot = arena_alloc(actor_arena(self), ARENA_BUFFER, actor_addr(self).id);
	s->st.slot_index = slot.index;
	s->st.slot_generation = slot.generation;
	err = attach_slot(self, s);
	if (err) {
		if (slot.generation)
			arena_release(actor_arena(self), ARENA_BUFFER, slot);
		return err;
	}
	s->socket = s->st.socket = args->socket;
	s->st.limit_place = args->ticket.place;
	s->st.limit_generation = args->ticket.generation;
	s->st.connected_us = actor_wall_us(self);
	net_addr_text(&args->peer, s->st.client);
	snprintf(name, sizeof(name), "rtmp/%s", s->st.client);
	actor_set_name(self, name);
	start_server(self, s);
	actor_become(self, CONNECTED);
	actor_timer_at(self, TIMER_DEADLINE, rtmp_server_deadline(&s->slot->server));
	s->counted_us = actor_now_us(self);
	actor_timer_in_ms(self, TIMER_STATISTICS, STATISTICS_MS);
	return ERR_OK;
}

/* What another process left in the slot, checked as input from a stranger. */
static bool is_slot_valid(const struct rtmp_slot *slot, size_t arena_size)
{
	return slot->in_at <= slot->in_end && slot->in_end <= IN_SIZE &&
	       slot->out_at <= slot->out_end && slot->out_end <= OUT_SIZE &&
	       rtmp_media_is_valid(&slot->media) && rtmp_server_is_valid(&slot->server, arena_size);
}

static enum err rtmp_session_restore(struct actor *self, void *data)
{
	struct rtmp_session *s = data;

	if (attach_slot(self, s) || !is_slot_valid(s->slot, s->arena_size) ||
		!arena_hold_again(actor_arena(self), ARENA_BUFFER, slot_ref_of(s))) {
		s->slot = NULL; /* not ours to release */
		return ERR_FORMAT;
	}
	s->counted = s->slot->media.count;
	s->counted_us = actor_now_us(self);
	actor_timer_in_ms(self, TIMER_STATISTICS, STATISTICS_MS);
	actor_timer_in_ms(self, TIMER_SOCKET_GONE, 0);
	return ERR_OK;
}

static void rtmp_session_stop(struct actor *self, void *data, enum err reason)
{
	struct rtmp_session *s = data;

	(void)reason;
	if (!s->slot)
		return;
	if (s->socket) {
		say_goodbye(self, s, "The server ends the session."); /* if it still publishes */
		flush(self, s);
		net_close(self, s->socket);
	}
	if (!addr_is_nobody(s->st.stream))
		actor_send(self, s->st.stream, unpublish, {});
	rtmp_office_give_back(self, (struct limits_ticket){.place = s->st.limit_place,
					    .generation = s->st.limit_generation});
	arena_release(actor_arena(self), ARENA_BUFFER, slot_ref_of(s));
}

static const char *const rtmp_session_phases[] = {"connected", "asking", "publishing", NULL};

static const struct handler rtmp_session_handlers[] = {
	/*                    message           legal in */
	HANDLER(rtmp_session, callback_allowed, ANY),
	HANDLER(rtmp_session, published, ANY),
	HANDLER(rtmp_session, done, ANY),
	HANDLER(rtmp_session, failed, ANY),
	HANDLER(rtmp_session, replaced, PUBLISHING),
	HANDLER(rtmp_session, keyframe_request, ANY),
	HANDLER(rtmp_session, down, ANY),
	HANDLER(rtmp_session, drain, ANY),
};

const struct actor_type rtmp_session_actor = {
	.name = "rtmp_session",
	.size = sizeof(struct rtmp_session),
	.state = &schema_rtmp_session_state,
	.phases = rtmp_session_phases,
	HANDLER_TABLE(rtmp_session_handlers),
	.init = rtmp_session_init,
	.restore = rtmp_session_restore,
	.stop = rtmp_session_stop,
	.timer = rtmp_session_timer,
	.tcp = rtmp_session_tcp,
};

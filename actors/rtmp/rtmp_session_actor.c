/* SPDX-License-Identifier: Apache-2.0
 *
 * rtmp session: one connection that publishes or plays by RTMP.
 *
 *   connected --publish--> asking --published--> publishing --deleteStream--> connected
 *       |                  '-<-' who was asked died: again, a little later
 *       '------play------> opening --flv_opened--> playing ------the same----> connected
 *   (any) --peer gone, deadline, bad input, refused, replaced, stream or muxer down--> (ends)
 *
 * Bytes are read into the session's slot (rtmp_bytes.c), the engine (rtmp_server.h) makes events of
 * them. Input rests in the slot while an answer is awaited: to `callback_ask`, to `publish` and
 * `play`, and to `tracks_changed`, because media must not overtake the tracks it belongs to.
 *
 * Owns its socket and one ARENA_BUFFER slot, in which lies all that changes with a packet: engine
 * state, packetisers, clock, a player's view, unread input, unsent output.
 *
 * Takeover: slot and schema'd state are all that is needed to go on, byte for byte, once the socket
 * is back from the holder. Over TLS it does not come back: such a session ends in order.
 */
#include "actors/callback/callback.h"
#include "actors/rtmp/rtmp_internal.h"
#include "runtime/config.h"
#include "runtime/net.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum {
	ANY = RTMP_SESSION_CONNECTED | RTMP_SESSION_ASKING | RTMP_SESSION_OPENING |
	      RTMP_SESSION_PUBLISHING | RTMP_SESSION_PLAYING,
	TURN_MAX = 512 * 1024, /* bytes read before others have their turn */
	STATISTICS_MS = 1000,
};

/* ---- the end --------------------------------------------------------------------------------- */

/* What was asked for is not decided yet. */
static bool is_asking(const struct actor *self)
{
	return actor_phase(self) & (RTMP_SESSION_ASKING | RTMP_SESSION_OPENING);
}

/* An answer is awaited: the input rests. */
static bool is_waiting(const struct actor *self, const struct rtmp_session *s)
{
	return is_asking(self) || s->st.tracks_request;
}

/* Connections that never said what they want are none of the operator's business. */
static void log_end(
	struct actor *self, const struct rtmp_session *s, enum err reason, const char *text)
{
	const struct rtmp_media_counters *count = &s->slot->now.media.count;

	if (!s->st.stream_name[0])
		log_debug(actor_log(self), "rtmp_session_ended", "client", s->st.client, "reason",
			err_name(reason), "text", text);
	else if (actor_phase(self) & (RTMP_SESSION_OPENING | RTMP_SESSION_PLAYING))
		log_info(actor_log(self), "rtmp_player_ended", "client", s->st.client, "stream",
			s->st.stream_name, "reason", err_name(reason), "text", text, "bytes_out",
			s->st.bytes_out, "tags_dropped", s->slot->view.at.tags_dropped);
	else
		log_info(actor_log(self), "rtmp_session_ended", "client", s->st.client, "stream",
			s->st.stream_name, "reason", err_name(reason), "text", text, "bytes_in",
			s->slot->now.server.bytes_in, "video_frames",
			count->frames[RTMP_MEDIA_VIDEO], "audio_frames",
			count->frames[RTMP_MEDIA_AUDIO], "keyframes", count->keyframes, "jitter_us",
			s->slot->now.media.clock.jitter_us);
}

void rtmp_session_finish(
	struct actor *self, struct rtmp_session *s, enum err reason, const char *text)
{
	if (s->ending)
		return;
	s->ending = true;
	text_copy(s->st.error, sizeof(s->st.error), text);
	log_end(self, s, reason, text);
	if (s->awaited)
		s->reason = reason; /* the client is to hear of it first */
	else
		actor_stop(self, reason);
}

void rtmp_session_refuse(struct actor *self, struct rtmp_session *s, enum err reason,
	const char *code, const char *text)
{
	struct writer out = rtmp_session_output(self, s);

	rtmp_server_reject(&s->slot->now.server, &out, actor_now_us(self), code, text);
	rtmp_session_wrote(s, &out);
	rtmp_session_finish(self, s, reason, text);
}

void rtmp_session_goodbye(struct actor *self, struct rtmp_session *s, const char *text)
{
	struct writer out = rtmp_session_output(self, s);

	if (rtmp_server_stop(&s->slot->now.server, &out, actor_now_us(self), text) == ERR_PHASE)
		rtmp_server_reject(&s->slot->now.server, &out, actor_now_us(self), "Failed", text);
	rtmp_session_wrote(s, &out);
}

/* What is shown of the slot. */
static void copy_counters(struct rtmp_session *s)
{
	const struct rtmp_slot *slot = s->slot;
	const struct rtmp_media_counters *count = &slot->now.media.count;
	struct rtmp_session_state *st = &s->st;

	st->bytes_in = slot->now.server.bytes_in;
	st->jitter_us = (uint32_t)slot->now.media.clock.jitter_us;
	st->time_error_us = slot->now.media.clock.error_us;
	st->time_jumps = slot->now.media.clock.jumps;
	st->time_steps = slot->now.media.clock.steps;
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
	st->dropped_no_slot = slot->now.dropped_no_slot;
	st->dropped_codec = slot->now.dropped_codec;
	st->dropped_malformed = slot->now.server.malformed;
	st->dropped_not_legal = slot->now.server.dropped;
}

/* ---- what a client asks for ------------------------------------------------------------------ */

static enum err name_session(struct actor *self, struct rtmp_session *s,
	const struct rtmp_event *event, enum token_action action)
{
	struct rtmp_token_question question = {
		.app = event->app, .stream = event->name, .query = event->query, .action = action};
	char name[ACTOR_NAME_MAX + 1];

	snprintf(s->st.stream_name, sizeof(s->st.stream_name), "%s/%s", event->app, event->name);
	snprintf(name, sizeof(name), "rtmp/%.120s", s->st.stream_name);
	actor_set_name(self, name);
	rtmp_office_check_token(self, &question);
	/* a subject that does not fit is none: cut ones could be taken for each other */
	s->st.subject[0] = 0;
	s->st.may_stand_by =
		name_standby_of(question.claims.standby, event->query, strlen(event->query));
	if (question.err)
		rtmp_session_refuse(self, s, question.err, "Denied", question.why);
	else if (strlen(question.claims.sub) < sizeof(s->st.subject))
		text_copy(s->st.subject, sizeof(s->st.subject), question.claims.sub);
	return question.err;
}

static void open_stream(struct actor *self, struct rtmp_session *s)
{
	if (actor_phase(self) == RTMP_SESSION_OPENING)
		rtmp_play_open(self, s);
	else
		rtmp_publish_open(self, s);
}

/* May it begin? Without callbacks it does at once. */
static void ask(struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	bool play = event->type == RTMP_EVENT_PLAY;
	struct msg_callback_ask ask = {.protocol = "rtmp", .play = play};

	if (name_session(self, s, event, play ? TOKEN_PLAY : TOKEN_PUBLISH))
		return;
	/* that of an earlier session, until this one has its own */
	name_query_get(
		event->query, strlen(event->query), "resume", s->st.resume, sizeof(s->st.resume));
	s->asked_us = actor_now_us(self);
	s->retried = false;
	actor_become(self, play ? RTMP_SESSION_OPENING : RTMP_SESSION_ASKING);
	if (!callback_wait_ms(actor_config(self), play)) {
		open_stream(self, s);
	} else if (callback_param(event->query, strlen(event->query), ask.param)) {
		rtmp_session_refuse(self, s, ERR_TOO_LARGE, "Denied",
			"The parameters are longer than a callback can carry.");
	} else {
		text_copy(ask.stream_name, sizeof(ask.stream_name), s->st.stream_name);
		text_copy(ask.client, sizeof(ask.client), s->st.client);
		s->st.callback_request = callback_ask(self, &ask, &s->st.callback);
	}
}

/* deleteStream: the connection may publish or play something else. */
static void stop_stream(struct actor *self, struct rtmp_session *s)
{
	if (flv_view_is_inside(&s->slot->view)) {
		rtmp_session_finish(self, s, ERR_CLOSED, "stopped in the middle of a message");
		return;
	}
	if (actor_phase(self) == RTMP_SESSION_PLAYING)
		rtmp_play_end(self, s);
	else
		rtmp_publish_end(self, s);
	callback_end(self, &s->st.callback);
	actor_become(self, RTMP_SESSION_CONNECTED);
}

/* ---- input ----------------------------------------------------------------------------------- */

static void handle(struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	switch (event->type) {
	case RTMP_EVENT_CONNECT: text_copy(s->st.app, sizeof(s->st.app), event->app); break;
	case RTMP_EVENT_PUBLISH:
	case RTMP_EVENT_PLAY: ask(self, s, event); break;
	case RTMP_EVENT_METADATA:
		text_copy(s->st.encoder, sizeof(s->st.encoder), event->metadata.encoder);
		rtmp_publish_media(self, s, event);
		break;
	case RTMP_EVENT_VIDEO:
	case RTMP_EVENT_AUDIO: rtmp_publish_media(self, s, event); break;
	case RTMP_EVENT_UNSUPPORTED: rtmp_publish_unsupported(self, s, event); break;
	case RTMP_EVENT_STOP: stop_stream(self, s); break;
	case RTMP_EVENT_PAUSE: rtmp_play_pause(self, s); break;
	}
}

/* Uses up the input that is there, as far as nothing is waited for. */
static void use_input(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;
	enum err err = ERR_OK;

	rtmp_session_touch(self, s);
	while (!err && s->socket && !s->ending && !is_waiting(self, s)) {
		struct rtmp_base *now = &slot->now;
		struct writer out = rtmp_session_output(self, s);
		struct reader in = reader_of(slot->in + now->in_at, now->in_end - now->in_at);
		struct rtmp_event event;

		err = rtmp_server_input(&now->server, slot->arena, s->arena_size, &in, &out,
			actor_now_us(self), &event);
		now->in_at = (uint32_t)(in.at - slot->in);
		rtmp_session_wrote(s, &out);
		if (err == ERR_OK) {
			handle(self, s, &event);
			continue;
		}
		rtmp_session_flush(self, s);
		if (err == ERR_NO_SPACE && !rtmp_session_is_blocked(slot))
			err = ERR_OK;
	}
	if (err == ERR_AGAIN && slot->now.in_at < slot->now.in_end)
		actor_kick(actor_runtime(self), actor_addr(self)); /* the rest in the next turn */
	else if (err && err != ERR_NO_SPACE && err != ERR_AGAIN && err != ERR_BUSY)
		rtmp_session_finish(self, s, err, slot->now.server.error);
}

void rtmp_session_settle(struct actor *self, struct rtmp_session *s)
{
	int64_t deadline_us = rtmp_server_deadline(&s->slot->now.server);
	unsigned events = 0;

	if (s->ending || !s->socket)
		return;
	rtmp_session_flush(self, s);
	if (!is_waiting(self, s) && !rtmp_session_is_blocked(s->slot))
		events |= NET_READABLE;
	if (s->full || s->blocked)
		events |= NET_WRITABLE;
	/* who waits for a publisher may leave meanwhile */
	if (actor_phase(self) == RTMP_SESSION_OPENING)
		events |= NET_CLOSED;
	net_want(self, s->socket, events);
	if (deadline_us == RTMP_NO_DEADLINE)
		actor_timer_off(self, RTMP_TIMER_DEADLINE);
	else
		actor_timer_at(self, RTMP_TIMER_DEADLINE, deadline_us);
}

static void read_input(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;
	size_t turn = 0;

	use_input(self, s); /* what rested for want of room in the output */
	while (!s->ending && !is_waiting(self, s) && !rtmp_session_is_blocked(slot) &&
		turn < TURN_MAX) {
		long size = rtmp_session_receive(self, s);

		if (size == -1)
			return;
		if (size <= 0) {
			rtmp_session_finish(self, s, ERR_CLOSED,
				size ? "the connection broke" : "closed by the client");
			return;
		}
		turn += (size_t)size;
		use_input(self, s);
	}
}

static void go_on(struct actor *self, struct rtmp_session *s)
{
	if (actor_phase(self) == RTMP_SESSION_PLAYING && !s->ending)
		rtmp_play_pump(self, s);
	else
		rtmp_session_settle(self, s);
}

/* A successor's connection is here, or never will be. */
static void come_back(struct actor *self, struct rtmp_session *s, unsigned events)
{
	s->awaited = false;
	if (events & NET_BACK)
		s->socket = s->st.socket;
	if (!s->socket || !rtmp_session_resume(self, s)) {
		s->deaf = true;
		rtmp_session_finish(
			self, s, ERR_CLOSED, "the connection did not survive its process");
	}
	if (s->ending) {
		actor_stop(self, s->reason);
		return;
	}
	use_input(self, s);
	go_on(self, s);
}

static void rtmp_session_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	struct rtmp_session *s = data;

	if (socket != s->st.socket)
		return;
	if (s->awaited) {
		come_back(self, s, events);
		return;
	}
	if (s->ending)
		return;
	if ((events & NET_CLOSED) && (is_asking(self) || rtmp_session_is_blocked(s->slot))) {
		rtmp_session_finish(self, s, ERR_CLOSED, "closed by the client");
		return;
	}
	if (events & NET_WRITABLE) {
		s->blocked = false;
		rtmp_session_flush(self, s);
	}
	read_input(self, s);
	go_on(self, s);
}

/* A successor's, whose client connects anew. */
static void end_lost(struct actor *self, struct rtmp_session *s)
{
	if (s->st.tls && s->st.stream_name[0] && !s->ending)
		process_metric_add(runtime_env(actor_runtime(self)), PROCESS_METRIC_TLS_ENDED, 1);
	rtmp_session_finish(self, s, ERR_CLOSED,
		s->st.tls ? "a connection over TLS ends with its process"
			  : "the connection did not survive its process");
}

/* A player hears that there are more tags; or a turn was kept, and what had to wait for that goes
 * on. */
static void rtmp_session_pump(struct actor *self, void *data)
{
	struct rtmp_session *s = data;

	if (!s->socket && !s->awaited)
		end_lost(self, s);
	if (s->ending || !s->socket || s->blocked)
		return;
	if (s->slot->now.in_at < s->slot->now.in_end)
		use_input(self, s);
	go_on(self, s);
}

/* ---- mail ------------------------------------------------------------------------------------ */

ON(rtmp_session, callback_allowed)
{
	if (s->ending || mail->request != s->st.callback_request)
		return ERR_OK; /* its callback notices that we end */
	s->st.callback_request = 0;
	if (addr_is_nobody(s->st.callback))
		s->st.callback = m->callback;
	open_stream(self, s);
	return ERR_OK;
}

static void callback_refused(struct actor *self, struct rtmp_session *s, const struct msg_failed *m)
{
	const char *why;
	enum err err = callback_failed(self, m, &why);

	s->st.callback_request = 0;
	if (err)
		rtmp_session_refuse(self, s, err, "Denied", why);
	else
		open_stream(self, s);
}

ON(rtmp_session, published)
{
	if (s->ending || mail->request != s->st.request) {
		actor_send(self, m->stream, unpublish, {});
		return ERR_OK;
	}
	s->st.request = 0;
	rtmp_publish_begin(self, s, m);
	use_input(self, s);
	rtmp_session_settle(self, s);
	return ERR_OK;
}

ON(rtmp_session, flv_opened)
{
	if (s->ending || mail->request != s->st.request) {
		actor_send(self, m->muxer, flv_close, {});
		return ERR_OK;
	}
	s->st.request = 0;
	rtmp_play_begin(self, s, m);
	use_input(self, s);
	go_on(self, s);
	return ERR_OK;
}

/* The stream knows the tracks now: what had to wait for that goes on. */
ON(rtmp_session, done)
{
	if (s->ending || mail->request != s->st.tracks_request)
		return ERR_OK;
	s->st.tracks_request = 0;
	rtmp_publish_waited(self, s);
	use_input(self, s);
	rtmp_session_settle(self, s);
	return ERR_OK;
}

ON(rtmp_session, failed)
{
	const char *text = m->text[0] ? m->text : err_text(m->err);

	if (!mail->request || s->ending)
		return ERR_OK;
	if (mail->request == s->st.callback_request) {
		callback_refused(self, s, m);
	} else if (mail->request == s->st.request) {
		s->st.request = 0;
		if (actor_phase(self) == RTMP_SESSION_OPENING)
			rtmp_play_failed(self, s, m);
		else
			rtmp_publish_failed(self, s, m);
	} else if (mail->request == s->st.tracks_request) {
		s->st.tracks_request = 0;
		rtmp_session_goodbye(self, s, text);
		rtmp_session_finish(self, s, m->err, text);
	}
	return ERR_OK;
}

ON(rtmp_session, source_role)
{
	if (addr_equal(mail->from, s->st.stream))
		s->st.standby = m->standby;
	return ERR_OK;
}

ON(rtmp_session, replaced)
{
	static const char text[] = "Another publisher has taken the stream over.";

	if (s->ending)
		return ERR_OK;
	actor_unmonitor(self, s->st.stream);
	s->st.stream = (struct addr){0};
	rtmp_session_goodbye(self, s, text);
	rtmp_session_finish(self, s, ERR_BUSY, text);
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

	if (s->ending || (!addr_equal(m->who, s->st.stream) && !addr_equal(m->who, s->st.muxer)))
		return ERR_OK;
	s->st.stream = s->st.muxer = (struct addr){0};
	rtmp_session_goodbye(self, s, text);
	rtmp_session_finish(self, s, ERR_DEAD, text);
	return ERR_OK;
}

/* The process is about to end: the client hears so and comes back to another. */
ON(rtmp_session, drain)
{
	static const char text[] = "The server is about to stop.";

	if (s->ending)
		return ERR_OK;
	if (actor_phase(self) == RTMP_SESSION_PLAYING) {
		rtmp_play_leave(self, s, text);
		return ERR_OK;
	}
	rtmp_session_goodbye(self, s, text);
	rtmp_session_finish(self, s, ERR_CLOSED, text);
	return ERR_OK;
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint32_t rate_of(uint64_t now, uint64_t before, uint64_t unit, int64_t span_us)
{
	return (uint32_t)((now - before) * unit * 1000000 / (uint64_t)span_us);
}

static void take_statistics(struct actor *self, struct rtmp_session *s)
{
	const struct rtmp_media_counters *now = &s->slot->now.media.count;
	int64_t span_us = actor_now_us(self) - s->counted_us;

	copy_counters(s);
	if (actor_phase(self) == RTMP_SESSION_PLAYING)
		rtmp_play_report(self, s, span_us);
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
	actor_timer_in_ms(self, RTMP_TIMER_STATISTICS, STATISTICS_MS);
}

static void rtmp_session_timer(struct actor *self, void *data, unsigned timer)
{
	struct rtmp_session *s = data;
	enum err err;

	switch ((enum rtmp_session_timer)timer) {
	case RTMP_TIMER_DEADLINE:
		rtmp_session_touch(self, s);
		err = rtmp_server_tick(&s->slot->now.server, actor_now_us(self));
		if (err)
			rtmp_session_finish(self, s, err, s->slot->now.server.error);
		else
			rtmp_session_settle(self, s);
		break;
	case RTMP_TIMER_STUCK:
		rtmp_session_finish(self, s, ERR_TIMEOUT, "the player takes nothing");
		break;
	case RTMP_TIMER_STATISTICS: take_statistics(self, s); break;
	case RTMP_TIMER_AGAIN:
		if (actor_phase(self) == RTMP_SESSION_ASKING && !s->st.request && !s->ending)
			rtmp_publish_open(self, s);
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
	uint64_t room = s->arena_size > 2 * RTMP_AUDIO_ROOM ? s->arena_size - RTMP_AUDIO_ROOM
							    : s->arena_size;
	struct rtmp_config rtmp = {.message_max = (uint32_t)(wanted < room ? wanted : room)};

	rtmp_server_init(&s->slot->now.server, &rtmp, actor_random_u64(self), actor_now_us(self));
	rtmp_media_init(&s->slot->now.media);
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
	s->st.tls = args->tls;
	s->st.limit_place = args->ticket.place;
	s->st.limit_generation = args->ticket.generation;
	s->st.connected_us = actor_wall_us(self);
	net_addr_text(&args->peer, s->st.client);
	snprintf(name, sizeof(name), "rtmp/%s", s->st.client);
	actor_set_name(self, name);
	start_server(self, s);
	actor_become(self, RTMP_SESSION_CONNECTED);
	actor_timer_at(self, RTMP_TIMER_DEADLINE, rtmp_server_deadline(&s->slot->now.server));
	s->counted_us = actor_now_us(self);
	actor_timer_in_ms(self, RTMP_TIMER_STATISTICS, STATISTICS_MS);
	return ERR_OK;
}

static enum err rtmp_session_restore(struct actor *self, void *data)
{
	struct rtmp_session *s = data;

	if (attach_slot(self, s) || !rtmp_session_recover(self, s) ||
		!arena_hold_again(actor_arena(self), ARENA_BUFFER, slot_ref_of(s)) ||
		flv_view_restore(&s->slot->view, actor_arena(self))) {
		s->slot = NULL; /* not ours to release */
		return ERR_FORMAT;
	}
	s->asked_us = actor_now_us(self);
	if (is_asking(self) && !s->st.request && !s->st.callback_request)
		actor_timer_in_ms(self, RTMP_TIMER_AGAIN, 1); /* it was about to ask again */
	s->counted = s->slot->now.media.count;
	s->counted_out = s->st.bytes_out;
	s->counted_us = actor_now_us(self);
	actor_timer_in_ms(self, RTMP_TIMER_STATISTICS, STATISTICS_MS);
	s->leaving = s->slot->view.finishing && !s->slot->now.server.paused;
	s->farewell = "The server is about to stop.";
	s->awaited = !s->st.tls && net_claim(self, s->st.socket);
	s->ending = s->awaited && s->st.error[0]; /* it had been about to */
	s->reason = ERR_CLOSED;
	return ERR_OK;
}

static void rtmp_session_stop(struct actor *self, void *data, enum err reason)
{
	struct rtmp_session *s = data;

	(void)reason;
	if (!s->slot)
		return;
	s->ending = true; /* what it says leaves at once */
	if (s->socket) {
		rtmp_session_goodbye(
			self, s, "The server ends the session."); /* if it still publishes */
		rtmp_session_flush(self, s);
		net_close(self, s->socket);
	}
	rtmp_play_end(self, s);
	rtmp_publish_end(self, s);
	rtmp_office_give_back(self, (struct limits_ticket){.place = s->st.limit_place,
					    .generation = s->st.limit_generation});
	arena_release(actor_arena(self), ARENA_BUFFER, slot_ref_of(s));
}

static const char *const rtmp_session_phases[] = {
	"connected", "asking", "publishing", "opening", "playing", NULL};

static const struct handler rtmp_session_handlers[] = {
	/*                    message           legal in */
	HANDLER(rtmp_session, callback_allowed, ANY),
	HANDLER(rtmp_session, published, ANY),
	HANDLER(rtmp_session, flv_opened, ANY),
	HANDLER(rtmp_session, done, ANY),
	HANDLER(rtmp_session, failed, ANY),
	HANDLER(rtmp_session, source_role, RTMP_SESSION_PUBLISHING),
	HANDLER(rtmp_session, replaced, RTMP_SESSION_PUBLISHING),
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
	.pump = rtmp_session_pump,
	.tcp = rtmp_session_tcp,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * session: one WebRTC client connection, a publisher (WHIP) or a viewer (WHEP).
 *
 *   starting --published / subscribed: answer--> connecting --ICE, DTLS--> up
 *      | refused (the asker hears why)               |                     |
 *      '---------------------> (ends) <--------------'---------------------'
 *                DELETE, replaced, stream gone, BYE, no consent, DTLS failed
 *
 * Owns an arena slot with everything a packet changes, the DTLS handshake and the SRTP contexts.
 * Sends through its port's socket. This file: life and signalling.
 */
#include "actors/callback/callback.h"
#include "actors/http/precondition.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/session.h"
#include "runtime/config.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	STREAM_TIMEOUT_MS = 5000,
	RETRY_MS = 1000,
};

struct session_slot *session_slot(struct actor *self, const struct session *s)
{
	struct slot_ref ref = {s->st.slot_index, s->st.slot_generation};

	return arena_get(actor_arena(self), ARENA_SESSION, ref);
}

/* ---- time ---------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t session_consent_deadline_us(struct actor *self, const struct session_slot *slot)
{
	const struct config *config = actor_config(self);

	if (!slot->ice.consent_us || !config)
		return ice_deadline_us(&slot->ice);
	return slot->ice.consent_us + config->webrtc_consent_ms * 1000;
}

/* One timer: whatever is due first. */
void session_schedule(struct actor *self, struct session *s, struct session_slot *slot)
{
	int64_t due_us = session_consent_deadline_us(self, slot);

	if (actor_phase(self) == SESSION_STARTING)
		return;
	if (s->dtls_started)
		due_us = earlier(due_us, dtls_deadline(&s->dtls));
	if (actor_phase(self) == SESSION_UP)
		due_us = earlier(
			due_us, s->st.play ? play_deadline_us(slot) : publish_deadline_us(slot));
	actor_timer_at(self, SESSION_TIMER_DUE, due_us);
}

static void session_due(struct actor *self, struct session *s, struct session_slot *slot)
{
	int64_t now_us = actor_now_us(self);

	if (now_us >= session_consent_deadline_us(self, slot)) {
		log_info(actor_log(self), "session_left", "stream", s->st.stream_name, "play",
			s->st.play, "connected", s->st.up_us != 0);
		actor_stop(self, ERR_TIMEOUT);
		return;
	}
	if (s->dtls_started && now_us >= dtls_deadline(&s->dtls)) {
		dtls_on_timer(&s->dtls, now_us);
		session_drain_dtls(self, s, slot, session_path(slot));
	}
	if (actor_phase(self) == SESSION_UP) {
		if (s->st.play)
			play_feedback(self, s, slot);
		else
			publish_feedback(self, s, slot);
	}
	session_schedule(self, s, slot);
}

/* ---- offer and answer ---------------------------------------------------------------------- */

/* Parses the kept offer again: an sdp_offer is large and borrows its text. */
static struct sdp_offer *parse_offer(const struct session *s, enum err *err, char *why)
{
	struct sdp_offer *offer = malloc(sizeof(*offer));

	*err = offer ? sdp_offer_parse(offer, s->offer, s->offer_size, why) : ERR_NO_MEMORY;
	if (*err) {
		free(offer);
		return NULL;
	}
	return offer;
}

static void forget_offer(struct session *s)
{
	free(s->offer);
	s->offer = NULL;
	s->offer_size = 0;
}

static void refuse(
	struct actor *self, struct session *s, enum err err, const char *why, uint32_t retry_ms)
{
	if (s->asked && retry_ms)
		actor_refuse_later(self, s->asker, err, why, retry_ms);
	else if (s->asked)
		actor_refuse(self, s->asker, err, why);
	s->asked = false;
	actor_stop(self, ERR_OK);
}

static void answer(struct actor *self, struct session *s, struct session_slot *slot,
	const struct sdp_offer *offer, const struct sdp_answer_options *options)
{
	uint8_t *text = malloc(SDP_ANSWER_MAX);
	struct writer w = writer_of(text, text ? SDP_ANSWER_MAX : 0);
	enum err err = text ? sdp_answer_write(&w, &slot->plan, offer, options) : ERR_NO_MEMORY;
	struct msg_session_created created = {
		.session = actor_addr(self),
		.answer = {(const char *)text, (uint32_t)writer_used(&w)},
	};

	if (err) {
		refuse(self, s, err, "", 0);
	} else {
		text_copy(created.secret, sizeof(created.secret), s->st.secret);
		text_copy(created.etag, sizeof(created.etag), s->st.etag);
		text_copy(created.resume, sizeof(created.resume), s->st.resume);
		ice_init(&slot->ice, &slot->local, &slot->plan.remote, actor_now_us(self));
		rtc_port_know_ufrag(self, slot->local.ufrag);
		session_make_maps(s, slot);
		session_show_tracks(s, slot);
		s->answered_us = actor_now_us(self);
		actor_become(self, SESSION_CONNECTING);
		actor_answer_mail(
			self, s->asker, MSG_session_created, &schema_session_created, &created);
		s->asked = false;
		forget_offer(s);
		session_schedule(self, s, slot);
	}
	free(text);
}

/* ---- starting ------------------------------------------------------------------------------ */

static enum err plan_publish(struct actor *self, struct session *s, struct session_slot *slot,
	const struct session_args *args)
{
	struct sdp_answer_options options;
	enum err err;
	struct sdp_offer *offer = parse_offer(s, &err, args->why);

	if (!offer)
		return err;
	session_options(self, s, slot, &options);
	err = sdp_answer_plan(&slot->plan, offer, &options, args->why);
	free(offer);
	if (err)
		return err;
	if (slot->plan.media_count > session_tracks_max(self)) {
		snprintf(args->why, SDP_WHY_MAX, "%d tracks offered, at most %d are taken",
			slot->plan.media_count, session_tracks_max(self));
		return ERR_UNPROCESSABLE;
	}
	publish_init(self, s, slot);
	return ERR_OK;
}

static void ask_publish(struct actor *self, struct session *s, const struct session_slot *slot)
{
	struct msg_publish publish = {.protocol = "whip", .standby = s->st.may_stand_by};

	memcpy(publish.stream_name, s->st.stream_name, sizeof(publish.stream_name));
	memcpy(publish.subject, s->st.subject, sizeof(publish.subject));
	memcpy(publish.resume, s->st.resume, sizeof(publish.resume));
	publish.tracks_count = (uint16_t)publish_tracks(slot, publish.tracks);
	s->stream_request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA),
		STREAM_TIMEOUT_MS, MSG_publish, &schema_publish, &publish);
}

static enum err plan_subscribe(
	struct actor *self, struct session *s, const struct session_args *args)
{
	const struct config *config = actor_config(self);
	enum err err;

	free(parse_offer(s, &err, args->why));
	s->wait_ms = args->create->wait_ms;
	if (config && s->wait_ms > config->webrtc_wait_max_ms)
		s->wait_ms = (uint32_t)config->webrtc_wait_max_ms;
	return err;
}

static void ask_subscribe(struct actor *self, struct session *s)
{
	struct msg_subscribe subscribe = {.protocol = "whep",
		.viewer = true,
		.audio = MEDIA_OPUS,
		.wait_ms = s->wait_ms,
		.rejoins = actor_phase(self) == SESSION_UP};

	memcpy(subscribe.stream_name, s->st.stream_name, sizeof(subscribe.stream_name));
	s->stream_request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA),
		s->wait_ms + STREAM_TIMEOUT_MS, MSG_subscribe, &schema_subscribe, &subscribe);
	if (s->wait_ms)
		actor_send(self, s->asker.from, session_waits, {.request = s->asker.request});
}

static void ask_stream(struct actor *self, struct session *s, const struct session_slot *slot)
{
	if (s->st.play)
		ask_subscribe(self, s);
	else
		ask_publish(self, s, slot);
}

/* May it begin? Without callbacks it does at once. */
static void ask_callback(struct actor *self, struct session *s, const struct session_slot *slot,
	const struct msg_session_create *create)
{
	struct msg_callback_ask ask = {.play = s->st.play};

	if (!callback_wait_ms(actor_config(self), s->st.play)) {
		ask_stream(self, s, slot);
		return;
	}
	memcpy(ask.stream_name, s->st.stream_name, sizeof(ask.stream_name));
	memcpy(ask.client, s->st.client, sizeof(ask.client));
	memcpy(ask.param, create->param, sizeof(ask.param));
	text_copy(ask.protocol, sizeof(ask.protocol), s->st.play ? "whep" : "whip");
	s->callback_request = callback_ask(self, &ask, &s->st.callback);
}

static void name_session(struct actor *self, const struct session *s)
{
	char name[ACTOR_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%s/%.110s", s->st.play ? "whep" : "whip", s->st.stream_name);
	actor_set_name(self, name);
}

static void release_memory(struct actor *self, struct session *s)
{
	struct slot_ref ref = {s->st.slot_index, s->st.slot_generation};

	forget_offer(s);
	dtls_fini(&s->dtls);
	seal_fini(&s->seal);
	unseal_fini(&s->unseal);
	arena_release(actor_arena(self), ARENA_SESSION, ref);
}

static void release(struct actor *self, struct session *s)
{
	struct session_slot *slot = session_slot(self, s);

	if (s->port)
		rtc_port_leave(self);
	if (slot) {
		seal_keys_clear(&slot->send);
		seal_keys_clear(&slot->receive);
	}
	release_memory(self, s);
}

/* Its keys stay in the slot until the turn is kept. */
static void session_left(struct actor *self, void *data)
{
	struct session *s = data;

	if (session_is_away(self, s))
		rtc_port_leave(self);
	else
		rtc_port_move_away(self);
	release_memory(self, s);
}

static enum err session_init(struct actor *self, void *data, const void *args_)
{
	struct session *s = data;
	const struct session_args *args = args_;
	const struct msg_session_create *create = args->create;
	struct slot_ref ref = arena_alloc(actor_arena(self), ARENA_SESSION, actor_addr(self).id);
	struct session_slot *slot = arena_get(actor_arena(self), ARENA_SESSION, ref);
	enum err err = ERR_NO_MEMORY;

	if (!slot)
		return ERR_OVERLOAD;
	s->st.slot_index = ref.index;
	s->st.slot_generation = ref.generation;
	s->st.play = create->play;
	s->st.may_stand_by = create->standby;
	s->st.rtt_us = -1;
	s->st.created_us = actor_wall_us(self);
	memcpy(s->st.stream_name, create->stream_name, sizeof(s->st.stream_name));
	memcpy(s->st.client, create->client, sizeof(s->st.client));
	memcpy(s->st.subject, create->subject, sizeof(s->st.subject));
	memcpy(s->st.resume, create->resume,
		sizeof(s->st.resume)); /* until it has one of its own */
	s->st.watcher = create->watcher;
	s->asker = args->asker;
	s->asked = true;
	name_session(self, s);
	actor_become(self, SESSION_STARTING);
	s->offer_size = create->offer.size;
	s->offer = malloc(s->offer_size + 1);
	if (s->offer) {
		memcpy(s->offer, create->offer.data, s->offer_size);
		err = rtc_port_join(self, s->st.client, &s->port);
	}
	if (!err) {
		session_make_identity(self, s, slot);
		err = s->st.play ? plan_subscribe(self, s, args)
				 : plan_publish(self, s, slot, args);
	}
	if (err)
		release(self, s);
	else
		ask_callback(self, s, slot, create);
	return err;
}

ON(session, callback_allowed)
{
	struct session_slot *slot = session_slot(self, s);

	if (mail->request != s->callback_request || !slot || actor_phase(self) != SESSION_STARTING)
		return ERR_OK;
	s->callback_request = 0;
	ask_stream(self, s, slot);
	return ERR_OK;
}

static void callback_refused(struct actor *self, struct session *s, const struct msg_failed *m)
{
	const char *why;
	enum err err = callback_failed(self, m, &why);

	s->callback_request = 0;
	if (err)
		refuse(self, s, err, why, err == ERR_OVERLOAD ? RETRY_MS : 0);
	else
		ask_stream(self, s, session_slot(self, s));
}

ON(session, published)
{
	struct session_slot *slot = session_slot(self, s);
	struct sdp_answer_options options;
	char why[SDP_WHY_MAX];
	enum err err;

	if (mail->request != s->stream_request || !slot || actor_phase(self) != SESSION_STARTING)
		return ERR_OK;
	s->stream_request = 0;
	s->st.stream = m->stream;
	s->st.standby = m->standby;
	memcpy(s->st.resume, m->resume, sizeof(s->st.resume));
	actor_monitor(self, m->stream);
	struct sdp_offer *offer = parse_offer(s, &err, why);

	if (!offer) {
		refuse(self, s, err, why, 0);
		return ERR_OK;
	}
	session_options(self, s, slot, &options);
	answer(self, s, slot, offer, &options);
	free(offer);
	return ERR_OK;
}

/* A viewer that asks for a picture is not answered with sound alone because no codec of the offer
 * can carry the picture: it hears which one is missing. */
static enum err check_kinds(const struct sdp_plan *plan, const struct sdp_offer *offer,
	const struct msg_subscribed *m, char *why)
{
	for (int i = 0; i < m->tracks_count; i++) {
		const struct media_track *track = &m->tracks[i];
		bool asked = false, planned = false;

		for (int j = 0; j < offer->media_count; j++)
			asked |= offer->media[j].kind == track->kind &&
				 offer->media[j].direction & SDP_RECVONLY &&
				 (!offer->media[j].port_zero || offer->media[j].bundle_only);
		for (int j = 0; j < plan->media_count; j++)
			planned |= plan->media[j].kind == track->kind;
		if (asked && !planned) {
			snprintf(why, SDP_WHY_MAX,
				"the stream's %s is %s, which the offer cannot take",
				track->kind == MEDIA_VIDEO ? "video" : "audio",
				media_codec_name((enum media_codec)track->codec));
			return ERR_CODEC;
		}
	}
	return ERR_OK;
}

ON(session, subscribed)
{
	struct session_slot *slot = session_slot(self, s);
	struct sdp_answer_options options;
	char why[SDP_WHY_MAX] = "";
	enum err err;

	if (mail->request != s->stream_request || !slot)
		return ERR_OK;
	s->stream_request = 0;
	if (actor_phase(self) == SESSION_UP)
		session_rejoined(self, s, slot, m);
	if (actor_phase(self) != SESSION_STARTING)
		return ERR_OK;
	s->st.stream = m->stream;
	s->st.log_index = m->log_index;
	s->st.log_generation = m->log_generation;
	s->st.source_since_us = m->source_since_us;
	actor_monitor(self, m->stream);
	struct sdp_offer *offer = parse_offer(s, &err, why);

	if (offer) {
		session_options(self, s, slot, &options);
		options.tracks = m->tracks;
		options.track_count = (uint8_t)m->tracks_count;
		err = sdp_answer_plan(&slot->plan, offer, &options, why);
	}
	if (!err)
		err = check_kinds(&slot->plan, offer, m, why);
	if (!err)
		err = play_init(self, s, slot, m->start);
	if (err)
		refuse(self, s, err, why, err == ERR_PHASE ? RETRY_MS : 0);
	else
		answer(self, s, slot, offer, &options);
	free(offer);
	return ERR_OK;
}

/* ---- the stream ---------------------------------------------------------------------------- */

ON(session, failed)
{
	if (session_must_stay(self, s, mail, m))
		return ERR_OK;
	if (mail->request && mail->request == s->callback_request)
		callback_refused(self, s, m);
	if (!mail->request || mail->request != s->stream_request)
		return ERR_OK;
	s->stream_request = 0;
	if (actor_phase(self) == SESSION_UP)
		session_stream_failed(self, m);
	else if (m->err == ERR_NOT_FOUND && s->st.play)
		refuse(self, s, ERR_PHASE, "nobody publishes this stream", RETRY_MS);
	else if (m->err == ERR_TIMEOUT || m->err == ERR_DEAD)
		refuse(self, s, ERR_OVERLOAD, "the stream's owner does not answer", RETRY_MS);
	else if (m->err == ERR_BUSY)
		refuse(self, s, ERR_BUSY, "somebody else publishes this stream", 0);
	else
		refuse(self, s, m->err, m->text, m->retry_after_ms);
	return ERR_OK;
}

ON(session, session_move)
{
	return session_begin_move(self, s, session_slot(self, s), m);
}

ON(session, done)
{
	session_move_answered(self, s, session_slot(self, s), mail);
	return ERR_OK;
}

ON(session, keyframe_request)
{
	struct session_slot *slot = session_slot(self, s);

	if (!s->st.play && slot && actor_phase(self) == SESSION_UP) {
		rtp_keyframe_want(&slot->publish.keyframe);
		publish_feedback(self, s, slot);
		session_schedule(self, s, slot);
	}
	return ERR_OK;
}

ON(session, bitrate)
{
	struct session_slot *slot = session_slot(self, s);

	if (!s->st.play && slot && addr_equal(mail->from, s->st.stream))
		publish_take_bitrate(self, s, slot, m->bps);
	return ERR_OK;
}

/* Only another publisher counts: one may change its tracks, too. */
static void tell_switch(struct actor *self, struct session *s, int64_t source_since_us)
{
	if (s->st.source_since_us == source_since_us)
		return;
	if (s->st.source_since_us && !addr_is_nobody(s->st.watcher))
		actor_send(self, s->st.watcher, session_switched, {});
	s->st.source_since_us = source_since_us;
}

ON(session, tracks)
{
	struct session_slot *slot = session_slot(self, s);

	if (s->st.play && slot && addr_equal(mail->from, s->st.stream) &&
		actor_phase(self) != SESSION_STARTING)
		play_tracks_changed(self, s, slot, m->tracks, m->tracks_count);
	if (s->st.play && m->live && addr_equal(mail->from, s->st.stream))
		tell_switch(self, s, m->source_since_us);
	return ERR_OK;
}

ON(session, source_role)
{
	if (!s->st.play && addr_equal(mail->from, s->st.stream))
		s->st.standby = m->standby;
	return ERR_OK;
}

ON(session, replaced)
{
	if (!s->st.play && addr_equal(mail->from, s->st.stream)) {
		log_info(actor_log(self), "publisher_replaced", "stream", s->st.stream_name);
		actor_stop(self, ERR_CLOSED);
	}
	return ERR_OK;
}

ON(session, down)
{
	if (addr_equal(m->who, s->st.stream))
		actor_stop(self, ERR_CLOSED);
	return ERR_OK;
}

/* The process is about to end: BYE and close_notify are said by session_stop. */
ON(session, drain)
{
	if (s->asked)
		refuse(self, s, ERR_OVERLOAD, "this server is about to stop", RETRY_MS);
	else
		actor_stop(self, ERR_CLOSED);
	return ERR_OK;
}

/* ---- back in another process ---------------------------------------------------------------- */

/* Its connection was the port's of the process that has ended. The client makes another one, or restarts
 * ICE; until then it is as one whose network has gone. */
static void lose_connection(struct actor *self, struct session *s, const struct net_addr *remote)
{
	struct net_addr gone = *remote;

	session_lose_path(self, s, &gone);
	log_info(actor_log(self), "ice_tcp_connection_lost", "session", actor_name(self));
}

/* All actors of the worker are back: the port is told again who we are. */
static void join_again(struct actor *self, struct session *s, struct session_slot *slot)
{
	const struct net_addr *remote = session_path(slot);

	actor_timer_off(self, SESSION_TIMER_JOIN);
	if (remote && remote->transport == NET_TCP) {
		lose_connection(self, s, remote);
		remote = session_path(slot);
	}
	if (rtc_port_rejoin(self, s->st.client, &s->port)) {
		actor_stop(self, ERR_OVERLOAD);
		return;
	}
	rtc_port_know_ufrag(self, ice_local(&slot->ice)->ufrag);
	rtc_port_know_ufrag(self, slot->ice.local[slot->ice.active].ufrag);
	if (remote)
		rtc_port_know_address(self, remote);
	for (uint32_t i = 0; i < slot->window.stream_count && !s->st.play; i++)
		rtc_port_know_ssrc(self, slot->window.streams[i].ssrc);
	session_settle(self, s, slot);
	if (s->st.lost_place && !s->st.play)
		session_say_moved(self, s);
	callback_moved(self, s->st.callback);
	if (s->st.play && !s->st.log_generation)
		actor_timer_at(self, SESSION_TIMER_REJOIN, actor_now_us(self));
	actor_kick(actor_runtime(self), actor_addr(self));
	session_schedule(self, s, slot);
}

/* ---- PATCH and DELETE ---------------------------------------------------------------------- */

static bool secret_is_right(const struct session *s, const char *secret)
{
	return strlen(secret) == SESSION_SECRET_SIZE &&
	       memory_equal(secret, s->st.secret, SESSION_SECRET_SIZE);
}

ON(session, session_patch)
{
	struct session_slot *slot = session_slot(self, s);

	if (!secret_is_right(s, m->secret) || !slot)
		return ERR_NOT_FOUND;
	if (!addr_is_nobody(m->watcher))
		s->st.watcher = m->watcher;
	/* asked in the turn in which all come back, before its timer */
	if (!s->port)
		join_again(self, s, slot);
	if (!s->port)
		return ERR_OVERLOAD;
	return session_patch(self, s, slot, m);
}

ON(session, session_reconnect)
{
	if (addr_is_nobody(s->st.watcher))
		return actor_refuse(self, actor_asker(self), ERR_UNSUPPORTED,
			"its client does not signal over /ws: it cannot be told");
	actor_send_mail(self, s->st.watcher, MSG_session_reconnect, &schema_session_reconnect, m);
	return actor_reply(self, done, {});
}

ON(session, session_delete)
{
	if (!m->by_operator && !secret_is_right(s, m->secret))
		return ERR_NOT_FOUND;
	log_info(actor_log(self), "session_deleted", "stream", s->st.stream_name, "play",
		s->st.play, "by_operator", m->by_operator);
	actor_stop(self, ERR_OK);
	return actor_reply(self, done, {});
}

/* ---- life ---------------------------------------------------------------------------------- */

static bool slot_is_valid(const struct session *s, const struct session_slot *slot)
{
	return ice_is_valid(&slot->ice) && sdp_plan_is_valid(&slot->plan) &&
	       slot->plan.media_count <= SESSION_TRACKS_MAX && seal_keys_are_valid(&slot->send) &&
	       seal_keys_are_valid(&slot->receive) && unseal_window_is_valid(&slot->window) &&
	       slot->rtcp_index <= SEAL_RTCP_INDEX_MAX && ice_credentials_are_valid(&slot->local) &&
	       memchr(slot->cname, 0, sizeof(slot->cname)) &&
	       (s->st.play ? play_is_valid(slot) : publish_is_valid(slot));
}

static enum err session_restore(struct actor *self, void *data)
{
	struct session *s = data;
	struct slot_ref ref = {s->st.slot_index, s->st.slot_generation};
	struct session_slot *slot = session_slot(self, s);
	enum err err;

	/* a handshake dies with its process: the client begins anew */
	if (actor_phase(self) != SESSION_UP)
		return ERR_CLOSED;
	if (!slot || !arena_hold_again(actor_arena(self), ARENA_SESSION, ref) ||
		s->st.tracks_count > SESSION_TRACKS_MAX || !slot_is_valid(s, slot))
		return ERR_FORMAT;
	err = openssl_ciphers_install();
	if (!err)
		err = session_make_crypto(s, slot);
	if (err)
		return err;
	session_make_maps(s, slot);
	actor_timer_at(self, SESSION_TIMER_JOIN, actor_now_us(self));
	return ERR_OK;
}

/* It no longer knows its log: the stream of the worker that it has moved to. */
static void rejoin(struct actor *self, struct session *s)
{
	if (s->st.play && !s->st.log_generation && actor_phase(self) == SESSION_UP)
		ask_subscribe(self, s);
}

static void session_timer(struct actor *self, void *data, unsigned timer)
{
	struct session *s = data;
	struct session_slot *slot = session_slot(self, s);

	if (!slot)
		actor_stop(self, ERR_INTERNAL);
	else if (timer == SESSION_TIMER_JOIN)
		join_again(self, s, slot);
	else if (timer == SESSION_TIMER_REJOIN)
		rejoin(self, s);
	else if (timer == SESSION_TIMER_ROOM)
		session_ask_room(self, s, slot);
	else if (s->port)
		session_due(self, s, slot);
}

/* Of what the state holds a pump changes only these, which never fall (and what it finds after a move). */
static uint64_t counted_by_pump(const struct session_state *st)
{
	return st->keyframe_requests + st->dropped_socket_full + st->dropped_slow +
	       st->dropped_b_frames + st->dropped_before_keyframe + st->dropped_behind +
	       st->b_frames + st->started_us;
}

static void session_pump(struct actor *self, void *data)
{
	struct session *s = data;
	struct session_slot *slot = session_slot(self, s);
	uint64_t counted = counted_by_pump(&s->st);
	bool lost_place = s->st.lost_place;

	if (s->st.play && slot && s->port && actor_phase(self) == SESSION_UP)
		play_pump(self, s, slot);
	if (counted_by_pump(&s->st) == counted && s->st.lost_place == lost_place)
		actor_unchanged(self);
}

static void session_ahead(struct actor *self, const void *data)
{
	const struct session *s = data;
	const struct session_slot *slot = s->st.play ? session_slot(self, s) : NULL;

	if (slot)
		play_ahead(s, slot);
}

static void session_stop(struct actor *self, void *data, enum err reason)
{
	struct session *s = data;
	struct session_slot *slot = session_slot(self, s);

	if (s->asked)
		actor_refuse(self, s->asker, reason ? reason : ERR_CLOSED, "");
	if (slot && s->port && actor_phase(self) != SESSION_STARTING)
		session_say_bye(self, s, slot);
	if (!addr_is_nobody(s->st.stream) && s->st.play)
		actor_send(self, s->st.stream, unsubscribe, {});
	else if (!addr_is_nobody(s->st.stream))
		actor_send(self, s->st.stream, unpublish, {});
	release(self, s);
}

static const char *const session_phases[] = {"starting", "connecting", "up", NULL};

enum { ANSWERED = SESSION_CONNECTING | SESSION_UP };

static const struct handler session_handlers[] = {
	/*               message           legal in */
	HANDLER(session, callback_allowed, 0),
	HANDLER(session, published, 0),
	HANDLER(session, subscribed, 0),
	HANDLER(session, failed, 0),
	HANDLER(session, tracks, 0),
	HANDLER(session, keyframe_request, 0),
	HANDLER(session, bitrate, 0),
	HANDLER(session, source_role, 0),
	HANDLER(session, replaced, 0),
	HANDLER(session, down, 0),
	HANDLER(session, drain, 0),
	HANDLER(session, session_move, 0),
	HANDLER(session, done, 0),
	HANDLER(session, session_patch, ANSWERED),
	HANDLER(session, session_delete, 0),
	HANDLER(session, session_reconnect, ANSWERED),
};

const struct actor_type session_actor = {
	.name = "session",
	.size = sizeof(struct session),
	.state = &schema_session_state,
	.phases = session_phases,
	HANDLER_TABLE(session_handlers),
	.init = session_init,
	.restore = session_restore,
	.slots = session_slots,
	.left = session_left,
	.arrived = session_arrived,
	.stop = session_stop,
	.timer = session_timer,
	.pump = session_pump,
	.ahead = session_ahead,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * stream: life and publishing. See stream_actor.h for the picture.
 */
#include "actors/stream/source_map.h"
#include "actors/stream/stream_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "schemas/names.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	MS = 1000,
	CLAIM_RETRY_MS = 200,
	RELAY_RETRY_MS = 500,
	OWNER_WAIT_MS = 3000,
	STATISTICS_MS = 1000,
	STREAM_ANY = STREAM_CLAIMING | STREAM_JOINING | STREAM_LIVE | STREAM_ORPHANED,
};

static void make_token(struct actor *self, char text[64])
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t bytes[32];

	actor_random(self, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		text[i] = digits[bytes[i] & 63];
	text[sizeof(bytes)] = 0;
}

bool stream_is_live(const struct actor *self, const struct stream *s)
{
	return actor_phase(self) == STREAM_LIVE && (!s->st.replica || s->st.source_live);
}

/* ---- the source comes and goes ----------------------------------------------------------------- */

void stream_describe_publisher(struct actor *self, struct publisher *publisher, struct addr who,
	const struct msg_publish *publish)
{
	*publisher = (struct publisher){.who = who,
		.declared = publish->standby == NAME_STANDBY_YES,
		.since_us = actor_wall_us(self),
		.tracks_count = publish->tracks_count};
	memcpy(publisher->protocol, publish->protocol, sizeof(publisher->protocol));
	memcpy(publisher->subject, publish->subject, sizeof(publisher->subject));
	memcpy(publisher->tracks, publish->tracks, sizeof(publisher->tracks));
	make_token(self, publisher->resume);
}

void stream_set_source(struct actor *self, struct stream *s, const struct publisher *publisher)
{
	const struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	s->st.source = publisher->who;
	s->st.source_first = log ? log->next : 0;
	s->st.source_since_us = actor_wall_us(self);
	s->st.source_declared = publisher->declared;
	s->st.last_packet_us = actor_now_us(self);
	s->st.lost_at_us = 0;
	memcpy(s->st.protocol, publisher->protocol, sizeof(s->st.protocol));
	memcpy(s->st.subject, publisher->subject, sizeof(s->st.subject));
	memcpy(s->st.resume, publisher->resume, sizeof(s->st.resume));
	s->st.tracks_count = publisher->tracks_count;
	memcpy(s->st.tracks, publisher->tracks, sizeof(s->st.tracks));
	s->keyframe_asked_us = 0; /* it was another that was asked: this one is when it must be */
	stream_restart_maps(s);
	actor_timer_off(self, STREAM_TIMER_GRACE);
	actor_become(self, STREAM_LIVE);
	stream_settle_tracks(self, s);
	stream_watch_source(self, s);
}

static void adopt(
	struct actor *self, struct stream *s, struct asker asker, const struct msg_publish *publish)
{
	struct msg_published answer = {
		.stream = actor_addr(self), .epoch = s->st.epoch, .wants_keyframe = true};
	struct publisher publisher;

	stream_describe_publisher(self, &publisher, asker.from, publish);
	memcpy(answer.resume, publisher.resume, sizeof(answer.resume));
	actor_monitor(self, asker.from);
	actor_answer_mail(self, asker, MSG_published, &schema_published, &answer);
	log_info(actor_log(self), "stream_live", "stream", s->st.name, "protocol",
		publish->protocol, "epoch", s->st.epoch);
	stream_set_source(self, s, &publisher);
}

void stream_lose_source(struct actor *self, struct stream *s)
{
	stream_stop_hearing(self, s);
	if (actor_phase(self) == STREAM_ORPHANED || stream_source_gone(self, s) ||
		stream_next_takes_over(self, s) || stream_relay_goes_on(self, s))
		return;
	stream_orphan(self, s);
}

static int64_t grace_ms(struct actor *self)
{
	return actor_config(self) ? actor_config(self)->stream_publisher_grace_ms : 10000;
}

/* Since its publisher was lost, however often it has looked for one. */
static void keep_for_publisher(struct actor *self, const struct stream *s)
{
	int64_t left_ms = grace_ms(self) - (actor_wall_us(self) - s->st.lost_at_us) / MS;

	if (left_ms > grace_ms(self)) /* the clock has been put back */
		left_ms = grace_ms(self);
	actor_timer_in_ms(self, STREAM_TIMER_GRACE, left_ms > 1 ? left_ms : 1);
}

uint32_t stream_lost_ms(struct actor *self, const struct stream *s)
{
	int64_t lost_ms = (actor_wall_us(self) - s->st.lost_at_us) / MS;

	if (!s->st.lost_at_us)
		return 0;
	return lost_ms < 1 ? 1 : lost_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)lost_ms;
}

/* Copies that find each other, and no publisher, wait no longer by that. */
void stream_note_live(struct actor *self, struct stream *s, bool live, uint32_t lost_ms)
{
	s->st.source_live = live;
	if (live)
		s->st.lost_at_us = 0;
	else if (!s->st.lost_at_us)
		s->st.lost_at_us = actor_wall_us(self) - (int64_t)lost_ms * MS;
}

void stream_orphan(struct actor *self, struct stream *s)
{
	log_info(actor_log(self), "stream_orphaned", "stream", s->st.name, "replica", s->st.replica,
		"readers", s->st.subscribers_count);
	s->st.source = (struct addr){0};
	stream_early_drop(self, s);
	if (!s->st.relayed || !s->st.lost_at_us)
		s->st.lost_at_us = actor_wall_us(self);
	if (!s->st.replica || s->st.relayed)
		keep_for_publisher(self, s);
	actor_become(self, STREAM_ORPHANED);
	stream_tell_tracks(self, s);
	if (s->st.relayed)
		actor_timer_in_ms(self, STREAM_TIMER_CLAIM, RELAY_RETRY_MS);
	else if (s->st.replica)
		stream_find_owner(self, s, (uint32_t)grace_ms(self));
}

static bool resumes(const struct stream *s, const struct msg_publish *m)
{
	return m->resume[0] && s->st.resume[0] &&
	       memory_equal(m->resume, s->st.resume, sizeof(m->resume));
}

/* May this newcomer have the stream that somebody else publishes? */
static bool may_replace(struct actor *self, struct stream *s, const struct msg_publish *m)
{
	int64_t silent_ms =
		actor_config(self) ? actor_config(self)->stream_publisher_silent_ms : 2000;

	if (stream_silence_us(self, s, s->st.last_packet_us) >= silent_ms * MS)
		return true;
	return m->subject[0] && !strcmp(m->subject, s->st.subject);
}

enum verdict { REFUSED, STANDS_BY, IS_SOURCE };

static enum verdict judge(struct actor *self, struct stream *s, const struct msg_publish *m)
{
	if (actor_phase(self) != STREAM_LIVE || resumes(s, m))
		return IS_SOURCE;
	if (stream_resumes_standby(s, m) || stream_may_stand_by(self, s, m))
		return STANDS_BY;
	return may_replace(self, s, m) ? IS_SOURCE : REFUSED;
}

ON(stream, publish)
{
	struct addr who = actor_asker(self).from;
	bool takes_over = m->takes_over && who.node == actor_addr(self).node;

	if (m->tracks_count > STREAM_MADE_TRACK_FIRST)
		return ERR_LIMIT;
	for (int i = 0; i < m->tracks_count; i++)
		if (m->tracks[i].id >= STREAM_MADE_TRACK_FIRST || !m->tracks[i].clock_rate)
			return ERR_FORMAT;
	if (s->st.replica && (takes_over || actor_phase(self) == STREAM_ORPHANED))
		return stream_become_origin(self, s, m);
	if (s->st.relayed) /* it was the owner a moment ago: who asks again is asked for its token (decision 24) */
		return ERR_DEAD;
	if (s->st.replica)
		return actor_forward(self, s->st.source);
	if (actor_phase(self) == STREAM_CLAIMING)
		return stream_wait_for_name(self, s, m);
	stream_forget_standby(self, s, who); /* it had not heard the answer */
	if (actor_phase(self) == STREAM_LIVE && !addr_equal(who, s->st.source)) {
		switch (judge(self, s, m)) {
		case REFUSED: return ERR_BUSY;
		case STANDS_BY: return stream_stand_by(self, s, m);
		case IS_SOURCE: break;
		}
		actor_unmonitor(self, s->st.source);
		actor_send(self, s->st.source, replaced, {});
	}
	adopt(self, s, actor_asker(self), m);
	return ERR_OK;
}

/* The publisher is at another node. What it may do here it may do there: as the owner, if it would be
 * the source. */
ON(stream, stream_yield)
{
	struct msg_stream_yielded answer = {.epoch = s->st.epoch};
	struct msg_publish publish = {.standby = m->standby};

	memcpy(publish.resume, m->resume, sizeof(publish.resume));
	memcpy(publish.subject, m->subject, sizeof(publish.subject));
	if (actor_phase(self) == STREAM_CLAIMING)
		return ERR_BUSY;
	if (s->st.replica && (addr_is_nobody(s->st.owner) || actor_phase(self) == STREAM_ORPHANED))
		return ERR_NOT_FOUND;
	if (s->st.replica) {
		answer.owner = s->st.owner;
	} else {
		enum verdict verdict = judge(self, s, &publish);

		if (verdict == REFUSED)
			return ERR_BUSY;
		answer.standby = verdict == STANDS_BY;
		if (verdict == IS_SOURCE) {
			s->st.yielded++;
			memset(s->st.resume, 0, sizeof(s->st.resume)); /* once */
		}
	}
	return actor_answer_mail(
		self, actor_asker(self), MSG_stream_yielded, &schema_stream_yielded, &answer);
}

ON(stream, name_granted)
{
	s->claim_request = 0;
	s->st.epoch = m->epoch;
	if (m->start_us)
		s->st.claimed_us = m->start_us;
	if (actor_phase(self) != STREAM_CLAIMING)
		return ERR_OK; /* a renewal */
	stream_tell_former(self, s);
	if (s->publisher_waits)
		adopt(self, s, s->publisher_asker, &s->publisher);
	else
		stream_lose_source(self, s); /* it has given up meanwhile */
	s->publisher_waits = false;
	stream_answer_waiting(self, s, ERR_OK);
	return ERR_OK;
}

ON(stream, tracks_changed)
{
	struct publisher *standby = stream_find_standby(s, mail->from);

	if (m->tracks_count > STREAM_MADE_TRACK_FIRST)
		return ERR_FORBIDDEN;
	if (standby) {
		standby->tracks_count = m->tracks_count;
		memcpy(standby->tracks, m->tracks, sizeof(standby->tracks));
		return actor_reply(self, done, {});
	}
	if (!addr_equal(mail->from, s->st.source))
		return ERR_FORBIDDEN;
	s->st.tracks_count = m->tracks_count;
	memcpy(s->st.tracks, m->tracks, sizeof(s->st.tracks));
	stream_settle_tracks(self, s);
	stream_answer_waiting(self, s, ERR_OK);
	return actor_reply(self, done, {}); /* media of the new tracks may follow */
}

ON(stream, unpublish)
{
	if (addr_equal(mail->from, s->st.source)) {
		actor_unmonitor(self, s->st.source);
		stream_lose_source(self, s);
	} else {
		stream_forget_standby(self, s, mail->from);
	}
	return ERR_OK;
}

/* ---- readers ----------------------------------------------------------------------------------- */

ON(stream, subscribe)
{
	if (s->leaves && !m->feed) /* as mail is answered that comes a moment later: ask again */
		return ERR_DEAD;
	if (stream_must_wait(self, s, m) || stream_hears_first(self, s, m))
		return stream_wait(self, s, m);
	return stream_subscribe(self, s, actor_asker(self), m);
}

ON(stream, stream_move)
{
	return stream_begin_move(self, s, m->process);
}

ON(stream, unsubscribe)
{
	stream_unsubscribe(self, s, mail->from);
	/* what viewers of other nodes were sent is counted there */
	if (mail->from.node == actor_addr(self).node)
		s->st.bytes_out += m->bytes_out;
	return ERR_OK;
}

ON(stream, viewers)
{
	stream_count_behind(self, s, mail->from, m->count);
	return ERR_OK;
}

ON(stream, keyframe_request)
{
	stream_ask_keyframe(self, s, m->track);
	return ERR_OK;
}

ON(stream, bitrate)
{
	stream_take_bitrate(self, s, mail->from, m->bps);
	return ERR_OK;
}

ON(stream, media_resend)
{
	return stream_resend(self, s, m, mail->from);
}

/* ---- a replica and its source ------------------------------------------------------------------ */

void stream_take_tracks(
	struct actor *self, struct stream *s, const struct msg_subscribed *subscribed)
{
	s->st.tracks_count = subscribed->tracks_count;
	memcpy(s->st.tracks, subscribed->tracks, sizeof(s->st.tracks));
	stream_note_live(self, s, subscribed->live, subscribed->lost_ms);
	stream_answer_waiting(self, s, ERR_OK);
	stream_tell_tracks(self, s);
	stream_update_transcoding(self, s);
}

ON(stream, subscribed)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	if (stream_next_subscribed(self, s, m, mail->request) ||
		stream_hear_subscribed(self, s, m, mail->request) ||
		mail->request != s->upstream_request || !log)
		return ERR_OK;
	s->upstream_request = 0;
	if (actor_phase(self) == STREAM_LIVE)
		stream_note_epoch(self, s, m->epoch, m->source_first);
	else if (m->epoch > s->st.epoch) {
		s->st.source_first = s->epoch_from; /* who joins again here has seen the rest */
		s->begins_there = m->source_first;
	}
	s->st.epoch = m->epoch;
	if (actor_phase(self) == STREAM_JOINING) {
		if (!s->st.source_next) /* media may have overtaken this answer */
			stream_restart_maps(s);
		stream_note_source(s, m->source_since_us);
		s->source_from = s->is_asked_anew ? m->start : 0;
		/* the source's cached pictures are on their way: no need to ask for others yet */
		s->keyframe_asked_us = actor_now_us(self);
		actor_timer_off(self, STREAM_TIMER_GRACE);
		actor_become(self, STREAM_LIVE);
		actor_monitor(self, s->st.source);
		stream_begin_hearing(self, s, m->silent_ms);
	}
	stream_take_tracks(self, s, m);
	if (addr_is_nobody(s->next.who)) /* else what is kept is that one's */
		stream_early_take(self, s, s->st.source);
	stream_hear_of_owner(self, s, m->owner, m->owner_epoch);
	return ERR_OK;
}

ON(stream, reparent)
{
	if (!addr_is_nobody(m->source))
		return stream_follow(self, s, m->source, actor_asker(self));
	if (!s->st.relayed || actor_phase(self) != STREAM_LIVE || addr_is_nobody(s->st.source))
		return ERR_PHASE;
	stream_forget_next(self, s);
	actor_unmonitor(self, s->st.source);
	actor_send(self, s->st.source, unsubscribe, {});
	stream_orphan(self, s);
	return ERR_OK;
}

ON(stream, tracks)
{
	if (!s->st.replica || !addr_equal(mail->from, s->st.source))
		return ERR_OK;
	s->st.tracks_count = m->tracks_count;
	memcpy(s->st.tracks, m->tracks, sizeof(s->st.tracks));
	stream_note_live(self, s, m->live, 0);
	stream_note_source(s, m->source_since_us);
	stream_note_epoch(self, s, m->epoch, m->source_first);
	stream_hear_of_owner(self, s, m->owner, m->owner_epoch);
	stream_answer_waiting(self, s, ERR_OK);
	stream_tell_tracks(self, s);
	stream_update_transcoding(self, s);
	return ERR_OK;
}

ON(stream, media_gone)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	if (!log || !addr_equal(mail->from, s->st.source) || !s->st.source_next)
		return ERR_OK;
	uint64_t below = m->below + (uint64_t)s->st.position_shift;

	if (below > log->ready && below <= log->next) {
		s->st.holes += below - log->ready;
		media_log_advance(log, below);
		actor_kick(actor_runtime(self), actor_addr(self));
	}
	return ERR_OK;
}

void stream_join(struct actor *self, struct stream *s, struct addr source)
{
	stream_forget_next(self, s);
	if (!addr_is_nobody(s->st.source) && !addr_equal(s->st.source, source)) {
		actor_unmonitor(self, s->st.source);
		actor_send(self, s->st.source, unsubscribe, {});
	}
	stream_stop_hearing(self, s);
	stream_early_drop(self, s);
	s->st.source = source;
	s->is_asked_anew = false;
	stream_begin_source(s);
	s->source_from = 0;
	s->begins_there = 0;
	stream_give_up_holes(self, s);
	stream_restart_maps(s);
	stream_begin_epoch(self, s);
	actor_become(self, STREAM_JOINING);
	stream_join_upstream(self, s);
}

ON(stream, name_found)
{
	if (mail->request != s->claim_request)
		return ERR_OK;
	s->claim_request = 0;
	if (!s->st.replica || actor_phase(self) != STREAM_ORPHANED)
		return ERR_OK;
	if (!addr_equal(m->owner, actor_addr(self))) {
		stream_join_owner(self, s, m->owner, m->epoch);
	} else { /* it was, as that directory still has it: a later one is waited for */
		s->st.owner_epoch = m->epoch;
		actor_timer_in_ms(self, STREAM_TIMER_CLAIM, RELAY_RETRY_MS);
	}
	return ERR_OK;
}

ON(stream, relay_found)
{
	stream_relay_found(self, s, m, mail->request);
	return ERR_OK;
}

/* Another owner won the name (the directory had been split or restarted): follow it. */
ON(stream, name_lost)
{
	stream_lose_name(self, s, m);
	return ERR_OK;
}

/* ---- transcoder, deaths, failures -------------------------------------------------------------- */

ON(stream, transcode_started)
{
	if (mail->request == s->transcode_request)
		stream_transcoder_ready(self, s, m);
	else
		actor_send(self, m->transcoder, stop, {.reason = ERR_OK});
	return ERR_OK;
}

ON(stream, down)
{
	if (stream_waiting_publisher_gone(self, s, m->who) ||
		stream_next_lost(self, s, m->who, ERR_DEAD))
		return ERR_OK;
	if (addr_equal(m->who, s->st.source)) {
		stream_lose_source(self, s);
		return ERR_OK;
	}
	if (stream_forget_standby(self, s, m->who))
		return ERR_OK;
	stream_unsubscribe(self, s, m->who); /* a transcoder is a reader too */
	if (addr_equal(m->who, s->st.transcoder))
		stream_transcoder_lost(self, s);
	return ERR_OK;
}

ON(stream, failed)
{
	if (stream_next_failed(self, s, mail->request, m->err) ||
		stream_hear_failed(self, s, mail->request, m->err) ||
		stream_relay_failed(self, s, mail->request))
		return ERR_OK;
	if (mail->request && mail->request == s->claim_request) {
		stream_claim_failed(self, s, m);
	} else if (mail->request && mail->request == s->upstream_request) {
		s->upstream_request = 0;
		if (actor_phase(self) == STREAM_JOINING) {
			actor_send(self, s->st.source, unsubscribe, {}); /* it may have heard it */
			stream_lose_source(self, s);
		}
	} else if (mail->request && mail->request == s->transcode_request) {
		log_warn(actor_log(self), "transcode_failed", "stream", s->st.name, "error",
			err_name(m->err));
		stream_transcoder_lost(self, s);
	} else if (m->type == MSG_arrive) {
		s->leaves = false;
	} else if (!mail->request && m->err == ERR_DEAD && m->type != MSG_keyframe_request &&
		   m->to.node == actor_addr(self).node) {
		/* (of one at another node only the mail may be lost, with a gateway: `down` says more) */
		stream_unsubscribe(self, s, m->to);
	}
	return ERR_OK;
}

/* A new control process has an empty directory: say again who we are. A new helper may have the
 * transcoder that a dead one had. */
ON(stream, peer)
{
	if (m->role == PROCESS_CONTROL && m->up) {
		if (!s->st.replica && actor_phase(self) != STREAM_CLAIMING)
			stream_claim_name(self, s);
		else if (s->st.replica && actor_phase(self) == STREAM_ORPHANED)
			actor_timer_in_ms(self, STREAM_TIMER_CLAIM, CLAIM_RETRY_MS);
		else if (s->st.relayed && !s->relay_request)
			stream_ask_relay(self, s, (struct addr){0});
	} else if (m->role == PROCESS_HELPER && m->up) {
		stream_helper_up(self, s);
	}
	return ERR_OK;
}

ON(stream, stream_trace)
{
	return stream_begin_trace(self, s, m->for_ms);
}

/* ---- timers ------------------------------------------------------------------------------------ */

static void stream_timer(struct actor *self, void *data, unsigned timer)
{
	struct stream *s = data;

	switch ((enum stream_timer)timer) {
	case STREAM_TIMER_GRACE:
		log_info(actor_log(self), "stream_ended", "stream", s->st.name);
		actor_stop(self, ERR_CLOSED);
		break;
	case STREAM_TIMER_IDLE:
		if (s->waiting_count)
			actor_timer_in_ms(self, STREAM_TIMER_IDLE, STREAM_IDLE_MS);
		else if (s->st.replica)
			actor_stop(self, ERR_OK);
		break;
	case STREAM_TIMER_KEYFRAME: stream_keyframe_due(self, s); break;
	case STREAM_TIMER_HOLES: stream_holes_due(self, s); break;
	case STREAM_TIMER_STATISTICS:
		stream_note_awake(self, s);
		stream_report(self, s);
		stream_say_bitrate(self, s);
		stream_follow_source(self, s);
		actor_timer_in_ms(self, STREAM_TIMER_STATISTICS, STATISTICS_MS);
		break;
	case STREAM_TIMER_TRANSCODE: stream_update_transcoding(self, s); break;
	case STREAM_TIMER_SILENCE:
		if (s->st.replica)
			stream_hear_due(self, s);
		else
			stream_standby_due(self, s);
		break;
	case STREAM_TIMER_NEXT: stream_next_due(self, s); break;
	case STREAM_TIMER_TRACE: stream_trace_due(self, s); break;
	case STREAM_TIMER_CLAIM:
		if (s->claim_request)
			break;
		if (s->st.relayed && actor_phase(self) != STREAM_ORPHANED)
			stream_ask_relay(self, s, (struct addr){0});
		else if (!s->st.replica)
			stream_claim_name(self, s);
		else if (actor_phase(self) == STREAM_ORPHANED)
			stream_find_owner(self, s, OWNER_WAIT_MS);
		break;
	}
}

/* ---- life -------------------------------------------------------------------------------------- */

static enum err stream_init(struct actor *self, void *data, const void *args_)
{
	struct stream *s = data;
	const struct stream_args *args = args_;
	struct slot_ref log = stream_make_log(self, 1);

	if (!log.generation)
		return ERR_LIMIT;
	s->st.log_index = log.index;
	s->st.log_generation = log.generation;
	s->st.maps_count = MEDIA_TRACKS_MAX;
	s->st.replica = args->replica;
	s->st.epoch = 0;
	s->st.claimed_us = actor_wall_us(self);
	text_copy(s->st.name, sizeof(s->st.name), args->name);
	char name[ACTOR_NAME_MAX + 1];

	snprintf(name, sizeof(name), "stream/%.110s", s->st.name);
	actor_set_name(self, name);
	s->rate_since_us = actor_now_us(self);
	stream_note_awake(self, s);
	actor_timer_in_ms(self, STREAM_TIMER_STATISTICS, STATISTICS_MS);
	if (s->st.replica) {
		if (args->lost_ms)
			s->st.lost_at_us = actor_wall_us(self) - (int64_t)args->lost_ms * MS;
		stream_begin_hearing(self, s, 0);
		stream_join_owner(self, s, args->source, args->epoch);
		actor_timer_in_ms(
			self, STREAM_TIMER_IDLE, STREAM_IDLE_MS); /* until somebody reads */
	} else {
		actor_become(self, STREAM_CLAIMING);
		s->over = args->over;
		s->former = args->former;
		stream_claim_name(self, s);
	}
	actor_watch_peers(self);
	return ERR_OK;
}

/* What had been asked is lost. Who reads already goes on, and the owner is found anew. */
static void restore_unfinished(struct actor *self, struct stream *s)
{
	s->st.replica = true;
	s->st.source = (struct addr){0};
	if (!s->st.lost_at_us) /* it was about to have a publisher: as if that were lost now */
		s->st.lost_at_us = actor_wall_us(self);
	actor_become(self, STREAM_ORPHANED);
}

static enum err stream_restore(struct actor *self, void *data)
{
	struct stream *s = data;
	struct media_log *log = arena_get(actor_arena(self), ARENA_LOG, stream_log_ref(s));

	if (actor_phase(self) & (STREAM_CLAIMING | STREAM_JOINING)) {
		if (!s->st.subscribers_count)
			return ERR_PHASE; /* its office makes a new one */
		restore_unfinished(self, s);
	}
	if (s->st.maps_count != MEDIA_TRACKS_MAX)
		return ERR_FORMAT;
	for (int i = 0; i < s->st.tracks_count; i++)
		if (s->st.tracks[i].id >= MEDIA_TRACKS_MAX)
			return ERR_FORMAT;
	if (log)
		media_log_mend(actor_arena(self), log, s->st.replica);
	if (!media_log_get(actor_arena(self), stream_log_ref(s)) ||
		!arena_hold_again(actor_arena(self), ARENA_LOG, stream_log_ref(s)))
		return ERR_FORMAT;
	stream_catch_up(self, s, log);
	media_log_recount(actor_arena(self), log);
	s->rate_since_us = actor_now_us(self);
	stream_note_awake(self, s);
	actor_timer_in_ms(self, STREAM_TIMER_STATISTICS, STATISTICS_MS);
	if (actor_phase(self) == STREAM_ORPHANED && (!s->st.replica || s->st.relayed))
		keep_for_publisher(self, s);
	if (log->ready < log->next)
		actor_timer_in_ms(self, STREAM_TIMER_HOLES, STREAM_RESEND_MS);
	actor_timer_in_ms(self, STREAM_TIMER_TRANSCODE, STREAM_TRANSCODE_RETRY_MS);
	if (s->st.replica)
		stream_begin_hearing(self, s, 0);
	else
		stream_watch_source_anew(self, s);
	for (int i = 0; i < s->st.subscribers_count; i++)
		stream_tell_links(self, s, s->st.subscribers[i].who);
	if (s->st.replica && !s->st.subscribers_count)
		actor_timer_in_ms(self, STREAM_TIMER_IDLE, STREAM_IDLE_MS);
	if (!s->st.replica || actor_phase(self) == STREAM_ORPHANED || addr_is_nobody(s->st.source))
		actor_timer_in_ms(self, STREAM_TIMER_CLAIM, 1);
	return ERR_OK;
}

/* What viewers here were sent counts on where it came from. */
static void leave_source(struct actor *self, struct stream *s)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	if (addr_is_nobody(s->st.source))
		return;
	s->st.bytes_out += log ? media_log_take_sent(log) : 0;
	actor_send(self, s->st.source, unsubscribe, {.bytes_out = s->st.bytes_out});
}

static void stream_stop(struct actor *self, void *data, enum err reason)
{
	struct stream *s = data;

	(void)reason;
	/* as mail is answered that comes a moment later: ask again */
	if (s->publisher_waits)
		actor_refuse(self, s->publisher_asker, ERR_DEAD, "");
	stream_answer_waiting(self, s, ERR_DEAD);
	stream_forget_next(self, s);
	stream_forget_trace(s);
	stream_early_drop(self, s);
	free(s->waiting);
	if (!addr_is_nobody(s->st.transcoder))
		actor_send(self, s->st.transcoder, stop, {.reason = ERR_OK});
	if (s->st.replica)
		leave_source(self, s);
	else
		stream_release_name(self, s);
	media_log_destroy(actor_arena(self), stream_log_ref(s));
}

static const char *const stream_phases[] = {"claiming", "joining", "live", "orphaned", NULL};

static const struct handler stream_handlers[] = {
	/*                message            legal in */
	HANDLER(stream, publish, STREAM_ANY),
	HANDLER(stream, stream_yield, STREAM_ANY),
	HANDLER(stream, tracks_changed, STREAM_LIVE),
	HANDLER(stream, unpublish, STREAM_LIVE),
	HANDLER(stream, subscribe, STREAM_ANY),
	HANDLER(stream, stream_move, STREAM_LIVE),
	HANDLER(stream, unsubscribe, STREAM_ANY),
	HANDLER(stream, viewers, STREAM_ANY),
	HANDLER(stream, keyframe_request, STREAM_LIVE),
	HANDLER(stream, bitrate, STREAM_ANY),
	HANDLER(stream, media_resend, STREAM_ANY),
	HANDLER(stream, media_gone, STREAM_ANY),
	HANDLER(stream, subscribed, STREAM_JOINING | STREAM_LIVE),
	HANDLER(stream, tracks, STREAM_ANY),
	HANDLER(stream, reparent, STREAM_ANY),
	HANDLER(stream, stream_trace, STREAM_LIVE),
	HANDLER(stream, relay_found, STREAM_ANY),
	HANDLER(stream, name_granted, STREAM_ANY),
	HANDLER(stream, name_found, STREAM_ANY),
	HANDLER(stream, name_lost, STREAM_ANY),
	HANDLER(stream, transcode_started, STREAM_ANY),
	HANDLER(stream, down, STREAM_ANY),
	HANDLER(stream, failed, STREAM_ANY),
	HANDLER(stream, peer, STREAM_ANY),
};

const struct actor_type stream_actor = {
	.name = "stream",
	.size = sizeof(struct stream),
	.state = &schema_stream_state,
	.phases = stream_phases,
	.mailbox_max = 4096,
	HANDLER_TABLE(stream_handlers),
	.init = stream_init,
	.restore = stream_restore,
	.slots = stream_slots,
	.left = stream_left,
	.arrived = stream_arrived,
	.stop = stream_stop,
	.timer = stream_timer,
	.configured = stream_configured,
	.pump = stream_pump,
	.media = stream_media,
};

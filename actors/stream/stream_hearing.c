/* SPDX-License-Identifier: Apache-2.0
 *
 * Does a copy still hear the owner of its stream? By media that it has not had before it does. When none
 * comes it asks its source, by subscribing to it once more; a source that has heard nothing for as long
 * asks its own before it answers, and so on up to the owner. An answer says how long ago that one lived.
 *
 *   hears --no media for HEARD_MS--> asks --it lives--> hears (asks again after 1, 2, 4 s of silence)
 *                                       \--no answer; it sends and nothing comes; nobody has heard of
 *                                          it for PATIENCE_MS--> leaves its source for another
 *
 * That finds sources that have forgotten their reader (to subscribe once more mends it), ways by which
 * nothing comes through, and circles: of copies that copy each other none hears the owner. A publisher who
 * is silent costs each copy one question in four seconds.
 */
#include "actors/stream/stream_internal.h"

enum {
	MS = 1000,
	HEARD_MS = 1000,
	AGAIN_DOUBLINGS = 2,
	ASK_MS = 1200, /* the way to the owner and back; a circle is left after this */
	RETRY_MS = 500,
	FAILURES_MAX = 3,   /* in a row: answers, but no reader can be there */
	PATIENCE_MS = 4000, /* with a source that looks for another itself (relay_actor.c: 3 s) */
};

uint32_t stream_silent_ms(const struct actor *self, const struct stream *s)
{
	int64_t silent_ms = (actor_now_us(self) - s->hearing.heard_us) / MS;

	return s->st.replica && silent_ms > 0 ? (uint32_t)silent_ms : 0;
}

void stream_stop_hearing(struct actor *self, struct stream *s)
{
	uint64_t request = s->hearing.request;

	s->hearing = (struct stream_hearing){.heard_us = s->hearing.heard_us};
	if (!request)
		return;
	actor_forget_request(self, request);
	stream_answer_waiting(self, s, ERR_OK); /* who has asked us is told as it is */
}

void stream_begin_hearing(struct actor *self, struct stream *s, uint32_t silent_ms)
{
	stream_stop_hearing(self, s);
	s->hearing.heard_us = actor_now_us(self) - (int64_t)silent_ms * MS;
	actor_timer_at(self, STREAM_TIMER_SILENCE, s->hearing.heard_us + HEARD_MS * MS);
}

void stream_hear_media(struct actor *self, struct stream *s, struct slot_ref newest)
{
	struct stream_hearing *hearing = &s->hearing;
	const struct packet *packet = arena_packet(actor_arena(self), newest);

	hearing->start = 0;
	if (!packet || packet->header.capture_us <= hearing->capture_us)
		return; /* it may have been here before */
	hearing->capture_us = packet->header.capture_us;
	hearing->heard_us = actor_now_us(self);
	hearing->asking_since_us = 0;
	hearing->asks = 0;
}

/* ---- asking ------------------------------------------------------------------------------------- */

static void ask(struct actor *self, struct stream *s)
{
	struct stream_hearing *hearing = &s->hearing;
	struct msg_subscribe subscribe = {.feed = true,
		.alive = true,
		.rejoins = true,
		.audio = s->st.transcode_wanted,
		.from_position = s->st.source_next};

	memcpy(subscribe.stream_name, s->st.name, sizeof(subscribe.stream_name));
	if (!hearing->asking_since_us)
		hearing->asking_since_us = actor_now_us(self);
	if (!hearing->asks)
		s->st.silences++;
	if (hearing->asks <= AGAIN_DOUBLINGS)
		hearing->asks++;
	hearing->request = actor_request_mail(
		self, s->st.source, ASK_MS, MSG_subscribe, &schema_subscribe, &subscribe);
}

/* Not if it is in our own node: its end is heard of, and nobody knows another. */
static bool leave(struct actor *self, struct stream *s, const char *why)
{
	struct addr source = s->st.source;

	if (!s->st.relayed)
		return false;
	s->st.deserted++;
	log_info(actor_log(self), "stream_source_left", "stream", s->st.name, "why", why,
		"silent_ms", stream_silent_ms(self, s));
	actor_unmonitor(self, source);
	actor_send(self, source, unsubscribe, {});
	stream_lose_source(self, s);
	return true;
}

void stream_hear_due(struct actor *self, struct stream *s)
{
	struct stream_hearing *hearing = &s->hearing;
	int64_t now_us = actor_now_us(self), quiet_us = hearing->heard_us + HEARD_MS * MS;

	if (actor_phase(self) != STREAM_LIVE || addr_is_nobody(s->st.source) || hearing->request)
		return;
	if (now_us < quiet_us)
		actor_timer_at(self, STREAM_TIMER_SILENCE, quiet_us);
	else if (!hearing->asking_since_us ||
		 now_us - hearing->asking_since_us < PATIENCE_MS * MS ||
		 !leave(self, s, "the owner is not heard"))
		ask(self, s);
}

bool stream_hears_first(struct actor *self, struct stream *s, const struct msg_subscribe *m)
{
	if (m->alive && s->st.replica && stream_silent_ms(self, s) >= HEARD_MS)
		stream_hear_due(self, s);
	return stream_must_hear(self, s, m);
}

bool stream_must_hear(
	const struct actor *self, const struct stream *s, const struct msg_subscribe *m)
{
	return m->alive && s->hearing.request && stream_silent_ms(self, s) >= HEARD_MS;
}

/* ---- what comes of it ---------------------------------------------------------------------------- */

/* Sent to us, as the source says, and nothing has come since it said so before. */
static bool is_deaf(struct stream_hearing *hearing, uint64_t start)
{
	bool deaf = hearing->start && start > hearing->start;

	hearing->start = start;
	return deaf;
}

static void note_answer(struct actor *self, struct stream *s, const struct msg_subscribed *m)
{
	struct stream_hearing *hearing = &s->hearing;
	int64_t heard_us = actor_now_us(self) - (int64_t)m->silent_ms * MS;

	hearing->failures = 0;
	if (heard_us > hearing->heard_us)
		hearing->heard_us = heard_us;
	if (stream_silent_ms(self, s) >= HEARD_MS) {
		actor_timer_in_ms(self, STREAM_TIMER_SILENCE, RETRY_MS);
		return;
	}
	hearing->asking_since_us = 0;
	hearing->capture_us = 0; /* the next may be another publisher's, with another clock */
	actor_timer_in_ms(
		self, STREAM_TIMER_SILENCE, HEARD_MS << (hearing->asks ? hearing->asks - 1 : 0));
	if (is_deaf(hearing, m->start) && leave(self, s, "what it sends does not come"))
		return;
	if (m->epoch > s->st.epoch || m->live != s->st.source_live) {
		stream_note_epoch(self, s, m->epoch, m->source_first);
		stream_take_tracks(self, s, m);
	}
	stream_hear_of_owner(self, s, m->owner, m->owner_epoch);
}

bool stream_hear_subscribed(
	struct actor *self, struct stream *s, const struct msg_subscribed *m, uint64_t request)
{
	if (!request || request != s->hearing.request)
		return false;
	s->hearing.request = 0;
	note_answer(self, s, m);
	stream_answer_waiting(self, s, ERR_OK);
	return true;
}

bool stream_hear_failed(struct actor *self, struct stream *s, uint64_t request, enum err err)
{
	if (!request || request != s->hearing.request)
		return false;
	s->hearing.request = 0;
	if ((err != ERR_TIMEOUT && ++s->hearing.failures < FAILURES_MAX) ||
		!leave(self, s, "no answer"))
		actor_timer_in_ms(self, STREAM_TIMER_SILENCE, RETRY_MS);
	stream_answer_waiting(self, s, ERR_OK);
	return true;
}

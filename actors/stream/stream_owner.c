/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose a stream is (docs/decisions/024). An origin has claimed the stream's name; a replica copies what
 * the owner of the name publishes. Either becomes the other under its readers:
 *
 *   replica --publisher comes here, the owner has gone, or yields--> claims --granted--> origin
 *   origin --name_lost: of the directory, or of whom it has yielded to--> replica of the winner
 *
 * Readers that are copies hear of a new owner from whom they copy, before there is anything of it; each
 * then finds its own way there, and passes the news on.
 */
#include "actors/stream/stream_internal.h"

#include <stdio.h>

enum { REQUEST_MS = 3000, CLAIM_RETRY_MS = 200 };

/* ---- the directory ------------------------------------------------------------------------------ */

static uint64_t known_epoch(const struct stream *s)
{
	return s->st.owner_epoch > s->st.epoch ? s->st.owner_epoch : s->st.epoch;
}

static void write_name(const struct stream *s, char name[128])
{
	snprintf(name, 128, "stream/%.120s", s->st.name);
}

void stream_claim_name(struct actor *self, struct stream *s)
{
	struct msg_name_claim claim = {.epoch = s->st.epoch,
		.start_us = s->st.claimed_us,
		.over = s->st.epoch ? 0 : s->over};

	write_name(s, claim.name);
	s->claim_request = actor_request_mail(self, actor_office(self, OFFICE_DIRECTORY),
		REQUEST_MS, MSG_name_claim, &schema_name_claim, &claim);
}

void stream_release_name(struct actor *self, const struct stream *s)
{
	struct msg_name_release release = {.epoch = s->st.epoch};

	write_name(s, release.name);
	actor_send_mail(self, actor_office(self, OFFICE_DIRECTORY), MSG_name_release,
		&schema_name_release, &release);
}

void stream_find_owner(struct actor *self, struct stream *s, uint32_t wait_ms)
{
	/* one of another node may be the same as before: it was the way to it that was missing */
	uint64_t known = known_epoch(s);
	struct msg_name_lookup lookup = {
		.wait_ms = wait_ms, .newer_than = known - (s->st.relayed && known)};

	write_name(s, lookup.name);
	s->claim_request = actor_request_mail(self, actor_office(self, OFFICE_DIRECTORY),
		wait_ms + REQUEST_MS, MSG_name_lookup, &schema_name_lookup, &lookup);
}

/* ---- a replica and its owner -------------------------------------------------------------------- */

static void tell_relay_own(struct actor *self, const struct stream *s)
{
	struct msg_relay_own own = {0};

	memcpy(own.stream_name, s->st.name, sizeof(own.stream_name));
	actor_send_mail(
		self, actor_office(self, OFFICE_RELAY), MSG_relay_own, &schema_relay_own, &own);
}

static void set_owner(struct actor *self, struct stream *s, struct addr owner, uint64_t epoch)
{
	bool is_foreign = owner.node != actor_addr(self).node;

	if (s->st.relayed && !is_foreign)
		tell_relay_own(self, s);
	s->st.relayed = is_foreign;
	s->st.owner = owner;
	s->st.owner_epoch = epoch;
}

struct addr stream_owner(struct actor *self, const struct stream *s, uint64_t *epoch)
{
	*epoch = s->st.replica ? known_epoch(s) : s->st.epoch;
	return s->st.replica ? s->st.owner : actor_addr(self);
}

void stream_join_owner(struct actor *self, struct stream *s, struct addr owner, uint64_t epoch)
{
	set_owner(self, s, owner, epoch);
	if (!s->st.relayed) {
		stream_join(self, s, owner);
		return;
	}
	/* there may be a better way to it than straight */
	stream_forget_next(self, s);
	s->st.source = (struct addr){0};
	actor_become(self, STREAM_JOINING);
	stream_ask_relay(self, s, (struct addr){0});
}

void stream_hear_of_owner(struct actor *self, struct stream *s, struct addr owner, uint64_t epoch)
{
	if (!s->st.replica || actor_phase(self) != STREAM_LIVE || addr_is_nobody(owner) ||
		epoch <= known_epoch(s))
		return;
	if (addr_equal(
		    owner, actor_addr(self))) /* it was: they have not heard that it is none now */
		return;
	log_info(actor_log(self), "stream_has_new_owner", "stream", s->st.name, "epoch", epoch);
	set_owner(self, s, owner, epoch);
	if (s->st.relayed)
		stream_ask_relay(self, s, (struct addr){0});
	else
		stream_follow(self, s, owner, (struct asker){0});
}

/* ---- origin or replica --------------------------------------------------------------------------- */

enum err stream_wait_for_name(struct actor *self, struct stream *s, const struct msg_publish *m)
{
	if (s->publisher_waits)
		return ERR_BUSY;
	s->publisher_waits = true;
	s->publisher = *m;
	s->publisher_asker = actor_asker(self);
	actor_monitor(self, s->publisher_asker.from);
	return ERR_OK;
}

static void leave_source(struct actor *self, struct stream *s)
{
	stream_forget_next(self, s);
	stream_stop_hearing(self, s);
	if (s->relay_request)
		actor_forget_request(self, s->relay_request);
	if (s->upstream_request)
		actor_forget_request(self, s->upstream_request);
	s->relay_request = s->upstream_request = 0;
	if (addr_is_nobody(s->st.source))
		return;
	actor_unmonitor(self, s->st.source);
	actor_send(self, s->st.source, unsubscribe, {});
	s->st.source = (struct addr){0};
}

enum err stream_become_origin(struct actor *self, struct stream *s, const struct msg_publish *m)
{
	if (s->claim_request)
		actor_forget_request(self, s->claim_request);
	actor_timer_off(self, STREAM_TIMER_IDLE);
	actor_timer_off(self, STREAM_TIMER_CLAIM);
	leave_source(self, s);
	if (s->st.relayed)
		tell_relay_own(self, s);
	s->st.replica = false;
	s->st.relayed = false;
	s->st.epoch = 0; /* a new claim */
	s->st.claimed_us = actor_wall_us(self);
	s->st.transcode_wanted = 0;
	s->over = m->over;
	s->former = m->former;
	media_office_note(self, false);
	stream_give_up_holes(self, s);
	actor_become(self, STREAM_CLAIMING);
	stream_claim_name(self, s);
	return stream_wait_for_name(self, s, m);
}

void stream_tell_former(struct actor *self, struct stream *s)
{
	struct msg_name_lost lost = {.epoch = s->st.epoch, .owner = actor_addr(self)};

	write_name(s, lost.name);
	if (!addr_is_nobody(
		    s->former)) /* its own directory says so too, when the store has told it */
		actor_send_mail(self, s->former, MSG_name_lost, &schema_name_lost, &lost);
	s->former = (struct addr){0};
	s->over = 0;
}

static void become_replica(struct actor *self, struct stream *s)
{
	s->st.replica = true;
	s->st.transcode_wanted = s->st.transcoded_codec; /* the new owner makes it for us */
	media_office_note(self, true);
	stream_stop_transcoder(self, s);
	stream_begin_hearing(self, s, 0);
	actor_timer_off(self, STREAM_TIMER_GRACE);
	s->st.lost_at_us = 0; /* there is an owner */
	if (s->st.subscribers_count == 0)
		actor_timer_in_ms(self, STREAM_TIMER_IDLE, STREAM_IDLE_MS);
}

/* An origin no longer: its publisher goes, its readers stay. */
static void give_up_name(struct actor *self, struct stream *s)
{
	log_warn(actor_log(self), "stream_lost_name", "stream", s->st.name, "epoch", s->st.epoch);
	if (!addr_is_nobody(s->st.source)) {
		actor_unmonitor(self, s->st.source);
		actor_send(self, s->st.source, replaced, {});
		s->st.source = (struct addr){0};
	}
	stream_dismiss_standbys(self, s);
	become_replica(self, s);
}

void stream_lose_name(struct actor *self, struct stream *s, const struct msg_name_lost *m)
{
	if (s->st.replica || m->epoch < s->st.epoch || addr_equal(m->owner, actor_addr(self)))
		return;
	if (actor_phase(self) == STREAM_CLAIMING && m->epoch <= s->over)
		return; /* said again: that one is who the name is claimed over */
	stream_release_name(
		self, s); /* the directory may not have heard: it would lead publishers here */
	give_up_name(self, s);
	stream_join_owner(self, s, m->owner, m->epoch);
	stream_tell_tracks(self, s);
	stream_update_transcoding(self, s);
}

static void claim_came_to_nothing(struct actor *self, struct stream *s, const struct msg_failed *m)
{
	if (s->publisher_waits) {
		actor_unmonitor(self, s->publisher_asker.from);
		actor_refuse(self, s->publisher_asker, m->err, m->text);
	}
	stream_answer_waiting(self, s, ERR_NOT_FOUND);
	s->publisher_waits = false;
	s->former = (struct addr){0};
	s->over = 0;
	if (s->st.subscribers_count) {	      /* it was a copy before: somebody else has the name */
		stream_release_name(self, s); /* and if it is granted too late, nobody wants it */
		become_replica(self, s);
		s->st.owner_epoch = 0; /* whoever has it will do, the one before too */
		stream_lose_source(self, s);
	} else {
		actor_stop(self, m->err);
	}
}

bool stream_waiting_publisher_gone(struct actor *self, struct stream *s, struct addr who)
{
	static const struct msg_failed gone = {.err = ERR_CLOSED};

	if (!s->publisher_waits || actor_phase(self) != STREAM_CLAIMING ||
		!addr_equal(who, s->publisher_asker.from))
		return false;
	s->publisher_waits = false;
	if (s->claim_request)
		actor_forget_request(self, s->claim_request);
	s->claim_request = 0;
	claim_came_to_nothing(self, s, &gone);
	return true;
}

void stream_claim_failed(struct actor *self, struct stream *s, const struct msg_failed *m)
{
	s->claim_request = 0;
	if (actor_phase(self) == STREAM_CLAIMING) {
		claim_came_to_nothing(self, s, m);
	} else if (actor_phase(self) == STREAM_ORPHANED && s->st.replica && !s->st.relayed &&
		   m->err == ERR_NOT_FOUND) {
		actor_stop(self, ERR_CLOSED); /* nobody took the name over in time */
	} else if (!s->st.replica && (m->err == ERR_BUSY || m->err == ERR_EXISTS)) {
		give_up_name(self, s);
		s->st.epoch = 0; /* whoever has it will do */
		actor_become(self, STREAM_LIVE);
		stream_lose_source(self, s);
	} else {
		/* the directory itself is away: what flows goes on, the name is claimed again; or a foreign
		 * stream has no owner, which is looked for until the time of grace is over */
		actor_timer_in_ms(self, STREAM_TIMER_CLAIM, CLAIM_RETRY_MS);
	}
}

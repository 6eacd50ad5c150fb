/* SPDX-License-Identifier: Apache-2.0
 *
 * A replica goes on with another source of the same stream: because there is a better way to the
 * origin (reparent: make before break), or because its source has gone.
 *
 * Every copy of a stream numbers packets for itself. The next source is therefore asked for a little
 * that is in our log already; a packet is known by its bytes, and from then on the difference of the
 * numbers is known: one of positions for all tracks, one of sequence, frame and time for each. What
 * is aligned goes on where the last source stopped, with nothing twice and nothing missing. A track
 * that nothing was found of begins with its next keyframe, as after a new publisher. What a next source
 * sends that begins behind all that is here is kept; when the last one is silent, it goes on with that.
 *
 *   (none) --reparent--> asked --subscribed, media--> aligning --caught up--> it is the source
 *                            \______ time is over, it ends, refuses ______/--> (none)
 *
 * The replica of a stream of another node does not choose: it asks its node's relay office from whom
 * to copy, when it begins, when its source has gone, and when the control process is a new one.
 */
#include "actors/stream/source_map.h"
#include "actors/stream/stream_internal.h"

#include <stdlib.h>

enum {
	REQUEST_MS = 2000,
	OVERLAP_US = 300 * 1000, /* of what we have, asked for again */
	PASSED_US = 60 * 1000 *
		    1000, /* more than any log holds: captured then, it is of another clock */
	ACTIVE_US = 2000 * 1000, /* a track that is silent for longer is not waited for */
	LOOK_BACK_MAX = 4096,	 /* packets looked at for one that is the same */
	BREAK_MS = 500,		 /* aligning, when there is no source any more */
	MAKE_MS = 3000,		 /* and while there is one */
	SILENT_MS = 200,	 /* one that has not sent for so long is as good as none */
	OVERLAP_AGAIN_MS = 250, /* nothing has come that we know: its way here was not open yet … */
	OVERLAP_ASKS_MAX = 4,	/* … or it has nothing of it */
	RELAY_REQUEST_MS = 4000, /* the relay office answers within 3 s */
	AGAIN_MS = 1000,	 /* it knew no way to a new owner */
};

/* ---- what a packet is called here ------------------------------------------------------------- */

static bool is_same(const struct packet *ours, const struct packet *theirs)
{
	return ours->header.track == theirs->header.track &&
	       ours->header.capture_us == theirs->header.capture_us &&
	       ours->header.size == theirs->header.size &&
	       !memcmp(ours->payload, theirs->payload, theirs->header.size);
}

/* Our position of a packet, among what its track has had since it began last; 0 = it is not there.
 * *passed: what was captured after it is, or it lies before that beginning: it must not come again. */
static uint64_t find_same(struct actor *self, const struct stream *s, const struct media_log *log,
	const struct packet *packet, bool *passed)
{
	int64_t passed_max_us = s->is_other ? OVERLAP_US : PASSED_US;
	uint64_t position = log->next;
	bool is_present = true;

	*passed = false;
	for (int i = 0; i < LOOK_BACK_MAX && position > log->first; i++) {
		const struct packet *ours = media_log_packet(actor_arena(self), log, --position);

		if (!ours || ours->header.track != packet->header.track)
			continue;
		if (is_same(ours, packet)) {
			*passed = true;
			return is_present ? position : 0;
		}
		int64_t ahead_us = ours->header.capture_us - packet->header.capture_us;

		*passed |= is_present && ahead_us >= 0 && ahead_us < passed_max_us;
		is_present &= !(ours->header.flags & MEDIA_DISCONTINUITY);
	}
	return 0;
}

static void align(
	struct track_map *map, const struct media_header *ours, const struct media_header *theirs)
{
	map->seq_shift = (int64_t)(ours->track_seq - theirs->track_seq);
	map->frame_shift = (int64_t)ours->frame - theirs->frame;
	map->time_shift = (int64_t)(ours->rtp_time - theirs->rtp_time);
}

/* It is here already, where the numbers of the source say. */
static bool is_in_place(struct actor *self, const struct stream *s, const struct media_log *log,
	const struct packet *packet)
{
	uint64_t position = packet->header.position + (uint64_t)s->st.position_shift;
	const struct packet *ours = media_log_packet(actor_arena(self), log, position);

	return s->st.source_next && ours && is_same(ours, packet);
}

static bool may_begin(const struct media_track *track, const struct media_header *header)
{
	uint8_t first = MEDIA_KEYFRAME | MEDIA_FRAME_START;

	return track->kind != MEDIA_VIDEO || (header->flags & first) == first;
}

bool stream_had_before(struct actor *self, struct stream *s, const struct media_log *log,
	const struct media_track *track, const struct packet *packet)
{
	struct track_map *map = &s->st.maps[track->id];
	bool passed = true;

	if (!s->st.replica || map->started || !map->last_seq)
		return false;
	if (!is_in_place(self, s, log, packet)) {
		uint64_t same;

		if (s->st.source_next && !may_begin(track, &packet->header))
			return false; /* nor will it be one */
		same = find_same(self, s, log, packet, &passed);
		if (s->st.source_next || !same)
			return passed;
		s->st.position_shift = (int64_t)(same - packet->header.position);
		s->st.source_next = packet->header.position + 1;
		s->numbers_from = same;
		if (s->begins_there > packet->header.position)
			s->st.source_first = same + (s->begins_there - packet->header.position);
	}
	uint64_t position = packet->header.position + (uint64_t)s->st.position_shift;

	align(map, &media_log_packet(actor_arena(self), log, position)->header, &packet->header);
	map->started = true;
	return true;
}

/* What both had was the same as far as the source had it; then it began anew, with another publisher, where
 * we had more of the last one. */
bool stream_source_differs(struct actor *self, struct stream *s, const struct media_log *log,
	const struct packet *packet)
{
	uint64_t position = packet->header.position + (uint64_t)s->st.position_shift;
	const struct packet *ours = media_log_packet(actor_arena(self), log, position);

	return s->st.replica && s->st.source_next && position >= s->numbers_from && ours &&
	       !is_same(ours, packet);
}

void stream_begin_source(struct stream *s)
{
	s->is_other = s->had_since_us && s->had_since_us != s->st.source_since_us;
}

void stream_note_source(struct stream *s, int64_t since_us)
{
	s->is_other |= since_us != s->st.source_since_us;
	s->st.source_since_us = since_us;
}

/* Of a publisher before the one whom the next source has and we do not. */
static bool is_former(const struct stream_next *next, const struct media_header *header)
{
	return next->is_newer && header->position < next->joined.source_first;
}

/* Looks at a packet of the next source. Its position here; 0 = it is of no use but for what was
 * learned from it. */
static uint64_t learn(struct actor *self, const struct stream *s, const struct media_log *log,
	const struct packet *packet, struct stream_next *next)
{
	uint8_t bit = (uint8_t)(1u << packet->header.track);

	if (is_former(next, &packet->header))
		return 0;
	if (!next->positioned) {
		bool passed;
		uint64_t same = find_same(self, s, log, packet, &passed);

		if (!same)
			return 0;
		next->position_shift = (int64_t)(same - packet->header.position);
		next->same_from = same;
		next->positioned = true;
	}
	uint64_t position = packet->header.position + (uint64_t)next->position_shift;
	const struct packet *ours = media_log_packet(actor_arena(self), log, position);

	if (ours && !is_same(ours, packet)) { /* it has begun anew before it had all that we have */
		next->differs = position >= next->same_from;
		return 0;
	}
	next->caught_up |= position + 1 >= log->next;
	if (ours) {
		struct track_map *map = &next->maps[packet->header.track];

		if (!map->started) /* the track has begun since the next source was asked */
			*map = s->st.maps[packet->header.track];
		align(map, &ours->header, &packet->header);
		next->unaligned &= (uint8_t)~bit;
		if (position < next->same_from)
			next->same_from = position;
	}
	return ours || position < next->same_from || next->unaligned & bit ? 0 : position;
}

/* Tracks that have begun and were heard lately; when the newest of it was captured, as packets say. */
static uint8_t active_tracks(const struct stream *s, int64_t *captured_us)
{
	int64_t newest_us = 0;
	uint8_t active = 0;

	*captured_us = 0;
	for (int i = 0; i < s->st.maps_count; i++) {
		const struct track_map *map = &s->st.maps[i];

		if (map->started && map->last_capture_us > newest_us) {
			newest_us = map->last_capture_us;
			*captured_us = newest_us - map->capture_shift_us;
		}
	}
	for (int i = 0; i < s->st.maps_count; i++)
		if (s->st.maps[i].started && newest_us - s->st.maps[i].last_capture_us < ACTIVE_US)
			active |= (uint8_t)(1u << i);
	return active;
}

/* ---- from whom: the relay office says ---------------------------------------------------------- */

void stream_ask_relay(struct actor *self, struct stream *s, struct addr failed)
{
	struct msg_relay_ask ask = {.failed = failed, .lost_ms = stream_lost_ms(self, s)};

	ask.owner = stream_owner(self, s, &ask.epoch);
	if (ask.epoch <= s->st.epoch) /* else it is no reason to stay there */
		ask.source = s->st.source;
	memcpy(ask.stream_name, s->st.name, sizeof(ask.stream_name));
	if (s->relay_request)
		actor_forget_request(self, s->relay_request);
	s->relay_request = actor_request_mail(self, actor_office(self, OFFICE_RELAY),
		RELAY_REQUEST_MS, MSG_relay_ask, &schema_relay_ask, &ask);
}

void stream_relay_found(
	struct actor *self, struct stream *s, const struct msg_relay_found *m, uint64_t request)
{
	if (!request || request != s->relay_request)
		return;
	if (addr_equal(m->source, actor_addr(self))) {
		stream_relay_failed(self, s, request);
		return;
	}
	s->relay_request = 0;
	if (!addr_is_nobody(m->owner) && !addr_equal(m->owner, actor_addr(self)) &&
		m->epoch > s->st.owner_epoch) {
		s->st.owner = m->owner;
		s->st.owner_epoch = m->epoch;
	}
	if (actor_phase(self) != STREAM_LIVE)
		stream_join(self, s, m->source);
	else
		stream_follow(self, s, m->source, (struct asker){0});
}

bool stream_relay_failed(struct actor *self, struct stream *s, uint64_t request)
{
	if (!request || request != s->relay_request)
		return false;
	s->relay_request = 0;
	if (actor_phase(self) == STREAM_JOINING ||
		(actor_phase(self) == STREAM_LIVE && addr_is_nobody(s->st.source)))
		stream_orphan(self, s);
	else if (actor_phase(self) == STREAM_LIVE && s->st.owner_epoch > s->st.epoch)
		actor_timer_in_ms(self, STREAM_TIMER_CLAIM, AGAIN_MS);
	return true;
}

bool stream_relay_goes_on(struct actor *self, struct stream *s)
{
	struct addr failed = s->st.source;

	if (!s->st.relayed || !(actor_phase(self) & (STREAM_LIVE | STREAM_JOINING)) ||
		addr_is_nobody(failed))
		return false;
	s->st.source = (struct addr){0};
	stream_ask_relay(self, s, failed);
	return true;
}

/* ---- what of it is here ------------------------------------------------------------------------ */

void stream_begin_epoch(struct actor *self, struct stream *s)
{
	const struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	s->epoch_from = log ? log->next : 0;
	s->hearing.capture_us = 0; /* its clock is another */
}

/* What has not come yet of the publisher before, news of the next may overtake: it was lost, or waits behind
 * what was. */
void stream_note_epoch(struct actor *self, struct stream *s, uint64_t epoch, uint64_t begins)
{
	if (epoch <= s->st.epoch)
		return;
	s->st.epoch = epoch;
	stream_begin_epoch(self, s);
	s->begins_there = begins;
	if (s->st.source_next && begins > s->st.source_next)
		s->epoch_from += begins - s->st.source_next;
	s->st.source_first = s->epoch_from;
	if (s->next.joined.epoch < epoch)
		stream_leave_next(self, s);
}

void stream_place_source(struct stream *s, const struct media_log *log, uint64_t next)
{
	uint64_t first = log->next + (s->begins_there > next ? s->begins_there - next : 0);

	s->st.position_shift = (int64_t)(log->next - next);
	s->st.source_next = next;
	s->numbers_from = log->next;
	if (first == log->next && s->st.source_first <= first)
		return;
	s->st.source_first = first;
	if (s->epoch_from > first)
		s->epoch_from = first;
	for (int i = 0; i < s->st.subscribers_count; i++) /* who waits for it to begin */
		if (s->st.subscribers[i].position > first)
			s->st.subscribers[i].position = first;
}

/* Nothing that the next source could be aligned by. */
static bool is_empty_of_source(struct actor *self, const struct stream *s)
{
	const struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	return log && s->epoch_from && s->epoch_from >= log->next;
}

/* ---- the change --------------------------------------------------------------------------------- */

static void forget_next(struct actor *self, struct stream *s)
{
	if (s->next.request)
		actor_forget_request(self, s->next.request);
	actor_timer_off(self, STREAM_TIMER_NEXT);
	s->next = (struct stream_next){0};
	stream_early_drop(self, s);
}

/* It stays where it is. */
static void give_up_next(struct actor *self, struct stream *s, enum err err)
{
	struct asker asker = s->next.asker;
	struct addr who = s->next.who;

	forget_next(self, s);
	actor_unmonitor(self, who);
	actor_send(self, who, unsubscribe, {});
	actor_refuse(self, asker, err, "");
}

void stream_forget_next(struct actor *self, struct stream *s)
{
	if (!addr_is_nobody(s->next.who))
		give_up_next(self, s, ERR_CLOSED);
}

/* The same; without a source it is an orphan. */
static void stay(struct actor *self, struct stream *s, enum err err)
{
	struct addr who = s->next.who;
	bool is_asked_for = s->next.asker.request != 0;

	give_up_next(self, s, err);
	if (addr_is_nobody(s->st.source))
		stream_lose_source(self, s);
	else if (s->st.relayed && !is_asked_for) /* the office believes that we are there */
		stream_ask_relay(self, s, who);
}

/* The source has another publisher now: what the next one was aligned by is of the one before. */
void stream_leave_next(struct actor *self, struct stream *s)
{
	if (s->next.is_joined && !s->next.request)
		stay(self, s, ERR_PHASE);
}

/* A track that is not aligned begins anew, with a keyframe if it has pictures. */
static void merge_maps(struct stream *s, const struct stream_next *next)
{
	for (int i = 0; i < s->st.maps_count; i++) {
		struct track_map *map = &s->st.maps[i];

		if (next->unaligned >> i & 1) {
			source_map_restart(map);
			continue;
		}
		map->seq_shift = next->maps[i].seq_shift;
		map->frame_shift = next->maps[i].frame_shift;
		map->time_shift = next->maps[i].time_shift;
	}
}

/* It cannot fill those of the last one that lie before what both have. */
static void give_up_holes_below(struct actor *self, struct stream *s, uint64_t below)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	for (uint64_t position = log ? log->ready : below; position < below; position++)
		s->st.holes += !media_log_ref(log, position).generation;
	if (log)
		media_log_advance(log, below);
	actor_kick(actor_runtime(self), actor_addr(self));
}

static void change_over(struct actor *self, struct stream *s)
{
	struct stream_next next = s->next;
	struct stream_early kept = s->early;
	const struct media_track *video = stream_video_track(s);
	int64_t newest_us;
	uint8_t active = active_tracks(s, &newest_us);

	s->early = (struct stream_early){0};
	forget_next(self, s);
	if (!addr_is_nobody(s->st.source)) {
		actor_unmonitor(self, s->st.source);
		actor_send(self, s->st.source, unsubscribe, {});
	}
	s->st.source = next.who;
	if (next.joined.epoch > s->st.epoch)
		s->st.epoch = next.joined.epoch;
	s->st.reparented++;
	stream_begin_hearing(self, s, next.positioned ? 0 : next.joined.silent_ms);
	merge_maps(s, &next);
	give_up_holes_below(self, s, next.same_from);
	s->st.position_shift = next.position_shift;
	s->st.source_next = next.positioned; /* else the first packet says */
	s->numbers_from = next.same_from;
	s->source_from = 0;
	s->begins_there = 0;
	stream_begin_source(s);
	stream_note_source(s, next.joined.source_since_us);
	log_info(actor_log(self), "stream_reparented", "stream", s->st.name, "unaligned",
		next.unaligned & active);
	if (video && next.unaligned >> video->id & 1 && !next.has_beginning)
		stream_ask_keyframe(self, s, video->id);
	actor_answer(self, next.asker, done, {});
	stream_take_tracks(self, s, &next.joined);
	s->early = kept;
	stream_early_take(self, s, next.who);
	stream_hear_of_owner(self, s, next.joined.owner, next.joined.owner_epoch);
}

/* ---- a next source that begins behind all that we have ------------------------------------------ */

/* Captured after all of its track. */
static bool is_behind(const struct stream *s, const struct media_header *header)
{
	const struct track_map *map = &s->st.maps[header->track];

	return !map->started || header->capture_us > map->last_capture_us - map->capture_shift_us;
}

/* What it sends is kept for as long as it is all new. */
static void keep_new(struct actor *self, struct stream *s, const struct media_track *track,
	const struct media_header *header, struct slot_ref ref)
{
	struct stream_next *next = &s->next;

	next->overlaps |= next->positioned || !is_behind(s, header);
	if (next->overlaps) {
		stream_early_drop(self, s);
		return;
	}
	if (!next->first || header->position < next->first)
		next->first = header->position;
	next->has_beginning |=
		may_begin(track, header) && (track->kind == MEDIA_VIDEO || !stream_video_track(s));
	stream_early_put(self, s, &ref, 1);
}

/* Nothing that it sends is here, nor is anything of it missing, and it can be shown. */
static bool is_all_behind(const struct stream_next *next)
{
	return next->is_joined && !next->is_newer && !next->overlaps && next->has_beginning &&
	       next->first <= next->joined.start;
}

static bool is_source_silent(const struct actor *self, const struct stream *s)
{
	return addr_is_nobody(s->st.source) ||
	       actor_now_us(self) - s->st.last_packet_us >= SILENT_MS * 1000;
}

/* Between the two lies what nobody has. */
static void go_on_behind(struct actor *self, struct stream *s)
{
	stream_give_up_holes(self, s);
	s->next.unaligned = UINT8_MAX;
	change_over(self, s);
}

static void consider(struct actor *self, struct stream *s)
{
	int64_t newest_us;
	bool is_aligned = !(active_tracks(s, &newest_us) & s->next.unaligned);

	if (s->next.is_joined && s->next.caught_up && is_aligned)
		change_over(self, s);
	else if (is_all_behind(&s->next) && is_source_silent(self, s))
		go_on_behind(self, s);
}

/* The next source is a copy of what a new owner of the name publishes: from its last keyframe. */
static void follow_owner(struct actor *self, struct stream *s)
{
	struct addr who = s->next.who;
	struct asker asker = s->next.asker;

	forget_next(self, s);
	actor_send(self, who, unsubscribe, {}); /* and once more, from where one begins */
	actor_unmonitor(self, who);
	actor_answer(self, asker, done, {});
	stream_join(self, s, who);
	s->is_asked_anew = true;
}

static void ask_next(struct actor *self, struct stream *s)
{
	struct msg_subscribe subscribe = {
		.feed = true, .audio = s->st.transcode_wanted, .rejoins = true};
	int64_t newest_us;

	active_tracks(s, &newest_us);
	memcpy(subscribe.stream_name, s->st.name, sizeof(subscribe.stream_name));
	subscribe.from_capture_us = newest_us ? newest_us - OVERLAP_US : 0;
	if (s->next.asks++)
		actor_send(self, s->next.who, unsubscribe, {}); /* else it goes on where it is */
	s->next.request = actor_request_mail(
		self, s->next.who, REQUEST_MS, MSG_subscribe, &schema_subscribe, &subscribe);
}

static void wait_for_next(struct actor *self, struct stream *s, int64_t ms)
{
	s->next.until_us = actor_now_us(self) + ms * 1000;
	actor_timer_in_ms(self, STREAM_TIMER_NEXT, ms < OVERLAP_AGAIN_MS ? ms : OVERLAP_AGAIN_MS);
}

/* It has another publisher than it had when it answered: it is asked once more (stream_next_due). */
static void begin_again(struct stream *s)
{
	s->next.positioned = s->next.caught_up = s->next.differs = false;
	s->next.overlaps = true;
	s->next.same_from = 0;
	s->next.unaligned = UINT8_MAX;
	memcpy(s->next.maps, s->st.maps, sizeof(s->next.maps));
}

enum err stream_follow(struct actor *self, struct stream *s, struct addr who, struct asker asker)
{
	if (!s->st.replica || actor_phase(self) != STREAM_LIVE || addr_equal(who, actor_addr(self)))
		return ERR_PHASE;
	stream_forget_next(self, s);
	if (addr_equal(who, s->st.source)) {
		actor_answer(self, asker, done, {});
		return ERR_OK;
	}
	s->next = (struct stream_next){.who = who, .asker = asker};
	s->next.unaligned =
		UINT8_MAX; /* those that are silent, too, though nobody waits for them */
	memcpy(s->next.maps, s->st.maps, sizeof(s->next.maps));
	ask_next(self, s);
	actor_monitor(self, who);
	wait_for_next(self, s, MAKE_MS);
	return ERR_OK;
}

bool stream_next_subscribed(
	struct actor *self, struct stream *s, const struct msg_subscribed *m, uint64_t request)
{
	if (!request || request != s->next.request)
		return false;
	s->next.request = 0;
	/* another publisher's: but some of it may have come the old way, before the news */
	s->next.is_newer = m->epoch > s->st.epoch || is_empty_of_source(self, s);
	if (m->epoch < s->st.epoch) {
		stay(self, s, ERR_PHASE);
		return true;
	}
	s->next.joined = *m;
	if (!s->next.is_joined)
		wait_for_next(self, s, addr_is_nobody(s->st.source) ? BREAK_MS : MAKE_MS);
	s->next.is_joined = true;
	stream_early_take(self, s, s->next.who);
	consider(self, s);
	return true;
}

/* What is kept for later counts as dropped until it is taken. */
static uint64_t counted(const struct stream *s)
{
	return s->st.packets + s->st.dropped_duplicate + s->st.dropped_too_late +
	       s->st.dropped_not_source;
}

bool stream_next_media(struct actor *self, struct stream *s, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	if (addr_is_nobody(s->next.who) || !addr_equal(from, s->next.who) || !log)
		return false;
	if (s->next.request) { /* whose it is, its answer says */
		stream_early_put(self, s, packets, count);
		return true;
	}
	uint64_t all = counted(s) + count;
	bool follows = false;

	for (size_t i = 0; i < count && !follows; i++) {
		struct packet *packet = arena_packet(actor_arena(self), packets[i]);
		const struct media_track *track =
			packet ? stream_track(s, packet->header.track) : NULL;
		uint64_t position = track ? learn(self, s, log, packet, &s->next) : 0;

		if (track && is_former(&s->next, &packet->header))
			continue;
		if (track)
			keep_new(self, s, track, &packet->header, packets[i]);
		follows = s->next.is_newer && (!s->next.positioned || s->next.differs);
		if (s->next.differs && !follows) {
			begin_again(s);
			break;
		}
		if (follows || !position ||
			source_map_packet(s->next.maps, MEDIA_TRACKS_MAX, track, &packet->header) !=
				SOURCE_MAP_FORWARD)
			continue;
		s->had_since_us = s->next.joined.source_since_us;
		stream_enter(self, s, log, packets[i], position);
		source_map_put(&s->st.maps[track->id], &packet->header);
	}
	s->st.dropped_not_source += all - counted(s); /* was of no use */
	if (follows) {				      /* nothing of it is here */
		follow_owner(self, s);
		return true;
	}
	s->st.log_next = log->next;
	actor_kick(actor_runtime(self), actor_addr(self));
	consider(self, s);
	return true;
}

bool stream_next_lost(struct actor *self, struct stream *s, struct addr who, enum err err)
{
	if (addr_is_nobody(who) || !addr_equal(who, s->next.who))
		return false;
	stay(self, s, err);
	return true;
}

bool stream_next_failed(struct actor *self, struct stream *s, uint64_t request, enum err err)
{
	if (!request || request != s->next.request)
		return false;
	s->next.request = 0;
	stay(self, s, err);
	return true;
}

bool stream_next_takes_over(struct actor *self, struct stream *s)
{
	if (addr_is_nobody(s->next.who))
		return false;
	s->st.source = (struct addr){0};
	if (s->next.is_joined)
		wait_for_next(self, s, BREAK_MS);
	return true;
}

void stream_next_due(struct actor *self, struct stream *s)
{
	int64_t now_us = actor_now_us(self);

	if (addr_is_nobody(s->next.who))
		return;
	if (s->next.is_joined && s->next.is_newer && !s->next.positioned) {
		follow_owner(self, s);
		return;
	}
	if (is_all_behind(&s->next) && is_source_silent(self, s)) {
		go_on_behind(self, s);
		return;
	}
	if (now_us < s->next.until_us) {
		if (s->next.is_joined && !s->next.positioned && !s->next.request &&
			s->next.asks < OVERLAP_ASKS_MAX)
			ask_next(self, s);
		wait_for_next(self, s, (s->next.until_us - now_us + 999) / 1000);
		return;
	}
	if (addr_is_nobody(s->st.source) && s->next.is_joined)
		change_over(self, s);
	else
		stay(self, s, ERR_TIMEOUT);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Media coming in: from the publisher's session, from the stream that this one copies, or from a
 * transcoder. Everything is put onto the stream's own timeline and into the log.
 */
#include "actors/stream/source_map.h"
#include "actors/stream/stream_internal.h"
#include "runtime/config.h"

enum {
	MS = 1000,
	NEAR_MAX = 64,	 /* packets looked at for the neighbour of one, … */
	NEAR_ALL = 4096, /* … and of one that begins its track anew */
};

struct media_track *stream_track(struct stream *s, uint8_t id)
{
	for (int i = 0; i < s->st.tracks_count; i++)
		if (s->st.tracks[i].id == id)
			return &s->st.tracks[i];
	return NULL;
}

void stream_restart_maps(struct stream *s)
{
	s->st.maps_count = MEDIA_TRACKS_MAX;
	for (int id = 0; id < MEDIA_TRACKS_MAX; id++)
		source_map_restart(&s->st.maps[id]);
	s->st.position_shift = 0;
	s->st.source_next = 0;
}

/* ---- keyframes --------------------------------------------------------------------------------- */

static void send_keyframe_request(struct actor *self, struct stream *s, uint8_t track)
{
	if (addr_is_nobody(s->st.source))
		return;
	s->keyframe_asked_us = actor_now_us(self);
	s->st.keyframe_requests++;
	actor_send(self, s->st.source, keyframe_request, {.track = track});
}

const struct media_track *stream_video_track(const struct stream *s)
{
	for (int i = 0; i < s->st.tracks_count; i++)
		if (s->st.tracks[i].kind == MEDIA_VIDEO)
			return &s->st.tracks[i];
	return NULL;
}

/* Requests of all readers become one, at most every KEYFRAME_REQUEST_MS. */
void stream_ask_keyframe(struct actor *self, struct stream *s, uint8_t track)
{
	int64_t next_us = s->keyframe_asked_us + KEYFRAME_REQUEST_MS * MS;

	if (!s->keyframe_asked_us || actor_now_us(self) >= next_us) {
		send_keyframe_request(self, s, track);
	} else {
		s->keyframe_wished_us = actor_now_us(self);
		actor_timer_at(self, STREAM_TIMER_KEYFRAME, next_us);
	}
}

void stream_keyframe_due(struct actor *self, struct stream *s)
{
	const struct media_track *video = stream_video_track(s);

	if (video)
		send_keyframe_request(self, s, video->id);
}

/* ---- packets ----------------------------------------------------------------------------------- */

static void count_dropped(
	struct actor *self, struct stream *s, enum source_map_verdict verdict, uint8_t track)
{
	if (verdict == SOURCE_MAP_NOT_YET) {
		s->st.dropped_waiting_keyframe++;
		stream_ask_keyframe(self, s, track);
	} else {
		s->st.dropped_too_late++;
	}
}

/* The place of a packet in our log. A replica keeps the source's numbering, shifted; 0 = it lies
 * before the first one that we had from this source. */
static uint64_t place(struct stream *s, const struct media_log *log,
	const struct media_header *header, bool from_source)
{
	if (!s->st.replica || !from_source)
		return log->next;
	if (!s->st.source_next)
		stream_place_source(s, log, header->position);
	if (header->position >= s->st.source_next)
		s->st.source_next = header->position + 1;
	int64_t position = (int64_t)header->position + s->st.position_shift;

	return position > 0 && (uint64_t)position >= s->numbers_from ? (uint64_t)position : 0;
}

/* What a publisher's session does in a turn is done again when that was not kept; what it has put
 * into the log stays. Packets know each other by their numbers. */
void stream_catch_up(struct actor *self, struct stream *s, const struct media_log *log)
{
	uint64_t from = s->st.log_next > log->first ? s->st.log_next : log->first;

	for (uint64_t position = from; s->st.log_next && position < log->next; position++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, position);

		if (packet && packet->header.track < s->st.maps_count)
			source_map_put(&s->st.maps[packet->header.track], &packet->header);
	}
	if (s->st.log_next && !s->st.replica) {
		s->again_from = from;
		s->again_to = log->next;
	}
}

static bool came_before(struct actor *self, struct stream *s, const struct media_log *log,
	const struct media_header *header)
{
	if (s->again_from < log->first)
		s->again_from = log->first;
	for (uint64_t position = s->again_from; position < s->again_to; position++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, position);

		if (!packet || packet->header.track != header->track ||
			packet->header.track_seq != header->track_seq)
			continue;
		s->again_from += position == s->again_from;
		return true;
	}
	return false;
}

static void take(struct actor *self, struct stream *s, struct media_log *log, struct slot_ref ref,
	bool from_source)
{
	struct packet *packet = arena_packet(actor_arena(self), ref);
	const struct media_track *track = packet ? stream_track(s, packet->header.track) : NULL;
	struct media_header *header = packet ? &packet->header : NULL;
	enum source_map_verdict verdict;
	uint64_t position;

	if (!packet || (s->st.replica && from_source && header->position < s->source_from)) {
		s->st.dropped_not_source++;
		return;
	}
	if (from_source && track && track->clock_rate &&
		stream_source_differs(self, s, log, packet)) {
		stream_give_up_holes(self, s);
		stream_restart_maps(s);
		s->is_other = true;
		stream_leave_next(self, s);
	}
	if (from_source && track && track->clock_rate &&
		stream_had_before(self, s, log, track, packet)) {
		s->st.dropped_duplicate++;
		if (s->st.source_next) /* else it has no place here, either */
			media_log_skip(actor_arena(self), log, place(s, log, header, true));
		return;
	}
	position = place(s, log, header, from_source);
	if (!track || track->clock_rate == 0) {
		s->st.dropped_not_source++;
		if (s->st.replica) /* it has overtaken the mail that names its track */
			media_log_await(actor_arena(self), log, position);
		return;
	}
	if (position < log->first || media_log_ref(log, position).generation) {
		s->st.dropped_duplicate++; /* before the map sees it: it may look like a beginning */
		return;
	}
	verdict = source_map_packet(s->st.maps, s->st.maps_count, track, header);
	if (verdict != SOURCE_MAP_FORWARD) {
		count_dropped(self, s, verdict, track->id);
		if (s->st.replica)
			media_log_skip(actor_arena(self), log, position);
		return;
	}
	if (came_before(self, s, log, header)) {
		s->st.dropped_duplicate++;
		return;
	}
	if (from_source)
		s->had_since_us = s->st.source_since_us;
	stream_enter(self, s, log, ref, position);
}

/* The sequence of the packet of that track that is nearest, on that side; 0 = none is near. */
static uint64_t nearest_seq(struct actor *self, const struct media_log *log,
	const struct media_header *header, uint64_t position, int step)
{
	int most = header->flags & MEDIA_DISCONTINUITY ? NEAR_ALL : NEAR_MAX;

	for (int i = 0; i < most; i++) {
		const struct packet *packet;

		position += (uint64_t)(int64_t)step;
		if (position < log->first || position >= log->next)
			break;
		packet = media_log_packet(actor_arena(self), log, position);
		if (packet && packet->header.track == header->track &&
			!(packet->header.flags & MEDIA_LATE))
			return packet->header.track_seq;
	}
	return 0;
}

/* Sequences grow as positions do. Where a track has begun anew, in another source than this one comes from,
 * what belongs before that beginning has got numbers of behind it. And what begins there may have begun here
 * before, by a next source. */
static bool is_in_order(struct actor *self, struct stream *s, const struct media_log *log,
	const struct media_header *header, uint64_t position)
{
	bool is_newest = position >= log->next;
	bool begins = header->flags & MEDIA_DISCONTINUITY;
	uint64_t before, behind;

	if (!s->st.replica || header->track >= s->st.maps_count)
		return true;
	if (header->track_seq < s->st.maps[header->track].first_seq)
		return false;
	if (header->flags & MEDIA_LATE)
		return true;
	before = nearest_seq(self, log, header, is_newest ? log->next : position, -1);
	behind = is_newest ? 0 : nearest_seq(self, log, header, position, 1);
	if (before < header->track_seq && (!behind || behind > header->track_seq))
		return true;
	if (is_newest || (begins && before >= header->track_seq))
		source_map_restart(&s->st.maps[header->track]);
	return false;
}

void stream_enter(struct actor *self, struct stream *s, struct media_log *log, struct slot_ref ref,
	uint64_t position)
{
	const struct media_header *header = &arena_packet(actor_arena(self), ref)->header;

	if (!is_in_order(self, s, log, header, position)) {
		s->st.dropped_too_late++;
		media_log_skip(actor_arena(self), log, position);
		return;
	}
	if (media_log_put(actor_arena(self), log, position, ref)) {
		s->st.dropped_duplicate++;
		return;
	}
	if (header->flags & MEDIA_DISCONTINUITY && header->track < s->st.maps_count &&
		header->track_seq > s->st.maps[header->track].first_seq)
		s->st.maps[header->track].first_seq = header->track_seq;
	if ((header->flags & MEDIA_KEYFRAME) && (header->flags & MEDIA_FRAME_START))
		s->keyframe_came_us = actor_now_us(self);
	s->st.packets++;
	s->st.bytes += header->size;
	s->rate_bytes += header->size;
}

/* What is put into a log is renumbered in its slot: a copy beside its origin needs slots of its own. */
static void take_copy(
	struct actor *self, struct stream *s, struct media_log *log, struct slot_ref theirs)
{
	struct arena *arena = actor_arena(self);
	const struct packet *packet = arena_packet(arena, theirs);
	struct slot_ref ours = arena_alloc(arena, ARENA_PACKET, actor_addr(self).id);
	struct packet *copy = arena_packet(arena, ours);

	if (!copy || !packet) {
		s->st.dropped_no_slot++;
		return;
	}
	memcpy(copy, packet, sizeof(packet->header) + packet->header.size);
	take(self, s, log, ours, true);
	arena_release(arena, ARENA_PACKET, ours);
}

static bool is_beside_its_source(struct actor *self, const struct stream *s)
{
	return s->st.replica && actor_process_of(self, s->st.source) == actor_own_process(self);
}

/* What another node sends is mended on its way (decision 21): asked for is what the link gave up. */
static bool is_far(struct actor *self, const struct stream *s)
{
	return s->st.source.node != actor_addr(self).node;
}

static uint32_t hole_patience_ms(struct actor *self, const struct stream *s)
{
	const struct config *config = actor_config(self);

	return !is_far(self, s) || !config ? STREAM_RESEND_MS
					   : config_recover_ms(config, s->st.name);
}

/* The first hole is another one. Those that were there already while the last was waited for have been
 * waited for as well. */
static void note_hole(struct actor *self, struct stream *s, const struct media_log *log)
{
	int64_t now_us = actor_now_us(self);
	int64_t wait_us;

	s->resend_ready = log->ready;
	s->resend_tries = 0;
	if (log->ready >= s->holes_below) {
		s->holes_below = log->next;
		s->holes_due_us = now_us + (int64_t)hole_patience_ms(self, s) * 1000;
	}
	wait_us = s->holes_due_us - now_us;
	actor_timer_in_ms(self, STREAM_TIMER_HOLES,
		wait_us > 1000 * STREAM_RESEND_MS ? (uint32_t)(wait_us / 1000) : STREAM_RESEND_MS);
}

void stream_media(struct actor *self, void *data, struct addr from, const struct slot_ref *packets,
	size_t count)
{
	struct stream *s = data;
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));
	bool from_source = addr_equal(from, s->st.source);
	bool from_transcoder = !s->st.replica && addr_equal(from, s->st.transcoder);
	size_t first = 0;

	if (!log) {
		s->st.dropped_not_source += count;
		return;
	}
	if (stream_next_media(self, s, from, packets, count))
		return;
	if (from_source && actor_phase(self) == STREAM_JOINING) {
		stream_early_put(self, s, packets, count);
		return;
	}
	if (!from_source && !from_transcoder) {
		first = stream_standby_media(self, s, from, packets, count);
		if (first == count)
			return;
		from_source = true;
	}
	if (from_source) {
		s->st.last_packet_us = actor_now_us(self);
		stream_hear_media(self, s, packets[count - 1]);
	}
	bool copies = from_source && is_beside_its_source(self, s);

	for (size_t i = first; i < count; i++)
		if (copies)
			take_copy(self, s, log, packets[i]);
		else
			take(self, s, log, packets[i], from_source);
	if (s->trace && from_source)
		stream_trace_media(self, s, packets + first, count - first);
	s->st.log_next = log->next;
	if (log->ready < log->next && s->resend_ready != log->ready)
		note_hole(self, s, log);
	actor_kick(actor_runtime(self), actor_addr(self));
}

/* ---- holes (replica) --------------------------------------------------------------------------- */

/* Another source cannot fill the holes of the last one. */
void stream_give_up_holes(struct actor *self, struct stream *s)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));

	for (uint64_t position = log ? log->ready : 0; log && position < log->next; position++)
		s->st.holes += !media_log_ref(log, position).generation;
	if (log)
		media_log_advance(log, log->next);
	actor_kick(actor_runtime(self), actor_addr(self));
}

void stream_holes_due(struct actor *self, struct stream *s)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));
	bool far = is_far(self, s);
	uint64_t end;

	if (!log || log->ready >= log->next)
		return;
	if (s->resend_ready != log->ready) {
		note_hole(self, s, log);
		if (actor_now_us(self) < s->holes_due_us)
			return;
	}
	if (actor_phase(self) == STREAM_JOINING) { /* nothing can be taken before the tracks come */
		actor_timer_in_ms(self, STREAM_TIMER_HOLES, STREAM_RESEND_MS);
		return;
	}
	end = log->ready;
	while (end < log->next && !media_log_ref(log, end).generation)
		end++;
	if (s->resend_tries++ >= (far ? STREAM_RESEND_FAR_TRIES : STREAM_RESEND_TRIES)) {
		s->st.holes += end - log->ready;
		media_log_advance(log, end);
		actor_kick(actor_runtime(self), actor_addr(self));
	} else if (!addr_is_nobody(s->st.source)) {
		uint64_t from = log->ready - (uint64_t)s->st.position_shift;

		actor_send(self, s->st.source, media_resend,
			{.from = from, .to = from + (end - log->ready) - 1});
	}
	if (log->ready < log->next)
		actor_timer_in_ms(self, STREAM_TIMER_HOLES,
			far && s->resend_ready == log->ready ? STREAM_RESEND_FAR_MS
							     : STREAM_RESEND_MS);
}

enum err stream_resend(
	struct actor *self, struct stream *s, const struct msg_media_resend *resend, struct addr to)
{
	const struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));
	uint64_t last = resend->to;

	if (!log || resend->from > last)
		return ERR_FORMAT;
	if (last - resend->from >= STREAM_RESEND_SPAN)
		last = resend->from + STREAM_RESEND_SPAN - 1;
	for (uint64_t position = resend->from; position <= last; position++) {
		struct slot_ref ref = media_log_ref(log, position);

		if (ref.generation)
			actor_media(self, to, ref);
	}
	if (resend->from < log->first)
		actor_send(self, to, media_gone, {.below = log->first});
	return ERR_OK;
}

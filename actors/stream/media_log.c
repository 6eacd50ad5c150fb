/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/stream/media_log.h"

#include <string.h>

static struct slot_ref *entry(struct media_log *log, uint64_t position)
{
	return &log->entries[position % MEDIA_LOG_ENTRIES];
}

static bool holds(const struct media_log *log, uint64_t position)
{
	return position >= log->first && position < log->next;
}

struct slot_ref media_log_create(
	struct arena *arena, uint64_t owner, const struct media_log_limits *limits, uint64_t next)
{
	struct slot_ref ref = arena_alloc(arena, ARENA_LOG, owner);
	struct media_log *log = arena_get(arena, ARENA_LOG, ref);

	if (!log)
		return (struct slot_ref){0};
	log->first = log->ready = log->next = next ? next : 1;
	log->limits = *limits;
	return ref;
}

struct media_log *media_log_get(struct arena *arena, struct slot_ref ref)
{
	struct media_log *log = arena_get(arena, ARENA_LOG, ref);

	if (!log || log->first == 0 || log->first > log->ready || log->ready > log->next ||
		log->next - log->first > MEDIA_LOG_ENTRIES)
		return NULL;
	return log;
}

static void forget_first(struct arena *arena, struct media_log *log)
{
	struct slot_ref *at = entry(log, log->first);
	struct packet *packet = arena_packet(arena, *at);

	if (packet)
		log->bytes -= packet->header.size < log->bytes ? packet->header.size : log->bytes;
	arena_release(arena, ARENA_PACKET, *at);
	*at = (struct slot_ref){0};
	if (log->keyframe == log->first)
		log->keyframe = 0;
	log->first++;
	if (log->ready < log->first)
		log->ready = log->first;
}

void media_log_destroy(struct arena *arena, struct slot_ref ref)
{
	struct media_log *log = media_log_get(arena, ref);

	while (log && log->first < log->next)
		forget_first(arena, log);
	arena_release(arena, ARENA_LOG, ref);
}

void media_log_count_sent(struct media_log *log, uint64_t bytes)
{
	log->sent_bytes += bytes;
}

uint64_t media_log_take_sent(struct media_log *log)
{
	uint64_t bytes = log->sent_bytes;

	log->sent_bytes = 0;
	return bytes;
}

void media_log_want(struct media_log *log, uint64_t from)
{
	log->is_wanted = from != 0;
	log->wanted = (uint32_t)from;
}

static bool first_is_wanted(const struct media_log *log)
{
	uint32_t behind = (uint32_t)log->next - log->wanted;

	return log->is_wanted && behind <= MEDIA_LOG_ENTRIES && log->next - log->first <= behind;
}

/* Is the oldest packet beyond its time or the log beyond its bytes? */
static bool first_is_over(struct arena *arena, const struct media_log *log)
{
	const struct packet *packet =
		arena_packet(arena, log->entries[log->first % MEDIA_LOG_ENTRIES]);
	int64_t age_us;

	if (log->bytes > log->limits.bytes)
		return true;
	if (!packet)
		return log->first < log->ready;
	age_us = log->newest_us - packet->header.capture_us;
	if (age_us > log->limits.age_us)
		return true;
	/* wanted, or inside the last GOP (or waiting for the first keyframe of a video): up to the limits */
	if (first_is_wanted(log))
		return false;
	if (log->has_video && log->keyframe && log->first >= log->keyframe)
		return false;
	return age_us > MEDIA_LOG_TAIL_US;
}

/* Is hardly a packet slot free, and has this log more than the few that its readers need to follow?
 * (Else the largest would stay as it is, and the others could not hold what came last.) */
static bool may_shrink(const struct arena *arena, const struct media_log *log)
{
	struct arena_usage usage;
	uint32_t few;

	arena_usage(arena, &usage);
	few = usage.count[ARENA_PACKET] / MEDIA_LOG_FEW_SHARE;
	few = few < MEDIA_LOG_FEW_MAX ? few : MEDIA_LOG_FEW_MAX;
	return log->ready - log->first > few &&
	       usage.count[ARENA_PACKET] - usage.used[ARENA_PACKET] <
		       usage.count[ARENA_PACKET] / MEDIA_LOG_POOL_SHARE;
}

static void note_keyframe(struct media_log *log, const struct media_header *header)
{
	bool same = log->keyframe && log->keyframe_frame == header->frame &&
		    log->keyframe_track == header->track;
	bool newer = header->position > log->keyframe; /* not one that comes late, by a resend */
	uint8_t first = MEDIA_KEYFRAME | MEDIA_FRAME_START;

	/* of one whose first packet was overtaken a part lies before it */
	if ((header->flags & (first | MEDIA_LATE)) == first && newer && !same) {
		log->keyframe = header->position;
		log->keyframe_frame = header->frame;
		log->keyframe_track = header->track;
	}
}

static uint64_t bits_a_second(uint64_t bytes, int64_t span_us)
{
	return bytes * 8 * 1000000 / (uint64_t)span_us;
}

static void measure_rate(struct media_log *log, uint16_t size)
{
	int64_t span_us = log->newest_us - log->rate_from_us;

	if (span_us < 0 || span_us >= MEDIA_LOG_RATE_US) {
		uint64_t now_bps = span_us < 0 || span_us > 2 * MEDIA_LOG_RATE_US
					   ? 0 /* a new source, or it paused */
					   : bits_a_second(log->rate_bytes, span_us);
		uint64_t faded_bps = log->rate_bps - log->rate_bps / 8;

		log->rate_bps = now_bps > faded_bps ? now_bps : faded_bps;
		log->rate_bytes = 0;
		log->rate_from_us = log->newest_us;
	}
	log->rate_bytes += size;
}

uint64_t media_log_rate_bps(const struct media_log *log)
{
	int64_t span_us = log->newest_us - log->rate_from_us;

	if (log->rate_bps)
		return log->rate_bps;
	return bits_a_second(log->rate_bytes,
		span_us > MEDIA_LOG_RATE_FIRST_US ? span_us : MEDIA_LOG_RATE_FIRST_US);
}

void media_log_advance(struct media_log *log, uint64_t below)
{
	if (below > log->next)
		below = log->next;
	if (below > log->ready)
		log->ready = below;
	while (log->ready < log->next && entry(log, log->ready)->generation)
		log->ready++;
}

/* Forgets what must go so that `position` can be written. */
static void make_room(struct arena *arena, struct media_log *log, uint64_t position)
{
	if (position >= log->next + MEDIA_LOG_ENTRIES) {
		/* everything in between is gone for good */
		while (log->first < log->next)
			forget_first(arena, log);
		log->first = log->ready = log->next = position;
	}
	while (position >= log->first + MEDIA_LOG_ENTRIES)
		forget_first(arena, log);
	if (position >= log->next)
		log->next = position + 1;
}

void media_log_skip(struct arena *arena, struct media_log *log, uint64_t position)
{
	if (position == log->next)
		make_room(arena, log, position);
	if (position == log->ready)
		media_log_advance(log, position + 1);
}

void media_log_await(struct arena *arena, struct media_log *log, uint64_t position)
{
	if (position >= log->next && position <= MEDIA_LOG_POSITION_MAX)
		make_room(arena, log, position);
}

enum err media_log_put(
	struct arena *arena, struct media_log *log, uint64_t position, struct slot_ref ref)
{
	struct packet *packet = arena_packet(arena, ref);
	struct media_header *header;

	if (!packet)
		return ERR_NOT_FOUND;
	if (position > MEDIA_LOG_POSITION_MAX)
		return ERR_FORMAT;
	if (position < log->first || (position < log->next && entry(log, position)->generation))
		return ERR_EXISTS;
	make_room(arena, log, position);
	header = &packet->header;
	header->position = position;
	arena_hold(arena, ARENA_PACKET, ref);
	arena_step();
	*entry(log, position) = ref;
	arena_step();
	log->bytes += header->size;
	log->has_video |= header->flags & MEDIA_KEYFRAME ? 1 : 0;
	if (header->capture_us > log->newest_us)
		log->newest_us = header->capture_us;
	measure_rate(log, header->size);
	note_keyframe(log, header);
	media_log_advance(log, log->ready);
	while (log->first < log->ready && log->first + 1 < log->next && first_is_over(arena, log))
		forget_first(arena, log);
	/* two go for one that came: so the pool recovers however many logs there are */
	for (int i = 0; i < 2 && may_shrink(arena, log); i++)
		forget_first(arena, log);
	return ERR_OK;
}

void media_log_relieve(struct arena *arena, struct media_log *log)
{
	for (uint64_t left = (log->ready - log->first) / 2; left && may_shrink(arena, log); left--)
		forget_first(arena, log);
}

struct slot_ref media_log_ref(const struct media_log *log, uint64_t position)
{
	return holds(log, position) ? log->entries[position % MEDIA_LOG_ENTRIES]
				    : (struct slot_ref){0};
}

struct packet *media_log_packet(struct arena *arena, const struct media_log *log, uint64_t position)
{
	return arena_packet(arena, media_log_ref(log, position));
}

uint64_t media_log_start(const struct media_log *log, bool *cached)
{
	*cached = log->keyframe >= log->first && log->keyframe != 0 && log->keyframe < log->ready;
	return *cached ? log->keyframe : log->ready;
}

void media_log_mark(const struct media_log *log, struct media_log_mark *mark)
{
	memcpy(mark->head, log, sizeof(mark->head));
}

void media_log_go_back(struct media_log *log, const struct media_log_mark *mark)
{
	uint64_t first = log->first, next = log->next;

	memcpy(log, mark->head, sizeof(mark->head));
	if (first > log->first && first <= log->next)
		log->first = first;
	if (log->ready < log->first)
		log->ready = log->first;
	for (uint64_t i = 0; log->next + i < next && i < MEDIA_LOG_ENTRIES; i++)
		*entry(log, log->next + i) = (struct slot_ref){0};
}

void media_log_mend(struct arena *arena, struct media_log *log, bool awaits)
{
	if (log->first > log->next || log->next - log->first > MEDIA_LOG_ENTRIES)
		return;
	if (log->ready < log->first)
		log->ready = log->first;
	while (!awaits && log->next > log->ready && !entry(log, log->next - 1)->generation)
		log->next--;
	media_log_advance(log, log->ready);
	const struct packet *last = media_log_packet(arena, log, log->ready - 1);

	if (last)
		note_keyframe(log, &last->header);
}

void media_log_recount(struct arena *arena, struct media_log *log)
{
	log->bytes = 0;
	for (uint64_t position = log->first; position < log->next; position++) {
		struct slot_ref *at = entry(log, position);
		const struct packet *packet = arena_packet(arena, *at);

		if (packet && packet->header.size <= MEDIA_PAYLOAD_MAX &&
			arena_hold_again(arena, ARENA_PACKET, *at))
			log->bytes += packet->header.size;
		else
			*at = (struct slot_ref){0};
	}
}

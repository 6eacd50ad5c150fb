/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/flv_view.h"

enum {
	PACKET_PIECES = 4, /* of a packet: head, part, what stands between, part */
	PACKET_HEADS = 2,
};

/* ---- as in a file ---------------------------------------------------------------------------- */

static size_t file_headers(
	uint32_t channel, const uint8_t *bytes, size_t size, bool begins, uint8_t *out)
{
	(void)channel;
	(void)begins;
	memcpy(out, bytes, size);
	return size;
}

static size_t file_head(uint32_t channel, const struct flv_tag_view *tag, uint8_t *out)
{
	struct flv_tag made;

	(void)channel;
	flv_tag_make(&made, tag->type, tag->time_ms, NULL, 0, tag->size);
	memcpy(out, made.head, made.head_size);
	return made.head_size;
}

const struct flv_framing flv_as_file = {
	.headers = file_headers, .head = file_head, .trailer = true};

/* ---- life ------------------------------------------------------------------------------------ */

void flv_view_finish(struct flv_view *view)
{
	view->finishing = true;
	if (!view->prefix_sent)
		view->prefix_size = 0;
}

void flv_view_resume(struct flv_view *view)
{
	view->finishing = false;
	view->version = 0;
}

bool flv_view_is_inside(const struct flv_view *view)
{
	return view->pinned_at < view->pinned_count || view->prefix_sent < view->prefix_size;
}

void flv_view_release(struct flv_view *view, struct arena *arena)
{
	for (; view->pinned_at < view->pinned_count; view->pinned_at++)
		arena_release(arena, ARENA_PACKET, view->pinned[view->pinned_at]);
	view->pinned_at = view->pinned_count = 0;
}

enum err flv_view_restore(struct flv_view *view, struct arena *arena)
{
	if (view->pinned_count > FLV_TAG_PACKETS_MAX || view->pinned_at > view->pinned_count ||
		view->prefix_size > sizeof(view->prefix) || view->prefix_sent > view->prefix_size)
		return ERR_FORMAT;
	for (uint16_t i = view->pinned_at; i < view->pinned_count; i++)
		if (!arena_hold_again(arena, ARENA_PACKET, view->pinned[i]))
			return ERR_FORMAT;
	return ERR_OK;
}

/* ---- what is left out ------------------------------------------------------------------------ */

static bool judge_header(const struct flv_view *view, const struct media_header *header)
{
	return header->track_seq > view->version; /* what it has seen it needs no more */
}

static bool judge_video(struct flv_view *view, const struct media_log *log,
	const struct media_header *header, int64_t lag_us)
{
	bool late = lag_us > view->lag_allowed_us;

	if (header->flags & MEDIA_KEYFRAME) {
		/* a newer one is there: rather that */
		if (late && log->keyframe > header->position)
			return false;
		view->wants_keyframe = false;
		return true;
	}
	if (late)
		view->wants_keyframe = true;
	if (view->wants_keyframe)
		return false;
	return !((header->flags & MEDIA_DISCARDABLE) &&
		 lag_us > view->lag_allowed_us - FLV_LAG_SOON_US);
}

/* Audio takes longer to come than the pictures it belongs to: some of what lies behind the first
 * picture is from before it. */
static bool is_before_begin(const struct flv_view *view, const struct media_header *header)
{
	return view->based && (int64_t)header->rtp_time < view->base_ms &&
	       header->track == FLV_TRACK_AUDIO;
}

/* Shall the tag that begins with this packet be sent? */
static bool judge(
	struct flv_view *view, const struct media_log *log, const struct media_header *header)
{
	int64_t lag_us = log->newest_us - header->capture_us;
	int64_t limit_us = lag_us + FLV_LAG_GRACE_US;

	if (limit_us < FLV_LAG_US)
		limit_us = FLV_LAG_US;
	if (limit_us < view->lag_allowed_us)
		view->lag_allowed_us = limit_us;
	if (header->track == FLV_TRACK_HEADER)
		return judge_header(view, header);
	if (header->track == FLV_TRACK_VIDEO)
		return judge_video(view, log, header, lag_us);
	if (!view->based && view->wants_keyframe)
		return false; /* the first tag is the keyframe */
	if (is_before_begin(view, header))
		return false;
	return lag_us <= view->lag_allowed_us + FLV_LAG_US;
}

/* To the last keyframe, or to the live edge to wait for the next. */
static void jump(struct flv_view *view, const struct media_log *log)
{
	bool cached;

	view->position = media_log_start(log, &cached);
	view->wants_keyframe = log->has_video;
	view->offset = 0;
}

/* The headers from `from` on go out next. */
static void set_prefix(struct flv_view *view, const struct flv_framing *framing,
	const struct flv_headers *headers, uint32_t from, uint32_t time_ms)
{
	uint8_t bytes[FLV_HEADERS_MAX];
	size_t size = headers->size - from;

	memcpy(bytes, headers->bytes + from, size);
	if (from)
		flv_stamp(bytes, size, time_ms);
	view->prefix_size =
		(uint32_t)framing->headers(view->channel, bytes, size, !from, view->prefix);
	view->prefix_sent = 0;
	view->version = headers->version;
	MUST(view->prefix_size <= sizeof(view->prefix));
}

static void start(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, const struct flv_headers *headers)
{
	const struct packet *first;

	jump(view, log);
	first = media_log_packet(arena, log, view->position);
	view->lag_allowed_us = FLV_LAG_US + FLV_LAG_GRACE_US;
	if (first && log->newest_us > first->header.capture_us)
		view->lag_allowed_us += log->newest_us - first->header.capture_us;
	set_prefix(view, framing, headers, 0, 0);
	view->started = true;
}

static uint64_t tag_end(struct arena *arena, const struct media_log *log, uint64_t position)
{
	const struct packet *packet;

	do {
		packet = media_log_packet(arena, log, position++);
	} while (packet && !(packet->header.flags & MEDIA_FRAME_END) && position < log->ready);
	return position;
}

static uint32_t view_time(const struct flv_view *view, const struct media_header *header)
{
	int64_t ms = (int64_t)header->rtp_time - view->base_ms;

	return ms > 0 ? (uint32_t)ms : 0;
}

/* Stands `view` before the next tag that is to be sent. False when there is none. */
static bool seek_tag(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, const struct flv_headers *headers)
{
	if (view->position < log->first || view->position > log->ready) {
		view->skips++;
		jump(view, log);
	}
	while (view->position < log->ready) {
		const struct packet *packet = media_log_packet(arena, log, view->position);

		if (packet && (packet->header.flags & MEDIA_FRAME_START) &&
			judge(view, log, &packet->header)) {
			const struct media_header *header = &packet->header;

			if (!view->based) {
				view->based = true;
				view->base_ms = (int64_t)header->rtp_time;
			}
			if (header->track == FLV_TRACK_HEADER) {
				view->version = (uint32_t)header->track_seq;
			} else if (header->track_seq > view->version &&
				   headers->version > view->version) {
				/* its in-band headers were among what was left out */
				set_prefix(view, framing, headers, headers->sequence_at,
					view_time(view, header));
			}
			return true;
		}
		view->tags_dropped += packet && packet->header.track != FLV_TRACK_HEADER;
		view->position = tag_end(arena, log, view->position);
	}
	return false;
}

/* ---- a write --------------------------------------------------------------------------------- */

static void add_piece(
	struct flv_batch *batch, const void *bytes, size_t size, uint64_t position, bool last)
{
	batch->iov[batch->count] = (struct iovec){(void *)(uintptr_t)bytes, size};
	batch->piece[batch->count].position = position;
	batch->piece[batch->count].size = (uint32_t)size;
	batch->piece[batch->count].last = last;
	batch->count++;
	batch->bytes += size;
}

/* The tag that this packet is of; its size only if it begins with it. */
static struct flv_tag_view tag_of(const struct flv_view *view, const struct packet *packet)
{
	const struct media_header *header = &packet->header;
	const uint8_t *bytes = packet->payload;
	struct flv_tag_view tag = {
		.type = header->track == FLV_TRACK_VIDEO ? FLV_VIDEO : FLV_AUDIO,
		.time_ms = view_time(view, header),
	};

	if (header->flags & MEDIA_FRAME_START) {
		tag.type = bytes[0];
		tag.size = (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
	}
	return tag;
}

/* Leaves out the first *skip bytes. */
static void add_rest(
	struct flv_batch *batch, const uint8_t *bytes, size_t size, uint64_t position, size_t *skip)
{
	size_t out = *skip < size ? *skip : size;

	*skip -= out;
	if (out < size)
		add_piece(batch, bytes + out, size - out, position, false);
}

/* A packet as the framing has it, from `skip` on. */
static void add_packet(const struct flv_view *view, const struct flv_framing *framing,
	struct flv_batch *batch, size_t *heads, const struct packet *packet, uint64_t position,
	size_t skip)
{
	const struct flv_tag_view tag = tag_of(view, packet);
	const uint8_t *bytes = packet->payload;
	size_t left = packet->header.size, before = batch->count;
	size_t at = 0; /* in the body */

	if (packet->header.flags & MEDIA_FRAME_START) {
		add_rest(batch, batch->heads[*heads],
			framing->head(view->channel, &tag, batch->heads[*heads]), position, &skip);
		(*heads)++;
		bytes += FLV_TAG_HEADER_SIZE;
		left -= FLV_TAG_HEADER_SIZE;
	} else {
		at = (size_t)packet->header.decode_time - FLV_TAG_HEADER_SIZE;
	}
	if ((packet->header.flags & MEDIA_FRAME_END) && !framing->trailer)
		left -= FLV_TAG_TRAILER_SIZE;
	while (left) {
		size_t part = left;

		if (framing->part_max && at && at % framing->part_max == 0) {
			add_rest(batch, batch->heads[*heads],
				framing->between(view->channel, &tag, batch->heads[*heads]),
				position, &skip);
			(*heads)++;
		}
		if (framing->part_max && part > framing->part_max - at % framing->part_max)
			part = framing->part_max - at % framing->part_max;
		add_rest(batch, bytes, part, position, &skip);
		bytes += part;
		left -= part;
		at += part;
	}
	if (batch->count > before)
		batch->piece[batch->count - 1].last = true;
}

/* Is there room for one more packet, whatever the framing makes of it? */
static bool has_room(const struct flv_batch *batch, size_t heads)
{
	return batch->count + PACKET_PIECES <= FLV_VIEW_IOV &&
	       heads + PACKET_HEADS <= FLV_VIEW_HEADS;
}

/* What is judged at all is judged at the beginning of a write: may this packet be sent without? */
static bool goes_along(const struct flv_view *view, const struct media_log *log,
	const struct media_header *header, uint64_t position)
{
	if (!(header->flags & MEDIA_FRAME_START) || position == view->position)
		return true;
	return header->track != FLV_TRACK_HEADER && header->track_seq <= view->version &&
	       !view->wants_keyframe && !is_before_begin(view, header) &&
	       log->newest_us - header->capture_us <= view->lag_allowed_us - FLV_LAG_SOON_US;
}

void flv_view_fill(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, const struct flv_headers *headers, struct flv_batch *batch)
{
	uint64_t position;
	uint32_t offset = view->offset;
	size_t heads = 0;
	bool inside;

	batch->count = batch->bytes = 0;
	if (!headers->version || (view->finishing && !flv_view_is_inside(view)))
		return;
	if (!view->started)
		start(view, framing, arena, log, headers);
	inside = view->offset || view->pinned_at < view->pinned_count;
	if (!inside && !view->finishing && !seek_tag(view, framing, arena, log, headers) &&
		view->prefix_sent == view->prefix_size)
		return;
	if (view->prefix_sent < view->prefix_size)
		add_piece(batch, view->prefix + view->prefix_sent,
			view->prefix_size - view->prefix_sent, 0, true);
	position = view->position;
	for (uint16_t i = view->pinned_at; i < view->pinned_count; i++, position++, offset = 0) {
		const struct packet *packet = arena_packet(arena, view->pinned[i]);

		if (!has_room(batch, heads))
			return;
		if (packet)
			add_packet(view, framing, batch, &heads, packet, position, offset);
	}
	if (view->finishing)
		return;
	for (; position < log->ready && has_room(batch, heads); position++, offset = 0) {
		const struct packet *packet = media_log_packet(arena, log, position);

		if (!packet || !goes_along(view, log, &packet->header, position))
			return;
		add_packet(view, framing, batch, &heads, packet, position, offset);
	}
}

/* Holds what is left of the tag at `position`, so that it can be finished. */
static void pin(struct flv_view *view, struct arena *arena, const struct media_log *log)
{
	uint64_t end = tag_end(arena, log, view->position);

	view->pinned_at = view->pinned_count = 0;
	for (uint64_t at = view->position; at < end && view->pinned_count < FLV_TAG_PACKETS_MAX;
		at++) {
		struct slot_ref ref = media_log_ref(log, at);

		if (arena_hold(arena, ARENA_PACKET, ref))
			view->pinned[view->pinned_count++] = ref;
	}
}

static void packet_is_out(struct flv_view *view, struct arena *arena, uint64_t position)
{
	view->position = position + 1;
	view->offset = 0;
	if (view->pinned_at < view->pinned_count)
		arena_release(arena, ARENA_PACKET, view->pinned[view->pinned_at++]);
}

int64_t flv_view_due_us(
	const struct flv_view *view, const struct media_log *log, uint32_t viewers, int64_t now_us)
{
	bool behind = log->ready - view->position > FLV_VIEW_IOV / 2;
	bool inside = view->offset || flv_view_is_inside(view);
	int64_t passed_us = now_us - view->wrote_us;

	if (viewers < FLV_GATHER_VIEWERS || !view->based || view->finishing || inside || behind ||
		passed_us < 0 || passed_us > FLV_GATHER_US)
		return now_us;
	return view->wrote_us + FLV_GATHER_US;
}

void flv_view_sent(struct flv_view *view, struct arena *arena, const struct media_log *log,
	const struct flv_batch *batch, size_t size)
{
	for (size_t i = 0; i < batch->count && size; i++) {
		uint32_t part = batch->piece[i].size < size ? batch->piece[i].size : (uint32_t)size;

		size -= part;
		if (!batch->piece[i].position) {
			view->prefix_sent += part;
			continue;
		}
		if (view->position != batch->piece[i].position) {
			view->position = batch->piece[i].position;
			view->offset = 0;
		}
		view->offset += part;
		if (part == batch->piece[i].size && batch->piece[i].last)
			packet_is_out(view, arena, batch->piece[i].position);
	}
	if (view->pinned_at < view->pinned_count)
		return; /* still in that tag */
	const struct packet *next = media_log_packet(arena, log, view->position);

	if (next && (view->offset || !(next->header.flags & MEDIA_FRAME_START)))
		pin(view, arena, log);
}

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
	.way = FLV_AS_FILE, .headers = file_headers, .head = file_head, .trailer = true};

/* ---- life ------------------------------------------------------------------------------------ */

void flv_view_begin(struct flv_view *view, uint32_t channel)
{
	view->was = (struct flv_place){.out = view->at.out};
	arena_step();
	view->step = FLV_FILLS;
	arena_step();
	view->at = view->was;
	view->channel = channel;
	view->finishing = false;
	view->pinned_count = 0;
	arena_step();
	view->step = FLV_RESTS;
}

void flv_view_finish(struct flv_view *view)
{
	view->finishing = true;
	if (!view->at.prefix_sent)
		view->at.prefix_size = 0;
}

void flv_view_resume(struct flv_view *view)
{
	view->finishing = false;
	view->at.version = 0;
	view->at.tag = 0; /* what came meanwhile it did not want */
}

/* Does the packet at `position` belong to the tag that is half out? */
static bool is_pinned(const struct flv_view *view, uint64_t position)
{
	return position >= view->pinned_from && position - view->pinned_from < view->pinned_count;
}

bool flv_view_is_inside(const struct flv_view *view)
{
	return is_pinned(view, view->at.position) || view->at.prefix_sent < view->at.prefix_size;
}

static void unpin(struct flv_view *view, struct arena *arena)
{
	uint16_t count = view->pinned_count;

	view->pinned_count = 0;
	arena_step();
	for (uint16_t i = 0; i < count; i++)
		arena_release(arena, ARENA_PACKET, view->pinned[i]);
}

void flv_view_release(struct flv_view *view, struct arena *arena)
{
	unpin(view, arena);
}

/* The other of `at` and `was` is right. */
static void go_back(struct flv_view *view)
{
	if (view->step == FLV_FILLS || view->step == FLV_COUNTS) {
		view->at = view->was;
		arena_step();
		view->step = view->step == FLV_FILLS ? FLV_RESTS : FLV_WRITES;
	}
}

enum err flv_view_restore(struct flv_view *view, struct arena *arena)
{
	go_back(view);
	if (view->step >= FLV_STEPS || view->pinned_count > FLV_TAG_PACKETS_MAX ||
		view->at.prefix_in > 1 || view->at.prefix_size > sizeof(view->prefix[0]) ||
		view->at.prefix_sent > view->at.prefix_size)
		return ERR_FORMAT;
	for (uint16_t i = 0; i < view->pinned_count; i++)
		if (!arena_hold_again(arena, ARENA_PACKET, view->pinned[i]))
			return ERR_FORMAT;
	return ERR_OK;
}

bool flv_view_was_writing(const struct flv_view *view)
{
	return view->step == FLV_WRITES;
}

/* ---- what is left out ------------------------------------------------------------------------ */

static bool judge_header(const struct flv_view *view, const struct media_header *header)
{
	return header->track_seq > view->at.version; /* what it has seen it needs no more */
}

static bool judge_video(struct flv_view *view, const struct media_log *log,
	const struct media_header *header, int64_t lag_us)
{
	bool late = lag_us > view->at.lag_allowed_us;

	if (header->flags & MEDIA_KEYFRAME) {
		/* a newer one is there: rather that */
		if (late && log->keyframe > header->position)
			return false;
		view->at.wants_keyframe = false;
		return true;
	}
	if (late)
		view->at.wants_keyframe = true;
	if (view->at.wants_keyframe)
		return false;
	return !((header->flags & MEDIA_DISCARDABLE) &&
		 lag_us > view->at.lag_allowed_us - FLV_LAG_SOON_US);
}

/* Audio takes longer to come than the pictures it belongs to: some of what lies behind the first
 * picture is from before it. */
static bool is_before_begin(const struct flv_view *view, const struct media_header *header)
{
	return view->at.based && (int64_t)header->rtp_time < view->at.base_ms &&
	       header->track == FLV_TRACK_AUDIO;
}

static void note_lag(struct flv_view *view, int64_t lag_us)
{
	int64_t limit_us = lag_us + FLV_LAG_GRACE_US;

	if (limit_us < FLV_LAG_US)
		limit_us = FLV_LAG_US;
	if (limit_us < view->at.lag_allowed_us)
		view->at.lag_allowed_us = limit_us;
}

/* Shall the tag that begins with this packet be sent? */
static bool judge(
	struct flv_view *view, const struct media_log *log, const struct media_header *header)
{
	int64_t lag_us = log->newest_us - header->capture_us;

	note_lag(view, lag_us);
	if (header->track == FLV_TRACK_HEADER)
		return judge_header(view, header);
	if (header->track == FLV_TRACK_VIDEO)
		return judge_video(view, log, header, lag_us);
	if (!view->at.based && view->at.wants_keyframe)
		return false; /* the first tag is the keyframe */
	if (is_before_begin(view, header))
		return false;
	return lag_us <= view->at.lag_allowed_us + FLV_LAG_US;
}

/* To the last keyframe, or to the live edge to wait for the next. */
static void jump(struct flv_view *view, const struct media_log *log)
{
	bool cached;

	view->at.position = media_log_start(log, &cached);
	view->at.wants_keyframe = log->has_video;
	view->at.offset = 0;
}

/* The headers from `from` on go out next. */
static void set_prefix(struct flv_view *view, const struct flv_framing *framing,
	const struct flv_headers *headers, uint32_t from, uint32_t time_ms)
{
	uint8_t bytes[FLV_HEADERS_MAX];
	size_t size = headers->size - from;

	view->at.prefix_in = !view->at.prefix_in;
	memcpy(bytes, headers->bytes + from, size);
	if (from)
		flv_stamp(bytes, size, time_ms);
	view->at.prefix_size = (uint32_t)framing->headers(
		view->channel, bytes, size, !from, view->prefix[view->at.prefix_in]);
	view->at.prefix_sent = 0;
	view->at.version = headers->version;
	MUST(view->at.prefix_size <= sizeof(view->prefix[0]));
}

static void start(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, const struct flv_headers *headers)
{
	const struct packet *first;

	jump(view, log);
	first = media_log_packet(arena, log, view->at.position);
	view->at.lag_allowed_us = FLV_LAG_US + FLV_LAG_GRACE_US;
	if (first && log->newest_us > first->header.capture_us)
		view->at.lag_allowed_us += log->newest_us - first->header.capture_us;
	set_prefix(view, framing, headers, 0, 0);
	view->at.started = true;
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
	return flv_time_since(view->at.base_ms, header->rtp_time);
}

/* Tags up to this one are behind the viewer: those that it has not had it does without. */
static void pass_tag(struct flv_view *view, uint32_t tag)
{
	int32_t missed = (int32_t)(tag - view->at.tag);

	if (!view->at.tag || missed <= 0)
		return;
	view->at.tags_dropped += (uint64_t)missed;
	view->at.tag = tag;
}

/* Stands `view` before the next tag that is to be sent. False when there is none. */
static bool seek_tag(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, const struct flv_headers *headers)
{
	if (view->at.position < log->first || view->at.position > log->ready)
		jump(view, log);
	while (view->at.position < log->ready) {
		const struct packet *packet = media_log_packet(arena, log, view->at.position);

		if (packet && (packet->header.flags & MEDIA_FRAME_START) &&
			judge(view, log, &packet->header)) {
			const struct media_header *header = &packet->header;

			pass_tag(view, header->frame - 1);
			if (!view->at.based) {
				view->at.based = true;
				view->at.base_ms = (int64_t)header->rtp_time;
			}
			if (header->track == FLV_TRACK_HEADER) {
				view->at.version = (uint32_t)header->track_seq;
			} else if (header->track_seq > view->at.version &&
				   headers->version > view->at.version) {
				/* its in-band headers were among what was left out */
				set_prefix(view, framing, headers, headers->sequence_at,
					view_time(view, header));
			}
			return true;
		}
		if (packet) {
			pass_tag(view, packet->header.frame - 1);
			view->at.tags_dropped += packet->header.track != FLV_TRACK_HEADER;
			view->at.tag = packet->header.frame;
		}
		view->at.position = tag_end(arena, log, view->at.position);
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

/* What the framing puts before a tag, or between two parts of it. */
static void add_head(const struct flv_view *view, const struct flv_framing *framing,
	struct flv_batch *batch, const struct packet *packet, uint64_t position, bool between,
	size_t *skip)
{
	const struct flv_tag_view tag = tag_of(view, packet);
	uint8_t *bytes = batch->heads[batch->head_count];
	size_t size = (between ? framing->between : framing->head)(view->channel, &tag, bytes);

	batch->head[batch->head_count++] = (struct flv_run_head){
		.rtp_time = packet->header.rtp_time,
		.at = (uint32_t)batch->bytes,
		.body_size = (uint32_t)tag.size,
		.size = (uint8_t)size,
		.type = tag.type,
		.between = between,
	};
	add_rest(batch, bytes, size, position, skip);
}

/* A packet as the framing has it, from `skip` on. */
static void add_packet(const struct flv_view *view, const struct flv_framing *framing,
	struct flv_batch *batch, const struct packet *packet, uint64_t position, size_t skip)
{
	const uint8_t *bytes = packet->payload;
	size_t left = packet->header.size, before = batch->count;
	size_t at = 0; /* in the body */

	if (packet->header.flags & MEDIA_FRAME_START) {
		add_head(view, framing, batch, packet, position, false, &skip);
		bytes += FLV_TAG_HEADER_SIZE;
		left -= FLV_TAG_HEADER_SIZE;
	} else {
		at = (size_t)packet->header.decode_time - FLV_TAG_HEADER_SIZE;
	}
	if ((packet->header.flags & MEDIA_FRAME_END) && !framing->trailer)
		left -= FLV_TAG_TRAILER_SIZE;
	while (left) {
		size_t part = left;

		if (framing->part_max && at && at % framing->part_max == 0)
			add_head(view, framing, batch, packet, position, true, &skip);
		if (framing->part_max && part > framing->part_max - at % framing->part_max)
			part = framing->part_max - at % framing->part_max;
		add_rest(batch, bytes, part, position, &skip);
		bytes += part;
		left -= part;
		at += part;
	}
	for (size_t i = before; i < batch->count; i++)
		batch->piece[i].tag = packet->header.frame;
	if (batch->count > before)
		batch->piece[batch->count - 1].last = true;
}

/* Is there room for one more packet, whatever the framing makes of it? */
static bool has_room(const struct flv_batch *batch)
{
	return batch->count + PACKET_PIECES <= FLV_VIEW_IOV &&
	       batch->head_count + PACKET_HEADS <= FLV_VIEW_HEADS;
}

/* What is judged at all is judged at the beginning of a write: may this packet be sent without? */
static bool goes_along(const struct flv_view *view, const struct media_log *log,
	const struct media_header *header, uint64_t position)
{
	if (!(header->flags & MEDIA_FRAME_START) || position == view->at.position)
		return true;
	return header->track != FLV_TRACK_HEADER && header->track_seq <= view->at.version &&
	       !view->at.wants_keyframe && !is_before_begin(view, header) &&
	       log->newest_us - header->capture_us <= view->at.lag_allowed_us - FLV_LAG_SOON_US;
}

/* The packet at `position`, of those held or of the log. */
static const struct packet *packet_at(const struct flv_view *view, struct arena *arena,
	const struct media_log *log, uint64_t position)
{
	return is_pinned(view, position)
		       ? arena_packet(arena, view->pinned[position - view->pinned_from])
		       : media_log_packet(arena, log, position);
}

static void empty(struct flv_batch *batch)
{
	batch->count = batch->bytes = batch->head_count = 0;
	batch->shared_last = 0;
}

/* All from where the viewer is up to `end`, as far as it fits: returns how far. The same place and the
 * same end make the same bytes, in another process too. */
static uint64_t lay_out(const struct flv_view *view, const struct flv_framing *framing,
	struct arena *arena, const struct media_log *log, uint64_t end, struct flv_batch *batch)
{
	const struct flv_place *at = &view->at;
	uint64_t position = at->position;
	uint32_t offset = at->offset;

	empty(batch);
	if (at->prefix_sent < at->prefix_size)
		add_piece(batch, view->prefix[at->prefix_in] + at->prefix_sent,
			at->prefix_size - at->prefix_sent, 0, true);
	for (; position < end && has_room(batch); position++, offset = 0) {
		const struct packet *packet = packet_at(view, arena, log, position);

		if (!packet)
			break;
		add_packet(view, framing, batch, packet, position, offset);
	}
	return position;
}

/* Where a write that begins at the viewer's place ends, at the latest. */
static uint64_t find_end(
	const struct flv_view *view, struct arena *arena, const struct media_log *log)
{
	uint64_t position = view->at.position;
	uint64_t most = position + FLV_VIEW_IOV;

	while (is_pinned(view, position))
		position++;
	while (!view->finishing && position < log->ready && position < most) {
		const struct packet *packet = media_log_packet(arena, log, position);

		if (!packet || !goes_along(view, log, &packet->header, position))
			break;
		position++;
	}
	return position;
}

/* Stands before what is to go out next. False: nothing is. */
static bool seek(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, const struct flv_headers *headers)
{
	bool inside = view->at.offset || is_pinned(view, view->at.position);

	if (!view->at.started)
		start(view, framing, arena, log, headers);
	if (inside || view->finishing)
		return true;
	/* headers that are half out go first, with the tag that they were made for if it is there */
	if (view->at.prefix_sent && view->at.prefix_sent < view->at.prefix_size)
		return true;
	return seek_tag(view, framing, arena, log, headers) ||
	       view->at.prefix_sent < view->at.prefix_size;
}

/* Has it all that there is? Then there is nothing until the log grows. */
static bool is_done(const struct flv_view *view, const struct media_log *log)
{
	return view->at.started && view->at.position == log->ready && !view->at.offset &&
	       view->at.prefix_sent == view->at.prefix_size;
}

/* ---- a write that others share --------------------------------------------------------------- */

/* Does it stand between two tags, with nothing of its own to be sent before the next? */
static bool may_share(const struct flv_view *view)
{
	const struct flv_place *at = &view->at;

	return at->started && at->based && !at->wants_keyframe && !at->offset &&
	       !view->pinned_count && at->prefix_sent == at->prefix_size && !view->finishing;
}

static struct flv_run_key run_key(
	const struct flv_view *view, const struct flv_framing *framing, const struct media_log *log)
{
	return (struct flv_run_key){.position = view->at.position,
		.end = log->ready,
		.channel = view->channel,
		.way = framing->way};
}

static void take_run(struct flv_view *view, struct flv_run *run, struct flv_batch *batch)
{
	view->end = run->key.end;
	batch->count = 1;
	batch->bytes = run->size;
	batch->shared_last = run->last;
	batch->iov[0] = (struct iovec){run->bytes, run->size};
}

/* What has been made for others, if it is what this one would get. */
static bool fill_shared(struct flv_view *view, const struct flv_framing *framing,
	const struct media_log *log, struct flv_desk *desk, struct flv_batch *batch)
{
	const struct flv_run_key key = run_key(view, framing, log);
	struct flv_run *run = may_share(view) ? flv_run_find(desk->runs, &key) : NULL;

	if (!run || run->phase != FLV_RUN_MADE || view->at.version < run->version ||
		view->at.base_ms > run->sound_from_ms ||
		!flv_run_stamp(run, framing, view->at.base_ms))
		return false;
	note_lag(view, run->lag_us);
	pass_tag(view, run->first - 1);
	take_run(view, run, batch);
	return true;
}

/* What was gathered for this one, of which all there is is part: others may want the same. */
static void share(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, struct flv_desk *desk, struct flv_batch *batch)
{
	const struct flv_run_key key = run_key(view, framing, log);
	struct flv_run *run = flv_run_find(desk->runs, &key);
	const struct flv_gathered gathered = {
		.iov = batch->iov,
		.count = batch->count,
		.bytes = batch->bytes,
		.head = batch->head,
		.head_count = batch->head_count,
		.base_ms = view->at.base_ms,
	};

	if (!run)
		flv_run_ask(desk->runs, &key);
	else if (run->phase == FLV_RUN_ASKED &&
		 flv_run_make(run, &gathered, arena, log, FLV_LAG_US - FLV_LAG_SOON_US))
		take_run(view, run, batch);
}

/* ---- filling, counting ----------------------------------------------------------------------- */

static void gather(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, struct flv_desk *desk, struct flv_batch *batch)
{
	if (!seek(view, framing, arena, log, &desk->work.headers))
		return;
	view->end = find_end(view, arena, log);
	if (lay_out(view, framing, arena, log, view->end, batch) == log->ready && batch->count &&
		may_share(view))
		share(view, framing, arena, log, desk, batch);
}

void flv_view_fill(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, struct flv_desk *desk, struct flv_batch *batch)
{
	empty(batch);
	if (!desk->work.headers.version || is_done(view, log) ||
		(view->finishing && !flv_view_is_inside(view)))
		return;
	view->was = view->at;
	arena_step();
	view->step = FLV_FILLS;
	arena_step();
	if (!fill_shared(view, framing, log, desk, batch))
		gather(view, framing, arena, log, desk, batch);
	arena_step();
	view->step = batch->count ? FLV_WRITES : FLV_RESTS;
}

/* Holds what is left of the tag at `position`, so that it can be finished. */
static void pin(struct flv_view *view, struct arena *arena, const struct media_log *log)
{
	uint64_t end = tag_end(arena, log, view->at.position);
	uint16_t count = 0;

	unpin(view, arena);
	view->pinned_from = view->at.position;
	for (uint64_t at = view->at.position; at < end && count < FLV_TAG_PACKETS_MAX; at++) {
		struct slot_ref ref = media_log_ref(log, at);

		if (!arena_hold(arena, ARENA_PACKET, ref))
			break;
		view->pinned[count++] = ref;
	}
	arena_step();
	view->pinned_count = count;
}

/* Moves the viewer by `size` bytes of the batch. */
static void advance(struct flv_place *at, const struct flv_batch *batch, size_t size)
{
	at->out += size;
	for (size_t i = 0; i < batch->count && size; i++) {
		uint32_t part = batch->piece[i].size < size ? batch->piece[i].size : (uint32_t)size;

		size -= part;
		if (!batch->piece[i].position) {
			at->prefix_sent += part;
			continue;
		}
		at->tag = batch->piece[i].tag;
		if (at->position != batch->piece[i].position) {
			at->position = batch->piece[i].position;
			at->offset = 0;
		}
		at->offset += part;
		if (part == batch->piece[i].size && batch->piece[i].last) {
			at->position++;
			at->offset = 0;
		}
	}
}

/* After a write, when it is counted: holds the tag that is half out, and no other. */
static void pin_or_unpin(struct flv_view *view, struct arena *arena, const struct media_log *log)
{
	if (is_pinned(view, view->at.position))
		return; /* still in that tag */
	const struct packet *next = media_log_packet(arena, log, view->at.position);

	if (next && (view->at.offset || !(next->header.flags & MEDIA_FRAME_START)))
		pin(view, arena, log);
	else if (view->pinned_count)
		unpin(view, arena);
}

/* A whole run is out. */
static void advance_by_run(struct flv_view *view, const struct flv_batch *batch)
{
	view->at.out += batch->bytes;
	view->at.position = view->end;
	view->at.tag = batch->shared_last;
}

void flv_view_sent(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, struct flv_batch *batch, size_t size)
{
	bool whole_run = batch->shared_last && size == batch->bytes;

	if (size) {
		if (batch->shared_last && !whole_run)
			lay_out(view, framing, arena, log, view->end, batch);
		view->was = view->at;
		arena_step();
		view->step = FLV_COUNTS;
		arena_step();
		if (whole_run)
			advance_by_run(view, batch);
		else
			advance(&view->at, batch, size);
	}
	arena_step();
	view->step = FLV_RESTS;
	arena_step();
	if (size && !whole_run)
		pin_or_unpin(view, arena, log);
}

enum err flv_view_resolve(struct flv_view *view, const struct flv_framing *framing,
	struct arena *arena, const struct media_log *log, uint64_t size)
{
	struct flv_batch batch;

	empty(&batch);
	if (view->step == FLV_WRITES)
		lay_out(view, framing, arena, log, view->end, &batch);
	if (size > batch.bytes)
		return ERR_FORMAT;
	flv_view_sent(view, framing, arena, log, &batch, (size_t)size);
	pin_or_unpin(view, arena, log); /* it may have died just before that */
	return ERR_OK;
}

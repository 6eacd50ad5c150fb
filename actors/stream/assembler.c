/* SPDX-License-Identifier: Apache-2.0
 *
 * Payloads to frames: see assembler.h.
 *
 *   (between) --first packet of a frame--> building --last packet--> (between), frame out
 *        \--packet of a lost frame's rest--> swallowing <--loss, damage--/
 */
#include "actors/stream/assembler.h"

#include "actors/stream/payload_format.h"

enum { FRAME_FLAGS = MEDIA_KEYFRAME | MEDIA_DISCARDABLE | MEDIA_B_FRAME | MEDIA_DISCONTINUITY };

void assembler_init(struct assembler *a, enum media_codec codec)
{
	MUST(payload_format_of(codec));
	*a = (struct assembler){.codec = (uint8_t)codec};
}

bool assembler_is_valid(const struct assembler *a)
{
	return payload_format_of(a->codec) && a->in_frame <= 1 && a->broken <= 1 && a->open <= 1 &&
	       a->ended <= 1 && a->gap <= 1 && (!a->open || a->open_at <= a->used);
}

static void forget_frame(struct assembler *a)
{
	a->in_frame = a->broken = a->open = 0;
	a->used = a->open_at = a->unit_size = 0;
	a->flags = 0;
}

/* What was begun will not be finished. */
static void lose_frame(struct assembler *a)
{
	if (a->in_frame && !a->broken)
		a->frames_broken++;
	a->broken = 1;
	a->open = 0;
	a->used = 0;
	a->gap = 1;
}

void assembler_reset(struct assembler *a)
{
	if (a->in_frame)
		lose_frame(a);
	forget_frame(a);
	a->next_seq = 0;
	a->ended = 0;
}

/* Notes the packet's place; a frame that a hole falls into is lost. */
static void follow_sequence(struct assembler *a, const struct media_header *header)
{
	if (a->next_seq && header->track_seq > a->next_seq) {
		a->packets_lost += header->track_seq - a->next_seq;
		a->gap = 1;
		a->ended = 0;
		if (a->in_frame)
			lose_frame(a);
	}
	a->next_seq = header->track_seq + 1;
}

static void start_frame(struct assembler *a, const struct media_header *header)
{
	/* a frame that just stops, without its last packet, cannot be told from a lost one */
	if (a->in_frame)
		lose_frame(a);
	bool whole = (header->flags & MEDIA_FRAME_START) || a->ended;
	forget_frame(a);
	a->in_frame = 1;
	a->ended = 0;
	a->frame = header->frame;
	a->rtp_time = header->rtp_time;
	a->decode_time = header->decode_time;
	a->capture_us = header->capture_us;
	if (!whole) {
		a->packets_stray++;
		a->broken = 1; /* its beginning was lost, and counted where the hole was seen */
		a->gap = 1;
	}
}

static void emit_frame(struct assembler *a, struct assembler_frame *out)
{
	*out = (struct assembler_frame){
		.size = a->used,
		.rtp_time = a->rtp_time,
		.decode_time = a->decode_time,
		.capture_us = a->capture_us,
		.frame = a->frame,
		.flags = a->flags & FRAME_FLAGS,
		.after_gap = a->gap,
	};
	/* a later packet may have taken it back (payload_inspect) */
	if (out->flags & MEDIA_KEYFRAME)
		out->flags &= (uint8_t)~MEDIA_DISCARDABLE;
	a->frames++;
	a->gap = 0;
}

static enum err join(struct assembler *a, const struct media_header *header, const uint8_t *payload,
	uint8_t *buffer, size_t capacity)
{
	struct writer w = writer_of(buffer, capacity);
	enum err err = ERR_FORMAT;

	if (a->used > capacity || a->open_at > a->used)
		return ERR_TOO_LARGE; /* not the buffer that this state was made with */
	w.at += a->used;
	if (header->size)
		err = payload_format_of(a->codec)->join(a, &w, payload, header->size);
	if (w.bad)
		err = ERR_TOO_LARGE;
	if (!err)
		a->used = (uint32_t)writer_used(&w);
	return err;
}

enum err assembler_push(struct assembler *a, const struct media_header *header,
	const uint8_t *payload, uint8_t *buffer, size_t capacity, struct assembler_frame *out)
{
	enum err err = ERR_OK;

	MUST(capacity <= UINT32_MAX);
	*out = (struct assembler_frame){0};
	if (a->next_seq && header->track_seq < a->next_seq) {
		a->packets_stray++;
		return ERR_REPLAY;
	}
	follow_sequence(a, header);
	if (!a->in_frame || a->frame != header->frame)
		start_frame(a, header);
	a->flags |= header->flags;
	bool last = header->flags & MEDIA_FRAME_END;
	if (!a->broken) {
		err = join(a, header, payload, buffer, capacity);
		if (!err && last && (a->open || !a->used))
			err = ERR_FORMAT;
		if (err)
			lose_frame(a);
	}
	if (!last)
		return err ? err : ERR_AGAIN;
	bool whole = !a->broken;
	if (whole)
		emit_frame(a, out);
	forget_frame(a);
	a->ended = 1;
	return whole ? ERR_OK : err ? err : ERR_AGAIN;
}

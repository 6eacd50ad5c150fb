/* SPDX-License-Identifier: Apache-2.0
 *
 * What a payload format has to provide: one const table a codec, found through payload_format_of().
 * Internal to payload.c, assembler.c and the payload_<codec>.c files.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_STREAM_PAYLOAD_FORMAT_H
#define MILLRACE_STREAM_PAYLOAD_FORMAT_H

#include "actors/stream/assembler.h"
#include "actors/stream/payload.h"

/* How sure a payload is to begin its frame. */
enum payload_start {
	PAYLOAD_START_NO,
	PAYLOAD_START_UNLIKELY, /* a later slice: only right behind another frame */
	PAYLOAD_START_MAYBE,	/* that, or the first packet of all */
	PAYLOAD_START_YES,
};

/* Whether other frames refer to this one, as far as this payload tells. */
enum payload_use { PAYLOAD_USE_UNKNOWN, PAYLOAD_USE_NONE, PAYLOAD_USE_REFERENCE };

struct payload_view {
	enum payload_start start;
	enum payload_use use;
	bool keyframe;
	uint8_t layer;
	uint16_t width, height; /* 0 = not in this payload */
};

struct payload_format {
	/* Reads one arrived payload; `size` is at least 1. May update what `s` keeps for the codec.
	 * `*out` comes zero-filled. */
	enum err (*look)(struct payload_inspector *s, const uint8_t *payload, size_t size,
		struct payload_view *out);

	/* Validates the whole frame in cut->units, sets cut->flags and what next() needs; errors as
	 * payload_cut_begin(). */
	enum err (*begin)(struct payload_cut *cut);
	/* Writes one payload of at most cut->goal bytes; returns whether it was the frame's
	 * last. */
	bool (*next)(struct payload_cut *cut, struct writer *w);

	/* Appends one payload to the frame in `w`; `size` is at least 1. A full writer becomes
	 * ERR_TOO_LARGE in the caller. a->open stays set while a unit is unfinished. */
	enum err (*join)(
		struct assembler *a, struct writer *w, const uint8_t *payload, size_t size);
};

extern const struct payload_format payload_h264_format, payload_h265_format, payload_vp8_format,
	payload_vp9_format, payload_av1_format, payload_opus_format, payload_aac_format;

/* NULL when `codec` is none. */
const struct payload_format *payload_format_of(unsigned codec);

/* Parts that two or more formats share. */

/* Sets cut->step so that `total` bytes, in payloads with room for `room` each, become pieces of
 * equal size (the last may be shorter). */
void payload_split_evenly(struct payload_cut *cut, size_t total, size_t room);

/* H.264 and H.265 differ in little but header bits; payload_nal.c does both with this in hand. */
struct payload_nal_shape {
	enum media_codec codec;
	uint8_t header_size;   /* bytes of a unit's header */
	uint8_t fragment_type; /* FU-A, FU */
	uint8_t together_type; /* STAP-A, AP */
	/* Writes the header of an aggregation of `count` units, or of a fragment of one. */
	void (*write_together)(struct writer *w, const struct nal *units, unsigned count);
	void (*write_fragment)(struct writer *w, const uint8_t *header, bool first, bool last);
	/* Rebuilds the unit header that a fragment stands for. */
	void (*unit_header)(const uint8_t *payload, uint8_t *header);
};

enum err payload_nal_look(const struct payload_nal_shape *shape, struct payload_inspector *s,
	const uint8_t *payload, size_t size, struct payload_view *out);
enum err payload_nal_begin(const struct payload_nal_shape *shape, struct payload_cut *cut);
bool payload_nal_next(
	const struct payload_nal_shape *shape, struct payload_cut *cut, struct writer *w);
enum err payload_nal_join(const struct payload_nal_shape *shape, struct assembler *a,
	struct writer *w, const uint8_t *payload, size_t size);

#endif

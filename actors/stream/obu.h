/* SPDX-License-Identifier: Apache-2.0
 *
 * Open bitstream units of AV1 (AV1 Bitstream & Decoding Process Specification 5.3 - 5.9): walking
 * over units, the sequence header, and the first fields of a frame header, which say whether a
 * frame is a keyframe and whether any other refers to it. Nothing here decodes pictures.
 *
 * Thread: any. No allocation, no state. All functions borrow their input; sizes are bytes.
 */
#ifndef MILLRACE_STREAM_OBU_H
#define MILLRACE_STREAM_OBU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/bytes.h"
#include "schemas/err.h"

enum obu_type {
	OBU_SEQUENCE_HEADER = 1,
	OBU_TEMPORAL_DELIMITER = 2,
	OBU_FRAME_HEADER = 3,
	OBU_FRAME = 6,
	OBU_TILE_LIST = 8,
	OBU_PADDING = 15,
};

enum {
	OBU_HAS_EXTENSION = 0x04, /* bits of the header byte */
	OBU_HAS_SIZE = 0x02,
	OBU_LEB128_MAX = 8, /* bytes, 4.10.5 */
};

/* A borrowed unit. */
struct obu {
	uint8_t type;
	uint8_t header[2]; /* size bit cleared */
	uint8_t header_size;
	uint8_t layer;	     /* spatial << 4 | temporal, 0 without extension */
	const uint8_t *data; /* payload behind header and size */
	size_t size;
};

/* leb128 (4.10.5) of at most 32 bits of value; more is `bad`. */
uint32_t obu_read_leb128(struct reader *r);
void obu_write_leb128(struct writer *w, uint32_t value);
size_t obu_leb128_size(uint32_t value);

/* Next unit of a run in which each has a size field; one without it extends to the end. ERR_FORMAT
 * when it is cut short or the forbidden bit is set, ERR_NOT_FOUND at the end. */
enum err obu_next(struct reader *r, struct obu *out);

/* True for units that have no business in an RTP payload or a file sample: temporal delimiters,
 * tile lists, padding (AV1 RTP 5, AV1-ISOBMFF 2.4). */
bool obu_is_dropped(uint8_t type);

/* What later headers and av1C need of the sequence header. Plain; zero is "none seen". */
struct obu_sequence {
	uint16_t width, height; /* max_frame_width, max_frame_height */
	uint8_t profile, level, tier;
	uint8_t depth; /* bits: 8, 10, 12 */
	uint8_t monochrome, subsampling_x, subsampling_y, sample_position;
	uint8_t reduced_still;
	uint8_t has_decoder_model;
	uint8_t force_screen_content, force_integer_mv; /* 2 = chosen by each frame */
	uint8_t frame_id_bits;				/* 0 = no frame ids */
	uint8_t order_hint_bits;
	uint8_t present;
};

/* `unit` must be a sequence header; ERR_FORMAT when cut short or out of range. */
enum err obu_parse_sequence(const struct obu *unit, struct obu_sequence *out);

struct obu_frame {
	bool keyframe;	    /* shown, of type KEY_FRAME */
	bool repeats;	    /* show_existing_frame */
	bool refresh_known; /* false where the header hides it behind a decoder model */
	uint8_t refresh;    /* reference slots it is stored in; 0 = no other frame refers to it */
};

/* `data` is the payload of a frame or frame header unit, or its first bytes. ERR_PHASE when
 * `sequence` is absent, ERR_FORMAT when cut short. */
enum err obu_parse_frame(const struct obu_sequence *sequence, const uint8_t *data, size_t size,
	struct obu_frame *out);

#endif

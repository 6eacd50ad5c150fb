/* SPDX-License-Identifier: Apache-2.0
 *
 * From payloads back to frames in container form, for FLV, HLS, recording and transcoding. Takes
 * the packets of one track in track_seq order (frame_order.h makes it so) and fills a buffer of the
 * caller; a frame comes out whole or not at all.
 *
 *   H.264, H.265: units behind 4-byte lengths       AV1: units with size fields, no delimiter
 *   VP8: the frame   VP9: the frame, spatial layer 0 only   AAC: raw access unit   Opus: the packet
 *
 * Thread: any, one at a time an object. No allocation. The struct is plain and pointer-free; a
 * half-built frame lies in the caller's buffer, so whoever keeps the struct either keeps the buffer
 * too, or calls assembler_reset().
 */
#ifndef MILLRACE_STREAM_ASSEMBLER_H
#define MILLRACE_STREAM_ASSEMBLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/bytes.h"
#include "schemas/err.h"
#include "schemas/media.h"

struct assembler {
	uint8_t codec;	  /* enum media_codec */
	uint8_t in_frame; /* 1: a frame is being built, or its rest swallowed */
	uint8_t broken;	  /* 1: … swallowed */
	uint8_t open;	  /* 1: a fragmented unit waits for its end */
	uint8_t ended;	  /* 1: the packet before was the last of its frame */
	uint8_t gap;	  /* 1: something was lost since the last whole frame */
	uint8_t flags;	  /* enum media_flags of the packets so far */
	uint8_t reserved;
	uint32_t frame;
	uint32_t used;	    /* bytes in the buffer */
	uint32_t open_at;   /* where the open unit begins */
	uint32_t unit_size; /* AAC: size of the access unit as announced */
	uint64_t next_seq;  /* 0 = none yet */
	uint64_t rtp_time, decode_time;
	int64_t capture_us;
	uint64_t frames;	/* came out whole */
	uint64_t frames_broken; /* begun and not finished: loss, damage, too large */
	uint64_t packets_lost;	/* missing track_seq */
	uint64_t packets_stray; /* refused: out of order, or of the middle of a lost frame */
};

struct assembler_frame {
	size_t size; /* bytes at the beginning of the buffer */
	uint64_t rtp_time, decode_time;
	int64_t capture_us;
	uint32_t frame;
	uint8_t flags;	/* MEDIA_KEYFRAME, MEDIA_DISCARDABLE, MEDIA_B_FRAME, MEDIA_DISCONTINUITY */
	bool after_gap; /* frames between the last one and this are missing */
};

void assembler_init(struct assembler *a, enum media_codec codec);
bool assembler_is_valid(const struct assembler *a);
/* Gives up the frame being built; the next one starts anew. */
void assembler_reset(struct assembler *a);

/* Adds one packet: `payload` of `header->size` bytes. `buffer` must hold the same bytes at every
 * call until a frame is out.
 *
 * ERR_OK: `*out` is a whole frame, its bytes in `buffer`, valid until the next call. ERR_AGAIN:
 * more packets are needed (or the rest of a lost frame was swallowed). Other errors say, once a
 * frame, that this one is lost: ERR_FORMAT, ERR_UNSUPPORTED, ERR_TOO_LARGE (`capacity`).
 * ERR_REPLAY: an old track_seq; changes nothing. A frame that a missing packet falls into is lost
 * without an error (the next whole one may come of the same call): see `frames_broken`, and
 * `after_gap` of what follows. */
enum err assembler_push(struct assembler *a, const struct media_header *header,
	const uint8_t *payload, uint8_t *buffer, size_t capacity, struct assembler_frame *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a VP9 frame (VP9 Bitstream & Decoding Process Specification 6.2): enough to know a
 * keyframe, its size, and whether other frames refer to it.
 *
 * Thread: any. No allocation, no state.
 */
#ifndef MILLRACE_STREAM_VP9_H
#define MILLRACE_STREAM_VP9_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/err.h"

struct vp9_head {
	bool keyframe;
	bool repeats;	 /* show_existing_frame */
	bool inter;	 /* may use inter prediction: neither keyframe nor intra-only */
	uint8_t refresh; /* reference slots it is stored in */
	uint8_t profile, depth;
	uint8_t chroma; /* of a keyframe, as vpcC codes it: 0, 1 = 4:2:0, 2 = 4:2:2, 3 = 4:4:4 */
	uint16_t width, height; /* of a keyframe, else 0 */
};

/* `data` is a frame or its first bytes (10 are enough). ERR_FORMAT when cut short or no VP9. */
enum err vp9_parse_head(const uint8_t *data, size_t size, struct vp9_head *out);

/* True when `frame` (whole) ends in a superframe index (Annex B), so it holds several frames. */
bool vp9_is_superframe(const uint8_t *frame, size_t size);

#endif

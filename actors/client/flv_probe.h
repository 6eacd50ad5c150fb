/* SPDX-License-Identifier: Apache-2.0
 *
 * What is in an FLV stream, tag by tag, without keeping any of it. Pure; plain and pointer-free.
 */
#ifndef MILLRACE_CLIENT_FLV_PROBE_H
#define MILLRACE_CLIENT_FLV_PROBE_H

#include "actors/rtmp/flv.h"

struct flv_probe {
	bool begun;   /* the file header was read */
	uint8_t kept; /* bytes in `head` */
	uint8_t head[FLV_TAG_HEADER_SIZE + FLV_BODY_HEADER_MAX];
	uint32_t size; /* of the body */
	uint32_t left; /* of body and trailer, behind what is in `head` */
};

/* One tag that is whole now. */
struct flv_probe_tag {
	uint8_t type; /* enum flv_tag_type */
	bool frame;   /* a picture or sound, no configuration */
	bool keyframe;
	uint32_t time_ms;
	uint32_t size; /* bytes with header and trailer */
};

/* Takes bytes from `in` until a tag is whole: ERR_OK. ERR_AGAIN: all taken. ERR_FORMAT: no FLV. */
enum err flv_probe_take(struct flv_probe *p, struct reader *in, struct flv_probe_tag *tag);

#endif

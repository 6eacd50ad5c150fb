/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: see sim_h264.h.
 */
#include "tests/sim/sim_h264.h"

#include <string.h>

enum {
	TYPE_MASK = 31,
	IDR = 5,
	SPS = 7,
	PPS = 8,
	STAP_A = 24,
	FU_A = 28,
	FU_START = 128,
	FU_END = 64,
	SPS_AT = 8, /* in the record */
	SPS_SIZE = 23,
	PPS_AT = SPS_AT + SPS_SIZE + 3,
	PPS_SIZE = 4,
};

const uint8_t sim_h264_record[SIM_H264_RECORD] = {0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x17,
	0x67, 0x64, 0x00, 0x0c, 0xac, 0xb4, 0x10, 0x6d, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00, 0x08,
	0x00, 0x00, 0x03, 0x01, 0x90, 0x78, 0xa1, 0x55, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0xb0,
	0xfd, 0xf8, 0xf8, 0x00};

const uint8_t *sim_h264_slice(bool key, unsigned part)
{
	static const uint8_t slices[2][2][SIM_H264_SLICE] = {
		{{0x41, 0x9a, 0x26, 0x23, 0x3f, 0x9f, 0xb7, 0x61, 0xa2, 0x0b},
			/* (first_mb_in_slice 1) */
			{0x41, 0x46, 0x9a, 0x26, 0x23, 0x3f, 0x9f, 0xb7, 0x61, 0xa2}},
		{{0x65, 0x88, 0x84, 0x19, 0xff, 0xd7, 0x47, 0x66, 0xe1, 0x06},
			{0x65, 0x42, 0x21, 0x06, 0x7f, 0xf5, 0xd1, 0xd9, 0xb8, 0x41}	    },
	};

	return slices[key][part != 0];
}

size_t sim_h264_begin_payload(uint8_t out[SIM_H264_HEAD_MAX], size_t size, bool key, unsigned part)
{
	static const uint8_t together = 0x60 | STAP_A;
	size_t at = 0;

	if (key && !part) {
		out[at++] = together;
		/* (in the record, too, two bytes of size are before each) */
		memcpy(out + at, sim_h264_record + SPS_AT - 2, 2 + SPS_SIZE);
		at += 2 + SPS_SIZE;
		memcpy(out + at, sim_h264_record + PPS_AT - 2, 2 + PPS_SIZE);
		at += 2 + PPS_SIZE;
		out[at] = (uint8_t)((size - at - 2) >> 8);
		out[at + 1] = (uint8_t)(size - at - 2);
		at += 2;
	}
	memcpy(out + at, sim_h264_slice(key, part), SIM_H264_SLICE);
	return at + SIM_H264_SLICE;
}

static void look_at_unit(struct sim_h264_view *view, uint8_t header)
{
	unsigned type = header & TYPE_MASK;

	view->sets = view->sets || type == SPS;
	view->key = view->key || type == SPS || type == PPS || type == IDR;
}

void sim_h264_look(struct sim_h264_view *view, const uint8_t *payload, size_t size)
{
	*view = (struct sim_h264_view){.begins = true, .ends = true};
	if (size < 2)
		return;
	if ((payload[0] & TYPE_MASK) == FU_A) {
		view->begins = payload[1] & FU_START;
		view->ends = payload[1] & FU_END;
		look_at_unit(view, payload[1]);
	} else if ((payload[0] & TYPE_MASK) == STAP_A) {
		for (size_t at = 1; at + 2 < size;) {
			look_at_unit(view, payload[at + 2]);
			at += 2 + ((size_t)payload[at] << 8 | payload[at + 1]);
		}
	} else {
		look_at_unit(view, payload[0]);
	}
}

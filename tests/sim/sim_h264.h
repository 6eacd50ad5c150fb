/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: H.264 of encoders outside: parameter sets and the beginnings of slices of a real stream
 * (tests/data/stream/h264_plain: 176x144, 25 pictures a second, no B-frames), and how a viewer reads
 * RTP payloads (RFC 6184).
 */
#ifndef MILLRACE_SIM_H264_H
#define MILLRACE_SIM_H264_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SIM_H264_RECORD = 42,	/* bytes */
	SIM_H264_SLICE = 10,	/* of a slice's beginning */
	SIM_H264_HEAD_MAX = 44, /* before the rest of a keyframe's first payload */
};

/* AVCDecoderConfigurationRecord. */
extern const uint8_t sim_h264_record[SIM_H264_RECORD];

/* A slice, its NAL header included; `part` 0 is the picture's first. */
const uint8_t *sim_h264_slice(bool key, unsigned part);
/* How an RTP payload of `size` bytes that holds one slice begins; parameter sets come with the first
 * of a keyframe (STAP-A). Returns how many bytes of `out` were written; the rest is the slice's. */
size_t sim_h264_begin_payload(uint8_t out[SIM_H264_HEAD_MAX], size_t size, bool key, unsigned part);

struct sim_h264_view {
	bool sets;	   /* has an SPS: a decoder can begin here */
	bool key;	   /* SPS, PPS or IDR */
	bool begins, ends; /* a NAL unit; false: a fragment in the middle */
};

void sim_h264_look(struct sim_h264_view *view, const uint8_t *payload, size_t size);

#endif

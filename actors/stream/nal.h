/* SPDX-License-Identifier: Apache-2.0
 *
 * NAL units of H.264 (ITU-T H.264 7.3) and H.265 (ITU-T H.265 7.3): unit types, walking over
 * length-prefixed units (ISO/IEC 14496-15), and as much of the parameter sets and slice headers as
 * a media network needs to know. Nothing here decodes pictures.
 *
 * Thread: any. No allocation, no state. All functions borrow their input; sizes are bytes.
 */
#ifndef MILLRACE_STREAM_NAL_H
#define MILLRACE_STREAM_NAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/bytes.h"
#include "schemas/err.h"
#include "schemas/media.h"

enum nal_h264_type {
	NAL_H264_SLICE = 1,
	NAL_H264_PARTITION_B = 3,
	NAL_H264_PARTITION_C = 4,
	NAL_H264_IDR = 5,
	NAL_H264_SEI = 6,
	NAL_H264_SPS = 7,
	NAL_H264_PPS = 8,
	NAL_H264_AUD = 9,
	NAL_H264_FILLER = 12,
	NAL_H264_STAP_A = 24, /* RFC 6184 5.2 */
	NAL_H264_FU_A = 28,
};

enum nal_h265_type {
	NAL_H265_RASL_R = 9,
	NAL_H265_RSV_VCL_R15 = 15, /* up to here even types are sub-layer non-reference pictures */
	NAL_H265_BLA_W_LP = 16,	   /* first and … */
	NAL_H265_RSV_IRAP_23 = 23, /* … last of the random access types */
	NAL_H265_VCL_MAX = 31,
	NAL_H265_VPS = 32,
	NAL_H265_SPS = 33,
	NAL_H265_PPS = 34,
	NAL_H265_AUD = 35,
	NAL_H265_FILLER = 38,
	NAL_H265_PREFIX_SEI = 39,
	NAL_H265_AP = 48, /* RFC 7798 4.4 */
	NAL_H265_FU = 49,
};

enum {
	NAL_DIMENSION_MAX = 16384, /* pixels; larger pictures are taken for damage */
	NAL_H265_TEMPORAL_MAX = 6, /* highest legal TemporalId, H.265 7.4.2.2 */
};

/* A borrowed unit, header included, without start code or length. */
struct nal {
	const uint8_t *data;
	size_t size;
};

static inline unsigned nal_h264_type(uint8_t header)
{
	return header & 0x1f;
}

static inline unsigned nal_h264_ref_idc(uint8_t header)
{
	return header >> 5 & 3;
}

static inline unsigned nal_h265_type(uint8_t header)
{
	return header >> 1 & 0x3f;
}

/* What a unit is, whatever the codec; the answer to "what must I do with it". */
enum nal_class {
	NAL_OTHER,     /* SEI, extensions: carried along */
	NAL_SLICE,     /* picture data */
	NAL_KEY_SLICE, /* picture data of an IDR or other random access picture */
	NAL_VPS,
	NAL_SPS,
	NAL_PPS,
	NAL_DROPPED, /* access unit delimiter, filler: means nothing outside a byte stream; and the
	              * unspecified types that payload formats use for themselves */
};

/* `nal` may be empty or too short for its header: NAL_DROPPED. `codec` is MEDIA_H264 or
 * MEDIA_H265. */
enum nal_class nal_classify(enum media_codec codec, struct nal nal);

/* True when no other picture refers to the slice `nal`. H.264: nal_ref_idc is 0. H.265: a sub-layer
 * non-reference type in the highest sub-layer (`temporal_max`: a picture of a lower one may still
 * be referred to from above, H.265 3.158). */
bool nal_is_discardable(enum media_codec codec, struct nal nal, unsigned temporal_max);

/* First slice of its picture: first_mb_in_slice is 0, or first_slice_segment_in_pic_flag. */
bool nal_is_first_slice(enum media_codec codec, struct nal nal);

enum nal_slice_kind { NAL_SLICE_UNKNOWN, NAL_SLICE_P, NAL_SLICE_B, NAL_SLICE_I };

/* H.264 slice_type (7.4.3), SP and SI counted as P and I. For H.265, and for what is no slice,
 * always NAL_SLICE_UNKNOWN: encoders use B slices for forward-only prediction there, so the type
 * would say nothing about order. */
enum nal_slice_kind nal_slice_kind(enum media_codec codec, struct nal nal);

/* Next unit behind a length of `length_size` (1 .. 4) bytes; empty units are stepped over.
 * ERR_FORMAT when a length reaches past the end, ERR_NOT_FOUND at the end. */
enum err nal_next(struct reader *r, unsigned length_size, struct nal *out);

struct nal_h264_sps {
	uint8_t profile, constraints, level;
	uint8_t chroma_format;		  /* 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4 */
	uint8_t depth_luma, depth_chroma; /* bits, 8 .. 14 */
	int8_t reorder_frames;	/* most frames that precede one in decoding and follow it in output;
	                        * -1 = the set does not say. 0 means: there are no B-frames */
	uint16_t width, height; /* pixels, after cropping */
};

/* ERR_FORMAT when it is no SPS, is cut short, or has values out of range. */
enum err nal_parse_h264_sps(struct nal nal, struct nal_h264_sps *out);

struct nal_h265_sps {
	uint8_t profile_tier_level[12]; /* the general_ part, as hvcC wants it (14496-15 8.3.3) */
	uint8_t temporal_layers;	/* 1 .. 7 */
	bool temporal_nested;
	uint8_t chroma_format;
	uint8_t depth_luma, depth_chroma; /* bits, 8 .. 16 */
	uint16_t width, height;		  /* pixels, after the conformance window */
};

enum err nal_parse_h265_sps(struct nal nal, struct nal_h265_sps *out);

#endif

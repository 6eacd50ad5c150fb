/* SPDX-License-Identifier: Apache-2.0
 *
 * H.264 payloads, RFC 6184, packetization-mode 1: single NAL units, STAP-A (5.7.1), FU-A (5.8). The
 * work is in payload_nal.c; here are the header bits.
 */
#include "actors/stream/payload_format.h"

enum { FORBIDDEN_BIT = 0x80, REF_IDC_MASK = 0x60, TYPE_MASK = 0x1f };

/* 5.7.1: the F bits or'ed, the highest NRI */
static void write_together(struct writer *w, const struct nal *units, unsigned count)
{
	uint8_t forbidden = 0, ref_idc = 0;

	for (unsigned i = 0; i < count; i++) {
		uint8_t idc = units[i].data[0] & REF_IDC_MASK;
		forbidden |= units[i].data[0] & FORBIDDEN_BIT;
		ref_idc = idc > ref_idc ? idc : ref_idc;
	}
	write_u8(w, forbidden | ref_idc | NAL_H264_STAP_A);
}

static void write_fragment(struct writer *w, const uint8_t *header, bool first, bool last)
{
	write_u8(w, (uint8_t)((header[0] & ~TYPE_MASK) | NAL_H264_FU_A));
	write_u8(w, (uint8_t)(first << 7 | last << 6 | (header[0] & TYPE_MASK)));
}

static void unit_header(const uint8_t *payload, uint8_t *header)
{
	header[0] = (uint8_t)((payload[0] & ~TYPE_MASK) | (payload[1] & TYPE_MASK));
}

static const struct payload_nal_shape shape = {
	.codec = MEDIA_H264,
	.header_size = 1,
	.fragment_type = NAL_H264_FU_A,
	.together_type = NAL_H264_STAP_A,
	.write_together = write_together,
	.write_fragment = write_fragment,
	.unit_header = unit_header,
};

static enum err look(
	struct payload_inspector *s, const uint8_t *payload, size_t size, struct payload_view *out)
{
	return payload_nal_look(&shape, s, payload, size, out);
}

static enum err begin(struct payload_cut *cut)
{
	return payload_nal_begin(&shape, cut);
}

static bool next(struct payload_cut *cut, struct writer *w)
{
	return payload_nal_next(&shape, cut, w);
}

static enum err join(struct assembler *a, struct writer *w, const uint8_t *payload, size_t size)
{
	return payload_nal_join(&shape, a, w, payload, size);
}

const struct payload_format payload_h264_format = {look, begin, next, join};

/* SPDX-License-Identifier: Apache-2.0
 *
 * H.265 payloads, RFC 7798 without DONL (sprop-max-don-diff 0): single NAL units (4.4.1), AP
 * (4.4.2), FU (4.4.3). The work is in payload_nal.c; here are the header bits.
 *
 *   byte 0: F(1) type(6) layer id's high bit(1)
 *   byte 1: layer id's low bits(5) temporal id + 1 (3)
 */
#include "actors/stream/payload_format.h"

enum { KEEP_MASK = 0x81, FU_TYPE_MASK = 0x3f, TID_MASK = 0x07 };

static unsigned layer_id(const struct nal *nal)
{
	return (nal->data[0] & 1u) << 5 | nal->data[1] >> 3;
}

/* 4.4.2: the F bits or'ed, the lowest layer id, the lowest temporal id */
static void write_together(struct writer *w, const struct nal *units, unsigned count)
{
	unsigned forbidden = 0, layer = 63, temporal = TID_MASK;

	for (unsigned i = 0; i < count; i++) {
		unsigned tid = units[i].data[1] & TID_MASK;
		forbidden |= units[i].data[0] & 0x80u;
		layer = layer_id(&units[i]) < layer ? layer_id(&units[i]) : layer;
		temporal = tid < temporal ? tid : temporal;
	}
	write_u8(w, (uint8_t)(forbidden | NAL_H265_AP << 1 | layer >> 5));
	write_u8(w, (uint8_t)(layer << 3 | temporal));
}

static void write_fragment(struct writer *w, const uint8_t *header, bool first, bool last)
{
	write_u8(w, (uint8_t)((header[0] & KEEP_MASK) | NAL_H265_FU << 1));
	write_u8(w, header[1]);
	write_u8(w, (uint8_t)(first << 7 | last << 6 | nal_h265_type(header[0])));
}

static void unit_header(const uint8_t *payload, uint8_t *header)
{
	header[0] = (uint8_t)((payload[0] & KEEP_MASK) | (payload[2] & FU_TYPE_MASK) << 1);
	header[1] = payload[1];
}

static const struct payload_nal_shape shape = {
	.codec = MEDIA_H265,
	.header_size = 2,
	.fragment_type = NAL_H265_FU,
	.together_type = NAL_H265_AP,
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

const struct payload_format payload_h265_format = {look, begin, next, join};

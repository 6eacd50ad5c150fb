/* SPDX-License-Identifier: Apache-2.0
 *
 * VP9 payloads, RFC 9628, flexible and non-flexible mode. What we packetise is non-flexible without
 * picture id (the reason stands in payload_vp8.c) and without layers; keyframes say their size in a
 * scalability structure.
 *
 *   I P L F B E V Z   then with I: picture id; L: TID(3) U SID(3) D, and TL0PICIDX when not F;
 *   F and P: up to three reference distances; V: scalability structure
 */
#include "actors/stream/payload_format.h"
#include "actors/stream/vp9.h"

enum {
	DESCRIPTOR_I = 0x80,
	DESCRIPTOR_P = 0x40,
	DESCRIPTOR_L = 0x20,
	DESCRIPTOR_F = 0x10,
	DESCRIPTOR_B = 0x08,
	DESCRIPTOR_E = 0x04,
	DESCRIPTOR_V = 0x02,
	DISTANCES_MAX = 3,	/* P_DIFF, 4.2 */
	STRUCTURE_Y = 0x10,	/* sizes are there */
	STRUCTURE_G = 0x08,	/* picture group is there */
	STRUCTURE_SIZE = 1 + 4, /* of what we write: one layer, its width and height */
};

struct descriptor {
	bool begins; /* B: first packet of a layer's frame */
	uint8_t spatial, temporal;
	uint16_t width, height; /* of the largest layer, 0 = not told */
};

/* 4.2.1 */
static void read_structure(struct reader *r, struct descriptor *d)
{
	uint8_t head = read_u8(r);
	unsigned layers = (head >> 5) + 1u;

	for (unsigned i = 0; head & STRUCTURE_Y && i < layers; i++) {
		d->width = read_u16(r);
		d->height = read_u16(r);
	}
	unsigned pictures = head & STRUCTURE_G ? read_u8(r) : 0;
	for (unsigned i = 0; i < pictures && !r->bad; i++)
		read_bytes(r, read_u8(r) >> 2 & 3);
}

static enum err read_descriptor(struct reader *r, struct descriptor *d)
{
	uint8_t first = read_u8(r);

	*d = (struct descriptor){.begins = first & DESCRIPTOR_B};
	if (first & DESCRIPTOR_I && read_u8(r) & 0x80)
		read_u8(r); /* a picture id of 15 bits */
	if (first & DESCRIPTOR_L) {
		uint8_t layer = read_u8(r);
		d->temporal = layer >> 5;
		d->spatial = layer >> 1 & 7;
		if (!(first & DESCRIPTOR_F))
			read_u8(r); /* TL0PICIDX */
	}
	if (first & DESCRIPTOR_F && first & DESCRIPTOR_P) {
		int count = 1;
		while (read_u8(r) & 1) {
			if (++count > DISTANCES_MAX)
				return ERR_FORMAT;
		}
	}
	if (first & DESCRIPTOR_V)
		read_structure(r, d);
	return r->bad || !reader_left(r) ? ERR_FORMAT : ERR_OK;
}

static enum err look(
	struct payload_inspector *s, const uint8_t *payload, size_t size, struct payload_view *out)
{
	struct reader r = reader_of(payload, size);
	struct descriptor d;
	struct vp9_head head;

	(void)s;
	if (read_descriptor(&r, &d))
		return ERR_FORMAT;
	out->layer = (uint8_t)(d.spatial << 4 | d.temporal);
	if (d.begins)
		out->start = d.spatial ? PAYLOAD_START_MAYBE : PAYLOAD_START_YES;
	if (d.width && d.height) {
		out->width = d.width;
		out->height = d.height;
	}
	if (!d.begins || d.spatial)
		return ERR_OK;
	if (vp9_parse_head(r.at, reader_left(&r), &head))
		return ERR_FORMAT;
	out->keyframe = head.keyframe;
	if (head.keyframe && !out->width) {
		out->width = head.width;
		out->height = head.height;
	}
	/* Whether more frames follow in the picture (layers, a superframe) is not known yet; only
	 * the last layer's word would do. A descriptor without layers is taken for a single
	 * frame. */
	if (!(payload[0] & DESCRIPTOR_L) && !head.repeats)
		out->use = head.refresh ? PAYLOAD_USE_REFERENCE : PAYLOAD_USE_NONE;
	else
		out->use = PAYLOAD_USE_REFERENCE;
	return ERR_OK;
}

static enum err begin(struct payload_cut *cut)
{
	const uint8_t *frame = cut->units.at;
	size_t size = reader_left(&cut->units);
	struct vp9_head head;

	if (vp9_parse_head(frame, size, &head))
		return ERR_FORMAT;
	if (head.keyframe)
		cut->flags |= MEDIA_KEYFRAME;
	else if (!head.repeats && !head.refresh && !vp9_is_superframe(frame, size))
		cut->flags |= MEDIA_DISCARDABLE;
	cut->unit_header[0] = head.inter || head.repeats ? DESCRIPTOR_P : 0;
	cut->at = frame;
	cut->left = size;
	payload_split_evenly(cut, size + (head.keyframe ? STRUCTURE_SIZE : 0), cut->goal - 1);
	return ERR_OK;
}

static bool next(struct payload_cut *cut, struct writer *w)
{
	bool first = !cut->started;
	bool with_size = first && cut->flags & MEDIA_KEYFRAME;
	size_t size = cut->step - (with_size ? STRUCTURE_SIZE : 0);
	struct vp9_head head;

	size = cut->left < size ? cut->left : size;
	bool last = size == cut->left;
	write_u8(w, (uint8_t)(cut->unit_header[0] | (first ? DESCRIPTOR_B : 0) |
			      (last ? DESCRIPTOR_E : 0) | (with_size ? DESCRIPTOR_V : 0)));
	if (with_size) {
		MUST(vp9_parse_head(cut->at, cut->left, &head) == ERR_OK);
		write_u8(w, STRUCTURE_Y); /* N_S 0: one spatial layer */
		write_u16(w, head.width);
		write_u16(w, head.height);
	}
	write_bytes(w, cut->at, size);
	cut->at += size;
	cut->left -= size;
	return last;
}

static enum err join(struct assembler *a, struct writer *w, const uint8_t *payload, size_t size)
{
	struct reader r = reader_of(payload, size);
	struct descriptor d;

	if (read_descriptor(&r, &d))
		return ERR_FORMAT;
	if (d.spatial) /* layers would need a superframe index; the base plays alone */
		return ERR_OK;
	if (d.begins != (a->used == 0))
		return ERR_FORMAT;
	write_bytes(w, r.at, reader_left(&r));
	return ERR_OK;
}

const struct payload_format payload_vp9_format = {look, begin, next, join};

/* SPDX-License-Identifier: Apache-2.0
 *
 * VP8 payloads, RFC 7741. What we packetise carries the one-byte descriptor only: picture ids would
 * tie a viewer to one source, and without them browsers go by RTP sequence numbers, which stay
 * unbroken over a change of source.
 *
 *   X R N S R PID(3)   then with X: I L T K RSV(4), picture id, TL0PICIDX, TID(2) Y KEYIDX(5)
 */
#include "actors/stream/payload_format.h"

enum {
	DESCRIPTOR_X = 0x80,
	DESCRIPTOR_N = 0x20,
	DESCRIPTOR_S = 0x10,
	DESCRIPTOR_PID = 0x07,
	EXTENSION_I = 0x80,
	EXTENSION_L = 0x40,
	EXTENSION_T = 0x20,
	EXTENSION_K = 0x10,
	KEY_HEAD_SIZE = 10, /* frame tag, start code, width, height: RFC 6386 9.1 */
	SIZE_MASK = 0x3fff, /* the two bits above are scaling */
};

struct descriptor {
	bool starts; /* first packet of the first partition */
	bool unused; /* N: nobody refers to the frame */
	uint8_t temporal;
};

static enum err read_descriptor(struct reader *r, struct descriptor *d)
{
	uint8_t first = read_u8(r);

	*d = (struct descriptor){
		.starts = (first & DESCRIPTOR_S) && !(first & DESCRIPTOR_PID),
		.unused = first & DESCRIPTOR_N,
	};
	if (first & DESCRIPTOR_X) {
		uint8_t extension = read_u8(r);
		if (extension & EXTENSION_I && read_u8(r) & 0x80)
			read_u8(r); /* a picture id of 15 bits */
		if (extension & EXTENSION_L)
			read_u8(r);
		if (extension & (EXTENSION_T | EXTENSION_K)) {
			uint8_t tid = read_u8(r) >> 6;
			d->temporal = extension & EXTENSION_T ? tid : 0;
		}
	}
	return r->bad || !reader_left(r) ? ERR_FORMAT : ERR_OK;
}

static bool is_key(const uint8_t *frame)
{
	return !(frame[0] & 1);
}

static enum err look(
	struct payload_inspector *s, const uint8_t *payload, size_t size, struct payload_view *out)
{
	struct reader r = reader_of(payload, size);
	struct descriptor d;

	(void)s;
	if (read_descriptor(&r, &d))
		return ERR_FORMAT;
	out->start = d.starts ? PAYLOAD_START_YES : PAYLOAD_START_NO;
	out->use = d.unused ? PAYLOAD_USE_NONE : PAYLOAD_USE_REFERENCE;
	out->layer = d.temporal;
	if (!d.starts || !is_key(r.at))
		return ERR_OK;
	out->keyframe = true;
	const uint8_t *head = read_bytes(&r, KEY_HEAD_SIZE);
	if (!head || head[3] != 0x9d || head[4] != 0x01 || head[5] != 0x2a)
		return ERR_FORMAT;
	out->width = (head[6] | head[7] << 8) & SIZE_MASK;
	out->height = (head[8] | head[9] << 8) & SIZE_MASK;
	return ERR_OK;
}

static enum err begin(struct payload_cut *cut)
{
	if (is_key(cut->units.at))
		cut->flags |= MEDIA_KEYFRAME;
	cut->at = cut->units.at;
	cut->left = reader_left(&cut->units);
	payload_split_evenly(cut, cut->left, cut->goal - 1);
	return ERR_OK;
}

static bool next(struct payload_cut *cut, struct writer *w)
{
	size_t size = cut->left < cut->step ? cut->left : cut->step;

	write_u8(w, cut->started ? 0 : DESCRIPTOR_S);
	write_bytes(w, cut->at, size);
	cut->at += size;
	cut->left -= size;
	return !cut->left;
}

static enum err join(struct assembler *a, struct writer *w, const uint8_t *payload, size_t size)
{
	struct reader r = reader_of(payload, size);
	struct descriptor d;

	if (read_descriptor(&r, &d) || d.starts != (a->used == 0))
		return ERR_FORMAT;
	write_bytes(w, r.at, reader_left(&r));
	return ERR_OK;
}

const struct payload_format payload_vp8_format = {look, begin, next, join};

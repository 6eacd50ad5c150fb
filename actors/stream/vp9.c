/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a VP9 frame: see vp9.h.
 */
#include "actors/stream/vp9.h"

#include "actors/stream/bitreader.h"

enum {
	FRAME_MARKER = 2,
	SYNC_CODE = 0x498342,
	COLOR_RGB = 7,
	CHROMA_420 = 1, /* colocated with luma (0, 0) */
	CHROMA_422 = 2,
	CHROMA_444 = 3,
};

/* 6.2.2 color_config */
static void read_color(struct bit_reader *r, struct vp9_head *head)
{
	bool more = head->profile == 1 || head->profile == 3;

	head->depth = 8;
	if (head->profile >= 2)
		head->depth = bits_read_flag(r) ? 12 : 10;
	if (bits_read(r, 3) == COLOR_RGB) {
		head->chroma = CHROMA_444;
		bits_skip(r, more ? 1 : 0);
		return;
	}
	bits_skip(r, 1); /* color_range */
	head->chroma = CHROMA_420;
	if (more) {
		bool x = bits_read_flag(r);
		bool y = bits_read_flag(r);
		bits_skip(r, 1);
		head->chroma = x ? y ? CHROMA_420 : CHROMA_422 : CHROMA_444;
	}
}

enum err vp9_parse_head(const uint8_t *data, size_t size, struct vp9_head *out)
{
	struct bit_reader r = bits_of(data, size);

	*out = (struct vp9_head){0};
	if (bits_read(&r, 2) != FRAME_MARKER)
		return ERR_FORMAT;
	uint32_t low = bits_read_flag(&r);
	out->profile = (uint8_t)(bits_read_flag(&r) << 1 | low);
	if (out->profile == 3 && bits_read_flag(&r))
		return ERR_FORMAT;
	out->repeats = bits_read_flag(&r);
	if (out->repeats)
		return r.bad ? ERR_FORMAT : ERR_OK;
	out->keyframe = !bits_read_flag(&r);
	bool shown = bits_read_flag(&r);
	bool resilient = bits_read_flag(&r);
	if (out->keyframe) {
		if (bits_read(&r, 24) != SYNC_CODE)
			return ERR_FORMAT;
		read_color(&r, out);
		out->width = (uint16_t)bits_read(&r, 16);
		out->height = (uint16_t)bits_read(&r, 16);
		/* both are stored less one: 65536 does not fit our type and is refused */
		if (r.bad || ++out->width == 0 || ++out->height == 0)
			return ERR_FORMAT;
		out->refresh = 0xff;
		return ERR_OK;
	}
	bool intra = !shown && bits_read_flag(&r);
	bits_skip(&r, resilient ? 0 : 2); /* reset_frame_context */
	if (intra) {
		if (bits_read(&r, 24) != SYNC_CODE)
			return ERR_FORMAT;
		if (out->profile > 0)
			read_color(&r, out);
	}
	out->inter = !intra;
	out->refresh = (uint8_t)bits_read(&r, 8);
	return r.bad ? ERR_FORMAT : ERR_OK;
}

bool vp9_is_superframe(const uint8_t *frame, size_t size)
{
	if (!size || (frame[size - 1] & 0xe0) != 0xc0)
		return false;

	size_t frames = (frame[size - 1] & 7u) + 1;
	size_t bytes = (frame[size - 1] >> 3 & 3u) + 1;
	size_t index = 2 + frames * bytes;
	return size >= index && frame[size - index] == frame[size - 1];
}

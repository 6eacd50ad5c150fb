/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/client/flv_probe.h"

/* Gathers up to `size` bytes in head; true when they are there. */
static bool gather(struct flv_probe *p, struct reader *in, size_t size)
{
	size_t wanted = size > p->kept ? size - p->kept : 0;

	if (wanted > reader_left(in))
		wanted = reader_left(in);
	if (wanted) {
		memcpy(p->head + p->kept, read_bytes(in, wanted), wanted);
		p->kept += (uint8_t)wanted;
	}
	return p->kept >= size;
}

static enum err begin(struct flv_probe *p, struct reader *in)
{
	struct reader header;
	enum err err;

	if (!gather(p, in, FLV_FILE_HEADER_SIZE))
		return ERR_AGAIN;
	header = reader_of(p->head, FLV_FILE_HEADER_SIZE);
	err = flv_read_file_header(&header);
	p->begun = !err;
	p->kept = 0;
	return err ? ERR_FORMAT : ERR_OK;
}

static void look(const struct flv_probe *p, struct flv_probe_tag *tag)
{
	const uint8_t *body = p->head + FLV_TAG_HEADER_SIZE;
	size_t size = (size_t)p->kept - FLV_TAG_HEADER_SIZE;
	struct flv_video video;
	struct flv_audio audio;

	*tag = (struct flv_probe_tag){
		.type = p->head[0] & 0x1f,
		.time_ms = (uint32_t)p->head[7] << 24 | (uint32_t)p->head[4] << 16 |
			   (uint32_t)p->head[5] << 8 | p->head[6],
		.size = p->size + FLV_TAG_HEADER_SIZE + FLV_TAG_TRAILER_SIZE,
	};
	if (tag->type == FLV_VIDEO && !flv_video_parse(body, size, &video)) {
		tag->frame = video.packet == FLV_FRAMES;
		tag->keyframe = tag->frame && video.keyframe;
	} else if (tag->type == FLV_AUDIO && !flv_audio_parse(body, size, &audio)) {
		tag->frame = audio.packet == FLV_FRAMES;
	}
}

enum err flv_probe_take(struct flv_probe *p, struct reader *in, struct flv_probe_tag *tag)
{
	if (!p->begun) {
		enum err err = begin(p, in);

		if (err)
			return err;
	}
	if (!p->left) {
		size_t body;

		if (!gather(p, in, FLV_TAG_HEADER_SIZE))
			return ERR_AGAIN;
		p->size = (uint32_t)p->head[1] << 16 | (uint32_t)p->head[2] << 8 | p->head[3];
		body = p->size < FLV_BODY_HEADER_MAX ? p->size : FLV_BODY_HEADER_MAX;
		if (p->head[0] & 0x20 || !gather(p, in, FLV_TAG_HEADER_SIZE + body))
			return p->head[0] & 0x20 ? ERR_FORMAT : ERR_AGAIN;
		p->left = p->size - (uint32_t)body + FLV_TAG_TRAILER_SIZE;
	}
	size_t step = p->left < reader_left(in) ? p->left : reader_left(in);

	read_bytes(in, step);
	p->left -= (uint32_t)step;
	if (p->left)
		return ERR_AGAIN;
	look(p, tag);
	p->kept = 0;
	return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Codec configuration records: see codec_config.h. Video is here; audio is in audio_config.c.
 */
#include "actors/stream/codec_config.h"

#include "actors/stream/obu.h"
#include "actors/stream/vp9.h"

enum {
	RECORD_LENGTH_SIZE = 4, /* of the records we write */
	KINDS_MAX = 3,
	HVCC_FIXED_SIZE = 21, /* bytes in front of the one with lengthSizeMinusOne */
	VPCC_UNSPECIFIED = 2, /* colour primaries, transfer, matrix */
};

static bool is_nal_codec(unsigned codec)
{
	return codec == MEDIA_H264 || codec == MEDIA_H265;
}

bool codec_config_is_valid(const struct codec_config *c)
{
	if (c->codec >= MEDIA_CODEC_COUNT || c->sets_size > CODEC_CONFIG_SETS_MAX ||
		c->temporal_layers > NAL_H265_TEMPORAL_MAX + 1)
		return false;
	if (!is_nal_codec(c->codec))
		return true;

	struct reader r = reader_of(c->sets, c->sets_size);
	struct nal nal;
	enum err err;
	while ((err = nal_next(&r, 2, &nal)) == ERR_OK)
		;
	return err == ERR_NOT_FOUND &&
	       (c->length_size == 1 || c->length_size == 2 || c->length_size == 4);
}

bool codec_config_equal(const struct codec_config *a, const struct codec_config *b)
{
	/* width and height come from the sets, or stand for them (VP9) */
	return a->codec == b->codec && a->width == b->width && a->height == b->height &&
	       a->profile == b->profile && a->depth == b->depth && a->chroma == b->chroma &&
	       a->sets_size == b->sets_size && !memcmp(a->sets, b->sets, a->sets_size);
}

static enum err add_set(struct codec_config *c, struct nal nal)
{
	struct writer w = writer_of(c->sets, sizeof(c->sets));

	w.at += c->sets_size;
	write_u16(&w, (uint16_t)nal.size);
	write_bytes(&w, nal.data, nal.size);
	if (w.bad || nal.size > UINT16_MAX)
		return ERR_TOO_LARGE;
	c->sets_size = (uint16_t)writer_used(&w);
	return ERR_OK;
}

/* Takes the picture size from the first SPS. */
static enum err read_sps(struct codec_config *c)
{
	struct reader r = reader_of(c->sets, c->sets_size);
	struct nal_h264_sps h264;
	struct nal_h265_sps h265;
	struct nal nal;
	enum err err = ERR_NOT_FOUND;

	while (nal_next(&r, 2, &nal) == ERR_OK) {
		if (nal_classify(c->codec, nal) != NAL_SPS)
			continue;
		if (c->codec == MEDIA_H264) {
			err = nal_parse_h264_sps(nal, &h264);
			c->width = h264.width;
			c->height = h264.height;
			c->reorder_frames = h264.reorder_frames;
		} else {
			err = nal_parse_h265_sps(nal, &h265);
			c->width = h265.width;
			c->height = h265.height;
			c->reorder_frames = -1;
			c->temporal_layers = h265.temporal_layers;
		}
		break;
	}
	return err;
}

/* `count` sets of 2-byte length each; those that are not of the kind `wanted` are left out. */
static enum err read_sets(
	struct codec_config *c, struct reader *r, unsigned count, enum nal_class wanted)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t size = read_u16(r);
		const uint8_t *data = read_bytes(r, size);
		struct nal nal = {.data = data, .size = size};
		if (!data)
			return ERR_FORMAT;
		if (!size || nal_classify(c->codec, nal) != wanted)
			continue;
		enum err err =
			taken++ < CODEC_CONFIG_SETS_OF_KIND_MAX ? add_set(c, nal) : ERR_TOO_LARGE;
		if (err)
			return err;
	}
	return ERR_OK;
}

static enum err set_length_size(struct codec_config *c, uint8_t byte)
{
	c->length_size = (byte & 3) + 1;
	return c->length_size == 3 ? ERR_FORMAT : ERR_OK;
}

static enum err parse_avcc(struct codec_config *c, struct reader *r)
{
	if (read_u8(r) != 1) /* configurationVersion */
		return ERR_FORMAT;
	read_bytes(r, 3); /* profile, compatibility, level: the SPS has them */
	enum err err = set_length_size(c, read_u8(r));
	if (!err)
		err = read_sets(c, r, read_u8(r) & 0x1f, NAL_SPS);
	if (!err)
		err = read_sets(c, r, read_u8(r), NAL_PPS);
	if (r->bad)
		return ERR_FORMAT;
	return err ? err : read_sps(c);
}

/* Arrays may stand in any order; they are taken kind by kind so that ours is fixed. */
static enum err read_hvcc_arrays(struct codec_config *c, struct reader r, enum nal_class wanted)
{
	unsigned arrays = read_u8(&r);
	enum err err = ERR_OK;

	for (unsigned i = 0; i < arrays && !err; i++) {
		read_u8(&r); /* array_completeness, NAL_unit_type: the units have it */
		unsigned count = read_u16(&r);
		err = r.bad ? ERR_FORMAT : read_sets(c, &r, count, wanted);
	}
	return r.bad ? ERR_FORMAT : err;
}

static enum err parse_hvcc(struct codec_config *c, struct reader *r)
{
	const uint8_t *fixed = read_bytes(r, HVCC_FIXED_SIZE);

	/* version 0 was written by early muxers */
	if (!fixed || fixed[0] > 1)
		return ERR_FORMAT;
	enum err err = set_length_size(c, read_u8(r));
	for (int kind = NAL_VPS; kind <= NAL_PPS && !err; kind++)
		err = read_hvcc_arrays(c, *r, (enum nal_class)kind);
	return err ? err : read_sps(c);
}

/* Takes the first sequence header of `r`, with a size field. */
static enum err read_sequence(struct codec_config *c, struct reader *r)
{
	struct obu_sequence sequence;
	struct obu unit;
	enum err err;

	while ((err = obu_next(r, &unit)) == ERR_OK) {
		if (unit.type != OBU_SEQUENCE_HEADER)
			continue;
		err = obu_parse_sequence(&unit, &sequence);
		if (err)
			return err;
		struct writer w = writer_of(c->sets, sizeof(c->sets));
		write_u8(&w, unit.header[0] | OBU_HAS_SIZE);
		write_bytes(&w, &unit.header[1], unit.header_size - 1u);
		obu_write_leb128(&w, (uint32_t)unit.size);
		write_bytes(&w, unit.data, unit.size);
		if (w.bad)
			return ERR_TOO_LARGE;
		c->sets_size = (uint16_t)writer_used(&w);
		c->width = sequence.width;
		c->height = sequence.height;
		return ERR_OK;
	}
	return err;
}

static enum err parse_av1c(struct codec_config *c, struct reader *r)
{
	if (read_u8(r) != 0x81) /* marker, version 1 */
		return ERR_FORMAT;
	read_bytes(r, 3);
	if (r->bad)
		return ERR_FORMAT;
	/* configOBUs may be empty: then the sequence header is in each keyframe */
	enum err err = read_sequence(c, r);
	return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err parse_vpcc(struct codec_config *c, struct reader *r)
{
	read_u32(r); /* version, flags */
	c->profile = read_u8(r);
	c->level = read_u8(r);
	uint8_t format = read_u8(r);
	read_bytes(r, 3 + 2);
	c->depth = format >> 4;
	c->chroma = format >> 1 & 7;
	return r->bad ? ERR_FORMAT : ERR_OK;
}

static const struct {
	enum err (*parse)(struct codec_config *c, struct reader *r);
} record_parsers[MEDIA_CODEC_COUNT] = {
	[MEDIA_H264] = {parse_avcc},
	[MEDIA_H265] = {parse_hvcc},
	[MEDIA_AV1] = {parse_av1c},
	[MEDIA_VP9] = {parse_vpcc},
};

enum err codec_config_parse(
	struct codec_config *out, enum media_codec codec, const uint8_t *record, size_t size)
{
	struct reader r = reader_of(record, size);

	memset(out, 0, sizeof(*out));
	if ((unsigned)codec >= MEDIA_CODEC_COUNT || !record_parsers[codec].parse)
		return ERR_UNSUPPORTED;
	out->codec = (uint8_t)codec;
	out->reorder_frames = -1;
	enum err err = record_parsers[codec].parse(out, &r);
	if (err)
		memset(out, 0, sizeof(*out));
	return err == ERR_NOT_FOUND ? ERR_FORMAT : err;
}

static enum err sets_from_frame(struct codec_config *c, const uint8_t *frame, size_t size)
{
	unsigned seen[NAL_PPS + 1] = {0};
	enum nal_class first = c->codec == MEDIA_H265 ? NAL_VPS : NAL_SPS;

	c->length_size = RECORD_LENGTH_SIZE;
	for (int kind = first; kind <= NAL_PPS; kind++) {
		struct reader r = reader_of(frame, size);
		struct nal nal;
		enum err err;
		while ((err = nal_next(&r, RECORD_LENGTH_SIZE, &nal)) == ERR_OK) {
			if (nal_classify(c->codec, nal) != (enum nal_class)kind)
				continue;
			if (++seen[kind] > CODEC_CONFIG_SETS_OF_KIND_MAX)
				return ERR_TOO_LARGE;
			err = add_set(c, nal);
			if (err)
				return err;
		}
		if (err != ERR_NOT_FOUND)
			return err;
		if (!seen[kind])
			return ERR_NOT_FOUND;
	}
	return read_sps(c);
}

static enum err vp9_from_frame(struct codec_config *c, const uint8_t *frame, size_t size)
{
	struct vp9_head head;
	enum err err = vp9_parse_head(frame, size, &head);

	if (err)
		return err;
	if (!head.keyframe)
		return ERR_NOT_FOUND;
	c->profile = head.profile;
	c->depth = head.depth;
	c->chroma = head.chroma;
	c->width = head.width;
	c->height = head.height;
	return ERR_OK;
}

enum err codec_config_from_frame(
	struct codec_config *out, enum media_codec codec, const uint8_t *frame, size_t size)
{
	struct reader r = reader_of(frame, size);
	enum err err = ERR_UNSUPPORTED;

	memset(out, 0, sizeof(*out));
	out->codec = (uint8_t)codec;
	out->reorder_frames = -1;
	if (is_nal_codec(codec))
		err = sets_from_frame(out, frame, size);
	else if (codec == MEDIA_AV1)
		err = read_sequence(out, &r);
	else if (codec == MEDIA_VP9)
		err = vp9_from_frame(out, frame, size);
	if (err)
		memset(out, 0, sizeof(*out));
	return err;
}

static unsigned count_sets(const struct codec_config *c, enum nal_class wanted)
{
	struct reader r = reader_of(c->sets, c->sets_size);
	struct nal nal;
	unsigned count = 0;

	while (nal_next(&r, 2, &nal) == ERR_OK)
		count += nal_classify(c->codec, nal) == wanted;
	return count;
}

static void write_sets(struct writer *w, const struct codec_config *c, enum nal_class wanted)
{
	struct reader r = reader_of(c->sets, c->sets_size);
	struct nal nal;

	while (nal_next(&r, 2, &nal) == ERR_OK) {
		if (nal_classify(c->codec, nal) != wanted)
			continue;
		write_u16(w, (uint16_t)nal.size);
		write_bytes(w, nal.data, nal.size);
	}
}

static struct nal first_sps(const struct codec_config *c)
{
	struct reader r = reader_of(c->sets, c->sets_size);
	struct nal nal;

	while (nal_next(&r, 2, &nal) == ERR_OK) {
		if (nal_classify(c->codec, nal) == NAL_SPS)
			return nal;
	}
	return (struct nal){0};
}

static enum err write_avcc(struct writer *w, const struct codec_config *c)
{
	struct nal_h264_sps sps;

	if (nal_parse_h264_sps(first_sps(c), &sps))
		return ERR_PHASE;
	write_u8(w, 1);
	write_u8(w, sps.profile);
	write_u8(w, sps.constraints);
	write_u8(w, sps.level);
	write_u8(w, 0xfc | (RECORD_LENGTH_SIZE - 1));
	write_u8(w, (uint8_t)(0xe0 | (count_sets(c, NAL_SPS) & 0x1f)));
	write_sets(w, c, NAL_SPS);
	write_u8(w, (uint8_t)count_sets(c, NAL_PPS));
	write_sets(w, c, NAL_PPS);
	/* 5.3.3.1.2: the profiles that have this tail */
	if (sps.profile == 100 || sps.profile == 110 || sps.profile == 122 || sps.profile == 144) {
		write_u8(w, 0xfc | sps.chroma_format);
		write_u8(w, (uint8_t)(0xf8 | (sps.depth_luma - 8)));
		write_u8(w, (uint8_t)(0xf8 | (sps.depth_chroma - 8)));
		write_u8(w, 0); /* numOfSequenceParameterSetExt */
	}
	return ERR_OK;
}

static enum err write_hvcc(struct writer *w, const struct codec_config *c)
{
	static const uint8_t types[KINDS_MAX] = {NAL_H265_VPS, NAL_H265_SPS, NAL_H265_PPS};
	struct nal_h265_sps sps;

	if (nal_parse_h265_sps(first_sps(c), &sps))
		return ERR_PHASE;
	write_u8(w, 1);
	write_bytes(w, sps.profile_tier_level, sizeof(sps.profile_tier_level));
	write_u16(w, 0xf000); /* min_spatial_segmentation_idc 0: unknown */
	write_u8(w, 0xfc);    /* parallelismType 0: unknown */
	write_u8(w, 0xfc | sps.chroma_format);
	write_u8(w, (uint8_t)(0xf8 | ((sps.depth_luma - 8) & 7)));
	write_u8(w, (uint8_t)(0xf8 | ((sps.depth_chroma - 8) & 7)));
	write_u16(w, 0); /* avgFrameRate: unspecified */
	write_u8(w, (uint8_t)(sps.temporal_layers << 3 | sps.temporal_nested << 2 |
			      (RECORD_LENGTH_SIZE - 1)));
	write_u8(w, KINDS_MAX);
	for (int i = 0; i < KINDS_MAX; i++) {
		enum nal_class kind = (enum nal_class)(NAL_VPS + i);
		write_u8(w, types[i]); /* array_completeness 0: sets travel in band as well */
		write_u16(w, (uint16_t)count_sets(c, kind));
		write_sets(w, c, kind);
	}
	return ERR_OK;
}

static enum err write_av1c(struct writer *w, const struct codec_config *c)
{
	struct reader r = reader_of(c->sets, c->sets_size);
	struct obu_sequence s;
	struct obu unit;

	if (obu_next(&r, &unit) || obu_parse_sequence(&unit, &s))
		return ERR_PHASE;
	write_u8(w, 0x81);
	write_u8(w, (uint8_t)(s.profile << 5 | s.level));
	write_u8(w, (uint8_t)(s.tier << 7 | (s.depth > 8) << 6 | (s.depth == 12) << 5 |
			      s.monochrome << 4 | s.subsampling_x << 3 | s.subsampling_y << 2 |
			      s.sample_position));
	write_u8(w, 0); /* no initial presentation delay */
	write_bytes(w, c->sets, c->sets_size);
	return ERR_OK;
}

static enum err write_vpcc(struct writer *w, const struct codec_config *c)
{
	if (!c->depth)
		return ERR_PHASE;
	write_u32(w, 0x01000000); /* version 1, no flags */
	write_u8(w, c->profile);
	write_u8(w, c->level);
	write_u8(w, (uint8_t)(c->depth << 4 | (c->chroma & 7) << 1));
	for (int i = 0; i < 3; i++)
		write_u8(w, VPCC_UNSPECIFIED);
	write_u16(w, 0); /* codecInitializationDataSize */
	return ERR_OK;
}

static const struct {
	enum err (*write)(struct writer *w, const struct codec_config *c);
} record_writers[MEDIA_CODEC_COUNT] = {
	[MEDIA_H264] = {write_avcc},
	[MEDIA_H265] = {write_hvcc},
	[MEDIA_AV1] = {write_av1c},
	[MEDIA_VP9] = {write_vpcc},
};

enum err codec_config_write(
	const struct codec_config *c, uint8_t *buffer, size_t capacity, size_t *written)
{
	struct writer w = writer_of(buffer, capacity);

	*written = 0;
	if (c->codec == MEDIA_CODEC_NONE || !codec_config_is_valid(c))
		return ERR_PHASE;
	if (!record_writers[c->codec].write)
		return ERR_UNSUPPORTED;
	enum err err = record_writers[c->codec].write(&w, c);
	if (err || w.bad)
		return err ? err : ERR_NO_SPACE;
	*written = writer_used(&w);
	return ERR_OK;
}

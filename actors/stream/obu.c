/* SPDX-License-Identifier: Apache-2.0
 *
 * AV1 open bitstream units: see obu.h. Field order is that of the specification's syntax tables.
 */
#include "actors/stream/obu.h"

#include "actors/stream/bitreader.h"

enum {
	FRAME_KEY = 0,
	FRAME_INTRA_ONLY = 2,
	FRAME_SWITCH = 3,
	SELECT = 2,	     /* SELECT_SCREEN_CONTENT_TOOLS, SELECT_INTEGER_MV */
	PRIMARIES_BT709 = 1, /* the three values of 5.5.2 that mean sRGB */
	TRANSFER_SRGB = 13,
	MATRIX_IDENTITY = 0,
	UNSPECIFIED = 2,
	LEVEL_WITH_TIER = 7, /* seq_level_idx above this has a tier bit */
	REFRESH_ALL = 0xff,
};

uint32_t obu_read_leb128(struct reader *r)
{
	uint64_t value = 0;

	for (int i = 0; i < OBU_LEB128_MAX; i++) {
		uint8_t byte = read_u8(r);
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			if (value <= UINT32_MAX)
				return (uint32_t)value;
			break;
		}
	}
	r->bad = true;
	return 0;
}

void obu_write_leb128(struct writer *w, uint32_t value)
{
	for (; value > 0x7f; value >>= 7)
		write_u8(w, (uint8_t)(value | 0x80));
	write_u8(w, (uint8_t)value);
}

size_t obu_leb128_size(uint32_t value)
{
	size_t size = 1;

	for (; value > 0x7f; value >>= 7)
		size++;
	return size;
}

enum err obu_next(struct reader *r, struct obu *out)
{
	if (!reader_left(r))
		return ERR_NOT_FOUND;

	uint8_t header = read_u8(r);
	uint8_t extension = header & OBU_HAS_EXTENSION ? read_u8(r) : 0;
	size_t size = header & OBU_HAS_SIZE ? obu_read_leb128(r) : reader_left(r);
	const uint8_t *data = read_bytes(r, size);
	if (!data || header & 0x80)
		return ERR_FORMAT;
	*out = (struct obu){
		.type = header >> 3 & 0x0f,
		.header = {(uint8_t)(header & ~OBU_HAS_SIZE), extension},
		.header_size = header & OBU_HAS_EXTENSION ? 2 : 1,
		.layer = (uint8_t)((extension >> 3 & 3) << 4 | extension >> 5),
		.data = data,
		.size = size,
	};
	return ERR_OK;
}

bool obu_is_dropped(uint8_t type)
{
	return type == OBU_TEMPORAL_DELIMITER || type == OBU_TILE_LIST || type == OBU_PADDING;
}

/* 4.10.3 */
static void skip_uvlc(struct bit_reader *r)
{
	unsigned zeros = 0;

	while (!r->bad && !bits_read_flag(r))
		zeros++;
	if (zeros < 32)
		bits_skip(r, zeros);
}

struct decoder_model {
	bool present;
	unsigned delay_bits;
};

/* 5.5.3, 5.5.4 */
static struct decoder_model read_timing(struct bit_reader *r)
{
	struct decoder_model model = {0};

	bits_skip(r, 64); /* num_units_in_display_tick, time_scale */
	if (bits_read_flag(r))
		skip_uvlc(r);
	model.present = bits_read_flag(r);
	if (model.present) {
		model.delay_bits = bits_read(r, 5) + 1;
		bits_skip(r, 32 + 5 + 5);
	}
	return model;
}

static void read_operating_points(struct bit_reader *r, struct obu_sequence *s)
{
	struct decoder_model model = {0};

	if (bits_read_flag(r))
		model = read_timing(r);
	s->has_decoder_model = model.present;
	bool initial_delay = bits_read_flag(r);
	unsigned count = bits_read(r, 5) + 1;
	for (unsigned i = 0; i < count && !r->bad; i++) {
		bits_skip(r, 12); /* operating_point_idc */
		uint8_t level = (uint8_t)bits_read(r, 5);
		uint8_t tier = level > LEVEL_WITH_TIER ? (uint8_t)bits_read_flag(r) : 0;
		if (i == 0) {
			s->level = level;
			s->tier = tier;
		}
		if (model.present && bits_read_flag(r))
			bits_skip(r, 2 * model.delay_bits + 1);
		if (initial_delay && bits_read_flag(r))
			bits_skip(r, 4);
	}
}

static void read_frame_ids(struct bit_reader *r, struct obu_sequence *s)
{
	if (!bits_read_flag(r))
		return;
	unsigned delta = bits_read(r, 4) + 2;
	unsigned bits = bits_read(r, 3) + delta + 1;
	if (bits > 16) /* 5.9.2: idLen must not exceed 16 */
		r->bad = true;
	s->frame_id_bits = (uint8_t)bits;
}

static void read_tools(struct bit_reader *r, struct obu_sequence *s)
{
	bits_skip(r, 4); /* interintra, masked compound, warped motion, dual filter */
	bool order_hint = bits_read_flag(r);
	if (order_hint)
		bits_skip(r, 2); /* jnt_comp, ref_frame_mvs */
	s->force_screen_content = bits_read_flag(r) ? SELECT : (uint8_t)bits_read_flag(r);
	s->force_integer_mv = SELECT;
	if (s->force_screen_content > 0 && !bits_read_flag(r))
		s->force_integer_mv = (uint8_t)bits_read_flag(r);
	if (order_hint)
		s->order_hint_bits = (uint8_t)(bits_read(r, 3) + 1);
}

/* 5.5.2 */
static void read_color(struct bit_reader *r, struct obu_sequence *s)
{
	bool high = bits_read_flag(r);
	uint32_t primaries = UNSPECIFIED, transfer = UNSPECIFIED, matrix = UNSPECIFIED;

	s->depth = high ? 10 : 8;
	if (s->profile == 2 && high && bits_read_flag(r))
		s->depth = 12;
	s->monochrome = s->profile == 1 ? 0 : (uint8_t)bits_read_flag(r);
	if (bits_read_flag(r)) {
		primaries = bits_read(r, 8);
		transfer = bits_read(r, 8);
		matrix = bits_read(r, 8);
	}
	if (s->monochrome) {
		bits_skip(r, 1);
		s->subsampling_x = s->subsampling_y = 1;
		return;
	}
	if (primaries == PRIMARIES_BT709 && transfer == TRANSFER_SRGB && matrix == MATRIX_IDENTITY)
		return;	 /* 4:4:4, and no field follows that we keep */
	bits_skip(r, 1); /* color_range */
	if (s->profile == 0) {
		s->subsampling_x = s->subsampling_y = 1;
	} else if (s->profile == 2 && s->depth == 12) {
		s->subsampling_x = (uint8_t)bits_read_flag(r);
		s->subsampling_y = s->subsampling_x ? (uint8_t)bits_read_flag(r) : 0;
	} else if (s->profile == 2) {
		s->subsampling_x = 1;
	}
	if (s->subsampling_x && s->subsampling_y)
		s->sample_position = (uint8_t)bits_read(r, 2);
}

enum err obu_parse_sequence(const struct obu *unit, struct obu_sequence *out)
{
	struct bit_reader r = bits_of(unit->data, unit->size);

	*out = (struct obu_sequence){
		.force_screen_content = SELECT, .force_integer_mv = SELECT, .depth = 8};
	if (unit->type != OBU_SEQUENCE_HEADER)
		return ERR_FORMAT;
	out->profile = (uint8_t)bits_read(&r, 3);
	bits_skip(&r, 1); /* still_picture */
	out->reduced_still = (uint8_t)bits_read_flag(&r);
	if (out->reduced_still)
		out->level = (uint8_t)bits_read(&r, 5);
	else
		read_operating_points(&r, out);
	unsigned width_bits = bits_read(&r, 4) + 1;
	unsigned height_bits = bits_read(&r, 4) + 1;
	uint32_t width = bits_read(&r, width_bits) + 1;
	uint32_t height = bits_read(&r, height_bits) + 1;
	if (!out->reduced_still)
		read_frame_ids(&r, out);
	bits_skip(&r, 3); /* 128x128 superblocks, filter intra, intra edge filter */
	if (!out->reduced_still)
		read_tools(&r, out);
	bits_skip(&r, 3); /* superres, cdef, restoration */
	read_color(&r, out);
	if (r.bad || out->profile > 2 || width > UINT16_MAX || height > UINT16_MAX) {
		*out = (struct obu_sequence){0};
		return ERR_FORMAT;
	}
	out->width = (uint16_t)width;
	out->height = (uint16_t)height;
	out->present = 1;
	return ERR_OK;
}

/* 5.9.2 up to refresh_frame_flags */
enum err obu_parse_frame(const struct obu_sequence *sequence, const uint8_t *data, size_t size,
	struct obu_frame *out)
{
	struct bit_reader r = bits_of(data, size);

	*out = (struct obu_frame){0};
	if (!sequence->present)
		return ERR_PHASE;
	if (sequence->reduced_still) {
		*out = (struct obu_frame){
			.keyframe = true, .refresh_known = true, .refresh = REFRESH_ALL};
		return ERR_OK;
	}
	out->repeats = bits_read_flag(&r);
	if (out->repeats)
		return r.bad ? ERR_FORMAT : ERR_OK;
	uint32_t type = bits_read(&r, 2);
	bool shown = bits_read_flag(&r);
	if (shown && sequence->has_decoder_model) {
		out->keyframe = type == FRAME_KEY; /* a presentation time of unknown size follows */
		return r.bad ? ERR_FORMAT : ERR_OK;
	}
	if (!shown)
		bits_skip(&r, 1); /* showable_frame */
	bool whole = type == FRAME_SWITCH || (type == FRAME_KEY && shown);
	bool resilient = whole || bits_read_flag(&r);
	bits_skip(&r, 1); /* disable_cdf_update */
	uint32_t screen = sequence->force_screen_content == SELECT ? bits_read_flag(&r)
								   : sequence->force_screen_content;
	if (screen && sequence->force_integer_mv == SELECT)
		bits_skip(&r, 1);
	bits_skip(&r, sequence->frame_id_bits);
	if (type != FRAME_SWITCH)
		bits_skip(&r, 1); /* frame_size_override_flag */
	bits_skip(&r, sequence->order_hint_bits);
	if (type != FRAME_KEY && type != FRAME_INTRA_ONLY && !resilient)
		bits_skip(&r, 3); /* primary_ref_frame */
	out->refresh_known = !sequence->has_decoder_model;
	out->refresh = whole ? REFRESH_ALL : (uint8_t)bits_read(&r, 8);
	out->keyframe = type == FRAME_KEY && shown;
	return r.bad ? ERR_FORMAT : ERR_OK;
}

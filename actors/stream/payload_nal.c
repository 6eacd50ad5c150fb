/* SPDX-License-Identifier: Apache-2.0
 *
 * What the payload formats of H.264 (RFC 6184) and H.265 (RFC 7798) have in common: single units,
 * several small ones in a payload, one large one in several. The bits that differ come with struct
 * payload_nal_shape.
 */
#include "actors/stream/payload_format.h"

enum {
	TOGETHER_MAX = 16, /* units in one aggregation payload that we write */
	FRAGMENT_START = 0x80,
	FRAGMENT_END = 0x40,
	HEADER_MAX = 2,
	PEEK_SIZE =
		16, /* bytes of a fragmented slice that are looked at: its type is in the first 3 */
	LENGTH_SIZE = 4, /* of units in frames that we assemble */
};

/* A unit type of the payload format, or of the unit itself. */
static unsigned type_of(const struct payload_nal_shape *shape, const uint8_t *payload)
{
	return shape->codec == MEDIA_H265 ? nal_h265_type(*payload) : nal_h264_type(*payload);
}

static void view_unit(struct payload_inspector *s, struct nal nal, struct payload_view *out)
{
	enum nal_class class = nal_classify(s->codec, nal);
	struct nal_h264_sps h264;
	struct nal_h265_sps h265;

	if (s->codec == MEDIA_H265 && nal.size >= 2 && (nal.data[1] & 7) > 0) {
		out->layer = (nal.data[1] & 7) - 1;
		if (out->layer > s->temporal_max && out->layer <= NAL_H265_TEMPORAL_MAX)
			s->temporal_max = out->layer;
	}
	if (class == NAL_KEY_SLICE || class == NAL_SPS || class == NAL_VPS)
		out->keyframe = true;
	if (class == NAL_SPS || class == NAL_VPS || nal_is_first_slice(s->codec, nal))
		out->start = PAYLOAD_START_YES;
	else if ((class == NAL_SLICE || class == NAL_KEY_SLICE) && out->start != PAYLOAD_START_YES)
		out->start = PAYLOAD_START_UNLIKELY;
	if (class == NAL_KEY_SLICE)
		out->use = PAYLOAD_USE_REFERENCE;
	else if (class == NAL_SLICE && !nal_is_discardable(s->codec, nal, s->temporal_max))
		out->use = PAYLOAD_USE_REFERENCE;
	else if (class == NAL_SLICE && out->use == PAYLOAD_USE_UNKNOWN)
		out->use = PAYLOAD_USE_NONE;
	if (class != NAL_SPS)
		return;
	if (s->codec == MEDIA_H264 && !nal_parse_h264_sps(nal, &h264)) {
		out->width = h264.width;
		out->height = h264.height;
	} else if (s->codec == MEDIA_H265 && !nal_parse_h265_sps(nal, &h265)) {
		s->temporal_max = h265.temporal_layers - 1;
		out->width = h265.width;
		out->height = h265.height;
	}
}

static enum err look_fragment(const struct payload_nal_shape *shape, struct payload_inspector *s,
	const uint8_t *payload, size_t size, struct payload_view *out)
{
	size_t prefix = shape->header_size + 1u;
	uint8_t head[HEADER_MAX + PEEK_SIZE];

	if (size <= prefix)
		return ERR_FORMAT;
	bool first = payload[prefix - 1] & FRAGMENT_START;
	if (first && payload[prefix - 1] & FRAGMENT_END)
		return ERR_FORMAT; /* RFC 6184 5.8, RFC 7798 4.4.3: never both in one */
	size_t peek = size - prefix < PEEK_SIZE ? size - prefix : PEEK_SIZE;
	shape->unit_header(payload, head);
	memcpy(head + shape->header_size, payload + prefix, peek);
	/* only the first fragment continues with the slice header */
	struct nal nal = {.data = head, .size = shape->header_size + (first ? peek : 0)};
	view_unit(s, nal, out);
	/* a parameter set in fragments cannot be read from its first bytes alone */
	if (nal_classify(shape->codec, nal) == NAL_SPS)
		out->width = out->height = 0;
	if (!first)
		out->start = PAYLOAD_START_NO;
	return ERR_OK;
}

enum err payload_nal_look(const struct payload_nal_shape *shape, struct payload_inspector *s,
	const uint8_t *payload, size_t size, struct payload_view *out)
{
	unsigned type = type_of(shape, payload);
	struct nal nal = {.data = payload, .size = size};
	enum err err;

	if (size < shape->header_size || payload[0] & 0x80) /* forbidden_zero_bit: known damage */
		return ERR_FORMAT;
	out->start = PAYLOAD_START_MAYBE;
	if (type == shape->fragment_type)
		return look_fragment(shape, s, payload, size, out);
	if (type != shape->together_type) {
		if (type >= shape->together_type)
			return ERR_UNSUPPORTED;
		view_unit(s, nal, out);
		return ERR_OK;
	}
	struct reader r = reader_of(payload + shape->header_size, size - shape->header_size);
	bool any = false;
	while ((err = nal_next(&r, 2, &nal)) == ERR_OK) {
		view_unit(s, nal, out);
		any = true;
	}
	return err == ERR_NOT_FOUND && any ? ERR_OK : ERR_FORMAT;
}

static bool take_unit(struct payload_cut *cut, struct nal *out)
{
	if (nal_next(&cut->sets, 2, out) == ERR_OK)
		return true;
	while (nal_next(&cut->units, cut->length_size, out) == ERR_OK) {
		if (nal_classify(cut->of->codec, *out) != NAL_DROPPED)
			return true;
	}
	return false;
}

/* Nobody refers to the frame when nobody refers to any of its slices. */
static enum payload_use use_of(struct payload_cut *cut, struct nal nal, enum payload_use so_far)
{
	enum nal_class class = nal_classify(cut->of->codec, nal);

	if (class != NAL_SLICE && class != NAL_KEY_SLICE)
		return so_far;
	unsigned layers = cut->of->config.temporal_layers;
	unsigned highest = layers ? layers - 1 : NAL_H265_TEMPORAL_MAX;
	if (!nal_is_discardable(cut->of->codec, nal, highest))
		return PAYLOAD_USE_REFERENCE;
	return so_far == PAYLOAD_USE_REFERENCE ? so_far : PAYLOAD_USE_NONE;
}

enum err payload_nal_begin(const struct payload_nal_shape *shape, struct payload_cut *cut)
{
	const struct codec_config *config = &cut->of->config;
	struct reader r = cut->units;
	enum payload_use use = PAYLOAD_USE_UNKNOWN;
	bool key = false, has_sps = false;
	unsigned kinds = 0; /* of slices seen, a bit each */
	struct nal nal;
	enum err err;

	while ((err = nal_next(&r, cut->length_size, &nal)) == ERR_OK) {
		enum nal_class class = nal_classify(shape->codec, nal);
		key |= class == NAL_KEY_SLICE;
		has_sps |= class == NAL_SPS;
		cut->units_left += class != NAL_DROPPED;
		use = use_of(cut, nal, use);
		kinds |= 1u << nal_slice_kind(shape->codec, nal);
	}
	if (err != ERR_NOT_FOUND)
		return err;
	if (!cut->units_left)
		return ERR_NOT_FOUND;
	/* intra slices behind an SPS are a place to start at even if they are no IDR */
	bool inter = kinds & (1u << NAL_SLICE_P | 1u << NAL_SLICE_B);
	if (key || (has_sps && kinds & 1u << NAL_SLICE_I && !inter))
		cut->flags |= MEDIA_KEYFRAME;
	else if (use == PAYLOAD_USE_NONE)
		cut->flags |= MEDIA_DISCARDABLE;
	if (kinds & 1u << NAL_SLICE_B && config->reorder_frames != 0)
		cut->flags |= MEDIA_B_FRAME;
	if (key && !has_sps) {
		cut->bare = config->sets_size == 0;
		cut->sets = reader_of(config->sets, config->sets_size);
		for (r = cut->sets; nal_next(&r, 2, &nal) == ERR_OK;)
			cut->units_left++;
	}
	return ERR_OK;
}

/* How many of the next units fit into one payload; a copy of the cursor looks ahead. */
static unsigned count_fitting(const struct payload_nal_shape *shape, const struct payload_cut *cut)
{
	struct payload_cut ahead = *cut;
	size_t used = shape->header_size;
	unsigned count = 0;
	struct nal nal;

	while (count < TOGETHER_MAX && take_unit(&ahead, &nal)) {
		used += 2 + nal.size;
		if (used > cut->goal)
			break;
		count++;
	}
	return count;
}

static void next_together(const struct payload_nal_shape *shape, struct payload_cut *cut,
	struct writer *w, unsigned count)
{
	struct nal units[TOGETHER_MAX] = {0};

	for (unsigned i = 0; i < count; i++)
		MUST(take_unit(cut, &units[i]));
	shape->write_together(w, units, count);
	for (unsigned i = 0; i < count; i++) {
		write_u16(w, (uint16_t)units[i].size);
		write_bytes(w, units[i].data, units[i].size);
	}
	cut->units_left -= count;
}

static void next_fragment(const struct payload_nal_shape *shape, struct payload_cut *cut,
	struct writer *w, bool first)
{
	size_t size = cut->left < cut->step ? cut->left : cut->step;

	shape->write_fragment(w, cut->unit_header, first, size == cut->left);
	write_bytes(w, cut->at, size);
	cut->at += size;
	cut->left -= size;
}

bool payload_nal_next(
	const struct payload_nal_shape *shape, struct payload_cut *cut, struct writer *w)
{
	struct nal nal;

	if (cut->left) {
		next_fragment(shape, cut, w, false);
		return !cut->left && !cut->units_left;
	}
	unsigned fitting = count_fitting(shape, cut);
	if (fitting > 1) {
		next_together(shape, cut, w, fitting);
		return !cut->units_left;
	}
	MUST(take_unit(cut, &nal));
	cut->units_left--;
	if (nal.size <= cut->goal) {
		write_bytes(w, nal.data, nal.size);
		return !cut->units_left;
	}
	memcpy(cut->unit_header, nal.data, shape->header_size);
	cut->at = nal.data + shape->header_size;
	cut->left = nal.size - shape->header_size;
	payload_split_evenly(cut, cut->left, cut->goal - shape->header_size - 1);
	next_fragment(shape, cut, w, true);
	return false;
}

static void append_unit(struct writer *w, struct nal nal)
{
	write_u32(w, (uint32_t)nal.size);
	write_bytes(w, nal.data, nal.size);
}

static void close_unit(struct assembler *a, struct writer *w)
{
	struct writer length = writer_of(w->begin + a->open_at, LENGTH_SIZE);

	if (!w->bad)
		write_u32(&length, (uint32_t)(writer_used(w) - a->open_at - LENGTH_SIZE));
	a->open = 0;
}

static enum err join_fragment(const struct payload_nal_shape *shape, struct assembler *a,
	struct writer *w, const uint8_t *payload, size_t size)
{
	size_t prefix = shape->header_size + 1u;
	uint8_t header[HEADER_MAX];

	if (size <= prefix)
		return ERR_FORMAT;
	bool first = payload[prefix - 1] & FRAGMENT_START;
	if (first == (bool)a->open)
		return ERR_FORMAT;
	if (a->open && a->used - a->open_at < LENGTH_SIZE) /* a kept state that was damaged */
		return ERR_FORMAT;
	if (first) {
		a->open = 1;
		a->open_at = (uint32_t)writer_used(w);
		shape->unit_header(payload, header);
		write_u32(w, 0); /* filled in by close_unit() */
		write_bytes(w, header, shape->header_size);
	}
	write_bytes(w, payload + prefix, size - prefix);
	if (payload[prefix - 1] & FRAGMENT_END)
		close_unit(a, w);
	return ERR_OK;
}

enum err payload_nal_join(const struct payload_nal_shape *shape, struct assembler *a,
	struct writer *w, const uint8_t *payload, size_t size)
{
	unsigned type = type_of(shape, payload);
	struct nal nal = {.data = payload, .size = size};
	enum err err;

	if (size < shape->header_size)
		return ERR_FORMAT;
	if (type == shape->fragment_type)
		return join_fragment(shape, a, w, payload, size);
	if (a->open)
		return ERR_FORMAT;
	if (type > shape->together_type)
		return ERR_UNSUPPORTED;
	if (type != shape->together_type) {
		if (nal_classify(shape->codec, nal) != NAL_DROPPED)
			append_unit(w, nal);
		return ERR_OK;
	}
	struct reader r = reader_of(payload + shape->header_size, size - shape->header_size);
	while ((err = nal_next(&r, 2, &nal)) == ERR_OK) {
		if (nal_classify(shape->codec, nal) != NAL_DROPPED)
			append_unit(w, nal);
	}
	return err == ERR_NOT_FOUND ? ERR_OK : err;
}

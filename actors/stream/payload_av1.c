/* SPDX-License-Identifier: Apache-2.0
 *
 * AV1 payloads, RTP Payload Format for AV1 1.0. A payload is an aggregation header and OBU
 * elements: whole units without their size field, or pieces of one at either end.
 *
 *   Z Y W(2) N RSV(3)   Z: the first element continues one; Y: the last is continued; W: number of
 *   elements, the last without length (0 = all have one); N: a coded video sequence starts
 */
#include "actors/stream/payload_format.h"

enum {
	HEADER_Z = 0x80,
	HEADER_Y = 0x40,
	HEADER_N = 0x08,
	ELEMENTS_MAX = 3, /* that W can count, and that we put into a payload */
	TAIL_MIN = 2,	  /* bytes worth starting another element for */
};

/* One element of an arriving payload. */
struct element {
	const uint8_t *data;
	size_t size;
	bool continues, continued;
};

struct elements {
	struct reader r;
	uint8_t header;
	unsigned index;
};

static struct elements elements_of(const uint8_t *payload, size_t size)
{
	return (struct elements){.r = reader_of(payload + 1, size - 1), .header = payload[0]};
}

/* ERR_NOT_FOUND at the end. */
static enum err next_element(struct elements *e, struct element *out)
{
	unsigned count = e->header >> 4 & 3;
	size_t size;

	if (count ? e->index == count : !reader_left(&e->r))
		return ERR_NOT_FOUND;
	size = count && e->index + 1 == count ? reader_left(&e->r) : obu_read_leb128(&e->r);
	out->data = read_bytes(&e->r, size);
	out->size = size;
	if (!out->data || !size)
		return ERR_FORMAT;
	out->continues = e->index == 0 && e->header & HEADER_Z;
	e->index++;
	bool last = count ? e->index == count : !reader_left(&e->r);
	out->continued = last && e->header & HEADER_Y;
	return ERR_OK;
}

/* Reads what an element's unit begins with; the unit may be continued in the next payload. */
static enum err view_unit(
	struct payload_inspector *s, const struct element *element, struct payload_view *out)
{
	struct obu_sequence sequence;
	struct obu_frame frame;
	struct obu unit;
	uint8_t first = element->data[0];
	struct reader r = reader_of(element->data, element->size);

	if (element->continued && first & OBU_HAS_SIZE)
		return first & 0x80 ? ERR_FORMAT : ERR_OK; /* legal, unusual, and cut: no news */
	if (obu_next(&r, &unit))
		return ERR_FORMAT;
	if (first & OBU_HAS_EXTENSION)
		out->layer = unit.layer;
	if (unit.type == OBU_SEQUENCE_HEADER) {
		out->keyframe = true;
		if (!element->continued && !obu_parse_sequence(&unit, &sequence)) {
			s->sequence = sequence;
			out->width = sequence.width;
			out->height = sequence.height;
		}
	} else if (unit.type == OBU_FRAME || unit.type == OBU_FRAME_HEADER) {
		enum err err = obu_parse_frame(&s->sequence, unit.data, unit.size, &frame);
		bool unused = !err && frame.refresh_known && !frame.refresh && !frame.repeats;
		if (!unused)
			out->use = PAYLOAD_USE_REFERENCE;
		else if (out->use == PAYLOAD_USE_UNKNOWN)
			out->use = PAYLOAD_USE_NONE;
	}
	return ERR_OK;
}

static enum err look(
	struct payload_inspector *s, const uint8_t *payload, size_t size, struct payload_view *out)
{
	struct elements elements = elements_of(payload, size);
	struct element element;
	enum err err;
	bool any = false;

	if (payload[0] & HEADER_Z && payload[0] & HEADER_N)
		return ERR_FORMAT; /* 4.4: Z must be 0 where N is set */
	while ((err = next_element(&elements, &element)) == ERR_OK) {
		any = true;
		if (!element.continues && view_unit(s, &element, out))
			return ERR_FORMAT;
	}
	if (err != ERR_NOT_FOUND || !any)
		return ERR_FORMAT;
	if (payload[0] & HEADER_N)
		out->keyframe = true;
	if (out->keyframe)
		out->start = PAYLOAD_START_YES;
	else if (!(payload[0] & HEADER_Z))
		out->start = PAYLOAD_START_MAYBE;
	return ERR_OK;
}

static bool take_unit(struct payload_cut *cut, struct obu *out)
{
	if (obu_next(&cut->sets, out) == ERR_OK)
		return true;
	while (obu_next(&cut->units, out) == ERR_OK) {
		if (!obu_is_dropped(out->type))
			return true;
	}
	return false;
}

/* What the frame is. `total` becomes the bytes of all units without size fields. */
static enum err survey(struct payload_cut *cut, bool *key, bool *has_sequence, size_t *total)
{
	struct reader r = cut->units, kept = cut->sets;
	struct obu_sequence sequence = {0};
	struct obu_frame frame;
	struct obu unit;
	bool unused = false, referenced = false;
	enum err err;

	if (!obu_next(&kept, &unit))
		obu_parse_sequence(&unit, &sequence);
	while ((err = obu_next(&r, &unit)) == ERR_OK) {
		if (obu_is_dropped(unit.type))
			continue;
		cut->units_left++;
		*total += unit.header_size + unit.size;
		if (unit.type == OBU_SEQUENCE_HEADER) {
			*has_sequence = true;
			if (obu_parse_sequence(&unit, &sequence))
				return ERR_FORMAT;
		}
		if (unit.type != OBU_FRAME && unit.type != OBU_FRAME_HEADER)
			continue;
		if (obu_parse_frame(&sequence, unit.data, unit.size, &frame) == ERR_FORMAT)
			return ERR_FORMAT;
		*key |= frame.keyframe;
		if (frame.refresh_known && !frame.refresh && !frame.repeats)
			unused = true;
		else
			referenced = true;
	}
	if (unused && !referenced)
		cut->flags |= MEDIA_DISCARDABLE;
	return err;
}

static enum err begin(struct payload_cut *cut)
{
	const struct codec_config *config = &cut->of->config;
	bool key = false, has_sequence = false;
	size_t total = 0;

	cut->sets = reader_of(config->sets, config->sets_size);
	enum err err = survey(cut, &key, &has_sequence, &total);
	if (err != ERR_NOT_FOUND)
		return err;
	if (!cut->units_left)
		return ERR_NOT_FOUND;
	if (key || has_sequence) {
		cut->flags |= MEDIA_KEYFRAME;
		cut->flags &= (uint8_t)~MEDIA_DISCARDABLE;
	}
	cut->bare = key && !has_sequence && !config->sets_size;
	if (key && !has_sequence && config->sets_size) {
		cut->units_left++;
		total += config->sets_size;
	} else {
		cut->sets = (struct reader){0};
	}
	/* at most two bytes of length for each element that is not the last of its payload */
	total += 2 * (size_t)cut->units_left;
	payload_split_evenly(cut, total, cut->goal - 1);
	cut->step++; /* the aggregation header */
	return ERR_OK;
}

/* Loads the next unit to be written. */
static void load_unit(struct payload_cut *cut)
{
	struct obu unit;

	MUST(take_unit(cut, &unit));
	cut->units_left--;
	memcpy(cut->unit_header, unit.header, sizeof(cut->unit_header));
	cut->unit_header_left = unit.header_size;
	cut->at = unit.data;
	cut->left = unit.header_size + unit.size;
}

/* A unit's header is never split: there is room for two bytes wherever an element begins. */
static void write_piece(struct payload_cut *cut, struct writer *w, size_t size)
{
	size_t data = size - cut->unit_header_left;

	MUST(size >= cut->unit_header_left);
	write_bytes(w, cut->unit_header, cut->unit_header_left);
	write_bytes(w, cut->at, data);
	cut->unit_header_left = 0;
	cut->at += data;
	cut->left -= size;
}

static bool next(struct payload_cut *cut, struct writer *w)
{
	uint8_t *header = write_reserve(w, 1);
	unsigned count = 0;

	MUST(header);
	*header = cut->left ? HEADER_Z : 0;
	if (!cut->started && cut->flags & MEDIA_KEYFRAME)
		*header |= HEADER_N;
	for (bool last = false; !last; count++) {
		if (!cut->left)
			load_unit(cut);
		size_t room = cut->step - writer_used(w);
		size_t length = obu_leb128_size((uint32_t)cut->left);
		last = count + 1 == ELEMENTS_MAX || !cut->units_left ||
		       cut->left + length + TAIL_MIN > room;
		if (!last)
			obu_write_leb128(w, (uint32_t)cut->left);
		write_piece(cut, w, last && room < cut->left ? room : cut->left);
	}
	*header |= (uint8_t)(count << 4) | (cut->left ? HEADER_Y : 0);
	return !cut->left && !cut->units_left;
}

/* Gives the finished unit its size field, in place; drops it where it has no business. */
static enum err close_unit(struct assembler *a, struct writer *w)
{
	uint8_t *begin = w->begin + a->open_at;
	struct reader r = reader_of(begin, writer_used(w) - a->open_at);
	struct obu unit;

	a->open = 0;
	if (w->bad)
		return ERR_OK; /* the caller sees it */
	if (obu_next(&r, &unit) || reader_left(&r))
		return ERR_FORMAT;
	if (obu_is_dropped(unit.type)) {
		w->at = begin;
		return ERR_OK;
	}
	if (begin[0] & OBU_HAS_SIZE)
		return ERR_OK;
	size_t length = obu_leb128_size((uint32_t)unit.size);
	if (!write_reserve(w, length))
		return ERR_OK;
	begin[0] |= OBU_HAS_SIZE;
	memmove(begin + unit.header_size + length, begin + unit.header_size, unit.size);
	struct writer field = writer_of(begin + unit.header_size, length);
	obu_write_leb128(&field, (uint32_t)unit.size);
	return ERR_OK;
}

static enum err join(struct assembler *a, struct writer *w, const uint8_t *payload, size_t size)
{
	struct elements elements = elements_of(payload, size);
	struct element element;
	enum err err;

	while ((err = next_element(&elements, &element)) == ERR_OK) {
		if (element.continues != (bool)a->open)
			return ERR_FORMAT;
		if (!element.continues)
			a->open_at = (uint32_t)writer_used(w);
		write_bytes(w, element.data, element.size);
		a->open = 1;
		if (element.continued)
			continue;
		err = close_unit(a, w);
		if (err)
			return err;
	}
	return err == ERR_NOT_FOUND ? ERR_OK : err;
}

const struct payload_format payload_av1_format = {look, begin, next, join};

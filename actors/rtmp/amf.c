/* SPDX-License-Identifier: Apache-2.0
 *
 * AMF0 reading and writing. See amf.h.
 *
 * A cursor holds the open containers in a small array instead of on the call stack, so that no
 * input can make it recurse, and counts items, so that no input can make it work for long.
 */
#include "actors/rtmp/amf.h"

/* AMF0 specification, section 2.1. */
enum marker {
	MARKER_NUMBER = 0x00,
	MARKER_BOOLEAN = 0x01,
	MARKER_STRING = 0x02,
	MARKER_OBJECT = 0x03,
	MARKER_NULL = 0x05,
	MARKER_UNDEFINED = 0x06,
	MARKER_REFERENCE = 0x07,
	MARKER_ECMA_ARRAY = 0x08,
	MARKER_OBJECT_END = 0x09,
	MARKER_STRICT_ARRAY = 0x0a,
	MARKER_DATE = 0x0b,
	MARKER_LONG_STRING = 0x0c,
	MARKER_UNSUPPORTED = 0x0d,
	MARKER_XML_DOCUMENT = 0x0f,
	MARKER_TYPED_OBJECT = 0x10,
};

struct amf_cursor amf_cursor_of(const void *bytes, size_t size)
{
	return (struct amf_cursor){.in = reader_of(bytes, size)};
}

static bool fail(struct amf_cursor *c, enum err err)
{
	c->err = err;
	return false;
}

static bool open_level(struct amf_cursor *c, enum amf_kind kind, uint32_t left)
{
	if (c->depth == AMF_DEPTH_MAX)
		return fail(c, ERR_LIMIT);
	c->levels[c->depth++] = (struct amf_level){.kind = kind, .left = left};
	return true;
}

static void read_text(struct reader *in, size_t size, struct amf_item *item)
{
	item->kind = AMF_STRING;
	item->text = (const char *)read_bytes(in, size);
	item->text_size = item->text ? size : 0;
}

static double read_double(struct reader *in)
{
	uint64_t bits = read_u64(in);
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Steps to the place of the next value: closes what has ended and takes a member's name. False at
 * the end of the message or when the input is broken. */
static bool find_value(struct amf_cursor *c, struct amf_item *item)
{
	while (c->depth > 0) {
		struct amf_level *level = &c->levels[c->depth - 1];

		if (level->kind == AMF_ARRAY) {
			if (level->left-- > 0)
				return true;
			c->depth--;
			continue;
		}
		if (level->kind == AMF_MAP && reader_left(&c->in) == 0) {
			c->depth--;
			continue;
		}
		size_t size = read_u16(&c->in);
		item->name = (const char *)read_bytes(&c->in, size);
		item->name_size = size;
		if (c->in.bad || reader_left(&c->in) == 0)
			return fail(c, ERR_FORMAT);
		if (size > 0 || *c->in.at != MARKER_OBJECT_END)
			return true;
		read_u8(&c->in);
		item->name = NULL;
		c->depth--;
	}
	if (reader_left(&c->in) == 0)
		return false;
	c->arguments++;
	return true;
}

static bool read_value(struct amf_cursor *c, struct amf_item *item)
{
	struct reader *in = &c->in;
	uint32_t count;

	switch (read_u8(in)) {
	case MARKER_NUMBER:
		item->kind = AMF_NUMBER;
		item->number = read_double(in);
		return true;
	case MARKER_BOOLEAN:
		item->kind = AMF_BOOLEAN;
		item->number = read_u8(in) != 0;
		return true;
	case MARKER_STRING: read_text(in, read_u16(in), item); return true;
	case MARKER_LONG_STRING:
	case MARKER_XML_DOCUMENT: read_text(in, read_u32(in), item); return true;
	case MARKER_NULL: item->kind = AMF_NULL; return true;
	case MARKER_REFERENCE: /* to an object of this message: nothing that we read needs it */
		read_u16(in);
		return true;
	case MARKER_UNDEFINED:
	case MARKER_UNSUPPORTED: return true;
	case MARKER_DATE:
		item->kind = AMF_DATE;
		item->number = read_double(in);
		read_u16(in);
		return true;
	case MARKER_TYPED_OBJECT:
		read_bytes(in, read_u16(in)); /* the class name */
					      /* fall through */
	case MARKER_OBJECT: item->kind = AMF_OBJECT; return open_level(c, AMF_OBJECT, 0);
	case MARKER_ECMA_ARRAY:
		read_u32(in); /* a hint that encoders get wrong: the end marker decides */
		item->kind = AMF_MAP;
		return open_level(c, AMF_MAP, 0);
	case MARKER_STRICT_ARRAY:
		count = read_u32(in);
		if (count > reader_left(in))
			return fail(c, ERR_FORMAT);
		item->kind = AMF_ARRAY;
		return open_level(c, AMF_ARRAY, count);
	default: return fail(c, in->bad ? ERR_FORMAT : ERR_UNSUPPORTED);
	}
}

bool amf_next(struct amf_cursor *c, struct amf_item *item)
{
	*item = (struct amf_item){.kind = AMF_UNDEFINED};
	if (c->err || !find_value(c, item))
		return false;
	if (c->items++ == AMF_ITEMS_MAX)
		return fail(c, ERR_LIMIT);
	item->depth = c->depth;
	item->argument = c->arguments - 1;
	if (!read_value(c, item))
		return false;
	return c->in.bad ? fail(c, ERR_FORMAT) : true;
}

static bool text_equals(const char *bytes, size_t size, const char *text)
{
	return bytes && strlen(text) == size && memcmp(bytes, text, size) == 0;
}

bool amf_name_is(const struct amf_item *item, const char *text)
{
	return text_equals(item->name, item->name_size, text);
}

bool amf_text_is(const struct amf_item *item, const char *text)
{
	return item->kind == AMF_STRING && text_equals(item->text, item->text_size, text);
}

enum err amf_copy_text(const struct amf_item *item, char *out, size_t out_size)
{
	MUST(out_size > 0);
	out[0] = 0;
	if (item->kind != AMF_STRING || memchr(item->text, 0, item->text_size))
		return ERR_FORMAT;
	if (item->text_size >= out_size)
		return ERR_TOO_LARGE;
	memcpy(out, item->text, item->text_size);
	out[item->text_size] = 0;
	return ERR_OK;
}

uint32_t amf_to_u32(const struct amf_item *item, uint32_t max, uint32_t otherwise)
{
	if (item->kind != AMF_NUMBER || !(item->number >= 0 && item->number <= max))
		return otherwise;
	return (uint32_t)item->number;
}

void amf_write_number(struct writer *w, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	write_u8(w, MARKER_NUMBER);
	write_u64(w, bits);
}

void amf_write_boolean(struct writer *w, bool value)
{
	write_u8(w, MARKER_BOOLEAN);
	write_u8(w, value);
}

void amf_write_string(struct writer *w, const char *text)
{
	size_t size = strlen(text);

	if (size > UINT16_MAX) {
		write_u8(w, MARKER_LONG_STRING);
		write_u32(w, (uint32_t)size);
	} else {
		write_u8(w, MARKER_STRING);
		write_u16(w, (uint16_t)size);
	}
	write_bytes(w, text, size);
}

void amf_write_null(struct writer *w)
{
	write_u8(w, MARKER_NULL);
}

void amf_write_undefined(struct writer *w)
{
	write_u8(w, MARKER_UNDEFINED);
}

void amf_write_object(struct writer *w)
{
	write_u8(w, MARKER_OBJECT);
}

void amf_write_map(struct writer *w, uint32_t count)
{
	write_u8(w, MARKER_ECMA_ARRAY);
	write_u32(w, count);
}

void amf_write_array(struct writer *w, uint32_t count)
{
	write_u8(w, MARKER_STRICT_ARRAY);
	write_u32(w, count);
}

void amf_write_key(struct writer *w, const char *key)
{
	size_t size = strlen(key);

	MUST(size > 0 && size <= UINT16_MAX);
	write_u16(w, (uint16_t)size);
	write_bytes(w, key, size);
}

void amf_write_end(struct writer *w)
{
	write_u16(w, 0);
	write_u8(w, MARKER_OBJECT_END);
}

void amf_write_number_member(struct writer *w, const char *key, double value)
{
	amf_write_key(w, key);
	amf_write_number(w, value);
}

void amf_write_string_member(struct writer *w, const char *key, const char *text)
{
	amf_write_key(w, key);
	amf_write_string(w, text);
}

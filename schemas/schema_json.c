/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as compact JSON (RFC 8259) for the REPL, the API, traces and crash reports. Secrets never
 * leave through here. Output is valid UTF-8 whatever bytes a string holds.
 */
#include "schemas/schema.h"

#include <inttypes.h>
#include <stdio.h>

/* Beyond this a double, which is all that JavaScript has, is no longer exact (RFC 7493 2.2). */
#define JSON_EXACT_MAX (INT64_C(1) << 53)

static void put(struct writer *out, const char *text)
{
	write_bytes(out, text, strlen(text));
}

/* Length of the character at `at` when it is well-formed UTF-8 (RFC 3629 section 4), else 0. */
static size_t utf8_length(const uint8_t *at, size_t left)
{
	size_t length = at[0] < 0x80   ? 1
			: at[0] < 0xc2 ? 0
			: at[0] < 0xe0 ? 2
			: at[0] < 0xf0 ? 3
			: at[0] < 0xf5 ? 4
				       : 0;

	if (length == 0 || length > left)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) ||
		(at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90))
		return 0; /* overlong, surrogate, above U+10FFFF */
	return length;
}

static void put_string(struct writer *out, const char *text, size_t size)
{
	const uint8_t *at = (const uint8_t *)text;
	char escape[8];

	write_u8(out, '"');
	for (size_t i = 0; i < size && !out->bad;) {
		size_t length = utf8_length(at + i, size - i);
		if (length == 0) {
			put(out, "\\ufffd");
			length = 1;
		} else if (at[i] == '"' || at[i] == '\\') {
			write_u8(out, '\\');
			write_u8(out, at[i]);
		} else if (at[i] < 0x20) {
			snprintf(escape, sizeof(escape), "\\u%04x", at[i]);
			put(out, escape);
		} else {
			write_bytes(out, at + i, length);
		}
		i += length;
	}
	write_u8(out, '"');
}

static void put_hex(struct writer *out, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	write_u8(out, '"');
	for (size_t i = 0; i < size && !out->bad; i++) {
		write_u8(out, (uint8_t)digits[bytes[i] >> 4]);
		write_u8(out, (uint8_t)digits[bytes[i] & 15]);
	}
	write_u8(out, '"');
}

static void put_unsigned(struct writer *out, uint64_t number)
{
	char text[24];
	const char *quote = number > (uint64_t)JSON_EXACT_MAX ? "\"" : "";

	snprintf(text, sizeof(text), "%s%" PRIu64 "%s", quote, number, quote);
	put(out, text);
}

static void put_signed(struct writer *out, int64_t number)
{
	char text[24];
	bool is_exact = number <= JSON_EXACT_MAX && number >= -JSON_EXACT_MAX;
	const char *quote = is_exact ? "" : "\"";

	snprintf(text, sizeof(text), "%s%" PRId64 "%s", quote, number, quote);
	put(out, text);
}

static void put_small(struct writer *out, const struct field *f, uint8_t number)
{
	const char *name = f->name_of ? f->name_of(number) : NULL;

	if (name)
		put_string(out, name, strlen(name));
	else
		put_unsigned(out, number);
}

static void put_object(struct writer *out, const struct schema *schema, const uint8_t *value);

static void put_list(struct writer *out, const struct field *f, const uint8_t *value)
{
	uint16_t count = *(const uint16_t *)(value + f->count_offset);

	write_u8(out, '[');
	for (uint32_t i = 0; i < count && i < f->max && !out->bad; i++) {
		if (i)
			write_u8(out, ',');
		put_object(out, f->sub, value + f->offset + i * f->sub->size);
	}
	write_u8(out, ']');
}

static void put_value(struct writer *out, const struct field *f, const uint8_t *value)
{
	const uint8_t *at = value + f->offset;
	const struct slice *slice;
	char text[ADDR_TEXT_SIZE];
	uint16_t size;

	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL: put(out, *at ? "true" : "false"); return;
	case FIELD_U8: put_small(out, f, *at); return;
	case FIELD_U16: put_unsigned(out, *(const uint16_t *)at); return;
	case FIELD_U32: put_unsigned(out, *(const uint32_t *)at); return;
	case FIELD_U64: put_unsigned(out, *(const uint64_t *)at); return;
	case FIELD_I64: put_signed(out, *(const int64_t *)at); return;
	case FIELD_STR:
		put_string(out, (const char *)at, strnlen((const char *)at, f->max));
		return;
	case FIELD_BYTES:
		size = *(const uint16_t *)at;
		put_hex(out, at + sizeof(size), size < f->max ? size : f->max);
		return;
	case FIELD_TEXT:
		slice = (const struct slice *)at;
		put_string(out, slice->data, slice->data ? slice->size : 0);
		return;
	case FIELD_ADDR:
		addr_text(*(const struct addr *)at, text);
		put_string(out, text, strlen(text));
		return;
	case FIELD_RECORD: put_object(out, f->sub, at); return;
	case FIELD_LIST: put_list(out, f, value); return;
	}
}

/* All bytes zero: what a secret that is not set looks like (its length included). */
static bool secret_is_empty(const struct field *f, const uint8_t *value)
{
	static const uint8_t zeros[sizeof(struct addr)];
	const uint8_t *at = value + f->offset;

	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL:
	case FIELD_U8:
	case FIELD_STR: return *at == 0;
	case FIELD_U16:
	case FIELD_BYTES: return memcmp(at, zeros, 2) == 0;
	case FIELD_U32: return memcmp(at, zeros, 4) == 0;
	case FIELD_U64:
	case FIELD_I64: return memcmp(at, zeros, 8) == 0;
	case FIELD_ADDR: return memcmp(at, zeros, sizeof(zeros)) == 0;
	case FIELD_TEXT: return ((const struct slice *)at)->size == 0;
	default: return false;
	}
}

static void put_object(struct writer *out, const struct schema *schema, const uint8_t *value)
{
	const char *comma = "";

	write_u8(out, '{');
	for (uint32_t i = 0; i < schema->field_count && !out->bad; i++) {
		const struct field *f = &schema->fields[i];
		bool is_secret = f->flags & FIELD_IS_SECRET;
		if (is_secret && secret_is_empty(f, value))
			continue;
		put(out, comma);
		comma = ",";
		put_string(out, f->name, strlen(f->name));
		write_u8(out, ':');
		if (is_secret)
			put(out, "\"***\"");
		else
			put_value(out, f, value);
	}
	write_u8(out, '}');
}

enum err schema_print_json(const struct schema *schema, const void *value, struct writer *out)
{
	uint8_t *begin = out->at;

	put_object(out, schema, value);
	if (!out->bad)
		return ERR_OK;
	out->at = begin;
	return ERR_NO_SPACE;
}

static uint16_t count_of(const struct field *f, const uint8_t *value)
{
	uint16_t count = *(const uint16_t *)(value + f->count_offset);

	return count <= f->max ? count : (uint16_t)f->max;
}

static void put_change(
	struct writer *out, const struct field *f, const uint8_t *before, const uint8_t *now);

static uint32_t put_changes(struct writer *out, const struct schema *schema, const uint8_t *before,
	const uint8_t *now, size_t field_max)
{
	uint32_t changed = 0;

	write_u8(out, '{');
	for (uint32_t i = 0; i < schema->field_count && !out->bad; i++) {
		const struct field *f = &schema->fields[i];

		if (schema_field_equal(f, before, now))
			continue;
		put(out, changed++ ? "," : "");
		put_string(out, f->name, strlen(f->name));
		write_u8(out, ':');
		struct writer part = *out;
		if (field_max && writer_left(out) > field_max)
			part.end = out->at + field_max;
		put_change(&part, f, before, now);
		if (part.bad)
			put(out, "\"(large)\"");
		else
			out->at = part.at;
	}
	write_u8(out, '}');
	return changed;
}

/* Of a list that is as long as before, only the items that changed: {"3":{…}}. */
static void put_change(
	struct writer *out, const struct field *f, const uint8_t *before, const uint8_t *now)
{
	const char *comma = "";
	char index[16];

	if (f->flags & FIELD_IS_SECRET) {
		put(out, "\"***\"");
	} else if (f->kind == FIELD_RECORD) {
		put_changes(out, f->sub, before + f->offset, now + f->offset, 0);
	} else if (f->kind != FIELD_LIST || count_of(f, before) != count_of(f, now)) {
		put_value(out, f, now);
	} else {
		write_u8(out, '{');
		for (uint32_t i = 0; i < count_of(f, now) && !out->bad; i++) {
			const uint8_t *a = before + f->offset + i * f->sub->size;
			const uint8_t *b = now + f->offset + i * f->sub->size;

			if (schema_equal(f->sub, a, b))
				continue;
			snprintf(index, sizeof(index), "%s\"%u\":", comma, i);
			comma = ",";
			put(out, index);
			put_changes(out, f->sub, a, b, 0);
		}
		write_u8(out, '}');
	}
}

uint32_t schema_print_changes(const struct schema *schema, const void *before, const void *now,
	size_t field_max, struct writer *out)
{
	return put_changes(out, schema, before, now, field_max);
}

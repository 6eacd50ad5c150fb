/* SPDX-License-Identifier: Apache-2.0
 *
 * Values to msgpack and back, driven by the field tables. Encoding is canonical (fields in table
 * order, shortest integers, empty fields left out), so equal values give equal bytes.
 *
 * Both directions treat what they are given as untrusted: decoding the wire, encoding the struct,
 * which may lie in an escrow that a dying process wrote.
 */
#include "schemas/mp.h"
#include "schemas/schema.h"

enum { FIELDS_MAX = 127 }; /* as many as there are tags */

/* bool is loaded as a byte: in an escrow it may hold neither 0 nor 1. */
static uint64_t load_number(uint8_t kind, const uint8_t *at)
{
	switch ((enum field_kind)kind) {
	case FIELD_BOOL: return *at != 0;
	case FIELD_U8: return *at;
	case FIELD_U16: return *(const uint16_t *)at;
	case FIELD_U32: return *(const uint32_t *)at;
	case FIELD_U64: return *(const uint64_t *)at;
	case FIELD_I64: return *(const uint64_t *)at;
	default: MUST(!"a field of numbers");
	}
	return 0;
}

static bool schema_is_empty(const struct schema *schema, const uint8_t *value);

/* Empty fields are not sent. */
static bool field_is_empty(const struct field *f, const uint8_t *value)
{
	const uint8_t *at = value + f->offset;
	const struct addr *addr;

	switch ((enum field_kind)f->kind) {
	case FIELD_STR: return *at == 0;
	case FIELD_BYTES: return *(const uint16_t *)at == 0;
	case FIELD_TEXT: return ((const struct slice *)at)->size == 0;
	case FIELD_ADDR: addr = (const struct addr *)at; return addr->node == 0 && addr->id == 0;
	case FIELD_RECORD: return schema_is_empty(f->sub, at);
	case FIELD_LIST: return *(const uint16_t *)(value + f->count_offset) == 0;
	default: return load_number(f->kind, at) == 0;
	}
}

static bool schema_is_empty(const struct schema *schema, const uint8_t *value)
{
	for (uint32_t i = 0; i < schema->field_count; i++) {
		if (!field_is_empty(&schema->fields[i], value))
			return false;
	}
	return true;
}

static enum err encode_map(const struct schema *schema, const uint8_t *value, msgpack_packer *pk);

static enum err encode_str(const struct field *f, const char *at, msgpack_packer *pk)
{
	size_t size = strnlen(at, (size_t)f->max + 1);

	if (size > f->max)
		return ERR_LIMIT;
	msgpack_pack_str_with_body(pk, at, size);
	return ERR_OK;
}

static enum err encode_bytes(const struct field *f, const uint8_t *at, msgpack_packer *pk)
{
	uint16_t size = *(const uint16_t *)at;

	if (size > f->max)
		return ERR_LIMIT;
	msgpack_pack_bin_with_body(pk, at + sizeof(size), size);
	return ERR_OK;
}

static enum err encode_text(const struct field *f, const struct slice *slice, msgpack_packer *pk)
{
	if (slice->size > f->max || !slice->data)
		return ERR_LIMIT;
	msgpack_pack_str_with_body(pk, slice->data, slice->size);
	return ERR_OK;
}

static enum err encode_list(const struct field *f, const uint8_t *value, msgpack_packer *pk)
{
	uint16_t count = *(const uint16_t *)(value + f->count_offset);

	if (count > f->max)
		return ERR_LIMIT;
	msgpack_pack_array(pk, count);
	for (uint16_t i = 0; i < count; i++) {
		const uint8_t *item = value + f->offset + (size_t)i * f->sub->size;
		enum err err = encode_map(f->sub, item, pk);
		if (err)
			return err;
	}
	return ERR_OK;
}

static enum err encode_field(const struct field *f, const uint8_t *value, msgpack_packer *pk)
{
	const uint8_t *at = value + f->offset;
	const struct addr *addr;

	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL: msgpack_pack_true(pk); return ERR_OK; /* false is empty */
	case FIELD_U8:
	case FIELD_U16:
	case FIELD_U32:
	case FIELD_U64: msgpack_pack_uint64(pk, load_number(f->kind, at)); return ERR_OK;
	case FIELD_I64: msgpack_pack_int64(pk, *(const int64_t *)at); return ERR_OK;
	case FIELD_STR: return encode_str(f, (const char *)at, pk);
	case FIELD_BYTES: return encode_bytes(f, at, pk);
	case FIELD_TEXT: return encode_text(f, (const struct slice *)at, pk);
	case FIELD_ADDR:
		addr = (const struct addr *)at;
		msgpack_pack_array(pk, 2);
		msgpack_pack_uint64(pk, addr->node);
		msgpack_pack_uint64(pk, addr->id);
		return ERR_OK;
	case FIELD_RECORD: return encode_map(f->sub, at, pk);
	case FIELD_LIST: return encode_list(f, value, pk);
	}
	return ERR_INTERNAL;
}

/* Of those fields whose flags, as far as `mask` has them, are `flags`. */
static enum err encode_fields(const struct schema *schema, const uint8_t *value, unsigned mask,
	unsigned flags, msgpack_packer *pk)
{
	uint8_t sent[FIELDS_MAX]; /* indices of the fields that are not empty */
	uint32_t count = 0;

	MUST(schema->field_count <= FIELDS_MAX);
	for (uint32_t i = 0; i < schema->field_count; i++) {
		const struct field *f = &schema->fields[i];
		if ((f->flags & mask) == flags && !field_is_empty(f, value))
			sent[count++] = (uint8_t)i;
	}
	msgpack_pack_map(pk, count);

	for (uint32_t i = 0; i < count; i++) {
		const struct field *f = &schema->fields[sent[i]];
		msgpack_pack_uint8(pk, f->tag);
		enum err err = encode_field(f, value, pk);
		if (err)
			return err;
	}
	return ERR_OK;
}

static enum err encode_map(const struct schema *schema, const uint8_t *value, msgpack_packer *pk)
{
	return encode_fields(schema, value, 0, 0, pk);
}

static enum err encode_whole(const struct schema *schema, const void *value, unsigned mask,
	unsigned flags, struct writer *out)
{
	uint8_t *begin = out->at;
	msgpack_packer pk = mp_packer_of(out);
	enum err err = encode_fields(schema, value, mask, flags, &pk);

	if (!err && out->bad)
		err = ERR_NO_SPACE;
	if (err)
		out->at = begin; /* no half values */
	return err;
}

enum err schema_encode(const struct schema *schema, const void *value, struct writer *out)
{
	return encode_whole(schema, value, 0, 0, out);
}

enum err schema_encode_part(
	const struct schema *schema, const void *value, bool hot, struct writer *out)
{
	return encode_whole(schema, value, FIELD_IS_HOT, hot ? FIELD_IS_HOT : 0, out);
}

static size_t head_size(size_t length)
{
	return length < 16 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 5;
}

static size_t field_size_max(const struct field *f)
{
	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL: return 1;
	case FIELD_U8: return 2;
	case FIELD_U16: return 3;
	case FIELD_U32: return 5;
	case FIELD_U64:
	case FIELD_I64: return 9;
	case FIELD_STR: return head_size(f->max) + f->max;
	case FIELD_BYTES: return 1 + head_size(f->max) + f->max;
	case FIELD_TEXT: return 5;
	case FIELD_ADDR: return 1 + 9 + 9;
	case FIELD_RECORD: return schema_encoded_size_max(f->sub);
	case FIELD_LIST: return head_size(f->max) + f->max * schema_encoded_size_max(f->sub);
	}
	return 0;
}

size_t schema_encoded_size_max(const struct schema *schema)
{
	size_t size = head_size(schema->field_count);

	for (uint32_t i = 0; i < schema->field_count; i++)
		size += 1 + field_size_max(&schema->fields[i]);
	return size;
}

/* `depth` counts down: how many containers may still be opened inside this one. */
static enum err decode_map(
	const struct schema *schema, struct reader *in, uint8_t *value, unsigned depth);

static enum err decode_number(const struct field *f, struct reader *in, uint8_t *at)
{
	uint64_t number = mp_read_u64(in);
	uint64_t max = f->kind == FIELD_U8    ? UINT8_MAX
		       : f->kind == FIELD_U16 ? UINT16_MAX
		       : f->kind == FIELD_U32 ? UINT32_MAX
					      : UINT64_MAX;

	if (number > max)
		return ERR_TOO_LARGE;
	if (f->kind == FIELD_U8)
		*at = (uint8_t)number;
	else if (f->kind == FIELD_U16)
		*(uint16_t *)at = (uint16_t)number;
	else if (f->kind == FIELD_U32)
		*(uint32_t *)at = (uint32_t)number;
	else
		*(uint64_t *)at = number;
	return ERR_OK;
}

static enum err decode_str(const struct field *f, struct reader *in, char *at)
{
	uint32_t size;
	const uint8_t *bytes = mp_read_str(in, &size);

	if (!bytes)
		return ERR_FORMAT;
	if (size > f->max)
		return ERR_TOO_LARGE;
	if (memchr(bytes, 0, size)) /* would be another string when sent on */
		return ERR_FORMAT;
	memcpy(at, bytes, size);
	at[size] = 0;
	return ERR_OK;
}

static enum err decode_bytes(const struct field *f, struct reader *in, uint8_t *at)
{
	uint32_t size;
	const uint8_t *bytes = mp_read_bin(in, &size);

	if (!bytes)
		return ERR_FORMAT;
	if (size > f->max)
		return ERR_TOO_LARGE;
	*(uint16_t *)at = (uint16_t)size;
	memcpy(at + sizeof(uint16_t), bytes, size);
	return ERR_OK;
}

static enum err decode_text(const struct field *f, struct reader *in, struct slice *slice)
{
	uint32_t size;
	const uint8_t *bytes = mp_read_str(in, &size);

	if (!bytes)
		return ERR_FORMAT;
	if (size > f->max)
		return ERR_TOO_LARGE;
	*slice = (struct slice){size ? (const char *)bytes : NULL, size};
	return ERR_OK;
}

static enum err decode_addr(struct reader *in, struct addr *addr)
{
	if (mp_read_array(in) != 2)
		return ERR_FORMAT;
	addr->node = mp_read_u64(in);
	addr->id = mp_read_u64(in);
	return ERR_OK;
}

static enum err decode_list(
	const struct field *f, struct reader *in, uint8_t *value, unsigned depth)
{
	uint16_t *count = (uint16_t *)(value + f->count_offset);
	uint8_t *items = value + f->offset;
	uint32_t claimed = mp_read_array(in);

	if (in->bad)
		return ERR_FORMAT;
	if (claimed > f->max)
		return ERR_TOO_LARGE;
	if (claimed < *count) /* a longer list under the same tag came before */
		memset(items + claimed * f->sub->size, 0, (*count - claimed) * f->sub->size);
	*count = (uint16_t)claimed;
	for (uint32_t i = 0; i < claimed; i++) {
		enum err err = decode_map(f->sub, in, items + i * f->sub->size, depth - 1);
		if (err)
			return err;
	}
	return ERR_OK;
}

static enum err decode_field(
	const struct field *f, struct reader *in, uint8_t *value, unsigned depth)
{
	uint8_t *at = value + f->offset;

	if (depth == 0 && f->kind >= FIELD_ADDR)
		return ERR_FORMAT;
	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL: *at = mp_read_bool(in); return ERR_OK;
	case FIELD_U8:
	case FIELD_U16:
	case FIELD_U32:
	case FIELD_U64: return decode_number(f, in, at);
	case FIELD_I64: *(int64_t *)at = mp_read_i64(in); return ERR_OK;
	case FIELD_STR: return decode_str(f, in, (char *)at);
	case FIELD_BYTES: return decode_bytes(f, in, at);
	case FIELD_TEXT: return decode_text(f, in, (struct slice *)at);
	case FIELD_ADDR: return decode_addr(in, (struct addr *)at);
	case FIELD_RECORD: return decode_map(f->sub, in, at, depth - 1);
	case FIELD_LIST: return decode_list(f, in, value, depth);
	}
	return ERR_INTERNAL;
}

/* The field of `tag`, looked for from *next on: senders keep the order of the table. */
static const struct field *find_field(const struct schema *schema, uint64_t tag, uint32_t *next)
{
	for (uint32_t i = 0; i < schema->field_count; i++) {
		uint32_t index = *next + i;
		if (index >= schema->field_count)
			index -= schema->field_count;
		if (schema->fields[index].tag == tag) {
			*next = index + 1 < schema->field_count ? index + 1 : 0;
			return &schema->fields[index];
		}
	}
	return NULL;
}

static enum err decode_fields(
	const struct schema *schema, struct reader *in, uint8_t *value, unsigned depth)
{
	uint32_t next = 0;

	for (uint32_t left = mp_read_map(in); left && !in->bad; left--) {
		if (mp_peek(in) != MP_INT)
			return ERR_FORMAT;
		int64_t tag = mp_read_i64(in);
		const struct field *f = tag > 0 ? find_field(schema, (uint64_t)tag, &next) : NULL;
		enum err err = ERR_OK;
		if (f)
			err = decode_field(f, in, value, depth);
		else
			mp_skip(in, depth);
		if (err)
			return in->bad ? ERR_FORMAT : err;
	}
	return in->bad ? ERR_FORMAT : ERR_OK;
}

static enum err decode_map(
	const struct schema *schema, struct reader *in, uint8_t *value, unsigned depth)
{
	memset(value, 0, schema->size);
	return decode_fields(schema, in, value, depth);
}

enum err schema_decode(const struct schema *schema, struct reader *in, void *value)
{
	memset(value, 0, schema->size);
	return schema_decode_more(schema, in, value);
}

enum err schema_decode_more(const struct schema *schema, struct reader *in, void *value)
{
	enum err err = decode_fields(schema, in, value, MP_DEPTH_MAX - 1);

	if (err) {
		in->bad = true;
		memset(value, 0, schema->size); /* no half values */
	}
	return err;
}

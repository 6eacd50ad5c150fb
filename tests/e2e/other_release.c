/* SPDX-License-Identifier: Apache-2.0
 *
 * Another release, as the tests of upgrades need one (build/millrace-other): this program, in which
 * whatever is written by a schema, to the escrow, to other processes and to the next supervisor, is as
 * a release would write it that differs from this one in both directions:
 *
 *   it has a field more in each message, state and record, which this one does not know;
 *   it does not have those that `later` lists: they are neither written nor understood.
 *
 * The linker puts these functions before the interpreter's (--wrap): nothing else is different.
 */
#include "schemas/mp.h"
#include "schemas/schema.h"

#include <stdlib.h>

enum err __real_schema_encode(const struct schema *schema, const void *value, struct writer *out);
enum err __real_schema_encode_part(
	const struct schema *schema, const void *value, bool hot, struct writer *out);
enum err __real_schema_decode(const struct schema *schema, struct reader *in, void *value);
enum err __wrap_schema_encode(const struct schema *schema, const void *value, struct writer *out);
enum err __wrap_schema_encode_part(
	const struct schema *schema, const void *value, bool hot, struct writer *out);
enum err __wrap_schema_decode(const struct schema *schema, struct reader *in, void *value);

/* What came with bitrates on the tree, latency tiers and links that give way. */
static const struct {
	const struct schema *schema;
	uint8_t tag;
} later[] = {
	{&schema_subscriber,	     8 },
	{&schema_subscriber,	     9 },
	{&schema_stream_state,      52},
	{&schema_session_state,	72},
	{&schema_session_state,	73},
	{&schema_session_state,	74},
	{&schema_rtc_away,	   4 },
	{&schema_link_open,	    5 },
	{&schema_link_need,	    4 },
	{&schema_link_sender,	      3 },
	{&schema_media_link_state,  38},
	{&schema_link_office_state, 13},
	{&schema_node_row,	   8 },
	{&schema_node_row,	   9 },
};

static bool is_later(const struct schema *schema, uint64_t tag)
{
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (later[i].schema == schema && later[i].tag == tag)
			return true;
	return false;
}

static const struct field *field_of(const struct schema *schema, uint64_t tag)
{
	for (uint32_t i = 0; i < schema->field_count; i++)
		if (schema->fields[i].tag == tag)
			return &schema->fields[i];
	return NULL;
}

/* ---- written --------------------------------------------------------------------------------- */

static void write_unknown(const struct schema *schema, msgpack_packer *pk)
{
	uint64_t tag = 127;

	while (field_of(schema, tag))
		tag--;
	msgpack_pack_uint64(pk, tag);
	msgpack_pack_array(pk, 2);
	msgpack_pack_map(pk, 1);
	msgpack_pack_uint64(pk, 1);
	msgpack_pack_str_with_body(pk, "other", 5);
	msgpack_pack_nil(pk);
}

static uint32_t count_kept(const struct schema *schema, struct reader in, uint32_t count)
{
	uint32_t kept = 0;

	for (; count && !in.bad; count--) {
		kept += !is_later(schema, mp_read_u64(&in));
		mp_skip(&in, MP_DEPTH_MAX);
	}
	return kept;
}

/* The map at `in`, which is of that schema, as the other release has it. */
static void translate(const struct schema *schema, struct reader *in, struct writer *out)
{
	msgpack_packer pk = mp_packer_of(out);
	uint32_t count = mp_read_map(in);

	msgpack_pack_map(&pk, count_kept(schema, *in, count) + 1);
	write_unknown(schema, &pk);
	for (; count && !in->bad && !out->bad; count--) {
		uint64_t tag = mp_read_u64(in);
		const struct field *field = field_of(schema, tag);
		const uint8_t *begin = in->at;

		if (is_later(schema, tag)) {
			mp_skip(in, MP_DEPTH_MAX);
			continue;
		}
		msgpack_pack_uint64(&pk, tag);
		if (field->kind == FIELD_RECORD) {
			translate(field->sub, in, out);
		} else if (field->kind == FIELD_LIST) {
			uint32_t items = mp_read_array(in);

			for (msgpack_pack_array(&pk, items); items && !in->bad; items--)
				translate(field->sub, in, out);
		} else {
			mp_skip(in, MP_DEPTH_MAX);
			write_bytes(out, begin, (size_t)(in->at - begin));
		}
	}
}

/* What has been written from `begin` on. Where there is no room for more, it stays. */
static enum err change(const struct schema *schema, uint8_t *begin, struct writer *out)
{
	size_t size = (size_t)(out->at - begin);
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return ERR_NO_MEMORY;
	memcpy(copy, begin, size);
	struct reader in = reader_of(copy, size);
	struct writer changed = writer_of(begin, (size_t)(out->end - begin));
	translate(schema, &in, &changed);
	MUST(!in.bad);
	if (changed.bad)
		memcpy(begin, copy, size);
	else
		out->at = changed.at;
	free(copy);
	return ERR_OK;
}

enum err __wrap_schema_encode(const struct schema *schema, const void *value, struct writer *out)
{
	uint8_t *begin = out->at;
	enum err err = __real_schema_encode(schema, value, out);

	return err ? err : change(schema, begin, out);
}

enum err __wrap_schema_encode_part(
	const struct schema *schema, const void *value, bool hot, struct writer *out)
{
	uint8_t *begin = out->at;
	enum err err = __real_schema_encode_part(schema, value, hot, out);

	return err ? err : change(schema, begin, out);
}

/* ---- read ------------------------------------------------------------------------------------ */

static size_t size_of(const struct field *field)
{
	switch ((enum field_kind)field->kind) {
	case FIELD_BOOL:
	case FIELD_U8: return 1;
	case FIELD_U16: return sizeof(uint16_t);
	case FIELD_U32: return sizeof(uint32_t);
	case FIELD_U64:
	case FIELD_I64: return sizeof(uint64_t);
	default: MUST(!"a number");
	}
	return 0;
}

static void forget_later(const struct schema *schema, uint8_t *value)
{
	for (uint32_t i = 0; i < schema->field_count; i++) {
		const struct field *field = &schema->fields[i];
		uint8_t *at = value + field->offset;
		uint16_t *count = (uint16_t *)(value + field->count_offset);

		if (is_later(schema, field->tag) && field->kind == FIELD_LIST)
			*count = 0;
		else if (is_later(schema, field->tag))
			memset(at, 0, size_of(field));
		else if (field->kind == FIELD_RECORD)
			forget_later(field->sub, at);
		else if (field->kind == FIELD_LIST)
			for (uint16_t j = 0; j < *count; j++)
				forget_later(field->sub, at + (size_t)j * field->sub->size);
	}
}

enum err __wrap_schema_decode(const struct schema *schema, struct reader *in, void *value)
{
	enum err err = __real_schema_decode(schema, in, value);

	if (!err)
		forget_later(schema, value);
	return err;
}

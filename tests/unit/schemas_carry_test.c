/* SPDX-License-Identifier: Apache-2.0
 *
 * From release to release: what lies in an escrow, and what processes tell each other while one after
 * the other is upgraded, was written by another release. tests/data/state has records of each; they are
 * carried into the present program, as they are, with a field that it does not know, and with each
 * field missing. MILLRACE_WRITE_DATA=1 writes those of this release.
 */
#include "schemas/mp.h"
#include "schemas/schema.h"
#include "tests/test.h"

#include <dirent.h>
#include <stdlib.h>

enum {
	VALUE_MAX = 1 << 24,
	RECORD_MAX = 1 << 15,
	LINE_MAX_SIZE = 2 * RECORD_MAX + 128,
	ITEMS = 2, /* of a list */
};

struct record {
	char file[256]; /* which release's */
	const struct schema *schema;
	uint8_t bytes[RECORD_MAX];
	size_t size;
};

static struct record record;
static uint8_t changed[RECORD_MAX + 64], again[RECORD_MAX + 64];
static uint64_t whole[VALUE_MAX / 8], value[VALUE_MAX / 8];
static uint32_t records_seen;

/* ---- the records of this release ------------------------------------------------------------- */

static void fill(const struct schema *schema, uint8_t *at);

static void fill_field(const struct field *f, uint8_t *base)
{
	uint8_t *at = base + f->offset;
	size_t size = strlen(f->name) < f->max ? strlen(f->name) : f->max;

	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL:
	case FIELD_U8: *at = 1; return;
	case FIELD_U16: *(uint16_t *)at = (uint16_t)(1000 + f->tag); return;
	case FIELD_U32: *(uint32_t *)at = 100000u + f->tag; return;
	case FIELD_U64: *(uint64_t *)at = (1ull << 40) + f->tag; return;
	case FIELD_I64: *(int64_t *)at = -(1ll << 40) - f->tag; return;
	case FIELD_STR: memcpy(at, f->name, size); return;
	case FIELD_BYTES:
		*(uint16_t *)at = (uint16_t)size;
		memcpy(at + sizeof(uint16_t), f->name, size);
		return;
	case FIELD_TEXT: *(struct slice *)at = (struct slice){f->name, (uint32_t)size}; return;
	case FIELD_ADDR: *(struct addr *)at = (struct addr){1ull << 50, 1000u + f->tag}; return;
	case FIELD_RECORD: fill(f->sub, at); return;
	case FIELD_LIST:
		*(uint16_t *)(base + f->count_offset) = f->max < ITEMS ? (uint16_t)f->max : ITEMS;
		for (uint32_t i = 0; i < ITEMS && i < f->max; i++)
			fill(f->sub, at + i * f->sub->size);
		return;
	}
}

static void fill(const struct schema *schema, uint8_t *at)
{
	for (uint32_t i = 0; i < schema->field_count; i++)
		fill_field(&schema->fields[i], at);
}

static void write_line(FILE *out, const struct schema *schema)
{
	struct writer w = writer_of(again, sizeof(again));

	CHECK(schema->size <= sizeof(value));
	memset(value, 0, schema->size);
	fill(schema, (uint8_t *)value);
	CHECK_OK(schema_encode(schema, value, &w));
	CHECK_LE(writer_used(&w), RECORD_MAX);
	fprintf(out, "%s ", schema->name);
	for (size_t i = 0; i < writer_used(&w); i++)
		fprintf(out, "%02x", again[i]);
	fprintf(out, "\n");
}

static void write_records(const char *directory)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.records", directory, MILLRACE_VERSION);
	FILE *out = fopen(path, "wb");
	CHECK(out);
	for (size_t i = 0; schema_at(i); i++)
		write_line(out, schema_at(i));
	CHECK_EQ(fclose(out), 0);
}

/* ---- those of all releases ------------------------------------------------------------------- */

static void parse_line(char *line)
{
	char *hex = strchr(line, ' ');
	unsigned byte;

	CHECK(hex);
	*hex++ = '\0';
	record.schema = schema_by_name(line);
	if (!record.schema)
		fail_msg("%s: this program does not know %s", record.file, line);
	for (record.size = 0; sscanf(hex + 2 * record.size, "%2x", &byte) == 1; record.size++) {
		CHECK(record.size < RECORD_MAX);
		record.bytes[record.size] = (uint8_t)byte;
	}
	CHECK(record.size && record.schema->size <= VALUE_MAX);
}

static void read_file(const char *directory, void (*look)(void))
{
	static char line[LINE_MAX_SIZE];
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", directory, record.file);
	FILE *in = fopen(path, "rb");
	CHECK(in);
	while (fgets(line, sizeof(line), in)) {
		parse_line(line);
		look();
		records_seen++;
	}
	fclose(in);
}

static void for_each_record(void (*look)(void))
{
	char directory[2048];
	struct dirent *entry;

	snprintf(directory, sizeof(directory), "%s/data/state", test_dir());
	if (getenv("MILLRACE_WRITE_DATA"))
		write_records(directory);
	DIR *list = opendir(directory);
	CHECK(list);
	records_seen = 0;
	while ((entry = readdir(list))) {
		if (!strstr(entry->d_name, ".records"))
			continue;
		snprintf(record.file, sizeof(record.file), "%s", entry->d_name);
		read_file(directory, look);
	}
	closedir(list);
	CHECK_GE(records_seen, 100);
}

static void decode(const uint8_t *bytes, size_t size, void *to)
{
	struct reader r = reader_of(bytes, size);
	enum err err = schema_decode(record.schema, &r, to);

	if (err)
		fail_msg("%s: %s is not understood: %s", record.file, record.schema->name,
			err_name(err));
	CHECK_EQ(reader_left(&r), 0);
}

static void look_whole(void)
{
	struct writer w = writer_of(again, sizeof(again));

	decode(record.bytes, record.size, whole);
	CHECK_OK(schema_encode(record.schema, whole, &w));
	if (writer_used(&w) != record.size || memcmp(again, record.bytes, record.size) != 0)
		fail_msg("%s: %s has lost something of what it had", record.file,
			record.schema->name);
}

TEST(what_a_release_wrote_is_understood_whole)
{
	for_each_record(look_whole);
}

/* Begins a map of so many fields in `changed`; what follows the header of the record's own is next. */
static struct writer begin_changed(struct reader *fields, int more)
{
	struct writer w = writer_of(changed, sizeof(changed));
	msgpack_packer pk = mp_packer_of(&w);

	*fields = reader_of(record.bytes, record.size);
	msgpack_pack_map(&pk, (size_t)((int)mp_read_map(fields) + more));
	return w;
}

static bool has_tag(uint64_t tag)
{
	for (uint32_t i = 0; i < record.schema->field_count; i++)
		if (record.schema->fields[i].tag == tag)
			return true;
	return false;
}

/* A later release's field comes first, with something deep in it. */
static void look_with_unknown(void)
{
	struct reader fields;
	struct writer w = begin_changed(&fields, 1);
	msgpack_packer pk = mp_packer_of(&w);
	uint64_t tag = 127;

	while (has_tag(tag))
		tag--;
	msgpack_pack_uint64(&pk, tag);
	msgpack_pack_array(&pk, 2);
	msgpack_pack_map(&pk, 1);
	msgpack_pack_uint64(&pk, 1);
	msgpack_pack_str_with_body(&pk, "later", 5);
	msgpack_pack_nil(&pk);
	write_bytes(&w, fields.at, reader_left(&fields));
	CHECK(!w.bad);
	decode(record.bytes, record.size, whole);
	decode(changed, writer_used(&w), value);
	CHECK(schema_equal(record.schema, whole, value));
}

TEST(a_field_that_is_not_known_is_skipped)
{
	for_each_record(look_with_unknown);
}

/* The record without its field number `left_out`; that field's tag. */
static uint64_t leave_out(uint32_t left_out, size_t *size)
{
	struct reader fields, keep;
	struct writer w = begin_changed(&fields, -1);
	uint64_t tag = 0;

	for (uint32_t i = 0; reader_left(&fields); i++) {
		keep = fields;
		uint64_t at = mp_read_u64(&fields);
		mp_skip(&fields, MP_DEPTH_MAX);
		CHECK(!fields.bad);
		if (i == left_out)
			tag = at;
		else
			write_bytes(&w, keep.at, (size_t)(fields.at - keep.at));
	}
	CHECK(!w.bad);
	*size = writer_used(&w);
	return tag;
}

static void look_without_each(void)
{
	struct reader r = reader_of(record.bytes, record.size);
	uint32_t count = mp_read_map(&r);
	size_t size;

	decode(record.bytes, record.size, whole);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t tag = leave_out(i, &size);

		decode(changed, size, value);
		struct writer w = writer_of(again, sizeof(again));
		CHECK_OK(schema_encode(record.schema, value, &w));
		CHECK_EQ(writer_used(&w), size); /* it is empty, and so it is not written */
		for (uint32_t f = 0; f < record.schema->field_count; f++) {
			const struct field *field = &record.schema->fields[f];

			if (schema_field_equal(field, whole, value) == (field->tag == tag))
				fail_msg("%s: %s without field %u: %s", record.file,
					record.schema->name, (unsigned)tag, field->name);
		}
	}
}

TEST(a_field_that_is_missing_has_its_default)
{
	for_each_record(look_without_each);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema interpreter: properties that must hold for every schema of the program and for two
 * made here, which hold every kind of field (`wide`, and `wider`: a later release of it).
 */
#include "schemas/mp.h"
#include "schemas/random.h"
#include "schemas/schema.h"
#include "tests/test.h"

#include <stdlib.h>

enum {
	VALUES_PER_SCHEMA = 200,
	VALUES_OF_A_TABLE = 4, /* of a schema that holds thousands of rows */
	TABLE_SIZE = 256 * 1024,
	ENCODED_MAX = 1 << 23,
	VALUE_MAX = 1 << 24,
	POOL_SIZE = 4096,
};

struct inner {
	uint16_t port;
	char host[9];
	struct slice note;
};

struct wide {
	bool on;
	uint8_t u8, kind;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	int64_t i64;
	char str[16];
	struct {
		uint16_t size;
		uint8_t data[5];
	} bytes;
	struct slice text;
	struct addr addr;
	struct inner inner;
	uint16_t list_count;
	struct inner list[3];
	char secret[8];
	struct {
		uint16_t size;
		uint8_t data[4];
	} key;
};

// clang-format off
#define AT(owner, f) #f, .offset = offsetof(struct owner, f)
static const struct field inner_fields[] = {
	{AT(inner, port), .tag = 1, .kind = FIELD_U16},
	{AT(inner, host), .tag = 2, .kind = FIELD_STR, .max = 8},
	{AT(inner, note), .tag = 3, .kind = FIELD_TEXT, .max = 300},
};
static const struct schema schema_inner = {"inner", 0, 0, sizeof(struct inner), 3, inner_fields};

#define WIDE_FIELDS(inner_schema) \
	{AT(wide, on), .tag = 1, .kind = FIELD_BOOL}, \
	{AT(wide, u8), .tag = 2, .kind = FIELD_U8}, \
	{AT(wide, kind), .tag = 3, .kind = FIELD_U8, .name_of = schema_err_name}, \
	{AT(wide, u16), .tag = 4, .kind = FIELD_U16}, \
	{AT(wide, u32), .tag = 5, .kind = FIELD_U32}, \
	{AT(wide, u64), .tag = 6, .kind = FIELD_U64}, \
	{AT(wide, i64), .tag = 7, .kind = FIELD_I64}, \
	{AT(wide, str), .tag = 8, .kind = FIELD_STR, .max = 15}, \
	{AT(wide, bytes), .tag = 9, .kind = FIELD_BYTES, .max = 5}, \
	{AT(wide, text), .tag = 10, .kind = FIELD_TEXT, .max = 70000}, \
	{AT(wide, addr), .tag = 11, .kind = FIELD_ADDR}, \
	{AT(wide, inner), .tag = 12, .kind = FIELD_RECORD, .sub = &inner_schema}, \
	{AT(wide, list), .tag = 13, .kind = FIELD_LIST, .max = 3, .sub = &inner_schema, \
		.count_offset = offsetof(struct wide, list_count)}, \
	{AT(wide, secret), .tag = 14, .kind = FIELD_STR, .max = 7, .flags = FIELD_IS_SECRET}, \
	{AT(wide, key), .tag = 127, .kind = FIELD_BYTES, .max = 4, .flags = FIELD_IS_SECRET}

static const struct field wide_fields[] = { WIDE_FIELDS(schema_inner) };
static const struct schema schema_wide =
	{"wide", 0, 0, sizeof(struct wide), sizeof(wide_fields) / sizeof(struct field), wide_fields};

/* The next release: more fields, among and around the old ones. */
struct wider {
	struct wide wide;
	int64_t i64;
	struct addr addr;
	struct wide nested;
	uint16_t more_count;
	struct wide more[2];
};
static const struct field wider_fields[] = {
	{AT(wider, i64), .tag = 99, .kind = FIELD_I64},
	WIDE_FIELDS(schema_inner),
	{AT(wider, addr), .tag = 100, .kind = FIELD_ADDR},
	{AT(wider, nested), .tag = 101, .kind = FIELD_RECORD, .sub = &schema_wide},
	{AT(wider, more), .tag = 102, .kind = FIELD_LIST, .max = 2, .sub = &schema_wide,
		.count_offset = offsetof(struct wider, more_count)},
};
static const struct schema schema_wider =
	{"wider", 0, 0, sizeof(struct wider), sizeof(wider_fields) / sizeof(struct field), wider_fields};
// clang-format on

static uint64_t value_a[VALUE_MAX / 8], value_b[VALUE_MAX / 8], block[VALUE_MAX / 8];
static uint8_t encoded_a[ENCODED_MAX], encoded_b[ENCODED_MAX];
static char pool[POOL_SIZE], json[4 * ENCODED_MAX];

/* The program's schemas, then those of this file. */
static const struct schema *schema_of_test(size_t index)
{
	size_t count = 0;

	while (schema_at(count))
		count++;
	if (index < count)
		return schema_at(index);
	return index == count ? &schema_wide : index == count + 1 ? &schema_wider : NULL;
}

static size_t encode(const struct schema *schema, const void *value, uint8_t *buffer)
{
	struct writer w = writer_of(buffer, ENCODED_MAX);

	CHECK_OK(schema_encode(schema, value, &w));
	return writer_used(&w);
}

/* A decoder must see the end of its input, so it gets an exact copy on the heap. */
static enum err decode(const struct schema *schema, const uint8_t *bytes, size_t size, void *value)
{
	uint8_t *copy = malloc(size ? size : 1);
	memcpy(copy, bytes, size);
	struct reader r = reader_of(copy, size);
	enum err err = schema_decode(schema, &r, value);
	CHECK_EQ(r.bad, err != ERR_OK);
	free(copy);
	return err;
}

/* RFC 8259, as little of it as it takes to say no; depth is that of our own schemas. */
static bool json_value(const char **at, const char *end);

static bool json_string(const char **at, const char *end)
{
	if (*at == end || *(*at)++ != '"')
		return false;
	while (*at < end && **at != '"') {
		if ((unsigned char)**at < 0x20)
			return false;
		if (**at == '\\') {
			(*at)++;
			if (*at == end || !strchr("\"\\u", **at))
				return false;
			if (**at == 'u' && strspn(*at + 1, "0123456789abcdef") < 4)
				return false;
		}
		(*at)++;
	}
	return (*at)++ < end;
}

static bool json_items(const char **at, const char *end, char close, bool is_object)
{
	(*at)++;
	if (**at == close) {
		(*at)++;
		return true;
	}
	for (;;) {
		if (is_object && (!json_string(at, end) || *(*at)++ != ':'))
			return false;
		if (!json_value(at, end))
			return false;
		char next = *(*at)++;
		if (next == close)
			return true;
		if (next != ',')
			return false;
	}
}

static bool json_value(const char **at, const char *end)
{
	if (*at >= end)
		return false;
	if (**at == '{' || **at == '[')
		return json_items(at, end, **at == '{' ? '}' : ']', **at == '{');
	if (**at == '"')
		return json_string(at, end);
	if (strncmp(*at, "true", 4) == 0 || strncmp(*at, "false", 5) == 0) {
		*at += **at == 't' ? 4 : 5;
		return true;
	}
	size_t length = strspn(*at, "-0123456789");
	*at += length;
	return length > 0;
}

static void check_is_json(const char *text, size_t size)
{
	const char *at = text;

	CHECK(json_value(&at, text + size));
	CHECK_EQ(at - text, size);
}

TEST(tables_are_sound)
{
	for (size_t i = 0; schema_of_test(i); i++) {
		const struct schema *schema = schema_of_test(i);
		CHECK_LE(schema->size, VALUE_MAX / 2);
		for (uint32_t k = 0; k < schema->field_count; k++) {
			const struct field *f = &schema->fields[k];
			CHECK(f->tag >= 1 && f->tag <= 127);
			CHECK(f->offset < schema->size);
			for (uint32_t j = 0; j < k; j++)
				CHECK(schema->fields[j].tag != f->tag);
			if (f->kind == FIELD_RECORD || f->kind == FIELD_LIST)
				CHECK(f->sub);
			if (f->kind == FIELD_LIST || f->kind == FIELD_BYTES)
				CHECK(f->max >= 1 && f->max <= UINT16_MAX);
			if (f->kind == FIELD_STR || f->kind == FIELD_TEXT)
				CHECK(f->max >= 1);
		}
	}
	for (size_t i = 0; schema_at(i); i++) {
		const struct schema *schema = schema_at(i);
		CHECK(schema_by_name(schema->name) == schema);
		if (schema->id)
			CHECK(schema_by_id(schema->id) == schema);
	}
	CHECK(schema_by_name("no such") == NULL);
	CHECK(schema_by_id(0) == NULL);
	CHECK(schema_by_id(MSG_failed) == &schema_failed);
	CHECK_EQ(sizeof(struct msg_failed), schema_failed.size);
}

static int values_of(const struct schema *schema)
{
	return test_rounds(schema->size > TABLE_SIZE ? VALUES_OF_A_TABLE : VALUES_PER_SCHEMA);
}

/* Cuts are tried at every byte of what is small, at so many places of what is large. */
static size_t step_of(const struct schema *schema, size_t size)
{
	return 1 + size / (schema->size > TABLE_SIZE ? 100 : 1000);
}

TEST(encode_decode_encode_is_identical)
{
	struct rng rng = rng_of(1);

	for (size_t i = 0; schema_of_test(i); i++) {
		const struct schema *schema = schema_of_test(i);
		int values = values_of(schema);
		for (int n = 0; n < values; n++) {
			schema_randomise(schema, value_a, &rng, pool, sizeof(pool));
			size_t size = encode(schema, value_a, encoded_a);
			CHECK_LE(size, schema_encoded_size_max(schema) + sizeof(pool));

			struct reader r = reader_of(encoded_a, size);
			CHECK_OK(schema_decode(schema, &r, value_b));
			CHECK_EQ(reader_left(&r), 0);
			CHECK(schema_equal(schema, value_a, value_b));
			CHECK_EQ(encode(schema, value_b, encoded_b), size);
			CHECK_MEM(encoded_a, encoded_b, size);

			size_t block_size = schema_clone_size(schema, value_a);
			CHECK_LE(block_size, sizeof(block));
			void *clone = schema_clone(schema, value_a, block, block_size);
			CHECK(schema_equal(schema, value_a, clone));
			CHECK_EQ(encode(schema, clone, encoded_b), size);
			CHECK_MEM(encoded_a, encoded_b, size);

			struct writer text = writer_of(json, sizeof(json));
			CHECK_OK(schema_print_json(schema, value_a, &text));
			check_is_json(json, writer_used(&text));
		}
	}
}

TEST(what_is_hot_and_the_rest_make_the_whole)
{
	struct rng rng = rng_of(8);
	unsigned hot_fields = 0;

	for (size_t i = 0; schema_of_test(i); i++) {
		const struct schema *schema = schema_of_test(i);

		for (uint32_t k = 0; k < schema->field_count; k++)
			hot_fields += schema->fields[k].flags & FIELD_IS_HOT ? 1 : 0;
		for (int n = 0; n < values_of(schema); n++) {
			struct writer hot = writer_of(encoded_a, sizeof(encoded_a));
			struct writer rest = writer_of(encoded_b, sizeof(encoded_b));

			schema_randomise(schema, value_a, &rng, pool, 64);
			CHECK_OK(schema_encode_part(schema, value_a, true, &hot));
			CHECK_OK(schema_encode_part(schema, value_a, false, &rest));
			struct reader in = reader_of(encoded_b, writer_used(&rest));
			CHECK_OK(schema_decode(schema, &in, value_b));
			in = reader_of(encoded_a, writer_used(&hot));
			CHECK_OK(schema_decode_more(schema, &in, value_b));
			CHECK(schema_equal(schema, value_a, value_b));
		}
	}
	CHECK_GE(hot_fields, 10);
}

TEST(unequal_values_encode_to_unequal_bytes)
{
	struct rng rng = rng_of(2);

	for (size_t i = 0; schema_of_test(i); i++) {
		const struct schema *schema = schema_of_test(i);
		static char other_pool[POOL_SIZE];
		int values = values_of(schema);
		for (int n = 0; n < values; n++) {
			schema_randomise(schema, value_a, &rng, pool, 64);
			schema_randomise(schema, value_b, &rng, other_pool, 64);
			size_t a = encode(schema, value_a, encoded_a);
			size_t b = encode(schema, value_b, encoded_b);
			bool is_same = a == b && memcmp(encoded_a, encoded_b, a) == 0;
			CHECK_EQ(schema_equal(schema, value_a, value_b), is_same);
		}
	}
}

TEST(every_truncation_is_refused)
{
	struct rng rng = rng_of(3);

	for (size_t i = 0; schema_of_test(i); i++) {
		const struct schema *schema = schema_of_test(i);
		int values = test_rounds(schema->size > TABLE_SIZE ? 1 : 10);
		for (int n = 0; n < values; n++) {
			schema_randomise(schema, value_a, &rng, pool, 200);
			size_t size = encode(schema, value_a, encoded_a);
			for (size_t cut = 0; cut < size; cut += step_of(schema, size))
				CHECK(decode(schema, encoded_a, cut, value_b) != ERR_OK);
			for (size_t room = 0; room < size; room += step_of(schema, size)) {
				struct writer w = writer_of(encoded_b, room);
				CHECK_EQ(schema_encode(schema, value_a, &w), ERR_NO_SPACE);
				CHECK_EQ(writer_used(&w), 0);
			}
			struct writer w = writer_of(json, sizeof(json));
			CHECK_OK(schema_print_json(schema, value_a, &w));
			size_t length = writer_used(&w);
			for (size_t room = 0; room < length; room += 1 + length / 100) {
				w = writer_of(json, room);
				CHECK_EQ(schema_print_json(schema, value_a, &w), ERR_NO_SPACE);
				CHECK_EQ(writer_used(&w), 0);
			}
		}
	}
}

TEST(mutated_bytes_decode_to_something_legal_or_not_at_all)
{
	struct rng rng = rng_of(4);
	unsigned taken = 0;

	for (size_t i = 0; schema_of_test(i); i++) {
		const struct schema *schema = schema_of_test(i);
		int values = values_of(schema);
		for (int n = 0; n < values; n++) {
			schema_randomise(schema, value_a, &rng, pool, 64);
			size_t size = encode(schema, value_a, encoded_a);
			for (uint64_t flips = 1 + rng_below(&rng, 4); flips; flips--)
				encoded_a[rng_below(&rng, size)] = (uint8_t)rng_u64(&rng);
			uint8_t *copy = malloc(size);
			memcpy(copy, encoded_a, size);
			struct reader r = reader_of(copy, size);
			if (schema_decode(schema, &r, value_b) == ERR_OK) {
				taken++;
				encode(schema, value_b, encoded_b);
				struct writer text = writer_of(json, sizeof(json));
				CHECK_OK(schema_print_json(schema, value_b, &text));
				check_is_json(json, writer_used(&text));
			}
			free(copy);
		}
	}
	CHECK(taken > 0);
}

TEST(fields_of_a_later_release_are_skipped)
{
	struct rng rng = rng_of(5);
	struct wider wider;
	struct wide back;

	for (int n = 0; n < test_rounds(10 * VALUES_PER_SCHEMA); n++) {
		schema_randomise(&schema_wider, &wider, &rng, pool, sizeof(pool));
		size_t size = encode(&schema_wider, &wider, encoded_a);
		struct reader r = reader_of(encoded_a, size);
		CHECK_OK(schema_decode(&schema_wide, &r, &back));
		CHECK(schema_equal(&schema_wide, &wider.wide, &back));

		size = encode(&schema_wide, &back, encoded_b); /* and fields of ours not sent */
		r = reader_of(encoded_b, size);
		CHECK_OK(schema_decode(&schema_wider, &r, &wider));
		CHECK(schema_equal(&schema_wide, &wider.wide, &back));
		CHECK_EQ(wider.more_count, 0);
	}
}

// clang-format off
#define BYTES(...) {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})
static const struct {
	uint8_t bytes[24];
	size_t size;
	enum err expected;
} wire_rows[] = {
	{BYTES(0x80), ERR_OK},
	{BYTES(0xde, 0x00, 0x00), ERR_OK},                  /* an empty map, said at length */
	{BYTES(0x90), ERR_FORMAT},
	{BYTES(0xc0), ERR_FORMAT},
	{BYTES(0x82, 2, 1), ERR_FORMAT},                    /* one pair is missing */
	{BYTES(0xdf, 0xff, 0xff, 0xff, 0xff, 2, 1), ERR_FORMAT},
	{BYTES(0x81, 2, 0xcc, 0xff), ERR_OK},
	{BYTES(0x81, 2, 0xcd, 0x01, 0x00), ERR_TOO_LARGE},  /* u8 = 256 */
	{BYTES(0x81, 2, 0xd0, 0x05), ERR_OK},               /* 5 in a signed form */
	{BYTES(0x81, 2, 0xff), ERR_FORMAT},                 /* u8 = -1 */
	{BYTES(0x81, 2, 0xa1, '5'), ERR_FORMAT},
	{BYTES(0x81, 2, 0xc0), ERR_FORMAT},
	{BYTES(0x81, 1, 1), ERR_FORMAT},                    /* bool = 1 */
	{BYTES(0x81, 1, 0xc2), ERR_OK},                     /* bool = false, though it need not be sent */
	{BYTES(0x81, 0xcc, 2, 7), ERR_OK},                  /* tag in a long form */
	{BYTES(0x81, 0xa1, 'x', 7), ERR_FORMAT},            /* tag is no number */
	{BYTES(0x81, 0, 7), ERR_OK},                        /* unknown tags */
	{BYTES(0x81, 0xff, 7), ERR_OK},
	{BYTES(0x81, 0xcd, 0x01, 0x02, 7), ERR_OK},         /* 258 is not 2 */
	{BYTES(0x81, 0x60, 0xc7, 1, 9, 9), ERR_OK},         /* unknown: an ext */
	{BYTES(0x81, 0x60, 0xc1), ERR_FORMAT},
	{BYTES(0x81, 0x60, 0xdd, 0xff, 0xff, 0xff, 0xff), ERR_FORMAT},
	{BYTES(0x81, 8, 0xaf, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), ERR_OK},
	{BYTES(0x81, 8, 0xb0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16), ERR_TOO_LARGE},
	{BYTES(0x81, 8, 0xa2, 'a', 0), ERR_FORMAT},         /* NUL inside a string */
	{BYTES(0x81, 8, 0xc4, 1, 'a'), ERR_FORMAT},         /* bin is not str … */
	{BYTES(0x81, 9, 0xa1, 'a'), ERR_FORMAT},            /* … nor the other way */
	{BYTES(0x81, 9, 0xc4, 5, 1, 2, 3, 4, 5), ERR_OK},
	{BYTES(0x81, 9, 0xc4, 6, 1, 2, 3, 4, 5, 6), ERR_TOO_LARGE},
	{BYTES(0x81, 11, 0x92, 1, 2), ERR_OK},
	{BYTES(0x81, 11, 0x91, 1), ERR_FORMAT},
	{BYTES(0x81, 11, 0x93, 1, 2, 3), ERR_FORMAT},
	{BYTES(0x81, 12, 0x80), ERR_OK},
	{BYTES(0x81, 12, 0x90), ERR_FORMAT},
	{BYTES(0x81, 12, 0x81, 1, 0xce, 0, 1, 0, 0), ERR_TOO_LARGE},
	{BYTES(0x81, 13, 0x93, 0x80, 0x80, 0x80), ERR_OK},
	{BYTES(0x81, 13, 0x94, 0x80, 0x80, 0x80, 0x80), ERR_TOO_LARGE},
	{BYTES(0x81, 13, 0x92, 0x80, 0x01), ERR_FORMAT},
	{BYTES(0x81, 13, 0xdd, 0xff, 0xff, 0xff, 0xff), ERR_FORMAT},
};
// clang-format on

TEST(wire_rows_decode_as_expected)
{
	struct wide wide;

	for (size_t i = 0; i < sizeof(wire_rows) / sizeof(wire_rows[0]); i++)
		CHECK_EQ(decode(&schema_wide, wire_rows[i].bytes, wire_rows[i].size, &wide),
			wire_rows[i].expected);
}

/* Two parts of a tree that grow at once may take the same number. */
TEST(a_tag_is_given_once)
{
	for (size_t i = 0; schema_at(i); i++) {
		const struct schema *schema = schema_at(i);
		bool given[128] = {false};

		for (uint32_t f = 0; f < schema->field_count; f++) {
			uint8_t tag = schema->fields[f].tag;

			if (!tag || tag > 127 || given[tag])
				fail_msg(
					"%s.%s: tag %u", schema->name, schema->fields[f].name, tag);
			given[tag] = true;
		}
	}
}

TEST(of_a_tag_sent_twice_the_last_wins)
{
	static const uint8_t bytes[] = {0x86, 2, 7, 2, 9, 8, 0xa2, 'a', 'b', 8, 0xa1, 'c', 13, 0x92,
		0x81, 1, 5, 0x81, 1, 6, 13, 0x91, 0x80};
	struct wide wide;

	CHECK_OK(decode(&schema_wide, bytes, sizeof(bytes), &wide));
	CHECK_EQ(wide.u8, 9);
	CHECK_STR(wide.str, "c");
	CHECK_EQ(wide.list_count, 1);
	CHECK_EQ(wide.list[0].port, 0);
	CHECK_EQ(wide.list[1].port, 0);
}

TEST(unknown_values_may_nest_to_the_bound_and_no_deeper)
{
	struct wide wide;
	uint8_t bytes[64] = {0x81, 0x60};

	for (unsigned depth = 0; depth < 30; depth++) {
		memset(bytes + 2, 0x91, depth);
		bytes[2 + depth] = 0xc0;
		enum err expected = depth + 1 <= MP_DEPTH_MAX ? ERR_OK : ERR_FORMAT;
		CHECK_EQ(decode(&schema_wide, bytes, 3 + depth, &wide), expected);
	}
}

/* A state that comes out of an escrow may hold anything. */
TEST(broken_structs_are_refused_not_followed)
{
	struct wide wide = {0};
	struct writer w = writer_of(encoded_a, sizeof(encoded_a));

	memset(wide.str, 'x', sizeof(wide.str)); /* no end */
	CHECK_EQ(schema_encode(&schema_wide, &wide, &w), ERR_LIMIT);
	wide = (struct wide){.list_count = 4};
	CHECK_EQ(schema_encode(&schema_wide, &wide, &w), ERR_LIMIT);
	wide = (struct wide){.bytes.size = 6};
	CHECK_EQ(schema_encode(&schema_wide, &wide, &w), ERR_LIMIT);
	wide = (struct wide){
		.text = {NULL, 1}
	 };
	CHECK_EQ(schema_encode(&schema_wide, &wide, &w), ERR_LIMIT);
	CHECK_EQ(writer_used(&w), 0);
	CHECK(!w.bad);

	struct rng rng = rng_of(6);
	for (int n = 0; n < test_rounds(20000); n++) {
		rng_fill(&rng, &wide, sizeof(wide));
		wide.text = wide.inner.note = (struct slice){0};
		for (int i = 0; i < 3; i++)
			wide.list[i].note = (struct slice){0};
		w = writer_of(encoded_a, sizeof(encoded_a));
		schema_encode(&schema_wide, &wide, &w);
		struct writer text = writer_of(json, sizeof(json));
		CHECK_OK(schema_print_json(&schema_wide, &wide, &text));
		check_is_json(json, writer_used(&text));
		schema_equal(&schema_wide, &wide, &wide);
		CHECK_LE(schema_clone_size(&schema_wide, &wide), sizeof(block));
	}
}

static void check_json(const struct schema *schema, const void *value, const char *expected)
{
	struct writer w = writer_of(json, sizeof(json) - 1);

	CHECK_OK(schema_print_json(schema, value, &w));
	*w.at = 0;
	CHECK_STR(json, expected);
}

TEST(json_prints_as_documented)
{
	struct wide wide = {
		.on = true,
		.kind = ERR_BUSY,
		.u64 = (1ull << 53) + 1,
		.i64 = -5,
		.str = "a\"b\\\n\xc3\xa9\xff",
		.bytes = {2,    {0xca, 0xfe}},
		.text = {"hi",    2},
		.addr = {0xab,0x10},
		.list_count = 1,
		.list = {{.port = 80}},
		.secret = "hunter2",
	};

	check_json(&schema_wide, &wide,
		"{\"on\":true,\"u8\":0,\"kind\":\"busy\",\"u16\":0,\"u32\":0,"
		"\"u64\":\"9007199254740993\",\"i64\":-5,\"str\":"
		"\"a\\\"b\\\\\\u000a\xc3\xa9\\ufffd\","
		"\"bytes\":\"cafe\",\"text\":\"hi\",\"addr\":\"ab/10\","
		"\"inner\":{\"port\":0,\"host\":\"\",\"note\":\"\"},"
		"\"list\":[{\"port\":80,\"host\":\"\",\"note\":\"\"}],\"secret\":\"***\"}");
	check_json(&schema_inner, &(struct inner){.host = "h"},
		"{\"port\":0,\"host\":\"h\",\"note\":\"\"}");
	check_json(&schema_done, &wide, "{}");
	wide = (struct wide){
		.i64 = INT64_MIN, .u64 = 1ull << 53, .key = {1, {0}}
	    };
	struct writer w = writer_of(json, sizeof(json) - 1);
	CHECK_OK(schema_print_json(&schema_wide, &wide, &w));
	*w.at = 0;
	CHECK(strstr(json, "\"u64\":9007199254740992,\"i64\":\"-9223372036854775808\""));
	CHECK(strstr(json, "\"key\":\"***\""));
	CHECK(!strstr(json, "\"secret\""));
}

TEST(json_is_utf8_whatever_the_string_holds)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{"\xe2\x82\xac",	 "\xe2\x82\xac"		       },
		{"\xf0\x9f\x8e\xa5", "\xf0\x9f\x8e\xa5"	       },
		{"\xc0\xaf",	     "\\ufffd\\ufffd"		     }, /* overlong */
		{"\xe0\x80\xaf",	 "\\ufffd\\ufffd\\ufffd"	},
		{"\xed\xa0\x80",	 "\\ufffd\\ufffd\\ufffd"	}, /* surrogate */
		{"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
		{"\xe2\x82",	     "\\ufffd\\ufffd"		     }, /* cut short */
		{"\x80z",		  "\\ufffdz"		    },
		{"\x7f\x01",	     "\x7f\\u0001"		  },
	};
	char expected[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct inner inner = {
			.note = {rows[i].text, (uint32_t)strlen(rows[i].text)}
		      };
		snprintf(expected, sizeof(expected), "{\"port\":0,\"host\":\"\",\"note\":\"%s\"}",
			rows[i].expected);
		check_json(&schema_inner, &inner, expected);
	}
}

TEST(addresses_as_text)
{
	static const struct {
		const char *text;
		enum err err;
		struct addr addr;
	} rows[] = {
		{"0/0",			       ERR_OK,	{0, 0}		      },
		{"1/2f",			      ERR_OK,	 {1, 0x2f}		  },
		{"ffffffffffffffff/ffffffffffffffff", ERR_OK,     {UINT64_MAX, UINT64_MAX}},
		{"2f",				ERR_OK,     {0, 0x2f}		},
		{"",				  ERR_FORMAT, {0}			    },
		{"/",				 ERR_FORMAT, {0}		     },
		{"1/",				ERR_FORMAT, {0}		      },
		{"/1",				ERR_FORMAT, {0}		      },
		{"01/1",			      ERR_FORMAT, {0}			},
		{"1/01",			      ERR_FORMAT, {0}			},
		{"1/2F",			      ERR_FORMAT, {0}			},
		{"1/2 ",			      ERR_FORMAT, {0}			},
		{" 1/2",			      ERR_FORMAT, {0}			},
		{"1/2/3",			     ERR_FORMAT, {0}			 },
		{"-1/2",			      ERR_FORMAT, {0}			},
		{"10000000000000000/1",		ERR_FORMAT, {0}		       },
	};
	char text[ADDR_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr addr = {0};
		CHECK_EQ(addr_parse(rows[i].text, &addr), rows[i].err);
		CHECK(addr_equal(addr, rows[i].addr));
		if (strchr(rows[i].text, '/') && !rows[i].err)
			CHECK_STR(addr_text(addr, text), rows[i].text);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The msgpack cursor: rows from the format's own table, truncation, depth, lying counts.
 */
#include "schemas/mp.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

#define BYTES(...) {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

// clang-format off
static const struct {
	uint8_t bytes[12];
	size_t size;
	enum mp_type type;
	int64_t number; /* of an integer or bool; length or count of the rest */
} value_rows[] = {
	{BYTES(0x00), MP_INT, 0},
	{BYTES(0x7f), MP_INT, 127},
	{BYTES(0xe0), MP_INT, -32},
	{BYTES(0xff), MP_INT, -1},
	{BYTES(0xcc, 0xff), MP_INT, 255},
	{BYTES(0xcd, 0x01, 0x00), MP_INT, 256},
	{BYTES(0xce, 0xff, 0xff, 0xff, 0xff), MP_INT, 0xffffffff},
	{BYTES(0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), MP_INT, INT64_MAX},
	{BYTES(0xd0, 0x80), MP_INT, -128},
	{BYTES(0xd0, 0x05), MP_INT, 5},
	{BYTES(0xd1, 0x80, 0x00), MP_INT, -32768},
	{BYTES(0xd2, 0x80, 0x00, 0x00, 0x00), MP_INT, INT32_MIN},
	{BYTES(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), MP_INT, INT64_MIN},
	{BYTES(0xc0), MP_NIL, 0},
	{BYTES(0xc2), MP_BOOL, 0},
	{BYTES(0xc3), MP_BOOL, 1},
	{BYTES(0xa0), MP_STR, 0},
	{BYTES(0xa2, 'h', 'i'), MP_STR, 2},
	{BYTES(0xd9, 0x02, 'h', 'i'), MP_STR, 2},
	{BYTES(0xda, 0x00, 0x02, 'h', 'i'), MP_STR, 2},
	{BYTES(0xdb, 0x00, 0x00, 0x00, 0x02, 'h', 'i'), MP_STR, 2},
	{BYTES(0xc4, 0x01, 0xaa), MP_BIN, 1},
	{BYTES(0xc5, 0x00, 0x01, 0xaa), MP_BIN, 1},
	{BYTES(0xc6, 0x00, 0x00, 0x00, 0x01, 0xaa), MP_BIN, 1},
	{BYTES(0x90), MP_ARRAY, 0},
	{BYTES(0x92, 0x01, 0x02), MP_ARRAY, 2},
	{BYTES(0xdc, 0x00, 0x01, 0x01), MP_ARRAY, 1},
	{BYTES(0xdd, 0x00, 0x00, 0x00, 0x01, 0x01), MP_ARRAY, 1},
	{BYTES(0x80), MP_MAP, 0},
	{BYTES(0x81, 0x01, 0x02), MP_MAP, 1},
	{BYTES(0xde, 0x00, 0x01, 0x01, 0x02), MP_MAP, 1},
	{BYTES(0xdf, 0x00, 0x00, 0x00, 0x01, 0x01, 0x02), MP_MAP, 1},
	{BYTES(0xd4, 0x07, 0xaa), MP_EXT, 1},
	{BYTES(0xd5, 0x07, 0xaa, 0xbb), MP_EXT, 2},
	{BYTES(0xd6, 0x07, 1, 2, 3, 4), MP_EXT, 4},
	{BYTES(0xd7, 0x07, 1, 2, 3, 4, 5, 6, 7, 8), MP_EXT, 8},
	{BYTES(0xc7, 0x01, 0x07, 0xaa), MP_EXT, 1},
	{BYTES(0xc8, 0x00, 0x01, 0x07, 0xaa), MP_EXT, 1},
	{BYTES(0xc9, 0x00, 0x00, 0x00, 0x01, 0x07, 0xaa), MP_EXT, 1},
	{BYTES(0xca, 0x3f, 0x80, 0x00, 0x00), MP_FLOAT, 1},
	{BYTES(0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0), MP_FLOAT, 1},
};
// clang-format on

enum { VALUE_ROWS = sizeof(value_rows) / sizeof(value_rows[0]) };

/* Reads a value with the getter of its type; gives its number. */
static int64_t read_any(struct reader *r, enum mp_type type)
{
	uint32_t size = 0;
	int8_t ext = 0;

	switch (type) {
	case MP_NIL: mp_read_nil(r); return 0;
	case MP_BOOL: return mp_read_bool(r);
	case MP_INT: return mp_read_i64(r);
	case MP_FLOAT: return (int64_t)mp_read_double(r);
	case MP_STR: mp_read_str(r, &size); return size;
	case MP_BIN: mp_read_bin(r, &size); return size;
	case MP_ARRAY: return mp_read_array(r);
	case MP_MAP: return mp_read_map(r);
	case MP_EXT: mp_read_ext(r, &ext, &size); return size;
	case MP_NONE: break;
	}
	return 0;
}

TEST(every_form_of_the_format_is_read)
{
	for (size_t i = 0; i < VALUE_ROWS; i++) {
		struct reader r = reader_of(value_rows[i].bytes, value_rows[i].size);

		CHECK_EQ(mp_peek(&r), value_rows[i].type);
		CHECK_EQ(read_any(&r, value_rows[i].type), value_rows[i].number);
		CHECK(!r.bad);

		r = reader_of(value_rows[i].bytes, value_rows[i].size);
		mp_skip(&r, 1);
		CHECK(!r.bad);
		CHECK_EQ(reader_left(&r), 0);
	}
}

TEST(truncated_at_every_length_is_bad)
{
	for (size_t i = 0; i < VALUE_ROWS; i++) {
		for (size_t size = 0; size < value_rows[i].size; size++) {
			uint8_t *copy = malloc(size + 1); /* the sanitizer sees a read beyond */
			memcpy(copy, value_rows[i].bytes, size);
			struct reader r = reader_of(copy, size);
			mp_skip(&r, MP_DEPTH_MAX);
			CHECK(r.bad);
			free(copy);
		}
	}
}

TEST(another_type_than_asked_for_is_bad)
{
	for (size_t i = 0; i < VALUE_ROWS; i++) {
		for (enum mp_type type = MP_NIL; type <= MP_EXT; type++) {
			struct reader r = reader_of(value_rows[i].bytes, value_rows[i].size);
			if (type == value_rows[i].type)
				continue;
			CHECK_EQ(read_any(&r, type), 0);
			CHECK(r.bad);
		}
	}
}

TEST(integers_out_of_range_are_bad)
{
	static const uint8_t minus_one[] = {0xff};
	static const uint8_t huge[] = {0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0};
	struct reader r = reader_of(minus_one, sizeof(minus_one));

	CHECK_EQ(mp_read_u64(&r), 0);
	CHECK(r.bad);
	r = reader_of(huge, sizeof(huge));
	CHECK_EQ(mp_read_i64(&r), 0);
	CHECK(r.bad);
	r = reader_of(huge, sizeof(huge));
	CHECK_EQ(mp_read_u64(&r), 1ull << 63);
	CHECK(!r.bad);
}

TEST(counts_that_the_input_cannot_hold_are_bad)
{
	// clang-format off
	static const struct {
		uint8_t bytes[12];
		size_t size;
	} rows[] = {
		{BYTES(0xdd, 0xff, 0xff, 0xff, 0xff)},
		{BYTES(0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0, 0)},
		{BYTES(0xdf, 0x80, 0x00, 0x00, 0x00, 0, 0, 0)},
		{BYTES(0xdc, 0x00, 0x03, 0x00, 0x00)},
		{BYTES(0x82, 0x00, 0x00, 0x00)},
		{BYTES(0xdb, 0xff, 0xff, 0xff, 0xff, 0)},
		{BYTES(0xc6, 0xff, 0xff, 0xff, 0xff, 0)},
		{BYTES(0xc9, 0xff, 0xff, 0xff, 0xff, 0, 0)},
		{BYTES(0xc1)},
	};
	// clang-format on

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reader r = reader_of(rows[i].bytes, rows[i].size);
		enum mp_type type = mp_peek(&r);
		CHECK_EQ(read_any(&r, type), 0);
		mp_skip(&r, MP_DEPTH_MAX);
		CHECK(r.bad);
	}
}

TEST(skip_is_bounded_in_depth)
{
	uint8_t nested[4096];

	for (unsigned depth = 0; depth < 40; depth++) {
		memset(nested, 0x91, depth);
		nested[depth] = 0xc0;
		struct reader r = reader_of(nested, depth + 1);
		mp_skip(&r, MP_DEPTH_MAX);
		CHECK_EQ(r.bad, depth > MP_DEPTH_MAX);
	}
	memset(nested, 0x91, sizeof(nested));
	struct reader r = reader_of(nested, sizeof(nested));
	mp_skip(&r, 1000);
	CHECK(r.bad);
}

TEST(packer_writes_what_the_cursor_reads)
{
	uint8_t buffer[64];
	struct writer w = writer_of(buffer, sizeof(buffer));
	msgpack_packer pk = mp_packer_of(&w);
	uint32_t size;

	msgpack_pack_map(&pk, 2);
	msgpack_pack_uint8(&pk, 1);
	msgpack_pack_int64(&pk, -300);
	msgpack_pack_str_with_body(&pk, "key", 3);
	msgpack_pack_double(&pk, 2.5);
	CHECK(!w.bad);

	struct reader r = reader_of(buffer, writer_used(&w));
	CHECK_EQ(mp_read_map(&r), 2);
	CHECK_EQ(mp_read_u64(&r), 1);
	CHECK_EQ(mp_read_i64(&r), -300);
	CHECK_MEM(mp_read_str(&r, &size), "key", 3);
	CHECK(mp_read_double(&r) == 2.5);
	CHECK(!r.bad);
	CHECK_EQ(reader_left(&r), 0);

	w = writer_of(buffer, 4); /* no room: remembered, nothing written beyond */
	pk = mp_packer_of(&w);
	msgpack_pack_str_with_body(&pk, "longer", 6);
	CHECK(w.bad);
}

TEST(random_bytes_never_crash_the_cursor)
{
	struct rng rng = rng_of(1);
	uint8_t bytes[64];

	for (int i = 0; i < 200000; i++) {
		size_t size = rng_below(&rng, sizeof(bytes) + 1);
		rng_fill(&rng, bytes, size);
		struct reader r = reader_of(bytes, size);
		while (!r.bad && reader_left(&r)) {
			if (rng_chance_ppm(&rng, 500000))
				mp_skip(&r, MP_DEPTH_MAX);
			else
				read_any(&r, mp_peek(&r));
		}
	}
}

/* xoshiro256** over the state {1, 2, 3, 4} begins 11520, 0, 1509978240 (authors' reference code). */
TEST(random_numbers_are_those_of_the_reference)
{
	struct rng rng = {
		.state = {1, 2, 3, 4}
	     };
	struct rng seeded = rng_of(0);

	CHECK_EQ(rng_u64(&rng), 11520);
	CHECK_EQ(rng_u64(&rng), 0);
	CHECK_EQ(rng_u64(&rng), 1509978240);
	CHECK_EQ(rng_u64(&rng), 1215971899390074240);
	/* splitmix64 from 0 begins e220a8397b1dcdaf 6e789e6aa1b965f4 */
	CHECK_EQ(seeded.state[0], 0xe220a8397b1dcdaf);
	CHECK_EQ(seeded.state[1], 0x6e789e6aa1b965f4);
}

TEST(random_draws_keep_their_bounds)
{
	struct rng rng = rng_of(7);
	unsigned seen[10] = {0};
	unsigned hits = 0;

	CHECK_EQ(rng_below(&rng, 0), 0);
	CHECK_EQ(rng_below(&rng, 1), 0);
	CHECK_EQ(rng_between(&rng, 5, 4), 5);
	for (int i = 0; i < 100000; i++) {
		seen[rng_below(&rng, 10)]++;
		hits += rng_chance_ppm(&rng, 20000);
		int64_t between = rng_between(&rng, -3, 3);
		CHECK(between >= -3 && between <= 3);
		rng_between(&rng, INT64_MIN, INT64_MAX);
	}
	for (int i = 0; i < 10; i++)
		CHECK(seen[i] > 9500 && seen[i] < 10500);
	CHECK(hits > 1800 && hits < 2200);
	CHECK(!rng_chance_ppm(&rng, 0));
	CHECK(rng_chance_ppm(&rng, 1000000));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a message costs: encode, decode, clone and print of one with eight fields. For scale, the
 * same eight fields by bare msgpack-c calls, without tables.
 */
#include "schemas/mp.h"
#include "schemas/schema.h"

#include <stdio.h>
#include <time.h>

enum { ROUNDS = 2000000 };

struct sample {
	struct addr from;
	uint64_t request;
	uint32_t deadline_ms;
	uint16_t type;
	uint8_t hops;
	bool is_reply;
	int64_t at_us;
	char stream[128];
};

// clang-format off
#define AT(f) #f, .offset = offsetof(struct sample, f)
static const struct field sample_fields[] = {
	{AT(from), .tag = 1, .kind = FIELD_ADDR},
	{AT(request), .tag = 2, .kind = FIELD_U64},
	{AT(deadline_ms), .tag = 3, .kind = FIELD_U32},
	{AT(type), .tag = 4, .kind = FIELD_U16},
	{AT(hops), .tag = 5, .kind = FIELD_U8},
	{AT(is_reply), .tag = 6, .kind = FIELD_BOOL},
	{AT(at_us), .tag = 7, .kind = FIELD_I64},
	{AT(stream), .tag = 8, .kind = FIELD_STR, .max = 127},
};
// clang-format on

static const struct schema sample_schema = {
	.name = "sample", .size = sizeof(struct sample), .field_count = 8, .fields = sample_fields};

static const struct sample value = {
	.from = {0x51fe, 0x10000002a},
	.request = 77001,
	.deadline_ms = 5000,
	.type = 0x0201,
	.hops = 1,
	.is_reply = true,
	.at_us = 1790000000123456,
	.stream = "live/demo",
};

static uint8_t buffer[1024];
static size_t size;

static void bare_encode(void)
{
	struct writer w = writer_of(buffer, sizeof(buffer));
	msgpack_packer pk = mp_packer_of(&w);

	msgpack_pack_map(&pk, 8);
	msgpack_pack_uint8(&pk, 1);
	msgpack_pack_array(&pk, 2);
	msgpack_pack_uint64(&pk, value.from.node);
	msgpack_pack_uint64(&pk, value.from.id);
	msgpack_pack_uint8(&pk, 2);
	msgpack_pack_uint64(&pk, value.request);
	msgpack_pack_uint8(&pk, 3);
	msgpack_pack_uint32(&pk, value.deadline_ms);
	msgpack_pack_uint8(&pk, 4);
	msgpack_pack_uint16(&pk, value.type);
	msgpack_pack_uint8(&pk, 5);
	msgpack_pack_uint8(&pk, value.hops);
	msgpack_pack_uint8(&pk, 6);
	msgpack_pack_true(&pk);
	msgpack_pack_uint8(&pk, 7);
	msgpack_pack_int64(&pk, value.at_us);
	msgpack_pack_uint8(&pk, 8);
	msgpack_pack_str_with_body(&pk, value.stream, strlen(value.stream));
	size = writer_used(&w);
}

static void encode(void)
{
	struct writer w = writer_of(buffer, sizeof(buffer));

	MUST(schema_encode(&sample_schema, &value, &w) == ERR_OK);
	size = writer_used(&w);
}

static void decode(void)
{
	struct reader r = reader_of(buffer, size);
	struct sample back;

	MUST(schema_decode(&sample_schema, &r, &back) == ERR_OK);
	__asm__ volatile("" : : "r"(&back) : "memory");
}

static void clone(void)
{
	struct sample back;

	schema_clone(&sample_schema, &value, &back, sizeof(back));
	__asm__ volatile("" : : "r"(&back) : "memory");
}

static void print(void)
{
	uint8_t text[1024];
	struct writer w = writer_of(text, sizeof(text));

	MUST(schema_print_json(&sample_schema, &value, &w) == ERR_OK);
}

static void measure(const char *name, void (*run)(void), int rounds)
{
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < rounds; i++)
		run();
	clock_gettime(CLOCK_MONOTONIC, &end);
	double ns =
		(double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
	printf("%-24s %7.1f ns (%zu bytes)\n", name, ns / rounds, size);
}

int main(void)
{
	measure("encode, bare msgpack-c", bare_encode, ROUNDS);
	measure("encode", encode, ROUNDS);
	measure("decode", decode, ROUNDS);
	measure("clone", clone, ROUNDS);
	measure("print as JSON", print, ROUNDS / 10);
	return 0;
}

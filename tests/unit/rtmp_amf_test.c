/* SPDX-License-Identifier: Apache-2.0
 *
 * AMF0: values as the specification lays them out, nesting, and input that lies.
 */
#include "tests/test.h"

#include "actors/rtmp/amf.h"

#include <math.h>
#include <stdio.h>

/* Walks a message and prints it as text: "<depth><kind>[name][=value]" an item. */
static enum err describe(const void *bytes, size_t size, char *out, size_t out_size)
{
	static const char kinds[] = "U0BNDSOMA";
	struct amf_cursor c = amf_cursor_of(bytes, size);
	struct amf_item item;
	size_t used = 0;

	out[0] = 0;
	while (amf_next(&c, &item) && used + 64 < out_size) {
		used += (size_t)snprintf(out + used, out_size - used, "%s%u.%u%c%.*s%s",
			used ? " " : "", item.argument, item.depth, kinds[item.kind],
			(int)item.name_size, item.name ? item.name : "", item.name ? ":" : "");
		if (item.kind == AMF_STRING)
			used += (size_t)snprintf(out + used, out_size - used, "%.*s",
				(int)item.text_size, item.text);
		else if (item.kind == AMF_NUMBER || item.kind == AMF_BOOLEAN ||
			 item.kind == AMF_DATE)
			used += (size_t)snprintf(out + used, out_size - used, "%g", item.number);
	}
	return c.err;
}

#define BYTES(text) text, sizeof(text) - 1

static const struct {
	const char *bytes;
	size_t size;
	const char *items;
	enum err err;
} rows[] = {
	/* clang-format off */
	{BYTES(""), "", ERR_OK},
	{BYTES("\x00\x3f\xf0\0\0\0\0\0\0"), "0.0N1", ERR_OK},
	{BYTES("\x01\x01\x01\x00\x01\x07"), "0.0B1 1.0B0 2.0B1", ERR_OK},
	{BYTES("\x02\0\x04live\x05\x06\x0d"), "0.0Slive 1.00 2.0U 3.0U", ERR_OK},
	{BYTES("\x02\0\0"), "0.0S", ERR_OK},
	{BYTES("\x0c\0\0\0\x02hi"), "0.0Shi", ERR_OK},
	{BYTES("\x0f\0\0\0\x02<>"), "0.0S<>", ERR_OK},
	{BYTES("\x0b\x40\x59\0\0\0\0\0\0\0\0"), "0.0D100", ERR_OK},
	{BYTES("\x07\0\x01"), "0.0U", ERR_OK},
	{BYTES("\x03\0\x01"
	       "a\x05\0\x01"
	       "b\x02\0\x01x\0\0\x09\x05"),
		"0.0O 0.10a: 0.1Sb:x 1.00", ERR_OK},
	{BYTES("\x03\0\0\x09"), "0.0O", ERR_OK},
	/* a member may have no name */
	{BYTES("\x03\0\0\x05\0\0\x09"), "0.0O 0.10:", ERR_OK},
	{BYTES("\x10\0\x03Pnt\0\x01x\x05\0\0\x09"), "0.0O 0.10x:", ERR_OK},
	{BYTES("\x08\0\0\0\x63\0\x01x\x05\0\0\x09\x05"), "0.0M 0.10x: 1.00", ERR_OK},
	/* ECMA array without its end, at the end of the message */
	{BYTES("\x08\0\0\0\x01\0\x01x\x05"), "0.0M 0.10x:", ERR_OK},
	{BYTES("\x0a\0\0\0\x02\x05\x03\0\x01y\x05\0\0\x09\x06"), "0.0A 0.10 0.1O 0.20y: 1.0U",
		ERR_OK},
	{BYTES("\x0a\0\0\0\0\x05"), "0.0A 1.00", ERR_OK},
	/* wrong */
	{BYTES("\x00\x3f\xf0"), "", ERR_FORMAT},
	{BYTES("\x02\0\x05live"), "", ERR_FORMAT},
	{BYTES("\x0c\xff\xff\xff\xff."), "", ERR_FORMAT},
	{BYTES("\x0a\xff\xff\xff\xff\x05"), "", ERR_FORMAT},
	{BYTES("\x03\0\x01"), "0.0O", ERR_FORMAT},
	{BYTES("\x03\0\x01z\x05"), "0.0O 0.10z:", ERR_FORMAT},
	{BYTES("\x03\0\x01z"), "0.0O", ERR_FORMAT},
	{BYTES("\x09"), "", ERR_UNSUPPORTED},
	{BYTES("\x04"), "", ERR_UNSUPPORTED},
	{BYTES("\x11\x04\x01"), "", ERR_UNSUPPORTED},
	{BYTES("\xff"), "", ERR_UNSUPPORTED},
	/* clang-format on */
};

TEST(values_are_read_as_the_specification_lays_them_out)
{
	char text[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(describe(rows[i].bytes, rows[i].size, text, sizeof(text)), rows[i].err);
		CHECK_STR(text, rows[i].items);
	}
}

static size_t write_sample(uint8_t *bytes, size_t size)
{
	struct writer w = writer_of(bytes, size);

	amf_write_string(&w, "connect");
	amf_write_number(&w, 1);
	amf_write_object(&w);
	amf_write_string_member(&w, "app", "live");
	amf_write_key(&w, "list");
	amf_write_array(&w, 2);
	amf_write_boolean(&w, true);
	amf_write_undefined(&w);
	amf_write_key(&w, "map");
	amf_write_map(&w, 1);
	amf_write_number_member(&w, "pi", 3.25);
	amf_write_end(&w);
	amf_write_end(&w);
	amf_write_null(&w);
	return w.bad ? 0 : writer_used(&w);
}

TEST(what_is_written_is_read_again)
{
	uint8_t bytes[256];
	char text[512];
	size_t size = write_sample(bytes, sizeof(bytes));

	CHECK_OK(describe(bytes, size, text, sizeof(text)));
	CHECK_STR(text, "0.0Sconnect 1.0N1 2.0O 2.1Sapp:live 2.1Alist: 2.2B1 2.2U 2.1Mmap: "
			"2.2Npi:3.25 3.00");
}

TEST(every_truncation_ends_in_order)
{
	uint8_t bytes[256];
	char text[512];
	size_t size = write_sample(bytes, sizeof(bytes));

	for (size_t cut = 0; cut < size; cut++) {
		enum err err = describe(bytes, cut, text, sizeof(text));
		CHECK(err == ERR_OK || err == ERR_FORMAT);
		CHECK_EQ(write_sample(bytes, cut), 0);
		write_sample(bytes, sizeof(bytes));
	}
}

TEST(depth_and_number_of_values_are_bounded)
{
	static uint8_t bytes[AMF_ITEMS_MAX + 64];
	char text[4096];

	/* arrays in arrays */
	struct writer w = writer_of(bytes, sizeof(bytes));
	for (int i = 0; i < 100; i++)
		amf_write_array(&w, 1);
	CHECK_EQ(describe(bytes, writer_used(&w), text, sizeof(text)), ERR_LIMIT);
	/* objects in objects, as deep as allowed, and one more */
	for (int depth = AMF_DEPTH_MAX; depth <= AMF_DEPTH_MAX + 1; depth++) {
		w = writer_of(bytes, sizeof(bytes));
		for (int i = 0; i < depth; i++) {
			if (i > 0)
				amf_write_key(&w, "o");
			amf_write_object(&w);
		}
		for (int i = 0; i < depth; i++)
			amf_write_end(&w);
		CHECK_EQ(describe(bytes, writer_used(&w), text, sizeof(text)),
			depth == AMF_DEPTH_MAX ? ERR_OK : ERR_LIMIT);
	}
	/* a long row of nulls */
	memset(bytes, 5, sizeof(bytes));
	struct amf_cursor c = amf_cursor_of(bytes, sizeof(bytes));
	struct amf_item item;
	size_t seen = 0;
	while (amf_next(&c, &item))
		seen++;
	CHECK_EQ(seen, AMF_ITEMS_MAX);
	CHECK_EQ(c.err, ERR_LIMIT);
	CHECK(!amf_next(&c, &item));
}

TEST(text_and_numbers_are_taken_within_their_bounds)
{
	char out[5];
	struct amf_item item = {.kind = AMF_STRING, .text = "live", .text_size = 4};

	CHECK_OK(amf_copy_text(&item, out, sizeof(out)));
	CHECK_STR(out, "live");
	CHECK_EQ(amf_copy_text(&item, out, 4), ERR_TOO_LARGE);
	CHECK_STR(out, "");
	item = (struct amf_item){.kind = AMF_STRING, .text = "a\0b", .text_size = 3};
	CHECK_EQ(amf_copy_text(&item, out, sizeof(out)), ERR_FORMAT);
	item.kind = AMF_NULL;
	CHECK_EQ(amf_copy_text(&item, out, sizeof(out)), ERR_FORMAT);

	static const struct {
		double number;
		uint32_t value;
	} numbers[] = {
	/* clang-format off */
		{0, 0},
		{7.9, 7},
		  {100, 100},
		      {100.5, 99},
		   {-1, 99},
		     {NAN, 99},
		{INFINITY, 99}
	/* clang-format on */
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		item = (struct amf_item){.kind = AMF_NUMBER, .number = numbers[i].number};
		CHECK_EQ(amf_to_u32(&item, 100, 99), numbers[i].value);
	}
	item.kind = AMF_NULL;
	CHECK_EQ(amf_to_u32(&item, 100, 99), 99);
}

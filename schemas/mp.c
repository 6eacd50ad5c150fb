/* SPDX-License-Identifier: Apache-2.0
 *
 * The bounded MessagePack cursor. Every value starts with one byte; mp_read_head() splits it into a
 * type and one number (the value itself, a length or a count), and all getters rest on that.
 */
#include "schemas/mp.h"

/* One lead byte, taken apart. */
struct head {
	enum mp_type type;
	bool negative;	 /* MP_INT: `number` is an int64_t below zero */
	uint64_t number; /* value, length in bytes, or count */
};

static const uint8_t lead_types[32] = {
	/* 0xc0 .. 0xdf */
	MP_NIL, MP_NONE, MP_BOOL, MP_BOOL, MP_BIN, MP_BIN, MP_BIN, MP_EXT,  /* c0 */
	MP_EXT, MP_EXT, MP_FLOAT, MP_FLOAT, MP_INT, MP_INT, MP_INT, MP_INT, /* c8 */
	MP_INT, MP_INT, MP_INT, MP_INT, MP_EXT, MP_EXT, MP_EXT, MP_EXT,	    /* d0 */
	MP_EXT, MP_STR, MP_STR, MP_STR, MP_ARRAY, MP_ARRAY, MP_MAP, MP_MAP, /* d8 */
};

/* Bytes of the big-endian number behind the lead byte. */
static const uint8_t lead_sizes[32] = {
	0, 0, 0, 0, 1, 2, 4, 1, /* c0: bin 8/16/32, ext 8 */
	2, 4, 4, 8, 1, 2, 4, 8, /* c8: ext 16/32, float 32/64, uint 8/16/32/64 */
	1, 2, 4, 8, 0, 0, 0, 0, /* d0: int 8/16/32/64, fixext 1/2/4/8 */
	0, 1, 2, 4, 2, 4, 2, 4, /* d8: fixext 16, str 8/16/32, array and map 16/32 */
};

static enum mp_type lead_type(uint8_t lead)
{
	if (lead < 0x80 || lead >= 0xe0)
		return MP_INT;
	if (lead < 0x90)
		return MP_MAP;
	if (lead < 0xa0)
		return MP_ARRAY;
	if (lead < 0xc0)
		return MP_STR;
	return lead_types[lead - 0xc0];
}

enum mp_type mp_peek(const struct reader *r)
{
	return r->bad || r->at == r->end ? MP_NONE : lead_type(*r->at);
}

/* The number of a lead byte from 0xc0 to 0xdf. */
static uint64_t read_long_number(struct reader *r, uint8_t lead, bool *negative)
{
	int size = lead_sizes[lead - 0xc0];
	uint64_t number = read_be(r, size);

	if (lead >= 0xd0 && lead <= 0xd3) { /* int: extend the sign */
		int shift = 64 - 8 * size;
		int64_t value = (int64_t)(number << shift) >> shift;
		*negative = value < 0;
		return (uint64_t)value;
	}
	if (lead >= 0xd4 && lead <= 0xd8) /* fixext */
		return 1u << (lead - 0xd4);
	if (lead == 0xc2 || lead == 0xc3)
		return lead == 0xc3;
	return number;
}

static struct head read_head(struct reader *r)
{
	uint8_t lead = read_u8(r);
	struct head head = {.type = lead_type(lead)};

	if (r->bad || head.type == MP_NONE) {
		r->bad = true;
		return (struct head){.type = MP_NONE};
	}
	if (lead < 0x80) {
		head.number = lead;
	} else if (lead < 0xa0) { /* fixmap, fixarray */
		head.number = lead & 0x0f;
	} else if (lead < 0xc0) { /* fixstr */
		head.number = lead & 0x1f;
	} else if (lead >= 0xe0) {
		head.number = (uint64_t)(int64_t)(int8_t)lead;
		head.negative = true;
	} else {
		head.number = read_long_number(r, lead, &head.negative);
	}
	/* every item takes a byte at least, so a larger count is a lie */
	uint64_t left = reader_left(r);
	if (head.type == MP_ARRAY && head.number > left)
		r->bad = true;
	if (head.type == MP_MAP && head.number > left / 2)
		r->bad = true;
	if (r->bad)
		return (struct head){.type = MP_NONE};
	return head;
}

/* Takes the head of a value that must be of `type`. */
static struct head read_head_of(struct reader *r, enum mp_type type)
{
	struct head head = read_head(r);

	if (head.type != type) {
		r->bad = true;
		return (struct head){.type = MP_NONE};
	}
	return head;
}

void mp_read_nil(struct reader *r)
{
	read_head_of(r, MP_NIL);
}

bool mp_read_bool(struct reader *r)
{
	return read_head_of(r, MP_BOOL).number;
}

uint64_t mp_read_u64(struct reader *r)
{
	struct head head = read_head_of(r, MP_INT);

	if (head.negative) {
		r->bad = true;
		return 0;
	}
	return head.number;
}

int64_t mp_read_i64(struct reader *r)
{
	struct head head = read_head_of(r, MP_INT);

	if (!head.negative && head.number > INT64_MAX) {
		r->bad = true;
		return 0;
	}
	return (int64_t)head.number;
}

double mp_read_double(struct reader *r)
{
	bool is_short = !r->bad && r->at != r->end && *r->at == 0xca;
	struct head head = read_head_of(r, MP_FLOAT);
	uint32_t bits = (uint32_t)head.number;
	float narrow;
	double wide;

	memcpy(&narrow, &bits, sizeof(narrow));
	memcpy(&wide, &head.number, sizeof(wide));
	return is_short ? (double)narrow : wide;
}

static const uint8_t *read_block(struct reader *r, uint64_t length, uint32_t *size)
{
	const uint8_t *at = read_bytes(r, length);

	*size = at ? (uint32_t)length : 0;
	return at;
}

const uint8_t *mp_read_str(struct reader *r, uint32_t *size)
{
	struct head head = read_head_of(r, MP_STR);

	return read_block(r, head.number, size);
}

const uint8_t *mp_read_bin(struct reader *r, uint32_t *size)
{
	struct head head = read_head_of(r, MP_BIN);

	return read_block(r, head.number, size);
}

const uint8_t *mp_read_ext(struct reader *r, int8_t *type, uint32_t *size)
{
	struct head head = read_head_of(r, MP_EXT);

	*type = (int8_t)read_u8(r);
	return read_block(r, head.number, size);
}

uint32_t mp_read_array(struct reader *r)
{
	return (uint32_t)read_head_of(r, MP_ARRAY).number;
}

uint32_t mp_read_map(struct reader *r)
{
	return (uint32_t)read_head_of(r, MP_MAP).number;
}

void mp_skip(struct reader *r, unsigned depth)
{
	uint64_t left[MP_DEPTH_MAX + 1] = {1}; /* values still to come at each level */
	unsigned level = 0;

	if (depth > MP_DEPTH_MAX)
		depth = MP_DEPTH_MAX;
	while (!r->bad) {
		while (left[level] == 0) {
			if (level == 0)
				return;
			level--;
		}
		left[level]--;

		struct head head = read_head(r);
		if (head.type == MP_STR || head.type == MP_BIN) {
			read_bytes(r, head.number);
		} else if (head.type == MP_EXT) {
			read_bytes(r, head.number + 1); /* the type byte */
		} else if (head.type == MP_ARRAY || head.type == MP_MAP) {
			if (level == depth) {
				r->bad = true;
				return;
			}
			left[++level] = head.number * (head.type == MP_MAP ? 2 : 1);
		}
	}
}

/* msgpack-c's callback; a failure is remembered by the writer, so packing may go on blindly. */
static int append(void *data, const char *bytes, size_t size)
{
	struct writer *w = data;

	write_bytes(w, bytes, size);
	return w->bad ? -1 : 0;
}

msgpack_packer mp_packer_of(struct writer *w)
{
	return (msgpack_packer){.data = w, .callback = append};
}

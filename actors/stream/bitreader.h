/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded bit cursor, most significant bit first, for codec headers. Like struct reader of
 * schemas/bytes.h it remembers that it ran out: reads past the end give zero and set `bad`, so a
 * parser checks once, at the end. A reader made by bits_of_nal() steps over the emulation
 * prevention bytes of H.264 and H.265 (0x000003, H.264 7.4.1.1) on the way.
 *
 * Thread: any. No allocation. Borrows its bytes.
 */
#ifndef MILLRACE_STREAM_BITREADER_H
#define MILLRACE_STREAM_BITREADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bit_reader {
	const uint8_t *at;
	const uint8_t *end;
	uint8_t byte;  /* the one being read */
	uint8_t left;  /* bits of it not read yet */
	uint8_t zeros; /* zero bytes in a row so far, at most 2 */
	bool escaped;
	bool bad;
};

static inline struct bit_reader bits_of(const uint8_t *bytes, size_t size)
{
	return (struct bit_reader){.at = bytes, .end = bytes + size};
}

/* `bytes` lies inside a NAL unit, behind its header. */
static inline struct bit_reader bits_of_nal(const uint8_t *bytes, size_t size)
{
	return (struct bit_reader){.at = bytes, .end = bytes + size, .escaped = true};
}

static inline uint32_t bits_read_flag(struct bit_reader *r)
{
	if (r->left == 0) {
		if (r->escaped && r->zeros == 2 && r->at < r->end && *r->at == 3) {
			r->at++;
			r->zeros = 0;
		}
		if (r->bad || r->at >= r->end) {
			r->bad = true;
			return 0;
		}
		r->byte = *r->at++;
		r->zeros = r->byte ? 0 : (uint8_t)(r->zeros < 2 ? r->zeros + 1 : 2);
		r->left = 8;
	}
	r->left--;
	return r->byte >> r->left & 1;
}

/* `count` is 0 .. 32. */
static inline uint32_t bits_read(struct bit_reader *r, unsigned count)
{
	uint32_t value = 0;

	while (count--)
		value = value << 1 | bits_read_flag(r);
	return value;
}

static inline void bits_skip(struct bit_reader *r, unsigned count)
{
	while (count-- && !r->bad)
		bits_read_flag(r);
}

/* ue(v), H.264 9.1 and H.265 9.2. A code of more than 31 leading zeros is `bad`. */
static inline uint32_t bits_read_ue(struct bit_reader *r)
{
	unsigned zeros = 0;

	while (!bits_read_flag(r)) {
		if (r->bad || ++zeros > 31) {
			r->bad = true;
			return 0;
		}
	}
	return (uint32_t)((UINT64_C(1) << zeros) - 1) + bits_read(r, zeros);
}

/* se(v): the ue(v) codes 0, 1, 2, 3, 4 … stand for 0, 1, -1, 2, -2 … */
static inline int32_t bits_read_se(struct bit_reader *r)
{
	int64_t code = bits_read_ue(r);

	return (int32_t)(code & 1 ? (code + 1) / 2 : -(code / 2));
}

#endif

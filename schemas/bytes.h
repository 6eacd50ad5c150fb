/* SPDX-License-Identifier: Apache-2.0
 *
 * The one way to read and write bytes that came from or go to the outside: a bounded cursor that
 * remembers that it ran out. Reads past the end give zero and set `bad`; writes past the end write
 * nothing and set `bad`. Check `bad` once, after a run of operations.
 *
 * Numbers are big-endian (network order) unless the name ends in `le`.
 * Thread: any. No allocation. A reader borrows its bytes, a writer borrows its buffer.
 */
#ifndef MILLRACE_BYTES_H
#define MILLRACE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Compares secrets: the time depends on `size` only. */
static inline bool memory_equal(const void *a, const void *b, size_t size)
{
	const volatile uint8_t *x = a;
	const volatile uint8_t *y = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < size; i++)
		difference |= (uint8_t)(x[i] ^ y[i]);
	return difference == 0;
}

/* Copies text into an array of `size` bytes, cut if need be, always NUL-terminated, the rest zero. */
static inline void text_copy(char *to, size_t size, const char *from)
{
	size_t length = 0;

	while (length < size - 1 && from[length])
		length++;
	memcpy(to, from, length);
	memset(to + length, 0, size - length);
}

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

struct writer {
	uint8_t *begin;
	uint8_t *at;
	uint8_t *end;
	bool bad;
};

static inline struct reader reader_of(const void *bytes, size_t size)
{
	/* NULL + 0 is undefined in C */
	return (struct reader){.at = bytes, .end = bytes ? (const uint8_t *)bytes + size : NULL};
}

static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

/* Borrows `size` bytes and steps over them; NULL and `bad` when there are fewer. */
static inline const uint8_t *read_bytes(struct reader *r, size_t size)
{
	const uint8_t *at = r->at;

	if (r->bad || reader_left(r) < size) {
		r->bad = true;
		return NULL;
	}
	r->at += size;
	return at;
}

static inline uint64_t read_be(struct reader *r, int size)
{
	const uint8_t *p = read_bytes(r, (size_t)size);
	uint64_t value = 0;

	for (int i = 0; p && i < size; i++)
		value = value << 8 | p[i];
	return value;
}

static inline uint8_t read_u8(struct reader *r)
{
	return (uint8_t)read_be(r, 1);
}
static inline uint16_t read_u16(struct reader *r)
{
	return (uint16_t)read_be(r, 2);
}
static inline uint32_t read_u24(struct reader *r)
{
	return (uint32_t)read_be(r, 3);
}
static inline uint32_t read_u32(struct reader *r)
{
	return (uint32_t)read_be(r, 4);
}
static inline uint64_t read_u64(struct reader *r)
{
	return read_be(r, 8);
}

static inline uint32_t read_u32le(struct reader *r)
{
	return __builtin_bswap32(read_u32(r));
}

static inline struct writer writer_of(void *buffer, size_t size)
{
	return (struct writer){.begin = buffer, .at = buffer, .end = (uint8_t *)buffer + size};
}

static inline size_t writer_used(const struct writer *w)
{
	return (size_t)(w->at - w->begin);
}

static inline size_t writer_left(const struct writer *w)
{
	return (size_t)(w->end - w->at);
}

/* Reserves `size` bytes to be filled by the caller; NULL and `bad` when there is no room. */
static inline uint8_t *write_reserve(struct writer *w, size_t size)
{
	uint8_t *at = w->at;

	if (w->bad || writer_left(w) < size) {
		w->bad = true;
		return NULL;
	}
	w->at += size;
	return at;
}

static inline void write_bytes(struct writer *w, const void *bytes, size_t size)
{
	uint8_t *p = write_reserve(w, size);

	if (p && size)
		memcpy(p, bytes, size);
}

static inline void write_be(struct writer *w, uint64_t value, int size)
{
	uint8_t *p = write_reserve(w, (size_t)size);

	for (int i = size - 1; p && i >= 0; i--, value >>= 8)
		p[i] = (uint8_t)value;
}

static inline void write_u8(struct writer *w, uint8_t value)
{
	write_be(w, value, 1);
}
static inline void write_u16(struct writer *w, uint16_t value)
{
	write_be(w, value, 2);
}
static inline void write_u24(struct writer *w, uint32_t value)
{
	write_be(w, value, 3);
}
static inline void write_u32(struct writer *w, uint32_t value)
{
	write_be(w, value, 4);
}
static inline void write_u64(struct writer *w, uint64_t value)
{
	write_be(w, value, 8);
}
static inline void write_u32le(struct writer *w, uint32_t value)
{
	write_u32(w, __builtin_bswap32(value));
}

#endif

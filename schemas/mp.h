/* SPDX-License-Identifier: Apache-2.0
 *
 * MessagePack (github.com/msgpack/msgpack, spec.md of 2017) over our cursors.
 *
 * Reading is ours, because the bytes come from a network: nothing is allocated, a claimed length or
 * count is believed only when that many bytes can still follow, and skipping an unknown value needs
 * neither recursion nor more than MP_DEPTH_MAX words of stack. A getter that meets another type
 * than it was asked for sets `bad` and gives zero; check `bad` once after a run of them.
 *
 * Writing is msgpack-c's packer into a struct writer.
 *
 * Thread: any. Everything is a pure function of its arguments.
 */
#ifndef MILLRACE_MP_H
#define MILLRACE_MP_H

#include "schemas/bytes.h"

#include <msgpack/pack.h>

enum {
	MP_DEPTH_MAX = 16, /* containers inside containers */
};

enum mp_type {
	MP_NONE, /* no byte left, `bad`, or the byte 0xc1 that the format never uses */
	MP_NIL,
	MP_BOOL,
	MP_INT, /* any of the signed and unsigned forms */
	MP_FLOAT,
	MP_STR,
	MP_BIN,
	MP_ARRAY,
	MP_MAP,
	MP_EXT,
};

/* What comes next; reads nothing. */
enum mp_type mp_peek(const struct reader *r);

void mp_read_nil(struct reader *r);
bool mp_read_bool(struct reader *r);
/* Any integer form; a negative number is `bad`. */
uint64_t mp_read_u64(struct reader *r);
/* Any integer form; above INT64_MAX is `bad`. */
int64_t mp_read_i64(struct reader *r);
/* float 32 or float 64. */
double mp_read_double(struct reader *r);
/* Borrowed bytes, *size of them, not terminated; NULL and 0 when `bad`. */
const uint8_t *mp_read_str(struct reader *r, uint32_t *size);
const uint8_t *mp_read_bin(struct reader *r, uint32_t *size);
const uint8_t *mp_read_ext(struct reader *r, int8_t *type, uint32_t *size);
/* Number of items (pairs) that follow. `bad` when the bytes left cannot hold that many, so a loop
 * over the count is bounded by the input. */
uint32_t mp_read_array(struct reader *r);
uint32_t mp_read_map(struct reader *r);

/* Steps over one value of any type. `bad` when it is malformed or nests deeper than `depth`
 * containers (at most MP_DEPTH_MAX). */
void mp_skip(struct reader *r, unsigned depth);

/* A packer that appends to `w`, which must outlive it. Errors show as w->bad. */
msgpack_packer mp_packer_of(struct writer *w);

#endif

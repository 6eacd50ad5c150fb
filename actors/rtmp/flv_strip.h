/* SPDX-License-Identifier: Apache-2.0
 *
 * The newest bytes of a tag log once more, side by side: what a viewer is written is then a few long
 * pieces in place of one a packet. To a kernel that copies for hundreds of viewers a piece counts as
 * much as some hundred bytes.
 *
 * Whoever does not find a packet here takes it from its slot: the bytes are the same. Nothing is to
 * be saved of it, and a successor begins with an empty one.
 *
 * Thread: one at a time, writer and readers. No allocation. Plain data, all zero is an empty one.
 */
#ifndef MILLRACE_FLV_STRIP_H
#define MILLRACE_FLV_STRIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FLV_STRIP_PACKETS = 256,
	FLV_STRIP_SIZE = 184 * 1024, /* bytes: 60 ms of 25 Mbit/s */
};

struct flv_strip {
	uint64_t end; /* bytes laid here so far; the next lie at this, modulo the size */
	struct {
		uint64_t position; /* in the tag log, which begins at 1 */
		uint64_t at;
	} packet[FLV_STRIP_PACKETS];
	uint8_t bytes[FLV_STRIP_SIZE];
};

void flv_strip_clear(struct flv_strip *strip);

/* `size` bytes follow and shall lie side by side. False: they are too many, leave them out. */
bool flv_strip_begin(struct flv_strip *strip, size_t size);
/* One packet of them. */
void flv_strip_put(struct flv_strip *strip, uint64_t position, const uint8_t *bytes, size_t size);

/* The bytes of a packet; NULL: they are not here (any more). */
const uint8_t *flv_strip_find(const struct flv_strip *strip, uint64_t position);

#endif

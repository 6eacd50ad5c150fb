/* SPDX-License-Identifier: Apache-2.0
 *
 * Replay windows: which of the last `window` indices were seen, as a ring of bits (the bit of an index
 * is index modulo window, a multiple of 64) and the highest index beside it. Plain memory that may
 * outlive its process: whoever accepts an index raises the highest first, then clears, then marks, so
 * that death at any instruction refuses a packet at worst and never admits one twice.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_REPLAY_H
#define MILLRACE_REPLAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool replay_seen(const uint64_t *bits, unsigned window, uint64_t index)
{
	unsigned bit = (unsigned)(index % window);

	return bits[bit / 64] >> (bit % 64) & 1;
}

/* False: seen, or too old to tell. */
static inline bool replay_admits(
	const uint64_t *bits, unsigned window, uint64_t highest, uint64_t index)
{
	if (index > highest)
		return true;
	return highest - index < window && !replay_seen(bits, window, index);
}

/* The bits of the indices in (highest, index] still say what became of those one window earlier. */
static inline void replay_clear(uint64_t *bits, unsigned window, uint64_t highest, uint64_t index)
{
	if (index - highest >= window) {
		memset(bits, 0, window / 8);
		return;
	}
	for (uint64_t i = highest + 1; i <= index; i++) {
		unsigned bit = (unsigned)(i % window);

		bits[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
	}
}

static inline void replay_mark(uint64_t *bits, unsigned window, uint64_t index)
{
	unsigned bit = (unsigned)(index % window);

	bits[bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* Of an index that is admitted. */
static inline void replay_accept(uint64_t *bits, unsigned window, uint64_t *highest, uint64_t index)
{
	uint64_t before = *highest;

	if (index > before) {
		*highest = index;
		atomic_signal_fence(memory_order_seq_cst);
		replay_clear(bits, window, before, index);
	}
	replay_mark(bits, window, index);
	atomic_signal_fence(memory_order_seq_cst);
}

#endif

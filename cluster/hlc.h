/* SPDX-License-Identifier: Apache-2.0
 *
 * A hybrid logical clock (Kulkarni et al., 2014): times of several nodes that can be compared. What it
 * gives is close to the wall clock, never goes back, and is later than every time that was seen before,
 * of whichever node. The paper's logical part is folded into the microseconds: a clock that is asked
 * twice in one of them, or has seen a later time, counts on from there.
 *
 * Pure; the wall clock is an argument (Unix time in microseconds).
 */
#ifndef MILLRACE_HLC_H
#define MILLRACE_HLC_H

#include <stdbool.h>
#include <stdint.h>

/* A time further ahead of our wall clock is a broken clock's, and must not pull ours along. */
enum { HLC_AHEAD_MAX_US = 60 * 1000000 };

/* The next time; *last is the clock. */
int64_t hlc_now(int64_t *last, int64_t wall_us);

/* Notes a time of another node. False: it lies too far ahead, and is not taken. */
bool hlc_see(int64_t *last, int64_t wall_us, int64_t seen_us);

#endif

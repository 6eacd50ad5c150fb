/* SPDX-License-Identifier: Apache-2.0
 *
 * Time of a publisher that only counts milliseconds from a beginning of its own. Two things are
 * made of it, both for audio and video alike, so that they stay in sync:
 *
 * - the stream's time: milliseconds that go on even where the publisher's count jumps;
 * - capture time: microseconds of Unix time on this node's clock. At the first tag it is that tag's
 *   arrival; afterwards the least delayed arrivals show how the publisher's clock drifts against
 *   ours, and the mapping follows them slowly. It never runs backward: a correction only makes it
 *   run a little slower.
 *
 * Thread: any. No allocation. Plain and pointer-free.
 */
#ifndef MILLRACE_RTMP_CLOCK_H
#define MILLRACE_RTMP_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RTMP_CLOCK_ORIGIN_MS = 10000, /* stream time of the first tag: room for what lies before */
	/* Audio and video may be muxed this far apart; further back is a count that began anew. */
	RTMP_CLOCK_BACK_MS = 3000,
	/* Further ahead than the time that passed since the last tag, and this, is a jump. */
	RTMP_CLOCK_AHEAD_MS = 10000,
	RTMP_CLOCK_WINDOW_MS = 2000, /* in which the least delay is looked for */
	/* Corrections in µs a millisecond of media. Late arrivals may be the network's doing; early
	 * ones never are (the first tag had waited), so they are believed sooner. */
	RTMP_CLOCK_SLEW_LATE = 1,
	RTMP_CLOCK_SLEW_EARLY = 20,
	RTMP_CLOCK_SLEW_FAR = 50, /* errors above RTMP_CLOCK_FAR_US */
	RTMP_CLOCK_FAR_US = 1000 * 1000,
	RTMP_CLOCK_STEP_US = 5000 * 1000, /* all of a window this late: the source stood still */
};

struct rtmp_clock {
	uint8_t started;
	int64_t shift_ms;     /* stream time - publisher's time */
	int64_t last_ms;      /* highest stream time so far */
	int64_t last_wall_us; /* when the last tag came */
	int64_t offset_us;    /* capture time - stream time */
	int64_t error_us;     /* of the offset, still to be corrected */
	int64_t window_begin_ms;
	int64_t window_least_us; /* least delay in the window */
	int64_t last_delay_us;
	int64_t jitter_us; /* of arrivals, smoothed as in RFC 3550 6.4.1 */
	uint64_t jumps;	   /* of the publisher's count */
	uint64_t steps;	   /* forward ones of the mapping */
};

/* A tag of the publisher's time `time_ms` (unwrapped) has come at Unix time `wall_us`. Returns its
 * stream time, which is never below RTMP_CLOCK_ORIGIN_MS - RTMP_CLOCK_BACK_MS. */
int64_t rtmp_clock_tag(struct rtmp_clock *c, int64_t time_ms, int64_t wall_us);

/* Capture time of a stream time, by the mapping as it is now. */
int64_t rtmp_clock_capture_us(const struct rtmp_clock *c, int64_t stream_ms);

/* Whether every field is in range (state that came from another process). */
bool rtmp_clock_is_valid(const struct rtmp_clock *c);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * How much a way carries, when that is less than what it is sent (decision 27): a viewer's, or a link's.
 * What is sent is not held back by it; it is said up the tree, to a publisher that need not send more than
 * somebody can take.
 *
 *   takes all --much lost, or queued, two looks in a row--> takes 85 % of what came
 *   takes so much --clear--> 8 % more a second --twice what is sent, for long enough--> takes all
 *
 * Plain, pointer-free. Thread: one at a time. No allocation. now_us is monotonic.
 */
#ifndef MILLRACE_NARROW_H
#define MILLRACE_NARROW_H

#include <stdint.h>

enum {
	NARROW_LOOKS = 2,	      /* bad ones in a row */
	NARROW_HOLD_US = 2000000,     /* until what was said can have changed what is sent */
	NARROW_LOSS_BAD_PPM = 100000, /* as in draft-ietf-rmcat-gcc-02 6: less is not told from … */
	NARROW_LOSS_CLEAR_PPM = 20000, /* … what radio loses; and this is none */
	NARROW_QUEUE_BAD_US = 300000,
	NARROW_QUEUE_CLEAR_US = 100000,
	NARROW_KEEP_PERMILLE = 850, /* the same, 5.5: of what came */
	NARROW_GROW_PERMILLE = 80,  /* a second */
	NARROW_FREE_US =
		20000000, /* since it was lowered last: before that it takes no more than … */
	NARROW_FREE_TIMES = 2,	   /* … so many times of what is sent, then all */
	NARROW_LEAST_BPS = 300000, /* less is not asked of a publisher */
};

struct narrow {
	uint32_t takes_bps; /* 0 = all that is sent */
	uint32_t bad;	    /* looks in a row */
	int64_t lowered_us; /* 0 = never */
};

/* What became of what was sent in the last second or so. */
struct narrow_look {
	int64_t span_us;
	uint64_t sent_bps, came_bps;
	uint32_t loss_ppm;
	int64_t queue_us; /* how much longer than the fastest it takes */
};

/* Returns takes_bps. */
uint32_t narrow_judge(struct narrow *n, const struct narrow_look *look, int64_t now_us);

#endif

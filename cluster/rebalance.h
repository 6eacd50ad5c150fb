/* SPDX-License-Identifier: Apache-2.0
 *
 * Which worker gives how many viewers to which other one: a pure choice over what the workers have
 * reported (placement.h), a step a second (decision 18).
 *
 *   a worker drains  --------------------------------> what it has goes to those that take some
 *   loads differ by more than REBALANCE_APART --3 s--> the busiest gives to the least busy
 *
 * As few as mend it: no more than half of the difference, nor than REBALANCE_SHARE of what the giver has,
 * and none who would bring the taker near its limit. What a session costs is what the giver's cost on
 * average.
 */
#ifndef MILLRACE_REBALANCE_H
#define MILLRACE_REBALANCE_H

#include "cluster/placement.h"

enum {
	REBALANCE_MS = 1000,
	REBALANCE_APART = 150,	   /* permille of a core: less is left as it is */
	REBALANCE_TICKS = 3,	   /* it has lasted for so many looks */
	REBALANCE_SHARE = 20,	   /* one in so many of the giver's sessions a second (5 %) … */
	REBALANCE_DRAIN = 4,	   /* … or one in so many of one that drains */
	REBALANCE_TAKER_MAX = 700, /* permille of a core that no taker is brought beyond */
};

struct rebalance {
	int from, to;	/* places in `workers` */
	uint32_t count; /* 0 = nothing is to be moved */
};

/* `ticks`: looks in a row that have found them apart; kept by the caller, 0 at first. */
struct rebalance rebalance_choose(
	const struct worker_load *workers, int count, int64_t now_us, uint32_t *ticks);

#endif

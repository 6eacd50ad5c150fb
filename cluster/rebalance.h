/* SPDX-License-Identifier: Apache-2.0
 *
 * Which worker gives how many sessions to which other one: a pure choice over what the workers have
 * reported (placement.h), a step a second (decision 18).
 *
 *   a worker drains  --------------------------------> what it has goes to those that take some
 *   loads differ by more than REBALANCE_APART --3 s--> the busiest gives viewers to the least busy
 *
 * Only what could move counts as what somebody has to give: a connection over TCP that stays keeps neither
 * other workers from draining nor the load from being spread.
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
	REBALANCE_SHARE = 20,	   /* one in so many of the giver's viewers a second (5 %) … */
	REBALANCE_DRAIN = 4,	   /* … or one in so many of what one that drains can give */
	REBALANCE_TAKER_MAX = 700, /* permille of a core that no taker is brought beyond */
};

struct rebalance {
	int from, to;	/* places in `workers` */
	uint32_t count; /* 0 = nothing is to be moved */
};

/* What the worker at place `from` gives if it drains. */
struct rebalance rebalance_drain(
	const struct worker_load *workers, int count, int64_t now_us, int from);

/* What one of those that do not drain gives. `ticks`: looks in a row that have found them apart; kept by the
 * caller, 0 at first. */
struct rebalance rebalance_choose(
	const struct worker_load *workers, int count, int64_t now_us, uint32_t *ticks);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * How much one address may ask for: requests a second (token bucket) and sessions at a time. An
 * IPv4 address counts by itself, an IPv6 address by its /64 (one host owns at least that much).
 *
 * The table is bounded: LIMITS_WAYS places a bucket, and the one that was idle longest without a
 * session gives way. When every place of a bucket holds sessions a newcomer is let in uncounted
 * (and counted in `untracked`): a full table must not lock people out.
 *
 * Plain data without pointers; `seed` keeps strangers from aiming at one bucket. Thread: one at a
 * time. No allocation.
 */
#ifndef MILLRACE_LIMITS_H
#define MILLRACE_LIMITS_H

#include "schemas/err.h"
#include "schemas/net_addr.h"

enum {
	LIMITS_BUCKETS = 256,
	LIMITS_WAYS = 8,
	LIMITS_RATE_MAX = 100000, /* highest rate and burst that can be configured */
};

struct limits_entry {
	uint8_t key[16];   /* masked address; all zero: free */
	int64_t filled_us; /* when `allowance` was right */
	int64_t used_us;
	uint32_t allowance; /* thousandths of a request */
	uint32_t sessions;
	uint32_t generation; /* one more each time the place changes hands */
};

struct limits {
	uint64_t seed;
	uint32_t sessions_max; /* an address; 0: no limit */
	uint32_t rate;	       /* requests a second an address; 0: no limit */
	uint32_t burst;	       /* requests at once */
	uint32_t refused_rate; /* counters */
	uint32_t refused_sessions;
	uint32_t untracked;
	uint32_t evicted;
	struct limits_entry entries[LIMITS_BUCKETS][LIMITS_WAYS];
};

/* Where a session was counted; kept by the session and given back. All zero: nowhere. */
struct limits_ticket {
	uint32_t place; /* 1 + index, 0: uncounted */
	uint32_t generation;
};

void limits_init(
	struct limits *limits, uint32_t sessions_max, uint32_t rate, uint32_t burst, uint64_t seed);

/* Nothing in it would lead outside of it; for a state found in memory of another process. */
bool limits_is_valid(const struct limits *limits);

/* Takes a request off the address's allowance. ERR_LIMIT: too many; *wait_us is when the next one
 * would be taken. */
enum err limits_request(
	struct limits *limits, const struct net_addr *peer, int64_t now_us, int64_t *wait_us);

/* Counts a session in. ERR_LIMIT: the address has as many as it may. */
enum err limits_session_open(struct limits *limits, const struct net_addr *peer, int64_t now_us,
	struct limits_ticket *ticket);

/* Counts it out. A ticket that is zero, stale or nonsense does nothing. */
void limits_session_close(struct limits *limits, const struct limits_ticket *ticket);

#endif

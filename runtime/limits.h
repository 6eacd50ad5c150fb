/* SPDX-License-Identifier: Apache-2.0
 *
 * How much one address may ask for: requests a second (a token bucket, kept as the time at which it is
 * full again) and sessions at a time. An
 * IPv4 address counts by itself, an IPv6 address by its /64 (one host owns at least that much).
 *
 * The table is bounded: LIMITS_WAYS places a bucket, and the one that was idle longest without a
 * session gives way. When every place of a bucket holds sessions a newcomer is let in uncounted
 * (and counted in `untracked`): a full table must not lock people out.
 *
 * Both can be counted for a node: each worker shows the others in shared memory that it alone writes
 * (limits_join) how many sessions it has and when the address' bucket is full; theirs are added when
 * somebody knocks, of the times the latest counts. Nobody waits for anybody; two workers asked at the
 * same moment may let in one too many each.
 *
 * `seed` keeps strangers from aiming at one bucket. Thread: one at a time. No allocation.
 */
#ifndef MILLRACE_LIMITS_H
#define MILLRACE_LIMITS_H

#include "schemas/err.h"
#include "schemas/net_addr.h"

#include <stdatomic.h>

enum {
	LIMITS_BUCKETS = 256,
	LIMITS_WAYS = 8,
	LIMITS_RATE_MAX = 100000, /* highest rate and burst that can be configured */
	LIMITS_WORKERS_MAX = 64,
};

enum limits_kind { LIMITS_HTTP, LIMITS_RTMP, LIMITS_WEBRTC, LIMITS_KIND_COUNT };

/* What one worker shows: fingerprint of the address << 16 | sessions (65535 = that or more), at
 * the place of its entry; 0 = no session. Readers treat it as untrusted. */
struct limits_share {
	_Atomic uint64_t cells[LIMITS_BUCKETS][LIMITS_WAYS];
};

/* Where requests are limited: whose bucket, at the place of its entry, is full again when. */
struct limits_asked {
	_Atomic uint64_t fingerprint; /* 0 = nobody's */
	_Atomic int64_t full_ns;
};

/* Of one worker. */
struct limits_shares {
	struct limits_share kind[LIMITS_KIND_COUNT];
	struct limits_asked asked[LIMITS_BUCKETS][LIMITS_WAYS]; /* HTTP */
};

struct limits_entry {
	uint8_t key[16]; /* masked address; all zero: free */
	int64_t full_ns; /* its bucket is full then */
	int64_t used_us;
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
	struct limits_shares *workers; /* of the node, borrowed; NULL: this one counts alone */
	const _Atomic uint32_t *worker_count; /* as many as there are now */
	uint32_t own;
	enum limits_kind kind;
	struct limits_entry entries[LIMITS_BUCKETS][LIMITS_WAYS];
};

/* Where a session was counted; kept by the session and given back. All zero: nowhere. */
struct limits_ticket {
	uint32_t place; /* 1 + index, 0: uncounted */
	uint32_t generation;
};

void limits_init(
	struct limits *limits, uint32_t sessions_max, uint32_t rate, uint32_t burst, uint64_t seed);

/* Counts together with the other workers of a node, from right after limits_init on; the seed is the
 * node's, `worker_count` is looked at each time. What this worker's predecessor showed is taken back:
 * its sessions are gone. Requests are counted together only of kind LIMITS_HTTP. */
void limits_join(struct limits *limits, struct limits_shares *workers,
	const _Atomic uint32_t *worker_count, uint32_t own, enum limits_kind kind, uint64_t seed);

/* Takes a request off the address's allowance. ERR_LIMIT: too many; *wait_us is when the next one
 * would be taken. */
enum err limits_request(
	struct limits *limits, const struct net_addr *peer, int64_t now_us, int64_t *wait_us);

/* Counts a session in. ERR_LIMIT: the address has as many as it may. */
enum err limits_session_open(struct limits *limits, const struct net_addr *peer, int64_t now_us,
	struct limits_ticket *ticket);

/* Counts a session in that has been let in before, by another process: beyond the limit, too. */
void limits_session_keep(struct limits *limits, const struct net_addr *peer, int64_t now_us,
	struct limits_ticket *ticket);

/* Counts it out. A ticket that is zero, stale or nonsense does nothing. */
void limits_session_close(struct limits *limits, const struct limits_ticket *ticket);

#endif

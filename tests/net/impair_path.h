/* SPDX-License-Identifier: Apache-2.0
 *
 * What a stretch of network does to packets, in one direction: delay, jitter, loss alone or in
 * bursts, a rate with a queue before it, packets twice, packets out of order, nothing at all.
 * Pure: time and randomness come from the caller.
 */
#ifndef MILLRACE_IMPAIR_PATH_H
#define MILLRACE_IMPAIR_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMPAIR_COPIES_MAX = 2, IMPAIR_QUEUE_US = 200000 };

struct impair_rules {
	int64_t delay_us;
	int64_t jitter_us; /* up to so much more or less, never out of order unless `reorder` */
	double loss;	   /* share of the packets, 0 to 1 */
	double burst;	   /* how many are lost in a row, on average; up to 1 = each by itself */
	double duplicate;  /* share that comes twice */
	uint64_t rate_bps; /* 0 = as fast as they come */
	int64_t queue_us;  /* what waits longer for the rate than this is dropped */
	bool reorder;
	bool down;
};

struct impair_path {
	struct impair_rules rules;
	bool in_burst;
	int64_t busy_until_us; /* the last packet's last bit has left for the wire */
	int64_t last_us;       /* the last packet arrives */
	uint64_t packets, bytes, lost, dropped; /* dropped: the queue was full */
};

/* No impairment. */
struct impair_rules impair_rules_none(void);

/* One of KEYS: "delay" and "jitter" (20, 20ms, 1.5ms, 300us), "loss" and "duplicate" (2, 2%, 0.01%),
 * "burst" (packets), "rate" (kbit/s: 800, 800k, 2.5M, 0), "queue" (as delay), "reorder" and "down" (0, 1).
 * NULL = done, else what was expected. */
const char *impair_rules_set(struct impair_rules *rules, const char *key, const char *value);

/* What becomes of a packet: the times at which it arrives, of as many copies as are returned; 0 = it
 * does not. `random` is a state that moves on (any value but 0). */
int impair_path_packet(struct impair_path *path, size_t size, int64_t now_us, uint64_t *random,
	int64_t at_us[IMPAIR_COPIES_MAX]);

#endif

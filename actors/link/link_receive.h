/* SPDX-License-Identifier: Apache-2.0
 *
 * link_receive: the link sequence at the receiving end. Each packet is let through once, when it comes,
 * by whichever path; what is missing is asked for after a reorder time, again each round trip, until it
 * is older than the bound. What is given up then is for the streams to ask for (by position).
 *
 * Plain but for its size. Thread: one at a time. No allocation.
 */
#ifndef MILLRACE_LINK_RECEIVE_H
#define MILLRACE_LINK_RECEIVE_H

#include "actors/link/link_wire.h"

enum {
	LINK_RECEIVE_WINDOW = 32768, /* sequences; a multiple of 64 */
	LINK_MISSING_MAX = 1024,     /* waited for at a time; more are given up, oldest first */
	LINK_REORDER_MIN_US = 2000,  /* … or an eighth of the round trip */
	LINK_ASK_MIN_US = 10000,     /* between two requests for the same packet */
	LINK_AGE_DEFAULT_US = 400000,
};

struct link_missing {
	uint64_t seq;
	int64_t since_us;
	int64_t asked_us; /* 0 = not yet */
};

struct link_receive {
	bool started;
	uint64_t highest; /* unwrapped; let through, or known to have been sent */
	uint64_t seen[LINK_RECEIVE_WINDOW / 64];
	int64_t age_max_us;
	uint32_t missing_count;
	struct link_missing missing[LINK_MISSING_MAX]; /* by rising sequence */

	/* counters */
	uint64_t packets, duplicates, too_old, recovered, given_up, asked, jumps;
};

void link_receive_init(struct link_receive *r, int64_t age_max_us);

/* A packet came: ERR_OK, hand it on; ERR_REPLAY, it was here (or is too old to say). */
enum err link_receive_take(struct link_receive *r, uint32_t seq, int64_t now_us);
/* The sender says that its next packet will have this sequence: those before it were sent. */
void link_receive_take_next(struct link_receive *r, uint32_t next_seq, int64_t now_us);
/* Whether that packet was let through. */
bool link_receive_has(const struct link_receive *r, uint32_t seq);

/* What is to be asked for now, as ranges; gives up what is too old. */
size_t link_receive_ask(struct link_receive *r, int64_t rtt_us, int64_t now_us,
	struct link_nack_range *ranges, size_t max);
int64_t link_receive_deadline_us(const struct link_receive *r, int64_t rtt_us);

#endif

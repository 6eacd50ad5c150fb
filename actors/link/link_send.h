/* SPDX-License-Identifier: Apache-2.0
 *
 * link_send: the sending end of a link: which paths a packet takes, and what was sent, kept by
 * reference for as long as it may be asked for again.
 *
 * Each packet has its mode:
 *
 *   smart   the best path; what matters most on a second one too, within the budget; both while the
 *           best path is in trouble
 *   race    the two best paths, always
 *   backup  the best path; the second is only probed
 *
 * A copy never pushes out what leaves once: it waits while its path owes more than that allows
 * (link_path_has_spare), and is left out when it is of no use any more.
 *
 * A path in trouble is left at once for one that is better; for LINK_OVERLAP_US both are used (make
 * before break). One that is well is left after LINK_BETTER_US for one that is better still. What the old one has not been heard to deliver is sent again on the new one.
 *
 * Holds references that its owner counts: what link_send_put returns and link_send_expire gives back is the
 * owner's to release. Thread: one at a time. Allocates its history only: the first packet does, and one
 * that would overwrite what is not too old yet, at most three times more; as it was without memory.
 */
#ifndef MILLRACE_LINK_SEND_H
#define MILLRACE_LINK_SEND_H

#include "actors/link/link_path.h"
#include "runtime/arena.h"
#include "schemas/schema.h"

enum {
	/* Packets kept for retransmission, powers of two: at first, and at most (200 streams of 2 Mbit/s are
	 * 45,000 packets a second; 32,768 of them 0.7 s) */
	LINK_HISTORY_LEAST = 4096,
	LINK_HISTORY_MAX = 32768,
	LINK_OVERLAP_US = 100000,
	LINK_BETTER_US = 2000000,      /* another path must be better for so long … */
	LINK_BETTER_LEAST_US = 5000,   /* … by a fifth, and by so much */
	LINK_BUDGET_BYTES_MAX = 65536, /* what was not used of the budget is kept up to this */
	LINK_NO_PATH = 0xff,
	LINK_SELECT_MAX = 2,   /* paths a packet takes at once */
	LINK_COPIES_MAX = 256, /* that wait for the rate of their path; a power of two */
};

/* How packets of an actor travel. */
struct link_terms {
	enum link_mode mode;
	int64_t age_us; /* they are sent again for so long; 0 = as the link's are */
};

struct link_sent {
	struct slot_ref packet; /* {0} = nothing here, or given up */
	uint64_t seq;
	uint64_t to, from;
	int64_t sent_us;   /* the first time */
	int64_t again_us;  /* the last time; 0 = once only */
	int64_t age_us;	   /* it is of use for so long */
	uint64_t path_seq; /* on `path` */
	uint8_t path;	   /* by which it left the last time */
	uint8_t mode;	   /* enum link_mode */
	bool in_trouble;   /* its copy is for that, and not within the budget */
};

struct link_select {
	bool in_trouble; /* the second for that alone */
	uint8_t count;
	uint8_t paths[LINK_SELECT_MAX];
};

struct link_send {
	uint8_t best, second; /* paths; LINK_NO_PATH */
	uint8_t leaving;      /* used beside the best until overlap_until_us */
	uint32_t redundancy_permille;
	int64_t age_max_us;
	int64_t overlap_until_us;
	int64_t better_since_us;	  /* 0 = no other path is better */
	uint64_t copies[LINK_COPIES_MAX]; /* link sequences whose copy waits, the oldest first */
	uint32_t copies_first, copies_count;
	int64_t budget_bytes;  /* may be below zero: retransmissions are charged, never refused */
	uint64_t oldest, next; /* link sequences kept: [oldest, next) */
	struct link_sent *history; /* number n at n % history_size; NULL = none was needed yet */
	uint32_t history_size;

	/* counters */
	uint64_t packets, bytes; /* of media, first transmissions */
	uint64_t extra_bytes;	 /* everything else that carries media … */
	uint64_t trouble_bytes;	 /* … of it, because a path was in trouble, or is being left */
	uint64_t duplicated, resent, resent_by_switch, not_kept, switches;
	uint64_t copies_left_out; /* their path had no room until they were of no use */
};

/* The struct is zeroed, or fini has been called. */
void link_send_init(
	struct link_send *s, uint32_t redundancy_permille, int64_t age_max_us, uint64_t next_seq);

/* Judges the paths anew; true: the best path has changed, and the old one was in trouble: what it has
 * not delivered is to be sent again (link_send_undelivered). */
bool link_send_judge(struct link_send *s, const struct link_path *paths, int64_t now_us);

/* Paths of a first transmission of `size` bytes; `matters`: keyframe or sound. */
struct link_select link_send_select(struct link_send *s, const struct link_path *paths, size_t size,
	enum link_mode mode, bool matters, int64_t now_us);
/* Paths of a retransmission: a second one only if it has room. Charged to the budget. */
struct link_select link_send_select_again(struct link_send *s, const struct link_path *paths,
	size_t size, enum link_mode mode, int64_t now_us);

/* The path beside the best on which copies leave now; LINK_NO_PATH. */
uint8_t link_send_beside(const struct link_send *s, const struct link_path *paths, int64_t now_us);
/* The copy of a packet that was selected for two paths: true: it leaves now; false: it waits, behind those
 * that do already, until that path has room. */
bool link_send_copy_may_go(
	struct link_send *s, const struct link_path *path, uint64_t seq, int64_t now_us);
/* The next that waits, if it is still of use beside `beside`: not known to have come (what has been seen to
 * overtake it would have it asked for). NULL: none waits any more. */
struct link_sent *link_send_next_copy(
	struct link_send *s, const struct link_path *paths, uint8_t beside);
/* Its copy of `size` bytes has left. */
void link_send_note_copy(struct link_send *s, const struct link_sent *sent, size_t size);

/* Takes the next sequence for a packet and keeps it; *dropped = the reference that had to make room
 * ({0} = none). NULL: there is no memory to keep any. */
struct link_sent *link_send_put(struct link_send *s, struct slot_ref packet, uint64_t to,
	uint64_t from, int64_t now_us, struct slot_ref *dropped);
/* By sequence; NULL: not kept any more. */
struct link_sent *link_send_find(struct link_send *s, uint64_t seq);
/* What left by `path` beyond `acked`, from *seq on; NULL = no more. */
struct link_sent *link_send_undelivered(
	struct link_send *s, uint8_t path, uint64_t acked, uint64_t *seq);

/* The next reference that is too old; false = none. */
bool link_send_expire(struct link_send *s, int64_t now_us, struct slot_ref *packet);
/* As above, whatever its age. */
bool link_send_drop(struct link_send *s, struct slot_ref *packet);
/* Nothing is kept any more. */
void link_send_fini(struct link_send *s);

#endif

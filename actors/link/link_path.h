/* SPDX-License-Identifier: Apache-2.0
 *
 * link_path: what the sending end of a link knows of one path: its probes, round trip, loss, delay and
 * rate by the peer's reports, and what to think of it.
 *
 *   (new) doubtful --LINK_GOOD_ECHOES in a row, and no sign of trouble for LINK_GOOD_US--> good
 *         good --a sign--> doubtful --nothing heard for LINK_DEAD_US, nor to LINK_LOOK_PROBES--> dead
 *         dead --LINK_GOOD_ECHOES--> good
 *
 * Signs of trouble: two probes without echo, while nothing else is heard; a report, or two when there is no
 * hurry, that ought to tell of datagrams of this path and does not (LINK_OVERDUE_US); more than a tenth lost
 * lately.
 *
 * Plain; a successor begins it anew but for the sequence. Thread: one at a time. No allocation.
 */
#ifndef MILLRACE_LINK_PATH_H
#define MILLRACE_LINK_PATH_H

#include "actors/link/link_wire.h"

enum {
	LINK_PROBE_US = 100000,	      /* between probes of a path that is good or dead … */
	LINK_PROBE_FAST_US = 25000,   /* … and of one in doubt … */
	LINK_PROBE_REST_US = 1000000, /* … and of one that is good, of a link that rests */
	LINK_ECHO_LATE_US = 25000, /* an echo that takes this much more than it should is missing */
	LINK_DEAD_US = 1000000,	   /* in doubt, and nothing heard for so long … */
	LINK_LOOK_PROBES = 4,	   /* … nor to so many probes since it is */
	LINK_GOOD_US = 500000,	   /* in doubt, and no sign for so long */
	LINK_GOOD_ECHOES = 3,
	LINK_OVERDUE_US = 20000, /* a datagram that has not come so long after it should … */
	LINK_HEARD_US = 60000,	 /* three reports: so long a path that was heard needs no echo */
	LINK_OVERDUE_NEXT_US = 5000,  /* … and the one after it: a sign */
	LINK_LOSS_BAD_PPM = 100000,   /* of LINK_LOSS_PACKETS datagrams: a sign … */
	LINK_LOSS_AWFUL_PPM = 300000, /* … and of so few already */
	LINK_LOSS_PACKETS = 128,
	LINK_LOSS_PACKETS_FEW = 24,
	LINK_MARKS = 64,     /* send times kept … */
	LINK_MARK_US = 2000, /* … of datagrams so far apart: a round trip of 100 ms, at any rate */
	LINK_RTT_FIRST_US = 100000, /* before the first echo */
	LINK_QUEUE_HIGH_US = 30000, /* delay above the least: the path is full when it grows, too */
	LINK_GRADIENT_HIGH_US = 20000, /* us a second */
	LINK_SPARE_AGAIN_US = 10000,   /* copies and rows that wait leave so far apart */
	LINK_PACED_US =
		20000, /* what is sent more than once waits while a path owes this much time */
};

#define LINK_RATE_FIRST_BPS UINT64_C(10000000)
#define LINK_RATE_MIN_BPS   UINT64_C(300000)
#define LINK_RATE_MAX_BPS   UINT64_C(10000000000)
/* A limit that was met so long ago may be another one now. */
#define LINK_LIMIT_KNOWN_US (INT64_C(300) * 1000 * 1000)

enum link_path_state { LINK_PATH_DEAD, LINK_PATH_DOUBTFUL, LINK_PATH_GOOD };

struct link_path {
	bool used;
	uint8_t route; /* link_route(): by which address it leaves, and to which one */
	uint8_t state; /* enum link_path_state */
	uint64_t next_seq;

	/* probes */
	uint32_t probe_number;	/* of the last */
	uint32_t probe_missing; /* without echo, in a row */
	uint32_t echoes;	/* in a row */
	bool probe_waits;
	bool rests; /* the last probe was one of a link that rests */
	int64_t probe_sent_us;
	int64_t probe_at_us;			/* when the next is due */
	int64_t rtt_us, rtt_var_us, rtt_min_us; /* -1 = unknown */

	int64_t last_sent_us; /* any datagram */
	int64_t heard_us;     /* an echo, or a report that tells of something new */
	int64_t state_since_us;
	int64_t sign_us; /* newest sign of trouble */

	/* by reports */
	bool has_report;
	uint8_t overdue;	     /* reports in a row that should have told more */
	uint64_t acked;		     /* path sequence: highest that is known to have come */
	uint32_t received, expected; /* as last told */
	uint32_t recent_received, recent_expected; /* until there are LINK_LOSS_PACKETS */
	uint32_t loss_ppm;			   /* smoothed */
	uint32_t recent_loss_ppm;
	uint32_t jitter_us, queue_us;
	int32_t gradient_us;
	uint16_t burst;

	/* what it seems to carry */
	uint64_t rate_bps;
	uint64_t delivered_bps;
	bool full;	/* it carries no more: the newest report said so */
	bool met_limit; /* it was full of what was sent, at `limit_us` */
	int64_t limit_us;
	int64_t rate_us;       /* of the last change */
	int64_t busy_until_us; /* when what was sent has passed, at that rate */

	uint64_t bytes, datagrams; /* sent, since it began */
	uint64_t doubts;	   /* times it came into doubt */
	/* when some were sent: those before had left by then */
	struct link_mark {
		uint64_t seq;
		int64_t at_us;
	} marks[LINK_MARKS];
	uint32_t mark_count; /* ever made */
};

/* Numbers of the addresses at both ends, below 15; LINK_ROUTE_RELAYED: of neither, so far as is known. */
enum { LINK_ROUTE_RELAYED = 0xff };

static inline uint8_t link_route(unsigned local, unsigned remote)
{
	return (uint8_t)(local << 4 | remote);
}

/* Paths that share no address do not fail together, so far as is known. */
static inline bool link_routes_are_disjoint(uint8_t a, uint8_t b)
{
	return (a & 0xf0) != (b & 0xf0) && (a & 0x0f) != (b & 0x0f);
}

void link_path_init(struct link_path *p, uint8_t route, int64_t now_us);

/* A datagram of `size` bytes on the wire is about to leave; its sequence on the path. */
uint16_t link_path_send(struct link_path *p, size_t size, int64_t now_us);

/* Whether there is room for what need not leave now: retransmissions. Media leaves at once
 * (who sends less when a path is full is the stream's business), but is charged. */
bool link_path_has_room(const struct link_path *p, int64_t now_us);
/* Whether there is room for what may as well not leave at all: copies, FEC. Not while its queue is long, either,
 * which the rate alone does not tell: it is charged by half as much again as the path seems to carry. */
bool link_path_has_spare(const struct link_path *p, int64_t now_us);
/* When to look for that again. */
int64_t link_path_spare_at_us(const struct link_path *p, int64_t now_us);

/* In doubt, and not yet answered as one that is well: what matters goes by another one too. (It takes far
 * longer to be trusted again.) */
bool link_path_is_in_trouble(const struct link_path *p);

bool link_path_probe_is_due(const struct link_path *p, int64_t now_us);
/* Number and send time; the rest is the caller's. `rest_at_us`: when the next is due if all goes well, since
 * the link rests; 0 = it does not. */
void link_path_probe(
	struct link_path *p, int64_t now_us, int64_t rest_at_us, struct link_probe *probe);
/* It rests no more: it is to be known at once how the path is. */
void link_path_wake(struct link_path *p, int64_t now_us);
void link_path_take_echo(struct link_path *p, const struct link_probe *echo, int64_t now_us);
/* `via` = the path by which the report came. In a hurry one report that should have told more is a sign:
 * the peer may have been too busy to read what had come. */
void link_path_take_report(struct link_path *p, const struct link_path_report *report,
	const struct link_path *via, bool hurry, int64_t now_us);
/* Looks at what time has done. True: the state has changed since the last call that said so. */
void link_path_look(struct link_path *p, int64_t now_us);
/* What the path carries, as it was seen when it was full of what was sent; 0 = it has not been for a while:
 * the rate that it is charged by is a guess from what was asked of it, and no limit. */
uint64_t link_path_capacity_bps(const struct link_path *p, int64_t now_us);
/* When to look or probe next. */
int64_t link_path_deadline_us(const struct link_path *p);

/* Round trip, or what it is taken for before the first echo. */
int64_t link_path_rtt_us(const struct link_path *p);
/* Less is better; INT64_MAX: not to be used. */
int64_t link_path_weight_us(const struct link_path *p);
const char *link_path_state_name(enum link_path_state state);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Transport-wide congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01), both ends,
 * and what a peer without it gets.
 *
 *   twcc_recorder  a publisher's packets as they arrive; builds the feedback its sender adapts to
 *   remb_meter     for a publisher without transport-cc: a bound it may send at (REMB)
 *   twcc_feedback  the wire form, read packet by packet
 *   twcc_ledger    what we sent to a viewer and what its feedback says became of it; an estimator
 *                  will read the sums
 *
 * The structs are plain and pointer-free (twcc_feedback, which borrows a packet, is not kept). Slots
 * are always addressed modulo their count, so a damaged struct cannot lead outside it. Nothing
 * allocates. Thread: one at a time. now_us is monotonic.
 */
#ifndef MILLRACE_TWCC_H
#define MILLRACE_TWCC_H

#include "actors/webrtc/rtcp.h"
#include "actors/webrtc/rtp.h"

enum {
	TWCC_WINDOW = 2048,	   /* transport-wide numbers a recorder keeps; a power of two */
	TWCC_INTERVAL_US = 100000, /* between feedback packets; draft section 4: 50 to 100 ms … */
	TWCC_INTERVAL_FAST_US = 50000, /* … the shorter when TWCC_FAST_PACKETS came within it */
	TWCC_FAST_PACKETS = 50,
	TWCC_FEEDBACK_MAX = 1200, /* bytes of room that twcc_recorder_build asks for */
	/* received packets one feedback tells of: two bytes each, and a chunk for every seven numbers
	 * of the window, stay below TWCC_FEEDBACK_MAX */
	TWCC_FEEDBACK_PACKETS = 250,
	TWCC_STATUS_MAX = 8192,	    /* numbers in a feedback we read: 16 bytes may claim 65,535 */
	TWCC_TICK_US = 250,	    /* of a delta */
	TWCC_REFERENCE_TICKS = 256, /* of the reference time: 64 ms */
	TWCC_LEDGER_PACKETS =
		1024, /* sent packets whose fate we await, per viewer; a power of two */
	TWCC_LEDGER_AGE_MAX_US = 10000000,
	REMB_WINDOW_SLOTS = 10, /* of REMB_SLOT_US each */
	REMB_SLOT_US = 100000,
	REMB_INTERVAL_US = 1000000, /* between reports */
};

/* ---- the receiving side ---- */

struct twcc_recorder {
	bool started;
	uint8_t feedback_count; /* of the next feedback */
	uint16_t pending;	/* packets not told of yet */
	uint64_t newest;	/* unwrapped */
	uint64_t next_told;	/* first number the next feedback tells of */
	int64_t told_us;	/* when the last feedback was built */
	uint32_t ssrc;		/* media SSRC to name: the packet's that came last */
	uint16_t old_in_a_row;
	int64_t arrival_tick
		[TWCC_WINDOW]; /* TWCC_TICK_US since the monotonic zero, + 1; 0 = not here */
	uint64_t packets, duplicates, too_old, skipped; /* counters */
};

void twcc_recorder_init(struct twcc_recorder *t);
bool twcc_recorder_is_valid(const struct twcc_recorder *t);
/* A packet with transport-wide number `sequence` arrived. */
void twcc_recorder_take(struct twcc_recorder *t, uint16_t sequence, uint32_t ssrc, int64_t now_us);
/* When feedback is due; INT64_MAX when there is nothing to tell. */
int64_t twcc_recorder_deadline_us(const struct twcc_recorder *t);
/* Writes one feedback packet and steps on. ERR_AGAIN when it is not due. Call until ERR_AGAIN: after
 * a burst, or a pause of more than 8 s between two arrivals, there is more than one. ERR_NO_SPACE
 * when the writer has less than TWCC_FEEDBACK_MAX bytes left. */
enum err twcc_recorder_build(
	struct twcc_recorder *t, struct writer *w, uint32_t sender, int64_t now_us);

/* ---- the wire form ---- */

struct twcc_feedback {
	uint32_t sender;
	uint32_t media;
	uint16_t base;	    /* first transport-wide number */
	uint16_t count;	    /* numbers told of, at least 1 */
	uint32_t reference; /* 24 bits, 64 ms units */
	uint8_t feedback_count;
	/* cursor of twcc_feedback_next */
	struct reader chunks;
	struct reader deltas;
	uint16_t at;
	uint16_t run_left;
	uint8_t run_symbol;
	uint8_t vector_left;
	uint8_t vector_bits;
	uint16_t vector;
	int64_t tick;
};

struct twcc_status {
	uint16_t sequence;
	bool received;
	int64_t arrival_us; /* since the peer's zero of the reference time, modulo 2^24 * 64 ms */
};

/* Checks the whole packet. ERR_FORMAT when chunks or deltas are missing or a symbol is reserved,
 * ERR_TOO_LARGE above TWCC_STATUS_MAX numbers. */
enum err twcc_feedback_parse(struct twcc_feedback *f, const struct rtcp_packet *packet);
/* The next of f->count statuses; false behind the last. */
bool twcc_feedback_next(struct twcc_feedback *f, struct twcc_status *status);

/* ---- REMB for publishers without transport-cc ---- */

/* Says 1.5 times what was received over the last second plus `headroom_bps`, within bounds. That is
 * no congestion control: it lets a sender grow by half a second and never more than the operator
 * allows; it falls when less arrives, because it is measured. */
struct remb_meter {
	uint64_t min_bps, max_bps, headroom_bps;
	int64_t slot; /* number of the newest slot, REMB_SLOT_US each */
	int64_t told_us;
	uint64_t octets[REMB_WINDOW_SLOTS]; /* slot n at n % REMB_WINDOW_SLOTS */
};

void remb_meter_init(struct remb_meter *m, uint64_t min_bps, uint64_t max_bps,
	uint64_t headroom_bps, int64_t now_us);
/* A datagram of `size` bytes arrived. */
void remb_meter_take(struct remb_meter *m, size_t size, int64_t now_us);
/* True once per REMB_INTERVAL_US: `*bitrate_bps` is to be sent. */
bool remb_meter_poll(struct remb_meter *m, int64_t now_us, uint64_t *bitrate_bps);
int64_t remb_meter_deadline_us(const struct remb_meter *m);

/* ---- the sending side ---- */

/* 8 bytes; all of them are kept for each packet under way to a viewer. */
struct twcc_sent {
	uint32_t sent_us; /* low 32 bits */
	uint16_t size;	  /* bytes */
	uint8_t state;	  /* enum twcc_sent_state */
	uint8_t reserved;
};

enum twcc_sent_state { TWCC_SENT_NONE, TWCC_SENT_WAITING, TWCC_SENT_LOST, TWCC_SENT_ACKED };

/* One a viewer session: all its tracks share the numbers. */
struct twcc_ledger {
	uint64_t
		committed; /* next number, unwrapped: decided and stored before the packet leaves */
	struct twcc_sent sent[TWCC_LEDGER_PACKETS];

	/* sums since the session began */
	uint64_t sent_packets, sent_bytes;
	uint64_t acked_packets, acked_bytes;
	uint64_t lost_packets; /* told as lost and not (yet) corrected */
	uint64_t feedbacks, feedbacks_lost, feedbacks_bad;
	uint64_t unknown_packets; /* told of, but not ours any more */

	/* newest feedback */
	bool has_feedback;
	uint8_t feedback_count;
	int64_t feedback_us;
	int64_t rtt_us;	   /* send → feedback of the newest packet in it; includes the peer's
	                            * wait of up to its interval; -1 = unknown */
	uint32_t loss_ppm; /* of the statuses in it, smoothed by 1/8 */
	/* delay: how much longer than the fastest the packets take now */
	bool has_delay;
	int64_t delay_us;      /* arrival - send of the newest packet, unknown zero */
	int64_t delay_base_us; /* smallest seen, rising 1 ms a feedback to follow clocks and paths */
	int64_t queue_us;      /* delay_us - delay_base_us, smoothed by 1/8 */
	int64_t gradient_us;   /* last change of delay within a feedback, smoothed by 1/8 */
	uint32_t acked_bps;    /* over the arrivals of the last feedback, smoothed by 1/8 */
	/* REMB, if the viewer speaks it instead */
	uint64_t remb_bps; /* 0 = none came */
	int64_t remb_us;
};

void twcc_ledger_init(struct twcc_ledger *l);
bool twcc_ledger_is_valid(const struct twcc_ledger *l);
/* The number of the next packet, stored before it is used. size: bytes on the wire. */
uint16_t twcc_ledger_commit(struct twcc_ledger *l, size_t size, int64_t now_us);
/* Takes a TWCC feedback packet from the viewer. */
enum err twcc_ledger_take_feedback(
	struct twcc_ledger *l, const struct rtcp_packet *packet, int64_t now_us);
void twcc_ledger_take_remb(struct twcc_ledger *l, const struct rtcp_remb *remb, int64_t now_us);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A publisher's track as we receive it: one struct an SSRC (its RTX stream included).
 *   numbers      sequence and timestamp unwrapped, duplicates found, padding closed up
 *   statistics   loss and jitter for receiver reports (RFC 3550 A.3, A.8)
 *   NACK         what is missing is asked for after a reordering tolerance, again every round trip,
 *                and given up by age or count: then a keyframe is wanted (RFC 4585 6.2.1)
 *   RTX          retransmissions unwrapped (RFC 4588 4)
 *   time         capture times by rtp_timeline.h
 * and the merger of keyframe requests towards the publisher.
 *
 * How a session uses it, for each decrypted and parsed packet:
 *	if it came on the RTX SSRC: rtp_receiver_unwrap_rtx (ERR_AGAIN: probing padding, done)
 *	rtp_receiver_take → the receipt has what media_header needs
 * and after a batch, and at rtp_receiver_deadline_us:
 *	rtp_receiver_poll_nacks → rtcp_write_nack; rtp_receiver_take_keyframe_wish → rtp_keyframe_want
 *	rtp_keyframe_poll → PLI or FIR
 *
 * The structs are plain and pointer-free; after a takeover check them with the _is_valid functions.
 * Nothing allocates. Thread: one at a time. now_us is monotonic.
 */
#ifndef MILLRACE_RTP_RECEIVER_H
#define MILLRACE_RTP_RECEIVER_H

#include "actors/webrtc/rtcp.h"
#include "actors/webrtc/rtp.h"
#include "actors/webrtc/rtp_timeline.h"

enum {
	RTP_RECEIVER_WINDOW = 4096,  /* sequences behind the newest in which duplicates are known */
	RTP_RECEIVER_DROPOUT = 3000, /* RFC 3550 A.1 MAX_DROPOUT: a larger gap is not repaired */
	RTP_RECEIVER_PADS = 16,	     /* padding packets remembered, to number what comes late */
	/* number of the first packet: what was overtaken by it still has a number of at least 1 */
	RTP_RECEIVER_TRACK_SEQ_FIRST = 33,
	NACK_PENDING_MAX = 1024, /* sequences asked for at a time */
	NACK_TRIES_MAX = 10,
	NACK_AGE_MAX_US = 1000000,    /* later than this nobody can use it */
	NACK_TOLERANCE_US = 10000,    /* reordering: first request after this … */
	NACK_TOLERANCE_PACKETS = 3,   /* … or when so many came behind the missing one */
	NACK_RTT_DEFAULT_US = 100000, /* until a round trip was seen */
	NACK_INTERVAL_MIN_US = 20000,
	NACK_INTERVAL_MAX_US = 300000,
	RTP_KEYFRAME_INTERVAL_US = 500000, /* default least time between two requests */
};

#define RTP_NO_DEADLINE INT64_MAX

/* Reception statistics of one SSRC. */
struct rtp_stats {
	bool started;
	uint64_t base;	   /* first unwrapped sequence */
	uint64_t newest;   /* highest unwrapped sequence */
	uint64_t received; /* packets, duplicates not counted, retransmissions neither */
	uint64_t octets;   /* of payload */
	uint64_t expected_prior;
	uint64_t received_prior;
	uint32_t jitter_q4; /* ticks * 16 */
	uint32_t transit;   /* arrival - timestamp of the packet before, ticks modulo 2^32 */
	bool has_transit;
	uint32_t lsr;	/* middle of the NTP time of the last sender report; 0 = none came */
	int64_t lsr_us; /* when it came */
};

struct nack_entry {
	uint64_t sequence;	      /* unwrapped */
	int64_t lost_us;	      /* when the gap was seen */
	uint32_t due_after_us;	      /* next request, after lost_us */
	uint32_t asked_after_us : 24; /* last request, after lost_us */
	uint32_t tries : 8;
};

struct rtp_receiver {
	uint32_t ssrc;
	uint32_t rtx_ssrc;    /* 0 = no RTX, or not known yet */
	uint8_t payload_type; /* what an RTX packet turns back into (apt) */
	uint8_t rtx_payload_type;
	bool wants_nack;
	bool wants_keyframes; /* video: a loss given up breaks the picture */
	bool keyframe_wanted;
	bool old_seen;	   /* the packet before came from behind the window */
	uint16_t old_next; /* sequence that would prove a restart, RFC 3550 A.1 */

	struct rtp_stats stats;
	struct rtp_stats rtx_stats;
	struct rtp_track_clock clock;
	uint64_t newest_rtp_time; /* unwrapped */
	uint64_t track_base;	  /* track_seq = unwrapped sequence - track_base - padding so far */
	uint64_t pads_seen;
	uint64_t pads
		[RTP_RECEIVER_PADS]; /* unwrapped sequences, the n-th at n % RTP_RECEIVER_PADS */
	uint64_t seen[RTP_RECEIVER_WINDOW / 64];

	int64_t rtt_us;
	bool rtt_known;
	int64_t nack_deadline_us;
	uint32_t nack_count;
	struct nack_entry nacks[NACK_PENDING_MAX]; /* by rising sequence */

	/* counters */
	uint64_t duplicates, too_old, late, recovered, padding, jumps, restarts;
	uint64_t rtx_packets, rtx_bad, nacks_sent, nacks_given_up, nack_overflows;
};

struct rtp_receiver_options {
	uint32_t ssrc;
	uint32_t rtx_ssrc;
	uint8_t payload_type;
	uint8_t rtx_payload_type;
	uint32_t clock_rate; /* 1 .. RTP_CLOCK_RATE_MAX */
	bool nack;
	bool video;
};

/* What a packet is in our own terms; fills media_header. */
struct rtp_receipt {
	uint64_t track_seq;
	uint64_t rtp_time;
	int64_t capture_us;
	bool late;	    /* MEDIA_LATE: a higher one came before */
	bool discontinuity; /* MEDIA_DISCONTINUITY: the sender began a new timeline or numbering */
	bool padding;	    /* nothing in it: not to be forwarded (its number is closed up) */
};

void rtp_receiver_init(struct rtp_receiver *r, const struct rtp_receiver_options *options);
/* Indices and rates are in range: nothing done with *r reaches outside it or divides by zero. */
bool rtp_receiver_is_valid(const struct rtp_receiver *r);

/* Accounts for one packet of the media SSRC (`retransmitted`: it came by RTX, after unwrapping).
 * ERR_REPLAY for duplicates and what is too old to be numbered: drop it. */
enum err rtp_receiver_take(struct rtp_receiver *r, struct rtp_timeline *timeline,
	const struct rtp_packet *packet, bool retransmitted, int64_t now_us,
	struct rtp_receipt *receipt);

/* Turns a packet of the RTX stream into the original in place (payload two bytes shorter, sequence,
 * SSRC and payload type restored). ERR_AGAIN when it is padding only, ERR_FORMAT when too short. */
enum err rtp_receiver_unwrap_rtx(struct rtp_receiver *r, struct rtp_packet *packet, int64_t now_us);

/* A sender report about the media SSRC or the RTX SSRC; others are ignored. */
void rtp_receiver_take_sender_report(struct rtp_receiver *r, struct rtp_timeline *timeline,
	const struct rtcp_sender_info *info, int64_t now_us);

/* Report block for the media stream or the RTX stream; begins a new interval of loss. False when
 * nothing came yet. */
bool rtp_receiver_fill_report(
	struct rtp_receiver *r, bool rtx, int64_t now_us, struct rtcp_report_block *block);

/* A round trip known from elsewhere (DLRR, STUN); negative is ignored. */
void rtp_receiver_take_rtt(struct rtp_receiver *r, int64_t rtt_us);

/* Sequences to ask for now, ascending; counts them as asked for. */
size_t rtp_receiver_poll_nacks(
	struct rtp_receiver *r, int64_t now_us, uint16_t *sequences, size_t max);
/* When to poll again; RTP_NO_DEADLINE = when something came. */
int64_t rtp_receiver_deadline_us(const struct rtp_receiver *r);
/* True once after something was lost for good that only a keyframe heals. */
bool rtp_receiver_take_keyframe_wish(struct rtp_receiver *r);

/* Keyframe requests of any number of subscribers, merged: at most one an interval, repeated while
 * no keyframe came. */
struct rtp_keyframe {
	bool wanted;
	uint8_t fir_sequence; /* of the request under way, RFC 5104 4.3.1.1 */
	int64_t asked_us;
	int64_t interval_us;
	uint64_t requests; /* counter: sent to the publisher */
};

void rtp_keyframe_init(struct rtp_keyframe *k, int64_t interval_us);
void rtp_keyframe_want(struct rtp_keyframe *k);
/* The first packet of a keyframe came. */
void rtp_keyframe_arrived(struct rtp_keyframe *k);
/* True when a PLI, or a FIR with k->fir_sequence, is to be sent now; counts it as sent. */
bool rtp_keyframe_poll(struct rtp_keyframe *k, int64_t now_us);
int64_t rtp_keyframe_deadline_us(const struct rtp_keyframe *k);

#endif

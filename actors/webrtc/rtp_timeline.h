/* SPDX-License-Identifier: Apache-2.0
 *
 * When was this captured? All tracks of one sender on one timeline: Unix µs of this node.
 *
 * A track's RTP timestamps are an exact clock with an unknown zero. Two things tell the zero:
 *
 *   arrivals      a packet cannot arrive before it was captured, so the smallest (arrival - RTP time)
 *                 seen is the best guess. Each track guesses for itself: good enough to begin with,
 *                 wrong between tracks by what their encoders and paths differ.
 *   sender report gives the sender's own wall clock for an RTP timestamp. Now all tracks of the
 *                 sender share one unknown, its clock against ours, and again the smallest
 *                 (arrival - sender's time), this time over all tracks together, is the guess.
 *                 Audio and video are then exactly as far apart as the sender says: lip sync.
 *
 * The smallest is taken over one to two windows of RTP_TIMELINE_WINDOW_US, so that clock drift and
 * lasting changes of delay are followed in both directions.
 *
 * The answer moves towards the best guess only as media time passes, by a twentieth of it (by a half
 * while it is wrong by more than RTP_TIMELINE_NEAR_US): capture times of a track rise whenever its RTP
 * timestamps rise, whatever the guesses do. When the sender steps its wall clock, the first report that
 * shows it moves the shared guess, not the media; the other tracks go on as they
 * are until their own report comes. A sender whose tracks disagree by more than RTP_TIMELINE_STEP_US is not
 * believed: the tracks that disagree stay on their arrivals.
 *
 * Both structs are plain, pointer-free and hold no index. Nothing allocates. Thread: one at a time.
 */
#ifndef MILLRACE_RTP_TIMELINE_H
#define MILLRACE_RTP_TIMELINE_H

#include "actors/webrtc/rtp.h"

enum {
	RTP_TIMELINE_WINDOW_US = 10000000,
	RTP_TIMELINE_NEAR_US = 100000,
	RTP_TIMELINE_STEP_US = 3000000,
	/* RTP time this far from arrival time is a new timeline of the sender, not delay */
	RTP_TIMELINE_JUMP_US = 10000000,
};

/* The smallest value of the last one to two windows. */
struct rtp_floor {
	int64_t current;
	int64_t previous;
	int64_t since_us;
	bool known;
};

/* One a sender. */
struct rtp_timeline {
	int64_t unix_offset_us; /* Unix time minus monotonic time, fixed for the life of the session */
	struct rtp_floor floor; /* arrival (Unix) - sender's clock */
	uint32_t epoch;		/* 1 + steps of the sender's clock */
};

/* One a track. */
struct rtp_track_clock {
	uint32_t clock_rate; /* Hz */
	uint32_t epoch;	     /* of the timeline when the last report agreed; 0 = by arrivals */
	bool started;
	bool has_report;
	uint64_t anchor_rtp;	/* newest RTP time … */
	int64_t anchor_us;	/* … and its capture time */
	struct rtp_floor floor; /* arrival (Unix) - RTP time in µs */
	uint64_t report_rtp;	/* newest sender report: RTP time … */
	int64_t report_us;	/* … and the sender's clock, Unix µs */
	uint32_t jumps;		/* times the RTP timestamps jumped */
};

void rtp_timeline_init(struct rtp_timeline *timeline, int64_t unix_offset_us);
/* clock_rate: 1 .. RTP_CLOCK_RATE_MAX. */
void rtp_track_clock_init(struct rtp_track_clock *clock, uint32_t clock_rate);
bool rtp_track_clock_is_valid(const struct rtp_track_clock *clock);

/* Capture time of a packet that arrived at now_us (monotonic) with the unwrapped RTP time. Packets
 * with the same RTP time get the same answer while none with a later one came between. `*jumped` is
 * set when the RTP timestamps left their line: the caller starts a new one (discontinuity). */
int64_t rtp_timeline_capture_us(struct rtp_timeline *timeline, struct rtp_track_clock *clock,
	uint64_t rtp_time, int64_t now_us, bool *jumped);

/* Takes a sender report. One with NTP time 0 (no wall clock, RFC 3550 6.4.1) or before the first
 * packet of the track changes nothing. */
void rtp_timeline_take_report(struct rtp_timeline *timeline, struct rtp_track_clock *clock,
	uint64_t ntp, uint32_t rtp_timestamp);

/* The sender's own clock (its NTP time as Unix µs) at an unwrapped RTP time. False before the first
 * sender report. */
bool rtp_timeline_sender_us(
	const struct rtp_track_clock *clock, uint64_t rtp_time, int64_t *sender_us);

#endif

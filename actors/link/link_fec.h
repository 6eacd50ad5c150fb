/* SPDX-License-Identifier: Apache-2.0
 *
 * link_fec: rows of XOR over the media of a link, for where a retransmission would come too late. A row
 * covers `count` packets, every `step`th link sequence, and restores any one of them; with a step of S a
 * run of S lost packets costs each row one. How long rows are follows from the loss and what of the
 * traffic they may take.
 *
 * Plain. Thread: one at a time. No allocation. About 100 kB each that are touched when they are used.
 */
#ifndef MILLRACE_LINK_FEC_H
#define MILLRACE_LINK_FEC_H

#include "actors/link/link_wire.h"

enum {
	LINK_FEC_STEP_MAX = 4,
	LINK_FEC_COUNT_MIN = 4,
	LINK_FEC_COUNT_MAX = 32,
	LINK_FEC_SPAN = 128,	/* bodies kept by a receiver; a power of two: the longest row */
	LINK_FEC_ROWS = 8,	/* rows a receiver waits with, for packets that come out of order */
	LINK_FEC_ENDED_MAX = 8, /* rows that wait for the rate of the path; a power of two */
	LINK_FEC_WAIT_US = 60000, /* a row that is not full by then leaves as it is */
	LINK_FEC_LOSS_PPM = 1000, /* less is not worth a row */
};

struct link_fec_plan {
	uint8_t count; /* packets of a row; 0 = no rows */
	uint8_t step;
};

struct link_fec_acc {
	uint64_t first;
	int64_t since_us;
	uint8_t count; /* so far; 0 = empty */
	uint8_t step;
	uint16_t size, size_xor;
	uint8_t bytes[LINK_FEC_BYTES_MAX];
};

struct link_fec_encoder {
	struct link_fec_plan plan, wanted; /* `wanted` from the next row on */
	struct link_fec_acc rows[LINK_FEC_STEP_MAX];
	struct link_fec_acc ended[LINK_FEC_ENDED_MAX]; /* to be sent, the oldest first */
	uint32_t ended_first, ended_count;
	uint64_t newest;   /* sequence that was added */
	uint64_t sent;	   /* rows */
	uint64_t left_out; /* rows: the path had no room until they were of no use */
};

struct link_fec_body {
	bool has;
	uint16_t size;
	uint64_t seq;
	uint8_t bytes[LINK_FEC_BYTES_MAX];
};

struct link_fec_decoder {
	bool started;
	uint64_t highest;
	struct link_fec_body bodies[LINK_FEC_SPAN];
	struct link_fec_acc rows[LINK_FEC_ROWS];
	unsigned next_row;
	unsigned waiting; /* rows with more than one missing */
	uint64_t received, restored, too_old;
};

/* How rows are to be for this loss, burst and round trip: none while a retransmission (with one more
 * try) comes in time. At most `redundancy_permille` of the packets. */
struct link_fec_plan link_fec_plan_for(uint32_t loss_ppm, unsigned burst, int64_t rtt_us,
	int64_t age_max_us, uint32_t redundancy_permille);

void link_fec_want(struct link_fec_encoder *e, struct link_fec_plan plan);
/* A packet leaves: its media body, whole. Returns whether it is covered. */
bool link_fec_add(
	struct link_fec_encoder *e, uint64_t seq, const uint8_t *body, size_t size, int64_t now_us);
/* Rows that have waited for more packets for long enough end as they are. */
void link_fec_end_late(struct link_fec_encoder *e, int64_t now_us);
/* The next row that has ended, as an FEC body (room for LINK_BODY_MAX); 0 = none. */
size_t link_fec_take_row(struct link_fec_encoder *e, uint8_t *body);
/* When a row that is begun will be late; of those that have ended, ended_count tells. */
int64_t link_fec_deadline_us(const struct link_fec_encoder *e);

/* A covered packet came: its media body. */
void link_fec_note(struct link_fec_decoder *d, uint32_t seq, const uint8_t *body, size_t size);
/* A row came. */
void link_fec_take(struct link_fec_decoder *d, const struct link_fec_row *row);
/* What can be restored now: a media body (room for LINK_BODY_MAX), its send time zero. 0 = nothing. */
size_t link_fec_restore(struct link_fec_decoder *d, uint8_t *body);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_fec.h"

#include <string.h>

_Static_assert((LINK_FEC_SPAN & (LINK_FEC_SPAN - 1)) == 0, "a power of two");
_Static_assert(LINK_FEC_STEP_MAX *LINK_FEC_COUNT_MAX <= LINK_FEC_SPAN, "the longest row fits");

enum { TRIES_PERMILLE = 2500 }; /* round trips until a second retransmission is here */

struct link_fec_plan link_fec_plan_for(uint32_t loss_ppm, unsigned burst, int64_t rtt_us,
	int64_t age_max_us, uint32_t redundancy_permille)
{
	struct link_fec_plan plan = {0};

	if (loss_ppm < LINK_FEC_LOSS_PPM || !redundancy_permille ||
		rtt_us * TRIES_PERMILLE / 1000 <= age_max_us)
		return plan;
	/* half a loss a row, if that is not more than may be spent */
	uint32_t count = 500000 / loss_ppm,
		 least = (999 + redundancy_permille) / redundancy_permille;

	count = count < least ? least : count;
	if (count > LINK_FEC_COUNT_MAX && least > LINK_FEC_COUNT_MAX)
		return plan;
	plan.count = (uint8_t)(count < LINK_FEC_COUNT_MIN   ? LINK_FEC_COUNT_MIN
			       : count > LINK_FEC_COUNT_MAX ? LINK_FEC_COUNT_MAX
							    : count);
	plan.step = (uint8_t)(burst < 1			  ? 1
			      : burst > LINK_FEC_STEP_MAX ? LINK_FEC_STEP_MAX
							  : burst);
	return plan;
}

/* ---- XOR ---- */

static void xor_bytes(uint8_t *to, const uint8_t *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] ^= from[i];
}

static void add_to_row(struct link_fec_acc *row, const uint8_t *bytes, size_t size)
{
	if (size > row->size) {
		memset(row->bytes + row->size, 0, size - row->size);
		row->size = (uint16_t)size;
	}
	xor_bytes(row->bytes, bytes, size);
	row->size_xor ^= (uint16_t)size;
}

/* ---- sending ---- */

void link_fec_want(struct link_fec_encoder *e, struct link_fec_plan plan)
{
	e->wanted = plan;
}

static bool is_empty(const struct link_fec_encoder *e)
{
	for (int i = 0; i < LINK_FEC_STEP_MAX; i++)
		if (e->rows[i].count)
			return false;
	return true;
}

/* It is to be sent. */
static void end_row(struct link_fec_encoder *e, struct link_fec_acc *row)
{
	if (row->count >= 2) { /* a copy of one packet is no row */
		if (e->ended_count == LINK_FEC_ENDED_MAX) {
			e->ended_first++;
			e->ended_count--;
			e->left_out++;
		}
		e->ended[(e->ended_first + e->ended_count++) % LINK_FEC_ENDED_MAX] = *row;
	}
	row->count = 0;
}

bool link_fec_add(
	struct link_fec_encoder *e, uint64_t seq, const uint8_t *body, size_t size, int64_t now_us)
{
	if (e->plan.step != e->wanted.step && !is_empty(e)) {
		/* rows of the old step end as they are: those that are begun leave when they are late */
		if (!e->plan.count)
			e->plan = e->wanted;
	} else {
		e->plan = e->wanted;
	}
	if (!e->plan.count)
		return false;
	struct link_fec_acc *row = &e->rows[seq % e->plan.step];

	if (row->count && seq != row->first + (uint64_t)row->count * row->step)
		row->count = 0; /* one is missing from it: it restores nothing */
	if (!row->count)
		*row = (struct link_fec_acc){
			.first = seq, .since_us = now_us, .step = e->plan.step};
	row->count++;
	add_to_row(row, body + LINK_MEDIA_UNCOVERED, size - LINK_MEDIA_UNCOVERED);
	e->newest = seq;
	if (row->count >= e->plan.count)
		end_row(e, row);
	return true;
}

void link_fec_end_late(struct link_fec_encoder *e, int64_t now_us)
{
	for (int i = 0; i < LINK_FEC_STEP_MAX; i++) {
		struct link_fec_acc *row = &e->rows[i];

		if (row->count &&
			(row->count >= e->plan.count || now_us - row->since_us >= LINK_FEC_WAIT_US))
			end_row(e, row);
	}
}

size_t link_fec_take_row(struct link_fec_encoder *e, uint8_t *body)
{
	while (e->ended_count) {
		const struct link_fec_acc *row = &e->ended[e->ended_first++ % LINK_FEC_ENDED_MAX];

		e->ended_count--;
		if (row->first + LINK_FEC_SPAN <= e->newest) {
			e->left_out++; /* its packets are kept no more there */
			continue;
		}
		const struct link_fec_row head = {.first = (uint32_t)row->first,
			.count = row->count,
			.step = row->step,
			.size_xor = row->size_xor};

		link_fec_write(&head, body);
		memcpy(body + LINK_FEC_HEAD, row->bytes, row->size);
		e->sent++;
		return LINK_FEC_HEAD + (size_t)row->size;
	}
	return 0;
}

int64_t link_fec_deadline_us(const struct link_fec_encoder *e)
{
	int64_t at_us = INT64_MAX;

	for (int i = 0; i < LINK_FEC_STEP_MAX; i++)
		if (e->rows[i].count && e->rows[i].since_us + LINK_FEC_WAIT_US < at_us)
			at_us = e->rows[i].since_us + LINK_FEC_WAIT_US;
	return at_us;
}

/* ---- receiving ---- */

static bool has_body(const struct link_fec_decoder *d, uint64_t seq)
{
	const struct link_fec_body *body = &d->bodies[seq % LINK_FEC_SPAN];

	return body->has && body->seq == seq;
}

static uint64_t unwrap(struct link_fec_decoder *d, uint32_t seq)
{
	if (!d->started) {
		d->started = true;
		d->highest = (UINT64_C(1) << 32) + seq;
	}
	return link_unwrap32(d->highest, seq);
}

void link_fec_note(struct link_fec_decoder *d, uint32_t seq, const uint8_t *body, size_t size)
{
	uint64_t here = unwrap(d, seq);

	if (here + LINK_FEC_SPAN <= d->highest)
		return;
	d->highest = here > d->highest ? here : d->highest;
	struct link_fec_body *kept = &d->bodies[here % LINK_FEC_SPAN];

	kept->has = true;
	kept->seq = here;
	kept->size = (uint16_t)(size - LINK_MEDIA_UNCOVERED);
	memcpy(kept->bytes, body + LINK_MEDIA_UNCOVERED, kept->size);
}

void link_fec_take(struct link_fec_decoder *d, const struct link_fec_row *row)
{
	uint64_t first = unwrap(d, row->first);
	struct link_fec_acc *kept = &d->rows[d->next_row++ % LINK_FEC_ROWS];

	d->received++;
	if (first + LINK_FEC_SPAN <= d->highest || row->count * row->step > LINK_FEC_SPAN) {
		d->too_old++;
		d->next_row--;
		return;
	}
	*kept = (struct link_fec_acc){
		.first = first,
		.count = row->count,
		.step = row->step,
		.size = row->size,
		.size_xor = row->size_xor,
	};
	memcpy(kept->bytes, row->bytes, row->size);
}

/* The one sequence of a row that is missing; 0: all are here (the row is of no use any more), or more
 * than one is missing. */
static uint64_t only_missing(
	const struct link_fec_decoder *d, const struct link_fec_acc *row, unsigned *missing)
{
	uint64_t one = 0;

	*missing = 0;
	for (unsigned i = 0; i < row->count; i++) {
		uint64_t seq = row->first + (uint64_t)i * row->step;

		if (!has_body(d, seq)) {
			one = seq;
			++*missing;
		}
	}
	return *missing == 1 ? one : 0;
}

static size_t restore_row(
	struct link_fec_decoder *d, struct link_fec_acc *row, uint64_t seq, uint8_t *body)
{
	uint16_t size = row->size_xor;

	for (unsigned i = 0; i < row->count; i++) {
		uint64_t other = row->first + (uint64_t)i * row->step;
		const struct link_fec_body *kept = &d->bodies[other % LINK_FEC_SPAN];

		if (other == seq)
			continue;
		if (kept->size > row->size)
			return 0; /* not what the row was made of */
		xor_bytes(row->bytes, kept->bytes, kept->size);
		size ^= kept->size;
	}
	if (size > row->size || size < LINK_MEDIA_HEAD - LINK_MEDIA_UNCOVERED)
		return 0;
	uint32_t low = (uint32_t)seq;

	memcpy(body, &low, sizeof(low));
	memset(body + sizeof(low), 0, LINK_MEDIA_UNCOVERED - sizeof(low));
	memcpy(body + LINK_MEDIA_UNCOVERED, row->bytes, size);
	d->restored++;
	return LINK_MEDIA_UNCOVERED + (size_t)size;
}

size_t link_fec_restore(struct link_fec_decoder *d, uint8_t *body)
{
	d->waiting = 0;
	for (int i = 0; i < LINK_FEC_ROWS; i++) {
		struct link_fec_acc *row = &d->rows[i];
		unsigned missing;

		if (!row->count)
			continue;
		uint64_t seq = only_missing(d, row, &missing);

		if (missing > 1 && row->first + LINK_FEC_SPAN > d->highest) {
			d->waiting++;
			continue;
		}
		size_t size = missing == 1 ? restore_row(d, row, seq, body) : 0;

		row->count = 0;
		if (size) {
			link_fec_note(d, (uint32_t)seq, body, size);
			return size;
		}
	}
	return 0;
}

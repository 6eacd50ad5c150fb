/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_fec.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum { SECOND = 1000000, AGE_US = 400000 };

TEST(rows_follow_loss_and_round_trip)
{
	static const struct {
		uint32_t loss_ppm;
		unsigned burst;
		int64_t rtt_us;
		uint32_t redundancy_permille;
		uint8_t count, step;
	} rows[] = {
		{0,	    1, 500000, 50,  0,  0},
		{20000,	1, 100000, 50,  0,  0}, /* two retransmissions come in time */
		{20000,	1, 200000, 50,  25, 1},
		{20000,	3, 200000, 50,  25, 3},
		{20000,	9, 200000, 50,  25, 4},
		{100000, 1, 200000, 50,	20, 1}, /* no more than may be spent */
		{100000, 1, 200000, 300, 5,  1},
		{5000,   1, 200000, 50,  32, 1},
		{20000,	1, 200000, 20,  0,  0}, /* a row of 50 is none */
		{20000,	1, 200000, 0,   0,	 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct link_fec_plan plan = link_fec_plan_for(rows[i].loss_ppm, rows[i].burst,
			rows[i].rtt_us, AGE_US, rows[i].redundancy_permille);

		CHECK_EQ(plan.count, rows[i].count);
		CHECK_EQ(plan.step, rows[i].step);
	}
}

/* A media body of that sequence: its bytes are its own. */
static size_t body_of(uint32_t seq, uint8_t *body)
{
	struct rng rng = rng_of(seq);
	size_t size = (size_t)rng_between(&rng, LINK_MEDIA_HEAD, LINK_BODY_MAX);

	rng_fill(&rng, body, size);
	memcpy(body, &seq, 4);
	memset(body + 4, 0, 4);
	return size;
}

static void take_row(struct link_fec_decoder *d, const uint8_t *body, size_t size)
{
	struct link_fec_row row;

	CHECK_OK(link_fec_read(body, size, &row));
	link_fec_take(d, &row);
}

/* One of each row is lost: it is restored, bit for bit. */
TEST(what_one_row_lacks_is_restored)
{
	struct link_fec_encoder *e = calloc(1, sizeof(*e));
	struct link_fec_decoder *d = calloc(1, sizeof(*d));
	struct rng rng = rng_of(3);

	MUST(e && d);
	for (uint8_t step = 1; step <= LINK_FEC_STEP_MAX; step++) {
		uint64_t seq = UINT64_C(0xffffff00) + step * 1000u, lost = 0, restored = 0;

		memset(e, 0, sizeof(*e));
		memset(d, 0, sizeof(*d));
		link_fec_want(e, (struct link_fec_plan){8, step});
		for (int i = 0; i < 2000; i++, seq++) {
			uint8_t body[LINK_BODY_MAX], expected[LINK_BODY_MAX];
			size_t size = body_of((uint32_t)seq, body);

			CHECK(link_fec_add(e, seq, body, size, 0));
			/* a run as long as the step, once every 8 steps */
			if (i % (8 * step) >= step || i < 8)
				link_fec_note(d, (uint32_t)seq, body, size);
			else
				lost++;
			while ((size = link_fec_take_row(e, body)))
				if (rng_chance_ppm(&rng, 1000000))
					take_row(d, body, size);
			while ((size = link_fec_restore(d, body))) {
				uint32_t which;

				memcpy(&which, body, 4);
				CHECK_EQ(body_of(which, expected), size);
				CHECK_MEM(body, expected, size);
				restored++;
			}
		}
		CHECK_GE(restored + 8, lost);
		CHECK(restored > 100);
	}
	free(e);
	free(d);
}

TEST(a_row_that_is_not_full_leaves_in_time)
{
	struct link_fec_encoder *e = calloc(1, sizeof(*e));
	uint8_t body[LINK_BODY_MAX];
	struct link_fec_row row;

	MUST(e);
	link_fec_want(e, (struct link_fec_plan){8, 1});
	for (uint32_t seq = 0; seq < 3; seq++)
		link_fec_add(e, seq, body, body_of(seq, body), SECOND);
	link_fec_end_late(e, SECOND + LINK_FEC_WAIT_US - 1);
	CHECK_EQ(link_fec_take_row(e, body), 0);
	CHECK_EQ(link_fec_deadline_us(e), SECOND + LINK_FEC_WAIT_US);
	link_fec_end_late(e, SECOND + LINK_FEC_WAIT_US);
	size_t size = link_fec_take_row(e, body);

	CHECK_OK(link_fec_read(body, size, &row));
	CHECK_EQ(row.count, 3);
	CHECK_EQ(link_fec_deadline_us(e), INT64_MAX);
	free(e);
}

/* The path has no room for them: of those that wait the oldest go, and those that a receiver could not use. */
TEST(rows_that_wait_too_long_are_left_out)
{
	struct link_fec_encoder *e = calloc(1, sizeof(*e));
	uint8_t body[LINK_BODY_MAX];
	struct link_fec_row row;
	uint32_t seq = 0;
	size_t size;

	MUST(e);
	link_fec_want(e, (struct link_fec_plan){4, 1});
	for (; seq < 4 * (LINK_FEC_ENDED_MAX + 3); seq++)
		link_fec_add(e, seq, body, body_of(seq, body), SECOND);
	CHECK_EQ(e->ended_count, LINK_FEC_ENDED_MAX);
	CHECK_EQ(e->left_out, 3);
	CHECK_EQ(link_fec_deadline_us(e), INT64_MAX);
	size = link_fec_take_row(e, body);
	CHECK_OK(link_fec_read(body, size, &row));
	CHECK_EQ(row.first, 12);
	link_fec_want(e, (struct link_fec_plan){32, 1});
	for (uint32_t end = seq + LINK_FEC_SPAN - 8; seq < end; seq++)
		link_fec_add(e, seq, body, body_of(seq, body), SECOND);
	for (unsigned rows = 0; (size = link_fec_take_row(e, body)); rows++) {
		CHECK_OK(link_fec_read(body, size, &row));
		CHECK(row.first + LINK_FEC_SPAN > e->newest);
	}
	CHECK(e->left_out > 3);
	free(e);
}

TEST(a_row_that_was_made_of_something_else_restores_nothing_bad)
{
	struct link_fec_decoder *d = calloc(1, sizeof(*d));
	struct rng rng = rng_of(8);
	uint8_t body[LINK_BODY_MAX];

	MUST(d);
	for (int i = 0; i < test_rounds(20000); i++) {
		uint32_t seq = (uint32_t)rng_below(&rng, 300);
		size_t size = (size_t)rng_between(&rng, LINK_MEDIA_HEAD, LINK_BODY_MAX);

		if (rng_chance_ppm(&rng, 700000)) {
			rng_fill(&rng, body, size);
			link_fec_note(d, seq, body, size);
		} else {
			rng_fill(&rng, body, size);
			memcpy(body, &seq, 4);
			body[4] = (uint8_t)rng_between(&rng, 2, 255);
			body[5] = (uint8_t)rng_between(&rng, 1, 6);
			take_row(d, body, size);
		}
		while ((size = link_fec_restore(d, body)))
			CHECK(size >= LINK_MEDIA_HEAD && size <= LINK_BODY_MAX);
	}
	CHECK(d->too_old > 0);
	free(d);
}

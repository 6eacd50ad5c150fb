/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_receive.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum { RTT_US = 40000 };

static struct link_receive *create(void)
{
	struct link_receive *r = malloc(sizeof(*r));

	MUST(r);
	link_receive_init(r, LINK_AGE_DEFAULT_US);
	return r;
}

TEST(missing_ones_are_asked_for_after_a_while_and_again_each_round_trip)
{
	struct link_receive *r = create();
	struct link_nack_range ranges[4];
	int64_t now_us = 1000000;

	CHECK_OK(link_receive_take(r, 10, now_us));
	CHECK_OK(link_receive_take(r, 14, now_us)); /* 11, 12, 13 are missing */
	CHECK_EQ(link_receive_ask(r, RTT_US, now_us + 4900, ranges, 4), 0);
	CHECK_EQ(link_receive_deadline_us(r, RTT_US), now_us + 5000);
	CHECK_OK(link_receive_take(r, 12, now_us + 4950)); /* only late */
	CHECK_EQ(link_receive_ask(r, RTT_US, now_us + 5000, ranges, 4), 2);
	CHECK_EQ(ranges[0].first, 11);
	CHECK_EQ(ranges[0].count, 1);
	CHECK_EQ(ranges[1].first, 13);
	CHECK_EQ(r->recovered, 0);
	CHECK_EQ(link_receive_ask(r, RTT_US, now_us + 49000, ranges, 4), 0);
	CHECK_EQ(link_receive_ask(r, RTT_US, now_us + 50000, ranges, 4), 2);
	CHECK_OK(link_receive_take(r, 11, now_us + 60000));
	CHECK_EQ(link_receive_take(r, 11, now_us + 60000), ERR_REPLAY);
	CHECK_EQ(r->recovered, 1);
	CHECK_EQ(r->duplicates, 1);
	free(r);
}

TEST(nothing_is_asked_for_beyond_its_age)
{
	struct link_receive *r = create();
	struct link_nack_range ranges[4];
	int64_t now_us = 1000000, last_us = 0;
	size_t asked = 0;

	link_receive_take(r, 1, now_us);
	link_receive_take(r, 3, now_us);
	for (int64_t t = 0; t < 2000000; t += 1000)
		if (link_receive_ask(r, RTT_US, now_us + t, ranges, 4)) {
			asked++;
			last_us = t;
		}
	CHECK_LE(last_us, LINK_AGE_DEFAULT_US);
	CHECK_GE(asked, 8);
	CHECK_EQ(r->given_up, 1);
	CHECK_EQ(link_receive_deadline_us(r, RTT_US), INT64_MAX);
	CHECK_OK(link_receive_take(r, 2, now_us + 3000000)); /* it comes after all */
	free(r);
}

TEST(the_last_of_a_burst_is_missed_when_the_sender_says_so)
{
	struct link_receive *r = create();
	struct link_nack_range ranges[4];

	link_receive_take(r, 7, 1000);
	link_receive_take_next(r, 8, 2000);
	CHECK_EQ(r->missing_count, 0);
	link_receive_take_next(r, 11, 3000);
	CHECK_EQ(link_receive_ask(r, RTT_US, 100000, ranges, 4), 1);
	CHECK_EQ(ranges[0].first, 8);
	CHECK_EQ(ranges[0].count, 3);
	link_receive_take_next(r, 9, 4000); /* older news */
	CHECK_EQ(r->missing_count, 3);
	free(r);
}

TEST(a_jump_is_not_waited_for)
{
	struct link_receive *r = create();

	link_receive_take(r, 5, 1000);
	CHECK_OK(link_receive_take(r, 5 + LINK_MISSING_MAX + 2, 1000));
	CHECK_EQ(r->missing_count, 0);
	CHECK_EQ(r->jumps, 1);
	CHECK_OK(link_receive_take(r, 6, 1000)); /* all the same it is let through */
	CHECK_OK(link_receive_take(r, 2000000, 1000));
	CHECK_EQ(link_receive_take(r, 6, 1000), ERR_REPLAY);
	CHECK_EQ(r->too_old, 1);
	free(r);
}

TEST(too_many_missing_ones_are_given_up_oldest_first)
{
	struct link_receive *r = create();

	for (uint32_t seq = 0; seq < 6 * LINK_MISSING_MAX; seq += 2)
		CHECK_OK(link_receive_take(r, seq, 1000));
	CHECK_EQ(r->missing_count, LINK_MISSING_MAX);
	CHECK_EQ(r->given_up, 3 * LINK_MISSING_MAX - 1 - LINK_MISSING_MAX);
	free(r);
}

/* Against the plainest model there is: a set. */
TEST(in_any_order_each_comes_through_once)
{
	enum { COUNT = 3000 };
	struct rng rng = rng_of(9);

	for (int round = 0; round < test_rounds(40); round++) {
		struct link_receive *r = create();
		uint32_t base = (uint32_t)rng_u64(&rng);
		uint8_t came[COUNT] = {0};
		int64_t now_us = 5000000;
		struct link_nack_range ranges[LINK_NACK_RANGES_MAX];

		link_receive_take(r, base, now_us);
		came[0] = 1;
		for (uint32_t i = 1; i < COUNT; i++) {
			/* forward, with what lies behind in any order, some twice, some never */
			uint32_t back = (uint32_t)rng_below(&rng, i < 300 ? i : 300);
			uint32_t at = rng_chance_ppm(&rng, 500000) ? i : i - back;
			enum err err = link_receive_take(r, base + at, now_us);

			CHECK_EQ(err == ERR_OK, !came[at]);
			came[at] = 1;
			now_us += (int64_t)rng_below(&rng, 2000);
			if (rng_chance_ppm(&rng, 50000)) {
				size_t count = link_receive_ask(
					r, RTT_US, now_us, ranges, LINK_NACK_RANGES_MAX);

				for (size_t k = 0; k < count; k++)
					for (uint32_t n = 0; n < ranges[k].count; n++)
						CHECK(!came[ranges[k].first + n - base]);
			}
		}
		for (uint32_t i = 0; i < r->missing_count; i++) {
			CHECK(!came[(uint32_t)r->missing[i].seq - base]);
			CHECK(!i || r->missing[i].seq > r->missing[i - 1].seq);
		}
		for (uint32_t i = 0; i < COUNT; i++)
			CHECK_EQ(link_receive_has(r, base + i), came[i]);
		free(r);
	}
}

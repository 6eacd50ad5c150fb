/* SPDX-License-Identifier: Apache-2.0
 *
 * A viewer's way, modelled: so many bits a second pass, a queue in front of it, what does not fit is lost;
 * feedback each 100 ms goes into a ledger packet by packet, as if by twcc_feedback.
 */
#include "actors/webrtc/viewer_takes.h"
#include "tests/test.h"

enum { PACKET = 1200, STEP_US = 10000, SECOND_US = 1000000 };

static struct way {
	struct twcc_ledger ledger;
	struct viewer_takes takes;
	uint64_t carries_bps;	 /* 0 = all */
	uint64_t loss_every;	 /* one packet in so many, beside; 0 = none */
	uint64_t queue_max_bits; /* in front of it */
	uint64_t queued_bits, credit_bits, sent;
	int64_t now_us;
} way;

static void begin(uint64_t carries_bps, uint64_t queue_ms)
{
	memset(&way, 0, sizeof(way));
	twcc_ledger_init(&way.ledger);
	way.carries_bps = carries_bps;
	way.queue_max_bits = carries_bps * queue_ms / 1000;
	way.now_us = 5 * SECOND_US;
	way.ledger.has_feedback = true;
}

static void send_one(void)
{
	bool lost = way.loss_every && ++way.sent % way.loss_every == 0;

	way.ledger.sent_packets++;
	way.ledger.sent_bytes += PACKET;
	if (way.carries_bps && way.queued_bits + PACKET * 8 > way.queue_max_bits)
		lost = true;
	else if (!lost && way.carries_bps)
		way.queued_bits += PACKET * 8;
	way.ledger.lost_packets += lost;
	way.ledger.acked_packets += !lost;
	way.ledger.acked_bytes += lost ? 0 : PACKET;
}

/* A second at that rate; what the viewer takes by then. */
static uint32_t second(uint64_t sent_bps)
{
	for (int i = 0; i < SECOND_US / STEP_US; i++) {
		uint64_t passed = way.carries_bps * STEP_US / SECOND_US;

		way.credit_bits += sent_bps * STEP_US / SECOND_US;
		for (; way.credit_bits >= PACKET * 8; way.credit_bits -= PACKET * 8)
			send_one();
		way.queued_bits -= passed < way.queued_bits ? passed : way.queued_bits;
		way.now_us += STEP_US;
	}
	if (way.carries_bps)
		way.ledger.queue_us = (int64_t)(way.queued_bits * SECOND_US / way.carries_bps);
	way.ledger.feedback_us = way.now_us;
	return viewer_takes_look(&way.takes, &way.ledger, way.now_us);
}

TEST(a_way_that_carries_all_says_nothing)
{
	begin(0, 0);
	for (int i = 0; i < 60; i++)
		CHECK_EQ(second(2000000), 0);
	begin(3000000, 200);
	for (int i = 0; i < 60; i++)
		CHECK_EQ(second(2000000), 0);
}

TEST(what_radio_loses_is_not_narrow)
{
	begin(0, 0);
	way.loss_every = 12; /* 8 % */
	for (int i = 0; i < 60; i++)
		CHECK_EQ(second(2000000), 0);
}

TEST(one_bad_second_is_none)
{
	begin(0, 0);
	second(2000000);
	for (int i = 0; i < 20; i++) {
		way.loss_every = i % 2 ? 0 : 3;
		CHECK_EQ(second(2000000), 0);
	}
}

TEST(a_narrow_way_says_less_than_it_carries_and_more_again)
{
	static const struct {
		uint64_t carries_bps, queue_ms;
	} rows[] = {
		{1000000, 50  }, /* what does not fit is lost … */
		{1000000, 1000}, /* … or waits */
		{600000,	 200 },
		{4000000, 100 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t takes = 0, least = UINT32_MAX, most = 0;
		int seconds = 0;

		begin(rows[i].carries_bps, rows[i].queue_ms);
		for (; !takes && seconds < 10; seconds++)
			takes = second(3 * rows[i].carries_bps);
		CHECK_LE(seconds, 4);
		CHECK_LE(takes, rows[i].carries_bps * 95 / 100);
		CHECK_GE(takes, rows[i].carries_bps * 75 / 100);
		/* a publisher that does what it is told: it stays near what the way carries */
		for (int j = 0; j < 60; j++) {
			takes = second(takes);
			CHECK(takes);
			least = j > 10 && takes < least ? takes : least;
			most = j > 10 && takes > most ? takes : most;
		}
		CHECK_GE(least, rows[i].carries_bps * 75 / 100);
		CHECK_LE(most, rows[i].carries_bps * 140 / 100);
		/* the way is wide again */
		way.carries_bps = 0;
		way.ledger.queue_us = 0;
		for (seconds = 0; takes && seconds < 60; seconds++)
			takes = second(
				takes < 3 * rows[i].carries_bps ? takes : 3 * rows[i].carries_bps);
		CHECK_EQ(takes, 0);
	}
}

TEST(it_holds_while_others_are_sent_more)
{
	uint32_t takes = 0;

	begin(1000000, 50);
	for (int i = 0; i < 60; i++) {
		takes = second(3000000);
		CHECK(i < 4 || (takes >= 750000 && takes <= 950000));
	}
}

/* What an encoder makes of what it may is often less: it is not let go for that every few seconds. */
TEST(a_publisher_that_sends_less_than_it_may_is_seldom_let_go)
{
	uint32_t takes = 0;
	int free = 0;

	begin(1000000, 50);
	for (int i = 0; i < 120; i++) {
		takes = second(takes ? takes * 45 / 100 : 3000000);
		free += !takes;
	}
	CHECK_GE(free, 2); /* now and then it is tried */
	CHECK_LE(free, 20);
}

TEST(never_less_than_the_least)
{
	begin(100000, 50);
	for (int i = 0; i < 20; i++)
		second(3000000);
	CHECK_EQ(way.takes.narrow.takes_bps, NARROW_LEAST_BPS);
}

TEST(without_feedback_it_takes_all_and_with_remb_what_that_says)
{
	begin(0, 0);
	way.ledger.has_feedback = false;
	for (int i = 0; i < 5; i++)
		CHECK_EQ(second(2000000), 0);
	for (int i = 0; i < 5; i++) {
		way.ledger.remb_bps = 2500000;
		way.ledger.remb_us = way.now_us + SECOND_US / 2;
		CHECK_EQ(second(2000000), 0);
	}
	way.ledger.remb_bps = 900000;
	way.ledger.remb_us = way.now_us + SECOND_US / 2;
	CHECK_EQ(second(2000000), 900000);
	way.ledger.remb_bps = 1;
	CHECK_EQ(second(2000000), NARROW_LEAST_BPS);
	for (int i = 0; i < 6; i++) /* it says nothing any more */
		second(2000000);
	CHECK_EQ(way.takes.narrow.takes_bps, 0);
}

TEST(a_ledger_that_counts_less_is_another_one)
{
	begin(1000000, 50);
	for (int i = 0; i < 5; i++)
		second(3000000);
	uint32_t takes = way.takes.narrow.takes_bps;

	twcc_ledger_init(&way.ledger);
	way.ledger.has_feedback = true;
	CHECK_EQ(viewer_takes_look(&way.takes, &way.ledger, way.now_us + SECOND_US), takes);
}

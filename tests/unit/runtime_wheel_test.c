/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/wheel.h"
#include "tests/test.h"

enum { ENTRIES = 300 };

static struct wheel_entry entries[ENTRIES];

static int number(const struct wheel_entry *entry)
{
	return entry ? (int)(entry - entries) : -1;
}

static struct wheel wheel;

static void begin(int64_t now_us)
{
	wheel_init(&wheel);
	memset(entries, 0, sizeof(entries));
	CHECK(!wheel_pop(&wheel, now_us));
}

TEST(entries_come_at_their_tick_in_the_order_they_were_put)
{
	begin(10000000);
	CHECK_EQ(wheel_next_us(&wheel), INT64_MAX);
	wheel_put(&wheel, &entries[0], 10003100); /* rounded up */
	wheel_put(&wheel, &entries[1], 10001000);
	wheel_put(&wheel, &entries[2], 10003001);
	wheel_put(&wheel, &entries[3], 9000000); /* the past is the next tick */
	CHECK_EQ(wheel_next_us(&wheel), 10001000);
	CHECK(!wheel_pop(&wheel, 10000999));
	CHECK_EQ(number(wheel_pop(&wheel, 10001000)), 1);
	CHECK_EQ(number(wheel_pop(&wheel, 10001000)), 3);
	CHECK(!wheel_pop(&wheel, 10003999));
	CHECK_EQ(wheel_next_us(&wheel), 10004000);
	CHECK_EQ(number(wheel_pop(&wheel, 10200000)), 0);
	CHECK_EQ(number(wheel_pop(&wheel, 10200000)), 2);
	CHECK(!wheel_pop(&wheel, 10200000));
	CHECK_EQ(wheel_next_us(&wheel), INT64_MAX);
}

TEST(moving_and_removing)
{
	begin(5000000);
	wheel_remove(&wheel, &entries[0]); /* in no wheel */
	wheel_put(&wheel, &entries[0], 5005000);
	wheel_put(&wheel, &entries[1], 5005000);
	wheel_put(&wheel, &entries[0], 5002000);
	CHECK_EQ(wheel_next_us(&wheel), 5002000);
	wheel_put(&wheel, &entries[0], 5009000);
	CHECK_EQ(wheel_next_us(&wheel), 5005000);
	wheel_remove(&wheel, &entries[1]);
	CHECK_EQ(wheel_next_us(&wheel), 5009000);
	wheel_remove(&wheel, &entries[0]);
	CHECK_EQ(wheel_next_us(&wheel), INT64_MAX);
	CHECK(!wheel_pop(&wheel, 6000000));
}

TEST(what_is_too_far_ahead_comes_early_and_nothing_is_lost)
{
	int64_t now_us = 77000000;
	int came = 0;

	begin(now_us);
	wheel_put(&wheel, &entries[0], now_us + 10000000);
	CHECK_EQ(wheel_next_us(&wheel), now_us + (WHEEL_SLOTS - 1) * WHEEL_TICK_US);
	for (int i = 1; i < ENTRIES; i++)
		wheel_put(&wheel, &entries[i], now_us + i * 331);
	while (wheel_next_us(&wheel) != INT64_MAX) {
		int64_t next_us = wheel_next_us(&wheel);

		CHECK_GE(next_us, now_us);
		CHECK(!wheel_pop(&wheel, next_us - 1));
		while (wheel_pop(&wheel, next_us))
			came++;
		now_us = next_us;
	}
	CHECK_EQ(came, ENTRIES);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/pacer.h"
#include "tests/test.h"

TEST(rates_are_multiples_within_bounds)
{
	static const struct {
		uint64_t measured_bps;
		size_t waiting;
		bool starting;
		uint64_t bps;
	} rows[] = {
		{0,	    0,       false, PACER_RATE_MIN_BPS},
		{0,	    0,       true,  PACER_RATE_MIN_BPS},
		{2000000,	  0,	     false, 24000000	    },
		{2000000,	  0,	     true,  80000000	   },
		{2000000,	  60000,	 false, 24000000		}, /* 16 Mbit/s would do for these … */
		{2000000,	  120000,  false, 32000000		 }, /* … and not for these, in 30 ms */
		{20000000,  0,	      true,  PACER_RATE_MAX_BPS},
		{2000000,	  9000000, false, PACER_RATE_MAX_BPS},
		{200000000, 0,       false, 400000000	       },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(pacer_rate(rows[i].measured_bps, rows[i].waiting, rows[i].starting),
			rows[i].bps);
	CHECK_EQ(pacer_span_bytes(24000000), 15000);
	CHECK_GE(pacer_span_bytes(PACER_RATE_MIN_BPS), 1400); /* a packet at least */
}

TEST(a_burst_waits_until_the_last_has_passed)
{
	struct pacer pacer = {0};
	int64_t now_us = 1000000;

	CHECK_LE(pacer_next_us(&pacer, now_us), now_us);
	/* 15,000 bytes at 24 Mbit/s are 5 ms; what was idle before does not count */
	pacer_take(&pacer, 15000, 24000000, now_us);
	CHECK_EQ(pacer_next_us(&pacer, now_us), now_us + 5000 - PACER_LATE_US);
	/* a timer that is a little late costs nothing */
	now_us += 5000 - PACER_LATE_US + 700;
	pacer_take(&pacer, 15000, 24000000, now_us);
	CHECK_EQ(pacer_next_us(&pacer, now_us), now_us - 700 + 5000);
	/* what does not wait is charged all the same */
	pacer_take(&pacer, 3000, 24000000, now_us);
	CHECK_EQ(pacer_next_us(&pacer, now_us), now_us - 700 + 6000);
}

TEST(a_damaged_time_holds_nobody_up)
{
	static const int64_t damaged[] = {INT64_MAX, INT64_MIN, 1 << 30, -1};

	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		struct pacer pacer = {.free_us = damaged[i]};

		CHECK_LE(pacer_next_us(&pacer, 1000000), 1000000);
		pacer_take(&pacer, 1200, PACER_RATE_MIN_BPS, 1000000);
		CHECK_LE(pacer_next_us(&pacer, 1000000), 1000000 + PACER_WAIT_MAX_US);
	}
}

TEST(over_a_second_no_more_leaves_than_the_rate)
{
	struct pacer pacer = {0};
	uint64_t rate_bps = pacer_rate(1000000, 0, false);
	size_t sent = 0;

	/* woken each millisecond at some time within it */
	for (int64_t ms = 0; ms < 1000; ms++) {
		int64_t now_us = 5000000 + ms * 1000 + ms * 7919 % 1000;

		while (pacer_next_us(&pacer, now_us) <= now_us) {
			size_t bytes = pacer_span_bytes(rate_bps) / 2;

			pacer_take(&pacer, bytes, rate_bps, now_us);
			sent += bytes;
		}
	}
	CHECK_LE(sent, rate_bps / 8 + pacer_span_bytes(rate_bps));
	CHECK_GE(sent, rate_bps / 8 * 9 / 10);
}

TEST(a_worker_that_was_busy_catches_up_with_what_waited)
{
	static const struct {
		uint8_t waiting;
		int64_t late_us, credit_us;
	} rows[] = {
		{0, 700,	 700		    },
		{0, 50000,  PACER_LATE_US	},
		{1, 700,	 700		    },
		{1, 20000,  20000		},
		{1, 500000, PACER_OVERDUE_US},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pacer pacer = {.free_us = 1000000, .waiting = rows[i].waiting};
		int64_t now_us = 1000000 + rows[i].late_us;

		pacer_take(&pacer, 15000, 24000000, now_us);
		CHECK_EQ(pacer_next_us(&pacer, now_us), now_us - rows[i].credit_us + 5000);
	}
}

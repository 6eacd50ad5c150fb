/* SPDX-License-Identifier: Apache-2.0
 *
 * What the test network does to packets: tests/net/impair_path.h.
 */
#include "tests/net/impair_path.h"
#include "tests/test.h"

#include <math.h>

enum { MS = 1000, SIZE = 1250, PACKETS = 100000 };

struct rules_row {
	const char *key, *value;
	bool ok;
	int64_t number; /* what is set to it; shares in millionths */
};

static int64_t number_of(const struct impair_rules *r, const char *key)
{
	switch (key[0]) {
	case 'd':
		return key[1] == 'e'   ? r->delay_us
		       : key[1] == 'o' ? r->down
				       : lround(r->duplicate * 1e6);
	case 'j': return r->jitter_us;
	case 'q': return r->queue_us;
	case 'l': return lround(r->loss * 1e6);
	case 'b': return lround(r->burst);
	default: return key[1] == 'a' ? (int64_t)r->rate_bps : r->reorder;
	}
}

TEST(rules_are_read)
{
	static const struct rules_row rows[] = {
		{"delay",	  "20",	true,  20000  },
		{"delay",	  "1.5ms", true,	 1500   },
		{"jitter",	   "300us", true,  300    },
		{"queue",	  "2s",	true,  2000000},
		{"loss",	 "2",     true,  20000	 },
		{"loss",	 "0.01%", true,	100	   },
		{"duplicate", "100%",  true,  1000000},
		{"burst",	  "3",     true,  3      },
		{"rate",	 "800",	true,  800000 },
		{"rate",	 "2.5M",	 true,  2500000},
		{"reorder",   "1",	 true,  1	},
		{"down",	 "1",     true,  1	     },
		{"delay",	  "",      false, 0      },
		{"delay",	  "-1",	false, 0	},
		{"delay",	  "nan",	 false, 0	 },
		{"delay",	  "61s",	 false, 0	 },
		{"delay",	  "5 ms",  false, 0	  },
		{"loss",	 "101",	false, 0	},
		{"loss",	 "2ms",	false, 0	},
		{"rate",	 "fast",	 false, 0	 },
		{"down",	 "2",     false, 0      },
		{"colour",	   "1",	false, 0	},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct impair_rules rules = impair_rules_none(), before = rules;
		const char *expected = impair_rules_set(&rules, rows[i].key, rows[i].value);

		CHECK_EQ(!expected, rows[i].ok);
		if (rows[i].ok)
			CHECK_EQ(number_of(&rules, rows[i].key), rows[i].number);
		else
			CHECK_MEM(&rules, &before, sizeof(rules));
	}
}

/* What PACKETS packets, one each `every_us`, met. */
struct result {
	int64_t arrived, delay_us, least_us, most_us, out_of_order, bursts;
};

static struct result run(struct impair_path *path, int64_t every_us)
{
	struct result result = {.least_us = INT64_MAX};
	uint64_t random = 88172645463325252ull;
	int64_t last_us = 0;
	bool was_lost = false;

	for (int64_t i = 0; i < PACKETS; i++) {
		int64_t at_us[IMPAIR_COPIES_MAX], now_us = 1000000 + i * every_us;
		int copies = impair_path_packet(path, SIZE, now_us, &random, at_us);

		for (int copy = 0; copy < copies; copy++) {
			int64_t delay_us = at_us[copy] - now_us;

			result.arrived++;
			result.delay_us += delay_us;
			if (delay_us < result.least_us)
				result.least_us = delay_us;
			if (delay_us > result.most_us)
				result.most_us = delay_us;
			result.out_of_order += at_us[copy] < last_us;
			last_us = at_us[copy];
		}
		result.bursts += !copies && !was_lost;
		was_lost = !copies;
	}
	if (result.arrived)
		result.delay_us /= result.arrived;
	return result;
}

static struct result run_with(const char *const *pairs, int64_t every_us)
{
	struct impair_path path = {.rules = impair_rules_none()};

	for (; *pairs; pairs += 2)
		assert_null(impair_rules_set(&path.rules, pairs[0], pairs[1]));
	return run(&path, every_us);
}

#define RUN(every_us, ...) run_with((const char *const[]){__VA_ARGS__, NULL}, every_us)

static bool is_near(int64_t value, double wanted, double share)
{
	return fabs((double)value - wanted) <= wanted * share;
}

TEST(without_rules_all_arrive_at_once)
{
	struct impair_path path = {.rules = impair_rules_none()};
	struct result result = run(&path, 100);

	CHECK_EQ(result.arrived, PACKETS);
	CHECK_EQ(result.most_us, 0);
	CHECK_EQ(path.bytes, (uint64_t)PACKETS * SIZE);
}

TEST(delay_and_jitter)
{
	struct result result = RUN(20 * MS, "delay", "20ms", "jitter", "5ms");

	CHECK(is_near(result.delay_us, 20000, 0.01));
	CHECK_GE(result.least_us, 15000);
	CHECK_LE(result.most_us, 25000);
	CHECK_EQ(result.out_of_order, 0);
	result = RUN(1000, "delay", "20ms", "jitter", "5ms");
	CHECK_EQ(result.out_of_order, 0); /* who would overtake waits */
	result = RUN(1000, "delay", "20ms", "jitter", "5ms", "reorder", "1");
	CHECK_GE(result.out_of_order, PACKETS / 10);
}

TEST(loss_alone_and_in_bursts)
{
	struct result result = RUN(1000, "loss", "2%");

	CHECK(is_near(PACKETS - result.arrived, 0.02 * PACKETS, 0.1));
	CHECK(is_near(result.bursts, 0.02 * 0.98 * PACKETS, 0.1));
	result = RUN(1000, "loss", "5%", "burst", "10");
	CHECK(is_near(PACKETS - result.arrived, 0.05 * PACKETS, 0.15));
	CHECK(is_near(result.bursts, 0.005 * PACKETS, 0.15));
	CHECK_EQ(RUN(1000, "loss", "100%").arrived, 0);
	CHECK_EQ(RUN(1000, "down", "1").arrived, 0);
}

TEST(a_rate_makes_them_wait_then_drops)
{
	/* 10 Mbit/s come: 1,250 bytes a millisecond */
	struct result result = RUN(1000, "rate", "20M");

	CHECK_EQ(result.arrived, PACKETS);
	CHECK_EQ(result.most_us, 500);
	result = RUN(1000, "rate", "5M", "queue", "100ms");
	CHECK(is_near(result.arrived, 0.5 * PACKETS, 0.01));
	CHECK_LE(result.most_us, 102 * MS);
	CHECK_GE(result.most_us, 98 * MS);
}

TEST(some_come_twice)
{
	struct result result = RUN(1000, "duplicate", "10%");

	CHECK(is_near(result.arrived - PACKETS, 0.1 * PACKETS, 0.05));
}

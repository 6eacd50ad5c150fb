/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/rtmp_clock.h"
#include "tests/test.h"

#define WALL INT64_C(1790000000000000)

enum { STEP_MS = 20, ORIGIN = RTMP_CLOCK_ORIGIN_MS };

TEST(first_tag_is_captured_when_it_came)
{
	struct rtmp_clock c = {0};

	CHECK_EQ(rtmp_clock_tag(&c, 123456, WALL), ORIGIN);
	CHECK_EQ(rtmp_clock_capture_us(&c, ORIGIN), WALL);
	CHECK_EQ(rtmp_clock_capture_us(&c, ORIGIN + 40), WALL + 40000);
	CHECK(rtmp_clock_is_valid(&c));
}

/* clang-format off */
static const struct {
	const char *what;
	int64_t time_ms, passed_ms; /* of a second tag, after one of time 50000 */
	int64_t expected_ms;        /* past the first */
	unsigned jumps;
} count_rows[] = {
	{"goes on",                        50040,    40,      40, 0},
	{"audio a little before video",    49990,     0,     -10, 0},
	{"at the limit backward",          47000,    40,   -3000, 0},
	{"begins anew",                        0,    40,      40, 1},
	{"sent faster than real time",     50500,     0,     500, 0},
	{"pause with the clock running",  550000, 500000,  500000, 0},
	{"leap ahead",                   5050000,    40,      40, 1},
	{"leap of the 32-bit count",  4294967000,    40,      40, 1},
	{"our clock was set back",         50040, -9000000,   40, 0},
	{"begins anew, our clock set on",      0, 90000000, 600000, 1},
};
/* clang-format on */

TEST(stream_time_goes_on_where_the_count_jumps)
{
	for (size_t i = 0; i < sizeof(count_rows) / sizeof(count_rows[0]); i++) {
		struct rtmp_clock c = {0};
		int64_t first = rtmp_clock_tag(&c, 50000, WALL);
		int64_t second = rtmp_clock_tag(
			&c, count_rows[i].time_ms, WALL + count_rows[i].passed_ms * 1000);

		if (second - first != count_rows[i].expected_ms || c.jumps != count_rows[i].jumps)
			fail_msg("%s: %lld ms, %llu jumps", count_rows[i].what,
				(long long)(second - first), (unsigned long long)c.jumps);
		CHECK(rtmp_clock_is_valid(&c));
	}
}

/* What arrivals look like; the mapping's error against the truth at the end, and on its way. */
struct drift_case {
	const char *what;
	int64_t first_late_us; /* the first tag waited this long */
	int64_t ppm;	       /* the publisher's clock runs slow by this */
	int64_t jitter_us;     /* arrivals are up to this late */
	int64_t stall_at_s;    /* the publisher's count stands still for 20 s here; 0 = never */
	int64_t error_us_max;  /* at the end */
};

static const struct drift_case drift_rows[] = {
	{"exact",		  0,	     0,	0,	   0,  0    },
	{"jitter alone",		 0,	    0,    80000, 0,	 10000},
	{"slow by 100 ppm",	    0,      100,  0,     0,  3000 },
	{"fast by 100 ppm",	    0,      -100, 0,	0,  3000 },
	{"slow, with jitter",      0,	 200,  50000, 0,	10000},
	{"the first tag waited",	 400000, 0,    20000, 0,  5000 },
	{"the source stood still", 0,      0,	 1000,  60, 3000 },
};

static int64_t jitter_of(int64_t i, int64_t most_us)
{
	return most_us ? (i * 7919 + i * i % 104729) % most_us : 0;
}

static void run_drift(const struct drift_case *row)
{
	struct rtmp_clock c = {0};
	int64_t last_capture_us = 0, error_us = 0, stall_us = 0;

	for (int64_t i = 0; i < 180 * 1000 / STEP_MS; i++) {
		int64_t ms = i * STEP_MS;

		if (row->stall_at_s && ms == row->stall_at_s * 1000)
			stall_us = 20 * 1000 * 1000;
		int64_t truth_us = WALL + ms * 1000 + ms * row->ppm / 1000 + stall_us;
		int64_t late_us = i ? jitter_of(i, row->jitter_us) : row->first_late_us;
		int64_t stream_ms = rtmp_clock_tag(&c, ms, truth_us + late_us);
		int64_t capture_us = rtmp_clock_capture_us(&c, stream_ms);

		if (i && capture_us <= last_capture_us)
			fail_msg("%s: backward at %lld ms", row->what, (long long)ms);
		CHECK_EQ(stream_ms, ORIGIN + ms);
		last_capture_us = capture_us;
		error_us = capture_us - truth_us;
	}
	if (error_us > row->error_us_max || error_us < -row->error_us_max)
		fail_msg("%s: off by %lld us", row->what, (long long)error_us);
	CHECK_LE(c.jitter_us, row->jitter_us);
	CHECK_EQ(c.steps, row->stall_at_s ? 1 : 0);
}

TEST(capture_time_follows_slowly_and_never_runs_backward)
{
	for (size_t i = 0; i < sizeof(drift_rows) / sizeof(drift_rows[0]); i++)
		run_drift(&drift_rows[i]);
}

TEST(hostile_state_is_seen)
{
	struct rtmp_clock c = {.started = 1, .offset_us = INT64_MAX};

	CHECK(!rtmp_clock_is_valid(&c));
	c = (struct rtmp_clock){.started = 2};
	CHECK(!rtmp_clock_is_valid(&c));
	c = (struct rtmp_clock){0};
	CHECK(rtmp_clock_is_valid(&c));
}

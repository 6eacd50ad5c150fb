/* SPDX-License-Identifier: Apache-2.0
 *
 * See rtmp_clock.h. `delay` is how long after its capture time, by the mapping of the moment, a tag
 * came: below zero the mapping is too late, above zero the tag waited or the mapping is too early.
 */
#include "actors/rtmp/rtmp_clock.h"

enum {
	MS = 1000,
	IDLE_MS_MAX = 600 * 1000, /* the wall clock may be set while we run: believe no more */
	JITTER_SHIFT = 4,
};

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static void start(struct rtmp_clock *c, int64_t time_ms, int64_t wall_us)
{
	*c = (struct rtmp_clock){
		.started = 1,
		.shift_ms = RTMP_CLOCK_ORIGIN_MS - time_ms,
		.last_ms = RTMP_CLOCK_ORIGIN_MS,
		.last_wall_us = wall_us,
		.offset_us = wall_us - (int64_t)RTMP_CLOCK_ORIGIN_MS * MS,
		.window_begin_ms = RTMP_CLOCK_ORIGIN_MS,
		.window_least_us = INT64_MAX,
	};
}

/* Stream time; where the publisher's count jumps it goes on by the time that has passed. */
static int64_t follow(struct rtmp_clock *c, int64_t time_ms, int64_t wall_us)
{
	int64_t passed_ms = clamp((wall_us - c->last_wall_us) / MS, 1, IDLE_MS_MAX);
	int64_t ms = time_ms + c->shift_ms;

	if (ms >= c->last_ms - RTMP_CLOCK_BACK_MS &&
		ms >= RTMP_CLOCK_ORIGIN_MS - RTMP_CLOCK_BACK_MS &&
		ms <= c->last_ms + passed_ms + RTMP_CLOCK_AHEAD_MS)
		return ms;
	c->jumps++;
	ms = c->last_ms + passed_ms;
	c->shift_ms = ms - time_ms;
	return ms;
}

static void correct(struct rtmp_clock *c, int64_t advance_ms)
{
	int64_t slew = c->error_us < 0 ? RTMP_CLOCK_SLEW_EARLY : RTMP_CLOCK_SLEW_LATE;

	if (c->error_us > RTMP_CLOCK_FAR_US || c->error_us < -RTMP_CLOCK_FAR_US)
		slew = RTMP_CLOCK_SLEW_FAR;
	int64_t by_us = clamp(c->error_us, -slew * advance_ms, slew * advance_ms);

	c->offset_us += by_us;
	c->error_us -= by_us;
	if (c->window_least_us != INT64_MAX)
		c->window_least_us -= by_us;
	c->last_delay_us -= by_us;
}

static void close_window(struct rtmp_clock *c, int64_t ms)
{
	c->error_us = c->window_least_us;
	if (c->error_us > RTMP_CLOCK_STEP_US) {
		c->offset_us += c->error_us;
		c->last_delay_us -= c->error_us;
		c->error_us = 0;
		c->steps++;
	}
	c->window_least_us = INT64_MAX;
	c->window_begin_ms = ms;
}

int64_t rtmp_clock_tag(struct rtmp_clock *c, int64_t time_ms, int64_t wall_us)
{
	if (!c->started)
		start(c, time_ms, wall_us);
	int64_t ms = follow(c, time_ms, wall_us);

	if (ms > c->last_ms) {
		correct(c, ms - c->last_ms);
		c->last_ms = ms;
	}
	int64_t delay_us = wall_us - rtmp_clock_capture_us(c, ms);
	int64_t change_us = delay_us - c->last_delay_us;

	c->jitter_us += ((change_us < 0 ? -change_us : change_us) - c->jitter_us) >> JITTER_SHIFT;
	c->last_delay_us = delay_us;
	c->last_wall_us = wall_us;
	if (delay_us < c->window_least_us)
		c->window_least_us = delay_us;
	if (ms - c->window_begin_ms >= RTMP_CLOCK_WINDOW_MS)
		close_window(c, ms);
	return ms;
}

int64_t rtmp_clock_capture_us(const struct rtmp_clock *c, int64_t stream_ms)
{
	return stream_ms * MS + c->offset_us;
}

bool rtmp_clock_is_valid(const struct rtmp_clock *c)
{
	const int64_t far = INT64_MAX / 4096; /* sums and products of a few stay in range */
	const int64_t values[] = {c->shift_ms, c->last_ms, c->last_wall_us, c->offset_us,
		c->error_us, c->window_begin_ms, c->last_delay_us, c->jitter_us};

	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (values[i] > far || values[i] < -far)
			return false;
	return c->started <= 1 && c->window_least_us >= -far;
}

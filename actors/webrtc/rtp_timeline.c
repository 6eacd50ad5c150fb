/* SPDX-License-Identifier: Apache-2.0
 *
 * Capture times of a sender's tracks; the method is described in the header.
 */
#include "actors/webrtc/rtp_timeline.h"

/* Times may come from a damaged state or a mad sender: sums wrap instead of being undefined. */
static int64_t add(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t sub(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a - (uint64_t)b);
}

static bool is_within(int64_t value, int64_t limit)
{
	return value >= -limit && value <= limit;
}

static int64_t clamp(int64_t value, int64_t limit)
{
	return value > limit ? limit : value < -limit ? -limit : value;
}

static void floor_start(struct rtp_floor *floor, int64_t value, int64_t now_us)
{
	*floor = (struct rtp_floor){value, value, now_us, true};
}

/* Adds a sample and returns the smallest. */
static int64_t floor_take(struct rtp_floor *floor, int64_t value, int64_t now_us)
{
	int64_t age = sub(now_us, floor->since_us);

	if (!floor->known || age < 0 || age >= 2 * (int64_t)RTP_TIMELINE_WINDOW_US) {
		floor_start(floor, value, now_us);
	} else if (age >= RTP_TIMELINE_WINDOW_US) {
		floor->previous = floor->current;
		floor->current = value;
		floor->since_us = now_us;
	} else if (value < floor->current) {
		floor->current = value;
	}
	return floor->current < floor->previous ? floor->current : floor->previous;
}

static int64_t floor_value(const struct rtp_floor *floor)
{
	return floor->current < floor->previous ? floor->current : floor->previous;
}

void rtp_timeline_init(struct rtp_timeline *timeline, int64_t unix_offset_us)
{
	*timeline = (struct rtp_timeline){.unix_offset_us = unix_offset_us, .epoch = 1};
}

void rtp_track_clock_init(struct rtp_track_clock *clock, uint32_t clock_rate)
{
	MUST(clock_rate && clock_rate <= RTP_CLOCK_RATE_MAX);
	*clock = (struct rtp_track_clock){.clock_rate = clock_rate};
}

bool rtp_track_clock_is_valid(const struct rtp_track_clock *clock)
{
	return clock->clock_rate && clock->clock_rate <= RTP_CLOCK_RATE_MAX;
}

static int64_t media_us(const struct rtp_track_clock *clock, uint64_t from, uint64_t to)
{
	return rtp_us_from_ticks((int64_t)(to - from), clock->clock_rate);
}

bool rtp_timeline_sender_us(
	const struct rtp_track_clock *clock, uint64_t rtp_time, int64_t *sender_us)
{
	if (!clock->has_report)
		return false;
	*sender_us = add(clock->report_us, media_us(clock, clock->report_rtp, rtp_time));
	return true;
}

static int64_t start_line(struct rtp_track_clock *clock, uint64_t rtp_time, int64_t capture_us,
	int64_t now_us, int64_t arrival_us)
{
	clock->started = true;
	clock->has_report = false;
	clock->anchor_rtp = rtp_time;
	clock->anchor_us = capture_us;
	floor_start(&clock->floor, sub(arrival_us, media_us(clock, 0, rtp_time)), now_us);
	return capture_us;
}

/* Where the packet would lie if all that is known were true. `on_line_us` is where its track's own
 * steps put it. */
static int64_t best_guess(struct rtp_timeline *timeline, struct rtp_track_clock *clock,
	uint64_t rtp_time, int64_t on_line_us, int64_t now_us, int64_t arrival_us)
{
	int64_t own_us = media_us(clock, 0, rtp_time);
	int64_t by_arrival =
		add(own_us, floor_take(&clock->floor, sub(arrival_us, own_us), now_us));
	int64_t sender_us;

	if (!clock->epoch || !rtp_timeline_sender_us(clock, rtp_time, &sender_us))
		return by_arrival;
	if (clock->epoch != timeline->epoch)
		return on_line_us;
	return add(sender_us, floor_take(&timeline->floor, sub(arrival_us, sender_us), now_us));
}

int64_t rtp_timeline_capture_us(struct rtp_timeline *timeline, struct rtp_track_clock *clock,
	uint64_t rtp_time, int64_t now_us, bool *jumped)
{
	int64_t arrival_us = add(now_us, timeline->unix_offset_us);

	*jumped = false;
	if (!clock->started)
		return start_line(clock, rtp_time, arrival_us, now_us, arrival_us);

	int64_t passed = media_us(clock, clock->anchor_rtp, rtp_time);
	int64_t on_line = add(clock->anchor_us, passed);
	if (!is_within(sub(arrival_us, on_line), RTP_TIMELINE_JUMP_US)) {
		/* never before what was said last; a later arrival is where the new line begins */
		int64_t least = add(clock->anchor_us, 1);
		*jumped = true;
		clock->jumps++;
		return start_line(clock, rtp_time, arrival_us > least ? arrival_us : least, now_us,
			arrival_us);
	}
	if (passed <= 0)
		return on_line;

	int64_t guess = best_guess(timeline, clock, rtp_time, on_line, now_us, arrival_us);
	int64_t wrong = sub(guess, on_line);
	int64_t step =
		clamp(wrong, is_within(wrong, RTP_TIMELINE_NEAR_US) ? passed / 20 : passed / 2);
	clock->anchor_rtp = rtp_time;
	clock->anchor_us = add(on_line, step);
	return clock->anchor_us;
}

void rtp_timeline_take_report(struct rtp_timeline *timeline, struct rtp_track_clock *clock,
	uint64_t ntp, uint32_t rtp_timestamp)
{
	int64_t sender_us = rtp_unix_us_from_ntp(ntp), before_us, now_says;

	if (!ntp || !clock->started)
		return;
	uint64_t rtp_time = rtp_extend_timestamp(clock->anchor_rtp, rtp_timestamp);
	bool stepped = rtp_timeline_sender_us(clock, rtp_time, &before_us) &&
		       !is_within(sub(sender_us, before_us), RTP_TIMELINE_STEP_US);
	clock->has_report = true;
	clock->report_rtp = rtp_time;
	clock->report_us = sender_us;

	rtp_timeline_sender_us(clock, clock->anchor_rtp, &now_says);
	int64_t own_floor = sub(clock->anchor_us, now_says);
	bool agrees =
		!timeline->floor.known ||
		is_within(sub(own_floor, floor_value(&timeline->floor)), RTP_TIMELINE_STEP_US);
	if (!agrees && stepped) {
		timeline->epoch++;
		floor_start(&timeline->floor, own_floor, timeline->floor.since_us);
		agrees = true;
	}
	clock->epoch = agrees ? timeline->epoch : 0;
}

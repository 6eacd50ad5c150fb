/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_pace.h"

enum {
	GROWS_BY = 8,	/* an eighth of what came, when nothing queues … */
	SHRINKS_BY = 4, /* … and a quarter, when twice as much does as should */
	WINDOW_UNIT = 1000,
};

static bool is_asked(const struct link_pace *pace, int64_t now_us)
{
	return pace->asked_us && now_us - pace->asked_us <= LINK_PACE_FORGET_US;
}

static int64_t under_way(const struct link_path *path)
{
	return (int64_t)(path->next_seq - 1 - path->acked);
}

static void begin(struct link_pace *pace, const struct link_path *path)
{
	*pace = (struct link_pace){
		.doubling = true,
		.window_m = (under_way(path) + LINK_PACE_FIRST) * WINDOW_UNIT,
		.acked = path->acked,
		.received = path->received,
		.expected = path->expected,
	};
}

uint32_t link_pace_room(struct link_pace *pace, const struct link_path *path, int64_t now_us)
{
	if (!is_asked(pace, now_us))
		begin(pace, path);
	pace->asked_us = now_us;
	pace->used = true;
	int64_t room = pace->window_m / WINDOW_UNIT - under_way(path);

	return room <= 0 ? 0 : room < LINK_PACE_BURST_MAX ? (uint32_t)room : LINK_PACE_BURST_MAX;
}

/* More than a tenth of the last few: the queue is too short for its delay to tell. */
static bool loses(struct link_pace *pace, const struct link_path *path)
{
	uint32_t expected = path->expected - pace->expected;
	uint32_t received = path->received - pace->received;

	if (expected < LINK_PACE_LOSS_PACKETS)
		return false;
	pace->expected = path->expected;
	pace->received = path->received;
	/* (what the other end says may be anything) */
	return expected <= INT32_MAX && received < expected &&
	       (uint64_t)(expected - received) * 1000000 > (uint64_t)expected * LINK_LOSS_BAD_PPM;
}

void link_pace_take_report(struct link_pace *pace, const struct link_path *path, int64_t now_us)
{
	int64_t came = path->acked > pace->acked ? (int64_t)(path->acked - pace->acked) : 0;
	int64_t queue_us = path->queue_us;

	pace->acked = path->acked;
	if (!is_asked(pace, now_us))
		return;
	bool lossy = loses(pace, path);

	if (queue_us > 2 * LINK_PACE_QUEUE_US || lossy)
		queue_us = 2 * LINK_PACE_QUEUE_US;
	if (queue_us > LINK_PACE_SIGN_US)
		pace->doubling = false;
	if (pace->doubling && pace->used)
		pace->window_m += came * WINDOW_UNIT;
	else if (queue_us > LINK_PACE_QUEUE_US)
		pace->window_m -= came * WINDOW_UNIT / SHRINKS_BY *
				  (queue_us - LINK_PACE_QUEUE_US) / LINK_PACE_QUEUE_US;
	else if (pace->used)
		pace->window_m += came * WINDOW_UNIT / GROWS_BY * (LINK_PACE_QUEUE_US - queue_us) /
				  LINK_PACE_QUEUE_US;
	pace->used = false;
	if (pace->window_m < LINK_PACE_LEAST * WINDOW_UNIT)
		pace->window_m = LINK_PACE_LEAST * WINDOW_UNIT;
	if (pace->window_m > LINK_PACE_MOST * WINDOW_UNIT)
		pace->window_m = LINK_PACE_MOST * WINDOW_UNIT;
}

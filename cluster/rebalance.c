/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/rebalance.h"

static bool is_fresh(const struct worker_load *worker, int64_t now_us)
{
	return now_us - worker->reported_us < PLACEMENT_REPORT_OLD_MS * INT64_C(1000);
}

static uint32_t each_of(const struct worker_load *worker)
{
	uint32_t each = worker->sessions ? placement_load(worker) / worker->sessions : 0;

	return each ? each : 1;
}

static bool takes(const struct worker_load *worker, int64_t now_us)
{
	return is_fresh(worker, now_us) && !worker->draining && !worker->full;
}

/* The least busy of those that take some; -1 = none. */
static int find_taker(const struct worker_load *workers, int count, int64_t now_us)
{
	int best = -1;

	for (int i = 0; i < count; i++)
		if (takes(&workers[i], now_us) &&
			(best < 0 || placement_load(&workers[i]) < placement_load(&workers[best])))
			best = i;
	return best;
}

/* The busiest of those that have viewers who could go. */
static int find_giver(const struct worker_load *workers, int count, int64_t now_us)
{
	int best = -1;

	for (int i = 0; i < count; i++) {
		const struct worker_load *worker = &workers[i];

		if (!is_fresh(worker, now_us) || !worker->viewers || worker->draining)
			continue;
		if (best < 0 || placement_load(worker) > placement_load(&workers[best]))
			best = i;
	}
	return best;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* One in `share` of those that could go, at least one, as far as the taker has room for them. */
static uint32_t some_of(uint32_t movable, uint32_t share, const struct worker_load *from,
	const struct worker_load *to)
{
	uint32_t load = placement_load(to);
	uint32_t room =
		load < REBALANCE_TAKER_MAX ? (REBALANCE_TAKER_MAX - load) / each_of(from) : 0;

	return least(movable > share ? movable / share : 1, room);
}

struct rebalance rebalance_drain(
	const struct worker_load *workers, int count, int64_t now_us, int from)
{
	struct rebalance choice = {.from = from, .to = find_taker(workers, count, now_us)};
	const struct worker_load *giver = &workers[from];
	uint64_t movable = (uint64_t)giver->viewers + giver->publishers;

	if (!giver->draining || !is_fresh(giver, now_us) || !movable || choice.to < 0)
		return choice;
	choice.count = some_of(movable < UINT32_MAX ? (uint32_t)movable : UINT32_MAX,
		REBALANCE_DRAIN, giver, &workers[choice.to]);
	return choice;
}

struct rebalance rebalance_choose(
	const struct worker_load *workers, int count, int64_t now_us, uint32_t *ticks)
{
	struct rebalance choice = {.from = find_giver(workers, count, now_us),
		.to = find_taker(workers, count, now_us)};
	const struct worker_load *from, *to;
	uint32_t loads[2];

	if (choice.from < 0 || choice.to < 0 || choice.from == choice.to) {
		*ticks = 0;
		return choice;
	}
	from = &workers[choice.from];
	to = &workers[choice.to];
	loads[0] = placement_load(from);
	loads[1] = placement_load(to);
	*ticks = loads[0] > loads[1] + REBALANCE_APART ? *ticks + 1 : 0;
	if (*ticks >= REBALANCE_TICKS)
		choice.count = least(some_of(from->viewers, REBALANCE_SHARE, from, to),
			(loads[0] - loads[1]) / 2 / each_of(from));
	return choice;
}

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

/* One that drains and has something; else the busiest. */
static int find_giver(const struct worker_load *workers, int count, int64_t now_us)
{
	int best = -1;

	for (int i = 0; i < count; i++) {
		const struct worker_load *worker = &workers[i];

		if (!is_fresh(worker, now_us) || !worker->sessions)
			continue;
		if (worker->draining)
			return i;
		if (best < 0 || placement_load(worker) > placement_load(&workers[best]))
			best = i;
	}
	return best;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t how_many(const struct worker_load *from, const struct worker_load *to)
{
	uint32_t loads[] = {placement_load(from), placement_load(to)}, each = each_of(from);
	uint32_t room =
		loads[1] < REBALANCE_TAKER_MAX ? (REBALANCE_TAKER_MAX - loads[1]) / each : 0;
	uint32_t share = from->sessions / (from->draining ? REBALANCE_DRAIN : REBALANCE_SHARE);

	if (!share)
		share = 1;
	if (from->draining)
		return least(share, room);
	return least(least(share, room), (loads[0] - loads[1]) / 2 / each);
}

struct rebalance rebalance_choose(
	const struct worker_load *workers, int count, int64_t now_us, uint32_t *ticks)
{
	struct rebalance choice = {.from = find_giver(workers, count, now_us),
		.to = find_taker(workers, count, now_us)};
	const struct worker_load *from, *to;

	if (choice.from < 0 || choice.to < 0 || choice.from == choice.to) {
		*ticks = 0;
		return choice;
	}
	from = &workers[choice.from];
	to = &workers[choice.to];
	if (!from->draining) {
		bool apart = placement_load(from) > placement_load(to) + REBALANCE_APART;

		*ticks = apart ? *ticks + 1 : 0;
		if (*ticks < REBALANCE_TICKS)
			return choice;
	}
	choice.count = how_many(from, to);
	return choice;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/placement.h"

#include "runtime/process.h"

static uint32_t measured(const struct worker_load *worker)
{
	uint32_t by_packets = worker->packets_per_s / PROCESS_PACKETS_PER_PERMILLE;

	return worker->cpu_permille > by_packets ? worker->cpu_permille : by_packets;
}

uint32_t placement_load(const struct worker_load *worker)
{
	uint32_t load = measured(worker);
	uint32_t each = worker->sessions ? load / worker->sessions : 0;
	uint64_t expected;

	if (each < PLACEMENT_SESSION_MIN)
		each = PLACEMENT_SESSION_MIN;
	expected = load + (uint64_t)each * worker->placed;
	return expected < UINT32_MAX ? (uint32_t)expected : UINT32_MAX;
}

void placement_report(
	struct worker_load *worker, const struct msg_load_report *report, int64_t now_us)
{
	worker->cpu_permille = report->cpu_permille;
	worker->packets_per_s = report->packets_per_s;
	worker->sessions = report->sessions;
	worker->streams = report->streams;
	worker->draining = report->draining;
	worker->egress_kbps = report->egress_kbps;
	worker->viewers = report->viewers;
	worker->publishers = report->publishers;
	worker->placed = 0;
	worker->reported_us = now_us;
	if (measured(worker) >= PLACEMENT_FULL)
		worker->full = true;
	else if (measured(worker) < PLACEMENT_FREE)
		worker->full = false;
}

static bool may_take(const struct worker_load *worker, int64_t now_us)
{
	return !worker->draining && !worker->full && placement_load(worker) < PLACEMENT_FULL &&
	       now_us - worker->reported_us < PLACEMENT_REPORT_OLD_MS * 1000;
}

static uint64_t sessions_of(const struct worker_load *worker)
{
	return (uint64_t)worker->sessions + worker->placed;
}

/* Fewer sessions, then the lower load, then the earlier index. */
static bool is_better(const struct worker_load *a, const struct worker_load *b)
{
	if (sessions_of(a) != sessions_of(b))
		return sessions_of(a) < sessions_of(b);
	if (placement_load(a) != placement_load(b))
		return placement_load(a) < placement_load(b);
	return a->index < b->index;
}

int placement_choose(const struct worker_load *workers, int count, int64_t now_us)
{
	uint32_t least = UINT32_MAX;
	int best = -1;

	for (int i = 0; i < count; i++)
		if (may_take(&workers[i], now_us) && placement_load(&workers[i]) < least)
			least = placement_load(&workers[i]);
	for (int i = 0; i < count; i++) {
		if (!may_take(&workers[i], now_us) ||
			placement_load(&workers[i]) > least + PLACEMENT_NOISE)
			continue;
		if (best < 0 || is_better(&workers[i], &workers[best]))
			best = i;
	}
	return best;
}

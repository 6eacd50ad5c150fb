/* SPDX-License-Identifier: Apache-2.0
 *
 * Which worker takes the next session: a pure choice over what the workers have reported.
 *
 * The load of a worker is what it measured (processor, or packets where those weigh more), and for
 * every session sent to it since that report what one of its sessions costs. Differences below
 * PLACEMENT_NOISE are noise: among those workers the fewest sessions decide. A worker beyond
 * PLACEMENT_FULL gets nothing until it has come below PLACEMENT_FREE.
 */
#ifndef MILLRACE_PLACEMENT_H
#define MILLRACE_PLACEMENT_H

#include "schemas/schema.h"

enum {
	PLACEMENT_FULL = 900, /* permille of a core */
	PLACEMENT_FREE = 850,
	PLACEMENT_NOISE = 20,
	PLACEMENT_SESSION_MIN = 4,	/* least a session is taken to cost, permille of a core */
	PLACEMENT_REPORT_OLD_MS = 5000, /* who has not reported for so long gets nothing */
	PLACEMENT_RETRY_MS = 1000,
};

/* Permille of a core that this worker is taken to be loaded with. */
uint32_t placement_load(const struct worker_load *worker);

/* Takes a report into the row: what it measured, and whether it is full. */
void placement_report(
	struct worker_load *worker, const struct msg_load_report *report, int64_t now_us);

/* The place in `workers` of the one to take; -1 when none may be given more. */
int placement_choose(const struct worker_load *workers, int count, int64_t now_us);

#endif

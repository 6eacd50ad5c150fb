/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a worker should take new connections now. Workers share their listening sockets, and the
 * kernel wakes whoever it likes, so a worker with clearly more load than the least loaded one rests
 * its listeners for a while, and one that has all the connections it may have leaves newcomers to
 * those that have room. The least loaded one never rests; when all are full none does, so that
 * newcomers are told (503, Retry-After) instead of waiting in the kernel.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_BALANCE_H
#define MILLRACE_BALANCE_H

#include "runtime/process_metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct runtime;

enum {
	BALANCE_LOOK_MS =
		200, /* how often an office should ask: a load is measured over a second */
	/* A rest begins when the load is above the least one by this, and by a quarter of it;
	 * it ends at half of that. Thousandths of a core. */
	BALANCE_REST_PERMILLE = 100,
};

/* One media worker, as it reports itself; untrusted numbers. Packets speak up where the processor's
 * share says little (many workers on few cores). */
struct balance_load {
	uint32_t cpu_permille; /* of one core */
	uint32_t packets_per_s;
	bool ready; /* serves and takes new sessions */
	bool full;  /* has as many connections as it may have */
};

/* Whether workers[own] should accept. `accepting`: what it does now (hysteresis). False when it is
 * not ready while another is; true when `own` is the only one, or out of range. */
bool balance_accepts(const struct balance_load *workers, size_t count, size_t own, bool accepting);

/* The same for the worker that this runtime is, from the node's status page. `metric` counts the
 * connections in question, `max` is how many a worker may have. Always true where there is no page. */
bool balance_should_accept(
	const struct runtime *rt, bool accepting, enum process_metric metric, uint32_t max);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A binary heap of deadlines. Entries are never removed before they are due: whoever moves a
 * deadline later just remembers it and puts the entry back when it comes up, so that pushing a
 * deadline ahead packet by packet costs no heap operation.
 */
#ifndef MILLRACE_TIMERS_H
#define MILLRACE_TIMERS_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer_entry {
	int64_t at_us;
	uint64_t key;
	uint32_t sub;
	uint32_t order; /* first in, first out among equals: the simulator must be repeatable */
};

struct timers {
	struct timer_entry *heap;
	size_t count;
	size_t capacity;
	uint32_t next_order;
};

void timers_fini(struct timers *timers);
enum err timers_push(struct timers *timers, int64_t at_us, uint64_t key, uint32_t sub);
/* INT64_MAX when empty. */
int64_t timers_next_us(const struct timers *timers);
/* Takes the first entry if it is due. */
bool timers_pop(struct timers *timers, int64_t now_us, struct timer_entry *entry);

#endif

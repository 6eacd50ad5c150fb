/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/timers.h"

#include <stdlib.h>

enum { TIMERS_CAPACITY_FIRST = 256 };

static bool before(const struct timer_entry *a, const struct timer_entry *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : (int32_t)(a->order - b->order) < 0;
}

void timers_fini(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){0};
}

enum err timers_push(struct timers *timers, int64_t at_us, uint64_t key, uint32_t sub)
{
	if (timers->count == timers->capacity) {
		size_t capacity = timers->capacity ? timers->capacity * 2 : TIMERS_CAPACITY_FIRST;
		struct timer_entry *heap = realloc(timers->heap, capacity * sizeof(*heap));

		if (!heap)
			return ERR_NO_MEMORY;
		timers->heap = heap;
		timers->capacity = capacity;
	}
	struct timer_entry entry = {
		.at_us = at_us, .key = key, .sub = sub, .order = timers->next_order++};
	size_t at = timers->count++;

	for (; at > 0 && before(&entry, &timers->heap[(at - 1) / 2]); at = (at - 1) / 2)
		timers->heap[at] = timers->heap[(at - 1) / 2];
	timers->heap[at] = entry;
	return ERR_OK;
}

int64_t timers_next_us(const struct timers *timers)
{
	return timers->count ? timers->heap[0].at_us : INT64_MAX;
}

bool timers_pop(struct timers *timers, int64_t now_us, struct timer_entry *entry)
{
	if (!timers->count || timers->heap[0].at_us > now_us)
		return false;
	*entry = timers->heap[0];

	struct timer_entry last = timers->heap[--timers->count];
	size_t at = 0;

	for (size_t child = 1; child < timers->count; child = at * 2 + 1) {
		if (child + 1 < timers->count &&
			before(&timers->heap[child + 1], &timers->heap[child]))
			child++;
		if (!before(&timers->heap[child], &last))
			break;
		timers->heap[at] = timers->heap[child];
		at = child;
	}
	timers->heap[at] = last;
	return true;
}

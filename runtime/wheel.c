/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/wheel.h"

#include <stddef.h>

static unsigned slot_of(int64_t tick)
{
	return (unsigned)((uint64_t)tick % WHEEL_SLOTS);
}

void wheel_init(struct wheel *wheel)
{
	*wheel = (struct wheel){0};
	for (int i = 0; i < WHEEL_SLOTS; i++)
		wheel->slots[i].next = wheel->slots[i].previous = &wheel->slots[i];
}

void wheel_remove(struct wheel *wheel, struct wheel_entry *entry)
{
	struct wheel_entry *head = &wheel->slots[entry->slot];

	if (!entry->next)
		return;
	entry->next->previous = entry->previous;
	entry->previous->next = entry->next;
	entry->next = entry->previous = NULL;
	if (head->next == head)
		wheel->occupied &= ~(UINT64_C(1) << entry->slot);
}

void wheel_put(struct wheel *wheel, struct wheel_entry *entry, int64_t at_us)
{
	int64_t tick = at_us / WHEEL_TICK_US + (at_us % WHEEL_TICK_US > 0);
	struct wheel_entry *head;

	if (tick <= wheel->turned)
		tick = wheel->turned + 1;
	if (tick - wheel->turned >= WHEEL_SLOTS)
		tick = wheel->turned + WHEEL_SLOTS - 1;
	wheel_remove(wheel, entry);
	entry->slot = (uint8_t)slot_of(tick);
	head = &wheel->slots[entry->slot];
	entry->next = head;
	entry->previous = head->previous;
	head->previous->next = entry;
	head->previous = entry;
	wheel->occupied |= UINT64_C(1) << entry->slot;
}

struct wheel_entry *wheel_pop(struct wheel *wheel, int64_t now_us)
{
	int64_t now = now_us / WHEEL_TICK_US;

	for (; wheel->turned < now && wheel->occupied; wheel->turned++) {
		struct wheel_entry *head = &wheel->slots[slot_of(wheel->turned + 1)];

		if (head->next != head) {
			struct wheel_entry *entry = head->next;

			wheel_remove(wheel, entry);
			return entry;
		}
	}
	if (wheel->turned < now)
		wheel->turned = now;
	return NULL;
}

int64_t wheel_next_us(const struct wheel *wheel)
{
	unsigned first = slot_of(wheel->turned + 1);
	uint64_t ahead = wheel->occupied >> first;

	if (!wheel->occupied)
		return INT64_MAX;
	if (first)
		ahead |= wheel->occupied << (WHEEL_SLOTS - first);
	return (wheel->turned + 1 + __builtin_ctzll(ahead)) * WHEEL_TICK_US;
}

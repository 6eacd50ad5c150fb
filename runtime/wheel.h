/* SPDX-License-Identifier: Apache-2.0
 *
 * A timer wheel of one turn: whom to look at again within the next few milliseconds. Putting,
 * moving and taking cost the same however many there are; the price is that times are rounded up to
 * the tick and that what lies further ahead than the wheel reaches comes early. Deadlines that must
 * be exact or far away are in timers.h.
 *
 * Entries live in their owners; no allocation. Equal ticks come in the order they were put.
 */
#ifndef MILLRACE_WHEEL_H
#define MILLRACE_WHEEL_H

#include <stdint.h>

enum {
	WHEEL_TICK_US = 1000,
	WHEEL_SLOTS = 64, /* ticks of one turn: bits of `occupied` */
};

struct wheel_entry {
	struct wheel_entry *next, *previous; /* NULL = in no wheel */
	uint8_t slot;
};

struct wheel {
	int64_t turned;	   /* every tick up to this one has come */
	uint64_t occupied; /* by slot */
	struct wheel_entry slots[WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel);
/* Puts the entry, or moves it. */
void wheel_put(struct wheel *wheel, struct wheel_entry *entry, int64_t at_us);
/* No effect when it is in no wheel. */
void wheel_remove(struct wheel *wheel, struct wheel_entry *entry);
/* The next entry whose tick has come, removed; NULL when there is none. */
struct wheel_entry *wheel_pop(struct wheel *wheel, int64_t now_us);
/* When wheel_pop will have something; INT64_MAX when empty. */
int64_t wheel_next_us(const struct wheel *wheel);

#endif

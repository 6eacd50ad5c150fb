/* SPDX-License-Identifier: Apache-2.0
 *
 * Order by key over a table of plain structs that begin with their key (a NUL-terminated array of
 * characters). The structs stay where they are, in no order; the index holds their places, sorted
 * by the bytes of the key. Finding costs log n comparisons, inserting moves two bytes a row.
 *
 * The index borrows the table and must be rebuilt when the table came from elsewhere.
 * Thread: any one. No allocation.
 */
#ifndef MILLRACE_KEY_INDEX_H
#define MILLRACE_KEY_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct key_index {
	const char *rows;
	size_t stride;
	uint32_t count;
	uint32_t capacity;
	uint16_t *order; /* capacity places in `rows` */
};

/* The first position whose key is not below `key`; count when there is none. */
uint32_t key_index_seek(const struct key_index *index, const char *key);

/* The row with this very key; -1 when there is none. */
long key_index_find(const struct key_index *index, const char *key);

/* The row at a position of the order. MUST be below count. */
uint16_t key_index_at(const struct key_index *index, uint32_t position);

/* Adds the row at `place`, whose key is in the table already and unique. False when it is a
 * duplicate or the index is full. */
bool key_index_add(struct key_index *index, uint16_t place);

/* Takes out the row with this key (the table still holds it). */
void key_index_remove(struct key_index *index, const char *key);

/* The row with this key lies at another place now. */
void key_index_move(struct key_index *index, const char *key, uint16_t place);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The pairs of a store, found by key and read in order, and the answers to store_get and store_range
 * from them: all of the built-in store, the copy that the one behind etcd keeps. The pairs lie in the
 * store's state, in no order; the index beside it.
 *
 * Thread: that of the store's process.
 */
#ifndef MILLRACE_STORE_TABLE_H
#define MILLRACE_STORE_TABLE_H

#include "cluster/key_index.h"
#include "runtime/actor.h"

struct store_table {
	struct store_pair *pairs; /* STORE_PAIRS_MAX, of the state */
	uint16_t *count;
	struct key_index keys;
};

/* Over what the state has already. ERR_NO_MEMORY; ERR_FORMAT: a pair without key, or one twice. */
enum err store_table_create(struct store_table *table, struct store_pair *pairs, uint16_t *count);
void store_table_destroy(struct store_table *table);

struct store_pair *store_table_find(const struct store_table *table, const char *key);
/* A new pair, zero but for its key, which is not there yet; NULL: there are STORE_PAIRS_MAX. */
struct store_pair *store_table_add(struct store_table *table, const char *key);
/* The last pair takes its place. */
void store_table_remove(struct store_table *table, struct store_pair *pair);

/* Answer the mail at hand; `revision` is the store's. ERR_NOT_FOUND, ERR_NO_MEMORY. */
enum err store_table_answer_get(struct actor *self, const struct store_table *table,
	const struct msg_store_get *m, uint64_t revision);
enum err store_table_answer_range(struct actor *self, const struct store_table *table,
	const struct msg_store_range *m, uint64_t revision);

#endif

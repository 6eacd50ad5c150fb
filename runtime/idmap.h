/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash map from non-zero 64-bit ids to pointers: open addressing, linear probing, deletion by
 * shifting back. Borrows the pointers. Allocates only when it grows.
 */
#ifndef MILLRACE_IDMAP_H
#define MILLRACE_IDMAP_H

#include "schemas/err.h"

#include <stddef.h>
#include <stdint.h>

struct idmap_entry {
	uint64_t id; /* 0 = empty */
	void *value;
};

struct idmap {
	struct idmap_entry *entries;
	size_t capacity; /* power of two, or 0 */
	size_t count;
};

void idmap_fini(struct idmap *map);
void *idmap_get(const struct idmap *map, uint64_t id);
/* Replaces what was there. ERR_NO_MEMORY leaves the map as it was. */
enum err idmap_put(struct idmap *map, uint64_t id, void *value);
/* Returns what was there, or NULL. */
void *idmap_remove(struct idmap *map, uint64_t id);

#endif

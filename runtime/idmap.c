/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/idmap.h"

#include <stdlib.h>

enum { IDMAP_CAPACITY_FIRST = 64 };

static size_t home(const struct idmap *map, uint64_t id)
{
	return (size_t)((id * 0x9e3779b97f4a7c15ull) >> 20) & (map->capacity - 1);
}

static size_t find(const struct idmap *map, uint64_t id)
{
	size_t at = home(map, id);

	while (map->entries[at].id && map->entries[at].id != id)
		at = (at + 1) & (map->capacity - 1);
	return at;
}

void idmap_fini(struct idmap *map)
{
	free(map->entries);
	*map = (struct idmap){0};
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
	return map->capacity && id ? map->entries[find(map, id)].value : NULL;
}

static enum err grow(struct idmap *map)
{
	struct idmap bigger = {
		.capacity = map->capacity ? map->capacity * 2 : IDMAP_CAPACITY_FIRST,
		.count = map->count,
	};

	bigger.entries = calloc(bigger.capacity, sizeof(*bigger.entries));
	if (!bigger.entries)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < map->capacity; i++)
		if (map->entries[i].id)
			bigger.entries[find(&bigger, map->entries[i].id)] = map->entries[i];
	free(map->entries);
	*map = bigger;
	return ERR_OK;
}

enum err idmap_put(struct idmap *map, uint64_t id, void *value)
{
	MUST(id != 0 && value);
	if ((map->count + 1) * 4 > map->capacity * 3) {
		enum err err = grow(map);

		if (err)
			return err;
	}
	struct idmap_entry *entry = &map->entries[find(map, id)];

	map->count += !entry->id;
	*entry = (struct idmap_entry){.id = id, .value = value};
	return ERR_OK;
}

void *idmap_remove(struct idmap *map, uint64_t id)
{
	if (!map->capacity || !id)
		return NULL;
	size_t hole = find(map, id);
	void *value = map->entries[hole].value;

	if (!map->entries[hole].id)
		return NULL;
	map->count--;
	map->entries[hole] = (struct idmap_entry){0};
	for (size_t at = (hole + 1) & (map->capacity - 1); map->entries[at].id;
		at = (at + 1) & (map->capacity - 1)) {
		size_t wanted = home(map, map->entries[at].id);

		/* may the entry at `at` move into the hole? only if its home is not in (hole, at] */
		if (((at - wanted) & (map->capacity - 1)) >= ((at - hole) & (map->capacity - 1))) {
			map->entries[hole] = map->entries[at];
			map->entries[at] = (struct idmap_entry){0};
			hole = at;
		}
	}
	return value;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/key_index.h"

#include "schemas/err.h"

#include <string.h>

static const char *key_of(const struct key_index *index, uint32_t position)
{
	return index->rows + index->order[position] * index->stride;
}

uint32_t key_index_seek(const struct key_index *index, const char *key)
{
	uint32_t low = 0;
	uint32_t high = index->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(key_of(index, middle), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct key_index *index, uint32_t position, const char *key)
{
	return position < index->count && !strcmp(key_of(index, position), key);
}

long key_index_find(const struct key_index *index, const char *key)
{
	uint32_t position = key_index_seek(index, key);

	return is_at(index, position, key) ? index->order[position] : -1;
}

uint16_t key_index_at(const struct key_index *index, uint32_t position)
{
	MUST(position < index->count);
	return index->order[position];
}

bool key_index_add(struct key_index *index, uint16_t place)
{
	const char *key = index->rows + place * index->stride;
	uint32_t position = key_index_seek(index, key);

	if (index->count == index->capacity || is_at(index, position, key))
		return false;
	memmove(&index->order[position + 1], &index->order[position],
		(index->count - position) * sizeof(index->order[0]));
	index->order[position] = place;
	index->count++;
	return true;
}

void key_index_remove(struct key_index *index, const char *key)
{
	uint32_t position = key_index_seek(index, key);

	if (!is_at(index, position, key))
		return;
	index->count--;
	memmove(&index->order[position], &index->order[position + 1],
		(index->count - position) * sizeof(index->order[0]));
}

void key_index_move(struct key_index *index, const char *key, uint16_t place)
{
	uint32_t position = key_index_seek(index, key);

	if (is_at(index, position, key))
		index->order[position] = place;
}

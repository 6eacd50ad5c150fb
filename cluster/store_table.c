/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store_table.h"

#include <stdlib.h>

enum err store_table_create(struct store_table *table, struct store_pair *pairs, uint16_t *count)
{
	*table = (struct store_table){
		.pairs = pairs,
		.count = count,
		.keys = {.rows = (const char *)pairs,
			 .stride = sizeof(*pairs),
			 .capacity = STORE_PAIRS_MAX,
			 .order = calloc(STORE_PAIRS_MAX, sizeof(*table->keys.order))},
	};
	if (!table->keys.order)
		return ERR_NO_MEMORY;
	for (uint16_t i = 0; i < *count; i++)
		if (!pairs[i].key[0] || !key_index_add(&table->keys, i))
			return ERR_FORMAT;
	return ERR_OK;
}

void store_table_destroy(struct store_table *table)
{
	free(table->keys.order);
	table->keys.order = NULL;
}

struct store_pair *store_table_find(const struct store_table *table, const char *key)
{
	long place = key_index_find(&table->keys, key);

	return place < 0 ? NULL : &table->pairs[place];
}

struct store_pair *store_table_add(struct store_table *table, const char *key)
{
	struct store_pair *pair = &table->pairs[*table->count];

	if (*table->count == STORE_PAIRS_MAX)
		return NULL;
	memset(pair, 0, sizeof(*pair));
	text_copy(pair->key, sizeof(pair->key), key);
	MUST(key_index_add(&table->keys, *table->count));
	++*table->count;
	return pair;
}

void store_table_remove(struct store_table *table, struct store_pair *pair)
{
	struct store_pair *last = &table->pairs[*table->count - 1];

	key_index_remove(&table->keys, pair->key);
	if (pair != last) {
		key_index_move(&table->keys, last->key, (uint16_t)(pair - table->pairs));
		*pair = *last;
	}
	--*table->count;
}

enum err store_table_answer_get(struct actor *self, const struct store_table *table,
	const struct msg_store_get *m, uint64_t revision)
{
	const struct store_pair *pair = store_table_find(table, m->key);
	struct msg_store_pairs *answer;

	if (!pair)
		return ERR_NOT_FOUND;
	answer = calloc(1, sizeof(*answer));
	if (!answer)
		return ERR_NO_MEMORY;
	answer->revision = revision;
	answer->pairs[answer->pairs_count++] = *pair;
	actor_answer_mail(self, actor_asker(self), MSG_store_pairs, &schema_store_pairs, answer);
	free(answer);
	return ERR_OK;
}

enum err store_table_answer_range(struct actor *self, const struct store_table *table,
	const struct msg_store_range *m, uint64_t revision)
{
	uint32_t limit = m->limit && m->limit < STORE_PAGE_MAX ? m->limit : STORE_PAGE_MAX;
	uint32_t at = key_index_seek(
		&table->keys, strcmp(m->after, m->prefix) > 0 ? m->after : m->prefix);
	struct msg_store_pairs *answer = calloc(1, sizeof(*answer));

	if (!answer)
		return ERR_NO_MEMORY;
	answer->revision = revision;
	for (; at < table->keys.count; at++) {
		const struct store_pair *pair = &table->pairs[key_index_at(&table->keys, at)];

		if (m->after[0] && !strcmp(pair->key, m->after))
			continue;
		if (strncmp(pair->key, m->prefix, strlen(m->prefix)))
			break;
		if (answer->pairs_count == limit) {
			answer->more = true;
			break;
		}
		answer->pairs[answer->pairs_count++] = *pair;
	}
	actor_answer_mail(self, actor_asker(self), MSG_store_pairs, &schema_store_pairs, answer);
	free(answer);
	return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Chained hashes over pools of keys and rows that are made once.
 */
#include "actors/webrtc/rtc_table.h"

#include <stdlib.h>

static uint32_t bucket_of(
	const struct rtc_table *t, enum rtc_key_kind kind, const void *bytes, size_t size)
{
	const uint8_t *p = bytes;
	uint64_t hash = t->seed ^ kind * UINT64_C(0x9E3779B97F4A7C15);

	for (size_t i = 0; i < size; i++) {
		hash = (hash ^ p[i]) * UINT64_C(0xFF51AFD7ED558CCD);
		hash ^= hash >> 29;
	}
	return (uint32_t)(hash >> 16) & t->bucket_mask;
}

enum err rtc_table_init(struct rtc_table *t, uint32_t sessions_max, uint64_t seed)
{
	uint32_t key_count = sessions_max * RTC_TABLE_KEYS;
	uint32_t bucket_count = 64;

	while (bucket_count < key_count)
		bucket_count *= 2;
	*t = (struct rtc_table){
		.seed = seed, .sessions_max = sessions_max, .bucket_mask = bucket_count - 1};
	t->buckets = calloc(bucket_count, sizeof(*t->buckets));
	t->row_buckets = calloc(bucket_count, sizeof(*t->row_buckets));
	t->keys = calloc((size_t)key_count + 1, sizeof(*t->keys));
	t->rows = calloc((size_t)sessions_max + 1, sizeof(*t->rows));
	if (!t->buckets || !t->row_buckets || !t->keys || !t->rows) {
		rtc_table_fini(t);
		return ERR_NO_MEMORY;
	}
	for (uint32_t i = key_count; i; i--) {
		t->keys[i].next = t->free_key;
		t->free_key = i;
	}
	for (uint32_t i = sessions_max; i; i--) {
		t->rows[i].keys = t->free_row;
		t->free_row = i;
	}
	return ERR_OK;
}

void rtc_table_fini(struct rtc_table *t)
{
	free(t->buckets);
	free(t->row_buckets);
	free(t->keys);
	free(t->rows);
	*t = (struct rtc_table){0};
}

static uint32_t *row_bucket(const struct rtc_table *t, uint64_t session)
{
	return &t->row_buckets[bucket_of(t, 0, &session, sizeof(session))];
}

uint32_t rtc_table_add(struct rtc_table *t, uint64_t session)
{
	uint32_t row = t->free_row;

	if (row) {
		uint32_t *bucket = row_bucket(t, session);

		t->free_row = t->rows[row].keys;
		t->rows[row] = (struct rtc_row){.session = session, .next = *bucket};
		*bucket = row;
		t->session_count++;
	}
	return row;
}

/* Unlinks a key from its bucket and its row, and makes it free. */
static void drop_key(struct rtc_table *t, uint32_t place)
{
	struct rtc_key *key = &t->keys[place];
	struct rtc_row *row = &t->rows[key->row];
	uint32_t *at = &t->buckets[bucket_of(t, key->kind, key->bytes, key->size)];

	while (*at != place)
		at = &t->keys[*at].next;
	*at = key->next;
	at = &row->keys;
	while (*at != place)
		at = &t->keys[*at].next_of_row;
	*at = key->next_of_row;
	row->key_count--;
	*key = (struct rtc_key){.next = t->free_key};
	t->free_key = place;
}

void rtc_table_remove(struct rtc_table *t, uint32_t row)
{
	if (!row || row > t->sessions_max || !t->rows[row].session)
		return;
	while (t->rows[row].keys)
		drop_key(t, t->rows[row].keys);
	uint32_t *at = row_bucket(t, t->rows[row].session);

	while (*at != row)
		at = &t->rows[*at].next;
	*at = t->rows[row].next;
	t->rows[row] = (struct rtc_row){.keys = t->free_row};
	t->free_row = row;
	t->session_count--;
}

uint32_t rtc_table_row_of(const struct rtc_table *t, uint64_t session)
{
	uint32_t row = session ? *row_bucket(t, session) : RTC_TABLE_NONE;

	while (row && t->rows[row].session != session)
		row = t->rows[row].next;
	return row;
}

static uint32_t find(
	const struct rtc_table *t, enum rtc_key_kind kind, const void *bytes, size_t size)
{
	uint32_t place;

	if (!size || size > RTC_TABLE_KEY_SIZE)
		return 0;
	place = t->buckets[bucket_of(t, kind, bytes, size)];
	for (; place; place = t->keys[place].next) {
		const struct rtc_key *key = &t->keys[place];

		if (key->kind == kind && key->size == size && !memcmp(key->bytes, bytes, size))
			return place;
	}
	return 0;
}

/* Makes room for one more key of this kind, at the cost of the oldest of it, or of any. */
static void make_room(struct rtc_table *t, uint32_t row, enum rtc_key_kind kind)
{
	uint32_t oldest = 0, oldest_of_kind = 0, of_kind = 0;

	for (uint32_t at = t->rows[row].keys; at; at = t->keys[at].next_of_row) {
		oldest = at;
		if (t->keys[at].kind == kind) {
			oldest_of_kind = at;
			of_kind++;
		}
	}
	if (kind == RTC_KEY_ADDRESS && of_kind == RTC_TABLE_ADDRESSES)
		drop_key(t, oldest_of_kind);
	else if (t->rows[row].key_count == RTC_TABLE_KEYS)
		drop_key(t, oldest_of_kind ? oldest_of_kind : oldest);
}

void rtc_table_put(
	struct rtc_table *t, uint32_t row, enum rtc_key_kind kind, const void *bytes, size_t size)
{
	uint32_t place = find(t, kind, bytes, size);
	uint32_t *bucket;

	if (!size || size > RTC_TABLE_KEY_SIZE || !row || row > t->sessions_max ||
		!t->rows[row].session)
		return;
	if (place && t->keys[place].row == row)
		return;
	if (place)
		drop_key(t, place);
	make_room(t, row, kind);
	/* every row may have its share, so there is a free one */
	place = t->free_key;
	t->free_key = t->keys[place].next;
	bucket = &t->buckets[bucket_of(t, kind, bytes, size)];
	t->keys[place] = (struct rtc_key){.kind = (uint8_t)kind,
		.size = (uint8_t)size,
		.row = row,
		.next = *bucket,
		.next_of_row = t->rows[row].keys};
	memcpy(t->keys[place].bytes, bytes, size);
	*bucket = place;
	t->rows[row].keys = place;
	t->rows[row].key_count++;
}

void rtc_table_forget(struct rtc_table *t, enum rtc_key_kind kind, const void *bytes, size_t size)
{
	uint32_t place = find(t, kind, bytes, size);

	if (place)
		drop_key(t, place);
}

uint64_t rtc_table_find(
	const struct rtc_table *t, enum rtc_key_kind kind, const void *bytes, size_t size)
{
	uint32_t place = find(t, kind, bytes, size);

	return place ? t->rows[t->keys[place].row].session : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/key_index.h"
#include "schemas/random.h"
#include "tests/test.h"

enum { ROWS_MAX = 64, STEPS = 20000 };

struct row {
	char key[8];
	int value;
};

static struct row rows[ROWS_MAX];
static uint16_t order[ROWS_MAX];

static struct key_index new_index(void)
{
	return (struct key_index){.rows = (const char *)rows,
		.stride = sizeof(rows[0]),
		.capacity = ROWS_MAX,
		.order = order};
}

TEST(rows_are_found_in_the_order_of_their_bytes)
{
	static const char *const keys[] = {"m", "a", "z", "aa", "", "\xff", "Z"};
	static const char *const sorted[] = {"", "Z", "a", "aa", "m", "z", "\xff"};
	struct key_index index = new_index();

	for (uint16_t i = 0; i < 7; i++) {
		strcpy(rows[i].key, keys[i]);
		CHECK(key_index_add(&index, i));
		CHECK(!key_index_add(&index, i));
	}
	for (uint32_t i = 0; i < 7; i++) {
		CHECK_STR(rows[key_index_at(&index, i)].key, sorted[i]);
		CHECK_EQ(key_index_seek(&index, sorted[i]), i);
	}
	CHECK_EQ(key_index_find(&index, "aaa"), -1);
	CHECK_EQ(key_index_seek(&index, "aaa"), 4);
	CHECK_EQ(key_index_find(&index, "z"), 2);
}

TEST(a_full_index_takes_no_more)
{
	struct key_index index = new_index();

	index.capacity = 2;
	for (uint16_t i = 0; i < 3; i++) {
		snprintf(rows[i].key, sizeof(rows[i].key), "%u", i);
		CHECK_EQ(key_index_add(&index, i), i < 2);
	}
}

/* Against a plain table: rows come, go, and the last takes the place of one that went. */
TEST(it_agrees_with_a_plain_search)
{
	struct key_index index = new_index();
	struct rng rng = rng_of(7);
	uint16_t count = 0;
	char key[8];

	for (int step = 0; step < STEPS; step++) {
		long at = -1;

		snprintf(key, sizeof(key), "k%u", (unsigned)rng_below(&rng, 40));
		for (uint16_t i = 0; i < count; i++)
			if (!strcmp(rows[i].key, key))
				at = i;
		CHECK_EQ(key_index_find(&index, key), at);
		if (at < 0) {
			memcpy(rows[count].key, key, sizeof(key));
			CHECK(key_index_add(&index, count++));
			continue;
		}
		key_index_remove(&index, key);
		if (at != --count) {
			key_index_move(&index, rows[count].key, (uint16_t)at);
			rows[at] = rows[count];
		}
		CHECK_EQ(index.count, count);
	}
	for (uint32_t i = 1; i < index.count; i++)
		CHECK(strcmp(rows[order[i - 1]].key, rows[order[i]].key) < 0);
}

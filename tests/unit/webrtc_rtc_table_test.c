/* SPDX-License-Identifier: Apache-2.0
 *
 * The port's table: keys lead to the session that put them last, rows and keys come back.
 */
#include "actors/webrtc/rtc_table.h"
#include "tests/test.h"

static struct net_addr address(uint16_t port)
{
	return (struct net_addr){
		.family = 4, .port = port, .ip = {192, 0, 2, 1}
	       };
}

static uint64_t at(const struct rtc_table *t, uint16_t port)
{
	struct net_addr a = address(port);

	return rtc_table_find(t, RTC_KEY_ADDRESS, &a, sizeof(a));
}

static void put(struct rtc_table *t, uint32_t row, uint16_t port)
{
	struct net_addr a = address(port);

	rtc_table_put(t, row, RTC_KEY_ADDRESS, &a, sizeof(a));
}

TEST(a_key_belongs_to_whoever_put_it_last)
{
	struct rtc_table t;

	CHECK_OK(rtc_table_init(&t, 4, 7));
	uint32_t a = rtc_table_add(&t, 101), b = rtc_table_add(&t, 102);
	put(&t, a, 1000);
	rtc_table_put(&t, a, RTC_KEY_UFRAG, "abcd", 4);
	CHECK_EQ(at(&t, 1000), 101);
	put(&t, b, 1000);
	CHECK_EQ(at(&t, 1000), 102);
	CHECK_EQ(rtc_table_find(&t, RTC_KEY_UFRAG, "abcd", 4), 101);
	CHECK_EQ(rtc_table_find(&t, RTC_KEY_SSRC, "abcd", 4), 0);
	CHECK_EQ(rtc_table_find(&t, RTC_KEY_UFRAG, "abce", 4), 0);
	rtc_table_remove(&t, b);
	CHECK_EQ(at(&t, 1000), 0);
	CHECK_EQ(rtc_table_row_of(&t, 101), a);
	CHECK_EQ(rtc_table_row_of(&t, 102), RTC_TABLE_NONE);
	rtc_table_fini(&t);
}

TEST(a_session_loses_its_oldest_key_for_a_new_one)
{
	struct rtc_table t;

	CHECK_OK(rtc_table_init(&t, 2, 7));
	uint32_t row = rtc_table_add(&t, 101);
	for (uint16_t port = 1; port <= 3 * RTC_TABLE_ADDRESSES; port++)
		put(&t, row, port);
	for (uint16_t port = 1; port <= 3 * RTC_TABLE_ADDRESSES; port++)
		CHECK_EQ(at(&t, port), port > 2 * RTC_TABLE_ADDRESSES ? 101 : 0);
	rtc_table_fini(&t);
}

static uint64_t by_name(const struct rtc_table *t, enum rtc_key_kind kind, uint32_t n)
{
	return rtc_table_find(t, kind, &n, sizeof(n));
}

/* Row: how often the client moved, restarted ICE, and began a track anew. */
TEST(a_client_that_moves_for_ever_is_found)
{
	static const struct {
		uint32_t moves, restarts, tracks;
	} rows[] = {
		{100,  0,	 0 },
		{8,    8,  0 },
		{100,  50, 4 },
		{1000, 1,  20},
		{0,    30, 30},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rtc_table t;
		uint32_t n, row;

		CHECK_OK(rtc_table_init(&t, 2, 7));
		row = rtc_table_add(&t, 101);
		for (n = 0; n <= rows[i].tracks; n++)
			rtc_table_put(&t, row, RTC_KEY_SSRC, &n, sizeof(n));
		for (n = 0; n <= rows[i].restarts; n++)
			rtc_table_put(&t, row, RTC_KEY_UFRAG, &n, sizeof(n));
		for (n = 0; n < rows[i].moves; n++)
			put(&t, row, (uint16_t)(1 + n));
		CHECK_EQ(by_name(&t, RTC_KEY_UFRAG, rows[i].restarts), 101);
		CHECK_EQ(by_name(&t, RTC_KEY_SSRC, rows[i].tracks), 101);
		CHECK_EQ(rows[i].moves ? at(&t, (uint16_t)rows[i].moves) : 101, 101);
		CHECK_LE(t.rows[row].key_count, RTC_TABLE_KEYS);
		rtc_table_fini(&t);
	}
}

/* As many as there is room for, every third one gone, and others in their rows. */
TEST(a_session_finds_its_row)
{
	enum { SESSIONS = 3000 };
	struct rtc_table t;

	CHECK_OK(rtc_table_init(&t, SESSIONS, 7));
	for (uint64_t id = 1; id <= SESSIONS; id++)
		CHECK(rtc_table_add(&t, id << 20));
	for (uint64_t id = 3; id <= SESSIONS; id += 3)
		rtc_table_remove(&t, rtc_table_row_of(&t, id << 20));
	for (uint64_t id = 1; id <= SESSIONS; id++) {
		uint32_t row = rtc_table_row_of(&t, id << 20);

		CHECK_EQ(row != RTC_TABLE_NONE, id % 3 != 0);
		CHECK(!row || t.rows[row].session == id << 20);
	}
	for (uint64_t id = 3; id <= SESSIONS; id += 3) {
		uint32_t row = rtc_table_add(&t, id);

		CHECK(row && rtc_table_row_of(&t, id) == row);
	}
	CHECK_EQ(t.session_count, SESSIONS);
	CHECK_EQ(rtc_table_add(&t, 5), RTC_TABLE_NONE);
	CHECK_EQ(rtc_table_row_of(&t, 0), RTC_TABLE_NONE);
	rtc_table_fini(&t);
}

TEST(the_table_is_bounded_and_rows_come_back)
{
	struct rtc_table t;
	uint32_t rows[3];
	char longer[RTC_TABLE_KEY_SIZE + 1] = "";

	CHECK_OK(rtc_table_init(&t, 3, 7));
	for (int round = 0; round < 100; round++) {
		for (uint16_t i = 0; i < 3; i++) {
			rows[i] = rtc_table_add(&t, 1u + i);
			CHECK(rows[i]);
			for (uint16_t key = 0; key < RTC_TABLE_KEYS; key++)
				put(&t, rows[i], (uint16_t)(100 * i + key + round));
		}
		CHECK_EQ(rtc_table_add(&t, 9), RTC_TABLE_NONE);
		for (int i = 0; i < 3; i++)
			rtc_table_remove(&t, rows[i]);
		CHECK_EQ(t.session_count, 0);
	}
	rtc_table_remove(&t, rows[0]);
	rtc_table_remove(&t, 77);
	put(&t, rows[0], 5);
	CHECK_EQ(at(&t, 5), 0);
	rows[0] = rtc_table_add(&t, 1);
	rtc_table_put(&t, rows[0], RTC_KEY_UFRAG, longer, sizeof(longer));
	rtc_table_put(&t, rows[0], RTC_KEY_UFRAG, longer, 0);
	CHECK_EQ(t.rows[rows[0]].key_count, 0);
	rtc_table_fini(&t);
	rtc_table_fini(&t);
}

TEST(no_memory_is_an_error)
{
	for (size_t n = 1; n <= 3; n++) {
		struct rtc_table t;

		test_fail_allocation(n);
		CHECK_EQ(rtc_table_init(&t, 4, 7), ERR_NO_MEMORY);
		test_fail_allocation(0);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/hlc.h"
#include "tests/test.h"

TEST(times_follow_the_wall_and_never_go_back)
{
	static const struct {
		int64_t wall_us, expected;
	} rows[] = {
		{1000, 1000},
		{1000, 1001}, /* the same microsecond */
		{1000, 1002},
		{900,  1003}, /* the wall clock was set back */
		{1003, 1004},
		{2000, 2000},
	};
	int64_t clock = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(hlc_now(&clock, rows[i].wall_us), rows[i].expected);
}

TEST(what_was_seen_lies_before)
{
	int64_t clock = 0;

	CHECK(hlc_see(&clock, 1000, 5000));
	CHECK_EQ(hlc_now(&clock, 1000), 5001);
	CHECK(hlc_see(&clock, 1000, 40)); /* older: nothing happens */
	CHECK_EQ(hlc_now(&clock, 1000), 5002);
	CHECK(hlc_see(&clock, 1000, 1000 + HLC_AHEAD_MAX_US));
	CHECK(!hlc_see(&clock, 1000, 1001 + HLC_AHEAD_MAX_US));
	CHECK(!hlc_see(&clock, 1000, INT64_MAX));
	CHECK_EQ(hlc_now(&clock, 1000), 1001 + HLC_AHEAD_MAX_US);
	CHECK(hlc_see(&clock, 1000, INT64_MIN));
}

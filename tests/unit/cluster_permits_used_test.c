/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/permits_used.h"
#include "tests/test.h"

static struct permits_used used;

TEST(a_client_is_its_address)
{
	CHECK_EQ(permits_used_client("192.0.2.7:1"), permits_used_client("192.0.2.7:65535"));
	CHECK_EQ(permits_used_client("[2001:db8::1]:1"), permits_used_client("[2001:db8::1]:2"));
	CHECK(permits_used_client("[2001:db8::1]:1") != permits_used_client("[2001:db8::2]:1"));
	CHECK(permits_used_client("192.0.2.7:1") != permits_used_client("192.0.2.8:1"));
	permits_used_client("");
}

/* (who may when: cluster_placement_nodes_test.c) */
TEST(the_first_of_too_many_are_forgotten)
{
	used = (struct permits_used){0};
	CHECK_EQ(permits_used_show(&used, 0, 1, 0), ERR_AUTH);
	for (uint64_t i = 1; i <= PERMITS_USED_MAX + 1; i++) {
		CHECK_OK(permits_used_show(&used, i, 1, 0));
		permits_used_spend(&used, i, 1, 0);
	}
	CHECK_EQ(permits_used_show(&used, 2, 2, 0), ERR_AUTH);
	CHECK_OK(permits_used_show(&used, 1, 2, 0));
	CHECK_EQ(permits_used_show(&used, PERMITS_USED_MAX + 1, 2, 0), ERR_AUTH);
}

TEST(who_used_it_is_not_given_more_time_by_using_it)
{
	used = (struct permits_used){0};
	for (int64_t at_us = 0; at_us < 60000000; at_us += 4000000) {
		enum err err = permits_used_show(&used, 5, 1, at_us);

		CHECK_EQ(err, at_us < PERMITS_AGAIN_MS * INT64_C(1000) ? ERR_OK : ERR_AUTH);
		permits_used_spend(&used, 5, 1, at_us);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/limits.h"
#include "tests/test.h"

#include <stdlib.h>

enum { SECOND = 1000000 };

static struct limits limits;

static struct net_addr addr(const char *text)
{
	struct net_addr out;

	CHECK_OK(net_addr_parse(text, &out));
	return out;
}

TEST(requests_are_taken_at_a_rate)
{
	struct net_addr a = addr("192.0.2.1:5"), b = addr("192.0.2.2"), a2 = addr("192.0.2.1:6");
	int64_t wait_us;

	limits_init(&limits, 0, 2, 3, 42);
	for (int i = 0; i < 3; i++)
		CHECK_OK(limits_request(&limits, &a, SECOND, &wait_us));
	CHECK_EQ(limits_request(&limits, &a2, SECOND, &wait_us), ERR_LIMIT);
	CHECK(wait_us >= SECOND / 2 && wait_us < SECOND / 2 + 10);
	CHECK_OK(limits_request(&limits, &b, SECOND, &wait_us));
	CHECK_EQ(limits_request(&limits, &a, SECOND + SECOND / 2 - 1000, &wait_us), ERR_LIMIT);
	CHECK_OK(limits_request(&limits, &a, SECOND + SECOND / 2, &wait_us));
	CHECK_EQ(limits_request(&limits, &a, SECOND + SECOND / 2, &wait_us), ERR_LIMIT);
	CHECK_EQ(limits.refused_rate, 3);
	/* long silence fills the bucket and no more; time that goes back earns nothing */
	for (int i = 0; i < 3; i++)
		CHECK_OK(limits_request(&limits, &a, INT64_MAX / 2, &wait_us));
	CHECK_EQ(limits_request(&limits, &a, 0, &wait_us), ERR_LIMIT);
}

/* Asked every 0.7 ms for 10 s, exactly the rate gets through: no fraction is lost. */
TEST(a_rate_is_kept_however_often_it_is_asked)
{
	struct net_addr a = addr("2001:db8::1");
	int64_t wait_us;
	int taken = 0;

	limits_init(&limits, 0, 7, 1, 42);
	for (int64_t at = 0; at < 10 * SECOND; at += 700)
		taken += limits_request(&limits, &a, at, &wait_us) == ERR_OK;
	CHECK(taken >= 70 && taken <= 71);
}

TEST(sessions_are_counted_in_and_out)
{
	static const struct {
		const char *first, *second;
		bool same;
	} rows[] = {
	// clang-format off
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.3", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"::1", "::2", true},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct net_addr first = addr(rows[i].first), second = addr(rows[i].second);
		struct limits_ticket ticket, other;

		limits_init(&limits, 1, 0, 0, i);
		CHECK_OK(limits_session_open(&limits, &first, 0, &ticket));
		CHECK_EQ(limits_session_open(&limits, &second, 0, &other),
			rows[i].same ? ERR_LIMIT : ERR_OK);
		limits_session_close(&limits, &ticket);
		limits_session_close(&limits, &ticket); /* twice does no harm */
		CHECK_OK(limits_session_open(&limits, &first, 0, &ticket));
	}
}

TEST(the_table_is_bounded_and_never_locks_out)
{
	enum { PEERS = 10000 };
	static struct limits_ticket tickets[PEERS];
	uint32_t counted = 0;

	limits_init(&limits, 1, 10, 10, 7);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct net_addr peer = {
			.family = 4, .ip = {10, i >> 16, i >> 8, i}
		   };
		int64_t wait_us;

		CHECK_OK(limits_request(&limits, &peer, i, &wait_us));
		CHECK_OK(limits_session_open(&limits, &peer, i, &tickets[i]));
		counted += tickets[i].place != 0;
	}
	CHECK_EQ(counted, LIMITS_BUCKETS * LIMITS_WAYS);
	CHECK_GE(limits.untracked, PEERS - counted);
	for (uint32_t i = 0; i < PEERS; i++)
		limits_session_close(&limits, &tickets[i]);
	for (int b = 0; b < LIMITS_BUCKETS; b++) {
		for (int w = 0; w < LIMITS_WAYS; w++)
			CHECK_EQ(limits.entries[b][w].sessions, 0);
	}
	/* now the places change hands again */
	struct net_addr peer = addr("203.0.113.9");
	struct limits_ticket ticket;
	CHECK_OK(limits_session_open(&limits, &peer, PEERS, &ticket));
	CHECK(ticket.place != 0);
	CHECK_EQ(limits_session_open(&limits, &peer, PEERS, &ticket), ERR_LIMIT);
}

TEST(a_ticket_from_anywhere_does_no_harm)
{
	struct limits_ticket tickets[] = {
		{0,				0},
		{1,				9},
		{UINT32_MAX,			     1},
		 {LIMITS_BUCKETS * LIMITS_WAYS,	0},
		{LIMITS_BUCKETS * LIMITS_WAYS + 1, 0}
	     };

	limits_init(&limits, 1, 1, 1, 0);
	for (size_t i = 0; i < sizeof(tickets) / sizeof(*tickets); i++)
		limits_session_close(&limits, &tickets[i]);
}

/* ---- a node ---------------------------------------------------------------------------------- */

enum { WORKERS = 3, PER_ADDRESS = 4 };

static struct limits node[WORKERS];
static struct limits_shares shares[WORKERS];
static const _Atomic uint32_t worker_count = WORKERS;

static void start_worker(uint32_t i)
{
	limits_init(&node[i], PER_ADDRESS, 0, 0, i);
	limits_join(&node[i], shares, &worker_count, i, LIMITS_RTMP, 42);
}

TEST(workers_count_an_address_together)
{
	struct net_addr a = addr("192.0.2.1"), b = addr("2001:db8::1");
	struct limits_ticket tickets[PER_ADDRESS], ticket;

	memset(shares, 0, sizeof(shares));
	for (uint32_t i = 0; i < WORKERS; i++)
		start_worker(i);
	for (uint32_t i = 0; i < PER_ADDRESS; i++)
		CHECK_OK(limits_session_open(&node[i % WORKERS], &a, 0, &tickets[i]));
	for (uint32_t i = 0; i < WORKERS; i++) {
		CHECK_EQ(limits_session_open(&node[i], &a, 0, &ticket), ERR_LIMIT);
		CHECK_OK(limits_session_open(&node[i], &b, 0, &ticket));
	}
	/* one that ends anywhere makes room everywhere, once */
	limits_session_close(&node[1], &tickets[1]);
	CHECK_OK(limits_session_open(&node[2], &a, 0, &ticket));
	CHECK_EQ(limits_session_open(&node[0], &a, 0, &ticket), ERR_LIMIT);
	/* another kind of session counts by itself */
	limits_init(&limits, PER_ADDRESS, 0, 0, 1);
	limits_join(&limits, shares, &worker_count, 0, LIMITS_HTTP, 42);
	CHECK_OK(limits_session_open(&limits, &a, 0, &ticket));
}

TEST(a_dead_worker_gives_back_what_it_counted)
{
	struct net_addr a = addr("192.0.2.1");
	struct limits_ticket ticket;

	memset(shares, 0, sizeof(shares));
	for (uint32_t i = 0; i < WORKERS; i++)
		start_worker(i);
	for (uint32_t i = 0; i < PER_ADDRESS; i++)
		CHECK_OK(limits_session_open(&node[0], &a, 0, &ticket));
	CHECK_EQ(limits_session_open(&node[1], &a, 0, &ticket), ERR_LIMIT);
	start_worker(0);
	for (uint32_t i = 0; i < PER_ADDRESS; i++)
		CHECK_OK(limits_session_open(&node[1], &a, 0, &ticket));
	CHECK_EQ(limits_session_open(&node[0], &a, 0, &ticket), ERR_LIMIT);
}

/* A session that moves, or is restored, is counted where it comes to before it is where it was. */
TEST(one_that_was_let_in_before_is_never_refused)
{
	struct net_addr a = addr("192.0.2.1");
	struct limits_ticket tickets[PER_ADDRESS], kept, ticket;

	memset(shares, 0, sizeof(shares));
	for (uint32_t i = 0; i < WORKERS; i++)
		start_worker(i);
	for (uint32_t i = 0; i < PER_ADDRESS; i++)
		CHECK_OK(limits_session_open(&node[0], &a, 0, &tickets[i]));
	limits_session_keep(&node[1], &a, 0, &kept);
	CHECK_EQ(limits_session_open(&node[1], &a, 0, &ticket), ERR_LIMIT);
	limits_session_close(&node[0], &tickets[0]);
	CHECK_EQ(limits_session_open(&node[2], &a, 0, &ticket), ERR_LIMIT); /* it counts */
	limits_session_close(&node[1], &kept);
	CHECK_OK(limits_session_open(&node[2], &a, 0, &ticket));
}

/* What another worker shows is only added: nonsense refuses newcomers at worst. */
TEST(nonsense_of_another_worker_does_no_harm)
{
	struct net_addr a = addr("192.0.2.1");
	struct limits_ticket ticket;

	memset(shares, 0, sizeof(shares));
	start_worker(0);
	CHECK_OK(limits_session_open(&node[0], &a, 0, &ticket));
	memset(&shares[1], 0xff, sizeof(shares[1]));
	memset(&shares[2], 0x5a, sizeof(shares[2]));
	CHECK_OK(limits_session_open(&node[0], &a, 0, &ticket));
	limits_session_close(&node[0], &ticket);
}

/* ---- requests of a node ------------------------------------------------------------------------ */

enum { RATE = 10, BURST = 20, REQUEST_US = SECOND / RATE };

static void start_asked(uint32_t i)
{
	limits_init(&node[i], 0, RATE, BURST, i);
	limits_join(&node[i], shares, &worker_count, i, LIMITS_HTTP, 42);
}

static void start_all_asked(void)
{
	memset(shares, 0, sizeof(shares));
	for (uint32_t i = 0; i < WORKERS; i++)
		start_asked(i);
}

static int ask(uint32_t worker, const struct net_addr *who, int times, int64_t now_us)
{
	int64_t wait_us;
	int taken = 0;

	while (times--)
		taken += limits_request(&node[worker], who, now_us, &wait_us) == ERR_OK;
	return taken;
}

TEST(workers_count_requests_of_an_address_together)
{
	struct net_addr a = addr("192.0.2.1"), b = addr("192.0.2.2");
	int64_t now_us = 100 * SECOND, wait_us;
	int taken = 0;

	start_all_asked();
	for (uint32_t i = 0; i < WORKERS; i++)
		taken += ask(i, &a, BURST, now_us);
	CHECK_EQ(taken, BURST);
	CHECK_EQ(limits_request(&node[2], &a, now_us, &wait_us), ERR_LIMIT);
	CHECK(wait_us >= REQUEST_US && wait_us < REQUEST_US + 10);
	CHECK_EQ(ask(1, &b, 1, now_us), 1); /* another address by itself */
	/* for ten seconds it asks whom it likes: it gets the rate, not three times that */
	taken = 0;
	for (int ms = 1; ms <= 10000; ms++)
		taken += ask((uint32_t)ms % WORKERS, &a, 1, now_us + ms * 1000);
	CHECK(taken >= 10 * RATE - 1 && taken <= 10 * RATE);
	/* one worker alone gets all of it as well */
	now_us += 100 * SECOND;
	CHECK_EQ(ask(1, &a, 2 * BURST, now_us), BURST);
}

TEST(a_new_worker_knows_what_others_were_asked)
{
	struct net_addr a = addr("2001:db8::1");
	int64_t now_us = 100 * SECOND;

	start_all_asked();
	CHECK_EQ(ask(0, &a, BURST, now_us), BURST);
	start_asked(1);
	CHECK_EQ(ask(1, &a, 1, now_us), 0);
	start_asked(0); /* who knew has gone */
	CHECK_EQ(ask(1, &a, 1, now_us), 1);
}

/* Whatever another worker shows: an address waits for the next request's time at most. */
TEST(nonsense_about_requests_locks_nobody_out)
{
	static const int64_t times[] = {INT64_MIN, -1, 0, INT64_MAX};
	struct net_addr a = addr("192.0.2.1");
	int64_t now_us = 100 * SECOND, wait_us;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		start_all_asked();
		CHECK_EQ(ask(1, &a, 1, now_us), 1); /* so that there is an entry to spoil */
		for (int at = 0; at < LIMITS_BUCKETS * LIMITS_WAYS; at++)
			atomic_store(&shares[1].asked[at / LIMITS_WAYS][at % LIMITS_WAYS].full_ns,
				times[i]);
		for (int n = 0; n < 2 * BURST; n++) {
			enum err err = limits_request(&node[0], &a, now_us, &wait_us);

			CHECK(err == ERR_OK || wait_us <= REQUEST_US + 1);
		}
		CHECK_EQ(ask(2, &a, BURST, now_us + 1000 * SECOND), BURST);
	}
}

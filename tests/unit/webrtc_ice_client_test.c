/* SPDX-License-Identifier: Apache-2.0
 *
 * The controlling ICE agent against our lite one, over a path that loses what a row says; a full
 * agent's checks; wrong passwords; consent.
 */
#include "actors/webrtc/ice_client.h"
#include "tests/test.h"

static struct ice_client client;
static struct ice_session server;
static struct ice_credentials ours, theirs;
static int64_t now_us;
static uint8_t dice;
static const struct net_addr client_addr = {
	.family = 4, .port = 4000, .ip = {192, 0, 2, 9}
};

static struct net_addr addr_of(uint8_t last)
{
	return (struct net_addr){
		.family = 4, .port = 8000, .ip = {127, 0, 0, last}
	  };
}

static void begin(void)
{
	static const uint8_t a[ICE_RANDOM_SIZE] = {1, 2, 3}, b[ICE_RANDOM_SIZE] = {4, 5, 6};

	now_us = 1000000;
	dice = 0;
	ice_credentials_make(&ours, a);
	ice_credentials_make(&theirs, b);
	ice_client_init(&client, &ours, &theirs, 99, now_us);
	ice_init(&server, &theirs, &ours, now_us);
}

/* Sends what is due; `answers` says from which addresses the server answers, `lost` how many datagrams
 * go astray first. Returns how many were sent. */
static unsigned exchange(uint32_t answers, unsigned *lost)
{
	uint8_t bytes[ICE_CLIENT_CHECK_MAX], answer[STUN_RESPONSE_MAX];
	unsigned sent = 0, events;
	struct net_addr to;
	size_t size;

	for (;;) {
		uint8_t random[STUN_TRANSACTION_SIZE] = {++dice};
		struct writer w = writer_of(answer, sizeof(answer)), none = {0};

		size = ice_client_poll(&client, now_us, random, bytes, &to);
		if (!size)
			return sent;
		sent++;
		if (!(answers & 1u << to.ip[3]))
			continue;
		if (*lost) {
			--*lost;
			continue;
		}
		ice_input(&server, &client_addr, bytes, size, now_us, &w, &events);
		if (writer_used(&w))
			ice_client_input(&client, &to, answer, writer_used(&w), now_us, &none);
	}
}

static void run_ms(int ms, uint32_t answers, unsigned *lost)
{
	for (int64_t end_us = now_us + ms * INT64_C(1000); now_us < end_us; now_us += 1000)
		exchange(answers, lost);
}

TEST(connects_to_a_lite_agent_and_nominates_the_best)
{
	static const struct {
		uint32_t answers; /* bits of addresses */
		unsigned lost;
		int within_ms;
		uint8_t selected;
	} rows[] = {
		{1 << 1,		 0, 20,	1},
		{1 << 1 | 1 << 2, 0, 20,	 2}, /* .2 has the higher priority */
		{1 << 1,		 1, 200,	 1},
		{1 << 3,		 3, 1200, 3},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned lost = rows[i].lost;
		struct net_addr a = addr_of(1), b = addr_of(2), c = addr_of(3);

		begin();
		ice_client_add(&client, &a, 50, now_us);
		ice_client_add(&client, &b, 100, now_us);
		ice_client_add(&client, &c, 10, now_us);
		ice_client_add(&client, &b, 100, now_us); /* again */
		CHECK_EQ(client.pair_count, 3);
		run_ms(rows[i].within_ms + ICE_CLIENT_SETTLE_US / 1000, rows[i].answers, &lost);
		CHECK_EQ(client.phase, ICE_CONNECTED);
		CHECK_EQ(ice_client_selected(&client)->ip[3], rows[i].selected);
		CHECK(ice_selected(&server));
		CHECK_GE(client.rtt_us, 0);
	}
}

TEST(nobody_there_is_given_up)
{
	struct net_addr a = addr_of(1);
	unsigned lost = 0, sent = 0;

	begin();
	ice_client_add(&client, &a, 50, now_us);
	while (client.phase != ICE_FAILED) {
		sent += exchange(0, &lost);
		CHECK(ice_client_deadline_us(&client) > now_us || client.phase == ICE_FAILED);
		now_us = client.phase == ICE_FAILED ? now_us : ice_client_deadline_us(&client);
	}
	CHECK_EQ(sent, ICE_CLIENT_TRIES_MAX);
	CHECK_EQ(now_us, 1000000 + ICE_CLIENT_CONNECT_US);
	CHECK(!ice_client_selected(&client));
	CHECK_EQ(ice_client_deadline_us(&client), INT64_MAX);
}

TEST(consent_is_kept_and_lost)
{
	struct net_addr a = addr_of(1);
	unsigned lost = 0;

	begin();
	ice_client_add(&client, &a, 50, now_us);
	run_ms(60000, 1 << 1, &lost);
	CHECK_EQ(client.phase, ICE_CONNECTED);
	CHECK_GE(server.counters.checks, 10);
	CHECK_LE(server.counters.checks, 16);
	run_ms(24000, 0, &lost);
	CHECK_EQ(client.phase, ICE_CONNECTED);
	run_ms(7000, 0, &lost);
	CHECK_EQ(client.phase, ICE_FAILED);
}

TEST(a_full_agents_check_is_answered_and_becomes_a_pair)
{
	static const uint8_t transaction[STUN_TRANSACTION_SIZE] = {7};
	struct net_addr a = addr_of(1);
	uint8_t bytes[256], answer[STUN_RESPONSE_MAX];
	char user[600];
	struct stun_message message;

	for (int wrong = 0; wrong < 2; wrong++) {
		struct writer w = writer_of(bytes, sizeof(bytes));
		struct writer out = writer_of(answer, sizeof(answer));
		int size;

		begin();
		size = snprintf(user, sizeof(user), "%s:%s", ours.ufrag, theirs.ufrag);
		stun_begin(&w, STUN_REQUEST, transaction);
		stun_add_username(&w, user, (size_t)size);
		stun_add_priority(&w, 7);
		stun_add_role(&w, false, 1);
		CHECK_OK(stun_finish(&w, wrong ? "another password, a long one" : ours.pwd));
		CHECK_EQ(ice_client_input(&client, &a, bytes, writer_used(&w), now_us, &out),
			wrong ? ERR_AUTH : ERR_OK);
		CHECK_EQ(client.pair_count, wrong ? 0 : 1);
		if (wrong) {
			CHECK_EQ(writer_used(&out), 0);
			continue;
		}
		CHECK_OK(stun_parse(&message, answer, writer_used(&out)));
		CHECK_EQ(message.class, STUN_SUCCESS);
		CHECK(stun_check_integrity(&message, answer, writer_used(&out), ours.pwd));
		CHECK(net_addr_equal(&message.mapped, &a));
	}
}

TEST(answers_that_are_not_the_servers_change_nothing)
{
	uint8_t bytes[ICE_CLIENT_CHECK_MAX], random[STUN_TRANSACTION_SIZE] = {5};
	struct net_addr a = addr_of(1), to;
	struct writer none = {0};

	for (int wrong = 0; wrong < 2; wrong++) {
		uint8_t answer[STUN_RESPONSE_MAX];
		struct writer w = writer_of(answer, sizeof(answer));

		begin();
		ice_client_add(&client, &a, 50, now_us);
		CHECK(ice_client_poll(&client, now_us, random, bytes, &to) > 0);
		random[0] = wrong ? 6 : 5; /* another transaction; or the wrong password */
		stun_begin(&w, STUN_SUCCESS, random);
		stun_add_xor_mapped_address(&w, &client_addr);
		CHECK_OK(stun_finish(&w, wrong ? theirs.pwd : "another password, a long one"));
		CHECK_EQ(ice_client_input(&client, &a, answer, writer_used(&w), now_us, &none),
			wrong ? ERR_AGAIN : ERR_AUTH);
		CHECK(!client.pairs[0].answered);
		random[0] = 5;
	}
	CHECK_EQ(ice_client_input(&client, &a, "rubbish", 7, now_us, &none), ERR_FORMAT);
}

TEST(no_more_pairs_than_there_is_room_for)
{
	begin();
	for (int i = 0; i < 3 * ICE_CLIENT_PAIRS_MAX; i++) {
		struct net_addr a = addr_of((uint8_t)i);

		ice_client_add(&client, &a, (uint32_t)(i * 7 % 50), now_us);
	}
	CHECK_EQ(client.pair_count, ICE_CLIENT_PAIRS_MAX);
	for (int i = 1; i < ICE_CLIENT_PAIRS_MAX; i++)
		CHECK_GE(client.pairs[i - 1].priority, client.pairs[i].priority);
}

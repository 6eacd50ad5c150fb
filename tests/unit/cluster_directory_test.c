/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory over the built-in store, in a control process with two workers.
 */
#include "tests/unit/cluster_node.h"

enum { GATHERED_MS = 320, LEASE_OVER_MS = 11000 };

struct town {
	struct node *node;
	struct runtime *control, *worker[2];
	struct addr puppet[2]; /* one a worker */
};

static void start_control(struct town *town)
{
	town->control = node_start(town->node, 0);
	CHECK_OK(actor_spawn_office(town->control, OFFICE_STORE, &store_local_actor, NULL));
	CHECK_OK(actor_spawn_office(town->control, OFFICE_DIRECTORY, &directory_actor, NULL));
}

static struct town town_create(void)
{
	struct town town = {.node = node_create()};

	start_control(&town);
	for (int i = 0; i < 2; i++) {
		town.worker[i] = node_start(town.node, 1 + i);
		town.puppet[i] = puppet_new(town.worker[i], "owner");
	}
	node_run_ms(town.node, GATHERED_MS);
	return town;
}

static const struct remembered *heard(struct town *town, int who)
{
	node_run_ms(town->node, 10);
	return puppet_last(town->worker[who], town->puppet[who]);
}

static void tell_claim(
	struct town *town, int who, const char *name, uint64_t epoch, int64_t start_us)
{
	struct msg_name_claim m = {.epoch = epoch, .start_us = start_us};

	text_copy(m.name, sizeof(m.name), name);
	puppet_ask_with(town->worker[who], town->puppet[who], OFFICE_DIRECTORY, name_claim, &m);
}

/* The epoch granted; 0 when it was refused. */
static uint64_t claim(struct town *town, int who, const char *name)
{
	const struct remembered *answer;

	tell_claim(town, who, name, 0, 1);
	answer = heard(town, who);
	return answer && answer->type == MSG_name_granted ? answer->granted.epoch : 0;
}

static void tell_lookup(
	struct town *town, int who, const char *name, uint32_t wait_ms, uint64_t newer_than)
{
	struct msg_name_lookup m = {.wait_ms = wait_ms, .newer_than = newer_than};

	text_copy(m.name, sizeof(m.name), name);
	puppet_ask_with(town->worker[who], town->puppet[who], OFFICE_DIRECTORY, name_lookup, &m);
}

static bool is_found(const struct remembered *answer, struct addr owner)
{
	return answer && answer->type == MSG_name_found && addr_equal(answer->found.owner, owner);
}

static bool is_refused(const struct remembered *answer, enum err err)
{
	return answer && answer->type == MSG_failed && answer->failed.err == err;
}

TEST(a_name_has_one_owner)
{
	struct town town = town_create();
	uint64_t epoch = claim(&town, 0, "stream/a/b");

	CHECK(epoch);
	CHECK_EQ(claim(&town, 0, "stream/a/b"), epoch); /* once more: nothing changes */
	tell_claim(&town, 1, "stream/a/b", 0, 99);
	CHECK(is_refused(heard(&town, 1), ERR_BUSY));
	tell_lookup(&town, 1, "stream/a/b", 0, 0);
	const struct remembered *answer = heard(&town, 1);
	CHECK(is_found(answer, town.puppet[0]));
	CHECK_EQ(answer->found.epoch, epoch);
	CHECK_EQ(answer->found.process, 2);
	CHECK(claim(&town, 1, "stream/a/c"));
	tell_claim(&town, 1, "", 0, 0);
	CHECK(is_refused(heard(&town, 1), ERR_FORMAT));
	node_destroy(town.node);
}

/* Both at once: the store decides, and it decides for one. */
TEST(two_claims_in_one_turn)
{
	struct town town = town_create();
	int granted = 0;

	tell_claim(&town, 0, "stream/a/b", 0, 1);
	tell_claim(&town, 1, "stream/a/b", 0, 2);
	node_run_ms(town.node, 10);
	for (int i = 0; i < 2; i++) {
		const struct remembered *answer = heard(&town, i);

		granted += answer && answer->type == MSG_name_granted;
		CHECK(answer->type == MSG_name_granted || is_refused(answer, ERR_BUSY));
	}
	CHECK_EQ(granted, 1);
	node_destroy(town.node);
}

TEST(the_epoch_grows_with_every_owner)
{
	struct town town = town_create();
	uint64_t last = 0;

	for (int i = 0; i < 6; i++) {
		uint64_t epoch = claim(&town, i % 2, "stream/a/b");

		CHECK(epoch > last);
		last = epoch;
		puppet_ask(town.worker[i % 2], town.puppet[i % 2], OFFICE_DIRECTORY, name_release,
			{.name = "stream/a/b", .epoch = epoch});
		node_run_ms(town.node, 5);
	}
	/* of another, or of an owner before: no effect */
	last = claim(&town, 0, "stream/a/b");
	puppet_ask(town.worker[1], town.puppet[1], OFFICE_DIRECTORY, name_release,
		{.name = "stream/a/b", .epoch = last});
	puppet_ask(town.worker[0], town.puppet[0], OFFICE_DIRECTORY, name_release,
		{.name = "stream/a/b", .epoch = last - 1});
	node_run_ms(town.node, 5);
	tell_lookup(&town, 1, "stream/a/b", 0, 0);
	CHECK(is_found(heard(&town, 1), town.puppet[0]));
	node_destroy(town.node);
}

TEST(lookups_wait_as_long_as_they_say)
{
	struct town town = town_create();

	tell_lookup(&town, 1, "stream/a/b", 0, 0);
	CHECK(is_refused(heard(&town, 1), ERR_NOT_FOUND));
	tell_lookup(&town, 1, "stream/a/b", 500, 0);
	CHECK(!heard(&town, 1));
	node_run_ms(town.node, 450);
	CHECK(!puppet_last(town.worker[1], town.puppet[1]));
	node_run_ms(town.node, 50);
	CHECK(is_refused(puppet_last(town.worker[1], town.puppet[1]), ERR_NOT_FOUND));
	/* it comes meanwhile */
	tell_lookup(&town, 1, "stream/a/b", 500, 0);
	CHECK(!heard(&town, 1));
	uint64_t epoch = claim(&town, 0, "stream/a/b");
	CHECK(is_found(heard(&town, 1), town.puppet[0]));
	/* only a newer owner will do */
	tell_lookup(&town, 1, "stream/a/b", 500, epoch);
	CHECK(!heard(&town, 1));
	puppet_ask(town.worker[0], town.puppet[0], OFFICE_DIRECTORY, name_release,
		{.name = "stream/a/b", .epoch = epoch});
	CHECK(!heard(&town, 1));
	CHECK(claim(&town, 0, "stream/a/b") > epoch);
	CHECK(is_found(heard(&town, 1), town.puppet[0]));
	node_destroy(town.node);
}

TEST(waiting_is_bounded)
{
	struct town town = town_create();
	struct puppet *puppet = puppet_at(town.worker[1], town.puppet[1]);

	for (int i = 0; i < 1024; i++) {
		tell_lookup(&town, 1, "stream/a/b", 60000, 0);
		if (i % 256 == 255)
			node_run_ms(town.node, 2);
	}
	CHECK_EQ(puppet->count, 0);
	tell_lookup(&town, 1, "stream/a/b", 60000, 0);
	CHECK(is_refused(heard(&town, 1), ERR_OVERLOAD));
	CHECK(claim(&town, 0, "stream/a/b"));
	node_run_ms(town.node, 10);
	CHECK_EQ(puppet->count, 1024);
	node_destroy(town.node);
}

TEST(names_go_with_their_owner)
{
	struct town town = town_create();
	struct addr other = puppet_new(town.worker[0], "other");

	CHECK(claim(&town, 0, "stream/a/1"));
	puppet_ask(town.worker[0], other, OFFICE_DIRECTORY, name_claim, {.name = "stream/a/2"});
	node_run_ms(town.node, 5);
	/* the actor ends */
	actor_call(town.worker[0], town.puppet[0], &puppet_actor, puppet_end, NULL);
	node_run_ms(town.node, 5);
	tell_lookup(&town, 1, "stream/a/1", 0, 0);
	CHECK(is_refused(heard(&town, 1), ERR_NOT_FOUND));
	tell_lookup(&town, 1, "stream/a/2", 0, 0);
	CHECK(is_found(heard(&town, 1), other));
	/* its process does */
	node_kill(town.node, 1);
	tell_lookup(&town, 1, "stream/a/2", 0, 0);
	CHECK(is_refused(heard(&town, 1), ERR_NOT_FOUND));
	CHECK(claim(&town, 1, "stream/a/2"));
	node_destroy(town.node);
}

/* A new control process knows nothing: who has a name says so, who wants one waits. */
TEST(names_outlive_the_directory)
{
	struct town town = town_create();
	uint64_t epoch = claim(&town, 0, "stream/a/b");

	node_kill(town.node, 0);
	node_run_ms(town.node, 5);
	start_control(&town);
	tell_claim(&town, 1, "stream/a/b", 0, 9);
	CHECK(!heard(&town, 1));
	tell_claim(&town, 0, "stream/a/b", epoch, 1);
	const struct remembered *answer = heard(&town, 0);
	CHECK(answer && answer->type == MSG_name_granted);
	CHECK_EQ(answer->granted.epoch, epoch);
	node_run_ms(town.node, GATHERED_MS);
	CHECK(is_refused(heard(&town, 1), ERR_BUSY));
	/* and an owner to come is newer than any before */
	puppet_ask(town.worker[0], town.puppet[0], OFFICE_DIRECTORY, name_release,
		{.name = "stream/a/b"});
	node_run_ms(town.node, 5);
	CHECK(claim(&town, 1, "stream/a/b") > epoch);
	node_destroy(town.node);
}

/* Two who both believe that they own it: the highest (epoch, start, process) stays. */
TEST(of_two_owners_the_higher_stays)
{
	static const struct {
		uint64_t epoch[2];
		int64_t start_us[2];
		int winner;
	} rows[] = {
		{{5, 4}, {1, 9}, 0},
		{{4, 5}, {9, 1}, 1},
		{{5, 5}, {7, 3}, 0},
		{{5, 5}, {3, 7}, 1},
		{{5, 5}, {3, 3}, 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct town town = town_create();
		int winner = rows[i].winner;
		const struct remembered *answer;

		for (int who = 0; who < 2; who++) {
			tell_claim(&town, who, "stream/a/b", rows[i].epoch[who],
				rows[i].start_us[who]);
			node_run_ms(town.node, 5);
		}
		answer = heard(&town, !winner);
		CHECK(answer && answer->type == MSG_name_lost);
		CHECK(addr_equal(answer->lost.owner, town.puppet[winner]));
		CHECK_EQ(answer->lost.epoch, rows[i].epoch[winner]);
		answer = heard(&town, winner);
		CHECK(answer && answer->type == MSG_name_granted);
		CHECK_EQ(answer->granted.epoch, rows[i].epoch[winner]);
		tell_lookup(&town, 0, "stream/a/b", 0, 0);
		CHECK(is_found(heard(&town, 0), town.puppet[winner]));
		node_destroy(town.node);
	}
}

/* Leases are kept while all live; a stop of the whole control process longer than they last costs
 * no name. */
TEST(leases_are_kept_and_come_back)
{
	struct town town = town_create();
	uint64_t epoch = claim(&town, 0, "stream/a/b");

	node_run_ms(town.node, 3 * LEASE_OVER_MS);
	tell_lookup(&town, 1, "stream/a/b", 0, epoch - 1);
	CHECK(is_found(heard(&town, 1), town.puppet[0]));
	town.node->now_us += (int64_t)LEASE_OVER_MS * 1000;
	node_run_ms(town.node, 100);
	tell_lookup(&town, 1, "stream/a/b", 0, 0);
	const struct remembered *answer = heard(&town, 1);
	CHECK(is_found(answer, town.puppet[0]));
	CHECK_EQ(answer->found.epoch, epoch);
	node_destroy(town.node);
}

TEST(a_thousand_names)
{
	struct town town = town_create();
	char name[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "stream/a/%d", i);
		tell_claim(&town, i % 2, name, 0, 1);
		if (i % 100 == 99)
			node_run_ms(town.node, 5);
	}
	for (int i = 0; i < 1000; i += 37) {
		snprintf(name, sizeof(name), "stream/a/%d", i);
		tell_lookup(&town, 1, name, 0, 0);
		CHECK(is_found(heard(&town, 1), town.puppet[i % 2]));
	}
	node_kill(town.node, 1);
	node_run_ms(town.node, 10);
	tell_lookup(&town, 1, "stream/a/0", 0, 0);
	CHECK(is_refused(heard(&town, 1), ERR_NOT_FOUND));
	tell_lookup(&town, 1, "stream/a/1", 0, 0);
	CHECK(is_found(heard(&town, 1), town.puppet[1]));
	node_destroy(town.node);
}

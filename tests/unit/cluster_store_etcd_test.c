/* SPDX-License-Identifier: Apache-2.0
 *
 * The store behind etcd where etcd is not always as it should be (what a store promises while all is well:
 * cluster_store_test.c).
 */
#include "cluster/store.h"
#include "cluster/store_etcd_internal.h"
#include "tests/unit/etcd_node.h"
#include "tests/unit/successor.h"

struct shop {
	struct region region;
	struct etcd_model *model;
	struct runtime *rt;
	struct addr puppet, watcher;
};

static void store_look(struct actor *self, void *data, void *context)
{
	(void)self;
	*(struct store_etcd **)context = data;
}

static struct store_etcd *store(struct shop *shop)
{
	struct addr addr = {
		.node = NODE_ID, .id = (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_STORE};
	struct store_etcd *s = NULL;

	CHECK(actor_call(shop->rt, addr, &store_etcd_actor, store_look, &s));
	return s;
}

static void run(struct shop *shop, int ms)
{
	region_run_ms(&shop->region, ms);
}

/* Until the condition holds; the clock is virtual. */
#define UNTIL(shop, within_ms, condition)                                \
	do {                                                             \
		for (int i_ = 0; i_ < (within_ms) && !(condition); i_++) \
			run(shop, 1);                                    \
		CHECK(condition);                                        \
	} while (0)

static struct shop shop_create(void)
{
	struct shop shop = {.region = region_create(1, 3)};

	shop.model = shop.region.model;
	shop.rt = node_start(shop.region.node[0], 0);
	shop.puppet = puppet_new(shop.rt, "client");
	shop.watcher = puppet_new(shop.rt, "watcher");
	return shop;
}

static void open_shop(struct shop *shop)
{
	CHECK_OK(actor_spawn_office(shop->rt, OFFICE_STORE, &store_etcd_actor, NULL));
	puppet_ask(shop->rt, shop->watcher, OFFICE_STORE, store_watch, {.prefix = "k"});
}

static void set(struct shop *shop, const char *key, const char *value)
{
	static struct config_report report;

	CHECK_OK(config_set(shop->region.config, key, value, CONFIG_FROM_FLAG, "", &report));
}

static void put(struct shop *shop, const char *key)
{
	struct msg_store_put m = {
		.value = {.size = 1, .data = "v"}
	 };

	text_copy(m.key, sizeof(m.key), key);
	puppet_ask_with(shop->rt, shop->puppet, OFFICE_STORE, store_put, &m);
}

/* Error of the answer that comes; ERR_OK for store_done. */
static enum err answered(struct shop *shop, int within_ms)
{
	const struct puppet *puppet = puppet_at(shop->rt, shop->puppet);

	UNTIL(shop, within_ms, puppet->count);
	const struct remembered *answer = puppet_last(shop->rt, shop->puppet);

	return answer->type == MSG_failed ? (enum err)answer->failed.err : ERR_OK;
}

/* How many of a type the watcher has heard since it was last asked. */
static int told(struct shop *shop, uint16_t type)
{
	struct puppet *puppet = puppet_at(shop->rt, shop->watcher);
	int count = 0;

	CHECK_LE(puppet->count, NODE_REMEMBERED);
	for (int i = 0; i < puppet->count; i++)
		count += puppet->mail[i].type == type;
	return count;
}

static void forget(struct shop *shop)
{
	puppet_at(shop->rt, shop->watcher)->count = 0;
}

TEST(nobody_answers_at_the_start)
{
	for (int silent = 0; silent < 2; silent++) {
		struct shop shop = shop_create();

		shop.model->gone = !silent;
		shop.model->silent = silent;
		open_shop(&shop);
		run(&shop, 10);
		CHECK_EQ(told(&shop, MSG_store_down), 1);
		put(&shop, "k");
		CHECK_EQ(answered(&shop, 10), ERR_DEAD);
		puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_range, {.prefix = ""});
		CHECK_EQ(answered(&shop, 10), ERR_DEAD);
		run(&shop, 10000);
		shop.model->gone = shop.model->silent = false;
		UNTIL(&shop, 2500, told(&shop, MSG_store_up));
		CHECK_EQ(told(&shop, MSG_store_down), 1);
		put(&shop, "k");
		CHECK_OK(answered(&shop, 50));
		region_destroy(&shop.region);
	}
}

TEST(an_outage_is_told_and_so_is_its_end)
{
	struct shop shop = shop_create();

	open_shop(&shop);
	UNTIL(&shop, 50, told(&shop, MSG_store_up));
	put(&shop, "k1");
	CHECK_OK(answered(&shop, 50));
	forget(&shop);
	shop.model->gone = true;
	UNTIL(&shop, 50, told(&shop, MSG_store_down)); /* the watch ends at once */
	put(&shop, "k2");
	CHECK_EQ(answered(&shop, 5), ERR_DEAD);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_get, {.key = "k1"});
	CHECK_OK(answered(&shop, 5)); /* from the copy */
	/* what happens meanwhile is told when it is back, before store_up */
	model_put(shop.model, "/millrace/default/k3", "x", 1, 0);
	model_delete(shop.model, "/millrace/default/k1", false);
	model_compact(shop.model);
	forget(&shop);
	shop.model->gone = false;
	UNTIL(&shop, 1100, told(&shop, MSG_store_up));
	CHECK_EQ(told(&shop, MSG_store_event), 2);
	struct puppet *watcher = puppet_at(shop.rt, shop.watcher);
	CHECK_EQ(watcher->mail[watcher->count - 1].type, MSG_store_up);
	CHECK_EQ(store(&shop)->st.outages, 1);
	CHECK_EQ(store(&shop)->st.differences, 2);
	region_destroy(&shop.region);
}

/* Whoever waits for an answer that does not come has a failure after 2 s, wherever it waits. */
TEST(a_call_that_is_not_answered_fails_in_time)
{
	struct shop shop = shop_create();
	struct puppet *puppet = puppet_at(shop.rt, shop.puppet);

	open_shop(&shop);
	UNTIL(&shop, 50, told(&shop, MSG_store_up));
	shop.model->silent = true;
	for (int i = 0; i < 60; i++) { /* more than are under way at once; two for each key */
		char key[16];

		snprintf(key, sizeof(key), "k%d", i / 2);
		put(&shop, key);
	}
	run(&shop, 1900);
	CHECK_EQ(puppet->count, 0);
	UNTIL(&shop, 300, puppet->count == 60);
	for (int i = 0; i < 60; i++)
		CHECK_EQ(puppet->mail[i].type, MSG_failed);
	CHECK_EQ(store(&shop)->calls, 0);
	region_destroy(&shop.region);
}

/* It took place, but nobody says so: the copy will. */
TEST(an_answer_is_lost)
{
	struct shop shop = shop_create();

	open_shop(&shop);
	UNTIL(&shop, 50, told(&shop, MSG_store_up));
	shop.model->lost_ppm = 1000000;
	put(&shop, "k");
	UNTIL(&shop, 50, told(&shop, MSG_store_event));
	CHECK_EQ(answered(&shop, 2100), ERR_TIMEOUT);
	region_destroy(&shop.region);
}

/* Calls for one key take place in the order in which they were asked for. */
TEST(calls_for_one_key_keep_their_order)
{
	struct shop shop = shop_create();
	struct puppet *puppet = puppet_at(shop.rt, shop.puppet);

	open_shop(&shop);
	UNTIL(&shop, 50, told(&shop, MSG_store_up));
	shop.model->slow_us = 30000;
	for (int round = 0; round < 20; round++) {
		puppet->count = 0;
		put(&shop, "k");
		puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_delete, {.key = "k"});
		puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_put,
			{.key = "k", .compare = STORE_CREATE});
		puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_delete, {.key = "k"});
		UNTIL(&shop, 500, puppet->count == 4);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(puppet->mail[i].type, MSG_store_done);
	}
	region_destroy(&shop.region);
}

/* What an answer to a question of a while ago says. */
TEST(refusals_say_what_was_asked)
{
	struct shop shop = shop_create();
	const struct puppet *puppet = puppet_at(shop.rt, shop.puppet);
	struct msg_store_put under = {.key = "k2", .lease = 77};
	static const struct {
		enum err err;
		uint16_t type;
	} rows[] = {
		{ERR_EXISTS,    MSG_store_put	  },
		{ERR_NOT_FOUND, MSG_store_put	     },
		{ERR_NOT_FOUND, MSG_store_delete	},
		{ERR_NOT_FOUND, MSG_store_lease_keep},
		{ERR_TIMEOUT,   MSG_store_put	   },
	};

	open_shop(&shop);
	UNTIL(&shop, 50, told(&shop, MSG_store_up));
	put(&shop, "k");
	CHECK_OK(answered(&shop, 50));
	for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
		shop.model->silent = i == 4;
		switch (i) {
		case 0:
			puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_put,
				{.key = "k", .compare = STORE_CREATE});
			break;
		case 2:
			puppet_ask(
				shop.rt, shop.puppet, OFFICE_STORE, store_delete, {.key = "none"});
			break;
		case 3:
			puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_lease_keep,
				{.lease = 77});
			break;
		default: puppet_ask_with(shop.rt, shop.puppet, OFFICE_STORE, store_put, &under);
		}
		UNTIL(&shop, 2500, puppet->count);
		const struct remembered *answer = puppet_last(shop.rt, shop.puppet);

		CHECK_EQ(answer->type, MSG_failed);
		CHECK_EQ(answer->failed.err, rows[i].err);
		CHECK_EQ(answer->failed.type, rows[i].type);
	}
	region_destroy(&shop.region);
}

TEST(tokens_are_fetched_and_renewed)
{
	struct shop shop = shop_create();

	shop.model->users = true;
	set(&shop, "etcd.user", "u");
	set(&shop, "etcd.password", "right");
	open_shop(&shop);
	UNTIL(&shop, 50, told(&shop, MSG_store_up));
	CHECK_EQ(shop.model->tokens, 1);
	put(&shop, "k1");
	CHECK_OK(answered(&shop, 50));
	shop.model->tokens++; /* the one we have is none any more */
	put(&shop, "k2");
	put(&shop, "k3");
	CHECK_OK(answered(&shop, 100));
	UNTIL(&shop, 100, store(&shop)->calls == 0);
	CHECK_EQ(shop.model->tokens, 3);
	CHECK_EQ(told(&shop, MSG_store_down), 1); /* that of the start */
	region_destroy(&shop.region);
}

TEST(a_wrong_password)
{
	struct shop shop = shop_create();

	shop.model->users = true;
	set(&shop, "etcd.user", "u");
	set(&shop, "etcd.password", "wrong");
	open_shop(&shop);
	run(&shop, 5000);
	CHECK(!store(&shop)->st.up);
	CHECK_LE(shop.model->asked, 30); /* twice a second, at two endpoints */
	set(&shop, "etcd.password", "right");
	UNTIL(&shop, 1000, store(&shop)->st.up);
	region_destroy(&shop.region);
}

/* More than a page holds, and a page that is more than an answer may hold. */
TEST(everything_is_read_in_pages)
{
	struct shop shop = shop_create();
	char key[64];

	for (int i = 0; i < 600; i++) {
		snprintf(key, sizeof(key), "/millrace/default/k%03d", i * 7 % 600);
		model_put(shop.model, key, "v", 1, 0);
	}
	model_put(shop.model, "/millrace/defaulu", "not ours", 8, 0);
	memset(key, 'x', sizeof(key));
	shop.model->range_max = 10;
	CHECK_OK(actor_spawn_office(shop.rt, OFFICE_STORE, &store_etcd_actor, NULL));
	UNTIL(&shop, 3000, store(&shop)->st.up);
	CHECK_EQ(store(&shop)->st.pairs_count, 600);
	CHECK_EQ(store(&shop)->page, 4);
	region_destroy(&shop.region);
}

/* etcd has come back with less than it had, and is being read: who begins to watch just then, from where
 * he has read, hears of what was found different before he asked. */
TEST(a_watch_begins_while_all_is_read_anew)
{
	struct shop shop = shop_create();
	uint64_t revision;
	char key[64];

	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "/millrace/default/k%03d", i);
		model_put(shop.model, key, "v", 1, 0);
	}
	shop.model->range_max = 10;
	shop.model->slow_us = 20000;
	CHECK_OK(actor_spawn_office(shop.rt, OFFICE_STORE, &store_etcd_actor, NULL));
	UNTIL(&shop, 3000, store(&shop)->st.up);
	revision = store(&shop)->st.revision;
	shop.model->gone = true;
	run(&shop, 2000);
	model_wipe(shop.model);
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "/millrace/default/k%03d", i);
		model_put(shop.model, key, "w", 1, 0);
	}
	shop.model->gone = false;
	UNTIL(&shop, 3000, store(&shop)->st.differences);
	CHECK(!store(&shop)->st.up);
	puppet_ask(shop.rt, shop.watcher, OFFICE_STORE, store_watch,
		{.prefix = "k", .from_revision = revision + 1});
	UNTIL(&shop, 3000, store(&shop)->st.up);
	run(&shop, 2);
	CHECK_EQ(told(&shop, MSG_store_watching), 1);
	CHECK_EQ(told(&shop, MSG_store_event), 40);
	region_destroy(&shop.region);
}

/* A pair that no answer can hold is left out; the others are there. */
TEST(a_pair_that_is_too_large_is_gone_by)
{
	struct shop shop = shop_create();
	char key[64];

	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "/millrace/default/k%02d", i);
		model_put(shop.model, key, "v", 1, 0);
	}
	snprintf(shop.model->too_large, sizeof(shop.model->too_large), "/millrace/default/k07");
	CHECK_OK(actor_spawn_office(shop.rt, OFFICE_STORE, &store_etcd_actor, NULL));
	UNTIL(&shop, 3000, store(&shop)->st.up);
	CHECK_EQ(store(&shop)->st.pairs_count, 19);
	CHECK_EQ(store(&shop)->st.skipped, 1);
	region_destroy(&shop.region);
}

/* History is forgotten between reading and watching, again and again. */
TEST(compaction_in_the_middle)
{
	struct shop shop = shop_create();

	open_shop(&shop);
	shop.model->slow_us = 3000;
	for (int i = 0; i < 40; i++) {
		model_put(shop.model, "/millrace/default/k", "v", 1, 0);
		model_compact(shop.model);
		run(&shop, 1);
	}
	UNTIL(&shop, 500, told(&shop, MSG_store_up));
	UNTIL(&shop, 500, store(&shop)->st.revision == shop.model->revision);
	region_destroy(&shop.region);
}

/* At each allocation of ours that fails: an error, a retry, never an end. */
TEST(memory_runs_out)
{
	for (size_t n = 1; n < 400; n++) {
		struct shop shop = shop_create();
		enum err err;

		test_fail_allocation(n);
		err = actor_spawn_office(shop.rt, OFFICE_STORE, &store_etcd_actor, NULL);
		if (err) {
			test_fail_allocation(0);
			CHECK_EQ(err, ERR_NO_MEMORY);
			region_destroy(&shop.region);
			continue;
		}
		for (int i = 0; i < 60; i++)
			region_run_ms(&shop.region, 1);
		bool used = test_fail_allocation(0) < n;

		if (runtime_find(shop.rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_STORE)) {
			UNTIL(&shop, 12000, store(&shop)->st.up);
			put(&shop, "k");
			CHECK_OK(answered(&shop, 50));
		} /* else the kernel has ended it, because mail to it could not be kept */
		region_destroy(&shop.region);
		if (used)
			return;
	}
	fail_msg("no end of allocations");
}

/* ---- takeover ---------------------------------------------------------------------------------- */

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_ETCD(SUCCESSOR_ROW)
	{0},
	// clang-format on
};

static struct config successor_config;
static const struct successor_kit kit = {
	.rows = successor_rows, .ops = &successor_ops, .config = &successor_config};

static void set_successor_config(void)
{
	static struct config_report report;

	config_init(&successor_config, &report);
	CHECK_OK(config_set(
		&successor_config, "coord", "etcd://a:2379", CONFIG_FROM_FLAG, "", &report));
}

TEST(the_successor)
{
	set_successor_config();
	successor_main(&kit);
}

TEST(another_process_goes_on_with_the_copy)
{
	struct shop shop = shop_create();

	open_shop(&shop);
	UNTIL(&shop, 50, told(&shop, MSG_store_up));
	put(&shop, "k1");
	CHECK_OK(answered(&shop, 50));
	CHECK_EQ(successor_run(&kit, shop.rt, NULL, 0, 0), 1);
	successor_check_rows(&kit);
	region_destroy(&shop.region);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the messages of a store promise (cluster/store.h): of the built-in one, and of the one behind
 * etcd, here a model of it (etcd_model.h).
 */
#include "cluster/store.h"
#include "tests/unit/etcd_node.h"

struct shop {
	struct region region; /* without etcd: one node of its own */
	struct node *node;
	struct runtime *rt;
	struct addr puppet;
	uint64_t lease;
};

static struct shop shop_create(bool etcd)
{
	struct shop shop = {0};

	if (etcd)
		shop.region = region_create(1, 1);
	shop.node = etcd ? shop.region.node[0] : node_create();
	shop.rt = node_start(shop.node, 0);
	CHECK_OK(actor_spawn_office(
		shop.rt, OFFICE_STORE, etcd ? &store_etcd_actor : &store_local_actor, NULL));
	shop.puppet = puppet_new(shop.rt, "client");
	if (etcd)
		region_run_ms(&shop.region, 20);
	return shop;
}

static void shop_destroy(struct shop *shop)
{
	if (shop->region.model)
		region_destroy(&shop->region);
	else
		node_destroy(shop->node);
}

static void run_ms(struct shop *shop, int ms)
{
	if (shop->region.model)
		region_run_ms(&shop->region, ms);
	else
		node_run_ms(shop->node, ms);
}

static const struct remembered *heard(struct shop *shop)
{
	for (int i = 0; i < 20 && !puppet_at(shop->rt, shop->puppet)->count; i++)
		run_ms(shop, 2);
	return puppet_last(shop->rt, shop->puppet);
}

/* A row that both must pass; it has `shop`. */
#define BOTH(name)                          \
	static void name(struct shop shop); \
	TEST(name##_in_memory)              \
	{                                   \
		name(shop_create(false));   \
	}                                   \
	TEST(name##_in_etcd)                \
	{                                   \
		name(shop_create(true));    \
	}                                   \
	static void name(struct shop shop)

/* The revision, or 0 and the error in *err. */
static uint64_t result(struct shop *shop, enum err *err)
{
	const struct remembered *answer = heard(shop);

	CHECK(answer);
	*err = answer->type == MSG_failed ? (enum err)answer->failed.err : ERR_OK;
	return answer->type == MSG_store_done ? answer->done.revision : 0;
}

static uint64_t put(
	struct shop *shop, const char *key, uint8_t compare, uint64_t revision, enum err expected)
{
	struct msg_store_put m = {.compare = compare, .revision = revision, .lease = shop->lease};
	enum err err;

	text_copy(m.key, sizeof(m.key), key);
	puppet_ask_with(shop->rt, shop->puppet, OFFICE_STORE, store_put, &m);
	uint64_t changed = result(shop, &err);
	CHECK_EQ(err, expected);
	return changed;
}

static uint64_t delete (
	struct shop *shop, const char *key, uint8_t compare, uint64_t revision, enum err expected)
{
	struct msg_store_delete m = {.compare = compare, .revision = revision};
	enum err err;

	text_copy(m.key, sizeof(m.key), key);
	puppet_ask_with(shop->rt, shop->puppet, OFFICE_STORE, store_delete, &m);
	uint64_t changed = result(shop, &err);
	CHECK_EQ(err, expected);
	return changed;
}

static const struct remembered *range(
	struct shop *shop, const char *prefix, const char *after, uint32_t limit)
{
	struct msg_store_range m = {.limit = limit};

	text_copy(m.prefix, sizeof(m.prefix), prefix);
	text_copy(m.after, sizeof(m.after), after);
	puppet_ask_with(shop->rt, shop->puppet, OFFICE_STORE, store_range, &m);
	const struct remembered *answer = heard(shop);
	CHECK(answer && answer->type == MSG_store_pairs);
	return answer;
}

static void grant(struct shop *shop, uint32_t ttl_ms)
{
	puppet_ask(shop->rt, shop->puppet, OFFICE_STORE, store_lease_grant, {.ttl_ms = ttl_ms});
	const struct remembered *answer = heard(shop);
	CHECK(answer && answer->type == MSG_store_leased);
	CHECK_EQ(answer->leased.ttl_ms, ttl_ms);
	shop->lease = answer->leased.lease;
}

BOTH(comparisons)
{
	uint64_t first = put(&shop, "a", STORE_CREATE, 0, ERR_OK);

	put(&shop, "a", STORE_CREATE, 0, ERR_EXISTS);
	put(&shop, "a", STORE_AT_REVISION, first + 1, ERR_PHASE);
	put(&shop, "b", STORE_AT_REVISION, first, ERR_PHASE);
	uint64_t second = put(&shop, "a", STORE_AT_REVISION, first, ERR_OK);
	CHECK(second > first);
	uint64_t third = put(&shop, "a", STORE_ANY, 0, ERR_OK);
	CHECK(third > second);
	put(&shop, "a", 77, 0, ERR_UNSUPPORTED);
	put(&shop, "", STORE_ANY, 0, ERR_FORMAT);
	delete (&shop, "a", STORE_AT_REVISION, second, ERR_PHASE);
	delete (&shop, "c", STORE_ANY, 0, ERR_NOT_FOUND);
	CHECK(delete (&shop, "a", STORE_AT_REVISION, third, ERR_OK) > third);
	CHECK(put(&shop, "a", STORE_CREATE, 0, ERR_OK) > third);
	shop_destroy(&shop);
}

BOTH(ranges_come_in_pages)
{
	char key[16], after[16] = "";
	int seen = 0;

	for (int i = 0; i < 150; i++) {
		snprintf(key, sizeof(key), "k/%03d", i * 7 % 150);
		put(&shop, key, STORE_CREATE, 0, ERR_OK);
	}
	put(&shop, "j", STORE_CREATE, 0, ERR_OK);
	put(&shop, "k0", STORE_CREATE, 0, ERR_OK);
	for (bool more = true; more;) {
		const struct remembered *page = range(&shop, "k/", after, 0);

		for (int i = 0; i < page->pairs.pairs_count; i++, seen++) {
			snprintf(key, sizeof(key), "k/%03d", seen);
			CHECK_STR(page->pairs.pairs[i].key, key);
		}
		more = page->pairs.more;
		text_copy(after, sizeof(after), key);
	}
	CHECK_EQ(seen, 150);
	CHECK_EQ(range(&shop, "k/", "", 3)->pairs.pairs_count, 3);
	CHECK_EQ(range(&shop, "nothing", "", 0)->pairs.pairs_count, 0);
	CHECK_EQ(range(&shop, "k/", "k/149", 0)->pairs.pairs_count, 0);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_get, {.key = "k/007"});
	CHECK_EQ(heard(&shop)->pairs.pairs_count, 1);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_get, {.key = "k/"});
	CHECK_EQ(heard(&shop)->failed.err, ERR_NOT_FOUND);
	shop_destroy(&shop);
}

BOTH(a_lease_ends_with_its_time)
{

	grant(&shop, 1000);
	put(&shop, "a", STORE_CREATE, 0, ERR_OK);
	put(&shop, "b", STORE_CREATE, 0, ERR_OK);
	for (int i = 0; i < 5; i++) {
		run_ms(&shop, 900);
		puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_lease_keep,
			{.lease = shop.lease});
		CHECK_EQ(heard(&shop)->type, MSG_store_leased);
	}
	CHECK_EQ(range(&shop, "", "", 0)->pairs.pairs_count, 2);
	run_ms(&shop, 1010);
	CHECK_EQ(range(&shop, "", "", 0)->pairs.pairs_count, 0);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_lease_keep, {.lease = shop.lease});
	CHECK_EQ(heard(&shop)->failed.err, ERR_NOT_FOUND);
	put(&shop, "a", STORE_CREATE, 0, ERR_NOT_FOUND);
	grant(&shop, 1000);
	put(&shop, "a", STORE_CREATE, 0, ERR_OK);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_lease_revoke, {.lease = shop.lease});
	CHECK_EQ(heard(&shop)->type, MSG_store_done);
	CHECK_EQ(range(&shop, "", "", 0)->pairs.pairs_count, 0);
	shop_destroy(&shop);
}

BOTH(watchers_hear_of_changes_from_a_revision_on)
{
	struct puppet *puppet = puppet_at(shop.rt, shop.puppet);
	uint64_t first = put(&shop, "a/1", STORE_ANY, 0, ERR_OK);

	put(&shop, "b/1", STORE_ANY, 0, ERR_OK);
	put(&shop, "a/2", STORE_ANY, 0, ERR_OK);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_watch,
		{.prefix = "a/", .from_revision = first});
	run_ms(&shop, shop.region.model ? 40 : 2);
	CHECK_EQ(puppet->count, 3);
	CHECK_EQ(puppet->mail[0].type, MSG_store_watching);
	CHECK_STR(puppet->mail[1].event.pair.key, "a/1");
	CHECK_EQ(puppet->mail[1].event.revision, first);
	CHECK_STR(puppet->mail[2].event.pair.key, "a/2");
	/* the event comes before the answer to the change */
	puppet->count = 0;
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_delete, {.key = "a/1"});
	run_ms(&shop, shop.region.model ? 40 : 2);
	CHECK_EQ(puppet->count, 2);
	CHECK_EQ(puppet->mail[0].type, MSG_store_event);
	CHECK(puppet->mail[0].event.deleted);
	CHECK_EQ(puppet->mail[1].type, MSG_store_done);
	puppet->count = 0;
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_watch, {.off = true});
	CHECK_EQ(heard(&shop)->type, MSG_store_watching);
	put(&shop, "a/3", STORE_ANY, 0, ERR_OK);
	CHECK_EQ(puppet->count, 0);
	/* what is forgotten is said to be */
	for (int i = 0; i < 300; i++)
		put(&shop, "c", STORE_ANY, 0, ERR_OK);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_watch,
		{.prefix = "a/", .from_revision = first});
	CHECK(heard(&shop)->watching.compacted >= first);
	/* and what is beyond the next change: its numbers were another store's */
	first = put(&shop, "c", STORE_ANY, 0, ERR_OK);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_watch,
		{.prefix = "a/", .from_revision = first + 2});
	CHECK(heard(&shop)->watching.compacted > first);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_watch,
		{.prefix = "a/", .from_revision = first + 1});
	CHECK_EQ(heard(&shop)->watching.compacted, 0);
	shop_destroy(&shop);
}

TEST(it_is_bounded)
{
	struct shop shop = shop_create(false);
	char key[16];

	for (int i = 0; i < STORE_PAIRS_MAX; i++) {
		struct msg_store_put m = {0};

		snprintf(m.key, sizeof(m.key), "%d", i);
		puppet_ask_with(shop.rt, shop.puppet, OFFICE_STORE, store_put, &m);
		if (i % 500 == 499)
			node_run_ms(shop.node, 10);
	}
	node_run_ms(shop.node, 100);
	CHECK_EQ(heard(&shop)->type, MSG_store_done);
	put(&shop, "one more", STORE_ANY, 0, ERR_LIMIT);
	put(&shop, "7", STORE_ANY, 0, ERR_OK);
	delete (&shop, "7", STORE_ANY, 0, ERR_OK);
	put(&shop, "one more", STORE_ANY, 0, ERR_OK);
	for (int i = 0; i < STORE_LEASES_MAX; i++)
		grant(&shop, 60000);
	puppet_ask(shop.rt, shop.puppet, OFFICE_STORE, store_lease_grant, {.ttl_ms = 60000});
	CHECK_EQ(heard(&shop)->failed.err, ERR_LIMIT);
	snprintf(key, sizeof(key), "%d", STORE_PAIRS_MAX - 1);
	CHECK_EQ(range(&shop, key, "", 0)->pairs.pairs_count, 1);
	shop_destroy(&shop);
}

/* Written down and read again, the store is the same; damage is refused. */
TEST(it_is_restored)
{
	static const struct actor_type *const types[] = {&store_local_actor, NULL};
	static uint8_t bytes[1 << 16];
	struct shop shop = shop_create(false);
	struct writer out = writer_of(bytes, sizeof(bytes));

	grant(&shop, 5000);
	put(&shop, "b", STORE_ANY, 0, ERR_OK);
	uint64_t last = put(&shop, "a", STORE_ANY, 0, ERR_OK);
	CHECK_OK(runtime_encode_actor(
		runtime_find(shop.rt, (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_STORE), &out));
	struct runtime_options options = *runtime_options(shop.rt);
	runtime_destroy(&shop.node->process[0]);
	options.types = types;
	CHECK_OK(runtime_create(&options, &shop.rt));
	shop.node->process[0] = shop.rt;
	struct reader in = reader_of(bytes, writer_used(&out));
	CHECK_OK(runtime_restore_actor(shop.rt, &in));
	runtime_restore_end(shop.rt);
	shop.puppet = puppet_new(shop.rt, "client");
	const struct remembered *page = range(&shop, "", "", 0);
	CHECK_EQ(page->pairs.pairs_count, 2);
	CHECK_STR(page->pairs.pairs[0].key, "a");
	CHECK_EQ(page->pairs.revision, last);
	node_run_ms(shop.node, 5001);
	CHECK_EQ(range(&shop, "", "", 0)->pairs.pairs_count, 0);
	shop_destroy(&shop);
}

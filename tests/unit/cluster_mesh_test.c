/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh office over the built-in store: its own record, the others', what the transport says. The
 * transport is a note of what it was told (cluster_node.h).
 */
#include "tests/unit/cluster_node.h"
#include "tests/unit/successor.h"

enum { LEASE_MS = 10000, OTHER = 9 };

struct cluster {
	struct node *node;
	struct runtime *rt;
	struct addr puppet;
};

static void say_self(struct cluster *c, uint64_t boot, uint8_t key)
{
	struct msg_mesh_self self = {.boot = boot, .endpoint = "tcp://192.0.2.1:7400"};

	self.key.size = MESH_KEY_SIZE;
	memset(self.key.data, key, MESH_KEY_SIZE);
	CHECK(c->node->mesh_owner);
	runtime_mesh_self(c->rt, c->node->mesh_owner, &self);
}

static struct cluster cluster_create(void)
{
	struct cluster c = {.node = node_create()};

	c.rt = node_start(c.node, 0);
	CHECK_OK(actor_spawn_office(c.rt, OFFICE_STORE, &store_local_actor, NULL));
	CHECK_OK(actor_spawn_office(c.rt, OFFICE_MESH, &mesh_actor, NULL));
	c.puppet = puppet_new(c.rt, "client");
	say_self(&c, 1000, 1);
	node_run_ms(c.node, 20);
	return c;
}

static const struct remembered *heard(struct cluster *c)
{
	const struct remembered *last;

	node_run_ms(c->node, 3);
	last = puppet_last(c->rt, c->puppet);
	CHECK(last);
	return last;
}

static const struct msg_nodes_told *nodes(struct cluster *c, uint64_t after)
{
	puppet_ask(c->rt, c->puppet, OFFICE_MESH, nodes_ask, {.after = after});
	const struct remembered *told = heard(c);

	CHECK_EQ(told->type, MSG_nodes_told);
	return &told->nodes;
}

static const struct node_row *row_of(const struct msg_nodes_told *told, uint64_t node)
{
	for (int i = 0; i < told->nodes_count; i++)
		if (told->nodes[i].node == node)
			return &told->nodes[i];
	return NULL;
}

/* Whoever wrote it: the office, or somebody else into the same store. */
static bool stored(struct cluster *c, uint64_t node, struct node_record *record)
{
	struct msg_store_get get = {0};

	snprintf(get.key, sizeof(get.key), "node/%016llx", (unsigned long long)node);
	puppet_ask_with(c->rt, c->puppet, OFFICE_STORE, store_get, &get);
	const struct remembered *answer = heard(c);
	if (answer->type == MSG_failed)
		return false;
	struct reader in =
		reader_of(answer->pairs.pairs[0].value.data, answer->pairs.pairs[0].value.size);
	CHECK_OK(schema_decode(&schema_node_record, &in, record));
	return true;
}

static void write_record(struct cluster *c, uint64_t node, uint64_t boot, const char *name)
{
	struct node_record record = {.boot = boot, .tier = NODE_EDGE};
	struct msg_store_put put = {0};
	struct writer out = writer_of(put.value.data, sizeof(put.value.data));

	text_copy(record.name, sizeof(record.name), name);
	text_copy(record.endpoint, sizeof(record.endpoint), "tcp://192.0.2.9:7400");
	record.key.size = MESH_KEY_SIZE;
	CHECK_OK(schema_encode(&schema_node_record, &record, &out));
	put.value.size = (uint16_t)writer_used(&out);
	snprintf(put.key, sizeof(put.key), "node/%016llx", (unsigned long long)node);
	puppet_ask_with(c->rt, c->puppet, OFFICE_STORE, store_put, &put);
	CHECK_EQ(heard(c)->type, MSG_store_done);
}

static void remove_record(struct cluster *c, uint64_t node)
{
	struct msg_store_delete delete = {0};

	snprintf(delete.key, sizeof(delete.key), "node/%016llx", (unsigned long long)node);
	puppet_ask_with(c->rt, c->puppet, OFFICE_STORE, store_delete, &delete);
	CHECK_EQ(heard(c)->type, MSG_store_done);
}

static void say_state(struct cluster *c, uint64_t node, enum mesh_state state)
{
	runtime_mesh_node(c->rt, c->node->mesh_owner,
		&(struct msg_mesh_node){.node = node,
			.boot = 5,
			.state = (uint8_t)state,
			.name = "other",
			.version = "2",
			.rtt_us = 1500,
			.offset_us = -20});
	node_run_ms(c->node, 3);
}

static const struct node_hint *last_hint(const struct cluster *c)
{
	return c->node->hint_count ? &c->node->hints[(c->node->hint_count - 1) % NODE_HINTS] : NULL;
}

TEST(the_own_record_is_written_and_stays_under_its_lease)
{
	struct cluster c = cluster_create();
	struct node_record record;

	CHECK(stored(&c, NODE_ID, &record));
	CHECK_EQ(record.boot, 1000);
	CHECK_EQ(record.key.data[0], 1);
	CHECK_STR(record.endpoint, "tcp://192.0.2.1:7400");
	node_run_ms(c.node, 3 * LEASE_MS);
	CHECK(stored(&c, NODE_ID, &record));
	say_self(&c, 1000, 2); /* keys were rotated */
	node_run_ms(c.node, 10);
	CHECK(stored(&c, NODE_ID, &record));
	CHECK_EQ(record.key.data[0], 2);
	const struct msg_nodes_told *told = nodes(&c, 0);
	CHECK_EQ(told->nodes_count, 1);
	CHECK_EQ(told->nodes[0].state, MESH_UP);
	CHECK(told->nodes[0].in_store);
	node_destroy(c.node);
}

TEST(a_record_that_was_removed_comes_back)
{
	struct cluster c = cluster_create();
	struct node_record record;

	remove_record(&c, NODE_ID);
	node_run_ms(c.node, 2000);
	CHECK(stored(&c, NODE_ID, &record));
	write_record(&c, NODE_ID, 999, "an earlier start of mine");
	node_run_ms(c.node, 2000);
	CHECK(stored(&c, NODE_ID, &record));
	CHECK_EQ(record.boot, 1000);
	node_destroy(c.node);
}

TEST(a_later_start_of_our_id_displaces_us)
{
	struct cluster c = cluster_create();
	struct node_record record;

	write_record(&c, NODE_ID, 1001, "a copy of my data directory");
	node_run_ms(c.node, 3000);
	CHECK(stored(&c, NODE_ID, &record));
	CHECK_EQ(record.boot, 1001);
	CHECK(!nodes(&c, 0)->nodes[0].in_store);
	remove_record(&c, NODE_ID); /* it has gone */
	node_run_ms(c.node, 2000);
	CHECK(stored(&c, NODE_ID, &record));
	CHECK_EQ(record.boot, 1000);
	node_destroy(c.node);
}

TEST(others_are_learnt_followed_and_forgotten)
{
	struct cluster c = cluster_create();
	const struct node_row *row;

	write_record(&c, OTHER, 5, "other");
	node_run_ms(c.node, 10);
	CHECK_EQ(last_hint(&c)->node, OTHER);
	CHECK_STR(last_hint(&c)->endpoint, "tcp://192.0.2.9:7400");
	row = row_of(nodes(&c, 0), OTHER);
	CHECK(row && row->state == MESH_KNOWN && row->in_store && row->record.tier == NODE_EDGE);
	say_state(&c, OTHER, MESH_UP);
	row = row_of(nodes(&c, 0), OTHER);
	CHECK(row && row->state == MESH_UP && row->rtt_us == 1500 && row->offset_us == -20);
	CHECK_STR(row->record.version, "2");
	CHECK(row->since_us > 0);
	/* the store has forgotten it, but it lives */
	remove_record(&c, OTHER);
	CHECK(last_hint(&c)->forgotten);
	row = row_of(nodes(&c, 0), OTHER);
	CHECK(row && !row->in_store && row->state == MESH_UP);
	say_state(&c, OTHER, MESH_DOUBTFUL);
	CHECK(row_of(nodes(&c, 0), OTHER));
	say_state(&c, OTHER, MESH_DOWN);
	CHECK(!row_of(nodes(&c, 0), OTHER));
	node_destroy(c.node);
}

/* It had crashed and come back at another address before its silence was noticed: while it seemed to live,
 * what the store said was not believed. Of one without a record there is nothing to say. */
TEST(of_a_node_that_is_down_the_record_is_said_again)
{
	struct cluster c = cluster_create();
	int count;

	write_record(&c, OTHER, 5, "other");
	node_run_ms(c.node, 10);
	say_state(&c, OTHER, MESH_UP);
	say_state(&c, OTHER, MESH_DOUBTFUL);
	CHECK_EQ(c.node->hint_count, 1);
	for (int i = 0; i < 2; i++) { /* and once only, though it is told again and again */
		say_state(&c, OTHER, MESH_DOWN);
		CHECK_EQ(c.node->hint_count, 2);
	}
	CHECK_EQ(last_hint(&c)->node, OTHER);
	CHECK_STR(last_hint(&c)->endpoint, "tcp://192.0.2.9:7400");
	CHECK_EQ(nodes(&c, 0)->nodes_count, 2);
	say_state(&c, OTHER, MESH_UP);
	remove_record(&c, OTHER);
	count = c.node->hint_count;
	say_state(&c, OTHER, MESH_DOWN);
	CHECK_EQ(c.node->hint_count, count);
	node_destroy(c.node);
}

TEST(what_was_there_before_is_read)
{
	struct cluster c = {.node = node_create()};

	c.rt = node_start(c.node, 0);
	CHECK_OK(actor_spawn_office(c.rt, OFFICE_STORE, &store_local_actor, NULL));
	c.puppet = puppet_new(c.rt, "client");
	for (uint64_t node = 100; node < 300; node++) /* more than a page of either */
		write_record(&c, node, 5, "other");
	CHECK_OK(actor_spawn_office(c.rt, OFFICE_MESH, &mesh_actor, NULL));
	node_run_ms(c.node, 50);
	CHECK_EQ(c.node->hint_count, 200);
	const struct msg_nodes_told *told = nodes(&c, 0);
	uint64_t seen = 0, last = 0;

	for (;;) {
		for (int i = 0; i < told->nodes_count; i++) {
			CHECK(told->nodes[i].node > last);
			last = told->nodes[i].node;
			seen++;
		}
		if (!told->more)
			break;
		told = nodes(&c, last);
	}
	CHECK_EQ(seen, 200);
	node_destroy(c.node);
}

TEST(who_may_not_come_in_is_not_listed)
{
	struct cluster c = cluster_create();
	struct msg_store_put put = {.key = "node/zz"};

	c.node->hint_err = ERR_AUTH;
	write_record(&c, OTHER, 5, "stranger");
	CHECK_EQ(c.node->hint_count, 1);
	CHECK(!row_of(nodes(&c, 0), OTHER));
	/* nor what makes no sense */
	puppet_ask_with(c.rt, c.puppet, OFFICE_STORE, store_put, &put);
	heard(&c);
	text_copy(put.key, sizeof(put.key), "node/0000000000000011");
	put.value.size = 3;
	memcpy(put.value.data, "\xc1\xc1\xc1", 3);
	puppet_ask_with(c.rt, c.puppet, OFFICE_STORE, store_put, &put);
	heard(&c);
	CHECK_EQ(c.node->hint_count, 1);
	CHECK_EQ(nodes(&c, 0)->nodes_count, 1);
	node_destroy(c.node);
}

#define REVOKED "node/revoked/"
#define DIGITS	"77777777777777777777777777777777"

static bool is_in_store(struct cluster *c, const char *key)
{
	struct msg_store_get get = {0};

	text_copy(get.key, sizeof(get.key), key);
	puppet_ask_with(c->rt, c->puppet, OFFICE_STORE, store_get, &get);
	return heard(c)->type == MSG_store_pairs;
}

/* One that this node has revoked is told to the others, also again when somebody deletes it. */
TEST(keys_that_are_revoked_here_lie_in_the_store_for_good)
{
	struct cluster c = cluster_create();
	struct msg_mesh_revoked revoked = {.key.size = MESH_KEY_SIZE};
	struct msg_store_delete delete = {.key = REVOKED DIGITS DIGITS};

	memset(revoked.key.data, 0x77, MESH_KEY_SIZE);
	for (int i = 0; i < 2; i++)
		runtime_mesh_revoked(c.rt, c.node->mesh_owner, &revoked);
	node_run_ms(c.node, 20);
	CHECK(is_in_store(&c, delete.key));
	puppet_ask_with(c.rt, c.puppet, OFFICE_STORE, store_delete, &delete);
	CHECK_EQ(heard(&c)->type, MSG_store_done);
	node_run_ms(c.node, 2000);
	CHECK(is_in_store(&c, delete.key));
	CHECK(stored(&c, NODE_ID, &(struct node_record){0}));
	node_destroy(c.node);
}

TEST(keys_that_others_have_revoked_are_taken)
{
	static const char *const keys[] = {REVOKED DIGITS DIGITS, REVOKED DIGITS, REVOKED,
		REVOKED DIGITS "7777777777777777777777777777777g"};
	struct cluster c = cluster_create();
	struct msg_store_put put = {0};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		text_copy(put.key, sizeof(put.key), keys[i]);
		puppet_ask_with(c.rt, c.puppet, OFFICE_STORE, store_put, &put);
		CHECK_EQ(heard(&c)->type, MSG_store_done);
	}
	node_run_ms(c.node, 20);
	CHECK_EQ(c.node->revoked_count, 1);
	CHECK_EQ(c.node->revoked[0][31], 0x77);
	CHECK_EQ(nodes(&c, 0)->nodes_count, 1);
	/* its node is shown as such */
	say_state(&c, OTHER, MESH_REVOKED);
	const struct node_row *row = row_of(nodes(&c, 0), OTHER);
	CHECK(row && row->state == MESH_REVOKED);
	node_destroy(c.node);
}

/* Lease and nodes are asked for anew; what was counted stays. */
static void same_mesh(const void *before_, const void *now_)
{
	const struct mesh_office_state *before = before_, *now = now_;

	CHECK_EQ(before->nodes_count, 2);
	CHECK(before->lease && !now->lease);
	CHECK_EQ(now->nodes_count, 0);
	CHECK_EQ(now->written, before->written);
	CHECK_EQ(now->refused, before->refused);
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_MESH(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

TEST(it_comes_back_in_another_process)
{
	struct cluster c = cluster_create();

	write_record(&c, OTHER, 5, "other");
	CHECK_EQ(successor_run(&kit, c.rt, NULL, 0, 0), 1);
	successor_check_rows(&kit);
	node_destroy(c.node);
}

TEST(allocations_that_fail_are_only_late)
{
	for (size_t n = 1; n < 40; n++) {
		struct cluster c = cluster_create();
		struct node_record record;

		test_fail_allocation(n);
		say_self(&c, 1000, 2);
		say_state(&c, OTHER, MESH_UP);
		node_run_ms(c.node, 30);
		test_fail_allocation(0);
		say_self(&c, 1000, 3);
		node_run_ms(c.node, 6000);
		CHECK(stored(&c, NODE_ID, &record));
		CHECK_EQ(record.key.data[0], 3);
		node_destroy(c.node);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh office over etcd (a model) that loses what it knew: what it says to the others lies there
 * again, and what it believes of them is what lies there.
 */
#include "tests/unit/etcd_node.h"

#define BELOW	"/millrace/default/node/"
#define REVOKED BELOW "revoked/"

enum { OTHER = 9, LATER = 11, STARTED_MS = 1500, AWAY_MS = 3000, SETTLED_MS = 3000 };

struct land {
	struct region region;
	struct etcd_model *model;
	struct node *node;
	struct addr puppet;
};

static struct land land_create(void)
{
	struct land land = {.region = region_create(1, 5)};

	land.model = land.region.model;
	land.node = land.region.node[0];
	land.puppet = puppet_new(node_start(land.node, 0), "client");
	return land;
}

static void start(struct land *land)
{
	struct msg_mesh_self self = {.boot = 1000, .endpoint = "tcp://192.0.2.1:7400"};
	struct runtime *rt = land->node->process[0];

	CHECK_OK(actor_spawn_office(rt, OFFICE_STORE, &store_etcd_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_MESH, &mesh_actor, NULL));
	self.key.size = MESH_KEY_SIZE;
	runtime_mesh_self(rt, land->node->mesh_owner, &self);
	region_run_ms(&land->region, STARTED_MS);
}

static const char *key_of(uint64_t node, char key[MODEL_KEY])
{
	snprintf(key, MODEL_KEY, BELOW "%016" PRIx64, node);
	return key;
}

static bool lies_there(struct land *land, uint64_t node)
{
	char key[MODEL_KEY];

	return model_find(land->model, key_of(node, key));
}

static void write_record(struct land *land, uint64_t node)
{
	struct node_record record = {.boot = 5, .name = "other", .key.size = MESH_KEY_SIZE};
	uint8_t value[STORE_VALUE_MAX];
	struct writer out = writer_of(value, sizeof(value));
	char key[MODEL_KEY];

	CHECK_OK(schema_encode(&schema_node_record, &record, &out));
	model_put(land->model, key_of(node, key), value, writer_used(&out), 0);
	region_run_ms(&land->region, STARTED_MS);
}

static void revoke(struct land *land, uint8_t byte)
{
	struct msg_mesh_revoked revoked = {.key.size = MESH_KEY_SIZE};

	memset(revoked.key.data, byte, MESH_KEY_SIZE);
	runtime_mesh_revoked(land->node->process[0], land->node->mesh_owner, &revoked);
	region_run_ms(&land->region, STARTED_MS);
}

static bool is_revoked(struct land *land, uint8_t byte)
{
	char key[MODEL_KEY] = REVOKED;

	for (int i = 0; i < MESH_KEY_SIZE; i++)
		snprintf(key + strlen(key), 3, "%02x", byte);
	return model_find(land->model, key);
}

/* Whether the office believes that its record lies in the store. */
static bool is_known(struct land *land, uint64_t node)
{
	struct runtime *rt = land->node->process[0];
	const struct remembered *told;

	puppet_ask(rt, land->puppet, OFFICE_MESH, nodes_ask, {0});
	region_run_ms(&land->region, 3);
	told = puppet_last(rt, land->puppet);
	CHECK(told && told->type == MSG_nodes_told);
	for (int i = 0; i < told->nodes.nodes_count; i++)
		if (told->nodes.nodes[i].node == node)
			return told->nodes.nodes[i].in_store;
	return false;
}

static void go(struct land *land)
{
	land->model->gone = true;
	region_run_ms(&land->region, AWAY_MS);
}

static void come_back(struct land *land)
{
	land->model->gone = false;
	region_run_ms(&land->region, SETTLED_MS);
}

TEST(etcd_comes_back_empty)
{
	struct land land = land_create();

	start(&land);
	write_record(&land, OTHER);
	revoke(&land, 0x77);
	CHECK(is_revoked(&land, 0x77));
	CHECK(is_known(&land, OTHER));
	for (int i = 0; i < 2; i++) { /* the first interruption since its start, and another */
		go(&land);
		model_wipe(land.model);
		come_back(&land);
		CHECK(lies_there(&land, NODE_ID));
		CHECK(is_known(&land, NODE_ID));
		CHECK(is_revoked(&land, 0x77));
		CHECK(!is_known(&land, OTHER));
		write_record(&land, OTHER);
		CHECK(is_known(&land, OTHER));
	}
	region_destroy(&land.region);
}

/* Of before this node was, and of before its last change. */
TEST(etcd_comes_back_with_an_older_backup)
{
	struct land land = land_create();
	struct model_backup *before, *after;

	write_record(&land, OTHER);
	before = model_save(land.model);
	write_record(&land, LATER);
	start(&land);
	revoke(&land, 0x77);
	after = model_save(land.model);
	revoke(&land, 0x66);
	for (int i = 0; i < 2; i++) {
		CHECK(model_delete(land.model, BELOW "0000000000000009", false));
		region_run_ms(&land.region, STARTED_MS);
		CHECK(!is_known(&land, OTHER));
		CHECK(is_known(&land, LATER));
		go(&land);
		model_load(land.model, i ? after : before);
		come_back(&land);
		CHECK(lies_there(&land, NODE_ID));
		CHECK(is_revoked(&land, 0x77));
		CHECK(is_revoked(&land, 0x66));
		CHECK(is_known(&land, OTHER));
		CHECK_EQ(is_known(&land, LATER), i);
		write_record(&land, LATER);
	}
	free(before);
	free(after);
	region_destroy(&land.region);
}

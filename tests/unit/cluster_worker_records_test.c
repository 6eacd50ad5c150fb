/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store is to have of a node's workers (cluster/worker_records.h), and the mesh office that puts it
 * there, over etcd (a model).
 */
#include "cluster/worker_records.h"
#include "runtime/kernel.h"
#include "tests/unit/etcd_node.h"

#define BELOW "/millrace/default/node/"

enum { STARTED_MS = 1500, TOLD_MS = 2500, AWAY_MS = 3000, OTHER = 9 };

static struct process_page page;

static void worker(uint32_t index, enum process_state state, uint32_t incarnation)
{
	struct process_status *slot = &page.slot[process_slot(PROCESS_MEDIA, index)];

	atomic_store(&slot->state, state);
	atomic_store(&slot->incarnation, incarnation);
}

static void begin(uint32_t workers)
{
	memset(&page, 0, sizeof(page));
	atomic_store(&page.worker_count, workers);
	for (uint32_t i = 0; i < workers; i++)
		worker(i, PROCESS_READY, i + 1);
}

TEST(the_page_is_read_and_compared)
{
	struct worker_records now, before = {0};

	begin(2);
	worker_records_read(&now, &page);
	CHECK_EQ(now.there, 3);
	CHECK_STR(now.row[1].state, "ready");
	CHECK_EQ(worker_records_differ(&now, &before), 0);
	worker_records_copy(&before, &now, 0);
	CHECK_EQ(worker_records_differ(&now, &before), 1);
	worker_records_copy(&before, &now, 1);
	CHECK_EQ(worker_records_differ(&now, &before), -1);
	worker(1, PROCESS_READY, 7); /* its successor */
	worker_records_read(&now, &page);
	CHECK_EQ(worker_records_differ(&now, &before), 1);
	atomic_store(&page.worker_count, 1);
	worker(1, PROCESS_DRAINING, 7);
	worker_records_read(&now, &page);
	CHECK_EQ(now.there, 3);
	worker(1, PROCESS_DEAD, 7);
	worker_records_read(&now, &page);
	CHECK_EQ(now.there, 1);
	CHECK_EQ(worker_records_differ(&now, &before), 1);
}

TEST(keys)
{
	static const struct {
		const char *key;
		bool good;
		uint64_t node;
		int index;
	} rows[] = {
		{"node/00000000000000ab/worker/0",   true,	 0xab, 0 },
		{"node/00000000000000ab/worker/63",  true,  0xab, 63},
		{"node/00000000000000ab/worker/64",  false, 0,    0 },
		{"node/00000000000000ab/worker/",	  false, 0,    0 },
		{"node/00000000000000ab/worker/1x",  false, 0,    0 },
		{"node/00000000000000ab/worker/001", false, 0,    0 },
		{"node/00000000000000ab/workers/1",  false, 0,    0 },
		{"node/00000000000000ab",		  false, 0,    0 },
		{"node/ab/worker/1",		     false, 0,    0 },
		{"node/00000000000000abc/worker/1",  false, 0,    0 },
		{"nodes/0000000000000ab/worker/1",   false, 0,    0 },
		{"node",			     false, 0,	   0 },
		{"",				 false, 0,    0 },
	};
	char key[WORKER_KEY_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t node = 0;
		int index = 0;

		CHECK_EQ(worker_key_read(rows[i].key, &node, &index), rows[i].good);
		if (!rows[i].good)
			continue;
		CHECK_EQ(node, rows[i].node);
		CHECK_EQ(index, rows[i].index);
		worker_key_write(node, index, key);
		CHECK_STR(key, rows[i].key);
	}
}

/* ---- the office ---------------------------------------------------------------------------------- */

struct land {
	struct region region;
	struct etcd_model *model;
	struct node *node;
	struct addr puppet;
	struct process_env env;
};

static void start(struct land *land)
{
	struct msg_mesh_self self = {.boot = 1000, .endpoint = "tcp://192.0.2.1:7400"};
	struct runtime *rt;

	land->region = region_create(1, 5);
	land->model = land->region.model;
	land->node = land->region.node[0];
	rt = node_start(land->node, 0);
	land->env = (struct process_env){.page = &page, .node_id = NODE_ID};
	rt->options.env = &land->env;
	land->puppet = puppet_new(rt, "client");
	CHECK_OK(actor_spawn_office(rt, OFFICE_STORE, &store_etcd_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_MESH, &mesh_actor, NULL));
	self.key.size = MESH_KEY_SIZE;
	runtime_mesh_self(rt, land->node->mesh_owner, &self);
	region_run_ms(&land->region, STARTED_MS);
}

static const char *key_of(uint64_t node, int index, char key[MODEL_KEY])
{
	snprintf(key, MODEL_KEY, BELOW "%016" PRIx64 "/worker/%d", node, index);
	return key;
}

static bool lies_there(struct land *land, int index)
{
	char key[MODEL_KEY];

	return model_find(land->model, key_of(NODE_ID, index, key));
}

static struct node_row row_of(struct land *land, uint64_t node)
{
	struct runtime *rt = land->node->process[0];
	const struct remembered *told;

	puppet_ask(rt, land->puppet, OFFICE_MESH, nodes_ask, {0});
	region_run_ms(&land->region, 3);
	told = puppet_last(rt, land->puppet);
	CHECK(told && told->type == MSG_nodes_told);
	for (int i = 0; i < told->nodes.nodes_count; i++)
		if (told->nodes.nodes[i].node == node)
			return told->nodes.nodes[i];
	return (struct node_row){0};
}

TEST(workers_lie_in_the_store_under_the_nodes_lease_as_they_are)
{
	static struct land land;
	struct node_row row;
	char key[MODEL_KEY];

	begin(2);
	start(&land);
	region_run_ms(&land.region, TOLD_MS);
	CHECK(lies_there(&land, 0) && lies_there(&land, 1) && !lies_there(&land, 2));
	CHECK(model_find(land.model, key_of(NODE_ID, 1, key))->lease);
	row = row_of(&land, NODE_ID);
	CHECK_EQ(row.workers, 3);
	CHECK_EQ(row.ready, 3);
	worker(0, PROCESS_DEAD, 1);
	region_run_ms(&land.region, TOLD_MS);
	CHECK_EQ(row_of(&land, NODE_ID).ready, 2);
	worker(0, PROCESS_READY, 5);
	atomic_store(&page.worker_count, 1);
	worker(1, PROCESS_EMPTY, 0);
	region_run_ms(&land.region, TOLD_MS);
	CHECK(lies_there(&land, 0) && !lies_there(&land, 1));
	row = row_of(&land, NODE_ID);
	CHECK_EQ(row.workers, 1);
	CHECK_EQ(row.ready, 1);
	/* somebody deletes it, and then etcd forgets everything */
	CHECK(model_delete(land.model, key_of(NODE_ID, 0, key), false));
	region_run_ms(&land.region, TOLD_MS);
	CHECK(lies_there(&land, 0));
	land.model->gone = true;
	region_run_ms(&land.region, AWAY_MS);
	model_wipe(land.model);
	land.model->gone = false;
	region_run_ms(&land.region, AWAY_MS);
	CHECK(lies_there(&land, 0));
	CHECK_EQ(row_of(&land, NODE_ID).workers, 1);
	region_destroy(&land.region);
}

TEST(workers_of_others_are_counted_and_what_makes_no_sense_is_not)
{
	static struct land land;
	struct node_record record = {.boot = 5, .name = "other", .key.size = MESH_KEY_SIZE};
	struct worker_record ready = {.state = "ready", .incarnation = 1};
	uint8_t value[STORE_VALUE_MAX];
	struct writer out = writer_of(value, sizeof(value));
	char key[MODEL_KEY];

	begin(1);
	start(&land);
	CHECK_OK(schema_encode(&schema_node_record, &record, &out));
	model_put(land.model, BELOW "0000000000000009", value, writer_used(&out), 0);
	out = writer_of(value, sizeof(value));
	CHECK_OK(schema_encode(&schema_worker_record, &ready, &out));
	model_put(land.model, key_of(OTHER, 2, key), value, writer_used(&out), 0);
	model_put(land.model, key_of(OTHER, 3, key), "?", 1, 0);
	model_put(land.model, key_of(OTHER + 1, 0, key), value, writer_used(&out), 0);
	region_run_ms(&land.region, TOLD_MS);
	CHECK_EQ(row_of(&land, OTHER).workers, 4);
	CHECK_EQ(row_of(&land, OTHER).ready, 4);
	CHECK_EQ(row_of(&land, OTHER + 1).node, 0);
	CHECK(model_delete(land.model, key_of(OTHER, 2, key), false));
	region_run_ms(&land.region, TOLD_MS);
	CHECK_EQ(row_of(&land, OTHER).workers, 0);
	region_destroy(&land.region);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Who plans, over etcd (a model): leases that were granted in vain.
 */
#include "runtime/kernel.h"
#include "tests/unit/etcd_node.h"

#define KEY "/millrace/default/brain"

enum {
	OTHER = 9,
	ELECTED_MS = 1500,
	LEASE_OVER_MS = 5000,
};

struct land {
	struct region region;
	struct etcd_model *model;
	struct runtime *rt;
};

static struct land start(void)
{
	struct land land = {.region = region_create(1, 5)};

	land.model = land.region.model;
	land.rt = node_start(land.region.node[0], 0);
	CHECK_OK(actor_spawn_office(land.rt, OFFICE_STORE, &store_etcd_actor, NULL));
	region_run_ms(&land.region, 100);
	CHECK_OK(actor_spawn_office(land.rt, OFFICE_BRAIN, &brain_actor, NULL));
	return land;
}

static const struct brain_state *brain(struct land *land)
{
	const struct actor *actor = NULL;

	while ((actor = runtime_next_actor(land->rt, actor)))
		if (!strcmp(actor->type->name, "brain"))
			return actor_data((struct actor *)actor);
	fail_msg("no brain");
	return NULL;
}

static void run(struct land *land, int ms)
{
	region_run_ms(&land->region, ms);
}

TEST(who_has_run_in_vain_runs_again_though_his_lease_has_ended)
{
	struct land land = start();
	struct brain_value other = {.node = OTHER};
	uint8_t value[STORE_VALUE_MAX];
	struct writer out = writer_of(value, sizeof(value));

	CHECK_OK(schema_encode(&schema_brain_value, &other, &out));
	for (int i = 0; i < ELECTED_MS && !land.model->next_lease; i++)
		run(&land, 1);
	CHECK_EQ(land.model->next_lease, 1);
	CHECK(!model_find(land.model, KEY));
	model_put(land.model, KEY, value, writer_used(&out), 0);
	run(&land, LEASE_OVER_MS);
	CHECK_EQ(brain(&land)->elections, 0);
	CHECK_EQ(brain(&land)->holder, OTHER);
	CHECK(model_delete(land.model, KEY, false));
	run(&land, 2 * ELECTED_MS);
	CHECK_EQ(brain(&land)->elections, 1);
	CHECK_EQ(brain(&land)->holder, NODE_ID);
	region_destroy(&land.region);
}

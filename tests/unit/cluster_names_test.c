/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of several nodes over one etcd (a model): whose they are, through outages, restarts and lost
 * answers. At the end seeds: whatever happens, when etcd has been back for a while each name has one
 * owner, everybody says the same, and nobody believes otherwise.
 */
#include "cluster/directory_internal.h"
#include "tests/unit/etcd_node.h"

enum { STARTED_MS = 500, SETTLED_MS = 5000, LEASE_OVER_MS = 11000 };

/* ---- owners: they do as streams do ------------------------------------------------------------- */

enum { KEEPERS = 4, NAMES = 5, AGAIN_MS = 200 };

struct keeper {
	struct name_row state; /* name, epoch, start_us of what it has or wants */
	bool wants, owns;
	uint64_t over; /* epoch that was yielded to it */
	uint64_t request;
	unsigned granted, refused, lost;
	struct addr winner; /* who it lost the name to */
};

static void keeper_claim(struct actor *self, struct keeper *s)
{
	struct msg_name_claim claim = {
		.epoch = s->state.epoch, .start_us = s->state.start_us, .over = s->over};

	memcpy(claim.name, s->state.name, sizeof(claim.name));
	s->request = actor_request_mail(self, actor_office(self, OFFICE_DIRECTORY), 3000,
		MSG_name_claim, &schema_name_claim, &claim);
}

static void keeper_tell_release(struct actor *self, const struct keeper *s)
{
	struct msg_name_release release = {.epoch = s->state.epoch};

	memcpy(release.name, s->state.name, sizeof(release.name));
	actor_send_mail(self, actor_office(self, OFFICE_DIRECTORY), MSG_name_release,
		&schema_name_release, &release);
}

static void keeper_lose(struct keeper *s)
{
	s->wants = s->owns = false;
	s->request = 0;
	s->state.epoch = 0;
	s->state.start_us = 0;
}

ON(keeper, name_granted)
{
	if (mail->request != s->request)
		return ERR_OK;
	s->request = 0;
	s->owns = true;
	s->granted++;
	s->state.epoch = m->epoch;
	s->state.start_us = m->start_us;
	return ERR_OK;
}

ON(keeper, name_lost)
{
	if (!s->owns || strcmp(m->name, s->state.name) || m->epoch < s->state.epoch)
		return ERR_OK;
	s->lost++;
	s->winner = m->owner;
	keeper_lose(s);
	return ERR_OK;
}

ON(keeper, failed)
{
	if (mail->request != s->request || !s->request)
		return ERR_OK;
	s->request = 0;
	s->refused += m->err == ERR_BUSY;
	if (s->owns) { /* a renewal: until somebody says otherwise it is ours */
		actor_timer_in_ms(self, 0, AGAIN_MS);
	} else {
		keeper_tell_release(self, s); /* should it be granted after all */
		keeper_lose(s);
	}
	return ERR_OK;
}

/* A control process is here: it may know nothing of us. */
ON(keeper, peer)
{
	if (m->up && m->role == PROCESS_CONTROL && s->owns)
		keeper_claim(self, s);
	return ERR_OK;
}

static void keeper_timer(struct actor *self, void *data, unsigned timer)
{
	struct keeper *s = data;

	(void)timer;
	if (s->owns && !s->request)
		keeper_claim(self, s);
}

static enum err keeper_init(struct actor *self, void *data, const void *args)
{
	(void)data, (void)args;
	actor_watch_peers(self);
	return ERR_OK;
}

static const struct handler keeper_handlers[] = {
	HANDLER(keeper, name_granted, 0),
	HANDLER(keeper, name_lost, 0),
	HANDLER(keeper, failed, 0),
	HANDLER(keeper, peer, 0),
};

static const struct actor_type keeper_actor = {
	.name = "keeper",
	.size = sizeof(struct keeper),
	.state = &schema_name_row,
	HANDLER_TABLE(keeper_handlers),
	.init = keeper_init,
	.timer = keeper_timer,
};

static void keeper_begin(struct actor *self, void *data, void *context)
{
	struct keeper *s = data;

	if (s->wants)
		return;
	s->wants = true;
	text_copy(s->state.name, sizeof(s->state.name), context);
	keeper_claim(self, s);
}

static void keeper_release(struct actor *self, void *data, void *context)
{
	struct keeper *s = data;

	(void)context;
	if (!s->owns)
		return;
	keeper_tell_release(self, s);
	keeper_lose(s);
}

static void keeper_look(struct actor *self, void *data, void *context)
{
	(void)self;
	*(struct keeper **)context = data;
}

/* ---- two nodes --------------------------------------------------------------------------------- */

struct land {
	struct region region;
	struct addr keeper[REGION_NODES][KEEPERS];
};

static void start_control(struct land *land, int node)
{
	struct runtime *rt = node_start(land->region.node[node], 0);

	CHECK_OK(actor_spawn_office(rt, OFFICE_STORE, &store_etcd_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_DIRECTORY, &directory_actor, NULL));
}

static struct land land_create(uint64_t seed)
{
	struct land land = {.region = region_create(2, seed)};

	for (int i = 0; i < land.region.nodes; i++) {
		start_control(&land, i);
		struct runtime *worker = node_start(land.region.node[i], 1);

		for (int k = 0; k < KEEPERS; k++)
			CHECK_OK(
				actor_spawn(worker, NULL, &keeper_actor, NULL, &land.keeper[i][k]));
	}
	region_run_ms(&land.region, STARTED_MS);
	return land;
}

static void land_destroy(struct land *land)
{
	region_destroy(&land->region);
}

static void run(struct land *land, int ms)
{
	region_run_ms(&land->region, ms);
}

static struct keeper *keeper(struct land *land, int node, int k)
{
	struct keeper *s = NULL;

	CHECK(actor_call(land->region.node[node]->process[1], land->keeper[node][k], &keeper_actor,
		keeper_look, &s));
	return s;
}

static void claim(struct land *land, int node, int k, const char *name)
{
	CHECK(actor_call(land->region.node[node]->process[1], land->keeper[node][k], &keeper_actor,
		keeper_begin, (void *)name));
}

static void release(struct land *land, int node, int k)
{
	CHECK(actor_call(land->region.node[node]->process[1], land->keeper[node][k], &keeper_actor,
		keeper_release, NULL));
}

/* What etcd has under a name. */
static bool stored(struct land *land, const char *name, struct name_value *value)
{
	char key[MODEL_KEY];
	const struct model_pair *pair;

	snprintf(key, sizeof(key), "/millrace/default/name/%s", name);
	pair = model_find(land->region.model, key);
	if (!pair)
		return false;
	struct reader in = reader_of(pair->value, pair->size);

	CHECK_OK(schema_decode(&schema_name_value, &in, value));
	if (!value->epoch)
		value->epoch = pair->created;
	return true;
}

static bool stored_for(struct land *land, const char *name, int node, int k)
{
	struct name_value value;

	return stored(land, name, &value) && addr_equal(value.owner, land->keeper[node][k]) &&
	       value.epoch == keeper(land, node, k)->state.epoch;
}

static void directory_look(struct actor *self, void *data, void *context)
{
	(void)self;
	*(struct directory **)context = data;
}

static struct directory *directory(struct land *land, int node)
{
	struct addr addr = {.node = (uint64_t)(NODE_ID + node),
		.id = (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_DIRECTORY};
	struct directory *s = NULL;

	CHECK(actor_call(
		land->region.node[node]->process[0], addr, &directory_actor, directory_look, &s));
	return s;
}

static bool knows(struct land *land, int node, const char *name, struct addr owner)
{
	const struct owned *row = directory_find_kept(directory(land, node), name);

	return row && addr_equal(row->owner, owner);
}

/* ---- rows -------------------------------------------------------------------------------------- */

TEST(a_name_has_one_owner_in_all_nodes)
{
	struct land land = land_create(1);
	uint64_t epoch;

	claim(&land, 0, 0, "stream/a/b");
	run(&land, 50);
	CHECK(keeper(&land, 0, 0)->owns && stored_for(&land, "stream/a/b", 0, 0));
	epoch = keeper(&land, 0, 0)->state.epoch;
	CHECK(knows(&land, 1, "stream/a/b", land.keeper[0][0]));
	claim(&land, 1, 0, "stream/a/b");
	run(&land, 50);
	CHECK(!keeper(&land, 1, 0)->owns);
	CHECK_EQ(keeper(&land, 1, 0)->refused, 1);
	release(&land, 0, 0);
	run(&land, 50);
	CHECK(!directory_find(directory(&land, 1), "stream/a/b"));
	claim(&land, 1, 0, "stream/a/b");
	run(&land, 50);
	CHECK(keeper(&land, 1, 0)->owns && keeper(&land, 1, 0)->state.epoch > epoch);
	/* a process or two of one node that end are nothing to the other */
	region_kill(&land.region, 0, 1);
	run(&land, LEASE_OVER_MS);
	CHECK(stored_for(&land, "stream/a/b", 1, 0));
	land_destroy(&land);
}

TEST(both_claim_at_once)
{
	for (uint64_t seed = 1; seed < 20; seed++) {
		struct land land = land_create(seed);

		land.region.model->slow_us = 20000;
		claim(&land, 0, 0, "stream/a/b");
		claim(&land, 1, 0, "stream/a/b");
		run(&land, 300);
		CHECK_EQ(keeper(&land, 0, 0)->owns + keeper(&land, 1, 0)->owns, 1);
		CHECK_EQ(keeper(&land, 0, 0)->refused + keeper(&land, 1, 0)->refused, 1);
		CHECK(stored_for(&land, "stream/a/b", keeper(&land, 1, 0)->owns, 0));
		land_destroy(&land);
	}
}

static void claim_over(struct land *land, int node, int k, const char *name, uint64_t epoch)
{
	keeper(land, node, k)->over = epoch;
	claim(land, node, k, name);
}

/* Rows: etcd is there, or gone. Whoever is yielded a name gets it, in a higher epoch; who comes with what
 * was yielded before does not. */
TEST(a_name_is_claimed_over_an_epoch_that_was_yielded)
{
	for (int gone = 0; gone < 2; gone++) {
		struct land land = land_create((uint64_t)gone + 30);
		struct etcd_model *model = land.region.model;
		uint64_t epoch;

		claim(&land, 0, 0, "stream/a/b");
		run(&land, 50);
		epoch = keeper(&land, 0, 0)->state.epoch;
		model->gone = gone;
		run(&land, 3000);
		claim_over(&land, 1, 0, "stream/a/b", epoch - 1);
		run(&land, 50);
		CHECK_EQ(keeper(&land, 1, 0)->refused, 1);
		claim_over(&land, 1, 1, "stream/a/b", epoch);
		run(&land, 50);
		CHECK(keeper(&land, 1, 1)->owns && keeper(&land, 1, 1)->state.epoch > epoch);
		CHECK(knows(&land, 1, "stream/a/b", land.keeper[1][1]));
		claim_over(&land, 1, 2, "stream/a/b", epoch);
		run(&land, 50);
		CHECK_EQ(keeper(&land, 1, 2)->refused, 1);
		CHECK_EQ(keeper(&land, 0, 0)->lost, !gone);
		model->gone = false;
		run(&land, SETTLED_MS);
		CHECK_EQ(keeper(&land, 0, 0)->lost, 1);
		CHECK(addr_equal(keeper(&land, 0, 0)->winner, land.keeper[1][1]));
		CHECK(stored_for(&land, "stream/a/b", 1, 1));
		CHECK(knows(&land, 0, "stream/a/b", land.keeper[1][1]));
		CHECK_EQ(directory(&land, 1)->st.unsettled, 0);
		land_destroy(&land);
	}
}

TEST(of_two_who_are_yielded_a_name_one_gets_it)
{
	for (uint64_t seed = 1; seed < 20; seed++) {
		struct land land = land_create(seed);
		uint64_t epoch;

		claim(&land, 0, 0, "stream/a/b");
		run(&land, 50);
		epoch = keeper(&land, 0, 0)->state.epoch;
		land.region.model->slow_us = 20000;
		claim_over(&land, 0, 1, "stream/a/b", epoch);
		claim_over(&land, 1, 1, "stream/a/b", epoch);
		run(&land, 300);
		CHECK_EQ(keeper(&land, 0, 1)->owns + keeper(&land, 1, 1)->owns, 1);
		CHECK_EQ(keeper(&land, 0, 1)->refused + keeper(&land, 1, 1)->refused, 1);
		CHECK(stored_for(&land, "stream/a/b", keeper(&land, 1, 1)->owns, 1));
		land_destroy(&land);
	}
}

/* etcd is gone, or silent: names go on, new ones are granted, and in the end it has them all. */
TEST(names_through_an_outage)
{
	for (int row = 0; row < 8; row++) {
		struct land land = land_create((uint64_t)row);
		struct etcd_model *model = land.region.model;
		bool silent = row & 1, wiped = row & 2;
		int outage_ms = row & 4 ? 2 * LEASE_OVER_MS : 9000;

		claim(&land, 0, 0, "stream/a/before");
		claim(&land, 0, 1, "stream/a/released");
		run(&land, 50);
		CHECK(stored_for(&land, "stream/a/before", 0, 0));
		model->gone = !silent;
		model->silent = silent;
		run(&land, 8200);
		CHECK(directory(&land, 0)->st.store_down);
		claim(&land, 0, 2, "stream/a/during");
		claim(&land, 0, 3, "stream/a/before");
		release(&land, 0, 1);
		run(&land, 20);
		CHECK(keeper(&land, 0, 2)->owns);
		CHECK(keeper(&land, 0, 2)->state.epoch > keeper(&land, 0, 0)->state.epoch);
		CHECK_EQ(keeper(&land, 0, 3)->refused, 1);
		CHECK(!directory_find_kept(directory(&land, 0), "stream/a/released"));
		run(&land, outage_ms - 8220);
		CHECK(keeper(&land, 0, 0)->owns && keeper(&land, 0, 2)->owns);
		if (wiped)
			model_wipe(model);
		model->gone = model->silent = false;
		run(&land, SETTLED_MS);
		CHECK(stored_for(&land, "stream/a/before", 0, 0));
		CHECK(stored_for(&land, "stream/a/during", 0, 2));
		CHECK(knows(&land, 1, "stream/a/before", land.keeper[0][0]));
		CHECK(knows(&land, 1, "stream/a/during", land.keeper[0][2]));
		CHECK(!directory_find(directory(&land, 1), "stream/a/released"));
		CHECK_EQ(directory(&land, 0)->st.unsettled, 0);
		CHECK_EQ(keeper(&land, 0, 0)->lost + keeper(&land, 0, 2)->lost, 0);
		land_destroy(&land);
	}
}

/* Cut in two: both have taken a name. When all is one again the later one keeps it. */
TEST(of_two_owners_one_stays)
{
	for (int row = 0; row < 4; row++) {
		struct land land = land_create((uint64_t)row + 50);
		struct etcd_model *model = land.region.model;
		int first = row & 1, winner = !first;

		model->gone = true;
		run(&land, 3000);
		claim(&land, first, 0, "stream/a/b");
		run(&land, 1000);
		claim(&land, !first, 0, "stream/a/b");
		run(&land, row & 2 ? LEASE_OVER_MS : 100);
		CHECK(keeper(&land, 0, 0)->owns && keeper(&land, 1, 0)->owns);
		model->gone = false;
		run(&land, SETTLED_MS);
		CHECK(stored_for(&land, "stream/a/b", winner, 0));
		CHECK(keeper(&land, winner, 0)->owns && !keeper(&land, first, 0)->owns);
		CHECK_EQ(keeper(&land, first, 0)->lost, 1);
		CHECK(addr_equal(keeper(&land, first, 0)->winner, land.keeper[winner][0]));
		CHECK(knows(&land, first, "stream/a/b", land.keeper[winner][0]));
		land_destroy(&land);
	}
}

/* A new control process: the names stay where they are, with etcd there or not. */
TEST(a_control_process_is_replaced)
{
	for (int row = 0; row < 2; row++) {
		struct land land = land_create((uint64_t)row + 70);
		struct etcd_model *model = land.region.model;

		claim(&land, 0, 0, "stream/a/b");
		run(&land, 50);
		model->gone = row;
		run(&land, 4000);
		region_kill(&land.region, 0, 0);
		run(&land, 300);
		start_control(&land, 0);
		run(&land, 4000);
		CHECK(keeper(&land, 0, 0)->owns && !keeper(&land, 0, 0)->request);
		claim(&land, 0, 1, "stream/a/b");
		claim(&land, 0, 2, "stream/a/c");
		run(&land, 100);
		CHECK_EQ(keeper(&land, 0, 1)->refused, 1);
		CHECK(keeper(&land, 0, 2)->owns);
		model->gone = false;
		/* the leases of the one before end; what lay under them does not */
		run(&land, 2 * LEASE_OVER_MS);
		CHECK(stored_for(&land, "stream/a/b", 0, 0));
		CHECK(stored_for(&land, "stream/a/c", 0, 2));
		CHECK_EQ(keeper(&land, 0, 0)->lost, 0);
		land_destroy(&land);
	}
}

TEST(a_worker_dies_while_etcd_is_gone)
{
	struct land land = land_create(80);

	claim(&land, 0, 0, "stream/a/b");
	run(&land, 50);
	land.region.model->gone = true;
	run(&land, 3500);
	claim(&land, 0, 1, "stream/a/c");
	run(&land, 50);
	region_kill(&land.region, 0, 1);
	run(&land, 100);
	CHECK(!directory_find_kept(directory(&land, 0), "stream/a/b"));
	CHECK(!directory_find_kept(directory(&land, 0), "stream/a/c"));
	land.region.model->gone = false;
	run(&land, SETTLED_MS);
	CHECK(!directory_find(directory(&land, 1), "stream/a/b"));
	claim(&land, 1, 0, "stream/a/b");
	run(&land, 50);
	CHECK(stored_for(&land, "stream/a/b", 1, 0));
	land_destroy(&land);
}

/* The mesh calls a node lost: its names are free for others at once, not when its lease ends. */
TEST(names_of_a_lost_node)
{
	struct land land = land_create(90);
	struct runtime *control = land.region.node[1]->process[0];
	uint64_t epoch;

	claim(&land, 0, 0, "stream/a/b");
	run(&land, 50);
	epoch = keeper(&land, 0, 0)->state.epoch;
	/* one that was never reached is not lost: perhaps it is only we who cannot */
	runtime_node_down(control, NODE_ID);
	run(&land, 5);
	CHECK(knows(&land, 1, "stream/a/b", land.keeper[0][0]));
	CHECK_OK(runtime_node_up(control, NODE_ID, 5));
	run(&land, 5);
	runtime_node_down(control, NODE_ID);
	run(&land, 5);
	CHECK(!directory_find_kept(directory(&land, 1), "stream/a/b"));
	claim(&land, 1, 0, "stream/a/b");
	run(&land, 50);
	CHECK(keeper(&land, 1, 0)->owns && keeper(&land, 1, 0)->state.epoch > epoch);
	/* it was only we who did not see it */
	CHECK_EQ(keeper(&land, 0, 0)->lost, 1);
	CHECK(knows(&land, 0, "stream/a/b", land.keeper[1][0]));
	CHECK_OK(runtime_node_up(control, NODE_ID, 6));
	run(&land, 5);
	CHECK(directory(&land, 1)->node_count == 1 && !directory(&land, 1)->nodes[0].lost);
	land_destroy(&land);
}

/* ---- seeds ------------------------------------------------------------------------------------- */

static const char *const names[NAMES] = {
	"stream/s/a", "stream/s/b", "stream/s/c", "stream/s/d", "stream/s/e"};

static void misfortune(struct land *land, struct rng *rng)
{
	struct etcd_model *model = land->region.model;
	int node = (int)rng_between(rng, 0, 1);

	switch (rng_between(rng, 0, 9)) {
	case 0: model->gone = true; break;
	case 1: model->silent = true; break;
	case 2:
	case 3: model->gone = model->silent = false; break;
	case 4:
		if (model->gone)
			model_wipe(model);
		break;
	case 5: model_compact(model); break;
	case 6: model->lost_ppm = (uint32_t)rng_between(rng, 0, 1) * 300000; break;
	case 7: model->slow_us = rng_between(rng, 0, 1) * 100000; break;
	case 8: model->tokens++; break;
	default:
		if (land->region.node[node]->process[0])
			region_kill(&land->region, node, 0);
		else
			start_control(land, node);
	}
}

static void check_quiet(struct land *land, uint64_t seed)
{
	for (int n = 0; n < NAMES; n++) {
		struct name_value value = {0};
		bool there = stored(land, names[n], &value);
		int owners = 0;

		for (int node = 0; node < 2; node++) {
			for (int k = 0; k < KEEPERS; k++) {
				const struct keeper *s = keeper(land, node, k);

				if (!s->owns || strcmp(s->state.name, names[n]))
					continue;
				owners++;
				if (!there || !addr_equal(value.owner, land->keeper[node][k]) ||
					value.epoch != s->state.epoch)
					fail_msg("seed %" PRIu64
						 ": node %d keeper %d believes to own %s",
						seed, node, k, names[n]);
			}
			if (there != (directory_find(directory(land, node), names[n]) != NULL) ||
				(there && !knows(land, node, names[n], value.owner)))
				fail_msg("seed %" PRIu64 ": node %d knows another owner of %s",
					seed, node, names[n]);
		}
		if (owners != there)
			fail_msg("seed %" PRIu64 ": %s has %d owners, and is %sin etcd", seed,
				names[n], owners, there ? "" : "not ");
	}
}

static void run_seed(uint64_t seed)
{
	struct land land = land_create(seed);
	struct rng rng = rng_of(seed * 977);

	for (int step = 0; step < 60; step++) {
		int node = (int)rng_between(&rng, 0, 1), k = (int)rng_between(&rng, 0, KEEPERS - 1);

		if (rng_chance_ppm(&rng, 500000))
			claim(&land, node, k, names[rng_between(&rng, 0, NAMES - 1)]);
		else if (rng_chance_ppm(&rng, 500000))
			release(&land, node, k);
		if (rng_chance_ppm(&rng, 300000))
			misfortune(&land, &rng);
		run(&land, (int)rng_between(
				   &rng, 1, rng_chance_ppm(&rng, 50000) ? LEASE_OVER_MS : 600));
	}
	land.region.model->gone = land.region.model->silent = false;
	land.region.model->lost_ppm = 0;
	land.region.model->slow_us = 0;
	for (int node = 0; node < 2; node++)
		if (!land.region.node[node]->process[0])
			start_control(&land, node);
	/* what lies under leases of control processes that are no more ends with these */
	run(&land, LEASE_OVER_MS + SETTLED_MS);
	check_quiet(&land, seed);
	land_destroy(&land);
}

TEST(whatever_happens_each_name_has_one_owner_in_the_end)
{
	const char *one = getenv("MILLRACE_TEST_SEED");
	int seeds = test_rounds(8);

	if (one) {
		run_seed(strtoull(one, NULL, 10));
		return;
	}
	for (int seed = 1; seed <= seeds; seed++)
		run_seed((uint64_t)seed);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Brains and routes of a cluster (tests/unit/cluster_land.h), then faults by seed: links, nodes, the brain,
 * the store.
 */
#include "cluster/brain.h"
#include "tests/unit/cluster_land.h"
#include "tests/unit/successor.h"

/* ---- what should be ------------------------------------------------------------------------------ */

static uint32_t true_weight(unsigned from, unsigned to)
{
	const struct truth *link = &land->link[from][to];

	return link->rtt_us && link->up && is_alive(from) && is_alive(to) ? link->rtt_us / 2
									  : GRAPH_NO_EDGE;
}

static uint32_t true_way_weight(unsigned from, unsigned to, uint64_t far, uint64_t near)
{
	unsigned at = from;
	uint32_t weight = 0;

	for (int i = 0; i < 2; i++) {
		uint64_t relay = i ? near : far;

		if (!relay)
			continue;
		weight += true_weight(at, node_of(relay));
		at = node_of(relay);
	}
	weight += true_weight(at, to);
	return weight < GRAPH_NO_EDGE ? weight : GRAPH_NO_EDGE;
}

static uint32_t best_weight(unsigned from, unsigned to)
{
	uint32_t best = true_way_weight(from, to, 0, 0);

	for (unsigned i = 0; i < NODES; i++) {
		for (unsigned j = 0; j < NODES; j++) {
			uint32_t weight;

			if (!is_core(i) || !is_core(j) || i == from || i == to || j == from ||
				j == to)
				continue;
			weight = true_way_weight(from, to, i == j ? 0 : id_of(i), id_of(j));
			best = weight < best ? weight : best;
		}
	}
	return best;
}

static void check_best(void)
{
	for (unsigned to = 0; to < NODES; to++) {
		for (unsigned from = 0; from < NODES; from++) {
			uint32_t best, most, weight;
			const struct msg_route *route;

			if (to == from || !is_alive(to) || !is_alive(from))
				continue;
			route = &watcher_of(to)->told[from];
			best = best_weight(from, to);
			if (best == GRAPH_NO_EDGE)
				continue;
			weight = true_way_weight(from, to, route->ways[0].far, route->ways[0].near);
			/* what stays though there is better, and what of a weight is not told */
			most = best + (best / 4 > 8000 ? best / 4 : 8000);
			if (weight > most)
				fail_msg("%u to %u: over %llx %llx weighs %u, best %u%s", from, to,
					(unsigned long long)route->ways[0].far,
					(unsigned long long)route->ways[0].near, weight, best,
					route->planned ? "" : " (not planned)");
		}
	}
}

/* The table of each living node has a row for each other one. */
static void check_tables(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		const struct routes_state *routes;

		if (!is_alive(i))
			continue;
		for (struct actor *actor = runtime_next_actor(land->node[i].rt, NULL); actor;
			actor = runtime_next_actor(land->node[i].rt, actor)) {
			if (strcmp(actor->type->name, "routes"))
				continue;
			routes = actor_data(actor);
			CHECK_EQ(routes->rows, NODES - 1);
		}
	}
}

static unsigned the_brain(void)
{
	struct brain_value value = {0};
	struct reader in = reader_of(land->value, land->value_size);

	CHECK(land->created);
	CHECK_OK(schema_decode(&schema_brain_value, &in, &value));
	return node_of(value.node);
}

struct order {
	enum office office;
	uint16_t type;
	const struct schema *schema;
	const void *message;
};

static void obey(struct actor *self, void *data, void *context)
{
	const struct order *order = context;

	(void)data;
	actor_request_mail(self, actor_office(self, order->office), 1000, order->type,
		order->schema, order->message);
}

static void ask(unsigned node, struct order order)
{
	CHECK(actor_call(land->node[node].rt, land->node[node].watcher, &route_watch_test_actor,
		obey, &order));
	run_ms(50);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

/* All cores know each other, an edge the cores beside it; light takes 10 ms a number. */
static void usual_links(void)
{
	for (unsigned a = 0; a < NODES; a++)
		for (unsigned b = a + 1; b < NODES; b++)
			if ((is_core(a) && is_core(b)) || (b - a == 1 && b < NODES))
				set_link(a, b, (b - a) * 10000);
}

TEST(every_pair_has_its_way_soon_after_the_start)
{
	static const char nothing; /* a message without fields */

	land_create(1);
	usual_links();
	land_start();
	run_ms(8000);
	check_best();
	check_tables();
	/* anybody can ask, though only one knows */
	for (unsigned i = 0; i < NODES; i += 9) {
		ask(i, (struct order){
			       OFFICE_BRAIN, MSG_brain_query, &schema_brain_query, &nothing});
		CHECK_EQ(watcher_of(i)->status.node, id_of(the_brain()));
		CHECK_EQ(watcher_of(i)->status.nodes, NODES);
		CHECK_STR(watcher_of(i)->status.phase, "planning");
		CHECK(!watcher_of(i)->status.behind);
		ask(i, (struct order){
			       OFFICE_BRAIN, MSG_path_query, &schema_path_query,
			       &(struct msg_path_query){.from = "n1", .to = "79"}
		 });
		CHECK_STR(watcher_of(i)->explained.to, "n9");
		CHECK_EQ(watcher_of(i)->explained.candidates_count, 2);
		CHECK_EQ(watcher_of(i)->explained.candidates[0].place, 1);
		CHECK_EQ(watcher_of(i)->explained.candidates[0].hops_count, 3);
		CHECK_STR(watcher_of(i)->explained.candidates[0].hops[0].from, "n1");
	}
	land_destroy();
}

static const char *console(unsigned node, const char *command)
{
	struct msg_console_query query = {
		.command = {command, (uint32_t)strlen(command)}
	       };

	watcher_of(node)->console[0] = 0;
	ask(node, (struct order){OFFICE_CONSOLE, MSG_console_query, &schema_console_query, &query});
	return watcher_of(node)->console;
}

TEST(the_console_of_any_node_tells_of_paths)
{
	static const struct {
		const char *command;
		const char *says[3];
	} rows[] = {
		{"path n1 n9",      {"ok ", "\"way\":\"n1 > n2 > n8 > n9\"", "\"place\":1"} },
		{"path n1 79",      {"ok ", "\"why\":\"shares a relay\"", "\"rtt_ms\":60.0"}},
		{"path n1 n1",      {"ok ", "\"result\":[]", ""}				   },
		{"path n1 nowhere", {"not_found", "no such node", ""}			     },
		{"path n1",	    {"format", "expected: path FROM TO", ""}		    },
		{"path n1 n2 n3",	  {"format", "expected: path FROM TO", ""}		  },
		{"brain",		  {"ok ", "\"phase\":\"planning\"", "\"nodes\":10"}	   },
		{"brain now",	      {"format", "no arguments", ""}			    },
	};

	land_create(5);
	usual_links();
	land_start();
	run_ms(8000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *answer = console((unsigned)i, rows[i].command);

		for (int j = 0; j < 3; j++)
			if (!strstr(answer, rows[i].says[j]))
				fail_msg("%s: no %s in %s", rows[i].command, rows[i].says[j],
					answer);
	}
	land_destroy();
}

TEST(a_link_in_trouble_is_left_at_once_and_returned_to_after_a_while)
{
	land_create(2);
	set_link(0, 1, 10000);
	set_link(0, 2, 20000);
	set_link(2, 1, 20000);
	land_start();
	run_ms(8000);
	CHECK_EQ(watcher_of(1)->told[0].ways[0].near, 0);
	CHECK_EQ(watcher_of(1)->told[0].ways[1].near, id_of(2));
	land->link[0][1].up = land->link[1][0].up = false;
	run_ms(LINKS_MS + 20); /* the next report of the link */
	CHECK_EQ(watcher_of(1)->told[0].ways[0].near, id_of(2));
	CHECK(watcher_of(1)->told[0].ways[0].state == LINK_UP);
	run_ms(3000); /* meanwhile it is the plan */
	land->link[0][1].up = land->link[1][0].up = true;
	run_ms(4000);
	CHECK_EQ(watcher_of(1)->told[0].ways[0].near, id_of(2));
	run_ms(4000);
	CHECK_EQ(watcher_of(1)->told[0].ways[0].near, 0);
	CHECK(!watcher_of(1)->told[0].detour);
	land_destroy();
}

TEST(without_a_brain_tables_stay_and_another_follows)
{
	uint64_t term;
	unsigned first;

	land_create(3);
	usual_links();
	land_start();
	run_ms(8000);
	first = the_brain();
	term = land->created;
	/* a brain that the store does not answer goes on */
	land->store_down = true;
	run_ms(10000);
	set_link(0, 2, 200000);
	run_ms(8000);
	check_best();
	land->store_down = false;
	run_ms(5000);
	check_best();
	/* and one that is dead is followed by another */
	first = the_brain();
	term = land->created;
	kill_node(first);
	run_ms(1000);
	check_tables();
	run_ms(SETTLED_MS);
	CHECK(land->created > term);
	CHECK(the_brain() != first);
	check_best();
	land_destroy();
}

/* The phase of a node's brain, as its console names it. */
static bool plans(unsigned node)
{
	enum { PLANNING = 1 << 2 };
	struct actor *actor = runtime_next_actor(land->node[node].rt, NULL);

	while (strcmp(actor->type->name, "brain"))
		actor = runtime_next_actor(land->node[node].rt, actor);
	return actor->phase == PLANNING;
}

TEST(who_follows_a_dead_brain_plans_half_a_second_after_its_election)
{
	unsigned first;
	uint64_t term;

	land_create(5);
	usual_links();
	land_start();
	run_ms(12000);
	first = the_brain();
	term = land->created;
	kill_node(first);
	/* the lease, some time until one runs, reports of all */
	run_ms(3000 + 500 + 600);
	CHECK(land->created > term);
	CHECK(plans(the_brain()));
	run_ms(1000);
	check_best();
	land_destroy();
}

/* Nobody follows while the store is away; who is asked does not wait for the dead one's answer. */
TEST(who_is_asked_for_a_brain_that_is_down_answers_himself)
{
	static const char nothing; /* a message without fields */
	unsigned first, other;

	land_create(6);
	usual_links();
	land_start();
	run_ms(8000);
	first = the_brain();
	other = first ? 0 : 1;
	land->store_down = true;
	kill_node(first);
	run_ms(MESH_LOST_MS + 100);
	watcher_of(other)->status = (struct msg_brain_status){0};
	ask(other, (struct order){OFFICE_BRAIN, MSG_brain_query, &schema_brain_query, &nothing});
	CHECK_EQ(watcher_of(other)->status.node, id_of(first));
	CHECK_STR(watcher_of(other)->status.phase, "candidate");
	land_destroy();
}

/* The highest term that the tables of living nodes are of; all are of the same. */
static uint64_t term_of_tables(void)
{
	uint64_t term = 0;

	for (unsigned i = 0; i < NODES; i++) {
		const struct actor *actor = NULL;

		while (is_alive(i) && (actor = runtime_next_actor(land->node[i].rt, actor))) {
			const struct routes_state *routes = actor_data((struct actor *)actor);

			if (strcmp(actor->type->name, "routes"))
				continue;
			if (term && routes->term != term)
				fail_msg("tables of terms %llu and %llu", (unsigned long long)term,
					(unsigned long long)routes->term);
			term = routes->term;
		}
	}
	return term;
}

/* An empty disk: no key, no lease, revisions from the beginning. */
static void wipe_store(void)
{
	memset(land->lease_until_us, 0, sizeof(land->lease_until_us));
	land->created = land->revision = 0;
}

/* Revisions are terms: those of a store that begins anew are lower than what nodes have seen. */
TEST(after_a_store_that_begins_anew_tables_are_taken_again)
{
	uint64_t term;

	land_create(8);
	usual_links();
	land_start();
	land->revision = 500;
	run_ms(12000);
	term = term_of_tables();
	CHECK(term > 500);
	wipe_store();
	run_ms(8000);
	CHECK(land->created && land->created < 500);
	CHECK(term_of_tables() > term);
	term = term_of_tables();
	set_link(0, 2, 200000);
	run_ms(8000);
	check_best();
	check_tables();
	/* the one after it goes on from there */
	kill_node(the_brain());
	run_ms(SETTLED_MS);
	CHECK(land->created < 500);
	CHECK(term_of_tables() > term);
	check_best();
	land_destroy();
}

/* Whoever is cut off from the store hears of his successor's term and does not take a higher one. */
TEST(a_brain_that_is_deposed_takes_no_term)
{
	struct brain_options options = {.term = 7, .topology = {.paths = {.stay_permille = 150}}};
	struct msg_node_report report = {.name = "a", .term = 9};
	struct brain *brain;

	CHECK_OK(brain_create(&options, &brain));
	CHECK_OK(brain_hear(brain, 0x70, &report, 1));
	CHECK_EQ(brain->term, 7);
	CHECK_EQ(brain->term_heard, 9);
	/* only what had been heard when it was asked whether it is the brain */
	brain_raise(brain, 0);
	CHECK_EQ(brain->term, 7);
	brain_raise(brain, 9);
	CHECK_EQ(brain->term, 10);
	brain_raise(brain, UINT64_MAX);
	CHECK_EQ(brain->term, 10);
	brain_destroy(&brain);
}

TEST(a_brain_whose_process_has_died_is_followed_before_its_lease_ends)
{
	unsigned first;
	uint64_t term;

	land_create(7);
	usual_links();
	land_start();
	run_ms(12000);
	first = the_brain();
	term = land->created;
	kill_node(first);
	run_ms(300);
	start_node(first);
	meet_all(first);
	run_ms(1000);
	CHECK(land->created > term);
	CHECK(lease_holds(land->lease));
	run_ms(4000);
	CHECK(plans(the_brain()));
	check_tables();
	land_destroy();
}

static void random_links(struct rng *rng)
{
	uint32_t edges_ppm = (uint32_t)rng_between(rng, 100000, 700000);

	for (unsigned a = 0; a < NODES; a++)
		for (unsigned b = a + 1; b < NODES; b++)
			if (rng_chance_ppm(rng, is_core(a) && is_core(b) ? 800000 : edges_ppm))
				set_link(a, b, (uint32_t)rng_between(rng, 2000, 200000));
}

static void misfortune(struct rng *rng)
{
	unsigned a = (unsigned)rng_below(rng, NODES), b = (unsigned)rng_below(rng, NODES);
	struct truth *there = &land->link[a][b], *back = &land->link[b][a];

	switch (rng_below(rng, 6)) {
	case 0:
		if (is_alive(a))
			kill_node(a);
		break;
	case 1:
		if (land->created && is_alive(the_brain()))
			kill_node(the_brain());
		break;
	case 2: land->store_down = !land->store_down; break;
	case 3:
		there->rtt_us = back->rtt_us = there->rtt_us * (uint32_t)rng_between(rng, 1, 5);
		break;
	default: there->up = back->up = false; break;
	}
	if (rng_chance_ppm(rng, 400000)) {
		there->up = back->up = true;
		for (unsigned i = 0; i < NODES; i++)
			if (!is_alive(i) && !land->node[i].died_us) {
				start_node(i);
				meet_all(i);
			}
	}
}

TEST(after_all_misfortunes_every_pair_has_its_best_way)
{
	for (int round = 0; round < test_rounds(6); round++) {
		struct rng rng = rng_of(500 + (uint64_t)round);

		land_create(round);
		for (unsigned i = 0; i < NODES; i++)
			land->node[i].config.tier =
				rng_chance_ppm(&rng, 600000) ? NODE_CORE : NODE_EDGE;
		random_links(&rng);
		land_start();
		run_ms((int)rng_between(&rng, 0, 8000));
		for (int i = 0; i < 12; i++) {
			misfortune(&rng);
			run_ms((int)rng_between(&rng, 0, 3000));
		}
		land->store_down = false;
		run_ms(SETTLED_MS);
		check_best();
		land_destroy();
	}
}

/* ---- another process goes on --------------------------------------------------------------------- */

/* A candidate again; for whom it was elected before is all that stays. */
static void same_brain(const void *before_, const void *now_)
{
	const struct brain_state *before = before_, *now = now_;

	CHECK_EQ(now->elections, before->elections);
	CHECK_EQ(now->reports, before->reports);
}

/* Its table comes again; who watches, and what he was told, stays. */
static void same_routes(const void *before_, const void *now_)
{
	const struct routes_state *before = before_, *now = now_;

	CHECK_EQ(now->watchers_count, before->watchers_count);
	CHECK(now->watchers_count == NODES - 1);
	CHECK_MEM(now->watchers, before->watchers, now->watchers_count * sizeof(now->watchers[0]));
	CHECK_EQ(now->rows, 0);
	CHECK_EQ(now->digest, 0);
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_BRAIN(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

TEST(another_process_goes_on)
{
	land_create(4);
	usual_links();
	land_start();
	run_ms(8000);
	CHECK_EQ(successor_run(&kit, land->node[the_brain()].rt, NULL, 0, 0), 2);
	successor_check_rows(&kit);
	land_destroy();
}

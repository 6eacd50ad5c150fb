/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement of three nodes: what they hear of each other, where sessions go, permits, draining. Workers are
 * clerks that report what a row says; the directory is one that knows where the stream is.
 */
#include "cluster/cluster.h"
#include "cluster/placement_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "tests/unit/node_world.h"

#include <sys/mman.h>
#include <unistd.h>

enum { A, B, C };
enum { WORKER = 1, SECOND_MS = 1000 };

static struct config configs[LAND_NODES];
static struct process_env envs[LAND_NODES];
static struct msg_load_report reports[LAND_NODES];
static uint64_t owner_node; /* of the stream; 0 = nobody has it */
static bool directory_is_silent;

/* ---- clerks -------------------------------------------------------------------------------------- */

struct clerk {
	struct name_row state; /* any schema does */
	char alternatives[ALTERNATIVES_SIZE + 1];
	uint64_t request;
	struct msg_placed placed;
	struct msg_node_drained drained;
	struct msg_standings_told told;
	enum err err;
	bool answered;
	uint32_t retry_after_ms;
};

static enum err clerk_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	if (args)
		actor_timer_in_ms(self, 0, 1);
	return ERR_OK;
}

/* Of the process office. */
static void clerk_timer(struct actor *self, void *data, unsigned timer)
{
	struct msg_load_report report = reports[actor_addr(self).node - LAND_NODE_ID];

	(void)data;
	report.process = runtime_options(actor_runtime(self))->process;
	actor_send_mail(self, actor_office(self, OFFICE_PLACEMENT), MSG_load_report,
		&schema_load_report, &report);
	actor_timer_in_ms(self, timer, 100);
}

ON(clerk, name_lookup)
{
	(void)self, (void)s;
	if (strcmp(m->name, "stream/live/a") != 0)
		return ERR_FORMAT;
	if (directory_is_silent)
		return ERR_OK;
	if (!owner_node)
		return ERR_NOT_FOUND;
	return actor_reply(self, name_found,
		{
			.owner = {.node = owner_node, .id = 5}
	      });
}

ON(clerk, alternatives)
{
	(void)self;
	memcpy(s->alternatives, m->urls, sizeof(s->alternatives));
	return ERR_OK;
}

ON(clerk, placed)
{
	(void)self;
	s->answered = true;
	s->placed = *m;
	return ERR_OK;
}

ON(clerk, node_drained)
{
	(void)self;
	s->answered = true;
	s->drained = *m;
	return ERR_OK;
}

ON(clerk, standings_told)
{
	(void)self;
	s->answered = true;
	s->told = *m;
	return ERR_OK;
}

ON(clerk, failed)
{
	(void)self;
	if (mail->request != s->request)
		return ERR_OK;
	s->answered = true;
	s->err = (enum err)m->err;
	s->retry_after_ms = m->retry_after_ms;
	return ERR_OK;
}

static const struct handler clerk_handlers[] = {
	HANDLER(clerk, name_lookup, 0),
	HANDLER(clerk, alternatives, 0),
	HANDLER(clerk, placed, 0),
	HANDLER(clerk, node_drained, 0),
	HANDLER(clerk, standings_told, 0),
	HANDLER(clerk, failed, 0),
};

static const struct actor_type clerk_actor = {
	.name = "clerk",
	.size = sizeof(struct clerk),
	.state = &schema_name_row,
	HANDLER_TABLE(clerk_handlers),
	.init = clerk_init,
	.timer = clerk_timer,
};

/* ---- the land ------------------------------------------------------------------------------------ */

static void begin_control(struct land *land, unsigned node)
{
	struct runtime *control = land->place[node][CONTROL].rt;

	CHECK_OK(actor_spawn_office(control, OFFICE_DIRECTORY, &clerk_actor, NULL));
	CHECK_OK(actor_spawn_office(control, OFFICE_PLACEMENT, &placement_actor, NULL));
}

static void begin_node(struct land *land, unsigned node)
{
	struct runtime *worker = land->place[node][WORKER].rt;

	begin_control(land, node);
	CHECK_OK(actor_spawn_office(worker, OFFICE_HTTP, &clerk_actor, NULL));
	CHECK_OK(actor_spawn_office(worker, OFFICE_PROCESS, &clerk_actor, &reports));
}

static struct land *begin(void)
{
	struct land *land;
	int fd;

	owner_node = 0;
	directory_is_silent = false;
	for (unsigned node = 0; node < LAND_NODES; node++) {
		struct process_env *env = &envs[node];

		configs[node] = (struct config){.coord = "etcd://x:1",
			.region = "eu",
			.node_capacity_bps = 1000000000,
			.placement_full_percent = 90};
		*env = (struct process_env){.http_port = 8080, .advertise_count = 1};
		snprintf(env->node_name, sizeof(env->node_name), "n%u", node);
		snprintf(env->advertise[0], sizeof(env->advertise[0]), "10.0.0.%u", node);
		memset(env->secret, (int)node + 1, sizeof(env->secret));
		env->page = process_page_create(1, &fd);
		assert_non_null(env->page);
		close(fd);
		reports[node] = (struct msg_load_report){.cpu_permille = 100 * (node + 1)};
		land_config[node] = &configs[node];
		land_env[node] = env;
	}
	land = land_create();
	for (unsigned node = 0; node < LAND_NODES; node++) {
		land_kill(land, node, WORKER + 1); /* one worker suffices */
		begin_node(land, node);
	}
	for (unsigned a = 0; a < LAND_NODES; a++)
		for (unsigned b = 0; b < LAND_NODES; b++)
			if (a != b)
				land_up(land, a, b);
	land_run_ms(land, 2 * SECOND_MS);
	return land;
}

static void end(struct land *land)
{
	land_destroy(land);
	for (unsigned node = 0; node < LAND_NODES; node++) {
		munmap(envs[node].page, process_page_size());
		land_config[node] = NULL;
		land_env[node] = NULL;
	}
}

static struct placement *placement_of(struct land *land, unsigned node)
{
	struct runtime *rt = land->place[node][CONTROL].rt;
	struct addr addr = actor_office(runtime_next_actor(rt, NULL), OFFICE_PLACEMENT);

	return actor_data(runtime_find(rt, addr.id));
}

struct question {
	uint16_t type;
	const struct schema *schema;
	const void *message;
	uint64_t node; /* whose placement is asked */
};

static void put_question(struct actor *self, void *data, void *context)
{
	const struct question *q = context;
	struct clerk *s = data;

	s->answered = false;
	s->err = ERR_OK;
	s->request = actor_request_mail(self, actor_office_at(self, OFFICE_PLACEMENT, q->node),
		2000, q->type, q->schema, q->message);
}

static struct clerk *clerk_at(struct land *land, unsigned node, unsigned slot, struct addr *addr)
{
	struct runtime *rt = land->place[node][slot].rt;

	*addr = actor_office_in(runtime_next_actor(rt, NULL),
		slot == CONTROL ? OFFICE_DIRECTORY : OFFICE_HTTP, runtime_options(rt)->process);
	return actor_data(runtime_find(rt, addr->id));
}

/* Asked in that node's worker, or by its console, as it were; the clerk has the answer then. */
static struct clerk *ask(struct land *land, unsigned node, struct question question)
{
	unsigned slot = question.type == MSG_place ? WORKER : CONTROL;
	struct addr addr;
	struct clerk *clerk = clerk_at(land, node, slot, &addr);

	CHECK(actor_call(land->place[node][slot].rt, addr, &clerk_actor, put_question, &question));
	land_run_ms(land, directory_is_silent ? SECOND_MS : 50);
	CHECK(clerk->answered);
	return clerk;
}

static struct clerk *place_at(struct land *land, unsigned node, const struct msg_place *place)
{
	struct msg_place whole = *place;

	if (!whole.stream_name[0])
		strcpy(whole.stream_name, "live/a");
	if (!whole.purpose[0])
		strcpy(whole.purpose, "play");
	return ask(land, node,
		(struct question){MSG_place, &schema_place, &whole, LAND_NODE_ID + node});
}

/* ---- rows ---------------------------------------------------------------------------------------- */

TEST(nodes_hear_how_the_others_stand)
{
	struct land *land = begin();
	struct clerk *clerk;
	struct addr addr;

	for (unsigned node = 0; node < LAND_NODES; node++)
		CHECK_EQ(placement_of(land, node)->st.nodes_count, LAND_NODES - 1);
	clerk = ask(land, A,
		(struct question){MSG_standings_ask, &schema_standings_ask,
			&(struct msg_standings_ask){}, LAND_NODE_ID});
	CHECK_EQ(clerk->told.nodes_count, LAND_NODES);
	CHECK_STR(clerk->told.nodes[0].name, "n0");
	CHECK_EQ(clerk->told.nodes[2].busy_permille, 300);
	CHECK_STR(clerk->told.nodes[2].url, "http://10.0.0.2:8080");
	clerk = clerk_at(land, A, WORKER, &addr);
	CHECK_STR(clerk->alternatives, "http://10.0.0.1:8080 http://10.0.0.2:8080");
	/* a node is lost: clients are not told of it any more */
	land_down(land, A, B);
	land_run_ms(land, 20);
	CHECK_EQ(placement_of(land, A)->st.nodes_count, 1);
	CHECK_STR(clerk->alternatives, "http://10.0.0.2:8080");
	/* it is back: clients are told of it before the next look */
	land_down(land, B, A);
	land_run_ms(land, 20);
	land_up(land, A, B);
	land_up(land, B, A);
	land_run_ms(land, 100);
	CHECK_STR(clerk->alternatives, "http://10.0.0.1:8080 http://10.0.0.2:8080");
	land_down(land, A, B);
	land_run_ms(land, 20);
	/* one that is silent takes nothing */
	land->cut[C][A] = true;
	land_run_ms(land, STANDING_OLD_MS + 2 * SECOND_MS);
	CHECK_STR(clerk->alternatives, "");
	end(land);
}

static const struct standing *standing_at(struct land *land, unsigned node, unsigned of)
{
	struct placement *s = placement_of(land, node);
	const struct standing *row =
		standing_find(s->st.nodes, s->st.nodes_count, LAND_NODE_ID + of);

	assert_non_null(row);
	return row;
}

/* How often A heard from B in that time. */
static unsigned heard_in(struct land *land, int ms)
{
	int64_t heard_us = standing_at(land, A, B)->heard_us;
	unsigned count = 0;

	for (int i = 0; i < ms; i += 10) {
		land_run_ms(land, 10);
		count += standing_at(land, A, B)->heard_us != heard_us;
		heard_us = standing_at(land, A, B)->heard_us;
	}
	return count;
}

TEST(what_has_not_changed_is_said_seldom)
{
	struct land *land = begin();

	CHECK_EQ(heard_in(land, 4 * STANDING_SAY_MS), 4);
	/* a change that nobody would choose otherwise for */
	reports[B].cpu_permille += 5;
	CHECK_EQ(heard_in(land, 2 * STANDING_SAY_MS), 2);
	heard_in(land, 500);
	reports[B].cpu_permille += 50;
	land_run_ms(land, 1200);
	CHECK_EQ(standing_at(land, A, B)->busy_permille, 255);
	reports[B].sessions = 1;
	land_run_ms(land, 1200);
	CHECK_EQ(standing_at(land, A, B)->sessions, 1);
	end(land);
}

/* Its first word is said when nobody is up for it yet; the others have taken it for up all the time. */
TEST(who_begins_anew_hears_of_all_at_once)
{
	struct land *land = begin();

	land_kill(land, A, CONTROL);
	land_start(land, A, CONTROL);
	begin_control(land, A);
	land_run_ms(land, 20);
	for (unsigned node = 0; node < LAND_NODES; node++)
		if (node != A) {
			land_up(land, A, node);
			land_up(land, node, A);
		}
	land_run_ms(land, 100);
	CHECK_EQ(placement_of(land, A)->st.nodes_count, LAND_NODES - 1);
	end(land);
}

TEST(where_a_session_goes)
{
	static const struct {
		const char *what;
		struct msg_place place;
		struct msg_load_report a, b, c;
		uint64_t owner;
		enum err err;
		const char *url; /* NULL: here */
		bool silent;
	} rows[] = {
	// clang-format off
		{"here", .place = {.follows = true}, .a = {.cpu_permille = 500}},
		{"full: the least busy", .place = {.follows = true}, .a = {.cpu_permille = 950},
			.b = {.cpu_permille = 500}, .c = {.cpu_permille = 300}, .url = "http://10.0.0.2:8080"},
		{"full by what it sends", .place = {.follows = true}, .a = {.egress_kbps = 950000},
			.c = {.cpu_permille = 300}, .url = "http://10.0.0.1:8080"},
		{"the one that has the stream", .place = {.follows = true}, .a = {.cpu_permille = 950},
			.b = {.cpu_permille = 500}, .owner = LAND_NODE_ID + B, .url = "http://10.0.0.1:8080"},
		{"… not when it is full", .place = {.follows = true}, .a = {.cpu_permille = 950},
			.b = {.cpu_permille = 990}, .owner = LAND_NODE_ID + B, .url = "http://10.0.0.2:8080"},
		{"… nor to publish", .place = {.follows = true, .purpose = "publish"},
			.a = {.cpu_permille = 950}, .b = {.cpu_permille = 500}, .owner = LAND_NODE_ID + B,
			.url = "http://10.0.0.2:8080"},
		{"the directory is silent", .place = {.follows = true}, .a = {.cpu_permille = 950},
			.b = {.cpu_permille = 500}, .url = "http://10.0.0.2:8080", .silent = true},
		{"it drains", .place = {.follows = true}, .a = {.draining = true},
			.b = {.cpu_permille = 500}, .url = "http://10.0.0.2:8080"},
		{"the asker knows that it does", .place = {.follows = true, .closed = true},
			.b = {.cpu_permille = 500}, .url = "http://10.0.0.2:8080"},
		{"it has been sent here", .a = {.cpu_permille = 950}, .err = ERR_OVERLOAD},
		{"all are full", .place = {.follows = true}, .a = {.cpu_permille = 950},
			.b = {.cpu_permille = 950}, .c = {.draining = true}, .err = ERR_OVERLOAD},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct land *land = begin();

		reports[A] = rows[i].a;
		reports[B] = rows[i].b;
		reports[C] = rows[i].c;
		owner_node = rows[i].owner;
		directory_is_silent = rows[i].silent;
		land_run_ms(land, 2 * SECOND_MS);
		const struct clerk *clerk = place_at(land, A, &rows[i].place);

		if (clerk->err != rows[i].err || (clerk->err && !clerk->retry_after_ms) ||
			(!clerk->err && strcmp(clerk->placed.url, rows[i].url ? rows[i].url : "")))
			fail_msg("%s: %s, %s", rows[i].what, err_name(clerk->err),
				clerk->placed.url);
		if (!clerk->err && !rows[i].url)
			CHECK(clerk->placed.process != 0);
		end(land);
	}
}

TEST(so_many_sessions_are_enough)
{
	struct land *land = begin();

	configs[A].placement_sessions_max = 2;
	reports[A].sessions = 1;
	land_run_ms(land, SECOND_MS);
	CHECK_STR(place_at(land, A, &(struct msg_place){.follows = true})->placed.url, "");
	reports[A].sessions = 2;
	land_run_ms(land, 200);
	CHECK(place_at(land, A, &(struct msg_place){.follows = true})->placed.url[0]);
	end(land);
}

TEST(permits_of_any_node_are_good_and_outlive_it)
{
	struct land *land = begin();
	struct permit said = {.node = LAND_NODE_ID + B,
		.number = 77,
		.action = TOKEN_PLAY,
		.standby = NAME_STANDBY_NO,
		.subject = "anna"};
	struct msg_place place = {.purpose = "play"}, wrong;
	uint8_t key[PERMIT_KEY_SIZE];
	const struct clerk *clerk;

	said.until_s = land->now_us / 1000000 + 3600;
	permit_key_derive(key, envs[B].secret, sizeof(envs[B].secret));
	permit_write(key, &said, "live/a", place.permit);
	land_run_ms(land, 2 * SECOND_MS);
	for (unsigned node = 0; node < LAND_NODES; node++) {
		clerk = place_at(land, node, &place);
		CHECK_OK(clerk->err);
		CHECK(clerk->placed.permitted);
		CHECK_STR(clerk->placed.subject, "anna");
		CHECK_EQ(clerk->placed.standby, NAME_STANDBY_NO);
	}
	wrong = place;
	strcpy(wrong.stream_name, "live/b");
	CHECK_EQ(place_at(land, A, &wrong)->err, ERR_AUTH);
	wrong = place;
	strcpy(wrong.purpose, "publish");
	CHECK_EQ(place_at(land, A, &wrong)->err, ERR_AUTH);
	wrong = place;
	strcpy(wrong.permit, "nonsense");
	CHECK_EQ(place_at(land, A, &wrong)->err, ERR_AUTH);
	said.node = 12345; /* nobody's */
	permit_write(key, &said, "live/a", wrong.permit);
	CHECK_EQ(place_at(land, A, &wrong)->err, ERR_AUTH);
	CHECK_EQ(placement_of(land, A)->st.permits_refused, 4);
	/* B starts again, with another secret; then it is gone */
	memset(placement_of(land, B)->key, 99, PERMIT_KEY_SIZE);
	land_run_ms(land, 2 * SECOND_MS);
	CHECK_OK(place_at(land, A, &place)->err);
	land_down(land, A, B);
	land_run_ms(land, 50);
	CHECK_OK(place_at(land, A, &place)->err);
	end(land);
}

static void use_permit(struct actor *self, void *data, void *context)
{
	(void)data;
	actor_send_mail(self, actor_office(self, OFFICE_PLACEMENT), MSG_permit_used,
		&schema_permit_used, context);
}

TEST(a_permit_serves_once_in_the_whole_cluster)
{
	enum { SHOWN, USED };

	static const struct {
		int64_t after_ms;
		unsigned node;
		const char *client;
		int use;
		enum err err;
	} rows[] = {
		{0,	    A, "192.0.2.7:1000", SHOWN, ERR_OK  },
		{0,	    A, "192.0.2.7:1001", SHOWN, ERR_OK  }, /* nothing came of it */
		{0,	    A, "192.0.2.8:1000", SHOWN, ERR_AUTH},
		{11000, A, "192.0.2.8:1000", SHOWN, ERR_OK  }, /* … for long */
		{0,	    A, "192.0.2.8:1000", USED,  ERR_OK  },
		{200,   A, "192.0.2.8:1002", SHOWN, ERR_OK	}, /* its answer was lost … */
		{0,	    B, "192.0.2.8:1002", SHOWN, ERR_OK  },
		{0,	    B, "192.0.2.8:1002", USED,  ERR_OK  },
		{200,   A, "192.0.2.7:1000", SHOWN, ERR_AUTH},
		{0,	    B, "192.0.2.7:1000", SHOWN, ERR_AUTH},
		{0,	    C, "192.0.2.7:1000", SHOWN, ERR_AUTH},
		{10000, A, "192.0.2.8:1002", SHOWN, ERR_AUTH}, /* … some seconds ago, not more */
		{0,	    B, "192.0.2.8:1002", SHOWN, ERR_AUTH},
		{0,	    C, "192.0.2.8:1002", SHOWN, ERR_AUTH},
	};
	struct land *land = begin();
	struct permit said = {.node = LAND_NODE_ID + B, .number = 78, .action = TOKEN_PLAY};
	struct msg_place place = {.purpose = "play"};
	struct msg_permit_used used = {.number = 78};
	uint8_t key[PERMIT_KEY_SIZE];
	struct addr addr;

	said.until_s = land->now_us / 1000000 + 3600;
	permit_key_derive(key, envs[B].secret, sizeof(envs[B].secret));
	permit_write(key, &said, "live/a", place.permit);
	land_run_ms(land, 2 * SECOND_MS);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		land_run_ms(land, rows[i].after_ms);
		strcpy(place.client, rows[i].client);
		strcpy(used.client, rows[i].client);
		if (rows[i].use == SHOWN) {
			if (place_at(land, rows[i].node, &place)->err != rows[i].err)
				fail_msg("row %zu", i);
			continue;
		}
		clerk_at(land, rows[i].node, WORKER, &addr);
		CHECK(actor_call(land->place[rows[i].node][WORKER].rt, addr, &clerk_actor,
			use_permit, &used));
	}
	end(land);
}

TEST(a_node_drains_by_the_word_of_another)
{
	struct land *land = begin();
	struct question drain = {MSG_node_drain, &schema_node_drain,
		&(struct msg_node_drain){.stop = true}, LAND_NODE_ID + B};
	struct question off = {MSG_node_drain, &schema_node_drain,
		&(struct msg_node_drain){.off = true}, LAND_NODE_ID + B};
	struct question look = {MSG_node_drain, &schema_node_drain,
		&(struct msg_node_drain){.ask = true}, LAND_NODE_ID + B};

	reports[B].sessions = 3;
	land_run_ms(land, SECOND_MS);
	CHECK_EQ(ask(land, A, drain)->drained.sessions, 3);
	CHECK(atomic_load(&envs[B].page->closed));
	CHECK(placement_of(land, B)->st.stop);
	reports[B].draining = true; /* as the process office does */
	land_run_ms(land, 2 * SECOND_MS);
	CHECK(ask(land, A, look)->drained.draining);
	CHECK(standing_find(placement_of(land, A)->st.nodes, placement_of(land, A)->st.nodes_count,
		LAND_NODE_ID + B)
			->draining);
	CHECK(!ask(land, A, off)->drained.draining);
	CHECK(!placement_of(land, B)->st.stop);
	end(land);
}

TEST(what_others_say_is_looked_at)
{
	struct land *land = begin();
	struct addr who = land_spawn(land, B, WORKER, true);
	struct actor *stranger = land_actor(land, who);
	struct msg_node_standing said = {.name = "b", .url = "http://b\r\nX: y"};
	uint64_t node = LAND_NODE_ID;

	actor_send_mail(stranger, actor_office_at(stranger, OFFICE_PLACEMENT, node),
		MSG_node_standing, &schema_node_standing, &said);
	said = (struct msg_node_standing){.name = "b", .key = {.size = 5}};
	actor_send_mail(stranger, actor_office_at(stranger, OFFICE_PLACEMENT, node),
		MSG_node_standing, &schema_node_standing, &said);
	land_run_ms(land, 20);
	CHECK_STR(standing_find(placement_of(land, A)->st.nodes,
			  placement_of(land, A)->st.nodes_count, LAND_NODE_ID + B)
			  ->url,
		"http://10.0.0.1:8080");
	end(land);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster for tests of its brains: the control processes of ten nodes in this program, with a clock that
 * is an argument, a store that all of them see, links whose ends report what is so, and somebody at each
 * node who watches the routes to all others.
 */
#ifndef MILLRACE_CLUSTER_LAND_H
#define MILLRACE_CLUSTER_LAND_H

#include "cluster/cluster.h"
#include "cluster/routes.h"
#include "cluster/store.h"
#include "cluster/topology.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum {
	NODES = 10,
	FRAMES = 16384,
	FIRST_ID = 0x70,
	STEP_US = 5000,
	LINKS_MS = 500, /* between two reports of a node's links */
	MESH_LOST_MS = 3000,
	SETTLED_MS = 14000, /* lease, gathering, and smoothed values coming near */
	STORE_TICK_MS = 10,
};

/* ---- the land -------------------------------------------------------------------------------- */

struct truth {
	bool up;
	uint32_t rtt_us;
};

struct node {
	struct runtime *rt; /* NULL: dead */
	uint64_t boot;
	int64_t died_us; /* 0: it lives, or all know */
	struct config config;
	struct log log;
	struct addr linker, watcher;
	uint32_t process;
};

struct frame {
	unsigned from, to;
	uint64_t boot; /* of the addressee */
	size_t size;
	uint8_t *bytes;
};

struct land {
	int64_t now_us;
	struct rng rng;
	struct node node[NODES];
	struct truth link[NODES][NODES]; /* rtt 0: there is none */
	struct frame *frames;
	size_t frame_count;
	bool wanted[NODES][NODES];
	/* the store */
	uint64_t revision, leases, lease, created; /* created 0: the key is not there */
	int64_t lease_until_us[4096];
	uint8_t value[STORE_VALUE_MAX];
	uint16_t value_size;
	bool store_down;
	uint32_t processes;
};

static struct land *land;

static uint64_t id_of(unsigned node)
{
	return FIRST_ID + node;
}

static unsigned node_of(uint64_t id)
{
	CHECK(id >= FIRST_ID && id < FIRST_ID + NODES);
	return (unsigned)(id - FIRST_ID);
}

static bool is_alive(unsigned node)
{
	return land->node[node].rt != NULL;
}

static bool is_core(unsigned node)
{
	return land->node[node].config.tier == NODE_CORE;
}

static int64_t land_now_us(void *context)
{
	(void)context;
	return land->now_us;
}

static int64_t land_wall_us(void *context)
{
	(void)context;
	return 1700000000000000 + land->now_us;
}

static void land_random(void *context, void *bytes, size_t size)
{
	(void)context;
	rng_fill(&land->rng, bytes, size);
}

static enum err land_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	(void)parts;
	(void)count;
	return ERR_OK; /* no other process */
}

static enum err land_node_send(void *context, uint64_t id, const struct iovec *parts, size_t count)
{
	struct node *from = context;
	struct frame *frame = &land->frames[land->frame_count];

	if (land->frame_count == FRAMES)
		return ERR_AGAIN;
	*frame = (struct frame){.from = (unsigned)(from - land->node),
		.to = node_of(id),
		.boot = land->node[node_of(id)].boot};
	for (size_t i = 0; i < count; i++)
		frame->size += parts[i].iov_len;
	frame->bytes = malloc(frame->size);
	if (!frame->bytes)
		return ERR_AGAIN;
	for (size_t i = 0, at = 0; i < count; at += parts[i++].iov_len)
		memcpy(frame->bytes + at, parts[i].iov_base, parts[i].iov_len);
	land->frame_count++;
	return ERR_OK;
}

static void land_node_wanted(void *context, uint64_t id)
{
	struct node *from = context;

	land->wanted[from - land->node][node_of(id)] = true;
}

static const struct runtime_ops land_ops = {
	.now_us = land_now_us,
	.wall_us = land_wall_us,
	.random = land_random,
	.bus_send = land_bus_send,
	.node_send = land_node_send,
	.node_wanted = land_node_wanted,
};

static bool land_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

/* ---- a store that all nodes see: one key, under leases ------------------------------------------ */

struct shared_store {
	struct name_row state; /* any schema will do */
	struct addr watcher;
	uint64_t seen; /* created, as it was told; 0 = gone */
};

static struct store_pair shared_pair(uint64_t created)
{
	struct store_pair pair = {.key = "brain", .created = created, .modified = created};

	memcpy(pair.value.data, land->value, land->value_size);
	pair.value.size = land->value_size;
	return pair;
}

static bool lease_holds(uint64_t lease)
{
	return lease && land->lease_until_us[lease % 4096] > land->now_us;
}

ON(shared_store, store_watch)
{
	if (land->store_down)
		return actor_refuse(self, actor_asker(self), ERR_TIMEOUT, "");
	s->watcher = mail->from;
	s->seen = land->created;
	return actor_reply(self, store_watching, {.revision = land->revision});
}

ON(shared_store, store_get)
{
	struct msg_store_pairs *answer;

	if (land->store_down)
		return actor_refuse(self, actor_asker(self), ERR_TIMEOUT, "");
	if (!land->created)
		return ERR_NOT_FOUND;
	answer = calloc(1, sizeof(*answer));
	answer->pairs_count = 1;
	answer->pairs[0] = shared_pair(land->created);
	actor_answer_mail(self, actor_asker(self), MSG_store_pairs, &schema_store_pairs, answer);
	free(answer);
	return ERR_OK;
}

ON(shared_store, store_lease_grant)
{
	if (land->store_down)
		return actor_refuse(self, actor_asker(self), ERR_TIMEOUT, "");
	land->lease_until_us[++land->leases % 4096] = land->now_us + (int64_t)m->ttl_ms * 1000;
	return actor_reply(self, store_leased, {.lease = land->leases, .ttl_ms = m->ttl_ms});
}

ON(shared_store, store_lease_keep)
{
	if (land->store_down)
		return actor_refuse(self, actor_asker(self), ERR_TIMEOUT, "");
	if (!lease_holds(m->lease))
		return ERR_NOT_FOUND;
	land->lease_until_us[m->lease % 4096] = land->now_us + 3000000;
	return actor_reply(self, store_leased, {.lease = m->lease, .ttl_ms = 3000});
}

ON(shared_store, store_put)
{
	if (land->store_down)
		return actor_refuse(self, actor_asker(self), ERR_TIMEOUT, "");
	if (!lease_holds(m->lease))
		return ERR_NOT_FOUND;
	if (land->created)
		return ERR_EXISTS;
	land->created = ++land->revision;
	land->lease = m->lease;
	memcpy(land->value, m->value.data, m->value.size);
	land->value_size = m->value.size;
	return actor_reply(self, store_done, {.revision = land->created});
}

ON(shared_store, store_delete)
{
	if (land->store_down)
		return actor_refuse(self, actor_asker(self), ERR_TIMEOUT, "");
	if (!land->created)
		return ERR_NOT_FOUND;
	if (m->compare != STORE_AT_REVISION || m->revision != land->created)
		return ERR_PHASE;
	land->created = 0;
	return actor_reply(self, store_done, {.revision = ++land->revision});
}

static void shared_store_timer(struct actor *self, void *data, unsigned timer)
{
	struct shared_store *s = data;

	actor_timer_in_ms(self, timer, STORE_TICK_MS);
	if (land->store_down)
		return;
	if (land->created && !lease_holds(land->lease)) {
		land->created = 0;
		land->revision++;
	}
	if (addr_is_nobody(s->watcher) || s->seen == land->created)
		return;
	struct msg_store_event event = {.deleted = !land->created,
		.revision = land->revision,
		.pair = shared_pair(land->created ? land->created : s->seen)};

	actor_send_mail(self, s->watcher, MSG_store_event, &schema_store_event, &event);
	s->seen = land->created;
}

static enum err shared_store_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	(void)args;
	actor_timer_in_ms(self, 0, STORE_TICK_MS);
	return ERR_OK;
}

static const struct handler shared_store_handlers[] = {
	HANDLER(shared_store, store_watch, 0),
	HANDLER(shared_store, store_get, 0),
	HANDLER(shared_store, store_lease_grant, 0),
	HANDLER(shared_store, store_lease_keep, 0),
	HANDLER(shared_store, store_put, 0),
	HANDLER(shared_store, store_delete, 0),
};

static const struct actor_type shared_store_actor = {
	.name = "shared_store",
	.size = sizeof(struct shared_store),
	.state = &schema_name_row,
	.mailbox_max = 4096,
	HANDLER_TABLE(shared_store_handlers),
	.init = shared_store_init,
	.timer = shared_store_timer,
};

/* ---- links: say what is so --------------------------------------------------------------------- */

struct linker {
	struct name_row state;
};

static void linker_timer(struct actor *self, void *data, unsigned timer)
{
	unsigned own = node_of(actor_addr(self).node);
	struct msg_link_report report = {0};

	(void)data;
	actor_timer_in_ms(self, timer, LINKS_MS);
	for (unsigned i = 0; i < NODES; i++) {
		struct truth *link = &land->link[own][i];
		bool is_well = link->up && is_alive(i);

		if (link->rtt_us)
			report.links[report.links_count++] = (struct link_row){.node = id_of(i),
				.rtt_us = link->rtt_us,
				.state = is_well ? LINK_UP : LINK_DOWN};
	}
	actor_send_mail(self, actor_office(self, OFFICE_ROUTES), MSG_link_report,
		&schema_link_report, &report);
}

static enum err linker_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	(void)args;
	actor_timer_in_ms(self, 0, 1 + (int64_t)(actor_random_u64(self) % LINKS_MS));
	return ERR_OK;
}

static const struct actor_type linker_actor = {
	.name = "linker",
	.size = sizeof(struct linker),
	.state = &schema_name_row,
	.init = linker_init,
	.timer = linker_timer,
};

/* ---- who wants to know all routes --------------------------------------------------------------- */

struct route_watch_test {
	struct name_row state;
	struct msg_route told[NODES];
	struct msg_brain_status status;
	struct msg_path_answer explained;
	char console[65536]; /* what it answered last */
	unsigned told_count;
};

ON(route_watch_test, route)
{
	s->told[node_of(m->origin)] = *m;
	s->told_count++;
	return ERR_OK;
}

ON(route_watch_test, brain_status)
{
	s->status = *m;
	return ERR_OK;
}

ON(route_watch_test, path_answer)
{
	s->explained = *m;
	return ERR_OK;
}

ON(route_watch_test, console_answer)
{
	snprintf(s->console, sizeof(s->console), "%s %.*s", err_name((enum err)m->err),
		(int)m->json.size, m->json.data);
	return ERR_OK;
}

ON(route_watch_test, failed)
{
	return ERR_OK;
}

static enum err route_watch_test_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	(void)args;
	for (unsigned i = 0; i < NODES; i++)
		if (id_of(i) != actor_addr(self).node)
			actor_request(self, actor_office(self, OFFICE_ROUTES), 1000, route_ask,
				{.origin = id_of(i), .watch = true});
	return ERR_OK;
}

static const struct handler route_watch_test_handlers[] = {
	HANDLER(route_watch_test, route, 0),
	HANDLER(route_watch_test, brain_status, 0),
	HANDLER(route_watch_test, path_answer, 0),
	HANDLER(route_watch_test, console_answer, 0),
	HANDLER(route_watch_test, failed, 0),
};

static const struct actor_type route_watch_test_actor = {
	.name = "route_watch_test",
	.size = sizeof(struct route_watch_test),
	.state = &schema_name_row,
	HANDLER_TABLE(route_watch_test_handlers),
	.init = route_watch_test_init,
};

static void look_at(struct actor *self, void *data, void *context)
{
	(void)self;
	*(struct route_watch_test **)context = data;
}

static struct route_watch_test *watcher_of(unsigned node)
{
	struct route_watch_test *watcher = NULL;

	CHECK(actor_call(land->node[node].rt, land->node[node].watcher, &route_watch_test_actor,
		look_at, &watcher));
	return watcher;
}

/* ---- running ------------------------------------------------------------------------------------- */

static void start_node(unsigned place)
{
	struct node *node = &land->node[place];
	struct log_sink sink = {.now_us = land_wall_us, .write = land_log};
	struct runtime_options options = {
		.ops = &land_ops,
		.context = node,
		.log = &node->log,
		.config = &node->config,
		.node = id_of(place),
		.process = ++land->processes,
		.role = PROCESS_CONTROL,
	};

	options.block = options.process;
	options.boot = node->boot = 1000 + options.process;
	node->died_us = 0;
	log_init(&node->log, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	CHECK_OK(runtime_create(&options, &node->rt));
	CHECK_OK(actor_spawn_office(node->rt, OFFICE_STORE, &shared_store_actor, NULL));
	CHECK_OK(actor_spawn_office(node->rt, OFFICE_ROUTES, &routes_actor, NULL));
	CHECK_OK(actor_spawn_office(node->rt, OFFICE_BRAIN, &brain_actor, NULL));
	CHECK_OK(actor_spawn_office(node->rt, OFFICE_CONSOLE, &console_actor, NULL));
	CHECK_OK(actor_spawn(node->rt, NULL, &linker_actor, NULL, &node->linker));
	CHECK_OK(actor_spawn(node->rt, NULL, &route_watch_test_actor, NULL, &node->watcher));
}

/* kill -9 of the whole node: what it would still say is heard by nobody. */
static void kill_node(unsigned place)
{
	size_t before = land->frame_count;

	runtime_destroy(&land->node[place].rt);
	while (land->frame_count > before)
		free(land->frames[--land->frame_count].bytes);
	land->node[place].died_us = land->now_us;
	for (unsigned i = 0; i < NODES; i++)
		land->wanted[place][i] = false;
}

/* In a small cluster gateways keep a channel to all. */
static void meet_all(unsigned place)
{
	for (unsigned i = 0; i < NODES; i++)
		if (i != place && is_alive(i))
			land->wanted[place][i] = true;
}

static void run_mesh(void)
{
	for (unsigned a = 0; a < NODES; a++) {
		for (unsigned b = 0; b < NODES; b++) {
			if (!land->wanted[a][b] || !is_alive(a) || !is_alive(b))
				continue;
			land->wanted[a][b] = false;
			CHECK_OK(runtime_node_up(land->node[a].rt, id_of(b), land->node[b].boot));
			CHECK_OK(runtime_node_up(land->node[b].rt, id_of(a), land->node[a].boot));
		}
		if (!land->node[a].died_us || is_alive(a) ||
			land->now_us - land->node[a].died_us < MESH_LOST_MS * 1000)
			continue;
		land->node[a].died_us = 0;
		for (unsigned b = 0; b < NODES; b++)
			if (is_alive(b))
				runtime_node_down(land->node[b].rt, id_of(a));
	}
}

static void deliver(void)
{
	struct frame *frames = land->frames;
	size_t count = land->frame_count;

	land->frames = calloc(FRAMES, sizeof(*frames));
	land->frame_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct node *to = &land->node[frames[i].to];

		if (to->rt && to->boot == frames[i].boot)
			runtime_node_frame(
				to->rt, id_of(frames[i].from), frames[i].bytes, frames[i].size);
		free(frames[i].bytes);
	}
	free(frames);
}

/* What holds at any time: ways are short, over cores only, and visit nobody twice. */
static void check_safety(void)
{
	for (unsigned to = 0; to < NODES; to++) {
		struct route_watch_test *watcher = is_alive(to) ? watcher_of(to) : NULL;

		for (unsigned from = 0; watcher && from < NODES; from++) {
			const struct msg_route *route = &watcher->told[from];

			for (unsigned i = 0; i < route->ways_count; i++) {
				uint64_t near = route->ways[i].near, far = route->ways[i].far;

				CHECK(near || !far);
				CHECK(!near || is_core(node_of(near)));
				CHECK(!far || is_core(node_of(far)));
				CHECK(!near || near != far);
				CHECK(near != id_of(to) && far != id_of(to));
				CHECK(near != id_of(from) && far != id_of(from));
			}
		}
	}
}

static void run_ms(int ms)
{
	for (int64_t end_us = land->now_us + (int64_t)ms * 1000; land->now_us < end_us;
		land->now_us += STEP_US) {
		run_mesh();
		for (int round = 0; round < 2; round++) {
			for (unsigned i = 0; i < NODES; i++)
				if (is_alive(i))
					runtime_turn(land->node[i].rt);
			deliver();
		}
		check_safety();
	}
}

static void set_link(unsigned a, unsigned b, uint32_t rtt_us)
{
	land->link[a][b] = land->link[b][a] = (struct truth){.up = true, .rtt_us = rtt_us};
}

static void land_create(uint64_t seed)
{
	struct config_report report;

	land = calloc(1, sizeof(*land));
	land->now_us = 1000000;
	land->rng = rng_of(seed);
	land->frames = calloc(FRAMES, sizeof(*land->frames));
	for (unsigned i = 0; i < NODES; i++) {
		struct config *config = &land->node[i].config;

		config_init(config, &report);
		snprintf(config->node_name, sizeof(config->node_name), "n%u", i);
		text_copy(config->coord, sizeof(config->coord), "etcd://all-see-it:1");
		config->tier = i % 2 ? NODE_EDGE : NODE_CORE; /* cores: 0, 2, 4 … */
	}
}

static void land_start(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		start_node(i);
		meet_all(i);
	}
}

static void land_destroy(void)
{
	for (unsigned i = 0; i < NODES; i++)
		if (is_alive(i))
			kill_node(i);
	while (land->frame_count)
		free(land->frames[--land->frame_count].bytes);
	free(land->frames);
	free(land);
	land = NULL;
}

#endif

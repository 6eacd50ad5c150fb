/* SPDX-License-Identifier: Apache-2.0
 *
 * Four nodes, each with the relay office and, in the place of all that it talks to, puppets: routes that
 * answer what the test has planned, placement, media offices that make copies, copies that ask for their
 * source and go where they are told. A, B, C have copies of what O owns.
 */
#ifndef MILLRACE_RELAY_LAND_H
#define MILLRACE_RELAY_LAND_H

#define LAND_NODES 4

#include "cluster/cluster.h"
#include "cluster/relay_internal.h"
#include "schemas/random.h"
#include "tests/unit/node_world.h"

enum { A, B, C, O };
enum { FIRST_WORKER = 1, SECOND_WORKER = 2, COPIES_MAX = 64 };

/* ---- a copy: what the stream actor does of it --------------------------------------------------- */

struct copy_args {
	const char *name;
	struct addr owner, source;
	uint64_t epoch;
};

struct copy {
	struct name_row st; /* any schema does */

	struct copy_args is;
	uint64_t request;
	int64_t asked_us, longest_us; /* that an answer took */
	unsigned answers, refusals, reparents;
	enum err err, answer_reparent; /* of the last refusal; of the next reparent */
	uint32_t retry_after_ms;
	struct msg_relay_found found;
};

static void copy_ask(struct actor *self, struct copy *s, struct addr failed)
{
	struct msg_relay_ask ask = {.owner = s->is.owner,
		.epoch = s->is.epoch,
		.failed = failed,
		.source = s->is.source};

	text_copy(ask.stream_name, sizeof(ask.stream_name), s->is.name);
	if (s->request)
		actor_forget_request(self, s->request);
	else
		s->asked_us = actor_now_us(self);
	s->request = actor_request_mail(self, actor_office(self, OFFICE_RELAY), 10000,
		MSG_relay_ask, &schema_relay_ask, &ask);
}

static void copy_heard(struct actor *self, struct copy *s)
{
	int64_t took_us = actor_now_us(self) - s->asked_us;

	s->request = 0;
	if (took_us > s->longest_us)
		s->longest_us = took_us;
}

ON(copy, relay_found)
{
	if (mail->request != s->request)
		return ERR_OK;
	copy_heard(self, s);
	s->answers++;
	s->found = *m;
	s->is.source = m->source;
	s->is.owner = m->owner;
	s->is.epoch = m->epoch;
	actor_monitor(self, m->source);
	return ERR_OK;
}

ON(copy, failed)
{
	if (mail->request != s->request)
		return ERR_OK;
	copy_heard(self, s);
	s->refusals++;
	s->err = (enum err)m->err;
	s->retry_after_ms = m->retry_after_ms;
	actor_timer_in_ms(self, 0, m->retry_after_ms ? m->retry_after_ms : 1000);
	return ERR_OK;
}

ON(copy, reparent)
{
	s->reparents++;
	if (s->answer_reparent)
		return s->answer_reparent;
	s->is.source = m->source;
	actor_monitor(self, m->source);
	return actor_reply(self, done, {});
}

ON(copy, down)
{
	if (!addr_equal(m->who, s->is.source))
		return ERR_OK;
	s->is.source = (struct addr){0};
	copy_ask(self, s, m->who);
	return ERR_OK;
}

static enum err copy_init(struct actor *self, void *data, const void *args)
{
	struct copy *s = data;

	s->is = *(const struct copy_args *)args;
	copy_ask(self, s, (struct addr){0});
	return ERR_OK;
}

static void copy_timer(struct actor *self, void *data, unsigned timer)
{
	struct copy *s = data;

	(void)timer;
	if (!s->request && addr_is_nobody(s->is.source))
		copy_ask(self, s, (struct addr){0});
}

static const struct handler copy_handlers[] = {
	HANDLER(copy, relay_found, 0),
	HANDLER(copy, failed, 0),
	HANDLER(copy, reparent, 0),
	HANDLER(copy, down, 0),
};

static const struct actor_type copy_actor = {
	.name = "copy",
	.size = sizeof(struct copy),
	.state = &schema_name_row,
	HANDLER_TABLE(copy_handlers),
	.init = copy_init,
	.timer = copy_timer,
};

/* ---- offices around it --------------------------------------------------------------------------- */

/* What routes of a node says; by node that asks (all to O). */
static struct plan {
	struct msg_route route;
	bool is_silent;
	unsigned asked;
	struct addr watcher;
} plans[LAND_NODES];

static bool hosting_fails; /* of all media offices */
static bool hosts_origins; /* they say that the stream itself is there */
static const char *const the_name = "live/a";

static struct copy_args hosted_args; /* (borrowed by the spawned for its init only) */

struct clerk {
	struct name_row st;
};

ON(clerk, route_ask)
{
	struct plan *plan = &plans[actor_addr(self).node - LAND_NODE_ID];

	plan->asked++;
	plan->watcher = actor_asker(self).from;
	plan->route.origin = m->origin;
	if (plan->is_silent)
		return ERR_OK;
	return actor_answer_mail(self, actor_asker(self), MSG_route, &schema_route, &plan->route);
}

ON(clerk, place)
{
	struct place *worker = &the_land->place[actor_addr(self).node - LAND_NODE_ID][FIRST_WORKER];

	if (!worker->rt)
		return ERR_OVERLOAD;
	return actor_reply(self, placed,
		{.process = worker->process,
			.office = actor_office_in(self, OFFICE_MEDIA, worker->process)});
}

ON(clerk, relay_host)
{
	struct addr stream = {0};

	if (hosting_fails)
		return ERR_LIMIT;
	hosted_args = (struct copy_args){.name = the_name, .owner = m->owner, .epoch = m->epoch};
	enum err err = ERR_OK;

	if (hosts_origins)
		stream = actor_addr(self);
	else
		err = actor_spawn(actor_runtime(self), NULL, &copy_actor, &hosted_args, &stream);
	if (err)
		return err;
	return actor_reply(self, relay_hosted, {.stream = stream, .origin = hosts_origins});
}

static enum err clerk_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static const struct handler clerk_handlers[] = {
	HANDLER(clerk, route_ask, 0),
	HANDLER(clerk, place, 0),
	HANDLER(clerk, relay_host, 0),
};

static const struct actor_type clerk_actor = {
	.name = "clerk",
	.size = sizeof(struct clerk),
	.state = &schema_name_row,
	HANDLER_TABLE(clerk_handlers),
	.init = clerk_init,
};

/* ---- the land ------------------------------------------------------------------------------------- */

static struct addr origin; /* an actor of O: the stream itself */

static void offices_start(struct land *land, unsigned node, unsigned slot)
{
	struct runtime *rt = land->place[node][slot].rt;

	if (slot != CONTROL) {
		CHECK_OK(actor_spawn_office(rt, OFFICE_MEDIA, &clerk_actor, NULL));
		return;
	}
	CHECK_OK(actor_spawn_office(rt, OFFICE_PLACEMENT, &clerk_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_ROUTES, &clerk_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_RELAY, &relay_actor, NULL));
}

static struct land *relay_land(void)
{
	struct land *land = land_create();

	memset(plans, 0, sizeof(plans));
	hosting_fails = hosts_origins = false;
	for (unsigned node = 0; node < LAND_NODES; node++)
		for (unsigned slot = 0; slot < LAND_PROCESSES; slot++)
			offices_start(land, node, slot);
	origin = land_spawn(land, O, FIRST_WORKER, false);
	land_run_ms(land, 20);
	return land;
}

/* kill -9 of a control process, and another in its place. */
static void control_again(struct land *land, unsigned node)
{
	land_kill(land, node, CONTROL);
	land_start(land, node, CONTROL);
	offices_start(land, node, CONTROL);
	for (unsigned other = 0; other < LAND_NODES; other++) {
		if (other == node)
			continue;
		land_up(land, node, other);
		land_up(land, other, node);
	}
}

/* At most two ways of one relay or two; 0 = none. */
static void plan_way(unsigned node, unsigned place, unsigned near, unsigned far)
{
	struct msg_route *route = &plans[node].route;

	route->planned = true;
	route->ways_count = (uint16_t)(place + 1);
	route->ways[place] = (struct route_way){
		.near = near == O ? 0 : land_id(near), .far = far == O ? 0 : land_id(far)};
}

/* Routes of a node says it to those who watch. */
static void tell_route(struct land *land, unsigned node)
{
	struct actor *clerk = runtime_find(land->place[node][CONTROL].rt,
		actor_office(runtime_next_actor(land->place[node][CONTROL].rt, NULL), OFFICE_ROUTES)
			.id);

	plans[node].route.origin = land_id(O);
	actor_send_mail(clerk, plans[node].watcher, MSG_route, &schema_route, &plans[node].route);
}

static struct addr copy_in(struct land *land, unsigned node, unsigned slot, uint64_t epoch)
{
	struct copy_args args = {.name = the_name, .owner = origin, .epoch = epoch};
	struct addr addr = {0};

	CHECK_OK(actor_spawn(land->place[node][slot].rt, NULL, &copy_actor, &args, &addr));
	return addr;
}

static struct copy *copy_of(struct land *land, struct addr addr)
{
	struct actor *actor = land_actor(land, addr);

	assert_non_null(actor);
	return actor_data(actor);
}

static void copy_stop(struct actor *self, void *data, void *context)
{
	(void)data;
	(void)context;
	actor_stop(self, ERR_OK);
}

static void copy_ends(struct land *land, struct addr addr)
{
	struct runtime *rt = land_actor(land, addr)->rt;

	CHECK(actor_call(rt, addr, &copy_actor, copy_stop, NULL));
}

static struct relay *office_of(struct land *land, unsigned node)
{
	struct runtime *rt = land->place[node][CONTROL].rt;
	struct addr addr = actor_office(runtime_next_actor(rt, NULL), OFFICE_RELAY);

	return actor_data(runtime_find(rt, addr.id));
}

static struct relay_stream *row_at(struct land *land, unsigned node)
{
	return relay_find(office_of(land, node)->table, the_name);
}

static void check_path(const struct relay_stream *stream, unsigned count, const unsigned nodes[])
{
	assert_non_null(stream);
	CHECK_EQ(stream->row.path_count, count);
	for (unsigned i = 0; i < count; i++)
		CHECK_EQ(stream->row.path[i].node, land_id(nodes[i]));
}

#define CHECK_PATH(land, node, ...)                                                          \
	check_path(row_at(land, node), sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned), \
		(unsigned[]){__VA_ARGS__})

#endif

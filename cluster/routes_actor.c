/* SPDX-License-Identifier: Apache-2.0
 *
 * routes: over which nodes this one reaches another. In every control process.
 *
 *   links --link_report--> here --node_report, each second--> the brain --path_table--> here
 *   stream --route_ask--> route, and again each time the ways change, if it wants that
 *
 * Reports at once when somebody gets into trouble. Owns what routes.h decides with; never moves a
 * stream itself.
 */
#include "cluster/cluster.h"
#include "cluster/neighbours.h"
#include "cluster/routes.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum {
	REPORT_MS = 1000,
	/* after the first report to a new brain, which did not know our neighbours then */
	REPEAT_MS = 300,
	NAME_MS = 1000,
	ALARM_MS = 5, /* what comes together is said together */
	WORKERS_MAX = RUNTIME_PEERS_MAX,
};

enum routes_timer { TIMER_REPORT, TIMER_ALARM };

struct routes_actor {
	struct routes_state st;

	struct routes routes;
	struct msg_node_report *report;
	struct neighbours neighbours; /* for /metrics */
	uint64_t name_request;
	uint16_t busy_permille;
	bool draining;
	uint32_t workers[WORKERS_MAX]; /* media processes, that links are opened in */
	uint32_t worker_count;
};

/* ---- routes ------------------------------------------------------------------------------------- */

static void show(struct routes_actor *s)
{
	s->st.term = s->routes.term;
	s->st.version = s->routes.version;
	s->st.digest = s->routes.table.digest;
	s->st.rows = s->routes.table.count;
	s->st.neighbours = s->routes.count;
	s->st.alarms = s->routes.alarms;
}

static struct route_watcher *find_watcher(struct routes_actor *s, struct addr who, uint64_t origin)
{
	for (int i = 0; i < s->st.watchers_count; i++)
		if (addr_equal(s->st.watchers[i].who, who) && s->st.watchers[i].origin == origin)
			return &s->st.watchers[i];
	return NULL;
}

static bool watches_something(const struct routes_actor *s, struct addr who)
{
	for (int i = 0; i < s->st.watchers_count; i++)
		if (addr_equal(s->st.watchers[i].who, who))
			return true;
	return false;
}

static void remove_watcher(
	struct actor *self, struct routes_actor *s, struct route_watcher *watcher)
{
	struct addr who = watcher->who;

	*watcher = s->st.watchers[--s->st.watchers_count];
	if (!watches_something(s, who))
		actor_unmonitor(self, who);
}

/* Of the ways with their states: who takes the second one is to hear when that is in trouble. And of who
 * is in trouble, in any order. */
static uint64_t ways_digest(const struct msg_route *route)
{
	uint64_t digest = 0;

	for (unsigned i = 0; i < route->troubled_count; i++)
		digest ^= table_row_digest(&(struct table_row){
			.count = 1, .way = {{route->troubled[i].node, route->troubled[i].state}}});
	for (unsigned i = 0; i < route->ways_count; i++)
		digest ^= table_row_digest(
			&(struct table_row){.origin = (uint64_t)route->ways[i].state << 8 | (i + 1),
				.count = 1,
				.way = {{route->ways[i].near, route->ways[i].far}}});
	return digest;
}

/* Tells those whose ways have changed. */
static void tell_watchers(struct actor *self, struct routes_actor *s)
{
	struct route_trouble troubled[ROUTE_TROUBLED_MAX] = {0};
	uint16_t troubled_count = routes_troubled(&s->routes, actor_now_us(self), troubled);

	for (int i = 0; i < s->st.watchers_count; i++) {
		struct route_watcher *watcher = &s->st.watchers[i];
		struct msg_route route;
		uint64_t digest;

		routes_choose(&s->routes, watcher->origin, actor_now_us(self), &route);
		memcpy(route.troubled, troubled, sizeof(troubled));
		route.troubled_count = troubled_count;
		digest = ways_digest(&route);
		if (digest == watcher->told)
			continue;
		watcher->told = digest;
		s->st.detours += route.detour;
		actor_send_mail(self, watcher->who, MSG_route, &schema_route, &route);
	}
	show(s);
}

ON(routes_actor, route_ask)
{
	struct route_watcher *watcher = find_watcher(s, mail->from, m->origin);
	struct msg_route route;

	s->st.asked++;
	if (!m->origin)
		return ERR_FORMAT;
	if (watcher && m->off)
		remove_watcher(self, s, watcher);
	routes_choose(&s->routes, m->origin, actor_now_us(self), &route);
	route.troubled_count = routes_troubled(&s->routes, actor_now_us(self), route.troubled);
	if (m->watch && !m->off && !watcher) {
		if (s->st.watchers_count == ROUTE_WATCHERS_MAX) {
			s->st.refused++;
			return ERR_LIMIT;
		}
		if (!watches_something(s, mail->from))
			actor_monitor(self, mail->from);
		watcher = &s->st.watchers[s->st.watchers_count++];
		*watcher = (struct route_watcher){.who = mail->from, .origin = m->origin};
	}
	if (m->watch && !m->off)
		watcher->told = ways_digest(&route);
	return actor_answer_mail(self, actor_asker(self), MSG_route, &schema_route, &route);
}

ON(routes_actor, link_via_ask)
{
	return actor_reply(self, link_via,
		{.relay = routes_relay_to(&s->routes, m->node, actor_now_us(self))});
}

ON(routes_actor, down)
{
	for (int i = s->st.watchers_count - 1; i >= 0; i--)
		if (addr_equal(s->st.watchers[i].who, m->who))
			s->st.watchers[i] = s->st.watchers[--s->st.watchers_count];
	return ERR_OK;
}

/* ---- reports ------------------------------------------------------------------------------------ */

static void send_report(struct actor *self, struct routes_actor *s)
{
	actor_send_mail(self, actor_office_at(self, OFFICE_BRAIN, s->st.brain), MSG_node_report,
		&schema_node_report, s->report);
	s->report->links_count = 0;
}

static void report(struct actor *self, struct routes_actor *s)
{
	const struct config *config = actor_config(self);
	struct msg_node_report *m = s->report;
	int64_t now_us = actor_now_us(self);
	uint32_t at = 0;

	if (!s->st.brain)
		return;
	*m = (struct msg_node_report){
		.tier = config ? (config->tier ? NODE_CORE : NODE_EDGE) : NODE_CORE,
		.cost = config ? (uint32_t)config->node_cost : 0,
		.capacity_bps = config ? (uint64_t)config->node_capacity_bps : 0,
		.busy_permille = s->busy_permille,
		.draining = s->draining,
		.term = s->routes.term,
		.version = s->routes.version,
		.digest = s->routes.table.digest,
		.rows = s->routes.table.count,
		.detours = routes_detours(&s->routes, now_us),
		.detours_total = s->st.detours,
	};
	if (config) {
		text_copy(m->name, sizeof(m->name), config->node_name);
		text_copy(m->region, sizeof(m->region), config->region);
	}
	while (routes_next_link(&s->routes, &at, now_us, &m->links[m->links_count])) {
		struct link_row *row = &m->links[m->links_count];

		row->mode = LINK_SMART; /* who plans has no use for these */
		row->repaired = row->given_up = 0;
		if (++m->links_count == LINK_ROWS_MAX)
			send_report(self, s);
	}
	send_report(self, s);
}

ON(routes_actor, link_report)
{
	bool trouble = false;
	enum err err;

	if (mail->from.node != actor_addr(self).node)
		return ERR_FORBIDDEN;
	for (unsigned i = 0; i < m->links_count; i++) {
		trouble |= routes_heard(
			&s->routes, mail->from.id, &m->links[i], actor_now_us(self), &err);
		s->st.refused += err != ERR_OK;
	}
	if (trouble)
		actor_timer_in_ms(self, TIMER_ALARM, ALARM_MS);
	return ERR_OK;
}

ON(routes_actor, node_seen)
{
	uint64_t alarms = s->routes.alarms;

	s->st.refused += routes_seen(&s->routes, m->node, m->up, actor_now_us(self)) != ERR_OK;
	if (s->routes.alarms != alarms)
		actor_timer_in_ms(self, TIMER_ALARM, ALARM_MS);
	return ERR_OK;
}

ON(routes_actor, node_load)
{
	s->busy_permille = m->busy_permille;
	s->draining = m->draining;
	return ERR_OK;
}

ON(routes_actor, links_ask)
{
	struct msg_links_told *told = calloc(1, sizeof(*told));
	uint32_t at = 0;
	enum err err;

	if (!told)
		return ERR_NO_MEMORY;
	while (told->links_count < LINK_ROWS_MAX &&
		routes_next_link(
			&s->routes, &at, actor_now_us(self), &told->links[told->links_count]))
		told->links_count++;
	err = actor_answer_mail(self, actor_asker(self), MSG_links_told, &schema_links_told, told);
	free(told);
	return err;
}

/* ---- metrics ------------------------------------------------------------------------------------ */

/* The mesh office knows names; its answer begins with the first node behind. */
static void ask_name(struct actor *self, struct routes_actor *s)
{
	uint64_t node = neighbours_unnamed(&s->neighbours);
	struct addr mesh = actor_office(self, OFFICE_MESH);

	if (node && !s->name_request && !addr_is_nobody(mesh))
		s->name_request =
			actor_request(self, mesh, NAME_MS, nodes_ask, {.after = node - 1});
}

static void show_paths(struct actor *self, struct routes_actor *s, uint64_t node)
{
	struct link_row rows[LINK_WAYS_MAX];

	neighbours_paths(&s->neighbours, node, rows,
		routes_paths(&s->routes, node, actor_now_us(self), rows));
}

static bool is_named(const struct neighbours *n, uint64_t node)
{
	for (unsigned i = 0; i < n->count; i++)
		if (n->named[i].id == node)
			return true;
	return false;
}

static void show_neighbours(struct actor *self, struct routes_actor *s)
{
	const struct process_neighbours *shown;
	struct link_row row;

	neighbours_begin(&s->neighbours);
	for (uint32_t at = 0; routes_next_link(&s->routes, &at, actor_now_us(self), &row);)
		neighbours_offer(&s->neighbours, &row);
	shown = neighbours_end(&s->neighbours);
	for (unsigned i = 0; i < s->neighbours.count; i++)
		show_paths(self, s, s->neighbours.named[i].id);
	for (uint32_t at = 0; routes_next_link(&s->routes, &at, actor_now_us(self), &row);)
		if (!is_named(&s->neighbours, row.node))
			show_paths(self, s, row.node);
	process_neighbours_set(runtime_env(actor_runtime(self)), shown, &s->neighbours.paths);
	ask_name(self, s);
}

ON(routes_actor, nodes_told)
{
	if (mail->request != s->name_request)
		return ERR_OK;
	s->name_request = 0;
	for (int i = 0; i < m->nodes_count; i++)
		neighbours_name(&s->neighbours, m->nodes[i].node, m->nodes[i].record.name);
	return ERR_OK;
}

ON(routes_actor, failed)
{
	if (mail->request == s->name_request)
		s->name_request = 0;
	return ERR_OK;
}

/* ---- the brain ---------------------------------------------------------------------------------- */

ON(routes_actor, brain_is)
{
	bool is_new = m->node && m->node != s->st.brain;

	s->st.brain = m->node;
	if (is_new) {
		report(self, s);
		actor_timer_in_ms(self, TIMER_REPORT, REPEAT_MS);
	}
	return ERR_OK;
}

ON(routes_actor, path_table)
{
	enum err err = routes_take(&s->routes, m, actor_now_us(self));

	if (err == ERR_VERSION)
		s->st.fenced++;
	else if (err)
		s->st.refused++;
	tell_watchers(self, s);
	return err;
}

/* A link to a neighbour that nothing is sent to is one worker's to keep. */
static uint32_t worker_for(const struct routes_actor *s, uint64_t node)
{
	return s->workers[(node * UINT64_C(0x9e3779b97f4a7c15) >> 32) % s->worker_count];
}

ON(routes_actor, probe_plan)
{
	struct msg_probe_plan part;

	if (m->term < s->routes.term)
		return ERR_VERSION;
	for (uint32_t i = 0; i < s->worker_count; i++) {
		part = (struct msg_probe_plan){.term = m->term};
		for (unsigned j = 0; j < m->nodes_count; j++)
			if (worker_for(s, m->nodes[j].node) == s->workers[i])
				part.nodes[part.nodes_count++] = m->nodes[j];
		actor_send_mail(self, actor_office_in(self, OFFICE_LINK, s->workers[i]),
			MSG_probe_plan, &schema_probe_plan, &part);
	}
	return ERR_OK;
}

ON(routes_actor, peer)
{
	uint32_t i = 0;

	if (m->role != PROCESS_MEDIA)
		return ERR_OK;
	while (i < s->worker_count && s->workers[i] != m->process)
		i++;
	if (m->up && i == s->worker_count && i < WORKERS_MAX)
		s->workers[s->worker_count++] = m->process;
	else if (!m->up && i < s->worker_count)
		s->workers[i] = s->workers[--s->worker_count];
	return ERR_OK;
}

/* ---- life --------------------------------------------------------------------------------------- */

static void routes_actor_timer(struct actor *self, void *data, unsigned timer)
{
	struct routes_actor *s = data;

	switch ((enum routes_timer)timer) {
	case TIMER_REPORT:
		if (routes_expire(&s->routes, actor_now_us(self)))
			tell_watchers(self, s);
		report(self, s);
		show_neighbours(self, s);
		show(s);
		actor_timer_in_ms(self, TIMER_REPORT, REPORT_MS);
		break;
	case TIMER_ALARM:
		tell_watchers(self, s);
		report(self, s);
		break;
	}
}

static enum err build(struct actor *self, struct routes_actor *s)
{
	enum err err = routes_init(&s->routes);

	if (err)
		return err;
	s->report = calloc(1, sizeof(*s->report));
	if (!s->report) {
		routes_fini(&s->routes);
		return ERR_NO_MEMORY;
	}
	actor_set_name(self, "office/routes");
	actor_watch_nodes(self);
	actor_watch_peers(self);
	actor_timer_in_ms(self, TIMER_REPORT, REPORT_MS);
	return ERR_OK;
}

static enum err routes_actor_init(struct actor *self, void *data, const void *args)
{
	(void)args;
	return build(self, data);
}

/* Who watches goes on watching; the table comes again, and with it what has changed. */
static enum err routes_actor_restore(struct actor *self, void *data)
{
	struct routes_actor *s = data;
	enum err err = build(self, s);

	s->st.brain = 0;
	show(s);
	return err;
}

static void routes_actor_stop(struct actor *self, void *data, enum err reason)
{
	struct routes_actor *s = data;

	(void)self;
	(void)reason;
	routes_fini(&s->routes);
	free(s->report);
}

static const struct handler routes_handlers[] = {
	HANDLER(routes_actor, route_ask, 0),
	HANDLER(routes_actor, link_report, 0),
	HANDLER(routes_actor, links_ask, 0),
	HANDLER(routes_actor, link_via_ask, 0),
	HANDLER(routes_actor, node_seen, 0),
	HANDLER(routes_actor, node_load, 0),
	HANDLER(routes_actor, brain_is, 0),
	HANDLER(routes_actor, path_table, 0),
	HANDLER(routes_actor, probe_plan, 0),
	HANDLER(routes_actor, nodes_told, 0),
	HANDLER(routes_actor, failed, 0),
	HANDLER(routes_actor, down, 0),
	HANDLER(routes_actor, peer, 0),
};

const struct actor_type routes_actor = {
	.name = "routes",
	.size = sizeof(struct routes_actor),
	.state = &schema_routes_state,
	.mailbox_max = 16384,
	HANDLER_TABLE(routes_handlers),
	.init = routes_actor_init,
	.restore = routes_actor_restore,
	.stop = routes_actor_stop,
	.timer = routes_actor_timer,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/routes.h"

#include <stdlib.h>

enum { MS = 1000, HEARD_FIRST = 4 };

enum err routes_init(struct routes *routes)
{
	enum err err;

	*routes = (struct routes){.nodes = calloc(ROUTES_NODES_MAX, sizeof(*routes->nodes))};
	if (!routes->nodes)
		return ERR_NO_MEMORY;
	err = path_table_init(&routes->table);
	if (err)
		routes_fini(routes);
	return err;
}

void routes_fini(struct routes *routes)
{
	for (uint32_t i = 0; i < routes->count; i++)
		free(routes->nodes[i].heard);
	free(routes->nodes);
	idmap_fini(&routes->by_id);
	path_table_fini(&routes->table);
	*routes = (struct routes){0};
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static struct routes_node *find_node(const struct routes *routes, uint64_t id)
{
	return id ? idmap_get(&routes->by_id, id) : NULL;
}

static enum err make_node(struct routes *routes, uint64_t id, struct routes_node **node)
{
	enum err err;

	*node = find_node(routes, id);
	if (*node || !id)
		return id ? ERR_OK : ERR_FORMAT;
	if (routes->count == ROUTES_NODES_MAX)
		return ERR_LIMIT;
	err = idmap_put(&routes->by_id, id, &routes->nodes[routes->count]);
	if (err)
		return err;
	*node = &routes->nodes[routes->count++];
	**node = (struct routes_node){.id = id};
	return ERR_OK;
}

static void drop_node(struct routes *routes, struct routes_node *node)
{
	const struct routes_node *last = &routes->nodes[--routes->count];

	idmap_remove(&routes->by_id, node->id);
	free(node->heard);
	if (node != last) {
		*node = *last;
		MUST(idmap_put(&routes->by_id, node->id, node) == ERR_OK); /* replaces */
	}
}

/* ---- what is known of links ------------------------------------------------------------------- */

static bool counts(const struct routes_heard *heard, int64_t now_us)
{
	return !heard->row.relay && now_us - heard->at_us <= (int64_t)ROUTES_HEARD_OLD_MS * MS;
}

/* The best of its paths; LINK_CLOSED: there is none. */
static uint8_t heard_state(const struct routes_node *node, int64_t now_us)
{
	uint8_t best = LINK_CLOSED;

	for (uint16_t i = 0; i < node->heard_count; i++)
		if (counts(&node->heard[i], now_us) && node->heard[i].row.state < best)
			best = node->heard[i].row.state;
	return best;
}

/* How the way to this neighbour stands now. Who has no link yet is none the worse for it. */
static uint8_t present_state(const struct routes_node *node, int64_t now_us)
{
	uint8_t state;

	if (!node)
		return LINK_UP;
	if (node->is_lost)
		return LINK_DOWN;
	state = heard_state(node, now_us);
	return state == LINK_CLOSED ? LINK_UP : state;
}

/* The same, with the trouble that it was in a while ago. */
static uint8_t link_state(const struct routes_node *node, int64_t now_us)
{
	uint8_t state = present_state(node, now_us);

	return node && now_us < node->held_until_us && node->held > state ? node->held : state;
}

static struct routes_heard *heard_from(struct routes_node *node, uint64_t by, uint8_t path)
{
	for (uint16_t i = 0; i < node->heard_count; i++)
		if (node->heard[i].by == by && node->heard[i].row.path == path)
			return &node->heard[i];
	return NULL;
}

static enum err add_heard(struct routes_node *node, struct routes_heard **heard)
{
	if (node->heard_count == ROUTES_HEARD_MAX)
		return ERR_LIMIT;
	if (node->heard_count == node->heard_room) {
		uint16_t room = node->heard_room ? (uint16_t)(node->heard_room * 2) : HEARD_FIRST;
		struct routes_heard *more = realloc(node->heard, room * sizeof(*more));

		if (!more)
			return ERR_NO_MEMORY;
		node->heard = more;
		node->heard_room = room;
	}
	*heard = &node->heard[node->heard_count++];
	return ERR_OK;
}

/* True: it was well, and is not any more. */
static bool note_trouble(struct routes *routes, struct routes_node *node, int64_t now_us)
{
	uint8_t state = node->is_lost ? LINK_DOWN : heard_state(node, now_us);
	bool is_new = now_us >= node->held_until_us;

	if (state != LINK_DOUBTFUL && state != LINK_DOWN)
		return false;
	is_new |= state > node->held;
	node->held = is_new || state > node->held ? state : node->held;
	node->held_until_us = now_us + (int64_t)ROUTES_HOLD_MS * MS;
	routes->alarms += is_new;
	return is_new;
}

bool routes_heard(struct routes *routes, uint64_t by, const struct link_row *row, int64_t now_us,
	enum err *err)
{
	struct routes_heard *heard;
	struct routes_node *node = find_node(routes, row->node);
	uint8_t before = present_state(node, now_us);

	*err = ERR_OK;
	if (row->state >= LINK_CLOSED) {
		heard = node ? heard_from(node, by, row->path) : NULL;
		if (heard)
			*heard = node->heard[--node->heard_count];
		return false;
	}
	*err = make_node(routes, row->node, &node);
	if (*err)
		return false;
	heard = heard_from(node, by, row->path);
	if (!heard)
		*err = add_heard(node, &heard);
	if (*err)
		return false;
	*heard = (struct routes_heard){.by = by, .at_us = now_us, .row = *row};
	if (row->state == LINK_UP && !row->relay)
		node->is_lost = false;
	/* into the same trouble again, which counts still, is worse for who copies from there */
	return note_trouble(routes, node, now_us) || present_state(node, now_us) > before;
}

enum err routes_seen(struct routes *routes, uint64_t id, bool up, int64_t now_us)
{
	struct routes_node *node = find_node(routes, id);
	enum err err = ERR_OK;

	if (up && !node)
		return ERR_OK;
	if (!node)
		err = make_node(routes, id, &node);
	if (err)
		return err;
	if (!up && !node->is_lost)
		node->lost_us = now_us;
	node->is_lost = !up;
	note_trouble(routes, node, now_us);
	return ERR_OK;
}

bool routes_expire(struct routes *routes, int64_t now_us)
{
	bool changed = false;

	for (uint32_t i = routes->count; i > 0; i--) {
		struct routes_node *node = &routes->nodes[i - 1];
		bool was_held = node->held_until_us != 0;

		for (uint16_t j = node->heard_count; j > 0; j--)
			if (now_us - node->heard[j - 1].at_us > (int64_t)ROUTES_HEARD_OLD_MS * MS)
				node->heard[j - 1] = node->heard[--node->heard_count];
		if (was_held && now_us >= node->held_until_us) {
			node->held_until_us = 0;
			node->held = LINK_UP;
			changed = true;
		}
		if (node->is_lost && now_us - node->lost_us > (int64_t)ROUTES_LOST_OLD_MS * MS) {
			/* taking a row away needs no memory */
			MUST(path_table_set(&routes->table,
				     &(struct table_row){.origin = node->id}) == ERR_OK);
			drop_node(routes, node);
			changed = true;
		} else if (!node->heard_count && !node->is_lost && !node->relays &&
			   !node->held_until_us) {
			drop_node(routes, node);
		}
	}
	return changed;
}

/* ---- the table -------------------------------------------------------------------------------- */

static void trust_brain(struct routes_node *node, int64_t now_us)
{
	if (node && node->is_lost && now_us - node->lost_us > (int64_t)ROUTES_HOLD_MS * MS)
		node->is_lost = false;
}

/* Whom a row leads over is known from now on. Without memory: the way is still good. */
static void note_relay(struct routes *routes, uint64_t id, int64_t now_us)
{
	struct routes_node *node;

	if (!id || make_node(routes, id, &node))
		return;
	node->relays = true;
	trust_brain(node, now_us);
}

enum err routes_take(struct routes *routes, const struct msg_path_table *message, int64_t now_us)
{
	struct table_row row;
	size_t at = 0;
	enum err err;

	if (message->term < routes->term)
		return ERR_VERSION;
	if (message->anew)
		path_table_clear(&routes->table);
	routes->term = message->term;
	routes->version = message->version;
	while ((err = path_unpack(message, &at, &row)) == ERR_OK) {
		err = path_table_set(&routes->table, &row);
		if (row.count)
			trust_brain(find_node(routes, row.origin), now_us);
		for (unsigned i = 0; !err && i < row.count; i++) {
			note_relay(routes, row.way[i].near, now_us);
			note_relay(routes, row.way[i].far, now_us);
		}
		if (err)
			return err;
	}
	return err == ERR_AGAIN ? ERR_OK : err;
}

/* ---- choosing ---------------------------------------------------------------------------------- */

static uint8_t way_state(
	const struct routes *routes, uint64_t origin, const struct table_way *way, int64_t now_us)
{
	const struct routes_node *far = find_node(routes, way->far);
	const struct routes_node *last = find_node(routes, origin);
	uint8_t state = link_state(find_node(routes, way->near ? way->near : origin), now_us);

	return (far && far->is_lost) || (last && last->is_lost) ? LINK_DOWN : state;
}

/* What was in trouble a while ago is better than what is in the same trouble now. */
static unsigned rank_of(
	const struct routes *routes, uint64_t origin, const struct route_way *way, int64_t now_us)
{
	const struct routes_node *first = find_node(routes, way->near ? way->near : origin);

	return 2u * way->state + (present_state(first, now_us) != LINK_UP);
}

/* Better ones before worse ones; of those that are as good, as they came. */
static void put_way(const struct routes *routes, struct msg_route *route,
	const struct table_way *way, int64_t now_us)
{
	struct route_way put = {.near = way->near,
		.far = way->far,
		.state = way_state(routes, route->origin, way, now_us)};
	unsigned rank = rank_of(routes, route->origin, &put, now_us);
	unsigned place = route->ways_count++;

	for (; place && rank_of(routes, route->origin, &route->ways[place - 1], now_us) > rank;
		place--)
		route->ways[place] = route->ways[place - 1];
	route->ways[place] = put;
}

static void put_worse(
	struct route_trouble troubled[ROUTE_TROUBLED_MAX], const struct route_trouble *one)
{
	unsigned i = 0;

	while (i < ROUTE_TROUBLED_MAX && troubled[i].state >= one->state)
		i++;
	if (i < ROUTE_TROUBLED_MAX)
		troubled[i] = *one;
}

uint16_t routes_troubled(const struct routes *routes, int64_t now_us,
	struct route_trouble troubled[ROUTE_TROUBLED_MAX])
{
	uint16_t count = 0;

	for (uint32_t i = 0; i < routes->count; i++) {
		const struct routes_node *node = &routes->nodes[i];
		struct route_trouble one = {node->id, heard_state(node, now_us)};

		if (node->is_lost || (one.state != LINK_DOUBTFUL && one.state != LINK_DOWN))
			continue; /* of who is lost everybody hears by the mesh */
		if (count < ROUTE_TROUBLED_MAX)
			troubled[count++] = one;
		else if (one.state == LINK_DOWN)
			put_worse(troubled, &one);
	}
	return count;
}

static uint32_t heard_rtt_us(const struct routes_node *node, int64_t now_us)
{
	uint32_t least = UINT32_MAX;

	for (uint16_t i = 0; i < node->heard_count; i++)
		if (counts(&node->heard[i], now_us) && node->heard[i].row.rtt_us < least)
			least = node->heard[i].row.rtt_us;
	return least;
}

static bool has_near(const struct msg_route *route, uint64_t near)
{
	for (unsigned i = 0; i < route->ways_count; i++)
		if (route->ways[i].near == near)
			return true;
	return false;
}

/* The nearest relay that is well; `route` NULL, or none that is in it. */
static const struct routes_node *nearest_relay(
	const struct routes *routes, uint64_t origin, const struct msg_route *route, int64_t now_us)
{
	const struct routes_node *nearest = NULL;
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; i < routes->count; i++) {
		const struct routes_node *node = &routes->nodes[i];
		uint32_t rtt_us = heard_rtt_us(node, now_us);

		if (node->relays && node->id != origin && rtt_us < least &&
			link_state(node, now_us) == LINK_UP &&
			!(route && has_near(route, node->id))) {
			nearest = node;
			least = rtt_us;
		}
	}
	return nearest;
}

/* It finds its way itself. */
static void put_last_resort(const struct routes *routes, int64_t now_us, struct msg_route *route)
{
	const struct routes_node *nearest = nearest_relay(routes, route->origin, route, now_us);

	if (nearest)
		put_way(routes, route, &(struct table_way){.near = nearest->id}, now_us);
}

uint64_t routes_relay_to(const struct routes *routes, uint64_t peer, int64_t now_us)
{
	const struct table_row *row = path_table_get(&routes->table, peer);
	const struct routes_node *nearest;

	for (unsigned i = 0; row && i < row->count; i++)
		if (row->way[i].near && !row->way[i].far &&
			link_state(find_node(routes, row->way[i].near), now_us) == LINK_UP)
			return row->way[i].near;
	nearest = nearest_relay(routes, peer, NULL, now_us);
	return nearest ? nearest->id : 0;
}

void routes_choose(
	const struct routes *routes, uint64_t origin, int64_t now_us, struct msg_route *route)
{
	const struct table_row *row = path_table_get(&routes->table, origin);
	const struct routes_node *node = find_node(routes, origin);
	static const struct table_way straight;

	*route = (struct msg_route){.origin = origin, .planned = row != NULL};
	for (unsigned i = 0; row && i < row->count; i++)
		put_way(routes, route, &row->way[i], now_us);
	if (!row || (route->ways[0].state != LINK_UP && !has_near(route, 0)))
		put_way(routes, route, &straight, now_us);
	/* nobody reaches a node that is lost */
	if (route->ways[0].state != LINK_UP && route->ways_count < ROUTE_WAYS_MAX &&
		!(node && node->is_lost))
		put_last_resort(routes, now_us, route);
	route->detour = row && (route->ways[0].near != row->way[0].near ||
				       route->ways[0].far != row->way[0].far);
}

uint32_t routes_detours(const struct routes *routes, int64_t now_us)
{
	struct msg_route route;
	uint32_t count = 0;

	for (uint32_t i = 0; i < routes->table.count; i++) {
		routes_choose(routes, routes->table.rows[i].origin, now_us, &route);
		count += route.detour;
	}
	return count;
}

/* ---- reporting --------------------------------------------------------------------------------- */

unsigned routes_paths(
	const struct routes *routes, uint64_t id, int64_t now_us, struct link_row *rows)
{
	const struct routes_node *node = find_node(routes, id);
	unsigned count = 0;

	for (uint8_t path = 0; node && path < LINK_WAYS_MAX; path++) {
		struct link_row *row = &rows[count];

		*row = (struct link_row){.state = LINK_CLOSED};
		for (uint16_t i = 0; i < node->heard_count; i++) {
			const struct link_row *heard = &node->heard[i].row;
			uint64_t rate_bps = row->rate_bps;

			if (heard->path != path ||
				now_us - node->heard[i].at_us > (int64_t)ROUTES_HEARD_OLD_MS * MS)
				continue;
			if (heard->state < row->state ||
				(heard->state == row->state && heard->rtt_us < row->rtt_us))
				*row = *heard;
			row->rate_bps = rate_bps + heard->rate_bps;
		}
		count += row->state != LINK_CLOSED;
	}
	return count;
}

bool routes_next_link(
	const struct routes *routes, uint32_t *at, int64_t now_us, struct link_row *row)
{
	while (*at < routes->count) {
		const struct routes_node *node = &routes->nodes[(*at)++];
		uint8_t state = heard_state(node, now_us);
		uint64_t lost = 0, weight = 0, limited_bps = 0;

		if (state == LINK_CLOSED)
			continue;
		*row = (struct link_row){.node = node->id,
			.state = node->is_lost ? LINK_DOWN : state,
			.rtt_us = UINT32_MAX};
		for (uint16_t i = 0; i < node->heard_count; i++) {
			const struct link_row *heard = &node->heard[i].row;

			if (!counts(&node->heard[i], now_us))
				continue;
			row->mode = heard->mode;
			row->repaired += heard->repaired;
			row->given_up += heard->given_up;
			if (heard->state != state)
				continue;
			if (heard->rtt_us < row->rtt_us) {
				row->rtt_us = heard->rtt_us;
				row->jitter_us = heard->jitter_us;
			}
			/* by what each sends, probes counting for a little */
			lost += heard->loss_ppm * (heard->rate_bps / 1000 + 1);
			weight += heard->rate_bps / 1000 + 1;
			row->rate_bps += heard->rate_bps;
			if (heard->capacity_bps) {
				limited_bps += heard->rate_bps;
				row->capacity_bps += heard->capacity_bps;
			}
		}
		row->loss_ppm = (uint32_t)(lost / weight);
		/* who has met no limit is taken to be used as much as those that have */
		if (limited_bps)
			row->capacity_bps = (uint64_t)((double)row->capacity_bps *
						       (double)row->rate_bps / (double)limited_bps);
		if (row->capacity_bps && row->capacity_bps < row->rate_bps)
			row->capacity_bps = row->rate_bps;
		return true;
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/topology.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	MS = 1000,
	FULL = 1000,	      /* permille */
	SMOOTH = 4,	      /* one in so many of what is new */
	CHANGE_PERMILLE = 50, /* of a weight, that the planner hears of … */
	CHANGE_US = 1000,     /* … and at least this */
	LINKS_FIRST = 8,
};

enum err topology_create(const struct topology_options *options, struct topology **topology)
{
	struct topology *made = calloc(1, sizeof(*made));
	enum err err = ERR_NO_MEMORY;

	*topology = made;
	if (!made)
		return ERR_NO_MEMORY;
	made->options = *options;
	made->nodes = calloc(TOPOLOGY_NODES_MAX, sizeof(*made->nodes));
	if (made->nodes)
		err = paths_create(&options->paths, &made->paths);
	if (err)
		topology_destroy(topology);
	return err;
}

void topology_destroy(struct topology **topology)
{
	struct topology *gone = *topology;

	*topology = NULL;
	if (!gone)
		return;
	for (uint32_t i = 0; i < gone->places; i++)
		free(gone->nodes[i].links);
	free(gone->nodes);
	idmap_fini(&gone->by_id);
	paths_destroy(&gone->paths);
	free(gone);
}

struct topology_node *topology_find(const struct topology *topology, uint64_t id)
{
	return id ? idmap_get(&topology->by_id, id) : NULL;
}

struct topology_node *topology_named(const struct topology *topology, const char *text)
{
	struct topology_node *found = NULL;
	char *end;
	uint64_t id = strtoull(text, &end, 16);

	for (uint32_t i = 0; i < topology->places; i++) {
		struct topology_node *node = &topology->nodes[i];

		if (node->id && !strcmp(node->about.name, text) && (!found || node->id < found->id))
			found = node;
	}
	return found || !*text || *end ? found : topology_find(topology, id);
}

uint16_t topology_place(const struct topology *topology, const struct topology_node *node)
{
	return (uint16_t)(node - topology->nodes);
}

size_t topology_bytes(const struct topology *topology)
{
	size_t bytes = sizeof(*topology) + TOPOLOGY_NODES_MAX * sizeof(*topology->nodes) +
		       topology->by_id.capacity * sizeof(struct idmap_entry);

	for (uint32_t i = 0; i < topology->places; i++)
		bytes += topology->nodes[i].link_room * sizeof(struct topology_link);
	return bytes + graph_bytes(paths_graph(topology->paths)) + paths_bytes(topology->paths);
}

/* ---- weights --------------------------------------------------------------------------------- */

uint32_t topology_busy_permille(const struct topology *topology, const struct topology_link *link)
{
	uint64_t busy = topology->nodes[link->to].about.busy_permille;
	uint64_t used = 0;

	if (link->capacity_bps)
		used = link->rate_bps >= link->capacity_bps
			       ? FULL
			       : link->rate_bps * FULL / link->capacity_bps;
	if (link->state == LINK_DOUBTFUL)
		used = FULL;
	busy = busy > used ? busy : used;
	return (uint32_t)(busy < FULL ? busy : FULL);
}

static uint64_t crowding_us(uint32_t busy_permille)
{
	uint32_t above = busy_permille - TOPOLOGY_CROWDED_PERMILLE;
	uint64_t most = (uint64_t)TOPOLOGY_CROWDING_MAX * TOPOLOGY_CROWDING_US;
	uint64_t us;

	if (busy_permille <= TOPOLOGY_CROWDED_PERMILLE)
		return 0;
	if (busy_permille >= FULL)
		return most;
	us = (uint64_t)TOPOLOGY_CROWDING_US * above / (FULL - busy_permille);
	return us < most ? us : most;
}

uint32_t topology_weigh(const struct topology *topology, const struct topology_node *from,
	const struct topology_link *link)
{
	uint64_t us = link->rtt_us / 2;

	/* 1000 * loss: of a million lost, thousandths */
	us += (uint64_t)link->loss_ppm * ((uint64_t)link->rtt_us + TOPOLOGY_RECOVERY_US) / 1000;
	us += crowding_us(topology_busy_permille(topology, link));
	us += (uint64_t)from->about.cost * topology->options.cost_weight;
	return us < 1 ? 1 : us < GRAPH_WEIGHT_MAX ? (uint32_t)us : GRAPH_WEIGHT_MAX;
}

static uint32_t weight_for_planner(const struct topology *topology,
	const struct topology_node *from, const struct topology_link *link)
{
	const struct topology_node *to = &topology->nodes[link->to];

	return from->lost || to->lost || link->state >= LINK_DOWN
		       ? GRAPH_NO_EDGE
		       : topology_weigh(topology, from, link);
}

static bool is_change(uint32_t before, uint32_t now)
{
	uint32_t apart = before > now ? before - now : now - before;

	if (before == GRAPH_NO_EDGE || now == GRAPH_NO_EDGE)
		return before != now;
	return apart > CHANGE_US && (uint64_t)apart * 1000 > (uint64_t)before * CHANGE_PERMILLE;
}

static enum err tell_planner_weight(struct topology *topology, const struct topology_node *from,
	struct topology_link *link, uint32_t weight)
{
	enum err err;

	if (!is_change(link->planned, weight))
		return ERR_OK;
	err = paths_set_edge(topology->paths, topology_place(topology, from), link->to, weight);
	if (!err)
		link->planned = weight;
	return err;
}

static enum err tell_planner(
	struct topology *topology, const struct topology_node *from, struct topology_link *link)
{
	return tell_planner_weight(topology, from, link, weight_for_planner(topology, from, link));
}

static void tell_relay(struct topology *topology, const struct topology_node *node)
{
	paths_set_relay(topology->paths, topology_place(topology, node),
		node->id && node->about.tier == NODE_CORE && !node->about.draining && !node->lost);
}

/* ---- links ----------------------------------------------------------------------------------- */

static uint16_t seek(const struct topology_node *from, uint16_t to)
{
	uint16_t low = 0, high = from->link_count;

	while (low < high) {
		uint16_t middle = (uint16_t)((low + high) / 2);

		if (from->links[middle].to < to)
			low = (uint16_t)(middle + 1);
		else
			high = middle;
	}
	return low;
}

static struct topology_link *find_link(const struct topology_node *from, uint16_t to)
{
	uint16_t place = seek(from, to);

	return place < from->link_count && from->links[place].to == to ? &from->links[place] : NULL;
}

struct topology_link *topology_link_to(const struct topology *topology,
	const struct topology_node *from, const struct topology_node *to)
{
	return find_link(from, topology_place(topology, to));
}

static enum err add_link(struct topology *topology, struct topology_node *from, uint16_t to,
	struct topology_link **link)
{
	uint16_t place = seek(from, to);

	if (from->link_count == TOPOLOGY_LINKS_MAX)
		return ERR_LIMIT;
	if (from->link_count == from->link_room) {
		uint16_t room = from->link_room ? (uint16_t)(from->link_room * 2) : LINKS_FIRST;
		struct topology_link *more = realloc(from->links, room * sizeof(*more));

		if (!more)
			return ERR_NO_MEMORY;
		from->links = more;
		from->link_room = room;
	}
	*link = from->links + place;
	memmove(*link + 1, *link, (size_t)(from->link_count - place) * sizeof(**link));
	**link = (struct topology_link){.to = to, .planned = GRAPH_NO_EDGE};
	from->link_count++;
	topology->link_count++;
	return ERR_OK;
}

/* Taking an edge away needs no memory. */
static void drop_edge(
	struct topology *topology, const struct topology_node *from, struct topology_link *link)
{
	MUST(tell_planner_weight(topology, from, link, GRAPH_NO_EDGE) == ERR_OK);
}

static void drop_link(
	struct topology *topology, struct topology_node *from, struct topology_link *link)
{
	drop_edge(topology, from, link);
	from->link_count--;
	topology->link_count--;
	memmove(link, link + 1, (size_t)(from->links + from->link_count - link) * sizeof(*link));
}

static uint32_t smooth(uint32_t before, uint32_t now)
{
	return (uint32_t)(before + ((int64_t)now - before) / SMOOTH);
}

enum err topology_measured(struct topology *topology, struct topology_node *from,
	const struct link_row *row, int64_t now_us)
{
	struct topology_node *to = topology_find(topology, row->node);
	struct topology_link *link = to ? topology_link_to(topology, from, to) : NULL;
	bool is_new = !link;
	enum err err;

	if (!to || to == from)
		return ERR_OK;
	if (row->state >= LINK_CLOSED) {
		if (link)
			drop_link(topology, from, link);
		return ERR_OK;
	}
	if (is_new) {
		err = add_link(topology, from, topology_place(topology, to), &link);
		if (err)
			return err;
	}
	/* a link that is back is another one */
	is_new |= link->state == LINK_DOWN;
	link->rtt_us = is_new ? row->rtt_us : smooth(link->rtt_us, row->rtt_us);
	link->loss_ppm = is_new ? row->loss_ppm : smooth(link->loss_ppm, row->loss_ppm);
	link->jitter_us = row->jitter_us;
	link->rate_bps = row->rate_bps;
	link->capacity_bps = row->capacity_bps;
	link->state = row->state;
	link->seen_us = now_us;
	return tell_planner(topology, from, link);
}

/* All links to it. */
static void tell_links_to(struct topology *topology, const struct topology_node *to)
{
	uint16_t place = topology_place(topology, to);

	for (uint32_t i = 0; i < topology->places; i++) {
		struct topology_link *link = find_link(&topology->nodes[i], place);

		if (link) /* without memory: it stays as it was until it is reported again */
			(void)tell_planner(topology, &topology->nodes[i], link);
	}
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static enum err add_node(struct topology *topology, uint64_t id, struct topology_node **node)
{
	uint32_t place = 0;
	enum err err;

	while (place < topology->places && topology->nodes[place].id)
		place++;
	if (place == TOPOLOGY_NODES_MAX)
		return ERR_LIMIT;
	*node = &topology->nodes[place];
	err = idmap_put(&topology->by_id, id, *node);
	if (err)
		return err;
	(*node)->id = id;
	topology->node_count++;
	if (place == topology->places)
		topology->places++;
	return ERR_OK;
}

enum err topology_hear(struct topology *topology, uint64_t id, const struct topology_about *about,
	int64_t now_us, struct topology_node **node)
{
	struct topology_node *found = topology_find(topology, id);
	bool weighs_otherwise;
	enum err err;

	*node = NULL;
	if (!id)
		return ERR_FORMAT;
	if (!found) {
		err = add_node(topology, id, &found);
		if (err)
			return err;
	}
	*node = found;
	weighs_otherwise = found->about.busy_permille != about->busy_permille || found->lost;
	found->about = *about;
	found->lost = false;
	found->seen_us = now_us;
	tell_relay(topology, found);
	if (weighs_otherwise)
		tell_links_to(topology, found);
	return ERR_OK;
}

void topology_lost(struct topology *topology, struct topology_node *node)
{
	if (node->lost)
		return;
	/* edges first: what they took part in is marked while the node still relays */
	node->lost = true;
	tell_links_to(topology, node);
	for (uint16_t i = 0; i < node->link_count; i++)
		drop_edge(topology, node, &node->links[i]);
	tell_relay(topology, node);
}

void topology_forget(struct topology *topology, struct topology_node *node)
{
	uint16_t place = topology_place(topology, node);

	for (uint32_t i = 0; i < topology->places; i++) {
		struct topology_link *link = find_link(&topology->nodes[i], place);

		if (link)
			drop_link(topology, &topology->nodes[i], link);
	}
	while (node->link_count)
		drop_link(topology, node, &node->links[node->link_count - 1]);
	idmap_remove(&topology->by_id, node->id);
	free(node->links);
	*node = (struct topology_node){0};
	tell_relay(topology, node);
	topology->node_count--;
}

void topology_expire(struct topology *topology, int64_t now_us)
{
	for (uint32_t i = 0; i < topology->places; i++) {
		struct topology_node *node = &topology->nodes[i];

		if (!node->id)
			continue;
		if (now_us - node->seen_us > (int64_t)TOPOLOGY_NODE_OLD_MS * MS) {
			topology_forget(topology, node);
			continue;
		}
		for (uint16_t j = node->link_count; j > 0; j--)
			if (now_us - node->links[j - 1].seen_us >
				(int64_t)TOPOLOGY_LINK_OLD_MS * MS)
				drop_link(topology, node, &node->links[j - 1]);
	}
}

/* ---- whom to measure ------------------------------------------------------------------------- */

/* Lower is nearer: relays before others, the own region before others, then by the link that is there,
 * then spread so that not all nodes choose the same. */
static uint64_t distance(const struct topology *topology, const struct topology_node *node,
	const struct topology_node *other)
{
	const struct topology_link *link = topology_link_to(topology, node, other);
	bool is_far = strcmp(node->about.region, other->about.region) != 0;
	bool is_edge = other->about.tier != NODE_CORE;
	uint64_t rtt_us = link ? link->rtt_us : UINT32_MAX;
	uint64_t spread = (node->id ^ other->id) * UINT64_C(0x9e3779b97f4a7c15) >> 36;

	return (uint64_t)is_edge << 62 | (uint64_t)is_far << 61 | rtt_us << 28 | spread;
}

unsigned topology_neighbours(const struct topology *topology, const struct topology_node *node,
	uint64_t *ids, unsigned max)
{
	uint64_t nearest[LINK_ROWS_MAX];
	unsigned count = 0;

	if (max > LINK_ROWS_MAX)
		max = LINK_ROWS_MAX;
	for (uint32_t i = 0; max && i < topology->places; i++) {
		const struct topology_node *other = &topology->nodes[i];
		unsigned place = count;
		uint64_t far;

		if (!other->id || other == node)
			continue;
		far = distance(topology, node, other);
		if (count == max && far >= nearest[max - 1])
			continue;
		if (count < max)
			count++;
		else
			place--;
		for (; place && nearest[place - 1] > far; place--) {
			nearest[place] = nearest[place - 1];
			ids[place] = ids[place - 1];
		}
		nearest[place] = far;
		ids[place] = other->id;
	}
	return count;
}

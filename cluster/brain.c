/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/brain.h"

#include <stdio.h>
#include <stdlib.h>

enum { MS = 1000, PROBES_AGAIN_MS = 30000, CANDIDATES_MAX = 8 };

enum err brain_create(const struct brain_options *options, struct brain **brain)
{
	struct brain *made = calloc(1, sizeof(*made));
	enum err err;

	*brain = made;
	if (!made)
		return ERR_NO_MEMORY;
	made->term = options->term;
	made->probe_neighbours = options->probe_neighbours;
	made->nodes = calloc(TOPOLOGY_NODES_MAX, sizeof(*made->nodes));
	made->pack = malloc(sizeof(*made->pack));
	err = made->nodes && made->pack ? topology_create(&options->topology, &made->topology)
					: ERR_NO_MEMORY;
	if (err)
		brain_destroy(brain);
	return err;
}

void brain_destroy(struct brain **brain)
{
	if (*brain) {
		topology_destroy(&(*brain)->topology);
		free((*brain)->nodes);
		free((*brain)->pack);
	}
	free(*brain);
	*brain = NULL;
}

/* ---- reports ---------------------------------------------------------------------------------- */

static struct brain_node *sent_to(struct brain *brain, const struct topology_node *node)
{
	struct brain_node *sent = &brain->nodes[topology_place(brain->topology, node)];

	if (sent->id != node->id)
		*sent = (struct brain_node){.id = node->id};
	return sent;
}

/* What the node has, beside what it was sent. */
static void compare_table(struct brain *brain, const struct topology_node *node,
	const struct msg_node_report *report, int64_t now_us)
{
	struct brain_node *sent = sent_to(brain, node);
	bool is_ours = report->term == brain->term;

	sent->detours = report->detours;
	if (!sent->version)
		sent->had = report->digest;
	else if (is_ours && report->version == sent->version)
		sent->anew |= report->digest != sent->digest;
	else if (now_us - sent->sent_us > (int64_t)BRAIN_BEHIND_MS * MS)
		sent->anew = true;
}

enum err brain_hear(
	struct brain *brain, uint64_t id, const struct msg_node_report *report, int64_t now_us)
{
	struct topology_about about = {
		.tier = report->tier,
		.cost = report->cost,
		.capacity_bps = report->capacity_bps,
		.busy_permille = report->busy_permille,
		.draining = report->draining,
	};
	struct topology_node *node;
	enum err err;

	brain->reports++;
	if (report->term > brain->term_heard)
		brain->term_heard = report->term;
	text_copy(about.name, sizeof(about.name), report->name);
	text_copy(about.region, sizeof(about.region), report->region);
	err = topology_hear(brain->topology, id, &about, now_us, &node);
	for (unsigned i = 0; !err && i < report->links_count; i++)
		err = topology_measured(brain->topology, node, &report->links[i], now_us);
	if (node)
		compare_table(brain, node, report, now_us);
	return err;
}

void brain_raise(struct brain *brain, uint64_t heard)
{
	if (heard <= brain->term || heard == UINT64_MAX)
		return;
	brain->term = heard + 1;
	for (uint32_t place = 0; place < brain->topology->places; place++)
		brain->nodes[place].anew = true;
}

void brain_lost(struct brain *brain, uint64_t id)
{
	struct topology_node *node = topology_find(brain->topology, id);

	if (node)
		topology_lost(brain->topology, node);
}

bool brain_step(struct brain *brain, uint32_t pairs)
{
	return paths_step(brain->topology->paths, pairs);
}

uint32_t brain_detours(const struct brain *brain)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < brain->topology->places; i++)
		if (brain->topology->nodes[i].id == brain->nodes[i].id)
			count += brain->nodes[i].detours;
	return count;
}

/* ---- tables ----------------------------------------------------------------------------------- */

/* The way as the destination goes it: the relay next to it first. */
static struct table_row row_of(const struct brain *brain, uint16_t from, uint16_t to)
{
	const struct topology_node *nodes = brain->topology->nodes;
	const struct ways *ways = paths_get(brain->topology->paths, from, to);
	struct table_row row = {.origin = nodes[from].id};

	for (unsigned i = 0; ways && i < PATHS_WAYS && ways->way[i].relay[0] != WAY_NONE; i++) {
		unsigned relays = way_relays(ways->way[i]);
		struct table_way *way = &row.way[row.count++];

		if (relays)
			way->near = nodes[ways->way[i].relay[relays - 1]].id;
		if (relays == 2)
			way->far = nodes[ways->way[i].relay[0]].id;
	}
	return row;
}

static uint64_t digest_of(const struct brain *brain, uint16_t to)
{
	uint64_t digest = 0;

	for (uint32_t from = 0; from < brain->topology->places; from++) {
		struct table_row row = row_of(brain, (uint16_t)from, to);

		if (row.origin && row.count)
			digest ^= table_row_digest(&row);
	}
	return digest;
}

struct push {
	struct brain *brain;
	struct brain_node *sent;
	struct msg_path_table message;
	brain_send *send;
	void *context;
	uint32_t rows;
};

static void flush(struct push *push)
{
	path_pack_end(push->brain->pack, &push->message);
	push->send(push->context, push->sent->id, &push->message);
	push->brain->tables_sent++;
	push->brain->rows_sent += push->brain->pack->row_count;
	push->rows += push->brain->pack->row_count;
	push->message.anew = false;
	path_pack_begin(push->brain->pack);
}

static void push_row(struct push *push, const struct table_row *row)
{
	if (path_pack_add(push->brain->pack, row) == ERR_OK)
		return;
	flush(push);
	MUST(path_pack_add(push->brain->pack, row) == ERR_OK);
}

static void push_all_rows(struct push *push, uint16_t to)
{
	for (uint32_t from = 0; from < push->brain->topology->places; from++) {
		struct table_row row = row_of(push->brain, (uint16_t)from, to);

		if (row.origin && row.count)
			push_row(push, &row);
		paths_clear_changed(push->brain->topology->paths, to, (uint16_t)from);
	}
}

static void push_changed_rows(struct push *push, uint16_t to)
{
	struct paths *paths = push->brain->topology->paths;
	uint32_t at = 0;
	uint16_t from;

	while (paths_next_changed(paths, to, &at, &from)) {
		struct table_row row = row_of(push->brain, from, to);

		/* whose place is free by now: that node's own row goes when the digests differ */
		if (row.origin)
			push_row(push, &row);
		else
			push->sent->anew = true;
		paths_clear_changed(paths, to, from);
	}
}

/* Returns rows sent. */
static uint32_t push_table(
	struct brain *brain, uint16_t to, int64_t now_us, brain_send *send, void *context)
{
	struct brain_node *sent = sent_to(brain, &brain->topology->nodes[to]);
	uint64_t digest = digest_of(brain, to);
	bool is_first = !sent->version;
	struct push push = {.brain = brain, .sent = sent, .send = send, .context = context};

	push.message.term = brain->term;
	push.message.version = ++sent->version;
	path_pack_begin(brain->pack);
	if (sent->anew || (is_first && sent->had != digest)) {
		push.message.anew = true;
		sent->anew = false;
		push_all_rows(&push, to);
	} else if (is_first) {
		for (uint32_t from = 0; from < brain->topology->places; from++)
			paths_clear_changed(brain->topology->paths, to, (uint16_t)from);
	} else {
		push_changed_rows(&push, to);
	}
	flush(&push);
	sent->digest = digest;
	sent->sent_us = now_us;
	if (sent->version > brain->version)
		brain->version = sent->version;
	return push.rows;
}

static bool is_pending(const struct brain *brain, uint32_t place)
{
	const struct topology_node *node = &brain->topology->nodes[place];
	const struct brain_node *sent = &brain->nodes[place];
	uint32_t at = 0;
	uint16_t from;

	if (!node->id || node->lost || sent->id != node->id)
		return false;
	return !sent->version || sent->anew ||
	       paths_next_changed(brain->topology->paths, (uint16_t)place, &at, &from);
}

bool brain_is_behind(const struct brain *brain)
{
	for (uint32_t place = 0; place < brain->topology->places; place++)
		if (is_pending(brain, place))
			return true;
	return false;
}

bool brain_push(struct brain *brain, int64_t now_us, uint32_t rows, brain_send *send, void *context)
{
	uint32_t places = brain->topology->places, sent = 0;

	for (uint32_t i = 0; i < places; i++) {
		uint32_t place = (brain->push_next + i) % places;

		if (!is_pending(brain, place) ||
			(brain->nodes[place].version &&
				now_us - brain->nodes[place].sent_us < BRAIN_PUSH_MS * MS))
			continue;
		if (sent >= rows) {
			brain->push_next = place;
			return true;
		}
		sent += push_table(brain, (uint16_t)place, now_us, send, context) + 1;
	}
	return false;
}

/* ---- whom to measure --------------------------------------------------------------------------- */

bool brain_next_probes(
	struct brain *brain, int64_t now_us, uint64_t *id, struct msg_probe_plan *plan)
{
	const struct topology *topology = brain->topology;
	const struct topology_node *node;
	struct brain_node *sent;
	uint64_t ids[LINK_ROWS_MAX], digest = 1;
	uint32_t max = brain->probe_neighbours;

	if (!topology->places)
		return false;
	brain->probe_next = (brain->probe_next + 1) % topology->places;
	node = &topology->nodes[brain->probe_next];
	if (!node->id || node->lost)
		return false;
	if (node->about.tier == NODE_CORE)
		max *= BRAIN_CORE_NEIGHBOURS;
	sent = sent_to(brain, node);
	*id = node->id;
	plan->term = brain->term;
	plan->nodes_count = (uint16_t)topology_neighbours(
		topology, node, ids, max < LINK_ROWS_MAX ? max : LINK_ROWS_MAX);
	for (unsigned i = 0; i < plan->nodes_count; i++) {
		plan->nodes[i].node = ids[i];
		digest ^= table_row_digest(&(struct table_row){.origin = ids[i]});
	}
	if (digest == sent->probes && now_us - sent->probes_us < (int64_t)PROBES_AGAIN_MS * MS)
		return false;
	sent->probes = digest;
	sent->probes_us = now_us;
	return true;
}

/* ---- for people -------------------------------------------------------------------------------- */

static void explain_hop(
	const struct topology *topology, uint16_t from, uint16_t to, struct path_hop *hop)
{
	const struct topology_node *nodes = topology->nodes;
	const struct topology_link *link = topology_link_to(topology, &nodes[from], &nodes[to]);

	text_copy(hop->from, sizeof(hop->from), nodes[from].about.name);
	text_copy(hop->to, sizeof(hop->to), nodes[to].about.name);
	if (!link)
		return;
	hop->rtt_us = link->rtt_us;
	hop->loss_ppm = link->loss_ppm;
	hop->busy_permille = (uint16_t)topology_busy_permille(topology, link);
	hop->state = link->state;
	hop->weight_us = link->planned;
}

static const char *reason(const struct ways *ways, unsigned place, struct way way)
{
	static const char *const shares[] = {
		"shares no relay with the first", "shares a relay", "shares both relays"};

	if (!place)
		return way_is(way, ways->way[0]) ? ""
						 : "not in the table: shares more, or is heavier";
	if (place == 1)
		return "lightest, or hardly heavier and taken before";
	return shares[way_shares(way, ways->way[0])];
}

static void explain_way(const struct topology *topology, uint16_t from, uint16_t to, struct way way,
	struct path_candidate *candidate)
{
	const struct ways *ways = paths_get(topology->paths, from, to);
	unsigned relays = way_relays(way);
	uint16_t at = from;

	candidate->weight_us = way_weight(paths_graph(topology->paths), from, to, way);
	for (unsigned i = 0; i <= relays; i++) {
		uint16_t next = i < relays ? way.relay[i] : to;

		explain_hop(topology, at, next, &candidate->hops[candidate->hops_count++]);
		at = next;
	}
	for (unsigned i = 0; i < PATHS_WAYS; i++)
		if (way_is(ways->way[i], way))
			candidate->place = (uint8_t)(i + 1);
	text_copy(candidate->why, sizeof(candidate->why), reason(ways, candidate->place, way));
}

enum err brain_explain(const struct brain *brain, const struct msg_path_query *query,
	struct msg_path_answer *answer)
{
	const struct topology *topology = brain->topology;
	const struct topology_node *from = topology_named(topology, query->from);
	const struct topology_node *to = topology_named(topology, query->to);
	struct way ways[CANDIDATES_MAX];
	uint32_t weights[CANDIDATES_MAX];
	unsigned count;
	uint16_t a, b;

	if (!from || !to)
		return ERR_NOT_FOUND;
	a = topology_place(topology, from);
	b = topology_place(topology, to);
	text_copy(answer->from, sizeof(answer->from), from->about.name);
	text_copy(answer->to, sizeof(answer->to), to->about.name);
	if (!paths_get(topology->paths, a, b))
		return ERR_OK; /* the same, or one without any link */
	count = ways_candidates(paths_graph(topology->paths), a, b, ways, weights, CANDIDATES_MAX);
	for (unsigned i = 0; i < count; i++)
		explain_way(
			topology, a, b, ways[i], &answer->candidates[answer->candidates_count++]);
	return ERR_OK;
}

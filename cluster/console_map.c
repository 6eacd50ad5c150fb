/* SPDX-License-Identifier: Apache-2.0
 *
 * console: `map`: the nodes of the cluster and the links between them, as their own ends see them, and the last
 * changes of ways. What one node knows of its links and has changed is `neighbours`; every node is asked for it. A node that does not answer is on
 * the map all the same, and so are links to it, seen from the other end.
 */
#include "cluster/console_internal.h"
#include "runtime/config.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- one node -------------------------------------------------------------------------------------- */

static json_t *id_text(uint64_t node)
{
	return json_sprintf("%" PRIx64, node);
}

static json_t *link_document(const struct link_row *row)
{
	const char *state = schema_link_state_name(row->state);

	return json_pack("{s:o, s:s, s:f, s:f, s:f, s:f, s:f, s:o}", "to", id_text(row->node),
		"state", state ? state : "unknown", "rtt_ms", (double)row->rtt_us / CONSOLE_MS,
		"jitter_ms", (double)row->jitter_us / CONSOLE_MS, "loss_percent",
		(double)row->loss_ppm / 10000, "mbps", (double)row->rate_bps / 1e6, "capacity_mbps",
		(double)row->capacity_bps / 1e6, "relay",
		row->relay ? id_text(row->relay) : json_null());
}

static void changes_told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	q->asked[0].request = 0;
	q->asked_count = q->waiting = 0;
	json_object_set_new(q->reply.document, "changes",
		console_changes_document(schema == &schema_relay_changes_told ? message : NULL,
			console_changes_mapped_since_us(self)));
	console_finish(self, q);
}

/* Without an answer of its routes a node has no links. */
static void links_told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_links_told *told = schema == &schema_links_told ? message : NULL;
	json_t *links = json_array();

	q->asked[0].request = 0;
	q->asked_count = q->waiting = 0;
	for (int i = 0; told && i < told->links_count; i++)
		json_array_append_new(links, link_document(&told->links[i]));
	json_object_set_new(q->reply.document, "links", links);
	console_ask_changes(self, q, true, changes_told);
}

void console_begin_neighbours(struct actor *self, struct question *q, const char *arguments)
{
	const struct config *config = actor_config(self);
	static const char nothing; /* the message has no fields */

	if (console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
		return;
	}
	q->reply.document = json_object();
	if (!console_in_cluster(self)) {
		console_finish(self, q);
		return;
	}
	json_object_set_new(q->reply.document, "region", json_string(config->region));
	json_object_set_new(q->reply.document, "tier",
		json_string(schema_node_tier_name(config->tier ? NODE_CORE : NODE_EDGE)));
	q->answered = links_told;
	console_ask_office(self, q, OFFICE_ROUTES, &schema_links_ask, &nothing);
}

/* ---- all --------------------------------------------------------------------------------------------- */

/* What the mesh knows of a node that does not answer is old, but stays on the map. */
static json_t *node_document(struct actor *self, const struct far_node *node)
{
	const char *state = schema_mesh_state_name(node->state);
	bool own = node->node == actor_addr(self).node;

	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:b, s:f}", "id", id_text(node->node), "node",
		node->name, "region", node->region, "tier", schema_node_tier_name(node->tier),
		"state",
		own	? "here"
		: state ? state
			: "unknown",
		"answers", node->answer != NULL, "rtt_ms", (double)node->rtt_us / CONSOLE_MS);
}

static void add_links(const struct far_node *node, json_t *links)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(console_far_result(node), "links"), i, row)
	{
		json_object_set_new(row, "from", id_text(node->node));
		json_array_append(links, row);
	}
}

static void map_gathered(struct actor *self, struct question *q)
{
	json_t *nodes = json_array(), *links = json_array(), *changes = json_array();

	for (uint32_t i = 0; i < q->far->count; i++) {
		const struct far_node *node = &q->far->nodes[i];

		console_far_remark(q, node);
		json_array_append_new(nodes, node_document(self, node));
		add_links(node, links);
		console_changes_join(q->far, node,
			json_object_get(console_far_result(node), "changes"), changes);
	}
	q->reply.document =
		json_pack("{s:o, s:o, s:o}", "nodes", nodes, "links", links, "changes", changes);
	console_finish(self, q);
}

void console_begin_map(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
	else
		console_far_begin(self, q, "all", "neighbours", map_gathered);
}

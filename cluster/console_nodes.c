/* SPDX-License-Identifier: Apache-2.0
 *
 * console: `nodes`. This node's own row is known at once; the others' come from the mesh office, a page
 * at a time. Without a mesh there is this node alone.
 */
#include "cluster/console_internal.h"
#include "runtime/mesh_certificate.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const char *time_text(int64_t us, char text[32])
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm utc;

	text[0] = 0;
	if (us && gmtime_r(&seconds, &utc))
		strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
	return text;
}

static json_t *row_of(const struct node_row *node)
{
	const struct node_record *record = &node->record;
	const char *state = schema_mesh_state_name(node->state);
	const char *tier = schema_node_tier_name(record->tier);
	char id[20], since[32], key[MESH_KEY_TEXT_SIZE] = "";

	snprintf(id, sizeof(id), "%" PRIx64, node->node);
	if (record->key.size == MESH_KEY_SIZE)
		mesh_hex_write(record->key.data, MESH_KEY_SIZE, key);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:s, s:s, s:s, s:b, s:i, s:i, s:s}",
		"node", record->name, "id", id, "state", state ? state : "unknown", "region",
		record->region, "tier", tier ? tier : "unknown", "rtt_ms",
		(double)node->rtt_us / 1000, "offset_ms", (double)node->offset_us / 1000, "version",
		record->version, "since", time_text(node->since_us, since), "mesh",
		record->endpoint, "in_store", node->in_store, "workers",
		__builtin_popcountll(node->workers), "ready", __builtin_popcountll(node->ready),
		"key", key);
}

/* The own row tells more of this node already; what the mesh knows of it joins it (console_view.c). */
static void take_rows(struct actor *self, struct question *q, const struct msg_nodes_told *told)
{
	for (int i = 0; i < told->nodes_count; i++) {
		json_t *row = row_of(&told->nodes[i]);

		if (told->nodes[i].node == actor_addr(self).node) {
			json_decref(q->reply.document);
			q->reply.document = row;
		} else if (row) {
			json_array_append_new(q->reply.rows, row);
		}
	}
}

static void ask(struct actor *self, struct question *q, uint64_t after)
{
	struct msg_nodes_ask nodes = {.after = after};

	console_ask_office(self, q, OFFICE_MESH, &schema_nodes_ask, &nodes);
}

/* message NULL: no answer; what is known is shown. */
static void nodes_told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_nodes_told *told = schema == &schema_nodes_told ? message : NULL;

	q->asked[0].request = 0;
	q->waiting = 0;
	if (told)
		take_rows(self, q, told);
	if (told && told->more && told->nodes_count)
		ask(self, q, told->nodes[told->nodes_count - 1].node);
	else
		console_finish(self, q);
}

void console_begin_nodes(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
		return;
	}
	q->reply.rt = actor_runtime(self);
	q->answered = nodes_told;
	if (console_in_cluster(self))
		ask(self, q, 0);
	else
		console_finish(self, q);
}

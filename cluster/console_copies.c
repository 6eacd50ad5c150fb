/* SPDX-License-Identifier: Apache-2.0
 *
 * console: a stream over the whole cluster. `copies STREAM` is what one node has of it: who publishes
 * and reads it, whom its entry copies (relay office), and which way is planned (routes). `paths STREAM`
 * asks that of every node and joins it: addresses are good everywhere, so the rows of all nodes make one
 * tree by whom each gets its media from.
 */
#include "cluster/console_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- of one node ----------------------------------------------------------------------------------- */

static bool take_name(struct actor *self, struct question *q, const char *arguments)
{
	char name[sizeof(q->reply.words)];

	if (!console_next_word(&arguments, name, sizeof(name)) || console_has_words(arguments) ||
		!strchr(name, '/')) {
		console_fail(self, q, ERR_FORMAT, "expected a stream, such as live/demo");
		return false;
	}
	text_copy(q->reply.words, sizeof(q->reply.words), name);
	return true;
}

void console_begin_copies(struct actor *self, struct question *q, const char *arguments)
{
	char text[sizeof(q->reply.words) + 16];

	if (!take_name(self, q, arguments))
		return;
	snprintf(text, sizeof(text), "paths %s", q->reply.words);
	console_ask_everybody(self, q, text);
}

static json_t *id_text(uint64_t node)
{
	return json_sprintf("%" PRIx64, node);
}

static json_t *addr_json(struct addr addr)
{
	char text[ADDR_TEXT_SIZE];

	return json_string(addr_text(addr, text));
}

static json_t *relay_document(const struct relay_row *row)
{
	const char *step = schema_relay_step_name(row->step);
	json_t *way = json_array();

	for (int i = 0; i < row->path_count; i++)
		json_array_append_new(way, id_text(row->path[i].node));
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:i, s:i, s:s}", "owner", addr_json(row->owner),
		"entry", addr_json(row->entry), "source", addr_json(row->source), "way", way,
		"since", (json_int_t)(row->since_us / 1000000), "changes", (int)row->changes,
		"downstream", (int)row->downstream, "step", step ? step : "unknown");
}

/* What is to be taken now, as the relay office writes ways: the nearest node first, the origin last. */
static json_t *planned_document(const struct msg_route *route)
{
	json_t *way = json_array();
	const struct route_way *first = &route->ways[0];

	if (route->ways_count && first->near)
		json_array_append_new(way, id_text(first->near));
	if (route->ways_count && first->near && first->far)
		json_array_append_new(way, id_text(first->far));
	if (route->ways_count)
		json_array_append_new(way, id_text(route->origin));
	return json_pack(
		"{s:o, s:b, s:b}", "way", way, "by_brain", route->planned, "detour", route->detour);
}

/* An office that does not answer leaves its part out. */
static void told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_relay_told *relay = schema == &schema_relay_told ? message : NULL;
	const struct msg_route *route = schema == &schema_route ? message : NULL;

	q->asked[0].request = 0;
	q->asked_count = q->waiting = 0;
	if (relay && relay->rows_count) {
		struct msg_route_ask ask = {.origin = relay->rows[0].owner.node};

		json_object_set_new(q->reply.document, "relay", relay_document(&relay->rows[0]));
		console_ask_office(self, q, OFFICE_ROUTES, &schema_route_ask, &ask);
		return;
	}
	if (route)
		json_object_set_new(q->reply.document, "planned", planned_document(route));
	console_finish(self, q);
}

/* The processes have told; in a cluster the offices that lead streams are asked as well. */
bool console_copies_go_on(struct actor *self, struct question *q)
{
	struct msg_relay_list list = {0};

	if (!q->reply.document)
		q->reply.document = json_object();
	if (!console_in_cluster(self))
		return false;
	text_copy(list.stream_name, sizeof(list.stream_name), q->reply.words);
	q->answered = told;
	console_ask_office(self, q, OFFICE_RELAY, &schema_relay_list, &list);
	return true;
}

json_t *console_view_copies(const struct console_reply *reply)
{
	json_t *result = json_pack("{s:O}", "rows", reply->rows);

	json_object_update(result, reply->document);
	return result;
}

/* ---- of all ---------------------------------------------------------------------------------------- */

/* The entry of a node says from where its stream comes, and from where it is planned to. */
static void note_way(const struct far *far, const json_t *relay, const json_t *planned, json_t *row)
{
	const json_t *entry = json_object_get(relay, "entry");

	if (!entry || !json_equal(entry, json_object_get(row, "addr")))
		return;
	json_object_set_new(row, "way", console_way_text(far, json_object_get(relay, "way")));
	json_object_set_new(row, "planned", console_way_text(far, json_object_get(planned, "way")));
	json_object_set(row, "since", json_object_get(relay, "since"));
	json_object_set(row, "changes", json_object_get(relay, "changes"));
	json_object_set(row, "step", json_object_get(relay, "step"));
	if (json_is_true(json_object_get(planned, "detour")))
		json_object_set_new(row, "detour", json_true());
}

void console_copies_join(struct question *q)
{
	for (uint32_t i = 0; i < q->far->count; i++) {
		const struct far_node *node = &q->far->nodes[i];
		const json_t *result = console_far_result(node);
		json_t *row;
		size_t k;

		console_far_remark(q, node);
		json_array_foreach(json_object_get(result, "rows"), k, row)
		{
			json_object_set_new(row, "node", json_string(node->name));
			note_way(q->far, json_object_get(result, "relay"),
				json_object_get(result, "planned"), row);
			json_array_append(q->reply.rows, row);
		}
	}
}

static void paths_gathered(struct actor *self, struct question *q)
{
	console_copies_join(q);
	if (!json_array_size(q->reply.rows)) {
		console_fail(self, q, ERR_NOT_FOUND, "nobody publishes or plays such a stream");
		return;
	}
	q->reply.document = console_view_paths(&q->reply);
	console_finish(self, q);
}

void console_copies_of_all(struct actor *self, struct question *q, const char *arguments,
	void (*gathered)(struct actor *self, struct question *q))
{
	char text[sizeof(q->reply.words) + 16];

	if (!take_name(self, q, arguments))
		return;
	snprintf(text, sizeof(text), "copies %s", q->reply.words);
	console_far_begin(self, q, "all", text, gathered);
}

void console_begin_paths(struct actor *self, struct question *q, const char *arguments)
{
	console_copies_of_all(self, q, arguments, paths_gathered);
}

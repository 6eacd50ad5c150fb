/* SPDX-License-Identifier: Apache-2.0
 *
 * console: `changes [STREAM]`: which ways are others now, of streams and to the nodes that they come from (detours),
 * when and why. Each node's relay office remembers its own; `changed` is what one node says, by ids; all of them
 * together are in the order in which they happened, as far as the nodes' clocks agree.
 */
#include "cluster/console_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	CHANGES_SHOWN_MAX = 200, /* of all nodes, the newest */
	CHANGES_MAPPED_MAX = 4,	 /* of a node and kind: what is asked each two seconds … */
	CHANGES_MAPPED_US = 600 * 1000000, /* … and not older than that */
	TIME_TEXT_SIZE = 40,
};

/* ---- one node ---------------------------------------------------------------------------------- */

static json_t *ids_of(const struct relay_hop *hops, int count)
{
	json_t *ids = json_array();

	for (int i = 0; i < count; i++)
		json_array_append_new(ids, json_sprintf("%" PRIx64, hops[i].node));
	return ids;
}

static void write_time(int64_t us, char text[TIME_TEXT_SIZE])
{
	time_t seconds = (time_t)(us / 1000000);
	char whole[24] = "";
	struct tm utc;

	if (gmtime_r(&seconds, &utc))
		(void)strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text, TIME_TEXT_SIZE, "%s.%03dZ", whole, (int)(us / 1000 % 1000));
}

static json_t *change_document(const struct relay_change *change)
{
	const char *why = schema_relay_why_name(change->why);
	char at[TIME_TEXT_SIZE];

	write_time(change->at_us, at);
	return json_pack("{s:s, s:s*, s:o, s:o, s:o, s:s, s:I}", "at", at, "stream",
		change->stream_name[0] ? change->stream_name : NULL, "to",
		json_sprintf("%" PRIx64, change->origin), "before",
		ids_of(change->before, change->before_count), "after",
		ids_of(change->after, change->after_count), "why", why ? why : "unknown", "number",
		(json_int_t)change->number);
}

json_t *console_changes_document(const struct msg_relay_changes_told *told, int64_t since_us)
{
	json_t *rows = json_array();

	for (int i = 0; told && i < told->changes_count; i++)
		if (told->changes[i].at_us >= since_us)
			json_array_append_new(rows, change_document(&told->changes[i]));
	return rows;
}

void console_ask_changes(struct actor *self, struct question *q, bool mapped,
	void (*answered)(struct actor *, struct question *, const struct schema *, const void *))
{
	struct msg_relay_changes_ask ask = {.max = mapped ? CHANGES_MAPPED_MAX : 0};

	q->answered = answered;
	console_ask_office(self, q, OFFICE_RELAY, &schema_relay_changes_ask, &ask);
}

int64_t console_changes_mapped_since_us(struct actor *self)
{
	return actor_wall_us(self) - CHANGES_MAPPED_US;
}

/* Without an answer of its relay office a node has done nothing. */
static void changes_told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	q->asked[0].request = 0;
	q->asked_count = q->waiting = 0;
	q->reply.document = console_changes_document(
		schema == &schema_relay_changes_told ? message : NULL, INT64_MIN);
	console_finish(self, q);
}

void console_begin_changed(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
	} else if (console_in_cluster(self)) {
		console_ask_changes(self, q, false, changes_told);
	} else {
		q->reply.document = json_array();
		console_finish(self, q);
	}
}

/* ---- all --------------------------------------------------------------------------------------- */

void console_changes_join(
	const struct far *far, const struct far_node *node, const json_t *changes, json_t *rows)
{
	static const char *const ways[] = {"before", "after"};
	const json_t *change;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)changes, i, change)
	{
		json_t *row = json_pack(
			"{s:O*, s:s}", "at", json_object_get(change, "at"), "node", node->name);
		const char *to = json_string_value(json_object_get(change, "to"));

		json_object_update_missing(row, (json_t *)(uintptr_t)change);
		json_object_set_new(row, "to", json_string(to ? console_far_name(far, to) : ""));
		for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++)
			json_object_set_new(row, ways[k],
				console_way_text(far, json_object_get(change, ways[k])));
		json_array_append_new(rows, row);
	}
}

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

/* The newest first; of one moment, by the numbers of their node. */
static int compare(const void *one, const void *other)
{
	const json_t *a = *(json_t *const *)one, *b = *(json_t *const *)other;
	int order = strcmp(text_of(b, "at"), text_of(a, "at"));
	json_int_t number = json_integer_value(json_object_get(a, "number"));
	json_int_t number_b = json_integer_value(json_object_get(b, "number"));

	return order ? order : number < number_b ? 1 : number > number_b ? -1 : 0;
}

/* The last ones, as they happened, about the stream that was named if one was. NULL: no memory. */
static json_t *in_order(const json_t *rows, const char *stream)
{
	size_t count = 0, most = json_array_size(rows);
	json_t **sorted = calloc(most + 1, sizeof(json_t *));
	json_t *kept = sorted ? json_array() : NULL;

	for (size_t i = 0; sorted && i < most; i++) {
		json_t *row = json_array_get(rows, i);

		if (!*stream || !strcmp(text_of(row, "stream"), stream))
			sorted[count++] = row;
	}
	if (sorted)
		qsort(sorted, count, sizeof(json_t *), compare);
	for (size_t i = count < CHANGES_SHOWN_MAX ? count : CHANGES_SHOWN_MAX; i-- > 0;)
		json_array_append(kept, sorted[i]);
	free(sorted);
	return kept;
}

static void changes_gathered(struct actor *self, struct question *q)
{
	json_t *rows = json_array();

	for (uint32_t i = 0; i < q->far->count; i++) {
		const struct far_node *node = &q->far->nodes[i];

		console_far_remark(q, node);
		console_changes_join(q->far, node, console_far_result(node), rows);
	}
	q->reply.document = in_order(rows, q->reply.words);
	json_decref(rows);
	if (q->reply.document)
		console_finish(self, q);
	else
		console_fail(self, q, ERR_NO_MEMORY, "");
}

void console_begin_changes(struct actor *self, struct question *q, const char *arguments)
{
	char name[sizeof(q->reply.words)] = "";

	if (console_has_words(arguments) &&
		(!console_next_word(&arguments, name, sizeof(name)) || !strchr(name, '/') ||
			console_has_words(arguments))) {
		console_fail(self, q, ERR_FORMAT, "expected: changes, or changes live/demo");
		return;
	}
	text_copy(q->reply.words, sizeof(q->reply.words), name);
	console_far_begin(self, q, "all", "changed", changes_gathered);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * console: how the nodes of the cluster stand, and what has them change places: `load`, `drain node`, `move
 * SESSION node`. Placement knows who is there, and where clients reach them.
 */
#include "cluster/console_internal.h"
#include "runtime/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef void answered(
	struct actor *self, struct question *q, const struct schema *schema, const void *message);

static void ask(struct actor *self, struct question *q, struct addr whom,
	const struct schema *schema, const void *message, answered *then)
{
	q->sent = schema;
	q->answered = then;
	q->asked_count = q->waiting = 1;
	q->asked[0] = (struct expected){0};
	q->asked[0].request =
		actor_request_mail(self, whom, CONSOLE_ASK_MS, schema->id, schema, message);
}

/* NULL: it was something else, and the question has failed. */
static const void *expect(struct actor *self, struct question *q, const struct schema *wanted,
	const struct schema *schema, const void *message)
{
	const struct msg_failed *failed = message;

	q->waiting = 0;
	q->asked[0].request = 0;
	if (schema == wanted)
		return message;
	if (schema == &schema_failed)
		console_fail(self, q, (enum err)failed->err, failed->text);
	else
		console_fail(self, q, ERR_TIMEOUT, "");
	return NULL;
}

static void ask_standings(struct actor *self, struct question *q, answered *then)
{
	ask(self, q, actor_office(self, OFFICE_PLACEMENT), &schema_standings_ask,
		&(struct msg_standings_ask){}, then);
}

static const char *id_of(uint64_t node, char text[20])
{
	snprintf(text, 20, "%" PRIx64, node);
	return text;
}

/* The one of that name, or id in hexadecimal, in q->reply.words. NULL: the question has failed. */
static const struct standing *find_node(
	struct actor *self, struct question *q, const struct msg_standings_told *told)
{
	char id[20];

	for (int i = 0; i < told->nodes_count; i++)
		if (!strcmp(told->nodes[i].name, q->reply.words) ||
			!strcmp(id_of(told->nodes[i].node, id), q->reply.words))
			return &told->nodes[i];
	console_fail(self, q, ERR_NOT_FOUND, "no such node, or it is not up");
	return NULL;
}

/* ---- load ------------------------------------------------------------------------------------ */

static json_t *row_of(const struct standing *node)
{
	char id[20];

	return json_pack("{s:s, s:s, s:s, s:f, s:I, s:b, s:b, s:s}", "node", node->name, "id",
		id_of(node->node, id), "region", node->region, "busy",
		(double)node->busy_permille / 10, "sessions",
		(json_int_t)node->sessions + node->sent, "full", node->full, "draining",
		node->draining, "url", node->url);
}

static void load_told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_standings_told *told =
		expect(self, q, &schema_standings_told, schema, message);

	if (!told)
		return;
	for (int i = 0; i < told->nodes_count; i++)
		json_array_append_new(q->reply.rows, row_of(&told->nodes[i]));
	console_finish(self, q);
}

void console_begin_load(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
	else
		ask_standings(self, q, load_told);
}

/* ---- drain node ------------------------------------------------------------------------------ */

static void drained(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_node_drained *m = expect(self, q, &schema_node_drained, schema, message);

	if (!m)
		return;
	q->reply.document = json_pack("{s:s, s:b, s:i}", "node", q->reply.words, "draining",
		m->draining, "sessions", (int)m->sessions);
	console_finish(self, q);
}

static void drain_found(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_standings_told *told =
		expect(self, q, &schema_standings_told, schema, message);
	const struct standing *node = told ? find_node(self, q, told) : NULL;

	if (node)
		ask(self, q, actor_office_at(self, OFFICE_PLACEMENT, node->node),
			&schema_node_drain, &q->drain, drained);
}

/* False: it is none of the words that say what is wanted. */
static bool take_wish(const char *word, struct msg_node_drain *drain)
{
	*drain = (struct msg_node_drain){.off = !strcmp(word, "off"),
		.stop = !strcmp(word, "stop"),
		.ask = !strcmp(word, "ask")};
	return drain->off || drain->stop || drain->ask || !strcmp(word, "on");
}

void console_begin_drain_node(struct actor *self, struct question *q, const char *arguments)
{
	char words[2][64] = {"", ""};
	bool named;

	if (console_next_word(&arguments, words[0], sizeof(words[0])))
		console_next_word(&arguments, words[1], sizeof(words[1]));
	named = words[0][0] && (words[1][0] || !take_wish(words[0], &q->drain));
	if (console_has_words(arguments) || (words[1][0] && !take_wish(words[1], &q->drain))) {
		console_fail(self, q, ERR_FORMAT, "expected: drain node [NAME] [on|off|stop|ask]");
		return;
	}
	text_copy(q->reply.words, sizeof(q->reply.words), named ? words[0] : "this node");
	if (named)
		ask_standings(self, q, drain_found);
	else
		ask(self, q, actor_office(self, OFFICE_PLACEMENT), &schema_node_drain, &q->drain,
			drained);
}

/* ---- move ------------------------------------------------------------------------------------ */

static void moved(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	if (!expect(self, q, &schema_done, schema, message))
		return;
	q->reply.document = json_pack("{s:s, s:b}", "node", q->reply.words, "told", 1);
	console_finish(self, q);
}

static void move_found(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_standings_told *told =
		expect(self, q, &schema_standings_told, schema, message);
	const struct standing *node = told ? find_node(self, q, told) : NULL;
	struct msg_session_reconnect reconnect = {{0}};

	if (!node)
		return;
	if (node->node == actor_addr(self).node) {
		console_fail(self, q, ERR_EXISTS, "it is there already");
		return;
	}
	memcpy(reconnect.url, node->url, sizeof(reconnect.url));
	ask(self, q, q->session, &schema_session_reconnect, &reconnect, moved);
}

void console_move_to_node(
	struct actor *self, struct question *q, struct addr session, const char *name)
{
	q->session = session;
	text_copy(q->reply.words, sizeof(q->reply.words), name);
	ask_standings(self, q, move_found);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * console: other nodes. `on NODE COMMAND`, or COMMAND @NODE, is answered by the console of that node as
 * if it had been asked there; `all` asks every one and makes one list of what they say, with the node
 * in front of each row. Only commands that tell and change nothing are asked for, and answered.
 *
 *   question  (mesh office asked for the nodes) --all pages--> (nodes asked) --last answer, or its
 *             deadline--> gathered
 *
 * A node that does not answer is named in the result ("silent"), and so is one that is known to be
 * down, which is not asked at all.
 */
#include "cluster/console_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	FAR_ASK_MS = CONSOLE_ASK_MS + 1000, /* a console waits that long for its processes */
	FAR_BYTES_MAX = 320000,		    /* taken of all nodes together */
	FAR_NODES_STEP = 16,
	TOP_LINES = 20,
	WAY_TEXT_MAX = 320,
};

static const char all_nodes[] = "all";

bool console_in_cluster(struct actor *self)
{
	const struct config *config = actor_config(self);

	return config && strcmp(config->coord, "local") != 0;
}

bool console_is_far(struct actor *self, struct addr who)
{
	return who.node && who.node != actor_addr(self).node && console_in_cluster(self);
}

/* ---- what they said ------------------------------------------------------------------------------ */

const json_t *console_far_result(const struct far_node *node)
{
	return node->err ? NULL : json_object_get(node->answer, "result");
}

const char *console_far_name(const struct far *far, const char *id)
{
	for (uint32_t i = 0; i < far->count; i++) {
		char text[20];

		snprintf(text, sizeof(text), "%" PRIx64, far->nodes[i].node);
		if (!strcmp(text, id))
			return far->nodes[i].name;
	}
	return id;
}

json_t *console_way_text(const struct far *far, const json_t *way)
{
	char text[WAY_TEXT_MAX];
	size_t used = 0;
	json_t *id;
	size_t i;

	text[0] = 0;
	json_array_foreach((json_t *)(uintptr_t)way, i, id)
	{
		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
				i ? " > " : "", console_far_name(far, json_string_value(id)));
	}
	return json_string(text);
}

void console_far_remark(struct question *q, const struct far_node *node)
{
	const json_t *silent = json_object_get(node->answer, "silent"), *process;
	size_t i;

	if (!node->answer)
		json_array_append_new(q->reply.silent, json_string(node->name));
	json_array_foreach((json_t *)(uintptr_t)silent, i, process)
	{
		json_array_append_new(q->reply.silent,
			json_sprintf("%s: %s", node->name, json_string_value(process)));
	}
	if (json_is_true(json_object_get(node->answer, "truncated")))
		q->reply.page.ended = true;
}

/* A row as it came, behind the name of its node. */
static void add_row(struct question *q, const struct far_node *node, const json_t *row)
{
	json_t *named = json_pack("{s:s}", "node", node->name);

	json_object_update_missing(named, (json_t *)(uintptr_t)row);
	json_array_append_new(q->reply.rows, named);
}

static void add_result(struct question *q, const struct far_node *node)
{
	const json_t *result = console_far_result(node), *row;
	size_t i;

	if (json_is_array(result))
		json_array_foreach((json_t *)(uintptr_t)result, i, row) add_row(q, node, row);
	else if (result)
		add_row(q, node, result);
}

static double number_of(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(row, key));
}

/* `top` of all nodes: the busiest of what each one's are. */
static void keep_top(struct question *q)
{
	const char *key = strstr(q->far->command, "mailbox") ? "mailbox"
			  : strstr(q->far->command, "mails") ? "mails_per_s"
							     : "cpu";
	json_t *kept = json_array();

	while (json_array_size(kept) < TOP_LINES && json_array_size(q->reply.rows)) {
		size_t best = 0;

		for (size_t i = 1; i < json_array_size(q->reply.rows); i++)
			if (number_of(json_array_get(q->reply.rows, i), key) >
				number_of(json_array_get(q->reply.rows, best), key))
				best = i;
		json_array_append(kept, json_array_get(q->reply.rows, best));
		json_array_remove(q->reply.rows, best);
	}
	json_decref(q->reply.rows);
	q->reply.rows = kept;
}

static const char *problem_of(const struct far_node *node)
{
	const json_t *error = json_object_get(node->answer, "error");
	const char *text = json_string_value(json_object_get(error, "message"));

	return text ? text : "";
}

static void fail_as(struct actor *self, struct question *q, const struct far_node *node)
{
	char problem[SCHEMA_PROBLEM_SIZE];

	snprintf(problem, sizeof(problem), "%s%s", node->name,
		node->answer ? "" : " does not answer");
	console_fail(self, q, node->err, node->answer ? problem_of(node) : problem);
}

/* One list; what some have nothing of is no error unless nobody has. */
static void all_gathered(struct actor *self, struct question *q)
{
	const struct far_node *failed = NULL;
	bool found = false;
	size_t bytes = 0;

	for (uint32_t i = 0; i < q->far->count; i++) {
		const struct far_node *node = &q->far->nodes[i];

		console_far_remark(q, node);
		if (!console_far_result(node)) {
			failed = failed && failed->answer ? failed : node;
			continue;
		}
		found = true;
		bytes += json_dumpb(node->answer, NULL, 0, JSON_COMPACT);
		if (bytes > FAR_BYTES_MAX)
			q->reply.page.ended = true;
		else
			add_result(q, node);
	}
	if (!found && failed) {
		fail_as(self, q, failed);
		return;
	}
	if (!strncmp(q->far->command, "top", 3))
		keep_top(q);
	q->reply.document = json_incref(q->reply.rows);
	console_finish(self, q);
}

static void one_gathered(struct actor *self, struct question *q)
{
	const struct far_node *node = &q->far->nodes[0];
	const json_t *next = json_object_get(node->answer, "next");

	if (!console_far_result(node)) {
		fail_as(self, q, node);
		return;
	}
	console_far_remark(q, node);
	if (next)
		q->reply.page.next = json_incref((json_t *)(uintptr_t)next);
	q->reply.document = json_incref(json_object_get(node->answer, "result"));
	console_finish(self, q);
}

/* ---- asking -------------------------------------------------------------------------------------- */

/* NULL: no memory. */
static struct far_node *add_node(struct far *far, uint64_t id, const char *name)
{
	struct far_node *node;

	if (far->count == far->room) {
		struct far_node *nodes =
			realloc(far->nodes, (far->room + FAR_NODES_STEP) * sizeof(*far->nodes));

		if (!nodes)
			return NULL;
		far->nodes = nodes;
		far->room += FAR_NODES_STEP;
	}
	node = &far->nodes[far->count++];
	*node = (struct far_node){.node = id, .err = ERR_TIMEOUT};
	text_copy(node->name, sizeof(node->name), name);
	return node;
}

static void ask_node(struct actor *self, struct question *q, struct far_node *node)
{
	struct addr office = actor_office(self, OFFICE_CONSOLE);
	struct msg_console_far ask = {
		.command = {q->far->command, (uint32_t)strlen(q->far->command)}
	       };

	if (node->node != actor_addr(self).node)
		office = actor_office_at(self, OFFICE_CONSOLE, node->node);
	node->request = actor_request_mail(
		self, office, FAR_ASK_MS, MSG_console_far, &schema_console_far, &ask);
	q->far->waiting++;
}

/* All that are wanted are in the list; one that is down has `err` dead. */
static void ask_nodes(struct actor *self, struct question *q)
{
	struct far *far = q->far;
	bool all = !strcmp(far->wanted, all_nodes);

	q->sent = NULL;
	q->answered = NULL;
	if (!far->count) {
		console_fail(self, q, ERR_NOT_FOUND, "no such node, see nodes");
		return;
	}
	if (far->count > 1 && !all) {
		console_fail(
			self, q, ERR_FORMAT, "several nodes are called so: say its id, see nodes");
		return;
	}
	for (uint32_t i = 0; i < far->count; i++)
		if (far->nodes[i].err != ERR_DEAD)
			ask_node(self, q, &far->nodes[i]);
	if (!far->waiting)
		far->gathered(self, q);
}

static bool is_wanted(const struct far *far, uint64_t id, const char *name)
{
	char text[20];

	snprintf(text, sizeof(text), "%" PRIx64, id);
	return !strcmp(far->wanted, all_nodes) || !strcmp(far->wanted, name) ||
	       !strcmp(far->wanted, text);
}

static void ask_mesh(struct actor *self, struct question *q, uint64_t after)
{
	struct msg_nodes_ask ask = {.after = after};

	console_ask_office(self, q, OFFICE_MESH, &schema_nodes_ask, &ask);
}

/* ERR_NO_MEMORY. */
static enum err take_nodes(struct actor *self, struct far *far, const struct msg_nodes_told *told)
{
	for (int i = 0; i < told->nodes_count; i++) {
		const struct node_row *row = &told->nodes[i];
		struct far_node *node;

		if (!is_wanted(far, row->node, row->record.name))
			continue;
		node = add_node(far, row->node, row->record.name);
		if (!node)
			return ERR_NO_MEMORY;
		text_copy(node->region, sizeof(node->region), row->record.region);
		node->tier = row->record.tier;
		node->state = row->state;
		node->rtt_us = row->rtt_us;
		node->offset_us = row->offset_us;
		if (row->state == MESH_DOWN && row->node != actor_addr(self).node)
			node->err = ERR_DEAD;
	}
	return ERR_OK;
}

static void nodes_told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_nodes_told *told = schema == &schema_nodes_told ? message : NULL;

	q->asked[0].request = 0;
	q->asked_count = q->waiting = 0;
	if (!told)
		console_fail(self, q, ERR_TIMEOUT, "the mesh does not answer");
	else if (take_nodes(self, q->far, told))
		console_fail(self, q, ERR_NO_MEMORY, "");
	else if (told->more && told->nodes_count)
		ask_mesh(self, q, told->nodes[told->nodes_count - 1].node);
	else
		ask_nodes(self, q);
}

/* Without a mesh there is this node, whatever it is called. */
static void ask_alone(struct actor *self, struct question *q)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const char *name = env ? env->node_name : "";

	if (is_wanted(q->far, actor_addr(self).node, name) &&
		!add_node(q->far, actor_addr(self).node, name))
		console_fail(self, q, ERR_NO_MEMORY, "");
	else
		ask_nodes(self, q);
}

void console_far_begin(struct actor *self, struct question *q, const char *wanted,
	const char *command, void (*gathered)(struct actor *self, struct question *q))
{
	q->far = calloc(1, sizeof(*q->far));
	if (!q->far) {
		console_fail(self, q, ERR_NO_MEMORY, "");
		return;
	}
	text_copy(q->far->wanted, sizeof(q->far->wanted), wanted);
	text_copy(q->far->command, sizeof(q->far->command), command);
	q->far->gathered = gathered;
	q->went_on = true;
	q->as_it_is = true;
	q->answered = nodes_told;
	if (console_in_cluster(self))
		ask_mesh(self, q, 0);
	else
		ask_alone(self, q);
}

void console_far_pass(struct actor *self, struct question *q, uint64_t node, const char *command)
{
	char id[20];

	snprintf(id, sizeof(id), "%" PRIx64, node);
	console_far_begin(self, q, id, command, one_gathered);
}

bool console_far_answered(
	struct actor *self, struct console *s, uint64_t request, const struct msg_console_answer *m)
{
	for (int i = 0; request && i < CONSOLE_QUESTIONS_MAX; i++) {
		struct far *far = s->questions[i].used ? s->questions[i].far : NULL;

		for (uint32_t k = 0; far && k < far->count; k++) {
			struct far_node *node = &far->nodes[k];

			if (node->request != request)
				continue;
			node->request = 0;
			if (m) {
				node->answer = json_loadb(m->json.data, m->json.size, 0, NULL);
				node->err = m->err	   ? (enum err)m->err
					    : node->answer ? ERR_OK
							   : ERR_INTERNAL;
			}
			if (!--far->waiting)
				far->gathered(self, &s->questions[i]);
			return true;
		}
	}
	return false;
}

void console_far_forget(struct actor *self, struct question *q)
{
	for (uint32_t i = 0; q->far && i < q->far->count; i++) {
		if (q->far->nodes[i].request)
			actor_forget_request(self, q->far->nodes[i].request);
		json_decref(q->far->nodes[i].answer);
	}
	if (q->far) {
		console_trace_forget(self, q->far->trace);
		free(q->far->nodes);
		free(q->far->ping);
	}
	free(q->far);
	q->far = NULL;
}

/* ---- on ------------------------------------------------------------------------------------------ */

void console_begin_on(struct actor *self, struct question *q, const char *arguments)
{
	const struct command *command;
	char wanted[sizeof(q->far->wanted)];
	const char *rest;

	if (!console_next_word(&arguments, wanted, sizeof(wanted)) ||
		!console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "expected: on NODE COMMAND, or on all COMMAND");
		return;
	}
	arguments = console_skip_blanks(arguments);
	command = console_find_command(arguments, &rest);
	if (!command)
		console_fail(self, q, ERR_UNSUPPORTED, "no such command, see help");
	else if (!command->tells)
		console_fail(self, q, ERR_UNSUPPORTED,
			"other nodes only tell: ask that node itself (millrace repl --connect)");
	else
		console_far_begin(self, q, wanted, arguments,
			strcmp(wanted, all_nodes) ? one_gathered : all_gathered);
}

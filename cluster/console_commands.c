/* SPDX-License-Identifier: Apache-2.0
 *
 * console: its commands, a row each, and how each begins. A command looks at its words here, so that
 * what is wrong is said at once and by one voice; then it asks whoever knows.
 */
#include "cluster/console_internal.h"
#include "runtime/process.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	SENT_TEXT_MAX = 200000, /* an answer to `send`, as JSON */
	MESSAGE_NAME_MAX = 64,
};

const char *console_skip_blanks(const char *text)
{
	return text + strspn(text, " \t");
}

bool console_next_word(const char **at, char *word, size_t size)
{
	size_t length;

	*at = console_skip_blanks(*at);
	length = strcspn(*at, " \t");
	if (!length || length >= size)
		return false;
	memcpy(word, *at, length);
	word[length] = 0;
	*at += length;
	return true;
}

bool console_has_words(const char *arguments)
{
	return *console_skip_blanks(arguments) != 0;
}

const char *console_bare_name(const struct command *command)
{
	return command->name + (strncmp(command->name, "api ", 4) ? 0 : 4);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void begin_here(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
		return;
	}
	q->reply.rt = actor_runtime(self);
	console_finish(self, q);
}

/* Which actors are meant is checked here and read by the process offices. */
static void begin_rows(struct actor *self, struct question *q, const char *arguments)
{
	char text[CONSOLE_COMMAND_MAX + 16], problem[SCHEMA_PROBLEM_SIZE];
	struct actor_filter filter;
	const char *expected;

	if (actor_filter_parse(arguments, &filter, &expected)) {
		console_fail(self, q, ERR_FORMAT, expected);
		return;
	}
	if (actor_filter_check(&filter, problem)) {
		console_fail(self, q, ERR_FORMAT, problem);
		return;
	}
	q->reply.pages = true;
	q->reply.page.limit = filter.limit;
	snprintf(text, sizeof(text), "%s%s", console_bare_name(q->command), arguments);
	console_ask_everybody(self, q, text);
}

static void begin_counts(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
	else
		console_ask_everybody(self, q, q->command->name);
}

static void begin_tree(struct actor *self, struct question *q, const char *arguments)
{
	if (console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
	else
		console_ask_everybody(self, q, "actors");
}

static void begin_top(struct actor *self, struct question *q, const char *arguments)
{
	const char *key = console_skip_blanks(arguments);

	if (*key && strcmp(key, "cpu") && strcmp(key, "mails") && strcmp(key, "mailbox")) {
		console_fail(self, q, ERR_FORMAT, "expected: top [cpu|mails|mailbox]");
		return;
	}
	text_copy(q->reply.words, sizeof(q->reply.words), *key ? key : "cpu");
	console_ask_everybody(self, q, "top");
}

/* ---- one actor ------------------------------------------------------------------------------- */

static const char expected_address[] = "expected an address, such as 1f/10000000010";

/* The process that has the actor reads the rest of the words. */
static void begin_at_home(struct actor *self, struct question *q, const char *arguments)
{
	char text[CONSOLE_COMMAND_MAX + 16], word[ADDR_TEXT_SIZE];
	struct addr who;

	arguments = console_skip_blanks(arguments);
	if (!strcmp(console_bare_name(q->command), "session-delete"))
		arguments += strspn(arguments, "0"); /* ids of sessions have a fixed width */
	snprintf(text, sizeof(text), "%s %s", console_bare_name(q->command), arguments);
	if (!console_next_word(&arguments, word, sizeof(word)) || addr_parse(word, &who))
		console_fail(self, q, ERR_FORMAT, expected_address);
	else if (console_has_words(arguments) && strcmp(q->command->name, "trace"))
		console_fail(self, q, ERR_FORMAT, "expected nothing behind the address");
	else if (q->command->tells && console_is_far(self, who))
		console_far_pass(self, q, who.node, text);
	else
		console_ask_home_of(self, q, who, text);
}

static void begin_follow(struct actor *self, struct question *q, const char *arguments)
{
	if (!q->follow || addr_is_nobody(q->follower))
		console_fail(self, q, ERR_UNSUPPORTED, "only a console connection can follow");
	else
		begin_at_home(self, q, arguments);
}

/* An actor's mail, or the hops of a stream. A name of digits that might be either is an actor's if its
 * node is this one. */
static void begin_trace(struct actor *self, struct question *q, const char *arguments)
{
	const char *rest = arguments;
	char word[128];
	struct addr who;
	bool named = console_next_word(&rest, word, sizeof(word)) && strchr(word, '/');

	if (named && (addr_parse(word, &who) || (who.node && who.node != actor_addr(self).node)))
		console_begin_trace_stream(self, q, arguments);
	else
		begin_follow(self, q, arguments);
}

static void begin_why(struct actor *self, struct question *q, const char *arguments)
{
	char text[64], word[ADDR_TEXT_SIZE];
	struct addr who;

	if (!console_next_word(&arguments, word, sizeof(word)) || addr_parse(word, &who) ||
		console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, expected_address);
		return;
	}
	snprintf(text, sizeof(text), "%s %s", console_is_far(self, who) ? "why" : "inspect", word);
	if (console_is_far(self, who))
		console_far_pass(self, q, who.node, text);
	else
		console_ask_home_of(self, q, who, text);
}

/* What a session or muxer waits for is often its stream's to say. */
static bool ask_its_stream(struct actor *self, struct question *q)
{
	const json_t *state = json_object_get(q->reply.document, "state");
	const char *stream = json_string_value(json_object_get(state, "stream"));
	char text[64];
	struct addr who;

	if (q->reply.err)
		return false;
	q->reply.subject = q->reply.document;
	q->reply.document = NULL;
	if (!stream || addr_parse(stream, &who) || addr_is_nobody(who))
		return false;
	snprintf(text, sizeof(text), "inspect %s", stream);
	console_ask_home_of(self, q, who, text);
	return true;
}

/* ---- send ------------------------------------------------------------------------------------ */

struct sought {
	uint64_t node;
	bool found;
};

static void find_node(void *context, uint64_t node, uint64_t boot)
{
	struct sought *sought = context;

	(void)boot;
	sought->found |= node == sought->node;
}

/* In a process of this node that is known, or in another node that is up. */
static bool may_be_there(struct actor *self, struct addr who)
{
	struct sought sought = {.node = who.node};

	if (!who.node || who.node == actor_addr(self).node)
		return actor_process_of(self, who) != 0;
	runtime_each_node(actor_runtime(self), find_node, &sought);
	return sought.found;
}

static void send_message(struct actor *self, struct question *q, struct addr to,
	const struct schema *schema, const char *words)
{
	char problem[SCHEMA_PROBLEM_SIZE];
	size_t words_size = strlen(words);
	uint8_t *message = malloc(schema->size + words_size + 1);
	enum err err = ERR_NO_MEMORY;

	problem[0] = 0;
	if (message)
		err = schema_parse_words(
			schema, words, message, (char *)message + schema->size, problem);
	if (err) {
		console_fail(self, q, err, problem);
	} else {
		q->sent = schema;
		q->asked_count = q->waiting = 1;
		q->asked[0] = (struct expected){0};
		q->asked[0].request =
			actor_request_mail(self, to, CONSOLE_ASK_MS, schema->id, schema, message);
	}
	if (message) /* it may hold a secret */
		explicit_bzero(message, schema->size + words_size + 1);
	free(message);
}

/* "node NAME", taken off *at; false: *at begins with something else. */
static bool take_node(const char **at, char *name, size_t size)
{
	const char *rest = *at;

	if (!console_next_word(&rest, name, size) || strcmp(name, "node") != 0 ||
		!console_next_word(&rest, name, size))
		return false;
	*at = rest;
	return true;
}

static void begin_move(struct actor *self, struct question *q, const char *arguments)
{
	char word[ADDR_TEXT_SIZE], text[32], node[MESSAGE_NAME_MAX];
	struct addr who;
	long worker = -1;

	arguments = console_skip_blanks(arguments);
	arguments += strspn(arguments, "0"); /* ids of sessions have a fixed width */
	bool good = console_next_word(&arguments, word, sizeof(word)) && !addr_parse(word, &who);
	bool to_node = good && take_node(&arguments, node, sizeof(node));

	if (good && !to_node)
		good = console_take_number(
			       &arguments, "worker", PROCESS_WORKERS_MAX - 1, &worker) &&
		       worker >= 0;
	if (!good || console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "expected: move SESSION worker N, or node NAME");
	} else if (!may_be_there(self, who)) {
		console_fail(self, q, ERR_NOT_FOUND, "no such session");
	} else if (to_node) {
		console_move_to_node(self, q, who, node);
	} else {
		snprintf(text, sizeof(text), "worker=%ld", worker);
		send_message(self, q, who, &schema_session_move, text);
	}
}

static void begin_send(struct actor *self, struct question *q, const char *arguments)
{
	char word[ADDR_TEXT_SIZE], name[MESSAGE_NAME_MAX], problem[SCHEMA_PROBLEM_SIZE];
	const struct schema *schema;
	struct addr who;

	if (!console_next_word(&arguments, word, sizeof(word)) || addr_parse(word, &who)) {
		console_fail(self, q, ERR_FORMAT, expected_address);
		return;
	}
	if (!console_next_word(&arguments, name, sizeof(name))) {
		console_fail(self, q, ERR_FORMAT, "expected: send ADDR MESSAGE [field=value …]");
		return;
	}
	schema = schema_by_name(name);
	if (!schema || schema->use != SCHEMA_MESSAGE) {
		snprintf(problem, sizeof(problem), "no message is called \"%s\"", name);
		console_fail(self, q, ERR_NOT_FOUND, problem);
	} else if (!may_be_there(self, who)) {
		console_fail(self, q, ERR_NOT_FOUND, "no such actor");
	} else {
		send_message(self, q, who, schema, arguments);
	}
}

void console_sent_answered(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	uint8_t *text = schema ? malloc(SENT_TEXT_MAX) : NULL;
	struct writer out = writer_of(text, text ? SENT_TEXT_MAX : 0);
	json_t *fields = NULL;

	q->waiting = 0;
	q->asked[0].request = 0;
	if (text && schema_print_json(schema, message, &out) == ERR_OK)
		fields = json_loadb((const char *)text, writer_used(&out), 0, NULL);
	free(text);
	if (schema)
		q->reply.document = json_pack("{s:s, s:s, s:o?}", "sent", q->sent->name, "answer",
			schema->name, "fields", fields);
	else
		q->reply.document = json_pack("{s:s, s:n}", "sent", q->sent->name, "answer");
	console_finish(self, q);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define WHICH "[TYPE] [where FIELD OP VALUE [and …]] [after ADDR] [limit N]"

static void begin_help(struct actor *self, struct question *q, const char *arguments);

// clang-format off
static const struct command commands[] = {
	/* begin, view, name, arguments, what it does (NULL: not in the list), example, second round */
	{begin_help, NULL, "help", "[COMMAND]", "this list, or one command with an example",
		"help trace"},
	{console_begin_nodes, console_view_nodes, "nodes", "",
		"this node: ports, state, start; in a cluster the others too, and how far away they are", "nodes", .tells = true},
	{begin_here, console_view_workers, "workers", "", "its processes and their load", "workers", .tells = true},
	{begin_rows, console_view_actors, "actors", WHICH,
		"actors; FIELD may be one of their state, OP is = != < <= > >= or ~ (contains)",
		"actors session where rtt_ms > 100 and play = true", .tells = true},
	{begin_rows, console_view_streams, "streams", WHICH, "published streams",
		"streams where viewers > 100", .tells = true},
	{begin_rows, console_view_rows, "sessions", WHICH, "client connections",
		"sessions where worker = 0 limit 20", .tells = true},
	{begin_rows, console_view_rows, "links", WHICH,
		"paths of links to other nodes: round trip, loss, rate, what was sent beside each packet once; where is about links",
		"links where given_up > 0", .tells = true},
	{begin_at_home, NULL, "inspect", "ADDR", "one actor with its whole state",
		"inspect e145c432dd83962e/20000000011", .tells = true},
	{begin_why, console_view_why, "why", "ADDR", "what an actor waits for, and what it drops",
		"why e145c432dd83962e/20000000011", ask_its_stream, .tells = true},
	{console_begin_paths, NULL, "paths", "STREAM",
		"who publishes a stream, which workers of which nodes have it, from whom and as planned, who reads it",
		"paths live/demo"},
	{console_begin_load, console_view_rows, "load", "",
		"how busy the nodes of the cluster are, and which of them take sessions", "load", .tells = true},
	{console_begin_path, NULL, "path", "FROM TO",
		"the lightest ways between two nodes of the cluster: what they weigh, which are planned, and why",
		"path fra1 sgp2"},
	{console_begin_brain, NULL, "brain", "", "which node plans the paths, and how far it is", "brain"},
	{console_begin_map, NULL, "map", "", "nodes of the cluster, and the links between them", "map"},
	{console_begin_ping, NULL, "ping", "NODE [COUNT]",
		"how long a message to another node and its answer take, between actors, milliseconds", "ping fra1 100"},
	{console_begin_changes, NULL, "changes", "[STREAM]",
		"ways that are others now, of streams and to the nodes they come from: before, after, why", "changes live/demo"},
	{console_begin_on, NULL, "on", "NODE|all COMMAND",
		"what another node says to a command that only tells, or every one; also: COMMAND @NODE, COMMAND @all",
		"on all streams where viewers > 100"},
	{begin_tree, console_view_tree, "tree", "", "actors under their parents", "tree", .tells = true},
	{begin_top, console_view_top, "top", "[cpu|mails|mailbox]",
		"the busiest actors over half a second, and the fullest mailboxes", "top mailbox", .tells = true},
	{begin_follow, NULL, "watch", "ADDR", "changes of an actor's state as they happen",
		"watch e145c432dd83962e/20000000011"},
	{begin_trace, NULL, "trace", "ADDR [MESSAGE …]|STREAM",
		"messages in and out of an actor as they pass; or how long the hops of a stream take, from worker to worker",
		"trace e145c432dd83962e/20000000005 subscribe subscribed"},
	{begin_send, NULL, "send", "ADDR MESSAGE [FIELD=VALUE …]", "a message to an actor; shows its answer",
		"send e145c432dd83962e/10000000002 name_lookup name=stream/live/demo"},
	{begin_at_home, NULL, "stop", "ADDR", "ends an actor", "stop e145c432dd83962e/20000000011"},
	{begin_at_home, NULL, "session-delete", "ID", "ends a session by its protocol",
		"session-delete 0000020000000011"},
	{begin_move, NULL, "move", "SESSION worker N | SESSION node NAME",
		"a viewer or publisher goes on at another worker, or its client opens it at another node",
		"move 0000020000000011 worker 1"},
	{console_begin_kill_worker, NULL, "kill-worker", "N", "kills a media worker; it is started again",
		"kill-worker 0"},
	{console_begin_drain_worker, NULL, "drain-worker", "N", "a worker ends what it has and starts anew",
		"drain-worker 0"},
	{console_begin_drain_node, NULL, "drain node", "[NAME] [on|off|stop|ask]",
		"no new sessions on that node of the cluster, its clients go to others; stop: and when none is left it ends",
		"drain node edge-2 stop"},
	{console_begin_drain, console_view_drain, "drain", "[on|off] [worker N]",
		"no new sessions on this node, or on one worker of it, those there go on; off: they are taken again",
		"drain off"},
	{console_begin_config, NULL, "config", "[KEY]|set KEY VALUE|unset KEY",
		"keys of the configuration: value, who has set it, what a change takes; set: for all nodes of the cluster",
		"config set log.level debug", .tells = true},
	{console_begin_scale, NULL, "scale", "N [wait SECONDS]",
		"more or fewer media workers; those too many are drained for at most that long (60)", "scale 4"},
	{console_begin_upgrade, NULL, "upgrade", "[PATH]",
		"goes on with another program, worker by worker, sessions stay (where this one was started from)",
		"upgrade /usr/bin/millrace"},
	{console_begin_operation, NULL, "operation", "[after STEP]",
		"how far scale or upgrade has come", "operation", .tells = true},
	{console_begin_shutdown, NULL, "shutdown", "", "the node ends what it has and stops, as by SIGTERM",
		"shutdown"},
	{begin_counts, console_view_rows, "counters", "", "what the kernels have counted", "counters", .tells = true},
	{begin_counts, console_view_rows, "arena", "", "shared slots in use", "arena", .tells = true},
	{console_begin_copies, console_view_copies, "copies", .go_on = console_copies_go_on, .tells = true},
	{console_begin_neighbours, NULL, "neighbours", .tells = true},
	{console_begin_changed, NULL, "changed", .tells = true},
	{console_begin_complete, NULL, "complete", .go_on = console_complete_go_on},
	{begin_rows, console_view_api_streams, "api streams"},
	{begin_rows, console_view_api_sessions, "api sessions"},
	{begin_here, console_view_api_workers, "api workers"},
	{begin_rows, console_view_api_actors, "api actors"},
	{begin_at_home, NULL, "api session-delete"},
};
// clang-format on

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static json_t *help_row(const struct command *command, bool whole)
{
	json_t *row = json_pack("{s:s, s:s, s:s}", "command", command->name, "arguments",
		command->arguments, "does", command->does);

	if (whole)
		json_object_set_new(row, "example", json_string(command->example));
	return row;
}

static void begin_help(struct actor *self, struct question *q, const char *arguments)
{
	const char *rest, *name = console_skip_blanks(arguments);
	const struct command *command = *name ? console_find_command(name, &rest) : NULL;

	if (*name && (!command || !command->does || *rest)) {
		console_fail(self, q, ERR_NOT_FOUND, "no such command, see help");
		return;
	}
	q->reply.document = command ? help_row(command, true) : console_help();
	console_finish(self, q);
}

json_t *console_help(void)
{
	json_t *rows = json_array();

	for (int i = 0; i < COMMANDS && commands[i].does; i++)
		json_array_append_new(rows, help_row(&commands[i], false));
	return rows;
}

const struct command *console_find_command(const char *text, const char **arguments)
{
	for (int i = 0; i < COMMANDS; i++) {
		size_t length = strlen(commands[i].name);

		if (!strncmp(text, commands[i].name, length) &&
			(!text[length] || text[length] == ' ')) {
			*arguments = text + length;
			return &commands[i];
		}
	}
	return NULL;
}

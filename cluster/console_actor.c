/* SPDX-License-Identifier: Apache-2.0
 *
 * console: answers the REPL and the API. A command is a row of the table below. What the control
 * process knows itself is answered at once; the rest is asked of the process offices, all at once,
 * and merged when all have answered or their time is up.
 *
 *   question  (asked) --last answer, or its deadline--> rendered, answered, free
 *             (command to the supervisor) --reply, or time--> answered, free
 *
 * A process that does not answer is named in the result ("silent"); it never holds up the others'
 * answers for longer than ASK_MS. Owns only its open questions: they end with this process, and who
 * asked hears so by his own deadline. What the documents look like is console_view.c.
 */
#include "cluster/cluster.h"
#include "cluster/console_view.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	MS = 1000,
	ASK_MS = 2000,
	QUESTIONS_MAX = 64,
	PROCESSES_MAX = RUNTIME_PEERS_MAX + 1,
	ANSWER_MAX = 400000,	 /* msg_console_answer.json */
	ROWS_BYTES_MAX = 320000, /* taken from all processes together */
	COMMAND_MAX = 512,
	COMMAND_POLL_MS = 5,
	TIMER_COMMANDS = 0,
};

struct expected {
	uint64_t request; /* 0 = has answered, or will not */
	uint8_t role;
	uint32_t index;
	size_t size;	  /* of the answer, as it came */
	json_t *document; /* the answer */
};

struct question {
	bool used;
	const struct command *command;
	struct asker asker;
	struct expected asked[PROCESSES_MAX];
	uint32_t asked_count;
	uint32_t waiting;
	struct console_reply reply;
	size_t taken;	     /* bytes of the answers kept */
	uint32_t command_id; /* to the supervisor, 0 = none … */
	bool ends_node;	     /* … that the node is to stop */
	int64_t until_us;    /* for its reply */
};

struct console {
	struct console_state st;

	struct question *questions; /* QUESTIONS_MAX */
	uint32_t last_command;
};

struct command {
	/* Begins the question: answers it by finish, or has asked somebody. */
	void (*begin)(struct actor *self, struct question *q, const char *arguments);
	console_view *view; /* of what was gathered; NULL = the one document that came */
	const char *name;   /* "api …": its document stands alone, without {"ok":…} around it */
	const char *arguments;
	const char *does;
};

/* Without "api ": what the process offices are asked. */
static const char *bare_name(const struct command *command)
{
	return command->name + (strncmp(command->name, "api ", 4) ? 0 : 4);
}

/* ---- merging --------------------------------------------------------------------------------- */

static const char *name_of(const struct expected *from, char text[32])
{
	snprintf(text, 32, "%s.%u", process_role_name(from->role), from->index);
	return text;
}

/* Rows are gathered; of several processes a document each is a row, a single one is the result. */
static void merge_document(struct question *q, const struct expected *from)
{
	json_t *rows = json_object_get(from->document, "rows");
	char who[32];

	if (!rows && q->asked_count == 1) {
		q->reply.document = json_incref(from->document);
		return;
	}
	if (json_is_string(json_object_get(from->document, "next")))
		q->reply.truncated = true;
	if (rows) {
		json_array_extend(q->reply.rows, rows);
		return;
	}
	rows = json_pack("{s:s}", "process", name_of(from, who));
	json_object_update(rows, from->document);
	json_array_append_new(q->reply.rows, rows);
}

/* In the order of processes, not of their answers. */
static void merge(struct question *q)
{
	size_t taken = 0;

	for (int role = 0; role < PROCESS_ROLE_COUNT; role++) {
		for (uint32_t i = 0; i < q->asked_count; i++) {
			struct expected *from = &q->asked[i];

			if (from->role != role || !from->document)
				continue;
			taken += from->size;
			if (taken > ROWS_BYTES_MAX)
				q->reply.truncated = true;
			else
				merge_document(q, from);
		}
	}
}

/* ---- answering ------------------------------------------------------------------------------- */

static void send_answer(struct actor *self, struct asker asker, enum err err, json_t *document)
{
	char *text = malloc(ANSWER_MAX);
	size_t size = 0;

	if (text && document)
		size = json_dumpb(document, text, ANSWER_MAX,
			JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
	if (text && (!size || size > ANSWER_MAX)) {
		err = document ? ERR_TOO_LARGE : ERR_NO_MEMORY;
		size = (size_t)snprintf(text, ANSWER_MAX,
			"{\"ok\":false,\"error\":{\"code\":\"%s\",\"message\":\"the answer is too "
			"large, ask for less (where, after)\"}}",
			err_name(err));
	}
	json_decref(document);
	if (!text) {
		actor_refuse(self, asker, ERR_NO_MEMORY, "");
		return;
	}
	actor_answer(self, asker, console_answer,
		{
			.err = (uint8_t)err, .json = {text, (uint32_t)size}
	   });
	free(text);
}

static bool is_api(const struct question *q)
{
	return q->command && bare_name(q->command) != q->command->name;
}

static void answer_question(struct actor *self, struct question *q)
{
	const struct console_reply *reply = &q->reply;
	json_t *result;

	if (reply->err && is_api(q)) { /* HTTP makes a problem document of the text */
		actor_answer(self, q->asker, console_answer,
			{
				.err = (uint8_t)reply->err,
				.json = {reply->problem, (uint32_t)strlen(reply->problem)}
		  });
	} else if (reply->err) {
		send_answer(
			self, q->asker, reply->err, console_view_error(reply->err, reply->problem));
	} else {
		result = q->command->view ? q->command->view(reply) : json_incref(reply->document);
		send_answer(self, q->asker, ERR_OK,
			is_api(q) ? result : console_view_ok(reply, result));
	}
}

static void finish(struct actor *self, struct question *q)
{
	struct console *s = actor_data(self);
	struct console_reply *reply = &q->reply;

	merge(q);
	s->st.failed += reply->err != ERR_OK;
	answer_question(self, q);
	for (uint32_t i = 0; i < q->asked_count; i++) {
		if (q->asked[i].request)
			actor_forget_request(self, q->asked[i].request);
		json_decref(q->asked[i].document);
	}
	json_decref(reply->rows);
	json_decref(reply->silent);
	json_decref(reply->document);
	*q = (struct question){0};
}

static void fail(struct actor *self, struct question *q, enum err err, const char *problem)
{
	q->reply.err = err;
	text_copy(q->reply.problem, sizeof(q->reply.problem), problem[0] ? problem : err_text(err));
	finish(self, q);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask_process(struct actor *self, struct question *q,
	const struct runtime_peer_info *process, const char *text)
{
	struct expected *asked = &q->asked[q->asked_count];
	struct addr office = actor_office_in(self, OFFICE_PROCESS, process->process);

	if (q->asked_count == PROCESSES_MAX)
		return;
	*asked = (struct expected){.role = process->role, .index = process->index};
	asked->request = actor_request(self, office, ASK_MS, console_query,
		{
			.command = {text, (uint32_t)strlen(text)}
	 });
	q->asked_count++;
	q->waiting++;
}

static struct runtime_peer_info own_info(struct actor *self)
{
	const struct runtime_options *options = runtime_options(actor_runtime(self));

	return (struct runtime_peer_info){
		.process = options->process, .role = options->role, .index = options->index};
}

struct everybody {
	struct actor *self;
	struct question *q;
	const char *text;
	struct addr who; /* one_process: only where this actor runs */
};

static void ask_one_of_all(void *context, const struct runtime_peer_info *info)
{
	struct everybody *all = context;

	ask_process(all->self, all->q, info, all->text);
}

static void ask_everybody(struct actor *self, struct question *q, const char *text)
{
	struct everybody all = {.self = self, .q = q, .text = text};
	struct runtime_peer_info own = own_info(self);

	ask_one_of_all(&all, &own);
	runtime_each_peer(actor_runtime(self), ask_one_of_all, &all);
}

static void ask_if_there(void *context, const struct runtime_peer_info *info)
{
	struct everybody *all = context;

	if (actor_process_of(all->self, all->who) == info->process)
		ask_process(all->self, all->q, info, all->text);
}

static void ask_home_of(struct actor *self, struct question *q, struct addr who, const char *text)
{
	struct everybody all = {.self = self, .q = q, .text = text, .who = who};
	struct runtime_peer_info own = own_info(self);

	ask_if_there(&all, &own);
	if (!q->waiting)
		runtime_each_peer(actor_runtime(self), ask_if_there, &all);
	if (!q->waiting)
		fail(self, q, ERR_NOT_FOUND, "no such actor");
}

static struct question *find_question(struct console *s, uint64_t request, struct expected **from)
{
	for (int i = 0; i < QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];

		for (uint32_t k = 0; q->used && k < q->asked_count; k++) {
			if (request && q->asked[k].request == request) {
				*from = &q->asked[k];
				return q;
			}
		}
	}
	return NULL;
}

ON(console, console_answer)
{
	struct expected *from;
	struct question *q = find_question(s, mail->request, &from);

	if (!q)
		return ERR_OK;
	from->request = 0;
	q->waiting--;
	if (m->err) {
		q->reply.err = (enum err)m->err;
		snprintf(q->reply.problem, sizeof(q->reply.problem), "%.*s", (int)m->json.size,
			m->json.data);
	} else {
		from->size = m->json.size;
		from->document = json_loadb(m->json.data, m->json.size, 0, NULL);
		if (!from->document)
			q->reply.err = ERR_INTERNAL;
	}
	if (!q->waiting)
		finish(self, q);
	return ERR_OK;
}

ON(console, failed)
{
	struct expected *from;
	struct question *q = find_question(s, mail->request, &from);
	char who[32];

	if (!q)
		return ERR_OK;
	s->st.silent++;
	from->request = 0;
	q->waiting--;
	json_array_append_new(q->reply.silent, json_string(name_of(from, who)));
	if (q->asked_count == 1) {
		q->reply.err = (enum err)m->err;
		snprintf(q->reply.problem, sizeof(q->reply.problem), "%s does not answer", who);
	}
	if (!q->waiting)
		finish(self, q);
	return ERR_OK;
}

/* ---- commands -------------------------------------------------------------------------------- */

static void begin_here(struct actor *self, struct question *q, const char *arguments)
{
	(void)arguments;
	q->reply.rt = actor_runtime(self);
	finish(self, q);
}

/* Hands the words on as they are: the process offices read them. */
static void begin_rows(struct actor *self, struct question *q, const char *arguments)
{
	char text[COMMAND_MAX + 16];

	snprintf(text, sizeof(text), "%s%s", bare_name(q->command), arguments);
	ask_everybody(self, q, text);
}

static void begin_tree(struct actor *self, struct question *q, const char *arguments)
{
	(void)arguments;
	ask_everybody(self, q, "actors");
}

static void begin_at_home(struct actor *self, struct question *q, const char *arguments)
{
	char text[COMMAND_MAX + 16];
	struct addr who;

	arguments += strspn(arguments, " \t");
	if (!strcmp(bare_name(q->command), "session-delete"))
		arguments += strspn(arguments, "0"); /* ids of sessions have a fixed width */
	if (addr_parse(arguments, &who)) {
		fail(self, q, ERR_FORMAT, "expected an address, such as 1f/10000000010");
		return;
	}
	snprintf(text, sizeof(text), "%s %s", bare_name(q->command), arguments);
	ask_home_of(self, q, who, text);
}

static void tell_supervisor(
	struct actor *self, struct question *q, enum process_command_op op, uint32_t worker)
{
	struct console *s = actor_data(self);
	struct process_command command = {.op = op, .role = PROCESS_MEDIA, .index = worker};
	enum err err;

	command.id = ++s->last_command ? s->last_command : ++s->last_command;
	s->st.commands++;
	err = runtime_supervisor_tell(actor_runtime(self), &command);
	if (err) {
		fail(self, q, err, "the supervisor does not answer");
		return;
	}
	q->command_id = command.id;
	q->ends_node = op == PROCESS_STOP_NODE;
	q->until_us = actor_now_us(self) + ASK_MS * MS;
	actor_timer_in_ms(self, TIMER_COMMANDS, COMMAND_POLL_MS);
}

static void tell_of_worker(
	struct actor *self, struct question *q, const char *arguments, enum process_command_op op)
{
	char *end;
	unsigned long index;

	arguments += strspn(arguments, " \t");
	index = strtoul(arguments, &end, 10);
	if (end == arguments || *end || arguments[0] == '-' || index >= PROCESS_WORKERS_MAX)
		fail(self, q, ERR_FORMAT, "expected the number of a worker");
	else
		tell_supervisor(self, q, op, (uint32_t)index);
}

static void begin_kill_worker(struct actor *self, struct question *q, const char *arguments)
{
	tell_of_worker(self, q, arguments, PROCESS_KILL);
}

static void begin_drain_worker(struct actor *self, struct question *q, const char *arguments)
{
	tell_of_worker(self, q, arguments, PROCESS_DRAIN_WORKER);
}

static void begin_drain(struct actor *self, struct question *q, const char *arguments)
{
	if (arguments[strspn(arguments, " \t")])
		fail(self, q, ERR_FORMAT,
			"drain ends the whole node; for one worker: drain-worker N");
	else
		tell_supervisor(self, q, PROCESS_STOP_NODE, 0);
}

static void begin_help(struct actor *self, struct question *q, const char *arguments);

// clang-format off
static const struct command commands[] = {
	/* begin, view, name, arguments, what it does (NULL: not in the list) */
	{begin_help, NULL, "help", "", "this list"},
	{begin_here, console_view_nodes, "nodes", "", "this node: ports, state, start"},
	{begin_here, console_view_workers, "workers", "", "its processes and their load"},
	{begin_rows, console_view_actors, "actors", "[TYPE] [where FIELD OP VALUE] [after ADDR]",
		"actors; FIELD may be one of their state, OP is = != < <= > >= or ~ (contains)"},
	{begin_rows, console_view_streams, "streams", "", "published streams"},
	{begin_rows, console_view_rows, "sessions", "[TYPE] [where FIELD OP VALUE] [after ADDR]",
		"client connections"},
	{begin_at_home, NULL, "inspect", "ADDR", "one actor with its whole state"},
	{begin_tree, console_view_tree, "tree", "", "actors under their parents"},
	{begin_at_home, NULL, "stop", "ADDR", "ends an actor"},
	{begin_at_home, NULL, "session-delete", "ID", "ends a session by its protocol"},
	{begin_kill_worker, NULL, "kill-worker", "N", "kills a media worker; it is started again"},
	{begin_drain_worker, NULL, "drain-worker", "N", "a worker ends what it has and starts anew"},
	{begin_drain, NULL, "drain", "", "the node ends what it has and stops, as by SIGTERM"},
	{begin_rows, console_view_rows, "counters", "", "what the kernels have counted"},
	{begin_rows, console_view_rows, "arena", "", "shared slots in use"},
	{begin_rows, console_view_api_streams, "api streams"},
	{begin_rows, console_view_api_sessions, "api sessions"},
	{begin_here, console_view_api_workers, "api workers"},
	{begin_rows, console_view_api_actors, "api actors"},
	{begin_at_home, NULL, "api session-delete"},
};
// clang-format on

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void begin_help(struct actor *self, struct question *q, const char *arguments)
{
	(void)arguments;
	q->reply.document = json_array();
	for (int i = 0; i < COMMANDS && commands[i].does; i++)
		json_array_append_new(q->reply.document,
			json_pack("{s:s, s:s, s:s}", "command", commands[i].name, "arguments",
				commands[i].arguments, "does", commands[i].does));
	finish(self, q);
}

/* The row whose name the text begins with, and what follows it. */
static const struct command *find_command(const char *text, const char **arguments)
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

static struct question *new_question(struct console *s, struct asker asker)
{
	for (int i = 0; i < QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];

		if (q->used)
			continue;
		*q = (struct question){.used = true, .asker = asker};
		q->reply.rows = json_array();
		q->reply.silent = json_array();
		return q;
	}
	return NULL;
}

ON(console, console_query)
{
	char text[COMMAND_MAX];
	struct question *q;
	const char *arguments = "";
	const struct command *command;
	size_t length;

	s->st.queries++;
	if (m->command.size >= sizeof(text)) {
		send_answer(self, actor_asker(self), ERR_TOO_LARGE,
			console_view_error(ERR_TOO_LARGE, "the command is too long"));
		return ERR_OK;
	}
	snprintf(text, sizeof(text), "%.*s", (int)m->command.size, m->command.data);
	for (length = strlen(text); length && strchr(" \t\r\n", text[length - 1]); length--)
		text[length - 1] = 0;
	q = new_question(s, actor_asker(self));
	if (!q) {
		send_answer(self, actor_asker(self), ERR_OVERLOAD,
			console_view_error(ERR_OVERLOAD, "too many questions at once"));
		return ERR_OK;
	}
	command = find_command(text + strspn(text, " \t"), &arguments);
	if (!command) {
		fail(self, q, ERR_UNSUPPORTED, "no such command, see help");
		return ERR_OK;
	}
	q->command = command;
	command->begin(self, q, arguments);
	return ERR_OK;
}

/* ---- the supervisor's replies ---------------------------------------------------------------- */

static void take_reply(struct actor *self, struct console *s, const struct process_reply *reply)
{
	for (int i = 0; i < QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];

		if (!q->used || q->command_id != reply->id)
			continue;
		if (reply->err) {
			fail(self, q, reply->err < ERR_COUNT ? (enum err)reply->err : ERR_INTERNAL,
				reply->err == ERR_NOT_FOUND ? "no such worker" : "");
			return;
		}
		q->reply.document = q->ends_node
					    ? json_pack("{s:b}", "stopping", 1)
					    : json_pack("{s:i, s:i}", "worker", (int)reply->index,
						      "pid", (int)reply->pid);
		finish(self, q);
		return;
	}
}

static void console_timer(struct actor *self, void *data, unsigned timer)
{
	struct console *s = data;
	struct process_reply reply;
	bool more = false;

	(void)timer;
	while (runtime_supervisor_hear(actor_runtime(self), &reply) == ERR_OK)
		take_reply(self, s, &reply);
	for (int i = 0; i < QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];

		if (!q->used || !q->command_id)
			continue;
		if (q->until_us <= actor_now_us(self))
			fail(self, q, ERR_TIMEOUT, "the supervisor does not answer");
		else
			more = true;
	}
	if (more)
		actor_timer_in_ms(self, TIMER_COMMANDS, COMMAND_POLL_MS);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err console_init(struct actor *self, void *data, const void *args)
{
	struct console *s = data;

	(void)args;
	actor_set_name(self, "office/console");
	s->questions = calloc(QUESTIONS_MAX, sizeof(*s->questions));
	return s->questions ? ERR_OK : ERR_NO_MEMORY;
}

static enum err console_restore(struct actor *self, void *data)
{
	return console_init(self, data, NULL);
}

static void console_stop(struct actor *self, void *data, enum err reason)
{
	struct console *s = data;

	for (int i = 0; s->questions && i < QUESTIONS_MAX; i++)
		if (s->questions[i].used)
			fail(self, &s->questions[i], reason ? reason : ERR_CLOSED, "");
	free(s->questions);
}

static const struct handler console_handlers[] = {
	HANDLER(console, console_query, 0),
	HANDLER(console, console_answer, 0),
	HANDLER(console, failed, 0),
};

const struct actor_type console_actor = {
	.name = "console",
	.size = sizeof(struct console),
	.state = &schema_console_state,
	HANDLER_TABLE(console_handlers),
	.init = console_init,
	.restore = console_restore,
	.stop = console_stop,
	.timer = console_timer,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * console: answers the REPL and the API. What the control process knows itself is answered at once;
 * the rest is asked of the process offices, all at once, and merged when all have answered or their
 * time is up.
 *
 *   question  (asked) --last answer, or its deadline--> rendered, answered, free
 *             (asked) --last answer of the first round, some commands--> (asked)
 *             (command to the supervisor) --reply, or time--> answered, free
 *
 * A process that does not answer is named in the result ("silent"); it never holds up the others'
 * answers for longer than CONSOLE_ASK_MS. Owns only its open questions: they end with this process,
 * and who asked hears so by his own deadline. The commands are in console_commands.c, what their
 * documents look like in console_view.c.
 */
#include "cluster/cluster.h"
#include "cluster/console_internal.h"
#include "runtime/process.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	ANSWER_MAX = 400000,	 /* msg_console_answer.json */
	ROWS_BYTES_MAX = 320000, /* taken from all processes together */
};

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
	console_page_ends_at(&q->reply.page, json_object_get(from->document, "next"));
	if (rows) {
		json_array_extend(q->reply.rows, rows);
		return;
	}
	rows = json_pack("{s:s}", "process", name_of(from, who));
	json_object_update(rows, from->document);
	json_array_append_new(q->reply.rows, rows);
}

static uint64_t first_id(const struct expected *from)
{
	return console_page_first(json_object_get(from->document, "rows"));
}

/* Lists by the ids of their first rows, so that those that find no room come on a later page;
 * other documents by role. */
static int by_order(const void *a_, const void *b_)
{
	const struct expected *a = *(const struct expected *const *)a_;
	const struct expected *b = *(const struct expected *const *)b_;
	uint64_t x = first_id(a), y = first_id(b);

	return x < y ? -1 : x > y ? 1 : (a->role > b->role) - (a->role < b->role);
}

static void merge(struct question *q)
{
	const struct expected *order[CONSOLE_PROCESSES_MAX];
	size_t taken = 0, count = 0;

	for (uint32_t i = 0; i < q->asked_count; i++)
		if (q->asked[i].document)
			order[count++] = &q->asked[i];
	if (count)
		qsort(order, count, sizeof(*order), by_order);
	for (size_t i = 0; i < count; i++) {
		taken += order[i]->size;
		if (i && taken > ROWS_BYTES_MAX)
			console_page_left_out(
				&q->reply.page, json_object_get(order[i]->document, "rows"));
		else
			merge_document(q, order[i]);
	}
	q->reply.truncated = q->reply.page.ended;
	if (q->reply.pages && (q->reply.page.ended || q->reply.page.limit)) {
		json_t *rows = console_page_cut(&q->reply.page, q->reply.rows);

		json_decref(q->reply.rows);
		q->reply.rows = rows;
	}
}

/* The round is over: its answers are kept in the reply, nobody is waited for. */
static void end_round(struct actor *self, struct question *q)
{
	merge(q);
	for (uint32_t i = 0; i < q->asked_count; i++) {
		if (q->asked[i].request)
			actor_forget_request(self, q->asked[i].request);
		json_decref(q->asked[i].document);
	}
	q->asked_count = q->waiting = 0;
}

/* ---- answering ------------------------------------------------------------------------------- */

static void send_answer(
	struct actor *self, const struct question *q, enum err err, json_t *document)
{
	struct asker asker = q->asker;
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
			.err = (uint8_t)err,
			.json = {text, (uint32_t)size},
			.source = q->reply.follows ? q->source : (struct addr){0	},
	});
	free(text);
}

static bool is_api(const struct question *q)
{
	return q->command && console_bare_name(q->command) != q->command->name;
}

static void answer_question(struct actor *self, struct question *q)
{
	const struct console_reply *reply = &q->reply;
	json_t *result;
	/* what was asked for in the second round is an addition */
	bool failed = reply->err && !reply->subject;

	if (failed && is_api(q)) { /* HTTP makes a problem document of the text */
		actor_answer(self, q->asker, console_answer,
			{
				.err = (uint8_t)reply->err,
				.json = {reply->problem, (uint32_t)strlen(reply->problem)}
		  });
	} else if (failed) {
		send_answer(self, q, reply->err, console_view_error(reply->err, reply->problem));
	} else {
		result = q->command->view && !q->as_it_is ? q->command->view(reply)
							  : json_incref(reply->document);
		send_answer(self, q, ERR_OK, is_api(q) ? result : console_view_ok(reply, result));
	}
}

void console_finish(struct actor *self, struct question *q)
{
	struct console *s = actor_data(self);
	struct console_reply *reply = &q->reply;

	end_round(self, q);
	if (q->command && q->command->go_on && !q->went_on) {
		q->went_on = true;
		if (q->command->go_on(self, q))
			return;
	}
	s->st.failed += reply->err && !reply->subject;
	answer_question(self, q);
	console_far_forget(self, q);
	json_decref(reply->rows);
	json_decref(reply->silent);
	json_decref(reply->document);
	json_decref(reply->subject);
	json_decref(reply->page.next);
	*q = (struct question){0};
}

void console_fail(struct actor *self, struct question *q, enum err err, const char *problem)
{
	q->reply.err = err;
	text_copy(q->reply.problem, sizeof(q->reply.problem), problem[0] ? problem : err_text(err));
	q->went_on = true;
	console_finish(self, q);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask_process(struct actor *self, struct question *q,
	const struct runtime_peer_info *process, const char *text)
{
	struct expected *asked = &q->asked[q->asked_count];
	struct addr office = actor_office_in(self, OFFICE_PROCESS, process->process);

	if (q->asked_count == CONSOLE_PROCESSES_MAX)
		return;
	*asked = (struct expected){.role = process->role, .index = process->index};
	asked->request = actor_request(self, office, CONSOLE_ASK_MS, console_query,
		{
			.command = {text, (uint32_t)strlen(text)},
			.follow = q->follow,
			.follower = q->follower,
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

void console_ask_everybody(struct actor *self, struct question *q, const char *text)
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

void console_ask_home_of(struct actor *self, struct question *q, struct addr who, const char *text)
{
	struct everybody all = {.self = self, .q = q, .text = text, .who = who};
	struct runtime_peer_info own = own_info(self);

	ask_if_there(&all, &own);
	if (!q->waiting)
		runtime_each_peer(actor_runtime(self), ask_if_there, &all);
	if (!q->waiting)
		console_fail(self, q, ERR_NOT_FOUND, "no such actor");
}

struct one_worker {
	struct everybody all;
	uint32_t worker;
};

static void ask_if_worker(void *context, const struct runtime_peer_info *info)
{
	struct one_worker *one = context;

	if (info->role == PROCESS_MEDIA && info->index == one->worker)
		ask_process(one->all.self, one->all.q, info, one->all.text);
}

void console_ask_worker(struct actor *self, struct question *q, uint32_t worker, const char *text)
{
	struct one_worker one = {
		.all = {.self = self, .q = q, .text = text},
		     .worker = worker
	     };

	runtime_each_peer(actor_runtime(self), ask_if_worker, &one);
	if (!q->waiting)
		console_fail(self, q, ERR_NOT_FOUND, "no such worker");
}

void console_ask_office(struct actor *self, struct question *q, enum office office,
	const struct schema *schema, const void *message)
{
	q->sent = schema;
	q->asked_count = q->waiting = 1;
	q->asked[0] = (struct expected){0};
	q->asked[0].request = actor_request_mail(
		self, actor_office(self, office), CONSOLE_ASK_MS, schema->id, schema, message);
}

static struct question *find_question(struct console *s, uint64_t request, struct expected **from)
{
	for (int i = 0; i < CONSOLE_QUESTIONS_MAX; i++) {
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

	if (!q) {
		console_far_answered(self, s, mail->request, m);
		return ERR_OK;
	}
	if (q->sent) {
		console_sent_answered(self, q, &schema_console_answer, m);
		return ERR_OK;
	}
	from->request = 0;
	q->waiting--;
	q->source = m->source;
	q->reply.follows = !addr_is_nobody(m->source);
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
		console_finish(self, q);
	return ERR_OK;
}

ON(console, failed)
{
	struct expected *from;
	struct question *q = find_question(s, mail->request, &from);
	char who[32];

	if (!q) {
		if (!console_far_answered(self, s, mail->request, NULL))
			console_trace_answered(self, s, mail->request, NULL);
		return ERR_OK;
	}
	if (q->answered) {
		q->answered(self, q, &schema_failed, m);
		return ERR_OK;
	}
	if (q->sent) {
		if (m->err == ERR_TIMEOUT)
			console_sent_answered(self, q, NULL, NULL);
		else
			console_fail(self, q, (enum err)m->err, m->text);
		return ERR_OK;
	}
	s->st.silent++;
	from->request = 0;
	q->waiting--;
	json_array_append_new(q->reply.silent, json_string(name_of(from, who)));
	if (q->asked_count == 1) {
		q->reply.err = (enum err)m->err;
		snprintf(q->reply.problem, sizeof(q->reply.problem), "%s does not answer", who);
	}
	if (!q->waiting)
		console_finish(self, q);
	return ERR_OK;
}

/* Whatever an actor has answered to `send`. */
static enum err console_any(
	struct actor *self, void *data, const void *message, const struct mail *mail)
{
	const struct schema *schema = schema_by_id(mail->type);
	struct expected *from;
	struct question *q = mail->is_reply ? find_question(data, mail->request, &from) : NULL;

	if (!q && mail->is_reply && schema == &schema_stream_traced)
		return console_trace_answered(self, data, mail->request, message) ? ERR_OK
										  : ERR_NOT_FOUND;
	if (!q || !q->sent || !schema)
		return ERR_UNSUPPORTED;
	if (q->answered)
		q->answered(self, q, schema, message);
	else
		console_sent_answered(self, q, schema, message);
	return ERR_OK;
}

/* ---- questions ------------------------------------------------------------------------------- */

static struct question *new_question(struct console *s, struct asker asker)
{
	for (int i = 0; i < CONSOLE_QUESTIONS_MAX; i++) {
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

/* No question was opened. */
static enum err refuse(struct actor *self, enum err err, const char *problem)
{
	struct question q = {.asker = actor_asker(self)};

	send_answer(self, &q, err, console_view_error(err, problem));
	return ERR_OK;
}

/* COMMAND @NODE is `on NODE COMMAND`. */
static void put_node_first(char text[CONSOLE_COMMAND_MAX])
{
	char *at = strrchr(text, '@'), other[CONSOLE_COMMAND_MAX];
	int length;

	if (!at || at == text || !strchr(" \t", at[-1]) || strpbrk(at, " \t"))
		return;
	length = snprintf(other, sizeof(other), "on %s %.*s", at + 1, (int)(at - text), text);
	if (length < (int)sizeof(other))
		memcpy(text, other, (size_t)length + 1);
}

/* `tells`: only what tells is answered. */
static enum err take_question(struct actor *self, struct console *s, struct slice command,
	const struct msg_console_query *followed, bool tells)
{
	char text[CONSOLE_COMMAND_MAX];
	struct question *q;
	const char *arguments = "";
	size_t length;

	s->st.queries++;
	if (command.size >= sizeof(text))
		return refuse(self, ERR_TOO_LARGE, "the command is too long");
	snprintf(text, sizeof(text), "%.*s", (int)command.size, command.data);
	for (length = strlen(text); length && strchr(" \t\r\n", text[length - 1]); length--)
		text[length - 1] = 0;
	put_node_first(text);
	q = new_question(s, actor_asker(self));
	if (!q)
		return refuse(self, ERR_OVERLOAD, "too many questions at once");
	q->from_afar = tells;
	if (followed) {
		q->follow = followed->follow;
		q->follower = followed->follower;
	}
	q->command = console_find_command(text + strspn(text, " \t"), &arguments);
	if (q->command && (q->command->tells || !tells))
		q->command->begin(self, q, arguments);
	else
		console_fail(self, q, ERR_UNSUPPORTED, "no such command, see help");
	return ERR_OK;
}

ON(console, console_query)
{
	return take_question(self, s, m->command, m, false);
}

ON(console, console_far)
{
	s->st.far++;
	return take_question(self, s, m->command, NULL, true);
}

/* ---- the supervisor's replies ---------------------------------------------------------------- */

static void take_reply(struct actor *self, struct console *s, const struct process_reply *reply)
{
	for (int i = 0; i < CONSOLE_QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];

		if (!q->used || q->command_id != reply->id)
			continue;
		console_supervisor_replied(self, q, reply);
		return;
	}
}

/* Another node's console wants to know how long that takes. */
ON(console, console_ping)
{
	return actor_reply(self, done, {});
}

static void console_timer(struct actor *self, void *data, unsigned timer)
{
	struct console *s = data;
	struct process_reply reply;
	bool more = false;

	if (timer == CONSOLE_TIMER_PING) {
		console_ping_due(self, s);
		return;
	}
	while (runtime_supervisor_hear(actor_runtime(self), &reply) == ERR_OK)
		take_reply(self, s, &reply);
	for (int i = 0; i < CONSOLE_QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];

		if (!q->used || !q->command_id)
			continue;
		if (q->until_us <= actor_now_us(self))
			console_fail(self, q, ERR_TIMEOUT, "the supervisor does not answer");
		else
			more = true;
	}
	if (more)
		actor_timer_in_ms(self, CONSOLE_TIMER_COMMANDS, CONSOLE_COMMAND_POLL_MS);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err console_init(struct actor *self, void *data, const void *args)
{
	struct console *s = data;

	(void)args;
	actor_set_name(self, "office/console");
	s->questions = calloc(CONSOLE_QUESTIONS_MAX, sizeof(*s->questions));
	return s->questions ? ERR_OK : ERR_NO_MEMORY;
}

static enum err console_restore(struct actor *self, void *data)
{
	return console_init(self, data, NULL);
}

static void console_stop(struct actor *self, void *data, enum err reason)
{
	struct console *s = data;

	for (int i = 0; s->questions && i < CONSOLE_QUESTIONS_MAX; i++)
		if (s->questions[i].used)
			console_fail(self, &s->questions[i], reason ? reason : ERR_CLOSED, "");
	free(s->questions);
}

static const struct handler console_handlers[] = {
	HANDLER(console, console_query, 0),
	HANDLER(console, console_far, 0),
	HANDLER(console, console_ping, 0),
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
	.any = console_any,
};

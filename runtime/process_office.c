/* SPDX-License-Identifier: Apache-2.0
 *
 * process office: see process_office.h. Looks at all actors of its process, changes none: what is
 * to end is told so by mail. Looking walks the list of actors; twice a second is cheap, and a question
 * ends with its page.
 */
#include "runtime/process_office.h"

#include "runtime/actor_filter.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	MS = 1000,
	ROW_ROOM = 8192, /* a row that would not fit into this much is where a page ends */
	TIMER_REPORT = 0,
	END_SESSION_MS = 2000,
	KINDS_MAX = sizeof(((struct process_office_state *)0)->kinds) / sizeof(struct session_kind),
	ENDINGS_MAX =
		sizeof(((struct process_office_state *)0)->endings) / sizeof(struct session_ending),
};

static const char stream_type[] = "stream";

struct process_office {
	struct process_office_state st;
};

/* ---- load ------------------------------------------------------------------------------------ */

static bool is_session(const struct process_office *s, const struct actor_facts *facts)
{
	for (int i = 0; i < s->st.kinds_count; i++)
		if (!strcmp(s->st.kinds[i].type, facts->type) &&
			(!s->st.kinds[i].phase[0] || !strcmp(s->st.kinds[i].phase, facts->phase)))
			return true;
	return false;
}

static void count_actors(struct actor *self, struct process_office *s)
{
	struct actor_facts facts;

	s->st.sessions = s->st.streams = 0;
	for (struct actor *a = runtime_next_actor(actor_runtime(self), NULL); a;
		a = runtime_next_actor(actor_runtime(self), a)) {
		runtime_facts(a, &facts);
		s->st.sessions += is_session(s, &facts);
		s->st.streams += !strcmp(facts.type, stream_type);
	}
}

static void publish_metrics(struct actor *self)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const struct runtime_counters *kernel = runtime_counters(actor_runtime(self));
	const uint64_t values[] = {kernel->mails_local, kernel->mails_out, kernel->mails_in,
		kernel->refused, kernel->requests_timed_out, kernel->media_out, kernel->media_in,
		kernel->media_dropped_out + kernel->media_dropped_in, kernel->slow_runs};
	struct arena_usage usage = {0};

	_Static_assert(PROCESS_METRIC_SLOW_RUNS - PROCESS_METRIC_MAILS_LOCAL + 1 ==
			       sizeof(values) / sizeof(values[0]),
		"the kernel's rows, in their order");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		process_metric_set(
			env, PROCESS_METRIC_MAILS_LOCAL + (enum process_metric)i, values[i]);
	if (actor_arena(self))
		arena_usage(actor_arena(self), &usage);
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		process_metric_set(
			env, PROCESS_METRIC_SLOTS_PACKET + (enum process_metric)i, usage.used[i]);
}

static void report(struct actor *self, struct process_office *s)
{
	const struct runtime_options *options = runtime_options(actor_runtime(self));
	const struct process_env *env = runtime_env(actor_runtime(self));
	struct process_status *own = env ? process_own_status(env) : NULL;
	struct msg_load_report load = {.process = options->process, .index = options->index};

	count_actors(self, s);
	load.sessions = s->st.sessions;
	load.streams = s->st.streams;
	if (own) {
		atomic_store_explicit(&own->sessions, load.sessions, memory_order_relaxed);
		atomic_store_explicit(&own->streams, load.streams, memory_order_relaxed);
		load.cpu_permille = atomic_load_explicit(&own->cpu_permille, memory_order_relaxed);
		load.packets_per_s =
			atomic_load_explicit(&own->packets_per_s, memory_order_relaxed);
		load.draining = atomic_load(&own->state) != PROCESS_READY;
	}
	if (options->role == PROCESS_MEDIA)
		actor_send_mail(self, actor_office(self, OFFICE_PLACEMENT), MSG_load_report,
			&schema_load_report, &load);
	publish_metrics(self);
	s->st.reports++;
	actor_timer_in_ms(self, TIMER_REPORT, PROCESS_OFFICE_REPORT_MS);
}

/* At once, so that nothing more is placed here. */
ON(process_office, drain)
{
	report(self, s);
	return ERR_OK;
}

static void process_office_timer(struct actor *self, void *data, unsigned timer)
{
	(void)timer;
	report(self, data);
}

/* ---- answers --------------------------------------------------------------------------------- */

struct query {
	struct actor *self;
	struct process_office *s;
	const char *arguments;
	struct writer out;
	const char *problem; /* text for people, with an error */
};

static void put(struct query *q, const char *text)
{
	write_bytes(&q->out, text, strlen(text));
}

static void answer(struct query *q, struct asker asker, enum err err)
{
	struct msg_console_answer m = {.err = (uint8_t)err};

	if (err)
		m.json = (struct slice){q->problem, (uint32_t)strlen(q->problem)};
	else
		m.json = (struct slice){(const char *)q->out.begin, (uint32_t)writer_used(&q->out)};
	actor_answer_mail(q->self, asker, MSG_console_answer, &schema_console_answer, &m);
}

static enum err fail(struct query *q, enum err err, const char *problem)
{
	q->problem = problem;
	return err;
}

static void fill_actor_row(
	struct actor *self, const struct actor_facts *facts, struct actor_row *row)
{
	const struct runtime_options *options = runtime_options(actor_runtime(self));
	const struct process_env *env = runtime_env(actor_runtime(self));

	*row = (struct actor_row){
		.addr = facts->addr,
		.worker = options->index,
		.mailbox = facts->mailbox,
		.age_ms = (uint64_t)(facts->age_us / MS),
		.parent = facts->parent,
		.handled = facts->handled,
		.refused = facts->refused,
		.busy_us = (uint64_t)facts->busy_us,
	};
	text_copy(row->type, sizeof(row->type), facts->type);
	text_copy(row->name, sizeof(row->name), facts->name);
	text_copy(row->node, sizeof(row->node), env ? env->node_name : "");
	text_copy(row->state, sizeof(row->state), facts->phase);
	text_copy(row->role, sizeof(row->role), process_role_name(options->role));
}

static bool print_actor(
	struct query *q, const struct actor_facts *facts, const struct actor_row *row)
{
	(void)facts;
	return schema_print_json(&schema_actor_row, row, &q->out) == ERR_OK;
}

/* Sessions are named protocol/stream; an HTTP connection that counts as one plays FLV. */
static void fill_protocol(const char *name, char *protocol, size_t size)
{
	text_copy(protocol, size, name);
	protocol[strcspn(protocol, "/")] = 0;
	if (!strcmp(protocol, "http"))
		text_copy(protocol, size, "flv");
}

static bool print_session(
	struct query *q, const struct actor_facts *facts, const struct actor_row *row)
{
	struct session_row session = {
		.addr = row->addr, .worker = row->worker, .age_ms = row->age_ms};

	snprintf(session.id, sizeof(session.id), "%016" PRIx64, row->addr.id);
	memcpy(session.type, row->type, sizeof(session.type));
	memcpy(session.state, row->state, sizeof(session.state));
	fill_protocol(row->name, session.protocol, sizeof(session.protocol));
	text_copy(session.stream, sizeof(session.stream),
		actor_filter_text(facts->schema, facts->state, "stream_name,stream,name"));
	text_copy(session.client, sizeof(session.client),
		actor_filter_text(facts->schema, facts->state, "client,peer,remote"));
	return schema_print_json(&schema_session_row, &session, &q->out) == ERR_OK;
}

static bool print_stream(
	struct query *q, const struct actor_facts *facts, const struct actor_row *row)
{
	const struct stream_state *state = facts->state;
	struct stream_row stream = {
		.addr = row->addr,
		.replica = state->replica,
		.viewers = state->viewers,
		.bitrate_bps = state->bitrate_bps,
		.age_ms = row->age_ms,
		.publisher = state->source,
		.worker = row->worker,
		.transcoded_track = state->transcoded_track,
		.tracks_count = state->tracks_count,
	};

	memcpy(stream.name, state->name, sizeof(stream.name));
	memcpy(stream.protocol, state->protocol, sizeof(stream.protocol));
	memcpy(stream.state, row->state, sizeof(stream.state));
	memcpy(stream.tracks, state->tracks, sizeof(stream.tracks));
	return schema_print_json(&schema_stream_row, &stream, &q->out) == ERR_OK;
}

static struct actor *first_after(struct runtime *rt, struct addr after)
{
	struct actor *at = addr_is_nobody(after) ? NULL : runtime_find(rt, after.id);
	struct actor_facts facts;

	if (at || addr_is_nobody(after))
		return runtime_next_actor(rt, at);
	/* it has ended meanwhile: ids grow with age */
	for (at = runtime_next_actor(rt, NULL); at; at = runtime_next_actor(rt, at)) {
		runtime_facts(at, &facts);
		if (facts.addr.id > after.id)
			break;
	}
	return at;
}

enum rows_of { ROWS_ACTORS, ROWS_SESSIONS, ROWS_STREAMS };

static bool is_of(
	const struct process_office *s, enum rows_of what, const struct actor_facts *facts)
{
	return what == ROWS_ACTORS || (what == ROWS_SESSIONS && is_session(s, facts)) ||
	       (what == ROWS_STREAMS && facts->schema == &schema_stream_state);
}

static enum err answer_rows(struct query *q, enum rows_of what)
{
	static bool (*const print[])(struct query *, const struct actor_facts *,
		const struct actor_row *) = {print_actor, print_session, print_stream};
	struct runtime *rt = actor_runtime(q->self);
	struct addr last = {0};
	struct actor_filter filter;
	struct actor_facts facts;
	struct actor_row row;
	char text[ADDR_TEXT_SIZE];
	bool full = false;

	if (actor_filter_parse(q->arguments, &filter, &q->problem))
		return ERR_FORMAT;
	put(q, "{\"rows\":[");
	for (struct actor *a = first_after(rt, filter.after); a && !full;
		a = runtime_next_actor(rt, a)) {
		runtime_facts(a, &facts);
		fill_actor_row(q->self, &facts, &row);
		if (!is_of(q->s, what, &facts) ||
			!actor_filter_match(&filter, &row, facts.schema, facts.state))
			continue;
		full = writer_left(&q->out) < ROW_ROOM;
		if (full)
			break;
		if (!addr_is_nobody(last))
			put(q, ",");
		if (!print[what](q, &facts, &row))
			return fail(q, ERR_TOO_LARGE, "one row is too large");
		last = row.addr;
	}
	put(q, "],\"next\":");
	put(q, full ? "\"" : "null");
	if (full)
		put(q, addr_text(last, text));
	put(q, full ? "\"}" : "}");
	return ERR_OK;
}

static enum err answer_actors(struct query *q)
{
	return answer_rows(q, ROWS_ACTORS);
}

static enum err answer_sessions(struct query *q)
{
	return answer_rows(q, ROWS_SESSIONS);
}

static enum err answer_streams(struct query *q)
{
	return answer_rows(q, ROWS_STREAMS);
}

/* The actor named by the arguments, with its facts. */
static enum err find_actor(struct query *q, struct actor_facts *facts)
{
	const char *word = q->arguments + strspn(q->arguments, " \t");
	struct addr addr;
	struct actor *actor;

	if (addr_parse(word, &addr))
		return fail(q, ERR_FORMAT, "expected an address, such as 1f/10000000010");
	actor = runtime_find(actor_runtime(q->self), addr.id);
	if (!actor)
		return fail(q, ERR_NOT_FOUND, "no such actor");
	runtime_facts(actor, facts);
	return ERR_OK;
}

static enum err answer_inspect(struct query *q)
{
	struct actor_facts facts;
	struct actor_row row;
	enum err err = find_actor(q, &facts);

	if (err)
		return err;
	fill_actor_row(q->self, &facts, &row);
	schema_print_json(&schema_actor_row, &row, &q->out);
	/* the row is an object: go on inside of it */
	if (!q->out.bad)
		q->out.at--;
	put(q, ",\"state_name\":\"");
	put(q, facts.phase);
	put(q, "\",\"schema\":\"");
	put(q, facts.schema->name);
	put(q, "\",\"state\":");
	if (schema_print_json(facts.schema, facts.state, &q->out))
		return fail(q, ERR_TOO_LARGE, "its state is larger than an answer");
	put(q, "}");
	return q->out.bad ? fail(q, ERR_TOO_LARGE, "its state is larger than an answer") : ERR_OK;
}

static void put_named(struct query *q, const struct addr addr, const char *type)
{
	char text[ADDR_TEXT_SIZE];

	put(q, "{\"addr\":\"");
	put(q, addr_text(addr, text));
	put(q, "\",\"type\":\"");
	put(q, type);
	put(q, "\"}");
}

static enum err answer_stop(struct query *q)
{
	struct actor_facts facts;
	enum err err = find_actor(q, &facts);

	if (err)
		return err;
	put_named(q, facts.addr, facts.type);
	return actor_send(q->self, facts.addr, stop, {.reason = ERR_CLOSED});
}

/* Ends by the session's own protocol where it knows how to; answered when it has. */
static enum err answer_session_delete(struct query *q)
{
	struct asker asker = actor_asker(q->self);
	struct session_ending *ending = &q->s->st.endings[q->s->st.endings_count];
	struct actor_facts facts;
	enum err err = find_actor(q, &facts);

	if (err)
		return err;
	if (!is_session(q->s, &facts))
		return fail(q, ERR_NOT_FOUND, "no such session");
	if (q->s->st.endings_count == ENDINGS_MAX)
		return fail(q, ERR_OVERLOAD, "too many sessions are ending");
	q->s->st.endings_count++;
	*ending = (struct session_ending){
		.session = facts.addr, .asker = asker.from, .asked = asker.request};
	ending->request = actor_request(
		q->self, facts.addr, END_SESSION_MS, session_delete, {.by_operator = true});
	return ERR_AGAIN;
}

static void put_number(struct query *q, const char *name, uint64_t number)
{
	char text[96];

	snprintf(text, sizeof(text), "%s\"%s\":%" PRIu64, q->out.at[-1] == '{' ? "" : ",", name,
		number);
	put(q, text);
}

static enum err answer_counters(struct query *q)
{
	const struct runtime_counters *c = runtime_counters(actor_runtime(q->self));
	const struct {
		const char *name;
		uint64_t number;
	} rows[] = {
		{"actors",		   runtime_actor_count(actor_runtime(q->self))},
		{"mails_local",	c->mails_local			      },
		{"mails_out",	      c->mails_out				  },
		{"mails_in",	     c->mails_in				},
		{"bounced",	    c->bounced				      },
		{"refused",	    c->refused				      },
		{"dropped",	    c->dropped				      },
		{"bad_frames",	       c->bad_frames				    },
		{"resent_frames",	  c->resent_frames				  },
		{"duplicate_frames",   c->duplicate_frames			},
		{"requests_timed_out", c->requests_timed_out			    },
		{"media_out",	      c->media_out				  },
		{"media_in",	     c->media_in				},
		{"media_dropped_out",  c->media_dropped_out			  },
		{"media_dropped_in",   c->media_dropped_in			},
		{"slow_runs",	      c->slow_runs				  },
		{"busy_us",	    (uint64_t)c->busy_us			},
	};

	put(q, "{");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put_number(q, rows[i].name, rows[i].number);
	put(q, "}");
	return ERR_OK;
}

static enum err answer_arena(struct query *q)
{
	static const char *const tables[ARENA_TABLE_COUNT] = {"packet", "log", "session", "buffer"};
	struct arena *arena = actor_arena(q->self);
	struct arena_usage usage = {0};

	if (arena)
		arena_usage(arena, &usage);
	put(q, "{");
	for (int i = 0; i < ARENA_TABLE_COUNT; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%s_used", tables[i]);
		put_number(q, name, usage.used[i]);
		snprintf(name, sizeof(name), "%s_count", tables[i]);
		put_number(q, name, usage.count[i]);
		snprintf(name, sizeof(name), "%s_refused", tables[i]);
		put_number(q, name, usage.refused[i]);
	}
	put(q, "}");
	return ERR_OK;
}

static const struct {
	const char *name;
	enum err (*run)(struct query *q); /* ERR_AGAIN: answered later */
} commands[] = {
	{"actors",	   answer_actors	},
	{"sessions",	     answer_sessions	    },
	{"streams",	    answer_streams	  },
	{"inspect",	    answer_inspect	  },
	{"stop",		 answer_stop	    },
	{"session-delete", answer_session_delete},
	{"counters",	     answer_counters	    },
	{"arena",	  answer_arena	      },
};

static enum err run_command(struct query *q, const char *command)
{
	size_t length = strcspn(command, " \t");

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strlen(commands[i].name) == length &&
			!memcmp(commands[i].name, command, length)) {
			q->arguments = command + length;
			return commands[i].run(q);
		}
	}
	return fail(q, ERR_UNSUPPORTED, "a process does not know this command");
}

ON(process_office, console_query)
{
	uint8_t *page = malloc(PROCESS_OFFICE_PAGE);
	struct query q = {.self = self, .s = s, .problem = ""};
	char command[512];
	enum err err = ERR_NO_MEMORY;

	s->st.queries++;
	snprintf(command, sizeof(command), "%.*s", (int)m->command.size, m->command.data);
	q.out = writer_of(page, page ? PROCESS_OFFICE_PAGE : 0);
	if (page)
		err = run_command(&q, command);
	if (err != ERR_AGAIN)
		answer(&q, actor_asker(self), err);
	free(page);
	return ERR_OK;
}

/* ---- sessions that an operator ends ---------------------------------------------------------- */

static void end_session(
	struct actor *self, struct process_office *s, uint64_t request, enum err err)
{
	uint8_t text[64];
	struct query q = {.self = self, .s = s, .problem = err_text(err)};

	for (int i = 0; i < s->st.endings_count; i++) {
		struct session_ending ending = s->st.endings[i];
		struct asker asker = {.from = ending.asker, .request = ending.asked};

		if (!request || ending.request != request)
			continue;
		s->st.endings[i] = s->st.endings[--s->st.endings_count];
		if (err == ERR_UNSUPPORTED || err == ERR_PHASE || err == ERR_TIMEOUT) {
			actor_send(self, ending.session, stop, {.reason = ERR_CLOSED});
			err = ERR_OK;
		}
		if (err == ERR_DEAD) /* that is what was wanted */
			err = ERR_OK;
		q.out = writer_of(text, sizeof(text));
		put(&q, "{\"id\":\"");
		char id[24];
		snprintf(id, sizeof(id), "%016" PRIx64 "\"}", ending.session.id);
		put(&q, id);
		answer(&q, asker, err);
		return;
	}
}

ON(process_office, done)
{
	end_session(self, s, mail->request, ERR_OK);
	return ERR_OK;
}

ON(process_office, failed)
{
	end_session(self, s, mail->request, m->err);
	return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err process_office_init(struct actor *self, void *data, const void *args_)
{
	const struct process_office_args *args = args_;
	struct process_office *s = data;

	actor_set_name(self, "office/process");
	for (size_t i = 0; args && i < args->session_count && i < KINDS_MAX; i++) {
		struct session_kind *kind = &s->st.kinds[s->st.kinds_count++];

		text_copy(kind->type, sizeof(kind->type), args->sessions[i].type);
		if (args->sessions[i].phase)
			text_copy(kind->phase, sizeof(kind->phase), args->sessions[i].phase);
	}
	actor_timer_in_ms(self, TIMER_REPORT, 1);
	return ERR_OK;
}

static enum err process_office_restore(struct actor *self, void *data)
{
	return process_office_init(self, data, NULL);
}

static const struct handler process_office_handlers[] = {
	HANDLER(process_office, console_query, 0),
	HANDLER(process_office, done, 0),
	HANDLER(process_office, failed, 0),
	HANDLER(process_office, drain, 0),
};

const struct actor_type process_office_actor = {
	.name = "process_office",
	.size = sizeof(struct process_office),
	.state = &schema_process_office_state,
	HANDLER_TABLE(process_office_handlers),
	.init = process_office_init,
	.restore = process_office_restore,
	.timer = process_office_timer,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * process office: what it answers at once, and which command is whose (process_office_internal.h).
 */
#include "runtime/process.h"
#include "runtime/process_office_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	END_SESSION_MS = 2000,
	ENDINGS_MAX =
		sizeof(((struct process_office_state *)0)->endings) / sizeof(struct session_ending),
};

void process_query_put(struct query *q, const char *text)
{
	write_bytes(&q->out, text, strlen(text));
}

void process_query_answer(struct query *q, struct asker asker, enum err err)
{
	struct msg_console_answer m = {.err = (uint8_t)err};

	if (err)
		m.json = (struct slice){q->problem, (uint32_t)strlen(q->problem)};
	else
		m.json = (struct slice){(const char *)q->out.begin, (uint32_t)writer_used(&q->out)};
	if (!err && q->follows)
		m.source = actor_addr(q->self);
	actor_answer_mail(q->self, asker, MSG_console_answer, &schema_console_answer, &m);
}

enum err process_query_fail(struct query *q, enum err err, const char *problem)
{
	q->problem = problem;
	return err;
}

void process_query_row(struct actor *self, const struct actor_facts *facts, struct actor_row *row)
{
	const struct runtime_options *options = runtime_options(actor_runtime(self));
	const struct process_env *env = runtime_env(actor_runtime(self));

	*row = (struct actor_row){
		.addr = facts->addr,
		.worker = options->index,
		.mailbox = facts->mailbox,
		.age_ms = (uint64_t)(facts->age_us / OFFICE_MS),
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

/* The actor named by the arguments, with its facts. */
enum err process_query_find(struct query *q, struct actor_facts *facts)
{
	const char *word = q->arguments + strspn(q->arguments, " \t");
	struct addr addr;
	struct actor *actor;

	if (addr_parse(word, &addr))
		return process_query_fail(
			q, ERR_FORMAT, "expected an address, such as 1f/10000000010");
	actor = runtime_find(actor_runtime(q->self), addr.id);
	if (!actor)
		return process_query_fail(q, ERR_NOT_FOUND, "no such actor");
	runtime_facts(actor, facts);
	return ERR_OK;
}

enum err process_query_inspect(struct query *q)
{
	struct actor_facts facts;
	struct actor_row row;
	enum err err = process_query_find(q, &facts);

	if (err)
		return err;
	process_query_row(q->self, &facts, &row);
	schema_print_json(&schema_actor_row, &row, &q->out);
	/* the row is an object: go on inside of it */
	if (!q->out.bad)
		q->out.at--;
	process_query_put(q, ",\"state_name\":\"");
	process_query_put(q, facts.phase);
	process_query_put(q, "\",\"schema\":\"");
	process_query_put(q, facts.schema->name);
	process_query_put(q, "\",\"state\":");
	if (schema_print_json(facts.schema, facts.state, &q->out))
		return process_query_fail(q, ERR_TOO_LARGE, "its state is larger than an answer");
	process_query_put(q, "}");
	return q->out.bad
		       ? process_query_fail(q, ERR_TOO_LARGE, "its state is larger than an answer")
		       : ERR_OK;
}

static void put_named(struct query *q, const struct addr addr, const char *type)
{
	char text[ADDR_TEXT_SIZE];

	process_query_put(q, "{\"addr\":\"");
	process_query_put(q, addr_text(addr, text));
	process_query_put(q, "\",\"type\":\"");
	process_query_put(q, type);
	process_query_put(q, "\"}");
}

static enum err answer_stop(struct query *q)
{
	struct actor_facts facts;
	enum err err = process_query_find(q, &facts);

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
	enum err err = process_query_find(q, &facts);

	if (err)
		return err;
	if (!process_office_is_session(q->s, &facts))
		return process_query_fail(q, ERR_NOT_FOUND, "no such session");
	if (q->s->st.endings_count == ENDINGS_MAX)
		return process_query_fail(q, ERR_OVERLOAD, "too many sessions are ending");
	q->s->st.endings_count++;
	*ending = (struct session_ending){
		.session = facts.addr, .asker = asker.from, .asked = asker.request};
	ending->request = actor_request(
		q->self, facts.addr, END_SESSION_MS, session_delete, {.by_operator = true});
	return ERR_AGAIN;
}

void process_query_put_number(struct query *q, const char *name, uint64_t number)
{
	char text[96];

	snprintf(text, sizeof(text), "%s\"%s\":%" PRIu64, q->out.at[-1] == '{' ? "" : ",", name,
		number);
	process_query_put(q, text);
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
		{"kept",		 c->kept				    },
		{"kept_bytes",	       c->kept_bytes				    },
		{"kept_same",	      c->kept_same				  },
		{"not_kept",	     c->not_kept				},
		{"moves_in",	     c->moves_in				},
		{"moves_out",	      c->moves_out				  },
		{"moves_failed",	 c->moves_failed				},
		{"node_mails_out",	   c->node_mails_out			    },
		{"node_mails_in",	  c->node_mails_in				  },
		{"node_refused",	 c->node_refused				},
		{"answers_unawaited",  c->answers_unawaited			  },
		{"keep_us",	    (uint64_t)c->keep_us			},
	};

	process_query_put(q, "{");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		process_query_put_number(q, rows[i].name, rows[i].number);
	process_query_put(q, "}");
	return ERR_OK;
}

static enum err answer_arena(struct query *q)
{
	static const char *const tables[ARENA_TABLE_COUNT] = {"packet", "log", "session", "buffer"};
	struct arena *arena = actor_arena(q->self);
	struct arena_usage usage = {0};

	if (arena)
		arena_usage(arena, &usage);
	process_query_put(q, "{");
	for (int i = 0; i < ARENA_TABLE_COUNT; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%s_used", tables[i]);
		process_query_put_number(q, name, usage.used[i]);
		snprintf(name, sizeof(name), "%s_count", tables[i]);
		process_query_put_number(q, name, usage.count[i]);
		snprintf(name, sizeof(name), "%s_refused", tables[i]);
		process_query_put_number(q, name, usage.refused[i]);
	}
	process_query_put(q, "}");
	return ERR_OK;
}

static enum err answer_actors(struct query *q)
{
	return process_task_begin(q, ROWS_ACTORS);
}

static enum err answer_sessions(struct query *q)
{
	return process_task_begin(q, ROWS_SESSIONS);
}

static enum err answer_streams(struct query *q)
{
	return process_task_begin(q, ROWS_STREAMS);
}

static enum err answer_links(struct query *q)
{
	return process_task_begin(q, ROWS_LINKS);
}

static enum err answer_paths(struct query *q)
{
	return process_task_begin(q, ROWS_PATHS);
}

static void close_worker(const struct process_env *env, bool closed)
{
	uint64_t bit = (uint64_t)1 << env->index % PROCESS_WORKERS_MAX;

	if (closed)
		atomic_fetch_or(&env->page->closed_workers, bit);
	else
		atomic_fetch_and(&env->page->closed_workers, ~bit);
}

/* "on", "off": the node; "worker on", "worker off": this one. The page tells the processes that are yet
 * to come. */
static enum err answer_drain(struct query *q)
{
	const struct process_env *env = runtime_env(actor_runtime(q->self));
	const char *words = q->arguments + strspn(q->arguments, " ");
	bool closed = !strstr(words, "off");

	if (strncmp(words, "worker", 6)) {
		q->s->st.closed = closed;
		if (env)
			atomic_store(&env->page->closed, closed);
	} else {
		q->s->st.worker_closed = closed;
		if (env)
			close_worker(env, closed);
	}
	process_office_tell_intake(q->self, q->s);
	process_query_put(q, "{");
	process_query_put_number(q, "sessions", q->s->st.sessions);
	process_query_put(q, "}");
	return ERR_OK;
}

static const struct {
	const char *name;
	enum err (*run)(struct query *q); /* ERR_AGAIN: answered later */
} commands[] = {
	// clang-format off
	{"actors", answer_actors},
	{"sessions", answer_sessions},
	{"streams", answer_streams},
	{"paths", answer_paths},
	{"links", answer_links},
	{"top", process_top_begin},
	{"inspect", process_query_inspect},
	{"watch", process_follow_watch},
	{"trace", process_follow_trace},
	{"stop", answer_stop},
	{"session-delete", answer_session_delete},
	{"drain", answer_drain},
	{"counters", answer_counters},
	{"arena", answer_arena},
	// clang-format on
};

enum err process_query_run(struct query *q, const char *command)
{
	size_t length = strcspn(command, " \t");

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strlen(commands[i].name) == length &&
			!memcmp(commands[i].name, command, length)) {
			q->arguments = command + length;
			return commands[i].run(q);
		}
	}
	return process_query_fail(q, ERR_UNSUPPORTED, "a process does not know this command");
}

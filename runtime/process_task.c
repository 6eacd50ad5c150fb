/* SPDX-License-Identifier: Apache-2.0
 *
 * process office: lists of actors. A worker may have thousands of them, so a list is made a piece a
 * turn, and one list at a time: what else the worker has to do goes on between the pieces. The
 * place in the kernel's list is remembered as the id of the actor seen last.
 */
#include "runtime/process.h"
#include "runtime/process_office_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	PIECE_ACTORS = 256,    /* looked at in one turn: about 20 us when none is meant … */
	PIECE_BYTES = 8 << 10, /* … and written: about 50 us */
	ROW_ROOM = 8192,       /* a row that would not fit into this much is where a page ends */
};

/* ---- a row ----------------------------------------------------------------------------------- */

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

/* By the names that the states of all protocols share. */
static void fill_figures(const struct actor_facts *facts, struct session_row *session)
{
	static const char dropped[] =
		"dropped_slow,dropped_socket_full,dropped_behind,tags_dropped";
	const struct schema *schema = facts->schema;
	const void *state = facts->state;

	session->play = actor_filter_sum(schema, state, "play,log_generation") > 0;
	session->bitrate_bps =
		(uint32_t)actor_filter_sum(schema, state, "bitrate_bps,video_bps,audio_bps");
	session->rtt_us = (int64_t)actor_filter_sum(schema, state, "rtt_us");
	session->loss_ppm = (uint32_t)actor_filter_sum(schema, state, "loss_ppm");
	session->lag_us = (int64_t)actor_filter_sum(schema, state, "lag_us");
	session->started_us = (uint64_t)actor_filter_sum(schema, state, "started_us");
	session->dropped = (uint64_t)actor_filter_sum(schema, state, dropped);
	session->standby = actor_filter_sum(schema, state, "standby") > 0;
	session->bytes = (uint64_t)actor_filter_sum(
		schema, state, session->play ? "bytes,bytes_out" : "bytes,bytes_in");
	if (session->rtt_us < 0)
		session->rtt_us = 0;
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
	fill_figures(facts, &session);
	text_copy(session.stream, sizeof(session.stream),
		actor_filter_text(facts->schema, facts->state, "stream_name,stream,name"));
	text_copy(session.client, sizeof(session.client),
		actor_filter_text(facts->schema, facts->state, "client,peer,remote"));
	return schema_print_json(&schema_session_row, &session, &q->out) == ERR_OK;
}

/* Numbers on a stream's own line of time go up by one a picture. */
static uint64_t frames_of(const struct stream_state *state)
{
	for (int i = 0; i < state->tracks_count; i++)
		if (state->tracks[i].kind == MEDIA_VIDEO && state->tracks[i].id < MEDIA_TRACKS_MAX)
			return state->maps[state->tracks[i].id].last_frame;
	return 0;
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
		.frame_rate_milli = state->frame_rate_milli,
		.b_frames = state->b_frames,
		.standbys = state->standbys_count,
		.switches = state->switches,
		.switched_after_ms = state->switched_after_ms,
		.tracks_count = state->tracks_count,
		.frames = frames_of(state),
		.bytes_in = state->bytes,
		.bytes_out = state->bytes_out,
	};

	memcpy(stream.name, state->name, sizeof(stream.name));
	memcpy(stream.protocol, state->protocol, sizeof(stream.protocol));
	memcpy(stream.state, row->state, sizeof(stream.state));
	memcpy(stream.tracks, state->tracks, sizeof(stream.tracks));
	return schema_print_json(&schema_stream_row, &stream, &q->out) == ERR_OK;
}

/* Whom it gets the media from: a copy its source, a viewer its muxer, others their stream. */
static struct addr upstream_of(const struct actor_facts *facts)
{
	static const char *const names[] = {"source", "muxer", "stream"};
	struct addr upstream = {0};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && addr_is_nobody(upstream); i++)
		upstream = actor_filter_addr(facts->schema, facts->state, names[i]);
	return upstream;
}

static bool print_path(
	struct query *q, const struct actor_facts *facts, const struct actor_row *row)
{
	struct path_row path = {
		.addr = row->addr, .worker = row->worker, .upstream = upstream_of(facts)};

	memcpy(path.type, row->type, sizeof(path.type));
	memcpy(path.state, row->state, sizeof(path.state));
	memcpy(path.role, row->role, sizeof(path.role));
	if (facts->schema == &schema_stream_state)
		path.replica = ((const struct stream_state *)facts->state)->replica;
	path.standby = actor_filter_sum(facts->schema, facts->state, "standby") > 0;
	if (process_office_is_session(q->s, facts))
		fill_protocol(row->name, path.protocol, sizeof(path.protocol));
	text_copy(path.client, sizeof(path.client),
		actor_filter_text(facts->schema, facts->state, "client,peer,remote"));
	return schema_print_json(&schema_path_row, &path, &q->out) == ERR_OK;
}

static void put_node(char text[17], uint64_t node)
{
	if (node)
		snprintf(text, 17, "%" PRIx64, node);
}

static struct link_path_row link_row_of(
	const struct actor_row *row, const struct media_link_state *state)
{
	struct link_path_row link = {
		.addr = row->addr,
		.worker = row->worker,
		.peer_port = state->peer_port,
		.mode = state->mode,
		.packets_out = state->packets_out,
		.resent = state->resent,
		.duplicated = state->duplicated,
		.fec_rows = state->fec_rows,
		.extra_ppm = state->bytes_out ? (uint32_t)(1e6 * (double)state->extra_bytes /
							   (double)state->bytes_out)
					      : 0,
		.packets_in = state->packets_in,
		.duplicates = state->duplicates,
		.recovered = state->recovered,
		.restored = state->restored,
		.given_up = state->given_up,
	};

	put_node(link.peer, state->node);
	return link;
}

/* A row a path; a link that is open has one at least. */
static bool print_link(
	struct query *q, const struct actor_facts *facts, const struct actor_row *row)
{
	const struct media_link_state *state = facts->state;
	bool whole = true;

	for (unsigned i = 0; i < state->ways_count; i++) {
		const struct link_way *way = &state->ways[i];
		struct link_path_row link = link_row_of(row, state);

		link.path = (uint8_t)i;
		link.state = way->state;
		link.best = way->best;
		link.rtt_us = way->rtt_us;
		link.jitter_us = way->jitter_us;
		link.queue_us = way->queue_us;
		link.loss_ppm = way->loss_ppm;
		link.burst = way->burst;
		link.sent_bps = way->sent_bps;
		link.rate_bps = way->rate_bps;
		text_copy(link.local, sizeof(link.local), way->local);
		text_copy(link.remote, sizeof(link.remote), way->remote);
		put_node(link.relay, way->relay);
		if (i)
			process_query_put(q, ",");
		whole = whole && schema_print_json(&schema_link_path_row, &link, &q->out) == ERR_OK;
	}
	return whole;
}

/* ---- which ----------------------------------------------------------------------------------- */

struct actor *process_office_next(struct runtime *rt, uint64_t seen)
{
	struct actor *at = seen ? runtime_find(rt, seen) : NULL;
	struct actor_facts facts;

	if (at || !seen)
		return runtime_next_actor(rt, at);
	/* it has ended meanwhile */
	for (at = runtime_next_actor(rt, NULL); at; at = runtime_next_actor(rt, at)) {
		runtime_facts(at, &facts);
		if (facts.addr.id > seen)
			break;
	}
	return at;
}

static bool is_of(const struct process_office *s, const struct office_task *task,
	const struct actor_facts *facts)
{
	switch (task->rows) {
	case ROWS_ACTORS: return true;
	case ROWS_SESSIONS: return process_office_is_session(s, facts);
	case ROWS_STREAMS: return facts->schema == &schema_stream_state;
	case ROWS_LINKS:
		return facts->schema == &schema_media_link_state &&
		       ((const struct media_link_state *)facts->state)->ways_count > 0;
	case ROWS_PATHS:
		return !strcmp(task->stream,
			actor_filter_text(facts->schema, facts->state, "stream_name,stream,name"));
	}
	return false;
}

/* ---- the queue ------------------------------------------------------------------------------- */

enum err process_task_begin(struct query *q, enum rows_of rows)
{
	struct process_office *s = q->s;
	struct office_task *task = &s->tasks[(s->task_first + s->task_count) % OFFICE_TASKS_MAX];

	if (s->task_count == OFFICE_TASKS_MAX)
		return process_query_fail(q, ERR_OVERLOAD, "too many questions at once");
	*task = (struct office_task){.asker = actor_asker(q->self), .rows = rows};
	if (rows == ROWS_PATHS)
		text_copy(task->stream, sizeof(task->stream),
			q->arguments + strspn(q->arguments, " "));
	else if (actor_filter_parse(q->arguments, &task->filter, &q->problem))
		return ERR_FORMAT;
	task->seen = task->filter.after.id;
	s->task_count++;
	actor_kick(actor_runtime(q->self), actor_addr(q->self));
	return ERR_AGAIN;
}

static void finish(struct query *q, struct office_task *task, bool full, enum err err)
{
	char text[ADDR_TEXT_SIZE];

	process_query_put(q, "],\"next\":");
	process_query_put(q, full ? "\"" : "null");
	if (full)
		process_query_put(q, addr_text(task->last, text));
	process_query_put(q, full ? "\"}" : "}");
	process_query_answer(q, task->asker, err);
	free(q->out.begin);
	q->out = (struct writer){0};
	q->s->task_first = (q->s->task_first + 1) % OFFICE_TASKS_MAX;
	q->s->task_count--;
}

/* Looks at one actor. False when the page is full. */
static bool take(struct query *q, struct office_task *task, struct actor *actor, enum err *err)
{
	static bool (*const print[])(
		struct query *, const struct actor_facts *, const struct actor_row *) = {
		print_actor, print_session, print_stream, print_path, print_link};
	struct actor_facts facts;
	struct actor_row row;

	runtime_facts(actor, &facts);
	if (!is_of(q->s, task, &facts))
		goto seen;
	process_query_row(q->self, &facts, &row);
	if (!actor_filter_match(&task->filter, &row, facts.schema, facts.state))
		goto seen;
	if (writer_left(&q->out) < ROW_ROOM ||
		(task->filter.limit && task->count == task->filter.limit))
		return false;
	if (task->count++)
		process_query_put(q, ",");
	if (!print[task->rows](q, &facts, &row))
		*err = process_query_fail(q, ERR_TOO_LARGE, "one row is too large");
	task->last = row.addr;
seen:
	task->seen = facts.addr.id;
	return true;
}

void process_task_work(struct actor *self, struct process_office *s)
{
	struct office_task *task = &s->tasks[s->task_first];
	struct query q = {.self = self, .s = s, .out = s->page, .problem = ""};
	struct runtime *rt = actor_runtime(self);
	struct actor *actor;
	enum err err = ERR_OK;
	bool full = false;

	if (!s->task_count)
		return;
	if (!q.out.begin) {
		uint8_t *page = malloc(PROCESS_OFFICE_PAGE);

		q.out = writer_of(page, page ? PROCESS_OFFICE_PAGE : 0);
		err = page ? ERR_OK : process_query_fail(&q, ERR_NO_MEMORY, "no memory");
		process_query_put(&q, "{\"rows\":[");
	}
	const uint8_t *begin = q.out.at;
	actor = process_office_next(rt, task->seen);
	for (int i = 0;
		i < PIECE_ACTORS && actor && !err && !full && q.out.at - begin < PIECE_BYTES; i++) {
		full = !take(&q, task, actor, &err);
		actor = runtime_next_actor(rt, actor);
	}
	if (err || full || !actor)
		finish(&q, task, full, err);
	s->page = q.out;
	if (s->task_count)
		actor_kick(rt, actor_addr(self));
}

void process_task_stop(struct process_office *s)
{
	free(s->page.begin);
	s->page = (struct writer){0};
}

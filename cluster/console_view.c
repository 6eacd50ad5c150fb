/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/console_view.h"

#include "runtime/process.h"
#include "runtime/runtime.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void add_remarks(const struct console_reply *reply, json_t *document)
{
	if (reply->truncated)
		json_object_set_new(document, "truncated", json_true());
	if (reply->page.next)
		json_object_set(document, "next", reply->page.next);
	if (json_array_size(reply->silent))
		json_object_set(document, "silent", reply->silent);
}

json_t *console_view_ok(const struct console_reply *reply, json_t *result)
{
	json_t *document = json_pack("{s:b, s:o?}", "ok", 1, "result", result);

	add_remarks(reply, document);
	if (reply->follows)
		json_object_set_new(document, "more", json_true());
	return document;
}

json_t *console_view_error(enum err err, const char *message)
{
	return json_pack(
		"{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", err_name(err), "message", message);
}

json_t *console_view_rows(const struct console_reply *reply)
{
	return json_incref(reply->rows);
}

/* ---- node and processes ---------------------------------------------------------------------- */

static json_t *own_row(const struct console_reply *reply)
{
	static const char *const states[] = {"starting", "ready", "stopping", "draining"};
	const struct process_env *env = runtime_env(reply->rt);
	uint32_t state = env ? atomic_load(&env->page->node_state) : PROCESS_NODE_READY;
	char id[20];

	snprintf(id, sizeof(id), "%" PRIx64, runtime_options(reply->rt)->node);
	if (!env)
		return json_pack("{s:s, s:s, s:s}", "node", "", "id", id, "state", states[1]);
	if (state == PROCESS_NODE_READY && atomic_load(&env->page->closed))
		state = 3;
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I}",
		"node", env->node_name, "id", id, "state", state < 4 ? states[state] : "unknown",
		"pid", (int)env->supervisor_pid, "workers",
		(int)atomic_load(&env->page->worker_count), "helpers", (int)env->helper_count,
		"http_port", (int)env->http_port, "rtmp_port", (int)env->rtmp_port, "https_port",
		(int)env->https_port, "rtmps_port", (int)env->rtmps_port, "api_port",
		(int)env->api_port, "mesh_port", (int)env->mesh_port, "started_us",
		(json_int_t)env->started_us);
}

/* This node first; `document` is what the mesh says of it, `rows` are the others. */
json_t *console_view_nodes(const struct console_reply *reply)
{
	json_t *nodes = json_array(), *own = own_row(reply);

	if (reply->document)
		json_object_update_missing(own, reply->document);
	json_array_append_new(nodes, own);
	json_array_extend(nodes, reply->rows);
	return nodes;
}

/* What a worker's place has seen of takeovers; nothing where there was none. */
static void add_takeovers(json_t *row, const struct process_page *page, uint32_t slot)
{
	const struct process_metrics *metrics = process_metrics_of(page, slot);
	char name[PROCESS_POISONED_SIZE];
	static const struct {
		const char *key;
		enum process_metric metric;
	} rows[] = {
		{"takeovers",   PROCESS_METRIC_TAKEOVERS	      },
		{"takeover_us", PROCESS_METRIC_TAKEOVER_TIME    },
		{"restored",    PROCESS_METRIC_TAKEOVER_RESTORED},
		{"damaged",	    PROCESS_METRIC_TAKEOVER_DAMAGED },
		{"poisoned",    PROCESS_METRIC_TAKEOVER_POISONED},
	};

	if (!atomic_load(&metrics->value[PROCESS_METRIC_TAKEOVERS]))
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		json_object_set_new(row, rows[i].key,
			json_integer((json_int_t)atomic_load(&metrics->value[rows[i].metric])));
	process_read_poisoned(page, slot, name);
	if (name[0])
		json_object_set_new(row, "poisoned_last", json_string(name));
}

static json_t *worker_row(const struct process_page *page, int i)
{
	const struct process_status *slot = &page->slot[i];
	uint32_t role = atomic_load(&slot->role), index = atomic_load(&slot->index);
	json_t *row = json_pack("{s:i, s:i, s:i, s:s, s:s, s:f, s:i, s:i, s:i, s:i, s:i}", "worker",
		(int)index, "pid", (int)atomic_load(&slot->pid), "incarnation",
		(int)atomic_load(&slot->incarnation), "role",
		process_role_name((enum process_role)role), "state",
		process_state_name((enum process_state)atomic_load(&slot->state)), "cpu",
		atomic_load(&slot->cpu_permille) / 10.0, "sessions",
		(int)atomic_load(&slot->sessions), "streams", (int)atomic_load(&slot->streams),
		"packets_per_s", (int)atomic_load(&slot->packets_per_s), "restarts",
		(int)atomic_load(&slot->restarts), "line", (int)atomic_load(&slot->line));

	json_object_set_new(row, "draining",
		json_boolean(role == PROCESS_MEDIA && process_worker_is_closed(page, index)));
	add_takeovers(row, page, (uint32_t)i);
	return row;
}

static void add_peer(void *rows, const struct runtime_peer_info *info)
{
	json_array_append_new(
		rows, json_pack("{s:i, s:i, s:i, s:s, s:s, s:f, s:i, s:i}", "worker",
			      (int)info->index, "pid", 0, "incarnation", (int)info->process, "role",
			      process_role_name((enum process_role)info->role), "state", "ready",
			      "cpu", 0.0, "sessions", 0, "streams", 0));
}

json_t *console_view_workers(const struct console_reply *reply)
{
	const struct process_env *env = runtime_env(reply->rt);
	json_t *rows = json_array();

	for (int i = 0; env && i < PROCESS_SLOTS_MAX; i++)
		if (atomic_load(&env->page->slot[i].state) != PROCESS_EMPTY)
			json_array_append_new(rows, worker_row(env->page, i));
	if (!env) /* no node around us: nobody keeps a status page */
		runtime_each_peer(reply->rt, add_peer, rows);
	return rows;
}

/* ---- actors ---------------------------------------------------------------------------------- */

json_t *console_view_actors(const struct console_reply *reply)
{
	static const char *const hidden[] = {"parent", "handled", "refused", "busy_us"};
	json_t *row;
	size_t i;

	json_array_foreach(reply->rows, i, row)
	{
		for (size_t k = 0; k < sizeof(hidden) / sizeof(hidden[0]); k++)
			json_object_del(row, hidden[k]);
	}
	return json_incref(reply->rows);
}

static json_t *tree_row(const json_t *row)
{
	return json_pack("{s:O?, s:O?, s:O?, s:O?}", "addr", json_object_get(row, "addr"), "type",
		json_object_get(row, "type"), "name", json_object_get(row, "name"), "state",
		json_object_get(row, "state"));
}

/* Where an actor hangs: under its parent, else under its process. */
static json_t *branch_of(json_t *by_addr, json_t *processes, const json_t *row)
{
	const char *parent = json_string_value(json_object_get(row, "parent"));
	const char *role = json_string_value(json_object_get(row, "role"));
	json_t *above = parent ? json_object_get(by_addr, parent) : NULL;
	char name[32];

	if (!above) {
		snprintf(name, sizeof(name), "%s.%d", role ? role : "",
			(int)json_integer_value(json_object_get(row, "worker")));
		above = json_object_get(processes, name);
		if (!above) {
			above = json_pack("{s:s}", "process", name);
			json_object_set_new(processes, name, above);
		}
	}
	if (!json_object_get(above, "children"))
		json_object_set_new(above, "children", json_array());
	return json_object_get(above, "children");
}

json_t *console_view_tree(const struct console_reply *reply)
{
	json_t *by_addr = json_object();
	json_t *processes = json_object();
	json_t *result = json_array();
	const char *name;
	json_t *row;
	size_t i;

	json_array_foreach(reply->rows, i, row)
	{
		const char *addr = json_string_value(json_object_get(row, "addr"));

		if (addr)
			json_object_set_new(by_addr, addr, tree_row(row));
	}
	json_array_foreach(reply->rows, i, row)
	{
		const char *addr = json_string_value(json_object_get(row, "addr"));

		if (addr)
			json_array_append(
				branch_of(by_addr, processes, row), json_object_get(by_addr, addr));
	}
	json_object_foreach(processes, name, row) json_array_append(result, row);
	json_decref(by_addr);
	json_decref(processes);
	return result;
}

/* ---- streams --------------------------------------------------------------------------------- */

/* Of the publisher's tracks; those that a transcoder made are not his. */
static json_t *tracks_of(const json_t *row)
{
	json_int_t made = json_integer_value(json_object_get(row, "transcoded_track"));
	json_t *tracks = json_array();
	const json_t *track;
	size_t i;

	json_array_foreach(json_object_get(row, "tracks"), i, track)
	{
		bool video = json_integer_value(json_object_get(track, "kind")) == MEDIA_VIDEO;

		if (made && json_integer_value(json_object_get(track, "id")) >= made)
			continue;
		json_array_append_new(tracks,
			json_pack("{s:s, s:O?, s:O?, s:O?, s:O?, s:O?}", "kind",
				video ? "video" : "audio", "codec", json_object_get(track, "codec"),
				"width", json_object_get(track, "width"), "height",
				json_object_get(track, "height"), "clock_rate",
				json_object_get(track, "clock_rate"), "channels",
				json_object_get(track, "channels")));
	}
	return tracks;
}

/* As `sessions` writes it; null when nobody publishes here. */
static json_t *publisher_of(const json_t *row)
{
	const char *address = json_string_value(json_object_get(row, "publisher"));
	const char *id = address ? strchr(address, '/') : NULL;
	char text[20];

	if (!id || !strcmp(id, "/0") || json_is_true(json_object_get(row, "replica")))
		return json_null();
	snprintf(text, sizeof(text), "%016llx", strtoull(id + 1, NULL, 16));
	return json_string(text);
}

static json_t *stream_of(const json_t *row)
{
	static const char *const copied[] = {"viewers", "bitrate_bps", "frame_rate_milli",
		"b_frames", "age_ms", "since", "protocol", "worker", "state", "standbys",
		"switches", "switched_after_ms", "frames", "bytes_in", "bytes_out"};
	json_t *stream = json_pack("{s:O?, s:o, s:o, s:[]}", "name", json_object_get(row, "name"),
		"tracks", tracks_of(row), "publisher", publisher_of(row), "copies");

	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
		json_object_set(stream, copied[i], json_object_get(row, copied[i]));
	return stream;
}

/* Where else it is: the streams that copy it for the viewers of their workers. */
static void add_copy(json_t *to, const json_t *row)
{
	json_array_append_new(json_object_get(to, "copies"),
		json_pack("{s:O?, s:O?, s:O?}", "worker", json_object_get(row, "worker"), "viewers",
			json_object_get(row, "viewers"), "bitrate_bps",
			json_object_get(row, "bitrate_bps")));
}

static void add_viewers(json_t *to, const json_t *from)
{
	static const char *const summed[] = {"viewers", "bytes_out"};

	for (size_t i = 0; i < sizeof(summed) / sizeof(summed[0]); i++)
		json_object_set_new(to, summed[i],
			json_integer(json_integer_value(json_object_get(to, summed[i])) +
				     json_integer_value(json_object_get(from, summed[i]))));
}

/* One row a name: the origin's, where it answered, with the viewers of all its replicas and what
 * those were sent. */
json_t *console_view_streams(const struct console_reply *reply)
{
	json_t *by_name = json_object();
	json_t *result = json_array();
	const char *key;
	json_t *row;
	size_t i;

	json_array_foreach(reply->rows, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "name"));
		json_t *known = name ? json_object_get(by_name, name) : NULL;
		json_t *stream = name ? stream_of(row) : NULL;

		if (!stream)
			continue;
		bool replica = json_is_true(json_object_get(row, "replica"));

		if (replica)
			add_copy(known ? known : stream, row);
		if (known && replica) {
			add_viewers(known, stream);
			json_decref(stream);
			continue;
		}
		if (known) {
			add_viewers(stream, known);
			json_array_extend(json_object_get(stream, "copies"),
				json_object_get(known, "copies"));
		}
		json_object_set_new(by_name, name, stream);
	}
	json_object_foreach(by_name, key, row) json_array_append(result, row);
	json_decref(by_name);
	return result;
}

/* ---- the API --------------------------------------------------------------------------------- */

static json_t *api_document(const struct console_reply *reply, const char *key, json_t *rows)
{
	json_t *document = json_pack("{s:o?}", key, rows);

	add_remarks(reply, document);
	return document;
}

json_t *console_view_api_streams(const struct console_reply *reply)
{
	return api_document(reply, "streams", console_view_streams(reply));
}

json_t *console_view_api_sessions(const struct console_reply *reply)
{
	return api_document(reply, "sessions", json_incref(reply->rows));
}

json_t *console_view_api_workers(const struct console_reply *reply)
{
	return api_document(reply, "workers", console_view_workers(reply));
}

json_t *console_view_api_actors(const struct console_reply *reply)
{
	return api_document(reply, "actors", console_view_actors(reply));
}

/* ---- top, drain ------------------------------------------------------------------------------ */

enum { TOP_LINES = 20 };

static json_t *top_line(const json_t *row)
{
	double cpu = (double)json_integer_value(json_object_get(row, "cpu_ppm")) / 10000;

	return json_pack("{s:O?, s:O?, s:O?, s:f, s:O?, s:O?, s:O?, s:O?, s:O?}", "addr",
		json_object_get(row, "addr"), "type", json_object_get(row, "type"), "name",
		json_object_get(row, "name"), "cpu", cpu, "mails_per_s",
		json_object_get(row, "mails_per_s"), "mailbox", json_object_get(row, "mailbox"),
		"refused", json_object_get(row, "refused"), "role", json_object_get(row, "role"),
		"worker", json_object_get(row, "worker"));
}

/* By processor time, mails or mailbox, whichever was asked for; the first lines of all processes. */
json_t *console_view_top(const struct console_reply *reply)
{
	const char *key = !strcmp(reply->words, "cpu")	   ? "cpu_ppm"
			  : !strcmp(reply->words, "mails") ? "mails_per_s"
							   : "mailbox";
	size_t count = json_array_size(reply->rows);
	json_t *result = json_array();

	for (int line = 0; line < TOP_LINES; line++) {
		const json_t *best = NULL;

		for (size_t i = 0; i < count; i++) {
			json_t *row = json_array_get(reply->rows, i);

			if (!json_object_get(row, "told") &&
				(!best || json_integer_value(json_object_get(row, key)) >
						  json_integer_value(json_object_get(best, key))))
				best = row;
		}
		if (!best)
			break;
		json_array_append_new(result, top_line(best));
		json_object_set_new((json_t *)best, "told", json_true());
	}
	return result;
}

json_t *console_view_drain(const struct console_reply *reply)
{
	json_int_t sessions = 0;
	json_t *row;
	size_t i;

	json_array_foreach(reply->rows, i, row)
	{
		sessions += json_integer_value(json_object_get(row, "sessions"));
	}
	if (reply->of_worker)
		sessions = json_integer_value(json_object_get(reply->document, "sessions"));
	json_t *answer = json_pack(
		"{s:b, s:I}", "draining", !strcmp(reply->words, "on"), "sessions", sessions);
	if (reply->of_worker)
		json_object_set_new(answer, "worker", json_integer(reply->worker));
	return answer;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static bool text_is(const json_t *object, const char *key, const char *text)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value && text && !strcmp(value, text);
}

static json_t *path_line(json_t *row, const char *part)
{
	static const char *const copied[] = {
		"addr", "type", "state", "role", "worker", "protocol", "client"};
	static const char *const of_nodes[] = {
		"node", "way", "planned", "detour", "since", "changes", "step"};
	json_t *line = json_pack("{s:s}", "part", part), *value;

	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
		json_object_set(line, copied[i], json_object_get(row, copied[i]));
	for (size_t i = 0; i < sizeof(of_nodes) / sizeof(of_nodes[0]); i++) {
		value = json_object_get(row, of_nodes[i]);
		if (value)
			json_object_set(line, of_nodes[i], value);
	}
	json_object_set_new(line, "children", json_array());
	json_object_set_new(row, "told", json_true());
	return line;
}

static const char *part_of(const json_t *row)
{
	if (text_is(row, "type", "stream"))
		return "copy";
	if (text_is(row, "type", "flv_mux"))
		return "muxer";
	if (text_is(row, "type", "transcoder"))
		return "transcoder";
	if (json_is_true(json_object_get(row, "standby")))
		return "standby";
	return "reader";
}

/* All that gets its media from `line`, and from those in turn. */
static void add_readers(const struct console_reply *reply, json_t *line, int depth)
{
	const char *addr = json_string_value(json_object_get(line, "addr"));
	json_t *children = json_object_get(line, "children");
	json_t *row, *child;
	size_t i;

	json_array_foreach(reply->rows, i, row)
	{
		if (!json_object_get(row, "told") && text_is(row, "upstream", addr))
			json_array_append_new(children, path_line(row, part_of(row)));
	}
	if (depth < CONSOLE_HOPS_MAX)
		json_array_foreach(children, i, child) add_readers(reply, child, depth + 1);
}

/* A connection that has carried the answer to somebody who signals waits for nothing. */
static bool is_idle(const json_t *row)
{
	return text_is(row, "type", "http_connection") && text_is(row, "state", "open");
}

/* publisher > origin > readers, muxers and copies > their readers. */
json_t *console_view_paths(const struct console_reply *reply)
{
	json_t *result = json_array();
	json_t *row, *other;
	size_t i, k;

	json_array_foreach(reply->rows, i, row)
	{
		json_t *publisher = NULL, *origin;

		if (!text_is(row, "type", "stream") ||
			json_is_true(json_object_get(row, "replica")))
			continue;
		origin = path_line(row, "origin");
		json_array_foreach(reply->rows, k, other)
		{
			if (!publisher && other != row &&
				text_is(other, "addr",
					json_string_value(json_object_get(row, "upstream"))))
				publisher = path_line(other, "publisher");
		}
		add_readers(reply, origin, 0);
		if (publisher)
			json_array_append_new(json_object_get(publisher, "children"), origin);
		json_array_append_new(result, publisher ? publisher : origin);
	}
	/* what hangs on nothing that answered: a copy without its origin, somebody who waits */
	json_array_foreach(reply->rows, i, row)
	{
		if (json_object_get(row, "told") || !text_is(row, "type", "stream"))
			continue;
		other = path_line(row, part_of(row));
		add_readers(reply, other, 0);
		json_array_append_new(result, other);
	}
	json_array_foreach(reply->rows, i, row)
	{
		if (!json_object_get(row, "told") && !is_idle(row))
			json_array_append_new(result, path_line(row, "waiting"));
	}
	return result;
}

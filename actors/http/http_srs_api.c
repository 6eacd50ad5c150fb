/* SPDX-License-Identifier: Apache-2.0
 *
 * api.port: the few questions of SRS' HTTP API that tools ask, answered in its shape.
 *
 *   GET, POST /api/v1/versions     {"code":0,"server":…,"service":…,"pid":…,"data":{…}}
 *   GET       /api/v1/summaries    the same
 *   GET       /api/v1/streams/?start=0&count=10     "streams":[…]
 *   GET       /api/v1/clients/?start=0&count=10     "clients":[…]
 *
 * The lists are those of the console, translated. Members of SRS that nobody counts here are there
 * and 0, because tools with typed decoders want them. Errors: http_problem().
 */
#include "actors/http/http_internal.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <unistd.h>

enum {
	COUNT_DEFAULT = 10, /* rows, as SRS does where ?count= is missing */
	NUMBER_DIGITS_MAX = 9,
};

#define VHOST "__defaultVhost__"

/* ---- what the node is ------------------------------------------------------------------------ */

static json_t *versions(void)
{
	int major = 0, minor = 0, revision = 0;

	sscanf(MILLRACE_VERSION, "%d.%d.%d", &major, &minor, &revision);
	return json_pack("{s:i, s:i, s:i, s:s}", "major", major, "minor", minor, "revision",
		revision, "version", MILLRACE_VERSION);
}

static json_t *summaries(struct actor *self)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const struct process_page *page = env ? env->page : NULL;
	int64_t now_us = actor_wall_us(self);
	int64_t cpu_permille = 0, sessions = 0;
	json_t *own, *host;

	for (uint32_t i = 0; page && i < PROCESS_SLOTS_MAX; i++) {
		if (!atomic_load(&page->slot[i].pid))
			continue;
		cpu_permille += atomic_load(&page->slot[i].cpu_permille);
		sessions += atomic_load(&page->slot[i].sessions);
	}
	own = json_pack("{s:s, s:i, s:f, s:I}", "version", MILLRACE_VERSION, "pid",
		env ? (int)env->supervisor_pid : 0, "cpu_percent", (double)cpu_permille / 1000,
		"srs_uptime",
		(json_int_t)(env ? (now_us - (int64_t)env->started_us) / 1000000 : 0));
	host = json_pack("{s:i, s:i, s:I}", "cpus", (int)sysconf(_SC_NPROCESSORS_CONF),
		"cpus_online", (int)sysconf(_SC_NPROCESSORS_ONLN), "conn_srs",
		(json_int_t)sessions);
	return json_pack("{s:b, s:I, s:o, s:o}", "ok", 1, "now_ms", (json_int_t)(now_us / 1000),
		"self", own, "system", host);
}

/* ---- streams and clients --------------------------------------------------------------------- */

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static json_t *rates(json_int_t in_bps, json_int_t out_bps)
{
	return json_pack("{s:I, s:I}", "recv_30s", in_bps / 1000, "send_30s", out_bps / 1000);
}

/* Takes over `value`. False: no memory. */
static bool add(json_t *to, const char *key, json_t *value)
{
	return !json_object_set_new(to, key, value);
}

/* Where a stream of that name is reached: SRS puts these three beside each other. */
static bool add_names(json_t *to, const char *path)
{
	char url[160], connect[160];

	snprintf(url, sizeof(url), "/%s", path);
	snprintf(connect, sizeof(connect), "rtmp://" VHOST "/%.*s", (int)strcspn(path, "/"), path);
	return add(to, "vhost", json_string(VHOST)) && add(to, "tcUrl", json_string(connect)) &&
	       add(to, "url", json_string(url));
}

static const char *name_in(const char *path)
{
	const char *slash = strchr(path, '/');

	return slash ? slash + 1 : path;
}

/* SRS has names of its own for two. */
static const char *codec_of(const json_t *track)
{
	const char *codec = text_of(track, "codec");

	return !strcmp(codec, "H265") ? "HEVC" : !strcmp(codec, "OPUS") ? "Opus" : codec;
}

static json_t *track_of(const json_t *track, bool video)
{
	const char *codec = codec_of(track);

	return video ? json_pack("{s:s, s:s, s:s, s:O*, s:O*}", "codec", codec, "profile", "Other",
			       "level", "Other", "width", json_object_get(track, "width"), "height",
			       json_object_get(track, "height"))
		     : json_pack("{s:s, s:s, s:O*, s:O*}", "codec", codec, "profile", "Other",
			       "sample_rate", json_object_get(track, "clock_rate"), "channel",
			       json_object_get(track, "channels"));
}

static bool add_tracks(json_t *to, const json_t *tracks)
{
	bool whole = add(to, "video", json_null()) && add(to, "audio", json_null());
	const json_t *track;
	size_t i;

	json_array_foreach(tracks, i, track)
	{
		bool video = !strcmp(text_of(track, "kind"), "video");

		whole = whole && add(to, video ? "video" : "audio", track_of(track, video));
	}
	return whole;
}

/* What is whole, or nothing: a row with members left out would be wrong. */
static json_t *whole_or_none(json_t *row, bool whole)
{
	if (whole)
		return row;
	json_decref(row);
	return NULL;
}

static json_t *publish_of(const char *publisher)
{
	return *publisher ? json_pack("{s:b, s:s}", "active", 1, "cid", publisher)
			  : json_pack("{s:b}", "active", 0);
}

static json_t *stream_of(const json_t *row)
{
	const char *path = text_of(row, "name");
	const char *publisher = text_of(row, "publisher");
	json_t *stream = json_pack("{s:s, s:s, s:s%, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "id",
		path, "name", name_in(path), "app", path, strcspn(path, "/"), "live_ms",
		number_of(row, "age_ms"), "clients", number_of(row, "viewers") + (*publisher != 0),
		"frames", number_of(row, "frames"), "send_bytes", number_of(row, "bytes_out"),
		"recv_bytes", number_of(row, "bytes_in"), "kbps",
		rates(number_of(row, "bitrate_bps"), 0), "publish", publish_of(publisher));

	return whole_or_none(stream,
		add_names(stream, path) && add_tracks(stream, json_object_get(row, "tracks")));
}

static const char *client_type(const char *protocol, bool plays)
{
	if (!strcmp(protocol, "rtmp"))
		return plays ? "rtmp-play" : "fmle-publish";
	if (strstr(protocol, "flv"))
		return "flv-play";
	return plays ? "rtc-play" : "rtc-publish";
}

static json_t *client_of(const json_t *row)
{
	const char *path = text_of(row, "stream"), *peer = text_of(row, "client");
	bool plays = json_is_true(json_object_get(row, "play"));
	json_int_t rate_bps = number_of(row, "bitrate_bps"), bytes = number_of(row, "bytes");
	const char *colon = strrchr(peer, ':');
	size_t size = colon ? (size_t)(colon - peer) : strlen(peer);

	if (size >= 2 && *peer == '[')
		peer++, size -= 2;
	json_t *client = json_pack("{s:s, s:s, s:s%, s:s, s:s, s:s, s:s, s:b, s:f, s:I, s:I, s:o}",
		"id", text_of(row, "id"), "stream", path, "ip", peer, size, "pageUrl", "", "swfUrl",
		"", "name", name_in(path), "type", client_type(text_of(row, "protocol"), plays),
		"publish", !plays, "alive", (double)number_of(row, "age_ms") / 1000, "send_bytes",
		plays ? bytes : 0, "recv_bytes", plays ? 0 : bytes, "kbps",
		rates(plays ? 0 : rate_bps, plays ? rate_bps : 0));

	return whole_or_none(client, add_names(client, path));
}

/* ---- lists ----------------------------------------------------------------------------------- */

static enum err take_number(const struct http_request *request, const char *name, size_t *number)
{
	char text[NUMBER_DIGITS_MAX + 1];
	enum err err = request->query.at ? name_query_get(request->query.at, request->query.size,
						   name, text, sizeof(text))
					 : ERR_NOT_FOUND;

	if (err)
		return err == ERR_NOT_FOUND ? ERR_OK : ERR_FORMAT;
	if (!*text || strspn(text, "0123456789") != strlen(text))
		return ERR_FORMAT;
	*number = strtoul(text, NULL, 10);
	return ERR_OK;
}

static enum err take_range(const struct http_request *request, size_t *start, size_t *count)
{
	enum err err;

	*start = 0;
	*count = COUNT_DEFAULT;
	err = take_number(request, "start", start);
	return err ? err : take_number(request, "count", count);
}

static const struct list {
	enum http_handler handler;
	const char *console; /* its list, and the key in its answer … */
	const char *key;     /* … and in ours */
	json_t *(*translate)(const json_t *row);
} lists[] = {
	{HTTP_HANDLER_SRS_STREAMS, "streams",  "streams", stream_of},
	{HTTP_HANDLER_SRS_CLIENTS, "sessions", "clients", client_of},
};

static const struct list *list_of(const struct http_call *call)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (lists[i].handler == call->match.route->handler)
			return &lists[i];
	return NULL;
}

/* NULL: no memory. */
static json_t *translate(
	const struct list *list, const json_t *document, size_t start, size_t count)
{
	const json_t *rows = json_object_get(document, list->console);
	json_t *result = json_array();
	bool whole = document && result;

	for (size_t i = start; whole && i - start < count && i < json_array_size(rows); i++)
		whole = !json_array_append_new(result, list->translate(json_array_get(rows, i)));
	result = whole_or_none(result, whole);
	/* the console's lists have an end of their own */
	return result ? json_pack("{s:o, s:O*}", list->key, result, "truncated",
				json_object_get(document, "truncated"))
		      : NULL;
}

void http_srs_api_answered(struct actor *self, struct http_connection *s,
	const struct http_call *call, struct slice json)
{
	const struct list *list = list_of(call);
	json_t *document = json_loadb(json.data, json.size, 0, NULL);
	size_t start, count;

	MUST(list && !take_range(&call->request, &start, &count));
	http_srs_send(self, s, 0, translate(list, document, start, count));
	json_decref(document);
}

void http_srs_api(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	const struct list *list = list_of(call);
	size_t start, count;

	if (call->match.route->handler == HTTP_HANDLER_SRS_VERSIONS)
		http_srs_send(self, s, 0, json_pack("{s:o}", "data", versions()));
	else if (!list)
		http_srs_send(self, s, 0, json_pack("{s:o}", "data", summaries(self)));
	else if (take_range(&call->request, &start, &count))
		http_fail(self, s, ERR_FORMAT, "expected: ?start=number, ?count=number", 0);
	else
		http_api_ask(self, s, list->console, "");
}

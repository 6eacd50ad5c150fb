/* SPDX-License-Identifier: Apache-2.0
 *
 * SRS-compatible signalling: the same sessions as WHIP and WHEP make, asked for in other words.
 *
 *   POST /rtc/v1/publish/, /rtc/v1/play/   {"streamurl":"webrtc://host/app/stream?token=…","sdp":…}
 *        200 {"code":0,"server":…,"service":…,"pid":…,"sdp":…,"sessionid":…}
 *        200 {"code":N, …,"error":{"code":…,"message":…}}   N: the status WHIP would have answered
 *   POST /rtc/v1/whip/, /rtc/v1/whep/?app=…&stream=…        as WHIP and WHEP; /rtc/v1/whip-play/ is an
 *                                                           older name of the latter
 *
 * `sessionid` is the last segment of the Location that WHIP would have given: DELETE works there.
 * Members that are not named here are ignored.
 */
#include "actors/http/http_internal.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool http_is_srs(const struct http_call *call)
{
	return call->match.route && (call->match.route->handler == HTTP_HANDLER_SRS_PUBLISH ||
					    call->match.route->handler == HTTP_HANDLER_SRS_PLAY);
}

/* ---- the request ----------------------------------------------------------------------------- */

/* scheme://host/app/stream?query; the host is ours, whatever it says. */
static enum err take_url(const char *url, struct http_call *call)
{
	const char *host = url ? strstr(url, "://") : NULL;
	const char *path = host ? strchr(host + 3, '/') : NULL;

	if (!path)
		return ERR_FORMAT;
	size_t size = strcspn(path + 1, "?");

	call->request.query = (struct http_text){0};
	if (path[1 + size] == '?')
		call->request.query = (struct http_text){path + size + 2, strlen(path + size + 2)};
	return name_path_parse(path + 1, size, &call->match.name);
}

static enum err take_body(struct http_srs *srs)
{
	struct http_text *body = &srs->call.request.body;
	const char *offer;

	srs->document = json_loadb(body->at, body->size, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(srs->document))
		return ERR_FORMAT;
	offer = json_string_value(json_object_get(srs->document, "sdp"));
	*body = (struct http_text){offer, offer ? strlen(offer) : 0};
	return take_url(json_string_value(json_object_get(srs->document, "streamurl")), &srs->call);
}

static enum err take_query(struct http_call *call)
{
	struct http_text query = call->request.query;
	struct name_path *name = &call->match.name;
	enum err err =
		query.at ? name_query_get(query.at, query.size, "app", name->app, sizeof(name->app))
			 : ERR_NOT_FOUND;

	if (!err)
		err = name_query_get(
			query.at, query.size, "stream", name->stream, sizeof(name->stream));
	if (err)
		return err;
	return name_app_is_valid(name->app, strlen(name->app)) &&
			       name_is_valid(name->stream, strlen(name->stream))
		       ? ERR_OK
		       : ERR_FORMAT;
}

enum err http_srs_read(struct http_srs *srs, const struct http_call *call)
{
	enum http_handler handler = call->match.route->handler;

	*srs = (struct http_srs){.call = *call};
	if (http_is_srs(call))
		return take_body(srs);
	if (handler == HTTP_HANDLER_SRS_WHIP || handler == HTTP_HANDLER_SRS_WHEP)
		return take_query(&srs->call);
	return ERR_OK;
}

void http_srs_forget(struct http_srs *srs)
{
	json_decref(srs->document);
	srs->document = NULL;
}

void http_srs_post(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	struct http_srs srs;

	if (!http_srs_read(&srs, call))
		http_whip_post(self, s, &srs.call);
	else if (http_is_srs(call))
		http_fail(self, s, ERR_FORMAT,
			"the body is JSON with \"streamurl\" (webrtc://host/app/stream) and "
			"\"sdp\"",
			0);
	else
		http_fail(self, s, ERR_FORMAT, "?app= and stream= name the stream", 0);
	http_srs_forget(&srs);
}

/* ---- the answer ------------------------------------------------------------------------------ */

char *http_srs_text(struct actor *self, int code, json_t *more)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	char service[20], pid[16];
	size_t size = 0;
	char *text;

	snprintf(service, sizeof(service), "%" PRIx64, actor_addr(self).node);
	snprintf(pid, sizeof(pid), "%d", env ? (int)env->supervisor_pid : 0);
	json_t *document = json_pack("{s:i, s:s, s:s, s:s}", "code", code, "server",
		env ? env->node_name : "", "service", service, "pid", pid);

	/* not json_dumps: where memory ends it leaves out names of members and goes on */
	if (document && more && !json_object_update(document, more))
		size = json_dumpb(document, NULL, 0, JSON_COMPACT);
	text = size ? calloc(1, size + 1) : NULL;
	if (text && json_dumpb(document, text, size, JSON_COMPACT) != size) {
		free(text);
		text = NULL;
	}
	json_decref(more);
	json_decref(document);
	return text;
}

void http_srs_send(struct actor *self, struct http_connection *s, int code, json_t *more)
{
	struct http_reply reply = {.status = 200, .type = "application/json"};
	char *text = http_srs_text(self, code, more);

	if (!text) {
		actor_stop(self, ERR_NO_MEMORY);
		return;
	}
	reply.body = text;
	reply.size = strlen(text);
	http_add_field(&reply, "Cache-Control", "no-store");
	http_send(self, s, &reply);
	free(text);
}

void http_srs_created(
	struct actor *self, struct http_connection *s, const struct msg_session_created *m)
{
	char id[96];

	snprintf(id, sizeof(id), "%" PRIx64 "-%s", m->session.id, m->secret);
	http_srs_send(self, s, 0,
		json_pack("{s:s%, s:s}", "sdp", (const char *)m->answer.data,
			(size_t)m->answer.size, "sessionid", id));
}

static json_t *error_of(const char *code, const char *text)
{
	return json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", text);
}

void http_srs_problem(struct actor *self, struct http_connection *s, int status, const char *code,
	const char *text)
{
	http_srs_send(self, s, status, error_of(code, text));
}

char *http_srs_error(struct actor *self, int status, const char *code, const char *text)
{
	return http_srs_text(self, status, error_of(code, text));
}

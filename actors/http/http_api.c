/* SPDX-License-Identifier: Apache-2.0
 *
 * Health, metrics, the operators' API and the console page. What the node is, the console office
 * of the control process knows; it answers in JSON, which is passed on as it is.
 */
#include "actors/http/http_internal.h"
#include "actors/http/web_assets.h"
#include "runtime/metrics_text.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	LIST_PARAMETER_MAX = 64, /* bytes of ?type= and the like */
	LIST_COMMAND_MAX = 256,
};

static const char no_control[] = "the control process does not answer";

static void send_text(struct actor *self, struct http_connection *s, int status, const char *type,
	const char *text, size_t size)
{
	struct http_reply reply = {.status = status, .type = type, .body = text, .size = size};

	http_add_field(&reply, "Cache-Control", "no-store");
	http_send(self, s, &reply);
}

/* ---- health ---------------------------------------------------------------------------------- */

static void ask_health(struct actor *self, struct http_connection *s)
{
	struct msg_console_query query = {
		.command = {"help", 4}
	      };

	http_ask(self, s, HTTP_ASK_HEALTH,
		actor_request_mail(self, actor_office(self, OFFICE_CONSOLE), HTTP_HEALTH_MS,
			MSG_console_query, &schema_console_query, &query));
}

void http_health_answered(struct actor *self, struct http_connection *s, enum err err)
{
	static const char ok[] = "{\"ok\":true}\n";

	/* whatever it answers, it lives */
	if (err == ERR_TIMEOUT || err == ERR_DEAD || err == ERR_NOT_FOUND)
		http_problem(
			self, s, 503, NULL, "the control process does not answer", HTTP_RETRY_MS);
	else
		send_text(self, s, 200, "application/json", ok, sizeof(ok) - 1);
}

static const struct process_page *status_page(struct actor *self, const struct process_env **env)
{
	*env = runtime_env(actor_runtime(self));
	return *env ? (*env)->page : NULL;
}

static void send_ready(struct actor *self, struct http_connection *s)
{
	const struct process_env *env;
	const struct process_page *page = status_page(self, &env);
	const struct http_office *office = http_office_of(self);
	uint32_t ready = 0, wanted = page ? atomic_load(&page->worker_count) : 0;
	char text[160];

	for (uint32_t i = 0; i < wanted && i < PROCESS_WORKERS_MAX; i++) {
		const struct process_status *slot = &page->slot[process_slot(PROCESS_MEDIA, i)];

		ready += atomic_load_explicit(&slot->state, memory_order_relaxed) == PROCESS_READY;
	}
	bool closed = office && office->st.closed && !office->st.alone;
	bool node_ready = !page || atomic_load_explicit(&page->node_state, memory_order_relaxed) ==
					   PROCESS_NODE_READY;

	if (ready == wanted && node_ready && !closed) {
		int size = snprintf(text, sizeof(text),
			"{\"ready\":true,\"workers\":%u,\"workers_ready\":%u}\n", wanted, ready);

		send_text(self, s, 200, "application/json", text, (size_t)size);
		return;
	}
	snprintf(text, sizeof(text), "%u of %u workers are ready%s", ready, wanted,
		closed	     ? ", and the node takes no new sessions"
		: node_ready ? ""
			     : ", and the node is starting or draining");
	http_problem(self, s, 503, NULL, text, HTTP_RETRY_MS);
}

/* ---- metrics --------------------------------------------------------------------------------- */

enum { METRICS_HEAD_MAX = 2048 };

_Static_assert(METRICS_TEXT_MAX + METRICS_HEAD_MAX <= HTTP_OUTPUT_MAX, "the largest node fits");

static void send_metrics(struct actor *self, struct http_connection *s)
{
	const struct process_env *env;
	const struct process_page *page = status_page(self, &env);
	char *text = malloc(METRICS_TEXT_MAX);
	size_t size = text ? metrics_text(page, text, METRICS_TEXT_MAX) : 0;

	if (size)
		send_text(self, s, 200, "text/plain; version=0.0.4; charset=utf-8", text, size);
	else
		http_fail(self, s, text ? ERR_NO_SPACE : ERR_NO_MEMORY, "", 0);
	free(text);
}

/* ---- the console's answers ------------------------------------------------------------------- */

void http_api_ask(
	struct actor *self, struct http_connection *s, const char *command, const char *argument)
{
	char text[LIST_COMMAND_MAX + 16];
	struct msg_console_query query = {
		.command = {text, 0}
	    };

	query.command.size = (uint32_t)snprintf(
		text, sizeof(text), "api %s%s%s", command, *argument ? " " : "", argument);
	http_ask(self, s, HTTP_ASK_CONSOLE,
		actor_request_mail(self, actor_office(self, OFFICE_CONSOLE), HTTP_REQUEST_MS,
			MSG_console_query, &schema_console_query, &query));
}

/* ?type=, ?after=, ?limit= as words of the console. Who reads them there must see one word of each:
 * what else a value holds is refused here. */
static enum err take_list_parameters(const struct http_request *request, char *words, size_t size)
{
	static const struct {
		const char *name, *before;
	} parameters[] = {
		{"type",	 " "	    },
		{"after", " after "},
		{"limit", " limit "},
	};
	char value[LIST_PARAMETER_MAX];
	size_t used = 0;

	words[0] = 0;
	for (size_t i = 0; request->query.at && i < sizeof(parameters) / sizeof(parameters[0]);
		i++) {
		enum err err = name_query_get(request->query.at, request->query.size,
			parameters[i].name, value, sizeof(value));

		if (err == ERR_NOT_FOUND)
			continue;
		if (err || !*value ||
			strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_/") != strlen(value))
			return ERR_FORMAT;
		used += (size_t)snprintf(
			words + used, size - used, "%s%s", parameters[i].before, value);
	}
	return ERR_OK;
}

static void ask_list(struct actor *self, struct http_connection *s,
	const struct http_request *request, const char *what)
{
	char command[LIST_COMMAND_MAX];
	size_t used = (size_t)snprintf(command, sizeof(command), "%s", what);

	if (take_list_parameters(request, command + used, sizeof(command) - used))
		http_fail(self, s, ERR_FORMAT,
			"expected: ?type=name, ?after=address, ?limit=number", 0);
	else
		http_api_ask(self, s, command, "");
}

/* The sentence in {"ok":false,"error":{"code":…,"message":…}}, or what came when it is no JSON. */
static void error_text(struct slice json, char *out, size_t size)
{
	if (!json.size || json.data[0] != '{') {
		snprintf(out, size, "%.*s", (int)json.size, json.data ? json.data : "");
		return;
	}
	json_t *document = json_loadb(json.data, json.size, 0, NULL);
	const char *message =
		json_string_value(json_object_get(json_object_get(document, "error"), "message"));

	text_copy(out, size, message ? message : "");
	json_decref(document);
}

void http_api_answered(
	struct actor *self, struct http_connection *s, const struct msg_console_answer *m)
{
	struct http_call call;
	char text[256];

	if (m->err == ERR_OK && s->st.api_port && http_call_of(self, s, &call)) {
		http_srs_api_answered(self, s, &call, m->json);
		return;
	}
	if (m->err == ERR_OK) {
		send_text(self, s, 200, "application/json", m->json.data, m->json.size);
		return;
	}
	error_text(m->json, text, sizeof(text));
	/* an id that no session can have is one that no session has */
	if (m->err == ERR_FORMAT && http_call_of(self, s, &call) && call.match.route &&
		call.match.route->handler == HTTP_HANDLER_API_SESSION)
		http_fail(self, s, ERR_NOT_FOUND, "there is no such session", 0);
	else
		http_fail(self, s, m->err, text, 0);
}

void http_api_failed(struct actor *self, struct http_connection *s, const struct msg_failed *m)
{
	if (m->err == ERR_DEAD || m->err == ERR_NOT_FOUND || m->err == ERR_TIMEOUT)
		http_fail(self, s, ERR_OVERLOAD, no_control, 0);
	else
		http_fail(self, s, m->err, m->text, m->retry_after_ms);
}

void http_api(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	switch (call->match.route->handler) {
	case HTTP_HANDLER_HEALTHZ: ask_health(self, s); break;
	case HTTP_HANDLER_READYZ: send_ready(self, s); break;
	case HTTP_HANDLER_METRICS: send_metrics(self, s); break;
	case HTTP_HANDLER_API_STREAMS: ask_list(self, s, &call->request, "streams"); break;
	case HTTP_HANDLER_API_SESSIONS: ask_list(self, s, &call->request, "sessions"); break;
	case HTTP_HANDLER_API_WORKERS: http_api_ask(self, s, "workers", ""); break;
	case HTTP_HANDLER_API_ACTORS: ask_list(self, s, &call->request, "actors"); break;
	case HTTP_HANDLER_API_SESSION:
		http_api_ask(self, s, "session-delete", call->match.session);
		break;
	default: http_problem(self, s, 404, NULL, "there is nothing at this path", 0);
	}
}

/* ---- console page ---------------------------------------------------------------------------- */

void http_asset(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	struct web_answer answer = web_asset_answer(&call->request);
	struct http_reply reply = {
		.status = answer.status,
		.type = answer.content_type,
		.body = answer.body,
		.size = answer.body_size,
	};

	if (answer.status == 404) {
		http_problem(self, s, 404, NULL, "there is nothing at this path", 0);
		return;
	}
	http_add_field(&reply, "ETag", answer.etag);
	http_add_field(&reply, "Cache-Control", "no-cache");
	http_add_field(&reply, "Vary", "Accept-Encoding");
	http_add_field(&reply, "Content-Security-Policy", WEB_CONTENT_SECURITY_POLICY);
	http_add_field(&reply, "X-Content-Type-Options", "nosniff");
	http_add_field(&reply, "Referrer-Policy", "no-referrer");
	if (answer.gzip && answer.status == 200)
		http_add_field(&reply, "Content-Encoding", "gzip");
	http_send(self, s, &reply);
}

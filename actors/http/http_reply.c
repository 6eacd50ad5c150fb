/* SPDX-License-Identifier: Apache-2.0
 *
 * Responses: what every one carries, and errors as documents.
 */
#include "actors/http/http_internal.h"
#include "actors/http/precondition.h"
#include "actors/http/problem.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <stdlib.h>

void http_add_field(struct http_reply *reply, const char *name, const char *value)
{
	if (reply->field_count < HTTP_REPLY_FIELDS_MAX)
		reply->fields[reply->field_count++] = (struct http_field){name, value};
}

static void count_status(struct actor *self, struct http_connection *s, int status)
{
	struct http_office *office = http_office_of(self);

	s->st.status = (uint16_t)status;
	if (!office)
		return;
	if (status < 400)
		office->st.status_2xx++;
	else
		*(status < 500 ? &office->st.status_4xx : &office->st.status_5xx) += 1;
}

void http_send(struct actor *self, struct http_connection *s, struct http_reply *reply)
{
	struct http_slot *slot = http_slot_of(self, s);
	struct http_buffer *buffer = http_buffer_of(self, s);
	const struct http_office *office = http_office_of(self);
	struct http_call call;
	struct http_field cors[HTTP_CORS_FIELDS_MAX];

	if (!slot || !buffer) {
		actor_stop(self, ERR_INTERNAL);
		return;
	}
	/* OPTIONS brings its own */
	if (http_call_of(self, s, &call) && call.request.verb != HTTP_VERB_OPTIONS)
		for (size_t i = 0, count = http_cors_fields(&call.match, cors); i < count; i++)
			http_add_field(reply, cors[i].name, cors[i].value);
	struct writer out = writer_of(buffer->output, sizeof(buffer->output));
	struct http_response response = {
		.status = reply->status,
		.kind = reply->kind,
		.content_type = reply->type,
		.fields = reply->fields,
		.field_count = reply->field_count,
		.body = reply->body,
		.body_size = reply->size,
		.date_s = actor_wall_us(self) / 1000000,
		.close = !office || office->st.draining,
	};

	out.at += slot->out_size;
	enum err err =
		http_conn_respond(&slot->conn, buffer->input, &response, &out, actor_now_us(self));

	if (err == ERR_PHASE)
		return; /* nobody waits for it any more */
	if (s->request_us)
		process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_HTTP,
			actor_now_us(self) - s->request_us);
	s->request_us = 0;
	if (err) {
		/* too long, or a value that no header may hold: our own fault */
		log_warn(actor_log(self), "http_response_failed", "status", reply->status, "error",
			err_name(err));
		if (reply->status != 500)
			http_problem(self, s, 500, NULL, "the answer could not be written", 0);
		else
			actor_stop(self, err);
		return;
	}
	slot->out_size = (uint32_t)writer_used(&out);
	slot->refusal.status = 0;
	count_status(self, s, reply->status);
}

void http_problem(struct actor *self, struct http_connection *s, int status, const char *code,
	const char *text, uint32_t retry_ms)
{
	char document[PROBLEM_SIZE_MAX], retry[16], *srs = NULL;
	struct http_call call;
	struct http_reply reply = {.status = status, .type = PROBLEM_CONTENT_TYPE};

	if (http_call_of(self, s, &call) && http_is_srs(&call) && call.match.status == 200) {
		http_srs_problem(self, s, status, code ? code : problem_code(status), text);
		return;
	}
	code = code ? code : problem_code(status);
	if (s->st.api_port) {
		reply.type = "application/json";
		reply.body = srs = http_srs_error(self, status, code, text);
		reply.size = srs ? strlen(srs) : 0;
	} else {
		reply.body = document;
		reply.size = problem_write(status, code, text, document);
	}
	http_add_field(&reply, "Cache-Control", "no-store");
	if (!retry_ms && (status == 503 || status == 429))
		retry_ms = HTTP_RETRY_MS;
	if (retry_ms) {
		snprintf(retry, sizeof(retry), "%u",
			retry_after_s(retry_ms * INT64_C(1000), (uint32_t)actor_random_u64(self)));
		http_add_field(&reply, "Retry-After", retry);
	}
	if (status == 401)
		http_add_field(&reply, "WWW-Authenticate", "Bearer");
	if (http_call_of(self, s, &call)) {
		if (status == 426) {
			http_add_field(&reply, "Upgrade", "websocket");
			http_add_field(&reply, "Sec-WebSocket-Version", "13");
		}
		if (status == 405)
			http_add_field(&reply, "Allow", call.match.allow);
		if (status == 415 && call.match.route && call.match.route->accepts)
			http_add_field(&reply,
				call.request.verb == HTTP_VERB_PATCH ? "Accept-Patch"
								     : "Accept-Post",
				call.match.route->accepts);
	}
	http_send(self, s, &reply);
	free(srs);
}

void http_fail(struct actor *self, struct http_connection *s, enum err err, const char *text,
	uint32_t retry_ms)
{
	int status = err_http_status(err);

	/* whoever should have answered is gone or late: the client may try again */
	if (err == ERR_TIMEOUT)
		status = 503;
	if (status == 409 && !retry_ms)
		retry_ms = HTTP_RETRY_MS;
	http_problem(
		self, s, status, err_name(err), text && *text ? text : err_text(err), retry_ms);
}

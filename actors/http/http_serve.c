/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of a connection: what a head may bring as its body, and who answers which route.
 *
 * Reads and writes no socket: answers are put into the connection's buffer.
 */
#include "actors/http/http_internal.h"
#include "runtime/config.h"

static void find_route(const struct http_connection *s, struct http_call *call)
{
	(s->st.api_port ? http_route_find_api : http_route_find)(
		call->request.verb, call->request.path, &call->match);
}

bool http_call_of(struct actor *self, struct http_connection *s, struct http_call *call)
{
	const struct http_slot *slot = http_slot_of(self, s);
	const struct http_buffer *buffer = http_buffer_of(self, s);

	if (!slot || !buffer || http_conn_request(&slot->conn, buffer->input, &call->request))
		return false;
	find_route(s, call);
	return true;
}

void http_take_head(struct actor *self, struct http_connection *s, struct http_slot *slot,
	struct http_buffer *buffer, const struct http_request *request)
{
	struct http_call call = {.request = *request};
	int64_t now_us = actor_now_us(self);

	find_route(s, &call);
	http_judge_head(self, s, slot, &call);
	if (slot->refusal.status) {
		http_conn_discard_body(&slot->conn, now_us);
		return;
	}
	size_t limit = call.match.route->body_limit;
	const struct config *config = actor_config(self);

	if (config && (int64_t)limit > config->http_body_bytes_max)
		limit = (size_t)config->http_body_bytes_max;
	if (limit > HTTP_BODY_MAX)
		limit = HTTP_BODY_MAX;
	http_conn_allow_body(&slot->conn, limit, now_us);
	struct writer out = writer_of(buffer->output, sizeof(buffer->output));

	out.at += slot->out_size;
	http_conn_write_continue(&slot->conn, &out);
	slot->out_size = (uint32_t)writer_used(&out);
}

static void send_options(
	struct actor *self, struct http_connection *s, const struct http_call *call)
{
	struct http_reply reply = {.status = 204};

	reply.field_count = http_options_fields(&call->match, reply.fields);
	http_send(self, s, &reply);
}

typedef void (*http_handle)(
	struct actor *self, struct http_connection *s, const struct http_call *call);

static const http_handle handles[HTTP_HANDLER_COUNT] = {
	[HTTP_HANDLER_WHIP] = http_whip_post,
	[HTTP_HANDLER_WHEP] = http_whip_post,
	[HTTP_HANDLER_WHIP_SESSION] = http_whip_session,
	[HTTP_HANDLER_WHEP_SESSION] = http_whip_session,
	[HTTP_HANDLER_SRS_PUBLISH] = http_srs_post,
	[HTTP_HANDLER_SRS_PLAY] = http_srs_post,
	[HTTP_HANDLER_SRS_WHIP] = http_srs_post,
	[HTTP_HANDLER_SRS_WHEP] = http_srs_post,
	[HTTP_HANDLER_FLV] = http_flv_get,
	[HTTP_HANDLER_HEALTHZ] = http_api,
	[HTTP_HANDLER_READYZ] = http_api,
	[HTTP_HANDLER_METRICS] = http_api,
	[HTTP_HANDLER_API_STREAMS] = http_api,
	[HTTP_HANDLER_API_SESSIONS] = http_api,
	[HTTP_HANDLER_API_SESSION] = http_api,
	[HTTP_HANDLER_API_WORKERS] = http_api,
	[HTTP_HANDLER_API_ACTORS] = http_api,
	[HTTP_HANDLER_API_LIVE] = http_socket_get,
	[HTTP_HANDLER_API_REPL] = http_socket_get,
	[HTTP_HANDLER_SIGNAL] = http_signal_get,
	[HTTP_HANDLER_SRS_VERSIONS] = http_srs_api,
	[HTTP_HANDLER_SRS_STREAMS] = http_srs_api,
	[HTTP_HANDLER_SRS_CLIENTS] = http_srs_api,
	[HTTP_HANDLER_SRS_SUMMARIES] = http_srs_api,
	[HTTP_HANDLER_ASSET] = http_asset,
};

void http_serve(struct actor *self, struct http_connection *s, const struct http_slot *slot,
	const struct http_request *request)
{
	struct http_call call = {.request = *request};

	if (slot->refusal.status) {
		struct http_refusal refusal = slot->refusal;

		http_problem(self, s, refusal.status, NULL, refusal.text, refusal.retry_ms);
		return;
	}
	find_route(s, &call);
	if (call.match.status != 200 || !handles[call.match.route->handler])
		http_problem(self, s, 404, NULL, "there is nothing at this path", 0);
	else if (request->verb == HTTP_VERB_OPTIONS)
		send_options(self, s, &call);
	else
		handles[call.match.route->handler](self, s, &call);
}

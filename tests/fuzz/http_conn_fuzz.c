/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection fed in pieces. First byte: the seed of the cuts. Second byte: what the server does
 * (bit 0 refuse bodies, bit 1 stream the answers, bit 2 answer late, bit 3 the peer half-closes).
 * However the bytes are cut, the same requests and faults must come out.
 */
#include "actors/http/http_conn.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	uint32_t requests;
	uint32_t faults;
	uint32_t fault;
	uint32_t body_hash;
	uint32_t closed;
};

static uint8_t buffer[HTTP_BUFFER_SIZE];

static void touch(struct outcome *outcome, struct http_text text)
{
	for (size_t i = 0; i < text.size; i++)
		outcome->body_hash = outcome->body_hash * 31 + (uint8_t)text.at[i];
}

static void serve_one(struct http_conn *conn, struct http_request *request, uint8_t how)
{
	struct http_field field = {"X-Path", "x"};
	struct http_response response = {.status = 200,
		.body = "ok",
		.body_size = 2,
		.kind = how & 2 ? HTTP_RESPONSE_STREAM : HTTP_RESPONSE_WHOLE,
		.fields = &field,
		.field_count = 1};
	uint8_t bytes[512];
	struct writer out = writer_of(bytes, sizeof(bytes));

	if (how & 4)
		MUST(http_conn_request(conn, buffer, request) == ERR_OK);
	MUST(http_conn_respond(conn, buffer, &response, &out, 0) == ERR_OK);
	if (conn->phase == HTTP_PHASE_STREAM)
		MUST(http_conn_finish(conn, &out, 0) == ERR_OK);
}

static void serve(struct http_conn *conn, struct outcome *outcome, uint8_t how)
{
	struct http_response fault = {.status = 400};
	struct http_request request;
	uint8_t bytes[256];

	for (;;) {
		struct writer out = writer_of(bytes, sizeof(bytes));

		MUST(http_conn_is_valid(conn));
		switch (http_conn_next(conn, buffer, &request, 0)) {
		case HTTP_EVENT_MORE: return;
		case HTTP_EVENT_HEAD:
			if (how & 1)
				http_conn_discard_body(conn, 0);
			else
				http_conn_allow_body(conn, 64, 0);
			http_conn_write_continue(conn, &out);
			break;
		case HTTP_EVENT_REQUEST:
			touch(outcome, request.body);
			touch(outcome, request.query);
			touch(outcome, request.host);
			for (size_t i = 0; i < HTTP_HEADER_COUNT; i++)
				touch(outcome, request.headers[i]);
			serve_one(conn, &request, how);
			break;
		case HTTP_EVENT_FAULT:
			outcome->fault = conn->fault;
			MUST(http_conn_respond(conn, buffer, &fault, &out, 0) == ERR_OK);
			break;
		case HTTP_EVENT_CLOSE: outcome->closed = 1; return;
		}
	}
}

static struct outcome run(const uint8_t *data, size_t size, uint8_t how, unsigned cuts)
{
	struct outcome outcome = {0};
	struct http_conn conn;

	http_conn_init(&conn, NULL, 0);
	while (size) {
		size_t room, step = cuts ? 1 + cuts % 37 : size;
		uint8_t *at = http_conn_space(&conn, buffer, &room);

		if (!room)
			break;
		step = step > size ? size : step;
		step = step > room ? room : step;
		memcpy(at, data, step);
		http_conn_received(&conn, step, 0);
		serve(&conn, &outcome, how);
		data += step;
		size -= step;
		cuts = cuts ? cuts * 1103515245u + 12345u : 0;
	}
	if (how & 8) {
		http_conn_peer_closed(&conn);
		serve(&conn, &outcome, how);
	}
	outcome.requests = conn.requests;
	outcome.faults = conn.faults;
	return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct outcome whole = run(data + 2, size - 2, data[1], 0);
	struct outcome cut = run(data + 2, size - 2, data[1], 2 * data[0] + 1u);

	MUST(whole.requests == cut.requests && whole.faults == cut.faults);
	MUST(whole.body_hash == cut.body_hash && whole.closed == cut.closed);
	/* which of several faults is met first may depend on how much of the head was there */
	return 0;
}

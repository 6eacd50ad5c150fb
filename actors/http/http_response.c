/* SPDX-License-Identifier: Apache-2.0
 *
 * The response side of a connection (declared in http_conn.h): status line, headers, body or the
 * start of one, and what becomes of the connection then.
 */
#include "actors/http/http_conn.h"

#include <stdio.h>

#define STATUS_TABLE(X)                           \
	X(100, "Continue")                        \
	X(101, "Switching Protocols")             \
	X(200, "OK")                              \
	X(201, "Created")                         \
	X(202, "Accepted")                        \
	X(204, "No Content")                      \
	X(206, "Partial Content")                 \
	X(304, "Not Modified")                    \
	X(307, "Temporary Redirect")              \
	X(400, "Bad Request")                     \
	X(401, "Unauthorized")                    \
	X(403, "Forbidden")                       \
	X(404, "Not Found")                       \
	X(405, "Method Not Allowed")              \
	X(406, "Not Acceptable")                  \
	X(408, "Request Timeout")                 \
	X(409, "Conflict")                        \
	X(410, "Gone")                            \
	X(411, "Length Required")                 \
	X(412, "Precondition Failed")             \
	X(413, "Content Too Large")               \
	X(414, "URI Too Long")                    \
	X(415, "Unsupported Media Type")          \
	X(417, "Expectation Failed")              \
	X(421, "Misdirected Request")             \
	X(422, "Unprocessable Content")           \
	X(426, "Upgrade Required")                \
	X(428, "Precondition Required")           \
	X(429, "Too Many Requests")               \
	X(431, "Request Header Fields Too Large") \
	X(500, "Internal Server Error")           \
	X(501, "Not Implemented")                 \
	X(502, "Bad Gateway")                     \
	X(503, "Service Unavailable")             \
	X(504, "Gateway Timeout")                 \
	X(505, "HTTP Version Not Supported")

const char *http_status_text(int status)
{
	switch (status) {
#define X(number, text) \
	case number: return text;
		STATUS_TABLE(X)
#undef X
	default: return "";
	}
}

void http_date_format(int64_t unix_s, char out[30])
{
	static const char days[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const int64_t last = INT64_C(253402300799); /* end of the year 9999 */
	int64_t at = unix_s < 0 ? 0 : unix_s > last ? last : unix_s;
	unsigned second = (unsigned)(at % 86400);
	unsigned day = (unsigned)(at / 86400);
	unsigned weekday = day % 7; /* 1970-01-01 was a Thursday */

	/* civil date from days, by years that begin in March: the leap day comes last */
	unsigned shifted = day + 719468;
	unsigned era = shifted / 146097;
	unsigned of_era = shifted % 146097;
	unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned march_month = (5 * of_year + 2) / 153;
	unsigned month = march_month < 10 ? march_month + 2 : march_month - 10; /* 0 = January */
	unsigned year = year_of_era + era * 400 + (month < 2);
	char text[64];

	snprintf(text, sizeof(text), "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + weekday * 3,
		of_year - (153 * march_month + 2) / 5 + 1, months + month * 3, year, second / 3600,
		second / 60 % 60, second % 60);
	memcpy(out, text, 29);
	out[29] = '\0';
}

static void write_text(struct writer *out, const char *text)
{
	write_bytes(out, text, strlen(text));
}

static void write_number(struct writer *out, uint64_t number)
{
	char digits[21];
	int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);

	write_bytes(out, digits, (size_t)size);
}

static void write_field(struct writer *out, const char *name, const char *value)
{
	write_text(out, name);
	write_text(out, ": ");
	write_text(out, value);
	write_text(out, "\r\n");
}

/* Nothing a caller passes through from outside may end a line or a name early. */
static bool value_is_safe(const char *value)
{
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool response_is_safe(const struct http_response *response)
{
	if (response->content_type && !value_is_safe(response->content_type))
		return false;
	for (size_t i = 0; i < response->field_count; i++) {
		const struct http_field *field = &response->fields[i];

		if (!*field->name || strpbrk(field->name, ": \t") || !value_is_safe(field->name) ||
			!value_is_safe(field->value))
			return false;
	}
	return response->status >= 100 && response->status <= 599;
}

void http_conn_write_continue(struct http_conn *conn, struct writer *out)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (conn->phase != HTTP_PHASE_BODY || !conn->continue_owed || conn->discard ||
		writer_left(out) < sizeof(text) - 1)
		return;
	write_text(out, text);
	conn->continue_owed = false;
}

/* What follows the response head, decided before anything is written. */
struct plan {
	bool chunked;
	bool close;
	bool length;
	bool body;
};

/* RFC 9110 6.4.1 */
static bool is_bodiless(int status)
{
	return status < 200 || status == 204 || status == 304;
}

static struct plan plan_response(const struct http_conn *conn, const struct http_response *response)
{
	bool unread = conn->phase == HTTP_PHASE_ROUTE && (conn->chunked || conn->length_left);
	bool empty = is_bodiless(response->status);
	bool sized = response->kind == HTTP_RESPONSE_WHOLE || response->kind == HTTP_RESPONSE_SIZED;
	bool streams =
		response->kind == HTTP_RESPONSE_STREAM || response->kind == HTTP_RESPONSE_RAW;
	struct plan plan = {
		.chunked = response->kind == HTTP_RESPONSE_STREAM && conn->minor > 0 && !empty,
		.length = sized && !empty,
		.body = response->kind == HTTP_RESPONSE_WHOLE && !empty && !conn->head_only,
	};

	plan.close = response->close || !conn->keep_alive || unread ||
		     conn->phase == HTTP_PHASE_FAULT || (streams && !plan.chunked);
	if (response->kind == HTTP_RESPONSE_UPGRADE)
		plan.close = false;
	return plan;
}

static void write_head(const struct http_conn *conn, const struct http_response *response,
	const struct plan *plan, struct writer *out)
{
	char date[30];

	write_text(out, "HTTP/1.1 ");
	write_number(out, (uint64_t)response->status);
	write_text(out, " ");
	write_text(out, http_status_text(response->status));
	write_text(out, "\r\n");
	if (response->date_s) {
		http_date_format(response->date_s, date);
		write_field(out, "Date", date);
	}
	if (response->content_type)
		write_field(out, "Content-Type", response->content_type);
	for (size_t i = 0; i < response->field_count; i++)
		write_field(out, response->fields[i].name, response->fields[i].value);
	if (plan->length) {
		write_text(out, "Content-Length: ");
		write_number(out, response->body_size);
		write_text(out, "\r\n");
	}
	if (plan->chunked)
		write_field(out, "Transfer-Encoding", "chunked");
	if (response->kind == HTTP_RESPONSE_UPGRADE)
		write_field(out, "Connection", "Upgrade");
	else if (plan->close)
		write_field(out, "Connection", "close");
	else if (!conn->minor)
		write_field(out, "Connection", "keep-alive");
	write_text(out, "\r\n");
}

/* Forgets the request; what came behind it is the start of the buffer now. */
static void drop_request(struct http_conn *conn, uint8_t *buffer)
{
	uint32_t used = conn->head_size + conn->body_size;

	MUST(used <= conn->filled);
	memmove(buffer, buffer + used, conn->filled - used);
	conn->filled -= used;
	conn->scanned = 0;
	conn->head_size = 0;
	conn->body_size = 0;
	conn->body_limit = 0;
	conn->length_left = 0;
	conn->discarded = 0;
	conn->discard = false;
	conn->chunk_framing = 0;
	conn->chunk_step = 0;
	conn->chunk_digits = 0;
	conn->empty_bytes = 0;
	conn->continue_owed = false;
	conn->deadline_us = INT64_MAX;
}

static void enter_next(struct http_conn *conn, int64_t now_us)
{
	if (!conn->keep_alive || (conn->peer_closed && !conn->filled)) {
		conn->phase = HTTP_PHASE_CLOSED;
		conn->filled = 0;
		return;
	}
	conn->phase = HTTP_PHASE_HEAD;
	conn->deadline_us = now_us + (conn->filled ? conn->bounds.head_us : conn->bounds.idle_us);
}

enum err http_conn_respond(struct http_conn *conn, uint8_t *buffer,
	const struct http_response *response, struct writer *out, int64_t now_us)
{
	uint8_t *start = out->at;

	if (conn->phase != HTTP_PHASE_ROUTE && conn->phase != HTTP_PHASE_READY &&
		conn->phase != HTTP_PHASE_RESPOND && conn->phase != HTTP_PHASE_FAULT)
		return ERR_PHASE;
	if (!response_is_safe(response))
		return ERR_FORMAT;
	MUST((response->kind == HTTP_RESPONSE_UPGRADE) == (response->status == 101));
	struct plan plan = plan_response(conn, response);

	write_head(conn, response, &plan, out);
	if (plan.body)
		write_bytes(out, response->body, response->body_size);
	if (out->bad) {
		out->at = start;
		out->bad = false;
		return ERR_NO_SPACE;
	}
	drop_request(conn, buffer);
	conn->keep_alive = !plan.close;
	conn->chunked_out = plan.chunked;
	if (response->kind == HTTP_RESPONSE_UPGRADE)
		conn->phase = HTTP_PHASE_UPGRADED;
	else if (response->kind == HTTP_RESPONSE_WHOLE || conn->head_only ||
		 is_bodiless(response->status))
		enter_next(conn, now_us);
	else
		conn->phase = HTTP_PHASE_STREAM;
	return ERR_OK;
}

enum err http_conn_finish(struct http_conn *conn, struct writer *out, int64_t now_us)
{
	if (conn->phase != HTTP_PHASE_STREAM)
		return ERR_PHASE;
	if (conn->chunked_out) {
		if (writer_left(out) < 5)
			return ERR_NO_SPACE;
		write_text(out, "0\r\n\r\n");
	}
	enter_next(conn, now_us);
	return ERR_OK;
}

size_t http_chunk_head(size_t size, char out[HTTP_CHUNK_HEAD_MAX])
{
	char text[24];
	int length;

	MUST(size > 0 && size <= UINT32_MAX);
	length = snprintf(text, sizeof(text), "%zx\r\n", size);
	memcpy(out, text, (size_t)length);
	return (size_t)length;
}

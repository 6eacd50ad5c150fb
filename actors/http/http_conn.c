/* SPDX-License-Identifier: Apache-2.0
 *
 * The request side of a connection: when a head is complete, what of the body has come, and when
 * to lose patience. Responses are in http_response.c. Chunked bodies (RFC 9112 7.1) are decoded
 * here and in place, strictly, with a state that a successor process can check.
 */
#include "actors/http/http_conn.h"

enum chunk_step {
	CHUNK_SIZE,
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	CHUNK_TRAILER,	    /* at the start of a trailer line, or of the empty line */
	CHUNK_TRAILER_LINE, /* inside one */
	CHUNK_TRAILER_LF,
	CHUNK_LAST_LF,
	CHUNK_DONE,
	CHUNK_STEP_COUNT
};

enum { CHUNK_DIGITS_MAX = 8 };

static bool bounds_are_valid(const struct http_bounds *bounds)
{
	const int64_t day_us = INT64_C(86400) * 1000000;

	return bounds->head_us > 0 && bounds->head_us <= day_us && bounds->body_us > 0 &&
	       bounds->body_us <= day_us && bounds->idle_us > 0 && bounds->idle_us <= day_us &&
	       bounds->head_max > 0 && bounds->head_max <= HTTP_HEAD_MAX;
}

void http_conn_init(struct http_conn *conn, const struct http_bounds *bounds, int64_t now_us)
{
	static const struct http_bounds defaults = {
		HTTP_HEAD_TIME_US, HTTP_BODY_TIME_US, HTTP_IDLE_TIME_US, HTTP_HEAD_MAX};

	*conn = (struct http_conn){.bounds = bounds ? *bounds : defaults};
	MUST(bounds_are_valid(&conn->bounds));
	conn->deadline_us = now_us + conn->bounds.idle_us;
}

bool http_conn_is_valid(const struct http_conn *conn)
{
	uint64_t used = (uint64_t)conn->head_size + conn->body_size;
	bool in_request = conn->phase >= HTTP_PHASE_ROUTE && conn->phase <= HTTP_PHASE_RESPOND;

	if (conn->phase >= HTTP_PHASE_COUNT || conn->fault >= HTTP_FAULT_COUNT ||
		conn->chunk_step >= CHUNK_STEP_COUNT || !bounds_are_valid(&conn->bounds))
		return false;
	if (conn->filled > HTTP_BUFFER_SIZE || conn->scanned > conn->filled || used > conn->filled)
		return false;
	if (conn->head_size > HTTP_HEAD_MAX || conn->body_limit > HTTP_BODY_MAX ||
		conn->body_size > conn->body_limit || conn->discarded > HTTP_DISCARD_MAX ||
		conn->chunk_framing > HTTP_CHUNK_FRAMING_MAX)
		return false;
	if (conn->phase == HTTP_PHASE_BODY && !conn->chunked &&
		conn->length_left > (conn->discard ? HTTP_DISCARD_MAX - conn->discarded
						   : conn->body_limit - conn->body_size))
		return false;
	return !in_request || conn->head_size > 0;
}

static bool reads_now(const struct http_conn *conn)
{
	return conn->phase <= HTTP_PHASE_RESPOND && !conn->peer_closed;
}

uint8_t *http_conn_space(const struct http_conn *conn, uint8_t *buffer, size_t *room)
{
	MUST(conn->filled <= HTTP_BUFFER_SIZE);
	*room = reads_now(conn) ? HTTP_BUFFER_SIZE - conn->filled : 0;
	return *room ? buffer + conn->filled : NULL;
}

/* Drops `size` bytes at `at`; what follows moves up. */
static void buffer_drop(struct http_conn *conn, uint8_t *buffer, size_t at, size_t size)
{
	MUST(at + size <= conn->filled);
	memmove(buffer + at, buffer + at + size, conn->filled - at - size);
	conn->filled -= (uint32_t)size;
}

void http_conn_received(struct http_conn *conn, size_t size, int64_t now_us)
{
	MUST(size <= HTTP_BUFFER_SIZE - conn->filled);
	if (!size || !reads_now(conn))
		return;
	if (!conn->filled && conn->phase == HTTP_PHASE_HEAD)
		conn->deadline_us = now_us + conn->bounds.head_us;
	conn->filled += (uint32_t)size;
}

void http_conn_peer_closed(struct http_conn *conn)
{
	conn->peer_closed = true;
}

static void enter_fault(struct http_conn *conn, enum http_fault fault)
{
	conn->phase = HTTP_PHASE_FAULT;
	conn->fault = (uint8_t)fault;
	conn->keep_alive = false;
	conn->deadline_us = INT64_MAX;
	conn->faults++;
	conn->timeouts += fault == HTTP_FAULT_HEAD_TIME || fault == HTTP_FAULT_BODY_TIME;
}

static void enter_ready(struct http_conn *conn)
{
	conn->phase = HTTP_PHASE_READY;
	conn->continue_owed = false;
	conn->deadline_us = INT64_MAX;
}

static void close_silently(struct http_conn *conn)
{
	conn->phase = HTTP_PHASE_CLOSED;
	conn->keep_alive = false;
	conn->deadline_us = INT64_MAX;
}

/* RFC 9112 2.2: an empty line before a request line is an old client's habit. */
static enum http_fault skip_empty_lines(struct http_conn *conn, uint8_t *buffer)
{
	size_t size = 0;

	while (size < conn->filled && (buffer[size] == '\r' || buffer[size] == '\n'))
		size++;
	if (!size)
		return HTTP_FAULT_NONE;
	buffer_drop(conn, buffer, 0, size);
	conn->scanned = 0;
	if (size > (size_t)(HTTP_EMPTY_LINES_MAX - conn->empty_bytes))
		return HTTP_FAULT_REQUEST_LINE;
	conn->empty_bytes += (uint8_t)size;
	return HTTP_FAULT_NONE;
}

static void start_request(struct http_conn *conn, const struct http_request *request)
{
	conn->requests++;
	conn->headers_skipped += request->headers_skipped;
	conn->length_left = request->content_length;
	conn->chunked = request->chunked;
	conn->keep_alive = request->keep_alive;
	conn->continue_owed = request->expect_continue;
	conn->phase = HTTP_PHASE_ROUTE;
	conn->deadline_us = INT64_MAX;
}

/* True when the phase has changed. */
static bool read_head(
	struct http_conn *conn, uint8_t *buffer, struct http_request *out, int64_t now_us)
{
	enum http_fault fault = skip_empty_lines(conn, buffer);
	size_t size = http_head_find((const char *)buffer, conn->scanned, conn->filled);

	if (!fault && !size)
		fault = http_head_check_partial((const char *)buffer, conn->filled);
	if (!fault && (size ? size : conn->filled) > conn->bounds.head_max)
		fault = HTTP_FAULT_HEAD_SIZE;
	if (!fault && !size && conn->filled && conn->peer_closed)
		fault = HTTP_FAULT_TRUNCATED;
	if (!fault && !size && conn->filled && now_us >= conn->deadline_us)
		fault = HTTP_FAULT_HEAD_TIME;
	if (!fault && size) {
		fault = http_head_parse((const char *)buffer, size, out);
		conn->minor = out->minor;
		conn->head_only = out->verb == HTTP_VERB_HEAD;
	}
	if (fault) {
		enter_fault(conn, fault);
		return true;
	}
	if (size) {
		conn->head_size = (uint32_t)size;
		start_request(conn, out);
		return true;
	}
	conn->scanned = conn->filled;
	if (!conn->filled && (conn->peer_closed || now_us >= conn->deadline_us)) {
		close_silently(conn);
		return true;
	}
	return false;
}

/* Body bytes at `at`: kept where they are, or counted and left to be dropped. */
static void take_body(struct http_conn *conn, size_t size)
{
	if (conn->discard)
		conn->discarded += (uint32_t)size;
	else
		conn->body_size += (uint32_t)size;
	conn->length_left -= size;
}

/* May `length_left` more bytes of body come? In discard mode "no" is not the peer's fault. */
static bool body_fits(const struct http_conn *conn)
{
	return conn->discard ? conn->length_left <= HTTP_DISCARD_MAX - conn->discarded
			     : conn->length_left <= conn->body_limit - conn->body_size;
}

static bool read_plain_body(struct http_conn *conn, uint8_t *buffer)
{
	size_t at = conn->head_size + conn->body_size;
	size_t size = conn->filled - at;

	if (size > conn->length_left)
		size = (size_t)conn->length_left;
	take_body(conn, size);
	if (conn->discard)
		buffer_drop(conn, buffer, at, size);
	return conn->length_left == 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum http_fault step_size(struct http_conn *conn, uint8_t c)
{
	int digit = hex_digit(c);

	if (digit >= 0) {
		if (conn->chunk_digits >= CHUNK_DIGITS_MAX)
			return HTTP_FAULT_CHUNK;
		conn->chunk_digits++;
		conn->length_left = conn->length_left << 4 | (uint64_t)digit;
		return HTTP_FAULT_NONE;
	}
	if (!conn->chunk_digits || (c != ';' && c != '\r' && c != ' ' && c != '\t'))
		return HTTP_FAULT_CHUNK;
	conn->chunk_step = c == '\r' ? CHUNK_SIZE_LF : CHUNK_EXTENSION;
	return HTTP_FAULT_NONE;
}

/* `c` must be `want`; then `next`. */
static enum http_fault step_expect(
	struct http_conn *conn, uint8_t c, uint8_t want, enum chunk_step next)
{
	if (c != want)
		return HTTP_FAULT_CHUNK;
	conn->chunk_step = (uint8_t)next;
	return HTTP_FAULT_NONE;
}

static enum http_fault step_size_end(struct http_conn *conn, uint8_t c)
{
	conn->chunk_digits = 0;
	if (!conn->length_left)
		return step_expect(conn, c, '\n', CHUNK_TRAILER);
	if (!conn->discard && !body_fits(conn))
		return HTTP_FAULT_BODY_SIZE;
	return step_expect(conn, c, '\n', CHUNK_DATA);
}

/* One byte of framing. Extensions and trailers are skipped (RFC 9112 7.1.1, 7.1.2); trailers could
 * only carry what the route has already been chosen without. */
static enum http_fault step_framing(struct http_conn *conn, uint8_t c)
{
	if (++conn->chunk_framing > HTTP_CHUNK_FRAMING_MAX) {
		conn->chunk_framing = HTTP_CHUNK_FRAMING_MAX;
		return HTTP_FAULT_BODY_SIZE;
	}
	switch ((enum chunk_step)conn->chunk_step) {
	case CHUNK_SIZE: return step_size(conn, c);
	case CHUNK_EXTENSION:
		if (c == '\r')
			conn->chunk_step = CHUNK_SIZE_LF;
		return c == '\r' || c == '\t' || (c >= ' ' && c != 0x7f) ? HTTP_FAULT_NONE
									 : HTTP_FAULT_CHUNK;
	case CHUNK_SIZE_LF: return step_size_end(conn, c);
	case CHUNK_DATA_CR: return step_expect(conn, c, '\r', CHUNK_DATA_LF);
	case CHUNK_DATA_LF: return step_expect(conn, c, '\n', CHUNK_SIZE);
	case CHUNK_TRAILER:
	case CHUNK_TRAILER_LINE:
		if (c == '\r')
			conn->chunk_step = conn->chunk_step == CHUNK_TRAILER ? CHUNK_LAST_LF
									     : CHUNK_TRAILER_LF;
		else
			conn->chunk_step = CHUNK_TRAILER_LINE;
		return c == '\r' || c == '\t' || (c >= ' ' && c != 0x7f) ? HTTP_FAULT_NONE
									 : HTTP_FAULT_CHUNK;
	case CHUNK_TRAILER_LF: return step_expect(conn, c, '\n', CHUNK_TRAILER);
	case CHUNK_LAST_LF: return step_expect(conn, c, '\n', CHUNK_DONE);
	default: return HTTP_FAULT_CHUNK;
	}
}

/* Decodes what has come: body bytes move down over the framing before them. True at the end. */
static bool read_chunked_body(struct http_conn *conn, uint8_t *buffer, enum http_fault *fault)
{
	uint32_t from = conn->head_size + conn->body_size;

	while (!*fault && from < conn->filled && conn->chunk_step != CHUNK_DONE) {
		if (conn->chunk_step != CHUNK_DATA) {
			*fault = step_framing(conn, buffer[from++]);
			continue;
		}
		size_t size = conn->filled - from;
		uint32_t to = conn->head_size + conn->body_size;

		if (!body_fits(conn)) {
			/* a body that is only read to be dropped, and is too large for that */
			conn->keep_alive = false;
			conn->chunk_step = CHUNK_DONE;
			break;
		}
		if (size > conn->length_left)
			size = (size_t)conn->length_left;
		if (!conn->discard && to != from)
			memmove(buffer + to, buffer + from, size);
		take_body(conn, size);
		from += (uint32_t)size;
		if (!conn->length_left)
			conn->chunk_step = CHUNK_DATA_CR;
	}
	uint32_t end = conn->head_size + conn->body_size;
	buffer_drop(conn, buffer, end, from - end);
	return conn->chunk_step == CHUNK_DONE;
}

static bool read_body(struct http_conn *conn, uint8_t *buffer, int64_t now_us)
{
	enum http_fault fault = HTTP_FAULT_NONE;
	bool done = conn->chunked ? read_chunked_body(conn, buffer, &fault)
				  : read_plain_body(conn, buffer);

	if (!fault && !done && conn->peer_closed)
		fault = HTTP_FAULT_TRUNCATED;
	if (!fault && !done && now_us >= conn->deadline_us)
		fault = HTTP_FAULT_BODY_TIME;
	if (fault)
		enter_fault(conn, fault);
	else if (done)
		enter_ready(conn);
	return fault || done;
}

enum event_or_again { EVENT_AGAIN = -1 };

static int next_event(
	struct http_conn *conn, uint8_t *buffer, struct http_request *out, int64_t now_us)
{
	switch ((enum http_phase)conn->phase) {
	case HTTP_PHASE_HEAD:
		if (!read_head(conn, buffer, out, now_us))
			return HTTP_EVENT_MORE;
		return conn->phase == HTTP_PHASE_ROUTE ? HTTP_EVENT_HEAD : EVENT_AGAIN;
	case HTTP_PHASE_ROUTE:
		if (http_conn_request(conn, buffer, out) == ERR_OK)
			return HTTP_EVENT_HEAD;
		enter_fault(conn, HTTP_FAULT_REQUEST_LINE);
		return EVENT_AGAIN;
	case HTTP_PHASE_BODY:
		return read_body(conn, buffer, now_us) ? EVENT_AGAIN : HTTP_EVENT_MORE;
	case HTTP_PHASE_READY:
		if (http_conn_request(conn, buffer, out) == ERR_OK) {
			conn->phase = HTTP_PHASE_RESPOND;
			return HTTP_EVENT_REQUEST;
		}
		enter_fault(conn, HTTP_FAULT_REQUEST_LINE);
		return EVENT_AGAIN;
	case HTTP_PHASE_FAULT: return HTTP_EVENT_FAULT;
	case HTTP_PHASE_CLOSED: return HTTP_EVENT_CLOSE;
	default: return HTTP_EVENT_MORE;
	}
}

enum http_event http_conn_next(
	struct http_conn *conn, uint8_t *buffer, struct http_request *out, int64_t now_us)
{
	int event;

	MUST(conn->filled <= HTTP_BUFFER_SIZE);
	*out = (struct http_request){0};
	do {
		event = next_event(conn, buffer, out, now_us);
	} while (event == EVENT_AGAIN);
	return (enum http_event)event;
}

enum err http_conn_request(
	const struct http_conn *conn, const uint8_t *buffer, struct http_request *out)
{
	if (conn->phase < HTTP_PHASE_ROUTE || conn->phase > HTTP_PHASE_RESPOND)
		return ERR_PHASE;
	/* the bytes were a good head once; a taken-over buffer may hold anything */
	if (http_head_parse((const char *)buffer, conn->head_size, out) != HTTP_FAULT_NONE)
		return ERR_FORMAT;
	if (conn->phase >= HTTP_PHASE_READY && !conn->discard)
		out->body =
			(struct http_text){(const char *)buffer + conn->head_size, conn->body_size};
	return ERR_OK;
}

void http_conn_allow_body(struct http_conn *conn, size_t limit, int64_t now_us)
{
	MUST(conn->phase == HTTP_PHASE_ROUTE && limit <= HTTP_BODY_MAX);
	conn->body_limit = (uint32_t)limit;
	conn->discard = false;
	conn->chunk_step = CHUNK_SIZE;
	if (!conn->chunked && !conn->length_left) {
		enter_ready(conn);
	} else if (conn->length_left > limit) {
		enter_fault(conn, HTTP_FAULT_BODY_SIZE);
	} else {
		conn->phase = HTTP_PHASE_BODY;
		conn->deadline_us = now_us + conn->bounds.body_us;
	}
}

void http_conn_discard_body(struct http_conn *conn, int64_t now_us)
{
	MUST(conn->phase == HTTP_PHASE_ROUTE);
	conn->discard = true;
	conn->chunk_step = CHUNK_SIZE;
	if (!conn->chunked && !conn->length_left) {
		enter_ready(conn);
	} else if (conn->continue_owed || !body_fits(conn)) {
		conn->keep_alive = false;
		enter_ready(conn);
	} else {
		conn->bodies_discarded++;
		conn->phase = HTTP_PHASE_BODY;
		conn->deadline_us = now_us + conn->bounds.body_us;
	}
}

int64_t http_conn_deadline(const struct http_conn *conn)
{
	return conn->deadline_us;
}

bool http_conn_needs_buffer(const struct http_conn *conn)
{
	return conn->filled > 0;
}

struct http_text http_conn_rest(const struct http_conn *conn, const uint8_t *buffer)
{
	if (conn->phase != HTTP_PHASE_UPGRADED)
		return (struct http_text){0};
	return (struct http_text){(const char *)buffer, conn->filled};
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP/1.1 server connection (RFC 9112) as an engine: bytes and time in, requests out, and
 * responses written into the caller's buffer.
 *
 *           head complete          allow / discard             body complete
 *   HEAD ------------------> ROUTE ----------------> BODY -------------------> RESPOND
 *    ^  \                      |                      |                          |
 *    |   `--> FAULT <----------+----------------------'                          |
 *    |          |  respond                                        respond        |
 *    |          v                                                                v
 *    |       CLOSED <------------- "Connection: close" ----------- whole, STREAM, UPGRADED
 *    `---------------- keep-alive (a pipelined request is next) -----'
 *
 * (READY is BODY's end, before the caller was told; RESPOND after it.)
 *
 * The loop of an actor:
 *
 *   size = recv(fd, http_conn_space(conn, buffer, &room), room);
 *   http_conn_received(conn, size, now);
 *   for (;;) switch (http_conn_next(conn, buffer, &request, now)) {
 *   case HTTP_EVENT_MORE:    wait for bytes or http_conn_deadline(); return;
 *   case HTTP_EVENT_HEAD:    find the route; http_conn_allow_body() or http_conn_discard_body();
 *                            continue;
 *   case HTTP_EVENT_REQUEST: answer now, or keep it and answer later (http_conn_request() gives
 *                            it again); http_conn_respond(); continue;
 *   case HTTP_EVENT_FAULT:   http_conn_respond() with what http_conn_fault() says; continue;
 *   case HTTP_EVENT_CLOSE:   flush what was written, shutdown(SHUT_WR), drop what still comes for
 *                            a moment (else a reset may overtake the answer), close; return;
 *   }
 *
 * Requests that are pipelined are served in order: the bytes of the next one stay in the buffer
 * until the response to this one is complete, and a full buffer is back-pressure.
 *
 * State: struct http_conn is plain data, and so is the buffer. Both together are all there is: a
 * successor process that finds them (http_conn_is_valid() first) goes on in the middle of a
 * request. While http_conn_needs_buffer() is false the buffer may be given to another connection
 * (idle between requests, or streaming out).
 *
 * Thread: one at a time. No allocation, no clock: now_us is monotonic microseconds.
 */
#ifndef MILLRACE_HTTP_CONN_H
#define MILLRACE_HTTP_CONN_H

#include "actors/http/http_head.h"
#include "schemas/bytes.h"
#include "schemas/err.h"

enum {
	HTTP_BODY_MAX = 65536, /* bytes; the highest limit a route may set */
	/* a request whose head and body are as large as they may be, and room for chunk framing */
	HTTP_BUFFER_SIZE = HTTP_HEAD_MAX + HTTP_BODY_MAX + 1024,
	/* body bytes of a request that is refused anyway are read and dropped up to this, so that
	 * the connection lives on and the answer is not lost in a reset (RFC 9112 9.6) */
	HTTP_DISCARD_MAX = 262144,
	HTTP_CHUNK_FRAMING_MAX = 16384, /* bytes of chunk sizes, extensions, trailers a request */
	HTTP_EMPTY_LINES_MAX = 4,	/* bytes of CR LF before a request line (RFC 9112 2.2) */
	HTTP_CHUNK_HEAD_MAX = 10,	/* bytes http_chunk_head() writes at most */
	HTTP_HEAD_TIME_US = 10 * 1000000,
	HTTP_BODY_TIME_US = 10 * 1000000,
	HTTP_IDLE_TIME_US = 60 * 1000000,
};

enum http_phase {
	HTTP_PHASE_HEAD,     /* collecting a request head, or idle when nothing is there */
	HTTP_PHASE_ROUTE,    /* head complete: the caller decides about the body */
	HTTP_PHASE_BODY,     /* collecting the body */
	HTTP_PHASE_READY,    /* request complete, not yet given to the caller */
	HTTP_PHASE_RESPOND,  /* given to the caller, who owes a response */
	HTTP_PHASE_STREAM,   /* response head written, the caller writes the body */
	HTTP_PHASE_UPGRADED, /* 101 written: bytes are no longer HTTP */
	HTTP_PHASE_FAULT,    /* an error response is owed, then close */
	HTTP_PHASE_CLOSED,   /* nothing more to read or to write */
	HTTP_PHASE_COUNT
};

enum http_event {
	HTTP_EVENT_MORE,
	HTTP_EVENT_HEAD,
	HTTP_EVENT_REQUEST,
	HTTP_EVENT_FAULT,
	HTTP_EVENT_CLOSE,
};

struct http_bounds {
	int64_t head_us;   /* from the first byte of a head to its last */
	int64_t body_us;   /* from the end of the head to the end of the body */
	int64_t idle_us;   /* without a byte between requests, and before the first one */
	uint32_t head_max; /* bytes of a head, at most HTTP_HEAD_MAX; more: 431 */
};

/* Plain data. Sizes and places are bytes in the buffer: head, then decoded body, then raw rest. */
struct http_conn {
	struct http_bounds bounds;
	int64_t deadline_us;  /* INT64_MAX: none */
	uint64_t length_left; /* body or chunk bytes that have not come yet */
	uint32_t filled;
	uint32_t scanned; /* how far the end of the head was looked for */
	uint32_t head_size;
	uint32_t body_size;
	uint32_t body_limit;
	uint32_t discarded;
	uint32_t chunk_framing;
	uint8_t phase;	    /* enum http_phase */
	uint8_t fault;	    /* enum http_fault, in HTTP_PHASE_FAULT and after */
	uint8_t chunk_step; /* enum chunk_step in http_conn.c */
	uint8_t chunk_digits;
	uint8_t empty_bytes;
	uint8_t minor;
	/* truth values, as bytes: any value of a byte is a legal one to read back */
	uint8_t chunked;
	uint8_t discard;
	uint8_t head_only; /* the request was HEAD */
	uint8_t keep_alive;
	uint8_t chunked_out;   /* the streaming response is chunked */
	uint8_t continue_owed; /* the peer waits for 100 Continue */
	uint8_t peer_closed;
	/* counters */
	uint32_t requests;
	uint32_t faults;
	uint32_t timeouts;
	uint32_t headers_skipped;
	uint32_t bodies_discarded;
};

/* A header line of a response; both strings borrowed for the call. */
struct http_field {
	const char *name;
	const char *value;
};

enum http_response_kind {
	HTTP_RESPONSE_WHOLE,   /* body is here; Content-Length is written */
	HTTP_RESPONSE_SIZED,   /* body_size bytes follow, which the caller writes (large files) */
	HTTP_RESPONSE_STREAM,  /* body follows: chunked to HTTP/1.1, ended by close to HTTP/1.0 */
	HTTP_RESPONSE_RAW,     /* body follows as it is, ended by close (cheapest: no framing) */
	HTTP_RESPONSE_UPGRADE, /* status 101: what follows is another protocol */
};

struct http_response {
	int status;
	enum http_response_kind kind;
	const char *content_type; /* NULL: none */
	const struct http_field *fields;
	size_t field_count;
	const void *body;
	size_t body_size;
	int64_t date_s; /* Unix time for the Date header; 0: no such header (RFC 9110 6.6.1) */
	bool close;	/* close afterwards, whatever the peer would like */
};

/* `bounds` NULL: the defaults above. The connection is idle and its idle time starts. */
void http_conn_init(struct http_conn *conn, const struct http_bounds *bounds, int64_t now_us);

/* Does what it says of a state found in memory somebody else wrote: every place and size in it is
 * inside a buffer of HTTP_BUFFER_SIZE bytes and every enum is in range. */
bool http_conn_is_valid(const struct http_conn *conn);

/* Where to receive to, and how many bytes fit. 0: read no more until a response is out; while one
 * streams nothing is read at all, and a peer that hangs up shows as EPOLLRDHUP or a failed send. */
uint8_t *http_conn_space(const struct http_conn *conn, uint8_t *buffer, size_t *room);

/* `size` bytes were put where http_conn_space() said. */
void http_conn_received(struct http_conn *conn, size_t size, int64_t now_us);

/* The peer will send no more. A request that is complete is still answered. */
void http_conn_peer_closed(struct http_conn *conn);

/* What is to do now. `out` is filled with HEAD and REQUEST; it borrows from the buffer until the
 * response. HEAD comes until the body was allowed, discarded or a response was written; REQUEST
 * comes once, then MORE until the response; FAULT until the response; CLOSE for ever. */
enum http_event http_conn_next(
	struct http_conn *conn, uint8_t *buffer, struct http_request *out, int64_t now_us);

/* The request whose response is owed, read from the buffer again. ERR_PHASE when there is none. */
enum err http_conn_request(
	const struct http_conn *conn, const uint8_t *buffer, struct http_request *out);

/* After HEAD: take a body of up to `limit` bytes (at most HTTP_BODY_MAX). A longer one becomes
 * HTTP_FAULT_BODY_SIZE. */
void http_conn_allow_body(struct http_conn *conn, size_t limit, int64_t now_us);

/* After HEAD: the request will be refused; read and drop its body. A body that is too large to
 * drop is left unread, and the connection closes after the response. */
void http_conn_discard_body(struct http_conn *conn, int64_t now_us);

/* Writes "100 Continue" when the peer waits for it; nothing else ever. */
void http_conn_write_continue(struct http_conn *conn, struct writer *out);

/* Writes a response and moves on. Legal in ROUTE, READY, RESPOND and FAULT. A WHOLE response ends
 * the request; after SIZED, STREAM and RAW the caller writes the body itself while conn->phase is
 * HTTP_PHASE_STREAM (to HEAD there is no body, and it is not), and ends it with http_conn_finish().
 * Nothing is written of the body to HEAD, 204 or 304.
 * ERR_NO_SPACE: `out` is too small, nothing was written and nothing has changed. ERR_FORMAT: a
 * name or value would break the message (CR, LF, NUL, not a token). ERR_PHASE: no response owed. */
enum err http_conn_respond(struct http_conn *conn, uint8_t *buffer,
	const struct http_response *response, struct writer *out, int64_t now_us);

/* Ends a response whose body the caller wrote: writes the last chunk where there are chunks.
 * ERR_NO_SPACE as above, ERR_PHASE when nothing streams. */
enum err http_conn_finish(struct http_conn *conn, struct writer *out, int64_t now_us);

/* The chunk header for `size` bytes of body (not 0): returns its length. After the bytes comes
 * CR LF. */
size_t http_chunk_head(size_t size, char out[HTTP_CHUNK_HEAD_MAX]);

/* After HTTP_RESPONSE_UPGRADE: the bytes that came behind the request and belong to the new
 * protocol. Borrowed from the buffer. */
struct http_text http_conn_rest(const struct http_conn *conn, const uint8_t *buffer);

/* When http_conn_next() must be called even without input; INT64_MAX: never. */
int64_t http_conn_deadline(const struct http_conn *conn);

/* Does the buffer hold anything that is still wanted? */
bool http_conn_needs_buffer(const struct http_conn *conn);

/* Reason phrase of a status, "" when unknown. */
const char *http_status_text(int status);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7) and the terminator: 30 bytes. Years 1970-9999;
 * a time outside is clamped. */
void http_date_format(int64_t unix_s, char out[30]);

#endif

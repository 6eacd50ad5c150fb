/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP/1.x request head, from bytes to a request (RFC 9112, RFC 9110).
 *
 * The head is parsed in one call, once it is complete. Nothing of the parser outlives the call, so
 * a connection's state is its bytes: a successor process parses the same bytes again instead of
 * trusting another process's parser. The grammar is http-parser's; Debian builds that library
 * lenient (bare LF, obs-fold, spaces in header names and URLs, duplicate spaces all pass, which
 * is what request smuggling is made of), so the bytes are checked here before it sees them.
 *
 * Thread: any. No allocation. Every struct http_text borrows from the head's bytes.
 */
#ifndef MILLRACE_HTTP_HEAD_H
#define MILLRACE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HTTP_HEAD_MAX = 16384,	/* bytes of request line and header section; more: 431 */
	HTTP_TARGET_MAX = 6144, /* bytes of the request target: room for a 4 KB token; more: 414 */
	HTTP_PATH_MAX = 511,	/* bytes of the decoded path; more: 414 */
	HTTP_HEADERS_MAX = 100, /* header lines; more: 431 */
};

/* What can be wrong with a request: name, status, text for people. */
#define HTTP_FAULT_TABLE(X)                                                          \
	X(NONE, 200, "no fault")                                                     \
	X(REQUEST_LINE, 400, "malformed request line")                               \
	X(LINE_END, 400, "a line must end in CR LF, and neither may stand alone")    \
	X(CONTROL, 400, "control character in the request head")                     \
	X(FOLD, 400, "folded header lines are not accepted")                         \
	X(HEADER, 400, "malformed header line")                                      \
	X(REPEATED, 400, "a header that must be single is repeated")                 \
	X(HOST, 400, "HTTP/1.1 needs exactly one valid Host")                        \
	X(TARGET, 400, "malformed request target")                                   \
	X(LENGTH, 400, "invalid Content-Length")                                     \
	X(LENGTH_AND_CHUNKED, 400, "Content-Length together with Transfer-Encoding") \
	X(CHUNK, 400, "malformed chunked body")                                      \
	X(TRUNCATED, 400, "the connection ended inside a request")                   \
	X(HEAD_TIME, 408, "the request head took too long")                          \
	X(BODY_TIME, 408, "the request body took too long")                          \
	X(BODY_SIZE, 413, "the request body is too large")                           \
	X(TARGET_SIZE, 414, "the request target is too long")                        \
	X(EXPECT, 417, "only Expect: 100-continue is understood")                    \
	X(HEAD_SIZE, 431, "the request head is too large")                           \
	X(METHOD, 501, "this method is not implemented")                             \
	X(CODING, 501, "only the chunked transfer coding is implemented")            \
	X(VERSION, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here")

enum http_fault {
#define X(name, status, text) HTTP_FAULT_##name,
	HTTP_FAULT_TABLE(X)
#undef X
		HTTP_FAULT_COUNT
};

/* HTTP status of a fault; 500 for a value out of range. */
int http_fault_status(enum http_fault fault);
/* Static text, never NULL. */
const char *http_fault_text(enum http_fault fault);

/* Methods we answer; any other is 501 (RFC 9110 9.1). */
#define HTTP_VERB_TABLE(X) X(GET) X(HEAD) X(POST) X(PUT) X(PATCH) X(DELETE) X(OPTIONS)

enum http_verb {
#define X(name) HTTP_VERB_##name,
	HTTP_VERB_TABLE(X)
#undef X
		HTTP_VERB_COUNT
};

/* "GET" …; "?" for a value out of range. */
const char *http_verb_name(enum http_verb verb);

/* Headers we read: name, field name, whether a second one is a fault (400) or ignored. */
#define HTTP_HEADER_TABLE(X)                                        \
	X(HOST, "host", true)                                       \
	X(CONTENT_TYPE, "content-type", true)                       \
	X(CONTENT_LENGTH, "content-length", true)                   \
	X(TRANSFER_ENCODING, "transfer-encoding", true)             \
	X(EXPECT, "expect", true)                                   \
	X(AUTHORIZATION, "authorization", true)                     \
	X(IF_MATCH, "if-match", true)                               \
	X(IF_NONE_MATCH, "if-none-match", true)                     \
	X(ORIGIN, "origin", true)                                   \
	X(SEC_FETCH_SITE, "sec-fetch-site", true)                   \
	X(ACCEPT, "accept", false)                                  \
	X(ACCEPT_ENCODING, "accept-encoding", false)                \
	X(USER_AGENT, "user-agent", false)                          \
	X(X_FORWARDED_FOR, "x-forwarded-for", false)                \
	X(FORWARDED, "forwarded", false)                            \
	X(UPGRADE, "upgrade", false)                                \
	X(SEC_WEBSOCKET_KEY, "sec-websocket-key", true)             \
	X(SEC_WEBSOCKET_VERSION, "sec-websocket-version", true)     \
	X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol", false)  \
	X(REQUEST_METHOD, "access-control-request-method", true)    \
	X(REQUEST_HEADERS, "access-control-request-headers", false) \
	X(RESUME, "millrace-resume", true)

enum http_header {
#define X(name, field, single) HTTP_HEADER_##name,
	HTTP_HEADER_TABLE(X)
#undef X
		HTTP_HEADER_COUNT
};

/* A borrowed run of bytes, not terminated. `at` is NULL when the thing is absent, and not NULL
 * when it is present and empty. */
struct http_text {
	const char *at;
	size_t size;
};

struct http_request {
	enum http_verb verb;
	uint8_t minor;		      /* HTTP/1.<minor>, 0 or 1 */
	bool keep_alive;	      /* the peer would like another request on this connection */
	bool upgrade;		      /* Connection: upgrade and an Upgrade header are both there */
	bool chunked;		      /* the body comes chunked */
	bool expect_continue;	      /* the peer waits for 100 before it sends the body */
	uint16_t headers_skipped;     /* header lines that are not in our table */
	uint64_t content_length;      /* bytes of body announced; 0 when none or chunked */
	char path[HTTP_PATH_MAX + 1]; /* decoded, no "%2F", "." or ".." in it; "*" for OPTIONS * */
	struct http_text query;	      /* after '?', still encoded (see query.h) */
	struct http_text host; /* of the target when absolute, else of Host; "" in HTTP/1.0 */
	struct http_text headers[HTTP_HEADER_COUNT]; /* without surrounding white space */
	struct http_text body;			     /* filled by http_conn once it is complete */
};

/* Looks for the end of the head in bytes[from..size); `from` is how far an earlier call looked.
 * Returns the size of the head, its empty line included, or 0 when it is not complete. */
size_t http_head_find(const char *bytes, size_t from, size_t size);

/* What is already wrong with an incomplete head: TARGET_SIZE, HEAD_SIZE, LINE_END or NONE. */
enum http_fault http_head_check_partial(const char *bytes, size_t size);

/* Parses a complete head of `size` bytes as http_head_find() returned it. On a fault the request
 * is zero but for `verb` and `minor`, as far as they were understood. */
enum http_fault http_head_parse(const char *bytes, size_t size, struct http_request *out);

/* Case-insensitive comparison with a terminated string; false for an absent text. */
bool http_text_is(struct http_text text, const char *value);

/* Is `item` one of the comma-separated items, parameters (";…") and white space aside? */
bool http_text_has(struct http_text list, const char *item);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP as a client, for actors: callbacks, WHIP and WHEP of a load generator, a coordination store
 * behind JSON. Live it is libcurl's multi interface in the process's own loop (live_http.c); in the
 * simulator the far end is a function of the scenario.
 *
 *   net_http ----> http_response                              (whole body, bounded)
 *        '-------> http_response with a stream -- net_http_read --> http_piece … http_piece (end)
 *        '-------> failed: TIMEOUT, NOT_FOUND (no such host), DEAD (nobody listens), CRYPTO (TLS),
 *                  TOO_LARGE, FORMAT (the URL, or no HTTP came back), OVERLOAD (too many at a time),
 *                  IO; its text says more
 *
 * Every call is a request like actor_request: one answer, with that id, and a deadline. A status such
 * as 404 is an answer, not a failure. A stream is read by asking for the next piece, so that a slow
 * actor slows the server down and nothing gathers: a watch or a long poll is a read with a long
 * deadline. A read that passes its deadline closes the stream.
 *
 * Thread: that of the process. Nothing blocks: names are looked up aside. What an actor has open is
 * closed when it ends; a successor finds its requests failed (DEAD) and its streams unknown.
 */
#ifndef MILLRACE_NET_HTTP_H
#define MILLRACE_NET_HTTP_H

#include "runtime/actor.h"

enum {
	NET_HTTP_FLIGHT_MAX = 512, /* requests and streams open in a process */
	NET_HTTP_HEADERS_MAX = 16, /* of a request */
	NET_HTTP_HEAD_MAX = 16384, /* bytes of response headers, the bound of http_response */
	NET_HTTP_BODY_MAX = 1048576,
	NET_HTTP_PIECE_MAX = 16384,
	NET_HTTP_URL_MAX = 2047,
	NET_HTTP_HOPS_MAX = 4, /* redirects followed */
};

/* Everything is copied before the call returns. */
struct net_http_request {
	const char *method; /* NULL = GET */
	const char *url;    /* http:// or https://, user and password not in it */
	const char *headers[NET_HTTP_HEADERS_MAX]; /* "Name: value", up to the first NULL */
	const void *body;
	size_t body_size;
	uint32_t timeout_ms; /* to the whole answer; with `stream` to its headers */
	uint32_t body_max;   /* bytes of body taken, 0 = NET_HTTP_BODY_MAX */
	bool stream;
	bool redirects; /* follow 301, 302, 303, 307, 308; the last two repeat method and body */
	bool insecure;	/* any certificate will do */
	const char *ca_file; /* PEM of the certificates trusted; NULL = the system's */
	const char *cert_file,
		*key_file; /* PEM of what is shown to the server; NULL = nothing is */
};

/* Returns the request's id; answered by http_response or failed. */
uint64_t net_http(struct actor *self, const struct net_http_request *request);

/* Asks for the next bytes of a stream; answered by http_piece or failed (NOT_FOUND: no such stream of
 * this actor; PHASE: a read is open already). */
uint64_t net_http_read(struct actor *self, uint64_t stream, uint32_t timeout_ms);

/* Ends a request or a stream: no answer comes any more. Unknown ids are fine. */
void net_http_cancel(struct actor *self, uint64_t id);

/* The value of a header of a response, found without regard to case: the first of that name; empty
 * when there is none. Borrows from the message. */
struct slice net_http_header(const struct msg_http_response *response, const char *name);

#endif

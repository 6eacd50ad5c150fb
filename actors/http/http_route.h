/* SPDX-License-Identifier: Apache-2.0
 *
 * What the HTTP port answers to: one table of paths, methods, limits and who may call; and one of
 * what api.port does. The tables in http_route.c read as the list of our end-points.
 *
 * A session's own resource (the Location of RFC 9725 and draft-ietf-wish-whep) is the end-point's
 * path with one more segment, the unguessable session id:
 *     /whip/{app}/{stream}/{session}      /whep/{app}/{stream}/{session}
 *
 * Thread: any. No allocation. Texts are static; a match borrows nothing from the request.
 */
#ifndef MILLRACE_HTTP_ROUTE_H
#define MILLRACE_HTTP_ROUTE_H

#include "actors/http/http_conn.h"
#include "schemas/names.h"
#include "schemas/net_addr.h"

enum {
	HTTP_SESSION_ID_MIN = 16, /* characters of [A-Za-z0-9_-] in a session id */
	HTTP_SESSION_ID_MAX = 64,
	HTTP_SDP_MAX = 65536, /* bytes of an SDP offer; Chrome's simulcast offers are about 12 kB */
	HTTP_SDPFRAG_MAX = 16384, /* bytes of a trickle or ICE restart fragment */
	HTTP_ADMIN_TOKEN_MAX = 255,
	HTTP_CORS_FIELDS_MAX = 2,
	HTTP_OPTIONS_FIELDS_MAX = 8,
	HTTP_ALLOW_SIZE = 64,
};

enum http_handler {
	HTTP_HANDLER_WHIP,
	HTTP_HANDLER_WHEP,
	HTTP_HANDLER_WHIP_SESSION,
	HTTP_HANDLER_WHEP_SESSION,
	HTTP_HANDLER_SRS_PUBLISH,
	HTTP_HANDLER_SRS_PLAY,
	HTTP_HANDLER_SRS_WHIP,
	HTTP_HANDLER_SRS_WHEP,
	HTTP_HANDLER_FLV,
	HTTP_HANDLER_HLS,
	HTTP_HANDLER_HEALTHZ,
	HTTP_HANDLER_READYZ,
	HTTP_HANDLER_METRICS,
	HTTP_HANDLER_API_STREAMS,
	HTTP_HANDLER_API_SESSIONS,
	HTTP_HANDLER_API_SESSION,
	HTTP_HANDLER_API_WORKERS,
	HTTP_HANDLER_API_ACTORS,
	HTTP_HANDLER_API_LIVE,
	HTTP_HANDLER_API_REPL,
	HTTP_HANDLER_SIGNAL,
	HTTP_HANDLER_SRS_VERSIONS, /* of api.port, as the three below */
	HTTP_HANDLER_SRS_STREAMS,
	HTTP_HANDLER_SRS_CLIENTS,
	HTTP_HANDLER_SRS_SUMMARIES,
	HTTP_HANDLER_ABSENT, /* reserved for later work: 404 now */
	HTTP_HANDLER_ASSET,  /* the console's files; 404 when there is no such file */
	HTTP_HANDLER_COUNT
};

enum http_access {
	HTTP_PUBLIC,   /* anybody; media routes check their token themselves */
	HTTP_OPERATOR, /* http_access_check() */
};

struct http_route {
	const char *pattern;
	enum http_handler handler;
	uint8_t verbs; /* bit (1 << enum http_verb) */
	enum http_access access;
	bool cors;	     /* other origins may call it and read the answer */
	uint32_t body_limit; /* bytes */
	const char *accepts; /* media type of POST or PATCH bodies; NULL: any */
};

struct http_match {
	const struct http_route *route; /* NULL with status 404 and 400 */
	struct name_path name;		/* {app}, {stream} */
	char session[HTTP_SESSION_ID_MAX + 1];
	bool cors;		     /* of the row found, whatever the status */
	int status;		     /* 200, or 400, 404, 405 */
	const char *text;	     /* why, for people */
	char allow[HTTP_ALLOW_SIZE]; /* methods of the path, as an Allow header wants them */
};

/* Finds the route of a decoded path. Returns match->status. HEAD is legal where GET is. */
int http_route_find(enum http_verb verb, const char *path, struct http_match *match);

/* The same among the few paths of api.port: SRS' signalling is there too. */
int http_route_find_api(enum http_verb verb, const char *path, struct http_match *match);

/* Does it make a publisher or a viewer? Then a node that takes no more refuses it. */
bool http_route_begins_session(const struct http_route *route);
/* … which is then a session of the worker that was asked. */
bool http_route_begins_here(const struct http_route *route);

/* Is the request's media type what the route reads? A parameter (";charset=…") is ignored. True
 * for routes and methods that read no body. */
bool http_route_accepts(const struct http_route *route, const struct http_request *request);

/* Headers that let a page of another origin read the answer: for every answer, errors included;
 * none where the row has no `cors`. Returns how many, at most HTTP_CORS_FIELDS_MAX. */
size_t http_cors_fields(const struct http_match *match, struct http_field *out);

/* The headers of the 204 to OPTIONS, CORS included (Fetch 4.8; Accept-Post for WHIP and WHEP).
 * They borrow from `match`. Returns how many, at most HTTP_OPTIONS_FIELDS_MAX. */
size_t http_options_fields(const struct http_match *match, struct http_field *out);

struct http_operator {
	const char *admin_token; /* NULL or "": loopback only */
	const char *own_host;	 /* host of --public-url, without port, or NULL */
};

/* May this peer call an operator's route? 200, else 401 or 403 with *why for people.
 *
 * With an admin token: Authorization: Bearer, compared in constant time, from anywhere. Without:
 * loopback peers that no proxy speaks for (X-Forwarded-For, Forwarded), and because a browser on
 * this host is such a peer too, only when Host is an address literal, localhost or our own name (a
 * page cannot reach us by rebinding its own name to 127.0.0.1), and for methods that change
 * something, and WebSocket, which no CORS guards, only when Origin, if there is one, is this host
 * itself.
 *
 * A page cannot give a WebSocket headers: there the token may be one of the protocols offered, as
 * "bearer." and the token in base64url without padding. */
int http_access_check(const struct http_request *request, const struct net_addr *peer,
	const struct http_operator *rules, const char **why);

/* The credentials of "Authorization: Bearer …"; .at NULL when there are none. */
struct http_text http_bearer(const struct http_request *request);

#endif

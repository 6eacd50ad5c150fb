/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of end-points, how a path finds its row, and who may call.
 */
#include "actors/http/http_route.h"

#include "runtime/token.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

#define V(name) (1 << HTTP_VERB_##name)
#define READ	(V(GET) | V(HEAD))
enum { API_BODY_MAX = 4096 }; /* bytes of a body that nobody reads */

#define SDP	"application/sdp"
#define SDPFRAG "application/trickle-ice-sdpfrag"

/* The first row whose pattern fits is the route. {app} and {stream} are names, {session} is an id,
 * and '*' is any rest.
 *
 * SRS' signalling, and what ends the sessions that it makes: here before all else, and at api.port
 * too, where SRS has it and its SDKs ask. */
static const struct http_route signalling_routes[] = {
	// clang-format off
	/* pattern                          handler                     methods                              who            CORS   body              type */
	{"/whip/{app}/{stream}/{session}",  HTTP_HANDLER_WHIP_SESSION,  V(PATCH) | V(DELETE) | V(OPTIONS),   HTTP_PUBLIC,   true,  HTTP_SDPFRAG_MAX, SDPFRAG},
	{"/whep/{app}/{stream}/{session}",  HTTP_HANDLER_WHEP_SESSION,  V(PATCH) | V(DELETE) | V(OPTIONS),   HTTP_PUBLIC,   true,  HTTP_SDPFRAG_MAX, SDPFRAG},
	{"/rtc/v1/publish",                 HTTP_HANDLER_SRS_PUBLISH,   V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     NULL},
	{"/rtc/v1/publish/",                HTTP_HANDLER_SRS_PUBLISH,   V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     NULL},
	{"/rtc/v1/publish/&",               HTTP_HANDLER_SRS_PUBLISH,   V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     NULL},
	{"/rtc/v1/play",                    HTTP_HANDLER_SRS_PLAY,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     NULL},
	{"/rtc/v1/play/",                   HTTP_HANDLER_SRS_PLAY,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     NULL},
	{"/rtc/v1/play/&",                  HTTP_HANDLER_SRS_PLAY,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     NULL},
	{"/rtc/v1/whip",                    HTTP_HANDLER_SRS_WHIP,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/rtc/v1/whip/",                   HTTP_HANDLER_SRS_WHIP,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/rtc/v1/whep",                    HTTP_HANDLER_SRS_WHEP,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/rtc/v1/whep/",                   HTTP_HANDLER_SRS_WHEP,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/rtc/v1/whip-play",               HTTP_HANDLER_SRS_WHEP,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/rtc/v1/whip-play/",              HTTP_HANDLER_SRS_WHEP,      V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/rtc/*",                          HTTP_HANDLER_ABSENT,        0,                                   HTTP_PUBLIC,   true,  0,                NULL},
	// clang-format on
};

static const struct http_route media_routes[] = {
	// clang-format off
	{"/whip/{app}/{stream}",            HTTP_HANDLER_WHIP,          V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/whep/{app}/{stream}",            HTTP_HANDLER_WHEP,          V(POST) | V(OPTIONS),                HTTP_PUBLIC,   true,  HTTP_SDP_MAX,     SDP},
	{"/healthz",                        HTTP_HANDLER_HEALTHZ,       READ,                                HTTP_PUBLIC,   false, 0,                NULL},
	{"/readyz",                         HTTP_HANDLER_READYZ,        READ,                                HTTP_PUBLIC,   false, 0,                NULL},
	{"/metrics",                        HTTP_HANDLER_METRICS,       READ,                                HTTP_OPERATOR, false, 0,                NULL},
	{"/api/v1/streams",                 HTTP_HANDLER_API_STREAMS,   READ,                                HTTP_OPERATOR, false, 0,                NULL},
	{"/api/v1/sessions",                HTTP_HANDLER_API_SESSIONS,  READ,                                HTTP_OPERATOR, false, 0,                NULL},
	{"/api/v1/sessions/{session}",      HTTP_HANDLER_API_SESSION,   V(DELETE),                           HTTP_OPERATOR, false, 0,                NULL},
	{"/api/v1/workers",                 HTTP_HANDLER_API_WORKERS,   READ,                                HTTP_OPERATOR, false, 0,                NULL},
	{"/api/v1/actors",                  HTTP_HANDLER_API_ACTORS,    READ,                                HTTP_OPERATOR, false, 0,                NULL},
	{"/api/v1/live",                    HTTP_HANDLER_API_LIVE,      V(GET),                              HTTP_OPERATOR, false, 0,                NULL},
	{"/api/v1/repl",                    HTTP_HANDLER_API_REPL,      V(GET),                              HTTP_OPERATOR, false, 0,                NULL},
	{"/api/*",                          HTTP_HANDLER_ABSENT,        0,                                   HTTP_OPERATOR, false, 0,                NULL},
	{"/whip/*",                         HTTP_HANDLER_ABSENT,        0,                                   HTTP_PUBLIC,   true,  0,                NULL},
	{"/whep/*",                         HTTP_HANDLER_ABSENT,        0,                                   HTTP_PUBLIC,   true,  0,                NULL},
	{"/ws",                             HTTP_HANDLER_SIGNAL,        V(GET),                              HTTP_PUBLIC,   false, 0,                NULL},
	{"/ws/*",                           HTTP_HANDLER_ABSENT,        0,                                   HTTP_PUBLIC,   false, 0,                NULL},
	{"/{app}/{stream}.flv",             HTTP_HANDLER_FLV,           READ | V(OPTIONS),                   HTTP_PUBLIC,   true,  0,                NULL},
	{"/{app}/{stream}.m3u8",            HTTP_HANDLER_HLS,           READ | V(OPTIONS),                   HTTP_PUBLIC,   true,  0,                NULL},
	{"/millrace.js",                    HTTP_HANDLER_ASSET,         READ | V(OPTIONS),                   HTTP_PUBLIC,   true,  0,                NULL},
	{"/millrace_ws.js",                 HTTP_HANDLER_ASSET,         READ | V(OPTIONS),                   HTTP_PUBLIC,   true,  0,                NULL},
	{"/millrace.d.ts",                  HTTP_HANDLER_ASSET,         READ | V(OPTIONS),                   HTTP_PUBLIC,   true,  0,                NULL},
	{"/*",                              HTTP_HANDLER_ASSET,         READ,                                HTTP_PUBLIC,   false, 0,                NULL},
	// clang-format on
};

/* As SRS has them: with and without a slash at the end. */
static const struct http_route api_routes[] = {
	// clang-format off
	{"/api/v1/versions",   HTTP_HANDLER_SRS_VERSIONS,  READ | V(POST), HTTP_OPERATOR, false, API_BODY_MAX, NULL},
	{"/api/v1/versions/",  HTTP_HANDLER_SRS_VERSIONS,  READ | V(POST), HTTP_OPERATOR, false, API_BODY_MAX, NULL},
	{"/api/v1/streams",    HTTP_HANDLER_SRS_STREAMS,   READ,           HTTP_OPERATOR, false, 0,            NULL},
	{"/api/v1/streams/",   HTTP_HANDLER_SRS_STREAMS,   READ,           HTTP_OPERATOR, false, 0,            NULL},
	{"/api/v1/clients",    HTTP_HANDLER_SRS_CLIENTS,   READ,           HTTP_OPERATOR, false, 0,            NULL},
	{"/api/v1/clients/",   HTTP_HANDLER_SRS_CLIENTS,   READ,           HTTP_OPERATOR, false, 0,            NULL},
	{"/api/v1/summaries",  HTTP_HANDLER_SRS_SUMMARIES, READ,           HTTP_OPERATOR, false, 0,            NULL},
	{"/api/v1/summaries/", HTTP_HANDLER_SRS_SUMMARIES, READ,           HTTP_OPERATOR, false, 0,            NULL},
	// clang-format on
};

static const char bad_name[] = "app and stream are 1 to 63 of A-Z a-z 0-9 . _ - and do not begin "
			       "with a dot; app is none of "
			       "api, whip, whep, rtc, ws, metrics, healthz, readyz";
static const char bad_session[] = "a session id is 16 to 64 of A-Z a-z 0-9 _ -";

struct capture {
	struct http_text app;
	struct http_text stream;
	struct http_text session;
};

/* One segment against one of the pattern's; the captured text goes where its name says. */
static bool match_segment(struct http_text pattern, struct http_text path, struct capture *capture)
{
	const char *brace =
		pattern.size && *pattern.at == '{' ? memchr(pattern.at, '}', pattern.size) : NULL;

	if (!brace)
		return pattern.size == path.size && !memcmp(pattern.at, path.at, path.size);
	const char *suffix = brace + 1;
	size_t suffix_size = (size_t)(pattern.at + pattern.size - suffix);
	if (path.size < suffix_size ||
		memcmp(path.at + path.size - suffix_size, suffix, suffix_size) != 0)
		return false;
	struct http_text text = {path.at, path.size - suffix_size};
	switch (pattern.at[1]) {
	case 'a': capture->app = text; break;
	case 's': *(pattern.at[2] == 't' ? &capture->stream : &capture->session) = text; break;
	}
	return true;
}

static bool match_path(const char *pattern, const char *path, struct capture *capture)
{
	*capture = (struct capture){0};
	for (;;) {
		MUST(*pattern == '/');
		if (*path != '/')
			return false;
		struct http_text want = {pattern + 1, strcspn(pattern + 1, "/")};
		struct http_text have = {path + 1, strcspn(path + 1, "/")};

		if (want.size == 1 && *want.at == '*')
			return true;
		/* players for SRS put the query of their webrtc:// address there */
		if (want.size == 1 && *want.at == '&')
			return *have.at == '&';
		if (!match_segment(want, have, capture))
			return false;
		pattern = want.at + want.size;
		path = have.at + have.size;
		if (!*pattern || !*path)
			return !*pattern && !*path;
	}
}

static bool session_id_is_valid(struct http_text id)
{
	if (id.size < HTTP_SESSION_ID_MIN || id.size > HTTP_SESSION_ID_MAX)
		return false;
	for (size_t i = 0; i < id.size; i++) {
		char c = id.at[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '_' || c == '-'))
			return false;
	}
	return true;
}

static int refuse(struct http_match *match, int status, const char *text)
{
	match->status = status;
	match->text = text;
	return status;
}

static int keep_captures(const struct capture *capture, struct http_match *match)
{
	if (capture->app.at && (!name_app_is_valid(capture->app.at, capture->app.size) ||
				       !name_is_valid(capture->stream.at, capture->stream.size)))
		return refuse(match, 400, bad_name);
	if (capture->session.at && !session_id_is_valid(capture->session))
		return refuse(match, 400, bad_session);
	if (capture->app.at) {
		memcpy(match->name.app, capture->app.at, capture->app.size);
		memcpy(match->name.stream, capture->stream.at, capture->stream.size);
	}
	if (capture->session.at)
		memcpy(match->session, capture->session.at, capture->session.size);
	return 200;
}

static void list_verbs(uint8_t verbs, char out[HTTP_ALLOW_SIZE])
{
	size_t used = 0;

	out[0] = '\0';
	for (int verb = 0; verb < HTTP_VERB_COUNT; verb++) {
		if (verbs & 1 << verb)
			used += (size_t)snprintf(out + used, HTTP_ALLOW_SIZE - used, "%s%s",
				used ? ", " : "", http_verb_name((enum http_verb)verb));
	}
}

struct table {
	const struct http_route *rows;
	size_t count;
};

#define TABLE(routes) ((struct table){routes, sizeof(routes) / sizeof(*(routes))})

static const struct http_route *first_that_fits(
	const struct table *table, const char *path, struct capture *capture)
{
	for (size_t i = 0; i < table->count; i++)
		if (match_path(table->rows[i].pattern, path, capture))
			return &table->rows[i];
	return NULL;
}

/* Among the rows of the first table, then of the second. */
static int find(const struct table tables[2], enum http_verb verb, const char *path,
	struct http_match *match)
{
	struct capture capture;
	const struct http_route *route = first_that_fits(&tables[0], path, &capture);

	if (!route)
		route = first_that_fits(&tables[1], path, &capture);
	*match = (struct http_match){.status = 200, .text = "", .cors = route && route->cors};
	if (!route || route->handler == HTTP_HANDLER_ABSENT)
		return refuse(match, 404, "there is nothing at this path");
	if (keep_captures(&capture, match) != 200)
		return match->status;
	match->route = route;
	list_verbs(route->verbs, match->allow);
	if ((unsigned)verb >= HTTP_VERB_COUNT || !(route->verbs & 1 << verb))
		return refuse(match, 405, "this path does not take this method");
	return 200;
}

int http_route_find(enum http_verb verb, const char *path, struct http_match *match)
{
	return find((const struct table[]){TABLE(signalling_routes), TABLE(media_routes)}, verb,
		path, match);
}

int http_route_find_api(enum http_verb verb, const char *path, struct http_match *match)
{
	return find((const struct table[]){TABLE(signalling_routes), TABLE(api_routes)}, verb, path,
		match);
}

bool http_route_begins_session(const struct http_route *route)
{
	return route->handler == HTTP_HANDLER_WHIP || route->handler == HTTP_HANDLER_WHEP ||
	       (route->handler >= HTTP_HANDLER_SRS_PUBLISH && route->handler <= HTTP_HANDLER_FLV);
}

bool http_route_begins_here(const struct http_route *route)
{
	return route->handler == HTTP_HANDLER_FLV;
}

bool http_route_accepts(const struct http_route *route, const struct http_request *request)
{
	struct http_text type = request->headers[HTTP_HEADER_CONTENT_TYPE];

	if (!route->accepts ||
		(request->verb != HTTP_VERB_POST && request->verb != HTTP_VERB_PATCH))
		return true;
	/* one type, not a list: a comma in it is part of a wrong one */
	return type.at && !memchr(type.at, ',', type.size) && http_text_has(type, route->accepts);
}

size_t http_cors_fields(const struct http_match *match, struct http_field *out)
{
	if (!match->cors)
		return 0;
	/* no cookies here: what a caller may do depends on its token alone, so any origin may */
	out[0] = (struct http_field){"Access-Control-Allow-Origin", "*"};
	out[1] = (struct http_field){"Access-Control-Expose-Headers",
		"Location, ETag, Link, Retry-After, Millrace-Resume, Millrace-Reconnect, "
		"Millrace-Sent"};
	return 2;
}

size_t http_options_fields(const struct http_match *match, struct http_field *out)
{
	const struct http_route *route = match->route;
	size_t count = http_cors_fields(match, out);

	out[count++] = (struct http_field){"Allow", match->allow};
	if (!route)
		return count;
	if (match->cors) {
		out[count++] = (struct http_field){"Access-Control-Allow-Methods", match->allow};
		out[count++] = (struct http_field){"Access-Control-Allow-Headers",
			"Authorization, Content-Type, If-Match, Millrace-Resume"};
		out[count++] = (struct http_field){"Access-Control-Max-Age", "86400"};
	}
	if (route->accepts && route->verbs & V(POST))
		out[count++] = (struct http_field){"Accept-Post", route->accepts};
	if (route->accepts && route->verbs & V(PATCH))
		out[count++] = (struct http_field){"Accept-Patch", route->accepts};
	return count;
}

struct http_text http_bearer(const struct http_request *request)
{
	struct http_text text = request->headers[HTTP_HEADER_AUTHORIZATION];

	if (!text.at || text.size < 8 || strncasecmp(text.at, "Bearer ", 7) != 0)
		return (struct http_text){0};
	text.at += 7;
	text.size -= 7;
	while (text.size && *text.at == ' ')
		text.at++, text.size--;
	return text.size ? text : (struct http_text){0};
}

/* The host of a "host[:port]". */
static struct http_text without_port(struct http_text host)
{
	const char *end =
		host.size ? memchr(host.at, host.at[0] == '[' ? ']' : ':', host.size) : NULL;

	if (host.size && host.at[0] == '[') {
		host.at++, host.size--;
		return (struct http_text){host.at, end ? (size_t)(end - host.at) : host.size};
	}
	return (struct http_text){host.at, end ? (size_t)(end - host.at) : host.size};
}

static bool host_is_ours(struct http_text host_and_port, const char *own_host)
{
	struct http_text host = without_port(host_and_port);
	struct net_addr addr;
	char text[64];

	if (!host.size || http_text_is(host, "localhost") ||
		(own_host && *own_host && http_text_is(host, own_host)))
		return true;
	if (host.size >= sizeof(text))
		return false;
	memcpy(text, host.at, host.size);
	text[host.size] = '\0';
	return net_addr_parse(text, &addr) == ERR_OK;
}

/* Did the page that sent this come from the host it is sent to? */
static bool origin_is_ours(const struct http_request *request)
{
	struct http_text origin = request->headers[HTTP_HEADER_ORIGIN];
	struct http_text site = request->headers[HTTP_HEADER_SEC_FETCH_SITE];

	if (http_text_is(site, "cross-site") || http_text_is(site, "same-site"))
		return false;
	if (!origin.at)
		return true;
	const char *slashes = origin.size > 3 ? memmem(origin.at, origin.size, "://", 3) : NULL;
	if (!slashes)
		return false; /* "null": a sandboxed frame or a file */
	slashes += 3;
	size_t size = (size_t)(origin.at + origin.size - slashes);
	return size == request->host.size && !strncasecmp(slashes, request->host.at, size);
}

enum { TOKEN_BASE64_SIZE = (HTTP_ADMIN_TOKEN_MAX + 2) / 3 * 4 + 1 };

/* RFC 4648 5, without padding. Returns the length; 0 = too long. */
static size_t to_base64url(const char *text, size_t size, char out[TOKEN_BASE64_SIZE])
{
	int length;

	if (size > HTTP_ADMIN_TOKEN_MAX)
		return 0;
	length = EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)size);
	for (int i = 0; i < length; i++)
		out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
	while (length && out[length - 1] == '=')
		length--;
	return (size_t)length;
}

/* What follows "bearer." among the protocols that a WebSocket offers. */
static struct http_text offered_bearer(const struct http_request *request)
{
	static const char name[] = "bearer.";
	struct http_text list = request->headers[HTTP_HEADER_SEC_WEBSOCKET_PROTOCOL];
	const char *end = list.at + list.size;

	for (const char *at = list.at; request->upgrade && at && at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma ? comma : end;

		while (at < stop && (*at == ' ' || *at == '\t'))
			at++;
		while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		if ((size_t)(stop - at) >= sizeof(name) - 1 && !memcmp(at, name, sizeof(name) - 1))
			return (struct http_text){
				at + sizeof(name) - 1, (size_t)(stop - at) - (sizeof(name) - 1)};
		at = comma ? comma + 1 : end;
	}
	return (struct http_text){0};
}

static int check_token(const struct http_request *request, const char *token, const char **why)
{
	struct http_text given = http_bearer(request);
	char encoded[TOKEN_BASE64_SIZE];
	size_t size = strlen(token);

	*why = "the operator's token is needed (Authorization: Bearer)";
	if (!given.at) {
		given = offered_bearer(request);
		size = to_base64url(token, size, encoded);
		token = encoded;
	}
	if (!given.at)
		return 401;
	*why = "this is not the operator's token";
	return size && given.size == size && token_equal(given.at, token, size) ? 200 : 401;
}

int http_access_check(const struct http_request *request, const struct net_addr *peer,
	const struct http_operator *rules, const char **why)
{
	bool reads = request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD ||
		     request->verb == HTTP_VERB_OPTIONS;

	*why = "";
	if (rules->admin_token && *rules->admin_token)
		return check_token(request, rules->admin_token, why);
	if (!net_addr_is_loopback(peer) || request->headers[HTTP_HEADER_X_FORWARDED_FOR].at ||
		request->headers[HTTP_HEADER_FORWARDED].at) {
		*why = "operators call from this host itself, unless admin_token is configured";
		return 403;
	}
	if (!host_is_ours(request->host, rules->own_host)) {
		*why = "call this by localhost, by address or by the name in --public-url";
		return 403;
	}
	if ((!reads || request->upgrade) && !origin_is_ours(request)) {
		*why = "a page of another origin may not do this";
		return 403;
	}
	return 200;
}

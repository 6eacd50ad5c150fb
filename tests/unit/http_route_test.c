/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/http_route.h"
#include "tests/test.h"

#define ID	       "AAAAAAAAAAAAAAAAAAAAAA"
#define UPGRADE	       "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define PROTOCOL(list) "Sec-WebSocket-Protocol: " list "\r\n"
#define LONG	       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 63 */

TEST(paths_find_their_rows)
{
	static const struct {
		enum http_verb verb;
		const char *path;
		int status;
		enum http_handler handler;
		const char *app, *stream, *session;
	} rows[] = {
	// clang-format off
		{HTTP_VERB_POST, "/whip/live/demo", 200, HTTP_HANDLER_WHIP, "live", "demo", ""},
		{HTTP_VERB_OPTIONS, "/whep/live/demo", 200, HTTP_HANDLER_WHEP, "live", "demo", ""},
		{HTTP_VERB_PATCH, "/whip/live/demo/" ID, 200, HTTP_HANDLER_WHIP_SESSION, "live",
			"demo", ID},
		{HTTP_VERB_DELETE, "/whep/live/demo/" ID, 200, HTTP_HANDLER_WHEP_SESSION, "live",
			"demo", ID},
		{HTTP_VERB_POST, "/whip/" LONG "/" LONG, 200, HTTP_HANDLER_WHIP, LONG, LONG, ""},
		{HTTP_VERB_GET, "/live/demo.flv", 200, HTTP_HANDLER_FLV, "live", "demo", ""},
		{HTTP_VERB_HEAD, "/live/demo.v2.flv", 200, HTTP_HANDLER_FLV, "live", "demo.v2", ""},
		{HTTP_VERB_GET, "/live/demo.m3u8", 200, HTTP_HANDLER_HLS, "live", "demo", ""},
		{HTTP_VERB_GET, "/healthz", 200, HTTP_HANDLER_HEALTHZ, "", "", ""},
		{HTTP_VERB_GET, "/readyz", 200, HTTP_HANDLER_READYZ, "", "", ""},
		{HTTP_VERB_GET, "/metrics", 200, HTTP_HANDLER_METRICS, "", "", ""},
		{HTTP_VERB_GET, "/api/v1/streams", 200, HTTP_HANDLER_API_STREAMS, "", "", ""},
		{HTTP_VERB_GET, "/api/v1/sessions", 200, HTTP_HANDLER_API_SESSIONS, "", "", ""},
		{HTTP_VERB_DELETE, "/api/v1/sessions/" ID, 200, HTTP_HANDLER_API_SESSION, "", "",
			ID},
		{HTTP_VERB_GET, "/api/v1/workers", 200, HTTP_HANDLER_API_WORKERS, "", "", ""},
		{HTTP_VERB_GET, "/api/v1/actors", 200, HTTP_HANDLER_API_ACTORS, "", "", ""},
		{HTTP_VERB_GET, "/api/v1/live", 200, HTTP_HANDLER_API_LIVE, "", "", ""},
		{HTTP_VERB_GET, "/api/v1/repl", 200, HTTP_HANDLER_API_REPL, "", "", ""},
		{HTTP_VERB_POST, "/api/v1/live", 405, HTTP_HANDLER_API_LIVE, "", "", ""},
		{HTTP_VERB_GET, "/", 200, HTTP_HANDLER_ASSET, "", "", ""},
		{HTTP_VERB_GET, "/app.js", 200, HTTP_HANDLER_ASSET, "", "", ""},
		{HTTP_VERB_GET, "/millrace.js", 200, HTTP_HANDLER_ASSET, "", "", ""},
		{HTTP_VERB_GET, "/a/b/c", 200, HTTP_HANDLER_ASSET, "", "", ""},
		/* wrong method */
		{HTTP_VERB_GET, "/whip/live/demo", 405, HTTP_HANDLER_WHIP, "live", "demo", ""},
		{HTTP_VERB_POST, "/whip/live/demo/" ID, 405, HTTP_HANDLER_WHIP_SESSION, "live",
			"demo", ID},
		{HTTP_VERB_POST, "/live/demo.flv", 405, HTTP_HANDLER_FLV, "live", "demo", ""},
		{HTTP_VERB_DELETE, "/", 405, HTTP_HANDLER_ASSET, "", "", ""},
		{(enum http_verb)99, "/", 405, HTTP_HANDLER_ASSET, "", "", ""},
		/* wrong names */
		{HTTP_VERB_POST, "/whip/.live/demo", 400, 0, "", "", ""},
		{HTTP_VERB_POST, "/whip/live/de mo", 400, 0, "", "", ""},
		{HTTP_VERB_POST, "/whip/api/demo", 400, 0, "", "", ""},
		{HTTP_VERB_POST, "/whip/live/", 400, 0, "", "", ""},
		{HTTP_VERB_POST, "/whip//demo", 400, 0, "", "", ""},
		{HTTP_VERB_POST, "/whip/a" LONG "/demo", 400, 0, "", "", ""},
		{HTTP_VERB_GET, "/live/.flv", 400, 0, "", "", ""},
		{HTTP_VERB_GET, "/metrics/demo.flv", 400, 0, "", "", ""},
		{HTTP_VERB_PATCH, "/whip/live/demo/short", 400, 0, "", "", ""},
		{HTTP_VERB_PATCH, "/whip/live/demo/AAAAAAAAAAAAAAAA.AAAAA", 400, 0, "", "", ""},
		{HTTP_VERB_DELETE, "/api/v1/sessions/a", 400, 0, "", "", ""},
		/* nothing there */
		{HTTP_VERB_POST, "/whip/live", 404, 0, "", "", ""},
		{HTTP_VERB_POST, "/whip/live/demo/" ID "/x", 404, 0, "", "", ""},
		{HTTP_VERB_GET, "/api/v2/streams", 404, 0, "", "", ""},
		{HTTP_VERB_GET, "/api/v1/streams/x", 404, 0, "", "", ""},
		{HTTP_VERB_POST, "/rtc/v1/nack/", 404, 0, "", "", ""},
		{HTTP_VERB_OPTIONS, "*", 404, 0, "", "", ""},
		{HTTP_VERB_GET, "", 404, 0, "", "", ""},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_match match;
		int status = http_route_find(rows[i].verb, rows[i].path, &match);

		if (status != rows[i].status)
			print_error("row %zu %s: %d\n", i, rows[i].path, status);
		CHECK_EQ(status, rows[i].status);
		CHECK_EQ(match.status, status);
		CHECK_STR(match.name.app, rows[i].app);
		CHECK_STR(match.name.stream, rows[i].stream);
		CHECK_STR(match.session, rows[i].session);
		if (status == 200 || status == 405)
			CHECK_EQ(match.route->handler, rows[i].handler);
		else
			CHECK(!match.route);
	}
}

TEST(the_api_port_has_its_own_few_paths)
{
	static const struct {
		enum http_verb verb;
		const char *path;
		int status;
		enum http_handler handler;
	} rows[] = {
	// clang-format off
		{HTTP_VERB_GET,    "/api/v1/versions",   200, HTTP_HANDLER_SRS_VERSIONS},
		{HTTP_VERB_POST,   "/api/v1/versions/",  200, HTTP_HANDLER_SRS_VERSIONS},
		{HTTP_VERB_GET,    "/api/v1/streams",    200, HTTP_HANDLER_SRS_STREAMS},
		{HTTP_VERB_HEAD,   "/api/v1/streams/",   200, HTTP_HANDLER_SRS_STREAMS},
		{HTTP_VERB_GET,    "/api/v1/clients/",   200, HTTP_HANDLER_SRS_CLIENTS},
		{HTTP_VERB_GET,    "/api/v1/summaries",  200, HTTP_HANDLER_SRS_SUMMARIES},
		{HTTP_VERB_POST,   "/api/v1/streams/",   405, HTTP_HANDLER_SRS_STREAMS},
		{HTTP_VERB_DELETE, "/api/v1/clients/",   405, HTTP_HANDLER_SRS_CLIENTS},
		{HTTP_VERB_GET,    "/api/v1/streams/1",  404, 0},
		{HTTP_VERB_GET,    "/api/v1/sessions",   404, 0},
		{HTTP_VERB_POST,   "/whip/live/demo",    404, 0},
		{HTTP_VERB_GET,    "/live/demo.flv",     404, 0},
		{HTTP_VERB_GET,    "/",                  404, 0},
		{HTTP_VERB_GET,    "",                   404, 0},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_match match;

		CHECK_EQ(http_route_find_api(rows[i].verb, rows[i].path, &match), rows[i].status);
		if (rows[i].status == 404) {
			CHECK(!match.route);
			continue;
		}
		CHECK_EQ(match.route->handler, rows[i].handler);
		CHECK_EQ(match.route->access, HTTP_OPERATOR);
		CHECK(!http_route_begins_session(match.route));
	}
}

/* SRS' SDKs ask at its API's port; a session made there can be ended there. */
TEST(both_ports_signal)
{
	static const struct {
		enum http_verb verb;
		const char *path;
		int status;
		enum http_handler handler;
	} rows[] = {
	// clang-format off
		{HTTP_VERB_POST,    "/rtc/v1/publish",        200, HTTP_HANDLER_SRS_PUBLISH},
		{HTTP_VERB_POST,    "/rtc/v1/publish/",       200, HTTP_HANDLER_SRS_PUBLISH},
		{HTTP_VERB_POST,    "/rtc/v1/play/",          200, HTTP_HANDLER_SRS_PLAY},
		{HTTP_VERB_OPTIONS, "/rtc/v1/play/",          200, HTTP_HANDLER_SRS_PLAY},
		{HTTP_VERB_POST,    "/rtc/v1/play/&wait=1",   200, HTTP_HANDLER_SRS_PLAY},
		{HTTP_VERB_OPTIONS, "/rtc/v1/publish/&a=/&b", 200, HTTP_HANDLER_SRS_PUBLISH},
		{HTTP_VERB_POST,    "/rtc/v1/play/wait",      404, 0},
		{HTTP_VERB_POST,    "/rtc/v1/whep/",          200, HTTP_HANDLER_SRS_WHEP},
		{HTTP_VERB_POST,    "/rtc/v1/whip-play",      200, HTTP_HANDLER_SRS_WHEP},
		{HTTP_VERB_POST,    "/rtc/v1/whip-play/",     200, HTTP_HANDLER_SRS_WHEP},
		{HTTP_VERB_GET,     "/rtc/v1/whip-play/",     405, HTTP_HANDLER_SRS_WHEP},
		{HTTP_VERB_POST,    "/rtc/v1/play&wait=1",    404, 0},
		{HTTP_VERB_POST,    "/rtc/v1/whip/",          200, HTTP_HANDLER_SRS_WHIP},
		{HTTP_VERB_POST,    "/rtc/v1/whep",           200, HTTP_HANDLER_SRS_WHEP},
		{HTTP_VERB_DELETE,  "/whip/live/demo/" ID,    200, HTTP_HANDLER_WHIP_SESSION},
		{HTTP_VERB_PATCH,   "/whep/live/demo/" ID,    200, HTTP_HANDLER_WHEP_SESSION},
		{HTTP_VERB_GET,     "/rtc/v1/play/",          405, HTTP_HANDLER_SRS_PLAY},
		{HTTP_VERB_POST,    "/whip/live/demo/" ID,    405, HTTP_HANDLER_WHIP_SESSION},
		{HTTP_VERB_DELETE,  "/whep/live/demo/short",  400, 0},
		{HTTP_VERB_POST,    "/rtc/v1/",               404, 0},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_match at_http, at_api;

		CHECK_EQ(http_route_find(rows[i].verb, rows[i].path, &at_http), rows[i].status);
		CHECK_EQ(http_route_find_api(rows[i].verb, rows[i].path, &at_api), rows[i].status);
		CHECK(at_http.route == at_api.route && at_http.cors && at_api.cors);
		if (at_api.route) {
			CHECK_EQ(at_api.route->handler, rows[i].handler);
			CHECK_EQ(at_api.route->access, HTTP_PUBLIC);
		}
	}
}

static const char *field(const struct http_field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(fields[i].name, name))
			return fields[i].value;
	}
	return "-";
}

TEST(options_say_what_is_possible)
{
	static const struct {
		const char *path, *allow, *origin, *post, *patch;
	} rows[] = {
	// clang-format off
		{"/whip/live/demo", "POST, OPTIONS", "*", "application/sdp", "-"},
		{"/whep/live/demo/" ID, "PATCH, DELETE, OPTIONS", "*", "-",
			"application/trickle-ice-sdpfrag"},
		{"/live/demo.flv", "GET, HEAD, OPTIONS", "*", "-", "-"},
		{"/api/v1/streams", "GET, HEAD", "-", "-", "-"},
		{"/api/v1/sessions/" ID, "DELETE", "-", "-", "-"},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_field fields[HTTP_OPTIONS_FIELDS_MAX];
		struct http_match match;

		http_route_find(HTTP_VERB_OPTIONS, rows[i].path, &match);
		size_t count = http_options_fields(&match, fields);
		CHECK_LE(count, HTTP_OPTIONS_FIELDS_MAX);
		CHECK_STR(field(fields, count, "Allow"), rows[i].allow);
		CHECK_STR(field(fields, count, "Access-Control-Allow-Origin"), rows[i].origin);
		CHECK_STR(field(fields, count, "Accept-Post"), rows[i].post);
		CHECK_STR(field(fields, count, "Accept-Patch"), rows[i].patch);
		CHECK_STR(field(fields, count, "Access-Control-Allow-Methods"),
			rows[i].origin[0] == '*' ? rows[i].allow : "-");
	}
}

TEST(errors_can_be_read_by_other_origins_too)
{
	static const struct {
		const char *path;
		size_t fields;
	} rows[] = {
		{"/whip/live/demo",	    2},
		{"/whip/api/demo",	   2},
		       {"/whip/x",		   2},
		{"/whep/live/demo/" ID, 2},
		    {"/live/demo.flv",      2},
		   {"/api/v1/streams",     0},
		{"/api/x",		   0},
		       {"/",		     0},
		 {"",		      0}
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_field fields[HTTP_CORS_FIELDS_MAX];
		struct http_match match;

		http_route_find(HTTP_VERB_PUT, rows[i].path, &match);
		CHECK_EQ(http_cors_fields(&match, fields), rows[i].fields);
	}
}

static void request_of(const char *head, struct http_request *request)
{
	CHECK_OK(http_head_parse(head, strlen(head), request));
}

TEST(bodies_have_the_right_type)
{
	static const struct {
		const char *verb, *path, *type;
		bool accepted;
	} rows[] = {
	// clang-format off
		{"POST", "/whip/a/b", "application/sdp", true},
		{"POST", "/whip/a/b", "Application/SDP; charset=utf-8", true},
		{"POST", "/whip/a/b", "text/plain", false},
		{"POST", "/whip/a/b", "text/plain, application/sdp", false},
		{"POST", "/whip/a/b", "", false},
		{"PATCH", "/whip/a/b/" ID, "application/trickle-ice-sdpfrag", true},
		{"PATCH", "/whip/a/b/" ID, "application/sdp", false},
		{"DELETE", "/whip/a/b/" ID, "", true},
		{"GET", "/", "", true},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_request request;
		struct http_match match;
		char head[256];

		snprintf(head, sizeof(head),
			"%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\n\r\n", rows[i].verb,
			rows[i].path, rows[i].type);
		request_of(head, &request);
		CHECK_EQ(http_route_find(request.verb, request.path, &match), 200);
		CHECK_EQ(http_route_accepts(match.route, &request), rows[i].accepted);
	}
}

TEST(operators_are_known)
{
	static const struct {
		const char *head, *peer, *token;
		int status;
	} rows[] = {
	// clang-format off
		/* no token: this host only, and no page that only pretends to be it */
		{"GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", "127.0.0.1", NULL, 200},
		{"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n", "127.0.0.1", "", 200},
		{"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "::1", NULL, 200},
		{"GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", "127.9.9.9", NULL, 200},
		{"GET / HTTP/1.1\r\nHost: node.example:80\r\n\r\n", "127.0.0.1", NULL, 200},
		{"GET / HTTP/1.0\r\n\r\n", "127.0.0.1", NULL, 200},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "10.0.0.1", NULL, 403},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "2001:db8::1", NULL, 403},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
			"127.0.0.1", NULL, 403},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For:\r\n\r\n", "127.0.0.1", NULL,
			403},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nForwarded: for=1\r\n\r\n", "127.0.0.1", NULL,
			403},
		{"GET / HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n", "127.0.0.1", NULL, 403},
		{"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "127.0.0.1", NULL,
			403},
		/* changing something: no foreign page */
		{"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "127.0.0.1", NULL, 200},
		{"DELETE / HTTP/1.1\r\nHost: localhost:80\r\nOrigin: http://localhost:80\r\n\r\n",
			"127.0.0.1", NULL, 200},
		{"DELETE / HTTP/1.1\r\nHost: localhost:80\r\nOrigin: http://localhost:81\r\n\r\n",
			"127.0.0.1", NULL, 403},
		{"DELETE / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n", "127.0.0.1",
			NULL, 403},
		{"DELETE / HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", "127.0.0.1", NULL,
			403},
		{"DELETE / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n",
			"127.0.0.1", NULL, 403},
		/* WebSocket: no CORS guards it, so no foreign page either */
		{"GET / HTTP/1.1\r\nHost: localhost\r\n" UPGRADE "\r\n", "127.0.0.1", NULL, 200},
		{"GET / HTTP/1.1\r\nHost: localhost:80\r\nOrigin: http://localhost:80\r\n" UPGRADE
			"\r\n", "127.0.0.1", NULL, 200},
		{"GET / HTTP/1.1\r\nHost: localhost:80\r\nOrigin: http://evil\r\n" UPGRADE
			"\r\n", "127.0.0.1", NULL, 403},
		/* … and its token may be a protocol */
		{"GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE PROTOCOL("millrace, bearer.czNjcmV0")
			"\r\n", "10.0.0.1", "s3cret", 200},
		{"GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE PROTOCOL("bearer.czNjcmV0 ,millrace")
			"\r\n", "10.0.0.1", "s3cret", 200},
		{"GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE PROTOCOL("bearer.Pz8_fn5-")
			"\r\n", "10.0.0.1", "???~~~", 200},
		{"GET / HTTP/1.1\r\nHost: x\r\n" PROTOCOL("millrace, bearer.czNjcmV0")
			"\r\n", "10.0.0.1", "s3cret", 401},
		{"GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE PROTOCOL("millrace, bearer.czNjcmVU")
			"\r\n", "10.0.0.1", "s3cret", 401},
		{"GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE PROTOCOL("millrace, bearer.s3cret")
			"\r\n", "10.0.0.1", "s3cret", 401},
		{"GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE PROTOCOL("bearer.") "\r\n", "10.0.0.1",
			"s3cret", 401},
		{"GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE PROTOCOL(",,") "\r\n", "10.0.0.1",
			"s3cret", 401},
		/* token: from anywhere, and needed on this host too */
		{"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n\r\n", "10.0.0.1",
			"s3cret", 200},
		{"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: bearer  s3cret\r\n\r\n", "10.0.0.1",
			"s3cret", 200},
		{"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cre\r\n\r\n", "10.0.0.1",
			"s3cret", 401},
		{"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3creT\r\n\r\n", "10.0.0.1",
			"s3cret", 401},
		{"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic s3cret\r\n\r\n", "10.0.0.1",
			"s3cret", 401},
		{"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n\r\n", "10.0.0.1", "s3cret",
			401},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "127.0.0.1", "s3cret", 401},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_operator rules = {rows[i].token, "node.example"};
		struct http_request request;
		struct net_addr peer;
		const char *why;

		request_of(rows[i].head, &request);
		CHECK_OK(net_addr_parse(rows[i].peer, &peer));
		int status = http_access_check(&request, &peer, &rules, &why);
		if (status != rows[i].status)
			print_error("row %zu: %d %s\n", i, status, why);
		CHECK_EQ(status, rows[i].status);
		CHECK_EQ(*why != '\0' || status == 200, true);
	}
}

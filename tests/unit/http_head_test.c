/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/http_head.h"
#include "tests/test.h"

static enum http_fault parse(const char *text, struct http_request *out)
{
	return http_head_parse(text, strlen(text), out);
}

#define HOST "Host: a\r\n\r\n"

/* {head, fault, decoded path} */
static const struct {
	const char *head;
	enum http_fault fault;
	const char *path;
} head_rows[] = {
	// clang-format off
	/* request line and target, RFC 9112 3 */
	{"GET / HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "/"},
	{"GET /live/demo.flv?token=a%20b HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "/live/demo.flv"},
	{"GET /%6cive HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "/live"},
	{"GET /a/...b HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "/a/...b"},
	{"GET http://h:80/x?y HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "/x"},
	{"GET http://h HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "/"},
	{"GET http://h?q HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "/"},
	{"OPTIONS * HTTP/1.1\r\n" HOST, HTTP_FAULT_NONE, "*"},
	{"GET / HTTP/1.0\r\n\r\n", HTTP_FAULT_NONE, "/"},
	{"GET * HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET x HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET http://u:p@h/ HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET http:/// HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /a#b HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /../etc HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /a/%2e%2E/b HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /a/. HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /a%2Fb HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /a%00b HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /a%4 HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /a%zz HTTP/1.1\r\n" HOST, HTTP_FAULT_TARGET, ""},
	{"GET /\xc3\xa4 HTTP/1.1\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET  / HTTP/1.1\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET /  HTTP/1.1\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET\t/ HTTP/1.1\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{" GET / HTTP/1.1\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET / \r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET /\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET / http/1.1\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET / HTTP/1.10\r\n" HOST, HTTP_FAULT_REQUEST_LINE, ""},
	{"GET / HTTP/2.0\r\n" HOST, HTTP_FAULT_VERSION, ""},
	{"PRI * HTTP/2.0\r\n\r\n", HTTP_FAULT_VERSION, ""},
	{"BREW / HTTP/1.1\r\n" HOST, HTTP_FAULT_METHOD, ""},
	{"get / HTTP/1.1\r\n" HOST, HTTP_FAULT_METHOD, ""},
	{"CONNECT a:1 HTTP/1.1\r\n" HOST, HTTP_FAULT_METHOD, ""},
	{"TRACE / HTTP/1.1\r\n" HOST, HTTP_FAULT_METHOD, ""},
	/* lines and headers, RFC 9112 2.2 and 5 */
	{"GET / HTTP/1.1\n" HOST, HTTP_FAULT_LINE_END, ""},
	{"GET / HTTP/1.1\r\nA: b\n" HOST, HTTP_FAULT_LINE_END, ""},
	{"GET / HTTP/1.1\r\nA: b\rc\r\n" HOST, HTTP_FAULT_LINE_END, ""},
	{"GET / HTTP/1.1\r\nA: b\r\n c\r\n" HOST, HTTP_FAULT_FOLD, ""},
	{"GET / HTTP/1.1\r\n A: b\r\n" HOST, HTTP_FAULT_FOLD, ""},
	{"GET / HTTP/1.1\r\nA : b\r\n" HOST, HTTP_FAULT_HEADER, ""},
	{"GET / HTTP/1.1\r\nA b: c\r\n" HOST, HTTP_FAULT_HEADER, ""},
	{"GET / HTTP/1.1\r\n: b\r\n" HOST, HTTP_FAULT_HEADER, ""},
	{"GET / HTTP/1.1\r\nno colon\r\n" HOST, HTTP_FAULT_HEADER, ""},
	{"GET / HTTP/1.1\r\nnocolon\r\n" HOST, HTTP_FAULT_HEADER, ""},
	{"GET / HTTP/1.1\r\nA: b\x01\r\n" HOST, HTTP_FAULT_CONTROL, ""},
	{"GET / HTTP/1.1\r\nA: b\x7f\r\n" HOST, HTTP_FAULT_CONTROL, ""},
	{"GET / HTTP/1.1\r\nA:\r\n" HOST, HTTP_FAULT_NONE, "/"},
	{"GET / HTTP/1.1\r\nA: \xc3\xa4\tb\r\n" HOST, HTTP_FAULT_NONE, "/"},
	/* Host, RFC 9112 3.2 */
	{"GET / HTTP/1.1\r\n\r\n", HTTP_FAULT_HOST, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\n" HOST, HTTP_FAULT_HOST, ""},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HTTP_FAULT_HOST, ""},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HTTP_FAULT_HOST, ""},
	{"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", HTTP_FAULT_NONE, "/"},
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", HTTP_FAULT_NONE, "/"},
	/* framing, RFC 9112 6 */
	{"POST / HTTP/1.1\r\nContent-Length: 5\r\n" HOST, HTTP_FAULT_NONE, "/"},
	{"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n" HOST, HTTP_FAULT_NONE, "/"},
	{"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" HOST,
		HTTP_FAULT_LENGTH_AND_CHUNKED, ""},
	{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n" HOST,
		HTTP_FAULT_LENGTH_AND_CHUNKED, ""},
	{"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n" HOST, HTTP_FAULT_REPEATED,
		""},
	{"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n" HOST, HTTP_FAULT_LENGTH, ""},
	{"POST / HTTP/1.1\r\nContent-Length: +5\r\n" HOST, HTTP_FAULT_LENGTH, ""},
	{"POST / HTTP/1.1\r\nContent-Length: -1\r\n" HOST, HTTP_FAULT_LENGTH, ""},
	{"POST / HTTP/1.1\r\nContent-Length: 0x5\r\n" HOST, HTTP_FAULT_LENGTH, ""},
	{"POST / HTTP/1.1\r\nContent-Length:\r\n" HOST, HTTP_FAULT_LENGTH, ""},
	{"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n" HOST, HTTP_FAULT_LENGTH,
		""},
	{"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n" HOST, HTTP_FAULT_CODING, ""},
	{"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" HOST, HTTP_FAULT_CODING, ""},
	{"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n" HOST, HTTP_FAULT_CODING, ""},
	{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n" HOST,
		HTTP_FAULT_REPEATED, ""},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_FAULT_CODING, ""},
	{"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 200-ok\r\n" HOST, HTTP_FAULT_EXPECT, ""},
	{"GET / HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n" HOST, HTTP_FAULT_REPEATED,
		""},
	// clang-format on
};

TEST(heads_are_taken_or_refused)
{
	for (size_t i = 0; i < sizeof(head_rows) / sizeof(*head_rows); i++) {
		struct http_request request;
		enum http_fault fault = parse(head_rows[i].head, &request);

		if (fault != head_rows[i].fault || strcmp(request.path, head_rows[i].path))
			print_error("row %zu: %s: fault %d path %s\n", i, head_rows[i].head, fault,
				request.path);
		CHECK_EQ(fault, head_rows[i].fault);
		CHECK_STR(request.path, head_rows[i].path);
	}
}

TEST(nothing_of_a_cut_head_is_taken_for_a_request)
{
	const char *head = "POST /whip/live/demo?a=b HTTP/1.1\r\nContent-Length: 5\r\n" HOST;
	size_t size = strlen(head);

	for (size_t cut = 0; cut < size; cut++) {
		struct http_request request;
		char copy[128];

		memcpy(copy, head, cut);
		CHECK_EQ(http_head_find(copy, 0, cut), 0);
		CHECK(http_head_parse(copy, cut, &request) != HTTP_FAULT_NONE);
		for (size_t from = 0; from <= cut; from++)
			CHECK_EQ(http_head_find(head, from, size), size);
	}
}

TEST(headers_are_found_and_the_others_counted)
{
	struct http_request request;

	CHECK_OK(parse("POST /whip/live/demo?token=x&wait=1 HTTP/1.1\r\n"
		       "hOST: node.example:8080\r\n"
		       "Content-Type:  application/sdp \r\n"
		       "X-One: 1\r\nX-Two: 2\r\n"
		       "If-Match: \"abc\"\r\n"
		       "Expect: 100-continue\r\n"
		       "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
		       "Content-Length: 12\r\n\r\n",
		&request));
	CHECK_EQ(request.verb, HTTP_VERB_POST);
	CHECK_EQ(request.minor, 1);
	CHECK_EQ(request.content_length, 12);
	CHECK_EQ(request.headers_skipped, 3); /* X-One, X-Two, Connection */
	CHECK(request.keep_alive && request.upgrade && request.expect_continue && !request.chunked);
	CHECK(http_text_is(request.headers[HTTP_HEADER_CONTENT_TYPE], "application/sdp"));
	CHECK(http_text_is(request.headers[HTTP_HEADER_IF_MATCH], "\"abc\""));
	CHECK(http_text_is(request.host, "node.example:8080"));
	CHECK(http_text_is(request.query, "token=x&wait=1"));
	CHECK(!request.headers[HTTP_HEADER_ORIGIN].at);

	CHECK_OK(parse("GET http://real:1/x?q HTTP/1.1\r\n" HOST, &request));
	CHECK(http_text_is(request.host, "real:1"));
	CHECK(http_text_is(request.query, "q"));
}

TEST(lists_are_searched_item_by_item)
{
	static const struct {
		const char *list, *item;
		bool has;
	} rows[] = {
	// clang-format off
		{"gzip, br", "gzip", true},
		{"br ;q=1.0 , gzip;q=0.5", "gzip", true},
		{"xgzip", "gzip", false},
		{"gzipx,br", "gzip", false},
		{"", "gzip", false},
		{",,gzip", "gzip", true},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http_text list = {rows[i].list, strlen(rows[i].list)};

		CHECK_EQ(http_text_has(list, rows[i].item), rows[i].has);
	}
	CHECK(!http_text_has((struct http_text){0}, "gzip"));
}

TEST(sizes_are_bounded)
{
	static char head[HTTP_HEAD_MAX * 2];
	struct http_request request;
	size_t size;

	/* a target one too long, and one that just fits but whose path does not */
	size = (size_t)sprintf(head, "GET /?%*s HTTP/1.1\r\n" HOST, HTTP_TARGET_MAX - 1, "x");
	memset(head + 6, 'x', HTTP_TARGET_MAX - 1);
	CHECK_EQ(http_head_parse(head, size, &request), HTTP_FAULT_TARGET_SIZE);
	size = (size_t)sprintf(head, "GET /%*s HTTP/1.1\r\n" HOST, HTTP_PATH_MAX, "x");
	memset(head + 5, 'x', HTTP_PATH_MAX);
	CHECK_EQ(http_head_parse(head, size, &request), HTTP_FAULT_TARGET_SIZE);
	head[5] = '?';
	CHECK_EQ(http_head_parse(head, size, &request), HTTP_FAULT_NONE);

	/* too many lines */
	size = (size_t)sprintf(head, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < HTTP_HEADERS_MAX + 1; i++)
		size += (size_t)sprintf(head + size, "A: %d\r\n", i);
	size += (size_t)sprintf(head + size, HOST);
	CHECK_EQ(http_head_parse(head, size, &request), HTTP_FAULT_HEAD_SIZE);

	/* what is already known of a head that has not ended */
	memset(head, 'x', sizeof(head));
	CHECK_EQ(http_head_check_partial(head, 100), HTTP_FAULT_NONE);
	CHECK_EQ(http_head_check_partial(head, HTTP_TARGET_MAX + 18), HTTP_FAULT_TARGET_SIZE);
	memcpy(head + 100, "\r\n", 2);
	CHECK_EQ(http_head_check_partial(head, HTTP_HEAD_MAX - 1), HTTP_FAULT_NONE);
	CHECK_EQ(http_head_check_partial(head, HTTP_HEAD_MAX), HTTP_FAULT_HEAD_SIZE);
	head[100] = 'x';
	CHECK_EQ(http_head_check_partial(head, 102), HTTP_FAULT_LINE_END);
}

TEST(tables_answer_out_of_range)
{
	CHECK_EQ(http_fault_status(HTTP_FAULT_TARGET_SIZE), 414);
	CHECK_EQ(http_fault_status((enum http_fault)999), 500);
	CHECK_STR(http_fault_text((enum http_fault)999), "unknown fault");
	CHECK_STR(http_verb_name((enum http_verb)999), "?");
	CHECK_STR(http_verb_name(HTTP_VERB_PATCH), "PATCH");
}

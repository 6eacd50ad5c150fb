/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/web_assets.h"
#include "tests/test.h"

static struct web_answer get(const char *path, const char *headers)
{
	struct http_request request;
	char head[512];

	snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, headers);
	CHECK_OK(http_head_parse(head, strlen(head), &request));
	return web_asset_answer(&request);
}

TEST(every_file_is_there_in_both_forms)
{
	static const char *const paths[] = {"/", "/tokens.css", "/style.css", "/app.js", "/api.js",
		"/dom.js", "/live.js", "/player.js", "/streams.js", "/stream.js", "/picture.js",
		"/charts.js", "/publish.js", "/workers.js", "/events.js", "/console.js",
		"/cluster.js", "/map.js", "/map_draw.js", "/icon.svg", "/millrace.js",
		"/millrace_ws.js", "/millrace.d.ts", "/vendor/mpegts.js", "/vendor/uplot.js",
		"/vendor/uplot.css", "/vendor/xterm.js", "/vendor/xterm.css"};

	CHECK_EQ(web_asset_count, sizeof(paths) / sizeof(*paths));
	for (size_t i = 0; i < web_asset_count; i++) {
		struct web_answer plain = get(paths[i], "");
		struct web_answer packed = get(paths[i], "Accept-Encoding: br, gzip\r\n");
		char header[64];

		CHECK_EQ(plain.status, 200);
		CHECK(!plain.gzip && plain.body_size > 0);
		CHECK_EQ(packed.status, 200);
		if (packed.gzip) {
			CHECK_MEM(packed.body, "\x1f\x8b", 2);
			CHECK(packed.body_size < plain.body_size);
			CHECK(strcmp(packed.etag, plain.etag) != 0);
		}
		snprintf(header, sizeof(header), "If-None-Match: %s\r\n", plain.etag);
		CHECK_EQ(get(paths[i], header).status, 304);
		CHECK_EQ(get(paths[i], header).body_size, 0);
	}
}

TEST(other_paths_are_not)
{
	static const char *const paths[] = {"/index.html", "/app", "/web/app.js", "/x"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct web_answer answer = get(paths[i], "");

		CHECK_EQ(answer.status, 404);
		CHECK(!answer.body && !answer.etag);
	}
}

/* The policy forbids it, so the page must not rely on it. */
TEST(the_page_has_nothing_inline)
{
	static const char *const inlined[] = {
		"<script>", "<style", " style=", " onclick=", " onload="};
	struct web_answer page = get("/", "");

	CHECK(strncmp(page.content_type, "text/html", 9) == 0);
	for (size_t i = 0; i < sizeof(inlined) / sizeof(*inlined); i++)
		CHECK(!memmem(page.body, page.body_size, inlined[i], strlen(inlined[i])));
}

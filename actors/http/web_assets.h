/* SPDX-License-Identifier: Apache-2.0
 *
 * The console page's files, embedded in the binary at build time (web/embed.cmake), each as it is
 * and packed with gzip. Served with Cache-Control: no-cache and their ETag, so that a browser asks
 * again and gets 304.
 *
 * Thread: any; constant data.
 */
#ifndef MILLRACE_WEB_ASSETS_H
#define MILLRACE_WEB_ASSETS_H

#include "actors/http/http_head.h"

/* The page may load only what this server serves, nothing inline, and may not be framed. Media
 * Source and camera pictures are blob: media. */
#define WEB_CONTENT_SECURITY_POLICY                                                         \
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "   \
	"media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; " \
	"frame-ancestors 'none'"

struct web_asset {
	const char *path; /* "/" is the page */
	const char *content_type;
	const char *etag; /* with quotes, strong */
	const char *gzip_etag;
	const uint8_t *bytes;
	size_t size;
	const uint8_t *gzip;
	size_t gzip_size;
};

/* How an asset is sent to this request. */
struct web_answer {
	int status; /* 200, 304, or 404 with everything else zero */
	const char *content_type;
	const char *etag;
	bool gzip; /* send Content-Encoding: gzip; always send Vary: Accept-Encoding */
	const uint8_t *body;
	size_t body_size;
};

/* Finds the asset and the form of it that the request wants (Accept-Encoding, If-None-Match). */
struct web_answer web_asset_answer(const struct http_request *request);

/* The table; made by embed.cmake. */
extern const struct web_asset web_assets[];
extern const size_t web_asset_count;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests in SRS' words. First byte: which of the four end-points; then the query and, behind a
 * newline, the body. What is accepted names a stream that may be named so.
 */
#include "actors/http/http_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http_route routes[] = {
		{.handler = HTTP_HANDLER_SRS_PUBLISH},
		{.handler = HTTP_HANDLER_SRS_PLAY},
		{.handler = HTTP_HANDLER_SRS_WHIP},
		{.handler = HTTP_HANDLER_SRS_WHEP},
	};
	struct http_call call = {0};
	struct http_srs srs;
	const char *text = (const char *)data + 1;

	if (!size || --size > HTTP_BODY_MAX)
		return 0;
	const char *line = memchr(text, '\n', size);
	size_t query = line ? (size_t)(line - text) : size;

	call.match.route = &routes[data[0] % 4];
	call.request.query = (struct http_text){text, query};
	if (line)
		call.request.body = (struct http_text){line + 1, size - query - 1};
	if (!http_srs_read(&srs, &call)) {
		const struct name_path *name = &srs.call.match.name;

		MUST(name_app_is_valid(name->app, strlen(name->app)));
		MUST(name_is_valid(name->stream, strlen(name->stream)));
		MUST(srs.call.request.body.size <= HTTP_BODY_MAX);
	}
	http_srs_forget(&srs);
	return 0;
}

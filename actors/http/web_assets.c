/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/web_assets.h"

#include "actors/http/precondition.h"

#include <string.h>

struct web_answer web_asset_answer(const struct http_request *request)
{
	const struct web_asset *asset = NULL;

	for (size_t i = 0; i < web_asset_count && !asset; i++) {
		if (!strcmp(web_assets[i].path, request->path))
			asset = &web_assets[i];
	}
	if (!asset)
		return (struct web_answer){.status = 404};
	bool gzip = asset->gzip_size < asset->size &&
		    http_text_has(request->headers[HTTP_HEADER_ACCEPT_ENCODING], "gzip");
	struct web_answer answer = {
		.status = 200,
		.content_type = asset->content_type,
		.etag = gzip ? asset->gzip_etag : asset->etag,
		.gzip = gzip,
		.body = gzip ? asset->gzip : asset->bytes,
		.body_size = gzip ? asset->gzip_size : asset->size,
	};
	if (etag_if_none_match(request->headers[HTTP_HEADER_IF_NONE_MATCH], answer.etag)) {
		answer.status = 304;
		answer.body_size = 0;
	}
	return answer;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/precondition.h"

#include <stdio.h>
#include <string.h>

void etag_format(uint64_t session, uint32_t generation, char out[ETAG_SIZE])
{
	snprintf(out, ETAG_SIZE, "\"%016llx-%u\"", (unsigned long long)session, generation);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

/* Walks the list; a tag's own bytes may be commas, so the quotes decide. */
static bool list_has(struct http_text list, const char *etag, bool weak_too)
{
	const char *at = list.at, *end = list.at ? list.at + list.size : NULL;
	size_t size = strlen(etag);

	if (list.size == 1 && *at == '*')
		return true;
	while (at < end) {
		if (is_space(*at)) {
			at++;
			continue;
		}
		bool weak = end - at > 2 && at[0] == 'W' && at[1] == '/';
		const char *open = at + (weak ? 2 : 0);
		const char *close = open < end && *open == '"'
					    ? memchr(open + 1, '"', (size_t)(end - open - 1))
					    : NULL;
		if (!close)
			return false; /* not a list of tags: names nothing */
		if ((!weak || weak_too) && (size_t)(close + 1 - open) == size &&
			!memcmp(open, etag, size))
			return true;
		at = close + 1;
	}
	return false;
}

bool etag_if_match(struct http_text if_match, const char *etag)
{
	return list_has(if_match, etag, false);
}

bool etag_if_none_match(struct http_text if_none_match, const char *etag)
{
	return list_has(if_none_match, etag, true);
}

int patch_precondition(
	enum patch_kind kind, struct http_text if_match, const char *etag, const char **why)
{
	bool any = if_match.size == 1 && *if_match.at == '*';

	*why = "";
	if (!if_match.size) {
		*why = kind == PATCH_TRICKLE ? "trickle needs If-Match with the session's ETag"
					     : "an ICE restart needs If-Match: *";
		return 428;
	}
	if (!etag_if_match(if_match, etag)) {
		*why = "If-Match names an ICE session that is no longer the current one";
		return 412;
	}
	if (kind == PATCH_ICE_RESTART && !any) {
		*why = "an ICE restart needs If-Match: *";
		return 428;
	}
	return 200;
}

uint32_t retry_after_s(int64_t wait_us, uint32_t random)
{
	const int64_t max_s = 3600;
	int64_t wait_s = wait_us > max_s * 1000000 ? max_s : (wait_us + 999999) / 1000000;

	if (wait_s < 1)
		wait_s = 1;
	wait_s += random % (wait_s / 2 + 1);
	return (uint32_t)(wait_s > max_s ? max_s : wait_s);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/problem.h"

#include "actors/http/http_conn.h"

#include <jansson.h>
#include <stdio.h>

const char *problem_code(int status)
{
	switch (status) {
	case 400: return err_name(ERR_FORMAT);
	case 401: return err_name(ERR_AUTH);
	case 403: return err_name(ERR_FORBIDDEN);
	case 404: return err_name(ERR_NOT_FOUND);
	case 405: return "method_not_allowed";
	case 406: return err_name(ERR_CODEC);
	case 408: return err_name(ERR_TIMEOUT);
	case 409: return err_name(ERR_BUSY);
	case 412: return "precondition_failed";
	case 413:
	case 414:
	case 431: return err_name(ERR_TOO_LARGE);
	case 415: return err_name(ERR_UNSUPPORTED);
	case 422: return err_name(ERR_UNPROCESSABLE);
	case 426: return "upgrade_required";
	case 428: return "precondition_required";
	case 429: return err_name(ERR_LIMIT);
	case 501: return "not_implemented";
	case 503: return err_name(ERR_OVERLOAD);
	default: return err_name(ERR_INTERNAL);
	}
}

/* Bounded and valid: what cannot be JSON text becomes '?'. */
static void clean_text(const char *text, char out[PROBLEM_DETAIL_MAX + 1])
{
	size_t size = 0;

	while (text[size] && size < PROBLEM_DETAIL_MAX) {
		unsigned char c = (unsigned char)text[size];

		out[size++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
	}
	out[size] = '\0';
	json_t *probe = json_stringn(out, size);
	for (size_t i = 0; !probe && i < size; i++) {
		if ((unsigned char)out[i] >= 0x80)
			out[i] = '?';
	}
	json_decref(probe);
}

size_t problem_write(int status, const char *code, const char *detail, char out[PROBLEM_SIZE_MAX])
{
	static const char fixed[] =
		"{\"type\":\"about:blank\",\"error\":{\"code\":\"internal\",\"message\":\"\"}}";
	char text[PROBLEM_DETAIL_MAX + 1];

	clean_text(detail, text);
	json_t *root = json_pack("{s:s, s:s, s:i, s:s, s:{s:s, s:s}}", "type", "about:blank",
		"title", http_status_text(status), "status", status, "detail", text, "error",
		"code", code, "message", text);
	size_t size = root ? json_dumpb(root, out, PROBLEM_SIZE_MAX - 1, JSON_COMPACT) : 0;
	json_decref(root);
	if (!size || size >= PROBLEM_SIZE_MAX) {
		memcpy(out, fixed, sizeof(fixed));
		return sizeof(fixed) - 1;
	}
	out[size] = '\0';
	return size;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Error documents. One form for every end-point: application/problem+json (RFC 9457, which RFC 9725
 * asks for), with our stable identifier in the extension member "error", the same member that the
 * REPL prints:
 *
 *   {"type":"about:blank","title":"Conflict","status":409,"detail":"live/demo has a publisher",
 *    "error":{"code":"busy","message":"live/demo has a publisher"}}
 *
 * Thread: any. Uses jansson, which allocates; failure gives a fixed document instead.
 */
#ifndef MILLRACE_PROBLEM_H
#define MILLRACE_PROBLEM_H

#include <stddef.h>

enum {
	PROBLEM_DETAIL_MAX = 512, /* bytes of detail that are kept */
	PROBLEM_SIZE_MAX = 4096,  /* bytes any document fits in */
};

#define PROBLEM_CONTENT_TYPE "application/problem+json"

/* Writes the document, terminated. `code` is an identifier such as err_name() gives, `detail` is
 * text for people (bytes that are not UTF-8 are replaced). Returns its size without terminator. */
size_t problem_write(int status, const char *code, const char *detail, char out[PROBLEM_SIZE_MAX]);

/* The identifier that goes with a status where no enum err is at hand. */
const char *problem_code(int status);

#endif

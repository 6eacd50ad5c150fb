/* SPDX-License-Identifier: Apache-2.0
 *
 * Typed errors for whatever the world can do wrong. Functions return ERR_OK (0) or one of these as
 * a negative-free enum; a violated invariant of our own is not an error but an assertion (MUST),
 * which stays on in release builds: the worker dies and the node goes on.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_ERR_H
#define MILLRACE_ERR_H

/* name, identifier in JSON, text for people, HTTP status it maps to at the edge */
#define ERR_TABLE(X)                                                                 \
	X(OK, "ok", "ok", 200)                                                       \
	X(AGAIN, "again", "not yet: needs more input or room", 503)                  \
	X(FORMAT, "format", "malformed input", 400)                                  \
	X(UNSUPPORTED, "unsupported", "well-formed but not supported", 415)          \
	X(LIMIT, "limit", "a limit was reached", 503)                                \
	X(TOO_LARGE, "too_large", "input larger than its bound", 413)                \
	X(NO_MEMORY, "no_memory", "out of memory", 503)                              \
	X(NO_SPACE, "no_space", "output buffer too small", 500)                      \
	X(NOT_FOUND, "not_found", "no such thing", 404)                              \
	X(EXISTS, "exists", "exists already", 409)                                   \
	X(BUSY, "busy", "the name is taken", 409)                                    \
	X(PHASE, "state", "not legal in this state", 409)                            \
	X(TIMEOUT, "timeout", "deadline passed", 504)                                \
	X(DEAD, "dead", "the addressee is dead", 503)                                \
	X(OVERLOAD, "overload", "overloaded, try later", 503)                        \
	X(AUTH, "auth", "authentication failed", 401)                                \
	X(FORBIDDEN, "forbidden", "not allowed", 403)                                \
	X(REPLAY, "replay", "replayed or too old", 400)                              \
	X(CODEC, "codec", "codec cannot be carried", 406)                            \
	X(CRYPTO, "crypto", "cryptographic operation failed", 500)                   \
	X(IO, "io", "input/output error", 500)                                       \
	X(CLOSED, "closed", "closed by the peer", 410)                               \
	X(CONFIG, "config", "configuration error", 500)                              \
	X(VERSION, "version", "version mismatch", 500)                               \
	X(MOVED, "moved", "the actor runs elsewhere", 503)                           \
	X(UNPROCESSABLE, "unprocessable", "understood but cannot be processed", 422) \
	X(INTERNAL, "internal", "internal error", 500)

enum err {
#define X(name, id, text, http) ERR_##name,
	ERR_TABLE(X)
#undef X
		ERR_COUNT
};

/* Static text, never NULL; "unknown error" for a value out of range. */
const char *err_text(enum err err);

/* Lower-case identifier such as "not_found" (stable: users see it in JSON). Never NULL. */
const char *err_name(enum err err);

/* HTTP status code the edge answers with; 500 for a value out of range. */
int err_http_status(enum err err);

/* Prints file, line and condition to stderr and aborts. Never returns. */
_Noreturn void must_fail(const char *file, int line, const char *condition);

/* Assertion that stays on in release. */
#define MUST(condition) ((condition) ? (void)0 : must_fail(__FILE_NAME__, __LINE__, #condition))

#endif

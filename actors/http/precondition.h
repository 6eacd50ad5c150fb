/* SPDX-License-Identifier: Apache-2.0
 *
 * Entity tags and preconditions (RFC 9110 8.8.3 and 13.1; for WHIP and WHEP sessions RFC 9725 4.3),
 * and how long a refused client is asked to wait.
 *
 * Thread: any. Pure functions, no allocation.
 */
#ifndef MILLRACE_PRECONDITION_H
#define MILLRACE_PRECONDITION_H

#include "actors/http/http_head.h"

enum { ETAG_SIZE = 32 }; /* bytes of an entity tag with its quotes and terminator */

/* The strong tag of a session's current ICE session: `session` any 64 bits fixed for the session,
 * `generation` one more with each ICE restart. */
void etag_format(uint64_t session, uint32_t generation, char out[ETAG_SIZE]);

/* Does If-Match name the current `etag` (with its quotes)? Strong comparison, lists and "*"
 * included (RFC 9110 13.1.1). False for an absent header. */
bool etag_if_match(struct http_text if_match, const char *etag);

/* Does If-None-Match name it? Weak comparison; 304 (or 412) is the answer then (13.1.2). */
bool etag_if_none_match(struct http_text if_none_match, const char *etag);

enum patch_kind {
	PATCH_TRICKLE,	   /* candidates for the ICE session that runs */
	PATCH_ICE_RESTART, /* new ufrag and password */
};

/* 200, or the status to refuse a PATCH of a session with:
 *   trickle:     needs If-Match with the current tag: none 428, another one 412
 *   ICE restart: needs If-Match: *: none, or the current tag, 428; another tag 412
 * *why (static) says what was expected. */
int patch_precondition(
	enum patch_kind kind, struct http_text if_match, const char *etag, const char **why);

/* Seconds for Retry-After: `wait_us` rounded up, at least 1 and at most 3600, spread by up to half
 * as much again by `random` (any 32 bits), so that those refused together do not return together. */
uint32_t retry_after_s(int64_t wait_us, uint32_t random);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Permits: what one node of a cluster lets a client do at any other (docs/decisions/025). A node that sends
 * a client elsewhere, or whose viewer may come back elsewhere, says in it that it has looked at the
 * client's token: the other one does not ask for it again.
 *
 *   "p2." and base64url of: node (8 bytes) · Unix time until which (5) · flags (1) · number (8) · subject ·
 *   MAC (16)
 *
 * Numbers are big-endian. The MAC is HMAC-SHA256 by the issuing node's key, cut to 16 bytes, of all before
 * it and of the stream's name, which is not in the text: it is asked for by name. Nodes tell each other their
 * keys over the mesh; nobody else has them.
 *
 * Thread: any. No allocation of ours. A permit is a secret: never printed.
 */
#ifndef MILLRACE_PERMIT_H
#define MILLRACE_PERMIT_H

#include "runtime/token.h"
#include "schemas/schema.h"

enum {
	PERMIT_REDIRECT_S = 60,	     /* of a client that is on its way */
	PERMIT_RESUME_S = 12 * 3600, /* of a viewer that may have to come back */
	PERMIT_SUBJECT_MAX = 63,
};

struct permit {
	uint64_t node;	 /* that issued it */
	int64_t until_s; /* Unix time */
	/* no other has it, but those that a client gets for this one on its way: one of them serves */
	uint64_t number;
	enum token_action action;
	enum name_standby standby; /* what the token claimed */
	char subject[PERMIT_SUBJECT_MAX + 1];
};

/* The key of a node, from what all processes of it know and nobody else does. */
void permit_key_derive(uint8_t key[PERMIT_KEY_SIZE], const uint8_t *secret, size_t secret_size);

/* `stream` is "app/stream". */
void permit_write(const uint8_t key[PERMIT_KEY_SIZE], const struct permit *permit,
	const char *stream, char text[PERMIT_TEXT_MAX + 1]);

/* Does it look like one? Resume tokens of publishers, and access tokens, do not. */
bool permit_is_one(const char *text, size_t size);

/* Who says to have issued it, so that the key can be found. 0: it is none. */
uint64_t permit_issuer(const char *text);

/* ERR_AUTH: not by this key, too old, or not for this. *out is filled only by ERR_OK. */
enum err permit_check(const uint8_t key[PERMIT_KEY_SIZE], const char *text, const char *stream,
	enum token_action action, int64_t now_s, struct permit *out);

#endif

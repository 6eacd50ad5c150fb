/* SPDX-License-Identifier: Apache-2.0
 *
 * Media tokens: JSON Web Tokens (RFC 7519, RFC 7515) that let their bearer publish or play.
 *
 *   {"app":"live", "stream":"demo" or "*", "act":["publish","play"], "exp":…, "nbf":…, "sub":"…",
 *    "standby":true or false}
 *
 * The configured key fixes the algorithm, so a token can choose neither "none" nor to have a public
 * key taken for a shared secret (RFC 8725 3.1). Verification is libjwt's; the claims are read here
 * with jansson, because libjwt's integer getters cannot tell absent from zero.
 *
 * And unguessable names: session ids, resume tokens, ICE user fragments and passwords.
 *
 * Thread: any. libjwt and jansson allocate while a token is checked; nothing is kept.
 */
#ifndef MILLRACE_TOKEN_H
#define MILLRACE_TOKEN_H

#include "schemas/err.h"
#include "schemas/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TOKEN_SIZE_MAX = 4096,	   /* bytes of an encoded token */
	TOKEN_KEY_SIZE_MAX = 8192, /* bytes of a secret or a PEM public key */
	TOKEN_SUB_MAX = 255,	   /* bytes of the subject */
	/* RFC 7518 3.2 wants as many bytes as the hash has; shorter secrets work, with a warning */
	TOKEN_SECRET_GOOD = 32,
};

enum token_alg {
	TOKEN_ALG_AUTO, /* HS256 for a secret; RS256 or ES256 for a PEM public key */
	TOKEN_HS256,
	TOKEN_HS384,
	TOKEN_HS512,
	TOKEN_RS256,
	TOKEN_ES256,
	TOKEN_ALG_COUNT
};

/* A secret: never printed. Plain data. */
struct token_key {
	enum token_alg alg; /* never AUTO once initialised */
	uint32_t size;
	uint8_t bytes[TOKEN_KEY_SIZE_MAX + 1]; /* PEM is terminated */
};

enum token_action { TOKEN_PUBLISH, TOKEN_PLAY };

struct token_claims {
	int64_t expires_s;	     /* Unix time */
	char sub[TOKEN_SUB_MAX + 1]; /* "" when absent */
	enum name_standby standby;
};

/* "HS256" …, TOKEN_ALG_AUTO for "" and "auto"; TOKEN_ALG_COUNT for anything else. */
enum token_alg token_alg_from_name(const char *name);

/* Takes what the key file holds. One line end at the end of a secret is not part of it. ERR_CONFIG
 * with *why (static): empty, too large, a private key, a key that is not RSA of at least 2048 bits
 * or P-256, or one that does not fit the algorithm asked for. */
enum err token_key_init(struct token_key *key, enum token_alg alg, const void *bytes, size_t size,
	const char **why);

/* Takes the key that the configuration names (token.key or token.key_file; reads the file: call it
 * at the start only). ERR_NOT_FOUND: none is named, no token is asked for. ERR_CONFIG with *why. */
struct config;
enum err token_key_load(struct token_key *key, const struct config *config, const char **why);

/* A secret so short that it could be found by trying. */
bool token_key_is_weak(const struct token_key *key);

/* May the bearer of `token` (token_size bytes, not terminated) do `action` on app/stream at Unix
 * time now_s? ERR_OK fills *out. ERR_AUTH (401): absent, malformed, wrongly signed, expired, not
 * yet valid. ERR_FORBIDDEN (403): genuine, but for something else. ERR_NO_MEMORY. *why is static
 * text for people and says nothing secret. */
enum err token_check(const struct token_key *key, const char *token, size_t token_size,
	const char *app, const char *stream, enum token_action action, int64_t now_s,
	struct token_claims *out, const char **why);

/* Compares without telling by its time how many bytes agree. */
bool token_equal(const void *a, const void *b, size_t size);

enum token_alphabet {
	TOKEN_BASE64URL, /* RFC 4648 5: session ids, resume tokens */
	TOKEN_ICE_CHAR,	 /* RFC 8839 5.4: ufrag and password ('+' and '/' for '-' and '_') */
};

/* Writes random bytes as text of 6 bits a character, without padding, terminated: 16 bytes (128
 * bits) give 22 characters. Returns the number of characters; MUST fit out_size with terminator. */
size_t token_from_random(enum token_alphabet alphabet, const uint8_t *random, size_t random_size,
	char *out, size_t out_size);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * See token.h. A token passes four gates: its shape, its signature, its times, its claims; the
 * first three answer 401, the last 403.
 */
#include "runtime/token.h"

#include <openssl/pem.h>

#include <errno.h>
#include <jansson.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	jwt_alg_t jwt;
} alg_rows[TOKEN_ALG_COUNT] = {
	[TOKEN_ALG_AUTO] = {"auto",  JWT_ALG_NONE },
	[TOKEN_HS256] = {"HS256", JWT_ALG_HS256},
	[TOKEN_HS384] = {"HS384", JWT_ALG_HS384},
	[TOKEN_HS512] = {"HS512", JWT_ALG_HS512},
	[TOKEN_RS256] = {"RS256", JWT_ALG_RS256},
	[TOKEN_ES256] = {"ES256", JWT_ALG_ES256},
};

enum token_alg token_alg_from_name(const char *name)
{
	enum token_alg alg = TOKEN_ALG_AUTO;

	if (!*name)
		return TOKEN_ALG_AUTO;
	while (alg < TOKEN_ALG_COUNT && strcmp(alg_rows[alg].name, name) != 0)
		alg++;
	return alg;
}

static bool has_prefix(const void *bytes, size_t size, const char *prefix)
{
	return size >= strlen(prefix) && !memcmp(bytes, prefix, strlen(prefix));
}

/* TOKEN_ALG_AUTO: not a key we verify with. */
static enum token_alg alg_of_pem(const void *bytes, size_t size)
{
	enum token_alg alg = TOKEN_ALG_AUTO;
	BIO *bio = BIO_new_mem_buf(bytes, (int)size);
	EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;

	if (pkey && EVP_PKEY_is_a(pkey, "RSA") && EVP_PKEY_get_bits(pkey) >= 2048)
		alg = TOKEN_RS256;
	else if (pkey && EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_bits(pkey) == 256)
		alg = TOKEN_ES256;
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return alg;
}

static enum err config_error(const char **why, const char *text)
{
	*why = text;
	return ERR_CONFIG;
}

enum err token_key_init(
	struct token_key *key, enum token_alg alg, const void *bytes, size_t size, const char **why)
{
	bool pem = has_prefix(bytes, size, "-----BEGIN");

	*why = "";
	*key = (struct token_key){.alg = TOKEN_ALG_AUTO};
	if ((unsigned)alg >= TOKEN_ALG_COUNT)
		return config_error(why, "algorithm is one of HS256, HS384, HS512, RS256, ES256");
	if (size > TOKEN_KEY_SIZE_MAX)
		return config_error(why, "the key is larger than 8192 bytes");
	if (pem) {
		enum token_alg found = alg_of_pem(bytes, size);

		if (found == TOKEN_ALG_AUTO)
			return config_error(why,
				"expected a PEM public key: RSA of 2048 bits or more, or P-256");
		if (alg != TOKEN_ALG_AUTO && alg != found)
			return config_error(why, "the public key does not fit the algorithm");
		alg = found;
	} else {
		if (alg == TOKEN_RS256 || alg == TOKEN_ES256)
			return config_error(why, "this algorithm needs a PEM public key");
		if (alg == TOKEN_ALG_AUTO)
			alg = TOKEN_HS256;
		if (size && ((const char *)bytes)[size - 1] == '\n')
			size--;
		if (size && ((const char *)bytes)[size - 1] == '\r')
			size--;
		if (!size)
			return config_error(why, "the key is empty");
	}
	key->alg = alg;
	key->size = (uint32_t)size;
	memcpy(key->bytes, bytes, size);
	return ERR_OK;
}

bool token_key_is_weak(const struct token_key *key)
{
	return key->alg <= TOKEN_HS512 && key->size < TOKEN_SECRET_GOOD;
}

/* Three runs of base64url with dots between (RFC 7515 3.1): all that libjwt gets to see. */
static bool shape_is_good(const char *token, size_t size)
{
	size_t dots = 0, run = 0;

	for (size_t i = 0; i < size; i++) {
		char c = token[i];

		if (c == '.') {
			if (!run || ++dots > 2)
				return false;
			run = 0;
		} else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			   (c >= '0' && c <= '9') || c == '_' || c == '-') {
			run++;
		} else {
			return false;
		}
	}
	return dots == 2 && run;
}

static enum err fail(enum err err, const char **why, const char *text)
{
	*why = text;
	return err;
}

/* exp and nbf (RFC 7519 4.1.4, 4.1.5): NumericDate, fractions allowed. */
static enum err check_times(
	const json_t *claims, int64_t now_s, struct token_claims *out, const char **why)
{
	const json_t *exp = json_object_get(claims, "exp");
	const json_t *nbf = json_object_get(claims, "nbf");

	if (!json_is_number(exp))
		return fail(ERR_AUTH, why, "the token has no exp");
	if (json_number_value(exp) <= (double)now_s)
		return fail(ERR_AUTH, why, "the token has expired");
	if (nbf && (!json_is_number(nbf) || json_number_value(nbf) > (double)now_s))
		return fail(ERR_AUTH, why, "the token is not valid yet");
	/* beyond 2^53 a double is no exact second, and no such date is meant */
	out->expires_s = json_number_value(exp) < 9007199254740992.0
				 ? (int64_t)json_number_value(exp)
				 : INT64_C(9007199254740992);
	return ERR_OK;
}

static bool claim_covers(const json_t *claim, const char *name)
{
	const char *value = json_string_value(claim);

	return value && json_string_length(claim) == strlen(value) &&
	       (!strcmp(value, "*") || !strcmp(value, name));
}

static enum err check_claims(const json_t *claims, const char *app, const char *stream,
	const char *action, struct token_claims *out, const char **why)
{
	const json_t *sub = json_object_get(claims, "sub");
	const json_t *act = json_object_get(claims, "act");
	const json_t *standby = json_object_get(claims, "standby");
	const json_t *item;
	bool allowed = false;
	size_t i;

	if (!claim_covers(json_object_get(claims, "app"), app))
		return fail(ERR_FORBIDDEN, why, "the token is for another app");
	if (!claim_covers(json_object_get(claims, "stream"), stream))
		return fail(ERR_FORBIDDEN, why, "the token is for another stream");
	json_array_foreach((json_t *)act, i, item)
	{
		allowed |= json_is_string(item) && !strcmp(json_string_value(item), action);
	}
	if (!allowed)
		return fail(ERR_FORBIDDEN, why, "the token does not allow this action");
	if (sub && (!json_is_string(sub) || json_string_length(sub) > TOKEN_SUB_MAX))
		return fail(ERR_FORBIDDEN, why, "sub is a string of at most 255 bytes");
	if (standby && !json_is_boolean(standby))
		return fail(ERR_FORBIDDEN, why, "standby is true or false");
	if (sub)
		memcpy(out->sub, json_string_value(sub), json_string_length(sub));
	if (standby)
		out->standby = json_is_true(standby) ? NAME_STANDBY_YES : NAME_STANDBY_NO;
	return ERR_OK;
}

/* The verified claims as a new reference, or NULL with *err. */
static json_t *verify(
	const struct token_key *key, const char *token, enum err *err, const char **why)
{
	jwt_t *jwt = NULL;
	json_t *claims = NULL;
	char *text = NULL, *crit = NULL;

	*err = fail(ERR_AUTH, why, "the token's signature is not by the configured key");
	/* with a key libjwt refuses "none"; which algorithm it took is checked after */
	int failed = jwt_decode(&jwt, token, key->bytes, (int)key->size);
	if (failed == ENOMEM)
		*err = ERR_NO_MEMORY;
	if (failed)
		return NULL;
	if (jwt_get_alg(jwt) != alg_rows[key->alg].jwt)
		goto out;
	crit = jwt_get_headers_json(jwt, "crit");
	if (crit) {
		*why = "the token has a critical extension that is not understood";
		goto out;
	}
	text = jwt_get_grants_json(jwt, NULL);
	claims = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (!claims) {
		*why = "the token's claims cannot be read";
		goto out;
	}
	*err = ERR_OK;
	*why = "";
out:
	free(crit);
	free(text);
	jwt_free(jwt);
	return claims;
}

enum err token_check(const struct token_key *key, const char *token, size_t token_size,
	const char *app, const char *stream, enum token_action action, int64_t now_s,
	struct token_claims *out, const char **why)
{
	char text[TOKEN_SIZE_MAX + 1];
	enum err err;

	MUST(key->alg > TOKEN_ALG_AUTO && key->alg < TOKEN_ALG_COUNT);
	*out = (struct token_claims){0};
	*why = "";
	if (!token || !token_size)
		return fail(ERR_AUTH, why, "a token is needed");
	if (token_size > TOKEN_SIZE_MAX || !shape_is_good(token, token_size))
		return fail(ERR_AUTH, why, "this is not a token");
	memcpy(text, token, token_size);
	text[token_size] = '\0';
	json_t *claims = verify(key, text, &err, why);
	if (!claims)
		return err;
	err = check_times(claims, now_s, out, why);
	if (!err)
		err = check_claims(claims, app, stream,
			action == TOKEN_PUBLISH ? "publish" : "play", out, why);
	json_decref(claims);
	if (err)
		*out = (struct token_claims){0};
	return err;
}

bool token_equal(const void *a, const void *b, size_t size)
{
	const volatile uint8_t *left = a, *right = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < size; i++)
		difference |= left[i] ^ right[i];
	return !difference;
}

size_t token_from_random(enum token_alphabet alphabet, const uint8_t *random, size_t random_size,
	char *out, size_t out_size)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	const char *last = alphabet == TOKEN_ICE_CHAR ? "+/" : "-_";
	size_t size = (random_size * 8 + 5) / 6;

	MUST(size < out_size);
	for (size_t i = 0; i < size; i++) {
		size_t bit = i * 6;
		unsigned pair = (unsigned)random[bit / 8] << 8;

		if (bit / 8 + 1 < random_size)
			pair |= random[bit / 8 + 1];
		unsigned six = pair >> (10 - bit % 8) & 63;
		out[i] = six < 62 ? letters[six] : last[six - 62];
	}
	out[size] = '\0';
	return size;
}

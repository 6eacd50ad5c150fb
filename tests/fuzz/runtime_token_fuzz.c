/* SPDX-License-Identifier: Apache-2.0
 *
 * A token from outside, as it is and behind a good signature: two bytes of choice, then either an
 * encoded token (bit 0 clear) or claims that are signed here first (bit 0 set), so that what lies
 * behind the signature is reached as well.
 */
#include "runtime/token.h"

#include <jwt.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "0123456789abcdef0123456789abcdef";

static char *sign(const char *claims)
{
	jwt_t *jwt = NULL;
	char *text = NULL;

	if (jwt_new(&jwt))
		return NULL;
	if (!jwt_add_grants_json(jwt, claims) &&
		!jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)secret, sizeof(secret) - 1))
		text = jwt_encode_str(jwt);
	jwt_free(jwt);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct token_claims claims;
	struct token_key key;
	const char *why;

	if (size < 2 || size > 2 * TOKEN_SIZE_MAX)
		return 0;
	MUST(token_key_init(&key, TOKEN_HS256, secret, sizeof(secret) - 1, &why) == ERR_OK);
	char *text = malloc(size - 1);
	MUST(text);
	memcpy(text, data + 2, size - 2);
	text[size - 2] = '\0';
	char *token = data[0] & 1 ? sign(text) : text;
	if (token) {
		enum err err = token_check(&key, token, strlen(token), "live", "demo",
			data[1] & 1 ? TOKEN_PUBLISH : TOKEN_PLAY, 1000, &claims, &why);
		MUST(err == ERR_OK || err == ERR_AUTH || err == ERR_FORBIDDEN);
		MUST((err == ERR_OK) == (claims.expires_s >= 1000));
	}
	if (token != text)
		free(token);
	/* the rest as a key file */
	enum err err = token_key_init(&key, TOKEN_ALG_AUTO, data + 2, size - 2, &why);
	MUST(err == ERR_OK || err == ERR_CONFIG);
	free(text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The key of media tokens, from the configuration: the text itself or a file that holds it.
 */
#include "runtime/config.h"
#include "runtime/token.h"

#include <stdio.h>
#include <string.h>

static enum err load_file(
	struct token_key *key, enum token_alg alg, const char *path, const char **why)
{
	uint8_t bytes[TOKEN_KEY_SIZE_MAX + 1]; /* one more than may be: too large is seen */
	FILE *file = fopen(path, "re");
	enum err err;

	if (!file) {
		*why = "the key file cannot be opened";
		return ERR_CONFIG;
	}
	size_t size = fread(bytes, 1, sizeof(bytes), file);

	if (ferror(file)) {
		*why = "the key file cannot be read";
		err = ERR_CONFIG;
	} else {
		err = token_key_init(key, alg, bytes, size, why);
	}
	fclose(file);
	explicit_bzero(bytes, sizeof(bytes));
	return err;
}

enum err token_key_load(struct token_key *key, const struct config *config, const char **why)
{
	enum token_alg alg;

	*key = (struct token_key){.alg = TOKEN_ALG_AUTO};
	*why = "";
	if (!config || (!config->token_key[0] && !config->token_key_file[0]))
		return ERR_NOT_FOUND;
	_Static_assert((int)CONFIG_TOKEN_ES256 == (int)TOKEN_ES256, "one order of algorithms");
	alg = (enum token_alg)config->token_algorithm;
	if (config->token_key_file[0])
		return load_file(key, alg, config->token_key_file, why);
	return token_key_init(key, alg, config->token_key, strlen(config->token_key), why);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/secret_numbers.h"

#include "schemas/bytes.h"
#include "schemas/err.h"

#include <openssl/evp.h>
#include <stdlib.h>

enum { AT_ONCE = 64, IV_SIZE = 16 };

struct secret_numbers {
	EVP_CIPHER_CTX *cipher;
	uint64_t ready[AT_ONCE];
	unsigned left;
};

struct secret_numbers *secret_numbers_create(
	const uint8_t key[SECRET_NUMBERS_KEY_SIZE], uint64_t which)
{
	struct secret_numbers *numbers = calloc(1, sizeof(*numbers));
	uint8_t iv[IV_SIZE] = {0};
	struct writer out = writer_of(iv, sizeof(iv));

	if (!numbers)
		return NULL;
	write_u64(&out, which); /* the rest counts blocks */
	numbers->cipher = EVP_CIPHER_CTX_new();
	if (!numbers->cipher ||
		EVP_EncryptInit_ex(numbers->cipher, EVP_aes_256_ctr(), NULL, key, iv) != 1)
		secret_numbers_destroy(&numbers);
	return numbers;
}

void secret_numbers_destroy(struct secret_numbers **numbers)
{
	if (!*numbers)
		return;
	EVP_CIPHER_CTX_free((*numbers)->cipher);
	explicit_bzero(*numbers, sizeof(**numbers));
	free(*numbers);
	*numbers = NULL;
}

static void make_more(struct secret_numbers *numbers)
{
	static const uint8_t zero[sizeof(numbers->ready)];
	int size = 0;

	MUST(EVP_EncryptUpdate(
		     numbers->cipher, (uint8_t *)numbers->ready, &size, zero, sizeof(zero)) == 1 &&
		size == sizeof(zero));
	numbers->left = AT_ONCE;
}

uint64_t secret_numbers_next(struct secret_numbers *numbers)
{
	uint64_t number = 0;

	while (!number) {
		if (!numbers->left)
			make_more(numbers);
		number = numbers->ready[--numbers->left] >> 1;
	}
	return number;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenSSL ciphers in the shape that libsrtp2 asks for. libsrtp2 gives a key as key || salt, owns
 * the object that `alloc` returns and hands its `state` back in every call.
 *
 * SHA-1 is used by its block functions from midstates, as in seal.c: EVP_MAC allocates per packet.
 */
#include "actors/webrtc/openssl_ciphers.h"

#include "actors/webrtc/openssl.h"

#include <srtp2/auth.h>
#include <srtp2/cipher.h>
#include <srtp2/srtp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	CM_SALT = 14,
	GCM_SALT = 12,
	GCM_TAG = 16,
	GCM_TAG_SHORT = 8, /* only in libsrtp2's own test vectors */
	BLOCK = 16,
};

struct cipher {
	srtp_cipher_t base; /* first: libsrtp2 knows the object by this */
	EVP_CIPHER_CTX *evp;
	const EVP_CIPHER *(*algorithm)(void);
	uint8_t salt[BLOCK]; /* AES-CM: what every IV is XORed with */
	size_t key_size;     /* without the salt */
	int tag_size;	     /* AES-GCM */
};

static srtp_err_status_t status_of(int evp_result, srtp_err_status_t failure)
{
	return evp_result == 1 ? srtp_err_status_ok : failure;
}

static srtp_err_status_t cipher_alloc(srtp_cipher_t **out, const srtp_cipher_type_t *type,
	const EVP_CIPHER *(*algorithm)(void), int key_length, int tag_length)
{
	struct cipher *c = calloc(1, sizeof(*c));

	if (!c)
		return srtp_err_status_alloc_fail;
	c->evp = EVP_CIPHER_CTX_new();
	if (!c->evp) {
		free(c);
		return srtp_err_status_alloc_fail;
	}
	c->algorithm = algorithm;
	c->tag_size = tag_length;
	c->base = (srtp_cipher_t){
		.type = type, .state = c, .key_len = key_length, .algorithm = (int)type->id};
	*out = &c->base;
	return srtp_err_status_ok;
}

static srtp_err_status_t cipher_dealloc(srtp_cipher_t *base)
{
	struct cipher *c = base->state;

	EVP_CIPHER_CTX_free(c->evp);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
	return srtp_err_status_ok;
}

/* ---- AES counter mode (RFC 3711 4.1.1) ---- */

static const srtp_cipher_type_t icm_128, icm_256;

static srtp_err_status_t icm_alloc(srtp_cipher_t **out, int key_length, int tag_length)
{
	switch (key_length) {
	case 16 + CM_SALT:
		return cipher_alloc(out, &icm_128, EVP_aes_128_ctr, key_length, tag_length);
	case 32 + CM_SALT:
		return cipher_alloc(out, &icm_256, EVP_aes_256_ctr, key_length, tag_length);
	default: return srtp_err_status_bad_param;
	}
}

static srtp_err_status_t icm_init(void *state, const uint8_t *key)
{
	struct cipher *c = state;

	c->key_size = (size_t)c->base.key_len - CM_SALT;
	memcpy(c->salt, key + c->key_size, CM_SALT);
	return status_of(EVP_EncryptInit_ex2(c->evp, c->algorithm(), key, NULL, NULL),
		srtp_err_status_init_fail);
}

static srtp_err_status_t icm_set_iv(void *state, uint8_t *nonce, srtp_cipher_direction_t direction)
{
	struct cipher *c = state;
	uint8_t iv[BLOCK];

	(void)direction;
	for (int i = 0; i < BLOCK; i++)
		iv[i] = c->salt[i] ^ nonce[i];
	return status_of(
		EVP_EncryptInit_ex2(c->evp, NULL, NULL, iv, NULL), srtp_err_status_cipher_fail);
}

static srtp_err_status_t icm_crypt(void *state, uint8_t *bytes, unsigned int *size)
{
	struct cipher *c = state;
	int written;

	return status_of(EVP_EncryptUpdate(c->evp, bytes, &written, bytes, (int)*size),
		srtp_err_status_cipher_fail);
}

/* RFC 3711 B.2 */
static const uint8_t icm_zeros[32];
static uint8_t icm_test_iv[BLOCK];
static const uint8_t icm_128_key[16 + CM_SALT] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
	0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6,
	0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd};
static const uint8_t icm_128_stream[32] = {0xe0, 0x3e, 0xad, 0x09, 0x35, 0xc9, 0x5e, 0x80, 0xe1,
	0x66, 0xb1, 0x6d, 0xd9, 0x2b, 0x4e, 0xb4, 0xd2, 0x35, 0x13, 0x16, 0x2b, 0x02, 0xd0, 0xf7,
	0x2a, 0x43, 0xa2, 0xfe, 0x4a, 0x5f, 0x97, 0xab};
static const srtp_cipher_test_case_t icm_128_test = {.key_length_octets = sizeof(icm_128_key),
	.key = icm_128_key,
	.idx = icm_test_iv,
	.plaintext_length_octets = 32,
	.plaintext = icm_zeros,
	.ciphertext_length_octets = 32,
	.ciphertext = icm_128_stream};
/* RFC 6188 7.1 */
static const uint8_t icm_256_key[32 + CM_SALT] = {0x57, 0xf8, 0x2f, 0xe3, 0x61, 0x3f, 0xd1, 0x70,
	0xa8, 0x5e, 0xc9, 0x3c, 0x40, 0xb1, 0xf0, 0x92, 0x2e, 0xc4, 0xcb, 0x0d, 0xc0, 0x25, 0xb5,
	0x82, 0x72, 0x14, 0x7c, 0xc4, 0x38, 0x94, 0x4a, 0x98, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5,
	0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd};
static const uint8_t icm_256_stream[32] = {0x92, 0xbd, 0xd2, 0x8a, 0x93, 0xc3, 0xf5, 0x25, 0x11,
	0xc6, 0x77, 0xd0, 0x8b, 0x55, 0x15, 0xa4, 0x9d, 0xa7, 0x1b, 0x23, 0x78, 0xa8, 0x54, 0xf6,
	0x70, 0x50, 0x75, 0x6d, 0xed, 0x16, 0x5b, 0xac};
static const srtp_cipher_test_case_t icm_256_test = {.key_length_octets = sizeof(icm_256_key),
	.key = icm_256_key,
	.idx = icm_test_iv,
	.plaintext_length_octets = 32,
	.plaintext = icm_zeros,
	.ciphertext_length_octets = 32,
	.ciphertext = icm_256_stream};

static const srtp_cipher_type_t icm_128 = {.alloc = icm_alloc,
	.dealloc = cipher_dealloc,
	.init = icm_init,
	.encrypt = icm_crypt,
	.decrypt = icm_crypt,
	.set_iv = icm_set_iv,
	.description = "AES-128 counter mode, OpenSSL",
	.test_data = &icm_128_test,
	.id = SRTP_AES_ICM_128};
static const srtp_cipher_type_t icm_256 = {.alloc = icm_alloc,
	.dealloc = cipher_dealloc,
	.init = icm_init,
	.encrypt = icm_crypt,
	.decrypt = icm_crypt,
	.set_iv = icm_set_iv,
	.description = "AES-256 counter mode, OpenSSL",
	.test_data = &icm_256_test,
	.id = SRTP_AES_ICM_256};

/* ---- AES-GCM (RFC 7714) ---- */

static const srtp_cipher_type_t gcm_128, gcm_256;

static srtp_err_status_t gcm_alloc(srtp_cipher_t **out, int key_length, int tag_length)
{
	if (tag_length != GCM_TAG && tag_length != GCM_TAG_SHORT)
		return srtp_err_status_bad_param;
	switch (key_length) {
	case 16 + GCM_SALT:
		return cipher_alloc(out, &gcm_128, EVP_aes_128_gcm, key_length, tag_length);
	case 32 + GCM_SALT:
		return cipher_alloc(out, &gcm_256, EVP_aes_256_gcm, key_length, tag_length);
	default: return srtp_err_status_bad_param;
	}
}

/* libsrtp2 itself mixes the salt into the IV here */
static srtp_err_status_t gcm_init(void *state, const uint8_t *key)
{
	struct cipher *c = state;

	c->key_size = (size_t)c->base.key_len - GCM_SALT;
	return status_of(EVP_CipherInit_ex2(c->evp, c->algorithm(), key, NULL, 1, NULL),
		srtp_err_status_init_fail);
}

static srtp_err_status_t gcm_set_iv(void *state, uint8_t *iv, srtp_cipher_direction_t direction)
{
	struct cipher *c = state;
	int encrypt = direction == srtp_direction_encrypt;

	return status_of(EVP_CipherInit_ex2(c->evp, NULL, NULL, iv, encrypt, NULL),
		srtp_err_status_cipher_fail);
}

static srtp_err_status_t gcm_set_aad(void *state, const uint8_t *aad, uint32_t size)
{
	struct cipher *c = state;
	int written;

	return status_of(EVP_CipherUpdate(c->evp, NULL, &written, aad, (int)size),
		srtp_err_status_algo_fail);
}

static srtp_err_status_t gcm_encrypt(void *state, uint8_t *bytes, unsigned int *size)
{
	struct cipher *c = state;
	int written;

	if (*size == 0)
		return srtp_err_status_ok;
	return status_of(EVP_CipherUpdate(c->evp, bytes, &written, bytes, (int)*size),
		srtp_err_status_cipher_fail);
}

static srtp_err_status_t gcm_get_tag(void *state, uint8_t *tag, uint32_t *size)
{
	struct cipher *c = state;
	int written;

	*size = (uint32_t)c->tag_size;
	if (EVP_CipherFinal_ex(c->evp, tag, &written) != 1)
		return srtp_err_status_cipher_fail;
	return status_of(EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_GET_TAG, c->tag_size, tag),
		srtp_err_status_cipher_fail);
}

/* `bytes` is ciphertext || tag; `*size` becomes the size without the tag */
static srtp_err_status_t gcm_decrypt(void *state, uint8_t *bytes, unsigned int *size)
{
	struct cipher *c = state;
	uint8_t none[BLOCK];
	int written;

	unsigned int tag_size = (unsigned int)c->tag_size, plain = *size - tag_size;
	if (*size < tag_size)
		return srtp_err_status_bad_param;
	if (EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_SET_TAG, c->tag_size, bytes + plain) != 1)
		return srtp_err_status_cipher_fail;
	if (plain && EVP_CipherUpdate(c->evp, bytes, &written, bytes, (int)plain) != 1)
		return srtp_err_status_cipher_fail;
	if (EVP_CipherFinal_ex(c->evp, none, &written) != 1)
		return srtp_err_status_auth_fail;
	*size = plain;
	return srtp_err_status_ok;
}

/* RFC 7714 16.1.1 and 16.2.1: one packet under a 128 and a 256 bit key */
static const uint8_t gcm_keys[32 + GCM_SALT] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
static uint8_t gcm_test_iv[GCM_SALT] = {
	0x51, 0x75, 0x3c, 0x65, 0x80, 0xc2, 0x72, 0x6f, 0x20, 0x71, 0x84, 0x14};
static const uint8_t gcm_test_aad[12] = {
	0x80, 0x40, 0xf1, 0x7b, 0x80, 0x41, 0xf8, 0xd3, 0x55, 0x01, 0xa0, 0xb2};
static const uint8_t gcm_test_plain[] = {'G', 'a', 'l', 'l', 'i', 'a', ' ', 'e', 's', 't', ' ', 'o',
	'm', 'n', 'i', 's', ' ', 'd', 'i', 'v', 'i', 's', 'a', ' ', 'i', 'n', ' ', 'p', 'a', 'r',
	't', 'e', 's', ' ', 't', 'r', 'e', 's'};
static const uint8_t gcm_128_sealed[sizeof(gcm_test_plain) + GCM_TAG] = {0xf2, 0x4d, 0xe3, 0xa3,
	0xfb, 0x34, 0xde, 0x6c, 0xac, 0xba, 0x86, 0x1c, 0x9d, 0x7e, 0x4b, 0xca, 0xbe, 0x63, 0x3b,
	0xd5, 0x0d, 0x29, 0x4e, 0x6f, 0x42, 0xa5, 0xf4, 0x7a, 0x51, 0xc7, 0xd1, 0x9b, 0x36, 0xde,
	0x3a, 0xdf, 0x88, 0x33, 0x89, 0x9d, 0x7f, 0x27, 0xbe, 0xb1, 0x6a, 0x91, 0x52, 0xcf, 0x76,
	0x5e, 0xe4, 0x39, 0x0c, 0xce};
static const uint8_t gcm_256_sealed[sizeof(gcm_test_plain) + GCM_TAG] = {0x32, 0xb1, 0xde, 0x78,
	0xa8, 0x22, 0xfe, 0x12, 0xef, 0x9f, 0x78, 0xfa, 0x33, 0x2e, 0x33, 0xaa, 0xb1, 0x80, 0x12,
	0x38, 0x9a, 0x58, 0xe2, 0xf3, 0xb5, 0x0b, 0x2a, 0x02, 0x76, 0xff, 0xae, 0x0f, 0x1b, 0xa6,
	0x37, 0x99, 0xb8, 0x7b, 0x7a, 0xa3, 0xdb, 0x36, 0xdf, 0xff, 0xd6, 0xb0, 0xf9, 0xbb, 0x78,
	0x78, 0xd7, 0xa7, 0x6c, 0x13};

#define GCM_TEST(name, key_bytes, sealed)                                                         \
	static const srtp_cipher_test_case_t name = {.key_length_octets = (key_bytes) + GCM_SALT, \
		.key = gcm_keys,                                                                  \
		.idx = gcm_test_iv,                                                               \
		.plaintext_length_octets = sizeof(gcm_test_plain),                                \
		.plaintext = gcm_test_plain,                                                      \
		.ciphertext_length_octets = sizeof(sealed),                                       \
		.ciphertext = sealed,                                                             \
		.aad_length_octets = sizeof(gcm_test_aad),                                        \
		.aad = gcm_test_aad,                                                              \
		.tag_length_octets = GCM_TAG}
GCM_TEST(gcm_128_test, 16, gcm_128_sealed);
GCM_TEST(gcm_256_test, 32, gcm_256_sealed);

#define GCM_TYPE(name, text, test, number)                          \
	static const srtp_cipher_type_t name = {.alloc = gcm_alloc, \
		.dealloc = cipher_dealloc,                          \
		.init = gcm_init,                                   \
		.set_aad = gcm_set_aad,                             \
		.encrypt = gcm_encrypt,                             \
		.decrypt = gcm_decrypt,                             \
		.set_iv = gcm_set_iv,                               \
		.get_tag = gcm_get_tag,                             \
		.description = text,                                \
		.test_data = &test,                                 \
		.id = number}
GCM_TYPE(gcm_128, "AES-128 GCM, OpenSSL", gcm_128_test, SRTP_AES_GCM_128);
GCM_TYPE(gcm_256, "AES-256 GCM, OpenSSL", gcm_256_test, SRTP_AES_GCM_256);

/* ---- HMAC-SHA1 ---- */

struct hmac {
	srtp_auth_t base;
	SHA_CTX inner, outer; /* after the padded key */
	SHA_CTX current;
};

static const srtp_auth_type_t hmac_sha1;

static srtp_err_status_t hmac_alloc(srtp_auth_t **out, int key_length, int tag_length)
{
	if (key_length < 0 || key_length > SHA_CBLOCK || tag_length < 0 ||
		tag_length > SHA_DIGEST_LENGTH)
		return srtp_err_status_bad_param;
	struct hmac *h = calloc(1, sizeof(*h));
	if (!h)
		return srtp_err_status_alloc_fail;
	h->base = (srtp_auth_t){
		.type = &hmac_sha1, .state = h, .out_len = tag_length, .key_len = key_length};
	*out = &h->base;
	return srtp_err_status_ok;
}

static srtp_err_status_t hmac_dealloc(srtp_auth_t *base)
{
	struct hmac *h = base->state;

	OPENSSL_cleanse(h, sizeof(*h));
	free(h);
	return srtp_err_status_ok;
}

static void hmac_pad(SHA_CTX *sha, const uint8_t *key, int key_length, uint8_t pad)
{
	uint8_t block[SHA_CBLOCK];

	memset(block, pad, sizeof(block));
	for (int i = 0; i < key_length; i++)
		block[i] ^= key[i];
	SHA1_Init(sha);
	SHA1_Update(sha, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
}

static srtp_err_status_t hmac_init(void *state, const uint8_t *key, int key_length)
{
	struct hmac *h = state;

	if (key_length > SHA_CBLOCK)
		return srtp_err_status_bad_param;
	hmac_pad(&h->inner, key, key_length, 0x36);
	hmac_pad(&h->outer, key, key_length, 0x5c);
	h->current = h->inner;
	return srtp_err_status_ok;
}

static srtp_err_status_t hmac_start(void *state)
{
	struct hmac *h = state;

	h->current = h->inner;
	return srtp_err_status_ok;
}

static srtp_err_status_t hmac_update(void *state, const uint8_t *bytes, int size)
{
	struct hmac *h = state;

	SHA1_Update(&h->current, bytes, (size_t)size);
	return srtp_err_status_ok;
}

static srtp_err_status_t hmac_compute(
	void *state, const uint8_t *bytes, int size, int tag_length, uint8_t *tag)
{
	struct hmac *h = state;
	uint8_t digest[SHA_DIGEST_LENGTH];

	if (tag_length < 0 || tag_length > SHA_DIGEST_LENGTH)
		return srtp_err_status_bad_param;
	SHA1_Update(&h->current, bytes, (size_t)size);
	SHA1_Final(digest, &h->current);
	h->current = h->outer;
	SHA1_Update(&h->current, digest, sizeof(digest));
	SHA1_Final(digest, &h->current);
	memcpy(tag, digest, (size_t)tag_length);
	return srtp_err_status_ok;
}

/* RFC 2202 3, test case 1 */
static const uint8_t hmac_test_key[20] = {
	11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11};
static const uint8_t hmac_test_data[8] = {'H', 'i', ' ', 'T', 'h', 'e', 'r', 'e'};
static const uint8_t hmac_test_tag[SHA_DIGEST_LENGTH] = {0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72,
	0x64, 0xe2, 0x8b, 0xc0, 0xb6, 0xfb, 0x37, 0x8c, 0x8e, 0xf1, 0x46, 0xbe, 0x00};
static const srtp_auth_test_case_t hmac_test = {.key_length_octets = sizeof(hmac_test_key),
	.key = hmac_test_key,
	.data_length_octets = sizeof(hmac_test_data),
	.data = hmac_test_data,
	.tag_length_octets = sizeof(hmac_test_tag),
	.tag = hmac_test_tag};

static const srtp_auth_type_t hmac_sha1 = {.alloc = hmac_alloc,
	.dealloc = hmac_dealloc,
	.init = hmac_init,
	.compute = hmac_compute,
	.update = hmac_update,
	.start = hmac_start,
	.description = "HMAC-SHA1, OpenSSL",
	.test_data = &hmac_test,
	.id = SRTP_HMAC_SHA1};

enum err openssl_ciphers_install(void)
{
	static const srtp_cipher_type_t *const ciphers[] = {&icm_128, &icm_256, &gcm_128, &gcm_256};
	static bool installed; /* libsrtp2's registry of ciphers is global to the process, too */

	if (installed)
		return ERR_OK;
	if (srtp_init() != srtp_err_status_ok)
		return ERR_CRYPTO;
	for (size_t i = 0; i < sizeof(ciphers) / sizeof(*ciphers); i++)
		if (srtp_replace_cipher_type(ciphers[i], ciphers[i]->id) != srtp_err_status_ok)
			return ERR_CRYPTO;
	if (srtp_replace_auth_type(&hmac_sha1, hmac_sha1.id) != srtp_err_status_ok)
		return ERR_CRYPTO;
	installed = true;
	return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_certificate.h"

#include "schemas/bytes.h"

#include <ctype.h>
#include <openssl/evp.h>

enum { VERSION = 1, SIGNED_SIZE = 57, MESSAGE_MAX = 256 };

static const char purpose[] = "millrace node certificate";

_Static_assert(SIGNED_SIZE + MESH_SIGNATURE_SIZE == MESH_CERTIFICATE_SIZE, "the layout above");

bool mesh_hex_read(const char *text, size_t length, uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	if (length != 2 * size)
		return false;
	for (size_t i = 0; i < length; i++) {
		int c = tolower((unsigned char)text[i]);
		const char *digit = c ? strchr(digits, c) : NULL;

		if (!digit)
			return false;
		bytes[i / 2] = (uint8_t)((i % 2 ? bytes[i / 2] << 4 : 0) | (digit - digits));
	}
	return true;
}

const char *mesh_hex_write(const uint8_t *bytes, size_t size, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * size] = '\0';
	return text;
}

/* ---- the cluster's key ----------------------------------------------------------------------- */

enum err mesh_cluster_key_new(uint8_t secret[MESH_KEY_SIZE])
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	size_t size = MESH_KEY_SIZE;
	bool ok = key && EVP_PKEY_get_raw_private_key(key, secret, &size) == 1 &&
		  size == MESH_KEY_SIZE;

	EVP_PKEY_free(key);
	return ok ? ERR_OK : ERR_CRYPTO;
}

static EVP_PKEY *key_of_secret(const uint8_t secret[MESH_KEY_SIZE])
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, MESH_KEY_SIZE);
}

enum err mesh_cluster_key_public(const uint8_t secret[MESH_KEY_SIZE], uint8_t key[MESH_KEY_SIZE])
{
	EVP_PKEY *pair = key_of_secret(secret);
	size_t size = MESH_KEY_SIZE;
	bool ok =
		pair && EVP_PKEY_get_raw_public_key(pair, key, &size) == 1 && size == MESH_KEY_SIZE;

	EVP_PKEY_free(pair);
	return ok ? ERR_OK : ERR_CRYPTO;
}

/* ---- signatures ------------------------------------------------------------------------------ */

/* The purpose with its NUL, then the bytes: their sizes say where one ends. */
static size_t fill_message(
	const char *what, const void *bytes, size_t size, uint8_t message[MESSAGE_MAX])
{
	size_t head = strlen(what) + 1;

	MUST(head + size <= MESSAGE_MAX);
	memcpy(message, what, head);
	memcpy(message + head, bytes, size);
	return head + size;
}

enum err mesh_sign(const char *what, const void *bytes, size_t size,
	const uint8_t secret[MESH_KEY_SIZE], uint8_t signature[MESH_SIGNATURE_SIZE])
{
	uint8_t message[MESSAGE_MAX];
	size_t length = fill_message(what, bytes, size, message),
	       signature_size = MESH_SIGNATURE_SIZE;
	EVP_PKEY *key = key_of_secret(secret);
	EVP_MD_CTX *context = key ? EVP_MD_CTX_new() : NULL;
	bool ok = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
		  EVP_DigestSign(context, signature, &signature_size, message, length) == 1 &&
		  signature_size == MESH_SIGNATURE_SIZE;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return ok ? ERR_OK : ERR_CRYPTO;
}

bool mesh_is_signed(const char *what, const void *bytes, size_t size,
	const uint8_t public_key[MESH_KEY_SIZE], const uint8_t signature[MESH_SIGNATURE_SIZE])
{
	uint8_t message[MESSAGE_MAX];
	size_t length = fill_message(what, bytes, size, message);
	EVP_PKEY *key =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, MESH_KEY_SIZE);
	EVP_MD_CTX *context = key ? EVP_MD_CTX_new() : NULL;
	bool good = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestVerify(context, signature, MESH_SIGNATURE_SIZE, message, length) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return good;
}

/* ---- certificates ---------------------------------------------------------------------------- */

enum err mesh_certificate_sign(const struct mesh_certificate *certificate,
	const uint8_t secret[MESH_KEY_SIZE], uint8_t bytes[MESH_CERTIFICATE_SIZE])
{
	struct writer out = writer_of(bytes, SIGNED_SIZE);

	if (!certificate->node || certificate->not_after_s < 0)
		return ERR_FORMAT;
	write_u8(&out, VERSION);
	write_u64(&out, certificate->node);
	write_bytes(&out, certificate->key, MESH_KEY_SIZE);
	write_u64(&out, (uint64_t)certificate->not_after_s);
	write_u64(&out, certificate->serial);
	MUST(!out.bad && writer_used(&out) == SIGNED_SIZE);
	return mesh_sign(purpose, bytes, SIGNED_SIZE, secret, bytes + SIGNED_SIZE);
}

enum err mesh_certificate_read(const void *bytes, size_t size, struct mesh_certificate *certificate)
{
	struct reader in = reader_of(bytes, size);
	const uint8_t *key;

	if (size != MESH_CERTIFICATE_SIZE)
		return ERR_FORMAT;
	if (read_u8(&in) != VERSION)
		return ERR_VERSION;
	certificate->node = read_u64(&in);
	key = read_bytes(&in, MESH_KEY_SIZE);
	memcpy(certificate->key, key, MESH_KEY_SIZE);
	certificate->not_after_s = (int64_t)read_u64(&in);
	certificate->serial = read_u64(&in);
	return certificate->node && certificate->not_after_s >= 0 ? ERR_OK : ERR_FORMAT;
}

enum err mesh_certificate_verify(const void *bytes, size_t size, const uint8_t key[MESH_KEY_SIZE],
	int64_t now_s, struct mesh_certificate *certificate)
{
	enum err err = mesh_certificate_read(bytes, size, certificate);

	if (err)
		return err;
	if (!mesh_is_signed(purpose, bytes, SIGNED_SIZE, key, (const uint8_t *)bytes + SIGNED_SIZE))
		return ERR_AUTH;
	return certificate->not_after_s < now_s ? ERR_TIMEOUT : ERR_OK;
}

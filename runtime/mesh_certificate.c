/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_certificate.h"

#include "schemas/bytes.h"

#include <ctype.h>
#include <openssl/evp.h>

enum { VERSION = 1, SIGNED_SIZE = 57, SIGNATURE_SIZE = 64 };

/* In front of what is signed: a signature made for anything else is none. */
static const char purpose[] = "millrace node certificate";

enum { MESSAGE_SIZE = sizeof(purpose) + SIGNED_SIZE };

_Static_assert(SIGNED_SIZE + SIGNATURE_SIZE == MESH_CERTIFICATE_SIZE, "the layout above");

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

/* ---- certificates ---------------------------------------------------------------------------- */

static void fill_message(const uint8_t *bytes, uint8_t message[MESSAGE_SIZE])
{
	memcpy(message, purpose, sizeof(purpose));
	memcpy(message + sizeof(purpose), bytes, SIGNED_SIZE);
}

enum err mesh_certificate_sign(const struct mesh_certificate *certificate,
	const uint8_t secret[MESH_KEY_SIZE], uint8_t bytes[MESH_CERTIFICATE_SIZE])
{
	struct writer out = writer_of(bytes, SIGNED_SIZE);
	uint8_t message[MESSAGE_SIZE];
	size_t size = SIGNATURE_SIZE;

	if (!certificate->node || certificate->not_after_s < 0)
		return ERR_FORMAT;
	write_u8(&out, VERSION);
	write_u64(&out, certificate->node);
	write_bytes(&out, certificate->key, MESH_KEY_SIZE);
	write_u64(&out, (uint64_t)certificate->not_after_s);
	write_u64(&out, certificate->serial);
	MUST(!out.bad && writer_used(&out) == SIGNED_SIZE);
	fill_message(bytes, message);
	EVP_PKEY *key = key_of_secret(secret);
	EVP_MD_CTX *context = key ? EVP_MD_CTX_new() : NULL;
	bool ok = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
		  EVP_DigestSign(context, bytes + SIGNED_SIZE, &size, message, sizeof(message)) ==
			  1 &&
		  size == SIGNATURE_SIZE;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return ok ? ERR_OK : ERR_CRYPTO;
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

static bool is_signed_by(const uint8_t *bytes, const uint8_t public_key[MESH_KEY_SIZE])
{
	EVP_PKEY *key =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, MESH_KEY_SIZE);
	EVP_MD_CTX *context = key ? EVP_MD_CTX_new() : NULL;
	uint8_t message[MESSAGE_SIZE];
	bool good;

	fill_message(bytes, message);
	good = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
	       EVP_DigestVerify(
		       context, bytes + SIGNED_SIZE, SIGNATURE_SIZE, message, sizeof(message)) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return good;
}

enum err mesh_certificate_verify(const void *bytes, size_t size, const uint8_t key[MESH_KEY_SIZE],
	int64_t now_s, struct mesh_certificate *certificate)
{
	enum err err = mesh_certificate_read(bytes, size, certificate);

	if (err)
		return err;
	if (!is_signed_by(bytes, key))
		return ERR_AUTH;
	return certificate->not_after_s < now_s ? ERR_TIMEOUT : ERR_OK;
}

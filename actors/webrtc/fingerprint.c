/* SPDX-License-Identifier: Apache-2.0
 *
 * Fingerprints of certificates. See fingerprint.h.
 */
#include "actors/webrtc/fingerprint.h"

#include "actors/webrtc/openssl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct hash {
	const char *name;
	size_t size; /* bytes */
	const EVP_MD *(*digest)(void);
} hashes[] = {
	[CERTIFICATE_SHA_256] = {"sha-256", 32, EVP_sha256},
	[CERTIFICATE_SHA_384] = {"sha-384", 48, EVP_sha384},
	[CERTIFICATE_SHA_512] = {"sha-512", 64, EVP_sha512},
};

enum { HASHES = sizeof(hashes) / sizeof(*hashes) };

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err fingerprint_parse(struct fingerprint *fingerprint, const char *text, size_t size)
{
	const char *space = memchr(text, ' ', size);
	uint8_t hash;

	*fingerprint = (struct fingerprint){0};
	if (!space)
		return ERR_FORMAT;
	size_t name_size = (size_t)(space - text);
	for (hash = CERTIFICATE_SHA_256; hash < HASHES; hash++)
		if (strlen(hashes[hash].name) == name_size &&
			!strncasecmp(hashes[hash].name, text, name_size))
			break;
	if (hash == HASHES)
		return ERR_UNSUPPORTED;
	const char *at = space + 1;
	if ((size_t)(text + size - at) != hashes[hash].size * 3 - 1)
		return ERR_FORMAT;
	struct fingerprint parsed = {.hash = hash};
	for (size_t i = 0; i < hashes[hash].size; i++, at += 3) {
		int high = hex_value(at[0]), low = hex_value(at[1]);

		if (high < 0 || low < 0 || (i + 1 < hashes[hash].size && at[2] != ':'))
			return ERR_FORMAT;
		parsed.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*fingerprint = parsed;
	return ERR_OK;
}

const char *fingerprint_print(
	const struct fingerprint *fingerprint, char text[FINGERPRINT_TEXT_MAX])
{
	uint8_t hash = fingerprint->hash;

	text[0] = '\0';
	if (hash == CERTIFICATE_HASH_NONE || hash >= HASHES)
		return text;
	int used = snprintf(text, FINGERPRINT_TEXT_MAX, "%s ", hashes[hash].name);
	for (size_t i = 0; i < hashes[hash].size; i++)
		used += snprintf(text + used, FINGERPRINT_TEXT_MAX - (size_t)used, "%s%02X",
			i ? ":" : "", fingerprint->bytes[i]);
	return text;
}

bool fingerprint_of(struct fingerprint *fingerprint, enum certificate_hash hash, const X509 *x509)
{
	unsigned int size = 0;

	*fingerprint = (struct fingerprint){.hash = (uint8_t)hash};
	return X509_digest(x509, hashes[hash].digest(), fingerprint->bytes, &size) == 1 &&
	       size == hashes[hash].size;
}

bool fingerprint_matches(const struct fingerprint *fingerprint, const X509 *x509)
{
	struct fingerprint actual;

	if (fingerprint->hash == CERTIFICATE_HASH_NONE || fingerprint->hash >= HASHES)
		return false;
	return fingerprint_of(&actual, fingerprint->hash, x509) &&
	       !CRYPTO_memcmp(actual.bytes, fingerprint->bytes, hashes[fingerprint->hash].size);
}

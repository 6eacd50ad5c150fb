/* SPDX-License-Identifier: Apache-2.0
 *
 * fingerprint: by which either side of a DTLS session knows the other's certificate (RFC 8122;
 * RFC 8827 6.5). Plain values and pure functions. Thread: any.
 */
#ifndef MILLRACE_WEBRTC_FINGERPRINT_H
#define MILLRACE_WEBRTC_FINGERPRINT_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FINGERPRINT_BYTES_MAX = 64, /* SHA-512 */
	/* "sha-512 " and 64 times "XX:", the last colon being the end of the text */
	FINGERPRINT_TEXT_MAX = 8 + 3 * FINGERPRINT_BYTES_MAX,
};

enum certificate_hash {
	CERTIFICATE_HASH_NONE,
	CERTIFICATE_SHA_256,
	CERTIFICATE_SHA_384,
	CERTIFICATE_SHA_512,
};

/* Plain; all zero matches no certificate. */
struct fingerprint {
	uint8_t hash; /* enum certificate_hash */
	uint8_t bytes[FINGERPRINT_BYTES_MAX];
};

/* Reads `size` bytes of the value of an SDP fingerprint attribute, "sha-256 AB:CD:…" (RFC 8122 5;
 * case is ignored). ERR_UNSUPPORTED: another hash; ERR_FORMAT.
 */
enum err fingerprint_parse(struct fingerprint *fingerprint, const char *text, size_t size);

/* Writes "sha-256 AB:CD:…" with its NUL; "" when the hash is none. Returns `text`. */
const char *fingerprint_print(
	const struct fingerprint *fingerprint, char text[FINGERPRINT_TEXT_MAX]);

struct x509_st;

/* That of a certificate, by a hash other than none; false: OpenSSL failed. */
bool fingerprint_of(
	struct fingerprint *fingerprint, enum certificate_hash hash, const struct x509_st *x509);

/* Whether the certificate has this fingerprint; takes the same time whatever differs. */
bool fingerprint_matches(const struct fingerprint *fingerprint, const struct x509_st *x509);

#endif

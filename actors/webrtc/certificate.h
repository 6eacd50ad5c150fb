/* SPDX-License-Identifier: Apache-2.0
 *
 * certificate: the self-signed ECDSA P-256 certificate that all DTLS sessions of a node show, and
 * the fingerprints by which either side knows the other (RFC 8122; RFC 8827 6.5).
 *
 * It is kept with its key in one PEM file of mode 0600 in the data directory, so that a peer sees
 * the same fingerprint after a restart. The calendar is not checked by browsers; it is renewed all
 * the same, at start, when CERTIFICATE_RENEW_DAYS or fewer are left.
 *
 * Thread: a loaded certificate may be read from any thread.
 */
#ifndef MILLRACE_WEBRTC_CERTIFICATE_H
#define MILLRACE_WEBRTC_CERTIFICATE_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CERTIFICATE_VALID_DAYS = 365,
	CERTIFICATE_RENEW_DAYS = 30,
	CERTIFICATE_FILE_MAX = 16384, /* bytes; a larger file is not ours */
	CERTIFICATE_PROBLEM_MAX = 256,
	FINGERPRINT_BYTES_MAX = 64, /* SHA-512 */
	/* "sha-512 " and 64 times "XX:", the last colon being the end of the text */
	FINGERPRINT_TEXT_MAX = 8 + 3 * FINGERPRINT_BYTES_MAX,
};

/* The file's name in the directory. */
#define CERTIFICATE_FILE "dtls.pem"

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

struct certificate {
	struct evp_pkey_st *key; /* owned, as is x509 */
	struct x509_st *x509;
	struct fingerprint fingerprint; /* SHA-256 */
	int64_t expires_s;		/* Unix time */
};

/* Makes a new one, valid from a day before `unix_s`. ERR_CRYPTO (randomness or memory failed); the
 * certificate is then as after certificate_fini.
 */
enum err certificate_create(struct certificate *certificate, int64_t unix_s);

/* Loads it from `directory`, or makes and stores it there when it is missing or (nearly) expired.
 * Several processes may call this at once and get the same one. `problem` receives at most
 * CERTIFICATE_PROBLEM_MAX bytes of text for people, "" on success. Blocks for the file system.
 * ERR_IO, ERR_CONFIG (file readable by others, damaged, or not a certificate with its key),
 * ERR_CRYPTO.
 */
enum err certificate_load(
	struct certificate *certificate, const char *directory, int64_t unix_s, char *problem);

/* Whether it should be replaced now. */
bool certificate_is_due(const struct certificate *certificate, int64_t unix_s);

/* Frees; harmless on a zeroed certificate, on NULL and when repeated. */
void certificate_fini(struct certificate *certificate);

/* Reads `size` bytes of the value of an SDP fingerprint attribute, "sha-256 AB:CD:…" (RFC 8122 5;
 * case is ignored). ERR_UNSUPPORTED: another hash; ERR_FORMAT.
 */
enum err fingerprint_parse(struct fingerprint *fingerprint, const char *text, size_t size);

/* Writes "sha-256 AB:CD:…" with its NUL; "" when the hash is none. Returns `text`. */
const char *fingerprint_print(
	const struct fingerprint *fingerprint, char text[FINGERPRINT_TEXT_MAX]);

/* Whether the certificate has this fingerprint; takes the same time whatever differs. */
bool fingerprint_matches(const struct fingerprint *fingerprint, const struct x509_st *x509);

#endif

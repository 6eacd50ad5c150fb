/* SPDX-License-Identifier: Apache-2.0
 *
 * certificate: the self-signed ECDSA P-256 certificate that all DTLS sessions of a node show; peers
 * know it by its fingerprint.
 *
 * It is kept with its key in one PEM file of mode 0600 in the data directory, so that a peer sees
 * the same fingerprint after a restart. The calendar is not checked by browsers; it is renewed all
 * the same, at start, when CERTIFICATE_RENEW_DAYS or fewer are left.
 *
 * Thread: a loaded certificate may be read from any thread.
 */
#ifndef MILLRACE_WEBRTC_CERTIFICATE_H
#define MILLRACE_WEBRTC_CERTIFICATE_H

#include "actors/webrtc/fingerprint.h"

enum {
	CERTIFICATE_VALID_DAYS = 365,
	CERTIFICATE_RENEW_DAYS = 30,
	CERTIFICATE_FILE_MAX = 16384, /* bytes; a larger file is not ours */
	CERTIFICATE_PROBLEM_MAX = 256,
};

/* The file's name in the directory. */
#define CERTIFICATE_FILE "dtls.pem"

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

#endif

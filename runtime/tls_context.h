/* SPDX-License-Identifier: Apache-2.0
 *
 * tls context: the certificate and key of a node's HTTPS and RTMPS listeners, read from two PEM
 * files, and what all their connections (tls.h) have in common.
 *
 *   files --tls_context_load--> context --connections begin--> replaced by a newer one, freed;
 *                                                              connections that run keep theirs
 *
 * TLS 1.2 (RFC 5246, with ECDHE and an AEAD only) and TLS 1.3 (RFC 8446); no renegotiation, no
 * compression, no early data, no client certificates. Tickets are sealed with a key made of the
 * node's secret and the certificate: every worker takes those of the others, and nobody takes one
 * from before a renewal, so that a new certificate is seen.
 *
 * Never logs; `problem` and the warnings are for the caller. Blocks for the file system.
 * Thread: one at a time.
 */
#ifndef MILLRACE_TLS_CONTEXT_H
#define MILLRACE_TLS_CONTEXT_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	TLS_FILE_MAX = 128 * 1024, /* bytes; a chain of certificates has a few thousand */
	TLS_CHAIN_MAX = 16,	   /* certificates in the file */
	TLS_PROBLEM_MAX = 400,
	TLS_TICKET_SECRET = 32, /* bytes */
};

/* Read only. */
struct tls_context {
	struct ssl_ctx_st *ssl;
	struct bio_method_st *bio_method;
	uint32_t users;	   /* who loaded it, and connections */
	int64_t expires_s; /* Unix time */
	bool is_early;	   /* it is not valid yet: somebody's clock is wrong */
	bool key_is_open;  /* others than its owner can read the key's file */
};

/* What is loaded from where. */
struct tls_files {
	const char *certificate; /* PEM: the certificate, then those that lead to its issuer */
	const char *key;	 /* PEM, not encrypted; may be the same file */
};

/* ERR_CONFIG with text for people in `problem` (TLS_PROBLEM_MAX bytes): a file that is missing or
 * damaged, an expired certificate, a key that is not its own; ERR_NO_MEMORY, with text too. */
enum err tls_context_load(struct tls_context **context, const struct tls_files *files,
	const uint8_t secret[TLS_TICKET_SECRET], int64_t unix_s, char *problem);

/* For the client's ends of connections: trusts the certificates in `ca_file` (PEM), NULL = the
 * system's. Errors as above. */
enum err tls_context_trust(struct tls_context **context, const char *ca_file, char *problem);

/* The last user frees it. NULL is harmless; *context is NULL afterwards. */
void tls_context_release(struct tls_context **context);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Who a node is, as its cluster says: a certificate binds the node's id to the CURVE key that its
 * gateway proves itself with, until a time, signed by the cluster's Ed25519 key (RFC 8032). Its bytes
 * have one form only, so that what was verified once can be compared afterwards.
 *
 *   0        version, 1
 *   1 - 8    node id
 *   9 - 40   CURVE public key of the node
 *   41 - 48  not after, seconds of Unix time
 *   49 - 56  serial: a later one of a node has a higher one
 *   57 - 120 signature of a fixed word and bytes 0 - 56
 *
 * Numbers are big-endian. Keys and certificates are written for people as hexadecimal digits: nothing
 * in them that a shell, YAML or an option's dash could mean something by.
 *
 * Pure functions; time is an argument. Thread: any.
 */
#ifndef MILLRACE_MESH_CERTIFICATE_H
#define MILLRACE_MESH_CERTIFICATE_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	MESH_KEY_SIZE = 32, /* public or secret, CURVE or Ed25519 */
	MESH_KEY_TEXT_SIZE = 2 * MESH_KEY_SIZE + 1,
	MESH_SIGNATURE_SIZE = 64,
	MESH_CERTIFICATE_SIZE = 121,
	MESH_CERTIFICATE_TEXT_SIZE = 2 * MESH_CERTIFICATE_SIZE + 1,
};

struct mesh_certificate {
	uint64_t node; /* never 0 */
	uint8_t key[MESH_KEY_SIZE];
	int64_t not_after_s;
	uint64_t serial;
};

/* A key pair of a cluster: what it signs with, and what others know it by. ERR_CRYPTO. */
enum err mesh_cluster_key_new(uint8_t secret[MESH_KEY_SIZE]);
enum err mesh_cluster_key_public(const uint8_t secret[MESH_KEY_SIZE], uint8_t key[MESH_KEY_SIZE]);

/* A signature of the cluster's for one purpose; made for another it is none. At most 200 bytes of both
 * together. ERR_CRYPTO. */
enum err mesh_sign(const char *purpose, const void *bytes, size_t size,
	const uint8_t secret[MESH_KEY_SIZE], uint8_t signature[MESH_SIGNATURE_SIZE]);
bool mesh_is_signed(const char *purpose, const void *bytes, size_t size,
	const uint8_t key[MESH_KEY_SIZE], const uint8_t signature[MESH_SIGNATURE_SIZE]);

/* ERR_CRYPTO; ERR_FORMAT: no node, or a time before 1970. */
enum err mesh_certificate_sign(const struct mesh_certificate *certificate,
	const uint8_t secret[MESH_KEY_SIZE], uint8_t bytes[MESH_CERTIFICATE_SIZE]);

/* What it says, whoever signed it. ERR_FORMAT, ERR_VERSION. */
enum err mesh_certificate_read(
	const void *bytes, size_t size, struct mesh_certificate *certificate);

/* The same of one that this cluster signed and that is still good: also ERR_AUTH (another's
 * signature), ERR_TIMEOUT (not after is past). */
enum err mesh_certificate_verify(const void *bytes, size_t size, const uint8_t key[MESH_KEY_SIZE],
	int64_t now_s, struct mesh_certificate *certificate);

/* Exactly `size` bytes as 2 * size digits, upper or lower case; false: it is something else. */
bool mesh_hex_read(const char *text, size_t length, uint8_t *bytes, size_t size);
/* Lower case, NUL-terminated: 2 * size + 1 characters. Returns text. */
const char *mesh_hex_write(const uint8_t *bytes, size_t size, char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's side of the RTMP handshake (Adobe RTMP 1.0, section 5.2), and its variant with
 * HMAC-SHA256 digests that Flash Player 9 brought and that clients such as ffmpeg verify. Which one
 * the client speaks is seen from its C1: a valid digest at the place that one of the two layouts
 * ("schemas") names, else the simple one.
 *
 *	struct handshake: bytes of C0 and C1 are gathered, S0 S1 S2 written, C2 skipped.
 *
 * Thread: any. The engine allocates nothing; OpenSSL's HMAC may.
 */
#ifndef MILLRACE_RTMP_HANDSHAKE_H
#define MILLRACE_RTMP_HANDSHAKE_H

#include "schemas/bytes.h"
#include "schemas/err.h"

#include <stdbool.h>

enum {
	HANDSHAKE_PART_SIZE = 1536,			     /* bytes of C1, C2, S1 and S2 */
	HANDSHAKE_ASK_SIZE = 1 + HANDSHAKE_PART_SIZE,	     /* C0 C1 */
	HANDSHAKE_ANSWER_SIZE = 1 + 2 * HANDSHAKE_PART_SIZE, /* S0 S1 S2 */
	HANDSHAKE_DIGEST_SIZE = 32,
};

enum handshake_schema {
	HANDSHAKE_SIMPLE,	/* S2 is C1 again */
	HANDSHAKE_KEY_FIRST,	/* schema 0: key block, then digest block */
	HANDSHAKE_DIGEST_FIRST, /* schema 1: digest block, then key block */
	HANDSHAKE_SCHEMA_COUNT
};

/* Plain and pointer-free. All zero is the beginning. */
struct handshake {
	uint32_t taken; /* bytes of C0 C1 C2 taken so far */
	uint8_t schema; /* enum handshake_schema, once C1 is here */
};

/* Takes bytes from `in`; C0 and C1 are gathered in `scratch` (HANDSHAKE_ASK_SIZE bytes that must
 * keep their content between calls), the answer goes to `out`, which needs room for
 * HANDSHAKE_ANSWER_SIZE bytes. `seed` gives the filling that peers do not predict (it protects
 * nothing). ERR_OK: done, the bytes after C2 are still in `in`. ERR_AGAIN: all taken, more needed.
 * ERR_UNSUPPORTED: not RTMP version 3. ERR_NO_SPACE: no room in out, nothing lost, call again.
 * ERR_CRYPTO: OpenSSL failed. */
enum err handshake_read(struct handshake *h, uint8_t *scratch, struct reader *in,
	struct writer *out, uint64_t seed, uint32_t now_ms);

/* Whether every field is in range (state that came from another process). */
bool handshake_is_valid(const struct handshake *h);

/* Where the digest of a C1 or S1 lies in it by the given layout (not HANDSHAKE_SIMPLE). */
size_t handshake_digest_offset(
	const uint8_t part[HANDSHAKE_PART_SIZE], enum handshake_schema schema);

/* Computes the digest of a part whose digest lies at `offset`, with `key`. For tests as well: a
 * client signs its C1 so. ERR_CRYPTO. */
enum err handshake_digest(const uint8_t part[HANDSHAKE_PART_SIZE], size_t offset,
	const uint8_t *key, size_t key_size, uint8_t digest[HANDSHAKE_DIGEST_SIZE]);

/* The keys: text and 32 bytes; digests in C1 use the client's text alone (30 bytes), in S1 the
 * server's text alone (36), S2 the whole server key. */
enum {
	HANDSHAKE_CLIENT_KEY_SIZE = 30,
	HANDSHAKE_SERVER_TEXT_SIZE = 36,
	HANDSHAKE_SERVER_KEY_SIZE = 68,
};
extern const uint8_t handshake_client_key[HANDSHAKE_CLIENT_KEY_SIZE];
extern const uint8_t handshake_server_key[HANDSHAKE_SERVER_KEY_SIZE];

#endif

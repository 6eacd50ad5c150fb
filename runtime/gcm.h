/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-GCM by libipsec-mb where the processor and the build have it: a third of what EVP of OpenSSL
 * 3.0 costs a packet (docs/performance.md). Where they do not, gcm_key_create gives nothing and
 * whoever asked uses EVP.
 *
 * A key may be used by one thread at a time. Nothing allocates but gcm_key_create.
 */
#ifndef MILLRACE_GCM_H
#define MILLRACE_GCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GCM_IV_SIZE = 12, GCM_TAG_SIZE = 16, GCM_PIECES_MAX = 2 };

struct gcm_key;

/* Bytes to be encrypted or decrypted, in place or to another place that does not overlap. */
struct gcm_piece {
	const uint8_t *from;
	uint8_t *to;
	size_t size;
};

/* A place for one key; NULL: not available here, or no memory. */
struct gcm_key *gcm_key_create(void);
/* Wipes. */
void gcm_key_destroy(struct gcm_key **key);
/* Expands a key of 16 or 32 bytes (0.15 us). */
void gcm_key_set(struct gcm_key *key, const uint8_t *bytes, size_t size);
/* It is used soon: brings it near. */
void gcm_key_ahead(const struct gcm_key *key);
/* Encrypts the pieces as one text, with `clear` authenticated in front. */
void gcm_seal(const struct gcm_key *key, const uint8_t iv[GCM_IV_SIZE], const uint8_t *clear,
	size_t clear_size, const struct gcm_piece *pieces, size_t count, uint8_t tag[GCM_TAG_SIZE]);
/* Decrypts one piece, with `clear` authenticated in front. False: it is not what was sealed, and what
 * `to` holds is nothing. */
bool gcm_open(const struct gcm_key *key, const uint8_t iv[GCM_IV_SIZE], const uint8_t *clear,
	size_t clear_size, const struct gcm_piece *piece, const uint8_t tag[GCM_TAG_SIZE]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * link_seal: the datagrams of a link, encrypted and authenticated (AES-128-GCM), by libipsec-mb where
 * the processor has it, else by EVP. A direction has a key of its own, made at random by whoever sends.
 *
 * Encryption never counts: the caller gives each datagram its counter, from memory that outlives the
 * process, stored there before the datagram is sealed; after a takeover it goes on beyond. The nonce is
 * the key's salt, its last 8 bytes XOR the counter.
 *
 * Thread: one at a time. Allocates in link_seal_init only.
 */
#ifndef MILLRACE_LINK_SEAL_H
#define MILLRACE_LINK_SEAL_H

#include "actors/link/link_wire.h"

enum {
	LINK_KEY_SIZE = 16,
	LINK_SALT_SIZE = 12,
	/* counters that may have been overtaken and still be taken: two paths that differ by 300 ms at
	 * 50,000 datagrams a second; a multiple of 64 */
	LINK_WINDOW = 16384,
};

/* A new key is due well before GCM's bound for one (NIST SP 800-38D 8.3, 2^32 invocations). */
#define LINK_KEY_PACKETS (UINT64_C(1) << 31)

/* Secret: clear it with link_key_clear. */
struct link_key {
	uint8_t key[LINK_KEY_SIZE];
	uint8_t salt[LINK_SALT_SIZE];
};

struct link_seal {
	/* owned; one of the two, none before link_seal_init and after link_seal_fini */
	struct gcm_key *gcm;
	struct evp_cipher_ctx_st *cipher;
	uint8_t salt[LINK_SALT_SIZE];
};

/* What was taken of a sender; plain, for shared memory. All zero: nothing. Counters begin at 1. */
struct link_window {
	uint64_t highest;
	uint64_t seen[LINK_WINDOW / 64];
};

void link_key_clear(struct link_key *key);

/* Borrows `key` for the call. ERR_NO_MEMORY: as after link_seal_fini. */
enum err link_seal_init(struct link_seal *seal, const struct link_key *key);
/* As link_seal_init, by EVP whatever the processor has: for comparison. */
enum err link_seal_init_evp(struct link_seal *seal, const struct link_key *key);
bool link_seal_is_ready(const struct link_seal *seal);
/* Frees and wipes; harmless on a zeroed one and when repeated. */
void link_seal_fini(struct link_seal *seal);

/* A datagram: head and body written, to be sealed in place. `bytes` has room for the tag. */
struct link_sealing {
	uint8_t *bytes;
	uint16_t size; /* in: of head and body; out: of all; 0 = it must not be sent */
};

/* Seals each, under the counter in its head. ERR_CRYPTO: at least one was not. */
enum err link_seal_batch(struct link_seal *seal, struct link_sealing *datagrams, size_t count);

/* Authenticates a datagram of `size` bytes and decrypts its body to `body` (room for LINK_BODY_MAX; may
 * be the body's own place); its size to *body_size. `head` was read from it. ERR_TOO_LARGE, ERR_REPLAY,
 * ERR_AUTH; the window has then not changed. */
enum err link_unseal(struct link_seal *seal, struct link_window *window,
	const struct link_head *head, const uint8_t *bytes, size_t size, uint8_t *body,
	size_t *body_size);

#endif

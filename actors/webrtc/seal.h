/* SPDX-License-Identifier: Apache-2.0
 *
 * seal: outgoing SRTP and SRTCP (RFC 3711, RFC 7714) as a pure engine over OpenSSL EVP, and over
 * libipsec-mb for GCM where the processor has it (gcm.h).
 *
 * Encryption here never counts packets. The caller supplies the index of every packet from memory
 * that outlives the process, stores it there *before* the packet is sealed, and after a takeover
 * sends the bytes it sealed before: sealing two different packets under one index and one key gives
 * the key stream away (RFC 3711 9.1; with GCM the authentication key too, RFC 7714 5.1).
 *
 * `struct seal_keys` is plain and may lie in shared memory. `struct seal` is rebuilt from it at any
 * time, in a few microseconds; it owns one context, which carries the SRTP session key and is re-keyed for the rare
 * SRTCP packet (0.25 us), so that a session costs one context of about 1.2 kB and not two.
 *
 * Thread: a seal belongs to one thread; different seals are independent. No allocation after
 * seal_init. Keys are derived by one context a thread, which stays until that ends.
 */
#ifndef MILLRACE_WEBRTC_SEAL_H
#define MILLRACE_WEBRTC_SEAL_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values of the DTLS-SRTP protection profile registry (RFC 5764 4.1.2, RFC 7714 14.2). */
enum seal_profile {
	SEAL_NONE = 0x0000,
	SEAL_AES128_CM_SHA1_80 = 0x0001,
	SEAL_AEAD_AES_128_GCM = 0x0007,
	SEAL_AEAD_AES_256_GCM = 0x0008,
};

enum {
	SEAL_KEY_MAX = 32,  /* bytes: AES-256 */
	SEAL_SALT_MAX = 14, /* bytes: AES-CM 14, GCM 12 */
	SEAL_AUTH_KEY = 20, /* bytes: HMAC-SHA1 (RFC 3711 8.2) */
	/* What seal_rtp_batch adds to a packet, and seal_rtcp (with E bit and index). */
	SEAL_RTP_OVERHEAD_MAX = 16,
	SEAL_RTCP_OVERHEAD_MAX = 20,
	SEAL_RTP_HEADER_MIN = 12,
	SEAL_RTCP_HEADER = 8,	     /* bytes of an SRTCP packet that stay in the clear */
	SEAL_RTCP_PACKET_MAX = 1472, /* bytes of a compound packet before sealing */
};

/* RFC 3711 3.2.1 and 9.2: an index is never larger than these under one master key. */
#define SEAL_RTP_INDEX_MAX  ((UINT64_C(1) << 48) - 1)
#define SEAL_RTCP_INDEX_MAX UINT32_C(0x7fffffff)

/* Master key and salt of one direction. Secret: clear it with seal_keys_clear. */
struct seal_keys {
	uint16_t profile; /* enum seal_profile */
	uint8_t key[SEAL_KEY_MAX];
	uint8_t salt[SEAL_SALT_MAX];
};

/* Session keys of one of the two flows, derived with a key derivation rate of 0. */
struct seal_flow {
	uint8_t key[SEAL_KEY_MAX];
	uint8_t salt[SEAL_SALT_MAX];
	uint8_t auth_key[SEAL_AUTH_KEY]; /* AES-CM only */
	uint32_t auth_inner[5];		 /* SHA-1 state after key XOR ipad, and XOR opad */
	uint32_t auth_outer[5];
};

struct seal {
	uint16_t profile;
	bool keyed_for_rtcp; /* whose key the context holds */
	/* owned; one of the two, none before seal_init and after seal_fini */
	struct evp_cipher_ctx_st *cipher;
	struct gcm_key *gcm;
	struct seal_flow rtp, rtcp;
	struct seal_keys
		master; /* until SRTCP's session keys are made of it, with its first packet */
	uint64_t packets, rtcp_packets, failures; /* since seal_init */
};

/* One RTP packet to be sealed. The caller has written `header_size` bytes of header (fixed part,
 * CSRCs, extension: they stay in the clear) and `prefix_size` bytes of payload that are its own (an
 * RTX original sequence number, a rewritten payload descriptor; they are encrypted in place) to
 * `out`. The rest of the payload is read where it lies and written encrypted behind them.
 */
struct seal_packet {
	uint8_t *out; /* borrowed */
	const uint8_t
		*payload; /* borrowed; disjoint from `out`, or exactly behind the prefix in it */
	uint64_t index;	  /* ROC << 16 | sequence number, as in the header */
	uint16_t out_capacity; /* bytes; at least all the sizes + SEAL_RTP_OVERHEAD_MAX */
	uint16_t header_size;
	uint16_t prefix_size;
	uint16_t payload_size;
	uint16_t size; /* result: bytes in `out`; 0 when this packet was refused */
};

/* Key and salt length in bytes; 0 for an unknown profile. */
size_t seal_key_size(uint16_t profile);
size_t seal_salt_size(uint16_t profile);

/* "AEAD_AES_128_GCM" …; "none" for an unknown profile. */
const char *seal_profile_name(uint16_t profile);

/* Whether the profile is one that we speak. */
bool seal_keys_are_valid(const struct seal_keys *keys);

/* Overwrites the secret so that the compiler cannot leave it out. NULL does nothing. */
void seal_keys_clear(struct seal_keys *keys);

/* RFC 3711 4.3.1 with key derivation rate 0: writes `size` (at most 256) bytes of the key with
 * `label` (0-2 SRTP cipher, authentication, salt; 3-5 the same for SRTCP). ERR_NO_MEMORY,
 * ERR_UNSUPPORTED.
 */
enum err seal_derive(const struct seal_keys *keys, uint8_t label, uint8_t *out, size_t size);

/* Borrows `keys` for the call. On error the seal is as after seal_fini. ERR_UNSUPPORTED (profile),
 * ERR_NO_MEMORY.
 */
enum err seal_init(struct seal *seal, const struct seal_keys *keys);

/* As seal_init, but from ready session keys (test vectors are stated in them). */
enum err seal_init_flows(struct seal *seal, uint16_t profile, const struct seal_flow *rtp,
	const struct seal_flow *rtcp);

/* Goes on with EVP whatever the processor has: for comparison. ERR_NO_MEMORY: only seal_fini may
 * follow. */
enum err seal_use_evp(struct seal *seal);

/* Frees and wipes; harmless on a zeroed seal and when repeated. */
void seal_fini(struct seal *seal);

/* Seals `count` packets in order. A packet that is refused gets size 0, the others are sealed all
 * the same; the first error is returned: ERR_FORMAT (not an RTP header of header_size bytes, or
 * index and sequence number differ), ERR_NO_SPACE, ERR_LIMIT (index exhausted), ERR_CRYPTO. After
 * ERR_CRYPTO the index counts as used.
 */
enum err seal_rtp_batch(struct seal *seal, struct seal_packet *packets, size_t count);

/* Seals the compound RTCP packet of `*size` bytes in `packet` in place, encrypted (E bit set),
 * under `index`. `*size` grows by at most SEAL_RTCP_OVERHEAD_MAX. Errors as above; `*size` is then
 * unchanged and the packet must not be sent.
 */
enum err seal_rtcp(
	struct seal *seal, uint32_t index, uint8_t *packet, size_t *size, size_t capacity);

/* Its keys will be used soon: brings them near. */
void seal_ahead(const struct seal *seal);

/* The index of the packet number `committed` (from 0) of a stream whose first sequence number was
 * `first_sequence`: one 64-bit counter is all that a stream's position needs.
 */
static inline uint64_t seal_index(uint16_t first_sequence, uint64_t committed)
{
	return first_sequence + committed;
}

static inline uint16_t seal_index_sequence(uint64_t index)
{
	return (uint16_t)index;
}

static inline uint32_t seal_index_roc(uint64_t index)
{
	return (uint32_t)(index >> 16);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What limits are made of: encryption, sends and handshakes as the libraries and the kernel give them,
 * with nothing around.
 */
#ifndef MILLRACE_BENCH_BARE_H
#define MILLRACE_BENCH_BARE_H

#include "actors/webrtc/dtls.h"
#include "actors/webrtc/openssl.h"
#include "runtime/gcm.h"

#include <netinet/in.h>

enum {
	BARE_PACKETS_MAX = 16, /* in one GSO send */
	BARE_PACKET_MAX = 1500,
	BARE_PACKET_MIN = 45, /* bytes: header, extension and tag, and one */
};

/* Of a viewer: one of the two is used. */
struct bare_key {
	EVP_CIPHER_CTX *cipher;
	struct gcm_key *gcm; /* NULL where libipsec-mb is not wanted, or not built in */
};

/* AES-128-GCM; `key` is of 16 bytes. */
void bare_key_init(struct bare_key *key, const uint8_t *bytes, bool by_ipsec_mb);
void bare_key_fini(struct bare_key *key);

struct bare_sender {
	int fd; /* UDP */
	unsigned packets;
	size_t size; /* bytes of a packet, tag included */
	uint64_t index;
	uint8_t payload[BARE_PACKETS_MAX][BARE_PACKET_MAX];
	uint8_t out[BARE_PACKETS_MAX][BARE_PACKET_MAX];
};

/* Seals `packets` packets, the last one with a marker if `ends_picture`, and sends them in one GSO call. */
void bare_send(struct bare_sender *sender, const struct bare_key *key, const struct sockaddr_in *to,
	bool ends_picture);

/* A DTLS context with that certificate that takes every peer's. */
SSL_CTX *bare_context(const struct certificate *certificate);
/* One end of a connection over two memory BIOs; and what one has written carried to another. */
SSL *bare_end(SSL_CTX *context);
void bare_carry(SSL *from, SSL *to);
/* A whole handshake; the server's end is the caller's to free. *cpu_ns: grows by the processor time of the
 * server's side. */
SSL *bare_handshake(SSL_CTX *context, int64_t *cpu_ns);

/* Resident memory, megabytes each, of `count` connections of OpenSSL after their handshake with two
 * libsrtp2 sessions (out, in): what a server that is made of the two holds for a viewer. */
double bare_memory_mb(const struct certificate *certificate, long count);

#endif

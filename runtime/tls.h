/* SPDX-License-Identifier: Apache-2.0
 *
 * One end of a TLS connection, between a TCP socket and an actor that knows nothing of it (a server,
 * but in the load generator): tls_read and tls_write are to the actor what net_read and net_write are (runtime/net.h).
 *
 *   handshake --finished--> open --close_notify--> ended (may still be written to)
 *       |                     '--garbage, alert, truncated--> broken
 *       '--garbage, alert, deadline--> broken
 *
 * Bytes come and go through a `wire`, lent for the duration of a call. What is encrypted goes to
 * the wire at once; what the wire does not take is kept, at most one record (or one flight of the
 * handshake), and nothing more is encrypted before that is out. So a peer that reads slowly costs
 * TLS_PENDING_MAX at the most, and its actor sees a full socket.
 *
 * Owns OpenSSL's connection and what is kept. No clock, no socket, no log inside. Thread: one at a
 * time, for all connections of a context.
 */
#ifndef MILLRACE_TLS_H
#define MILLRACE_TLS_H

#include "runtime/tls_context.h"

#include <stddef.h>
#include <sys/uio.h>

enum {
	TLS_RECORD_MAX = 16384,	     /* plain bytes of a record (RFC 8446 5.1) */
	TLS_PENDING_MAX = 64 * 1024, /* a flight with its chain of certificates; a record is less */
	TLS_HANDSHAKE_US = 10000000, /* longest handshake */
};

enum tls_phase { TLS_HANDSHAKE, TLS_OPEN, TLS_ENDED, TLS_BROKEN };

/* What is spoken inside. */
enum tls_use {
	TLS_HTTP, /* ALPN "http/1.1"; who asks in the clear is told so */
	TLS_RTMP, /* ALPN has no name for it: whatever is offered is passed over; the client's only one */
};

/* > 0: bytes; read 0: end of stream; -1: nothing or no room now; -2: broken. */
struct tls_wire {
	void *context;
	long (*read)(void *context, void *buffer, size_t size);
	long (*write)(void *context, const void *bytes, size_t size);
};

struct tls {
	struct ssl_st *ssl;
	struct tls_context *context;
	const struct tls_wire *wire; /* during a call */
	uint8_t *pending;	     /* encrypted, not taken by the wire yet */
	uint32_t pending_at, pending_end;
	int64_t deadline_us; /* of the handshake; INT64_MAX afterwards */
	uint8_t phase;	     /* enum tls_phase */
	uint8_t use;	     /* enum tls_use */
	bool said_goodbye;
	const char *reason; /* why it broke: static text */
};

/* `context` is kept as long as the connection needs it; `tls` stays where it is until tls_fini.
 * ERR_NO_MEMORY: there is nothing to end then. */
enum err tls_init(struct tls *tls, struct tls_context *context, enum tls_use use, int64_t now_us);
/* The client's end. `context` is one that trusts (tls_context_trust). `asked` is the host's name, sent
 * so that a server of several knows which is meant (RFC 6066 3); the certificate must be for `verified`,
 * a name or an address (RFC 6125 6.4), NULL = any certificate will do. ERR_NO_MEMORY as above. */
enum err tls_init_client(struct tls *tls, struct tls_context *context, const char *verified,
	const char *asked, int64_t now_us);
/* Frees; harmless on a zeroed one. Says nothing to the peer. */
void tls_fini(struct tls *tls);

/* Goes on with the handshake as far as the wire has bytes; the phase tells the rest. */
void tls_handshake(struct tls *tls, const struct tls_wire *wire);
/* The deadline has passed. */
void tls_give_up(struct tls *tls);

/* As net_read; 0 is the peer's close_notify, a stream that ends without one is -2. Reads no more
 * of the wire than the next record. */
long tls_read(struct tls *tls, const struct tls_wire *wire, void *buffer, size_t size);
/* Was a record read, but not all of it asked for? Then the wire will not tell of it again. */
bool tls_has_plain(const struct tls *tls);

/* As net_write. */
long tls_write(
	struct tls *tls, const struct tls_wire *wire, const struct iovec *parts, size_t count);
/* Sends what is kept: 1 = nothing is left, -1 = there is no room, -2 = broken. */
long tls_flush(struct tls *tls, const struct tls_wire *wire);
bool tls_has_pending(const struct tls *tls);
/* close_notify, once; what the wire does not take is kept. */
void tls_goodbye(struct tls *tls, const struct tls_wire *wire);

#endif

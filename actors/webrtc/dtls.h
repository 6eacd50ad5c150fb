/* SPDX-License-Identifier: Apache-2.0
 *
 * dtls: the DTLS 1.2 handshake that gives a session its SRTP keys (RFC 5764, RFC 6347, RFC 8827
 * 6.5), as an engine over OpenSSL: datagrams and time in; datagrams and the next deadline out.
 *
 *   handshaking --both Finished seen, fingerprint right--> established
 *        |                                                      |
 *        +--alert, wrong certificate, no profile, limits--> failed
 *                                       peer's close_notify or fatal alert --> closed
 *
 * The session sends what dtls_output gives after every call, one datagram at a time, and calls
 * dtls_on_timer when dtls_deadline has come. An established dtls is kept until the first authentic
 * SRTP packet of the peer (its last flight has then arrived: ours may have been lost, and is
 * answered again from here until then); then dtls_fini.
 *
 * Two things are not pure, because OpenSSL has no other way: its randomness, and the clock of its
 * retransmission timer, which is gettimeofday. `now_us` may be any monotonic clock that runs as
 * fast. Where the two disagree (the system time was set), OpenSSL's timer fires early or late, at
 * worst DTLS_HANDSHAKE_MAX_US ends the handshake; dtls_deadline never lies in the past for that
 * reason.
 *
 * Thread: one thread a dtls; a context serves the dtls of one thread. OpenSSL allocates during the
 * handshake. None of this outlives the process: a session whose handshake is not complete dies with
 * its worker.
 */
#ifndef MILLRACE_WEBRTC_DTLS_H
#define MILLRACE_WEBRTC_DTLS_H

#include "actors/webrtc/certificate.h"
#include "actors/webrtc/seal.h"
#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DTLS_MTU = 1200,	  /* bytes of UDP payload that we send at most */
	DTLS_DATAGRAM_MAX = 1280, /* a record that OpenSSL appends without asking for the MTU */
	DTLS_INPUT_MAX = 4096, /* bytes of a datagram that we look at; Chrome's largest is 1,413 */
	DTLS_FLIGHT_MAX = 6,   /* datagrams waiting to be sent; more are dropped, as if lost */
	DTLS_DATAGRAMS_MAX = 256,	   /* taken in one handshake, rubbish included */
	DTLS_PEER_CERTIFICATES_MAX = 8192, /* bytes of chain that the peer may send */
	DTLS_RETRANSMIT_MIN_US = 100000,   /* RFC 6347 4.2.4.1 says 1 s, and to tune it; doubles */
	DTLS_RETRANSMIT_MAX_US = 4000000,
	DTLS_HANDSHAKE_MAX_US = 30000000,
};

/* No deadline. */
#define DTLS_NEVER INT64_MAX

enum dtls_role { DTLS_SERVER, DTLS_CLIENT }; /* SDP a=setup: passive, active */

enum dtls_phase { DTLS_HANDSHAKING, DTLS_ESTABLISHED, DTLS_FAILED, DTLS_CLOSED };

/* What all sessions of a thread share: certificate, ciphers, limits. */
struct dtls_context {
	struct ssl_ctx_st *ssl;		  /* owned */
	struct bio_method_st *bio_method; /* owned; so the context outlives every dtls of it */
};

/* Queue of datagrams to be sent; on the heap, because a session keeps it for the handshake only. */
struct dtls_flight;

struct dtls {
	uint8_t role;	 /* enum dtls_role */
	uint8_t phase;	 /* enum dtls_phase */
	uint8_t failure; /* enum err; why it failed: see dtls_input */
	struct fingerprint expected;
	struct ssl_st *ssl;	    /* owned */
	struct dtls_flight *flight; /* owned */
	const uint8_t *input;	    /* borrowed during dtls_input; NULL: nothing to read */
	size_t input_size;
	int64_t deadline_us;
	int64_t give_up_us;
	struct seal_keys send, receive; /* valid once established */
	uint32_t datagrams_in, datagrams_out, retransmits;
	uint32_t dropped; /* datagrams that found no place in the flight, or were too large */
};

/* `certificate` is borrowed for the call. ERR_CRYPTO. */
enum err dtls_context_init(struct dtls_context *context, const struct certificate *certificate);
void dtls_context_fini(struct dtls_context *context);

/* Starts a handshake at `now_us`; as client the first flight is ready at once. `expected` is the
 * fingerprint that the peer promised by signalling. The struct must not move until dtls_fini.
 * ERR_NO_MEMORY (the dtls is then as after dtls_fini), ERR_FORMAT: no fingerprint given.
 */
enum err dtls_init(struct dtls *dtls, const struct dtls_context *context, enum dtls_role role,
	const struct fingerprint *expected, int64_t now_us);

/* Frees everything, wipes the keys. Harmless on a zeroed dtls, on NULL and when repeated. */
void dtls_fini(struct dtls *dtls);

/* Takes one datagram (first byte 20 … 63, RFC 7983) of `size` bytes. Look at `phase` afterwards,
 * and drain dtls_output also on error: an alert may have to go out. Returns ERR_OK as long as the
 * session goes on, rubbish included (RFC 6347 4.1.2.7: invalid records are dropped). Otherwise,
 * and from then on, the reason: ERR_AUTH (certificate has another fingerprint), ERR_UNSUPPORTED
 * (no SRTP profile or no cipher in common), ERR_LIMIT (datagrams), ERR_TIMEOUT, ERR_CLOSED (the
 * peer said close_notify or a fatal alert), ERR_CRYPTO (anything else that OpenSSL refuses),
 * ERR_PHASE (after dtls_fini).
 */
enum err dtls_input(struct dtls *dtls, const uint8_t *bytes, size_t size, int64_t now_us);

/* Moves the next datagram to be sent into `buffer` of `capacity` (DTLS_DATAGRAM_MAX) bytes and
 * returns its size; 0 when there is none.
 */
size_t dtls_output(struct dtls *dtls, uint8_t *buffer, size_t capacity);

/* When dtls_on_timer wants to be called; DTLS_NEVER for never. */
int64_t dtls_deadline(const struct dtls *dtls);

/* Retransmits or gives up when it is time; early calls do no harm. Returns as dtls_input does. */
enum err dtls_on_timer(struct dtls *dtls, int64_t now_us);

/* Tells the peer that we go (close_notify); drain dtls_output, then dtls_fini. */
void dtls_close(struct dtls *dtls);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * unseal: incoming SRTP and SRTCP (RFC 3711, RFC 7714), done by libsrtp2, with a replay window of
 * our own in front of it.
 *
 * libsrtp2 keeps rollover counters and replay windows in its private heap, which dies with the
 * process. `struct unseal_window` mirrors them in plain memory: a packet that the mirror calls a
 * replay never reaches libsrtp2, and a successor builds a new libsrtp2 session that goes on where
 * the old one was, at whatever rollover counter. It is updated only after a packet has
 * authenticated, and in an order in which death at any instruction loses a packet at worst and
 * never re-admits one.
 *
 * The libsrtp2 session is made with the first packet that has to be opened: a successor has hundreds
 * of unseals to begin, and most of their clients say nothing for a second.
 *
 * Call openssl_ciphers_install once a process before the first packet.
 * Thread: an unseal belongs to one thread. Allocates (inside libsrtp2) with its first packet and once for
 * each new SSRC that has authenticated, at most UNSEAL_STREAMS_MAX times a session.
 */
#ifndef MILLRACE_WEBRTC_UNSEAL_H
#define MILLRACE_WEBRTC_UNSEAL_H

#include "actors/webrtc/seal.h"
#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* SSRCs of one session: each of MEDIA_TRACKS_MAX tracks with its RTX. More are refused. */
	UNSEAL_STREAMS_MAX = 16,
	UNSEAL_RTP_WINDOW = 1024, /* packets; RFC 3711 3.3.2 asks for 64 at least */
	UNSEAL_RTCP_WINDOW = 128, /* packets: libsrtp2's own */
};

/* Both windows are rings: the bit of an index is index modulo window. */
struct unseal_stream {
	uint64_t rtp_highest; /* 48 bits: ROC << 16 | sequence number */
	uint64_t rtp_seen[UNSEAL_RTP_WINDOW / 64];
	uint64_t rtcp_seen[UNSEAL_RTCP_WINDOW / 64];
	uint32_t ssrc;
	uint32_t rtcp_highest; /* 31 bits */
	uint8_t has_rtp;       /* 1 once a packet has authenticated; the fields above then count */
	uint8_t has_rtcp;
	uint8_t reserved[6];
};

/* Plain, without pointers, for shared memory. All zero is a fresh session. */
struct unseal_window {
	uint32_t stream_count;
	uint32_t reserved;
	struct unseal_stream streams[UNSEAL_STREAMS_MAX];
	uint64_t rtp_packets;
	uint64_t rtcp_packets;
	uint64_t replayed;    /* duplicates and too old ones */
	uint64_t unauthentic; /* forged, damaged, or under another key */
	uint64_t malformed;
	uint64_t refused; /* authentic or not: SSRC beyond UNSEAL_STREAMS_MAX */
	uint64_t failed;  /* libsrtp2 could not: out of memory and the like */
};

/* Rebuilt from keys and window; the window is passed to every call and not pointed to. */
struct unseal {
	struct srtp_ctx_t_ *session; /* owned; libsrtp2's srtp_t; NULL before the first packet */
	uint16_t profile;
	struct seal_keys keys; /* until there is a session */
	uint32_t
		behind; /* bit a stream: restored, and libsrtp2 has not caught up with the window */
};

/* Checks a window that somebody else wrote; the functions below need no more than this. */
bool unseal_window_is_valid(const struct unseal_window *window);

/* Starts from `window`, fresh or restored, which must then be the one that packets come with. Copies
 * the keys. On error the unseal is as after unseal_fini. ERR_UNSUPPORTED (profile), ERR_FORMAT (window
 * not valid).
 */
enum err unseal_init(
	struct unseal *unseal, const struct seal_keys *keys, const struct unseal_window *window);

/* Frees and wipes; harmless on a zeroed unseal, on NULL and when repeated. */
void unseal_fini(struct unseal *unseal);

/* Authenticates and decrypts the packet of `*size` bytes in place; `*size` becomes the size of the
 * plain packet. On error the packet's content is undefined, the window's state of the stream is
 * unchanged, and `*size` too: ERR_FORMAT, ERR_REPLAY, ERR_AUTH, ERR_LIMIT (too many SSRCs),
 * ERR_NO_MEMORY (the next packet tries again), ERR_CRYPTO. `packet` needs no alignment.
 */
enum err unseal_rtp(
	struct unseal *unseal, struct unseal_window *window, uint8_t *packet, size_t *size);
enum err unseal_rtcp(
	struct unseal *unseal, struct unseal_window *window, uint8_t *packet, size_t *size);

#endif

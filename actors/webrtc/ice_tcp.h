/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets on a TCP connection of ICE (RFC 6544, framing of RFC 4571): two bytes of size, then STUN,
 * DTLS, SRTP or SRTCP as it would be in a datagram. Cuts a byte stream into packets.
 *
 * struct ice_tcp is plain and pointer-free: half a packet survives a change of process.
 * Thread: any, one at a time. No allocation.
 */
#ifndef MILLRACE_ICE_TCP_H
#define MILLRACE_ICE_TCP_H

#include "schemas/bytes.h"
#include "schemas/err.h"

enum {
	ICE_TCP_HEADER_SIZE = 2,
	ICE_TCP_PACKET_MAX = 1500, /* bytes: what would fit a datagram on an Ethernet path */
};

struct ice_tcp {
	uint16_t used; /* bytes of an unfinished packet, header included */
	uint8_t buffer[ICE_TCP_HEADER_SIZE + ICE_TCP_PACKET_MAX];
};

/* All zero is the initial state. */
void ice_tcp_init(struct ice_tcp *tcp);

/* To be asked of a state that another process wrote. */
bool ice_tcp_is_valid(const struct ice_tcp *tcp);

/* Takes bytes from `in` until one packet is complete: points *packet at its *size bytes, inside
 * `in` or inside `tcp`, valid until the next call. Call again until ERR_AGAIN: all of `in` is then
 * taken. Packets of size zero (RFC 4571 2: legal, empty) are skipped.
 * ERR_TOO_LARGE: a packet over ICE_TCP_PACKET_MAX; the stream is lost, close the connection. */
enum err ice_tcp_next(struct ice_tcp *tcp, struct reader *in, const uint8_t **packet, size_t *size);

/* The two bytes that go before a packet of `size` bytes (at most ICE_TCP_PACKET_MAX). */
void ice_tcp_header(uint8_t header[ICE_TCP_HEADER_SIZE], size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * RTP packets on the wire: telling them from their neighbours on the port (RFC 7983), reading and
 * writing the header (RFC 3550 section 5.1) with its extension block (RFC 8285), and widening the
 * short counters to 64 bits.
 *
 * A parsed packet borrows the bytes it was parsed from. Nothing here keeps state or allocates.
 * Thread: any.
 */
#ifndef MILLRACE_RTP_H
#define MILLRACE_RTP_H

#include "schemas/bytes.h"
#include "schemas/err.h"

enum {
	RTP_VERSION = 2,
	RTP_HEADER_SIZE = 12,	      /* bytes; RFC 3550 5.1, without CSRCs and extension */
	RTP_CSRC_MAX = 15,	      /* the count has four bits */
	RTP_PACKET_MAX = 65535,	      /* bytes; a UDP datagram is no larger */
	RTP_EXT_ONE_BYTE = 0xBEDE,    /* RFC 8285 4.2 */
	RTP_EXT_TWO_BYTE = 0x1000,    /* RFC 8285 4.3; the low four bits are the application's */
	RTP_EXT_HEADER_SIZE = 4,      /* bytes before the first element */
	RTP_CLOCK_RATE_MAX = 1000000, /* Hz; 90000 is the largest in use, this bounds the sums */
};

enum rtp_class {
	RTP_CLASS_UNKNOWN,
	RTP_CLASS_STUN,
	RTP_CLASS_DTLS,
	RTP_CLASS_RTP,
	RTP_CLASS_RTCP,
};

struct rtp_packet {
	uint32_t ssrc;
	uint32_t timestamp;
	uint16_t sequence;
	uint8_t payload_type; /* 0 .. 127 */
	bool marker;
	uint8_t csrc_count;
	uint8_t padding_size; /* bytes at the end, the count byte included; 0 = no padding */
	uint16_t ext_profile; /* meaningful when has_ext */
	bool has_ext;
	uint16_t ext_size;     /* bytes at `ext`, a multiple of 4 */
	uint16_t payload_size; /* bytes at `payload`, without padding */
	const uint8_t *ext;    /* elements, behind the four bytes of profile and length */
	const uint8_t *payload;
	uint32_t csrc[RTP_CSRC_MAX];
};

/* One element of the extension block. */
struct rtp_ext_element {
	uint8_t id;   /* 1 .. 14 in the one-byte form, 1 .. 255 in the two-byte form */
	uint8_t size; /* bytes at `data`; 0 is possible in the two-byte form only */
	const uint8_t *data;
};

struct rtp_ext_iter {
	struct reader left;
	bool two_byte;
};

/* What a datagram on the shared port is: first byte by RFC 7983 section 7, RTP against RTCP by the
 * second byte (RFC 5761 section 4). An empty one is unknown. */
enum rtp_class rtp_classify_packet(const void *bytes, size_t size);

/* SSRC of a packet of class RTP, before decryption. False when it is too short to have one. */
bool rtp_peek_ssrc(const void *bytes, size_t size, uint32_t *ssrc);

/* Reads a whole decrypted packet. ERR_FORMAT when it is no RTP packet or ends inside a part that it
 * announces; `packet` is then unspecified. */
enum err rtp_parse(struct rtp_packet *packet, const void *bytes, size_t size);

/* Writes header, CSRCs, extension block, payload and padding. ERR_NO_SPACE when it does not fit,
 * ERR_FORMAT when a field is out of range (ext_size no multiple of 4, …). */
enum err rtp_write(struct writer *w, const struct rtp_packet *packet);

/* The twelve bytes every packet we send begins with; no padding, no CSRC. */
void rtp_write_fixed(uint8_t at[RTP_HEADER_SIZE], const struct rtp_packet *packet);

/* Walks the extension elements. Padding is skipped; a damaged block just ends early, as RFC 8285
 * asks, because the payload behind it is still good. */
struct rtp_ext_iter rtp_ext_iterate(const struct rtp_packet *packet);
bool rtp_ext_next(struct rtp_ext_iter *iter, struct rtp_ext_element *element);

/* The 64-bit number nearest to `newest` whose low bits are `sequence` (or `timestamp`). Begin with
 * RTP_EXTEND_START + first, so that what was overtaken at the start stays above zero. */
#define RTP_EXTEND_SEQUENCE_START  ((uint64_t)1 << 16)
#define RTP_EXTEND_TIMESTAMP_START ((uint64_t)1 << 32)

static inline uint64_t rtp_extend_sequence(uint64_t newest, uint16_t sequence)
{
	return newest + (uint64_t)(int64_t)(int16_t)(uint16_t)(sequence - (uint16_t)newest);
}

static inline uint64_t rtp_extend_timestamp(uint64_t newest, uint32_t timestamp)
{
	return newest + (uint64_t)(int64_t)(int32_t)(timestamp - (uint32_t)newest);
}

/* Microseconds to ticks of a clock and back; rounds towards zero. Every int64_t is accepted for
 * clock rates of 1 .. RTP_CLOCK_RATE_MAX; microseconds saturate. */
int64_t rtp_ticks_from_us(int64_t us, uint32_t clock_rate);
int64_t rtp_us_from_ticks(int64_t ticks, uint32_t clock_rate);

/* NTP timestamps (RFC 5905: 32.32 seconds since 1900) and Unix microseconds. */
uint64_t rtp_ntp_from_unix_us(int64_t unix_us);
int64_t rtp_unix_us_from_ntp(uint64_t ntp);

#endif

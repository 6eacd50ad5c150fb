/* SPDX-License-Identifier: Apache-2.0
 *
 * RTCP on the wire: walking a compound packet (RFC 3550 section 6.1; reduced size by RFC 5506 is
 * welcome) and reading and writing the packets we speak:
 *   SR, RR, SDES CNAME, BYE                                RFC 3550 6.4 - 6.6
 *   generic NACK, PLI                                      RFC 4585 6.2.1, 6.3.1
 *   FIR                                                    RFC 5104 4.3.1
 *   REMB                                                   draft-alvestrand-rmcat-remb-03
 *   XR: receiver reference time, DLRR                      RFC 3611 4.4, 4.5
 * Transport-wide congestion control feedback is in twcc.h. Unknown types are stepped over.
 *
 * How a session reads what came in:
 *	if (rtcp_iter_init(&iter, bytes, size)) drop it
 *	while (rtcp_iter_next(&iter, &packet))
 *		switch (packet.type) { case RTCP_SR: rtcp_parse_sender_info(&packet, &info); … }
 *
 * Everything parsed borrows the bytes. Nothing keeps state or allocates. Thread: any.
 * Parsers return ERR_FORMAT when the packet is not what the name says or is too short for what it
 * announces. Writers add one RTCP packet or fail with ERR_NO_SPACE and leave the writer `bad`.
 */
#ifndef MILLRACE_RTCP_H
#define MILLRACE_RTCP_H

#include "schemas/bytes.h"
#include "schemas/err.h"

enum rtcp_type {
	RTCP_SR = 200,
	RTCP_RR = 201,
	RTCP_SDES = 202,
	RTCP_BYE = 203,
	RTCP_APP = 204,
	RTCP_RTPFB = 205, /* RFC 4585 6.1: transport layer feedback */
	RTCP_PSFB = 206,  /* payload-specific feedback */
	RTCP_XR = 207,
};

enum rtcp_rtpfb_format { RTCP_RTPFB_NACK = 1, RTCP_RTPFB_TWCC = 15 };
enum rtcp_psfb_format { RTCP_PSFB_PLI = 1, RTCP_PSFB_FIR = 4, RTCP_PSFB_AFB = 15 };
enum rtcp_xr_block { RTCP_XR_RRTR = 4, RTCP_XR_DLRR = 5 };

enum {
	RTCP_HEADER_SIZE = 4,
	RTCP_COUNT_MAX = 31,	 /* five bits: report blocks, SDES chunks, BYE sources */
	RTCP_CNAME_MAX = 255,	 /* RFC 3550 6.5: one byte of length */
	RTCP_REMB_SSRC_MAX = 32, /* of 255 possible; a publisher of ours has a handful of streams */
	RTCP_NACK_SPAN = 17,	 /* sequences one PID and its BLP can name, RFC 4585 6.2.1 */
	RTCP_LOST_MIN = -0x800000, /* cumulative loss is a signed 24-bit number, RFC 3550 6.4.1 */
	RTCP_LOST_MAX = 0x7FFFFF,
};

struct rtcp_iter {
	struct reader left;
};

/* One packet of a compound. */
struct rtcp_packet {
	uint8_t type;	     /* enum rtcp_type, or any other */
	uint8_t count;	     /* reception report count, source count or feedback format */
	const uint8_t *body; /* behind the first four bytes, without padding */
	size_t size;	     /* bytes at `body` */
};

struct rtcp_sender_info {
	uint32_t ssrc;
	uint64_t ntp; /* 32.32 seconds since 1900 */
	uint32_t rtp_timestamp;
	uint32_t packets; /* modulo 2^32 */
	uint32_t octets;  /* payload only, modulo 2^32 */
};

struct rtcp_report_block {
	uint32_t ssrc;	       /* whom it is about */
	uint8_t fraction_lost; /* 1/256 */
	int32_t lost;	       /* RTCP_LOST_MIN .. RTCP_LOST_MAX */
	uint32_t newest;       /* cycles << 16 | highest sequence */
	uint32_t jitter;       /* ticks of the stream's clock */
	uint32_t lsr;	       /* middle 32 bits of the last sender report's NTP; 0 = none */
	uint32_t dlsr;	       /* 1/65536 s since it came */
};

struct rtcp_feedback {
	uint32_t sender;
	uint32_t media;
	const uint8_t *fci;
	size_t fci_size;
};

struct rtcp_fir_entry {
	uint32_t ssrc;
	uint8_t sequence;
};

struct rtcp_remb {
	uint64_t bitrate_bps; /* saturates */
	uint8_t ssrc_count;   /* as many as we keep */
	uint32_t ssrc[RTCP_REMB_SSRC_MAX];
};

struct rtcp_dlrr {
	uint32_t ssrc;
	uint32_t lrr;  /* middle 32 bits of the NTP time of our last RRTR */
	uint32_t dlrr; /* 1/65536 s since it came */
};

/* Checks the whole: every packet has version 2 and ends inside the datagram. ERR_FORMAT otherwise,
 * also for an empty one. */
enum err rtcp_iter_init(struct rtcp_iter *iter, const void *bytes, size_t size);
/* False at the end. */
bool rtcp_iter_next(struct rtcp_iter *iter, struct rtcp_packet *packet);

/* First four bytes of every type but SDES and BYE: who sent it. 0 when there are fewer. */
uint32_t rtcp_sender_ssrc(const struct rtcp_packet *packet);

enum err rtcp_parse_sender_info(const struct rtcp_packet *sr, struct rtcp_sender_info *info);
/* Report block `i` of an SR or RR; ERR_NOT_FOUND when it has no such block. */
enum err rtcp_parse_report_block(
	const struct rtcp_packet *packet, unsigned i, struct rtcp_report_block *block);
/* Finds the CNAME of the first chunk that has one. Not zero-terminated. */
enum err rtcp_parse_cname(
	const struct rtcp_packet *sdes, uint32_t *ssrc, const uint8_t **cname, size_t *size);
/* Source `i` that says goodbye; ERR_NOT_FOUND behind the last. */
enum err rtcp_parse_bye(const struct rtcp_packet *bye, unsigned i, uint32_t *ssrc);
/* The common part of RTPFB and PSFB. */
enum err rtcp_parse_feedback(const struct rtcp_packet *packet, struct rtcp_feedback *feedback);
/* Sequences asked for, in the order of the packet; `*count` of them, at most `max` (more are left
 * off: whoever asks for more than we keep asks again). */
enum err rtcp_parse_nack(
	const struct rtcp_packet *packet, uint16_t *sequences, size_t max, size_t *count);
/* Entry `i`; ERR_NOT_FOUND behind the last. A repeated `sequence` of an SSRC is the same request. */
enum err rtcp_parse_fir(const struct rtcp_packet *packet, unsigned i, struct rtcp_fir_entry *entry);
/* ERR_UNSUPPORTED for application feedback that is not REMB. */
enum err rtcp_parse_remb(const struct rtcp_packet *packet, struct rtcp_remb *remb);
/* First RRTR block; ERR_NOT_FOUND without one. `*ssrc` is its sender. */
enum err rtcp_parse_rrtr(const struct rtcp_packet *xr, uint32_t *ssrc, uint64_t *ntp);
/* Sub-block `i` over all DLRR blocks; ERR_NOT_FOUND behind the last. */
enum err rtcp_parse_dlrr(const struct rtcp_packet *xr, unsigned i, struct rtcp_dlrr *dlrr);

/* At most RTCP_COUNT_MAX blocks. */
enum err rtcp_write_sr(struct writer *w, const struct rtcp_sender_info *info,
	const struct rtcp_report_block *blocks, size_t count);
enum err rtcp_write_rr(
	struct writer *w, uint32_t sender, const struct rtcp_report_block *blocks, size_t count);
/* ERR_TOO_LARGE above RTCP_CNAME_MAX bytes. */
enum err rtcp_write_cname(struct writer *w, uint32_t ssrc, const char *cname);
enum err rtcp_write_bye(struct writer *w, const uint32_t *ssrcs, size_t count);
/* Packs ascending sequences (modulo 2^16) into PID/BLP pairs. Stops when the writer is full: returns
 * how many of `count` were packed; 0 = not even one pair fits, nothing written. */
size_t rtcp_write_nack(
	struct writer *w, uint32_t sender, uint32_t media, const uint16_t *sequences, size_t count);
enum err rtcp_write_pli(struct writer *w, uint32_t sender, uint32_t media);
enum err rtcp_write_fir(
	struct writer *w, uint32_t sender, const struct rtcp_fir_entry *entries, size_t count);
/* The mantissa has 18 bits: the value is rounded down to what it can say. */
enum err rtcp_write_remb(struct writer *w, uint32_t sender, const struct rtcp_remb *remb);
enum err rtcp_write_rrtr(struct writer *w, uint32_t sender, uint64_t ntp);
enum err rtcp_write_dlrr(
	struct writer *w, uint32_t sender, const struct rtcp_dlrr *blocks, size_t count);

/* Header of a feedback packet whose FCI of `fci_size` bytes (a multiple of 4) the caller writes. */
enum err rtcp_write_feedback_head(struct writer *w, enum rtcp_type type, unsigned format,
	uint32_t sender, uint32_t media, size_t fci_size);

/* Middle 32 bits of an NTP timestamp: 16.16 seconds. */
static inline uint32_t rtcp_ntp_middle(uint64_t ntp)
{
	return (uint32_t)(ntp >> 16);
}

/* Round-trip time in µs by RFC 3550 6.4.1 (RFC 3611 4.5 for DLRR): now, the echoed timestamp and the
 * delay at the peer, all in 1/65536 s. -1 when nothing was echoed or the sum makes no sense (over
 * RTCP_RTT_MAX_US); a little below zero (clock granularity) is zero. */
enum { RTCP_RTT_MAX_US = 30000000 };
int64_t rtcp_round_trip_us(uint32_t now_middle, uint32_t echoed, uint32_t delay);

#endif

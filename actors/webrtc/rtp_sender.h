/* SPDX-License-Identifier: Apache-2.0
 *
 * A track as we send it to one viewer: from the stream's numbers to the viewer's.
 *
 *   sequence   starts at random. A gap of the source stays a gap of the same size (the viewer asks,
 *              and what comes late gets its place); frames that we drop on purpose leave none.
 *   timestamp  starts at random; the source's own steps, unscaled, except in a squeezed start. At a
 *              source change it goes on by the capture time that passed.
 *   SRTP index the 48 bits ROC and sequence (RFC 3711 3.3.1) in one counter, `committed`: the next
 *              number never used. It and the history decide that no index is used twice: a number
 *              behind `committed` is given out only for a hole, and once.
 *
 * Numbers are decided and stored here before the packet exists. Everything that one packet changes
 * lies in a head of which there are two; the new one is written aside and made current by one store.
 * Whoever is killed in between leaves the old state or the new one, never a mixture.
 *
 * How a session sends a packet of the stream's log:
 *	rtp_sender_map(s, header, &slot)          or rtp_sender_drop(s, header)
 *	size = rtp_slot_write(&slot, &layout, …)  then the payload, encrypt with slot.index, send
 * and answers a NACK, for each sequence: rtp_sender_take_nack → position in the log; then with RTX
 *	rtp_sender_map_rtx, rtp_slot_write, the payload of that position
 * or, without RTX, the very ciphertext of resend.index again (never encrypted anew).
 *
 * Plain and pointer-free; after a takeover rtp_sender_is_valid decides. Nothing allocates. Thread: one.
 */
#ifndef MILLRACE_RTP_SENDER_H
#define MILLRACE_RTP_SENDER_H

#include "actors/webrtc/rtcp.h"
#include "actors/webrtc/rtp.h"
#include "actors/webrtc/rtp_ext.h"
#include "schemas/media.h"

enum {
	RTP_SENDER_HISTORY_MAX = 1024, /* numbers remembered, to answer NACKs */
	RTP_SENDER_HISTORY_MIN = 64,
	RTP_SENDER_RESENDS_MAX = 6,	       /* of one packet */
	RTP_SENDER_RESEND_GAP_MIN_US = 8000,   /* least time between two of the same packet … */
	RTP_SENDER_RESEND_GAP_MAX_US = 500000, /* … which is the round trip, within these */
	/* Budget against floods: each packet sent earns half a retransmission, up to so many. */
	RTP_SENDER_CREDITS_MAX = 512, /* in halves */
	RTP_SENDER_CREDITS_START = 128,
	RTP_SLOT_SIZE_MAX =
		RTP_HEADER_SIZE + RTP_EXT_BLOCK_MAX + 2, /* bytes rtp_slot_write writes */
	/* capture time passed at a source change: more is a clock that was set, not time */
	RTP_SENDER_PAUSE_MAX_S = 3600,
};

#define RTP_INDEX_MAX ((UINT64_C(1) << 48) - 1) /* RFC 3711 9.2: no more than 2^48 packets a key */

/* What became of one number; 16 bytes. The number is the place in the ring. */
struct rtp_sent {
	uint64_t position : 48; /* in the stream's log; 0 = a hole: nothing was sent */
	uint64_t resends : 4;
	uint64_t resent_at : 12; /* units of 4 ms, modulo 2^12 */
	uint32_t timestamp;
	uint32_t track_seq; /* low 32 bits */
};

_Static_assert(sizeof(struct rtp_sent) == 16, "history entry layout");

/* Everything that mapping one packet changes. */
struct rtp_sender_head {
	bool started;
	bool rebase;		   /* the source changed but its first packet was dropped */
	bool last_dropped;	   /* the newest packet of the track was dropped by us … */
	bool last_ended;	   /* … and ended its frame */
	uint32_t frame;		   /* of the newest packet of the track */
	uint64_t committed;	   /* SRTP index of the next packet */
	uint64_t source_at;	   /* index of the source's first packet */
	uint64_t track_seq;	   /* newest of the source that was mapped or dropped */
	uint64_t rtp_time;	   /* highest of the source that was sent … */
	int64_t capture_us;	   /* … and its capture time */
	uint64_t timestamp_offset; /* viewer's timestamp - source's rtp_time, modulo 2^64 */
	uint64_t squeeze_from, squeeze_to; /* rtp_time of the squeezed start; equal = none */
	uint64_t squeeze_ticks;		   /* what it takes at the viewer */
	uint64_t packets, octets;	   /* payload octets, for sender reports */
	uint64_t late, late_dropped, dropped, gaps_cut; /* counters */
};

struct rtp_sender {
	uint32_t ssrc;
	uint32_t rtx_ssrc; /* 0 = no RTX */
	uint8_t payload_type;
	uint8_t rtx_payload_type;
	uint8_t kind; /* enum media_kind */
	uint32_t clock_rate;
	uint32_t history_count; /* power of two, RTP_SENDER_HISTORY_MIN .. _MAX */
	uint32_t current;	/* which head counts */
	uint64_t first_at;	/* SRTP index of the first packet of all */
	struct rtp_sender_head heads[2];

	uint64_t rtx_committed; /* SRTP index of the next packet of the RTX stream */
	uint64_t rtx_packets, rtx_octets;
	uint32_t credits; /* halves of a retransmission */

	/* what the viewer told */
	int64_t rtt_us; /* smoothed; -1 = unknown */
	uint8_t fraction_lost;
	bool has_fir;
	uint8_t fir_sequence;
	int32_t lost;
	uint32_t jitter;	      /* ticks */
	uint64_t reports, plis, firs; /* counters */
	uint64_t nacks, nacks_unknown, nacks_limited, nacks_soon, nacks_over_budget;

	struct rtp_sent history[RTP_SENDER_HISTORY_MAX];
};

struct rtp_sender_options {
	uint32_t ssrc;
	uint32_t rtx_ssrc;
	uint8_t payload_type;
	uint8_t rtx_payload_type;
	enum media_kind kind;
	uint32_t clock_rate;	/* 1 .. RTP_CLOCK_RATE_MAX */
	uint32_t history_count; /* power of two within the limits; 128 is plenty for audio */
	uint64_t random;	/* start of sequence, timestamp and RTX sequence */
};

/* All that a packet's RTP header needs. */
struct rtp_slot {
	uint64_t index; /* SRTP index: ROC << 16 | sequence */
	uint32_t ssrc;
	uint32_t timestamp;
	uint8_t payload_type;
	bool marker;
	bool rtx; /* two bytes of OSN stand before the payload (RFC 4588 4) */
	uint16_t osn;
};

struct rtp_resend {
	uint64_t position; /* of the packet in the stream's log */
	uint64_t index;	   /* SRTP index it was sent with */
	uint32_t timestamp;
	uint32_t track_seq; /* low 32 bits: whether the packet there is the one */
};

/* The log of another copy of the stream is read from now on. Whether a packet of it is the last one that
 * was sent; if so, all that was sent is where it lies there. Before the first packet: false. */
bool rtp_sender_is_newest(const struct rtp_sender *s, const struct media_header *header);
void rtp_sender_renumber(struct rtp_sender *s, uint64_t newest_position);
bool rtp_sender_has_sent(const struct rtp_sender *s);

void rtp_sender_init(struct rtp_sender *s, const struct rtp_sender_options *options);
bool rtp_sender_is_valid(const struct rtp_sender *s);

/* The state that counts, to be read only. */
static inline const struct rtp_sender_head *rtp_sender_head(const struct rtp_sender *s)
{
	return &s->heads[s->current & 1];
}

/* Squeezed start (DESIGN: the cached frames of a GOP bring the viewer to the live edge): RTP times
 * from `from` to `to` take `span_us` at the viewer; from `to` on time is unscaled. Before the first
 * packet of a source only, else ERR_PHASE; ERR_FORMAT when it would stretch. */
enum err rtp_sender_squeeze(struct rtp_sender *s, uint64_t from, uint64_t to, int64_t span_us);

/* Gives the packet its number and timestamp and counts it as sent.
 * ERR_NOT_FOUND: late, and its place was closed (its frame was dropped) or is too far back: drop it.
 * ERR_REPLAY: it was sent already. ERR_LIMIT: the indices of the key are used up: renegotiate.
 * ERR_FORMAT: its position is 0 or above 2^48 - 1. */
enum err rtp_sender_map(
	struct rtp_sender *s, const struct media_header *header, struct rtp_slot *slot);
/* Says that the packet is left out on purpose; drop whole frames. */
void rtp_sender_drop(struct rtp_sender *s, const struct media_header *header);

/* Writes header, extension block and OSN; `at` has RTP_SLOT_SIZE_MAX bytes of room. Returns the size.
 * abs_send_time, transport_seq and audio_level as in rtp_ext_layout_write. */
size_t rtp_slot_write(const struct rtp_slot *slot, const struct rtp_ext_layout *layout, uint8_t *at,
	uint32_t abs_send_time, uint16_t transport_seq, uint32_t audio_level);

/* One sequence of a NACK. ERR_NOT_FOUND: not ours, too old or not here (yet); ERR_LIMIT: sent again
 * often enough; ERR_AGAIN: the last answer may still be under way; ERR_OVERLOAD: over budget. On
 * ERR_OK it counts as sent again. */
enum err rtp_sender_take_nack(
	struct rtp_sender *s, uint16_t sequence, int64_t now_us, struct rtp_resend *resend);
/* The next packet of the RTX stream, carrying `resend` with the marker of `header` (the inner header
 * found at resend->position). ERR_PHASE without RTX, ERR_LIMIT as above. */
enum err rtp_sender_map_rtx(struct rtp_sender *s, const struct rtp_resend *resend,
	const struct media_header *header, struct rtp_slot *slot);

/* A report block from the viewer; ERR_NOT_FOUND when it is about another stream. unix_us: the same
 * clock that rtp_sender_fill_report was given. */
enum err rtp_sender_take_report(
	struct rtp_sender *s, const struct rtcp_report_block *block, int64_t unix_us);
void rtp_sender_take_pli(struct rtp_sender *s);
/* True when it is a new request (RFC 5104 4.3.1.1), false for a repetition. */
bool rtp_sender_take_fir(struct rtp_sender *s, uint8_t sequence);

/* Sender report of the media or RTX stream: NTP is unix_us (now, this node's clock), the RTP time is
 * what a picture captured at this moment would carry. A constant error of unix_us against the
 * origin's clock shifts all tracks alike and leaves them in sync. False before the first packet. */
bool rtp_sender_fill_report(
	const struct rtp_sender *s, bool rtx, int64_t unix_us, struct rtcp_sender_info *info);

#endif

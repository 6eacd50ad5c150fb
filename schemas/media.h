/* SPDX-License-Identifier: Apache-2.0
 *
 * The one inner form of media. Whatever protocol it came by, media inside Millrace is elementary
 * streams cut into RTP payloads (the payload formats of the codec table below), each with this
 * header. Protocols exist only at the edge actors: they turn their own form into this one or back.
 *
 * A *stream* has up to MEDIA_TRACKS_MAX *tracks*. A *frame* is one access unit (video picture, or
 * one audio frame); all packets of a frame carry the same `frame` and `rtp_time`.
 *
 * The same layout lies in the packet pool (arena), and travels between processes in batches, little
 * endian (the only byte order we run on; asserted at build time).
 */
#ifndef MILLRACE_MEDIA_H
#define MILLRACE_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

enum {
	MEDIA_TRACKS_MAX = 8,
	/* Largest RTP payload we make or take: 1500 - IPv6 40 - UDP 8 - RTP 12 - extensions 32 - SRTP
	 * tag 16 - RTX OSN 2, and some air. What we packetise ourselves aims at MEDIA_PAYLOAD_GOAL. */
	MEDIA_PAYLOAD_MAX = 1360,
	MEDIA_PAYLOAD_GOAL = 1160,
	MEDIA_CODEC_CONFIG_MAX = 64,
	MEDIA_FMTP_MAX = 127,
};

enum media_kind { MEDIA_AUDIO = 1, MEDIA_VIDEO = 2 };

/* name, SDP encoding name, kind, payload format */
#define MEDIA_CODEC_TABLE(X)                                                           \
	X(H264, "H264", MEDIA_VIDEO)	     /* RFC 6184, packetization-mode 1 */      \
	X(H265, "H265", MEDIA_VIDEO)	     /* RFC 7798, no DONL */                   \
	X(VP8, "VP8", MEDIA_VIDEO)	     /* RFC 7741 */                            \
	X(VP9, "VP9", MEDIA_VIDEO)	     /* RFC 9628 */                            \
	X(AV1, "AV1", MEDIA_VIDEO)	     /* AV1 RTP specification 1.0 */           \
	X(OPUS, "opus", MEDIA_AUDIO)	     /* RFC 7587: one Opus packet a payload */ \
	X(AAC, "mpeg4-generic", MEDIA_AUDIO) /* RFC 3640 AAC-hbr, one AU (or fragment) a payload */

enum media_codec {
	MEDIA_CODEC_NONE,
#define X(name, sdp, kind) MEDIA_##name,
	MEDIA_CODEC_TABLE(X)
#undef X
		MEDIA_CODEC_COUNT
};

enum media_flags {
	MEDIA_FRAME_START = 1 << 0,   /* first packet of its frame */
	MEDIA_FRAME_END = 1 << 1,     /* last packet of its frame (RTP marker for video) */
	MEDIA_KEYFRAME = 1 << 2,      /* every packet of a frame that decoding can start at,
	                               * parameter sets included */
	MEDIA_DISCARDABLE = 1 << 3,   /* no other frame refers to this one */
	MEDIA_LATE = 1 << 4,	      /* arrived out of order (recovered by retransmission) */
	MEDIA_DISCONTINUITY = 1 << 5, /* source changed before this packet: timeline is re-mapped */
	MEDIA_TALKSPURT = 1 << 6,     /* audio: RTP marker of the source */
	MEDIA_B_FRAME = 1 << 7,	      /* presentation order differs from decoding order */
};

/* Importance when something must be dropped: higher goes last. */
enum media_priority {
	MEDIA_PRIORITY_DISCARDABLE = 0,
	MEDIA_PRIORITY_DELTA = 1,
	MEDIA_PRIORITY_KEY = 2,
	MEDIA_PRIORITY_AUDIO = 3,
};

/* 56 bytes, fixed for ever; grow by MEDIA_HEADER_VERSION in the batch header. */
struct media_header {
	uint64_t position;  /* place in the origin stream's log, from 1, no gaps, all tracks */
	int64_t capture_us; /* when it was captured: microseconds of Unix time on the origin's clock,
	                      * the common timeline of all tracks (RTCP sender reports derive from it) */
	uint64_t track_seq;   /* sequence in its track, from 1; a gap is a packet lost before us */
	uint64_t rtp_time;    /* presentation time in the track's clock rate, unwrapped */
	uint64_t decode_time; /* decoding time, same units (differs from rtp_time with B-frames) */
	uint32_t frame;	      /* frame number in its track */
	uint32_t audio_level; /* RFC 6464 byte (bit 7 voice) + 0x100 when known, else 0 */
	uint16_t size;	      /* bytes of payload that follow */
	uint8_t track;	      /* track id, 0 .. MEDIA_TRACKS_MAX-1 */
	uint8_t flags;	      /* enum media_flags */
	uint8_t priority;     /* enum media_priority */
	uint8_t layer;	      /* spatial << 4 | temporal */
	uint16_t reserved;    /* zero */
};

_Static_assert(sizeof(struct media_header) == 56, "media header layout");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "media header is little endian");

/* What a track is; constant until a `tracks` message says otherwise. Plain data, no pointers. */
struct media_track {
	uint8_t id;	  /* 0 .. MEDIA_TRACKS_MAX-1 */
	uint8_t kind;	  /* enum media_kind */
	uint8_t codec;	  /* enum media_codec */
	uint8_t channels; /* audio: 1 or 2; video: 0 */
	uint32_t clock_rate;
	uint16_t width;	 /* video, 0 = unknown */
	uint16_t height; /* video, 0 = unknown */
	uint16_t config_size;
	uint8_t config
		[MEDIA_CODEC_CONFIG_MAX]; /* AAC: AudioSpecificConfig; others: empty (parameter
	                                         * sets travel in band before each keyframe) */
	char fmtp[MEDIA_FMTP_MAX + 1];	  /* SDP format parameters of the source, "" = unknown */
};

/* "H264" … ; "none" for a value out of range. */
const char *media_codec_name(enum media_codec codec);
/* Case-insensitive SDP encoding name or our own name; MEDIA_CODEC_NONE when unknown. */
enum media_codec media_codec_from_name(const char *name);
/* 0 for MEDIA_CODEC_NONE. */
enum media_kind media_codec_kind(enum media_codec codec);

#endif

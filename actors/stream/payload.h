/* SPDX-License-Identifier: Apache-2.0
 *
 * RTP payloads, the inner form of media (schemas/media.h), both ways a stream comes in:
 *
 * - payload_inspect(): a payload that arrived by RTP is kept as it is; what must be known of it is
 *   read from it: frame boundaries, keyframe, discardable, layer, picture size.
 * - payload_cut_begin() / payload_cut_next(): a whole frame in its container form (RTMP, files) is
 *   cut into payloads.
 *
 * The way back, payloads to frames, is assembler.h. Payload formats: RFC 6184 (H.264), RFC 7798
 * (H.265), RFC 7741 (VP8), RFC 9628 (VP9), AV1 RTP 1.0, RFC 7587 (Opus), RFC 3640 (AAC-hbr).
 *
 * Thread: any, one at a time an object. No allocation. struct payload_inspector and struct
 * payload_packetiser are plain and pointer-free, made to be kept where they can outlive a process;
 * after reading one back call its _is_valid(). struct payload_cut borrows and lives for one frame.
 */
#ifndef MILLRACE_STREAM_PAYLOAD_H
#define MILLRACE_STREAM_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/stream/codec_config.h"
#include "actors/stream/obu.h"
#include "schemas/err.h"
#include "schemas/media.h"

enum {
	/* Frames remembered by an inspector, so that a late packet finds its own. */
	PAYLOAD_NOTES = 8,
	/* Bytes of a frame that payload_cut_begin() takes: a keyframe of 4 MiB is one second of a
	 * 32 Mbit/s stream. */
	PAYLOAD_FRAME_MAX = 4 << 20,
	PAYLOAD_GOAL_MIN = 64, /* bytes: room for every payload header and then some */
};

/* What is remembered of one frame while its packets arrive. */
struct payload_note {
	uint64_t rtp_time;
	uint64_t end_seq; /* of the packet with the marker, 0 = not seen */
	uint32_t frame;	  /* 0 = the note is empty */
	uint8_t is;	  /* internal bits */
	uint8_t reserved[3];
};

/* Per track. */
struct payload_inspector {
	uint8_t codec;	      /* enum media_codec */
	uint8_t temporal_max; /* H.265: highest TemporalId so far */
	uint8_t note_at;      /* note to be overwritten next */
	uint8_t reserved;
	uint16_t width, height; /* last seen, 0 = unknown */
	uint32_t last_frame;	/* frame number given out last */
	uint64_t highest_seq;	/* 0 = no packet yet */
	uint64_t highest_time;
	uint64_t malformed;	      /* payloads refused with ERR_FORMAT or ERR_TOO_LARGE */
	uint64_t unsupported;	      /* payloads refused with ERR_UNSUPPORTED */
	struct obu_sequence sequence; /* AV1 */
	struct payload_note notes[PAYLOAD_NOTES];
};

void payload_inspector_init(struct payload_inspector *s, enum media_codec codec);
bool payload_inspector_is_valid(const struct payload_inspector *s);

struct payload_arrival {
	const uint8_t *payload; /* borrowed; behind RTP header and extensions, padding removed */
	size_t size;		/* bytes */
	uint64_t track_seq;	/* RTP sequence, unwrapped, from 1 */
	uint64_t rtp_time;	/* RTP timestamp, unwrapped */
	bool marker;		/* RTP marker */
};

struct payload_info {
	uint32_t frame;		/* number of its frame; a late frame gets a number of its own */
	uint16_t width, height; /* video, 0 = not known yet */
	uint8_t flags;		/* enum media_flags: all but LATE and DISCONTINUITY */
	uint8_t priority;	/* enum media_priority */
	uint8_t layer;		/* spatial << 4 | temporal */
};

/* Packets may come in any order, each at most once. A frame is the packets of one rtp_time.
 *
 * MEDIA_KEYFRAME: from the first packet on that shows it (parameter sets, or a random access
 * picture); all later packets of the frame have it too. An access unit delimiter or SEI that comes
 * in front, in a packet of its own, does not: decoding starts well without it. An SPS is believed
 * before the picture behind it has come, so a sender that repeats it with every picture has only
 * keyframes.
 * MEDIA_DISCARDABLE: only where the payload proves it. H.264 nal_ref_idc, H.265 unit type, VP8 N
 * bit, VP9 and AV1 refresh_frame_flags.
 * MEDIA_B_FRAME: presented before a frame that came earlier.
 *
 * ERR_FORMAT, ERR_UNSUPPORTED (a packet type of no mode that we negotiate), ERR_TOO_LARGE (over
 * MEDIA_PAYLOAD_MAX): drop the packet; it is counted, and `*out` is zero-filled. */
enum err payload_inspect(
	struct payload_inspector *s, const struct payload_arrival *in, struct payload_info *out);

/* Per track. */
struct payload_packetiser {
	uint8_t codec;
	uint8_t has_time;
	uint16_t reserved;
	uint32_t reserved2;
	uint64_t highest_time; /* of the frames so far, rtp units */
	uint64_t frames;
	uint64_t keyframes;
	uint64_t keyframes_bare; /* without parameter sets, neither in band nor configured */
	uint64_t frames_bad;	 /* refused */
	uint64_t b_frames;
	uint64_t b_frames_referenced; /* above 0: the stream cannot do without its B-frames */
	struct codec_config config;
};

void payload_packetiser_init(struct payload_packetiser *p, enum media_codec codec);
bool payload_packetiser_is_valid(const struct payload_packetiser *p);

/* Takes avcC, hvcC, av1C or vpcC; errors as codec_config_parse(), then the old one stays. Without
 * one, H.264 and H.265 frames are taken to have 4-byte lengths. */
enum err payload_packetiser_configure(
	struct payload_packetiser *p, const uint8_t *record, size_t size);

/* One frame being cut. Borrows the packetiser and the frame. */
struct payload_cut {
	const struct payload_packetiser *of;
	uint8_t flags;	  /* MEDIA_KEYFRAME, MEDIA_DISCARDABLE, MEDIA_B_FRAME: known after begin */
	uint8_t priority; /* enum media_priority: the same */
	bool started;
	bool bare; /* a keyframe for which no parameter sets are known */
	uint8_t length_size;
	size_t goal;	    /* bytes a payload should not exceed */
	struct reader sets; /* parameter sets to come first */
	struct reader units;
	uint32_t units_left; /* units not yet begun, in both */
	const uint8_t *at;   /* of the unit (or frame) being fragmented: bytes … */
	size_t left;	     /* … still to come */
	size_t step;	     /* bytes a fragment (AV1: a payload) takes */
	uint8_t unit_header[2];
	uint8_t unit_header_left; /* AV1: its size until it is written; counts in `left` */
};

struct payload_packet {
	uint16_t size;	  /* bytes written */
	uint8_t flags;	  /* enum media_flags */
	uint8_t priority; /* enum media_priority */
};

/* Takes one frame (access unit, temporal unit, audio frame):
 *   H.264, H.265: units behind lengths of the configured size; delimiters and filler are left out;
 *     configured parameter sets are put in front of a keyframe that has no SPS of its own
 *   AV1: units with size fields; delimiters and padding are left out; the configured sequence
 *     header is put in front of a keyframe without one
 *   VP8, VP9: the frame (a VP9 superframe is one); AAC: the raw access unit; Opus: the packet
 *
 * `rtp_time` is the presentation time in the track's clock. `goal` is the payload size aimed at,
 * PAYLOAD_GOAL_MIN .. MEDIA_PAYLOAD_MAX; fragments of a unit are of equal size, the last may be
 * shorter; small units share a payload.
 *
 * B-frames: a frame is one when it is presented before a frame that was decoded earlier (rtp_time
 * goes back), or when it is an H.264 B slice in a stream that may reorder. It is unreferenced when
 * it is discardable as in payload_inspect(). Viewers who cannot take reordered frames are served by
 * leaving out what has both flags, as long as `b_frames_referenced` of the packetiser stays 0
 * (x264: `b-pyramid=none`); the rest is then in order.
 *
 * ERR_FORMAT: malformed; ERR_TOO_LARGE: over PAYLOAD_FRAME_MAX (Opus: MEDIA_PAYLOAD_MAX; AAC:
 * 8191); ERR_NOT_FOUND: nothing left to send. Then nothing is emitted, and it is counted. */
enum err payload_cut_begin(struct payload_cut *cut, struct payload_packetiser *p,
	const uint8_t *frame, size_t size, uint64_t rtp_time, size_t goal);

/* Writes the next payload straight into `buffer` (the pool slot: the only copy made), which has at
 * least `goal` bytes (Opus: MEDIA_PAYLOAD_MAX). False when the frame is done. Never fails. */
bool payload_cut_next(
	struct payload_cut *cut, uint8_t *buffer, size_t capacity, struct payload_packet *out);

#endif

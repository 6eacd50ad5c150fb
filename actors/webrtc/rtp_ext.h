/* SPDX-License-Identifier: Apache-2.0
 *
 * RTP header extensions we know: which id means what in a session (from its SDP), reading them into
 * a plain struct, and writing them fast: the block of a viewer's track is laid out once, and a
 * packet costs a copy and a few patches.
 *
 * Nothing allocates. Thread: any. All structs but rtp_ext_values are plain and pointer-free.
 */
#ifndef MILLRACE_RTP_EXT_H
#define MILLRACE_RTP_EXT_H

#include "actors/webrtc/rtp.h"

/* name, URI in SDP */
// clang-format off
#define RTP_EXT_TABLE(X) \
	X(MID, "urn:ietf:params:rtp-hdrext:sdes:mid")                     /* RFC 9143 15 */ \
	X(RID, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id")           /* RFC 8852 4.1 */ \
	X(REPAIRED_RID, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id") \
	X(ABS_SEND_TIME, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time") \
	X(TRANSPORT_CC, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01") \
	X(PLAYOUT_DELAY, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay") \
	X(AUDIO_LEVEL, "urn:ietf:params:rtp-hdrext:ssrc-audio-level")     /* RFC 6464 */ \
	X(TOFFSET, "urn:ietf:params:rtp-hdrext:toffset")                  /* RFC 5450 */ \
	X(VIDEO_ORIENTATION, "urn:3gpp:video-orientation")                /* 3GPP TS 26.114 */ \
	X(DEPENDENCY, "https://aomediacodec.github.io/av1-rtp-spec/" \
		"#dependency-descriptor-rtp-header-extension")
// clang-format on

enum rtp_ext_kind {
	RTP_EXT_NONE,
#define X(name, uri) RTP_EXT_##name,
	RTP_EXT_TABLE(X)
#undef X
		RTP_EXT_COUNT
};

enum {
	RTP_EXT_TEXT_MAX = 32,		   /* bytes of a mid or rid we keep; ours have 1 */
	RTP_EXT_BLOCK_MAX = 128,	   /* bytes of a laid-out block, its header included */
	RTP_EXT_PLAYOUT_MS_MAX = 40950,	   /* twelve bits of 10 ms */
	RTP_EXT_AUDIO_LEVEL_KNOWN = 0x100, /* as in media_header.audio_level */
};

/* Bits for `present` and for choosing what to write. */
#define RTP_EXT_BIT(kind) (1u << RTP_EXT_##kind)

/* id of each kind in one session and media section; 0 = not negotiated. */
struct rtp_ext_map {
	uint8_t id[RTP_EXT_COUNT];
};

struct rtp_ext_values {
	uint32_t present;	/* RTP_EXT_BIT of what follows */
	uint32_t abs_send_time; /* 24 bits: seconds in 6.18 fixed point */
	uint16_t transport_seq;
	uint16_t playout_min_ms;
	uint16_t playout_max_ms;
	uint8_t audio_level;	   /* bit 7 voice, bits 0-6 level in -dBov */
	uint8_t video_orientation; /* bit 3 camera, bit 2 flip, bits 0-1 quarter turns */
	int32_t toffset;	   /* 24 bits, signed, in ticks of the track's clock */
	char mid[RTP_EXT_TEXT_MAX + 1];
	char rid[RTP_EXT_TEXT_MAX + 1];
	char repaired_rid[RTP_EXT_TEXT_MAX + 1];
	const uint8_t *dependency; /* dependency descriptor, raw; borrows the packet */
	uint8_t dependency_size;
};

/* A ready block. Offsets are from the start of the block and point at data; 0 = not in it. */
struct rtp_ext_layout {
	uint8_t size; /* bytes with the four of the header, a multiple of 4; 0 = no extension */
	uint8_t abs_send_time_at;
	uint8_t transport_seq_at;
	uint8_t audio_level_at;
	bool two_byte;
	uint8_t block[RTP_EXT_BLOCK_MAX];
};

/* What never changes in a viewer's track. Strings are borrowed for the call. */
struct rtp_ext_layout_options {
	uint32_t
		chosen; /* RTP_EXT_BIT of what to write, if the map has an id for it: MID, PLAYOUT_DELAY,
	                  * ABS_SEND_TIME, TRANSPORT_CC, AUDIO_LEVEL; others are ignored */
	const char *mid;
	uint16_t playout_min_ms;
	uint16_t playout_max_ms;
};

/* The kind of a URI; RTP_EXT_NONE when we do not know it. */
enum rtp_ext_kind rtp_ext_kind_of(const char *uri);
/* URI of a kind; "" when out of range. */
const char *rtp_ext_uri(enum rtp_ext_kind kind);
/* Remembers one extmap line. ERR_FORMAT when the id is none of 1 .. 255 without 15 (RFC 8285 4.2, 5). */
enum err rtp_ext_map_set(struct rtp_ext_map *map, enum rtp_ext_kind kind, int id);

/* Reads what the packet carries. Unknown ids, wrong sizes and over-long texts are as if absent. */
void rtp_ext_parse(struct rtp_ext_values *values, const struct rtp_ext_map *map,
	const struct rtp_packet *packet);

/* Lays the block out, in the one-byte form when all ids and sizes allow it. ERR_TOO_LARGE when a
 * text or the whole is too long; the layout is then empty. */
enum err rtp_ext_layout_init(struct rtp_ext_layout *layout, const struct rtp_ext_map *map,
	const struct rtp_ext_layout_options *options);
/* Checks a layout that came from shared memory: all offsets inside the block. */
bool rtp_ext_layout_is_valid(const struct rtp_ext_layout *layout);

/* 6.18 fixed point of the 64 s that now_us lies in. */
static inline uint32_t rtp_ext_abs_send_time(int64_t now_us)
{
	return (uint32_t)(((uint64_t)now_us % 64000000 << 18) / 1000000) & 0xFFFFFF;
}

/* Writes the block of one packet at `at` (layout->size bytes of room). audio_level as in
 * media_header: without RTP_EXT_AUDIO_LEVEL_KNOWN the element becomes padding of the same size. */
static inline void rtp_ext_layout_write(const struct rtp_ext_layout *layout, uint8_t *at,
	uint32_t abs_send_time, uint16_t transport_seq, uint32_t audio_level)
{
	memcpy(at, layout->block, layout->size);
	if (layout->abs_send_time_at) {
		uint8_t *p = at + layout->abs_send_time_at;
		p[0] = (uint8_t)(abs_send_time >> 16);
		p[1] = (uint8_t)(abs_send_time >> 8);
		p[2] = (uint8_t)abs_send_time;
	}
	if (layout->transport_seq_at) {
		uint8_t *p = at + layout->transport_seq_at;
		p[0] = (uint8_t)(transport_seq >> 8);
		p[1] = (uint8_t)transport_seq;
	}
	if (layout->audio_level_at) {
		uint8_t *p = at + layout->audio_level_at;
		if (audio_level & RTP_EXT_AUDIO_LEVEL_KNOWN)
			p[0] = (uint8_t)audio_level;
		else
			memset(p - 1 - layout->two_byte, 0, 2u + layout->two_byte);
	}
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The datagrams of a link between two nodes (decision 21), as bytes. Little endian throughout.
 *
 *   head, 16 bytes, in the clear and authenticated:
 *     0     version (high 4 bits), kind (low 4 bits)
 *     1     path (low 4 bits), key (bit 4), covered by FEC (bit 5), zero
 *     2-3   sequence on its path: every datagram of the path counts, whatever its kind
 *     4-7   session of the receiver
 *     8-15  counter: with the key's salt the nonce, never twice
 *   body, at most LINK_BODY_MAX bytes, sealed; then the tag, 16 bytes
 *
 *   media body: 0 link sequence u32, 4 send time u32 (us), 8 to u64, 16 from u64 (ids of actors: the
 *     nodes are those of the link), 24 position u48, 30 capture time i56 (us), 37 track sequence u48,
 *     43 rtp time u48, 49 rtp time - decode time i24, 52 frame u32, 56 audio level (9 bits), track (3
 *     bits), priority (2 bits), 58 flags, 59 layer, 60 payload
 *   report body: 0 number u32, 4 highest link sequence u32, 8 paths u8, 9 NACK ranges u8, 10 zero u16,
 *     then the paths (32 bytes each), then the ranges (first u32, how many u16)
 *   probe body: 0 number u32, 4 next link sequence u32, 8 send time u64 (us)
 *   echo body: 0 number u32, 4 held u32 (us), 8 send time of the probe u64
 *   FEC body: 0 first link sequence u32, 4 packets u8, 5 step u8, 6 XOR of the sizes u16, 8 XOR of what
 *     follows the send time in the media bodies
 *
 * Pure. Thread: any. No allocation. What is read is checked; what is borrowed lives as long as the
 * bytes it was read from.
 */
#ifndef MILLRACE_LINK_WIRE_H
#define MILLRACE_LINK_WIRE_H

#include "schemas/err.h"
#include "schemas/media.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LINK_VERSION = 1,
	LINK_HEAD = 16,		  /* bytes */
	LINK_TAG = 16,		  /* bytes */
	LINK_DATAGRAM_MAX = 1452, /* bytes: 1500 - IPv6 40 - UDP 8 */
	LINK_BODY_MAX = LINK_DATAGRAM_MAX - LINK_HEAD - LINK_TAG,
	LINK_MEDIA_HEAD = 60,	  /* bytes of a media body before the payload */
	LINK_MEDIA_UNCOVERED = 8, /* sequence and send time: not part of what FEC restores */
	LINK_FEC_HEAD = 8,	  /* bytes of an FEC body before the XOR */
	LINK_FEC_BYTES_MAX = LINK_BODY_MAX - LINK_FEC_HEAD,
	LINK_PATHS_MAX = 5,	    /* paths of a link; the wire has room for 16 */
	LINK_REPORT_HEAD = 12,	    /* bytes */
	LINK_REPORT_PATH = 32,	    /* bytes of a path in a report */
	LINK_NACK_RANGE = 6,	    /* bytes */
	LINK_NACK_RANGES_MAX = 128, /* of a report */
	LINK_REPORT_MAX = LINK_REPORT_HEAD + LINK_PATHS_MAX * LINK_REPORT_PATH +
			  LINK_NACK_RANGES_MAX * LINK_NACK_RANGE,
	LINK_PROBE_SIZE = 16, /* bytes; an echo has the same */
};

_Static_assert(LINK_BODY_MAX == LINK_MEDIA_HEAD + MEDIA_PAYLOAD_MAX, "the largest packet fits");
_Static_assert(LINK_FEC_BYTES_MAX >= LINK_BODY_MAX - LINK_MEDIA_UNCOVERED, "its XOR fits too");
_Static_assert(LINK_REPORT_MAX <= LINK_BODY_MAX, "the largest report fits");

enum link_kind {
	LINK_MEDIA = 1,
	LINK_REPORT = 2,
	LINK_PROBE = 3,
	LINK_ECHO = 4,
	LINK_FEC = 5,
};

struct link_head {
	uint8_t kind; /* enum link_kind */
	uint8_t path; /* below LINK_PATHS_MAX */
	uint8_t key;  /* 0 or 1 */
	bool covered; /* FEC rows over it will come */
	bool hurry;   /* reports are wanted more often */
	uint16_t path_seq;
	uint32_t session;
	uint64_t counter;
};

struct link_media {
	uint32_t seq;
	uint32_t sent_us; /* low half of the sender's monotonic clock */
	uint64_t to, from;
	struct media_header header; /* its size is that of the payload */
	const uint8_t *payload;	    /* borrowed */
};

/* What a receiver says of one path. Counts are since the path began, modulo 2^32. */
struct link_path_report {
	uint8_t path;
	uint16_t highest; /* path sequence */
	uint16_t burst;	  /* longest run of lost ones in the last second */
	uint32_t received;
	uint32_t expected;
	uint32_t jitter_us;  /* mean deviation of the one-way delay */
	uint32_t queue_us;   /* one-way delay above the least seen */
	int32_t gradient_us; /* how much the one-way delay grows in a second */
	uint32_t rate_bps;   /* that came, datagrams whole */
	uint32_t age_us;     /* since the last datagram */
};

struct link_nack_range {
	uint32_t first;
	uint16_t count; /* at least 1 */
};

struct link_report {
	uint32_t number;
	uint32_t highest; /* link sequence */
	uint8_t path_count;
	uint8_t nack_count;
	struct link_path_report paths[LINK_PATHS_MAX];
	struct link_nack_range nacks[LINK_NACK_RANGES_MAX];
};

struct link_probe {
	uint32_t number;
	uint32_t next_seq; /* probe: link sequence of the next media; echo: us that it was held */
	uint64_t sent_us;
};

struct link_fec_row {
	uint32_t first;
	uint8_t count; /* 2 … */
	uint8_t step;  /* 1 … */
	uint16_t size_xor;
	uint16_t size; /* bytes of `bytes` */
	const uint8_t *bytes;
};

void link_head_write(const struct link_head *head, uint8_t bytes[LINK_HEAD]);
/* ERR_FORMAT (too short, bits that must be zero, no such path or kind), ERR_VERSION. */
enum err link_head_read(const uint8_t *bytes, size_t size, struct link_head *head);

/* A field that does not fit its bits: ERR_LIMIT; *size = bytes of the body. `body` has room for
 * LINK_BODY_MAX. */
enum err link_media_write(const struct link_media *media, uint8_t *body, size_t *size);
enum err link_media_read(const uint8_t *body, size_t size, struct link_media *media);

/* Returns the bytes written; `body` has room for LINK_REPORT_MAX. */
size_t link_report_write(const struct link_report *report, uint8_t *body);
enum err link_report_read(const uint8_t *body, size_t size, struct link_report *report);

void link_probe_write(const struct link_probe *probe, uint8_t body[LINK_PROBE_SIZE]);
enum err link_probe_read(const uint8_t *body, size_t size, struct link_probe *probe);

/* Writes the head of an FEC body; the XOR lies behind it already. */
void link_fec_write(const struct link_fec_row *row, uint8_t body[LINK_FEC_HEAD]);
enum err link_fec_read(const uint8_t *body, size_t size, struct link_fec_row *row);

/* The number of 16 or 32 bits that is nearest to `near`, unwrapped. */
static inline uint64_t link_unwrap16(uint64_t near, uint16_t low)
{
	return near + (uint64_t)(int64_t)(int16_t)(uint16_t)(low - (uint16_t)near);
}

static inline uint64_t link_unwrap32(uint64_t near, uint32_t low)
{
	return near + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)near);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Codec configuration records: what a container says once about a track, as one plain struct, read
 * from and written to the records themselves: avcC, hvcC (ISO/IEC 14496-15 5.3.3, 8.3.3), av1C
 * (AV1-ISOBMFF 2.3), vpcC (VP Codec ISO Media File Format Binding), AudioSpecificConfig (ISO/IEC
 * 14496-3 1.6.2), OpusHead (RFC 7845 5.1).
 *
 * Thread: any. No allocation. The structs are plain and pointer-free, so they may be part of a kept
 * state; codec_config_is_valid() and aac_config_is_valid() check what was read back from one.
 */
#ifndef MILLRACE_STREAM_CODEC_CONFIG_H
#define MILLRACE_STREAM_CODEC_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/stream/nal.h"
#include "schemas/err.h"
#include "schemas/media.h"

enum {
	/* Bytes of all parameter sets with their lengths. Real ones take about 50 (H.264), 120
	 * (H.265); 8x8 scaling lists add up to about 400. */
	CODEC_CONFIG_SETS_MAX = 1024,
	/* Parameter sets of one kind taken from a record; avcC could hold 31, but needs one. */
	CODEC_CONFIG_SETS_OF_KIND_MAX = 8,
	/* Room that codec_config_write() never exceeds. */
	CODEC_CONFIG_RECORD_MAX = CODEC_CONFIG_SETS_MAX + 64,
	CODEC_CONFIG_OPUS_HEAD_SIZE = 19, /* mapping family 0 */
	CODEC_CONFIG_ASC_MAX = 16,
};

/* Video. Zero-filled is "nothing known", and valid. */
struct codec_config {
	uint8_t codec;	     /* enum media_codec; MEDIA_CODEC_NONE = nothing known */
	uint8_t length_size; /* bytes of a NAL unit's length in container frames: 1, 2, 4 */
	uint16_t width, height;
	int8_t reorder_frames;		       /* see struct nal_h264_sps; -1 = unknown */
	uint8_t profile, level, depth, chroma; /* VP9 only, as vpcC has them */
	uint8_t temporal_layers;	       /* H.265: 1 .. 7, 0 = unknown */
	uint8_t reserved;
	uint16_t sets_size;
	/* H.264, H.265: parameter sets in the order VPS, SPS, PPS, each behind a 2-byte length.
	 * AV1: the sequence header unit, with a size field. Others: empty. */
	uint8_t sets[CODEC_CONFIG_SETS_MAX];
};

bool codec_config_is_valid(const struct codec_config *c);

/* Reads the record of H264, H265, AV1 or VP9. On error `*out` is zero-filled. ERR_FORMAT:
 * malformed, or without a usable SPS or sequence header; ERR_TOO_LARGE: more than the limits above;
 * ERR_UNSUPPORTED: no record is defined for `codec`. */
enum err codec_config_parse(
	struct codec_config *out, enum media_codec codec, const uint8_t *record, size_t size);

/* Builds the same from a keyframe in container form (H.264, H.265: 4-byte lengths; AV1: units with
 * size fields; VP9: the frame). ERR_NOT_FOUND when it does not carry all the parameter sets;
 * otherwise as above. */
enum err codec_config_from_frame(
	struct codec_config *out, enum media_codec codec, const uint8_t *frame, size_t size);

/* Writes the record (with 4-byte lengths for H.264 and H.265) into `buffer`; `*written` bytes.
 * ERR_NO_SPACE: `capacity` (CODEC_CONFIG_RECORD_MAX is always enough); ERR_PHASE: `c` holds
 * nothing; ERR_UNSUPPORTED: no record is defined. */
enum err codec_config_write(
	const struct codec_config *c, uint8_t *buffer, size_t capacity, size_t *written);

/* True when both describe the same decoder set-up: a changed one needs a new sequence header. */
bool codec_config_equal(const struct codec_config *a, const struct codec_config *b);

/* AudioSpecificConfig. */
struct aac_config {
	uint8_t object_type; /* of the core: 2 = AAC-LC; for SBR and PS still the core's */
	uint8_t channels;    /* 1 .. 8 */
	uint8_t sbr;	     /* explicit SBR: output rate is `extension_rate` */
	uint8_t ps;
	uint32_t sample_rate;	 /* Hz, of the core */
	uint32_t extension_rate; /* Hz, 0 without SBR */
	uint16_t frame_samples;	 /* 1024 or 960 */
};

bool aac_config_is_valid(const struct aac_config *c);

/* ERR_FORMAT: cut short or reserved values; ERR_UNSUPPORTED: an object type that is not AAC, or a
 * channel layout by program_config_element. */
enum err aac_config_parse(struct aac_config *out, const uint8_t *config, size_t size);
/* Writes at most CODEC_CONFIG_ASC_MAX bytes; ERR_NO_SPACE, ERR_PHASE (`c` is not valid). */
enum err aac_config_write(
	const struct aac_config *c, uint8_t *buffer, size_t capacity, size_t *written);

/* OpusHead, mapping family 0. `pre_skip` is in samples at 48 kHz, `channels` 1 or 2. Returns
 * ERR_NO_SPACE when `capacity` is under CODEC_CONFIG_OPUS_HEAD_SIZE. */
enum err codec_config_write_opus_head(
	uint8_t channels, uint16_t pre_skip, uint8_t *buffer, size_t capacity);
/* ERR_FORMAT, or ERR_UNSUPPORTED for a major version above 0 or another mapping family. */
enum err codec_config_parse_opus_head(
	const uint8_t *head, size_t size, uint8_t *channels, uint16_t *pre_skip);

#endif

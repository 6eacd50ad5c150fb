/* SPDX-License-Identifier: Apache-2.0
 *
 * FLV (Adobe Video File Format 10.1, annex E) and Enhanced RTMP (Veovera, v2): the bodies of audio,
 * video and script tags, which RTMP messages carry as well, and the framing of tags in a file or an
 * HTTP-FLV stream. What we write is header bytes around payload pieces that stay where they are.
 *
 * H.264 and AAC are written with the codec ids of FLV, everything else with FourCCs. Pictures are
 * in the form of ISO/IEC 14496-15: length-prefixed NAL units (the length's size is in the sequence
 * header); AV1 as low-overhead OBUs; VP8, VP9 and audio as bare frames.
 *
 * Thread: any. No allocation. Parsed values borrow from the body.
 */
#ifndef MILLRACE_RTMP_FLV_H
#define MILLRACE_RTMP_FLV_H

#include "schemas/bytes.h"
#include "schemas/err.h"
#include "schemas/media.h"

enum {
	FLV_FILE_HEADER_SIZE = 9 + 4, /* header and the first "previous tag size" */
	FLV_TAG_HEADER_SIZE = 11,
	FLV_TAG_TRAILER_SIZE = 4,
	FLV_BODY_HEADER_MAX = 8,
	FLV_TAG_SIZE_MAX = 0xffffff, /* bytes of a body: 24 bits */
	FLV_ENCODER_MAX = 63,
};

enum flv_tag_type { FLV_AUDIO = 8, FLV_VIDEO = 9, FLV_SCRIPT = 18 };

/* What the rest of an audio or video body is. */
enum flv_packet {
	FLV_SEQUENCE_START, /* decoder configuration: avcC, hvcC, av1C, vpcC, AudioSpecificConfig,
	                     * OpusHead */
	FLV_FRAMES,	    /* one picture, or one audio frame */
	FLV_SEQUENCE_END,   /* nothing follows */
	FLV_OTHER,	    /* a seek command, colour metadata, channel layout: may be ignored */
};

struct flv_video {
	enum media_codec codec;
	enum flv_packet packet;
	bool keyframe;
	bool discardable;	/* no other picture refers to it, as far as the encoder says */
	int32_t composition_ms; /* presentation time - decoding time */
	const uint8_t *data;
	size_t size;
};

struct flv_audio {
	enum media_codec codec;
	enum flv_packet packet;
	const uint8_t *data;
	size_t size;
};

/* ERR_FORMAT: too short. ERR_CODEC: a codec that Millrace does not carry. ERR_UNSUPPORTED: Enhanced
 * RTMP multitrack, or an unknown packet type. ModEx extensions (nanoseconds) are stepped over. */
enum err flv_video_parse(const uint8_t *body, size_t size, struct flv_video *out);
enum err flv_audio_parse(const uint8_t *body, size_t size, struct flv_audio *out);

/* Writes what stands in a video body before the data; returns its size, at most
 * FLV_BODY_HEADER_MAX. `composition_ms` must fit 24 bits signed; only H.264 and H.265 carry it. */
size_t flv_video_header(const struct flv_video *video, uint8_t out[FLV_BODY_HEADER_MAX]);

/* The same for audio (AAC or Opus). */
size_t flv_audio_header(const struct flv_audio *audio, uint8_t out[FLV_BODY_HEADER_MAX]);

/* The video codec that a FourCC stands for; MEDIA_CODEC_NONE when it is none of ours. */
enum media_codec flv_video_fourcc(const char *text, size_t size);

/* onMetaData. Zero or "" or MEDIA_CODEC_NONE: not known. Plain data. */
struct flv_metadata {
	uint32_t width; /* pixels */
	uint32_t height;
	uint32_t frame_rate_milli; /* frames in 1000 s */
	uint32_t video_rate_bps;
	uint32_t audio_rate_bps;
	uint32_t sample_rate; /* Hz */
	uint8_t channels;
	uint8_t video_codec; /* enum media_codec */
	uint8_t audio_codec;
	char encoder[FLV_ENCODER_MAX + 1];
};

/* Reads a script body, with or without a leading "@setDataFrame". ERR_NOT_FOUND: it is another
 * script than onMetaData. Members of odd types are ignored; other errors as in amf.h. */
enum err flv_metadata_parse(const uint8_t *body, size_t size, struct flv_metadata *out);

/* Appends a script body: "onMetaData" and what is known. Needs at most 512 bytes. */
void flv_metadata_write(struct writer *w, const struct flv_metadata *metadata);

/* What begins a file or an HTTP-FLV stream. */
void flv_file_header(uint8_t out[FLV_FILE_HEADER_SIZE], bool has_audio, bool has_video);

/* The bytes around a tag's payload: `head`, the payload pieces, `tail`. */
struct flv_tag {
	uint8_t head_size;
	uint8_t head[FLV_TAG_HEADER_SIZE + FLV_BODY_HEADER_MAX];
	uint8_t tail[FLV_TAG_TRAILER_SIZE];
};

/* `body_header` is what flv_video_header() or flv_audio_header() wrote (script: size 0);
 * payload_size + body_header_size is at most FLV_TAG_SIZE_MAX. */
void flv_tag_make(struct flv_tag *tag, enum flv_tag_type type, uint32_t time_ms,
	const uint8_t *body_header, size_t body_header_size, size_t payload_size);

/* Reading a file or stream, for probes and tests. */
struct flv_tag_view {
	uint8_t type;
	uint32_t time_ms;
	const uint8_t *body;
	size_t size;
};

/* Steps over the file header. ERR_AGAIN: not all of it is there; ERR_FORMAT: no FLV. Nothing is
 * taken unless ERR_OK. */
enum err flv_read_file_header(struct reader *in);

/* Takes one tag and its trailer. ERR_AGAIN: not all there, nothing taken. ERR_FORMAT: the trailer
 * does not match, or the tag is encrypted. */
enum err flv_read_tag(struct reader *in, struct flv_tag_view *out);

/* Unwraps a 32-bit millisecond timestamp to the 64-bit value nearest to `last_ms`. The first call
 * should give the timestamp itself as last_ms. */
int64_t flv_time_unwrap(int64_t last_ms, uint32_t time_ms);

#endif

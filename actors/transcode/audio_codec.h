/* SPDX-License-Identifier: Apache-2.0
 *
 * AAC and Opus behind one shape: a decoder turns a packet into interleaved float samples at
 * 48 kHz, an encoder turns one frame of them into a packet. AAC is libavcodec's, Opus is libopus
 * itself (libavcodec's wrapper offers neither concealment nor in-band FEC on the decoding side).
 *
 * Only for helper processes: libav code sees bytes from the network here.
 *
 * Ownership: create allocates, destroy frees and takes NULL inside. Decoding and encoding allocate
 * nothing of ours (libavcodec takes frames from its own pools). Thread: one at a time per object.
 */
#ifndef MILLRACE_TRANSCODE_AUDIO_CODEC_H
#define MILLRACE_TRANSCODE_AUDIO_CODEC_H

#include "schemas/err.h"
#include "schemas/media.h"

#include <stddef.h>
#include <stdint.h>

enum {
	AUDIO_RATE = 48000,
	AUDIO_CHANNELS_MAX = 2,
	/* One packet: at most 120 ms of Opus (RFC 6716 3.2.5); AAC of 1024 samples at 7,350 Hz is
	 * 139 ms, and the resampler may hold some back for the next. */
	AUDIO_DECODED_MAX = AUDIO_RATE * 160 / 1000,
	/* Opus: 1,275 bytes a frame of at most 20 ms (RFC 6716 3.2.1), six of them and their lengths.
	 * AAC: 6,144 bits a channel (ISO/IEC 14496-3 4.5.1.1), eight channels. */
	AUDIO_PACKET_MAX = 8192,
	AUDIO_ENCODED_MAX = 2048, /* 20 ms of Opus, or two channels of AAC */
	AUDIO_CONFIG_MAX = MEDIA_CODEC_CONFIG_MAX,
};

struct audio_decoder;

/* Opens a decoder for MEDIA_AAC (`config` is its AudioSpecificConfig) or MEDIA_OPUS (no config).
 * Whatever the source has, `channels` (1 or 2) come out. ERR_FORMAT: the config is broken;
 * ERR_UNSUPPORTED: another codec; ERR_NO_MEMORY. On error *out is NULL. */
enum err audio_decoder_create(struct audio_decoder **out, enum media_codec codec,
	const uint8_t *config, size_t config_size, uint8_t channels);
void audio_decoder_destroy(struct audio_decoder **d);

/* Decodes one packet into `pcm` (room for `capacity` frames, a frame being one sample of every
 * channel); *frames of them are written, all finite and within -1 .. 1. ERR_FORMAT: corrupt,
 * nothing written, the decoder goes on with the next. ERR_NO_SPACE: capacity (AUDIO_DECODED_MAX is
 * enough for legal input). */
enum err audio_decoder_decode(struct audio_decoder *d, const uint8_t *packet, size_t size,
	float *pcm, size_t capacity, size_t *frames);

/* Fills `frames` frames of `pcm` with what might have been there: Opus conceals, and takes the end
 * of the hole from the FEC data of `next`, the packet behind the hole, if that has any (NULL =
 * none); AAC is silence. */
void audio_decoder_conceal(
	struct audio_decoder *d, const uint8_t *next, size_t next_size, float *pcm, size_t frames);

/* Frames at 48 kHz that went in and have not come out yet (the resampler's). */
int64_t audio_decoder_delay(const struct audio_decoder *d);

/* Stretches the coming second by `frames` (of 48,000; negative shortens). AAC only. */
void audio_decoder_stretch(struct audio_decoder *d, int frames);

/* Forgets the past: what follows does not continue it. */
void audio_decoder_reset(struct audio_decoder *d);

struct audio_encoder;

/* MEDIA_OPUS: 20 ms frames, in-band FEC. MEDIA_AAC: LC, 1024 samples. `bit_rate` in bit/s.
 * ERR_UNSUPPORTED: another codec, rate or channel count; ERR_NO_MEMORY. On error *out is NULL. */
enum err audio_encoder_create(
	struct audio_encoder **out, enum media_codec codec, uint8_t channels, uint32_t bit_rate);
void audio_encoder_destroy(struct audio_encoder **e);

/* Frames that audio_encoder_encode() takes: 960 or 1024. */
size_t audio_encoder_frame_size(const struct audio_encoder *e);
/* How much later a decoder gives a sample back than its packet's place says: 312 or 1024. */
int64_t audio_encoder_delay(const struct audio_encoder *e);
/* AudioSpecificConfig of what comes out (AAC; else empty). Borrowed. */
const uint8_t *audio_encoder_config(const struct audio_encoder *e, size_t *size);

/* Encodes one frame that begins at `position` (frames since the start, continuous). ERR_OK: *size
 * bytes are in `packet`, for the input frame that began at *start. ERR_AGAIN: nothing yet (AAC
 * looks one frame ahead). Anything else: this frame is lost, go on. */
enum err audio_encoder_encode(struct audio_encoder *e, const float *pcm, int64_t position,
	uint8_t packet[AUDIO_ENCODED_MAX], size_t *size, int64_t *start);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: a model of the audio codecs in the place of libavcodec and libopus
 * (actors/transcode/audio_codec.h). Sound is the first bytes of the packet that it came in, again
 * and again, a word a sample; encoding finds them again. So what is made can be told from what else
 * was sent, at the right lengths and delays, for the price of a copy.
 *
 * mr_sim is linked in front of mr_transcode and asks for audio_decoder_create (CMakeLists.txt): the
 * real codecs are not taken from there.
 */
#include "actors/transcode/audio_codec.h"

#include <stdlib.h>
#include <string.h>

enum {
	WORDS = 20, /* of 16 bits: more than any mark or stamp */
	AAC_FRAME = 1024,
	OPUS_FRAME = 960,
	OPUS_DELAY = 312,
	CONFIG_MIN = 2, /* bytes of an AudioSpecificConfig */
};

struct audio_decoder {
	enum media_codec codec;
	uint8_t channels;
	uint8_t last[WORDS * 2]; /* what a hole is filled with */
};

struct audio_encoder {
	enum media_codec codec;
	uint8_t channels;
	bool has_one; /* AAC looks one frame ahead */
	int64_t start;
	uint8_t ahead[WORDS * 2];
};

/* ---- decoder ----------------------------------------------------------------------------------- */

enum err audio_decoder_create(struct audio_decoder **out, enum media_codec codec,
	const uint8_t *config, size_t config_size, uint8_t channels)
{
	(void)config;
	*out = NULL;
	if (codec != MEDIA_AAC && codec != MEDIA_OPUS)
		return ERR_UNSUPPORTED;
	if (codec == MEDIA_AAC && config_size < CONFIG_MIN)
		return ERR_FORMAT;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return ERR_NO_MEMORY;
	(*out)->codec = codec;
	(*out)->channels = channels;
	return ERR_OK;
}

void audio_decoder_destroy(struct audio_decoder **d)
{
	free(*d);
	*d = NULL;
}

/* Numbers of 24 bits, which a float holds exactly: which word, from 1, and the word. */
static void sound_of(const struct audio_decoder *d, float *pcm, size_t frames)
{
	float cycle[WORDS];

	for (uint32_t i = 0; i < WORDS; i++)
		cycle[i] =
			(float)((i + 1) << 16 | (uint32_t)d->last[2 * i] << 8 | d->last[2 * i + 1]);
	for (size_t i = 0, word = 0; i < frames; i++, word = word + 1 < WORDS ? word + 1 : 0)
		for (uint8_t channel = 0; channel < d->channels; channel++)
			*pcm++ = cycle[word];
}

enum err audio_decoder_decode(struct audio_decoder *d, const uint8_t *packet, size_t size,
	float *pcm, size_t capacity, size_t *frames)
{
	*frames = 0;
	if (!size)
		return ERR_FORMAT;
	if (capacity < AAC_FRAME)
		return ERR_NO_SPACE;
	memset(d->last, 0, sizeof(d->last));
	memcpy(d->last, packet, size < sizeof(d->last) ? size : sizeof(d->last));
	*frames = d->codec == MEDIA_AAC ? AAC_FRAME : OPUS_FRAME;
	sound_of(d, pcm, *frames);
	return ERR_OK;
}

void audio_decoder_conceal(
	struct audio_decoder *d, const uint8_t *next, size_t next_size, float *pcm, size_t frames)
{
	(void)next;
	(void)next_size;
	sound_of(d, pcm, frames);
}

int64_t audio_decoder_delay(const struct audio_decoder *d)
{
	(void)d;
	return 0;
}

void audio_decoder_stretch(struct audio_decoder *d, int frames)
{
	(void)d;
	(void)frames;
}

void audio_decoder_reset(struct audio_decoder *d)
{
	(void)d;
}

/* ---- encoder ----------------------------------------------------------------------------------- */

enum err audio_encoder_create(
	struct audio_encoder **out, enum media_codec codec, uint8_t channels, uint32_t bit_rate)
{
	(void)bit_rate;
	*out = NULL;
	if (codec != MEDIA_AAC && codec != MEDIA_OPUS)
		return ERR_UNSUPPORTED;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return ERR_NO_MEMORY;
	(*out)->codec = codec;
	(*out)->channels = channels;
	return ERR_OK;
}

void audio_encoder_destroy(struct audio_encoder **e)
{
	free(*e);
	*e = NULL;
}

size_t audio_encoder_frame_size(const struct audio_encoder *e)
{
	return e->codec == MEDIA_AAC ? AAC_FRAME : OPUS_FRAME;
}

int64_t audio_encoder_delay(const struct audio_encoder *e)
{
	return e->codec == MEDIA_AAC ? AAC_FRAME : OPUS_DELAY;
}

const uint8_t *audio_encoder_config(const struct audio_encoder *e, size_t *size)
{
	static const uint8_t stereo[] = {0x11, 0x90}, mono[] = {0x11, 0x88}; /* LC, 48 kHz */

	*size = e->codec == MEDIA_AAC ? sizeof(stereo) : 0;
	return e->channels == 1 ? mono : stereo;
}

/* The bytes of the first whole cycle; false: there is none. */
static bool bytes_of(const struct audio_encoder *e, const float *pcm, uint8_t bytes[WORDS * 2])
{
	size_t frames = audio_encoder_frame_size(e);
	uint32_t expected = 1;

	for (size_t i = 0; i < frames && expected <= WORDS; i++) {
		uint32_t sample = (uint32_t)pcm[i * e->channels];

		if (sample >> 16 != expected)
			expected = 1;
		if (sample >> 16 != expected)
			continue;
		bytes[2 * expected - 2] = (uint8_t)(sample >> 8);
		bytes[2 * expected - 1] = (uint8_t)sample;
		expected++;
	}
	return expected > WORDS;
}

enum err audio_encoder_encode(struct audio_encoder *e, const float *pcm, int64_t position,
	uint8_t packet[AUDIO_ENCODED_MAX], size_t *size, int64_t *start)
{
	bool has_one = e->has_one;

	*size = sizeof(e->ahead);
	if (e->codec == MEDIA_OPUS) {
		*start = position;
		return bytes_of(e, pcm, packet) ? ERR_OK : ERR_FORMAT;
	}
	*start = e->start;
	memcpy(packet, e->ahead, sizeof(e->ahead));
	e->start = position;
	e->has_one = bytes_of(e, pcm, e->ahead);
	return has_one ? ERR_OK : ERR_AGAIN;
}

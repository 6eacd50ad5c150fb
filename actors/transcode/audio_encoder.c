/* SPDX-License-Identifier: Apache-2.0
 *
 * Opus by libopus, AAC-LC by libavcodec.
 */
#include "actors/transcode/audio_codec.h"
#include "actors/transcode/libav.h"

#include <opus.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPUS_FRAME = AUDIO_RATE / 50,
	/* The loss that redundancy is laid out for. FEC lives in the SILK layer, so it helps speech at
	 * low rates; at any rate the encoder leans less on past frames. */
	OPUS_LOSS_PERCENT = 5,
	OPUS_COMPLEXITY = 7, /* of 10, which takes a third longer */
	BIT_RATE_MIN = 16000,
	BIT_RATE_MAX = 320000,
	CONFIG_MAX = 16,
	LOG_NEVER = 64, /* added to libavcodec's levels: beyond any that is shown */
};

struct audio_encoder {
	uint8_t channels;
	size_t frame_size;
	int64_t delay;
	OpusEncoder *opus;
	AVCodecContext *aac;
	AVPacket *packet;
	AVFrame *frame;
	uint8_t config[CONFIG_MAX];
	size_t config_size;
};

static enum err open_opus(struct audio_encoder *e, uint32_t bit_rate)
{
	opus_int32 lookahead = 0;

	e->opus = malloc((size_t)opus_encoder_get_size(e->channels));
	if (!e->opus)
		return ERR_NO_MEMORY;
	/* "restricted low delay" would save 4 ms and cost FEC and the speech modes */
	if (opus_encoder_init(e->opus, AUDIO_RATE, e->channels, OPUS_APPLICATION_AUDIO) ||
		opus_encoder_ctl(e->opus, OPUS_SET_BITRATE((opus_int32)bit_rate)) ||
		opus_encoder_ctl(e->opus, OPUS_SET_COMPLEXITY(OPUS_COMPLEXITY)) ||
		opus_encoder_ctl(e->opus, OPUS_SET_INBAND_FEC(1)) ||
		opus_encoder_ctl(e->opus, OPUS_SET_PACKET_LOSS_PERC(OPUS_LOSS_PERCENT)) ||
		opus_encoder_ctl(e->opus, OPUS_GET_LOOKAHEAD(&lookahead)))
		return ERR_INTERNAL;
	e->frame_size = OPUS_FRAME;
	e->delay = lookahead;
	return ERR_OK;
}

static enum err open_aac(struct audio_encoder *e, uint32_t bit_rate)
{
	enum err err = libav_open();

	if (err)
		return err;
	const AVCodec *codec = libav.avcodec_find_encoder_by_name("aac");
	if (!codec)
		return ERR_UNSUPPORTED;
	e->packet = libav.av_packet_alloc();
	e->frame = libav.av_frame_alloc();
	e->aac = libav.avcodec_alloc_context3(codec);
	if (!e->packet || !e->frame || !e->aac)
		return ERR_NO_MEMORY;
	e->aac->sample_rate = AUDIO_RATE;
	e->aac->sample_fmt = AV_SAMPLE_FMT_FLTP;
	e->aac->bit_rate = bit_rate;
	e->aac->time_base = (AVRational){1, AUDIO_RATE};
	e->aac->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
	e->aac->thread_count = 1;
	e->aac->log_level_offset = LOG_NEVER;
	libav.av_channel_layout_default(&e->aac->ch_layout, e->channels);
	int status = libav.avcodec_open2(e->aac, codec, NULL);
	if (status < 0)
		return status == AVERROR(ENOMEM) ? ERR_NO_MEMORY : ERR_INTERNAL;

	e->frame->format = AV_SAMPLE_FMT_FLTP;
	e->frame->sample_rate = AUDIO_RATE;
	e->frame->nb_samples = e->aac->frame_size;
	libav.av_channel_layout_default(&e->frame->ch_layout, e->channels);
	if (libav.av_frame_get_buffer(e->frame, 0) < 0)
		return ERR_NO_MEMORY;
	if (e->aac->extradata_size < 2 || e->aac->extradata_size > CONFIG_MAX)
		return ERR_INTERNAL;
	e->config_size = (size_t)e->aac->extradata_size;
	memcpy(e->config, e->aac->extradata, e->config_size);
	e->frame_size = (size_t)e->aac->frame_size;
	e->delay = e->aac->initial_padding;
	return ERR_OK;
}

enum err audio_encoder_create(
	struct audio_encoder **out, enum media_codec codec, uint8_t channels, uint32_t bit_rate)
{
	struct audio_encoder *e;
	enum err err;

	*out = NULL;
	if ((codec != MEDIA_AAC && codec != MEDIA_OPUS) || channels < 1 ||
		channels > AUDIO_CHANNELS_MAX || bit_rate < BIT_RATE_MIN || bit_rate > BIT_RATE_MAX)
		return ERR_UNSUPPORTED;
	e = calloc(1, sizeof(*e));
	if (!e)
		return ERR_NO_MEMORY;
	e->channels = channels;
	err = codec == MEDIA_OPUS ? open_opus(e, bit_rate) : open_aac(e, bit_rate);
	if (err)
		audio_encoder_destroy(&e);
	*out = e;
	return err;
}

void audio_encoder_destroy(struct audio_encoder **encoder)
{
	struct audio_encoder *e = *encoder;

	if (!e)
		return;
	if (e->aac)
		libav.avcodec_free_context(&e->aac);
	if (e->frame)
		libav.av_frame_free(&e->frame);
	if (e->packet)
		libav.av_packet_free(&e->packet);
	free(e->opus);
	free(e);
	*encoder = NULL;
}

size_t audio_encoder_frame_size(const struct audio_encoder *e)
{
	return e->frame_size;
}

int64_t audio_encoder_delay(const struct audio_encoder *e)
{
	return e->delay;
}

const uint8_t *audio_encoder_config(const struct audio_encoder *e, size_t *size)
{
	*size = e->config_size;
	return e->config;
}

static enum err encode_aac(struct audio_encoder *e, const float *pcm, int64_t position,
	uint8_t packet[AUDIO_ENCODED_MAX], size_t *size, int64_t *start)
{
	if (libav.av_frame_make_writable(e->frame) < 0)
		return ERR_NO_MEMORY;
	for (uint8_t channel = 0; channel < e->channels; channel++) {
		float *plane = (float *)e->frame->data[channel];
		for (size_t i = 0; i < e->frame_size; i++)
			plane[i] = pcm[i * e->channels + channel];
	}
	e->frame->pts = position;
	if (libav.avcodec_send_frame(e->aac, e->frame) < 0)
		return ERR_INTERNAL;
	int status = libav.avcodec_receive_packet(e->aac, e->packet);
	if (status < 0)
		return status == AVERROR(EAGAIN) ? ERR_AGAIN : ERR_INTERNAL;

	enum err err = ERR_TOO_LARGE;
	if (e->packet->size <= AUDIO_ENCODED_MAX) {
		memcpy(packet, e->packet->data, (size_t)e->packet->size);
		*size = (size_t)e->packet->size;
		*start = e->packet->pts + e->delay; /* libavcodec has moved it by the delay */
		err = ERR_OK;
	}
	libav.av_packet_unref(e->packet);
	return err;
}

enum err audio_encoder_encode(struct audio_encoder *e, const float *pcm, int64_t position,
	uint8_t packet[AUDIO_ENCODED_MAX], size_t *size, int64_t *start)
{
	*size = 0;
	if (e->aac)
		return encode_aac(e, pcm, position, packet, size, start);
	opus_int32 made =
		opus_encode_float(e->opus, pcm, OPUS_FRAME, packet, (opus_int32)AUDIO_ENCODED_MAX);
	if (made <= 0)
		return ERR_INTERNAL;
	*size = (size_t)made;
	*start = position;
	return ERR_OK;
}

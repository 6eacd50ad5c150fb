/* SPDX-License-Identifier: Apache-2.0
 *
 * AAC by libavcodec, resampled and mixed down by libswresample; Opus by libopus, which gives 48 kHz
 * in as many channels as one asks for. The resampler is made anew whenever the source's rate or
 * layout changes (SBR shows itself only in the first decoded frame).
 */
#include "actors/transcode/audio_codec.h"
#include "actors/transcode/libav.h"

#include <opus.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* LC 1024, with SBR 2048 samples an access unit; nothing legal is longer. */
	AAC_SAMPLES_MAX = 4096,
	AAC_RATE_MIN = 7350,
	AAC_RATE_MAX = 192000, /* 96 kHz core with SBR */
	AAC_CHANNELS_MAX = 8,
	/* Silences libavcodec: added to each message's level (8 to 56, kept in 8 bits), it lies beyond
	 * any that is shown. */
	LOG_NEVER = 64,
	/* Opus counts time in steps of 2.5 ms. */
	OPUS_STEP = AUDIO_RATE / 400,
};

struct audio_decoder {
	uint8_t channels;
	OpusDecoder *opus;
	AVCodecContext *aac;
	AVPacket *packet;
	AVFrame *frame;
	SwrContext *resampler;
	/* what the resampler was made for */
	int source_rate, source_format;
	AVChannelLayout source_layout;
	/* libavcodec may read a few bytes beyond a packet */
	uint8_t padded[AUDIO_PACKET_MAX + AV_INPUT_BUFFER_PADDING_SIZE];
};

static enum err open_opus(struct audio_decoder *d)
{
	d->opus = malloc((size_t)opus_decoder_get_size(d->channels));
	if (!d->opus)
		return ERR_NO_MEMORY;
	return opus_decoder_init(d->opus, AUDIO_RATE, d->channels) ? ERR_INTERNAL : ERR_OK;
}

static enum err open_aac(struct audio_decoder *d, const uint8_t *config, size_t size)
{
	enum err err = libav_open();

	if (err)
		return err;
	const AVCodec *codec = libav.avcodec_find_decoder_by_name("aac");
	if (!codec)
		return ERR_UNSUPPORTED;
	if (size == 0 || size > AUDIO_CONFIG_MAX)
		return ERR_FORMAT;
	d->packet = libav.av_packet_alloc();
	d->frame = libav.av_frame_alloc();
	d->aac = libav.avcodec_alloc_context3(codec);
	if (!d->packet || !d->frame || !d->aac)
		return ERR_NO_MEMORY;
	d->aac->extradata = libav.av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
	if (!d->aac->extradata)
		return ERR_NO_MEMORY;
	memcpy(d->aac->extradata, config, size);
	d->aac->extradata_size = (int)size;
	d->aac->thread_count = 1;
	d->aac->log_level_offset = LOG_NEVER;
	int status = libav.avcodec_open2(d->aac, codec, NULL);
	if (status == AVERROR(ENOMEM))
		return ERR_NO_MEMORY;
	return status < 0 ? ERR_FORMAT : ERR_OK;
}

enum err audio_decoder_create(struct audio_decoder **out, enum media_codec codec,
	const uint8_t *config, size_t config_size, uint8_t channels)
{
	struct audio_decoder *d = NULL;
	enum err err = ERR_UNSUPPORTED;

	*out = NULL;
	if (channels < 1 || channels > AUDIO_CHANNELS_MAX)
		return ERR_UNSUPPORTED;
	if (codec != MEDIA_AAC && codec != MEDIA_OPUS)
		return ERR_UNSUPPORTED;
	d = calloc(1, sizeof(*d));
	if (!d)
		return ERR_NO_MEMORY;
	d->channels = channels;
	err = codec == MEDIA_OPUS ? open_opus(d) : open_aac(d, config, config_size);
	if (err)
		audio_decoder_destroy(&d);
	*out = d;
	return err;
}

void audio_decoder_destroy(struct audio_decoder **decoder)
{
	struct audio_decoder *d = *decoder;

	if (!d)
		return;
	if (d->resampler)
		libav.swr_free(&d->resampler);
	if (d->source_layout.nb_channels)
		libav.av_channel_layout_uninit(&d->source_layout);
	if (d->aac)
		libav.avcodec_free_context(&d->aac);
	if (d->frame)
		libav.av_frame_free(&d->frame);
	if (d->packet)
		libav.av_packet_free(&d->packet);
	free(d->opus);
	free(d);
	*decoder = NULL;
}

/* Broken input decodes to anything, and encoders refuse what is not a number. */
static void make_finite(float *pcm, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		float sample = pcm[i];
		if (!(sample >= -1.0f && sample <= 1.0f))
			pcm[i] = sample > 1.0f ? 1.0f : sample < -1.0f ? -1.0f : 0.0f;
	}
}

static enum err decode_opus(struct audio_decoder *d, const uint8_t *packet, size_t size, float *pcm,
	size_t capacity, size_t *frames)
{
	int limit = capacity < AUDIO_DECODED_MAX ? (int)capacity : AUDIO_DECODED_MAX;
	int samples = opus_packet_get_nb_samples(packet, (opus_int32)size, AUDIO_RATE);

	if (samples <= 0)
		return ERR_FORMAT;
	if (samples > limit)
		return ERR_NO_SPACE;
	samples = opus_decode_float(d->opus, packet, (opus_int32)size, pcm, limit, 0);
	if (samples <= 0)
		return ERR_FORMAT;
	*frames = (size_t)samples;
	return ERR_OK;
}

/* Makes a resampler from what d->frame holds to what comes out, unless there is one. */
static enum err fit_resampler(struct audio_decoder *d)
{
	const AVFrame *frame = d->frame;
	AVChannelLayout target;

	if (d->resampler && frame->sample_rate == d->source_rate &&
		frame->format == d->source_format &&
		libav.av_channel_layout_compare(&frame->ch_layout, &d->source_layout) == 0)
		return ERR_OK;

	libav.swr_free(&d->resampler);
	libav.av_channel_layout_uninit(&d->source_layout);
	d->source_rate = frame->sample_rate;
	d->source_format = frame->format;
	if (libav.av_channel_layout_copy(&d->source_layout, &frame->ch_layout) < 0)
		return ERR_NO_MEMORY;

	AVChannelLayout source = frame->ch_layout; /* borrowed; a bare channel count gets places */
	if (source.order == AV_CHANNEL_ORDER_UNSPEC)
		libav.av_channel_layout_default(&source, frame->ch_layout.nb_channels);
	libav.av_channel_layout_default(&target, d->channels);
	if (libav.swr_alloc_set_opts2(&d->resampler, &target, AV_SAMPLE_FMT_FLT, AUDIO_RATE,
		    &source, frame->format, frame->sample_rate, 0, NULL) < 0)
		return ERR_NO_MEMORY;
	/* several loud channels mixed into two must not clip */
	libav.av_opt_set_double(d->resampler, "rematrix_maxval", 1.0, 0);
	if (libav.swr_init(d->resampler) < 0) {
		libav.swr_free(&d->resampler);
		return ERR_UNSUPPORTED;
	}
	return ERR_OK;
}

static enum err resample(struct audio_decoder *d, float *pcm, size_t capacity, size_t *frames)
{
	const AVFrame *frame = d->frame;

	if (frame->nb_samples < 1 || frame->nb_samples > AAC_SAMPLES_MAX ||
		frame->sample_rate < AAC_RATE_MIN || frame->sample_rate > AAC_RATE_MAX ||
		frame->ch_layout.nb_channels < 1 || frame->ch_layout.nb_channels > AAC_CHANNELS_MAX)
		return ERR_FORMAT;
	enum err err = fit_resampler(d);
	if (err)
		return err;
	int most = libav.swr_get_out_samples(d->resampler, frame->nb_samples);
	if (most < 0 || (size_t)most > capacity)
		return ERR_NO_SPACE;

	uint8_t *target[] = {(uint8_t *)pcm};
	int made = libav.swr_convert(d->resampler, target, (int)capacity,
		(const uint8_t **)frame->extended_data, frame->nb_samples);
	if (made < 0)
		return ERR_FORMAT;
	*frames = (size_t)made;
	return ERR_OK;
}

static enum err decode_aac(struct audio_decoder *d, const uint8_t *packet, size_t size, float *pcm,
	size_t capacity, size_t *frames)
{
	enum err err = ERR_FORMAT;

	memcpy(d->padded, packet, size);
	memset(d->padded + size, 0, AV_INPUT_BUFFER_PADDING_SIZE);
	libav.av_packet_unref(d->packet);
	d->packet->data = d->padded;
	d->packet->size = (int)size;
	if (libav.avcodec_send_packet(d->aac, d->packet) == 0 &&
		libav.avcodec_receive_frame(d->aac, d->frame) == 0)
		err = resample(d, pcm, capacity, frames);
	/* one access unit is one frame; whatever else a broken one leaves behind is not wanted */
	while (libav.avcodec_receive_frame(d->aac, d->frame) == 0)
		continue;
	libav.av_frame_unref(d->frame);
	return err;
}

enum err audio_decoder_decode(struct audio_decoder *d, const uint8_t *packet, size_t size,
	float *pcm, size_t capacity, size_t *frames)
{
	enum err err;

	*frames = 0;
	if (size == 0 || size > AUDIO_PACKET_MAX)
		return ERR_FORMAT;
	if (d->opus)
		err = decode_opus(d, packet, size, pcm, capacity, frames);
	else
		err = decode_aac(d, packet, size, pcm, capacity, frames);
	make_finite(pcm, *frames * d->channels);
	return err;
}

void audio_decoder_conceal(
	struct audio_decoder *d, const uint8_t *next, size_t next_size, float *pcm, size_t frames)
{
	size_t made = 0;

	memset(pcm, 0, frames * d->channels * sizeof(*pcm));
	if (!d->opus)
		return;
	/* FEC data describes the one frame before its packet, as long as that packet's frames */
	int covered = next ? opus_packet_get_samples_per_frame(next, AUDIO_RATE) : 0;
	if (covered <= 0 || (size_t)covered > frames || next_size > AUDIO_PACKET_MAX)
		covered = 0;
	while (made + OPUS_STEP <= frames - (size_t)covered) {
		size_t part = frames - (size_t)covered - made;
		part = part > AUDIO_RATE / 50 ? AUDIO_RATE / 50 : part - part % OPUS_STEP;
		if (opus_decode_float(d->opus, NULL, 0, pcm + made * d->channels, (int)part, 0) < 0)
			return;
		made += part;
	}
	/* without FEC data in `next` this conceals once more */
	float *end = pcm + (frames - (size_t)covered) * d->channels;
	if (covered && opus_decode_float(d->opus, next, (opus_int32)next_size, end, covered, 1) < 0)
		memset(end, 0, (size_t)covered * d->channels * sizeof(*end));
	make_finite(pcm, frames * d->channels);
}

int64_t audio_decoder_delay(const struct audio_decoder *d)
{
	return d->resampler ? libav.swr_get_delay(d->resampler, AUDIO_RATE) : 0;
}

void audio_decoder_stretch(struct audio_decoder *d, int frames)
{
	if (d->resampler)
		libav.swr_set_compensation(d->resampler, frames, AUDIO_RATE);
}

void audio_decoder_reset(struct audio_decoder *d)
{
	if (d->opus)
		opus_decoder_ctl(d->opus, OPUS_RESET_STATE);
	if (d->aac)
		libav.avcodec_flush_buffers(d->aac);
	if (d->resampler)
		libav.swr_free(&d->resampler);
}

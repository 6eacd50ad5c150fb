/* SPDX-License-Identifier: Apache-2.0
 *
 * What transcoding one second of stereo audio costs, each way, in µs a 20 ms frame of sound.
 */
#include "actors/transcode/transcode_engine.h"
#include "schemas/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECONDS = 20, PACKETS_MAX = SECONDS * 50 + 10 };

struct packet {
	uint8_t bytes[AUDIO_ENCODED_MAX];
	size_t size;
	int64_t pts;
};

static struct packet packets[PACKETS_MAX];

/* Chords that change, over pink-ish noise: neither silence nor the worst case. */
static void make_sound(float *pcm, size_t frames, int64_t position, struct rng *rng)
{
	static double noise;

	for (size_t i = 0; i < frames; i++) {
		double t = (double)(position + (int64_t)i) / AUDIO_RATE;
		double base = 110.0 * (1 + (int)(t * 3) % 7);
		double sum = 0;
		for (int harmonic = 1; harmonic <= 6; harmonic++)
			sum += sin(2 * M_PI * base * harmonic * t) / harmonic;
		noise = 0.9 * noise + 0.1 * ((double)rng_below(rng, 2000) / 1000 - 1);
		pcm[2 * i] = (float)(0.2 * sum + 0.2 * noise);
		pcm[2 * i + 1] = (float)(0.15 * sum - 0.2 * noise);
	}
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void measure(enum media_codec from, enum media_codec to)
{
	struct transcode_state state = {
		.from = (uint8_t)from, .to = (uint8_t)to, .channels = 2, .clock_rate = AUDIO_RATE};
	struct rng rng = rng_of(1);
	struct audio_encoder *encoder;
	struct transcode *transcode;
	struct transcode_packet out;
	float pcm[1024 * 2];
	size_t count = 0, bytes = 0, config_size;

	MUST(audio_encoder_create(&encoder, from, 2, 128000) == ERR_OK);
	size_t frame = audio_encoder_frame_size(encoder);
	for (int64_t at = 0; at < SECONDS * AUDIO_RATE; at += (int64_t)frame) {
		struct packet *p = &packets[count];
		make_sound(pcm, frame, at, &rng);
		if (audio_encoder_encode(encoder, pcm, at, p->bytes, &p->size, &p->pts) == ERR_OK)
			count++;
	}
	const uint8_t *config = audio_encoder_config(encoder, &config_size);
	memcpy(state.config, config, config_size);
	state.config_size = (uint16_t)config_size;

	MUST(transcode_create(&transcode, &state) == ERR_OK);
	int64_t begin = now_ns();
	for (size_t i = 0; i < count; i++) {
		MUST(transcode_put(transcode, packets[i].bytes, packets[i].size, packets[i].pts,
			     0) == ERR_OK);
		while (transcode_take(transcode, &out))
			bytes += out.size;
	}
	double us = (double)(now_ns() - begin) / 1000;
	printf("%s -> %s: %6.1f us a 20 ms frame, %.2f %% of a core, %zu kbit/s out\n",
		media_codec_name(from), media_codec_name(to), us / (SECONDS * 50),
		us / (SECONDS * 10000.0), bytes * 8 / SECONDS / 1000);
	transcode_destroy(&transcode);
	audio_encoder_destroy(&encoder);
}

int main(void)
{
	measure(MEDIA_AAC, MEDIA_OPUS);
	measure(MEDIA_OPUS, MEDIA_AAC);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * clip: what publishers of the load generator send. A short film made here, of a wanted rate, that
 * every decoder plays: H.264 Constrained Baseline (colour bars, over which a block of noise wanders;
 * its macroblocks are PCM, so that the rate is simply how many of them change), with silence as Opus
 * and as AAC. Frames of one GOP are made once and repeated; all publishers share them.
 *
 * Read-only after clip_create; any thread.
 */
#ifndef MILLRACE_CLIENT_CLIP_H
#define MILLRACE_CLIENT_CLIP_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CLIP_WIDTH = 640,
	CLIP_HEIGHT = 384,
	CLIP_FPS = 30,
	CLIP_GOP = 60, /* frames: a keyframe every 2 s */
	CLIP_RECORD_MAX = 64,
	CLIP_OPUS_MS = 20,
	CLIP_AAC_SAMPLES = 1024, /* a frame, at 48 kHz */
	CLIP_AUDIO_RATE = 48000,
};

struct clip_frame {
	const uint8_t
		*bytes; /* access unit: NAL units behind 4-byte lengths, SPS and PPS left out */
	size_t size;
	bool keyframe;
};

struct clip {
	struct clip_frame frames[CLIP_GOP];
	uint8_t record[CLIP_RECORD_MAX]; /* avcC */
	size_t record_size;
	uint8_t *bytes; /* of all frames; owned */
};

/* The picture takes about rate_bps. ERR_NO_MEMORY. */
enum err clip_create(uint32_t rate_bps, struct clip **clip);
void clip_destroy(struct clip **clip);

/* One frame of silence: stereo, 48 kHz. */
extern const uint8_t clip_opus[3];
extern const uint8_t clip_aac[];
extern const size_t clip_aac_size;
extern const uint8_t clip_aac_config[2]; /* AudioSpecificConfig */

#endif

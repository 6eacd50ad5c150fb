/* SPDX-License-Identifier: Apache-2.0
 *
 * decoder -> waiting samples at 48 kHz -> encoder, and the bookkeeping of time between them.
 *
 * Samples are counted from 0 over the whole life ("position"). A segment ties a position to a time;
 * positions of one segment are continuous in time. Segments begin at the start of an encoder frame,
 * so a packet belongs to exactly one, though the encoder may give it one frame later.
 */
#include "actors/transcode/transcode_engine.h"

#include <stdlib.h>
#include <string.h>

enum {
	BRIDGE_MAX = (int)((int64_t)AUDIO_RATE * TRANSCODE_BRIDGE_US / 1000000),
	/* The longest hole, the longest packet behind it, a stretched resampler's surplus and a frame
	 * that is not full yet. */
	WAITING_MAX = BRIDGE_MAX + AUDIO_DECODED_MAX + 2 * 1024,
	/* Opus times count samples, so a difference this large is loss (two steps of its clock). */
	OPUS_TOLERANCE = AUDIO_RATE / 200,
	/* AAC comes by RTMP: nothing is lost, but times are rounded to ms and some encoders stamp
	 * whole bursts: what is within 60 ms is drift or jitter. */
	AAC_TOLERANCE = AUDIO_RATE * 6 / 100,
	/* Smoothed difference from which on drift is worked off (5 ms), and how fast at most. */
	DRIFT_MIN = AUDIO_RATE / 200,
	STRETCH_MAX = AUDIO_RATE / 100, /* a second: 1%, not heard */
	DRIFT_SMOOTHING = 64,		/* packets */
	SEGMENTS_MAX = 4,
	CLOCK_RATE_MIN = 1000,
	CLOCK_RATE_MAX = 192000,
	BIT_RATE_MIN = 16000,
	BIT_RATE_MAX = 320000,
};

/* Times beyond are not times. Their sums and products with a clock rate stay in range. */
#define TIME_MAX (INT64_C(1) << 53)

struct segment {
	int64_t start;	    /* position of its first sample */
	int64_t pts;	    /* time of that, 48 kHz */
	int64_t capture_at; /* position of the first sample of the latest input */
	int64_t capture_us; /* and when that was captured */
	bool is_announced;  /* a packet of it has been given out */
};

struct transcode {
	struct transcode_state *state; /* borrowed */
	struct audio_decoder *decoder;
	struct audio_encoder *encoder;
	size_t frame_size;
	size_t packet_frames; /* of the latest good input: what a broken one is replaced by */

	struct segment segments[SEGMENTS_MAX]; /* the last one is current */
	size_t segment_count;		       /* 0 = nothing has come yet */
	int64_t drift;			       /* smoothed, times DRIFT_SMOOTHING */

	int64_t position;  /* of the first waiting sample */
	size_t waiting_at; /* where in `waiting` that lies, in frames */
	size_t waiting_end;
	float waiting[WAITING_MAX * AUDIO_CHANNELS_MAX];
	uint8_t packet[TRANSCODE_OUTPUT_MAX];
};

bool transcode_state_is_valid(const struct transcode_state *s)
{
	bool is_known = (s->from == MEDIA_AAC && s->to == MEDIA_OPUS) ||
			(s->from == MEDIA_OPUS && s->to == MEDIA_AAC);
	bool has_rate =
		s->bit_rate == 0 || (s->bit_rate >= BIT_RATE_MIN && s->bit_rate <= BIT_RATE_MAX);

	return is_known && has_rate && s->channels >= 1 && s->channels <= AUDIO_CHANNELS_MAX &&
	       s->clock_rate >= CLOCK_RATE_MIN && s->clock_rate <= CLOCK_RATE_MAX &&
	       s->config_size <= TRANSCODE_CONFIG_MAX &&
	       s->output_config_size <= TRANSCODE_CONFIG_MAX;
}

/* Transparent for music, as far as the two codecs are. */
static uint32_t good_bit_rate(const struct transcode_state *s)
{
	if (s->bit_rate)
		return s->bit_rate;
	if (s->to == MEDIA_OPUS)
		return s->channels == 1 ? 64000 : 96000;
	return s->channels == 1 ? 80000 : 128000;
}

enum err transcode_create(struct transcode **out, struct transcode_state *state)
{
	struct transcode *t;
	enum err err;

	*out = NULL;
	if (!transcode_state_is_valid(state))
		return ERR_UNSUPPORTED;
	t = calloc(1, sizeof(*t));
	if (!t)
		return ERR_NO_MEMORY;
	t->state = state;
	err = audio_decoder_create(
		&t->decoder, state->from, state->config, state->config_size, state->channels);
	if (err)
		goto out;
	err = audio_encoder_create(&t->encoder, state->to, state->channels, good_bit_rate(state));
	if (err)
		goto out;
	t->frame_size = audio_encoder_frame_size(t->encoder);

	size_t size;
	const uint8_t *config = audio_encoder_config(t->encoder, &size);
	memcpy(state->output_config, config, size);
	state->output_config_size = (uint16_t)size;
out:
	if (err)
		transcode_destroy(&t);
	*out = t;
	return err;
}

void transcode_destroy(struct transcode **transcode)
{
	struct transcode *t = *transcode;

	if (!t)
		return;
	audio_encoder_destroy(&t->encoder);
	audio_decoder_destroy(&t->decoder);
	free(t);
	*transcode = NULL;
}

enum err transcode_configure(struct transcode *t, const uint8_t *config, size_t size)
{
	struct transcode_state *s = t->state;
	struct audio_decoder *decoder;

	if (s->from != MEDIA_AAC)
		return ERR_UNSUPPORTED;
	if (size > TRANSCODE_CONFIG_MAX)
		return ERR_FORMAT;
	if (size == s->config_size && memcmp(config, s->config, size) == 0)
		return ERR_OK;
	enum err err = audio_decoder_create(&decoder, MEDIA_AAC, config, size, s->channels);
	if (err)
		return err;
	audio_decoder_destroy(&t->decoder);
	t->decoder = decoder;
	t->drift = 0;
	memcpy(s->config, config, size);
	s->config_size = (uint16_t)size;
	return ERR_OK;
}

static size_t waiting_count(const struct transcode *t)
{
	return t->waiting_end - t->waiting_at;
}

static float *waiting_tail(struct transcode *t)
{
	return t->waiting + t->waiting_end * t->state->channels;
}

static struct segment *current_segment(struct transcode *t)
{
	return &t->segments[t->segment_count - 1];
}

/* Position that the next decoded sample will get, once the resampler has let go of it. */
static int64_t input_position(const struct transcode *t)
{
	return t->position + (int64_t)waiting_count(t) + audio_decoder_delay(t->decoder);
}

/* Forgets what is waiting (less than a frame, when output is taken) and ties times anew. */
static void begin_segment(struct transcode *t, int64_t pts)
{
	if (t->segment_count == SEGMENTS_MAX) {
		memmove(t->segments, t->segments + 1, (SEGMENTS_MAX - 1) * sizeof(t->segments[0]));
		t->segment_count--;
	}
	if (t->segment_count)
		audio_decoder_reset(t->decoder);
	t->waiting_at = t->waiting_end = 0;
	t->drift = 0;
	t->packet_frames = 0;
	t->segments[t->segment_count++] = (struct segment){.start = t->position, .pts = pts};
	t->state->segments++;
}

static void bridge(struct transcode *t, size_t frames, const uint8_t *next, size_t next_size)
{
	audio_decoder_conceal(t->decoder, next, next_size, waiting_tail(t), frames);
	t->waiting_end += frames;
	t->state->bridged++;
	t->state->bridged_us += (uint64_t)frames * 1000000 / AUDIO_RATE;
}

/* Small differences: averaged, because times are rounded, and worked off slowly. */
static void follow_drift(struct transcode *t, int64_t difference)
{
	if (t->state->from != MEDIA_AAC)
		return;
	t->drift += difference - t->drift / DRIFT_SMOOTHING;
	int64_t mean = t->drift / DRIFT_SMOOTHING;
	if (mean > -DRIFT_MIN && mean < DRIFT_MIN)
		return;
	if (mean > STRETCH_MAX)
		mean = STRETCH_MAX;
	if (mean < -STRETCH_MAX)
		mean = -STRETCH_MAX;
	audio_decoder_stretch(t->decoder, (int)mean);
}

static bool is_time(int64_t time)
{
	return time >= -TIME_MAX && time <= TIME_MAX;
}

/* In samples, to the nearest. Nothing overflows: TIME_MAX, CLOCK_RATE_MIN and _MAX. */
static int64_t samples_of(int64_t time, int64_t clock_rate)
{
	int64_t size = time < 0 ? -time : time;
	int64_t whole = size / clock_rate * AUDIO_RATE;
	int64_t rest = (size % clock_rate * AUDIO_RATE + clock_rate / 2) / clock_rate;

	return time < 0 ? -(whole + rest) : whole + rest;
}

/* Where a packet of this time belongs: begins a segment, fills a hole before it, or refuses it. */
static enum err place_input(struct transcode *t, int64_t pts, const uint8_t *bytes, size_t size)
{
	int64_t tolerance = t->state->from == MEDIA_OPUS ? OPUS_TOLERANCE : AAC_TOLERANCE;

	if (t->segment_count == 0) {
		begin_segment(t, pts);
		return ERR_OK;
	}
	const struct segment *segment = current_segment(t);
	int64_t expected = segment->pts + input_position(t) - segment->start;
	int64_t difference = pts - expected;
	if (difference > BRIDGE_MAX || difference < -BRIDGE_MAX) {
		begin_segment(t, pts);
		return ERR_OK;
	}
	if (difference < -tolerance) {
		t->state->late++;
		return ERR_REPLAY;
	}
	if (difference > tolerance)
		bridge(t, (size_t)difference, bytes, size);
	else
		follow_drift(t, difference);
	return ERR_OK;
}

/* Moves what is waiting to the front; false when a hole and a packet might not fit behind it. */
static bool make_room(struct transcode *t)
{
	size_t count = waiting_count(t);
	size_t frame = t->state->channels * sizeof(float);

	if (count > t->frame_size)
		return false;
	memmove(t->waiting, t->waiting + t->waiting_at * t->state->channels, count * frame);
	t->waiting_at = 0;
	t->waiting_end = count;
	return true;
}

enum err transcode_put(
	struct transcode *t, const uint8_t *bytes, size_t size, int64_t pts, int64_t capture_us)
{
	struct transcode_state *s = t->state;
	size_t frames = 0;

	s->packets_in++;
	if (size == 0 || size > TRANSCODE_INPUT_MAX || !is_time(pts) || !is_time(capture_us)) {
		s->corrupt++;
		return ERR_FORMAT;
	}
	if (!make_room(t)) {
		s->overflows++;
		return ERR_LIMIT;
	}
	enum err err = place_input(t, samples_of(pts, s->clock_rate), bytes, size);
	if (err)
		return err;
	current_segment(t)->capture_at = input_position(t);
	current_segment(t)->capture_us = capture_us;

	err = audio_decoder_decode(
		t->decoder, bytes, size, waiting_tail(t), WAITING_MAX - t->waiting_end, &frames);
	t->waiting_end += frames;
	if (err) {
		s->corrupt++;
		if (t->packet_frames)
			bridge(t, t->packet_frames, NULL, 0);
		return ERR_FORMAT;
	}
	t->packet_frames = frames;
	return ERR_OK;
}

/* The segment that a frame which begins at `start` belongs to. */
static struct segment *find_segment(struct transcode *t, int64_t start)
{
	size_t i = t->segment_count - 1;

	while (i > 0 && t->segments[i].start > start)
		i--;
	return &t->segments[i];
}

bool transcode_take(struct transcode *t, struct transcode_packet *packet)
{
	int64_t delay = audio_encoder_delay(t->encoder);

	while (waiting_count(t) >= t->frame_size) {
		const float *pcm = t->waiting + t->waiting_at * t->state->channels;
		size_t size;
		int64_t start;
		enum err err = audio_encoder_encode(
			t->encoder, pcm, t->position, t->packet, &size, &start);
		t->waiting_at += t->frame_size;
		t->position += (int64_t)t->frame_size;
		if (err == ERR_AGAIN)
			continue;
		if (err) {
			t->state->lost++;
			continue;
		}
		struct segment *segment = find_segment(t, start);
		int64_t since_capture = start - delay - segment->capture_at;
		*packet = (struct transcode_packet){
			.bytes = t->packet,
			.size = size,
			.pts = segment->pts + start - delay - segment->start,
			.capture_us = segment->capture_us + since_capture * 1000000 / AUDIO_RATE,
			.samples = (uint32_t)t->frame_size,
			.discontinuity = !segment->is_announced,
		};
		segment->is_announced = true;
		t->state->packets_out++;
		return true;
	}
	return false;
}

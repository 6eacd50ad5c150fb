/* SPDX-License-Identifier: Apache-2.0
 *
 * Audio transcoding: where sound ends up in time, how long it waits, and what loss, jumps, drift,
 * other layouts and garbage do. Sources are made by libavcodec here, so that every rate and layout
 * can be had; results are decoded by the plain decoders that a player would use.
 */
#include "actors/transcode/transcode_engine.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <libavcodec/avcodec.h>
#include <libavutil/mem.h>
#include <math.h>
#include <stdlib.h>

enum {
	SECONDS = 3,
	SOURCE_PACKETS_MAX = 400,
	CHIRP_AT_MS = 1500,
	CHIRP_MS = 60,
	TIMELINE_MAX = AUDIO_RATE * 20,
};

struct source_packet {
	uint8_t bytes[AUDIO_PACKET_MAX];
	size_t size;
	int64_t pts; /* in the source's clock */
};

struct source {
	uint8_t config[64];
	size_t config_size;
	uint32_t clock_rate;
	size_t count;
	struct source_packet packets[SOURCE_PACKETS_MAX];
};

static struct source source;
static float heard[TIMELINE_MAX]; /* what a player hears, first channel, by output time + 1 s */
static uint8_t heard_set[TIMELINE_MAX];

/* Quiet tone, and a loud rising chirp whose place can be found to the sample. */
static float signal_at(double seconds)
{
	double t = seconds - CHIRP_AT_MS / 1000.0;
	double length = CHIRP_MS / 1000.0;
	double value = 0.02 * sin(2 * M_PI * 440 * seconds);

	if (t >= 0 && t < length) {
		double window = 0.5 - 0.5 * cos(2 * M_PI * t / length);
		value += 0.6 * window * sin(2 * M_PI * (500 * t + 20000 * t * t));
	}
	return (float)value;
}

static void add_packet(const uint8_t *bytes, size_t size, int64_t pts)
{
	struct source_packet *p = &source.packets[source.count++];

	CHECK_LE(source.count, SOURCE_PACKETS_MAX);
	CHECK_LE(size, sizeof(p->bytes));
	memcpy(p->bytes, bytes, size);
	p->size = size;
	p->pts = pts;
}

/* A stream of AAC-LC as a publisher would send it: times start one frame below zero. */
static void make_aac(uint32_t rate, int channels)
{
	const AVCodec *codec = avcodec_find_encoder_by_name("aac");
	AVCodecContext *encoder = avcodec_alloc_context3(codec);
	AVPacket *packet = av_packet_alloc();
	AVFrame *frame = av_frame_alloc();

	source.count = 0;
	source.clock_rate = rate;
	encoder->log_level_offset = 64; /* not a word */
	encoder->sample_rate = (int)rate;
	encoder->sample_fmt = AV_SAMPLE_FMT_FLTP;
	encoder->bit_rate = 64000 * channels;
	encoder->time_base = (AVRational){1, (int)rate};
	encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
	av_channel_layout_default(&encoder->ch_layout, channels);
	CHECK_OK(avcodec_open2(encoder, codec, NULL));
	source.config_size = (size_t)encoder->extradata_size;
	CHECK_LE(source.config_size, sizeof(source.config));
	memcpy(source.config, encoder->extradata, source.config_size);

	for (int64_t at = 0; at < (int64_t)rate * SECONDS; at += 1024) {
		frame->format = AV_SAMPLE_FMT_FLTP;
		frame->sample_rate = (int)rate;
		frame->nb_samples = 1024;
		av_channel_layout_default(&frame->ch_layout, channels);
		CHECK_OK(av_frame_get_buffer(frame, 0));
		for (int i = 0; i < 1024; i++) {
			for (int c = 0; c < channels; c++)
				((float *)frame->data[c])[i] = signal_at((double)(at + i) / rate);
		}
		frame->pts = at;
		CHECK_OK(avcodec_send_frame(encoder, frame));
		av_frame_unref(frame);
		while (avcodec_receive_packet(encoder, packet) == 0) {
			add_packet(packet->data, (size_t)packet->size, packet->pts);
			av_packet_unref(packet);
		}
	}
	av_frame_free(&frame);
	av_packet_free(&packet);
	avcodec_free_context(&encoder);
}

static void make_opus(uint8_t channels)
{
	struct audio_encoder *encoder;
	float pcm[960 * 2];
	uint8_t bytes[AUDIO_ENCODED_MAX];
	size_t size;
	int64_t start;

	source.count = 0;
	source.clock_rate = AUDIO_RATE;
	source.config_size = 0;
	CHECK_OK(audio_encoder_create(&encoder, MEDIA_OPUS, channels, 64000));
	for (int64_t at = 0; at < AUDIO_RATE * SECONDS; at += 960) {
		for (int i = 0; i < 960 * channels; i++)
			pcm[i] = signal_at((double)(at + i / channels) / AUDIO_RATE);
		CHECK_OK(audio_encoder_encode(encoder, pcm, at, bytes, &size, &start));
		add_packet(bytes, size, start - audio_encoder_delay(encoder));
	}
	audio_encoder_destroy(&encoder);
}

static struct transcode_state state_of(enum media_codec from, enum media_codec to, uint8_t channels)
{
	struct transcode_state state = {.from = (uint8_t)from,
		.to = (uint8_t)to,
		.channels = channels,
		.clock_rate = source.clock_rate,
		.config_size = (uint16_t)source.config_size};

	memcpy(state.config, source.config, source.config_size);
	return state;
}

/* A transcode with a player behind it. */
struct rig {
	struct transcode_state state;
	struct transcode *transcode;
	struct audio_decoder *player;
	int64_t pts_end;     /* of what came out */
	int64_t capture_off; /* capture_us minus pts, both as us, of the latest packet */
	int64_t wait_max;    /* longest time a sample waited in us (input end to output end) */
	unsigned breaks; /* packets that do not continue the one before, discontinuities aside */
	unsigned discontinuities;
	bool is_flagged;
};

static void rig_open(struct rig *rig, enum media_codec from, enum media_codec to, uint8_t channels)
{
	*rig = (struct rig){.state = state_of(from, to, channels)};
	CHECK_OK(transcode_create(&rig->transcode, &rig->state));
	CHECK_OK(audio_decoder_create(&rig->player, to, rig->state.output_config,
		rig->state.output_config_size, channels));
	memset(heard, 0, sizeof(heard));
	memset(heard_set, 0, sizeof(heard_set));
}

static void rig_close(struct rig *rig)
{
	transcode_destroy(&rig->transcode);
	audio_decoder_destroy(&rig->player);
}

static void rig_take(struct rig *rig)
{
	struct transcode_packet packet;
	static float pcm[AUDIO_DECODED_MAX * 2];
	size_t frames;

	while (transcode_take(rig->transcode, &packet)) {
		CHECK(packet.size >= 1 && packet.size <= TRANSCODE_OUTPUT_MAX);
		if (packet.discontinuity)
			rig->discontinuities++;
		else
			rig->breaks += packet.pts != rig->pts_end;
		rig->pts_end = packet.pts + packet.samples;
		rig->capture_off = packet.capture_us - packet.pts * 1000000 / AUDIO_RATE;
		CHECK_OK(audio_decoder_decode(
			rig->player, packet.bytes, packet.size, pcm, AUDIO_DECODED_MAX, &frames));
		/* a player shows what the decoder gives at the packet's time */
		int64_t at = packet.pts - audio_decoder_delay(rig->player) + AUDIO_RATE;
		for (size_t i = 0; i < frames; i++, at++) {
			CHECK(isfinite(pcm[i * rig->state.channels]));
			if (at < 0 || at >= TIMELINE_MAX)
				continue;
			heard[at] = pcm[i * rig->state.channels];
			heard_set[at] = 1;
		}
	}
}

static enum err rig_put(struct rig *rig, const uint8_t *bytes, size_t size, int64_t pts)
{
	int64_t us = pts * 1000000 / rig->state.clock_rate;
	enum err err = transcode_put(rig->transcode, bytes, size, pts, us + 7000000);

	rig_take(rig);
	return err;
}

static void rig_put_all(struct rig *rig)
{
	for (size_t i = 0; i < source.count; i++) {
		const struct source_packet *p = &source.packets[i];
		int64_t next = i + 1 < source.count ? source.packets[i + 1].pts : p->pts;
		CHECK_OK(rig_put(rig, p->bytes, p->size, p->pts));
		int64_t wait =
			next * 1000000 / source.clock_rate - rig->pts_end * 1000000 / AUDIO_RATE;
		if (i > 10 && i + 1 < source.count && wait > rig->wait_max)
			rig->wait_max = wait;
	}
}

/* How many samples later than it should the chirp is heard: the peak of the correlation. */
static int chirp_offset(void)
{
	enum { LENGTH = AUDIO_RATE * CHIRP_MS / 1000, BEGIN = AUDIO_RATE * CHIRP_AT_MS / 1000 };
	static double chirp[LENGTH];
	double best = 0;
	int offset = -99999;

	for (int i = 0; i < LENGTH; i++)
		chirp[i] = signal_at((double)(BEGIN + i) / AUDIO_RATE);
	for (int shift = -2400; shift <= 2400; shift++) {
		double sum = 0;
		for (int i = 0; i < LENGTH; i++)
			sum += heard[AUDIO_RATE + BEGIN + i + shift] * chirp[i];
		if (sum > best) {
			best = sum;
			offset = shift;
		}
	}
	return offset;
}

static double power(double from_s, double to_s)
{
	double sum = 0;
	int from = AUDIO_RATE + (int)(from_s * AUDIO_RATE),
	    to = AUDIO_RATE + (int)(to_s * AUDIO_RATE);

	for (int i = from; i < to; i++)
		sum += heard[i] * heard[i];
	return sum / (to - from);
}

static const struct {
	enum media_codec from;
	uint32_t rate; /* of an AAC source */
	int source_channels;
	uint8_t channels;
	int64_t wait_us_max; /* the longest a sample may wait */
} sync_rows[] = {
	{MEDIA_AAC,  48000, 2, 2, 27000},
	{MEDIA_AAC,  44100, 2, 2, 28000},
	{MEDIA_AAC,  44100, 1, 1, 28000},
	{MEDIA_AAC,  48000, 1, 2, 27000},
	{MEDIA_AAC,  48000, 2, 1, 27000},
	{MEDIA_AAC,  48000, 6, 2, 27000}, /* 5.1 */
	{MEDIA_AAC,  32000, 2, 2, 28000},
	{MEDIA_AAC,  16000, 1, 1, 30000},
	{MEDIA_OPUS, 48000, 2, 2, 64000},
	{MEDIA_OPUS, 48000, 1, 1, 64000},
	{MEDIA_OPUS, 48000, 1, 2, 64000},
};

TEST(sound_keeps_its_place_and_waits_no_longer_than_promised)
{
	for (size_t i = 0; i < sizeof(sync_rows) / sizeof(sync_rows[0]); i++) {
		struct rig rig;
		bool is_aac = sync_rows[i].from == MEDIA_AAC;

		if (is_aac)
			make_aac(sync_rows[i].rate, sync_rows[i].source_channels);
		else
			make_opus((uint8_t)sync_rows[i].source_channels);
		rig_open(&rig, sync_rows[i].from, is_aac ? MEDIA_OPUS : MEDIA_AAC,
			sync_rows[i].channels);
		rig_put_all(&rig);

		int offset = chirp_offset();
		print_message("%s %u Hz %d ch -> %d ch: offset %d samples, wait %.1f ms\n",
			media_codec_name(sync_rows[i].from), sync_rows[i].rate,
			sync_rows[i].source_channels, sync_rows[i].channels, offset,
			(double)rig.wait_max / 1000);
		CHECK(offset >= -24 && offset <= 24); /* half a millisecond */
		CHECK_LE(rig.wait_max, sync_rows[i].wait_us_max);
		CHECK_EQ(rig.breaks, 0);
		CHECK_EQ(rig.discontinuities, 1);
		CHECK(rig.capture_off > 6999900 && rig.capture_off < 7000100);
		CHECK_EQ(
			rig.state.corrupt + rig.state.late + rig.state.bridged + rig.state.lost, 0);
		CHECK_EQ(rig.state.packets_in, source.count);
		CHECK(power(1.52, 1.54) > 0.01);
		rig_close(&rig);
	}
}

/* The core of HE-AAC without SBR data: the decoder doubles the rate all the same. */
TEST(sbr_doubles_the_rate)
{
	/* object type 5, core 24 kHz, stereo, extension 48 kHz, core type 2 (ISO/IEC 14496-3 1.6.2.1) */
	static const uint8_t he_aac[] = {0x2b, 0x11, 0x88, 0x00};
	struct rig rig;

	make_aac(24000, 2);
	memcpy(source.config, he_aac, sizeof(he_aac));
	source.config_size = sizeof(he_aac);
	rig_open(&rig, MEDIA_AAC, MEDIA_OPUS, 2);
	rig_put_all(&rig);
	int offset = chirp_offset();
	print_message(
		"SBR: offset %d samples, wait %.1f ms\n", offset, (double)rig.wait_max / 1000);
	CHECK(offset > 900 && offset < 1024); /* 962: SBR's own, see the header */
	CHECK_EQ(rig.breaks, 0);
	CHECK_EQ(rig.state.bridged + rig.state.late, 0);
	rig_close(&rig);
}

TEST(millisecond_times_are_taken_as_jitter)
{
	struct rig rig;

	make_aac(44100, 2);
	for (size_t i = 0; i < source.count; i++)
		source.packets[i].pts = source.packets[i].pts * 1000 / 44100;
	source.clock_rate = 1000;
	rig_open(&rig, MEDIA_AAC, MEDIA_OPUS, 2);
	rig_put_all(&rig);
	int offset = chirp_offset();
	CHECK(offset > -72 && offset < 72);
	CHECK_EQ(rig.breaks + rig.state.bridged + rig.state.late, 0);
	rig_close(&rig);
}

TEST(lost_packets_are_bridged)
{
	static const struct {
		enum media_codec from;
		size_t lose_from, lose_count;
		uint64_t bridged, segments;
	} rows[] = {
		{MEDIA_OPUS, 50, 1,  1, 1},
		{MEDIA_OPUS, 50, 3,  1, 1},
		{MEDIA_OPUS, 50, 25, 1, 1}, /* 500 ms: the most */
		{MEDIA_OPUS, 50, 26, 0, 2},
		{MEDIA_AAC,  50, 3,  1, 1},
		{MEDIA_AAC,  50, 23, 1, 1}, /* 491 ms */
		{MEDIA_AAC,  50, 25, 0, 2},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig rig;
		bool is_aac = rows[i].from == MEDIA_AAC;

		if (is_aac)
			make_aac(48000, 2);
		else
			make_opus(2);
		rig_open(&rig, rows[i].from, is_aac ? MEDIA_OPUS : MEDIA_AAC, 2);
		for (size_t k = 0; k < source.count; k++) {
			const struct source_packet *p = &source.packets[k];
			if (k < rows[i].lose_from || k >= rows[i].lose_from + rows[i].lose_count)
				CHECK_OK(rig_put(&rig, p->bytes, p->size, p->pts));
		}
		CHECK_EQ(rig.state.bridged, rows[i].bridged);
		CHECK_EQ(rig.state.segments, rows[i].segments);
		CHECK_EQ(rig.discontinuities, rows[i].segments);
		CHECK_EQ(rig.breaks, 0);
		if (rows[i].lose_from + rows[i].lose_count < 70) {
			int offset = chirp_offset();
			CHECK(offset >= -24 && offset <= 24);
		}
		if (rows[i].from == MEDIA_OPUS && rows[i].lose_count == 1)
			CHECK(power(1.0, 1.02) >
				0.5 * power(0.9, 0.92)); /* concealed, not silent */
		rig_close(&rig);
	}
}

TEST(what_comes_too_late_or_twice_is_dropped)
{
	struct rig rig;

	make_opus(2);
	rig_open(&rig, MEDIA_OPUS, MEDIA_AAC, 2);
	for (size_t k = 0; k < 100; k++) {
		const struct source_packet *p = &source.packets[k];
		if (k == 40)
			continue;
		CHECK_OK(rig_put(&rig, p->bytes, p->size, p->pts));
		if (k % 10 == 5)
			CHECK_EQ(rig_put(&rig, p->bytes, p->size, p->pts), ERR_REPLAY);
		if (k == 42)
			CHECK_EQ(rig_put(&rig, source.packets[40].bytes, source.packets[40].size,
					 source.packets[40].pts),
				ERR_REPLAY);
	}
	CHECK_EQ(rig.state.late, 11);
	CHECK_EQ(rig.state.bridged, 1);
	CHECK_EQ(rig.breaks, 0);
	CHECK_EQ(rig.discontinuities, 1);
	rig_close(&rig);
}

TEST(jumps_begin_a_new_segment)
{
	static const int64_t jumps_s[] = {10, -10, 5000000, -5000000, 1, 1, 1, 1, 1, 1};
	struct rig rig;

	make_opus(2);
	rig_open(&rig, MEDIA_OPUS, MEDIA_AAC, 2);
	int64_t shift = 0;
	for (size_t k = 0; k < 100; k++) {
		const struct source_packet *p = &source.packets[k];
		if (k && k % 10 == 0)
			shift += jumps_s[k / 10] * AUDIO_RATE;
		CHECK_OK(rig_put(&rig, p->bytes, p->size, p->pts + shift));
		int64_t lag = p->pts + shift + 960 - rig.pts_end;
		if (k % 10 > 4) /* a packet of the new segment is out by then */
			CHECK(lag >= 0 && lag < 64 * 48);
	}
	CHECK_EQ(rig.state.segments, 10);
	CHECK_EQ(rig.discontinuities, 10);
	CHECK_EQ(rig.breaks, 0);
	rig_close(&rig);
}

/* Two frames a jump leave the encoder no time: segments pile up and are forgotten in order. */
TEST(jumps_at_every_packet_do_no_harm)
{
	struct rng rng = rng_of(3);
	struct rig rig;

	for (int direction = 0; direction < 2; direction++) {
		if (direction)
			make_aac(44100, 2);
		else
			make_opus(2);
		rig_open(&rig, direction ? MEDIA_AAC : MEDIA_OPUS,
			direction ? MEDIA_OPUS : MEDIA_AAC, 2);
		for (size_t k = 0; k < source.count; k++) {
			const struct source_packet *p = &source.packets[k];
			int64_t pts = rng_between(&rng, -(INT64_C(1) << 42), INT64_C(1) << 42);
			CHECK_OK(transcode_put(rig.transcode, p->bytes, p->size, pts, -pts));
			rig_take(&rig);
		}
		const struct source_packet *p = &source.packets[0];
		CHECK_EQ(transcode_put(rig.transcode, p->bytes, p->size, INT64_MAX, 0), ERR_FORMAT);
		CHECK_EQ(transcode_put(rig.transcode, p->bytes, p->size, INT64_MIN, 0), ERR_FORMAT);
		CHECK_EQ(transcode_put(rig.transcode, p->bytes, p->size, 0, INT64_MIN), ERR_FORMAT);
		rig_close(&rig);
	}
}

TEST(drift_is_worked_off)
{
	static const struct {
		int ppm;
		size_t packets;
	} rows[] = {
		{-2000, 900 },
		      {-600,  2800},
		    {600,	  2800},
		 {2000,	900 }
	    }; /* 36 ms or more */

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		struct rig rig;
		int64_t lag_min = INT64_MAX, lag_max = INT64_MIN;

		make_aac(48000, 2);
		rig_open(&rig, MEDIA_AAC, MEDIA_OPUS, 2);
		for (size_t k = 0; k < rows[row].packets; k++) {
			const struct source_packet *p = &source.packets[k % source.count];
			int64_t pts = (int64_t)k * 1024;
			pts += pts * rows[row].ppm / 1000000;
			CHECK_OK(rig_put(&rig, p->bytes, p->size, pts));
			int64_t lag = pts + 1024 - rig.pts_end;
			lag_min = lag < lag_min && k > 10 ? lag : lag_min;
			lag_max = lag > lag_max && k > 10 ? lag : lag_max;
		}
		print_message("drift %d ppm: lag %.1f .. %.1f ms\n", rows[row].ppm, lag_min / 48.0,
			lag_max / 48.0);
		CHECK(lag_max - lag_min < 45 * 48); /* 20 of them are the frame that fills */
		CHECK_EQ(rig.breaks + rig.state.bridged + rig.state.late, 0);
		CHECK_EQ(rig.state.segments, 1);
		rig_close(&rig);
	}
}

TEST(source_may_change_its_rate_and_layout)
{
	static const struct {
		uint32_t rate;
		int channels;
	} rows[] = {
		{48000, 2},
		    {44100, 1},
		{48000, 6},
		    {22050, 2}
	      };
	struct rig rig;

	make_aac(48000, 2);
	source.clock_rate = 90000;
	rig_open(&rig, MEDIA_AAC, MEDIA_OPUS, 2);
	double end_s = 0;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		make_aac(rows[row].rate, rows[row].channels);
		CHECK_OK(transcode_configure(rig.transcode, source.config, source.config_size));
		CHECK_OK(transcode_configure(rig.transcode, source.config, source.config_size));
		for (size_t k = 0; k < 40; k++) {
			const struct source_packet *p = &source.packets[k];
			CHECK_OK(rig_put(&rig, p->bytes, p->size, (int64_t)(end_s * 90000)));
			end_s += 1024.0 / rows[row].rate;
		}
	}
	CHECK_EQ(rig.breaks + rig.state.corrupt, 0);
	CHECK_EQ(rig.state.segments, 1);
	CHECK_EQ(transcode_configure(rig.transcode, (const uint8_t[]){0xff, 0xff}, 2), ERR_FORMAT);
	CHECK_EQ(transcode_configure(rig.transcode, source.config, 0), ERR_FORMAT);
	CHECK_OK(rig_put(
		&rig, source.packets[40].bytes, source.packets[40].size, (int64_t)(end_s * 90000)));
	rig_close(&rig);
}

TEST(corrupt_input_is_counted_and_survived)
{
	for (int direction = 0; direction < 2; direction++) {
		struct rng rng = rng_of(5);
		struct rig rig;
		unsigned refused = 0;

		if (direction)
			make_aac(44100, 2);
		else
			make_opus(2);
		rig_open(&rig, direction ? MEDIA_AAC : MEDIA_OPUS,
			direction ? MEDIA_OPUS : MEDIA_AAC, 2);
		for (size_t k = 0; k < source.count; k++) {
			struct source_packet p = source.packets[k];
			if (k % 3 == 1) {
				p.size = rng_below(&rng, p.size + 1);
			} else if (k % 3 == 2) {
				for (int n = 0; n < 8; n++)
					p.bytes[rng_below(&rng, p.size)] = (uint8_t)rng_u64(&rng);
			}
			refused += rig_put(&rig, p.bytes, p.size, p.pts) == ERR_FORMAT;
		}
		CHECK(refused > 0);
		CHECK_EQ(rig.state.corrupt, refused);
		CHECK_EQ(rig.breaks, 0);
		CHECK_EQ(rig.state.packets_in, source.count);
		CHECK_EQ(transcode_put(rig.transcode, source.packets[0].bytes,
				 TRANSCODE_INPUT_MAX + 1, 0, 0),
			ERR_FORMAT);
		rig_close(&rig);
	}
}

TEST(output_not_taken_is_bounded)
{
	struct rig rig;

	make_opus(2);
	rig_open(&rig, MEDIA_OPUS, MEDIA_AAC, 2);
	for (size_t k = 0; k < source.count; k++)
		transcode_put(rig.transcode, source.packets[k].bytes, source.packets[k].size,
			source.packets[k].pts, 0);
	CHECK(rig.state.overflows > source.count - 4);
	rig_take(&rig);
	CHECK_OK(rig_put(
		&rig, source.packets[10].bytes, source.packets[10].size, source.packets[10].pts));
	rig_close(&rig);
}

TEST(states_that_are_refused)
{
	static const struct transcode_state good = {
		.from = MEDIA_OPUS, .to = MEDIA_AAC, .channels = 2, .clock_rate = 48000};
	struct transcode_state rows[12];
	struct transcode *t;

	for (size_t i = 0; i < 12; i++)
		rows[i] = good;
	rows[0].from = MEDIA_AAC;
	rows[1].to = MEDIA_OPUS;
	rows[2].from = MEDIA_H264;
	rows[3].from = 255;
	rows[4].channels = 0;
	rows[5].channels = 3;
	rows[6].clock_rate = 0;
	rows[7].clock_rate = UINT32_MAX;
	rows[8].bit_rate = 1;
	rows[9].bit_rate = UINT32_MAX;
	rows[10].config_size = TRANSCODE_CONFIG_MAX + 1;
	rows[11].output_config_size = UINT16_MAX;
	CHECK(transcode_state_is_valid(&good));
	for (size_t i = 0; i < 12; i++) {
		CHECK(!transcode_state_is_valid(&rows[i]));
		CHECK_EQ(transcode_create(&t, &rows[i]), ERR_UNSUPPORTED);
		CHECK(t == NULL);
	}
	rows[0] = good;
	rows[0].from = MEDIA_AAC;
	rows[0].to = MEDIA_OPUS;
	CHECK_EQ(transcode_create(&t, &rows[0]), ERR_FORMAT); /* no AudioSpecificConfig */
	transcode_destroy(&t);
}

TEST(aac_that_is_made_says_what_it_is)
{
	static const struct {
		uint8_t channels, first, second;
	} rows[] = {
		{1, 0x11, 0x88},
		 {2, 0x11, 0x90}
	}; /* LC, 48 kHz, 1 or 2 channels */

	for (size_t i = 0; i < 2; i++) {
		struct transcode_state plain = {.from = MEDIA_OPUS,
			.to = MEDIA_AAC,
			.channels = rows[i].channels,
			.clock_rate = 48000};
		struct transcode *t;
		CHECK_OK(transcode_create(&t, &plain));
		CHECK_GE(plain.output_config_size, 2);
		CHECK_EQ(plain.output_config[0], rows[i].first);
		CHECK_EQ(plain.output_config[1], rows[i].second);
		transcode_destroy(&t);
	}
}

/* Our own allocations one by one; libavcodec's by its ceiling on the size of one. */
TEST(allocation_failures_are_reported)
{
	make_aac(48000, 2);
	for (int direction = 0; direction < 2; direction++) {
		struct transcode_state plain = direction ? state_of(MEDIA_AAC, MEDIA_OPUS, 2)
							 : state_of(MEDIA_OPUS, MEDIA_AAC, 2);
		struct transcode *t;
		unsigned failed = 0;

		if (!direction)
			plain.config_size = 0;
		plain.clock_rate = 48000;
		for (size_t n = 1;; n++) {
			test_fail_allocation(n);
			enum err err = transcode_create(&t, &plain);
			test_fail_allocation(0);
			if (!err)
				break;
			CHECK_EQ(err, ERR_NO_MEMORY);
			CHECK(t == NULL);
			failed++;
		}
		transcode_destroy(&t);
		CHECK_GE(failed, 4);
		for (size_t bytes = 64; bytes < 400000; bytes += bytes / 3) {
			av_max_alloc(bytes);
			enum err err = transcode_create(&t, &plain);
			av_max_alloc(INT32_MAX);
			CHECK_EQ(t == NULL, err != ERR_OK);
			transcode_destroy(&t);
		}
	}
}

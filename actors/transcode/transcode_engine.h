/* SPDX-License-Identifier: Apache-2.0
 *
 * One audio stream from AAC to Opus or from Opus to AAC, in one direction, without a clock: packets
 * with their times in, packets with their times out.
 *
 *	transcode_create(&t, &state);
 *	for each packet:
 *		transcode_put(t, bytes, size, pts, capture_us);
 *		while (transcode_take(t, &packet))
 *			... packet.bytes, packet.pts, packet.capture_us ...
 *	transcode_destroy(&t);
 *
 * Times. The codec's own delay (Opus 312 samples, AAC 1024) is taken off: a sample that went in
 * with time T comes out of a plain decoder at time T, so sound stays with the picture. Output times
 * run on sample by sample; a source whose clock and sample count drift apart is stretched by up to
 * 1% until they agree. A hole of up to TRANSCODE_BRIDGE_US is filled (Opus: concealed, with FEC
 * where the source sent it; AAC: silence). A larger one, or as large a jump back, starts a new
 * segment: the next packet has `discontinuity` set. What comes after its time is filled is dropped.
 *
 * Waiting added, from the last sample of an input packet to the packet that carries it: AAC to Opus
 * at most 28 ms, Opus to AAC at most 64 ms, and a drift that is not worked off yet. HE-AAC keeps
 * the 962 samples (20 ms) that every SBR decoder is late by: players show it no earlier either.
 *
 * What must outlive the process is in struct transcode_state: plain data, given by the caller, who
 * may keep it anywhere. struct transcode is made from it (and made again after a takeover: then a
 * new segment begins). It is large (about 300 kB), so is not for the stack.
 *
 * Corrupt input is counted and bridged like loss, never fatal. Only for helper processes.
 * Thread: one at a time per object.
 */
#ifndef MILLRACE_TRANSCODE_ENGINE_H
#define MILLRACE_TRANSCODE_ENGINE_H

#include "actors/transcode/audio_codec.h"
#include "schemas/err.h"
#include "schemas/media.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TRANSCODE_CONFIG_MAX = AUDIO_CONFIG_MAX,
	TRANSCODE_INPUT_MAX = AUDIO_PACKET_MAX,	  /* bytes of one input packet */
	TRANSCODE_OUTPUT_MAX = AUDIO_ENCODED_MAX, /* bytes of one output packet */
	TRANSCODE_OUTPUT_CLOCK = AUDIO_RATE, /* output times count at 48 kHz, whatever the codec */
	/* Longest hole that is filled. Opus with DTX sends a packet each 400 ms (RFC 6716 2.1.9). */
	TRANSCODE_BRIDGE_US = 500000,
};

/* The first block is the caller's to fill before transcode_create(); the rest starts at zero. */
struct transcode_state {
	uint8_t from, to;     /* enum media_codec: MEDIA_AAC and MEDIA_OPUS, or the other way */
	uint8_t channels;     /* 1 or 2, of the output; the source may have any number */
	uint32_t clock_rate;  /* of input times, Hz, 1,000 to 192,000 */
	uint32_t bit_rate;    /* of the output, bit/s; 0 = a good one for codec and channels */
	uint16_t config_size; /* AudioSpecificConfig of the source (AAC only) */
	uint8_t config[TRANSCODE_CONFIG_MAX];

	uint16_t output_config_size; /* AudioSpecificConfig of the output (AAC only) */
	uint8_t output_config[TRANSCODE_CONFIG_MAX];
	uint64_t packets_in; /* taken, broken ones included */
	uint64_t packets_out;
	uint64_t corrupt;    /* input packets that did not decode */
	uint64_t late;	     /* input packets dropped because their time had been filled */
	uint64_t bridged;    /* holes filled */
	uint64_t bridged_us; /* their length */
	uint64_t segments;   /* beginnings: the first, and one for each jump too large to fill */
	uint64_t overflows;  /* input packets refused because output was not taken */
	uint64_t lost;	     /* frames that the encoder refused */
};

/* Whether a state that was read back from somewhere can be given to transcode_create(). */
bool transcode_state_is_valid(const struct transcode_state *state);

struct transcode;

/* Opens both codecs; fills output_config. `state` is borrowed until destroy. ERR_FORMAT: the
 * AudioSpecificConfig is broken; ERR_UNSUPPORTED: the codecs, channels or rates are not handled;
 * ERR_NO_MEMORY. On error *t is NULL. */
enum err transcode_create(struct transcode **t, struct transcode_state *state);

/* Takes NULL inside; sets it to NULL. */
void transcode_destroy(struct transcode **t);

/* The source's AudioSpecificConfig has changed (AAC only): another decoder, same times. On error
 * (as in transcode_create) the old one stays. Does nothing when the config is the same. */
enum err transcode_configure(struct transcode *t, const uint8_t *config, size_t size);

/* One access unit or Opus packet. `pts` is the presentation time of its first sample in the input
 * clock, unwrapped; `capture_us` the same moment on the common timeline of all tracks (see
 * struct media_header); both within +-2^53. Take all output before the next put.
 * ERR_FORMAT: counted as corrupt, its place is bridged; ERR_REPLAY: too late; ERR_LIMIT: output was
 * not taken, the packet is lost. After each of them go on with the next. */
enum err transcode_put(
	struct transcode *t, const uint8_t *bytes, size_t size, int64_t pts, int64_t capture_us);

struct transcode_packet {
	const uint8_t *bytes; /* until the next call with this transcode */
	size_t size;	      /* 1 .. TRANSCODE_OUTPUT_MAX */
	int64_t pts;	      /* 48 kHz; at a start up to 1024 before the first input's */
	int64_t capture_us;
	uint32_t samples;   /* duration at 48 kHz: 960 (Opus) or 1024 (AAC) */
	bool discontinuity; /* does not continue the packet before */
};

/* Next finished packet; false = none until more is put. */
bool transcode_take(struct transcode *t, struct transcode_packet *packet);

#endif

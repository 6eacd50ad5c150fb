/* SPDX-License-Identifier: Apache-2.0
 *
 * What a publisher sends by RTMP, turned into the inner form: FLV bodies in, tracks and packets
 * out. Video is track 0, audio track 1.
 *
 *	switch (rtmp_media_take(m, &event, wall_us, &cut)) {
 *	case RTMP_MEDIA_TRACKS:  tell the stream m->tracks, then take the same event again
 *	case RTMP_MEDIA_FRAME:   while (rtmp_media_next(&cut, packet)) send the packet
 *	case RTMP_MEDIA_NOTHING: (counted)
 *	}
 *
 * Thread: one at a time. No allocation. struct rtmp_media is plain and pointer-free, made to lie in
 * memory that outlives a process; struct rtmp_media_cut borrows the event and lives for one frame.
 */
#ifndef MILLRACE_RTMP_MEDIA_H
#define MILLRACE_RTMP_MEDIA_H

#include "actors/rtmp/rtmp_clock.h"
#include "actors/rtmp/rtmp_server.h"
#include "actors/stream/payload.h"

enum rtmp_media_track { RTMP_MEDIA_VIDEO, RTMP_MEDIA_AUDIO, RTMP_MEDIA_TRACKS_MAX };

enum {
	RTMP_MEDIA_VIDEO_CLOCK = 90000,
	RTMP_MEDIA_OPUS_CLOCK = 48000,
	/* A larger distance of presentation from decoding is a mistake: 16 frames at 5 a second. */
	RTMP_MEDIA_COMPOSITION_MS_MAX = 3200,
	/* Milliseconds are too coarse for audio: a frame this near to the end of the last one is
	 * taken to follow it without a gap. */
	RTMP_MEDIA_AUDIO_SNAP_MS = 2,
};

/* Counters of everything that went by; see also the engines' own. */
struct rtmp_media_counters {
	uint64_t frames[RTMP_MEDIA_TRACKS_MAX];
	uint64_t bytes[RTMP_MEDIA_TRACKS_MAX]; /* of payload sent on */
	uint64_t packets[RTMP_MEDIA_TRACKS_MAX];
	uint64_t keyframes;
	uint64_t b_frames;
	uint64_t b_frames_referenced;
	uint64_t dropped_waiting_keyframe; /* video before the first keyframe */
	uint64_t dropped_no_config;	   /* AAC before its configuration */
	uint64_t dropped_bad_config;	   /* sequence headers that make no sense */
	uint64_t dropped_bad_frame;
	uint64_t times_backward; /* decoding times put right */
	uint64_t times_far;	 /* composition times put right */
};

struct rtmp_media {
	struct rtmp_clock clock;
	struct media_track tracks[RTMP_MEDIA_TRACKS_MAX];
	uint8_t has[RTMP_MEDIA_TRACKS_MAX]; /* the track is known */
	uint8_t wants_keyframe;
	uint16_t meta_width, meta_height; /* by onMetaData, for records that do not say */
	uint32_t frame[RTMP_MEDIA_TRACKS_MAX];
	uint64_t seq[RTMP_MEDIA_TRACKS_MAX];	     /* last given out */
	uint64_t decode_time[RTMP_MEDIA_TRACKS_MAX]; /* of the last frame, clock units */
	uint64_t audio_next; /* where the last AAC frame ends, clock units */
	uint16_t aac_frame_samples;
	struct rtmp_media_counters count;
	struct payload_packetiser packetiser[RTMP_MEDIA_TRACKS_MAX];
};

void rtmp_media_init(struct rtmp_media *m);

/* Whether every field is in range (state that came from another process). */
bool rtmp_media_is_valid(const struct rtmp_media *m);

enum rtmp_media_verdict {
	RTMP_MEDIA_NOTHING, /* nothing to send on */
	RTMP_MEDIA_TRACKS,  /* the tracks have changed; the event was not used up */
	RTMP_MEDIA_FRAME,   /* a frame begins */
};

/* One frame on its way into packets. */
struct rtmp_media_cut {
	struct rtmp_media *media;
	enum rtmp_media_track track;
	struct payload_cut cut;
	struct media_header header; /* what all its packets share */
};

/* Takes an event of the RTMP engine (VIDEO, AUDIO, METADATA; others: NOTHING) that came at Unix
 * time `wall_us`. */
enum rtmp_media_verdict rtmp_media_take(struct rtmp_media *m, const struct rtmp_event *event,
	int64_t wall_us, struct rtmp_media_cut *cut);

/* The next packet: `header` and the payload (MEDIA_PAYLOAD_MAX bytes of room). False when the frame
 * is done. Everything but the position is filled in. */
bool rtmp_media_next(struct rtmp_media_cut *cut, struct media_header *header,
	uint8_t payload[MEDIA_PAYLOAD_MAX]);

/* The known tracks, in order of id. Returns how many. */
uint16_t rtmp_media_tracks(const struct rtmp_media *m, struct media_track tracks[MEDIA_TRACKS_MAX]);

#endif

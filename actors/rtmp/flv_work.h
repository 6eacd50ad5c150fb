/* SPDX-License-Identifier: Apache-2.0
 *
 * One stream as FLV tags, made once for all viewers of a worker: packets of the stream's log in,
 * tags into a log of its own out.
 *
 *   stream's log --(per track: order, assemble)--> frame --> tag, cut into packets --> tag log
 *                                                             headers for those who join
 *
 * A packet of the tag log holds bytes of one tag: MEDIA_FRAME_START and MEDIA_FRAME_END are the
 * tag's, `frame` numbers tags, `track` is an enum flv_track_id, `rtp_time` is the tag's time in
 * milliseconds on the muxer's timeline, `track_seq` the version of the headers that it needs,
 * `decode_time` how many bytes of the tag lie in packets before this one. The first packet holds
 * the tag's header whole, the last its trailer and some of the body. A tag is put whole or not at
 * all, so a reader that has read all stands between two tags.
 *
 * The timeline is the captures' (audio and video share it), begun at 0, smoothed by each track's
 * own clock, never running back within a track; where the source changes, the time in which there
 * was none is left out, because a player would wait through it.
 *
 * A process may die at any instruction of this. What is done between flv_desk_begin() and _end() is
 * then as if it had never been begun: the work is as it was, tags that were put are taken off the
 * log again, and of the frame under assembly the bytes are still there. Nobody else reads the log in
 * between, so no viewer has seen what goes.
 *
 * Thread: one at a time. No allocation besides arena slots. struct flv_desk is plain data in an
 * ARENA_BUFFER slot; flv_desk_recover() before a successor uses it.
 */
#ifndef MILLRACE_FLV_WORK_H
#define MILLRACE_FLV_WORK_H

#include "actors/rtmp/flv.h"
#include "actors/rtmp/flv_run.h"
#include "actors/stream/assembler.h"
#include "actors/stream/codec_config.h"
#include "actors/stream/frame_order.h"
#include "actors/stream/media_log.h"

enum {
	FLV_VIDEO_FRAME_MAX = 4 << 20, /* bytes of a picture; larger ones are lost */
	FLV_AUDIO_FRAME_MAX = 8192,    /* AAC: 13 bits of size (RFC 3640 AAC-hbr) */
	FLV_HEADERS_MAX = 2560,	       /* file header, onMetaData, both sequence headers */
	FLV_TAG_PACKETS_MAX = FLV_VIDEO_FRAME_MAX / MEDIA_PAYLOAD_MAX + 2,
	FLV_ORDER_WAIT_US = 150 * 1000,	 /* for a packet that a retransmission may still bring */
	FLV_AUDIO_WAIT_US = 1500 * 1000, /* headers wait so long for the audio's configuration */
	FLV_PACKETS_A_TURN = 4096,	 /* of the source, before others have their turn */
};

enum flv_track_id { FLV_TRACK_VIDEO, FLV_TRACK_AUDIO, FLV_TRACK_HEADER };

/* What a viewer is sent before its first tag. */
struct flv_headers {
	uint32_t version;     /* 0: not known yet; one more with every change */
	uint32_t size;	      /* bytes */
	uint32_t sequence_at; /* where the sequence headers begin: sent again after a skip */
	uint8_t bytes[FLV_HEADERS_MAX];
};

struct flv_track {
	uint8_t id;    /* of the stream */
	uint8_t codec; /* enum media_codec; NONE = there is no such track */
	uint8_t started;
	uint8_t wants_keyframe;
	uint32_t clock_rate;
	int64_t anchor_us; /* capture time of anchor_decode, drift taken out */
	uint64_t anchor_decode;
	int64_t last_ms;
	uint8_t anew;	  /* sound that begins anew and is ahead of the picture … */
	int64_t anew_ms;  /* … has waited for it since */
	uint8_t frame_in; /* which of the two buffers has the frame under assembly */
	struct assembler assembler;
	struct frame_order order;
};

struct flv_work {
	struct flv_headers headers;
	uint64_t position;	/* in the stream's log, to read next */
	int64_t zero_us;	/* capture time that is 0 on our timeline */
	int64_t last_ms;	/* highest time written */
	int64_t audio_until_us; /* headers wait for the audio until then */
	uint32_t tags;		/* numbers them */
	uint8_t zeroed;
	uint8_t asc_fresh; /* viewers have not been told of it */
	uint16_t asc_size;
	uint8_t asc[MEDIA_CODEC_CONFIG_MAX];
	struct codec_config config;	 /* of the picture; codec NONE = not known */
	struct media_track source_video; /* for onMetaData */
	struct media_track source_audio;
	struct flv_track video;
	struct flv_track audio;
};

/* The work, and what is needed to go back. */
struct flv_desk {
	struct flv_work work; /* first: viewers look at it */
	struct flv_work was;  /* when what is under way was begun … */
	struct media_log_mark tags_were;
	uint8_t busy; /* … and it is under way */
	uint8_t audio_frame[2][FLV_AUDIO_FRAME_MAX];
	uint8_t video_frame[FLV_VIDEO_FRAME_MAX]; /* the second one is a slot of its own */
	struct flv_run runs[FLV_RUNS];		  /* the viewers' */
};

_Static_assert(sizeof(struct flv_desk) <= ARENA_BUFFER_SIZE &&
		       (size_t)FLV_VIDEO_FRAME_MAX <= (size_t)ARENA_BUFFER_SIZE,
	"the work fits its slots");

void flv_desk_begin(struct flv_desk *desk, const struct media_log *tags);
void flv_desk_end(struct flv_desk *desk);
/* A successor: as it was when what its predecessor died at was begun. False: nonsense. */
bool flv_desk_recover(struct flv_desk *desk, struct media_log *tags);

/* `work` is zeroed; `position` is where reading begins. */
void flv_work_init(struct flv_work *work, uint64_t position, int64_t now_us);

/* The stream's tracks (again). ERR_CODEC: FLV cannot carry the video, *codec is its name; the sound
 * is made all the same. ERR_AGAIN: there is no track yet. */
enum err flv_work_tracks(
	struct flv_work *work, const struct media_track *tracks, size_t count, const char **codec);

/* What a turn has done. */
struct flv_progress {
	uint32_t tags;
	uint64_t bytes;
	uint32_t lost;	  /* frames broken, or dropped because a keyframe is awaited */
	uint32_t no_slot; /* tags that found no room in the packet pool */
	bool video;	  /* a picture is among them */
	bool wants_keyframe;
	bool more;	     /* the turn's budget is used up */
	int64_t deadline_us; /* call again then; INT64_MAX: when the source has grown */
};

/* Reads what the stream's log has, writes tags into `tags`; is a desk_begin and _end of its own. Slots
 * belong to `owner`; `video_frame`: FLV_VIDEO_FRAME_MAX bytes, the same each time. */
void flv_work_turn(struct flv_desk *desk, uint8_t *video_frame, struct arena *arena,
	const struct media_log *source, struct media_log *tags, uint64_t owner, int64_t now_us,
	struct flv_progress *progress);

/* Writes `time_ms` into every tag of `bytes`, which begin with a tag. */
void flv_stamp(uint8_t *bytes, size_t size, uint32_t time_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of an RTMP session: rtmp_session_actor.c (bytes, mail, time, life), rtmp_publish.c (media
 * that comes in), rtmp_play.c (tags that go out).
 */
#ifndef MILLRACE_RTMP_INTERNAL_H
#define MILLRACE_RTMP_INTERNAL_H

#include "actors/rtmp/flv_view.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/rtmp/rtmp_media.h"

enum rtmp_session_phase {
	RTMP_SESSION_CONNECTED = 1 << 0,
	RTMP_SESSION_ASKING = 1 << 1, /* whether it may publish */
	RTMP_SESSION_PUBLISHING = 1 << 2,
	RTMP_SESSION_OPENING = 1 << 3, /* a muxer is asked for */
	RTMP_SESSION_PLAYING = 1 << 4,
};

enum rtmp_session_timer {
	RTMP_TIMER_DEADLINE,
	RTMP_TIMER_STATISTICS,
	RTMP_TIMER_SOCKET_GONE,
	RTMP_TIMER_STUCK,
};

enum {
	RTMP_IN_SIZE = 64 * 1024,    /* bytes a read asks for: half a large keyframe */
	RTMP_UNSENT_MAX = 16 * 1024, /* bytes of answers; a peer that does not read gets no more */
	RTMP_AUDIO_ROOM = 32 * 1024, /* of the arena, beside the largest message */
};

/* In the arena of the worker. Plain: valid in another process at another address. */
struct rtmp_slot {
	struct rtmp_server server;
	struct rtmp_media media;
	struct flv_view view;
	uint64_t dropped_no_slot;
	uint64_t dropped_codec;
	uint8_t tracks_untold;	  /* the stream does not know the tracks as they are now */
	uint32_t in_at, in_end;	  /* input read but not used yet */
	uint32_t out_at, out_end; /* output not sent yet */
	uint8_t in[RTMP_IN_SIZE];
	uint8_t out[RTMP_UNSENT_MAX];
	uint8_t arena[]; /* partial messages, to the end of the slot */
};

_Static_assert(
	(size_t)ARENA_BUFFER_SIZE >= sizeof(struct rtmp_slot) + RTMP_MESSAGE_MAX + RTMP_AUDIO_ROOM,
	"the largest message of the default configuration fits, and audio beside it");

struct rtmp_session {
	struct rtmp_session_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	struct rtmp_slot *slot;
	size_t arena_size;
	uint32_t socket;  /* 0 = there is none */
	uint64_t request; /* to publish, or for a muxer: under way, or 0 */
	uint64_t tracks_request;
	uint64_t callback_request;
	bool has_event; /* `event` waits for tracks_request; it borrows from the slot */
	struct rtmp_event event;
	bool ending;
	bool deaf;	    /* the peer takes nothing any more */
	bool told_b_frames; /* logged once */
	bool told_codec;
	bool retried; /* player: the muxer asked for had just ended */
	bool blocked; /* player: the socket took less than there was */
	bool leaving; /* player: ends after the tag that is half out, because of `farewell` */
	const char *farewell;
	int64_t asked_us;   /* player: when */
	int64_t counted_us; /* baseline of the rates */
	struct rtmp_media_counters counted;
	uint64_t counted_out;
};

/* rtmp_session_actor.c */
/* Where answers are appended; say so when that is done. */
struct writer rtmp_session_output(struct rtmp_slot *slot);
void rtmp_session_wrote(struct rtmp_slot *slot, const struct writer *out);
/* Sends answers, if nothing that is half out stands in their way. */
void rtmp_session_flush(struct actor *self, struct rtmp_session *s);
/* What the socket is watched for, and until when. */
void rtmp_session_settle(struct actor *self, struct rtmp_session *s);
/* Refuses what was asked for, and ends. `code`: as in rtmp_server_reject(). */
void rtmp_session_refuse(struct actor *self, struct rtmp_session *s, enum err reason,
	const char *code, const char *text);
/* Tells the client that its publishing or playing is over. */
void rtmp_session_goodbye(struct actor *self, struct rtmp_session *s, const char *text);
void rtmp_session_finish(
	struct actor *self, struct rtmp_session *s, enum err reason, const char *text);

/* rtmp_publish.c */
/* It may (as far as the session can tell): asks for the stream. */
void rtmp_publish_open(struct actor *self, struct rtmp_session *s);
void rtmp_publish_begin(
	struct actor *self, struct rtmp_session *s, const struct msg_published *published);
void rtmp_publish_media(struct actor *self, struct rtmp_session *s, const struct rtmp_event *event);
void rtmp_publish_unsupported(
	struct actor *self, struct rtmp_session *s, const struct rtmp_event *event);
void rtmp_publish_end(struct actor *self, struct rtmp_session *s);

/* rtmp_play.c */
extern const struct flv_framing flv_as_chunks; /* its channel: the message stream id */
/* It may: asks for the muxer. */
void rtmp_play_open(struct actor *self, struct rtmp_session *s);
void rtmp_play_begin(
	struct actor *self, struct rtmp_session *s, const struct msg_flv_opened *opened);
/* There is no muxer. */
void rtmp_play_failed(struct actor *self, struct rtmp_session *s, const struct msg_failed *failed);
/* Writes what there is. */
void rtmp_play_pump(struct actor *self, struct rtmp_session *s);
/* The client paused, or goes on. */
void rtmp_play_pause(struct actor *self, struct rtmp_session *s);
/* Ends the session between two tags. `text` is static. */
void rtmp_play_leave(struct actor *self, struct rtmp_session *s, const char *text);
/* What people see of a player, once a second. */
void rtmp_play_report(struct actor *self, struct rtmp_session *s, int64_t span_us);
void rtmp_play_end(struct actor *self, struct rtmp_session *s);

#endif

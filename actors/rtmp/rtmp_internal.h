/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of an RTMP session: rtmp_session_actor.c (events, mail, time, life), rtmp_bytes.c (bytes in
 * and out), rtmp_publish.c (media that comes in), rtmp_play.c (tags that go out).
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
	RTMP_TIMER_STUCK,
	RTMP_TIMER_AGAIN,
};

enum {
	RTMP_IN_SIZE = 64 * 1024,    /* bytes a read asks for: half a large keyframe */
	RTMP_UNSENT_MAX = 16 * 1024, /* bytes of answers; a peer that does not read gets no more */
	RTMP_AUDIO_ROOM = 32 * 1024, /* of the arena, beside the largest message */
};

/* What belongs together with the actor's state. */
struct rtmp_base {
	struct rtmp_server server;
	struct rtmp_media media;
	uint64_t dropped_no_slot;
	uint64_t dropped_codec;
	uint64_t taken;		/* bytes read, in all */
	uint64_t made;		/* bytes of answers made, in all; … */
	uint64_t made_from;	/* … of those the one at the beginning of `out` */
	int64_t waits_ms;	/* media that waits for tracks_request: its time, … */
	uint32_t waits_at;	/* … where its body lies in the slot */
	uint32_t waits_size;	/* … (0 = none waits) … */
	uint8_t waits;		/* … and enum rtmp_event_type */
	uint8_t tracks_untold;	/* the stream does not know the tracks as they are now */
	uint32_t in_at, in_end; /* input read but not used yet */
};

/* In the arena of the worker. Plain: valid in another process at another address. */
struct rtmp_slot {
	struct rtmp_base now, was;
	uint64_t was_turn; /* `was` is what `now` was when this turn (actor_turn) began */
	uint64_t said;	   /* bytes of answers that are out, in all */
	struct flv_view view;
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
	uint32_t socket; /* 0 = there is none, or it is not back yet */
	bool ending;
	bool awaited;	    /* a successor's: the connection is to come back */
	enum err reason;    /* of an end that waits for that */
	bool full;	    /* the socket took less of the answers than there was */
	bool deaf;	    /* the peer takes nothing any more */
	bool told_b_frames; /* logged once */
	bool told_codec;
	bool retried; /* player: the muxer asked for had just ended */
	bool blocked; /* player: the socket took less than there was */
	bool leaving; /* player: ends after the tag that is half out, because of `farewell` */
	const char *farewell;
	int64_t asked_us;   /* for the stream: when */
	int64_t counted_us; /* baseline of the rates */
	struct rtmp_media_counters counted;
	uint64_t counted_out;
};

/* rtmp_bytes.c */
/* Before anything in slot->now is changed. */
void rtmp_session_touch(struct actor *self, struct rtmp_session *s);
/* Where answers are appended; say so when that is done. */
struct writer rtmp_session_output(struct actor *self, struct rtmp_session *s);
void rtmp_session_wrote(struct rtmp_session *s, const struct writer *out);
/* Are there answers that are not out? Too many to make more? */
bool rtmp_session_owes(const struct rtmp_slot *slot);
bool rtmp_session_is_blocked(const struct rtmp_slot *slot);
/* Sends answers, if nothing that is half out stands in their way. Those of a turn leave when it is
 * kept: its pump runs then. */
void rtmp_session_flush(struct actor *self, struct rtmp_session *s);
/* As net_read, behind the input that is there. */
long rtmp_session_receive(struct actor *self, struct rtmp_session *s);
/* A successor: the slot as it belongs to the state. False: nonsense. */
bool rtmp_session_recover(struct actor *self, struct rtmp_session *s);
/* Its socket is here again. False: where it stands cannot be told. */
bool rtmp_session_resume(struct actor *self, struct rtmp_session *s);

/* rtmp_session_actor.c */
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
/* There is none: the client hears so, unless it was only somebody's death that answered. */
void rtmp_publish_failed(
	struct actor *self, struct rtmp_session *s, const struct msg_failed *failed);
void rtmp_publish_begin(
	struct actor *self, struct rtmp_session *s, const struct msg_published *published);
void rtmp_publish_media(struct actor *self, struct rtmp_session *s, const struct rtmp_event *event);
/* The stream knows the tracks that media had to wait for. */
void rtmp_publish_waited(struct actor *self, struct rtmp_session *s);
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
/* A successor: `size` bytes more than were counted are out. */
bool rtmp_play_resolve(struct actor *self, struct rtmp_session *s, uint64_t size);
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

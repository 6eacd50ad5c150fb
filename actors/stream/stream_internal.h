/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the stream actor: stream_actor.c (life, publishing), stream_owner.c (whose it is),
 * stream_standby.c (publishers that wait to take over), stream_upstream.c (another source of the same
 * stream), stream_hearing.c (does a copy hear its owner?), stream_readers.c (subscribing, fan-out,
 * transcoding), stream_source.c (media coming in), stream_move.c (to another process), stream_report.c
 * (what people see), stream_trace.c (when frames pass).
 */
#ifndef MILLRACE_STREAM_INTERNAL_H
#define MILLRACE_STREAM_INTERNAL_H

#include "actors/stream/media_log.h"
#include "actors/stream/stream_actor.h"
#include "runtime/actor.h"

enum {
	STREAM_WAITING_MAX = 256,
	STREAM_MADE_TRACK_FIRST = 4, /* ids below are the publisher's, from here a transcoder's */
	KEYFRAME_REQUEST_MS = 500,
	STREAM_IDLE_MS = 5000,	 /* a replica without readers ends after this */
	STREAM_RESEND_MS = 20,	 /* a hole is asked for after this … */
	STREAM_RESEND_TRIES = 5, /* … so many times, then given up */
	STREAM_RESEND_FAR_MS =
		100, /* of another node: after the link has had its time (link.recover_ms), … */
	STREAM_RESEND_FAR_TRIES = 3, /* … so far apart, and so many times */
	STREAM_RESEND_SPAN = 512,
	STREAM_TRANSCODE_RETRY_MS = 500, /* doubled with each failure in a row … */
	STREAM_TRANSCODE_DOUBLINGS = 5, /* … so many times: sound that kills decoders stays rare */
	STREAM_TRANSCODE_STEADY_MS = 10000, /* one that ran this long had not failed */
};

enum stream_timer {
	STREAM_TIMER_GRACE,
	STREAM_TIMER_KEYFRAME,
	STREAM_TIMER_IDLE,
	STREAM_TIMER_HOLES,
	STREAM_TIMER_STATISTICS,
	STREAM_TIMER_TRANSCODE,
	STREAM_TIMER_CLAIM,
	STREAM_TIMER_SILENCE, /* an origin's publisher, a copy's owner */
	STREAM_TIMER_NEXT,
	STREAM_TIMER_TRACE,
};

/* A subscription that cannot be answered yet. */
struct stream_waiting {
	struct asker asker;
	struct msg_subscribe subscribe;
};

/* A source that is to follow the present one (stream_upstream.c). */
struct stream_next {
	struct addr who; /* nobody: there is none */
	uint64_t request;
	struct asker asker; /* who wants it */
	int64_t until_us;   /* then it stays as it is, or takes what there is */
	uint8_t asks;
	bool is_joined;
	bool is_newer;	    /* it has another publisher's packets than we knew of */
	bool positioned;    /* position_shift is known */
	bool caught_up;	    /* it has brought the newest that we have */
	bool differs;	    /* it has something else where we have a packet */
	bool overlaps;	    /* it has sent what is not behind all that we have */
	bool has_beginning; /* from what it has sent pictures can begin */
	uint64_t first;	    /* its first position that has come; 0 = none */
	uint8_t unaligned;  /* bit i = its numbers of track i are not known */
	int64_t position_shift;
	uint64_t same_from; /* the first of our positions that is the same packet there */
	struct track_map maps[MEDIA_TRACKS_MAX];
	struct msg_subscribed joined; /* what it said */
};

/* When the owner was heard last (stream_hearing.c). */
struct stream_hearing {
	int64_t heard_us;	 /* it lived then */
	int64_t capture_us;	 /* of the newest media that came */
	uint64_t request;	 /* the source is asked */
	int64_t asking_since_us; /* nobody has heard of it since; 0 = somebody has */
	uint64_t start;	  /* it had sent so far when it answered last; 0 = media has come since */
	uint8_t asks;	  /* since media came, as far as they are counted */
	uint8_t failures; /* in a row */
};

/* What came before its tracks were known (stream_early.c). */
struct stream_early {
	struct slot_ref *packets;
	uint32_t count;
};

struct stream {
	struct stream_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	uint64_t claim_request;
	uint64_t upstream_request;
	uint64_t transcode_request;
	uint64_t relay_request;
	uint32_t transcode_failures; /* in a row */
	int64_t transcode_not_before_us;
	int64_t transcoder_since_us;
	struct asker publisher_asker;
	struct msg_publish publisher; /* waits for the name */
	bool publisher_waits;
	uint64_t over;	       /* the claim is made over this epoch, … */
	struct addr former;    /* … which this one has yielded */
	int64_t had_since_us;  /* when he came who had published what came last; 0 = not known */
	bool is_other;	       /* the source has another publisher than the one before it */
	uint64_t numbers_from; /* our position from which the source's numbers, shifted, are ours */
	bool is_asked_anew;    /* a subscription to the source has just ended: … */
	uint64_t source_from;  /* … what has numbers below this was sent for it */
	uint64_t epoch_from;   /* position at which what is copied begins; 0 = some is here */
	uint64_t begins_there; /* its publisher's first, in its numbers; 0 = what it sends first */
	int64_t keyframe_asked_us;  /* when the source was asked last */
	int64_t keyframe_wished_us; /* when a reader's request had to wait for its turn */
	int64_t keyframe_came_us;
	uint64_t resend_ready; /* the hole asked for last */
	uint32_t resend_tries;
	uint64_t holes_below; /* those below it were there when … */
	int64_t holes_due_us; /* … this was set: they are not asked for before */
	uint64_t rate_bytes;
	int64_t rate_since_us;
	uint32_t rate_frame;
	uint64_t pumped;	   /* readable below, when readers were fed last; 0 = never */
	uint64_t looked_at;	   /* keyframe whose picture size is known */
	int64_t watched_us;	   /* looked whether the source is silent, and … */
	int64_t watched_from_us;   /* … before this nobody did: its silence counts from here on */
	int64_t standbys_asked_us; /* for keyframes */
	int64_t awake_us;	   /* when this stream ran last, by its timer, and … */
	int64_t awake_from_us;	   /* … before this it did not, or had a predecessor */
	bool leaves;		   /* for another process, at the end of this turn */
	uint64_t again_from, again_to; /* of the log: the source may send these packets again */
	uint32_t waiting_count;
	struct stream_waiting *waiting;
	struct stream_next next;
	struct stream_hearing hearing;
	struct stream_early early;
	struct stream_trace *trace; /* somebody wants to know when frames come */
};

static inline struct slot_ref stream_log_ref(const struct stream *s)
{
	return (struct slot_ref){s->st.log_index, s->st.log_generation};
}

/* stream_actor.c */
/* Is somebody publishing now? A replica knows from its source. */
bool stream_is_live(const struct actor *self, const struct stream *s);
void stream_lose_source(struct actor *self, struct stream *s);
/* The stream is `publisher`'s from now on: its readers are told once. */
void stream_set_source(struct actor *self, struct stream *s, const struct publisher *publisher);
/* A new one, with a token of its own. */
void stream_describe_publisher(struct actor *self, struct publisher *publisher, struct addr who,
	const struct msg_publish *publish);

/* stream_owner.c */
void stream_claim_name(struct actor *self, struct stream *s);
void stream_release_name(struct actor *self, const struct stream *s);
/* Of a name that has a newer owner than is known, or gets one in that time. */
void stream_find_owner(struct actor *self, struct stream *s, uint32_t wait_ms);
/* A replica copies what that one publishes. */
void stream_join_owner(struct actor *self, struct stream *s, struct addr owner, uint64_t epoch);
/* Somebody says who it is: a replica goes there when it is news. */
void stream_hear_of_owner(struct actor *self, struct stream *s, struct addr owner, uint64_t epoch);
/* As far as is known here. */
struct addr stream_owner(struct actor *self, const struct stream *s, uint64_t *epoch);
/* The publisher of the mail at hand waits for the name. BUSY: another one does. */
enum err stream_wait_for_name(struct actor *self, struct stream *s, const struct msg_publish *m);
/* The same; a copy becomes the origin, under its readers. */
enum err stream_become_origin(struct actor *self, struct stream *s, const struct msg_publish *m);
/* The name is granted: who has yielded it hears so. */
void stream_tell_former(struct actor *self, struct stream *s);
void stream_lose_name(struct actor *self, struct stream *s, const struct msg_name_lost *m);
/* It was the publisher for whom the name is claimed: nobody wants it any more. False = it was not. */
bool stream_waiting_publisher_gone(struct actor *self, struct stream *s, struct addr who);
void stream_claim_failed(struct actor *self, struct stream *s, const struct msg_failed *m);

/* stream_standby.c */
/* May it stand by rather than be refused? */
bool stream_may_stand_by(
	struct actor *self, const struct stream *s, const struct msg_publish *publish);
/* Is this the token of one that stands by? The newcomer then takes its place. */
bool stream_resumes_standby(const struct stream *s, const struct msg_publish *publish);
/* Answers the mail at hand. */
enum err stream_stand_by(struct actor *self, struct stream *s, const struct msg_publish *publish);
/* The source has gone: one that stands by takes over; false = there is none. */
bool stream_source_gone(struct actor *self, struct stream *s);
/* It is one of them, and stands by no longer; false = it is none. */
bool stream_forget_standby(struct actor *self, struct stream *s, struct addr who);
/* Another stream has the name: all are sent away. */
void stream_dismiss_standbys(struct actor *self, struct stream *s);
/* NULL = it is none of them. */
struct publisher *stream_find_standby(struct stream *s, struct addr who);
/* How many of these packets, which one that stands by has sent, are left out. It is the source
 * afterwards if that is not all of them. */
size_t stream_standby_media(struct actor *self, struct stream *s, struct addr from,
	const struct slot_ref *packets, size_t count);
void stream_standby_due(struct actor *self, struct stream *s);
/* Looks at the source again when it may have been silent for too long. */
void stream_watch_source(struct actor *self, struct stream *s);
/* At the beginning, when restored and once a second: later than that, it did not run meanwhile. */
void stream_note_awake(struct actor *self, struct stream *s);
/* So long a publisher that was heard then has been listened to in vain. */
int64_t stream_silence_us(struct actor *self, struct stream *s, int64_t last_packet_us);
/* A successor: what its predecessor did not hear is nobody's silence. */
void stream_watch_source_anew(struct actor *self, struct stream *s);

/* stream_source.c: a successor learns what was put in a turn that was not kept. */
void stream_catch_up(struct actor *self, struct stream *s, const struct media_log *log);

/* stream_early.c */
void stream_early_put(
	struct actor *self, struct stream *s, const struct slot_ref *packets, size_t count);
/* It is known what it is: as if it came now. */
void stream_early_take(struct actor *self, struct stream *s, struct addr from);
void stream_early_drop(struct actor *self, struct stream *s);

/* stream_move.c */
/* A log that begins at that position; {0,0} = there is no room. */
struct slot_ref stream_make_log(struct actor *self, uint64_t next);
/* Answers the mail at hand: it is about to go to that process, or it cannot. */
enum err stream_begin_move(struct actor *self, struct stream *s, uint32_t process);
/* It leaves a worker that drains, if its publisher is on another one. */
void stream_follow_source(struct actor *self, struct stream *s);
size_t stream_slots(void *data, struct actor_slot *slots);
void stream_left(struct actor *self, void *data);
void stream_arrived(struct actor *self, void *data);

/* stream_trace.c: for so long, then the asker of the mail at hand is told. BUSY: one at a time. */
enum err stream_begin_trace(struct actor *self, struct stream *s, uint32_t for_ms);
void stream_trace_media(
	struct actor *self, struct stream *s, const struct slot_ref *packets, size_t count);
void stream_trace_due(struct actor *self, struct stream *s);
void stream_forget_trace(struct stream *s);

/* stream_report.c: what people see of a stream, once a second. */
void stream_report(struct actor *self, struct stream *s);

/* stream_source.c */
void stream_media(struct actor *self, void *data, struct addr from, const struct slot_ref *packets,
	size_t count);
void stream_restart_maps(struct stream *s);
void stream_give_up_holes(struct actor *self, struct stream *s);
void stream_holes_due(struct actor *self, struct stream *s);
enum err stream_resend(struct actor *self, struct stream *s, const struct msg_media_resend *resend,
	struct addr to);
void stream_ask_keyframe(struct actor *self, struct stream *s, uint8_t track);
void stream_keyframe_due(struct actor *self, struct stream *s);
struct media_track *stream_track(struct stream *s, uint8_t id);
/* The first; NULL = none. */
const struct media_track *stream_video_track(const struct stream *s);

/* Its header is on our timeline: into the log. */
void stream_enter(struct actor *self, struct stream *s, struct media_log *log, struct slot_ref ref,
	uint64_t position);

/* stream_upstream.c: has the stream from `who` as soon as nothing is lost by that. The asker hears `done`,
 * or `failed` when it stays with its source. PHASE: it has none to leave. */
enum err stream_follow(struct actor *self, struct stream *s, struct addr who, struct asker asker);
void stream_forget_next(struct actor *self, struct stream *s);
void stream_leave_next(struct actor *self, struct stream *s);
/* From here on it is another source's; nothing of that has come yet. */
void stream_begin_epoch(struct actor *self, struct stream *s);
/* The source carries that epoch now, from that position of its own on. */
void stream_note_epoch(struct actor *self, struct stream *s, uint64_t epoch, uint64_t begins);
/* The source's numbers are ours, shifted, from here on: `next` is that of its first packet. */
void stream_place_source(struct stream *s, const struct media_log *log, uint64_t next);
/* A packet of a replica's source: has its track had it already, or gone past it? One that is found says
 * where the source's packets lie here. */
bool stream_had_before(struct actor *self, struct stream *s, const struct media_log *log,
	const struct media_track *track, const struct packet *packet);
/* A packet of a replica's source lies where we have another: from here on its numbers are not ours. */
bool stream_source_differs(struct actor *self, struct stream *s, const struct media_log *log,
	const struct packet *packet);
/* A source begins, of the publisher that was heard of last: nothing of that one may have come yet. */
void stream_begin_source(struct stream *s);
/* The source's publisher is the one that came then (Unix time). */
void stream_note_source(struct stream *s, int64_t since_us);
/* These are about the next source, if there is one: false = they are not. */
bool stream_next_subscribed(struct actor *self, struct stream *s,
	const struct msg_subscribed *subscribed, uint64_t request);
bool stream_next_media(struct actor *self, struct stream *s, struct addr from,
	const struct slot_ref *packets, size_t count);
bool stream_next_lost(struct actor *self, struct stream *s, struct addr who, enum err err);
bool stream_next_failed(struct actor *self, struct stream *s, uint64_t request, enum err err);
/* The source has gone: true = another was under way, and becomes it. */
bool stream_next_takes_over(struct actor *self, struct stream *s);
void stream_next_due(struct actor *self, struct stream *s);
/* From whom shall it be copied here? `failed` could not be; nobody = none. */
void stream_ask_relay(struct actor *self, struct stream *s, struct addr failed);
void stream_relay_found(struct actor *self, struct stream *s, const struct msg_relay_found *found,
	uint64_t request);
bool stream_relay_failed(struct actor *self, struct stream *s, uint64_t request);
/* The source of a relayed one has gone: true = another is asked for, nobody is told anything yet. */
bool stream_relay_goes_on(struct actor *self, struct stream *s);

/* stream_hearing.c */
/* A copy's source is a new one, where the owner was heard so long ago. */
void stream_begin_hearing(struct actor *self, struct stream *s, uint32_t silent_ms);
/* There is no source. */
void stream_stop_hearing(struct actor *self, struct stream *s);
/* So long ago the owner was alive; 0 = we are it. */
uint32_t stream_silent_ms(const struct actor *self, const struct stream *s);
/* Media of the source; `newest` came last. */
void stream_hear_media(struct actor *self, struct stream *s, struct slot_ref newest);
void stream_hear_due(struct actor *self, struct stream *s);
/* A copy asks whether the owner is heard: true = the answer waits until we know. */
bool stream_hears_first(
	struct actor *self, struct stream *s, const struct msg_subscribe *subscribe);
bool stream_must_hear(
	const struct actor *self, const struct stream *s, const struct msg_subscribe *subscribe);
/* False = these are not about that. */
bool stream_hear_subscribed(struct actor *self, struct stream *s,
	const struct msg_subscribed *subscribed, uint64_t request);
bool stream_hear_failed(struct actor *self, struct stream *s, uint64_t request, enum err err);

/* stream_actor.c */
/* A replica copies from `source`, as if nothing had been. */
void stream_join(struct actor *self, struct stream *s, struct addr source);
void stream_orphan(struct actor *self, struct stream *s);
/* So long ago its publisher was lost; 0 = it is there, as far as is known here. */
uint32_t stream_lost_ms(struct actor *self, const struct stream *s);
/* A copy's source says whether there is one. */
void stream_note_live(struct actor *self, struct stream *s, bool live, uint32_t lost_ms);
/* What a source says that it carries. */
void stream_take_tracks(
	struct actor *self, struct stream *s, const struct msg_subscribed *subscribed);

/* stream_bitrate.c: what readers take, said to the source; each second, … */
void stream_say_bitrate(struct actor *self, struct stream *s);
/* … and when one of them says it. */
void stream_hear_bitrate(
	struct actor *self, struct stream *s, struct subscriber *reader, uint32_t bps);

/* stream_readers.c */
void stream_take_bitrate(struct actor *self, struct stream *s, struct addr who, uint32_t bps);
void stream_stop_transcoder(struct actor *self, struct stream *s);
enum err stream_subscribe(struct actor *self, struct stream *s, struct asker asker,
	const struct msg_subscribe *subscribe);
void stream_unsubscribe(struct actor *self, struct stream *s, struct addr who);
void stream_tell_links(struct actor *self, const struct stream *s, struct addr who);
/* Links hear anew how it travels, and for how long its packets are asked for. */
void stream_configured(struct actor *self, void *data);
void stream_count_behind(struct actor *self, struct stream *s, struct addr who, uint32_t viewers);
void stream_pump(struct actor *self, void *data);
void stream_tell_tracks(struct actor *self, struct stream *s);
void stream_answer_waiting(struct actor *self, struct stream *s, enum err err);
bool stream_must_wait(
	const struct actor *self, const struct stream *s, const struct msg_subscribe *subscribe);
enum err stream_wait(struct actor *self, struct stream *s, const struct msg_subscribe *subscribe);
/* Makes the audio that readers need, and tells them if the tracks have changed by that. */
void stream_update_transcoding(struct actor *self, struct stream *s);
/* The tracks have changed: all readers are told once, of what is made for them, too. */
void stream_settle_tracks(struct actor *self, struct stream *s);
void stream_transcoder_ready(
	struct actor *self, struct stream *s, const struct msg_transcode_started *started);
void stream_transcoder_lost(struct actor *self, struct stream *s);
void stream_helper_up(struct actor *self, struct stream *s);
void stream_join_upstream(struct actor *self, struct stream *s);

#endif

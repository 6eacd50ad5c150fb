/* SPDX-License-Identifier: Apache-2.0
 *
 * flv_mux: one stream as FLV for all who watch it that way in this worker.
 *
 *   joining --subscribed--> live --publisher gone--> paused --publisher back--> trackless, live
 *      | '--nobody publishes--> waiting (somebody said ?wait=1) --subscribed--> live
 *      '--nobody publishes, nobody waits--> (ends)          live, paused: stream ends--> (ends)
 *   live, paused --publisher with a picture that FLV cannot carry--> pictureless --another--> live
 *   any: no viewer for FLV_IDLE_MS --> (ends)
 *
 * Owns a log of tags (ARENA_LOG), struct flv_desk and room for a frame (ARENA_BUFFER). Reads the
 * stream's log when kicked; kicks its viewers, connections of the same process (HTTP, RTMP), which
 * write from the slots.
 *
 * Viewers are woken by pictures, and by audio alone only when no picture has come for
 * FLV_FLUSH_MS: a write costs the same for one tag as for three. Many viewers are woken together,
 * FLV_GATHER_MS apart, or when there is as much as one write takes.
 */
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/flv_view.h"
#include "actors/rtmp/flv_work.h"
#include "runtime/config.h"

#include <stdio.h>

enum {
	MUX_JOINING = 1 << 0, /* asked whether somebody publishes */
	MUX_WAITING = 1 << 1, /* nobody does; asked to be told */
	MUX_LIVE = 1 << 2,
	MUX_PAUSED = 1 << 3,	  /* the publisher is gone, the stream not yet */
	MUX_TRACKLESS = 1 << 4,	  /* there is a publisher; what it sends is not known yet */
	MUX_PICTURELESS = 1 << 5, /* FLV cannot carry its picture; who watches keeps the last one */
	MUX_SUBSCRIBED = MUX_LIVE | MUX_PAUSED | MUX_TRACKLESS | MUX_PICTURELESS,
	MUX_ANY = MUX_JOINING | MUX_WAITING | MUX_SUBSCRIBED,
};

enum {
	FLV_IDLE_MS = 5000,
	FLV_FLUSH_MS = 60,	 /* longest that audio waits for a picture */
	FLV_FLUSH_APART_MS = 15, /* pictures closer than this share a write */
	FLV_MANY_VIEWERS = 50,	 /* with so many, all that comes within … */
	FLV_GATHER_MS = 74,	 /* … does: silences stay below 80 ms, whatever the frame rate */
	FLV_GATHER_PACKETS = FLV_VIEW_IOV - 8, /* fill a write, with what stands around tags */
	FLV_SUBSCRIBE_MS = 5000,
	FLV_KEYFRAME_MS = 500,
	FLV_VIEWERS_MS = 100,	     /* the stream hears of viewers that came and went no faster */
	FLV_LOG_BYTES_MIN = 8 << 20, /* a tag of FLV_VIDEO_FRAME_MAX and what came before it */
	FLV_WAIT_MAX_MS = 120000,
};

enum mux_timer {
	MUX_TIMER_IDLE,
	MUX_TIMER_FLUSH,
	MUX_TIMER_ORDER,
	MUX_TIMER_KEYFRAME,
	MUX_TIMER_VIEWERS,
};

struct flv_mux {
	struct flv_mux_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	int64_t flushed_us;
	uint64_t flushed_to; /* position in the log of tags */
	bool flush_due;
	bool asks_keyframe;
	bool tells_viewers; /* soon */
};

static struct slot_ref source_ref(const struct flv_mux *s)
{
	return (struct slot_ref){s->st.source_index, s->st.source_generation};
}

static struct slot_ref log_ref(const struct flv_mux *s)
{
	return (struct slot_ref){s->st.log_index, s->st.log_generation};
}

static struct slot_ref work_ref(const struct flv_mux *s)
{
	return (struct slot_ref){s->st.work_index, s->st.work_generation};
}

static struct slot_ref frame_ref(const struct flv_mux *s)
{
	return (struct slot_ref){s->st.frame_index, s->st.frame_generation};
}

static struct flv_desk *desk_of(struct actor *self, const struct flv_mux *s)
{
	return arena_get(actor_arena(self), ARENA_BUFFER, work_ref(s));
}

static uint8_t *frame_of(struct actor *self, const struct flv_mux *s)
{
	return arena_get(actor_arena(self), ARENA_BUFFER, frame_ref(s));
}

static struct asker asker_of(const struct flv_asker *asker)
{
	return (struct asker){.from = asker->who, .request = asker->request};
}

/* ---- viewers --------------------------------------------------------------------------------- */

static void watch_idle(struct actor *self, struct flv_mux *s)
{
	if (s->st.viewers_count || s->st.askers_count)
		actor_timer_off(self, MUX_TIMER_IDLE);
	else
		actor_timer_in_ms(self, MUX_TIMER_IDLE, FLV_IDLE_MS);
}

/* The stream counts our viewers as its own. */
static void viewers_changed(struct actor *self, struct flv_mux *s)
{
	if (!s->tells_viewers)
		actor_timer_in_ms(self, MUX_TIMER_VIEWERS, FLV_VIEWERS_MS);
	s->tells_viewers = true;
}

static void tell_viewers(struct actor *self, struct flv_mux *s)
{
	s->tells_viewers = false;
	if (!addr_is_nobody(s->st.stream))
		actor_send(self, s->st.stream, viewers, {.count = s->st.viewers_count});
}

static void remove_viewer(struct actor *self, struct flv_mux *s, struct addr who)
{
	for (int i = 0; i < s->st.viewers_count; i++) {
		if (addr_equal(s->st.viewers[i].who, who)) {
			s->st.viewers[i] = s->st.viewers[--s->st.viewers_count];
			actor_unmonitor(self, who);
			viewers_changed(self, s);
			break;
		}
	}
	for (uint32_t i = 0; i < s->st.askers_count; i++) {
		if (addr_equal(s->st.askers[i].who, who)) {
			s->st.askers[i] = s->st.askers[--s->st.askers_count];
			break;
		}
	}
	watch_idle(self, s);
}

static void admit(struct actor *self, struct flv_mux *s, struct asker asker)
{
	if (s->st.viewers_count == STREAM_SUBSCRIBERS_MAX) {
		s->st.refused++;
		actor_refuse(self, asker, ERR_LIMIT, "this stream has as many viewers as it may");
		return;
	}
	s->st.viewers[s->st.viewers_count++].who = asker.from;
	viewers_changed(self, s);
	actor_answer(self, asker, flv_opened,
		{.muxer = actor_addr(self),
			.log_index = s->st.log_index,
			.log_generation = s->st.log_generation,
			.work_index = s->st.work_index,
			.work_generation = s->st.work_generation});
}

static void admit_all(struct actor *self, struct flv_mux *s)
{
	for (uint32_t i = 0; i < s->st.askers_count; i++)
		admit(self, s, asker_of(&s->st.askers[i]));
	s->st.askers_count = 0;
	watch_idle(self, s);
}

/* Refuses those who are not (or no longer) willing to wait, or all of them. */
static void refuse_askers(
	struct actor *self, struct flv_mux *s, enum err err, const char *text, bool all)
{
	uint16_t kept = 0;

	for (uint32_t i = 0; i < s->st.askers_count; i++) {
		if (!all && s->st.askers[i].until_us > actor_now_us(self)) {
			s->st.askers[kept++] = s->st.askers[i];
			continue;
		}
		s->st.refused++;
		actor_refuse(self, asker_of(&s->st.askers[i]), err, text);
	}
	s->st.askers_count = kept;
}

static const char nobody_publishes[] = "nobody publishes this stream";

static const char *video_codec_of(const struct flv_mux *s)
{
	for (int i = 0; i < s->st.tracks_count; i++)
		if (s->st.tracks[i].kind == MEDIA_VIDEO)
			return media_codec_name((enum media_codec)s->st.tracks[i].codec);
	return "";
}

static enum err refuse_codec(struct actor *self, struct flv_mux *s, struct asker asker)
{
	char text[128];

	snprintf(text, sizeof(text), "FLV cannot carry %s; play this stream by WHEP",
		video_codec_of(s));
	s->st.refused++;
	return actor_refuse(self, asker, ERR_CODEC, text);
}

ON(flv_mux, flv_open)
{
	uint32_t wait_ms = m->wait_ms < FLV_WAIT_MAX_MS ? m->wait_ms : FLV_WAIT_MAX_MS;

	if (actor_phase(self) == MUX_LIVE) {
		actor_monitor(self, mail->from);
		admit(self, s, actor_asker(self));
		watch_idle(self, s);
		return ERR_OK;
	}
	if (actor_phase(self) == MUX_PICTURELESS)
		return refuse_codec(self, s, actor_asker(self));
	if (!wait_ms && !(actor_phase(self) & (MUX_JOINING | MUX_TRACKLESS)))
		return actor_refuse(self, actor_asker(self), ERR_NOT_FOUND, nobody_publishes);
	if (s->st.askers_count == FLV_ASKERS_MAX)
		return ERR_OVERLOAD;
	s->st.askers[s->st.askers_count++] = (struct flv_asker){.who = mail->from,
		.request = actor_asker(self).request,
		.until_us = wait_ms ? actor_now_us(self) + wait_ms * INT64_C(1000) : 0};
	actor_monitor(self, mail->from);
	watch_idle(self, s);
	return ERR_OK;
}

ON(flv_mux, flv_close)
{
	remove_viewer(self, s, mail->from);
	return ERR_OK;
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void subscribe(struct actor *self, struct flv_mux *s, uint32_t wait_ms)
{
	struct msg_subscribe subscribe = {
		.wait_ms = wait_ms, .viewer = false, .audio = MEDIA_AAC, .protocol = "flv"};

	memcpy(subscribe.stream_name, s->st.name, sizeof(subscribe.stream_name));
	s->st.subscribe_request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA),
		wait_ms + FLV_SUBSCRIBE_MS, MSG_subscribe, &schema_subscribe, &subscribe);
}

/* Goes on waiting for those who are patient; ends when nobody is. */
static void wait_on(struct actor *self, struct flv_mux *s)
{
	int64_t until_us = 0;

	refuse_askers(self, s, ERR_NOT_FOUND, nobody_publishes, false);
	for (uint32_t i = 0; i < s->st.askers_count; i++)
		if (s->st.askers[i].until_us > until_us)
			until_us = s->st.askers[i].until_us;
	if (!s->st.askers_count) {
		actor_stop(self, ERR_OK);
		return;
	}
	actor_become(self, MUX_WAITING);
	subscribe(self, s, (uint32_t)((until_us - actor_now_us(self)) / 1000));
}

/* Who has seen a picture keeps it, and the sound: the publisher that brought it may come back.
 * Without viewers there is nothing to keep. */
static void lose_picture(struct actor *self, struct flv_mux *s, const char *codec)
{
	for (uint32_t i = 0; i < s->st.askers_count; i++)
		refuse_codec(self, s, asker_of(&s->st.askers[i]));
	s->st.askers_count = 0;
	log_info(actor_log(self), "flv_codec", "stream", s->st.name, "codec", codec, "viewers",
		s->st.viewers_count);
	if (s->st.viewers_count)
		actor_become(self, MUX_PICTURELESS);
	else
		actor_stop(self, ERR_CODEC);
}

/* Takes the stream's tracks; the muxer is live when there is something that FLV can carry. */
static void take_tracks(struct actor *self, struct flv_mux *s, const struct media_track *tracks,
	uint16_t count, bool live)
{
	struct flv_desk *desk = desk_of(self, s);
	const struct media_log *log = media_log_get(actor_arena(self), log_ref(s));
	const char *codec;
	enum err err = ERR_INTERNAL;

	if (desk && log) {
		flv_desk_begin(desk, log);
		err = flv_work_tracks(&desk->work, tracks, count, &codec);
		flv_desk_end(desk);
	}
	s->st.tracks_count = count;
	memcpy(s->st.tracks, tracks, count * sizeof(*tracks));
	if (err == ERR_CODEC) {
		lose_picture(self, s, codec);
		return;
	}
	if (err && err != ERR_AGAIN) {
		refuse_askers(self, s, err, "", true);
		actor_stop(self, err);
		return;
	}
	actor_become(self, !live ? MUX_PAUSED : err ? MUX_TRACKLESS : MUX_LIVE);
	/* an orphaned stream: those who do not wait need not wait for its end */
	if (!live)
		refuse_askers(self, s, ERR_NOT_FOUND, nobody_publishes, false);
	if (err || !live)
		return;
	s->st.video = desk->work.video.codec;
	s->st.audio = desk->work.audio.codec;
	admit_all(self, s);
	actor_kick(actor_runtime(self), actor_addr(self));
}

ON(flv_mux, subscribed)
{
	struct flv_desk *desk = desk_of(self, s);

	if (mail->request != s->st.subscribe_request || !desk)
		return ERR_OK;
	s->st.subscribe_request = 0;
	s->st.stream = m->stream;
	s->st.source_index = m->log_index;
	s->st.source_generation = m->log_generation;
	actor_monitor(self, m->stream);
	flv_work_init(&desk->work, m->start, actor_now_us(self));
	take_tracks(self, s, m->tracks, m->tracks_count, m->live);
	watch_idle(self, s);
	return ERR_OK;
}

ON(flv_mux, tracks)
{
	if (addr_equal(mail->from, s->st.stream))
		take_tracks(self, s, m->tracks, m->tracks_count, m->live);
	return ERR_OK;
}

ON(flv_mux, failed)
{
	if (!mail->request || mail->request != s->st.subscribe_request)
		return ERR_OK;
	s->st.subscribe_request = 0;
	if (m->err == ERR_NOT_FOUND) {
		wait_on(self, s);
	} else {
		refuse_askers(self, s, m->err, m->text, true);
		actor_stop(self, m->err);
	}
	return ERR_OK;
}

ON(flv_mux, down)
{
	if (addr_equal(m->who, s->st.stream))
		actor_stop(self, ERR_OK);
	else
		remove_viewer(self, s, m->who);
	return ERR_OK;
}

/* ---- tags ------------------------------------------------------------------------------------ */

static void wake_viewers(struct actor *self, struct flv_mux *s)
{
	const struct media_log *log = media_log_get(actor_arena(self), log_ref(s));

	s->flush_due = false;
	s->flushed_us = actor_now_us(self);
	s->flushed_to = log ? log->ready : 0;
	actor_timer_off(self, MUX_TIMER_FLUSH);
	for (int i = 0; i < s->st.viewers_count; i++)
		actor_kick(actor_runtime(self), s->st.viewers[i].who);
}

static void tags_are_there(
	struct actor *self, struct flv_mux *s, const struct media_log *log, bool video)
{
	bool many = s->st.viewers_count >= FLV_MANY_VIEWERS;
	bool full = log->ready - s->flushed_to >= FLV_GATHER_PACKETS;
	int64_t apart_ms = many ? FLV_GATHER_MS : video ? FLV_FLUSH_APART_MS : FLV_FLUSH_MS;
	int64_t at_us = s->flushed_us + apart_ms * 1000;

	if (at_us <= actor_now_us(self) || (many && full)) {
		wake_viewers(self, s);
	} else if (!s->flush_due || (video && !many)) {
		s->flush_due = true;
		actor_timer_at(self, MUX_TIMER_FLUSH, at_us);
	}
}

/* While pictures are useless without a keyframe the stream is reminded of it. */
static void ask_keyframe(struct actor *self, struct flv_mux *s, bool wanted)
{
	if (wanted == s->asks_keyframe)
		return;
	s->asks_keyframe = wanted;
	if (wanted)
		actor_timer_in_ms(self, MUX_TIMER_KEYFRAME, FLV_KEYFRAME_MS);
	else
		actor_timer_off(self, MUX_TIMER_KEYFRAME);
}

static void flv_mux_pump(struct actor *self, void *data)
{
	struct flv_mux *s = data;
	struct arena *arena = actor_arena(self);
	struct flv_desk *desk = desk_of(self, s);
	uint8_t *frame = frame_of(self, s);
	struct media_log *log = media_log_get(arena, log_ref(s));
	struct media_log *source = media_log_get(arena, source_ref(s));
	struct flv_progress progress;

	if (!desk || !frame || !log || !source || !(actor_phase(self) & MUX_SUBSCRIBED))
		return;
	uint32_t version = desk->work.headers.version;

	media_log_count_sent(source, media_log_take_sent(log));
	flv_work_turn(desk, frame, arena, source, log, actor_addr(self).id, actor_now_us(self),
		&progress);
	s->st.tags += progress.tags;
	s->st.bytes += progress.bytes;
	s->st.frames_lost += progress.lost;
	s->st.dropped_no_slot += progress.no_slot;
	if (progress.more)
		actor_kick(actor_runtime(self), actor_addr(self));
	ask_keyframe(self, s, progress.wants_keyframe && actor_phase(self) == MUX_LIVE);
	if (progress.deadline_us != INT64_MAX)
		actor_timer_at(self, MUX_TIMER_ORDER, progress.deadline_us);
	else
		actor_timer_off(self, MUX_TIMER_ORDER);
	if (progress.tags || version != desk->work.headers.version)
		tags_are_there(self, s, log, progress.video);
}

static void flv_mux_timer(struct actor *self, void *data, unsigned timer)
{
	struct flv_mux *s = data;
	const struct flv_desk *desk = desk_of(self, s);

	switch ((enum mux_timer)timer) {
	case MUX_TIMER_IDLE: actor_stop(self, ERR_OK); break;
	case MUX_TIMER_FLUSH: wake_viewers(self, s); break;
	case MUX_TIMER_ORDER: flv_mux_pump(self, s); break;
	case MUX_TIMER_VIEWERS: tell_viewers(self, s); break;
	case MUX_TIMER_KEYFRAME:
		if (desk && !addr_is_nobody(s->st.stream))
			actor_send(self, s->st.stream, keyframe_request,
				{.track = desk->work.video.id});
		actor_timer_in_ms(self, MUX_TIMER_KEYFRAME, FLV_KEYFRAME_MS);
		break;
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

static void take_name(struct actor *self, const struct flv_mux *s)
{
	char name[ACTOR_NAME_MAX + 1];

	snprintf(name, sizeof(name), "flv/%.120s", s->st.name);
	actor_set_name(self, name);
}

static void free_slots(struct actor *self, struct flv_mux *s)
{
	media_log_destroy(actor_arena(self), log_ref(s));
	arena_release(actor_arena(self), ARENA_BUFFER, work_ref(s));
	arena_release(actor_arena(self), ARENA_BUFFER, frame_ref(s));
}

static enum err flv_mux_init(struct actor *self, void *data, const void *args_)
{
	struct flv_mux *s = data;
	const struct flv_mux_args *args = args_;
	const struct config *config = actor_config(self);
	struct media_log_limits limits = {
		.age_us = (config ? config->stream_gop_seconds_max : 10) * 1000000,
		.bytes = config ? (uint64_t)config->stream_gop_bytes_max : 16 << 20,
	};

	if (limits.bytes < FLV_LOG_BYTES_MIN)
		limits.bytes = FLV_LOG_BYTES_MIN;
	if (limits.age_us < MEDIA_LOG_TAIL_US)
		limits.age_us = MEDIA_LOG_TAIL_US;
	struct slot_ref log = media_log_create(actor_arena(self), actor_addr(self).id, &limits, 1);
	struct slot_ref work = arena_alloc(actor_arena(self), ARENA_BUFFER, actor_addr(self).id);
	struct slot_ref frame = arena_alloc(actor_arena(self), ARENA_BUFFER, actor_addr(self).id);

	s->st.log_index = log.index;
	s->st.log_generation = log.generation;
	s->st.work_index = work.index;
	s->st.work_generation = work.generation;
	s->st.frame_index = frame.index;
	s->st.frame_generation = frame.generation;
	if (!log.generation || !work.generation || !frame.generation) {
		free_slots(self, s);
		return ERR_LIMIT;
	}
	text_copy(s->st.name, sizeof(s->st.name), args->name);
	take_name(self, s);
	actor_become(self, MUX_JOINING);
	subscribe(self, s, 0);
	return ERR_OK;
}

static enum err flv_mux_restore(struct actor *self, void *data)
{
	struct flv_mux *s = data;
	struct arena *arena = actor_arena(self);
	struct media_log *log = arena_get(arena, ARENA_LOG, log_ref(s));
	struct flv_desk *desk = desk_of(self, s);

	if (!log || !desk || !frame_of(self, s) || !flv_desk_recover(desk, log) ||
		!media_log_get(arena, log_ref(s)))
		return ERR_FORMAT;
	arena_hold_again(arena, ARENA_LOG, log_ref(s));
	arena_hold_again(arena, ARENA_BUFFER, work_ref(s));
	arena_hold_again(arena, ARENA_BUFFER, frame_ref(s));
	media_log_recount(arena, log);
	take_name(self, s);
	watch_idle(self, s);
	viewers_changed(self, s);
	actor_kick(actor_runtime(self), actor_addr(self));
	return ERR_OK;
}

static void flv_mux_stop(struct actor *self, void *data, enum err reason)
{
	struct flv_mux *s = data;
	struct media_log *log = media_log_get(actor_arena(self), log_ref(s));
	struct media_log *source = media_log_get(actor_arena(self), source_ref(s));

	refuse_askers(self, s, reason ? reason : ERR_NOT_FOUND, nobody_publishes, true);
	if (log && source)
		media_log_count_sent(source, media_log_take_sent(log));
	if (!addr_is_nobody(s->st.stream))
		actor_send(self, s->st.stream, unsubscribe, {});
	free_slots(self, s);
}

static const char *const flv_mux_phases[] = {
	"joining", "waiting", "live", "paused", "trackless", "pictureless", NULL};

static const struct handler flv_mux_handlers[] = {
	/*               message     legal in */
	HANDLER(flv_mux, flv_open, MUX_ANY),
	HANDLER(flv_mux, flv_close, MUX_ANY),
	HANDLER(flv_mux, subscribed, MUX_JOINING | MUX_WAITING),
	HANDLER(flv_mux, tracks, MUX_SUBSCRIBED),
	HANDLER(flv_mux, failed, MUX_ANY),
	HANDLER(flv_mux, down, MUX_ANY),
};

const struct actor_type flv_mux_actor = {
	.name = "flv_mux",
	.size = sizeof(struct flv_mux),
	.state = &schema_flv_mux_state,
	.keeps_askers = true,
	.phases = flv_mux_phases,
	.mailbox_max = 4096,
	HANDLER_TABLE(flv_mux_handlers),
	.init = flv_mux_init,
	.restore = flv_mux_restore,
	.stop = flv_mux_stop,
	.timer = flv_mux_timer,
	.pump = flv_mux_pump,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection as an RTMP publisher: the question whether it may, and what it sends, as packets for
 * its stream.
 */
#include "actors/rtmp/rtmp_internal.h"

#include <stdio.h>

enum {
	MS = 1000,
	/* also how long an encoder waits when its stream's worker dies just then */
	PUBLISH_MS = 4000,
	TRACKS_MS = 3000,
	AGAIN_MS = 100,	     /* who knew of the death has said so to all by then */
	AGAIN_FOR_MS = 8000, /* a control process is replaced in less */
};

void rtmp_publish_open(struct actor *self, struct rtmp_session *s)
{
	struct msg_publish publish = {.protocol = "rtmp", .standby = s->st.may_stand_by};

	text_copy(publish.stream_name, sizeof(publish.stream_name), s->st.stream_name);
	text_copy(publish.subject, sizeof(publish.subject), s->st.subject);
	text_copy(publish.resume, sizeof(publish.resume), s->st.resume);
	s->st.request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA), PUBLISH_MS,
		MSG_publish, &schema_publish, &publish);
}

/* Encoders that are refused seldom try again. Whoever was asked (a worker's office, the stream itself) may
 * have died with the question, and its successor knows of none; or it says that it will know later. It is
 * asked again: the name, and the token that belongs to it, are in the state. */
void rtmp_publish_failed(
	struct actor *self, struct rtmp_session *s, const struct msg_failed *failed)
{
	bool is_taken = failed->err == ERR_BUSY || failed->err == ERR_EXISTS;
	bool passes = failed->err == ERR_DEAD || failed->retry_after_ms;
	int64_t wait_ms = failed->retry_after_ms > AGAIN_MS ? failed->retry_after_ms : AGAIN_MS;

	if (passes && !is_taken &&
		actor_now_us(self) + wait_ms * MS < s->asked_us + AGAIN_FOR_MS * MS)
		actor_timer_in_ms(self, RTMP_TIMER_AGAIN, wait_ms);
	else
		rtmp_session_refuse(self, s, failed->err, is_taken ? "BadName" : "Failed",
			failed->text[0] ? failed->text : err_text(failed->err));
}

void rtmp_publish_begin(
	struct actor *self, struct rtmp_session *s, const struct msg_published *published)
{
	struct writer out = rtmp_session_output(self, s);

	s->st.stream = published->stream;
	s->st.epoch = published->epoch;
	s->st.standby = published->standby;
	text_copy(s->st.resume, sizeof(s->st.resume), published->resume);
	s->st.published_us = actor_wall_us(self);
	rtmp_media_init(&s->slot->now.media); /* a connection may publish several times */
	s->counted = (struct rtmp_media_counters){0};
	actor_monitor(self, published->stream);
	rtmp_server_accept(&s->slot->now.server, &out, s->st.resume);
	rtmp_session_wrote(s, &out);
	actor_become(self, RTMP_SESSION_PUBLISHING);
	log_info(actor_log(self), "rtmp_publishing", "client", s->st.client, "stream",
		s->st.stream_name, "epoch", s->st.epoch);
}

void rtmp_publish_end(struct actor *self, struct rtmp_session *s)
{
	if (!addr_is_nobody(s->st.stream)) {
		actor_unmonitor(self, s->st.stream);
		actor_send(self, s->st.stream, unpublish, {});
	}
	s->st.stream = (struct addr){0};
	s->st.published_us = 0;
	s->st.standby = false;
	s->st.tracks_count = 0;
}

/* ---- media ----------------------------------------------------------------------------------- */

static void log_tracks(struct actor *self, const struct rtmp_session *s)
{
	const struct media_track none = {0};
	const struct rtmp_media *m = &s->slot->now.media;
	const struct media_track *video =
		m->has[RTMP_MEDIA_VIDEO] ? &m->tracks[RTMP_MEDIA_VIDEO] : &none;
	const struct media_track *audio =
		m->has[RTMP_MEDIA_AUDIO] ? &m->tracks[RTMP_MEDIA_AUDIO] : &none;

	log_info(actor_log(self), "rtmp_tracks", "stream", s->st.stream_name, "video",
		media_codec_name(video->codec), "width", video->width, "height", video->height,
		"audio", media_codec_name(audio->codec), "sample_rate", audio->clock_rate,
		"channels", audio->channels);
}

static void announce_tracks(
	struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	struct msg_tracks_changed changed;

	memset(&changed, 0, sizeof(changed));
	changed.tracks_count = rtmp_media_tracks(&s->slot->now.media, changed.tracks);
	s->st.tracks_count = changed.tracks_count;
	memcpy(s->st.tracks, changed.tracks, sizeof(s->st.tracks));
	s->slot->now.tracks_untold = false;
	s->slot->now.waits = (uint8_t)event->type;
	s->slot->now.waits_ms = event->time_ms;
	s->slot->now.waits_at = (uint32_t)(event->body - (const uint8_t *)s->slot);
	s->slot->now.waits_size = (uint32_t)event->body_size;
	s->st.tracks_request = actor_request_mail(self, s->st.stream, TRACKS_MS, MSG_tracks_changed,
		&schema_tracks_changed, &changed);
	log_tracks(self, s);
}

/* The rest of a frame for which no slot is free: its numbers are used up, so that the gap shows. */
static void drop_rest(struct rtmp_session *s, struct rtmp_media_cut *cut)
{
	struct packet packet;

	while (rtmp_media_next(cut, &packet.header, packet.payload))
		s->slot->now.dropped_no_slot++;
}

static void send_frame(struct actor *self, struct rtmp_session *s, struct rtmp_media_cut *cut)
{
	struct arena *arena = actor_arena(self);
	uint8_t flags = 0;

	while (!(flags & MEDIA_FRAME_END)) {
		struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, actor_addr(self).id);
		struct packet *packet = arena_packet(arena, ref);

		if (!packet) {
			drop_rest(s, cut);
			return;
		}
		if (rtmp_media_next(cut, &packet->header, packet->payload)) {
			flags = packet->header.flags;
			actor_media(self, s->st.stream, ref);
		} else {
			flags = MEDIA_FRAME_END;
		}
		arena_release(arena, ARENA_PACKET, ref);
	}
	if (s->slot->now.media.count.b_frames_referenced && !s->told_b_frames) {
		s->told_b_frames = true;
		log_warn(actor_log(self), "bframes_referenced", "stream", s->st.stream_name, "text",
			"B-frames that others refer to cannot be left out for WebRTC viewers; "
			"encode without B-frames, or with b-pyramid=none");
	}
}

static bool is_frame(const struct rtmp_event *event)
{
	return (event->type == RTMP_EVENT_VIDEO && event->video.packet == FLV_FRAMES) ||
	       (event->type == RTMP_EVENT_AUDIO && event->audio.packet == FLV_FRAMES);
}

/* The headers of picture and sound come one after the other, before the first frame of either: they
 * are told together, so that no viewer finds a stream that has only half of its tracks. */
void rtmp_publish_media(struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	struct rtmp_media_cut cut;

	if (s->slot->now.tracks_untold && is_frame(event)) {
		announce_tracks(self, s, event);
		return;
	}
	switch (rtmp_media_take(&s->slot->now.media, event, actor_wall_us(self), &cut)) {
	case RTMP_MEDIA_TRACKS:
		if (is_frame(event))
			announce_tracks(self, s, event);
		else
			s->slot->now.tracks_untold = true;
		break;
	case RTMP_MEDIA_FRAME: send_frame(self, s, &cut); break;
	case RTMP_MEDIA_NOTHING: break;
	}
}

/* Nothing was read or parsed meanwhile: the body lies where it lay. */
void rtmp_publish_waited(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_base *now = &s->slot->now;
	uint64_t slot_size = sizeof(*s->slot) + s->arena_size;
	struct rtmp_event event;

	rtmp_session_touch(self, s);
	if (now->waits_size && (uint64_t)now->waits_at + now->waits_size <= slot_size &&
		rtmp_server_media_again(&now->server, (enum rtmp_event_type)now->waits,
			now->waits_ms, (const uint8_t *)s->slot + now->waits_at, now->waits_size,
			&event)) {
		now->waits_size = 0;
		rtmp_publish_media(self, s, &event);
	}
}

void rtmp_publish_unsupported(
	struct actor *self, struct rtmp_session *s, const struct rtmp_event *event)
{
	s->slot->now.dropped_codec++;
	if (s->told_codec)
		return;
	s->told_codec = true;
	log_warn(actor_log(self), "codec_not_carried", "stream", s->st.stream_name, "kind",
		event->is_video ? "video" : "audio", "error", err_name(event->err));
}

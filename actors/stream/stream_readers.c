/* SPDX-License-Identifier: Apache-2.0
 *
 * Those who read a stream: sessions of this worker (kicked, they read the log themselves), streams
 * and transcoders in other processes (fed packet by packet from where they are), and the
 * transcoding that some of them need.
 */
#include "actors/stream/source_map.h"
#include "actors/stream/stream_internal.h"
#include "runtime/config.h"

#include <stdlib.h>

enum {
	MS = 1000,
	REQUEST_MS = 3000,
	FEED_AGAIN_US = 5000, /* a link is asked again for room for what is cached */
};

/* ---- who reads --------------------------------------------------------------------------------- */

static struct subscriber *find_subscriber(struct stream *s, struct addr who)
{
	for (int i = 0; i < s->st.subscribers_count; i++)
		if (addr_equal(s->st.subscribers[i].who, who))
			return &s->st.subscribers[i];
	return NULL;
}

static void count_viewers(struct actor *self, struct stream *s)
{
	uint32_t viewers = 0;

	for (int i = 0; i < s->st.subscribers_count; i++)
		viewers += s->st.subscribers[i].viewer + s->st.subscribers[i].behind;
	s->st.viewers = viewers;
	if (s->st.replica && s->st.subscribers_count == 0)
		actor_timer_in_ms(self, STREAM_TIMER_IDLE, STREAM_IDLE_MS);
	else
		actor_timer_off(self, STREAM_TIMER_IDLE);
}

static void fill_subscribed(
	struct actor *self, struct stream *s, uint64_t start, struct msg_subscribed *answer)
{
	answer->stream = actor_addr(self);
	answer->epoch = s->st.epoch;
	answer->log_index = s->st.log_index;
	answer->log_generation = s->st.log_generation;
	answer->start = start;
	answer->tracks_count = s->st.tracks_count;
	memcpy(answer->tracks, s->st.tracks, sizeof(answer->tracks));
	answer->live = stream_is_live(self, s);
	answer->lost_ms = answer->live ? 0 : stream_lost_ms(self, s);
	answer->source_since_us = s->st.source_since_us;
	answer->owner = stream_owner(self, s, &answer->owner_epoch);
	answer->silent_ms = stream_silent_ms(self, s);
	answer->source_first = s->st.source_first;
}

/* About where what was captured then lies; what is no longer there: where the log begins. */
static uint64_t captured_at(struct actor *self, const struct media_log *log, int64_t capture_us)
{
	uint64_t position = log->ready;

	while (position > log->first) {
		const struct packet *packet =
			media_log_packet(actor_arena(self), log, position - 1);

		if (packet && packet->header.capture_us < capture_us)
			break;
		position--;
	}
	return position;
}

/* Before the first packet leaves for a reader at another node: its link is opened meanwhile. */
void stream_tell_links(struct actor *self, const struct stream *s, struct addr who)
{
	const struct config *config = actor_config(self);
	int rule = config ? config_rule_find(CONFIG_KEY_link_modes, config->link_modes, s->st.name)
			  : -1;
	struct msg_link_need need = {
		.node = who.node,
		.media = true,
		.mode = (uint8_t)(rule >= 0 ? rule
				  : config  ? config->link_mode
					    : LINK_SMART),
		.recover_ms = config ? config_recover_ms(config, s->st.name) : 0,
	};

	if (who.node != actor_addr(self).node)
		actor_send_mail(self, actor_office(self, OFFICE_LINK), MSG_link_need,
			&schema_link_need, &need);
}

void stream_configured(struct actor *self, void *data)
{
	struct stream *s = data;

	for (int i = 0; i < s->st.subscribers_count; i++)
		if (s->st.subscribers[i].who.node != actor_addr(self).node) {
			stream_tell_links(self, s, s->st.subscribers[i].who); /* for all of them */
			return;
		}
}

enum err stream_subscribe(
	struct actor *self, struct stream *s, struct asker asker, const struct msg_subscribe *m)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));
	struct subscriber *reader = find_subscriber(s, asker.from);
	struct msg_subscribed answer = {0};
	bool cached;
	uint64_t start;

	if (!log)
		return ERR_INTERNAL;
	start = media_log_start(log, &cached);
	if (!reader) {
		if (s->st.subscribers_count == STREAM_SUBSCRIBERS_MAX)
			return ERR_LIMIT;
		reader = &s->st.subscribers[s->st.subscribers_count++];
		*reader =
			(struct subscriber){.who = asker.from, .feed = m->feed, .position = start};
		if (m->rejoins && start < s->st.source_first)
			reader->position = s->st.source_first;
		if (m->from_capture_us)
			reader->position = captured_at(self, log, m->from_capture_us);
		if (m->from_position >= log->first)
			reader->position =
				m->from_position < log->next ? m->from_position : log->next;
		actor_monitor(self, asker.from);
		stream_tell_links(self, s, asker.from);
	}
	reader->tracks = m->tracks;
	reader->viewer = m->viewer;
	reader->audio = m->audio;
	count_viewers(self, s);
	stream_update_transcoding(self, s);
	fill_subscribed(self, s, reader->feed ? reader->position : start, &answer);
	actor_answer_mail(self, asker, MSG_subscribed, &schema_subscribed, &answer);
	/* (who goes on in the middle of it, as one that has moved here does, needs none) */
	if (!cached && stream_video_track(s) && !m->alive && (m->feed || !m->rejoins))
		stream_ask_keyframe(self, s, stream_video_track(s)->id);
	/* not in this turn: the answer, which names the tracks, leaves at its end; who reads the log
	 * itself begins when it likes, and the others need not be woken for it */
	if (reader->feed)
		actor_pump_at(self, actor_now_us(self) + 1);
	return ERR_OK;
}

void stream_unsubscribe(struct actor *self, struct stream *s, struct addr who)
{
	struct subscriber *reader = find_subscriber(s, who);

	if (!reader)
		return;
	*reader = s->st.subscribers[--s->st.subscribers_count];
	actor_unmonitor(self, who);
	count_viewers(self, s);
	stream_update_transcoding(self, s);
	stream_follow_source(self, s);
}

void stream_count_behind(struct actor *self, struct stream *s, struct addr who, uint32_t viewers)
{
	struct subscriber *reader = find_subscriber(s, who);

	if (!reader)
		return;
	reader->behind = viewers;
	count_viewers(self, s);
}

void stream_take_bitrate(struct actor *self, struct stream *s, struct addr who, uint32_t bps)
{
	struct subscriber *reader = find_subscriber(s, who);

	if (reader)
		stream_hear_bitrate(self, s, reader, bps);
}

void stream_tell_tracks(struct actor *self, struct stream *s)
{
	struct msg_tracks message = {
		.tracks_count = s->st.tracks_count,
		.live = stream_is_live(self, s),
		.epoch = s->st.epoch,
		.source_since_us = s->st.source_since_us,
		.source_first = s->st.source_first,
	};

	message.owner = stream_owner(self, s, &message.owner_epoch);
	memcpy(message.tracks, s->st.tracks, sizeof(message.tracks));
	for (int i = 0; i < s->st.subscribers_count; i++)
		actor_send_mail(
			self, s->st.subscribers[i].who, MSG_tracks, &schema_tracks, &message);
}

/* ---- those who must wait for the answer -------------------------------------------------------- */

/* A reader of the log must know what it will read; a copy of the stream learns it later. */
bool stream_must_wait(
	const struct actor *self, const struct stream *s, const struct msg_subscribe *subscribe)
{
	return actor_phase(self) & (STREAM_CLAIMING | STREAM_JOINING) ||
	       (!subscribe->feed && s->st.tracks_count == 0) ||
	       stream_must_hear(self, s, subscribe);
}

enum err stream_wait(struct actor *self, struct stream *s, const struct msg_subscribe *subscribe)
{
	if (s->waiting_count == STREAM_WAITING_MAX)
		return ERR_OVERLOAD;
	if (!s->waiting)
		s->waiting = calloc(STREAM_WAITING_MAX, sizeof(*s->waiting));
	if (!s->waiting)
		return ERR_NO_MEMORY;
	s->waiting[s->waiting_count++] =
		(struct stream_waiting){.asker = actor_asker(self), .subscribe = *subscribe};
	return ERR_OK;
}

void stream_answer_waiting(struct actor *self, struct stream *s, enum err err)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->waiting_count; i++) {
		struct stream_waiting *waiting = &s->waiting[i];

		if (!err && stream_must_wait(self, s, &waiting->subscribe)) {
			s->waiting[kept++] = *waiting;
			continue;
		}
		enum err result =
			err ? err : stream_subscribe(self, s, waiting->asker, &waiting->subscribe);

		if (result)
			actor_refuse(self, waiting->asker, result, "");
	}
	s->waiting_count = kept;
}

/* ---- fan-out ----------------------------------------------------------------------------------- */

/* How many packets a reader may be given now. Who is behind by more than the `news` of this turn is given
 * what is cached, as its link has room, but never less than what comes: it gets no further behind. What it
 * has not had yet goes in order, so that it misses nothing meanwhile. */
static uint64_t share(struct actor *self, const struct media_log *log,
	const struct subscriber *reader, uint64_t news)
{
	if (log->ready - reader->position <= news)
		return news;
	uint64_t room = actor_media_room(self, reader->who);

	return room > news ? room : news;
}

/* True: a part of what there is waits. */
static bool feed(struct actor *self, struct stream *s, const struct media_log *log,
	struct subscriber *reader, uint64_t news)
{
	struct arena *arena = actor_arena(self);

	if (reader->position < log->first)
		reader->position = log->first;
	uint64_t left = reader->position < log->ready ? share(self, log, reader, news) : 0;

	for (; left && reader->position < log->ready; reader->position++) {
		struct slot_ref ref = media_log_ref(log, reader->position);
		const struct packet *packet = arena_packet(arena, ref);

		if (!packet || (reader->tracks && !(reader->tracks >> packet->header.track & 1)))
			continue;
		actor_media(self, reader->who, ref);
		s->st.fed++;
		left--;
	}
	return reader->position < log->ready;
}

void stream_pump(struct actor *self, void *data)
{
	struct stream *s = data;
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));
	uint64_t wanted = 0;

	if (!log)
		return;
	/* (a successor does not know what of it is news) */
	uint64_t news = s->pumped && s->pumped <= log->ready ? log->ready - s->pumped : 0;

	s->pumped = log->ready;
	for (int i = 0; i < s->st.subscribers_count; i++) {
		struct subscriber *reader = &s->st.subscribers[i];

		if (!reader->feed)
			actor_kick(actor_runtime(self), reader->who);
		else if (feed(self, s, log, reader, news) && (!wanted || reader->position < wanted))
			wanted = reader->position;
	}
	media_log_want(log, wanted);
	if (wanted)
		actor_pump_at(self, actor_now_us(self) + FEED_AGAIN_US);
}

/* ---- transcoding ------------------------------------------------------------------------------- */

static const struct media_track *native_audio(const struct stream *s)
{
	for (int i = 0; i < s->st.tracks_count; i++)
		if (s->st.tracks[i].kind == MEDIA_AUDIO &&
			s->st.tracks[i].id < STREAM_MADE_TRACK_FIRST)
			return &s->st.tracks[i];
	return NULL;
}

/* The audio codec that some reader needs and the publisher does not send; 0 = none. */
static uint8_t wanted_audio(const struct stream *s)
{
	const struct media_track *audio = native_audio(s);

	for (int i = 0; audio && i < s->st.subscribers_count; i++) {
		uint8_t codec = s->st.subscribers[i].audio;

		if (codec && codec != audio->codec)
			return codec;
	}
	return 0;
}

static void remove_made_track(struct stream *s)
{
	for (int i = 0; i < s->st.tracks_count; i++) {
		if (s->st.tracks[i].id >= STREAM_MADE_TRACK_FIRST) {
			s->st.tracks[i] = s->st.tracks[--s->st.tracks_count];
			i--;
		}
	}
	s->st.transcoded_track = 0;
	s->st.transcoded_codec = 0;
}

void stream_stop_transcoder(struct actor *self, struct stream *s)
{
	struct addr transcoder = s->st.transcoder;

	s->st.transcoder = (struct addr){0};
	if (s->transcode_request)
		actor_forget_request(self, s->transcode_request);
	s->transcode_request = 0;
	if (!addr_is_nobody(transcoder)) {
		actor_unmonitor(self, transcoder);
		actor_send(self, transcoder, stop, {.reason = ERR_OK});
	}
}

static struct media_track *add_made_track(struct stream *s, uint8_t codec)
{
	struct media_track *track;

	if (s->st.tracks_count == MEDIA_TRACKS_MAX)
		return NULL;
	track = &s->st.tracks[s->st.tracks_count++];
	*track = (struct media_track){
		.id = STREAM_MADE_TRACK_FIRST,
		.kind = MEDIA_AUDIO,
		.codec = codec,
		.channels = 2,
		.clock_rate = 48000,
	};
	return track;
}

/* The track is there at once, so that a viewer can be answered before the first packet. */
static void announce_made_track(struct stream *s, uint8_t codec)
{
	const struct media_track *track = add_made_track(s, codec);

	if (!track)
		return;
	s->st.transcoded_track = track->id;
	s->st.transcoded_codec = codec;
}

static void start_transcoder(struct actor *self, struct stream *s)
{
	/* streams are spread over the helpers; after a failure another one is tried */
	struct addr office = actor_office_of_many(
		self, OFFICE_TRANSCODE, actor_addr(self).id + s->transcode_failures);
	const struct media_track *source = native_audio(s);

	if (!source || s->transcode_request || !addr_is_nobody(s->st.transcoder))
		return;
	if (actor_now_us(self) < s->transcode_not_before_us) {
		actor_timer_at(self, STREAM_TIMER_TRANSCODE, s->transcode_not_before_us);
		return;
	}
	if (addr_is_nobody(office)) {
		actor_timer_in_ms(self, STREAM_TIMER_TRANSCODE, STREAM_TRANSCODE_RETRY_MS);
		return;
	}
	struct msg_transcode_start start = {
		.stream = actor_addr(self),
		.source = *source,
		.codec = s->st.transcoded_codec,
		.track = s->st.transcoded_track,
	};
	memcpy(start.stream_name, s->st.name, sizeof(start.stream_name));
	s->transcode_request = actor_request_mail(
		self, office, REQUEST_MS, MSG_transcode_start, &schema_transcode_start, &start);
}

/* The origin transcodes once for all workers: it is told what is needed here. The track it will make
 * is known already, and its first viewer must not be answered without. */
static void ask_for_transcoding(struct actor *self, struct stream *s, uint8_t wanted)
{
	if (s->st.transcoded_codec) { /* it was the origin until now */
		stream_stop_transcoder(self, s);
		s->st.transcoded_codec = 0;
		s->st.transcoded_track = 0;
	}
	if (wanted == s->st.transcode_wanted)
		return;
	s->st.transcode_wanted = wanted;
	remove_made_track(s);
	if (wanted)
		add_made_track(s, wanted);
	/* (one that looks for its source says it to whom it finds) */
	if (actor_phase(self) & (STREAM_LIVE | STREAM_JOINING) && !addr_is_nobody(s->st.source))
		stream_join_upstream(self, s);
}

/* True when another track is made than before. */
static bool settle_transcoding(struct actor *self, struct stream *s)
{
	uint8_t wanted = wanted_audio(s);

	if (s->st.replica) {
		ask_for_transcoding(self, s, wanted);
		return false;
	}
	if (wanted == s->st.transcoded_codec) {
		if (wanted)
			start_transcoder(self, s);
		return false;
	}
	stream_stop_transcoder(self, s);
	remove_made_track(s);
	if (wanted) {
		announce_made_track(s, wanted);
		start_transcoder(self, s);
	}
	return wanted;
}

void stream_update_transcoding(struct actor *self, struct stream *s)
{
	if (settle_transcoding(self, s))
		stream_tell_tracks(self, s);
}

void stream_settle_tracks(struct actor *self, struct stream *s)
{
	stream_stop_transcoder(self, s); /* it makes the audio of another track */
	s->st.transcoded_codec = 0;
	s->st.transcoded_track = 0;
	settle_transcoding(self, s);
	stream_tell_tracks(self, s);
}

void stream_transcoder_ready(
	struct actor *self, struct stream *s, const struct msg_transcode_started *started)
{
	struct media_track *track = stream_track(s, s->st.transcoded_track);

	s->transcode_request = 0;
	s->transcoder_since_us = actor_now_us(self);
	s->st.transcoder = started->transcoder;
	actor_monitor(self, started->transcoder);
	if (track && track->id >= STREAM_MADE_TRACK_FIRST && started->track.codec == track->codec) {
		uint8_t id = track->id;

		*track = started->track;
		track->id = id;
		source_map_restart(&s->st.maps[id]);
		stream_tell_tracks(self, s);
	}
}

void stream_transcoder_lost(struct actor *self, struct stream *s)
{
	int64_t now_us = actor_now_us(self);
	int64_t delay_ms;

	if (s->transcoder_since_us &&
		now_us - s->transcoder_since_us >= STREAM_TRANSCODE_STEADY_MS * MS)
		s->transcode_failures = 0;
	delay_ms = (int64_t)STREAM_TRANSCODE_RETRY_MS << s->transcode_failures;
	if (s->transcode_failures < STREAM_TRANSCODE_DOUBLINGS)
		s->transcode_failures++;
	s->transcode_not_before_us = now_us + delay_ms * MS;
	s->transcoder_since_us = 0;
	s->transcode_request = 0;
	s->st.transcoder = (struct addr){0};
	if (s->st.transcoded_codec)
		actor_timer_at(self, STREAM_TIMER_TRANSCODE, s->transcode_not_before_us);
}

/* A helper is there again: the first time at once, for a shorter gap. */
void stream_helper_up(struct actor *self, struct stream *s)
{
	if (s->transcode_failures <= 1)
		s->transcode_not_before_us = 0;
	stream_update_transcoding(self, s);
}

/* ---- a replica reads too ----------------------------------------------------------------------- */

void stream_join_upstream(struct actor *self, struct stream *s)
{
	const struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));
	struct msg_subscribe subscribe = {
		.feed = true,
		.viewer = false,
		.audio = s->st.transcode_wanted,
		.rejoins = log && log->next > 1,
	};

	memcpy(subscribe.stream_name, s->st.name, sizeof(subscribe.stream_name));
	if (s->upstream_request)
		actor_forget_request(self, s->upstream_request);
	s->upstream_request = actor_request_mail(
		self, s->st.source, REQUEST_MS, MSG_subscribe, &schema_subscribe, &subscribe);
}

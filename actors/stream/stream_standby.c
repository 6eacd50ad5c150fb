/* SPDX-License-Identifier: Apache-2.0
 *
 * Publishers that stand by (decision 15): they send what they have, and nothing of it is read until
 * one of them takes over.
 *
 *   publish --the name is taken, and it may--> standing by --source silent, own keyframe--> source
 *                                                 ^   '--source gone-------------------------^ |
 *                                                 '------------silent, another took over------'
 *
 * Owns the list of them in the stream's state. The source is never thrown out for being silent: it
 * becomes the last of those that stand by, and takes over again only when it is needed.
 *
 * Silence is what was listened to: where this process stood still, or another was its predecessor, what
 * both have sent lies unread in sockets, and the first to be read would be the only one who was heard.
 */
#include "actors/stream/stream_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "schemas/names.h"

#include <fnmatch.h>

enum {
	MS = 1000,
	SILENT_DEFAULT_MS = 500,
	GIVEN_UP_DEFAULT_MS = 2000,
	WATCH_MS = 100, /* while somebody stands by the source is looked at so often; … */
	STILL_MS = 250, /* … later than this: the process stood still, and heard nobody */
	AWAKE_MS = 1000 + STILL_MS, /* the same by what a stream does once a second */
};

/* ---- who stands by ----------------------------------------------------------------------------- */

static bool is_configured(struct actor *self, const struct stream *s)
{
	const struct config *config = actor_config(self);
	char pattern[NAME_PATH_SIZE_MAX + 1];
	size_t at = 0;

	while (config && config_list_next(config->stream_standby, &at, pattern, sizeof(pattern)))
		if (!fnmatch(pattern, s->st.name, FNM_PATHNAME))
			return true;
	return false;
}

/* Who has given way to one that stood by finds his name taken when he comes back: beside a source
 * that may stand by, he may. */
bool stream_may_stand_by(
	struct actor *self, const struct stream *s, const struct msg_publish *publish)
{
	if (publish->standby != NAME_STANDBY_UNSAID)
		return publish->standby == NAME_STANDBY_YES;
	return s->st.source_declared || is_configured(self, s);
}

struct publisher *stream_find_standby(struct stream *s, struct addr who)
{
	for (int i = 0; i < s->st.standbys_count; i++)
		if (addr_equal(s->st.standbys[i].who, who))
			return &s->st.standbys[i];
	return NULL;
}

static int find_token(const struct stream *s, const struct msg_publish *publish)
{
	for (int i = 0; publish->resume[0] && i < s->st.standbys_count; i++)
		if (memory_equal(
			    publish->resume, s->st.standbys[i].resume, sizeof(publish->resume)))
			return i;
	return -1;
}

bool stream_resumes_standby(const struct stream *s, const struct msg_publish *publish)
{
	return find_token(s, publish) >= 0;
}

static void remove_standby(struct stream *s, int index)
{
	int after = --s->st.standbys_count - index;

	memmove(&s->st.standbys[index], &s->st.standbys[index + 1],
		(size_t)after * sizeof(s->st.standbys[0]));
	memset(&s->st.standbys[s->st.standbys_count], 0, sizeof(s->st.standbys[0]));
}

static void send_away(struct actor *self, struct stream *s, int index)
{
	actor_unmonitor(self, s->st.standbys[index].who);
	actor_send(self, s->st.standbys[index].who, replaced, {});
	remove_standby(s, index);
}

bool stream_forget_standby(struct actor *self, struct stream *s, struct addr who)
{
	struct publisher *standby = stream_find_standby(s, who);

	if (!standby)
		return false;
	actor_unmonitor(self, who);
	remove_standby(s, (int)(standby - s->st.standbys));
	return true;
}

void stream_dismiss_standbys(struct actor *self, struct stream *s)
{
	while (s->st.standbys_count)
		send_away(self, s, 0);
}

void stream_note_awake(struct actor *self, struct stream *s)
{
	int64_t now_us = actor_now_us(self);

	if (!s->awake_us || now_us - s->awake_us > AWAKE_MS * MS)
		s->awake_from_us = now_us;
	s->awake_us = now_us;
}

int64_t stream_silence_us(struct actor *self, struct stream *s, int64_t last_packet_us)
{
	stream_note_awake(self, s);
	return actor_now_us(self) -
	       (last_packet_us > s->awake_from_us ? last_packet_us : s->awake_from_us);
}

/* Its client may have gone long ago without a word: whose turn it is to make room, or -1. */
static int longest_silent(struct actor *self, struct stream *s)
{
	const struct config *config = actor_config(self);
	int64_t silent_ms = config ? config->stream_publisher_silent_ms : GIVEN_UP_DEFAULT_MS;
	int64_t longest_us = silent_ms * MS;
	int found = -1;

	for (int i = 0; i < s->st.standbys_count; i++) {
		int64_t silence_us = stream_silence_us(self, s, s->st.standbys[i].last_packet_us);

		if (silence_us >= longest_us) {
			longest_us = silence_us;
			found = i;
		}
	}
	return found;
}

enum err stream_stand_by(struct actor *self, struct stream *s, const struct msg_publish *publish)
{
	int leaves = find_token(s, publish);
	struct publisher *standby;

	if (leaves < 0 && s->st.standbys_count == STREAM_STANDBYS_MAX)
		leaves = longest_silent(self, s);
	if (leaves >= 0)
		send_away(self, s, leaves);
	if (s->st.standbys_count == STREAM_STANDBYS_MAX)
		return ERR_BUSY;
	standby = &s->st.standbys[s->st.standbys_count++];
	stream_describe_publisher(self, standby, actor_asker(self).from, publish);
	actor_monitor(self, standby->who);
	stream_watch_source(self, s);
	log_info(actor_log(self), "stream_standby", "stream", s->st.name, "protocol",
		standby->protocol, "standbys", s->st.standbys_count);

	struct msg_published answer = {
		.stream = actor_addr(self), .epoch = s->st.epoch, .standby = true};

	memcpy(answer.resume, standby->resume, sizeof(answer.resume));
	return actor_answer_mail(
		self, actor_asker(self), MSG_published, &schema_published, &answer);
}

static int64_t silent_us(struct actor *self)
{
	const struct config *config = actor_config(self);

	return (config ? config->stream_standby_silent_ms : SILENT_DEFAULT_MS) * MS;
}

/* ---- taking over ------------------------------------------------------------------------------- */

static void describe_source(const struct stream *s, struct publisher *source)
{
	*source = (struct publisher){.who = s->st.source,
		.declared = s->st.source_declared,
		.since_us = s->st.source_since_us,
		.last_packet_us = s->st.last_packet_us};
	memcpy(source->protocol, s->st.protocol, sizeof(source->protocol));
	memcpy(source->subject, s->st.subject, sizeof(source->subject));
	memcpy(source->resume, s->st.resume, sizeof(source->resume));
	for (int i = 0; i < s->st.tracks_count; i++)
		if (s->st.tracks[i].id < STREAM_MADE_TRACK_FIRST)
			source->tracks[source->tracks_count++] = s->st.tracks[i];
}

/* `gone`: the source does not come back; else it stands by in its turn. */
static void take_over(struct actor *self, struct stream *s, int index, bool gone)
{
	struct publisher next = s->st.standbys[index], former;
	int64_t silent_ms = (actor_now_us(self) - s->st.last_packet_us) / MS;

	describe_source(s, &former);
	remove_standby(s, index);
	if (!gone) {
		s->st.standbys[s->st.standbys_count++] = former;
		actor_send(self, former.who, source_role, {.standby = true});
	}
	s->st.switches++;
	s->st.switched_after_ms = (uint32_t)silent_ms;
	log_info(actor_log(self), "stream_switched", "stream", s->st.name, "from", former.protocol,
		"to", next.protocol, "after_ms", silent_ms, "gone", gone);
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_SWITCH, silent_ms * MS);
	stream_set_source(self, s, &next);
	actor_send(self, next.who, source_role, {.standby = false});
}

/* The first that has sent something lately, else the one that sent last. */
static int best_standby(struct actor *self, const struct stream *s)
{
	int best = -1;

	for (int i = 0; i < s->st.standbys_count; i++) {
		const struct publisher *standby = &s->st.standbys[i];

		if (standby->last_packet_us > actor_now_us(self) - silent_us(self))
			return i;
		if (best < 0 || standby->last_packet_us > s->st.standbys[best].last_packet_us)
			best = i;
	}
	return best;
}

bool stream_source_gone(struct actor *self, struct stream *s)
{
	const struct media_track *video;
	int best = best_standby(self, s);

	if (best < 0)
		return false;
	take_over(self, s, best, true);
	video = stream_video_track(s);
	if (video)
		stream_ask_keyframe(self, s, video->id);
	return true;
}

static int64_t source_due_us(struct actor *self, const struct stream *s)
{
	int64_t heard_us = s->st.last_packet_us;

	if (heard_us < s->watched_from_us)
		heard_us = s->watched_from_us;
	return heard_us + silent_us(self);
}

static bool is_silent(struct actor *self, struct stream *s)
{
	int64_t now_us = actor_now_us(self);

	if (now_us - s->watched_us > STILL_MS * MS)
		s->watched_from_us = now_us;
	s->watched_us = now_us;
	return actor_phase(self) == STREAM_LIVE && now_us >= source_due_us(self, s);
}

static void look_again(struct actor *self, const struct stream *s)
{
	int64_t next_us = actor_now_us(self) + WATCH_MS * MS, due_us = source_due_us(self, s);

	if (due_us > actor_now_us(self) && due_us < next_us)
		next_us = due_us;
	actor_timer_at(self, STREAM_TIMER_SILENCE, next_us);
}

void stream_watch_source(struct actor *self, struct stream *s)
{
	if (s->st.standbys_count <= 1) /* nobody stood by before: nobody looked */
		s->watched_us = actor_now_us(self);
	if (s->st.standbys_count)
		look_again(self, s);
	else
		actor_timer_off(self, STREAM_TIMER_SILENCE);
}

void stream_watch_source_anew(struct actor *self, struct stream *s)
{
	s->watched_us = s->watched_from_us = actor_now_us(self);
	stream_watch_source(self, s);
}

/* The source is silent: whoever brings the first keyframe from now on takes over. */
void stream_standby_due(struct actor *self, struct stream *s)
{
	int64_t ask_us = s->standbys_asked_us + KEYFRAME_REQUEST_MS * MS;
	bool silent = is_silent(self, s);

	if (!s->st.standbys_count)
		return;
	look_again(self, s);
	if (!silent || (s->standbys_asked_us && actor_now_us(self) < ask_us))
		return;
	s->standbys_asked_us = actor_now_us(self);
	for (int i = 0; i < s->st.standbys_count; i++)
		for (int j = 0; j < s->st.standbys[i].tracks_count; j++)
			if (s->st.standbys[i].tracks[j].kind == MEDIA_VIDEO)
				actor_send(self, s->st.standbys[i].who, keyframe_request,
					{.track = s->st.standbys[i].tracks[j].id});
}

/* Can it be shown from this packet on? One without a picture from any. */
static bool is_beginning(const struct publisher *standby, const struct media_header *header)
{
	uint8_t first = MEDIA_KEYFRAME | MEDIA_FRAME_START;
	bool has_video = false, of_video = false, known = false;

	for (int i = 0; i < standby->tracks_count; i++) {
		const struct media_track *track = &standby->tracks[i];

		has_video |= track->kind == MEDIA_VIDEO;
		of_video |= track->kind == MEDIA_VIDEO && track->id == header->track;
		known |= track->id == header->track;
	}
	if (has_video)
		return of_video && (header->flags & (first | MEDIA_LATE)) == first;
	return known;
}

size_t stream_standby_media(struct actor *self, struct stream *s, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct publisher *standby = stream_find_standby(s, from);
	bool silent = is_silent(self, s);
	size_t left_out = 0;

	if (!standby) {
		s->st.dropped_not_source += count;
		return count;
	}
	standby->last_packet_us = actor_now_us(self);
	for (; left_out < count; left_out++) {
		const struct packet *packet = arena_packet(actor_arena(self), packets[left_out]);

		if (silent && packet && is_beginning(standby, &packet->header)) {
			take_over(self, s, (int)(standby - s->st.standbys), false);
			break;
		}
	}
	s->st.dropped_standby += left_out;
	return left_out;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection as an RTMP player. The tags are those of the FLV muxer of this worker (flv_mux.h),
 * written straight from the packet pool; the rules for slow viewers are flv_view.h's. All that is
 * RTMP's own are the headers of messages and chunks where a file has those of tags.
 *
 * Answers and tags share the connection: an answer is sent between two tags.
 */
#include "actors/rtmp/rtmp_internal.h"
#include "actors/rtmp/rtmp_reply.h"
#include "runtime/config.h"
#include "runtime/net.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum {
	WRITES_A_TURN = 16,
	OPEN_MS = 5000,
	STUCK_MS = 30000, /* a peer that takes nothing for so long is let go */
	WAIT_MAX_MS = 30000,
};

/* ---- tags as messages ------------------------------------------------------------------------ */

/* Bodies of script, audio and video are the same in both worlds, and so are their types. */
static void make_headers(
	struct chunk_headers *headers, uint32_t stream, uint8_t type, uint32_t time_ms, size_t size)
{
	unsigned chunk_stream = type == FLV_VIDEO ? 6 : type == FLV_AUDIO ? 4 : 5;

	chunk_headers_make(headers, chunk_stream, type, stream, time_ms, (uint32_t)size);
}

static size_t chunk_head(uint32_t channel, const struct flv_tag_view *tag, uint8_t *out)
{
	struct chunk_headers headers;

	make_headers(&headers, channel, tag->type, tag->time_ms, tag->size);
	memcpy(out, headers.first, headers.first_size);
	return headers.first_size;
}

static size_t chunk_between(uint32_t channel, const struct flv_tag_view *tag, uint8_t *out)
{
	struct chunk_headers headers;

	make_headers(&headers, channel, tag->type, tag->time_ms, 0);
	memcpy(out, headers.next, headers.next_size);
	return headers.next_size;
}

/* They are short of a chunk's size. */
static size_t chunk_tags(
	uint32_t channel, const uint8_t *bytes, size_t size, bool begins, uint8_t *out)
{
	struct reader in = reader_of(bytes, size);
	struct flv_tag_view tag;
	size_t used = 0;

	if (begins)
		read_bytes(&in, FLV_FILE_HEADER_SIZE);
	while (flv_read_tag(&in, &tag) == ERR_OK) {
		used += chunk_head(channel, &tag, out + used);
		memcpy(out + used, tag.body, tag.size);
		used += tag.size;
	}
	return used;
}

const struct flv_framing flv_as_chunks = {
	.way = FLV_AS_CHUNKS,
	.headers = chunk_tags,
	.head = chunk_head,
	.between = chunk_between,
	.part_max = RTMP_REPLY_CHUNK_SIZE,
};

_Static_assert((int)CHUNK_FIRST_HEADER_SIZE <= (int)FLV_FRAMING_MAX, "a message's head fits");
/* onMetaData and two configurations: each head is at most a byte longer than a tag's around it */
_Static_assert(CHUNK_FIRST_HEADER_SIZE <= FLV_TAG_HEADER_SIZE + FLV_TAG_TRAILER_SIZE + 1 &&
		       3 <= FLV_FRAMING_LEAD,
	"the headers fit");
_Static_assert((int)RTMP_REPLY_CHUNK_SIZE > (int)FLV_HEADERS_MAX &&
		       (int)RTMP_REPLY_CHUNK_SIZE > (int)MEDIA_PAYLOAD_MAX,
	"one chunk each");
_Static_assert((int)CHUNK_VIDEO == (int)FLV_VIDEO && (int)CHUNK_AUDIO == (int)FLV_AUDIO &&
		       (int)CHUNK_DATA_AMF0 == (int)FLV_SCRIPT,
	"types of messages are types of tags");

/* ---- where the tags are ---------------------------------------------------------------------- */

static struct media_log *log_of(struct actor *self, const struct rtmp_session *s)
{
	return media_log_get(
		actor_arena(self), (struct slot_ref){s->st.log_index, s->st.log_generation});
}

static struct flv_desk *desk_of(struct actor *self, const struct rtmp_session *s)
{
	return arena_get(actor_arena(self), ARENA_BUFFER,
		(struct slot_ref){s->st.work_index, s->st.work_generation});
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* How long ?wait=1 may hold the request; 0: it does not ask for that. */
static uint32_t wait_ms(struct actor *self, const char *query)
{
	const struct config *config = actor_config(self);
	char value[8];

	if (name_query_get(query, strlen(query), "wait", value, sizeof(value)) ||
		strcmp(value, "1") != 0)
		return 0;
	return config ? (uint32_t)config->webrtc_wait_max_ms : WAIT_MAX_MS;
}

void rtmp_play_open(struct actor *self, struct rtmp_session *s)
{
	struct msg_flv_open open = {.wait_ms = wait_ms(self, s->slot->now.server.query)};

	memcpy(open.stream_name, s->st.stream_name, sizeof(open.stream_name));
	s->st.request = actor_request_mail(self, actor_office(self, OFFICE_HTTP),
		open.wait_ms + OPEN_MS, MSG_flv_open, &schema_flv_open, &open);
}

/* False: the player has not said that it can decode this. `text`: for people. */
static bool takes_video(
	const struct rtmp_session *s, const struct flv_work *work, char *text, size_t size)
{
	enum media_codec codec = work->video.codec;

	if (rtmp_server_takes_video(&s->slot->now.server, codec))
		return true;
	snprintf(text, size,
		"The video is %s, which this player has not announced (fourCcList of Enhanced "
		"RTMP); play by HTTP-FLV or WHEP.",
		media_codec_name(codec));
	return false;
}

void rtmp_play_begin(
	struct actor *self, struct rtmp_session *s, const struct msg_flv_opened *opened)
{
	struct rtmp_slot *slot = s->slot;
	struct rtmp_session_state *st = &s->st;
	char text[RTMP_REPLY_TEXT_MAX + 1];

	st->muxer = opened->muxer;
	st->log_index = opened->log_index;
	st->log_generation = opened->log_generation;
	st->work_index = opened->work_index;
	st->work_generation = opened->work_generation;
	actor_monitor(self, opened->muxer);
	const struct flv_desk *desk = desk_of(self, s);

	if (!desk || !log_of(self, s)) {
		rtmp_session_refuse(
			self, s, ERR_NOT_FOUND, "StreamNotFound", "The stream has just ended.");
		return;
	}
	if (!takes_video(s, &desk->work, text, sizeof(text))) {
		rtmp_session_refuse(self, s, ERR_CODEC, "Failed", text);
		return;
	}
	struct writer out = rtmp_session_output(self, s);

	rtmp_server_accept(&slot->now.server, &out, "");
	rtmp_session_wrote(s, &out);
	flv_view_begin(&slot->view, slot->now.server.stream);
	s->blocked = false;
	st->started_us = 0;
	actor_become(self, RTMP_SESSION_PLAYING);
	log_info(actor_log(self), "rtmp_playing", "client", st->client, "stream", st->stream_name);
	rtmp_play_pump(self, s);
}

void rtmp_play_failed(struct actor *self, struct rtmp_session *s, const struct msg_failed *failed)
{
	bool absent = failed->err == ERR_DEAD || failed->err == ERR_NOT_FOUND;

	if (failed->err == ERR_DEAD && !s->retried) {
		/* the muxer ended just now; the next one is another */
		s->retried = true;
		rtmp_play_open(self, s);
	} else if (absent) {
		rtmp_session_refuse(
			self, s, ERR_NOT_FOUND, "StreamNotFound", "Nobody publishes this stream.");
	} else {
		rtmp_session_refuse(self, s, failed->err, "Failed",
			failed->text[0] ? failed->text : err_text(failed->err));
	}
}

/* ---- going on -------------------------------------------------------------------------------- */

static void wait_for_room(struct actor *self, struct rtmp_session *s)
{
	s->blocked = true;
	actor_timer_in_ms(self, RTMP_TIMER_STUCK, STUCK_MS);
}

/* Here the session may end in order: it wants to, or the video is not what it was. */
static void end_between_tags(
	struct actor *self, struct rtmp_session *s, const struct flv_work *work)
{
	char text[RTMP_REPLY_TEXT_MAX + 1];

	if (s->leaving) {
		rtmp_session_goodbye(self, s, s->farewell); /* once: then it plays no more */
		rtmp_session_flush(self, s);
		if (!rtmp_session_owes(s->slot))
			rtmp_session_finish(self, s, ERR_CLOSED, s->farewell);
		else if (s->full)
			wait_for_room(self, s);
	} else if (!takes_video(s, work, text, sizeof(text))) {
		rtmp_session_goodbye(self, s, text);
		rtmp_session_finish(self, s, ERR_CODEC, text);
	}
}

static void note_start(struct actor *self, struct rtmp_session *s)
{
	s->st.started_us = flv_view_started_us(s->asked_us, actor_now_us(self));
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_FIRST_RTMP,
		(int64_t)s->st.started_us);
}

/* One write. False: nothing more can be written now. */
static bool write_tags(struct actor *self, struct rtmp_session *s, const struct media_log *log,
	struct flv_desk *desk)
{
	struct rtmp_slot *slot = s->slot;
	struct flv_batch batch;

	if (!flv_view_is_inside(&slot->view)) {
		rtmp_session_flush(self, s);
		if (!rtmp_session_owes(slot))
			end_between_tags(self, s, &desk->work);
		else if (s->full)
			wait_for_room(self, s);
		if (s->ending || s->blocked || rtmp_session_owes(slot))
			return false;
	}
	flv_view_fill(&slot->view, &flv_as_chunks, actor_arena(self), log, desk, &batch);
	if (!batch.count)
		return false;
	long sent = net_write(self, s->socket, batch.iov, batch.count);

	flv_view_sent(&slot->view, &flv_as_chunks, actor_arena(self), log, &batch,
		sent > 0 ? (size_t)sent : 0);
	if (sent == -2) {
		s->deaf = true;
		rtmp_session_finish(self, s, ERR_CLOSED, "closed by the client");
		return false;
	}
	if (sent > 0) {
		s->st.bytes_out += (uint64_t)sent;
		if (!s->st.started_us)
			note_start(self, s);
		actor_timer_off(self, RTMP_TIMER_STUCK);
	}
	if (sent < (long)batch.bytes)
		wait_for_room(self, s);
	return !s->blocked;
}

void rtmp_play_pump(struct actor *self, struct rtmp_session *s)
{
	const struct media_log *log = log_of(self, s);
	struct flv_desk *desk = desk_of(self, s);

	if (!log || !desk) {
		rtmp_session_finish(self, s, ERR_OK, "the muxer has ended");
		return;
	}
	for (int i = 0; i < WRITES_A_TURN; i++) {
		if (s->ending || s->blocked || !write_tags(self, s, log, desk)) {
			rtmp_session_settle(self, s);
			return;
		}
	}
	rtmp_session_settle(self, s);
	actor_kick(actor_runtime(self), actor_addr(self)); /* others first */
}

bool rtmp_play_resolve(struct actor *self, struct rtmp_session *s, uint64_t size)
{
	const struct media_log *log = log_of(self, s);

	return log && flv_view_resolve(&s->slot->view, &flv_as_chunks, actor_arena(self), log,
			      size) == ERR_OK;
}

void rtmp_play_pause(struct actor *self, struct rtmp_session *s)
{
	if (s->slot->now.server.paused) {
		flv_view_finish(&s->slot->view);
	} else if (!s->leaving) {
		flv_view_resume(&s->slot->view);
		actor_kick(actor_runtime(self), actor_addr(self));
	}
}

void rtmp_play_leave(struct actor *self, struct rtmp_session *s, const char *text)
{
	s->leaving = true;
	s->farewell = text;
	flv_view_finish(&s->slot->view);
	if (!s->blocked)
		rtmp_play_pump(self, s);
}

/* What was sent since it was counted last counts as the stream's. */
static void count_sent(struct actor *self, struct rtmp_session *s)
{
	struct media_log *log = log_of(self, s);

	if (log)
		media_log_count_sent(log, s->st.bytes_out - s->counted_out);
	s->counted_out = s->st.bytes_out;
}

void rtmp_play_report(struct actor *self, struct rtmp_session *s, int64_t span_us)
{
	const struct flv_view *view = &s->slot->view;
	const struct media_log *log = log_of(self, s);
	const struct packet *next =
		log ? media_log_packet(actor_arena(self), log, view->at.position) : NULL;

	if (span_us > 0)
		s->st.bitrate_bps = (uint32_t)((s->st.bytes_out - s->counted_out) * 8 * 1000000 /
					       (uint64_t)span_us);
	count_sent(self, s);
	s->st.tags_dropped = view->at.tags_dropped;
	s->st.lag_us = next ? log->newest_us - next->header.capture_us : 0;
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_LAG_RTMP, s->st.lag_us);
}

/* ---- the end --------------------------------------------------------------------------------- */

void rtmp_play_end(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = arena_get(actor_arena(self), ARENA_BUFFER,
		(struct slot_ref){s->st.slot_index, s->st.slot_generation});

	count_sent(self, s);
	if (!addr_is_nobody(s->st.muxer)) {
		actor_unmonitor(self, s->st.muxer);
		actor_send(self, s->st.muxer, flv_close, {});
	}
	if (slot && flv_view_is_inside(&slot->view))
		flv_view_release(&slot->view, actor_arena(self));
	s->st.muxer = (struct addr){0};
	s->st.log_index = s->st.log_generation = 0;
	s->st.work_index = s->st.work_generation = 0;
	s->st.bitrate_bps = 0;
	s->st.lag_us = 0;
	s->blocked = false;
	actor_timer_off(self, RTMP_TIMER_STUCK);
}

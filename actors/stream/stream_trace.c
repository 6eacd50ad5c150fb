/* SPDX-License-Identifier: Apache-2.0
 *
 * When frames come through here: for a moment, and for whoever asks. All copies of a stream name a frame
 * by its track and capture time, so what several of them say tells how long each hop takes. A stream
 * that nobody traces pays the test of a pointer for each batch of packets.
 */
#include "actors/stream/stream_internal.h"

#include <stdlib.h>

enum { FOR_MS_MAX = 5000 };

struct stream_trace {
	struct asker asker;
	uint8_t track;
	struct msg_stream_traced seen;
};

/* Pictures if there are any: all copies must choose alike. */
static uint8_t chosen_track(const struct stream *s)
{
	const struct media_track *video = stream_video_track(s);

	return video ? video->id : s->st.tracks_count ? s->st.tracks[0].id : 0;
}

enum err stream_begin_trace(struct actor *self, struct stream *s, uint32_t for_ms)
{
	if (s->trace)
		return ERR_BUSY;
	if (!for_ms || for_ms > FOR_MS_MAX)
		return ERR_FORMAT;
	s->trace = calloc(1, sizeof(*s->trace));
	if (!s->trace)
		return ERR_NO_MEMORY;
	s->trace->asker = actor_asker(self);
	s->trace->track = chosen_track(s);
	actor_timer_in_ms(self, STREAM_TIMER_TRACE, for_ms);
	return ERR_OK;
}

void stream_trace_media(
	struct actor *self, struct stream *s, const struct slot_ref *packets, size_t count)
{
	struct msg_stream_traced *seen = &s->trace->seen;

	for (size_t i = 0; i < count && seen->frames_count < STREAM_TRACED_MAX; i++) {
		const struct packet *packet = arena_packet(actor_arena(self), packets[i]);

		if (!packet || packet->header.track != s->trace->track ||
			!(packet->header.flags & MEDIA_FRAME_START))
			continue;
		seen->frames[seen->frames_count++] = (struct traced_frame){
			.capture_us = packet->header.capture_us, .at_us = actor_wall_us(self)};
	}
}

void stream_trace_due(struct actor *self, struct stream *s)
{
	if (!s->trace)
		return;
	s->trace->seen.replica = s->st.replica;
	s->trace->seen.viewers = s->st.viewers;
	actor_answer_mail(
		self, s->trace->asker, MSG_stream_traced, &schema_stream_traced, &s->trace->seen);
	stream_forget_trace(s);
}

void stream_forget_trace(struct stream *s)
{
	free(s->trace);
	s->trace = NULL;
}

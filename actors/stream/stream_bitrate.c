/* SPDX-License-Identifier: Apache-2.0
 *
 * How much of a stream its readers can take, up the tree to its publisher (decision 27). Each reader that
 * can take less than all says so once a second, and is believed for a few seconds; a stream says to its
 * source the most that any of them takes. Nothing of it outlives anybody: who has another source says it
 * to that one.
 */
#include "actors/stream/stream_internal.h"

enum {
	FRESH_US = 5000000, /* what was said counts for so long */
	LEAST_BPS = 300000,
};

/* Of a reader's link: 0 = all, as far as is known. */
static uint32_t carried_bps(struct actor *self, const struct stream *s, struct addr who)
{
	uint32_t permille = actor_media_carries(self, who);
	uint64_t bps = (uint64_t)s->st.bitrate_bps * permille / 1000;

	if (permille == UINT32_MAX || bps > UINT32_MAX || !s->st.bitrate_bps)
		return 0;
	return bps < LEAST_BPS ? LEAST_BPS : (uint32_t)bps;
}

static uint32_t takes(struct actor *self, const struct stream *s, const struct subscriber *reader)
{
	bool fresh = actor_now_us(self) - reader->takes_us < FRESH_US;
	uint32_t said = fresh ? reader->takes_bps : 0;
	uint32_t carried = reader->feed ? carried_bps(self, s, reader->who) : 0;

	return !said || (carried && carried < said) ? carried : said;
}

/* Not a muxer that nobody reads, nor who wants the sound alone. */
static bool shows_pictures(const struct stream *s, const struct subscriber *reader)
{
	const struct media_track *video = stream_video_track(s);

	return video && (reader->viewer || reader->behind || reader->feed) &&
	       (!reader->tracks || reader->tracks >> video->id & 1);
}

/* 0 = all. */
static uint32_t most_taken(struct actor *self, const struct stream *s)
{
	uint32_t most = 0;

	for (int i = 0; i < s->st.subscribers_count; i++) {
		const struct subscriber *reader = &s->st.subscribers[i];
		uint32_t bps = shows_pictures(s, reader) ? takes(self, s, reader) : UINT32_MAX;

		if (!bps)
			return 0;
		if (bps != UINT32_MAX && bps > most)
			most = bps;
	}
	return most;
}

static void say(struct actor *self, struct stream *s, uint32_t most)
{
	s->st.takes_bps = most;
	/* (nothing slows an RTMP encoder down) */
	if (!addr_is_nobody(s->st.source) && (s->st.replica || !strcmp(s->st.protocol, "whip")))
		actor_send(self, s->st.source, bitrate, {.bps = most});
}

void stream_say_bitrate(struct actor *self, struct stream *s)
{
	uint32_t most = actor_phase(self) == STREAM_LIVE ? most_taken(self, s) : 0;

	if (most || s->st.takes_bps)
		say(self, s, most);
}

/* What makes a difference is said at once. */
void stream_hear_bitrate(
	struct actor *self, struct stream *s, struct subscriber *reader, uint32_t bps)
{
	reader->takes_bps = bps;
	reader->takes_us = actor_now_us(self);
	uint32_t most = actor_phase(self) == STREAM_LIVE ? most_taken(self, s) : 0;

	if (!most != !s->st.takes_bps || most < s->st.takes_bps)
		say(self, s, most);
}

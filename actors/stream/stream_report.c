/* SPDX-License-Identifier: Apache-2.0
 *
 * What people see of a stream: rate, frame rate, size of the picture, B-frames; once a second, from
 * what flows, whatever protocol brings it.
 */
#include "actors/stream/payload.h"
#include "actors/stream/stream_internal.h"

enum {
	LOOK_BACK = 48,	     /* packets: a few pictures, of which one is a B-frame if any are */
	KEYFRAME_LOOKS = 16, /* packets of a keyframe until one must have told its size */
};

static bool has_b_frames(struct actor *self, const struct media_log *log)
{
	uint64_t from = log->ready > log->first + LOOK_BACK ? log->ready - LOOK_BACK : log->first;

	for (uint64_t position = from; position < log->ready; position++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, position);

		if (packet && packet->header.flags & MEDIA_B_FRAME)
			return true;
	}
	return false;
}

static void take_frame_rate(struct stream *s, int64_t span_us)
{
	const struct media_track *video = stream_video_track(s);
	uint32_t frame = video ? s->st.maps[video->id].last_frame : 0;
	int32_t more = (int32_t)(frame - s->rate_frame);

	if (span_us > 0)
		s->st.frame_rate_milli =
			more > 0 ? (uint32_t)((uint64_t)more * 1000000000 / (uint64_t)span_us) : 0;
	s->rate_frame = frame;
}

/* WebRTC does not announce the size of its pictures, and changes it at will: keyframes tell. */
static void take_picture_size(struct actor *self, struct stream *s, const struct media_log *log)
{
	const struct media_track *video = stream_video_track(s);
	struct media_track *track = video ? stream_track(s, video->id) : NULL;
	struct payload_inspector inspector;
	struct payload_info info = {0};
	uint64_t end = log->keyframe + KEYFRAME_LOOKS;

	if (!track || !log->keyframe || log->keyframe == s->looked_at)
		return;
	s->looked_at = log->keyframe;
	payload_inspector_init(&inspector, (enum media_codec)track->codec);
	for (uint64_t at = log->keyframe; at < end && at < log->ready && !info.width; at++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, at);

		if (packet && packet->header.track == track->id)
			payload_inspect(&inspector,
				&(struct payload_arrival){.payload = packet->payload,
					.size = packet->header.size,
					.track_seq = packet->header.track_seq,
					.rtp_time = packet->header.rtp_time},
				&info);
	}
	if (info.width && info.height) {
		track->width = info.width;
		track->height = info.height;
	}
}

void stream_report(struct actor *self, struct stream *s)
{
	struct media_log *log = media_log_get(actor_arena(self), stream_log_ref(s));
	int64_t now_us = actor_now_us(self);
	int64_t span_us = now_us - s->rate_since_us;

	if (span_us > 0)
		s->st.bitrate_bps = (uint32_t)(s->rate_bytes * 8 * 1000000 / (uint64_t)span_us);
	take_frame_rate(s, span_us);
	s->rate_bytes = 0;
	s->rate_since_us = now_us;
	if (!log)
		return;
	s->st.bytes_out += media_log_take_sent(log);
	s->st.b_frames = has_b_frames(self, log);
	take_picture_size(self, s, log);
	/* without a free slot no packet comes that would make the log shrink */
	media_log_relieve(actor_arena(self), log);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/rtmp_media.h"

#include <stdio.h>

enum { SPS_SIZE_MIN = 4, H264_SPS = 7, NAL_TYPE_MASK = 31 };

void rtmp_media_init(struct rtmp_media *m)
{
	*m = (struct rtmp_media){.wants_keyframe = 1};
}

static bool is_track_valid(const struct rtmp_media *m, unsigned id)
{
	const struct media_track *t = &m->tracks[id];
	const struct payload_packetiser *p = &m->packetiser[id];

	if (m->has[id] > 1)
		return false;
	if (!m->has[id])
		return true;
	return t->id == id && t->clock_rate > 0 && t->config_size <= MEDIA_CODEC_CONFIG_MAX &&
	       memchr(t->fmtp, 0, sizeof(t->fmtp)) && p->codec == t->codec &&
	       payload_packetiser_is_valid(p);
}

bool rtmp_media_is_valid(const struct rtmp_media *m)
{
	return rtmp_clock_is_valid(&m->clock) && m->wants_keyframe <= 1 &&
	       is_track_valid(m, RTMP_MEDIA_VIDEO) && is_track_valid(m, RTMP_MEDIA_AUDIO);
}

uint16_t rtmp_media_tracks(const struct rtmp_media *m, struct media_track tracks[MEDIA_TRACKS_MAX])
{
	uint16_t count = 0;

	for (unsigned id = 0; id < RTMP_MEDIA_TRACKS_MAX; id++)
		if (m->has[id])
			tracks[count++] = m->tracks[id];
	return count;
}

/* ---- tracks ---------------------------------------------------------------------------------- */

/* What players have to know before they see the stream, in the words of SDP. */
static void describe(const struct codec_config *config, struct media_track *track)
{
	struct reader sets = reader_of(config->sets, config->sets_size);

	if (config->codec == MEDIA_VP9) {
		snprintf(track->fmtp, sizeof(track->fmtp), "profile-id=%u", config->profile);
		return;
	}
	if (config->codec != MEDIA_H264)
		return;
	while (reader_left(&sets) > 0) {
		uint16_t size = read_u16(&sets);
		const uint8_t *sps = read_bytes(&sets, size);

		if (!sps || size < SPS_SIZE_MIN || (sps[0] & NAL_TYPE_MASK) != H264_SPS)
			continue;
		snprintf(track->fmtp, sizeof(track->fmtp),
			"level-asymmetry-allowed=1;packetization-mode=1;"
			"profile-level-id=%02x%02x%02x",
			sps[1], sps[2], sps[3]);
		return;
	}
}

/* Returns whether that is news. */
static bool set_track(struct rtmp_media *m, const struct media_track *track)
{
	unsigned id = track->id;

	if (m->has[id] && !memcmp(&m->tracks[id], track, sizeof(*track)))
		return false;
	m->tracks[id] = *track;
	m->has[id] = 1;
	return true;
}

static void ensure_packetiser(struct rtmp_media *m, unsigned id, enum media_codec codec)
{
	if (m->packetiser[id].codec == codec)
		return;
	payload_packetiser_init(&m->packetiser[id], codec);
	m->has[id] = 0;
	if (id == RTMP_MEDIA_VIDEO)
		m->wants_keyframe = 1;
}

static bool set_video_track(struct rtmp_media *m)
{
	const struct payload_packetiser *p = &m->packetiser[RTMP_MEDIA_VIDEO];
	struct media_track track;

	memset(&track, 0, sizeof(track)); /* compared with memcmp */
	track.id = RTMP_MEDIA_VIDEO;
	track.kind = MEDIA_VIDEO;
	track.codec = p->codec;
	track.clock_rate = RTMP_MEDIA_VIDEO_CLOCK;
	track.width = p->config.width ? p->config.width : m->meta_width;
	track.height = p->config.height ? p->config.height : m->meta_height;
	describe(&p->config, &track);
	return set_track(m, &track);
}

static bool set_audio_track(struct rtmp_media *m, enum media_codec codec, uint8_t channels,
	uint32_t clock_rate, const uint8_t *config, size_t config_size)
{
	struct media_track track;

	memset(&track, 0, sizeof(track));
	track.id = RTMP_MEDIA_AUDIO;
	track.kind = MEDIA_AUDIO;
	track.codec = (uint8_t)codec;
	track.channels = channels > 2 ? 2 : channels;
	track.clock_rate = clock_rate;
	track.config_size = (uint16_t)config_size;
	if (config_size)
		memcpy(track.config, config, config_size);
	return set_track(m, &track);
}

static enum rtmp_media_verdict bad_config(struct rtmp_media *m)
{
	m->count.dropped_bad_config++;
	return RTMP_MEDIA_NOTHING;
}

static enum rtmp_media_verdict start_video(struct rtmp_media *m, const struct flv_video *video)
{
	struct payload_packetiser *p = &m->packetiser[RTMP_MEDIA_VIDEO];

	ensure_packetiser(m, RTMP_MEDIA_VIDEO, video->codec);
	/* VP8 has no record that says more than its keyframes do */
	if (video->codec != MEDIA_VP8 && payload_packetiser_configure(p, video->data, video->size))
		return bad_config(m);
	return set_video_track(m) ? RTMP_MEDIA_TRACKS : RTMP_MEDIA_NOTHING;
}

static enum rtmp_media_verdict start_aac(struct rtmp_media *m, const struct flv_audio *audio)
{
	struct aac_config aac;

	if (audio->size > MEDIA_CODEC_CONFIG_MAX ||
		aac_config_parse(&aac, audio->data, audio->size))
		return bad_config(m);
	m->aac_frame_samples = aac.frame_samples;
	return set_audio_track(
		       m, MEDIA_AAC, aac.channels, aac.sample_rate, audio->data, audio->size)
		       ? RTMP_MEDIA_TRACKS
		       : RTMP_MEDIA_NOTHING;
}

static enum rtmp_media_verdict start_audio(struct rtmp_media *m, const struct flv_audio *audio)
{
	uint8_t channels = 2;
	uint16_t pre_skip;

	ensure_packetiser(m, RTMP_MEDIA_AUDIO, audio->codec);
	if (audio->codec == MEDIA_AAC)
		return start_aac(m, audio);
	if (audio->size &&
		codec_config_parse_opus_head(audio->data, audio->size, &channels, &pre_skip))
		return bad_config(m);
	return set_audio_track(m, MEDIA_OPUS, channels, RTMP_MEDIA_OPUS_CLOCK, NULL, 0)
		       ? RTMP_MEDIA_TRACKS
		       : RTMP_MEDIA_NOTHING;
}

/* ---- frames ---------------------------------------------------------------------------------- */

struct frame_times {
	int64_t presentation_ms;
	uint64_t decode_time;
	uint64_t rtp_time;
};

/* The clock is shared; what is put right here is right for one track only. */
static struct frame_times time_frame(struct rtmp_media *m, enum rtmp_media_track id,
	int64_t time_ms, int32_t composition_ms, int64_t wall_us)
{
	uint64_t rate = m->tracks[id].clock_rate;
	int64_t decode_ms = rtmp_clock_tag(&m->clock, time_ms, wall_us);
	struct frame_times times;

	if (composition_ms > RTMP_MEDIA_COMPOSITION_MS_MAX ||
		composition_ms < -RTMP_MEDIA_COMPOSITION_MS_MAX) {
		m->count.times_far++;
		composition_ms = 0;
	}
	times.presentation_ms = decode_ms + composition_ms;
	times.decode_time = (uint64_t)decode_ms * rate / 1000;
	times.rtp_time = (uint64_t)times.presentation_ms * rate / 1000;
	if (times.decode_time < m->decode_time[id]) {
		m->count.times_backward++;
		times.decode_time = m->decode_time[id];
		if (!composition_ms)
			times.rtp_time = times.decode_time;
	}
	return times;
}

/* AAC frames follow each other without a gap; milliseconds only say so roughly. */
static void snap_audio(struct rtmp_media *m, struct frame_times *times)
{
	uint64_t near = m->tracks[RTMP_MEDIA_AUDIO].clock_rate * RTMP_MEDIA_AUDIO_SNAP_MS / 1000;

	if (!m->aac_frame_samples || m->tracks[RTMP_MEDIA_AUDIO].codec != MEDIA_AAC)
		return;
	if (times->rtp_time + near >= m->audio_next && times->rtp_time <= m->audio_next + near)
		times->rtp_time = times->decode_time = m->audio_next;
	m->audio_next = times->rtp_time + m->aac_frame_samples;
}

static enum rtmp_media_verdict begin_frame(struct rtmp_media *m, enum rtmp_media_track id,
	const uint8_t *data, size_t size, const struct frame_times *times,
	struct rtmp_media_cut *cut)
{
	struct payload_packetiser *p = &m->packetiser[id];
	uint64_t b_frames = p->b_frames, referenced = p->b_frames_referenced;

	m->decode_time[id] = times->decode_time;
	if (payload_cut_begin(&cut->cut, p, data, size, times->rtp_time, MEDIA_PAYLOAD_GOAL)) {
		m->count.dropped_bad_frame++;
		return RTMP_MEDIA_NOTHING;
	}
	if (id == RTMP_MEDIA_VIDEO && m->wants_keyframe) {
		if (!(cut->cut.flags & MEDIA_KEYFRAME)) {
			m->count.dropped_waiting_keyframe++;
			return RTMP_MEDIA_NOTHING;
		}
		m->wants_keyframe = 0;
	}
	m->count.frames[id]++;
	m->count.b_frames += p->b_frames - b_frames;
	m->count.b_frames_referenced += p->b_frames_referenced - referenced;
	if (id == RTMP_MEDIA_VIDEO && (cut->cut.flags & MEDIA_KEYFRAME))
		m->count.keyframes++;
	cut->media = m;
	cut->track = id;
	cut->header = (struct media_header){
		.capture_us = rtmp_clock_capture_us(&m->clock, times->presentation_ms),
		.rtp_time = times->rtp_time,
		.decode_time = times->decode_time,
		.frame = ++m->frame[id],
		.track = (uint8_t)id,
	};
	return RTMP_MEDIA_FRAME;
}

static enum rtmp_media_verdict take_video(struct rtmp_media *m, const struct rtmp_event *event,
	int64_t wall_us, struct rtmp_media_cut *cut)
{
	const struct flv_video *video = &event->video;

	if (video->packet == FLV_SEQUENCE_START)
		return start_video(m, video);
	if (video->packet != FLV_FRAMES)
		return RTMP_MEDIA_NOTHING;
	ensure_packetiser(m, RTMP_MEDIA_VIDEO, video->codec);
	if (!m->has[RTMP_MEDIA_VIDEO] && set_video_track(m))
		return RTMP_MEDIA_TRACKS; /* parameter sets in band, or a codec without a record */
	struct frame_times times =
		time_frame(m, RTMP_MEDIA_VIDEO, event->time_ms, video->composition_ms, wall_us);

	return begin_frame(m, RTMP_MEDIA_VIDEO, video->data, video->size, &times, cut);
}

static enum rtmp_media_verdict take_audio(struct rtmp_media *m, const struct rtmp_event *event,
	int64_t wall_us, struct rtmp_media_cut *cut)
{
	const struct flv_audio *audio = &event->audio;

	if (audio->packet == FLV_SEQUENCE_START)
		return start_audio(m, audio);
	if (audio->packet != FLV_FRAMES)
		return RTMP_MEDIA_NOTHING;
	ensure_packetiser(m, RTMP_MEDIA_AUDIO, audio->codec);
	if (!m->has[RTMP_MEDIA_AUDIO] && audio->codec == MEDIA_AAC) {
		m->count.dropped_no_config++;
		return RTMP_MEDIA_NOTHING;
	}
	if (!m->has[RTMP_MEDIA_AUDIO] &&
		set_audio_track(m, MEDIA_OPUS, 2, RTMP_MEDIA_OPUS_CLOCK, NULL, 0))
		return RTMP_MEDIA_TRACKS;
	struct frame_times times = time_frame(m, RTMP_MEDIA_AUDIO, event->time_ms, 0, wall_us);

	snap_audio(m, &times);
	return begin_frame(m, RTMP_MEDIA_AUDIO, audio->data, audio->size, &times, cut);
}

static enum rtmp_media_verdict take_metadata(struct rtmp_media *m, const struct flv_metadata *meta)
{
	m->meta_width = meta->width <= UINT16_MAX ? (uint16_t)meta->width : 0;
	m->meta_height = meta->height <= UINT16_MAX ? (uint16_t)meta->height : 0;
	return m->has[RTMP_MEDIA_VIDEO] && set_video_track(m) ? RTMP_MEDIA_TRACKS
							      : RTMP_MEDIA_NOTHING;
}

enum rtmp_media_verdict rtmp_media_take(struct rtmp_media *m, const struct rtmp_event *event,
	int64_t wall_us, struct rtmp_media_cut *cut)
{
	switch (event->type) {
	case RTMP_EVENT_VIDEO: return take_video(m, event, wall_us, cut);
	case RTMP_EVENT_AUDIO: return take_audio(m, event, wall_us, cut);
	case RTMP_EVENT_METADATA: return take_metadata(m, &event->metadata);
	default: return RTMP_MEDIA_NOTHING;
	}
}

bool rtmp_media_next(
	struct rtmp_media_cut *cut, struct media_header *header, uint8_t payload[MEDIA_PAYLOAD_MAX])
{
	struct rtmp_media *m = cut->media;
	struct payload_packet packet;

	if (!payload_cut_next(&cut->cut, payload, MEDIA_PAYLOAD_MAX, &packet))
		return false;
	*header = cut->header;
	header->track_seq = ++m->seq[cut->track];
	header->size = packet.size;
	header->flags = packet.flags;
	header->priority = packet.priority;
	m->count.packets[cut->track]++;
	m->count.bytes[cut->track] += packet.size;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/rtmp_media.h"
#include "tests/test.h"
#include "tests/unit/stream_samples.h"

#include <stdlib.h>

#define WALL INT64_C(1790000000000000)

enum { PACKETS_MAX = 256 };

static struct rtmp_media media;
static struct sample sample;
static struct media_header packets[PACKETS_MAX];
static size_t packet_count;

static void begin(const char *name)
{
	rtmp_media_init(&media);
	packet_count = 0;
	if (name)
		sample_load(&sample, name);
}

static struct rtmp_event video_event(enum media_codec codec, enum flv_packet packet,
	const uint8_t *data, size_t size, int64_t time_ms)
{
	return (struct rtmp_event){
		.type = RTMP_EVENT_VIDEO,
		.time_ms = time_ms,
		.video = {.codec = codec, .packet = packet, .data = data, .size = size},
	};
}

static struct rtmp_event audio_event(enum media_codec codec, enum flv_packet packet,
	const uint8_t *data, size_t size, int64_t time_ms)
{
	return (struct rtmp_event){
		.type = RTMP_EVENT_AUDIO,
		.time_ms = time_ms,
		.audio = {.codec = codec, .packet = packet, .data = data, .size = size},
	};
}

/* As the session does: a change of tracks is told, then the event is taken again. */
static enum rtmp_media_verdict take(const struct rtmp_event *event, int64_t wall_us)
{
	struct rtmp_media_cut cut;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
	enum rtmp_media_verdict verdict = rtmp_media_take(&media, event, wall_us, &cut);

	CHECK(rtmp_media_is_valid(&media));
	if (verdict != RTMP_MEDIA_FRAME)
		return verdict;
	while (packet_count < PACKETS_MAX &&
		rtmp_media_next(&cut, &packets[packet_count], payload)) {
		CHECK(packets[packet_count].size > 0);
		packet_count++;
	}
	return verdict;
}

/* clang-format off */
static const struct {
	const char *name;
	enum media_codec codec;
	bool has_record;
} video_rows[] = {
	{"h264_plain", MEDIA_H264, true},
	{"h264_b",     MEDIA_H264, true},
	{"h265",       MEDIA_H265, true},
	{"av1",        MEDIA_AV1,  true},
	{"vp9",        MEDIA_VP9,  true},
	{"vp8",        MEDIA_VP8,  false},
};
/* clang-format on */

static void check_packets(void)
{
	for (size_t i = 0; i < packet_count; i++) {
		const struct media_header *p = &packets[i];
		bool starts = i == 0 || packets[i - 1].frame != p->frame;
		bool ends = i + 1 == packet_count || packets[i + 1].frame != p->frame;

		CHECK_EQ(p->track_seq, i + 1);
		CHECK_EQ(!!(p->flags & MEDIA_FRAME_START), starts);
		CHECK_EQ(!!(p->flags & MEDIA_FRAME_END), ends);
		/* one mapping: presentation and capture time tell the same */
		CHECK_EQ(p->capture_us - WALL,
			(int64_t)(p->rtp_time / 90 - RTMP_CLOCK_ORIGIN_MS) * 1000);
		if (!starts)
			CHECK_EQ(p->rtp_time, packets[i - 1].rtp_time);
		else if (i > 0)
			CHECK(p->decode_time > packets[i - 1].decode_time);
	}
	CHECK(packets[0].flags & MEDIA_KEYFRAME);
}

TEST(video_of_every_codec_becomes_packets)
{
	for (size_t row = 0; row < sizeof(video_rows) / sizeof(video_rows[0]); row++) {
		enum media_codec codec = video_rows[row].codec;
		struct rtmp_event event;

		begin(video_rows[row].name);
		if (video_rows[row].has_record) {
			event = video_event(
				codec, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
			CHECK_EQ(take(&event, WALL), RTMP_MEDIA_TRACKS);
			CHECK_EQ(take(&event, WALL), RTMP_MEDIA_NOTHING);
			CHECK_EQ(media.tracks[RTMP_MEDIA_VIDEO].codec, codec);
			if (codec != MEDIA_VP9) /* vpcC does not say */
				CHECK_EQ(media.tracks[RTMP_MEDIA_VIDEO].width, 128);
		}
		for (int i = 0; i < sample.count; i++) {
			event = video_event(codec, FLV_FRAMES, sample.frames[i].data,
				sample.frames[i].size, i * 40);
			enum rtmp_media_verdict verdict = take(&event, WALL + i * 40000);

			if (i == 0 && !video_rows[row].has_record) {
				CHECK_EQ(verdict, RTMP_MEDIA_TRACKS);
				verdict = take(&event, WALL);
			}
			CHECK_EQ(verdict, RTMP_MEDIA_FRAME);
		}
		CHECK_EQ(media.count.frames[RTMP_MEDIA_VIDEO], sample.count);
		CHECK_EQ(media.count.packets[RTMP_MEDIA_VIDEO], packet_count);
		check_packets();
	}
}

TEST(h264_track_says_its_profile)
{
	begin("h264_plain");
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	struct media_track tracks[MEDIA_TRACKS_MAX];
	char expected[32];

	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_TRACKS);
	CHECK_EQ(rtmp_media_tracks(&media, tracks), 1);
	/* avcC begins with version, profile, constraints, level */
	snprintf(expected, sizeof(expected), "profile-level-id=%02x%02x%02x", sample.record[1],
		sample.record[2], sample.record[3]);
	CHECK(strstr(tracks[0].fmtp, expected) != NULL);
	CHECK(strstr(tracks[0].fmtp, "packetization-mode=1") != NULL);
}

TEST(composition_times_are_presentation_times)
{
	begin("h264_b");
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);

	take(&event, WALL);
	event = video_event(
		MEDIA_H264, FLV_FRAMES, sample.frames[0].data, sample.frames[0].size, 1000);
	event.video.composition_ms = 80;
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
	CHECK_EQ(packets[0].rtp_time - packets[0].decode_time, 80 * 90);
	CHECK_EQ(packets[0].capture_us, WALL + 80000);
	/* 24 bits of milliseconds could be hours */
	event.time_ms = 1040;
	event.video.composition_ms = 8000000;
	packet_count = 0;
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
	CHECK_EQ(packets[0].rtp_time, packets[0].decode_time);
	CHECK_EQ(media.count.times_far, 1);
}

TEST(decoding_time_of_a_track_never_falls)
{
	begin("h264_plain");
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);

	take(&event, WALL);
	for (int i = 0; i < 3; i++) {
		static const int64_t times[] = {100, 60, 140};

		event = video_event(MEDIA_H264, FLV_FRAMES, sample.frames[0].data,
			sample.frames[0].size, times[i]);
		packet_count = 0;
		CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
		CHECK_EQ(packets[0].decode_time,
			(RTMP_CLOCK_ORIGIN_MS + (i == 2 ? 40 : 0)) * UINT64_C(90));
	}
	CHECK_EQ(media.count.times_backward, 1);
}

TEST(nothing_goes_out_before_a_keyframe)
{
	begin("h264_plain");
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);

	take(&event, WALL);
	event = video_event(
		MEDIA_H264, FLV_FRAMES, sample.frames[1].data, sample.frames[1].size, 0);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_NOTHING);
	CHECK_EQ(media.count.dropped_waiting_keyframe, 1);
	event = video_event(
		MEDIA_H264, FLV_FRAMES, sample.frames[0].data, sample.frames[0].size, 40);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
	CHECK_EQ(packets[0].track_seq, 1);
	CHECK_EQ(packets[0].frame, 1);
}

TEST(a_new_codec_is_a_new_track_that_begins_with_a_keyframe)
{
	begin("h264_plain");
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);

	take(&event, WALL);
	event = video_event(
		MEDIA_H264, FLV_FRAMES, sample.frames[0].data, sample.frames[0].size, 0);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
	uint64_t last_seq = packets[packet_count - 1].track_seq;

	sample_load(&sample, "h265");
	event = video_event(MEDIA_H265, FLV_SEQUENCE_START, sample.record, sample.record_size, 40);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_TRACKS);
	CHECK_EQ(media.wants_keyframe, 1);
	event = video_event(
		MEDIA_H265, FLV_FRAMES, sample.frames[0].data, sample.frames[0].size, 40);
	packet_count = 0;
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
	CHECK_EQ(packets[0].track_seq, last_seq + 1);
}

TEST(aac_is_continuous_though_milliseconds_are_coarse)
{
	begin("aac");
	struct rtmp_event event =
		audio_event(MEDIA_AAC, FLV_FRAMES, sample.frames[0].data, sample.frames[0].size, 0);

	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_NOTHING);
	CHECK_EQ(media.count.dropped_no_config, 1);
	event = audio_event(MEDIA_AAC, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_TRACKS);
	CHECK_EQ(media.tracks[RTMP_MEDIA_AUDIO].clock_rate, 48000);
	CHECK_EQ(media.tracks[RTMP_MEDIA_AUDIO].config_size, sample.record_size);
	for (int i = 0; i < 100; i++) {
		const size_t at = (size_t)i % (size_t)sample.count;

		event = audio_event(MEDIA_AAC, FLV_FRAMES, sample.frames[at].data,
			sample.frames[at].size, i * 1024 * 1000 / 48000);
		CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
		CHECK_EQ(packets[i].rtp_time, RTMP_CLOCK_ORIGIN_MS * UINT64_C(48) + i * 1024u);
		CHECK_EQ(packets[i].priority, MEDIA_PRIORITY_AUDIO);
	}
	/* a real gap stays one */
	event.time_ms += 500;
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
	CHECK(packets[100].rtp_time - packets[99].rtp_time > 490 * 48);
}

TEST(opus_needs_no_record)
{
	begin("opus");
	struct rtmp_event event = audio_event(
		MEDIA_OPUS, FLV_FRAMES, sample.frames[0].data, sample.frames[0].size, 0);

	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_TRACKS);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_FRAME);
	CHECK_EQ(media.tracks[RTMP_MEDIA_AUDIO].clock_rate, 48000);
	event = audio_event(MEDIA_OPUS, FLV_SEQUENCE_START, (const uint8_t *)"rubbish", 7, 0);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_NOTHING);
	CHECK_EQ(media.count.dropped_bad_config, 1);
}

TEST(bad_records_and_frames_are_counted)
{
	static const uint8_t rubbish[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

	begin(NULL);
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, rubbish, sizeof(rubbish), 0);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_NOTHING);
	event = audio_event(MEDIA_AAC, FLV_SEQUENCE_START, rubbish, 1, 0);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_NOTHING);
	CHECK_EQ(media.count.dropped_bad_config, 2);
	event = video_event(MEDIA_H264, FLV_FRAMES, rubbish, sizeof(rubbish), 0);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_TRACKS);
	CHECK_EQ(take(&event, WALL), RTMP_MEDIA_NOTHING);
	CHECK_EQ(media.count.dropped_bad_frame, 1);
	CHECK_EQ(packet_count, 0);
}

TEST(b_frames_that_others_need_are_seen)
{
	begin("h264_pyramid");
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);

	take(&event, WALL);
	for (int i = 0; i < sample.count; i++) {
		event = video_event(MEDIA_H264, FLV_FRAMES, sample.frames[i].data,
			sample.frames[i].size, i * 40);
		/* the sample's presentation times are frames apart, see its README */
		event.video.composition_ms =
			(sample.frames[i].time - sample.frames[0].time) - i * 40 + 160;
		take(&event, WALL);
	}
	CHECK(media.count.b_frames > 0);
	CHECK(media.count.b_frames_referenced > 0);
}

TEST(hostile_state_is_seen)
{
	begin("h264_plain");
	struct rtmp_event event =
		video_event(MEDIA_H264, FLV_SEQUENCE_START, sample.record, sample.record_size, 0);

	take(&event, WALL);
	media.tracks[RTMP_MEDIA_VIDEO].clock_rate = 0;
	CHECK(!rtmp_media_is_valid(&media));
	begin(NULL);
	media.has[RTMP_MEDIA_AUDIO] = 1;
	CHECK(!rtmp_media_is_valid(&media));
}

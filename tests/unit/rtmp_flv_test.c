/* SPDX-License-Identifier: Apache-2.0
 *
 * FLV: tag bodies as classic FLV and Enhanced RTMP lay them out, what we write against what we
 * read, framing byte by byte, metadata, timestamps that wrap.
 */
#include "tests/test.h"

#include "actors/rtmp/flv.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

enum { KEY = 1, DISCARD = 2 };

static const struct {
	const uint8_t *body;
	size_t size;
	enum err err;
	enum media_codec codec;
	enum flv_packet packet;
	unsigned flags;
	int32_t composition_ms;
	size_t data_size;
	bool canonical; /* we write the same header */
} video_rows[] = {
	/* clang-format off */
	{BYTES("\x17\x00\0\0\0\x01\x64"), ERR_OK, MEDIA_H264, FLV_SEQUENCE_START, KEY, 0, 2, true},
	{BYTES("\x17\x01\0\0\x50..."), ERR_OK, MEDIA_H264, FLV_FRAMES, KEY, 80, 3, true},
	{BYTES("\x27\x01\xff\xff\xd8."), ERR_OK, MEDIA_H264, FLV_FRAMES, 0, -40, 1, true},
	{BYTES("\x37\x01\0\0\0."), ERR_OK, MEDIA_H264, FLV_FRAMES, DISCARD, 0, 1, false},
	{BYTES("\x17\x02\0\0\0"), ERR_OK, MEDIA_H264, FLV_SEQUENCE_END, KEY, 0, 0, true},
	{BYTES("\x17\x02"), ERR_OK, MEDIA_H264, FLV_SEQUENCE_END, KEY, 0, 0, false},
	{BYTES("\x57\x00"), ERR_OK, MEDIA_CODEC_NONE, FLV_OTHER, 0, 0, 1, false},
	{BYTES("\x1c\x01\0\0\x10."), ERR_OK, MEDIA_H265, FLV_FRAMES, KEY, 16, 1, false},
	{BYTES("\x90hvc1\x01\x02"), ERR_OK, MEDIA_H265, FLV_SEQUENCE_START, KEY, 0, 2, true},
	{BYTES("\x91hvc1\0\0\x50."), ERR_OK, MEDIA_H265, FLV_FRAMES, KEY, 80, 1, true},
	{BYTES("\xa1hvc1\xff\xff\xff."), ERR_OK, MEDIA_H265, FLV_FRAMES, 0, -1, 1, true},
	{BYTES("\xa3hvc1."), ERR_OK, MEDIA_H265, FLV_FRAMES, 0, 0, 1, true},
	{BYTES("\xb3hvc1."), ERR_OK, MEDIA_H265, FLV_FRAMES, DISCARD, 0, 1, true},
	{BYTES("\x92hvc1"), ERR_OK, MEDIA_H265, FLV_SEQUENCE_END, KEY, 0, 0, true},
	{BYTES("\x94hvc1\x02\0\x01x"), ERR_OK, MEDIA_H265, FLV_OTHER, KEY, 0, 4, false},
	{BYTES("\x90" "av01\x81"), ERR_OK, MEDIA_AV1, FLV_SEQUENCE_START, KEY, 0, 1, true},
	{BYTES("\xa1" "av01\0\0\0"), ERR_OK, MEDIA_AV1, FLV_FRAMES, 0, 0, 3, true},
	{BYTES("\x91vp09\x82"), ERR_OK, MEDIA_VP9, FLV_FRAMES, KEY, 0, 1, true},
	{BYTES("\xa1vp08\x30"), ERR_OK, MEDIA_VP8, FLV_FRAMES, 0, 0, 1, true},
	{BYTES("\x91" "avc1\0\0\x28."), ERR_OK, MEDIA_H264, FLV_FRAMES, KEY, 40, 1, false},
	{BYTES("\x93" "avc1."), ERR_OK, MEDIA_H264, FLV_FRAMES, KEY, 0, 1, false},
	{BYTES("\xd0\x00"), ERR_OK, MEDIA_CODEC_NONE, FLV_OTHER, 0, 0, 1, false},
	/* ModEx: three bytes of nanoseconds, then coded frames; two in a row; a long one cut
	 * short */
	{BYTES("\x97\x02\0\0\x09\x01hvc1\0\0\0."), ERR_OK, MEDIA_H265, FLV_FRAMES, KEY, 0, 1,
	 false},
	{BYTES("\x97\x00\0\x07\x00\0\x01" "av01."), ERR_OK, MEDIA_AV1, FLV_FRAMES, KEY, 0, 1,
	 false},
	{BYTES("\x97\xff\xff\xff."), ERR_FORMAT},
	{BYTES("\x97\x02\0\0\x09"), ERR_FORMAT},
	/* multitrack, unknown packet types and codecs, cut short */
	{BYTES("\x96\x01hvc1"), ERR_UNSUPPORTED},
	{BYTES("\x95hvc1"), ERR_UNSUPPORTED},
	{BYTES("\x98hvc1"), ERR_UNSUPPORTED},
	{BYTES("\x17\x03\0\0\0"), ERR_UNSUPPORTED},
	{BYTES("\x12."), ERR_CODEC},
	{BYTES("\x14."), ERR_CODEC},
	{BYTES("\x90vvc1"), ERR_CODEC},
	{BYTES("\x90hvc"), ERR_FORMAT},
	{BYTES("\x90"), ERR_FORMAT},
	{BYTES("\x91hvc1\0\0"), ERR_FORMAT},
	{BYTES("\x17\x01\0\0"), ERR_FORMAT},
	{BYTES("\x17"), ERR_FORMAT},
	{BYTES(""), ERR_FORMAT},
	/* clang-format on */
};

TEST(video_bodies)
{
	for (size_t i = 0; i < sizeof(video_rows) / sizeof(video_rows[0]); i++) {
		struct flv_video v;
		uint8_t header[FLV_BODY_HEADER_MAX];

		CHECK_EQ(flv_video_parse(video_rows[i].body, video_rows[i].size, &v),
			video_rows[i].err);
		if (video_rows[i].err)
			continue;
		CHECK_EQ(v.codec, video_rows[i].codec);
		CHECK_EQ(v.packet, video_rows[i].packet);
		CHECK_EQ(v.keyframe, (video_rows[i].flags & KEY) != 0);
		CHECK_EQ(v.discardable, (video_rows[i].flags & DISCARD) != 0);
		CHECK_EQ(v.composition_ms, video_rows[i].composition_ms);
		CHECK_EQ(v.size, video_rows[i].data_size);
		CHECK(v.data + v.size == video_rows[i].body + video_rows[i].size);
		if (video_rows[i].canonical) {
			CHECK_EQ(flv_video_header(&v, header), video_rows[i].size - v.size);
			CHECK_MEM(header, video_rows[i].body, video_rows[i].size - v.size);
		}
	}
}

static const struct {
	const uint8_t *body;
	size_t size;
	enum err err;
	enum media_codec codec;
	enum flv_packet packet;
	size_t data_size;
	bool canonical;
} audio_rows[] = {
	/* clang-format off */
	{BYTES("\xaf\x00\x12\x10"), ERR_OK, MEDIA_AAC, FLV_SEQUENCE_START, 2, true},
	{BYTES("\xaf\x01\x21."), ERR_OK, MEDIA_AAC, FLV_FRAMES, 2, true},
	{BYTES("\xae\x01."), ERR_OK, MEDIA_AAC, FLV_FRAMES, 1, false},
	{BYTES("\x90OpusOpusHead"), ERR_OK, MEDIA_OPUS, FLV_SEQUENCE_START, 8, true},
	{BYTES("\x91Opus\xfc"), ERR_OK, MEDIA_OPUS, FLV_FRAMES, 1, true},
	{BYTES("\x92Opus"), ERR_OK, MEDIA_OPUS, FLV_SEQUENCE_END, 0, true},
	{BYTES("\x92mp4a"), ERR_OK, MEDIA_AAC, FLV_SEQUENCE_END, 0, true},
	{BYTES("\x91mp4a."), ERR_OK, MEDIA_AAC, FLV_FRAMES, 1, false},
	{BYTES("\x94Opus\x01\x02"), ERR_OK, MEDIA_OPUS, FLV_OTHER, 2, false},
	{BYTES("\x97\x00.\x01Opus\xfc"), ERR_OK, MEDIA_OPUS, FLV_FRAMES, 1, false},
	{BYTES("\x95Opus"), ERR_UNSUPPORTED},
	{BYTES("\x93Opus"), ERR_UNSUPPORTED},
	{BYTES("\xaf\x02"), ERR_UNSUPPORTED},
	{BYTES("\x2f."), ERR_CODEC},
	{BYTES("\x7f."), ERR_CODEC},
	{BYTES("\x90" "ac-3"), ERR_CODEC},
	{BYTES("\x90Opu"), ERR_FORMAT},
	{BYTES("\xaf"), ERR_FORMAT},
	{BYTES(""), ERR_FORMAT},
	/* clang-format on */
};

TEST(audio_bodies)
{
	for (size_t i = 0; i < sizeof(audio_rows) / sizeof(audio_rows[0]); i++) {
		struct flv_audio a;
		uint8_t header[FLV_BODY_HEADER_MAX];

		CHECK_EQ(flv_audio_parse(audio_rows[i].body, audio_rows[i].size, &a),
			audio_rows[i].err);
		if (audio_rows[i].err)
			continue;
		CHECK_EQ(a.codec, audio_rows[i].codec);
		CHECK_EQ(a.packet, audio_rows[i].packet);
		CHECK_EQ(a.size, audio_rows[i].data_size);
		if (audio_rows[i].canonical) {
			CHECK_EQ(flv_audio_header(&a, header), audio_rows[i].size - a.size);
			CHECK_MEM(header, audio_rows[i].body, audio_rows[i].size - a.size);
		}
	}
}

/* A file of one H.264 tag at 0x01020304 ms, every byte as the specification wants it. */
static const uint8_t file[] = {
	/* clang-format off */
	'F', 'L', 'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0,
	9, 0, 0, 8, 0x02, 0x03, 0x04, 0x01, 0, 0, 0,
	0x17, 1, 0, 0, 40, 'a', 'b', 'c', 0, 0, 0, 19,
	/* clang-format on */
};

TEST(a_file_is_framed_byte_by_byte)
{
	struct flv_video v = {
		.codec = MEDIA_H264, .packet = FLV_FRAMES, .keyframe = true, .composition_ms = 40};
	uint8_t header[FLV_BODY_HEADER_MAX], bytes[sizeof(file)];
	struct writer w = writer_of(bytes, sizeof(bytes));
	struct flv_tag tag;
	struct flv_tag_view view;

	flv_file_header(write_reserve(&w, FLV_FILE_HEADER_SIZE), true, true);
	flv_tag_make(&tag, FLV_VIDEO, 0x01020304, header, flv_video_header(&v, header), 3);
	write_bytes(&w, tag.head, tag.head_size);
	write_bytes(&w, "abc", 3);
	write_bytes(&w, tag.tail, sizeof(tag.tail));
	CHECK_EQ(writer_used(&w), sizeof(file));
	CHECK(!w.bad);
	CHECK_MEM(bytes, file, sizeof(file));

	for (size_t cut = 0; cut < sizeof(file); cut++) {
		struct reader in = reader_of(file, cut);
		CHECK_EQ(flv_read_file_header(&in), cut < 13 ? ERR_AGAIN : ERR_OK);
		if (cut < 13)
			CHECK_EQ(reader_left(&in), cut);
		else
			CHECK_EQ(flv_read_tag(&in, &view), ERR_AGAIN);
	}
	struct reader in = reader_of(file, sizeof(file));
	CHECK_OK(flv_read_file_header(&in));
	CHECK_OK(flv_read_tag(&in, &view));
	CHECK_EQ(view.type, FLV_VIDEO);
	CHECK_EQ(view.time_ms, 0x01020304);
	CHECK_EQ(view.size, 8);
	CHECK_EQ(reader_left(&in), 0);

	static const struct {
		size_t offset;
		uint8_t value;
	} breaks[] = {
	/* clang-format off */
		{0, 'G'},
		  {8, 8},
		  {12, 1},
		   {13, 0x29},
		       {35, 18}
	/* clang-format on */
	};
	for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		memcpy(bytes, file, sizeof(file));
		bytes[breaks[i].offset] = breaks[i].value;
		in = reader_of(bytes, sizeof(bytes));
		enum err err = flv_read_file_header(&in);
		CHECK_EQ(err ? err : flv_read_tag(&in, &view), ERR_FORMAT);
	}
}

TEST(metadata_is_written_and_read)
{
	static const struct flv_metadata rows[] = {
	/* clang-format off */
		{0},
		{.width = 1920,
			.height = 1080,
			.frame_rate_milli = 29970,
			.video_codec = MEDIA_H264,
			.audio_codec = MEDIA_AAC,
			.sample_rate = 48000,
			.channels = 2,
			.video_rate_bps = 2500000,
			.audio_rate_bps = 128000,
			.encoder = "Millrace"},
		{.video_codec = MEDIA_H265, .audio_codec = MEDIA_OPUS, .channels = 1},
		{.video_codec = MEDIA_AV1},
	/* clang-format on */
	};
	uint8_t body[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct writer w = writer_of(body, sizeof(body));
		struct flv_metadata m;

		flv_metadata_write(&w, &rows[i]);
		CHECK(!w.bad);
		CHECK_OK(flv_metadata_parse(body, writer_used(&w), &m));
		CHECK_MEM(&m, &rows[i], sizeof(m));
		/* cut anywhere: never more than an error; at the end the array's end may lack */
		for (size_t cut = 0; cut < writer_used(&w); cut++) {
			enum err err = flv_metadata_parse(body, cut, &m);
			CHECK(err == ERR_FORMAT || err == ERR_OK);
		}
	}
}

TEST(metadata_of_others)
{
	static const struct {
		const uint8_t *body;
		size_t size;
		enum err err;
		uint32_t width;
		uint8_t video_codec, channels;
	} rows[] = {
	/* clang-format off */
		{BYTES("\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x03"
			"\0\x05width\x00\x40\x84\0\0\0\0\0\0"
			"\0\x0cvideocodecid\x02\0\x04hvc1"
			"\0\x06stereo\x01\x01\0\0\x09"), ERR_OK, 640, MEDIA_H265, 2},
		/* hvc1 as a number; a width that is none */
		{BYTES("\x02\0\x0aonMetaData\x08\0\0\0\0"
			"\0\x05width\x00\x7f\xf8\0\0\0\0\0\0"
			"\0\x0cvideocodecid\x00\x41\xda\x1d\x98\xcc\x40\0\0\0\0\x09"),
			ERR_OK, 0, MEDIA_H265, 0},
		{BYTES("\x02\0\x0aonMetaData\x08\0\0\0\0"
			"\0\x05width\x02\0\x03" "640"
			"\0\x0cvideocodecid\x00\x40\0\0\0\0\0\0\0\0\0\x09"),
			ERR_OK, 0, MEDIA_CODEC_NONE, 0},
		{BYTES("\x02\0\x0aonMetaData"), ERR_OK, 0, 0, 0},
		{BYTES("\x02\0\x0aonCuePoint\x03\0\0\x09"), ERR_NOT_FOUND, 0, 0, 0},
		{BYTES("\x05"), ERR_NOT_FOUND, 0, 0, 0},
		{BYTES("\x02\0\x0d@setDataFrame"), ERR_FORMAT, 0, 0, 0},
		{BYTES(""), ERR_FORMAT, 0, 0, 0},
		{BYTES("\x11"), ERR_UNSUPPORTED, 0, 0, 0},
	/* clang-format on */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct flv_metadata m;

		CHECK_EQ(flv_metadata_parse(rows[i].body, rows[i].size, &m), rows[i].err);
		CHECK_EQ(m.width, rows[i].width);
		CHECK_EQ(m.video_codec, rows[i].video_codec);
		CHECK_EQ(m.channels, rows[i].channels);
	}
}

TEST(timestamps_unwrap)
{
	static const struct {
		int64_t last;
		uint32_t time;
		int64_t expected;
	} rows[] = {
	/* clang-format off */
		{0, 40, 40},
		{1000, 960, 960},
		{0xfffffff0, 0x10, INT64_C(0x100000010)},
		{INT64_C(0x100000010), 0xfffffff0, 0xfffffff0},
		{INT64_C(0x3fffffff0), 0, INT64_C(0x400000000)},
		{0, 0xffffffff, -1},
	/* clang-format on */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK(flv_time_unwrap(rows[i].last, rows[i].time) == rows[i].expected);
}

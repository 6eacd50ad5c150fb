/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration records: real ones read and written back, rows of wrong ones, every truncation.
 */
#include "actors/stream/codec_config.h"
#include "actors/stream/obu.h"
#include "actors/stream/vp9.h"
#include "tests/unit/stream_samples.h"

static struct sample sample;

static const struct {
	const char *name;
	enum media_codec codec;
	uint16_t width, height;
	int reorder_frames;
	bool same_bytes; /* what we write is what was read, but for hints that we do not keep */
} records[] = {
	{"h264_plain",   MEDIA_H264, 128, 96, 0,  true },
	{"h264_b",	   MEDIA_H264, 128, 96, 1,  true },
	{"h264_pyramid", MEDIA_H264, 128, 96, 2,	 true },
	{"h264_crop",    MEDIA_H264, 98,  54, 2,  true },
	{"h265",	 MEDIA_H265, 128, 96, -1, false},
	{"av1",		MEDIA_AV1,  128, 96, -1, true },
	{"av1_svt",	    MEDIA_AV1,  128, 96, -1, true },
	{"vp9",		MEDIA_VP9,  0,   0,	 -1, false},
};
enum { RECORDS = sizeof(records) / sizeof(*records) };

TEST(real_records_are_read_and_written_back)
{
	for (int i = 0; i < RECORDS; i++) {
		struct codec_config c, again;
		uint8_t out[CODEC_CONFIG_RECORD_MAX];
		size_t written;
		sample_load(&sample, records[i].name);
		CHECK_OK(codec_config_parse(
			&c, records[i].codec, sample.record, sample.record_size));
		CHECK(codec_config_is_valid(&c));
		CHECK_EQ(c.width, records[i].width);
		CHECK_EQ(c.height, records[i].height);
		CHECK_EQ(c.reorder_frames, records[i].reorder_frames);
		CHECK_OK(codec_config_write(&c, out, sizeof(out), &written));
		if (records[i].same_bytes) {
			CHECK_EQ(written, sample.record_size);
			CHECK_MEM(out, sample.record, written);
		}
		CHECK_OK(codec_config_parse(&again, records[i].codec, out, written));
		CHECK(codec_config_equal(&c, &again));
		for (size_t room = 0; room < written; room++) {
			size_t none;
			CHECK_EQ(codec_config_write(&c, out, room, &none), ERR_NO_SPACE);
			CHECK_EQ(none, 0);
		}
	}
}

TEST(every_truncation_of_a_record_is_refused)
{
	for (int i = 0; i < RECORDS; i++) {
		sample_load(&sample, records[i].name);
		for (size_t size = 0; size < sample.record_size; size++) {
			struct codec_config c;
			enum err err =
				codec_config_parse(&c, records[i].codec, sample.record, size);
			CHECK(codec_config_is_valid(&c));
			/* the tail of avcC and an av1C without units are optional */
			bool optional = (records[i].codec == MEDIA_H264 &&
						size + 4 >= sample.record_size) ||
					(records[i].codec == MEDIA_AV1 && size == 4);
			CHECK(optional ? err == ERR_OK : err == ERR_FORMAT);
		}
	}
}

// clang-format off
static const struct {
	enum media_codec codec;
	enum err err;
	size_t size;
	uint8_t bytes[32];
} wrong[] = {
	{MEDIA_H264, ERR_FORMAT, 7, {2, 0x42, 0, 30, 0xff, 0xe0, 0}}, /* version */
	{MEDIA_H264, ERR_FORMAT, 7, {1, 0x42, 0, 30, 0xff, 0xe0, 0}}, /* no SPS */
	{MEDIA_H264, ERR_FORMAT, 7, {1, 0x42, 0, 30, 0xfe, 0xe0, 0}}, /* lengths of 3 */
	{MEDIA_H264, ERR_FORMAT, 10, {1, 0x42, 0, 30, 0xff, 0xe1, 0, 1, 0x67, 0}},
	{MEDIA_H265, ERR_FORMAT, 23, {1}}, /* no arrays */
	{MEDIA_H265, ERR_FORMAT, 23, {9}},
	{MEDIA_AV1, ERR_FORMAT, 4, {0x82, 0, 0, 0}},
	{MEDIA_AV1, ERR_FORMAT, 6, {0x81, 0, 0, 0, 0x0a, 5}},
	{MEDIA_VP8, ERR_UNSUPPORTED, 4, {1}},
	{MEDIA_OPUS, ERR_UNSUPPORTED, 4, {1}},
};
// clang-format on

TEST(wrong_records_are_refused)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct codec_config c;
		CHECK_EQ(codec_config_parse(&c, wrong[i].codec, wrong[i].bytes, wrong[i].size),
			wrong[i].err);
		CHECK_EQ(c.codec, MEDIA_CODEC_NONE);
		CHECK_EQ(c.sets_size, 0);
	}
}

TEST(too_many_or_too_large_parameter_sets_are_refused)
{
	struct codec_config c;
	uint8_t record[4096];
	struct writer w = writer_of(record, sizeof(record));

	write_bytes(&w, "\x01\x42\x00\x1e\xff\xe1", 6);
	write_u16(&w, CODEC_CONFIG_SETS_MAX);
	memset(write_reserve(&w, CODEC_CONFIG_SETS_MAX), 0x67, CODEC_CONFIG_SETS_MAX);
	write_u8(&w, 0);
	CHECK_EQ(codec_config_parse(&c, MEDIA_H264, record, writer_used(&w)), ERR_TOO_LARGE);

	w = writer_of(record, sizeof(record));
	write_bytes(&w, "\x01\x42\x00\x1e\xff\xff", 6);
	for (int i = 0; i < 31; i++)
		write_bytes(&w, "\x00\x04\x67\x42\x00\x1e", 6);
	write_u8(&w, 0);
	CHECK_EQ(codec_config_parse(&c, MEDIA_H264, record, writer_used(&w)), ERR_TOO_LARGE);
}

TEST(records_are_built_from_keyframes)
{
	static uint8_t frame[SAMPLE_SIZE_MAX];

	for (int i = 0; i < RECORDS; i++) {
		struct codec_config c, built;
		enum media_codec codec = records[i].codec;
		sample_load(&sample, records[i].name);
		CHECK_OK(codec_config_parse(&c, codec, sample.record, sample.record_size));
		struct writer w = writer_of(frame, sizeof(frame));
		if (codec == MEDIA_H264 || codec == MEDIA_H265) {
			struct reader r = reader_of(c.sets, c.sets_size);
			struct nal nal;
			while (nal_next(&r, 2, &nal) == ERR_OK) {
				write_u32(&w, (uint32_t)nal.size);
				write_bytes(&w, nal.data, nal.size);
			}
		}
		write_bytes(&w, sample.frames[0].data, sample.frames[0].size);
		CHECK_OK(codec_config_from_frame(&built, codec, frame, writer_used(&w)));
		CHECK_EQ(built.width, records[i].width ? records[i].width : 128);
		CHECK_EQ(built.height, records[i].height ? records[i].height : 96);
		CHECK_EQ(built.sets_size, c.sets_size);
		CHECK_MEM(built.sets, c.sets, c.sets_size);
		/* a delta frame has nothing to build from */
		CHECK_EQ(codec_config_from_frame(
				 &built, codec, sample.frames[1].data, sample.frames[1].size),
			ERR_NOT_FOUND);
		CHECK_EQ(built.codec, MEDIA_CODEC_NONE);
	}
}

/* ISO/IEC 14496-3 1.6.2; bytes as encoders write them. */
// clang-format off
static const struct {
	size_t size;
	uint8_t bytes[8];
	enum err err;
	struct aac_config config; /* type, channels, sbr, ps, rate, extension rate, samples */
} ascs[] = {
	{2, {0x12, 0x10}, ERR_OK, {2, 2, 0, 0, 44100, 0, 1024}},
	{2, {0x11, 0x90}, ERR_OK, {2, 2, 0, 0, 48000, 0, 1024}},
	{2, {0x14, 0x08}, ERR_OK, {2, 1, 0, 0, 16000, 0, 1024}},
	{2, {0x11, 0xb8}, ERR_OK, {2, 8, 0, 0, 48000, 0, 1024}},
	{2, {0x11, 0x94}, ERR_OK, {2, 2, 0, 0, 48000, 0, 960}},
	{5, {0x17, 0x80, 0x5d, 0xc0, 0x10}, ERR_OK, {2, 2, 0, 0, 48000, 0, 1024}},
	{4, {0x2b, 0x11, 0x88, 0x00}, ERR_OK, {2, 2, 1, 0, 24000, 48000, 1024}},
	{4, {0xeb, 0x09, 0x88, 0x00}, ERR_OK, {2, 1, 1, 1, 24000, 48000, 1024}},
	{5, {0x13, 0x10, 0x56, 0xe5, 0x98}, ERR_OK, {2, 2, 1, 0, 24000, 48000, 1024}},
	{1, {0x12}, ERR_FORMAT, {0}}, {0, {0}, ERR_FORMAT, {0}},
	{2, {0x16, 0x90}, ERR_FORMAT, {0}},		     /* reserved rate */
	{2, {0x12, 0x00}, ERR_UNSUPPORTED, {0}},	     /* channels in a PCE */
	{2, {0xf9, 0x48}, ERR_FORMAT, {0}},		     /* escaped, cut */
	{4, {0xf9, 0x46, 0x40, 0x00}, ERR_UNSUPPORTED, {0}}, /* USAC */
};
// clang-format on

TEST(audio_specific_configs)
{
	for (size_t i = 0; i < sizeof(ascs) / sizeof(*ascs); i++) {
		struct aac_config c, again;
		uint8_t out[CODEC_CONFIG_ASC_MAX];
		size_t written;
		CHECK_EQ(aac_config_parse(&c, ascs[i].bytes, ascs[i].size), ascs[i].err);
		CHECK_MEM(&c, &ascs[i].config, sizeof(c));
		if (ascs[i].err) {
			CHECK_EQ(aac_config_write(&c, out, sizeof(out), &written), ERR_PHASE);
			continue;
		}
		CHECK_OK(aac_config_write(&c, out, sizeof(out), &written));
		CHECK_OK(aac_config_parse(&again, out, written));
		CHECK_MEM(&again, &c, sizeof(c));
		CHECK_EQ(aac_config_write(&c, out, written - 1, &written), ERR_NO_SPACE);
	}
}

TEST(the_audio_config_of_ffmpeg)
{
	struct aac_config c;

	sample_load(&sample, "aac");
	CHECK_OK(aac_config_parse(&c, sample.record, sample.record_size));
	CHECK_EQ(c.object_type, 2);
	CHECK_EQ(c.sample_rate, 48000);
	CHECK_EQ(c.channels, 2);
}

TEST(opus_head)
{
	uint8_t head[CODEC_CONFIG_OPUS_HEAD_SIZE], channels;
	uint16_t pre_skip;

	CHECK_EQ(codec_config_write_opus_head(2, 312, head, sizeof(head) - 1), ERR_NO_SPACE);
	CHECK_OK(codec_config_write_opus_head(2, 312, head, sizeof(head)));
	/* RFC 7845 5.1: little endian */
	CHECK_MEM(head, "OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00", sizeof(head));
	CHECK_OK(codec_config_parse_opus_head(head, sizeof(head), &channels, &pre_skip));
	CHECK_EQ(channels, 2);
	CHECK_EQ(pre_skip, 312);
	for (size_t size = 0; size < sizeof(head); size++)
		CHECK_EQ(
			codec_config_parse_opus_head(head, size, &channels, &pre_skip), ERR_FORMAT);
	head[18] = 1;
	CHECK_EQ(codec_config_parse_opus_head(head, sizeof(head), &channels, &pre_skip),
		ERR_UNSUPPORTED);
}

TEST(a_damaged_config_is_recognised)
{
	struct codec_config c, bad;

	sample_load(&sample, "h264_plain");
	CHECK_OK(codec_config_parse(&c, MEDIA_H264, sample.record, sample.record_size));
	bad = c;
	bad.sets_size = CODEC_CONFIG_SETS_MAX + 1;
	CHECK(!codec_config_is_valid(&bad));
	bad = c;
	bad.sets[1]++;
	CHECK(!codec_config_is_valid(&bad));
	bad = c;
	bad.length_size = 3;
	CHECK(!codec_config_is_valid(&bad));
	bad = c;
	bad.codec = 200;
	CHECK(!codec_config_is_valid(&bad));
}

TEST(av1_and_vp9_heads)
{
	struct obu_sequence sequence;
	struct obu unit;
	struct vp9_head head;

	sample_load(&sample, "av1");
	struct reader r = reader_of(sample.record + 4, sample.record_size - 4);
	CHECK_OK(obu_next(&r, &unit));
	CHECK_EQ(unit.type, OBU_SEQUENCE_HEADER);
	for (size_t size = 0; size < unit.size; size++) {
		struct obu cut = unit;
		cut.size = size;
		enum err err = obu_parse_sequence(&cut, &sequence);
		CHECK(err == ERR_OK ? size + 2 >= unit.size : !sequence.present);
	}
	CHECK_OK(obu_parse_sequence(&unit, &sequence));
	CHECK_EQ(sequence.width, 128);
	CHECK_EQ(sequence.height, 96);
	CHECK_EQ(sequence.depth, 8);
	CHECK(sequence.subsampling_x && sequence.subsampling_y);

	sample_load(&sample, "vp9");
	for (size_t size = 0; size < 9; size++)
		CHECK_EQ(vp9_parse_head(sample.frames[0].data, size, &head), ERR_FORMAT);
	CHECK_OK(vp9_parse_head(sample.frames[0].data, 10, &head));
	CHECK(head.keyframe && !head.inter);
	CHECK_EQ(head.width, 128);
	CHECK_EQ(head.height, 96);
	CHECK_OK(vp9_parse_head(sample.frames[1].data, sample.frames[1].size, &head));
	CHECK(!head.keyframe && head.inter);
}

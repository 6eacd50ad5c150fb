/* SPDX-License-Identifier: Apache-2.0
 *
 * Payloads as other senders make them, row by row: what must be known of each. Bytes follow the
 * figures of RFC 6184, RFC 7798, RFC 7741, RFC 9628 and the AV1 RTP specification.
 */
#include <stdlib.h>

#include "actors/stream/assembler.h"
#include "actors/stream/payload.h"
#include "tests/test.h"

enum {
	S = MEDIA_FRAME_START,
	E = MEDIA_FRAME_END,
	K = MEDIA_KEYFRAME,
	D = MEDIA_DISCARDABLE,
	B = MEDIA_B_FRAME,
	T = MEDIA_TALKSPURT,
	STEPS_MAX = 9,
};

/* 640x360 baseline */
#define H264_SPS                                                                                  \
	0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, \
		0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x58, 0xba, 0x80

// clang-format off
static const struct row {
	const char *name;
	enum media_codec codec;
	uint16_t width, height; /* known at the end */
	struct step {
		int seq, time;
		bool marker;
		uint8_t size;
		uint8_t bytes[48];
		int flags; /* -1 = refused */
		uint8_t layer;
		uint8_t frame;
	} steps[STEPS_MAX];
} rows[] = {
	{"H.264: STAP-A of SPS and PPS, IDR in FU-A", MEDIA_H264, 640, 360,
		{{1, 0, 0, 34, {0x78, 0, 25, H264_SPS, 0, 4, 0x68, 0xce, 0x3c, 0x80}, S | K, 0, 1},
			{2, 0, 0, 5, {0x7c, 0x85, 0x88, 0x84, 1}, K, 0, 1},
			{3, 0, 0, 4, {0x7c, 0x05, 1, 2}, K, 0, 1},
			{4, 0, 1, 4, {0x7c, 0x45, 1, 2}, K | E, 0, 1},
			{5, 3000, 1, 4, {0x41, 0x9a, 1, 2}, S | E, 0, 2},
			{6, 6000, 1, 4, {0x01, 0x9a, 1, 2}, S | E | D, 0, 3}}},
	{"H.264: parameter sets in packets of their own, with the IDR's timestamp", MEDIA_H264, 640,
		360,
		{{1, 0, 1, 4, {0x41, 0x9a, 1, 2}, S | E, 0, 1},
			{2, 3000, 0, 25, {H264_SPS}, S | K, 0, 2},
			{3, 3000, 0, 4, {0x68, 0xce, 0x3c, 0x80}, K, 0, 2},
			{4, 3000, 0, 3, {0x06, 0x05, 0x80}, K, 0, 2},
			{5, 3000, 1, 5, {0x65, 0x88, 0x84, 1, 2}, K | E, 0, 2}}},
	{"H.264: a delimiter in front is not yet known to belong to a keyframe", MEDIA_H264, 640,
		360,
		{{1, 0, 0, 2, {0x09, 0x10}, S, 0, 1}, {2, 0, 0, 25, {H264_SPS}, K, 0, 1},
			{3, 0, 1, 4, {0x65, 0x88, 0x84, 1}, K | E, 0, 1}}},
	{"H.264: late packets find their frame", MEDIA_H264, 0, 0,
		{{1, 0, 0, 5, {0x7c, 0x85, 0x88, 0x84, 1}, S | K, 0, 1},
			{3, 0, 1, 4, {0x7c, 0x45, 1, 2}, K | E, 0, 1},
			{5, 6000, 1, 4, {0x41, 0x9a, 1, 2}, S | E, 0, 2},
			{2, 0, 0, 4, {0x7c, 0x05, 1, 2}, K, 0, 1},
			{4, 3000, 1, 4, {0x41, 0x22, 1, 2}, S | E, 0, 3},
			{6, 9000, 1, 4, {0x41, 0x22, 1, 2}, S | E, 0, 4}}},
	{"H.264: behind a gap only the payload can tell a start", MEDIA_H264, 0, 0,
		{{1, 0, 1, 4, {0x65, 0x88, 1, 2}, S | E | K, 0, 1},
			{3, 3000, 0, 4, {0x41, 0x22, 1, 2}, 0, 0, 2},
			{4, 3000, 1, 4, {0x41, 0x22, 1, 2}, E, 0, 2},
			{6, 6000, 1, 4, {0x41, 0x9a, 1, 2}, S | E, 0, 3}}},
	{"H.264: a second slice that comes before all else is no start", MEDIA_H264, 0, 0,
		{{2, 0, 0, 4, {0x65, 0x42, 1, 2}, K, 0, 1},
			{1, 0, 0, 4, {0x65, 0x88, 1, 2}, S | K, 0, 1},
			{3, 0, 1, 4, {0x65, 0x42, 1, 2}, K | E, 0, 1},
			{4, 3000, 1, 4, {0x41, 0x22, 1, 2}, S | E, 0, 2}}},
	{"H.264: one referenced slice makes the frame referenced", MEDIA_H264, 0, 0,
		{{1, 0, 0, 4, {0x01, 0x9a, 1, 2}, S | D, 0, 1},
			{2, 0, 1, 4, {0x41, 0x22, 1, 2}, E, 0, 1}}},
	{"H.264: reordered frames", MEDIA_H264, 0, 0,
		{{1, 3000, 1, 4, {0x65, 0x88, 1, 2}, S | E | K, 0, 1},
			{2, 12000, 1, 4, {0x41, 0x9a, 1, 2}, S | E, 0, 2},
			{3, 6000, 1, 4, {0x01, 0x9e, 1, 2}, S | E | D | B, 0, 3},
			{4, 9000, 1, 4, {0x41, 0x9e, 1, 2}, S | E | B, 0, 4},
			{5, 15000, 1, 4, {0x41, 0x9a, 1, 2}, S | E, 0, 5}}},
	{"H.264: wrong input", MEDIA_H264, 0, 0,
		{{1, 0, 0, 0, {0}, -1, 0, 0},
			{2, 0, 0, 2, {0x7c, 0x85}, -1, 0, 0},	       /* empty fragment */
			{3, 0, 0, 4, {0x7c, 0xc5, 1, 2}, -1, 0, 0},    /* start and end */
			{4, 0, 0, 1, {0x78}, -1, 0, 0},		       /* STAP-A of nothing */
			{5, 0, 0, 5, {0x78, 0, 9, 0x67, 1}, -1, 0, 0}, /* reaches past the end */
			{6, 0, 0, 4, {0x79, 0, 1, 2}, -1, 0, 0},       /* STAP-B */
			{7, 0, 0, 4, {0x7d, 0x85, 1, 2}, -1, 0, 0},    /* FU-B */
			{8, 0, 0, 4, {0xe5, 0x88, 1, 2}, -1, 0, 0}}},  /* forbidden bit */
	{"H.265: AP of parameter sets, IDR in FU", MEDIA_H265, 0, 0,
		{{1, 0, 0, 12, {0x60, 1, 0, 3, 0x40, 1, 0x0c, 0, 3, 0x44, 1, 0xc0}, S | K, 0, 1},
			{2, 0, 0, 5, {0x62, 1, 0x93, 0xaf, 1}, K, 0, 1},
			{3, 0, 1, 5, {0x62, 1, 0x53, 1, 2}, K | E, 0, 1},
			{4, 3000, 1, 4, {0x02, 1, 0xd0, 2}, S | E, 0, 2},
			{5, 6000, 1, 4, {0x00, 1, 0xe0, 2}, S | E | D, 0, 3},
			{6, 9000, 1, 4, {0x00, 2, 0xe0, 2}, S | E | D, 1, 4},
			{7, 12000, 1, 4, {0x00, 1, 0xe0, 2}, S | E, 0, 5}}}, /* below the highest */
	{"H.265: wrong input", MEDIA_H265, 0, 0,
		{{1, 0, 0, 1, {0x02}, -1, 0, 0}, {2, 0, 0, 3, {0x62, 1, 0x93}, -1, 0, 0},
			{3, 0, 0, 4, {0x64, 1, 1, 2}, -1, 0, 0}, /* PACI */
			{4, 0, 0, 5, {0x60, 1, 0, 9, 1}, -1, 0, 0}}},
	{"VP8: extended descriptor, 15-bit picture id, layers", MEDIA_VP8, 128, 96,
		{{1, 0, 0, 16,
			 {0x90, 0xe0, 0x81, 2, 3, 0x20, 0x50, 0, 0, 0x9d, 1, 0x2a, 128, 0, 96, 0},
			 S | K, 0, 1},
			{2, 0, 1, 4, {0x80, 0x80, 0x05, 1}, K | E, 0, 1},
			{3, 3000, 1, 7, {0xb0, 0xe0, 0x81, 3, 3, 0x80, 0x31}, S | E | D, 2, 2},
			{4, 6000, 1, 3, {0x10, 0x31, 1}, S | E, 0, 3}}},
	{"VP8: a second partition starts no frame", MEDIA_VP8, 0, 0,
		{{1, 0, 0, 3, {0x10, 0x31, 1}, S, 0, 1}, {2, 0, 1, 3, {0x11, 0x30, 1}, E, 0, 1}}},
	{"VP8: wrong input", MEDIA_VP8, 0, 0,
		{{1, 0, 0, 1, {0x10}, -1, 0, 0}, {2, 0, 0, 1, {0x80}, -1, 0, 0},
			{3, 0, 0, 3, {0x80, 0x80, 0x81}, -1, 0, 0},
			{4, 0, 0, 5, {0x10, 0x50, 0, 0, 0x9d}, -1, 0, 0},
			{5, 0, 0, 11, {0x10, 0x50, 0, 0, 1, 2, 3, 0, 0, 0, 0}, -1, 0, 0}}},
	{"VP9: flexible mode, two spatial layers with a scalability structure", MEDIA_VP9, 640, 360,
		{{1, 0, 0, 26,
			 {0xba, 0x81, 2, 0x00, 0x30, 1, 0x40, 0, 0xb4, 2, 0x80, 1, 0x68, 0x82, 0x49,
				 0x83, 0x42, 0, 0x13, 0xf0, 0x0b, 0x30, 1, 1, 1, 1},
			 S | K, 0, 1},
			{2, 0, 0, 6, {0xb4, 0x81, 2, 0x00, 1, 2}, K, 0, 1},
			{3, 0, 1, 6, {0xbc, 0x81, 2, 0x03, 1, 2}, K | E, 0x10, 1},
			{4, 3000, 1, 8, {0xfc, 0x81, 3, 0x20, 0x02, 0x86, 0, 1}, S | E, 0x01, 2}}},
	{"VP9: non-flexible, unreferenced frame", MEDIA_VP9, 0, 0,
		{{1, 0, 1, 5, {0xcc, 0x05, 0x86, 0x00, 0x3f}, S | E | D, 0, 1},
			{2, 3000, 1, 5, {0xcc, 0x06, 0x86, 0x04, 0x40}, S | E, 0, 2}}},
	{"VP9: wrong input", MEDIA_VP9, 0, 0,
		{{1, 0, 0, 1, {0x08}, -1, 0, 0}, {2, 0, 0, 2, {0x80, 0x81}, -1, 0, 0},
			{3, 0, 0, 7, {0x5c, 3, 3, 3, 3, 1, 1}, -1, 0, 0}, /* four distances */
			{4, 0, 0, 3, {0x0a, 0xff, 1}, -1, 0, 0},	  /* structure cut */
			{5, 0, 0, 3, {0x08, 0x01, 1}, -1, 0, 0}}},	  /* no VP9 frame */
	{"AV1: sequence header and a frame in pieces", MEDIA_AV1, 128, 96,
		{{1, 0, 0, 17,
			 {0x68, 0x0b, 0x08, 0, 0, 0, 3, 0x37, 0xfb, 0xe6, 0xd7, 0xc8, 0x02, 0x30,
				 0x10, 1, 2},
			 S | K, 0, 1},
			{2, 0, 1, 4, {0x90, 1, 2, 3}, K | E, 0, 1},
			{3, 3000, 1, 4, {0x10, 0x30, 0x30, 0x80}, S | E, 0, 2},
			{4, 6000, 1, 5, {0x10, 0x34, 0x28, 0x30, 0x80}, S | E, 0x11, 3}}},
	{"AV1: wrong input", MEDIA_AV1, 0, 0,
		{{1, 0, 0, 1, {0x10}, -1, 0, 0},
			{2, 0, 0, 3, {0x98, 0x30, 1}, -1, 0, 0},    /* Z and N */
			{3, 0, 0, 4, {0x20, 9, 0x30, 1}, -1, 0, 0}, /* element past the end */
			{4, 0, 0, 3, {0x00, 0, 0x30}, -1, 0, 0},    /* empty element */
			{5, 0, 0, 3, {0x10, 0xb0, 1}, -1, 0, 0},    /* forbidden bit */
			{6, 0, 0, 3, {0x00, 0xff, 0xff}, -1, 0, 0}}},
	{"Opus: every packet is a frame", MEDIA_OPUS, 0, 0,
		{{1, 0, 1, 2, {0x78, 1}, S | E | T, 0, 1}, {2, 960, 0, 2, {0x78, 1}, S | E, 0, 2},
			{3, 1920, 0, 0, {0}, -1, 0, 0}}},
	{"AAC: whole, in fragments, several in one", MEDIA_AAC, 0, 0,
		{{1, 0, 1, 6, {0, 16, 0, 2 << 3, 1, 2}, S | E, 0, 1},
			{2, 1024, 0, 6, {0, 16, 0, 4 << 3, 1, 2}, S, 0, 2},
			{3, 1024, 1, 6, {0, 16, 0, 4 << 3, 3, 4}, E, 0, 2},
			{4, 2048, 1, 8, {0, 32, 0, 8, 0, 8, 1, 2}, -1, 0, 0},
			{5, 2048, 1, 4, {0, 16, 0, 8}, -1, 0, 0},
			{6, 2048, 1, 6, {0, 16, 0, 8, 1, 2}, -1, 0, 0}}},
};
// clang-format on

TEST(rows_of_payloads)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct payload_inspector s;
		payload_inspector_init(&s, rows[i].codec);
		for (int k = 0; k < STEPS_MAX && rows[i].steps[k].seq; k++) {
			const struct step *step = &rows[i].steps[k];
			struct payload_info info;
			enum err err = payload_inspect(&s,
				&(struct payload_arrival){.payload = step->bytes,
					.size = step->size,
					.track_seq = (uint64_t)step->seq,
					.rtp_time = (uint64_t)step->time,
					.marker = step->marker},
				&info);
			int flags = err ? -1 : info.flags;
			if (flags != step->flags || info.layer != step->layer ||
				info.frame != step->frame)
				fail_msg("%s, step %d: flags %x layer %x frame %u", rows[i].name, k,
					(unsigned)flags, info.layer, info.frame);
			CHECK(payload_inspector_is_valid(&s));
		}
		if (s.width != rows[i].width || s.height != rows[i].height)
			fail_msg("%s: %ux%u", rows[i].name, s.width, s.height);
	}
}

TEST(priorities_follow_importance)
{
	struct payload_inspector s;
	struct payload_info info;
	struct payload_arrival in = {.track_seq = 1, .rtp_time = 1, .marker = true, .size = 4};

	payload_inspector_init(&s, MEDIA_H264);
	in.payload = (const uint8_t[]){0x65, 0x88, 1, 2};
	CHECK_OK(payload_inspect(&s, &in, &info));
	CHECK_EQ(info.priority, MEDIA_PRIORITY_KEY);
	in.track_seq = in.rtp_time = 2;
	in.payload = (const uint8_t[]){0x41, 0x9a, 1, 2};
	CHECK_OK(payload_inspect(&s, &in, &info));
	CHECK_EQ(info.priority, MEDIA_PRIORITY_DELTA);
	in.track_seq = in.rtp_time = 3;
	in.payload = (const uint8_t[]){0x01, 0x9a, 1, 2};
	CHECK_OK(payload_inspect(&s, &in, &info));
	CHECK_EQ(info.priority, MEDIA_PRIORITY_DISCARDABLE);
	payload_inspector_init(&s, MEDIA_OPUS);
	CHECK_OK(payload_inspect(&s, &in, &info));
	CHECK_EQ(info.priority, MEDIA_PRIORITY_AUDIO);
}

/* However many late frames come between two slices of the newest one (simulator, moves 114). */
TEST(late_frames_do_not_make_a_frame_begin_in_its_middle)
{
	static const uint8_t part[] = {0x65, 0x42, 1, 2}, late[] = {0x41, 0x9a, 1, 2};
	struct payload_inspector s;
	struct payload_info info;
	struct payload_arrival in = {.track_seq = 1, .rtp_time = 1, .payload = late, .size = 4};
	uint32_t frame;

	payload_inspector_init(&s, MEDIA_H264);
	CHECK_OK(payload_inspect(&s, &in, &info));
	in = (struct payload_arrival){
		.track_seq = 91, .rtp_time = 90, .payload = part, .size = sizeof(part)};
	CHECK_OK(payload_inspect(&s, &in, &info));
	CHECK_EQ(info.flags, MEDIA_KEYFRAME);
	frame = info.frame;
	for (uint64_t i = 2; i < 60; i++) {
		in = (struct payload_arrival){
			.track_seq = i, .rtp_time = i, .payload = late, .size = sizeof(late)};
		CHECK_OK(payload_inspect(&s, &in, &info));
		CHECK_EQ(info.flags & MEDIA_FRAME_START, MEDIA_FRAME_START);
	}
	in = (struct payload_arrival){.track_seq = 92,
		.rtp_time = 90,
		.marker = true,
		.payload = part,
		.size = sizeof(part)};
	CHECK_OK(payload_inspect(&s, &in, &info));
	CHECK_EQ(info.flags, MEDIA_KEYFRAME | MEDIA_FRAME_END);
	CHECK_EQ(info.frame, frame);
	in = (struct payload_arrival){
		.track_seq = 93, .rtp_time = 91, .payload = late, .size = sizeof(late)};
	CHECK_OK(payload_inspect(&s, &in, &info));
	CHECK_EQ(info.flags & MEDIA_FRAME_START, MEDIA_FRAME_START);
}

TEST(payloads_over_the_maximum_are_refused)
{
	static const uint8_t large[MEDIA_PAYLOAD_MAX + 1] = {0x41, 0x9a};
	struct payload_inspector s;
	struct payload_info info;
	struct payload_arrival in = {.payload = large, .size = sizeof(large), .track_seq = 1};

	payload_inspector_init(&s, MEDIA_H264);
	CHECK_EQ(payload_inspect(&s, &in, &info), ERR_TOO_LARGE);
	CHECK_EQ(s.malformed, 1);
	in.size--;
	CHECK_OK(payload_inspect(&s, &in, &info));
}

/* Every row's payloads cut at every length: refused or understood, never read past the end (the
 * sanitizers watch a heap copy). The same for the assembler. */
TEST(truncated_payloads)
{
	uint8_t buffer[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (int k = 0; k < STEPS_MAX && rows[i].steps[k].seq; k++) {
			for (size_t size = 1; size <= rows[i].steps[k].size; size++) {
				struct payload_inspector s;
				struct payload_info info;
				struct assembler a;
				struct assembler_frame frame;
				uint8_t *copy = malloc(size);
				memcpy(copy, rows[i].steps[k].bytes, size);
				payload_inspector_init(&s, rows[i].codec);
				enum err err = payload_inspect(&s,
					&(struct payload_arrival){
						.payload = copy, .size = size, .track_seq = 1},
					&info);
				CHECK_EQ(s.malformed + s.unsupported, err ? 1 : 0);
				assembler_init(&a, rows[i].codec);
				struct media_header header = {.track_seq = 1,
					.frame = 1,
					.size = (uint16_t)size,
					.flags = S | E};
				err = assembler_push(
					&a, &header, copy, buffer, sizeof(buffer), &frame);
				CHECK_EQ(a.frames + a.frames_broken, 1);
				CHECK_EQ(a.frames, err == ERR_OK);
				CHECK(assembler_is_valid(&a));
				free(copy);
			}
		}
	}
}

TEST(a_damaged_state_is_recognised)
{
	struct payload_inspector s;
	struct payload_packetiser p;
	struct assembler a;

	payload_inspector_init(&s, MEDIA_AV1);
	s.note_at = PAYLOAD_NOTES;
	CHECK(!payload_inspector_is_valid(&s));
	payload_inspector_init(&s, MEDIA_AV1);
	s.codec = MEDIA_CODEC_COUNT;
	CHECK(!payload_inspector_is_valid(&s));
	payload_packetiser_init(&p, MEDIA_H264);
	p.config.codec = MEDIA_H265;
	CHECK(!payload_packetiser_is_valid(&p));
	assembler_init(&a, MEDIA_H264);
	a.open = 1;
	a.open_at = 5;
	CHECK(!assembler_is_valid(&a));
}

/* A state that passed as valid but lies: fields that point to nowhere are caught when used. */
TEST(an_assembler_that_lies_about_its_buffer_writes_nothing_outside)
{
	struct assembler_frame frame;
	uint8_t *buffer = malloc(32);
	const uint8_t payload[] = {0x7c, 0x45, 1, 2};

	for (uint32_t used = 0; used < 64; used++) {
		for (uint32_t at = 0; at <= used; at++) {
			struct assembler a = {.codec = MEDIA_H264,
				.in_frame = 1,
				.open = 1,
				.used = used,
				.open_at = at,
				.frame = 1,
				.next_seq = 2};
			struct media_header header = {
				.track_seq = 2, .frame = 1, .size = sizeof(payload), .flags = E};
			CHECK(assembler_is_valid(&a));
			enum err err = assembler_push(&a, &header, payload, buffer, 32, &frame);
			CHECK(err == ERR_OK ? used <= 30 && used - at >= 4 : frame.size == 0);
		}
	}
	free(buffer);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames cut into payloads, looked at as if they came by RTP, and put together again: real
 * bitstreams of every codec, whole, permuted and with losses.
 */
#include "actors/stream/assembler.h"
#include "actors/stream/frame_order.h"
#include "actors/stream/nal.h"
#include "actors/stream/obu.h"
#include "actors/stream/payload.h"
#include "tests/unit/stream_samples.h"

enum { PACKETS_MAX = 512, FRAME_MAX = 16384 };

struct packet {
	struct media_header header;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
};

static struct sample sample;
static struct packet packets[PACKETS_MAX];
static int packet_count;
static struct payload_packetiser packetiser;
static uint8_t expected[SAMPLE_FRAMES_MAX][FRAME_MAX];
static size_t expected_size[SAMPLE_FRAMES_MAX];

/* One letter a frame: K keyframe, P delta, d discardable, b discardable B-frame, B referenced
 * one. */
static const struct row {
	const char *name;
	enum media_codec codec;
	uint16_t width, height;
	const char *frames;
} rows[] = {
	{"h264_plain",   MEDIA_H264, 128, 96, "KPPPPPKPPPPP"},
	{"h264_b",	   MEDIA_H264, 128, 96, "KPbbPbbPbbPb"},
	{"h264_pyramid", MEDIA_H264, 128, 96, "KPBbbPBbbPBb"},
	{"h264_slices",	MEDIA_H264, 128, 96, "KPPP"	   },
	{"h264_crop",    MEDIA_H264, 98,  54, "KPb"	       },
	{"h265",	 MEDIA_H265, 128, 96, "KPbPBbPb"	},
	{"vp8",		MEDIA_VP8,  128, 96, "KPPPKPPP"    },
	{"vp9",		MEDIA_VP9,  128, 96, "KPPPKPPP"    },
	{"vp9_arf",	    MEDIA_VP9,  128, 96, "KPPPPPPPPP"  },
	{"av1",		MEDIA_AV1,  128, 96, "KPPKPP"	    },
	{"av1_svt",	    MEDIA_AV1,  128, 96, "KPPdPPPd"	  },
	{"aac",		MEDIA_AAC,  0,   0,	 "PPPPPPPPPPP" },
	{"opus",	 MEDIA_OPUS, 0,	0,  "PPPPPPPPPPP" },
};
enum { ROWS = sizeof(rows) / sizeof(*rows) };

static char letter_of(uint8_t flags)
{
	if (flags & MEDIA_KEYFRAME)
		return 'K';
	if (flags & MEDIA_B_FRAME)
		return flags & MEDIA_DISCARDABLE ? 'b' : 'B';
	return flags & MEDIA_DISCARDABLE ? 'd' : 'P';
}

static void put_unit(struct writer *w, struct nal nal)
{
	write_u32(w, (uint32_t)nal.size);
	write_bytes(w, nal.data, nal.size);
}

/* The frame as it must come out: without delimiters, with parameter sets in front of keyframes. */
static size_t write_expected(enum media_codec codec, int i, uint8_t *buffer)
{
	struct writer w = writer_of(buffer, FRAME_MAX);
	struct reader r = reader_of(sample.frames[i].data, sample.frames[i].size);
	struct reader sets = reader_of(packetiser.config.sets, packetiser.config.sets_size);
	bool key = false, own = false;
	struct nal nal;

	if (codec != MEDIA_H264 && codec != MEDIA_H265) {
		write_bytes(&w, r.at, reader_left(&r));
		return writer_used(&w);
	}
	while (nal_next(&r, 4, &nal) == ERR_OK) {
		key |= nal_classify(codec, nal) == NAL_KEY_SLICE;
		own |= nal_classify(codec, nal) == NAL_SPS;
	}
	while (key && !own && nal_next(&sets, 2, &nal) == ERR_OK)
		put_unit(&w, nal);
	r = reader_of(sample.frames[i].data, sample.frames[i].size);
	while (nal_next(&r, 4, &nal) == ERR_OK) {
		if (nal_classify(codec, nal) != NAL_DROPPED)
			put_unit(&w, nal);
	}
	CHECK(!w.bad);
	return writer_used(&w);
}

/* Cuts all frames of a row into packets[]; checks the letters. */
static void cut_row(const struct row *row, size_t goal)
{
	sample_load(&sample, row->name);
	payload_packetiser_init(&packetiser, row->codec);
	if (sample.record_size && row->width)
		CHECK_OK(payload_packetiser_configure(
			&packetiser, sample.record, sample.record_size));
	CHECK(payload_packetiser_is_valid(&packetiser));
	packet_count = 0;
	char letters[SAMPLE_FRAMES_MAX + 1] = "";
	for (int i = 0; i < sample.count; i++) {
		struct payload_cut cut;
		struct payload_packet out;
		int first = packet_count;
		uint64_t time = (uint64_t)(sample.frames[i].time + 100000);
		CHECK_OK(payload_cut_begin(&cut, &packetiser, sample.frames[i].data,
			sample.frames[i].size, time, goal));
		while (packet_count < PACKETS_MAX) {
			struct packet *p = &packets[packet_count];
			if (!payload_cut_next(&cut, p->payload, sizeof(p->payload), &out))
				break;
			CHECK_LE(out.size, row->codec == MEDIA_OPUS ? MEDIA_PAYLOAD_MAX : goal);
			CHECK_EQ(!!(out.flags & MEDIA_FRAME_START), packet_count == first);
			p->header = (struct media_header){
				.track_seq = (uint64_t)packet_count + 1,
				.rtp_time = time,
				.decode_time = time + 7,
				.frame = (uint32_t)i + 1,
				.size = out.size,
				.flags = out.flags,
			};
			packet_count++;
		}
		CHECK(packets[packet_count - 1].header.flags & MEDIA_FRAME_END);
		for (int k = first; k + 1 < packet_count; k++)
			CHECK(!(packets[k].header.flags & MEDIA_FRAME_END));
		letters[i] = letter_of(packets[first].header.flags);
		expected_size[i] = write_expected(row->codec, i, expected[i]);
	}
	CHECK_STR(letters, row->frames);
}

TEST(every_codec_comes_out_as_it_went_in)
{
	static const size_t goals[] = {64, 100, 333, MEDIA_PAYLOAD_GOAL, MEDIA_PAYLOAD_MAX};
	static uint8_t buffer[FRAME_MAX];

	for (int i = 0; i < ROWS * 5; i++) {
		const struct row *row = &rows[i / 5];
		cut_row(row, goals[i % 5]);
		struct assembler a;
		struct assembler_frame frame;
		int out = 0;
		assembler_init(&a, row->codec);
		for (int k = 0; k < packet_count; k++) {
			enum err err = assembler_push(&a, &packets[k].header, packets[k].payload,
				buffer, sizeof(buffer), &frame);
			CHECK(assembler_is_valid(&a));
			CHECK(err == ERR_OK || err == ERR_AGAIN);
			if (err)
				continue;
			CHECK_EQ(frame.frame, out + 1);
			CHECK_EQ(frame.size, expected_size[out]);
			CHECK_MEM(buffer, expected[out], frame.size);
			CHECK_EQ(letter_of(frame.flags), row->frames[out]);
			CHECK_EQ(frame.decode_time, frame.rtp_time + 7);
			CHECK(!frame.after_gap);
			out++;
		}
		CHECK_EQ(out, sample.count);
		CHECK_EQ(a.frames_broken, 0);
	}
}

TEST(inspection_of_our_own_payloads_agrees_with_the_packetiser)
{
	for (int i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];
		cut_row(row, 200);
		struct payload_inspector s;
		struct payload_info info;
		payload_inspector_init(&s, row->codec);
		for (int k = 0; k < packet_count; k++) {
			const struct media_header *h = &packets[k].header;
			CHECK_OK(payload_inspect(&s,
				&(struct payload_arrival){
					.payload = packets[k].payload,
					.size = h->size,
					.track_seq = h->track_seq,
					.rtp_time = h->rtp_time,
					.marker = h->flags & MEDIA_FRAME_END &&
						  row->codec != MEDIA_OPUS,
				},
				&info));
			CHECK(payload_inspector_is_valid(&s));
			CHECK_EQ(info.frame, h->frame);
			uint8_t same = MEDIA_FRAME_START | MEDIA_FRAME_END | MEDIA_KEYFRAME;
			CHECK_EQ(info.flags & same, h->flags & same);
			if (row->codec == MEDIA_H264 || row->codec == MEDIA_H265)
				CHECK_EQ(letter_of(info.flags), letter_of(h->flags));
		}
		CHECK_EQ(s.width, row->width);
		CHECK_EQ(s.height, row->height);
		CHECK_EQ(s.malformed + s.unsupported, 0);
	}
}

/* Two payloads in a row that are inner fragments of one unit. */
static bool are_inner_fragments(
	enum media_codec codec, const struct packet *a, const struct packet *b)
{
	if (codec == MEDIA_H264) /* both FU-A, the second neither start nor end */
		return (a->payload[0] & 0x1f) == 28 && (b->payload[0] & 0x1f) == 28 &&
		       !(b->payload[1] & 0xc0);
	return !((a->header.flags | b->header.flags) & MEDIA_FRAME_END) &&
	       a->header.frame == b->header.frame;
}

TEST(fragments_of_a_unit_are_of_equal_size)
{
	static const char *const names[] = {
		"h264_plain", "h264_slices", "vp8", "vp9", "vp9_arf", "av1"};
	int compared = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct row *row = rows;
		while (strcmp(row->name, names[i]))
			row++;
		cut_row(row, 100);
		for (int k = 1; k < packet_count; k++) {
			if (!are_inner_fragments(row->codec, &packets[k - 1], &packets[k]))
				continue;
			CHECK_EQ(packets[k - 1].header.size, packets[k].header.size);
			compared++;
		}
	}
	CHECK_GE(compared, 50);
}

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Swaps packets within a few places, leaves out `loss` in 1000, and plays all through the reorder
 * window: what comes out must be frames of the input, whole and in order. */
static void shuffle_row(const struct row *row, uint32_t seed, unsigned loss)
{
	static uint8_t buffer[FRAME_MAX];
	static struct frame_order order;
	int queue[PACKETS_MAX], queued = 0;
	struct assembler a;
	struct assembler_frame frame;
	int last = -1, whole = 0;

	cut_row(row, 150);
	frame_order_init(&order, 50000);
	assembler_init(&a, row->codec);
	for (int k = 0; k < packet_count; k++) {
		if (k == 0 || random_next(&seed) % 1000 >= loss)
			queue[queued++] = k;
	}
	for (int k = 1; k + 4 < queued; k++) {
		int with = k + (int)(random_next(&seed) % 4);
		int swapped = queue[k];
		queue[k] = queue[with];
		queue[with] = swapped;
	}
	for (int k = 0; k < queued + 1; k++) {
		int64_t now = k < queued ? k * 1000 : 1000000000;
		struct frame_order_out out;
		enum frame_order_event event;
		if (k < queued)
			CHECK_OK(frame_order_push(&order, packets[queue[k]].header.track_seq,
				(uint64_t)queue[k], now));
		while ((event = frame_order_pop(&order, now, &out)) != FRAME_ORDER_NONE) {
			CHECK(frame_order_is_valid(&order));
			if (event == FRAME_ORDER_GAP)
				continue;
			enum err err = assembler_push(&a, &packets[out.ref].header,
				packets[out.ref].payload, buffer, sizeof(buffer), &frame);
			if (err)
				continue;
			int index = (int)frame.frame - 1;
			CHECK(index > last);
			CHECK_EQ(frame.after_gap, index != last + 1);
			CHECK_EQ(frame.size, expected_size[index]);
			CHECK_MEM(buffer, expected[index], frame.size);
			last = index;
			whole++;
		}
	}
	CHECK_EQ(order.count, 0);
	CHECK(loss ? whole <= sample.count : whole == sample.count);
}

TEST(permuted_packets_give_the_same_frames)
{
	for (uint32_t i = 0; i < ROWS * 20; i++)
		shuffle_row(&rows[i / 20], i, 0);
}

TEST(lost_packets_lose_frames_but_never_break_one)
{
	for (uint32_t i = 0; i < ROWS * 20; i++)
		shuffle_row(&rows[i / 20], i, 50);
}

TEST(b_frame_statistics_say_whether_they_can_be_left_out)
{
	cut_row(&rows[1], 1000);
	CHECK_EQ(packetiser.b_frames, 7);
	CHECK_EQ(packetiser.b_frames_referenced, 0);
	CHECK_EQ(packetiser.config.reorder_frames, 1);
	cut_row(&rows[2], 1000);
	CHECK_EQ(packetiser.b_frames, 8);
	CHECK_GE(packetiser.b_frames_referenced, 1);
	cut_row(&rows[0], 1000);
	CHECK_EQ(packetiser.b_frames, 0);
}

TEST(a_frame_over_the_buffer_is_reported_once_and_never_emitted)
{
	uint8_t small[600];
	struct assembler a;
	struct assembler_frame frame;
	int told = 0, frames = 0;

	cut_row(&rows[0], 200);
	assembler_init(&a, MEDIA_H264);
	for (int k = 0; k < packet_count; k++) {
		enum err err = assembler_push(
			&a, &packets[k].header, packets[k].payload, small, sizeof(small), &frame);
		told += err == ERR_TOO_LARGE;
		frames += err == ERR_OK;
	}
	CHECK_GE(told, 2);
	CHECK_EQ(a.frames_broken, told);
	CHECK_EQ(a.frames, frames);
	CHECK_EQ(told + frames, sample.count);
}

// clang-format off
static const struct {
	const char *name;
	enum media_codec codec;
	enum err err;
	size_t size;
	uint8_t bytes[16];
} wrong_frames[] = {
	{"nothing", MEDIA_H264, ERR_NOT_FOUND, 0, {0}},
	{"a cut length", MEDIA_H264, ERR_FORMAT, 3, {0, 0, 0}},
	{"past the end", MEDIA_H264, ERR_FORMAT, 6, {0, 0, 0, 9, 0x65, 0x88}},
	{"a huge length", MEDIA_H264, ERR_FORMAT, 6, {0xff, 0xff, 0xff, 0xff, 0x65, 0x88}},
	{"empty units only", MEDIA_H264, ERR_NOT_FOUND, 8, {0}},
	{"a delimiter only", MEDIA_H264, ERR_NOT_FOUND, 6, {0, 0, 0, 2, 9, 0x10}},
	{"filler only", MEDIA_H264, ERR_NOT_FOUND, 6, {0, 0, 0, 2, 12, 0xff}},
	{"an aggregation type", MEDIA_H264, ERR_NOT_FOUND, 6, {0, 0, 0, 2, 0x78, 1}},
	{"half a header", MEDIA_H265, ERR_NOT_FOUND, 5, {0, 0, 0, 1, 0x26}},
	{"a delimiter only", MEDIA_H265, ERR_NOT_FOUND, 7, {0, 0, 0, 3, 0x46, 1, 0x50}},
	{"past the end", MEDIA_AV1, ERR_FORMAT, 3, {0x32, 9, 1}},
	{"the forbidden bit", MEDIA_AV1, ERR_FORMAT, 3, {0xb2, 1, 1}},
	{"a delimiter only", MEDIA_AV1, ERR_NOT_FOUND, 2, {0x12, 0}},
	{"a bad size", MEDIA_AV1, ERR_FORMAT, 10,
		{0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}},
	{"no VP9", MEDIA_VP9, ERR_FORMAT, 4, {0x01, 2, 3, 4}},
};
// clang-format on

TEST(wrong_frames_are_refused_whole)
{
	for (size_t i = 0; i < sizeof(wrong_frames) / sizeof(*wrong_frames); i++) {
		struct payload_cut cut;
		payload_packetiser_init(&packetiser, wrong_frames[i].codec);
		enum err err = payload_cut_begin(&cut, &packetiser, wrong_frames[i].bytes,
			wrong_frames[i].size, 0, MEDIA_PAYLOAD_GOAL);
		if (err != wrong_frames[i].err)
			fail_msg("%s: %s", wrong_frames[i].name, err_name(err));
		CHECK_EQ(packetiser.frames_bad, 1);
		CHECK_EQ(packetiser.frames, 0);
	}
}

TEST(frames_over_their_bound_are_refused)
{
	static uint8_t large[PAYLOAD_FRAME_MAX + 1];
	struct payload_cut cut;

	payload_packetiser_init(&packetiser, MEDIA_VP8);
	CHECK_EQ(
		payload_cut_begin(&cut, &packetiser, large, sizeof(large), 0, 1000), ERR_TOO_LARGE);
	CHECK_OK(payload_cut_begin(&cut, &packetiser, large, sizeof(large) - 1, 0, 1000));
	payload_packetiser_init(&packetiser, MEDIA_OPUS);
	CHECK_EQ(payload_cut_begin(&cut, &packetiser, large, MEDIA_PAYLOAD_MAX + 1, 0, 1000),
		ERR_TOO_LARGE);
	payload_packetiser_init(&packetiser, MEDIA_AAC);
	CHECK_EQ(payload_cut_begin(&cut, &packetiser, large, 8192, 0, 1000), ERR_TOO_LARGE);
	CHECK_OK(payload_cut_begin(&cut, &packetiser, large, 8191, 0, 1000));
}

/* An encoder that repeats SPS and PPS with every picture makes no keyframes by that; intra slices
 * behind an SPS do (a recovery point). */
TEST(keyframes_are_told_by_their_slices)
{
	static const uint8_t inter[] = {0, 0, 0, 2, 0x67, 0x42, 0, 0, 0, 2, 0x41, 0x9a};
	static const uint8_t intra[] = {0, 0, 0, 2, 0x67, 0x42, 0, 0, 0, 2, 0x41, 0xb0};
	static const uint8_t idr[] = {0, 0, 0, 2, 0x65, 0xb8};
	struct payload_cut cut;

	payload_packetiser_init(&packetiser, MEDIA_H264);
	CHECK_OK(payload_cut_begin(&cut, &packetiser, inter, sizeof(inter), 1, 1000));
	CHECK(!(cut.flags & MEDIA_KEYFRAME));
	CHECK_OK(payload_cut_begin(&cut, &packetiser, intra, sizeof(intra), 2, 1000));
	CHECK(cut.flags & MEDIA_KEYFRAME);
	CHECK_EQ(cut.priority, MEDIA_PRIORITY_KEY);
	CHECK_EQ(packetiser.keyframes_bare, 0);
	CHECK_OK(payload_cut_begin(&cut, &packetiser, idr, sizeof(idr), 3, 1000));
	CHECK_EQ(packetiser.keyframes, 2);
	CHECK_EQ(packetiser.keyframes_bare, 1);
}

/* Small units share a payload: parameter sets, an SEI and a small picture come as one STAP-A. */
TEST(small_units_are_aggregated)
{
	struct payload_cut cut;
	struct payload_packet out;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
	static const uint8_t frame[] = {0, 0, 0, 2, 6, 5, 0, 0, 0, 3, 0x65, 0xb8, 1};

	sample_load(&sample, "h264_plain");
	payload_packetiser_init(&packetiser, MEDIA_H264);
	CHECK_OK(payload_packetiser_configure(&packetiser, sample.record, sample.record_size));
	CHECK_OK(payload_cut_begin(&cut, &packetiser, frame, sizeof(frame), 0, MEDIA_PAYLOAD_GOAL));
	CHECK(payload_cut_next(&cut, payload, sizeof(payload), &out));
	CHECK_EQ(payload[0], 0x78); /* the highest NRI, type 24 */
	CHECK_EQ(out.size, 1 + packetiser.config.sets_size + 2 + 2 + 2 + 3);
	CHECK_EQ(out.flags, MEDIA_FRAME_START | MEDIA_FRAME_END | MEDIA_KEYFRAME);
	CHECK(!payload_cut_next(&cut, payload, sizeof(payload), &out));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The film of publishers: its rate, and that what we know of H.264 reads it as meant. That decoders
 * play it is seen by Chromium (tests/e2e/load.test.mjs).
 */
#include "actors/client/clip.h"
#include "actors/stream/payload.h"
#include "tests/test.h"

TEST(rates_are_as_asked_for)
{
	static const uint32_t rates[] = {150000, 500000, 1000000, 2500000, 10000000, 50000000};

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct clip *clip;
		double bits = 0;

		CHECK_OK(clip_create(rates[i], &clip));
		for (int n = 0; n < CLIP_GOP; n++)
			bits += 8.0 * (double)clip->frames[n].size;
		bits = bits * CLIP_FPS / CLIP_GOP;
		CHECK(bits > rates[i] * 0.95 && bits < rates[i] * 1.05);
		clip_destroy(&clip);
		CHECK(!clip);
	}
}

TEST(frames_become_payloads_that_begin_with_a_keyframe)
{
	static struct payload_inspector inspector;
	struct payload_packetiser packetiser;
	struct clip *clip;
	uint64_t seq = 1;

	CHECK_OK(clip_create(800000, &clip));
	payload_packetiser_init(&packetiser, MEDIA_H264);
	payload_inspector_init(&inspector, MEDIA_H264);
	CHECK_OK(payload_packetiser_configure(&packetiser, clip->record, clip->record_size));
	for (uint64_t n = 0; n < CLIP_GOP; n++) {
		const struct clip_frame *frame = &clip->frames[n];
		uint8_t bytes[MEDIA_PAYLOAD_MAX];
		struct payload_packet piece;
		struct payload_info info;
		struct payload_cut cut;

		CHECK_OK(payload_cut_begin(&cut, &packetiser, frame->bytes, frame->size, n * 3000,
			MEDIA_PAYLOAD_GOAL));
		while (payload_cut_next(&cut, bytes, sizeof(bytes), &piece)) {
			CHECK_OK(payload_inspect(&inspector,
				&(struct payload_arrival){.payload = bytes,
					.size = piece.size,
					.track_seq = seq++,
					.rtp_time = n * 3000,
					.marker = piece.flags & MEDIA_FRAME_END},
				&info));
			CHECK_EQ((info.flags & MEDIA_KEYFRAME) != 0, n == 0);
			CHECK_EQ((piece.flags & MEDIA_KEYFRAME) != 0, n == 0);
		}
		CHECK_EQ(frame->keyframe, n == 0);
	}
	CHECK_EQ(inspector.width, CLIP_WIDTH);
	CHECK_EQ(inspector.height, CLIP_HEIGHT);
	CHECK_EQ(inspector.malformed, 0);
	clip_destroy(&clip);
}

TEST(without_memory_there_is_no_film)
{
	struct clip *clip;

	for (size_t n = 1; n <= 3; n++) {
		test_fail_allocation(n);
		CHECK_EQ(clip_create(100000, &clip), ERR_NO_MEMORY);
		CHECK(!clip);
	}
	test_fail_allocation(0);
	CHECK_OK(clip_create(100000, &clip));
	clip_destroy(&clip);
}

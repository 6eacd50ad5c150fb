/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_wire.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

static struct link_media random_media(struct rng *rng, const uint8_t *payload)
{
	struct link_media m = {
		.seq = (uint32_t)rng_u64(rng),
		.sent_us = (uint32_t)rng_u64(rng),
		.to = rng_u64(rng),
		.from = rng_u64(rng),
		.header =
			{
				 .position = rng_below(rng, UINT64_C(1) << 48),
				 .capture_us = rng_between(
					rng, -(INT64_C(1) << 55), (INT64_C(1) << 55) - 1),
				 .track_seq = rng_below(rng, UINT64_C(1) << 48),
				 .rtp_time = rng_below(rng, UINT64_C(1) << 48),
				 .frame = (uint32_t)rng_u64(rng),
				 .audio_level = (uint32_t)rng_below(rng, 512),
				 .size = (uint16_t)rng_below(rng, MEDIA_PAYLOAD_MAX + 1),
				 .track = (uint8_t)rng_below(rng, MEDIA_TRACKS_MAX),
				 .flags = (uint8_t)rng_u64(rng),
				 .priority = (uint8_t)rng_below(rng, 4),
				 .layer = (uint8_t)rng_u64(rng),
				 },
		.payload = payload,
	};

	m.header.decode_time =
		m.header.rtp_time - (uint64_t)rng_between(rng, -(1 << 23), (1 << 23) - 1);
	return m;
}

TEST(media_comes_back_as_it_was)
{
	struct rng rng = rng_of(1);
	uint8_t payload[MEDIA_PAYLOAD_MAX], body[LINK_BODY_MAX];

	rng_fill(&rng, payload, sizeof(payload));
	for (int i = 0; i < test_rounds(20000); i++) {
		struct link_media in = random_media(&rng, payload), out;
		size_t size;

		CHECK_OK(link_media_write(&in, body, &size));
		CHECK_EQ(size, LINK_MEDIA_HEAD + in.header.size);
		CHECK_OK(link_media_read(body, size, &out));
		CHECK_MEM(out.payload, payload, in.header.size);
		out.payload = in.payload;
		CHECK_MEM(&out, &in, sizeof(in));
	}
}

TEST(what_does_not_fit_is_refused)
{
	static const struct media_header rows[] = {
		{.position = UINT64_C(1) << 48},
		{.capture_us = INT64_C(1) << 55},
		{.capture_us = -(INT64_C(1) << 55) - 1},
		{.track_seq = UINT64_C(1) << 48},
		{.rtp_time = UINT64_C(1) << 48},
		{.rtp_time = 1 << 23},
		{.decode_time = (1 << 23) + 1},
		{.audio_level = 512},
		{.track = MEDIA_TRACKS_MAX},
		{.priority = 4},
		{.size = MEDIA_PAYLOAD_MAX + 1},
	};
	uint8_t payload[MEDIA_PAYLOAD_MAX] = {0}, body[LINK_BODY_MAX];
	size_t size;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct link_media m = {.header = rows[i], .payload = payload};

		CHECK_EQ(link_media_write(&m, body, &size), ERR_LIMIT);
	}
}

TEST(heads_that_are_none)
{
	static const struct {
		uint8_t first, second;
		size_t size;
		enum err err;
	} rows[] = {
		{0x11, 0x00,	     LINK_HEAD + LINK_TAG,	   ERR_OK	 },
		{0x15, 0x74,	     LINK_HEAD + LINK_TAG,	   ERR_OK	 },
		{0x11, 0x00,	     LINK_HEAD + LINK_TAG - 1, ERR_FORMAT },
		{0x11, 0x00,	     0,			ERR_FORMAT },
		{0x21, 0x00,	     LINK_HEAD + LINK_TAG,	   ERR_VERSION},
		{0x01, 0x00,	     LINK_HEAD + LINK_TAG,	   ERR_VERSION},
		{0x10, 0x00,	     LINK_HEAD + LINK_TAG,	   ERR_FORMAT },
		{0x16, 0x00,	     LINK_HEAD + LINK_TAG,	   ERR_FORMAT },
		{0x11, LINK_PATHS_MAX, LINK_HEAD + LINK_TAG,     ERR_FORMAT },
		{0x11, 0x80,	     LINK_HEAD + LINK_TAG,	   ERR_FORMAT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[LINK_HEAD + LINK_TAG] = {rows[i].first, rows[i].second};
		struct link_head head;

		CHECK_EQ(link_head_read(bytes, rows[i].size, &head), rows[i].err);
	}
}

TEST(a_head_comes_back_as_it_was)
{
	const struct link_head in = {.kind = LINK_FEC,
		.path = 3,
		.key = 1,
		.covered = true,
		.path_seq = 0xbeef,
		.session = 0x12345678,
		.counter = UINT64_C(0x1122334455667788)};
	uint8_t bytes[LINK_HEAD + LINK_TAG] = {0};
	struct link_head out = {0};

	link_head_write(&in, bytes);
	CHECK_EQ(bytes[0], 0x15);
	CHECK_EQ(bytes[4], 0x78); /* little endian */
	CHECK_OK(link_head_read(bytes, sizeof(bytes), &out));
	CHECK_EQ(out.kind, in.kind);
	CHECK_EQ(out.path, in.path);
	CHECK_EQ(out.key, in.key);
	CHECK(out.covered);
	CHECK_EQ(out.path_seq, in.path_seq);
	CHECK_EQ(out.session, in.session);
	CHECK_EQ(out.counter, in.counter);
}

TEST(reports_come_back_as_they_were)
{
	struct rng rng = rng_of(2);
	uint8_t body[LINK_REPORT_MAX];

	for (int i = 0; i < test_rounds(2000); i++) {
		struct link_report in = {0}, out = {0};

		in.number = (uint32_t)rng_u64(&rng);
		in.highest = (uint32_t)rng_u64(&rng);
		in.path_count = (uint8_t)rng_below(&rng, LINK_PATHS_MAX + 1);
		in.nack_count = (uint8_t)rng_below(&rng, LINK_NACK_RANGES_MAX + 1);
		for (int k = 0; k < in.path_count; k++)
			in.paths[k] = (struct link_path_report){
				.path = (uint8_t)rng_below(&rng, LINK_PATHS_MAX),
				.highest = (uint16_t)rng_u64(&rng),
				.burst = (uint16_t)rng_u64(&rng),
				.received = (uint32_t)rng_u64(&rng),
				.expected = (uint32_t)rng_u64(&rng),
				.jitter_us = (uint32_t)rng_below(&rng, 1 << 16) * 16,
				.queue_us = (uint32_t)rng_u64(&rng),
				.gradient_us = (int32_t)rng_u64(&rng),
				.rate_bps = (uint32_t)rng_u64(&rng),
				.age_us = (uint32_t)rng_u64(&rng),
			};
		for (int k = 0; k < in.nack_count; k++)
			in.nacks[k] = (struct link_nack_range){.first = (uint32_t)rng_u64(&rng),
				.count = (uint16_t)rng_between(&rng, 1, UINT16_MAX)};
		size_t size = link_report_write(&in, body);

		CHECK_OK(link_report_read(body, size, &out));
		CHECK_EQ(out.number, in.number);
		CHECK_EQ(out.highest, in.highest);
		CHECK_EQ(out.path_count, in.path_count);
		CHECK_EQ(out.nack_count, in.nack_count);
		CHECK_MEM(out.paths, in.paths, sizeof(in.paths));
		CHECK_MEM(out.nacks, in.nacks, sizeof(in.nacks));
		CHECK_EQ(link_report_read(body, size - 1, &out), ERR_FORMAT);
	}
}

TEST(bodies_that_are_none)
{
	uint8_t body[LINK_BODY_MAX + 1] = {0};
	struct link_media media;
	struct link_report report;
	struct link_probe probe;
	struct link_fec_row row;

	CHECK_EQ(link_media_read(body, LINK_MEDIA_HEAD - 1, &media), ERR_FORMAT);
	CHECK_OK(link_media_read(body, LINK_MEDIA_HEAD, &media));
	CHECK_EQ(link_media_read(body, LINK_BODY_MAX + 1, &media), ERR_FORMAT);
	body[57] = 0x40; /* bits that mean nothing yet */
	CHECK_EQ(link_media_read(body, LINK_MEDIA_HEAD, &media), ERR_FORMAT);
	memset(body, 0, sizeof(body));
	CHECK_OK(link_report_read(body, LINK_REPORT_HEAD, &report));
	CHECK_EQ(link_report_read(body, LINK_REPORT_HEAD + 1, &report), ERR_FORMAT);
	body[8] = 1; /* a path that does not exist */
	body[LINK_REPORT_HEAD] = LINK_PATHS_MAX;
	CHECK_EQ(link_report_read(body, LINK_REPORT_HEAD + LINK_REPORT_PATH, &report), ERR_FORMAT);
	body[8] = 0;
	body[9] = 1; /* a range of none */
	CHECK_EQ(link_report_read(body, LINK_REPORT_HEAD + LINK_NACK_RANGE, &report), ERR_FORMAT);
	CHECK_EQ(link_probe_read(body, LINK_PROBE_SIZE - 1, &probe), ERR_FORMAT);
	memset(body, 0, sizeof(body));
	CHECK_EQ(link_fec_read(body, 200, &row), ERR_FORMAT); /* of no packets */
	body[4] = 2;
	CHECK_EQ(link_fec_read(body, 200, &row), ERR_FORMAT); /* step 0 */
	body[5] = 1;
	CHECK_OK(link_fec_read(body, 200, &row));
	CHECK_EQ(link_fec_read(body, LINK_FEC_HEAD, &row), ERR_FORMAT);
}

TEST(numbers_unwrap_to_the_nearest)
{
	CHECK_EQ(link_unwrap16(0x1fffe, 0x0001), 0x20001);
	CHECK_EQ(link_unwrap16(0x20001, 0xfffe), 0x1fffe);
	CHECK_EQ(link_unwrap32(UINT64_C(0x1fffffffe), 3), UINT64_C(0x200000003));
	CHECK_EQ(link_unwrap32(UINT64_C(0x200000003), 0xfffffffe), UINT64_C(0x1fffffffe));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream's log of real pictures, 40 ms apart, for tests of those who read one.
 */
#ifndef MILLRACE_TESTS_SAMPLE_LOG_H
#define MILLRACE_TESTS_SAMPLE_LOG_H

#include "actors/stream/media_log.h"
#include "actors/stream/payload.h"
#include "tests/unit/stream_samples.h"

enum { SAMPLE_LOG_EXTRA_MAX = 128 * 1024 };

#define SAMPLE_LOG_TRACK                                                      \
	(struct media_track)                                                  \
	{                                                                     \
		.kind = MEDIA_VIDEO, .codec = MEDIA_H264, .clock_rate = 90000 \
	}

static inline void sample_log_put(struct arena *arena, struct slot_ref ref,
	const struct media_header *header, const uint8_t *payload)
{
	struct slot_ref slot = arena_alloc(arena, ARENA_PACKET, 1);
	struct packet *packet = arena_packet(arena, slot);
	struct media_log *log = media_log_get(arena, ref);

	CHECK(packet != NULL);
	packet->header = *header;
	memcpy(packet->payload, payload, header->size);
	CHECK_OK(media_log_put(arena, log, log->next, slot));
	arena_release(arena, ARENA_PACKET, slot);
}

/* Pictures [from, to) of "h264_plain", again and again; each sixth is a keyframe. They are `extra` bytes
 * larger than they were. */
static inline void sample_log_grow(
	struct arena *arena, struct slot_ref ref, int from, int to, size_t extra)
{
	static uint8_t picture[SAMPLE_SIZE_MAX + SAMPLE_LOG_EXTRA_MAX];
	static struct sample sample;
	static uint64_t seq;
	struct payload_packetiser packetiser;

	CHECK(extra <= SAMPLE_LOG_EXTRA_MAX);
	seq = from ? seq : 0;
	sample_load(&sample, "h264_plain");
	payload_packetiser_init(&packetiser, MEDIA_H264);
	CHECK_OK(payload_packetiser_configure(&packetiser, sample.record, sample.record_size));
	for (int i = from; i < to; i++) {
		const int frame = i % sample.count;
		struct payload_cut cut;
		struct payload_packet out;
		uint8_t payload[MEDIA_PAYLOAD_MAX];
		uint64_t time = (uint64_t)i * 3600;

		size_t size = sample_enlarge(
			sample.frames[frame].data, sample.frames[frame].size, extra, picture);

		CHECK_OK(payload_cut_begin(
			&cut, &packetiser, picture, size, time, MEDIA_PAYLOAD_GOAL));
		while (payload_cut_next(&cut, payload, sizeof(payload), &out))
			sample_log_put(arena, ref,
				&(struct media_header){.track_seq = ++seq,
					.size = out.size,
					.rtp_time = time,
					.decode_time = time,
					.capture_us = 5000000 + i * 40000,
					.frame = (uint32_t)i + 1,
					.flags = out.flags},
				payload);
	}
}

static inline struct slot_ref sample_log_create(struct arena *arena)
{
	struct media_log_limits limits = {.age_us = 10000000, .bytes = 1 << 20};

	return media_log_create(arena, 1, &limits, 1);
}

#endif

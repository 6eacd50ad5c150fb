/* SPDX-License-Identifier: Apache-2.0
 *
 * Real bitstreams for the tests of actors/stream, from tests/data/stream/<name>.frames:
 *   u16 size, codec configuration record; then per frame u32 size, i32 presentation time, bytes
 * (numbers big-endian). Made with ffmpeg from its test pictures; tests/data/stream/README says how.
 */
#ifndef MILLRACE_TESTS_STREAM_SAMPLES_H
#define MILLRACE_TESTS_STREAM_SAMPLES_H

#include "schemas/bytes.h"
#include "tests/test.h"

enum { SAMPLE_FRAMES_MAX = 16, SAMPLE_SIZE_MAX = 16384 };

struct sample {
	uint8_t bytes[SAMPLE_SIZE_MAX];
	const uint8_t *record;
	size_t record_size;
	int count;
	struct {
		const uint8_t *data;
		size_t size;
		int32_t time;
	} frames[SAMPLE_FRAMES_MAX];
};

static inline void sample_load(struct sample *s, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/data/stream/%s.frames", test_dir(), name);
	FILE *file = fopen(path, "rb");
	CHECK(file != NULL);
	size_t size = fread(s->bytes, 1, sizeof(s->bytes), file);
	fclose(file);
	struct reader r = reader_of(s->bytes, size);
	s->record_size = read_u16(&r);
	s->record = read_bytes(&r, s->record_size);
	s->count = 0;
	while (reader_left(&r) && s->count < SAMPLE_FRAMES_MAX) {
		s->frames[s->count].size = read_u32(&r);
		s->frames[s->count].time = (int32_t)read_u32(&r);
		s->frames[s->count].data = read_bytes(&r, s->frames[s->count].size);
		s->count++;
	}
	CHECK(!r.bad && reader_left(&r) == 0 && s->count > 0);
}

/* A picture (NAL units behind their sizes) whose last unit is `extra` bytes longer than it was. Returns
 * its size. */
static inline size_t sample_enlarge(const uint8_t *data, size_t size, size_t extra, uint8_t *out)
{
	size_t last = 0, at = 0;

	memcpy(out, data, size);
	while (at < size) {
		struct reader r = reader_of(out + at, 4);

		last = at;
		at += 4 + read_u32(&r);
	}
	memset(out + size, 0x55, extra);
	struct writer w = writer_of(out + last, 4);

	write_u32(&w, (uint32_t)(size + extra - last - 4));
	return size + extra;
}

#endif

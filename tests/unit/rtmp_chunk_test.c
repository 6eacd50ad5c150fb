/* SPDX-License-Identifier: Apache-2.0
 *
 * The chunk stream: the specification's own examples, interleaving, extended timestamps with and
 * without their repetition, chunk sizes, abort, limits; every row in every fragmentation. And what
 * we write, read again.
 */
#include "tests/test.h"

#include "actors/rtmp/chunk.h"

#include <stdio.h>
#include <stdlib.h>

enum { ARENA_SIZE = 4096, MESSAGE_MAX = 2048, INPUT_MAX = 8192 };

/* A row's input is a little script: hex pairs, `*N` repeats the byte before N times in all. */
static size_t unpack(const char *script, uint8_t *out)
{
	size_t used = 0;

	while (*script) {
		unsigned value;
		int step = 0;

		if (*script == ' ') {
			script++;
		} else if (sscanf(script, "*%u%n", &value, &step) == 1 && step) {
			memset(out + used, out[used - 1], value - 1);
			used += value - 1;
			script += step;
		} else {
			CHECK_EQ(sscanf(script, "%2x%n", &value, &step), 1);
			out[used++] = (uint8_t)value;
			script += step;
		}
		CHECK(used < INPUT_MAX);
	}
	return used;
}

static uint32_t sum(const uint8_t *bytes, size_t size)
{
	uint32_t value = 0;

	for (size_t i = 0; i < size; i++)
		value = value * 31 + bytes[i];
	return value;
}

/* Feeds `step` bytes at a time, each piece from memory of its own; prints what comes out. */
static enum err run(const uint8_t *bytes, size_t size, size_t step, char *out, size_t out_size,
	struct chunk_reader *c)
{
	static uint8_t arena[ARENA_SIZE];
	size_t used = 0;
	enum err err = ERR_AGAIN;

	chunk_reader_init(c, MESSAGE_MAX);
	out[0] = 0;
	for (size_t at = 0; at < size; at += step) {
		size_t piece_size = size - at < step ? size - at : step;
		uint8_t *piece = malloc(piece_size);
		struct chunk_message m;

		memcpy(piece, bytes + at, piece_size);
		struct reader in = reader_of(piece, piece_size);
		while ((err = chunk_read(c, arena, sizeof(arena), &in, &m)) == ERR_OK) {
			used += (size_t)snprintf(out + used, out_size - used, "%s%u/%u@%u+%u:%x",
				used ? " " : "", m.type, m.stream, m.time_ms, m.size,
				sum(m.payload, m.size));
			CHECK(used < out_size);
			CHECK(chunk_reader_is_valid(c, sizeof(arena)));
		}
		free(piece);
		if (err != ERR_AGAIN)
			return err;
		CHECK_EQ(reader_left(&in), 0);
		CHECK(chunk_reader_is_valid(c, sizeof(arena)));
	}
	return err;
}

static const struct {
	const char *input;
	const char *messages; /* type/stream@time+size, without the sums */
	enum err err;
} rows[] = {
	/* clang-format off */
	/* section 5.3.2.1: four audio messages, types 0, 2, 3, 3 */
	{"03 0003e8 000020 08 39300000 11*32"
	 " 83 000014 22*32"
	 " c3 33*32"
	 " c3 44*32", "8/12345@1000+32 8/12345@1020+32 8/12345@1040+32 8/12345@1060+32", ERR_AGAIN},
	/* section 5.3.2.2: a video message of 307 bytes in three chunks */
	{"04 0003e8 000133 09 3a300000 aa*128 c4 bb*128 c4 cc*51", "9/12346@1000+307", ERR_AGAIN},
	/* audio between the chunks of a picture */
	{"04 000000 000100 09 01000000 aa*128"
	 " 05 000005 000004 08 01000000 01020304"
	 " c4 bb*128", "8/1@5+4 9/1@0+256", ERR_AGAIN},
	/* three messages begun, ended in another order */
	{"04 000000 000082 09 01000000 aa*128 05 000000 000081 08 01000000 bb*128"
	 " 06 000000 000083 12 01000000 cc*128 c5 01 c4 0203 c6 040506",
	 "8/1@0+129 9/1@0+130 18/1@0+131", ERR_AGAIN},
	/* basic headers of two and three bytes: 64 + 0, 64 + 255, 64 + 1 + 256 */
	{"00 00 000000 000001 08 00000000 07 40 ff 000001 000001 08 07",
	 "8/0@0+1 8/0@1+1", ERR_AGAIN},
	{"00 ff 000000 000001 08 00000000 07 c0 ff 08", "8/0@0+1 8/0@0+1", ERR_AGAIN},
	{"01 0101 000000 000001 08 00000000 07 c1 0101 08", "8/0@0+1 8/0@0+1", ERR_AGAIN},
	/* type 1 on a new chunk stream is taken, 2 and 3 are not */
	{"43 000007 000001 14 09", "20/0@7+1", ERR_AGAIN},
	{"83 000007 09", "", ERR_FORMAT},
	{"c3 09", "", ERR_FORMAT},
	/* no payload */
	{"03 000000 000000 14 00000000 03 000001 000000 14 00000000", 
	 "20/0@0+0 20/0@1+0", ERR_AGAIN},
	/* extended timestamp, one chunk; then a delta */
	{"04 ffffff 000002 09 01000000 01000000 aabb 84 000005 ccdd",
	 "9/1@16777216+2 9/1@16777221+2", ERR_AGAIN},
	/* repeated in type 3 chunks */
	{"04 ffffff 000101 09 01000000 01000000 aa*128 c4 01000000 bb*128 c4 01000000 cc",
	 "9/1@16777216+257", ERR_AGAIN},
	/* not repeated: found out at the first chance and remembered */
	{"04 ffffff 000101 09 01000000 01000000 aa*128 c4 bb*128 c4 cc"
	 " 05 ffffff 000081 08 01000000 01000001 dd*128 c5 ee",
	 "9/1@16777216+257 8/1@16777217+129", ERR_AGAIN},
	/* not repeated, and found out over a chunk that is shorter than a timestamp */
	{"04 ffffff 000081 09 01000000 01000000 aa*128 c4 bb"
	 " 05 000000 000003 08 01000000 010203", "9/1@16777216+129 8/1@0+3", ERR_AGAIN},
	/* an extended delta, used again by a type 3 chunk that begins a message */
	{"04 000000 000001 09 01000000 aa 84 ffffff 01000000 bb c4 01000000 cc",
	 "9/1@0+1 9/1@16777216+1 9/1@33554432+1", ERR_AGAIN},
	/* time wraps */
	{"04 ffffff 000001 09 01000000 fffffff0 aa 84 000020 bb", 
	 "9/1@4294967280+1 9/1@16+1", ERR_AGAIN},
	/* Set Chunk Size: one byte, then large */
	{"02 000000 000004 01 00000000 00000001"
	 " 04 000000 000003 09 01000000 aa c4 bb c4 cc"
	 " 02 000000 000004 01 00000000 00 c2 00 c2 10 c2 00 04 000000 000400 09 01000000 dd*1024",
	 "9/1@0+3 9/1@0+1024", ERR_AGAIN},
	{"02 000000 000004 01 00000000 7fffffff 04 000000 000400 09 01000000 dd*1024",
	 "9/1@0+1024", ERR_AGAIN},
	{"02 000000 000004 01 00000000 00000000", "", ERR_FORMAT},
	{"02 000000 000004 01 00000000 80000001", "", ERR_FORMAT},
	{"02 000000 000003 01 00000000 000001", "", ERR_FORMAT},
	/* Abort: the partial message is gone, the chunk stream is not; an unknown one is nothing */
	{"04 000000 000100 09 01000000 aa*128"
	 " 02 000000 000004 02 00000000 00000004"
	 " 02 000000 000004 02 00000000 00000063"
	 " 04 000009 000001 09 01000000 bb", "9/1@9+1", ERR_AGAIN},
	{"02 000000 000002 02 00000000 0000", "", ERR_FORMAT},
	/* a new message inside an unfinished one */
	{"04 000000 000100 09 01000000 aa*128 04 000000 000001 09 01000000 bb", "", ERR_FORMAT},
	/* giant length; the largest that is allowed */
	{"04 000000 ffffff 09 01000000", "", ERR_TOO_LARGE},
	{"04 000000 000801 09 01000000", "", ERR_TOO_LARGE},
	{"04 000000 000800 09 01000000 aa", "", ERR_AGAIN},
	/* two largest ones fill the arena, a third does not fit, nor does a byte */
	{"04 000000 000800 09 01000000 aa*128 05 000000 000800 09 01000000 aa*128"
	 " 06 000000 000081 09 01000000 aa", "", ERR_LIMIT},
	/* what was freed is used again, below and between others */
	{"04 000000 000400 09 01000000 aa*128 05 000000 000400 09 01000000 aa*128"
	 " 06 000000 0007f0 09 01000000 aa*128"
	 " 02 000000 000004 02 00000000 00000005 07 000000 000300 09 01000000 bb*128"
	 " 08 000000 000081 09 01000000 bb*128 c8 cc", "9/1@0+129", ERR_AGAIN},
	/* clang-format on */
};

TEST(every_row_gives_the_same_messages_in_every_fragmentation)
{
	static const size_t steps[] = {INPUT_MAX, 1, 2, 3, 5, 11, 64, 129};
	static uint8_t bytes[INPUT_MAX];
	struct chunk_reader c;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t size = unpack(rows[i].input, bytes);
		char whole[1024], bare[1024], split[1024];

		for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
			char *out = k == 0 ? whole : split;
			CHECK_EQ(run(bytes, size, steps[k], out, sizeof(whole), &c), rows[i].err);
			CHECK_STR(out, whole);
		}
		/* without the sums */
		size_t used = 0;
		for (const char *p = whole; *p; p++) {
			if (*p == ':')
				p += strcspn(p, " ");
			if (!*p)
				break;
			bare[used++] = *p;
		}
		bare[used] = 0;
		CHECK_STR(bare, rows[i].messages);
	}
}

TEST(every_truncation_waits_for_more)
{
	static uint8_t bytes[INPUT_MAX];
	struct chunk_reader c;
	char out[1024];
	size_t size = unpack("04 ffffff 000101 09 01000000 01000000 aa*128 c4 01000000 bb*128 c4 "
			     "01000000 cc",
		bytes);

	for (size_t cut = 1; cut < size; cut++) {
		CHECK_EQ(run(bytes, cut, 3, out, sizeof(out), &c), ERR_AGAIN);
		CHECK_STR(out, "");
	}
}

TEST(chunk_streams_are_limited)
{
	static uint8_t bytes[INPUT_MAX];
	struct chunk_reader c;
	char out[2048];
	struct writer w = writer_of(bytes, sizeof(bytes));

	for (unsigned id = 2; id < 2 + CHUNK_STREAMS_MAX + 1; id++) {
		struct chunk_headers h;
		chunk_headers_make(&h, id, CHUNK_AUDIO, 1, 0, 1);
		write_bytes(&w, h.first, h.first_size);
		write_u8(&w, 0);
	}
	CHECK_EQ(run(bytes, writer_used(&w) - 13, 7, out, sizeof(out), &c), ERR_AGAIN);
	CHECK_EQ(run(bytes, writer_used(&w), 7, out, sizeof(out), &c), ERR_LIMIT);
}

TEST(state_that_points_outside_is_refused)
{
	struct chunk_reader good, bad;
	static uint8_t bytes[INPUT_MAX];
	char out[64];

	size_t size = unpack("04 000000 000100 09 01000000 aa*60", bytes);
	run(bytes, size, 9, out, sizeof(out), &good);
	CHECK(chunk_reader_is_valid(&good, ARENA_SIZE));
	CHECK(!chunk_reader_is_valid(&good, 255));
#define BROKEN(change)                                           \
	do {                                                     \
		bad = good;                                      \
		bad.change;                                      \
		CHECK(!chunk_reader_is_valid(&bad, ARENA_SIZE)); \
	} while (0)
	BROKEN(current = CHUNK_STREAMS_MAX + 1);
	BROKEN(current = 2);
	BROKEN(chunk_size = 0);
	BROKEN(chunk_size = CHUNK_SIZE_MAX + 1);
	BROKEN(message_max = 0);
	BROKEN(chunk_left = 197);
	BROKEN(ahead_size = CHUNK_HEADER_MAX + 1);
	BROKEN(repeat = CHUNK_REPEAT_COUNT);
	BROKEN(streams[0].place = ARENA_SIZE - 255);
	BROKEN(streams[0].place = UINT32_MAX);
	BROKEN(streams[0].length = MESSAGE_MAX + 1);
	BROKEN(streams[0].taken = 257);
	BROKEN(streams[0].placed = 0);
	BROKEN(streams[0].partial = 0);
	BROKEN(streams[0].partial = 2);
#undef BROKEN
}

TEST(what_is_framed_is_read_again)
{
	static const uint32_t times[] = {0, 40, 0xfffffe, 0xffffff, 0x1000000, 0xffffffff};
	static const uint32_t chunk_sizes[] = {1, 128, 500, 60000};
	static uint8_t payload[1000], wire[INPUT_MAX];

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		for (size_t k = 0; k < sizeof(chunk_sizes) / sizeof(chunk_sizes[0]); k++) {
			struct iovec pieces[] = {
	/* clang-format off */
				{payload, 5},
				      {payload + 5, 0},
				{payload + 5, 700},
				{payload + 705, 295}
	/* clang-format on */
			};
			static struct iovec out[4 + 2 * 1001];
			struct chunk_headers h;
			struct chunk_reader c;
			struct chunk_message m;
			uint8_t arena[2048];
			size_t size = 0;

			chunk_headers_make(&h, 6, CHUNK_VIDEO, 1, times[i], sizeof(payload));
			size_t count = chunk_frame(&h, chunk_sizes[k], pieces, 4, out,
				4 + 2 * (sizeof(payload) / chunk_sizes[k] + 1));
			CHECK(count > 0);
			CHECK_EQ(chunk_frame(&h, chunk_sizes[k], pieces, 4, out, count - 1), 0);
			chunk_frame(&h, chunk_sizes[k], pieces, 4, out, count);
			for (size_t p = 0; p < count; p++) {
				memcpy(wire + size, out[p].iov_base, out[p].iov_len);
				size += out[p].iov_len;
			}
			chunk_reader_init(&c, 1000);
			c.chunk_size = chunk_sizes[k];
			struct reader in = reader_of(wire, size);
			CHECK_OK(chunk_read(&c, arena, sizeof(arena), &in, &m));
			CHECK_EQ(reader_left(&in), 0);
			CHECK_EQ(m.time_ms, times[i]);
			CHECK_EQ(m.type, CHUNK_VIDEO);
			CHECK_EQ(m.stream, 1);
			CHECK_EQ(m.size, sizeof(payload));
			CHECK_MEM(m.payload, payload, sizeof(payload));
		}
	}
	struct chunk_headers h;
	chunk_headers_make(&h, 4, CHUNK_AUDIO, 1, 0, 0);
	CHECK_EQ(chunk_frame(&h, 128, NULL, 0, NULL, 0), 0);
}

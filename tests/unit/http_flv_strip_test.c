/* SPDX-License-Identifier: Apache-2.0
 *
 * The strip: what is found is what was put, what is not found was overwritten; viewers are written
 * the same with it and without.
 */
#include "tests/unit/flv_viewers.h"

enum { PACKETS = 20000, BYTES_MAX = 1400 };

static struct flv_strip strip;

static uint8_t byte_of(uint64_t position, size_t at)
{
	return (uint8_t)(position * 31 + at * 7);
}

static void put_packet(uint64_t position, size_t size)
{
	uint8_t bytes[BYTES_MAX];

	for (size_t i = 0; i < size; i++)
		bytes[i] = byte_of(position, i);
	flv_strip_put(&strip, position, bytes, size);
}

TEST(what_is_found_is_what_was_put)
{
	static size_t size[PACKETS];
	struct rng rng = rng_of(7);
	uint64_t position = 1;

	flv_strip_clear(&strip);
	while (position < PACKETS - 64) {
		size_t count = 1 + rng_below(&rng, 60), found = 0, total = 0;

		for (size_t i = 0; i < count; i++)
			total += size[position + i] = 1 + rng_below(&rng, BYTES_MAX);
		CHECK(flv_strip_begin(&strip, total));
		for (size_t i = 0; i < count; i++)
			put_packet(position + i, size[position + i]);
		position += count;
		for (uint64_t at = 1; at < position; at++) {
			const uint8_t *bytes = flv_strip_find(&strip, at);

			for (size_t i = 0; bytes && i < size[at]; i++)
				CHECK_EQ(bytes[i], byte_of(at, i));
			if (bytes && at > position - count)
				CHECK(bytes == flv_strip_find(&strip, at - 1) + size[at - 1]);
			found += bytes != NULL;
		}
		CHECK(found >= count); /* those of one call at least */
	}
	CHECK(!flv_strip_find(&strip, position));
	CHECK(!flv_strip_begin(&strip, FLV_STRIP_SIZE + 1));
	flv_strip_clear(&strip);
	CHECK(!flv_strip_find(&strip, position - 1));
}

TEST(a_write_has_a_piece_a_tag_in_place_of_one_a_packet)
{
	struct flv_batch with, without;
	struct viewer v;
	uint8_t bytes[2][256 * 1024];
	struct flv_batch *batches[] = {&with, &without};

	begin();
	set_tracks(true);
	viewer_begin(&v);
	for (int i = 0; i < 6; i++)
		put_frame(0, true);
	run();
	for (int i = 0; i < 2; i++) {
		size_t at = 0;

		flv_view_fill(&v.view, &flv_as_file, arena, tags, work, batches[i]);
		for (size_t k = 0; k < batches[i]->count; k++) {
			memcpy(bytes[i] + at, batches[i]->iov[k].iov_base,
				batches[i]->iov[k].iov_len);
			at += batches[i]->iov[k].iov_len;
		}
		CHECK_EQ(at, batches[i]->bytes);
		flv_view_sent(&v.view, arena, tags, batches[i], 0);
		flv_strip_clear(&frame_room->strip);
	}
	CHECK_EQ(with.bytes, without.bytes);
	CHECK_MEM(bytes[0], bytes[1], with.bytes);
	CHECK_EQ(with.pieces, without.pieces);
	CHECK(with.count < without.count);
	viewer_end(&v);
	end();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes that viewers share (flv_run.h): each gets, to the byte, what it would get alone. Every viewer
 * has a twin that comes, takes and goes when it does, and shares nothing.
 */
#include "tests/unit/flv_viewers.h"

enum { PAIRS = 6, STEPS = 150, SHIFT_MS = 0xffffff - 2000 };

struct pair {
	struct viewer of[2]; /* the second one is alone */
	const struct flv_framing *way;
	bool is_there;
};

static struct pair pairs[PAIRS];

static void pair_begin(struct pair *pair)
{
	viewer_begin(&pair->of[0]);
	viewer_begin(&pair->of[1]);
	pair->way = framing;
	pair->is_there = true;
}

/* Whenever it goes: the same bytes, and the same counted. */
static void pair_end(struct pair *pair)
{
	const struct flv_place *shared = &pair->of[0].view.at, *own = &pair->of[1].view.at;

	CHECK_EQ(pair->of[0].size, pair->of[1].size);
	CHECK_MEM(pair->of[0].out, pair->of[1].out, pair->of[0].size);
	CHECK_EQ(shared->out, own->out);
	CHECK_EQ(shared->position, own->position);
	CHECK_EQ(shared->offset, own->offset);
	CHECK_EQ(shared->tag, own->tag);
	CHECK_EQ(shared->lag_allowed_us, own->lag_allowed_us);
	CHECK_EQ(shared->tags_dropped, own->tags_dropped);
	viewer_end(&pair->of[0]);
	viewer_end(&pair->of[1]);
	pair->is_there = false;
}

/* Each as much as it takes; then their twins. Returns how many writes were shared. */
static unsigned all_take(const size_t rooms[PAIRS])
{
	const struct flv_framing *was = framing;
	unsigned shared;

	for (int i = 0; i < 2; i++) {
		alone = i == 1;
		if (!alone)
			shared_writes = 0;
		else
			shared = shared_writes;
		for (int j = 0; j < PAIRS; j++) {
			framing = pairs[j].way;
			if (pairs[j].is_there)
				viewer_take(&pairs[j].of[i], rooms[j]);
		}
	}
	alone = false;
	framing = was;
	return shared;
}

static uint32_t sound_late; /* pictures that have come before the sound that belongs to them */

static void put_frames(unsigned count)
{
	while (count--) {
		put_frame(0, false);
		frames -= sound_late + 1;
		put_audio(0);
		frames += sound_late + 1;
	}
	run();
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void share_at_every_speed(const struct flv_framing *by)
{
	/* of 0: some take all, or stop in a tag, or take nothing for long */
	static const size_t most[PAIRS] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, 9000, 2500, 900};
	struct rng rng = rng_of(7);
	unsigned shared = 0;

	framing = by;
	begin();
	set_tracks(true);
	for (int i = 0; i < 2 * GOP; i++)
		put_frame(0, true);
	run();
	for (int step = 0; step < STEPS; step++) {
		size_t rooms[PAIRS];

		for (int i = 0; i < PAIRS; i++) {
			struct pair *pair = &pairs[i];

			/* they come and go at any time: each has another tag at 0 */
			if (!pair->is_there && rng_below(&rng, 4) == 0)
				pair_begin(pair);
			else if (pair->is_there && rng_below(&rng, 40) == 0)
				pair_end(pair);
			rooms[i] = most[i] == SIZE_MAX ? SIZE_MAX
						       : 1 + (size_t)rng_below(&rng, most[i]);
		}
		/* once in a while nobody takes anything for seconds */
		put_frames(step % 20 == 19 ? 60 : 1 + (unsigned)rng_below(&rng, 3));
		shared += all_take(rooms);
	}
	for (int i = 0; i < PAIRS; i++)
		if (pairs[i].is_there)
			pair_end(&pairs[i]);
	CHECK_GE(shared, STEPS);
	end();
	framing = &flv_as_file;
}

TEST(viewers_who_share_get_what_each_would_get_alone)
{
	share_at_every_speed(&flv_as_file);
	share_at_every_speed(&flv_as_messages);
	share_at_every_speed(&flv_as_chunks);
}

/* Who began between a picture and its sound does without what is from before. */
TEST(so_they_do_when_sound_is_late)
{
	sound_late = 4;
	viewers_who_share_get_what_each_would_get_alone(NULL);
	sound_late = 0;
}

TEST(so_they_do_when_writers_die_before_they_count)
{
	writers_die = true;
	viewers_who_share_get_what_each_would_get_alone(NULL);
	writers_die = false;
}

/* Behind 0xffffff ms a chunk has four more bytes: who began late has not come so far. */
TEST(heads_of_another_size_are_not_shared)
{
	const size_t rooms[PAIRS] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
	unsigned shared = 0;

	framing = &flv_as_chunks;
	begin();
	set_tracks(true);
	put_frames(1);
	pair_begin(&pairs[0]);
	pair_begin(&pairs[1]);
	all_take(rooms);
	work->zero_us -= SHIFT_MS * INT64_C(1000);
	work->last_ms += SHIFT_MS;
	work->video.last_ms += SHIFT_MS;
	work->audio.last_ms += SHIFT_MS;
	put_frames(2 * GOP); /* the timeline is four hours and a half on */
	pair_begin(&pairs[2]);
	for (int i = 0; i < 100; i++) {
		put_frames(2);
		shared += all_take(rooms);
	}
	CHECK_GE((int64_t)work->last_ms, 0xffffff);
	CHECK_GE(shared, 100);
	for (int i = 0; i < 3; i++)
		pair_end(&pairs[i]);
	framing = &flv_as_file;
	end();
}

/* It is gathered for each, as ever. */
TEST(what_is_larger_than_a_run_is_not_shared)
{
	const size_t rooms[PAIRS] = {SIZE_MAX, SIZE_MAX, SIZE_MAX};

	begin();
	extra = FLV_RUN_MAX;
	set_tracks(true);
	put_frames(1);
	for (int i = 0; i < 3; i++)
		pair_begin(&pairs[i]);
	all_take(rooms);
	put_frames(GOP - 1);
	CHECK_GE(all_take(rooms), 2);
	put_frames(1); /* the large keyframe */
	CHECK_EQ(all_take(rooms), 0);
	for (int i = 0; i < 3; i++)
		pair_end(&pairs[i]);
	extra = 0;
	end();
}

/* Who has seen a picture of before does not get one of now with the old configuration. */
TEST(headers_in_between_are_not_shared)
{
	const size_t rooms[PAIRS] = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
	struct seen seen;

	begin();
	set_tracks(true);
	put_frames(GOP);
	for (int i = 0; i < 3; i++)
		pair_begin(&pairs[i]);
	all_take(rooms);
	audio_track.config[1] = 0x88;
	set_tracks(true);
	put_frames(1);
	CHECK_EQ(work->headers.version, 2);
	CHECK_EQ(all_take(rooms), 0);
	put_frames(1);
	CHECK_GE(all_take(rooms), 2);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pairs[i].of[0].view.at.version, 2);
		viewer_read(&pairs[i].of[0], &seen);
		CHECK_EQ(seen.holes, 0);
		pair_end(&pairs[i]);
	}
	audio_track.config[1] = 0x90;
	end();
}

/* More places and ways than there are runs: everybody is served all the same. */
TEST(more_places_than_runs_harm_nobody)
{
	static const struct flv_framing *const ways[] = {
		&flv_as_file, &flv_as_messages, &flv_as_chunks};
	unsigned shared = 0;

	begin();
	set_tracks(true);
	put_frames(1);
	for (int i = 0; i < PAIRS; i++) {
		framing = ways[i % 3];
		pair_begin(&pairs[i]);
	}
	for (int step = 0; step < STEPS; step++) {
		size_t rooms[PAIRS];

		for (int i = 0; i < PAIRS; i++)
			rooms[i] = i == PAIRS - 1 && step % 2 ? 0 : SIZE_MAX;
		shared += all_take(rooms);
		put_frames(1);
	}
	CHECK_GE(shared, STEPS / 2);
	CHECK_LE(shared, STEPS * FLV_RUNS);
	for (int i = 0; i < PAIRS; i++)
		pair_end(&pairs[i]);
	framing = &flv_as_file;
	end();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/stream/source_map.h"

enum {
	GAP_MIN_US = 20 * 1000, /* from the last packet of one source to the next one's first */
	GAP_MAX_US = 1800 * 1000 * 1000, /* more is a clock that jumped */
};

void source_map_restart(struct track_map *map)
{
	map->started = false;
}

/* From the captures of this source to those of the stream: what a track of it has got already, or,
 * for the first, as little as puts it behind all that has been sent. */
static int64_t source_shift(
	const struct track_map *maps, size_t count, const struct media_header *header)
{
	int64_t latest_us = INT64_MIN, gap_us;

	for (size_t i = 0; i < count; i++) {
		if (maps[i].started)
			return maps[i].capture_shift_us;
		if (maps[i].last_seq && maps[i].last_capture_us > latest_us)
			latest_us = maps[i].last_capture_us;
	}
	if (latest_us == INT64_MIN)
		return 0;
	gap_us = header->capture_us - latest_us;
	if (gap_us < GAP_MIN_US)
		return GAP_MIN_US - gap_us;
	return gap_us > GAP_MAX_US ? GAP_MAX_US - gap_us : 0;
}

void source_map_put(struct track_map *map, const struct media_header *header)
{
	if (header->track_seq <= map->last_seq)
		return;
	map->last_seq = header->track_seq;
	map->last_frame = header->frame;
	map->last_time = header->rtp_time;
	map->last_capture_us = header->capture_us + map->capture_shift_us;
}

static void join(struct track_map *map, uint32_t clock_rate, struct media_header *header)
{
	int64_t gap_us = header->capture_us + map->capture_shift_us - map->last_capture_us;

	if (gap_us < GAP_MIN_US)
		gap_us = GAP_MIN_US;
	if (gap_us > GAP_MAX_US)
		gap_us = GAP_MAX_US;
	map->seq_shift = (int64_t)(map->last_seq + 1 - header->track_seq);
	map->frame_shift = (int64_t)map->last_frame + 1 - header->frame;
	map->time_shift = (int64_t)(map->last_time + (uint64_t)(gap_us * clock_rate / 1000000) -
				    header->rtp_time);
	header->flags |= MEDIA_DISCONTINUITY;
}

enum source_map_verdict source_map_packet(struct track_map *maps, size_t count,
	const struct media_track *track, struct media_header *header)
{
	struct track_map *map = &maps[header->track];
	uint8_t first = MEDIA_KEYFRAME | MEDIA_FRAME_START;

	if (!map->started) {
		/* one that was overtaken is no beginning: the rest of its frame has been dropped */
		if (track->kind == MEDIA_VIDEO && (header->flags & (first | MEDIA_LATE)) != first)
			return SOURCE_MAP_NOT_YET;
		if (header->flags & MEDIA_LATE)
			return SOURCE_MAP_TOO_LATE;
		map->capture_shift_us = source_shift(maps, count, header);
		if (map->last_seq)
			join(map, track->clock_rate, header);
		map->started = true;
		map->first_seq = header->track_seq + (uint64_t)map->seq_shift;
	}
	uint64_t seq = header->track_seq + (uint64_t)map->seq_shift;

	/* a distance: mapped, a packet from before the first one may lie below zero */
	if ((int64_t)(seq - map->first_seq) < 0)
		return SOURCE_MAP_TOO_LATE;
	header->track_seq = seq;
	header->frame = (uint32_t)(header->frame + map->frame_shift);
	header->rtp_time += (uint64_t)map->time_shift;
	header->decode_time += (uint64_t)map->time_shift;
	source_map_put(map, header);
	return SOURCE_MAP_FORWARD;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts what a source sends onto a stream's own timeline, so that a change of source is no change
 * for those who read: sequence, frame and time go on where the last source stopped, time advanced
 * by what passed between the two captures: the same for all its tracks, so that sound and picture
 * stay together also where a source's clock was wrong. A new source's video begins with a keyframe.
 *
 * Pure; state is struct track_map (schemas/stream.def), one a track.
 */
#ifndef MILLRACE_SOURCE_MAP_H
#define MILLRACE_SOURCE_MAP_H

#include "schemas/schema.h"

enum source_map_verdict {
	SOURCE_MAP_FORWARD,
	SOURCE_MAP_NOT_YET,  /* video before this source's first keyframe */
	SOURCE_MAP_TOO_LATE, /* belongs before this source's first forwarded packet */
};

/* A new source begins on this track, whatever it will turn out to be. */
void source_map_restart(struct track_map *map);

/* `maps`: those of all tracks, by id; `track` is that of header->track, which is one of them.
 * Rewrites track_seq, rtp_time, decode_time, frame and flags of the header when it is to be
 * forwarded. */
enum source_map_verdict source_map_packet(struct track_map *maps, size_t count,
	const struct media_track *track, struct media_header *header);

/* A packet as it was rewritten is in the stream. */
void source_map_put(struct track_map *map, const struct media_header *header);

#endif

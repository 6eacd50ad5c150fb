/* SPDX-License-Identifier: Apache-2.0
 *
 * One viewer's way through a muxer's tag log: what goes out next, straight from the slots, and what
 * a viewer that is too slow does without.
 *
 *   start --headers--> at the last keyframe --tags--> at the live edge
 *                                                        | the socket takes less than comes
 *                      lag near the limit:   pictures nobody refers to are left out
 *                      lag over the limit:   pictures up to the next keyframe are left out
 *                      lag far over it:      audio too
 *                      the log has moved on: everything up to the last keyframe is left out
 *
 * Nothing is ever cut inside a tag: when a write ends in the middle of one, the rest of that tag is
 * held (its packets, by reference), however far the log moves on. That is all the memory a slow
 * viewer costs. A new viewer is behind by the age of the keyframe it begins at: its limit starts
 * there and follows it down.
 *
 * Over WebSocket every tag is one binary message, and the headers are one, so that control frames
 * have their places between tags. All that is different then is the frame's head in front.
 *
 * Times: the first tag sent is at 0; what follows keeps its distance on the muxer's timeline.
 *
 * Thread: one at a time. No allocation. Plain data in an ARENA_SESSION slot.
 */
#ifndef MILLRACE_FLV_VIEW_H
#define MILLRACE_FLV_VIEW_H

#include "actors/http/flv_work.h"
#include "actors/http/ws.h"

#include <sys/uio.h>

enum {
	FLV_VIEW_IOV = 64, /* pieces of a write */
	FLV_LAG_US = 1500 * 1000,
	FLV_LAG_SOON_US = 750 * 1000,	/* so much below the limit the least important goes */
	FLV_LAG_GRACE_US = 1000 * 1000, /* a new viewer may fall back by this before it counts */
};

struct flv_view {
	uint64_t position; /* in the tag log, to be sent next */
	uint32_t offset;   /* bytes of that packet which are out, its frame's head included */
	uint32_t version;  /* of the headers it has seen */
	uint32_t prefix_size;
	uint32_t prefix_sent;
	int64_t base_ms;
	int64_t lag_allowed_us;
	uint64_t tags_dropped;
	uint64_t skips;
	uint8_t framed; /* WebSocket; set before the first fill */
	uint8_t started;
	uint8_t based;
	uint8_t wants_keyframe;
	uint8_t finishing;     /* nothing more than the rest of the tag that is half out */
	uint16_t pinned_count; /* packets held: the rest of the tag that is half out */
	uint16_t pinned_at;
	struct slot_ref pinned[FLV_TAG_PACKETS_MAX];
	uint8_t prefix[WS_HEAD_MAX +
		       FLV_HEADERS_MAX]; /* goes out before the packet at `position` */
};

/* One write: pieces that point into slots and into itself, valid until the log changes. */
struct flv_batch {
	size_t count;
	size_t bytes;
	struct iovec iov[FLV_VIEW_IOV];
	struct {
		uint64_t position; /* 0: the prefix */
		uint32_t size;
		bool last; /* piece of its packet */
	} piece[FLV_VIEW_IOV];
	/* heads of frames, tag headers with the viewer's time */
	uint8_t heads[FLV_VIEW_IOV / 2][WS_HEAD_MAX + FLV_TAG_HEADER_SIZE];
};

/* What to write next. Empty when there is nothing: the viewer has all, or waits for the headers. */
void flv_view_fill(struct flv_view *view, struct arena *arena, const struct media_log *log,
	const struct flv_headers *headers, struct flv_batch *batch);

/* `size` bytes of the batch are out. */
void flv_view_sent(struct flv_view *view, struct arena *arena, const struct media_log *log,
	const struct flv_batch *batch, size_t size);

/* From here on there is nothing to write but the rest of the tag that is half out. */
void flv_view_finish(struct flv_view *view);

/* Is it in the middle of a tag? */
bool flv_view_is_inside(const struct flv_view *view);

/* Gives back what it holds. */
void flv_view_release(struct flv_view *view, struct arena *arena);

/* A successor: counts again what it holds. ERR_FORMAT: nonsense. */
enum err flv_view_restore(struct flv_view *view, struct arena *arena);

#endif

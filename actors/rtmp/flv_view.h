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
 * Viewers who stand at one place share what was gathered for one of them (flv_run.h). Other things
 * of a connection than tags have their places between tags.
 *
 * Times: the first tag sent is at 0; what follows keeps its distance on the muxer's timeline. Sound
 * from before the first picture is left out.
 *
 * A process may die at any instruction of this, and its successor goes on at the byte: a write is
 * made of a place and where it ends, both stored before it; how much of it went out the socket tells
 * (net_progress); what was in it is found again in the tag log.
 *
 * Thread: one at a time. No allocation. Plain data in an ARENA_SESSION slot.
 */
#ifndef MILLRACE_FLV_VIEW_H
#define MILLRACE_FLV_VIEW_H

#include "actors/rtmp/flv_work.h"

#include <sys/uio.h>

enum {
	FLV_VIEW_IOV = 64,		/* pieces of a write */
	FLV_VIEW_HEADS = FLV_RUN_HEADS, /* of them made here, at most one a packet */
	FLV_LAG_US = 1500 * 1000,
	FLV_LAG_SOON_US = 750 * 1000,	/* so much below the limit the least important goes */
	FLV_LAG_GRACE_US = 1000 * 1000, /* a new viewer may fall back by this before it counts */
};

/* Where a viewer is. */
struct flv_place {
	uint64_t out;	   /* bytes that have gone out, in all */
	uint64_t position; /* in the tag log, to be sent next */
	uint32_t offset;   /* bytes of that packet which are out, with what the framing adds */
	uint32_t version;  /* of the headers it has seen */
	uint32_t tag;	   /* number of the last one that was sent or left out; 0: none yet */
	uint32_t prefix_size;
	uint32_t prefix_sent;
	int64_t base_ms;
	int64_t lag_allowed_us;
	uint64_t tags_dropped;
	uint8_t prefix_in; /* which of the two */
	uint8_t started;
	uint8_t based;
	uint8_t wants_keyframe;
};

/* What a viewer's process does, in case that it dies at it. */
enum flv_step {
	FLV_RESTS,  /* `at` is right, and nothing is on its way */
	FLV_FILLS,  /* `was` is right, and nothing is on its way */
	FLV_WRITES, /* `at` is right; of what lies from there up to `end` some may be out */
	FLV_COUNTS, /* the same of `was` */
	FLV_STEPS
};

struct flv_view {
	struct flv_place at, was;
	uint64_t end;	       /* of what a write has in it */
	uint32_t channel;      /* for the framing */
	uint8_t step;	       /* enum flv_step */
	uint8_t finishing;     /* nothing more than the rest of the tag that is half out */
	uint16_t pinned_count; /* packets held: the rest of the tag that is half out … */
	uint64_t pinned_from;  /* … from this position on */
	struct slot_ref pinned[FLV_TAG_PACKETS_MAX];
	/* goes out before the packet at `position`; two, so that what may be half out stays */
	uint8_t prefix[2][FLV_HEADERS_MAX + FLV_FRAMING_LEAD];
};

/* One write: pieces that point into slots, a run and itself, valid until the log changes or another
 * viewer fills his. */
struct flv_batch {
	size_t count;
	size_t bytes;
	uint32_t shared_last; /* it is a run, up to this tag; 0: it is pieces */
	struct iovec iov[FLV_VIEW_IOV];
	struct {
		uint64_t position; /* 0: the prefix */
		uint32_t tag;
		uint32_t size;
		bool last; /* piece of its packet */
	} piece[FLV_VIEW_IOV];
	size_t head_count;
	struct flv_run_head head[FLV_VIEW_HEADS];
	uint8_t heads[FLV_VIEW_HEADS][FLV_FRAMING_MAX]; /* with the viewer's time */
};

/* A viewer that has seen nothing; the bytes that have gone out on its connection stay counted. */
void flv_view_begin(struct flv_view *view, uint32_t channel);

/* What to write next, of what the desk's muxer has put into `log`. Empty when there is nothing: the viewer has all, or waits for the headers. After
 * the write flv_view_sent() must follow, whatever came of it. */
void flv_view_fill(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, struct flv_desk *desk, struct flv_batch *batch);

/* `size` bytes of the batch are out (none, too). */
void flv_view_sent(struct flv_view *view, const struct flv_framing *framing, struct arena *arena,
	const struct media_log *log, struct flv_batch *batch, size_t size);

/* How long the first bytes took, for a field in which 0 says that there were none yet: at least 1,
 * also where all of it was one turn. */
static inline uint64_t flv_view_started_us(int64_t asked_us, int64_t now_us)
{
	return now_us > asked_us ? (uint64_t)(now_us - asked_us) : 1;
}

/* From here on there is nothing to write but the rest of the tag that is half out … */
void flv_view_finish(struct flv_view *view);
/* … or until this: the headers again, then what is not too late by now. */
void flv_view_resume(struct flv_view *view);

/* Is it in the middle of a tag? */
bool flv_view_is_inside(const struct flv_view *view);

/* Gives back what it holds. */
void flv_view_release(struct flv_view *view, struct arena *arena);

/* A successor: counts again what it holds. ERR_FORMAT: nonsense. */
enum err flv_view_restore(struct flv_view *view, struct arena *arena);

/* Was something on its way when the process died? */
bool flv_view_was_writing(const struct flv_view *view);

/* A successor knows that `size` more bytes are out than at.out says: as flv_view_sent(). ERR_FORMAT:
 * that cannot be. */
enum err flv_view_resolve(struct flv_view *view, const struct flv_framing *framing,
	struct arena *arena, const struct media_log *log, uint64_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A run: the bytes of one write, for all viewers of a stream who stand at the same place of its tag
 * log. Most of hundreds do, and what differs among them are the times in a few heads: they are written
 * in anew for who began at another tag. So a write to one more viewer gathers nothing and is one
 * piece.
 *
 *   (nothing) --a viewer has it gathered--> asked --a second one--> made --the log grows--> (nothing)
 *                                                '--too large, or not for all--> barred --'
 *
 * A run holds whole tags, up to the end of the log, that no viewer who keeps up does without. Whoever
 * is in the middle of a tag, or late, or has a keyframe or headers to wait for, is written to piece by
 * piece (flv_view.h).
 *
 * What goes out by a run is what would go out without: a successor, which finds none, counts the bytes
 * by the log.
 *
 * Thread: one at a time. No allocation. Plain data on the muxer's desk.
 */
#ifndef MILLRACE_FLV_RUN_H
#define MILLRACE_FLV_RUN_H

#include "actors/rtmp/flv_framing.h"
#include "actors/stream/media_log.h"

#include <sys/uio.h>

enum {
	FLV_RUNS = 2,		/* at a time: by way and place */
	FLV_RUN_MAX = 56 << 10, /* bytes: what comes within FLV_GATHER_MS at 5 Mbit/s and more */
	FLV_RUN_HEADS = 32,
};

enum flv_run_phase { FLV_RUN_NOTHING, FLV_RUN_ASKED, FLV_RUN_MADE, FLV_RUN_BARRED };

/* Where a head stands, and what it is made of. */
struct flv_run_head {
	uint64_t rtp_time; /* of the tag, as in the log */
	uint32_t at;
	uint32_t body_size;
	uint8_t size;
	uint8_t type;
	bool between; /* two parts of a body */
};

struct flv_run_key {
	uint64_t position, end; /* in the tag log: the first, and that after the last */
	uint32_t channel;
	enum flv_way way;
};

struct flv_run {
	struct flv_run_key key;
	enum flv_run_phase phase;
	uint32_t version;      /* of the headers that a viewer must have seen */
	uint32_t first, last;  /* tags */
	int64_t lag_us;	       /* of the first one, behind the newest */
	int64_t sound_from_ms; /* who begins later does without some of the sound */
	int64_t base_ms;       /* the times in it are those of who began here */
	uint32_t size;
	uint32_t head_count;
	struct flv_run_head head[FLV_RUN_HEADS];
	uint8_t bytes[FLV_RUN_MAX];
};

/* The time of a tag for who began at `base_ms`. */
static inline uint32_t flv_time_since(int64_t base_ms, uint64_t rtp_time)
{
	int64_t ms = (int64_t)rtp_time - base_ms;

	return ms > 0 ? (uint32_t)ms : 0;
}

/* That with this key; NULL: there is none. */
struct flv_run *flv_run_find(struct flv_run runs[FLV_RUNS], const struct flv_run_key *key);

/* Somebody had it gathered for himself: it takes the place of one that is over, if there is one. */
void flv_run_ask(struct flv_run runs[FLV_RUNS], const struct flv_run_key *key);

/* What a viewer that began at `base_ms` gathered, as bytes in one piece. False: they are barred, because
 * they are too large, or some would do without part of them: `late_us` behind the newest, or headers. */
struct flv_gathered {
	const struct iovec *iov;
	size_t count, bytes;
	const struct flv_run_head *head;
	size_t head_count;
	int64_t base_ms;
};
bool flv_run_make(struct flv_run *run, const struct flv_gathered *gathered, struct arena *arena,
	const struct media_log *log, int64_t late_us);

/* Writes the times of who began at `base_ms` into it. False: heads would have another size with them. */
bool flv_run_stamp(struct flv_run *run, const struct flv_framing *framing, int64_t base_ms);

/* A successor's: there is none. */
void flv_runs_forget(struct flv_run runs[FLV_RUNS]);

#endif

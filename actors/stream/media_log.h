/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream's log: the last packets of all its tracks in order of arrival, in one arena slot. One
 * structure serves the fan-out (every viewer is a position in it), retransmission (a viewer's
 * sequence number maps to a position) and instant start (the GOP cache).
 *
 * Positions count from 1 and never wrap. A position may be a hole (a replica's packet that has not
 * come yet); readers stop before the first hole that is still awaited.
 *
 *   first ... keyframe ... ready ... next
 *     oldest kept   last GOP's start   readable below   next to be written
 *
 * Bounds: the last GOP as far as it lies within limits.age_us and limits.bytes; what is older than
 * the last keyframe stays for MEDIA_LOG_TAIL_US (retransmission, slow readers), or for whoever is fed
 * slowly as long as that one needs it (media_log_want). When the packet pool
 * is short every log shrinks as it is written, its cached GOP included: what flows comes first.
 *
 * Plain data; all functions take references and check them: a successor reads it as untrusted.
 */
#ifndef MILLRACE_MEDIA_LOG_H
#define MILLRACE_MEDIA_LOG_H

#include "runtime/arena.h"

/* Positions beyond are damage, not numbering. */
#define MEDIA_LOG_POSITION_MAX (1ull << 62)

enum {
	MEDIA_LOG_ENTRIES = 16384, /* packets */
	MEDIA_LOG_TAIL_US = 2000000,
	MEDIA_LOG_RATE_US = 1000000,	  /* capture time of one measurement of the rate */
	MEDIA_LOG_RATE_FIRST_US = 250000, /* the first one counts as no less */
	MEDIA_LOG_POOL_SHARE = 16, /* the pool is short when less than one in so many is free */
	MEDIA_LOG_FEW_MAX = 64,	   /* packets: a log is not shrunk below these, */
	MEDIA_LOG_FEW_SHARE = 8,   /* or one in so many of the pool */
};

struct media_log_limits {
	int64_t age_us;
	uint64_t bytes;
};

struct media_log {
	uint64_t first;
	uint64_t ready;
	uint64_t next;
	uint64_t keyframe; /* first packet of the last keyframe; 0 = none cached */
	uint64_t bytes;	   /* payload bytes held */
	int64_t newest_us; /* highest capture time seen */
	struct media_log_limits limits;
	uint8_t has_video;
	uint8_t is_wanted; /* from `wanted` on, low half of a position, somebody still reads */
	uint8_t reserved[2];
	uint32_t wanted;
	uint32_t keyframe_frame; /* frame number and track of `keyframe` */
	uint32_t keyframe_track;
	/* payload since rate_from_us of capture time, until it makes a measurement */
	uint64_t rate_bytes;
	int64_t rate_from_us;
	uint64_t rate_bps;   /* 0 = not measured yet */
	uint64_t sent_bytes; /* media_log_count_sent */
	struct slot_ref entries[MEDIA_LOG_ENTRIES];
};

_Static_assert(sizeof(struct media_log) <= ARENA_LOG_SIZE, "a log fits its slot");

/* {0,0} when no slot is free. `next` = the first position it will hold (at least 1). */
struct slot_ref media_log_create(
	struct arena *arena, uint64_t owner, const struct media_log_limits *limits, uint64_t next);
/* Releases the slot and every packet it holds. Stale references have no effect. */
void media_log_destroy(struct arena *arena, struct slot_ref log);

/* What readers have sent on, as they say once a second; who keeps the log takes it from there. */
void media_log_count_sent(struct media_log *log, uint64_t bytes);
uint64_t media_log_take_sent(struct media_log *log);

/* NULL when stale or damaged. */
struct media_log *media_log_get(struct arena *arena, struct slot_ref log);

/* Puts a packet (held once more) at `position`, which is written into its header. Positions beyond
 * `next` leave holes; positions already filled or forgotten are ERR_EXISTS, absurd ones
 * ERR_FORMAT. */
enum err media_log_put(
	struct arena *arena, struct media_log *log, uint64_t position, struct slot_ref packet);

/* Readers may pass `below`: whatever hole lies before it is given up. */
void media_log_advance(struct media_log *log, uint64_t below);

/* The packet of a position was seen and is not wanted: a hole that nobody waits for, provided that
 * it is the next one to write or the first one awaited. */
void media_log_skip(struct arena *arena, struct media_log *log, uint64_t position);

/* The packet of a position was seen and cannot be taken yet: it will be asked for again, as will
 * all that has not come before it. */
void media_log_await(struct arena *arena, struct media_log *log, uint64_t position);

/* What lies at `from` and behind stays, though a newer keyframe has come, as far as the limits and the pool
 * allow: a reader that is fed slowly is there. 0: nobody is. */
void media_log_want(struct media_log *log, uint64_t from);

/* Forgets the older half while the packet pool is short: for a log that nothing can be written to,
 * because there is no slot to write. */
void media_log_relieve(struct arena *arena, struct media_log *log);

/* The packet at a position; NULL: a hole, not there yet, or forgotten. */
struct packet *media_log_packet(
	struct arena *arena, const struct media_log *log, uint64_t position);
struct slot_ref media_log_ref(const struct media_log *log, uint64_t position);

/* Where a new reader begins: at the last keyframe when it is cached, else at `ready` (*cached says
 * which). Audio-only streams begin at `ready`. */
uint64_t media_log_start(const struct media_log *log, bool *cached);

/* Bits a second of payload, all tracks: the larger of the last second and what went before, which
 * fades by an eighth a second (keyframes are further apart than that). 0 = nothing came yet. */
uint64_t media_log_rate_bps(const struct media_log *log);

/* A log without its packets, as it was at some time. */
struct media_log_mark {
	_Alignas(struct media_log) uint8_t head[offsetof(struct media_log, entries)];
};
void media_log_mark(const struct media_log *log, struct media_log_mark *mark);
/* After a takeover: what was put since then was not; what was forgotten stays so. The log may be as
 * a writer that died has left it: media_log_get() afterwards says whether it is one. */
void media_log_go_back(struct media_log *log, const struct media_log_mark *mark);
/* After a takeover: whoever wrote died at it, all that is whole stays. Positions at the end that have
 * no packet are free again; not so in a replica (`awaits`), which waits for them. */
void media_log_mend(struct arena *arena, struct media_log *log, bool awaits);

/* After a takeover: counts again every packet the log names; damaged entries become holes. */
void media_log_recount(struct arena *arena, struct media_log *log);

#endif

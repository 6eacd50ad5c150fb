/* SPDX-License-Identifier: Apache-2.0
 *
 * The escrow: what every actor of a process was at the end of its last turn, in memory that outlives
 * the process. The kernel writes (keep.c), a successor reads.
 *
 *   put, put, remove …  ──commit──>  the turn counts: all of it
 *          └── killed before the commit: none of it counts
 *
 * What is kept has an entry with two versions. The one written is never the one that counts, and which
 * one counts is said by one number for all: the turn committed last. A kill at any instruction thus
 * leaves each actor as it was at the end of one and the same turn. Versions lie in chains of blocks
 * that are used again in place, so that an actor of steady size takes and frees nothing.
 *
 * Beside the entries: numbers that must never be used twice, reserved before their use; and a note of
 * the entry that was tried, or whose actor ran, when the process died. An entry that was so noted more
 * than once is poison.
 *
 * Knows nothing of what it keeps but a number that is not 0: an actor's id, or what the kernel calls a
 * channel or a mail (takeover.c). What is read is untrusted: every index, length and sum is checked.
 * Thread: that of the arena.
 */
#ifndef MILLRACE_ESCROW_H
#define MILLRACE_ESCROW_H

#include "schemas/err.h"

#include <stddef.h>
#include <stdint.h>

enum {
	ESCROW_BLOCK_SIZE = 512, /* a session's state is some 450 bytes */
	/* sessions, connections, muxers, streams of a worker, their tickets and hot fields, with every
	 * slot of the arena in use; mails on their way to other processes. Costs what is used of it. */
	ESCROW_ACTORS_DEFAULT = 65536,
	ESCROW_BLOCKS_DEFAULT = 262144, /* 128 MB; touched where used */
	ESCROW_POISON = 2,		/* an entry noted so often is not tried again */
};

/* Numbers that are used once; the layout has room for another kind. */
enum escrow_number { ESCROW_SERIALS, ESCROW_NUMBERS = 2 };

/* Zero = the default above. */
struct escrow_layout {
	uint32_t actors;
	uint32_t blocks;
};

struct escrow;

/* Bytes of memory, a multiple of 64. */
size_t escrow_size(const struct escrow_layout *layout);
/* Writes an empty escrow into `memory` (zeroed, escrow_size bytes, 64-aligned). */
void escrow_format(void *memory, const struct escrow_layout *layout);

/* Attaches, throws away what was not committed, and finds out what is free. The memory stays the
 * caller's. ERR_FORMAT, ERR_VERSION, ERR_NO_MEMORY. */
enum err escrow_attach(void *memory, size_t size, struct escrow **escrow);
void escrow_detach(struct escrow **escrow);

/* ---- writing --------------------------------------------------------------------------------- */

/* An entry for an actor (1 or more); 0 when none is free. */
uint32_t escrow_open(struct escrow *escrow, uint64_t actor);
/* The actor as it is now; counts from the next commit on. ERR_NO_SPACE: the version that counts is
 * still the one before (the caller removes it rather than have an old one come back). */
enum err escrow_put(struct escrow *escrow, uint32_t entry, const void *bytes, size_t size);
/* The actor is no more, from the next commit on; the entry must not be used again. */
void escrow_remove(struct escrow *escrow, uint32_t entry);
/* All that was put and removed since the last commit counts: one store. */
void escrow_commit(struct escrow *escrow);
/* Number of the turn that the next commit ends. */
uint64_t escrow_turn(const struct escrow *escrow);
/* Numbers below `end` may be in use from now on, whether a turn is committed or not. */
void escrow_reserve(struct escrow *escrow, enum escrow_number what, uint64_t end);
/* The end of what was reserved last; 0 = nothing was. */
uint64_t escrow_reserved(const struct escrow *escrow, enum escrow_number what);

/* ---- reading --------------------------------------------------------------------------------- */

/* Entries are 1 .. escrow_entries. */
uint32_t escrow_entries(const struct escrow *escrow);
/* The version that counts. NOT_FOUND: nobody lies here; NO_SPACE; FORMAT: not what was written (the
 * actor is known all the same: *actor). */
enum err escrow_read(const struct escrow *escrow, uint32_t entry, uint64_t *actor, void *bytes,
	size_t capacity, size_t *size);

/* Whose the entry is; 0 = nobody's. */
uint64_t escrow_owner(const struct escrow *escrow, uint32_t entry);

/* ---- what kills --------------------------------------------------------------------------------- */

/* That entry is being tried; 0 = none any more. One store. */
void escrow_note_tried(struct escrow *escrow, uint32_t entry);
/* From the handler of a fatal signal: the actor of that entry ran. One store. */
void escrow_note_ran(struct escrow *escrow, uint32_t entry);
/* In a successor, once: what its predecessor had noted counts against those entries. */
void escrow_blame(struct escrow *escrow);
/* How often an entry was found noted. */
uint32_t escrow_blamed(const struct escrow *escrow, uint32_t entry);
/* They have lived for a while: nothing counts against anybody. */
void escrow_absolve(struct escrow *escrow);

/* ------------------------------------------------------------------------------------------------- */

struct escrow_usage {
	uint32_t actors, actors_max;
	uint32_t blocks, blocks_max;
};
void escrow_usage(const struct escrow *escrow, struct escrow_usage *usage);

/* A quick 64-bit sum of bytes; not against malice. */
uint64_t escrow_sum(uint64_t seed, const void *bytes, size_t size);

#endif

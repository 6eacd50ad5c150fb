/* SPDX-License-Identifier: Apache-2.0
 *
 * State that outlives its process: one memfd a worker (sealed against resizing, made by the
 * supervisor), divided into tables of fixed-size slots. A slot is named by table, index and
 * generation, never by pointer, so that another process can map the same memory elsewhere and go
 * on. Slots carry a reference count and their first owner; counts can be rebuilt from the owners
 * after a takeover. Memory is committed by the kernel only where it is touched. Beside the tables lie
 * the send in flight and the escrow (escrow.h): what actors are that is in no slot.
 *
 * What is read from a mapping that another process wrote is untrusted: every index is checked.
 *
 * Thread: the one thread of the process that owns the arena. No allocation after arena_attach.
 */
#ifndef MILLRACE_ARENA_H
#define MILLRACE_ARENA_H

#include "runtime/escrow.h"
#include "schemas/err.h"
#include "schemas/media.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arena_table {
	ARENA_PACKET,  /* struct packet: one media packet, reference-counted */
	ARENA_LOG,     /* a stream's log: ring of packet references (GOP cache, retransmission) */
	ARENA_SESSION, /* an edge actor's per-packet fields (RTP numbers, SRTP indices, NACK ring) */
	ARENA_BUFFER,  /* a TCP connection's input and reassembly buffer */
	ARENA_TABLE_COUNT
};

/* How many slots of what size; from the configuration. Zero = the default below. */
struct arena_layout {
	uint32_t count[ARENA_TABLE_COUNT];
	uint32_t size[ARENA_TABLE_COUNT]; /* payload bytes of a slot */
	struct escrow_layout escrow;
};

enum {
	ARENA_PACKETS_DEFAULT = 131072,
	ARENA_LOGS_DEFAULT = 1024,
	ARENA_SESSIONS_DEFAULT = 8192,
	ARENA_BUFFERS_DEFAULT = 2048,
	ARENA_LOG_SIZE = 8 * 16384 + 4096,
	ARENA_SESSION_SIZE = 144 * 1024, /* sparse: pages count where they are touched */
	ARENA_BUFFER_SIZE = 4 * 1024 * 1024 + 192 * 1024,
	/* one send in flight: ciphertext of at most this many packets lies here until the send call
	 * has returned (DESIGN: a successor re-sends exactly those bytes) */
	ARENA_SEND_PACKETS = 16,
	ARENA_SEND_PACKET_SIZE = 1500,
};

/* A reference to a slot; generation 0 = none. */
struct slot_ref {
	uint32_t index;
	uint32_t generation;
};

struct packet {
	struct media_header header;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
};

/* The send in flight of this worker (one thread, so one is enough). */
struct arena_send {
	uint64_t owner; /* actor id, 0 = nothing in flight */
	uint32_t count;
	uint16_t size[ARENA_SEND_PACKETS];
	uint8_t bytes[ARENA_SEND_PACKETS][ARENA_SEND_PACKET_SIZE];
};

struct arena;

/* Bytes of the memfd for a layout (a multiple of the page size). */
size_t arena_size(const struct arena_layout *layout);

/* Writes an empty arena into `memory` (zeroed, arena_size bytes). */
void arena_format(void *memory, const struct arena_layout *layout);

/* Attaches to formatted memory; checks it as untrusted input (ERR_FORMAT, ERR_VERSION). The memory
 * stays the caller's and must outlive the arena. */
enum err arena_attach(void *memory, size_t size, struct arena **arena);
void arena_detach(struct arena **arena);

/* Creates, sizes and seals a memfd with an empty arena (supervisor); -1 with errno on failure.
 * arena_map maps such a descriptor (successors and workers). */
int arena_create_memfd(const char *name, const struct arena_layout *layout);
enum err arena_map(int fd, struct arena **arena);
/* Has the kernel map here what others have written to so far, without reading or writing it: for a process
 * that waits to go on with it, to which each page would be a fault. Cheap when nothing is new. */
void arena_map_ahead(struct arena *arena, int fd);

/* Takes the robust, process-shared lock that whoever runs this arena holds until it detaches or dies,
 * waiting at most `wait_ms` for it (ERR_TIMEOUT). *inherited (may be NULL): its holder died with it.
 * ERR_IO: it can never be had any more. */
enum err arena_take_fence(struct arena *arena, uint32_t wait_ms, bool *inherited);

/* A zeroed slot with one reference; {0,0} when the table is full. */
struct slot_ref arena_alloc(struct arena *arena, enum arena_table table, uint64_t owner);

/* Payload of a live slot; NULL when the reference is stale or out of range. */
void *arena_get(struct arena *arena, enum arena_table table, struct slot_ref ref);
/* Payload bytes of every slot of a table, as the arena was laid out. */
size_t arena_slot_size(const struct arena *arena, enum arena_table table);
static inline struct packet *arena_packet(struct arena *arena, struct slot_ref ref)
{
	return arena_get(arena, ARENA_PACKET, ref);
}

/* One reference more; false when stale. */
bool arena_hold(struct arena *arena, enum arena_table table, struct slot_ref ref);
/* One reference less; the last frees it (large slots give their pages back). Stale: no effect. */
void arena_release(struct arena *arena, enum arena_table table, struct slot_ref ref);

/* From now on a slot whose last reference goes is stale at once, but keeps its bytes and its
 * generation, which a successor may still name, until arena_commit: the turn that freed it is kept. That
 * is also when memory is made for packets that come next. */
void arena_keep_freed(struct arena *arena);
void arena_commit(struct arena *arena);

/* After a takeover: forget all counts, count again by arena_hold_again for everything that a
 * restored owner still names, then sweep: what nobody named is freed. Returns slots freed. */
void arena_recount_begin(struct arena *arena);
bool arena_hold_again(struct arena *arena, enum arena_table table, struct slot_ref ref);
/* Whose restore failed half way: what it had made for itself (all but packets) is held by nobody. */
void arena_hold_no_more(struct arena *arena, uint64_t owner);
size_t arena_recount_end(struct arena *arena);
/* References that were ever counted again by arena_hold_again through this handle (tests). */
uint64_t arena_held_again(const struct arena *arena, enum arena_table table);

struct arena_send *arena_send_area(struct arena *arena);

/* Between stores into slots: whoever dies has made those before it, or none of those after it. */
static inline void arena_step(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/* Attaches to the escrow in the arena: for whoever holds the fence. */
enum err arena_escrow(struct arena *arena, struct escrow **escrow);

struct arena_usage {
	uint32_t used[ARENA_TABLE_COUNT];
	uint32_t count[ARENA_TABLE_COUNT];
	uint32_t freed[ARENA_TABLE_COUNT];   /* of those used: in this turn (arena_keep_freed) */
	uint64_t refused[ARENA_TABLE_COUNT]; /* allocations that found the table full */
};
void arena_usage(const struct arena *arena, struct arena_usage *usage);

/* Where the slots of a table lie in the memory, in whole pages (tests). */
void arena_span(const struct arena *arena, enum arena_table table, size_t *offset, size_t *size);

/* Sum of the reference counts of a table's live slots: looks at all of them (tests, REPL). */
uint64_t arena_references(const struct arena *arena, enum arena_table table);

#endif

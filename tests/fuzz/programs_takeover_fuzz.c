/* SPDX-License-Identifier: Apache-2.0
 *
 * What a dead worker left, as a successor reads it: arena and escrow as untrusted input, the worker's own
 * actors. The input is a row of items:
 *
 *   0 owner (u64) size (u16) bytes              an entry: written and summed as the kernel does
 *   1 table slot offset (u16) size (u16) bytes  bytes of a slot; the first few slots are taken
 *   2 offset (u32) byte                         damage of what lies before the slots, after the commit
 *   3 entry                                     it was being tried when the worker died
 *
 * Whatever is taken for an actor then lives for some turns.
 */
#include "tests/fuzz/fuzz_worker.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { DAMAGES_MAX = 64, HEAD_SIZE = 300 * 1024, PROCESS = 77 };

struct damage {
	uint32_t offset;
	uint8_t byte;
};

/* ---- what was left ----------------------------------------------------------------------------- */

static void put_entry(struct escrow *escrow, struct reader *in)
{
	uint64_t owner = read_be(in, 8);
	size_t size = read_u16(in);
	const uint8_t *bytes;
	uint32_t entry;

	size = size < reader_left(in) ? size : reader_left(in);
	bytes = read_bytes(in, size);
	entry = owner ? escrow_open(escrow, owner) : 0;
	if (entry && escrow_put(escrow, entry, bytes, size))
		escrow_remove(escrow, entry);
}

static void fill_slot(struct arena *arena, struct reader *in)
{
	enum arena_table table = read_u8(in) % ARENA_TABLE_COUNT;
	struct slot_ref ref = {.index = read_u8(in), .generation = 1};
	size_t offset = read_u16(in), size = read_u16(in);
	uint8_t *slot = arena_get(arena, table, ref);
	const uint8_t *bytes;

	size = size < reader_left(in) ? size : reader_left(in);
	bytes = read_bytes(in, size);
	if (slot && bytes && offset + size <= arena_slot_size(arena, table))
		memcpy(slot + offset, bytes, size);
}

static void take_slots(struct arena *arena)
{
	for (int table = 0; table < ARENA_TABLE_COUNT; table++)
		for (uint32_t i = 0; i < layout.count[table] / 2; i++)
			arena_alloc(arena, (enum arena_table)table, 1);
}

static size_t write_items(struct arena *arena, struct escrow *escrow, struct reader *in,
	struct damage damages[DAMAGES_MAX])
{
	size_t count = 0;

	while (reader_left(in) && !in->bad) {
		uint8_t kind = read_u8(in) % 4;

		if (kind == 0) {
			put_entry(escrow, in);
		} else if (kind == 1) {
			fill_slot(arena, in);
		} else if (kind == 2 && count < DAMAGES_MAX) {
			damages[count].offset = read_u32(in);
			damages[count++].byte = read_u8(in);
		} else if (kind == 3) {
			escrow_note_tried(escrow, read_u8(in) % (layout.escrow.actors + 1));
		}
	}
	escrow_commit(escrow);
	return count;
}

static void leave(uint8_t *memory, struct reader *in)
{
	struct damage damages[DAMAGES_MAX];
	size_t size = arena_size(&layout), count;
	struct arena *arena;
	struct escrow *escrow;

	arena_format(memory, &layout);
	MUST(arena_attach(memory, size, &arena) == ERR_OK);
	MUST(arena_escrow(arena, &escrow) == ERR_OK);
	take_slots(arena);
	count = write_items(arena, escrow, in, damages);
	escrow_detach(&escrow);
	arena_detach(&arena);
	for (size_t i = 0; i < count; i++)
		memory[damages[i].offset % HEAD_SIZE] ^= damages[i].byte;
}

/* ---- the successor ----------------------------------------------------------------------------- */

static void go_on(uint8_t *memory)
{
	struct runtime_takeover_report report;
	struct arena *arena = NULL;
	struct escrow *escrow = NULL;
	struct runtime *rt = NULL;

	if (arena_attach(memory, arena_size(&layout), &arena) != ERR_OK)
		return;
	if (arena_escrow(arena, &escrow) == ERR_OK) {
		rt = fuzz_start(arena, escrow, PROCESS);
		if (runtime_takeover(rt, &report) == ERR_OK)
			fuzz_live(rt);
		runtime_destroy(&rt);
		escrow_detach(&escrow);
	}
	arena_detach(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	uint8_t *memory = mmap(NULL, arena_size(&layout), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	MUST(memory != MAP_FAILED);
	now_us = 1000000;
	leave(memory, &in);
	go_on(memory);
	munmap(memory, arena_size(&layout));
	return 0;
}

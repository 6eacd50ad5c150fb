/* SPDX-License-Identifier: Apache-2.0
 *
 * Layout: header, entries, blocks. Entries and blocks are named by index + 1, so that zeroed memory
 * is an empty escrow.
 *
 * Every byte of the mapping is written by `store`, in the order of the program: a process that is
 * killed has made all stores before some point and none after it (its death is seen through the
 * kernel, so other processors see them too). The order is what keeps it readable:
 *
 *   put       turn of the spare version = 0; blocks; sum, size; turn = committed + 1
 *   commit    committed += 1
 *   removed   (after the commit) the older version goes, then the tombstone, then the name
 */
#include "runtime/escrow.h"

#include "schemas/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ESCROW_VERSION = 2, BLOCK_DATA = ESCROW_BLOCK_SIZE - 4, ALIGN = 64 };

#define ESCROW_MAGIC 0x31574f524353454dull /* "MESCROW1" */

struct escrow_version {
	uint64_t turn; /* 0 = none; beyond the committed one: as if none */
	uint64_t sum;
	uint32_t size;	/* 0 = a tombstone */
	uint32_t first; /* of its blocks */
};

struct escrow_entry {
	uint64_t actor; /* 0 = free */
	uint32_t blamed;
	uint32_t reserved;
	struct escrow_version version[2];
};

struct escrow_block {
	uint32_t next;
	uint8_t data[BLOCK_DATA];
};

struct escrow_header {
	uint64_t magic;
	uint32_t version;
	uint32_t actors, blocks;
	uint32_t fresh_entries, fresh_blocks; /* beyond: untouched memory */
	uint64_t committed;
	uint64_t numbers[ESCROW_NUMBERS]; /* reserved below these */
	uint32_t tried, ran;		  /* entries; 0 = none */
};

struct stack { /* of free indices; memory untouched until used */
	uint32_t *items;
	uint32_t count;
};

struct escrow {
	struct escrow_header *header;
	struct escrow_entry *entries;
	struct escrow_block *blocks;
	struct stack free_entries, free_blocks;
	struct stack removed; /* entries with a tombstone of this turn */
};

/* A test has its own, which kills the process at every byte. */
#ifndef ESCROW_STORE
#define ESCROW_STORE memcpy
#endif

static inline void store(void *to, const void *from, size_t size)
{
	ESCROW_STORE(to, from, size);
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void store_u32(uint32_t *to, uint32_t value)
{
	store(to, &value, sizeof(value));
}

static inline void store_u64(uint64_t *to, uint64_t value)
{
	store(to, &value, sizeof(value));
}

/* ---- sums -------------------------------------------------------------------------------------- */

static inline uint64_t fold(uint64_t sum, uint64_t value)
{
	sum = (sum ^ value) * 0x9e3779b97f4a7c15ull;
	return sum ^ sum >> 32;
}

uint64_t escrow_sum(uint64_t seed, const void *bytes, size_t size)
{
	enum { LANES = 4 }; /* side by side: one waits for its own multiplication only */
	uint64_t lane[LANES] = {fold(seed, size), seed ^ 1, seed ^ 2, seed ^ 3}, value[LANES];
	const uint8_t *at = bytes;

	for (; size >= sizeof(value); size -= sizeof(value), at += sizeof(value)) {
		memcpy(value, at, sizeof(value));
		for (int i = 0; i < LANES; i++)
			lane[i] = fold(lane[i], value[i]);
	}
	memset(value, 0, sizeof(value));
	if (size) /* (of nothing there may be no address) */
		memcpy(value, at, size);
	seed = 0;
	for (int i = 0; i < LANES; i++)
		seed = fold(fold(seed, lane[i]), value[i]);
	return seed;
}

static uint64_t sum_of(uint64_t actor, uint64_t turn, const void *bytes, size_t size)
{
	return escrow_sum(fold(actor, turn), bytes, size);
}

/* ---- layout ------------------------------------------------------------------------------------ */

static size_t align_up(size_t size)
{
	return (size + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t entries_at(void)
{
	return align_up(sizeof(struct escrow_header));
}

static size_t blocks_at(uint32_t actors)
{
	return entries_at() + align_up((size_t)actors * sizeof(struct escrow_entry));
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

size_t escrow_size(const struct escrow_layout *layout)
{
	return blocks_at(or_default(layout->actors, ESCROW_ACTORS_DEFAULT)) +
	       (size_t)or_default(layout->blocks, ESCROW_BLOCKS_DEFAULT) *
		       sizeof(struct escrow_block);
}

void escrow_format(void *memory, const struct escrow_layout *layout)
{
	struct escrow_header *header = memory;

	header->version = ESCROW_VERSION;
	header->actors = or_default(layout->actors, ESCROW_ACTORS_DEFAULT);
	header->blocks = or_default(layout->blocks, ESCROW_BLOCKS_DEFAULT);
	header->magic = ESCROW_MAGIC;
}

static enum err check_header(const struct escrow_header *header, size_t size)
{
	struct escrow_layout layout = {.actors = header->actors, .blocks = header->blocks};

	if (header->magic != ESCROW_MAGIC)
		return ERR_FORMAT;
	if (header->version != ESCROW_VERSION)
		return ERR_VERSION;
	if (!header->actors || !header->blocks || escrow_size(&layout) > size)
		return ERR_FORMAT;
	return header->fresh_entries <= header->actors && header->fresh_blocks <= header->blocks
		       ? ERR_OK
		       : ERR_FORMAT;
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static struct escrow_block *block_at(const struct escrow *e, uint32_t block)
{
	return &e->blocks[block - 1];
}

static uint32_t blocks_for(size_t size)
{
	return (uint32_t)((size + BLOCK_DATA - 1) / BLOCK_DATA);
}

static uint32_t take_block(struct escrow *e)
{
	struct escrow_header *header = e->header;

	if (e->free_blocks.count)
		return e->free_blocks.items[--e->free_blocks.count];
	if (header->fresh_blocks == header->blocks)
		return 0;
	store_u32(&header->fresh_blocks, header->fresh_blocks + 1);
	return header->fresh_blocks;
}

static void free_chain(struct escrow *e, uint32_t block)
{
	for (; block; block = block_at(e, block)->next)
		e->free_blocks.items[e->free_blocks.count++] = block;
}

/* Makes the chain that begins at *link `wanted` blocks long. */
static bool fit_chain(struct escrow *e, uint32_t *link, uint32_t wanted)
{
	for (; wanted; wanted--) {
		if (!*link) {
			uint32_t block = take_block(e);

			if (!block)
				return false;
			store_u32(&block_at(e, block)->next, 0);
			store_u32(link, block);
		}
		link = &block_at(e, *link)->next;
	}
	if (*link) {
		free_chain(e, *link);
		store_u32(link, 0);
	}
	return true;
}

/* ---- writing ----------------------------------------------------------------------------------- */

static struct escrow_entry *entry_at(const struct escrow *e, uint32_t entry)
{
	return &e->entries[entry - 1];
}

/* Of an entry's versions the one that may be written: of this turn already, else the older. */
static struct escrow_version *spare_of(const struct escrow *e, struct escrow_entry *entry)
{
	struct escrow_version *v = entry->version;

	for (int i = 0; i < 2; i++)
		if (v[i].turn > e->header->committed)
			return &v[i];
	return v[0].turn > v[1].turn ? &v[1] : &v[0];
}

uint32_t escrow_open(struct escrow *e, uint64_t actor)
{
	struct escrow_header *header = e->header;
	uint32_t entry;

	if (e->free_entries.count) {
		entry = e->free_entries.items[--e->free_entries.count];
	} else {
		if (header->fresh_entries == header->actors)
			return 0;
		store_u32(&header->fresh_entries, header->fresh_entries + 1);
		entry = header->fresh_entries;
	}
	store_u64(&entry_at(e, entry)->actor, actor);
	return entry;
}

static enum err write_version(
	struct escrow *e, struct escrow_entry *entry, const uint8_t *bytes, size_t size)
{
	struct escrow_version *version = spare_of(e, entry);
	uint64_t turn = e->header->committed + 1;
	uint32_t block;

	store_u64(&version->turn, 0);
	if (size > UINT32_MAX || !fit_chain(e, &version->first, blocks_for(size)))
		return ERR_NO_SPACE;
	block = version->first;
	for (size_t at = 0; at < size; at += BLOCK_DATA) {
		size_t part = size - at < BLOCK_DATA ? size - at : BLOCK_DATA;

		store(block_at(e, block)->data, bytes + at, part);
		block = block_at(e, block)->next;
	}
	store_u64(&version->sum, sum_of(entry->actor, turn, bytes, size));
	store_u32(&version->size, (uint32_t)size);
	store_u64(&version->turn, turn);
	return ERR_OK;
}

enum err escrow_put(struct escrow *e, uint32_t entry, const void *bytes, size_t size)
{
	return size ? write_version(e, entry_at(e, entry), bytes, size) : ERR_NO_SPACE;
}

void escrow_remove(struct escrow *e, uint32_t entry)
{
	MUST(write_version(e, entry_at(e, entry), (const uint8_t *)"", 0) == ERR_OK);
	e->removed.items[e->removed.count++] = entry;
}

void escrow_reserve(struct escrow *e, enum escrow_number what, uint64_t end)
{
	store_u64(&e->header->numbers[what], end);
}

uint64_t escrow_reserved(const struct escrow *e, enum escrow_number what)
{
	return e->header->numbers[what];
}

/* Frees what is written there and then the entry itself: the newer version last, so that the older
 * one does not count for a moment. */
static void clear(struct escrow *e, uint32_t entry)
{
	struct escrow_entry *at = entry_at(e, entry);
	int older = at->version[0].turn > at->version[1].turn;

	for (int i = 0; i < 2; i++) {
		struct escrow_version *version = &at->version[i ? !older : older];

		store_u64(&version->turn, 0);
		fit_chain(e, &version->first, 0);
	}
	store_u32(&at->blamed, 0);
	store_u64(&at->actor, 0);
	e->free_entries.items[e->free_entries.count++] = entry;
}

void escrow_commit(struct escrow *e)
{
	store_u64(&e->header->committed, e->header->committed + 1);
	while (e->removed.count)
		clear(e, e->removed.items[--e->removed.count]);
}

uint64_t escrow_turn(const struct escrow *e)
{
	return e->header->committed + 1;
}

/* ---- reading ----------------------------------------------------------------------------------- */

/* NULL when nothing of the entry was ever committed. */
static struct escrow_version *counting(const struct escrow *e, struct escrow_entry *entry)
{
	struct escrow_version *found = NULL;

	for (int i = 0; i < 2; i++) {
		struct escrow_version *version = &entry->version[i];

		if (version->turn && version->turn <= e->header->committed &&
			(!found || version->turn > found->turn))
			found = version;
	}
	return found;
}

uint32_t escrow_entries(const struct escrow *e)
{
	return e->header->fresh_entries;
}

enum err escrow_read(const struct escrow *e, uint32_t entry, uint64_t *actor, void *bytes,
	size_t capacity, size_t *size)
{
	struct escrow_entry *at;
	const struct escrow_version *version;
	uint32_t block;

	if (!entry || entry > e->header->fresh_entries)
		return ERR_NOT_FOUND;
	at = entry_at(e, entry);
	*actor = at->actor;
	version = counting(e, at);
	if (!at->actor || !version || !version->size)
		return ERR_NOT_FOUND;
	*size = version->size;
	if (version->size > capacity)
		return ERR_NO_SPACE;
	block = version->first;
	for (size_t done = 0; done < *size; done += BLOCK_DATA) {
		size_t part = *size - done < BLOCK_DATA ? *size - done : BLOCK_DATA;

		if (!block || block > e->header->fresh_blocks)
			return ERR_FORMAT;
		memcpy((uint8_t *)bytes + done, block_at(e, block)->data, part);
		block = block_at(e, block)->next;
	}
	return version->sum == sum_of(at->actor, version->turn, bytes, *size) ? ERR_OK : ERR_FORMAT;
}

uint64_t escrow_owner(const struct escrow *e, uint32_t entry)
{
	return entry && entry <= e->header->fresh_entries ? entry_at(e, entry)->actor : 0;
}

/* ---- what kills --------------------------------------------------------------------------------- */

void escrow_note_tried(struct escrow *e, uint32_t entry)
{
	store_u32(&e->header->tried, entry);
}

void escrow_note_ran(struct escrow *e, uint32_t entry)
{
	store_u32(&e->header->ran, entry);
}

/* (Killed on the way it rather counts once too little: the innocent may have been noted, too.) */
void escrow_blame(struct escrow *e)
{
	const uint32_t noted[] = {e->header->tried, e->header->ran};

	escrow_note_tried(e, 0);
	escrow_note_ran(e, 0);
	for (int i = 0; i < 2; i++) {
		bool is_twice = i && noted[i] == noted[0];

		if (escrow_owner(e, noted[i]) && !is_twice)
			store_u32(&entry_at(e, noted[i])->blamed, escrow_blamed(e, noted[i]) + 1);
	}
}

uint32_t escrow_blamed(const struct escrow *e, uint32_t entry)
{
	return entry && entry <= e->header->fresh_entries ? entry_at(e, entry)->blamed : 0;
}

void escrow_absolve(struct escrow *e)
{
	for (uint32_t entry = 1; entry <= e->header->fresh_entries; entry++)
		if (escrow_blamed(e, entry))
			store_u32(&entry_at(e, entry)->blamed, 0);
}

void escrow_usage(const struct escrow *e, struct escrow_usage *usage)
{
	*usage = (struct escrow_usage){
		.actors = e->header->fresh_entries - e->free_entries.count,
		.actors_max = e->header->actors,
		.blocks = e->header->fresh_blocks - e->free_blocks.count,
		.blocks_max = e->header->blocks,
	};
}

/* ---- attaching --------------------------------------------------------------------------------- */

/* Marks the blocks of a version as its own; false when they are not as they must be. */
static bool claim(const struct escrow *e, const struct escrow_version *version, bool *claimed)
{
	uint32_t block = version->first, wanted = blocks_for(version->size);

	for (uint32_t i = 0; i < wanted; i++) {
		if (!block || block > e->header->fresh_blocks || claimed[block - 1])
			return false;
		claimed[block - 1] = true;
		block = block_at(e, block)->next;
	}
	return block == 0;
}

static void forget(struct escrow_version *version)
{
	store_u64(&version->turn, 0);
	store_u32(&version->first, 0);
}

/* Only the version that counts is kept. What is not as it must be keeps its name: who reads it hears
 * that this actor is lost. */
static void recover(struct escrow *e, uint32_t entry, bool *claimed)
{
	struct escrow_entry *at = entry_at(e, entry);
	struct escrow_version *good = counting(e, at);
	bool whole = good && claim(e, good, claimed);

	for (int i = 0; i < 2; i++)
		if (&at->version[i] != good)
			forget(&at->version[i]);
	if (good && !whole)
		store_u32(&good->first, 0);
	if (good && good->size)
		return;
	if (good)
		forget(good);
	store_u32(&at->blamed, 0);
	store_u64(&at->actor, 0);
	e->free_entries.items[e->free_entries.count++] = entry;
}

static enum err recover_all(struct escrow *e)
{
	uint32_t blocks = e->header->fresh_blocks;
	bool *claimed = calloc(blocks + 1u, sizeof(*claimed));

	if (!claimed)
		return ERR_NO_MEMORY;
	for (uint32_t entry = e->header->fresh_entries; entry; entry--)
		recover(e, entry, claimed);
	for (uint32_t block = blocks; block; block--)
		if (!claimed[block - 1])
			e->free_blocks.items[e->free_blocks.count++] = block;
	free(claimed);
	return ERR_OK;
}

enum err escrow_attach(void *memory, size_t size, struct escrow **out)
{
	struct escrow_header *header = memory;
	struct escrow *e;
	enum err err;

	*out = NULL;
	err = size < sizeof(*header) ? ERR_FORMAT : check_header(header, size);
	if (err)
		return err;
	e = malloc(sizeof(*e) + sizeof(uint32_t) * (2 * (size_t)header->actors + header->blocks));
	if (!e)
		return ERR_NO_MEMORY;
	*e = (struct escrow){
		.header = header,
		.entries = (void *)((uint8_t *)memory + entries_at()),
		.blocks = (void *)((uint8_t *)memory + blocks_at(header->actors)),
		.free_entries.items = (uint32_t *)(e + 1),
	};
	e->removed.items = e->free_entries.items + header->actors;
	e->free_blocks.items = e->removed.items + header->actors;
	err = recover_all(e);
	if (err)
		escrow_detach(&e);
	*out = e;
	return err;
}

void escrow_detach(struct escrow **escrow)
{
	free(*escrow);
	*escrow = NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The escrow, with a kill at every byte that its writer stores: at each of them a copy of the memory
 * is attached as a successor would, and must hold exactly what was committed last. The successor is
 * killed in its turn while it attaches.
 */
#include <string.h>

static void *killing_store(void *to, const void *from, size_t size);
#define ESCROW_STORE killing_store
#include "runtime/escrow.c"

#include "schemas/random.h"
#include "tests/test.h"

enum {
	ACTORS = 4,
	BLOCKS = 12,
	MEMORY = 8 * 1024,
	SIZE_MAX_TRIED = 1300, /* three blocks */
	DEPTH = 2,	       /* the writer, and the successor that attaches */
	EVERY = 61,	       /* of the writer's kills one has its successor killed too */
	EVER_MAX = 1 << 16,
};

static const struct escrow_layout layout = {.actors = ACTORS, .blocks = BLOCKS};

struct held {
	uint64_t actor; /* 0 = nobody */
	size_t size;
	uint8_t bytes[SIZE_MAX_TRIED];
};

/* What is committed, and what a commit that is under way will make of it. */
struct model {
	uint64_t committed;
	struct held now[ACTORS], next[ACTORS];
};

static struct model model;
static _Alignas(64) uint8_t memory[DEPTH + 1][MEMORY];
static int depth = DEPTH; /* DEPTH: nobody is killed */
static uint64_t kills;
static uint64_t last_actor;
static uint64_t ever_put[EVER_MAX]; /* sums of all that was written */
static size_t put_count;

static const struct held *find(const struct held *held, uint64_t actor)
{
	for (int i = 0; i < ACTORS; i++)
		if (held[i].actor == actor)
			return &held[i];
	return NULL;
}

static void check_holds(const struct escrow *e, const struct held *held)
{
	uint8_t bytes[SIZE_MAX_TRIED];
	uint64_t actor;
	size_t size, found = 0, wanted = 0;

	for (uint32_t entry = 1; entry <= escrow_entries(e); entry++) {
		enum err err = escrow_read(e, entry, &actor, bytes, sizeof(bytes), &size);

		if (err == ERR_NOT_FOUND)
			continue;
		CHECK_OK(err);
		const struct held *one = find(held, actor);

		CHECK(one != NULL);
		CHECK_EQ(size, one->size);
		CHECK_MEM(bytes, one->bytes, size);
		found++;
	}
	for (int i = 0; i < ACTORS; i++)
		wanted += held[i].actor != 0;
	CHECK_EQ(found, wanted);
}

/* The memory as it is at this moment is all that is left. */
static void die(void)
{
	struct escrow *successor;
	int outer = depth;
	uint8_t *copy = memory[outer + 1];

	kills++;
	memcpy(copy, memory[outer], MEMORY);
	depth = outer == 0 && kills % EVERY ? DEPTH : outer + 1;
	CHECK_OK(escrow_attach(copy, MEMORY, &successor));
	check_holds(successor,
		successor->header->committed == model.committed ? model.now : model.next);
	escrow_detach(&successor);
	depth = outer;
}

static void *killing_store(void *to, const void *from, size_t size)
{
	bool is_word = size == 4 || size == 8;

	if (depth == DEPTH)
		return memcpy(to, from, size);
	for (size_t i = 0; i < size; i++) {
		if (is_word)
			memcpy(to, from, size);
		else
			((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
		die();
		if (is_word)
			break;
	}
	return to;
}

static struct escrow *start(void)
{
	struct escrow *e;

	memset(memory, 0, sizeof(memory));
	model = (struct model){0};
	put_count = 0;
	CHECK_LE(escrow_size(&layout), MEMORY);
	escrow_format(memory[0], &layout);
	CHECK_OK(escrow_attach(memory[0], MEMORY, &e));
	return e;
}

static void commit(struct escrow *e)
{
	escrow_commit(e);
	memcpy(model.now, model.next, sizeof(model.now));
	model.committed = e->header->committed;
}

/* A change of a random actor; entries[i] is that of model.next[i]. */
static void change(struct escrow *e, struct rng *rng, uint32_t *entries)
{
	uint64_t i = rng_below(rng, ACTORS);
	struct held *held = &model.next[i];

	if (held->actor && rng_below(rng, 4) == 0) {
		escrow_remove(e, entries[i]);
		held->actor = entries[i] = 0;
		return;
	}
	if (!held->actor) {
		uint32_t entry = escrow_open(e, ++last_actor);

		if (!entry) /* those removed in this turn still have theirs */
			return;
		entries[i] = entry;
		held->actor = last_actor;
	}
	held->size = 1 + rng_below(rng, SIZE_MAX_TRIED);
	rng_fill(rng, held->bytes, held->size);
	ever_put[put_count++ % EVER_MAX] = escrow_sum(held->actor, held->bytes, held->size);
	if (escrow_put(e, entries[i], held->bytes, held->size) == ERR_NO_SPACE) {
		escrow_remove(e, entries[i]);
		held->actor = entries[i] = 0;
	}
}

TEST(a_kill_at_any_byte_leaves_the_turn_committed_last)
{
	struct rng rng = rng_of(1);
	uint32_t entries[ACTORS] = {0};
	struct escrow *e = start();

	for (int turn = 0; turn < test_rounds(12); turn++) {
		depth = 0;
		for (uint64_t i = rng_below(&rng, 4); i > 0; i--)
			change(e, &rng, entries);
		commit(e);
		depth = DEPTH;
		check_holds(e, model.now);
		if (turn % 4 == 3) { /* a successor goes on with the same memory */
			escrow_detach(&e);
			CHECK_OK(escrow_attach(memory[0], MEMORY, &e));
			memset(entries, 0, sizeof(entries));
			for (uint32_t n = 1; n <= escrow_entries(e); n++)
				for (int i = 0; i < ACTORS; i++)
					if (model.now[i].actor &&
						model.now[i].actor == entry_at(e, n)->actor)
						entries[i] = n;
		}
	}
	CHECK_GE(kills, 1000);
	escrow_detach(&e);
}

TEST(nothing_leaks_and_a_steady_actor_takes_nothing)
{
	struct rng rng = rng_of(2);
	uint32_t entries[ACTORS] = {0};
	struct escrow *e = start();
	struct escrow_usage usage;

	for (int turn = 0; turn < test_rounds(3000); turn++) {
		for (uint64_t i = rng_below(&rng, 4); i > 0; i--)
			change(e, &rng, entries);
		commit(e);
		check_holds(e, model.now);
	}
	for (int i = 0; i < ACTORS; i++)
		if (entries[i])
			escrow_remove(e, entries[i]);
	escrow_commit(e);
	escrow_usage(e, &usage);
	CHECK_EQ(usage.actors, 0);
	CHECK_EQ(usage.blocks, 0);

	uint32_t entry = escrow_open(e, 1);

	for (int turn = 0; turn < 10; turn++) {
		CHECK_OK(escrow_put(e, entry, "as long as before", 17));
		escrow_commit(e);
	}
	escrow_usage(e, &usage);
	CHECK_EQ(usage.blocks, 2);
	escrow_detach(&e);
}

TEST(a_full_escrow_says_so_and_keeps_what_it_has)
{
	struct escrow *e = start();
	uint8_t bytes[SIZE_MAX_TRIED] = {1};
	uint8_t read[SIZE_MAX_TRIED];
	uint32_t entries[ACTORS];
	uint64_t actor;
	size_t size;

	for (uint32_t i = 0; i < ACTORS; i++) {
		entries[i] = escrow_open(e, i + 1);
		CHECK_OK(escrow_put(e, entries[i], bytes, SIZE_MAX_TRIED));
	}
	CHECK_EQ(escrow_open(e, 99), 0);
	escrow_commit(e);
	bytes[0] = 2; /* the second versions do not fit */
	CHECK_EQ(escrow_put(e, entries[0], bytes, SIZE_MAX_TRIED), ERR_NO_SPACE);
	escrow_commit(e);
	CHECK_OK(escrow_read(e, entries[0], &actor, read, sizeof(read), &size));
	CHECK_EQ(read[0], 1);
	CHECK_EQ(escrow_read(e, entries[0], &actor, read, 10, &size), ERR_NO_SPACE);
	CHECK_EQ(escrow_put(e, entries[1], bytes, 0), ERR_NO_SPACE);
	escrow_remove(e, entries[0]);
	escrow_commit(e);
	CHECK_EQ(escrow_read(e, entries[0], &actor, read, sizeof(read), &size), ERR_NOT_FOUND);
	CHECK_OK(escrow_put(e, entries[1], bytes, SIZE_MAX_TRIED)); /* there is room again */
	CHECK_EQ(escrow_open(e, 99), entries[0]);
	escrow_detach(&e);
}

static bool was_put(uint64_t sum)
{
	for (size_t i = 0; i < put_count; i++)
		if (ever_put[i] == sum)
			return true;
	return false;
}

/* Bytes changed by somebody else never crash anybody. What is read was written for that actor once;
 * which of its versions counts is two numbers, and these have no sum. */
TEST(what_is_damaged_is_not_read)
{
	struct rng rng = rng_of(3);
	uint32_t entries[ACTORS] = {0};
	struct escrow *e = start();
	uint8_t bytes[SIZE_MAX_TRIED];
	uint64_t actor;
	size_t size;

	for (int turn = 0; turn < 40; turn++) {
		change(e, &rng, entries);
		commit(e);
	}
	escrow_detach(&e);
	for (int round = 0; round < test_rounds(20000); round++) {
		struct escrow *damaged;

		memcpy(memory[1], memory[0], MEMORY);
		for (uint64_t i = 1 + rng_below(&rng, 4); i > 0; i--)
			rng_fill(&rng, memory[1] + rng_below(&rng, blocks_at(ACTORS) + 1024), 1);
		if (escrow_attach(memory[1], MEMORY, &damaged))
			continue;
		for (uint32_t n = 1; n <= escrow_entries(damaged); n++) {
			if (escrow_read(damaged, n, &actor, bytes, sizeof(bytes), &size))
				continue;
			CHECK(was_put(escrow_sum(actor, bytes, size)));
		}
		escrow_detach(&damaged);
	}
}

TEST(a_sum_depends_on_every_byte)
{
	uint8_t bytes[100] = {0};

	for (size_t size = 1; size <= sizeof(bytes); size++) {
		uint64_t sum = escrow_sum(7, bytes, size);

		CHECK(sum != escrow_sum(8, bytes, size));
		CHECK(sum != escrow_sum(7, bytes, size - 1));
		for (size_t i = 0; i < size; i++) {
			bytes[i] ^= 1;
			CHECK(sum != escrow_sum(7, bytes, size));
			bytes[i] ^= 1;
		}
	}
}

TEST(what_is_no_escrow_is_refused)
{
	struct escrow *e = start();
	struct escrow_header *header = e->header;

	escrow_detach(&e);
	CHECK_EQ(escrow_attach(memory[0], sizeof(*header) - 1, &e), ERR_FORMAT);
	CHECK_EQ(escrow_attach(memory[0], escrow_size(&layout) - 1, &e), ERR_FORMAT);
	header->fresh_blocks = BLOCKS + 1;
	CHECK_EQ(escrow_attach(memory[0], MEMORY, &e), ERR_FORMAT);
	header->fresh_blocks = 0;
	header->version++;
	CHECK_EQ(escrow_attach(memory[0], MEMORY, &e), ERR_VERSION);
	header->version--;
	header->magic++;
	CHECK_EQ(escrow_attach(memory[0], MEMORY, &e), ERR_FORMAT);
	header->magic--;
	for (size_t n = 1; n <= 2; n++) {
		test_fail_allocation(n);
		CHECK_EQ(escrow_attach(memory[0], MEMORY, &e), ERR_NO_MEMORY);
	}
	test_fail_allocation(0);
	CHECK_OK(escrow_attach(memory[0], MEMORY, &e));
	escrow_detach(&e);
}

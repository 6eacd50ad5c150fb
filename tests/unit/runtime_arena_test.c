/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/arena.h"
#include "runtime/runtime.h"
#include "schemas/random.h"
#include "schemas/schema.h"
#include "tests/test.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct arena_layout layout = {
	.count = {16,		      2,		 4,    2	     },
		.size = {sizeof(struct packet), 128 * 1024, 4096, 128 * 1024}
};

struct fixture {
	int fd;
	struct arena *arena;
};

static struct fixture setup(void)
{
	struct fixture f = {.fd = arena_create_memfd("arena-test", &layout)};

	CHECK(f.fd >= 0);
	CHECK_OK(arena_map(f.fd, &f.arena));
	return f;
}

static void teardown(struct fixture *f)
{
	arena_detach(&f->arena);
	close(f->fd);
}

TEST(slots_are_counted_and_their_old_names_are_dead)
{
	struct fixture f = setup();
	struct slot_ref refs[16];
	struct arena_usage usage;

	for (int i = 0; i < 16; i++)
		refs[i] = arena_alloc(f.arena, ARENA_PACKET, 1);
	CHECK_EQ(arena_alloc(f.arena, ARENA_PACKET, 1).generation, 0);
	arena_usage(f.arena, &usage);
	CHECK_EQ(usage.used[ARENA_PACKET], 16);
	CHECK_EQ(usage.refused[ARENA_PACKET], 1);
	CHECK(arena_hold(f.arena, ARENA_PACKET, refs[3]));
	arena_release(f.arena, ARENA_PACKET, refs[3]);
	CHECK(arena_packet(f.arena, refs[3]) != NULL);
	arena_release(f.arena, ARENA_PACKET, refs[3]);
	CHECK(arena_packet(f.arena, refs[3]) == NULL);
	CHECK(!arena_hold(f.arena, ARENA_PACKET, refs[3]));
	struct slot_ref again = arena_alloc(f.arena, ARENA_PACKET, 1);

	CHECK_EQ(again.index, refs[3].index);
	CHECK(again.generation != refs[3].generation);
	arena_release(f.arena, ARENA_PACKET, refs[3]); /* stale: no effect */
	CHECK(arena_packet(f.arena, again) != NULL);
	CHECK(arena_get(f.arena, ARENA_PACKET, (struct slot_ref){99, 1}) == NULL);
	CHECK(arena_get(f.arena, ARENA_PACKET, (struct slot_ref){0, 0}) == NULL);
	teardown(&f);
}

TEST(slots_of_every_table_start_from_zero)
{
	struct fixture f = setup();

	for (int table = ARENA_LOG; table < ARENA_TABLE_COUNT; table++) {
		for (int round = 0; round < 3; round++) {
			struct slot_ref ref = arena_alloc(f.arena, (enum arena_table)table, 1);
			uint8_t *bytes = arena_get(f.arena, (enum arena_table)table, ref);

			for (uint32_t i = 0; i < layout.size[table]; i++)
				CHECK_EQ(bytes[i], 0);
			memset(bytes, 0xff, layout.size[table]);
			arena_release(f.arena, (enum arena_table)table, ref);
		}
	}
	teardown(&f);
}

TEST(a_recount_frees_what_nobody_names)
{
	struct fixture f = setup();
	struct slot_ref kept = arena_alloc(f.arena, ARENA_PACKET, 1);
	struct slot_ref lost = arena_alloc(f.arena, ARENA_PACKET, 2);
	struct slot_ref log = arena_alloc(f.arena, ARENA_LOG, 2);
	struct arena *elsewhere = NULL;

	arena_hold(f.arena, ARENA_PACKET, kept);
	CHECK_OK(arena_map(f.fd, &elsewhere)); /* the same memory at another address */
	arena_recount_begin(elsewhere);
	for (int i = 0; i < 3; i++)
		CHECK(arena_hold_again(elsewhere, ARENA_PACKET, kept));
	CHECK(!arena_hold_again(elsewhere, ARENA_PACKET, (struct slot_ref){kept.index, 99}));
	CHECK_EQ(arena_held_again(elsewhere, ARENA_PACKET), 3);
	CHECK_EQ(arena_held_again(elsewhere, ARENA_LOG), 0);
	CHECK_EQ(arena_recount_end(elsewhere), 2);
	CHECK_EQ(arena_references(elsewhere, ARENA_PACKET), 3);
	CHECK(arena_packet(elsewhere, lost) == NULL);
	CHECK(arena_get(elsewhere, ARENA_LOG, log) == NULL);
	for (int i = 0; i < 15; i++)
		CHECK(arena_alloc(elsewhere, ARENA_PACKET, 1).generation != 0);
	CHECK_EQ(arena_alloc(elsewhere, ARENA_PACKET, 1).generation, 0);
	arena_detach(&elsewhere);
	teardown(&f);
}

TEST(a_span_holds_all_slots_of_its_table_and_no_other)
{
	struct fixture f = setup();
	size_t end = 0;

	for (int table = 0; table < ARENA_TABLE_COUNT; table++) {
		struct slot_ref ref = arena_alloc(f.arena, (enum arena_table)table, 1);
		const uint8_t *slot = arena_get(f.arena, (enum arena_table)table, ref);
		const uint8_t *memory = (const uint8_t *)arena_send_area(f.arena) - 4096;
		size_t offset, size;

		arena_span(f.arena, (enum arena_table)table, &offset, &size);
		CHECK(memory + offset == slot); /* the first one of a table comes first */
		CHECK(offset % 4096 == 0 && size % 4096 == 0);
		CHECK(size >=
			layout.count[table] * arena_slot_size(f.arena, (enum arena_table)table));
		CHECK(offset > end);
		end = offset + size;
	}
	CHECK_EQ(end, arena_size(&layout));
	teardown(&f);
}

TEST(damaged_memory_is_refused_or_survived)
{
	size_t size = arena_size(&layout);
	struct rng rng = rng_of(3);
	int attached = 0;

	for (int i = 0; i < 300; i++) {
		uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		struct arena *arena = NULL;

		CHECK(memory != MAP_FAILED);
		arena_format(memory, &layout);
		for (int flips = 0; flips < 4; flips++)
			memory[rng_below(&rng, 400)] ^= (uint8_t)(1u << rng_below(&rng, 8));
		if (arena_attach(memory, size, &arena) == ERR_OK) {
			for (int table = 0; table < ARENA_TABLE_COUNT; table++)
				arena_alloc(arena, (enum arena_table)table, 1);
			arena_detach(&arena);
			attached++;
		}
		munmap(memory, size);
	}
	CHECK_GE(attached, 1);
	CHECK_LE(attached, 299);
}

static int64_t blocks(const struct fixture *f)
{
	struct stat info;

	CHECK_EQ(fstat(f->fd, &info), 0);
	return info.st_blocks;
}

TEST(packets_have_memory_before_they_are_taken)
{
	struct fixture f = setup();
	int64_t there;

	arena_alloc(f.arena, ARENA_PACKET, 1);
	arena_commit(f.arena);
	there = blocks(&f);
	for (int i = 1; i < 16; i++) {
		struct packet *packet =
			arena_packet(f.arena, arena_alloc(f.arena, ARENA_PACKET, 1));

		memset(packet->payload, 1, sizeof(packet->payload));
		CHECK_EQ(blocks(&f), there);
		arena_commit(f.arena);
	}
	teardown(&f);
}

TEST(the_memfd_cannot_change_its_size)
{
	struct fixture f = setup();

	CHECK(ftruncate(f.fd, 4096) != 0);
	CHECK_OK(arena_take_fence(f.arena, 0, NULL));
	teardown(&f);
}

TEST(attach_without_memory_fails_cleanly)
{
	struct fixture f = setup();
	struct arena *arena = NULL;

	test_fail_allocation(1);
	CHECK_EQ(arena_map(f.fd, &arena), ERR_NO_MEMORY);
	test_fail_allocation(0);
	CHECK(arena == NULL);
	teardown(&f);
}

/* ---- the escrow beside the tables ------------------------------------------------------------- */

enum {
	STATE_MAX = 6000
}; /* of a stream that few read here: lists of readers are as long as there are readers */

static size_t kept_size(const struct schema *state)
{
	size_t size = schema_encoded_size_max(state);

	return schema_encoded_size_max(&schema_actor_record) +
	       2 * schema_encoded_size_max(&schema_watch) + (size < STATE_MAX ? size : STATE_MAX);
}

static void keep_all(struct escrow *escrow, uint32_t count, size_t size)
{
	static uint8_t bytes[2 * STATE_MAX];
	uint32_t first = 0;

	CHECK_LE(size, sizeof(bytes));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t entry = escrow_open(escrow, UINT64_C(1) << RUNTIME_BLOCK_SHIFT);

		CHECK(entry != 0);
		CHECK_OK(escrow_put(escrow, entry, bytes, size));
		first = first ? first : entry;
	}
	escrow_commit(escrow);
	for (uint32_t i = 0; i < count; i++) /* both versions */
		CHECK_OK(escrow_put(escrow, first + i, bytes, size));
	escrow_commit(escrow);
}

/* All slots of the default tables in use, every text as long as it may be, callbacks for everybody: whoever was
 * let in survives a kill. What has hot fields has two entries. */
TEST(the_escrow_has_room_for_whoever_has_a_slot)
{
	enum { HOT_SIZE = 700, MAIL_SIZE = 500 };
	const struct {
		uint32_t count;
		size_t size;
	} rows[] = {
		{ARENA_SESSIONS_DEFAULT, kept_size(&schema_http_connection_state)},
		{ARENA_SESSIONS_DEFAULT, 200					    },
		{ARENA_SESSIONS_DEFAULT, kept_size(&schema_callback_ticket_state)},
		{ARENA_BUFFERS_DEFAULT,	kept_size(&schema_rtmp_session_state)   },
		{ARENA_BUFFERS_DEFAULT,	200					   },
		{ARENA_BUFFERS_DEFAULT,	kept_size(&schema_callback_ticket_state)},
		{ARENA_LOGS_DEFAULT / 2, kept_size(&schema_stream_state)		},
		{ARENA_LOGS_DEFAULT / 2, kept_size(&schema_flv_mux_state)	 },
		{ARENA_LOGS_DEFAULT,     HOT_SIZE				     },
		{2 * RUNTIME_OUTBOX_MAX, MAIL_SIZE				  },
	};
	size_t size = escrow_size(&(struct escrow_layout){0});
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct escrow_usage usage;
	struct escrow *escrow;

	CHECK(memory != MAP_FAILED);
	escrow_format(memory, &(struct escrow_layout){0});
	CHECK_OK(escrow_attach(memory, size, &escrow));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		keep_all(escrow, rows[i].count, rows[i].size);
	escrow_usage(escrow, &usage);
	printf("%u of %u entries, %u of %u blocks\n", usage.actors, usage.actors_max, usage.blocks,
		usage.blocks_max);
	escrow_detach(&escrow);
	munmap(memory, size);
}

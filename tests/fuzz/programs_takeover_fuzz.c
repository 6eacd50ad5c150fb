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
#include "runtime/config.h"
#include "runtime/kernel.h"
#include "runtime/live.h"
#include "runtime/process.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { DAMAGES_MAX = 64, TURNS = 8, TURN_US = 50000, HEAD_SIZE = 300 * 1024, PROCESS = 77 };

struct damage {
	uint32_t offset;
	uint8_t byte;
};

static int64_t now_us;

static int64_t fuzz_now_us(void *context)
{
	(void)context;
	return now_us;
}

static void fuzz_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 1, size);
}

static enum err fuzz_send(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	(void)parts;
	(void)count;
	return ERR_OK;
}

/* ---- sockets: all are there, silent, and take what they are given -------------------------------- */

static uint32_t fuzz_take(void *context, uint64_t owner, enum net_given what)
{
	(void)context;
	(void)owner;
	return 1 + (uint32_t)what;
}

static size_t fuzz_send_datagrams(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	(void)context;
	(void)socket;
	(void)to;
	(void)packets;
	return count;
}

static void fuzz_give(void *context, uint32_t socket, uint64_t owner)
{
	(void)context;
	(void)socket;
	(void)owner;
}

static long fuzz_read(void *context, uint32_t socket, void *buffer, size_t size)
{
	(void)context;
	(void)socket;
	(void)buffer;
	(void)size;
	return -1;
}

static long fuzz_write(void *context, uint32_t socket, const struct iovec *parts, size_t count)
{
	long size = 0;

	(void)context;
	(void)socket;
	for (size_t i = 0; i < count; i++)
		size += (long)parts[i].iov_len;
	return size;
}

static void fuzz_want(void *context, uint32_t socket, unsigned events)
{
	(void)context;
	(void)socket;
	(void)events;
}

static void fuzz_close(void *context, uint32_t socket)
{
	(void)context;
	(void)socket;
}

static void fuzz_pause(void *context, uint32_t listener, bool paused)
{
	(void)context;
	(void)listener;
	(void)paused;
}

static bool fuzz_claim(void *context, uint64_t owner, uint32_t socket)
{
	(void)context;
	(void)owner;
	return socket != 0;
}

static bool fuzz_progress(void *context, uint32_t socket, struct net_progress *progress)
{
	(void)context;
	*progress = (struct net_progress){0};
	return socket != 0;
}

static void fuzz_local_addr(void *context, uint32_t socket, struct net_addr *addr)
{
	(void)context;
	(void)socket;
	*addr = (struct net_addr){
		.family = 4, .port = 8000, .ip = {127, 0, 0, 1}
	       };
}

static const struct runtime_ops ops = {.now_us = fuzz_now_us,
	.wall_us = fuzz_now_us,
	.random = fuzz_random,
	.bus_send = fuzz_send,
	.net_take = fuzz_take,
	.net_listen_pause = fuzz_pause,
	.net_send = fuzz_send_datagrams,
	.net_give = fuzz_give,
	.net_read = fuzz_read,
	.net_write = fuzz_write,
	.net_want = fuzz_want,
	.net_close = fuzz_close,
	.net_claim = fuzz_claim,
	.net_progress = fuzz_progress,
	.net_local_addr = fuzz_local_addr};

static bool fuzz_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static const struct arena_layout layout = {
	.count = {32,	      2,			       4, 2},
	.size = {sizeof(struct packet),		ARENA_LOG_SIZE,						ARENA_SESSION_SIZE, ARENA_BUFFER_SIZE},
	.escrow = {.actors = 64,.blocks = 512},
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
	static struct config_report config_report;
	static struct config config;
	struct log_sink sink = {.now_us = fuzz_now_us, .write = fuzz_log};
	struct runtime_takeover_report report;
	struct arena *arena = NULL;
	struct escrow *escrow = NULL;
	struct runtime *rt = NULL;
	struct log log;

	config_init(&config, &config_report);
	if (arena_attach(memory, arena_size(&layout), &arena) != ERR_OK)
		return;
	if (arena_escrow(arena, &escrow) == ERR_OK) {
		log_init(&log, "fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
		MUST(runtime_create(&(struct runtime_options){.ops = &ops,
					    .config = &config,
					    .log = &log,
					    .arena = arena,
					    .escrow = escrow,
					    .node = 1,
					    .block = 1,
					    .process = PROCESS,
					    .role = PROCESS_MEDIA,
					    .types = worker_program.types},
			     &rt) == ERR_OK);
		if (runtime_takeover(rt, &report) == ERR_OK)
			for (int i = 0; i < TURNS; i++, now_us += TURN_US) {
				runtime_tick(rt);
				runtime_turn(rt);
			}
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

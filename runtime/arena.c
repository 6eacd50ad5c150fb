/* SPDX-License-Identifier: Apache-2.0
 *
 * Layout of the memory: header page, send area, escrow, then for every table an array of slot heads and an
 * array of slot payloads. The free list is threaded through the heads; it is a cache of what the
 * heads say (refs == 0) and is rebuilt after a takeover.
 */
#include "runtime/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	ARENA_VERSION = 6,
	PAGE = 4096,
	FRESH_AHEAD = 256 * 1024, /* bytes of packets: a tenth of a second of 20 Mbit/s */
	PUNCH_MIN = 64 * 1024,	  /* slots at least this large give their pages back when freed */
	NO_SLOT = UINT32_MAX,
};

#define ARENA_MAGIC 0x314e455241524c4dull /* "MLRAREN1" */

struct slot_head {
	uint32_t generation; /* odd: live; even: free. Never 0 while live. */
	uint32_t refs;
	uint32_t next_free;
	uint32_t recount;
	uint64_t owner;
};

struct arena_table_head {
	uint64_t heads_offset;
	uint64_t payload_offset;
	uint32_t count;
	uint32_t size; /* stride of a payload */
	uint32_t first_free;
	uint32_t used;
	uint32_t fresh; /* slots never used yet begin here: heads beyond are untouched memory */
	uint64_t refused;
};

struct arena_header {
	uint64_t magic;
	uint32_t version;
	uint32_t tables;
	uint64_t size;
	uint64_t send_offset;
	uint64_t escrow_offset, escrow_size;
	pthread_mutex_t fence; /* robust, process-shared: held by whoever runs this arena */
	struct arena_table_head table[ARENA_TABLE_COUNT];
};

struct arena {
	uint8_t *memory;
	size_t size;
	bool mapped; /* by us */
	bool fenced; /* the fence is ours */
	struct arena_header *header;
	bool keeps_freed; /* until the commit: from `freed` on, through next_free */
	uint32_t freed[ARENA_TABLE_COUNT], freed_count[ARENA_TABLE_COUNT];
	uint64_t held_again[ARENA_TABLE_COUNT];
	int64_t blocks_ahead; /* of the file, when it was last mapped ahead */
	uint64_t fresh_until; /* in the mapping: up to here packets have pages */
};

static const struct arena_layout layout_default = {
	.count = {ARENA_PACKETS_DEFAULT, ARENA_LOGS_DEFAULT, ARENA_SESSIONS_DEFAULT,
		  ARENA_BUFFERS_DEFAULT							       },
	.size = {sizeof(struct packet), ARENA_LOG_SIZE,	ARENA_SESSION_SIZE,	    ARENA_BUFFER_SIZE},
};

/* An edge actor has a record, its hot fields and a ticket; a log is a stream's or a muxer's. The rest is for
 * mail and answers that are owed. */
_Static_assert((int)ESCROW_ACTORS_DEFAULT >=
		       3 * ((int)ARENA_SESSIONS_DEFAULT + (int)ARENA_BUFFERS_DEFAULT) +
			       2 * (int)ARENA_LOGS_DEFAULT + 16384,
	"whoever has a slot finds room in the escrow");

static uint64_t align_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

static uint32_t layout_count(const struct arena_layout *layout, int table)
{
	return layout && layout->count[table] ? layout->count[table] : layout_default.count[table];
}

static uint32_t layout_stride(const struct arena_layout *layout, int table)
{
	uint32_t size =
		layout && layout->size[table] ? layout->size[table] : layout_default.size[table];

	return (uint32_t)align_up(size, size >= PUNCH_MIN ? PAGE : 64);
}

static const struct escrow_layout *escrow_layout(const struct arena_layout *layout)
{
	return layout ? &layout->escrow : &layout_default.escrow;
}

/* Fills in the offsets; returns the size of it all. */
static uint64_t lay_out(const struct arena_layout *layout, struct arena_header *header)
{
	uint64_t at = align_up(sizeof(*header), PAGE);

	header->send_offset = at;
	at = align_up(at + sizeof(struct arena_send), PAGE);
	header->escrow_offset = at;
	header->escrow_size = escrow_size(escrow_layout(layout));
	at = align_up(at + header->escrow_size, PAGE);
	for (int i = 0; i < ARENA_TABLE_COUNT; i++) {
		struct arena_table_head *table = &header->table[i];

		table->count = layout_count(layout, i);
		table->size = layout_stride(layout, i);
		table->heads_offset = at;
		at = align_up(at + (uint64_t)table->count * sizeof(struct slot_head), PAGE);
		table->payload_offset = at;
		at = align_up(at + (uint64_t)table->count * table->size, PAGE);
		table->first_free = NO_SLOT;
	}
	return at;
}

size_t arena_size(const struct arena_layout *layout)
{
	struct arena_header header = {0};

	return lay_out(layout, &header);
}

void arena_format(void *memory, const struct arena_layout *layout)
{
	struct arena_header *header = memory;
	pthread_mutexattr_t attributes;

	header->size = lay_out(layout, header);
	escrow_format((uint8_t *)memory + header->escrow_offset, escrow_layout(layout));
	header->version = ARENA_VERSION;
	header->tables = ARENA_TABLE_COUNT;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&header->fence, &attributes);
	pthread_mutexattr_destroy(&attributes);
	header->magic = ARENA_MAGIC;
}

static enum err check_table(const struct arena_table_head *table, uint64_t size)
{
	uint64_t heads_end =
		table->heads_offset + (uint64_t)table->count * sizeof(struct slot_head);
	uint64_t end = table->payload_offset + (uint64_t)table->count * table->size;

	if (!table->count || !table->size || table->heads_offset % 8 || table->payload_offset % 64)
		return ERR_FORMAT;
	if (table->heads_offset > size || heads_end > size || table->payload_offset > size ||
		end > size)
		return ERR_FORMAT;
	return table->fresh <= table->count && table->used <= table->count ? ERR_OK : ERR_FORMAT;
}

enum err arena_attach(void *memory, size_t size, struct arena **out)
{
	struct arena_header *header = memory;

	*out = NULL;
	if (size < sizeof(*header) || header->magic != ARENA_MAGIC || header->size != size)
		return ERR_FORMAT;
	if (header->version != ARENA_VERSION || header->tables != ARENA_TABLE_COUNT)
		return ERR_VERSION;
	if (header->send_offset % 64 || header->send_offset + sizeof(struct arena_send) > size)
		return ERR_FORMAT;
	if (header->escrow_offset % 64 || header->escrow_offset > size ||
		header->escrow_size > size - header->escrow_offset)
		return ERR_FORMAT;
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		if (check_table(&header->table[i], size))
			return ERR_FORMAT;

	struct arena *arena = calloc(1, sizeof(*arena));

	if (!arena)
		return ERR_NO_MEMORY;
	*arena = (struct arena){.memory = memory, .size = size, .header = header};
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		arena->freed[i] = NO_SLOT;
	*out = arena;
	return ERR_OK;
}

void arena_detach(struct arena **arena)
{
	if (!*arena)
		return;
	if ((*arena)->fenced)
		pthread_mutex_unlock(&(*arena)->header->fence);
	if ((*arena)->mapped)
		munmap((*arena)->memory, (*arena)->size);
	free(*arena);
	*arena = NULL;
}

void arena_map_ahead(struct arena *arena, int fd)
{
	struct stat info;
	off_t from = 0, to;

	if (!arena->mapped || fstat(fd, &info) || info.st_blocks == arena->blocks_ahead)
		return;
	arena->blocks_ahead = info.st_blocks;
	while ((from = lseek(fd, from, SEEK_DATA)) >= 0 &&
		(to = lseek(fd, from, SEEK_HOLE)) > from) {
		madvise((uint8_t *)arena->memory + from, (size_t)(to - from), MADV_POPULATE_READ);
		from = to;
	}
}

int arena_create_memfd(const char *name, const struct arena_layout *layout)
{
	size_t size = arena_size(layout);
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *memory = MAP_FAILED;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)size) == 0)
		memory =
			mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (memory == MAP_FAILED ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		int saved = errno;

		if (memory != MAP_FAILED)
			munmap(memory, size);
		close(fd);
		errno = saved;
		return -1;
	}
	arena_format(memory, layout);
	munmap(memory, size);
	return fd;
}

enum err arena_map(int fd, struct arena **out)
{
	struct stat info;
	enum err err;

	*out = NULL;
	if (fstat(fd, &info) || info.st_size < (off_t)sizeof(struct arena_header))
		return ERR_FORMAT;
	void *memory = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (memory == MAP_FAILED)
		return ERR_NO_MEMORY;
	/* keys lie in here: never in a core dump */
	madvise(memory, (size_t)info.st_size, MADV_DONTDUMP);
	err = arena_attach(memory, (size_t)info.st_size, out);
	if (err)
		munmap(memory, (size_t)info.st_size);
	else
		(*out)->mapped = true;
	return err;
}

static struct slot_head *slot_head(
	struct arena *arena, const struct arena_table_head *table, uint32_t index)
{
	return (struct slot_head *)(arena->memory + table->heads_offset) + index;
}

static void *slot_payload(struct arena *arena, const struct arena_table_head *table, uint32_t index)
{
	return arena->memory + table->payload_offset + (uint64_t)index * table->size;
}

/* Of that generation, whether somebody holds it or not. */
static struct slot_head *named_head(
	struct arena *arena, enum arena_table table_id, struct slot_ref ref)
{
	const struct arena_table_head *table = &arena->header->table[table_id];

	if (ref.index >= table->count || !(ref.generation & 1))
		return NULL;
	struct slot_head *head = slot_head(arena, table, ref.index);

	return head->generation == ref.generation ? head : NULL;
}

static struct slot_head *live_head(struct arena *arena, enum arena_table table, struct slot_ref ref)
{
	struct slot_head *head = named_head(arena, table, ref);

	return head && head->refs ? head : NULL;
}

struct slot_ref arena_alloc(struct arena *arena, enum arena_table table_id, uint64_t owner)
{
	struct arena_table_head *table = &arena->header->table[table_id];
	uint32_t index = table->first_free;
	struct slot_head *head;

	if (index < table->count) {
		head = slot_head(arena, table, index);
		table->first_free = head->next_free;
	} else if (table->fresh < table->count) {
		index = table->fresh++;
		head = slot_head(arena, table, index);
	} else {
		table->refused++;
		return (struct slot_ref){0};
	}
	head->generation |= 1;
	head->refs = 1;
	head->owner = owner;
	table->used++;
	/* packets are filled by whoever takes them; everything else starts from zero */
	if (table_id == ARENA_PACKET)
		memset(slot_payload(arena, table, index), 0, sizeof(struct media_header));
	else if (table->size < PUNCH_MIN)
		memset(slot_payload(arena, table, index), 0, table->size);
	return (struct slot_ref){.index = index, .generation = head->generation};
}

void *arena_get(struct arena *arena, enum arena_table table, struct slot_ref ref)
{
	return live_head(arena, table, ref)
		       ? slot_payload(arena, &arena->header->table[table], ref.index)
		       : NULL;
}

size_t arena_slot_size(const struct arena *arena, enum arena_table table)
{
	return arena->header->table[table].size;
}

bool arena_hold(struct arena *arena, enum arena_table table, struct slot_ref ref)
{
	struct slot_head *head = live_head(arena, table, ref);

	if (head)
		head->refs++;
	return head != NULL;
}

static void free_slot(struct arena *arena, struct arena_table_head *table, uint32_t index)
{
	struct slot_head *head = slot_head(arena, table, index);

	head->generation++; /* even: free */
	head->refs = 0;
	head->owner = 0;
	/* large slots are zero again by giving the pages back, which is also what frees them */
	if (table->size >= PUNCH_MIN) {
		void *payload = slot_payload(arena, table, index);

		if (madvise(payload, table->size, MADV_REMOVE))
			memset(payload, 0, table->size);
	}
	head->next_free = table->first_free;
	table->first_free = index;
	table->used--;
}

void arena_release(struct arena *arena, enum arena_table table, struct slot_ref ref)
{
	struct slot_head *head = live_head(arena, table, ref);

	if (!head || --head->refs)
		return;
	if (!arena->keeps_freed) {
		free_slot(arena, &arena->header->table[table], ref.index);
		return;
	}
	head->next_free = arena->freed[table];
	arena->freed[table] = ref.index;
	arena->freed_count[table]++;
}

void arena_keep_freed(struct arena *arena)
{
	arena->keeps_freed = true;
}

/* The first to write into a page of the mapping waits for the kernel to make it: for packets that is done
 * when there is time, some beforehand. */
static void make_fresh_packets(struct arena *arena)
{
	const struct arena_table_head *table = &arena->header->table[ARENA_PACKET];
	uint64_t end = table->payload_offset + (uint64_t)table->count * table->size;
	uint64_t used = table->payload_offset + (uint64_t)table->fresh * table->size;
	uint64_t from = arena->fresh_until > used ? arena->fresh_until : used / PAGE * PAGE;

	if (!arena->mapped || arena->fresh_until >= used + FRESH_AHEAD / 2 || from >= end)
		return;
	arena->fresh_until = align_up(used + FRESH_AHEAD, PAGE);
	if (arena->fresh_until > end)
		arena->fresh_until = align_up(end, PAGE);
	madvise(arena->memory + from, arena->fresh_until - from, MADV_POPULATE_WRITE);
}

void arena_commit(struct arena *arena)
{
	for (int i = 0; i < ARENA_TABLE_COUNT; i++) {
		struct arena_table_head *table = &arena->header->table[i];

		while (arena->freed[i] < table->count) {
			uint32_t index = arena->freed[i];

			arena->freed[i] = slot_head(arena, table, index)->next_free;
			free_slot(arena, table, index);
		}
		arena->freed_count[i] = 0;
	}
	make_fresh_packets(arena);
}

void arena_recount_begin(struct arena *arena)
{
	for (int i = 0; i < ARENA_TABLE_COUNT; i++) {
		struct arena_table_head *table = &arena->header->table[i];

		for (uint32_t index = 0; index < table->fresh; index++) {
			struct slot_head *head = slot_head(arena, table, index);

			head->recount = 0;
			/* one freed in a turn that was not kept is there again */
			if (head->generation & 1 && !head->refs)
				head->refs = 1;
		}
	}
}

bool arena_hold_again(struct arena *arena, enum arena_table table, struct slot_ref ref)
{
	struct slot_head *head = named_head(arena, table, ref);

	if (!head)
		return false;
	head->recount++;
	arena->held_again[table]++;
	return true;
}

void arena_hold_no_more(struct arena *arena, uint64_t owner)
{
	for (int i = ARENA_PACKET + 1; i < ARENA_TABLE_COUNT; i++) {
		const struct arena_table_head *table = &arena->header->table[i];

		for (uint32_t index = 0; index < table->fresh; index++) {
			struct slot_head *head = slot_head(arena, table, index);

			if (head->owner == owner)
				head->recount = 0;
		}
	}
}

uint64_t arena_held_again(const struct arena *arena, enum arena_table table)
{
	return arena->held_again[table];
}

size_t arena_recount_end(struct arena *arena)
{
	size_t freed = 0;

	for (int i = 0; i < ARENA_TABLE_COUNT; i++) {
		struct arena_table_head *table = &arena->header->table[i];

		arena->freed[i] = NO_SLOT;
		arena->freed_count[i] = 0;
		table->first_free = NO_SLOT;
		table->used = table->fresh;
		for (uint32_t index = table->fresh; index-- > 0;) {
			struct slot_head *head = slot_head(arena, table, index);

			if (head->recount) {
				head->refs = head->recount;
				continue;
			}
			freed += head->generation & 1;
			head->generation |= 1;
			free_slot(arena, table, index);
		}
	}
	return freed;
}

/* gcc 12's thread sanitizer knows no pthread_mutex_clocklock, and would not believe the unlock. */
static void tell_tsan_of_lock(pthread_mutex_t *mutex)
{
#ifdef __SANITIZE_THREAD__
	__tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
	__tsan_mutex_post_lock(mutex, __tsan_mutex_try_lock, 0);
#else
	(void)mutex;
#endif
}

enum err arena_take_fence(struct arena *arena, uint32_t wait_ms, bool *inherited)
{
	struct timespec until;
	int result;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	result = pthread_mutex_clocklock(&arena->header->fence, CLOCK_MONOTONIC, &until);
	if (inherited)
		*inherited = result == EOWNERDEAD;
	if (result == EOWNERDEAD)
		result = pthread_mutex_consistent(&arena->header->fence);
	if (!result)
		tell_tsan_of_lock(&arena->header->fence);
	arena->fenced |= !result;
	return !result ? ERR_OK : result == ETIMEDOUT ? ERR_TIMEOUT : ERR_IO;
}

struct arena_send *arena_send_area(struct arena *arena)
{
	return (struct arena_send *)(arena->memory + arena->header->send_offset);
}

enum err arena_escrow(struct arena *arena, struct escrow **escrow)
{
	return escrow_attach(
		arena->memory + arena->header->escrow_offset, arena->header->escrow_size, escrow);
}

void arena_usage(const struct arena *arena, struct arena_usage *usage)
{
	for (int i = 0; i < ARENA_TABLE_COUNT; i++) {
		usage->used[i] = arena->header->table[i].used;
		usage->freed[i] = arena->freed_count[i];
		usage->count[i] = arena->header->table[i].count;
		usage->refused[i] = arena->header->table[i].refused;
	}
}

void arena_span(const struct arena *arena, enum arena_table table_id, size_t *offset, size_t *size)
{
	const struct arena_table_head *table = &arena->header->table[table_id];

	*offset = table->payload_offset;
	*size = align_up((uint64_t)table->count * table->size, PAGE);
}

uint64_t arena_references(const struct arena *arena, enum arena_table table_id)
{
	const struct arena_table_head *table = &arena->header->table[table_id];
	const struct slot_head *head = (const void *)(arena->memory + table->heads_offset);
	uint64_t references = 0;

	for (uint32_t index = 0; index < table->fresh && index < table->count; index++)
		references += head[index].refs;
	return references;
}

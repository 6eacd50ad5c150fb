/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: memory of arenas, each on a memfd, as a worker's is: freed slots give their pages
 * back, and the same memory can be seen a second time at another address.
 *
 *   sim_map --> in use, zero --touched here and there--> sim_unmap --what was touched zeroed--> pool
 *      └── sim_view: shows what is in the memory; what is written to it stays its own, a page at a
 *          time, until it is renewed. Nothing is copied that is not written to.
 *
 * The pool is the program's (a job runs one seed after the other in one thread), and is no state:
 * what comes out of it is zero.
 */
#include "tests/sim/sim.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REGIONS_MAX = 96 }; /* in use and free */

struct region {
	uint8_t *memory;
	size_t size;
	int fd;
	bool used;
};

static struct region regions[REGIONS_MAX];

static struct region *region_of(const void *memory)
{
	for (int i = 0; i < REGIONS_MAX; i++)
		if (regions[i].memory == memory)
			return &regions[i];
	MUST(!"memory of the pool");
	return NULL;
}

/* A free one of that size, or else a place for one. */
static struct region *find_free(size_t size)
{
	struct region *place = NULL;

	for (int i = 0; i < REGIONS_MAX; i++) {
		struct region *region = &regions[i];

		if (region->used)
			continue;
		if (region->memory && region->size == size)
			return region;
		if (!place || !region->memory)
			place = region;
	}
	MUST(place);
	return place;
}

static void discard(struct region *region)
{
	munmap(region->memory, region->size);
	close(region->fd);
	*region = (struct region){0};
}

void *sim_map(size_t size)
{
	struct region *region = find_free(size);

	if (region->memory && region->size != size)
		discard(region);
	if (!region->memory) {
		region->fd = memfd_create("simulated arena", MFD_CLOEXEC);
		MUST(region->fd >= 0 && ftruncate(region->fd, (off_t)size) == 0);
		region->memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_NORESERVE, region->fd, 0);
		MUST(region->memory != MAP_FAILED);
		region->size = size;
	}
	region->used = true;
	return region->memory;
}

void sim_unmap(void **memory, size_t size)
{
	struct region *region;
	off_t at = 0, end;

	if (!*memory)
		return;
	region = region_of(*memory);
	*memory = NULL;
	MUST(region->size == size);
	while ((at = lseek(region->fd, at, SEEK_DATA)) >= 0) {
		end = lseek(region->fd, at, SEEK_HOLE);
		memset(region->memory + at, 0, (size_t)(end - at));
		at = end;
	}
	region->used = false;
}

static void map_anew(void *memory, int how)
{
	const struct region *region = region_of(memory);
	void *at = mmap(memory, region->size, PROT_READ | PROT_WRITE,
		how | MAP_NORESERVE | MAP_FIXED, region->fd, 0);

	MUST(at == memory);
}

void sim_memory_freeze(void *memory)
{
	map_anew(memory, MAP_PRIVATE);
}

void sim_memory_thaw(void *memory)
{
	map_anew(memory, MAP_SHARED);
}

void *sim_view(void *memory, size_t size)
{
	void *view = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
		region_of(memory)->fd, 0);

	MUST(view != MAP_FAILED);
	return view;
}

void sim_view_join(void *view, void *memory, size_t offset, size_t size, bool writable)
{
	void *at = mmap((uint8_t *)view + offset, size, PROT_READ | (writable ? PROT_WRITE : 0),
		MAP_SHARED | MAP_NORESERVE | MAP_FIXED, region_of(memory)->fd, (off_t)offset);

	MUST(at != MAP_FAILED);
}

void sim_view_renew(void *view, size_t offset, size_t size)
{
	MUST(madvise((uint8_t *)view + offset, size, MADV_DONTNEED) == 0);
}

void sim_view_end(void **view, size_t size)
{
	if (*view)
		munmap(*view, size);
	*view = NULL;
}

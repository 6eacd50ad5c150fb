/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: memory of arenas. A run makes and copies many of them, most of whose pages nobody
 * touches: fresh mappings and whole copies would cost several times what the actors do.
 *
 *   sim_map --> in use, zero --touched here and there--> sim_unmap --touched pages zeroed--> pool
 *
 * (Shared mappings, as a worker's memfd is: freed slots give their pages back.)
 *
 * The pool is the program's (a job runs one seed after the other in one thread), and is no state:
 * what comes out of it is zero.
 */
#include "tests/sim/sim.h"

#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, POOL_MAX = 16, PAGES_MAX = 1 << 16 };

static struct {
	void *memory[POOL_MAX];
	size_t size[POOL_MAX];
	size_t count;
	unsigned char touched[PAGES_MAX];
} pool;

/* Which pages of a mapping were ever touched; false = not known. */
static bool find_touched(void *memory, size_t size)
{
	return size / PAGE <= PAGES_MAX && mincore(memory, size, pool.touched) == 0;
}

void *sim_map(size_t size)
{
	void *memory;

	for (size_t i = 0; i < pool.count; i++) {
		if (pool.size[i] == size) {
			memory = pool.memory[i];
			pool.count--;
			pool.memory[i] = pool.memory[pool.count];
			pool.size[i] = pool.size[pool.count];
			return memory;
		}
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	MUST(memory != MAP_FAILED);
	return memory;
}

void sim_unmap(void **memory_, size_t size)
{
	uint8_t *memory = *memory_;

	*memory_ = NULL;
	if (!memory)
		return;
	if (pool.count == POOL_MAX || !find_touched(memory, size)) {
		munmap(memory, size);
		return;
	}
	for (size_t page = 0; page < size / PAGE; page++)
		if (pool.touched[page] & 1)
			memset(memory + page * PAGE, 0, PAGE);
	pool.memory[pool.count] = memory;
	pool.size[pool.count++] = size;
}

void *sim_map_copy(void *memory, size_t size)
{
	uint8_t *copy = sim_map(size);

	if (!find_touched(memory, size)) {
		memcpy(copy, memory, size);
		return copy;
	}
	for (size_t page = 0; page < size / PAGE; page++)
		if (pool.touched[page] & 1)
			memcpy(copy + page * PAGE, (uint8_t *)memory + page * PAGE, PAGE);
	return copy;
}

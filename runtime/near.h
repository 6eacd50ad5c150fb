/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that will be touched soon is fetched while something else is done. Reading and writing it do
 * not depend on that; an address that is not mapped does no harm.
 */
#ifndef MILLRACE_NEAR_H
#define MILLRACE_NEAR_H

#include <stddef.h>
#include <stdint.h>

enum { NEAR_LINE = 64 /* bytes: what a processor fetches at once */ };

static inline void bring_near(const void *memory, size_t size)
{
	uintptr_t end = (uintptr_t)memory + size;

	for (uintptr_t at = (uintptr_t)memory & ~(uintptr_t)(NEAR_LINE - 1); at < end;
		at += NEAR_LINE)
		__builtin_prefetch((const void *)at, 1);
}

#endif

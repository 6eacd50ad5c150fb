/* SPDX-License-Identifier: Apache-2.0
 *
 * Long lists of actors, a page at a time. Each process gives its rows in order of id and says where
 * it stopped. Of all of them together those are shown whose id is not beyond the earliest such
 * place: the next page begins there in every process.
 *
 * Thread: any. Everything is a pure function of its arguments.
 */
#ifndef MILLRACE_CONSOLE_PAGE_H
#define MILLRACE_CONSOLE_PAGE_H

#include "schemas/schema.h"

#include <jansson.h>

struct console_page {
	uint32_t limit; /* rows, 0 = all that are there */
	bool ended;	/* some process has more … */
	uint64_t end;	/* … beyond this id */
	json_t *next; /* set by console_page_cut: address after which to go on; NULL = that was all */
};

void console_page_end(struct console_page *page, uint64_t id);
/* Of the first row, UINT64_MAX when there is none. */
uint64_t console_page_first(const json_t *rows);
/* What a process gave as "next": an address or null. */
void console_page_ends_at(struct console_page *page, const json_t *next);
/* Rows of a process that found no room in the answer. */
void console_page_left_out(struct console_page *page, const json_t *rows);

/* The rows of the page in order of id; a new reference, NULL when out of memory. */
json_t *console_page_cut(struct console_page *page, json_t *rows);

#endif

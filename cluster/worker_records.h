/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store is to have of a node's media workers, and what it has: an engine of the mesh office, which
 * puts and deletes node/<id>/worker/<index> one at a time until the two are the same.
 */
#ifndef MILLRACE_WORKER_RECORDS_H
#define MILLRACE_WORKER_RECORDS_H

#include "runtime/process.h"
#include "schemas/schema.h"

#include <stdbool.h>
#include <stdint.h>

enum { WORKER_KEY_SIZE = 48 };

struct worker_records {
	uint64_t there; /* a bit each */
	struct worker_record row[PROCESS_WORKERS_MAX];
};

/* The node's workers as its status page has them now: all that it is to have, in whatever state, and those
 * beyond that still drain. */
void worker_records_read(struct worker_records *records, const struct process_page *page);

/* The first worker of which the two say something else; -1: none. */
int worker_records_differ(const struct worker_records *one, const struct worker_records *other);

/* One worker's, as `from` has it: there or not. */
void worker_records_copy(struct worker_records *to, const struct worker_records *from, int index);

/* "node/<16 digits>/worker/<index>". */
void worker_key_write(uint64_t node, int index, char key[WORKER_KEY_SIZE]);

/* The same backwards; false: it is no such key. */
bool worker_key_read(const char *key, uint64_t *node, int *index);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of a node's workers; see worker_records.h.
 */
#include "cluster/worker_records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_DIGITS = 16, INDEX_DIGITS_MAX = 2 };

static const char node_prefix[] = "node/", worker_prefix[] = "/worker/";

_Static_assert(PROCESS_WORKERS_MAX <= 64, "a bit each");

void worker_records_read(struct worker_records *records, const struct process_page *page)
{
	uint32_t count = atomic_load(&page->worker_count);

	*records = (struct worker_records){0};
	for (uint32_t i = 0; i < PROCESS_WORKERS_MAX; i++) {
		const struct process_status *slot = &page->slot[process_slot(PROCESS_MEDIA, i)];
		enum process_state state = (enum process_state)atomic_load(&slot->state);

		if (i >= count && state != PROCESS_DRAINING)
			continue;
		records->there |= 1ull << i;
		text_copy(records->row[i].state, sizeof(records->row[i].state),
			process_state_name(state));
		records->row[i].incarnation = atomic_load(&slot->incarnation);
	}
}

static bool same(const struct worker_record *one, const struct worker_record *other)
{
	return one->incarnation == other->incarnation && !strcmp(one->state, other->state);
}

int worker_records_differ(const struct worker_records *one, const struct worker_records *other)
{
	for (int i = 0; i < PROCESS_WORKERS_MAX; i++) {
		bool there = one->there >> i & 1;

		if (there != (other->there >> i & 1) ||
			(there && !same(&one->row[i], &other->row[i])))
			return i;
	}
	return -1;
}

void worker_records_copy(struct worker_records *to, const struct worker_records *from, int index)
{
	uint64_t bit = 1ull << index;

	to->there = (to->there & ~bit) | (from->there & bit);
	to->row[index] = from->row[index];
}

void worker_key_write(uint64_t node, int index, char key[WORKER_KEY_SIZE])
{
	snprintf(key, WORKER_KEY_SIZE, "%s%0*" PRIx64 "%s%d", node_prefix, KEY_DIGITS, node,
		worker_prefix, index);
}

bool worker_key_read(const char *key, uint64_t *node, int *index)
{
	const char *digits = key + sizeof(node_prefix) - 1;
	const char *rest = digits + KEY_DIGITS;
	const char *number = rest + sizeof(worker_prefix) - 1;

	if (strncmp(key, node_prefix, sizeof(node_prefix) - 1) != 0 ||
		strspn(digits, "0123456789abcdef") != KEY_DIGITS ||
		strncmp(rest, worker_prefix, sizeof(worker_prefix) - 1) != 0 || !number[0] ||
		strlen(number) > INDEX_DIGITS_MAX || number[strspn(number, "0123456789")])
		return false;
	*node = strtoull(digits, NULL, 16);
	*index = atoi(number);
	return *index < PROCESS_WORKERS_MAX;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of a node: over which relays it is reached by which origin, by ids of nodes; and how rows
 * travel, packed into the two texts of msg_path_table:
 *
 *   relays   ids, 8 bytes each, big-endian, at most PATH_RELAYS_MAX
 *   rows     origin (8), ways (1, at most 3; 0: the row goes), for each way two places in `relays`,
 *            the relay nearest to the node first, 255 = none
 *
 * Two tables with the same rows have the same digest.
 *
 * Thread: any one. A table allocates its rows once, and its index as it grows.
 */
#ifndef MILLRACE_PATH_TABLE_H
#define MILLRACE_PATH_TABLE_H

#include "runtime/idmap.h"
#include "schemas/bytes.h"
#include "schemas/schema.h"

enum {
	PATH_WAYS_MAX = 3,
	PATH_ROWS_MAX = 4096,
	PATH_RELAYS_MAX = 255, /* in one message: 8 bytes each of what path_table.relays takes */
	PATH_RELAYS_BYTES = PATH_RELAYS_MAX * 8,
	PATH_ROWS_BYTES = 16384,
};

/* As it is gone by who subscribes: 0 = none. */
struct table_way {
	uint64_t near, far;
};

struct table_row {
	uint64_t origin; /* never 0 */
	unsigned count;
	struct table_way way[PATH_WAYS_MAX];
};

/* ---- packing --------------------------------------------------------------------------------- */

struct path_pack {
	unsigned relay_count;
	uint64_t relay[PATH_RELAYS_MAX];
	size_t size; /* of rows */
	unsigned row_count;
	uint8_t rows[PATH_ROWS_BYTES];
	uint8_t relays[PATH_RELAYS_BYTES]; /* written by path_pack_end */
};

void path_pack_begin(struct path_pack *pack);
/* ERR_NO_SPACE: the row is for the next message; nothing has changed. */
enum err path_pack_add(struct path_pack *pack, const struct table_row *row);
/* Fills the message's texts, which borrow from the pack. */
void path_pack_end(struct path_pack *pack, struct msg_path_table *message);

/* The next of a message's rows; *at is 0 at first. ERR_AGAIN: that was all. ERR_FORMAT: it is none. */
enum err path_unpack(const struct msg_path_table *message, size_t *at, struct table_row *row);

/* ---- the table ------------------------------------------------------------------------------- */

struct path_table {
	struct table_row *rows; /* PATH_ROWS_MAX, the first `count` of them used */
	uint32_t count;
	uint64_t digest;
	struct idmap by_origin;
};

enum err path_table_init(struct path_table *table);
void path_table_fini(struct path_table *table);

void path_table_clear(struct path_table *table);
/* Puts the row in the place of the one of that origin; without ways: takes it away. ERR_LIMIT,
 * ERR_NO_MEMORY. */
enum err path_table_set(struct path_table *table, const struct table_row *row);
const struct table_row *path_table_get(const struct path_table *table, uint64_t origin);

/* What a row adds to (xor) the digest. */
uint64_t table_row_digest(const struct table_row *row);

#endif

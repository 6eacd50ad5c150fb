/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/path_table.h"

#include <stdlib.h>

enum { NOBODY = 255, ROW_BYTES_MAX = 9 + 2 * PATH_WAYS_MAX };

/* ---- packing --------------------------------------------------------------------------------- */

void path_pack_begin(struct path_pack *pack)
{
	pack->relay_count = pack->row_count = 0;
	pack->size = 0;
}

/* Its place in the list of relays, where it is put if need be; -1 = there is no room. */
static int place_of(struct path_pack *pack, uint64_t relay)
{
	unsigned place = 0;

	if (!relay)
		return NOBODY;
	while (place < pack->relay_count && pack->relay[place] != relay)
		place++;
	if (place == PATH_RELAYS_MAX)
		return -1;
	if (place == pack->relay_count)
		pack->relay[pack->relay_count++] = relay;
	return (int)place;
}

enum err path_pack_add(struct path_pack *pack, const struct table_row *row)
{
	struct writer out = writer_of(pack->rows + pack->size, sizeof(pack->rows) - pack->size);
	unsigned relays = pack->relay_count;

	if (writer_left(&out) < ROW_BYTES_MAX)
		return ERR_NO_SPACE;
	write_be(&out, row->origin, 8);
	write_u8(&out, (uint8_t)row->count);
	for (unsigned i = 0; i < row->count; i++) {
		int near = place_of(pack, row->way[i].near), far = place_of(pack, row->way[i].far);

		if (near < 0 || far < 0) {
			pack->relay_count = relays;
			return ERR_NO_SPACE;
		}
		write_u8(&out, (uint8_t)near);
		write_u8(&out, (uint8_t)far);
	}
	pack->size += writer_used(&out);
	pack->row_count++;
	return ERR_OK;
}

void path_pack_end(struct path_pack *pack, struct msg_path_table *message)
{
	struct writer out = writer_of(pack->relays, sizeof(pack->relays));

	for (unsigned i = 0; i < pack->relay_count; i++)
		write_be(&out, pack->relay[i], 8);
	message->relays = (struct slice){(const char *)pack->relays, (uint32_t)writer_used(&out)};
	message->rows = (struct slice){(const char *)pack->rows, (uint32_t)pack->size};
}

/* False when there is no such place. */
static bool relay_at(const struct msg_path_table *message, uint8_t place, uint64_t *relay)
{
	struct reader in;

	*relay = 0;
	if (place == NOBODY)
		return true;
	if ((place + 1u) * 8 > message->relays.size)
		return false;
	in = reader_of(message->relays.data + place * 8u, 8);
	*relay = read_u64(&in);
	return *relay != 0;
}

enum err path_unpack(const struct msg_path_table *message, size_t *at, struct table_row *row)
{
	struct reader in = reader_of(message->rows.data + *at, message->rows.size - *at);

	if (!reader_left(&in))
		return ERR_AGAIN;
	*row = (struct table_row){.origin = read_u64(&in)};
	row->count = read_u8(&in);
	if (!row->origin || row->count > PATH_WAYS_MAX)
		return ERR_FORMAT;
	for (unsigned i = 0; i < row->count; i++) {
		struct table_way *way = &row->way[i];
		uint8_t near = read_u8(&in), far = read_u8(&in);

		/* a way begins near, and visits nobody twice */
		if (!relay_at(message, near, &way->near) || !relay_at(message, far, &way->far) ||
			(way->far && !way->near) || (way->near && way->near == way->far) ||
			way->near == row->origin || way->far == row->origin)
			return ERR_FORMAT;
	}
	if (in.bad)
		return ERR_FORMAT;
	*at = message->rows.size - reader_left(&in);
	return ERR_OK;
}

/* ---- the table ------------------------------------------------------------------------------- */

enum err path_table_init(struct path_table *table)
{
	*table = (struct path_table){.rows = calloc(PATH_ROWS_MAX, sizeof(*table->rows))};
	return table->rows ? ERR_OK : ERR_NO_MEMORY;
}

void path_table_fini(struct path_table *table)
{
	free(table->rows);
	idmap_fini(&table->by_origin);
	*table = (struct path_table){0};
}

/* The finishing steps of splitmix64. */
static uint64_t mixed(uint64_t value)
{
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

uint64_t table_row_digest(const struct table_row *row)
{
	uint64_t digest = mixed(row->origin + row->count);

	for (unsigned i = 0; i < row->count; i++) {
		digest = mixed(digest + row->way[i].near + 1);
		digest = mixed(digest + row->way[i].far + 2);
	}
	return digest;
}

void path_table_clear(struct path_table *table)
{
	while (table->count)
		idmap_remove(&table->by_origin, table->rows[--table->count].origin);
	table->digest = 0;
}

static void remove_row(struct path_table *table, struct table_row *row)
{
	const struct table_row *last = &table->rows[--table->count];

	table->digest ^= table_row_digest(row);
	idmap_remove(&table->by_origin, row->origin);
	if (row == last)
		return;
	*row = *last;
	MUST(idmap_put(&table->by_origin, row->origin, row) == ERR_OK); /* replaces */
}

enum err path_table_set(struct path_table *table, const struct table_row *row)
{
	struct table_row *place = idmap_get(&table->by_origin, row->origin);
	enum err err;

	if (!row->count) {
		if (place)
			remove_row(table, place);
		return ERR_OK;
	}
	if (place) {
		table->digest ^= table_row_digest(place);
	} else {
		if (table->count == PATH_ROWS_MAX)
			return ERR_LIMIT;
		place = &table->rows[table->count];
		err = idmap_put(&table->by_origin, row->origin, place);
		if (err)
			return err;
		table->count++;
	}
	*place = *row;
	table->digest ^= table_row_digest(place);
	return ERR_OK;
}

const struct table_row *path_table_get(const struct path_table *table, uint64_t origin)
{
	return origin ? idmap_get(&table->by_origin, origin) : NULL;
}

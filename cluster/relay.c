/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/relay.h"

#include <stdlib.h>

enum { MS = 1000 };

/* ---- the table --------------------------------------------------------------------------------- */

struct relay_table *relay_create(uint64_t own)
{
	struct relay_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->own = own;
	table->streams = calloc(RELAY_STREAMS_MAX, sizeof(*table->streams));
	table->order = calloc(RELAY_STREAMS_MAX, sizeof(*table->order));
	table->free = calloc(RELAY_STREAMS_MAX, sizeof(*table->free));
	table->downstream = calloc(RELAY_DOWNSTREAM_MAX, sizeof(*table->downstream));
	if (!table->streams || !table->order || !table->free || !table->downstream) {
		relay_destroy(&table);
		return NULL;
	}
	table->index = (struct key_index){.rows = (const char *)table->streams,
		.stride = sizeof(*table->streams),
		.capacity = RELAY_STREAMS_MAX,
		.order = table->order};
	while (table->free_count < RELAY_STREAMS_MAX) {
		table->free[table->free_count] =
			(uint16_t)(RELAY_STREAMS_MAX - 1 - table->free_count);
		table->free_count++;
	}
	return table;
}

void relay_destroy(struct relay_table **table)
{
	if (!*table)
		return;
	idmap_fini(&(*table)->entries);
	idmap_fini(&(*table)->requests);
	free((*table)->streams);
	free((*table)->order);
	free((*table)->free);
	free((*table)->downstream);
	free(*table);
	*table = NULL;
}

struct relay_stream *relay_find(const struct relay_table *table, const char *name)
{
	long place = key_index_find(&table->index, name);

	return place < 0 ? NULL : &table->streams[place];
}

struct relay_stream *relay_add(
	struct relay_table *table, const char *name, struct addr owner, uint64_t epoch)
{
	struct relay_stream *stream;
	uint16_t place;

	if (!table->free_count)
		return NULL;
	place = table->free[--table->free_count];
	stream = &table->streams[place];
	*stream = (struct relay_stream){
		.row = {.owner = owner, .epoch = epoch}
	       };
	memcpy(stream->row.name, name, strnlen(name, sizeof(stream->row.name) - 1));
	MUST(key_index_add(&table->index, place));
	return stream;
}

void relay_drop(struct relay_table *table, struct relay_stream *stream)
{
	MUST(addr_is_nobody(stream->row.entry) && !stream->request && !stream->host_request);
	while (stream->downstream)
		relay_downstream_remove(
			table, stream, table->downstream[stream->downstream - 1].node);
	key_index_remove(&table->index, stream->row.name);
	table->free[table->free_count++] = (uint16_t)(stream - table->streams);
}

struct relay_stream *relay_behind(const struct relay_table *table, const char *after)
{
	uint32_t position = key_index_seek(&table->index, after);

	if (position < table->index.count && !strcmp(relay_at(table, position)->row.name, after))
		position++;
	return position < table->index.count ? relay_at(table, position) : NULL;
}

uint32_t relay_count(const struct relay_table *table)
{
	return table->index.count;
}

struct relay_stream *relay_at(const struct relay_table *table, uint32_t place)
{
	return &table->streams[key_index_at(&table->index, place)];
}

bool relay_set_entry(struct relay_table *table, struct relay_stream *stream, struct addr entry)
{
	if (!addr_is_nobody(stream->row.entry))
		idmap_remove(&table->entries, stream->row.entry.id);
	stream->row.entry = (struct addr){0};
	if (addr_is_nobody(entry))
		return true;
	if (idmap_put(&table->entries, entry.id, stream))
		return false;
	stream->row.entry = entry;
	return true;
}

struct relay_stream *relay_of_entry(const struct relay_table *table, struct addr entry)
{
	return entry.node == table->own ? idmap_get(&table->entries, entry.id) : NULL;
}

/* ---- a stream ---------------------------------------------------------------------------------- */

void relay_note_owner(struct relay_stream *stream, struct addr owner, uint64_t epoch)
{
	if (epoch <= stream->row.epoch)
		return;
	stream->row.owner = owner;
	stream->row.epoch = epoch;
	stream->is_hinted = false;
	memset(stream->avoided, 0, sizeof(stream->avoided));
}

bool relay_is_fed(const struct relay_stream *stream)
{
	return !addr_is_nobody(stream->row.source) && stream->source_epoch >= stream->row.epoch;
}

bool relay_is_relayed(const struct relay_stream *stream)
{
	return !addr_is_nobody(stream->row.source) && stream->row.path_count > 1;
}

void relay_avoid(struct relay_stream *stream, uint64_t node, int64_t now_us)
{
	struct relay_avoided *chosen = &stream->avoided[0];

	for (int i = 0; i < RELAY_AVOIDED_MAX; i++) {
		struct relay_avoided *avoided = &stream->avoided[i];

		if (avoided->node == node) {
			chosen = avoided;
			break;
		}
		if (avoided->until_us < chosen->until_us)
			chosen = avoided;
	}
	*chosen = (struct relay_avoided){.node = node, .until_us = now_us + RELAY_AVOID_MS * MS};
}

uint32_t relay_avoids_for_ms(const struct relay_stream *stream, uint64_t node, int64_t now_us)
{
	for (int i = 0; i < RELAY_AVOIDED_MAX; i++) {
		const struct relay_avoided *avoided = &stream->avoided[i];

		if (avoided->node == node && avoided->until_us > now_us)
			return (uint32_t)((avoided->until_us - now_us + MS - 1) / MS);
	}
	return 0;
}

bool relay_avoids(const struct relay_stream *stream, uint64_t node, int64_t now_us)
{
	return relay_avoids_for_ms(stream, node, now_us) > 0;
}

/* ---- paths -------------------------------------------------------------------------------------- */

bool relay_path_has(const struct relay_hop *hops, uint16_t count, uint64_t node)
{
	for (uint16_t i = 0; i < count; i++)
		if (hops[i].node == node)
			return true;
	return false;
}

enum err relay_check_path(const struct relay_table *table, struct addr source,
	const struct relay_hop *hops, uint16_t count)
{
	if (!count || addr_is_nobody(source) || hops[0].node != source.node)
		return ERR_FORMAT;
	return relay_path_has(hops, count, table->own) ? ERR_EXISTS : ERR_OK;
}

struct relay_path relay_path_from_here(
	const struct relay_table *table, const struct relay_stream *stream)
{
	struct relay_path path = {.count = 1, .hops[0].node = table->own};
	bool is_fed = relay_is_fed(stream);

	if (is_fed && stream->row.path_count == RELAY_PATH_MAX)
		return (struct relay_path){0};
	for (uint16_t i = 0; is_fed && i < stream->row.path_count; i++)
		path.hops[path.count++] = stream->row.path[i];
	if (is_fed)
		return path;
	if (stream->is_hinted && stream->hint)
		path.hops[path.count++].node = stream->hint;
	path.hops[path.count++].node = stream->row.owner.node;
	return path;
}

bool relay_leads_over(const struct relay_stream *stream, uint64_t node)
{
	const struct relay_path *next = &stream->path;

	if (node == stream->row.owner.node)
		return true;
	if (relay_path_has(stream->row.path, stream->row.path_count, node))
		return true;
	if (stream->row.step == RELAY_PULLS && stream->pulling == node)
		return true;
	if (stream->row.step == RELAY_SWITCHES && relay_path_has(next->hops, next->count, node))
		return true;
	return !relay_is_fed(stream) && stream->is_hinted && stream->hint == node;
}

/* ---- the next way ------------------------------------------------------------------------------- */

/* Where the way begins, by node. */
static uint64_t near_of(const struct relay_stream *stream, const struct route_way *way)
{
	return way->near ? way->near : stream->row.owner.node;
}

static bool is_open(const struct relay_table *table, const struct relay_stream *stream,
	const struct route_way *way, int64_t now_us)
{
	return way->near != table->own && way->far != table->own && way->state < LINK_DOWN &&
	       !relay_avoids(stream, near_of(stream, way), now_us);
}

void relay_search_begin(struct relay_stream *stream, enum relay_want want, uint64_t first,
	const struct route_way *ways, uint16_t count)
{
	stream->want = want;
	stream->ways_count = stream->ways_tried = stream->pulls = 0;
	if (first)
		stream->ways[stream->ways_count++] = (struct route_way){.near = first};
	for (uint16_t i = 0; i < count && i < ROUTE_WAYS_MAX; i++)
		stream->ways[stream->ways_count++] = ways[i];
}

enum relay_try relay_search_next(const struct relay_table *table, struct relay_stream *stream,
	int64_t now_us, struct route_way *way)
{
	uint64_t origin = stream->row.owner.node;

	while (stream->ways_tried < stream->ways_count) {
		*way = stream->ways[stream->ways_tried++];
		uint64_t near = near_of(stream, way);

		if (stream->want == RELAY_WANT_BETTER && near == stream->row.source.node)
			return RELAY_TRY_NONE;
		if (!is_open(table, stream, way, now_us))
			continue;
		if (near == origin)
			return RELAY_TRY_ORIGIN;
		if (stream->pulls == RELAY_PULLS_MAX)
			continue;
		stream->pulls++;
		return RELAY_TRY_PULL;
	}
	/* what no route names may be there all the same */
	if (stream->want == RELAY_WANT_SOURCE && !relay_avoids(stream, origin, now_us))
		return RELAY_TRY_ORIGIN;
	return RELAY_TRY_NONE;
}

/* Of the node that is copied from: as good as the best way over it, and no way may lead over it. */
static uint8_t source_state(const struct relay_stream *stream, const struct msg_route *route)
{
	uint8_t state = LINK_CLOSED;

	for (uint16_t i = 0; i < route->ways_count; i++)
		if (near_of(stream, &route->ways[i]) == stream->row.source.node &&
			route->ways[i].state < state)
			state = route->ways[i].state;
	for (uint16_t i = 0; state == LINK_CLOSED && i < route->troubled_count; i++)
		if (route->troubled[i].node == stream->row.source.node)
			state = route->troubled[i].state;
	return state;
}

enum relay_why relay_why_lost(const struct relay_stream *stream, const struct msg_route *route)
{
	switch ((enum link_state)source_state(stream, route)) {
	case LINK_DOUBTFUL: return RELAY_WHY_DOUBTFUL;
	case LINK_DOWN: return RELAY_WHY_DOWN;
	case LINK_UP:
	case LINK_CLOSED: break; /* it stands on no way that is well */
	}
	return RELAY_WHY_BETTER;
}

enum relay_verdict relay_judge(const struct relay_table *table, const struct relay_stream *stream,
	const struct msg_route *route, int64_t now_us)
{
	uint64_t present = stream->row.source.node, first = 0;
	uint8_t present_state = source_state(stream, route), first_state = LINK_UP;

	if (!route->planned && !route->detour)
		return RELAY_STAYS;
	for (uint16_t i = 0; i < route->ways_count && !first; i++) {
		if (is_open(table, stream, &route->ways[i], now_us)) {
			first = near_of(stream, &route->ways[i]);
			first_state = route->ways[i].state;
		}
	}
	if (!first || first == present)
		return RELAY_STAYS;
	if (present_state == LINK_CLOSED) /* on no way, and well as far as is known */
		return route->detour ? RELAY_LOST : RELAY_BETTER;
	if (present_state == LINK_DOWN || present_state > first_state)
		return RELAY_LOST;
	return route->detour && present_state != LINK_UP ? RELAY_LOST : RELAY_BETTER;
}

/* ---- who pulls from here ------------------------------------------------------------------------ */

static struct relay_downstream *downstream_at(const struct relay_table *table, uint32_t place)
{
	return place ? &table->downstream[place - 1] : NULL;
}

struct relay_downstream *relay_downstream_next(const struct relay_table *table,
	const struct relay_stream *stream, const struct relay_downstream *last)
{
	return downstream_at(table, last ? last->next : stream->downstream);
}

struct relay_downstream *relay_downstream_put(
	struct relay_table *table, struct relay_stream *stream, uint64_t node)
{
	struct relay_downstream *one = NULL;
	uint32_t place = table->downstream_free;

	while ((one = relay_downstream_next(table, stream, one)))
		if (one->node == node)
			return one;
	if (place)
		table->downstream_free = downstream_at(table, place)->next;
	else if (table->downstream_used < RELAY_DOWNSTREAM_MAX)
		place = ++table->downstream_used;
	else
		return NULL;
	one = downstream_at(table, place);
	*one = (struct relay_downstream){.node = node, .next = stream->downstream};
	stream->downstream = place;
	stream->row.downstream++;
	return one;
}

void relay_downstream_remove(struct relay_table *table, struct relay_stream *stream, uint64_t node)
{
	uint32_t *link = &stream->downstream;

	while (*link) {
		struct relay_downstream *one = downstream_at(table, *link);
		uint32_t place = *link;

		if (one->node != node) {
			link = &one->next;
			continue;
		}
		*link = one->next;
		*one = (struct relay_downstream){.next = table->downstream_free};
		table->downstream_free = place;
		stream->row.downstream--;
		return;
	}
}

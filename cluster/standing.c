/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/standing.h"

#include <stdio.h>
#include <string.h>

/* Where that node's row is, or would be. */
static uint16_t place_of(const struct standing *nodes, uint16_t count, uint64_t node)
{
	uint16_t low = 0, high = count;

	while (low < high) {
		uint16_t middle = (uint16_t)((low + high) / 2);

		if (nodes[middle].node < node)
			low = (uint16_t)(middle + 1);
		else
			high = middle;
	}
	return low;
}

struct standing *standing_find(struct standing *nodes, uint16_t count, uint64_t node)
{
	uint16_t at = place_of(nodes, count, node);

	return at < count && nodes[at].node == node ? &nodes[at] : NULL;
}

/* It goes into headers, lists and Locations of ours: nothing may end it early. */
static bool is_address(const char *url)
{
	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return false;
	for (; *url; url++)
		if (*url <= ' ' || *url >= 0x7f || strchr("<>\"?#\\,", *url))
			return false;
	return true;
}

enum err standing_take(struct standing *nodes, uint16_t *count, uint64_t node,
	const struct msg_node_standing *said, int64_t now_us)
{
	uint16_t at = place_of(nodes, *count, node);
	struct standing *row = &nodes[at];

	if (said->url[0] && !is_address(said->url))
		return ERR_FORMAT;
	if (at == *count || row->node != node) {
		if (*count == STANDINGS_MAX)
			return ERR_LIMIT;
		memmove(row + 1, row, (size_t)(*count - at) * sizeof(*row));
		*count += 1;
	}
	*row = (struct standing){.node = node,
		.busy_permille = said->busy_permille,
		.sessions = said->sessions,
		.full = said->full,
		.draining = said->draining,
		.heard_us = now_us};
	memcpy(row->name, said->name, sizeof(row->name));
	memcpy(row->region, said->region, sizeof(row->region));
	memcpy(row->url, said->url, sizeof(row->url));
	return ERR_OK;
}

void standing_forget(struct standing *nodes, uint16_t *count, uint64_t node)
{
	struct standing *row = standing_find(nodes, *count, node);

	if (!row)
		return;
	memmove(row, row + 1, (size_t)(nodes + *count - (row + 1)) * sizeof(*row));
	*count -= 1;
}

/* ---- the choice ------------------------------------------------------------------------------ */

static bool may_take(const struct standing *row, int64_t now_us)
{
	return row->url[0] && !row->full && !row->draining &&
	       now_us - row->heard_us < STANDING_OLD_MS * INT64_C(1000);
}

static uint64_t load_of(const struct standing *row)
{
	uint32_t each = row->sessions ? row->busy_permille / row->sessions : 0;

	if (each < PLACEMENT_SESSION_MIN)
		each = PLACEMENT_SESSION_MIN;
	return row->busy_permille + (uint64_t)each * row->sent;
}

struct wish {
	const char *region;
	uint64_t with_stream;
	int64_t now_us;
	uint32_t taken[STANDING_ALTERNATIVES]; /* places of those that are named already */
	int taken_count;
};

/* 0 = it takes none; the higher the better, whatever the load. */
static int rank_of(const struct standing *nodes, uint16_t i, const struct wish *wish)
{
	for (int j = 0; j < wish->taken_count; j++)
		if (wish->taken[j] == i)
			return 0;
	if (!may_take(&nodes[i], wish->now_us))
		return 0;
	return 1 + 2 * !strcmp(nodes[i].region, wish->region) +
	       (wish->with_stream && nodes[i].node == wish->with_stream);
}

static uint64_t sessions_of(const struct standing *row)
{
	return (uint64_t)row->sessions + row->sent;
}

/* -1: nobody. */
static int best_of(const struct standing *nodes, uint16_t count, const struct wish *wish)
{
	uint64_t least = UINT64_MAX;
	int rank = 1, best = -1;

	for (uint16_t i = 0; i < count; i++)
		if (rank_of(nodes, i, wish) > rank)
			rank = rank_of(nodes, i, wish);
	for (uint16_t i = 0; i < count; i++)
		if (rank_of(nodes, i, wish) == rank && load_of(&nodes[i]) < least)
			least = load_of(&nodes[i]);
	for (uint16_t i = 0; i < count; i++) {
		if (rank_of(nodes, i, wish) != rank || load_of(&nodes[i]) > least + PLACEMENT_NOISE)
			continue;
		if (best < 0 || sessions_of(&nodes[i]) < sessions_of(&nodes[best]))
			best = i;
	}
	return best;
}

struct standing *standing_choose(struct standing *nodes, uint16_t count, const char *region,
	uint64_t with_stream, int64_t now_us)
{
	struct wish wish = {.region = region, .with_stream = with_stream, .now_us = now_us};
	int best = best_of(nodes, count, &wish);

	return best < 0 ? NULL : &nodes[best];
}

void standing_alternatives(const struct standing *nodes, uint16_t count, const char *region,
	int64_t now_us, char urls[ALTERNATIVES_SIZE + 1])
{
	struct wish wish = {.region = region, .now_us = now_us};
	size_t used = 0;

	urls[0] = 0;
	while (wish.taken_count < STANDING_ALTERNATIVES) {
		int best = best_of(nodes, count, &wish);

		if (best < 0 || used + strlen(nodes[best].url) + (used > 0) > ALTERNATIVES_SIZE)
			return;
		used += (size_t)snprintf(urls + used, ALTERNATIVES_SIZE + 1 - used, "%s%s",
			used ? " " : "", nodes[best].url);
		wish.taken[wish.taken_count++] = (uint32_t)best;
	}
}

bool standing_is_full(bool was_full, uint32_t busy_permille, uint32_t sessions,
	uint32_t full_permille, uint32_t sessions_max)
{
	uint32_t limit = full_permille;

	if (sessions_max && sessions >= sessions_max)
		return true;
	if (was_full)
		limit = limit > STANDING_FREE_PERMILLE ? limit - STANDING_FREE_PERMILLE : 0;
	return busy_permille >= limit;
}

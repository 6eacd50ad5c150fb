/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/neighbours.h"

#include "schemas/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char others[] = "other";

static struct neighbour *find(struct neighbour *rows, unsigned count, uint64_t id)
{
	for (unsigned i = 0; i < count; i++)
		if (rows[i].id == id)
			return &rows[i];
	return NULL;
}

void neighbours_begin(struct neighbours *n)
{
	memcpy(n->before, n->named, sizeof(n->before));
	n->before_count = n->count;
	n->count = 0;
	memset(&n->page, 0, sizeof(n->page));
	memset(&n->paths, 0, sizeof(n->paths));
}

/* ---- the rest ---------------------------------------------------------------------------------- */

static void show(struct process_neighbour *shown, const struct link_row *row)
{
	shown->round_trip_us =
		row->rtt_us > shown->round_trip_us ? row->rtt_us : shown->round_trip_us;
	shown->lost_ppm = row->loss_ppm > shown->lost_ppm ? row->loss_ppm : shown->lost_ppm;
	shown->up += row->state == LINK_UP;
	shown->bytes_per_s += row->rate_bps / 8;
	shown->repaired_per_s += row->repaired;
	shown->given_up_per_s += row->given_up;
	if (row->mode < PROCESS_LINK_MODES)
		shown->modes[row->mode]++;
}

/* ---- who is named ------------------------------------------------------------------------------ */

static uint64_t claim_of(struct neighbours *n, const struct link_row *row)
{
	bool was_named = find(n->before, n->before_count, row->node);

	return was_named ? row->rate_bps + row->rate_bps / 4 + 1 : row->rate_bps;
}

void neighbours_offer(struct neighbours *n, const struct link_row *row)
{
	const struct neighbour *before = find(n->before, n->before_count, row->node);
	uint64_t claim = claim_of(n, row);
	unsigned at = n->count;

	n->page.total++;
	while (at && claim_of(n, &n->named[at - 1].row) < claim)
		at--;
	if (at == PROCESS_NEIGHBOURS_MAX) {
		show(&n->page.other, row);
		return;
	}
	if (n->count == PROCESS_NEIGHBOURS_MAX)
		show(&n->page.other, &n->named[--n->count].row);
	memmove(&n->named[at + 1], &n->named[at], (n->count - at) * sizeof(n->named[0]));
	n->count++;
	n->named[at] = (struct neighbour){.id = row->node, .row = *row};
	if (before)
		memcpy(n->named[at].name, before->name, sizeof(before->name));
}

/* As a label: nothing that would have to be escaped; two of one name are told apart by their ids. */
static void label(const struct neighbours *n, unsigned at, char out[PROCESS_NEIGHBOUR_NAME])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const struct neighbour *row = &n->named[at];
	char text[PROCESS_NEIGHBOUR_NAME] = "";
	bool is_taken = !strcmp(row->name, others);

	for (unsigned i = 0; i < n->count; i++)
		is_taken |= i != at && !strcmp(n->named[i].name, row->name);
	if (!row->name[0])
		snprintf(text, sizeof(text), "%" PRIx64, row->id);
	else if (is_taken)
		snprintf(text, sizeof(text), "%.44s-%" PRIx64, row->name, row->id);
	else
		text_copy(text, sizeof(text), row->name);
	for (char *c = text; *c; c++)
		if (!strchr(plain, *c))
			*c = '_';
	memcpy(out, text, sizeof(text));
}

const struct process_neighbours *neighbours_end(struct neighbours *n)
{
	n->page.count = n->count;
	for (unsigned i = 0; i < n->count; i++) {
		show(&n->page.named[i], &n->named[i].row);
		label(n, i, n->page.named[i].name);
	}
	text_copy(n->page.other.name, sizeof(n->page.other.name), others);
	return &n->page;
}

/* ---- paths ------------------------------------------------------------------------------------- */

static uint32_t at_most(uint64_t value, uint32_t most)
{
	return value < most ? (uint32_t)value : most;
}

static struct process_path path_of(const struct link_row *row)
{
	return (struct process_path){
		.round_trip_us = row->rtt_us,
		.sent_kbps = at_most(row->rate_bps / 1000, UINT32_MAX),
		.lost_share = (uint16_t)at_most(
			(uint64_t)row->loss_ppm * UINT16_MAX / 1000000, UINT16_MAX),
		.jitter_16us = (uint16_t)at_most(row->jitter_us / 16, UINT16_MAX),
		.path = row->path,
		.relayed = row->relay != 0,
		.state = row->state,
	};
}

static void add_path(struct process_path *sum, const struct process_path *path)
{
	if (path->round_trip_us > sum->round_trip_us)
		sum->round_trip_us = path->round_trip_us;
	if (path->lost_share > sum->lost_share)
		sum->lost_share = path->lost_share;
	if (path->jitter_16us > sum->jitter_16us)
		sum->jitter_16us = path->jitter_16us;
	sum->sent_kbps = at_most((uint64_t)sum->sent_kbps + path->sent_kbps, UINT32_MAX);
	sum->state = (uint8_t)at_most((uint64_t)sum->state + (path->state == LINK_UP), UINT8_MAX);
}

void neighbours_paths(
	struct neighbours *n, uint64_t id, const struct link_row *rows, unsigned count)
{
	const struct neighbour *named = find(n->named, n->count, id);
	bool fits = named && n->paths.count + count <= PROCESS_PATHS_MAX;

	for (unsigned i = 0; i < count; i++) {
		struct process_path path = path_of(&rows[i]);

		if (!fits) {
			add_path(&n->paths.other, &path);
			continue;
		}
		path.neighbour = (uint8_t)(named - n->named);
		n->paths.named[n->paths.count++] = path;
	}
}

/* ---- names ------------------------------------------------------------------------------------- */

uint64_t neighbours_unnamed(struct neighbours *n)
{
	for (unsigned i = 0; i < n->count; i++)
		if (!n->named[i].name[0])
			return n->named[i].id;
	return n->count ? n->named[n->asked++ % n->count].id : 0;
}

void neighbours_name(struct neighbours *n, uint64_t id, const char *name)
{
	struct neighbour *row = find(n->named, n->count, id);

	if (row)
		text_copy(row->name, sizeof(row->name), name);
}

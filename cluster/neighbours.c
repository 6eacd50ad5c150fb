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

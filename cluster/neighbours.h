/* SPDX-License-Identifier: Apache-2.0
 *
 * The neighbours that /metrics names: those that most is sent to, so many at most; the others are added up.
 * One that is named stays until another is busier by a quarter.
 *
 *   once a second: begin, offer each neighbour, end, the paths of each --> rows for the status page
 *
 * Pure. Thread: any one. Allocates nothing.
 */
#ifndef MILLRACE_NEIGHBOURS_H
#define MILLRACE_NEIGHBOURS_H

#include "runtime/process_metrics.h"
#include "schemas/schema.h"

struct neighbour {
	uint64_t id;
	char name[PROCESS_NEIGHBOUR_NAME]; /* "" = not known yet */
	struct link_row row;
};

struct neighbours {
	struct neighbour named[PROCESS_NEIGHBOURS_MAX]; /* the busiest first */
	unsigned count;
	struct neighbour before[PROCESS_NEIGHBOURS_MAX]; /* those of the last round */
	unsigned before_count;
	struct process_neighbours page; /* as it will be shown */
	struct process_paths paths;	/* … */
	unsigned asked;			/* whose name was wanted last */
};

void neighbours_begin(struct neighbours *n);
void neighbours_offer(struct neighbours *n, const struct link_row *row);
/* What is to be shown; borrowed until neighbours_begin. */
const struct process_neighbours *neighbours_end(struct neighbours *n);

/* After the end: the paths to a neighbour (routes_paths). Those of who is named are shown one by one while there is
 * room for all of them, so they are to come in the order of `named`, and before those of the others. */
void neighbours_paths(
	struct neighbours *n, uint64_t id, const struct link_row *rows, unsigned count);

/* Whose name is wanted: one that has none, or one after the other, since names change; 0 = there is
 * nobody. */
uint64_t neighbours_unnamed(struct neighbours *n);
void neighbours_name(struct neighbours *n, uint64_t id, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the console's documents look like: pure functions from what was gathered to JSON. Results of
 * the REPL go into {"ok":true,"result":…}; those of the API stand alone.
 *
 * Every view returns a new reference, NULL when out of memory.
 */
#ifndef MILLRACE_CONSOLE_VIEW_H
#define MILLRACE_CONSOLE_VIEW_H

#include "cluster/console_page.h"
#include "runtime/runtime.h"

#include <jansson.h>

enum { CONSOLE_HOPS_MAX = 12 }; /* rows come from running actors: a circle in them must end */

/* What came back from the processes. */
struct console_reply {
	enum err err;
	char problem[SCHEMA_PROBLEM_SIZE];
	struct runtime *rt; /* set for views of the node itself */
	json_t *rows;	    /* of all processes */
	json_t *silent;	    /* names of those that did not answer */
	json_t *document;   /* of the one that was asked; of several: the first */
	json_t *subject;    /* why: the actor; `document` is its stream, NULL = it has none */
	bool truncated;
	bool follows; /* further answers will come */
	bool pages;   /* a list that may be asked for in pages … */
	struct console_page page;
	char words[128]; /* what the command was about, for views that say so */
	int fetched;	 /* complete: enum repl_fetch, what the rows are */
	bool of_worker;	 /* drain: of this one alone */
	uint32_t worker;
};

typedef json_t *console_view(const struct console_reply *reply);

console_view console_view_rows, console_view_nodes, console_view_workers, console_view_actors,
	console_view_streams, console_view_tree, console_view_top, console_view_paths,
	console_view_drain, console_view_why, console_view_api_streams, console_view_api_sessions,
	console_view_api_workers, console_view_api_actors;

/* {"ok":true,"result":…}, and "truncated", "next", "silent", "more" where true. Takes the result. */
json_t *console_view_ok(const struct console_reply *reply, json_t *result);
json_t *console_view_error(enum err err, const char *message);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Which actors a question means:
 *
 *	[TYPE] [where FIELD OP VALUE [and FIELD OP VALUE]…] [after ADDR] [limit N]
 *
 * OP is one of = != < <= > >= and ~ (contains). FIELD is one of `actors` own columns or a field of
 * the actor's state; what the state has in microseconds (rtt_us) may be asked for in milliseconds
 * (rtt_ms). Numbers compare as numbers, all else as text. Secrets are never compared: who may ask
 * must not find them out by guessing.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_ACTOR_FILTER_H
#define MILLRACE_ACTOR_FILTER_H

#include "schemas/schema.h"

enum actor_filter_op {
	FILTER_NONE,
	FILTER_EQUAL,
	FILTER_DIFFERS,
	FILTER_LESS,
	FILTER_AT_MOST,
	FILTER_MORE,
	FILTER_AT_LEAST,
	FILTER_CONTAINS,
};

enum { FILTER_CONDITIONS_MAX = 6 };

struct actor_condition {
	enum actor_filter_op op;
	char field[64];
	char value[128];
};

struct actor_filter {
	char type[32]; /* "" = any */
	unsigned condition_count;
	struct actor_condition conditions[FILTER_CONDITIONS_MAX]; /* all of them hold */
	struct addr after;					  /* nobody = from the first */
	uint32_t limit;						  /* rows; 0 = as many as fit */
};

/* Reads what follows the command's name. ERR_FORMAT with *problem set to a static text. */
enum err actor_filter_parse(const char *text, struct actor_filter *filter, const char **problem);

/* Whether every field asked for can be one of such actors (the state of type x is x_state).
 * ERR_FORMAT with the name and what there is in `problem`. */
enum err actor_filter_check(const struct actor_filter *filter, char problem[SCHEMA_PROBLEM_SIZE]);

/* Whether a row and the state behind it are meant (`after` is the caller's to see to). */
bool actor_filter_match(const struct actor_filter *filter, const struct actor_row *row,
	const struct schema *schema, const void *state);

/* Text of the first of `names` (comma between) that is a text field of the state and not a secret;
 * "" when there is none. Borrows from the state. */
const char *actor_filter_text(const struct schema *schema, const void *state, const char *names);
/* The address in the state's field of that name, nobody when it has none. */
struct addr actor_filter_addr(const struct schema *schema, const void *state, const char *name);

/* Sum of those of `names` that are numbers or truth values of the state and not secrets. */
double actor_filter_sum(const struct schema *schema, const void *state, const char *names);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a line of the console may go on with. The grammar of a command is read from the node's own
 * `help` ("ADDR MESSAGE [FIELD=VALUE …]"), names of types, fields and messages from the schemas;
 * addresses and streams are asked of the node.
 *
 * Thread: any. Nothing here does input or output but the source's fetch.
 */
#ifndef MILLRACE_REPL_COMPLETE_H
#define MILLRACE_REPL_COMPLETE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	REPL_CANDIDATES_MAX = 100, /* more are counted, not kept */
	REPL_WORD_MAX = 160,	   /* bytes of a candidate */
	REPL_LINE_MAX = 4096,
};

/* What the node is asked for. */
enum repl_fetch { REPL_FETCH_ADDRESSES, REPL_FETCH_STREAMS, REPL_FETCH_SESSIONS };

struct repl_candidates {
	size_t start;	/* of the word that is being completed, in the text */
	unsigned count; /* also those that are not kept */
	unsigned kept;
	char word[REPL_CANDIDATES_MAX][REPL_WORD_MAX];
	char label[REPL_CANDIDATES_MAX][REPL_WORD_MAX]; /* what it is, "" = the word says it */
	size_t common;					/* bytes that all of them begin with */
	bool goes_on;					/* no blank behind a single one (field=) */
};

struct repl_source {
	const json_t *commands; /* the answer to `help`: [{command, arguments, does}] */
	/* Calls repl_candidate for what begins with `prefix`; may be NULL. */
	void (*fetch)(void *context, enum repl_fetch what, const char *prefix,
		struct repl_candidates *candidates);
	void *context;
};

/* Of the text before the cursor. */
void repl_complete(
	const char *text, const struct repl_source *source, struct repl_candidates *candidates);

/* Adds a candidate, if it begins with `prefix` and is not there yet. */
void repl_candidate(struct repl_candidates *candidates, const char *prefix, const char *word,
	const char *label);

/* A line as it may be kept in a history: values of secret fields of `send` become ***. */
void repl_without_secrets(const char *line, char *out, size_t size);

#endif

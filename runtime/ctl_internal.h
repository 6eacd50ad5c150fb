/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of `millrace ctl`: ctl.c (words, and what a running node is asked), ctl_keys.c (keys of nodes
 * and clusters: files, no node is asked).
 */
#ifndef MILLRACE_CTL_INTERNAL_H
#define MILLRACE_CTL_INTERNAL_H

#include "runtime/repl_internal.h"

#include <jansson.h>
#include <stdbool.h>

struct ctl {
	struct repl_client_options options;
	struct repl_client client;
	const char *words[4];
	int word_count;
	long wait_s; /* -1 = not given, as days */
	const char *binary;
	const char *name, *data_dir, *cluster_key;
	long days;
	bool stop;
	bool help;
};

/* What is wrong with the words; the exit status. */
int ctl_complain(const char *format, const char *what);
/* A step, or the last word: `text` for people (NULL: the result as a table), `result` for scripts; takes
 * the result. */
void ctl_say(const struct ctl *ctl, const char *text, json_t *result, bool more);
/* Returns the status. */
int ctl_fail(const struct ctl *ctl, const char *code, const char *message, int status);

/* `ctl keys …`; the exit status. */
int ctl_keys(struct ctl *ctl);

#endif

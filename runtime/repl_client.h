/* SPDX-License-Identifier: Apache-2.0
 *
 * The person's side of the console: sends command lines to the control process of a node and shows
 * the answers. Interactive with line editing and history on a terminal, line by line from a pipe.
 *
 * Protocol: a Unix stream connection to RUN-DIR/repl.sock, or one that stands for it (repl_far.h); each
 * way one JSON document a line.
 *   request  {"command":"actors stream"}
 *   answer   {"ok":true,"result":…[,"text":"…"][,"next":ADDR][,"more":true][,"left_out":N]}
 *            {"ok":false,"error":{"code":"not_found","message":"…"}}
 * Requests are answered in their order; the next is sent after the last answer to the one before.
 * `text`, if given, is what a person is shown; else `result` is laid out here. `next` says where a
 * list goes on (after ADDR). `more` announces further answers to the same command (watch, trace); any
 * line, {"end":true} for one, ends them, and the last answer says how many events there were.
 * `left_out`: so many events are missing before this one.
 */
#ifndef MILLRACE_REPL_CLIENT_H
#define MILLRACE_REPL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { REPL_CLIENT_COMMANDS_MAX = 32 };

struct repl_client_options {
	const char *program; /* whose words errors begin with: "repl", "ctl" */
	const char
		*connect; /* run directory, or the socket in it, or tcp://…; NULL = the only node */
	const char *operator_file; /* of tcp://…; NULL = where it is expected (repl_far.h) */
	bool json;
	unsigned command_count; /* 0 = read them from standard input */
	const char *commands[REPL_CLIENT_COMMANDS_MAX];
};

/* Returns the exit status: 0 every command succeeded, 1 one failed, 2 usage, 3 no connection. */
int repl_client_run(const struct repl_client_options *options);

/* Lays a result out for a person: a list of objects as a table, an object as lines of key and
 * value, anything else as JSON. */
void repl_client_show(FILE *out, const json_t *result);

#endif

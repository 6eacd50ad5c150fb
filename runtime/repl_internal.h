/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the console's client: repl_client.c (connection, commands), repl_far.c
 * (the connection to a node elsewhere), repl_show.c (layout),
 * repl_terminal.c (line editing), repl_complete.c (what a line may go on with).
 */
#ifndef MILLRACE_REPL_INTERNAL_H
#define MILLRACE_REPL_INTERNAL_H

#include "runtime/repl_client.h"
#include "runtime/repl_far.h"

#include <signal.h>

struct repl_client {
	const struct repl_client_options *options;
	char address[544]; /* of the node's socket, or tcp://… */
	int socket;
	struct repl_far *far; /* instead of the socket: the node is elsewhere */
	bool quiet;	      /* its own errors are not shown: whoever asks says what it means */
	volatile sig_atomic_t *interrupted; /* set by Ctrl-C; NULL = that ends the program */
	char *bytes;			    /* what was received and not yet shown */
	size_t used;
	size_t room;
};

/* Finds the node that the options mean and connects to it. The exit status; to be closed in any case. */
int repl_client_open(struct repl_client *client, const struct repl_client_options *options);
void repl_client_close(struct repl_client *client);
/* Sends the command, shows all answers to it. CLI_CLEAN, CLI_FAILED, CLI_CANNOT_CONNECT. */
int repl_client_command(struct repl_client *client, const char *command);
/* The one answer, for the client itself; NULL when none came in time, and nothing is shown. The caller's
 * reference. */
json_t *repl_client_ask(struct repl_client *client, const char *command, int within_ms);
int repl_client_reconnect(struct repl_client *client);

bool repl_is_blank(const char *line);
bool repl_wants_out(const char *line);

/* Reads commands with line editing until the end of input. Returns the exit status. */
int repl_terminal_run(struct repl_client *client);

/* A further answer to watch or trace, in a line. */
void repl_show_event(FILE *out, const json_t *answer);

#endif

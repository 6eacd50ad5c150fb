/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of the program: sub-commands, help texts, where the configuration comes from.
 * Exit status of every command: 0 clean, 1 runtime error, 2 usage or configuration, 3 cannot bind
 * or connect.
 */
#ifndef MILLRACE_CLI_H
#define MILLRACE_CLI_H

#include "runtime/config.h"

enum cli_status { CLI_CLEAN = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_CANNOT_CONNECT = 3 };

struct cli {
	int argc; /* whole command line */
	char **argv;
	char *const *environment;
	const char *version;
	/* see struct supervisor_options */
	int (*arena_create)(const struct config *config, const char *name, size_t *size);
	/* What this program cannot do on this machine; NULL = nothing, as NULL here */
	const char *(*self_test)(void);
	/* `millrace load`: the words behind it; returns the exit status */
	int (*load)(int argc, char **argv);
	const char *load_help; /* its help; NULL: none */
};

/* Runs the command that argv[1] names. Returns the exit status. */
int cli_run(struct cli *cli);

/* Facts about this host and user; strings belong to the environment or live as long as the process. */
void cli_host(struct config_host *host);

#endif

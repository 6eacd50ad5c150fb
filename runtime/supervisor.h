/* SPDX-License-Identifier: Apache-2.0
 *
 * The first process of a node: it opens the sockets, starts the others, starts them again when they
 * die or hang, and stops them in order. It reads nothing that comes from a network and calls no
 * library that does.
 *
 *   child:  (none) --start--> starting --says ready--> ready --exit, kill--> dead --back-off--> starting
 *                                \--worker.start_ms over--> killed    \--no beat for worker.stuck_ms--> killed
 *   node:   starting --all ready--> ready --TERM, INT--> draining media --> stopping helpers and
 *           control --> ended;   a second signal, or more restarts than allowed: all are killed
 *
 * Restarts follow OTP: more than worker.restart_intensity of them within worker.restart_period_ms
 * end the node. A child that keeps dying waits longer each time; the first restart is immediate.
 */
#ifndef MILLRACE_SUPERVISOR_H
#define MILLRACE_SUPERVISOR_H

#include "runtime/config.h"
#include "runtime/log.h"

struct supervisor_options {
	const struct config *config; /* finished; borrowed; may be NULL with a `state` */
	struct log *log;	     /* borrowed */
	/* A new arena for a media worker: a memfd (close-on-exec, sealed), its size in *size; or -1 with
	 * errno. Called before each start of a worker. NULL: workers get no arena. */
	int (*arena_create)(const struct config *config, const char *name, size_t *size);
	/* Reads the configuration again at SIGHUP; false: it has errors, which were told. NULL: none. */
	bool (*reload)(void *context, struct config *fresh);
	void *context;
	char *const *environment; /* handed to the children without MILLRACE_… variables */
	char *const *
		arguments; /* this program's, from argv[0] on; for an upgrade. NULL: none possible */
	/* what the program before has left (supervisor_state.h); 0: the node starts. Taken over.
	 * `config` is then what was read now, of which what a reload may change is used; NULL: it has
	 * errors, all stays as it was */
	int state;
};

/* Runs a node until it ends. One at a time in a process; takes over its signal mask. Prints the
 * line that says ready on standard output. Returns the exit status of the program: 0 stopped in
 * order, 1 failed or had to kill what did not stop, 3 cannot bind or the directories are taken. */
int supervisor_main(const struct supervisor_options *options);

#endif

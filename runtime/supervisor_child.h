/* SPDX-License-Identifier: Apache-2.0
 *
 * One child of the supervisor: started, seen, killed, reaped. When and why is supervisor.c's.
 * Inside of the supervisor only.
 */
#ifndef MILLRACE_SUPERVISOR_CHILD_H
#define MILLRACE_SUPERVISOR_CHILD_H

#include "runtime/process.h"

#include <sys/types.h>

/* A process's share of the processors since it started. The kernel counts a wait when it is over:
 * one that has not run for a while and is runnable is still waiting. */
struct child_turns {
	int64_t ran_us;
	int64_t waited_us; /* ready to run, in the processor's queue */
	bool runnable;
};

struct child {
	enum process_role role;
	uint32_t index;
	bool wanted;	 /* to be started again when it ends */
	bool asked;	 /* its end was asked for: it does not count as a failure */
	bool told_ready; /* PROCESS_READY was seen and told */
	pid_t pid;	 /* 0 = not running */
	int pidfd;	 /* -1 = not running */
	int wake;	 /* eventfd */
	int command;	 /* supervisor's end, -1 = none */
	uint32_t incarnation;
	uint32_t failures; /* in a row, for the back-off */
	int64_t started_us;
	int64_t restart_us; /* when it may be started again */
	int64_t ended_us;   /* when the last one was collected */
	int64_t beat_us;    /* last beat seen in the status page */
	int64_t beat_at_us; /* and when it was first seen */
	bool suspected;	    /* its beat is late; `turns` was noted */
	bool aborted;	    /* it was told to die and to note of what */
	uint32_t kills;	    /* sent to it: its memory may take a while to go */
	struct child_turns turns;
};

void child_init(struct child *child, enum process_role role, uint32_t index);

/* What children get of an environment, at most `max` variables and a NULL: none of MILLRACE_…, for they
 * have their configuration, and it may be a secret; nothing that a service manager says to us. */
void child_environment(char *const *from, char **to, size_t max);

/* Forks and execs this program as the child that `env` describes (descriptors of the node
 * and its line's are set in it; those of the child are filled in here). ERR_IO with errno. */
enum err child_start(struct child *child, struct process_env *env, char *const *environment);

/* The process of `spare` is that of `child` from now on, which has none any more. */
void child_replace(struct child *child, struct child *spare);

/* Writes an order for it to see, and wakes it. */
void child_order(struct child *child, struct process_page *page, enum process_order order);

/* Wakes it so that it looks at the status page. */
void child_wake(struct child *child);

void child_kill(struct child *child);
/* The softer way: one that spins notes what it was at (live_fatal.c). One that stands still does
 * not hear it. */
void child_abort(struct child *child);

/* What the scheduler says of it; zero when the kernel does not. */
struct child_turns child_turns(const struct child *child);

/* Collects an ended child. True: it has ended; *status is as by waitpid, what it held is closed. */
bool child_reap(struct child *child, int *status);

#endif

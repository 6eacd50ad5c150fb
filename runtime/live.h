/* SPDX-License-Identifier: Apache-2.0
 *
 * The live backend: one process of a running node. One thread, one epoll loop: raw sockets, the
 * ZeroMQ bus through its descriptor, the wake eventfd and the lifeline of the supervisor.
 *
 *   wait -> sockets and bus -> turn (timers, mail, pumps) -> beat -> wait …
 *
 * Its end: PROCESS_DRAIN tells the actors to end in order (`drain`), PROCESS_STOP and a supervisor
 * that is gone end it now. Either way every actor's stop function runs, and what it wrote leaves.
 */
#ifndef MILLRACE_LIVE_H
#define MILLRACE_LIVE_H

#include "runtime/process.h"
#include "runtime/runtime.h"

/* An office that the process starts with. */
struct live_office {
	enum office office;
	const struct actor_type *type;
	const void *args;
};

struct live_program {
	/* types that this process can restore, NULL-terminated */
	const struct actor_type *const *types;
	/* Spawned in this order; one that fails ends the process. The last has no type. */
	const struct live_office *offices;
	/* Does beforehand in a spare what takes time: libraries, self-tests. Says what has failed: then it
	 * is no spare; NULL = it is fit. NULL here = nothing is to be done. */
	const char *(*warm)(const struct process_env *env);
};

/* What the three kinds of processes run: main_control.c, main_worker.c, main_helper.c. */
extern const struct live_program control_program, worker_program, helper_program;
/* The first of them in a cluster (coord etcd://…). */
extern const struct live_program control_cluster_program;

/* Runs until the supervisor says stop or is gone, or, after it said drain, until nothing is left to
 * end (runtime_is_drained) or drain_ms have passed. Returns the exit status of the process. */
int live_run(const struct process_env *env, const struct live_program *program);

#endif

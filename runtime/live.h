/* SPDX-License-Identifier: Apache-2.0
 *
 * The live backend: one process of a running node. One thread, one epoll loop: raw sockets, the
 * ZeroMQ bus through its descriptor, the wake eventfd and the lifeline of the supervisor.
 *
 *   wait -> sockets and bus -> turn (timers, mail, pumps) -> beat -> wait …
 */
#ifndef MILLRACE_LIVE_H
#define MILLRACE_LIVE_H

#include "runtime/process.h"
#include "runtime/runtime.h"

struct live_program {
	/* types that this process can restore, NULL-terminated */
	const struct actor_type *const *types;
	/* Spawns the offices of the process. An error ends it. */
	enum err (*start)(struct runtime *rt, const struct process_env *env);
	/* The supervisor wants the process drained; NULL = it has nothing to drain. Afterwards
	 * is_drained is asked once a turn. */
	void (*drain)(struct runtime *rt);
	bool (*is_drained)(struct runtime *rt);
};

/* Runs until the supervisor says stop or is gone. Returns the exit status of the process. */
int live_run(const struct process_env *env, const struct live_program *program);

/* What the process was started with (offices need ports and paths). Never NULL in live processes,
 * NULL in the simulator. */
const struct process_env *live_env(const struct runtime *rt);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A holder (runtime/holder.h) as a process: no actors, no bus. It outlives its worker, and leaves
 * when the supervisor says so or is gone.
 */
#include "runtime/holder.h"
#include "runtime/process.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

enum { REPORT_US = 500000 };

struct report {
	int64_t at_us;
	int64_t cpu_us;
};

static void tell(const struct process_env *env, const struct holder *holder, struct log *log,
	struct report *last)
{
	int64_t now_us = clock_us(CLOCK_MONOTONIC);
	struct process_status *own = process_own_status(env);

	process_beat(own, now_us);
	process_metric_set(env, PROCESS_METRIC_SOCKETS_HELD, holder_held(holder));
	process_metric_set(env, PROCESS_METRIC_SOCKETS_NOT_HELD, holder->refused);
	if (now_us - last->at_us < REPORT_US)
		return;
	int64_t cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	atomic_store_explicit(&own->cpu_permille,
		(uint32_t)((cpu_us - last->cpu_us) * 1000 / (now_us - last->at_us)),
		memory_order_relaxed);
	*last = (struct report){now_us, cpu_us};
	log_flush(log);
}

int holder_main(const struct process_env *env)
{
	struct process_status *own = process_own_status(env);
	struct pollfd fds[] = {
		{.fd = env->fd.holder,   .events = POLLIN},
		{.fd = env->fd.wake,     .events = POLLIN},
		{.fd = env->fd.lifeline, .events = POLLIN},
	};
	struct report report = {.at_us = clock_us(CLOCK_MONOTONIC)};
	struct holder holder;
	struct log log;
	uint32_t settings_seen = 0;
	uint64_t wakes;

	process_log_init(env, &log);
	if (holder_init(&holder, env->fd.holder, &log)) {
		log_error(&log, "process_cannot_start", "error", err_name(ERR_NO_MEMORY));
		return 1;
	}
	process_settings_follow(env, &settings_seen, &log);
	process_beat(own, report.at_us);
	atomic_store(&own->state, PROCESS_READY);
	while (!fds[2].revents && atomic_load(&own->order) < PROCESS_STOP) {
		fds[0].events = holder_run(&holder) ? POLLIN | POLLOUT : POLLIN;
		tell(env, &holder, &log, &report);
		poll(fds, sizeof(fds) / sizeof(fds[0]), PROCESS_BEAT_MS - 5);
		if (fds[1].revents && read(env->fd.wake, &wakes, sizeof(wakes)) > 0)
			process_settings_follow(env, &settings_seen, &log);
	}
	holder_fini(&holder);
	log_flush(&log);
	return fds[2].revents ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines (docs/decisions/014-takeover.md): a media worker's arena, block and number stay when its
 * process is killed, and the next one goes on with them. Mostly that is its spare, which waits in the
 * arena's fence and needs nobody to tell it: it writes itself in the worker's row of the status page,
 * and is adopted here when the old process has been collected.
 *
 *   line:   (none) --worker starts--> in use --worker is killed--> waits --spare, new process--> in use
 *                                        \--worker exits, LINE_DEATHS_MAX--> (ended, with its spare)
 *   spare:  (none) --worker ready--> waits --worker killed--> is the worker
 *
 * The arena is never looked into.
 */
#include "runtime/supervisor_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	/* killed in a row before they were ready: then what they find there is not to be gone on
	 * with. An actor that cannot be restored costs two, see escrow.h. */
	LINE_DEATHS_MAX = 8,
	SPARE_LATE_MS = 1000, /* after its worker's death; the kernel gives it the fence in one */
};

static struct child *spare_of(struct supervisor *s, const struct child *worker)
{
	return supervisor_find(s, PROCESS_SPARE, worker->index);
}

static enum err begin(struct supervisor *s, struct line *line, uint32_t index)
{
	char name[PROCESS_NAME_SIZE];
	enum err err = places_next_block(&s->places, &line->block);

	if (!err && s->options->arena_create) {
		snprintf(name, sizeof(name), "millrace-arena-%u", index);
		line->arena = s->options->arena_create(&s->config, name, &line->arena_size);
		err = line->arena < 0 ? ERR_IO : ERR_OK;
	}
	if (err)
		return err;
	line->number = s->env.incarnation;
	line->deaths = 0;
	return ERR_OK;
}

enum err line_join(struct supervisor *s, const struct child *child)
{
	struct process_env *env = &s->env;
	struct line *line = &s->lines[child->index];
	enum err err = ERR_OK;

	env->fd.arena = -1;
	env->arena_size = 0;
	env->line = env->incarnation;
	if (child->role != PROCESS_MEDIA && child->role != PROCESS_SPARE)
		return places_next_block(&s->places, &env->block);
	if (!line->number)
		err = begin(s, line, child->index);
	env->fd.arena = line->arena;
	env->arena_size = line->arena_size;
	env->line = line->number;
	env->block = line->block;
	return err;
}

bool line_goes_on(struct supervisor *s, const struct child *worker, int status)
{
	struct line *line = &s->lines[worker->index];

	if (worker->role != PROCESS_MEDIA || !line->number || !WIFSIGNALED(status) ||
		s->phase != PHASE_RUN || !worker->wanted)
		return false;
	if (line->deaths++ < LINE_DEATHS_MAX)
		return true;
	log_error(s->log, "line_given_up", "index", worker->index, "line", line->number, "deaths",
		line->deaths);
	return false;
}

void line_end(struct supervisor *s, const struct child *worker)
{
	struct line *line = &s->lines[worker->index];
	struct child *spare;

	if (worker->role != PROCESS_MEDIA)
		return;
	spare = spare_of(s, worker);
	if (spare) {
		spare->asked = true;
		child_kill(spare);
	}
	if (line->arena >= 0)
		close(line->arena);
	*line = (struct line){.arena = -1};
}

void line_is_ready(struct supervisor *s, const struct child *worker)
{
	if (worker->role == PROCESS_MEDIA)
		s->lines[worker->index].deaths = 0;
}

/* ---- spares ---------------------------------------------------------------------------------- */

bool line_has_spare(struct supervisor *s, const struct child *worker)
{
	const struct child *spare = worker->role == PROCESS_MEDIA ? spare_of(s, worker) : NULL;

	return spare && spare->pid;
}

bool line_was_taken_by(struct supervisor *s, const struct child *spare)
{
	struct child *worker;

	if (spare->role != PROCESS_SPARE || !spare->pid)
		return false;
	worker = supervisor_find(s, PROCESS_MEDIA, spare->index);
	return atomic_load(&supervisor_row(s, worker)->incarnation) == spare->incarnation;
}

static void watch_as(struct supervisor *s, const struct child *child)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)(child - s->children)};

	MUST(!epoll_ctl(s->epoll, EPOLL_CTL_MOD, child->pidfd, &event));
}

void line_adopt(struct supervisor *s, struct child *worker)
{
	struct process_status *row = supervisor_row(s, worker);
	struct child *spare = worker->role == PROCESS_MEDIA ? spare_of(s, worker) : NULL;

	if (worker->pid || !spare || !line_was_taken_by(s, spare))
		return;
	child_replace(worker, spare);
	atomic_store(&supervisor_row(s, spare)->state, PROCESS_EMPTY);
	atomic_store(&supervisor_row(s, spare)->pid, 0);
	atomic_fetch_add(&row->restarts, 1);
	watch_as(s, worker);
	worker->started_us = supervisor_now_us();
	/* a drain that it was in the middle of goes on */
	worker->asked = atomic_load(&row->order) != PROCESS_RUN;
	log_info(s->log, "worker_taken_over", "index", worker->index, "pid", worker->pid,
		"incarnation", worker->incarnation, "line", s->lines[worker->index].number);
	/* what it was told before may have woken the dead one */
	supervisor_wake_all(s);
}

void line_keep_spare(struct supervisor *s, struct child *spare, int64_t now)
{
	struct child *worker = supervisor_find(s, PROCESS_MEDIA, spare->index);

	if (spare->pid && !worker->pid && !line_was_taken_by(s, spare) &&
		now > worker->ended_us + SPARE_LATE_MS * 1000) {
		supervisor_kill_for(s, spare, "did_not_take_over", SPARE_LATE_MS);
		worker->ended_us = now;
	}
	if (!spare->pid && s->told_ready && worker->pid && worker->told_ready && !worker->asked &&
		s->phase == PHASE_RUN && s->config.worker_spare && now >= spare->restart_us)
		supervisor_start(s, spare);
}

void line_kill_spares(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->child_count; i++) {
		struct child *child = &s->children[i];

		if (child->role != PROCESS_SPARE || line_was_taken_by(s, child))
			continue;
		child->asked = true;
		child_kill(child);
	}
}

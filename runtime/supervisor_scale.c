/* SPDX-License-Identifier: Apache-2.0
 *
 * More and fewer media workers while the node runs (docs/decisions/017-upgrade-and-scaling.md).
 *
 *   more:   sockets, holders, workers --all ready--> done
 *                                     \--one does not come--> taken back, failed
 *   fewer:  taking nothing new --no sessions, or the operator's patience over--> ending what is left
 *           --gone--> holders --gone--> done
 *
 * The last ones go, so that worker i is always at rtc.port + i.
 */
#include "runtime/supervisor_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	/* what was placed before the others knew is counted by then: two reports of a worker */
	SETTLE_MS = 1500,
	TELL_MS = 1000,	  /* at most one step of "sessions left" in this time */
	LATE_MS = 1000,	  /* after drain_ms: what it gets to stop at once, then it is killed */
	FAILURES_MAX = 3, /* of a new worker that does not come up */
};

enum fewer_phase { FEWER_WAITS, FEWER_ENDS, FEWER_HOLDERS };

static struct child *place_of(struct supervisor *s, enum process_role role, uint32_t index)
{
	struct child *child = supervisor_find(s, role, index);

	if (!child)
		child = &s->children[s->child_count++];
	MUST(!child->pid);
	child_init(child, role, index);
	child->wanted = role != PROCESS_SPARE; /* by its worker, when that is ready */
	return child;
}

static void clear_row(struct supervisor *s, enum process_role role, uint32_t index)
{
	struct process_status *row = &s->page->slot[process_slot(role, index)];

	atomic_store(&row->line, 0);
	atomic_store(&row->pid, 0);
	atomic_store(&row->sessions, 0);
	atomic_store(&row->streams, 0);
	atomic_store(&row->state, PROCESS_EMPTY);
}

static void set_closed(struct supervisor *s, uint32_t worker, bool closed)
{
	uint64_t bit = (uint64_t)1 << worker;

	if (closed)
		atomic_fetch_or(&s->page->closed_workers, bit);
	else
		atomic_fetch_and(&s->page->closed_workers, ~bit);
}

static void set_count(struct supervisor *s, uint32_t count)
{
	s->env.worker_count = count;
	memcpy(s->env.rtc_ports, s->listeners.rtc_ports, sizeof(s->env.rtc_ports));
	memcpy(s->env.link_ports, s->listeners.link_ports, sizeof(s->env.link_ports));
}

/* Its processes have gone. */
static void remove_last(struct supervisor *s)
{
	uint32_t worker = s->listeners.worker_count - 1;

	for (int end = 0; end < 2; end++) {
		if (s->holders[worker][end] >= 0)
			close(s->holders[worker][end]);
		s->holders[worker][end] = -1;
	}
	listeners_remove(&s->listeners);
	set_count(s, worker);
	clear_row(s, PROCESS_MEDIA, worker);
	clear_row(s, PROCESS_HOLDER, worker);
	clear_row(s, PROCESS_SPARE, worker);
	set_closed(s, worker, false);
}

/* True when none of these runs any more; those that do are killed, or told to stop. */
static bool are_gone(
	struct supervisor *s, enum process_role role, uint32_t from, uint32_t to, bool kill)
{
	bool gone = true;

	for (uint32_t i = from; i < to; i++) {
		struct child *child = supervisor_find(s, role, i);

		if (!child)
			continue;
		child->asked = true;
		child->wanted = false;
		if (!child->pid)
			continue;
		gone = false;
		if (kill)
			child_kill(child);
		else
			child_order(child, s->page, PROCESS_STOP);
	}
	return gone;
}

/* ---- more ------------------------------------------------------------------------------------ */

static void take_back(struct supervisor *s, struct operation *operation, int64_t now)
{
	bool gone = are_gone(s, PROCESS_MEDIA, operation->from, operation->to, true);

	(void)now;
	gone &= are_gone(s, PROCESS_HOLDER, operation->from, operation->to, true);
	gone &= are_gone(s, PROCESS_SPARE, operation->from, operation->to, true);
	if (!gone)
		return;
	while (s->listeners.worker_count > operation->from)
		remove_last(s);
	operation_failed(s, "the new worker cannot start, see the log; %u workers as before",
		operation->from);
}

static void wait_ready(struct supervisor *s, struct operation *operation, int64_t now)
{
	uint32_t ready = 0;

	(void)now;
	for (uint32_t i = operation->from; i < operation->to; i++) {
		const struct child *worker = supervisor_find(s, PROCESS_MEDIA, i);

		ready += worker->pid && worker->told_ready;
		if (worker->failures >= FAILURES_MAX)
			operation->go_on = take_back;
	}
	if (ready > operation->told)
		operation_step(s, "%u of %u new workers are ready", ready,
			operation->to - operation->from);
	operation->told = ready;
	if (ready < operation->to - operation->from)
		return;
	atomic_store(&s->page->worker_count, operation->to);
	operation_done(s, "%u workers", operation->to);
}

static void begin_more(struct supervisor *s, struct operation *operation)
{
	for (uint32_t i = operation->from; i < operation->to; i++) {
		bool open = !listeners_add(&s->listeners, &s->config);

		if (open && supervisor_open_holder(s, i))
			continue;
		if (open)
			snprintf(s->listeners.problem, sizeof(s->listeners.problem),
				"no descriptors");
		if (open)
			remove_last(s);
		while (s->listeners.worker_count > operation->from)
			remove_last(s);
		operation_failed(s, "%s", s->listeners.problem);
		return;
	}
	set_count(s, operation->to);
	for (uint32_t i = operation->from; i < operation->to; i++) {
		set_closed(s, i, false);
		place_of(s, PROCESS_SPARE, i);
		supervisor_start(s, place_of(s, PROCESS_HOLDER, i));
		supervisor_start(s, place_of(s, PROCESS_MEDIA, i));
	}
	operation->go_on = wait_ready;
}

/* ---- fewer ----------------------------------------------------------------------------------- */

/* As the workers themselves say: a hint. */
static uint32_t sessions_left(struct supervisor *s, const struct operation *operation)
{
	uint32_t sessions = 0;

	for (uint32_t i = operation->to; i < operation->from; i++)
		sessions += atomic_load(&s->page->slot[process_slot(PROCESS_MEDIA, i)].sessions);
	return sessions;
}

static void tell_left(struct supervisor *s, struct operation *operation, int64_t now)
{
	uint32_t left = sessions_left(s, operation);

	if (left == operation->told || now - operation->told_us < TELL_MS * 1000)
		return;
	operation->told = left;
	operation->told_us = now;
	operation_step(s, "%u session%s left", left, left == 1 ? "" : "s");
}

static void order_leaving(
	struct supervisor *s, struct operation *operation, enum process_order order)
{
	for (uint32_t i = operation->to; i < operation->from; i++) {
		struct child *worker = supervisor_find(s, PROCESS_MEDIA, i);

		worker->asked = true;
		worker->wanted = false;
		child_order(worker, s->page, order);
	}
}

static void enter(struct operation *operation, enum fewer_phase phase, int64_t now)
{
	operation->phase = phase;
	operation->since_us = now;
}

static void go_on_fewer(struct supervisor *s, struct operation *operation, int64_t now)
{
	int64_t took_us = now - operation->since_us;
	bool late = took_us > s->config.drain_ms * 1000 + LATE_MS * 1000;

	switch ((enum fewer_phase)operation->phase) {
	case FEWER_WAITS:
		tell_left(s, operation, now);
		if ((took_us < SETTLE_MS * 1000 || sessions_left(s, operation)) &&
			now < operation->until_us)
			return;
		order_leaving(s, operation, PROCESS_DRAIN);
		enter(operation, FEWER_ENDS, now);
		return;
	case FEWER_ENDS:
		if (late)
			order_leaving(s, operation, PROCESS_STOP);
		for (uint32_t i = operation->to; i < operation->from; i++)
			if (supervisor_find(s, PROCESS_MEDIA, i)->pid) {
				if (late &&
					took_us > s->config.drain_ms * 1000 + 2 * LATE_MS * 1000)
					child_kill(supervisor_find(s, PROCESS_MEDIA, i));
				return;
			}
		enter(operation, FEWER_HOLDERS, now);
		return;
	case FEWER_HOLDERS:
		if (!are_gone(s, PROCESS_HOLDER, operation->to, operation->from, late) ||
			!are_gone(s, PROCESS_SPARE, operation->to, operation->from, true))
			return;
		atomic_store(&s->page->worker_count, operation->to);
		while (s->listeners.worker_count > operation->to)
			remove_last(s);
		operation_done(s, "%u worker%s", operation->to, operation->to == 1 ? "" : "s");
		return;
	}
}

static void begin_fewer(struct supervisor *s, struct operation *operation, uint32_t wait_s)
{
	operation->until_us = operation->began_us + (int64_t)wait_s * 1000000;
	operation->told = UINT32_MAX;
	for (uint32_t i = operation->to; i < operation->from; i++)
		set_closed(s, i, true);
	enter(operation, FEWER_WAITS, operation->began_us);
	operation->go_on = go_on_fewer;
}

/* Somebody must take what the others do not any more. */
static bool would_all_be_closed(struct supervisor *s, uint32_t workers)
{
	uint64_t stay = workers == 64 ? UINT64_MAX : ((uint64_t)1 << workers) - 1;

	return (atomic_load(&s->page->closed_workers) & stay) == stay;
}

enum err scale_begin(struct supervisor *s, uint32_t workers, uint32_t wait_s)
{
	struct operation *operation = &s->operation;
	uint32_t from = s->listeners.worker_count;
	enum err err;

	if (workers < 1 || workers > PROCESS_WORKERS_MAX)
		return ERR_FORMAT;
	err = operation_begin(s, PROCESS_OPERATION_WORKERS);
	if (err)
		return err;
	operation->from = from;
	operation->to = workers;
	if (workers == from) {
		operation_done(s, "%u workers, as before", workers);
		return ERR_OK;
	}
	operation_step(s, "%u workers become %u", from, workers);
	if (workers > from)
		begin_more(s, operation);
	else if (would_all_be_closed(s, workers))
		operation_failed(s, "those that would stay are drained: ctl drain off worker N");
	else
		begin_fewer(s, operation, wait_s);
	return ERR_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the process office: process_office.c (load, dispatch, life), process_query.c (answers
 * made at once), process_task.c (lists of actors, made in pieces), process_top.c (who is busy),
 * process_follow.c (watch and trace).
 */
#ifndef MILLRACE_PROCESS_OFFICE_INTERNAL_H
#define MILLRACE_PROCESS_OFFICE_INTERNAL_H

#include "runtime/actor_filter.h"
#include "runtime/process_office.h"
#include "runtime/runtime.h"

enum {
	OFFICE_MS = 1000, /* microseconds */
	OFFICE_TASKS_MAX = 32,
	OFFICE_FOLLOWS_MAX =
		sizeof(((struct process_office_state *)0)->follows) / sizeof(struct follow),
};

enum office_timer { OFFICE_TIMER_REPORT, OFFICE_TIMER_FOLLOW, OFFICE_TIMER_TOP };

/* Lists of actors: which, and one line each. */
enum rows_of { ROWS_ACTORS, ROWS_SESSIONS, ROWS_STREAMS, ROWS_PATHS, ROWS_LINKS };

/* A list that is being made, a piece a turn. */
struct office_task {
	struct asker asker;
	enum rows_of rows;
	struct actor_filter filter;
	char stream[128]; /* ROWS_PATHS */
	uint64_t seen;	  /* id of the last actor looked at, 0 = none yet */
	uint32_t count;	  /* rows written */
	struct addr last; /* of the last row */
};

/* What a follow needs that is not written down; by the index of the follow. */
struct follow_work {
	void *before; /* watch: the state as told last */
	uint32_t phase;
	int64_t looked_us;
	bool ran; /* since then */
	bool begun;
	uint8_t *text; /* trace: lines that have not left yet */
	size_t used;
	int64_t second_us;  /* beginning of the second in which … */
	uint32_t in_second; /* … so many lines were written */
};

struct top_mark {
	uint64_t id, handled;
	int64_t busy_us;
};

enum top_phase { TOP_IDLE, TOP_MARKING, TOP_WAITING, TOP_COMPARING };

enum { TOP_ASKERS_MAX = 8, TOP_ROWS = 20, TOP_KEYS = 3 };

struct top_found {
	uint64_t id;
	uint64_t key[TOP_KEYS]; /* cpu_ppm, mails a second, mailbox */
};

/* One measurement at a time, for everybody who asks meanwhile. */
struct top {
	enum top_phase phase;
	struct asker askers[TOP_ASKERS_MAX];
	uint32_t asker_count;
	struct top_mark *marks; /* in the order of the kernel's list */
	uint32_t mark_count, mark_room;
	uint32_t compared; /* marks */
	uint64_t seen;	   /* id of the last actor looked at */
	int64_t marked_us, compared_us;
	struct top_found best[TOP_KEYS][TOP_ROWS]; /* the best by each key, best first */
	uint32_t best_count[TOP_KEYS];
};

struct process_office {
	struct process_office_state st;

	struct office_task tasks[OFFICE_TASKS_MAX]; /* a queue: the first is being made */
	uint32_t task_first, task_count;
	struct writer page; /* of the first task; begin NULL = not begun */
	struct follow_work follows[OFFICE_FOLLOWS_MAX];
	struct top top;
};

/* A question, while it is being answered. */
struct query {
	struct actor *self;
	struct process_office *s;
	const char *arguments;
	uint64_t follow; /* for watch and trace */
	struct addr follower;
	bool follows; /* further answers will come */
	struct writer out;
	const char *problem; /* text for people, with an error */
};

/* process_query.c. ERR_AGAIN: answered later. */
enum err process_query_run(struct query *q, const char *command);
void process_query_answer(struct query *q, struct asker asker, enum err err);
void process_query_put(struct query *q, const char *text);
void process_query_put_number(struct query *q, const char *name, uint64_t number);
enum err process_query_fail(struct query *q, enum err err, const char *problem);
enum err process_query_find(struct query *q, struct actor_facts *facts);
enum err process_query_inspect(struct query *q);
void process_query_row(struct actor *self, const struct actor_facts *facts, struct actor_row *row);
bool process_office_is_session(const struct process_office *s, const struct actor_facts *facts);
/* Tells the offices of this process that make sessions whether they may. */
void process_office_tell_intake(struct actor *self, const struct process_office *s);
/* The one after the actor `seen`, which may have ended meanwhile; 0 = the first. */
struct actor *process_office_next(struct runtime *rt, uint64_t seen);

/* process_task.c */
enum err process_task_begin(struct query *q, enum rows_of rows);
/* A piece; kicks the office when there is more. */
void process_task_work(struct actor *self, struct process_office *s);
void process_task_stop(struct process_office *s);

/* process_top.c */
enum err process_top_begin(struct query *q);
void process_top_work(struct actor *self, struct process_office *s);
void process_top_timer(struct actor *self, struct process_office *s);
void process_top_stop(struct process_office *s);

/* process_follow.c */
enum err process_follow_watch(struct query *q);
enum err process_follow_trace(struct query *q);
void process_follow_end(
	struct actor *self, struct process_office *s, uint64_t id, struct addr follower);
void process_follow_down(struct actor *self, struct process_office *s, const struct msg_down *down);
void process_follow_work(struct actor *self, struct process_office *s);
void process_follow_restore(struct actor *self, struct process_office *s);
void process_follow_stop(struct actor *self, struct process_office *s);

#endif

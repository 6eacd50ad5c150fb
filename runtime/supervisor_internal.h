/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the supervisor: supervisor.c (the loop, who is judged, how it all stops),
 * supervisor_start.c (who is started, and again), supervisor_line.c (what outlives a worker's
 * process, and its spare), supervisor_setup.c (what the node consists of), supervisor_operation.c
 * (what an operator asked for), supervisor_scale.c (more and fewer workers), supervisor_upgrade.c (on
 * to another program), supervisor_state.c (what the supervisor hands to itself then).
 */
#ifndef MILLRACE_SUPERVISOR_INTERNAL_H
#define MILLRACE_SUPERVISOR_INTERNAL_H

#include "runtime/supervisor.h"

#include "runtime/listeners.h"
#include "runtime/places.h"
#include "runtime/supervisor_child.h"
#include "runtime/supervisor_service.h"

enum {
	TICK_MS = 20,
	ENVIRONMENT_MAX = 256,
	RESTARTS_REMEMBERED = 1024, /* worker.restart_intensity is at most 1000 */
};

/* epoll data of what is not a child; children have their place in `children` */
enum { EVENT_SIGNALS = 1000, EVENT_COMMAND };

enum status { STATUS_CLEAN = 0, STATUS_FAILED = 1, STATUS_CANNOT_BIND = 3 };

enum phase {
	PHASE_RUN,
	PHASE_DRAIN, /* media workers end their sessions */
	PHASE_LATE,  /* media workers are told to leave what they have */
	PHASE_LAST,  /* helpers and control stop */
	PHASE_KILL,  /* everything was killed, the kernel is clearing up */
};

/* A worker's place in the node: what its processes, one after the other, go on with. */
struct line {
	uint32_t number; /* incarnation of its first process, 0 = there is none */
	uint32_t deaths; /* processes in a row that were killed before they were ready */
	uint64_t block;
	int arena; /* memfd, -1 = none */
	size_t arena_size;
};

struct supervisor;

/* What an operator asked for and takes a while: one at a time, looked at once a tick. Its steps are told
 * in the status page and in the log. */
struct operation {
	/* NULL: none. Calls operation_done or operation_failed when it is over. */
	void (*go_on)(struct supervisor *s, struct operation *operation, int64_t now);
	int64_t began_us;
	int64_t since_us; /* of the present step */
	int64_t until_us; /* the operator's patience */
	int64_t told_us;
	uint32_t told;	   /* sessions left, as told last */
	uint32_t phase;	   /* go_on's own */
	uint32_t from, to; /* workers */
	/* an upgrade: */
	uint32_t first; /* processes with a higher incarnation are of the new program */
	uint32_t place; /* worker that is being replaced */
	bool ordered;	/* in this phase */
	pid_t pid;	/* the new program looks at the node, 0 = not now */
	int answer;	/* what it says: a pipe */
};

struct supervisor {
	const struct supervisor_options *options;
	struct log *log;
	struct config config; /* as it runs: reloads and the cluster change some of it */
	struct config own;    /* as the node's file, environment and flags have it */
	struct config told;   /* as the cluster has it, of the keys in is_told */
	bool is_told[CONFIG_KEY_COUNT];
	struct places places;
	struct listeners listeners;
	struct process_env env; /* what all children have in common */
	struct process_page *page;
	struct service service;
	int lifeline; /* the end that nobody but us holds */
	int epoll;
	int signals;
	enum phase phase;
	bool told_ready;
	enum status status;
	int64_t deadline_us; /* of the phase */
	int64_t tick_us;     /* of the last tick */
	int64_t flush_us;
	uint8_t secret[PROCESS_SECRET_SIZE];
	uint32_t incarnation;
	uint32_t restart_count; /* in the ring below, at most RESTARTS_REMEMBERED */
	int64_t restarts_us[RESTARTS_REMEMBERED];
	int holders[PROCESS_WORKERS_MAX][2]; /* pairs of worker and holder: either may die */
	struct line lines[PROCESS_WORKERS_MAX];
	struct operation operation;
	char program[PROCESS_PATH_SIZE];    /* that runs; its file may have been replaced since */
	char program_to[PROCESS_PATH_SIZE]; /* an upgrade's */
	uint32_t child_count;
	struct child children[PROCESS_SLOTS_MAX];
	char *environment[ENVIRONMENT_MAX + 1];
};

/* supervisor.c */
int64_t supervisor_now_us(void);
struct process_status *supervisor_row(struct supervisor *s, const struct child *child);
/* NULL: there never was one. */
struct child *supervisor_find(struct supervisor *s, uint32_t role, uint32_t index);
void supervisor_watch(struct supervisor *s, int fd, uint64_t what);
/* Again and again until it has gone; said once, and how often when it has (process_died). */
void supervisor_kill_for(
	struct supervisor *s, struct child *child, const char *reason, int64_t after_ms);
/* The others look at the status page when they are woken. */
void supervisor_wake_all(struct supervisor *s);
/* supervisor_settings.c: what may change while the node runs. */
/* After an upgrade: what the cluster has said is in the page. */
void supervisor_find_settings(struct supervisor *s);
/* PROCESS_SET. */
enum err supervisor_set(struct supervisor *s, const char *setting);
/* What a reload may change is as in `fresh` from now on, but for what the cluster says; what else
 * differs is told. */
void supervisor_take(struct supervisor *s, const struct config *fresh);
/* Everything is killed; the node ends with this status, or a worse one it has already. */
void supervisor_kill_all(struct supervisor *s, enum status status);

/* supervisor_start.c */
void supervisor_start(struct supervisor *s, struct child *child);
void supervisor_start_if_due(struct supervisor *s, struct child *child, int64_t now);
/* Collects it if it has ended, and decides what becomes of its place. */
void supervisor_reap(struct supervisor *s, struct child *child);

/* supervisor_line.c */
/* The process that is about to start goes on with its worker's line, or begins one: what it gets of
 * that is put into s->env. ERR_IO with errno. */
enum err line_join(struct supervisor *s, const struct child *child);
/* A worker's process has ended so: may another one go on with its line? */
bool line_goes_on(struct supervisor *s, const struct child *worker, int status);
/* The next process of this worker begins anew; its spare, which waits for the old one's, goes. */
void line_end(struct supervisor *s, const struct child *worker);
void line_is_ready(struct supervisor *s, const struct child *worker);
/* The spare of a worker is there, so nobody else is started in its place. */
bool line_has_spare(struct supervisor *s, const struct child *worker);
/* Where a spare has written itself in its worker's row, it is the worker from now on: once the old
 * process was collected. */
void line_adopt(struct supervisor *s, struct child *worker);
/* It is to be collected as the worker that it has become. */
bool line_was_taken_by(struct supervisor *s, const struct child *spare);
/* One a ready worker: starts what is missing, ends what does not do its work. */
void line_keep_spare(struct supervisor *s, struct child *spare, int64_t now);
void line_kill_spares(struct supervisor *s);

/* supervisor_operation.c */
/* ERR_PHASE: the node is starting or stopping; ERR_BUSY: another one is under way. */
enum err operation_begin(struct supervisor *s, enum process_operation_kind kind);
__attribute__((format(printf, 2, 3))) void operation_step(
	struct supervisor *s, const char *format, ...);
__attribute__((format(printf, 2, 3))) void operation_done(
	struct supervisor *s, const char *format, ...);
__attribute__((format(printf, 2, 3))) void operation_failed(
	struct supervisor *s, const char *format, ...);
void operation_look(struct supervisor *s, int64_t now);

/* supervisor_scale.c */
/* ERR_FORMAT: not from 1 to PROCESS_WORKERS_MAX. */
enum err scale_begin(struct supervisor *s, uint32_t workers, uint32_t wait_s);

/* supervisor_upgrade.c */
/* ERR_FORMAT: not an absolute path. "" = the program that this one was started from. */
enum err upgrade_begin(struct supervisor *s, const char *path);
/* In the new program: goes on with what the old one began. */
void upgrade_resume(struct supervisor *s, int64_t began_us, const char *from);

/* supervisor_state.c */
/* A sealed memfd that holds all of it (close-on-exec); -1 with errno. */
int state_save(struct supervisor *s);
/* What is named there, and the memfd itself: another program is to have it after exec, or not after all. */
enum err state_keep_open(int fd, bool open);
/* The supervisor as it was. ERR_FORMAT, ERR_VERSION, ERR_IO. */
enum err state_load(struct supervisor *s, int fd);

/* supervisor_setup.c */
/* Goes on with what the program before has left in this memfd. */
enum status supervisor_resume(struct supervisor *s, int state);
/* The pair over which a worker and its holder speak. */
bool supervisor_open_holder(struct supervisor *s, uint32_t worker);
enum status supervisor_set_up(struct supervisor *s);
void supervisor_tear_down(struct supervisor *s);

#endif

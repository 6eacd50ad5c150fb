/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of a signal_channel: signal_actor.c (the line, patch and stop, life), signal_open.c (opening
 * sessions).
 */
#ifndef MILLRACE_SIGNAL_INTERNAL_H
#define MILLRACE_SIGNAL_INTERNAL_H

#include "actors/http/signal_line.h"
#include "runtime/actor.h"
#include "runtime/arena.h"
#include "schemas/net_addr.h"

enum signal_task_kind { TASK_PLACE, TASK_CREATE, TASK_PATCH, TASK_STOP, TASK_KINDS };

/* ARENA_BUFFER */
struct signal_slot {
	struct signal_kept kept;
	struct {
		uint32_t size;
		uint8_t bytes[SIGNAL_FRAME_MAX];
	} offers[SIGNAL_TASKS_MAX]; /* the message of a task that waits for its place */
};

_Static_assert(sizeof(struct signal_slot) <= ARENA_BUFFER_SIZE, "the slot fits");

struct signal_channel {
	struct signal_channel_state st; /* first: the schema'd state */
	struct net_addr peer;
	/* of this process */
	int64_t warned_us; /* when the client heard last that it is to go */
	int64_t named_us;  /* … and of other nodes … */
	uint64_t named;	   /* … these: http_alternatives_mark() */
};

/* signal_actor.c */
/* NULL: nothing is kept; there is none left. */
struct signal_slot *signal_slot_of(struct actor *self, const struct signal_channel *s);
struct signal_slot *signal_need_slot(struct actor *self, struct signal_channel *s);
void signal_release_if_empty(struct actor *self, struct signal_channel *s);
void signal_say_mail(struct actor *self, struct signal_channel *s, uint64_t answers, uint16_t type,
	const struct schema *schema, const void *body);
/* `code` NULL: by status. `retry_ms` 0: where that is usual. */
void signal_refuse(struct actor *self, struct signal_channel *s, uint64_t answers, int status,
	const char *code, const char *text, uint32_t retry_ms);
void signal_refuse_err(struct actor *self, struct signal_channel *s, uint64_t answers, enum err err,
	const char *text, uint32_t retry_ms);
/* NULL: too many at once. */
struct signal_task *signal_new_task(struct signal_channel *s, uint64_t seq, uint8_t kind);
void signal_end_task(struct actor *self, struct signal_channel *s, struct signal_task *task);

/* signal_open.c */
bool signal_node_takes_sessions(struct actor *self);
void signal_take_open(struct actor *self, struct signal_channel *s,
	const struct signal_message *message, const struct slice *bytes);
void signal_placed(struct actor *self, struct signal_channel *s, struct signal_task *task,
	const struct msg_placed *placed);
/* Its place is found: a worker of this node. */
void signal_create_session(
	struct actor *self, struct signal_channel *s, struct signal_task *task, uint32_t process);
/* What the client may come back with: a publisher's own, or a permit. */
void signal_resume_of(struct actor *self, const struct signal_task *task,
	const struct msg_session_created *created, char resume[PERMIT_TEXT_MAX + 1]);

#endif

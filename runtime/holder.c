/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/holder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct held {
	struct holder_entry entry;
	int fd;	       /* -1 = the place is free */
	uint32_t next; /* free: 1 + place of the next one, 0 = the last */
};

enum { MESSAGES_A_RUN = 64 }; /* then it beats and looks at its orders */

enum err holder_init(struct holder *holder, int fd, struct log *log)
{
	*holder = (struct holder){.fd = fd, .log = log};
	holder->held = calloc(HOLDER_HELD_MAX, sizeof(*holder->held));
	return holder->held ? ERR_OK : ERR_NO_MEMORY;
}

void holder_fini(struct holder *holder)
{
	for (uint32_t i = 0; i < holder->fresh; i++)
		if (holder->held[i].fd >= 0)
			close(holder->held[i].fd);
	free(holder->held);
	idmap_fini(&holder->by_id);
}

static struct held *new_place(struct holder *holder)
{
	struct held *held = NULL;

	if (holder->free) {
		held = &holder->held[holder->free - 1];
		holder->free = held->next;
	} else if (holder->fresh < HOLDER_HELD_MAX) {
		held = &holder->held[holder->fresh++];
	}
	return held;
}

static void free_place(struct holder *holder, struct held *held)
{
	held->fd = -1;
	held->next = holder->free;
	holder->free = (uint32_t)(held - holder->held) + 1;
}

/* False: there is no room. */
static bool hold(struct holder *holder, const struct holder_entry *entry, int fd)
{
	struct held *held = idmap_get(&holder->by_id, entry->id);

	if (held) { /* handed over again: to a new holder, or with a new owner */
		close(held->fd);
		*held = (struct held){.entry = *entry, .fd = fd};
		return true;
	}
	held = new_place(holder);
	if (!held)
		return false;
	if (idmap_put(&holder->by_id, entry->id, held)) {
		free_place(holder, held);
		return false;
	}
	*held = (struct held){.entry = *entry, .fd = fd};
	return true;
}

static void hold_all(struct holder *holder, const struct holder_message *message, const int *fds)
{
	uint32_t refused = 0;

	for (uint32_t i = 0; i < message->count; i++) {
		if (fds[i] >= 0 && hold(holder, &message->entries[i], fds[i]))
			continue;
		if (fds[i] >= 0)
			close(fds[i]);
		refused++;
	}
	if (!refused)
		return;
	holder->refused += refused;
	log_warn(holder->log, "connections_not_held", "count", refused, "held", holder_held(holder),
		"limit", HOLDER_HELD_MAX, "remedy", "raise RLIMIT_NOFILE, or add workers");
}

static void release_all(struct holder *holder, const struct holder_message *message)
{
	for (uint32_t i = 0; i < message->count; i++) {
		struct held *held = idmap_remove(&holder->by_id, message->entries[i].id);

		if (held) {
			close(held->fd);
			free_place(holder, held);
		}
	}
}

static void obey(struct holder *holder, const struct holder_message *message, const int *fds)
{
	switch ((enum holder_op)message->op) {
	case HOLDER_HOLD: hold_all(holder, message, fds); break;
	case HOLDER_RELEASE: release_all(holder, message); break;
	case HOLDER_LIST:
		/* whoever asked before is dead: it is one worker after the other */
		holder->listing_for = message->session;
		holder->listed = 0;
		break;
	default:
		log_warn(holder->log, "holder_message_refused", "op", message->op);
		holder_drop(fds);
		break;
	}
}

/* The next part of the list; the place up to which it reaches in *to. */
static void gather(
	const struct holder *holder, struct holder_message *message, int *fds, uint32_t *to)
{
	uint32_t at = holder->listed;

	for (; at < holder->fresh && message->count < HOLDER_BATCH; at++) {
		const struct held *held = &holder->held[at];

		if (held->fd < 0 || held->entry.id >> 32 == holder->listing_for)
			continue;
		fds[message->count] = held->fd;
		message->entries[message->count++] = held->entry;
	}
	*to = at;
}

/* False: the worker must take something first. */
static bool send_due(struct holder *holder)
{
	struct holder_message message = {.op = HOLDER_HERE};
	int fds[HOLDER_BATCH];
	uint32_t to;

	if (!holder->announced && holder_send(holder->fd, &message, NULL))
		return false;
	holder->announced = true;
	while (holder->listing_for) {
		message =
			(struct holder_message){.op = HOLDER_HELD, .session = holder->listing_for};
		gather(holder, &message, fds, &to);
		if (!message.count)
			message.op = HOLDER_END;
		if (holder_send(holder->fd, &message, message.count ? fds : NULL))
			return false;
		holder->listed = to;
		if (message.op == HOLDER_END)
			holder->listing_for = 0;
	}
	return true;
}

bool holder_run(struct holder *holder)
{
	struct holder_message message;
	int fds[HOLDER_BATCH];
	uint32_t lost;

	for (int i = 0; i < MESSAGES_A_RUN; i++) {
		enum err err = holder_receive(holder->fd, &message, fds, &lost);

		if (err == ERR_AGAIN)
			break;
		if (err)
			log_warn(holder->log, "holder_message_malformed", "op", message.op);
		else
			obey(holder, &message, fds);
	}
	return !send_due(holder);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's side of its holder: what is accepted is handed over, what is closed released, and
 * what a dead predecessor left is asked for at the start.
 *
 *   accepted --LIVE_YOUNG_US--> waits --sent--> held --closed--> released
 *       '--closed--> (nothing)    ^---- new owner, new holder ----'
 *
 * A successor adopts a connection under its old number when its owner has claimed it here.
 * It shuts down the others: their clients connect anew.
 */
#include "runtime/holder.h"
#include "runtime/live_internal.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGES_A_TURN = 16,
	RETRY_US = 5000, /* after the holder took nothing */
	/* without a word of the list; then newcomers are served, whether or not a holder is there */
	LIST_WAIT_US = 200000,
};

_Static_assert((int)HOLDER_HELD_MAX >= (int)LIVE_SOCKETS_MAX, "a holder keeps all of a worker");

static int fd_of(const struct live *live)
{
	return live->env ? live->env->fd.holder : -1;
}

/* False: the holder takes nothing now. */
static bool send_to_holder(
	struct live *live, struct holder_message *message, const int *fds, int64_t now_us)
{
	message->session = live->env->incarnation;
	if (!holder_send(fd_of(live), message, fds))
		return true;
	live->holder.waits++;
	live->holder.retry_us = now_us + RETRY_US;
	return false;
}

static void ask_for_list(struct live *live, int64_t now_us)
{
	live->holder.asked =
		send_to_holder(live, &(struct holder_message){.op = HOLDER_LIST}, NULL, now_us);
}

enum err live_holder_open(struct live *live)
{
	struct live_holder *h = &live->holder;

	TAILQ_INIT(&h->queue);
	if (fd_of(live) < 0) {
		h->listed = true;
		return live_watch(live, live->listeners, LIVE_TAG_LISTENERS);
	}
	h->released = calloc(HOLDER_HELD_MAX, sizeof(*h->released));
	if (!h->released)
		return ERR_NO_MEMORY;
	ask_for_list(live, live_now_us()); /* it answers while we restore */
	return live_watch(live, fd_of(live), LIVE_TAG_HOLDER);
}

bool live_holder_claim(void *context, uint64_t owner, uint32_t number)
{
	struct live *live = context;

	if (live->holder.listed || !number || number >= LIVE_SOCKETS_MAX ||
		live_socket(live, number))
		return false;
	live->sockets[number].claimed = true;
	live->sockets[number].owner = owner;
	return true;
}

/* What is not here by now does not come. */
static void tell_those_who_wait(struct live *live)
{
	for (uint32_t number = 1; number < LIVE_SOCKETS_MAX; number++) {
		struct live_socket *socket = &live->sockets[number];

		if (!socket->claimed || socket->kind != LIVE_FREE)
			continue;
		socket->claimed = false;
		runtime_net_tcp(live->rt, socket->owner, number, NET_CLOSED);
	}
}

/* Newcomers get numbers only now, when those of adopted connections are taken. */
static void list_is_complete(struct live *live)
{
	if (live->holder.listed)
		return;
	live->holder.listed = true;
	if (live_watch(live, live->listeners, LIVE_TAG_LISTENERS))
		log_error(&live->log, "listeners_not_watched");
	tell_those_who_wait(live);
	if (live->holder.unclaimed)
		log_info(&live->log, "predecessor_connections_closed", "count",
			live->holder.unclaimed);
}

/* ---- to the holder --------------------------------------------------------------------------- */

void live_holder_keep(struct live *live, uint32_t number, enum net_given listener)
{
	struct live_holder *h = &live->holder;
	struct live_socket *socket = live_socket(live, number);

	if (fd_of(live) < 0)
		return;
	/* after 4 billion connections the first ones' ids come again; those are long gone */
	h->serial += h->serial == UINT32_MAX ? 2 : 1;
	socket->held_as = (uint64_t)live->env->incarnation << 32 | h->serial;
	socket->listener = (uint8_t)listener;
	socket->young_until_us = live_now_us() + LIVE_YOUNG_US;
	socket->waits = true;
	TAILQ_INSERT_TAIL(&h->queue, socket, queue);
}

/* At once, before those that are still young. */
static void send_again(struct live *live, struct live_socket *socket)
{
	if (socket->waits)
		return;
	socket->young_until_us = 0;
	socket->waits = true;
	TAILQ_INSERT_HEAD(&live->holder.queue, socket, queue);
}

void live_holder_changed(struct live *live, struct live_socket *socket)
{
	if (socket->held)
		send_again(live, socket);
}

static void queue_release(struct live_holder *h, uint64_t id)
{
	MUST(h->released_count < HOLDER_HELD_MAX);
	h->released[(h->released_first + h->released_count++) % HOLDER_HELD_MAX] = id;
}

void live_holder_release(struct live *live, struct live_socket *socket)
{
	struct live_holder *h = &live->holder;

	if (socket->waits)
		TAILQ_REMOVE(&h->queue, socket, queue);
	/* also one that waits to be sent again: it may have it */
	if (socket->held) {
		h->held--;
		queue_release(h, socket->held_as);
	}
	socket->waits = socket->held = false;
}

static bool send_released(struct live *live, int64_t now_us)
{
	struct live_holder *h = &live->holder;

	while (h->released_count) {
		struct holder_message message = {.op = HOLDER_RELEASE};

		while (message.count < HOLDER_BATCH && message.count < h->released_count) {
			uint32_t at = (h->released_first + message.count) % HOLDER_HELD_MAX;

			message.entries[message.count++].id = h->released[at];
		}
		if (!send_to_holder(live, &message, NULL, now_us))
			return false;
		h->released_first = (h->released_first + message.count) % HOLDER_HELD_MAX;
		h->released_count -= message.count;
	}
	return true;
}

/* One message of those that are old enough; their number, 0 = none or not taken. */
static uint32_t send_grown(struct live *live, int64_t now_us)
{
	struct live_holder *h = &live->holder;
	struct holder_message message = {.op = HOLDER_HOLD};
	struct live_socket *socket;
	uint32_t added = 0;
	int fds[HOLDER_BATCH];

	TAILQ_FOREACH(socket, &h->queue, queue)
	{
		if (message.count == HOLDER_BATCH || socket->young_until_us > now_us ||
			(!socket->held && h->held + added == HOLDER_HELD_MAX))
			break;
		added += !socket->held;
		fds[message.count] = socket->fd;
		message.entries[message.count++] = (struct holder_entry){
			.id = socket->held_as,
			.owner = socket->owner,
			.number = (uint32_t)(socket - live->sockets),
			.listener = socket->listener,
		};
	}
	if (!message.count || !send_to_holder(live, &message, fds, now_us))
		return 0;
	for (uint32_t i = 0; i < message.count; i++) {
		socket = TAILQ_FIRST(&h->queue);
		TAILQ_REMOVE(&h->queue, socket, queue);
		socket->waits = false;
		socket->held = true;
	}
	h->held += added;
	return message.count;
}

/* Only a process that has looked may call the holder silent: while it restored, or stood still, the
 * list came and lies there unread. */
static void wait_for_list(struct live *live, int64_t now_us)
{
	struct live_holder *h = &live->holder;

	if (h->listed_by_us && now_us < h->listed_by_us)
		return;
	live_holder_receive(live);
	if (!h->listed_by_us) /* the first look */
		h->listed_by_us = now_us + LIST_WAIT_US;
	if (h->listed || now_us < h->listed_by_us)
		return;
	log_warn(&live->log, "holder_silent", "after_ms", LIST_WAIT_US / 1000);
	list_is_complete(live);
}

void live_holder_flush(struct live *live, int64_t now_us)
{
	struct live_holder *h = &live->holder;

	if (fd_of(live) < 0)
		return;
	if (!h->listed)
		wait_for_list(live, now_us);
	if (now_us < h->retry_us)
		return;
	if (!h->asked)
		ask_for_list(live, now_us);
	/* first these: no more than HOLDER_HELD_MAX can ever wait for being released */
	if (!h->asked || !send_released(live, now_us))
		return;
	for (int i = 0; i < MESSAGES_A_TURN && send_grown(live, now_us) == HOLDER_BATCH; i++)
		;
}

void live_holder_close(struct live *live)
{
	/* what does not leave now the successor finds in its list */
	if (fd_of(live) >= 0 && live->holder.released)
		send_released(live, live_now_us());
	free(live->holder.released);
	live->holder.released = NULL;
}

/* ---- from the holder ------------------------------------------------------------------------- */

/* A new one has nothing. */
static void hand_over_all(struct live *live)
{
	for (uint32_t i = 1; i < live->socket_fresh; i++) {
		struct live_socket *socket = live_socket(live, i);

		if (socket && socket->held)
			send_again(live, socket);
	}
}

static void adopt(struct live *live, const struct holder_entry *entry, int fd)
{
	struct live_holder *h = &live->holder;
	bool claimed = entry->number < LIVE_SOCKETS_MAX && live->sockets[entry->number].claimed &&
		       live->sockets[entry->number].owner == entry->owner;

	/* that its owner lives is not enough: an office always does, and may know nothing of it */
	if (claimed && h->held + h->released_count < HOLDER_HELD_MAX &&
		runtime_find(live->rt, entry->owner) && fd >= 0 &&
		live_add_socket_at(live, entry->number, fd, LIVE_CONNECTION, entry->owner)) {
		struct live_socket *socket = live_socket(live, entry->number);

		socket->held_as = entry->id;
		socket->listener = (uint8_t)entry->listener;
		socket->held = true;
		h->held++;
		runtime_net_tcp(live->rt, entry->owner, entry->number, NET_BACK);
		return;
	}
	h->unclaimed++;
	if (fd >= 0) {
		shutdown(fd, SHUT_RDWR);
		close(fd);
	}
	/* beyond the ring the holder keeps it, shut down, until the next list */
	if (h->released_count < HOLDER_HELD_MAX)
		queue_release(h, entry->id);
}

static void take_held(
	struct live *live, const struct holder_message *message, const int *fds, uint32_t lost)
{
	bool ours = message->session == live->env->incarnation;

	if (lost) {
		live->accepts_failed += lost;
		log_warn(&live->log, "held_connections_lost", "count", lost, "reason",
			"no descriptor is free");
	}
	if (ours)
		live->holder.listed_by_us = live_now_us() + LIST_WAIT_US;
	else
		holder_drop(fds); /* the predecessor had asked; so did we */
	for (uint32_t i = 0; ours && i < message->count; i++)
		adopt(live, &message->entries[i], fds[i]);
}

static void obey(
	struct live *live, const struct holder_message *message, const int *fds, uint32_t lost)
{
	switch ((enum holder_op)message->op) {
	case HOLDER_HERE: hand_over_all(live); break;
	case HOLDER_HELD: take_held(live, message, fds, lost); break;
	case HOLDER_END:
		if (message->session == live->env->incarnation)
			list_is_complete(live);
		break;
	default:
		log_warn(&live->log, "holder_message_refused", "op", message->op);
		holder_drop(fds);
		break;
	}
}

void live_holder_receive(struct live *live)
{
	struct holder_message message;
	int fds[HOLDER_BATCH];
	uint32_t lost;

	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		enum err err = holder_receive(fd_of(live), &message, fds, &lost);

		if (err == ERR_AGAIN)
			return;
		if (err)
			log_warn(&live->log, "holder_message_malformed", "op", message.op);
		else
			obey(live, &message, fds, lost);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The holder of a worker: a process that keeps a duplicate of each TCP connection that the worker
 * has accepted, so that a connection outlives its worker. It never reads from a connection, never
 * writes to one, and knows nothing of what flows there.
 *
 *   worker --hold, release, list--> holder --here I am, held, end of list--> worker
 *
 * They talk over a SOCK_SEQPACKET pair whose both ends the supervisor keeps: either side may die
 * and come back, and what was on its way still arrives. One message names up to HOLDER_BATCH
 * connections; hold and held carry their descriptors (SCM_RIGHTS) in the same order.
 *
 * hold: keep this, or keep it under what it is called now; release: close yours; list: send all
 * that others than `session` gave you, then an end. A holder that starts says "here I am": it has
 * nothing, whoever has connections hands them over again.
 *
 * Thread: one. Nothing blocks.
 */
#ifndef MILLRACE_HOLDER_H
#define MILLRACE_HOLDER_H

#include "runtime/idmap.h"
#include "runtime/log.h"

#include <stdbool.h>

enum {
	HOLDER_HELD_MAX = 16384, /* as many as a worker has sockets, under NOFILE's 20,000 */
	HOLDER_BATCH = 32,	 /* connections a message; the kernel takes 253 descriptors */
};

enum holder_op {
	HOLDER_HOLD = 1, /* worker, with descriptors */
	HOLDER_RELEASE,	 /* worker; only ids count */
	HOLDER_LIST,	 /* worker; no entries */
	HOLDER_HERE,	 /* holder; no entries */
	HOLDER_HELD,	 /* holder, with descriptors */
	HOLDER_END,	 /* holder; no entries */
};

/* One accepted connection. */
struct holder_entry {
	uint64_t id;	   /* incarnation of the worker that accepted it << 32 | serial; never 0 */
	uint64_t owner;	   /* actor id */
	uint32_t number;   /* of the socket, as the owner knows it (runtime/net.h) */
	uint32_t listener; /* enum net_given: where it came in */
};

struct holder_message {
	uint32_t op; /* enum holder_op */
	uint32_t count;
	uint32_t session; /* incarnation of the worker that sends, or whose list this answers */
	uint32_t reserved;
	struct holder_entry entries[HOLDER_BATCH]; /* `count` of them are sent */
};

/* Sends one message; fds: `count` descriptors, borrowed, or NULL. ERR_AGAIN: the other side has not
 * taken what it was sent before, or the kernel has no room; nothing was sent. */
enum err holder_send(int fd, const struct holder_message *message, const int *fds);

/* Takes one message. Descriptors are the caller's, close-on-exec; fds[HOLDER_BATCH] is filled up
 * with -1, and *lost counts entries whose descriptor did not fit into this process.
 * ERR_AGAIN: there is none. ERR_FORMAT: it was malformed, what came with it is closed. */
enum err holder_receive(int fd, struct holder_message *message, int *fds, uint32_t *lost);

/* Closes what came with a message that nobody wants. */
void holder_drop(const int *fds);

struct holder {
	int fd; /* borrowed */
	struct log *log;
	struct held *held;    /* HOLDER_HELD_MAX places */
	struct idmap by_id;   /* -> struct held */
	uint32_t free;	      /* 1 + place, 0 = none of those that were used before */
	uint32_t fresh;	      /* places from here on were never used */
	uint32_t listing_for; /* session whose list is under way, 0 = none */
	uint32_t listed;      /* places that have been looked at for it */
	bool announced;
	uint64_t refused; /* connections that could not be kept */
};

/* ERR_NO_MEMORY leaves nothing behind. */
enum err holder_init(struct holder *holder, int fd, struct log *log);
/* Closes everything that is held. */
void holder_fini(struct holder *holder);

/* Takes what has come and sends what is due. True: it wants to be called when fd is writable too. */
bool holder_run(struct holder *holder);

static inline uint32_t holder_held(const struct holder *holder)
{
	return (uint32_t)holder->by_id.count;
}

#endif

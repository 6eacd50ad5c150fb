/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the link office (link_office.c) and its links (link_actor.c, link_view.c).
 */
#ifndef MILLRACE_LINK_INTERNAL_H
#define MILLRACE_LINK_INTERNAL_H

#include "actors/link/link_actor.h"
#include "actors/link/link_engine.h"
#include "runtime/net.h"

enum {
	LINKS_MAX = 256, /* of a worker */
	LINK_OPEN_MS = 3000,
	LINK_KEY_BYTES = LINK_KEY_SIZE + LINK_SALT_SIZE,
	LINK_ADDRESSES_SIZE = 192, /* as in link_open */
};

struct media_link {
	struct media_link_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	uint32_t socket;
	struct net_addr remotes[LINK_PATHS_MAX];
	unsigned path_count;
	struct link_hot *hot;
	struct link_engine *engine; /* when it is open */
	struct link_out *out;
	int64_t due_us;
	uint64_t rekey_request; /* 0 = none is under way */
	struct link_key next_key;
	bool tried_first; /* opening: its own index was not there, now that of the first worker */
	uint64_t seen_in, seen_out; /* packets, when it was looked at last: is it used? */
	uint64_t bytes_seen[LINK_PATHS_MAX];
};

struct link_args {
	uint64_t node;
	const struct msg_link_open *open; /* the other end opens; NULL = we do */
	struct asker asker;		  /* who waits for link_opened */
};

/* What a worker's links share. */
struct link_facts {
	uint32_t socket;
	uint16_t port;
	char addresses[LINK_ADDRESSES_SIZE]; /* of this node, commas between */
	unsigned address_count;
};

struct link_input {
	const struct datagram *datagrams;
	size_t count;
};

/* link_actor.c: called by the office on a link */
void link_take_datagrams(struct actor *self, void *data, void *input);
void link_note_need(struct actor *self, void *data, void *unused);

/* link_office.c: called by a link, of its office */
/* A new session, or (not 0) the one that it had; packets for `node` come to it unless another link has
 * them. `session` NULL: only what all share. NULL: no room, or no office. */
const struct link_facts *link_office_join(struct actor *link, uint64_t node, uint32_t *session);

/* link_view.c */
/* Refreshes what people, placement and brain see, once a second. */
void link_view_refresh(struct actor *self, struct media_link *s);
void link_view_report(struct actor *self, const struct media_link *s, bool closed);

#endif

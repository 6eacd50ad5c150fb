/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the link office (link_office.c) and its links (link_actor.c, link_hold.c, link_hop.c, link_ways.c,
 * link_via.c, link_view.c).
 */
#ifndef MILLRACE_LINK_INTERNAL_H
#define MILLRACE_LINK_INTERNAL_H

#include "actors/link/link_actor.h"
#include "actors/link/link_engine.h"
#include "runtime/idmap.h"
#include "runtime/narrow.h"
#include "runtime/net.h"

enum {
	LINKS_MAX = 256, /* of a worker */
	LINK_OPEN_MS = 3000,
	LINK_KEY_BYTES = LINK_KEY_SIZE + LINK_SALT_SIZE,
	LINK_ADDRESSES_SIZE = 192, /* as in link_open */
	LINK_ADDRESSES_MAX = 4,	   /* of a node */
	LINK_DIRECT_MAX = 4,	   /* paths from address to address */
	LINK_HELD_MAX = 4096, /* packets, until the other end is there: a GOP of 10 s at 4 Mbit/s */
	LINK_AWAIT_US = 1000000, /* who was opened waits for the opener's first datagram so long */
};

struct link_held_packet {
	struct slot_ref packet;
	uint64_t to, from;
};

struct link_held {
	struct link_held_packet *packets; /* LINK_HELD_MAX; NULL = none */
	uint32_t count;
};

struct media_link {
	struct media_link_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	const struct link_facts *facts; /* the office's */
	struct net_addr remotes[LINK_PATHS_MAX];
	struct net_addr locals[LINK_PATHS_MAX]; /* family 0: as the routing table says */
	unsigned path_count;
	struct link_hot *hot;
	struct link_engine *engine; /* when it is open */
	struct link_out *out;
	int64_t due_us;
	int64_t opening_us;	/* since when */
	uint64_t rekey_request; /* 0 = none is under way */
	struct link_key next_key;
	bool for_media;	  /* opening: media waits for it */
	bool tried_first; /* opening: its own index was not there, now that of the first worker */
	bool ready;	  /* the other end takes datagrams */
	bool peer_lost;	  /* the mesh says so; its datagrams say more */
	struct link_held held;
	uint64_t seen_in, seen_out; /* packets, when it was looked at last: is it used? */
	int64_t needed_us;	    /* when it began, or somebody said that media will come */
	int64_t media_us;	    /* when packets went one way or the other; 0 = never */
	uint64_t bytes_seen[LINK_PATHS_MAX];
	struct link_narrow {
		struct narrow way;
		uint32_t expected, received; /* as last told, when it was looked at */
	} narrow[LINK_PATHS_MAX];
	uint32_t repaired, given_up; /* packets, in the last second */
	int64_t arrival_us;	     /* of the datagram that is being taken */
	int64_t hop_us; /* arrival of one that is about to leave (link_hop.c); 0 = none is watched */
	uint64_t via_request; /* to routes, or to the relay (link_via.c) */
	int64_t via_next_us;
	uint8_t said[LINK_PATHS_MAX]; /* enum link_path_state that routes knows of */
};

struct link_args {
	uint64_t node;
	const struct msg_link_open *open; /* the other end opens; NULL = we do */
	bool media;			  /* we do, for media */
	struct asker asker;		  /* who waits for link_opened */
};

/* A packet of another node that is watched on its way through this worker. */
struct link_hop {
	struct slot_ref packet;
	int64_t arrival_us; /* 0 = none */
	uint32_t count;
};

/* What a worker's links share. */
struct link_facts {
	uint32_t socket;
	uint16_t port;
	char addresses[LINK_ADDRESSES_SIZE]; /* of this node, commas between */
	unsigned address_count;
	struct net_addr locals[LINK_ADDRESSES_MAX]; /* behind these; family 0: none that is known */
	struct idmap terms; /* by actor: link_terms_word(), where they are not the node's */
	struct link_hop *hop;
};

struct link_input {
	const struct datagram *datagrams;
	size_t count;
};

/* Packets of one actor for another. */
struct link_output {
	struct addr to, from;
	const struct slot_ref *packets;
	size_t count;
};

/* At that part of a second a node looks after its links, of all its workers; others do so at other times. */
static inline int64_t link_phase_us(const struct actor *self)
{
	return (int64_t)(actor_addr(self).node % LINK_PROBE_REST_US);
}

static inline int64_t link_second_us(const struct actor *self)
{
	return link_next_second_us(actor_now_us(self), link_phase_us(self));
}

/* link_actor.c: called by the office on a link */
void link_take_datagrams(struct actor *self, void *data, void *input);
void link_take_packets(struct actor *self, void *data, void *output);
/* A bool: for media; else it is to be measured. */
void link_note_need(struct actor *self, void *data, void *media);
/* An int64_t: when it last had media, or was to have some, or began. */
void link_idle_since(struct actor *self, void *data, void *since_us);
/* It ends, at both ends, for one that has media. */
void link_give_way(struct actor *self, void *data, void *unused);

static inline void *link_terms_word(const struct link_sender *sender)
{
	return (void *)((uintptr_t)sender->recover_ms << 8 | (1u + sender->mode));
}

/* link_hold.c */
struct link_terms link_terms_of(const struct media_link *s, uint64_t from);
/* False: there is no room. */
bool link_hold_put(struct actor *self, struct media_link *s, uint64_t to, uint64_t from,
	struct slot_ref packet);
/* They are sent, or (not `send`) given up. */
void link_hold_end(struct actor *self, struct media_link *s, bool send);

/* link_hop.c */
void link_hop_came(const struct media_link *s, struct slot_ref packet);
void link_hop_leaves(struct media_link *s, const struct slot_ref *packets, size_t count);
/* All that was to leave has been sent. */
void link_hop_left(struct actor *self, struct media_link *s);

/* link_office.c: called by a link, of its office */
/* A new session, or (not 0) the one that it had; packets for `node` come to it unless another link has
 * them. `session` NULL: only what all share. NULL: no room, or no office. */
const struct link_facts *link_office_join(struct actor *link, uint64_t node, uint32_t *session);

/* link_view.c */
/* Refreshes what people, placement and brain see, once a second. */
void link_view_refresh(struct actor *self, struct media_link *s);
void link_view_report(struct actor *self, const struct media_link *s, bool closed);
/* Thousandths of what is sent that the path in use carries; UINT32_MAX: it was not too much of late. */
uint32_t link_view_carries(const struct media_link *s);
/* One path is no more. */
void link_view_close_path(struct actor *self, const struct media_link *s, unsigned path);

/* link_ways.c */
/* Paths to those addresses (commas between). False: they make no sense. */
bool link_ways_take(struct media_link *s, const char *addresses, uint16_t port);
/* As the state says. */
bool link_ways_restore(struct media_link *s);
/* Into the engine. */
void link_ways_begin(struct actor *self, struct media_link *s);
/* How many are direct; the one through a relay follows. */
unsigned link_ways_direct(const struct media_link *s);
void link_ways_add_relayed(
	struct actor *self, struct media_link *s, uint64_t relay, const struct net_addr *remote);
void link_ways_remove_relayed(struct actor *self, struct media_link *s);

/* link_via.c */
void link_via_tend(struct actor *self, struct media_link *s); /* once a second */
void link_via_found(struct actor *self, struct media_link *s, uint64_t relay, uint64_t request);
enum err link_via_relayed(struct actor *self, struct media_link *s,
	const struct msg_link_relayed *m, uint64_t request);
bool link_via_failed(struct actor *self, struct media_link *s, uint64_t request);
enum err link_via_go(struct actor *self, struct media_link *s, const struct msg_link_go_via *m);
/* Routes hears at once of a path whose state has changed. */
void link_view_watch(struct actor *self, struct media_link *s);

#endif

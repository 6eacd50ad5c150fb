/* SPDX-License-Identifier: Apache-2.0
 *
 * Relaying, the part that only thinks: the foreign streams of a node by name, from whom each is copied,
 * who pulls them from here, and which way is tried next (docs/decisions/023). Time is an argument; mail
 * is the actor's (relay_actor.c).
 *
 * A path is a list of nodes, that of the source first, that of the origin last; the own node is none of
 * them. Whoever takes a path looks for itself in it, so that copies never go round in a circle for longer
 * than news of it takes.
 *
 * Thread: any one. Allocates when it is created, nothing later but room in its maps.
 */
#ifndef MILLRACE_RELAY_H
#define MILLRACE_RELAY_H

#include "cluster/key_index.h"
#include "runtime/actor.h"
#include "runtime/idmap.h"
#include "schemas/schema.h"

enum {
	RELAY_STREAMS_MAX = 4096,
	RELAY_DOWNSTREAM_MAX = 16384, /* nodes that pull, of all streams together */
	RELAY_AVOIDED_MAX = 4,	      /* nodes of a stream; the one whose time is over first goes */
	RELAY_AVOID_MS = 5000,	      /* a node that has failed is not asked for so long */
	RELAY_BETTER_MS = 5000,	      /* a way has to be better for so long before it is taken */
	RELAY_PULLS_MAX = 2,	      /* nodes asked in one search: an asker waits for it */
};

struct relay_avoided {
	uint64_t node;
	int64_t until_us;
};

struct relay_path {
	uint16_t count;
	struct relay_hop hops[RELAY_PATH_MAX];
};

/* A node that pulls a stream from here, or (asker) waits to. */
struct relay_downstream {
	uint64_t node;
	struct asker asker;
	uint32_t next; /* place + 1; 0 = the last */
};

/* Who wants to know what a search finds. */
enum relay_want {
	RELAY_WANT_SOURCE, /* the entry has none, or loses it */
	RELAY_WANT_BETTER, /* it has one that is well */
};

struct relay_stream {
	struct relay_row row;  /* first: its name is the key */
	uint64_t source_epoch; /* of the owner when this source was taken */
	struct relay_avoided avoided[RELAY_AVOIDED_MAX];
	int64_t better_since_us; /* another way has been the first; 0 = it has not */
	uint32_t downstream;	 /* list: place + 1 */
	bool is_hinted;		 /* who pulled first has said how to go on: … */
	uint64_t hint;		 /* … over this node, 0 = straight to the origin */
	bool is_circle;		 /* what comes from the source has come through here */
	int64_t lost_at_us;	 /* its publisher, as who asked last has it; 0 = it is there */
	struct relay_path had;	 /* what it came by last; count 0 = the entry is new */

	/* the search under way */
	enum relay_want want;
	enum relay_why why;
	struct route_way ways[ROUTE_WAYS_MAX + 1];
	uint8_t ways_count, ways_tried, pulls;
	uint64_t pulling;	/* node that is asked */
	struct addr next;	/* source that the entry changes over to … */
	struct relay_path path; /* … and its path */

	/* the actor's: requests that are open, 0 = none */
	uint64_t request;      /* of the search */
	uint64_t host_request; /* to have a replica made */
	struct asker asker;    /* the entry waits for the search */
};

struct relay_table {
	struct relay_stream *streams; /* stay where they are */
	struct key_index index;
	uint16_t *order;
	uint16_t *free;
	uint32_t free_count;
	struct relay_downstream *downstream;
	uint32_t downstream_free, downstream_used; /* list: place + 1; places ever used */
	struct idmap entries;			   /* a stream by its entry's id */
	struct idmap requests;			   /* a stream by a request that is open */
	uint64_t own;				   /* this node */
};

/* NULL: no memory. */
struct relay_table *relay_create(uint64_t own);
void relay_destroy(struct relay_table **table);

struct relay_stream *relay_find(const struct relay_table *table, const char *name);
/* NULL: the table is full. MUST not be there. */
struct relay_stream *relay_add(
	struct relay_table *table, const char *name, struct addr owner, uint64_t epoch);
/* Its downstream, too. Requests and entry MUST be off. */
void relay_drop(struct relay_table *table, struct relay_stream *stream);
/* In order of names, behind `after`; NULL = no more. */
struct relay_stream *relay_behind(const struct relay_table *table, const char *after);
/* In any order, by place from 0; all streams are below relay_count and none is NULL. Dropping the one at
 * hand puts another in its place. */
uint32_t relay_count(const struct relay_table *table);
struct relay_stream *relay_at(const struct relay_table *table, uint32_t place);

/* False: no memory for it; there is no entry then. Nobody: none any more. */
bool relay_set_entry(struct relay_table *table, struct relay_stream *stream, struct addr entry);
struct relay_stream *relay_of_entry(const struct relay_table *table, struct addr entry);

/* An owner of a higher epoch is the owner from now on; what is copied is of the one before. */
void relay_note_owner(struct relay_stream *stream, struct addr owner, uint64_t epoch);
/* The entry has a source, and it is of the present owner's stream. */
bool relay_is_fed(const struct relay_stream *stream);
/* The source is another node's copy: that node knows that we pull. */
bool relay_is_relayed(const struct relay_stream *stream);

void relay_avoid(struct relay_stream *stream, uint64_t node, int64_t now_us);
bool relay_avoids(const struct relay_stream *stream, uint64_t node, int64_t now_us);
/* How long until a node may be asked again, ms; 0 = now. */
uint32_t relay_avoids_for_ms(const struct relay_stream *stream, uint64_t node, int64_t now_us);

/* ---- paths ------------------------------------------------------------------------------------ */

bool relay_path_has(const struct relay_hop *hops, uint16_t count, uint64_t node);
/* Is that a way from `source`'s node to the origin that does not lead over us? EXISTS: it does; FORMAT. */
enum err relay_check_path(const struct relay_table *table, struct addr source,
	const struct relay_hop *hops, uint16_t count);
/* The way from here to the origin, as others take it: we first; what is not settled yet as it is meant.
 * count 0: it is too long for anybody. */
struct relay_path relay_path_from_here(
	const struct relay_table *table, const struct relay_stream *stream);
/* Might what comes here have come through that node? */
bool relay_leads_over(const struct relay_stream *stream, uint64_t node);

/* ---- the next way ------------------------------------------------------------------------------ */

enum relay_try { RELAY_TRY_NONE, RELAY_TRY_PULL, RELAY_TRY_ORIGIN };

/* `ways` as routes knows them, in order; `first` (0 = none) is asked before them. */
void relay_search_begin(struct relay_stream *stream, enum relay_want want, uint64_t first,
	const struct route_way *ways, uint16_t count);
/* What to try next; PULL: `way` says where. NONE: a source that is well stays, or there is none. */
enum relay_try relay_search_next(const struct relay_table *table, struct relay_stream *stream,
	int64_t now_us, struct route_way *way);

enum relay_verdict { RELAY_STAYS, RELAY_BETTER, RELAY_LOST };

/* What a route says of the present source. BETTER: another way is first; LOST: an alarm says so. */
enum relay_verdict relay_judge(const struct relay_table *table, const struct relay_stream *stream,
	const struct msg_route *route, int64_t now_us);

/* Why relay_judge says LOST. */
enum relay_why relay_why_lost(const struct relay_stream *stream, const struct msg_route *route);

/* ---- who pulls from here ----------------------------------------------------------------------- */

/* The one that is there, or a new one; NULL: no room. */
struct relay_downstream *relay_downstream_put(
	struct relay_table *table, struct relay_stream *stream, uint64_t node);
void relay_downstream_remove(struct relay_table *table, struct relay_stream *stream, uint64_t node);
/* After `last`, NULL = the first; NULL = no more. */
struct relay_downstream *relay_downstream_next(const struct relay_table *table,
	const struct relay_stream *stream, const struct relay_downstream *last);

#endif

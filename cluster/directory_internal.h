/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the directory share: directory_actor.c (phases, life), directory_names.c (who owns
 * what), directory_claims.c (how a name is taken and kept), directory_waiters.c (who waits for one).
 */
#ifndef MILLRACE_DIRECTORY_INTERNAL_H
#define MILLRACE_DIRECTORY_INTERNAL_H

#include "cluster/key_index.h"
#include "runtime/runtime.h"

enum {
	DIRECTORY_MS = 1000,
	DIRECTORY_STORE_MS = 5000, /* deadline of a request to the store */
	DIRECTORY_GATHER_MS = 300,
	DIRECTORY_CLAIMS_MAX = 1024, /* under way at once */
	DIRECTORY_NAMES_MAX = STORE_PAIRS_MAX,
	DIRECTORY_NODES_MAX = 1024, /* other nodes that were seen */
};

enum directory_phase {
	DIRECTORY_LOADING = 1 << 0,
	DIRECTORY_GATHERING = 1 << 1,
	DIRECTORY_SERVING = 1 << 2,
};

enum directory_timer {
	DIRECTORY_TIMER_WAITERS,
	DIRECTORY_TIMER_LEASES,
	DIRECTORY_TIMER_GATHER,
	DIRECTORY_TIMER_LOAD,
	DIRECTORY_TIMER_SETTLE,
};

#define DIRECTORY_PREFIX "name/"

/* A name and its owner. */
struct owned {
	char name[128]; /* first: key_index */
	struct addr owner;
	uint64_t epoch;
	uint64_t modified; /* revision of the pair that the store has; 0 = it has none */
	uint64_t lease;
	int64_t start_us;
	uint32_t process; /* of an owner in this node */
	bool provisional; /* ours, and the store does not say so (yet, or any more) */
	bool released;	  /* its end was asked for here */
	bool watched;	  /* we hear of the owner's end */
	bool spoken;	  /* its owner has claimed it from this process */
	int64_t asked_us; /* when the store was last asked to settle it, or the owner began to be
	                   * waited for */
};

struct process_lease {
	uint32_t process;
	uint64_t lease;	  /* 0 = not granted yet */
	uint64_t request; /* to the store, 0 = none */
};

/* A put under way, or waiting for the lease of its process. */
struct claim {
	bool used;
	uint8_t tries;
	uint32_t process;
	bool unwanted;	  /* given up by its asker meanwhile: what is granted is released */
	uint64_t request; /* 0 = waits for the lease */
	int64_t until_us; /* then the asker has given up; 0 = never */
	struct asker asker;
	struct msg_name_claim claim;
};

/* Another node, as the mesh has it. One that was never up says nothing about its names: perhaps it is
 * only we who cannot reach it. */
struct seen_node {
	uint64_t id;
	bool lost;
};

struct directory {
	struct directory_state st;

	struct owned *names; /* DIRECTORY_NAMES_MAX, in no order */
	uint32_t name_count;
	struct key_index index;
	struct claim *claims; /* DIRECTORY_CLAIMS_MAX; their askers ask again when this process is
	                       * replaced */
	struct process_lease processes[RUNTIME_PEERS_MAX + 1];
	uint32_t process_count;
	uint64_t load_request; /* watch or range */
	int64_t load_until_us; /* a store that is down is waited for so long */
	uint64_t revision;     /* last change seen */
	int64_t settle_us;     /* when it is looked at again; INT64_MAX = not */
	struct seen_node
		*nodes; /* DIRECTORY_NODES_MAX: those that were up since this process began */
	uint32_t node_count;
};

/* ---- directory_names.c ------------------------------------------------------------------------- */

struct owned *directory_find(struct directory *s, const char *name);
/* The same, but one that is being released counts as gone, and so does one whose node is lost. */
struct owned *directory_find_kept(struct directory *s, const char *name);
bool directory_is_own(struct actor *self, const struct owned *row);
/* Highest (epoch, start, node, process): does the first stay? */
bool directory_beats(const struct owned *a, const struct owned *b);
/* Of this node, without the store (or before it knows). NULL: there are too many names. */
struct owned *directory_own(struct actor *self, struct directory *s, const struct owned *wanted);
void directory_release(struct actor *self, struct directory *s, struct owned *row);
/* The store has, or has not any more, a pair. */
void directory_take_pair(struct actor *self, struct directory *s, const struct store_pair *pair);
void directory_lose_pair(struct actor *self, struct directory *s, const char *key);
/* Hears of the end of all owners in this node. */
void directory_watch_owners(struct actor *self, struct directory *s);
void directory_note_node(struct directory *s, uint64_t node, bool up);

/* ---- directory_claims.c ------------------------------------------------------------------------ */

/* `until_us`: deadline of the asker's request, 0 = it has none. */
enum err directory_begin_claim(struct actor *self, struct directory *s, struct asker asker,
	int64_t until_us, const struct msg_name_claim *m);
/* Its asker does not want it any more. */
void directory_give_up_claims(struct directory *s, struct addr who, const char *name);
/* The store answers a put, or a request for a lease. True: the mail was one of these. */
bool directory_claim_done(struct actor *self, struct directory *s, uint64_t request);
bool directory_claim_failed(
	struct actor *self, struct directory *s, uint64_t request, enum err err);
void directory_leased(struct actor *self, struct directory *s, uint64_t request, uint64_t lease);
void directory_process_up(struct actor *self, struct directory *s, uint32_t process);
void directory_process_down(struct actor *self, struct directory *s, uint32_t process);
void directory_keep_leases(struct actor *self, struct directory *s);
/* The store is down: claims that waited for it are decided without it. */
void directory_decide_alone(struct actor *self, struct directory *s);
/* Makes the store say what is so: names of ours that it does not have as ours, and ends that it has
 * not heard of. Goes on by itself until it does. */
void directory_settle(struct actor *self, struct directory *s);
/* The same, within that time at the latest. */
void directory_settle_in(struct actor *self, struct directory *s, int64_t ms);

/* ---- directory_waiters.c ----------------------------------------------------------------------- */

enum err directory_wait(struct actor *self, struct directory *s, const struct name_waiter *waiter);
enum err directory_answer_found(struct actor *self, struct asker asker, const struct owned *row);
/* That name has an owner now. */
void directory_answer_waiters(struct actor *self, struct directory *s, const struct owned *row);
void directory_refuse_late(struct actor *self, struct directory *s);
void directory_set_waiter_timer(struct actor *self, const struct directory *s);
/* All owners could speak: the new claims that waited, in their order. */
void directory_begin_waiting_claims(struct actor *self, struct directory *s);

#endif

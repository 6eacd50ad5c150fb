/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of store_etcd share: store_etcd_actor.c (what actors ask) and store_etcd_sync.c
 * (the copy, and whether etcd is there).
 */
#ifndef MILLRACE_STORE_ETCD_INTERNAL_H
#define MILLRACE_STORE_ETCD_INTERNAL_H

#include "cluster/etcd.h"
#include "cluster/store_feed.h"
#include "cluster/store_table.h"

enum {
	ETCD_CALLS_MAX = 2048, /* of actors, unanswered; more are refused */
	ETCD_FLIGHTS_MAX = 32, /* calls under way at once: as many connections */
	ETCD_CALL_MS = 2000,   /* to the answer of whatever is asked (decision 19) */
	ETCD_ENDPOINTS_MAX = 16,
};

enum store_etcd_timer { STORE_ETCD_TIMER_CALLS, STORE_ETCD_TIMER_SYNC };

/* What an actor has asked, until it is answered. */
struct etcd_call {
	struct etcd_call *next;
	struct asker asker;
	uint16_t type; /* the message that asked */
	uint8_t compare;
	uint8_t answer;	  /* enum err, of one that is held */
	bool renewed;	  /* asked a second time, with a new token */
	uint8_t refusals; /* endpoints where nobody listened */
	uint64_t
		serial; /* its key or lease: one call for it is under way at a time, in their order */
	uint64_t revision; /* of one that is held: answered when the copy has come so far */
	int64_t until_us;
	const char *path;
	uint32_t size;
	char body[];
};

struct etcd_flight {
	uint64_t request; /* 0 = none */
	uint8_t endpoint;
	struct etcd_call *call;
};

struct etcd_line {
	struct etcd_call *first, **end;
};

/* How far the copy is on its way to be what etcd has. */
enum etcd_step {
	ETCD_STEP_REST, /* until the timer */
	ETCD_STEP_AUTHENTICATE,
	ETCD_STEP_READ,	 /* everything below the prefix, a page after the other */
	ETCD_STEP_OPEN,	 /* the watch is asked for */
	ETCD_STEP_WATCH, /* its lines are read; the first says that it has begun */
};

struct store_etcd {
	struct store_etcd_state st;

	struct store_table table; /* the copy */
	struct store_feed feed;

	char prefix[ETCD_PREFIX_SIZE];
	char token[ETCD_TOKEN_MAX + 1]; /* "" = none */
	uint8_t endpoint, endpoint_count;
	uint8_t failures;	  /* endpoints in a row that did not answer */
	char why[ETCD_TEXT_SIZE]; /* nobody answers, as last said in the log; "" = somebody does */
	int64_t said_us;

	struct etcd_line waiting;
	struct etcd_line held; /* done, and told when the copy shows it */
	struct etcd_flight flights[ETCD_FLIGHTS_MAX];
	uint32_t calls;

	enum etcd_step step;
	uint64_t request; /* of the step; 0 = none */
	uint64_t stream;  /* the watch */
	/* while everything is read: */
	uint64_t read_revision;
	uint32_t page;
	bool keys_only; /* a value that is too large is gone by */
	char after[STORE_KEY_MAX + 2];
	uint32_t skipped;
	bool *seen; /* STORE_PAIRS_MAX, by place in the copy */
	/* of the watch: a line that has come in part */
	char *text;
	size_t text_size, text_capacity;
};

/* ---- store_etcd_actor.c ------------------------------------------------------------------------ */

/* Posts to the endpoint in use; `until_us` is when an answer (of a stream: its head) comes too late.
 * Returns the request. */
uint64_t store_etcd_post(struct actor *self, struct store_etcd *s, const char *path,
	const struct slice body, int64_t until_us, bool stream);
/* Whoever waits can be asked for now, as far as there is room. */
void store_etcd_fly(struct actor *self, struct store_etcd *s);
/* The copy has come further: who is answered now? */
void store_etcd_release(struct actor *self, struct store_etcd *s);
/* Nobody answers: every call fails. */
void store_etcd_fail_calls(struct actor *self, struct store_etcd *s);
/* Tells all who watch that the store is down, or up. */
void store_etcd_announce(struct actor *self, struct store_etcd *s);
/* For /metrics. */
void store_etcd_count(struct actor *self, const struct store_etcd *s);

/* ---- store_etcd_sync.c ------------------------------------------------------------------------- */

/* Reads everything, compares it with the copy, tells the differences, and watches from there. */
void store_etcd_sync(struct actor *self, struct store_etcd *s);
/* The endpoint in use does not answer, or not as it should: the next one, at once or (when it was the
 * last) later. */
void store_etcd_give_up(struct actor *self, struct store_etcd *s, const char *why);
/* The token is no good any more. */
void store_etcd_renew_token(struct actor *self, struct store_etcd *s);
/* Answers to s->request. */
void store_etcd_sync_response(
	struct actor *self, struct store_etcd *s, const struct msg_http_response *m);
void store_etcd_sync_piece(
	struct actor *self, struct store_etcd *s, const struct msg_http_piece *m);
void store_etcd_sync_failed(struct actor *self, struct store_etcd *s, const struct msg_failed *m);

#endif

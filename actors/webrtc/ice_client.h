/* SPDX-License-Identifier: Apache-2.0
 *
 * The other side of ice.h: an ICE agent that has made the offer and controls (RFC 8445 7, 8). It has
 * one host candidate, its socket; checks the remote candidates by priority, nominates the best that
 * answers, answers the checks of a full agent, and keeps consent (RFC 7675). Enough for ICE-lite
 * servers and for full ones on any path without a relay.
 *
 *   checking --success of a check--> nominating --success with USE-CANDIDATE--> connected
 *      '--ICE_CLIENT_CONNECT_US without--> failed           connected --30 s unanswered--> failed
 *
 * Plain, pointer-free, bounded. Time and bytes in; datagrams, events and the next deadline out.
 * Thread: any, one at a time. No allocation.
 */
#ifndef MILLRACE_ICE_CLIENT_H
#define MILLRACE_ICE_CLIENT_H

#include "actors/webrtc/ice.h"

enum {
	ICE_CLIENT_PAIRS_MAX = 16,    /* remote candidates; those of lowest priority are left out */
	ICE_CLIENT_PACE_US = 5000,    /* between two new checks; RFC 8445 14.2 says 5 to 50 ms */
	ICE_CLIENT_RETRY_US = 100000, /* first retransmission of a check; doubles */
	ICE_CLIENT_RETRY_MAX_US = 1600000,
	ICE_CLIENT_TRIES_MAX = 7,     /* RFC 8489 6.2.1 */
	ICE_CLIENT_SETTLE_US = 40000, /* a better pair may still answer, for so long */
	ICE_CLIENT_CONNECT_US = 15000000,
	ICE_CLIENT_CONSENT_US = 5000000, /* between two checks of the selected pair, RFC 7675 5.1 */
	ICE_CLIENT_CHECK_MAX = 256,	 /* bytes of room that a check needs */
};

enum ice_client_phase { ICE_CHECKING, ICE_NOMINATING, ICE_CONNECTED, ICE_FAILED };

struct ice_client_pair {
	struct net_addr remote;
	uint32_t priority;
	uint8_t tries;	/* of the check under way; 0 = none was sent */
	bool answered;	/* it works */
	int64_t due_us; /* of the next (re)transmission; INT64_MAX = none */
	int64_t sent_us;
	uint8_t transaction[STUN_TRANSACTION_SIZE];
};

struct ice_client {
	struct ice_credentials local, remote;
	uint64_t tie_breaker;
	uint32_t priority; /* of our candidate as a peer-reflexive one */
	uint8_t phase;	   /* enum ice_client_phase */
	uint8_t pair_count;
	int8_t selected; /* index; -1 = none */
	int64_t began_us;
	int64_t answered_us; /* the first pair that works */
	int64_t consent_us;  /* last answer of the selected pair */
	int64_t paced_us;    /* no new check before */
	int64_t rtt_us;	     /* of the last check; -1 = unknown */
	struct ice_client_pair pairs[ICE_CLIENT_PAIRS_MAX];
};

void ice_client_init(struct ice_client *ice, const struct ice_credentials *local,
	const struct ice_credentials *remote, uint64_t tie_breaker, int64_t now_us);

/* A candidate of the peer's; only UDP ones are taken. */
void ice_client_add(
	struct ice_client *ice, const struct net_addr *remote, uint32_t priority, int64_t now_us);

/* The next datagram that is to be sent now: its size, 0 = none. `out` has ICE_CLIENT_CHECK_MAX bytes.
 * Call until 0, at ice_client_deadline_us and after every input. `random` gives the transaction. */
size_t ice_client_poll(struct ice_client *ice, int64_t now_us,
	const uint8_t random[STUN_TRANSACTION_SIZE], uint8_t *out, struct net_addr *to);

/* One STUN datagram. A response, if there is one, goes to `from` and is written to `response` (empty,
 * STUN_RESPONSE_MAX bytes). Returns as ice_input does; ERR_AGAIN: not for us. */
enum err ice_client_input(struct ice_client *ice, const struct net_addr *from, const void *bytes,
	size_t size, int64_t now_us, struct writer *response);

int64_t ice_client_deadline_us(const struct ice_client *ice);
/* Where to send; NULL before a pair was nominated. */
const struct net_addr *ice_client_selected(const struct ice_client *ice);

#endif

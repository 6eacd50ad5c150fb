/* SPDX-License-Identifier: Apache-2.0
 *
 * ICE-lite agent of one session (RFC 8445 2.5, RFC 7675): answers connectivity checks, learns from
 * them where the peer is, and says until when we have its consent to be sent to.
 *
 *   (waiting) --nominated check--> connected --30 s without a check--> expired
 *                                    |  ^
 *        ice_restart: new credentials |  | first check that proves the new ones
 *        lie beside the old ones      v  |
 *                                  restarting (all goes on as before)
 *
 * The whole state is struct ice_session: plain, no pointers, bounded, so that it can lie in shared
 * memory and be continued by another process. A process that takes it over calls ice_is_valid
 * first. Bytes and time in; bytes, events and the next deadline out.
 *
 * A check changes something only after its MESSAGE-INTEGRITY has proved the password. Times are
 * microseconds of one monotonic clock. Thread: any, one at a time. No allocation.
 */
#ifndef MILLRACE_ICE_H
#define MILLRACE_ICE_H

#include "actors/webrtc/stun.h"

enum {
	ICE_UFRAG_MAX = 256, /* bytes: RFC 8839 5.4 */
	ICE_PWD_MAX = 256,
	ICE_UFRAG_MIN = 4,
	ICE_PWD_MIN = 22,
	ICE_RANDOM_SIZE =
		24,	   /* bytes of randomness in our own credentials: 48 bits of ufrag and 144
	                       * bits of password (RFC 8445 5.3 asks for 24 and 128) */
	ICE_PAIRS_MAX = 8, /* remote addresses remembered; the one checked longest ago makes room */
	ICE_CONSENT_US = 30 * 1000 * 1000, /* RFC 7675 5.1: consent lasts 30 s after a check */
	ICE_CONNECT_US = 30 * 1000 * 1000, /* a session that was never checked lives this long */
	/* For this long after the first nomination a nominated pair of lower priority does not displace
	 * one of higher priority: peers that nominate every pair they try (RFC 5245 8.1.1.2) end on the
	 * best. Afterwards the latest nomination wins. */
	ICE_SETTLE_US = 1000 * 1000,
	/* For this long after a restart checks with the old credentials are still answered, with no
	 * other effect: they were under way. */
	ICE_OLD_US = 10 * 1000 * 1000,
};

enum ice_event {
	ICE_NOMINATED = 1 << 0,		/* first selected address of the session: start DTLS */
	ICE_ADDRESS_CHANGED = 1 << 1,	/* another selected address: send there from now on */
	ICE_CONSENT_REFRESHED = 1 << 2, /* the deadline moved */
	ICE_RESTARTED = 1 << 3,		/* the credentials of ice_restart are now the only ones */
};

struct ice_credentials {
	char ufrag[ICE_UFRAG_MAX + 1];
	char pwd[ICE_PWD_MAX + 1]; /* secret */
};

struct ice_pair { /* our only local candidate is the socket: a pair is a remote address */
	struct net_addr remote;
	uint32_t priority; /* of the peer's candidate, from its last check */
	int64_t checked_us;
	int64_t nominated_us; /* 0 = never */
};

enum ice_other { ICE_OTHER_NONE, ICE_OTHER_PENDING, ICE_OTHER_OLD };

struct ice_counters {
	uint64_t checks;	  /* authenticated requests */
	uint64_t malformed;	  /* not STUN, or no user name or integrity where they must be */
	uint64_t unauthenticated; /* unknown user name or wrong password */
	uint64_t role_conflicts;
	uint64_t unknown_attributes;
	uint64_t ignored;	  /* responses, indications, other methods */
	uint64_t pairs_displaced; /* ICE_PAIRS_MAX was reached */
	uint64_t address_changes;
	uint64_t restarts;
};

struct ice_session {
	struct ice_credentials local[2];  /* [active] in use; [!active] described by `other` */
	struct ice_credentials remote[2]; /* kept to recognise restarts */
	struct ice_pair pairs[ICE_PAIRS_MAX];
	struct ice_counters counters;
	int64_t created_us;
	int64_t consent_us;	    /* last authenticated check; 0 = none yet */
	int64_t first_nominated_us; /* of the active credentials; 0 = none yet */
	int64_t restarted_us;
	uint8_t active;	    /* 0 or 1 */
	uint8_t other;	    /* enum ice_other: what [!active] is */
	uint8_t pair_count; /* 0 … ICE_PAIRS_MAX */
	uint8_t connected;  /* an address was selected once: ICE_NOMINATED has been said */
	int8_t selected;    /* index into pairs; -1 = none yet */
};

/* Makes our own ufrag (8 characters) and password (24) from randomness. */
void ice_credentials_make(
	struct ice_credentials *credentials, const uint8_t random[ICE_RANDOM_SIZE]);

/* Copies the peer's; ERR_FORMAT when a size or character breaks RFC 8839 5.4. */
enum err ice_credentials_set(struct ice_credentials *credentials, const char *ufrag,
	size_t ufrag_size, const char *pwd, size_t pwd_size);

/* Terminated, and of no other characters than a user name may have; empty ones are valid. */
bool ice_credentials_are_valid(const struct ice_credentials *credentials);

bool ice_credentials_equal(const struct ice_credentials *a, const struct ice_credentials *b);

/* Both are copied. The caller maps local->ufrag to this session (stun_peek_username). */
void ice_init(struct ice_session *ice, const struct ice_credentials *local,
	const struct ice_credentials *remote, int64_t now_us);

/* Every index and number within bounds, every text terminated: a session read from memory that
 * another process wrote is used only when this says true. */
bool ice_is_valid(const struct ice_session *ice);

/* One STUN datagram (or RFC 4571 frame) that came from `from`. Writes the response, if there is
 * one, to `response` (empty, STUN_RESPONSE_MAX bytes are enough); the caller sends it back to
 * `from`, whatever is returned. *events gets enum ice_event bits.
 * ERR_OK: an authenticated check; ERR_FORMAT: malformed; ERR_AUTH: not authenticated;
 * ERR_UNSUPPORTED: unknown comprehension-required attribute; ERR_PHASE: role conflict;
 * ERR_AGAIN: nothing for us (response or indication). With all but ERR_OK nothing has changed. */
enum err ice_input(struct ice_session *ice, const struct net_addr *from, const void *bytes,
	size_t size, int64_t now_us, struct writer *response, unsigned *events);

/* New credentials of both sides (RFC 8445 9). The old ones go on working until the first check with
 * the new ones; a restart that never completes changes nothing. Another restart before that replaces
 * the pending one. The caller maps the new local ufrag as well, and may unmap the old one
 * ICE_OLD_US after ICE_RESTARTED. */
void ice_restart(struct ice_session *ice, const struct ice_credentials *local,
	const struct ice_credentials *remote);

/* No check has proved the new credentials yet. */
bool ice_is_restarting(const struct ice_session *ice);
/* The peer's credentials in use, or those of the pending restart: what a PATCH is compared with. */
const struct ice_credentials *ice_remote(const struct ice_session *ice);
/* Ours to answer with: those of the pending restart, else the active ones. */
const struct ice_credentials *ice_local(const struct ice_session *ice);

/* Where to send; NULL before the first nomination. Valid until the next call that changes `ice`. */
const struct net_addr *ice_selected(const struct ice_session *ice);

/* A TCP connection closed: the pair is forgotten. When it was the selected one the pair nominated
 * last takes its place; ICE_ADDRESS_CHANGED then (or 0 when none is left: ice_selected is NULL). */
unsigned ice_forget(struct ice_session *ice, const struct net_addr *remote);

/* When ice_is_expired turns true unless a check arrives first. */
int64_t ice_deadline_us(const struct ice_session *ice);
bool ice_is_expired(const struct ice_session *ice, int64_t now_us);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * STUN messages (RFC 8489, and the ICE attributes of RFC 8445 16.1): parse, check, build. Knows
 * nothing of sessions; ice.h decides what a message means.
 *
 * Only what connectivity checks need: the Binding method, short-term credentials (the key of
 * MESSAGE-INTEGRITY is the password), HMAC-SHA1, FINGERPRINT. A parsed message borrows nothing but
 * the user name, which points into the datagram.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_STUN_H
#define MILLRACE_STUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/bytes.h"
#include "schemas/err.h"
#include "schemas/net_addr.h"

enum {
	STUN_HEADER_SIZE = 20,
	STUN_TRANSACTION_SIZE = 12,
	STUN_MESSAGE_MAX = 1280,  /* bytes: larger datagrams are not STUN for us; RFC 8489 6.1 keeps
	                           * requests under the path MTU, and checks are about 100 bytes */
	STUN_RESPONSE_MAX = 160,  /* bytes that any response built by ice.h fits in */
	STUN_USERNAME_MAX = 513,  /* bytes: RFC 8445 7.2.2, two fragments of 256 and a colon */
	STUN_UNKNOWN_MAX = 8,	  /* unknown attributes named in a 420 response; the rest unnamed */
	STUN_ATTRIBUTES_MAX = 64, /* attributes in a message; more is an attack, not a check */
};

enum stun_class { STUN_REQUEST = 0, STUN_INDICATION = 1, STUN_SUCCESS = 2, STUN_ERROR = 3 };

enum stun_error_code { /* RFC 8489 14.8, RFC 8445 7.3.1.1 */
	STUN_400_BAD_REQUEST = 400,
	STUN_401_UNAUTHENTICATED = 401,
	STUN_420_UNKNOWN_ATTRIBUTE = 420,
	STUN_487_ROLE_CONFLICT = 487,
};

enum stun_has { /* which attributes a message carried (first occurrence counts, RFC 8489 14) */
	STUN_HAS_USERNAME = 1 << 0,
	STUN_HAS_INTEGRITY = 1 << 1,
	STUN_HAS_FINGERPRINT = 1 << 2,
	STUN_HAS_PRIORITY = 1 << 3,
	STUN_HAS_USE_CANDIDATE = 1 << 4,
	STUN_HAS_CONTROLLING = 1 << 5,
	STUN_HAS_CONTROLLED = 1 << 6,
	STUN_HAS_MAPPED = 1 << 7,
	STUN_HAS_ERROR = 1 << 8,
};

struct stun_message {
	uint8_t transaction[STUN_TRANSACTION_SIZE];
	uint16_t method;	   /* 1 = Binding */
	uint16_t error_code;	   /* 300 … 699 with STUN_HAS_ERROR */
	uint16_t integrity_offset; /* where the MESSAGE-INTEGRITY attribute begins; 0 = none */
	uint16_t username_size;	   /* bytes */
	const char *username;	   /* not terminated; borrows from the datagram */
	uint64_t tie_breaker;	   /* of ICE-CONTROLLING or ICE-CONTROLLED */
	uint32_t priority;
	uint32_t has;		/* enum stun_has */
	struct net_addr mapped; /* of XOR-MAPPED-ADDRESS, transport left at UDP */
	uint8_t class;		/* enum stun_class */
	uint8_t unknown_count;	/* comprehension-required attributes that we do not know */
	uint16_t unknown[STUN_UNKNOWN_MAX];
};

/* RFC 7983: may this datagram be STUN (first byte 0 … 3, magic cookie)? Constant time, no parsing. */
bool stun_is_message(const void *bytes, size_t size);

/* The user name's part before the colon (the receiver's own ufrag) of a Binding request, to find
 * the session of a packet before anything is known of it; nothing is verified. Returns its size in
 * bytes and points *ufrag into the datagram; 0 when there is none. */
size_t stun_peek_username(const void *bytes, size_t size, const char **ufrag);

/* Parses a datagram that holds exactly one message. A FINGERPRINT is checked when there is one;
 * MESSAGE-INTEGRITY is only located (stun_check_integrity verifies it). Attributes behind it are
 * ignored, FINGERPRINT excepted (RFC 8489 14.5).
 * ERR_FORMAT: not STUN or malformed; ERR_TOO_LARGE: over STUN_MESSAGE_MAX. */
enum err stun_parse(struct stun_message *message, const void *bytes, size_t size);

/* Is the MESSAGE-INTEGRITY of this message (parsed from these very bytes) made with this password?
 * HMAC-SHA1, compared in constant time (RFC 8489 14.5). False when the attribute is absent. */
bool stun_check_integrity(
	const struct stun_message *message, const void *bytes, size_t size, const char *password);

/* Building: begin, any attributes, finish. `w` must be empty (at == begin): the message is counted
 * from its start. A full buffer sets w->bad. */
void stun_begin(
	struct writer *w, enum stun_class class, const uint8_t transaction[STUN_TRANSACTION_SIZE]);
void stun_add_username(struct writer *w, const char *username, size_t size);
void stun_add_priority(struct writer *w, uint32_t priority);
void stun_add_use_candidate(struct writer *w);
void stun_add_role(struct writer *w, bool controlling, uint64_t tie_breaker);
void stun_add_xor_mapped_address(struct writer *w, const struct net_addr *address);
/* With the standard reason phrase; for 420 also names the unknown attributes of `request`. */
void stun_add_error(
	struct writer *w, enum stun_error_code code, const struct stun_message *request);
/* Ends with MESSAGE-INTEGRITY (unless password is NULL) and FINGERPRINT.
 * ERR_NO_SPACE: the buffer was too small. */
enum err stun_finish(struct writer *w, const char *password);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * etcd's v3 interface as its JSON gateway speaks it: bodies of requests, and what answers say. Pure
 * functions over bytes; who asks whom, when and how often is store_etcd's business.
 *
 * Keys are those of cluster/store.h; on the wire each has the cluster's prefix in front of it,
 * "/millrace/NAME/", and is base64, as values are. 64-bit numbers are decimal strings, and what is
 * zero or false is left out (proto3's JSON mapping).
 *
 * Answers are untrusted and bounded by the caller (ETCD_ANSWER_MAX). What of them does not fit into
 * our own bounds (keys, values) is skipped and counted; the rest is taken.
 * Thread: any. jansson allocates while an answer is read; nothing is kept.
 */
#ifndef MILLRACE_ETCD_H
#define MILLRACE_ETCD_H

#include "schemas/schema.h"

enum {
	ETCD_PREFIX_SIZE = 80,	   /* "/millrace/" + a name of 63 + "/" + NUL */
	ETCD_REQUEST_MAX = 4096,   /* bytes of the longest body below */
	ETCD_ANSWER_MAX = 1048576, /* bytes of an answer, or of one line of a watch */
	ETCD_TOKEN_MAX = 1023,	   /* bytes; JWTs are some hundred */
	ETCD_TEXT_SIZE = 128,	   /* what etcd says of an error, for people */
	ETCD_PAGE = 256,	   /* pairs of a range asked for at once */
};

/* Where requests go, below http(s)://host:port. */
#define ETCD_PATH_TXN	       "/v3/kv/txn"
#define ETCD_PATH_RANGE	       "/v3/kv/range"
#define ETCD_PATH_WATCH	       "/v3/watch"
#define ETCD_PATH_GRANT	       "/v3/lease/grant"
#define ETCD_PATH_KEEP	       "/v3/lease/keepalive"
#define ETCD_PATH_REVOKE       "/v3/lease/revoke"
#define ETCD_PATH_AUTHENTICATE "/v3/auth/authenticate"

/* Writes "/millrace/NAME/". */
void etcd_prefix(char prefix[ETCD_PREFIX_SIZE], const char *cluster);

/* ---- requests: `out` has room for ETCD_REQUEST_MAX; it is bad when that was not enough ---------- */

void etcd_write_put(struct writer *out, const char *prefix, const struct msg_store_put *put);
void etcd_write_delete(struct writer *out, const char *prefix, const struct msg_store_delete *m);
/* Seconds, rounded up. */
void etcd_write_grant(struct writer *out, uint32_t ttl_ms);
/* Of keep and revoke. */
void etcd_write_lease(struct writer *out, uint64_t lease);
/* Everything under the prefix behind the key `after` ("" = from the first), at `revision` (0 = now),
 * at most `limit` pairs; `keys_only`: without values. */
void etcd_write_range(struct writer *out, const char *prefix, const char *after, uint64_t revision,
	uint32_t limit, bool keys_only);
/* Every change under the prefix from `revision` on. */
void etcd_write_watch(struct writer *out, const char *prefix, uint64_t revision);
/* User and password: any text. ERR_TOO_LARGE, ERR_FORMAT (no UTF-8), ERR_NO_MEMORY. */
enum err etcd_write_authenticate(struct writer *out, const char *user, const char *password);

/* ---- answers ----------------------------------------------------------------------------------- */

/* Whatever an answer is of. */
struct etcd_answer {
	uint64_t cluster;  /* header.cluster_id */
	uint64_t revision; /* header.revision */
	bool succeeded;	   /* txn: the comparison held */
	uint64_t deleted;  /* txn that deletes: keys */
	uint64_t modified; /* txn whose comparison failed: of the key; 0 = there is none */
	uint64_t lease;	   /* 0 = none, or it is dead */
	uint32_t ttl_ms;
	bool more;		      /* range: go on after the last key */
	bool created, canceled;	      /* watch */
	uint64_t compacted;	      /* watch: changes before this revision are forgotten */
	uint32_t skipped;	      /* pairs beyond our bounds */
	char last[STORE_KEY_MAX + 2]; /* range: go on behind this key; "" = there was none */
	char token[ETCD_TOKEN_MAX + 1];
};

/* Called for each pair of a range, in order; for each change of a watch, in order. Borrowed. */
typedef void (*etcd_pair_fn)(void *context, const struct store_pair *pair);
typedef void (*etcd_event_fn)(void *context, const struct msg_store_event *event);

/* Answers of status 200 to: put, delete, grant, keep, revoke, authenticate. ERR_FORMAT,
 * ERR_NO_MEMORY. */
enum err etcd_read(const void *body, size_t size, struct etcd_answer *answer);
enum err etcd_read_range(const void *body, size_t size, const char *prefix,
	struct etcd_answer *answer, etcd_pair_fn fn, void *context);
/* One line of a watch's stream. An error that the gateway tells there is ERR_CLOSED. A deleted pair
 * has its key and, as `modified`, the revision of its end; what it was, the caller knows. */
enum err etcd_read_watch(const void *line, size_t size, const char *prefix,
	struct etcd_answer *answer, etcd_event_fn fn, void *context);

/* What an answer with another status means:
 *   ERR_NOT_FOUND  the lease                      ERR_AUTH       the token is no good any more
 *   ERR_FORBIDDEN  this user may not              ERR_REPLAY     the revision was compacted away
 *   ERR_OVERLOAD   too many requests, or its disk is full
 *   ERR_TIMEOUT    it, or its cluster, cannot answer now: what was asked may have taken place
 *   ERR_FORMAT     it did not understand, or is no etcd
 * `text` gets its own words, printable and cut. */
enum err etcd_read_error(uint16_t status, const void *body, size_t size, char text[ETCD_TEXT_SIZE]);

#endif

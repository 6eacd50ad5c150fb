/* SPDX-License-Identifier: Apache-2.0
 *
 * The coordination store: small pairs of key and value under revisions, leases and watches. It is
 * an actor (OFFICE_STORE) spoken to by the messages store_* of schemas/cluster.def; which actor it
 * is decides `coord`: store_local keeps everything in the memory of the control process, store_etcd
 * speaks to etcd and answers reads from a copy. What each message means is one call of etcd's v3
 * interface:
 *
 *   message                etcd v3 (JSON gateway)
 *   store_lease_grant      POST /v3/lease/grant {TTL: seconds, rounded up}
 *   store_lease_keep       POST /v3/lease/keepalive {ID}; an answer without TTL = NOT_FOUND
 *   store_lease_revoke     POST /v3/lease/revoke {ID}
 *   store_put              POST /v3/kv/txn: compare as below, request_put {key, value, lease}
 *   store_delete           POST /v3/kv/txn: compare as below, request_delete_range {key}
 *   store_get, _range      POST /v3/kv/range {key, range_end, limit, sort by key}
 *   store_watch            POST /v3/watch create_request {key, range_end, start_revision, prev_kv};
 *                          `canceled` with compact_revision = store_watching.compacted
 *
 *   STORE_ANY              no comparison
 *   STORE_CREATE           create_revision(key) = 0           else EXISTS
 *   STORE_AT_REVISION      mod_revision(key) = revision       else STATE
 *
 * Revisions number the changes of the whole store and only grow (etcd: header.revision). One put,
 * one delete or the end of one key by its lease is one change here; etcd may end several keys of a
 * lease under one revision, so nobody may count on them being different.
 *
 * A watcher gets each change after the answer to its watch and before the answer to the request
 * that made it (but for keys that end with a lease: their ends may come after the answer to the revoke).
 * When the store is replaced by a new one (control process) leases and watches are gone: ask anew. One
 * that has been down (store_down, store_up) keeps its watches, and may have lost leases and anything
 * else; what it has lost is told as changes, and revisions may have begun anew.
 */
#ifndef MILLRACE_STORE_H
#define MILLRACE_STORE_H

enum store_compare { STORE_ANY, STORE_CREATE, STORE_AT_REVISION };

/* A new local store goes on from the milliseconds of Unix time, so that revisions grow over its
 * restarts too although it keeps nothing. */

#endif

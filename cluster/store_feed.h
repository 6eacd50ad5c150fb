/* SPDX-License-Identifier: Apache-2.0
 *
 * Who watches a store, and its last changes for watches that begin in the past: what every store does
 * alike with store_watch. The watchers lie in the store's state, the changes beside it: a successor
 * begins without any.
 *
 * Thread: that of the store's process.
 */
#ifndef MILLRACE_STORE_FEED_H
#define MILLRACE_STORE_FEED_H

#include "runtime/actor.h"

struct store_feed {
	struct msg_store_event *events; /* a ring */
	uint64_t count;			/* ever told */
	uint64_t compacted;		/* changes up to this revision may be forgotten */
	bool renewing;
	struct store_watcher *watchers; /* STORE_WATCHERS_MAX, of the state */
	uint16_t *watcher_count;
};

/* What comes after `revision` is remembered. ERR_NO_MEMORY. */
enum err store_feed_create(struct store_feed *feed, struct store_watcher *watchers,
	uint16_t *watcher_count, uint64_t revision);
void store_feed_destroy(struct store_feed *feed);

/* Begins, replaces or ends the watch that the mail at hand asks for, and answers it; `revision` is the
 * store's. Who asks for changes that are forgotten, or for such as are beyond the store's next (the
 * numbers have begun anew since), is told to read. ERR_LIMIT; ERR_BUSY: so much has become different
 * meanwhile that he had better ask later. */
enum err store_feed_watch(struct actor *self, struct store_feed *feed,
	const struct msg_store_watch *m, uint64_t revision);
/* A watcher has ended. */
void store_feed_forget(struct actor *self, struct store_feed *feed, struct addr who);

/* Tells a change to whom it concerns, and remembers it. */
void store_feed_tell(
	struct actor *self, struct store_feed *feed, const struct msg_store_event *event);
/* What is told from now on are differences between the store of `revision` and another one, which may be
 * older: whoever watches hears of all of them, whatever their numbers. */
void store_feed_renew(struct store_feed *feed, uint64_t revision);
/* All are told. The changes between the two were not known one by one: those who ask for such are told
 * to read. */
void store_feed_skip(struct store_feed *feed, uint64_t revision);

#endif

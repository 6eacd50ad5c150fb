/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store_feed.h"

#include <stdlib.h>

enum { HISTORY_MAX = 256 }; /* changes remembered */

enum err store_feed_create(struct store_feed *feed, struct store_watcher *watchers,
	uint16_t *watcher_count, uint64_t revision)
{
	*feed = (struct store_feed){
		.events = calloc(HISTORY_MAX, sizeof(*feed->events)),
		.compacted = revision,
		.watchers = watchers,
		.watcher_count = watcher_count,
	};
	return feed->events ? ERR_OK : ERR_NO_MEMORY;
}

void store_feed_destroy(struct store_feed *feed)
{
	free(feed->events);
	feed->events = NULL;
}

static void tell_one(struct actor *self, const struct store_watcher *watcher,
	const struct msg_store_event *event)
{
	if (!strncmp(event->pair.key, watcher->prefix, strlen(watcher->prefix)))
		actor_send_mail(self, watcher->who, MSG_store_event, &schema_store_event, event);
}

void store_feed_tell(
	struct actor *self, struct store_feed *feed, const struct msg_store_event *event)
{
	struct msg_store_event *kept = &feed->events[feed->count++ % HISTORY_MAX];

	if (feed->count > HISTORY_MAX && !feed->renewing && kept->revision > feed->compacted)
		feed->compacted = kept->revision;
	*kept = *event;
	for (int i = 0; i < *feed->watcher_count; i++)
		tell_one(self, &feed->watchers[i], event);
}

void store_feed_renew(struct store_feed *feed, uint64_t revision)
{
	if (feed->renewing)
		return; /* the reading was begun anew: what was told of the one before counts too */
	feed->renewing = true;
	feed->count = 0;
	feed->compacted = revision;
}

void store_feed_skip(struct store_feed *feed, uint64_t revision)
{
	feed->renewing = false;
	feed->count = 0;
	feed->compacted = revision;
}

static struct store_watcher *find_watcher(struct store_feed *feed, struct addr who)
{
	for (int i = 0; i < *feed->watcher_count; i++)
		if (addr_equal(feed->watchers[i].who, who))
			return &feed->watchers[i];
	return NULL;
}

void store_feed_forget(struct actor *self, struct store_feed *feed, struct addr who)
{
	struct store_watcher *watcher = find_watcher(feed, who);

	if (!watcher)
		return;
	*watcher = feed->watchers[--*feed->watcher_count];
	actor_unmonitor(self, who);
}

enum err store_feed_watch(struct actor *self, struct store_feed *feed,
	const struct msg_store_watch *m, uint64_t revision)
{
	struct addr who = actor_asker(self).from;
	struct store_watcher *watcher = find_watcher(feed, who);
	uint64_t from = m->from_revision;
	uint64_t first = feed->count > HISTORY_MAX ? feed->count - HISTORY_MAX : 0;
	bool forgotten = from && (from <= feed->compacted || from > revision + 1);

	if (m->off || forgotten) {
		store_feed_forget(self, feed, who);
		return actor_reply(self, store_watching,
			{.revision = revision, .compacted = forgotten ? from : 0});
	}
	if (from && feed->renewing && first)
		return ERR_BUSY;
	if (!watcher) {
		if (*feed->watcher_count == STORE_WATCHERS_MAX)
			return ERR_LIMIT;
		watcher = &feed->watchers[(*feed->watcher_count)++];
		actor_monitor(self, who);
	}
	*watcher = (struct store_watcher){.who = who};
	text_copy(watcher->prefix, sizeof(watcher->prefix), m->prefix);
	actor_reply(self, store_watching, {.revision = revision});
	for (uint64_t i = first; i < feed->count && from; i++)
		if (feed->renewing || feed->events[i % HISTORY_MAX].revision >= from)
			tell_one(self, watcher, &feed->events[i % HISTORY_MAX]);
	return ERR_OK;
}

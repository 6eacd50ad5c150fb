/* SPDX-License-Identifier: Apache-2.0
 *
 * store_local: the coordination store of a node alone, in memory. See cluster/store.h for what its
 * messages mean.
 *
 *   lease   granted --keep--> until now + ttl --time, or revoke--> its keys are deleted, then gone
 *
 * Owns the pairs (in no order, with a sorted index), the leases, the watchers and a ring of the
 * last changes for watches that begin in the past. All of it is bounded; what does not fit is
 * refused. One timer waits for the next lease to end.
 */
#include "cluster/cluster.h"
#include "cluster/key_index.h"
#include "cluster/store.h"

#include <stdlib.h>

enum {
	MS = 1000,
	HISTORY_MAX = 256, /* changes remembered */
	TTL_MIN_MS = 100,
	TTL_MAX_MS = 3600 * 1000,
	TIMER_LEASES = 0,
};

struct store_local {
	struct store_local_state st;

	struct key_index keys;
	struct msg_store_event
		*history;   /* HISTORY_MAX; the change of revision r at r % HISTORY_MAX */
	uint64_t compacted; /* changes up to this revision are forgotten */
};

/* ---- watchers -------------------------------------------------------------------------------- */

static bool has_prefix(const char *key, const char *prefix)
{
	return !strncmp(key, prefix, strlen(prefix));
}

static void tell(struct actor *self, const struct store_watcher *watcher,
	const struct msg_store_event *event)
{
	if (has_prefix(event->pair.key, watcher->prefix))
		actor_send_mail(self, watcher->who, MSG_store_event, &schema_store_event, event);
}

static void publish(
	struct actor *self, struct store_local *s, const struct store_pair *pair, bool deleted)
{
	struct msg_store_event *event = &s->history[s->st.revision % HISTORY_MAX];

	*event = (struct msg_store_event){
		.deleted = deleted, .revision = s->st.revision, .pair = *pair};
	if (s->st.revision - s->compacted > HISTORY_MAX)
		s->compacted = s->st.revision - HISTORY_MAX;
	for (int i = 0; i < s->st.watchers_count; i++)
		tell(self, &s->st.watchers[i], event);
}

static struct store_watcher *find_watcher(struct store_local *s, struct addr who)
{
	for (int i = 0; i < s->st.watchers_count; i++)
		if (addr_equal(s->st.watchers[i].who, who))
			return &s->st.watchers[i];
	return NULL;
}

static void remove_watcher(struct actor *self, struct store_local *s, struct addr who)
{
	struct store_watcher *watcher = find_watcher(s, who);

	if (!watcher)
		return;
	*watcher = s->st.watchers[--s->st.watchers_count];
	actor_unmonitor(self, who);
}

ON(store_local, store_watch)
{
	struct store_watcher *watcher = find_watcher(s, mail->from);
	uint64_t from = m->from_revision ? m->from_revision : s->st.revision + 1;
	bool forgotten = from <= s->compacted;

	if (m->off || forgotten) {
		remove_watcher(self, s, mail->from);
		return actor_reply(self, store_watching,
			{.revision = s->st.revision, .compacted = forgotten ? s->compacted : 0});
	}
	if (!watcher) {
		if (s->st.watchers_count == STORE_WATCHERS_MAX) {
			s->st.refused++;
			return ERR_LIMIT;
		}
		watcher = &s->st.watchers[s->st.watchers_count++];
		actor_monitor(self, mail->from);
	}
	*watcher = (struct store_watcher){.who = mail->from};
	text_copy(watcher->prefix, sizeof(watcher->prefix), m->prefix);
	actor_reply(self, store_watching, {.revision = s->st.revision});
	for (uint64_t revision = from; revision <= s->st.revision; revision++)
		tell(self, watcher, &s->history[revision % HISTORY_MAX]);
	return ERR_OK;
}

ON(store_local, down)
{
	remove_watcher(self, s, m->who);
	return ERR_OK;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static struct store_pair *find_pair(struct store_local *s, const char *key)
{
	long place = key_index_find(&s->keys, key);

	return place < 0 ? NULL : &s->st.pairs[place];
}

static void delete_pair(struct actor *self, struct store_local *s, struct store_pair *pair)
{
	struct store_pair old = *pair;
	struct store_pair *last = &s->st.pairs[s->st.pairs_count - 1];

	key_index_remove(&s->keys, old.key);
	if (pair != last) {
		key_index_move(&s->keys, last->key, (uint16_t)(pair - s->st.pairs));
		*pair = *last;
	}
	s->st.pairs_count--;
	s->st.revision++;
	s->st.deletes++;
	publish(self, s, &old, true);
}

static enum err compare(const struct store_pair *pair, uint8_t how, uint64_t revision)
{
	switch ((enum store_compare)how) {
	case STORE_ANY: return ERR_OK;
	case STORE_CREATE: return pair ? ERR_EXISTS : ERR_OK;
	case STORE_AT_REVISION: return pair && pair->modified == revision ? ERR_OK : ERR_PHASE;
	}
	return ERR_UNSUPPORTED;
}

static struct store_lease *find_lease(struct store_local *s, uint64_t id)
{
	for (int i = 0; i < s->st.leases_count; i++)
		if (s->st.leases[i].id == id)
			return &s->st.leases[i];
	return NULL;
}

static struct store_pair *new_pair(struct store_local *s, const char *key)
{
	struct store_pair *pair = &s->st.pairs[s->st.pairs_count];

	if (s->st.pairs_count == STORE_PAIRS_MAX)
		return NULL;
	*pair = (struct store_pair){.created = s->st.revision + 1};
	text_copy(pair->key, sizeof(pair->key), key);
	MUST(key_index_add(&s->keys, s->st.pairs_count));
	s->st.pairs_count++;
	return pair;
}

ON(store_local, store_put)
{
	struct store_pair *pair = find_pair(s, m->key);
	enum err err = compare(pair, m->compare, m->revision);

	if (err) {
		s->st.conflicts++;
		return err;
	}
	if (!m->key[0])
		return ERR_FORMAT;
	if (m->lease && !find_lease(s, m->lease))
		return ERR_NOT_FOUND;
	if (!pair)
		pair = new_pair(s, m->key);
	if (!pair) {
		s->st.refused++;
		return ERR_LIMIT;
	}
	memcpy(&pair->value, &m->value, sizeof(pair->value));
	pair->lease = m->lease;
	pair->modified = ++s->st.revision;
	s->st.puts++;
	publish(self, s, pair, false);
	return actor_reply(self, store_done, {.revision = s->st.revision});
}

ON(store_local, store_delete)
{
	struct store_pair *pair = find_pair(s, m->key);
	enum err err = pair ? compare(pair, m->compare, m->revision) : ERR_NOT_FOUND;

	if (err) {
		s->st.conflicts += pair != NULL;
		return err;
	}
	delete_pair(self, s, pair);
	return actor_reply(self, store_done, {.revision = s->st.revision});
}

ON(store_local, store_get)
{
	const struct store_pair *pair = find_pair(s, m->key);
	struct msg_store_pairs *answer;

	if (!pair)
		return ERR_NOT_FOUND;
	answer = calloc(1, sizeof(*answer));
	if (!answer)
		return ERR_NO_MEMORY;
	answer->revision = s->st.revision;
	answer->pairs[answer->pairs_count++] = *pair;
	actor_answer_mail(self, actor_asker(self), MSG_store_pairs, &schema_store_pairs, answer);
	free(answer);
	return ERR_OK;
}

ON(store_local, store_range)
{
	uint32_t limit = m->limit && m->limit < STORE_PAGE_MAX ? m->limit : STORE_PAGE_MAX;
	uint32_t at =
		key_index_seek(&s->keys, strcmp(m->after, m->prefix) > 0 ? m->after : m->prefix);
	struct msg_store_pairs *answer = calloc(1, sizeof(*answer));

	if (!answer)
		return ERR_NO_MEMORY;
	answer->revision = s->st.revision;
	for (; at < s->keys.count; at++) {
		const struct store_pair *pair = &s->st.pairs[key_index_at(&s->keys, at)];

		if (m->after[0] && !strcmp(pair->key, m->after))
			continue;
		if (!has_prefix(pair->key, m->prefix))
			break;
		if (answer->pairs_count == limit) {
			answer->more = true;
			break;
		}
		answer->pairs[answer->pairs_count++] = *pair;
	}
	actor_answer_mail(self, actor_asker(self), MSG_store_pairs, &schema_store_pairs, answer);
	free(answer);
	return ERR_OK;
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void wait_for_leases(struct actor *self, struct store_local *s)
{
	int64_t next_us = INT64_MAX;

	for (int i = 0; i < s->st.leases_count; i++)
		if (s->st.leases[i].until_us < next_us)
			next_us = s->st.leases[i].until_us;
	if (s->st.leases_count)
		actor_timer_at(self, TIMER_LEASES, next_us);
	else
		actor_timer_off(self, TIMER_LEASES);
}

static void end_lease(struct actor *self, struct store_local *s, struct store_lease *lease)
{
	uint64_t id = lease->id;

	*lease = s->st.leases[--s->st.leases_count];
	for (int i = s->st.pairs_count - 1; i >= 0; i--)
		if (s->st.pairs[i].lease == id)
			delete_pair(self, s, &s->st.pairs[i]);
}

ON(store_local, store_lease_grant)
{
	uint32_t ttl_ms = m->ttl_ms < TTL_MIN_MS ? TTL_MIN_MS : m->ttl_ms;
	struct store_lease *lease = &s->st.leases[s->st.leases_count];

	if (ttl_ms > TTL_MAX_MS)
		ttl_ms = TTL_MAX_MS;
	if (s->st.leases_count == STORE_LEASES_MAX) {
		s->st.refused++;
		return ERR_LIMIT;
	}
	s->st.leases_count++;
	*lease = (struct store_lease){.id = ++s->st.last_lease,
		.ttl_ms = ttl_ms,
		.until_us = actor_now_us(self) + (int64_t)ttl_ms * MS};
	wait_for_leases(self, s);
	return actor_reply(self, store_leased, {.lease = lease->id, .ttl_ms = ttl_ms});
}

ON(store_local, store_lease_keep)
{
	struct store_lease *lease = find_lease(s, m->lease);

	if (!lease)
		return ERR_NOT_FOUND;
	lease->until_us = actor_now_us(self) + (int64_t)lease->ttl_ms * MS;
	wait_for_leases(self, s);
	return actor_reply(self, store_leased, {.lease = lease->id, .ttl_ms = lease->ttl_ms});
}

ON(store_local, store_lease_revoke)
{
	struct store_lease *lease = find_lease(s, m->lease);

	if (!lease)
		return ERR_NOT_FOUND;
	end_lease(self, s, lease);
	wait_for_leases(self, s);
	return actor_reply(self, store_done, {.revision = s->st.revision});
}

static void store_local_timer(struct actor *self, void *data, unsigned timer)
{
	struct store_local *s = data;

	(void)timer;
	for (int i = s->st.leases_count - 1; i >= 0; i--) {
		if (s->st.leases[i].until_us > actor_now_us(self))
			continue;
		log_warn(actor_log(self), "lease_expired", "lease", s->st.leases[i].id);
		s->st.expired++;
		end_lease(self, s, &s->st.leases[i]);
	}
	wait_for_leases(self, s);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err build(struct actor *self, struct store_local *s)
{
	actor_set_name(self, "office/store");
	s->history = calloc(HISTORY_MAX, sizeof(*s->history));
	s->keys = (struct key_index){
		.rows = (const char *)s->st.pairs,
		.stride = sizeof(s->st.pairs[0]),
		.capacity = STORE_PAIRS_MAX,
		.order = calloc(STORE_PAIRS_MAX, sizeof(*s->keys.order)),
	};
	s->compacted = s->st.revision;
	if (s->history && s->keys.order)
		return ERR_OK;
	free(s->history);
	free(s->keys.order);
	s->history = NULL;
	s->keys.order = NULL;
	return ERR_NO_MEMORY;
}

static enum err store_local_init(struct actor *self, void *data, const void *args)
{
	struct store_local *s = data;

	(void)args;
	s->st.revision = (uint64_t)actor_wall_us(self) / MS;
	return build(self, s);
}

static enum err store_local_restore(struct actor *self, void *data)
{
	struct store_local *s = data;
	enum err err = build(self, s);

	for (uint16_t i = 0; !err && i < s->st.pairs_count; i++)
		if (!s->st.pairs[i].key[0] || !key_index_add(&s->keys, i))
			err = ERR_FORMAT; /* no key, or one twice */
	if (!err)
		wait_for_leases(self, s);
	return err;
}

static void store_local_stop(struct actor *self, void *data, enum err reason)
{
	struct store_local *s = data;

	(void)self;
	(void)reason;
	free(s->history);
	free(s->keys.order);
}

static const struct handler store_local_handlers[] = {
	HANDLER(store_local, store_lease_grant, 0),
	HANDLER(store_local, store_lease_keep, 0),
	HANDLER(store_local, store_lease_revoke, 0),
	HANDLER(store_local, store_put, 0),
	HANDLER(store_local, store_delete, 0),
	HANDLER(store_local, store_get, 0),
	HANDLER(store_local, store_range, 0),
	HANDLER(store_local, store_watch, 0),
	HANDLER(store_local, down, 0),
};

const struct actor_type store_local_actor = {
	.name = "store_local",
	.size = sizeof(struct store_local),
	.state = &schema_store_local_state,
	.mailbox_max = 16384,
	HANDLER_TABLE(store_local_handlers),
	.init = store_local_init,
	.restore = store_local_restore,
	.stop = store_local_stop,
	.timer = store_local_timer,
};

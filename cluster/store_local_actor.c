/* SPDX-License-Identifier: Apache-2.0
 *
 * store_local: the coordination store of a node alone, in memory. See cluster/store.h for what its
 * messages mean.
 *
 *   lease   granted --keep--> until now + ttl --time, or revoke--> its keys are deleted, then gone
 *
 * Owns the pairs (in no order, with a sorted index), the leases and the watchers. All of it is bounded;
 * what does not fit is refused. One timer waits for the next lease to end.
 */
#include "cluster/cluster.h"
#include "cluster/store.h"
#include "cluster/store_feed.h"
#include "cluster/store_table.h"

#include <stdlib.h>

enum {
	MS = 1000,
	TTL_MIN_MS = 100,
	TTL_MAX_MS = 3600 * 1000,
	TIMER_LEASES = 0,
};

struct store_local {
	struct store_local_state st;

	struct store_table table;
	struct store_feed feed;
};

/* ---- watchers -------------------------------------------------------------------------------- */

ON(store_local, store_watch)
{
	enum err err = store_feed_watch(self, &s->feed, m, s->st.revision);

	s->st.refused += err == ERR_LIMIT;
	return err;
}

ON(store_local, down)
{
	store_feed_forget(self, &s->feed, m->who);
	return ERR_OK;
}

static void publish(
	struct actor *self, struct store_local *s, const struct store_pair *pair, bool deleted)
{
	store_feed_tell(self, &s->feed,
		&(const struct msg_store_event){
			.deleted = deleted, .revision = s->st.revision, .pair = *pair});
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static void delete_pair(struct actor *self, struct store_local *s, struct store_pair *pair)
{
	struct store_pair old = *pair;

	store_table_remove(&s->table, pair);
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

ON(store_local, store_put)
{
	struct store_pair *pair = store_table_find(&s->table, m->key);
	enum err err = compare(pair, m->compare, m->revision);

	if (err) {
		s->st.conflicts++;
		return err;
	}
	if (!m->key[0])
		return ERR_FORMAT;
	if (m->lease && !find_lease(s, m->lease))
		return ERR_NOT_FOUND;
	if (!pair) {
		pair = store_table_add(&s->table, m->key);
		if (pair)
			pair->created = s->st.revision + 1;
	}
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
	struct store_pair *pair = store_table_find(&s->table, m->key);
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
	return store_table_answer_get(self, &s->table, m, s->st.revision);
}

ON(store_local, store_range)
{
	return store_table_answer_range(self, &s->table, m, s->st.revision);
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
	enum err err =
		store_feed_create(&s->feed, s->st.watchers, &s->st.watchers_count, s->st.revision);

	actor_set_name(self, "office/store");
	if (!err)
		err = store_table_create(&s->table, s->st.pairs, &s->st.pairs_count);
	if (err) {
		store_feed_destroy(&s->feed);
		store_table_destroy(&s->table);
	}
	return err;
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

	if (!err)
		wait_for_leases(self, s);
	return err;
}

static void store_local_stop(struct actor *self, void *data, enum err reason)
{
	struct store_local *s = data;

	(void)self;
	(void)reason;
	store_feed_destroy(&s->feed);
	store_table_destroy(&s->table);
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

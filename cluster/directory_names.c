/* SPDX-License-Identifier: Apache-2.0
 *
 * directory: the names and their owners, as the store has them, and where it does not have them (yet):
 *
 *   (none) --pair of ours--> ours, in the store --pair is gone--> ours, provisional --settle--^
 *      '---- the store is down, a claim ------------------------------^
 *   ours --pair of another that is higher--> theirs, and our owner hears name_lost
 *   ours --pair of another that is lower---> ours, provisional (it is put over theirs)
 *
 * Owners of other nodes come and go with their pairs alone. Each directory tells its own owners.
 */
#include "cluster/directory_internal.h"
#include "cluster/hlc.h"
#include "cluster/store.h"

#include <stdio.h>

struct owned *directory_find(struct directory *s, const char *name)
{
	long place = key_index_find(&s->index, name);

	return place < 0 ? NULL : &s->names[place];
}

static struct seen_node *find_node(const struct directory *s, uint64_t id)
{
	for (uint32_t i = 0; i < s->node_count; i++)
		if (s->nodes[i].id == id)
			return &s->nodes[i];
	return NULL;
}

static bool node_is_lost(const struct directory *s, uint64_t id)
{
	const struct seen_node *node = find_node(s, id);

	return node && node->lost;
}

void directory_note_node(struct directory *s, uint64_t id, bool up)
{
	struct seen_node *node = find_node(s, id);

	if (!node && up && s->node_count < DIRECTORY_NODES_MAX) {
		node = &s->nodes[s->node_count++];
		node->id = id;
	}
	if (node)
		node->lost = !up;
}

struct owned *directory_find_kept(struct directory *s, const char *name)
{
	struct owned *row = directory_find(s, name);

	/* the store ends a released one before it handles whatever is sent from now on */
	return row && !row->released && !node_is_lost(s, row->owner.node) ? row : NULL;
}

bool directory_is_own(struct actor *self, const struct owned *row)
{
	return row->owner.node == actor_addr(self).node;
}

bool directory_beats(const struct owned *a, const struct owned *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->start_us != b->start_us)
		return a->start_us > b->start_us;
	if (a->owner.node != b->owner.node)
		return a->owner.node > b->owner.node;
	return a->process > b->process;
}

/* ---- rows -------------------------------------------------------------------------------------- */

static bool is_watched(const struct directory *s, struct addr who)
{
	for (uint32_t i = 0; i < s->name_count; i++)
		if (s->names[i].watched && addr_equal(s->names[i].owner, who))
			return true;
	return false;
}

static void watch_owner(struct actor *self, struct directory *s, struct owned *row)
{
	bool known = row->watched || is_watched(s, row->owner);

	row->watched = true;
	if (!known)
		actor_monitor(self, row->owner);
}

static void unwatch_owner(struct actor *self, struct directory *s, struct owned *row)
{
	if (!row->watched)
		return;
	row->watched = false;
	if (!is_watched(s, row->owner))
		actor_unmonitor(self, row->owner);
}

/* Whoever is here after a start of this process may be about to say so: until then nobody's end is
 * asked for, because processes that are not known yet count as dead. */
void directory_watch_owners(struct actor *self, struct directory *s)
{
	for (uint32_t i = 0; i < s->name_count; i++)
		if (directory_is_own(self, &s->names[i]))
			watch_owner(self, s, &s->names[i]);
}

static struct owned *add_row(struct directory *s, const char *name)
{
	struct owned *row = &s->names[s->name_count];

	if (s->name_count == DIRECTORY_NAMES_MAX)
		return NULL;
	*row = (struct owned){0};
	text_copy(row->name, sizeof(row->name), name);
	MUST(key_index_add(&s->index, (uint16_t)s->name_count));
	s->st.names = ++s->name_count;
	return row;
}

static void remove_row(struct actor *self, struct directory *s, struct owned *row)
{
	struct owned *last = &s->names[s->name_count - 1];

	unwatch_owner(self, s, row);
	key_index_remove(&s->index, row->name);
	if (row != last) {
		key_index_move(&s->index, last->name, (uint16_t)(row - s->names));
		*row = *last;
	}
	s->st.names = --s->name_count;
}

/* The row says from now on what `now` says; those who are concerned hear of it. */
static void change_row(
	struct actor *self, struct directory *s, struct owned *row, const struct owned *now)
{
	struct owned before = *row;
	bool other = !addr_equal(before.owner, now->owner);
	bool own = directory_is_own(self, now);

	if (other)
		unwatch_owner(self, s, row);
	row->owner = now->owner;
	row->epoch = now->epoch;
	row->start_us = now->start_us;
	row->process = now->process;
	row->modified = now->modified;
	row->lease = now->lease;
	row->provisional = now->provisional;
	row->released = false;
	row->spoken = row->spoken && !other;
	row->asked_us = 0;
	if (row->epoch > s->st.last_epoch)
		s->st.last_epoch = row->epoch;
	if (own && actor_phase(self) == DIRECTORY_SERVING)
		watch_owner(self, s, row);
	if (own && !row->spoken)
		directory_settle_in(self, s, DIRECTORY_MS);
	if (other && before.owner.id && !before.released && directory_is_own(self, &before)) {
		struct msg_name_lost lost = {.epoch = row->epoch, .owner = row->owner};

		s->st.conflicts++;
		log_warn(actor_log(self), "name_conflict", "name", row->name, "epoch", row->epoch);
		memcpy(lost.name, row->name, sizeof(lost.name));
		actor_send_mail(self, before.owner, MSG_name_lost, &schema_name_lost, &lost);
	}
	directory_answer_waiters(self, s, row);
}

struct owned *directory_own(struct actor *self, struct directory *s, const struct owned *wanted)
{
	struct owned *row = directory_find(s, wanted->name), now = *wanted;

	if (!row)
		row = add_row(s, wanted->name);
	if (!row)
		return NULL;
	now.provisional = true;
	now.modified = row->modified;
	now.lease = row->lease;
	change_row(self, s, row, &now);
	if (actor_phase(self) != DIRECTORY_LOADING)
		watch_owner(self, s, row);
	directory_settle_in(self, s, DIRECTORY_MS);
	return row;
}

void directory_release(struct actor *self, struct directory *s, struct owned *row)
{
	struct msg_store_delete delete = {.compare = STORE_AT_REVISION, .revision = row->modified};

	if (!row->modified) { /* the store does not have it */
		remove_row(self, s, row);
		return;
	}
	row->released = true;
	row->provisional = false;
	row->asked_us = actor_now_us(self);
	snprintf(delete.key, sizeof(delete.key), DIRECTORY_PREFIX "%s", row->name);
	/* no answer is wanted: when it fails the name has a new owner, is gone already, or settle asks
	 * again */
	if (!s->st.store_down)
		actor_send_mail(self, actor_office(self, OFFICE_STORE), MSG_store_delete,
			&schema_store_delete, &delete);
	directory_settle_in(self, s, DIRECTORY_MS);
}

/* ---- what the store has ------------------------------------------------------------------------ */

/* False: the pair is none of a name. */
static bool read_pair(const struct store_pair *pair, struct owned *read)
{
	struct reader in = reader_of(pair->value.data, pair->value.size);
	const char *name = pair->key + sizeof(DIRECTORY_PREFIX) - 1;
	struct name_value value;

	if (strncmp(pair->key, DIRECTORY_PREFIX, sizeof(DIRECTORY_PREFIX) - 1) || !name[0] ||
		strlen(name) >= sizeof(read->name) ||
		schema_decode(&schema_name_value, &in, &value) || addr_is_nobody(value.owner))
		return false;
	*read = (struct owned){
		.owner = value.owner,
		.epoch = value.epoch ? value.epoch : pair->created,
		.modified = pair->modified,
		.lease = pair->lease,
		.start_us = value.start_us,
		.process = value.process,
	};
	text_copy(read->name, sizeof(read->name), name);
	return true;
}

static bool says_the_same(const struct owned *a, const struct owned *b)
{
	return a->epoch == b->epoch && a->start_us == b->start_us && a->process == b->process;
}

void directory_take_pair(struct actor *self, struct directory *s, const struct store_pair *pair)
{
	struct owned read, *row;

	if (!read_pair(pair, &read))
		return;
	hlc_see(&s->st.clock_us, actor_wall_us(self), read.start_us);
	row = directory_find(s, read.name);
	if (row && row->released && addr_equal(row->owner, read.owner) &&
		row->start_us == read.start_us) { /* said before its end was asked for */
		row->modified = read.modified;
		row->asked_us = 0;
		directory_settle_in(self, s, 0);
		return;
	}
	if (row && directory_is_own(self, row) && row->spoken && !row->released) {
		bool same = addr_equal(row->owner, read.owner);

		/* what its owner was granted counts: it may be told later, or over another's */
		if (same ? row->provisional && !says_the_same(row, &read)
			 : directory_beats(row, &read)) {
			if (read.epoch > s->st.last_epoch)
				s->st.last_epoch = read.epoch;
			row->provisional = true;
			row->modified = read.modified;
			row->lease = read.lease;
			directory_settle_in(self, s, 0);
			return;
		}
	}
	if (!row)
		row = add_row(s, read.name);
	if (row)
		change_row(self, s, row, &read);
}

void directory_lose_pair(struct actor *self, struct directory *s, const char *key)
{
	struct owned *row = strlen(key) < sizeof(DIRECTORY_PREFIX)
				    ? NULL
				    : directory_find(s, key + sizeof(DIRECTORY_PREFIX) - 1);

	if (!row)
		return;
	row->modified = 0;
	/* one that nobody here gave up: its lease ended while we were held up, or the store has lost
	 * it. The owner lives and keeps it. */
	if (directory_is_own(self, row) && row->spoken && !row->released &&
		actor_process_of(self, row->owner)) {
		row->provisional = true;
		directory_settle_in(self, s, 0);
	} else {
		remove_row(self, s, row);
	}
}

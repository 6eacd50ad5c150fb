/* SPDX-License-Identifier: Apache-2.0
 *
 * Monitors and links. Both ends remember a watch: the watched actor whom to tell when it ends, the
 * watching one whom it watches, so that either end can be taken back when the other goes, a death
 * of a whole process fires what it must, and nothing grows with the number of actors that ever
 * were.
 *
 *   A.watching {B} <----> B.watchers {A}      B ends: `down` to A, both entries go
 *                                             A ends: "monitor off" to B, both entries go
 */
#include "runtime/kernel.h"

#include <stdlib.h>

enum {
	WATCHES_FIRST = 4,
	WATCHES_MAX = 65536, /* of one actor, either way: others may be strangers */
};

enum err kernel_watch_put(struct watch_list *list, struct addr who, bool link)
{
	for (uint32_t i = 0; i < list->count; i++) {
		if (addr_equal(list->entries[i].who, who)) {
			list->entries[i].link |= link;
			return ERR_OK;
		}
	}
	if (list->count == WATCHES_MAX)
		return ERR_LIMIT;
	if (list->count == list->capacity) {
		uint32_t capacity = list->capacity ? list->capacity * 2 : WATCHES_FIRST;
		struct watch_entry *more = realloc(list->entries, capacity * sizeof(*more));

		if (!more)
			return ERR_NO_MEMORY;
		list->entries = more;
		list->capacity = capacity;
	}
	list->entries[list->count++] = (struct watch_entry){.who = who, .link = link};
	return ERR_OK;
}

bool kernel_watch_remove(struct watch_list *list, struct addr who, struct watch_entry *removed)
{
	for (uint32_t i = 0; i < list->count; i++) {
		if (addr_equal(list->entries[i].who, who)) {
			*removed = list->entries[i];
			list->entries[i] = list->entries[--list->count];
			return true;
		}
	}
	return false;
}

void kernel_tell_down(
	struct runtime *rt, struct addr who, const char *type, enum err reason, struct addr to)
{
	struct msg_down down = {.who = who, .reason = (uint8_t)reason};

	text_copy(down.type, sizeof(down.type), type);
	kernel_route(rt, &(struct kernel_letter){.to = to,
				 .from = who,
				 .type = MSG_down,
				 .schema = &schema_down,
				 .body = &down});
}

bool kernel_watches(const struct actor *actor, struct addr who)
{
	for (uint32_t i = 0; i < actor->watching.count; i++)
		if (addr_equal(actor->watching.entries[i].who, who))
			return true;
	return false;
}

static bool is_elsewhere(const struct runtime *rt, struct addr who)
{
	uint32_t process = kernel_process_of(rt, who);

	return !kernel_is_ours(rt, who) || (process && process != rt->options.process);
}

/* Makes the watched end know, or tells at once that it is dead. */
static enum err begin(struct actor *self, struct addr who)
{
	struct runtime *rt = self->rt;
	struct actor *local = kernel_local(rt, who);

	if (local) {
		uint32_t before = local->watchers.count;
		enum err err = kernel_watch_put(&local->watchers, actor_addr(self), false);

		if (local->watchers.count != before) /* after a takeover it mostly knows */
			kernel_record_changed(local);
		return err;
	}
	if (is_elsewhere(rt, who))
		return actor_send(self, who, monitor, {.off = false});
	kernel_tell_down(rt, who, "", ERR_DEAD, actor_addr(self));
	return ERR_OK;
}

static enum err watch(struct actor *self, struct addr who, bool link)
{
	bool unfit = kernel_is_alias(who); /* nobody's own address: its `down` would be another's */
	enum err err = unfit ? ERR_UNSUPPORTED : kernel_watch_put(&self->watching, who, link);
	struct watch_entry undone;

	kernel_record_changed(self);
	if (!err)
		err = begin(self, who);
	if (err)
		kernel_watch_remove(&self->watching, who, &undone);
	return err;
}

enum err actor_monitor(struct actor *self, struct addr who)
{
	return watch(self, who, false);
}

enum err actor_link(struct actor *self, struct addr who)
{
	return watch(self, who, true);
}

/* Takes the watched end back. */
static enum err take_back(struct actor *self, struct addr who)
{
	struct actor *local = kernel_local(self->rt, who);
	struct watch_entry removed;

	if (local) {
		kernel_record_changed(local);
		kernel_watch_remove(&local->watchers, actor_addr(self), &removed);
	} else if (is_elsewhere(self->rt, who))
		return actor_send(self, who, monitor, {.off = true});
	return ERR_OK;
}

enum err actor_unmonitor(struct actor *self, struct addr who)
{
	struct watch_entry removed;

	kernel_record_changed(self);
	return kernel_watch_remove(&self->watching, who, &removed) ? take_back(self, who) : ERR_OK;
}

/* The actor has ended: tells those who watch it (its parent knows already), and lets go of those
 * that it watched. */
void kernel_watches_end(struct actor *actor, struct addr parent)
{
	struct addr self = actor_addr(actor);

	for (uint32_t i = 0; i < actor->watchers.count; i++)
		if (!addr_equal(actor->watchers.entries[i].who, parent))
			kernel_tell_down(actor->rt, self, actor->type->name, actor->stop_reason,
				actor->watchers.entries[i].who);
	for (uint32_t i = 0; i < actor->watching.count; i++)
		take_back(actor, actor->watching.entries[i].who);
	actor->watchers.count = actor->watching.count = 0;
}

/* `down` has come: the watch is over. True when the actor had linked itself and does not handle
 * `down`: it follows. */
bool kernel_follows_into_death(struct actor *actor, const struct msg_down *down)
{
	struct watch_entry ended;

	if (!kernel_watch_remove(&actor->watching, down->who, &ended))
		return false;
	return ended.link && down->reason != ERR_OK && !kernel_find_handler(actor->type, MSG_down);
}

/* Which of those that watch or are watched: those of a process, or of another node. */
struct side {
	uint32_t process;
	uint64_t node; /* 0 = of a process; or, with no process either, of any other node */
};

static bool is_at(const struct runtime *rt, struct addr who, const struct side *side)
{
	if (side->node)
		return who.node == side->node;
	if (!kernel_is_ours(rt, who))
		return !side->process;
	return side->process && kernel_process_of(rt, who) == side->process &&
	       !idmap_get(&rt->actors, who.id);
}

static void forget_watchers_at(struct actor *actor, const struct side *side)
{
	struct watch_list *list = &actor->watchers;
	uint32_t before = list->count;

	for (uint32_t i = 0; i < list->count; i++)
		if (is_at(actor->rt, list->entries[i].who, side))
			list->entries[i--] = list->entries[--list->count];
	if (list->count != before)
		kernel_record_changed(actor);
}

static void tell_of_those_at(struct actor *actor, const struct side *side)
{
	struct runtime *rt = actor->rt;

	/* (a link may end it on the way) */
	for (uint32_t i = 0; i < actor->watching.count && !actor->stopping; i++) {
		struct addr who = actor->watching.entries[i].who;

		if (!is_at(rt, who, side))
			continue;
		/* its delivery removes the entry, the last one takes its place */
		kernel_tell_down(rt, who, "", ERR_DEAD, actor_addr(actor));
		i--;
	}
}

static void end_of(struct runtime *rt, const struct side *side)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next) {
		forget_watchers_at(actor, side);
		tell_of_those_at(actor, side);
	}
}

/* A process is dead, but it is still known which actors were its own. */
void kernel_watches_of_dead(struct runtime *rt, uint32_t process)
{
	end_of(rt, &(struct side){.process = process});
}

/* Everybody watched there hears of it again (the list may shrink on the way). */
static void ask_again(struct actor *actor, const struct side *side)
{
	for (uint32_t i = actor->watching.count; i-- > 0;)
		if (i < actor->watching.count &&
			is_at(actor->rt, actor->watching.entries[i].who, side))
			begin(actor, actor->watching.entries[i].who);
}

void kernel_watches_of_node(struct runtime *rt, uint64_t node, bool lost)
{
	const struct side side = {.node = node};

	if (lost) {
		end_of(rt, &side);
		return;
	}
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (!actor->stopping)
			ask_again(actor, &side);
}

/* Whether the other end, in another process, knows of the watch or will. */
static bool still_holds(const struct actor *actor, struct addr who)
{
	const struct peer *peer = kernel_peer(actor->rt, kernel_process_of(actor->rt, who));

	return peer && peer->restored;
}

/* After a takeover: everybody watched hears of it again (the list may shrink on the way). */
void kernel_watches_renew(struct actor *actor)
{
	for (uint32_t i = actor->watching.count; i-- > 0;)
		if (i < actor->watching.count &&
			!still_holds(actor, actor->watching.entries[i].who))
			begin(actor, actor->watching.entries[i].who);
}

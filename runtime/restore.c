/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors written down and brought back: the record (who it is), its state by schema, then who
 * watches it and what it waits for. Slots stay in the arena; the actor's restore function counts
 * them again. The input is untrusted.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

static enum err encode_watches(const struct watch_list *list, bool watching, struct writer *out)
{
	enum err err = ERR_OK;

	for (uint32_t i = 0; i < list->count && !err; i++) {
		struct watch watch = {.who = list->entries[i].who,
			.link = list->entries[i].link,
			.watching = watching};

		err = schema_encode(&schema_watch, &watch, out);
	}
	return err;
}

static int compare_asked(const void *a, const void *b)
{
	uint64_t x = ((const struct asked *)a)->request;
	uint64_t y = ((const struct asked *)b)->request;

	return x < y ? -1 : x > y;
}

/* What the actor waits for, in order of asking; *asked is the caller's to free, NULL when nothing. */
static enum err collect_asked(const struct actor *actor, struct asked **asked, uint32_t *count)
{
	const struct idmap *map = &actor->rt->pending;
	uint32_t found = 0;

	*asked = NULL;
	*count = 0;
	for (size_t i = 0; i < map->capacity; i++) {
		const struct pending *pending = map->entries[i].value;

		found += pending && pending->actor == actor->id;
	}
	if (!found)
		return ERR_OK;
	*asked = malloc(found * sizeof(**asked));
	if (!*asked)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < map->capacity; i++) {
		const struct pending *pending = map->entries[i].value;

		if (pending && pending->actor == actor->id)
			(*asked)[(*count)++] = (struct asked){.request = pending->request,
				.to = pending->to,
				.type = pending->type};
	}
	qsort(*asked, *count, sizeof(**asked), compare_asked);
	return ERR_OK;
}

enum err runtime_encode_actor(struct actor *actor, struct writer *out)
{
	struct actor_record record = {
		.id = actor->id,
		.phase = actor->phase,
		.parent = actor->parent,
		.watch_count = actor->watchers.count + actor->watching.count,
		.watches_peers = actor->watches_peers,
	};
	struct asked *asked;
	enum err err = collect_asked(actor, &asked, &record.asked_count);

	text_copy(record.type, sizeof(record.type), actor->type->name);
	text_copy(record.name, sizeof(record.name), actor->name);
	if (!err)
		err = schema_encode(&schema_actor_record, &record, out);
	if (!err)
		err = schema_encode(actor->type->state, actor->data, out);
	if (!err)
		err = encode_watches(&actor->watchers, false, out);
	if (!err)
		err = encode_watches(&actor->watching, true, out);
	for (uint32_t i = 0; i < record.asked_count && !err; i++)
		err = schema_encode(&schema_asked, &asked[i], out);
	free(asked);
	return err;
}

static const struct actor_type *find_type(const struct runtime *rt, const char *name)
{
	for (const struct actor_type *const *type = rt->options.types; type && *type; type++)
		if (!strcmp((*type)->name, name))
			return *type;
	return NULL;
}

static enum err restore_watch(struct actor *actor, struct reader *in)
{
	struct watch watch;
	enum err err = schema_decode(&schema_watch, in, &watch);

	if (err)
		return err;
	/* the watched hear of it when all are back: runtime_restore_end */
	return kernel_watch_put(
		watch.watching ? &actor->watching : &actor->watchers, watch.who, watch.link);
}

/* What the dead process had asked will never be answered to us: the actor hears so. */
static enum err restore_asked(struct actor *actor, struct reader *in)
{
	struct runtime *rt = actor->rt;
	struct asked asked;
	struct pending *pending;
	enum err err = schema_decode(&schema_asked, in, &asked);

	if (err || !asked.request || idmap_get(&rt->pending, asked.request))
		return err ? err : ERR_FORMAT;
	pending = malloc(sizeof(*pending));
	if (!pending)
		return ERR_NO_MEMORY;
	*pending = (struct pending){.request = asked.request,
		.actor = actor->id,
		.to = asked.to,
		.type = asked.type,
		.process = 0};
	err = idmap_put(&rt->pending, asked.request, pending);
	if (err)
		free(pending);
	else
		err = timers_push(&rt->timers, rt->now_us, asked.request, TIMER_SUB_REQUEST);
	return err;
}

static enum err restore_rest(
	struct actor *actor, const struct actor_record *record, struct reader *in)
{
	enum err err = ERR_OK;

	for (uint32_t i = 0; i < record->watch_count && !err; i++)
		err = restore_watch(actor, in);
	for (uint32_t i = 0; i < record->asked_count && !err; i++)
		err = restore_asked(actor, in);
	return err;
}

enum err runtime_restore_actor(struct runtime *rt, struct reader *in)
{
	struct actor_record record;
	const struct actor_type *type;
	struct actor *actor;
	enum err err = schema_decode(&schema_actor_record, in, &record);

	if (err)
		return err;
	type = find_type(rt, record.type);
	if (!type || !type->restore)
		return ERR_UNSUPPORTED;
	if (!record.id || idmap_get(&rt->actors, record.id))
		return ERR_EXISTS;
	actor = kernel_new_actor(rt, type, record.id);
	if (!actor)
		return ERR_NO_MEMORY;
	actor->parent = record.parent;
	actor->phase = record.phase;
	actor->watches_peers = record.watches_peers;
	actor_set_name(actor, record.name);
	err = schema_decode(type->state, in, actor->data);
	if (!err)
		err = type->restore(actor, actor->data);
	actor->unfinished = err != ERR_OK;
	if (!err)
		err = restore_rest(actor, &record, in);
	if (err)
		actor_stop(
			actor, err); /* its parent and who watches it hear so when all are back */
	return err;
}

void runtime_restore_end(struct runtime *rt)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next) {
		struct actor *parent = idmap_get(&rt->actors, actor->parent);

		if (parent)
			parent->children++;
		uint64_t serial = actor->id & ((1ull << RUNTIME_BLOCK_SHIFT) - 1);

		if (actor->id >> RUNTIME_BLOCK_SHIFT == rt->options.block &&
			serial >= rt->next_serial)
			rt->next_serial = serial + 1;
		kernel_watches_renew(actor);
		actor->kicked = true;
		kernel_make_ready(actor);
	}
}

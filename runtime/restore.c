/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors written down and brought back: the record (who it is), its state by schema, then who
 * watches it, what it waits for and its mailbox. Slots stay in the arena; the actor's restore function
 * counts them again. The input is untrusted.
 */
#include "runtime/kernel.h"
#include "schemas/mp.h"

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
				.type = pending->type,
				.process = pending->process,
				.deadline_us = pending->deadline_us};
	}
	qsort(*asked, *count, sizeof(**asked), compare_asked);
	return ERR_OK;
}

static enum err encode_mailbox(const struct actor *actor, struct writer *out)
{
	enum err err = ERR_OK;

	for (const struct mail_node *node = actor->mail_first; node && !err; node = node->next) {
		struct waiting_mail mail = {.from = node->mail.from,
			.type = node->mail.type,
			.request = node->mail.request,
			.is_reply = node->mail.is_reply,
			.deadline_us = node->mail.deadline_us};

		err = schema_encode(&schema_waiting_mail, &mail, out);
		if (!err)
			err = schema_encode(node->schema, node->body, out);
	}
	return err;
}

enum err runtime_encode_actor(struct actor *actor, struct writer *out)
{
	uint8_t *begin = out->at;
	enum err err = schema_encode_part(actor->type->state, actor->data, true, out);

	err = err ? err : kernel_encode_cold(actor, out);
	if (err)
		out->at = begin; /* no half records */
	return err;
}

enum err kernel_encode_cold(struct actor *actor, struct writer *out)
{
	struct actor_record record = {
		.id = actor->id,
		.phase = actor->phase,
		.parent = actor->parent,
		.watch_count = actor->watchers.count + actor->watching.count,
		.watches_peers = actor->watches_peers,
		.watches_nodes = actor->watches_nodes,
		.mail_count = actor->mail_count,
		.stopping = actor->stopping,
		.stop_reason = actor->stop_reason,
		.moves = actor->moves,
		.born_us = actor->born_us,
	};
	struct asked *asked;
	enum err err = collect_asked(actor, &asked, &record.asked_count);

	text_copy(record.type, sizeof(record.type), actor->type->name);
	text_copy(record.name, sizeof(record.name), actor->name);
	if (!err)
		err = schema_encode(&schema_actor_record, &record, out);
	if (!err)
		err = schema_encode_part(actor->type->state, actor->data, false, out);
	if (!err)
		err = encode_watches(&actor->watchers, false, out);
	if (!err)
		err = encode_watches(&actor->watching, true, out);
	for (uint32_t i = 0; i < record.asked_count && !err; i++)
		err = schema_encode(&schema_asked, &asked[i], out);
	free(asked);
	return err ? err : encode_mailbox(actor, out);
}

static const struct actor_type *find_type(const struct runtime *rt, const char *name)
{
	for (const struct actor_type *const *type = rt->options.types; type && *type; type++)
		if (!strcmp((*type)->name, name))
			return *type;
	return NULL;
}

/* The watched hear of it when all are back (runtime_restore_end). Who watches and finds no room in the list is
 * told at once that this actor ends, as it does then. */
static enum err restore_watches(struct actor *actor, uint32_t count, struct reader *in)
{
	enum err err = ERR_OK;

	for (uint32_t i = 0; i < count; i++) {
		struct watch watch;
		enum err bad = schema_decode(&schema_watch, in, &watch), full;

		if (bad)
			return bad;
		full = kernel_watch_put(watch.watching ? &actor->watching : &actor->watchers,
			watch.who, watch.link);
		if (full && !watch.watching)
			kernel_tell_down(
				actor->rt, actor_addr(actor), actor->type->name, full, watch.who);
		err = err ? err : full;
	}
	return err;
}

/* Its answer may come yet; those that cannot are failed when all are back. */
static enum err restore_asked(struct actor *actor, struct reader *in)
{
	struct asked asked;
	enum err err = schema_decode(&schema_asked, in, &asked);

	if (err || !asked.request || idmap_get(&actor->rt->pending, asked.request))
		return err ? err : ERR_FORMAT;
	return kernel_open_pending(actor->rt, &(struct pending){.request = asked.request,
						      .actor = actor->id,
						      .to = asked.to,
						      .type = asked.type,
						      .process = asked.process,
						      .deadline_us = asked.deadline_us});
}

static enum err restore_mail(struct actor *actor, struct reader *in)
{
	uint8_t *body = actor->rt->body;
	struct waiting_mail waiting;
	const struct schema *schema;
	enum err err = schema_decode(&schema_waiting_mail, in, &waiting);

	if (err)
		return err;
	schema = schema_by_id(waiting.type);
	if (!schema || schema->use != SCHEMA_MESSAGE || schema->size > MESSAGE_STRUCT_MAX)
		return ERR_FORMAT;
	err = schema_decode(schema, in, body);
	return err ? err
		   : kernel_mail_again(actor,
			     &(struct mail){.from = waiting.from,
				     .type = waiting.type,
				     .request = waiting.request,
				     .is_reply = waiting.is_reply,
				     .deadline_us = waiting.deadline_us},
			     schema, body);
}

static enum err restore_rest(
	struct actor *actor, const struct actor_record *record, struct reader *in)
{
	enum err err = restore_watches(actor, record->watch_count, in);
	uint32_t changes = actor->record_changes;

	for (uint32_t i = 0; i < record->asked_count && !err; i++)
		err = restore_asked(actor, in);
	actor->record_changes = changes; /* its record has them */
	for (uint32_t i = 0; i < record->mail_count && !err; i++)
		err = restore_mail(actor, in);
	return err;
}

enum err kernel_restore_actor(struct runtime *rt, struct reader *hot, struct reader *in,
	bool poisoned, struct actor **restored)
{
	struct actor_record record;
	const struct actor_type *type;
	struct actor *actor;
	enum err err = schema_decode(&schema_actor_record, in, &record);

	*restored = NULL;
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
	*restored = actor;
	actor->parent = record.parent;
	actor->phase = record.phase;
	actor->watches_peers = record.watches_peers;
	actor->watches_nodes = record.watches_nodes;
	actor->moves = record.moves;
	if (record.born_us > 0 && record.born_us < rt->now_us)
		actor->born_us = record.born_us;
	actor_set_name(actor, record.name);
	err = schema_decode(type->state, in, actor->data);
	if (!err && kernel_shape_of(rt, type->state)->has_hot)
		err = hot ? schema_decode_more(type->state, hot, actor->data) : ERR_FORMAT;
	bool is_decoded = !err;

	if (is_decoded)
		kernel_keep_found(actor, record.mail_count > 0);
	if (!err && rt->arrival)
		err = kernel_arrive(actor);
	if (!err)
		err = poisoned ? ERR_INTERNAL : type->restore(actor, actor->data);
	actor->unfinished = err != ERR_OK;
	/* whoever watches it or has asked it hears of its end */
	enum err rest = is_decoded ? restore_rest(actor, &record, in) : ERR_OK;

	err = err ? err : rest;
	if (err)
		actor_stop(
			actor, err); /* its parent and who watches it hear so when all are back */
	else if (record.stopping)
		actor_stop(actor, record.stop_reason);
	return err;
}

struct reader kernel_hot_of(struct reader *in)
{
	struct reader hot = *in;

	mp_skip(in, MP_DEPTH_MAX);
	return hot;
}

enum err runtime_restore_actor(struct runtime *rt, struct reader *in)
{
	struct reader hot = kernel_hot_of(in);
	struct actor *actor;

	return kernel_restore_actor(rt, &hot, in, false, &actor);
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
	kernel_fail_lost_requests(rt);
}

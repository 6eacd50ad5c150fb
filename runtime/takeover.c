/* SPDX-License-Identifier: Apache-2.0
 *
 * A successor goes on with what its line's last process left in arena and escrow (decision 14).
 *
 *   channels to peers ──> mails that they had not acknowledged ──> actors, in order of id ──> owed answers
 *          \──not whole: nothing has been restored, the line ends          │
 *   recount begin ........................................................ recount end ──> restore end
 *
 * An actor is noted while its restore function runs. One that was found so noted, or running at a fatal
 * signal, ESCROW_POISON times is ended instead, as is one whose restore fails: who watched it, its
 * children and whoever had asked it hear so. Of one whose bytes are damaged nothing is known but its id.
 *
 * Reads arena and escrow as untrusted. Owns nothing.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

enum {
	PROVEN_MS = 10000, /* life after a takeover that clears everybody restored */
};

/* An entry of the escrow, in the order in which they are brought back. */
struct found {
	enum kept_class class;
	uint64_t first, second; /* channel: process; mail: process, number; hot, actor: id */
	uint32_t entry;
};

struct takeover {
	struct runtime *rt;
	struct runtime_takeover_report *report;
	uint8_t *bytes; /* RUNTIME_FRAME_MAX: an entry's */
	uint8_t *hot;	/* the same of what is hot */
	struct found *found;
	size_t count;
};

static enum err read_to(struct takeover *t, uint32_t entry, uint8_t *bytes, struct reader *in)
{
	uint64_t owner;
	size_t size;
	enum err err =
		escrow_read(t->rt->options.escrow, entry, &owner, bytes, RUNTIME_FRAME_MAX, &size);

	*in = reader_of(bytes, err ? 0 : size);
	return err;
}

static enum err read_entry(struct takeover *t, uint32_t entry, struct reader *in)
{
	return read_to(t, entry, t->bytes, in);
}

/* ---- finding ----------------------------------------------------------------------------------- */

static int compare_found(const void *a_, const void *b_)
{
	const struct found *a = a_, *b = b_;

	if (a->class != b->class)
		return a->class < b->class ? -1 : 1;
	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	return a->second < b->second ? -1 : a->second > b->second;
}

/* Mails and what is hot say in their bytes whose they are. Of a mail that cannot be read nothing is
 * known; what is hot is then missing to its actor. */
static enum err read_whose(struct takeover *t, struct found *found)
{
	struct channel_mail mail;
	struct kept_hot hot;
	struct reader in;
	enum err err = read_entry(t, found->entry, &in);

	if (found->class == KEPT_HOT) {
		found->first = err || schema_decode(&schema_kept_hot, &in, &hot) ? 0 : hot.actor;
		return ERR_OK;
	}
	if (err || schema_decode(&schema_channel_mail, &in, &mail))
		return ERR_FORMAT;
	found->first = mail.process;
	found->second = mail.seq;
	return ERR_OK;
}

static enum err find_all(struct takeover *t)
{
	const struct escrow *escrow = t->rt->options.escrow;

	for (uint32_t entry = 1; entry <= escrow_entries(escrow); entry++) {
		uint64_t owner = escrow_owner(escrow, entry);
		struct found found = {
			.class = kernel_kept_class(owner), .first = owner, .entry = entry};

		if (!owner)
			continue;
		if (found.class < KEPT_CHANNEL || found.class > KEPT_ACTOR)
			return ERR_FORMAT;
		if (found.class == KEPT_CHANNEL)
			found.first = (uint32_t)owner;
		if ((found.class == KEPT_MAIL || found.class == KEPT_HOT) && read_whose(t, &found))
			return ERR_FORMAT;
		t->found[t->count++] = found;
	}
	if (t->count)
		qsort(t->found, t->count, sizeof(*t->found), compare_found);
	return ERR_OK;
}

/* ---- channels ---------------------------------------------------------------------------------- */

static enum err restore_channel(struct takeover *t, const struct found *found)
{
	struct channel channel;
	struct reader in;
	enum err err = read_entry(t, found->entry, &in);

	err = err ? err : schema_decode(&schema_channel, &in, &channel);
	if (!err && channel.process != found->first)
		err = ERR_FORMAT;
	return err ? err : kernel_bus_restore_peer(t->rt, &channel, found->entry);
}

static enum err restore_mail(struct takeover *t, const struct found *found)
{
	struct channel_mail mail;
	struct reader in;
	enum err err = read_entry(t, found->entry, &in);

	err = err ? err : schema_decode(&schema_channel_mail, &in, &mail);
	return err ? err : kernel_bus_restore_mail(t->rt, &mail, &in, found->entry);
}

/* What peers have been told cannot be guessed: these are whole, or the line ends. */
static enum err restore_channels(struct takeover *t)
{
	enum err err = ERR_OK;

	for (size_t i = 0; i < t->count && t->found[i].class <= KEPT_MAIL && !err; i++) {
		bool is_mail = t->found[i].class == KEPT_MAIL;

		err = is_mail ? restore_mail(t, &t->found[i]) : restore_channel(t, &t->found[i]);
		t->report->mails += is_mail;
	}
	if (!err && !kernel_bus_is_whole(t->rt))
		err = ERR_FORMAT;
	return err;
}

/* ---- actors ------------------------------------------------------------------------------------ */

static void report_lost(
	struct runtime *rt, const char *why, const struct actor *actor, uint64_t id, enum err err)
{
	char text[ADDR_TEXT_SIZE];

	addr_text((struct addr){.node = rt->options.node, .id = id}, text);
	log_warn(rt->options.log, "actor_lost", "why", why, "type",
		actor ? actor->type->name : "unknown", "actor", actor ? actor->name : text, "error",
		err_name(err));
}

/* What is hot of an actor: its entry, 0 = it has none. */
static uint32_t find_hot(struct takeover *t, uint64_t actor, struct reader *in)
{
	const struct found key = {.class = KEPT_HOT, .first = actor};
	const struct found *hot =
		bsearch(&key, t->found, t->count, sizeof(*t->found), compare_found);
	struct kept_hot head;

	if (hot && !read_to(t, hot->entry, t->hot, in))
		schema_decode(&schema_kept_hot, in, &head);
	return hot ? hot->entry : 0;
}

static void restore_actor(struct takeover *t, const struct found *found)
{
	struct runtime *rt = t->rt;
	struct escrow *escrow = rt->options.escrow;
	bool poisoned = escrow_blamed(escrow, found->entry) >= ESCROW_POISON;
	struct actor *actor = NULL;
	struct reader in, hot = reader_of(NULL, 0);
	uint32_t hot_entry = find_hot(t, found->first, &hot);
	enum err err = read_entry(t, found->entry, &in);

	if (!err) {
		escrow_note_tried(escrow, found->entry);
		err = kernel_restore_actor(rt, hot_entry ? &hot : NULL, &in, poisoned, &actor);
		escrow_note_tried(escrow, 0);
	}
	if (actor) {
		actor->escrow_entry = found->entry;
		actor->hot_entry = hot_entry;
	} else {
		escrow_remove(escrow, found->entry);
		if (hot_entry)
			escrow_remove(escrow, hot_entry);
	}
	if (actor && err && rt->options.arena)
		arena_hold_no_more(rt->options.arena, found->first);
	if (!err) {
		t->report->restored++;
	} else if (poisoned) {
		t->report->poisoned++;
		text_copy(t->report->poisoned_name, sizeof(t->report->poisoned_name),
			actor ? actor->name : "");
		report_lost(rt, "poisoned", actor, found->first, err);
	} else if (actor) {
		t->report->ended_by_restore++;
		log_info(rt->options.log, "not_restored", "type", actor->type->name, "actor",
			actor->name, "error", err_name(err));
	} else {
		t->report->left_out++;
		report_lost(rt, "damaged", NULL, found->first, err);
	}
}

/* Who was to answer knows no more whom. */
static void fail_owed(struct takeover *t, const struct found *found)
{
	struct owed_answer owed;
	struct msg_failed failed = {.err = ERR_DEAD};
	struct reader in;

	if (!read_entry(t, found->entry, &in) && !schema_decode(&schema_owed_answer, &in, &owed)) {
		failed.type = owed.type;
		kernel_route(t->rt, &(struct kernel_letter){
					    .to = owed.asker,
					    .from = {.node = t->rt->options.node},
					    .type = MSG_failed,
					    .is_reply = true,
					    .request = owed.request,
					    .schema = &schema_failed,
					    .body = &failed,
				    });
	}
	escrow_remove(t->rt->options.escrow, found->entry);
}

/* Their parent's end is theirs, though it could not be told. */
static void end_orphans(struct runtime *rt)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (actor->parent && !idmap_get(&rt->actors, actor->parent))
			actor_stop(actor, ERR_DEAD);
}

/* Without a note its actor is looked for where it was born. */
static void restore_notes(struct takeover *t)
{
	struct reader in;

	for (size_t i = 0; i < t->count; i++)
		if (t->found[i].class == KEPT_MOVE &&
			(read_entry(t, t->found[i].entry, &in) ||
				kernel_restore_note(t->rt, &in, t->found[i].entry)))
			escrow_remove(t->rt->options.escrow, t->found[i].entry);
}

static void restore_actors(struct takeover *t)
{
	struct runtime *rt = t->rt;
	struct arena *arena = rt->options.arena;

	restore_notes(t);
	if (arena)
		arena_recount_begin(arena);
	for (size_t i = 0; i < t->count; i++)
		if (t->found[i].class == KEPT_ACTOR)
			restore_actor(t, &t->found[i]);
		else if (t->found[i].class == KEPT_HOT && !t->found[i].first)
			escrow_remove(rt->options.escrow, t->found[i].entry);
	if (arena)
		t->report->slots_freed = arena_recount_end(arena);
	end_orphans(rt);
	runtime_restore_end(rt);
	for (size_t i = 0; i < t->count; i++)
		if (t->found[i].class == KEPT_OWED)
			fail_owed(t, &t->found[i]);
	if (t->report->restored)
		rt->absolve_at_us = rt->now_us + PROVEN_MS * 1000;
}

/* ---- all of it --------------------------------------------------------------------------------- */

enum err runtime_takeover(struct runtime *rt, struct runtime_takeover_report *report)
{
	struct escrow *escrow = rt->options.escrow;
	int64_t since_us = rt->options.ops->now_us(rt->options.context);
	struct takeover t = {.rt = rt, .report = report};
	enum err err = ERR_NO_MEMORY;

	*report = (struct runtime_takeover_report){0};
	if (!escrow)
		return ERR_OK;
	escrow_blame(escrow);
	t.bytes = malloc(RUNTIME_FRAME_MAX);
	t.hot = malloc(RUNTIME_FRAME_MAX);
	t.found = calloc(escrow_entries(escrow) + 1u, sizeof(*t.found));
	if (t.bytes && t.hot && t.found) {
		err = find_all(&t);
		err = err ? err : restore_channels(&t);
		if (!err)
			restore_actors(&t);
	}
	free(t.found);
	free(t.hot);
	free(t.bytes);
	report->took_us = rt->options.ops->now_us(rt->options.context) - since_us;
	if (!err && t.count)
		log_info(rt->options.log, "taken_over", "restored", report->restored,
			"ended_by_restore", report->ended_by_restore, "left_out", report->left_out,
			"poisoned", report->poisoned, "mails", report->mails, "slots_freed",
			report->slots_freed, "took_us", report->took_us);
	return err;
}

void runtime_note_fatal(const struct runtime *rt)
{
	if (rt->running && rt->options.escrow)
		escrow_note_ran(rt->options.escrow, rt->running->escrow_entry);
}

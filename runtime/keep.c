/* SPDX-License-Identifier: Apache-2.0
 *
 * The turn is kept: what actors have become in it is written into the escrow and committed, before
 * mail and acknowledgements of it leave the process (runtime_turn). So are mails to other processes
 * when they are said, and the numbering of both ways (bus.c). Packets leave earlier: what changes with
 * each of them lies in the arena's slots.
 *
 *   runs (and does not say `unchanged`), is mailed, watched, asks
 *                                  --> changed --end of turn--> another sum? --> written --> commit
 *                                                   \-- the same: nothing
 *
 * An actor for which there is no room is taken out: it ends with its process. A mail for which there
 * is none is refused; while there is none for a channel nothing leaves by it.
 */
#include "runtime/kernel.h"

enum { CHANNEL_SIZE_MAX = 64, PROVEN_US = 10 * 1000000 };

/* Ids of actors begin with their process' block, which is never 0. */
enum { KEPT_CLASS_SHIFT = 32 };

_Static_assert((uint64_t)KEPT_ACTOR << KEPT_CLASS_SHIFT < UINT64_C(1) << RUNTIME_BLOCK_SHIFT,
	"ids of actors are no classes");

void kernel_changed(struct actor *actor)
{
	struct runtime *rt = actor->rt;

	if (actor->changed || !rt->options.escrow)
		return;
	actor->changed = true;
	actor->next_changed = rt->changed;
	rt->changed = actor;
}

void kernel_record_changed(struct actor *actor)
{
	actor->record_changes++;
	kernel_changed(actor);
}

void actor_unchanged(struct actor *self)
{
	self->unchanged = true;
}

uint64_t actor_turn(const struct actor *self)
{
	return self->rt->options.escrow ? escrow_turn(self->rt->options.escrow) : 0;
}

void kernel_asked_changed(struct runtime *rt, uint64_t id)
{
	struct actor *actor = rt->options.escrow ? idmap_get(&rt->actors, id) : NULL;

	if (actor)
		kernel_record_changed(actor);
}

static void take_out(struct actor *actor)
{
	kernel_keep_not(actor->rt, &actor->escrow_entry);
	kernel_keep_not(actor->rt, &actor->hot_entry);
}

void kernel_keep_ended(struct actor *actor)
{
	if (actor->rt->options.escrow)
		take_out(actor);
}

/* ---- the cheap test ---------------------------------------------------------------------------- */

/* Of all that runtime_encode_actor writes down: much cheaper than writing it down. Mails come and go
 * in order: how many wait behind how many handled says which. */
static struct state_sum sum_of(const struct actor *actor)
{
	const uint64_t words[] = {actor->parent,
		(uint64_t)actor->phase << 32 | actor->record_changes,
		(uint64_t)actor->stopping << 2 | actor->watches_nodes << 1 | actor->watches_peers,
		actor->mail_count, actor->mail_count ? actor->handled : 0};
	struct state_sum sum = {.hot = actor->id};

	sum.rest = escrow_sum(actor->id, words, sizeof(words));
	sum.rest = escrow_sum(sum.rest, actor->name, strlen(actor->name));
	return kernel_state_sum(actor->shape, actor->data, sum);
}

/* The escrow has it as it has just been decoded: only what differs from that at the end of a turn is
 * written. (Which mails wait behind how many handled only their own process knows.) */
void kernel_keep_found(struct actor *actor, bool has_mail)
{
	if (!actor->rt->options.escrow || has_mail)
		return;
	actor->shape = kernel_shape_of(actor->rt, actor->type->state);
	actor->kept_sum = sum_of(actor);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static enum err put(struct runtime *rt, uint32_t *entry, uint64_t owner, const struct writer *out)
{
	size_t size = writer_used(out);
	enum err err;

	if (!*entry)
		*entry = escrow_open(rt->options.escrow, owner);
	err = *entry ? escrow_put(rt->options.escrow, *entry, rt->scratch, size) : ERR_NO_SPACE;
	if (!err)
		rt->counters.kept_bytes += size;
	return err;
}

static enum err put_hot(struct actor *actor)
{
	struct runtime *rt = actor->rt;
	struct writer out = writer_of(rt->scratch, RUNTIME_FRAME_MAX);
	const struct kept_hot head = {.actor = actor->id};
	enum err err = schema_encode(&schema_kept_hot, &head, &out);

	err = err ? err : schema_encode_part(actor->type->state, actor->data, true, &out);
	return err ? err : put(rt, &actor->hot_entry, (uint64_t)KEPT_HOT << KEPT_CLASS_SHIFT, &out);
}

static enum err put_cold(struct actor *actor)
{
	struct writer out = writer_of(actor->rt->scratch, RUNTIME_FRAME_MAX);
	enum err err = kernel_encode_cold(actor, &out);

	return err ? err : put(actor->rt, &actor->escrow_entry, actor->id, &out);
}

/* What differs from what the escrow has. */
static enum err write_down(struct actor *actor, struct state_sum sum)
{
	enum err err = ERR_OK;

	if (!actor->escrow_entry || sum.rest != actor->kept_sum.rest)
		err = put_cold(actor);
	if (!err && actor->shape->has_hot && (!actor->hot_entry || sum.hot != actor->kept_sum.hot))
		err = put_hot(actor);
	return err;
}

static void keep(struct actor *actor)
{
	struct runtime *rt = actor->rt;
	struct state_sum sum;
	enum err err;

	if (!actor->shape)
		actor->shape = kernel_shape_of(rt, actor->type->state);
	sum = sum_of(actor);
	if (actor->escrow_entry && sum.rest == actor->kept_sum.rest &&
		sum.hot == actor->kept_sum.hot) {
		rt->counters.kept_same++;
		return;
	}
	err = write_down(actor, sum);
	if (!err) {
		actor->kept_sum = sum;
		rt->counters.kept++;
		return;
	}
	/* an old version must not come back in its place; with each change it is tried again */
	take_out(actor);
	if (rt->counters.not_kept++ == 0)
		log_warn(rt->options.log, "not_kept", "type", actor->type->name, "actor",
			actor->name, "error", err_name(err));
}

/* ---- channels and mails to other processes ------------------------------------------------------- */

enum kept_class kernel_kept_class(uint64_t owner)
{
	if (owner >> RUNTIME_BLOCK_SHIFT)
		return KEPT_ACTOR;
	return (enum kept_class)(owner >> KEPT_CLASS_SHIFT);
}

uint32_t kernel_keep_bytes(
	struct runtime *rt, enum kept_class class, uint32_t process, const void *bytes, size_t size)
{
	struct escrow *escrow = rt->options.escrow;
	uint32_t entry = escrow_open(escrow, (uint64_t) class << KEPT_CLASS_SHIFT | process);

	if (entry && escrow_put(escrow, entry, bytes, size))
		kernel_keep_not(rt, &entry);
	return entry;
}

void kernel_keep_not(struct runtime *rt, uint32_t *entry)
{
	if (*entry && rt->options.escrow)
		escrow_remove(rt->options.escrow, *entry);
	*entry = 0;
}

/* Returns whether what the peer is to be told of counts from the next commit on. */
static bool keep_channel(struct runtime *rt, struct peer *peer)
{
	uint8_t bytes[CHANNEL_SIZE_MAX];
	struct writer out = writer_of(bytes, sizeof(bytes));
	struct channel channel = {.process = peer->info.process,
		.block = peer->info.block,
		.role = peer->info.role,
		.index = peer->info.index,
		.out_seq = peer->mail.out_seq,
		.in_seq = peer->mail.in_seq};

	if (peer->escrow_entry && peer->mail.out_seq == peer->mail.out_kept &&
		peer->mail.in_seq == peer->mail.in_kept)
		return true;
	if (schema_encode(&schema_channel, &channel, &out))
		return false;
	if (!peer->escrow_entry) {
		peer->escrow_entry = kernel_keep_bytes(
			rt, KEPT_CHANNEL, peer->info.process, bytes, writer_used(&out));
		return peer->escrow_entry != 0;
	}
	return escrow_put(rt->options.escrow, peer->escrow_entry, bytes, writer_used(&out)) ==
	       ERR_OK;
}

static void keep_channels(struct runtime *rt)
{
	for (int i = 0; i < rt->peers_end; i++) {
		struct peer *peer = &rt->peers[i];

		if (!peer->used || !keep_channel(rt, peer))
			continue;
		/* (looked at only after the commit) */
		peer->mail.in_kept = peer->mail.in_seq;
		peer->mail.out_kept = peer->mail.out_seq;
	}
}

/* ---- numbers ------------------------------------------------------------------------------------- */

uint64_t kernel_next_serial(struct runtime *rt)
{
	if (rt->options.escrow && rt->next_serial == rt->serials_end) {
		rt->serials_end += NUMBERS_STRIDE;
		escrow_reserve(rt->options.escrow, ESCROW_SERIALS, rt->serials_end);
	}
	return rt->next_serial++;
}

void kernel_keep_begin(struct runtime *rt)
{
	const uint64_t serial = UINT64_C(1) << RUNTIME_BLOCK_SHIFT;
	uint64_t serials = escrow_reserved(rt->options.escrow, ESCROW_SERIALS);

	if (serials > rt->next_serial && serials < serial - NUMBERS_STRIDE)
		rt->next_serial = serials;
	rt->serials_end = rt->next_serial;
	if (rt->options.arena)
		arena_keep_freed(rt->options.arena);
}

/* ---- the turn ------------------------------------------------------------------------------------ */

void kernel_keep_turn(struct runtime *rt)
{
	int64_t since_us;

	if (!rt->options.escrow)
		return;
	since_us = rt->options.ops->now_us(rt->options.context);
	while (rt->changed) {
		struct actor *actor = rt->changed;

		rt->changed = actor->next_changed;
		actor->changed = false;
		if (!actor->ended)
			keep(actor);
	}
	keep_channels(rt);
	escrow_commit(rt->options.escrow);
	if (rt->options.arena)
		arena_commit(rt->options.arena);
	if (rt->absolve_at_us && rt->absolve_at_us <= rt->now_us) {
		rt->absolve_at_us = 0;
		escrow_absolve(rt->options.escrow);
	}
	rt->counters.keep_us += rt->options.ops->now_us(rt->options.context) - since_us;
}

/* What an entry has, without what says whose it is. */
static bool read_kept(const struct actor *actor, uint32_t entry, bool hot, struct writer *out)
{
	uint64_t owner;
	size_t size;
	struct reader in;
	struct kept_hot head = {.actor = actor->id};

	if (escrow_read(actor->rt->options.escrow, entry, &owner, out->at,
		    (size_t)(out->end - out->at), &size))
		return false;
	in = reader_of(out->at, size);
	if (hot && schema_decode(&schema_kept_hot, &in, &head))
		return false;
	memmove(out->at, in.at, (size_t)(in.end - in.at));
	out->at += in.end - in.at;
	return head.actor == actor->id && (hot || owner == actor->id);
}

bool runtime_kept_actor(const struct actor *actor, void *bytes, size_t capacity, size_t *size)
{
	struct writer out = writer_of(bytes, capacity);

	if (actor->rt->changed || !actor->escrow_entry)
		return false;
	if (actor->hot_entry
			? !read_kept(actor, actor->hot_entry, true, &out)
			: schema_encode_part(actor->type->state, actor->data, true, &out) != ERR_OK)
		return false;
	if (!read_kept(actor, actor->escrow_entry, false, &out))
		return false;
	*size = writer_used(&out);
	return true;
}

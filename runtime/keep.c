/* SPDX-License-Identifier: Apache-2.0
 *
 * The turn is kept: what actors have become in it is written into the escrow and committed, before
 * mail and acknowledgements of it leave the process (runtime_turn). Packets leave earlier: what
 * changes with each of them lies in the arena's slots.
 *
 *   runs (and does not say `unchanged`), is mailed, watched, asks
 *                                  --> changed --end of turn--> another sum? --> written --> commit
 *                                                   \-- the same: nothing
 *
 * An actor for which there is no room is taken out: it ends with its process.
 */
#include "runtime/kernel.h"

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
	if (actor->escrow_entry)
		escrow_remove(actor->rt->options.escrow, actor->escrow_entry);
	actor->escrow_entry = 0;
	actor->kept_sum = 0;
}

void kernel_keep_ended(struct actor *actor)
{
	if (actor->rt->options.escrow)
		take_out(actor);
}

/* ---- the cheap test ---------------------------------------------------------------------------- */

static void find_lists(struct state_shape *shape, const struct schema *schema)
{
	shape->schema = schema;
	for (uint32_t i = 0; i < schema->field_count; i++) {
		const struct field *field = &schema->fields[i];
		uint32_t before = shape->lists ? shape->list[shape->lists - 1].end : 0;

		if (field->kind != FIELD_LIST || field->offset < before)
			continue;
		MUST(shape->lists < SHAPE_LISTS_MAX);
		shape->list[shape->lists].from = field->offset;
		shape->list[shape->lists].end = field->offset + field->max * field->sub->size;
		shape->list[shape->lists].count_at = field->count_offset;
		shape->list[shape->lists++].item = field->sub->size;
	}
}

static const struct state_shape *shape_of(struct runtime *rt, const struct schema *schema)
{
	struct state_shape *shape = rt->shapes;

	while (shape->schema && shape->schema != schema)
		MUST(++shape < rt->shapes + SHAPES_MAX);
	if (!shape->schema)
		find_lists(shape, schema);
	return shape;
}

/* A list is summed as far as it is filled: a stream's subscribers have room for thousands. */
static uint64_t sum_of_state(uint64_t sum, const struct state_shape *shape, const uint8_t *state)
{
	uint32_t from = 0;

	for (uint32_t i = 0; i < shape->lists; i++) {
		uint16_t count;

		memcpy(&count, state + shape->list[i].count_at, sizeof(count));
		sum = escrow_sum(sum, state + from, shape->list[i].from - from);
		sum = escrow_sum(
			sum, state + shape->list[i].from, (size_t)count * shape->list[i].item);
		from = shape->list[i].end;
	}
	return escrow_sum(sum, state + from, shape->schema->size - from);
}

/* Of all that runtime_encode_actor writes down: much cheaper than writing it down. */
static uint64_t sum_of(const struct actor *actor)
{
	const uint64_t words[] = {actor->parent,
		(uint64_t)actor->phase << 32 | actor->record_changes, actor->watches_peers};
	uint64_t sum = escrow_sum(actor->id, words, sizeof(words));

	sum = escrow_sum(sum, actor->name, strlen(actor->name));
	return sum_of_state(sum, actor->shape, actor->data);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static enum err write_down(struct actor *actor)
{
	struct runtime *rt = actor->rt;
	struct writer out = writer_of(rt->scratch, RUNTIME_FRAME_MAX);
	enum err err = runtime_encode_actor(actor, &out);

	if (!err && !actor->escrow_entry)
		actor->escrow_entry = escrow_open(rt->options.escrow, actor->id);
	if (!err)
		err = actor->escrow_entry ? escrow_put(rt->options.escrow, actor->escrow_entry,
						    rt->scratch, writer_used(&out))
					  : ERR_NO_SPACE;
	if (err)
		return err;
	rt->counters.kept++;
	rt->counters.kept_bytes += writer_used(&out);
	return ERR_OK;
}

static void keep(struct actor *actor)
{
	struct runtime *rt = actor->rt;
	uint64_t sum;
	enum err err;

	if (!actor->shape)
		actor->shape = shape_of(rt, actor->type->state);
	sum = sum_of(actor);
	if (actor->escrow_entry && sum == actor->kept_sum) {
		rt->counters.kept_same++;
		return;
	}
	err = write_down(actor);
	if (!err) {
		actor->kept_sum = sum;
		return;
	}
	/* an old version must not come back in its place; with each change it is tried again */
	take_out(actor);
	if (rt->counters.not_kept++ == 0)
		log_warn(rt->options.log, "not_kept", "type", actor->type->name, "actor",
			actor->name, "error", err_name(err));
}

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
	escrow_commit(rt->options.escrow);
	for (int i = 0; i < rt->peers_end; i++)
		rt->peers[i].in_kept = rt->peers[i].in_seq;
	rt->counters.keep_us += rt->options.ops->now_us(rt->options.context) - since_us;
}

bool runtime_kept_actor(const struct actor *actor, void *bytes, size_t capacity, size_t *size)
{
	uint64_t id;

	return !actor->rt->changed && actor->escrow_entry &&
	       escrow_read(actor->rt->options.escrow, actor->escrow_entry, &id, bytes, capacity,
		       size) == ERR_OK &&
	       id == actor->id;
}

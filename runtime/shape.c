/* SPDX-License-Identifier: Apache-2.0
 *
 * Has a state changed? Sums of its bytes, much cheaper than writing it down: one of what changes with
 * each packet (the schema says so: HOT), one of the rest. A list is summed as far as it is filled: a
 * stream's subscribers have room for thousands.
 *
 * Where the lists and the hot fields of a type lie is found once, when its first actor is kept.
 */
#include "runtime/kernel.h"

static void add_part(struct state_shape *shape, struct state_part part)
{
	struct state_part *last = shape->parts ? &shape->part[shape->parts - 1] : NULL;

	if (part.from == part.end)
		return;
	if (last && !last->item && !part.item && last->hot == part.hot && last->end == part.from) {
		last->end = part.end;
		return;
	}
	MUST(shape->parts < SHAPE_PARTS_MAX);
	shape->part[shape->parts++] = part;
}

/* A field's first byte: a list's count lies before it. */
static uint32_t begin_of(const struct field *field)
{
	return field->kind == FIELD_LIST ? field->count_offset : field->offset;
}

static void find_parts(struct state_shape *shape, const struct schema *schema)
{
	uint32_t at = 0;

	shape->schema = schema;
	for (uint32_t i = 0; i < schema->field_count; i++) {
		const struct field *field = &schema->fields[i];
		bool hot = field->flags & FIELD_IS_HOT, last = i + 1 == schema->field_count;
		uint32_t begin = begin_of(field);

		if ((field->kind != FIELD_LIST && !hot) || begin < at)
			continue;
		shape->has_hot |= hot;
		add_part(shape, (struct state_part){.from = at, .end = begin});
		if (field->kind == FIELD_LIST) {
			at = field->offset + field->max * field->sub->size;
			add_part(shape, (struct state_part){begin, field->offset, .hot = hot});
			add_part(shape, (struct state_part){
						field->offset, at, field->sub->size, begin, hot});
		} else {
			at = last ? schema->size : begin_of(field + 1);
			add_part(shape, (struct state_part){begin, at, .hot = hot});
		}
	}
	add_part(shape, (struct state_part){.from = at, .end = schema->size});
}

const struct state_shape *kernel_shape_of(struct runtime *rt, const struct schema *schema)
{
	struct state_shape *shape = rt->shapes;

	while (shape->schema && shape->schema != schema)
		MUST(++shape < rt->shapes + SHAPES_MAX);
	if (!shape->schema)
		find_parts(shape, schema);
	return shape;
}

struct state_sum kernel_state_sum(
	const struct state_shape *shape, const uint8_t *state, struct state_sum sum)
{
	for (uint32_t i = 0; i < shape->parts; i++) {
		const struct state_part *part = &shape->part[i];
		uint64_t *to = part->hot ? &sum.hot : &sum.rest;
		size_t size = part->end - part->from;
		uint16_t count;

		if (part->item) {
			memcpy(&count, state + part->count_at, sizeof(count));
			size = (size_t)count * part->item;
		}
		*to = escrow_sum(*to, state + part->from, size);
	}
	return sum;
}

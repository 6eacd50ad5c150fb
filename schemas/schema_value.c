/* SPDX-License-Identifier: Apache-2.0
 *
 * Values in memory: copy with everything they point at, compare, fill at random. Counts and sizes
 * beyond their bound (a broken escrow) are cut to the bound, never followed.
 */
#include "schemas/random.h"
#include "schemas/schema.h"

static uint32_t list_count(const struct field *f, const uint8_t *value)
{
	uint16_t count = *(const uint16_t *)(value + f->count_offset);

	return count <= f->max ? count : f->max;
}

/* Bytes of all slices in a value; with `at`, also moves them there. */
static size_t move_slices(const struct schema *schema, uint8_t *value, char *at)
{
	size_t size = 0;

	for (uint32_t i = 0; i < schema->field_count; i++) {
		const struct field *f = &schema->fields[i];
		if (f->kind == FIELD_TEXT) {
			struct slice *slice = (struct slice *)(value + f->offset);
			if (at && slice->size) {
				memcpy(at + size, slice->data, slice->size);
				slice->data = at + size;
			}
			size += slice->size;
		} else if (f->kind == FIELD_RECORD || f->kind == FIELD_LIST) {
			uint32_t count = f->kind == FIELD_LIST ? list_count(f, value) : 1;
			for (uint32_t k = 0; k < count; k++)
				size += move_slices(f->sub, value + f->offset + k * f->sub->size,
					at ? at + size : NULL);
		}
	}
	return size;
}

bool schema_has_text(const struct schema *schema)
{
	for (uint32_t i = 0; i < schema->field_count; i++) {
		const struct field *f = &schema->fields[i];
		if (f->kind == FIELD_TEXT || (f->sub && schema_has_text(f->sub)))
			return true;
	}
	return false;
}

size_t schema_clone_size(const struct schema *schema, const void *value)
{
	/* without a target move_slices() only reads */
	return schema->size + move_slices(schema, (uint8_t *)value, NULL);
}

void *schema_clone(const struct schema *schema, const void *value, void *block, size_t size)
{
	MUST(size >= schema_clone_size(schema, value));
	memcpy(block, value, schema->size);
	move_slices(schema, block, (char *)block + schema->size);
	return block;
}

static bool slice_equal(const struct slice *a, const struct slice *b)
{
	return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

bool schema_field_equal(const struct field *f, const void *a_, const void *b_)
{
	const uint8_t *a = a_;
	const uint8_t *b = b_;
	const uint8_t *x = a + f->offset;
	const uint8_t *y = b + f->offset;
	uint32_t count = 1;
	uint16_t size;

	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL: return !*x == !*y;
	case FIELD_U8: return *x == *y;
	case FIELD_U16: return memcmp(x, y, sizeof(uint16_t)) == 0;
	case FIELD_U32: return memcmp(x, y, sizeof(uint32_t)) == 0;
	case FIELD_U64:
	case FIELD_I64: return memcmp(x, y, sizeof(uint64_t)) == 0;
	case FIELD_STR: return strncmp((const char *)x, (const char *)y, (size_t)f->max + 1) == 0;
	case FIELD_BYTES:
		size = *(const uint16_t *)x;
		return size == *(const uint16_t *)y && size <= f->max &&
		       memcmp(x + sizeof(size), y + sizeof(size), size) == 0;
	case FIELD_TEXT: return slice_equal((const struct slice *)x, (const struct slice *)y);
	case FIELD_ADDR: return memcmp(x, y, sizeof(struct addr)) == 0;
	case FIELD_LIST:
		count = list_count(f, a);
		if (count != list_count(f, b))
			return false;
		break;
	case FIELD_RECORD: break;
	}
	for (uint32_t i = 0; i < count; i++, x += f->sub->size, y += f->sub->size) {
		if (!schema_equal(f->sub, x, y))
			return false;
	}
	return true;
}

bool schema_equal(const struct schema *schema, const void *a, const void *b)
{
	for (uint32_t i = 0; i < schema->field_count; i++) {
		if (!schema_field_equal(&schema->fields[i], a, b))
			return false;
	}
	return true;
}

/* What is left of the caller's bytes for slices. */
struct pool {
	char *at;
	size_t left;
};

/* Mostly small, sometimes nothing, sometimes the bound itself. */
static size_t random_size(struct rng *rng, size_t max)
{
	switch (rng_below(rng, 8)) {
	case 0: return 0;
	case 1: return max;
	case 2: return rng_below(rng, max + 1);
	default: return rng_below(rng, (max < 12 ? max : 12) + 1);
	}
}

/* Every magnitude is equally likely, and so are the edges. */
static uint64_t random_number(struct rng *rng)
{
	uint64_t draw = rng_u64(rng);

	switch (rng_below(rng, 8)) {
	case 0: return 0;
	case 1: return UINT64_MAX;
	case 2: return 1ull << draw % 64;
	case 3: return (1ull << draw % 64) - 1;
	default: return draw >> rng_below(rng, 64);
	}
}

/* UTF-8 with quotes, controls and two- to four-byte characters among the letters. */
static void random_text(struct rng *rng, char *text, size_t size)
{
	static const char *const pieces[] = {"\"", "\\", "\n", "\x01", "\x7f", "/", "\xc3\xa9",
		"\xe2\x82\xac", "\xf0\x9f\x8e\xa5"};

	for (size_t at = 0; at < size;) {
		const char *piece = pieces[rng_below(rng, sizeof(pieces) / sizeof(pieces[0]))];
		size_t length = strlen(piece);
		if (rng_chance_ppm(rng, 200000) && length <= size - at) {
			memcpy(text + at, piece, length);
			at += length;
		} else {
			text[at++] = (char)('a' + rng_below(rng, 26));
		}
	}
}

static void randomise(
	const struct schema *schema, uint8_t *value, struct rng *rng, struct pool *pool);

static void randomise_field(
	const struct field *f, uint8_t *value, struct rng *rng, struct pool *pool)
{
	uint8_t *at = value + f->offset;
	uint64_t number = random_number(rng);
	size_t size = random_size(rng, f->max);
	uint32_t count = 1;

	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL: *at = number & 1; return;
	case FIELD_U8: *at = (uint8_t)(f->name_of ? number % 16 : number); return;
	case FIELD_U16: *(uint16_t *)at = (uint16_t)number; return;
	case FIELD_U32: *(uint32_t *)at = (uint32_t)number; return;
	case FIELD_U64: *(uint64_t *)at = number; return;
	case FIELD_I64: *(int64_t *)at = (int64_t)number; return;
	case FIELD_STR: random_text(rng, (char *)at, size); return;
	case FIELD_BYTES:
		*(uint16_t *)at = (uint16_t)size;
		rng_fill(rng, at + sizeof(uint16_t), size);
		return;
	case FIELD_TEXT:
		if (size > pool->left)
			size = pool->left;
		random_text(rng, pool->at, size);
		*(struct slice *)at = (struct slice){size ? pool->at : NULL, (uint32_t)size};
		pool->at += size;
		pool->left -= size;
		return;
	case FIELD_ADDR: *(struct addr *)at = (struct addr){number, random_number(rng)}; return;
	case FIELD_LIST:
		count = (uint32_t)size;
		*(uint16_t *)(value + f->count_offset) = (uint16_t)count;
		break;
	case FIELD_RECORD: break;
	}
	for (uint32_t i = 0; i < count; i++)
		randomise(f->sub, at + i * f->sub->size, rng, pool);
}

static void randomise(
	const struct schema *schema, uint8_t *value, struct rng *rng, struct pool *pool)
{
	for (uint32_t i = 0; i < schema->field_count; i++) {
		if (!rng_chance_ppm(rng, 250000)) /* the others stay empty */
			randomise_field(&schema->fields[i], value, rng, pool);
	}
}

void schema_randomise(
	const struct schema *schema, void *value, struct rng *rng, char *pool, size_t pool_size)
{
	struct pool left = {pool, pool_size};

	memset(value, 0, schema->size);
	randomise(schema, value, rng, &left);
}

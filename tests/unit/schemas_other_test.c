/* SPDX-License-Identifier: Apache-2.0
 *
 * The other release that tests upgrade from and to (tests/e2e/other_release.c) is another one: what it
 * writes has a field that this one does not know and lacks those that it does not have; the rest is
 * there, in both directions.
 */
#include "schemas/random.h"
#include "schemas/schema.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

enum {
	VALUE_MAX = 1 << 24,
	ENCODED_MAX = 1 << 24,
	POOL_SIZE = 4096,
	VALUES = 20,
	TABLE_SIZE = 256 * 1024
};

/* what this release writes and reads; the same without these words is the other's */
enum err __real_schema_encode(const struct schema *schema, const void *value, struct writer *out);
enum err __real_schema_decode(const struct schema *schema, struct reader *in, void *value);

static uint64_t value[VALUE_MAX / 8], theirs[VALUE_MAX / 8], ours[VALUE_MAX / 8];
static uint8_t bytes[ENCODED_MAX], plain[ENCODED_MAX];
static char pool[POOL_SIZE];

static size_t encode(enum err (*with)(const struct schema *, const void *, struct writer *),
	const struct schema *schema, const void *what, uint8_t *to)
{
	struct writer out = writer_of(to, ENCODED_MAX);

	CHECK_OK(with(schema, what, &out));
	return writer_used(&out);
}

static void decode(enum err (*with)(const struct schema *, struct reader *, void *),
	const struct schema *schema, const uint8_t *from, size_t size, void *to)
{
	struct reader in = reader_of(from, size);

	CHECK_OK(with(schema, &in, to));
	CHECK_EQ(reader_left(&in), 0);
}

static void look(const struct schema *schema, struct rng *rng)
{
	schema_randomise(schema, value, rng, pool, sizeof(pool));
	size_t whole = encode(__real_schema_encode, schema, value, plain);
	size_t size = encode(schema_encode, schema, value, bytes);

	CHECK(size != whole || memcmp(bytes, plain, size) != 0);
	CHECK(memmem(bytes, size, "other", 5));
	/* from there to here, and from here to there: the same is missing */
	decode(__real_schema_decode, schema, bytes, size, ours);
	decode(schema_decode, schema, plain, whole, theirs);
	CHECK(schema_equal(schema, ours, theirs));
}

TEST(another_release_writes_and_reads_what_both_have)
{
	struct rng rng = rng_of(1);

	for (size_t i = 0; schema_at(i); i++) {
		CHECK(schema_at(i)->size <= sizeof(value));
		int values = schema_at(i)->size > TABLE_SIZE ? 2 : test_rounds(VALUES);
		while (values--)
			look(schema_at(i), &rng);
	}
}

TEST(fields_that_came_later_are_missing)
{
	static struct session_state session, read;

	session.held_back = 7;
	session.generation = 3;
	size_t size = encode(schema_encode, &schema_session_state, &session, bytes);
	decode(__real_schema_decode, &schema_session_state, bytes, size, &read);
	CHECK_EQ(read.held_back, 0);
	CHECK_EQ(read.generation, 3);
	size = encode(__real_schema_encode, &schema_session_state, &session, plain);
	decode(schema_decode, &schema_session_state, plain, size, &read);
	CHECK_EQ(read.held_back, 0);
	CHECK_EQ(read.generation, 3);
}

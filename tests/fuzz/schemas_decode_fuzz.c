/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema decoder: two bytes choose a schema (modulo their number), the rest is the message.
 * What decodes must encode, and decode again to the same.
 */
#include "schemas/mp.h"
#include "schemas/schema.h"

#include <stdlib.h>

/* the largest schema is the store's state: STORE_PAIRS_MAX pairs */
enum { VALUE_MAX = 16 << 20, TEXT_MAX = 1 << 22 };

_Static_assert(sizeof(struct store_local_state) <= VALUE_MAX, "every value has room");

static uint64_t first[VALUE_MAX / 8], second[VALUE_MAX / 8];
static uint8_t encoded[TEXT_MAX], text[TEXT_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_of(data, size);
	size_t count = 0;

	while (schema_at(count))
		count++;
	const struct schema *schema = schema_at(read_u16(&in) % count);
	MUST(schema->size <= sizeof(first));

	struct reader skipped = in;
	mp_skip(&skipped, MP_DEPTH_MAX);
	if (schema_decode(schema, &in, first))
		return 0;
	/* whatever the schema understood is also a value to one who does not know the schema */
	MUST(!skipped.bad && skipped.at == in.at);

	struct writer out = writer_of(encoded, sizeof(encoded));
	MUST(schema_encode(schema, first, &out) == ERR_OK);
	struct reader again = reader_of(encoded, writer_used(&out));
	MUST(schema_decode(schema, &again, second) == ERR_OK);
	MUST(schema_equal(schema, first, second));

	size_t clone_size = schema_clone_size(schema, first);
	void *block = malloc(clone_size ? clone_size : 1);
	if (block)
		MUST(schema_equal(schema, first, schema_clone(schema, first, block, clone_size)));
	free(block);
	out = writer_of(text, sizeof(text));
	MUST(schema_print_json(schema, first, &out) == ERR_OK);
	return 0;
}

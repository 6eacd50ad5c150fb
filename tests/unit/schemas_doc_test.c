/* SPDX-License-Identifier: Apache-2.0
 *
 * docs/protocol.md says what the schemas say. MILLRACE_WRITE_DOCS=1 writes it anew.
 */
#include "schemas/schema.h"
#include "schemas/schema_doc.h"
#include "tests/test.h"

#include <stdlib.h>

enum { PAGE_MAX = 1 << 20 };

static char page[PAGE_MAX], stored[PAGE_MAX];

TEST(protocol_page_is_up_to_date)
{
	struct writer w = writer_of(page, sizeof(page));
	char path[4096];

	CHECK_OK(schema_document(&w));
	size_t size = writer_used(&w);
	snprintf(path, sizeof(path), "%s/../docs/protocol.md", test_dir());
	if (getenv("MILLRACE_WRITE_DOCS")) {
		FILE *out = fopen(path, "wb");
		CHECK(out);
		CHECK_EQ(fwrite(page, 1, size, out), size);
		CHECK_EQ(fclose(out), 0);
	}
	FILE *in = fopen(path, "rb");
	size_t stored_size = in ? fread(stored, 1, sizeof(stored), in) : 0;
	if (in)
		fclose(in);
	if (stored_size != size || memcmp(page, stored, size) != 0)
		fail_msg("docs/protocol.md is not what the schemas say: run this program with "
			 "MILLRACE_WRITE_DOCS=1 and commit the page");
}

TEST(every_schema_has_its_section)
{
	struct writer w = writer_of(page, sizeof(page) - 1);
	char heading[128];

	CHECK_OK(schema_document(&w));
	*w.at = 0;
	for (size_t i = 0; schema_at(i); i++) {
		snprintf(heading, sizeof(heading), "\n### %s\n", schema_at(i)->name);
		CHECK(strstr(page, heading));
	}
	w = writer_of(page, 1000);
	CHECK_EQ(schema_document(&w), ERR_NO_SPACE);
	CHECK_EQ(writer_used(&w), 0);
}

/* The console page keeps no value of such a field among the commands it remembers. */
TEST(the_page_knows_every_secret_field)
{
	char path[4096], name[80];

	snprintf(path, sizeof(path), "%s/../actors/http/web/console.js", test_dir());
	FILE *in = fopen(path, "rb");

	CHECK(in);
	size_t size = fread(stored, 1, sizeof(stored) - 1, in);

	fclose(in);
	stored[size] = 0;
	char *end = strstr(stored, "]);");

	CHECK(strstr(stored, "const secrets = new Set([") && end);
	*end = 0;
	for (size_t i = 0; schema_at(i); i++) {
		const struct schema *schema = schema_at(i);

		for (size_t k = 0; k < schema->field_count; k++) {
			if (!(schema->fields[k].flags & FIELD_IS_SECRET))
				continue;
			snprintf(name, sizeof(name), "'%s'", schema->fields[k].name);
			if (!strstr(stored, name))
				fail_msg("console.js does not know that %s of %s is secret", name,
					schema->name);
		}
	}
}

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

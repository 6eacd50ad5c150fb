/* SPDX-License-Identifier: Apache-2.0
 *
 * Markdown of every schema: a section each, a row a field. Comments in the .def files are for the
 * readers of the source; the preprocessor does not see them, so they are not here.
 */
#include "schemas/schema_doc.h"

#include "schemas/schema.h"

#include <stdio.h>

static void put(struct writer *out, const char *text)
{
	write_bytes(out, text, strlen(text));
}

static const char introduction[] =
	"# The protocol between Millrace's processes\n"
	"\n"
	"Generated from `schemas/*.def`; do not edit. To make it anew, run the test program\n"
	"`schemas_doc_test` with `MILLRACE_WRITE_DOCS=1` in the environment.\n"
	"\n"
	"A value is one MessagePack map from tag to value. Tags are for ever: a tag is never used\n"
	"again for something else. A field that is zero or empty is left out, and an absent field "
	"is\n"
	"zero or empty. A reader skips tags that it does not know, so releases may be mixed. "
	"Between\n"
	"processes an `envelope` comes first, then the message it names. No value nests deeper "
	"than\n"
	"16 containers.\n"
	"\n"
	"| type | on the wire |\n"
	"|---|---|\n"
	"| bool | true; false is left out |\n"
	"| u8, u16, u32, u64, i64 | integer, in any form that holds it; shortest is sent |\n"
	"| enum | integer up to 255 |\n"
	"| str | str, UTF-8 without NUL |\n"
	"| bytes | bin |\n"
	"| text | str, any bytes |\n"
	"| addr | array of two integers: node, id |\n"
	"| record | map, as described under the record's name |\n"
	"| list | array of such maps |\n"
	"\n"
	"Bounds are in bytes (str, bytes, text) or items (list); what exceeds one is refused "
	"whole.\n"
	"A secret is never printed by the console, the API, traces, logs or crash reports. What "
	"is hot\n"
	"changes with each packet and is written down apart from the rest of its state. Mail of\n"
	"class *control* that finds a full mailbox comes back to its sender; mail of class *note* "
	"is\n"
	"dropped and counted.\n";

static const char *const kind_names[] = {
	[FIELD_BOOL] = "bool",
	[FIELD_U8] = "u8",
	[FIELD_U16] = "u16",
	[FIELD_U32] = "u32",
	[FIELD_U64] = "u64",
	[FIELD_I64] = "i64",
	[FIELD_STR] = "str",
	[FIELD_BYTES] = "bytes",
	[FIELD_TEXT] = "text",
	[FIELD_ADDR] = "addr",
	[FIELD_RECORD] = "record",
	[FIELD_LIST] = "list",
};

static void put_row(struct writer *out, const struct field *f)
{
	char text[192];
	char bound[16] = "";

	if (f->max)
		snprintf(bound, sizeof(bound), "%u", f->max);
	snprintf(text, sizeof(text), "| %u | %s | ", f->tag, f->name);
	put(out, text);
	if (f->sub)
		snprintf(text, sizeof(text), "%s of [%s](#%s)", kind_names[f->kind], f->sub->name,
			f->sub->name);
	else
		snprintf(text, sizeof(text), "%s", f->name_of ? "enum" : kind_names[f->kind]);
	put(out, text);
	snprintf(text, sizeof(text), " | %s | %s |\n", bound,
		f->flags & FIELD_IS_SECRET ? "secret"
		: f->flags & FIELD_IS_HOT  ? "hot"
					   : "");
	put(out, text);
}

static void put_section(struct writer *out, const struct schema *schema)
{
	char text[192];

	snprintf(text, sizeof(text), "\n### %s\n\n", schema->name);
	put(out, text);
	if (schema->id) {
		snprintf(text, sizeof(text),
			"Id 0x%04x, class %s%s; encoded at most %zu bytes%s.\n", schema->id,
			schema_is_note(schema) ? "note" : "control",
			schema_is_remote(schema) ? ", from other nodes too" : "",
			schema_encoded_size_max(schema),
			schema_has_text(schema) ? " and its text" : "");
		put(out, text);
	} else {
		snprintf(text, sizeof(text), "Record; encoded at most %zu bytes%s.\n",
			schema_encoded_size_max(schema),
			schema_has_text(schema) ? " and its text" : "");
		put(out, text);
	}
	if (schema->field_count == 0)
		return;
	put(out, "\n| tag | field | type | bound | |\n|---|---|---|---|---|\n");
	for (uint32_t i = 0; i < schema->field_count; i++)
		put_row(out, &schema->fields[i]);
}

enum err schema_document(struct writer *out)
{
	uint8_t *begin = out->at;

	put(out, introduction);
	put(out, "\n## Messages\n");
	for (size_t i = 0; schema_at(i); i++) {
		if (schema_at(i)->use == SCHEMA_MESSAGE)
			put_section(out, schema_at(i));
	}
	put(out, "\n## Actor states\n");
	for (size_t i = 0; schema_at(i); i++) {
		if (schema_at(i)->use == SCHEMA_STATE)
			put_section(out, schema_at(i));
	}
	put(out, "\n## Records\n");
	for (size_t i = 0; schema_at(i); i++) {
		if (schema_at(i)->use == SCHEMA_RECORD)
			put_section(out, schema_at(i));
	}
	if (!out->bad)
		return ERR_OK;
	out->at = begin;
	return ERR_NO_SPACE;
}

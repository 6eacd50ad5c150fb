/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person types at the console: the filter of `actors`, the words of `send` (two bytes choose
 * the message), what a line may go on with, and what of it is kept.
 */
#include "runtime/actor_filter.h"
#include "runtime/repl_complete.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 4096, MESSAGE_MAX = 1 << 20 };

static uint64_t message[MESSAGE_MAX / 8];
static uint8_t json[4 << 20];
static struct repl_candidates candidates;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void filter(const char *text)
{
	static struct session_state session;
	struct actor_row row = {.type = "session"};
	struct actor_filter parsed;
	char problem[SCHEMA_PROBLEM_SIZE];
	const char *expected = "";

	if (actor_filter_parse(text, &parsed, &expected)) {
		MUST(expected[0]);
		return;
	}
	actor_filter_check(&parsed, problem);
	actor_filter_match(&parsed, &row, &schema_session_state, &session);
}

/* What was read prints, and is within its bounds: it encodes. */
static void words(const struct schema *schema, const char *text)
{
	static char pool[TEXT_MAX];
	char problem[SCHEMA_PROBLEM_SIZE];

	if (schema->use != SCHEMA_MESSAGE || schema->size > sizeof(message))
		return;
	if (schema_parse_words(schema, text, message, pool, problem)) {
		MUST(problem[0]);
		return;
	}
	struct writer out = writer_of(json, sizeof(json));
	MUST(schema_print_json(schema, message, &out) == ERR_OK);
	out = writer_of(json, sizeof(json));
	MUST(schema_encode(schema, message, &out) == ERR_OK);
}

static void line(const char *text)
{
	static json_t *commands;
	char kept[TEXT_MAX];

	if (!commands)
		commands = json_pack("[{s:s,s:s},{s:s,s:s},{s:s,s:s}]", "command", "actors",
			"arguments", "[TYPE] [where", "command", "send", "arguments",
			"ADDR MESSAGE [FIELD=", "command", "top", "arguments", "[a|b]");
	struct repl_source source = {.commands = commands};
	repl_complete(text, &source, &candidates);
	MUST(candidates.kept <= REPL_CANDIDATES_MAX && candidates.kept <= candidates.count);
	MUST(!candidates.count || candidates.common <= strlen(candidates.word[0]));
	repl_without_secrets(text, kept, sizeof(kept));
	MUST(strlen(kept) < sizeof(kept));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX];
	size_t count = 0;

	if (size < 2 || size - 2 >= sizeof(text))
		return 0;
	while (schema_at(count))
		count++;
	memcpy(text, data + 2, size - 2);
	text[size - 2] = 0;
	filter(text);
	words(schema_at((data[0] | data[1] << 8) % count), text);
	line(text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/repl_complete.h"

#include "schemas/schema.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_MAX = 64, ENUM_MAX = 64 };

/* The text before the cursor, by words; the last one is being typed and may be empty. */
struct line {
	unsigned count;
	char word[WORDS_MAX][REPL_WORD_MAX];
	size_t start; /* of the last one */
};

static bool split(const char *text, struct line *line)
{
	size_t at = 0;

	line->count = 0;
	while (line->count < WORDS_MAX) {
		at += strspn(text + at, " \t");
		size_t length = strcspn(text + at, " \t");

		if (length >= REPL_WORD_MAX)
			return false;
		memcpy(line->word[line->count], text + at, length);
		line->word[line->count++][length] = 0;
		line->start = at;
		at += length;
		if (!text[at])
			return true;
	}
	return false;
}

void repl_candidate(
	struct repl_candidates *candidates, const char *prefix, const char *word, const char *label)
{
	size_t common = 0;

	if (strncmp(word, prefix, strlen(prefix)) != 0 || strlen(word) >= REPL_WORD_MAX)
		return;
	for (unsigned i = 0; i < candidates->kept; i++)
		if (!strcmp(candidates->word[i], word))
			return;
	if (!candidates->count++)
		candidates->common = strlen(word);
	else
		while (common < candidates->common && candidates->word[0][common] == word[common])
			common++;
	if (candidates->count > 1)
		candidates->common = common;
	if (candidates->kept == REPL_CANDIDATES_MAX)
		return;
	snprintf(candidates->word[candidates->kept], REPL_WORD_MAX, "%s", word);
	snprintf(candidates->label[candidates->kept++], REPL_WORD_MAX, "%s", label);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void add_commands(
	struct repl_candidates *to, const struct repl_source *source, const char *prefix)
{
	json_t *row;
	size_t i;

	json_array_foreach((json_t *)source->commands, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "command"));
		const char *does = json_string_value(json_object_get(row, "does"));

		if (name)
			repl_candidate(to, prefix, name, does ? does : "");
	}
}

/* The state of type x is x_state. */
static void add_types(struct repl_candidates *to, const char *prefix)
{
	static const char ending[] = "_state";
	const struct schema *schema;
	char type[64];

	for (size_t i = 0; (schema = schema_at(i)); i++) {
		size_t length = strlen(schema->name);

		if (schema->use != SCHEMA_STATE || length < sizeof(ending) ||
			strcmp(schema->name + length - sizeof(ending) + 1, ending) != 0)
			continue;
		snprintf(type, sizeof(type), "%.*s", (int)(length - sizeof(ending) + 1),
			schema->name);
		repl_candidate(to, prefix, type, "");
	}
}

static void add_messages(struct repl_candidates *to, const char *prefix)
{
	const struct schema *schema;

	for (size_t i = 0; (schema = schema_at(i)); i++)
		if (schema->use == SCHEMA_MESSAGE)
			repl_candidate(to, prefix, schema->name, "");
}

static const struct schema *state_of(const char *type)
{
	char name[REPL_WORD_MAX + 8];

	snprintf(name, sizeof(name), "%s_state", type);
	return schema_by_name(name);
}

/* Fields that a condition can compare; what is kept in microseconds is offered in milliseconds too. */
static void add_compared(struct repl_candidates *to, const char *prefix, const struct schema *of)
{
	for (uint32_t i = 0; of && i < of->field_count; i++) {
		const struct field *field = &of->fields[i];
		size_t length = strlen(field->name);
		char in_ms[REPL_WORD_MAX];

		if (field->flags & FIELD_IS_SECRET || field->sub || field->kind == FIELD_BYTES ||
			field->kind == FIELD_TEXT)
			continue;
		repl_candidate(to, prefix, field->name, "");
		if (length < 4 || strcmp(field->name + length - 3, "_us"))
			continue;
		snprintf(in_ms, sizeof(in_ms), "%.*s_ms", (int)length - 3, field->name);
		repl_candidate(to, prefix, in_ms, "");
	}
}

static void add_values(struct repl_candidates *to, const char *before, const char *prefix,
	const struct field *field)
{
	char word[REPL_WORD_MAX];
	const char *last = NULL;

	if (field && field->kind == FIELD_BOOL)
		for (int i = 0; i < 2; i++) {
			snprintf(word, sizeof(word), "%s%s", before, i ? "true" : "false");
			repl_candidate(to, prefix, word, "");
		}
	/* a printer says the same of everything beyond its last name */
	for (int i = 0; field && field->name_of && i < ENUM_MAX; i++) {
		const char *name = field->name_of(i);

		if (!name || (last && !strcmp(name, last)))
			break;
		last = name;
		snprintf(word, sizeof(word), "%.50s%.80s", before, name);
		repl_candidate(to, prefix, word, "");
	}
}

/* ---- where a line stands --------------------------------------------------------------------- */

static void add_fixed(struct repl_candidates *to, const char *prefix, const char *const *words)
{
	for (; *words; words++)
		repl_candidate(to, prefix, *words, "");
}

/* How many words after the last `where` or `and` the one before the last stands; -1 = none. */
static int since_condition(const struct line *line)
{
	for (unsigned i = line->count - 1; i-- > 1;)
		if (!strcmp(line->word[i], "where") || !strcmp(line->word[i], "and"))
			return (int)(line->count - 2 - i);
	return -1;
}

/* [TYPE] [where FIELD OP VALUE [and …]] [after ADDR] [limit N] */
static void complete_filter(
	const struct line *line, const struct repl_source *source, struct repl_candidates *to)
{
	static const char *const begin[] = {"where", "after", "limit", NULL};
	static const char *const go_on[] = {"and", "after", "limit", NULL};
	static const char *const ops[] = {"=", "!=", "<", "<=", ">", ">=", "~", NULL};
	static const char *const keywords[] = {"where", "and", "after", "limit", NULL};
	const char *word = line->word[line->count - 1], *before = line->word[line->count - 2];
	const char *type = line->word[1];
	int since = since_condition(line);
	const struct schema *state;

	for (int i = 0; keywords[i]; i++)
		if (!strcmp(type, keywords[i]))
			type = "";
	state = line->count > 2 ? state_of(type) : NULL;
	if (!strcmp(before, "after") && source->fetch) {
		source->fetch(source->context, REPL_FETCH_ADDRESSES, word, to);
	} else if (!strcmp(before, "limit")) {
		return; /* a number */
	} else if (since == 0) {
		add_compared(to, word, &schema_actor_row);
		add_compared(to, word, state);
	} else if (since == 1) {
		add_fixed(to, word, ops);
	} else if (since == 2) {
		const char *name = line->word[line->count - 3];

		if (state)
			add_values(to, "", word, schema_field(state, name, strlen(name)));
	} else {
		if (line->count == 2)
			add_types(to, word);
		add_fixed(to, word, since < 0 ? begin : go_on);
	}
}

/* field=value of a message: the name, or what the value can be. */
static void complete_field(const struct line *line, struct repl_candidates *to)
{
	const char *word = line->word[line->count - 1];
	const struct schema *schema = schema_by_name(line->word[2]);
	const char *equals = strchr(word, '=');
	char name[REPL_WORD_MAX];

	if (!schema || schema->use != SCHEMA_MESSAGE)
		return;
	if (equals) {
		snprintf(name, sizeof(name), "%.*s=", (int)(equals - word), word);
		add_values(to, name, word, schema_field(schema, word, (size_t)(equals - word)));
		return;
	}
	to->goes_on = true;
	for (uint32_t i = 0; i < schema->field_count; i++) {
		const struct field *field = &schema->fields[i];

		snprintf(name, sizeof(name), "%s%s", field->name,
			field->kind == FIELD_LIST     ? ".0."
			: field->kind == FIELD_RECORD ? "."
						      : "=");
		repl_candidate(to, word, name, "");
	}
}

/* "[a|b|c]" */
static void complete_choice(const char *arguments, const char *word, struct repl_candidates *to)
{
	char choice[REPL_WORD_MAX];

	for (const char *at = arguments + 1; *at && *at != ']';) {
		size_t length = strcspn(at, "|]");

		snprintf(choice, sizeof(choice), "%.*s", (int)length, at);
		repl_candidate(to, word, choice, "");
		at += length + (at[length] == '|');
	}
}

static const char *arguments_of(const struct repl_source *source, const char *command)
{
	json_t *row;
	size_t i;

	json_array_foreach((json_t *)source->commands, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "command"));
		const char *arguments = json_string_value(json_object_get(row, "arguments"));

		if (name && arguments && !strcmp(name, command))
			return arguments;
	}
	return "";
}

void repl_complete(
	const char *text, const struct repl_source *source, struct repl_candidates *candidates)
{
	struct line line;

	candidates->count = candidates->kept = 0;
	candidates->common = 0;
	candidates->goes_on = false;
	if (!split(text, &line))
		return;
	candidates->start = line.start;
	const char *word = line.word[line.count - 1];
	unsigned nth = line.count - 1;
	const char *arguments = nth ? arguments_of(source, line.word[0]) : "";
	bool fetches = nth == 1 && source->fetch;

	if (nth == 0 || (nth == 1 && !strcmp(arguments, "[COMMAND]")))
		add_commands(candidates, source, word);
	else if (!strncmp(arguments, "[TYPE]", 6))
		complete_filter(&line, source, candidates);
	else if (fetches && !strncmp(arguments, "ADDR", 4))
		source->fetch(source->context, REPL_FETCH_ADDRESSES, word, candidates);
	else if (fetches && !strcmp(arguments, "STREAM"))
		source->fetch(source->context, REPL_FETCH_STREAMS, word, candidates);
	else if (fetches && !strcmp(arguments, "ID"))
		source->fetch(source->context, REPL_FETCH_SESSIONS, word, candidates);
	else if (nth == 1 && arguments[0] == '[')
		complete_choice(arguments, word, candidates);
	else if (nth == 2 && strstr(arguments, "MESSAGE"))
		add_messages(candidates, word);
	else if (nth > 2 && strstr(arguments, "FIELD="))
		complete_field(&line, candidates);
	else if (nth > 2 && strstr(arguments, "MESSAGE"))
		add_messages(candidates, word);
}

/* ---- history --------------------------------------------------------------------------------- */

/* Whether what stands before the `=` leads to a secret field. */
static bool is_secret(const struct schema *schema, const char *path, size_t length)
{
	while (schema) {
		size_t name = 0;

		while (name < length && path[name] != '.')
			name++;
		const struct field *field = schema_field(schema, path, name);

		if (!field || field->flags & FIELD_IS_SECRET)
			return field != NULL;
		path += name + (name < length);
		length -= name + (name < length);
		schema = field->sub;
		if (field->kind == FIELD_LIST) { /* its number */
			name = 0;
			while (name < length && path[name] != '.')
				name++;
			path += name + (name < length);
			length -= name + (name < length);
		}
	}
	return false;
}

/* Length of a word of `send`: blanks inside quotes belong to it. */
static size_t word_length(const char *at)
{
	bool quoted = false;
	size_t length = 0;

	for (; at[length] && (quoted || !strchr(" \t", at[length])); length++) {
		if (quoted && at[length] == '\\' && at[length + 1])
			length++;
		else if (at[length] == '"')
			quoted = !quoted;
	}
	return length;
}

void repl_without_secrets(const char *line, char *out, size_t size)
{
	char name[REPL_WORD_MAX] = "";
	const struct schema *schema = NULL;
	bool sends = false;
	size_t used = 0;

	out[0] = 0;
	for (int nth = 0; line[strspn(line, " \t\r\n")] && used < size; nth++) {
		line += strspn(line, " \t\r\n");
		size_t length = word_length(line);
		const char *equals = memchr(line, '=', length);
		size_t shown = length;

		while (length && strchr("\r\n", line[length - 1]))
			shown = --length;
		snprintf(name, sizeof(name), "%.*s", (int)(length < 100 ? length : 100), line);
		if (nth == 0)
			sends = !strcmp(name, "send");
		else if (nth == 2 && sends)
			schema = schema_by_name(name);
		bool hides = schema && equals && is_secret(schema, line, (size_t)(equals - line));
		if (hides)
			shown = (size_t)(equals - line) + 1;
		used += (size_t)snprintf(out + used, size - used, "%s%.*s%s", nth ? " " : "",
			(int)shown, line, hides ? "***" : "");
		line += length;
	}
}

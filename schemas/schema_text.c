/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages as people type them: "field=value field=value …", checked against the schema. The text
 * comes from outside: everything is bounded by the rows, nothing allocates.
 */
#include "schemas/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORD_MAX = 4096, ENUM_MAX = 256 };

/* One field=value under way. */
struct word {
	const char *path; /* field, or record.field, or list.0.field */
	char *value;	  /* unquoted */
	size_t size;	  /* of the value */
	char **pool;
	char *problem;
};

static __attribute__((format(printf, 3, 4))) enum err wrong(
	const struct word *word, enum err err, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(word->problem, SCHEMA_PROBLEM_SIZE, format, arguments);
	va_end(arguments);
	return err;
}

static bool is_unsigned(const char *text, uint64_t max, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *number <= max;
}

static enum err take_unsigned(
	const struct word *word, const struct field *f, uint64_t max, uint64_t *number)
{
	if (is_unsigned(word->value, max, number))
		return ERR_OK;
	return wrong(word, ERR_FORMAT, "%.40s: expected a number from 0 to %" PRIu64, f->name, max);
}

static enum err take_small(const struct word *word, const struct field *f, uint8_t *at)
{
	uint64_t number;

	for (int i = 0; f->name_of && i < ENUM_MAX; i++) {
		const char *name = f->name_of(i);

		if (name && !strcmp(name, word->value)) {
			*at = (uint8_t)i;
			return ERR_OK;
		}
	}
	if (take_unsigned(word, f, UINT8_MAX, &number))
		return f->name_of ? wrong(word, ERR_FORMAT,
					    "%.40s: expected a name such as %.30s, or a number",
					    f->name, f->name_of(1) ? f->name_of(1) : "")
				  : ERR_FORMAT;
	*at = (uint8_t)number;
	return ERR_OK;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum err take_bytes(const struct word *word, const struct field *f, uint8_t *at)
{
	uint16_t size = (uint16_t)(word->size / 2);

	if (word->size / 2 > f->max)
		return wrong(word, ERR_TOO_LARGE, "%.40s: at most %u bytes", f->name, f->max);
	for (size_t i = 0; i < word->size; i++)
		if (word->size % 2 || hex_digit(word->value[i]) < 0)
			return wrong(word, ERR_FORMAT, "%.40s: expected bytes in hex", f->name);
	memcpy(at, &size, sizeof(size));
	for (uint16_t i = 0; i < size; i++)
		at[sizeof(size) + i] = (uint8_t)(hex_digit(word->value[2 * i]) << 4 |
						 hex_digit(word->value[2 * i + 1]));
	return ERR_OK;
}

static enum err take_text(const struct word *word, const struct field *f, uint8_t *at)
{
	struct slice *slice = (struct slice *)(void *)at;

	if (word->size > f->max)
		return wrong(word, ERR_TOO_LARGE, "%.40s: at most %u bytes", f->name, f->max);
	if (f->kind == FIELD_STR) {
		memset(at, 0, (size_t)f->max + 1);
		memcpy(at, word->value, word->size);
		return ERR_OK;
	}
	memcpy(*word->pool, word->value, word->size);
	*slice = (struct slice){*word->pool, (uint32_t)word->size};
	*word->pool += word->size;
	return ERR_OK;
}

static enum err take_signed(const struct word *word, const struct field *f, int64_t *at)
{
	char *end;

	errno = 0;
	*at = strtoll(word->value, &end, 10);
	if (!errno && !*end && word->size &&
		(hex_digit(word->value[0]) >= 0 || *word->value == '-'))
		return ERR_OK;
	return wrong(word, ERR_FORMAT, "%.40s: expected a number", f->name);
}

static enum err take_bool(const struct word *word, const struct field *f, bool *at)
{
	*at = !strcmp(word->value, "true");
	if (*at || !strcmp(word->value, "false"))
		return ERR_OK;
	return wrong(word, ERR_FORMAT, "%.40s: expected true or false", f->name);
}

static enum err take_value(const struct word *word, const struct field *f, uint8_t *at)
{
	uint64_t number = 0;
	enum err err;

	switch ((enum field_kind)f->kind) {
	case FIELD_BOOL: return take_bool(word, f, (bool *)at);
	case FIELD_U8: return take_small(word, f, at);
	case FIELD_U16:
		err = take_unsigned(word, f, UINT16_MAX, &number);
		*(uint16_t *)(void *)at = (uint16_t)number;
		return err;
	case FIELD_U32:
		err = take_unsigned(word, f, UINT32_MAX, &number);
		*(uint32_t *)(void *)at = (uint32_t)number;
		return err;
	case FIELD_U64: return take_unsigned(word, f, UINT64_MAX, (uint64_t *)(void *)at);
	case FIELD_I64: return take_signed(word, f, (int64_t *)(void *)at);
	case FIELD_STR:
	case FIELD_TEXT: return take_text(word, f, at);
	case FIELD_BYTES: return take_bytes(word, f, at);
	case FIELD_ADDR:
		if (addr_parse(word->value, (struct addr *)(void *)at))
			return wrong(word, ERR_FORMAT,
				"%.40s: expected an address, such as 1f/10000000010", f->name);
		return ERR_OK;
	case FIELD_RECORD:
	case FIELD_LIST: break;
	}
	return wrong(word, ERR_FORMAT, "%.40s has members: %.40s%s.%.30s=…", f->name, f->name,
		f->kind == FIELD_LIST ? ".0" : "", f->sub->fields[0].name);
}

/* The number of an item in "list.N.field"; *path is moved behind it. */
static enum err take_index(
	const struct word *word, const struct field *f, const char **path, uint32_t *index)
{
	char *end;

	*index = 0;
	if (**path >= '0' && **path <= '9') {
		unsigned long number = strtoul(*path, &end, 10);

		if (*end == '.' && number < f->max) {
			*path = end + 1;
			*index = (uint32_t)number;
			return ERR_OK;
		}
	}
	return wrong(word, ERR_FORMAT, "%.40s: expected %.40s.N.field, N below %u", f->name,
		f->name, f->max);
}

static enum err no_such_field(
	const struct word *word, const struct schema *schema, const char *name, size_t length)
{
	size_t used = (size_t)snprintf(word->problem, SCHEMA_PROBLEM_SIZE,
		"no field %.*s in %s:", length < 40 ? (int)length : 40, name, schema->name);

	for (uint32_t i = 0; i < schema->field_count && used < SCHEMA_PROBLEM_SIZE; i++)
		used += (size_t)snprintf(word->problem + used, SCHEMA_PROBLEM_SIZE - used, " %s",
			schema->fields[i].name);
	if (!schema->field_count)
		snprintf(word->problem, SCHEMA_PROBLEM_SIZE, "%s has no fields", schema->name);
	return ERR_FORMAT;
}

static enum err take_word(const struct word *word, const struct schema *schema, uint8_t *value)
{
	const char *path = word->path;

	for (;;) {
		size_t length = strcspn(path, ".");
		const struct field *f = schema_field(schema, path, length);
		uint8_t *at;
		uint32_t index = 0;

		if (!f)
			return no_such_field(word, schema, path, length);
		at = value + f->offset;
		path += length;
		if (!*path)
			return take_value(word, f, at);
		path++;
		if (f->kind == FIELD_LIST) {
			uint16_t *count = (uint16_t *)(void *)(value + f->count_offset);
			enum err err = take_index(word, f, &path, &index);

			if (err)
				return err;
			if (*count <= index)
				*count = (uint16_t)(index + 1);
		} else if (f->kind != FIELD_RECORD) {
			return wrong(word, ERR_FORMAT, "%.40s has no members", f->name);
		}
		schema = f->sub;
		value = at + index * f->sub->size;
	}
}

/* The next word of *at, quotes taken off, into `text`. False when a quote is open or it is too long. */
static bool next_word(const char **at, char *text, size_t size)
{
	size_t used = 0;
	bool quoted = false;

	*at += strspn(*at, " \t");
	for (; **at && (quoted || !strchr(" \t", **at)); (*at)++) {
		if (**at == '"') {
			quoted = !quoted;
			continue;
		}
		if (quoted && **at == '\\' && ((*at)[1] == '"' || (*at)[1] == '\\'))
			(*at)++;
		if (used + 1 >= size)
			return false;
		text[used++] = **at;
	}
	text[used] = 0;
	return !quoted;
}

enum err schema_parse_words(const struct schema *schema, const char *words, void *value, char *pool,
	char problem[SCHEMA_PROBLEM_SIZE])
{
	char text[WORD_MAX];
	enum err err = ERR_OK;

	problem[0] = 0;
	memset(value, 0, schema->size);
	while (!err && words[strspn(words, " \t")]) {
		struct word word = {.path = text, .pool = &pool, .problem = problem};

		if (!next_word(&words, text, sizeof(text)))
			return wrong(
				&word, ERR_FORMAT, "a quote is not closed, or a word too long");
		word.value = strchr(text, '=');
		if (!word.value)
			return wrong(&word, ERR_FORMAT, "expected field=value, got %.40s", text);
		*word.value++ = 0;
		word.size = strlen(word.value);
		err = take_word(&word, schema, value);
	}
	return err;
}

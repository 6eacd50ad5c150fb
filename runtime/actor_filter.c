/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/actor_filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 256 };

/* A field's value as text, and as a number where it is one. */
struct value {
	char text[TEXT_MAX];
	bool is_number;
	double number;
};

/* The next word of *at into `word`; false when there is none or it is too long. */
static bool next_word(const char **at, char *word, size_t size)
{
	size_t length;

	*at += strspn(*at, " \t");
	length = strcspn(*at, " \t");
	if (!length || length >= size)
		return false;
	memcpy(word, *at, length);
	word[length] = 0;
	*at += length;
	return true;
}

static enum actor_filter_op op_named(const char *word)
{
	static const struct {
		const char *name;
		enum actor_filter_op op;
	} ops[] = {
		{"=",  FILTER_EQUAL	  },
		{"==", FILTER_EQUAL   },
		{"!=", FILTER_DIFFERS },
		{"<",  FILTER_LESS	 },
		{"<=", FILTER_AT_MOST },
		{">",  FILTER_MORE	 },
		{">=", FILTER_AT_LEAST},
		{"~",  FILTER_CONTAINS},
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (!strcmp(ops[i].name, word))
			return ops[i].op;
	return FILTER_NONE;
}

static enum err parse_where(const char **at, struct actor_filter *filter, const char **problem)
{
	char op[4] = "";

	*problem = "expected: where FIELD OP VALUE, OP one of = != < <= > >= ~";
	if (filter->op || !next_word(at, filter->field, sizeof(filter->field)) ||
		!next_word(at, op, sizeof(op)) ||
		!next_word(at, filter->value, sizeof(filter->value)))
		return ERR_FORMAT;
	filter->op = op_named(op);
	return filter->op ? ERR_OK : ERR_FORMAT;
}

static enum err parse_after(const char **at, struct actor_filter *filter, const char **problem)
{
	char word[ADDR_TEXT_SIZE];

	*problem = "expected: after ADDR";
	return next_word(at, word, sizeof(word)) ? addr_parse(word, &filter->after) : ERR_FORMAT;
}

enum err actor_filter_parse(const char *text, struct actor_filter *filter, const char **problem)
{
	char word[32];
	enum err err = ERR_OK;

	*filter = (struct actor_filter){0};
	*problem = "";
	while (!err && text[strspn(text, " \t")]) {
		*problem = "expected: [TYPE] [where FIELD OP VALUE] [after ADDR]";
		if (!next_word(&text, word, sizeof(word)))
			return ERR_FORMAT;
		if (!strcmp(word, "where"))
			err = parse_where(&text, filter, problem);
		else if (!strcmp(word, "after"))
			err = parse_after(&text, filter, problem);
		else if (!filter->type[0])
			memcpy(filter->type, word, sizeof(filter->type));
		else
			err = ERR_FORMAT;
	}
	return err;
}

static const struct field *find_field(const struct schema *schema, const char *name, size_t length)
{
	for (uint32_t i = 0; i < schema->field_count; i++)
		if (strlen(schema->fields[i].name) == length &&
			!memcmp(schema->fields[i].name, name, length))
			return &schema->fields[i];
	return NULL;
}

static bool number_value(struct value *value, double number)
{
	value->is_number = true;
	value->number = number;
	snprintf(value->text, sizeof(value->text), "%.0f", number);
	return true;
}

/* False when the field cannot be compared: a secret, a list, bytes. */
static bool read_value(const struct field *field, const void *base, struct value *value)
{
	const uint8_t *at = (const uint8_t *)base + field->offset;
	char text[ADDR_TEXT_SIZE];

	*value = (struct value){0};
	if (field->flags & FIELD_IS_SECRET)
		return false;
	switch ((enum field_kind)field->kind) {
	case FIELD_BOOL:
		snprintf(value->text, sizeof(value->text), "%s", *at ? "true" : "false");
		return true;
	case FIELD_U8:
		if (!field->name_of)
			return number_value(value, *at);
		snprintf(value->text, sizeof(value->text), "%s", field->name_of(*at));
		return true;
	case FIELD_U16: return number_value(value, *(const uint16_t *)at);
	case FIELD_U32: return number_value(value, *(const uint32_t *)at);
	case FIELD_U64: return number_value(value, (double)*(const uint64_t *)at);
	case FIELD_I64: return number_value(value, (double)*(const int64_t *)at);
	case FIELD_STR:
		snprintf(value->text, sizeof(value->text), "%.*s", (int)field->max,
			(const char *)at);
		return true;
	case FIELD_ADDR:
		snprintf(value->text, sizeof(value->text), "%s",
			addr_text(*(const struct addr *)at, text));
		return true;
	default: return false;
	}
}

static bool compare(const struct value *have, enum actor_filter_op op, const char *wanted)
{
	char *end;
	double number = strtod(wanted, &end);
	bool as_numbers = have->is_number && end != wanted && !*end;
	int order = strcmp(have->text, wanted);

	if (as_numbers)
		order = have->number < number ? -1 : have->number > number;
	switch (op) {
	case FILTER_EQUAL: return order == 0;
	case FILTER_DIFFERS: return order != 0;
	case FILTER_LESS: return order < 0;
	case FILTER_AT_MOST: return order <= 0;
	case FILTER_MORE: return order > 0;
	case FILTER_AT_LEAST: return order >= 0;
	case FILTER_CONTAINS: return strstr(have->text, wanted) != NULL;
	case FILTER_NONE: break;
	}
	return true;
}

bool actor_filter_match(const struct actor_filter *filter, const struct actor_row *row,
	const struct schema *schema, const void *state)
{
	const struct field *field;
	const void *base = row;
	struct value value;

	if (filter->type[0] && strcmp(filter->type, row->type))
		return false;
	if (!filter->op)
		return true;
	field = find_field(&schema_actor_row, filter->field, strlen(filter->field));
	if (!field) {
		base = state;
		field = find_field(schema, filter->field, strlen(filter->field));
	}
	return field && read_value(field, base, &value) &&
	       compare(&value, filter->op, filter->value);
}

const char *actor_filter_text(const struct schema *schema, const void *state, const char *names)
{
	while (*names) {
		size_t length = strcspn(names, ",");
		const struct field *field = find_field(schema, names, length);

		if (field && field->kind == FIELD_STR && !(field->flags & FIELD_IS_SECRET))
			return (const char *)state + field->offset;
		names += length + (names[length] == ',');
	}
	return "";
}

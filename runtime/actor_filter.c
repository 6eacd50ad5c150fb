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

static enum err parse_condition(const char **at, struct actor_filter *filter, const char **problem)
{
	struct actor_condition *condition = &filter->conditions[filter->condition_count];
	char op[4] = "";

	*problem = "too many conditions";
	if (filter->condition_count == FILTER_CONDITIONS_MAX)
		return ERR_FORMAT;
	*problem =
		"expected: where FIELD OP VALUE [and FIELD OP VALUE], OP one of = != < <= > >= ~";
	if (!next_word(at, condition->field, sizeof(condition->field)) ||
		!next_word(at, op, sizeof(op)) ||
		!next_word(at, condition->value, sizeof(condition->value)))
		return ERR_FORMAT;
	condition->op = op_named(op);
	filter->condition_count++;
	return condition->op ? ERR_OK : ERR_FORMAT;
}

static enum err parse_after(const char **at, struct actor_filter *filter, const char **problem)
{
	char word[ADDR_TEXT_SIZE];

	*problem = "expected: after ADDR";
	return next_word(at, word, sizeof(word)) ? addr_parse(word, &filter->after) : ERR_FORMAT;
}

static enum err parse_limit(const char **at, struct actor_filter *filter, const char **problem)
{
	char word[10], *end;

	*problem = "expected: limit N, from 1";
	if (!next_word(at, word, sizeof(word)) || word[0] == '-')
		return ERR_FORMAT;
	filter->limit = (uint32_t)strtoul(word, &end, 10);
	return *end || !filter->limit ? ERR_FORMAT : ERR_OK;
}

enum err actor_filter_parse(const char *text, struct actor_filter *filter, const char **problem)
{
	char word[32];
	enum err err = ERR_OK;

	*filter = (struct actor_filter){0};
	*problem = "";
	while (!err && text[strspn(text, " \t")]) {
		*problem = "expected: [TYPE] [where FIELD OP VALUE [and …]] [after ADDR] [limit N]";
		if (!next_word(&text, word, sizeof(word)))
			return ERR_FORMAT;
		/* the first condition follows `where`, any other `and` */
		if (!strcmp(word, filter->condition_count ? "and" : "where"))
			err = parse_condition(&text, filter, problem);
		else if (!strcmp(word, "after"))
			err = parse_after(&text, filter, problem);
		else if (!strcmp(word, "limit"))
			err = parse_limit(&text, filter, problem);
		else if (!filter->type[0] && !filter->condition_count)
			memcpy(filter->type, word, sizeof(filter->type));
		else
			err = ERR_FORMAT;
	}
	return err;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* The field of that name, or for x_ms the field x_us: *per is what a value is to be divided by. */
static const struct field *find_field(const struct schema *schema, const char *name, double *per)
{
	size_t length = strlen(name);
	const struct field *field = schema_field(schema, name, length);
	char in_us[64];

	*per = 1;
	if (field || length < 3 || strcmp(name + length - 3, "_ms"))
		return field;
	snprintf(in_us, sizeof(in_us), "%.*s_us", (int)length - 3, name);
	*per = 1000;
	return schema_field(schema, in_us, strlen(in_us));
}

/* Whether some state has it; of one type, or (NULL) of any. */
static const struct field *field_of_states(const struct schema *only, const char *name)
{
	const struct schema *schema;
	const struct field *field = NULL;
	double per;

	if (only)
		return find_field(only, name, &per);
	for (size_t i = 0; !field && (schema = schema_at(i)); i++)
		if (schema->use == SCHEMA_STATE)
			field = find_field(schema, name, &per);
	return field;
}

enum err actor_filter_check(const struct actor_filter *filter, char problem[SCHEMA_PROBLEM_SIZE])
{
	char state[sizeof(filter->type) + 8];
	const struct schema *only;
	const struct field *field;
	double per;

	snprintf(state, sizeof(state), "%s_state", filter->type);
	only = filter->type[0] ? schema_by_name(state) : NULL;
	for (unsigned i = 0; i < filter->condition_count; i++) {
		const char *name = filter->conditions[i].field;

		field = find_field(&schema_actor_row, name, &per);
		if (!field && (only || !filter->type[0]))
			field = field_of_states(only, name);
		else if (!field)
			continue; /* a type this program has no schema of */
		if (field && !(field->flags & FIELD_IS_SECRET))
			continue;
		snprintf(problem, SCHEMA_PROBLEM_SIZE, "%s \"%.60s\"%s%s",
			field ? "secrets are not compared:" : "no field", name,
			filter->type[0] ? " in actors of type " : "", filter->type);
		return ERR_FORMAT;
	}
	return ERR_OK;
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

static bool condition_holds(const struct actor_condition *condition, const struct actor_row *row,
	const struct schema *schema, const void *state)
{
	double per;
	const struct field *field = find_field(&schema_actor_row, condition->field, &per);
	const void *base = field ? row : state;
	struct value value;

	if (!field)
		field = find_field(schema, condition->field, &per);
	if (!field || !read_value(field, base, &value))
		return false;
	value.number /= per;
	return compare(&value, condition->op, condition->value);
}

bool actor_filter_match(const struct actor_filter *filter, const struct actor_row *row,
	const struct schema *schema, const void *state)
{
	if (filter->type[0] && strcmp(filter->type, row->type))
		return false;
	for (unsigned i = 0; i < filter->condition_count; i++)
		if (!condition_holds(&filter->conditions[i], row, schema, state))
			return false;
	return true;
}

const char *actor_filter_text(const struct schema *schema, const void *state, const char *names)
{
	while (*names) {
		size_t length = strcspn(names, ",");
		const struct field *field = schema_field(schema, names, length);

		if (field && field->kind == FIELD_STR && !(field->flags & FIELD_IS_SECRET))
			return (const char *)state + field->offset;
		names += length + (names[length] == ',');
	}
	return "";
}

struct addr actor_filter_addr(const struct schema *schema, const void *state, const char *name)
{
	const struct field *field = schema_field(schema, name, strlen(name));

	if (!field || field->kind != FIELD_ADDR || field->flags & FIELD_IS_SECRET)
		return (struct addr){0};
	return *(const struct addr *)(const void *)((const uint8_t *)state + field->offset);
}

double actor_filter_sum(const struct schema *schema, const void *state, const char *names)
{
	double sum = 0;

	while (*names) {
		size_t length = strcspn(names, ",");
		const struct field *field = schema_field(schema, names, length);
		struct value value;

		if (field && read_value(field, state, &value))
			sum += value.is_number ? value.number : !strcmp(value.text, "true");
		names += length + (names[length] == ',');
	}
	return sum;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of the console for people: tables, lines of key and value, trees, events as they come.
 */
#include "runtime/repl_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	COLUMNS_MAX = 24,
	TREE_DEPTH_MAX = 16,
	CELL_MAX = 160,
	INDENT_MAX = 8,
};

/* As much of `more` as fits behind `used` characters; how many there are then. */
static size_t append(char *text, size_t size, size_t used, const char *more)
{
	snprintf(text + used, size - used, "%s", more);
	return used + strlen(text + used);
}

/* A list of objects in one line: what they hold without its names, and without what is nothing. */
static void list_in_short(const json_t *list, char *text, size_t size)
{
	json_t *item, *value;
	size_t used = 0, i;
	const char *key;

	*text = 0;
	json_array_foreach((json_t *)list, i, item)
	{
		const char *gap = i ? ", " : "";

		json_object_foreach(item, key, value)
		{
			char number[32];
			const char *said = json_string_value(value);

			if (json_is_integer(value) && json_integer_value(value)) {
				snprintf(number, sizeof(number), "%lld",
					(long long)json_integer_value(value));
				said = number;
			}
			if (!said || !*said)
				continue;
			used = append(text, size, used, gap);
			used = append(text, size, used, said);
			gap = " ";
		}
	}
}

static bool is_list_of_objects(const json_t *value)
{
	return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

/* A value in one line; strings without quotes. Returns `text`. */
static const char *cell(const json_t *value, char *text, size_t size)
{
	if (!value || json_is_null(value) || (json_is_array(value) && !json_array_size(value))) {
		snprintf(text, size, "-");
	} else if (is_list_of_objects(value)) {
		list_in_short(value, text, size);
	} else if (json_is_string(value)) {
		snprintf(text, size, "%s", json_string_value(value));
	} else {
		char *dump =
			json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));

		snprintf(text, size, "%s", dump ? dump : "?");
		free(dump);
	}
	/* what came from outside must not drive the terminal */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return text;
}

/* Characters that a terminal shows, not bytes. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void show_cell(FILE *out, const char *text, size_t width, bool last)
{
	size_t have = width_of(text);

	fprintf(out, "%s%*s", text, last || have > width ? 0 : (int)(width - have + 2), "");
}

static void show_table(FILE *out, const json_t *rows, int indent)
{
	const char *keys[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX], columns = 0;
	char text[CELL_MAX + 1];
	const char *key;
	json_t *value;

	json_object_foreach(json_array_get(rows, 0), key, value)
	{
		if (columns == COLUMNS_MAX)
			break;
		keys[columns] = key;
		widths[columns++] = strlen(key);
	}
	for (size_t i = 0; i < json_array_size(rows); i++)
		for (size_t c = 0; c < columns; c++) {
			size_t length =
				width_of(cell(json_object_get(json_array_get(rows, i), keys[c]),
					text, sizeof(text)));

			widths[c] = length > widths[c] ? length : widths[c];
		}
	fprintf(out, "%*s", indent * 2, "");
	for (size_t c = 0; c < columns; c++)
		show_cell(out, keys[c], widths[c], c + 1 == columns);
	fprintf(out, "\n");
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		fprintf(out, "%*s", indent * 2, "");
		for (size_t c = 0; c < columns; c++)
			show_cell(out, cell(json_object_get(row, keys[c]), text, sizeof(text)),
				widths[c], c + 1 == columns);
		fprintf(out, "\n");
	}
}

/* A list inside of an object: texts a line each, objects as a table. False when it is neither. */
static bool show_list(FILE *out, const char *key, const json_t *list, int indent)
{
	const json_t *first = json_array_get(list, 0), *item;
	char text[1024];
	size_t i;

	if (!json_is_string(first) && !json_is_object(first))
		return false;
	fprintf(out, "%*s%s\n", indent * 2, "", key);
	if (json_is_object(first)) {
		show_table(out, list, indent + 1);
		return true;
	}
	json_array_foreach((json_t *)list, i, item)
	{
		fprintf(out, "%*s%s\n", indent * 2 + 2, "", cell(item, text, sizeof(text)));
	}
	return true;
}

static void show_object(FILE *out, const json_t *object, int indent)
{
	size_t width = 0;
	const char *key;
	json_t *value;
	char text[1024];

	json_object_foreach((json_t *)object, key, value) if (strlen(key) > width) width =
		strlen(key);
	json_object_foreach((json_t *)object, key, value)
	{
		bool nested = indent < INDENT_MAX;

		if (nested && json_is_object(value) && json_object_size(value)) {
			fprintf(out, "%*s%s\n", indent * 2, "", key);
			show_object(out, value, indent + 1);
		} else if (json_is_array(value) && !json_array_size(value)) {
			fprintf(out, "%*s%-*s  none\n", indent * 2, "", (int)width, key);
		} else if (!nested || !show_list(out, key, value, indent)) {
			fprintf(out, "%*s%-*s  %s\n", indent * 2, "", (int)width, key,
				cell(value, text, sizeof(text)));
		}
	}
}

/* Objects with "children": a line each, indented below its parent. */
static void show_tree(FILE *out, const json_t *rows, int depth)
{
	char text[CELL_MAX + 1];
	const char *key;
	json_t *row, *value;
	size_t i;

	json_array_foreach((json_t *)rows, i, row)
	{
		fprintf(out, "%*s", depth * 2, "");
		json_object_foreach(
			row, key, value) if (!json_is_array(value) && !json_is_object(value))
			fprintf(out, "%s ", cell(value, text, sizeof(text)));
		fprintf(out, "\n");
		if (depth < TREE_DEPTH_MAX)
			show_tree(out, json_object_get(row, "children"), depth + 1);
	}
}

void repl_client_show(FILE *out, const json_t *result)
{
	char text[4096];

	if (!result || json_is_null(result))
		fprintf(out, "ok\n");
	else if (json_is_array(result) && json_array_size(result) == 0)
		fprintf(out, "none\n");
	else if (json_is_array(json_object_get(json_array_get(result, 0), "children")))
		show_tree(out, result, 0);
	else if (json_is_array(result) && json_is_object(json_array_get(result, 0)))
		show_table(out, result, 0);
	else if (json_is_object(result))
		show_object(out, result, 0);
	else if (json_is_string(result))
		fprintf(out, "%s\n", json_string_value(result));
	else
		fprintf(out, "%s\n", cell(result, text, sizeof(text)));
}

/* ---- events ---------------------------------------------------------------------------------- */

static void show_time(FILE *out, const json_t *event)
{
	json_int_t at_us = json_integer_value(json_object_get(event, "at_us"));
	time_t seconds = (time_t)(at_us / 1000000);
	struct tm tm;
	char text[16];

	strftime(text, sizeof(text), "%H:%M:%S", localtime_r(&seconds, &tm));
	fprintf(out, "%s.%03d ", text, (int)(at_us / 1000 % 1000));
}

/* Fields that say something: those that are not zero, empty or nobody. */
static void show_fields(FILE *out, const json_t *fields, bool all)
{
	char text[512];
	const char *key;
	json_t *value;

	if (!json_is_object(fields))
		fprintf(out, " %s", cell(fields, text, sizeof(text)));
	json_object_foreach((json_t *)fields, key, value)
	{
		bool empty = json_is_false(value) ||
			     (json_is_integer(value) && !json_integer_value(value)) ||
			     (json_is_string(value) && !json_string_length(value)) ||
			     (json_is_array(value) && !json_array_size(value)) ||
			     (json_is_string(value) && !strcmp(json_string_value(value), "0/0"));

		if (all || !empty)
			fprintf(out, " %s=%s", key, cell(value, text, sizeof(text)));
	}
}

void repl_show_event(FILE *out, const json_t *answer)
{
	const json_t *event = json_object_get(answer, "result");
	const json_t *left_out = json_object_get(answer, "left_out");
	char message[80], kind[16], direction[8], peer[64], state[48];

	if (left_out)
		fprintf(out, "(%lld left out)\n", (long long)json_integer_value(left_out));
	if (json_object_get(event, "message")) {
		show_time(out, event);
		fprintf(out, "%-3s %s %s %s %s",
			cell(json_object_get(event, "direction"), direction, sizeof(direction)),
			cell(json_object_get(event, "kind"), kind, sizeof(kind)),
			cell(json_object_get(event, "message"), message, sizeof(message)),
			!strcmp(direction, "in") ? "from" : "to",
			cell(json_object_get(event, "peer"), peer, sizeof(peer)));
		show_fields(out, json_object_get(event, "fields"), false);
		fprintf(out, "\n");
	} else if (json_object_get(event, "changed")) {
		show_time(out, event);
		fprintf(out, "%s",
			cell(json_object_get(event, "state_name"), state, sizeof(state)));
		show_fields(out, json_object_get(event, "changed"), true);
		fprintf(out, "\n");
	} else {
		repl_client_show(out, event);
	}
}

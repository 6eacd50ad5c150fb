/* SPDX-License-Identifier: Apache-2.0
 *
 * The three sources a person writes: YAML file, environment, flags. Each names a key in its own
 * spelling; errors name the place in the same spelling.
 */
#include "runtime/config.h"

#include "runtime/config_value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { NAME_MAX_COMPARED = 64 };

static const char environment_prefix[] = "MILLRACE_";

static char fold(char c)
{
	return c == '_' || c == '.' ? '-' : (char)tolower((unsigned char)c);
}

enum config_key config_find_spelled(const char *name, size_t length)
{
	unsigned key = 0;

	for (; key < CONFIG_KEY_COUNT; key++) {
		const char *known = config_row(key)->key;
		size_t i = 0;

		while (i < length && known[i] && fold(known[i]) == fold(name[i]))
			i++;
		if (i == length && !known[i])
			break;
	}
	return (enum config_key)key;
}

/* Levenshtein distance of two folded names. */
static unsigned distance(const char *a, size_t a_length, const char *b)
{
	size_t b_length = strlen(b);
	unsigned row[NAME_MAX_COMPARED + 1];

	if (b_length > NAME_MAX_COMPARED)
		return NAME_MAX_COMPARED;
	for (size_t j = 0; j <= b_length; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned changed = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));

			diagonal = row[j];
			if (row[j - 1] + 1 < changed)
				changed = row[j - 1] + 1;
			if (row[j] + 1 < changed)
				changed = row[j] + 1;
			row[j] = changed;
		}
	}
	return row[b_length];
}

/* The known key nearest to `name`, NULL when none is near: the whole key, or its last part. */
static const char *nearest_key(const char *name, size_t length)
{
	unsigned best = 3 + (unsigned)length / 6;
	const char *nearest = NULL;

	if (length > NAME_MAX_COMPARED)
		return NULL;
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		const char *known = config_row(key)->key, *dot = strrchr(known, '.');
		unsigned whole = distance(name, length, known);
		unsigned last = dot && !memchr(name, '.', length)
					? distance(name, length, dot + 1) + 1
					: whole;
		unsigned near = whole < last ? whole : last;

		if (near < best) {
			best = near;
			nearest = known;
		}
	}
	return nearest;
}

void config_unknown(struct config_report *report, bool is_warning, const char *place,
	const char *name, size_t length, char spell)
{
	const char *nearest = nearest_key(name, length);
	char hint[CONFIG_PLACE_SIZE] = "";
	int shown = length > NAME_MAX_COMPARED ? NAME_MAX_COMPARED : (int)length;

	if (nearest) {
		int prefix = snprintf(hint, sizeof(hint), "; did you mean %s",
			spell == '-'   ? "--"
			: spell == '_' ? environment_prefix
				       : "");
		snprintf(hint + prefix, sizeof(hint) - (size_t)prefix, "%s?", nearest);
		for (char *p = hint + prefix; spell != '.' && *p; p++) {
			*p = *p == '.' || *p == '_' ? spell : *p;
			*p = spell == '_' ? (char)toupper((unsigned char)*p) : *p;
		}
	}
	config_problem(report, is_warning, place, "unknown %s \"%.*s\"%s",
		spell == '-'   ? "flag"
		: spell == '_' ? "variable"
			       : "key",
		shown, name, hint);
}

/* --- YAML ------------------------------------------------------------------------------------ */

struct yaml_reader {
	struct config *config;
	struct config_report *report;
	const char *name;
	uint32_t line;				  /* of the event in hand, from 1 */
	unsigned depth;				  /* mappings that are open */
	size_t path_length[CONFIG_DEPTH_MAX + 1]; /* of `path`, outside of each open mapping */
	char path[160];				  /* dotted key in hand */
	bool has_key;				  /* the next node is the value of `path` */
	bool in_list;
	bool documents; /* one was seen */
	size_t list_length;
	char list[CONFIG_VALUE_MAX + 1];
};

__attribute__((format(printf, 2, 3))) static enum err yaml_wrong(
	struct yaml_reader *y, const char *format, ...)
{
	char place[CONFIG_PLACE_SIZE], text[CONFIG_TEXT_SIZE];
	va_list arguments;

	snprintf(place, sizeof(place), "%.80s:%" PRIu32, y->name, y->line);
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	config_problem(y->report, false, place, "%s", text);
	return ERR_FORMAT;
}

static void yaml_set(struct yaml_reader *y, const char *value)
{
	enum config_key key = config_find(y->path, strlen(y->path));
	char place[CONFIG_PLACE_SIZE];

	snprintf(place, sizeof(place), "%.80s:%" PRIu32, y->name, y->line);
	if (key == CONFIG_KEY_COUNT)
		config_unknown(y->report, false, place, y->path, strlen(y->path), '.');
	else if (y->report->origin[key].source == CONFIG_FROM_FILE)
		config_problem(y->report, false, place,
			"%s: expected once, but line %" PRIu32 " has it too", y->path,
			y->report->origin[key].line);
	else
		(void)config_set_key(
			y->config, key, value, CONFIG_FROM_FILE, y->line, place, y->report);
}

static enum err yaml_key(struct yaml_reader *y, const char *name, size_t length)
{
	size_t outer = y->path_length[y->depth];
	int size = snprintf(y->path + outer, sizeof(y->path) - outer, "%s%.*s", outer ? "." : "",
		(int)(length > sizeof(y->path) ? sizeof(y->path) : length), name);

	if ((size_t)size >= sizeof(y->path) - outer)
		return yaml_wrong(y, "expected a key of at most %zu bytes", sizeof(y->path) - 1);
	y->has_key = true;
	return ERR_OK;
}

static enum err yaml_scalar(struct yaml_reader *y, const char *value, size_t length)
{
	if (y->depth == 0) {
		/* an empty document is a scalar without text */
		return length ? yaml_wrong(y, "expected keys, such as http.port: 8080") : ERR_OK;
	}
	if (strlen(value) != length)
		return yaml_wrong(y, "expected text without NUL bytes");
	if (!y->has_key)
		return yaml_key(y, value, length);
	if (!y->in_list) {
		y->has_key = false;
		yaml_set(y, value);
		return ERR_OK;
	}
	if (y->list_length + length + 1 > CONFIG_VALUE_MAX)
		return yaml_wrong(
			y, "%s: expected a list of at most %d bytes", y->path, CONFIG_VALUE_MAX);
	y->list_length += (size_t)snprintf(y->list + y->list_length,
		sizeof(y->list) - y->list_length, "%s%s", y->list_length ? "," : "", value);
	return ERR_OK;
}

static enum err yaml_open(struct yaml_reader *y, bool is_list)
{
	if (y->in_list || (is_list && !y->has_key))
		return yaml_wrong(y, "expected a key or a plain value here");
	if (y->depth && !y->has_key)
		return yaml_wrong(y, "expected a key, got a mapping");
	if (is_list) {
		y->in_list = true;
		y->list[y->list_length = 0] = '\0';
		return ERR_OK;
	}
	if (y->depth == CONFIG_DEPTH_MAX)
		return yaml_wrong(y, "expected at most %d levels of keys", CONFIG_DEPTH_MAX);
	y->path_length[++y->depth] = strlen(y->path);
	y->has_key = false;
	return ERR_OK;
}

static void yaml_close(struct yaml_reader *y, bool is_list)
{
	y->has_key = false;
	if (is_list) {
		y->in_list = false;
		yaml_set(y, y->list);
		return;
	}
	y->path[y->path_length[y->depth--]] = '\0';
	/* what is left is the key whose value ended; the next key replaces it */
}

static enum err yaml_event(struct yaml_reader *y, const yaml_event_t *event)
{
	y->line = (uint32_t)event->start_mark.line + 1;
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (y->documents)
			return yaml_wrong(y, "expected one document");
		y->documents = true;
		return ERR_OK;
	case YAML_SCALAR_EVENT:
		return yaml_scalar(
			y, (const char *)event->data.scalar.value, event->data.scalar.length);
	case YAML_MAPPING_START_EVENT: return yaml_open(y, false);
	case YAML_SEQUENCE_START_EVENT: return yaml_open(y, true);
	case YAML_MAPPING_END_EVENT: yaml_close(y, false); return ERR_OK;
	case YAML_SEQUENCE_END_EVENT: yaml_close(y, true); return ERR_OK;
	case YAML_ALIAS_EVENT: return yaml_wrong(y, "expected no aliases (*name)");
	default: return ERR_OK;
	}
}

enum err config_read_yaml(struct config *config, const char *name, const void *bytes, size_t size,
	struct config_report *report)
{
	struct yaml_reader y = {.config = config, .report = report, .name = name, .line = 1};
	unsigned before = report->count;
	enum err err = ERR_OK;
	yaml_parser_t parser;
	bool ended = false;

	snprintf(report->file, sizeof(report->file), "%s", name);
	if (size > CONFIG_FILE_BYTES_MAX) {
		yaml_wrong(&y, "expected a file of at most %d bytes", CONFIG_FILE_BYTES_MAX);
		return ERR_CONFIG;
	}
	if (!yaml_parser_initialize(&parser))
		return ERR_NO_MEMORY;
	yaml_parser_set_input_string(&parser, bytes, size);
	while (!err && !ended) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			y.line = (uint32_t)parser.problem_mark.line + 1;
			err = yaml_wrong(&y, "expected YAML: %.120s",
				parser.problem ? parser.problem : "unreadable");
			break;
		}
		err = yaml_event(&y, &event);
		ended = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return report->count > before ? ERR_CONFIG : ERR_OK;
}

/* --- environment and flags ------------------------------------------------------------------- */

enum err config_read_environment(
	struct config *config, char *const *environment, struct config_report *report)
{
	const size_t prefix = sizeof(environment_prefix) - 1;
	unsigned before = report->count;

	for (; *environment; environment++) {
		const char *name = *environment + prefix, *equals = strchr(*environment, '=');
		char place[CONFIG_PLACE_SIZE];

		if (!equals || strncmp(*environment, environment_prefix, prefix))
			continue;
		size_t length = (size_t)(equals - name);
		if (length == 6 && !memcmp(name, "CONFIG", 6))
			continue;
		snprintf(place, sizeof(place), "%.*s", (int)(equals - *environment), *environment);
		enum config_key key = config_find_spelled(name, length);
		if (key == CONFIG_KEY_COUNT)
			config_unknown(report, true, place, name, length, '_');
		else
			(void)config_set_key(
				config, key, equals + 1, CONFIG_FROM_ENV, 0, place, report);
	}
	return report->count > before ? ERR_CONFIG : ERR_OK;
}

static void set_pair(struct config *config, const char *pair, struct config_report *report)
{
	const char *equals = strchr(pair, '=');
	size_t length = equals ? (size_t)(equals - pair) : 0;
	enum config_key key = config_find(pair, length);

	if (!equals)
		config_problem(report, false, "--set", "expected key=value");
	else if (key == CONFIG_KEY_COUNT)
		config_unknown(report, false, "--set", pair, length, '.');
	else
		(void)config_set_key(config, key, equals + 1, CONFIG_FROM_FLAG, 0, "--set", report);
}

static bool is_flag(const char *name, size_t length, const char *flag)
{
	return strlen(flag) == length && !memcmp(name, flag, length);
}

enum err config_read_flags(
	struct config *config, int argc, char *const *argv, struct config_report *report)
{
	unsigned before = report->count;

	for (int i = 0; i < argc; i++) {
		const char *name = argv[i] + 2, *value = strchr(argv[i], '=');
		char place[CONFIG_PLACE_SIZE];

		if (strncmp(argv[i], "--", 2) || !*name) {
			config_problem(report, false, "arguments",
				"expected a flag such as --http-port, got \"%.60s\"", argv[i]);
			continue;
		}
		size_t length = value ? (size_t)(value - name) : strlen(name);
		snprintf(place, sizeof(place), "--%.*s", (int)(length > 64 ? 64 : length), name);
		enum config_key key = is_flag(name, length, "name")
					      ? CONFIG_KEY_node_name
					      : config_find_spelled(name, length);
		bool is_set = is_flag(name, length, "set");
		bool is_config = is_flag(name, length, "config");
		if (key == CONFIG_KEY_COUNT && !is_set && !is_config) {
			config_unknown(report, false, place, name, length, '-');
			/* its value, if it looks like one, is not another error */
			if (!value && i + 1 < argc && argv[i + 1][0] != '-')
				i++;
			continue;
		}
		if (!value && i + 1 == argc) {
			config_problem(report, false, place, "expected a value after it");
			break;
		}
		value = value ? value + 1 : argv[++i];
		if (is_set)
			set_pair(config, value, report);
		else if (!is_config)
			(void)config_set_key(
				config, key, value, CONFIG_FROM_FLAG, 0, place, report);
	}
	return report->count > before ? ERR_CONFIG : ERR_OK;
}

const char *config_file_named(int argc, char *const *argv, char *const *environment)
{
	const char *named = NULL;

	for (; *environment; environment++)
		if (!strncmp(*environment, "MILLRACE_CONFIG=", 16) && (*environment)[16])
			named = *environment + 16;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "--config=", 9))
			named = argv[i] + 9;
		else if (!strcmp(argv[i], "--config") && i + 1 < argc)
			named = argv[i + 1];
	}
	return named;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of keys, what is done with one key, the checks between keys, and the form in which a
 * configuration travels to the child processes.
 */
#include "runtime/config.h"

#include "runtime/config_value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PORT_RANGES = 8, SHOWN_VALUE_MAX = 48 };

static const struct config_row rows[CONFIG_KEY_COUNT] = {
#define CONFIG(type, member, key, fallback, min, max, extra, flags, help)                         \
	{key, CONFIG_##type, CONFIG_##flags, offsetof(struct config, member), min, max, fallback, \
		extra, help},
#include "schemas/config.def"
#undef CONFIG
};

const struct config_row *config_row(unsigned key)
{
	return key < CONFIG_KEY_COUNT ? &rows[key] : NULL;
}

enum config_key config_find(const char *name, size_t length)
{
	unsigned key = 0;

	for (; key < CONFIG_KEY_COUNT; key++)
		if (strlen(rows[key].key) == length && !memcmp(rows[key].key, name, length))
			break;
	return (enum config_key)key;
}

void config_problem(
	struct config_report *report, bool is_warning, const char *place, const char *format, ...)
{
	unsigned *count = is_warning ? &report->warning_count : &report->count;
	struct config_problem *problem = is_warning ? report->warnings : report->errors;
	va_list arguments;

	if (*count < CONFIG_ERRORS_MAX) {
		problem += *count;
		snprintf(problem->place, sizeof(problem->place), "%s", place);
		va_start(arguments, format);
		vsnprintf(problem->text, sizeof(problem->text), format, arguments);
		va_end(arguments);
	}
	++*count;
}

static void set_defaults(struct config *config)
{
	char expected[CONFIG_TEXT_SIZE];

	memset(config, 0, sizeof(*config));
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		MUST(config_value_parse(&rows[key], config, rows[key].fallback, expected));
}

void config_init(struct config *config, struct config_report *report)
{
	set_defaults(config);
	memset(report, 0, sizeof(*report));
}

/* What a message may show of a wrong value: printable and short; nothing of a secret. */
static void shown_value(const struct config_row *row, const char *value, char *shown, size_t size)
{
	if (row->flags & CONFIG_SECRET) {
		snprintf(shown, size, "a secret that is not shown");
		return;
	}
	snprintf(shown, size, "\"%.*s%s\"", SHOWN_VALUE_MAX, value,
		strlen(value) > SHOWN_VALUE_MAX ? "..." : "");
	for (char *p = shown; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

enum err config_set_key(struct config *config, enum config_key key, const char *value,
	enum config_source source, uint32_t line, const char *place, struct config_report *report)
{
	char expected[CONFIG_TEXT_SIZE];
	char shown[SHOWN_VALUE_MAX + 32];

	if (!config_value_parse(&rows[key], config, value, expected)) {
		shown_value(&rows[key], value, shown, sizeof(shown));
		config_problem(report, false, place, "%s: expected %.140s, got %s", rows[key].key,
			expected, shown);
		return ERR_CONFIG;
	}
	config->set_by[key] = (uint8_t)source;
	report->origin[key].source = source;
	report->origin[key].line = line;
	return ERR_OK;
}

enum err config_set(struct config *config, const char *key, const char *value,
	enum config_source source, const char *place, struct config_report *report)
{
	enum config_key found = config_find(key, strlen(key));

	if (found == CONFIG_KEY_COUNT) {
		config_unknown(report, false, place, key, strlen(key), '.');
		return ERR_NOT_FOUND;
	}
	return config_set_key(config, found, value, source, 0, place, report);
}

/* Where a key got its value: "millrace.yaml:12", "--http-port", "MILLRACE_HTTP_PORT", "default". */
static void place_of(const struct config_report *report, enum config_key key, char *place)
{
	const char *name = rows[key].key;
	char *p;

	switch (report->origin[key].source) {
	case CONFIG_FROM_FILE:
		snprintf(place, CONFIG_PLACE_SIZE, "%.80s:%" PRIu32, report->file,
			report->origin[key].line);
		return;
	case CONFIG_FROM_FLAG:
		snprintf(place, CONFIG_PLACE_SIZE, "--%s", name);
		for (p = place; *p; p++)
			*p = *p == '.' || *p == '_' ? '-' : *p;
		return;
	case CONFIG_FROM_ENV:
		snprintf(place, CONFIG_PLACE_SIZE, "MILLRACE_%s", name);
		for (p = place; *p; p++)
			*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
		return;
	default: snprintf(place, CONFIG_PLACE_SIZE, "default");
	}
}

bool config_run_base(const struct config_host *host, char *path, size_t size)
{
	int length = host->uid == 0 ? snprintf(path, size, "/run/millrace")
		     : host->run && host->run[0] == '/'
			     ? snprintf(path, size, "%s/millrace", host->run)
			     : snprintf(path, size, "/tmp/millrace-%" PRIu32, host->uid);

	return length > 0 && (size_t)length < size;
}

static bool data_base(const struct config_host *host, char *path, size_t size)
{
	int length = host->uid == 0 ? snprintf(path, size, "/var/lib/millrace")
		     : host->state && host->state[0] == '/'
			     ? snprintf(path, size, "%s/millrace", host->state)
		     : host->home && host->home[0] == '/'
			     ? snprintf(path, size, "%s/.local/state/millrace", host->home)
			     : snprintf(path, size, "/tmp/millrace-%" PRIu32 "-data", host->uid);

	return length > 0 && (size_t)length < size;
}

/* Fills a directory that is not set with base/name, and makes a relative one absolute. */
static void finish_directory(struct config *config, enum config_key key, const char *base,
	const struct config_host *host, struct config_report *report)
{
	char *field = (char *)config + rows[key].offset;
	char path[1024], place[CONFIG_PLACE_SIZE];
	int length;

	if (field[0] == '/')
		return;
	if (!field[0])
		length = snprintf(path, sizeof(path), "%s/%s", base, config->node_name);
	else
		length = snprintf(path, sizeof(path), "%s/%s", host->cwd ? host->cwd : "", field);
	place_of(report, key, place);
	if (length < 0 || length > rows[key].max)
		config_problem(report, false, place,
			"%s: expected a path of at most %" PRId64 " bytes, got %d: %.80s...",
			rows[key].key, rows[key].max, length, path);
	else
		memcpy(field, path, (size_t)length + 1);
}

static void finish_name(struct config *config, const struct config_host *host)
{
	char name[sizeof(config->node_name)] = "";
	size_t used = 0;

	if (config->node_name[0])
		return;
	for (const char *p = host->name; p && *p && *p != '.' && used < sizeof(name) - 1; p++)
		if (isalnum((unsigned char)*p) || (used && *p == '-'))
			name[used++] = *p;
	snprintf(config->node_name, sizeof(config->node_name), "%s", used ? name : "millrace");
}

/* 0 = none that could overlap. */
static int64_t port_of_tls(const struct config *config, int64_t port)
{
	return config->tls_cert[0] && port > 0 ? port : 0;
}

/* Ports must differ whatever their transport: a number that means two things is a mistake. */
static void check_ports(const struct config *config, struct config_report *report)
{
	const struct {
		enum config_key key;
		int64_t first;
		int64_t count;
	} ranges[PORT_RANGES] = {
		{CONFIG_KEY_http_port,  config->http_port,  1		   },
		{CONFIG_KEY_rtmp_port,  config->rtmp_port,  1		   },
		{CONFIG_KEY_https_port, port_of_tls(config, config->https_port),	 1},
		{CONFIG_KEY_rtmps_port,			port_of_tls(config,		    config->rtmps_port), 1},
		{CONFIG_KEY_api_port,		      config->api_port > 0 ? config->api_port : 0,					   1					    },
		{CONFIG_KEY_rtc_port,		      config->rtc_port, config->workers},
		{CONFIG_KEY_mesh_port,      config->mesh_port,			  1							     },
		{CONFIG_KEY_link_port,		       config->link_port,		  config->workers},
	};
	char place[CONFIG_PLACE_SIZE], other[CONFIG_PLACE_SIZE];

	for (int i = 0; i < PORT_RANGES; i++) {
		int64_t last = ranges[i].first + ranges[i].count - 1;

		if (!ranges[i].first)
			continue;
		place_of(report, ranges[i].key, place);
		if (last > 65535)
			config_problem(report, false, place,
				"%s: expected room for %" PRId64
				" workers up to port 65535, got %" PRId64,
				rows[ranges[i].key].key, ranges[i].count, ranges[i].first);
		for (int j = 0; j < i; j++) {
			int64_t other_last = ranges[j].first + ranges[j].count - 1;

			if (!ranges[j].first || ranges[j].first > last ||
				other_last < ranges[i].first)
				continue;
			place_of(report, ranges[j].key, other);
			config_problem(report, false, place,
				"%s: expected ports of its own, but %" PRId64 "-%" PRId64
				" overlaps %s %" PRId64 "-%" PRId64 " (%.60s)",
				rows[ranges[i].key].key, ranges[i].first, last,
				rows[ranges[j].key].key, ranges[j].first, other_last, other);
		}
	}
}

static void check_features(const struct config *config, struct config_report *report)
{
	char place[CONFIG_PLACE_SIZE];

	if (!config->tls_cert[0] != !config->tls_key[0]) {
		enum config_key set =
			config->tls_cert[0] ? CONFIG_KEY_tls_cert : CONFIG_KEY_tls_key;

		place_of(report, set, place);
		config_problem(report, false, place, "%s: expected tls.cert and tls.key together",
			rows[set].key);
	}
	if (config->rtmps_port >= 0 && !config->tls_cert[0]) {
		place_of(report, CONFIG_KEY_rtmps_port, place);
		config_problem(report, false, place,
			"rtmps.port: expected a certificate too: tls.cert and tls.key");
	}
	if (config->token_key[0] && config->token_key_file[0]) {
		place_of(report, CONFIG_KEY_token_key_file, place);
		config_problem(report, false, place,
			"token.key_file: expected one key, but token.key is set too");
	}
	if (config->token_key[0] && config->token_algorithm >= CONFIG_TOKEN_RS256) {
		place_of(report, CONFIG_KEY_token_algorithm, place);
		config_problem(report, false, place,
			"token.algorithm: expected HS256, HS384 or HS512 with token.key");
	}
}

/* Patterns without a slash fit no stream. */
static void check_standby(const struct config *config, struct config_report *report)
{
	char place[CONFIG_PLACE_SIZE], pattern[CONFIG_VALUE_MAX + 1];
	size_t at = 0;

	while (config_list_next(config->stream_standby, &at, pattern, sizeof(pattern))) {
		const char *slash = strchr(pattern, '/');

		if (slash && slash > pattern && slash[1] && !strchr(slash + 1, '/'))
			continue;
		place_of(report, CONFIG_KEY_stream_standby, place);
		config_problem(report, false, place,
			"stream.standby: expected patterns of app/stream, got \"%.100s\"", pattern);
	}
}

static void check_alternatives(const struct config *config, struct config_report *report)
{
	const char *at = config->http_alternatives;
	char place[CONFIG_PLACE_SIZE];

	for (at += strspn(at, " "); *at; at += strspn(at, " ")) {
		size_t size = strcspn(at, " ");
		size_t scheme = !strncmp(at, "http://", 7)    ? 7
				: !strncmp(at, "https://", 8) ? 8
							      : 0;

		if (!scheme || size == scheme || at[scheme] == '/' || at[scheme] == ':' ||
			memchr(at, '<', size) || memchr(at, '>', size) || memchr(at, '"', size)) {
			place_of(report, CONFIG_KEY_http_alternatives, place);
			config_problem(report, false, place,
				"http.alternatives: expected URLs, http:// or https://, got "
				"\"%.*s\"",
				size < 100 ? (int)size : 100, at);
		}
		at += size;
	}
}

static void check_etcd(const struct config *config, struct config_report *report)
{
	char place[CONFIG_PLACE_SIZE];

	if (!config->etcd_user[0] != !config->etcd_password[0]) {
		enum config_key set =
			config->etcd_user[0] ? CONFIG_KEY_etcd_user : CONFIG_KEY_etcd_password;

		place_of(report, set, place);
		config_problem(report, false, place,
			"%s: expected etcd.user and etcd.password together", rows[set].key);
	}
	if (!config->etcd_cert[0] != !config->etcd_key[0]) {
		enum config_key set =
			config->etcd_cert[0] ? CONFIG_KEY_etcd_cert : CONFIG_KEY_etcd_key;

		place_of(report, set, place);
		config_problem(report, false, place, "%s: expected etcd.cert and etcd.key together",
			rows[set].key);
	}
	if (config->etcd_cert[0] && !config->etcd_ca[0]) {
		place_of(report, CONFIG_KEY_etcd_cert, place);
		config_problem(report, false, place,
			"etcd.cert: expected etcd.ca too, without which there is no TLS");
	}
}

enum err config_finish(
	struct config *config, const struct config_host *host, struct config_report *report)
{
	unsigned before = report->count;
	char base[512] = "/tmp/millrace";

	finish_name(config, host);
	if (!config->workers)
		config->workers = host->processors < 1	  ? 1
				  : host->processors > 64 ? 64
							  : (int64_t)host->processors;
	(void)config_run_base(host, base, sizeof(base));
	finish_directory(config, CONFIG_KEY_run_dir, base, host, report);
	(void)data_base(host, base, sizeof(base));
	finish_directory(config, CONFIG_KEY_data_dir, base, host, report);
	check_ports(config, report);
	check_features(config, report);
	check_standby(config, report);
	check_alternatives(config, report);
	check_etcd(config, report);
	return report->count > before ? ERR_CONFIG : ERR_OK;
}

const char *config_source_name(enum config_source source)
{
	static const char *const names[] = {"default", "file", "environment", "flag", "cluster"};

	return source < sizeof(names) / sizeof(names[0]) ? names[source] : "unknown";
}

static const char set_by_name[] = "set_by";

static void encode(const struct config *config, bool reloadable, struct writer *w)
{
	char text[CONFIG_VALUE_MAX + 1];

	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		if (reloadable && !(rows[key].flags & CONFIG_RELOAD))
			continue;
		config_value_format(&rows[key], config, text, sizeof(text));
		write_bytes(w, rows[key].key, strlen(rows[key].key));
		write_u8(w, '\t');
		write_bytes(w, text, strlen(text));
		write_u8(w, '\n');
	}
	write_bytes(w, set_by_name, sizeof(set_by_name) - 1);
	write_u8(w, '\t');
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		write_u8(w, (uint8_t)('0' + config->set_by[key]));
	write_u8(w, '\n');
}

void config_encode(const struct config *config, struct writer *w)
{
	encode(config, false, w);
}

void config_encode_reloadable(const struct config *config, struct writer *w)
{
	encode(config, true, w);
}

/* A release with other keys has another list: then nothing is known of it. */
static bool decode_set_by(struct config *config, const char *digits, size_t length)
{
	for (size_t key = 0; key < length && length == CONFIG_KEY_COUNT; key++) {
		if (digits[key] < '0' || digits[key] > '0' + CONFIG_FROM_CLUSTER)
			return false;
		config->set_by[key] = (uint8_t)(digits[key] - '0');
	}
	return true;
}

static enum err decode(struct config *config, const void *bytes, size_t size)
{
	const char *at = bytes, *end = at + size;
	char value[CONFIG_VALUE_MAX + 1], expected[CONFIG_TEXT_SIZE];

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *tab = newline ? memchr(at, '\t', (size_t)(newline - at)) : NULL;

		if (!tab || newline - tab > CONFIG_VALUE_MAX)
			return ERR_FORMAT;
		enum config_key key = config_find(at, (size_t)(tab - at));
		size_t length = (size_t)(newline - tab - 1);

		if ((size_t)(tab - at) == sizeof(set_by_name) - 1 &&
			!memcmp(at, set_by_name, sizeof(set_by_name) - 1) &&
			!decode_set_by(config, tab + 1, length))
			return ERR_FORMAT;
		memcpy(value, tab + 1, length);
		value[length] = '\0';
		if (key < CONFIG_KEY_COUNT &&
			(strlen(value) != length ||
				!config_value_parse(&rows[key], config, value, expected)))
			return ERR_FORMAT;
		at = newline + 1;
	}
	return ERR_OK;
}

enum err config_decode(struct config *config, const void *bytes, size_t size)
{
	set_defaults(config);
	return decode(config, bytes, size);
}

enum err config_apply_reloadable(struct config *config, const void *bytes, size_t size)
{
	struct config fresh = *config;
	enum err err = decode(&fresh, bytes, size);

	if (!err)
		config_copy_reloadable(config, &fresh);
	return err;
}

const char *config_value_text(
	const struct config *config, enum config_key key, char *text, size_t size)
{
	const struct config_row *row = &rows[key];

	MUST((unsigned)key < CONFIG_KEY_COUNT && size > 0);
	if ((row->flags & CONFIG_SECRET) && ((const char *)config)[row->offset])
		snprintf(text, size, "(secret)");
	else
		config_value_format(row, config, text, size);
	return text;
}

bool config_same(const struct config *a, const struct config *b, enum config_key key)
{
	char text_a[CONFIG_VALUE_MAX + 1], text_b[CONFIG_VALUE_MAX + 1];

	MUST((unsigned)key < CONFIG_KEY_COUNT);
	return !strcmp(config_value_format(&rows[key], a, text_a, sizeof(text_a)),
		config_value_format(&rows[key], b, text_b, sizeof(text_b)));
}

void config_copy_key(struct config *to, const struct config *from, enum config_key key)
{
	char text[CONFIG_VALUE_MAX + 1], expected[CONFIG_TEXT_SIZE];

	MUST(config_value_parse(&rows[key], to,
		config_value_format(&rows[key], from, text, sizeof(text)), expected));
	to->set_by[key] = from->set_by[key];
}

void config_copy_reloadable(struct config *to, const struct config *from)
{
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		if (rows[key].flags & CONFIG_RELOAD)
			config_copy_key(to, from, (enum config_key)key);
}

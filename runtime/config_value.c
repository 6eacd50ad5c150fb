/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsing and printing of values, a function a kind of value. Each parser says what it expected,
 * so that an error message can be complete without knowing the type.
 */
#include "runtime/config_value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *suffix;
	int64_t factor;
};

bool config_list_next(const char *list, size_t *at, char *item, size_t size)
{
	const char *begin = list + *at;

	begin += strspn(begin, ", ");
	size_t length = strcspn(begin, ", ");

	if (!length)
		return false;
	*at = (size_t)(begin - list) + length;
	snprintf(item, size, "%.*s", (int)length, begin);
	return true;
}

/* Place of a word in "a|b|c", not minding case; -1 when it is none of them. */
static int word_index(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (int index = 0;; index++) {
		size_t next = strcspn(words, "|");

		if (next == length && !strncasecmp(words, word, length))
			return index;
		if (!words[next])
			return -1;
		words += next + 1;
	}
}

/* The index-th word of "a|b|c"; empty when there is none. */
static void word_at(const char *words, int index, char *word, size_t size)
{
	for (; index > 0 && words; index--) {
		words = strchr(words, '|');
		words = words ? words + 1 : NULL;
	}
	snprintf(word, size, "%.*s", words ? (int)strcspn(words, "|") : 0, words ? words : "");
}

static bool parse_digits(const char **text, int64_t *number)
{
	const char *p = *text;
	bool negative = *p == '-';
	int64_t value = 0;

	p += negative;
	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *p - '0', &value))
			return false;
	*number = negative ? -value : value;
	*text = p;
	return true;
}

/* A number with an optional unit. `divisor` is what one of the stored unit is in `units`. */
static bool parse_number(const struct config_row *row, const char *text, const struct unit *units,
	int64_t divisor, int64_t *number)
{
	int64_t value;

	if (!parse_digits(&text, &value))
		return false;
	if (*text) {
		for (; units->suffix && strcasecmp(units->suffix, text); units++)
			;
		if (!units->suffix || __builtin_mul_overflow(value, units->factor, &value) ||
			value % divisor)
			return false;
		value /= divisor;
	}
	*number = value;
	return value >= row->min && value <= row->max;
}

static const struct unit no_units[] = {
	{NULL, 0}
};
static const struct unit time_units[] = {
	{"ms",  1	},
	{"s",   1000	  },
	{"m",   60000  },
	{"min", 60000  },
	{"h",   3600000},
	{NULL,  0	},
};
static const struct unit size_units[] = {
	{"b",   1      },
	{"k",   1 << 10},
	{"kb",  1 << 10},
	{"kib", 1 << 10},
	{"m",   1 << 20},
	{"mb",  1 << 20},
	{"mib", 1 << 20},
	{"g",   1 << 30},
	{"gb",  1 << 30},
	{"gib", 1 << 30},
	{NULL,  0	},
};

static bool may_be_off(const struct config_row *row)
{
	return row->type == CONFIG_PORT && row->min < 0;
}

static bool parse_int(const struct config_row *row, const char *text, int64_t *number)
{
	switch (row->type) {
	case CONFIG_PORT:
		if (may_be_off(row) && !strcasecmp(text, "off")) {
			*number = -1;
			return true;
		}
		return parse_number(row, text, no_units, 1, number) && *number >= 0;
	case CONFIG_DURATION:
		return parse_number(
			row, text, time_units, strcmp(row->extra, "s") ? 1 : 1000, number);
	case CONFIG_SIZE: return parse_number(row, text, size_units, 1, number);
	default: return parse_number(row, text, no_units, 1, number);
	}
}

static void expect_int(const struct config_row *row, char *expected)
{
	const char *what = row->type == CONFIG_PORT	  ? "a port number"
			   : row->type == CONFIG_DURATION ? "a time such as 500ms, 2s, 5m"
			   : row->type == CONFIG_SIZE	  ? "a size such as 64k, 4M, 1G"
							  : "a whole number";
	const char *unit = row->type == CONFIG_DURATION ? row->extra : "";

	snprintf(expected, CONFIG_TEXT_SIZE, "%s from %" PRId64 "%s to %" PRId64 "%s%s%s", what,
		may_be_off(row) ? 0 : row->min, unit, row->max, unit,
		row->type == CONFIG_PORT ? " (0: any free one)" : "",
		may_be_off(row) ? " or off" : "");
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool is_name(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				 "._-")] == '\0' &&
	       text[0] != '.' && text[0] != '-';
}

static bool is_address(const char *text)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* scheme://host[:port][/path]; a user, a query or a fragment has no place in one */
static bool is_url(const char *text)
{
	size_t scheme = !strncmp(text, "http://", 7) ? 7 : !strncmp(text, "https://", 8) ? 8 : 0;
	const char *host = text + scheme;
	size_t size = strcspn(host, "/"), name = *host == '[' ? strcspn(host, "]") + 1 : 0;
	long port = 0;

	if (!scheme || strpbrk(text, " \"'<>\\?#") || memchr(host, '@', size))
		return false;
	if (!name)
		name = strcspn(host, ":/");
	if (!name || name > size)
		return false;
	if (name == size)
		return true;
	for (size_t i = name + 1; i < size && port <= 65535; i++)
		port = host[i] >= '0' && host[i] <= '9' ? port * 10 + host[i] - '0' : 65536;
	return host[name] == ':' && size > name + 1 && port <= 65535;
}

/* local, or etcd:// and a list of host:port */
static bool is_coord(const char *text)
{
	char item[CONFIG_VALUE_MAX + 1];
	size_t at = 0;
	unsigned count = 0;

	if (!strcmp(text, "local"))
		return true;
	if (strncmp(text, "etcd://", 7))
		return false;
	while (config_list_next(text + 7, &at, item, sizeof(item))) {
		const char *colon = strrchr(item, ':');
		const char *digits = colon ? colon + 1 : "";
		int64_t port;

		if (!colon || colon == item || !parse_digits(&digits, &port) || *digits ||
			port < 1 || port > 65535)
			return false;
		count++;
	}
	return count > 0;
}

static bool is_key(const char *text)
{
	return strlen(text) == 64 && text[strspn(text, "0123456789abcdefABCDEF")] == '\0';
}

/* PATTERN=WORD; the pattern ends where the word begins. */
static bool is_rule(const struct config_row *row, const char *text)
{
	static const char legal[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/*";
	size_t length = strspn(text, legal);

	return length && text[length] == '=' && word_index(row->extra, text + length + 1) >= 0;
}

int config_rule_find(enum config_key key, const char *rules, const char *name)
{
	char item[CONFIG_VALUE_MAX + 1];
	size_t at = 0;

	while (config_list_next(rules, &at, item, sizeof(item))) {
		char *word = strchr(item, '=');

		if (!word)
			continue;
		*word++ = '\0';
		if (!fnmatch(item, name, 0))
			return word_index(config_row(key)->extra, word);
	}
	return -1;
}

enum recover_tier { RECOVER_LIVE, RECOVER_INTERACTIVE, RECOVER_RELAXED }; /* words of link.tiers */

static uint32_t recover_ms(const struct config *config, int tier)
{
	uint32_t live_ms = (uint32_t)config->link_recover_ms;

	if (tier == RECOVER_INTERACTIVE)
		return live_ms < CONFIG_INTERACTIVE_MS ? live_ms : CONFIG_INTERACTIVE_MS;
	if (tier == RECOVER_RELAXED)
		return live_ms > CONFIG_RELAXED_MS ? live_ms : CONFIG_RELAXED_MS;
	return live_ms;
}

uint32_t config_recover_ms(const struct config *config, const char *stream)
{
	return recover_ms(
		config, config_rule_find(CONFIG_KEY_link_tiers, config->link_tiers, stream));
}

uint32_t config_recover_longest_ms(const struct config *config)
{
	char item[CONFIG_VALUE_MAX + 1];
	size_t at = 0;

	while (config_list_next(config->link_tiers, &at, item, sizeof(item))) {
		const char *word = strchr(item, '=');

		if (word && !strcmp(word, "=relaxed"))
			return recover_ms(config, RECOVER_RELAXED);
	}
	return recover_ms(config, RECOVER_LIVE);
}

static bool is_list(const struct config_row *row)
{
	return row->type == CONFIG_ADDRESSES || row->type == CONFIG_WORDS ||
	       row->type == CONFIG_PUBKEYS || row->type == CONFIG_RULES;
}

/* A comma-separated list is stored with single commas; true when every item passes. */
static bool parse_list(const struct config_row *row, const char *text, char *stored)
{
	char item[CONFIG_VALUE_MAX + 1];
	size_t at = 0, used = 0;
	uint32_t seen = 0;

	stored[0] = '\0';
	while (config_list_next(text, &at, item, sizeof(item))) {
		if (row->type == CONFIG_WORDS) {
			int index = word_index(row->extra, item);

			if (index < 0 || index >= 32 || (seen & 1u << index))
				return false;
			seen |= 1u << index;
			word_at(row->extra, index, item, sizeof(item));
		} else if (row->type == CONFIG_RULES	 ? !is_rule(row, item)
			   : row->type == CONFIG_PUBKEYS ? !is_key(item)
							 : !is_address(item)) {
			return false;
		}
		int size = snprintf(
			stored + used, CONFIG_VALUE_MAX + 1 - used, "%s%s", used ? "," : "", item);
		used += (size_t)size;
		if (used > CONFIG_VALUE_MAX)
			return false;
	}
	return true;
}

static bool text_is_legal(const struct config_row *row, const char *text, char *stored)
{
	size_t length = strlen(text);

	if (length > CONFIG_VALUE_MAX || !is_printable(text))
		return false;
	memcpy(stored, text, length + 1);
	if (length && is_list(row) && !parse_list(row, text, stored))
		return false;
	length = strlen(stored);
	if ((int64_t)length < row->min || (int64_t)length > row->max)
		return false;
	if (!length)
		return true;
	switch (row->type) {
	case CONFIG_NAME: return is_name(text);
	case CONFIG_URL: return is_url(text);
	case CONFIG_COORD: return is_coord(text);
	case CONFIG_ADDRESS: return is_address(text);
	case CONFIG_PUBKEY: return is_key(text);
	default: return true;
	}
}

static void expect_text(const struct config_row *row, char *expected)
{
	static const char *const kinds[] = {
		[CONFIG_TEXT] = "printable text",
		[CONFIG_NAME] =
			"a name of letters, digits, '.', '_', '-', not beginning with . or -",
		[CONFIG_PATH] = "a path",
		[CONFIG_URL] = "a URL that begins with http:// or https://",
		[CONFIG_COORD] = "local or etcd://host:port,...",
		[CONFIG_ADDRESS] = "an IPv4 or IPv6 address",
		[CONFIG_ADDRESSES] = "a list of IPv4 and IPv6 addresses",
		[CONFIG_WORDS] = "a list, each at most once, of",
		[CONFIG_PUBKEY] = "a public key of 64 hexadecimal digits",
		[CONFIG_PUBKEYS] = "a list of public keys, 64 hexadecimal digits each,",
		[CONFIG_RULES] = "a list of PATTERN=WORD, the words",
	};

	if (row->type == CONFIG_PUBKEY)
		snprintf(expected, CONFIG_TEXT_SIZE, "%s", kinds[row->type]);
	else if (row->type == CONFIG_WORDS || row->type == CONFIG_RULES)
		snprintf(expected, CONFIG_TEXT_SIZE, "%s %s", kinds[row->type], row->extra);
	else
		snprintf(expected, CONFIG_TEXT_SIZE, "%s of at most %" PRId64 " bytes",
			kinds[row->type], row->max);
}

static bool parse_bool(const char *text, bool *value)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcasecmp(text, words[i])) {
			*value = i & 1;
			return true;
		}
	}
	return false;
}

bool config_value_parse(
	const struct config_row *row, struct config *config, const char *text, char *expected)
{
	char *place = (char *)config + row->offset;
	char stored[CONFIG_VALUE_MAX + 1];
	int64_t number;
	int index;

	switch (row->type) {
	case CONFIG_BOOL:
		snprintf(expected, CONFIG_TEXT_SIZE, "true or false");
		return parse_bool(text, (bool *)place);
	case CONFIG_ENUM:
		index = word_index(row->extra, text);
		snprintf(expected, CONFIG_TEXT_SIZE, "one of %s", row->extra);
		if (index >= 0)
			*(int32_t *)place = index;
		return index >= 0;
	case CONFIG_PORT:
	case CONFIG_INT:
	case CONFIG_DURATION:
	case CONFIG_SIZE:
		expect_int(row, expected);
		if (!parse_int(row, text, &number))
			return false;
		*(int64_t *)place = number;
		return true;
	default:
		expect_text(row, expected);
		if (!text_is_legal(row, text, stored))
			return false;
		/* the whole field, so that equal configurations are equal bytes */
		memset(place, 0, (size_t)row->max + 1);
		memcpy(place, stored, strlen(stored));
		return true;
	}
}

const char *config_value_format(
	const struct config_row *row, const struct config *config, char *text, size_t size)
{
	const char *place = (const char *)config + row->offset;

	switch (row->type) {
	case CONFIG_BOOL:
		snprintf(text, size, "%s", *(const bool *)place ? "true" : "false");
		break;
	case CONFIG_ENUM: word_at(row->extra, *(const int32_t *)place, text, size); break;
	case CONFIG_DURATION:
		snprintf(text, size, "%" PRId64 "%s", *(const int64_t *)place, row->extra);
		break;
	case CONFIG_PORT:
		if (*(const int64_t *)place < 0) {
			snprintf(text, size, "off");
			break;
		}
		/* fall through */
	case CONFIG_INT:
	case CONFIG_SIZE: snprintf(text, size, "%" PRId64, *(const int64_t *)place); break;
	default: snprintf(text, size, "%s", place);
	}
	return text;
}

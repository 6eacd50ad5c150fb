/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules for app and stream names, and the query of a stream key. See names.h.
 */
#include "schemas/names.h"

#include <string.h>

static const char *const reserved_apps[] = {
	"api", "whip", "whep", "rtc", "ws", "metrics", "healthz", "readyz"};

static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

bool name_is_valid(const char *name, size_t size)
{
	if (size == 0 || size > NAME_SIZE_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!is_name_byte(name[i]))
			return false;
	}
	return true;
}

bool name_app_is_valid(const char *name, size_t size)
{
	if (!name_is_valid(name, size))
		return false;
	for (size_t i = 0; i < sizeof(reserved_apps) / sizeof(reserved_apps[0]); i++) {
		if (strlen(reserved_apps[i]) == size && memcmp(reserved_apps[i], name, size) == 0)
			return false;
	}
	return true;
}

enum err name_path_parse(const char *path, size_t size, struct name_path *out)
{
	const char *slash = size ? memchr(path, '/', size) : NULL;

	if (!slash)
		return ERR_FORMAT;
	size_t app_size = (size_t)(slash - path);
	size_t stream_size = size - app_size - 1;
	if (!name_app_is_valid(path, app_size) || !name_is_valid(slash + 1, stream_size))
		return ERR_FORMAT;
	*out = (struct name_path){0};
	memcpy(out->app, path, app_size);
	memcpy(out->stream, slash + 1, stream_size);
	return ERR_OK;
}

size_t name_query_offset(const char *key, size_t size)
{
	const char *mark = size ? memchr(key, '?', size) : NULL;

	return mark ? (size_t)(mark - key) + 1 : size;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static enum err percent_decode(const char *text, size_t size, char *out, size_t out_size)
{
	size_t used = 0;

	for (size_t i = 0; i < size; i++) {
		int c = (unsigned char)text[i];

		if (c == '%') {
			int high = i + 2 < size ? hex_digit(text[i + 1]) : -1;
			int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return ERR_FORMAT;
			c = high << 4 | low;
			i += 2;
		}
		if (c == 0)
			return ERR_FORMAT;
		if (used + 1 >= out_size)
			return ERR_TOO_LARGE;
		out[used++] = (char)c;
	}
	out[used] = 0;
	return ERR_OK;
}

enum err name_query_get(
	const char *query, size_t size, const char *field, char *out, size_t out_size)
{
	size_t field_size = strlen(field);
	const char *value = NULL;
	size_t value_size = 0;

	if (out_size == 0)
		return ERR_TOO_LARGE;
	out[0] = 0;
	for (size_t begin = 0; begin < size;) {
		const char *part = query + begin;
		const char *ampersand = memchr(part, '&', size - begin);
		size_t part_size = ampersand ? (size_t)(ampersand - part) : size - begin;

		begin += part_size + 1;
		if (part_size <= field_size || part[field_size] != '=' ||
			memcmp(part, field, field_size) != 0)
			continue;
		if (value)
			return ERR_FORMAT;
		value = part + field_size + 1;
		value_size = part_size - field_size - 1;
	}
	if (!value)
		return ERR_NOT_FOUND;
	enum err err = percent_decode(value, value_size, out, out_size);
	if (err)
		out[0] = 0;
	return err;
}

enum name_standby name_standby_of(enum name_standby claim, const char *query, size_t size)
{
	char value[2];

	if (claim != NAME_STANDBY_UNSAID || !query ||
		name_query_get(query, size, "standby", value, sizeof(value)))
		return claim;
	return *value == '1' ? NAME_STANDBY_YES : *value == '0' ? NAME_STANDBY_NO : claim;
}

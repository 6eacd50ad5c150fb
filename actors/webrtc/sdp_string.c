/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/sdp_string.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

struct sdp_string sdp_string_of(const char *text)
{
	return (struct sdp_string){text, strlen(text)};
}

bool sdp_is(struct sdp_string s, const char *text)
{
	return s.size == strlen(text) && (!s.size || !strncasecmp(s.at, text, s.size));
}

bool sdp_equal(struct sdp_string a, struct sdp_string b)
{
	return a.size == b.size && (!a.size || !memcmp(a.at, b.at, a.size));
}

struct sdp_string sdp_cut(struct sdp_string *rest, char separator)
{
	const char *end = rest->size ? memchr(rest->at, separator, rest->size) : NULL;
	struct sdp_string head = {rest->at, end ? (size_t)(end - rest->at) : rest->size};
	size_t taken = head.size + (end ? 1 : 0);

	if (taken)
		*rest = (struct sdp_string){rest->at + taken, rest->size - taken};
	return head;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct sdp_string sdp_trim(struct sdp_string s)
{
	size_t from = 0, to = s.size;

	while (from < to && is_blank(s.at[from]))
		from++;
	while (to > from && is_blank(s.at[to - 1]))
		to--;
	return to > from ? (struct sdp_string){s.at + from, to - from} : (struct sdp_string){0};
}

struct sdp_string sdp_word(struct sdp_string *rest)
{
	*rest = sdp_trim(*rest);
	return sdp_cut(rest, ' ');
}

struct sdp_string sdp_line(struct sdp_string *rest)
{
	struct sdp_string line = sdp_cut(rest, '\n');

	if (line.size && line.at[line.size - 1] == '\r')
		line.size--;
	return line;
}

bool sdp_number(struct sdp_string s, uint32_t max, uint32_t *value)
{
	uint64_t sum = 0;

	if (!s.size || s.size > 10)
		return false;
	for (size_t i = 0; i < s.size; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
		sum = sum * 10 + (uint64_t)(s.at[i] - '0');
	}
	*value = (uint32_t)sum;
	return sum <= max;
}

bool sdp_parameter(struct sdp_string fmtp, const char *name, struct sdp_string *value)
{
	while (fmtp.size) {
		struct sdp_string one = sdp_trim(sdp_cut(&fmtp, ';'));
		struct sdp_string key = sdp_trim(sdp_cut(&one, '='));

		if (sdp_is(key, name)) {
			*value = sdp_trim(one);
			return true;
		}
	}
	return false;
}

bool sdp_parameter_is(struct sdp_string fmtp, const char *name, const char *text)
{
	struct sdp_string value;

	return sdp_parameter(fmtp, name, &value) && sdp_is(value, text);
}

bool sdp_copy(char *to, size_t to_size, struct sdp_string from)
{
	if (from.size >= to_size)
		return false;
	if (from.size)
		memcpy(to, from.at, from.size);
	to[from.size] = '\0';
	return true;
}

void sdp_print(struct writer *w, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size < 0 || (size_t)size >= sizeof(text))
		w->bad = true;
	else
		write_bytes(w, text, (size_t)size);
}

enum err sdp_fail(char *why, enum err err, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, SDP_WHY_MAX, format, arguments);
	va_end(arguments);
	for (char *c = why; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return err;
}

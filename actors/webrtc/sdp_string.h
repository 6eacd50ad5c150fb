/* SPDX-License-Identifier: Apache-2.0
 *
 * Borrowed text for the files of sdp: cutting, comparing, numbers; and text into a struct writer.
 * Nothing here reads outside the string it is given. Thread: any. No allocation.
 */
#ifndef MILLRACE_SDP_STRING_H
#define MILLRACE_SDP_STRING_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "actors/webrtc/sdp.h"

/* for printf's %.*s */
#define SDP_ARG(s) (int)(s).size, (s).size ? (s).at : ""

static inline bool sdp_is(struct sdp_string s, const char *text)
{
	return s.size == strlen(text) && (!s.size || !strncasecmp(s.at, text, s.size));
}

static inline bool sdp_equal(struct sdp_string a, struct sdp_string b)
{
	return a.size == b.size && (!a.size || !memcmp(a.at, b.at, a.size));
}

/* Up to the separator, which is dropped; all that is left when it does not occur. */
static inline struct sdp_string sdp_cut(struct sdp_string *rest, char separator)
{
	const char *end = rest->size ? memchr(rest->at, separator, rest->size) : NULL;
	struct sdp_string head = {rest->at, end ? (size_t)(end - rest->at) : rest->size};
	size_t taken = head.size + (end ? 1 : 0);

	if (taken)
		*rest = (struct sdp_string){rest->at + taken, rest->size - taken};
	return head;
}

static inline struct sdp_string sdp_trim(struct sdp_string s)
{
	while (s.size && (s.at[0] == ' ' || s.at[0] == '\t'))
		s = (struct sdp_string){s.at + 1, s.size - 1};
	while (s.size && (s.at[s.size - 1] == ' ' || s.at[s.size - 1] == '\t'))
		s.size--;
	return s;
}

/* The next word; runs of spaces count as one. Empty at the end. */
static inline struct sdp_string sdp_word(struct sdp_string *rest)
{
	*rest = sdp_trim(*rest);
	return sdp_cut(rest, ' ');
}

/* Decimal digits only, at most `max`. */
static inline bool sdp_number(struct sdp_string s, uint32_t max, uint32_t *value)
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

/* A parameter of a=fmtp ("name=value;…"): false when absent. */
static inline bool sdp_parameter(struct sdp_string fmtp, const char *name, struct sdp_string *value)
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

static inline bool sdp_parameter_is(struct sdp_string fmtp, const char *name, const char *text)
{
	struct sdp_string value;

	return sdp_parameter(fmtp, name, &value) && sdp_is(value, text);
}

static inline struct sdp_string sdp_string_of(const char *text)
{
	return (struct sdp_string){text, strlen(text)};
}

/* Copies with NUL; false when it does not fit. */
static inline bool sdp_copy(char *to, size_t to_size, struct sdp_string from)
{
	if (from.size >= to_size)
		return false;
	if (from.size)
		memcpy(to, from.at, from.size);
	to[from.size] = '\0';
	return true;
}

__attribute__((format(printf, 2, 3))) static inline void sdp_print(
	struct writer *w, const char *format, ...)
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

/* Says why and returns the error. What was quoted from the offer is made printable. */
__attribute__((format(printf, 3, 4))) static inline enum err sdp_fail(
	char *why, enum err err, const char *format, ...)
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

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Borrowed text for the files of sdp: cutting, comparing, numbers; and text into a struct writer.
 * Nothing here reads outside the string it is given. Thread: any. No allocation.
 */
#ifndef MILLRACE_SDP_STRING_H
#define MILLRACE_SDP_STRING_H

#include "actors/webrtc/sdp.h"

/* for printf's %.*s */
#define SDP_ARG(s) (int)(s).size, (s).size ? (s).at : ""

struct sdp_string sdp_string_of(const char *text);

/* Without regard to case. */
bool sdp_is(struct sdp_string s, const char *text);
/* To the letter. */
bool sdp_equal(struct sdp_string a, struct sdp_string b);

/* Takes what is before the separator, which is dropped; all when it does not occur. */
struct sdp_string sdp_cut(struct sdp_string *rest, char separator);
/* Takes the next word; runs of spaces count as one. Empty at the end. */
struct sdp_string sdp_word(struct sdp_string *rest);
/* Takes the next line without its end (LF or CRLF). */
struct sdp_string sdp_line(struct sdp_string *rest);
/* Without spaces and tabs at both ends. */
struct sdp_string sdp_trim(struct sdp_string s);

/* Decimal digits only, at most `max`. */
bool sdp_number(struct sdp_string s, uint32_t max, uint32_t *value);

/* A parameter of a=fmtp ("name=value;…"): false when absent. */
bool sdp_parameter(struct sdp_string fmtp, const char *name, struct sdp_string *value);
bool sdp_parameter_is(struct sdp_string fmtp, const char *name, const char *text);

/* Copies with NUL; false when it does not fit. */
bool sdp_copy(char *to, size_t to_size, struct sdp_string from);

/* At most 511 bytes a call; what does not fit sets w->bad. */
__attribute__((format(printf, 2, 3))) void sdp_print(struct writer *w, const char *format, ...);

/* Says why (SDP_WHY_MAX bytes) and returns the error. What it quotes is made printable. */
__attribute__((format(printf, 3, 4))) enum err sdp_fail(
	char *why, enum err err, const char *format, ...);

#endif

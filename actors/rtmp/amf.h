/* SPDX-License-Identifier: Apache-2.0
 *
 * AMF0 (Action Message Format, version 0, Adobe 2007): the values inside RTMP commands and data
 * messages. Reading is a pull parser that walks the message in place, flat and without recursion:
 * every value is one item that says how deep it lies and to which argument it belongs. Writing
 * appends to a `struct writer`.
 *
 *	struct amf_cursor args = amf_cursor_of(payload, size);
 *	struct amf_item item;
 *	while (amf_next(&args, &item)) {
 *		if (item.argument == 2 && item.depth == 1 && amf_name_is(&item, "app")) …
 *	}
 *	return args.err;
 *
 * Thread: any. No allocation. Items borrow from the message.
 */
#ifndef MILLRACE_RTMP_AMF_H
#define MILLRACE_RTMP_AMF_H

#include "schemas/bytes.h"
#include "schemas/err.h"

enum {
	AMF_DEPTH_MAX = 8,    /* containers inside each other; real messages nest three deep */
	AMF_ITEMS_MAX = 8192, /* values in a message: bounds the work an input can cause */
};

enum amf_kind {
	AMF_UNDEFINED,
	AMF_NULL,
	AMF_BOOLEAN, /* number is 0 or 1 */
	AMF_NUMBER,
	AMF_DATE,   /* number is milliseconds of Unix time; the time zone field is reserved */
	AMF_STRING, /* text; long strings and XML documents too */
	AMF_OBJECT, /* its members follow, one depth further down, each with a name */
	AMF_MAP,    /* ECMA array: like an object */
	AMF_ARRAY,  /* strict array: its elements follow, without names */
};

struct amf_item {
	enum amf_kind kind;
	unsigned depth;	   /* 0: an argument itself */
	unsigned argument; /* index of the argument that it is or lies in */
	const char *name;  /* of a member, not NUL-terminated; NULL for arguments and elements */
	size_t name_size;
	double number;
	const char *text; /* AMF_STRING: not NUL-terminated, may hold anything */
	size_t text_size;
};

/* An open container: elements left of a strict array, or a run of named members. */
struct amf_level {
	enum amf_kind kind;
	uint32_t left;
};

struct amf_cursor {
	struct reader in;
	enum err err; /* why amf_next() returned false: ERR_OK at the end of the message */
	unsigned depth;
	unsigned arguments; /* begun so far */
	unsigned items;
	struct amf_level levels[AMF_DEPTH_MAX];
};

/* Begins at the first argument. The cursor borrows the bytes. */
struct amf_cursor amf_cursor_of(const void *bytes, size_t size);

/* The next value. False at the end or on an error, which then stays in cursor->err: ERR_FORMAT,
 * ERR_LIMIT (AMF_DEPTH_MAX or AMF_ITEMS_MAX), ERR_UNSUPPORTED (a switch to AMF3, or a reserved
 * type). An ECMA array at the very end may lack its end marker: some encoders leave it out. */
bool amf_next(struct amf_cursor *cursor, struct amf_item *item);

/* Whether the member's name, or the string's text, is exactly `text`. */
bool amf_name_is(const struct amf_item *item, const char *text);
bool amf_text_is(const struct amf_item *item, const char *text);

/* Copies a string item, NUL-terminated. ERR_FORMAT: no string, or it holds a NUL byte.
 * ERR_TOO_LARGE: does not fit. On error out holds "". */
enum err amf_copy_text(const struct amf_item *item, char *out, size_t out_size);

/* The number of a NUMBER item as an integer in 0 .. max; `otherwise` for anything else (NaN
 * too). */
uint32_t amf_to_u32(const struct amf_item *item, uint32_t max, uint32_t otherwise);

void amf_write_number(struct writer *w, double value);
void amf_write_boolean(struct writer *w, bool value);
void amf_write_string(struct writer *w, const char *text);
void amf_write_null(struct writer *w);
void amf_write_undefined(struct writer *w);
/* Members follow, each a key and a value, then amf_write_end(). */
void amf_write_object(struct writer *w);
void amf_write_map(struct writer *w, uint32_t count);
void amf_write_key(struct writer *w, const char *key);
void amf_write_end(struct writer *w);
/* `count` values follow, with no end marker. */
void amf_write_array(struct writer *w, uint32_t count);
/* A member in one call. */
void amf_write_number_member(struct writer *w, const char *key, double value);
void amf_write_string_member(struct writer *w, const char *key, const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that users choose: an app and a stream in it, and the query that may follow a stream key.
 * The same rules hold for every protocol, so they stand here once.
 *
 * A name is 1 to NAME_SIZE_MAX bytes of [A-Za-z0-9._-] and does not begin with a dot. An app is a
 * name that is none of the first path segments our HTTP interface uses itself.
 *
 * Thread: any. No allocation. Text is passed with its size and needs no terminating NUL.
 */
#ifndef MILLRACE_NAMES_H
#define MILLRACE_NAMES_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	NAME_SIZE_MAX = 63,			    /* bytes of an app or a stream, without NUL */
	NAME_PATH_SIZE_MAX = 2 * NAME_SIZE_MAX + 1, /* "app/stream", without NUL */
};

/* "app/stream", each part valid and NUL-terminated. Plain data. */
struct name_path {
	char app[NAME_SIZE_MAX + 1];
	char stream[NAME_SIZE_MAX + 1];
};

/* Whether `name` may name a stream. */
bool name_is_valid(const char *name, size_t size);

/* Whether `name` may name an app: valid and not reserved. */
bool name_app_is_valid(const char *name, size_t size);

/* Splits "app/stream". ERR_FORMAT when it is not exactly two valid names; *out is then
 * untouched. */
enum err name_path_parse(const char *path, size_t size, struct name_path *out);

/* Where the query begins in "key?query": the offset of the byte after the first '?', or `size` when
 * there is none. The key is what stands before the '?'. */
size_t name_query_offset(const char *key, size_t size);

/* Copies the value of `field` out of "a=1&b=2", percent-decoded and NUL-terminated.
 * ERR_NOT_FOUND: no such field. ERR_FORMAT: bad percent sequence, a NUL in the value, or the field
 * is given twice (two readers could pick different ones, which must not happen to a token).
 * ERR_TOO_LARGE: it does not fit `out_size` bytes. On error out holds "" (when out_size > 0). */
enum err name_query_get(
	const char *query, size_t size, const char *field, char *out, size_t out_size);

/* Whether a publisher whose name somebody else has may stand by for him. */
enum name_standby {
	NAME_STANDBY_UNSAID, /* as the stream is configured */
	NAME_STANDBY_YES,
	NAME_STANDBY_NO,
};

/* What a publisher's token says of it (`claim`), else its query by standby=1 or standby=0. */
enum name_standby name_standby_of(enum name_standby claim, const char *query, size_t size);

#endif

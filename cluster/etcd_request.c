/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of requests to etcd. All but user and password are base64 and numbers, in which nothing needs
 * an escape: they are written as they are.
 */
#include "cluster/etcd.h"
#include "cluster/store.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>

enum { KEY_SIZE = ETCD_PREFIX_SIZE + STORE_KEY_MAX + 2, PIECE_SIZE = 256 };

void etcd_prefix(char prefix[ETCD_PREFIX_SIZE], const char *cluster)
{
	snprintf(prefix, ETCD_PREFIX_SIZE, "/millrace/%.63s/", cluster);
}

__attribute__((format(printf, 2, 3))) static void say(struct writer *out, const char *format, ...)
{
	char piece[PIECE_SIZE];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(piece, sizeof(piece), format, arguments);
	va_end(arguments);
	MUST(size >= 0 && size < PIECE_SIZE);
	write_bytes(out, piece, (size_t)size);
}

/* "NAME":"base64 of the bytes" */
static void say_bytes(struct writer *out, const char *name, const void *bytes, size_t size)
{
	size_t coded = (size + 2) / 3 * 4;
	uint8_t *at;

	say(out, "\"%s\":\"", name);
	at = write_reserve(out, coded + 1); /* EVP_EncodeBlock ends what it writes with NUL */
	if (!at)
		return;
	EVP_EncodeBlock(at, bytes, (int)size);
	out->at--;
	say(out, "\"");
}

static void say_key(struct writer *out, const char *name, const char *prefix, const char *key)
{
	char whole[KEY_SIZE];
	int size = snprintf(whole, sizeof(whole), "%s%s", prefix, key);

	say_bytes(out, name, whole, (size_t)size);
}

/* The first key behind all that begin with the prefix, which ends with '/'. */
static void say_end(struct writer *out, const char *prefix)
{
	char end[ETCD_PREFIX_SIZE];
	size_t size = strlen(prefix);

	memcpy(end, prefix, size);
	end[size - 1]++;
	say_bytes(out, "range_end", end, size);
}

/* "compare":[…], of store.h's table. */
static void say_compare(
	struct writer *out, const char *prefix, const char *key, uint8_t compare, uint64_t revision)
{
	if (compare == STORE_ANY)
		return;
	say(out, "\"compare\":[{");
	say_key(out, "key", prefix, key);
	if (compare == STORE_CREATE)
		say(out, ",\"target\":\"CREATE\",\"create_revision\":\"0\"}],");
	else
		say(out, ",\"target\":\"MOD\",\"mod_revision\":\"%" PRIu64 "\"}],", revision);
}

/* A failed comparison says whether the key is there at all, and since when it is what it is. */
static void say_failure(struct writer *out, const char *prefix, const char *key)
{
	say(out, ",\"failure\":[{\"request_range\":{");
	say_key(out, "key", prefix, key);
	say(out, ",\"keys_only\":true}}]");
}

void etcd_write_put(struct writer *out, const char *prefix, const struct msg_store_put *put)
{
	say(out, "{");
	say_compare(out, prefix, put->key, put->compare, put->revision);
	say(out, "\"success\":[{\"request_put\":{");
	say_key(out, "key", prefix, put->key);
	say(out, ",");
	say_bytes(out, "value", put->value.data, put->value.size);
	if (put->lease)
		say(out, ",\"lease\":\"%" PRId64 "\"", (int64_t)put->lease);
	say(out, "}}]");
	say_failure(out, prefix, put->key);
	say(out, "}");
}

void etcd_write_delete(struct writer *out, const char *prefix, const struct msg_store_delete *m)
{
	say(out, "{");
	say_compare(out, prefix, m->key, m->compare, m->revision);
	say(out, "\"success\":[{\"request_delete_range\":{");
	say_key(out, "key", prefix, m->key);
	say(out, "}}]");
	say_failure(out, prefix, m->key);
	say(out, "}");
}

void etcd_write_grant(struct writer *out, uint32_t ttl_ms)
{
	say(out, "{\"TTL\":\"%" PRIu32 "\"}", ttl_ms / 1000 + (ttl_ms % 1000 != 0));
}

void etcd_write_lease(struct writer *out, uint64_t lease)
{
	say(out, "{\"ID\":\"%" PRId64 "\"}", (int64_t)lease);
}

void etcd_write_range(struct writer *out, const char *prefix, const char *after, uint64_t revision,
	uint32_t limit, bool keys_only)
{
	char whole[KEY_SIZE];
	int size = snprintf(whole, sizeof(whole), "%s%s", prefix, after);

	say(out, "{");
	/* the key behind another one is that one and a zero byte */
	say_bytes(out, "key", whole, (size_t)size + (after[0] != 0));
	say(out, ",");
	say_end(out, prefix);
	say(out, ",\"limit\":\"%" PRIu32 "\",\"sort_order\":\"ASCEND\",\"sort_target\":\"KEY\"",
		limit);
	if (revision)
		say(out, ",\"revision\":\"%" PRIu64 "\"", revision);
	if (keys_only)
		say(out, ",\"keys_only\":true");
	say(out, "}");
}

void etcd_write_watch(struct writer *out, const char *prefix, uint64_t revision)
{
	say(out, "{\"create_request\":{");
	say_key(out, "key", prefix, "");
	say(out, ",");
	say_end(out, prefix);
	say(out, ",\"start_revision\":\"%" PRIu64 "\",\"progress_notify\":true}}", revision);
}

enum err etcd_write_authenticate(struct writer *out, const char *user, const char *password)
{
	json_t *root = json_pack("{s:s, s:s}", "name", user, "password", password);
	size_t room = writer_left(out), size;

	if (!root)
		return ERR_FORMAT;
	size = json_dumpb(root, (char *)out->at, room, JSON_COMPACT);
	json_decref(root);
	if (!size)
		return ERR_NO_MEMORY;
	if (size > room)
		return ERR_TOO_LARGE;
	out->at += size;
	return ERR_OK;
}

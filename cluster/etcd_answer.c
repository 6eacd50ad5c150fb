/* SPDX-License-Identifier: Apache-2.0
 *
 * What etcd's JSON gateway answers. The document is jansson's; from it only what is asked for is
 * taken, and every number and text is checked on the way.
 */
#include "cluster/etcd.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	/* base64 of the longest key or value that is taken, and a little more */
	CODED_MAX = 4 * (ETCD_PREFIX_SIZE + STORE_VALUE_MAX + 8) / 3,
};

/* ---- parts ------------------------------------------------------------------------------------ */

static enum err parse(const void *bytes, size_t size, json_t **root)
{
	json_error_t error;

	if (size > ETCD_ANSWER_MAX)
		return ERR_TOO_LARGE;
	*root = size ? json_loadb(bytes, size, 0, &error) : NULL;
	if (!*root)
		return size && json_error_code(&error) == json_error_out_of_memory ? ERR_NO_MEMORY
										   : ERR_FORMAT;
	if (json_is_object(*root))
		return ERR_OK;
	json_decref(*root);
	return ERR_FORMAT;
}

/* A number as a string of digits, or as a number; absent is zero. */
static uint64_t number(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	const char *text = json_string_value(value);
	char *end;

	if (json_is_integer(value))
		return json_integer_value(value) < 0 ? 0 : (uint64_t)json_integer_value(value);
	if (!text || !*text || strlen(text) > 20)
		return 0;
	errno = 0;
	uint64_t result =
		*text == '-' ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
	return errno || *end ? 0 : result;
}

static bool truth(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

/* The bytes behind base64; false: there are more than `room`, or it is no base64. Absent is empty. */
static bool bytes_of(const json_t *object, const char *name, void *to, size_t room, size_t *size)
{
	const json_t *value = json_object_get(object, name);
	size_t coded = json_string_length(value);
	const char *text = json_string_value(value);
	uint8_t plain[CODED_MAX / 4 * 3 + 3];
	int got;

	*size = 0;
	if (!value || !coded)
		return !value || text;
	if (!text || coded > CODED_MAX || coded % 4)
		return false;
	got = EVP_DecodeBlock(plain, (const unsigned char *)text, (int)coded);
	if (got < 0)
		return false;
	for (size_t i = coded; i > coded - 2 && text[i - 1] == '='; i--)
		got--;
	if ((size_t)got > room)
		return false;
	memcpy(to, plain, (size_t)got);
	*size = (size_t)got;
	return true;
}

/* The key without the prefix. */
static bool key_of(const json_t *kv, const char *prefix, char key[STORE_KEY_MAX + 1])
{
	char whole[ETCD_PREFIX_SIZE + STORE_KEY_MAX + 1] = "";
	size_t size, before = strlen(prefix);

	if (!bytes_of(kv, "key", whole, sizeof(whole) - 1, &size) || size <= before ||
		size - before > STORE_KEY_MAX || memcmp(whole, prefix, before) ||
		memchr(whole, 0, size))
		return false;
	text_copy(key, STORE_KEY_MAX + 1, whole + before);
	return true;
}

/* Of a key that is too long for us: as much as we could have, and a byte behind it, so that what is
 * asked for next lies behind all keys that begin so (none of which would fit either). */
static void skip_key(const json_t *kv, const char *prefix, char last[STORE_KEY_MAX + 2])
{
	const json_t *value = json_object_get(kv, "key");
	size_t coded = json_string_length(value), before = strlen(prefix);
	uint8_t plain[CODED_MAX / 4 * 3 + 3];

	if (coded > CODED_MAX)
		coded = CODED_MAX / 4 * 4;
	if (coded % 4 || EVP_DecodeBlock(plain, (const unsigned char *)json_string_value(value),
				 (int)coded) < (int)(before + STORE_KEY_MAX))
		return;
	memcpy(last, plain + before, STORE_KEY_MAX);
	last[STORE_KEY_MAX] = (char)0xff;
	last[STORE_KEY_MAX + 1] = 0;
}

static bool pair_of(const json_t *kv, const char *prefix, struct store_pair *pair)
{
	size_t size;

	memset(pair, 0, sizeof(*pair));
	if (!key_of(kv, prefix, pair->key) ||
		!bytes_of(kv, "value", pair->value.data, sizeof(pair->value.data), &size))
		return false;
	pair->value.size = (uint16_t)size;
	pair->created = number(kv, "create_revision");
	pair->modified = number(kv, "mod_revision");
	pair->lease = number(kv, "lease");
	return true;
}

static void take_header(const json_t *object, struct etcd_answer *answer)
{
	const json_t *header = json_object_get(object, "header");

	answer->cluster = number(header, "cluster_id");
	answer->revision = number(header, "revision");
}

/* ---- answers ---------------------------------------------------------------------------------- */

static void take_responses(const json_t *root, struct etcd_answer *answer)
{
	const json_t *responses = json_object_get(root, "responses"), *one;
	size_t i;

	json_array_foreach(responses, i, one)
	{
		answer->deleted += number(json_object_get(one, "response_delete_range"), "deleted");
		answer->modified |= number(
			json_array_get(
				json_object_get(json_object_get(one, "response_range"), "kvs"), 0),
			"mod_revision");
	}
}

static void take_lease(const json_t *object, struct etcd_answer *answer)
{
	uint64_t seconds = number(object, "TTL");

	answer->lease = number(object, "ID");
	if (seconds > UINT32_MAX / 1000)
		seconds = seconds >> 63 ? 0 : UINT32_MAX / 1000; /* dead ones are below zero */
	answer->ttl_ms = (uint32_t)seconds * 1000;
}

enum err etcd_read(const void *body, size_t size, struct etcd_answer *answer)
{
	const char *token;
	const json_t *result;
	json_t *root;
	enum err err;

	memset(answer, 0, sizeof(*answer));
	err = parse(body, size, &root);
	if (err)
		return err;
	/* keepalive is a stream of one, whose items the gateway wraps */
	result = json_object_get(root, "result");
	if (!result)
		result = root;
	take_header(result, answer);
	take_lease(result, answer);
	take_responses(result, answer);
	answer->succeeded = truth(result, "succeeded");
	token = json_string_value(json_object_get(result, "token"));
	if (token && strlen(token) <= ETCD_TOKEN_MAX)
		text_copy(answer->token, sizeof(answer->token), token);
	if (!json_is_object(json_object_get(result, "header")))
		err = ERR_FORMAT;
	json_decref(root);
	return err;
}

enum err etcd_read_range(const void *body, size_t size, const char *prefix,
	struct etcd_answer *answer, etcd_pair_fn fn, void *context)
{
	const json_t *kv;
	struct store_pair pair;
	json_t *root;
	enum err err;
	size_t i;

	memset(answer, 0, sizeof(*answer));
	err = parse(body, size, &root);
	if (err)
		return err;
	take_header(root, answer);
	answer->more = truth(root, "more");
	json_array_foreach(json_object_get(root, "kvs"), i, kv)
	{
		bool fits = pair_of(kv, prefix, &pair);

		if (pair.key[0])
			text_copy(answer->last, sizeof(answer->last), pair.key);
		else
			skip_key(kv, prefix, answer->last);
		answer->skipped += !fits;
		if (fits)
			fn(context, &pair);
	}
	if (!answer->revision)
		err = ERR_FORMAT;
	json_decref(root);
	return err;
}

static void take_event(const json_t *json, const char *prefix, struct etcd_answer *answer,
	etcd_event_fn fn, void *context)
{
	const char *type = json_string_value(json_object_get(json, "type"));
	struct msg_store_event event = {.deleted = type && !strcmp(type, "DELETE")};

	if (!pair_of(json_object_get(json, "kv"), prefix, &event.pair)) {
		answer->skipped++;
		return;
	}
	event.revision = event.pair.modified;
	fn(context, &event);
}

enum err etcd_read_watch(const void *line, size_t size, const char *prefix,
	struct etcd_answer *answer, etcd_event_fn fn, void *context)
{
	const json_t *result, *event;
	json_t *root;
	enum err err;
	size_t i;

	memset(answer, 0, sizeof(*answer));
	err = parse(line, size, &root);
	if (err)
		return err;
	result = json_object_get(root, "result");
	if (json_object_get(root, "error"))
		err = ERR_CLOSED;
	else if (!json_is_object(result))
		err = ERR_FORMAT;
	take_header(result, answer);
	answer->created = truth(result, "created");
	answer->canceled = truth(result, "canceled");
	answer->compacted = number(result, "compact_revision");
	json_array_foreach(json_object_get(result, "events"), i, event)
		take_event(event, prefix, answer, fn, context);
	json_decref(root);
	return err;
}

/* ---- errors ----------------------------------------------------------------------------------- */

/* codes of gRPC */
enum {
	GRPC_INVALID = 3,
	GRPC_DEADLINE = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_FORBIDDEN = 7,
	GRPC_EXHAUSTED = 8,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

static enum err meaning(uint16_t status, uint64_t code, const char *text)
{
	switch (code) {
	case GRPC_NOT_FOUND: return ERR_NOT_FOUND;
	case GRPC_FORBIDDEN: return ERR_FORBIDDEN;
	case GRPC_EXHAUSTED: return ERR_OVERLOAD;
	case GRPC_OUT_OF_RANGE: return ERR_REPLAY;
	case GRPC_DEADLINE:
	case GRPC_UNAVAILABLE: return ERR_TIMEOUT;
	case GRPC_UNAUTHENTICATED: return ERR_AUTH;
	case GRPC_INVALID: /* etcd's way to say: no token, or one from before a change of users */
		return strstr(text, "user name is empty") || strstr(text, "auth store is old")
			       ? ERR_AUTH
		       : strstr(text, "authentication failed") ? ERR_FORBIDDEN
							       : ERR_FORMAT;
	default: return status >= 500 ? ERR_TIMEOUT : status == 401 ? ERR_AUTH : ERR_FORMAT;
	}
}

enum err etcd_read_error(uint16_t status, const void *body, size_t size, char text[ETCD_TEXT_SIZE])
{
	const char *said = NULL;
	uint64_t code = 0;
	json_t *root;

	snprintf(text, ETCD_TEXT_SIZE, "status %u", status);
	if (!parse(body, size, &root)) {
		code = number(root, "code");
		said = json_string_value(json_object_get(root, "message"));
		if (!said)
			said = json_string_value(json_object_get(root, "error"));
		if (said)
			text_copy(text, ETCD_TEXT_SIZE, said);
		json_decref(root);
	}
	for (char *p = text; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	return meaning(status, code, text);
}

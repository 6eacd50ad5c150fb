/* SPDX-License-Identifier: Apache-2.0
 *
 * etcd as the tests of its clients and the simulator need it: the JSON gateway in memory, under virtual
 * time, behind the http operations of a runtime (runtime/net_http.h). It keeps pairs, leases, history and
 * watches as the real one does; and it can be gone, be silent, be out of some clients' reach, answer late,
 * lose answers to what took place, forget its history or all that it knew.
 *
 *   model_create --> clients' http_start, _read, _cancel <--> model_run, called as time goes by
 */
#ifndef MILLRACE_ETCD_MODEL_H
#define MILLRACE_ETCD_MODEL_H

#include "cluster/etcd.h"
#include "runtime/net_http.h"
#include "runtime/runtime.h"
#include "schemas/random.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	MODEL_PAIRS = 1024,
	MODEL_LEASES = 512,
	MODEL_HISTORY = 8192,
	MODEL_TRANSFERS = 1024,
	MODEL_KEY = 256,
	MODEL_TEXT = 1 << 20,
};

struct model_pair {
	char key[MODEL_KEY];
	uint8_t value[STORE_VALUE_MAX];
	size_t size;
	uint64_t created, modified, lease;
	bool deleted; /* history */
};

struct model_lease {
	uint64_t id;
	int64_t ttl_us, until_us;
};

struct model_transfer {
	uint64_t id, owner, read; /* id 0 = free; read: who waits for a piece */
	struct runtime *rt;
	int64_t due_us;
	bool stream, answered, over, lost;
	char path[64];
	char *body;
	char token[64];
	char prefix[MODEL_KEY]; /* watch */
	uint64_t next;		/* watch: revision of the first change that was not told */
	char *out;		/* not read yet */
	size_t out_size;
};

struct etcd_model {
	int64_t now_us;
	struct rng rng;
	uint64_t revision, compacted, next_lease, cluster;
	struct model_pair pairs[MODEL_PAIRS]; /* in order of key */
	size_t pair_count;
	struct model_lease leases[MODEL_LEASES];
	struct model_pair history[MODEL_HISTORY]; /* the change of revision r, the first of many */
	size_t history_count;
	struct model_transfer transfers[MODEL_TRANSFERS];
	bool gone;				    /* nobody listens */
	bool silent;				    /* nobody answers */
	bool users;				    /* a token is wanted */
	unsigned tokens;			    /* given; only the last is good */
	uint32_t lost_ppm;			    /* answers lost after the deed */
	int64_t slow_us;			    /* answers take up to so long */
	char too_large[MODEL_KEY];		    /* a pair that makes an answer too large */
	unsigned asked, ranges, watches, range_max; /* range_max: pairs of the largest page */
	/* Of the test; NULL = all clients can be reached at any time. */
	bool (*reaches)(void *context, const struct runtime *rt);
	/* Something is about to be given to that client. */
	void (*gives)(void *context, struct runtime *rt);
	void *context;
};

static struct etcd_model *model_create(uint64_t seed)
{
	struct etcd_model *model = calloc(1, sizeof(*model));

	MUST(model);
	model->rng = rng_of(seed);
	model->revision = 1;
	model->cluster = 77;
	return model;
}

static void model_free_transfer(struct model_transfer *t)
{
	free(t->body);
	free(t->out);
	*t = (struct model_transfer){0};
}

static void model_destroy(struct etcd_model *model)
{
	for (int i = 0; i < MODEL_TRANSFERS; i++)
		model_free_transfer(&model->transfers[i]);
	free(model);
}

/* ---- pairs ------------------------------------------------------------------------------------- */

static struct model_pair *model_find(struct etcd_model *model, const char *key)
{
	for (size_t i = 0; i < model->pair_count; i++)
		if (!strcmp(model->pairs[i].key, key))
			return &model->pairs[i];
	return NULL;
}

static void model_note(struct etcd_model *model, const struct model_pair *pair)
{
	MUST(model->history_count < MODEL_HISTORY);
	model->history[model->history_count++] = *pair;
}

static void model_put(
	struct etcd_model *model, const char *key, const void *value, size_t size, uint64_t lease)
{
	struct model_pair *pair = model_find(model, key);

	model->revision++;
	if (!pair) {
		size_t at = 0;

		MUST(model->pair_count < MODEL_PAIRS);
		while (at < model->pair_count && strcmp(model->pairs[at].key, key) < 0)
			at++;
		memmove(&model->pairs[at + 1], &model->pairs[at],
			(model->pair_count++ - at) * sizeof(*pair));
		pair = &model->pairs[at];
		*pair = (struct model_pair){.created = model->revision};
		snprintf(pair->key, sizeof(pair->key), "%s", key);
	}
	MUST(size <= sizeof(pair->value));
	if (size)
		memcpy(pair->value, value, size);
	pair->size = size;
	pair->lease = lease;
	pair->modified = model->revision;
	model_note(model, pair);
}

/* `same`: under the revision of the change before, as the keys of one lease end. */
static bool model_delete(struct etcd_model *model, const char *key, bool same)
{
	struct model_pair *pair = model_find(model, key), gone;

	if (!pair)
		return false;
	gone = *pair;
	memmove(pair, pair + 1,
		(size_t)(&model->pairs[model->pair_count--] - (pair + 1)) * sizeof(*pair));
	gone.modified = model->revision += !same;
	gone.deleted = true;
	gone.size = 0;
	model_note(model, &gone);
	return true;
}

static struct model_lease *model_lease(struct etcd_model *model, uint64_t id)
{
	for (int i = 0; i < MODEL_LEASES; i++)
		if (model->leases[i].id == id)
			return &model->leases[i];
	return NULL;
}

static void model_end_lease(struct etcd_model *model, struct model_lease *lease)
{
	bool same = false;

	for (size_t i = model->pair_count; i-- > 0;)
		if (model->pairs[i].lease == lease->id)
			same = model_delete(model, model->pairs[i].key, same);
	*lease = (struct model_lease){0};
}

__attribute__((unused)) static void model_compact(struct etcd_model *model)
{
	model->compacted = model->revision;
}

/* As with an empty disk. */
__attribute__((unused)) static void model_wipe(struct etcd_model *model)
{
	model->revision = 1;
	model->compacted = 0;
	model->pair_count = model->history_count = 0;
	memset(model->leases, 0, sizeof(model->leases));
}

/* What a backup holds; the history before it is forgotten where it is read back. */
struct model_backup {
	uint64_t revision;
	size_t pair_count;
	struct model_pair pairs[MODEL_PAIRS];
	struct model_lease leases[MODEL_LEASES];
};

/* To be freed. */
__attribute__((unused)) static struct model_backup *model_save(const struct etcd_model *model)
{
	struct model_backup *backup = malloc(sizeof(*backup));

	MUST(backup);
	backup->revision = model->revision;
	backup->pair_count = model->pair_count;
	memcpy(backup->pairs, model->pairs, sizeof(backup->pairs));
	memcpy(backup->leases, model->leases, sizeof(backup->leases));
	return backup;
}

/* Every lease begins its time anew. */
__attribute__((unused)) static void model_load(
	struct etcd_model *model, const struct model_backup *backup)
{
	model->revision = model->compacted = backup->revision;
	model->pair_count = backup->pair_count;
	model->history_count = 0;
	memcpy(model->pairs, backup->pairs, sizeof(model->pairs));
	memcpy(model->leases, backup->leases, sizeof(model->leases));
	for (int i = 0; i < MODEL_LEASES; i++)
		if (model->leases[i].id)
			model->leases[i].until_us = model->now_us + model->leases[i].ttl_us;
}

/* ---- JSON -------------------------------------------------------------------------------------- */

static size_t model_bytes(const json_t *object, const char *name, void *to, size_t room)
{
	const char *text = json_string_value(json_object_get(object, name));
	size_t coded = text ? strlen(text) : 0, size = coded / 4 * 3;
	uint8_t plain[2048];

	MUST(size <= room);
	MUST(coded % 4 == 0);
	if (coded)
		MUST(EVP_DecodeBlock(plain, (const unsigned char *)text, (int)coded) >= 0);
	for (size_t i = coded; i && text[i - 1] == '='; i--)
		size--;
	memcpy(to, plain, size);
	return size;
}

static void model_key(const json_t *object, const char *name, char key[MODEL_KEY])
{
	key[model_bytes(object, name, key, MODEL_KEY - 1)] = 0;
}

static uint64_t model_number(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? strtoull(text, NULL, 10) : 0;
}

__attribute__((format(printf, 2, 3))) static void model_say(
	struct writer *out, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	out->at += vsnprintf((char *)out->at, writer_left(out), format, arguments);
	va_end(arguments);
}

static void model_say_bytes(struct writer *out, const char *name, const void *bytes, size_t size)
{
	model_say(out, "\"%s\":\"", name);
	out->at += EVP_EncodeBlock(out->at, bytes, (int)size);
	model_say(out, "\"");
}

static void model_say_pair(struct writer *out, const struct model_pair *pair, bool keys_only)
{
	model_say(out, "{");
	model_say_bytes(out, "key", pair->key, strlen(pair->key));
	if (!pair->deleted)
		model_say(out, ",\"create_revision\":\"%" PRIu64 "\",\"version\":\"1\"",
			pair->created);
	model_say(out, ",\"mod_revision\":\"%" PRIu64 "\"", pair->modified);
	if (pair->size && !keys_only) {
		model_say(out, ",");
		model_say_bytes(out, "value", pair->value, pair->size);
	}
	if (pair->lease && !pair->deleted)
		model_say(out, ",\"lease\":\"%" PRIu64 "\"", pair->lease);
	model_say(out, "}");
}

static void model_say_header(struct etcd_model *model, struct writer *out)
{
	model_say(out, "\"header\":{\"cluster_id\":\"%" PRIu64 "\",\"revision\":\"%" PRIu64 "\"}",
		model->cluster, model->revision);
}

static uint16_t model_error(struct writer *out, uint16_t status, int code, const char *text)
{
	model_say(out, "{\"error\":\"%s\",\"code\":%d,\"message\":\"%s\"}", text, code, text);
	return status;
}

/* ---- calls ------------------------------------------------------------------------------------- */

static bool model_compare(struct etcd_model *model, const json_t *txn)
{
	const json_t *compare = json_array_get(json_object_get(txn, "compare"), 0);
	const struct model_pair *pair;
	char key[MODEL_KEY];

	if (!compare)
		return true;
	model_key(compare, "key", key);
	pair = model_find(model, key);
	if (json_object_get(compare, "create_revision"))
		return (pair ? pair->created : 0) == model_number(compare, "create_revision");
	return (pair ? pair->modified : 0) == model_number(compare, "mod_revision");
}

static uint16_t model_txn(struct etcd_model *model, const json_t *txn, struct writer *out)
{
	bool succeeds = model_compare(model, txn);
	const json_t *op =
		json_array_get(json_object_get(txn, succeeds ? "success" : "failure"), 0);
	const json_t *put = json_object_get(op, "request_put");
	const json_t *delete = json_object_get(op, "request_delete_range");
	const json_t *range = json_object_get(op, "request_range");
	struct model_pair *pair;
	char key[MODEL_KEY];
	uint8_t value[STORE_VALUE_MAX];
	bool deleted = false;

	if (put && model_number(put, "lease") && !model_lease(model, model_number(put, "lease")))
		return model_error(out, 404, 5, "etcdserver: requested lease not found");
	if (put) {
		size_t size = model_bytes(put, "value", value, sizeof(value));

		model_key(put, "key", key);
		model_put(model, key, value, size, model_number(put, "lease"));
	} else if (delete) {
		model_key(delete, "key", key);
		deleted = model_delete(model, key, false);
	}
	model_say(out, "{");
	model_say_header(model, out);
	model_say(out, "%s,\"responses\":[{", succeeds ? ",\"succeeded\":true" : "");
	if (put)
		model_say(out, "\"response_put\":{}");
	else if (delete)
		model_say(
			out, "\"response_delete_range\":{%s}", deleted ? "\"deleted\":\"1\"" : "");
	else if (range) {
		model_key(range, "key", key);
		pair = model_find(model, key);
		model_say(out, "\"response_range\":{");
		if (pair) {
			model_say(out, "\"kvs\":[");
			model_say_pair(out, pair, true);
			model_say(out, "],\"count\":\"1\"");
		}
		model_say(out, "}");
	}
	model_say(out, "}]}");
	return 200;
}

/* (at an older revision nothing has changed since: clients ask for one only while they read on) */
static uint16_t model_range(struct etcd_model *model, const json_t *ask, struct writer *out)
{
	uint64_t limit = model_number(ask, "limit"), given = 0;
	uint64_t revision = model_number(ask, "revision");
	char key[MODEL_KEY], end[MODEL_KEY];
	bool keys_only = json_is_true(json_object_get(ask, "keys_only")), more = false;
	bool too_large = false;
	bool after = model_bytes(ask, "key", key, sizeof(key) - 1) > strnlen(key, sizeof(key));

	model_key(ask, "key", key);
	model_key(ask, "range_end", end);
	model->ranges++;
	if (revision && revision < model->revision)
		return model_error(
			out, 400, 11, "etcdserver: mvcc: required revision has been compacted");
	model_say(out, "{");
	model_say_header(model, out);
	model_say(out, ",\"kvs\":[");
	for (size_t i = 0; i < model->pair_count; i++) {
		int order = strcmp(model->pairs[i].key, key);

		if (order < 0 || (after && !order) || strcmp(model->pairs[i].key, end) >= 0)
			continue;
		if (given == limit) {
			more = true;
			break;
		}
		model_say(out, "%s", given++ ? "," : "");
		model_say_pair(out, &model->pairs[i], keys_only);
		too_large |= !keys_only && !strcmp(model->pairs[i].key, model->too_large);
	}
	model_say(out, "]%s}", more ? ",\"more\":true" : "");
	too_large |= model->range_max && given > model->range_max;
	return too_large ? 0 : 200; /* 0: the client does not take it */
}

static uint16_t model_lease_call(
	struct etcd_model *model, const char *path, const json_t *ask, struct writer *out)
{
	struct model_lease *lease = model_lease(model, model_number(ask, "ID"));

	if (!strcmp(path, ETCD_PATH_GRANT)) {
		lease = model_lease(model, 0);
		MUST(lease);
		lease->id = 7000 + ++model->next_lease;
		lease->ttl_us = (int64_t)model_number(ask, "TTL") * 1000000;
	} else if (!strcmp(path, ETCD_PATH_REVOKE) && !lease) {
		return model_error(out, 404, 5, "etcdserver: requested lease not found");
	} else if (!strcmp(path, ETCD_PATH_REVOKE)) {
		model_end_lease(model, lease);
		model_say(out, "{");
		model_say_header(model, out);
		model_say(out, "}");
		return 200;
	}
	if (lease)
		lease->until_us = model->now_us + lease->ttl_us;
	model_say(out, "{\"result\":{");
	model_say_header(model, out);
	model_say(out, ",\"ID\":\"%" PRIu64 "\"", model_number(ask, "ID"));
	if (lease)
		model_say(out, ",\"TTL\":\"%" PRId64 "\"", lease->ttl_us / 1000000);
	model_say(out, "}}");
	if (!strcmp(path, ETCD_PATH_GRANT)) {
		out->at = out->begin;
		model_say(out, "{");
		model_say_header(model, out);
		model_say(out, ",\"ID\":\"%" PRIu64 "\",\"TTL\":\"%" PRId64 "\"}", lease->id,
			lease->ttl_us / 1000000);
	}
	return 200;
}

static uint16_t model_call(
	struct etcd_model *model, const struct model_transfer *t, struct writer *out)
{
	json_t *ask = json_loads(t->body, 0, NULL);
	char token[64];
	uint16_t status;

	MUST(ask);
	model->asked++;
	snprintf(token, sizeof(token), "token-%u", model->tokens);
	if (!strcmp(t->path, ETCD_PATH_AUTHENTICATE)) {
		bool right = !strcmp(json_string_value(json_object_get(ask, "password")), "right");

		snprintf(token, sizeof(token), "token-%u", model->tokens += right);
		if (!right) {
			status = model_error(out, 400, 3,
				"etcdserver: authentication failed, invalid user ID or password");
		} else {
			status = 200;
			model_say(out, "{");
			model_say_header(model, out);
			model_say(out, ",\"token\":\"%s\"}", token);
		}
	} else if (model->users && strcmp(t->token, token)) {
		status = t->token[0] ? model_error(out, 401, 16, "etcdserver: invalid auth token")
				     : model_error(out, 400, 3, "etcdserver: user name is empty");
	} else if (!strcmp(t->path, ETCD_PATH_TXN)) {
		status = model_txn(model, ask, out);
	} else if (!strcmp(t->path, ETCD_PATH_RANGE)) {
		status = model_range(model, ask, out);
	} else {
		status = model_lease_call(model, t->path, ask, out);
	}
	json_decref(ask);
	return status;
}

/* ---- watches ----------------------------------------------------------------------------------- */

/* Without memory for it the connection breaks. */
static void model_push(struct model_transfer *t, const char *bytes, size_t size)
{
	char *out = realloc(t->out, t->out_size + size);

	t->over |= !out;
	if (!out)
		return;
	t->out = out;
	memcpy(t->out + t->out_size, bytes, size);
	t->out_size += size;
}

static void model_begin_watch(struct etcd_model *model, struct model_transfer *t, char *text)
{
	json_t *ask = json_loads(t->body, 0, NULL);
	const json_t *create = json_object_get(ask, "create_request");
	struct writer out = writer_of(text, MODEL_TEXT);

	MUST(create);
	model->watches++;
	model_key(create, "key", t->prefix);
	t->next = model_number(create, "start_revision");
	model_say(&out, "{\"result\":{");
	model_say_header(model, &out);
	if (t->next <= model->compacted) {
		model_say(&out, ",\"created\":true}}\n{\"result\":{");
		model_say_header(model, &out);
		model_say(&out, ",\"canceled\":true,\"compact_revision\":\"%" PRIu64 "\"",
			model->compacted);
	} else {
		model_say(&out, ",\"created\":true");
	}
	model_say(&out, "}}\n");
	model_push(t, text, writer_used(&out));
	json_decref(ask);
}

/* All changes of one revision come in one line. */
static void model_tell_watch(struct etcd_model *model, struct model_transfer *t, char *text)
{
	size_t i = model->history_count;

	while (i && model->history[i - 1].modified >= t->next)
		i--;
	while (i < model->history_count) {
		uint64_t revision = model->history[i].modified;
		struct writer out = writer_of(text, MODEL_TEXT);
		unsigned told = 0;

		model_say(&out, "{\"result\":{");
		model_say_header(model, &out);
		model_say(&out, ",\"events\":[");
		for (; i < model->history_count && model->history[i].modified == revision; i++) {
			if (strncmp(model->history[i].key, t->prefix, strlen(t->prefix)))
				continue;
			model_say(&out, "%s{%s\"kv\":", told++ ? "," : "",
				model->history[i].deleted ? "\"type\":\"DELETE\"," : "");
			model_say_pair(&out, &model->history[i], false);
			model_say(&out, "}");
		}
		model_say(&out, "]}}\n");
		if (told)
			model_push(t, text, writer_used(&out));
	}
	t->next = model->revision + 1;
}

static void model_about_to_give(struct etcd_model *model, struct runtime *rt)
{
	if (model->gives)
		model->gives(model->context, rt);
}

static void model_give_piece(struct etcd_model *model, struct model_transfer *t)
{
	size_t size = t->out_size;
	uint64_t read = t->read;

	if (!read || (!size && !t->over))
		return;
	if (size > 1 && rng_chance_ppm(&model->rng, 200000))
		size = (size_t)rng_between(&model->rng, 1, (int64_t)size);
	if (size > NET_HTTP_PIECE_MAX)
		size = NET_HTTP_PIECE_MAX;
	struct msg_http_piece piece = {
		.end = !size, .bytes = {t->out, (uint32_t)size}
	       };
	struct runtime *rt = t->rt;

	t->read = 0;
	model_about_to_give(model, rt);
	runtime_http_piece(rt, read, &piece);
	t->out_size -= size;
	if (size)
		memmove(t->out, t->out + size, t->out_size);
	if (piece.end)
		model_free_transfer(t);
}

/* ---- what clients do --------------------------------------------------------------------------- */

static void model_answer(struct etcd_model *model, struct model_transfer *t)
{
	static char text[MODEL_TEXT];
	struct writer out = writer_of(text, sizeof(text));
	struct msg_http_response response = {.status = 200};
	uint64_t id = t->id;
	struct runtime *rt = t->rt;

	t->answered = true;
	if (t->stream) {
		char token[64];

		response.stream = id;
		snprintf(token, sizeof(token), "token-%u", model->tokens);
		if (model->users && strcmp(t->token, token))
			response.status = 401;
		else
			model_begin_watch(model, t, text);
	} else {
		response.status = model_call(model, t, &out);
		response.body = (struct slice){text, (uint32_t)writer_used(&out)};
		t->lost = rng_chance_ppm(&model->rng, model->lost_ppm);
	}
	if (!t->lost)
		model_about_to_give(model, rt);
	if (!t->lost && response.status)
		runtime_http_response(rt, id, &response);
	else if (!t->lost)
		runtime_http_failed(rt, id, ERR_TOO_LARGE, "");
	if (!t->stream)
		model_free_transfer(t);
}

static void model_run(struct etcd_model *model)
{
	static char text[MODEL_TEXT];

	for (int i = 0; i < MODEL_LEASES && !model->silent && !model->gone; i++)
		if (model->leases[i].id && model->leases[i].until_us <= model->now_us)
			model_end_lease(model, &model->leases[i]);
	for (int i = 0; i < MODEL_TRANSFERS; i++) {
		struct model_transfer *t = &model->transfers[i];

		if (!t->id || model->silent ||
			(model->reaches && !model->reaches(model->context, t->rt)))
			continue;
		if (model->gone && t->answered) {
			t->over = true;
		} else if (model->gone && t->due_us <= model->now_us) {
			model_about_to_give(model, t->rt);
			runtime_http_failed(t->rt, t->id, ERR_DEAD, "connection refused");
			model_free_transfer(t);
			continue;
		} else if (!model->gone && !t->answered && t->due_us <= model->now_us) {
			model_answer(model, t);
		} else if (t->answered && t->prefix[0] && !t->over) {
			model_tell_watch(model, t, text);
		}
		if (t->id && t->stream)
			model_give_piece(model, t);
	}
}

static struct model_transfer *model_find_transfer(
	struct etcd_model *model, struct runtime *rt, uint64_t owner, uint64_t id)
{
	for (int i = 0; i < MODEL_TRANSFERS; i++) {
		struct model_transfer *t = &model->transfers[i];

		if (t->id && t->rt == rt && t->owner == owner && (t->id == id || t->read == id))
			return t;
	}
	return NULL;
}

__attribute__((unused)) static void model_forget(struct etcd_model *model, const struct runtime *rt)
{
	for (int i = 0; i < MODEL_TRANSFERS; i++)
		if (model->transfers[i].rt == rt)
			model_free_transfer(&model->transfers[i]);
}

static enum err model_start(struct etcd_model *model, struct runtime *rt, uint64_t request,
	uint64_t owner, const struct net_http_request *what)
{
	static const char authorization[] = "Authorization: ";
	struct model_transfer *t = model->transfers;
	const char *path = strchr(what->url + 7, '/');

	while (t < model->transfers + MODEL_TRANSFERS && t->id)
		t++;
	MUST(t < model->transfers + MODEL_TRANSFERS && path);
	*t = (struct model_transfer){
		.id = request,
		.owner = owner,
		.rt = rt,
		.stream = what->stream,
		.due_us = model->now_us +
			  (model->slow_us ? rng_between(&model->rng, 0, model->slow_us) : 0),
		.body = calloc(1, what->body_size + 1),
	};
	if (!t->body) {
		*t = (struct model_transfer){0};
		return ERR_NO_MEMORY;
	}
	memcpy(t->body, what->body, what->body_size);
	snprintf(t->path, sizeof(t->path), "%s", path);
	for (int i = 0; i < NET_HTTP_HEADERS_MAX && what->headers[i]; i++)
		if (!strncmp(what->headers[i], authorization, sizeof(authorization) - 1))
			snprintf(t->token, sizeof(t->token), "%s",
				what->headers[i] + sizeof(authorization) - 1);
	return ERR_OK;
}

static enum err model_read(struct etcd_model *model, struct runtime *rt, uint64_t stream,
	uint64_t owner, uint64_t request)
{
	struct model_transfer *t = model_find_transfer(model, rt, owner, stream);

	if (!t || t->id != stream || !t->answered)
		return ERR_NOT_FOUND;
	if (t->read)
		return ERR_PHASE;
	t->read = request;
	return ERR_OK;
}

static void model_cancel(struct etcd_model *model, struct runtime *rt, uint64_t owner, uint64_t id)
{
	struct model_transfer *t = id ? model_find_transfer(model, rt, owner, id) : NULL;

	if (t)
		model_free_transfer(t);
	for (int i = 0; !id && i < MODEL_TRANSFERS; i++)
		if (model->transfers[i].id && model->transfers[i].rt == rt &&
			model->transfers[i].owner == owner)
			model_free_transfer(&model->transfers[i]);
}

#endif

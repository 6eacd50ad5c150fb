/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/callback/callback_text.h"
#include "actors/callback/callback.h"
#include "schemas/names.h"

#include <jansson.h>

enum { BACKOFF_FIRST_MS = 500, BACKOFF_MAX_MS = 30000 };

const char *callback_action_name(enum callback_action action)
{
	static const char *const names[] = {
		[CALLBACK_ON_PUBLISH] = "on_publish",
		[CALLBACK_ON_PLAY] = "on_play",
		[CALLBACK_ON_UNPUBLISH] = "on_unpublish",
		[CALLBACK_ON_STOP] = "on_stop",
	};

	return names[action];
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* RFC 3986 3.4, and the escapes that are there already */
static bool may_stand_in_query(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~!$&'()*+,;=:@/?%", c));
}

static bool is_ours(const char *part, size_t size)
{
	static const char *const names[] = {"token", "resume", "permit", "redirected"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t length = strlen(names[i]);

		if (size >= length && !memcmp(part, names[i], length) &&
			(size == length || part[length] == '='))
			return true;
	}
	return false;
}

static bool put_encoded(struct writer *out, const char *text, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < size; i++) {
		uint8_t c = (uint8_t)text[i];
		char escape[3] = {'%', hex[c >> 4], hex[c & 15]};
		bool plain = may_stand_in_query(text[i]);

		if (writer_left(out) < 4)
			return false;
		write_bytes(out, plain ? &text[i] : escape, plain ? 1 : sizeof(escape));
	}
	return true;
}

enum err callback_param(const char *query, size_t size, char *param)
{
	struct writer out = writer_of(param, CALLBACK_PARAM_SIZE);

	param[0] = 0;
	for (size_t begin = 0; begin < size;) {
		const char *part = query + begin;
		const char *ampersand = memchr(part, '&', size - begin);
		size_t length = ampersand ? (size_t)(ampersand - part) : size - begin;
		bool first = writer_used(&out) == 0;

		begin += length + 1;
		if (!length || is_ours(part, length))
			continue;
		if ((!first && !put_encoded(&out, "&", 1)) || !put_encoded(&out, part, length)) {
			param[0] = 0;
			return ERR_TOO_LARGE;
		}
	}
	param[writer_used(&out)] = 0;
	return ERR_OK;
}

/* ---- question and answer --------------------------------------------------------------------- */

size_t callback_body(const struct callback_state *callback, enum callback_action action,
	const char *node, char *out, size_t size)
{
	char session[ADDR_TEXT_SIZE];
	struct name_path path = {0};
	int64_t time_us = callback->over_us ? callback->over_us : callback->asked_us;
	size_t used;

	if (name_path_parse(callback->stream_name, strlen(callback->stream_name), &path))
		return 0;
	json_t *json = json_pack("{ss ss ss ss ss ss ss ss sI}", "action",
		callback_action_name(action), "app", path.app, "stream", path.stream, "session",
		addr_text(callback->session, session), "client", callback->client, "protocol",
		callback->protocol, "param", callback->param, "node", node, "time",
		(json_int_t)(time_us / 1000));

	used = json ? json_dumpb(json, out, size, JSON_COMPACT) : 0;
	json_decref(json);
	return used <= size ? used : 0;
}

static enum err code_of(struct slice body)
{
	json_t *json = json_loadb(body.data, body.size, JSON_REJECT_DUPLICATES, NULL);
	const json_t *code = json_object_get(json, "code");
	enum err err = ERR_OK;

	if (!json_is_object(json) || (code && !json_is_integer(code)))
		err = ERR_FORMAT;
	else if (code && json_integer_value(code) != 0)
		err = ERR_FORBIDDEN;
	json_decref(json);
	return err;
}

enum err callback_verdict(uint16_t status, struct slice body)
{
	if (status == 401)
		return ERR_AUTH;
	if (status == 403)
		return ERR_FORBIDDEN;
	if (status < 200 || status > 299 || body.size > CALLBACK_ANSWER_MAX)
		return ERR_FORMAT;
	while (body.size && strchr(" \t\r\n", *body.data) && *body.data) {
		body.data++;
		body.size--;
	}
	return body.size ? code_of(body) : ERR_OK;
}

uint32_t callback_backoff_ms(uint32_t tries)
{
	uint32_t doublings = tries > 1 ? tries - 1 : 0;

	return doublings < 6 ? (uint32_t)BACKOFF_FIRST_MS << doublings : BACKOFF_MAX_MS;
}

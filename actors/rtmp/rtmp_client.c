/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/rtmp_client.h"
#include "actors/rtmp/amf.h"

#include <stdio.h>

enum {
	COMMANDS = 3, /* chunk streams */
	CONTROL = 2,
	AUDIO = 4,
	VIDEO = 6,
	CONNECT = 1, /* transactions */
	CREATE = 2,
	PARTS_MAX = 256, /* of a message: headers and pieces */
	PING = 6,	 /* user control events, 7.1.7 */
	PONG = 7,
	STREAM_EOF = 1,
	BUFFER_MS = 500,
	SET_BUFFER = 3,
};

/* ---- out ----------------------------------------------------------------------------------- */

static enum err put(struct writer *out, unsigned chunk_stream, uint32_t chunk_size, uint8_t type,
	uint32_t stream, uint32_t time_ms, const struct iovec *pieces, size_t count)
{
	struct chunk_headers headers;
	struct iovec parts[PARTS_MAX];
	size_t size = 0, total = 0, used;

	for (size_t i = 0; i < count; i++)
		size += pieces[i].iov_len;
	if (size > CHUNK_MESSAGE_MAX)
		return ERR_TOO_LARGE;
	chunk_headers_make(&headers, chunk_stream, type, stream, time_ms, (uint32_t)size);
	used = chunk_frame(&headers, chunk_size, pieces, count, parts, PARTS_MAX);
	for (size_t i = 0; i < used; i++)
		total += parts[i].iov_len;
	if (!used || total > (size_t)(out->end - out->at))
		return ERR_NO_SPACE;
	for (size_t i = 0; i < used; i++)
		write_bytes(out, parts[i].iov_base, parts[i].iov_len);
	return ERR_OK;
}

static void put_control(
	struct writer *out, uint32_t chunk_size, uint8_t type, const uint8_t *bytes, size_t size)
{
	const struct iovec piece = {(void *)(uintptr_t)bytes, size};

	if (put(out, CONTROL, chunk_size, type, 0, 0, &piece, 1))
		out->bad = true;
}

static void put_command(
	struct writer *out, uint32_t chunk_size, uint32_t stream, const struct writer *command)
{
	const struct iovec piece = {command->begin, writer_used(command)};

	if (command->bad ||
		put(out, COMMANDS, chunk_size, CHUNK_COMMAND_AMF0, stream, 0, &piece, 1))
		out->bad = true;
}

static void say_connect(const struct rtmp_client *c, struct writer *out)
{
	static const uint8_t chunk_size[] = {0, 0, RTMP_CLIENT_CHUNK >> 8, RTMP_CLIENT_CHUNK & 255};
	uint8_t bytes[2 * RTMP_CLIENT_URL_MAX + 256];
	struct writer w = writer_of(bytes, sizeof(bytes));

	amf_write_string(&w, "connect");
	amf_write_number(&w, CONNECT);
	amf_write_object(&w);
	amf_write_string_member(&w, "app", c->app);
	amf_write_string_member(&w, "type", "nonprivate");
	amf_write_string_member(&w, "flashVer", "FMLE/3.0 (compatible; Millrace)");
	amf_write_string_member(&w, "tcUrl", c->url);
	amf_write_end(&w);
	put_control(out, CHUNK_SIZE_INITIAL, CHUNK_SET_CHUNK_SIZE, chunk_size, sizeof(chunk_size));
	put_command(out, RTMP_CLIENT_CHUNK, 0, &w);
}

static void say_create(struct writer *out)
{
	uint8_t bytes[64];
	struct writer w = writer_of(bytes, sizeof(bytes));

	amf_write_string(&w, "createStream");
	amf_write_number(&w, CREATE);
	amf_write_null(&w);
	put_command(out, RTMP_CLIENT_CHUNK, 0, &w);
}

static void say_start(const struct rtmp_client *c, struct writer *out)
{
	uint8_t bytes[RTMP_CLIENT_URL_MAX + 128];
	struct writer w = writer_of(bytes, sizeof(bytes));

	amf_write_string(&w, c->publish ? "publish" : "play");
	amf_write_number(&w, 0);
	amf_write_null(&w);
	amf_write_string(&w, c->name);
	if (c->publish)
		amf_write_string(&w, "live");
	put_command(out, RTMP_CLIENT_CHUNK, c->stream, &w);
	if (!c->publish) {
		struct writer buffer = writer_of(bytes, sizeof(bytes));

		write_u16(&buffer, SET_BUFFER);
		write_u32(&buffer, c->stream);
		write_u32(&buffer, BUFFER_MS);
		put_control(
			out, RTMP_CLIENT_CHUNK, CHUNK_USER_CONTROL, bytes, writer_used(&buffer));
	}
}

void rtmp_client_end(const struct rtmp_client *c, struct writer *out)
{
	uint8_t bytes[RTMP_CLIENT_URL_MAX + 128];
	struct writer w = writer_of(bytes, sizeof(bytes));

	amf_write_string(&w, "FCUnpublish");
	amf_write_number(&w, 0);
	amf_write_null(&w);
	amf_write_string(&w, c->name);
	if (c->publish)
		put_command(out, RTMP_CLIENT_CHUNK, 0, &w);
	w = writer_of(bytes, sizeof(bytes));
	amf_write_string(&w, "deleteStream");
	amf_write_number(&w, 0);
	amf_write_null(&w);
	amf_write_number(&w, c->stream);
	put_command(out, RTMP_CLIENT_CHUNK, 0, &w);
}

enum err rtmp_client_put(const struct rtmp_client *c, struct writer *out, uint8_t type,
	uint32_t time_ms, const uint8_t *head, size_t head_size, const void *data, size_t size)
{
	const struct iovec pieces[] = {
		{(void *)(uintptr_t)head, head_size},
		      {(void *)(uintptr_t)data, size	    }
	     };

	return put(out, type == CHUNK_VIDEO ? VIDEO : AUDIO, RTMP_CLIENT_CHUNK, type, c->stream,
		time_ms, pieces, 2);
}

/* ---- begin --------------------------------------------------------------------------------- */

static enum err cut_url(struct rtmp_client *c, const char *url, const char *token)
{
	const char *host = !strncmp(url, "rtmp://", 7)	  ? url + 7
			   : !strncmp(url, "rtmps://", 8) ? url + 8
							  : NULL;
	const char *app = host ? strchr(host, '/') : NULL;
	const char *name = app ? strchr(app + 1, '/') : NULL;
	int length;

	if (!name || name == app + 1 || !name[1])
		return ERR_FORMAT;
	if (strlen(url) > RTMP_CLIENT_URL_MAX)
		return ERR_TOO_LARGE;
	snprintf(c->url, sizeof(c->url), "%.*s", (int)(name - url), url);
	snprintf(c->app, sizeof(c->app), "%.*s", (int)(name - app - 1), app + 1);
	length = snprintf(c->name, sizeof(c->name), "%s%s%s", name + 1,
		!token			? ""
		: strchr(name + 1, '?') ? "&token="
					: "?token=",
		token ? token : "");
	return (size_t)length < sizeof(c->name) ? ERR_OK : ERR_TOO_LARGE;
}

enum err rtmp_client_begin(
	struct rtmp_client *c, const char *url, const char *token, bool publish, struct writer *out)
{
	static const uint8_t c1[HANDSHAKE_PART_SIZE]; /* its filling may be anything, 5.2.3 */
	enum err err;

	*c = (struct rtmp_client){.publish = publish};
	err = cut_url(c, url, token);
	chunk_reader_init(&c->chunks, RTMP_CLIENT_MESSAGE_MAX);
	write_u8(out, 3);
	write_bytes(out, c1, sizeof(c1));
	return err ? err : out->bad ? ERR_NO_SPACE : ERR_OK;
}

/* ---- in ------------------------------------------------------------------------------------ */

/* S0 S1 are kept for C2, which is S1 again; S2 is of no interest. */
static enum err shake(struct rtmp_client *c, struct reader *in, struct writer *out)
{
	while (reader_left(in) && c->shaken < HANDSHAKE_ANSWER_SIZE) {
		bool kept = c->shaken < sizeof(c->answer);
		size_t end = kept ? sizeof(c->answer) : HANDSHAKE_ANSWER_SIZE;
		size_t size = end - c->shaken;

		if (size > reader_left(in))
			size = reader_left(in);
		const uint8_t *bytes = read_bytes(in, size);

		if (kept)
			memcpy(c->answer + c->shaken, bytes, size);
		c->shaken = (uint16_t)(c->shaken + size);
	}
	if (c->shaken && c->answer[0] != 3)
		return ERR_FORMAT;
	if (c->shaken < HANDSHAKE_ANSWER_SIZE)
		return ERR_AGAIN;
	write_bytes(out, c->answer + 1, HANDSHAKE_PART_SIZE);
	say_connect(c, out);
	c->phase = RTMP_CLIENT_CONNECTING;
	return ERR_OK;
}

struct answer {
	char name[32], level[16], code[RTMP_CLIENT_CODE_MAX + 1], text[RTMP_CLIENT_TEXT_MAX + 1];
	uint32_t transaction, number;
};

static void copy_cut(const struct amf_item *item, char *out, size_t size)
{
	size_t length = item->text_size < size - 1 ? item->text_size : size - 1;

	if (item->kind != AMF_STRING)
		return;
	memcpy(out, item->text, length);
	out[length] = '\0';
	for (char *at = out; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
}

static bool read_answer(const struct chunk_message *message, struct answer *a)
{
	struct amf_cursor cursor = amf_cursor_of(message->payload, message->size);
	struct amf_item item;

	*a = (struct answer){0};
	while (amf_next(&cursor, &item)) {
		if (item.argument == 0 && item.depth == 0)
			copy_cut(&item, a->name, sizeof(a->name));
		else if (item.argument == 1 && item.depth == 0)
			a->transaction = amf_to_u32(&item, UINT16_MAX, 0);
		else if (item.argument == 3 && item.depth == 0)
			a->number = amf_to_u32(&item, UINT32_MAX, 0);
		else if (item.argument == 3 && item.depth == 1 && amf_name_is(&item, "level"))
			copy_cut(&item, a->level, sizeof(a->level));
		else if (item.argument == 3 && item.depth == 1 && amf_name_is(&item, "code"))
			copy_cut(&item, a->code, sizeof(a->code));
		else if (item.argument == 3 && item.depth == 1 && amf_name_is(&item, "description"))
			copy_cut(&item, a->text, sizeof(a->text));
	}
	return !cursor.err && a->name[0];
}

static enum err refuse(struct rtmp_client *c)
{
	c->phase = RTMP_CLIENT_REFUSED;
	return ERR_FORBIDDEN;
}

static enum err take_status(struct rtmp_client *c, const struct answer *a)
{
	if (!strcmp(a->level, "error"))
		return refuse(c);
	if (c->phase == RTMP_CLIENT_ASKING &&
		!strcmp(a->code, c->publish ? "NetStream.Publish.Start" : "NetStream.Play.Start"))
		c->phase = RTMP_CLIENT_RUNNING;
	if (c->phase == RTMP_CLIENT_RUNNING &&
		(!strcmp(a->code, "NetStream.Play.UnpublishNotify") ||
			!strcmp(a->code, "NetStream.Play.Stop") ||
			!strcmp(a->code, "NetStream.Unpublish.Success")))
		return ERR_CLOSED;
	return ERR_OK;
}

static enum err take_command(
	struct rtmp_client *c, const struct chunk_message *message, struct writer *out)
{
	struct answer a;

	if (!read_answer(message, &a))
		return ERR_OK; /* what we do not understand is not for us */
	if (a.code[0])
		memcpy(c->code, a.code, sizeof(c->code));
	memcpy(c->text, a.text, sizeof(c->text));
	if (!strcmp(a.name, "_error") && c->phase <= RTMP_CLIENT_ASKING)
		return refuse(c);
	if (!strcmp(a.name, "close"))
		return c->phase < RTMP_CLIENT_RUNNING ? refuse(c) : ERR_CLOSED;
	if (!strcmp(a.name, "_result") && c->phase == RTMP_CLIENT_CONNECTING &&
		a.transaction == CONNECT) {
		c->phase = RTMP_CLIENT_CREATING;
		say_create(out);
	} else if (!strcmp(a.name, "_result") && c->phase == RTMP_CLIENT_CREATING &&
		   a.transaction == CREATE) {
		c->stream = a.number;
		c->phase = RTMP_CLIENT_ASKING;
		say_start(c, out);
	} else if (!strcmp(a.name, "onStatus")) {
		return take_status(c, &a);
	}
	return ERR_OK;
}

static enum err take_control(
	struct rtmp_client *c, const struct chunk_message *message, struct writer *out)
{
	struct reader in = reader_of(message->payload, message->size);
	uint16_t event;

	if (message->type == CHUNK_WINDOW_ACK_SIZE) {
		c->window = (uint32_t)read_be(&in, 4);
	} else if (message->type == CHUNK_USER_CONTROL) {
		uint8_t pong[6] = {0, PONG};

		event = (uint16_t)read_be(&in, 2);
		if (event == STREAM_EOF && c->phase == RTMP_CLIENT_RUNNING && !c->publish)
			return ERR_CLOSED;
		if (event == PING && reader_left(&in) >= 4) {
			memcpy(pong + 2, read_bytes(&in, 4), 4);
			put_control(out, RTMP_CLIENT_CHUNK, CHUNK_USER_CONTROL, pong, sizeof(pong));
		}
	}
	return ERR_OK;
}

static void acknowledge(struct rtmp_client *c, struct writer *out)
{
	uint8_t bytes[4];
	struct writer w = writer_of(bytes, sizeof(bytes));

	if (!c->window || c->taken - c->acknowledged < c->window / 2)
		return;
	c->acknowledged = c->taken;
	write_u32(&w, c->taken);
	put_control(out, RTMP_CLIENT_CHUNK, CHUNK_ACKNOWLEDGEMENT, bytes, sizeof(bytes));
}

enum err rtmp_client_input(struct rtmp_client *c, uint8_t *arena, struct reader *in,
	struct writer *out, struct chunk_message *message)
{
	enum err err = ERR_OK;

	if (c->phase == RTMP_CLIENT_SHAKING)
		err = shake(c, in, out);
	while (!err && (size_t)(out->end - out->at) >= RTMP_CLIENT_OUT_MIN / 2) {
		size_t before = reader_left(in);

		err = chunk_read(&c->chunks, arena, RTMP_CLIENT_ARENA_SIZE, in, message);
		c->taken += (uint32_t)(before - reader_left(in));
		acknowledge(c, out);
		if (err)
			return err;
		switch (message->type) {
		case CHUNK_AUDIO:
		case CHUNK_VIDEO:
		case CHUNK_DATA_AMF0: return ERR_OK;
		case CHUNK_COMMAND_AMF0: err = take_command(c, message, out); break;
		default: err = take_control(c, message, out); break;
		}
	}
	return err ? err : ERR_NO_SPACE;
}

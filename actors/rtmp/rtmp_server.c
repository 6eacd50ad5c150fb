/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine of one RTMP connection, server side. See rtmp_server.h for its states.
 *
 * Every message goes through a table: protocol messages by type, commands by name and the phases
 * that they are legal in. A handler returns ERR_OK when it filled the event, ERR_AGAIN when there
 * is nothing to tell, anything else to end the connection.
 *
 * Room for answers is asked for before input is taken, so a peer that sends without reading stops
 * itself, and no handler needs to undo anything.
 */
#include "actors/rtmp/rtmp_server.h"

#include "actors/rtmp/amf.h"
#include "actors/rtmp/rtmp_reply.h"

#include <stdio.h>

#define PHASE(phase) (1u << (phase))

enum {
	ANY_CONNECTED = PHASE(RTMP_IDLE) | PHASE(RTMP_PUBLISH_ASKED) | PHASE(RTMP_PUBLISHING) |
			PHASE(RTMP_PLAY_ASKED) | PHASE(RTMP_PLAYING),
	ANY_ACTIVE = ANY_CONNECTED & ~PHASE(RTMP_IDLE),
	COMMAND_NAME_MAX = 31,
	APP_TEXT_MAX = NAME_SIZE_MAX + 1 + RTMP_QUERY_MAX + 1, /* "app/?query" */
	WINDOW_SIZE_MIN = 4096, /* a smaller wish would let a peer buy an answer a message */
};

/* A command under way: what its handler may need. */
struct call {
	const struct chunk_message *message;
	struct amf_cursor args; /* after name and transaction id */
	double transaction;
	struct writer *out;
	struct rtmp_event *event;
	int64_t now_us;
};

void rtmp_server_init(
	struct rtmp_server *s, const struct rtmp_config *config, uint64_t seed, int64_t now_us)
{
	*s = (struct rtmp_server){.seed = seed, .last_input_us = now_us};
	if (config)
		s->config = *config;
	if (!s->config.message_max)
		s->config.message_max = RTMP_MESSAGE_MAX;
	if (!s->config.handshake_ms)
		s->config.handshake_ms = RTMP_HANDSHAKE_MS;
	if (!s->config.request_ms)
		s->config.request_ms = RTMP_REQUEST_MS;
	if (!s->config.silence_ms)
		s->config.silence_ms = RTMP_SILENCE_MS;
	s->ack_window = RTMP_WINDOW_SIZE;
	s->deadline_us = now_us + s->config.handshake_ms * INT64_C(1000);
	chunk_reader_init(&s->chunks, s->config.message_max);
}

static bool is_terminated(const char *text, size_t size)
{
	return strnlen(text, size) < size;
}

/* Far enough from the ends that adding a timeout or a timestamp does not overflow. */
static bool is_time(int64_t value)
{
	return value > INT64_MIN / 2 && value < INT64_MAX / 2;
}

bool rtmp_server_is_valid(const struct rtmp_server *s, size_t arena_size)
{
	return arena_size >= RTMP_ARENA_MIN && s->phase < RTMP_PHASE_COUNT &&
	       s->failure < ERR_COUNT && s->streams_created <= RTMP_STREAMS_MAX &&
	       s->time_known <= 1 && s->paused <= 1 && s->ack_window >= WINDOW_SIZE_MIN &&
	       s->bytes_acknowledged <= s->bytes_in && is_time(s->media_ms) &&
	       is_time(s->deadline_us) && is_time(s->last_input_us) &&
	       handshake_is_valid(&s->handshake) && chunk_reader_is_valid(&s->chunks, arena_size) &&
	       is_terminated(s->app, sizeof(s->app)) && is_terminated(s->name, sizeof(s->name)) &&
	       is_terminated(s->query, sizeof(s->query)) &&
	       is_terminated(s->app_query, sizeof(s->app_query)) &&
	       is_terminated(s->error, sizeof(s->error));
}

static enum err fail(struct rtmp_server *s, enum err err, const char *why)
{
	size_t size = strnlen(why, RTMP_ERROR_MAX);

	s->phase = RTMP_CLOSED;
	s->failure = (uint8_t)err;
	memcpy(s->error, why, size);
	s->error[size] = 0;
	return err;
}

static void become_idle(struct rtmp_server *s, int64_t now_us)
{
	s->phase = RTMP_IDLE;
	s->paused = 0;
	s->time_known = 0;
	s->deadline_us = now_us + s->config.request_ms * INT64_C(1000);
}

/* Splits "name?query"; a name may have had a prefix or slash taken off before. */
static bool take_name(
	const char *text, bool is_app, char name[NAME_SIZE_MAX + 1], char query[RTMP_QUERY_MAX + 1])
{
	size_t size = strlen(text);
	size_t query_at = name_query_offset(text, size);
	size_t name_size = query_at < size || (size && text[size - 1] == '?') ? query_at - 1 : size;

	if (is_app && name_size > 0 && text[name_size - 1] == '/')
		name_size--;
	if (!(is_app ? name_app_is_valid : name_is_valid)(text, name_size) ||
		size - query_at > RTMP_QUERY_MAX)
		return false;
	memcpy(name, text, name_size);
	name[name_size] = 0;
	memcpy(query, text + query_at, size - query_at + 1);
	return true;
}

static enum err fill_event(struct rtmp_server *s, struct call *call, enum rtmp_event_type type)
{
	*call->event = (struct rtmp_event){
		.type = type, .app = s->app, .name = s->name, .query = s->query};
	return ERR_OK;
}

/* Where in a connect's command object FourCCs are told (Enhanced RTMP v2). */
enum fourcc_list { NO_FOURCCS, FOURCC_LIST, FOURCC_INFO_MAP };

enum { CAN_DECODE = 1 }; /* FourCcInfoMask */

static enum fourcc_list fourcc_list_of(const struct amf_item *member)
{
	if (amf_name_is(member, "fourCcList"))
		return FOURCC_LIST;
	return amf_name_is(member, "videoFourCcInfoMap") ? FOURCC_INFO_MAP : NO_FOURCCS;
}

static void take_fourcc(struct rtmp_server *s, enum fourcc_list list, const struct amf_item *item)
{
	bool is_list = list == FOURCC_LIST;
	const char *text = is_list ? item->text : item->name;
	size_t size = is_list ? item->text_size : item->name_size;

	if (is_list ? item->kind != AMF_STRING
		    : !(amf_to_u32(item, UINT32_MAX, CAN_DECODE) & CAN_DECODE))
		return;
	if (size == 1 && *text == '*')
		s->fourccs = UINT16_MAX;
	else
		s->fourccs |= (uint16_t)(1 << flv_video_fourcc(text, size));
}

static enum err on_connect(struct rtmp_server *s, struct call *call)
{
	char app[APP_TEXT_MAX + 1] = "";
	enum fourcc_list list = NO_FOURCCS;
	struct amf_item item;
	bool enhanced = false;
	enum err app_err = ERR_OK;

	while (amf_next(&call->args, &item)) {
		if (item.argument == 2 && item.depth == 2 && list)
			take_fourcc(s, list, &item);
		if (item.argument != 2 || item.depth != 1)
			continue;
		list = fourcc_list_of(&item);
		enhanced |= list || amf_name_is(&item, "capsEx");
		if (amf_name_is(&item, "app"))
			app_err = amf_copy_text(&item, app, sizeof(app));
	}
	if (call->args.err)
		return fail(s, call->args.err, "connect: malformed arguments");
	rtmp_reply_control(call->out, CHUNK_WINDOW_ACK_SIZE, RTMP_WINDOW_SIZE);
	rtmp_reply_bandwidth(call->out, RTMP_WINDOW_SIZE);
	rtmp_reply_control(call->out, CHUNK_SET_CHUNK_SIZE, RTMP_REPLY_CHUNK_SIZE);
	if (app_err || !take_name(app, true, s->app, s->app_query)) {
		rtmp_reply_error(call->out, call->transaction, "NetConnection.Connect.Rejected",
			"The application name is not valid.");
		return fail(s, ERR_FORMAT, "connect: application name not valid");
	}
	memcpy(s->query, s->app_query, sizeof(s->query));
	rtmp_reply_connected(call->out, call->transaction, enhanced);
	become_idle(s, call->now_us);
	return fill_event(s, call, RTMP_EVENT_CONNECT);
}

static enum err on_create_stream(struct rtmp_server *s, struct call *call)
{
	if (s->streams_created == RTMP_STREAMS_MAX) {
		rtmp_reply_error(call->out, call->transaction, "NetConnection.Call.Failed",
			"Too many streams.");
		return ERR_AGAIN;
	}
	rtmp_reply_number(call->out, call->transaction, ++s->streams_created);
	return ERR_AGAIN;
}

/* publish and play: (null, name, …). */
static enum err ask(struct rtmp_server *s, struct call *call, bool publish)
{
	static const char prefix[] =
		"mp4:"; /* ffmpeg puts it before names that end in .mp4, .f4v */
	char text[sizeof(prefix) + NAME_SIZE_MAX + 1 + RTMP_QUERY_MAX] = "";
	const char *key = text;
	struct amf_item item;
	enum err err = ERR_FORMAT;

	while (amf_next(&call->args, &item)) {
		if (item.argument == 3 && item.depth == 0)
			err = amf_copy_text(&item, text, sizeof(text));
	}
	if (call->args.err)
		return fail(s, call->args.err, "publish or play: malformed arguments");
	if (strncmp(text, prefix, strlen(prefix)) == 0)
		key += strlen(prefix);
	memcpy(s->query, s->app_query, sizeof(s->query));
	if (err || !take_name(key, false, s->name, s->query)) {
		rtmp_reply_status(call->out, call->message->stream, "error",
			publish ? "NetStream.Publish.BadName" : "NetStream.Play.Failed",
			"The stream name is not valid.");
		return ERR_AGAIN;
	}
	if (!s->query[0])
		memcpy(s->query, s->app_query, sizeof(s->query));
	s->stream = call->message->stream;
	s->phase = publish ? RTMP_PUBLISH_ASKED : RTMP_PLAY_ASKED;
	return fill_event(s, call, publish ? RTMP_EVENT_PUBLISH : RTMP_EVENT_PLAY);
}

static enum err on_publish(struct rtmp_server *s, struct call *call)
{
	return ask(s, call, true);
}

static enum err on_play(struct rtmp_server *s, struct call *call)
{
	return ask(s, call, false);
}

static enum err on_close_stream(struct rtmp_server *s, struct call *call)
{
	if (s->phase == RTMP_PUBLISHING)
		rtmp_reply_status(call->out, s->stream, "status", "NetStream.Unpublish.Success",
			"The stream is not published any more.");
	else
		rtmp_reply_status(
			call->out, s->stream, "status", "NetStream.Play.Stop", "Stopped.");
	become_idle(s, call->now_us);
	return fill_event(s, call, RTMP_EVENT_STOP);
}

/* deleteStream: (null, stream id). Another stream's end is none of ours. */
static enum err on_delete_stream(struct rtmp_server *s, struct call *call)
{
	struct amf_item item;
	uint32_t stream = s->stream;

	while (amf_next(&call->args, &item)) {
		if (item.argument == 3 && item.depth == 0)
			stream = amf_to_u32(&item, UINT32_MAX, s->stream);
	}
	if (stream != s->stream)
		return ERR_AGAIN;
	return on_close_stream(s, call);
}

static enum err on_pause(struct rtmp_server *s, struct call *call)
{
	struct amf_item item;
	bool paused = !s->paused;

	while (amf_next(&call->args, &item)) {
		if (item.argument == 3 && item.kind == AMF_BOOLEAN)
			paused = item.number != 0;
	}
	s->paused = paused;
	rtmp_reply_status(call->out, s->stream, "status",
		paused ? "NetStream.Pause.Notify" : "NetStream.Unpause.Notify",
		paused ? "Paused." : "Goes on.");
	return fill_event(s, call, RTMP_EVENT_PAUSE);
}

/* A live stream has no other place to go to: playing goes on, and the client hears that its wish was
 * answered (some wait for that). */
static enum err on_seek(struct rtmp_server *s, struct call *call)
{
	rtmp_reply_status(call->out, s->stream, "status", "NetStream.Seek.Notify",
		"This stream is live: playing goes on.");
	return ERR_AGAIN;
}

static enum err on_play2(__attribute__((unused)) struct rtmp_server *s, struct call *call)
{
	rtmp_reply_status(call->out, call->message->stream, "error", "NetStream.Play.Failed",
		"Streams are not switched; play the other one instead.");
	return ERR_AGAIN;
}

static enum err on_fc_publish(__attribute__((unused)) struct rtmp_server *s, struct call *call)
{
	rtmp_reply_done(call->out, call->transaction);
	rtmp_reply_notice(call->out, "onFCPublish", "NetStream.Publish.Start", "Go on.");
	return ERR_AGAIN;
}

/* No answer: the client closes its socket right after, and unread bytes in it would make that a
 * reset that destroys what it sent last. deleteStream, which follows, is what ends publishing. */
static enum err on_fc_unpublish(
	__attribute__((unused)) struct rtmp_server *s, __attribute__((unused)) struct call *call)
{
	return ERR_AGAIN;
}

static enum err on_stream_length(__attribute__((unused)) struct rtmp_server *s, struct call *call)
{
	rtmp_reply_number(call->out, call->transaction, 0); /* live: no length */
	return ERR_AGAIN;
}

static enum err on_done(__attribute__((unused)) struct rtmp_server *s, struct call *call)
{
	if (call->transaction != 0)
		rtmp_reply_done(call->out, call->transaction);
	return ERR_AGAIN;
}

static const struct command {
	const char *name;
	enum err (*run)(struct rtmp_server *s, struct call *call);
	unsigned legal; /* phases */
	bool strict;	/* in another phase the client is confused: the connection ends */
} commands[] = {
	/* clang-format off */
	{"connect",          on_connect,       PHASE(RTMP_CONNECT), true},
	{"createStream",     on_create_stream, ANY_CONNECTED,       true},
	{"publish",          on_publish,       PHASE(RTMP_IDLE),    true},
	{"play",             on_play,          PHASE(RTMP_IDLE),    true},
	{"play2",            on_play2,         ANY_CONNECTED,       false},
	{"pause",            on_pause,         PHASE(RTMP_PLAYING), false},
	{"seek",             on_seek,          PHASE(RTMP_PLAYING), false},
	{"deleteStream",     on_delete_stream, ANY_ACTIVE,          false},
	{"closeStream",      on_close_stream,  ANY_ACTIVE,          false},
	{"releaseStream",    on_done,          ANY_CONNECTED,       false},
	{"FCPublish",        on_fc_publish,    ANY_CONNECTED,       false},
	{"FCUnpublish",      on_fc_unpublish,  ANY_CONNECTED,       false},
	{"FCSubscribe",      on_done,          ANY_CONNECTED,       false},
	{"_checkbw",         on_done,          ANY_CONNECTED,       false},
	{"getStreamLength",  on_stream_length, ANY_CONNECTED,       false},
	{"receiveAudio",     on_done,          ANY_CONNECTED,       false},
	{"receiveVideo",     on_done,          ANY_CONNECTED,       false},
	/* clang-format on */
};

static const struct command *find_command(const struct amf_item *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (amf_text_is(name, commands[i].name))
			return &commands[i];
	}
	return NULL;
}

/* "name" in texts for people, without what could spoil a log. */
static enum err fail_command(struct rtmp_server *s, const char *name, const char *why)
{
	char text[COMMAND_NAME_MAX + RTMP_ERROR_MAX + 1];

	snprintf(text, sizeof(text), "%s: %s", name, why);
	return fail(s, ERR_PHASE, text);
}

/* Skips the byte that AMF3 messages begin with: their values are AMF0 until a switch marker. */
static void skip_amf3_byte(struct amf_cursor *args, uint8_t type)
{
	bool amf3 = type == CHUNK_COMMAND_AMF3 || type == CHUNK_DATA_AMF3;

	if (amf3 && reader_left(&args->in) > 0 && *args->in.at == 0)
		read_u8(&args->in);
}

static enum err on_command(struct rtmp_server *s, struct call *call)
{
	struct amf_item name, transaction;

	skip_amf3_byte(&call->args, call->message->type);
	if (!amf_next(&call->args, &name) || name.kind != AMF_STRING)
		return fail(s, ERR_FORMAT, "command without a name");
	/* closeStream and their like come without anything else from some clients. */
	if (amf_next(&call->args, &transaction) && transaction.kind == AMF_NUMBER)
		call->transaction = transaction.number;
	const struct command *command = find_command(&name);
	if (s->phase == RTMP_CONNECT && (!command || command->run != on_connect))
		return fail_command(s, command ? command->name : "command", "before connect");
	if (!command) {
		/* _result and onStatus answer nothing of ours; a call deserves an answer. */
		s->unsupported++;
		if (call->transaction != 0 && name.text_size > 0 && name.text[0] != '_')
			rtmp_reply_error(call->out, call->transaction, "NetConnection.Call.Failed",
				"No such method.");
		return ERR_AGAIN;
	}
	if (command->legal & PHASE(s->phase))
		return command->run(s, call);
	if (command->strict)
		return fail_command(s, command->name, "not legal now");
	s->dropped++;
	return ERR_AGAIN;
}

static enum err on_data(struct rtmp_server *s, struct call *call)
{
	const struct chunk_message *m = call->message;
	const uint8_t *body = m->payload;
	size_t size = m->size;
	struct flv_metadata metadata;

	if (m->type == CHUNK_DATA_AMF3 && size > 0 && body[0] == 0) {
		body++;
		size--;
	}
	enum err err = flv_metadata_parse(body, size, &metadata);
	if (err == ERR_NOT_FOUND)
		return ERR_AGAIN;
	if (err) {
		s->malformed++;
		return ERR_AGAIN;
	}
	fill_event(s, call, RTMP_EVENT_METADATA);
	call->event->metadata = metadata;
	return ERR_OK;
}

static enum err on_media(struct rtmp_server *s, struct call *call)
{
	const struct chunk_message *m = call->message;
	bool is_video = m->type == CHUNK_VIDEO;
	struct rtmp_event *event = call->event;
	enum err err;

	if (m->size == 0) /* encoders send empty audio as a sign of life */
		return ERR_AGAIN;
	fill_event(s, call, is_video ? RTMP_EVENT_VIDEO : RTMP_EVENT_AUDIO);
	if (is_video) {
		s->video_messages++;
		err = flv_video_parse(m->payload, m->size, &event->video);
	} else {
		s->audio_messages++;
		err = flv_audio_parse(m->payload, m->size, &event->audio);
	}
	if (err == ERR_FORMAT) {
		s->malformed++;
		return ERR_AGAIN;
	}
	if (err) {
		s->unsupported++;
		event->type = RTMP_EVENT_UNSUPPORTED;
		event->err = err;
		event->is_video = is_video;
	}
	s->media_ms = flv_time_unwrap(s->time_known ? s->media_ms : m->time_ms, m->time_ms);
	s->time_known = 1;
	event->time_ms = s->media_ms;
	event->body = m->payload;
	event->body_size = m->size;
	return ERR_OK;
}

bool rtmp_server_media_again(const struct rtmp_server *s, enum rtmp_event_type type,
	int64_t time_ms, const uint8_t *body, size_t size, struct rtmp_event *event)
{
	*event = (struct rtmp_event){.type = type,
		.app = s->app,
		.name = s->name,
		.query = s->query,
		.time_ms = time_ms,
		.body = body,
		.body_size = size};
	if (type == RTMP_EVENT_VIDEO)
		return flv_video_parse(body, size, &event->video) == ERR_OK;
	return type == RTMP_EVENT_AUDIO && flv_audio_parse(body, size, &event->audio) == ERR_OK;
}

static enum err on_user_control(struct rtmp_server *s, struct call *call)
{
	struct reader r = reader_of(call->message->payload, call->message->size);
	uint16_t event = read_u16(&r);
	uint32_t value = read_u32(&r);

	if (r.bad)
		s->malformed++;
	else if (event == RTMP_USER_PING_REQUEST)
		rtmp_reply_user(call->out, RTMP_USER_PING_RESPONSE, value);
	return ERR_AGAIN;
}

static enum err on_window_size(struct rtmp_server *s, struct call *call)
{
	struct reader r = reader_of(call->message->payload, call->message->size);
	uint32_t value = read_u32(&r);

	if (r.bad)
		s->malformed++;
	else
		s->ack_window = value < WINDOW_SIZE_MIN ? WINDOW_SIZE_MIN : value;
	return ERR_AGAIN;
}

/* Our window is for the peer to fill; what it acknowledges or allows changes nothing: TCP paces. */
static enum err on_ignored(
	__attribute__((unused)) struct rtmp_server *s, __attribute__((unused)) struct call *call)
{
	return ERR_AGAIN;
}

static const struct message_row {
	uint8_t type;
	enum err (*run)(struct rtmp_server *s, struct call *call);
	unsigned legal; /* phases; in others the message is dropped */
	uint32_t size_max;
} message_rows[] = {
	/* clang-format off */
	{CHUNK_ACKNOWLEDGEMENT,    on_ignored,      ~0u,                    CHUNK_MESSAGE_MAX},
	{CHUNK_USER_CONTROL,       on_user_control, ~0u,                    CHUNK_MESSAGE_MAX},
	{CHUNK_WINDOW_ACK_SIZE,    on_window_size,  ~0u,                    CHUNK_MESSAGE_MAX},
	{CHUNK_SET_PEER_BANDWIDTH, on_ignored,      ~0u,                    CHUNK_MESSAGE_MAX},
	{CHUNK_AUDIO,              on_media,        PHASE(RTMP_PUBLISHING), CHUNK_MESSAGE_MAX},
	{CHUNK_VIDEO,              on_media,        PHASE(RTMP_PUBLISHING), CHUNK_MESSAGE_MAX},
	{CHUNK_DATA_AMF0,          on_data,         PHASE(RTMP_PUBLISHING), RTMP_AMF_MAX},
	{CHUNK_DATA_AMF3,          on_data,         PHASE(RTMP_PUBLISHING), RTMP_AMF_MAX},
	{CHUNK_COMMAND_AMF0,       on_command,      ~0u,                    RTMP_AMF_MAX},
	{CHUNK_COMMAND_AMF3,       on_command,      ~0u,                    RTMP_AMF_MAX},
	/* clang-format on */
};

static enum err on_message(struct rtmp_server *s, struct call *call)
{
	for (size_t i = 0; i < sizeof(message_rows) / sizeof(message_rows[0]); i++) {
		const struct message_row *row = &message_rows[i];

		if (row->type != call->message->type)
			continue;
		if (!(row->legal & PHASE(s->phase)) || call->message->size > row->size_max) {
			s->dropped++;
			return ERR_AGAIN;
		}
		return row->run(s, call);
	}
	s->unsupported++;
	return ERR_AGAIN;
}

static enum err read_handshake(struct rtmp_server *s, uint8_t *arena, struct reader *in,
	struct writer *out, int64_t now_us)
{
	enum err err =
		handshake_read(&s->handshake, arena, in, out, s->seed, (uint32_t)(now_us / 1000));

	if (err == ERR_UNSUPPORTED)
		return fail(s, err, "handshake: not RTMP");
	if (err && err != ERR_AGAIN && err != ERR_NO_SPACE)
		return fail(s, err, "handshake: cannot be answered");
	if (!err)
		s->phase = RTMP_CONNECT;
	return err;
}

/* Section 5.4.3. */
static void acknowledge(struct rtmp_server *s, struct writer *out)
{
	if (s->bytes_in - s->bytes_acknowledged < s->ack_window)
		return;
	rtmp_reply_control(out, CHUNK_ACKNOWLEDGEMENT, (uint32_t)s->bytes_in);
	s->bytes_acknowledged = s->bytes_in;
}

static enum err read_message(struct rtmp_server *s, uint8_t *arena, size_t arena_size,
	struct reader *in, struct chunk_message *message)
{
	const uint8_t *begin = in->at;
	enum err err = chunk_read(&s->chunks, arena, arena_size, in, message);

	s->bytes_in += (size_t)(in->at - begin);
	switch (err) {
	case ERR_OK:
	case ERR_AGAIN: return err;
	case ERR_TOO_LARGE: return fail(s, err, "message larger than its bound");
	case ERR_LIMIT: return fail(s, err, "too many chunk streams or partial messages");
	default: return fail(s, err, "malformed chunk");
	}
}

enum err rtmp_server_input(struct rtmp_server *s, uint8_t *arena, size_t arena_size,
	struct reader *in, struct writer *out, int64_t now_us, struct rtmp_event *event)
{
	MUST(arena_size >= RTMP_ARENA_MIN);
	if (reader_left(in) > 0)
		s->last_input_us = now_us;
	for (;;) {
		if (s->phase == RTMP_CLOSED)
			return s->failure ? (enum err)s->failure : ERR_CLOSED;
		if (s->phase == RTMP_PUBLISH_ASKED || s->phase == RTMP_PLAY_ASKED)
			return ERR_BUSY;
		if (writer_left(out) < RTMP_OUT_MIN)
			return ERR_NO_SPACE;
		if (s->phase == RTMP_HANDSHAKE) {
			enum err err = read_handshake(s, arena, in, out, now_us);
			if (err)
				return err;
			continue;
		}
		struct chunk_message message;
		enum err err = read_message(s, arena, arena_size, in, &message);
		if (s->phase != RTMP_CLOSED)
			acknowledge(s, out);
		if (err)
			return err;
		struct call call = {
			.message = &message,
			.args = amf_cursor_of(message.payload, message.size),
			.out = out,
			.event = event,
			.now_us = now_us,
		};
		err = on_message(s, &call);
		MUST(!out->bad);
		if (err != ERR_AGAIN)
			return err;
	}
}

enum err rtmp_server_accept(struct rtmp_server *s, struct writer *out, const char *resume)
{
	if (s->phase != RTMP_PUBLISH_ASKED && s->phase != RTMP_PLAY_ASKED)
		return ERR_PHASE;
	if (writer_left(out) < RTMP_OUT_MIN)
		return ERR_NO_SPACE;
	rtmp_reply_user(out, RTMP_USER_STREAM_BEGIN, s->stream);
	if (s->phase == RTMP_PUBLISH_ASKED) {
		rtmp_reply_published(out, s->stream, resume);
		s->phase = RTMP_PUBLISHING;
		return ERR_OK;
	}
	rtmp_reply_status(
		out, s->stream, "status", "NetStream.Play.Reset", "The play list is reset.");
	rtmp_reply_status(out, s->stream, "status", "NetStream.Play.Start", "Playing has started.");
	rtmp_reply_sample_access(out, s->stream);
	s->phase = RTMP_PLAYING;
	return ERR_OK;
}

enum err rtmp_server_reject(struct rtmp_server *s, struct writer *out, int64_t now_us,
	const char *code, const char *text)
{
	char whole[64];

	if (s->phase != RTMP_PUBLISH_ASKED && s->phase != RTMP_PLAY_ASKED)
		return ERR_PHASE;
	if (writer_left(out) < RTMP_OUT_MIN)
		return ERR_NO_SPACE;
	snprintf(whole, sizeof(whole), "NetStream.%s.%s",
		s->phase == RTMP_PUBLISH_ASKED ? "Publish" : "Play", code);
	rtmp_reply_status(out, s->stream, "error", whole, text);
	become_idle(s, now_us);
	return ERR_OK;
}

enum err rtmp_server_stop(
	struct rtmp_server *s, struct writer *out, int64_t now_us, const char *text)
{
	if (s->phase != RTMP_PUBLISHING && s->phase != RTMP_PLAYING)
		return ERR_PHASE;
	if (writer_left(out) < RTMP_OUT_MIN)
		return ERR_NO_SPACE;
	if (s->phase == RTMP_PLAYING) {
		rtmp_reply_user(out, RTMP_USER_STREAM_EOF, s->stream);
		rtmp_reply_status(out, s->stream, "status", "NetStream.Play.UnpublishNotify", text);
		rtmp_reply_status(out, s->stream, "status", "NetStream.Play.Stop", text);
	} else {
		rtmp_reply_status(out, s->stream, "error", "NetStream.Publish.Denied", text);
	}
	become_idle(s, now_us);
	return ERR_OK;
}

bool rtmp_server_takes_video(const struct rtmp_server *s, enum media_codec codec)
{
	return codec == MEDIA_CODEC_NONE || codec == MEDIA_H264 || (s->fourccs & 1 << codec);
}

enum err rtmp_server_ping(struct rtmp_server *s, struct writer *out, int64_t now_us)
{
	if (!(PHASE(s->phase) & ANY_CONNECTED))
		return ERR_PHASE;
	if (writer_left(out) < RTMP_OUT_MIN)
		return ERR_NO_SPACE;
	rtmp_reply_user(out, RTMP_USER_PING_REQUEST, (uint32_t)(now_us / 1000));
	return ERR_OK;
}

int64_t rtmp_server_deadline(const struct rtmp_server *s)
{
	switch (s->phase) {
	case RTMP_HANDSHAKE:
	case RTMP_CONNECT:
	case RTMP_IDLE: return s->deadline_us;
	case RTMP_PUBLISHING: return s->last_input_us + s->config.silence_ms * INT64_C(1000);
	default: return RTMP_NO_DEADLINE;
	}
}

enum err rtmp_server_tick(struct rtmp_server *s, int64_t now_us)
{
	static const char *const texts[RTMP_PHASE_COUNT] = {
		[RTMP_HANDSHAKE] = "handshake took too long",
		[RTMP_CONNECT] = "no connect command in time",
		[RTMP_IDLE] = "neither publish nor play in time",
		[RTMP_PUBLISHING] = "publisher is silent",
	};

	if (now_us < rtmp_server_deadline(s))
		return ERR_OK;
	MUST(texts[s->phase]);
	return fail(s, ERR_TIMEOUT, texts[s->phase]);
}

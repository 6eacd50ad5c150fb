/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that became a WebSocket: reading, control frames, and the uses that are not media.
 *
 *   flv   the viewer of http_flv.c, each tag a binary message; what the client says is ignored
 *   live  what the node looks like, as JSON, for the console page
 *   repl  a command is a text message, and so is its answer (http_repl.c)
 *   signal  binary messages to and from a channel (http_signal.c)
 *
 * live: the connection asks the board for what is newer than what it has sent, and asks again
 * when that is out. So a page that is slow misses updates, the next one it gets makes up for all of
 * them, and nothing is ever queued for it.
 *
 * Nothing is written in the middle of a message: control frames wait for its end.
 */
#include "actors/http/http_internal.h"

#include <stdio.h>

enum {
	BOARD_WAIT_MS = 5000, /* longest the board keeps a question */
	BOARD_AGAIN_MS = 500, /* when it does not answer: the control process is being replaced */
	PING_MS = 20000,
};

/* ---- becoming one ---------------------------------------------------------------------------- */

bool http_socket_is_asked(const struct http_call *call)
{
	return call->request.upgrade &&
	       http_text_has(call->request.headers[HTTP_HEADER_UPGRADE], "websocket");
}

bool http_socket_check(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	const char *why;
	int status = ws_check_handshake(&call->request, &why);

	if (status != 101)
		http_problem(self, s, status, NULL, why, 0);
	return status == 101;
}

/* Who offers a protocol wants to hear one of those offered, or hangs up (RFC 6455 4.1). */
static const char *choose_protocol(const struct http_request *request)
{
	return http_text_has(
		       request->headers[HTTP_HEADER_SEC_WEBSOCKET_PROTOCOL], HTTP_SOCKET_PROTOCOL)
		       ? HTTP_SOCKET_PROTOCOL
		       : NULL;
}

bool http_socket_open(struct actor *self, struct http_connection *s, const struct http_call *call,
	enum http_socket_use use)
{
	struct http_slot *slot = http_slot_of(self, s);
	struct http_reply reply = {.status = 101, .kind = HTTP_RESPONSE_UPGRADE};
	const char *protocol = choose_protocol(&call->request);
	char accept[WS_ACCEPT_SIZE];

	if (!slot)
		return false;
	/* RFC 6455 4.1: a client sends nothing before it has the answer */
	if (slot->conn.filled > slot->conn.head_size + slot->conn.body_size) {
		http_problem(
			self, s, 400, NULL, "a client waits for the answer to its handshake", 0);
		return false;
	}
	ws_accept(&call->request, accept);
	http_add_field(&reply, "Upgrade", "websocket");
	http_add_field(&reply, "Sec-WebSocket-Accept", accept);
	if (protocol)
		http_add_field(&reply, "Sec-WebSocket-Protocol", protocol);
	http_send(self, s, &reply);
	if (slot->conn.phase != HTTP_PHASE_UPGRADED)
		return false;
	slot->socket = (struct http_socket){
		.use = (uint8_t)use, .heard = true, .used = slot->taken, .raw_from = slot->taken};
	http_take_name(self, s, slot);
	return true;
}

void http_socket_begin(struct actor *self, struct http_connection *s, const struct http_call *call,
	enum http_socket_use use)
{
	if (!http_socket_open(self, s, call, use))
		return;
	s->readable = true;
	actor_become(self, HTTP_SOCKET);
	actor_timer_in_ms(self, HTTP_TIMER_PING, PING_MS);
}

void http_socket_get(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	bool repl = call->match.route->handler == HTTP_HANDLER_API_REPL;

	if (http_socket_check(self, s, call))
		http_socket_begin(self, s, call, repl ? HTTP_SOCKET_REPL : HTTP_SOCKET_LIVE);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Appends a frame to the output: to a viewer's only when that is empty, and in its own slot, where a
 * successor finds it. False: there is no room for it. */
static bool put_frame(struct actor *self, struct http_connection *s, struct http_slot *slot,
	enum ws_opcode opcode, const void *bytes, size_t size)
{
	bool viewer = slot->socket.use == HTTP_SOCKET_FLV;
	struct http_buffer *buffer = viewer ? NULL : http_need_buffer(self, s);
	uint8_t *output = viewer ? slot->socket.frame : buffer ? buffer->output : NULL;
	size_t room = viewer ? sizeof(slot->socket.frame) : buffer ? sizeof(buffer->output) : 0;
	uint8_t head[WS_HEAD_MAX];
	size_t head_size = ws_head(opcode, size, head);

	if (head_size + size > room - slot->out_size)
		return false;
	memcpy(output + slot->out_size, head, head_size);
	if (size)
		memcpy(output + slot->out_size + head_size, bytes, size);
	slot->out_frame = viewer;
	arena_step();
	slot->out_size += (uint32_t)(head_size + size);
	arena_step();
	return true;
}

void http_socket_write(struct actor *self, struct http_connection *s, enum ws_opcode opcode,
	const void *bytes, size_t size)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (slot && !put_frame(self, s, slot, opcode, bytes, size))
		actor_stop(self, ERR_LIMIT);
}

size_t http_socket_unsent(struct actor *self, const struct http_connection *s)
{
	const struct http_slot *slot = http_slot_of(self, s);

	return slot ? http_unsent(slot) : 0;
}

static bool may_write(const struct http_slot *slot)
{
	return slot->socket.use != HTTP_SOCKET_FLV || !flv_view_is_inside(&slot->view);
}

/* True when a control frame was put into the output. */
static bool put_control(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	struct http_socket *socket = &slot->socket;
	bool put = false;

	if (!may_write(slot))
		return false;
	if (socket->pong_owed)
		put = put_frame(self, s, slot, WS_PONG, socket->pong, socket->pong_size);
	if (socket->ping_owed)
		put = put_frame(self, s, slot, WS_PING, NULL, 0) || put;
	socket->pong_owed = socket->ping_owed = false;
	return put;
}

void http_socket_farewell(struct actor *self, struct http_connection *s, enum err reason)
{
	struct http_slot *slot = http_slot_of(self, s);
	uint8_t frame[4];
	uint16_t status;

	if (!slot || !slot->socket.use || s->orphaned || s->blocked || http_unsent(slot) ||
		!may_write(slot))
		return;
	status = slot->socket.ws.closed ? slot->socket.ws.status
		 : s->ending		? WS_STATUS_GOING_AWAY
		 : reason		? WS_STATUS_INTERNAL
					: WS_STATUS_NORMAL;
	struct iovec part = {frame, ws_close_frame(status, frame)};

	net_write(self, s->st.socket, &part, 1);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void take_message(struct actor *self, struct http_connection *s, struct http_socket *socket,
	const struct ws_room *room)
{
	size_t size = socket->ws.message_size;

	if (socket->use == HTTP_SOCKET_REPL)
		http_repl_message(self, s, &socket->repl, room->message, size);
	else if (socket->use == HTTP_SOCKET_SIGNAL)
		http_signal_message(self, s, &socket->signal, room->message, size, socket->ws.text);
}

static void take_event(struct actor *self, struct http_connection *s, struct http_socket *socket,
	const struct ws_room *room, enum ws_event event)
{
	const struct ws *ws = &socket->ws;

	switch (event) {
	case WS_EVENT_MORE:
	case WS_EVENT_PONG: break;
	case WS_EVENT_PING: /* only the last one need be answered (RFC 6455 5.5.3) */
		memcpy(socket->pong, ws->control, ws->control_size);
		socket->pong_size = ws->control_size;
		socket->pong_owed = true;
		break;
	case WS_EVENT_MESSAGE: take_message(self, s, socket, room); break;
	case WS_EVENT_FAULT:
		log_info(actor_log(self), "websocket_fault", "peer", s->st.peer, "status",
			(unsigned)ws->status);
		actor_stop(self, ERR_FORMAT);
		break;
	case WS_EVENT_CLOSE: actor_stop(self, ERR_OK); break;
	}
}

/* A command waits for the answer to the one before it, and what comes behind it waits too; so does
 * what comes before the channel is there. */
static bool takes_input(const struct http_connection *s, const struct http_socket *socket)
{
	bool in_turn = socket->use == HTTP_SOCKET_REPL || socket->use == HTTP_SOCKET_SIGNAL;

	return !socket->ws.closed && !(in_turn && s->st.request);
}

/* Signalling carries whole SDPs: gathered in the buffer, which is held while one is not whole. */
static size_t message_max(const struct http_socket *socket)
{
	return socket->use == HTTP_SOCKET_SIGNAL ? SIGNAL_FRAME_MAX : HTTP_SOCKET_MESSAGE_MAX;
}

_Static_assert((int)SIGNAL_FRAME_MAX <= (int)HTTP_BUFFER_SIZE, "a message fits the input");

static bool find_room(struct actor *self, struct http_connection *s, struct http_socket *socket,
	struct ws_room *room)
{
	struct http_buffer *buffer;

	*room = (struct ws_room){socket->message, message_max(socket)};
	if (socket->use != HTTP_SOCKET_SIGNAL)
		return true;
	buffer = http_need_buffer(self, s);
	if (buffer)
		room->message = buffer->input;
	else
		actor_stop(self, ERR_LIMIT);
	return buffer != NULL;
}

bool http_socket_needs_buffer(const struct http_socket *socket)
{
	return socket->use == HTTP_SOCKET_SIGNAL && socket->ws.gathering && !socket->ws.given;
}

/* What is read lies in `raw` before it is counted: a successor hears of it from the socket. */
static long read_raw(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	struct http_socket *socket = &slot->socket;
	long size;

	socket->raw_from = slot->taken;
	arena_step();
	size = net_read(self, s->st.socket, socket->raw, sizeof(socket->raw));
	if (size > 0) {
		slot->taken += (uint64_t)size;
		socket->heard = true;
	}
	return size;
}

/* Takes some of what was read. A successor of one that dies at it takes it again. */
static void take_raw(struct actor *self, struct http_connection *s, struct http_slot *slot,
	const struct ws_room *room)
{
	struct http_socket *socket = &slot->socket;
	enum ws_event event;

	socket->ws_was = socket->ws;
	socket->used_was = socket->used;
	arena_step();
	socket->taking = true;
	arena_step();
	socket->used += ws_take(&socket->ws, room, socket->raw + (socket->used - socket->raw_from),
		(size_t)(slot->taken - socket->used), &event);
	take_event(self, s, socket, room, event);
	arena_step();
	socket->taking = false;
}

void http_socket_recover(struct http_socket *socket)
{
	if (!socket->taking)
		return;
	socket->ws = socket->ws_was;
	socket->used = socket->used_was;
	arena_step();
	socket->taking = false;
}

/* False when the connection has ended. */
static bool read_socket(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	struct http_socket *socket = &slot->socket;
	struct ws_room room;

	while (takes_input(s, socket)) {
		if (socket->used == slot->taken) {
			long size = s->readable ? read_raw(self, s, slot) : -1;

			if (size == -1) {
				s->readable = false;
				return true;
			}
			if (size <= 0) {
				actor_stop(self, size ? ERR_CLOSED : ERR_OK);
				return false;
			}
		}
		if (!find_room(self, s, socket, &room))
			return false;
		take_raw(self, s, slot, &room);
	}
	return !socket->ws.closed;
}

/* ---- what is new ----------------------------------------------------------------------------- */

static void ask_board(struct actor *self, struct http_connection *s, struct http_socket *socket)
{
	struct msg_board_next next = {.epoch = socket->epoch, .seen = socket->seen};

	s->st.ask = HTTP_ASK_BOARD;
	s->st.request = actor_request_mail(self, actor_office(self, OFFICE_BOARD), BOARD_WAIT_MS,
		MSG_board_next, &schema_board_next, &next);
}

void http_socket_updated(
	struct actor *self, struct http_connection *s, const struct msg_board_update *m)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (!slot || slot->socket.use != HTTP_SOCKET_LIVE)
		return;
	slot->socket.epoch = m->epoch;
	slot->socket.seen = m->seq;
	http_socket_write(self, s, WS_TEXT, m->json.data, m->json.size);
}

void http_socket_failed(struct actor *self, struct http_connection *s)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (slot && slot->socket.use == HTTP_SOCKET_REPL) {
		http_repl_failed(self, s);
	} else if (slot) {
		slot->socket.resting = true;
		actor_timer_in_ms(self, HTTP_TIMER_ASK, BOARD_AGAIN_MS);
	}
}

/* ---- turns ----------------------------------------------------------------------------------- */

enum http_turn http_socket_turn(
	struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	struct http_socket *socket = &slot->socket;

	if (!read_socket(self, s, slot))
		return HTTP_TURN_ENDED;
	if (put_control(self, s, slot) || http_socket_unsent(self, s))
		return HTTP_TURN_WROTE;
	/* signalling ends with its channel, which has something to say first */
	if (s->ending && socket->use != HTTP_SOCKET_FLV &&
		!(socket->use == HTTP_SOCKET_SIGNAL && socket->signal.attached)) {
		actor_stop(self, ERR_OK);
		return HTTP_TURN_ENDED;
	}
	if (socket->use == HTTP_SOCKET_LIVE && !s->st.request && !socket->resting)
		ask_board(self, s, socket);
	if (socket->use != HTTP_SOCKET_FLV)
		net_want(self, s->st.socket, takes_input(s, socket) ? NET_READABLE : 0);
	return HTTP_TURN_IDLE;
}

void http_socket_ping(struct actor *self, struct http_connection *s)
{
	struct http_slot *slot = http_slot_of(self, s);

	bool silent =
		slot && slot->socket.use == HTTP_SOCKET_SIGNAL && !slot->socket.signal.attached;

	if (!slot || !slot->socket.heard || silent) {
		actor_stop(self, ERR_TIMEOUT);
		return;
	}
	slot->socket.heard = false;
	slot->socket.ping_owed = true;
	actor_timer_in_ms(self, HTTP_TIMER_PING, PING_MS);
}

bool http_socket_is_valid(const struct http_slot *slot)
{
	const struct http_socket *socket = &slot->socket;

	if (socket->use && (socket->raw_from > socket->used || socket->used > slot->taken ||
				   slot->taken - socket->raw_from > HTTP_SOCKET_RAW))
		return false;
	return socket->use < HTTP_SOCKET_USES && ws_is_valid(&socket->ws, message_max(socket)) &&
	       memchr(socket->signal.secret, 0, sizeof(socket->signal.secret)) &&
	       socket->pong_size <= WS_CONTROL_MAX;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * http_connection: one TCP connection of a client.
 *
 *   open --request for another actor--> asking --answer--> open
 *     |--WebSocket of the page--> socket   | '--flv_opened--> streaming --stream ends--> (ends)
 *     |                                   '--client gone--> abandoned --answer undone--> (ends)
 *     '--closed, idle, stuck--> (ends)
 *
 * Owns its socket, one ARENA_SESSION slot for as long as it lives, and one ARENA_BUFFER slot while
 * bytes of a request or a response are there. One request at a time: the next one is read when the
 * response before it is out, so that neither direction ever holds more than its buffer.
 */
#include "actors/http/http_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum {
	HTTP_ROUNDS = 16, /* requests served in one go */
	STATISTICS_MS = 1000,
	HTTP_ANY = HTTP_OPEN | HTTP_ASKING | HTTP_STREAMING | HTTP_ABANDONED | HTTP_SOCKET,
};

struct http_slot *http_slot_of(struct actor *self, const struct http_connection *s)
{
	return arena_get(actor_arena(self), ARENA_SESSION,
		(struct slot_ref){s->st.slot_index, s->st.slot_generation});
}

struct http_buffer *http_buffer_of(struct actor *self, const struct http_connection *s)
{
	return arena_get(actor_arena(self), ARENA_BUFFER,
		(struct slot_ref){s->st.buffer_index, s->st.buffer_generation});
}

struct http_buffer *http_need_buffer(struct actor *self, struct http_connection *s)
{
	if (!s->st.buffer_generation) {
		struct slot_ref ref =
			arena_alloc(actor_arena(self), ARENA_BUFFER, actor_addr(self).id);

		s->st.buffer_index = ref.index;
		s->st.buffer_generation = ref.generation;
	}
	return http_buffer_of(self, s);
}

static void release_buffer(struct actor *self, struct http_connection *s)
{
	arena_release(actor_arena(self), ARENA_BUFFER,
		(struct slot_ref){s->st.buffer_index, s->st.buffer_generation});
	s->st.buffer_index = s->st.buffer_generation = 0;
}

void http_ask(struct actor *self, struct http_connection *s, enum http_ask ask, uint64_t request)
{
	s->st.ask = (uint8_t)ask;
	s->st.request = request;
	actor_become(self, HTTP_ASKING);
}

/* ---- writing --------------------------------------------------------------------------------- */

static const uint8_t *output_of(
	struct actor *self, const struct http_connection *s, const struct http_slot *slot)
{
	const struct http_buffer *buffer = http_buffer_of(self, s);

	return slot->out_frame ? slot->socket.frame : buffer ? buffer->output : NULL;
}

/* True when everything is out. */
static bool flush(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	const uint8_t *output = output_of(self, s, slot);

	while (output && http_unsent(slot)) {
		struct iovec part = {(void *)(uintptr_t)(output + (slot->said - slot->out_from)),
			http_unsent(slot)};
		long sent = net_write(self, s->st.socket, &part, 1);

		if (sent == -2) {
			actor_stop(self, ERR_CLOSED);
			return false;
		}
		if (sent <= 0) {
			if (!s->blocked)
				actor_timer_in_ms(self, HTTP_TIMER_STUCK, HTTP_STUCK_MS);
			s->blocked = true;
			net_want(self, s->st.socket, NET_WRITABLE);
			return false;
		}
		slot->said += (uint64_t)sent;
		s->blocked = false;
	}
	http_output_end(slot);
	s->blocked = false;
	actor_timer_off(self, HTTP_TIMER_STUCK);
	return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* True when something has come, or the end of it. */
static bool receive(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	struct http_buffer *buffer = http_need_buffer(self, s);
	size_t room;

	if (!buffer) {
		log_warn(actor_log(self), "http_no_buffer", "peer", s->st.peer);
		actor_stop(self, ERR_LIMIT);
		return false;
	}
	uint8_t *space = http_conn_space(&slot->conn, buffer->input, &room);

	if (!room)
		return false;
	long size = net_read(self, s->st.socket, space, room);

	if (size == -2) {
		actor_stop(self, ERR_CLOSED);
		return false;
	}
	if (size > 0) {
		slot->taken += (uint64_t)size;
		http_conn_received(&slot->conn, (size_t)size, actor_now_us(self));
	} else if (size == 0)
		http_conn_peer_closed(&slot->conn);
	return size >= 0;
}

static void wait_for_bytes(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	int64_t deadline_us = http_conn_deadline(&slot->conn);

	if (!http_conn_needs_buffer(&slot->conn))
		release_buffer(self, s);
	if (deadline_us == INT64_MAX)
		actor_timer_off(self, HTTP_TIMER_DEADLINE);
	else
		actor_timer_at(self, HTTP_TIMER_DEADLINE, deadline_us);
	net_want(self, s->st.socket, NET_READABLE);
}

/* One step; false: nothing more can be done now. */
static bool step(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	struct http_buffer *buffer = http_need_buffer(self, s);
	struct http_request request;
	int fault;

	if (!buffer) {
		actor_stop(self, ERR_LIMIT);
		return false;
	}
	switch (http_conn_next(&slot->conn, buffer->input, &request, actor_now_us(self))) {
	case HTTP_EVENT_MORE:
		if (receive(self, s, slot))
			return true;
		wait_for_bytes(self, s, slot);
		return false;
	case HTTP_EVENT_HEAD: http_take_head(self, s, slot, buffer, &request); return true;
	case HTTP_EVENT_REQUEST:
		s->request_us = actor_now_us(self);
		http_serve(self, s, slot, &request);
		return true;
	case HTTP_EVENT_FAULT:
		fault = slot->conn.fault;
		http_problem(self, s, http_fault_status(fault), NULL, http_fault_text(fault), 0);
		return true;
	case HTTP_EVENT_CLOSE: actor_stop(self, ERR_OK); return false;
	}
	return false;
}

/* A successor's, whose client connects anew. */
static void end_lost(struct actor *self, const struct http_connection *s)
{
	bool is_viewer = actor_phase(self) == HTTP_STREAMING;

	if (is_viewer)
		log_info(actor_log(self), "flv_viewer_lost", "peer", s->st.peer, "stream",
			s->st.stream, "text",
			s->st.tls ? "a connection over TLS ends with its process"
				  : "the connection did not survive its process");
	if (is_viewer && s->st.tls)
		process_metric_add(runtime_env(actor_runtime(self)), PROCESS_METRIC_TLS_ENDED, 1);
	actor_stop(self, ERR_CLOSED);
}

void http_go_on(struct actor *self, struct http_connection *s)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (!slot) {
		actor_stop(self, ERR_INTERNAL);
		return;
	}
	if (s->orphaned) {
		end_lost(self, s);
		return;
	}
	actor_timer_off(self, HTTP_TIMER_DEADLINE);
	for (int i = 0; i < HTTP_ROUNDS; i++) {
		if (!flush(self, s, slot))
			return;
		if (slot->socket.use) {
			enum http_turn turn = http_socket_turn(self, s, slot);

			if (turn == HTTP_TURN_ENDED)
				return;
			if (turn == HTTP_TURN_WROTE)
				continue;
		}
		if (actor_phase(self) & (HTTP_STREAMING | HTTP_SOCKET)) {
			if (!http_socket_needs_buffer(&slot->socket))
				release_buffer(self, s);
			if (actor_phase(self) == HTTP_STREAMING)
				http_flv_pump(self, s);
			return;
		}
		if (actor_phase(self) != HTTP_OPEN) {
			/* a reset comes without being asked for; that the peer has only ended its
			 * side matters where the answer may take long */
			net_want(
				self, s->st.socket, addr_is_nobody(s->st.waiting) ? 0 : NET_CLOSED);
			return;
		}
		if (!step(self, s, slot))
			return;
	}
	actor_kick(actor_runtime(self), actor_addr(self)); /* others first */
}

/* ---- events ---------------------------------------------------------------------------------- */

/* The client hung up while somebody works for it. A session that waits for a publisher ends at
 * once, and says so; one that is made meanwhile is ended when the answer says which. */
static void abandon(struct actor *self, struct http_connection *s)
{
	if (s->st.ask != HTTP_ASK_CREATE) {
		actor_stop(self, ERR_CLOSED);
		return;
	}
	net_close(self, s->st.socket);
	s->st.socket = 0;
	actor_become(self, HTTP_ABANDONED);
	if (!addr_is_nobody(s->st.waiting))
		actor_send(self, s->st.waiting, stop, {.reason = ERR_CLOSED});
}

/* A successor's connection is here, or never will be. */
static void come_back(struct actor *self, struct http_connection *s, unsigned events)
{
	struct http_slot *slot = http_slot_of(self, s);

	s->awaited = s->blocked = false;
	s->orphaned = !(events & NET_BACK);
	if (!slot || s->orphaned || !http_flv_resume(self, s, slot)) {
		end_lost(self, s);
		return;
	}
	s->readable = true;
	http_go_on(self, s);
}

static void http_connection_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	struct http_connection *s = data;
	bool gone = events & NET_CLOSED;

	if (socket != s->st.socket)
		return;
	if (s->awaited) {
		come_back(self, s, events);
		return;
	}
	if (gone && actor_phase(self) == HTTP_ASKING) {
		abandon(self, s);
		return;
	}
	if (gone && (actor_phase(self) & (HTTP_STREAMING | HTTP_SOCKET))) {
		actor_stop(self, ERR_OK);
		return;
	}
	s->readable = s->readable || (events & NET_READABLE);
	s->blocked = s->blocked && !(events & NET_WRITABLE);
	http_go_on(self, s);
	/* a half-closed peer that does not take what it asked for would wake us for ever */
	if (gone && s->blocked)
		actor_stop(self, ERR_CLOSED);
}

static void http_connection_pump(struct actor *self, void *data)
{
	struct http_connection *s = data;

	bool acts = actor_phase(self) & (HTTP_OPEN | HTTP_STREAMING | HTTP_SOCKET);
	/* of a viewer all that changes lies in the slot, once it has begun */
	bool viewer =
		actor_phase(self) == HTTP_STREAMING && s->st.started_us && !s->st.buffer_generation;

	if (!s->orphaned && (!acts || s->blocked))
		return;
	http_go_on(self, s);
	if (viewer)
		actor_unchanged(self);
}

static void http_connection_ahead(struct actor *self, const void *data)
{
	const struct http_connection *s = data;

	if (actor_phase(self) == HTTP_STREAMING)
		http_flv_ahead(http_slot_of(self, s));
}

static void http_connection_timer(struct actor *self, void *data, unsigned timer)
{
	struct http_connection *s = data;
	struct http_slot *slot = http_slot_of(self, s);

	if (!slot)
		return;
	switch ((enum http_connection_timer)timer) {
	case HTTP_TIMER_DEADLINE:
		if (actor_phase(self) == HTTP_OPEN && !s->blocked)
			http_go_on(self, s);
		break;
	case HTTP_TIMER_STUCK:
		log_info(actor_log(self), "http_peer_stuck", "peer", s->st.peer, "stream",
			s->st.stream);
		actor_stop(self, ERR_TIMEOUT);
		break;
	case HTTP_TIMER_STATISTICS:
		if (actor_phase(self) == HTTP_STREAMING)
			http_flv_report(self, s, slot);
		else
			s->st.bytes_out = slot->said;
		actor_timer_in_ms(self, HTTP_TIMER_STATISTICS, STATISTICS_MS);
		break;
	case HTTP_TIMER_PING:
		http_socket_ping(self, s);
		if (!s->blocked)
			http_go_on(self, s);
		break;
	case HTTP_TIMER_ASK:
		slot->socket.resting = false;
		if (!s->blocked)
			http_go_on(self, s);
		break;
	}
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Is this the answer that is waited for? Then the connection is open again. */
static bool is_awaited(struct actor *self, struct http_connection *s, const struct mail *mail)
{
	if (!mail->request || mail->request != s->st.request)
		return false;
	s->st.request = 0;
	s->st.waiting = (struct addr){0};
	if (actor_phase(self) == HTTP_ASKING)
		actor_become(self, HTTP_OPEN);
	return true;
}

ON(http_connection, session_waits)
{
	if (actor_phase(self) == HTTP_ABANDONED)
		return actor_send(self, mail->from, stop, {.reason = ERR_CLOSED});
	s->st.waiting = mail->from;
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, placed)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	http_whip_placed(self, s, m);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, session_created)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	if (actor_phase(self) == HTTP_ABANDONED) {
		struct msg_session_delete undo = {0};

		memcpy(undo.secret, m->secret, sizeof(undo.secret));
		actor_send_mail(
			self, m->session, MSG_session_delete, &schema_session_delete, &undo);
		actor_stop(self, ERR_CLOSED);
		return ERR_OK;
	}
	http_whip_created(self, s, m);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, session_patched)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	http_whip_patched(self, s, m);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, done)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	if (s->st.ask == HTTP_ASK_DELETE)
		http_whip_deleted(self, s);
	else
		http_problem(self, s, 500, NULL, "an answer that was not asked for", 0);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, console_answer)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (!is_awaited(self, s, mail))
		return ERR_OK;
	if (s->st.ask == HTTP_ASK_HEALTH)
		http_health_answered(self, s, ERR_OK);
	else if (slot && actor_phase(self) == HTTP_SOCKET)
		http_repl_answered(self, s, &slot->socket.repl, m);
	else
		http_api_answered(self, s, m);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, board_update)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	http_socket_updated(self, s, m);
	http_go_on(self, s);
	return ERR_OK;
}

/* Events come whether the page takes them or not. */
static void go_on_writing(struct actor *self, struct http_connection *s)
{
	if (!s->blocked)
		http_go_on(self, s);
}

ON(http_connection, console_event)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (slot)
		http_repl_event(self, s, &slot->socket.repl, mail->from, m);
	go_on_writing(self, s);
	return ERR_OK;
}

ON(http_connection, console_end)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (slot)
		http_repl_ended(self, s, &slot->socket.repl, mail->from, m);
	go_on_writing(self, s);
	return ERR_OK;
}

ON(http_connection, signal_attached)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	http_signal_attached(self, s, mail->from, m);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, signal_frame)
{
	if (addr_equal(mail->from, s->st.channel))
		http_socket_write(self, s, WS_BINARY, m->bytes.data, m->bytes.size);
	go_on_writing(self, s);
	return ERR_OK;
}

ON(http_connection, callback_allowed)
{
	if (!is_awaited(self, s, mail)) {
		actor_send(self, m->callback, callback_over, {});
		return ERR_OK;
	}
	if (addr_is_nobody(s->st.callback))
		s->st.callback = m->callback;
	http_flv_open(self, s);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, flv_opened)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	http_flv_opened(self, s, m);
	http_go_on(self, s);
	return ERR_OK;
}

ON(http_connection, failed)
{
	if (!is_awaited(self, s, mail))
		return ERR_OK;
	if (actor_phase(self) == HTTP_ABANDONED) {
		actor_stop(self, ERR_CLOSED);
		return ERR_OK;
	}
	switch ((enum http_ask)s->st.ask) {
	case HTTP_ASK_HEALTH: http_health_answered(self, s, m->err); break;
	case HTTP_ASK_FLV: http_flv_failed(self, s, m); break;
	case HTTP_ASK_CALLBACK: http_flv_refused(self, s, m); break;
	case HTTP_ASK_BOARD: http_socket_failed(self, s); break;
	case HTTP_ASK_CHANNEL: http_signal_failed(self, s); break;
	case HTTP_ASK_CONSOLE:
		if (actor_phase(self) == HTTP_SOCKET)
			http_socket_failed(self, s);
		else
			http_api_failed(self, s, m);
		break;
	default: http_whip_failed(self, s, s->st.ask, m);
	}
	http_go_on(self, s);
	return ERR_OK;
}

/* The muxer has ended: so has the stream. What was written is still sent. Or the process of what a
 * page follows. */
ON(http_connection, down)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (addr_equal(m->who, s->st.muxer))
		actor_stop(self, ERR_OK);
	if (addr_equal(m->who, s->st.channel))
		actor_stop(self, m->reason);
	if (slot && actor_phase(self) == HTTP_SOCKET) {
		http_repl_down(self, s, &slot->socket.repl, m->who);
		go_on_writing(self, s);
	}
	return ERR_OK;
}

/* What is being answered is finished (and says that the connection closes), a viewer's stream ends
 * after the tag that is half out, who waits for a publisher hears that it will not come here. */
ON(http_connection, drain)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (!slot)
		return ERR_OK;
	s->ending = true;
	if (actor_phase(self) == HTTP_STREAMING) {
		flv_view_finish(&slot->view);
	} else if (actor_phase(self) == HTTP_ASKING &&
		   (s->st.ask == HTTP_ASK_FLV || s->st.ask == HTTP_ASK_CALLBACK)) {
		actor_forget_request(self, s->st.request);
		s->st.request = 0;
		callback_end(self, &s->st.callback);
		actor_become(self, HTTP_OPEN);
		http_fail(self, s, ERR_OVERLOAD, "this server is about to stop", 0);
	} else if (actor_phase(self) == HTTP_OPEN && !slot->out_size &&
		   !http_conn_needs_buffer(&slot->conn)) {
		actor_stop(self, ERR_OK);
		return ERR_OK;
	}
	if (!s->blocked)
		http_go_on(self, s);
	return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

void http_take_name(
	struct actor *self, const struct http_connection *s, const struct http_slot *slot)
{
	static const char *const names[HTTP_SOCKET_USES] = {"http", "ws-flv", "page", "page", "ws"};
	char name[ACTOR_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%s/%s", names[slot->socket.use], s->st.peer);
	actor_set_name(self, name);
}

static void take_peer(struct actor *self, struct http_connection *s, const struct http_slot *slot)
{
	http_take_name(self, s, slot);
	actor_timer_in_ms(self, HTTP_TIMER_STATISTICS, STATISTICS_MS);
}

static enum err http_connection_init(struct actor *self, void *data, const void *args_)
{
	struct http_connection *s = data;
	const struct http_connection_args *args = args_;
	const struct config *config = actor_config(self);
	struct slot_ref ref = arena_alloc(actor_arena(self), ARENA_SESSION, actor_addr(self).id);
	struct http_slot *slot = arena_get(actor_arena(self), ARENA_SESSION, ref);
	struct http_bounds bounds;

	if (!slot)
		return ERR_LIMIT;
	if (config)
		bounds = (struct http_bounds){config->http_header_ms * 1000,
			config->http_body_ms * 1000, config->http_idle_ms * 1000,
			(uint32_t)config->http_header_bytes_max};
	s->st.slot_index = ref.index;
	s->st.slot_generation = ref.generation;
	s->st.socket = args->socket;
	s->st.api_port = args->api_port;
	s->st.tls = args->tls;
	s->st.limit_place = args->ticket.place;
	s->st.limit_generation = args->ticket.generation;
	s->peer = args->peer;
	net_addr_text(&args->peer, s->st.peer);
	http_conn_init(&slot->conn, config ? &bounds : NULL, actor_now_us(self));
	take_peer(self, s, slot);
	actor_become(self, HTTP_OPEN);
	actor_kick(actor_runtime(self), actor_addr(self));
	return ERR_OK;
}

/* A viewer goes on when its connection is back, if that can be. Of all others (requests, the console
 * page) what they hold is found again and given back in order; their clients connect anew. */
static enum err http_connection_restore(struct actor *self, void *data)
{
	struct http_connection *s = data;
	struct arena *arena = actor_arena(self);
	struct slot_ref slot_ref = {s->st.slot_index, s->st.slot_generation};
	struct slot_ref buffer_ref = {s->st.buffer_index, s->st.buffer_generation};
	struct http_slot *slot = http_slot_of(self, s);

	if (!slot || !arena_hold_again(arena, ARENA_SESSION, slot_ref) ||
		!http_conn_is_valid(&slot->conn) || net_addr_parse(s->st.peer, &s->peer))
		return ERR_FORMAT;
	http_socket_recover(&slot->socket);
	if (!slot->out_size)
		http_output_end(slot);
	if (!http_socket_is_valid(slot) || flv_view_restore(&slot->view, arena) ||
		slot->out_size > (slot->out_frame ? sizeof(slot->socket.frame) : HTTP_OUTPUT_MAX) ||
		slot->said < slot->out_from || slot->said - slot->out_from > slot->out_size)
		return ERR_FORMAT;
	if (s->st.buffer_generation ? !arena_hold_again(arena, ARENA_BUFFER, buffer_ref)
				    : slot->conn.filled || (slot->out_size && !slot->out_frame) ||
					      http_socket_needs_buffer(&slot->socket))
		return ERR_FORMAT;
	s->peer.transport = NET_TCP;
	take_peer(self, s, slot);
	s->asked_us = s->statistics_us = actor_now_us(self);
	s->statistics_bytes = s->st.bytes_out;
	s->awaited =
		actor_phase(self) == HTTP_STREAMING && !s->st.tls && net_claim(self, s->st.socket);
	s->blocked = s->awaited;
	s->orphaned = !s->awaited;
	s->ending = slot->view.finishing;
	return ERR_OK;
}

static void http_connection_stop(struct actor *self, void *data, enum err reason)
{
	struct http_connection *s = data;
	struct http_slot *slot = http_slot_of(self, s);
	struct http_office *office = http_office_of(self);

	http_socket_farewell(self, s, reason);
	if (office)
		limits_session_close(&office->limits,
			&(struct limits_ticket){s->st.limit_place, s->st.limit_generation});
	if (slot && actor_phase(self) == HTTP_STREAMING)
		http_flv_count(self, s, slot);
	if (!addr_is_nobody(s->st.muxer))
		actor_send(self, s->st.muxer, flv_close, {});
	if (slot) {
		http_repl_end(self, &slot->socket.repl);
		flv_view_release(&slot->view, actor_arena(self));
	}
	if (s->st.socket && !s->orphaned && !s->awaited)
		net_close(self, s->st.socket);
	release_buffer(self, s);
	arena_release(actor_arena(self), ARENA_SESSION,
		(struct slot_ref){s->st.slot_index, s->st.slot_generation});
}

static const char *const http_connection_phases[] = {
	"open", "asking", "streaming", "abandoned", "socket", NULL};

static const struct handler http_connection_handlers[] = {
	/*                       message            legal in */
	HANDLER(http_connection, placed, HTTP_ASKING),
	HANDLER(http_connection, session_created, HTTP_ASKING | HTTP_ABANDONED),
	HANDLER(http_connection, session_waits, HTTP_ASKING | HTTP_ABANDONED),
	HANDLER(http_connection, session_patched, HTTP_ASKING),
	HANDLER(http_connection, done, HTTP_ASKING),
	HANDLER(http_connection, console_answer, HTTP_ASKING | HTTP_SOCKET),
	HANDLER(http_connection, console_event, HTTP_SOCKET),
	HANDLER(http_connection, console_end, HTTP_SOCKET),
	HANDLER(http_connection, board_update, HTTP_SOCKET),
	HANDLER(http_connection, signal_attached, HTTP_SOCKET),
	HANDLER(http_connection, signal_frame, HTTP_SOCKET),
	HANDLER(http_connection, callback_allowed, HTTP_ANY),
	HANDLER(http_connection, flv_opened, HTTP_ASKING),
	HANDLER(http_connection, failed, HTTP_ANY),
	HANDLER(http_connection, down, HTTP_ANY),
	HANDLER(http_connection, drain, HTTP_ANY),
};

const struct actor_type http_connection_actor = {
	.name = "http_connection",
	.size = sizeof(struct http_connection),
	.state = &schema_http_connection_state,
	.phases = http_connection_phases,
	HANDLER_TABLE(http_connection_handlers),
	.init = http_connection_init,
	.restore = http_connection_restore,
	.stop = http_connection_stop,
	.timer = http_connection_timer,
	.pump = http_connection_pump,
	.ahead = http_connection_ahead,
	.tcp = http_connection_tcp,
};

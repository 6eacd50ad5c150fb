/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection as an FLV viewer, over HTTP or WebSocket. The muxer of this worker makes the tags;
 * here they are only written, straight from the packet pool.
 *
 * The body is ended by closing the connection (no chunks): that is what players of HTTP-FLV have
 * always been served with (ffplay, VLC, flv.js and mpegts.js over fetch all read until the end), it
 * saves a header and a copy a tag, and a live stream leaves nothing to reuse the connection for.
 * Over WebSocket each tag is one binary message, and the headers are one.
 */
#include "actors/http/http_internal.h"
#include "runtime/near.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum { FLV_WRITES_A_TURN = 16 };

/* ---- over WebSocket -------------------------------------------------------------------------- */

static size_t message_headers(
	uint32_t channel, const uint8_t *bytes, size_t size, bool begins, uint8_t *out)
{
	size_t lead = ws_head(WS_BINARY, size, out);

	return lead + flv_as_file.headers(channel, bytes, size, begins, out + lead);
}

static size_t message_head(uint32_t channel, const struct flv_tag_view *tag, uint8_t *out)
{
	size_t lead =
		ws_head(WS_BINARY, FLV_TAG_HEADER_SIZE + tag->size + FLV_TAG_TRAILER_SIZE, out);

	return lead + flv_as_file.head(channel, tag, out + lead);
}

const struct flv_framing flv_as_messages = {
	.way = FLV_AS_MESSAGES, .headers = message_headers, .head = message_head, .trailer = true};

_Static_assert(WS_HEAD_MAX + FLV_TAG_HEADER_SIZE <= FLV_FRAMING_MAX, "a message's head fits");
_Static_assert((int)WS_HEAD_MAX <= (int)FLV_FRAMING_LEAD, "so does the headers'");

static bool is_socket(const struct http_slot *slot)
{
	return slot->socket.use == HTTP_SOCKET_FLV;
}

/* ---- the request ----------------------------------------------------------------------------- */

static void open_muxer(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	struct msg_flv_open open = {.wait_ms = http_wait_ms(self, call)};

	memcpy(open.stream_name, s->st.stream, sizeof(open.stream_name));
	http_ask(self, s, HTTP_ASK_FLV,
		actor_request_mail(self, http_office_addr(self), open.wait_ms + HTTP_REQUEST_MS,
			MSG_flv_open, &schema_flv_open, &open));
}

static void ask_callback(
	struct actor *self, struct http_connection *s, const struct http_call *call)
{
	struct msg_callback_ask ask = {.play = true};

	if (!http_param(self, s, call, ask.param))
		return;
	memcpy(ask.stream_name, s->st.stream, sizeof(ask.stream_name));
	memcpy(ask.client, s->st.peer, sizeof(ask.client));
	text_copy(
		ask.protocol, sizeof(ask.protocol), http_socket_is_asked(call) ? "ws-flv" : "flv");
	http_ask(self, s, HTTP_ASK_CALLBACK, callback_ask(self, &ask, &s->st.callback));
}

void http_flv_get(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	if (http_socket_is_asked(call) && !http_socket_check(self, s, call))
		return;
	if (!http_may(self, s, call, TOKEN_PLAY))
		return;
	snprintf(s->st.stream, sizeof(s->st.stream), "%s/%s", call->match.name.app,
		call->match.name.stream);
	s->retried = false;
	s->asked_us = actor_now_us(self);
	/* HEAD says what GET would, but nobody is asked and told of it: it is no viewer, and a server
	 * that has one seat would give it away */
	if (call->request.verb != HTTP_VERB_HEAD && callback_wait_ms(actor_config(self), true))
		ask_callback(self, s, call);
	else
		open_muxer(self, s, call);
}

void http_flv_open(struct actor *self, struct http_connection *s)
{
	struct http_call call;

	if (http_call_of(self, s, &call))
		open_muxer(self, s, &call);
	else
		actor_stop(self, ERR_INTERNAL);
}

void http_flv_refused(struct actor *self, struct http_connection *s, const struct msg_failed *m)
{
	const char *why;
	enum err err = callback_failed(self, m, &why);

	if (!err) {
		http_flv_open(self, s);
		return;
	}
	callback_end(self, &s->st.callback);
	http_fail(self, s, err, why, m->retry_after_ms);
}

/* The head of the response; the view follows. False: it does not (HEAD, a handshake refused). */
static bool begin_view(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	struct http_reply reply = {.status = 200, .kind = HTTP_RESPONSE_RAW, .type = "video/x-flv"};
	struct http_call call;

	if (http_call_of(self, s, &call) && http_socket_is_asked(&call))
		return http_socket_open(self, s, &call, HTTP_SOCKET_FLV);
	http_add_field(&reply, "Cache-Control", "no-store");
	http_add_field(&reply, "X-Accel-Buffering", "no"); /* nginx in front: pass it on at once */
	http_send(self, s, &reply);
	return slot->conn.phase == HTTP_PHASE_STREAM;
}

void http_flv_opened(struct actor *self, struct http_connection *s, const struct msg_flv_opened *m)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (!slot || !begin_view(self, s, slot)) {
		actor_send(self, m->muxer, flv_close, {});
		callback_end(self, &s->st.callback);
		return;
	}
	s->st.muxer = m->muxer;
	s->st.log_index = m->log_index;
	s->st.log_generation = m->log_generation;
	s->st.work_index = m->work_index;
	s->st.work_generation = m->work_generation;
	actor_monitor(self, m->muxer);
	actor_become(self, HTTP_STREAMING);
}

void http_flv_failed(struct actor *self, struct http_connection *s, const struct msg_failed *m)
{
	struct http_call call;

	if (m->err == ERR_DEAD && !s->retried && http_call_of(self, s, &call)) {
		/* the muxer ended just now; the next one is another */
		s->retried = true;
		open_muxer(self, s, &call);
		return;
	}
	callback_end(self, &s->st.callback);
	if (m->err == ERR_DEAD) {
		http_fail(self, s, ERR_NOT_FOUND, "nobody publishes this stream", 0);
	} else {
		http_fail(self, s, m->err, m->text, m->retry_after_ms);
	}
}

/* ---- the view -------------------------------------------------------------------------------- */

static struct media_log *log_of(struct actor *self, const struct http_connection *s)
{
	return media_log_get(
		actor_arena(self), (struct slot_ref){s->st.log_index, s->st.log_generation});
}

void http_flv_count(struct actor *self, struct http_connection *s, const struct http_slot *slot)
{
	struct media_log *log = log_of(self, s);

	s->st.bytes_out = slot->said + slot->view.at.out;
	if (log)
		media_log_count_sent(log, s->st.bytes_out - s->statistics_bytes);
	s->statistics_bytes = s->st.bytes_out;
}

void http_flv_report(struct actor *self, struct http_connection *s, const struct http_slot *slot)
{
	const struct media_log *log = log_of(self, s);
	const struct packet *next =
		log ? media_log_packet(actor_arena(self), log, slot->view.at.position) : NULL;
	int64_t now_us = actor_now_us(self);
	uint64_t before = s->statistics_bytes;

	http_flv_count(self, s, slot);
	if (now_us > s->statistics_us)
		s->st.bitrate_bps = (uint32_t)((s->st.bytes_out - before) * 8 * 1000000 /
					       (uint64_t)(now_us - s->statistics_us));
	s->statistics_us = now_us;
	s->st.tags_dropped = slot->view.at.tags_dropped;
	s->st.lag_us = next ? log->newest_us - next->header.capture_us : 0;
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_LAG_FLV, s->st.lag_us);
}

static void note_start(struct actor *self, struct http_connection *s, const struct http_slot *slot)
{
	s->st.started_us = flv_view_started_us(s->asked_us, actor_now_us(self));
	s->st.bytes_out = slot->said + slot->view.at.out;
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_FIRST_FLV,
		(int64_t)s->st.started_us);
}

static const struct flv_framing *framing_of(const struct http_slot *slot)
{
	return is_socket(slot) ? &flv_as_messages : &flv_as_file;
}

/* Output and tags never go out at once: what nobody has counted is of what was being written. */
bool http_flv_resume(struct actor *self, struct http_connection *s, struct http_slot *slot)
{
	const struct media_log *log = log_of(self, s);
	struct net_progress progress;
	uint64_t out, in;

	if (!log || !net_progress(self, s->st.socket, &progress))
		return false;
	out = progress.out - slot->said - slot->view.at.out;
	in = progress.in - slot->taken;
	if (in &&
		(!is_socket(slot) || slot->socket.raw_from != slot->taken || in > HTTP_SOCKET_RAW))
		return false;
	slot->taken = progress.in;
	if (!flv_view_was_writing(&slot->view)) {
		if (out > http_unsent(slot))
			return false;
		slot->said += out;
		out = 0;
	}
	return flv_view_resolve(&slot->view, framing_of(slot), actor_arena(self), log, out) ==
	       ERR_OK;
}

void http_flv_ahead(const struct http_slot *slot)
{
	if (!slot)
		return;
	bring_near(&slot->taken,
		offsetof(struct http_slot, socket) - offsetof(struct http_slot, taken));
	bring_near(&slot->socket.use, sizeof(slot->socket.use));
	bring_near(&slot->view, offsetof(struct flv_view, pinned));
}

void http_flv_pump(struct actor *self, struct http_connection *s)
{
	struct arena *arena = actor_arena(self);
	struct http_slot *slot = http_slot_of(self, s);
	const struct media_log *log = log_of(self, s);
	struct flv_desk *desk = arena_get(
		arena, ARENA_BUFFER, (struct slot_ref){s->st.work_index, s->st.work_generation});
	struct flv_batch batch;

	if (!slot || !log || !desk) {
		actor_stop(self, ERR_OK); /* the muxer has ended */
		return;
	}
	for (int i = 0; i < FLV_WRITES_A_TURN && !s->blocked; i++) {
		flv_view_fill(&slot->view, framing_of(slot), arena, log, desk, &batch);
		if (!batch.count && s->ending) {
			actor_stop(self, ERR_OK);
			return;
		}
		if (!batch.count) {
			net_want(self, s->st.socket, is_socket(slot) ? NET_READABLE : 0);
			return;
		}
		long sent = net_write(self, s->st.socket, batch.iov, batch.count);

		flv_view_sent(&slot->view, framing_of(slot), arena, log, &batch,
			sent > 0 ? (size_t)sent : 0);
		if (sent == -2) {
			actor_stop(self, ERR_CLOSED);
			return;
		}
		if (sent > 0) {
			if (!s->st.started_us)
				note_start(self, s, slot);
			actor_timer_off(self, HTTP_TIMER_STUCK);
		}
		s->blocked = sent < (long)batch.bytes;
	}
	if (s->blocked) {
		actor_timer_in_ms(self, HTTP_TIMER_STUCK, HTTP_STUCK_MS);
		net_want(self, s->st.socket, NET_WRITABLE);
	} else {
		actor_kick(actor_runtime(self), actor_addr(self)); /* others first */
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that carries signalling (/ws): a WebSocket whose binary messages go to a signal_channel
 * and come from it. The channel may be in any worker, and outlives the connection.
 *
 *   silent --signal_hello: a new channel, or one by its name--> attaching --signal_attached--> carrying
 *                                  the channel named is gone: a new one --^
 */
#include "actors/http/http_internal.h"
#include "actors/http/signal.h"
#include "actors/http/signal_line.h"

#include <inttypes.h>
#include <stdio.h>

enum { ATTACH_MS = 3000 };

void http_signal_get(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	if (http_socket_check(self, s, call))
		http_socket_begin(self, s, call, HTTP_SOCKET_SIGNAL);
}

static void write_welcome(struct actor *self, struct http_connection *s, uint64_t ack)
{
	const struct http_slot *slot = http_slot_of(self, s);
	struct msg_signal_welcome welcome = {
		.resumed = slot->socket.signal.resumes, .linger_ms = SIGNAL_LINGER_MS};
	struct signal_envelope envelope = {.ack = ack, .type = MSG_signal_welcome};
	uint8_t bytes[256];
	struct writer out = writer_of(bytes, sizeof(bytes));

	snprintf(welcome.channel, sizeof(welcome.channel), "%" PRIx64 "-%s", s->st.channel.id,
		slot->socket.signal.secret);
	if (signal_message_write(&out, &envelope, &schema_signal_welcome, &welcome))
		actor_stop(self, ERR_INTERNAL);
	else
		http_socket_write(self, s, WS_BINARY, bytes, writer_used(&out));
}

static void attach(struct actor *self, struct http_connection *s, struct http_signal *signal,
	struct addr channel, uint64_t ack)
{
	struct msg_signal_attach attach = {.ack = ack};

	text_copy(attach.secret, sizeof(attach.secret), signal->secret);
	s->st.channel = channel;
	s->st.ask = HTTP_ASK_CHANNEL;
	s->st.request = actor_request_mail(
		self, channel, ATTACH_MS, MSG_signal_attach, &schema_signal_attach, &attach);
}

static void attach_new(struct actor *self, struct http_connection *s, struct http_signal *signal)
{
	struct signal_channel_args args = {.secret = signal->secret, .peer = &s->peer};
	uint8_t random[SIGNAL_SECRET_SIZE / 2];
	struct addr channel;

	actor_random(self, random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(signal->secret + 2 * i, 3, "%02x", random[i]);
	signal->resumes = false;
	if (actor_spawn(actor_runtime(self), NULL, &signal_channel_actor, &args, &channel))
		actor_stop(self, ERR_OVERLOAD);
	else
		attach(self, s, signal, channel, 0);
}

static void take_hello(struct actor *self, struct http_connection *s, struct http_signal *signal,
	const struct signal_message *message)
{
	struct addr channel;
	char secret[64];

	if (!message->hello.channel[0] ||
		!http_session_parse(message->hello.channel, &channel, secret) ||
		strlen(secret) != SIGNAL_SECRET_SIZE) {
		attach_new(self, s, signal);
		return;
	}
	memcpy(signal->secret, secret, sizeof(signal->secret));
	signal->resumes = true;
	attach(self, s, signal, channel, message->envelope.ack);
}

void http_signal_message(struct actor *self, struct http_connection *s, struct http_signal *signal,
	const uint8_t *bytes, size_t size, bool text)
{
	struct msg_signal_frame frame = {
		.bytes = {(const char *)bytes, (uint32_t)size}
	      };
	struct signal_message message;

	if (!text && signal->attached) {
		actor_send_mail(
			self, s->st.channel, MSG_signal_frame, &schema_signal_frame, &frame);
		return;
	}
	if (text || signal_message_read(&message, bytes, size) ||
		message.envelope.type != MSG_signal_hello) {
		log_info(actor_log(self), "signal_fault", "peer", s->st.peer, "what", "hello");
		actor_stop(self, ERR_FORMAT);
		return;
	}
	take_hello(self, s, signal, &message);
}

void http_signal_attached(struct actor *self, struct http_connection *s, struct addr from,
	const struct msg_signal_attached *m)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (!slot)
		return;
	s->st.channel = from;
	slot->socket.signal.attached = true;
	actor_monitor(self, from);
	write_welcome(self, s, m->seen);
}

void http_signal_failed(struct actor *self, struct http_connection *s)
{
	struct http_slot *slot = http_slot_of(self, s);

	if (slot && slot->socket.signal.resumes)
		attach_new(self, s, &slot->socket.signal);
	else
		actor_stop(self, ERR_OVERLOAD);
}

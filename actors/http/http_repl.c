/* SPDX-License-Identifier: Apache-2.0
 *
 * The console over a WebSocket: what `millrace repl` has over its socket (cluster/repl_actor.c), with
 * messages instead of lines. A text message is a command, and so is its answer one.
 *
 *   waiting --message--> asking --console_answer--> waiting
 *   watch, trace:  asking --console_answer with a source--> following --console_event--> following
 *                  following --any message, console_end, its process gone--> (last answer) waiting
 *
 * While an answer is awaited nothing is read, so a client can make nothing grow here; events that a
 * slow page does not take are left out and counted.
 */
#include "actors/http/http_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	ASK_MS = 5000,
	FOLLOW_BYTES_MAX = 128 << 10, /* events that wait for a page to take them */
	ENVELOPE_MAX = 128,
	EVENT_MAX = 16 << 10, /* bytes of one event; a longer one is left out */
};

static void write_error(
	struct actor *self, struct http_connection *s, enum err err, const char *why)
{
	char text[PROBLEM_SIZE_MAX], clean[PROBLEM_DETAIL_MAX + 1];
	size_t used = 0;

	for (const char *at = why; *at && used < sizeof(clean) - 1; at++)
		clean[used++] = *at == '"' || *at == '\\' || (uint8_t)*at < ' ' ? '\'' : *at;
	clean[used] = 0;
	int size = snprintf(text, sizeof(text),
		"{\"ok\":false,\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", err_name(err),
		clean);

	http_socket_write(self, s, WS_TEXT, text, (size_t)size);
}

static bool follows(const struct http_repl *repl)
{
	return !addr_is_nobody(repl->source);
}

void http_repl_end(struct actor *self, struct http_repl *repl)
{
	struct addr source = repl->source;

	if (!follows(repl))
		return;
	repl->source = (struct addr){0};
	actor_unmonitor(self, source);
	actor_send(self, source, console_unfollow, {.follow = repl->follow});
}

/* The last answer: how much there was. */
static void end_follow(struct actor *self, struct http_connection *s, struct http_repl *repl)
{
	char text[ENVELOPE_MAX];
	int size = snprintf(text, sizeof(text),
		"{\"ok\":true,\"result\":{\"events\":%" PRIu64 ",\"left_out\":%" PRIu64 "}}",
		repl->events, repl->left_out + repl->source_left_out);

	http_repl_end(self, repl);
	http_socket_write(self, s, WS_TEXT, text, (size_t)size);
}

void http_repl_message(struct actor *self, struct http_connection *s, struct http_repl *repl,
	const uint8_t *bytes, size_t size)
{
	struct msg_console_query query = {
		.command = {(const char *)bytes, (uint32_t)size},
		.follower = actor_addr(self),
	};

	if (follows(repl)) {
		end_follow(self, s, repl);
		return;
	}
	repl->follow = actor_random_u64(self) | 1; /* never that of an earlier command */
	query.follow = repl->follow;
	s->st.ask = HTTP_ASK_CONSOLE;
	s->st.request = actor_request_mail(self, actor_office(self, OFFICE_CONSOLE), ASK_MS,
		MSG_console_query, &schema_console_query, &query);
}

void http_repl_answered(struct actor *self, struct http_connection *s, struct http_repl *repl,
	const struct msg_console_answer *m)
{
	char text[PROBLEM_DETAIL_MAX + 1];

	if (m->err && m->json.size && m->json.data[0] != '{') { /* of an api command: a text */
		snprintf(text, sizeof(text), "%.*s", (int)m->json.size, m->json.data);
		write_error(self, s, (enum err)m->err, text);
		return;
	}
	if (!m->err && !addr_is_nobody(m->source)) {
		repl->source = m->source;
		repl->events = repl->left_out = repl->source_left_out = repl->told_left_out = 0;
		actor_monitor(self, m->source);
	}
	http_socket_write(self, s, WS_TEXT, m->json.data, m->json.size);
}

void http_repl_failed(struct actor *self, struct http_connection *s)
{
	write_error(self, s, ERR_TIMEOUT, "the control process does not answer");
}

/* One document of the source in its envelope, with how many are missing before it. */
static void write_event(struct actor *self, struct http_connection *s, struct http_repl *repl,
	const char *document, size_t size, bool more)
{
	char text[ENVELOPE_MAX + EVENT_MAX];
	uint64_t left_out = repl->left_out + repl->source_left_out;
	struct writer w = writer_of((uint8_t *)text, sizeof(text));
	char missing[48];

	write_bytes(&w, "{\"ok\":true,\"result\":", 20);
	write_bytes(&w, document, size);
	if (left_out != repl->told_left_out) {
		int length = snprintf(missing, sizeof(missing), ",\"left_out\":%" PRIu64,
			left_out - repl->told_left_out);

		write_bytes(&w, missing, (size_t)length);
	}
	if (more)
		write_bytes(&w, ",\"more\":true", 12);
	write_bytes(&w, "}", 1);
	if (w.bad) {
		repl->left_out++;
		return;
	}
	repl->events++;
	repl->told_left_out = left_out;
	http_socket_write(self, s, WS_TEXT, text, writer_used(&w));
}

void http_repl_event(struct actor *self, struct http_connection *s, struct http_repl *repl,
	struct addr from, const struct msg_console_event *m)
{
	const char *at = m->json.data, *end = at + m->json.size;

	if (m->follow == repl->follow && s->st.request)
		return; /* it has overtaken the answer */
	if (m->follow != repl->follow || !addr_equal(from, repl->source)) {
		actor_send(self, from, console_unfollow, {.follow = m->follow});
		return;
	}
	repl->source_left_out = m->left_out;
	while (at && at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((newline ? newline : end) - at);

		if (http_socket_unsent(self, s) + size > FOLLOW_BYTES_MAX)
			repl->left_out++;
		else
			write_event(self, s, repl, at, size, true);
		at += size + 1;
	}
}

void http_repl_ended(struct actor *self, struct http_connection *s, struct http_repl *repl,
	struct addr from, const struct msg_console_end *m)
{
	if (m->follow != repl->follow || !addr_equal(from, repl->source))
		return;
	http_repl_end(self, repl);
	write_event(self, s, repl, m->json.data, m->json.size, false);
}

void http_repl_down(
	struct actor *self, struct http_connection *s, struct http_repl *repl, struct addr who)
{
	if (!follows(repl) || !addr_equal(who, repl->source))
		return;
	repl->source = (struct addr){0};
	write_error(self, s, ERR_DEAD, "the process of what was followed has ended");
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * repl: console connections over the node's unix socket. A line is a request,
 *
 *	{"command":"actors stream"}
 *
 * and is answered by one line, in the order asked:
 *
 *   connection  (accepted) reading --line--> asking --console_answer--> writing
 *                  writing --all taken--> reading
 *   watch, trace:  asking --console_answer with a source--> following --console_event--> following
 *                  following --any line, console_end, its process gone--> (last answer) reading
 *                  any --closed by the peer, broken, idle too long, a line too long--> (gone)
 *
 * One request a connection is under way; what else comes stays in the kernel's socket buffer, so a
 * client can make nothing grow here. Events that a connection does not take in time are left out
 * and counted. Owns the listener (given by the supervisor, who keeps it open
 * over a restart) and the connections. Speaks only to the console.
 */
#include "cluster/cluster.h"
#include "cluster/console_view.h"
#include "runtime/net.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	CONNECTIONS_MAX = 16,
	LINE_MAX = 8192,
	FOLLOW_BYTES_MAX = 256 << 10, /* events that wait for a connection to take them */
	ASK_MS = 5000,
};

struct connection {
	uint32_t socket; /* 0 = free */
	uint32_t line_size;
	char line[LINE_MAX];
	uint64_t request; /* to the console, 0 = none */
	char *out;	  /* while there is something to write */
	size_t out_size, out_sent;
	uint64_t follow;	  /* watch, trace: our number for it, 0 = none */
	struct addr source;	  /* who sends the events; nobody = has not answered yet */
	uint64_t source_left_out; /* as it says … */
	uint64_t left_out;	  /* … and here; both since the beginning */
	uint64_t told_left_out;
	uint64_t events;
};

struct repl {
	struct repl_state st;

	uint32_t listener;
	struct connection *connections; /* CONNECTIONS_MAX */
};

static struct connection *find_socket(struct repl *s, uint32_t socket)
{
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (socket && s->connections[i].socket == socket)
			return &s->connections[i];
	return NULL;
}

static bool follows(const struct connection *c)
{
	return !addr_is_nobody(c->source);
}

/* The source is told, and watched no longer when nobody else here follows something there. */
static void unfollow(struct actor *self, struct repl *s, struct connection *c)
{
	struct addr source = c->source;
	bool has_more = false;

	if (follows(c))
		actor_send(self, source, console_unfollow, {.follow = c->follow});
	c->follow = 0;
	c->source = (struct addr){0};
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		has_more |= addr_equal(s->connections[i].source, source);
	if (!addr_is_nobody(source) && !has_more)
		actor_unmonitor(self, source);
}

static void drop(struct actor *self, struct repl *s, struct connection *c)
{
	if (c->request)
		actor_forget_request(self, c->request);
	unfollow(self, s, c);
	net_close(self, c->socket);
	free(c->out);
	*c = (struct connection){0};
	s->st.connections--;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_on(struct actor *self, struct repl *s, struct connection *c)
{
	while (c->out_sent < c->out_size) {
		struct iovec part = {c->out + c->out_sent, c->out_size - c->out_sent};
		long sent = net_write(self, c->socket, &part, 1);

		if (sent == -2) {
			drop(self, s, c);
			return;
		}
		if (sent < 0) {
			net_want(self, c->socket,
				follows(c) ? NET_READABLE | NET_WRITABLE : NET_WRITABLE);
			return;
		}
		c->out_sent += (size_t)sent;
	}
	free(c->out);
	c->out = NULL;
	c->out_size = c->out_sent = 0;
	net_want(self, c->socket, NET_READABLE);
}

/* Behind what waits already. */
static void write_line(
	struct actor *self, struct repl *s, struct connection *c, const char *text, size_t size)
{
	char *out;

	if (c->out_sent) { /* only while events come faster than they are taken */
		c->out_size -= c->out_sent;
		memmove(c->out, c->out + c->out_sent, c->out_size);
		c->out_sent = 0;
	}
	out = realloc(c->out, c->out_size + size + 1);
	if (!out) {
		drop(self, s, c);
		return;
	}
	memcpy(out + c->out_size, text, size);
	out[c->out_size + size] = '\n';
	c->out = out;
	c->out_size += size + 1;
	write_on(self, s, c);
}

static void write_error(
	struct actor *self, struct repl *s, struct connection *c, enum err err, const char *message)
{
	json_t *document = console_view_error(err, message);
	char *text = json_dumps(document, JSON_COMPACT);

	if (text)
		write_line(self, s, c, text, strlen(text));
	else
		drop(self, s, c);
	free(text);
	json_decref(document);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void run_line(
	struct actor *self, struct repl *s, struct connection *c, const char *line, size_t size)
{
	json_t *document = json_loadb(line, size, 0, NULL);
	const json_t *command = json_object_get(document, "command");

	if (json_is_string(command)) {
		s->st.commands++;
		c->follow = actor_random_u64(self) | 1; /* never that of an earlier connection */
		c->request = actor_request(self, actor_office(self, OFFICE_CONSOLE), ASK_MS,
			console_query,
			{
				.command = {json_string_value(command),
					    (uint32_t)json_string_length(command)},
				.follow = c->follow,
				.follower = actor_addr(self),
		});
		net_want(self, c->socket, 0);
	} else {
		s->st.malformed++;
		write_error(self, s, c, ERR_FORMAT, "expected {\"command\":\"…\"}");
	}
	json_decref(document);
}

/* The last answer: how much there was. */
static void end_follow(struct actor *self, struct repl *s, struct connection *c)
{
	char text[128];
	int size = snprintf(text, sizeof(text),
		"{\"ok\":true,\"result\":{\"events\":%llu,\"left_out\":%llu}}",
		(unsigned long long)c->events,
		(unsigned long long)(c->left_out + c->source_left_out));

	unfollow(self, s, c);
	write_line(self, s, c, text, (size_t)size);
}

/* What waits to be written holds up a request, not the end of a follow. */
static bool may_run(const struct connection *c)
{
	return c->socket && !c->request && (!c->out || follows(c));
}

/* Runs the lines that are complete, one at a time: the next when the one before is answered. */
static void run_complete(struct actor *self, struct repl *s, struct connection *c)
{
	while (may_run(c)) {
		char *end = memchr(c->line, '\n', c->line_size);
		char line[LINE_MAX];
		size_t size;

		if (!end)
			return;
		size = (size_t)(end - c->line);
		memcpy(line, c->line, size);
		c->line_size -= (uint32_t)size + 1;
		memmove(c->line, end + 1, c->line_size);
		if (follows(c))
			end_follow(self, s, c);
		else
			run_line(self, s, c, line, size);
	}
}

static void read_lines(struct actor *self, struct repl *s, struct connection *c)
{
	while (may_run(c)) {
		long got;

		if (c->line_size == LINE_MAX) {
			s->st.malformed++;
			drop(self, s, c);
			return;
		}
		got = net_read(self, c->socket, c->line + c->line_size, LINE_MAX - c->line_size);
		if (got == -1)
			return;
		if (got <= 0) {
			drop(self, s, c);
			return;
		}
		c->line_size += (uint32_t)got;
		run_complete(self, s, c);
	}
}

static void repl_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	struct repl *s = data;
	struct connection *c = find_socket(s, socket);

	if (!c) {
		net_close(self, socket);
		return;
	}
	(void)events; /* who has only ended his side is still answered; else the write will fail */
	if (c->out)
		write_on(self, s, c);
	if (may_run(c))
		run_complete(self, s, c);
	read_lines(self, s, c);
}

static void repl_accepted(struct actor *self, void *data, uint32_t listener, uint32_t socket,
	const struct net_addr *peer)
{
	struct repl *s = data;

	(void)listener;
	(void)peer;
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		if (s->connections[i].socket)
			continue;
		s->connections[i].socket = socket;
		s->st.connections++;
		s->st.accepted++;
		return;
	}
	s->st.refused++;
	net_close(self, socket);
}

/* ---- the console's answers ------------------------------------------------------------------- */

static struct connection *find_request(struct repl *s, uint64_t request)
{
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (request && s->connections[i].request == request)
			return &s->connections[i];
	return NULL;
}

static void answered(struct actor *self, struct repl *s, struct connection *c)
{
	if (may_run(c)) {
		run_complete(self, s, c);
		read_lines(self, s, c);
	}
}

static void begin_follow(
	struct actor *self, struct repl *s, struct connection *c, struct addr source)
{
	c->source = source;
	c->source_left_out = c->left_out = c->told_left_out = c->events = 0;
	s->st.follows++;
	actor_monitor(self, source);
}

ON(repl, console_answer)
{
	struct connection *c = find_request(s, mail->request);

	if (!c)
		return ERR_OK;
	c->request = 0;
	if (m->err && m->json.size && m->json.data[0] != '{') { /* of an api command: a text */
		char text[128];

		snprintf(text, sizeof(text), "%.*s", (int)m->json.size, m->json.data);
		write_error(self, s, c, (enum err)m->err, text);
	} else {
		if (!m->err && !addr_is_nobody(m->source))
			begin_follow(self, s, c, m->source);
		write_line(self, s, c, m->json.data, m->json.size);
	}
	answered(self, s, c);
	return ERR_OK;
}

ON(repl, failed)
{
	struct connection *c = find_request(s, mail->request);

	if (!c)
		return ERR_OK;
	c->request = 0;
	write_error(
		self, s, c, (enum err)m->err, m->text[0] ? m->text : err_text((enum err)m->err));
	answered(self, s, c);
	return ERR_OK;
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct connection *find_follow(struct repl *s, uint64_t follow, struct addr source)
{
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (s->connections[i].follow == follow &&
			addr_equal(s->connections[i].source, source))
			return &s->connections[i];
	return NULL;
}

/* One document of the source in its envelope, with how many are missing before it. */
static void write_event(struct actor *self, struct repl *s, struct connection *c,
	const char *document, size_t size, bool more)
{
	static const size_t envelope_max = 100;
	uint64_t left_out = c->left_out + c->source_left_out;
	char *text = malloc(size + envelope_max);
	size_t used = 0;

	if (!text) {
		c->left_out++;
		return;
	}
	used = (size_t)snprintf(text, envelope_max, "{\"ok\":true,\"result\":");
	memcpy(text + used, document, size);
	used += size;
	if (left_out != c->told_left_out)
		used += (size_t)snprintf(text + used, envelope_max / 2, ",\"left_out\":%llu",
			(unsigned long long)(left_out - c->told_left_out));
	used += (size_t)snprintf(
		text + used, envelope_max / 4, "%s}", more ? ",\"more\":true" : "");
	c->told_left_out = left_out;
	write_line(self, s, c, text, used);
	free(text);
}

ON(repl, console_event)
{
	struct connection *c = find_follow(s, m->follow, mail->from);
	const char *at = m->json.data, *end = at + m->json.size;

	if (find_follow(s, m->follow, (struct addr){0}))
		return ERR_OK; /* it has overtaken the answer */
	if (!c)		       /* of a connection that has ended */
		return actor_send(self, mail->from, console_unfollow, {.follow = m->follow});
	c->source_left_out = m->left_out;
	while (at && at < end && c->socket) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((newline ? newline : end) - at);

		if (c->out_size - c->out_sent + size > FOLLOW_BYTES_MAX) {
			c->left_out++;
			s->st.left_out++;
		} else {
			c->events++;
			write_event(self, s, c, at, size, true);
		}
		at += size + 1;
	}
	return ERR_OK;
}

ON(repl, console_end)
{
	struct connection *c = find_follow(s, m->follow, mail->from);

	if (!c)
		return ERR_OK;
	unfollow(self, s, c);
	write_event(self, s, c, m->json.data, m->json.size, false);
	if (c->socket)
		answered(self, s, c);
	return ERR_OK;
}

/* The process of what is followed has ended. */
ON(repl, down)
{
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *c = &s->connections[i];

		if (!follows(c) || !addr_equal(c->source, m->who))
			continue;
		c->source = (struct addr){0};
		write_error(self, s, c, ERR_DEAD, "the process of this actor has ended");
		answered(self, s, c);
	}
	return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err repl_init(struct actor *self, void *data, const void *args)
{
	struct repl *s = data;

	(void)args;
	actor_set_name(self, "office/repl");
	s->connections = calloc(CONNECTIONS_MAX, sizeof(*s->connections));
	if (!s->connections)
		return ERR_NO_MEMORY;
	s->listener = net_take(self, NET_REPL);
	return ERR_OK;
}

/* Connections end with their process; clients connect again. */
static enum err repl_restore(struct actor *self, void *data)
{
	struct repl *s = data;

	s->st.connections = 0;
	return repl_init(self, data, NULL);
}

static void repl_stop(struct actor *self, void *data, enum err reason)
{
	struct repl *s = data;

	(void)reason;
	for (int i = 0; s->connections && i < CONNECTIONS_MAX; i++)
		if (s->connections[i].socket)
			drop(self, s, &s->connections[i]);
	free(s->connections);
}

static const struct handler repl_handlers[] = {
	HANDLER(repl, console_answer, 0),
	HANDLER(repl, console_event, 0),
	HANDLER(repl, console_end, 0),
	HANDLER(repl, down, 0),
	HANDLER(repl, failed, 0),
};

const struct actor_type repl_actor = {
	.name = "repl",
	.size = sizeof(struct repl),
	.state = &schema_repl_state,
	HANDLER_TABLE(repl_handlers),
	.init = repl_init,
	.restore = repl_restore,
	.stop = repl_stop,
	.tcp = repl_tcp,
	.accepted = repl_accepted,
};

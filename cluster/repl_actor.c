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
 *                  any --closed by the peer, broken, idle too long, a line too long--> (gone)
 *
 * One request a connection is under way; what else comes stays in the kernel's socket buffer, so a
 * client can make nothing grow here. Owns the listener (given by the supervisor, who keeps it open
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
	ANSWER_MAX = 400000,
	ASK_MS = 5000,
};

struct connection {
	uint32_t socket; /* 0 = free */
	uint32_t line_size;
	char line[LINE_MAX];
	uint64_t request; /* to the console, 0 = none */
	char *out;	  /* ANSWER_MAX + 1, while there is something to write */
	size_t out_size, out_sent;
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

static void drop(struct actor *self, struct repl *s, struct connection *c)
{
	if (c->request)
		actor_forget_request(self, c->request);
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
			net_want(self, c->socket, NET_WRITABLE);
			return;
		}
		c->out_sent += (size_t)sent;
	}
	free(c->out);
	c->out = NULL;
	net_want(self, c->socket, NET_READABLE);
}

static void write_line(
	struct actor *self, struct repl *s, struct connection *c, const char *text, size_t size)
{
	c->out = malloc(size + 1);
	if (!c->out) {
		drop(self, s, c);
		return;
	}
	memcpy(c->out, text, size);
	c->out[size] = '\n';
	c->out_size = size + 1;
	c->out_sent = 0;
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
		c->request = actor_request(self, actor_office(self, OFFICE_CONSOLE), ASK_MS,
			console_query,
			{
				.command = {json_string_value(command),
					    (uint32_t)json_string_length(command)}
		      });
		net_want(self, c->socket, 0);
	} else {
		s->st.malformed++;
		write_error(self, s, c, ERR_FORMAT, "expected {\"command\":\"…\"}");
	}
	json_decref(document);
}

/* Runs the lines that are complete, one at a time: the next when the one before is answered. */
static void run_complete(struct actor *self, struct repl *s, struct connection *c)
{
	while (c->socket && !c->request && !c->out) {
		char *end = memchr(c->line, '\n', c->line_size);
		char line[LINE_MAX];
		size_t size;

		if (!end)
			return;
		size = (size_t)(end - c->line);
		memcpy(line, c->line, size);
		c->line_size -= (uint32_t)size + 1;
		memmove(c->line, end + 1, c->line_size);
		run_line(self, s, c, line, size);
	}
}

static void read_lines(struct actor *self, struct repl *s, struct connection *c)
{
	while (c->socket && !c->request && !c->out) {
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
	if (!c->out)
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
	if (c->socket && !c->out) {
		run_complete(self, s, c);
		read_lines(self, s, c);
	}
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_console.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAGES = 4, TOPS = 2, WATCHED_SESSIONS = 3, ANSWER_MAX = 1024 };

/* The address of the actor of that type and index. */
static void find_actor(
	const struct bench_node *node, const char *type, size_t index, char address[64])
{
	static char answer[1 << 16];
	char path[128];
	json_t *root, *rows;
	const char *text;

	snprintf(path, sizeof(path), "/api/v1/actors?type=%s&limit=%zu", type, index + 1);
	if (bench_http(&node->http, "GET", path, "text/plain", "", answer, sizeof(answer)) != 200)
		bench_die("no list of actors: %.200s", answer);
	root = json_loads(strstr(answer, "\r\n\r\n") + 4, 0, NULL);
	rows = json_object_get(root, "actors");
	text = json_string_value(json_object_get(json_array_get(rows, index), "addr"));
	if (!text)
		bench_die("there is no %s %zu", type, index);
	snprintf(address, 64, "%s", text);
	json_decref(root);
}

static struct bench_console *open_socket(
	struct bench_consoles *consoles, const struct bench_node *node, const char *path)
{
	struct bench_console *c = &consoles->of[consoles->count++];
	char bytes[ANSWER_MAX];
	size_t size = 0;
	int asked = snprintf(bytes, sizeof(bytes),
		"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "
		"websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		path);

	*c = (struct bench_console){.fd = bench_connect(&node->http)};
	snprintf(c->what, sizeof(c->what), "%s", path);
	if (write(c->fd, bytes, (size_t)asked) != asked)
		bench_die("cannot ask for %s", path);
	/* a byte at a time: what comes behind the answer is counted */
	for (; size < 4 || memcmp(bytes + size - 4, "\r\n\r\n", 4); size++)
		if (size + 1 == sizeof(bytes) || read(c->fd, bytes + size, 1) != 1)
			bench_die("%s is not answered", path);
	bytes[size] = 0;
	if (bench_http_status(bytes) != 101)
		bench_die("%s is answered %s", path, bytes);
	return c;
}

/* A text message; masked by nothing. */
static void open_console(
	struct bench_consoles *consoles, const struct bench_node *node, const char *command)
{
	struct bench_console *c = open_socket(consoles, node, "/api/v1/repl");
	size_t size = strlen(command);
	uint8_t bytes[6 + 125] = {0x81, (uint8_t)(0x80 | size)};

	if (size > sizeof(bytes) - 6)
		bench_die("%s is too long", command);
	memcpy(bytes + 6, command, size);
	if (write(c->fd, bytes, 6 + size) != (ssize_t)(6 + size))
		bench_die("cannot say %s", command);
	snprintf(c->what, sizeof(c->what), "%s", command);
}

static void open_on_actor(struct bench_consoles *consoles, const struct bench_node *node,
	const char *verb, const char *type, size_t index)
{
	char address[64], command[100];

	find_actor(node, type, index, address);
	snprintf(command, sizeof(command), "%s %s", verb, address);
	open_console(consoles, node, command);
}

void bench_consoles_open(struct bench_consoles *consoles, const struct bench_node *node)
{
	*consoles = (struct bench_consoles){0};
	for (int i = 0; i < PAGES; i++)
		open_socket(consoles, node, "/api/v1/live");
	for (int i = 0; i < TOPS; i++)
		open_console(consoles, node, "top");
	open_on_actor(consoles, node, "watch", "stream", 0);
	for (size_t i = 0; i < WATCHED_SESSIONS; i++)
		open_on_actor(consoles, node, "watch", "session", i);
	open_on_actor(consoles, node, "trace", "stream", 0);
	open_on_actor(consoles, node, "trace", "rtc_port", 0);
}

void bench_consoles_drain(struct bench_consoles *consoles)
{
	static char nothing[1 << 16];
	ssize_t got;

	for (size_t i = 0; i < consoles->count; i++) {
		struct bench_console *c = &consoles->of[i];

		while ((got = recv(c->fd, nothing, sizeof(nothing), MSG_DONTWAIT)) > 0)
			c->bytes += (size_t)got;
		if (got == 0 || errno != EAGAIN)
			bench_die("%s was cut off", c->what);
	}
}

void bench_consoles_close(struct bench_consoles *consoles)
{
	bench_consoles_drain(consoles);
	for (size_t i = 0; i < consoles->count; i++) {
		if (!consoles->of[i].bytes)
			bench_die("%s was told nothing", consoles->of[i].what);
		close(consoles->of[i].fd);
	}
	consoles->count = 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_operators.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

enum { FRAMES_A_TURN = 16, AGAIN_US = 20000 };

/* ---- frames out ------------------------------------------------------------------------------ */

/* False: it could not be given away now. */
static bool send_frame(
	void *router, const uint8_t *route, size_t route_size, const uint8_t *bytes, size_t size)
{
	if (zmq_send(router, route, route_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
		return false;
	return zmq_send(router, bytes, size, ZMQ_DONTWAIT) >= 0;
}

static void say(const struct mesh_operator_letter *to, enum operator_kind kind, const void *bytes,
	size_t size)
{
	uint8_t frame[OPERATOR_HEAD_SIZE + MESH_CERTIFICATE_SIZE];

	operator_frame_head(kind, frame);
	if (size)
		memcpy(frame + OPERATOR_HEAD_SIZE, bytes, size);
	(void)send_frame(to->router, to->route, to->route_size, frame, OPERATOR_HEAD_SIZE + size);
}

/* ---- coming and going ------------------------------------------------------------------------ */

static struct mesh_operator *find(struct mesh_operators *all, const uint8_t *route, size_t size)
{
	for (int i = 0; i < MESH_OPERATORS_MAX; i++) {
		struct mesh_operator *one = &all->operators[i];

		if (one->used && one->route_size == size && !memcmp(one->route, route, size))
			return one;
	}
	return NULL;
}

static void drop(struct mesh_operators *all, struct mesh_operator *one, const char *why)
{
	log_info(all->log, "operator_left", "operator", one->name, "why", why);
	close(one->console);
	*one = (struct mesh_operator){0};
	all->count--;
}

/* The node's own console, as a local client finds it. */
static int connect_console(const struct mesh_operators *all)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = all->tag};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* the run directory was checked to leave room for the names of sockets */
	snprintf(address.sun_path, sizeof(address.sun_path), "%.*s/repl.sock",
		(int)(sizeof(address.sun_path) - sizeof("/repl.sock")), all->run_dir);
	if (fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
			       epoll_ctl(all->epoll, EPOLL_CTL_ADD, fd, &event))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static enum err admit(struct mesh_operators *all, const struct mesh_operator_letter *letter,
	const struct operator_frame *frame)
{
	struct operator_certificate says;
	struct mesh_operator *one = all->operators;
	enum err err;

	if (!all->has_cluster_key)
		return ERR_UNSUPPORTED;
	err = operator_certificate_verify(
		frame->bytes, frame->size, all->cluster_key, letter->now_s, &says);
	if (err)
		return err;
	if (letter->revoked || memcmp(says.key, letter->key, MESH_KEY_SIZE))
		return ERR_FORBIDDEN;
	if (all->count == MESH_OPERATORS_MAX)
		return ERR_LIMIT;
	int console = connect_console(all);
	if (console < 0)
		return ERR_IO;
	while (one->used)
		one++;
	*one = (struct mesh_operator){.used = true,
		.fd = letter->fd,
		.console = console,
		.route_size = letter->route_size};
	memcpy(one->route, letter->route, letter->route_size);
	memcpy(one->key, letter->key, MESH_KEY_SIZE);
	text_copy(one->name, sizeof(one->name), says.name);
	all->count++;
	all->accepted++;
	return ERR_OK;
}

static void take_open(struct mesh_operators *all, struct mesh_door *door,
	const struct mesh_operator_letter *letter, const struct operator_frame *frame)
{
	char digits[MESH_KEY_TEXT_SIZE];
	enum err err = admit(all, letter, frame);
	uint8_t why = (uint8_t)err;

	mesh_hex_write(letter->key, MESH_KEY_SIZE, digits);
	if (err) {
		all->refused++;
		log_warn(all->log, "operator_refused", "key", digits, "error", err_name(err));
		if (mesh_door_refuse(door, letter->fd))
			say(letter, OPERATOR_REFUSED, &why, sizeof(why));
		else
			mesh_door_end(door, letter->fd);
		return;
	}
	mesh_door_greeted(door, letter->fd);
	log_info(all->log, "operator_came", "operator",
		find(all, letter->route, letter->route_size)->name, "key", digits);
	say(letter, OPERATOR_OPENED, letter->certificate, letter->certificate_size);
}

void mesh_operators_frame(struct mesh_operators *all, struct mesh_door *door,
	const struct mesh_operator_letter *letter)
{
	struct mesh_operator *one = find(all, letter->route, letter->route_size);
	struct operator_frame frame;
	enum err err = letter->route_size <= MESH_ROUTE_MAX
			       ? operator_frame_read(letter->bytes, letter->size, &frame)
			       : ERR_FORMAT;

	if (!err && !one && frame.kind == OPERATOR_OPEN) {
		take_open(all, door, letter, &frame);
		return;
	}
	if (err || !one || frame.kind != OPERATOR_DATA) {
		if (one)
			drop(all, one, "it makes no sense");
		mesh_door_end(door, letter->fd);
		return;
	}
	/* one command is smaller than the socket's buffer, and the next waits for its answer */
	if (send(one->console, frame.bytes, frame.size, MSG_NOSIGNAL) == (ssize_t)frame.size)
		return;
	say(letter, OPERATOR_END, NULL, 0);
	drop(all, one, "the console does not take what it says");
}

/* ---- what consoles say ----------------------------------------------------------------------- */

static void say_end(struct mesh_operator *one, void *router)
{
	uint8_t head[OPERATOR_HEAD_SIZE];

	operator_frame_head(OPERATOR_END, head);
	(void)send_frame(router, one->route, one->route_size, head, sizeof(head));
}

/* One frame; false: nothing is there, or ZeroMQ takes nothing now, or it is over. */
static bool carry(struct mesh_operators *all, struct mesh_operator *one, void *router)
{
	if (!one->held) {
		ssize_t got =
			recv(one->console, one->frame + OPERATOR_HEAD_SIZE, OPERATOR_DATA_MAX, 0);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (got <= 0) {
			say_end(one, router);
			drop(all, one, "the console has closed");
			return false;
		}
		operator_frame_head(OPERATOR_DATA, one->frame);
		one->held = OPERATOR_HEAD_SIZE + (size_t)got;
	}
	if (!send_frame(router, one->route, one->route_size, one->frame, one->held)) {
		if (zmq_errno() != EAGAIN) /* a ROUTER that must route says so of who is gone */
			drop(all, one, "its connection has ended");
		return false;
	}
	one->held = 0;
	return true;
}

bool mesh_operators_run(struct mesh_operators *all, const struct mesh_door *door, void *router,
	int64_t now_us, int64_t *due_us)
{
	bool more = false;

	*due_us = INT64_MAX;
	for (int i = 0; i < MESH_OPERATORS_MAX; i++) {
		struct mesh_operator *one = &all->operators[i];
		int frames = 0;

		if (one->used && !mesh_door_has_greeted(door, one->fd))
			drop(all, one, "its connection has ended");
		while (one->used && frames < FRAMES_A_TURN && carry(all, one, router))
			frames++;
		more |= frames == FRAMES_A_TURN;
		if (one->used && one->held)
			*due_us = now_us + AGAIN_US;
	}
	return more;
}

void mesh_operators_revoke(
	struct mesh_operators *all, void *router, const uint8_t key[MESH_KEY_SIZE])
{
	for (int i = 0; i < MESH_OPERATORS_MAX; i++) {
		struct mesh_operator *one = &all->operators[i];

		if (!one->used || memcmp(one->key, key, MESH_KEY_SIZE))
			continue;
		say_end(one, router);
		drop(all, one, "its key was revoked");
	}
}

void mesh_operators_close(struct mesh_operators *all)
{
	for (int i = 0; i < MESH_OPERATORS_MAX; i++)
		if (all->operators[i].used)
			drop(all, &all->operators[i], "the node closes the port");
}

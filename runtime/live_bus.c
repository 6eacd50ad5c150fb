/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames between processes over ZeroMQ: every process binds one ROUTER at an ipc endpoint named by
 * its incarnation and connects one DEALER to each of the others. What the frames mean, and that
 * nothing is lost silently, is bus.c's business.
 */
#include "runtime/live_internal.h"

#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

enum { HIGH_WATER = 4000, PATH_MAX_IPC = 107 };

static void endpoint(const struct process_env *env, uint32_t process, char *text, size_t size)
{
	snprintf(text, size, "ipc://%.90s/bus-%u", env->run_dir, process);
}

static void set(void *socket, int option, int value)
{
	zmq_setsockopt(socket, option, &value, sizeof(value));
}

enum err live_bus_open(struct live *live)
{
	char text[PATH_MAX_IPC + 8];
	size_t size = sizeof(live->router_fd);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = LIVE_TAG_BUS};

	if (!live->env->run_dir[0]) /* a process by itself: nobody to talk to */
		return ERR_OK;
	live->zmq = zmq_ctx_new();
	live->router = live->zmq ? zmq_socket(live->zmq, ZMQ_ROUTER) : NULL;
	if (!live->router)
		return ERR_NO_MEMORY;
	set(live->router, ZMQ_LINGER, 0);
	set(live->router, ZMQ_RCVHWM, HIGH_WATER);
	set(live->router, ZMQ_MAXMSGSIZE, RUNTIME_FRAME_MAX);
	endpoint(live->env, live->env->incarnation, text, sizeof(text));
	unlink(text + strlen("ipc://"));
	if (zmq_bind(live->router, text) ||
		zmq_getsockopt(live->router, ZMQ_FD, &live->router_fd, &size) ||
		epoll_ctl(live->epoll, EPOLL_CTL_ADD, live->router_fd, &event)) {
		log_error(&live->log, "bus_bind_failed", "endpoint", text, "error",
			zmq_strerror(zmq_errno()));
		return ERR_IO;
	}
	return ERR_OK;
}

static void close_peer(struct live_peer *peer)
{
	if (peer->socket)
		zmq_close(peer->socket);
	peer->socket = NULL;
}

void live_bus_close(struct live *live)
{
	char text[PATH_MAX_IPC + 8];

	for (int i = 0; i < PROCESS_PEERS_MAX; i++)
		close_peer(&live->peers[i]);
	if (!live->zmq)
		return;
	if (live->router)
		zmq_close(live->router);
	zmq_ctx_term(live->zmq);
	endpoint(live->env, live->env->incarnation, text, sizeof(text));
	unlink(text + strlen("ipc://"));
}

enum err live_bus_connect(struct live *live, struct live_peer *peer)
{
	char text[PATH_MAX_IPC + 8];

	peer->socket = zmq_socket(live->zmq, ZMQ_DEALER);
	if (!peer->socket)
		return ERR_NO_MEMORY;
	/* what is on its way when we stop still leaves */
	set(peer->socket, ZMQ_LINGER, 100);
	set(peer->socket, ZMQ_SNDHWM, HIGH_WATER);
	endpoint(live->env, peer->incarnation, text, sizeof(text));
	return zmq_connect(peer->socket, text) ? ERR_IO : ERR_OK;
}

/* The peer is dead: nothing can leave any more. */
void live_bus_disconnect(struct live_peer *peer)
{
	if (peer->socket)
		set(peer->socket, ZMQ_LINGER, 0);
	close_peer(peer);
}

static struct live_peer *find_peer(struct live *live, uint32_t process)
{
	for (int i = 0; i < PROCESS_PEERS_MAX; i++)
		if (live->peers[i].process == process)
			return &live->peers[i];
	return NULL;
}

enum err live_bus_send(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	struct live *live = context;
	struct live_peer *peer = find_peer(live, process);
	size_t size = 0;
	zmq_msg_t frame;

	if (!peer)
		return ERR_DEAD;
	if (!peer->socket)
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	if (zmq_msg_init_size(&frame, size))
		return ERR_NO_MEMORY;
	uint8_t *at = zmq_msg_data(&frame);

	for (size_t i = 0; i < count; i++) {
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	if (zmq_msg_send(&frame, peer->socket, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&frame);
		return ERR_AGAIN;
	}
	return ERR_OK;
}

static bool take_one(struct live *live)
{
	zmq_msg_t part;
	bool more;

	zmq_msg_init(&part);
	if (zmq_msg_recv(&part, live->router, ZMQ_DONTWAIT) < 0) { /* the sender's identity */
		zmq_msg_close(&part);
		return false;
	}
	more = zmq_msg_more(&part);
	zmq_msg_close(&part);
	for (int parts = 0; more; parts++) {
		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, live->router, ZMQ_DONTWAIT) < 0)
			break;
		more = zmq_msg_more(&part);
		if (parts == 0 && !more)
			runtime_bus_frame(live->rt, zmq_msg_data(&part), zmq_msg_size(&part));
		zmq_msg_close(&part);
	}
	return true;
}

/* The router's descriptor tells when something has come after it was found empty; to look without
 * being told would cost a system call a turn. (A socket that is written to as well would have to be
 * looked at after every write.) */
void live_bus_receive(struct live *live)
{
	for (int i = 0; live->bus_waits && i < LIVE_BUS_FRAMES; i++)
		live->bus_waits = take_one(live);
}

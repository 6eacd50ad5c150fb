/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP: raw non-blocking sockets. Nothing is buffered here: what the kernel does not take stays with
 * the actor (whose buffers lie in the arena), so that no byte dies with a library's queue.
 */
#include "runtime/live_internal.h"

#include <errno.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes that the kernel keeps beyond what is on its way. Its own choice grows to megabytes, many
 * seconds of a stream: a viewer that is too slow would show only when nothing can be done for it. */
enum { LIVE_TCP_UNSENT = 128 * 1024, LISTENER_REST_US = 100000 };

/* tcpi_state: <netinet/tcp.h>, which names them, knows too little of struct tcp_info. */
enum tcp_state { TIME_WAIT = 6, CLOSED = 7, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

void live_tcp_arm(struct live *live, uint32_t number)
{
	struct live_socket *socket = live_socket(live, number);
	struct epoll_event event = {.data.u64 = live_tag(live, number)};
	unsigned wanted = socket->tls && live_tls_is_shaking(socket) ? 0 : socket->wanted;

	if (socket->tls)
		wanted |= live_tls_wants(socket);
	/* who wants nothing now would spin on a half-closed peer */
	event.events = socket->wanted ? EPOLLRDHUP : 0;
	if (wanted & NET_READABLE)
		event.events |= EPOLLIN;
	if (wanted & NET_WRITABLE)
		event.events |= EPOLLOUT;
	epoll_ctl(live->epoll, EPOLL_CTL_MOD, socket->fd, &event);
}

/* An exclusive registration cannot be modified, only removed and added. */
static void watch_listener(struct live *live, uint32_t number, bool on)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};

	event.data.u64 = live_tag(live, number);
	epoll_ctl(live->listeners, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
		live_socket(live, number)->fd, &event);
}

void live_tcp_rest_listener(struct live *live, uint32_t number)
{
	struct live_socket *listener = live_socket(live, number);

	if (!listener || listener->resting)
		return;
	listener->resting = true;
	if (!listener->paused)
		watch_listener(live, number, false);
}

/* No descriptor or memory is left: who waits stays in the backlog, and trying again at once would
 * only burn the processor that could free some. */
static void rest(struct live *live, uint32_t number)
{
	live->accepts_failed++;
	log_warn(&live->log, "accept_failed", "error", strerror(errno));
	live_tcp_rest_listener(live, number);
	live->listeners_rest_until_us = live_now_us() + LISTENER_REST_US;
}

void live_tcp_wake_listener(struct live *live, uint32_t number)
{
	struct live_socket *listener = live_socket(live, number);

	if (!listener || !listener->resting)
		return;
	listener->resting = false;
	if (!listener->paused)
		watch_listener(live, number, true);
}

void live_tcp_wake_listeners(struct live *live, int64_t now_us)
{
	if (!live->listeners_rest_until_us || now_us < live->listeners_rest_until_us)
		return;
	live->listeners_rest_until_us = 0;
	for (int what = 0; what < NET_GIVEN_COUNT; what++)
		if (live_tls_use((enum net_given)what) < 0 || live->tls.context)
			live_tcp_wake_listener(live, live->given[what]);
}

/* TLS cannot be continued by another process: those connections end with this one. */
static enum err take(struct live *live, uint32_t connection, enum net_given listener)
{
	int use = live_tls_use(listener);
	enum err err = use < 0 ? ERR_OK : live_tls_accept(live, connection, (enum tls_use)use);

	if (use < 0)
		live_holder_keep(live, connection, listener);
	if (err) {
		live->accepts_failed++;
		log_warn(&live->log, "accept_failed", "error", err_text(err));
		live_tcp_close(live, connection);
	}
	return err;
}

void live_tcp_accept(struct live *live, uint32_t number)
{
	for (int i = 0; i < LIVE_ACCEPTS; i++) {
		struct live_socket *listener = live_socket(live, number);
		struct sockaddr_in6 from;
		socklen_t size = sizeof(from);
		struct net_addr peer;
		int one = 1, unsent = LIVE_TCP_UNSENT;

		if (!listener || listener->kind != LIVE_LISTENER || listener->paused ||
			listener->resting)
			return;
		int fd = accept4(listener->fd, (struct sockaddr *)&from, &size,
			SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == ECONNABORTED || errno == EINTR)
				continue;
			if (errno != EAGAIN)
				rest(live, number);
			return;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
		net_addr_from_system(&from, NET_TCP, &peer);
		uint32_t connection = live_add_socket(live, fd, LIVE_CONNECTION, listener->owner);

		if (!connection) {
			live->accepts_failed++;
			log_warn(&live->log, "too_many_sockets", "limit", LIVE_SOCKETS_MAX);
			close(fd);
			return;
		}
		if (take(live, connection, (enum net_given)(number - 1)))
			continue;
		runtime_net_accepted(live->rt, listener->owner, number, connection, &peer);
	}
}

uint32_t live_tcp_connect(
	void *context, uint64_t owner, const struct net_addr *to, const struct net_tls *tls)
{
	struct live *live = context;
	struct sockaddr_in6 name;
	socklen_t size = net_addr_to_system(to, false, &name);
	int fd = socket(name.sin6_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;
	uint32_t number;

	if (fd < 0)
		return 0;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)&name, size) && errno != EINPROGRESS) {
		close(fd);
		return 0;
	}
	number = live_add_socket(live, fd, LIVE_CONNECTION, owner);
	if (!number) {
		close(fd);
		return 0;
	}
	if (tls && live_tls_connect(live, number, tls)) {
		live_tcp_close(live, number);
		return 0;
	}
	live_tcp_want(live, number, NET_READABLE | NET_WRITABLE);
	return number;
}

void live_tcp_event(struct live *live, uint32_t number, uint32_t events)
{
	struct live_socket *socket = live_socket(live, number);
	unsigned seen = 0;

	if (socket->tls && !live_tls_event(live, number, &events))
		return;
	if (events & EPOLLIN)
		seen |= NET_READABLE;
	if (events & EPOLLOUT)
		seen |= NET_WRITABLE;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		seen |= NET_READABLE | NET_CLOSED;
	runtime_net_tcp(live->rt, socket->owner, number, seen);
	socket = live_socket(live, number);
	if (socket && (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) &&
		!runtime_find(live->rt, socket->owner))
		live_tcp_close(live, number); /* its actor is gone: nobody else will */
}

void live_listen_pause(void *context, uint32_t number, bool paused)
{
	struct live *live = context;
	struct live_socket *listener = live_socket(live, number);

	if (!listener || listener->kind != LIVE_LISTENER || listener->paused == paused)
		return;
	listener->paused = paused;
	if (!listener->resting)
		watch_listener(live, number, !paused);
}

void live_tcp_give(void *context, uint32_t number, uint64_t owner)
{
	struct live *live = context;
	struct live_socket *socket = live_socket(live, number);

	if (!socket)
		return;
	socket->owner = owner;
	live_holder_changed(live, socket);
}

long live_tcp_receive(struct live *live, int fd, void *buffer, size_t size)
{
	ssize_t result = recv(fd, buffer, size, MSG_DONTWAIT);

	if (result >= 0) {
		live->packets++;
		return result;
	}
	return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

long live_tcp_transmit(struct live *live, int fd, const struct iovec *parts, size_t count)
{
	struct msghdr message = {
		.msg_iov = (struct iovec *)(uintptr_t)parts,
		.msg_iovlen = count,
	};
	const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	ssize_t result = count == 1 ? send(fd, parts->iov_base, parts->iov_len, flags)
				    : sendmsg(fd, &message, flags);

	if (result >= 0) {
		live->packets++;
		live->bytes_out += (uint64_t)result;
		return result;
	}
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -1 : -2;
}

long live_tcp_read(void *context, uint32_t number, void *buffer, size_t size)
{
	struct live *live = context;
	struct live_socket *socket = live_socket(live, number);

	if (!socket)
		return -2;
	return socket->tls ? live_tls_read(live, number, buffer, size)
			   : live_tcp_receive(live, socket->fd, buffer, size);
}

long live_tcp_write(void *context, uint32_t number, const struct iovec *parts, size_t count)
{
	struct live *live = context;
	struct live_socket *socket = live_socket(live, number);

	if (!socket)
		return -2;
	return socket->tls ? live_tls_write(live, number, parts, count)
			   : live_tcp_transmit(live, socket->fd, parts, count);
}

void live_tcp_want(void *context, uint32_t number, unsigned events)
{
	struct live *live = context;
	struct live_socket *socket = live_socket(live, number);

	if (!socket || socket->kind != LIVE_CONNECTION || socket->wanted == events)
		return;
	socket->wanted = (uint8_t)events;
	live_tcp_arm(live, number);
	if (socket->tls)
		live_tls_wanted(live, number);
}

void live_tcp_close(void *context, uint32_t number)
{
	struct live *live = context;
	struct live_socket *socket = live_socket(live, number);
	char rest[4096];

	if (!socket)
		return;
	if (socket->tls) {
		if (live_tls_lingers(live, number))
			return;
		live_tls_free(live, socket);
	}
	if (socket->kind == LIVE_CONNECTION || socket->kind == LIVE_LINGERING) {
		/* unread input would turn the close into a reset that eats what was written last */
		shutdown(socket->fd, SHUT_WR);
		for (int i = 0; i < 16 && recv(socket->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0;
			i++)
			;
	}
	/* a duplicate elsewhere would keep it registered, and telling, after the close */
	epoll_ctl(socket->kind == LIVE_LISTENER ? live->listeners : live->epoll, EPOLL_CTL_DEL,
		socket->fd, NULL);
	close(socket->fd);
	live_holder_release(live, socket);
	live_free_socket(live, number);
}

static bool read_info(int fd, struct tcp_info *info)
{
	socklen_t size = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) &&
	       size >= offsetof(struct tcp_info, tcpi_bytes_retrans) +
			       sizeof(info->tcpi_bytes_retrans);
}

/* The peer has ended its side; the kernel counts that as a byte. */
static bool has_ended(const struct tcp_info *info)
{
	return info->tcpi_state == CLOSE_WAIT || info->tcpi_state == LAST_ACK ||
	       info->tcpi_state == CLOSING || info->tcpi_state == TIME_WAIT;
}

bool live_tcp_progress(void *context, uint32_t number, struct net_progress *progress)
{
	const struct live_socket *socket = live_socket(context, number);
	struct tcp_info info, again;
	int unread;

	if (!socket || socket->kind != LIVE_CONNECTION || socket->tls)
		return false;
	do { /* what comes in between would be taken for read */
		if (!read_info(socket->fd, &info) || ioctl(socket->fd, FIONREAD, &unread) ||
			!read_info(socket->fd, &again))
			return false;
	} while (info.tcpi_bytes_received != again.tcpi_bytes_received);
	if (info.tcpi_state == CLOSED || again.tcpi_state == CLOSED)
		return false;
	progress->in = again.tcpi_bytes_received - has_ended(&again) - (unsigned)unread;
	progress->out = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
	return true;
}

void live_local_addr(void *context, uint32_t number, struct net_addr *addr)
{
	struct live_socket *socket = live_socket(context, number);
	struct sockaddr_in6 name = {0};
	socklen_t size = sizeof(name);

	*addr = (struct net_addr){0};
	if (socket && getsockname(socket->fd, (struct sockaddr *)&name, &size) == 0)
		net_addr_from_system(&name, socket->kind == LIVE_UDP ? NET_UDP : NET_TCP, addr);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * UDP: recvmmsg in, GSO out. A burst to one address leaves in as few system calls as its packet
 * sizes allow: a run of equal sizes (the last may be shorter) is one call; a route whose device
 * refuses that (EIO, EINVAL) is remembered and gets sendmmsg.
 */
#include "runtime/live_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
	CONTROL_SIZE = CMSG_SPACE(sizeof(struct timespec)),
	ARRIVAL_AGE_MAX_US = 1000000, /* older is a clock that was set meanwhile */
	LIVE_UDP_ROOM = 1 << 20,      /* bytes of receive buffer of an actor's own socket */
};

struct live_udp_buffers {
	struct mmsghdr messages[NET_BATCH_MAX];
	struct iovec parts[NET_BATCH_MAX];
	struct sockaddr_in6 from[NET_BATCH_MAX];
	struct datagram datagrams[NET_BATCH_MAX];
	_Alignas(struct cmsghdr) uint8_t control[NET_BATCH_MAX][CONTROL_SIZE];
	uint8_t bytes[NET_BATCH_MAX][NET_DATAGRAM_MAX];
};

enum err live_udp_open(struct live *live)
{
	live->udp = calloc(1, sizeof(*live->udp));
	if (!live->udp)
		return ERR_NO_MEMORY;
	for (int i = 0; i < NET_BATCH_MAX; i++) {
		live->udp->parts[i] = (struct iovec){live->udp->bytes[i], NET_DATAGRAM_MAX};
		live->udp->messages[i].msg_hdr = (struct msghdr){
			.msg_name = &live->udp->from[i],
			.msg_namelen = sizeof(live->udp->from[i]),
			.msg_iov = &live->udp->parts[i],
			.msg_iovlen = 1,
			.msg_control = live->udp->control[i],
		};
	}
	return ERR_OK;
}

/* When the kernel took the datagram, on our monotonic clock: congestion control at the sender lives
 * by these times, and our own reading comes late by however long the worker was busy. */
static int64_t arrival_us(const struct msghdr *message, int64_t now_us, int64_t now_real_us)
{
	struct msghdr *m = (struct msghdr *)(uintptr_t)message;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct timespec at;
		int64_t age_us;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&at, CMSG_DATA(c), sizeof(at));
		age_us = now_real_us - ((int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000);
		return age_us >= 0 && age_us < ARRIVAL_AGE_MAX_US ? now_us - age_us : now_us;
	}
	return now_us;
}

void live_udp_close(struct live *live)
{
	free(live->udp);
	live->udp = NULL;
}

uint32_t live_udp_open_socket(void *context, uint64_t owner, uint8_t family)
{
	struct live *live = context;
	const struct sockaddr_in6 any = {.sin6_family = family == 6 ? AF_INET6 : AF_INET};
	const int one = 1, room = LIVE_UDP_ROOM;
	int fd = socket(any.sin6_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	uint32_t number = 0;

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&any,
			       family == 6 ? sizeof(any) : sizeof(struct sockaddr_in)) == 0)
		number = live_add_socket(live, fd, LIVE_UDP, owner);
	if (!number) {
		log_warn(&live->log, "no_udp_socket", "error", strerror(errno));
		if (fd >= 0)
			close(fd);
		return 0;
	}
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	live->sockets[number].v6 = family == 6;
	return number;
}

/* From its connect() on it gets all of its peer's; before, the filter that the given socket has brought to
 * the group (listeners.c) keeps it from drawing what is others'. One with a filter of its own could not
 * join. */
uint32_t live_udp_open_beside(
	void *context, uint64_t owner, const struct net_addr *local, const struct net_addr *peer)
{
	struct live *live = context;
	bool v6 = local->family == 6;
	struct sockaddr_in6 here, there;
	uint32_t here_size = net_addr_to_system(local, v6, &here);
	const int one = 1, zero = 0, room = LIVE_UDP_ROOM;
	uint32_t number = 0;
	int fd;

	if (!local->family || !peer->family || (peer->family == 6 && !v6))
		return 0;
	uint32_t there_size = net_addr_to_system(peer, v6, &there);

	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) &&
		!bind(fd, (const struct sockaddr *)&here, here_size) &&
		!connect(fd, (const struct sockaddr *)&there, there_size))
		number = live_add_socket(live, fd, LIVE_UDP, owner);
	if (!number) {
		log_warn(&live->log, "no_socket_beside", "error", strerror(errno));
		if (fd >= 0)
			close(fd);
		return 0;
	}
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	live->sockets[number].v6 = v6;
	return number;
}

void live_udp_receive(struct live *live, uint32_t number)
{
	struct live_socket *socket = live_socket(live, number);
	struct live_udp_buffers *udp = live->udp;

	for (int round = 0; socket && socket->kind == LIVE_UDP && round < LIVE_UDP_ROUNDS;
		round++) {
		int count;
		int64_t now_us, now_real_us;

		for (int i = 0; i < NET_BATCH_MAX; i++) {
			udp->messages[i].msg_hdr.msg_namelen = sizeof(udp->from[i]);
			udp->messages[i].msg_hdr.msg_controllen = CONTROL_SIZE;
		}
		count = recvmmsg(socket->fd, udp->messages, NET_BATCH_MAX, MSG_DONTWAIT, NULL);
		if (count <= 0)
			return;
		now_us = live_now_us();
		now_real_us = live_real_us();
		for (int i = 0; i < count; i++) {
			struct datagram *datagram = &udp->datagrams[i];

			net_addr_from_system(&udp->from[i], NET_UDP, &datagram->from);
			datagram->bytes = udp->bytes[i];
			datagram->size = (uint16_t)udp->messages[i].msg_len;
			datagram->arrival_us =
				arrival_us(&udp->messages[i].msg_hdr, now_us, now_real_us);
		}
		live->packets += (uint64_t)count;
		runtime_net_datagrams(live->rt, socket->owner, udp->datagrams, (size_t)count);
		if (count < NET_BATCH_MAX)
			return;
		socket = live_socket(live, number);
	}
}

/* ---- sending ----------------------------------------------------------------------------------- */

static uint32_t *route(struct live *live, const struct net_addr *to)
{
	uint32_t hash = 2166136261u;

	for (int i = 0; i < 16; i++)
		hash = (hash ^ to->ip[i]) * 16777619u;
	return &live->no_gso[hash % LIVE_ROUTES];
}

static uint32_t route_id(const struct net_addr *to)
{
	uint32_t hash = 5381;

	for (int i = 0; i < 16; i++)
		hash = hash * 33 + to->ip[i];
	return hash | 1;
}

/* How many packets from the first on can be one GSO send. */
static size_t run_length(const struct iovec *packets, size_t count)
{
	size_t length = 1;

	while (length < count && packets[length].iov_len == packets[0].iov_len)
		length++;
	if (length < count && packets[length].iov_len < packets[0].iov_len)
		length++;
	return length;
}

/* One destination of one call. */
struct way {
	int fd;
	uint32_t *no_gso; /* of the route: its id, when the device refuses */
	uint32_t name_size;
	struct sockaddr_in6 name;
	uint32_t control_size; /* 0 = from where the routing table says */
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* The kernel takes an IPv4-mapped address for a socket of both families. */
static void leave_from(struct way *way, const struct net_addr *local, bool v6)
{
	struct cmsghdr *header = (struct cmsghdr *)way->control;
	struct sockaddr_in6 address;

	net_addr_to_system(local, v6, &address);
	if (v6) {
		struct in6_pktinfo info = {.ipi6_addr = address.sin6_addr};

		*header = (struct cmsghdr){.cmsg_level = IPPROTO_IPV6,
			.cmsg_type = IPV6_PKTINFO,
			.cmsg_len = CMSG_LEN(sizeof(info))};
		memcpy(CMSG_DATA(header), &info, sizeof(info));
		way->control_size = CMSG_SPACE(sizeof(info));
	} else {
		struct in_pktinfo info = {
			.ipi_spec_dst = ((const struct sockaddr_in *)&address)->sin_addr};

		*header = (struct cmsghdr){.cmsg_level = IPPROTO_IP,
			.cmsg_type = IP_PKTINFO,
			.cmsg_len = CMSG_LEN(sizeof(info))};
		memcpy(CMSG_DATA(header), &info, sizeof(info));
		way->control_size = CMSG_SPACE(sizeof(info));
	}
}

/* Packets sent, or -1 with errno. */
static long send_run(struct way *way, const struct iovec *packets, size_t count)
{
	_Alignas(struct cmsghdr) char control[sizeof(way->control) + CMSG_SPACE(sizeof(uint16_t))];
	struct msghdr message = {
		.msg_name = &way->name,
		.msg_namelen = way->name_size,
		.msg_iov = (struct iovec *)(uintptr_t)packets,
		.msg_iovlen = count,
		.msg_control = way->control_size ? way->control : NULL,
		.msg_controllen = way->control_size,
	};
	if (count > 1) {
		uint16_t segment = (uint16_t)packets[0].iov_len;
		struct cmsghdr *header = (struct cmsghdr *)(control + way->control_size);

		memcpy(control, way->control, way->control_size);
		memset(header, 0, CMSG_SPACE(sizeof(segment)));
		header->cmsg_level = IPPROTO_UDP;
		header->cmsg_type = UDP_SEGMENT;
		header->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(header), &segment, sizeof(segment));
		message.msg_control = control;
		message.msg_controllen = way->control_size + CMSG_SPACE(sizeof(segment));
	}
	return sendmsg(way->fd, &message, MSG_DONTWAIT) < 0 ? -1 : (long)count;
}

static long send_each(struct way *way, const struct iovec *packets, size_t count)
{
	struct mmsghdr messages[NET_SEND_PACKETS_MAX];

	for (size_t i = 0; i < count; i++)
		messages[i] = (struct mmsghdr){
			.msg_hdr = {
				    .msg_name = &way->name,
				    .msg_namelen = way->name_size,
				    .msg_iov = (struct iovec *)(uintptr_t)&packets[i],
				    .msg_iovlen = 1,
				    .msg_control = way->control_size ? way->control : NULL,
				    .msg_controllen = way->control_size,
				    }
		 };
	return sendmmsg(way->fd, messages, (unsigned)count, MSG_DONTWAIT);
}

static size_t send_all(
	struct way *way, uint32_t route_number, const struct iovec *packets, size_t count)
{
	bool each = *way->no_gso == route_number;
	size_t sent = 0;

	while (sent < count) {
		size_t run = each ? count - sent : run_length(packets + sent, count - sent);
		long result = each ? send_each(way, packets + sent, run)
				   : send_run(way, packets + sent, run);

		if (result < 0 && !each && run > 1 && (errno == EIO || errno == EINVAL)) {
			*way->no_gso = route_number;
			each = true;
			continue;
		}
		if (result <= 0) {
			/* an unreachable peer is the peer's trouble: the packets count as sent */
			if (result < 0 && errno != EAGAIN && errno != ENOBUFS)
				sent = count;
			break;
		}
		sent += (size_t)result;
	}
	return sent;
}

size_t live_udp_send_from(void *context, uint32_t number, const struct net_addr *local,
	const struct net_addr *to, const struct iovec *packets, size_t count)
{
	struct live *live = context;
	struct live_socket *socket = live_socket(live, number);
	struct way way;
	size_t sent;

	MUST(count <= NET_SEND_PACKETS_MAX);
	if (!socket || socket->kind != LIVE_UDP || !to->family || (to->family == 6 && !socket->v6))
		return 0;
	way.fd = socket->fd;
	way.no_gso = route(live, to);
	way.name_size = net_addr_to_system(to, socket->v6, &way.name);
	way.control_size = 0;
	if (local && local->family == to->family)
		leave_from(&way, local, socket->v6);
	sent = send_all(&way, route_id(to), packets, count);
	live->packets += sent;
	for (size_t i = 0; i < sent; i++)
		live->bytes_out += packets[i].iov_len;
	return sent;
}

size_t live_udp_send(void *context, uint32_t number, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	return live_udp_send_from(context, number, NULL, to, packets, count);
}

bool live_udp_is_local(void *context, const struct net_addr *addr)
{
	struct net_addr any_port = *addr;
	struct sockaddr_in6 name;
	int fd;
	bool bound;

	(void)context;
	any_port.port = 0;
	if (!addr->family)
		return false;
	fd = socket(addr->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bound = fd >= 0 && !bind(fd, (const struct sockaddr *)&name,
				   net_addr_to_system(&any_port, addr->family == 6, &name));
	if (fd >= 0)
		close(fd);
	return bound;
}

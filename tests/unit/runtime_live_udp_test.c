/* SPDX-License-Identifier: Apache-2.0
 *
 * UDP of the live backend through real sockets of the loopback: how bursts are cut into sends, and
 * that a route whose device refuses segmentation still gets every packet.
 */
#include "runtime/live_internal.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE_MAX_SENT = 1400 };

struct pair {
	struct live *live;
	uint32_t sender;
	int receiver;
	struct net_addr to;
};

static int bound_socket(int family, struct sockaddr_in6 *name)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	socklen_t size = sizeof(*name);
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	CHECK_EQ(family == AF_INET ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
				   : bind(fd, (struct sockaddr *)&v6, sizeof(v6)),
		0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)name, &size), 0);
	return fd;
}

/* A sender as the backend knows it, and a plain socket that it sends to. */
static void pair_open(struct pair *p)
{
	struct sockaddr_in6 name;

	p->live = calloc(1, sizeof(*p->live));
	CHECK(p->live);
	p->live->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->live->sockets = calloc(LIVE_SOCKETS_MAX, sizeof(*p->live->sockets));
	p->live->socket_fresh = 1;
	CHECK(p->live->sockets);
	CHECK_OK(live_udp_open(p->live));
	p->sender = live_add_socket(p->live, bound_socket(AF_INET, &name), LIVE_UDP, 1);
	CHECK(p->sender);
	p->receiver = bound_socket(AF_INET, &name);
	net_addr_from_system(&name, NET_UDP, &p->to);
}

static void pair_close(struct pair *p)
{
	close(live_socket(p->live, p->sender)->fd);
	close(p->receiver);
	close(p->live->epoll);
	live_udp_close(p->live);
	free(p->live->sockets);
	free(p->live);
}

/* Sends packets of these sizes and looks at what arrived; every byte of packet i is i + 1. */
static void send_and_check(struct pair *p, const uint16_t *sizes, size_t count)
{
	static uint8_t bytes[NET_SEND_PACKETS_MAX][SIZE_MAX_SENT];
	struct iovec packets[NET_SEND_PACKETS_MAX] = {0};
	uint8_t got[SIZE_MAX_SENT + 1];

	for (size_t i = 0; i < count; i++) {
		memset(bytes[i], (int)i + 1, sizes[i]);
		packets[i] = (struct iovec){bytes[i], sizes[i]};
	}
	CHECK_EQ(live_udp_send(p->live, p->sender, &p->to, packets, count), count);
	for (size_t i = 0; i < count; i++) {
		CHECK_EQ(recv(p->receiver, got, sizeof(got), 0), sizes[i]);
		for (size_t at = 0; at < sizes[i]; at++)
			CHECK_EQ(got[at], i + 1);
	}
	CHECK_EQ(recv(p->receiver, got, sizeof(got), 0), -1);
	CHECK_EQ(errno, EAGAIN);
}

static const struct {
	const char *name;
	size_t count;
	uint16_t sizes[NET_SEND_PACKETS_MAX];
} bursts[] = {
	{"one packet",		       1,  {1200}			},
	{"equal sizes",			4,  {1200, 1200, 1200, 1200}},
	{"the last is shorter",		3,  {1200, 1200, 7}	  },
	{"a shorter one in the middle", 4,  {1200, 300, 1200, 1200} },
	{"sizes that grow",		    4,  {100, 200, 300, 400}	   },
	{"sizes that shrink",	      4,	 {400, 300, 200, 100}    },
	{"all that one call may have",  16,
		{1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400,
			1400, 1400}				   },
};

TEST(a_burst_arrives_packet_by_packet_whatever_its_sizes)
{
	struct pair p;

	pair_open(&p);
	for (size_t i = 0; i < sizeof(bursts) / sizeof(bursts[0]); i++)
		send_and_check(&p, bursts[i].sizes, bursts[i].count);
	for (int i = 0; i < LIVE_ROUTES; i++)
		CHECK_EQ(p.live->no_gso[i], 0);
	pair_close(&p);
}

/* Without checksums the kernel refuses to segment (EINVAL), as a device that cannot does (EIO). */
TEST(a_route_that_refuses_segmentation_is_remembered_and_loses_nothing)
{
	struct pair p;
	const int one = 1;
	int remembered = 0;

	pair_open(&p);
	CHECK_EQ(setsockopt(live_socket(p.live, p.sender)->fd, SOL_SOCKET, SO_NO_CHECK, &one,
			 sizeof(one)),
		0);
	for (size_t i = 0; i < sizeof(bursts) / sizeof(bursts[0]); i++)
		send_and_check(&p, bursts[i].sizes, bursts[i].count);
	for (int i = 0; i < LIVE_ROUTES; i++)
		remembered += p.live->no_gso[i] != 0;
	CHECK_EQ(remembered, 1);
	pair_close(&p);
}

TEST(a_peer_that_cannot_be_reached_holds_nobody_up)
{
	static uint8_t bytes[SIZE_MAX_SENT];
	struct iovec packets[2] = {
		{bytes, sizeof(bytes)},
		{bytes, sizeof(bytes)},
	};
	struct pair p;

	pair_open(&p);
	struct net_addr nowhere = p.to, v6 = {.family = 6, .transport = NET_UDP, .port = 9};

	nowhere.port = 0; /* EINVAL: the peer's trouble, not a full socket */
	CHECK_EQ(live_udp_send(p.live, p.sender, &nowhere, packets, 1), 1);
	/* a socket that speaks IPv4 only has no way to an IPv6 peer */
	CHECK_EQ(live_udp_send(p.live, p.sender, &v6, packets, 2), 0);
	CHECK_EQ(live_udp_send(p.live, 4711, &p.to, packets, 2), 0);
	pair_close(&p);
}

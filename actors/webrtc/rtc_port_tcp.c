/* SPDX-License-Identifier: Apache-2.0
 *
 * rtc port: connections of ICE-TCP. Each is an address like any other; its packets are cut from the stream
 * (RFC 4571), and what a slow one does not take waits in a bounded buffer.
 *
 *   accepted (whose is not known) --authentic check--> a session's --either ends--> closed
 *                \-- none comes, newcomers need its place: closed
 */
#include "actors/webrtc/ice_tcp.h"
#include "actors/webrtc/rtc_port_internal.h"
#include "actors/webrtc/session.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum {
	CONNECTIONS_MAX = 512,
	TCP_OUT_SIZE = 128 * 1024, /* bytes a connection may owe its peer */
	TCP_READ_SIZE = 16 * 1024,
	TCP_READS = 4,		   /* a turn: others have theirs too */
	TCP_UNKNOWN_US = 10000000, /* without an authentic check it is closed after this */
};

struct connection {
	uint32_t socket;
	uint64_t session; /* 0 = not known yet */
	int64_t since_us;
	struct net_addr peer;
	struct ice_tcp in;
	uint32_t out_begin, out_end; /* of `out` */
	uint8_t out[TCP_OUT_SIZE];
};

static uint64_t peer_key(const struct rtc_port *s, const struct net_addr *peer)
{
	const uint8_t *bytes = (const uint8_t *)peer;
	uint64_t hash = s->seed;

	for (size_t i = 0; i < sizeof(*peer); i++) {
		hash = (hash ^ bytes[i]) * UINT64_C(0xFF51AFD7ED558CCD);
		hash ^= hash >> 32;
	}
	return hash | 1;
}

static struct connection *connection_to(const struct rtc_port *s, const struct net_addr *peer)
{
	struct connection *c = idmap_get(&s->by_peer, peer_key(s, peer));

	return c && net_addr_equal(&c->peer, peer) ? c : NULL;
}

static void close_connection(struct actor *self, struct rtc_port *s, struct connection *c)
{
	uint64_t session = c->session;
	struct net_addr peer = c->peer;

	idmap_remove(&s->by_socket, c->socket);
	idmap_remove(&s->by_peer, peer_key(s, &peer));
	rtc_table_forget(&s->table, RTC_KEY_ADDRESS, &peer, sizeof(peer));
	net_close(self, c->socket);
	free(c);
	s->st.connections--;
	if (session)
		actor_call(actor_runtime(self), rtc_port_session(self, session), &session_actor,
			session_lose_path, &peer);
}

/* The one that has waited longest for an authentic check, of those older than `age_us`. */
static struct connection *oldest_unknown(
	struct actor *self, const struct rtc_port *s, int64_t age_us)
{
	int64_t before_us = actor_now_us(self) - age_us;
	struct connection *oldest = NULL;

	for (size_t i = 0; i < s->by_socket.capacity; i++) {
		struct connection *c = s->by_socket.entries[i].value;

		if (c && !c->session && c->since_us <= before_us &&
			(!oldest || c->since_us < oldest->since_us))
			oldest = c;
	}
	return oldest;
}

/* When all places are taken a newcomer gets that of the one that has longest not shown who it is.
 * A client shows a check within a round trip; whoever wants to keep it out must make
 * CONNECTIONS_MAX connections in that time, again and again. */
static void make_room(struct actor *self, struct rtc_port *s)
{
	struct connection *c =
		s->st.connections < CONNECTIONS_MAX ? NULL : oldest_unknown(self, s, 0);

	if (!c)
		return;
	s->st.tcp_refused++;
	close_connection(self, s, c);
}

void rtc_port_accepted(struct actor *self, void *data, uint32_t listener, uint32_t socket,
	const struct net_addr *peer)
{
	struct rtc_port *s = data;
	struct connection *c = NULL;

	(void)listener;
	make_room(self, s);
	if (s->st.connections < CONNECTIONS_MAX && !connection_to(s, peer))
		c = malloc(sizeof(*c));
	if (!c) {
		s->st.tcp_refused++;
		net_close(self, socket);
		return;
	}
	c->socket = socket;
	c->session = 0;
	c->since_us = actor_now_us(self);
	c->peer = *peer;
	c->peer.transport = NET_TCP;
	c->out_begin = c->out_end = 0;
	ice_tcp_init(&c->in);
	if (idmap_put(&s->by_socket, socket, c) ||
		idmap_put(&s->by_peer, peer_key(s, &c->peer), c)) {
		idmap_remove(&s->by_socket, socket);
		s->st.tcp_refused++;
		net_close(self, socket);
		free(c);
		return;
	}
	s->st.connections++;
}

/* False when the connection broke. */
static bool flush(struct actor *self, struct connection *c)
{
	while (c->out_begin < c->out_end) {
		struct iovec part = {c->out + c->out_begin, c->out_end - c->out_begin};
		long taken = net_write(self, c->socket, &part, 1);

		if (taken == -2)
			return false;
		if (taken <= 0)
			break;
		c->out_begin += (uint32_t)taken;
	}
	if (c->out_begin == c->out_end)
		c->out_begin = c->out_end = 0;
	net_want(self, c->socket, NET_READABLE | (c->out_end ? NET_WRITABLE : 0));
	return true;
}

/* Whole packets or nothing: a frame that was begun must be completed. */
static bool queue_packet(struct connection *c, const struct iovec *packet)
{
	size_t size = packet->iov_len + ICE_TCP_HEADER_SIZE;

	if (packet->iov_len > ICE_TCP_PACKET_MAX)
		return false;
	if (sizeof(c->out) - c->out_end < size && c->out_begin) {
		memmove(c->out, c->out + c->out_begin, c->out_end - c->out_begin);
		c->out_end -= c->out_begin;
		c->out_begin = 0;
	}
	if (sizeof(c->out) - c->out_end < size)
		return false;
	ice_tcp_header(c->out + c->out_end, packet->iov_len);
	memcpy(c->out + c->out_end + ICE_TCP_HEADER_SIZE, packet->iov_base, packet->iov_len);
	c->out_end += (uint32_t)size;
	return true;
}

size_t rtc_port_send_tcp(struct actor *self, struct rtc_port *s, const struct net_addr *to,
	const struct iovec *packets, size_t count, uint32_t *fill_permille)
{
	struct connection *c = connection_to(s, to);
	size_t sent = 0;

	if (!c)
		return 0;
	while (sent < count && queue_packet(c, &packets[sent]))
		sent++;
	s->st.tcp_dropped += count - sent;
	/* a broken one is closed when the loop says so: this may run inside its session */
	flush(self, c);
	*fill_permille = (uint32_t)((uint64_t)(c->out_end - c->out_begin) * 1000 / TCP_OUT_SIZE);
	return sent;
}

/* False when the connection is to be closed. */
static bool take_stream(struct actor *self, struct rtc_port *s, struct connection *c,
	const uint8_t *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	struct datagram datagram = {.from = c->peer, .arrival_us = actor_now_us(self)};
	uint32_t socket = c->socket;
	size_t packet_size;
	enum err err;

	while (!(err = ice_tcp_next(&c->in, &in, &datagram.bytes, &packet_size))) {
		const struct datagram *one = &datagram;
		uint64_t session;

		datagram.size = (uint16_t)packet_size;
		s->st.datagrams++;
		session = rtc_port_find_session(self, s, &datagram);
		if (session)
			rtc_port_pass_on(self, s, session, &one, 1);
		/* the session may have ended and its connection with it */
		if (idmap_get(&s->by_socket, socket) != c)
			return true;
	}
	return err == ERR_AGAIN;
}

void rtc_port_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	struct rtc_port *s = data;
	struct connection *c = idmap_get(&s->by_socket, socket);
	uint8_t bytes[TCP_READ_SIZE];

	if (!c)
		return;
	if (events & NET_WRITABLE && !flush(self, c)) {
		close_connection(self, s, c);
		return;
	}
	for (int i = 0; i < TCP_READS; i++) {
		long size = net_read(self, socket, bytes, sizeof(bytes));

		if (size == -1)
			break;
		if (size <= 0 || !take_stream(self, s, c, bytes, (size_t)size)) {
			if (idmap_get(&s->by_socket, socket) == c)
				close_connection(self, s, c);
			return;
		}
		if (idmap_get(&s->by_socket, socket) != c)
			return;
	}
	if (events & NET_CLOSED)
		close_connection(self, s, c);
}

/* ---- what the rest of the port asks ---------------------------------------------------------- */

void rtc_port_know_connection(struct rtc_port *s, const struct net_addr *peer, uint64_t session)
{
	struct connection *c = connection_to(s, peer);

	if (c)
		c->session = session;
}

void rtc_port_hang_up(struct actor *self, struct rtc_port *s, const struct net_addr *peer)
{
	struct connection *c = connection_to(s, peer);

	if (!c)
		return;
	c->session = 0;
	close_connection(self, s, c);
}

void rtc_port_close_unknown(struct actor *self, struct rtc_port *s)
{
	struct connection *c;

	while ((c = oldest_unknown(self, s, TCP_UNKNOWN_US)))
		close_connection(self, s, c);
}

void rtc_port_close_all(struct actor *self, struct rtc_port *s)
{
	for (size_t i = 0; i < s->by_socket.capacity; i++) {
		struct connection *c = s->by_socket.entries[i].value;

		if (c) {
			net_close(self, c->socket);
			free(c);
		}
	}
	idmap_fini(&s->by_socket);
	idmap_fini(&s->by_peer);
}

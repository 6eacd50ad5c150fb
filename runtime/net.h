/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets as actors see them: small numbers of this process, each owned by one actor whose
 * datagrams(), tcp() or accepted() function is called. Live these are raw non-blocking descriptors
 * polled by the loop; in the simulator, pipes and a virtual network.
 *
 * Thread: that of the process. Nothing blocks.
 */
#ifndef MILLRACE_NET_H
#define MILLRACE_NET_H

#include "runtime/actor.h"

#include <sys/uio.h>

enum net_event {
	NET_READABLE = 1,
	NET_WRITABLE = 2,
	NET_CLOSED = 4, /* the peer is gone; read what is left, then close */
	NET_BACK = 8,	/* a successor: the connection that was claimed is here */
};

enum {
	NET_BATCH_MAX = 64,	   /* datagrams a call to datagrams() */
	NET_DATAGRAM_MAX = 2048,   /* longer ones are cut and dropped by the parser */
	NET_SEND_PACKETS_MAX = 16, /* one send call (DESIGN: at most 16 packets) */
};

struct datagram {
	struct net_addr from;
	const uint8_t *bytes; /* borrowed during the call */
	uint16_t size;
	int64_t arrival_us; /* monotonic; kernel receive time where available */
};

/* What the process was given: numbers for the listening sockets of its environment. */
enum net_given {
	NET_RTC_UDP,
	NET_RTC_TCP,
	NET_HTTP,
	NET_RTMP,
	NET_REPL,
	NET_HTTPS, /* what is read and written there is plain: TLS lies below */
	NET_RTMPS,
	NET_API,      /* HTTP too: the API in SRS' shape alone */
	NET_LINK_UDP, /* media to and from other nodes */
	NET_GIVEN_COUNT
};

/* Makes self the owner of a given socket; its number, or 0 when the process has none. Listeners
 * call accepted(); more than one actor of more than one process may share one listening socket. */
uint32_t net_take(struct actor *self, enum net_given what);

/* A UDP socket of self's own on a free port, for peers of that family (4 or 6), closed by net_close; 0
 * when the system has none left. */
uint32_t net_open_udp(struct actor *self, uint8_t family);

/* A UDP socket of self's own at the address `local` of a socket that another process of the node was
 * given, connected to `peer`: it gets what comes from there, and nothing else; net_send by it leaves from
 * that port, to whomever. What comes between two such sockets goes to the one that was given. 0: the
 * system refuses. */
uint32_t net_open_beside(
	struct actor *self, const struct net_addr *local, const struct net_addr *peer);

/* How the server's end of a TLS connection proves itself; borrowed during the call. */
struct net_tls {
	const char *host;    /* a name or an address: for whom its certificate must be */
	const char *ca_file; /* PEM of whom to trust; NULL = the system's */
	bool insecure;	     /* any certificate will do */
};

/* Begins a TCP connection: tcp() comes with NET_WRITABLE when it stands, with NET_CLOSED when it
 * cannot (net_read then says -2). With `tls` (NULL: none) it stands when the handshake is done, and
 * what is read and written is plain. All of a process trust the ca_file of the first of them. 0 when
 * not even that was possible. */
uint32_t net_connect(struct actor *self, const struct net_addr *to, const struct net_tls *tls);
/* Why a TLS connection broke: static text; "" when it is not known. */
const char *net_broken_reason(struct actor *self, uint32_t socket);

/* A listener rests while this worker has more than its share of load. */
void net_listen_pause(struct actor *self, uint32_t listener, bool paused);

/* Sends up to NET_SEND_PACKETS_MAX datagrams to one address in one system call where the kernel
 * can (GSO when all but the last are of one size, else sendmmsg). Returns how many left: fewer
 * means the socket buffer is full (the rest is the caller's to drop or keep). */
size_t net_send(struct actor *self, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count);

/* The same, leaving from `local`, an address of this host (its port counts for nothing; family 0: the one
 * that the routing table says). */
size_t net_send_from(struct actor *self, uint32_t socket, const struct net_addr *local,
	const struct net_addr *to, const struct iovec *packets, size_t count);
/* Is it an address of this host, that datagrams can leave from? */
bool net_is_local(struct actor *self, const struct net_addr *addr);

/* A TCP socket from accepted() (owned by the listener's owner until given away). */
void net_give(struct actor *self, uint32_t socket, struct addr local_actor);
/* > 0 bytes; 0 = end of stream; -1 = nothing now; -2 = broken. */
long net_read(struct actor *self, uint32_t socket, void *buffer, size_t size);
/* >= 0 bytes taken; -1 = no room now (tcp() comes with NET_WRITABLE if wanted); -2 = broken. */
long net_write(struct actor *self, uint32_t socket, const struct iovec *parts, size_t count);
/* Which events are wanted (NET_READABLE by default); NET_CLOSED alone: that the peer has ended its
 * side, even while there is something to read. 0: only a reset. */
void net_want(struct actor *self, uint32_t socket, unsigned events);
/* Sends what is written, then closes; the number means nothing from now on. */
void net_close(struct actor *self, uint32_t socket);

/* Of a successor, in restore(): the connection with that number is its own. tcp() comes with NET_BACK
 * when it is here again, with NET_CLOSED when it is known not to come; until then the number means
 * nothing. False: none comes. */
bool net_claim(struct actor *self, uint32_t socket);

/* What a connection has carried since it was accepted, in bytes: `in` was read out of the kernel,
 * `out` was written into it, by this process and those before it. */
struct net_progress {
	uint64_t in, out;
};
/* False: it cannot be told (broken, or not a plain connection). */
bool net_progress(struct actor *self, uint32_t socket, struct net_progress *progress);

/* Addresses of this end. */
void net_local_addr(struct actor *self, uint32_t socket, struct net_addr *addr);

#endif

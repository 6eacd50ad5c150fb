/* SPDX-License-Identifier: Apache-2.0
 *
 * A transport address as plain data, the same in sockets, engines, state and simulator.
 * IPv4-mapped IPv6 addresses are always stored as IPv4. Thread: any. No allocation.
 */
#ifndef MILLRACE_NET_ADDR_H
#define MILLRACE_NET_ADDR_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum net_transport { NET_UDP = 0, NET_TCP = 1 };

struct net_addr {
	uint8_t family; /* 4, 6; 0 = none */
	uint8_t transport;
	uint16_t port;	/* host order */
	uint8_t ip[16]; /* network order; IPv4 in the first four, the rest zero */
};

_Static_assert(sizeof(struct net_addr) == 20, "net_addr layout");

static inline bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline bool net_addr_same_ip(const struct net_addr *a, const struct net_addr *b)
{
	return a->family == b->family && !memcmp(a->ip, b->ip, sizeof(a->ip));
}

bool net_addr_is_loopback(const struct net_addr *addr);

/* "192.0.2.1:80", "[2001:db8::1]:80", "none". Returns text. */
enum { NET_ADDR_TEXT_SIZE = 56 };
const char *net_addr_text(const struct net_addr *addr, char text[NET_ADDR_TEXT_SIZE]);
/* The same without the port (IPv6 without brackets). */
const char *net_addr_ip_text(const struct net_addr *addr, char text[NET_ADDR_TEXT_SIZE]);

/* "ip", "ip:port", "[ip6]", "[ip6]:port"; never resolves names. ERR_FORMAT. */
enum err net_addr_parse(const char *text, struct net_addr *addr);

/* To and from the system's form; the socket address storage has at least 28 bytes (sockaddr_in6).
 * `as_v6` writes IPv4 as IPv4-mapped (for dual-stack sockets). Returns the length. */
uint32_t net_addr_to_system(const struct net_addr *addr, bool as_v6, void *storage);
void net_addr_from_system(const void *storage, uint8_t transport, struct net_addr *addr);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "schemas/net_addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool net_addr_is_loopback(const struct net_addr *addr)
{
	static const uint8_t v6_loopback[16] = {[15] = 1};

	if (addr->family == 4)
		return addr->ip[0] == 127;
	return addr->family == 6 && !memcmp(addr->ip, v6_loopback, 16);
}

const char *net_addr_ip_text(const struct net_addr *addr, char text[NET_ADDR_TEXT_SIZE])
{
	if (addr->family != 4 && addr->family != 6)
		return strcpy(text, "none");
	inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->ip, text, NET_ADDR_TEXT_SIZE);
	return text;
}

const char *net_addr_text(const struct net_addr *addr, char text[NET_ADDR_TEXT_SIZE])
{
	char ip[NET_ADDR_TEXT_SIZE];

	net_addr_ip_text(addr, ip);
	if (addr->family == 4)
		snprintf(text, NET_ADDR_TEXT_SIZE, "%.15s:%u", ip, addr->port);
	else if (addr->family == 6)
		snprintf(text, NET_ADDR_TEXT_SIZE, "[%.45s]:%u", ip, addr->port);
	else
		strcpy(text, "none");
	return text;
}

static void set_v6(struct net_addr *addr, const uint8_t ip[16])
{
	if (memcmp(ip, v4_mapped, sizeof(v4_mapped)) == 0) {
		addr->family = 4;
		memcpy(addr->ip, ip + 12, 4);
	} else {
		addr->family = 6;
		memcpy(addr->ip, ip, 16);
	}
}

static enum err parse_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || value > 65535)
		return ERR_FORMAT;
	*port = (uint16_t)value;
	return ERR_OK;
}

enum err net_addr_parse(const char *text, struct net_addr *addr)
{
	char ip[NET_ADDR_TEXT_SIZE];
	const char *port = NULL;
	uint8_t bytes[16];
	size_t size;

	memset(addr, 0, sizeof(*addr));
	if (text[0] == '[') {
		const char *close = strchr(text, ']');

		if (!close || (close[1] && close[1] != ':'))
			return ERR_FORMAT;
		text++;
		size = (size_t)(close - text);
		port = close[1] ? close + 2 : NULL;
	} else {
		const char *colon = strchr(text, ':');

		if (colon && strchr(colon + 1, ':'))
			colon = NULL; /* a bare IPv6 address */
		size = colon ? (size_t)(colon - text) : strlen(text);
		port = colon ? colon + 1 : NULL;
	}
	if (size >= sizeof(ip))
		return ERR_FORMAT;
	memcpy(ip, text, size);
	ip[size] = 0;
	if (inet_pton(AF_INET, ip, bytes) == 1) {
		addr->family = 4;
		memcpy(addr->ip, bytes, 4);
	} else if (inet_pton(AF_INET6, ip, bytes) == 1) {
		set_v6(addr, bytes);
	} else {
		return ERR_FORMAT;
	}
	return port ? parse_port(port, &addr->port) : ERR_OK;
}

uint32_t net_addr_to_system(const struct net_addr *addr, bool as_v6, void *storage)
{
	if (addr->family == 4 && !as_v6) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(addr->port)};

		memcpy(&in.sin_addr, addr->ip, 4);
		memcpy(storage, &in, sizeof(in));
		return sizeof(in);
	}
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};

	if (addr->family == 4) {
		memcpy(in6.sin6_addr.s6_addr, v4_mapped, 12);
		memcpy(in6.sin6_addr.s6_addr + 12, addr->ip, 4);
	} else {
		memcpy(in6.sin6_addr.s6_addr, addr->ip, 16);
	}
	memcpy(storage, &in6, sizeof(in6));
	return sizeof(in6);
}

void net_addr_from_system(const void *storage, uint8_t transport, struct net_addr *addr)
{
	uint16_t family;

	memset(addr, 0, sizeof(*addr));
	addr->transport = transport;
	memcpy(&family, storage, sizeof(family));
	if (family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, storage, sizeof(in));
		addr->family = 4;
		addr->port = ntohs(in.sin_port);
		memcpy(addr->ip, &in.sin_addr, 4);
	} else if (family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, storage, sizeof(in6));
		set_v6(addr, in6.sin6_addr.s6_addr);
		addr->port = ntohs(in6.sin6_port);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The listening sockets of a node, opened once by the supervisor and passed down, so that they
 * outlive every worker. Shared TCP listeners (HTTP, RTMP, and with a certificate HTTPS, RTMPS; where it
 * is asked for, the API in SRS' shape), and
 * for each media worker one UDP socket and one TCP listener with the same port number, and in a cluster
 * a UDP socket for its links to other nodes.
 *
 * Where the bind address is not set, sockets are IPv6 and take IPv4 as well; where there is no
 * IPv6, IPv4 alone. UDP sockets carry SO_REUSEPORT and a filter that keeps a group of sockets on
 * its first one, so that a session can later get a connected socket of its own without drawing
 * other clients' packets meanwhile.
 *
 * All sockets are non-blocking and close-on-exec. Thread: the supervisor's.
 */
#ifndef MILLRACE_LISTENERS_H
#define MILLRACE_LISTENERS_H

#include "runtime/config.h"
#include "runtime/process.h"

enum { LISTENERS_TEXT_SIZE = 160 };

struct listeners {
	int http;
	int rtmp;
	int https; /* -1 = off, as rtmps */
	int rtmps;
	int api;  /* -1 = off */
	int mesh; /* -1 = off: coord is local */
	int rtc_udp[PROCESS_WORKERS_MAX];
	int rtc_tcp[PROCESS_WORKERS_MAX];
	int link_udp[PROCESS_WORKERS_MAX]; /* -1 = a node by itself (coord local) has no links */
	uint16_t http_port;		   /* as bound */
	uint16_t rtmp_port;
	uint16_t https_port; /* 0 = off */
	uint16_t rtmps_port;
	uint16_t api_port;
	uint16_t mesh_port;
	uint16_t rtc_ports[PROCESS_WORKERS_MAX];
	uint16_t link_ports[PROCESS_WORKERS_MAX]; /* 0 = off */
	uint32_t worker_count;
	bool has_ipv6;
	int64_t buffer_wanted;		   /* bytes of receive buffer a UDP socket should have */
	int64_t buffer_granted;		   /* the least that one got */
	char problem[LISTENERS_TEXT_SIZE]; /* after an error: what could not be bound, and why */
};

/* Opens everything that config->workers media workers need. ERR_IO with `problem` set; then
 * nothing is left open. */
enum err listeners_open(struct listeners *listeners, const struct config *config);

void listeners_close(struct listeners *listeners);

/* Those of a node that runs already are put into a fresh struct, one by one; what this takes besides. */
void listeners_expect(
	struct listeners *listeners, const struct config *config, uint32_t worker_count);

/* One worker more, with what it needs; ERR_IO with `problem` set, and nothing has changed. One worker
 * less: the last one. */
enum err listeners_add(struct listeners *listeners, const struct config *config);
void listeners_remove(struct listeners *listeners);

/* The address clients on this host reach a listener at: the bound one, else a loopback. */
const char *listeners_local_address(const struct config *config);

/* "127.0.0.1:8080", "[::1]:8080". Returns text. */
const char *listeners_format(const char *address, uint16_t port, char *text, size_t size);

/* Addresses to offer as candidates: the configured ones; else the bound one; else those of every
 * interface that is up, loopback only when there is no other. Returns how many. */
uint32_t listeners_advertise(const struct config *config, bool has_ipv6,
	char addresses[PROCESS_ADDRESSES_MAX][PROCESS_ADDRESS_SIZE]);

#endif

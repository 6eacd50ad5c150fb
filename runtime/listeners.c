/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BACKLOG = 1024,
	FREE_PORT_TRIES = 64,
	BUFFER_MS = 250,
	BUFFER_BYTES_MAX = 1 << 30,
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static bool ipv6_works(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool works = fd >= 0 && !bind(fd, (struct sockaddr *)&any, sizeof(any));

	if (fd >= 0)
		close(fd);
	return works;
}

static socklen_t address_of(
	const struct config *config, bool has_ipv6, uint16_t port, union address *address)
{
	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, config->bind, &address->v4.sin_addr) == 1 ||
		(!config->bind[0] && !has_ipv6)) {
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = htons(port);
		return sizeof(address->v4);
	}
	address->v6.sin6_family = AF_INET6;
	address->v6.sin6_port = htons(port);
	if (config->bind[0])
		MUST(inet_pton(AF_INET6, config->bind, &address->v6.sin6_addr) == 1);
	return sizeof(address->v6);
}

static uint16_t bound_port(int fd)
{
	union address address = {0};
	socklen_t size = sizeof(address);

	if (getsockname(fd, &address.any, &size))
		return 0;
	return ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

static void set_option(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* Keeps a group of sockets that share the port on socket 0. Before bind, so that no packet is ever
 * spread otherwise. */
static bool keep_on_first_socket(int fd)
{
	struct sock_filter first = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &first};
	int yes = 1;

	return !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) &&
	       !setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
}

/* A bound socket (TCP: listening), or -1 with errno. `shared`: UDP that others of ours may join. */
static int open_bound(const struct listeners *listeners, const struct config *config, int type,
	uint16_t port, bool shared)
{
	union address address;
	socklen_t size = address_of(config, listeners->has_ipv6, port, &address);
	int fd = socket(address.any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (type == SOCK_STREAM)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (address.any.sa_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY,
			config->bind[0] && strcmp(config->bind, "::") != 0);
	if ((shared && !keep_on_first_socket(fd)) || bind(fd, &address.any, size) ||
		(type == SOCK_STREAM && listen(fd, BACKLOG))) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static enum err failed(struct listeners *listeners, const struct config *config, const char *what,
	const char *key, int64_t port)
{
	snprintf(listeners->problem, sizeof(listeners->problem),
		"cannot bind %s port %lld%s%.45s (%s): %s", what, (long long)port,
		config->bind[0] ? " of " : "", config->bind, key, strerror(errno));
	return ERR_IO;
}

static void size_buffer(struct listeners *listeners, int fd)
{
	int wanted = (int)listeners->buffer_wanted, granted = 0;
	socklen_t size = sizeof(granted);

	/* FORCE needs a capability; without it the system's limit holds */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof(wanted)))
		set_option(fd, SOL_SOCKET, SO_RCVBUF, wanted);
	(void)getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &size);
	/* the kernel reports twice of what was asked, its own bookkeeping included */
	if (granted / 2 < listeners->buffer_granted)
		listeners->buffer_granted = granted / 2;
}

/* The worker's UDP socket and TCP listener on `port`, which may be 0. A port with SO_REUSEPORT can
 * be bound twice without an error, so one without it is tried first: another node's port must be
 * refused. */
static int open_pair(struct listeners *listeners, const struct config *config, uint32_t worker,
	uint16_t port, const char **what)
{
	*what = "UDP";
	int probe = open_bound(listeners, config, SOCK_DGRAM, port, false);
	if (probe < 0)
		return -1;
	port = bound_port(probe);
	*what = "TCP";
	int tcp = open_bound(listeners, config, SOCK_STREAM, port, false);
	close(probe);
	if (tcp < 0)
		return -1;
	*what = "UDP";
	int udp = open_bound(listeners, config, SOCK_DGRAM, port, true);
	if (udp < 0) {
		int saved = errno;

		close(tcp);
		errno = saved;
		return -1;
	}
	size_buffer(listeners, udp);
	listeners->rtc_udp[worker] = udp;
	listeners->rtc_tcp[worker] = tcp;
	listeners->rtc_ports[worker] = port;
	return 0;
}

static enum err open_worker(
	struct listeners *listeners, const struct config *config, uint32_t worker)
{
	int64_t port = config->rtc_port ? config->rtc_port + worker : 0;
	/* a port free for UDP may be taken for TCP */
	int tries = port ? 1 : FREE_PORT_TRIES;
	const char *what = "UDP";

	errno = EINVAL; /* a number that no port has */
	while (port > UINT16_MAX || open_pair(listeners, config, worker, (uint16_t)port, &what) < 0)
		if (port > UINT16_MAX || !--tries)
			return failed(listeners, config, what, "rtc.port", port);
	return ERR_OK;
}

static enum err open_rtc(struct listeners *listeners, const struct config *config)
{
	enum err err = ERR_OK;

	for (uint32_t i = 0; i < listeners->worker_count && !err; i++)
		err = open_worker(listeners, config, i);
	return err;
}

static bool has_links(const struct config *config)
{
	return strcmp(config->coord, "local") != 0;
}

/* The socket of a worker's links: nobody else shares its port. */
static enum err open_link(struct listeners *listeners, const struct config *config, uint32_t worker)
{
	int64_t port = config->link_port ? config->link_port + worker : 0;
	int fd;

	errno = EINVAL; /* a number that no port has */
	fd = port > UINT16_MAX ? -1
			       : open_bound(listeners, config, SOCK_DGRAM, (uint16_t)port, false);
	if (fd < 0)
		return failed(listeners, config, "UDP", "link.port", port);
	size_buffer(listeners, fd);
	listeners->link_udp[worker] = fd;
	listeners->link_ports[worker] = bound_port(fd);
	return ERR_OK;
}

static enum err open_links(struct listeners *listeners, const struct config *config)
{
	enum err err = ERR_OK;

	for (uint32_t i = 0; i < listeners->worker_count && !err && has_links(config); i++)
		err = open_link(listeners, config, i);
	return err;
}

static enum err open_shared(struct listeners *listeners, const struct config *config,
	const char *key, int64_t port, int *fd, uint16_t *bound)
{
	*fd = open_bound(listeners, config, SOCK_STREAM, (uint16_t)port, false);
	if (*fd < 0)
		return failed(listeners, config, "TCP", key, port);
	*bound = bound_port(*fd);
	return ERR_OK;
}

/* Those whose port is a free one, or those whose port is given. */
static enum err open_all_shared(struct listeners *listeners, const struct config *config, bool any)
{
	bool https = config->tls_cert[0] && config->https_port >= 0;
	bool rtmps = config->tls_cert[0] && config->rtmps_port >= 0;
	enum err err = ERR_OK;

	if ((config->http_port == 0) == any)
		err = open_shared(listeners, config, "http.port", config->http_port,
			&listeners->http, &listeners->http_port);
	if (!err && (config->rtmp_port == 0) == any)
		err = open_shared(listeners, config, "rtmp.port", config->rtmp_port,
			&listeners->rtmp, &listeners->rtmp_port);
	if (!err && https && (config->https_port == 0) == any)
		err = open_shared(listeners, config, "https.port", config->https_port,
			&listeners->https, &listeners->https_port);
	if (!err && rtmps && (config->rtmps_port == 0) == any)
		err = open_shared(listeners, config, "rtmps.port", config->rtmps_port,
			&listeners->rtmps, &listeners->rtmps_port);
	if (!err && config->api_port >= 0 && (config->api_port == 0) == any)
		err = open_shared(listeners, config, "api.port", config->api_port, &listeners->api,
			&listeners->api_port);
	if (!err && strcmp(config->coord, "local") && (config->mesh_port == 0) == any)
		err = open_shared(listeners, config, "mesh.port", config->mesh_port,
			&listeners->mesh, &listeners->mesh_port);
	return err;
}

void listeners_expect(
	struct listeners *listeners, const struct config *config, uint32_t worker_count)
{
	listeners->worker_count = worker_count;
	listeners->buffer_wanted = config->rtc_ingress_bps / 8 * BUFFER_MS / 1000;
	if (listeners->buffer_wanted > BUFFER_BYTES_MAX)
		listeners->buffer_wanted = BUFFER_BYTES_MAX;
	listeners->buffer_granted = listeners->buffer_wanted;
}

enum err listeners_open(struct listeners *listeners, const struct config *config)
{
	enum err err = ERR_OK;

	memset(listeners, 0, sizeof(*listeners));
	listeners->http = listeners->rtmp = listeners->https = listeners->rtmps = listeners->api =
		listeners->mesh = -1;
	for (int i = 0; i < PROCESS_WORKERS_MAX; i++)
		listeners->rtc_udp[i] = listeners->rtc_tcp[i] = listeners->link_udp[i] = -1;
	MUST(config->workers >= 1 && config->workers <= PROCESS_WORKERS_MAX);
	listeners_expect(listeners, config, (uint32_t)config->workers);
	listeners->has_ipv6 = ipv6_works();

	/* fixed ports first: a free one must not be one that is asked for by number */
	for (int pass = 0; !err && pass < 2; pass++) {
		bool any = pass == 1;

		err = open_all_shared(listeners, config, any);
		if (!err && (config->rtc_port == 0) == any)
			err = open_rtc(listeners, config);
		if (!err && (config->link_port == 0) == any)
			err = open_links(listeners, config);
	}
	if (err)
		listeners_close(listeners);
	return err;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void listeners_close(struct listeners *listeners)
{
	close_one(&listeners->http);
	close_one(&listeners->rtmp);
	close_one(&listeners->https);
	close_one(&listeners->rtmps);
	close_one(&listeners->api);
	close_one(&listeners->mesh);
	for (int i = 0; i < PROCESS_WORKERS_MAX; i++) {
		close_one(&listeners->rtc_udp[i]);
		close_one(&listeners->rtc_tcp[i]);
		close_one(&listeners->link_udp[i]);
	}
}

enum err listeners_add(struct listeners *listeners, const struct config *config)
{
	enum err err;

	MUST(listeners->worker_count < PROCESS_WORKERS_MAX);
	err = open_worker(listeners, config, listeners->worker_count);
	if (!err && has_links(config))
		err = open_link(listeners, config, listeners->worker_count);
	listeners->worker_count++;
	if (err)
		listeners_remove(listeners);
	return err;
}

void listeners_remove(struct listeners *listeners)
{
	MUST(listeners->worker_count > 1);
	listeners->worker_count--;
	close_one(&listeners->rtc_udp[listeners->worker_count]);
	close_one(&listeners->rtc_tcp[listeners->worker_count]);
	close_one(&listeners->link_udp[listeners->worker_count]);
	listeners->rtc_ports[listeners->worker_count] = 0;
	listeners->link_ports[listeners->worker_count] = 0;
}

static bool binds_everything(const struct config *config)
{
	return !config->bind[0] || !strcmp(config->bind, "0.0.0.0") || !strcmp(config->bind, "::");
}

const char *listeners_local_address(const struct config *config)
{
	return binds_everything(config) ? "127.0.0.1" : config->bind;
}

const char *listeners_format(const char *address, uint16_t port, char *text, size_t size)
{
	snprintf(text, size, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
	return text;
}

/* Text of an interface's address if it can be a candidate. */
static bool usable(const struct ifaddrs *at, bool loopback, bool v4, bool v6, char *text)
{
	const union address *address = (const void *)at->ifa_addr;

	if (!address || !(at->ifa_flags & IFF_UP) || !!(at->ifa_flags & IFF_LOOPBACK) != loopback)
		return false;
	if (v4 && address->any.sa_family == AF_INET)
		return inet_ntop(AF_INET, &address->v4.sin_addr, text, PROCESS_ADDRESS_SIZE);
	if (v6 && address->any.sa_family == AF_INET6 &&
		!IN6_IS_ADDR_LINKLOCAL(&address->v6.sin6_addr))
		return inet_ntop(AF_INET6, &address->v6.sin6_addr, text, PROCESS_ADDRESS_SIZE);
	return false;
}

uint32_t listeners_advertise(const struct config *config, bool has_ipv6,
	char addresses[PROCESS_ADDRESSES_MAX][PROCESS_ADDRESS_SIZE])
{
	struct ifaddrs *all = NULL;
	uint32_t count = 0;
	size_t at = 0;

	while (count < PROCESS_ADDRESSES_MAX &&
		config_list_next(config->advertise, &at, addresses[count], PROCESS_ADDRESS_SIZE))
		count++;
	if (!count && !binds_everything(config))
		snprintf(addresses[count++], PROCESS_ADDRESS_SIZE, "%s", config->bind);
	if (count || getifaddrs(&all))
		return count;
	bool v4 = strcmp(config->bind, "::") || has_ipv6;
	bool v6 = has_ipv6 && strcmp(config->bind, "0.0.0.0");
	for (int loopback = 0; loopback < 2 && !count; loopback++)
		for (struct ifaddrs *i = all; i && count < PROCESS_ADDRESSES_MAX; i = i->ifa_next)
			count += usable(i, loopback, v4, v6, addresses[count]);
	freeifaddrs(all);
	return count;
}

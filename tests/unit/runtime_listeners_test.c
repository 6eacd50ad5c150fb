/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's sockets, opened for real on free ports.
 */
#include "runtime/listeners.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static void listeners_config(struct config *config, const char *bind_to)
{
	static struct config_report report;

	config_init(config, &report);
	config->workers = 2;
	config->http_port = config->rtmp_port = config->rtc_port = 0;
	snprintf(config->bind, sizeof(config->bind), "%s", bind_to);
}

TEST(taken_ports_are_refused_with_the_key)
{
	static const struct {
		const char *key;
		const char *part;
	} rows[] = {
		{"http.port", "TCP port %u of 127.0.0.1 (http.port)"},
		{"rtmp.port", "TCP port %u of 127.0.0.1 (rtmp.port)"},
		{"rtc.port",  "UDP port %u of 127.0.0.1 (rtc.port)" },
	};
	static struct listeners first, second;
	static struct config config;
	static struct config_report report;
	char text[80];

	listeners_config(&config, "127.0.0.1");
	CHECK_OK(listeners_open(&first, &config));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint16_t port = i == 0	 ? first.http_port
				: i == 1 ? first.rtmp_port
					 : first.rtc_ports[0];

		listeners_config(&config, "127.0.0.1");
		snprintf(text, sizeof(text), "%u", port);
		CHECK_OK(config_set(&config, rows[i].key, text, CONFIG_FROM_FLAG, "t", &report));
		CHECK_EQ(listeners_open(&second, &config), ERR_IO);
		snprintf(text, sizeof(text), rows[i].part, port);
		assert_non_null(strstr(second.problem, text));
	}
	listeners_close(&first);
}

/* A client's packets stay on the first socket of a port, also when a second one joins. */
TEST(a_joining_socket_draws_nothing)
{
	static struct listeners listeners;
	static struct config config;
	struct sockaddr_in to = {.sin_family = AF_INET};
	int yes = 1, received = 0;
	char byte;

	listeners_config(&config, "127.0.0.1");
	CHECK_OK(listeners_open(&listeners, &config));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(listeners.rtc_ports[0]);
	int joined = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	setsockopt(joined, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
	CHECK(!bind(joined, (struct sockaddr *)&to, sizeof(to)));
	for (int i = 0; i < 100; i++) {
		int client = socket(AF_INET, SOCK_DGRAM, 0);

		sendto(client, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
		close(client);
	}
	while (recv(listeners.rtc_udp[0], &byte, 1, 0) == 1)
		received++;
	CHECK_EQ(received, 100);
	CHECK(recv(joined, &byte, 1, 0) < 0);
	close(joined);
	listeners_close(&listeners);
}

TEST(an_unset_address_takes_ipv4_too)
{
	static struct listeners listeners;
	static struct config config;
	struct sockaddr_in to = {.sin_family = AF_INET};
	char addresses[PROCESS_ADDRESSES_MAX][PROCESS_ADDRESS_SIZE];

	listeners_config(&config, "");
	CHECK_OK(listeners_open(&listeners, &config));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(listeners.http_port);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(client, (struct sockaddr *)&to, sizeof(to)));
	close(client);
	CHECK_GE(listeners_advertise(&config, listeners.has_ipv6, addresses), 1);
	snprintf(config.advertise, sizeof(config.advertise), "192.0.2.1,::1");
	CHECK_EQ(listeners_advertise(&config, listeners.has_ipv6, addresses), 2);
	CHECK_STR(addresses[0], "192.0.2.1");
	CHECK_STR(addresses[1], "::1");
	listeners_close(&listeners);
}

/* A node of a cluster has a socket of links for each worker, also for one that comes later. */
TEST(only_a_node_of_a_cluster_has_links)
{
	static struct listeners listeners;
	static struct config config;
	static struct config_report report;

	listeners_config(&config, "127.0.0.1");
	CHECK_OK(listeners_open(&listeners, &config));
	CHECK_EQ(listeners.link_udp[0], -1);
	CHECK_EQ(listeners.link_ports[0], 0);
	listeners_close(&listeners);

	CHECK_OK(
		config_set(&config, "coord", "etcd://127.0.0.1:1", CONFIG_FROM_FLAG, "t", &report));
	CHECK_OK(config_set(&config, "link.port", "0", CONFIG_FROM_FLAG, "t", &report));
	CHECK_OK(listeners_open(&listeners, &config));
	CHECK_OK(listeners_add(&listeners, &config));
	for (uint32_t i = 0; i < listeners.worker_count; i++) {
		CHECK(listeners.link_udp[i] >= 0);
		CHECK(listeners.link_ports[i] != 0);
	}
	uint32_t last = listeners.worker_count - 1;

	listeners_remove(&listeners);
	CHECK_EQ(listeners.link_udp[last], -1);
	listeners_close(&listeners);
	CHECK_EQ(listeners.link_udp[0], -1);
}

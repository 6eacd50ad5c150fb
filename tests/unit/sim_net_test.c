/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated network: an actor that echoes what comes, in any pieces, and what it may rely on.
 */
#include "tests/sim/sim.h"
#include "tests/test.h"

enum { SIZE = 200000 };

struct echo {
	struct placement_state st;

	uint32_t listener, connection;
	size_t waiting; /* read, not yet written */
	uint64_t datagrams;
	uint8_t buffer[1000];
};

static void echo_accepted(struct actor *self, void *data, uint32_t listener, uint32_t socket,
	const struct net_addr *peer)
{
	(void)self;
	(void)listener;
	(void)peer;
	((struct echo *)data)->connection = socket;
}

static void echo_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	struct echo *s = data;

	(void)events;
	for (;;) {
		struct iovec part = {.iov_base = s->buffer, .iov_len = s->waiting};
		long size = s->waiting ? net_write(self, socket, &part, 1) : 0;

		if (size < 0) {
			net_want(self, socket, NET_WRITABLE);
			return;
		}
		memmove(s->buffer, s->buffer + size, s->waiting - (size_t)size);
		s->waiting -= (size_t)size;
		if (s->waiting)
			continue;
		size = net_read(self, socket, s->buffer, sizeof(s->buffer));
		if (size == 0) {
			net_close(self, socket);
			return;
		}
		if (size < 0) {
			net_want(self, socket, NET_READABLE);
			return;
		}
		s->waiting = (size_t)size;
	}
}

static void echo_datagrams(
	struct actor *self, void *data, const struct datagram *datagrams, size_t count)
{
	(void)self;
	for (size_t i = 0; i < count; i++)
		CHECK_EQ(datagrams[i].bytes[0], 7);
	((struct echo *)data)->datagrams += count;
}

static enum err echo_init(struct actor *self, void *data, const void *args)
{
	(void)args;
	((struct echo *)data)->listener = net_take(self, NET_RTMP);
	return net_take(self, NET_RTC_UDP) ? ERR_OK : ERR_IO;
}

static const struct actor_type echo_actor = {
	.name = "echo",
	.size = sizeof(struct echo),
	.state = &schema_placement_state,
	.init = echo_init,
	.accepted = echo_accepted,
	.tcp = echo_tcp,
	.datagrams = echo_datagrams,
};

TEST(bytes_come_back_whole_and_in_order)
{
	struct sim_options options = {.seed = 9, .scenario = "calm"};
	struct sim *sim = sim_create(&options);
	static uint8_t bytes[SIZE];
	struct addr addr;
	size_t back = 0;

	CHECK_OK(actor_spawn(sim->processes[1].rt, NULL, &echo_actor, NULL, &addr));
	uint32_t client = sim_client_connect(sim, 1, NET_RTMP);

	CHECK(client != 0);
	CHECK_EQ(sim_client_connect(sim, 2, NET_RTMP), 0); /* nobody listens there */
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	sim_client_write(sim, client, bytes, SIZE);
	for (int step = 0; step < 20000 && back < SIZE; step++) {
		uint8_t piece[3000];

		sim_run_until(sim, sim->now_us + SIM_MS);
		size_t size = sim_client_read(sim, client, piece, sizeof(piece));

		CHECK_MEM(piece, bytes + back, size);
		back += size;
	}
	CHECK_EQ(back, SIZE);
	sim_client_close(sim, client);
	sim_run_until(sim, sim->now_us + 50 * SIM_MS);
	CHECK(!sim_client_is_open(sim, client));
	sim_destroy(&sim);
}

TEST(datagrams_arrive_and_a_dead_process_closes_its_connections)
{
	struct sim_options options = {.seed = 9, .scenario = "calm"};
	struct sim *sim = sim_create(&options);
	struct net_addr from;
	struct addr addr;
	uint8_t byte = 7;

	CHECK_OK(net_addr_parse("127.0.0.1:5000", &from));
	CHECK_OK(actor_spawn(sim->processes[1].rt, NULL, &echo_actor, NULL, &addr));
	for (int i = 0; i < 10; i++)
		sim_client_send_datagram(sim, 1, &from, &byte, 1);
	sim_run_until(sim, sim->now_us + 50 * SIM_MS);
	struct echo *echo = actor_data(runtime_find(sim->processes[1].rt, addr.id));

	CHECK_EQ(echo->datagrams, 10);
	uint32_t client = sim_client_connect(sim, 1, NET_RTMP);

	CHECK(sim_client_is_open(sim, client));
	sim_kill_process(sim, 1, false);
	CHECK(!sim_client_is_open(sim, client));
	sim_client_send_datagram(sim, 1, &from, &byte, 1); /* to nobody */
	sim_run_until(sim, sim->now_us + 50 * SIM_MS);
	sim_destroy(&sim);
}

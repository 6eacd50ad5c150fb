/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the network between the nodes of a cluster. Where they stand, and how far apart, is drawn
 * (cluster/topology_chance.h); every node has one or two addresses, each in a network of its own, so that
 * links have one path or two. Datagrams of links are lost, late, doubled and overtake each other as
 * their path says; a path can be bad for a while, and all of it can fall in two.
 *
 *   net_send --path: loss, delay--> under way --> datagrams() of the link office there
 *
 * Checked: no nonce of a link's key is ever used for two different datagrams.
 */
#include "actors/link/link_wire.h"
#include "cluster/topology_chance.h"
#include "tests/sim/sim_rtc.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	NETWORKS = 2,
	REGIONS_MAX = 5,
	JITTER_US = 1500,
	LATE_US = 15 * SIM_MS, /* most that one which others overtake is behind */
	LATE_PPM = 2000,
	DOUBLED_PPM = 500,
	TROUBLE_MAX_MS = 4000,
	SPLIT_MAX_MS = 6000,
	SLOW_MAX_MS = 120,
	LOSS_MAX_PPM = 300000,
	PROBE_NEIGHBOURS =
		2, /* cluster.probe_neighbours: probes are most of what a quiet cluster does */
};

struct path {
	int64_t delay_us; /* one way */
	uint32_t loss_ppm;
	/* while it is bad */
	int64_t bad_until_us;
	int64_t worse_us;
	uint32_t worse_ppm;
};

struct sim_wide {
	struct path path[SIM_NODES_MAX][SIM_NODES_MAX][NETWORKS]; /* from, to */
	uint8_t networks[SIM_NODES_MAX];			  /* of that node */
	struct config *configs;					  /* of each node … */
	struct config *at_first;				  /* … and as it began */
	uint64_t owner[SIM_PROCESSES_MAX];			  /* link office */
	struct sim_seals *seals;
	bool side[SIM_NODES_MAX];
	bool etcd_side;
	int64_t split_until_us;
	int64_t parted_until_us[SIM_NODES_MAX][SIM_NODES_MAX]; /* two nodes, the lower one first */
};

/* What one call has sent, as far as it arrives together. */
struct sim_flight {
	uint32_t slot; /* of whom it is for */
	struct net_addr from;
	uint16_t count;
	uint16_t size[NET_SEND_PACKETS_MAX];
	uint32_t used;
	uint8_t bytes[];
};

/* ---- where everybody stands ------------------------------------------------------------------------ */

static void draw_pair(struct sim *sim, struct sim_wide *wide, uint32_t a, uint32_t b,
	const struct topology_link *link)
{
	for (int i = 0; i < NETWORKS; i++) {
		struct path *path = &wide->path[a][b][i];

		/* the second way is another one */
		path->delay_us = link->rtt_us / 2 + (i ? rng_between(&sim->rng, 0, 5 * SIM_MS) : 0);
		path->loss_ppm = i ? (uint32_t)rng_below(&sim->rng, 1000) : link->loss_ppm;
		wide->path[b][a][i] = *path;
	}
}

/* Who has no link on the map reaches the other over those who have. */
static void close_map(struct sim *sim, struct sim_wide *wide)
{
	uint32_t count = sim->nodes;

	for (uint32_t over = 0; over < count; over++)
		for (uint32_t a = 0; a < count; a++)
			for (uint32_t b = 0; b < count; b++)
				for (int i = 0; i < NETWORKS; i++) {
					const struct path *first = &wide->path[a][over][i];
					const struct path *second = &wide->path[over][b][i];
					struct path *path = &wide->path[a][b][i];

					if (a == b || a == over || b == over || !first->delay_us ||
						!second->delay_us ||
						(path->delay_us &&
							path->delay_us <=
								first->delay_us + second->delay_us))
						continue;
					path->delay_us = first->delay_us + second->delay_us;
					path->loss_ppm = first->loss_ppm + second->loss_ppm;
				}
	for (uint32_t a = 0; a < count; a++)
		for (uint32_t b = 0; b < count; b++)
			for (int i = 0; i < NETWORKS; i++)
				MUST(a == b || wide->path[a][b][i].delay_us > 0);
}

static void configure(
	struct sim *sim, struct sim_wide *wide, uint32_t node, const struct topology_about *about)
{
	struct config *config = &wide->configs[node];

	*config = sim->config;
	text_copy(config->coord, sizeof(config->coord), "etcd://etcd:2379");
	text_copy(config->node_name, sizeof(config->node_name), about->name);
	text_copy(config->region, sizeof(config->region), about->region);
	snprintf(config->public_url, sizeof(config->public_url), SIM_NODE_URL "%u", node);
	config->tier = about->tier;
	config->node_cost = about->cost;
	config->cluster_probe_neighbours = PROBE_NEIGHBOURS;
	config->link_mode = (int64_t)rng_below(&sim->rng, 3);
	wide->networks[node] = (uint8_t)rng_between(&sim->rng, 1, NETWORKS);
	for (int i = 0, used = 0; i < wide->networks[node]; i++)
		used += snprintf(config->link_advertise + used,
			sizeof(config->link_advertise) - (size_t)used, "%s10.%d.%u.1", i ? "," : "",
			i, node);
}

struct sim_wide *sim_wide_create(struct sim *sim)
{
	const struct topology_options options = {0};
	const struct topology_chance chance = {
		.seed = rng_u64(&sim->rng),
		.nodes = sim->nodes,
		.cores_permille = 200,
		.edge_links = 3,
		.core_links = 8,
		.regions = (uint32_t)rng_between(&sim->rng, 1, REGIONS_MAX),
	};
	struct sim_wide *wide = calloc(1, sizeof(*wide));
	struct topology *map;

	MUST(wide);
	wide->configs = calloc(sim->nodes, sizeof(*wide->configs));
	wide->at_first = calloc(sim->nodes, sizeof(*wide->at_first));
	wide->seals = sim_seals_create();
	MUST(wide->configs && wide->at_first && topology_create(&options, &map) == ERR_OK);
	MUST(topology_by_chance(map, &chance) == ERR_OK);
	for (uint32_t i = 0; i < sim->nodes; i++) {
		const struct topology_node *node = topology_find(map, SIM_NODE + i);

		MUST(node);
		configure(sim, wide, i, &node->about);
		wide->at_first[i] = wide->configs[i];
		for (uint16_t j = 0; j < node->link_count; j++) {
			uint32_t to = (uint32_t)(map->nodes[node->links[j].to].id - SIM_NODE);

			if (!wide->path[i][to][0].delay_us)
				draw_pair(sim, wide, i, to, &node->links[j]);
		}
	}
	topology_destroy(&map);
	close_map(sim, wide);
	return wide;
}

void sim_wide_destroy(struct sim_wide **wide)
{
	if (!*wide)
		return;
	sim_seals_destroy(&(*wide)->seals);
	free((*wide)->configs);
	free((*wide)->at_first);
	free(*wide);
	*wide = NULL;
}

int64_t sim_wide_delay_us(const struct sim *sim, uint32_t a, uint32_t b)
{
	return sim->wide->path[a][b][0].delay_us;
}

struct config *sim_config_of(struct sim *sim, uint32_t node)
{
	return sim->wide ? &sim->wide->configs[node] : &sim->config;
}

const struct config *sim_config_at_first(const struct sim *sim, uint32_t node)
{
	return sim->wide ? &sim->wide->at_first[node] : &sim->config;
}

/* ---- sockets ------------------------------------------------------------------------------------------ */

static struct net_addr address_of(uint32_t node, int network, uint32_t index)
{
	return (struct net_addr){
		.family = 4,
		.transport = NET_UDP,
		.port = (uint16_t)(SIM_LINK_PORT + index),
		.ip = {10, (uint8_t)network, (uint8_t)node, 1},
	};
}

/* False: nobody has that address. */
static bool find_address(
	const struct sim *sim, const struct net_addr *addr, uint32_t *slot, int *network)
{
	uint32_t node = addr->ip[2], index = (uint32_t)addr->port - SIM_LINK_PORT;

	*network = addr->ip[1];
	*slot = node * sim->node_slots + 1 + index;
	return addr->family == 4 && addr->ip[0] == 10 && node < sim->nodes &&
	       *network < sim->wide->networks[node] && index + 1 < sim->node_slots &&
	       sim->processes[*slot].used;
}

void sim_wide_take(struct sim_process *process, uint64_t owner)
{
	process->sim->wide->owner[process - process->sim->processes] = owner;
}

void sim_wide_local_addr(const struct sim_process *process, struct net_addr *addr)
{
	*addr = address_of(process->node, 0, process->index);
}

void sim_wide_look(struct sim *sim, const void *bytes, size_t size, bool trial)
{
	struct link_head head;
	uint64_t key;

	/* (a relay hands on what was looked at when its end of the link sent it) */
	if (!sim_link_key(bytes, &key) || link_head_read(bytes, size, &head))
		return;
	SIM_CHECK(sim, key, "a link seals by a key of zeros");
	SIM_CHECK(sim,
		!key || sim_seals_note(sim->wide->seals, key, head.counter, bytes, size, trial),
		"nonce %llu of a link seals two different datagrams%s",
		(unsigned long long)head.counter, trial ? " after a restore" : "");
}

/* ---- datagrams ---------------------------------------------------------------------------------------- */

int64_t sim_wide_parted_until_us(const struct sim *sim, uint32_t a, uint32_t b)
{
	const struct sim_wide *wide = sim->wide;
	int64_t until_us = wide->parted_until_us[a < b ? a : b][a < b ? b : a];

	if (wide->side[a] != wide->side[b] && wide->split_until_us > until_us)
		until_us = wide->split_until_us;
	return until_us > sim->now_us ? until_us : 0;
}

static const struct sim_carrier flights;

static struct sim_flight *flight_create(
	uint32_t slot, const struct net_addr *from, const struct iovec *packets, size_t count)
{
	struct sim_flight *flight;
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += packets[i].iov_len;
	flight = malloc(sizeof(*flight) + size);
	MUST(flight && count <= NET_SEND_PACKETS_MAX);
	*flight = (struct sim_flight){.slot = slot, .from = *from};
	return flight;
}

static void flight_add(struct sim_flight *flight, const struct iovec *packet)
{
	memcpy(flight->bytes + flight->used, packet->iov_base, packet->iov_len);
	flight->used += (uint32_t)packet->iov_len;
	flight->size[flight->count++] = (uint16_t)packet->iov_len;
}

/* One that others overtake, or that comes twice. */
static void send_late(struct sim *sim, uint32_t slot, const struct net_addr *from,
	const struct iovec *packet, int64_t at_us)
{
	struct sim_flight *flight = flight_create(slot, from, packet, 1);

	flight_add(flight, packet);
	sim_carry(sim, at_us + rng_between(&sim->rng, 0, LATE_US), &flights, flight);
}

static void send_over(struct sim *sim, const struct path *path, uint32_t slot,
	const struct net_addr *from, const struct iovec *packets, size_t count)
{
	bool bad = path->bad_until_us > sim->now_us;
	uint32_t loss_ppm = path->loss_ppm + (bad ? path->worse_ppm : 0);
	int64_t at_us = sim->now_us + path->delay_us + (bad ? path->worse_us : 0) +
			rng_between(&sim->rng, 0, JITTER_US);
	struct sim_flight *flight = flight_create(slot, from, packets, count);

	for (size_t i = 0; i < count; i++) {
		if (rng_chance_ppm(&sim->rng, loss_ppm))
			continue;
		if (rng_chance_ppm(&sim->rng, DOUBLED_PPM))
			send_late(sim, slot, from, &packets[i], at_us);
		if (rng_chance_ppm(&sim->rng, LATE_PPM))
			send_late(sim, slot, from, &packets[i], at_us);
		else
			flight_add(flight, &packets[i]);
	}
	if (flight->count)
		sim_carry(sim, at_us, &flights, flight);
	else
		free(flight);
}

bool sim_wide_is_local(void *context, const struct net_addr *addr)
{
	const struct sim_process *process = context;

	return addr->family == 4 && addr->ip[0] == 10 && addr->ip[2] == process->node &&
	       addr->ip[1] < process->sim->wide->networks[process->node];
}

size_t sim_wide_send_from(void *context, uint32_t socket, const struct net_addr *local,
	const struct net_addr *to, const struct iovec *packets, size_t count)
{
	struct sim_process *process = context;

	if (socket != SIM_LINK_SOCKET)
		return sim_net_send(context, socket, to, packets, count);
	if (process->alive)
		sim_takeover_step(process);
	return process->alive ? sim_wide_send(process, local->ip[1], to, packets, count) : 0;
}

size_t sim_wide_send(struct sim_process *process, uint32_t local, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	struct sim *sim = process->sim;
	const struct sim_wide *wide = sim->wide;
	uint32_t slot;
	int network;

	for (size_t i = 0; i < count; i++)
		sim_wide_look(sim, packets[i].iov_base, packets[i].iov_len, false);
	sim_note(sim, "link", process->incarnation, packets[0].iov_len << 8 | count);
	process->packets += count;
	sim->datagrams += count;
	if (!find_address(sim, to, &slot, &network) ||
		sim_wide_parted_until_us(sim, process->node, sim->processes[slot].node))
		return count;
	struct net_addr from = address_of(process->node, (int)local, process->index);

	/* whoever has another address at either end takes another way */
	send_over(sim,
		&wide->path[process->node][sim->processes[slot].node]
			   [(local + (uint32_t)network) % NETWORKS],
		slot, &from, packets, count);
	return count;
}

static void drop_flight(struct sim *sim, void *flight)
{
	(void)sim;
	free(flight);
}

static void deliver_flight(struct sim *sim, void *carried)
{
	struct sim_flight *flight = carried;
	struct sim_process *process = &sim->processes[flight->slot];
	struct datagram datagrams[NET_SEND_PACKETS_MAX];
	uint32_t at = 0;

	/* the socket outlives its process: they wait there */
	if (!process->alive && (process->falling || process->line_goes_on)) {
		sim_carry(sim, sim->now_us + SIM_MS, &flights, flight);
		return;
	}
	if (process->alive && process->paused_until_us > sim->now_us) {
		sim_carry(sim, process->paused_until_us, &flights, flight);
		return;
	}
	if (!process->alive) {
		free(flight);
		return;
	}
	for (uint16_t i = 0; i < flight->count; i++) {
		datagrams[i] = (struct datagram){
			.from = flight->from,
			.bytes = flight->bytes + at,
			.size = flight->size[i],
			.arrival_us = sim->now_us,
		};
		at += flight->size[i];
	}
	sim_note(sim, "link in", process->incarnation, flight->used);
	process->packets += flight->count;
	runtime_tick(process->rt);
	runtime_net_datagrams(
		process->rt, sim->wide->owner[flight->slot], datagrams, flight->count);
	sim_wake(sim, process);
	free(flight);
}

static const struct sim_carrier flights = {.deliver = deliver_flight, .drop = drop_flight};

/* ---- trouble ------------------------------------------------------------------------------------------ */

void sim_wide_trouble(struct sim *sim)
{
	uint32_t a = (uint32_t)rng_below(&sim->rng, sim->nodes);
	uint32_t b = (a + 1 + (uint32_t)rng_below(&sim->rng, sim->nodes - 1)) % sim->nodes;
	uint64_t network = rng_below(&sim->rng, NETWORKS), kind = rng_below(&sim->rng, 4);
	struct path *path = &sim->wide->path[a][b][network];
	struct path bad = {
		.bad_until_us = sim->now_us + rng_between(&sim->rng, 20, TROUBLE_MAX_MS) * SIM_MS,
		.worse_ppm = kind == 0 ? 1000000 : (uint32_t)rng_below(&sim->rng, LOSS_MAX_PPM),
		.worse_us = kind == 1 ? rng_between(&sim->rng, 1, SLOW_MAX_MS) * SIM_MS : 0,
	};

	sim_note(sim, "path", (uint64_t)a << 16 | b << 8 | network, kind);
	path->bad_until_us = bad.bad_until_us;
	path->worse_ppm = bad.worse_ppm;
	path->worse_us = bad.worse_us;
	if (kind == 3) /* one way only */
		return;
	path = &sim->wide->path[b][a][network];
	path->bad_until_us = bad.bad_until_us;
	path->worse_ppm = bad.worse_ppm;
	path->worse_us = bad.worse_us;
}

void sim_wide_part(struct sim *sim, int64_t for_us)
{
	uint32_t a = (uint32_t)rng_below(&sim->rng, sim->nodes);
	uint32_t b = (uint32_t)rng_below(&sim->rng, sim->nodes);

	sim_note(sim, "parted", (uint64_t)a << 32 | b, (uint64_t)for_us);
	if (a != b)
		sim->wide->parted_until_us[a < b ? a : b][a < b ? b : a] = sim->now_us + for_us;
}

void sim_wide_split(struct sim *sim)
{
	struct sim_wide *wide = sim->wide;
	int64_t for_us = rng_between(&sim->rng, 500, SPLIT_MAX_MS) * SIM_MS;

	if (wide->split_until_us > sim->now_us)
		return;
	for (uint32_t i = 0; i < sim->nodes; i++)
		wide->side[i] = rng_below(&sim->rng, 2);
	wide->etcd_side = rng_below(&sim->rng, 2);
	wide->split_until_us = sim->now_us + for_us;
	sim_note(sim, "split", wide->etcd_side, (uint64_t)for_us);
}

bool sim_wide_reaches_etcd(const struct sim *sim, uint32_t node)
{
	return sim->wide->split_until_us <= sim->now_us ||
	       sim->wide->side[node] == sim->wide->etcd_side;
}

void sim_wide_heal(struct sim *sim)
{
	if (!sim->wide)
		return;
	sim->wide->split_until_us = 0;
	memset(sim->wide->parted_until_us, 0, sizeof(sim->wide->parted_until_us));
	for (uint32_t a = 0; a < sim->nodes; a++)
		for (uint32_t b = 0; b < sim->nodes; b++)
			for (int i = 0; i < NETWORKS; i++)
				sim->wide->path[a][b][i].bad_until_us = 0;
}

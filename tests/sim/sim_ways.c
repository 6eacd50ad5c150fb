/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the ways between gateways. As the mesh's: a connection carries whole frames in order, and
 * breaks with everything under way; it is made anew, and both are told; one that stays broken for three
 * seconds is given up, by each end at a moment of its own. Nodes can be parted, and heal.
 *
 *   (nothing) --wanted--> connected --breaks--> broken --made anew--> connected
 *                                                  \--too long--> given up by either end
 */
#include "runtime/kernel.h"
#include "tests/sim/sim.h"

#include <stdlib.h>

enum {
	DELAY_MAX_MS = 40, /* of a pair, one way */
	CONNECT_US = 30 * SIM_MS,
	RETRY_MS = 400,
	LOST_MS = 3000, /* cluster.node_lost_ms … */
	LOST_SPREAD_MS = 400,
	EPOCH_SHIFT = 16,
};

/* Between two nodes; side 0 is the lower one. */
struct way {
	bool wanted, connected, retrying;
	int64_t parted_until_us;
	uint64_t epoch; /* one more with every connection made or broken */
	int64_t delay_us;
	uint64_t told[2]; /* epoch in which that side was told that the other is up */
	int64_t arrival_us[2];
	uint32_t under_way[2];
};

struct sim_ways {
	struct way way[SIM_NODES_MAX][SIM_NODES_MAX];
};

struct sim_parcel {
	uint32_t from, to; /* nodes */
	uint64_t epoch;
	uint32_t size;
	uint8_t bytes[];
};

struct sim_ways *sim_ways_create(struct sim *sim)
{
	struct sim_ways *ways = calloc(1, sizeof(*ways));

	MUST(ways);
	for (uint32_t a = 0; a < sim->nodes; a++)
		for (uint32_t b = a + 1; b < sim->nodes; b++)
			ways->way[a][b].delay_us =
				rng_between(&sim->rng, 200, DELAY_MAX_MS * SIM_MS);
	return ways;
}

void sim_ways_destroy(struct sim_ways **ways)
{
	free(*ways);
	*ways = NULL;
}

static struct way *way_of(struct sim *sim, uint32_t a, uint32_t b)
{
	return a < b ? &sim->ways->way[a][b] : &sim->ways->way[b][a];
}

/* NULL = dead. */
static struct sim_process *gateway(struct sim *sim, uint32_t node)
{
	struct sim_process *process = &sim->processes[node * sim->node_slots];

	return process->alive && !process->falling ? process : NULL;
}

/* Events say which end of which way, and in which epoch of it. */
static uint64_t pack(uint32_t at, uint32_t other, uint64_t epoch)
{
	return epoch << EPOCH_SHIFT | at << 8 | other;
}

static struct way *unpack(struct sim *sim, uint64_t argument, uint32_t *at, uint32_t *other)
{
	struct way *way;

	*at = argument >> 8 & 0xff;
	*other = argument & 0xff;
	way = way_of(sim, *at, *other);
	return way->epoch == argument >> EPOCH_SHIFT ? way : NULL;
}

/* ---- connections --------------------------------------------------------------------------------- */

static void tell_up(struct sim *sim, uint64_t argument)
{
	uint32_t at, other;
	struct way *way = unpack(sim, argument, &at, &other);
	struct sim_process *process = gateway(sim, at);

	if (!way || !way->connected || way->told[at > other] == way->epoch || !process)
		return;
	if (process->paused_until_us > sim->now_us) {
		sim_at(sim, process->paused_until_us, tell_up, argument);
		return;
	}
	sim_note(sim, "node up", at, other);
	way->told[at > other] = way->epoch;
	runtime_tick(process->rt);
	MUST(runtime_node_up(process->rt, SIM_NODE + other,
		     runtime_options(gateway(sim, other)->rt)->boot) == ERR_OK);
	sim_wake(sim, process);
}

static void give_up(struct sim *sim, uint64_t argument)
{
	uint32_t at, other;
	struct way *way = unpack(sim, argument, &at, &other);
	struct sim_process *process = gateway(sim, at);

	if (!way || way->connected || !process)
		return;
	sim_note(sim, "node down", at, other);
	runtime_tick(process->rt);
	runtime_node_down(process->rt, SIM_NODE + other);
	sim_wake(sim, process);
}

static void connect_way(struct sim *sim, uint64_t argument);

static void try_again(struct sim *sim, struct way *way, uint32_t a, uint32_t b, int64_t within_us)
{
	if (way->retrying)
		return;
	way->retrying = true;
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 1, within_us), connect_way, pack(a, b, 0));
}

static void connect_way(struct sim *sim, uint64_t argument)
{
	uint32_t a = argument >> 8 & 0xff, b = argument & 0xff;
	struct way *way = way_of(sim, a, b);

	way->retrying = false;
	if (way->connected)
		return;
	if (way->parted_until_us > sim->now_us || !gateway(sim, a) || !gateway(sim, b)) {
		try_again(sim, way, a, b, RETRY_MS * SIM_MS);
		return;
	}
	sim_note(sim, "connected", a, b);
	way->connected = true;
	way->epoch++;
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 0, CONNECT_US), tell_up,
		pack(a, b, way->epoch));
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 0, CONNECT_US), tell_up,
		pack(b, a, way->epoch));
}

static int64_t lost_after_us(struct sim *sim)
{
	return (LOST_MS + rng_between(&sim->rng, 0, LOST_SPREAD_MS)) * SIM_MS;
}

/* (no runtime is called: this may be in the middle of a turn) */
static void break_way(struct sim *sim, uint32_t a, uint32_t b)
{
	struct way *way = way_of(sim, a, b);

	if (!way->connected)
		return;
	sim_note(sim, "broken", a, b);
	way->connected = false;
	way->epoch++;
	sim_at(sim, sim->now_us + lost_after_us(sim), give_up, pack(a, b, way->epoch));
	sim_at(sim, sim->now_us + lost_after_us(sim), give_up, pack(b, a, way->epoch));
	try_again(sim, way, a, b, RETRY_MS * SIM_MS);
}

void sim_ways_gateway_gone(struct sim *sim, uint32_t node)
{
	for (uint32_t other = 0; other < sim->nodes; other++)
		if (other != node)
			break_way(sim, node, other);
}

static void any_pair(struct sim *sim, uint32_t *a, uint32_t *b)
{
	*a = (uint32_t)rng_below(&sim->rng, sim->nodes);
	*b = (*a + 1 + (uint32_t)rng_below(&sim->rng, sim->nodes - 1)) % sim->nodes;
}

void sim_ways_cut(struct sim *sim)
{
	uint32_t a, b;

	any_pair(sim, &a, &b);
	break_way(sim, a, b);
}

void sim_ways_part(struct sim *sim, int64_t for_us)
{
	uint32_t a, b;

	any_pair(sim, &a, &b);
	sim_note(sim, "parted", (uint64_t)a << 32 | b, (uint64_t)for_us);
	way_of(sim, a, b)->parted_until_us = sim->now_us + for_us;
	break_way(sim, a, b);
}

void sim_ways_heal(struct sim *sim)
{
	for (uint32_t a = 0; a < sim->nodes; a++)
		for (uint32_t b = a + 1; b < sim->nodes; b++)
			sim->ways->way[a][b].parted_until_us = 0;
}

/* ---- what a gateway calls ------------------------------------------------------------------------ */

void sim_ways_wanted(void *context, uint64_t node)
{
	struct sim_process *process = context;
	struct sim *sim = process->sim;
	uint32_t at = process->node, other = (uint32_t)(node - SIM_NODE);

	if (!process->alive || node < SIM_NODE || other >= sim->nodes || other == at)
		return; /* nobody has heard of it: it times out */
	struct way *way = way_of(sim, at, other);

	sim_note(sim, "wanted", at, other);
	if (!way->connected) {
		try_again(sim, way, at, other, CONNECT_US);
		return;
	}
	way->told[at > other] = 0;
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 1, CONNECT_US), tell_up,
		pack(at, other, way->epoch));
}

static bool happens(struct sim *sim, uint32_t ppm)
{
	return rng_chance_ppm(&sim->rng, sim->faults_on ? ppm : 0);
}

/* The planted bug: the receiver counts a mail that never came. */
static void pretend_received(struct sim *sim, uint32_t from, uint32_t to, const void *frame)
{
	struct sim_process *process = gateway(sim, to);
	struct far_node *node = process ? kernel_node(process->rt, SIM_NODE + from) : NULL;
	const struct node_header *header = frame;

	if (node && header->kind == BUS_MAIL && header->number == node->theirs &&
		header->to_number == node->number && header->seq == node->mail.in_seq + 1)
		node->mail.in_kept = ++node->mail.in_seq;
}

/* (into a buffer that goes with the connection) */
static enum err lose(struct sim *sim, uint32_t from, uint32_t to, const struct iovec *parts)
{
	if (rng_below(&sim->rng, 2))
		return ERR_AGAIN;
	if (sim->options.plant == SIM_PLANT_PARCEL)
		pretend_received(sim, from, to, parts[0].iov_base);
	return ERR_OK;
}

static const struct sim_carrier parcels;

enum err sim_ways_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct sim_process *process = context;
	struct sim *sim = process->sim;
	uint32_t from = process->node, to = (uint32_t)(node - SIM_NODE);
	struct way *way = way_of(sim, from, to);
	int64_t *last_us = &way->arrival_us[from > to];
	size_t size = 0;

	if (!process->alive)
		return ERR_DEAD;
	if (happens(sim, sim->faults.cut_ppm))
		break_way(sim, from, to);
	if (!way->connected || way->told[from > to] != way->epoch)
		return lose(sim, from, to, parts);
	if (way->under_way[from > to] >= SIM_QUEUE_FRAMES || happens(sim, sim->faults.full_ppm))
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	struct sim_parcel *parcel = malloc(sizeof(*parcel) + size);

	MUST(parcel);
	*parcel = (struct sim_parcel){.from = from, .to = to, .epoch = way->epoch};
	for (size_t i = 0; i < count; i++) {
		memcpy(parcel->bytes + parcel->size, parts[i].iov_base, parts[i].iov_len);
		parcel->size += (uint32_t)parts[i].iov_len;
	}
	int64_t at_us = sim->now_us + way->delay_us + rng_between(&sim->rng, 10, SIM_MS);

	*last_us = at_us > *last_us ? at_us : *last_us;
	way->under_way[from > to]++;
	sim_carry(sim, *last_us, &parcels, parcel);
	return ERR_OK;
}

static void drop_parcel(struct sim *sim, void *carried)
{
	struct sim_parcel *parcel = carried;

	way_of(sim, parcel->from, parcel->to)->under_way[parcel->from > parcel->to]--;
	free(parcel);
}

static void deliver_parcel(struct sim *sim, void *carried)
{
	struct sim_parcel *parcel = carried;
	struct way *way = way_of(sim, parcel->from, parcel->to);
	struct sim_process *to = gateway(sim, parcel->to);

	if (to && to->paused_until_us > sim->now_us) {
		sim_carry(sim, to->paused_until_us, &parcels, parcel);
		return;
	}
	if (!to || parcel->epoch != way->epoch) {
		drop_parcel(sim, parcel);
		return;
	}
	tell_up(sim, pack(parcel->to, parcel->from, way->epoch)); /* who speaks is up */
	sim_note(sim, "parcel", parcel->from << 8 | parcel->to, parcel->size);
	runtime_tick(to->rt);
	runtime_node_frame(to->rt, SIM_NODE + parcel->from, parcel->bytes, parcel->size);
	sim_wake(sim, to);
	drop_parcel(sim, parcel);
}

static const struct sim_carrier parcels = {.deliver = deliver_parcel, .drop = drop_parcel};

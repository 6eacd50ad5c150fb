/* SPDX-License-Identifier: Apache-2.0
 *
 * Link offices and links in the workers of three nodes, over sockets that are one queue in this program.
 */
#ifndef MILLRACE_TEST_LINK_WORLD_H
#define MILLRACE_TEST_LINK_WORLD_H

#include "actors/link/link_internal.h"
#include "tests/unit/node_world.h"

enum { NO_NODE = 99, WIRE_MAX = 8192, WIRE_US = 2000, PORT = 7500, SOCKET = 5 };

struct wire_datagram {
	int64_t at_us;
	struct net_addr from, to;
	uint16_t size;
	uint8_t bytes[LINK_DATAGRAM_MAX];
};

static struct {
	struct wire_datagram queue[WIRE_MAX];
	size_t count;
	bool cut[LAND_NODES][LAND_NODES]; /* datagrams only */
	unsigned one_in; /* of what the first node sends one in so many arrives; 0 = all */
	unsigned relay;	 /* this node sends what others have sealed */
	uint64_t sent;
	uint64_t counters[WIRE_MAX *
			  16]; /* of all datagrams of one session, to look for a second use */
	uint32_t sessions[WIRE_MAX * 16];
} * wire;

/* Address of a worker's port: the node and the worker are in it. */
static struct net_addr wire_addr(unsigned node, unsigned worker)
{
	return (struct net_addr){
		.family = 4,
		.transport = NET_UDP,
		.port = (uint16_t)(PORT + worker),
		.ip = {10, 0, (uint8_t)node, 1}
	       };
}

static uint32_t wire_take(void *context, uint64_t owner, enum net_given what)
{
	const struct place *place = context;

	(void)owner;
	return what == NET_LINK_UDP && place->slot != CONTROL ? SOCKET : 0;
}

static void wire_local(void *context, uint32_t socket, struct net_addr *addr)
{
	const struct place *place = context;

	CHECK_EQ(socket, SOCKET);
	*addr = wire_addr(place->node, place->slot - 1);
}

static void note_counter(const uint8_t *bytes)
{
	uint32_t session;
	uint64_t counter;

	memcpy(&session, bytes + 4, 4);
	memcpy(&counter, bytes + 8, 8);
	for (uint64_t i = 0; i < wire->sent && i < WIRE_MAX * 16; i++)
		CHECK(wire->sessions[i] != session || wire->counters[i] != counter);
	if (wire->sent < WIRE_MAX * 16) {
		wire->sessions[wire->sent] = session;
		wire->counters[wire->sent] = counter;
	}
	wire->sent++;
}

static size_t wire_send(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	const struct place *place = context;

	CHECK_EQ(socket, SOCKET);
	for (size_t i = 0; i < count; i++) {
		struct wire_datagram *d = &wire->queue[wire->count];

		if (place->node != wire->relay)
			note_counter(packets[i].iov_base);
		if (wire->cut[place->node][to->ip[2]])
			continue;
		if (wire->one_in && !place->node && wire->sent % wire->one_in)
			continue;
		CHECK(wire->count < WIRE_MAX && packets[i].iov_len <= sizeof(d->bytes));
		d->at_us = the_land->now_us + WIRE_US;
		d->from = wire_addr(place->node, place->slot - 1);
		d->to = *to;
		d->size = (uint16_t)packets[i].iov_len;
		memcpy(d->bytes, packets[i].iov_base, d->size);
		wire->count++;
	}
	return count;
}

static void wire_deliver(struct land *land)
{
	size_t left = 0, count = wire->count;

	for (size_t i = 0; i < count; i++) {
		struct wire_datagram d = wire->queue[i];

		if (d.at_us > land->now_us) {
			wire->queue[left++] = d;
			continue;
		}
		struct place *to = &land->place[d.to.ip[2]][d.to.port - PORT + 1];
		const struct datagram datagram = {.from = d.from,
			.bytes = d.bytes,
			.size = d.size,
			.arrival_us = land->now_us};

		if (to->rt)
			runtime_net_datagrams(to->rt,
				runtime_options(to->rt)->block << RUNTIME_BLOCK_SHIFT | OFFICE_LINK,
				&datagram, 1);
	}
	/* what was sent meanwhile lies behind what there was */
	memmove(wire->queue + left, wire->queue + count,
		(wire->count - count) * sizeof(wire->queue[0]));
	wire->count = left + wire->count - count;
}

static void run_ms(struct land *land, int ms)
{
	for (int i = 0; i < ms; i++) {
		land_run_ms(land, 1);
		wire_deliver(land);
	}
}

static struct land *begin_with(uint32_t sessions)
{
	static const struct actor_type *types[8];
	size_t count = 0;

	while (probe_types[count]) {
		types[count] = probe_types[count];
		count++;
	}
	types[count++] = &link_office_actor;
	types[count++] = &media_link_actor;
	types[count] = NULL;
	land_types = types;
	land_layout.count[ARENA_PACKET] = 4096;
	land_layout.count[ARENA_SESSION] = sessions;
	land_layout.size[ARENA_SESSION] = sizeof(struct link_hot);
	land_ops.net_take = wire_take;
	land_ops.net_local_addr = wire_local;
	land_ops.net_send = wire_send;
	wire = calloc(1, sizeof(*wire));
	CHECK(wire != NULL);
	wire->relay = NO_NODE;
	struct land *land = land_create();

	for (unsigned node = 0; node < LAND_NODES; node++)
		for (unsigned slot = 1; slot < LAND_PROCESSES; slot++)
			CHECK_OK(actor_spawn_office(
				land->place[node][slot].rt, OFFICE_LINK, &link_office_actor, NULL));
	land_up(land, 0, 1);
	land_up(land, 1, 0);
	run_ms(land, 20);
	return land;
}

static struct land *begin(void)
{
	return begin_with(8);
}

static void leave(struct place *place)
{
	runtime_destroy(&place->rt);
	if (place->arena) {
		CHECK_EQ(arena_references(place->arena, ARENA_SESSION), 0);
		CHECK_EQ(arena_references(place->arena, ARENA_PACKET), 0);
	}
	escrow_detach(&place->escrow);
	arena_detach(&place->arena);
}

/* Ends in order: nobody has kept a packet. */
static void end(struct land *land)
{
	for (unsigned node = 0; node < LAND_NODES; node++)
		for (unsigned slot = 0; slot < LAND_PROCESSES; slot++)
			if (land->place[node][slot].rt)
				leave(&land->place[node][slot]);
	land_destroy(land);
	free(wire);
}

/* `count` packets of an actor to another, one each 2 ms. */
static void say(struct land *land, struct addr from, struct addr to, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct actor *actor = land_actor(land, from);
		struct arena *arena = actor_arena(actor);
		struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, 0);
		struct packet *packet = arena_packet(arena, ref);

		assert_non_null(packet);
		packet->header = (struct media_header){.position = i + 1, .size = 1000};
		memset(packet->payload, (int)i, 1000);
		actor_media(actor, to, ref);
		arena_release(arena, ARENA_PACKET, ref);
		run_ms(land, 2);
	}
}

/* The n-th link of a worker; NULL = there are fewer. */
static struct actor *link_of(struct land *land, unsigned node, unsigned slot, unsigned n)
{
	struct runtime *rt = land->place[node][slot].rt;
	struct actor_facts facts;

	for (struct actor *a = runtime_next_actor(rt, NULL); a; a = runtime_next_actor(rt, a)) {
		runtime_facts(a, &facts);
		if (!strcmp(facts.type, "link") && !n--)
			return a;
	}
	return NULL;
}

static const struct media_link *link_data(struct land *land, unsigned node, unsigned slot)
{
	struct actor *actor = link_of(land, node, slot, 0);

	assert_non_null(actor);
	return actor_data(actor);
}

#endif

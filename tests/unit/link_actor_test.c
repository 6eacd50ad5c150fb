/* SPDX-License-Identifier: Apache-2.0
 *
 * Link offices and links in workers of three nodes: opened by the first packet, media both ways, keys,
 * ends, a worker's death; over sockets that are one queue in this program.
 */
#include "actors/link/link_internal.h"
#include "tests/unit/node_world.h"
#include "tests/unit/successor.h"

enum { WIRE_MAX = 4096, WIRE_US = 2000, PORT = 7500, SOCKET = 5 };

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

		note_counter(packets[i].iov_base);
		if (wire->cut[place->node][to->ip[2]])
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

static struct land *begin(void)
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
	land_layout.count[ARENA_SESSION] = 8;
	land_layout.size[ARENA_SESSION] = sizeof(struct link_hot);
	land_ops.net_take = wire_take;
	land_ops.net_local_addr = wire_local;
	land_ops.net_send = wire_send;
	wire = calloc(1, sizeof(*wire));
	CHECK(wire != NULL);
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

/* kill -9: the memory stays as it was, whatever its end would have done to it. */
static void silence(struct land *land, struct place *place)
{
	size_t size = arena_size(&land_layout), before = land->frame_count, sent = wire->count;
	uint8_t *memory = malloc(size);

	CHECK(memory != NULL);
	memcpy(memory, place->memory, size);
	runtime_destroy(&place->rt);
	while (land->frame_count > before)
		free(land->frames[--land->frame_count].bytes);
	wire->count = sent;
	escrow_detach(&place->escrow);
	arena_detach(&place->arena);
	memcpy(place->memory, memory, size);
	free(memory);
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

static struct land *begin_open(struct addr *here, struct addr *there)
{
	struct land *land = begin();

	*here = land_spawn(land, 0, 1, false);
	*there = land_spawn(land, 1, 1, false);
	say(land, *here, *there, 1);
	run_ms(land, 200);
	CHECK_EQ(land_probe(land, *there)->packets, 0); /* the one that opened it is lost */
	CHECK_STR(link_data(land, 0, 1)->st.ways[0].remote, "10.0.1.1:7500");
	CHECK_EQ(link_data(land, 0, 1)->st.peer_session, link_data(land, 1, 1)->st.session);
	return land;
}

TEST(the_first_packet_opens_a_link_and_media_goes_both_ways)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);

	say(land, here, there, 100);
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->packets, 100);
	CHECK_EQ(land_probe(land, there)->media_from.node, here.node);
	CHECK_EQ(land_probe(land, there)->media_from.id, here.id);
	say(land, there, here, 100);
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, here)->packets, 100);
	CHECK(!link_of(land, 0, 1, 1)); /* one link serves both */
	CHECK(!link_of(land, 1, 1, 1));
	run_ms(land, 1000);
	const struct media_link *s = link_data(land, 0, 1);

	CHECK_EQ(s->st.packets_out, 100);
	CHECK_EQ(s->st.packets_in, 100);
	CHECK_EQ(s->st.ways[0].state, LINK_UP);
	CHECK(s->st.ways[0].rtt_us >= 2 * WIRE_US && s->st.ways[0].rtt_us < 3 * WIRE_US);
	end(land);
}

TEST(media_for_an_actor_of_another_worker_of_that_node_arrives)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);
	struct addr other = land_spawn(land, 1, 2, false);

	say(land, here, other, 50);
	run_ms(land, 50);
	CHECK_EQ(land_probe(land, other)->packets, 50);
	CHECK_EQ(land_probe(land, other)->media_from.id, here.id);
	end(land);
}

TEST(a_worker_whose_like_is_not_there_opens_to_the_first)
{
	struct land *land = begin();

	leave(&land->place[1][2]);
	land_kill(land, 1, 2);
	run_ms(land, 20);
	struct addr here = land_spawn(land, 0, 2, false), there = land_spawn(land, 1, 1, false);

	say(land, here, there, 1);
	run_ms(land, 200);
	say(land, here, there, 20);
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->packets, 20);
	end(land);
}

TEST(a_successor_of_either_end_goes_on_at_the_next_counter)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);
	static const unsigned nodes[] = {0, 1, 0};
	unsigned came = 0;

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		struct place *place = &land->place[nodes[i]][1];
		struct runtime_takeover_report report;
		uint32_t session = link_data(land, nodes[i], 1)->st.session;

		say(land, here, there, 30);
		run_ms(land, 20);
		came = land_probe(land, there)->packets;
		silence(land, place);
		land_attach(place);
		CHECK_OK(runtime_takeover(place->rt, &report));
		CHECK_EQ(report.ended_by_restore, 0);
		for (unsigned k = 0; k < LAND_PROCESSES; k++)
			if (k != 1) {
				struct place *other = &land->place[nodes[i]][k];
				struct runtime_peer_info info = land_info(other);

				CHECK_OK(runtime_peer_up(place->rt, &info));
				runtime_peer_again(other->rt, place->process);
			}
		/* three probes until a path is good again, and it is one when nothing better is known */
		run_ms(land, 400);
		CHECK_EQ(link_data(land, nodes[i], 1)->st.session, session);
		say(land, here, there, 30);
		run_ms(land, 20);
		/* a probe begins to count anew where it was restored */
		CHECK_EQ(land_probe(land, there)->packets, (nodes[i] == 1 ? 0 : came) + 30);
	}
	CHECK_EQ(link_data(land, 1, 1)->engine->counters.unauthentic, 0);
	CHECK_EQ(link_data(land, 1, 1)->engine->counters.replayed, 0);
	end(land);
}

TEST(keys_are_changed_while_media_flows)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);
	unsigned came = 0;

	for (int i = 0; i < 3; i++) {
		struct media_link *s = actor_data(link_of(land, 0, 1, 0));

		s->st.keyed_us = land->now_us - INT64_C(3600000000);
		say(land, here, there, 700); /* 1.4 s */
		came += 700;
		CHECK_EQ(link_data(land, 0, 1)->st.rekeys, i + 1);
	}
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->packets, came);
	CHECK_EQ(link_data(land, 1, 1)->engine->counters.unauthentic, 0);
	end(land);
}

TEST(a_link_that_nobody_uses_is_closed_at_both_ends_and_opened_again)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);

	run_ms(land, 63000);
	CHECK(!link_of(land, 0, 1, 0));
	CHECK(!link_of(land, 1, 1, 0));
	say(land, here, there, 1);
	run_ms(land, 200);
	say(land, here, there, 10);
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->packets, 10);
	end(land);
}

TEST(media_goes_on_while_the_mesh_has_lost_the_node)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);

	land_down(land, 0, 1);
	land_down(land, 1, 0);
	run_ms(land, 50);
	say(land, here, there, 50);
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->packets, 50);
	/* and ends when nothing gets through at all */
	wire->cut[0][1] = wire->cut[1][0] = true;
	run_ms(land, 14000);
	CHECK(!link_of(land, 0, 1, 0));
	CHECK(!link_of(land, 1, 1, 0));
	end(land);
}

TEST(datagrams_of_nobody_and_damaged_ones_are_counted)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);
	struct place *place = &land->place[1][1];
	uint64_t office = runtime_options(place->rt)->block << RUNTIME_BLOCK_SHIFT | OFFICE_LINK;
	uint32_t session = link_data(land, 1, 1)->st.session;
	uint8_t bytes[64] = {0x11};
	struct datagram d = {.from = wire_addr(0, 0), .bytes = bytes, .size = sizeof(bytes)};
	const struct link_office_state *st = actor_data(runtime_find(place->rt, office));
	uint64_t before = st->unknown;

	runtime_net_datagrams(place->rt, office, &d, 1);
	d.size = 3;
	runtime_net_datagrams(place->rt, office, &d, 1);
	CHECK_EQ(st->unknown, before + 2);
	memcpy(bytes + 4, &session, 4);
	bytes[8] = 0xff;
	bytes[12] = 1;
	d.size = sizeof(bytes);
	runtime_net_datagrams(place->rt, office, &d, 1);
	CHECK_EQ(link_data(land, 1, 1)->engine->counters.unauthentic, 1);
	end(land);
}

TEST(nobody_opens_links_with_nonsense)
{
	static const struct {
		uint32_t session;
		uint16_t key_size, port;
		const char *addresses;
	} rows[] = {
		{0, 28, 7500, "10.0.0.1"	},
		{7, 27, 7500, "10.0.0.1"	},
		{7, 28, 0,	   "10.0.0.1"	     },
		{7, 28, 7500, ""		},
		{7, 28, 7500, "not an address"},
	};
	struct land *land = begin();
	struct addr stranger = land_spawn(land, 0, 1, false);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct actor *actor = land_actor(land, stranger);
		struct msg_link_open m = {.session = rows[i].session, .port = rows[i].port};

		m.key.size = rows[i].key_size;
		text_copy(m.addresses, sizeof(m.addresses), rows[i].addresses);
		actor_request_mail(actor, actor_office_at_worker(actor, OFFICE_LINK, land_id(1), 0),
			1000, MSG_link_open, &schema_link_open, &m);
		run_ms(land, 20);
		CHECK(!link_of(land, 1, 1, 0));
		CHECK_EQ(arena_references(land->place[1][1].arena, ARENA_SESSION), 0);
	}
	end(land);
}

TEST(a_neighbour_that_is_to_be_measured_has_a_link_that_nobody_uses)
{
	struct land *land = begin();
	struct addr somebody = land_spawn(land, 0, 2, false);
	struct actor *actor = land_actor(land, somebody);
	struct msg_probe_plan plan = {.nodes_count = 1, .nodes = {{.node = land_id(1)}}};

	actor_send_mail(actor, actor_office_in(actor, OFFICE_LINK, land->place[0][1].process),
		MSG_probe_plan, &schema_probe_plan, &plan);
	run_ms(land, 65000);
	CHECK_EQ(link_data(land, 0, 1)->st.ways[0].state, LINK_UP);
	CHECK(!link_of(land, 0, 1, 1));
	plan.nodes_count = 0;
	actor_send_mail(actor, actor_office_in(actor, OFFICE_LINK, land->place[0][1].process),
		MSG_probe_plan, &schema_probe_plan, &plan);
	run_ms(land, 63000);
	CHECK(!link_of(land, 0, 1, 0));
	end(land);
}

/* ---- in another process ------------------------------------------------------------------------------ */

static unsigned again_sent;

static uint32_t again_take(void *context, uint64_t owner, enum net_given what)
{
	(void)context;
	(void)owner;
	return what == NET_LINK_UDP ? SOCKET : 0;
}

static size_t again_send(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	(void)context;
	(void)packets;
	CHECK_EQ(socket, SOCKET);
	CHECK_EQ(to->port, PORT);
	again_sent += (unsigned)count;
	return count;
}

static const struct runtime_ops again_ops = {
	.now_us = successor_now_us,
	.wall_us = successor_now_us,
	.random = successor_random,
	.bus_send = successor_bus_send,
	.net_take = again_take,
	.net_send = again_send,
	.net_local_addr = successor_local_addr,
};

static void probes_leave(struct runtime *rt)
{
	runtime_turn(rt);
	CHECK(again_sent > 0);
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_LINK(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {
	.rows = successor_rows, .ops = &again_ops, .going_on = probes_leave};

TEST(the_successor)
{
	successor_main(&kit);
}

TEST(office_and_links_come_back_in_another_process)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);
	struct place *place = &land->place[0][1];
	struct arena_usage usage;

	say(land, here, there, 20);
	arena_usage(place->arena, &usage);
	CHECK_EQ(successor_run(&kit, place->rt, place->memory, arena_size(&land_layout),
			 usage.used[ARENA_PACKET]),
		2);
	successor_check_rows(&kit);
	end(land);
}

TEST(a_damaged_slot_is_left_out)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);
	struct media_link *s = actor_data(link_of(land, 0, 1, 0));

	s->hot->magic++;
	CHECK_EQ(media_link_actor.restore(link_of(land, 0, 1, 0), s), ERR_FORMAT);
	s->hot->magic--;
	s->st.ways_count = 0;
	CHECK_EQ(media_link_actor.restore(link_of(land, 0, 1, 0), s), ERR_FORMAT);
	s->st.ways_count = 1;
	s->st.slot_generation += 2;
	CHECK_EQ(media_link_actor.restore(link_of(land, 0, 1, 0), s), ERR_FORMAT);
	s->st.slot_generation -= 2;
	end(land);
}

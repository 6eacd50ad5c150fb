/* SPDX-License-Identifier: Apache-2.0
 *
 * A path through a third node: chosen, used when nothing else is left, given up; who may have datagrams
 * handed on, and how many.
 */
#include "actors/link/link_relay.h"
#include "tests/unit/link_world.h"

enum { RELAY = 2 };

/* In the place of a node's routes: the third node, always. */
struct link_guide {
	struct link_office_state st; /* any */
};

ON(link_guide, link_via_ask)
{
	return actor_reply(self, link_via, {.relay = land_id(RELAY)});
}

ON(link_guide, link_report)
{
	return ERR_OK;
}

static enum err guide_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static const struct handler guide_handlers[] = {
	HANDLER(link_guide, link_via_ask, 0),
	HANDLER(link_guide, link_report, 0),
};

static const struct actor_type guide_actor = {
	.name = "guide",
	.size = sizeof(struct link_guide),
	.state = &schema_link_office_state,
	HANDLER_TABLE(guide_handlers),
	.init = guide_init,
};

static struct land *begin_relayed(struct addr *here, struct addr *there)
{
	struct land *land = begin();

	wire->relay = RELAY;
	for (unsigned node = 0; node < LAND_NODES; node++) {
		CHECK_OK(actor_spawn_office(
			land->place[node][CONTROL].rt, OFFICE_ROUTES, &guide_actor, NULL));
		for (unsigned other = 0; other < LAND_NODES; other++)
			if (other != node)
				land_up(land, node, other);
	}
	run_ms(land, 20);
	*here = land_spawn(land, 0, 1, false);
	*there = land_spawn(land, 1, 1, false);
	say(land, *here, *there, 1500); /* 3 s */
	run_ms(land, 20);
	return land;
}

static const struct link_office_state *office_of(struct land *land, unsigned node)
{
	const struct runtime *rt = land->place[node][1].rt;
	uint64_t id = runtime_options(rt)->block << RUNTIME_BLOCK_SHIFT | OFFICE_LINK;

	return actor_data(runtime_find((struct runtime *)(uintptr_t)rt, id));
}

static void cut(unsigned a, unsigned b, bool is_cut)
{
	wire->cut[a][b] = wire->cut[b][a] = is_cut;
}

TEST(what_no_direct_path_carries_goes_through_another_node)
{
	struct addr here, there;
	struct land *land = begin_relayed(&here, &there);
	const struct media_link *s = link_data(land, 0, 1), *peer = link_data(land, 1, 1);

	CHECK_EQ(s->path_count, 2);
	CHECK_EQ(peer->path_count, 2);
	CHECK_EQ(s->st.ways[1].relay, land_id(RELAY));
	CHECK_STR(s->st.ways[1].remote, "10.0.2.1:7500");
	CHECK_EQ(s->engine->paths[1].state, LINK_PATH_GOOD);
	CHECK_EQ(peer->engine->paths[1].state, LINK_PATH_GOOD);
	CHECK_EQ(office_of(land, RELAY)->relays_count, 2);
	uint64_t before = land_probe(land, there)->packets;

	CHECK_EQ(before, 1500);
	cut(0, 1, true);
	say(land, here, there, 3000);
	run_ms(land, 500);
	CHECK_EQ(land_probe(land, there)->packets, before + 3000);
	CHECK_EQ(s->engine->send.best, 1);
	cut(0, 1, false);
	say(land, here, there, 3000);
	run_ms(land, 500);
	CHECK_EQ(land_probe(land, there)->packets, before + 6000);
	CHECK_EQ(s->engine->send.best, 0);
	CHECK_EQ(peer->engine->counters.unauthentic, 0);
	CHECK_LE(office_of(land, RELAY)->unknown, 4); /* before both had announced themselves */
	end(land);
}

/* Neither datagrams nor mail. */
static void lose_relay(struct land *land, bool is_lost)
{
	for (unsigned node = 0; node < RELAY; node++) {
		cut(node, RELAY, is_lost);
		land->cut[node][RELAY] = land->cut[RELAY][node] = is_lost;
	}
}

TEST(a_relay_that_is_gone_is_given_up_and_one_that_is_back_is_taken)
{
	struct addr here, there;
	struct land *land = begin_relayed(&here, &there);
	const struct media_link *s = link_data(land, 0, 1), *peer = link_data(land, 1, 1);

	lose_relay(land, true);
	say(land, here, there, 8000); /* 16 s */
	CHECK_EQ(s->path_count, 1);
	CHECK_EQ(peer->path_count, 1);
	lose_relay(land, false);
	say(land, here, there, 6000);
	CHECK_EQ(s->path_count, 2);
	CHECK_EQ(peer->path_count, 2);
	CHECK_EQ(s->engine->paths[1].state, LINK_PATH_GOOD);
	/* nothing flows: nobody needs it */
	run_ms(land, 100000);
	CHECK_EQ(office_of(land, RELAY)->relays_count, 0);
	end(land);
}

/* ---- the table ---- */

static struct msg_link_relay announcement(uint32_t session, uint32_t peer_session, uint64_t peer)
{
	struct msg_link_relay m = {
		.session = session, .peer_session = peer_session, .peer = peer, .port = PORT};

	text_copy(m.address, sizeof(m.address), session == 1 ? "10.0.0.1" : "10.0.1.1");
	return m;
}

TEST(only_what_makes_sense_is_announced)
{
	struct link_office_state *st = calloc(1, sizeof(*st));
	struct link_relays *r = calloc(1, sizeof(*r));

	CHECK(st && r);
	CHECK_OK(link_relays_init(r, st));
	struct msg_link_relay m = announcement(1, 2, 11);

	CHECK_OK(link_relays_take(r, 10, &m, 1));
	CHECK_OK(link_relays_take(r, 10, &m, 2)); /* again */
	CHECK_EQ(st->relays_count, 1);
	CHECK_EQ(link_relays_take(r, 12, &m, 2), ERR_BUSY);   /* another's session */
	CHECK_EQ(link_relays_take(r, 11, &m, 2), ERR_FORMAT); /* to itself */
	static const struct {
		uint32_t session;
		uint16_t port;
		const char *address;
	} rows[] = {
		{0, PORT, "10.0.0.1"},
		       {5, 0,    "10.0.0.1"},
		   {5, PORT, ""	       },
		  {5, PORT, "nowhere" },
		{2, PORT, "10.0.0.1"}, /* its peer's own */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		m = announcement(rows[i].session, 2, 11);
		m.port = rows[i].port;
		text_copy(m.address, sizeof(m.address), rows[i].address);
		CHECK_EQ(link_relays_take(r, 10, &m, 3), ERR_FORMAT);
	}
	CHECK_EQ(st->relays_count, 1);
	for (uint32_t i = 0; i < LINK_RELAYS_MAX - 1; i++) {
		m = announcement(100 + i, 1000 + i, 11);
		CHECK_OK(link_relays_take(r, 10, &m, 20000000 + i));
	}
	m = announcement(7, 8, 11);
	CHECK_EQ(link_relays_take(r, 10, &m, 20000001), ERR_OVERLOAD);
	link_relays_expire(r, 20000001); /* the first one was not said again */
	CHECK_EQ(st->relays_count, LINK_RELAYS_MAX - 1);
	CHECK_OK(link_relays_take(r, 10, &m, 20000001));
	link_relays_fini(r);
	memset(r, 0, sizeof(*r));
	CHECK_OK(link_relays_init(r, st)); /* a successor */
	CHECK_EQ(r->by_session.count, LINK_RELAYS_MAX);
	link_relays_fini(r);
	text_copy(st->relays[3].remote, sizeof(st->relays[3].remote), "nowhere");
	memset(r, 0, sizeof(*r));
	CHECK_EQ(link_relays_init(r, st), ERR_FORMAT);
	link_relays_fini(r);
	free(r);
	free(st);
}

TEST(datagrams_are_handed_on_from_who_announced_them_and_within_the_rate)
{
	struct land *land = begin();
	struct actor *self = land_actor(land, land_spawn(land, RELAY, 1, false));
	struct link_office_state *st = calloc(1, sizeof(*st));
	struct link_relays *r = calloc(1, sizeof(*r));
	uint8_t bytes[1400] = {0x11};
	struct datagram d = {.from = wire_addr(0, 0), .bytes = bytes, .size = sizeof(bytes)};
	struct link_input input = {&d, 1};
	struct msg_link_relay one = announcement(1, 2, 11), other = announcement(2, 1, 10);

	CHECK(st && r);
	wire->relay = RELAY;
	CHECK_OK(link_relays_init(r, st));
	CHECK_OK(link_relays_take(r, 10, &one, 1));
	CHECK(!link_relays_hand_on(self, r, SOCKET, &input, 2)); /* one of the two is not enough */
	CHECK_OK(link_relays_take(r, 12, &other, 1));
	CHECK(!link_relays_hand_on(self, r, SOCKET, &input, 2)); /* nor is another node */
	link_relays_expire(r, 1 + INT64_C(16000000));
	CHECK_OK(link_relays_take(r, 10, &one, 1));
	CHECK_OK(link_relays_take(r, 11, &other, 1));
	size_t before = wire->count;

	CHECK(link_relays_hand_on(self, r, SOCKET, &input, 2));
	CHECK_EQ(wire->count, before + 1);
	CHECK_EQ(wire->queue[before].to.ip[2], 1);
	CHECK(link_relays_hand_on(self, r, SOCKET, &input, 1)); /* it comes from the wrong end */
	d.from.ip[3] = 77;
	CHECK(link_relays_hand_on(self, r, SOCKET, &input, 2)); /* and this from a stranger */
	CHECK_EQ(r->refused, 2);
	CHECK_EQ(r->handed_on, 1);
	d.from = wire_addr(0, 0);
	for (int i = 0; i < 3000; i++)
		link_relays_hand_on(self, r, SOCKET, &input, 2);
	/* a tenth of a second at 100 Mbit/s (2^20), of 1,400 bytes */
	CHECK_EQ(r->handed_on, (100 << 20) / 8 / 10 / 1400);
	link_relays_fini(r);
	free(r);
	free(st);
	end(land);
}

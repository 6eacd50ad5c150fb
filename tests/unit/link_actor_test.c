/* SPDX-License-Identifier: Apache-2.0
 *
 * Link offices and links in workers of three nodes: opened by the first packet, media both ways, keys,
 * ends, a worker's death.
 */
#include "tests/unit/link_world.h"
#include "tests/unit/successor.h"

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

/* The other processes of its node, and who has taken over there. */
static void meet_again(struct land *land, struct place *place)
{
	for (unsigned k = 0; k < LAND_PROCESSES; k++) {
		struct place *other = &land->place[place->node][k];
		struct runtime_peer_info info = land_info(other);

		if (other == place)
			continue;
		CHECK_OK(runtime_peer_up(place->rt, &info));
		runtime_peer_again(other->rt, place->process);
	}
}

static struct land *begin_open(struct addr *here, struct addr *there)
{
	struct land *land = begin();

	*here = land_spawn(land, 0, 1, false);
	*there = land_spawn(land, 1, 1, false);
	say(land, *here, *there, 1);
	run_ms(land, 200);
	CHECK_EQ(land_probe(land, *there)->packets, 1); /* the one that opened it was held */
	land_probe(land, *there)->packets = 0;
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

	CHECK_EQ(s->st.packets_out, 101);
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
	CHECK_EQ(land_probe(land, there)->packets, 21);
	end(land);
}

TEST(when_the_worker_at_the_other_end_is_gone_for_good_another_is_linked_to)
{
	struct land *land = begin();
	struct addr here = land_spawn(land, 0, 2, false), there = land_spawn(land, 1, 1, false);

	say(land, here, there, 100);
	run_ms(land, 100);
	CHECK_EQ(land_probe(land, there)->packets, 100);
	leave(&land->place[1][2]);
	land_kill(land, 1, 2);
	say(land, here, there, 2000); /* 4 s */
	run_ms(land, 100);
	CHECK_EQ(link_data(land, 0, 2)->st.peer_port, PORT);
	uint64_t before = land_probe(land, there)->packets;

	say(land, here, there, 50);
	run_ms(land, 100);
	CHECK_EQ(land_probe(land, there)->packets, before + 50);
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
		meet_again(land, place);
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

/* What a turn stored in the slot and sent counts, though the turn was lost with its process: of the answer
 * that opened the link, and of its end. */
TEST(what_a_lost_turn_has_sent_is_never_sent_otherwise)
{
	struct land *land = begin();
	struct addr here = land_spawn(land, 0, 1, false), there = land_spawn(land, 1, 1, false);
	struct place *place = &land->place[0][1];
	struct runtime_takeover_report report;

	say(land, here, there, 1);
	struct media_link *s = actor_data(link_of(land, 0, 1, 0));
	struct link_key tx = s->hot->tx[0];

	CHECK(!s->engine);
	s->hot->counter = 1000;
	media_link_actor.stop(link_of(land, 0, 1, 0), s, ERR_OK);
	silence(land, place);
	land_attach(place);
	CHECK_OK(runtime_takeover(place->rt, &report));
	CHECK_EQ(report.left_out, 0);
	meet_again(land, place);
	run_ms(land, 400);
	s = actor_data(link_of(land, 0, 1, 0));
	CHECK(s->engine && s->hot->counter > 1000);
	CHECK_MEM(&s->hot->tx[0], &tx, sizeof(tx));
	CHECK_EQ(link_data(land, 1, 1)->engine->counters.unauthentic, 0);
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
	CHECK_EQ(land_probe(land, there)->packets, 11);
	end(land);
}

TEST(what_comes_before_the_link_is_open_is_held_in_its_order)
{
	struct land *land = begin();
	struct addr here = land_spawn(land, 0, 1, false), there = land_spawn(land, 1, 1, false);

	/* one turn: more than a link holds; the mesh takes a few milliseconds */
	struct actor *actor = land_actor(land, here);
	struct arena *arena = actor_arena(actor);
	struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, 0);
	struct packet *packet = arena_packet(arena, ref);

	assert_non_null(packet);
	packet->header = (struct media_header){.position = 1, .size = 100};
	for (int i = 0; i < LINK_HELD_MAX + 5; i++)
		actor_media(actor, there, ref);
	arena_release(arena, ARENA_PACKET, ref);
	CHECK(!link_data(land, 0, 1)->engine);
	CHECK_EQ(link_data(land, 0, 1)->held.count, LINK_HELD_MAX);
	CHECK_EQ(link_data(land, 0, 1)->st.dropped_not_open, 5);
	run_ms(land, 300);
	CHECK_EQ(link_data(land, 0, 1)->held.count, 0);
	CHECK_EQ(link_data(land, 0, 1)->st.dropped_no_path, 0);
	CHECK_EQ(land_probe(land, there)->packets, LINK_HELD_MAX);
	end(land);
}

TEST(a_link_that_never_opens_gives_back_what_it_held)
{
	struct land *land = begin();
	struct addr here = land_spawn(land, 0, 1, false);
	struct addr nobody = {.node = land_id(1), .id = here.id};

	leave(&land->place[1][1]);
	leave(&land->place[1][2]);
	land_kill(land, 1, 1);
	land_kill(land, 1, 2);
	say(land, here, nobody, 20);
	run_ms(land, 8000);
	CHECK(!link_of(land, 0, 1, 0));
	CHECK_EQ(arena_references(land->place[0][1].arena, ARENA_PACKET), 0);
	end(land);
}

TEST(each_stream_travels_as_it_is_to)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);
	struct actor *actor = land_actor(land, here);
	struct addr office = actor_office(actor, OFFICE_LINK);
	struct msg_link_need need = {.node = there.node, .media = true, .mode = LINK_BACKUP};
	const struct media_link *s = link_data(land, 0, 1);

	CHECK_EQ(link_terms_of(s, here.id).mode, LINK_SMART);
	actor_send_mail(actor, office, MSG_link_need, &schema_link_need, &need);
	run_ms(land, 5);
	CHECK_EQ(link_terms_of(s, here.id).mode, LINK_BACKUP);
	CHECK_EQ(link_terms_of(s, here.id).age_us, 0);
	CHECK_EQ(link_terms_of(s, here.id + 1).mode, LINK_SMART);
	say(land, here, there, 10);
	CHECK(s->engine->backed_us > 0);
	need.mode = LINK_SMART; /* as the node's: there is nothing to keep */
	actor_send_mail(actor, office, MSG_link_need, &schema_link_need, &need);
	run_ms(land, 5);
	CHECK_EQ(s->facts->terms.count, 0);
	need.recover_ms = 150;
	actor_send_mail(actor, office, MSG_link_need, &schema_link_need, &need);
	run_ms(land, 5);
	CHECK_EQ(link_terms_of(s, here.id).mode, LINK_SMART);
	CHECK_EQ(link_terms_of(s, here.id).age_us, 150000);
	say(land, here, there, 1);
	CHECK_EQ(link_send_find((struct link_send *)&s->engine->send, s->engine->send.next - 1)
			 ->age_us,
		150000);
	need.mode = LINK_RACE;
	actor_send_mail(actor, office, MSG_link_need, &schema_link_need, &need);
	run_ms(land, 5);
	CHECK_EQ(link_terms_of(s, here.id).mode, LINK_RACE);
	actor_stop(actor, ERR_OK);
	run_ms(land, 5);
	CHECK_EQ(s->facts->terms.count, 0);
	end(land);
}

/* A link that is open, and media that flows, go by the new ones from the next packet on. */
TEST(settings_that_change_count_for_open_links)
{
	static struct config config;
	struct config_report report;
	struct addr here, there;

	config_init(&config, &report);
	land_config[0] = &config;
	struct land *land = begin_open(&here, &there);
	struct runtime *rt = land->place[0][1].rt;
	const struct media_link *s = link_data(land, 0, 1);
	struct media_link *before = (struct media_link *)s;

	say(land, here, there, 10);
	CHECK_EQ(s->engine->raced_us, 0);
	CHECK_EQ(s->engine->send.redundancy_permille, 30);
	CHECK_OK(config_set(&config, "link.mode", "race", CONFIG_FROM_CLUSTER, "", &report));
	CHECK_OK(config_set(&config, "link.redundancy", "20", CONFIG_FROM_CLUSTER, "", &report));
	CHECK_OK(
		config_set(&config, "link.tiers", "a/*=relaxed", CONFIG_FROM_CLUSTER, "", &report));
	CHECK_OK(config_set(&config, "link.recover_ms", "300ms", CONFIG_FROM_CLUSTER, "", &report));
	runtime_configured(rt);
	CHECK_EQ(link_terms_of(s, here.id).mode, LINK_RACE);
	CHECK_EQ(s->engine->send.redundancy_permille, 200);
	CHECK_EQ(s->engine->options.age_us, 300000);
	CHECK_EQ(s->engine->receive.age_max_us, CONFIG_RELAXED_MS * 1000);
	say(land, here, there, 10);
	CHECK_GE(s->engine->raced_us, 1);
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->packets, 20);

	CHECK_OK(config_set(&config, "link.mode", "backup", CONFIG_FROM_CLUSTER, "", &report));
	CHECK_OK(config_set(&config, "link.tiers", "", CONFIG_FROM_CLUSTER, "", &report));
	runtime_configured(rt);
	CHECK_EQ(link_terms_of(s, here.id).mode, LINK_BACKUP);
	CHECK_EQ(s->engine->send.age_max_us, 300000);
	say(land, here, there, 10);
	run_ms(land, 20);
	CHECK_EQ(land_probe(land, there)->packets, 30);
	CHECK_EQ(s->engine->counters.no_path, 0);
	CHECK(link_data(land, 0, 1) == before);
	end(land);
	land_config[0] = NULL;
}

/* 2 packets a millisecond. */
static uint32_t carries_after_s(struct land *land, struct addr here, struct addr there, int seconds)
{
	for (int ms = 0; ms < 1000 * seconds; ms++) {
		say(land, here, there, 2);
		run_ms(land, 1);
	}
	return actor_media_carries(land_actor(land, here), there);
}

/* What streams are told of a way that is too narrow: the part of it all that gets through, less a little;
 * more again when it is not. */
TEST(a_narrow_way_says_what_part_it_carries)
{
	struct addr here, there;
	struct land *land = begin_open(&here, &there);

	CHECK_EQ(carries_after_s(land, here, there, 3), UINT32_MAX);
	CHECK_EQ(actor_media_carries(land_actor(land, here), here), UINT32_MAX);
	wire->one_in = 3;
	uint32_t narrow = carries_after_s(land, here, there, 4);

	CHECK_LE(narrow, 450);
	CHECK_GE(narrow, 150);
	wire->one_in = 0;
	carries_after_s(land, here, there, 3); /* what was sent again is over */
	uint32_t before = actor_media_carries(land_actor(land, here), there);
	uint32_t wider = carries_after_s(land, here, there, 4);

	CHECK_GE(before, narrow);
	CHECK_GE(wider, before + before / 5);
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

/* Another actor of the node that was asked says it, and a stranger; before the answer, and after. */
TEST(what_nobody_asked_for_opens_no_link)
{
	struct land *land = begin();
	struct addr here = land_spawn(land, 0, 1, false), there = land_spawn(land, 1, 1, false);
	struct actor *unasked[] = {
		land_actor(land, there), land_actor(land, land_spawn(land, 0, 2, false))};
	struct msg_link_opened m = {.session = 7, .port = PORT, .addresses = "10.0.9.9"};
	struct slot_ref ref = arena_alloc(land->place[0][1].arena, ARENA_PACKET, 0);

	m.key.size = LINK_KEY_BYTES;
	actor_media(land_actor(land, here), there, ref);
	arena_release(land->place[0][1].arena, ARENA_PACKET, ref);
	struct actor *opening = link_of(land, 0, 1, 0);

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(unasked) / sizeof(unasked[0]); i++) {
			actor_send_mail(unasked[i], actor_addr(opening), MSG_link_opened,
				&schema_link_opened, &m);
			m.session = 0; /* makes no sense either */
		}
		CHECK_EQ(!((struct media_link *)actor_data(opening))->engine, round == 0);
		run_ms(land, 300);
		CHECK(link_of(land, 0, 1, 0) == opening);
		CHECK_EQ(link_data(land, 0, 1)->st.peer_session, link_data(land, 1, 1)->st.session);
		CHECK_STR(link_data(land, 0, 1)->st.ways[0].remote, "10.0.1.1:7500");
	}
	end(land);
}

/* Its question was answered with something that is no answer: nothing more comes. */
TEST(a_link_does_not_open_for_ever)
{
	struct land *land = begin();
	struct addr here = land_spawn(land, 0, 1, false), there = land_spawn(land, 1, 1, false);

	land->cut[1][0] = true;
	say(land, here, there, 5);
	struct media_link *s = actor_data(link_of(land, 0, 1, 0));

	run_ms(land, 1500);
	CHECK(link_of(land, 0, 1, 0) && !s->engine);
	CHECK_EQ(s->held.count, 5);
	s->opening_us -= INT64_C(8000000);
	run_ms(land, 1100);
	CHECK(!link_of(land, 0, 1, 0));
	CHECK_EQ(arena_references(land->place[0][1].arena, ARENA_PACKET), 0);
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

static void ask_for_link(struct actor *actor, unsigned node, uint32_t session, bool media)
{
	struct msg_link_open m = {
		.session = session, .port = PORT, .addresses = "10.0.1.1", .media = media};

	m.key.size = LINK_KEY_BYTES;
	memset(m.key.data, 1 + session % 200, LINK_KEY_BYTES);
	actor_request_mail(actor, actor_office_at_worker(actor, OFFICE_LINK, land_id(node), 0),
		1000, MSG_link_open, &schema_link_open, &m);
}

static const struct link_office_state *office_state(struct land *land, unsigned node, unsigned slot)
{
	struct runtime *rt = land->place[node][slot].rt;
	struct actor_facts facts;

	for (struct actor *a = runtime_next_actor(rt, NULL); a; a = runtime_next_actor(rt, a)) {
		runtime_facts(a, &facts);
		if (!strcmp(facts.type, "link_office"))
			return actor_data(a);
	}
	return NULL;
}

/* More neighbours measure a node than a worker of it has places for. Another one that only measures finds
 * its place at the next worker; for media the one without media for longest gives way, and none that has
 * some, or is new. */
TEST(links_that_are_only_measured_give_way_to_media)
{
	struct land *land = begin_with(600);
	struct addr here = land_spawn(land, 0, 1, false), there = land_spawn(land, 2, 1, false);
	struct addr used = land_spawn(land, 1, 1, false);
	struct actor *stranger = land_actor(land, land_spawn(land, 1, 1, false));
	const struct link_office_state *office = office_state(land, 0, 1);

	land_up(land, 0, 2);
	land_up(land, 2, 0);
	say(land, here, used, 1); /* this link is in use all the time */
	run_ms(land, 20);
	for (uint32_t i = 1; i < LINKS_MAX; i++) {
		ask_for_link(stranger, 0, 1000 + i, false);
		run_ms(land, 2);
	}
	run_ms(land, 20);
	CHECK_EQ(office->links, LINKS_MAX);
	ask_for_link(stranger, 0, 5000, false);
	run_ms(land, 20);
	CHECK_EQ(office->links, LINKS_MAX);
	CHECK_EQ(office_state(land, 0, 2)->links, 1);
	/* media from here, and from there: all are new */
	say(land, here, there, 1);
	CHECK_EQ(office->dropped, 1);
	for (int i = 0; i < 6; i++) {
		say(land, here, used, 1);
		run_ms(land, 1000);
	}
	say(land, here, there, 5);
	run_ms(land, 50);
	CHECK_EQ(land_probe(land, there)->packets, 5);
	CHECK_EQ(office->dropped, 1);
	CHECK_EQ(office->gave_way, 1);
	ask_for_link(stranger, 0, 6000, true);
	run_ms(land, 50);
	CHECK_EQ(office->gave_way, 2);
	CHECK_EQ(office->links, LINKS_MAX);
	say(land, here, used, 3);
	run_ms(land, 50);
	CHECK_EQ(land_probe(land, used)->packets, 10);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions whose client sends to another worker's port than that of where they live (decision 18): what still
 * comes to the port at home is forwarded, so much a second; what is forwarded here is taken as if it had come;
 * a restart of ICE is told to the port at home; and who of them may go to another worker, and is asked to
 * (tests/unit/webrtc_worker.h).
 */
#include "actors/webrtc/rtc_port_internal.h"
#include "tests/unit/webrtc_peer.h"

enum { THERE = 2, FORWARD_PER_S = 5000 };

static void meet_other_worker(void)
{
	const struct runtime_peer_info info = {
		.process = THERE, .block = BLOCK + 1, .role = PROCESS_MEDIA, .index = 1};

	CHECK_OK(runtime_peer_up(rt, &info));
}

static const struct rtc_port_state *port_now(void)
{
	return actor_data(runtime_find(rt, office(OFFICE_RTC)));
}

static const struct ice_session *ice_now(void)
{
	struct actor *actor = runtime_find(rt, stream.session.id);

	return &session_slot(actor, actor_data(actor))->ice;
}

static size_t write_check(const char *ufrag, const char *pwd, uint8_t bytes[256])
{
	static const uint8_t transaction[STUN_TRANSACTION_SIZE] = {1, 2, 3};
	struct writer w = writer_of(bytes, 256);

	CHECK_OK(webrtc_client_check(&w, ufrag, pwd, "clnt", transaction));
	return writer_used(&w);
}

static void viewer(void)
{
	begin();
	meet_other_worker();
	stream_add(1, MEDIA_KEYFRAME);
	client_begin(true);
	client_connect();
	run_ms(100);
}

static const struct net_addr strange = {
	.family = 4, .port = 7, .ip = {192, 0, 2, 77}
};

TEST(what_comes_for_one_that_has_left_is_forwarded_so_much_a_second)
{
	char ufrag[ICE_UFRAG_MAX + 1], pwd[ICE_PWD_MAX + 1];
	uint8_t check[256];
	size_t size;

	viewer();
	text_copy(ufrag, sizeof(ufrag), ice_local(ice_now())->ufrag);
	text_copy(pwd, sizeof(pwd), ice_local(ice_now())->pwd);
	size = write_check(ufrag, pwd, check);
	CHECK_OK(actor_move(runtime_find(rt, stream.session.id), THERE));
	run_ms(5);
	CHECK(!runtime_find(rt, stream.session.id));
	bus.size = 0;
	deliver_from(&strange, check, size); /* by user name fragment, from wherever */
	deliver(check, size);		     /* by address, too */
	CHECK_EQ(port_now()->forwarded, 2);
	run_ms(5);
	CHECK(memmem(bus.bytes, bus.size, "192.0.2.77:7", 12) != NULL);
	CHECK(memmem(bus.bytes, bus.size, check, size) != NULL);
	now_us += 1000000;
	runtime_tick(rt);
	for (int i = 0; i < FORWARD_PER_S + 100; i++)
		deliver(check, size);
	CHECK_EQ(port_now()->forwarded, 2 + FORWARD_PER_S);
	CHECK_EQ(port_now()->forward_limited, 100);
	now_us += 1000000;
	runtime_tick(rt);
	deliver(check, size);
	CHECK_EQ(port_now()->forwarded, 3 + FORWARD_PER_S);
	client_end();
	end();
}

static void hear_away(struct actor *self, void *data, void *context)
{
	struct addr far = {.node = actor_addr(self).node,
		.id = (uint64_t)(BLOCK + 1) << RUNTIME_BLOCK_SHIFT | 99};

	rtc_port_take_away(self, data, context, far);
}

/* The port has begun anew since a publisher moved away, and knows of it what the session says: its packets
 * from an address that nobody knows are led there by their SSRC. */
TEST(a_packet_of_one_that_has_left_is_forwarded_by_its_ssrc)
{
	enum { TOLD = 7777, NOT_TOLD = 7778 };
	struct msg_rtc_away away = {.ufrag = "gone", .ssrcs_count = 1, .ssrcs = {{TOLD}}};
	uint8_t told[CLIENT_RTP_MAX], other[CLIENT_RTP_MAX];
	size_t size, other_size;

	viewer(); /* anybody's: for keys to seal with */
	size = client_seal_rtp(111, TOLD, 5, told);
	other_size = client_seal_rtp(111, NOT_TOLD, 6, other);
	deliver_from(&strange, told, size);
	CHECK_EQ(port_now()->unknown_rtp, 1);
	CHECK(actor_call(rt, actor_office(edge(), OFFICE_RTC), &rtc_port_actor, hear_away, &away));
	bus.size = 0;
	deliver_from(&strange, told, size);
	CHECK_EQ(port_now()->forwarded, 1);
	deliver_from(&strange, other, other_size);
	CHECK_EQ(port_now()->forwarded, 1);
	CHECK_EQ(port_now()->unknown_rtp, 2);
	run_ms(5);
	CHECK(memmem(bus.bytes, bus.size, told, size) != NULL);
	client_end();
	end();
}

/* What a publisher sends for the first time while it is away, its port at home hears of, too. */
TEST(the_port_at_home_hears_of_a_new_ssrc)
{
	static const uint8_t as_sent[] = {0xce, 0x7a, 0x7b, 0x7c, 0x7d}; /* msgpack */
	struct session *s;

	begin();
	meet_other_worker();
	client_begin(false);
	client_connect();
	client_send_rtp(111, 7777, 100, &client_addr);
	s = session_now();
	text_copy(s->st.home, sizeof(s->st.home), "192.0.2.1:8001");
	s->st.home_process = THERE;
	run_ms(10);
	bus.size = 0;
	client_send_rtp(111, 7777, 101, &client_addr);
	run_ms(10);
	CHECK(!memmem(bus.bytes, bus.size, as_sent, sizeof(as_sent)));
	client_send_rtp(96, 0x7a7b7c7d, 1, &client_addr);
	run_ms(10);
	CHECK(memmem(bus.bytes, bus.size, as_sent, sizeof(as_sent)) != NULL);
	client_end();
	end();
}

/* Row: a datagram that another port forwards, and whether the session counts it as a check. */
TEST(what_is_forwarded_here_is_taken_as_if_it_had_come)
{
	static const struct {
		const char *what, *remote;
		bool empty, nobody, late, counts;
	} rows[] = {
		{"from a new address", "192.0.2.50:4000", false, false, false, true },
		{"no address",	       "somewhere",	    false, false, false, false},
		{"nothing in it",	  "192.0.2.50:4000", true,  false, false, false},
		{"for nobody",	       "192.0.2.50:4000", false, true,  false, false},
		{"from a clock ahead", "192.0.2.50:4000", false, false, true,  true },
	};

	viewer();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t check[256];
		size_t size =
			write_check(ice_local(ice_now())->ufrag, ice_local(ice_now())->pwd, check);
		uint64_t checks = ice_now()->counters.checks;
		struct msg_rtc_forward forward = {
			.session = rows[i].nobody ? 77 : stream.session.id,
			.arrival_us = now_us + (rows[i].late ? 5000000 : 0),
			.datagram = {(const char *)check, rows[i].empty ? 0 : (uint32_t)size}
		     };

		text_copy(forward.remote, sizeof(forward.remote), rows[i].remote);
		actor_send_mail(edge(), actor_office(edge(), OFFICE_RTC), MSG_rtc_forward,
			&schema_rtc_forward, &forward);
		run_ms(5);
		if (ice_now()->counters.checks != checks + rows[i].counts)
			fail_msg("%s", rows[i].what);
	}
	client_end();
	end();
}

TEST(the_port_at_home_hears_of_a_restart_of_ice)
{
	static const char fresh[] = "a=ice-ufrag:newu\r\na=ice-pwd:newnewnewnewnewnewnewnew\r\n";
	struct session *s;

	viewer();
	s = session_now();
	text_copy(s->st.home, sizeof(s->st.home), "192.0.2.1:8001");
	s->st.home_process = THERE;
	bus.size = 0;
	ask_patch("*", fresh);
	CHECK_EQ(heard.patched.status, 200);
	const struct ice_session *ice = ice_now();
	const char *old = ice->local[ice->active].ufrag, *new = ice_local(ice)->ufrag;

	CHECK(strcmp(old, new) != 0);
	CHECK(memmem(bus.bytes, bus.size, old, strlen(old)) != NULL);
	CHECK(memmem(bus.bytes, bus.size, new, strlen(new)) != NULL);
	client_end();
	end();
}

/* ---- who goes -------------------------------------------------------------------------------- */

static struct msg_movable counted; /* what the port has told the process office last */

struct counter {
	struct rtc_port_state st; /* any schema does */
};

ON(counter, movable)
{
	(void)self, (void)s;
	counted = *m;
	return ERR_OK;
}

static enum err counter_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler counter_handlers[] = {
	HANDLER(counter, movable, 0),
};

static const struct actor_type counter_actor = {
	.name = "counter",
	.size = sizeof(struct counter),
	.state = &schema_rtc_port_state,
	HANDLER_TABLE(counter_handlers),
	.init = counter_init,
};

/* Rows: who is there, what the port counts, and whether he is asked to go when placement says so. */
TEST(who_can_move_is_counted_and_asked)
{
	enum { COUNTED_MS = 3000, SETTLED_MS = 11000 };
	static const struct {
		const char *what;
		bool play, settled, tcp, closed;
		uint32_t viewers, publishers;
		bool goes;
	} rows[] = {
		{"a viewer",		     true,  true,	 false, false, 1, 0, true },
		{"one who has just come",  true,	false, false, false, 0, 0, false},
		{"a viewer over TCP",      true,  true,  true,	false, 0, 0, false},
		{"a publisher",		false, true,  false, false, 0, 1, false},
		{"a publisher, all leave", false, true,	false, true,  0, 1, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		CHECK_OK(actor_spawn_office(rt, OFFICE_PROCESS, &counter_actor, NULL));
		meet_other_worker();
		stream_add(1, MEDIA_KEYFRAME);
		client_begin(rows[i].play);
		client_connect();
		client_send_rtp(111, 7777, 1, &client_addr); /* its handshake has ended, too */
		session_now()->st.remote_tcp = rows[i].tcp;
		if (rows[i].closed)
			actor_send(edge(), actor_office(edge(), OFFICE_RTC), intake,
				{.closed = true, .alone = true});
		memset(&counted, 0xff, sizeof(counted));
		run_ms(rows[i].settled ? SETTLED_MS + COUNTED_MS : COUNTED_MS);
		if (counted.viewers != rows[i].viewers || counted.publishers != rows[i].publishers)
			fail_msg("%s: %u viewers, %u publishers", rows[i].what, counted.viewers,
				counted.publishers);
		actor_send(
			edge(), actor_office(edge(), OFFICE_RTC), shed, {.worker = 1, .count = 1});
		run_ms(5);
		if ((session_now()->room_request != 0) != rows[i].goes)
			fail_msg("%s: asked to go", rows[i].what);
		client_end();
		end();
	}
}

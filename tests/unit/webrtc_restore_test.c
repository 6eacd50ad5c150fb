/* SPDX-License-Identifier: Apache-2.0
 *
 * Successors: sessions come back from their encoded state and a copy of the arena, and the client
 * notices nothing; and they come back in another process (tests/unit/successor.h), which the client
 * understands.
 */
#include "runtime/config.h"
#include "tests/unit/successor.h"
#include "tests/unit/webrtc_peer.h"

enum { STATE_MAX = 1 << 16, WIRE_FD = 202 };

/* Encodes everything, moves the arena to another address and goes on there: nobody has run yet. */
static void come_back(void)
{
	static uint8_t state[STATE_MAX];
	struct writer w = writer_of(state, sizeof(state));
	void *copy = aligned_alloc(4096, memory_size);
	unsigned actors = 0;

	for (struct actor *a = runtime_next_actor(rt, NULL); a; a = runtime_next_actor(rt, a)) {
		struct actor_facts facts;

		runtime_facts(a, &facts);
		if (!strcmp(facts.type, "fake"))
			continue;
		CHECK_OK(runtime_encode_actor(a, &w));
		actors++;
	}
	memcpy(copy, memory, memory_size);
	runtime_destroy(&rt); /* what it says to its clients on the way is not heard */
	sent_count = 0;
	arena_detach(&arena);
	free(memory);
	memory = copy;
	CHECK_OK(arena_attach(memory, memory_size, &arena));
	start_runtime();
	arena_recount_begin(arena);
	arena_hold_again(arena, ARENA_LOG, stream.log);
	media_log_recount(arena, media_log_get(arena, stream.log));
	struct reader in = reader_of(state, writer_used(&w));

	for (unsigned i = 0; i < actors; i++)
		CHECK_OK(runtime_restore_actor(rt, &in));
	runtime_restore_end(rt);
	arena_recount_end(arena);
}

static void take_over(void)
{
	come_back();
	run_ms(20);
}

TEST(a_successor_goes_on_and_the_viewer_notices_nothing)
{
	begin();
	for (uint64_t n = 1; n <= 3; n++)
		stream_add(n, n == 1 ? MEDIA_KEYFRAME : 0);
	client_begin(true);
	client_connect();
	run_ms(300);
	for (int round = 0; round < 3; round++) {
		uint64_t n = 4 + 5 * (uint64_t)round;

		for (uint64_t end_n = n + 5; n < end_n; n++)
			stream_add(n, 0);
		run_ms(20);
		client_read();
		take_over();
		CHECK(session_now());
	}
	stream_add(19, 0);
	run_ms(1200);
	client_read();
	CHECK_EQ(client.packet_count, 19);
	CHECK_EQ(client.bad, 0);
	for (size_t i = 1; i < client.packet_count; i++)
		CHECK_EQ(
			(uint16_t)(client.packets[i].sequence - client.packets[i - 1].sequence), 1);
	check_path(&client_addr); /* found by the ufrag of before */
	client_read();
	CHECK_EQ(client.stun, 2);
	client_end();
	end();
}

/* Its mail is read before it is due itself. */
TEST(a_successor_is_asked_for_a_restart_of_ice_at_once)
{
	static const char fresh[] = "a=ice-ufrag:newu\r\na=ice-pwd:newnewnewnewnewnewnewnew\r\n";

	begin();
	stream_add(1, MEDIA_KEYFRAME);
	client_begin(true);
	client_connect();
	run_ms(100);
	client_read();
	come_back();
	ask_patch("*", fresh);
	CHECK_EQ(heard.patched.status, 200);
	client_read();
	stream_add(2, 0);
	run_ms(50);
	client_read();
	CHECK_EQ(client.packet_count, 2);
	client_end();
	end();
}

TEST(a_successor_hears_the_publisher)
{
	begin();
	client_begin(false);
	client_connect();
	for (uint16_t n = 1; n <= 5; n++)
		client_send_rtp(111, 7777, n, &client_addr);
	take_over();
	CHECK(session_now());
	client_send_rtp(111, 7777, 5, &client_addr); /* a replay, to the successor too */
	for (uint16_t n = 6; n <= 10; n++)
		client_send_rtp(111, 7777, n, &client_addr);
	CHECK_EQ(stream.heard_count, 10);
	CHECK_EQ(stream.heard[9].track_seq - stream.heard[0].track_seq, 9);
	client_end();
	end();
}

/* Its certificate is read for the first of them. */
TEST(a_successor_takes_newcomers)
{
	begin();
	client_begin(false);
	client_connect();
	take_over();
	client_end();
	for (int i = 0; i < 2; i++) {
		memset(&heard, 0, sizeof(heard));
		client_begin(false);
		client_connect();
		client_send_rtp(111, 7777, 1, &client_addr);
		CHECK_EQ(stream.heard_count, i + 1);
		client_end();
	}
	end();
}

/* The limit of an address is for newcomers: who is there already is restored beyond it. */
TEST(a_successor_refuses_nobody_who_was_there)
{
	static struct config_report report;
	static struct config one_each;
	uint64_t first = 0;

	config_init(&one_each, &report);
	one_each.webrtc_sessions_per_address_max = 1;
	begin();
	for (int i = 0; i < 2; i++) {
		memset(&heard, 0, sizeof(heard));
		first = stream.session.id;
		client_addr.port++; /* another client at the same address */
		client_begin(false);
		client_connect();
		client_send_rtp(111, 7777, 1, &client_addr);
		client_end();
	}
	settings = &one_each;
	take_over();
	settings = NULL;
	CHECK(runtime_find(rt, first) != NULL);
	CHECK(session_now() != NULL);
	memset(&heard, 0, sizeof(heard));
	create(false, "v=0\r\n");
	CHECK_EQ(heard.failed.err, ERR_LIMIT); /* both count */
	end();
}

/* 300 packets a second of 12 bytes of header and 64 of payload, over a report and the next one. */
TEST(a_rate_is_that_of_the_time_in_which_it_was_measured)
{
	uint16_t n = 1;
	uint32_t before_bps = 0;

	begin();
	now_us = 3600000000;
	run_ms(5);
	client_begin(false);
	client_connect();
	for (int ms = 0; ms < 6000; ms += 10) {
		for (int i = 0; i < 3; i++)
			client_send_rtp(111, 7777, n++, &client_addr);
		run_ms(10);
		if (ms == 3000) {
			before_bps = session_now()->st.bitrate_bps;
			CHECK_GE(before_bps, 100000);
			take_over();
		}
		if (ms > 3000) {
			CHECK_GE(session_now()->st.bitrate_bps, before_bps * 9 / 10);
			CHECK_LE(session_now()->st.bitrate_bps, before_bps * 11 / 10);
		}
	}
	client_end();
	end();
}

/* ---- another process ----------------------------------------------------------------------- */

/* The certificate comes from the data directory (none here: a new one); sessions are counted when
 * they join. */
static void same_port(const void *before_, const void *now_)
{
	struct rtc_port_state before = *(const struct rtc_port_state *)before_;
	struct rtc_port_state now = *(const struct rtc_port_state *)now_;

	CHECK_EQ(before.sessions, 1);
	CHECK_EQ(now.sessions, 0);
	CHECK_EQ(strlen(now.fingerprint), strlen(before.fingerprint));
	memcpy(now.fingerprint, before.fingerprint, sizeof(now.fingerprint));
	now.sessions = before.sessions;
	CHECK_MEM(&now, &before, sizeof(now));
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_WEBRTC(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static void stream_lives(struct runtime *successor)
{
	CHECK_OK(actor_spawn_office(successor, OFFICE_MEDIA, &fake_actor, NULL));
}

/* The session joins the port of its new process and speaks to the client it had. */
static void session_goes_on(struct runtime *successor)
{
	const struct rtc_port_state *port;
	unsigned sessions = 0;

	rt = successor;
	run_ms(1200);
	port = actor_data(runtime_find(rt, office(OFFICE_RTC)));
	CHECK_EQ(port->sessions, 1);
	for (struct actor *a = runtime_next_actor(rt, NULL); a; a = runtime_next_actor(rt, a))
		sessions += a->type == &session_actor && actor_phase(a) == SESSION_UP;
	CHECK_EQ(sessions, 1);
	CHECK_EQ(write(WIRE_FD, sent, sent_count * sizeof(sent[0])),
		(ssize_t)(sent_count * sizeof(sent[0])));
}

static const struct successor_kit kit = {
	.rows = successor_rows, .ops = &ops, .around = stream_lives, .going_on = session_goes_on};

TEST(the_successor)
{
	now_us = 5000000; /* the machine's clock: later than all that was written down */
	sent_count = 0;
	successor_main(&kit);
}

/* The stream stays behind with its log and what is in it. The client, with the keys and the replay
 * window it has, understands what the other process sends it. */
static void leave_to_another_process(void)
{
	int wire = successor_memfd("", 0);
	struct arena_usage usage;
	unsigned rtcp;

	client_read();
	rtcp = client.rtcp;
	CHECK_EQ(dup2(wire, WIRE_FD), WIRE_FD);
	close(wire);
	arena_usage(arena, &usage);
	CHECK_EQ(successor_run(&kit, rt, memory, memory_size,
			 usage.used[ARENA_LOG] + usage.used[ARENA_PACKET]),
		2);
	sent_count = (size_t)pread(WIRE_FD, sent, sizeof(sent), 0) / sizeof(sent[0]);
	CHECK_GE(sent_count, 1);
	client_read();
	CHECK_EQ(client.bad, 0);
	CHECK_GE(client.rtcp, rtcp + 1);
	close(WIRE_FD);
}

TEST(port_and_sessions_come_back_in_another_process)
{
	begin();
	for (uint64_t n = 1; n <= 3; n++)
		stream_add(n, n == 1 ? MEDIA_KEYFRAME : 0);
	client_begin(true);
	client_connect();
	run_ms(300);
	leave_to_another_process();
	client_end();
	end();

	begin();
	client_begin(false);
	client_connect();
	for (uint16_t n = 1; n <= 5; n++)
		client_send_rtp(111, 7777, n, &client_addr);
	leave_to_another_process();
	client_end();
	end();
	successor_check_rows(&kit);
}

TEST(a_damaged_slot_is_left_out)
{
	begin();
	client_begin(true);
	client_connect();
	struct slot_ref ref = {session_now()->st.slot_index, session_now()->st.slot_generation};
	struct session_slot *slot = arena_get(arena, ARENA_SESSION, ref);

	slot->ice.pair_count = 200;
	CHECK_EQ(session_actor.restore(runtime_find(rt, stream.session.id), session_now()),
		ERR_FORMAT);
	slot->ice.pair_count = 1;
	/* restore counted its slot once more */
	client_end();
	runtime_destroy(&rt);
	arena_detach(&arena);
	free(memory);
}

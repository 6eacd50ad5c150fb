/* SPDX-License-Identifier: Apache-2.0
 *
 * A client whose address changes under its session: what it sends counts at once when it is proved
 * and new, what is sent to it follows a proved check only, and strangers change nothing
 * (tests/unit/webrtc_worker.h).
 */
#include "tests/unit/webrtc_peer.h"

enum { OPUS = 111, VOICE = 7777, STRANGER = 8888 };

static struct net_addr host(uint8_t last, uint16_t port)
{
	return (struct net_addr){
		.family = 4, .port = port, .ip = {192, 0, 2, last}
	  };
}

/* How much of what the node has sent since the last look went there: media, reports, handshake. */
static size_t sent_to(const struct net_addr *to)
{
	size_t count = 0;

	for (size_t i = 0; i < sent_count; i++)
		count += net_addr_equal(&sent[i].to, to) &&
			 rtp_classify_packet(sent[i].bytes, sent[i].size) != RTP_CLASS_STUN;
	return count;
}

/* All of it goes there, and there is some. */
static void check_all_goes_to(const struct net_addr *to)
{
	size_t count = 0;

	for (size_t i = 0; i < sent_count; i++)
		count += rtp_classify_packet(sent[i].bytes, sent[i].size) != RTP_CLASS_STUN;
	CHECK_GE(count, 1);
	CHECK_EQ(sent_to(to), count);
	client_read();
	CHECK_EQ(client.bad, 0);
}

static const struct ice_session *ice_now(void)
{
	struct actor *actor = runtime_find(rt, stream.session.id);

	return &session_slot(actor, actor_data(actor))->ice;
}

/* Row: a packet of the publisher's, and whether it counts. In order: each has the ones before. */
TEST(a_packet_from_another_address_counts_if_it_is_proved_and_new)
{
	static const struct {
		const char *what;
		uint8_t host;
		uint16_t sequence;
		uint32_t ssrc;
		bool forged, counts;
	} rows[] = {
		{"from where it was",	      9,	 100,   VOICE,    false, true },
		{"from another address",		 10, 101,	  VOICE,	 false, true },
		{"the same once more",	       10, 101,	VOICE,    false, false},
		{"the same from a third",	  11, 101,   VOICE,	  false, false},
		{"an old one from a third",	    12, 100,   VOICE,    false, false},
		{"forged",			   13, 102,   VOICE,	   true,	 false},
		{"forged, far ahead",	      13, 30000, VOICE,	true,  false},
		{"forged, of a stranger's source", 13, 102,   STRANGER, true,  false},
		{"back from where it was",	   9,  102,   VOICE,	  false, true },
		{"and from the other",	       10, 103,	VOICE,    false, true },
	};

	begin();
	client_begin(false);
	client_connect();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net_addr from = host(rows[i].host, rows[i].host == 9 ? 4000 : 4999);
		uint8_t packet[CLIENT_RTP_MAX];
		size_t before = stream.heard_count;
		size_t size = client_seal_rtp(OPUS, rows[i].ssrc, rows[i].sequence, packet);

		packet[size - 1] ^= rows[i].forged;
		sent_count = 0;
		deliver_from(&from, packet, size);
		if (stream.heard_count != before + rows[i].counts)
			fail_msg("%s: %zu", rows[i].what, stream.heard_count - before);
		run_ms(1100); /* reports and feedback */
		check_all_goes_to(&client_addr);
	}
	client_end();
	end();
}

/* Row: a check, and where the node sends from then on. In order. */
TEST(a_viewer_is_sent_to_where_a_check_was_proved)
{
	static const struct {
		const char *what;
		uint8_t host;
		const char *pwd; /* NULL: the right one */
		bool counts;
		uint8_t sent_to;
	} rows[] = {
		{"not its password",	     10, "guess-of-somebody-else",	   false, 9 },
		{"another one",		10, "guess-of-somebody-else-again", false, 9 },
		{"from a new address",      10, NULL,				 true,  10},
		{"not its password, again", 11, "guess-of-somebody-else",	  false, 10},
		{"back where it was",	      9,	 NULL,			       true,  9 },
	};
	uint64_t n = 1;

	begin();
	stream_add(n++, MEDIA_KEYFRAME);
	client_begin(true);
	client_connect();
	run_ms(100);
	client_read();
	now_us += ICE_SETTLE_US;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net_addr from = host(rows[i].host, 4000), to = host(rows[i].sent_to, 4000);
		unsigned packets = (unsigned)client.packet_count;
		uint64_t checks = ice_now()->counters.checks;

		check_path_with(&from, ice_local(ice_now())->ufrag,
			rows[i].pwd ? rows[i].pwd : ice_local(ice_now())->pwd);
		if (ice_now()->counters.checks != checks + rows[i].counts)
			fail_msg("%s", rows[i].what);
		client_read();
		stream_add(n++, 0);
		run_ms(20);
		check_all_goes_to(&to);
		CHECK_EQ(client.packet_count, packets + 1);
	}
	CHECK_EQ(client.packets[client.packet_count - 1].sequence - client.packets[0].sequence,
		(int)client.packet_count - 1);
	client_end();
	end();
}

/* The keys are those of before; a check of before the restart, sent again, moves nothing. */
TEST(ice_restarts_and_the_keys_stay)
{
	static const char fresh[] = "a=ice-ufrag:newu\r\na=ice-pwd:newnewnewnewnewnewnewnew\r\n";
	struct net_addr moved = host(10, 4000), strange = host(11, 4000);
	struct ice_credentials old;

	begin();
	stream_add(1, MEDIA_KEYFRAME);
	client_begin(true);
	client_connect();
	old = *ice_local(ice_now());
	ask_patch("*", fresh);
	CHECK_EQ(heard.patched.status, 200);
	client_read();
	stream_add(2, 0);
	run_ms(20);
	check_all_goes_to(&client_addr); /* until a check proves the new ones */
	check_path_with(&moved, ice_local(ice_now())->ufrag, ice_local(ice_now())->pwd);
	client_read();
	stream_add(3, 0);
	run_ms(20);
	check_all_goes_to(&moved);
	for (uint64_t n = 4; n <= 5; n++) { /* as a late one, then as one of long ago */
		check_path_with(&strange, old.ufrag, old.pwd);
		client_read();
		stream_add(n, 0);
		run_ms(20);
		check_all_goes_to(&moved);
		now_us += ICE_OLD_US;
	}
	CHECK_EQ(client.packet_count, 5);
	CHECK_EQ(actor_phase(runtime_find(rt, stream.session.id)), SESSION_UP);
	client_end();
	end();
}

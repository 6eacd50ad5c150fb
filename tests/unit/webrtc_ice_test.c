/* SPDX-License-Identifier: Apache-2.0
 *
 * The ICE-lite agent: rows of checks in order with what each does, then restart, bounds, takeover,
 * and the framing on TCP.
 */
#include "tests/test.h"

#include "actors/webrtc/ice.h"
#include "actors/webrtc/ice_tcp.h"

#define FOR_EACH(row, rows) for (size_t row = 0; row < sizeof(rows) / sizeof((rows)[0]); row++)

enum { SECOND = 1000 * 1000 };

static const struct ice_credentials ours = {"ours", "our-password-is-22-char"};
static const struct ice_credentials theirs = {"them", "their-password-22-chars"};
static const struct ice_credentials ours_new = {"newo", "our-next-password-22-ch"};
static const struct ice_credentials theirs_new = {"newt", "their-next-password-22-"};

enum check_flags {
	NOMINATE = 1 << 0,
	NO_USERNAME = 1 << 1,
	NO_INTEGRITY = 1 << 2,
	CONTROLLED = 1 << 3,
	UNKNOWN = 1 << 4,
	LOW = 1 << 5, /* priority */
	RESPONSE = 1 << 6,
	INDICATION = 1 << 7,
};

static size_t build_check(
	uint8_t *buffer, size_t size, const char *username, const char *pwd, unsigned flags)
{
	static const uint8_t transaction[STUN_TRANSACTION_SIZE] = {7};
	struct writer w = writer_of(buffer, size);
	enum stun_class class = flags & RESPONSE     ? STUN_SUCCESS
				: flags & INDICATION ? STUN_INDICATION
						     : STUN_REQUEST;

	stun_begin(&w, class, transaction);
	if (!(flags & NO_USERNAME))
		stun_add_username(&w, username, strlen(username));
	if (flags & UNKNOWN)
		write_u32(&w, 0x7abc0000);
	stun_add_priority(&w, flags & LOW ? 100 : 1000);
	stun_add_role(&w, !(flags & CONTROLLED), 42);
	if (flags & NOMINATE)
		stun_add_use_candidate(&w);
	CHECK_OK(stun_finish(&w, flags & NO_INTEGRITY ? NULL : pwd));
	return writer_used(&w);
}

static struct net_addr at(uint16_t port)
{
	return (struct net_addr){
		.family = 4, .port = port, .ip = {198, 51, 100, 9}
	  };
}

/* One check from port `port` of one host; returns the error, checks the response for form. */
static enum err check(struct ice_session *ice, uint16_t port, const struct ice_credentials *local,
	unsigned flags, int64_t now_us, unsigned *events, struct stun_message *answer)
{
	uint8_t request[STUN_MESSAGE_MAX], response[STUN_RESPONSE_MAX];
	struct writer w = writer_of(response, sizeof(response));
	struct net_addr from = at(port);
	char username[STUN_USERNAME_MAX + 1];

	snprintf(username, sizeof(username), "%s:%s", local->ufrag, theirs.ufrag);
	size_t size = build_check(request, sizeof(request), username, local->pwd, flags);
	enum err err = ice_input(ice, &from, request, size, now_us, &w, events);

	CHECK(!w.bad);
	CHECK(ice_is_valid(ice));
	*answer = (struct stun_message){0};
	if (writer_used(&w))
		CHECK_OK(stun_parse(answer, response, writer_used(&w)));
	if (err == ERR_OK) {
		CHECK_EQ(answer->class, STUN_SUCCESS);
		CHECK(net_addr_equal(&answer->mapped, &from));
		CHECK(stun_check_integrity(answer, response, writer_used(&w), local->pwd));
	}
	return err;
}

static const struct ice_credentials stranger = {"none", "our-password-is-22-char"};
static const struct ice_credentials thief = {"ours", "not-the-password-of-ours"};

static const struct step {
	const char *what;
	int64_t now_us;
	uint16_t port;
	const struct ice_credentials *with;
	unsigned flags;
	enum err err;
	uint16_t error_code;
	unsigned events;
	uint16_t selected; /* port, 0 = none */
} steps[] = {
	{"spoofed",			 1 * SECOND,	1, &thief,	   NOMINATE,		     ERR_AUTH,	       401, 0,		       0},
	{"unknown user",			 1 * SECOND,     1, &stranger, NOMINATE,		     ERR_AUTH,	       401, 0,		       0},
	{"no user",			 1 * SECOND,	1, &ours,	  NOMINATE | NO_USERNAME,  ERR_FORMAT,      400, 0,		      0},
	{"no integrity",			 1 * SECOND,     1, &ours,     NOMINATE | NO_INTEGRITY, ERR_FORMAT,	    400, 0,			    0},
	{"unknown attribute",		      1 * SECOND,	  1, &ours,	    NOMINATE | UNKNOWN,	ERR_UNSUPPORTED, 420, 0,			 0},
	{"role conflict",			  1 * SECOND,     1, &ours,	NOMINATE | CONTROLLED,   ERR_PHASE,	  487, 0,			  0},
	{"a response",		       1 * SECOND,	   1, &ours,     RESPONSE,		       ERR_AGAIN,	  0,   0,			0},
	{"an indication",			  1 * SECOND,     1, &ours,	INDICATION,		    ERR_AGAIN,       0,	  0,		     0},
	{"a check",			 2 * SECOND,	1, &ours,	  0,			     ERR_OK,	     0,	ICE_CONSENT_REFRESHED, 0},
	{"nomination",		       3 * SECOND,	   1, &ours,     NOMINATE,		       ERR_OK,	       0,
		ICE_CONSENT_REFRESHED | ICE_NOMINATED,												 1},
	{"lower priority while it settles", 3 * SECOND + 1, 2, &ours,     NOMINATE | LOW,	      ERR_OK,	      0,
		ICE_CONSENT_REFRESHED,														 1},
	{"same priority while it settles",  3 * SECOND + 2, 3, &ours,     NOMINATE,		       ERR_OK,	       0,
		ICE_CONSENT_REFRESHED | ICE_ADDRESS_CHANGED,											   3},
	{"again",			   4 * SECOND + 1, 3, &ours,	    NOMINATE,		      ERR_OK,	      0,	 ICE_CONSENT_REFRESHED, 3},
	{"other address, not nominated",	 5 * SECOND,     4, &ours,     0,			  ERR_OK,	  0,   ICE_CONSENT_REFRESHED,
		3																       },
	{"spoofed from another address",	 6 * SECOND,     5, &thief,	NOMINATE,		  ERR_AUTH,	    401, 0,			    3},
	{"moved, later, lower",		7 * SECOND,	    4, &ours,     NOMINATE | LOW,	      ERR_OK,	      0,
		ICE_CONSENT_REFRESHED | ICE_ADDRESS_CHANGED,											   4},
};

TEST(checks_in_order)
{
	struct ice_session ice;
	struct stun_message answer;
	unsigned events;

	ice_init(&ice, &ours, &theirs, SECOND);
	FOR_EACH (i, steps) {
		const struct step *s = &steps[i];
		int64_t consent_us = ice.consent_us;
		enum err err = check(&ice, s->port, s->with, s->flags, s->now_us, &events, &answer);
		const struct net_addr *selected = ice_selected(&ice);

		if (err != s->err || answer.error_code != s->error_code || events != s->events ||
			(selected ? selected->port : 0) != s->selected)
			fail_msg("%s: %s, code %u, events %x", s->what, err_name(err),
				answer.error_code, events);
		CHECK_EQ(ice.consent_us, err ? consent_us : s->now_us);
	}
	CHECK_EQ(ice.counters.unauthenticated, 3);
	CHECK_EQ(ice.counters.malformed, 2);
	CHECK_EQ(ice.counters.address_changes, 2);
	CHECK_EQ(ice.pair_count, 4);
}

TEST(consent_lasts_30_s_after_the_last_check)
{
	struct ice_session ice;
	struct stun_message answer;
	unsigned events;

	ice_init(&ice, &ours, &theirs, SECOND);
	CHECK(!ice_is_expired(&ice, 31 * SECOND - 1));
	CHECK(ice_is_expired(&ice, 31 * SECOND));
	CHECK_OK(check(&ice, 1, &ours, 0, 20 * SECOND, &events, &answer));
	CHECK_EQ(ice_deadline_us(&ice), 50 * SECOND);
	CHECK_EQ(check(&ice, 1, &thief, 0, 40 * SECOND, &events, &answer), ERR_AUTH);
	CHECK_EQ(ice_deadline_us(&ice), 50 * SECOND);
	CHECK(ice_is_expired(&ice, 50 * SECOND));
}

TEST(restart_takes_effect_with_its_first_check)
{
	struct ice_session ice;
	struct stun_message answer;
	unsigned events;

	ice_init(&ice, &ours, &theirs, SECOND);
	CHECK_OK(check(&ice, 1, &ours, NOMINATE, 2 * SECOND, &events, &answer));
	CHECK_EQ(check(&ice, 1, &ours_new, NOMINATE, 2 * SECOND, &events, &answer), ERR_AUTH);

	ice_restart(&ice, &ours_new, &theirs_new);
	CHECK_STR(ice_local(&ice)->ufrag, "newo");
	CHECK_STR(ice_remote(&ice)->ufrag, "newt");
	/* the old ones go on, and may even move */
	CHECK_OK(check(&ice, 2, &ours, NOMINATE, 4 * SECOND, &events, &answer));
	CHECK_EQ(events, ICE_CONSENT_REFRESHED | ICE_ADDRESS_CHANGED);
	/* the new ones: not before they are proved */
	CHECK_OK(check(&ice, 3, &ours_new, 0, 5 * SECOND, &events, &answer));
	CHECK_EQ(events, ICE_CONSENT_REFRESHED | ICE_RESTARTED);
	CHECK_EQ(ice_selected(&ice)->port, 2);
	CHECK_OK(check(&ice, 3, &ours_new, NOMINATE, 5 * SECOND, &events, &answer));
	CHECK_EQ(events, ICE_CONSENT_REFRESHED | ICE_ADDRESS_CHANGED);
	/* a late check of the old: answered, no effect */
	CHECK_OK(check(&ice, 2, &ours, NOMINATE, 6 * SECOND, &events, &answer));
	CHECK_EQ(events, 0);
	CHECK_EQ(ice_selected(&ice)->port, 3);
	CHECK_EQ(ice.consent_us, 5 * SECOND);
	CHECK_EQ(check(&ice, 2, &ours, NOMINATE, 15 * SECOND, &events, &answer), ERR_AUTH);
	CHECK_STR(ice_local(&ice)->ufrag, "newo");
}

TEST(restart_that_fails_changes_nothing)
{
	struct ice_session ice;
	struct stun_message answer;
	unsigned events;

	ice_init(&ice, &ours, &theirs, SECOND);
	CHECK_OK(check(&ice, 1, &ours, NOMINATE, 2 * SECOND, &events, &answer));
	ice_restart(&ice, &ours_new, &theirs_new);
	for (int i = 3; i < 300; i += 3)
		CHECK_OK(check(&ice, 1, &ours, NOMINATE, i * SECOND, &events, &answer));
	CHECK_EQ(ice_selected(&ice)->port, 1);
	CHECK(!ice_is_expired(&ice, 310 * SECOND));
}

TEST(pairs_are_bounded_and_the_selected_one_stays)
{
	struct ice_session ice;
	struct stun_message answer;
	unsigned events;

	ice_init(&ice, &ours, &theirs, 0);
	CHECK_OK(check(&ice, 1, &ours, NOMINATE, 1, &events, &answer));
	for (int i = 2; i < 100; i++)
		CHECK_OK(check(&ice, (uint16_t)i, &ours, 0, i, &events, &answer));
	CHECK_EQ(ice.pair_count, ICE_PAIRS_MAX);
	CHECK_EQ(ice_selected(&ice)->port, 1);
	CHECK_EQ(ice.counters.pairs_displaced, 98 - (ICE_PAIRS_MAX - 1));
}

TEST(a_closed_connection_is_forgotten)
{
	struct ice_session ice;
	struct stun_message answer;
	struct net_addr first = at(1);
	struct net_addr second = at(2);
	struct net_addr third = at(3);
	unsigned events;

	ice_init(&ice, &ours, &theirs, 0);
	CHECK_OK(check(&ice, 1, &ours, NOMINATE, 1, &events, &answer));
	CHECK_OK(check(&ice, 3, &ours, 0, 1, &events, &answer));
	CHECK_OK(check(&ice, 2, &ours, NOMINATE, 2 * SECOND, &events, &answer));
	CHECK_EQ(ice_forget(&ice, &third), 0);
	CHECK_EQ(ice_forget(&ice, &third), 0);
	CHECK_EQ(ice_selected(&ice)->port, 2);
	CHECK_EQ(ice_forget(&ice, &second), ICE_ADDRESS_CHANGED);
	CHECK_EQ(ice_selected(&ice)->port, 1);
	CHECK_EQ(ice_forget(&ice, &first), 0);
	CHECK(!ice_selected(&ice));
	CHECK(ice_is_valid(&ice));
	CHECK_OK(check(&ice, 4, &ours, NOMINATE, 3 * SECOND, &events, &answer));
	CHECK_EQ(events, ICE_CONSENT_REFRESHED | ICE_ADDRESS_CHANGED);
}

TEST(a_session_from_other_memory_is_checked)
{
	struct ice_session good, bad;

	ice_init(&good, &ours, &theirs, 0);
	CHECK(ice_is_valid(&good));
	bad = good;
	bad.active = 2;
	CHECK(!ice_is_valid(&bad));
	bad = good;
	bad.selected = 0;
	CHECK(!ice_is_valid(&bad));
	bad = good;
	bad.selected = -2;
	CHECK(!ice_is_valid(&bad));
	bad = good;
	bad.pair_count = ICE_PAIRS_MAX + 1;
	CHECK(!ice_is_valid(&bad));
	bad = good;
	bad.other = 3;
	CHECK(!ice_is_valid(&bad));
	bad = good;
	memset(bad.local[0].ufrag, 'x', sizeof(bad.local[0].ufrag));
	CHECK(!ice_is_valid(&bad));
	bad = good;
	memset(bad.remote[1].pwd, 'x', sizeof(bad.remote[1].pwd));
	CHECK(!ice_is_valid(&bad));
	bad = good;
	bad.pair_count = 1;
	bad.pairs[0].remote.family = 9;
	CHECK(!ice_is_valid(&bad));
}

TEST(credentials_are_made_from_all_randomness)
{
	uint8_t random[ICE_RANDOM_SIZE] = {0};
	struct ice_credentials c, other;

	ice_credentials_make(&c, random);
	CHECK_STR(c.ufrag, "AAAAAAAA");
	CHECK_STR(c.pwd, "AAAAAAAAAAAAAAAAAAAAAAAA");
	for (size_t bit = 0; bit < sizeof(random) * 8; bit++) {
		memset(random, 0, sizeof(random));
		random[bit / 8] = (uint8_t)(1 << bit % 8);
		ice_credentials_make(&other, random);
		CHECK(!ice_credentials_equal(&c, &other));
		CHECK_OK(ice_credentials_set(&c, other.ufrag, 8, other.pwd, 24));
		CHECK(ice_credentials_equal(&c, &other));
	}
	memset(random, 0xff, sizeof(random));
	ice_credentials_make(&c, random);
	CHECK_STR(c.ufrag, "////////");
	CHECK_STR(c.pwd, "////////////////////////");
}

static const struct {
	const char *ufrag, *pwd;
	enum err err;
} credentials[] = {
	{"abcd", "0123456789012345678901",  ERR_OK	 },
	{"a+/d", "+/+/+/+/+/+/+/+/+/+/+/",  ERR_OK	 },
	{"abc",	"0123456789012345678901",  ERR_FORMAT},
	{"abcd", "012345678901234567890",	  ERR_FORMAT},
	{"ab:d", "0123456789012345678901",  ERR_FORMAT},
	{"ab d", "0123456789012345678901",  ERR_FORMAT},
	{"abcd", "012345678901234567890\r", ERR_FORMAT},
};

TEST(credentials_are_checked)
{
	static char large[ICE_UFRAG_MAX + 2];
	struct ice_credentials c;

	FOR_EACH (i, credentials)
		CHECK_EQ(ice_credentials_set(&c, credentials[i].ufrag, strlen(credentials[i].ufrag),
				 credentials[i].pwd, strlen(credentials[i].pwd)),
			credentials[i].err);
	memset(large, 'a', sizeof(large));
	CHECK_OK(ice_credentials_set(&c, large, ICE_UFRAG_MAX, large, ICE_PWD_MAX));
	CHECK_EQ(ice_credentials_set(&c, large, ICE_UFRAG_MAX + 1, large, 22), ERR_FORMAT);
	CHECK_EQ(ice_credentials_set(&c, large, 4, large, ICE_PWD_MAX + 1), ERR_FORMAT);
}

/* A stream of packets of growing size, cut at every chunk size. */
TEST(tcp_frames_survive_every_cut)
{
	static uint8_t stream[64 * 1024];
	struct writer w = writer_of(stream, sizeof(stream));
	static const size_t sizes[] = {1, 0, 2, 3, 100, 0, 0, 1200, ICE_TCP_PACKET_MAX, 5};

	FOR_EACH (i, sizes) {
		uint8_t header[ICE_TCP_HEADER_SIZE];
		uint8_t *body;

		ice_tcp_header(header, sizes[i]);
		write_bytes(&w, header, sizeof(header));
		body = write_reserve(&w, sizes[i]);
		memset(body, (int)i, sizes[i]);
	}
	for (size_t chunk = 1; chunk <= writer_used(&w); chunk++) {
		struct ice_tcp tcp;
		size_t next = 0;

		ice_tcp_init(&tcp);
		for (size_t offset = 0; offset < writer_used(&w); offset += chunk) {
			size_t left = writer_used(&w) - offset;
			struct reader in = reader_of(stream + offset, left < chunk ? left : chunk);
			const uint8_t *packet;
			size_t size;

			while (ice_tcp_next(&tcp, &in, &packet, &size) == ERR_OK) {
				while (!sizes[next])
					next++;
				CHECK_EQ(size, sizes[next]);
				CHECK_EQ(packet[0], next);
				CHECK_EQ(packet[size - 1], next);
				next++;
			}
			CHECK_EQ(reader_left(&in), 0);
			CHECK(ice_tcp_is_valid(&tcp));
		}
		CHECK_EQ(next, sizeof(sizes) / sizeof(sizes[0]));
	}
}

TEST(tcp_frame_too_large_is_an_error)
{
	static const uint8_t bytes[] = {0x05, 0xdd, 0, 0}; /* 1501 */

	for (size_t cut = 1; cut <= sizeof(bytes); cut++) {
		struct ice_tcp tcp = {0};
		struct reader in = reader_of(bytes, cut);
		const uint8_t *packet;
		size_t size;
		enum err err = ice_tcp_next(&tcp, &in, &packet, &size);

		if (err == ERR_AGAIN) {
			in = reader_of(bytes + cut, sizeof(bytes) - cut);
			err = ice_tcp_next(&tcp, &in, &packet, &size);
		}
		CHECK_EQ(err, ERR_TOO_LARGE);
	}
}

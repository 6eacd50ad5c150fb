/* SPDX-License-Identifier: Apache-2.0
 *
 * DTLS: our client against our server over a network that loses, repeats and reorders datagrams, in
 * virtual time; wrong certificates, wrong profiles, limits, memory.
 */
#include "actors/webrtc/certificate.h"
#include "actors/webrtc/dtls.h"
#include "actors/webrtc/openssl.h"
#include "tests/test.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/time.h>

/* OpenSSL's retransmission timer reads gettimeofday. The definition here is found before the one of
 * the C library, so that it runs on the test's time and nothing has to sleep.
 */
static int64_t now_us = INT64_C(1000000000);

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	(void)zone;
	tv->tv_sec = now_us / 1000000;
	tv->tv_usec = now_us % 1000000;
	return 0;
}

static size_t live_bytes;

static void *hook_malloc(size_t size, const char *file, int line)
{
	void *block = malloc(size);

	(void)file, (void)line;
	live_bytes += malloc_usable_size(block);
	return block;
}
static void *hook_realloc(void *old, size_t size, const char *file, int line)
{
	size_t before = malloc_usable_size(old);
	void *block = realloc(old, size);

	(void)file, (void)line;
	if (block)
		live_bytes += malloc_usable_size(block) - before;
	return block;
}
static void hook_free(void *old, const char *file, int line)
{
	(void)file, (void)line;
	live_bytes -= malloc_usable_size(old);
	free(old);
}
__attribute__((constructor)) static void hook_openssl(void)
{
	if (CRYPTO_set_mem_functions(hook_malloc, hook_realloc, hook_free) != 1)
		abort();
}

struct side {
	struct certificate certificate;
	struct dtls_context context;
	struct dtls dtls;
};

static struct side client, server;

static void side_start(struct side *side)
{
	CHECK_OK(certificate_create(&side->certificate, 1800000000));
	CHECK_OK(dtls_context_init(&side->context, &side->certificate));
}

static void side_stop(struct side *side)
{
	dtls_fini(&side->dtls);
	dtls_context_fini(&side->context);
	certificate_fini(&side->certificate);
}

static void both_start(void)
{
	side_start(&client);
	side_start(&server);
	CHECK_OK(dtls_init(&server.dtls, &server.context, DTLS_SERVER,
		&client.certificate.fingerprint, now_us));
	CHECK_OK(dtls_init(&client.dtls, &client.context, DTLS_CLIENT,
		&server.certificate.fingerprint, now_us));
}

static void both_stop(void)
{
	side_stop(&client);
	side_stop(&server);
}

/* ---- a network in virtual time ---- */

enum { FLYING_MAX = 64 };

static struct network {
	uint32_t random;
	int loss_percent, twice_percent;
	int64_t delay_us, jitter_us;
	size_t largest;
	struct flying {
		int64_t arrives_us;
		struct dtls *to;
		size_t size;
		uint8_t bytes[DTLS_DATAGRAM_MAX];
	} flying[FLYING_MAX];
	size_t count;
} net;

static uint32_t draw(uint32_t below)
{
	net.random = net.random * 1664525 + 1013904223;
	return (net.random >> 8) % below;
}

static void network_take(struct dtls *from, struct dtls *to)
{
	uint8_t bytes[DTLS_DATAGRAM_MAX];
	size_t size;

	while ((size = dtls_output(from, bytes, sizeof(bytes)))) {
		int copies = (int)draw(100) < net.loss_percent ? 0 : 1;

		net.largest = size > net.largest ? size : net.largest;
		copies += (int)draw(100) < net.twice_percent;
		while (copies-- && net.count < FLYING_MAX) {
			struct flying *f = &net.flying[net.count++];

			*f = (struct flying){.to = to, .size = size};
			f->arrives_us = now_us + net.delay_us +
					(net.jitter_us ? draw((uint32_t)net.jitter_us) : 0);
			memcpy(f->bytes, bytes, size);
		}
	}
}

/* The next thing that happens, if it happens before `end_us`. */
static bool network_step(int64_t end_us)
{
	network_take(&client.dtls, &server.dtls);
	network_take(&server.dtls, &client.dtls);
	int64_t next = dtls_deadline(&client.dtls);
	size_t first = FLYING_MAX;

	if (dtls_deadline(&server.dtls) < next)
		next = dtls_deadline(&server.dtls);
	for (size_t i = 0; i < net.count; i++) {
		if (net.flying[i].arrives_us <= next) {
			next = net.flying[i].arrives_us;
			first = i;
		}
	}
	if (next > end_us)
		return false;
	now_us = next > now_us ? next : now_us;
	if (first < FLYING_MAX) {
		struct flying f = net.flying[first];

		net.flying[first] = net.flying[--net.count];
		dtls_input(f.to, f.bytes, f.size, now_us);
	} else {
		dtls_on_timer(&client.dtls, now_us);
		dtls_on_timer(&server.dtls, now_us);
	}
	return true;
}

/* Runs until both have said their last word, or for `limit_us`. */
static void network_run(int64_t limit_us)
{
	int64_t end_us = now_us + limit_us;

	while (network_step(end_us))
		;
}

static void network_start(uint32_t seed)
{
	net = (struct network){.random = seed, .delay_us = 10000};
}

static void check_keys_agree(void)
{
	CHECK_EQ(client.dtls.phase, DTLS_ESTABLISHED);
	CHECK_EQ(server.dtls.phase, DTLS_ESTABLISHED);
	CHECK_MEM(&client.dtls.send, &server.dtls.receive, sizeof(struct seal_keys));
	CHECK_MEM(&client.dtls.receive, &server.dtls.send, sizeof(struct seal_keys));
	CHECK(memcmp(&client.dtls.send, &server.dtls.send, sizeof(struct seal_keys)) != 0);
}

TEST(agrees_on_keys_in_two_round_trips)
{
	int64_t start = now_us;

	network_start(1);
	both_start();
	network_run(35000000);
	check_keys_agree();
	CHECK_EQ(client.dtls.send.profile, SEAL_AEAD_AES_128_GCM);
	CHECK_EQ(now_us - start, 40000);
	CHECK_EQ(client.dtls.retransmits + server.dtls.retransmits, 0);
	CHECK_EQ(client.dtls.dropped + server.dtls.dropped, 0);
	CHECK_LE(net.largest, DTLS_MTU + 20);
	CHECK_EQ(dtls_deadline(&client.dtls), DTLS_NEVER);
	CHECK_EQ(dtls_deadline(&server.dtls), DTLS_NEVER);
	both_stop();
}

TEST(survives_loss_reordering_and_repetition)
{
	uint32_t established = 0, retransmits = 0;
	enum { SEEDS = 60 };

	for (uint32_t seed = 1; seed <= SEEDS; seed++) {
		network_start(seed * 7919);
		net.loss_percent = 25;
		net.twice_percent = 15;
		net.jitter_us = 60000;
		both_start();
		network_run(29000000);
		if (client.dtls.phase == DTLS_ESTABLISHED &&
			server.dtls.phase == DTLS_ESTABLISHED) {
			check_keys_agree();
			established++;
		}
		retransmits += client.dtls.retransmits + server.dtls.retransmits;
		both_stop();
	}
	print_message("%u of %d handshakes, %u retransmissions\n", established, SEEDS, retransmits);
	CHECK_EQ(established, SEEDS);
	CHECK_GE(retransmits, SEEDS / 2);
}

TEST(a_lost_last_flight_is_answered_again)
{
	network_start(3);
	both_start();
	/* the server has the client's Finished, and the answer is lost */
	while (server.dtls.phase == DTLS_HANDSHAKING)
		CHECK(network_step(INT64_MAX - 1));
	uint8_t lost[DTLS_DATAGRAM_MAX];
	net.count = 0;
	while (dtls_output(&server.dtls, lost, sizeof(lost)))
		;
	CHECK_EQ(client.dtls.phase, DTLS_HANDSHAKING);
	network_run(1000000);
	check_keys_agree();
	CHECK_GE(client.dtls.retransmits, 1);
	both_stop();
}

TEST(refuses_another_certificate)
{
	static const enum certificate_hash hashes[] = {
		CERTIFICATE_SHA_256, CERTIFICATE_SHA_384, CERTIFICATE_SHA_512};

	for (int wrong = 0; wrong < 3; wrong++) { /* nobody, the server's, the client's */
		for (size_t i = 0; i < 3; i++) {
			struct fingerprint of_server = {.hash = (uint8_t)hashes[i]},
					   of_client = of_server;
			const EVP_MD *md =
				EVP_get_digestbyname(hashes[i] == CERTIFICATE_SHA_256	? "sha256"
						     : hashes[i] == CERTIFICATE_SHA_384 ? "sha384"
											: "sha512");

			network_start(4);
			side_start(&client);
			side_start(&server);
			X509_digest(server.certificate.x509, md, of_server.bytes, NULL);
			X509_digest(client.certificate.x509, md, of_client.bytes, NULL);
			of_server.bytes[31] ^= wrong == 1;
			of_client.bytes[31] ^= wrong == 2;
			CHECK_OK(dtls_init(
				&server.dtls, &server.context, DTLS_SERVER, &of_client, now_us));
			CHECK_OK(dtls_init(
				&client.dtls, &client.context, DTLS_CLIENT, &of_server, now_us));
			network_run(31000000);
			if (!wrong) {
				check_keys_agree();
			} else {
				struct dtls *refuses = wrong == 1 ? &client.dtls : &server.dtls;
				struct dtls *refused = wrong == 1 ? &server.dtls : &client.dtls;

				CHECK_EQ(refuses->failure, ERR_AUTH);
				CHECK_EQ(refused->failure, ERR_CLOSED);
				CHECK_EQ(dtls_input(refuses, (const uint8_t *)"x", 1, now_us),
					ERR_AUTH);
			}
			both_stop();
		}
	}
}

TEST(profile_is_the_best_in_common)
{
	static const struct {
		const char *offered;
		uint16_t profile;
		enum err failure;
	} rows[] = {
		{"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM", SEAL_AEAD_AES_128_GCM,	ERR_OK	      },
		{"SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80", SEAL_AES128_CM_SHA1_80, ERR_OK	       },
		{"SRTP_AEAD_AES_256_GCM",			  SEAL_AEAD_AES_256_GCM,	 ERR_OK	       },
		{"SRTP_AES128_CM_SHA1_32",			   SEAL_NONE,	      ERR_UNSUPPORTED},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		network_start(5);
		side_start(&client);
		side_start(&server);
		CHECK_EQ(SSL_CTX_set_tlsext_use_srtp(client.context.ssl, rows[i].offered), 0);
		CHECK_OK(dtls_init(&server.dtls, &server.context, DTLS_SERVER,
			&client.certificate.fingerprint, now_us));
		CHECK_OK(dtls_init(&client.dtls, &client.context, DTLS_CLIENT,
			&server.certificate.fingerprint, now_us));
		network_run(31000000);
		CHECK_EQ(server.dtls.failure, rows[i].failure);
		CHECK_EQ(server.dtls.send.profile, rows[i].profile);
		if (!rows[i].failure)
			check_keys_agree();
		both_stop();
	}
}

/* Browsers send a ClientHello of 1,413 bytes in two fragments (post-quantum key shares). */
TEST(flights_larger_than_the_mtu_come_in_fragments)
{
	for (uint32_t seed = 1; seed <= 10; seed++) {
		uint8_t protocols[1300];

		network_start(seed);
		net.jitter_us = 30000; /* so that they arrive in any order, too */
		net.loss_percent = 10;
		side_start(&client);
		side_start(&server);
		for (size_t i = 0; i < sizeof(protocols); i++)
			protocols[i] = i % 100 ? 'x' : 99;
		CHECK_EQ(SSL_CTX_set_alpn_protos(client.context.ssl, protocols, sizeof(protocols)),
			0);
		CHECK_OK(dtls_init(&server.dtls, &server.context, DTLS_SERVER,
			&client.certificate.fingerprint, now_us));
		CHECK_OK(dtls_init(&client.dtls, &client.context, DTLS_CLIENT,
			&server.certificate.fingerprint, now_us));
		SSL_set_mtu(client.dtls.ssl, 320);
		SSL_set_mtu(server.dtls.ssl, 320);
		network_run(29000000);
		check_keys_agree();
		CHECK_GE(client.dtls.datagrams_out, 4);
		both_stop();
	}
}

TEST(a_fingerprint_is_required)
{
	struct fingerprint none = {0};

	side_start(&server);
	CHECK_EQ(dtls_init(&server.dtls, &server.context, DTLS_SERVER, &none, now_us), ERR_FORMAT);
	CHECK(server.dtls.ssl == NULL);
	side_stop(&server);
}

TEST(gives_up_in_time)
{
	network_start(6);
	net.loss_percent = 100;
	both_start();
	int64_t start = now_us;
	network_run(60000000);
	CHECK_EQ(client.dtls.failure, ERR_TIMEOUT);
	CHECK_EQ(server.dtls.failure, ERR_TIMEOUT);
	CHECK_LE(now_us - start, DTLS_HANDSHAKE_MAX_US);
	CHECK_GE(client.dtls.retransmits, 8);
	CHECK_LE(client.dtls.retransmits, 14);
	CHECK_EQ(dtls_on_timer(&client.dtls, now_us), ERR_TIMEOUT);
	both_stop();
}

TEST(a_clock_that_was_set_back_delays_but_does_not_spin)
{
	network_start(7);
	both_start();
	uint8_t lost[DTLS_DATAGRAM_MAX];
	while (dtls_output(&client.dtls, lost, sizeof(lost)))
		;
	int64_t session_us = now_us;
	now_us -= 3600000000; /* only OpenSSL sees this one */
	int calls = 0;
	for (; client.dtls.phase == DTLS_HANDSHAKING; calls++) {
		CHECK(dtls_deadline(&client.dtls) > session_us);
		session_us = dtls_deadline(&client.dtls);
		dtls_on_timer(&client.dtls, session_us);
	}
	CHECK_LE(calls, 12);
	CHECK_EQ(client.dtls.failure, ERR_TIMEOUT);
	now_us += 3600000000;
	both_stop();
}

TEST(rubbish_is_dropped_until_there_is_too_much_of_it)
{
	uint8_t rubbish[DTLS_INPUT_MAX + 1] = {22, 0xfe, 0xfd};

	network_start(8);
	both_start();
	CHECK_OK(dtls_input(&server.dtls, rubbish, sizeof(rubbish), now_us));
	CHECK_EQ(server.dtls.dropped, 1);
	for (size_t size = 0; size < 100; size++) {
		/* an epoch that is not there yet */
		memset(rubbish + 3, 0x80 | (int)size, 97);
		CHECK_OK(dtls_input(&server.dtls, rubbish, size, now_us));
	}
	network_run(35000000);
	check_keys_agree();
	for (size_t size = 0; size < 100; size++)
		CHECK_OK(dtls_input(&server.dtls, rubbish, size, now_us));
	both_stop();

	both_start();
	enum err err = ERR_OK;
	int taken = 0;
	for (; !err; taken++)
		err = dtls_input(&server.dtls, rubbish, 40, now_us);
	CHECK_EQ(err, ERR_LIMIT);
	CHECK_EQ(taken, DTLS_DATAGRAMS_MAX + 1);
	both_stop();
}

TEST(leaving_is_seen_by_the_other)
{
	network_start(9);
	both_start();
	network_run(35000000);
	check_keys_agree();
	dtls_close(&client.dtls);
	network_run(1000000);
	CHECK_EQ(server.dtls.phase, DTLS_CLOSED);
	CHECK_EQ(server.dtls.failure, ERR_CLOSED);
	CHECK_EQ(client.dtls.phase, DTLS_CLOSED);
	both_stop();
	CHECK_EQ(dtls_input(&server.dtls, (const uint8_t *)"x", 1, now_us), ERR_PHASE);
	CHECK_EQ(dtls_deadline(&server.dtls), DTLS_NEVER);
	dtls_fini(&server.dtls);
}

TEST(memory_of_a_session)
{
	network_start(10);
	both_start();
	network_run(35000000); /* all that OpenSSL allocates once is there now */
	check_keys_agree();
	dtls_fini(&client.dtls);
	dtls_fini(&server.dtls);
	size_t before = live_bytes;
	CHECK_OK(dtls_init(&server.dtls, &server.context, DTLS_SERVER,
		&client.certificate.fingerprint, now_us));
	CHECK_OK(dtls_init(&client.dtls, &client.context, DTLS_CLIENT,
		&server.certificate.fingerprint, now_us));
	size_t started = live_bytes;
	network_run(35000000);
	check_keys_agree();
	size_t established = live_bytes;
	dtls_fini(&client.dtls);
	dtls_fini(&server.dtls);
	print_message("an SSL: %zu bytes at start, %zu established, %zu freed\n",
		(started - before) / 2, (established - before) / 2, live_bytes - before);
	CHECK_LE((established - before) / 2, 100000);
	CHECK_LE(live_bytes - before, 2048);
	both_stop();
}

TEST(out_of_memory_fails_a_handshake_and_nothing_else)
{
	size_t failures = 0, tolerated = 0;

	side_start(&client);
	side_start(&server);
	for (size_t n = 1;; n += 1 + n / 16) {
		size_t before;

		network_start(11);
		before = live_bytes;
		test_fail_allocation(n);
		enum err err = dtls_init(&server.dtls, &server.context, DTLS_SERVER,
			&client.certificate.fingerprint, now_us);
		if (!err)
			err = dtls_init(&client.dtls, &client.context, DTLS_CLIENT,
				&server.certificate.fingerprint, now_us);
		if (!err)
			network_run(31000000);
		size_t seen = test_fail_allocation(0);
		bool done = server.dtls.phase == DTLS_ESTABLISHED &&
			    client.dtls.phase == DTLS_ESTABLISHED;

		dtls_fini(&client.dtls);
		dtls_fini(&server.dtls);
		if (seen < n) {
			CHECK(done);
			break;
		}
		failures += !done;
		tolerated += done;
		if (n > 200) /* OpenSSL's own lasting caches are filled by then */
			CHECK_LE(live_bytes, before + 4096);
	}
	print_message("%zu failed, %zu did without\n", failures, tolerated);
	CHECK_GE(failures, 20);
	side_stop(&client);
	side_stop(&server);
}

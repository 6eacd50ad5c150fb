/* SPDX-License-Identifier: Apache-2.0
 *
 * What it costs to become a viewer: WHEP POST, connectivity check, DTLS, first packet, with many at
 * it at once so that the worker always has something to do. The limit is the server's side of bare
 * DTLS handshakes: OpenSSL as it comes, the same kind of certificate. Rounds of both take turns.
 *
 * A rate is one of processor time: so many a second where the worker has a core for itself. By the
 * clock the clients would be in it, who here need as much time for theirs as the worker does.
 *
 * usage: setup_bench [rounds]
 */
#include "actors/webrtc/openssl.h"
#include "tests/bench/bench_source.h"
#include "tests/bench/bench_viewer.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	ROUNDS = 7,
	VIEWERS = 100, /* a round; a worker that is busy for half a second is taken to be full */
	AT_ONCE = 24,
	PICTURE_SIZE = 1000, /* bytes: one packet; what follows is forwarding */
	TURNS_MAX = 20,
};

/* ---- the limit: OpenSSL as it comes -------------------------------------------------------- */

static int accept_any(X509_STORE_CTX *store, void *unused)
{
	(void)store;
	(void)unused;
	return 1;
}

static SSL_CTX *bare_context(const struct certificate *certificate)
{
	SSL_CTX *context = SSL_CTX_new(DTLS_method());

	if (!context || SSL_CTX_use_certificate(context, certificate->x509) != 1 ||
		SSL_CTX_use_PrivateKey(context, certificate->key) != 1 ||
		SSL_CTX_set_tlsext_use_srtp(context, "SRTP_AEAD_AES_128_GCM") != 0)
		bench_die("no context for DTLS");
	SSL_CTX_set_options(context, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(context, accept_any, NULL);
	return context;
}

static SSL *bare_end(SSL_CTX *context)
{
	SSL *ssl = SSL_new(context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	MUST(ssl && in && out);
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(ssl, in, out);
	SSL_set_mtu(ssl, DTLS_MTU);
	return ssl;
}

static void carry(SSL *from, SSL *to)
{
	uint8_t bytes[16384];
	int size;

	while ((size = BIO_read(SSL_get_wbio(from), bytes, sizeof(bytes))) > 0)
		MUST(BIO_write(SSL_get_rbio(to), bytes, size) == size);
}

/* Processor time of the server's side of one. */
static double bare_handshake_us(SSL_CTX *context)
{
	int64_t cpu_ns = 0;

	for (int i = 0; i < VIEWERS; i++) {
		SSL *client = bare_end(context), *server;
		int64_t since_ns = bench_own_cpu_ns();

		server = bare_end(context);
		cpu_ns += bench_own_cpu_ns() - since_ns;
		SSL_set_connect_state(client);
		SSL_set_accept_state(server);
		for (int turn = 0; turn < TURNS_MAX && !SSL_is_init_finished(client); turn++) {
			SSL_do_handshake(client);
			carry(client, server);
			since_ns = bench_own_cpu_ns();
			SSL_do_handshake(server);
			cpu_ns += bench_own_cpu_ns() - since_ns;
			carry(server, client);
		}
		MUST(SSL_is_init_finished(client) && SSL_is_init_finished(server));
		SSL_free(client);
		since_ns = bench_own_cpu_ns();
		SSL_free(server);
		cpu_ns += bench_own_cpu_ns() - since_ns;
	}
	ERR_clear_error();
	return (double)cpu_ns / 1e3 / VIEWERS;
}

/* ---- the node ------------------------------------------------------------------------------ */

/* Processor time of the worker for each of those who come. */
static double set_up_us(struct bench_audience *audience)
{
	int64_t cpu_ns = bench_node_cpu_ns(audience->node), since_ns = bench_now_ns();

	while (audience->heard < VIEWERS) {
		while (audience->count < VIEWERS && audience->count - audience->heard < AT_ONCE)
			bench_audience_begin(audience);
		bench_audience_turn(audience, 5);
	}
	cpu_ns = bench_node_cpu_ns(audience->node) - cpu_ns;
	fprintf(stderr, "  %d set-ups in %.0f ms, %.0f us of the worker each", VIEWERS,
		(double)(bench_now_ns() - since_ns) / 1e6, (double)cpu_ns / 1e3 / VIEWERS);
	while (audience->count)
		bench_audience_leave(audience);
	return (double)cpu_ns / 1e3 / VIEWERS;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
	struct bench_pair pairs[BENCH_ROUNDS_MAX], chosen;
	struct bench_node node;
	struct bench_source source;
	struct bench_audience audience;
	SSL_CTX *bare;

	if (rounds < 1 || rounds > BENCH_ROUNDS_MAX) {
		fprintf(stderr, "usage: setup_bench [rounds]\n");
		return 2;
	}
	bench_node_start(&node, 1);
	bench_audience_open(&audience, &node, "bench");
	bench_source_open(&source, &node, "bench", PICTURE_SIZE);
	bare = bare_context(&audience.certificate);
	set_up_us(&audience);
	fputc('\n', stderr);
	for (int i = 0; i < rounds; i++) {
		pairs[i].value = set_up_us(&audience);
		pairs[i].limit = bare_handshake_us(bare);
		fprintf(stderr, ", bare %.0f (%.2f)\n", pairs[i].limit,
			pairs[i].value / pairs[i].limit);
	}
	chosen = bench_median(pairs, (size_t)rounds);
	bench_report("set_up_cpu", 0, "us", chosen.value, chosen.limit);
	bench_report("set_ups", 0, "a second", 1e6 / chosen.value, 1e6 / chosen.limit);
	SSL_CTX_free(bare);
	bench_audience_close(&audience);
	bench_source_close(&source);
	bench_node_stop(&node);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What it costs to become a viewer: WHEP POST, connectivity check, DTLS, first packet, with many at
 * it at once so that the worker always has something to do; beside others who are there and at rest,
 * but for their checks and reports. The limit is the server's side of bare
 * DTLS handshakes: OpenSSL as it comes, the same kind of certificate. Rounds of both take turns.
 *
 * A rate is one of processor time: so many a second where the worker has a core for itself. By the
 * clock the clients would be in it, who here need as much time for theirs as the worker does.
 *
 * usage: setup_bench [rounds [viewers there]…]
 */
#include "tests/bench/bench_bare.h"
#include "tests/bench/bench_source.h"
#include "tests/bench/bench_viewer.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	ROUNDS = 5,
	ROUND_VIEWERS =
		100, /* a round; a worker that is busy for half a second is taken to be full */
	AT_ONCE = 24,
	PICTURE_SIZE = 1000, /* bytes: one packet; what follows is forwarding */
};

/* Processor time of the server's side of one. */
static double bare_handshake_us(SSL_CTX *context)
{
	int64_t cpu_ns = 0;

	for (int i = 0; i < ROUND_VIEWERS; i++) {
		SSL *server = bare_handshake(context, &cpu_ns);
		int64_t since_ns = bench_own_cpu_ns();

		SSL_free(server);
		cpu_ns += bench_own_cpu_ns() - since_ns;
	}
	return (double)cpu_ns / 1e3 / ROUND_VIEWERS;
}

/* ---- the node ------------------------------------------------------------------------------ */

/* Processor time of the worker for each of those who come to those who are there. */
static double set_up_us(struct bench_audience *audience)
{
	int64_t cpu_ns = bench_node_cpu_ns(audience->node), since_ns = bench_now_ns();
	const size_t present = audience->count, all = present + ROUND_VIEWERS;

	while (audience->heard < all) {
		while (audience->count < all && audience->count - audience->heard < AT_ONCE)
			bench_audience_begin(audience);
		bench_audience_turn(audience, 5);
	}
	cpu_ns = bench_node_cpu_ns(audience->node) - cpu_ns;
	fprintf(stderr, "  beside %zu: %d set-ups in %.0f ms, %.0f us of the worker each", present,
		ROUND_VIEWERS, (double)(bench_now_ns() - since_ns) / 1e6,
		(double)cpu_ns / 1e3 / ROUND_VIEWERS);
	while (audience->count > present)
		bench_audience_leave(audience);
	return (double)cpu_ns / 1e3 / ROUND_VIEWERS;
}

static void rows_beside(struct bench_audience *audience, SSL_CTX *bare, long present, int rounds)
{
	struct bench_pair pairs[BENCH_ROUNDS_MAX], chosen;

	while (audience->count < (size_t)present || audience->heard < (size_t)present) {
		if (audience->count < (size_t)present &&
			audience->count - audience->heard < AT_ONCE)
			bench_audience_begin(audience);
		bench_audience_turn(audience, 5);
	}
	for (int i = 0; i < rounds; i++) {
		pairs[i].value = set_up_us(audience);
		pairs[i].limit = bare_handshake_us(bare);
		fprintf(stderr, ", bare %.0f (%.2f)\n", pairs[i].limit,
			pairs[i].value / pairs[i].limit);
	}
	chosen = bench_median(pairs, (size_t)rounds);
	bench_report("set_up_cpu", present, "us", chosen.value, chosen.limit);
	bench_report("set_ups", present, "a second", 1e6 / chosen.value, 1e6 / chosen.limit);
}

int main(int argc, char **argv)
{
	long present[8] = {0, 100, 300, 700};
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS, count = argc > 2 ? 0 : 4;
	struct bench_node node;
	struct bench_source source;
	struct bench_audience audience;
	SSL_CTX *bare;

	for (int i = 2; i < argc && count < 8; i++)
		present[count++] = atol(argv[i]);
	for (int i = 0; i < count; i++)
		if (rounds < 1 || rounds > BENCH_ROUNDS_MAX ||
			present[i] > VIEWERS_MAX - ROUND_VIEWERS ||
			present[i] < (i ? present[i - 1] : 0)) {
			fprintf(stderr,
				"usage: setup_bench [rounds [viewers there, rising, 0 .. %d]...]\n",
				VIEWERS_MAX - ROUND_VIEWERS);
			return 2;
		}
	bench_node_start(&node, 1);
	bench_audience_open(&audience, &node, "bench");
	bench_source_open(&source, &node, "bench", PICTURE_SIZE);
	bare = bare_context(&audience.certificate);
	set_up_us(&audience);
	fputc('\n', stderr);
	for (int i = 0; i < count; i++)
		rows_beside(&audience, bare, present[i], rounds);
	SSL_CTX_free(bare);
	bench_audience_close(&audience);
	bench_source_close(&source);
	bench_node_stop(&node);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a killed worker costs: how long its successor takes from the fence until all sessions are back, and
 * what viewers hear of it. One worker, one stream, WHEP viewers; the kernel of their sockets says when
 * packets came.
 *
 * Silence is the longest time between two packets of a viewer around a kill, less the time between two
 * frames. The limit beside it is the same without a kill: a frame that is on its way out to hundreds of
 * viewers reaches some early and some late, too. Kills are spread over the time between two frames.
 *
 * usage: takeover_bench [kills [viewers]…]
 */
#include "tests/bench/bench_source.h"
#include "tests/bench/bench_viewer.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	KILLS = 20,
	AT_ONCE = 24,	  /* viewers that join */
	WATCHED_MS = 300, /* after a kill */
	WHOLE_MS = 5000,  /* most until there is a spare again */
	CALM_MS = 500,	  /* between two kills: whoever was missing something has it */
	HEARD_MAX =
		400, /* viewers of the row in which the stream flows: more would be too much for a
			     machine that their receivers share */
};

static void listen_for_ms(struct bench_audience *audience, int64_t ms)
{
	for (int64_t end_ns = bench_now_ns() + ms * 1000000; bench_now_ns() < end_ns;)
		bench_audience_turn(audience, 2);
}

static void grow_to(struct bench_audience *audience, size_t viewers)
{
	while (audience->up < viewers) {
		while (audience->count < viewers && audience->count - audience->up < AT_ONCE)
			bench_audience_begin(audience);
		bench_audience_turn(audience, 5);
	}
	listen_for_ms(audience, CALM_MS);
}

/* After a kill. From the fence to all that is restored, milliseconds. */
static double wait_for_whole(struct bench_audience *audience, struct bench_node *node)
{
	int64_t end_ns = bench_now_ns() + WHOLE_MS * INT64_C(1000000);
	double took_us;

	while (!bench_node_is_whole(node, 0, &took_us)) {
		if (bench_now_ns() > end_ns)
			bench_die("nobody goes on with a killed worker");
		listen_for_ms(audience, 20);
	}
	return took_us / 1e3;
}

static void gather(const struct bench_audience *audience, struct bench_samples *silences)
{
	for (size_t i = 0; i < audience->count; i++) {
		double ms = audience->viewers[i].gap_us / 1e3 - SOURCE_FRAME_MS;

		bench_add(silences, ms > 0 ? ms : 0);
	}
}

/* Nothing flows: only what is restored counts. */
static void row_at_rest(
	struct bench_audience *audience, struct bench_node *node, int kills, long viewers)
{
	struct bench_samples took = {0};

	for (int i = 0; i < kills; i++) {
		bench_node_kill(node, 0);
		bench_add(&took, wait_for_whole(audience, node));
		listen_for_ms(audience, CALM_MS);
	}
	bench_report("restore", viewers, "ms", bench_percentile(&took, 0.5), 0);
	bench_samples_fini(&took);
}

static void row_while_playing(struct bench_audience *audience, struct bench_node *node,
	struct bench_source *source, int kills, long viewers)
{
	struct bench_samples silences = {0}, without = {0};

	source->page->keyframe_next = true;
	bench_source_want(source, SOURCE_FRAMES_MAX - source->page->sent);
	listen_for_ms(audience, 2 * CALM_MS);
	for (int i = 0; i < kills; i++) {
		listen_for_ms(audience, CALM_MS + i * SOURCE_FRAME_MS / kills);
		bench_audience_gaps(audience, true);
		listen_for_ms(audience, WATCHED_MS);
		gather(audience, &without);
		bench_audience_gaps(audience, true);
		listen_for_ms(audience, 2 * SOURCE_FRAME_MS);
		bench_node_kill(node, 0);
		listen_for_ms(audience, WATCHED_MS);
		gather(audience, &silences);
		double took_ms = wait_for_whole(audience, node);

		fprintf(stderr, "  kill %d of %d: %ld viewers restored in %.1f ms\n", i + 1, kills,
			viewers, took_ms);
	}
	source->page->wanted = source->page->sent;
	bench_report("kill_p50", viewers, "ms", bench_percentile(&silences, 0.5),
		bench_percentile(&without, 0.5));
	bench_report("kill_p99", viewers, "ms", bench_percentile(&silences, 0.99),
		bench_percentile(&without, 0.99));
	bench_samples_fini(&silences);
	bench_samples_fini(&without);
}

int main(int argc, char **argv)
{
	long viewers[8] = {300, 1000};
	int kills = argc > 1 ? atoi(argv[1]) : KILLS, count = argc > 2 ? 0 : 2;
	struct bench_node node;
	struct bench_source source;
	struct bench_audience audience;

	for (int i = 2; i < argc && count < 8; i++)
		viewers[count++] = atol(argv[i]);
	for (int i = 0; i < count; i++)
		if (kills < 1 || viewers[i] > VIEWERS_MAX ||
			viewers[i] <= (i ? viewers[i - 1] : 0)) {
			fprintf(stderr,
				"usage: takeover_bench [kills [viewers, rising, 1 .. %d]...]\n",
				VIEWERS_MAX);
			return 2;
		}
	bench_node_start(&node, 1);
	bench_audience_open(&audience, &node, "bench");
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	for (int i = 0; i < count; i++) {
		grow_to(&audience, (size_t)viewers[i]);
		if (viewers[i] <= HEARD_MAX)
			row_while_playing(&audience, &node, &source, kills, viewers[i]);
		row_at_rest(&audience, &node, kills, viewers[i]);
	}
	bench_audience_close(&audience);
	bench_source_close(&source);
	bench_node_stop(&node);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What forwarding to WebRTC viewers costs, beside the limit of the same run: a real node with one
 * worker, one stream of 2 Mbit/s, viewers that drop their packets unread. Node and limit take turns,
 * so that both see the same machine.
 *
 * usage: forward_bench [rounds [viewers]…]
 */
#include "tests/bench/bench_limit.h"
#include "tests/bench/bench_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ROUNDS = 5,
	FRAMES = 50, /* a round */
	JOINS = 30,
	JOIN_GAP_MS = 90,
	SPREAD_FRAMES = 75,
	GAP_US = 8000, /* between frames at the receivers */
	SETTLE_MS = 200,
	SILENCE_MS = 300, /* then all has come */
	ESCROW_ROUNDS = 3,
	METRICS_MS = 1200,   /* figures are a second old at most */
	SCALE_VIEWERS = 300, /* of the row of two workers, if measured with one */
};

/* How the worker cuts a usual frame, as seen by the first round; the limit does the same. */
static unsigned frame_packets;
static double seen_packets; /* a frame and viewer, in the last round */
static size_t packet_size;

static void listen_for_ms(struct bench_audience *audience, int64_t ms)
{
	for (int64_t end_ns = bench_now_ns() + ms * 1000000; bench_now_ns() < end_ns;) {
		bench_audience_turn(audience, 4);
		bench_sleep_until_ns(bench_now_ns() + 4000000);
	}
}

static void play_frames(
	struct bench_audience *audience, struct bench_source *source, uint32_t frames)
{
	bench_source_want(source, frames);
	while (!bench_source_is_done(source))
		listen_for_ms(audience, 8);
	/* on a busy machine the last ones may be late */
	for (uint64_t before = UINT64_MAX; audience->packets != before;) {
		before = audience->packets;
		listen_for_ms(audience, SILENCE_MS);
	}
}

/* ---- the cost of a packet ------------------------------------------------------------------ */

static double node_round(
	struct bench_audience *audience, struct bench_source *source, const struct bench_node *node)
{
	int64_t cpu_ns = bench_node_cpu_ns(node);

	audience->packets = audience->bytes = 0;
	play_frames(audience, source, FRAMES);
	cpu_ns = bench_node_cpu_ns(node) - cpu_ns;
	if (audience->packets < FRAMES * audience->count)
		bench_die("%lu packets for %zu viewers", (unsigned long)audience->packets,
			audience->count);
	seen_packets = (double)audience->packets / FRAMES / (double)audience->count;
	frame_packets = (unsigned)(seen_packets + 0.5);
	packet_size = audience->bytes / audience->packets;
	return (double)cpu_ns / 1e3 / (double)audience->packets;
}

static double limit_round(struct bench_audience *audience, bool by_ipsec_mb)
{
	struct bench_limit limit;
	int64_t cpu_ns;

	bench_limit_start(&limit, audience, FRAMES, frame_packets, packet_size, by_ipsec_mb);
	while (!bench_limit_is_done(&limit, &cpu_ns))
		listen_for_ms(audience, 8);
	return (double)cpu_ns / 1e3 / FRAMES / frame_packets / (double)audience->count;
}

/* Against EVP, which the peers have too; and against what encrypts fastest here. */
struct cost {
	struct bench_pair evp, fastest;
};

static struct cost cost_of_packet(struct bench_audience *audience, struct bench_source *source,
	const struct bench_node *node, int rounds)
{
	struct bench_pair evp[BENCH_ROUNDS_MAX], fastest[BENCH_ROUNDS_MAX];

	node_round(audience, source, node);
	for (int i = 0; i < rounds; i++) {
		evp[i].value = fastest[i].value = node_round(audience, source, node);
		evp[i].limit = limit_round(audience, false);
		fastest[i].limit = limit_round(audience, true);
		fprintf(stderr,
			"  %zu viewers: %.3f us a packet, limits %.3f (%.2f), %.3f (%.2f); %.2f of "
			"%zu bytes\n",
			audience->count, evp[i].value, evp[i].limit, evp[i].value / evp[i].limit,
			fastest[i].limit, fastest[i].value / fastest[i].limit, seen_packets,
			packet_size);
	}
	return (struct cost){
		bench_median(evp, (size_t)rounds), bench_median(fastest, (size_t)rounds)};
}

/* ---- the escrow ---------------------------------------------------------------------------- */

/* What all processes have spent on writing actors into their escrows so far. */
static double escrow_us(const struct bench_node *node)
{
	static char page[1 << 16];
	static const char name[] = "\nmillrace_keep_seconds_total";
	double sum = 0;

	if (bench_http(&node->http, "GET", "/metrics", "text/plain", "", page, sizeof(page)) !=
			200 ||
		!strstr(page, name))
		bench_die("no figures of the escrow");
	for (const char *at = page; (at = strstr(at, name)); at += sizeof(name) - 1)
		sum += atof(strchr(at, ' ')) * 1e6;
	return sum;
}

/* Its share of the worker's processor time while it forwards, in percent. The time is taken by the
 * clock, so on a busy machine the least of some rounds is nearest to what it is. */
static double escrow_share(
	struct bench_audience *audience, struct bench_source *source, const struct bench_node *node)
{
	double least = 100;

	for (int i = 0; i < ESCROW_ROUNDS; i++) {
		double us = escrow_us(node), share;
		int64_t cpu_ns = bench_node_cpu_ns(node);

		play_frames(audience, source, 2 * FRAMES);
		listen_for_ms(audience, METRICS_MS);
		share = (escrow_us(node) - us) * 1e5 / (double)(bench_node_cpu_ns(node) - cpu_ns);
		if (share < least)
			least = share;
	}
	return least;
}

/* ---- a frame's way out --------------------------------------------------------------------- */

/* Median of first to last packet of the frames in the stamps. */
static double spread_us(struct bench_samples *stamps, size_t least)
{
	struct bench_samples spans = {0};
	size_t first = 0;
	double median;

	bench_percentile(stamps, 0); /* sorts */
	for (size_t i = 1; i <= stamps->count; i++) {
		if (i < stamps->count && stamps->values[i] - stamps->values[i - 1] < GAP_US)
			continue;
		if (i - first >= least)
			bench_add(&spans, stamps->values[i - 1] - stamps->values[first]);
		first = i;
	}
	median = bench_percentile(&spans, 0.5);
	bench_samples_fini(&spans);
	stamps->count = 0;
	return median;
}

static void way_out(struct bench_audience *audience, struct bench_source *source)
{
	struct bench_samples stamps = {0};
	struct bench_limit limit;
	size_t least = frame_packets * audience->count * 9 / 10;
	int64_t cpu_ns;
	double value, bare;

	bench_audience_stamp(audience, &stamps);
	play_frames(audience, source, SPREAD_FRAMES);
	value = spread_us(&stamps, least);
	bench_limit_start(&limit, audience, SPREAD_FRAMES, frame_packets, packet_size, false);
	while (!bench_limit_is_done(&limit, &cpu_ns))
		listen_for_ms(audience, 8);
	bare = spread_us(&stamps, least);
	bench_audience_stamp(audience, NULL);
	bench_samples_fini(&stamps);
	bench_report("frame_out", (long)audience->count, "ms", value / 1e3, bare / 1e3);
}

/* ---- one viewer ---------------------------------------------------------------------------- */

/* A keyframe each two seconds, and joins at any time between. */
static void first_pictures(struct bench_audience *audience, struct bench_source *source)
{
	struct bench_samples whole = {0}, up = {0};

	source->page->keyframe_every = FRAMES;
	bench_source_want(source, SOURCE_FRAMES_MAX / 2);
	for (int i = 0; i < JOINS; i++) {
		int64_t start_ns = bench_now_ns();
		struct bench_viewer *v = bench_audience_join(audience);

		bench_add(&up, (double)(bench_now_ns() - start_ns) / 1e6);
		while (!v->picture && bench_now_ns() - start_ns < INT64_C(2000000000))
			bench_audience_turn(audience, 1);
		bench_add(&whole, (double)(bench_now_ns() - start_ns) / 1e6);
		bench_audience_leave(audience);
		bench_sleep_until_ns(bench_now_ns() + INT64_C(1000000) * JOIN_GAP_MS);
	}
	source->page->wanted = source->page->sent;
	source->page->keyframe_every = 0;
	bench_report("post_to_connected", 0, "ms", bench_percentile(&up, 0.5), 0);
	bench_report("post_to_keyframe", 0, "ms", bench_percentile(&whole, 0.5), 0);
	bench_samples_fini(&whole);
	bench_samples_fini(&up);
}

/* From the first byte of a picture written to RTMP to its first packet at a viewer. */
static void rtmp_to_rtp(struct bench_audience *audience, struct bench_source *source)
{
	struct bench_samples stamps = {0}, delays = {0};
	uint32_t first = source->page->sent;
	size_t at = 0;

	bench_audience_stamp(audience, &stamps);
	play_frames(audience, source, 4 * SPREAD_FRAMES);
	bench_percentile(&stamps, 0);
	for (uint32_t n = first; n < source->page->sent; n++) {
		double sent_us = (double)source->page->sent_ns[n] / 1e3;

		while (at < stamps.count && stamps.values[at] < sent_us)
			at++;
		if (at < stamps.count && stamps.values[at] - sent_us < SOURCE_FRAME_MS * 1000)
			bench_add(&delays, (stamps.values[at] - sent_us) / 1e3);
	}
	bench_audience_stamp(audience, NULL);
	bench_report("rtmp_to_rtp_p50", 0, "ms", bench_percentile(&delays, 0.5), 0);
	bench_report("rtmp_to_rtp_p95", 0, "ms", bench_percentile(&delays, 0.95), 0);
	bench_samples_fini(&stamps);
	bench_samples_fini(&delays);
}

/* ---- many ---------------------------------------------------------------------------------- */

static void grow_to(struct bench_audience *audience, size_t viewers)
{
	while (audience->count < viewers)
		bench_audience_join(audience);
	listen_for_ms(audience, SETTLE_MS);
}

/* Everybody has a picture: what follows is the usual. */
static void settle(struct bench_audience *audience, struct bench_source *source)
{
	source->page->keyframe_next = true;
	play_frames(audience, source, FRAMES);
}

/* Everything about one worker; the cost at SCALE_VIEWERS, for the row of two. */
static struct cost rows_of_one(int rounds, const long *viewers, int count)
{
	struct bench_node node;
	struct bench_source source;
	struct bench_audience audience;
	struct cost cost, scale = {0};

	bench_node_start(&node, 1);
	bench_audience_open(&audience, &node, "bench");
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	first_pictures(&audience, &source);
	grow_to(&audience, 1);
	settle(&audience, &source);
	rtmp_to_rtp(&audience, &source);
	long rss_kb = bench_node_rss_kb(&node);

	for (int i = 0; i < count; i++) {
		grow_to(&audience, (size_t)viewers[i]);
		settle(&audience, &source);
		cost = cost_of_packet(&audience, &source, &node, rounds);
		bench_report("rtp_packet", viewers[i], "us", cost.evp.value, cost.evp.limit);
		bench_report(
			"rtp_packet_mb", viewers[i], "us", cost.fastest.value, cost.fastest.limit);
		if (viewers[i] == SCALE_VIEWERS)
			scale = cost;
		bench_report("escrow_share", viewers[i], "%",
			escrow_share(&audience, &source, &node), 0);
		way_out(&audience, &source);
		bench_report("memory_a_viewer", viewers[i], "MB",
			(double)(bench_node_rss_kb(&node) - rss_kb) / 1024 /
				(double)(audience.count - 1),
			0);
	}
	bench_audience_close(&audience);
	bench_source_close(&source);
	bench_node_stop(&node);
	return scale;
}

/* The same stream and viewers over two workers: how many times the work of one a processor's time
 * does, were there a processor for each. */
static void row_of_two(int rounds, struct bench_pair one)
{
	struct bench_node node;
	struct bench_source source;
	struct bench_audience audience;
	struct bench_pair two;

	bench_node_start(&node, 2);
	bench_audience_open(&audience, &node, "bench");
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	grow_to(&audience, SCALE_VIEWERS);
	settle(&audience, &source);
	two = cost_of_packet(&audience, &source, &node, rounds).evp;
	bench_report("two_workers", SCALE_VIEWERS, "times",
		2 * (one.value / one.limit) / (two.value / two.limit), 2);
	bench_audience_close(&audience);
	bench_source_close(&source);
	bench_node_stop(&node);
}

int main(int argc, char **argv)
{
	long viewers[8] = {100, 300, 700};
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS, count = argc > 2 ? 0 : 3;

	for (int i = 2; i < argc && count < 8; i++)
		viewers[count++] = atol(argv[i]);
	for (int i = 0; i < count; i++)
		if (rounds < 1 || rounds > BENCH_ROUNDS_MAX || viewers[i] > VIEWERS_MAX ||
			viewers[i] <= (i ? viewers[i - 1] : 1)) {
			fprintf(stderr,
				"usage: forward_bench [rounds [viewers, rising, 2 .. %d]...]\n",
				VIEWERS_MAX);
			return 2;
		}
	struct bench_pair one = rows_of_one(rounds, viewers, count).evp;

	if (one.limit > 0)
		row_of_two(rounds, one);
	return 0;
}

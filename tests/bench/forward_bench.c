/* SPDX-License-Identifier: Apache-2.0
 *
 * What forwarding to WebRTC viewers costs, beside the limit of the same run: a real node with one
 * worker, one stream of 2 Mbit/s, viewers that drop their packets unread. Node and limit take turns,
 * so that both see the same machine.
 *
 * usage: forward_bench [rounds [viewers]…]
 *        forward_bench --at-most RATIO      a test: what a packet costs, beside the limit by EVP
 */
#include "tests/bench/bench_bare.h"
#include "tests/bench/bench_console.h"
#include "tests/bench/bench_limit.h"
#include "tests/bench/bench_source.h"
#include "tests/bench/bench_whep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	ROUNDS = 5,
	FEW_ROUNDS = 3, /* where SCALE_VIEWERS has ROUNDS */
	FRAMES = 50,	/* a round */
	JOINS = 30,	/* while nobody else watches; else … */
	FEW_JOINS = 12, /* … so many */
	JOIN_GAP_MS = 90,
	JOIN_MS = 5000, /* after that a picture counts as come: a figure that is seen */
	SPREAD_FRAMES = 75,
	FIRST_FRAMES = 200, /* to one viewer */
	GAP_US = 8000,	    /* between frames at the receivers */
	SETTLE_MS = 200,
	SILENCE_MS = 300, /* then all has come */
	ESCROW_ROUNDS = 3,
	LOOKS = 7,
	METRICS_MS = 1200,   /* figures are a second old at most */
	SCALE_VIEWERS = 300, /* of the rows of two workers, if measured with one */
	CHECK_VIEWERS = 100, /* in `./dev test` */
	START_MS = 100,	     /* until several processes of a limit are ready */
};

/* How the worker cuts a usual frame, as seen by the first round; the limit does the same. */
static unsigned frame_packets;
static double seen_packets; /* a frame and viewer, in the last round */
static size_t packet_size;

static struct bench_consoles *on_lookers; /* NULL: nobody looks */

static void listen_for_ms(struct bench_audience *audience, int64_t ms)
{
	for (int64_t end_ns = bench_now_ns() + ms * 1000000; bench_now_ns() < end_ns;) {
		bench_audience_turn(audience, 4);
		if (on_lookers)
			bench_consoles_drain(on_lookers);
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

	bench_limit_start(&limit, &(struct bench_limit_options){.audience = audience,
					  .frames = FRAMES,
					  .packets = frame_packets,
					  .size = packet_size,
					  .by_ipsec_mb = by_ipsec_mb});
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

/* ---- a frame's way in and out -------------------------------------------------------------- */

/* Median of first to last packet of the frames in the stamps, which it sorts. 0: no frame stood apart from the
 * next one, on a machine that is too busy. */
static double spread_ms(struct bench_samples *stamps, size_t least)
{
	struct bench_samples spans = {0};
	size_t first = 0;
	double median = 0;

	bench_percentile(stamps, 0); /* sorts */
	for (size_t i = 1; i <= stamps->count; i++) {
		if (i < stamps->count && stamps->values[i] - stamps->values[i - 1] < GAP_US)
			continue;
		if (i - first >= least)
			bench_add(&spans, (stamps->values[i - 1] - stamps->values[first]) / 1e3);
		first = i;
	}
	if (spans.count)
		median = bench_percentile(&spans, 0.5);
	bench_samples_fini(&spans);
	return median;
}

/* From the first byte of each picture that was written to its first packet at a viewer; left as they are where
 * each took as long as a frame lasts. */
static void delays_ms(const struct bench_samples *sorted, const int64_t *sent_ns, uint32_t frames,
	double *p50, double *p95)
{
	struct bench_samples delays = {0};
	size_t at = 0;

	for (uint32_t n = 0; n < frames; n++) {
		double sent_us = (double)sent_ns[n] / 1e3;

		while (at < sorted->count && sorted->values[at] < sent_us)
			at++;
		if (at < sorted->count && sorted->values[at] - sent_us < SOURCE_FRAME_MS * 1000)
			bench_add(&delays, (sorted->values[at] - sent_us) / 1e3);
	}
	if (delays.count) {
		*p50 = bench_percentile(&delays, 0.5);
		*p95 = bench_percentile(&delays, 0.95);
	}
	bench_samples_fini(&delays);
}

struct way {
	double out_ms, p50_ms, p95_ms;
};

static struct way way_of(
	struct bench_samples *stamps, size_t least, const int64_t *sent_ns, uint32_t frames)
{
	struct way way = {.out_ms = spread_ms(stamps, least)};

	if (sent_ns)
		delays_ms(stamps, sent_ns, frames, &way.p50_ms, &way.p95_ms);
	stamps->count = 0;
	return way;
}

static void await_limit(struct bench_audience *audience, struct bench_limit *limit)
{
	int64_t cpu_ns;

	while (!bench_limit_is_done(limit, &cpu_ns))
		listen_for_ms(audience, 8);
}

/* Of frames through the node, and of as many through a limit that reads them as the node does. */
static void measure_way(struct bench_audience *audience, struct bench_source *source,
	uint32_t frames, struct way *node, struct way *bare)
{
	struct bench_samples stamps = {0};
	struct bench_limit limit;
	size_t least = frame_packets * audience->count * 9 / 10;
	int64_t *sent_ns = bench_shared(frames * sizeof(*sent_ns));
	uint32_t first = source->page->sent;

	bench_audience_stamp(audience, &stamps);
	play_frames(audience, source, frames);
	*node = way_of(&stamps, least, &source->page->sent_ns[first], frames);
	bench_limit_start(&limit, &(struct bench_limit_options){.audience = audience,
					  .frames = frames,
					  .packets = frame_packets,
					  .size = packet_size,
					  .sent_ns = sent_ns});
	await_limit(audience, &limit);
	*bare = way_of(&stamps, least, sent_ns, frames);
	bench_audience_stamp(audience, NULL);
	bench_samples_fini(&stamps);
	munmap(sent_ns, frames * sizeof(*sent_ns));
}

static struct bench_pair rows_of_way(
	struct bench_audience *audience, struct bench_source *source, uint32_t frames)
{
	struct way node, bare;
	long viewers = (long)audience->count;

	measure_way(audience, source, frames, &node, &bare);
	if (node.p50_ms > 0 && bare.p50_ms > 0) {
		bench_report("rtmp_to_rtp_p50", viewers, "ms", node.p50_ms, bare.p50_ms);
		bench_report("rtmp_to_rtp_p95", viewers, "ms", node.p95_ms, bare.p95_ms);
	}
	if (viewers > 1 && node.out_ms > 0 && bare.out_ms > 0)
		bench_report("frame_out", viewers, "ms", node.out_ms, bare.out_ms);
	return (struct bench_pair){node.out_ms, bare.out_ms};
}

/* ---- one viewer more ----------------------------------------------------------------------- */

/* Joins `to` and leaves again, while `others` are heard, too. */
static void join_once(struct bench_audience *to, struct bench_audience *others,
	struct bench_samples *up, struct bench_samples *whole)
{
	int64_t start_ns = bench_now_ns(), up_ns = 0;
	struct bench_viewer *v = bench_audience_begin(to);

	while (v->phase != VIEWER_UP ||
		(!v->picture && bench_now_ns() - start_ns < INT64_C(1000000) * JOIN_MS)) {
		bench_audience_turn(to, 1);
		bench_audience_turn(others, 0);
		if (!up_ns && v->phase == VIEWER_UP)
			up_ns = bench_now_ns();
	}
	bench_add(up, (double)(up_ns - start_ns) / 1e6);
	bench_add(whole, (double)(bench_now_ns() - start_ns) / 1e6);
	bench_audience_leave(to);
	listen_for_ms(others, JOIN_GAP_MS);
}

/* A keyframe each two seconds, and joins at any time between; to the node and to its limit in turns. */
static void first_pictures(
	struct bench_audience *audience, struct bench_source *source, struct bench_audience *bare)
{
	struct bench_samples up[2] = {{0}, {0}}, whole[2] = {{0}, {0}};
	long viewers = (long)audience->count;

	source->page->keyframe_next = true;
	source->page->keyframe_every = FRAMES;
	bench_source_want(source, SOURCE_FRAMES_MAX / 8);
	for (int i = 0; i < (viewers ? FEW_JOINS : JOINS); i++) {
		join_once(audience, bare, &up[0], &whole[0]);
		listen_for_ms(audience, JOIN_GAP_MS);
		join_once(bare, audience, &up[1], &whole[1]);
	}
	source->page->wanted = source->page->sent;
	source->page->keyframe_every = 0;
	bench_report("post_to_connected", viewers, "ms", bench_percentile(&up[0], 0.5),
		bench_percentile(&up[1], 0.5));
	bench_report("post_to_keyframe", viewers, "ms", bench_percentile(&whole[0], 0.5),
		bench_percentile(&whole[1], 0.5));
	for (int i = 0; i < 2; i++) {
		bench_samples_fini(&whole[i]);
		bench_samples_fini(&up[i]);
	}
}

/* ---- people who look on ----------------------------------------------------------------------- */

struct look {
	double packet_us, out_ms;
};

static struct look look_round(struct bench_audience *audience, struct bench_source *source,
	const struct bench_node *node, struct bench_samples *stamps)
{
	struct look look = {.packet_us = node_round(audience, source, node)};

	look.out_ms = spread_ms(stamps, frame_packets * audience->count * 9 / 10);
	stamps->count = 0;
	return look;
}

/* With consoles and pages that are open, beside without, in turns. */
static void rows_of_consoles(struct bench_audience *audience, struct bench_source *source,
	const struct bench_node *node, int rounds)
{
	struct bench_pair packets[BENCH_ROUNDS_MAX], outs[BENCH_ROUNDS_MAX];
	struct bench_samples stamps = {0};
	struct bench_pair packet, out;

	bench_audience_stamp(audience, &stamps);
	for (int i = 0; i < rounds; i++) {
		struct bench_consoles consoles;
		struct look without = look_round(audience, source, node, &stamps), with;

		bench_consoles_open(&consoles, node);
		on_lookers = &consoles;
		with = look_round(audience, source, node, &stamps);
		on_lookers = NULL;
		bench_consoles_close(&consoles);
		packets[i] = (struct bench_pair){with.packet_us, without.packet_us};
		outs[i] = (struct bench_pair){with.out_ms, without.out_ms};
		fprintf(stderr,
			"  looked at: %.3f us a packet, else %.3f (%.3f); out %.2f ms, %.2f\n",
			with.packet_us, without.packet_us, with.packet_us / without.packet_us,
			with.out_ms, without.out_ms);
	}
	bench_audience_stamp(audience, NULL);
	bench_samples_fini(&stamps);
	packet = bench_median(packets, (size_t)rounds);
	out = bench_median(outs, (size_t)rounds);
	bench_report("looked_at", (long)audience->count, "us", packet.value, packet.limit);
	bench_report("looked_at_out", (long)audience->count, "ms", out.value, out.limit);
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

/* What two workers are compared with: one, at SCALE_VIEWERS. */
struct scale {
	struct bench_pair cost, out;
};

/* Everything about one worker. */
static struct scale rows_of_one(int rounds, const long *viewers, int count)
{
	struct bench_node node;
	struct bench_whep whep;
	struct bench_source source;
	struct bench_audience audience, bare;
	struct cost cost;
	struct bench_pair out;
	struct scale scale = {0};

	bench_node_start(&node, 1);
	bench_whep_start(&whep, SOURCE_KEYFRAME_SIZE);
	bench_audience_open(&audience, &node, "bench");
	bench_audience_open(&bare, &whep.node, "bench");
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	const double bare_mb = bare_memory_mb(&audience.certificate, SCALE_VIEWERS);

	first_pictures(&audience, &source, &bare);
	grow_to(&audience, 1);
	settle(&audience, &source);
	node_round(&audience, &source, &node);
	rows_of_way(&audience, &source, FIRST_FRAMES);
	long rss_kb = bench_node_rss_kb(&node);

	for (int i = 0; i < count; i++) {
		grow_to(&audience, (size_t)viewers[i]);
		settle(&audience, &source);
		cost = cost_of_packet(&audience, &source, &node,
			rounds			      ? rounds
			: viewers[i] == SCALE_VIEWERS ? ROUNDS
						      : FEW_ROUNDS);
		bench_report("rtp_packet", viewers[i], "us", cost.evp.value, cost.evp.limit);
		bench_report(
			"rtp_packet_mb", viewers[i], "us", cost.fastest.value, cost.fastest.limit);
		if (viewers[i] == SCALE_VIEWERS || count == 1)
			bench_report("escrow_share", viewers[i], "%",
				escrow_share(&audience, &source, &node), 0);
		out = rows_of_way(&audience, &source, SPREAD_FRAMES);
		bench_report("memory_a_viewer", viewers[i], "MB",
			(double)(bench_node_rss_kb(&node) - rss_kb) / 1024 /
				(double)(audience.count - 1),
			bare_mb);
		if (viewers[i] == SCALE_VIEWERS) {
			scale = (struct scale){cost.evp, out};
			rows_of_consoles(&audience, &source, &node, rounds ? rounds : LOOKS);
		}
		first_pictures(&audience, &source, &bare);
	}
	bench_audience_close(&audience);
	bench_audience_close(&bare);
	bench_source_close(&source);
	bench_whep_stop(&whep);
	bench_node_stop(&node);
	return scale;
}

/* A frame's way out of two limits that begin together, half of the viewers each. */
static double bare_out_of_two(struct bench_audience *audience)
{
	struct bench_samples stamps = {0};
	struct bench_limit limits[2];
	const size_t half = audience->count / 2;
	int64_t start_ns = bench_now_ns() + START_MS * INT64_C(1000000);
	double out_ms;

	bench_audience_stamp(audience, &stamps);
	for (size_t i = 0; i < 2; i++)
		bench_limit_start(&limits[i], &(struct bench_limit_options){.audience = audience,
						      .first = i * half,
						      .count = i ? audience->count - half : half,
						      .frames = SPREAD_FRAMES,
						      .packets = frame_packets,
						      .size = packet_size,
						      .start_ns = start_ns});
	for (int i = 0; i < 2; i++)
		await_limit(audience, &limits[i]);
	out_ms = way_of(&stamps, frame_packets * audience->count * 9 / 10, NULL, 0).out_ms;
	bench_audience_stamp(audience, NULL);
	bench_samples_fini(&stamps);
	return out_ms;
}

/* The same stream and viewers over two workers: how many times the work of one a processor's time
 * does, were there a processor for each; and how many times as fast all viewers have a frame. */
static void rows_of_two(int rounds, const struct scale *one)
{
	struct bench_node node;
	struct bench_source source;
	struct bench_audience audience;
	struct bench_pair two;
	struct way way, unused;

	bench_node_start(&node, 2);
	bench_audience_open(&audience, &node, "bench");
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	grow_to(&audience, SCALE_VIEWERS);
	settle(&audience, &source);
	two = cost_of_packet(&audience, &source, &node, rounds ? rounds : FEW_ROUNDS).evp;
	bench_report("two_workers", SCALE_VIEWERS, "times",
		2 * (one->cost.value / one->cost.limit) / (two.value / two.limit), 2);
	measure_way(&audience, &source, SPREAD_FRAMES, &way, &unused);
	const double bare_ms = bare_out_of_two(&audience);

	if (way.out_ms > 0 && bare_ms > 0 && one->out.value > 0 && one->out.limit > 0)
		bench_report("two_workers_out", SCALE_VIEWERS, "times", one->out.value / way.out_ms,
			one->out.limit / bare_ms);
	bench_audience_close(&audience);
	bench_source_close(&source);
	bench_node_stop(&node);
}

/* Fails where a packet costs more than `most` times its limit. */
static int check(double most)
{
	struct bench_node node;
	struct bench_source source;
	struct bench_audience audience;
	struct bench_pair pairs[FEW_ROUNDS], chosen;

	if (most <= 0)
		bench_die("usage: forward_bench --at-most RATIO");
	bench_node_start(&node, 1);
	bench_audience_open(&audience, &node, "bench");
	bench_source_open(&source, &node, "bench", SOURCE_KEYFRAME_SIZE);
	grow_to(&audience, CHECK_VIEWERS);
	settle(&audience, &source);
	node_round(&audience, &source, &node);
	for (int i = 0; i < FEW_ROUNDS; i++) {
		pairs[i].value = node_round(&audience, &source, &node);
		pairs[i].limit = limit_round(&audience, false);
	}
	chosen = bench_median(pairs, FEW_ROUNDS);
	bench_report("rtp_packet", CHECK_VIEWERS, "us", chosen.value, chosen.limit);
	bench_audience_close(&audience);
	bench_source_close(&source);
	bench_node_stop(&node);
	return chosen.value > most * chosen.limit;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--at-most"))
		return check(atof(argv[2]));

	long viewers[8] = {100, 300, 700};
	int rounds = argc > 1 ? atoi(argv[1]) : 0, count = argc > 2 ? 0 : 3;

	for (int i = 2; i < argc && count < 8; i++)
		viewers[count++] = atol(argv[i]);
	for (int i = 0; i < count; i++)
		if (rounds < (argc > 1) || rounds > BENCH_ROUNDS_MAX || viewers[i] > VIEWERS_MAX ||
			viewers[i] <= (i ? viewers[i - 1] : 1)) {
			fprintf(stderr,
				"usage: forward_bench [rounds [viewers, rising, 2 .. %d]...]\n",
				VIEWERS_MAX);
			return 2;
		}
	struct scale one = rows_of_one(rounds, viewers, count);

	if (one.cost.limit > 0)
		rows_of_two(rounds, &one);
	return 0;
}

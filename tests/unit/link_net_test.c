/* SPDX-License-Identifier: Apache-2.0
 *
 * What a link does for its packets, over a modelled network: the figures of docs/decisions/021.
 */
#include "tests/unit/link_net.h"

enum { WARM_US = 1000000, SECOND = 1000000 };

static const struct link_options options = {
	.session = 7, .redundancy_permille = 30, .age_max_us = 400000};

static struct net *begin(uint64_t seed, enum link_mode mode, unsigned paths)
{
	struct net *n = net_create(seed, &options, paths);

	n->mode = mode;
	net_run_until(n, n->now_us + WARM_US);
	for (unsigned i = 0; i < paths; i++)
		CHECK_EQ(n->ends[0].engine->paths[i].state, LINK_PATH_GOOD);
	return n;
}

static void say(const char *what, const struct net_result *r)
{
	printf("%s: %llu packets, %llu lost, delay p50 %.1f p99 %.1f max %.1f ms, gap %.1f ms, "
	       "extra %.2f %%\n",
		what, (unsigned long long)r->sent, (unsigned long long)r->lost,
		(double)r->delay_p50_us / 1000, (double)r->delay_p99_us / 1000,
		(double)r->delay_max_us / 1000, (double)r->gap_max_us / 1000,
		(double)r->extra_ppm / 10000);
}

static void set_down(struct net *n, unsigned path, bool down)
{
	n->ways[0][path].down = n->ways[1][path].down = down;
}

TEST(a_clean_path_adds_nothing)
{
	struct net *n = begin(1, LINK_SMART, 1);

	net_stream(n, 5 * SECOND, 4000, 4);
	net_run_until(n, n->now_us + SECOND);
	struct net_result r = net_result(n, 1);

	say("one clean path", &r);
	CHECK_EQ(r.lost, 0);
	CHECK_EQ(r.doubled, 0);
	CHECK_LE(r.delay_max_us, 10500);
	CHECK_LE(r.extra_ppm, 10000);
	CHECK_EQ(n->ends[0].engine->send.resent, 0);
	CHECK_LE(n->ends[0].engine->paths[0].loss_ppm, 0);
	CHECK_GE(n->ends[0].engine->paths[0].rtt_us, 20000);
	CHECK_LE(n->ends[0].engine->paths[0].rtt_us, 22500);
	net_destroy(&n);
}

TEST(race_loses_nothing_when_a_path_is_cut)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct net *n = begin(seed, LINK_RACE, 2);

		n->ways[0][1].delay_us = n->ways[1][1].delay_us = 25000;
		net_stream(n, 3 * SECOND, 4000, 4);
		set_down(n, seed & 1, true);
		net_stream(n, 3 * SECOND, 4000, 4);
		set_down(n, seed & 1, false);
		net_stream(n, 3 * SECOND, 4000, 4);
		net_run_until(n, n->now_us + SECOND);
		struct net_result r = net_result(n, 1);

		if (seed <= 2)
			say("race, one of two paths cut for 3 s", &r);
		CHECK_EQ(r.lost, 0);
		CHECK_EQ(r.doubled, 0);
		CHECK_LE(r.gap_max_us, 25000);
		net_destroy(&n);
	}
}

TEST(backup_goes_on_within_100_ms_of_a_cut)
{
	int64_t worst_us = 0, slowest_us = 0;

	for (uint64_t seed = 1; seed <= 24; seed++) {
		struct net *n = begin(seed, LINK_BACKUP, 2);
		int64_t cut_us;

		/* frames of a stream of 2 Mbit/s: 9 packets each 40 ms; or denser */
		int64_t every_us = seed % 3 == 0 ? 40000 : seed % 3 == 1 ? 8000 : 2000;
		unsigned burst = seed % 3 == 0 ? 9 : 2;

		net_stream(n, 2 * SECOND + (int64_t)seed * 1700, every_us, burst);
		uint8_t cut = n->ends[0].engine->send.best;
		uint64_t from = n->position;

		CHECK_EQ(n->ends[0].engine->send.switches, 0);
		set_down(n, cut, true);
		cut_us = n->now_us;
		while (n->ends[0].engine->send.best == cut) {
			net_stream(n, every_us, every_us, burst);
			CHECK_LE(n->now_us - cut_us, SECOND);
		}
		if (every_us == 2000 && n->now_us - cut_us > slowest_us)
			slowest_us = n->now_us - cut_us;
		net_stream(n, 2 * SECOND, every_us, burst);
		net_run_until(n, n->now_us + SECOND);
		struct net_result r = net_result(n, from);

		CHECK_EQ(r.lost, 0);
		CHECK_EQ(r.doubled, 0);
		CHECK_LE(r.delay_max_us, 100000);
		worst_us = r.delay_max_us > worst_us ? r.delay_max_us : worst_us;
		net_destroy(&n);
	}
	CHECK_LE(slowest_us, 70000); /* a round trip of 20 ms, and 50 */
	printf("backup, cut: left after at most %.1f ms; a packet took at most %.1f ms (10 by "
	       "itself)\n",
		(double)slowest_us / 1000, (double)worst_us / 1000);
}

TEST(smart_repairs_two_percent_for_less_than_five)
{
	static const struct {
		int64_t delay_us;
		uint32_t burst;
		unsigned paths;
	} rows[] = {
		{10000, 1, 2},
		{20000, 1, 2},
		{20000, 3, 2},
		{20000, 1, 1},
		{50000, 1, 2},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net *n = begin(i + 1, LINK_SMART, rows[i].paths);

		for (unsigned path = 0; path < rows[i].paths; path++)
			for (int side = 0; side < 2; side++) {
				n->ways[side][path].delay_us = rows[i].delay_us;
				n->ways[side][path].loss_ppm = 20000;
				n->ways[side][path].burst = rows[i].burst;
			}
		net_run_until(n, n->now_us + SECOND);
		net_stream(n, 60 * SECOND, 4000, 4);
		net_run_until(n, n->now_us + SECOND);
		struct net_result r = net_result(n, 1);
		char what[80];

		snprintf(what, sizeof(what),
			"smart, 2 %% loss in runs of %u, round trip %d ms, %u path(s)",
			rows[i].burst, (int)rows[i].delay_us / 500, rows[i].paths);
		say(what, &r);
		CHECK_EQ(r.doubled, 0);
		CHECK_LE(r.lost * 10000, r.sent);
		CHECK_LE(r.extra_ppm, 50000);
		net_destroy(&n);
	}
}

/* 200 streams of 2 Mbit/s: in a round trip more leave than are kept at first. */
TEST(what_many_streams_lose_is_still_there_to_be_sent_again)
{
	struct net *n = begin(7, LINK_SMART, 1);

	n->ways[0][0].delay_us = n->ways[1][0].delay_us = 75000;
	net_run_until(n, n->now_us + SECOND);
	CHECK(!n->ends[0].engine->send.history); /* nothing has left */
	net_stream(n, SECOND, 4000, 180);
	n->ways[0][0].loss_ppm = 5000;
	net_stream(n, 2 * SECOND, 4000, 180);
	n->ways[0][0].loss_ppm = 0;
	net_run_until(n, n->now_us + SECOND);
	struct net_result r = net_result(n, 1);
	const struct link_send *send = &n->ends[0].engine->send;

	say("45,000 packets a second, 0.5 % loss, round trip 150 ms, 1 path", &r);
	CHECK_EQ(r.lost, 0);
	CHECK_EQ(r.doubled, 0);
	CHECK(n->ways[0][0].lost > 300);
	CHECK_EQ(send->not_kept, 0);
	CHECK_EQ(n->ends[0].engine->counters.not_there, 0);
	CHECK_LE(send->history_size, LINK_HISTORY_MAX);
	CHECK_EQ(send->oldest, send->next);
	net_destroy(&n);
}

static uint64_t offered(const struct net *n)
{
	return n->ways[0][0].offered + n->ways[0][1].offered;
}

TEST(a_link_that_rests_sends_little_and_notices_all_the_same)
{
	struct net *n = begin(11, LINK_SMART, 2);
	const struct link_path *paths = n->ends[0].engine->paths;

	net_stream(n, SECOND, 4000, 4);
	net_run_until(n, n->now_us + 6 * SECOND);
	uint64_t before = offered(n);
	int64_t cut_us;

	net_run_until(n, n->now_us + 20 * SECOND);
	/* a probe, an echo and half a report a second and path */
	CHECK_LE(offered(n) - before, 20 * 2 * 3);
	CHECK_GE(offered(n) - before, 20 * 2 * 2);
	CHECK_EQ(paths[0].state, LINK_PATH_GOOD);
	CHECK_EQ(paths[1].state, LINK_PATH_GOOD);
	/* it becomes slower: known after two or three probes */
	n->ways[0][1].delay_us = 60000;
	net_run_until(n, n->now_us + 4 * SECOND);
	CHECK_GE(paths[1].rtt_us, 60000);
	n->ways[0][1].delay_us = 10000;
	net_run_until(n, n->now_us + 6 * SECOND);
	CHECK_LE(paths[1].rtt_us, 25000);
	set_down(n, 1, true);
	cut_us = n->now_us;
	while (paths[1].state == LINK_PATH_GOOD)
		net_run_until(n, n->now_us + 1000);
	CHECK_LE(n->now_us - cut_us, SECOND + 150000);
	while (paths[1].state != LINK_PATH_DEAD)
		net_run_until(n, n->now_us + 1000);
	CHECK_LE(n->now_us - cut_us, 2 * SECOND + 150000);
	net_destroy(&n);
}

/* The cut is found out when something begins to flow, as soon as if it had flowed all the time. */
TEST(what_begins_to_flow_on_a_link_that_rests_probes_it_at_once)
{
	int64_t worst_us = 0;

	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct net *n = begin(seed, LINK_BACKUP, 2);

		net_run_until(n, n->now_us + 6 * SECOND + (int64_t)seed * 77000);
		uint8_t cut = n->ends[0].engine->send.best;
		int64_t cut_us = n->now_us;
		uint64_t from = n->position;

		set_down(n, cut, true);
		while (n->ends[0].engine->send.best == cut) {
			net_stream(n, 4000, 4000, 4);
			CHECK_LE(n->now_us - cut_us, SECOND);
		}
		if (n->now_us - cut_us > worst_us)
			worst_us = n->now_us - cut_us;
		net_stream(n, SECOND, 4000, 4);
		net_run_until(n, n->now_us + SECOND);
		struct net_result r = net_result(n, from);

		CHECK_EQ(r.lost, 0);
		CHECK_EQ(r.doubled, 0);
		net_destroy(&n);
	}
	CHECK_LE(worst_us, 120000); /* two probes, each waited for 25 ms more than a round trip */
	printf("backup, cut while it rests: left after at most %.1f ms of media\n",
		(double)worst_us / 1000);
}

TEST(nobody_asks_for_what_is_too_old)
{
	struct net *n = begin(3, LINK_SMART, 1);

	net_stream(n, SECOND, 4000, 4);
	/* what is asked for does not arrive: the way back is cut for reports too late to help */
	n->ways[1][0].down = true;
	n->ways[0][0].loss_ppm = 100000;
	net_stream(n, SECOND, 4000, 4);
	n->ways[0][0].loss_ppm = 0;
	n->ways[1][0].down = false;
	net_stream(n, SECOND, 4000, 4);
	net_run_until(n, n->now_us + SECOND);
	struct net_result r = net_result(n, 1);
	const struct link_receive *receive = &n->ends[1].engine->receive;

	say("way back cut for 1 s under 10 % loss", &r);
	CHECK_EQ(r.doubled, 0);
	CHECK_EQ(receive->missing_count, 0);
	CHECK_GE(receive->given_up, r.lost); /* some came all the same */
	CHECK(r.lost > 0);
	/* noticed within one gap of the stream, asked for no longer than the bound, then on its way */
	CHECK_LE(r.delay_max_us, 4000 + 400000 + 3 * 10500);
	CHECK_EQ(
		n->ends[0].engine->send.oldest, n->ends[0].engine->send.next); /* nothing is kept */
	net_destroy(&n);
}

/* Two streams share a link whose round trip is 100 ms: what is too old for one is sent again for the other. */
TEST(each_stream_is_mended_for_as_long_as_it_can_wait)
{
	enum { AGE_US = 60000, ONE_WAY_US = 50000, LATE_US = ONE_WAY_US + AGE_US + 2 * ONE_WAY_US };
	struct net *n = begin(9, LINK_SMART, 1);
	int64_t slowest_us[2] = {0, 0};
	uint64_t lost[2] = {0, 0};

	for (int side = 0; side < 2; side++)
		n->ways[side][0].delay_us = ONE_WAY_US;
	n->ways[0][0].loss_ppm = 100000;
	n->age_us[1] = AGE_US;
	net_stream(n, 20 * SECOND, 4000, 4);
	net_run_until(n, n->now_us + SECOND);
	for (uint64_t i = 1; i < n->position; i++) {
		int64_t took_us = n->sent[i].came_us - n->sent[i].at_us;

		lost[i % 2] += !n->sent[i].times;
		if (n->sent[i].times && took_us > slowest_us[i % 2])
			slowest_us[i % 2] = took_us;
	}
	printf("10 %% lost, round trip 100 ms: of 400 ms %llu lost, slowest %.0f ms; of 60 ms %llu "
	       "lost, slowest %.0f ms\n",
		(unsigned long long)lost[0], (double)slowest_us[0] / 1000,
		(unsigned long long)lost[1], (double)slowest_us[1] / 1000);
	CHECK_LE(slowest_us[1], LATE_US + 5000);
	CHECK(slowest_us[0] > LATE_US + 5000);
	CHECK(lost[1] > 10 && lost[0] * 3 < lost[1]);
	CHECK(n->ends[0].engine->counters.too_late > 0);
	net_destroy(&n);
}

/* Rows are made for the stream that cannot wait, where the link's own bound would not have them. */
TEST(rows_are_for_the_stream_that_can_wait_least)
{
	const struct link_options ample = {
		.session = 7, .redundancy_permille = 100, .age_max_us = 400000};

	for (int tight = 0; tight < 2; tight++) {
		struct net *n = net_create(10, &ample, 1);

		for (int side = 0; side < 2; side++)
			n->ways[side][0].delay_us = 50000;
		n->ways[0][0].loss_ppm = 20000;
		n->age_us[1] = tight ? 150000 : 0;
		net_stream(n, 10 * SECOND, 4000, 4);
		CHECK_EQ(n->ends[0].engine->fec_out.sent > 0, tight);
		n->age_us[1] = 0; /* it has gone */
		net_stream(n, 2 * SECOND, 4000, 4);
		CHECK_EQ(n->ends[0].engine->fec_out.wanted.count, 0);
		net_destroy(&n);
	}
}

TEST(rows_restore_what_a_retransmission_would_bring_too_late)
{
	static const struct {
		uint32_t loss_ppm, burst;
		uint32_t residual_ppm;
	} rows[] = {
		{5000,  1, 100 },
		{20000, 1, 1000},
	};

	const struct link_options late = {
		.session = 7, .redundancy_permille = 100, .age_max_us = 300000};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net *n = net_create(i + 1, &late, 1);

		n->ways[0][0].delay_us = n->ways[1][0].delay_us = 150000;
		n->ways[0][0].loss_ppm = rows[i].loss_ppm;
		n->ways[0][0].burst = rows[i].burst;
		net_run_until(n, n->now_us + 3 * SECOND);
		net_stream(n, 10 * SECOND, 4000, 4); /* finds out what is lost */
		uint64_t from = n->position;

		net_stream(n, 30 * SECOND, 4000, 4);
		net_run_until(n, n->now_us + SECOND);
		struct net_result r = net_result(n, from);

		say("round trip 300 ms, bound 300 ms, rows", &r);
		CHECK(n->ends[1].engine->fec_in.restored > 100);
		CHECK_LE(r.delay_p99_us, 250000);
		CHECK_EQ(r.doubled, 0);
		CHECK_LE(r.lost * 1000000, r.sent * rows[i].residual_ppm);
		net_destroy(&n);
	}
}

TEST(a_path_that_fills_is_told_by_its_delay)
{
	struct net *n = begin(4, LINK_SMART, 1);

	n->ways[0][0].rate_bps = 8000000;
	n->ways[0][0].queue_us = 300000;
	net_stream(n, 3 * SECOND, 4000, 3); /* 6.4 Mbit/s */
	CHECK(!n->ends[0].engine->paths[0].full);
	net_stream(n, 2 * SECOND, 4000, 4); /* 8.6 */
	const struct link_path *p = &n->ends[0].engine->paths[0];

	CHECK(p->queue_us > 20000);
	CHECK_LE(p->rate_bps, 9000000);
	CHECK_GE(p->rate_bps, 5000000);
	net_run_until(n, n->now_us + SECOND);
	net_destroy(&n);
}

/* 8.6 Mbit/s in mode race, and the second path carries 3: it gets what it can take, and no more. */
TEST(copies_wait_for_the_rate_of_their_path)
{
	struct net *n = begin(5, LINK_RACE, 2);
	struct net_way *narrow = &n->ways[0][1];

	narrow->rate_bps = 3000000;
	narrow->queue_us = 300000;
	net_stream(n, 5 * SECOND, 4000, 4);
	CHECK_EQ(n->ends[0].engine->send.best, 0);
	uint64_t from = n->position, offered = narrow->offered, lost = narrow->lost;
	uint64_t bytes = narrow->bytes;

	net_stream(n, 10 * SECOND, 4000, 4);
	struct net_result r = net_result(n, from);
	const struct link_send *s = &n->ends[0].engine->send;

	printf("race, the second path carries 3 of 8.6 Mbit/s: it was given %.1f, of which %.1f %% "
	       "were lost, and queues %.0f ms; %llu copies left out\n",
		(double)(narrow->bytes - bytes) * 8 / 10e6,
		100.0 * (double)(narrow->lost - lost) / (double)(narrow->offered - offered),
		(double)n->ends[0].engine->paths[1].queue_us / 1000,
		(unsigned long long)s->copies_left_out);
	CHECK_LE((narrow->lost - lost) * 50, narrow->offered - offered);
	CHECK_GE((narrow->bytes - bytes) * 8, 10 * UINT64_C(1500000));
	CHECK(s->copies_left_out > 0);
	CHECK_LE(r.delay_p99_us, 11000);
	net_run_until(n, n->now_us + SECOND);
	CHECK_EQ(net_result(n, from).lost, 0);
	CHECK_EQ(s->copies_count, 0);
	net_destroy(&n);
}

/* The path carries the media, and not the rows as well: those are left out, and nothing waits for them. */
TEST(rows_wait_for_the_rate_of_their_path)
{
	const struct link_options late = {
		.session = 7, .redundancy_permille = 200, .age_max_us = 300000};
	struct net *n = net_create(6, &late, 1);
	struct net_way *way = &n->ways[0][0];

	way->delay_us = n->ways[1][0].delay_us = 150000;
	way->loss_ppm = 20000;
	way->rate_bps = 9300000;
	way->queue_us = 400000;
	net_run_until(n, n->now_us + 3 * SECOND);
	net_stream(n, 10 * SECOND, 4000, 4);
	uint64_t from = n->position, bytes = way->bytes;
	struct link_fec_encoder *e = &n->ends[0].engine->fec_out;

	net_stream(n, 20 * SECOND, 4000, 4);
	net_run_until(n, n->now_us + SECOND);
	struct net_result r = net_result(n, from);

	printf("a path of 9.3 Mbit/s is given %.1f: ", (double)(way->bytes - bytes) * 8 / 20e6);
	say("with the rows that it has room for", &r);
	CHECK(e->left_out > 0 && e->sent > 0);
	CHECK_LE(r.delay_p50_us, 300000); /* 549 ms if rows leave at once, and 4.5 % lost */
	CHECK_LE(r.lost * 1000, r.sent);
	net_destroy(&n);
}

/* 7 s of 4 Mbit/s are cached and are to leave, beside a stream of 2 Mbit/s that plays. */
enum { CACHED = 3200, FRAME_US = 40000, FRAME_PACKETS = 9, AGAIN_US = 5000, PLAYED_MAX = 4096 };

struct beside {
	uint64_t lost;
	int64_t live_max_us;   /* delay of what plays */
	int64_t cached_all_us; /* until all that is cached has come */
};

static void send_what_has_room(struct net *n, bool paced, unsigned *left)
{
	struct net_end *end = &n->ends[0];
	uint32_t room = paced ? link_engine_room(end->engine, n->now_us) : *left;

	for (; room && *left; room--, --*left)
		net_send(n, false);
	link_engine_flush(end->engine);
	int64_t at_us = link_engine_deadline_us(end->engine, n->now_us);

	end->deadline_us = at_us < end->deadline_us ? at_us : end->deadline_us;
}

static struct beside play_beside_cached(struct net *n, bool paced)
{
	static uint64_t played[PLAYED_MAX];
	struct beside r = {0};
	unsigned count = 0, left = CACHED;
	int64_t began_us = n->now_us;
	uint64_t from = n->position;

	for (int64_t at_us = 0; at_us < 8 * SECOND; at_us += AGAIN_US) {
		for (int i = 0; at_us % FRAME_US == 0 && i < FRAME_PACKETS; i++) {
			MUST(count < PLAYED_MAX);
			played[count++] = n->position;
			net_send(n, false);
		}
		send_what_has_room(n, paced, &left);
		net_run_until(n, n->now_us + AGAIN_US);
	}
	net_run_until(n, n->now_us + SECOND);
	CHECK_EQ(left, 0);
	for (unsigned i = 0, next = 0; from + i < n->position; i++) {
		const struct net_sent *sent = &n->sent[from + i];
		bool plays = next < count && played[next] == from + i;
		int64_t *most_us = plays ? &r.live_max_us : &r.cached_all_us;
		int64_t took_us = sent->came_us - (plays ? sent->at_us : began_us);

		next += plays;
		r.lost += !sent->times;
		if (sent->times && took_us > *most_us)
			*most_us = took_us;
	}
	return r;
}

TEST(what_is_cached_leaves_at_the_pace_of_the_path)
{
	static const struct {
		uint64_t rate_bps;
		int64_t queue_us;
		uint32_t loss_ppm;
		bool paced;
		int64_t live_max_us, cached_all_us;
	} rows[] = {
		{10000000,   100000, 0,     false, 0,	0	 },
		{10000000,   100000, 0,     true,  150000, 6 * SECOND},
		{10000000,   30000,  0,     true,  400000, 8 * SECOND},
		{20000000,   100000, 0,     true,  150000, 4 * SECOND},
		{1000000000, 100000, 0,	true,  20000,  500000	   },
		{1000000000, 100000, 10000, true,  100000, 1 * SECOND},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net *n = begin(i + 30, LINK_SMART, 1);

		n->ways[0][0].rate_bps = rows[i].rate_bps;
		n->ways[0][0].queue_us = rows[i].queue_us;
		n->ways[0][0].loss_ppm = rows[i].loss_ppm;
		net_stream(n, 2 * SECOND, FRAME_US, FRAME_PACKETS);
		struct beside r = play_beside_cached(n, rows[i].paced);

		printf("%s beside what plays, %llu Mbit/s, queue %d ms, %.1f %% lost: %llu lost "
		       "for good, "
		       "what plays at most %.1f ms late, all that is cached after %.1f ms\n",
			rows[i].paced ? "paced" : "at once",
			(unsigned long long)rows[i].rate_bps / 1000000,
			(int)rows[i].queue_us / 1000, rows[i].loss_ppm / 10000.0,
			(unsigned long long)r.lost, (double)r.live_max_us / 1000,
			(double)r.cached_all_us / 1000);
		if (rows[i].paced) {
			CHECK_EQ(r.lost, 0);
			CHECK_LE(r.live_max_us, rows[i].live_max_us);
			CHECK_LE(r.cached_all_us, rows[i].cached_all_us);
		} else {
			CHECK(r.lost > CACHED / 4); /* why it is paced */
		}
		net_destroy(&n);
	}
}

TEST(keys_change_and_nothing_is_lost)
{
	struct net *n = begin(5, LINK_SMART, 2);

	for (int i = 0; i < 6; i++) {
		struct link_key key;
		uint8_t bit = n->ends[0].hot.tx_bit ^ 1;

		net_key(&n->rng, &key);
		CHECK_OK(link_engine_set_rx_key(n->ends[1].engine, bit, &key));
		net_stream(n, SECOND, 4000, 2);
		CHECK_OK(link_engine_set_tx_key(n->ends[0].engine, &key));
		net_stream(n, (i & 1 ? 1 : 6) * SECOND, 4000, 2);
	}
	net_run_until(n, n->now_us + SECOND);
	struct net_result r = net_result(n, 1);

	CHECK_EQ(r.lost, 0);
	CHECK_EQ(n->ends[1].engine->counters.unauthentic, 0);
	net_destroy(&n);
}

/* The process is gone with all but its slot. */
static void succeed(struct net *n, unsigned side, unsigned paths)
{
	struct net_end *end = &n->ends[side];

	link_engine_fini(end->engine);
	memset(end->engine, 0, sizeof(*end->engine));
	net_begin_end(n, side, &options);
	for (unsigned path = 0; path < paths; path++)
		link_engine_add_path(end->engine, path, link_route(path, path), n->now_us);
}

/* The peer may not have heard that its new key is there: until it uses it the old one is taken. And
 * a successor knows which of the two is the new one. */
TEST(a_key_is_taken_until_the_next_one_is_used)
{
	struct net *n = begin(8, LINK_SMART, 1);

	for (int i = 0; i < 4; i++) {
		struct link_key key;
		uint8_t bit = n->ends[0].hot.tx_bit ^ 1;

		net_key(&n->rng, &key);
		CHECK_OK(link_engine_set_rx_key(n->ends[1].engine, bit, &key));
		net_stream(n, 2 * LINK_OLD_KEY_US, 40000, 2);
		CHECK_EQ(n->ends[1].hot.rx_known, 3);
		succeed(n, 1, 1);
		net_stream(n, SECOND, 4000, 2);
		CHECK_OK(link_engine_set_tx_key(n->ends[0].engine, &key));
		net_stream(n, SECOND, 4000, 2);
		succeed(n, 1, 1);
		net_stream(n, 2 * LINK_OLD_KEY_US, 40000, 2);
		CHECK_EQ(n->ends[1].hot.rx_known, 1 << bit);
	}
	net_run_until(n, n->now_us + SECOND);
	CHECK_EQ(n->ends[1].engine->counters.unauthentic, 0);
	net_destroy(&n);
}

/* The turn in which the other end's key was heard may be lost with its process: it is heard again. */
TEST(whoever_meets_its_peer_again_goes_on_counting)
{
	struct net *n = begin(9, LINK_SMART, 1);
	struct link_hot *hot = &n->ends[0].hot;
	struct link_key same = hot->rx[0], other;
	uint64_t counter, highest;

	net_stream(n, SECOND, 4000, 2);
	counter = hot->counter;
	highest = hot->window.highest;
	CHECK(counter > 100 && highest > 0);
	link_hot_meet(hot, &same);
	CHECK_EQ(hot->counter, counter);
	CHECK_EQ(hot->window.highest, highest);
	net_key(&n->rng, &other); /* it began anew */
	link_hot_meet(hot, &other);
	CHECK_EQ(hot->counter, counter);
	CHECK_EQ(hot->window.highest, 0);
	CHECK(link_hot_is_valid(hot));
	net_destroy(&n);
}

TEST(a_successor_goes_on_with_the_same_peer)
{
	for (unsigned side = 0; side < 2; side++) {
		struct net *n = begin(6 + side, LINK_SMART, 2);
		struct net_end *end = &n->ends[side];

		for (int i = 0; i < 5; i++) {
			net_stream(n, SECOND, 4000, 4);
			uint64_t counter = end->hot.counter, from = n->position;

			succeed(n, side, 2);
			net_run_until(n, n->now_us + SECOND);
			CHECK(end->hot.counter > counter);
			CHECK_EQ(end->engine->paths[0].state, LINK_PATH_GOOD);
			net_stream(n, SECOND, 4000, 4);
			net_run_until(n, n->now_us + SECOND);
			struct net_result r = net_result(n, from);

			CHECK_EQ(r.lost, 0);
			CHECK_EQ(r.doubled, 0);
			CHECK_EQ(n->ends[0].engine->counters.replayed, 0);
			CHECK_EQ(n->ends[1].engine->counters.replayed, 0);
		}
		net_destroy(&n);
	}
}

TEST(whatever_the_network_does_each_packet_comes_once_and_whole)
{
	int rounds = test_rounds(60);

	for (int round = 0; round < rounds; round++) {
		struct rng rng = rng_of((uint64_t)round + 1000);
		unsigned paths = (unsigned)rng_between(&rng, 1, LINK_PATHS_MAX);
		struct net *n = net_create(rng_u64(&rng), &options, paths);

		net_run_until(n, n->now_us + WARM_US);
		for (int step = 0; step < 12; step++) {
			struct net_way *w = &n->ways[rng_below(&rng, 2)][rng_below(&rng, paths)];

			w->delay_us = rng_between(&rng, 100, 200000);
			w->jitter_us = rng_between(&rng, 0, 40000);
			w->loss_ppm = (uint32_t)rng_below(&rng, 300000);
			w->burst = (uint32_t)rng_below(&rng, 8);
			w->rate_bps = rng_chance_ppm(&rng, 300000) ? 3000000 : 0;
			w->down = rng_chance_ppm(&rng, 200000);
			w->ordered = rng_chance_ppm(&rng, 500000);
			n->mode = (enum link_mode)rng_below(&rng, 3);
			net_stream(n, rng_between(&rng, 1000, SECOND),
				rng_between(&rng, 500, 20000), (unsigned)rng_between(&rng, 1, 6));
		}
		/* faults stop: it converges */
		for (unsigned i = 0; i < paths; i++)
			n->ways[0][i] = n->ways[1][i] = (struct net_way){.delay_us = 10000};
		net_run_until(n, n->now_us + 5 * SECOND);
		uint64_t from = n->position;

		net_stream(n, SECOND, 4000, 4);
		net_run_until(n, n->now_us + SECOND);
		struct net_result r = net_result(n, from);

		CHECK_EQ(r.lost, 0);
		CHECK_EQ(net_result(n, 1).doubled, 0);
		CHECK_EQ(n->ends[1].engine->receive.missing_count, 0);
		for (unsigned i = 0; i < paths; i++)
			CHECK_EQ(n->ends[0].engine->paths[i].state, LINK_PATH_GOOD);
		net_destroy(&n);
	}
}

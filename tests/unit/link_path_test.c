/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_path.h"
#include "tests/test.h"

enum { MS = 1000, ONE_WAY_US = 15000, REPORT_US = 20000, SIZE = 1200 };

/* A path that is well: its probes are answered, as often as they are due. */
static void make_good(struct link_path *p, int64_t *now_us)
{
	*p = (struct link_path){0};
	link_path_init(p, link_route(0, 0), *now_us);
	for (int64_t end_us = *now_us + 2000 * MS; *now_us < end_us; *now_us += MS) {
		struct link_probe probe = {0};

		link_path_look(p, *now_us);
		if (!link_path_probe_is_due(p, *now_us))
			continue;
		link_path_probe(p, *now_us, 0, &probe);
		probe.next_seq = 0;
		link_path_take_echo(p, &probe, *now_us + 2 * ONE_WAY_US);
		*now_us += 2 * ONE_WAY_US;
	}
	CHECK_EQ(p->state, LINK_PATH_GOOD);
}

/* Sends so many datagrams a second, of which the peer tells each 20 ms by `via`; from `cut_us` on none
 * arrives. Returns how long after that the path was doubted, us; -1: not within `for_us`. */
static int64_t doubted_after_us(unsigned rate, int64_t cut_us, int64_t for_us)
{
	struct link_path path, via;
	int64_t now_us = 1000 * MS, begin_us, arrived_us = 0;
	uint64_t sent = 0, arrived = 0;

	make_good(&via, &now_us);
	make_good(&path, &now_us);
	begin_us = now_us;
	uint64_t first = path.next_seq;

	for (; now_us < begin_us + cut_us + for_us; now_us += 100) {
		int64_t at_us = now_us - begin_us;

		for (; sent < (uint64_t)at_us * rate / 1000000; sent++)
			link_path_send(&path, SIZE, now_us);
		if (at_us - ONE_WAY_US < cut_us && at_us > ONE_WAY_US)
			arrived = (uint64_t)(at_us - ONE_WAY_US) * rate / 1000000;
		if (at_us - arrived_us >= REPORT_US && arrived) {
			const struct link_path_report report = {
				.highest = (uint16_t)(first + arrived - 1),
				.received = (uint32_t)arrived,
				.expected = (uint32_t)arrived};

			arrived_us = at_us;
			link_path_take_report(&path, &report, &via, false, now_us);
			if (path.state != LINK_PATH_GOOD)
				return at_us - cut_us;
		}
	}
	return -1;
}

TEST(a_path_that_is_cut_is_doubted_soon_at_any_rate)
{
	static const unsigned rates[] = {200, 2000, 10000, 50000};

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		int64_t after_us = doubted_after_us(rates[i], 500 * MS, 300 * MS);

		/* the way there and back, what is allowed for, two reports */
		CHECK_GE(after_us, 0);
		CHECK_LE(after_us,
			2 * ONE_WAY_US + LINK_OVERDUE_US + 2 * REPORT_US + ONE_WAY_US + 10 * MS);
	}
}

TEST(one_that_is_not_cut_is_not_doubted)
{
	static const unsigned rates[] = {20, 200, 2000, 10000, 50000};

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		CHECK_EQ(doubted_after_us(rates[i], 3000 * MS, 0), -1);
}

/* The peer's reports each 20 ms for so long, of a path that delivers so much, and whose queue grows or not. */
static void carry(struct link_path *p, uint64_t delivered_bps, bool queue_grows, int64_t *now_us,
	int64_t for_us)
{
	for (int64_t end_us = *now_us + for_us; *now_us < end_us; *now_us += REPORT_US) {
		uint16_t seq = link_path_send(p, SIZE, *now_us);
		const struct link_path_report report = {.highest = seq,
			.received = p->received + 1,
			.expected = p->expected + 1,
			.rate_bps = delivered_bps,
			.queue_us = queue_grows ? 2 * LINK_QUEUE_HIGH_US : 0,
			.gradient_us = queue_grows ? 2 * LINK_GRADIENT_HIGH_US : 0};

		link_path_take_report(p, &report, p, false, *now_us);
	}
}

/* What a path is charged by begins as a guess and grows with what is asked of it: a stream that takes all of
 * that guess does not take all of the path. */
TEST(what_a_path_carries_is_known_when_it_was_full_of_what_was_sent)
{
	struct link_path path;
	int64_t now_us = 1000 * MS, full_us;

	make_good(&path, &now_us);
	carry(&path, 9000000, false, &now_us, 2000 * MS);
	CHECK_EQ(link_path_capacity_bps(&path, now_us), 0);
	/* what it is hardly used for does not tell */
	carry(&path, 100000, true, &now_us, 1000 * MS);
	CHECK_EQ(link_path_capacity_bps(&path, now_us), 0);
	carry(&path, 20000000, true, &now_us, 1000 * MS);
	CHECK_EQ(link_path_capacity_bps(&path, now_us), path.rate_bps);
	CHECK_LE(path.rate_bps, 20000000);
	full_us = path.limit_us;
	carry(&path, 1000000, false, &now_us, 1000 * MS);
	CHECK_GE(link_path_capacity_bps(&path, full_us + LINK_LIMIT_KNOWN_US - 1), 1000000);
	CHECK_EQ(link_path_capacity_bps(&path, full_us + LINK_LIMIT_KNOWN_US), 0);
}

/* Of a link that rests: a probe a second, of which each that leaves in [cut_us, heals_us) is lost. Returns the
 * worst state until 3 s after. */
static enum link_path_state worst_at_rest(int64_t cut_us, int64_t heals_us)
{
	struct link_path path;
	int64_t now_us = 1000 * MS, begin_us, echo_us = INT64_MAX;
	struct link_probe probe = {0}, echoed = {0};
	enum link_path_state worst = LINK_PATH_GOOD;

	make_good(&path, &now_us);
	begin_us = now_us;
	for (; now_us < begin_us + heals_us + 3000 * MS; now_us += MS) {
		int64_t at_us = now_us - begin_us;

		if (now_us >= echo_us) {
			link_path_take_echo(&path, &echoed, now_us);
			echo_us = INT64_MAX;
		}
		link_path_look(&path, now_us);
		if (path.state < worst)
			worst = path.state;
		if (!link_path_probe_is_due(&path, now_us))
			continue;
		link_path_probe(&path, now_us, now_us + LINK_PROBE_REST_US, &probe);
		if ((at_us < cut_us || at_us >= heals_us) && echo_us == INT64_MAX) {
			echoed = probe;
			echoed.next_seq = 0;
			echo_us = now_us + 2 * ONE_WAY_US;
		}
	}
	CHECK_EQ(path.state, LINK_PATH_GOOD);
	return worst;
}

/* Two echoes are lost, whenever that begins: a reason to look again, not a death. */
TEST(a_short_silence_of_a_path_at_rest_is_a_doubt)
{
	unsigned doubts = 0;

	for (int64_t cut_us = 3000 * MS; cut_us < 4100 * MS; cut_us += 20 * MS) {
		enum link_path_state worst = worst_at_rest(cut_us, cut_us + 110 * MS);

		CHECK(worst != LINK_PATH_DEAD);
		doubts += worst == LINK_PATH_DOUBTFUL;
	}
	CHECK_GE(doubts, 1);
	CHECK_EQ(worst_at_rest(3000 * MS, 3000 * MS), LINK_PATH_GOOD);
	CHECK_EQ(worst_at_rest(3000 * MS, 5000 * MS), LINK_PATH_DEAD);
}

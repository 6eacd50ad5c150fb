/* SPDX-License-Identifier: Apache-2.0
 *
 * Transport-wide feedback: what the recorder builds is what arrived, whatever arrived; the ledger's
 * sums; the REMB meter.
 */
#include "actors/webrtc/twcc.h"
#include "tests/test.h"

enum { MS = 1000 };

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static struct rtcp_packet packet_of(const uint8_t *bytes, size_t size)
{
	struct rtcp_iter iter;
	struct rtcp_packet packet;

	CHECK_OK(rtcp_iter_init(&iter, bytes, size));
	CHECK(rtcp_iter_next(&iter, &packet));
	return packet;
}

TEST(a_feedback_typed_from_the_draft_is_read)
{
	/* base 5, 21 statuses, reference 2, number 7. Chunks: run of 4 small deltas; two-bit vector:
	 * large, lost, small, lost x4; one-bit vector of which 10 count: the first and the last. */
	static const uint8_t bytes[] = {0x8F, 205, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 21, 0, 0,
		2, 7, 0x20, 0x04, 0xE1, 0x00, 0xA0, 0x10, 4, 0, 8, 255, 0xFF, 0xFC, 4, 1, 2, 0};
	static const int lost = 1000000;
	const int deltas[21] = {4, 0, 8, 255, -4, lost, 4, lost, lost, lost, lost, 1, lost, lost,
		lost, lost, lost, lost, lost, lost, 2};
	struct rtcp_packet packet = packet_of(bytes, sizeof(bytes));
	struct twcc_feedback f;
	struct twcc_status status;
	int64_t tick = 2 * TWCC_REFERENCE_TICKS;

	CHECK_OK(twcc_feedback_parse(&f, &packet));
	CHECK_EQ(f.base, 5);
	CHECK_EQ(f.count, 21);
	CHECK_EQ(f.reference, 2);
	CHECK_EQ(f.feedback_count, 7);
	for (int i = 0; i < 21; i++) {
		CHECK(twcc_feedback_next(&f, &status));
		CHECK_EQ(status.sequence, 5 + i);
		CHECK_EQ(status.received, deltas[i] != lost);
		if (status.received)
			CHECK_EQ(status.arrival_us, (tick += deltas[i]) * TWCC_TICK_US);
	}
	CHECK(!twcc_feedback_next(&f, &status));
	for (size_t size = 0; size < packet.size - 1; size++) {
		struct rtcp_packet cut = packet;
		cut.size = size;
		CHECK_EQ(twcc_feedback_parse(&f, &cut), ERR_FORMAT);
	}
}

TEST(damaged_feedback_is_refused)
{
	static const struct {
		uint8_t fci[16];
		size_t size;
		enum err err;
	} rows[] = {
		{{0, 1, 0, 0, 0, 0, 0, 0, 0x20, 1, 0, 0},	  12, ERR_FORMAT	}, /* tells of nothing */
		{{0, 1, 0, 1, 0, 0, 0, 0},		   8,  ERR_FORMAT	}, /* no chunk */
		{{0, 1, 0, 2, 0, 0, 0, 0, 0x00, 0, 0x20, 2}, 12, ERR_FORMAT   }, /* empty run */
		{{0, 1, 0, 1, 0, 0, 0, 0, 0x60, 1, 0, 0},	  12, ERR_FORMAT	}, /* reserved symbol */
		{{0, 1, 0, 1, 0, 0, 0, 0, 0xF0, 0, 0, 0},	  12,
			ERR_FORMAT						   }, /* the same in a vector */
		{{0, 1, 0, 3, 0, 0, 0, 0, 0x20, 3, 1, 2},	  12, ERR_FORMAT	}, /* a delta is missing */
		{{0, 1, 0xFF, 0xFF, 0, 0, 0, 0, 0x1F, 0xFF}, 12, ERR_TOO_LARGE},
		{{0, 1, 0, 2, 0, 0, 0, 0, 0x20, 2, 1, 2},	  12, ERR_OK	    },
		{{0, 1, 0, 2, 0, 0, 0, 0, 0x3F, 0xFF, 1, 2}, 12,
			ERR_OK						       }, /* longer run than statuses */
	};
	struct twcc_feedback f;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t body[24] = {0, 0, 0, 1, 0, 0, 0, 2};
		memcpy(body + 8, rows[i].fci, rows[i].size);
		CHECK_EQ(twcc_feedback_parse(
				 &f, &(struct rtcp_packet){RTCP_RTPFB, 15, body, 8 + rows[i].size}),
			rows[i].err);
	}
}

/* A link with gaps, bursts, reordering and pauses; every arrival must be told, to the tick. */
static void run_link(uint64_t seed, uint64_t first, int packets)
{
	static int64_t arrival[70000];
	static bool told[70000];
	struct twcc_recorder t;
	uint64_t sequence = first, random = seed * 2654435761 + 88172645463325252u;
	int64_t now = 5000000;
	uint8_t count = 0;
	int64_t zero = 0;

	memset(arrival, 0, sizeof(arrival));
	memset(told, 0, sizeof(told));
	twcc_recorder_init(&t);
	for (int i = 0; i < packets; i++) {
		uint64_t r = next_random(&random);
		now += (int64_t)(r % 3 ? r % 4000 : 0);
		if (r >> 8 & 1 && (r >> 10) % 997 == 0)
			now += 9000000; /* longer than a delta can say */
		sequence += (r >> 20) % 20 == 0 ? 1 + (r >> 28) % 60 : 1;
		/* now and then one comes early and its turn is taken by the one before */
		uint64_t here = sequence;
		if ((r >> 40) % 10 == 0 && sequence > first + 3 && !arrival[sequence - 2 - first])
			here = sequence - 2;
		arrival[here - first] = now / TWCC_TICK_US;
		twcc_recorder_take(&t, (uint16_t)here, 77, now);
		uint8_t buffer[TWCC_FEEDBACK_MAX];
		struct writer w = writer_of(buffer, sizeof(buffer));
		while (twcc_recorder_build(&t, &w, 1, now) == ERR_OK) {
			struct rtcp_packet packet = packet_of(buffer, writer_used(&w));
			struct twcc_feedback f;
			struct twcc_status status;
			CHECK_OK(twcc_feedback_parse(&f, &packet));
			CHECK_EQ(f.feedback_count, count++);
			CHECK_EQ(f.media, 77);
			while (twcc_feedback_next(&f, &status)) {
				uint64_t n = rtp_extend_sequence(sequence, status.sequence) - first;
				CHECK_EQ(status.received, arrival[n] != 0);
				if (!status.received)
					continue;
				int64_t tick = status.arrival_us / TWCC_TICK_US;
				if (!zero)
					zero = tick - arrival[n];
				CHECK_EQ(tick - arrival[n], zero);
				told[n] = true;
			}
			w = writer_of(buffer, sizeof(buffer));
		}
		CHECK(twcc_recorder_is_valid(&t));
	}
	for (uint64_t n = 0; n + 600 < sequence - first; n++)
		CHECK_EQ(told[n], arrival[n] != 0);
	CHECK_EQ(t.skipped, 0);
}

TEST(feedback_tells_what_arrived)
{
	for (uint64_t seed = 1; seed <= 40; seed++)
		run_link(seed, 65536 + seed * 1640, 3000);
}

TEST(feedback_comes_in_time)
{
	struct twcc_recorder t;
	uint8_t buffer[TWCC_FEEDBACK_MAX];
	struct writer w = writer_of(buffer, sizeof(buffer));

	twcc_recorder_init(&t);
	CHECK_EQ(twcc_recorder_deadline_us(&t), INT64_MAX);
	twcc_recorder_take(&t, 1, 2, 1000 * MS);
	CHECK_EQ(twcc_recorder_deadline_us(&t), 1100 * MS);
	CHECK_EQ(twcc_recorder_build(&t, &w, 1, 1099 * MS), ERR_AGAIN);
	for (uint16_t i = 2; i < 2 + TWCC_FAST_PACKETS; i++)
		twcc_recorder_take(&t, i, 2, 1010 * MS);
	CHECK_EQ(twcc_recorder_deadline_us(&t), 1050 * MS);
	CHECK_OK(twcc_recorder_build(&t, &w, 1, 1050 * MS));
	CHECK_EQ(twcc_recorder_deadline_us(&t), INT64_MAX);
	twcc_recorder_take(&t, 3, 2, 1060 * MS);
	CHECK_EQ(t.duplicates, 1);
	twcc_recorder_take(&t, 900, 2, 1060 * MS);
	CHECK_EQ(twcc_recorder_deadline_us(&t), 1150 * MS);
	struct writer small = writer_of(buffer, 100);
	CHECK_EQ(twcc_recorder_build(&t, &small, 1, 1150 * MS), ERR_NO_SPACE);
}

TEST(a_burst_and_a_jump_are_told_in_several)
{
	struct twcc_recorder t;
	uint8_t buffer[TWCC_FEEDBACK_MAX];
	int feedbacks = 0;

	twcc_recorder_init(&t);
	for (uint16_t i = 0; i < 1000; i++)
		twcc_recorder_take(&t, (uint16_t)(65000 + i), 2, 1000 * MS);
	for (struct writer w = writer_of(buffer, sizeof(buffer));
		twcc_recorder_build(&t, &w, 1, 1100 * MS) == ERR_OK;
		w = writer_of(buffer, sizeof(buffer)))
		feedbacks++;
	CHECK_EQ(feedbacks, 4);
	/* far beyond the window: what lies between is skipped, the new is told */
	twcc_recorder_take(&t, (uint16_t)(66000 + 20000), 2, 1200 * MS);
	struct writer w = writer_of(buffer, sizeof(buffer));
	CHECK_OK(twcc_recorder_build(&t, &w, 1, 1300 * MS));
	CHECK(t.skipped > 17000);
	/* the sender begins anew far behind */
	for (uint16_t i = 0; i < 100; i++)
		twcc_recorder_take(&t, i, 2, 1400 * MS);
	CHECK_EQ(t.newest & 0xFFFF, 99);
	CHECK(twcc_recorder_is_valid(&t));
}

TEST(the_ledger_adds_up)
{
	enum { PACKETS = 4000, DELAY = 30 * MS };
	static struct twcc_ledger l;
	struct twcc_recorder t;
	uint8_t buffer[TWCC_FEEDBACK_MAX];
	uint64_t random = 99, lost = 0, arrived = 0;
	int64_t now = 1000 * MS;

	twcc_ledger_init(&l);
	twcc_recorder_init(&t);
	for (int i = 0; i < PACKETS; i++) {
		now += 2 * MS;
		uint16_t number = twcc_ledger_commit(&l, 1000, now);
		CHECK_EQ(number, (uint16_t)i);
		bool last = i == PACKETS - 1;
		if (i && !last && next_random(&random) % 10 == 0) {
			lost++;
		} else {
			arrived++;
			twcc_recorder_take(&t, number, 1, now + DELAY);
		}
		struct writer w = writer_of(buffer, sizeof(buffer));
		int64_t at = now + DELAY + (last ? 200 * MS : 0);
		if (twcc_recorder_build(&t, &w, 9, at) == ERR_OK) {
			struct rtcp_packet packet = packet_of(buffer, writer_used(&w));
			CHECK_OK(twcc_ledger_take_feedback(&l, &packet, at + DELAY));
			CHECK(twcc_ledger_is_valid(&l));
		}
	}
	CHECK_EQ(l.acked_packets, arrived);
	CHECK_EQ(l.lost_packets, lost);
	CHECK_EQ(l.acked_bytes, arrived * 1000);
	CHECK_EQ(l.unknown_packets, 0);
	CHECK(l.loss_ppm > 50000 && l.loss_ppm < 200000);
	CHECK(l.queue_us < 5 * MS);
	CHECK(l.acked_bps > 3000000 && l.acked_bps < 4500000);
	CHECK_GE(l.rtt_us, 2 * DELAY);
	/* numbers that were never sent, and rubbish */
	static const uint8_t body[] = {
		0, 0, 0, 1, 0, 0, 0, 2, 0x70, 0, 0, 2, 0, 0, 0, 0, 0x20, 2, 1, 2};
	CHECK_OK(twcc_ledger_take_feedback(
		&l, &(struct rtcp_packet){RTCP_RTPFB, 15, body, sizeof(body)}, now));
	CHECK_EQ(l.unknown_packets, 2);
	CHECK_EQ(twcc_ledger_take_feedback(&l, &(struct rtcp_packet){RTCP_RTPFB, 15, body, 9}, now),
		ERR_FORMAT);
	twcc_ledger_take_remb(&l, &(struct rtcp_remb){.bitrate_bps = 5}, now);
	CHECK_EQ(l.remb_bps, 5);
}

TEST(the_meter_allows_half_as_much_again)
{
	struct remb_meter m;
	uint64_t bps = 0;
	int64_t now = 0;

	remb_meter_init(&m, 100000, 5000000, 50000, 0);
	CHECK(!remb_meter_poll(&m, 999 * MS, &bps));
	for (; now < 3000 * MS; now += 10 * MS) {
		remb_meter_take(&m, 1250, now); /* 1 Mbit/s */
		remb_meter_poll(&m, now, &bps);
	}
	CHECK(remb_meter_poll(&m, now, &bps));
	CHECK_GE(bps, 1350000);
	CHECK_LE(bps, 1600000);
	CHECK(remb_meter_poll(&m, now + 5000 * MS, &bps));
	CHECK_EQ(bps, 100000);
	for (int i = 0; i < 100; i++)
		remb_meter_take(&m, 60000, now + 5500 * MS);
	CHECK(remb_meter_poll(&m, now + 6000 * MS, &bps));
	CHECK_EQ(bps, 5000000);
}

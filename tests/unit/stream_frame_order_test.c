/* SPDX-License-Identifier: Apache-2.0
 *
 * The reorder window: rows of arrivals and what comes out when.
 */
#include "actors/stream/frame_order.h"
#include "tests/test.h"

static struct frame_order order;

/* Script: "<seq>@<ms>" arrives then; the answer is what pops after each arrival: "12" packets, "(3)"
 * a gap of three; a packet of sequence 0 only asks at that time. */
static const struct row {
	const char *name;
	struct {
		uint64_t seq;
		int ms;
		const char *out;
	} steps[12];
} rows[] = {
	{"in order",					   {{7, 0, "7 "}, {8, 1, "8 "}, {9, 2, "9 "}}},
	{"swapped",					    {{1, 0, "1 "}, {3, 1, ""}, {2, 2, "2 3 "}}},
	{"late retransmission in time",
		{{1, 0, "1 "}, {3, 10, ""}, {4, 20, ""}, {2, 209, "2 3 4 "}}				    },
	{"given up by time",
		{{1, 0, "1 "}, {3, 10, ""}, {0, 209, ""}, {0, 210, "(1)3 "}, {2, 211, "R"}}			   },
	{"two holes",					  {{1, 0, "1 "}, {3, 10, ""}, {5, 50, ""}, {0, 210, "(1)3 "}, {0, 249, ""},
			      {0, 250, "(1)5 "}}					},
	{"duplicates",
		{{1, 0, "1 "}, {1, 0, "R"}, {3, 1, ""}, {3, 1, "R"}, {2, 2, "2 3 "}, {3, 3, "R"}}		 },
	{"a packet before the first is refused",		 {{5, 0, "5 "}, {4, 1, "R"}}		    },
	{"too far ahead: what is missing is given up at once",
		{{1, 0, "1 "}, {3, 1, ""}, {600, 2, "A(1)3 (85)"}, {0, 201, ""},
			{0, 202, "(511)600 "}}							   },
	{"far ahead with an empty window",
		{{1, 0, "1 "}, {100000, 2, "A(99487)"}, {0, 202, "(511)100000 "}}				 },
};

static void drain(int64_t now_us, char *text)
{
	struct frame_order_out out;
	enum frame_order_event event;

	while ((event = frame_order_pop(&order, now_us, &out)) != FRAME_ORDER_NONE) {
		CHECK(frame_order_is_valid(&order));
		text += strlen(text);
		if (event == FRAME_ORDER_GAP) {
			sprintf(text, "(%d)", (int)out.lost);
			continue;
		}
		CHECK_EQ(out.ref, out.track_seq * 10);
		sprintf(text, "%d ", (int)out.track_seq);
	}
	CHECK(order.count == 0 ? out.deadline_us == INT64_MAX : out.deadline_us > now_us);
}

TEST(rows_of_arrivals_come_out_as_expected)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		frame_order_init(&order, 200000);
		for (int k = 0; k < 12 && rows[i].steps[k].out; k++) {
			char text[256] = "";
			uint64_t seq = rows[i].steps[k].seq;
			int64_t now = rows[i].steps[k].ms * INT64_C(1000);
			enum err err = seq ? frame_order_push(&order, seq, seq * 10, now) : ERR_OK;
			if (err == ERR_REPLAY)
				strcat(text, "R");
			if (err == ERR_AGAIN) {
				strcat(text, "A");
				drain(now, text);
				CHECK_OK(frame_order_push(&order, seq, seq * 10, now));
			}
			drain(now, text);
			if (strcmp(text, rows[i].steps[k].out))
				fail_msg("%s, step %d: \"%s\" instead of \"%s\"", rows[i].name, k,
					text, rows[i].steps[k].out);
		}
	}
}

TEST(nothing_is_lost_or_doubled_whatever_the_order)
{
	uint32_t seed = 1;
	uint64_t taken = 0, given_up = 0, pushed = 0, refused = 0;

	frame_order_init(&order, 5000);
	for (int64_t now = 0; now < 40000; now++) {
		struct frame_order_out out;
		enum frame_order_event event;
		seed = seed * 1664525u + 1013904223u;
		uint64_t seq = 1000 + (uint64_t)now / 2 + (seed >> 8) % 40;
		if (seed >> 28 == 0)
			seq += 700;
		enum err err = frame_order_push(&order, seq, seq, now * 10);
		while ((event = frame_order_pop(&order, now * 10, &out)) != FRAME_ORDER_NONE) {
			taken += event == FRAME_ORDER_PACKET;
			given_up += event == FRAME_ORDER_GAP ? out.lost : 0;
		}
		if (err == ERR_AGAIN) {
			err = frame_order_push(&order, seq, seq, now * 10);
			CHECK_OK(err);
		}
		pushed += err == ERR_OK;
		refused += err == ERR_REPLAY;
		CHECK(frame_order_is_valid(&order));
	}
	CHECK_EQ(taken + order.count, pushed);
	CHECK_EQ(given_up, order.packets_lost);
	CHECK_EQ(refused, order.packets_stale);
	CHECK_GE(given_up, 1);
}

TEST(a_damaged_state_is_recognised)
{
	frame_order_init(&order, 1000);
	CHECK(frame_order_is_valid(&order));
	CHECK_OK(frame_order_push(&order, 5, 1, 10));
	CHECK(frame_order_is_valid(&order));

	struct frame_order bad = order;
	bad.count = 2;
	CHECK(!frame_order_is_valid(&bad));
	bad = order;
	bad.slots[5].track_seq = 6;
	CHECK(!frame_order_is_valid(&bad));
	bad = order;
	bad.slots[5].arrived_us = INT64_MAX;
	CHECK(!frame_order_is_valid(&bad));
	bad = order;
	bad.next_seq = 6;
	CHECK(!frame_order_is_valid(&bad));
	bad = order;
	bad.wait_us = -1;
	CHECK(!frame_order_is_valid(&bad));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The sending side of a track: numbers, timestamps, source changes, retransmissions, reports, and
 * that no SRTP index is ever given out twice, killed halfway or not.
 */
#include "actors/webrtc/rtp_sender.h"
#include "tests/test.h"

enum { MS = 1000, S = 1000000 };

static struct rtp_sender s;

static void start(uint64_t random)
{
	rtp_sender_init(&s, &(struct rtp_sender_options){
				    .ssrc = 0x1111,
				    .rtx_ssrc = 0x2222,
				    .payload_type = 96,
				    .rtx_payload_type = 97,
				    .kind = MEDIA_VIDEO,
				    .clock_rate = 90000,
				    .history_count = 1024,
				    .random = random,
			    });
	CHECK(rtp_sender_is_valid(&s));
}

/* A packet of a 25 fps track: frame f is at f * 40 ms. */
static struct media_header packet(uint64_t track_seq, uint32_t frame, uint8_t flags)
{
	static uint64_t position;

	return (struct media_header){
		.position = ++position,
		.track_seq = track_seq,
		.frame = frame,
		.rtp_time = 1000000 + frame * UINT64_C(3600),
		.capture_us = INT64_C(1790000000) * S + frame * INT64_C(40) * MS,
		.size = 100,
		.flags = flags,
	};
}

enum { B = MEDIA_FRAME_START, E = MEDIA_FRAME_END, L = MEDIA_LATE };

/* One scenario a row: steps of {track_seq, frame, flags, drop, expected index relative to the first
 * or -1 for "not sent"}. */
struct step {
	int track_seq, frame, flags, drop, index;
};

TEST(numbers_follow_the_rules)
{
	static const struct step rows[][10] = {
	/* a gap stays, and what comes late fills it, once */
		{{10, 1, B, 0, 0},	   {11, 1, E, 0, 1},   {14, 2, E, 0, 4}, {13, 2, L, 0, 3},
			{13, 2, L, 0, -1}, {12, 2, B | L, 0, 2}, {15, 3, B | E, 0, 5}},
 /* a dropped frame leaves no gap */
		{{10, 1, B | E, 0, 0},     {11, 2, B, 1, -1},			  {12, 2, E, 1, -1}, {13, 3, B | E, 0, 1}},
 /* lost packets of a dropped frame neither: at its end, inside, at its start */
		{{10, 1, B | E, 0, 0}, {11, 2, B, 1, -1},			  {14, 3, B | E, 0, 1}, {12, 2, L, 0, -1}},
		{{10, 1, B | E, 0, 0},{11, 2, B, 1, -1},{13, 2, E, 1, -1}, {14, 3, B, 0, 1}},
		{{10, 1, B | E, 0, 0},		       {12, 2, 0, 1, -1},			  {13, 2, E, 1, -1}, {14, 3, B, 0, 1}},
 /* but a gap between a dropped frame and the middle of another stays */
		{{10, 1, B | E, 0, 0}, {11, 2, B | E, 1, -1},{13, 3, E, 0, 2},
			{12, 3, B | L, 0, 1}},
 /* a gap, then a drop, then more: the hole is still there for the late one */
		{{10, 1, B, 0, 0},  {12, 2, B | E, 1, -1},	  {13, 3, B | E, 0, 2},
			{11, 1, E | L, 0, 1}},
 /* late before the first packet of all: no place */
		{{10, 1, B | E, 0, 0},     {9, 0, E | L, 0, -1}			   },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t first = 0;
		start(0x12345678 * (i + 1));
		for (int j = 0; j < 10 && rows[i][j].track_seq; j++) {
			const struct step *step = &rows[i][j];
			struct media_header h = packet((uint64_t)step->track_seq,
				(uint32_t)step->frame, (uint8_t)step->flags);
			struct rtp_slot slot;
			if (step->drop) {
				rtp_sender_drop(&s, &h);
				continue;
			}
			enum err err = rtp_sender_map(&s, &h, &slot);
			CHECK_EQ(err == ERR_OK, step->index >= 0);
			if (err)
				continue;
			if (!j)
				first = slot.index;
			CHECK_EQ(slot.index - first, step->index);
			CHECK_EQ(slot.marker, !!(step->flags & E));
		}
		CHECK(rtp_sender_is_valid(&s));
	}
}

TEST(a_new_source_goes_on_seamlessly)
{
	struct rtp_slot a, b;
	struct media_header h = packet(500, 7, B | E);

	start(77);
	CHECK_OK(rtp_sender_map(&s, &h, &a));
	/* other numbers, other clock zero, 60 ms later */
	h = packet(3, 900, B | E | MEDIA_DISCONTINUITY);
	h.rtp_time = 5;
	h.capture_us = INT64_C(1790000000) * S + 7 * 40 * MS + 60 * MS;
	CHECK_OK(rtp_sender_map(&s, &h, &b));
	CHECK_EQ(b.index, a.index + 1);
	CHECK_EQ(b.timestamp - a.timestamp, 5400);
	h = packet(4, 901, B | E);
	h.rtp_time = 5 + 3600;
	CHECK_OK(rtp_sender_map(&s, &h, &a));
	CHECK_EQ(a.timestamp - b.timestamp, 3600);
	/* a straggler of the old source has no place */
	h = packet(499, 6, E | L);
	h.track_seq = 2;
	CHECK_EQ(rtp_sender_map(&s, &h, &b), ERR_NOT_FOUND);
	/* the first packet of the next source is dropped by us; capture time goes back */
	h = packet(1, 1, B | MEDIA_DISCONTINUITY);
	h.rtp_time = UINT64_C(1) << 40;
	rtp_sender_drop(&s, &h);
	h = packet(2, 2, B | E);
	h.rtp_time = (UINT64_C(1) << 40) + 3600;
	h.capture_us = 0;
	CHECK_OK(rtp_sender_map(&s, &h, &b));
	CHECK_EQ(b.index, a.index + 1);
	CHECK_EQ(b.timestamp - a.timestamp, 901);
	/* a retransmission of the old source is still possible */
	struct rtp_resend resend;
	CHECK_OK(rtp_sender_take_nack(&s, (uint16_t)a.index, 0, &resend));
	CHECK_EQ(resend.timestamp, a.timestamp);
}

TEST(a_squeezed_start_reaches_the_live_edge)
{
	struct rtp_slot slot;
	uint32_t first = 0, before = 0;

	start(5);
	/* 50 frames, 2 s, in 500 ms; from frame 50 on live */
	struct media_header from = packet(1, 0, 0), to = packet(1, 50, 0);
	CHECK_OK(rtp_sender_squeeze(&s, from.rtp_time, to.rtp_time, 500 * MS));
	CHECK_EQ(rtp_sender_squeeze(&s, to.rtp_time, from.rtp_time, 500 * MS), ERR_FORMAT);
	CHECK_EQ(rtp_sender_squeeze(&s, from.rtp_time, to.rtp_time, 9 * S), ERR_FORMAT);
	for (uint32_t frame = 0; frame < 60; frame++) {
		struct media_header h = packet(1 + frame, frame, B | E);
		CHECK_OK(rtp_sender_map(&s, &h, &slot));
		if (!frame)
			first = slot.timestamp;
		else
			CHECK_EQ(slot.timestamp - before, frame > 50 ? 3600 : 900);
		before = slot.timestamp;
	}
	CHECK_EQ(before - first, 45000 + 9 * 3600);
	CHECK_EQ(rtp_sender_squeeze(&s, 0, 0, 0), ERR_PHASE);
	/* the report is on the live line */
	struct rtcp_sender_info info;
	CHECK(rtp_sender_fill_report(&s, false, packet(1, 59, 0).capture_us + 100 * MS, &info));
	CHECK_EQ(info.rtp_timestamp, before + 9000);
	CHECK_EQ(info.packets, 60);
	CHECK_EQ(info.octets, 6000);
}

TEST(a_header_is_written_for_media_and_rtx)
{
	struct rtp_ext_map map = {0};
	struct rtp_ext_layout layout;
	struct rtp_slot slot;
	struct rtp_resend resend;
	struct rtp_packet p;
	uint8_t buffer[RTP_SLOT_SIZE_MAX + 1];

	rtp_ext_map_set(&map, RTP_EXT_TRANSPORT_CC, 3);
	CHECK_OK(rtp_ext_layout_init(&layout, &map,
		&(struct rtp_ext_layout_options){.chosen = RTP_EXT_BIT(TRANSPORT_CC)}));
	start(9);
	struct media_header h = packet(1, 1, B | E);
	CHECK_OK(rtp_sender_map(&s, &h, &slot));
	size_t size = rtp_slot_write(&slot, &layout, buffer, 0, 0xABCD, 0);
	CHECK_EQ(size, 20);
	CHECK_OK(rtp_parse(&p, buffer, size));
	CHECK_EQ(p.ssrc, 0x1111);
	CHECK_EQ(p.sequence, (uint16_t)slot.index);
	CHECK(p.marker);
	CHECK_OK(rtp_sender_take_nack(&s, p.sequence, S, &resend));
	CHECK_EQ(resend.position, h.position);
	struct rtp_slot rtx;
	CHECK_OK(rtp_sender_map_rtx(&s, &resend, &h, &rtx));
	size = rtp_slot_write(&rtx, &layout, buffer, 0, 0xABCE, 0);
	CHECK_OK(rtp_parse(&p, buffer, size));
	CHECK_EQ(p.ssrc, 0x2222);
	CHECK_EQ(p.payload_type, 97);
	CHECK_EQ(p.timestamp, slot.timestamp);
	CHECK_EQ(p.payload_size, 2);
	CHECK_EQ(p.payload[0] << 8 | p.payload[1], (uint16_t)slot.index);
	struct rtcp_sender_info info;
	CHECK(rtp_sender_fill_report(&s, true, h.capture_us, &info));
	CHECK_EQ(info.ssrc, 0x2222);
	CHECK_EQ(info.octets, 102);
}

TEST(nacks_are_answered_within_limits)
{
	struct rtp_slot slot;
	struct rtp_resend resend;
	uint64_t first = 0;

	start(1);
	for (uint32_t i = 0; i < 2000; i++) {
		struct media_header h = packet(1 + i + (i >= 1990), i, B | E);
		CHECK_OK(rtp_sender_map(&s, &h, &slot));
		if (!i)
			first = slot.index;
	}
	uint16_t newest = (uint16_t)slot.index;
	CHECK_EQ(rtp_sender_take_nack(&s, (uint16_t)(newest + 1), S, &resend), ERR_NOT_FOUND);
	CHECK_EQ(rtp_sender_take_nack(&s, (uint16_t)(newest - 10), S, &resend), ERR_NOT_FOUND);
	CHECK_EQ(rtp_sender_take_nack(&s, (uint16_t)first, S, &resend), ERR_NOT_FOUND);
	CHECK_EQ(rtp_sender_take_nack(&s, (uint16_t)(newest - 768), S, &resend), ERR_NOT_FOUND);
	CHECK_OK(rtp_sender_take_nack(&s, (uint16_t)(newest - 767), S, &resend));
	int64_t now = S;
	for (int i = 0; i < RTP_SENDER_RESENDS_MAX; i++, now += 20 * MS) {
		CHECK_OK(rtp_sender_take_nack(&s, newest, now, &resend));
		CHECK_EQ(rtp_sender_take_nack(&s, newest, now + 3 * MS, &resend),
			i + 1 < RTP_SENDER_RESENDS_MAX ? ERR_AGAIN : ERR_LIMIT);
	}
	CHECK_EQ(rtp_sender_take_nack(&s, newest, now + 9 * S, &resend), ERR_LIMIT);
	/* a flood: the budget ends it, and sending earns it back */
	int answered = 0;
	for (int i = 11; i < 700; i++)
		answered +=
			rtp_sender_take_nack(&s, (uint16_t)(newest - i), now, &resend) == ERR_OK;
	CHECK_EQ(answered, RTP_SENDER_CREDITS_MAX / 2 - 1 - RTP_SENDER_RESENDS_MAX);
	CHECK(s.nacks_over_budget > 0);
	for (uint32_t i = 0; i < 10; i++) {
		struct media_header h = packet(3000 + i, 3000 + i, B | E);
		rtp_sender_map(&s, &h, &slot);
	}
	answered = 0;
	for (int i = 0; i < 10; i++)
		answered += rtp_sender_take_nack(&s, (uint16_t)(slot.index - (unsigned)i), now,
				    &resend) == ERR_OK;
	CHECK_EQ(answered, 5);
}

TEST(reports_of_the_viewer_are_taken)
{
	struct rtcp_report_block block = {
		.ssrc = 0x1111, .fraction_lost = 12, .lost = 3, .jitter = 4};
	int64_t sent = INT64_C(1790000000) * S;

	start(1);
	block.lsr = rtcp_ntp_middle(rtp_ntp_from_unix_us(sent));
	block.dlsr = 65536 / 2;
	CHECK_OK(rtp_sender_take_report(&s, &block, sent + 550 * MS));
	CHECK(s.rtt_us >= 49 * MS && s.rtt_us <= 51 * MS);
	CHECK_EQ(s.fraction_lost, 12);
	block.ssrc = 5;
	CHECK_EQ(rtp_sender_take_report(&s, &block, sent), ERR_NOT_FOUND);
	CHECK(rtp_sender_take_fir(&s, 0));
	CHECK(!rtp_sender_take_fir(&s, 0));
	CHECK(rtp_sender_take_fir(&s, 1));
	rtp_sender_take_pli(&s);
	CHECK_EQ(s.plis, 1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Random gaps, late packets, drops, source changes; and "kills": the state goes back to what it was
 * before a step, except for what the step wrote aside. An index must never appear twice. */
TEST(no_index_is_given_out_twice)
{
	static uint8_t used[1 << 17];
	static struct rtp_sender before;

	for (uint64_t seed = 1; seed <= 30; seed++) {
		uint64_t random = seed * 0x9E3779B97F4A7C15, next = 1, base = 0;
		memset(used, 0, sizeof(used));
		start(next_random(&random));
		base = rtp_sender_head(&s)->committed;
		for (uint32_t i = 0; i < 20000; i++) {
			uint64_t r = next_random(&random);
			struct rtp_slot slot;
			struct media_header h =
				packet(next, i / 3, (uint8_t)(i % 3 ? i % 3 & 2 : 1));
			if (r % 10 == 0 && next > 400) {
				h.track_seq = next - 1 - (r >> 8) % 390;
				h.flags |= L;
			} else {
				next += 1 + ((r >> 20) % 50 == 0 ? (r >> 30) % 400 : 0);
				h.track_seq = next;
			}
			if ((r >> 40) % 500 == 0) {
				h.track_seq = next = 1 + (r >> 50) % 9;
				h.flags = MEDIA_DISCONTINUITY | B;
			}
			if ((r >> 50) % 10 == 0) {
				rtp_sender_drop(&s, &h);
				continue;
			}
			before = s;
			if (rtp_sender_map(&s, &h, &slot))
				continue;
			if ((r >> 54) % 20 == 0) {
				/* killed before the new head became current: history is written, the
				 * head is not; the packet did not leave, or left its hole closed */
				s.current = before.current;
				CHECK(rtp_sender_is_valid(&s));
				continue;
			}
			CHECK(slot.index >= base && slot.index - base < sizeof(used));
			CHECK_EQ(used[slot.index - base]++, 0);
		}
		CHECK(rtp_sender_is_valid(&s));
	}
}

TEST(the_roll_over_counter_follows)
{
	struct rtp_slot slot;
	uint64_t before = 0;

	start(UINT64_MAX);
	for (uint32_t i = 0; i < 140000; i++) {
		struct media_header h = packet(1 + i, i, B | E);
		CHECK_OK(rtp_sender_map(&s, &h, &slot));
		CHECK(!i || slot.index == before + 1);
		before = slot.index;
	}
	CHECK_EQ(slot.index >> 16, (0x8000 + 139999) >> 16);
	/* a position that the history cannot keep */
	struct media_header bad = packet(200000, 1, B | E);
	bad.position = 0;
	CHECK_EQ(rtp_sender_map(&s, &bad, &slot), ERR_FORMAT);
	bad.position = UINT64_C(1) << 48;
	CHECK_EQ(rtp_sender_map(&s, &bad, &slot), ERR_FORMAT);
	/* the key is used up */
	s.heads[s.current].committed = RTP_INDEX_MAX - 5;
	struct media_header h = packet(200000, 1, B | E);
	CHECK_EQ(rtp_sender_map(&s, &h, &slot), ERR_LIMIT);
}

TEST(damaged_states_are_refused)
{
	start(1);
	CHECK(rtp_sender_is_valid(&s));
	s.history_count = 1000;
	CHECK(!rtp_sender_is_valid(&s));
	start(1);
	s.history_count = 4096;
	CHECK(!rtp_sender_is_valid(&s));
	start(1);
	s.current = 2;
	CHECK(!rtp_sender_is_valid(&s));
	start(1);
	s.clock_rate = 0;
	CHECK(!rtp_sender_is_valid(&s));
	start(1);
	s.heads[0].committed = UINT64_MAX;
	CHECK(!rtp_sender_is_valid(&s));
	start(1);
	s.heads[0].squeeze_ticks = 5;
	CHECK(!rtp_sender_is_valid(&s));
}
